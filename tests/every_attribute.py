"""A model that has an attribute of each class of PynamoDB's, and values of them."""

from __future__ import annotations

import datetime
import typing as t

from pynamodb.attributes import BinaryAttribute
from pynamodb.attributes import BinarySetAttribute
from pynamodb.attributes import BooleanAttribute
from pynamodb.attributes import DiscriminatorAttribute
from pynamodb.attributes import DynamicMapAttribute
from pynamodb.attributes import JSONAttribute
from pynamodb.attributes import ListAttribute
from pynamodb.attributes import MapAttribute
from pynamodb.attributes import NullAttribute
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import NumberSetAttribute
from pynamodb.attributes import TTLAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.attributes import UnicodeSetAttribute
from pynamodb.attributes import UTCDateTimeAttribute
from pynamodb.attributes import VersionAttribute

import dynamo_ext_async

NOON = datetime.datetime(2026, 5, 4, 12, 30, 15, 250, datetime.UTC)
EXPIRY = datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


class Address(MapAttribute[str, t.Any]):
    street = UnicodeAttribute(attr_name="s")
    since = UTCDateTimeAttribute(null=True)
    photo = BinaryAttribute(null=True, legacy_encoding=False)


class Shape(MapAttribute[str, t.Any]):
    kind = DiscriminatorAttribute()
    name = UnicodeAttribute(null=True)


class Circle(Shape, discriminator="circle"):
    radius = NumberAttribute()


class Square(Shape, discriminator="square"):
    side = NumberAttribute()


class Notes(DynamicMapAttribute):
    written = UTCDateTimeAttribute(null=True)


# PynamoDB's maps have no annotations.
an_address: t.Any = Address
a_shape: t.Any = Shape
a_circle: t.Any = Circle
a_square: t.Any = Square
some_notes: t.Any = Notes


class Thing(dynamo_ext_async.Model):
    class Meta:
        table_name = "things"

    kind = DiscriminatorAttribute()
    id = UnicodeAttribute(hash_key=True)
    place = NumberAttribute(range_key=True)


class Everything(Thing, discriminator="everything"):
    text = UnicodeAttribute(attr_name="renamed")
    number = NumberAttribute()
    flag = BooleanAttribute()
    nothing = NullAttribute(null=True)
    binary = BinaryAttribute(legacy_encoding=False)
    legacy_binary = BinaryAttribute(legacy_encoding=True)
    texts = UnicodeSetAttribute()
    numbers = NumberSetAttribute()
    binaries = BinarySetAttribute(legacy_encoding=False)
    legacy_binaries = BinarySetAttribute(legacy_encoding=True)
    document = JSONAttribute()
    expires = TTLAttribute()
    created = UTCDateTimeAttribute()
    version = VersionAttribute()
    address: Address = an_address()
    addresses = ListAttribute(of=Address)
    shape: Shape = a_shape()
    shapes = ListAttribute(of=Shape)
    notes: Notes = some_notes()
    raw: MapAttribute[str, t.Any] = MapAttribute()
    mixed: ListAttribute[t.Any] = ListAttribute()
    times = ListAttribute(of=UTCDateTimeAttribute)
    pictures = ListAttribute(of=BinaryAttribute)
    tags = ListAttribute(of=UnicodeSetAttribute)
    unset = UnicodeAttribute(null=True)


def everything(id: str = "1") -> Everything:
    return Everything(
        id,
        2,
        text="äß",
        number=1.5,
        flag=False,
        nothing=None,
        binary=b"\xfb\xff",
        legacy_binary=b"\x00\x01",
        texts={"b", "a"},
        numbers={10, 9, 1.5},
        binaries={b"b", b"a"},
        legacy_binaries={b"b", b"a"},
        document={"b": [1, None, {"a": "x"}]},
        expires=EXPIRY,
        created=NOON,
        address=an_address(street="Road", since=NOON, photo=b"\xff"),
        addresses=[an_address(street="A"), {"street": "B", "since": NOON}],
        shape=a_circle(radius=2),
        shapes=[a_square(side=1, name="s"), a_circle(radius=1)],
        notes=some_notes(written=NOON, any={"x": {1, 2}}),
        raw={"n": 1, "l": [b"a", {"x": None}], "s": {"b", "a"}},
        mixed=[1, "x", None, b"\xff", {"m": [True]}, {b"b", b"a"}],
        times=[NOON, None],
        pictures=[b"\xff"],
        tags=[{"b", "a"}, set()],
    )


NOON_IN_JSON = "2026-05-04T12:30:15.000250+00:00"
IN_JSON: dict[str, t.Any] = {
    "kind": "everything",
    "id": "1",
    "place": 2,
    "renamed": "äß",
    "number": 1.5,
    "flag": False,
    "binary": "+/8=",
    "legacy_binary": "AAE=",
    "texts": ["a", "b"],
    "numbers": [1.5, 9, 10],
    "binaries": ["YQ==", "Yg=="],
    "legacy_binaries": ["YQ==", "Yg=="],
    "document": {"b": [1, None, {"a": "x"}]},
    "expires": "2030-01-02T03:04:05+00:00",
    "created": NOON_IN_JSON,
    "address": {"s": "Road", "since": NOON_IN_JSON, "photo": "/w=="},
    "addresses": [{"s": "A"}, {"s": "B", "since": NOON_IN_JSON}],
    "shape": {"kind": "circle", "radius": 2},
    "shapes": [{"kind": "square", "side": 1, "name": "s"}, {"kind": "circle", "radius": 1}],
    "notes": {"written": NOON_IN_JSON, "any": {"x": [1, 2]}},
    "raw": {"n": 1, "l": ["YQ==", {"x": None}], "s": ["a", "b"]},
    "mixed": [1, "x", None, "/w==", {"m": [True]}, ["YQ==", "Yg=="]],
    "times": [NOON_IN_JSON, None],
    "pictures": ["/w=="],
    "tags": [["a", "b"], None],
}
"""What :func:`everything` is in JSON, before it is stored."""

STORED_IN_JSON = {**IN_JSON, "version": 1}
