"""Batches, for ``async with`` and ``async for``."""

from __future__ import annotations

import collections.abc as cabc
import functools
import itertools
import threading
import types
import typing as t

import aiologic
import anyio
import pynamodb.models
from pynamodb import constants

import dynamo_ext.models.batch
import dynamo_ext.models.model
from dynamo_ext.calls import recording
from dynamo_ext.client.connection import Connection
from dynamo_ext.concurrency import generators
from dynamo_ext.concurrency.generators import Waits
from dynamo_ext.errors import OUTCOME_UNKNOWN
from dynamo_ext.errors import UnprocessedItems
from dynamo_ext.models import eligibility
from dynamo_ext.models import late_binding
from dynamo_ext.models.batch import Answer
from dynamo_ext.models.batch import Commit
from dynamo_ext.models.undecodable import Undecodable
from dynamo_ext.models.undecodable import unwrap
from dynamo_ext.models.usual_keys import UsualKeys

from ..execution import on_loop
from ..execution import workers
from .lock import Lock
from .parallel_scan import ParallelScan

M = t.TypeVar("M", bound=pynamodb.models.Model)
T = t.TypeVar("T")
R = t.TypeVar("R")

_class_of: cabc.Callable[[t.Any], type[t.Any]] = type


class BatchWrite(t.Generic[M]):
    """Writes many items. Several tasks may share a batch.

    An exception in the ``async with`` block writes nothing of what is pending.

    :param batch: The batch to make awaitable.
    """

    def __init__(self, batch: dynamo_ext.models.batch.BatchWrite[M]) -> None:
        self._connection = batch.connection.connection
        self._batch = batch
        self._lock = Lock()
        self._max_concurrency = 1
        self._steps: list[_Step] = []

    def with_options(self, *, max_concurrency: int) -> t.Self:
        """Set how this batch is written, before anything is added to it::

            async with Todo.abatch_write().with_options(max_concurrency=4) as batch:
                ...

        :param max_concurrency: How many requests may be in flight at once, and never more than
            there are slots. The batch writes whenever it holds as many items as so many requests
            take, 25 each. The default is 1. Several writes of one key are never in flight at once,
            and their order stays.
        :return: This batch.
        :raises TypeError: if ``max_concurrency`` is not a whole number.
        :raises ValueError: if it is less than 1; or if it is more, and the batch has no
            ``auto_commit`` or is that of an override, which writes in its own way.
        """
        _check_concurrency(max_concurrency)
        self._check_options(max_concurrency)
        self._max_concurrency = max_concurrency
        return self

    @property
    def pending_operations(self) -> list[dict[str, t.Any]]:
        """The operations that are not written yet."""
        return self._batch.pending_operations

    @property
    def failed_operations(self) -> list[t.Any]:
        """The requests that DynamoDB left unprocessed at the end."""
        return self._batch.failed_operations

    async def save(self, put_item: M) -> None:
        """Add an item to write.

        :param put_item: The item.
        :raises ValueError: if 25 are pending, without ``auto_commit``.
        :raises UnprocessedItems: if the batch is full and can't be written, as in :meth:`commit`.
        """
        await self._add(constants.PUT, put_item)

    async def delete(self, del_item: M) -> None:
        """Add an item to delete.

        :param del_item: The item.
        :raises ValueError: if 25 are pending, without ``auto_commit``.
        :raises UnprocessedItems: if the batch is full and can't be written, as in :meth:`commit`.
        """
        await self._add(constants.DELETE, del_item)

    async def commit(self) -> None:
        """Write what is pending, and what an earlier commit could not write.

        Whatever DynamoDB has not acknowledged stays in ``pending_operations``, also after an
        exception or a cancellation: the next commit sends it. Of several operations on one key,
        only the last one is sent. If one of several requests in flight fails, the others are waited
        for, and no further one is begun.

        :raises UnprocessedItems: if DynamoDB leaves every item unprocessed, time after time. They
            are then in ``failed_operations``, in the form of the request.
        :raises pynamodb.exceptions.PutError: if a call fails.
        """
        async with self._lock:
            await self._write_pending()

    async def __aenter__(self) -> t.Self:
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        if error_type is None:
            await self.commit()

    def _check_options(self, max_concurrency: int) -> None:
        if max_concurrency > 1 and not self._batch.auto_commit:
            raise ValueError(
                "'max_concurrency' needs 'auto_commit': without it a batch takes no more items than"
                " one request."
            )

    @property
    def _concurrency(self) -> int:
        return min(self._max_concurrency, self._connection.engine.pool.size)

    async def _add(self, action: str, item: M) -> None:
        batch = self._batch

        async with self._lock:
            if len(batch.pending_operations) >= batch.max_operations * self._concurrency:
                if not batch.auto_commit:
                    # PynamoDB's words.
                    raise ValueError("DynamoDB allows a maximum of 25 batch operations")

                await self._write_pending()

            batch.pending_operations.append({"action": action, "item": item})

    async def _write_pending(self) -> None:
        await self._let_steps_end()
        batch, model = self._batch, self._model_if_plain()
        operations = len(batch.pending_operations) + len(batch.failed_operations)

        if self._concurrency > 1 and operations > batch.max_operations:
            await self._write_at_once(model)
        else:
            await self._drive(dynamo_ext.models.batch.write_pending(batch), model)

    async def _write_at_once(self, model: type[M] | None) -> None:
        """Write what is pending, with several requests in flight."""
        commit = await self._run(model, functools.partial(Commit, self._batch))
        errors: list[Exception] = []

        # The tasks have no frame of the app's.
        with recording.at_call_site(self._connection.policy):
            async with anyio.create_task_group() as tasks:
                for _ in range(min(self._concurrency, commit.number_of_requests)):
                    tasks.start_soon(self._write_some, commit, model, errors)

        if errors:
            try:
                raise _error_of_all(errors)
            finally:
                # The error's traceback refers to this frame: break the cycle.
                errors.clear()

    async def _write_some(
        self, commit: Commit, model: type[M] | None, errors: list[Exception]
    ) -> None:
        try:
            await self._drive(commit.write(), model)
        except Exception as error:
            commit.stop()
            errors.append(error)

    async def _drive(self, waits: Waits[None], model: type[M] | None) -> None:
        """As :func:`workers.drive`; and note the steps that are left alone by a cancellation."""
        while True:
            step = _Step(waits)
            self._steps.append(step)

            try:
                seconds = await self._run(model, step.run)
            finally:
                step.give_up()

                if step.ended.is_set():
                    self._steps.remove(step)

            if seconds is None:
                return

            await anyio.sleep(seconds)

    async def _let_steps_end(self) -> None:
        """Wait for the requests of cancelled tasks, without a slot: what they send must arrive
        before anything newer on the same key, and what they write need not be sent again."""
        while self._steps:
            await self._steps[0].ended
            del self._steps[0]

    async def _run(self, model: type[M] | None, function: cabc.Callable[[], R]) -> R:
        """Run a function in the hub, where a model is given, or in a worker."""
        if model is None:
            return await workers.run(self._connection, function)

        return await workers.call(self._connection, model, function)

    def _model_if_plain(self) -> type[M] | None:
        """The model, if to write what is pending runs no code of the app."""
        batch, connection = self._batch, self._connection

        if not workers.may_share_thread(connection, batch.model) or not eligibility.are_plain(
            batch.failed_operations, batch.pending_operations
        ):
            return None

        # An item may be of another class: of one that the discriminator names, say.
        kinds = {_class_of(each["item"]) for each in batch.pending_operations if "item" in each}
        kinds.discard(batch.model)
        is_plain = all(
            issubclass(kind, dynamo_ext.models.model.Model)
            and workers.may_share_thread(connection, kind)
            for kind in kinds
        )
        return batch.model if is_plain else None


class _Step:
    """A step of a commit. Its task may be cancelled: then either it never begins, or it runs to its
    end without that task.

    :param waits: The commit.
    """

    def __init__(self, waits: Waits[None]) -> None:
        self._waits = waits
        # Acquired once, by the side that decides whether the step is taken or given up.
        self._claim = threading.Lock()
        self.ended = aiologic.Event()

    def run(self) -> float | None:
        """Take the step, in a worker or in the hub.

        :return: How many seconds to wait before the next one; ``None`` after the last one.
        """
        if not self._claim.acquire(blocking=False):
            raise RuntimeError("This step was given up before it began.")

        try:
            return next(self._waits, None)
        finally:
            self.ended.set()

    def give_up(self) -> None:
        """See to it that the step is not taken, unless it has begun."""
        if self._claim.acquire(blocking=False):
            self.ended.set()


def _error_of_all(errors: cabc.Sequence[Exception]) -> Exception:
    """The error of several requests: of a kind that says no less than any of them."""
    left = [error for error in errors if isinstance(error, UnprocessedItems)]

    if len(left) == len(errors):
        items = itertools.chain.from_iterable(error.unprocessed_items for error in left)
        return UnprocessedItems(left[0].table_name, [*items]) if len(left) > 1 else left[0]

    # Of equal ones, the first.
    return max(errors, key=lambda error: bool(getattr(error, OUTCOME_UNKNOWN, False)))


def _check_concurrency(max_concurrency: t.Any) -> None:
    if not isinstance(max_concurrency, int) or isinstance(max_concurrency, bool):
        raise TypeError(
            f"'max_concurrency' must be a whole number from 1; it is {max_concurrency!r}."
        )

    if max_concurrency < 1:
        raise ValueError(f"'max_concurrency' must be 1 or more; it is {max_concurrency}.")


class OtherBatchWrite(BatchWrite[M]):
    """Writes many items with what an override of the app has returned. It is called in workers.

    :param connection: A connection on the engine to use.
    :param batch: A batch of PynamoDB's, or something like it.
    """

    def __init__(self, connection: Connection, batch: t.Any) -> None:
        self._connection = connection
        self._call = late_binding.in_current_bind(_call)
        self._batch = batch
        self._entered: t.Any = batch
        self._lock = Lock()

    def _check_options(self, max_concurrency: int) -> None:
        if max_concurrency > 1:
            raise ValueError(
                "'max_concurrency' must be 1 for this batch: an override of 'batch_write' has"
                f" returned {type(self._batch).__name__!r}, which writes in its own way."
            )

    @property
    def pending_operations(self) -> list[dict[str, t.Any]]:
        """The operations that are not written yet."""
        operations: list[dict[str, t.Any]] = self._entered.pending_operations
        return operations

    @property
    def failed_operations(self) -> list[t.Any]:
        """The requests that DynamoDB left unprocessed at the end."""
        operations: list[t.Any] = self._entered.failed_operations
        return operations

    async def save(self, put_item: M) -> None:
        """Add an item to write.

        :param put_item: The item.
        """
        async with self._lock:
            await workers.run(self._connection, self._call, self._entered.save, put_item)

    async def delete(self, del_item: M) -> None:
        """Add an item to delete.

        :param del_item: The item.
        """
        async with self._lock:
            await workers.run(self._connection, self._call, self._entered.delete, del_item)

    async def commit(self) -> None:
        """Write what is pending."""
        async with self._lock:
            await workers.run(self._connection, self._call, self._entered.commit)

    async def __aenter__(self) -> t.Self:
        self._entered = await workers.run(self._connection, self._call, self._batch.__enter__)
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> t.Any:
        # Also where the task is cancelled: a context manager that was entered is left.
        with anyio.CancelScope(shield=True):
            leave = functools.partial(self._batch.__exit__, error_type, error, traceback)
            return await workers.run(self._connection, self._call, leave)


def _call(method: cabc.Callable[..., R], *args: t.Any) -> R:
    return method(*args)


def batch_write(connection: Connection, batch: t.Any) -> BatchWrite[t.Any]:
    """Make a batch awaitable.

    :param connection: A connection on the engine to use.
    :param batch: What ``batch_write`` has returned, the project's or an override.
    """
    is_ours = batch.__class__ is dynamo_ext.models.batch.BatchWrite
    return BatchWrite(batch) if is_ours else OtherBatchWrite(connection, batch)


class BatchGetIterator(cabc.AsyncIterator[T]):
    """The items of a batch. Several tasks may share an iterator: each item goes to one of them.

    :param batch: The keys, and how to get them.
    :param model: The model.
    """

    def __init__(self, batch: dynamo_ext.models.batch.BatchGet[T], model: type[T]) -> None:
        self._batch = batch
        are_usual = isinstance(batch.keys, UsualKeys) or eligibility.are_plain(batch.keys)
        is_plain = are_usual and eligibility.are_plain(batch.attributes_to_get)
        self._model = model if is_plain else None
        # After a reply that the event loop could not read, most likely because it was too large.
        self._goes_by_hub = False
        self._max_concurrency = 1
        self._pages: ParallelScan[T] | None = None
        """The pages that are requested at once, if that was asked for."""

        self._items: list[T | Undecodable] = []
        self._total_count = 0
        self._lock = Lock()

    def with_options(self, *, max_concurrency: int) -> t.Self:
        """Set how the items are got, before the first one is asked for::

            async for todo in Todo.abatch_get(ids).with_options(max_concurrency=4):
                ...

        :param max_concurrency: How many requests, of 100 keys each, may be in flight at once, and
            never more than there are slots. Items come as their pages arrive. The default is 1.
        :return: This iterator.
        :raises TypeError: if ``max_concurrency`` is not a whole number.
        :raises ValueError: if it is less than 1, or items were asked for already.
        """
        _check_concurrency(max_concurrency)

        if self._pages is not None or self._total_count:
            raise ValueError("Items were asked for already: set the options before that.")

        self._max_concurrency = max_concurrency
        return self

    def __aiter__(self) -> t.Self:
        return self

    async def __anext__(self) -> T:
        if self._max_concurrency > 1:
            return await anext(self._concurrent_pages())

        if self._items:
            item = self._items.pop()

            # As :func:`unwrap`, without the call.
            if isinstance(item, Undecodable):
                raise item.error

            return item

        async with self._lock:
            # Another task may have fetched a page while this one waited.
            while not self._items and self._batch.keys:
                items, self._batch, self._goes_by_hub = await _next_page(
                    self._batch, self._model, goes_by_hub=self._goes_by_hub
                )
                self._items = items[::-1]
                self._total_count += len(items)

            if not self._items:
                raise StopAsyncIteration

            return unwrap(self._items.pop())

    @property
    def total_count(self) -> int:
        """How many items the pages that were fetched so far have."""
        return self._total_count if self._pages is None else self._pages.total_count

    @property
    def last_evaluated_key(self) -> None:
        """Always ``None``: a batch has no key from which another one could start."""
        return None

    async def aclose(self) -> None:
        """End the iteration; for :func:`contextlib.aclosing`. Without it nothing is left open."""
        self._items.clear()
        self._batch = self._batch.without_keys()

        if self._pages is not None:
            await self._pages.aclose()

    def _concurrent_pages(self) -> ParallelScan[T]:
        if self._pages is None:
            pages: list[_Page[T]] = [_Page(page, self._model) for page in self._batch.pages()]
            self._pages = ParallelScan(
                self._batch.connection.connection,
                pages,
                limit=None,
                max_concurrency=self._max_concurrency,
            )

        return self._pages


async def _next_page(
    batch: dynamo_ext.models.batch.BatchGet[T], model: type[T] | None, *, goes_by_hub: bool = False
) -> tuple[list[T | Undecodable], dynamo_ext.models.batch.BatchGet[T], bool]:
    """Get the next items of a batch.

    :param batch: The batch.
    :param model: The model, if to get its items runs no code of the app.
    :param goes_by_hub: Whether not to have the event loop make the call.
    :return: The items, which are none only if no key is left; the batch that is left; and whether
        that had better go by the hub.
    """
    table, connection = batch.connection, batch.connection.connection

    if model is None or table.is_replaced or not workers.may_share_thread(connection, model):
        return *await workers.drive(connection, batch.next_page()), goes_by_hub

    call = None if goes_by_hub else on_loop.prepare(table, batch.plan)

    if call is None:
        return *await workers.drive(connection, batch.next_page(), model), goes_by_hub

    answer: Answer[T] = await call.make()

    if answer.items:
        return answer.items, batch.after(answer), call.went_on

    page = batch.next_page(answer)
    # This step sends nothing.
    seconds, result = generators.step(page)

    if seconds is not None:
        await anyio.sleep(seconds)
        return *await workers.drive(connection, page, model), call.went_on

    found: tuple[list[T | Undecodable], dynamo_ext.models.batch.BatchGet[T]] = t.cast(t.Any, result)
    return *found, call.went_on


class _Page(t.Generic[T]):
    """The items of the keys that one request takes.

    :param batch: The keys, and how to get them.
    :param model: The model, if to get them runs no code of the app.
    """

    limit: int | None = None

    def __init__(self, batch: dynamo_ext.models.batch.BatchGet[T], model: type[T] | None) -> None:
        self._batch = batch
        self._model = model
        self.total_count = 0

    async def next(self, limit: int | None = None) -> cabc.Sequence[T | Undecodable] | None:
        """Get items.

        :param limit: Not used: a batch has none.
        :return: The items, or ``None`` if no key is left.
        """
        if not self._batch.keys:
            return None

        items, self._batch, _ = await _next_page(self._batch, self._model)
        self.total_count += len(items)
        return items

    def key_behind(self, index: int) -> None:
        """Nothing: a batch has no key from which another one could start."""
        return None
