"""Query and Scan, page by page: one hop to a worker or to the hub for each page.

A model may override ``query`` and ``scan``, and return whatever can be iterated. An override, and
what it returns, is the app's code: it runs in workers.
"""

from __future__ import annotations

import collections
import collections.abc as cabc
import copy
import functools
import itertools
import threading
import time
import typing as t

import anyio
from pynamodb.pagination import PageIterator as SyncPageIterator

from dynamo_ext.client.connection import Connection
from dynamo_ext.concurrency import decode_lock
from dynamo_ext.models import decoded_reply
from dynamo_ext.models import deserializer
from dynamo_ext.models import eligibility
from dynamo_ext.models import iterators
from dynamo_ext.models import late_binding
from dynamo_ext.models import results
from dynamo_ext.models.decoded_reply import DecodedReply
from dynamo_ext.models.decoded_reply import Key
from dynamo_ext.models.plain_queries import PlainQuery
from dynamo_ext.models.undecodable import Undecodable

from ..execution import on_loop
from ..execution import workers
from .lock import Lock

T = t.TypeVar("T")
T_co = t.TypeVar("T_co", covariant=True)
Reply = dict[str, t.Any]


class Source(t.Protocol[T_co]):
    """Where the items of an iteration come from."""

    @property
    def limit(self) -> int | None:
        """How many items to give at most."""
        ...

    async def next(self, limit: int | None = None) -> cabc.Sequence[T_co | Undecodable] | None:
        """Fetch items.

        :param limit: How many to decode at most; ``None`` for all.
        :return: The items, which may be none, or ``None`` after the last ones.
        """
        ...

    def key_behind(self, index: int) -> Key | None:
        """The key from which a later query or scan can start.

        :param index: How many of the items that were fetched last have been given.
        """
        ...

    @property
    def total_count(self) -> int:
        """How many items have been fetched so far."""
        ...


class Pages(t.Generic[T]):
    """The pages of a query or scan.

    :param connection: A connection on the engine to use.
    :param model: The model.
    :param pages: PynamoDB's page iterator. If it has a rate limit, this keeps it instead.
    :param decode: What makes items of those that botocore gives; ``None`` for these themselves.
    :param limit: How many items to give at most.
    :param hidden: The names of attributes that are read for the keys alone.
    :param is_plain: Whether it is known already that nothing of these runs code of the app.
    """

    def __init__(
        self,
        connection: Connection,
        model: type[t.Any],
        pages: SyncPageIterator[t.Any],
        *,
        decode: cabc.Callable[[t.Any], T] | None,
        limit: int | None = None,
        hidden: cabc.Collection[str] = (),
        is_plain: bool = False,
    ) -> None:
        of_pynamodb: t.Any = pages
        limiter = of_pynamodb._rate_limiter
        # PynamoDB's would sleep in a worker.
        of_pynamodb._rate_limiter = None
        self.pages: SyncPageIterator[t.Any] = pages
        self.limit: int | None = limit
        self.total_count: int = 0
        self._connection = connection
        self._model = model
        self.decode: cabc.Callable[[t.Any], T] | None = decode
        self.rate_limit: float | None = None if limiter is None else limiter.rate_limit
        self._runs_no_code_of_app = is_plain or (
            (decode is None or getattr(decode, "__self__", None) is model)
            and eligibility.are_plain(*_contents(pages), decode)
        )
        self._hidden = hidden
        self.reply: DecodedReply[T] | None = None
        self._consumed = 0.0
        self._last_request = 0.0
        self._are_exhausted = False
        # After a page that the event loop could not read, most likely because it was too large.
        self._goes_by_hub = False

    async def next(self, limit: int | None = None) -> cabc.Sequence[T | Undecodable] | None:
        """Fetch the next page.

        A cancelled fetch changes nothing: the next one fetches the same page.

        :param limit: How many items of the page to decode at most; ``None`` for all.
        :return: The items, or ``None`` after the last page.
        :raises pynamodb.exceptions.PynamoDBException: if the call fails.
        """
        if self._are_exhausted:
            return None

        if self.rate_limit:
            await self._keep_rate(self.rate_limit)

        reply = await self._fetch(limit)

        if reply is None:
            return None

        self.reply = reply
        self.total_count += reply.number
        self._go_on(reply.pages, reply.consumed)
        return reply.items

    async def next_reply(self) -> Reply | None:
        """Fetch the next page as botocore gives it.

        :return: The page, or ``None`` after the last one.
        :raises pynamodb.exceptions.PynamoDBException: if the call fails.
        """
        if self._are_exhausted:
            return None

        if self.rate_limit:
            await self._keep_rate(self.rate_limit)

        run = workers.run_in_hub if self._shares_thread else workers.run
        fetched = await run(self._connection, _fetch_reply, _copied(self.pages))

        if fetched is None:
            return None

        reply, pages = fetched
        self._go_on(pages, decoded_reply.consumed_by(reply))
        return reply

    def key_behind(self, index: int) -> Key | None:
        """The key from which a later query or scan can start.

        :param index: How many items of the last page have been given.
        """
        reply = self.reply

        if reply is None or index in {0, reply.number}:
            return self.pages.last_evaluated_key

        return reply.key_of(index - 1)

    def restarted(
        self, pages: SyncPageIterator[t.Any], *, hidden: cabc.Collection[str] = ()
    ) -> Pages[T]:
        """The pages of another query or scan of the same model.

        :param pages: PynamoDB's page iterator, with its rate limit.
        :param hidden: The names of attributes that are read for the keys alone.
        """
        return Pages(self._connection, self._model, pages, decode=self.decode, hidden=hidden)

    async def _fetch(self, limit: int | None) -> DecodedReply[T] | None:
        fetch = decoded_reply.Fetch(
            # The worker of a cancelled fetch goes on and changes its iterator.
            _copied(self.pages),
            self.decode,
            limit=limit,
            hidden=self._hidden,
            decode_each=decode_lock.decode_each,
        )

        if not (self._shares_thread and fetch.is_of_project):
            # Attributes may have been patched since the query was begun.
            deserializer.refresh(self._model)
            return await workers.run(self._connection, _send, fetch)

        call = None if self._goes_by_hub else on_loop.prepare(fetch.table, fetch.plan)

        if call is not None:
            reply: DecodedReply[T] = await call.make()
            self._goes_by_hub = call.went_on
            return reply

        return await workers.run_in_hub(self._connection, _send, fetch)

    @property
    def _shares_thread(self) -> bool:
        return (
            self._runs_no_code_of_app
            and not iterators.are_patched()
            and workers.may_share_thread(self._connection, self._model)
        )

    def _go_on(self, pages: SyncPageIterator[t.Any], consumed: float) -> None:
        self.pages = pages
        self._consumed = consumed
        self._are_exhausted = pages.last_evaluated_key is None

    async def _keep_rate(self, rate_limit: float) -> None:
        due = self._last_request + self._consumed / rate_limit
        await anyio.sleep(max(0.0, due - time.monotonic()))
        self._last_request = time.monotonic()


class Items(t.Generic[T]):
    """The items of anything that can be iterated, each fetched in a worker.

    :param connection: A connection on the engine to use.
    :param result: What an override has returned.
    """

    def __init__(self, connection: Connection, result: cabc.Iterable[T]) -> None:
        self.limit: int | None = None
        self._connection = connection
        self._result = result
        self._in_memory = result if isinstance(result, (list, tuple)) else None
        self._iterator: cabc.Iterator[T] | None = None
        self._fetched: collections.deque[T] = collections.deque()
        self._lock = threading.Lock()
        self._number = 0
        # A generator of the app's may make its calls as late as here.
        self._fetch = late_binding.in_current_bind(self._fetch_one)

    @property
    def kind(self) -> type:
        """The class of what the override has returned."""
        return type(self._result)

    @property
    def is_of_pynamodb(self) -> bool:
        """Whether that is an iterator of PynamoDB."""
        return results.is_of_pynamodb(self.kind)

    async def next(self, limit: int | None = None) -> cabc.Sequence[T | Undecodable] | None:
        """Fetch the next item, or all of what is in memory already.

        :param limit: Not used: to ask for an item is what makes an iterator go on.
        :return: The items, or ``None`` after the last one.
        """
        if self._in_memory is not None:
            items, self._in_memory = self._in_memory, ()
        elif await workers.run(self._connection, self._fetch):
            items = (self._fetched.popleft(),)
        else:
            items = ()

        self._number += len(items)
        return items or None

    def key_behind(self, index: int) -> Key | None:
        """The key from which a later query or scan can start, if the iterator knows it."""
        key: Key | None = getattr(self._result, "last_evaluated_key", None)
        return key

    @property
    def total_count(self) -> int:
        """How many items the iterator says that it has fetched, else how many were given."""
        total: int = getattr(self._result, "total_count", self._number)
        return total

    @property
    def page_iter(self) -> t.Any:
        """The pages, if the iterator has them."""
        return t.cast(t.Any, self._result).page_iter

    def _fetch_one(self) -> bool:
        # The worker of a cancelled fetch goes on. What it fetches is not lost.
        with self._lock:
            if self._iterator is None:
                self._iterator = iter(self._result)

            if not self._fetched:
                self._fetched.extend(itertools.islice(self._iterator, 1))

            return bool(self._fetched)


class Deferred(t.Generic[T]):
    """What an override of the app is going to return. It is called in a worker, when the first item
    is asked for: it may make calls.

    :param connection: A connection on the engine to use.
    :param model: The model.
    :param method: The override, with its arguments.
    """

    def __init__(
        self,
        connection: Connection,
        model: type[t.Any],
        method: cabc.Callable[[], cabc.Iterable[T]],
    ) -> None:
        self._connection = connection
        # A query keeps the bind under which it was made.
        self._method = late_binding.in_current_bind(method)
        self._make_source: cabc.Callable[[cabc.Iterable[T]], Source[T]] = (
            late_binding.in_current_bind(functools.partial(source_of, connection, model))
        )
        self._source: Source[T] | None = None

    @property
    def source(self) -> Source[T]:
        """What the override returns. It is called now, in this thread, unless it has been."""
        if self._source is None:
            self._source = self._make_source(self._method())

        return self._source

    @property
    def limit(self) -> int | None:
        """How many items to give at most, if that is known."""
        return None if self._source is None else self._source.limit

    async def next(self, limit: int | None = None) -> cabc.Sequence[T | Undecodable] | None:
        """Fetch items; call the override first, if it has not been called.

        :param limit: How many items to decode at most; ``None`` for all.
        :return: The items, or ``None`` after the last ones.
        """
        source = await self.resolve()
        # It was not known before.
        limit = source.limit if limit is None else limit
        return None if limit == 0 else await source.next(limit)

    async def resolve(self) -> Source[T]:
        """What the override returns. It is called in a worker, unless it has been."""
        if self._source is None:
            result = await workers.run(self._connection, self._method)
            self._source = self._make_source(result)

        return self._source

    def key_behind(self, index: int) -> Key | None:
        """The key from which a later query or scan can start."""
        return self.source.key_behind(index)

    @property
    def total_count(self) -> int:
        """How many items have been fetched so far."""
        return 0 if self._source is None else self._source.total_count


class PageIterator(cabc.AsyncIterator[Reply]):
    """The pages of a query or scan as botocore gives them, for ``async for``: PynamoDB's
    ``page_iter``, awaitable.

    :param pages: The pages, which the items come from, too.
    """

    def __init__(self, pages: Pages[t.Any]) -> None:
        self._pages = pages

    def __aiter__(self) -> t.Self:
        return self

    async def __anext__(self) -> Reply:
        reply = await self._pages.next_reply()

        if reply is None:
            raise StopAsyncIteration

        return reply

    @property
    def key_names(self) -> cabc.Iterable[str]:
        """The names of the attributes of a ``LastEvaluatedKey``."""
        return self._pages.pages.key_names

    @property
    def page_size(self) -> int | None:
        """How many items a request examines at most."""
        return self._pages.pages.page_size

    @page_size.setter
    def page_size(self, page_size: int) -> None:
        self._pages.pages.page_size = page_size

    @property
    def last_evaluated_key(self) -> Key | None:
        """The key from which the next page starts; ``None`` after the last one."""
        return self._pages.pages.last_evaluated_key

    @property
    def total_scanned_count(self) -> int:
        """How many items DynamoDB has examined for the pages so far."""
        return self._pages.pages.total_scanned_count


class ResultIterator(cabc.AsyncIterator[T]):
    """The items of a query or scan, for ``async for``.

    Several tasks may share an iterator: each item goes to one of them.

    :param source: Where they come from.
    """

    def __init__(self, source: Source[T]) -> None:
        self._source = source
        self._items: cabc.Sequence[T | Undecodable] | None = None
        self._index = 0
        self._size = 0
        self._limit = source.limit
        self._lock = Lock()

    def __aiter__(self) -> t.Self:
        return self

    async def __anext__(self) -> T:
        while True:
            if self._limit == 0:
                raise StopAsyncIteration

            items: t.Any = self._items

            # Without calls of functions, because it is done for each item.
            if self._index < self._size:
                item: T | Undecodable = items[self._index]
                self._index += 1

                if self._limit is not None:
                    self._limit -= 1

                if isinstance(item, Undecodable):
                    raise item.error

                return item

            async with self._lock:
                # Another task may have fetched it while this one waited.
                if self._items is items and not await self._advance():
                    raise StopAsyncIteration

    async def aclose(self) -> None:
        """End the iteration; for :func:`contextlib.aclosing`. Without it nothing is left open."""
        self._limit = 0

    @property
    def page_iter(self) -> PageIterator:
        """The pages that the items come from. A page that is taken from there is not iterated here.

        :raises AttributeError: if an override of the app returns something that has no pages.
        """
        source = self._source.source if isinstance(self._source, Deferred) else self._source
        return (
            PageIterator(source) if isinstance(source, Pages) else t.cast(t.Any, source).page_iter
        )

    @property
    def last_evaluated_key(self) -> Key | None:
        """The key of the last item that was given, from which a later query or scan can start;
        ``None`` after the last item of all."""
        return self._source.key_behind(self._index)

    @property
    def total_count(self) -> int:
        """How many items the pages that were fetched so far have."""
        return self._source.total_count

    async def _advance(self) -> bool:
        has_limit = self._limit is not None
        items = await self._source.next(self._limit)

        if items is None:
            return False

        if not has_limit:
            # An override has said so only now.
            self._limit = self._source.limit

        self._items = items
        self._index = 0
        self._size = len(items)
        return True


async def untouched_pages(result: ResultIterator[T]) -> Pages[T]:
    """The pages of a query or scan, of which nothing was asked for yet.

    :param result: What ``aquery`` or ``ascan`` has returned. An override of the app is called now.
    :raises TypeError: if an override of the app returned something that has no pages.
    :raises ValueError: if the result has been iterated.
    """
    source, items, limit = result._source, result._items, result._limit  # pyright: ignore[reportPrivateUsage]

    if isinstance(source, Deferred):
        source = await source.resolve()

    if isinstance(source, Items) and not source.is_of_pynamodb:
        raise TypeError(
            "Only what PynamoDB's own 'query' or 'scan' returns can be paginated, but an override"
            f" of the app returned {source.kind.__name__!r}."
        )

    was_closed = limit == 0 != source.limit

    if not isinstance(source, Pages) or items is not None or was_closed:
        raise ValueError("The result has been iterated already: give a new one.")

    return source


def plain_pages(model: type[t.Any], query: PlainQuery) -> Pages[t.Any]:
    """The pages of a query whose arguments hold no code of the app.

    :param model: The model.
    :param query: The query.
    """
    return Pages(
        query.table.connection,
        model,
        query.pages,
        decode=query.decode,
        limit=query.limit,
        is_plain=True,
    )


def source_of(connection: Connection, model: type[t.Any], result: cabc.Iterable[T]) -> Source[T]:
    """Where the items of a result come from.

    :param connection: A connection on the engine to use.
    :param model: The model.
    :param result: What ``query`` or ``scan`` has returned, PynamoDB's or an override.
    """
    of_pynamodb: t.Any = result
    kind: type = type(result)

    if not results.is_of_pynamodb(kind) or of_pynamodb.total_count:
        return Items(connection, result)

    return Pages(
        connection,
        model,
        of_pynamodb.page_iter,
        decode=of_pynamodb._map_fn,
        limit=of_pynamodb._limit,
    )


def _contents(pages: SyncPageIterator[t.Any]) -> cabc.Iterable[t.Any]:
    """What PynamoDB's iterator is made of, with its arguments one by one; an iterator of the app
    as a whole."""
    if type(pages) is not SyncPageIterator:
        return (pages,)

    own = vars(pages).copy()
    return (*own.pop("_args"), *own.pop("_kwargs").values(), *own.values())


def _copied(pages: SyncPageIterator[T]) -> SyncPageIterator[T]:
    """As :func:`copy.copy`, in fewer steps for what PynamoDB's methods return."""
    if type(pages) is not SyncPageIterator:
        return copy.copy(pages)

    copied = t.cast("SyncPageIterator[T]", object.__new__(SyncPageIterator))
    vars(copied).update(vars(pages))
    return copied


@decode_lock.kept()
def _send(fetch: decoded_reply.Fetch[T]) -> DecodedReply[T] | None:
    return fetch.send()


def _fetch_reply(
    pages: SyncPageIterator[t.Any],
) -> tuple[Reply, SyncPageIterator[t.Any]] | None:
    try:
        return next(pages), pages
    except StopIteration:
        return None
