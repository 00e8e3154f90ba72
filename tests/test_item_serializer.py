"""Models into items: what is sent is what PynamoDB makes of the same instance."""

from __future__ import annotations

import collections.abc as cabc
import datetime
import decimal
import enum
import sys
import types
import typing as t
import uuid
import zoneinfo
from unittest import mock

import hypothesis
import pynamodb.attributes
import pynamodb.models
import pytest
from hypothesis import strategies as st
from pynamodb.attributes import SERIALIZE_CLASS_MAP
from pynamodb.attributes import Attribute
from pynamodb.attributes import AttributeContainer
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
from pynamodb.exceptions import AttributeNullError

import dynamo_ext
from dynamo_ext.models import item_serializer
from dynamo_ext.transport.direct import bodies
from strength import examples
from typed_values import names

pytestmark = pytest.mark.once(reason="items are made, and no call is sent")

Values = st.SearchStrategy[t.Any]

# PynamoDB's maps have no annotations.
a_map: t.Any = MapAttribute


class Text(str): ...


class Number(int): ...


class Moment(datetime.datetime): ...


class Shade(enum.StrEnum):
    DARK = "dark"


class Colour(enum.Enum):
    RED = "red"


class ColourAttribute(Attribute[Colour]):
    attr_type = "S"

    def serialize(self, value: t.Any) -> t.Any:
        return value.value


class NothingAttribute(UnicodeAttribute):
    """Stores nothing for an empty text."""

    def serialize(self, value: t.Any) -> t.Any:
        return value or None


class UpperAttribute(UnicodeAttribute):
    def __get__(self, instance: t.Any, owner: t.Any) -> t.Any:
        value = super().__get__(instance, owner)
        return value.upper() if isinstance(value, str) else value


class NumberedAttribute(NumberAttribute):
    """Overrides nothing of what writes it."""


class Street(MapAttribute[t.Any, t.Any]):
    name = UnicodeAttribute(attr_name="n")
    number = NumberAttribute(null=True)


class Address(MapAttribute[t.Any, t.Any]):
    street: t.Any = t.cast(t.Any, Street)(null=True)
    required: t.Any = t.cast(t.Any, Street)()
    since = UTCDateTimeAttribute(null=True)
    floors: ListAttribute[t.Any] = ListAttribute(of=NumberAttribute, null=True)
    tags = UnicodeSetAttribute(null=False)
    streets: ListAttribute[t.Any] = ListAttribute(of=Street, null=True)


class Tree(MapAttribute[t.Any, t.Any]):
    """Holds itself."""

    size = NumberAttribute(null=True)
    children: ListAttribute[t.Any] = ListAttribute(null=True)


Tree.children.element_type = Tree


class Documented(MapAttribute[t.Any, t.Any]):
    """To write it may fail, before or after something is found to be missing."""

    document = JSONAttribute(null=True)
    name = UnicodeAttribute()


class Coloured(MapAttribute[t.Any, t.Any]):
    colour = ColourAttribute(null=True)


class Checked(MapAttribute[t.Any, t.Any]):
    name = UnicodeAttribute(null=True)

    def validate(self, *, null_check: bool = False) -> bool:
        return self.name != "wrong"


class Loose(DynamicMapAttribute):
    declared = UTCDateTimeAttribute(null=True)


class Shape(MapAttribute[t.Any, t.Any]):
    kind = DiscriminatorAttribute(attr_name="k")
    size = NumberAttribute(null=True)


class Circle(Shape, discriminator="circle"):
    radius = NumberAttribute(null=True)


# PynamoDB's maps have no annotations.
an_address: t.Any = Address
a_street: t.Any = Street


def made(kind: t.Any, **values: Values) -> Values:
    """Maps of a class, whose values need not be of the right types, and may be missing."""

    def make(values: dict[str, t.Any]) -> t.Any:
        instance = kind()
        instance.attribute_values.update(values)
        return instance

    return st.fixed_dictionaries({}, optional=values).map(make)


texts = st.text(max_size=5)
whole = st.integers(-(10**40), 10**40)
numbers = st.one_of(whole, st.floats())
ZONES = [
    *(None, datetime.UTC, zoneinfo.ZoneInfo("UTC"), zoneinfo.ZoneInfo("Asia/Kolkata")),
    datetime.timezone(datetime.timedelta(hours=-5, minutes=-30)),
]
moments = st.builds(
    lambda moment, zone: moment.replace(tzinfo=zone),
    st.datetimes(datetime.datetime(2, 1, 1), datetime.datetime(9998, 12, 30)),
    st.sampled_from(ZONES),
)
binaries = st.binary(max_size=4)
NOON = datetime.datetime(2025, 1, 2, 12)
ODD: list[t.Any] = [
    *("", "a", 0, -1, 1.5, -0.0, 1e16, 1e400, -1e400, float("nan"), True, False, None, b"", b"a"),
    *(Text("a"), Number(1), Shade.DARK, Colour.RED, decimal.Decimal(1), uuid.UUID(int=1)),
    *(bytearray(b"a"), datetime.date(2025, 1, 2), datetime.timedelta(1), object, Circle),
    *(NOON.replace(tzinfo=zone) for zone in ZONES),
    *(NOON.replace(year=5), NOON.replace(year=999, tzinfo=datetime.UTC)),
    *(Moment(2025, 1, 2), Moment(2025, 1, 2, tzinfo=datetime.UTC)),
    *((), ("a",), frozenset("a"), {"a", 1}, {1, 2.5}, {True}, {b"a"}, {"a"}, set(), {}, []),
]
odd: Values = st.one_of(
    *(texts, numbers, st.booleans(), st.none(), binaries, moments),
    st.sampled_from(ODD),
    made(Street, name=texts, number=numbers),
    made(MapAttribute, a=texts),
)
sets = st.one_of(
    st.sets(texts, max_size=2), st.sets(numbers, max_size=2), st.sets(binaries, max_size=2)
)
undeclared: Values = st.recursive(
    st.one_of(texts, numbers, st.booleans(), st.none(), binaries, sets, odd),
    lambda values: st.one_of(
        st.lists(values, max_size=3), st.dictionaries(names, values, max_size=3)
    ),
    max_leaves=6,
)
streets = made(Street, name=texts, number=numbers)
addresses = made(
    Address,
    street=streets,
    required=streets,
    since=moments,
    floors=st.lists(st.one_of(numbers, st.none()), max_size=2),
    tags=st.sets(texts, max_size=2),
    streets=st.lists(st.one_of(streets, st.none()), max_size=2),
)


def raw(values: dict[str, t.Any]) -> t.Any:
    instance = a_map()
    instance.attribute_values.update(values)
    return instance


raw_maps = st.dictionaries(names, undeclared, max_size=3).map(raw)


def list_of(kind: t.Any) -> t.Any:
    return lambda **options: ListAttribute(of=kind, **options)


def lists(values: Values) -> Values:
    return st.lists(st.one_of(values, st.none(), odd), max_size=3)


Kind = tuple[cabc.Callable[..., t.Any], Values]
KINDS: dict[str, Kind] = {
    "binary": (lambda **o: BinaryAttribute(legacy_encoding=False, **o), binaries),
    "binary_legacy": (lambda **o: BinaryAttribute(legacy_encoding=True, **o), binaries),
    "binary_set": (lambda **o: BinarySetAttribute(legacy_encoding=False, **o), sets),
    "binary_set_legacy": (lambda **o: BinarySetAttribute(legacy_encoding=True, **o), sets),
    "boolean": (BooleanAttribute, st.booleans()),
    "checked": (t.cast(t.Any, Checked), made(Checked, name=st.sampled_from(["right", "wrong"]))),
    "circle": (t.cast(t.Any, Circle), made(Circle, radius=numbers)),
    "colour": (ColourAttribute, st.sampled_from(Colour)),
    "coloured": (t.cast(t.Any, Coloured), made(Coloured, colour=st.sampled_from(Colour))),
    "date_time": (UTCDateTimeAttribute, moments),
    "documented": (
        t.cast(t.Any, Documented),
        made(Documented, document=st.sampled_from([[1], {"a": object}]), name=texts),
    ),
    "json": (JSONAttribute, undeclared),
    "list_of_colours": (list_of(ColourAttribute), lists(st.sampled_from(Colour))),
    "list_of_dates": (list_of(UTCDateTimeAttribute), lists(moments)),
    "list_of_lists": (list_of(ListAttribute), lists(st.lists(undeclared, max_size=2))),
    "list_of_maps": (list_of(Address), lists(addresses)),
    "list_of_numbers": (list_of(NumberAttribute), lists(numbers)),
    "list_of_raw_maps": (list_of(MapAttribute), lists(raw_maps)),
    "list_of_texts": (list_of(UnicodeAttribute), lists(texts)),
    "list_untyped": (ListAttribute, st.lists(undeclared, max_size=3)),
    "map_loose": (t.cast(t.Any, Loose), made(Loose, declared=moments, other=undeclared)),
    "map_raw": (a_map, raw_maps),
    "map_typed": (t.cast(t.Any, Address), addresses),
    "nothing": (NothingAttribute, st.sampled_from(["", "a"])),
    "null": (NullAttribute, st.none()),
    "number": (NumberAttribute, numbers),
    "number_set": (NumberSetAttribute, sets),
    "numbered": (NumberedAttribute, numbers),
    "shape": (t.cast(t.Any, Shape), made(Circle, size=numbers, radius=numbers)),
    "time_to_live": (TTLAttribute, moments),
    "tree": (t.cast(t.Any, Tree), made(Tree, size=numbers)),
    "unicode": (UnicodeAttribute, texts),
    "unicode_set": (UnicodeSetAttribute, sets),
    "upper": (UpperAttribute, texts),
    "version": (VersionAttribute, st.one_of(whole, st.floats(-1e9, 1e9))),
}


COMPLETE: dict[str, t.Any] = {"name": "a", "required": a_street(name="a"), "tags": {"a"}}
MAPS: dict[t.Any, list[str]] = {
    kind: [*t.cast("dict[str, t.Any]", kind.get_attributes())]
    for kind in (Address, Street, Documented, Checked, Coloured, Circle, Loose, Tree)
}


def model_of(kinds: cabc.Iterable[str], **options: t.Any) -> t.Any:
    """A model with an attribute of each kind."""

    class Meta:
        table_name = "table"

    attributes: dict[str, t.Any] = {name: KINDS[name][0](**options) for name in kinds}
    namespace = {"Meta": Meta, "id": UnicodeAttribute(hash_key=True), **attributes}
    create: t.Any = type(dynamo_ext.Model)
    return create("Written", (dynamo_ext.Model,), namespace)


class _Models(dict[tuple[str, bool], t.Any]):
    def __missing__(self, key: tuple[str, bool]) -> t.Any:
        name, null = key
        self[key] = model_of([name], null=null, attr_name="stored")
        return self[key]


MODELS = _Models()
EVERYTHING = model_of(KINDS, null=True)


def outcome(serialize: cabc.Callable[..., t.Any], *args: t.Any) -> t.Any:
    """What comes of it, in a form that tells apart whatever can be told apart."""
    try:
        return picture(serialize(*args))
    except Exception as error:
        return type(error), str(error), error.args


def picture(value: t.Any) -> t.Any:
    match value:
        case dict():
            return [(name, picture(part)) for name, part in value.items()]
        case list():
            return [picture(part) for part in value]
        case _:
            return type(value), repr(value)


pynamodbs: t.Any = t.cast(t.Any, pynamodb.models.Model)._container_serialize


def agree(instance: t.Any) -> t.Any:
    expected = outcome(pynamodbs, instance)
    assert outcome(instance.serialize) == expected

    if type(expected) is list:
        check_plain_item(instance)

    return expected


def check_plain_item(instance: t.Any) -> None:
    """Of an item that is called plain, no check may find anything unusual."""
    write = item_serializer.of(type(instance))
    written = None if write is None else write(instance)

    if written is not None and written[1]:
        bodies._check_members({"Item": written[0]})


def instance_of(model: t.Any, values: dict[str, t.Any]) -> t.Any:
    """An instance that holds these values, whatever they are."""
    instance = model("1")
    instance.attribute_values.update(values)
    return instance


@pytest.mark.parametrize("kind", KINDS)
@hypothesis.settings(max_examples=examples(10))
@hypothesis.given(data=st.data())
def test_an_attribute_is_written_as_by_pynamodb(kind: str, data: st.DataObject) -> None:
    fitting = KINDS[kind][1]
    value = data.draw(st.one_of(fitting, fitting, odd))
    agree(instance_of(MODELS[kind, data.draw(st.booleans())], {kind: value}))


def forms(value: t.Any) -> cabc.Iterator[t.Any]:
    """A value by itself, and in each container of the models in this module."""
    yield from (value, [value], ["a", 1, value], {"a": value}, raw({"a": value}))

    if isinstance(value, cabc.Hashable):
        yield {value}

    for kind, attributes in MAPS.items():
        for name in attributes:
            instance = kind()
            instance.attribute_values.update({**COMPLETE, name: value})
            yield from (instance, [instance])


@pytest.mark.parametrize("null", [True, False], ids=["null", "not null"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_odd_value_of_any_attribute_is_written_as_by_pynamodb(kind: str, null: bool) -> None:
    for value in ODD:
        for form in forms(value):
            agree(instance_of(MODELS[kind, null], {kind: form}))


def test_what_is_missing_in_a_map_is_found_before_another_error() -> None:
    documented: t.Any = t.cast(t.Any, Documented)(document={"a": object})
    found = agree(instance_of(MODELS["documented", True], {"documented": documented}))
    assert found[0] is AttributeNullError


@pytest.mark.slow
@hypothesis.settings(max_examples=examples(60))
@hypothesis.given(
    st.fixed_dictionaries({}, optional={name: fitting for name, (_, fitting) in KINDS.items()})
)
def test_instances_are_what_pynamodb_makes_of_them(values: dict[str, t.Any]) -> None:
    instance = instance_of(EVERYTHING, values)
    agree(instance)
    assert outcome(instance.serialize, False) == outcome(pynamodbs, instance, False)
    assert outcome(instance.to_dynamodb_dict) == outcome(
        pynamodb.models.Model.to_dynamodb_dict, instance
    )


USUAL: dict[str, t.Any] = {
    "binary": b"a",
    "binary_set": {b"a", b"b"},
    "boolean": False,
    "date_time": datetime.datetime(2025, 1, 2, 3, 4, 5, 6, datetime.UTC),
    "json": {"a": [1]},
    "list_of_maps": [an_address(required=a_street(name="a"), tags={"a"}), None],
    "list_of_numbers": [1, None],
    "list_of_texts": ["a"],
    "list_untyped": [1, 1.5, "a", None, True, b"a", {"a": [{}]}],
    "map_raw": raw({"a": [1, {"b": None}]}),
    "map_typed": an_address(required=a_street(name="a", number=1), tags={"a"}, floors=[1]),
    "number": 2**70,
    "number_set": {1, 1.5},
    "numbered": 1.5,
    "time_to_live": datetime.datetime(2025, 1, 2, tzinfo=datetime.UTC),
    "unicode": "a",
    "unicode_set": {"a", "b"},
    "version": 1,
}


def test_usual_values_are_written_without_pynamodb() -> None:
    instance = instance_of(model_of(USUAL, null=True), USUAL)
    expected = agree(instance)
    called: set[str] = set()

    def note(frame: types.FrameType, event: str, argument: object) -> None:
        if frame.f_code.co_filename == pynamodb.attributes.__file__:
            called.add(frame.f_code.co_name)

    before = sys.getprofile()
    sys.setprofile(note)

    try:
        item = instance.serialize()
    finally:
        sys.setprofile(before)

    assert not called
    assert picture(item) == expected


def test_a_number_of_too_many_digits_is_pynamodb_s_error() -> None:
    number = 10**5000

    for kind, value in {"number": number, "list_untyped": [number], "number_set": {number}}.items():
        assert agree(instance_of(MODELS[kind, True], {kind: value}))[0] is ValueError


def test_an_attribute_of_the_app_is_asked_once() -> None:
    asked: list[t.Any] = []

    class Noting(UnicodeAttribute):
        def serialize(self, value: t.Any) -> t.Any:
            asked.append(value)
            return value

    class Noted(dynamo_ext.Model):
        class Meta:
            table_name = "noted"

        id = UnicodeAttribute(hash_key=True)
        name = Noting()
        other = UnicodeAttribute(null=True)

    instance = instance_of(Noted, {"name": "a", "other": 5})
    assert instance.serialize() == {"id": {"S": "1"}, "name": {"S": "a"}, "other": {"S": 5}}
    assert asked == ["a"]


@pytest.mark.parametrize("name", ["x", 1])
@pytest.mark.parametrize("place", ["attribute", "attribute of a map", "undeclared"])
def test_names_that_are_no_texts_are_left_to_who_checks_them(name: t.Any, place: str) -> None:
    class Numbered(MapAttribute[t.Any, t.Any]):
        text = UnicodeAttribute(attr_name=name)

    numbered = t.cast(t.Any, Numbered)
    attribute, value = {
        "attribute": (UnicodeAttribute(attr_name=name), "x"),
        "attribute of a map": (numbered(), numbered(text="x")),
        "undeclared": (t.cast(t.Any, ListAttribute)(), [{name: "x"}]),
    }[place]

    class Item(dynamo_ext.Model):
        id = UnicodeAttribute(hash_key=True)
        other = attribute

    instance = instance_of(Item, {"other": value})
    agree(instance)
    item, is_plain = t.cast(t.Any, item_serializer.of(Item))(instance)
    assert is_plain is (name == "x")
    assert picture(item) == picture(instance.serialize())


def test_a_map_may_hold_maps_of_its_own_class() -> None:
    tree: t.Any = Tree
    written = tree(size=1, children=[tree(size=2, children=[tree(size=3)]), None])
    assert len(agree(instance_of(model_of(["tree"]), {"tree": written}))) == 2


class Person(dynamo_ext.Model):
    class Meta:
        table_name = "people"

    id = UnicodeAttribute(hash_key=True)
    name = UnicodeAttribute(null=True)
    age = NumberedAttribute()
    colour = ColourAttribute()
    missing = UnicodeAttribute(null=True)
    photos = BinarySetAttribute(legacy_encoding=False)
    home: t.Any = t.cast(t.Any, Street)()
    notes: t.Any = a_map()
    streets: ListAttribute[t.Any] = ListAttribute(of=Street)


def person() -> Person:
    return Person(
        "1",
        name="Ada",
        age=36,
        colour=Colour.RED,
        photos=set(),
        home=a_street(name="Main", number=1),
        notes={"a": 1, "b": ["x"]},
        streets=[a_street(name="Side")],
    )


def fixed(value: t.Any) -> cabc.Callable[..., t.Any]:
    return lambda *_args, **_kwargs: value


@classmethod  # type: ignore[misc]
def only_the_id(cls: t.Any) -> t.Any:
    return {"id": cls._attributes["id"]}


def loudly(_attribute: t.Any, value: t.Any) -> t.Any:
    return f"{value}!"


PATCHES: dict[str, tuple[t.Any, str, t.Any]] = {
    "a-stock-attribute": (NumberAttribute, "serialize", fixed("5")),
    "an-attribute-without-methods": (NumberedAttribute, "serialize", fixed("5")),
    "an-attribute-with-methods": (ColourAttribute, "serialize", fixed("blue")),
    "one-attribute": (Person.name, "serialize", fixed("x")),
    "one-attribute-of-a-map": (Street.name, "serialize", fixed("x")),
    "the-base-of-all-attributes": (Attribute, "serialize", loudly),
    "how-texts-are-written": (UnicodeAttribute, "serialize", loudly),
    "how-lists-are-written": (ListAttribute, "serialize", fixed([])),
    "how-elements-are-written": (ListAttribute, "_get_serialize_class", fixed(NullAttribute())),
    "how-maps-are-written": (MapAttribute, "serialize", fixed({})),
    "how-a-map-is-written": (Street, "serialize", fixed({})),
    "what-is-undeclared": (MapAttribute, "_serialize_undeclared_attributes", fixed({})),
    "whether-maps-are-valid": (MapAttribute, "validate", fixed(False)),
    "whether-a-map-is-valid": (Street, "validate", fixed(False)),
    "whether-a-value-is-right": (MapAttribute, "is_correctly_typed", fixed(False)),
    "how-values-are-found": (Attribute, "__get__", fixed("x")),
    "how-a-value-is-found": (NumberedAttribute, "__get__", fixed(7)),
    "which-attributes-there-are": (Person, "get_attributes", only_the_id),
    "which-attributes-a-map-has": (Street, "get_attributes", fixed({})),
    "which-attributes-there-are-anywhere": (AttributeContainer, "get_attributes", only_the_id),
    "the-loop": (AttributeContainer, "_container_serialize", fixed({})),
    "whether-one-may-be-null": (Person.missing, "null", False),
    "whether-a-class-may-be-null": (BinarySetAttribute, "null", False),
    "a-type": (NumberedAttribute, "attr_type", "S"),
    "the-truth": (Person, "__bool__", fixed(False)),
    "the-truth-of-a-map": (Street, "__len__", fixed(0)),
}


@pytest.mark.parametrize("case", PATCHES)
def test_a_patch_changes_what_is_written(case: str) -> None:
    owner, name, new = PATCHES[case]
    instance = person()
    unpatched = agree(instance)
    assert isinstance(unpatched, list)

    for _ in range(2):
        # Not every name is there before.
        with mock.patch.object(owner, name, new, create=True):
            expected = outcome(lambda: AttributeContainer._container_serialize(instance))
            assert outcome(instance.serialize) == expected != unpatched

        assert agree(instance) == unpatched


@pytest.mark.parametrize("name", ["serialize", "_container_serialize"])
@pytest.mark.parametrize(
    "owner",
    [pynamodb.models.Model, dynamo_ext.Model, Person],
    ids=["of PynamoDB", "of this project", "of the app"],
)
def test_a_patch_of_what_writes_a_model_counts(owner: t.Any, name: str) -> None:
    instance = person()

    for _ in range(2):
        assert agree(instance) != []

        with mock.patch.object(owner, name, fixed({}), create=True):
            # What this project overrides hides PynamoDB's, as that of a user's model would.
            assert instance.serialize() == {}


def test_a_patch_of_what_writes_undeclared_values_counts() -> None:
    instance = person()
    unpatched = agree(instance)

    with mock.patch.dict(t.cast(t.Any, SERIALIZE_CLASS_MAP), {int: UnicodeAttribute()}):
        assert agree(instance) != unpatched
        # Also for a model whose first item is written now.
        agree(instance_of(model_of(["map_raw"]), {"map_raw": raw({"a": 1})}))

    assert agree(instance) == unpatched


def test_what_is_set_on_an_instance_counts() -> None:
    instance: t.Any = person()
    unpatched = agree(instance)

    with mock.patch.object(instance, "get_attributes", return_value={"id": Person.id}):
        assert agree(instance) != unpatched

    with mock.patch.object(instance.home, "validate", fixed(False)):
        assert agree(instance) != unpatched

    with mock.patch.object(instance.home, "get_attributes", fixed({})):
        assert agree(instance) != unpatched

    instance.mark = "no attribute"
    assert agree(instance) == unpatched


def test_a_model_may_override_what_writes_it() -> None:
    class Marked(dynamo_ext.Model):
        class Meta:
            table_name = "marked"

        id = UnicodeAttribute(hash_key=True)

        def _container_serialize(self, null_check: bool = True) -> t.Any:
            return {**super()._container_serialize(null_check=null_check), "mark": {"S": "x"}}

    class Signed(Marked):
        class Meta:
            table_name = "signed"

        def serialize(self, null_check: bool = True) -> t.Any:
            return {**super().serialize(null_check), "sign": {"S": "y"}}

    class Fewer(dynamo_ext.Model):
        class Meta:
            table_name = "fewer"

        id = UnicodeAttribute(hash_key=True)
        name = UnicodeAttribute(null=True)

        @classmethod
        def get_attributes(cls) -> t.Any:
            return {"id": super().get_attributes()["id"]}

    class Falsy(dynamo_ext.Model):
        class Meta:
            table_name = "falsy"

        id = UnicodeAttribute(hash_key=True, null=True)

        def __len__(self) -> int:
            return 0

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

    Replaced.number = property(lambda self: 7)  # type: ignore[assignment]
    assert Marked("1").serialize() == {"id": {"S": "1"}, "mark": {"S": "x"}}
    assert Signed("1").serialize() == {**Marked("1").serialize(), "sign": {"S": "y"}}
    assert len(agree(instance_of(Fewer, {"name": "a"}))) == 1
    agree(Falsy())
    agree(instance_of(SharedName, {"a": "x", "b": "y"}))
    assert len(agree(instance_of(Replaced, {"number": 5}))) == 2


def test_the_hooks_are_pynamodb_s() -> None:
    """As :mod:`dynamo_ext.models.item_serializer` looks at them, by name."""
    not_of_pynamodb = {"__bool__", "__len__", "attribute_values"}
    kinds = (MapAttribute, ListAttribute, TTLAttribute)

    for hook in (
        *item_serializer._HOOKS_OF_A_CLASS,
        *item_serializer._HOOKS_OF_ATTRIBUTES,
    ):
        assert any(hasattr(kind, hook) for kind in kinds) == (hook not in not_of_pynamodb)
