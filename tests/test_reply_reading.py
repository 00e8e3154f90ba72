"""Items that become models while their reply is parsed: nothing differs from two steps."""

from __future__ import annotations

import base64
import collections.abc as cabc
import functools
import json
import logging
import types
import typing as t

import anyio.to_thread
import botocore.parsers
import botocore.session
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
from pynamodb.attributes import JSONAttribute
from pynamodb.attributes import ListAttribute
from pynamodb.attributes import MapAttribute
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import NumberSetAttribute
from pynamodb.attributes import TTLAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.attributes import UnicodeSetAttribute
from pynamodb.attributes import UTCDateTimeAttribute
from pynamodb.attributes import VersionAttribute
from pynamodb.exceptions import AttributeDeserializationError
from pynamodb.pagination import PageIterator
from quart import Quart

import dynamo_ext_async
from app_source import app_source
from conftest import RunPython
from dynamo_ext.calls import item_reading
from dynamo_ext.models import decoded_reply
from dynamo_ext.models import deserializer
from dynamo_ext.models import late_binding
from dynamo_ext.models import planned
from dynamo_ext.models import reply_reading
from dynamo_ext.models.reply_reader import ReplyReader
from dynamo_ext.transport import parser
from dynamo_ext.transport.direct import client as direct
from dynamo_ext_async import PynamoDB
from pictures import failure
from pictures import picture
from strength import examples
from stub import Answer
from stub import Stub
from typed_values import anything
from typed_values import binaries
from typed_values import dates
from typed_values import encoded_binaries
from typed_values import lists_of
from typed_values import maps_of
from typed_values import numbers
from typed_values import plain_maps
from typed_values import seconds
from typed_values import texts
from typed_values import typed

pytestmark = pytest.mark.once(reason="replies are parsed, or the transport is named")

Item = dict[str, t.Any]

_operation = t.cast(
    t.Any, botocore.session.get_session().get_service_model("dynamodb")
).operation_model


class Street(MapAttribute[t.Any, t.Any]):
    name = UnicodeAttribute(attr_name="n")
    number = NumberAttribute(null=True, default=1)
    since = UTCDateTimeAttribute(null=True)


class Address(MapAttribute[t.Any, t.Any]):
    floors: ListAttribute[t.Any] = ListAttribute(of=NumberAttribute, null=True)
    notes: t.Any = t.cast(t.Any, MapAttribute)(null=True)
    photo = BinaryAttribute(legacy_encoding=False, null=True)
    street: t.Any = t.cast(t.Any, Street)(null=True)
    streets: ListAttribute[t.Any] = ListAttribute(of=Street, null=True)


class Stock(dynamo_ext_async.Model):
    """An attribute of every kind of PynamoDB's that runs no code of the app."""

    class Meta:
        table_name = "stock"

    id = UnicodeAttribute(hash_key=True)
    range = BinaryAttribute(range_key=True, legacy_encoding=False, attr_name="r")
    address: t.Any = t.cast(t.Any, Address)(null=True)
    addresses: ListAttribute[t.Any] = ListAttribute(of=Address, null=True)
    binary_legacy = BinaryAttribute(legacy_encoding=True, null=True)
    binary_set = BinarySetAttribute(legacy_encoding=False, null=True)
    boolean = BooleanAttribute(null=True, default=True)
    dates: ListAttribute[t.Any] = ListAttribute(of=UTCDateTimeAttribute, null=True)
    json = JSONAttribute(null=True)
    list: ListAttribute[t.Any] = ListAttribute(null=True)
    map: t.Any = t.cast(t.Any, MapAttribute)(null=True)
    maps: ListAttribute[t.Any] = ListAttribute(of=MapAttribute, null=True)
    moment = UTCDateTimeAttribute(null=True)
    number = NumberAttribute(null=True, attr_name="num", default=7)
    numbers = NumberSetAttribute(null=True)
    text = UnicodeAttribute(null=True)
    texts = UnicodeSetAttribute(null=True)
    ttl = TTLAttribute(null=True)
    version = VersionAttribute(null=True)


class PlainTexts(Attribute[t.Any]):
    attr_type = "SS"


class Usual(Stock):
    """The same with one that the app may have changed, so that its calls are not the hub's."""

    class Meta:
        table_name = "usual"

    plain_texts = PlainTexts(null=True)


streets = maps_of(n=typed("S", texts), number=typed("N", numbers), since=dates)
addresses = maps_of(
    floors=lists_of(typed("N", numbers)),
    notes=plain_maps,
    photo=typed("B", binaries),
    street=streets,
    streets=lists_of(streets),
)
FITTING: dict[str, st.SearchStrategy[t.Any]] = {
    "id": typed("S", texts),
    "r": typed("B", binaries),
    "address": addresses,
    "addresses": lists_of(addresses),
    "binary_legacy": typed("B", encoded_binaries),
    "binary_set": typed("BS", st.lists(binaries, max_size=3)),
    "boolean": typed("BOOL", st.booleans()),
    "dates": lists_of(dates),
    "json": typed("S", st.sampled_from(['{"a": [1.5, null]}', "null", "{"])),
    "list": lists_of(anything),
    "map": plain_maps,
    "maps": lists_of(plain_maps),
    "moment": dates,
    "num": typed("N", numbers),
    "plain_texts": typed("SS", st.lists(texts, max_size=3)),
    "numbers": typed("NS", st.lists(numbers, max_size=3)),
    "text": typed("S", texts),
    "texts": typed("SS", st.lists(texts, max_size=3)),
    "ttl": typed("N", seconds),
    "version": typed("N", numbers),
}
UNUSUAL: list[t.Any] = [
    *({kind: None} for kind in ("B", "BOOL", "BS", "L", "M", "N", "NS", "NULL", "S", "SS")),
    *({kind: {}} for kind in ("B", "BS", "L", "N", "NS", "S", "SS")),
    *({kind: []} for kind in ("B", "BOOL", "L", "M", "N", "S")),
    *({kind: 5} for kind in ("B", "BOOL", "M", "N", "S", "SS")),
    {"B": "no base64"},
    {"BS": ["a", None]},
    {"SS": [["not hashable"]]},
    {"SS": "a text"},
    {"L": "a text"},
    {"L": {"a": 1}},
    {"N": "1", "NULL": True},
    {"S": "a", "X": 1},
    {"M": {}, "NULL": True},
    {"NULL": True},
    {"X": "new"},
    {},
    [],
    None,
    "S",
]


def as_json(value: t.Any) -> bytes:
    return json.dumps(value, default=lambda content: base64.b64encode(content).decode()).encode()


def response(body: t.Any) -> dict[str, t.Any]:
    return {"status_code": 200, "headers": {}, "body": as_json(body), "context": {}}


def outcome(function: cabc.Callable[[], t.Any]) -> t.Any:
    try:
        return picture(function())
    except Exception as error:
        return failure(error)


def by_pynamodb(model: type[pynamodb.models.Model], item: t.Any) -> t.Any:
    from_raw_data = t.cast(t.Any, pynamodb.models.Model.from_raw_data)
    return from_raw_data.__func__(model, item)


def in_two_steps(model: type[pynamodb.models.Model], body: t.Any) -> t.Any:
    """What botocore and PynamoDB make of the items of a reply to Query."""
    stock: t.Any = botocore.parsers.JSONParser()

    try:
        items = stock.parse(response(body), _operation("Query").output_shape)["Items"]
    except Exception as error:
        return failure(error)

    return [outcome(functools.partial(by_pynamodb, model, item)) for item in items]


Way = t.Literal["typed", "walked", "later"]
"""How items were read: decoded to objects and read, while they were walked, or after parsing."""


def reader_of(model: type[pynamodb.models.Model], way: Way) -> ReplyReader:
    """What reads the next reply, the first attempt being the given one."""
    reader = deserializer.reads_replies(model.from_raw_data)
    assert reader is not None

    while reader.typed(1_000_000) is None:
        # It was left out for a while.
        pass

    reader.note_success()

    for _ in range(3 if way == "walked" else 0):
        reader.note_refusal()

    return reader


class WatchedReading(reply_reading.Reading):
    is_typed: bool = False

    def parse(self, shape_name: str, body: bytes) -> t.Any:
        reply = super().parse(shape_name, body)
        self.is_typed = reply is not None
        return reply


def in_one_step(
    model: type[pynamodb.models.Model], body: t.Any, operation: str = "Query", way: Way = "typed"
) -> tuple[t.Any, Way]:
    """What we make of them, and how it was done."""
    reading = WatchedReading(reader_of(model, way))

    try:
        shape = _operation(operation).output_shape
        content = parser.Parser().parse(response(body), shape, reading)
    except Exception as error:
        return failure(error), "later"

    found = content["Items"] if "Items" in content else content["Responses"]["usual"]

    if reading.has_read(found):
        return picture(found), "typed" if reading.is_typed else "walked"

    return [outcome(functools.partial(model.from_raw_data, item)) for item in found], "later"


def page(*items: t.Any) -> dict[str, t.Any]:
    return {"Items": [*items], "Count": len(items), "ScannedCount": len(items)}


def agree(*items: t.Any) -> Way:
    """:return: How the items were read, where the typed way is tried first."""
    expected = in_two_steps(Usual, page(*items))
    # Without the typed way, as after many refusals.
    actual, _ = in_one_step(Usual, page(*items), way="walked")
    assert actual == expected
    actual, way = in_one_step(Usual, page(*items))
    assert actual == expected
    return way


def number(count: int) -> Item:
    return {"id": {"S": str(count)}, "r": {"B": bytes([count])}}


WHOLE: Item = {
    **number(9),
    "address": {
        "M": {
            "floors": {"L": [{"N": "1"}, {"NULL": True}]},
            "notes": {"M": {"a": {"L": [{"B": b"b"}]}, "c": {"BS": [b"d"]}}},
            "photo": {"B": b"photo"},
            "street": {"M": {"n": {"S": "High"}, "number": {"N": "2"}}},
            "streets": {"L": [{"M": {"n": {"S": "Low"}}}]},
        }
    },
    "addresses": {"L": [{"M": {}}, {"NULL": True}]},
    "binary_legacy": {"B": base64.b64encode(b"legacy")},
    "binary_set": {"BS": [b"1", b"2"]},
    "boolean": {"BOOL": False},
    "dates": {"L": [{"S": "2025-11-02T10:11:12.123456+0000"}]},
    "json": {"S": "[1, null]"},
    "list": {"L": [{"M": {"a": {"B": b"b"}}}, {"NS": ["1"]}, {"NULL": True}]},
    "map": {"M": {"a": {"B": b"b"}, "null": {"BOOL": True}}},
    "maps": {"L": [{"M": {"a": {"N": "1"}}}]},
    "moment": {"S": "2025-11-02T10:11:12.123456+0000"},
    "num": {"N": "1.5"},
    "plain_texts": {"SS": ["a", "b"]},
    "numbers": {"NS": ["1", "2.5"]},
    "text": {"S": "text"},
    "texts": {"SS": ["a", "b"]},
    "ttl": {"N": "1700000000"},
    "version": {"N": "3"},
}


def test_every_attribute_has_values_to_be_tested_with() -> None:
    names = {attribute.attr_name for attribute in Usual.get_attributes().values()}
    assert FITTING.keys() == WHOLE.keys() == names


def test_usual_items_are_read_while_their_reply_is_parsed() -> None:
    some = {name: value for name, value in WHOLE.items() if name not in {"num", "text"}}
    more = {**some, "undeclared": {"M": {"a": {"B": b"b"}}}}
    assert agree(WHOLE, some, more, number(1), {}, WHOLE) == "typed"
    assert agree(some, WHOLE) == "typed"
    assert agree() == "typed"


@pytest.mark.parametrize("name", FITTING)
def test_so_are_items_that_lack_an_attribute(name: str) -> None:
    lacking = {each: value for each, value in WHOLE.items() if each != name}
    assert agree(WHOLE, lacking, WHOLE, number(1)) == "typed"


def test_the_values_of_each_attribute_are_usual_ones() -> None:
    for name, value in WHOLE.items():
        assert agree({name: value}) == "typed"


@pytest.mark.slow
@hypothesis.settings(max_examples=examples(100))
@hypothesis.given(
    st.fixed_dictionaries(
        {},
        optional={
            **{name: st.one_of(value, value, anything) for name, value in FITTING.items()},
            "undeclared": anything,
        },
    )
)
def test_items_are_what_botocore_and_pynamodb_make_of_them(item: Item) -> None:
    agree(number(0), number(1), item, number(2))


@pytest.mark.parametrize("name", FITTING)
def test_a_value_of_any_kind_is_what_botocore_and_pynamodb_make_of_it(name: str) -> None:
    for value in UNUSUAL:
        agree(number(0), {**number(1), name: value}, number(2), number(3))

    # Where an item has all attributes, other code reads it.
    for value in UNUSUAL[len(name) % 4 :: 4]:
        agree(number(0), {**WHOLE, name: value}, number(1), number(2))


DEEPER: dict[str, cabc.Callable[[t.Any], Item]] = {
    "floors": lambda value: {"address": {"M": {"floors": {"L": [value]}}}},
    "notes": lambda value: {"address": {"M": {"notes": {"M": {"a": value}}}}},
    "street": lambda value: {"address": {"M": {"street": {"M": {"n": value}}}}},
    "streets": lambda value: {"addresses": {"L": [{"M": {"streets": {"L": [value]}}}]}},
    "dates": lambda value: {"dates": {"L": [value]}},
    "list": lambda value: {"list": {"L": [value, {"L": [value]}]}},
    "map": lambda value: {"map": {"M": {"a": value}}},
    "maps": lambda value: {"maps": {"L": [value, {"M": {"a": value}}]}},
}
UNDECLARED: dict[str, cabc.Callable[[t.Any], Item]] = {
    "in-item": lambda value: {"undeclared": value},
    "in-list": lambda value: {"undeclared": {"L": [{"B": b"b"}, value]}},
    "in-map": lambda value: {"address": {"M": {"street": {"M": {"new": value}}}}},
}


@pytest.mark.parametrize("place", DEEPER)
def test_so_is_a_value_that_is_deeper(place: str) -> None:
    for value in [*UNUSUAL, {"N": "1"}, {"S": "a"}, {"B": b"b"}]:
        agree(number(0), {"id": {"S": "1"}, **DEEPER[place](value)}, number(2), number(3))


@pytest.mark.parametrize("place", UNDECLARED)
def test_an_attribute_that_is_not_declared_is_skipped_whatever_it_is(place: str) -> None:
    """The typed way does not look at it; otherwise it could make all items of its page fail."""
    make = UNDECLARED[place]

    for value in [*UNUSUAL, {"N": "1"}, {"S": "a"}, {"B": b"b"}]:
        items = number(0), {"id": {"S": "1"}, **make(value)}, number(2), number(3)
        actual, _ = in_one_step(Usual, page(*items), way="walked")
        assert actual == in_two_steps(Usual, page(*items))
        usual = number(0), {"id": {"S": "1"}, **make({"S": "a"})}, number(2), number(3)
        expected = in_two_steps(Usual, page(*usual))
        assert in_one_step(Usual, page(*items)) == (expected, "typed")


TEXTS = [
    *("1", "-1.5e3", "1 2", " 1", "007", "NaN", "[1]", "", "9" * 38),
    "2025-01-02T03:04:05.000006+0000",
    "2025-01-02 03:04:05.000006+0000",
    "2025-01-02T03:04:05,000006+0000",
    "2025-01-02T03:04:05.000006+0100",
    "2025-W1-2T03:04:05.0000006+0000",
    "25-01-02T03:04:05.000006+0000",
]


@pytest.mark.parametrize("name", ["num", "moment", "ttl", "version", "numbers", "dates", "floors"])
def test_a_text_is_converted_as_by_pynamodb(name: str) -> None:
    for text in TEXTS:
        values: dict[str, Item] = {
            "moment": {"S": text},
            "numbers": {"NS": [text, "1"]},
            "dates": {"L": [{"S": text}]},
            "floors": {"L": [{"N": text}]},
        }
        value = values.get(name, {"N": text})
        item = DEEPER["floors"](value["L"][0]) if name == "floors" else {name: value}
        assert agree(number(0), item, {**WHOLE, **item}, number(3)) != "later"


@pytest.mark.parametrize("item", [None, [], "text", 5, {"id": []}, {"id": "text"}])
def test_so_is_what_is_no_item(item: t.Any) -> None:
    agree(number(0), item, number(1), number(2))


def of_get(item: t.Any, **more: t.Any) -> tuple[t.Any, bool]:
    """What we make of a reply to GetItem, and whether it was made while the reply was parsed."""
    plan = planned.plan(Usual.get, ("a", b"r"), {})
    assert plan is not None
    reading = t.cast(reply_reading.ReadingOfItem, plan.read)
    reader_of(Usual, "typed")
    body = response({"Item": item, **more})

    try:
        shape = _operation("GetItem").output_shape
        reply = parser.Parser().parse(body, shape, reading)
        at_once = reading.has_read(reply.get("Item"))
        return picture(plan.finish(reply)), at_once
    except Exception as error:
        return failure(error), False


def of_get_by_pynamodb(item: t.Any) -> t.Any:
    stock: t.Any = botocore.parsers.JSONParser()

    try:
        shape = _operation("GetItem").output_shape
        found = stock.parse(response({"Item": item}), shape).get("Item")

        if not found:
            raise Usual.DoesNotExist

        return picture(by_pynamodb(Usual, found))
    except Exception as error:
        return failure(error)


def test_a_single_item_is_made_while_its_reply_is_parsed() -> None:
    some = {name: value for name, value in WHOLE.items() if name not in {"num", "text"}}

    for item in (WHOLE, some, number(1), {**some, "undeclared": {"M": {"a": {"B": b"b"}}}}):
        assert of_get(item) == (of_get_by_pynamodb(item), True)
        assert of_get(item, ConsumedCapacity={"CapacityUnits": 0.5})[1]
        assert not of_get(item, New=1)[1]


@pytest.mark.parametrize("item", [{}, {"undeclared": {"S": "a"}}, None, [], "text", 5])
def test_so_is_an_item_that_has_nothing(item: t.Any) -> None:
    assert of_get(item) == (of_get_by_pynamodb(item), False)


@pytest.mark.parametrize("name", FITTING)
def test_a_single_item_is_what_botocore_and_pynamodb_make_of_it(name: str) -> None:
    for value in UNUSUAL:
        item = {**number(1), name: value}
        assert of_get(item)[0] == of_get_by_pynamodb(item)


def test_an_item_that_is_not_there_is_no_refusal() -> None:
    reader = reader_of(Usual, "typed")
    reading = reply_reading.ReadingOfItem(reader)
    assert reading.parse("GetItemOutput", b'{"ConsumedCapacity": {"CapacityUnits": 1}}') == {
        "ConsumedCapacity": {"CapacityUnits": 1}
    }
    plan = planned.plan(Usual.get, ("a", b"r"), {})
    assert plan is not None

    with pytest.raises(Usual.DoesNotExist):
        plan.finish({})


def test_what_is_refused_again_and_again_is_not_tried_for_a_while() -> None:
    reader = reader_of(Usual, "typed")
    usual, wrong = as_json(page(number(1))), as_json(page({"id": {"NULL": True}}))

    def is_read(body: bytes) -> bool:
        return reply_reading.Reading(reader).parse("QueryOutput", body) is not None

    def refused() -> int:
        """How many usual replies are not read."""
        return next(count for count in range(1000) if is_read(usual))

    for _ in range(5):
        assert not any(map(is_read, [wrong, wrong]))
        # Other replies were read meanwhile.
        assert refused() == 0

    assert not any(map(is_read, [wrong, wrong, wrong]))
    assert refused() == 100
    assert not any(map(is_read, [wrong, wrong, wrong]))
    # The attempt that is then made is refused, too.
    assert not any(is_read(usual) for _ in range(100))
    assert not is_read(wrong)
    assert refused() == 100


def test_a_model_is_known_by_some_kilobytes_before_code_is_generated_for_it() -> None:
    reader = deserializer.reads_replies(model("seen").from_raw_data)
    assert reader is not None
    assert [reader.typed(2000) is None for _ in range(6)] == [True, True, True, True, False, False]
    assert t.cast(t.Any, deserializer.reads_replies(model("large").from_raw_data)).typed(9000)


def test_an_attribute_of_any_name_is_read() -> None:
    strange = model("strange", UnicodeAttribute(attr_name='"'))
    items = {"id": {"S": "a"}, '"': {"S": "b"}}
    reader = deserializer.reads_replies(strange.from_raw_data)
    assert reader is not None
    assert reader.typed(1_000_000) is None
    reading = reply_reading.Reading(reader)
    content = parser.Parser().parse(
        response(page(*[items] * 4)), _operation("Query").output_shape, reading
    )
    assert reading.has_read(content["Items"])
    assert [(each.id, each.other) for each in content["Items"]] == [("a", "b")] * 4


def test_an_item_that_cannot_be_read_fails_alone() -> None:
    wrong = {**number(1), "num": {"S": "text"}}
    assert agree(number(0), wrong, number(2), number(3)) == "walked"
    [_, undecodable, *_], _ = read(page(number(0), wrong, number(2), number(3)))
    # Not the failure of the attempt to read it at once.
    assert undecodable.error.__context__ is None


def read(body: t.Any) -> tuple[list[t.Any], list[t.Any]]:
    """The instances, and what is left of the list from which they were taken."""
    body = json.loads(as_json(body))
    items = body["Items"]
    return reader_of(Usual, "walked").read_page(items, parser.decode), items


def test_no_item_is_kept_when_it_was_read() -> None:
    assert read(page(*[number(n) for n in range(6)]))[1] == []
    typed = t.cast(t.Any, reader_of(Usual, "typed").typed(0))
    items, _ = typed.items("QueryOutput", as_json(page(*[number(n) for n in range(6)])))
    assert len(typed.read_items(items)) == 6
    assert items == []


def test_items_of_a_batch_are_read_at_once_too() -> None:
    items = [number(n) for n in range(5)]
    expected = in_two_steps(Usual, page(*items))
    body: Item = {"Responses": {"usual": items}, "UnprocessedKeys": {}}
    assert in_one_step(Usual, body, "BatchGetItem") == (expected, "typed")
    assert in_one_step(Usual, body, "BatchGetItem", "walked") == (expected, "walked")
    body = {"Responses": {"usual": items, "other": items}, "UnprocessedKeys": {}}
    assert in_one_step(Usual, body, "BatchGetItem") == (expected, "later")


def test_so_are_those_of_a_batch_of_which_keys_are_left() -> None:
    body = {
        "Responses": {"usual": [number(n) for n in range(5)]},
        "UnprocessedKeys": {"usual": {"Keys": [number(7)]}},
    }
    assert in_one_step(Usual, body, "BatchGetItem")[1] == "typed"
    reading = reply_reading.Reading(reader_of(Usual, "typed"))
    shape = _operation("BatchGetItem").output_shape
    content = parser.Parser().parse(response(body), shape, reading)
    assert content["UnprocessedKeys"] == body["UnprocessedKeys"]


def test_what_botocore_would_log_is_botocore_s(caplog: pytest.LogCaptureFixture) -> None:
    body = page(*[number(n) for n in range(5)])
    assert in_one_step(Usual, body)[1] == "typed"

    with caplog.at_level(logging.DEBUG, botocore.parsers.__name__):
        assert in_one_step(Usual, body) == (in_two_steps(Usual, body), "later")


def test_a_reply_that_is_unusual_elsewhere_is_read_in_two_steps() -> None:
    body = {**page(*[number(n) for n in range(5)]), "ConsumedCapacity": {"New": 1}}
    assert in_one_step(Usual, body) == (in_two_steps(Usual, body), "later")
    body = {**page(*[number(n) for n in range(5)]), "New": 1}
    assert in_one_step(Usual, body) == (in_two_steps(Usual, body), "walked")


def test_another_call_with_equal_parameters_is_not_read_meanwhile() -> None:
    """Code that interrupts a call may make one of its own: those items are not ours."""
    reading = reply_reading.of_batch(Usual.from_raw_data)
    assert reading is not None
    ours, other = {"TableName": "usual"}, {"TableName": "usual"}

    with item_reading.by(reading, ours):
        assert item_reading.of(ours) is reading
        assert item_reading.of(other) is None

    assert item_reading.of(ours) is None


@pytest.mark.anyio
@pytest.mark.usefixtures("app")
@pytest.mark.parametrize("hidden", [(), ("text",)])
@pytest.mark.parametrize("limit", [None, 3, 9])
@pytest.mark.parametrize("way", ["typed", "walked"])
@pytest.mark.parametrize("wrong", [{}, {"num": {"S": "wrong"}}])
# It is not the whole key, which the second page has. Nor need it be one of the model's.
@pytest.mark.parametrize("in_key", ["id", "undeclared", "texts"])
async def test_a_page_is_the_same(
    stub: Stub, limit: int | None, hidden: tuple[str, ...], way: Way, wrong: Item, in_key: str
) -> None:
    more = {**wrong, "undeclared": {"S": "a"}}
    items = [number(0), {**WHOLE, **more}, WHOLE, number(3), number(4), {}]
    last = {in_key: {"S": "5"}}
    bodies = [{**page(*items), "LastEvaluatedKey": last}, page(*items)]
    connection = late_binding.connection(Usual)

    def query(_: t.Any, *args: t.Any, **options: t.Any) -> t.Any:
        return connection.query(*args, **options)

    def fetch_both(operation: cabc.Callable[..., t.Any], *, is_ours: bool) -> t.Any:
        stub.next("Query", *[Answer(body=json.loads(as_json(body))) for body in bodies])
        reader_of(Usual, way)
        pages: t.Any = PageIterator(operation, ("key",), {})

        for _ in bodies:
            fetch = decoded_reply.Fetch(pages, Usual.from_raw_data, limit=limit, hidden=hidden)
            found = fetch.send()
            assert found is not None
            was_read = fetch.reading is not None and fetch.reading.has_read(
                t.cast(t.Any, found.items)
            )
            assert was_read is (is_ours and not hidden and limit != 3)
            keys = [outcome(functools.partial(found.key_of, index)) for index in range(6)]
            yield picture(list(found.items)), found.number, keys

    def compare() -> None:
        # The items of what the app calls are left to it.
        of_app = types.MethodType(query, connection)
        ours = [*fetch_both(connection.query, is_ours=True)]
        assert ours == [*fetch_both(of_app, is_ours=False)]

    await anyio.to_thread.run_sync(compare)


@pytest.mark.anyio
@pytest.mark.usefixtures("app")
async def test_a_planned_page_leaves_the_iterator_as_pynamodb_does() -> None:
    table = late_binding.connection(Usual)
    last = {"id": {"S": "5"}}
    bodies = [{**page(WHOLE), "LastEvaluatedKey": last}, page(WHOLE, WHOLE)]
    sent: list[t.Any] = []

    def of_app(_: t.Any, *args: t.Any, **options: t.Any) -> t.Any:
        sent.append((args, options))
        return bodies[len(sent) - 1]

    def new(operation: t.Any) -> t.Any:
        return PageIterator(operation, ("key",), {"limit": 7, "exclusive_start_key": last})

    def state(pages: t.Any) -> dict[str, t.Any]:
        return {name: value for name, value in vars(pages).items() if name != "_operation"}

    expected, planned = new(types.MethodType(of_app, table)), new(table.query)

    for number, body in enumerate(bodies):
        next(expected)
        fetch = decoded_reply.Fetch(planned, Usual.from_raw_data)
        plan = fetch.plan()
        assert plan is not None
        # What is asked of the next pages is no matter of this one.
        planned.page_size = 5
        assert (plan.method, plan.args, plan.kwargs) == ("query", *sent[number])
        planned.page_size = 7
        plan.finish(json.loads(as_json(body)))
        assert state(planned) == state(expected)

    assert decoded_reply.Fetch(planned, Usual.from_raw_data).plan() is None


@pytest.mark.anyio
@pytest.mark.usefixtures("app")
async def test_a_page_with_a_rate_limit_is_not_planned() -> None:
    table = late_binding.connection(Usual)
    pages: t.Any = PageIterator(table.query, ("key",), {}, rate_limit=1)
    assert decoded_reply.Fetch(pages, Usual.from_raw_data).plan() is None


class Shouted(UnicodeAttribute):
    def deserialize(self, value: t.Any) -> str:
        return str(super().deserialize(value)).upper()


def model(name: str, attribute: t.Any = None, **namespace: t.Any) -> t.Any:
    meta = type("Meta", (), {"table_name": name})
    declared = {"id": UnicodeAttribute(hash_key=True), **namespace}

    if attribute is not None:
        declared["other"] = attribute

    create: t.Any = type(dynamo_ext_async.Model)
    return create(name, (dynamo_ext_async.Model,), {"Meta": meta, **declared})


class LoudMap(MapAttribute[t.Any, t.Any]):
    loud = Shouted(null=True)


class MadeMap(MapAttribute[t.Any, t.Any]):
    name = UnicodeAttribute(default=lambda: "made")


class OfItself(MapAttribute[t.Any, t.Any]):
    name = UnicodeAttribute(null=True)


OfItself.inner = OfItself._attributes["inner"] = ListAttribute(  # type: ignore[attr-defined]
    of=OfItself, null=True, attr_name="inner"
)


def overridden(cls: t.Any, data: t.Any) -> t.Any:
    return super(cls, cls).from_raw_data(data)


def initialised(self: t.Any, *args: t.Any, **kwargs: t.Any) -> None:
    super(type(self), self).__init__(*args, **kwargs)


@pytest.mark.parametrize(
    "other",
    [
        model("discriminator", DiscriminatorAttribute()),
        model("deserialize", Shouted(null=True)),
        model("element", ListAttribute(of=Shouted, null=True)),
        model("map", t.cast(t.Any, LoudMap)(null=True)),
        model("maps", ListAttribute(of=LoudMap, null=True)),
        model("default", UnicodeAttribute(default=lambda: "made")),
        model("default-of-map", t.cast(t.Any, MadeMap)(null=True)),
        model("override", from_raw_data=classmethod(overridden)),
        model("init", __init__=initialised),
    ],
    ids=lambda value: value.__name__,
)
def test_what_may_run_code_of_the_app_is_read_in_two_steps(other: t.Any) -> None:
    assert deserializer.reads_replies(other.from_raw_data) is None


def test_a_map_that_holds_itself_is_read_in_two_steps() -> None:
    other = model("of-itself", t.cast(t.Any, OfItself)(null=True))
    assert deserializer.reads_replies(other.from_raw_data) is None


def test_so_is_a_function_that_is_not_a_model_s() -> None:
    assert deserializer.reads_replies(dict) is None
    assert deserializer.reads_replies(None) is None


def test_a_patch_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert deserializer.reads_replies(Usual.from_raw_data) is not None

    with monkeypatch.context() as patch:
        patch.setattr(NumberAttribute, "deserialize", lambda self, value: f"patched {value}")
        assert deserializer.reads_replies(Usual.from_raw_data) is None

    assert deserializer.reads_replies(Usual.from_raw_data) is not None


def test_a_registered_reader_of_undeclared_values_is_heeded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(DESERIALIZE_CLASS_MAP, "S", Shouted())
    notes = model("notes", t.cast(t.Any, MapAttribute)(null=True))
    assert deserializer.reads_replies(notes.from_raw_data) is None


OF_STOCK = {name: value for name, value in WHOLE.items() if name != "plain_texts"}


@pytest.fixture
async def app(stub: Stub, stub_config: dict[str, t.Any]) -> cabc.AsyncIterator[Quart]:
    app = Quart(__name__)
    app.config.from_mapping(stub_config, DYNAMODB_TRANSPORT="direct")
    PynamoDB(app)

    async with app.app_context():
        # The first calls look at the model anew, and open a connection.
        for _ in range(2):
            stub.next("GetItem", Answer(body={}))

            with pytest.raises(Stock.DoesNotExist):
                await Stock.aget("a", b"r")

        yield app


@pytest.fixture(params=["typed", "walked", "cold"])
async def way(request: pytest.FixtureRequest, app: Quart, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the next replies are read. In the typed way nothing else may parse them."""
    if request.param == "cold":
        deserializer.renew(Stock)
    else:
        reader_of(Stock, request.param)

    if request.param == "typed":
        monkeypatch.setattr(direct._Parser, "loads", None)

    return str(request.param)


@pytest.mark.anyio
@pytest.mark.usefixtures("way")
async def test_awaited_items_and_keys_are_those_of_a_blocking_call(stub: Stub) -> None:
    last = json.loads(as_json(number(5)))
    first = json.loads(as_json({**page(*map(number, range(6))), "LastEvaluatedKey": last}))
    second = json.loads(as_json(page(*map(number, range(6, 12)))))
    stub.next("Query", Answer(body=first), Answer(body=second))
    result = Stock.aquery("hash")
    seen: list[t.Any] = []

    async for item in result:
        seen.append((picture(item), result.last_evaluated_key))

    assert [key and key["r"] for _, key in seen[:-1]] == [{"B": bytes([n])} for n in range(11)]
    assert seen[-1][1] is None
    assert [each for each, _ in seen] == [picture(by_pynamodb(Stock, number(n))) for n in range(12)]


@pytest.mark.anyio
@pytest.mark.usefixtures("app")
async def test_a_limit_ends_a_page_at_the_same_key(stub: Stub) -> None:
    body = json.loads(as_json(page(*map(number, range(6)))))
    stub.next("Query", Answer(body=body), Answer(body=body))
    result = Stock.aquery("hash", limit=5)
    assert [item.range async for item in result] == [bytes([n]) for n in range(5)]
    assert result.last_evaluated_key == number(4)


@pytest.mark.anyio
@pytest.mark.usefixtures("way")
async def test_an_awaited_batch_has_the_items_of_its_reply(stub: Stub) -> None:
    items = json.loads(as_json([number(n) for n in range(6)]))
    stub.next("BatchGetItem", Answer(body={"Responses": {"usual": items}}))
    keys = [(str(n), bytes([n])) for n in range(6)]
    found = [item async for item in Stock.abatch_get(keys)]
    assert sorted(item.range for item in found) == [bytes([n]) for n in range(6)]


@pytest.mark.anyio
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("is_scan", [False, True])
async def test_awaited_pages_have_the_items_of_their_replies(stub: Stub, is_scan: bool) -> None:
    answer = Answer(body=json.loads(as_json(page(*[OF_STOCK] * 5, number(1)))))
    stub.next("Scan" if is_scan else "Query", answer)
    found = [item async for item in (Stock.ascan() if is_scan else Stock.aquery("hash"))]
    assert picture(found) == [picture(by_pynamodb(Stock, OF_STOCK))] * 5 + [
        picture(by_pynamodb(Stock, number(1)))
    ]


@pytest.mark.anyio
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_awaited_item_is_that_of_its_reply(stub: Stub) -> None:
    stub.next("GetItem", Answer(body=json.loads(as_json({"Item": OF_STOCK}))), Answer(body={}))
    assert picture(await Stock.aget("a", b"r")) == picture(by_pynamodb(Stock, OF_STOCK))

    with pytest.raises(Stock.DoesNotExist):
        await Stock.aget("a", b"r")


@pytest.mark.anyio
@pytest.mark.usefixtures("app")
async def test_an_awaited_item_that_cannot_be_read_fails_as_in_a_blocking_call(stub: Stub) -> None:
    wrong = {"Item": json.loads(as_json({**OF_STOCK, "num": {"S": "wrong"}}))}
    stub.next("GetItem", Answer(body=wrong), Answer(body=wrong))
    reader_of(Stock, "typed")

    with pytest.raises(AttributeDeserializationError) as awaited:
        await Stock.aget("a", b"r")

    with pytest.raises(AttributeDeserializationError) as blocking:
        await anyio.to_thread.run_sync(Stock.get, "a", b"r")

    assert failure(awaited.value) == failure(blocking.value)


def test_without_msgspec_replies_are_read_all_the_same(stub: Stub, run_python: RunPython) -> None:
    items = json.loads(as_json([{"id": {"S": str(n)}} for n in range(300)]))
    body = {"Items": items, "Count": 300, "ScannedCount": 300}
    stub.next("Query", *[Answer(body=body)] * 3)
    done = run_python(
        "import sys; sys.modules['msgspec'] = None\n"
        + app_source(DYNAMODB_TRANSPORT="botocore", DYNAMODB_BLOCKING_CALLS="allow")
        + """
import importlib
with importlib.import_module("dynamo_ext.binding.context").use(app):
    print([sum(int(item.id) for item in Item.query("a")) for _ in range(3)])
""",
        stub.url,
    )
    assert (done.stdout.strip(), done.stderr) == (str([sum(range(300))] * 3), "")


# A crash would end the tests. msgspec calls this function of its own while it looks at a type.
INTERRUPTED = """
import json, sys
import msgspec._utils
from pynamodb.attributes import MapAttribute, NumberAttribute, UnicodeAttribute
from dynamo_ext import Model
from dynamo_ext.models import deserializer
from dynamo_ext.models.typed_replies import TypedReplies

ITEM = {"id": {"S": "a"}, "place": {"M": {"zip": {"N": "1"}}}}
BODY = json.dumps({"Items": [ITEM], "Count": 1, "ScannedCount": 1}).encode()
LOOKS = msgspec._utils.get_class_annotations.__code__

def typed():
    class Place(MapAttribute):
        zip = NumberAttribute()
    class Item(Model):
        id = UnicodeAttribute(hash_key=True)
        place = Place()
    reader = deserializer.reads_replies(Item.from_raw_data)
    return TypedReplies(reader._members)

def read(replies):
    items, _ = replies.items("QueryOutput", BODY)
    [item] = replies.read_items(items)
    assert (item.id, item.place.zip) == ("a", 1)

def interrupt(number):
    looks, replies = 0, None
    def profile(frame, event, argument):
        nonlocal looks
        if event == "call" and frame.f_code is LOOKS:
            looks += 1
            if looks == number:
                sys.setprofile(None)
                read(typed())
                if replies is not None:
                    read(replies)
    sys.setprofile(profile)
    replies = typed()
    read(replies)
    sys.setprofile(None)
    return looks

number = 1
while interrupt(number) >= number:
    number += 1
print(number)
"""


def test_types_may_be_used_by_other_threads_and_handlers_while_msgspec_looks_at_others(
    run_python: RunPython,
) -> None:
    done = run_python(INTERRUPTED)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 3
