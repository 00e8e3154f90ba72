"""Calls that the event loop makes itself: the same as elsewhere, and what goes on elsewhere."""

from __future__ import annotations

import asyncio
import collections.abc as cabc
import contextlib
import copy
import dataclasses
import datetime
import decimal
import functools
import itertools
import logging
import operator
import os
import threading
import typing as t
import unittest.mock

import anyio
import anyio.to_thread
import pynamodb.signals
import pytest
from pynamodb.attributes import BinaryAttribute
from pynamodb.attributes import BinarySetAttribute
from pynamodb.attributes import DiscriminatorAttribute
from pynamodb.attributes import JSONAttribute
from pynamodb.attributes import ListAttribute
from pynamodb.attributes import MapAttribute
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.attributes import UnicodeSetAttribute
from pynamodb.attributes import UTCDateTimeAttribute
from pynamodb.attributes import VersionAttribute
from pynamodb.connection.base import Connection
from pynamodb.exceptions import GetError
from pynamodb.exceptions import PutError
from pynamodb.exceptions import UpdateError
from pynamodb.indexes import AllProjection
from pynamodb.indexes import GlobalSecondaryIndex
from quart import Quart

import dynamo_ext
import marked
import stub as stubs
from app_source import app_source
from conftest import RunPython
from dynamo_ext.binding import context
from dynamo_ext.models import late_binding
from dynamo_ext.transport.direct import bodies
from dynamo_ext_async import CallTimeout
from dynamo_ext_async import Model
from dynamo_ext_async import PoolTimeout
from dynamo_ext_async import PynamoDB
from dynamo_ext_async.execution import hub
from dynamo_ext_async.execution import on_loop
from dynamo_ext_async.execution import polling
from stub import Answer
from stub import Request
from stub import Stub
from waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.once(reason="each test names its transport")]

MakeApp = cabc.Callable[..., Quart]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Item(Model):
    class Meta:
        table_name = "item"

    id = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(range_key=True)
    text = UnicodeAttribute(null=True, attr_name="t")
    content = BinaryAttribute(null=True, legacy_encoding=False)


class Texts(Model):
    class Meta:
        table_name = "texts"

    id = UnicodeAttribute(hash_key=True)
    name = UnicodeAttribute(range_key=True)


class Lone(Model):
    class Meta:
        table_name = "lone"

    id = UnicodeAttribute(hash_key=True)


class Encoded(Model):
    class Meta:
        table_name = "encoded"

    id = JSONAttribute(hash_key=True)


class Versioned(Model):
    class Meta:
        table_name = "versioned"

    id = UnicodeAttribute(hash_key=True)
    version = VersionAttribute()


@pytest.fixture
def db() -> PynamoDB:
    return PynamoDB()


@pytest.fixture
def make_app(make_direct_app: MakeApp, stub: Stub) -> MakeApp:
    """Apps that have an open connection, and send a request again at once."""
    stub.always("GetItem", found)
    return functools.partial(make_direct_app, DYNAMODB_BASE_BACKOFF_MS=0)


def found(request: Request) -> Answer:
    return Answer(body={"Item": {**request.body["Key"], "t": {"S": "stored"}}})


async def learn_to_read_items(stub: Stub) -> None:
    """Have so many bytes read that items are read while they are parsed."""
    item = {"id": {"S": "a"}, "number": {"N": "1"}, "t": {"S": "x" * 7000}}
    stub.always("GetItem", Answer(body={"Item": item}))

    for _ in range(3):
        await Item.aget("a", 1)

    stub.always("GetItem", found)


def stored(request: Request) -> Answer:
    return Answer(body={"Attributes": {**request.body["Key"], "t": {"S": "stored"}}})


@contextlib.contextmanager
def made_by_pynamodb() -> cabc.Iterator[None]:
    """Have each call made as PynamoDB makes it: somebody listens."""

    def listen(*_: t.Any, **__: t.Any) -> None:
        pass

    signal: t.Any = pynamodb.signals.pre_dynamodb_send

    with signal.connected_to(listen):
        yield


async def error_of(call: cabc.Awaitable[t.Any]) -> tuple[type[Exception], str] | None:
    try:
        await call
    except Exception as raised:
        return type(raised), str(raised)

    return None


async def told_of(call: cabc.Awaitable[t.Any], stub: Stub) -> t.Any:
    """The error of a call, and the requests that it has sent."""
    stub.forget()
    return await error_of(call), [request.body for request in stub.requests]


def hubs() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "dynamo-ext hub"]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a call has led to."""

    value: t.Any
    error: str | None
    sent: list[t.Any]
    item: dict[str, t.Any]


Do = cabc.Callable[[t.Any], cabc.Awaitable[t.Any]]

CALLS: dict[str, tuple[Do, stubs.Behaviour]] = {
    "get": (lambda item: Item.aget("a", 1), found),
    "get consistently": (lambda item: Item.aget("a", range_key=1, consistent_read=True), found),
    "get some": (lambda item: Item.aget("a", 1, attributes_to_get=["t", "id"]), found),
    "get what is not there": (lambda item: Item.aget("a", 1), Answer()),
    "get an empty item": (lambda item: Item.aget("a", 1), Answer(body={"Item": {}})),
    "get a wrong key": (lambda item: Item.aget("a", "no number"), found),
    "get with too much": (lambda item: t.cast(t.Any, Item).aget("a", 1, False, None, None), found),
    "get by texts": (lambda item: Texts.aget("a", "b"), found),
    "get by an empty text": (lambda item: Texts.aget("", "b"), found),
    "get by half a key": (lambda item: Texts.aget("a"), found),
    "get by a text alone": (lambda item: Lone.aget("a"), found),
    "get by a text too much": (lambda item: Lone.aget("a", "b"), found),
    "get by no text": (lambda item: Texts.aget(t.cast(t.Any, 1), t.cast(t.Any, None)), found),
    "get by a text to encode": (lambda item: Encoded.aget("a"), found),
    "get what can't be read": (
        lambda item: Item.aget("a", 1),
        Answer(body={"Item": {"id": {"S": "a"}, "number": {"N": "not a number"}}}),
    ),
    "save": (lambda item: item.asave(), Answer()),
    "save if": (lambda item: item.asave(Item.text.exists() & (Item.number == 2)), Answer()),
    "save not": (
        lambda item: item.asave(Item.text.exists()),
        stubs.error(400, "ConditionalCheckFailedException"),
    ),
    "save by no condition": (lambda item: item.asave("no condition"), Answer()),
    "delete": (lambda item: item.adelete(), Answer()),
    "delete if": (lambda item: item.adelete(condition=Item.text == "x"), Answer()),
    "update": (lambda item: item.aupdate([Item.text.set("new")]), stored),
    "update if": (
        lambda item: item.aupdate([Item.text.set("new")], condition=Item.number > 0),
        stored,
    ),
    "update nothing": (lambda item: item.aupdate([]), stored),
    "refresh": (lambda item: item.arefresh(), found),
    "refresh what is gone": (lambda item: item.arefresh(consistent_read=True), Answer()),
    "a server that fails": (lambda item: item.arefresh(), stubs.INTERNAL_ERROR),
    "a damaged reply": (lambda item: item.arefresh(), stubs.WRONG_CHECKSUM),
    "no JSON": (lambda item: item.arefresh(), Answer(content=b"no JSON")),
}


async def outcome_of(stub: Stub, do: Do, answer: stubs.Behaviour) -> Outcome:
    item = Item("a", 1, text="x", content=b"\0\1")
    value, error = None, None
    stub.forget()

    for operation in ("DeleteItem", "GetItem", "PutItem", "UpdateItem"):
        stub.always(operation, answer)

    try:
        value = await do(item)
    except Exception as raised:
        error = f"{type(raised).__qualname__}: {raised}"

    if isinstance(value, Model):
        value = value.attribute_values

    if isinstance(value, dict):
        value = {name: each for name, each in value.items() if name != "ResponseMetadata"}

    sent = [(request.operation, request.body) for request in stub.requests]
    return Outcome(value, error, sent, copy.deepcopy(item.attribute_values))


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_is_the_same_as_elsewhere(
    request: pytest.FixtureRequest, make_app: MakeApp, stub: Stub, name: str
) -> None:
    async with make_app(DYNAMODB_BLOCKING_CALLS="allow").app_context():
        outcome = await outcome_of(stub, *CALLS[name])

        # Each call is made as PynamoDB makes it.
        with made_by_pynamodb():
            assert outcome == await outcome_of(stub, *CALLS[name])

        # The hub makes it.
        request.getfixturevalue("announced")
        assert outcome == await outcome_of(stub, *CALLS[name])


class Street(MapAttribute[t.Any, t.Any]):
    name = UnicodeAttribute()


class Shouted(UnicodeAttribute):
    def serialize(self, value: t.Any) -> t.Any:
        return str(value).upper()


class Every(Model):
    class Meta:
        table_name = "every"

    id = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(range_key=True, attr_name="n")
    text = UnicodeAttribute(null=True)
    tags = UnicodeSetAttribute(null=True)
    contents = BinarySetAttribute(null=True, legacy_encoding=False)
    street = t.cast(t.Any, Street)(null=True)
    document = JSONAttribute(null=True)
    time = UTCDateTimeAttribute(null=True)
    parts: ListAttribute[t.Any] = ListAttribute(null=True)


class Loud(Model):
    class Meta:
        table_name = "loud"

    id = Shouted(hash_key=True)


class Misnamed(Model):
    class Meta:
        table_name = "misnamed"

    id = UnicodeAttribute(hash_key=True)
    text = UnicodeAttribute(attr_name=t.cast(t.Any, 1), null=True)


class Required(Model):
    class Meta:
        table_name = "required"

    id = UnicodeAttribute(hash_key=True)
    text = UnicodeAttribute()


SAVED: dict[str, tuple[type[Model], dict[str, t.Any]]] = {
    "usual values": (
        Every,
        {
            "id": "a",
            "number": 1.5,
            "text": "\u00e4\u2028",
            "tags": {"x"},
            "contents": {b"\0"},
            "street": t.cast(t.Any, Street)(name="x"),
            "document": {"a": [1]},
            "time": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
            "parts": [1, {"a": None}, [b"x"]],
        },
    ),
    "a key alone": (Every, {"id": "a", "number": 1}),
    "a text as its whole key": (Lone, {"id": "a"}),
    "an empty set": (Every, {"id": "a", "number": 1, "tags": set()}),
    "numbers among texts": (Every, {"id": "a", "number": 1, "tags": {1}}),
    "texts among binaries": (Every, {"id": "a", "number": 1, "contents": {"x"}}),
    "names that are no texts": (Every, {"id": "a", "number": 1, "parts": [{1: 2}]}),
    "a name of an attribute that is no text": (Misnamed, {"id": "a", "text": "x"}),
    "no Unicode": (Every, {"id": "a", "number": 1, "text": "\ud800"}),
    "a number in the place of a text": (Every, {"id": "a", "number": 1, "text": 1}),
    "a text in the place of a number": (Every, {"id": "a", "number": "1"}),
    "no range key": (Every, {"id": "a"}),
    "no hash key": (Lone, {}),
    "a value too few": (Required, {"id": "a"}),
    "code of the app": (Loud, {"id": "a"}),
    "a version": (Versioned, {"id": "a", "version": 5}),
    "the first version": (Versioned, {"id": "a"}),
}


@pytest.mark.parametrize("name", SAVED)
async def test_an_item_is_saved_as_by_pynamodb(make_app: MakeApp, stub: Stub, name: str) -> None:
    model, values = SAVED[name]

    async def outcome() -> t.Any:
        item = model()
        item.attribute_values.update(copy.deepcopy(values))
        return await told_of(item.asave(), stub), getattr(item, "version", None)

    async with make_app().app_context():
        # botocore takes part in the first one.
        await Lone("a").asave()
        ours = await outcome()

        with made_by_pynamodb():
            assert ours == await outcome()


class BytesAsName(Model):
    class Meta:
        table_name = "bytes"

    id = UnicodeAttribute(hash_key=True, attr_name=t.cast(t.Any, b"x"))


GOT: dict[str, tuple[type[Model], list[t.Any], dict[str, t.Any]]] = {
    "pairs": (Item, [("a", 1), ("b", 2)], {}),
    "texts": (Lone, ["a", "\u00e4\u2028", "a"], {}),
    "more than a request takes": (Lone, [*map(str, range(150))], {}),
    "consistently": (Lone, ["a"], {"consistent_read": True}),
    "not consistently": (Lone, ["a"], {"consistent_read": False}),
    "a Decimal for consistently": (Lone, ["a"], {"consistent_read": decimal.Decimal(1)}),
    "some attributes": (Lone, ["a"], {"attributes_to_get": ["id"]}),
    "no Unicode": (Lone, ["\ud800"], {}),
    "a name that is no text": (BytesAsName, ["a"], {}),
    "encoded keys": (Encoded, [{"a": 1}], {}),
}


@pytest.mark.parametrize("name", GOT)
async def test_a_batch_is_got_as_by_pynamodb(make_app: MakeApp, stub: Stub, name: str) -> None:
    model, keys, options = GOT[name]

    async def get() -> None:
        async for _ in model.abatch_get(keys, **options):
            pass

    async with make_app().app_context():
        # botocore takes part in the first one.
        assert [each.id async for each in Lone.abatch_get(["a"])] == ["a"]
        ours = await told_of(get(), stub)

        with made_by_pynamodb():
            assert ours == await told_of(get(), stub)


class ByText(GlobalSecondaryIndex[t.Any]):
    class Meta:
        projection = AllProjection()

    text = UnicodeAttribute(hash_key=True, attr_name="t")


class Dotted(Model):
    class Meta:
        table_name = "dotted"

    id = UnicodeAttribute(hash_key=True, attr_name="a.b[0]")
    text = UnicodeAttribute(null=True, attr_name="t")
    by_text = ByText()


class Numbered(Model):
    class Meta:
        table_name = "numbered"

    id = NumberAttribute(hash_key=True)


class OfBytes(Model):
    class Meta:
        table_name = "of-bytes"

    id = BinaryAttribute(hash_key=True, legacy_encoding=False)


class OfEncodedBytes(Model):
    class Meta:
        table_name = "of-encoded-bytes"

    id = BinaryAttribute(hash_key=True, legacy_encoding=True)


class Part(Model):
    class Meta:
        table_name = "part"

    id = UnicodeAttribute(hash_key=True)
    kind = DiscriminatorAttribute()


class SpecialPart(Part, discriminator="special"):
    pass


LAST = {"id": {"S": "a"}, "number": {"N": "1"}}
QUERIED: dict[str, tuple[type[Model], t.Any, dict[str, t.Any]]] = {
    "all items": (Item, "a", {}),
    "a text that is no Unicode": (Item, "\ud800", {}),
    "a number": (Numbered, 1.5, {}),
    "bytes": (OfBytes, b"\xff", {}),
    "encoded bytes": (OfEncodedBytes, b"\xff", {}),
    "a date for a text": (Item, datetime.date(2026, 1, 1), {}),
    "a name that looks like a path": (Dotted, "a", {}),
    "a name that is no text": (BytesAsName, "a", {}),
    "no key": (Item, None, {}),
    "consistently": (Item, "a", {"consistent_read": True}),
    "not consistently": (Item, "a", {"consistent_read": False}),
    "an int for consistently": (Item, "a", {"consistent_read": 1}),
    "backwards": (Item, "a", {"scan_index_forward": False}),
    "forwards": (Item, "a", {"scan_index_forward": True}),
    "a Decimal for backwards": (Item, "a", {"scan_index_forward": decimal.Decimal(0)}),
    "a page size": (Item, "a", {"page_size": 3}),
    "a limit": (Item, "a", {"limit": 3}),
    "a Decimal for the limit": (Item, "a", {"limit": decimal.Decimal(3)}),
    "a bool for the limit": (Item, "a", {"page_size": True}),
    "all options": (
        Item,
        "a",
        {"consistent_read": True, "scan_index_forward": False, "limit": 9, "page_size": 3},
    ),
    "a condition": (Item, "a", {"range_key_condition": Item.number > 1}),
    "a filter": (Item, "a", {"filter_condition": Item.text.exists()}),
    "some attributes": (Item, "a", {"attributes_to_get": ["id"]}),
    "no attributes": (Item, "a", {"attributes_to_get": []}),
    "behind a key": (Item, "a", {"last_evaluated_key": LAST}),
    "an index": (Dotted, "a", {"index_name": "by_text"}),
    "an index that there is not": (Item, "a", {"index_name": "by_text"}),
    "a kind of items": (SpecialPart, "a", {}),
}


@pytest.mark.parametrize("name", QUERIED)
async def test_a_query_is_sent_as_by_pynamodb(make_app: MakeApp, stub: Stub, name: str) -> None:
    model, key, options = QUERIED[name]

    async def query() -> None:
        async for _ in model.aquery(key, **options):
            pass

    stub.always("Query", Answer(body={"Items": [], "Count": 0, "ScannedCount": 0}))

    async with make_app().app_context():
        # botocore takes part in the first one.
        assert [each async for each in Lone.aquery("a")] == []
        ours = await told_of(query(), stub)

        with made_by_pynamodb():
            assert ours == await told_of(query(), stub)


async def test_a_text_for_bytes_is_sent_as_by_pynamodb(make_app: MakeApp, stub: Stub) -> None:
    stub.always("Query", Answer(body={"Items": [], "Count": 0, "ScannedCount": 0}))

    async with make_app(DYNAMODB_BLOCKING_CALLS="allow").app_context():
        table: t.Any = t.cast(t.Any, OfBytes)._get_connection()
        # botocore takes part in the first one.
        table.query("text")
        stub.forget()
        table.make_call("query", None, "text")
        table.query("text")

    ours, theirs = (request.body for request in stub.requests)
    assert ours == theirs


class Parts(Model):
    class Meta:
        table_name = "parts"

    id = UnicodeAttribute(hash_key=True)
    text = UnicodeAttribute()
    parts: ListAttribute[t.Any] = ListAttribute()


def loudly(self: t.Any, value: t.Any) -> str:
    return f"{value}!"


@pytest.mark.parametrize(
    ("kind", "of_patched"),
    [(UnicodeAttribute, {"S": "x!"}), (NumberAttribute, {"N": "1!"})],
    ids=["declared", "undeclared"],
)
async def test_a_patch_of_what_writes_a_value_takes_effect_at_the_next_save(
    make_app: MakeApp, stub: Stub, kind: t.Any, of_patched: t.Any
) -> None:
    patched = unittest.mock.patch.object(kind, "serialize", loudly)

    async with make_app(DYNAMODB_BLOCKING_CALLS="allow").app_context():
        item = Parts("a", text="x", parts=[1])
        await item.asave()

        with patched:
            await item.asave()

        # In one turn of the event loop.
        item.save()
        item.save()

        with patched:
            item.save()

    written = [
        of_patched in [request.body["Item"]["text"], *request.body["Item"]["parts"]["L"]]
        for request in stub.requests
    ]
    assert written == [False, True, False, False, True]


async def test_a_mock_of_a_connection_gets_what_pynamodb_gives_it(make_app: MakeApp) -> None:
    model, values = SAVED["usual values"]
    item = model(**values)
    args, options = t.cast(t.Any, item)._get_save_args()

    async with make_app().app_context():
        with unittest.mock.patch.object(model._get_connection(), "put_item") as put_item:
            await item.asave()

        put_item.assert_called_once_with(*args, **options)


@pytest.mark.parametrize("version", [None, 5])
@pytest.mark.parametrize("is_checked", [True, False])
@pytest.mark.parametrize("condition", [None, Versioned.id == "a"])
@pytest.mark.parametrize("answer", ["stored", "refused", "lost"])
async def test_an_update_counts_the_version_as_pynamodb_does(
    make_app: MakeApp,
    stub: Stub,
    workers: list[t.Any],
    version: int | None,
    is_checked: bool,
    condition: t.Any,
    answer: str,
) -> None:
    answers: dict[str, stubs.Behaviour] = {
        "stored": Answer(body={"Attributes": {"id": {"S": "a"}, "version": {"N": "9"}}}),
        "refused": stubs.error(400, "ConditionalCheckFailedException"),
        "lost": stubs.DROP,
    }

    async def outcome() -> t.Any:
        item = Versioned("a") if version is None else Versioned("a", version=version)
        actions: list[t.Any] = [Versioned.id.set("a")]
        stub.forget()
        error = None

        try:
            await item.aupdate(actions, condition, add_version_condition=is_checked)
        except UpdateError as raised:
            error = str(raised)

        added = [str(action) for action in actions]
        return item.version, added, error, [request.body for request in stub.requests]

    async with make_app().app_context():
        stub.always("UpdateItem", answers[answer])
        ours = await outcome()
        assert bool(workers) is (answer != "stored")
        workers.clear()

        with made_by_pynamodb():
            assert ours == await outcome()

    assert workers
    assert len(ours[1]) == 2
    assert ours[0] == (9 if answer == "stored" else version)


async def test_no_thread_takes_part(
    make_app: MakeApp, stub: Stub, workers: list[t.Any], db: PynamoDB
) -> None:
    async with make_app(DYNAMODB_MAX_POOL_CONNECTIONS=1).app_context():
        before = hubs()
        item = await Item.aget("a", 1)
        stub.always("UpdateItem", stored)

        for _ in range(2):
            await item.asave()
            await item.aupdate([Item.text.set("new")])
            await item.arefresh()
            await item.adelete()

        stats = db.pool.stats()

    assert (workers, hubs()) == ([], before)
    assert (stats.calls, stats.errors, stats.in_use) == (10, 0, 0)
    assert stats.call_seconds > 0
    assert stub.total_connections == 1
    assert len(stub.requests) == 9


async def test_each_of_many_calls_gets_its_own_answer_and_they_share_few_slots(
    make_app: MakeApp, stub: Stub, db: PynamoDB, workers: list[t.Any]
) -> None:
    names: list[str] = []

    async def get(name: str) -> None:
        names.append((await Item.aget(name, 1)).id)
        assert names[-1] == name

    async with make_app(DYNAMODB_MAX_POOL_CONNECTIONS=3).app_context():
        stub.always("GetItem", stubs.delayed(0.005, found))

        async with anyio.create_task_group() as tasks:
            for number in range(100):
                tasks.start_soon(get, str(number))

        assert sorted(names) == sorted(str(number) for number in range(100))
        assert db.pool.in_use == db.pool.waiting == 0

    assert stub.peak_in_flight == 3
    # Two more connections were opened, in worker threads.
    assert len(workers) == 2


async def test_a_version_is_counted_once(make_app: MakeApp, stub: Stub) -> None:
    async with make_app().app_context():
        item = Versioned("a")
        await item.asave()
        await item.asave()
        assert item.version == 2
        stub.next("PutItem", stubs.error(400, "ConditionalCheckFailedException"))

        with pytest.raises(PutError):
            await item.asave()

        assert item.version == 2
        stub.next("UpdateItem", Answer(body={"Attributes": {"id": {"S": "a"}}}))
        actions: list[t.Any] = [Versioned.id.set("a")]
        await item.aupdate(actions)
        await item.adelete()
        await item.adelete(Versioned.id == "a", add_version_condition=False)

    assert [request.body["Item"]["version"] for request in stub.requests[:3]] == [
        {"N": "1"},
        {"N": "2"},
        {"N": "3"},
    ]
    # PynamoDB adds the action of the version to the caller's.
    assert len(actions) == 2
    assert "ADD" in stub.requests[3].body["UpdateExpression"]
    names = [{*request.body["ExpressionAttributeNames"].values()} for request in stub.requests[4:]]
    assert names == [{"version"}, {"id"}]


async def test_a_large_reply_is_read_in_a_worker_thread(
    make_app: MakeApp, stub: Stub, workers: list[t.Any]
) -> None:
    large = Answer(body={"Item": {"id": {"S": "a"}, "number": {"N": "1"}, "t": {"S": "x" * 9000}}})

    async with make_app().app_context():
        stub.next("GetItem", large)
        assert len((await Item.aget("a", 1)).text) == 9000

    assert len(workers) == 1
    assert len(stub.requests) == 1


@pytest.mark.parametrize(
    "pieces",
    [
        (b"HTTP/1.1 200 OK\r\n", b"Content-Length: 2\r\n\r\n", b"{", b"}"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", b"0\r\n\r\n"),
    ],
)
async def test_a_reply_may_come_in_pieces(
    make_app: MakeApp, stub: Stub, workers: list[t.Any], pieces: tuple[bytes, ...]
) -> None:
    async with make_app().app_context():
        stub.next("PutItem", Answer(pieces=pieces, trickle=0.02))
        await Item("a", 1).asave()
        assert (await Item.aget("b", 1)).id == "b"

    assert workers == []
    assert stub.operations == ["PutItem", "GetItem"]


async def test_what_comes_behind_a_reply_is_no_answer_to_the_next_call(
    make_app: MakeApp, stub: Stub, db: PynamoDB
) -> None:
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    item = b'{"Item": {"id": {"S": "not asked for"}, "number": {"N": "1"}}}'
    surplus = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(item), item)

    async with make_app().app_context():
        stub.next("PutItem", Answer(pieces=(reply + surplus,)))
        await Item("a", 1).asave()
        assert (await Item.aget("b", 1)).id == "b"
        assert db.pool.stats().errors == 0


@pytest.mark.parametrize(
    "first", [stubs.THROTTLE, stubs.INTERNAL_ERROR, stubs.DROP, stubs.RESET, stubs.WRONG_CHECKSUM]
)
async def test_an_attempt_that_fails_is_the_first_of_the_usual_ones(
    make_app: MakeApp, stub: Stub, db: PynamoDB, first: Answer
) -> None:
    async with make_app(DYNAMODB_MAX_RETRY_ATTEMPTS=2).app_context():
        stub.next("GetItem", first, stubs.THROTTLE)
        assert (await Item.aget("a", 1)).text == "stored"
        stats = db.pool.stats()

    attempts = [request.header("amz-sdk-request") or "" for request in stub.requests]
    numbers = [field for each in attempts for field in each.split("; ") if "attempt" in field]
    assert numbers == ["attempt=1", "attempt=2", "attempt=3"]
    assert len({request.header("amz-sdk-invocation-id") for request in stub.requests}) == 1
    assert (stats.calls, stats.retries, stats.errors, stats.in_use) == (2, 2, 0, 0)


async def test_a_connection_that_was_closed_meanwhile_is_no_failure(
    make_app: MakeApp, stub: Stub, db: PynamoDB
) -> None:
    async with make_app().app_context():
        for number in range(3):
            assert (await Item.aget(str(number), 1)).id == str(number)
            stub.close_connections()
            await until(lambda: stub.connections == 0)

        assert db.pool.stats().errors == 0

    assert len(stub.requests) == 3


async def test_a_server_that_says_nothing(make_app: MakeApp, stub: Stub, db: PynamoDB) -> None:
    async with make_app(DYNAMODB_READ_TIMEOUT_SECONDS=0.2).app_context():
        stub.always("GetItem", stubs.HOLD)

        with pytest.raises(GetError, match="Read timeout"):
            await Item.aget("a", 1)

        assert db.pool.in_use == 0
        stub.release()
        stub.always("GetItem", found)
        assert (await Item.aget("b", 1)).id == "b"


async def test_no_slot_in_time(make_app: MakeApp, stub: Stub, db: PynamoDB) -> None:
    app = make_app(DYNAMODB_MAX_POOL_CONNECTIONS=1, DYNAMODB_POOL_TIMEOUT_SECONDS=0.1)

    async with app.app_context(), anyio.create_task_group() as tasks:
        stub.next("GetItem", stubs.held(found))
        tasks.start_soon(Item.aget, "holds the slot", 1)
        await until(lambda: stub.in_flight == 1)

        with pytest.raises(PoolTimeout):
            await Item.aget("in vain", 1)

        assert db.pool.waiting == 0
        stub.release()

    assert (db_of(db, app).timeouts, db_of(db, app).in_use) == (1, 0)
    assert len(stub.requests) == 1


def db_of(db: PynamoDB, app: Quart) -> dynamo_ext.PoolStats:
    with context.use(app):
        return db.pool.stats()


async def test_the_record_of_a_call_that_goes_on_elsewhere_begins_where_it_did(
    make_app: MakeApp, stub: Stub, db: PynamoDB
) -> None:
    async with make_app().app_context():
        before = db.pool.stats().call_seconds
        stub.next("GetItem", stubs.delayed(0.2, stubs.THROTTLE))

        with pytest.raises(GetError):
            await Item.aget("a", 1)

        assert db.pool.stats().call_seconds - before >= 0.2


@pytest.mark.parametrize("is_write", [False, True])
async def test_a_deadline_ends_the_wait_but_not_the_call(
    make_app: MakeApp, stub: Stub, db: PynamoDB, is_write: bool
) -> None:
    app = make_app(DYNAMODB_CALL_TIMEOUT_SECONDS=0.2)

    async with app.app_context():
        stub.next("PutItem" if is_write else "GetItem", stubs.held(stub._usual))

        with pytest.raises(CallTimeout) as raised:
            await (Item("a", 1).asave() if is_write else Item.aget("a", 1))

        stub.release()
        await until(lambda: db.pool.in_use == 0)
        # It was made as usual, and counts.
        assert len(stub.requests) == 1
        assert (await Item.aget("b", 1)).id == "b"

    assert getattr(raised.value, "outcome_unknown", False) is is_write


async def test_a_deadline_in_the_queue(make_app: MakeApp, stub: Stub, db: PynamoDB) -> None:
    app = make_app(DYNAMODB_MAX_POOL_CONNECTIONS=1, DYNAMODB_CALL_TIMEOUT_SECONDS=0.2)

    async with app.app_context():
        slot = db.pool.acquire(1)

        with pytest.raises(CallTimeout) as raised:
            await Item("a", 1).asave()

        slot.release()
        assert not getattr(raised.value, "outcome_unknown", False)
        assert db.pool.in_use == db.pool.waiting == 0

    assert stub.requests == []


@pytest.mark.parametrize(
    ("milliseconds", "others", "in_one_turn"),
    [
        *((0.06, 0, 8), (0.2, 0, 2), (0.3, 0, 1), (9, 0, 1)),
        *((0.2, 0.4, 2), (0.2, 1.1, 5), (0.2, 1.5, 7), (0.3, 5, 6), (9, 5, 1)),
    ],
)
async def test_other_tasks_have_their_turns_between_replies(
    make_app: MakeApp,
    stub: Stub,
    monkeypatch: pytest.MonkeyPatch,
    milliseconds: float,
    others: float,
    in_one_turn: int,
) -> None:
    """Replies that are there at once are read as long as other tasks have taken before: for half a
    millisecond at least, for two at most, or one by one."""
    number = 18
    times, cpu_times = itertools.count(), itertools.count()

    async def begin() -> list[asyncio.Task[Item]]:
        tasks = [asyncio.ensure_future(Item.aget("a", n)) for n in range(number)]
        await until(lambda: stub.holding == number)
        return tasks

    async with make_app(DYNAMODB_MAX_POOL_CONNECTIONS=number).app_context():
        stub.always("GetItem", stubs.held(found))
        # Worker threads open the connections.
        opening = await begin()
        stub.release()
        await asyncio.gather(*opening)
        tasks = await begin()
        answers = stub.answers
        monkeypatch.setattr(polling, "clock", lambda: next(times) * milliseconds / 1000)
        # It is asked at the beginning and at the end of each turn.
        monkeypatch.setattr(polling, "cpu_clock", lambda: next(cpu_times) * others / 1000)
        stub.release()
        # In this thread, so that no task goes on until all replies are there.
        stub.wait_for(lambda: stub.answers == answers + number)
        ended = [0]

        while ended[-1] < number:
            await asyncio.sleep(0)
            ended.append(sum(task.done() for task in tasks))

        await asyncio.gather(*tasks)

    assert max(map(operator.sub, ended[1:], ended)) == in_one_turn


@pytest.mark.parametrize("then", [Answer(), stubs.THROTTLE, stubs.DROP])
async def test_a_cancelled_call_that_is_on_the_wire_runs_to_its_end(
    make_app: MakeApp, stub: Stub, db: PynamoDB, then: stubs.Behaviour
) -> None:
    async with make_app(DYNAMODB_MAX_RETRY_ATTEMPTS=1).app_context():
        stub.next("PutItem", stubs.held(then))
        task = asyncio.ensure_future(Item("a", 1).asave())
        await until(lambda: stub.in_flight == 1)
        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task

        assert db.pool.in_use == 1
        assert db.pool.stats().calls == 1
        stub.release()
        await until(lambda: db.pool.in_use == 0)
        stats = db.pool.stats()

    assert (stats.calls, stats.errors) == (2, 0)
    assert len(stub.requests) == (1 if then == Answer() else 2)


@pytest.mark.parametrize("key", ["other", "a"])
async def test_a_call_of_a_receiver_gets_its_own_answer(
    make_app: MakeApp, stub: Stub, key: str
) -> None:
    """The receiver is connected while the call is on the wire, and hears of its continuation."""
    names: list[str] = []

    def receive(sender: t.Any, **signal: t.Any) -> None:
        if not names:
            names.append("begins")
            names.append(Item.get(key, 2).id)

    async with make_app().app_context():
        # Such a reply is read in a worker thread.
        large = Answer(
            body={"Item": {"id": {"S": "a"}, "number": {"N": "1"}, "t": {"S": "x" * 9000}}}
        )
        stub.next("GetItem", stubs.held(large))
        task = asyncio.ensure_future(Item.aget("a", 1))
        await until(lambda: stub.in_flight == 1)

        signal: t.Any = pynamodb.signals.pre_dynamodb_send

        with signal.connected_to(receive):
            stub.release()
            assert len((await task).text) == 9000

    assert names == ["begins", key]
    assert [request.body["Key"]["number"] for request in stub.requests] == [{"N": "1"}, {"N": "2"}]


async def test_a_call_that_is_cancelled_in_the_queue_never_runs(
    make_app: MakeApp, stub: Stub, db: PynamoDB
) -> None:
    async with make_app(DYNAMODB_MAX_POOL_CONNECTIONS=1).app_context():
        slot = db.pool.acquire(1)
        task = asyncio.ensure_future(Item("a", 1).asave())
        await until(lambda: db.pool.waiting == 1)
        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task

        assert db.pool.waiting == 0
        slot.release()
        assert db.pool.in_use == db.pool.waiting == 0

    assert stub.requests == []


async def in_scope() -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await Item("a", 1).asave()


async def in_outer_scope() -> None:
    with anyio.CancelScope() as scope, anyio.CancelScope():
        scope.cancel()
        await Item("a", 1).asave()


async def in_shielded_scope() -> None:
    with anyio.CancelScope() as scope, anyio.CancelScope(shield=True):
        scope.cancel()
        await Item("a", 1).asave()


async def in_child() -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(Item("a", 1).asave)
        group.cancel_scope.cancel()


async def by_child() -> None:
    async def save() -> None:
        group.cancel_scope.cancel()
        await Item("a", 1).asave()

    async with anyio.create_task_group() as group:
        group.start_soon(save)


@pytest.mark.parametrize(
    ("make", "requests"),
    [(in_scope, 0), (in_outer_scope, 0), (in_child, 0), (by_child, 0), (in_shielded_scope, 1)],
)
@pytest.mark.parametrize("is_known", [True, False])
async def test_a_call_in_a_scope_that_is_cancelled_never_runs(
    make_app: MakeApp,
    stub: Stub,
    monkeypatch: pytest.MonkeyPatch,
    make: cabc.Callable[[], cabc.Awaitable[None]],
    requests: int,
    *,
    is_known: bool,
) -> None:
    if not is_known:
        # As in a release of anyio that has another name for it.
        monkeypatch.setattr(on_loop, "_TASKS_IN_SCOPES", "_no_such_name")

    async with make_app().app_context():
        await make()

    assert len(stub.requests) == requests


async def test_a_slot_may_come_from_another_thread(
    make_app: MakeApp, stub: Stub, db: PynamoDB
) -> None:
    async with make_app(DYNAMODB_MAX_POOL_CONNECTIONS=1).app_context():
        # Then asyncio raises an error where another thread uses what belongs to the loop.
        asyncio.get_running_loop().set_debug(True)

        for is_connected in (True, False):
            slot = db.pool.acquire(1)
            task = asyncio.ensure_future(Item.aget("a", 1))
            await until(lambda: db.pool.waiting == 1)

            if not is_connected:
                stub.close_connections()
                await until(lambda: stub.connections == 0)

            await anyio.to_thread.run_sync(slot.release)
            assert (await task).id == "a"
            assert db.pool.in_use == 0


def test_a_loop_that_ends_leaves_its_calls_to_threads(
    make_app: MakeApp, stub: Stub, db: PynamoDB
) -> None:
    app = make_app(DYNAMODB_MAX_RETRY_ATTEMPTS=1)
    stub.next("PutItem", stubs.held(stubs.THROTTLE))

    left: list[t.Any] = []

    async def leave() -> None:
        async with app.app_context():
            left.append(asyncio.ensure_future(Item("a", 1).asave()))
            await until(lambda: stub.in_flight == 1)

    async def get() -> str:
        async with app.app_context():
            return (await Item.aget("b", 1)).id

    asyncio.run(leave())
    stub.release()
    # Sent again: the call runs to its end.
    stub.wait_for(lambda: len(stub.requests) == 2)
    assert asyncio.run(get()) == "b"

    with context.use(app):
        # The first call's thread may have its answer still before it.
        marked.wait_until(lambda: db.pool.in_use == 0)


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="counts descriptors through /proc")
def test_a_closed_loop_that_something_keeps_has_no_descriptor(make_app: MakeApp) -> None:
    app = make_app()
    loops: list[asyncio.AbstractEventLoop] = []

    async def get() -> None:
        async with app.app_context():
            await Item.aget("1")

    def descriptors_after_a_loop() -> int:
        with asyncio.Runner() as runner:
            loops.append(runner.get_loop())
            runner.run(get())

        return len(os.listdir("/proc/self/fd"))

    first, *_, last = [descriptors_after_a_loop() for _ in range(5)]
    assert last <= first


@pytest.mark.parametrize("kind", ["TOTAL", "INDEXES"])
async def test_capacity_of_a_slow_call_is_logged(
    make_app: MakeApp, stub: Stub, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    capacity: dict[str, t.Any] = {"TableName": "item", "CapacityUnits": 1.5}

    if kind == "INDEXES":
        capacity["Table"] = {"CapacityUnits": 1.5}

    body = {"Item": {"id": {"S": "a"}, "number": {"N": "1"}}, "ConsumedCapacity": capacity}

    async with make_app(DYNAMODB_SLOW_CALL_MS=0).app_context():
        await learn_to_read_items(stub)
        stub.always("GetItem", Answer(body=body))
        caplog.clear()
        assert (await Item.aget("a", 1)).id == "a"

    [record] = caplog.records
    assert "capacity=1.5" in record.getMessage()


@pytest.mark.parametrize("capacity", ["much", {"CapacityUnits": "much"}, {"Table": 1}])
async def test_capacity_that_is_none_is_an_error_as_elsewhere(
    make_app: MakeApp, stub: Stub, capacity: t.Any
) -> None:
    body = {"Item": {"id": {"S": "a"}, "number": {"N": "1"}}, "ConsumedCapacity": capacity}
    errors: list[str] = []

    async def get() -> None:
        try:
            await Item.aget("a", 1)
        except Exception as error:
            errors.append(repr(error))

    async with make_app(DYNAMODB_SLOW_CALL_MS=0, DYNAMODB_BLOCKING_CALLS="allow").app_context():
        await learn_to_read_items(stub)
        stub.always("GetItem", Answer(body=body))
        await get()

        with t.cast(t.Any, pynamodb.signals.pre_dynamodb_send).connected_to(lambda *_, **__: None):
            await get()

    assert len({*errors}) == 1
    assert len(errors) == 2


async def test_debug_records_of_botocore_s_parser_show_the_reply(
    make_app: MakeApp, stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    async with make_app().app_context():
        await learn_to_read_items(stub)

        with caplog.at_level(logging.DEBUG, "botocore.parsers"):
            assert (await Item.aget("a", 1)).text == "stored"

    assert any("stored" in record.getMessage() for record in caplog.records)


async def test_calls_that_succeed_restore_the_quota_of_retries(
    make_app: MakeApp, stub: Stub
) -> None:
    async def retries_of_a_failing_call() -> int:
        stub.forget()
        stub.always("GetItem", stubs.INTERNAL_ERROR)

        with pytest.raises(GetError):
            await Item.aget("a", 1)

        stub.always("GetItem", found)
        return len(stub.requests) - 1

    async with make_app(DYNAMODB_MAX_RETRY_ATTEMPTS=9).app_context():
        await learn_to_read_items(stub)

        while await retries_of_a_failing_call():
            pass

        # One retry costs as many as 14, and each success gives 1 back.
        for _ in range(50):
            await Item.aget("a", 1)

        assert await retries_of_a_failing_call() > 0


async def test_slow_calls_are_logged_in_another_thread(
    make_app: MakeApp, stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    async with make_app(DYNAMODB_SLOW_CALL_MS=20).app_context():
        stub.next("GetItem", stubs.delayed(0.05, found))

        caplog.clear()

        with caplog.at_level(logging.WARNING, "dynamo_ext.calls"):
            await Item.aget("a", 1)

    [record] = [each for each in caplog.records if each.message.startswith("slow call")]
    assert record.thread != threading.get_ident()
    call = t.cast(t.Any, record).dynamodb_call
    assert (call.operation, call.model) == ("GetItem", "Item")
    assert call.table_name == stub.requests[0].body["TableName"]
    assert (call.attempts, call.transport, call.error, call.items) == (1, "direct", None, 1)


@pytest.mark.parametrize("owner", ["Connection", "table.TableConnection"])
@pytest.mark.parametrize("method", ["get_item", "put_item"])
async def test_what_a_test_has_mocked_never_reaches_the_network(
    make_app: MakeApp, stub: Stub, owner: str, method: str
) -> None:
    reply = {"Item": {"id": {"S": "mocked"}, "number": {"N": "1"}}}

    async with make_app().app_context():
        await Item.aget("a", 1)
        stub.forget()

        with unittest.mock.patch(f"pynamodb.connection.{owner}.{method}", return_value=reply):
            if method == "get_item":
                assert (await Item.aget("a", 1)).id == "mocked"
            else:
                assert await Item("a", 1).asave() == reply

        assert stub.requests == []
        await Item.aget("a", 1)

    assert len(stub.requests) == 1


@pytest.mark.parametrize("owner", ["Connection", "table.TableConnection"])
async def test_a_mock_takes_effect_at_once_though_another_task_has_just_called_the_model(
    make_app: MakeApp, stub: Stub, owner: str
) -> None:
    reply = {"Item": {"id": {"S": "mocked"}, "number": {"N": "1"}}}

    async def mocked() -> str:
        with unittest.mock.patch(f"pynamodb.connection.{owner}.get_item", return_value=reply):
            return (await Item.aget("b", 1)).id

    async with make_app().app_context():
        await Item.aget("a", 1)
        # Both begin in the same turn of the event loop.
        _, found = await asyncio.gather(Item.aget("a", 1), mocked())

    assert found == "mocked"
    assert [each.body["Key"]["id"] for each in stub.requests] == [{"S": "a"}] * 2


async def test_a_patch_takes_effect_at_the_next_call(make_app: MakeApp, stub: Stub) -> None:
    threads: list[int] = []

    def deserialize(self: t.Any, value: t.Any) -> str:
        threads.append(threading.get_ident())
        return "patched"

    async with make_app().app_context():
        assert (await Item.aget("a", 1)).text == "stored"

        with unittest.mock.patch.object(UnicodeAttribute, "deserialize", deserialize):
            assert (await Item.aget("a", 1)).text == "patched"

        assert (await Item.aget("a", 1)).text == "stored"

    # It is code of the app: it does not run on the event loop.
    assert threads
    assert threading.get_ident() not in threads


async def test_a_task_that_is_cancelled_as_its_reply_is_there(
    make_app: MakeApp, stub: Stub, db: PynamoDB
) -> None:
    async with make_app(DYNAMODB_MAX_POOL_CONNECTIONS=2).app_context():
        for _ in range(30):
            task = asyncio.ensure_future(Item.aget("a", 1))
            calls = db.pool.stats().calls

            while db.pool.stats().calls == calls and not task.done():  # noqa: ASYNC110
                await asyncio.sleep(0)

            task.cancel()

            with contextlib.suppress(asyncio.CancelledError):
                await task

        await until(lambda: db.pool.in_use == 0)
        assert db.pool.stats().errors == 0


@pytest.mark.parametrize("place", ["method", "dispatch", "_make_api_call"])
@pytest.mark.parametrize("name", ["get_item", "put_item", "query", "batch_get_item"])
async def test_what_is_mocked_on_a_connection_is_called_in_a_worker(
    make_app: MakeApp, stub: Stub, workers: list[t.Any], name: str, place: str
) -> None:
    """Calls that a test has mocked never reach the network."""
    item = {"id": {"S": "a"}, "number": {"N": "1"}}
    page = {"Items": [item], "Count": 1, "ScannedCount": 1}
    reply = {"Item": item, "Responses": {"item": [item]}, **page}

    async def all_of(items: cabc.AsyncIterable[Item]) -> list[Item]:
        return [item async for item in items]

    async with make_app().app_context():
        table = late_binding.connection(Item)
        calls: dict[str, cabc.Callable[[], cabc.Awaitable[t.Any]]] = {
            "get_item": lambda: Item.aget("a", 1),
            "put_item": lambda: Item("a", 1).asave(),
            "query": lambda: all_of(Item.aquery("a")),
            "batch_get_item": lambda: all_of(Item.abatch_get([("a", 1)])),
        }
        owner, replaced = (table, name) if place == "method" else (table.connection, place)

        with unittest.mock.patch.object(owner, replaced, return_value=reply) as mocked:
            await calls[name]()

        assert mocked.call_count == len(workers) == 1
        assert not stub.requests
        await calls["get_item"]()

    assert len(stub.requests) == len(workers) == 1


@pytest.mark.parametrize("name", ["get_item", "put_item", "delete_item", "update_item"])
async def test_what_would_be_sent_is_what_pynamodb_sends(make_app: MakeApp, name: str) -> None:
    written = {"t": {"S": "x"}, "content": {"B": b"\0"}}
    every: dict[str, list[dict[str, t.Any]]] = {
        "get_item": [{}, {"consistent_read": True}, {"attributes_to_get": ["t", "id.x"]}],
        "put_item": [
            {},
            {"attributes": written},
            {"attributes": written, "condition": Item.text == "x", "return_values": "ALL_OLD"},
        ],
        "delete_item": [{}, {"condition": Item.text.exists()}],
        "update_item": [
            {"actions": [Item.text.set("y")], "return_values": "ALL_NEW"},
            {"actions": [Item.text.remove()], "condition": Item.text == "x"},
        ],
    }

    async with make_app().app_context():
        table = late_binding.connection(Item)

        for options in every[name]:
            sent: list[t.Any] = []

            def dispatch(self: t.Any, *call: t.Any, sent: list[t.Any] = sent) -> t.Any:
                sent.append(call)
                return {}

            stock = Connection(region="us-east-1")
            stock.add_meta_table(table.get_meta_table())

            with unittest.mock.patch.object(Connection, "dispatch", dispatch):
                getattr(stock, name)(table.table_name, "a", range_key="1", **options)

            [(operation, params)] = sent
            assert table.describe_call(name, ("a",), {"range_key": "1", **options}) == (
                operation,
                {**params, "ReturnConsumedCapacity": "TOTAL"},
            )


class Text(str):
    __slots__ = ()

    def __repr__(self) -> str:
        return f"Text({str(self)!r})"


@pytest.mark.parametrize("hash_key", ["a", "\ud800", Text("a"), b"a", 5, True, None], ids=ascii)
async def test_a_read_of_any_key_is_encoded_as_others_are(
    make_app: MakeApp, hash_key: t.Any
) -> None:
    class Binary(Model):
        class Meta:
            table_name = "binary"

        id = BinaryAttribute(hash_key=True, legacy_encoding=False)

    async with make_app().app_context():
        for model in (Item, Binary):
            table = late_binding.connection(model)

            for range_key, is_consistent in itertools.product(
                ["1", Text("1"), b"1", 1, None], [False, True, None, 1]
            ):
                options = {"range_key": range_key, "consistent_read": is_consistent}
                _, params = table.describe_call("get_item", (hash_key,), options)
                # Walked through, as whatever does not come from here.
                expected = bodies.encode(dict(params))
                assert (bodies.encode(params), params) == (expected, dict(params))


async def test_large_items_are_left_to_the_hub(
    make_app: MakeApp, stub: Stub, workers: list[t.Any]
) -> None:
    class Long(Model):
        class Meta:
            table_name = "long"

        id = UnicodeAttribute(hash_key=True)
        numbers: ListAttribute[t.Any] = ListAttribute(default=list)

    async with make_app().app_context():
        # The next call that wants it starts another one.
        hub.shared().stop()
        await Long("a", numbers=[1]).asave()
        assert (workers, hubs()) == ([], [])
        await Long("b", numbers=[*range(600)]).asave()
        assert (workers, len(hubs())) == ([], 1)

    assert [len(each.body["Item"]["numbers"]["L"]) for each in stub.requests] == [1, 600]


SCRIPT = (
    app_source(DYNAMODB_TRANSPORT="direct", DYNAMODB_MAX_POOL_CONNECTIONS=2)
    + """
import resource, warnings

warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork")

async def get(count=20):
    async with app.app_context():
        return len(await asyncio.gather(*(Item.aget(str(n)) for n in range(count))))

def hubs():
    return [thread.name for thread in threading.enumerate()].count("dynamo-ext hub")
"""
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system can't fork")
def test_a_forked_child_makes_its_own_calls(stub: Stub, run_warm_python: RunPython) -> None:
    done = run_warm_python(
        SCRIPT
        + """
assert asyncio.run(get()) == 20
pid = os.fork()
assert asyncio.run(get()) == 20
assert hubs() == 0

if pid == 0:
    os._exit(0)

print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
""",
        stub.url,
    )
    assert (done.stdout.strip(), done.stderr) == ("0", "")
    assert len(stub.requests) == 60


def test_no_descriptor_left_fails_one_call(stub: Stub, run_warm_python: RunPython) -> None:
    done = run_warm_python(
        SCRIPT
        + """
# Now: an import takes a descriptor, too.
import dynamo_ext_async.execution.hub

async def main():
    async with app.app_context():
        # Opens the connection, in a worker thread.
        await Item.aget("a")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        unused = os.open("/dev/null", os.O_RDONLY)
        os.close(unused)
        resource.setrlimit(resource.RLIMIT_NOFILE, (unused, hard))

        try:
            await Item.aget("b")
        except RuntimeError as error:
            print("could not be started" in str(error))

        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert db.pool.in_use == db.pool.waiting == 0

    print(await get(), hubs())

asyncio.run(main())
""",
        stub.url,
    )
    assert (done.stdout.split(), done.stderr) == (["True", "20", "0"], "")


def test_a_system_without_epoll(stub: Stub, run_python: RunPython) -> None:
    done = run_python(
        """
import select, time
# As on Windows.
del select.epoll, time.clock_gettime, time.CLOCK_MONOTONIC
"""
        + SCRIPT
        + """
assert asyncio.run(get()) == 20
print(hubs())
""",
        stub.url,
    )
    assert (done.stdout.strip(), done.stderr) == ("0", "")
