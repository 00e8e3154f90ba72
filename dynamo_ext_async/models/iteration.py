"""Query and Scan, page by page: one hop to a worker or to the hub for each page."""

from __future__ import annotations

import collections.abc as cabc
import copy
import dataclasses
import time
import typing as t

import anyio
import pynamodb.models
from pynamodb import constants
from pynamodb.pagination import PageIterator
from pynamodb.pagination import ResultIterator as SyncResultIterator

from dynamo_ext.client.connection import Connection
from dynamo_ext.concurrency import decode_lock
from dynamo_ext.models import undecodable
from dynamo_ext.models.undecodable import Undecodable
from dynamo_ext.models.undecodable import unwrap

from ..execution import eligibility
from ..execution import workers

T = t.TypeVar("T", bound=pynamodb.models.Model)
TypedValue = dict[str, t.Any]
Key = dict[str, TypedValue]


@dataclasses.dataclass(frozen=True)
class Page(t.Generic[T]):
    """One reply to Query or Scan."""

    count: int
    keys: cabc.Mapping[str, list[TypedValue | None]]
    """By name, the attributes of a ``LastEvaluatedKey``: the value of each item, in order, or
    ``None`` for one that lacks it."""

    items: cabc.Sequence[T | Undecodable]
    consumed: float
    """The capacity units that the request consumed."""

    pages: PageIterator[t.Any]
    """PynamoDB's iterator, behind this page."""


class Pages(t.Generic[T]):
    """The pages of a query or scan.

    :param connection: A connection on the engine to use.
    :param pages: PynamoDB's page iterator, without a rate limit.
    :param model: The model.
    :param rate_limit: Capacity units per second; ``None`` for no limit.
    """

    def __init__(
        self,
        connection: Connection,
        pages: PageIterator[t.Any],
        model: type[T],
        rate_limit: float | None,
    ) -> None:
        if rate_limit is not None and rate_limit < 0:
            raise ValueError("rate_limit must be greater than zero")

        self.pages: PageIterator[t.Any] = pages
        self._connection = connection
        self._model = model
        self._rate_limit = rate_limit
        self._has_plain_values = eligibility.are_plain(pages)
        self._consumed = 0.0
        self._last_request = 0.0
        self._are_exhausted = False

    async def next(self, limit: int | None = None) -> Page[T] | None:
        """Fetch the next page.

        A cancelled fetch changes nothing: the next one fetches the same page.

        :param limit: How many items of the page to decode at most; ``None`` for all.
        :return: The page, or ``None`` after the last one.
        :raises pynamodb.exceptions.PynamoDBException: if the call fails.
        """
        if self._are_exhausted:
            return None

        await self._keep_rate()
        # A copy, because the worker of a cancelled fetch goes on and changes its iterator.
        pages = copy.copy(self.pages)
        page = await self._run(pages, limit)
        self._go_on(page)
        return page

    async def _run(self, pages: PageIterator[t.Any], limit: int | None) -> Page[T] | None:
        if not self._has_plain_values:
            return await workers.run(self._connection, self._fetch, pages, limit)

        return await workers.call(self._connection, self._model, self._fetch, pages, limit)

    def _go_on(self, page: Page[T] | None) -> None:
        if page is not None:
            self.pages = page.pages
            self._consumed = page.consumed
            self._are_exhausted = page.pages.last_evaluated_key is None

    async def _keep_rate(self) -> None:
        if self._rate_limit:
            due = self._last_request + self._consumed / self._rate_limit
            await anyio.sleep(max(0.0, due - time.monotonic()))
            self._last_request = time.monotonic()

    @decode_lock.kept()
    def _fetch(self, pages: PageIterator[t.Any], limit: int | None) -> Page[T] | None:
        try:
            reply: dict[str, t.Any] = next(pages)
        except StopIteration:
            return None

        count: int = reply[constants.CAMEL_COUNT]
        capacity: dict[str, t.Any] = reply.get(constants.CONSUMED_CAPACITY) or {}
        raw_items: list[Key] = [*(reply.get(constants.ITEMS) or ())]
        # Usually the last reference: each item can then be freed as soon as it is decoded.
        del reply
        keys = {name: [item.get(name) for item in raw_items] for name in pages.key_names}

        if limit is not None:
            del raw_items[limit:]

        return Page(
            count=count,
            keys=keys,
            items=decode_lock.decode_each(self._decoded, raw_items),
            consumed=capacity.get(constants.CAPACITY_UNITS, 0),
            pages=pages,
        )

    def _decoded(self, raw_item: Key) -> T | Undecodable:
        return undecodable.decoded(self._model.from_raw_data, raw_item)


class ResultIterator(cabc.AsyncIterator[T]):
    """The items of a query or scan, for ``async for``.

    Several tasks may share an iterator: each item goes to one of them.

    :param result: PynamoDB's :class:`~pynamodb.pagination.ResultIterator`, not started, without a
        rate limit.
    :param connection: A connection on the engine to use.
    :param model: The model.
    :param limit: How many items to give at most.
    :param rate_limit: Capacity units per second; ``None`` for no limit.
    """

    def __init__(
        self,
        result: SyncResultIterator[T],
        connection: Connection,
        model: type[T],
        *,
        limit: int | None,
        rate_limit: float | None,
    ) -> None:
        pages: PageIterator[t.Any] = t.cast(t.Any, result).page_iter
        self._pages = Pages(connection, pages, model, rate_limit)
        self._page: Page[T] | None = None
        self._index = 0
        self._limit = limit
        self._total_count = 0
        self._lock = anyio.Lock()

    def __aiter__(self) -> t.Self:
        return self

    async def __anext__(self) -> T:
        while True:
            if self._limit == 0:
                raise StopAsyncIteration

            if self._page is not None and self._index < len(self._page.items):
                return self._take(self._page)

            exhausted = self._page

            async with self._lock:
                # Another task may have fetched it while this one waited.
                if self._page is exhausted and not await self._advance():
                    raise StopAsyncIteration

    async def aclose(self) -> None:
        """End the iteration; for :func:`contextlib.aclosing`. Without it nothing is left open."""
        self._limit = 0

    @property
    def last_evaluated_key(self) -> Key | None:
        """The key of the last item that was given, from which a later query or scan can start;
        ``None`` after the last item of all."""
        page, pages = self._page, self._pages.pages

        if page is None or self._index in {0, page.count}:
            return pages.last_evaluated_key

        return {name: self._stored(page, name) for name in pages.key_names}

    @property
    def total_count(self) -> int:
        """How many items the pages that were fetched so far have."""
        return self._total_count

    def _stored(self, page: Page[T], name: str) -> TypedValue:
        """
        :raises KeyError: as in PynamoDB, if the last item that was given lacks this attribute.
        """
        value = page.keys[name][self._index - 1]

        if value is None:
            raise KeyError(name)

        return value

    async def _advance(self) -> bool:
        page = await self._pages.next(self._limit)

        if page is None:
            return False

        self._page = page
        self._index = 0
        self._total_count += page.count
        return True

    def _take(self, page: Page[T]) -> T:
        item = page.items[self._index]
        self._index += 1

        if self._limit is not None:
            self._limit -= 1

        return unwrap(item)
