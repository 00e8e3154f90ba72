"""Items into models: what comes out is what PynamoDB makes of the same item."""

from __future__ import annotations

import copy
import decimal
import enum
import itertools
import json
import typing as t

import hypothesis
import pynamodb.models
import pytest
from hypothesis import strategies as st
from pynamodb.attributes import DESERIALIZE_CLASS_MAP
from pynamodb.attributes import Attribute
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

import dynamo_ext
from conftest import RunPython
from pictures import failure
from pictures import picture
from strength import examples
from typed_values import anything
from typed_values import binaries
from typed_values import dates
from typed_values import encoded_binaries
from typed_values import lists_of
from typed_values import maps_of
from typed_values import numbers
from typed_values import plain_maps
from typed_values import scalars
from typed_values import seconds
from typed_values import texts
from typed_values import typed

pytestmark = pytest.mark.once(reason="items are decoded, and no call is sent")

Item = dict[str, dict[str, t.Any]]


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class ColourAttribute(Attribute[Colour]):
    attr_type = "S"

    def deserialize(self, value: t.Any) -> Colour:
        return Colour(value)


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
    def __set__(self, instance: t.Any, value: t.Any) -> None:
        super().__set__(instance, value and value.upper())


class AfterAttribute(UnicodeAttribute):
    """Depends on an attribute that is set before."""

    def __set__(self, instance: t.Any, value: t.Any) -> None:
        super().__set__(instance, f"{instance.a_boolean} {value}")


class MinuteAttribute(UTCDateTimeAttribute):
    def deserialize(self, value: t.Any) -> t.Any:
        return t.cast(t.Any, super()).deserialize(value).replace(second=0)


class MinuteToLiveAttribute(TTLAttribute):
    def _normalize(self, value: t.Any) -> t.Any:
        normal = t.cast(t.Any, super())._normalize(value)
        return normal and normal.replace(second=0)


class ShownVersionAttribute(VersionAttribute):
    def deserialize(self, value: t.Any) -> t.Any:
        return f" {t.cast(t.Any, super()).deserialize(value)} "


class Street(MapAttribute[t.Any, t.Any]):
    name = UnicodeAttribute(attr_name="n")
    number = NumberAttribute(null=True, default=1)
    since = UTCDateTimeAttribute(null=True)


class Address(MapAttribute[t.Any, t.Any]):
    street: t.Any = t.cast(t.Any, Street)(null=True)
    streets: ListAttribute[t.Any] = ListAttribute(of=Street, null=True)
    notes: t.Any = t.cast(t.Any, MapAttribute)(null=True)
    photo = BinaryAttribute(legacy_encoding=False, null=True)
    floors: ListAttribute[t.Any] = ListAttribute(of=NumberAttribute, null=True)


class HandMade(MapAttribute[t.Any, t.Any]):
    tag = UnicodeAttribute(null=True)

    def __init__(self, **values: t.Any) -> None:
        t.cast(t.Any, super()).__init__(**values)
        object.__setattr__(self, "made", "by hand")


class Translated(MapAttribute[t.Any, t.Any]):
    """Is a map in DynamoDB and a text here."""

    def deserialize(self, values: t.Any) -> t.Any:
        return {"keys": sorted(values)}


class Loose(DynamicMapAttribute):
    declared = UTCDateTimeAttribute(null=True)


class Shape(MapAttribute[t.Any, t.Any]):
    kind = DiscriminatorAttribute(attr_name="k")
    size = NumberAttribute(null=True)


class Circle(Shape, discriminator="circle"):
    radius = NumberAttribute(null=True)


class Numbers(ListAttribute[t.Any]):
    element_type = NumberAttribute


class Everything(dynamo_ext.Model):
    """An attribute of every kind."""

    class Meta:
        table_name = "everything"

    id = UnicodeAttribute(hash_key=True)
    a_boolean = BooleanAttribute(null=True, default=False)
    after = AfterAttribute(null=True)
    binary = BinaryAttribute(legacy_encoding=False, null=True)
    binary_legacy = BinaryAttribute(legacy_encoding=True, null=True)
    binary_set = BinarySetAttribute(legacy_encoding=False, null=True)
    binary_set_legacy = BinarySetAttribute(legacy_encoding=True, null=True)
    colour = ColourAttribute(null=True)
    date_time = UTCDateTimeAttribute(null=True)
    json = JSONAttribute(null=True)
    list_of_binary_sets: ListAttribute[t.Any] = ListAttribute(of=BinarySetAttribute, null=True)
    list_of_colours: ListAttribute[t.Any] = ListAttribute(of=ColourAttribute, null=True)
    list_of_dates: ListAttribute[t.Any] = ListAttribute(of=UTCDateTimeAttribute, null=True)
    list_of_lists: ListAttribute[t.Any] = ListAttribute(of=ListAttribute, null=True)
    list_of_loose_maps: ListAttribute[t.Any] = ListAttribute(of=Loose, null=True)
    list_of_maps: ListAttribute[t.Any] = ListAttribute(of=Address, null=True)
    list_of_numbers: ListAttribute[t.Any] = ListAttribute(of=NumberAttribute, null=True)
    list_of_number_lists: ListAttribute[t.Any] = ListAttribute(of=Numbers, null=True)
    list_of_prices: ListAttribute[t.Any] = ListAttribute(of=PriceAttribute, null=True)
    list_of_raw_maps: ListAttribute[t.Any] = ListAttribute(of=MapAttribute, null=True)
    list_of_shapes: ListAttribute[t.Any] = ListAttribute(of=Shape, null=True)
    list_of_times_to_live: ListAttribute[t.Any] = ListAttribute(of=TTLAttribute, null=True)
    list_untyped: ListAttribute[t.Any] = ListAttribute(null=True)
    map_hand_made: t.Any = t.cast(t.Any, HandMade)(null=True)
    map_loose: t.Any = t.cast(t.Any, Loose)(null=True)
    map_raw: t.Any = t.cast(t.Any, MapAttribute)(null=True)
    map_translated: t.Any = t.cast(t.Any, Translated)(null=True)
    map_typed: t.Any = t.cast(t.Any, Address)(null=True)
    minute = MinuteAttribute(null=True)
    null = NullAttribute(null=True)
    number = NumberAttribute(null=True, attr_name="num", default_for_new=9)
    number_set = NumberSetAttribute(null=True)
    price = PriceAttribute(null=True)
    shape: t.Any = t.cast(t.Any, Shape)(null=True)
    time_to_live = TTLAttribute(null=True)
    unicode_set = UnicodeSetAttribute(null=True)
    upper = UpperAttribute(null=True)
    version = VersionAttribute()


class ComputedDefaults(dynamo_ext.Model):
    class Meta:
        table_name = "computed-defaults"

    id = UnicodeAttribute(hash_key=True, default=lambda: "none")
    number = NumberAttribute(default=5)
    upper = UpperAttribute(default="upper")
    map_raw: t.Any = t.cast(t.Any, MapAttribute)(default=lambda: {"of": "default"})


class ChangedDefaults(dynamo_ext.Model):
    class Meta:
        table_name = "changed-defaults"

    id = UnicodeAttribute(hash_key=True, default="none")
    number = VersionAttribute(default=2.5)


class Animal(dynamo_ext.Model):
    class Meta:
        table_name = "animals"

    id = UnicodeAttribute(hash_key=True)
    kind = DiscriminatorAttribute()


class Dog(Animal, discriminator="Dog"):
    name = UnicodeAttribute(null=True, default="Rex")


class Puppy(Dog, discriminator="Puppy"):
    weeks = NumberAttribute(null=True)


class OwnInit(dynamo_ext.Model):
    class Meta:
        table_name = "own-init"

    id = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(null=True)

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(*args, **kwargs)
        self.is_fresh = True
        self.number = 1


class OwnSetAttr(dynamo_ext.Model):
    class Meta:
        table_name = "own-setattr"

    id = UnicodeAttribute(hash_key=True)

    def __setattr__(self, name: str, value: t.Any) -> None:
        super().__setattr__(name, value)
        vars(self).setdefault("log", []).append(name)


class Falsy(dynamo_ext.Model):
    """PynamoDB keeps nothing in an instance that is false."""

    class Meta:
        table_name = "falsy"

    id = UnicodeAttribute(hash_key=True)

    def __len__(self) -> int:
        return 0


class OwnDefaults(dynamo_ext.Model):
    class Meta:
        table_name = "own-defaults"

    id = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(null=True)

    def _set_defaults(self, _user_instantiated: bool = True) -> None:
        self.number = 7


class ShownVersion(dynamo_ext.Model):
    class Meta:
        table_name = "shown-version"

    id = UnicodeAttribute(hash_key=True)
    number = ShownVersionAttribute()


class MinutesToLive(dynamo_ext.Model):
    class Meta:
        table_name = "minutes-to-live"

    id = UnicodeAttribute(hash_key=True)
    number = MinuteToLiveAttribute(null=True)


class SharedName(dynamo_ext.Model):
    class Meta:
        table_name = "shared-name"

    id = UnicodeAttribute(hash_key=True)
    a = UnicodeAttribute(attr_name="b", null=True)
    b = UnicodeAttribute(null=True)


class Replaced(dynamo_ext.Model):
    class Meta:
        table_name = "replaced"

    id = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(null=True)


Replaced.number = property(  # type: ignore[assignment]
    lambda self: vars(self)["kept"],
    lambda self, value: vars(self).update(kept=value),
)


class Patched(dynamo_ext.Model):
    class Meta:
        table_name = "patched"

    id = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(null=True)


vars(Patched.number)["deserialize"] = lambda value: f"patched {value}"


def outcome(read: t.Any, item: t.Any) -> t.Any:
    """What comes of it, in a form that tells apart whatever can be told apart."""
    try:
        return picture(read(copy.deepcopy(item)))
    except Exception as error:
        return failure(error)


def pynamodbs(model: type[dynamo_ext.Model]) -> t.Any:
    """PynamoDB's own way to an instance."""
    from_raw_data = t.cast(t.Any, pynamodb.models.Model.from_raw_data)
    return lambda item: from_raw_data.__func__(model, item)


def agree(model: type[dynamo_ext.Model], item: t.Any) -> t.Any:
    expected = outcome(pynamodbs(model), item)
    assert outcome(model.from_raw_data, item) == expected
    return expected


streets = maps_of(n=typed("S", texts), number=typed("N", numbers), since=dates)
addresses = maps_of(
    street=streets,
    streets=lists_of(streets),
    notes=plain_maps,
    photo=typed("B", binaries),
    floors=lists_of(typed("N", numbers)),
)
shapes = maps_of(
    k=typed("S", st.sampled_from(["circle", "square"])),
    size=typed("N", numbers),
    radius=typed("N", numbers),
)
FITTING: dict[str, st.SearchStrategy[t.Any]] = {
    "id": typed("S", texts),
    "a_boolean": typed("BOOL", st.booleans()),
    "after": typed("S", texts),
    "binary": typed("B", binaries),
    "binary_legacy": typed("B", encoded_binaries),
    "binary_set": typed("BS", st.lists(binaries, max_size=3)),
    "binary_set_legacy": typed("BS", st.lists(encoded_binaries, max_size=3)),
    "colour": typed("S", st.sampled_from(["red", "blue", "green"])),
    "date_time": dates,
    "json": typed("S", st.sampled_from(['{"a": [1.5, null]}', "[1]", '"tab\t"', "{"])),
    "list_of_binary_sets": lists_of(typed("BS", st.lists(binaries, max_size=2))),
    "list_of_colours": lists_of(typed("S", st.sampled_from(["red", "green"]))),
    "list_of_dates": lists_of(dates),
    "list_of_lists": lists_of(lists_of(anything)),
    "list_of_loose_maps": lists_of(plain_maps),
    "list_of_maps": lists_of(addresses),
    "list_of_numbers": lists_of(typed("N", numbers)),
    "list_of_number_lists": lists_of(lists_of(st.one_of(typed("N", numbers), scalars))),
    "list_of_prices": lists_of(typed("N", numbers)),
    "list_of_raw_maps": lists_of(plain_maps),
    "list_of_shapes": lists_of(shapes),
    "list_of_times_to_live": lists_of(typed("N", seconds)),
    "list_untyped": lists_of(anything),
    "map_hand_made": maps_of(tag=typed("S", texts)),
    "map_loose": st.one_of(plain_maps, maps_of(declared=dates, other=anything)),
    "map_raw": plain_maps,
    "map_translated": plain_maps,
    "map_typed": addresses,
    "minute": dates,
    "null": typed("NULL", st.just(True)),
    "num": typed("N", numbers),
    "number_set": typed("NS", st.lists(numbers, max_size=3)),
    "price": st.one_of(typed("N", numbers), typed("S", numbers)),
    "shape": shapes,
    "time_to_live": typed("N", seconds),
    "unicode_set": typed("SS", st.lists(texts, max_size=3)),
    "upper": typed("S", texts),
    "version": typed("N", numbers),
}
differential = hypothesis.settings(
    max_examples=examples(300),
)


def test_every_attribute_has_values_to_be_tested_with() -> None:
    assert FITTING.keys() == {a.attr_name for a in Everything.get_attributes().values()}


@pytest.mark.parametrize("name", FITTING)
@hypothesis.settings(max_examples=examples(60))
@hypothesis.given(data=st.data())
def test_an_attribute_gets_what_pynamodb_gives_it(name: str, data: st.DataObject) -> None:
    value = data.draw(st.one_of(FITTING[name], FITTING[name], anything))
    agree(Everything, {name: value})


@pytest.mark.slow
@differential
@hypothesis.given(st.fixed_dictionaries({}, optional={**FITTING, "undeclared": anything}))
def test_items_are_what_pynamodb_makes_of_them(item: Item) -> None:
    agree(Everything, item)


@pytest.mark.slow
@differential
@hypothesis.given(
    st.sampled_from([Animal, Dog, Puppy]),
    st.fixed_dictionaries(
        {},
        optional={
            "id": typed("S", texts),
            "kind": st.one_of(
                typed("S", st.sampled_from(["Dog", "Puppy", "Cat", ""])),
                typed("NULL", st.just(True)),
                typed("N", numbers),
                st.just({}),
            ),
            "name": st.one_of(typed("S", texts), typed("N", numbers)),
            "weeks": typed("N", numbers),
        },
    ),
)
def test_the_discriminator_chooses_the_class(model: type[Animal], item: Item) -> None:
    agree(model, item)


MODELS = [
    ChangedDefaults,
    ComputedDefaults,
    OwnInit,
    OwnSetAttr,
    Falsy,
    OwnDefaults,
    MinutesToLive,
    SharedName,
    ShownVersion,
    Replaced,
    Patched,
]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "item",
    [
        {},
        {"id": {"S": "1"}, "number": {"N": "2"}, "b": {"S": "x"}, "upper": {"S": "u"}},
        {"id": {"S": "1"}, "number": {"S": "2"}, "b": {"N": "3"}, "map_raw": {"M": {}}},
    ],
)
def test_a_model_that_does_things_its_own_way_is_left_to_pynamodb(
    model: type[dynamo_ext.Model], item: Item
) -> None:
    agree(model, item)


def test_a_class_that_is_created_by_calling_its_type_may_override_hooks() -> None:
    """Python says that PynamoDB's module defines such a class, since its metaclass calls
    ``type``."""

    class OfBirth:
        def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
            super().__init__(*args, **kwargs)
            self.year = 2000

    class Base(dynamo_ext.Model):
        class Meta:
            table_name = "of-birth"

        id = UnicodeAttribute(hash_key=True)

    create: t.Any = type(Base)
    model: t.Any = create("Created", (OfBirth, Base), {})
    number = type("NumberOfTexts", (NumberAttribute,), {"deserialize": lambda self, value: value})
    also: t.Any = create("Also", (Base,), {"number": number(null=True)})
    assert model.__module__.startswith("pynamodb.")
    agree(model, {"id": {"S": "a"}})
    agree(also, {"id": {"S": "a"}, "number": {"N": "1"}})
    assert model.from_raw_data({"id": {"S": "a"}}).year == 2000


def test_a_default_of_a_list_s_maps_is_called_for_such_a_map_alone() -> None:
    called: list[str] = []

    def note() -> str:
        called.append("")
        return "none"

    class Named(MapAttribute[t.Any, t.Any]):
        name = UnicodeAttribute(default=note)

    class OfMaps(dynamo_ext.Model):
        class Meta:
            table_name = "of-maps"

        id = UnicodeAttribute(hash_key=True)
        maps: ListAttribute[t.Any] = ListAttribute(of=Named, null=True)

    OfMaps.from_raw_data({"id": {"S": "a"}})
    assert not called
    agree(OfMaps, {"id": {"S": "a"}, "maps": {"L": [{"M": {}}]}})


@pytest.mark.parametrize("name", FITTING)
def test_a_value_that_is_null_as_well_is_null(name: str) -> None:
    attribute = Everything.get_attributes()[Everything._dynamo_to_python_attr(name)]
    value: t.Any = {"L": [], "M": {}, "NULL": True}.get(attribute.attr_type, "1")
    agree(Everything, {name: {attribute.attr_type: value, "NULL": True}})


def test_no_data_is_an_error() -> None:
    agree(Everything, None)


def test_a_default_that_is_made_anew_belongs_to_one_instance() -> None:
    first, second = (ComputedDefaults.from_raw_data({}) for _ in range(2))
    first.map_raw["of"] = "the first"
    assert second.map_raw["of"] == "default"
    assert vars(first.map_raw) is not vars(second.map_raw)


def test_constant_defaults_are_not_shared_either() -> None:
    first, second = (Everything.from_raw_data({}) for _ in range(2))
    first.a_boolean = True
    assert second.a_boolean is False


def test_a_computed_default_is_drawn_for_each_instance() -> None:
    count = itertools.count()

    class Counted(dynamo_ext.Model):
        class Meta:
            table_name = "counted"

        id = UnicodeAttribute(hash_key=True)
        number = NumberAttribute(default=lambda: next(count))

    numbers = [Counted.from_raw_data({"id": {"S": "1"}}).number for _ in range(3)]
    assert sorted(set(numbers)) == numbers


def test_a_registered_reader_of_undeclared_values_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DESERIALIZE_CLASS_MAP, "N", PriceAttribute())

    class Priced(dynamo_ext.Model):
        class Meta:
            table_name = "priced"

        id = UnicodeAttribute(hash_key=True)
        notes: MapAttribute[t.Any, t.Any] = MapAttribute(null=True)
        list: ListAttribute[t.Any] = ListAttribute(null=True)

    item = {"notes": {"M": {"a": {"N": "1.10"}}}, "list": {"L": [{"N": "2.20"}]}}
    agree(Priced, item)
    assert Priced.from_raw_data(item).notes["a"] == decimal.Decimal("1.10")


def test_a_model_that_makes_its_instances_itself_may_still_ask_for_ours() -> None:
    class Renamed(Everything):
        class Meta:
            table_name = "renamed"

        @classmethod
        def from_raw_data(cls, data: dict[str, t.Any] | None) -> t.Self:
            return super().from_raw_data({**(data or {}), "num": {"N": "3"}})

    assert Renamed.from_raw_data(None).number == 3


def test_a_number_of_38_digits_keeps_each_of_them() -> None:
    digits = "1234567890" * 3 + "12345678"
    assert Everything.from_raw_data({"num": {"N": digits}}).number == int(digits)
    assert json.loads(digits) == int(digits)


# An attribute that took the place of PynamoDB's before this project was imported.
REPLACED = """
import pynamodb.attributes


class Loud(pynamodb.attributes.UnicodeAttribute):
    def serialize(self, value):
        return value.lower()

    def deserialize(self, value):
        return value.upper()


pynamodb.attributes.UnicodeAttribute = Loud
import dynamo_ext


class Word(dynamo_ext.Model):
    class Meta:
        table_name = "words"

    id = pynamodb.attributes.UnicodeAttribute(hash_key=True)


for _ in range(3):
    word = Word.from_raw_data({"id": {"S": "word"}})
    print(word.id, word.serialize())
"""


def test_a_class_that_was_put_into_pynamodb_s_place_is_no_class_of_pynamodb(
    run_python: RunPython,
) -> None:
    done = run_python(REPLACED)
    assert done.stdout.splitlines() == ["WORD {'id': {'S': 'word'}}"] * 3, done.stderr
