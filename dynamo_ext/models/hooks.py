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

# This project's own model, and a user's, may hide what is patched there.
_Model: type = pynamodb.models.Model
_IMMUTABLE = frozenset({"builtins", "typing"})


class _Noted(t.NamedTuple):
    """What was noted, to be exchanged as a whole."""

    number: int
    """How much it is."""

    readers: list[tuple[_Reader, t.Any]]
    """What gets the hooks from the names of a class, and these."""

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
        self._of_containers = of_containers
        self._of_attributes = of_attributes
        self._name = of_one_attribute
        self._get_value: cabc.Callable[[_Names], t.Any] = operator.itemgetter(of_one_attribute)
        self._noted: set[tuple[type, tuple[str, ...]]] = set()
        self._owners: dict[type, set[str]] = {}
        self._classes: dict[type, _Names] = {}
        self._attributes: list[_Names] = []
        self._with_value: list[_Names] = []
        self._noted_now = _Noted(0, [], [], [], [])

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

    def _note_class(self, kind: type, hooks: tuple[str, ...]) -> None:
        if (kind, hooks) in self._noted:
            return

        bases = {base: base.__dict__ for base in kind.__mro__ if base.__module__ not in _IMMUTABLE}
        self._classes.update(bases)

        for hook in hooks:
            for base, names in bases.items():
                if hook in names:
                    self._owners.setdefault(base, set()).add(hook)
                    break

        # Last: another thread, which does not note it again, may need it now.
        self._noted.add((kind, hooks))

    def _note_now(self) -> None:
        # Other threads may note more meanwhile. What they have noted is not to be forgotten here.
        while self._noted_now.number != (number := self._number_noted()):
            readers: list[tuple[_Reader, t.Any]] = [
                (operator.itemgetter(*hooks), vars(owner))
                for owner, hooks in self._owners.copy().items()
            ]
            namespaces = [*self._classes.values(), *self._attributes]
            noted = _Noted(number, readers, namespaces, [*self._with_value], [])
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
            *[read(names) for read, names in noted.readers],
        ]


def remember(*names: cabc.Iterable[str]) -> None:
    """Remember hooks of PynamoDB as they are now: when this project is imported.

    :param names: The names of the hooks.
    """
    for kind in filter(_has_hooks, (*vars(attributes).values(), _Model)):
        for hook in {hook for some in names for hook in some}:
            _ORIGINALS[kind, hook] = _find(kind, hook)


def are_inherited(kind: type, hooks: cabc.Iterable[str]) -> bool:
    """Whether a class inherits all these hooks from its nearest base class in PynamoDB, and these
    are not patched.

    :param kind: The class.
    :param hooks: The names of the hooks.
    """
    nearest = base(kind)
    return all(_find(kind, hook) is _original(nearest, hook) for hook in hooks)


def base(kind: type) -> type:
    """The nearest base class in PynamoDB.

    :param kind: The class.
    """
    for each in kind.__mro__:
        if _is_of_pynamodb(each):
            return each

    raise TypeError(f"{kind!r} has no base class in PynamoDB.")


def _original(kind: type, hook: str) -> t.Any:
    try:
        return _ORIGINALS[kind, hook]
    except KeyError:
        return _find(kind, hook)


def _find(kind: type, hook: str) -> t.Any:
    """What a class has by a name, as it is stored; ``None`` if it has nothing.

    ``inspect.getattr_static`` takes many times as long, and there are hundreds of these look-ups
    when the first item of a model is read or written.
    """
    for each in kind.__mro__:
        names = each.__dict__

        if hook in names:
            return names[hook]

    return None


def _is_of_pynamodb(kind: type) -> bool:
    # The module alone does not tell: a class that calling a metaclass creates, type(Model)(...), is
    # said to be of the module of PynamoDB's metaclass.
    name = kind.__module__
    return (
        name.startswith("pynamodb.") and getattr(sys.modules.get(name), kind.__name__, None) is kind
    )


def _has_hooks(value: t.Any) -> bool:
    return isinstance(value, type) and issubclass(value, (Attribute, AttributeContainer))


_ORIGINALS: dict[tuple[type, str], t.Any] = {}
