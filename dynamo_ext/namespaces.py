"""What classes and objects hold, and whether it is still the same.

Each call asks this of some five hundred values, because a class may be patched at any time.
"""

from __future__ import annotations

import collections.abc as cabc
import gc
import types
import typing as t


class Namespaces:
    """Some namespaces, and what they held when they were noted."""

    __slots__ = ("_namespaces", "_referents_then", "_referrers", "_sizes_then")

    def __init__(self) -> None:
        self._namespaces: list[cabc.Sized] = []
        self._sizes_then: list[int] = []
        self._referrers: list[object] = []
        """What refers to all that the namespaces hold."""

        self._referents_then: list[object] = []

    def note(self, owner: object, names: cabc.Mapping[t.Any, t.Any]) -> None:
        """Note what a namespace holds now.

        :param owner: The class or the object, or the dictionary itself.
        :param names: Its namespace, as ``vars()`` gives it.
        """
        if isinstance(names, types.MappingProxyType):
            # That of a class is a view of a dictionary, and refers to nothing else.
            referrers = gc.get_referents(t.cast(t.Any, names))
        else:
            # Since Python 3.13, it is mostly the object that refers to the values.
            referrers = [names] if names is owner else [owner, names]

        self._namespaces.append(names)
        self._sizes_then.append(len(names))
        self._referrers += referrers
        self._referents_then += gc.get_referents(*referrers)

    def are_unchanged(self) -> bool:
        """Whether all of them hold what they held.

        :raises Exception: whatever a new value raises that can't be compared.
        """
        # The garbage collector reads them all at once, without an iterator: half the time. They are
        # hardly ever compared, because Python first looks whether they are identical.
        return (
            gc.get_referents(*self._referrers) == self._referents_then
            and [*map(len, self._namespaces)] == self._sizes_then
        )
