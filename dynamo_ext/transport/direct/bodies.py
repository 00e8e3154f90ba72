"""The bodies of requests, as JSON, in one pass of msgspec, which encodes binary values, too.

msgspec takes more types than botocore, which refuses an enumeration or a UUID, and does nothing
special to bytes of another type than ``B``. So the parameters are walked first, and only those that
hold nothing unusual are encoded here. A walk and msgspec together take a fraction of the time of
Python's ``json``.
"""

from __future__ import annotations

import collections.abc as cabc
import itertools
import typing as t

import msgspec

from .. import template
from ..protocol import Params
from ..protocol import PlainParams

_encode = msgspec.json.Encoder().encode
# Fails if one is no text.
_check_texts: cabc.Callable[[cabc.Iterable[str]], str] = "".join
_class_of: cabc.Callable[[t.Any], type[t.Any]] = type
_values_of: cabc.Callable[[t.Any], cabc.Iterable[t.Any]] = t.cast(t.Any, dict).values
_ONE = frozenset({1})
_SCALARS = frozenset({bool, int, str})
_TEXT = frozenset({str})
_BYTES = frozenset({bytes})


def encode(params: Params) -> bytes | None:
    """The parameters of an operation with items as JSON. As :func:`template.as_json`.

    :param params: The parameters.
    :return: The JSON text, which says what botocore's would, without spaces and escapes; ``None``
        if only botocore can serialise these parameters.
    """
    try:
        if type(params) is not PlainParams:
            _check_members(params)

        return _encode(params)
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
        msgspec.MsgspecError,
    ):
        # Something unusual, maybe no dictionary or no list; a text that is not valid Unicode; too
        # many levels.
        return template.as_json(params)


def _check_members(members: dict[str, t.Any]) -> None:
    """
    :raises ValueError: or another error, if there is something that msgspec might encode in another
        way than botocore does.
    """
    for name, value in members.items():
        check = _CHECKS.get(name)

        if check is not None:
            check(value)
        elif type(value) not in _SCALARS or type(name) is not str:
            raise ValueError(name)


def _check_item(item: dict[str, t.Any]) -> None:
    _check_texts(item)
    _check_values(item.values())


def _check_values(typed_values: cabc.Collection[dict[str, t.Any]]) -> None:
    # Most are texts, flags and binaries. These are looked at all at once, by Python's functions in
    # C.
    kinds = [*itertools.chain.from_iterable(typed_values)]
    values = [*itertools.chain.from_iterable(map(_values_of, typed_values))]
    pairs = [*zip(kinds, map(_class_of, values), strict=True)]

    if _USUAL.issuperset(pairs):
        return

    are_others = map((set(pairs) - _USUAL).__contains__, pairs)

    for kind, value in itertools.compress(zip(kinds, values, strict=True), are_others):
        kind_of_value = _class_of(value)

        if kind == "M" and kind_of_value is dict:
            _check_item(value)
        elif kind == "L" and kind_of_value is list:
            _check_values(value)
        elif kind_of_value is not list or not _TYPES_OF_ELEMENTS[kind].issuperset(map(type, value)):
            raise ValueError(kind)


def _check_items(items: list[dict[str, t.Any]]) -> None:
    _check_texts(itertools.chain.from_iterable(items))

    for item in items:
        _check_values(item.values())


def _check_keys(keys: list[dict[str, t.Any]]) -> None:
    # Most are texts and numbers. These are looked at all at once, by Python's functions in C.
    typed_values = [*itertools.chain.from_iterable(map(_values_of, keys))]
    contents = itertools.chain.from_iterable(map(_values_of, typed_values))

    if (
        _TEXT.issuperset(map(type, contents))
        and _ONE.issuperset(map(len, typed_values))
        and _TYPES_OF_TEXTS.issuperset(itertools.chain.from_iterable(typed_values))
    ):
        _check_texts(itertools.chain.from_iterable(keys))
    else:
        _check_items(keys)


def _check_names(names: dict[str, t.Any]) -> None:
    _check_texts(names)

    if not _TEXT.issuperset(map(type, names.values())):
        raise ValueError(names)


def _check_each(elements: list[dict[str, t.Any]]) -> None:
    for members in elements:
        _check_members(members)


def _check_tables(tables: dict[str, t.Any]) -> None:
    _check_texts(tables)

    for requests in tables.values():
        check = _check_each if _class_of(requests) is list else _check_members
        check(requests)


_TYPES_OF_TEXTS = frozenset({"N", "S"})
_USUAL = frozenset({("B", bytes), ("BOOL", bool), ("N", str), ("NULL", bool), ("S", str)})
_TYPES_OF_ELEMENTS = {"SS": _TEXT, "NS": _TEXT, "BS": _BYTES}
_CHECKS: dict[str, cabc.Callable[[t.Any], None]] = {
    "ConditionCheck": _check_members,
    "Delete": _check_members,
    "DeleteRequest": _check_members,
    "ExclusiveStartKey": _check_item,
    "ExpressionAttributeNames": _check_names,
    "ExpressionAttributeValues": _check_item,
    "Get": _check_members,
    "Item": _check_item,
    "Key": _check_item,
    "Keys": _check_keys,
    "Put": _check_members,
    "PutRequest": _check_members,
    "RequestItems": _check_tables,
    "TransactItems": _check_each,
    "Update": _check_members,
}
