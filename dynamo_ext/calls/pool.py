"""Slots: how many calls may be in flight at once, for threads and for tasks of any event loop.

A slot is the right to have one call in flight. The thread that makes the call holds the slot and
gives it back. Calls made by a thread that holds a slot use that slot, and so do calls that the
thread hands back to an event loop and waits for: queued behind that slot, they would wait for ever.
"""

from __future__ import annotations

import collections
import collections.abc as cabc
import contextlib
import contextvars
import dataclasses
import logging
import threading
import time
import types
import typing as t

from aiologic.lowlevel import create_async_event
from aiologic.lowlevel import create_green_event

from ..errors import PoolTimeout
from . import deadline
from .record import Call

_logger = logging.getLogger("dynamo_ext.pool")
_held: contextvars.ContextVar[Slot | None] = contextvars.ContextVar("dynamo_ext.slot")

E = t.TypeVar("E", bound="_Event")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoolStats:
    """The figures of a pool: now, and in total since it was created."""

    size: int
    """How many calls may be in flight at once."""

    in_use: int
    """How many slots are taken now."""

    waiting: int
    """How many calls are queued for a slot now."""

    calls: int
    """How many calls have ended, successful or not."""

    errors: int
    """How many of them failed."""

    retries: int
    """How often calls were sent again."""

    timeouts: int
    """How many waits for a slot ended without one."""

    queue_seconds: float
    """Total time that calls have waited for a slot, in seconds."""

    call_seconds: float
    """Total time that calls have taken, without the wait for a slot, in seconds."""


class Waiter(t.Protocol):
    """A queued thread, task or job."""

    def set(self) -> bool:
        """Receive a slot. Called in the thread that gave the slot back.

        :return: ``False`` if the waiter no longer wants the slot.
        """
        ...


class _Event(Waiter, t.Protocol):
    def cancelled(self) -> bool: ...


class Pool:
    """The slots of one engine, in one process.

    Waiters are served in the order in which they arrived, whether threads, tasks or jobs of the
    hub.

    :param size: How many calls may be in flight at once.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        # Without a lock, because a signal handler may interrupt its holder and make a call: each
        # single operation leaves both of these consistent.
        self._free = collections.deque([None] * size)
        self._line: collections.deque[Waiter] = collections.deque()
        # Reentrant, because a signal handler may interrupt its holder and make a call.
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
        """How many calls may be in flight at once."""
        return self._size

    @property
    def in_use(self) -> int:
        """How many slots are taken now."""
        return self._size - len(self._free)

    @property
    def waiting(self) -> int:
        """How many calls are queued for a slot now."""
        return len(self._line)

    def stats(self) -> PoolStats:
        """Figures for a dashboard or a log line.

        :return: The figures, read one after the other without a lock.
        """
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
        """Count a call that has ended.

        :param call: The call.
        """
        with self._lock:
            self._calls += 1
            self._errors += call.error is not None
            self._retries += max(0, call.attempts - 1)
            self._call_seconds += call.seconds

    def acquire(self, timeout: float) -> Slot:
        """Wait in this thread for a slot.

        Calls in a ``with`` block of the slot use it, and the end of the block gives it back.
        Without a block, call :meth:`Slot.release`.

        :param timeout: Longest wait, in seconds.
        :return: The slot.
        :raises PoolTimeout: if none became free in time.
        :raises CallTimeout: if the call's deadline came first.
        """
        start = time.monotonic()

        if not self._take():
            with _Place(self, create_green_event(), start, timeout) as place:
                place.has_slot = place.event.wait(_longest_wait(timeout))

        return self.slot(start)

    async def aacquire(self, timeout: float) -> Slot:
        """Wait in this task for a slot. A cancelled wait takes none.

        The parameters, the result and the errors are those of :meth:`acquire`.

        :param timeout: Longest wait, in seconds.
        :return: The slot.
        :raises PoolTimeout: if none became free in time.
        :raises CallTimeout: if the call's deadline came first.
        """
        start = time.monotonic()

        if not self._take():
            with _Place(self, create_async_event(), start, timeout) as place:
                place.has_slot = await place.event.with_(_longest_wait(timeout))

        return self.slot(start)

    def stand_in_line(self, waiter: Waiter) -> None:
        """Add a waiter at the end of the queue.

        :param waiter: Its ``set`` is called when it gets a slot: at once, if one is free.
        """
        self._line.append(waiter)
        self._serve()

    def leave_line(self, waiter: Waiter) -> None:
        """Remove a waiter from the queue. One that was served already is not in it.

        :param waiter: Its ``set`` must be returning ``False`` by now.
        """
        with contextlib.suppress(ValueError):
            self._line.remove(waiter)

    def step_out(self, waiter: Waiter, *, is_out: bool) -> None:
        """End a wait without a slot.

        :param waiter: Who waited.
        :param is_out: Whether its ``set`` returns ``False`` from now on. Otherwise it was given a
            slot, too late: that slot goes to the next waiter.
        """
        if is_out:
            self.leave_line(waiter)
        else:
            self._give_back()

    def slot(self, start: float) -> Slot:
        """The slot of a waiter that was served.

        :param start: When the wait for it began, by :func:`time.monotonic`.
        """
        queue_seconds = time.monotonic() - start

        with self._lock:
            self._queue_seconds += queue_seconds

        return Slot(self, self._give_back, queue_seconds)

    def refused(self, start: float, timeout: float) -> PoolTimeout:
        """The error of a waiter that was not served in time.

        :param start: When the wait began, by :func:`time.monotonic`.
        :param timeout: The longest wait, in seconds.
        :return: The error, to be raised.
        :raises CallTimeout: if the call's deadline came first.
        """
        with self._lock:
            self._queue_seconds += time.monotonic() - start
            self._timeouts += 1

        error = PoolTimeout(self.size, self.in_use, self.waiting, timeout)
        _logger.warning("%s", error)

        if (limit := deadline.current()) is not None:
            limit.check()

        return error

    def slot_for_call(self, timeout: float) -> Slot:
        """A slot for one call, to be held in a ``with`` block: a share of the slot that this thread
        holds already, else a new one.

        :param timeout: Longest wait, in seconds.
        :return: The slot.
        :raises PoolTimeout: if none became free in time.
        :raises CallTimeout: if the call's deadline came first.
        """
        return self.join_held(timeout) or self.acquire(timeout)

    @property
    def is_held(self) -> bool:
        """Whether the current context holds a slot of any pool."""
        return _held.get(None) is not None

    def join_held(self, timeout: float = 0) -> Slot | None:
        """A share of the slot that the current context holds.

        :param timeout: Longest wait for the one call that may be using it, in seconds.
        :return: The share, or ``None`` if the context holds no slot of this pool, or that slot is
            in use.
        """
        slot = _held.get(None)

        while slot is not None:
            if slot.pool is self and (share := slot.join(timeout)) is not None:
                return share

            slot = slot.outer

        return None

    def _take(self) -> bool:
        """Take a slot if one is free and the queue is empty."""
        if self._line:
            return False

        try:
            self._free.pop()
        except IndexError:
            return False

        return True

    def _give_back(self) -> None:
        self._free.append(None)
        self._serve()

    def _serve(self) -> None:
        while self._line and self._free:
            try:
                self._free.pop()
            except IndexError:
                return

            try:
                is_taken = self._line.popleft().set()
            except IndexError:
                is_taken = False

            if not is_taken:
                self._free.append(None)


def _longest_wait(timeout: float) -> float:
    """Seconds to wait for a slot: no longer than the call's deadline allows."""
    limit = deadline.current()
    return timeout if limit is None else min(timeout, limit.remaining)


class _Place(t.Generic[E]):
    """A place in the queue for a slot. In its ``with`` block, the caller waits for the event.

    :param pool: The pool.
    :param event: What wakes the waiting thread or task.
    :param start: When the wait began, by :func:`time.monotonic`.
    :param timeout: Longest wait, in seconds; for the error.
    """

    __slots__ = ("_pool", "_start", "_timeout", "event", "has_slot")

    def __init__(self, pool: Pool, event: E, start: float, timeout: float) -> None:
        self.event: E = event
        self.has_slot: bool = False
        """Whether the wait ended with a slot. The caller sets it."""

        self._pool = pool
        self._start = start
        self._timeout = timeout

    def __enter__(self) -> t.Self:
        try:
            self._pool.stand_in_line(self.event)
        except BaseException:
            self._leave()
            raise

        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        if self.has_slot:
            return

        self._leave()

        if error_type is None:
            raise self._pool.refused(self._start, self._timeout)

    def _leave(self) -> None:
        self._pool.step_out(self.event, is_out=self.event.cancelled())


class Slot:
    """The right to have one call in flight. Calls in its ``with`` block use it, and the end of the
    block gives it back.

    :param pool: The pool that the slot belongs to.
    :param give_back: Called once, when neither the holder nor a share of the slot is left.
    :param queue_seconds: How long the slot was waited for, in seconds.
    """

    # Not a generator: every call enters one.
    __slots__ = ("_busy", "_give_back", "_released", "_token", "outer", "pool", "queue_seconds")

    def __init__(
        self, pool: Pool, give_back: cabc.Callable[[], None], queue_seconds: float
    ) -> None:
        self.pool: Pool = pool
        self.queue_seconds: float = queue_seconds
        self.outer: Slot | None = None
        """The slot that the context held before; set in the ``with`` block."""

        self._give_back = give_back
        self._released = False
        # Acquired by the share, while there is one, and finally by the thread that gives the slot
        # back.
        self._busy = threading.Lock()

    def __enter__(self) -> t.Self:
        try:
            self.outer = _held.get(None)
            self._token = _held.set(self)
        except BaseException:
            self.release()
            raise

        return self

    def __exit__(self, *error: object) -> None:
        try:
            _held.reset(self._token)
        finally:
            self.release()

    def join(self, timeout: float) -> Slot | None:
        """A share for one call. There is one at a time, and none once the holder has released it.

        :param timeout: Longest wait for another share to end, in seconds.
        :return: The share, or ``None`` if there can be none.
        """
        if not self._busy.acquire(timeout=timeout):
            return None

        if self._released:
            self._leave()
            return None

        return Slot(self.pool, self._leave, self.queue_seconds)

    def release(self) -> None:
        """Give the slot back, as soon as no share of it is in use. A second call has no effect."""
        self._released = True
        self._settle()

    def _leave(self) -> None:
        self._busy.release()
        self._settle()

    def _settle(self) -> None:
        if self._released and self._busy.acquire(blocking=False):
            self._give_back()
