"""``Pool``: how many calls may be in flight at once, for threads and tasks of any event loop."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import logging
import threading
import time
import typing as t
import weakref

from aiologic.lowlevel import AsyncEvent
from aiologic.lowlevel import create_async_event

from ..concurrency.permits import Permit
from ..errors import PoolTimeout
from . import deadline
from . import slot as slots
from .record import Call
from .slot import Slot

_logger = logging.getLogger("dynamo_ext.pool")


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

    @property
    def thread(self) -> int | None:
        """The identifier of the thread that wakes up when there is a slot, if that is known."""
        ...

    def take_slot(self, free: collections.deque[Permit]) -> None:
        """Take a slot, in the thread that gave it back. If the slot is no longer wanted, this does
        nothing. If it was interrupted before, it goes on. Whatever goes wrong is the waiter's own
        matter: only what interrupts the thread may be raised.

        :param free: The free permits, of which it takes one.
        :raises IndexError: if there is none.
        """
        ...


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
        take_back = weakref.WeakMethod(self._take_back)
        self._free: collections.deque[Permit] = collections.deque(
            Permit(take_back) for _ in range(size)
        )
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
        slot, start = Slot(self, self._take_back), time.monotonic()

        try:
            if not self._take(slot):
                with _Place(self, slot, None, start, timeout) as place:
                    place.has_slot = slot.wait(_longest_wait(timeout))

            self._note_wait(slot, start)
        except BaseException:
            slot.release()
            raise

        return slot

    async def aacquire(self, timeout: float) -> Slot:
        """Wait in this task for a slot. A cancelled wait takes none.

        The parameters, the result and the errors are those of :meth:`acquire`.

        :param timeout: Longest wait, in seconds.
        :return: The slot.
        :raises PoolTimeout: if none became free in time.
        :raises CallTimeout: if the call's deadline came first.
        """
        slot, start = Slot(self, self._take_back), time.monotonic()

        try:
            if not self._take(slot):
                event = create_async_event()

                with _Place(self, slot, event, start, timeout) as place:
                    place.has_slot = await event.with_(_longest_wait(timeout))

            self._note_wait(slot, start)
        except BaseException:
            slot.release()
            raise

        return slot

    def slot(self, start: float, free: collections.deque[Permit]) -> Slot:
        """Make the slot of a waiter of another kind than a thread or a task.

        :param start: When the wait for it began, by :func:`time.monotonic`.
        :param free: The free permits.
        :return: The slot.
        :raises IndexError: if there is no free permit.
        """
        slot = Slot(self, self._take_back)
        slot.take(free.pop)
        self._note_wait(slot, start)
        return slot

    def stand_in_line(self, waiter: Waiter) -> None:
        """Add a waiter at the end of the queue.

        :param waiter: Its ``take_slot`` is called when it gets a slot: at once, if one is free.
        """
        self._line.append(waiter)
        self._serve()

    def leave_line(self, waiter: Waiter) -> None:
        """Remove a waiter from the queue. One that was served already is not in it.

        :param waiter: Its ``take_slot`` must do nothing by now.
        """
        with contextlib.suppress(ValueError):
            self._line.remove(waiter)

    def is_next(self, thread: int) -> bool:
        """Tell who gets the next slot that is given back.

        :param thread: The identifier of a thread.
        :return: Whether it goes to a waiter that wakes up in this thread.
        """
        try:
            return self._line[0].thread == thread
        except IndexError:
            return False

    def refused(self, start: float, timeout: float) -> PoolTimeout:
        """The error of a waiter that was not served in time.

        :param start: When the wait began, by :func:`time.monotonic`.
        :param timeout: The longest wait, in seconds.
        :return: The error, to be raised.
        :raises CallTimeout: if the call's deadline came first.
        """
        waited = time.monotonic() - start

        with self._lock:
            self._queue_seconds += waited
            self._timeouts += 1

        # Before the log line: the wait was shorter than the line would say. Which limit has ended
        # it is compared, because timers may be early.
        if (limit := deadline.current()) is not None:
            limit.check(max(0.0, timeout - waited))

        error = PoolTimeout(self.size, self.in_use, self.waiting, timeout)
        _logger.warning("%s", error)
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
        return any(True for _ in slots.held())

    def join_held(self, timeout: float = 0) -> Slot | None:
        """A share of the slot that the current context holds.

        :param timeout: Longest wait for the one call that may be using it, in seconds.
        :return: The share, or ``None`` if the context holds no slot of this pool, or that slot is
            in use.
        """
        for held in slots.held():
            if held.is_of(self) and (share := held.share(timeout)) is not None:
                return share

        return None

    def _note_wait(self, slot: Slot, start: float) -> None:
        slot.queue_seconds = time.monotonic() - start

        with self._lock:
            self._queue_seconds += slot.queue_seconds

    def _take(self, slot: Slot) -> bool:
        """Take a permit if one is free and the queue is empty."""
        if self._line:
            return False

        try:
            slot.take(self._free.pop)
        except IndexError:
            return False

        return True

    def _take_back(self, permit: Permit) -> None:
        try:
            self._free.append(permit)
        finally:
            self._serve()

    def _serve(self) -> None:
        try:
            self._move_line_on()
        except BaseException:
            # A signal handler has raised: the others must not wait until the next call ends.
            self._move_line_on()
            raise

    def _move_line_on(self) -> None:
        while self._line:
            try:
                waiter = self._line[0]
                waiter.take_slot(self._free)
            except IndexError:
                return

            # Only now: a waiter that is in the queue is never forgotten, whatever is raised.
            self.leave_line(waiter)


def _longest_wait(timeout: float) -> float:
    """Seconds to wait for a slot: no longer than the call's deadline allows."""
    limit = deadline.current()
    return timeout if limit is None else min(timeout, limit.remaining)


class _Place:
    """A place in the queue. In its ``with`` block, a thread or task waits for the permit.

    :param pool: The pool.
    :param slot: What gets the permit. A thread waits for that.
    :param event: What a task waits for.
    :param start: When the wait began, by :func:`time.monotonic`.
    :param timeout: Longest wait, in seconds; for the error.
    """

    __slots__ = ("_event", "_pool", "_slot", "_start", "_timeout", "has_slot", "thread")

    def __init__(
        self, pool: Pool, slot: Slot, event: AsyncEvent | None, start: float, timeout: float
    ) -> None:
        self.has_slot: bool = False
        """Whether the wait ended with a permit in the slot. The caller sets it."""

        # A thread that waits can do nothing else, such as end what a task of it has begun.
        self.thread: int | None = None if event is None else threading.get_ident()
        self._pool = pool
        self._slot = slot
        self._event = event
        self._start = start
        self._timeout = timeout

    def take_slot(self, free: collections.deque[Permit]) -> None:
        """Take a permit, and wake whoever waits."""
        if self._slot.is_released:
            return

        # It has one if this was interrupted before.
        if not self._slot.has_permit:
            self._slot.take(free.pop)

        if self._slot.is_released:
            self._slot.untake(free.append)
        elif self._event is not None:
            self._event.set()

    def __enter__(self) -> t.Self:
        try:
            self._pool.stand_in_line(self)
        except BaseException:
            self._leave()
            raise

        return self

    def __exit__(self, error_type: type[BaseException] | None, *error: object) -> None:
        if error_type is None and self.has_slot:
            return

        self._leave()

        if error_type is None:
            raise self._pool.refused(self._start, self._timeout)

    def _leave(self) -> None:
        self._pool.leave_line(self)
        # A permit that has arrived already goes back; so does one that arrives from now on.
        self._slot.release()
