"""Serialises models to items, by code that is generated for each class.

The items and the errors are the same as PynamoDB's. What is usual is serialised here: a value of
the type that its attribute is for, of an attribute of PynamoDB's whose methods are neither
overridden nor patched. Everything else is left to PynamoDB, attribute by attribute, and altogether
a class that overrides how its values are found.
"""

from __future__ import annotations

import calendar
import collections.abc as cabc
import dataclasses
import datetime
import functools
import inspect
import json
import math
import types
import typing as t

import pynamodb.models
from pynamodb import attributes
from pynamodb.attributes import AttributeContainer
from pynamodb.attributes import BinaryAttribute
from pynamodb.attributes import BinarySetAttribute
from pynamodb.attributes import BooleanAttribute
from pynamodb.attributes import JSONAttribute
from pynamodb.attributes import ListAttribute
from pynamodb.attributes import MapAttribute
from pynamodb.attributes import NullAttribute
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import NumberSetAttribute
from pynamodb.attributes import TTLAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.attributes import UnicodeSetAttribute
from pynamodb.attributes import UTCDateTimeAttribute
from pynamodb.attributes import VersionAttribute

from . import deserializer
from . import generated
from . import hooks
from . import turns

TypedValue = dict[str, t.Any]
Item = dict[str, TypedValue]
Write = cabc.Callable[[t.Any], t.Any]
WriteItem = cabc.Callable[[t.Any], tuple[Item, bool] | None]
"""Makes an item of an instance, and tells whether it is made of texts, flags and binaries alone,
where they belong, so that nobody need check that. ``None`` if PynamoDB must make the item."""

# A class that overrides one of these is left to PynamoDB altogether.
_HOOKS_OF_A_CLASS = (
    "__bool__",
    "__getattribute__",
    "__len__",
    "_container_serialize",
    "attribute_values",
    "get_attributes",
)
_HOOKS_OF_A_MAP = ("_is_attribute_container", "is_correctly_typed", "is_raw", "validate")
_HOOKS_OF_SERIALIZING = (
    "_get_serialize_class",
    "_normalize",
    "_serialize_undeclared_attributes",
    "serialize",
)
_HOOKS_OF_AN_ATTRIBUTE = ("__get__", "_is_map_attribute_class_object")
_HOOKS_OF_AN_ELEMENT = ("__init__", "__new__")
_HOOKS_OF_ATTRIBUTES = (
    *(*_HOOKS_OF_A_MAP, *_HOOKS_OF_SERIALIZING, *_HOOKS_OF_AN_ATTRIBUTE, *_HOOKS_OF_AN_ELEMENT),
    *("attr_name", "attr_type", "null"),
)

_UTC = datetime.UTC
_BYTES = frozenset({bytes})
_TEXT = frozenset({str})
_class_of: cabc.Callable[[t.Any], type[t.Any]] = type
_names_of: cabc.Callable[[t.Any], dict[str, t.Any]] = vars
_serialize_class_map: cabc.Mapping[type, t.Any] = t.cast(t.Any, attributes).SERIALIZE_CLASS_MAP
# The instance dictionary of a map holds these two, and whatever the app puts there.
_OWN_NAMES_OF_A_MAP = 2


def of(kind: type[AttributeContainer]) -> WriteItem | None:
    """The function that serialises a model, created when it is asked for first.

    :param kind: The model.
    :return: The function; ``None`` if PynamoDB must serialise the model.
    """
    plans = deserializer.of(kind)
    serializer: _ItemSerializer | None = plans.item_serializer

    if serializer is None or not serializer.holds():
        serializer = plans.item_serializer = _ItemSerializer(kind)

    return serializer.write


def known(kind: type[AttributeContainer]) -> WriteItem | None:
    """As :func:`of`, for a model that was looked at in this turn of the event loop: nothing that
    items are made of has changed since.

    :param kind: The model, which :func:`.eligibility.is_stock` has found plain.
    """
    plans = deserializer.of(kind)
    serializer: _ItemSerializer | None = plans.item_serializer
    turn = turns.current()

    if turn is None or serializer is None or serializer.turn is not turn:
        write = of(kind)
        plans.item_serializer.turn = turn
        return write

    return serializer.write


class _ItemSerializer:
    """How the instances of one model are serialised.

    :param kind: The model.
    """

    def __init__(self, kind: type[AttributeContainer]) -> None:
        self._hooks = hooks.Hooks(
            of_containers=(*_HOOKS_OF_A_CLASS, "serialize"),
            of_attributes=_HOOKS_OF_ATTRIBUTES,
            of_one_attribute="null",
        )
        self._hooks.note_attributes(_UNDECLARED)
        self._ids_of_undeclared = _ids_of_undeclared()
        self._maps: dict[type, Write | None] = {}
        self._serializes_undeclared = self._ids_of_undeclared == _IDS_OF_UNDECLARED and all(
            map(_serializes_as_pynamodb, _UNDECLARED)
        )
        self.turn: object | None = None
        """The turn of the event loop in which it was last found to hold."""

        self.write: WriteItem | None = self._make(kind)
        """The result of :func:`of`."""

    def holds(self) -> bool:
        """Whether everything that this was made of is as it was."""
        return self._hooks.are_unchanged() and _ids_of_undeclared() == self._ids_of_undeclared

    def _make(self, kind: type[AttributeContainer]) -> WriteItem | None:
        self._hooks.note_container(kind)

        if not _is_left_as_it_was(kind):
            return None

        lines = [
            "def write(instance):",
            # Set on an instance, it would hide that of the class.
            "    if 'get_attributes' in instance.__dict__:",
            "        return None",
            "    get = instance.attribute_values.get",
            "    item = {}",
            "    is_plain = True",
        ]
        values: dict[str, t.Any] = {}

        for number, step in enumerate(self._steps(kind)):
            otherwise = "is_plain = by_pynamodb(step_{number}, value, item)"
            lines += _lines(step, number, otherwise)
            values |= _values(step, number)

        lines.append("    return item, is_plain")
        write: WriteItem = generated.function("write", lines, _GLOBALS | values)
        return write

    def _map(self, kind: type[AttributeContainer]) -> Write | None:
        """What serialises a map with declared attributes; it returns ``None`` for one with unusual
        values. ``None`` if PynamoDB must serialise these maps."""
        if kind not in self._maps:
            # A map may hold itself: inside, it is left to PynamoDB.
            self._maps[kind] = None
            self._maps[kind] = self._make_map(kind)

        return self._maps[kind]

    def _make_map(self, kind: type[AttributeContainer]) -> Write | None:
        self._hooks.note_container(kind)

        if not _is_left_as_it_was(kind) or not hooks.are_inherited(kind, _HOOKS_OF_A_MAP):
            return None

        steps = self._steps(kind)

        # PynamoDB looks for missing values first. That makes no difference as long as nothing else
        # can raise an error.
        if any(step.conversion is None or step.conversion.may_fail for step in steps):
            return None

        lines = [
            "def write(instance):",
            f"    if len(instance.__dict__) != {_OWN_NAMES_OF_A_MAP}:",
            "        return None",
            "    get = instance.attribute_values.get",
            "    item = {}",
        ]
        values: dict[str, t.Any] = {}

        for number, step in enumerate(steps):
            lines += _lines(step, number, "return None")
            values |= _values(step, number)

        write: Write = generated.function("write", [*lines, "    return item"], _GLOBALS | values)
        return write

    def _steps(self, kind: t.Any) -> list[_Step]:
        return [
            self._step(kind, name, attribute) for name, attribute in kind.get_attributes().items()
        ]

    def _step(self, kind: t.Any, name: str, attribute: t.Any) -> _Step:
        is_found = (
            kind._dynamo_to_python_attr(attribute.attr_name) == name
            and hooks.stored(kind, name) is attribute
            and hooks.are_inherited(attribute.__class__, _HOOKS_OF_AN_ATTRIBUTE)
            and _names_of(attribute).keys().isdisjoint(_HOOKS_OF_AN_ATTRIBUTE)
        )
        has_text_as_name = type(attribute.attr_name) is str
        conversion = self._conversion(attribute) if is_found and has_text_as_name else None
        return _Step(name, attribute, is_found=is_found, conversion=conversion)

    def _conversion(self, attribute: t.Any) -> _Conversion | None:
        """How the values of an attribute are serialised; ``None`` if the attribute does it."""
        if not _serializes_as_pynamodb(attribute):
            return None

        kind = attribute.__class__
        base = hooks.base(kind)

        if base in {BinaryAttribute, BinarySetAttribute} and attribute.legacy_encoding:
            return None

        if base is ListAttribute:
            return _conversion_of(list, self._list(attribute.element_type))

        if kind is MapAttribute:
            return _conversion_of(kind, self._undeclared(_write_undeclared_map))

        return _conversion_of(kind, self._map(kind)) if base is MapAttribute else _USUAL.get(base)

    def _undeclared(self, write: Write) -> Write | None:
        return write if self._serializes_undeclared else None

    def _list(self, element_type: t.Any) -> Write | None:
        """What serialises a list; it returns ``None`` for one with unusual values. ``None`` if
        PynamoDB must serialise these lists."""
        if element_type is None:
            return self._undeclared(_write_undeclared_list)

        # PynamoDB creates one for each element.
        if not hooks.are_inherited(element_type, _HOOKS_OF_AN_ELEMENT + _HOOKS_OF_SERIALIZING):
            return None

        base = hooks.base(element_type)

        if base is MapAttribute and element_type is not base:
            write = self._map(element_type)
            return write and functools.partial(_write_list, element_type, "M", write)

        if base in _ELEMENTS:
            kind, write = _ELEMENTS[base]
            return functools.partial(_write_list, kind, element_type.attr_type, write)

        return None


@dataclasses.dataclass(frozen=True)
class _Conversion:
    """How the usual values of an attribute are serialised."""

    condition: str
    """The source of what tells whether ``value``, which is of the type ``kind``, is usual."""

    own: t.Any = None
    """What the condition names ``own``, with the number of the step."""

    write: Write | None = None
    """Serialises a value; returns ``None`` if it is unusual after all."""

    source: str = "write_{number}(value)"
    """The source of what serialises it."""

    may_fail: bool = False
    """Whether to serialise it may raise an error."""


def _conversion_of(kind: type, write: Write | None) -> _Conversion | None:
    return None if write is None else _Conversion("kind is own_{number}", kind, write)


@dataclasses.dataclass(frozen=True)
class _Step:
    """How one attribute is serialised."""

    name: str
    attribute: t.Any
    is_found: bool
    """Whether its value is where PynamoDB keeps it."""

    conversion: _Conversion | None


def _lines(step: _Step, number: int, otherwise: str) -> list[str]:
    otherwise = otherwise.format(number=number)
    get = f"get(name_{number})" if step.is_found else f"getattr(instance, name_{number})"
    lines = [f"value = {get}"]

    if step.conversion is None:
        lines.append(otherwise)
    else:
        conversion = step.conversion
        source = conversion.source.format(number=number)
        lines += [
            "kind = type(value)",
            f"if {conversion.condition.format(number=number)}:",
        ]

        if conversion.write is None:
            lines += [f"    item[stored_{number}] = {{type_{number}: {source}}}"]
        else:
            lines += [
                f"    serialized = {source}",
                "    if serialized is None:",
                f"        {otherwise}",
                "    else:",
                f"        item[stored_{number}] = {{type_{number}: serialized}}",
            ]

        lines += [
            f"elif {'value is not None' if step.attribute.null else 'True'}:",
            f"    {otherwise}",
        ]

    return [f"    {line}" for line in lines]


def _values(step: _Step, number: int) -> dict[str, t.Any]:
    conversion = step.conversion
    return {
        f"name_{number}": step.name,
        f"own_{number}": conversion and conversion.own,
        f"step_{number}": step,
        f"stored_{number}": step.attribute.attr_name,
        f"type_{number}": step.attribute.attr_type,
        f"write_{number}": conversion and conversion.write,
    }


def _by_pynamodb(step: _Step, value: t.Any, item: Item) -> bool:
    """Have PynamoDB serialise one attribute, as if there were no other.

    :return: Whether what that gives is certain to be plain: it is not.
    """
    only = {step.name: step.attribute}
    alone = types.SimpleNamespace(get_attributes=lambda: only, **{step.name: value})
    item.update(t.cast(t.Any, AttributeContainer)._container_serialize(alone, null_check=True))
    return False


def _write_undeclared_map(value: t.Any) -> TypedValue | None:
    try:
        if len(_names_of(value)) != _OWN_NAMES_OF_A_MAP:
            return None

        return _undeclared_values(value.attribute_values)
    except _Unusual:
        return None


def _write_undeclared_list(value: list[t.Any]) -> list[TypedValue] | None:
    try:
        return [_undeclared(each) for each in value]
    except _Unusual:
        return None


class _Unusual(Exception):
    """A value that PynamoDB must serialise."""


def _undeclared(value: t.Any) -> TypedValue:
    """A value of a map or list without declared types.

    :raises _Unusual: if PynamoDB must serialise it.
    """
    kind = _class_of(value)

    if kind is str:
        return {"S": value}
    if kind is int or (kind is float and math.isfinite(value)):
        return {"N": repr(value)}
    if kind is bool:
        return {"BOOL": value}
    if value is None:
        return {"NULL": True}
    if kind is dict:
        return {"M": _undeclared_values(value)}
    if kind is list:
        return {"L": [_undeclared(each) for each in value]}
    if kind is bytes:
        return {"B": value}

    raise _Unusual


def _undeclared_values(values: dict[str, t.Any]) -> Item:
    if not _TEXT.issuperset(map(_class_of, values)):
        raise _Unusual

    return {name: _undeclared(each) for name, each in values.items()}


def _write_list(
    kind: type, attribute_type: str, write: Write, values: list[t.Any]
) -> list[TypedValue] | None:
    """Serialise a list of elements of one type; it may have gaps."""
    elements: list[TypedValue] = []

    for value in values:
        if value is None:
            elements.append({"NULL": True})
            continue

        serialized = write(value) if type(value) is kind else None

        if serialized is None:
            return None

        elements.append({attribute_type: serialized})

    return elements


def _text(value: str) -> str:
    return value


def _texts(values: set[t.Any]) -> list[str] | None:
    return [*values] if _TEXT.issuperset(map(_class_of, values)) else None


def _binaries(values: set[t.Any]) -> list[bytes] | None:
    return [*values] if _BYTES.issuperset(map(_class_of, values)) else None


def _numbers(values: set[t.Any]) -> list[str] | None:
    are_usual = all(
        type(each) is int or (type(each) is float and math.isfinite(each)) for each in values
    )
    return [*map(repr, values)] if are_usual else None


def _seconds(value: datetime.datetime) -> str:
    return str(calendar.timegm(value.utctimetuple()))


def _iso_format(value: datetime.datetime) -> str:
    """In PynamoDB's form, whose digits of the offset have no colon between them."""
    return f"{value.isoformat('T', 'microseconds')[:26]}+0000"


_NUMBER = "kind is int or kind is float and -infinity < value < infinity"
_USUAL: dict[type, _Conversion] = {
    BinaryAttribute: _Conversion("kind is bytes", source="value"),
    BinarySetAttribute: _Conversion("kind is set and value", write=_binaries),
    BooleanAttribute: _Conversion("kind is bool", source="value"),
    JSONAttribute: _Conversion("kind in json_types", source="dumps(value)", may_fail=True),
    NumberAttribute: _Conversion(_NUMBER, source="repr(value)"),
    NumberSetAttribute: _Conversion("kind is set and value", write=_numbers),
    TTLAttribute: _Conversion("kind is datetime and value.tzinfo is utc", source="seconds(value)"),
    UnicodeAttribute: _Conversion("kind is str", source="value"),
    UnicodeSetAttribute: _Conversion("kind is set and value", write=_texts),
    UTCDateTimeAttribute: _Conversion(
        "kind is datetime and (value.tzinfo is utc or value.tzinfo is None)",
        source="iso_format(value)",
    ),
    VersionAttribute: _Conversion("kind is int", source="repr(value)"),
}
_ELEMENTS: dict[type, tuple[type, Write]] = {
    NumberAttribute: (int, repr),
    UnicodeAttribute: (str, _text),
}
_GLOBALS: dict[str, t.Any] = {
    "by_pynamodb": _by_pynamodb,
    "datetime": datetime.datetime,
    "dumps": json.dumps,
    "infinity": math.inf,
    "iso_format": _iso_format,
    "json_types": frozenset({bool, dict, float, int, list, str}),
    "seconds": _seconds,
    "utc": _UTC,
}


def _is_left_as_it_was(kind: type[AttributeContainer]) -> bool:
    stock = t.cast(type, pynamodb.models.Model)
    return hooks.are_inherited(kind, _HOOKS_OF_A_CLASS) and hooks.are_inherited(
        stock, ("_container_serialize", "serialize")
    )


def _serializes_as_pynamodb(attribute: t.Any) -> bool:
    kind: type = attribute.__class__
    return (
        hooks.are_inherited(kind, ("attr_name", *_HOOKS_OF_SERIALIZING))
        and _names_of(attribute).keys().isdisjoint(_HOOKS_OF_SERIALIZING)
        # They could be properties.
        and type(inspect.getattr_static(attribute, "attr_type")) is str
        and type(inspect.getattr_static(attribute, "null")) is bool
    )


def _ids_of_undeclared() -> list[int]:
    return [*map(id, _serialize_class_map.values())]


# These serialise the values of maps and lists without declared types.
_UNDECLARED: tuple[t.Any, ...] = (*_serialize_class_map.values(), NullAttribute())
_IDS_OF_UNDECLARED = _ids_of_undeclared()

hooks.remember(_HOOKS_OF_A_CLASS, _HOOKS_OF_ATTRIBUTES)
