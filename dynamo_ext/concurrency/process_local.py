"""What each process has for itself, also one that was forked without Python's knowledge.

A fork copies locks that no thread of the child will release, counters of calls that the child is
not making, and sockets on which the parent reads its replies. ``os.register_at_fork`` tells Python
code about a fork, but only about one that Python itself makes: uWSGI forks in C. Therefore whoever
takes such a thing compares process ids.
"""

from __future__ import annotations

import collections.abc as cabc
import os
import typing as t

T = t.TypeVar("T")


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
            return self._values[os.getpid()]
        except KeyError:
            return self._start()

    def _start(self) -> T:
        process = os.getpid()
        # A single operation, and so indivisible: a lock could be held by a thread of the parent.
        value = self._values.setdefault(process, self._make())

        for other in [pid for pid in list(self._values) if pid != process]:
            inherited = self._values.pop(other, None)

            if inherited is not None and self._abandon is not None:
                self._abandon(inherited)

        return value
