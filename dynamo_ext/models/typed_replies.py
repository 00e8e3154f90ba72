"""Replies that msgspec decodes to objects made for one model, and what makes instances of these.

A decoder that knows what a reply will be makes no dictionary of a value and looks for no name: it
takes half as long as one that does not know, and the garbage collector has nothing to follow. Types
are checked on the way, and binary values decoded.

Whatever is unusual (a value of another type, a null) is an error here: the reply is then parsed and
read in the ordinary way from its first byte. An attribute that the model does not declare is
skipped, whatever it is: no instance would have it.
"""

from __future__ import annotations

import collections.abc as cabc
import functools
import typing as t

import msgspec
from msgspec import UNSET
from pynamodb.constants import NULL

from . import generated
from . import page_reader
from .page_reader import Conversion
from .page_reader import Members

Content = dict[str, t.Any]
TypedValue = dict[str, t.Any]

_PAGES = frozenset({"QueryOutput", "ScanOutput"})
_MEMBERS_OF_A_PAGE = ("Count", "ScannedCount", "LastEvaluatedKey", "ConsumedCapacity")
_MEMBERS_OF_A_BATCH = ("UnprocessedKeys", "ConsumedCapacity")
_MEMBERS_OF_GET = ("ConsumedCapacity",)
_TYPES: dict[str, t.Any] = {
    "B": bytes,
    "BOOL": bool,
    "BS": list[bytes],
    "L": t.Any,
    "M": t.Any,
    "N": str,
    "NS": list[str],
    "S": str,
    "SS": list[str],
}
_TYPES_OF_KEYS = frozenset({"B", "N", "S"})
# Where it reads a number, Python's json reads the same; it takes a fifth of the time.
_decode_json: cabc.Callable[[str], t.Any] = msgspec.json.Decoder[t.Any]().decode
_NUMBER = "{value} = decode_json({value})"
_GLOBALS = {**page_reader.GLOBALS, "decode_json": _decode_json}


class TypedReplies:
    """Decodes replies of one model.

    :param members: What the model's instances are made of.
    :raises ValueError: if that can't be done, because an attribute has a strange name.
    """

    def __init__(self, members: Members) -> None:
        self._members = members
        self._item = _item_type(members)
        self._empty = self._item()
        self._key_fields: dict[str, _KeyField] = {}
        self.read_items: cabc.Callable[[list[t.Any]], list[t.Any]] = _page_reader(members)
        """Makes instances of decoded items, which are taken from their list.

        :raises Exception: if one is unusual.
        """

    def item(self, body: bytes) -> tuple[t.Any, Content]:
        """Decode a reply to GetItem.

        :param body: The reply.
        :return: The decoded item, or ``None`` if the reply has none; and what else it has.
        :raises Exception: if it is unusual.
        """
        reply = self._decoder_of_get.decode(body)
        item = reply.Item

        if item is UNSET:
            item = None
        elif item == self._empty:
            # PynamoDB takes an item without any attribute for none, unless there are others.
            raise ValueError

        return item, _content(reply, _MEMBERS_OF_GET)

    def items(self, shape_name: str, body: bytes) -> tuple[list[t.Any], Content]:
        """Decode a reply with a list of items.

        :param shape_name: botocore's name of the operation's output.
        :param body: The reply.
        :return: The list, and all that the reply has, with this list in it.
        :raises Exception: if it is unusual.
        """
        if shape_name in _PAGES:
            reply = self._decoder_of_pages.decode(body)
            items: list[t.Any] = reply.Items
            return items, {"Items": items, **_content(reply, _MEMBERS_OF_A_PAGE)}

        reply = self._decoder_of_batches.decode(body)
        # The items of one table are known.
        [items] = reply.Responses.values()
        return items, {"Responses": reply.Responses, **_content(reply, _MEMBERS_OF_A_BATCH)}

    def keys(
        self, names: cabc.Iterable[str], items: list[t.Any]
    ) -> dict[str, cabc.Sequence[TypedValue | None]]:
        """The values of decoded items that are part of keys.

        :param names: The names of the attributes.
        :param items: The items.
        :return: For each name the value of each item, as botocore gives it; ``None`` for an item
            that lacks it.
        :raises KeyError: if the model has no such attribute, or it can't be part of a key.
        """
        return {name: self._values(name, items) for name in names}

    def _values(self, name: str, items: list[t.Any]) -> _Values:
        field = self._key_fields.get(name)

        if field is None:
            field = self._key_fields[name] = self._key_field(name)

        return _Values(field.attribute_type, field.read_values(items))

    def _key_field(self, name: str) -> _KeyField:
        for number, field in enumerate(self._members.fields):
            attribute_type = field.conversion.attribute_type

            if field.stored_name == name and attribute_type in _TYPES_OF_KEYS:
                lines = [
                    "def read_values(items):",
                    f"    return [i.{_name(number)} for i in items]",
                ]
                return _KeyField(attribute_type, generated.function("read_values", lines, {}))

        raise KeyError(name)

    @functools.cached_property
    def _decoder_of_pages(self) -> msgspec.json.Decoder[t.Any]:
        return _decoder(("Items", _list_of(self._item)), _MEMBERS_OF_A_PAGE)

    @functools.cached_property
    def _decoder_of_batches(self) -> msgspec.json.Decoder[t.Any]:
        tables = dict.__class_getitem__((str, _list_of(self._item)))
        return _decoder(("Responses", tables), _MEMBERS_OF_A_BATCH)

    @functools.cached_property
    def _decoder_of_get(self) -> msgspec.json.Decoder[t.Any]:
        return _decoder(("Item", self._item, UNSET), _MEMBERS_OF_GET)


class _KeyField(t.NamedTuple):
    """An attribute of keys."""

    attribute_type: str
    read_values: cabc.Callable[[list[t.Any]], list[t.Any]]
    """Gets the values of decoded items, or what stands for one that is absent."""


class _Values(cabc.Sequence[TypedValue | None]):
    """Values of items, each of which is made when it is asked for.

    :param kind: DynamoDB's type of the values.
    :param decoded: The values as they were decoded, or what stands for one that is absent.
    """

    def __init__(self, kind: str, decoded: list[t.Any]) -> None:
        self._kind = kind
        self._decoded = decoded

    def __len__(self) -> int:
        return len(self._decoded)

    def __getitem__(self, index: t.Any) -> t.Any:
        decoded, kind = self._decoded[index], self._kind
        return None if decoded is UNSET else {kind: getattr(decoded, kind)}


def _content(reply: t.Any, names: cabc.Iterable[str]) -> Content:
    return {name: value for name in names if (value := getattr(reply, name)) is not UNSET}


def _list_of(kind: type[t.Any]) -> t.Any:
    return list.__class_getitem__(kind)


def _decoder(items: tuple[t.Any, ...], names: cabc.Iterable[str]) -> msgspec.json.Decoder[t.Any]:
    rest: list[t.Any] = [(name, t.Any, UNSET) for name in names]
    return msgspec.json.Decoder(_struct("Reply", [items, *rest], forbid_unknown_fields=True))


def _struct(name: str, fields: list[t.Any], *, forbid_unknown_fields: bool = False) -> type[t.Any]:
    # No object that is read from JSON is part of a circle.
    struct = msgspec.defstruct(name, fields, forbid_unknown_fields=forbid_unknown_fields, gc=False)
    # msgspec looks at the fields of a type when a decoder first needs it. It lets other threads,
    # and handlers of signals, use what it knows by then, which crashes the process: so nobody else
    # may see a type before that.
    msgspec.json.Decoder(struct)
    return struct


def _item_type(members: Members) -> type[t.Any]:
    fields = [
        (
            _name(number),
            _value_type(field.conversion),
            msgspec.field(name=field.stored_name, default=UNSET),
        )
        for number, field in enumerate(members.fields)
    ]
    return _struct("Item", fields)


def _name(number: int) -> str:
    return f"f{number}"


def _value_type(conversion: Conversion) -> type[t.Any]:
    if conversion.members is None and conversion.element is None:
        return _type_of_plain_values(conversion.attribute_type, _decoded(conversion).type)

    fields: list[t.Any] = [(conversion.attribute_type, _content_type(conversion))]
    return _struct("Value", fields, forbid_unknown_fields=True)


class _Decoded(t.NamedTuple):
    """What msgspec makes of a value that is not a map or list of declared attributes."""

    type: t.Any
    convert: str
    """The source of what is left to do, as :attr:`Conversion.convert`."""


def _decoded(conversion: Conversion) -> _Decoded:
    attribute_type, convert = conversion.attribute_type, conversion.convert

    if attribute_type == "SS" and convert == page_reader.SET:
        return _Decoded(set[str], "")

    return _Decoded(_TYPES[attribute_type], _NUMBER if convert == page_reader.NUMBER else convert)


def _content_type(conversion: Conversion) -> t.Any:
    """The type of what stands behind DynamoDB's name of a type."""
    if conversion.members is not None:
        return _item_type(conversion.members)

    if conversion.element is not None:
        return _list_of(_element_type(conversion.element))

    return _decoded(conversion).type


def _element_type(conversion: Conversion) -> type[t.Any]:
    """The type of a list's elements, which may be null."""
    fields: list[t.Any] = [
        (conversion.attribute_type, _content_type(conversion), UNSET),
        (NULL, bool, UNSET),
    ]
    return _struct("Element", fields, forbid_unknown_fields=True)


@functools.cache
def _type_of_plain_values(attribute_type: str, content: t.Any) -> type[t.Any]:
    fields: list[t.Any] = [(attribute_type, content)]
    return _struct("Value", fields, forbid_unknown_fields=True)


def _page_reader(members: Members) -> t.Any:
    lines = [
        "def read_items(items):",
        "    found = []",
        "    append = found.append",
        "    items.reverse()",
        "    pop = items.pop",
        "    are_whole = True",
        "    while items:",
        # Each decoded item is dropped as soon as it is read.
        "        item = pop()",
        "        if are_whole:",
        "            try:",
        *generated.indented(4, _lines_for_all(members)),
        "            except AttributeError:",
        # An attribute is absent, and so it is in others, maybe.
        "                are_whole = False",
        "        if not are_whole:",
        *generated.indented(3, _lines_for_some(members)),
        "        instance = new(kind)",
        "        instance.attribute_values = values",
        "        append(instance)",
        "    return found",
    ]
    return generated.function("read_items", lines, _names(members))


def _map_reader(members: Members) -> t.Any:
    lines = [
        "def read_map(item):",
        "    try:",
        *generated.indented(2, _lines_for_all(members)),
        "    except AttributeError:",
        *generated.indented(2, _lines_for_some(members)),
        "    instance = new(kind)",
        "    set_(instance, 'attribute_kwargs', {})",
        "    set_(instance, 'attribute_values', values)",
        "    return instance",
    ]
    return generated.function("read_map", lines, _names(members))


def _list_reader(element: Conversion) -> t.Any:
    lines = [
        "def read_list(elements):",
        "    found = []",
        "    for element in elements:",
        f"        value = element.{element.attribute_type}",
        "        if value is unset:",
        f"            if element.{NULL} is unset:",
        "                raise unusual",
        "            value = None",
        "        else:",
        f"            if element.{NULL} is not unset:",
        "                raise unusual",
        *generated.indented(3, _lines_that_convert("value", 0, element)),
        "        found.append(value)",
        "    return found",
    ]
    names = {**_GLOBALS, "read_0": _reader(element), "unset": UNSET}
    return generated.function("read_list", lines, names)


def _reader(conversion: Conversion) -> t.Any:
    """What the source of a conversion calls ``{read}``."""
    if conversion.members is not None:
        return _map_reader(conversion.members)

    return conversion.read if conversion.element is None else _list_reader(conversion.element)


def _lines_for_all(members: Members) -> cabc.Iterator[str]:
    for number, field in enumerate(members.fields):
        value = f"value_{number}"
        yield f"{value} = item.{_name(number)}.{field.conversion.attribute_type}"
        yield from _lines_that_convert(value, number, field.conversion)

    pairs = [f"name_{number}: value_{number}" for number in members.in_order()]
    yield f"values = {{{', '.join(pairs)}}}"


def _lines_for_some(members: Members) -> cabc.Iterator[str]:
    yield "values = defaults.copy()"

    for number, field in enumerate(members.fields):
        yield f"value = item.{_name(number)}"
        yield "if value is not unset:"
        yield f"    value = value.{field.conversion.attribute_type}"
        yield from generated.indented(1, _lines_that_convert("value", number, field.conversion))
        yield f"    values[name_{number}] = value"


def _lines_that_convert(value: str, number: int, conversion: Conversion) -> list[str]:
    convert = _decoded(conversion).convert
    return convert.format(value=value, read=f"read_{number}").splitlines()


def _names(members: Members) -> dict[str, t.Any]:
    kind = t.cast(t.Any, members.kind)
    names = {
        **_GLOBALS,
        "defaults": {**members.defaults},
        "kind": kind,
        "new": kind.__new__,
        "unset": UNSET,
    }

    for number, field in enumerate(members.fields):
        names[f"name_{number}"] = field.name
        names[f"read_{number}"] = _reader(field.conversion)

    return names
