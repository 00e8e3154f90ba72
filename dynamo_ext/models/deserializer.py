"""Deserialises items to models, with a plan that is created once for each class.

PynamoDB looks up, for each attribute of each item, how to read it and where to store it. A plan
holds the results of these look-ups. The instances and the errors are the same as PynamoDB's: a
model or an attribute that overrides a hook is left to PynamoDB. So is one whose hook is patched:
plans hold as long as everything that they were made of is as it was.
"""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import datetime
import functools
import inspect
import json
import typing as t

from pynamodb import attributes
from pynamodb.attributes import Attribute
from pynamodb.attributes import AttributeContainer
from pynamodb.attributes import BinaryAttribute
from pynamodb.attributes import BinarySetAttribute
from pynamodb.attributes import BooleanAttribute
from pynamodb.attributes import ListAttribute
from pynamodb.attributes import MapAttribute
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import NumberSetAttribute
from pynamodb.attributes import TTLAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.attributes import UnicodeSetAttribute
from pynamodb.attributes import UTCDateTimeAttribute
from pynamodb.attributes import VersionAttribute
from pynamodb.constants import LIST
from pynamodb.constants import MAP
from pynamodb.constants import NULL

from . import generated
from . import hooks
from . import page_reader
from .page_reader import Conversion
from .page_reader import Field
from .page_reader import Members
from .reply_reader import ReplyReader

Item = cabc.Mapping[str, dict[str, t.Any]]
Read = cabc.Callable[[t.Any], t.Any]
# The classes around a class that is being planned. They are an argument of each step, not a note in
# the deserializer: another thread does not see them, and an interruption leaves none behind.
_Kinds = tuple[type[AttributeContainer], ...]
F = t.TypeVar("F", bound=cabc.Callable[..., t.Any])
# A class that overrides one of these is left to PynamoDB altogether ...
_HOOKS_OF_A_CLASS = (
    "__bool__",
    "__getattribute__",
    "__len__",
    "__setattr__",
    "_get_discriminator_attribute",
    "_get_discriminator_class",
    "_instantiate",
    "_set_defaults",
    "_set_discriminator",
    "attribute_values",
    "get_attributes",
)
# ... and if it overrides one of these, the class is called to create its instances.
_HOOKS_OF_CREATION = ("__init__", "__new__", "_set_attributes")
_HOOKS_OF_AN_ATTRIBUTE = ("__set__", "_is_map_attribute_class_object", "_normalize", "get_value")
_HOOKS_OF_AN_ELEMENT = ("__init__", "__new__", "get_value")
_HOOKS_OF_READING = ("_fast_parse_utc_date_string", "deserialize", "is_raw")
_HOOKS_TO_READ_ATTRIBUTES = (*_HOOKS_OF_AN_ATTRIBUTE, *_HOOKS_OF_AN_ELEMENT, *_HOOKS_OF_READING)

# A map without declared attributes takes these names for parameters of its own, not for values.
_PARAMETERS_OF_ATTRIBUTES = frozenset(
    {*inspect.signature(t.cast(t.Any, Attribute)).parameters, "self", "_user_instantiated"}
)
_UTC = datetime.UTC
# Bypass MapAttribute.__setattr__ without creating __dict__.
_set = object.__setattr__
_read_iso_format = datetime.datetime.fromisoformat
_scan_json: cabc.Callable[[str, int], tuple[t.Any, int]] = t.cast(
    t.Any, json.JSONDecoder()
).scan_once
_DESERIALIZER = "_dynamo_ext_deserializer"

# What models have for ``from_raw_data``, if nobody has overridden it.
_readers_of_items: set[t.Any] = set()


def reads_items(function: F) -> F:
    """Declare a class method's function that does nothing but :meth:`Deserializer.read`.

    :param function: The function.
    """
    _readers_of_items.add(function)
    return function


def reads_replies(decode: t.Any) -> ReplyReader | None:
    """What makes instances of the items of a reply while it is parsed.

    :param decode: What would make an instance of one item as botocore gives it.
    :return: A reader with the same results; ``None`` if there is none, because code of the app may
        take part.
    """
    if getattr(decode, "__func__", None) not in _readers_of_items:
        return None

    return of(decode.__self__).reply_reader


def of(kind: type[AttributeContainer]) -> Deserializer:
    """The deserializer of a model, created at the first request.

    :param kind: The model.
    """
    deserializer: Deserializer | None = kind.__dict__.get(_DESERIALIZER)
    return renew(kind) if deserializer is None else deserializer


def refresh(kind: type[AttributeContainer]) -> None:
    """Drop the deserializer of a model if a hook has been patched, or a patch undone, since.

    :param kind: The model.
    """
    deserializer: Deserializer | None = kind.__dict__.get(_DESERIALIZER)

    if deserializer is not None and not deserializer.holds():
        renew(kind)


def renew(kind: type[AttributeContainer]) -> Deserializer:
    """A new deserializer of a model or map, for example because it has changed.

    :param kind: The model or map. Its next items are read with this deserializer.
    """
    deserializer = Deserializer(kind)
    setattr(kind, _DESERIALIZER, deserializer)
    return deserializer


class Deserializer:
    """Makes instances of one model, and of its subclasses that have a discriminator.

    :param kind: The model.
    """

    def __init__(self, kind: type[AttributeContainer]) -> None:
        self._kind = kind
        self._plans: dict[type[AttributeContainer], _Plan | None] = {}
        self._hooks = hooks.Hooks(
            of_containers=(*_HOOKS_OF_A_CLASS, *_HOOKS_OF_CREATION),
            of_attributes=_HOOKS_TO_READ_ATTRIBUTES,
            of_one_attribute="default",
        )
        self.item_serializer: t.Any = None
        """What :mod:`.item_serializer` knows of the model. It is kept here, because a name more on
        the class would look like a patch."""

    def holds(self) -> bool:
        """Whether everything that the plans were made of is as it was."""
        return self._hooks.are_unchanged()

    @functools.cached_property
    def read(self) -> cabc.Callable[[Item], t.Any]:
        """Makes an instance of an item as botocore gives it: one of the model, or of the subclass
        that the item's discriminator names."""
        return self.reader(self._kind)

    @functools.cached_property
    def reply_reader(self) -> ReplyReader | None:
        """Makes instances of the items of a reply while it is parsed; ``None`` if that must not be
        done in one step, because code of the app may take part."""
        plan = self._plan(self._kind)
        members = None if plan is None else self._members(self._kind, plan)
        return None if plan is None or members is None else ReplyReader(members, plan.read)

    def read_as(self, kind: type[AttributeContainer], item: Item) -> t.Any:
        """Make an instance of another class, that of a map inside an item.

        :param kind: The class.
        :param item: The map's values, as botocore gives them.
        :return: An instance of the class, or of the subclass that the map's discriminator names.
        """
        plan = self._plan(kind)

        if plan is not None and plan.has_discriminator:
            stored: t.Any = t.cast(t.Any, kind)._get_discriminator_class(item)

            if stored is not None and stored is not kind:
                plan = self._plan(stored) if issubclass(stored, kind) else None

        return t.cast(t.Any, kind)._instantiate(item) if plan is None else plan.read(item)

    def reader(self, kind: type[AttributeContainer], within: _Kinds = ()) -> Read:
        """The function that makes an instance of a class. As :meth:`read_as`, with fewer steps.

        :param kind: The class, that of a map inside an item.
        :param within: The classes around this class, which are not planned yet: a map may hold
            itself.
        """
        plan = None if kind in within else self._plan(kind, within)

        if plan is None or plan.has_discriminator:
            return functools.partial(self.read_as, kind)

        return plan.read

    def calls(self, kind: type[AttributeContainer]) -> cabc.Iterable[t.Any]:
        """What is called to read an instance of a class, without the classes of its values.

        :param kind: The class, that of the model or of a value in it.
        :return: Functions, methods and classes. They may be code of the app.
        """
        plan = self._plan(kind)
        return (kind, t.cast(t.Any, kind)._instantiate) if plan is None else plan.calls

    def read_plain_map(self, values: Item) -> dict[str, t.Any]:
        """Make a dictionary of a map without declared attributes.

        :param values: The map's values, as botocore gives them.
        """
        readers = self._plain_readers
        plain: dict[str, t.Any] = {}

        for name, typed_value in values.items():
            for attribute_type, value in typed_value.items():
                read = readers[attribute_type]
                plain[name] = value if read is None else read(value)

        return plain

    def read_plain_list(self, values: cabc.Iterable[dict[str, t.Any]]) -> list[t.Any]:
        """Make a list of the elements of a list that has no declared element type.

        :param values: The elements, as botocore gives them.
        """
        readers = self._plain_readers
        plain: list[t.Any] = []

        for typed_value in values:
            for attribute_type, value in typed_value.items():
                read = readers[attribute_type]
                plain.append(value if read is None else read(value))

        return plain

    @functools.cached_property
    def _plain_readers(self) -> dict[str, Read | None]:
        stock: dict[str, t.Any] = t.cast(t.Any, attributes).DESERIALIZE_CLASS_MAP
        return {kind: _reader(self, attribute) for kind, attribute in stock.items()}

    def _members(
        self, kind: type[AttributeContainer], plan: _Plan, within: _Kinds = ()
    ) -> Members | None:
        """How a reply's reader makes instances of a class; ``None`` if it can't."""
        if not plan.is_created_here or plan.defaults is None:
            return None

        fields: list[Field] = []
        within = (*within, kind)

        for step in plan.steps:
            conversion = self._conversion(step, within)

            if conversion is None:
                return None

            fields.append(Field(step.name, step.attribute.attr_name, conversion))

        return Members(kind, fields, plan.defaults)

    def _conversion(self, step: _Step, within: _Kinds) -> Conversion | None:
        attribute: t.Any = step.attribute
        base: t.Any = hooks.base(attribute.__class__)

        if step.attribute_type is None or not _reads_as_pynamodb(attribute):
            return None

        if _is_raw_map(attribute):
            return self._conversion_of_raw_map

        if base is MapAttribute:
            return self._conversion_of_map(attribute.__class__, within)

        if base is ListAttribute:
            return self._conversion_of_list(attribute, step.read, within)

        return _conversion_of_scalar(step.attribute_type, step.read)

    @functools.cached_property
    def _conversion_of_raw_map(self) -> Conversion | None:
        plain = self._plain

        if plain is None:
            return None

        return page_reader.reads_nested("M", lambda values: _raw_map_of(plain.read_map(values)))

    def _conversion_of_map(
        self, kind: type[AttributeContainer], within: _Kinds
    ) -> Conversion | None:
        # A map may hold itself.
        plan = None if kind in within else self._plan(kind)
        members = None if plan is None else self._members(kind, plan, within)
        return None if members is None else page_reader.of_map(members)

    def _conversion_of_list(
        self, attribute: t.Any, read: Read | None, within: _Kinds
    ) -> Conversion | None:
        plain = self._plain

        if attribute.element_type is None:
            return None if plain is None else page_reader.reads_nested("L", plain.read_list)

        if not isinstance(read, functools.partial) or read.func is not _typed_list:
            return None

        _, element_type, read_element = read.args

        if attribute.element_type is MapAttribute:
            element = None if plain is None else page_reader.reads_nested("M", plain.read_map)
        elif element_type == MAP:
            element = self._conversion_of_map(attribute.element_type, within)
        else:
            element = _conversion_of_scalar(element_type, read_element)

        return None if element is None else page_reader.of_list(element)

    @functools.cached_property
    def _plain(self) -> page_reader.Plain | None:
        """What reads maps and lists of which nothing is declared; ``None`` if the app has its own
        readers of their values."""
        readers = {**self._plain_readers}
        nested = readers.pop(LIST, None), readers.pop(MAP, None)
        stock: dict[str, t.Any] = t.cast(t.Any, attributes).DESERIALIZE_CLASS_MAP
        conversions = [_conversion_of_scalar(kind, read) for kind, read in readers.items()]

        if (
            nested != (self.read_plain_list, self.read_plain_map)
            or None in conversions
            or not all(map(_reads_as_pynamodb, stock.values()))
        ):
            return None

        return page_reader.Plain(t.cast("list[Conversion]", conversions))

    def _plan(self, kind: type[AttributeContainer], within: _Kinds = ()) -> _Plan | None:
        try:
            return self._plans[kind]
        except KeyError:
            self._hooks.note_container(kind)
            inherits = hooks.are_inherited(kind, _HOOKS_OF_A_CLASS)
            plan = self._plans[kind] = _Plan(self, kind, within) if inherits else None
            return plan


@dataclasses.dataclass(frozen=True)
class _Step:
    """How one attribute is read."""

    name: str
    attribute: Attribute[t.Any]
    is_left_to_pynamodb: bool
    read: Read | None = None
    """Converts what DynamoDB sent; ``None`` if that is the value already."""

    @property
    def attribute_type(self) -> str | None:
        """DynamoDB's type of the attribute; ``None`` if PynamoDB reads it, or it is always null."""
        attribute_type = self.attribute.attr_type
        return None if self.is_left_to_pynamodb or attribute_type == NULL else attribute_type

    @property
    def calls(self) -> cabc.Iterable[t.Any]:
        """What is called to read the attribute and to set its default."""
        attribute: t.Any = self.attribute

        if self.is_left_to_pynamodb:
            yield from (attribute.get_value, attribute.deserialize)
        elif self.read is not None:
            yield self.read

        if callable(attribute.default):
            yield attribute.default

    def lines(self, number: int) -> list[str]:
        """The source of what reads the attribute, in a function with ``item``, ``instance`` and
        ``values``.

        :param number: The number of the step, by which it names its :meth:`values`.
        """
        found = f"    if stored_{number} in item:"
        typed_value = f"        typed_value = item[stored_{number}]"
        by_pynamodb = f"read_unusual(step_{number}, instance, values, typed_value)"

        if self.attribute_type is None:
            return [found, typed_value, f"        {by_pynamodb}"]

        inline = _INLINE.get(self._kind_of_read, "value = read_{number}(value)")
        return [
            found,
            typed_value,
            # The usual case: one value, of the declared type.
            f"        if typed_value and type_{number} in typed_value and len(typed_value) == 1:",
            f"            value = typed_value[type_{number}]",
            *(f"            {line}" for line in inline.format(number=number).splitlines()),
            f"            values[name_{number}] = value",
            "        else:",
            f"            {by_pynamodb}",
        ]

    def values(self, number: int) -> dict[str, t.Any]:
        """What the :meth:`lines` refer to.

        :param number: The number of the step.
        """
        return {
            f"name_{number}": self.name,
            f"read_{number}": self.read,
            f"step_{number}": self,
            f"stored_{number}": self.attribute.attr_name,
            f"type_{number}": self.attribute_type,
        }

    @property
    def _kind_of_read(self) -> t.Any:
        """The function that reads the attribute, without the arguments that it has already."""
        return self.read.func if isinstance(self.read, functools.partial) else self.read


def _read_unusual(
    step: _Step, instance: t.Any, values: dict[str, t.Any], typed_value: dict[str, t.Any]
) -> None:
    """Read a value that is not of the declared type, or an attribute that is left to PynamoDB."""
    if not typed_value or NULL in typed_value:
        return

    attribute: t.Any = step.attribute
    attribute_type = step.attribute_type

    if attribute_type is None:
        setattr(instance, step.name, attribute.deserialize(attribute.get_value(typed_value)))
        return

    if attribute_type not in typed_value:
        attribute.get_value(typed_value)  # Raises PynamoDB's error.

    value = typed_value[attribute_type]
    values[step.name] = value if step.read is None else step.read(value)


class _Plan:
    """How an item becomes an instance of one class."""

    def __init__(
        self, deserializer: Deserializer, kind: type[AttributeContainer], within: _Kinds
    ) -> None:
        container = t.cast(t.Any, kind)
        within = (*within, kind)
        self._kind: t.Any = container
        self.has_discriminator = bool(container._discriminator)
        self._has_initial_kwargs = issubclass(kind, MapAttribute)
        call = hooks.stored(type(kind), "__call__")
        self.is_created_here: bool = call is type.__call__ and hooks.are_inherited(
            kind, _HOOKS_OF_CREATION
        )
        self.steps: list[_Step] = [
            _step(deserializer, kind, name, attribute, within)
            for name, attribute in container.get_attributes().items()
        ]
        # With a discriminator, PynamoDB sets the defaults, after the discriminator.
        self.defaults: dict[str, t.Any] | None = (
            None if self.has_discriminator else _constant_defaults(self.steps)
        )
        """What an instance without any attribute has; ``None`` if PynamoDB has to set it."""

        self.calls: list[t.Any] = [
            *([] if self.is_created_here else [kind]),
            *(function for step in self.steps for function in step.calls),
        ]
        """What :meth:`read` calls, apart from PynamoDB's base classes."""

        self.read: cabc.Callable[[Item], t.Any] = self._compile(self.steps)
        """Makes an instance of an item."""

    def _compile(self, steps: cabc.Sequence[_Step]) -> cabc.Callable[[Item], t.Any]:
        lines = ["def read(item):", *self._lines_that_create()]
        values: dict[str, t.Any] = {**_GLOBALS, "create": self._create, "kind": self._kind}
        values |= {"defaults": self.defaults}

        for number, step in enumerate(steps):
            lines += step.lines(number)
            values |= step.values(number)

        read: cabc.Callable[[Item], t.Any] = generated.function(
            "read", [*lines, "    return instance"], values
        )
        return read

    def _lines_that_create(self) -> list[str]:
        if self.defaults is None or not self.is_created_here:
            return ["    instance, values = create()"]

        return [
            f"    values = {'defaults.copy()' if self.defaults else '{}'}",
            "    instance = kind.__new__(kind)",
            *(["    set_(instance, 'attribute_kwargs', {})"] if self._has_initial_kwargs else []),
            "    set_(instance, 'attribute_values', values)",
        ]

    def _create(self) -> tuple[t.Any, dict[str, t.Any]]:
        """An instance with the defaults of existing items, and the dictionary of its values."""
        values = {} if self.defaults is None else self.defaults.copy()

        if self.is_created_here:
            instance = self._kind.__new__(self._kind)

            if self._has_initial_kwargs:
                _set(instance, "attribute_kwargs", {})
        else:
            instance = self._kind(_user_instantiated=False)

        _set(instance, "attribute_values", values)

        if self.has_discriminator:
            instance._set_discriminator()

        if self.defaults is None:
            instance._set_defaults(_user_instantiated=False)

        return instance, values


def _constant_defaults(steps: cabc.Iterable[_Step]) -> dict[str, t.Any] | None:
    """The defaults by name; ``None`` if PynamoDB has to set them for each instance."""
    defaults: dict[str, t.Any] = {}

    for step in steps:
        default: t.Any = step.attribute.default

        if default is None:
            continue

        setter = hooks.stored(step.attribute.__class__, "__set__")

        if callable(default) or step.is_left_to_pynamodb or setter is not Attribute.__set__:
            return None

        defaults[step.name] = default

    return defaults


def _step(
    deserializer: Deserializer,
    kind: type[AttributeContainer],
    name: str,
    attribute: t.Any,
    within: _Kinds,
) -> _Step:
    base = hooks.base(attribute.__class__)
    setter = hooks.stored(attribute.__class__, "__set__")
    python_name = t.cast(t.Any, kind)._dynamo_to_python_attr(attribute.attr_name)
    left_to_pynamodb = _Step(name, attribute, is_left_to_pynamodb=True)

    if (
        python_name != name
        or hooks.stored(kind, name) is not attribute
        or not hooks.are_inherited(attribute.__class__, _HOOKS_OF_AN_ATTRIBUTE)
        or not vars(attribute).keys().isdisjoint(_HOOKS_OF_AN_ATTRIBUTE)
    ):
        return left_to_pynamodb

    read = _reader(deserializer, attribute, within)

    if setter is Attribute.__set__:
        return _Step(name, attribute, is_left_to_pynamodb=False, read=read)

    # These attributes convert the value in __set__, so the reader does it here.
    if _reads_as_pynamodb(attribute):
        if base is VersionAttribute:
            return _Step(name, attribute, is_left_to_pynamodb=False, read=read)

        if base is TTLAttribute:
            return _Step(name, attribute, is_left_to_pynamodb=False, read=_expiry)

        if _is_raw_map(attribute):
            read_map = functools.partial(_raw_map, deserializer)
            return _Step(name, attribute, is_left_to_pynamodb=False, read=read_map)

        if base is MapAttribute:
            return _Step(name, attribute, is_left_to_pynamodb=False, read=read)

    return left_to_pynamodb


def _reader(deserializer: Deserializer, attribute: t.Any, within: _Kinds = ()) -> Read | None:
    """A function that does what the attribute's ``deserialize`` does; ``None`` if it does
    nothing."""
    base: t.Any = hooks.base(attribute.__class__)

    if not _reads_as_pynamodb(attribute):
        return t.cast(Read, attribute.deserialize)

    if base in _READERS:
        return _READERS[base]

    if base is UTCDateTimeAttribute:
        return functools.partial(_date_time, attribute.deserialize)

    if base is BinaryAttribute and not attribute.legacy_encoding:
        return None

    if base is BinarySetAttribute and not attribute.legacy_encoding:
        return set

    if base is MapAttribute:
        return _map_reader(deserializer, attribute.__class__, within)

    if base is ListAttribute:
        return _list_reader(deserializer, attribute, within)

    return t.cast(Read, attribute.deserialize)


def _map_reader(deserializer: Deserializer, kind: type[AttributeContainer], within: _Kinds) -> Read:
    if kind is MapAttribute:
        return deserializer.read_plain_map

    return deserializer.reader(kind, within)


def _list_reader(deserializer: Deserializer, attribute: t.Any, within: _Kinds) -> Read:
    element_type = attribute.element_type

    if element_type is None:
        return deserializer.read_plain_list

    base = hooks.base(element_type)

    if (
        not (base in _READERS or base in {MapAttribute, UTCDateTimeAttribute})
        or not hooks.are_inherited(element_type, _HOOKS_OF_AN_ELEMENT)
        or not hooks.are_inherited(element_type, _HOOKS_OF_READING)
    ):
        return t.cast(Read, attribute.deserialize)

    if base is MapAttribute:
        # To create a map would call its defaults, which are the app's.
        read: Read | None = _map_reader(deserializer, element_type, within)
    else:
        read = _reader(deserializer, element_type())

    return functools.partial(_typed_list, attribute.deserialize, element_type.attr_type, read)


def _typed_list(
    otherwise: Read, element_type: str, read: Read | None, values: list[dict[str, t.Any]]
) -> t.Any:
    elements: list[t.Any] = []

    for typed_value in values:
        if NULL in typed_value:
            elements.append(None)
        elif element_type not in typed_value:
            return otherwise(values)  # Raises PynamoDB's error, which names the element.
        else:
            value = typed_value[element_type]
            elements.append(value if read is None else read(value))

    return elements


def _raw_map(deserializer: Deserializer, values: Item) -> t.Any:
    """The value of a map without declared attributes."""
    return _raw_map_of(deserializer.read_plain_map(values))


def _raw_map_of(plain: dict[str, t.Any]) -> t.Any:
    if not _PARAMETERS_OF_ATTRIBUTES.isdisjoint(plain):
        return t.cast(t.Any, MapAttribute)(**plain)

    kind = t.cast("type[MapAttribute[t.Any, t.Any]]", MapAttribute)
    instance = kind.__new__(kind)
    vars(instance).update(attribute_kwargs={}, attribute_values=plain)
    return instance


def _number(text: t.Any) -> t.Any:
    try:
        number, end = _scan_json(text, 0)
    except _UNREADABLE:
        return json.loads(text)

    return number if end == len(text) else json.loads(text)


def _numbers(texts: cabc.Iterable[t.Any]) -> set[t.Any]:
    return {_number(text) for text in texts}


def _version(text: t.Any) -> int:
    return int(_number(text))


def _expiry(text: t.Any) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(_number(text), _UTC).replace(microsecond=0)


def _date_time(otherwise: Read, text: t.Any) -> t.Any:
    # One slice checks the separators of PynamoDB's format; fromisoformat checks the digits.
    if type(text) is str and text[4:20:3] == "--T::." and text[26:] == "+0000":
        try:
            return _read_iso_format(text)
        except ValueError:
            return otherwise(text)

    return otherwise(text)


_READERS: dict[t.Any, Read | None] = {
    Attribute: None,
    BooleanAttribute: bool,
    NumberAttribute: _number,
    NumberSetAttribute: _numbers,
    UnicodeAttribute: None,
    UnicodeSetAttribute: set,
    VersionAttribute: _version,
}


def _conversion_of_scalar(attribute_type: str, read: Read | None) -> Conversion | None:
    untyped: t.Any = read
    kind = untyped.func if isinstance(untyped, functools.partial) else untyped
    return page_reader.conversion(attribute_type, read, _INLINE_IN_PAGES.get(kind, ""))


_INLINE_IN_PAGES: dict[t.Any, str] = {
    bool: "{value} = not not {value}",
    set: page_reader.SET,
    _date_time: page_reader.DATE_TIME,
    _number: page_reader.NUMBER,
}
_UNREADABLE = (StopIteration, TypeError, ValueError)
# What these do with the usual values, without the call.
_INLINE: dict[t.Any, str] = {
    None: "",
    bool: "value = not not value",
    set: "value = set(value)",
    _number: """\
try:
    number, end = scan_json(value, 0)
except unreadable:
    value = read_{number}(value)
else:
    value = number if end == len(value) else read_{number}(value)""",
}
_GLOBALS: dict[str, t.Any] = {
    "read_unusual": _read_unusual,
    "scan_json": _scan_json,
    "set_": _set,
    "unreadable": _UNREADABLE,
}


def _is_raw_map(attribute: t.Any) -> bool:
    return bool(attribute.__class__ is MapAttribute)


def _reads_as_pynamodb(attribute: t.Any) -> bool:
    own = set(t.cast("dict[str, t.Any]", vars(attribute)))
    return hooks.are_inherited(attribute.__class__, _HOOKS_OF_READING) and own.isdisjoint(
        _HOOKS_OF_READING
    )


hooks.remember(_HOOKS_OF_A_CLASS, _HOOKS_OF_CREATION, _HOOKS_TO_READ_ATTRIBUTES)
