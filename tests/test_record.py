"""What is told of each call: statistics, log, signal; and the readiness probe."""

from __future__ import annotations

import ast
import collections.abc as cabc
import concurrent.futures
import contextlib
import logging
import time
import typing as t

import hypothesis
import pytest
from flask import Flask
from flask import g
from hypothesis import strategies as st
from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import GetError
from pynamodb.exceptions import PutError
from pynamodb.exceptions import PynamoDBException
from pynamodb.exceptions import TableError
from pynamodb.exceptions import VerboseClientError
from quart import Quart
from quart import g as quart_g

import stub as stubs
from dynamo_ext.printable import escaped
from dynamo_ext_async import Call
from dynamo_ext_async import CallTimeout
from dynamo_ext_async import Model
from dynamo_ext_async import PynamoDB
from dynamo_ext_async import call_finished
from stub import Answer
from stub import Stub
from threads import in_same_app


class Item(Model):
    class Meta:
        table_name = "item"

    id = UnicodeAttribute(hash_key=True)
    text = UnicodeAttribute(null=True)


MakeApp = cabc.Callable[..., Flask]


@pytest.fixture
def db() -> PynamoDB:
    return PynamoDB()


@pytest.fixture
def make_app(db: PynamoDB, stub_config: dict[str, t.Any]) -> MakeApp:
    def make_app(**settings: t.Any) -> Flask:
        app = Flask(__name__)
        app.config.from_mapping(
            stub_config, DYNAMODB_BASE_BACKOFF_MS=0, DYNAMODB_TABLE_NAME_PREFIX="a-", **settings
        )
        db.init_app(app)
        return app

    return make_app


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[int, Call]]:
    return [
        (record.levelno, t.cast(t.Any, record).dynamodb_call)
        for record in caplog.records
        if record.name == "dynamo_ext.calls"
    ]


def test_statistics(make_app: MakeApp, stub: Stub, db: PynamoDB) -> None:
    stub.next("GetItem", stub._usual, stubs.INTERNAL_ERROR, stubs.THROTTLE)
    stub.always("PutItem", stubs.INTERNAL_ERROR)

    with make_app(DYNAMODB_MAX_RETRY_ATTEMPTS=2).app_context():
        Item.get("well")
        Item.get("at the third attempt")

        with pytest.raises(PutError):
            Item("never").save()

        stats = db.pool.stats()

    assert (stats.calls, stats.errors, stats.retries, stats.timeouts) == (3, 1, 4, 0)
    assert (stats.size, stats.in_use, stats.waiting) == (10, 0, 0)
    assert stats.call_seconds > 0
    assert stats.queue_seconds >= 0
    assert len(stub.requests) == 7


def test_the_wait_for_a_slot_is_told(
    make_app: MakeApp, stub: Stub, db: PynamoDB, caplog: pytest.LogCaptureFixture
) -> None:
    stub.next("DescribeTable", stubs.held(stub._usual))
    stub.next("GetItem", stubs.INTERNAL_ERROR)
    settings = {"DYNAMODB_MAX_POOL_CONNECTIONS": 1, "DYNAMODB_MAX_RETRY_ATTEMPTS": 0}

    with make_app(**settings).app_context(), concurrent.futures.ThreadPoolExecutor(2) as threads:
        pool = db.pool
        first = threads.submit(in_same_app(Item.exists))
        stub.wait_for(lambda: stub.in_flight == 1)
        second = threads.submit(in_same_app(Item.get), "x")

        while not pool.waiting:
            time.sleep(0.001)

        time.sleep(0.05)
        stub.release()
        assert not first.result()

        with pytest.raises(GetError):
            second.result()

    (call,) = (call for _, call in logged(caplog) if call.operation == "GetItem")
    assert call.queue_seconds >= 0.05
    assert f"queue_ms={call.queue_seconds * 1000:.1f}" in caplog.text
    assert pool.stats().queue_seconds >= 0.05


def test_a_failed_call_is_logged_once_with_what_matters(
    make_app: MakeApp, stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    stub.always("GetItem", stubs.THROTTLE)

    with make_app(DYNAMODB_MAX_RETRY_ATTEMPTS=1).app_context(), pytest.raises(GetError):
        Item.get("a-key-that-nobody-needs-to-see")

    ((level, call),) = logged(caplog)
    assert level == logging.WARNING
    assert (call.operation, call.model, call.table_name) == ("GetItem", "Item", "a-item")
    assert (call.attempts, call.error) == (2, "ProvisionedThroughputExceededException")
    assert "failed call: GetItem of Item, attempts=2" in caplog.text
    assert "a-key-that" not in "\n".join(
        record.getMessage() for record in caplog.records if record.name.startswith("dynamo_ext")
    )


def test_a_condition_that_does_not_hold_is_no_warning(
    make_app: MakeApp, stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "dynamo_ext")
    stub.always("PutItem", stubs.error(400, "ConditionalCheckFailedException"))

    with make_app().app_context(), pytest.raises(PutError):
        Item("x").save()

    ((level, call),) = logged(caplog)
    assert (level, call.error) == (logging.INFO, "ConditionalCheckFailedException")


def test_a_connection_that_fails_is_named(
    make_app: MakeApp, stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    stub.always("GetItem", stubs.RESET)

    with make_app(DYNAMODB_MAX_RETRY_ATTEMPTS=1).app_context(), pytest.raises(GetError):
        Item.get("x")

    ((_, call),) = logged(caplog)
    assert (call.attempts, call.error) == (2, "ConnectionClosedError")


def test_slow_calls_are_logged_where_asked_for(
    make_app: MakeApp, stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    capacity = {"TableName": "a-item", "CapacityUnits": 1.5}
    body = {"Item": {"id": {"S": "x"}}, "ConsumedCapacity": capacity}
    stub.next("GetItem", stubs.Answer(body=body, delay=0.1))

    with make_app(DYNAMODB_SLOW_CALL_MS="100").app_context():
        Item.get("x")

    ((level, call),) = logged(caplog)
    assert (level, call.error, call.consumed_capacity) == (logging.WARNING, None, 1.5)
    assert call.seconds >= 0.1
    assert "slow call: GetItem of Item, attempts=1 queue_ms=" in caplog.text
    assert f" ms={call.seconds * 1000:.1f} capacity=1.5 error=None" in caplog.text


def test_a_slow_call_is_not_logged_where_nobody_asks(
    make_app: MakeApp, stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    stub.next("GetItem", stubs.delayed(0.1, stub._usual))

    with make_app().app_context():
        Item.get("x")

    assert logged(caplog) == []


def test_a_call_that_fails_slowly_is_logged_once(
    make_app: MakeApp, stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    stub.next("GetItem", stubs.error(400, "AccessDeniedException"))

    with make_app(DYNAMODB_SLOW_CALL_MS=0).app_context(), pytest.raises(GetError):
        Item.get("x")

    ((level, call),) = logged(caplog)
    assert (level, call.error) == (logging.WARNING, "AccessDeniedException")


# Line breaks of every kind, terminal sequences, a change of direction, half a surrogate pair.
FORGERY = "x\n\r\x0b\x0c\x1c\x85\u2028\u2029WARNING root forged\x1b[31m\x00\u202e\ud800\\n\u200b"


def text_of_log(caplog: pytest.LogCaptureFixture) -> str:
    (record,) = (record for record in caplog.records if record.name == "dynamo_ext.calls")
    return logging.Formatter("%(levelname)s %(message)s").format(record)


def check_is_one_plain_line(text: str) -> None:
    assert text.isprintable()
    assert text.splitlines() == [text]
    assert text.encode()


def test_what_a_server_answers_forges_no_line(
    make_app: MakeApp, stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    stub.always("GetItem", stubs.error(400, FORGERY, FORGERY))

    with make_app().app_context(), pytest.raises(GetError):
        Item.get("x")

    text = text_of_log(caplog)
    check_is_one_plain_line(text)
    assert text.startswith("WARNING failed call: GetItem of Item, attempts=1 ")
    assert r"error=x\n\r\x0b\x0c\x1c\x85\u2028\u2029WARNING root forged\x1b[31m" in text
    ((_, call),) = logged(caplog)
    assert call.error == FORGERY


def test_a_name_forges_no_line(
    make_app: MakeApp, db: PynamoDB, stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    stub.always("DescribeTable", stubs.error(400, "AccessDeniedException"))

    with make_app().app_context(), pytest.raises(VerboseClientError):
        db.connection.describe_table(f"a{FORGERY}")

    check_is_one_plain_line(text_of_log(caplog))
    ((_, call),) = logged(caplog)
    assert call.table_name == f"a{FORGERY}"


def test_the_name_of_a_model_forges_no_line(
    make_app: MakeApp, stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    name = FORGERY.replace("\ud800", "").replace("\x00", "")
    model = t.cast(type[Item], type(name, (Item,), {}))

    with make_app(DYNAMODB_SLOW_CALL_MS=0).app_context():
        model.get("x")

    check_is_one_plain_line(text_of_log(caplog))
    ((_, call),) = logged(caplog)
    assert call.model == name


@pytest.mark.once(reason="no call is sent")
@hypothesis.example(FORGERY)
@hypothesis.example("\\n")
@hypothesis.given(st.text(st.characters(codec=None), max_size=8))
def test_escaped_text_is_one_plain_line_and_keeps_what_it_says(text: str) -> None:
    shown = escaped(text)
    check_is_one_plain_line(shown or "-")
    assert ast.literal_eval('"' + shown.replace('"', '\\"') + '"') == text


SENTINEL = "sentinel-that-is-key-and-value"


def write_batch(db: PynamoDB) -> None:
    with Item.batch_write() as batch:
        batch.save(Item(SENTINEL))


def write_transaction(db: PynamoDB) -> None:
    with db.transact_write() as transaction:
        transaction.save(Item(SENTINEL))


CALLS: dict[str, cabc.Callable[[PynamoDB], object]] = {
    "GetItem": lambda db: Item.get(SENTINEL),
    "PutItem": lambda db: Item(SENTINEL).save(Item.text == SENTINEL),
    "UpdateItem": lambda db: Item(SENTINEL).update([Item.text.set(SENTINEL)]),
    "DeleteItem": lambda db: Item(SENTINEL).delete(),
    "Query": lambda db: list(Item.query(SENTINEL)),
    "Scan": lambda db: list(Item.scan(Item.text == SENTINEL)),
    "BatchGetItem": lambda db: list(Item.batch_get([SENTINEL])),
    "BatchWriteItem": write_batch,
    "TransactWriteItems": write_transaction,
}

# DynamoDB's own messages hold keys and values at times.
ANSWERS: dict[str, Answer | None] = {
    "slow": None,
    "refused": stubs.error(400, "ValidationException", f"{SENTINEL} is wrong"),
    "cancelled": Answer(
        status=400,
        body={
            "__type": "TransactionCanceledException",
            "message": f"{SENTINEL} is there",
            "CancellationReasons": [{"Code": "DuplicateItem", "Message": SENTINEL}],
        },
    ),
    "damaged": Answer(body={"Item": {"id": {"S": SENTINEL}}}, headers={"x-amz-crc32": "1"}),
    "reset": stubs.RESET,
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_no_key_and_no_value_is_logged(
    make_app: MakeApp, db: PynamoDB, stub: Stub, caplog: pytest.LogCaptureFixture, answer: str
) -> None:
    for name in ("dynamo_ext", "dynamo_ext_async"):
        caplog.set_level(logging.DEBUG, name)

    settings = {"DYNAMODB_SLOW_CALL_MS": 0, "DYNAMODB_MAX_RETRY_ATTEMPTS": 1}
    behaviour = ANSWERS[answer]

    with make_app(**settings).app_context():
        for operation, call in CALLS.items():
            if behaviour is not None:
                stub.always(operation, behaviour)

            with pytest.raises(PynamoDBException) if behaviour else contextlib.nullcontext():
                call(db)

    records = [record for record in caplog.records if record.name.startswith("dynamo_ext")]
    assert [t.cast(t.Any, record).dynamodb_call.operation for record in records] == list(CALLS)

    for record in records:
        shown = logging.Formatter().format(record) + repr(vars(record))
        assert SENTINEL not in shown
        assert "secret-of-the-tests" not in shown


def test_calls_can_be_recorded_per_request(make_app: MakeApp, stub: Stub) -> None:
    app = make_app()

    @app.get("/")
    def view() -> list[str]:
        g.calls = []
        Item.get("x")
        Item("y").save()
        return [call.operation for call in g.calls]

    def record(sender: Flask, call: Call) -> None:
        assert sender is app
        g.calls.append(call)

    with call_finished.connected_to(record):
        assert app.test_client().get("/").json == ["GetItem", "PutItem"]


@pytest.mark.anyio
async def test_calls_in_workers_can_be_recorded_per_request(
    db: PynamoDB, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    app = Quart(__name__)
    app.config.from_mapping(stub_config)
    db.init_app(app)

    def record(sender: Quart, call: Call) -> None:
        assert sender is app
        quart_g.calls.append(call)

    with call_finished.connected_to(record):
        async with app.app_context():
            quart_g.calls = []
            await Item.aget("x")
            assert [item async for item in Item.ascan()] == []
            operations = [call.operation for call in quart_g.calls]

    assert operations == ["GetItem", "Scan"]


def test_batches_tell_the_capacity_of_all_tables_together(make_app: MakeApp, stub: Stub) -> None:
    parts = [{"TableName": name, "CapacityUnits": 2} for name in "ab"]
    stub.next("BatchWriteItem", stubs.Answer(body={"ConsumedCapacity": parts}))
    seen: list[Call] = []

    def record(sender: Flask, call: Call) -> None:
        seen.append(call)

    app = make_app()

    with call_finished.connected_to(record), app.app_context(), Item.batch_write() as batch:
        batch.save(Item("x"))

    assert [(call.consumed_capacity, call.table_name) for call in seen] == [(4, None)]


def test_ping(make_app: MakeApp, stub: Stub, db: PynamoDB) -> None:
    with make_app().app_context():
        # The time that a ping may take includes it.
        assert db.connection.client
        db.ping()
        stub.next("ListTables", stubs.error(400, "AccessDeniedException"))
        db.ping()
        stub.next("ListTables", stubs.error(400, "UnrecognizedClientException", "bad token"))

        with pytest.raises(TableError, match="bad token"):
            db.ping()

        stub.next("ListTables", stubs.held(stub._usual))

        with pytest.raises(CallTimeout, match=r"within 0\.1 s"):
            db.ping(0.1)

        stub.release()

    assert stub.operations == ["ListTables"] * 4


def test_ping_of_nobody(db: PynamoDB, stub_config: dict[str, t.Any]) -> None:
    app = Flask(__name__)
    app.config.from_mapping(
        stub_config, DYNAMODB_HOST="http://127.0.0.1:1", DYNAMODB_BASE_BACKOFF_MS=0
    )
    db.init_app(app)

    with app.app_context(), pytest.raises(TableError, match="Could not connect"):
        db.ping()


@pytest.mark.anyio
async def test_aping(db: PynamoDB, stub: Stub, stub_config: dict[str, t.Any]) -> None:
    app = Quart(__name__)
    app.config.from_mapping(stub_config)
    db.init_app(app)

    async with app.app_context():
        # The time that a ping may take includes it.
        assert db.connection.client
        await db.aping()
        stub.next("ListTables", stubs.held(stub._usual))

        with pytest.raises(CallTimeout, match=r"within 0\.1 s"):
            await db.aping(timeout=0.1)

        stub.release()


def test_a_receiver_that_fails_does_not_fail_the_call(
    make_app: MakeApp, stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(sender: Flask, call: Call) -> None:
        raise KeyError("of the receiver")

    with call_finished.connected_to(fail), make_app().app_context():
        assert Item.get("x").id == "x"

    assert "A receiver of 'call_finished' raised an exception." in caplog.text
    assert "of the receiver" in caplog.text
