"""What an app may override or patch of PynamoDB's classes, and whether it has."""

from __future__ import annotations

import collections.abc as cabc
import operator
import sys
import typing as t

import pynamodb.models
from pynamodb import attributes
from pynamodb.attributes import Attribute
from pynamodb.attributes import AttributeContainer

_Names = cabc.Mapping[str, t.Any]
_Reader = cabc.Callable[[t.Any], t.Any]
_call: cabc.Callable[[_Reader, t.Any], t.Any] = t.cast(t.Any, operator.call)

# This project's own model, and a user's, may hide what is patched there.
_Model: type = pynamodb.models.Model
_IMMUTABLE = frozenset({"builtins", "typing"})


class _Noted(t.NamedTuple):
    """What was noted, to be exchanged as a whole."""

    number: int
    """How much it is."""

    readers: list[_Reader]
    """What gets the hooks of a class from its names: one for each class that has hooks."""

    names: list[_Names]
    """What each of these classes holds, by name."""

    namespaces: list[_Names]
    """The names of classes and attributes, which must not become more."""

    with_value: list[_Names]
    then: list[t.Any]
    """What was found there."""


class Hooks:
    """The hooks of all classes and attributes that plans were made of, as they were then.

    :param of_containers: The names of the hooks of models and maps.
    :param of_attributes: The names of the hooks of their attributes' classes.
    :param of_one_attribute: What an attribute may be given, and have replaced later.
    """

    def __init__(
        self,
        *,
        of_containers: tuple[str, ...],
        of_attributes: tuple[str, ...],
        of_one_attribute: str,
    ) -> None:
        self._of_containers = frozenset(of_containers)
        self._of_attributes = frozenset(of_attributes)
        self._name = of_one_attribute
        self._get_value: cabc.Callable[[_Names], t.Any] = operator.itemgetter(of_one_attribute)
        self._noted: set[tuple[type, frozenset[str]]] = set()
        self._owners: dict[type, set[str]] = {}
        self._classes: dict[type, _Names] = {}
        self._attributes: list[_Names] = []
        self._with_value: list[_Names] = []
        self._noted_now = _Noted(0, [], [], [], [], [])

    def note_container(self, kind: type[AttributeContainer]) -> None:
        """Note the hooks of a model or map, and of its attributes.

        :param kind: The model or map.
        """
        self._note_class(kind, self._of_containers)
        self._note_class(_Model, self._of_containers)
        found = t.cast("dict[str, t.Any]", kind.get_attributes())

        for attribute in found.values():
            self._note_attribute(attribute)

        self._note_now()

    def note_attributes(self, attributes: cabc.Iterable[t.Any]) -> None:
        """Note the hooks of attributes that are in no model or map.

        :param attributes: The attributes.
        """
        for attribute in attributes:
            self._note_attribute(attribute)

        self._note_now()

    def are_unchanged(self) -> bool:
        """Whether all of them are as they were. It takes a microsecond or two."""
        noted = self._noted_now

        try:
            return self._now(noted) == noted.then
        except KeyError:
            # A hook is gone: a patch was undone.
            return False

    def _note_attribute(self, attribute: t.Any) -> None:
        own = t.cast(_Names, vars(attribute))
        self._attributes.append(own)

        if self._name in own:
            self._with_value.append(own)

        self._note_class(attribute.__class__, self._of_attributes)
        element_type: type | None = getattr(attribute, "element_type", None)

        if element_type is not None:
            self._note_class(element_type, self._of_attributes)

    def _note_class(self, kind: type, hooks: frozenset[str]) -> None:
        if (kind, hooks) in self._noted:
            return

        bases = {base: base.__dict__ for base in kind.__mro__ if base.__module__ not in _IMMUTABLE}
        self._classes.update(bases)
        missing = hooks

        for base, names in bases.items():
            if found := missing & names.keys():
                self._owners.setdefault(base, set()).update(found)
                missing -= found

        # Last: another thread, which does not note it again, may need it now.
        self._noted.add((kind, hooks))

    def _note_now(self) -> None:
        # Other threads may note more meanwhile. What they have noted is not to be forgotten here.
        while self._noted_now.number != (number := self._number_noted()):
            owners = self._owners.copy()
            readers: list[_Reader] = [operator.itemgetter(*hooks) for hooks in owners.values()]
            namespaces = [*self._classes.values(), *self._attributes]
            noted = _Noted(
                number, readers, [*map(vars, owners)], namespaces, [*self._with_value], []
            )
            noted.then.extend(self._now(noted))
            self._noted_now = noted

    def _number_noted(self) -> int:
        hooks = map(len, [*self._owners.values()])
        return sum(hooks, len(self._classes) + len(self._attributes) + len(self._with_value))

    def _now(self, noted: _Noted) -> list[t.Any]:
        # A hook that hides an inherited one is one name more.
        return [
            *map(len, noted.namespaces),
            *map(self._get_value, noted.with_value),
            *map(_call, noted.readers, noted.names),
        ]


def remember(*names: cabc.Iterable[str]) -> None:
    """Remember hooks of PynamoDB as they are now: when this project is imported.

    :param names: The names of the hooks.
    """
    hooks = {hook for some in names for hook in some}

    for kind in filter(_has_hooks, (*vars(attributes).values(), _Model)):
        found = _names(kind)
        _ORIGINALS.setdefault(kind, {}).update({hook: found.get(hook) for hook in hooks})


def are_inherited(kind: type, hooks: tuple[str, ...]) -> bool:
    """Whether a class inherits all these hooks from its nearest base class in PynamoDB, and these
    are not patched.

    :param kind: The class.
    :param hooks: The names of the hooks.
    """
    # There are hundreds of these look-ups when the first item of a model is read or written, so
    # they are left to Python's functions in C.
    found, original = map(_names(kind).get, hooks), map(_originals(base(kind)), hooks)
    return all(map(operator.is_, found, original))


def base(kind: type) -> type:
    """The nearest base class in PynamoDB.

    :param kind: The class.
    """
    for each in kind.__mro__:
        if each in _ORIGINALS or _is_of_pynamodb(each):
            return each

    raise TypeError(f"{kind!r} has no base class in PynamoDB.")


def stored(kind: type, name: str) -> t.Any:
    """What a class has by a name, as it is stored; ``None`` if it has nothing.

    ``inspect.getattr_static`` takes many times as long.

    :param kind: The class.
    :param name: The name.
    """
    for each in kind.__mro__:
        names = each.__dict__

        if name in names:
            return names[name]

    return None


def _originals(kind: type) -> cabc.Callable[[str], t.Any]:
    """What tells a hook of one of PynamoDB's classes."""
    remembered = _ORIGINALS.get(kind)
    # All hooks of a class are remembered, or none.
    return _names(kind).get if remembered is None else remembered.__getitem__


def _names(kind: type) -> dict[str, t.Any]:
    """What a class has by all names, as it is stored."""
    names: dict[str, t.Any] = {}

    for each in reversed(kind.__mro__):
        # A copy is a dictionary, which is merged many times as fast as a view of one.
        names.update(each.__dict__.copy())

    return names


def _is_of_pynamodb(kind: type) -> bool:
    # The module alone does not tell: a class that calling a metaclass creates, type(Model)(...), is
    # said to be of the module of PynamoDB's metaclass.
    name = kind.__module__
    return (
        name.startswith("pynamodb.") and getattr(sys.modules.get(name), kind.__name__, None) is kind
    )


def _has_hooks(value: t.Any) -> bool:
    return (
        isinstance(value, type)
        # Something else may have been put there before this project was imported.
        and _is_of_pynamodb(value)
        and issubclass(value, (Attribute, AttributeContainer))
    )


_ORIGINALS: dict[type, dict[str, t.Any]] = {}
"""The hooks of each of PynamoDB's classes, as they were when this project was imported."""
