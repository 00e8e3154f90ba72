"""Attributes have PynamoDB's types: one of the class is an attribute, one of an item its value."""

from datetime import datetime
from enum import Enum
from typing import Any
from typing import assert_type

from pynamodb.attributes import Attribute
from pynamodb.attributes import BinaryAttribute
from pynamodb.attributes import BooleanAttribute
from pynamodb.attributes import JSONAttribute
from pynamodb.attributes import ListAttribute
from pynamodb.attributes import MapAttribute
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import TTLAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.attributes import UnicodeSetAttribute
from pynamodb.attributes import UTCDateTimeAttribute
from pynamodb.attributes import VersionAttribute
from pynamodb.constants import STRING
from pynamodb.expressions.condition import Comparison

from dynamo_ext import Model


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class ColourAttribute(Attribute[Colour]):
    attr_type = STRING

    def serialize(self, value: Colour) -> str:
        return value.value

    def deserialize(self, value: str) -> Colour:
        return Colour(value)


class Address(MapAttribute[str, Any]):
    street = UnicodeAttribute()
    number = NumberAttribute(null=True)


class Person(Model):
    class Meta:
        table_name = "person"

    id = UnicodeAttribute(hash_key=True)
    born = UTCDateTimeAttribute(range_key=True)
    nickname = UnicodeAttribute(null=True)
    height = NumberAttribute()
    is_member = BooleanAttribute(default=False)
    photo = BinaryAttribute(legacy_encoding=False)
    tags = UnicodeSetAttribute()
    notes = ListAttribute[str](default=list)
    addresses = ListAttribute(of=Address)
    home = Address()  # strict: no-untyped-call
    anything = JSONAttribute()
    expires = TTLAttribute(null=True)
    version = VersionAttribute()
    colour = ColourAttribute(default=Colour.RED)


def values(person: Person) -> None:
    assert_type(person.id, str)
    assert_type(person.born, datetime)
    assert_type(person.nickname, str)  # As PynamoDB has it: its types don't know ``null``.
    assert_type(person.height, float)
    assert_type(person.is_member, bool)
    assert_type(person.photo, bytes)
    assert_type(person.tags, set[str])
    assert_type(person.notes, list[str])
    assert_type(person.addresses, list[Address])
    assert_type(person.addresses[0].street, str)
    assert_type(person.home.street, str)
    assert_type(person.anything, Any)
    assert_type(person.expires, datetime)
    assert_type(person.colour, Colour)
    person.nickname = "Ann"
    person.colour = Colour.BLUE


def conditions() -> None:
    assert_type(Person.id, UnicodeAttribute)
    assert_type(Person.colour, ColourAttribute)
    assert_type(Person.height > 1.8, Comparison)
    Person.scan((Person.height > 1.8) & Person.nickname.does_not_exist())
    Person.query("1", Person.born.between(datetime.min, datetime.max), Person.tags.contains("a"))


def new() -> Person:
    home = Address(street="Main Street", number=1)  # strict: no-untyped-call
    return Person("1", datetime.min, height=1.9, home=home)
