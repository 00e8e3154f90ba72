"""A lock around decoding: one thread decodes a page at a time.

Decoding holds the interpreter's lock throughout. When ten workers decode at once, an event loop
waits for each of them in turn. When they decode one after the other, and each lets other threads
run after a few items, the loop waits for a few items. That costs no throughput: under the
interpreter's lock they could not decode in parallel anyway.
"""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import queue
import threading
import time
import typing as t
import weakref

from . import waiting
from .permits import Permit
from .process_local import ProcessLocal

A = t.TypeVar("A")
B = t.TypeVar("B")

_MANY_ITEMS = 8
_ITEMS_OF_A_PART = 128
_SECONDS_WITHOUT_PAUSE = 0.0003
# The lock is only an optimisation. Its holder may run code of the app that waits for a thread
# which wants the lock, so no thread ever waits longer than this.
_LONGEST_WAIT_SECONDS = 0.1


class _Lock:
    """A lock that is not lost with the permit of a thread that was interrupted."""

    def __init__(self) -> None:
        self._permits: queue.SimpleQueue[Permit] = queue.SimpleQueue()
        self.take_back(Permit(weakref.WeakMethod(self.take_back)))

    @property
    def is_taken(self) -> bool:
        """Whether a thread holds it."""
        return self._permits.empty()

    def take(self, seconds: float) -> _Hold | None:
        """Take the lock.

        :param seconds: Longest wait, in seconds.
        :return: The hold on it; ``None`` if there was none to be had.
        """
        hold = _Hold(self)

        try:
            hold.permits.append(self._permits.get(timeout=seconds))
        except queue.Empty:
            return None

        return hold

    def take_back(self, permit: Permit) -> None:
        """Let another thread take the lock."""
        self._permits.put(permit)


class _Hold:
    """A thread's hold on the lock."""

    def __init__(self, lock: _Lock) -> None:
        self._lock = lock
        self.permits: list[Permit] = []

    def release(self) -> None:
        """Release the lock."""
        if self.permits:
            self._lock.take_back(self.permits.pop())


_lock = ProcessLocal(_Lock)


class _OfThread(threading.local):
    """What the current thread has."""

    keeps_lock = False
    hold: _Hold | None = None
    """The hold on the lock, while this thread keeps it between two blocks."""


_mine = _OfThread()


@contextlib.contextmanager
def held() -> cabc.Generator[None]:
    """Decode in this block while no other thread does, where that can be had soon."""
    if _mine.hold is not None or waiting.is_shared():
        yield
        return

    hold = None

    try:
        hold = _lock.get().take(_LONGEST_WAIT_SECONDS)
        yield
    finally:
        if _mine.keeps_lock:
            _mine.hold = hold
        elif hold is not None:
            hold.release()


@contextlib.contextmanager
def kept() -> cabc.Generator[None]:
    """Keep the lock, once it is taken in this block, until the end of the block.

    So a reply is parsed and its items become models without other threads' replies piling up
    between the two steps.
    """
    if _mine.keeps_lock:
        yield
        return

    _mine.keeps_lock = True

    try:
        yield
    finally:
        _mine.keeps_lock = False
        release()


def release() -> None:
    """Release the lock if it is kept: this thread is about to wait."""
    if (hold := _mine.hold) is not None:
        _mine.hold = None
        hold.release()


def decode_each(function: cabc.Callable[[A], B], items: list[A]) -> list[B]:
    """Call a function with each item, with the lock held if there are many and this is in a block
    that keeps it (see :func:`kept`). Elsewhere, as in the thread of an event loop, nobody waits.

    :param function: Decodes one item.
    :param items: The items. The list is emptied: each item is dropped as soon as it is decoded, so
        that the garbage collector never finds all items beside all that was made of them.
    :return: What the function returned, in the order of the items.
    """
    items.reverse()

    if len(items) <= _MANY_ITEMS or not _mine.keeps_lock or waiting.is_shared():
        return [function(items.pop()) for _ in range(len(items))]

    decoded: list[B] = []

    with held():
        start = time.perf_counter()

        while items:
            decoded.append(function(items.pop()))

            if time.perf_counter() - start > _SECONDS_WITHOUT_PAUSE:
                # Lets other threads have the interpreter.
                time.sleep(0)
                start = time.perf_counter()

    return decoded


def decode_parts(function: cabc.Callable[[list[A]], list[B]], items: list[A]) -> list[B]:
    """As :func:`decode_each`, with a function that decodes several items, and takes them from their
    list. The lock is held already.

    :param function: Decodes some of the items.
    :param items: The items. The list is emptied.
    :return: What the function returned, in the order of the items.
    """
    if len(items) <= _ITEMS_OF_A_PART or not _mine.keeps_lock or waiting.is_shared():
        return function(items)

    decoded: list[B] = []

    while items:
        part = items[:_ITEMS_OF_A_PART]
        del items[:_ITEMS_OF_A_PART]
        decoded += function(part)
        # Lets other threads have the interpreter.
        time.sleep(0)

    return decoded
