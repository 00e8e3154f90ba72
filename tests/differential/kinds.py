"""Every kind of attribute, with values for it and with what may be stored."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import datetime
import typing as t

import pynamodb.attributes as stock
from hypothesis import strategies as st
from pynamodb.attributes import ListAttribute
from pynamodb.attributes import MapAttribute

from typed_values import anything
from typed_values import binaries
from typed_values import dates
from typed_values import encoded_binaries
from typed_values import lists_of
from typed_values import numbers
from typed_values import plain_maps
from typed_values import seconds
from typed_values import texts
from typed_values import typed

from . import custom
from .description import Attribute

Strategy = st.SearchStrategy[t.Any]
Inner = tuple[Attribute, ...]


@dataclasses.dataclass(frozen=True)
class Kind:
    """How an attribute of this kind is created, and what it may hold."""

    create: cabc.Callable[..., stock.Attribute[t.Any]]
    values: cabc.Callable[[Inner], Strategy]
    """Values as an app has them."""

    stored: cabc.Callable[[Inner], Strategy]
    """Typed values as DynamoDB sends them."""

    has_inner: bool = False
    """Whether it is created with the class of a map, which has attributes of its own."""


def _simple(create: t.Any, values: Strategy, stored: Strategy, **options: t.Any) -> Kind:
    return Kind(
        lambda **given: create(**given, **options), lambda inner: values, lambda inner: stored
    )


def _list(of: t.Any, values: Strategy, stored: Strategy) -> Kind:
    elements = st.lists(st.one_of(values, st.none()), max_size=3)
    return _simple(ListAttribute, elements, lists_of(stored), **({"of": of} if of else {}))


def _inner_values(inner: Inner) -> Strategy:
    return st.fixed_dictionaries({}, optional={each.name: values_of(each) for each in inner})


def _inner_stored(inner: Inner) -> Strategy:
    stored = {each.stored_name: stored_of(each) for each in inner}
    return typed("M", st.fixed_dictionaries({}, optional={**stored, "unknown": anything}))


small = st.integers(-(10**6), 10**6)
whole = st.one_of(small, st.sampled_from([0, 10**37, 2**63, 0.1, 1e300]))
decimals = st.decimals(
    allow_nan=False, allow_infinity=False, min_value=-999, max_value=999, places=3
)
moments = st.datetimes(
    datetime.datetime(1900, 1, 1),
    datetime.datetime(2500, 1, 1),
    timezones=st.sampled_from([datetime.UTC, datetime.timezone(datetime.timedelta(hours=5))]),
)
plain = st.recursive(
    st.one_of(texts, small, st.booleans(), st.none()),
    lambda values: st.one_of(
        st.lists(values, max_size=3), st.dictionaries(texts, values, max_size=3)
    ),
    max_leaves=5,
)
colours = st.sampled_from([*custom.Colour, "red"])
stored_colours = typed("S", st.sampled_from(["red", "blue", "green"]))
_street = st.fixed_dictionaries({"name": texts}, optional={"number": small})
_stored_streets = typed(
    "M", st.fixed_dictionaries({}, optional={"n": typed("S", texts), "number": typed("N", numbers)})
)
_json = st.sampled_from(['{"a": [1.5, null]}', "[1]", '"tab\t"', "{"])
_tag = st.fixed_dictionaries({}, optional={"tag": texts})

KINDS: dict[str, Kind] = {
    "unicode": _simple(stock.UnicodeAttribute, texts, typed("S", texts)),
    "number": _simple(stock.NumberAttribute, whole, typed("N", numbers)),
    "boolean": _simple(stock.BooleanAttribute, st.booleans(), typed("BOOL", st.booleans())),
    "binary": _simple(stock.BinaryAttribute, binaries, typed("B", binaries), legacy_encoding=False),
    "legacy binary": _simple(
        stock.BinaryAttribute, binaries, typed("B", encoded_binaries), legacy_encoding=True
    ),
    "binary set": _simple(
        stock.BinarySetAttribute,
        st.sets(binaries, max_size=3),
        typed("BS", st.lists(binaries, max_size=3)),
        legacy_encoding=False,
    ),
    "legacy binary set": _simple(
        stock.BinarySetAttribute,
        st.sets(binaries, max_size=3),
        typed("BS", st.lists(encoded_binaries, max_size=3)),
        legacy_encoding=True,
    ),
    "number set": _simple(
        stock.NumberSetAttribute,
        st.sets(small, max_size=3),
        typed("NS", st.lists(numbers, max_size=3)),
    ),
    "unicode set": _simple(
        stock.UnicodeSetAttribute,
        st.sets(texts, max_size=3),
        typed("SS", st.lists(texts, max_size=3)),
    ),
    "json": _simple(stock.JSONAttribute, plain, typed("S", _json)),
    "date": _simple(stock.UTCDateTimeAttribute, moments, dates),
    "null": _simple(stock.NullAttribute, st.none(), typed("NULL", st.just(True))),
    "colour": _simple(custom.ColourAttribute, colours, stored_colours),
    "decimal": _simple(custom.DecimalAttribute, decimals, typed("N", numbers)),
    "price": _simple(
        custom.PriceAttribute,
        decimals.map(float),
        st.one_of(typed("N", numbers), typed("S", numbers)),
    ),
    "upper": _simple(custom.UpperAttribute, texts, typed("S", texts)),
    "nothing": _simple(custom.NothingAttribute, st.one_of(texts, st.just("")), typed("S", texts)),
    "minute": _simple(custom.MinuteAttribute, moments, dates),
    "list": _list(None, st.one_of(texts, small, binaries), anything),
    "list of numbers": _list(stock.NumberAttribute, small, typed("N", numbers)),
    "list of dates": _list(stock.UTCDateTimeAttribute, moments, dates),
    "list of colours": _list(custom.ColourAttribute, colours, stored_colours),
    "list of sets": _list(
        stock.UnicodeSetAttribute,
        st.sets(texts, max_size=2),
        typed("SS", st.lists(texts, max_size=2)),
    ),
    "list of lists": _list(custom.Colours, st.lists(colours, max_size=2), lists_of(stored_colours)),
    "list of raw maps": _list(
        MapAttribute, st.dictionaries(texts, st.one_of(texts, small), max_size=2), plain_maps
    ),
    "list of streets": _list(custom.Street, _street, _stored_streets),
    "colours": _simple(custom.Colours, st.lists(colours, max_size=2), lists_of(stored_colours)),
    "raw map": _simple(
        MapAttribute, st.dictionaries(texts, st.one_of(texts, small), max_size=3), plain_maps
    ),
    "hand-made map": _simple(custom.HandMade, _tag, plain_maps),
    "translated map": _simple(custom.Translated, _tag, plain_maps),
    "map": Kind(lambda of, **given: of(**given), _inner_values, _inner_stored, has_inner=True),
    "dynamic map": Kind(
        lambda of, **given: of(**given),
        lambda inner: st.builds(
            lambda declared, more: {**more, **declared},
            _inner_values(inner),
            st.dictionaries(st.sampled_from("xyz"), st.one_of(texts, small), max_size=2),
        ),
        _inner_stored,
        has_inner=True,
    ),
    "shape": Kind(
        lambda of, **given: of(**given),
        _inner_values,
        lambda inner: st.one_of(_shaped(inner), _inner_stored(inner)),
        has_inner=True,
    ),
    "list of maps": Kind(
        lambda of, **given: t.cast(t.Any, ListAttribute)(of=of, **given),
        lambda inner: st.lists(_inner_values(inner), max_size=2),
        lambda inner: lists_of(_inner_stored(inner)),
        has_inner=True,
    ),
    "list of shapes": Kind(
        lambda of, **given: t.cast(t.Any, ListAttribute)(of=of, **given),
        lambda inner: st.lists(_inner_values(inner), max_size=2),
        lambda inner: lists_of(_shaped(inner)),
        has_inner=True,
    ),
}
# A model has at most one of each.
SINGLE = {
    "version": _simple(stock.VersionAttribute, st.integers(0, 99), typed("N", numbers)),
    "ttl": _simple(stock.TTLAttribute, moments, typed("N", seconds)),
    "minute to live": _simple(custom.MinuteToLiveAttribute, moments, typed("N", seconds)),
    "discriminator": _simple(
        stock.DiscriminatorAttribute,
        st.none(),
        typed("S", st.sampled_from(["child 0", "child 1", "nobody"])),
    ),
}
KEYS = ("unicode", "number", "binary", "date", "upper", "colour", "decimal")
SCALARS = (
    *("unicode", "number", "boolean", "binary", "legacy binary", "date"),
    *("price", "upper", "nothing", "minute"),
)
"""What holds values that do not change: an attribute may share a default."""

DISCRIMINATED = ("shape", "list of shapes")
SHAPES = ("round", "square")
"""The discriminators of shapes. The first one has a class, which a map with discriminator has."""

_ODD = st.one_of(st.none(), texts, small, st.sampled_from([b"\0", [None], {"a": 1}, "green", 1.5]))


def kind_of(attribute: Attribute) -> Kind:
    return {**KINDS, **SINGLE}[attribute.kind]


def fitting_values_of(attribute: Attribute) -> Strategy:
    """What may be given to an attribute."""
    return kind_of(attribute).values(attribute.inner)


def values_of(attribute: Attribute) -> Strategy:
    """What may be given to an attribute, and sometimes what may not."""
    return mostly(fitting_values_of(attribute), _ODD)


def stored_of(attribute: Attribute) -> Strategy:
    """What DynamoDB may send for an attribute, and sometimes what it should not."""
    return mostly(kind_of(attribute).stored(attribute.inner), anything)


def _shaped(inner: Inner) -> Strategy:
    shape = st.fixed_dictionaries({"k": typed("S", st.sampled_from(SHAPES))})
    radius = st.fixed_dictionaries({}, optional={"radius": typed("N", numbers)})
    return st.builds(
        lambda stored, *more: {"M": {**stored["M"], **more[0], **more[1]}},
        _inner_stored(inner),
        shape,
        radius,
    )


def mostly(usual: Strategy, seldom: Strategy) -> Strategy:
    """The first one, and the other one seldom."""
    return st.integers(0, 19).flatmap(lambda number: seldom if number == 19 else usual)
