"""Blocking calls that are made as they are planned: nothing differs from PynamoDB's own way."""

from __future__ import annotations

import collections.abc as cabc
import functools
import traceback
import typing as t
import weakref
from unittest import mock

import pynamodb.signals
import pytest
from flask import Flask
from pynamodb.attributes import BinaryAttribute
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.attributes import VersionAttribute
from pynamodb.exceptions import AttributeDeserializationError
from pynamodb.exceptions import DeleteError
from pynamodb.exceptions import GetError
from pynamodb.exceptions import PutError
from pynamodb.exceptions import QueryError
from pynamodb.exceptions import UpdateError
from pynamodb.pagination import PageIterator
from pynamodb.pagination import ResultIterator

import stub as stubs
from dynamo_ext import Model
from dynamo_ext import PynamoDB
from dynamo_ext import call_finished
from dynamo_ext.client.connection import TableConnection
from dynamo_ext.models import deserializer
from dynamo_ext.models import eligibility
from dynamo_ext.models import late_binding
from dynamo_ext.transport import parser
from dynamo_ext.transport.direct import client as direct
from pictures import failure
from stub import Answer
from stub import Stub

pytestmark = [
    pytest.mark.once(reason="each test names its transport"),
    pytest.mark.usefixtures("app"),
]

Raw = dict[str, t.Any]
MANY = 12
OPERATIONS = ("Query", "Scan", "GetItem", "PutItem", "UpdateItem", "DeleteItem")


class Item(Model):
    class Meta:
        table_name = "item"

    id = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(range_key=True)
    content = BinaryAttribute(null=True, legacy_encoding=False)


class Versioned(Model):
    class Meta:
        table_name = "versioned"

    id = UnicodeAttribute(hash_key=True)
    text = UnicodeAttribute(null=True)
    version = VersionAttribute()


@pytest.fixture(params=["direct", "botocore"])
def app(
    request: pytest.FixtureRequest, stub: Stub, stub_config: dict[str, t.Any]
) -> cabc.Iterator[Flask]:
    app = Flask(__name__)
    app.config.from_mapping(stub_config, DYNAMODB_TRANSPORT=request.param)
    app.config.from_mapping(DYNAMODB_BASE_BACKOFF_MS=0, DYNAMODB_MAX_RETRY_ATTEMPTS=1)
    PynamoDB(app)
    # Otherwise the first calls are not planned.
    assert eligibility.is_stock(Item)
    assert eligibility.is_stock(Versioned)
    reader = deserializer.reads_replies(Item.from_raw_data)
    assert reader is not None

    # Few bytes are not read in the typed way.
    while reader.typed(1_000_000) is None:
        pass

    reader.note_success()

    with app.app_context():
        yield app


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replies are decoded to types, or not at all."""
    monkeypatch.setattr(direct._Parser, "loads", None)
    monkeypatch.setattr(parser.Parser, "loads", None)


def heard(function: cabc.Callable[[], t.Any]) -> t.Any:
    """What a function does where PynamoDB's own methods must make the calls."""

    def listen(*_: t.Any, **__: t.Any) -> None:
        pass

    signal: t.Any = pynamodb.signals.post_dynamodb_send

    with signal.connected_to(listen):
        return function()


def raw(number: int, **values: t.Any) -> Raw:
    return {"id": {"S": "a"}, "number": {"N": str(number)}, "content": {"B": "AAE="}, **values}


def key(number: int) -> Raw:
    return {"id": {"S": "a"}, "number": {"N": str(number)}}


def page(items: cabc.Iterable[Raw], last: int | None = None) -> Answer:
    found = [*items]
    body: Raw = {"Items": found, "Count": len(found), "ScannedCount": len(found)}
    return Answer(body=body if last is None else {**body, "LastEvaluatedKey": key(last)})


def both_ways(stub: Stub, function: cabc.Callable[[], t.Any], *answers: t.Any) -> t.Any:
    """What a function gives, which is the same both ways, as are its requests."""
    outcomes: list[t.Any] = []

    for call in (function, lambda: heard(function)):
        left = iter(answers)

        for operation in OPERATIONS:
            stub.always(operation, functools.partial(_next, left))

        outcomes.append((call(), [(each.operation, each.content) for each in stub.requests]))
        stub.forget()

    assert outcomes[0] == outcomes[1]
    return outcomes[0][0]


def _next(answers: cabc.Iterator[Answer], request: stubs.Request) -> Answer:
    return next(answers)


@pytest.mark.parametrize("kind", ["query", "scan"])
@pytest.mark.parametrize("limit", [None, 5, 99, 0])
def test_items_and_keys_of_each_step_are_pynamodb_s(
    stub: Stub, kind: str, limit: int | None
) -> None:
    def steps() -> t.Any:
        result = Item.scan(limit=limit) if kind == "scan" else Item.query("a", limit=limit)
        assert isinstance(result, ResultIterator)
        found: list[t.Any] = []

        for item in result:
            values = item.attribute_values
            found.append((type(item), values, result.last_evaluated_key, result.total_count))

        pages = result.page_iter
        return [*found, (result.last_evaluated_key, pages.total_scanned_count, result.total_count)]

    answers = page(map(raw, range(MANY)), MANY - 1), page([], 98), page([raw(99)])
    found = both_ways(stub, steps, *answers)
    assert len(found) == 1 + min(MANY + 1, MANY + 1 if limit is None else limit)
    assert limit == 0 or found[3][1:3] == (
        {"id": "a", "number": 3, "content": b"\0\1"},
        key(3),
    )


READS = ("query", "scan", "batch_get", "get")


def found_by(kind: str, stub: Stub) -> list[Item]:
    """The items that a method of the model reads."""
    numbers = range(MANY)
    stub.next("Query", page(map(raw, numbers)))
    stub.next("Scan", page(map(raw, numbers)))
    stub.next("BatchGetItem", Answer(body={"Responses": {"item": [*map(raw, numbers)]}}))
    stub.next("GetItem", Answer(body={"Item": raw(0)}))
    read: dict[str, cabc.Callable[[], list[Item]]] = {
        "query": lambda: [*Item.query("a")],
        "scan": lambda: [*Item.scan()],
        "batch_get": lambda: [*Item.batch_get([("a", number) for number in numbers])],
        "get": lambda: [Item.get("a", 0)],
    }
    return read[kind]()


@pytest.mark.usefixtures("typed")
@pytest.mark.parametrize("kind", READS)
def test_replies_are_decoded_to_types(stub: Stub, kind: str) -> None:
    found = found_by(kind, stub)
    assert [item.number for item in found] == [*range(1 if kind == "get" else MANY)]
    assert {item.content for item in found} == {b"\0\1"}


def test_an_item_that_cannot_be_read_is_an_error_when_it_is_asked_for(stub: Stub) -> None:
    def steps() -> t.Any:
        result = Item.query("a")
        before = [next(result).number for _ in range(6)]

        with pytest.raises(AttributeDeserializationError) as raised:
            next(result)

        failed_at = result.last_evaluated_key
        return before, failure(raised.value), failed_at, [item.number for item in result]

    wrong = [
        raw(number) | ({"content": {"S": "x"}} if number == 6 else {}) for number in range(MANY)
    ]
    before, _, _, behind = both_ways(stub, steps, page(wrong))
    assert (before, behind) == ([*range(6)], [*range(7, MANY)])


def test_pages_are_as_they_come(stub: Stub) -> None:
    """Who asks for pages gets what botocore would give, also between items."""

    def steps() -> t.Any:
        result = Item.query("a")
        first = [next(result).number for _ in range(MANY)]
        second = next(result.page_iter)
        return first, second["Items"], [item.number for item in result]

    answers = [page(map(raw, range(MANY)), MANY - 1), page([raw(20)], 20), page([raw(21)])]
    first, second, third = both_ways(stub, steps, *answers)
    assert (len(first), third) == (MANY, [21])
    assert second == [{**key(20), "content": {"B": b"\0\1"}}]


def test_who_listens_from_the_second_page_on_hears_of_that_page_alone(stub: Stub) -> None:
    """A page that is read afterwards comes behind one that was read at once, and before."""
    bounds = (0, MANY, 2 * MANY), (MANY, 2 * MANY, 3 * MANY)
    answers = [page(map(raw, range(*each)), each[1] - 1) for each in zip(*bounds, strict=True)]
    stub.next("Query", *answers, page([]))
    result = Item.query("a")
    listening: t.Any = None
    found: list[t.Any] = []

    operations: list[str] = []

    def listen(*_: t.Any, operation_name: str, **__: t.Any) -> None:
        operations.append(operation_name)

    signal: t.Any = pynamodb.signals.post_dynamodb_send

    for item in result:
        found.append((item.number, item.content, result.last_evaluated_key))

        if item.number == MANY - 1:
            listening = signal.connect(listen)
        elif item.number == 2 * MANY - 1:
            signal.disconnect(listening)

    assert found == [(number, b"\0\1", key(number)) for number in range(3 * MANY)]
    assert operations == ["Query"]


CALLS: dict[str, tuple[cabc.Callable[[], t.Any], Raw, type[Exception]]] = {
    "get": (lambda: Item.get("a", 1).attribute_values, {"Item": raw(1)}, GetError),
    "get nothing": (lambda: outcome(lambda: Item.get("a", 1)), {}, GetError),
    "refresh": (lambda: of_item(lambda item: item.refresh(True)), {"Item": raw(1)}, GetError),
    "save": (lambda: of_item(lambda item: item.save(Item.content.exists())), {}, PutError),
    "delete": (lambda: of_item(lambda item: item.delete()), {}, DeleteError),
    "update": (
        lambda: of_item(lambda item: item.update([Item.content.set(b"2")])),
        {"Attributes": raw(1)},
        UpdateError,
    ),
    "update a version": (
        lambda: of_version(lambda item: item.update([Versioned.text.set("x")])),
        {"Attributes": {"id": {"S": "a"}, "version": {"N": "4"}}},
        UpdateError,
    ),
    "query": (
        lambda: [item.number for item in Item.query("a")],
        {**page([raw(1)]).body},
        QueryError,
    ),
}


def outcome(function: cabc.Callable[[], t.Any]) -> t.Any:
    try:
        return function()
    except Exception as error:
        return failure(error)


def of_item(call: cabc.Callable[[Item], t.Any]) -> t.Any:
    item = Item("a", 1, content=b"1")
    reply = call(item)
    content = reply and {name: reply[name] for name in reply if name != "ResponseMetadata"}
    return content, item.attribute_values


def of_version(call: cabc.Callable[[Versioned], t.Any]) -> t.Any:
    item = Versioned("a", version=3)
    call(item)
    return item.attribute_values


def modules_of(function: cabc.Callable[[], t.Any]) -> set[str]:
    """The modules that are between a caller and the end of its call."""
    found: set[str] = set()

    def note(*_: t.Any, **__: t.Any) -> None:
        found.update(str(frame.f_globals["__name__"]) for frame, _ in traceback.walk_stack(None))

    with call_finished.connected_to(note):
        function()

    return found


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_pynamodb_s_without_pynamodb(stub: Stub, name: str) -> None:
    call, body, _ = CALLS[name]
    both_ways(stub, call, Answer(body=body))

    for operation in OPERATIONS:
        stub.next(operation, Answer(body=body))

    assert not {"pynamodb.models", "pynamodb.connection.table"} & modules_of(call)


@pytest.mark.parametrize(
    "answer",
    [
        stubs.error(400, "ValidationException"),
        stubs.error(400, "ConditionalCheckFailedException"),
        stubs.INTERNAL_ERROR,
        stubs.DROP,
    ],
    ids=["refused", "condition", "internal", "dropped"],
)
@pytest.mark.parametrize("name", CALLS)
def test_an_error_is_pynamodb_s(stub: Stub, name: str, answer: stubs.Behaviour) -> None:
    call, _, kind = CALLS[name]

    def fail() -> t.Any:
        with pytest.raises(kind if name != "get nothing" else ()) as raised:
            call()

        error: t.Any = raised.value
        return failure(error), getattr(error, "outcome_unknown", None), failure(error.cause)

    if name == "get nothing":
        both_ways(stub, call, answer, answer)
    else:
        _, is_unknown, _ = both_ways(stub, fail, answer, answer)
        writes = {"save", "update", "update a version", "delete"}
        is_lost = answer in (stubs.INTERNAL_ERROR, stubs.DROP)
        assert bool(is_unknown) is (name in writes and is_lost)


@pytest.mark.parametrize("name", ["get", "save", "query"])
@pytest.mark.parametrize("place", ["method of the connection", "dispatch", "class"])
def test_whatever_is_replaced_is_called(stub: Stub, name: str, place: str) -> None:
    method = {"get": "get_item", "save": "put_item", "query": "query"}[name]
    call, _, _ = CALLS[name]
    table = late_binding.connection(Item)
    item = {**raw(1), "content": {"B": b"\0\1"}}
    reply = {"Item": item, "Items": [item], "Count": 1, "ScannedCount": 1}
    owner: t.Any = {"class": TableConnection, "dispatch": table.connection}.get(place, table)
    replaced = "dispatch" if place == "dispatch" else method

    called: list[str] = []

    def dispatch(operation_name: str, operation_kwargs: Raw) -> Raw:
        called.append(operation_name)
        return reply

    def call_instead(*_: t.Any, **__: t.Any) -> Raw:
        called.append(method)
        return reply

    with mock.patch.object(owner, replaced, dispatch if place == "dispatch" else call_instead):
        call()

    assert len(called) == 1
    assert not stub.requests


def test_a_replaced_iterator_is_asked(stub: Stub) -> None:
    replies = [{**page([]).body, "Items": [raw(number)], "Count": 1} for number in range(2)]

    with mock.patch.object(PageIterator, "__next__", side_effect=[*replies, StopIteration]):
        assert [item.number for item in Item.query("a")] == [0, 1]

    assert not stub.requests


def test_a_wrapped_iterator_sees_pages_as_they_come(stub: Stub) -> None:
    stub.next("Query", page(map(raw, range(MANY))))
    following: t.Any = PageIterator.__next__
    seen: list[Raw] = []

    def wrapped(pages: PageIterator[t.Any]) -> t.Any:
        reply = following(pages)
        seen.append(reply["Items"][1])
        return reply

    with mock.patch.object(PageIterator, "__next__", wrapped):
        assert [item.number for item in Item.query("a")] == [*range(MANY)]

    assert seen == [{**key(1), "content": {"B": b"\0\1"}}]


def test_a_connection_of_an_instance_is_asked(stub: Stub) -> None:
    item = Item("a", 1)
    other = mock.Mock()
    t.cast(t.Any, item)._get_connection = lambda: other
    item.save()
    assert other.put_item.called
    assert not stub.requests


def test_the_first_calls_of_a_model_are_left_to_pynamodb(stub: Stub) -> None:
    """To find out whether a model runs code of the app takes longer than a few calls gain."""

    class Once(Model):
        class Meta:
            table_name = "once"

        id = UnicodeAttribute(hash_key=True)

    stub.always("PutItem", Answer())
    found = ["pynamodb.models" in modules_of(Once("a").save) for _ in range(25)]
    assert found == [True] * 20 + [False] * 5


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("kind", READS)
def test_items_are_freed_without_the_garbage_collector(stub: Stub, kind: str) -> None:
    """It would look at all items of a process again and again, and stop the process meanwhile."""
    found = found_by(kind, stub)
    references = [weakref.ref(item) for item in found]
    del found
    assert [reference() for reference in references] == [None] * len(references)


@pytest.mark.usefixtures("uncollected")
def test_errors_are_freed_without_the_garbage_collector(stub: Stub) -> None:
    stub.next("GetItem", stubs.error(400, "ValidationException"))
    reference: weakref.ref[BaseException] | None = None

    try:
        Item.get("a", 0)
    except GetError as error:
        reference = weakref.ref(t.cast(BaseException, error.cause))

    assert reference is not None
    assert reference() is None
