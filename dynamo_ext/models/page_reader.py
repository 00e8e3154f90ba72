"""Generated code that makes instances of all items of a reply, straight from its JSON.

It does in one walk what the parser and a plan of :mod:`.deserializer` do in two: check that each
typed value is a usual one, decode binary values, convert, create the instance. It changes no item
and calls no code of the app. So whatever is not as expected ends the attempt at that item, which is
then decoded and read in the ordinary way from its start, with the ordinary result or error.
"""

from __future__ import annotations

import binascii
import collections.abc as cabc
import dataclasses
import datetime
import functools
import json
import typing as t

from pynamodb.constants import NULL

from ..calls.item_reading import Decode
from ..calls.item_reading import Item
from . import generated

ReadPage = cabc.Callable[[list[Item], Decode, cabc.Callable[[Item], t.Any]], list[t.Any]]
"""Makes instances of items, which are taken from their list. Gets what decodes binary values, and
what reads an item in the ordinary way."""

_LIST = "if {value}.__class__ is not list:\n    raise unusual"
_NOT_NULL = "if {value} is None:\n    raise unusual"
# What botocore makes of a value of each type, and which values it treats in another way.
_PARSE = {
    "B": "{value} = from_base64({value})",
    "BOOL": _NOT_NULL,
    "BS": f"{_LIST}\n{{value}} = [from_base64(element) for element in {{value}}]",
    "L": "",
    "M": "",
    "N": _NOT_NULL,
    "NS": _LIST,
    "NULL": _NOT_NULL,
    "S": _NOT_NULL,
    "SS": _LIST,
}
_READ = "{value} = {read}({value})"
_DECODE_REST = "decode([item[name] for name in item.keys() - known])"

NUMBER = """\
number, end = scan_json({value}, 0)
if end != len({value}):
    raise unusual
{value} = number"""
"""The source that reads a number. It fails where json reads more than that."""

DATE_TIME = """\
if {value}[separators] != "--T::." or {value}[offset] != "+0000":
    raise unusual
{value} = read_iso_format({value})"""
"""The source that reads a time in PynamoDB's format. It fails where that reads more."""

SET = "{value} = set({value})"
"""The source that makes a set of a list."""

_OF_TEXT = frozenset({DATE_TIME, NUMBER})


class Unusual(Exception):
    """An item is to be read in the ordinary way."""


@dataclasses.dataclass(frozen=True)
class Conversion:
    """How a value of one of DynamoDB's types, as it is in JSON, becomes one of an attribute."""

    attribute_type: str
    parse: str
    """The source of what botocore does with it, with the name ``{value}``."""

    convert: str
    """The source of what comes after that, with the names ``{value}`` and ``{read}``."""

    read: cabc.Callable[[t.Any], t.Any] | None = None
    members: Members | None = None
    """What is in a map with declared attributes: its reader is generated."""

    element: Conversion | None = None
    """How the elements of a list of one type are converted."""

    @property
    def source(self) -> str:
        """The source of both, one after the other."""
        return f"{self.parse}\n{self.convert}".strip()

    @functools.cached_property
    def reader(self) -> cabc.Callable[[t.Any], t.Any] | None:
        """What the source calls ``{read}``."""
        return self.read if self.members is None else _map_reader(self.members)


@dataclasses.dataclass(frozen=True)
class Field:
    """One attribute of a class."""

    name: str
    stored_name: str
    conversion: Conversion


@dataclasses.dataclass(frozen=True)
class Members:
    """What an instance of a model or map is made of."""

    kind: type
    fields: cabc.Sequence[Field]
    defaults: cabc.Mapping[str, t.Any]
    """What an instance without any attribute has, by name."""

    def in_order(self) -> list[int]:
        """The indexes of the fields, in the order in which an instance has them."""
        order = {name: position for position, name in enumerate(self.defaults)}
        return sorted(
            range(len(self.fields)), key=lambda n: order.get(self.fields[n].name, len(order))
        )


def conversion(
    attribute_type: str, read: cabc.Callable[[t.Any], t.Any] | None, inline: str = ""
) -> Conversion | None:
    """How a value is converted that is neither a map nor a list.

    :param attribute_type: DynamoDB's type.
    :param read: What converts the value that botocore gives; ``None`` if that is it already. It has
        no effect but its result.
    :param inline: The same as source, for usual values.
    :return: The conversion; ``None`` if the type is not one of those.
    """
    parse = _PARSE.get(attribute_type)

    if not parse:
        return None

    if inline in _OF_TEXT and attribute_type not in {"N", "S"}:
        inline = _READ

    if inline in _OF_TEXT:
        # A number or time that is not a text fails.
        return Conversion(attribute_type, "", inline, read)

    convert = inline or ("" if read is None else _READ)
    return Conversion(attribute_type, parse, convert, read)


def reads_nested(attribute_type: str, read: cabc.Callable[[t.Any], t.Any]) -> Conversion:
    """How a map or a list is converted.

    :param attribute_type: DynamoDB's type.
    :param read: What makes it of the value as it is in JSON.
    """
    return Conversion(attribute_type, "", _READ, read)


def of_page(members: Members) -> ReadPage:
    """Generate what reads the items of a model.

    :param members: What its instances are made of.
    """
    lines = [
        "def read_page(items, decode, otherwise):",
        "    found = []",
        "    append = found.append",
        "    items.reverse()",
        "    pop = items.pop",
        "    while items:",
        # Each item is dropped as soon as it is read.
        "        item = pop()",
        "        try:",
        *generated.indented(3, _lines_that_read(members, _DECODE_REST)),
        "            instance = new(kind)",
        "            instance.attribute_values = values",
        "        except Exception:",
        "            instance = None",
        # Outside of the handler, whose exception an error would have for its context.
        "        if instance is None:",
        "            instance = otherwise(item)",
        "        append(instance)",
        "    return found",
    ]
    read_page: ReadPage = generated.function("read_page", lines, _names(members))
    return read_page


def of_map(members: Members) -> Conversion:
    """How a map with declared attributes is converted.

    :param members: What its instances are made of.
    """
    return Conversion("M", "", _READ, members=members)


def of_list(element: Conversion) -> Conversion:
    """Generate what reads a list whose elements are of one type, or null.

    :param element: How an element is converted.
    """
    lines = [
        "def read_list(elements):",
        "    found = []",
        "    for typed_value in elements:",
        "        [kind] = typed_value",
        "        value = typed_value[kind]",
        "        if kind == type_0:",
        *generated.indented(3, _lines_that_convert("value", 0, element)),
        "        elif kind == null and value is not None:",
        "            value = None",
        "        else:",
        "            raise unusual",
        "        found.append(value)",
        "    return found",
    ]
    names = {**GLOBALS, "null": NULL, "type_0": element.attribute_type, "read_0": element.reader}
    read_list: t.Any = generated.function("read_list", lines, names)
    return Conversion("L", "", _READ, read_list, element=element)


class Plain:
    """Reads maps and lists of which nothing is declared.

    :param conversions: How values are converted that are neither, by DynamoDB's type.
    """

    def __init__(self, conversions: cabc.Iterable[Conversion]) -> None:
        self._readers: dict[str, cabc.Callable[[t.Any], t.Any]] = {
            "L": self.read_list,
            "M": self.read_map,
        }

        for each in conversions:
            lines = [
                "def read_value(value):",
                *generated.indented(1, _lines_that_convert("value", 0, each)),
                "    return value",
            ]
            self._readers[each.attribute_type] = generated.function(
                "read_value", lines, {**GLOBALS, "read_0": each.reader}
            )

    def read_map(self, values: t.Any) -> dict[str, t.Any]:
        """Make a dictionary of a map."""
        readers = self._readers
        plain: dict[str, t.Any] = {}

        for name, typed_value in values.items():
            [kind] = typed_value
            plain[name] = readers[kind](typed_value[kind])

        return plain

    def read_list(self, values: t.Any) -> list[t.Any]:
        """Make a list of a list."""
        readers = self._readers
        plain: list[t.Any] = []

        for typed_value in values:
            [kind] = typed_value
            plain.append(readers[kind](typed_value[kind]))

        return plain


def _map_reader(members: Members) -> cabc.Callable[[t.Any], t.Any]:
    lines = [
        "def read_map(item):",
        *generated.indented(1, _lines_that_read(members, "raise unusual")),
        "    instance = new(kind)",
        "    set_(instance, 'attribute_kwargs', {})",
        "    set_(instance, 'attribute_values', values)",
        "    return instance",
    ]
    read_map: t.Any = generated.function("read_map", lines, _names(members))
    return t.cast("cabc.Callable[[t.Any], t.Any]", read_map)


def _lines_that_read(members: Members, rest: str) -> list[str]:
    """The source that makes ``values`` of ``item``.

    :param rest: What to do with attributes that the class does not have.
    """
    lines = ["if item.__class__ is not dict:", "    raise unusual"]
    fields = members.fields

    if fields:
        # Usually an item has all attributes. To create the dictionary at once is faster then.
        lines += [
            f"if len(item) == {len(fields)}:",
            *generated.indented(1, _lines_for_all(members)),
            "else:",
            *generated.indented(1, _lines_for_some(fields, rest)),
        ]
    else:
        lines += _lines_for_some(fields, rest)

    return lines


def _lines_for_all(members: Members) -> cabc.Iterator[str]:
    for number, field in enumerate(members.fields):
        yield from _lines_that_get(f"value_{number}", number, field)

    pairs = [f"name_{number}: value_{number}" for number in members.in_order()]
    yield f"values = {{{', '.join(pairs)}}}"


def _lines_for_some(fields: cabc.Sequence[Field], rest: str) -> cabc.Iterator[str]:
    yield "left = len(item)"
    yield "values = defaults.copy()"

    for number, field in enumerate(fields):
        yield f"if stored_{number} in item:"
        yield "    left -= 1"
        yield from generated.indented(1, _lines_that_get("value", number, field))
        yield f"    values[name_{number}] = value"

    yield "if left:"
    yield f"    {rest}"


def _lines_that_get(value: str, number: int, field: Field) -> cabc.Iterator[str]:
    yield f"typed_value = item[stored_{number}]"
    yield f"{value} = typed_value[type_{number}]"
    yield "if len(typed_value) != 1:"
    yield "    raise unusual"
    yield from _lines_that_convert(value, number, field.conversion)


def _lines_that_convert(value: str, number: int, conversion: Conversion) -> list[str]:
    return conversion.source.format(value=value, read=f"read_{number}").splitlines()


def _names(members: Members) -> dict[str, t.Any]:
    fields, kind = members.fields, t.cast(t.Any, members.kind)
    names = {
        **GLOBALS,
        "defaults": {**members.defaults},
        "kind": kind,
        "known": frozenset(field.stored_name for field in fields),
        "new": kind.__new__,
    }

    for number, field in enumerate(fields):
        names |= {
            f"name_{number}": field.name,
            f"read_{number}": field.conversion.reader,
            f"stored_{number}": field.stored_name,
            f"type_{number}": field.conversion.attribute_type,
        }

    return names


GLOBALS: dict[str, t.Any] = {
    "from_base64": binascii.a2b_base64,
    "offset": slice(26, None),
    "read_iso_format": datetime.datetime.fromisoformat,
    "scan_json": t.cast(t.Any, json.JSONDecoder()).scan_once,
    "separators": slice(4, 20, 3),
    # Bypass MapAttribute.__setattr__ without creating __dict__.
    "set_": object.__setattr__,
    "unusual": Unusual,
}
"""What generated source refers to, by name."""
