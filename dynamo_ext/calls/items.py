"""Comparing values as DynamoDB compares them, whatever form they were sent in."""

from __future__ import annotations

import collections.abc as cabc
import decimal
import typing as t

Value = cabc.Mapping[str, t.Any]
"""A value with its type, such as ``{"N": "1"}``."""

Item = cabc.Mapping[str, Value]

_SETS = frozenset({"SS", "NS", "BS"})
# DynamoDB keeps 38 digits. Python's default is 28.
_NUMBERS = decimal.Context(prec=76)


def number(text: t.Any) -> decimal.Decimal:
    """A number as DynamoDB sees it: ``1`` and ``1.0`` are the same.

    :param text: The number, as it is sent.
    """
    return decimal.Decimal(str(text))


def add(one: t.Any, other: t.Any) -> str:
    """The sum of two numbers, as it is sent.

    :param one: A number, as it is sent.
    :param other: A number, as it is sent.
    """
    return str(_NUMBERS.add(number(one), number(other)))


def subtract(one: t.Any, other: t.Any) -> str:
    """The difference of two numbers, as it is sent.

    :param one: A number, as it is sent.
    :param other: What is subtracted from it.
    """
    return str(_NUMBERS.subtract(number(one), number(other)))


def normal(value: Value) -> t.Any:
    """A form of a value that equals that of the same value, and can be a key.

    Lists and maps give tuples, sets give frozen sets; the type is part of it.

    :param value: The value, as botocore takes or returns it.
    """
    ((kind, content),) = value.items()

    if kind in _SETS:
        return kind, frozenset(_scalar(kind[0], each) for each in content)

    if kind == "L":
        return kind, tuple(normal(each) for each in content)

    if kind == "M":
        return kind, normal_item(content)

    return kind, _scalar(kind, content)


def normal_item(item: Item) -> frozenset[tuple[str, t.Any]]:
    """A form of an item that equals that of the same item, and can be a key.

    :param item: The item, as botocore takes or returns it.
    """
    return frozenset((name, normal(value)) for name, value in item.items())


def is_set(value: Value) -> bool:
    """Whether a value is a set.

    :param value: The value, as botocore takes or returns it.
    """
    return not _SETS.isdisjoint(value)


def _scalar(kind: str, content: t.Any) -> t.Any:
    if kind == "N":
        try:
            return number(content)
        except decimal.InvalidOperation:
            # DynamoDB refuses it, in words of its own.
            return content

    if kind == "B":
        # botocore takes text for binary values, too.
        return content.encode() if isinstance(content, str) else bytes(content)

    return content
