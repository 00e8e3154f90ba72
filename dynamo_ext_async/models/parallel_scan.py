"""A scan of several segments at once.

Each segment has a task of its own while it fetches a page, in a worker or in the hub as any other
call: with a slot, under the app's limits, and waited for when the app stops.
"""

from __future__ import annotations

import collections
import collections.abc as cabc
import functools
import typing as t

import aiologic
import anyio

from dynamo_ext.calls import recording
from dynamo_ext.client.connection import Connection
from dynamo_ext.models.undecodable import Undecodable
from dynamo_ext.models.undecodable import unwrap

from ..execution import background
from .iteration import Source

T = t.TypeVar("T")

_Items: t.TypeAlias = cabc.Sequence[T | Undecodable]
_Arrival: t.TypeAlias = tuple[Source[T], _Items[T] | BaseException | None]


class ParallelScan(cabc.AsyncIterator[T]):
    """The items of all segments, as their pages arrive.

    Never more calls at once than the pool allows. An error and a cancellation end the iteration: a
    request that is still queued is not sent.

    :param connection: A connection on the engine to use.
    :param segments: Where the items of each segment come from.
    :param limit: How many items to give at most.
    :param max_concurrency: How many pages to fetch at once; ``None`` for as many as there are
        slots.
    """

    def __init__(
        self,
        connection: Connection,
        segments: cabc.Iterable[Source[T]],
        *,
        limit: int | None,
        max_concurrency: int | None = None,
    ) -> None:
        self._connection = connection
        slots = connection.engine.pool.size
        self._max_concurrency = slots if max_concurrency is None else min(max_concurrency, slots)
        self._idle = collections.deque(segments)
        self._fetching = 0
        self._scopes: set[anyio.CancelScope] = set()
        self._arrived: aiologic.SimpleQueue[_Arrival[T]] = aiologic.SimpleQueue()
        self._items: collections.deque[T | Undecodable] = collections.deque()
        self._limit = limit
        self._total_count = 0
        self._closed = False

    def __aiter__(self) -> t.Self:
        return self

    async def __anext__(self) -> T:
        try:
            while not self._items:
                await self._receive()

            return self._take()
        except BaseException:
            self._close()
            raise

    @property
    def total_count(self) -> int:
        """How many items the pages that have arrived so far have."""
        return self._total_count

    async def aclose(self) -> None:
        """End the iteration; for :func:`contextlib.aclosing`. A page that is being fetched is
        dropped when it arrives."""
        self._close()
        self._items.clear()

    def _close(self) -> None:
        self._closed = True

        for scope in self._scopes:
            scope.cancel()

    def _take(self) -> T:
        if self._limit is not None:
            if self._limit == 0:
                raise StopAsyncIteration

            self._limit -= 1

        return unwrap(self._items.popleft())

    async def _receive(self) -> None:
        self._start_idle()

        if self._closed or not self._fetching or self._limit == 0:
            raise StopAsyncIteration

        segment, items = await self._arrived.async_get()
        self._fetching -= 1

        if isinstance(items, Exception):
            raise items

        if isinstance(items, BaseException):
            raise RuntimeError("The task that fetched a page was cancelled.") from items

        if items is not None:
            self._idle.append(segment)
            self._items.extend(items)
            self._total_count += len(items)

    def _start_idle(self) -> None:
        while self._idle and self._fetching < self._max_concurrency:
            # The task has no frame of the app's.
            with recording.at_call_site(self._connection.policy):
                background.start(functools.partial(self._fetch, self._idle.popleft()))

            self._fetching += 1

    async def _fetch(self, segment: Source[T]) -> None:
        """Fetch a segment's next page, in a task of its own, and report it."""
        outcome: _Items[T] | BaseException | None = None

        with anyio.CancelScope() as scope:
            self._scopes.add(scope)

            try:
                # The iteration may have ended since this task was started.
                outcome = None if self._closed else await segment.next()
            except Exception as error:
                outcome = error
            except BaseException as error:
                outcome = None if self._closed else error
                raise
            finally:
                self._scopes.discard(scope)
                # Whatever has happened: several tasks may wait for what arrives.
                self._arrived.put((segment, outcome))
