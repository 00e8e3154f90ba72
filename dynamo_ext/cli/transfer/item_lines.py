"""Items as lines of JSON, in the form of DynamoDB's own export to S3: ``{"Item": {...}}``."""

from __future__ import annotations

import base64
import binascii
import collections.abc as cabc
import dataclasses
import json
import re
import typing as t

from ...calls.items import normal_item
from ...printable import escaped
from .failures import InvalidItem

Raw = dict[str, t.Any]

MAX_ITEM_BYTES: t.Final = 400 * 1024
MAX_LEVELS: t.Final = 32
"""How deep DynamoDB lets maps and lists nest."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", flags=re.ASCII)
_INCREMENTAL = frozenset({"Keys", "NewImage", "OldImage"})
_BYTE_ORDER_MARK = "\ufeff"


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeySchema:
    """What a table demands of its items."""

    names: tuple[str, ...]
    """The attributes of its primary key."""

    types: cabc.Mapping[str, str]
    """The types of all attributes that are part of a key, of the table or of an index."""

    @classmethod
    def of(cls, description: cabc.Mapping[str, t.Any]) -> t.Self:
        """The schema of a table.

        :param description: What DescribeTable says of the table.
        """
        return cls(
            names=tuple(key["AttributeName"] for key in description["KeySchema"]),
            types={
                each["AttributeName"]: each["AttributeType"]
                for each in description["AttributeDefinitions"]
            },
        )

    def key(self, item: Raw) -> Raw:
        """The primary key of an item.

        :param item: The item, as botocore takes it.
        """
        return {name: item[name] for name in self.names}

    def identity(self, item: Raw) -> cabc.Hashable:
        """What is equal for two items if one replaces the other.

        :param item: The item, as botocore takes it.
        """
        return normal_item(self.key(item))

    def check(self, item: Raw) -> None:
        """Check that an item's keys are there and have the right types.

        :param item: The item, as botocore takes it.
        :raises InvalidItem: if DynamoDB would refuse the item.
        """
        for name in self.names:
            if name not in item:
                raise InvalidItem(f"the key attribute {_quoted(name)} is missing.")

        for name, kind in self.types.items():
            if name in item:
                _check_key(name, kind, item[name])


def encode(items: cabc.Iterable[Raw]) -> bytes:
    """Write items as lines.

    :param items: Items, as botocore returns them.
    """
    return b"".join(encode_value({"Item": item}) + b"\n" for item in items)


def encode_value(value: t.Any) -> bytes:
    """Write a value as JSON, without line breaks, its binary values in base64.

    :param value: Anything made of values as botocore returns them.
    """
    return json.dumps(value, separators=(",", ":"), default=_base64).encode("ascii")


def decode(line: bytes, schema: KeySchema) -> Raw:
    """Read an item from a line.

    :param line: The line.
    :param schema: What the table demands.
    :return: The item, as botocore takes it.
    :raises InvalidItem: if the line is not an item that DynamoDB would accept.
    """
    item = _item_of(_parsed(line))
    decode_values(item)
    schema.check(item)

    if len(line) > MAX_ITEM_BYTES and _least_size(item) > MAX_ITEM_BYTES:
        raise InvalidItem("the item is larger than 400 KB, the limit of DynamoDB.")

    return item


def decode_values(item: Raw) -> None:
    """Turn the base64 of an item's binary values into bytes, in place, and check all its values.

    :param item: The item, in DynamoDB's JSON.
    :raises InvalidItem: if a value is not one of DynamoDB's.
    """
    for name, value in item.items():
        try:
            _decode_value(value, MAX_LEVELS)
        except InvalidItem as error:
            raise InvalidItem(f"attribute {_quoted(name)} {error}") from None


def _parsed(line: bytes) -> t.Any:
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise InvalidItem("it is not valid UTF-8.") from None

    if text.startswith(_BYTE_ORDER_MARK):
        raise InvalidItem("it begins with a byte order mark. Save the file without one.")

    try:
        value = _decoder.decode(text)
    except RecursionError:
        raise InvalidItem(f"it is nested deeper than DynamoDB's {MAX_LEVELS} levels.") from None
    except ValueError as error:
        raise InvalidItem(f"it is not valid JSON: {error}.") from None

    _check_text(text, value)
    return value


def _refuse_constant(name: str) -> t.NoReturn:
    raise ValueError(f"{name} is not JSON")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)


def _check_text(text: str, value: t.Any) -> None:
    """Escapes may make half a surrogate pair, which is no character."""
    if "\\u" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise InvalidItem("an escape in it is not a character (a lone surrogate).") from None


def _item_of(value: t.Any) -> Raw:
    if not isinstance(value, dict):
        raise InvalidItem('it is not of the form {"Item": {...}}.')

    line = t.cast(Raw, value)

    if not _INCREMENTAL.isdisjoint(line):
        raise InvalidItem(
            "it is of an incremental export, which holds changes and not items. Only full exports"
            " can be imported."
        )

    if line.keys() != {"Item"} or not isinstance(line["Item"], dict):
        raise InvalidItem('it is not of the form {"Item": {...}}.')

    return t.cast(Raw, line["Item"])


def _decode_value(value: t.Any, levels: int) -> None:
    if not isinstance(value, dict) or len(t.cast(Raw, value)) != 1:
        raise InvalidItem('is not one value with its type, such as {"S": "text"}.')

    typed = t.cast(Raw, value)
    ((kind, content),) = typed.items()

    if kind in _NESTED:
        if not levels:
            raise InvalidItem(f"is nested deeper than DynamoDB's {MAX_LEVELS} levels.")

        for each in _NESTED[kind](content):
            _decode_value(each, levels - 1)
    elif kind in _SCALARS:
        typed[kind] = _SCALARS[kind](content)
    elif kind in _SETS:
        typed[kind] = _decode_set(kind, content)
    else:
        raise InvalidItem(f"has the type {_quoted(kind)}, which DynamoDB does not have.")


def _decode_set(kind: str, content: t.Any) -> list[t.Any]:
    values = [_SETS[kind](each) for each in _list(content)]

    if not values:
        raise InvalidItem("is a set without a value, which DynamoDB does not store.")

    if len(set(values)) < len(values):
        raise InvalidItem("is a set that holds a value twice.")

    return values


def _map(content: t.Any) -> cabc.Iterable[t.Any]:
    if not isinstance(content, dict):
        raise InvalidItem("is not a map: M holds an object.")

    return t.cast(Raw, content).values()


def _list(content: t.Any) -> cabc.Iterable[t.Any]:
    if not isinstance(content, list):
        raise InvalidItem("is not a list: L, SS, NS and BS hold arrays.")

    return t.cast("cabc.Iterable[t.Any]", content)


def _string(content: t.Any) -> str:
    if not isinstance(content, str):
        raise InvalidItem("is not a string: S and SS hold JSON strings.")

    return content


def _number(content: t.Any) -> str:
    if not isinstance(content, str) or not _NUMBER.fullmatch(content):
        raise InvalidItem('is not a number: N and NS hold JSON strings, such as "1.5".')

    return content


def _binary(content: t.Any) -> bytes:
    try:
        return base64.b64decode(_string(content), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidItem("is not binary: B and BS hold base64.") from None


def _bool(content: t.Any) -> bool:
    if not isinstance(content, bool):
        raise InvalidItem("is not a boolean: BOOL holds true or false.")

    return content


def _null(content: t.Any) -> t.Literal[True]:
    if content is not True:
        raise InvalidItem("is not null: NULL holds true.")

    return content


_NESTED: cabc.Mapping[str, cabc.Callable[[t.Any], cabc.Iterable[t.Any]]] = {"L": _list, "M": _map}
_SCALARS: cabc.Mapping[str, cabc.Callable[[t.Any], t.Any]] = {
    "S": _string,
    "N": _number,
    "B": _binary,
    "BOOL": _bool,
    "NULL": _null,
}
_SETS: cabc.Mapping[str, cabc.Callable[[t.Any], t.Any]] = {
    "SS": _string,
    "NS": _number,
    "BS": _binary,
}


def _check_key(name: str, kind: str, value: Raw) -> None:
    ((actual, content),) = value.items()

    if actual != kind:
        raise InvalidItem(
            f"the key attribute {_quoted(name)} has the type {actual}; the table has {kind}."
        )

    if not content:
        raise InvalidItem(f"the key attribute {_quoted(name)} is empty.")


def _least_size(item: Raw) -> int:
    """What an item counts for at least: what a number costs is not documented exactly."""
    return sum(len(name.encode()) + _least_size_of_value(value) for name, value in item.items())


def _least_size_of_value(value: Raw) -> int:
    ((kind, content),) = value.items()

    if kind == "M":
        return _least_size(content)

    if kind == "L":
        return sum(map(_least_size_of_value, content))

    return sum(map(_least_size_of_scalar, content if kind in _SETS else (content,)))


def _least_size_of_scalar(content: t.Any) -> int:
    if isinstance(content, str):
        # Also of a number, whose digits take half a byte each.
        return len(content.encode()) if not _NUMBER.fullmatch(content) else len(content) // 2

    return len(content) if isinstance(content, bytes) else 1


def _base64(content: t.Any) -> str:
    return base64.b64encode(content).decode()


def _quoted(name: str) -> str:
    return f"'{escaped(name)}'"
