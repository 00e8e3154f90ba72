"""Classes from descriptions, on either side."""

from __future__ import annotations

import copy
import dataclasses
import functools
import types
import typing as t

import pynamodb.indexes
import pynamodb.models
from pynamodb.attributes import DiscriminatorAttribute
from pynamodb.attributes import DynamicMapAttribute
from pynamodb.attributes import MapAttribute
from pynamodb.attributes import NumberAttribute

from . import description
from . import kinds
from .overrides import OVERRIDES

AnyModel = type[pynamodb.models.Model]
_MODULE = "an_app"


@dataclasses.dataclass(frozen=True)
class Foundation:
    """What one side's models stand on."""

    model: AnyModel
    global_index: type[pynamodb.indexes.Index[t.Any]]
    local_index: type[pynamodb.indexes.Index[t.Any]]
    meta: dict[str, t.Any]
    """What a ``Meta`` says beside what is described."""


@dataclasses.dataclass
class Built:
    """The classes of a described model."""

    foundation: Foundation
    description: description.Model
    model: AnyModel
    children: dict[int, AnyModel]

    def define_late(self) -> list[str]:
        """Define the subclasses that are still missing."""
        missing = [
            number
            for number in range(len(self.description.children))
            if number not in self.children
        ]

        for number in missing:
            self.children[number] = _child(self.foundation, self.description, number, self.model)

        return [self.children[number].__name__ for number in missing]


def build(described: description.Model, foundation: Foundation) -> Built:
    """Define a model, and those of its subclasses that are not late."""
    model, mixins = foundation.model, list[type]()

    for number, layer in enumerate(described.layers):
        name = f"{layer.kind.capitalize()}{number}"

        if layer.kind == "mixin":
            overrides = tuple(OVERRIDES[override] for override in layer.overrides)
            mixins.insert(0, _class(name, (*overrides, object), _namespace(foundation, layer)))
        elif layer.kind == "stock":
            model = _on_stock(name, foundation, layer)
        else:
            model = _model(name, foundation, layer, (*mixins, model))
            mixins.clear()

    children = {
        number: _child(foundation, described, number, model)
        for number, child in enumerate(described.children)
        if not child.is_late
    }
    return Built(foundation, described, model, children)


def _on_stock(name: str, foundation: Foundation, layer: description.Layer) -> AnyModel:
    """A model of the side that has a base class which is written for PynamoDB alone."""
    base = _model(name, foundation, layer, (pynamodb.models.Model,))

    if foundation.model is pynamodb.models.Model:
        return base

    return t.cast(AnyModel, types.new_class(name, (foundation.model, base)))


def _child(
    foundation: Foundation, described: description.Model, number: int, model: AnyModel
) -> AnyModel:
    child = described.children[number]
    options = {"discriminator": child.discriminator}
    return _model(f"Child{number}", foundation, child.layer, (model,), **options)


def _model(
    name: str,
    foundation: Foundation,
    layer: description.Layer,
    bases: tuple[type, ...],
    **options: t.Any,
) -> AnyModel:
    overrides = tuple(
        OVERRIDES[name]
        for name in layer.overrides
        if not any(issubclass(base, OVERRIDES[name]) for base in bases)
    )
    namespace = _namespace(foundation, layer)

    if layer.meta is not None:
        namespace["Meta"] = type("Meta", (), {**foundation.meta, **dict(layer.meta)})

    return t.cast(AnyModel, _class(name, (*overrides, *bases), namespace, **options))


def _class(
    name: str, bases: tuple[type, ...], namespace: dict[str, t.Any], **options: t.Any
) -> type:
    return types.new_class(
        name, bases, options, lambda body: body.update({**namespace, "__module__": _MODULE})
    )


def _namespace(foundation: Foundation, layer: description.Layer) -> dict[str, t.Any]:
    attributes = {each.name: _attribute(each) for each in layer.attributes}
    indexes = {index.name: _index(foundation, index) for index in layer.indexes}
    return {**attributes, **indexes}


def _attribute(described: description.Attribute) -> t.Any:
    options: dict[str, t.Any] = {}

    if described.attr_name is not None:
        options["attr_name"] = described.attr_name

    if described.null is not None:
        options["null"] = described.null

    if described.key:
        options[f"{described.key}_key"] = True

    if described.default is not None:
        name, value = described.default
        options[name] = functools.partial(copy.deepcopy, value) if described.is_callable else value

    kind = kinds.kind_of(described)

    if kind.has_inner:
        options["of"] = _map(described)

    return kind.create(**options)


def _map(described: description.Attribute) -> type:
    is_dynamic = described.kind == "dynamic map"
    bases = (DynamicMapAttribute if is_dynamic else MapAttribute,)
    name = described.name.capitalize()
    namespace = {each.name: _attribute(each) for each in described.inner}

    if described.kind not in kinds.DISCRIMINATED:
        return _class(name, bases, namespace)

    shape = _class(name, bases, {**namespace, "shape": DiscriminatorAttribute(attr_name="k")})
    radius = {"radius": NumberAttribute(null=True)}
    _class(f"Round{name}", (shape,), radius, discriminator=kinds.SHAPES[0])
    return shape


def _index(foundation: Foundation, described: description.Index) -> t.Any:
    projections = {
        "all": pynamodb.indexes.AllProjection(),
        "keys": pynamodb.indexes.KeysOnlyProjection(),
        "include": pynamodb.indexes.IncludeProjection(["included"]),
    }
    meta: dict[str, t.Any] = {
        "projection": projections[described.projection],
        "read_capacity_units": 1,
        "write_capacity_units": 2,
    }

    if described.index_name is not None:
        meta["index_name"] = described.index_name

    base = foundation.global_index if described.is_global else foundation.local_index
    keys = {key.name: _attribute(key) for key in described.keys}
    return _class(described.name.capitalize(), (base,), {"Meta": type("Meta", (), meta), **keys})()
