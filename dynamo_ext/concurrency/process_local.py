"""What each process has for itself, also one that was forked without Python's knowledge.

A fork copies locks that no thread of the child will release, counters of calls that the child is
not making, and sockets on which the parent reads its replies. ``os.register_at_fork`` tells Python
code about a fork, but only about one that Python itself makes: uWSGI forks in C. Therefore whoever
takes such a thing compares process ids.

A call does that half a dozen times, and the system takes from 50 to 300 ns to tell the id. So on
Linux the id is kept, beside a page of memory that the kernel empties in each forked child: see
``MADV_WIPEONFORK`` in madvise(2).
"""

from __future__ import annotations

import collections.abc as cabc
import mmap
import os
import sys
import typing as t

T = t.TypeVar("T")

# MADV_WIPEONFORK, for which Python's mmap has no name; and what is no advice at all.
_WIPE_ON_FORK = 18
_NO_ADVICE = -1

_process = 0


def process_id() -> int:
    """The id of this process, which was forked in whatever way."""
    return _process if _is_known[0] else _note_process()


def _note_process() -> int:
    global _process
    _process = os.getpid()

    if isinstance(_is_known, mmap.mmap):
        # Last: another thread that sees it takes the id.
        _is_known[0] = 1

        # A signal handler may have forked since the id was asked for.
        if os.getpid() != _process:
            return _note_process()

    return _process


def _wiped_page() -> cabc.Sequence[int] | mmap.mmap:
    """A byte that stays 0 until it is set, and is 0 again in a forked child; where the system
    has no such thing, one that is always 0."""
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        page.madvise(_WIPE_ON_FORK)
    except (AttributeError, OSError, ValueError):
        return b"\0"

    try:
        page.madvise(_NO_ADVICE)
    except (OSError, ValueError):
        return page

    # An emulator that accepts all advice, and follows none.
    return b"\0"


_is_known: cabc.Sequence[int] | mmap.mmap = _wiped_page() if sys.platform == "linux" else b"\0"


class ProcessLocal(t.Generic[T]):
    """One value for each process, made when the process first asks for it.

    Threads need no lock for it: of those that ask at the same time, all get the same value. So the
    value must be cheap to make, and dropping one that was not used must have no effect.

    :param make: Makes the value.
    :param abandon: Is given the parent's value in a forked child, once, before it is dropped.
        Threads of the parent may hold any lock in it.
    """

    __slots__ = ("_abandon", "_make", "_values")

    def __init__(
        self, make: cabc.Callable[[], T], *, abandon: cabc.Callable[[T], object] | None = None
    ) -> None:
        self._make = make
        self._abandon = abandon
        self._values: dict[int, T] = {}
        """By the id of the process: one value, and for a moment after a fork also the parent's."""

    def get(self) -> T:
        """The value of this process."""
        try:
            return self._values[_process if _is_known[0] else _note_process()]
        except KeyError:
            return self._start()

    def _start(self) -> T:
        process = process_id()
        # A single operation, and so indivisible: a lock could be held by a thread of the parent.
        value = self._values.setdefault(process, self._make())

        for other in [pid for pid in list(self._values) if pid != process]:
            inherited = self._values.pop(other, None)

            if inherited is not None and self._abandon is not None:
                self._abandon(inherited)

        return value
