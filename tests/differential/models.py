"""Draws models."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from hypothesis import strategies as st

from . import kinds
from .description import Attribute
from .description import Child
from .description import Index
from .description import Layer
from .description import Model
from .overrides import OVERRIDES

TABLE = "table"
_NAMES = ("alpha", "beta", "gamma", "delta", "connection", "name", "size", "values")
_STORED_NAMES = ("a", "#", "NULL", "table_name", "alpha.beta", "status")
_IMMUTABLE = (str, int, float, bytes, bool, datetime.datetime)
_CAPACITIES = {"read_capacity_units": 3, "write_capacity_units": 4}
_METAS: tuple[dict[str, t.Any], ...] = (
    _CAPACITIES,
    {"billing_mode": "PAY_PER_REQUEST"},
    {"billing_mode": "PAY_PER_REQUEST", **_CAPACITIES},
    {"billing_mode": "PROVISIONED", **_CAPACITIES},
    {"billing_mode": "PAY_PER_REQUEST", "stream_view_type": "NEW_IMAGE"},
    {"tags": {"team": "red"}, **_CAPACITIES},
)


@st.composite
def attributes(
    draw: st.DrawFn,
    name: str,
    *,
    depth: int = 0,
    only: t.Sequence[str] = tuple(kinds.KINDS),
    defaults: str = "any",
) -> Attribute:
    """An attribute that is no key, by its name.

    :param defaults: Whether it may have a default: ``none``, ``constant`` or ``any``.
    """
    kind = draw(st.sampled_from(only))
    inner: tuple[Attribute, ...] = ()

    if {**kinds.KINDS, **kinds.SINGLE}[kind].has_inner:
        # At the second level, nothing is deeper.
        inside = [other for other in kinds.KINDS if not other.startswith("legacy")]
        flat = [other for other in inside if not kinds.KINDS[other].has_inner]
        names = draw(st.lists(st.sampled_from(["one", "two", "n"]), max_size=2, unique=True))
        deeper = inside if depth == 0 else flat
        inner = tuple(draw(attributes(each, depth=depth + 1, only=deeper)) for each in names)

    plain = Attribute(
        name=name,
        kind=kind,
        attr_name=draw(st.one_of(st.none(), st.none(), st.sampled_from(_STORED_NAMES))),
        null=draw(st.sampled_from([True, True, True, False, None])),
        inner=inner,
    )
    return plain if defaults == "none" else draw(_with_default(plain, defaults))


@st.composite
def _with_default(draw: st.DrawFn, attribute: Attribute, defaults: str) -> Attribute:
    if attribute.kind in {"version", "discriminator", "null"} or draw(st.booleans()):
        return attribute

    value = draw(kinds.fitting_values_of(attribute))

    is_callable = not isinstance(value, _IMMUTABLE) or (defaults == "any" and draw(st.booleans()))
    # PynamoDB's lists and maps know no defaults for new instances.
    is_plain = not any(word in attribute.kind for word in ("list", "map", "shape", "colours"))
    name = draw(st.sampled_from(["default", "default_for_new"] if is_plain else ["default"]))
    return dataclasses.replace(attribute, default=(name, value), is_callable=is_callable)


@st.composite
def _keys(draw: st.DrawFn) -> list[Attribute]:
    usual = st.sampled_from(["unicode", "unicode", "number"])
    kind = st.one_of(usual, usual, st.sampled_from(kinds.KEYS))
    named = st.sampled_from([None, None, "key"])
    names = st.sampled_from(["id", "pk"])
    keys = [Attribute(name=draw(names), kind=draw(kind), attr_name=draw(named), key="hash")]

    if draw(st.booleans()):
        named = st.sampled_from([None, None, "sort"])
        keys.append(Attribute(name="range", kind=draw(kind), attr_name=draw(named), key="range"))

    return keys


@st.composite
def _indexes(draw: st.DrawFn, keys: list[Attribute], others: list[Attribute]) -> list[Index]:
    """Indexes on attributes that may be keys."""
    eligible = [each for each in others if each.kind in kinds.KEYS]
    has_discriminator = any(each.kind == "discriminator" for each in others)
    projections = ["all"] if has_discriminator else ["all", "keys", "include"]
    indexes: list[Index] = []

    for number in range(draw(st.integers(0, 2)) if eligible else 0):
        is_global = draw(st.booleans())
        hash_key = draw(st.sampled_from(eligible)) if is_global else keys[0]
        ranges = [each for each in eligible if each.name != hash_key.name]
        parts = [_as_key(hash_key, "hash")]

        if ranges and (not is_global or draw(st.booleans())):
            parts.append(_as_key(draw(st.sampled_from(ranges)), "range"))

        indexes.append(
            Index(
                name=f"by_{number}",
                is_global=is_global,
                keys=tuple(parts),
                index_name=draw(st.sampled_from([None, f"index-{number}"])),
                projection=draw(st.sampled_from(projections)),
            )
        )

    return indexes


def _as_key(attribute: Attribute, key: t.Literal["hash", "range"]) -> Attribute:
    return Attribute(
        name=attribute.name, kind=attribute.kind, attr_name=attribute.attr_name, key=key
    )


_overrides = st.lists(st.sampled_from(list(OVERRIDES)), max_size=2, unique=True)


@st.composite
def models(draw: st.DrawFn) -> Model:
    """A model of one or several classes."""
    keys = draw(_keys())
    count = draw(st.integers(1, 5))
    # One default that is called, or a discriminator, makes PynamoDB set all defaults.
    defaults = draw(st.sampled_from(["none", "constant", "any"]))
    names = draw(st.permutations(_NAMES))[:count]
    some = kinds.SCALARS if defaults == "constant" else tuple(kinds.KINDS)
    others = [draw(attributes(name, only=some, defaults=defaults)) for name in names]
    others += [
        draw(attributes(kind.replace(" ", "_"), only=[kind], defaults=defaults))
        for kind in draw(_singles())
    ]
    children = draw(_children())

    if children:
        others.append(Attribute(name="kind", kind="discriminator", attr_name=draw(_kind_names)))

    shape = draw(st.sampled_from(SHAPES))
    parts: list[list[Attribute]] = [[] for _ in shape]

    for attribute in [*keys, *others]:
        parts[draw(st.integers(0, len(shape) - 1))].append(attribute)

    layers = [
        Layer(
            kind=kind,
            attributes=tuple(part),
            overrides=tuple(draw(_overrides)) if draw(st.booleans()) else (),
            indexes=tuple(draw(_indexes(keys, others))) if number == len(shape) - 1 else (),
            meta=draw(_metas) if kind == "model" else None,
        )
        for number, (kind, part) in enumerate(zip(shape, parts, strict=True))
    ]
    return Model(layers=tuple(layers), children=tuple(children))


_kind_names = st.sampled_from([None, "k"])
_metas = st.sampled_from(_METAS).map(lambda meta: (("table_name", TABLE), *meta.items()))
SHAPES: tuple[tuple[t.Any, ...], ...] = (
    ("model",),
    ("model",),
    ("model",),
    ("mixin", "model"),
    ("abstract", "model"),
    ("stock", "model"),
    ("stock", "mixin", "model"),
    ("mixin", "abstract", "model"),
    ("abstract", "mixin", "mixin", "model"),
    ("model", "model"),
    ("abstract", "model", "mixin", "model"),
)


@st.composite
def _singles(draw: st.DrawFn) -> list[str]:
    """At most one of each that PynamoDB allows only once."""
    timed = draw(st.sampled_from([None, None, "ttl", "minute to live"]))
    version = draw(st.sampled_from([None, None, "version"]))
    return [kind for kind in (timed, version) if kind]


@st.composite
def _children(draw: st.DrawFn) -> list[Child]:
    names = draw(st.sampled_from([(), (), (), (), ("child 0",), ("child 0", "child 1")]))
    return [
        Child(
            discriminator=name,
            layer=Layer(
                kind="model",
                attributes=tuple(
                    draw(attributes(f"own_{number}_{each}")) for each in range(draw(_few))
                ),
                overrides=tuple(draw(_overrides)) if draw(st.booleans()) else (),
            ),
            is_late=draw(st.booleans()),
        )
        for number, name in enumerate(names)
    ]


_few = st.integers(0, 1)
