"""What is sent, returned and raised, in a form that tells apart whatever can be told apart.

Classes of the two sides differ, so their names stand for them.
"""

from __future__ import annotations

import json
import re
import typing as t

from pynamodb.attributes import AttributeContainer
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

import stub

from . import deliberate

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def of_value(value: t.Any) -> t.Any:
    match value:
        case AttributeContainer():
            content = {name: of_value(part) for name, part in vars(value).items()}
            return [_name(type(value)), content]
        case type():
            return ["class", _name(value)]
        case dict():
            parts = deliberate.without_date(value).items()
            return {str(name): of_value(part) for name, part in parts}
        case list() | tuple():
            return [_name(type(value)), *map(of_value, value)]
        case set() | frozenset():
            return [_name(type(value)), *sorted(map(repr, value))]
        case Condition() | Action():
            return repr(value)
        case _:
            return [_name(type(value)), repr(value)]


def of_error(error: BaseException) -> t.Any:
    cause = getattr(error, "cause", None)
    return {
        "raised": _name(type(error)),
        "message": _ADDRESS.sub(" at its address", str(error)),
        "cause": None if cause is None else [_name(type(cause)), str(cause)],
        "chained": _name(type(error.__cause__)),
        "code": getattr(error, "cause_response_code", None),
        "said": getattr(error, "cause_response_message", None),
        "table": getattr(error, "table_name", None),
        "reasons": repr(getattr(error, "cancellation_reasons", None)),
    }


def of_request(request: stub.Request) -> t.Any:
    body = json.loads(json.dumps(request.body))

    for normalise in deliberate.NORMALISED_REQUESTS:
        body = normalise(request.operation, body)

    return [request.operation, body]


def difference(expected: t.Any, found: t.Any, path: str = "") -> str | None:
    """The first place where two pictures differ, and what is there; ``None`` if nowhere."""
    if expected == found:
        return None

    match expected, found:
        case dict(), dict() if expected.keys() == found.keys():
            parts = [(name, expected[name], found[name]) for name in expected]
        case list(), list() if len(expected) == len(found):
            parts = list(zip(map(str, range(len(found))), expected, found, strict=True))
        case _:
            return f"{path}\n  PynamoDB: {expected!r}\n  here:     {found!r}"

    differences = (difference(first, second, f"{path}/{name}") for name, first, second in parts)
    return next(filter(None, differences), None)


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
