"""Items as lines of JSON, in the form of DynamoDB's own export to S3: ``{"Item": {...}}``."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

from ...models import item_json
from ...models.item_json import InvalidItem
from ...models.item_json import KeySchema
from ...models.item_json import Raw
from ...models.item_json import decode_values
from ...models.item_json import encode_value

MAX_ITEM_BYTES: t.Final = 400 * 1024
_INCREMENTAL = frozenset({"Keys", "NewImage", "OldImage"})
_BYTE_ORDER_MARK = "\ufeff"


def encode(items: cabc.Iterable[Raw]) -> bytes:
    """Write items as lines.

    :param items: Items, as botocore returns them.
    """
    return b"".join(encode_value({"Item": item}) + b"\n" for item in items)


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


def _parsed(line: bytes) -> t.Any:
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise InvalidItem("it is not valid UTF-8.") from None

    if text.startswith(_BYTE_ORDER_MARK):
        raise InvalidItem("it begins with a byte order mark. Save the file without one.")

    return item_json.parse(text)


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


def _least_size(item: Raw) -> int:
    """What an item counts for at least: what a number costs is not documented exactly."""
    return sum(len(name.encode()) + _least_size_of_value(value) for name, value in item.items())


def _least_size_of_value(value: Raw) -> int:
    ((kind, content),) = value.items()

    if kind == "M":
        return _least_size(content)

    if kind == "L":
        return sum(map(_least_size_of_value, content))

    return sum(map(_least_size_of_scalar, _scalars(content)))


def _scalars(content: t.Any) -> cabc.Iterable[t.Any]:
    """The elements of a set, or the one value of another type."""
    all_of_set: t.Any = content
    elements: cabc.Iterable[t.Any] = all_of_set if isinstance(content, list) else (content,)
    return elements


def _least_size_of_scalar(content: t.Any) -> int:
    if isinstance(content, str):
        # Also of a number, whose digits take half a byte each.
        return (
            len(content.encode()) if not item_json.NUMBER.fullmatch(content) else len(content) // 2
        )

    return len(content) if isinstance(content, bytes) else 1
