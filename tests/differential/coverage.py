"""What scenarios consist of, to be sure that they consist of everything."""

from __future__ import annotations

import collections.abc as cabc

from . import description
from . import kinds
from . import models
from .description import Attribute
from .description import Model
from .description import Scenario
from .overrides import OVERRIDES


def wanted_of_models() -> set[str]:
    """What many models have together."""
    return {
        *kinds.KINDS,
        *kinds.SINGLE,
        *OVERRIDES,
        *(" ".join(shape) for shape in models.SHAPES),
        *("default", "default_for_new", "called default"),
        *("key: hash", "key: range", "global index", "local index", "late child", "early child"),
    }


def of_model(model: Model) -> cabc.Iterator[str]:
    """Everything of :func:`wanted_of_models` that a model has."""
    yield " ".join(layer.kind for layer in model.layers)

    for layer in (*model.layers, *(child.layer for child in model.children)):
        yield from layer.overrides

    for attribute in model.attributes:
        yield from _of_attribute(attribute)

    for index in model.indexes:
        yield "global index" if index.is_global else "local index"

    for child in model.children:
        yield "late child" if child.is_late else "early child"


def _of_attribute(attribute: Attribute) -> cabc.Iterator[str]:
    yield attribute.kind

    if attribute.key:
        yield f"key: {attribute.key}"

    if attribute.default is not None:
        yield attribute.default[0]

        if attribute.is_callable:
            yield "called default"

    for inner in attribute.inner:
        yield from _of_attribute(inner)


def of_steps(scenario: Scenario) -> cabc.Iterator[str]:
    """The methods that are called, and the kinds of replies."""
    for step in scenario.steps:
        match step:
            case description.Call():
                yield step.method
            case _:
                yield type(step).__name__

        for reply in step.replies:
            yield str(reply.status)
