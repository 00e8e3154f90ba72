"""A scan of several segments at once.

Each segment has a thread of its own while it fetches a page, so that pages can arrive in any order
without a task group that would have to stay open between two items.
"""

from __future__ import annotations

import collections
import collections.abc as cabc
import contextvars
import threading
import typing as t

import aiologic
import pynamodb.models

from dynamo_ext.client.connection import Connection

from .iteration import Page
from .iteration import Pages
from .iteration import Undecodable
from .iteration import unwrap

T = t.TypeVar("T", bound=pynamodb.models.Model)

_Arrival: t.TypeAlias = tuple[Pages[T], Page[T] | BaseException | None]


class ParallelScan(cabc.AsyncIterator[T]):
    """The items of all segments, as their pages arrive.

    Never more calls at once than the pool allows. Breaking off early, or being cancelled, ends it:
    what is queued is not sent any more.

    :param connection: A connection on the engine to use.
    :param segments: The pages of each segment.
    :param limit: How many items to give at most.
    """

    def __init__(
        self, connection: Connection, segments: cabc.Iterable[Pages[T]], *, limit: int | None
    ) -> None:
        self._connection = connection
        self._idle = collections.deque(segments)
        self._fetching = 0
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
            self._closed = True
            raise

    @property
    def total_count(self) -> int:
        """How many items the pages that have arrived so far hold."""
        return self._total_count

    async def aclose(self) -> None:
        """Stop here. A page that is being fetched is dropped when it arrives."""
        self._closed = True
        self._items.clear()

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

        segment, page = await self._arrived.async_get()
        self._fetching -= 1

        if isinstance(page, BaseException):
            raise page

        if page is not None:
            self._idle.append(segment)
            self._items.extend(page.items)
            self._total_count += page.count

    def _start_idle(self) -> None:
        while self._idle and self._fetching < self._connection.engine.pool.size:
            context = contextvars.copy_context()
            arguments = (self._fetch, self._idle.popleft())
            threading.Thread(target=context.run, args=arguments, name="parallel scan").start()
            self._fetching += 1

    def _fetch(self, segment: Pages[T]) -> None:
        """Fetch a segment's next page, in a thread of its own, and report it."""
        try:
            page = self._fetch_in_slot(segment)
        except BaseException as error:
            self._arrived.put((segment, error))
        else:
            self._arrived.put((segment, page))

    def _fetch_in_slot(self, segment: Pages[T]) -> Page[T] | None:
        timeout = self._connection.policy.settings.pool_timeout_seconds

        with self._connection.engine.pool.acquire(timeout):
            return None if self._closed else segment.fetch()
