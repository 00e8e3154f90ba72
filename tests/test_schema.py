"""pydantic models of PynamoDB's models: validation, documents, to the engine and back."""

from __future__ import annotations

import datetime
import decimal
import enum
import itertools
import json
import subprocess
import typing as t
import uuid

import hypothesis
import pydantic
import pynamodb.models
import pytest
from hypothesis import strategies as st
from pynamodb.attributes import Attribute
from pynamodb.attributes import BinaryAttribute
from pynamodb.attributes import BinarySetAttribute
from pynamodb.attributes import BooleanAttribute
from pynamodb.attributes import DiscriminatorAttribute
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
from conftest import InApp
from conftest import RunPython
from dynamo_ext.models.model import ModelType
from dynamo_ext.schema import pydantic_model
from every_attribute import NOON
from every_attribute import NOON_IN_JSON
from every_attribute import Address
from every_attribute import Everything
from every_attribute import Notes
from every_attribute import Shape
from every_attribute import Thing
from every_attribute import an_address
from every_attribute import everything

pytestmark = pytest.mark.once(reason="what was read is validated in the same way on any transport")

UTC = datetime.UTC
NOON_BUT_MILLISECONDS = "2026-05-04T12:30:15+00:00"


class Todo(dynamo_ext.Model):
    """What is to be done."""

    class Meta:
        table_name = "todo"

    id = UnicodeAttribute(hash_key=True)
    title = UnicodeAttribute(attr_name="t")
    done = BooleanAttribute(default=False)
    due = UTCDateTimeAttribute(null=True)
    address: Address = an_address(null=True)


def model_with(attribute: t.Any) -> t.Any:
    return ModelType("Model", (dynamo_ext.Model,), {"value": attribute})


def schema_with(attribute: t.Any) -> t.Any:
    return pydantic_model(model_with(attribute))


class Color(enum.Enum):
    RED = "red"


class Generic(Attribute[decimal.Decimal]):
    attr_type = "N"


class GenericOfUsers(Attribute[t.Any]):
    attr_type = "S"

    def deserialize(self, value: t.Any) -> t.Any:
        return value


T = t.TypeVar("T")


class Typed(Attribute[T]):
    attr_type = "S"


class Coloured(Typed[Color]):
    pass


class Read(UnicodeAttribute):
    def deserialize(self, value: str) -> uuid.UUID:
        return uuid.UUID(value)


class Odd(UnicodeAttribute):
    def deserialize(self, value: str) -> Unfindable:  # type: ignore[name-defined]  # noqa: F821  # pyright: ignore[reportUndefinedVariable]
        return value


class Thingy:
    pass


class Arbitrary(Attribute[Thingy]):
    attr_type = "S"


class Written(UnicodeAttribute):
    def serialize(self, value: t.Any) -> t.Any:
        return value.lower()


ID = uuid.UUID(int=1)
VALID: dict[str, tuple[t.Any, t.Any, t.Any, t.Any]] = {
    # An attribute, what a request holds, the value, and the value in JSON.
    "text": (UnicodeAttribute(), "ä", "ä", "ä"),
    "whole number": (NumberAttribute(), 1, 1, 1),
    "large number": (NumberAttribute(), 10**30, 10**30, 10**30),
    "number": (NumberAttribute(), 1.5, 1.5, 1.5),
    "boolean": (BooleanAttribute(), True, True, True),
    "null": (NullAttribute(null=True), None, None, None),
    "binary": (BinaryAttribute(legacy_encoding=False), "+/8=", b"\xfb\xff", "+/8="),
    "legacy binary": (BinaryAttribute(legacy_encoding=True), "+/8=", b"\xfb\xff", "+/8="),
    "bytes": (BinaryAttribute(legacy_encoding=False), b"\xfb\xff", b"\xfb\xff", "+/8="),
    "texts": (UnicodeSetAttribute(), ["b", "a"], {"a", "b"}, ["a", "b"]),
    "numbers": (NumberSetAttribute(), [2, 1.5, 10], {1.5, 2, 10}, [1.5, 2, 10]),
    "binaries": (BinarySetAttribute(legacy_encoding=False), ["/w=="], {b"\xff"}, ["/w=="]),
    "json": (JSONAttribute(), {"a": [1]}, {"a": [1]}, {"a": [1]}),
    "time": (UTCDateTimeAttribute(), "2026-05-04T12:30:15.00025Z", NOON, NOON_IN_JSON),
    "time of a zone": (
        UTCDateTimeAttribute(),
        "2026-05-04T14:30:15.00025+02:00",
        NOON,
        NOON_IN_JSON,
    ),
    "time without zone": (UTCDateTimeAttribute(), NOON.replace(tzinfo=None), NOON, NOON_IN_JSON),
    "expiry": (
        TTLAttribute(),
        "2026-05-04T14:30:15.9+02:00",
        NOON.replace(microsecond=0),
        NOON_BUT_MILLISECONDS,
    ),
    "version": (VersionAttribute(), 3, 3, 3),
    "list": (ListAttribute(), [1, "a", {"b": []}], [1, "a", {"b": []}], [1, "a", {"b": []}]),
    "list of texts": (ListAttribute(of=UnicodeAttribute), ["a"], ["a"], ["a"]),
    "list of binaries": (ListAttribute(of=BinaryAttribute), ["/w=="], [b"\xff"], ["/w=="]),
    "list of sets": (
        ListAttribute(of=UnicodeSetAttribute),
        [["b", "a"]],
        [{"a", "b"}],
        [["a", "b"]],
    ),
    "list of maps": (
        ListAttribute(of=Address),
        [{"street": "A"}],
        [{"street": "A", "since": None, "photo": None}],
        [{"street": "A", "since": None, "photo": None}],
    ),
    "list of lists": (ListAttribute(of=ListAttribute), [[1]], [[1]], [[1]]),
    "list of raw maps": (ListAttribute(of=MapAttribute), [{"a": 1}], [{"a": 1}], [{"a": 1}]),
    "raw map": (MapAttribute(), {"a": {"b": [1]}}, {"a": {"b": [1]}}, {"a": {"b": [1]}}),
    "raw map in Python": (MapAttribute(), {"a": {1, 2}}, {"a": {1, 2}}, {"a": [1, 2]}),
    "map": (
        an_address(),
        {"street": "A", "photo": "/w=="},
        {"street": "A", "since": None, "photo": b"\xff"},
        {"street": "A", "since": None, "photo": "/w=="},
    ),
    "dynamic map": (
        t.cast(t.Any, Notes)(),
        {"written": NOON_IN_JSON, "a": {"b": 1}},
        {"written": NOON, "a": {"b": 1}},
        {"written": NOON_IN_JSON, "a": {"b": 1}},
    ),
    "own generic": (Generic(), "1.10", decimal.Decimal("1.10"), "1.10"),
    "own generic of a generic": (Coloured(), "red", Color.RED, "red"),
    "own generic of an instance": (Typed[Color](), "red", Color.RED, "red"),
    "own return type": (Read(), str(ID), ID, str(ID)),
    "own type that can't be found": (Odd(), [1], [1], [1]),
    "own class without a type": (GenericOfUsers(), [1], [1], [1]),
    "own class with an arbitrary type": (Arbitrary(), [1], [1], [1]),
    "own way to write": (Written(), "A", "A", "A"),
}


@pytest.mark.parametrize(("attribute", "given", "value", "in_json"), VALID.values(), ids=VALID)
def test_a_valid_value(attribute: t.Any, given: t.Any, value: t.Any, in_json: t.Any) -> None:
    schema = schema_with(attribute)
    validated = schema.model_validate({"value": given})
    assert validated.model_dump() == {"value": value}
    assert type(validated.model_dump()["value"]) is type(value)
    assert json.loads(validated.model_dump_json()) == {"value": in_json}
    assert validated.model_dump(mode="json") == {"value": in_json}
    # As requests hold it, whether a library validates text or what it has parsed.
    for again in (
        schema.model_validate_json(validated.model_dump_json()),
        schema.model_validate(json.loads(validated.model_dump_json())),
    ):
        assert again.model_dump(mode="json") == {"value": in_json}

    for mode in ("validation", "serialization"):
        assert schema.model_json_schema(mode=mode)["properties"]["value"]


LATE = datetime.datetime.max.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=-2)))
INVALID: dict[str, tuple[t.Any, t.Any]] = {
    "text": (UnicodeAttribute(), 1),
    "none": (UnicodeAttribute(), None),
    "none in JSON": (JSONAttribute(), None),
    "none in an own class": (Arbitrary(), None),
    "none in an own generic class": (Typed(), None),
    "empty key": (UnicodeAttribute(hash_key=True), ""),
    "empty binary key": (BinaryAttribute(range_key=True, legacy_encoding=False), ""),
    "number": (NumberAttribute(), "x"),
    "not a number": (NumberAttribute(), float("nan")),
    "infinity": (NumberAttribute(), float("inf")),
    "numbers": (NumberSetAttribute(), [float("inf")]),
    "base64": (BinaryAttribute(legacy_encoding=False), "/w"),
    "url-safe base64": (BinaryAttribute(legacy_encoding=False), "-_-_AAAA"),
    "ä": (BinaryAttribute(legacy_encoding=False), "ä"),
    "set that may not be empty": (UnicodeSetAttribute(null=False), []),
    "empty set in a list": (ListAttribute(of=UnicodeSetAttribute), [[]]),
    "none in a list": (ListAttribute(of=UnicodeAttribute), [None]),
    "time": (UTCDateTimeAttribute(), "noon"),
    "time out of range": (UTCDateTimeAttribute(), LATE),
    "expiry without zone": (TTLAttribute(), "2026-05-04T12:30:15"),
    "expiry out of range": (TTLAttribute(), LATE),
    "map": (an_address(), {"s": "A"}),
    "no map": (MapAttribute(), [1]),
    "shape": (t.cast(t.Any, Shape)(), {"kind": "triangle"}),
    "shape without radius": (t.cast(t.Any, Shape)(), {"kind": "circle"}),
    "own type": (Coloured(), "blue"),
}


@pytest.mark.parametrize(("attribute", "given"), INVALID.values(), ids=INVALID)
def test_an_invalid_value(attribute: t.Any, given: t.Any) -> None:
    with pytest.raises(pydantic.ValidationError) as raised:
        schema_with(attribute).model_validate({"value": given})

    # Libraries put this into responses.
    assert json.dumps(raised.value.errors(include_input=False))


def test_the_document() -> None:
    schema = pydantic_model(Todo)
    time = {"format": "date-time", "type": "string"}
    null = {"type": "null"}
    assert schema.model_json_schema() == {
        "title": "TodoSchema",
        "description": "What is to be done.",
        "type": "object",
        "required": ["id", "title"],
        "properties": {
            "id": {"title": "Id", "type": "string", "minLength": 1},
            "title": {"title": "Title", "type": "string"},
            "done": {"title": "Done", "type": "boolean", "default": False},
            "due": {"title": "Due", "anyOf": [time, null], "default": None},
            "address": {"anyOf": [{"$ref": "#/$defs/AddressSchema"}, null], "default": None},
        },
        "$defs": {
            "AddressSchema": {
                "title": "AddressSchema",
                "type": "object",
                "required": ["street"],
                "properties": {
                    "street": {"title": "Street", "type": "string"},
                    "since": {"title": "Since", "anyOf": [time, null], "default": None},
                    "photo": {
                        "title": "Photo",
                        "anyOf": [{"format": "byte", "type": "string"}, null],
                        "default": None,
                    },
                },
            }
        },
    }
    assert (schema.__name__, schema.__module__) == ("TodoSchema", __name__)
    assert pydantic_model(Todo, name="NewTodo").__name__ == "NewTodo"


def test_a_map_has_one_schema_in_all_documents() -> None:
    one, two = pydantic_model(Todo), pydantic_model(Everything, name="Other")
    address, addresses = one.model_fields["address"], two.model_fields["addresses"]
    assert t.get_args(address.annotation)[0] is t.get_args(addresses.annotation)[0]


# Defaults, and what may be left out.


def echo(name: str = "x") -> str:
    return name


counter = itertools.count()
DEFAULTS: dict[str, tuple[t.Any, t.Any]] = {
    "value": (UnicodeAttribute(default="x"), "x"),
    "empty value": (NumberAttribute(default=0), 0),
    "for new": (UnicodeAttribute(default_for_new="x"), "x"),
    "function": (UnicodeAttribute(default=lambda: "x"), "x"),
    "function for new": (UnicodeAttribute(default_for_new=lambda: "x"), "x"),
    "function with a parameter": (UnicodeAttribute(default=echo), "x"),
    "bytes": (BinaryAttribute(default=b"\xff", legacy_encoding=False), b"\xff"),
    "time": (UTCDateTimeAttribute(default=NOON), NOON),
    "list": (ListAttribute(default=list), []),
    "list of maps": (
        ListAttribute(of=Address, default=lambda: [an_address(street="A")]),
        [{"street": "A", "since": None, "photo": None}],
    ),
    "map": (
        an_address(default=lambda: {"street": "A"}),
        {"street": "A", "since": None, "photo": None},
    ),
    "raw map": (MapAttribute(default=dict), {}),
    "set": (UnicodeSetAttribute(default=lambda: {"a"}), {"a"}),
    "null": (UnicodeAttribute(null=True), None),
    "null and value": (UnicodeAttribute(null=True, default="x"), "x"),
    "a set": (UnicodeSetAttribute(), None),
}


@pytest.mark.parametrize(("attribute", "default"), DEFAULTS.values(), ids=DEFAULTS)
def test_a_default(attribute: t.Any, default: t.Any) -> None:
    model = model_with(attribute)
    schema = pydantic_model(model)
    assert schema().model_dump() == {"value": default}
    assert "required" not in schema.model_json_schema()
    # As in the model itself.
    assert model(**schema().model_dump()).to_json_dict() == model().to_json_dict()


def test_a_function_is_called_for_each() -> None:
    schema = schema_with(NumberAttribute(default=lambda: next(counter)))
    assert schema().value + 1 == schema().value


def test_an_expiry_may_be_relative() -> None:
    schema = schema_with(TTLAttribute(default=t.cast(t.Any, datetime.timedelta(days=1))))
    left = schema().value - datetime.datetime.now(UTC)
    assert datetime.timedelta(hours=23) < left <= datetime.timedelta(days=1)
    assert schema(value=datetime.timedelta(days=400)).value - schema().value > left


def test_a_request_that_changes_an_item() -> None:
    schema: t.Any = pydantic_model(Todo, name="Change", exclude=["id"], optional=["title", "done"])
    assert "required" not in schema.model_json_schema()
    assert schema.model_json_schema()["properties"]["title"] == {
        "title": "Title",
        "type": "string",
    }
    assert schema().model_dump(exclude_unset=True) == {}
    assert schema(due=None).model_dump(exclude_unset=True) == {"due": None}
    assert schema(title="x").model_dump(exclude_unset=True) == {"title": "x"}
    # What is not there is not None either.
    assert schema().model_dump() == {"done": False, "due": None, "address": None}
    assert json.loads(schema().model_dump_json()) == schema().model_dump()

    with pytest.raises(pydantic.ValidationError):
        schema(title=None)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ["id", "title", "done", "due", "address"]),
        ({"include": ["title", "id"]}, ["id", "title"]),
        ({"include": []}, []),
        ({"exclude": ["address", "due"]}, ["id", "title", "done"]),
        ({"include": {"id", "title"}, "exclude": iter(["id"])}, ["title"]),
    ],
)
def test_include_and_exclude(options: dict[str, t.Any], names: list[str]) -> None:
    assert list(pydantic_model(Todo, **options).model_fields) == names


@pytest.mark.parametrize("option", ["include", "exclude", "optional"])
@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["t"], "names 't', which is not an attribute. There are: address, done, due, id, title."),
        ("title", "must be several names of attributes, like .'title'., but it is of type 'str'"),
        ([Todo.title], "which are strings, but one is of type 'UnicodeAttribute'"),
    ],
)
def test_a_wrong_name_is_an_error(option: str, names: t.Any, message: str) -> None:
    options: dict[str, t.Any] = {option: names}

    with pytest.raises(ValueError, match=f"'{option}' .*{message}"):
        pydantic_model(Todo, **options)


def test_an_optional_attribute_that_is_excluded_is_an_error() -> None:
    with pytest.raises(ValueError, match="'optional' names 'id'"):
        pydantic_model(Todo, exclude=["id"], optional=["id"])


@pytest.mark.parametrize("model", [Todo("1"), int, "Todo", None])
def test_what_is_no_model_is_an_error(model: t.Any) -> None:
    with pytest.raises(TypeError, match="'pydantic_model' takes a model"):
        pydantic_model(model)


# Names.


def test_attributes_may_have_names_that_pydantic_uses() -> None:
    names = ["model_config", "model_fields", "copy", "json", "schema", "dict", "validate", "_own"]
    names += ["model_any", "json_", "name", "self_", "cls"]
    attributes: dict[str, t.Any] = {name: UnicodeAttribute() for name in names}
    model: t.Any = ModelType("Model", (dynamo_ext.Model,), attributes)
    schema = pydantic_model(model)
    values = {name: f"the value of {name}" for name in names}
    validated = schema.model_validate(values)
    assert validated.model_dump() == validated.model_dump(mode="json") == values
    assert json.loads(validated.model_dump_json()) == values
    assert schema.model_validate(model(**validated.model_dump())).model_dump() == values
    assert schema.model_json_schema()["properties"].keys() == values.keys()


# To the model and back.


def sorted_sets(value: t.Any) -> t.Any:
    """The same, with the elements of sets in order: equal sets may be iterated over in another."""
    if isinstance(value, list):
        elements: list[t.Any] = value
        return [sorted_sets(each) for each in elements]

    if isinstance(value, dict):
        members: dict[str, t.Any] = value
        return {
            name: sorted(each) if name in {"SS", "NS", "BS"} else sorted_sets(each)
            for name, each in members.items()
        }

    return value


def test_from_a_model_and_to_a_model() -> None:
    item = everything()
    item.times = item.tags = None
    schema = pydantic_model(Everything, exclude=["times", "tags"])
    validated = schema.model_validate(item)
    again = Everything(**validated.model_dump())
    assert again.to_json_dict() == item.to_json_dict()
    serialized = [sorted_sets(each.serialize(null_check=False)) for each in (again, item)]
    assert serialized[0] == serialized[1]
    assert validated.model_dump()["kind"] is Everything
    assert validated.model_dump(mode="json")["kind"] == "everything"


def test_a_version_that_is_not_there_is_left_out() -> None:
    model = model_with(VersionAttribute())
    schema: t.Any = pydantic_model(model)
    assert schema().model_dump() == {}
    assert json.loads(schema().model_dump_json()) == {}
    assert model(**schema().model_dump()).value is None
    assert model(**schema(value=2).model_dump()).value == 2


def test_a_schema_of_a_base_takes_items_of_each_class() -> None:
    schema: t.Any = pydantic_model(Thing)
    validated = schema.model_validate(everything())
    assert validated.model_dump() == {"kind": Everything, "id": "1", "place": 2}
    assert json.loads(validated.model_dump_json()) == {"kind": "everything", "id": "1", "place": 2}
    assert schema(kind="everything", id="1", place=2) == validated

    with pytest.raises(pydantic.ValidationError, match="Input should be one of 'everything'"):
        schema(kind="other", id="1", place=2)

    # PynamoDB does not store an item that is of none of these classes.
    with pytest.raises(pydantic.ValidationError, match="Field required"):
        schema(id="1", place=2)


def test_maps_with_a_discriminator() -> None:
    class Drawing(dynamo_ext.Model):
        shape: t.Any = t.cast(t.Any, Shape)()
        shapes = ListAttribute(of=Shape, null=True)

    schema = pydantic_model(Drawing)
    values = {
        "shape": {"kind": "circle", "name": None, "radius": 1},
        "shapes": [{"kind": "square", "name": "s", "side": 2}],
    }
    validated = schema.model_validate(values)
    assert json.loads(validated.model_dump_json()) == values
    drawing = Drawing(**validated.model_dump())
    assert type(drawing.shape).__name__ == "Circle"
    assert schema.model_validate(drawing) == validated
    assert drawing.to_json_dict()["shapes"] == [{"kind": "square", "name": "s", "side": 2}]
    document = schema.model_json_schema(mode="serialization")
    assert document["properties"]["shape"] == {
        "title": "Shape",
        "oneOf": [{"$ref": f"#/$defs/{name}Schema"} for name in ("Circle", "Square")],
    }
    assert document["$defs"]["CircleSchema"]["properties"]["kind"]["enum"] == ["circle"]


def test_a_map_that_is_registered_and_has_a_subclass() -> None:
    class_of_maps: t.Any = type(Shape)
    base = class_of_maps("Pet", (MapAttribute,), {"kind": DiscriminatorAttribute()}, "pet")
    subclass = class_of_maps("Dog", (base,), {"name": UnicodeAttribute()}, "dog")
    schema = schema_with(base())
    value = schema.model_validate({"value": {"kind": "dog", "name": "Rex"}}).model_dump()["value"]
    assert type(value) is subclass
    assert type(schema.model_validate({"value": {}}).model_dump()["value"]) is base
    kinds = {
        name: each["properties"]["kind"]["enum"]
        for name, each in schema.model_json_schema()["$defs"].items()
    }
    assert kinds == {"PetSchema": ["pet"], "DogSchema": ["dog"]}


def test_a_discriminator_that_no_class_is_registered_with() -> None:
    class Bare(dynamo_ext.Model):
        kind = DiscriminatorAttribute()
        id = UnicodeAttribute(hash_key=True)

    schema: t.Any = pydantic_model(Bare)
    assert Bare(**schema(id="1").model_dump()).to_json_dict() == {"id": "1"}


def test_a_stock_model() -> None:
    class Stock(pynamodb.models.Model):
        class Meta:
            table_name = "stock"

        id = UnicodeAttribute(hash_key=True)

    schema: t.Any = pydantic_model(Stock)
    assert schema.model_validate(Stock("1")) == schema(id="1")


t.assert_type(pydantic_model(Todo), type[pydantic.BaseModel])

names = st.text("abcdef", min_size=1, max_size=3)
whole_numbers = st.integers(-(10**15), 10**15)
decimals = st.decimals(-(10**6), 10**6, places=4).map(float)
numbers = st.one_of(whole_numbers, decimals)
texts = st.text(max_size=5)
binaries = st.binary(max_size=5)
zones: st.SearchStrategy[t.Any] = st.integers(-12, 12).map(
    lambda hours: datetime.timezone(datetime.timedelta(hours=hours))
)
times = st.datetimes(
    datetime.datetime(2, 1, 1), datetime.datetime(9998, 1, 1), timezones=st.none() | zones
)
expiries = st.datetimes(
    datetime.datetime(1971, 1, 1), datetime.datetime(2999, 1, 1), timezones=zones
)
documents = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(names, inner, max_size=2)),
    max_leaves=4,
)
untyped = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        numbers,
        texts,
        binaries,
        st.sets(texts, min_size=1, max_size=2),
        st.sets(numbers, min_size=1, max_size=2),
        st.sets(binaries, min_size=1, max_size=2),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(names, inner, max_size=2)),
    max_leaves=4,
)


def sets_of(elements: st.SearchStrategy[t.Any]) -> st.SearchStrategy[t.Any]:
    return st.one_of(st.none(), st.sets(elements, min_size=1, max_size=3))


addresses = st.fixed_dictionaries(
    {"street": texts},
    optional={"since": st.one_of(st.none(), times), "photo": st.one_of(st.none(), binaries)},
)
shapes = st.one_of(
    st.fixed_dictionaries({"kind": st.just("circle"), "radius": numbers}),
    st.fixed_dictionaries({"kind": st.just("square"), "side": numbers}, optional={"name": texts}),
)
values = st.fixed_dictionaries(
    {
        "place": numbers,
        "text": texts,
        "number": numbers,
        "flag": st.booleans(),
        "binary": binaries,
        "legacy_binary": binaries,
        "document": documents.filter(lambda document: document is not None),
        "expires": expiries,
        "created": times,
        "address": addresses,
        "addresses": st.lists(addresses, max_size=2),
        "shape": shapes,
        "shapes": st.lists(shapes, max_size=2),
        "notes": st.dictionaries(names, untyped, max_size=2),
        "raw": st.dictionaries(names, untyped, max_size=2),
        "mixed": st.lists(untyped, max_size=3),
        "times": st.lists(times, max_size=2),
        "pictures": st.lists(binaries, max_size=2),
        "tags": st.lists(st.sets(texts, min_size=1, max_size=2), max_size=2),
    },
    optional={
        "texts": sets_of(texts),
        "numbers": sets_of(numbers),
        "binaries": sets_of(binaries),
        "legacy_binaries": sets_of(binaries),
        "unset": st.one_of(st.none(), texts),
    },
)
EverythingSchema = pydantic_model(Everything)


def test_from_a_schema_to_the_engine_and_back(
    in_app: InApp, embedded_config: dict[str, t.Any]
) -> None:
    ids = itertools.count()

    with in_app(embedded_config):
        Everything.create_table(wait=True)

        @hypothesis.given(values, st.booleans())
        def there_and_back(given: dict[str, t.Any], is_read_as_json: bool) -> None:
            id = str(next(ids))
            schema: t.Any = EverythingSchema.model_validate({"id": id, **given})

            if is_read_as_json:
                schema = EverythingSchema.model_validate_json(schema.model_dump_json())

            Everything(**schema.model_dump()).save()
            again = EverythingSchema.model_validate(Everything.get(id, schema.place))
            expected = {**schema.model_dump(mode="json"), "version": 1}
            assert again.model_dump(mode="json") == expected

        there_and_back()


def test_what_a_map_does_not_declare_is_the_same_in_each_form_of_json() -> None:
    notes: t.Any = EverythingSchema.model_fields["notes"].annotation
    schema = notes.model_validate({"photo": b"\x80", "texts": {"b", "a"}})
    assert schema.model_dump(mode="json", exclude_none=True) == {
        "photo": "gA==",
        "texts": ["a", "b"],
    }
    assert json.loads(schema.model_dump_json()) == schema.model_dump(mode="json")


def test_pydantic_is_imported_only_by_those_who_ask_for_it(run_python: RunPython) -> None:
    done = run_python(
        "import sys, dynamo_ext, dynamo_ext_async\n"
        "assert 'pydantic' not in sys.modules and 'pydantic_core' not in sys.modules\n"
        "sys.modules['pydantic'] = None\n"
        "import dynamo_ext.schema\n"
    )
    assert _last_line(done) == (
        "ImportError: 'dynamo_ext.schema' needs 'pydantic', which is not installed."
        ' Install the extra: pip install "dynamo-ext[schema]"'
    )


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]
