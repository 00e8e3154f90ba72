"""``Slot``: the right to have one call in flight.

The thread that makes the call holds the slot and gives it back. Calls made by a thread that holds a
slot use that slot, and so do calls that the thread hands back to an event loop and waits for:
queued behind that slot, they would wait for ever.
"""

from __future__ import annotations

import collections.abc as cabc
import contextvars
import queue
import typing as t
import weakref

from ..concurrency.permits import Permit


class _Holding(t.NamedTuple):
    """What a context knows of the slot that it holds, and of the one further out.

    It does not keep the slot alive: a context may outlive the block whose end was interrupted.
    """

    slot: weakref.ref[Slot]
    outer: _Holding | None


_held: contextvars.ContextVar[_Holding | None] = contextvars.ContextVar(
    "dynamo_ext.slot", default=None
)


def held() -> cabc.Iterator[Slot]:
    """The slots that the current context holds, from the innermost to the outermost."""
    holding = _held.get()

    while holding is not None:
        slot = holding.slot()

        if slot is not None and not slot.is_released:
            yield slot

        holding = holding.outer


def is_any_held() -> bool:
    """Whether the current context holds a slot."""
    return _held.get() is not None and next(held(), None) is not None


class Slot:
    """The right to have one call in flight. Calls in its ``with`` block use it, and the end of the
    block gives it back.

    :param origin: The line of a pool: where the permit comes from.
    :param give_back: Called with the permit when neither the holder nor a share of the slot is
        left.
    :param timeout: Longest wait for a permit, in seconds.
    """

    # Not a generator: every call enters one.
    __slots__ = (
        "__weakref__",
        "_give_back",
        "_holding",
        "_is_released",
        "_permits",
        "origin",
        "queue_seconds",
        "timeout",
    )

    def __init__(
        self, origin: object, give_back: cabc.Callable[[Permit], None], timeout: float
    ) -> None:
        self.origin: object = origin
        """The line of a pool: where the permit comes from."""

        self.timeout: float = timeout
        """Longest wait for a permit, in seconds."""

        self.queue_seconds: float = 0.0
        """How long the slot was waited for, in seconds."""

        self._give_back = give_back
        self._is_released = False
        self._holding: _Holding | None = None
        # Holds the permit while no share has it.
        self._permits: queue.SimpleQueue[Permit] = queue.SimpleQueue()

    def __enter__(self) -> t.Self:
        try:
            self.hold()
        except BaseException:
            self.__exit__()
            raise

        return self

    def __exit__(self, *error: object) -> None:
        try:
            self.release()
        finally:
            if self._holding is not None:
                _held.set(self._holding.outer)

    def hold(self) -> None:
        """Make calls of the current context use this slot, until the end of the context."""
        self._holding = _Holding(weakref.ref(self), _held.get())
        _held.set(self._holding)

    @property
    def is_released(self) -> bool:
        """Whether :meth:`release` was called."""
        return self._is_released

    @property
    def has_permit(self) -> bool:
        """Whether the permit is here: the slot has got it, and no share has it."""
        return not self._permits.empty()

    def take(self, free: cabc.Callable[[], Permit]) -> None:
        """Take a permit.

        :param free: Returns one. It is called here so that the permit is in no variable at any
            time: an exception whose traceback is kept would keep it, too.
        """
        self._permits.put(free())

    def untake(self, put_back: cabc.Callable[[Permit], None]) -> None:
        """Give back what is not wanted, unless :meth:`release` has done it.

        :param put_back: Takes a permit.
        """
        try:
            # Asked first, because an exception takes longer.
            while not self._permits.empty():
                put_back(self._permits.get_nowait())
        except queue.Empty:
            pass

    def share(self, timeout: float) -> Slot | None:
        """Share the slot with one call. There is one share at a time, and none once the holder has
        released the slot.

        :param timeout: Longest wait for another share to end, and of the share for a permit, in
            seconds.
        :return: The share, or ``None`` if there can be none.
        """
        share = Slot(self.origin, self._take_back, timeout)
        share.queue_seconds = self.queue_seconds

        try:
            share._permits.put(self._permits.get(timeout=timeout))
        except queue.Empty:
            return None

        if self._is_released:
            share.release()
            return None

        return share

    def release(self) -> None:
        """Give the slot back, as soon as no share of it is in use. A second call has no effect."""
        try:
            self._is_released = True
        finally:
            self.untake(self._give_back)

    def _take_back(self, permit: Permit) -> None:
        """Take the permit back from a share."""
        self._permits.put(permit)

        if self._is_released:
            self.untake(self._give_back)
