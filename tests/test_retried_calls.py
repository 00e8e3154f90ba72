"""A call that fails once and is then answered, with the checksum that DynamoDB always sends."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import json
import typing as t
import zlib

import flask
import pytest
import quart
from botocore.awsrequest import AWSResponse
from botocore.retries import standard
from pynamodb.attributes import TTLAttribute
from pynamodb.attributes import UnicodeAttribute

import stub as stubs
from conftest import InApp
from dynamo_ext_async import Model
from dynamo_ext_async import PynamoDB
from stub import Behaviour
from stub import Stub

pytestmark = pytest.mark.once(reason="each test names its transport")

TABLE = "item"
KEY = {"id": {"S": "a"}}
# More attempts than are needed: after the last one botocore looks at the reply no more.
SETTINGS = {"DYNAMODB_BASE_BACKOFF_MS": 0, "DYNAMODB_MAX_RETRY_ATTEMPTS": 3}

db = PynamoDB()


class Item(Model):
    class Meta:
        table_name = TABLE

    id = UnicodeAttribute(hash_key=True)


class ExpiringItem(Model):
    class Meta:
        table_name = TABLE

    id = UnicodeAttribute(hash_key=True)
    expires = TTLAttribute()


def found(items: cabc.Iterable[Item]) -> list[str]:
    return [item.id for item in items]


def updated() -> str:
    item = Item("a")
    item.update([Item.id.set("a")])
    return item.id


async def aupdated() -> str:
    item = Item("a")
    await item.aupdate([Item.id.set("a")])
    return item.id


def written() -> list[t.Any]:
    with Item.batch_write() as batch:
        batch.save(Item("a"))

    return t.cast("list[t.Any]", batch.pending_operations)


async def awritten() -> list[t.Any]:
    async with Item.abatch_write() as batch:
        await batch.save(Item("a"))

    return t.cast("list[t.Any]", batch.pending_operations)


def read_together() -> str:
    with db.transact_get() as transaction:
        future = transaction.get(Item, "a")

    return future.get().id


async def aread_together() -> str:
    async with db.atransact_get() as transaction:
        future = transaction.get(Item, "a")

    return future.get().id


def written_together() -> None:
    with db.transact_write() as transaction:
        transaction.save(Item("a"))


async def awritten_together() -> None:
    async with db.atransact_write() as transaction:
        transaction.save(Item("a"))


def listed() -> list[str]:
    return t.cast("list[str]", db.connection.list_tables()["TableNames"])


@dataclasses.dataclass(frozen=True)
class Call:
    """An operation, for threads and for tasks."""

    send: cabc.Callable[[], t.Any]
    asend: cabc.Callable[[], cabc.Awaitable[t.Any]]
    result: t.Any


async def aid(item: cabc.Awaitable[Item]) -> str:
    return (await item).id


def retries(reply: t.Any) -> int:
    return t.cast(int, reply["ResponseMetadata"]["RetryAttempts"])


async def aretries(reply: cabc.Awaitable[t.Any]) -> int:
    return retries(await reply)


async def agiven(items: cabc.AsyncIterator[Item]) -> list[str]:
    return [item.id async for item in items]


def described(answer: cabc.Mapping[str, t.Any] | None) -> str:
    return t.cast(str, t.cast(t.Any, answer)["TableName"])


async def adescribed() -> str:
    return described(await Item.adescribe_table())


async def adeleted() -> t.Any:
    return (await Item.adelete_table())["TableDescription"]["TableName"]


# In an order in which each works: the table is created first, and deleted last.
CALLS = {
    "CreateTable": Call(Item.create_table, Item.acreate_table, None),
    "DescribeTable": Call(lambda: described(Item.describe_table()), adescribed, TABLE),
    "UpdateTimeToLive": Call(
        lambda: ExpiringItem.update_ttl(False), lambda: ExpiringItem.aupdate_ttl(False), None
    ),
    "ListTables": Call(listed, lambda: db.run_sync(listed), [TABLE]),
    "GetItem": Call(lambda: Item.get("a").id, lambda: aid(Item.aget("a")), "a"),
    "PutItem": Call(lambda: retries(Item("a").save()), lambda: aretries(Item("a").asave()), 1),
    "UpdateItem": Call(updated, aupdated, "a"),
    "DeleteItem": Call(
        lambda: retries(Item("a").delete()), lambda: aretries(Item("a").adelete()), 1
    ),
    "Query": Call(lambda: found(Item.query("a")), lambda: agiven(Item.aquery("a")), ["a"]),
    "Scan": Call(lambda: found(Item.scan()), lambda: agiven(Item.ascan()), ["a"]),
    "BatchGetItem": Call(
        lambda: found(Item.batch_get(["a"])), lambda: agiven(Item.abatch_get(["a"])), ["a"]
    ),
    "BatchWriteItem": Call(written, awritten, []),
    "TransactGetItems": Call(read_together, aread_together, "a"),
    "TransactWriteItems": Call(written_together, awritten_together, None),
    "DeleteTable": Call(
        lambda: Item.delete_table()["TableDescription"]["TableName"], adeleted, TABLE
    ),
}


FAULTS: dict[str, Behaviour] = {
    "throttled": stubs.THROTTLE,
    "500": stubs.INTERNAL_ERROR,
    "connection lost": stubs.DROP,
    "wrong checksum": stubs.WRONG_CHECKSUM,
}
on_each_transport = pytest.mark.parametrize("transport", ["botocore", "direct"])
after_each_fault = pytest.mark.parametrize("fault", FAULTS)


@pytest.fixture
def settings(stub: Stub, stub_config: dict[str, t.Any], transport: str) -> dict[str, t.Any]:
    """Settings for an app whose server has one item in its table."""
    page = stubs.Answer(body={"Items": [KEY], "Count": 1, "ScannedCount": 1})
    stub.always("Query", page)
    stub.always("Scan", page)
    ours = {"DYNAMODB_TRANSPORT": transport, "DYNAMODB_TABLE_NAME_PREFIX": ""}
    return {**stub_config, **SETTINGS, **ours}


def requests_of(stub: Stub, operation: str) -> int:
    """How many requests of an operation came since the last time; then none did."""
    number = stub.operations.count(operation)
    stub.forget()
    return number


@on_each_transport
@after_each_fault
def test_a_call_that_fails_once_gives_the_right_result(
    stub: Stub, settings: dict[str, t.Any], fault: str
) -> None:
    app = flask.Flask("of_flask")
    app.config.from_mapping(settings)
    db.init_app(app)

    with app.app_context():
        for operation, call in CALLS.items():
            stub.next(operation, FAULTS[fault])
            assert (operation, call.send()) == (operation, call.result)
            # A table is described before it is created, too.
            assert requests_of(stub, operation) == 2


@pytest.mark.anyio
@on_each_transport
@after_each_fault
async def test_an_awaited_call_that_fails_once_gives_the_right_result(
    stub: Stub, settings: dict[str, t.Any], fault: str
) -> None:
    app = quart.Quart("of_quart")
    app.config.from_mapping(settings)
    db.init_app(app)

    async with app.app_context():
        for operation, call in CALLS.items():
            stub.next(operation, FAULTS[fault])
            assert (operation, await call.asend()) == (operation, call.result)
            assert requests_of(stub, operation) == 2


@on_each_transport
def test_a_second_attempt_says_what_botocore_says_after_a_damaged_reply(
    stub: Stub, settings: dict[str, t.Any], in_app: InApp
) -> None:
    """Until when the server may take its time follows from the date of the first reply."""
    with in_app(settings):
        Item.get("a")
        stub.next("GetItem", stubs.WRONG_CHECKSUM)
        Item.get("a")

    first, second = (dict(_fields(request)) for request in stub.requests[1:])
    assert first["attempt"] == "1"
    assert second["attempt"] == "2"
    assert second["max"] == "4"
    assert second["ttl"].endswith("Z")


def _fields(request: stubs.Request) -> list[list[str]]:
    return [part.split("=") for part in (request.header("amz-sdk-request") or "").split("; ")]


@on_each_transport
def test_whatever_decides_about_retries_is_given_the_responses_of_botocore(
    stub: Stub, settings: dict[str, t.Any], in_app: InApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an error, and of the success that follows."""
    seen: list[AWSResponse] = []
    decide = standard.RetryHandler.needs_retry

    def recorded(self: t.Any, **event: t.Any) -> t.Any:
        if event["response"] is not None:
            seen.append(event["response"][0])

        return decide(self, **event)

    monkeypatch.setattr(standard.RetryHandler, "needs_retry", recorded)

    with in_app(settings) as db:
        stub.next("GetItem", stubs.THROTTLE)
        Item.get("a")
        url = str(settings["DYNAMODB_HOST"])
        assert db.settings.transport == settings["DYNAMODB_TRANSPORT"]

    failed, succeeded = seen
    assert [response.status_code for response in seen] == [400, 200]

    for response in seen:
        assert type(response).__mro__[-2] is AWSResponse
        assert response.url.rstrip("/") == url
        assert response.headers["X-AMZ-CRC32"] == str(zlib.crc32(response.content))
        assert response.text == response.content.decode()
        assert callable(response.raw.stream)

    assert json.loads(failed.content)["message"] == "said the stub"
    assert json.loads(succeeded.content) == {"Item": KEY}
