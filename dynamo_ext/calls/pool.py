"""Slots: how many calls may be in flight at once, for threads and for tasks of any event loop.

A slot is the right to have one call in flight. Whoever does the work holds it and gives it back.
A thread that holds a slot makes its calls on that slot, and so does what it hands back to an event
loop and waits for: such a call must not queue behind the very slot that waits for it.
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
import typing as t

from aiologic.lowlevel import create_async_event
from aiologic.lowlevel import create_green_event

from ..errors import PoolTimeout
from . import deadline
from .record import Call

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


class Waiter(t.Protocol):
    """One who waits in the line for a slot."""

    def set(self) -> bool:
        """Be given a slot. It is called in the thread of whoever gave one back.

        :return: ``False`` if it does not want one any more.
        """
        ...


class Pool:
    """The slots of one engine, in one process.

    Waiters are served in the order in which they came, whether threads, tasks, or calls that
    another thread will make.

    :param size: How many calls may be in flight at once.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        # No lock guards these two, because a handler of a signal may interrupt what holds it: each
        # step leaves both of them right.
        self._free = collections.deque([None] * size)
        self._line: collections.deque[Waiter] = collections.deque()
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
        return self._size - len(self._free)

    @property
    def waiting(self) -> int:
        """How many calls are queued for a slot now."""
        return len(self._line)

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
        start = time.monotonic()

        if self._take():
            return self.slot(start)

        turn = create_green_event()
        self.stand_in_line(turn)
        has_slot = False

        try:
            has_slot = turn.wait(_patience(timeout))
        finally:
            if not has_slot:
                self._step_out(turn, is_out=turn.cancelled())

        if not has_slot:
            raise self.refused(start, timeout)

        return self.slot(start)

    async def aacquire(self, timeout: float) -> Slot:
        """Wait in this task for a slot.

        A cancelled wait takes no slot.

        :param timeout: Longest wait, in seconds.
        :raises PoolTimeout: if none became free in time.
        :raises CallTimeout: if the call's deadline came first.
        """
        start = time.monotonic()

        if self._take():
            return self.slot(start)

        turn = create_async_event()
        self.stand_in_line(turn)
        has_slot = False

        try:
            has_slot = await turn.with_(_patience(timeout))
        finally:
            if not has_slot:
                self._step_out(turn, is_out=turn.cancelled())

        if not has_slot:
            raise self.refused(start, timeout)

        return self.slot(start)

    def stand_in_line(self, waiter: Waiter) -> None:
        """Wait for a slot behind those who wait already.

        :param waiter: Its ``set`` is called when it has a slot; at once, if one is free.
        """
        self._line.append(waiter)
        self._serve()

    def leave_line(self, waiter: Waiter) -> None:
        """Wait no longer. One who has been served already is not in the line.

        :param waiter: Its ``set`` must be returning ``False`` by now.
        """
        with contextlib.suppress(ValueError):
            self._line.remove(waiter)

    def slot(self, start: float) -> Slot:
        """The slot of one who was served.

        :param start: When the wait for it began, by :func:`time.monotonic`.
        """
        queue_seconds = time.monotonic() - start

        with self._lock:
            self._queue_seconds += queue_seconds

        return Slot(self, self._give_back, queue_seconds)

    def refused(self, start: float, timeout: float) -> PoolTimeout:
        """The error of one who was not served in time.

        :param start: When the wait began, by :func:`time.monotonic`.
        :param timeout: The longest wait, in seconds.
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

    def slot_for_call(self, timeout: float) -> SlotForCall:
        """Hold a slot for the one call of a ``with`` block: the one this thread holds already, or
        a new one.

        :param timeout: Longest wait, in seconds.
        :raises PoolTimeout: if none became free in time.
        :raises CallTimeout: if the call's deadline came first.
        """
        return SlotForCall(self, timeout)

    @property
    def is_held(self) -> bool:
        """Whether the current context holds a slot of any pool."""
        return _held.get(None) is not None

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

    def _take(self) -> bool:
        """Take a slot if one is free and nobody waits for it."""
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

    def _step_out(self, waiter: Waiter, *, is_out: bool) -> None:
        """Wait no longer, and don't keep the slot that has come too late."""
        if is_out:
            self.leave_line(waiter)
        else:
            self._give_back()


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

    def held(self) -> HeldSlot:
        """Make this slot the one that calls inside a ``with`` block use."""
        return HeldSlot(self)

    def _leave(self) -> None:
        self._busy.release()
        self._settle()

    def _settle(self) -> None:
        if self._released and self._busy.acquire(blocking=False):
            self._give_back()


class HeldSlot:
    """The slot that the calls in a ``with`` block use.

    :param slot: The slot.
    """

    # Neither this nor the next is a generator: each call passes here.
    __slots__ = ("_slot", "_token")

    def __init__(self, slot: Slot) -> None:
        self._slot = slot

    def __enter__(self) -> None:
        self._slot.outer = _held.get(None)
        self._token = _held.set(self._slot)

    def __exit__(self, *error: object) -> None:
        _held.reset(self._token)


class SlotForCall:
    """A slot for the one call of a ``with`` block.

    :param pool: Where it is from.
    :param timeout: Longest wait for it, in seconds.
    """

    __slots__ = ("_held", "_pool", "_slot", "_timeout")

    def __init__(self, pool: Pool, timeout: float) -> None:
        self._pool = pool
        self._timeout = timeout

    def __enter__(self) -> Slot:
        self._slot = self._pool.join_held(self._timeout) or self._pool.acquire(self._timeout)
        # What is called within this call (by a handler of a signal or of a log record, by a
        # botocore event) must not queue behind it.
        self._held = self._slot.held()
        self._held.__enter__()
        return self._slot

    def __exit__(self, *error: object) -> None:
        self._held.__exit__(*error)
        self._slot.release()
