"""``Permit``: the right to do something that only so many may do at once. It can't be lost.

Between two steps of Python code, a signal handler may raise an exception, and memory may run out:
then whoever had just taken a permit never gives it back. So a permit that nobody refers to any more
goes back by itself.
"""

from __future__ import annotations

import collections.abc as cabc

TakeBack = cabc.Callable[["Permit"], None]


class Permit:
    """One permit. Whoever holds it refers to it, and gives it back explicitly.

    :param take_back: A weak reference to the owner's method that takes a permit back: permits end
        with their owner.
    """

    __slots__ = ("_take_back",)

    def __init__(self, take_back: cabc.Callable[[], TakeBack | None]) -> None:
        self._take_back = take_back

    def __del__(self) -> None:
        # A new one, because Python finalises an object only once.
        if (take_back := self._take_back()) is not None:
            take_back(type(self)(self._take_back))
