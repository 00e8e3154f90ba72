"""Attribute classes and map classes as apps write them."""

from __future__ import annotations

import decimal
import enum
import typing as t

from pynamodb.attributes import Attribute
from pynamodb.attributes import ListAttribute
from pynamodb.attributes import MapAttribute
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import TTLAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.attributes import UTCDateTimeAttribute


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class ColourAttribute(Attribute[Colour]):
    """Has a type of its own, and a form of its own in DynamoDB."""

    attr_type = "S"

    def serialize(self, value: t.Any) -> str:
        return Colour(value).value

    def deserialize(self, value: t.Any) -> Colour:
        return Colour(value)


class DecimalAttribute(NumberAttribute):
    """Keeps all digits."""

    def serialize(self, value: t.Any) -> str:
        return str(decimal.Decimal(value))

    def deserialize(self, value: str) -> t.Any:
        return decimal.Decimal(value)


class PriceAttribute(NumberAttribute):
    """Takes two types, and names itself where it fails."""

    def get_value(self, value: dict[str, t.Any]) -> t.Any:
        return value.get("N") or value["S"]

    def deserialize(self, value: t.Any) -> t.Any:
        try:
            return decimal.Decimal(value)
        except decimal.InvalidOperation:
            raise ValueError(f"{self.attr_name}: {value!r} is no price") from None


class UpperAttribute(UnicodeAttribute):
    """Changes what it is given."""

    def __set__(self, instance: t.Any, value: t.Any) -> None:
        super().__set__(instance, value and value.upper())


class NothingAttribute(UnicodeAttribute):
    """Stores some values as nothing."""

    def serialize(self, value: t.Any) -> t.Any:
        return None if value == "" else super().serialize(value)


class MinuteAttribute(UTCDateTimeAttribute):
    def deserialize(self, value: t.Any) -> t.Any:
        return t.cast(t.Any, super()).deserialize(value).replace(second=0)


class MinuteToLiveAttribute(TTLAttribute):
    def _normalize(self, value: t.Any) -> t.Any:
        normal = t.cast(t.Any, super())._normalize(value)
        return normal and normal.replace(second=0)


class Street(MapAttribute[t.Any, t.Any]):
    name = UnicodeAttribute(attr_name="n")
    number = NumberAttribute(null=True, default=1)


class HandMade(MapAttribute[t.Any, t.Any]):
    tag = UnicodeAttribute(null=True)

    def __init__(self, **values: t.Any) -> None:
        t.cast(t.Any, super()).__init__(**values)
        object.__setattr__(self, "made", "by hand")


class Translated(MapAttribute[t.Any, t.Any]):
    """Is a map in DynamoDB and something else here."""

    def serialize(self, values: t.Any, *, null_check: bool = True) -> t.Any:
        return {"keys": {"SS": sorted(values)}}

    def deserialize(self, values: t.Any) -> t.Any:
        return {"keys": sorted(values)}


class Colours(ListAttribute[t.Any]):
    element_type = ColourAttribute
