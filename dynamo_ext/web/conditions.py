"""PynamoDB's conditions, read: what makes two of them the same, and which values they fix."""

from __future__ import annotations

import json
import typing as t

from pynamodb.expressions.condition import Condition

from ..models.item_json import TypedValue
from ..models.item_json import as_base64

Form: t.TypeAlias = list[t.Any]

_AND = "AND"
_EQUALS = "="
_IN = "IN"
_SETS = frozenset({"SS", "NS", "BS"})
_NAME = "#0"
_VALUE = ":0"


def form(condition: Condition | None) -> Form | None:
    """A condition in a form that equals that of the same condition in another process.

    :param condition: The condition.
    :return: Lists and texts, for JSON.
    """
    if condition is None:
        return None

    operands = [
        form(operand) if isinstance(operand, Condition) else _form_of_operand(operand)
        for operand in _operands(condition)
    ]

    if condition.operator == _IN:
        # PynamoDB lists a discriminator's classes in the order in which they were imported.
        operands[1:] = sorted(operands[1:], key=as_text)

    return [condition.operator, *operands]


def fixed_values(condition: Condition | None) -> dict[str, TypedValue]:
    """The values that all items have which meet a condition.

    :param condition: The condition.
    :return: The values, by the names of their attributes.
    """
    if condition is None:
        return {}

    if condition.operator == _AND:
        return {name: value for part in _operands(condition) for name, value in _fixed_by(part)}

    if condition.operator == _EQUALS:
        left, right = _operands(condition)
        name, value = _name_of(left), _value_of(right)
        return {} if name is None or value is None else {name: value}

    return {}


def as_text(value: t.Any) -> str:
    """A form, or a value as DynamoDB gets it, as text. Equal forms have equal texts.

    :param value: The form or the value.
    """
    return json.dumps(value, sort_keys=True, default=as_base64)


def ordered(value: t.Any) -> t.Any:
    """The same with the elements of DynamoDB's sets in order: those of Python's have none.

    :param value: A value as DynamoDB gets it, or anything that holds such values.
    """
    if isinstance(value, dict):
        parts = t.cast("dict[str, t.Any]", value)
        return {
            # An attribute may be called like a type; its value is no list.
            name: sorted(part, key=as_text)
            if name in _SETS and not isinstance(part, dict)
            else ordered(part)
            for name, part in parts.items()
        }

    if isinstance(value, (list, tuple)):
        return [ordered(part) for part in t.cast("list[t.Any]", value)]

    return value


def _operands(condition: Condition) -> tuple[t.Any, ...]:
    operands: tuple[t.Any, ...] = t.cast(t.Any, condition).values
    return operands


def _fixed_by(part: t.Any) -> t.Iterable[tuple[str, TypedValue]]:
    return fixed_values(part).items() if isinstance(part, Condition) else ()


def _form_of_operand(operand: t.Any) -> Form:
    names: dict[str, str] = {}
    values: dict[str, t.Any] = {}
    expression = operand.serialize(names, values)
    return [expression, names, ordered(values)]


def _name_of(operand: t.Any) -> str | None:
    """The name, if an operand is a whole attribute."""
    expression, names, _ = _form_of_operand(operand)
    return next(iter(names)) if expression == _NAME else None


def _value_of(operand: t.Any) -> TypedValue | None:
    expression, _, values = _form_of_operand(operand)
    return values[_VALUE] if expression == _VALUE else None
