"""``Pool``: how many calls may be in flight at once, for threads and tasks of any event loop."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import threading
import typing as t

from ..concurrency import waiting
from . import slot as slots
from .line import Line
from .line import Place
from .line import Wakeable
from .record import Progress
from .slot import Slot

E = t.TypeVar("E", bound=Wakeable)


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


class Pool:
    """The slots of one engine, in one process.

    Waiters are served in the order in which they arrived, whether threads, tasks or jobs of the
    hub.

    :param size: How many calls may be in flight at once.
    """

    def __init__(self, size: int) -> None:
        self.line: Line = Line(size)
        """The slots that are free, and who is queued for one."""

        # Reentrant, because a signal handler may interrupt its holder and make a call.
        self._lock = threading.RLock()
        self._calls = 0
        self._errors = 0
        self._retries = 0
        self._call_seconds = 0.0

    def __repr__(self) -> str:
        return f"<Pool size={self.size} in_use={self.in_use} waiting={self.waiting}>"

    @property
    def size(self) -> int:
        """How many calls may be in flight at once."""
        return self.line.size

    @property
    def in_use(self) -> int:
        """How many slots are taken now."""
        return self.line.in_use

    @property
    def waiting(self) -> int:
        """How many calls are queued for a slot now."""
        return self.line.waiting

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
            timeouts=self.line.timeouts,
            queue_seconds=self.line.seconds,
            call_seconds=self._call_seconds,
        )

    def record(self, call: Progress) -> None:
        """Count a call that has ended.

        :param call: The call.
        """
        with self._lock:
            self._calls += 1
            self._call_seconds += call.seconds

            if call.error is not None:
                self._errors += 1

            if call.attempts > 1:
                self._retries += call.attempts - 1

    def acquire(self, timeout: float) -> Slot:
        """Wait in this thread for a slot.

        Calls in a ``with`` block of the slot use it, and the end of the block gives it back.
        Without a block, call :meth:`Slot.release`.

        :param timeout: Longest wait, in seconds.
        :return: The slot.
        :raises PoolTimeout: if none became free in time.
        :raises CallTimeout: if the call's deadline came first.
        """
        with self.place(timeout, waiting.IN_THREAD.event) as place:
            if not place.is_served:
                place.is_served = place.event.wait(place.seconds)

        return place.slot

    def place(
        self, timeout: float, make_event: cabc.Callable[[], E], thread: int | None = None
    ) -> Place[E]:
        """The wait for a slot, to be entered by who waits.

        :param timeout: Longest wait, in seconds.
        :param make_event: Makes what is waited for.
        :param thread: The thread of the event loop, if a task waits.
        :return: The wait, whose slot is the result.
        """
        return Place(self.line, Slot(self.line, self.line.take_back, timeout), make_event, thread)

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
        return slots.is_any_held()

    def join_held(self, timeout: float = 0) -> Slot | None:
        """A share of the slot that the current context holds.

        :param timeout: Longest wait for the one call that may be using it, in seconds.
        :return: The share, or ``None`` if the context holds no slot of this pool, or that slot is
            in use.
        """
        for held in slots.held():
            if held.origin is self.line and (share := held.share(timeout)) is not None:
                return share

        return None
