"""``Line``: the free slots of a pool, and the calls that wait for one, in the order of arrival."""

from __future__ import annotations

import collections
import collections.abc as cabc
import logging
import threading
import time
import typing as t
import weakref

from ..concurrency.permits import Permit
from ..errors import CallTimeout
from ..errors import PoolTimeout
from . import deadline
from .slot import Slot

_logger = logging.getLogger("dynamo_ext.pool")


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


class Wakeable(t.Protocol):
    """What a queued thread or task waits for."""

    def set(self) -> t.Any:
        """End the wait, in any thread."""
        ...


class Line:
    """The permits of a pool that are free, and who is queued for one.

    :param size: How many permits there are.
    """

    def __init__(self, size: int) -> None:
        self.size: int = size
        """How many permits there are, free or not."""

        self.timeouts: int = 0
        """How many waits ended without a permit."""

        self.seconds: float = 0.0
        """Total time of all waits, in seconds."""

        # Without a lock, because a signal handler may interrupt its holder and make a call: each
        # single operation leaves both of these consistent.
        take_back = weakref.WeakMethod(self.take_back)
        self._free: collections.deque[Permit] = collections.deque(
            Permit(take_back) for _ in range(size)
        )
        self._waiters: collections.deque[Waiter] = collections.deque()
        # Reentrant, because a signal handler may interrupt its holder and make a call.
        self._lock = threading.RLock()

    @property
    def in_use(self) -> int:
        """How many permits are taken now."""
        return self.size - len(self._free)

    @property
    def waiting(self) -> int:
        """How many waiters are queued now."""
        return len(self._waiters)

    def slot(self, start: float, timeout: float, free: collections.deque[Permit]) -> Slot:
        """Make the slot of a waiter that has none yet, with a permit.

        :param start: When the wait for it began, by :func:`time.monotonic`.
        :param timeout: The longest wait, in seconds.
        :param free: The free permits.
        :return: The slot.
        :raises IndexError: if there is no free permit.
        """
        slot = Slot(self, self.take_back, timeout)
        slot.take(free.pop)
        self.note_wait(slot, start)
        return slot

    def take(self, slot: Slot) -> bool:
        """Take a permit if one is free and nobody is queued.

        :param slot: What gets the permit.
        :return: Whether it has got one.
        """
        if self._waiters:
            return False

        try:
            slot.take(self._free.pop)
        except IndexError:
            return False

        return True

    def take_back(self, permit: Permit) -> None:
        """Pass a permit on to the next waiter, or keep it.

        :param permit: The permit.
        """
        try:
            self._free.append(permit)
        finally:
            self._serve()

    def join(self, waiter: Waiter) -> None:
        """Add a waiter at the end of the queue.

        :param waiter: Its ``take_slot`` is called when it gets a slot: at once, if one is free.
        """
        self._waiters.append(waiter)
        self._serve()

    def leave(self, waiter: Waiter) -> None:
        """Remove a waiter from the queue. One that was served already is not in it.

        :param waiter: Its ``take_slot`` must do nothing by now.
        """
        # Not by contextlib: each call passes here.
        try:
            self._waiters.remove(waiter)
        except ValueError:
            pass

    def is_next(self, thread: int) -> bool:
        """Tell who gets the next slot that is given back.

        :param thread: The identifier of a thread.
        :return: Whether it goes to a waiter that wakes up in this thread.
        """
        try:
            return self._waiters[0].thread == thread
        except IndexError:
            return False

    def note_wait(self, slot: Slot, start: float) -> None:
        """Note how long a slot was waited for.

        :param slot: The slot, which has its permit.
        :param start: When the wait began, by :func:`time.monotonic`.
        """
        slot.queue_seconds = time.monotonic() - start

        with self._lock:
            self.seconds += slot.queue_seconds

    def refused(self, start: float, timeout: float) -> PoolTimeout | CallTimeout:
        """The error of a waiter that was not served in time. It is counted.

        :param start: When the wait began, by :func:`time.monotonic`.
        :param timeout: The longest wait, in seconds.
        :return: The error, to be raised; a ``CallTimeout`` if the call's deadline came first.
        """
        waited = time.monotonic() - start

        with self._lock:
            self.seconds += waited
            self.timeouts += 1

        # Before the log line: the wait was shorter than the line would say. Which limit has ended
        # it is compared, because timers may be early.
        if (limit := deadline.current()) is not None:
            try:
                limit.check(max(0.0, timeout - waited))
            except CallTimeout as came_first:
                return came_first

        error = PoolTimeout(self.size, self.in_use, self.waiting, timeout)
        _logger.warning("%s", error)
        return error

    def _serve(self) -> None:
        try:
            # Both are asked first, because most calls end with nobody queued, or nothing free.
            while self._waiters and self._free and self._serve_first():
                pass
        except BaseException:
            # A signal handler has raised: the others must not wait until the next call ends. The
            # first of them may have its permit already, and not know that yet.
            while self._serve_first():
                pass

            raise

    def _serve_first(self) -> bool:
        """Serve whoever is queued first.

        :return: Whether anybody was; ``False`` if nobody is queued, or nothing free.
        """
        try:
            waiter = self._waiters[0]
            waiter.take_slot(self._free)
        except IndexError:
            return False

        # Only now: a waiter that is in the queue is never forgotten, whatever is raised.
        self.leave(waiter)
        return True


def _is_too_late() -> bool:
    return (limit := deadline.current()) is not None and not limit.remaining


E = t.TypeVar("E", bound=Wakeable)


class Place(t.Generic[E]):
    """The wait of one thread, task or greenlet for a permit.

    If :attr:`is_served` is false at the beginning of the ``with`` block, the block waits for the
    event and says how that has ended. The end of the block raises the error of a wait that was not
    served in time, which is also one that was served after the call's deadline: nobody waits for
    that call any longer, and it must not be made.

    :param line: The line.
    :param slot: What gets the permit. It knows the longest wait.
    :param make_event: Makes what the block waits for.
    :param thread: The thread that wakes up, if it is that of an event loop. A thread that waits
        itself can do nothing else meanwhile, such as end what a task of it has begun.
    """

    __slots__ = ("_line", "_make_event", "_start", "event", "is_served", "slot", "thread")

    event: E
    """What the block waits for."""

    def __init__(
        self,
        line: Line,
        slot: Slot,
        make_event: cabc.Callable[[], E],
        thread: int | None = None,
    ) -> None:
        self.slot: Slot = slot
        self.is_served: bool = False
        """Whether the wait has ended with a permit in the slot."""

        self.thread: int | None = thread
        self._line = line
        self._make_event = make_event
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long to wait, in seconds: no longer than the call's deadline allows."""
        limit = deadline.current()
        return self.slot.timeout if limit is None else min(self.slot.timeout, limit.remaining)

    def take_slot(self, free: collections.deque[Permit]) -> None:
        """Take a permit, and wake whoever waits."""
        if self.slot.is_released:
            return

        # It has one if this was interrupted before.
        if not self.slot.has_permit:
            self.slot.take(free.pop)

        if self.slot.is_released:
            self.slot.untake(free.append)
        else:
            self.event.set()

    def __enter__(self) -> t.Self:
        try:
            self.is_served = self._line.take(self.slot)

            if not self.is_served:
                self.event = self._make_event()
                self._line.join(self)
        except BaseException:
            self._leave()
            raise

        return self

    def __exit__(self, error_type: type[BaseException] | None, *error: object) -> None:
        try:
            if error_type is None and self.is_served and not _is_too_late():
                self._line.note_wait(self.slot, self._start)
                return
        except BaseException:
            self._leave()
            raise

        self._leave()

        if error_type is None:
            raise self._line.refused(self._start, self.slot.timeout)

    def _leave(self) -> None:
        self._line.leave(self)
        # A permit that has arrived already goes back; so does one that arrives from now on.
        self.slot.release()
