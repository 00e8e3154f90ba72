"""Which calls run no code of the app.

Such a call may be made by the event loop or in the hub, and in any thread by the steps of
:mod:`dynamo_ext.models.planned`: nobody would notice. Code of the app may block a thread that makes
other calls, hold a lock while a call is in flight, or look at what passes by. It is wherever
an app can put it: in a class, in a function set on one attribute, in a default, in a patch, in the
values that it stores. So nothing is trusted because of its name: a decision follows what PynamoDB
and the plans of :mod:`dynamo_ext.models.deserializer` would call, and holds only as long as all of
that is as it was.
"""

from __future__ import annotations

import collections.abc as cabc
import datetime
import decimal
import functools
import itertools
import logging
import types
import typing as t
import uuid
import weakref
import zoneinfo

import pynamodb.models
from pynamodb.attributes import Attribute
from pynamodb.attributes import AttributeContainer
from pynamodb.attributes import DiscriminatorAttribute
from pynamodb.attributes import DynamicMapAttribute
from pynamodb.attributes import MapAttribute
from pynamodb.attributes import UnicodeAttribute

from ..client import ceremony
from ..namespaces import Namespaces
from . import deserializer
from . import hooks
from . import late_binding
from . import turns

_DECISION = "_dynamo_ext_eligibility"
_OF_PYNAMODB = ("pynamodb.", "dynamo_ext.", "dynamo_ext_async.")
_BUILTIN_FUNCTIONS = (
    types.BuiltinFunctionType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
)
# An app may define these: no call uses them. Other special names are Python's own hooks.
_HARMLESS = frozenset(
    {
        "__annotate__",
        "__annotate_func__",
        "__class_getitem__",
        "__dict__",
        "__dir__",
        "__eq__",
        "__format__",
        "__ge__",
        "__gt__",
        "__hash__",
        "__html__",
        "__init_subclass__",
        "__json__",
        "__le__",
        "__lt__",
        "__ne__",
        "__repr__",
        "__rich_repr__",
        "__str__",
        "__weakref__",
    }
)
# What reads and writes a value of each class runs no code of the app.
_SCALARS = frozenset(
    {
        *(bool, bytes, bytearray, complex, float, int, str, types.NoneType, uuid.UUID),
        *(datetime.date, datetime.timedelta, datetime.timezone, decimal.Decimal),
    }
)
_DICTS_AND_SCALARS = _SCALARS | {dict}
_TIME_ZONES = frozenset({types.NoneType, datetime.timezone, zoneinfo.ZoneInfo})
_SEQUENCES = frozenset({list, tuple, set, frozenset})
# The search for values of the app takes the event loop's time: a worker thread makes larger calls.
_MOST_VALUES = 10_000

# In a call, these libraries write debug records, which the app's handlers would get in the hub.
_botocore_logger = logging.getLogger("botocore")
_pynamodb_logger = logging.getLogger("pynamodb")

_MOST_CALLS_WITHOUT_DECISION = 20
_calls_without_decision: weakref.WeakKeyDictionary[type[t.Any], int] = weakref.WeakKeyDictionary()

_class_of: cabc.Callable[[t.Any], type[t.Any]] = type
_names_of: cabc.Callable[[t.Any], dict[str, t.Any]] = vars
_values_of: cabc.Callable[[t.Any], cabc.Iterable[t.Any]] = t.cast(t.Any, dict).values

_OF_PYTHON = frozenset({"abc", "builtins", "collections.abc", "typing"})

# What PynamoDB keeps on an instance of a model or map.
_OWN_NAMES = frozenset({"attribute_kwargs", "attribute_values"})

# Those that calls were made of so far. They live as long as the process.
_functions_of_libraries: set[cabc.Callable[..., t.Any]] = set()


class _Declared(pynamodb.models.Model):
    Meta: t.Any = type("Meta", (), {"table_name": "declared"})
    hash_key = UnicodeAttribute(hash_key=True)
    range_key = UnicodeAttribute(range_key=True)


class _DeclaredMap(MapAttribute[t.Any, t.Any]):
    pass


def is_stock(kind: type[t.Any]) -> bool:
    """Whether a call of a model runs no code of the app, as far as the model tells.

    :param kind: The model.
    """
    return not (
        ceremony.is_noticed()
        or _botocore_logger.isEnabledFor(logging.DEBUG)
        or _pynamodb_logger.isEnabledFor(logging.DEBUG)
    ) and _is_plain(kind)


def is_known_stock(kind: type[t.Any]) -> bool:
    """As :func:`is_stock`, for calls that gain little by it. The first ones of a model do not ask:
    to find the answer takes as long as a hundred of them gain.

    :param kind: The model.
    """
    if _DECISION not in kind.__dict__:
        number = _calls_without_decision.get(kind, 0) + 1

        if number <= _MOST_CALLS_WITHOUT_DECISION:
            _calls_without_decision[kind] = number
            return False

        _calls_without_decision.pop(kind, None)

    return is_stock(kind)


def are_plain(*values: t.Any) -> bool:
    """Whether a call that is given these runs no code of the app because of them.

    :param values: The method, bound to its model or instance, and its arguments.
    """
    return count_plain(*values) is not None


def count_plain(*values: t.Any) -> int | None:
    """As :func:`are_plain`, and how many values there are.

    :param values: The method, bound to its model or instance, and its arguments.
    :return: How many values there are, with those in them, besides the simplest; ``None`` if the
        call may run code of the app, or there are too many.
    """
    left = [value for value in values if _class_of(value) not in _SCALARS and not _is_known(value)]

    if not left:
        return 0

    search, number = _Search(), 0

    while left:
        parts = search.parts_of_all(left)
        number += len(left)

        if parts is None or number > _MOST_VALUES:
            return None

        left = parts

    return number


def _is_known(value: t.Any) -> bool:
    """Whether a value is a method that other calls had, and belongs to no model or map."""
    return (
        _class_of(value) is types.MethodType
        and value.__func__ in _functions_of_libraries
        and not isinstance(value.__self__, AttributeContainer)
    )


def was_seen_plain(kind: type[t.Any]) -> bool:
    """Whether a class was found to be plain in this turn of the event loop. Then its plans are
    those of what it holds.

    :param kind: The class.
    """
    decision: _Decision | None = kind.__dict__.get(_DECISION)
    return decision is not None and decision.is_plain is True and decision.was_seen_in_this_turn


def _is_plain(kind: type[t.Any]) -> bool:
    decision: _Decision | None = kind.__dict__.get(_DECISION)

    if decision is None or not decision.holds_now():
        # What is stored on the class comes first: it must not look like a change of it.
        plans = deserializer.renew(kind)
        decision = _Decision()
        setattr(kind, _DECISION, decision)
        decision.is_plain = _Reader(decision, plans).is_plain(kind)

    return decision.is_plain is True


class _Decision:
    """Whether a class is plain, and all that this was read from."""

    def __init__(self) -> None:
        self.is_plain: bool | None = None
        """``None`` until all was read, and if that was interrupted."""

        self._owners: set[int] = set()
        self._namespaces = Namespaces()
        self._turn: object | None = None

    def note(self, owner: object, names: cabc.Mapping[t.Any, t.Any]) -> None:
        """Note what a namespace holds now.

        :param owner: What it belongs to.
        :param names: The namespace.
        """
        if id(owner) not in self._owners:
            self._owners.add(id(owner))
            self._namespaces.note(owner, names)

    def holds_now(self) -> bool:
        """Whether everything is still as it was, or was so in this turn of the event loop.

        Who changes a class and then waits for a call has it looked at again.
        """
        if self.was_seen_in_this_turn:
            return True

        if self.is_plain is None or not self.holds():
            return False

        self._turn = turns.current()
        return True

    @property
    def was_seen_in_this_turn(self) -> bool:
        """Whether :meth:`holds_now` has found so in this turn of the event loop."""
        return self._turn is not None and self._turn is turns.known()

    def holds(self) -> bool:
        """Whether everything is still as it was."""
        try:
            return self._namespaces.are_unchanged()
        except Exception:
            # A value that can't be compared: one of the app, or an attribute with something else.
            return False


class _Reader:
    """Reads a class, and all others whose instances a call of it may read or write.

    :param decision: Where to note what was read.
    :param plans: How their instances are read.
    """

    def __init__(self, decision: _Decision, plans: deserializer.Deserializer) -> None:
        self._decision = decision
        self._plans = plans
        self._containers: set[type] = set()

    def is_plain(self, kind: type[t.Any]) -> bool:
        """Whether neither a model or map nor anything in it is code of the app."""
        # A map may hold itself.
        if kind in self._containers:
            return True

        self._containers.add(kind)
        is_map = issubclass(kind, MapAttribute)
        attributes: cabc.Mapping[str, t.Any] = kind.get_attributes()
        self._decision.note(attributes, attributes)
        return (
            self._is_plain_class(kind, type(kind), is_map=is_map)
            and (is_map or self._is_plain_meta(kind))
            and all(
                # Something else may have been put into its place: a property with a setter, say.
                hooks.stored(kind, name) is attribute
                and self._is_plain_attribute(attribute, kind, is_in_map=is_map)
                for name, attribute in attributes.items()
            )
            and all(map(_is_of_libraries, self._plans.calls(kind)))
        )

    def _is_plain_class(self, kind: type, type_of_kind: type, *, is_map: bool) -> bool:
        if not all(map(_is_of_pynamodb, type_of_kind.__mro__)):
            return False

        inherited = frozenset(dir(MapAttribute if is_map else pynamodb.models.Model))
        declared = frozenset(vars(_DeclaredMap if is_map else _Declared))
        return all(
            self._is_plain_base(base)
            if _is_of_pynamodb(base)
            else self._adds_only_names(base, inherited - declared - _HARMLESS)
            for base in kind.__mro__
        )

    def _is_plain_base(self, kind: type) -> bool:
        """Whether a class of PynamoDB, or of this project, is as it was written."""
        if kind.__module__ in _OF_PYTHON:
            return True

        self._decision.note(kind, vars(kind))
        return _is_of_pynamodb(kind) and _has_code_of_libraries_alone(kind)

    def _adds_only_names(self, kind: type, used: frozenset[str]) -> bool:
        """Whether a class of the app defines nothing that a call would use."""
        self._decision.note(kind, vars(kind))
        own = {name for name, value in vars(kind).copy().items() if _is_callable(value)}
        return not own & used and not any(map(_is_special, own))

    def _is_plain_meta(self, kind: type) -> bool:
        """Whether to read a model's ``Meta``, and to raise its ``DoesNotExist``, is not code of the
        app."""
        declared = late_binding.declared_meta(kind) if hasattr(kind, "Meta") else None
        error: type = t.cast(t.Any, kind).DoesNotExist
        return all(
            self._adds_only_names(base, frozenset())
            for base in error.__mro__
            if not _is_of_pynamodb(base) and base.__module__ != "builtins"
        ) and (
            declared is None
            or (type(declared) is type and all(map(self._is_plain_namespace, declared.__mro__)))
        )

    def _is_plain_namespace(self, kind: type) -> bool:
        if kind.__module__ in _OF_PYTHON:
            return True

        self._decision.note(kind, vars(kind))
        return not any(
            hasattr(_class_of(value), "__get__") and _class_of(value).__module__ != "builtins"
            for value in [*vars(kind).values()]
        )

    def _is_plain_attribute(self, attribute: t.Any, owner: type, *, is_in_map: bool) -> bool:
        self._decision.note(attribute, _names_of(attribute))
        element_type: type | None = getattr(attribute, "element_type", None)
        return (
            not shadows(attribute)
            and _is_plain_default(attribute.default)
            # Models are created by the app, but maps by PynamoDB, too.
            and (not is_in_map or _is_plain_default(attribute.default_for_new))
            and self._is_plain_attribute_class(_class_of(attribute))
            and (element_type is None or self._is_plain_attribute_class(element_type))
            and (
                not isinstance(attribute, DiscriminatorAttribute)
                or self._is_plain_discriminator(attribute, owner)
            )
        )

    def _is_plain_attribute_class(self, kind: type[t.Any]) -> bool:
        if issubclass(kind, AttributeContainer):
            return self.is_plain(kind)

        return all(map(self._is_plain_base, kind.__mro__))

    def _is_plain_discriminator(self, attribute: t.Any, owner: type) -> bool:
        for registered in [*_names_of(attribute).values()]:
            if _class_of(registered) is dict:
                self._decision.note(registered, registered)

        heirs: list[type] = attribute.get_registered_subclasses(owner)
        return all(
            type(attribute.get_discriminator(heir)) in _SCALARS and self.is_plain(heir)
            for heir in heirs
        )


class _Search:
    """Finds code of the app in values."""

    def __init__(self) -> None:
        self._plain_maps: set[type] = {MapAttribute, DynamicMapAttribute}

    def parts_of_all(self, values: list[t.Any]) -> list[t.Any] | None:
        """What values are made of; ``None`` if using one of them may run code of the app.

        Most are dictionaries, such as items and keys, or what is in them. These are looked at all
        at once, by Python's functions in C: one by one would take as long as to send the call.
        """
        kinds = set(map(_class_of, values))
        parts: list[t.Any] = []

        if dict in kinds:
            dicts = values if len(kinds) == 1 else [v for v in values if _class_of(v) is dict]
            keys = itertools.chain.from_iterable(dicts)

            if not _SCALARS.issuperset(map(_class_of, keys)):
                parts.extend(itertools.chain.from_iterable(dicts))

            parts.extend(itertools.chain.from_iterable(map(_values_of, dicts)))

        kinds -= _DICTS_AND_SCALARS

        if not kinds:
            return parts

        are_others = map(kinds.__contains__, map(_class_of, values))

        for value in itertools.compress(values, are_others):
            more = self.parts(value)

            if more is None:
                return None

            parts.extend(more)

        return parts

    def parts(self, value: t.Any) -> cabc.Iterable[t.Any] | None:
        """What another value is made of; ``None`` if using it may run code of the app."""
        kind = _class_of(value)

        if issubclass(kind, type):
            return ()

        if kind in _SEQUENCES:
            return t.cast("cabc.Iterable[t.Any]", value)

        if kind is datetime.datetime:
            return () if type(value.tzinfo) in _TIME_ZONES else None

        if kind is types.MethodType:
            if value.__func__ not in _functions_of_libraries:
                if not _is_of_libraries(value):
                    return None

                _functions_of_libraries.add(value.__func__)

            owner: t.Any = value.__self__
            is_of_container = isinstance(owner, AttributeContainer)
            return self._parts_of_container(owner) if is_of_container else ()

        if issubclass(kind, (Attribute, AttributeContainer)):
            return self._parts_of_container(value)

        if kind is types.FunctionType:
            # In the place of a method.
            return () if _is_of_libraries(value) else None

        # Conditions, updates and pages.
        is_known = f"{kind.__module__}.".startswith(_OF_PYNAMODB)
        return tuple(_names_of(value).values()) if is_known else None

    def _parts_of_container(self, value: t.Any) -> cabc.Iterable[t.Any] | None:
        values: dict[t.Any, t.Any] | None = _names_of(value).get("attribute_values")

        # An attribute, in a condition. What it is compared with was serialised when the condition
        # was created.
        if values is None:
            return ()

        if isinstance(value, MapAttribute) and not self._is_plain_map(_class_of(value)):
            return None

        return None if shadows(value) else (*values, *values.values())

    def _is_plain_map(self, kind: type[t.Any]) -> bool:
        if kind not in self._plain_maps:
            if not _is_plain(kind):
                return False

            self._plain_maps.add(kind)

        return True


def shadows(instance: t.Any) -> bool:
    """Whether something on an instance hides a method of its class.

    :param instance: An instance of a model, or an attribute.
    """
    kind, own = _class_of(instance), _names_of(instance)

    if own.keys() <= _OWN_NAMES:
        return False

    hidden = [getattr(kind, name, None) for name in own]
    return any(_is_callable(value) and not isinstance(value, Attribute) for value in hidden)


def _is_plain_default(default: t.Any) -> bool:
    return not callable(default) or (isinstance(default, type) and default.__module__ == "builtins")


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__") and name not in _HARMLESS


def _is_callable(value: t.Any) -> bool:
    kind = _class_of(value)
    return callable(value) or hasattr(kind, "__get__")


# What the classes that all models share hold, when they were last looked at, and what that was.
_looked_at: dict[type, tuple[list[t.Any], bool]] = {}


def _has_code_of_libraries_alone(kind: type) -> bool:
    """Whether nothing in the namespace of a class is code of the app."""
    values = [*vars(kind).values()]
    then, has_none = _looked_at.get(kind, ((), False))

    try:
        is_unchanged = values == then
    except Exception:
        # A value that can't be compared.
        is_unchanged = False

    if not is_unchanged:
        has_none = all(map(_is_of_libraries, values))
        _looked_at[kind] = values, has_none

    return has_none


def _is_of_libraries(value: t.Any) -> bool:
    """Whether something is not callable, or is code of PynamoDB, this project or Python itself."""
    match value:
        case types.FunctionType():
            return f"{value.__globals__.get('__name__')}.".startswith(_OF_PYNAMODB)
        case types.MethodType() | staticmethod() | classmethod():
            return _is_of_libraries(t.cast(t.Any, value).__func__)
        case property():
            return all(map(_is_of_libraries, (value.fget, value.fset, value.fdel)))
        case functools.partial():
            parts = (value.func, *value.args, *value.keywords.values())
            return all(map(_is_of_libraries, parts))
        case type() | Attribute() | late_binding.MetaOfModel():
            # Looked at where they are used.
            return True
        case _:
            return isinstance(value, _BUILTIN_FUNCTIONS) or not _is_callable(value)


def _is_of_pynamodb(kind: type) -> bool:
    return f"{kind.__module__}.".startswith(_OF_PYNAMODB) or kind.__module__ in _OF_PYTHON
