"""From models to the definition of their table."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

from pynamodb import constants
from pynamodb.attributes import TTLAttribute

from ..binding import meta
from ..config.settings import PROVISIONED
from ..errors import ConfigError
from ..models import late_binding
from ..models import tables
from ..models.late_binding import AnyModel
from .definition import Capacity
from .definition import Definition
from .definition import Index
from .definition import KeyAttribute

_STREAM_VIEW_TYPES = ("KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES")


def define(models: cabc.Sequence[AnyModel]) -> Definition:
    """What a table should be.

    :param models: All models that share the table.
    :return: The definition. Its tags and switches are ``None`` where no ``Meta`` has them.
    :raises ConfigError: if the models contradict each other, or a value is invalid.
    """
    request = tables.request(models)
    types = _attribute_types(models, request)
    is_provisioned = request["billing_mode"] == PROVISIONED
    capacity = Capacity(request["read_capacity_units"], request["write_capacity_units"])
    return Definition(
        name=late_binding.connection(models[0]).table_name,
        keys=_keys(request["key_schema"], types),
        global_indexes={
            schema["index_name"]: _index(schema, types, capacity if is_provisioned else None)
            for schema in request["global_secondary_indexes"]
        },
        local_indexes={
            schema["index_name"]: _index(schema, types, None)
            for schema in request["local_secondary_indexes"]
        },
        billing_mode=request["billing_mode"],
        capacity=capacity if is_provisioned else Capacity(),
        stream=_stream(models),
        ttl=_ttl(models),
        tags=_tags(models),
        deletion_protection=request.get("deletion_protection_enabled"),
        point_in_time_recovery=tables.option(models, meta.POINT_IN_TIME_RECOVERY),
    )


def _attribute_types(
    models: cabc.Sequence[AnyModel], request: cabc.Mapping[str, t.Any]
) -> dict[str, str]:
    types: dict[str, str] = {}

    for definition in request["attribute_definitions"]:
        name, kind = definition[constants.ATTR_NAME], definition[constants.ATTR_TYPE]

        if types.setdefault(name, kind) != kind:
            raise ConfigError(
                f"{_named(models)}: the attribute {name!r} is part of keys as type"
                f" {types[name]!r} and as type {kind!r}. It can have one type only."
            )

    return types


def _keys(schema: cabc.Iterable[t.Any], types: cabc.Mapping[str, str]) -> tuple[KeyAttribute, ...]:
    keys = (
        KeyAttribute(
            each[constants.ATTR_NAME],
            each[constants.KEY_TYPE],
            types[each[constants.ATTR_NAME]],
        )
        for each in schema
    )
    return tuple(sorted(keys, key=lambda key: key.kind))


def _index(
    schema: cabc.Mapping[str, t.Any], types: cabc.Mapping[str, str], of_table: Capacity | None
) -> Index:
    """An index. ``of_table`` is the capacity of a global index that declares none."""
    projection = schema["projection"]
    units = schema.get("provisioned_throughput", {})
    own = Capacity(
        units.get(constants.READ_CAPACITY_UNITS), units.get(constants.WRITE_CAPACITY_UNITS)
    )
    return Index(
        name=schema["index_name"],
        keys=_keys(schema["key_schema"], types),
        projection=projection[constants.PROJECTION_TYPE],
        projected=frozenset(projection.get(constants.NON_KEY_ATTRIBUTES) or ()),
        capacity=Capacity() if of_table is None else own.completed_by(of_table),
    )


def _stream(models: cabc.Sequence[AnyModel]) -> str | None:
    stream: t.Any = tables.option(models, "stream_view_type")

    if stream is not None and stream not in _STREAM_VIEW_TYPES:
        raise ConfigError(
            f"{_named(models)}: 'Meta.stream_view_type' must be one of"
            f" {', '.join(map(repr, _STREAM_VIEW_TYPES))}."
        )

    return t.cast("str | None", stream)


def _tags(models: cabc.Sequence[AnyModel]) -> dict[str, str] | None:
    tags: t.Any = tables.option(models, "tags")

    if tags is None:
        return None

    texts: list[t.Any] = [*tags, *tags.values()] if isinstance(tags, cabc.Mapping) else [None]

    if not all(isinstance(text, str) for text in texts):
        raise ConfigError(
            f"{_named(models)}: 'Meta.tags' must be a mapping of names to values, both strings."
        )

    return dict(t.cast("cabc.Mapping[str, str]", tags))


def _ttl(models: cabc.Sequence[AnyModel]) -> str | None:
    names = {
        attribute.attr_name
        for model in models
        for attribute in t.cast(t.Any, model).get_attributes().values()
        if isinstance(attribute, TTLAttribute)
    }

    if len(names) > 1:
        raise ConfigError(
            f"{_named(models)}: the table can have one attribute with a TTL, but"
            f" {', '.join(map(repr, sorted(names)))} are declared."
        )

    return next(iter(names), None)


def _named(models: cabc.Iterable[AnyModel]) -> str:
    return ", ".join(repr(model.__name__) for model in models)
