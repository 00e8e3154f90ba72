"""Items as DynamoDB's JSON: each value with its type, ``{"id": {"S": "1"}}``."""

from __future__ import annotations

import base64
import binascii
import collections.abc as cabc
import dataclasses
import json
import re
import typing as t

from ..calls.items import normal_item
from ..printable import escaped

Raw: t.TypeAlias = dict[str, t.Any]
"""An item or a reply, as botocore gives it."""

TypedValue: t.TypeAlias = dict[str, t.Any]
"""A value with its type, such as ``{"S": "1"}``."""

MAX_LEVELS: t.Final = 32
"""How deep DynamoDB lets maps and lists nest."""

NUMBER: t.Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", flags=re.ASCII)
"""A number as DynamoDB takes it."""


class InvalidItem(ValueError):
    """JSON is not an item, or its key does not fit the table. The message never shows a value."""


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


def encode_value(value: t.Any) -> bytes:
    """Write a value as JSON, without line breaks, its binary values in base64.

    :param value: Anything made of values as botocore returns them.
    """
    return json.dumps(value, separators=(",", ":"), default=as_base64).encode("ascii")


def parse(text: str, *, decoder: json.JSONDecoder | None = None) -> t.Any:
    """Read JSON whose texts DynamoDB can store.

    :param text: The JSON.
    :param decoder: One that refuses more than the usual one does, by a ``ValueError``.
    :raises InvalidItem: if it is not JSON, or holds what is not a character.
    """
    try:
        value = (decoder or _decoder).decode(text)
    except RecursionError:
        raise InvalidItem(f"it is nested deeper than DynamoDB's {MAX_LEVELS} levels.") from None
    except ValueError as error:
        raise InvalidItem(f"it is not valid JSON: {error}.") from None

    _check_text(text, value)
    return value


def refuse_constant(name: str) -> t.NoReturn:
    """Refuse what Python's decoder takes besides JSON, such as ``NaN``.

    :param name: The constant.
    :raises ValueError: always.
    """
    raise ValueError(f"{name} is not JSON")


_decoder = json.JSONDecoder(parse_constant=refuse_constant)


def _check_text(text: str, value: t.Any) -> None:
    """Escapes may make half a surrogate pair, which is no character."""
    if "\\u" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise InvalidItem("an escape in it is not a character (a lone surrogate).") from None


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
    if not isinstance(content, str) or not NUMBER.fullmatch(content):
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


def as_base64(content: t.Any) -> str:
    """How JSON shows bytes.

    :param content: The bytes.
    """
    return base64.b64encode(content).decode()


def _quoted(name: str) -> str:
    return f"'{escaped(name)}'"
