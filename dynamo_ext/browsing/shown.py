"""Items as people read and edit them: DynamoDB's JSON, and short texts for lists.

All that is not printable is escaped, so that what an item holds can't reorder or hide what is
around it. HTML is escaped by the templates.
"""

from __future__ import annotations

import collections.abc as cabc
import json
import typing as t

from ..models import item_json
from ..models.item_json import InvalidItem
from ..models.item_json import Raw
from ..printable import escaped

_LONGEST_PREVIEW = 80
_ELLIPSIS = "…"
_INDENT = "  "


def as_json(item: Raw) -> str:
    """An item as DynamoDB's JSON, on several lines.

    :param item: The item, as botocore returns it.
    """
    return _object(item, _typed, "") if item else "{}"


def parse(text: str) -> Raw:
    """Read what :func:`as_json` has written, or what somebody has made of it.

    :param text: The JSON.
    :return: The item, as botocore takes it.
    :raises InvalidItem: if it is not an item.
    """
    item = item_json.parse(text, decoder=_decoder)

    if not isinstance(item, dict):
        raise InvalidItem('an item is an object, such as {"id": {"S": "1"}}.')

    parsed = t.cast(Raw, item)
    item_json.decode_values(parsed)
    return parsed


def as_argument(key: Raw) -> str:
    """A key as an argument of a URL.

    :param key: The key.
    """
    return item_json.encode_value(key).decode()


def preview(value: Raw) -> str:
    """A value as a short text.

    :param value: The value with its type.
    """
    ((kind, content),) = value.items()

    if kind in {"S", "N"}:
        return _shortened(content)

    if kind == "B":
        return _shortened(f"{len(content):,} bytes: {item_json.as_base64(content[:60])}")

    return _shortened(_line(content))


def _shortened(text: str) -> str:
    if len(text) <= _LONGEST_PREVIEW:
        return escaped(text)

    return escaped(text[:_LONGEST_PREVIEW]) + _ELLIPSIS


def _unique(pairs: list[tuple[str, t.Any]]) -> dict[str, t.Any]:
    names: dict[str, t.Any] = {}

    for name, value in pairs:
        if name in names:
            raise ValueError(f"the name '{escaped(name)}' is there twice")

        names[name] = value

    return names


_decoder = json.JSONDecoder(parse_constant=item_json.refuse_constant, object_pairs_hook=_unique)


def _typed(value: Raw, indent: str) -> str:
    """A value with its type: on one line, unless it holds values that have types."""
    ((kind, content),) = value.items()

    if kind == "M" and content:
        return f'{{"M": {_object(content, _typed, indent)}}}'

    if kind == "L" and content:
        inner = indent + _INDENT
        lines = ",\n".join(inner + _typed(each, inner) for each in content)
        return f'{{"L": [\n{lines}\n{indent}]}}'

    return _line(value)


def _object(
    values: cabc.Mapping[str, Raw], write: cabc.Callable[[Raw, str], str], indent: str
) -> str:
    inner = indent + _INDENT
    lines = (f"{inner}{_line(name)}: {write(value, inner)}" for name, value in values.items())
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def _line(value: t.Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=item_json.as_base64)
    return text if text.isprintable() else "".join(map(_escape, text))


def _escape(character: str) -> str:
    """A character as JSON's escape of it, if it is not printable."""
    if character.isprintable():
        return character

    # Of a character beyond the first 65,536, JSON escapes both surrogates.
    return json.dumps(character)[1:-1]
