"""Slots: how many calls may be in flight at once, for threads and for tasks of any event loop.

A slot is the right to have one call in flight. Whoever does the work holds it and gives it back.
A thread that holds a slot makes its calls on that slot, and so does what it hands back to an event
loop and waits for: such a call must not queue behind the very slot that waits for it.
"""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import contextvars
import dataclasses
import logging
import threading
import time

import aiologic

from . import deadline
from .calls import Call
from .errors import PoolTimeout

_logger = logging.getLogger("dynamo_ext.pool")
_held: contextvars.ContextVar[Slot | None] = contextvars.ContextVar("dynamo_ext.slot")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoolStats:
    """What a pool has done so far, and is doing now."""

    size: int
    """How many calls it lets run at once."""

    in_use: int
    """How many are running now."""

    waiting: int
    """How many are queued now."""

    calls: int
    """How many calls have ended, well or not."""

    errors: int
    """How many of them failed."""

    retries: int
    """How often calls were sent again."""

    timeouts: int
    """How many waits for a slot were in vain."""

    queue_seconds: float
    """How long calls have waited for a slot in all, in seconds."""

    call_seconds: float
    """How long calls have taken in all, without that wait, in seconds."""


class Pool:
    """The slots of one engine, in one process.

    Waiters are served in the order in which they came, whether threads or tasks.

    :param size: How many calls may be in flight at once.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._semaphore = aiologic.Semaphore(size)
        # Reentrant: as in Engine.
        self._lock = threading.RLock()
        self._calls = 0
        self._errors = 0
        self._retries = 0
        self._timeouts = 0
        self._queue_seconds = 0.0
        self._call_seconds = 0.0

    def __repr__(self) -> str:
        return f"<Pool size={self.size} in_use={self.in_use} waiting={self.waiting}>"

    @property
    def size(self) -> int:
        """How many calls it lets run at once."""
        return self._size

    @property
    def in_use(self) -> int:
        """How many slots are taken now."""
        return self._size - self._semaphore.value

    @property
    def waiting(self) -> int:
        """How many calls are queued for a slot now."""
        return self._semaphore.waiting

    def stats(self) -> PoolStats:
        """Figures for a dashboard or a log line."""
        return PoolStats(
            size=self.size,
            in_use=self.in_use,
            waiting=self.waiting,
            calls=self._calls,
            errors=self._errors,
            retries=self._retries,
            timeouts=self._timeouts,
            queue_seconds=self._queue_seconds,
            call_seconds=self._call_seconds,
        )

    def record(self, call: Call) -> None:
        """Count a call that has ended."""
        with self._lock:
            self._calls += 1
            self._errors += call.error is not None
            self._retries += max(0, call.attempts - 1)
            self._call_seconds += call.seconds

    def acquire(self, timeout: float) -> Slot:
        """Wait in this thread for a slot.

        :param timeout: Longest wait, in seconds.
        :raises PoolTimeout: if none became free in time.
        :raises CallTimeout: if the call's deadline came first.
        """
        start, patience = time.monotonic(), _patience(timeout)
        return self._taken(self._semaphore.green_acquire(timeout=patience), start, timeout)

    async def aacquire(self, timeout: float) -> Slot:
        """Wait in this task for a slot.

        A cancelled wait takes no slot.

        :param timeout: Longest wait, in seconds.
        :raises PoolTimeout: if none became free in time.
        :raises CallTimeout: if the call's deadline came first.
        """
        start, patience = time.monotonic(), _patience(timeout)
        # A slot that is free costs no turn of the event loop. With waiters, none is.
        taken = self._semaphore.green_acquire(blocking=False)
        taken = taken or await self._semaphore.async_acquire(timeout=patience)
        return self._taken(taken, start, timeout)

    @contextlib.contextmanager
    def slot_for_call(self, timeout: float) -> cabc.Generator[Slot]:
        """Hold a slot for the one call of the block: the one this thread holds already, or a new
        one.

        :param timeout: Longest wait, in seconds.
        :raises PoolTimeout: if none became free in time.
        :raises CallTimeout: if the call's deadline came first.
        """
        slot = self.join_held(timeout) or self.acquire(timeout)

        try:
            # What is called within this call (by a handler of a signal or of a log record, by a
            # botocore event) must not queue behind it.
            with slot.held():
                yield slot
        finally:
            slot.release()

    def join_held(self, timeout: float = 0) -> Slot | None:
        """A share of the slot that the current context holds.

        :param timeout: Longest wait for the one call that may be using it, in seconds.
        :return: The share, or ``None`` if the context holds no slot of this pool, or that one is
            in use.
        """
        slot = _held.get(None)

        while slot is not None:
            if slot.pool is self and (share := slot.join(timeout)) is not None:
                return share

            slot = slot.outer

        return None

    def _taken(self, taken: bool, start: float, timeout: float) -> Slot:
        queue_seconds = time.monotonic() - start

        with self._lock:
            self._queue_seconds += queue_seconds
            self._timeouts += not taken

        if not taken:
            error = PoolTimeout(self.size, self.in_use, self.waiting, timeout)
            _logger.warning("%s", error)

            if (limit := deadline.current()) is not None:
                limit.check()

            raise error

        return Slot(self, self._semaphore.release, queue_seconds)


def _patience(timeout: float) -> float:
    """Seconds to wait for a slot: no longer than the call's deadline allows."""
    limit = deadline.current()
    return timeout if limit is None else min(timeout, limit.remaining)


class Slot:
    """The right to have one call in flight.

    :param pool: The pool that it is of.
    :param give_back: Called once, when neither its holder nor a share of it is left.
    :param queue_seconds: How long it was waited for, in seconds.
    """

    def __init__(
        self, pool: Pool, give_back: cabc.Callable[[], None], queue_seconds: float
    ) -> None:
        self.pool = pool
        self.queue_seconds = queue_seconds
        self.outer: Slot | None = None
        self._give_back = give_back
        self._released = False
        # Taken by the share, while there is one, and in the end by whoever gives the slot back.
        self._busy = threading.Lock()

    def join(self, timeout: float) -> Slot | None:
        """A share for one call. There is one at a time, and none once the holder has gone.

        :param timeout: Longest wait for another share to end, in seconds.
        """
        if not self._busy.acquire(timeout=timeout):
            return None

        if self._released:
            self._leave()
            return None

        return Slot(self.pool, self._leave, self.queue_seconds)

    def release(self) -> None:
        """Stop holding it."""
        self._released = True
        self._settle()

    @contextlib.contextmanager
    def held(self) -> cabc.Generator[None]:
        """Make this slot the one that calls inside the block use."""
        self.outer = _held.get(None)
        token = _held.set(self)

        try:
            yield
        finally:
            _held.reset(token)

    def _leave(self) -> None:
        self._busy.release()
        self._settle()

    def _settle(self) -> None:
        if self._released and self._busy.acquire(blocking=False):
            self._give_back()
