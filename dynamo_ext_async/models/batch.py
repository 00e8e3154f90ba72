"""Batches, for ``async with`` and ``async for``."""

from __future__ import annotations

import collections.abc as cabc
import functools
import types
import typing as t

import anyio
import pynamodb.models

import dynamo_ext.models.batch
from dynamo_ext.client.connection import Connection
from dynamo_ext.models import late_binding
from dynamo_ext.models.undecodable import Undecodable
from dynamo_ext.models.undecodable import unwrap

from ..execution import eligibility
from ..execution import workers

M = t.TypeVar("M", bound=pynamodb.models.Model)
T = t.TypeVar("T")
R = t.TypeVar("R")


class BatchWrite(t.Generic[M]):
    """Writes many items. Several tasks may share a batch.

    An exception in the ``async with`` block writes nothing of what is pending.

    :param batch: The batch to make awaitable.
    """

    def __init__(self, batch: dynamo_ext.models.batch.BatchWrite[M]) -> None:
        self._connection = batch.connection.connection
        self._batch = batch
        self._lock = anyio.Lock()

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
        async with self._lock:
            await self._make_room()
            self._batch.save(put_item)

    async def delete(self, del_item: M) -> None:
        """Add an item to delete.

        :param del_item: The item.
        :raises ValueError: if 25 are pending, without ``auto_commit``.
        :raises UnprocessedItems: if the batch is full and can't be written, as in :meth:`commit`.
        """
        async with self._lock:
            await self._make_room()
            self._batch.delete(del_item)

    async def commit(self) -> None:
        """Write what is pending.

        :raises UnprocessedItems: if DynamoDB leaves every item unprocessed, time after time.
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

    async def _make_room(self) -> None:
        if self._batch.auto_commit and self._batch.is_full:
            await self._write_pending()

    async def _write_pending(self) -> None:
        await workers.drive(self._connection, self._batch.write_pending())


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
        self._lock = anyio.Lock()

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
        has_plain_values = eligibility.are_plain(batch.keys, batch.attributes_to_get)
        self._model = model if has_plain_values else None
        self._items: list[T | Undecodable] = []
        self._total_count = 0
        self._lock = anyio.Lock()

    def __aiter__(self) -> t.Self:
        return self

    async def __anext__(self) -> T:
        if self._items:
            return unwrap(self._items.pop())

        async with self._lock:
            # Another task may have fetched a page while this one waited.
            while not self._items and self._batch.keys:
                connection, page = self._batch.connection.connection, self._batch.next_page()
                items, self._batch = await workers.drive(connection, page, self._model)
                self._items = items[::-1]
                self._total_count += len(items)

            if not self._items:
                raise StopAsyncIteration

            return unwrap(self._items.pop())

    @property
    def total_count(self) -> int:
        """How many items the pages that were fetched so far have."""
        return self._total_count

    @property
    def last_evaluated_key(self) -> None:
        """Always ``None``: a batch has no key from which another one could start."""
        return None

    async def aclose(self) -> None:
        """End the iteration; for :func:`contextlib.aclosing`. Without it nothing is left open."""
        self._items.clear()
        self._batch = self._batch.without_keys()
