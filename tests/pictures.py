"""What a value is, in a form that tells apart whatever can be told apart."""

from __future__ import annotations

import typing as t

from pynamodb.attributes import AttributeContainer

from dynamo_ext.models.undecodable import Undecodable


def picture(value: t.Any) -> t.Any:
    """A picture of a model, or of what an attribute may hold."""
    match value:
        case AttributeContainer():
            return type(value), [(name, picture(part)) for name, part in vars(value).items()]
        case dict():
            return [(name, picture(part)) for name, part in value.items()]
        case list():
            return [picture(part) for part in value]
        case set():
            return set, sorted(repr(part) for part in value)
        case Undecodable():
            return failure(value.error)
        case _:
            return type(value), repr(value)


def failure(error: Exception) -> t.Any:
    """A picture of an error."""
    return type(error), str(error), error.args
