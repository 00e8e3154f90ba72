"""Whatever a network or a server does wrong: what becomes of the call, and of the next one."""

from __future__ import annotations

import collections.abc as cabc
import concurrent.futures
import dataclasses
import re
import typing as t

import botocore.exceptions
import flask
import pynamodb.exceptions
import pytest
import quart
from pynamodb.attributes import UnicodeAttribute

import stub as stubs
from dynamo_ext.errors import DamagedReply
from dynamo_ext_async import CallTimeout
from dynamo_ext_async import Model
from dynamo_ext_async import PynamoDB
from stub import Answer
from stub import Behaviour
from stub import Stub

pytestmark = pytest.mark.wire

ATTEMPTS = 3
SETTINGS = {"DYNAMODB_BASE_BACKOFF_MS": 0, "DYNAMODB_MAX_RETRY_ATTEMPTS": ATTEMPTS - 1}
HTML = b"<html><body>of a proxy</body></html>"


class Item(Model):
    class Meta:
        table_name = "item"

    id = UnicodeAttribute(hash_key=True)


async def aquery() -> list[str]:
    return [item.id async for item in Item.aquery("a")]


@dataclasses.dataclass(frozen=True)
class Call:
    """A call, for threads and for tasks."""

    operation: str
    send: cabc.Callable[[], t.Any]
    asend: cabc.Callable[[], cabc.Awaitable[t.Any]]
    error: type[pynamodb.exceptions.PynamoDBException]
    """What PynamoDB makes of a failure."""


CALLS = {
    "get": Call(
        "GetItem", lambda: Item.get("a"), lambda: Item.aget("a"), pynamodb.exceptions.GetError
    ),
    "put": Call(
        "PutItem",
        lambda: Item("a").save(),
        lambda: Item("a").asave(),
        pynamodb.exceptions.PutError,
    ),
    "query": Call("Query", lambda: list(Item.query("a")), aquery, pynamodb.exceptions.QueryError),
}


@dataclasses.dataclass(frozen=True)
class Fault:
    """What the server does, and what is said of it."""

    behaviour: Behaviour
    cause: type[Exception]
    message: str
    is_retried: bool = True


CLOSED = "Connection was closed before we received a valid response from endpoint URL"
FAULTS = {
    "throttled": Fault(
        stubs.THROTTLE,
        botocore.exceptions.ClientError,
        "ProvisionedThroughputExceededException",
    ),
    "500": Fault(stubs.INTERNAL_ERROR, botocore.exceptions.ClientError, "InternalServerError"),
    "503": Fault(stubs.UNAVAILABLE, botocore.exceptions.ClientError, "ServiceUnavailable"),
    "500 of a proxy": Fault(
        Answer(status=500, content=HTML, checksum=False),
        botocore.exceptions.ClientError,
        "Internal Server Error",
    ),
    "503 without a body": Fault(
        Answer(status=503, content=b"", checksum=False),
        botocore.exceptions.ClientError,
        "Service Unavailable",
    ),
    "403 of a proxy": Fault(
        Answer(status=403, content=HTML, checksum=False),
        botocore.exceptions.ClientError,
        "of a proxy",
        is_retried=False,
    ),
    "refused": Fault(
        stubs.error(400, "ValidationException"),
        botocore.exceptions.ClientError,
        "ValidationException",
        is_retried=False,
    ),
    "reset": Fault(stubs.RESET, botocore.exceptions.ConnectionClosedError, CLOSED),
    "dropped": Fault(stubs.DROP, botocore.exceptions.ConnectionClosedError, CLOSED),
    "cut": Fault(
        Answer(content=b'{"Item": {"id": {"S": "a"}}}', cut=5),
        # Of the library below botocore, older releases compare the length.
        botocore.exceptions.HTTPClientError,
        f"x-amz-crc32 is|{CLOSED}",
    ),
    "cut inside, of the right length": Fault(
        Answer(content=b'{"Item": {"id": {"S": "a"}'), DamagedReply, "it is not valid JSON"
    ),
    "no JSON": Fault(Answer(content=HTML, checksum=False), DamagedReply, "it is not valid JSON"),
    "no object": Fault(Answer(content=b"[]"), DamagedReply, "it is not a JSON object"),
    "empty": Fault(Answer(content=b""), DamagedReply, "it is not valid JSON"),
    "wrong checksum": Fault(
        Answer(content=b'{"Item": {}}', headers={"x-amz-crc32": "1"}),
        DamagedReply,
        "x-amz-crc32 is 1, and should be ",
    ),
}

Outcome = dict[str, t.Any]


def failed(error: Exception) -> Outcome:
    cause = t.cast(t.Any, error).cause
    root = getattr(cause, "__cause__", None) or cause
    return {"error": type(error), "cause": type(root), "message": str(error)}


@pytest.fixture
def db() -> PynamoDB:
    return PynamoDB()


@pytest.fixture
def settings(stub_config: dict[str, t.Any]) -> dict[str, t.Any]:
    return {**stub_config, **SETTINGS}


@pytest.fixture(autouse=True)
def let_go(stub: Stub) -> cabc.Iterator[None]:
    yield
    stub.release()


def through_flask(db: PynamoDB, settings: dict[str, t.Any], call: Call) -> Outcome:
    """Make a call in a view, and tell what the app gets."""
    app = flask.Flask("of_flask")
    app.config.from_mapping(settings)
    db.init_app(app)
    outcome: Outcome = {}

    @app.get("/")
    def view() -> str:
        call.send()
        return "done"

    @app.errorhandler(pynamodb.exceptions.PynamoDBException)
    def handle(error: pynamodb.exceptions.PynamoDBException) -> tuple[str, int]:
        outcome.update(failed(error))
        return "failed", 500

    response = app.test_client().get("/")
    outcome["status"] = response.status_code

    with app.app_context():
        assert db.pool.in_use == 0
        call.send()
        assert db.pool.in_use == 0

    return outcome


async def through_quart(db: PynamoDB, settings: dict[str, t.Any], call: Call) -> Outcome:
    """Await a call in an app, and tell what comes of it."""
    app = quart.Quart("of_quart")
    app.config.from_mapping(settings)
    db.init_app(app)
    outcome: Outcome = {"status": 200}

    async with app.app_context():
        try:
            await call.asend()
        except pynamodb.exceptions.PynamoDBException as error:
            outcome.update(failed(error), status=500)

        assert db.pool.in_use == 0
        await call.asend()
        assert db.pool.in_use == 0

    return outcome


def check(fault: Fault, call: Call, outcome: Outcome, stub: Stub) -> None:
    attempts = ATTEMPTS if fault.is_retried else 1
    assert outcome["status"] == 500
    assert outcome["error"] is call.error
    assert issubclass(outcome["cause"], fault.cause)
    assert re.search(fault.message, outcome["message"])
    assert stub.operations == [call.operation] * (attempts + 1)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_lasts_is_an_error_in_flask(
    db: PynamoDB, stub: Stub, settings: dict[str, t.Any], fault: str, call: str
) -> None:
    attempts = ATTEMPTS if FAULTS[fault].is_retried else 1
    stub.next(CALLS[call].operation, *[FAULTS[fault].behaviour] * attempts)
    outcome = through_flask(db, settings, CALLS[call])
    check(FAULTS[fault], CALLS[call], outcome, stub)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_that_lasts_is_an_error_in_quart(
    db: PynamoDB, stub: Stub, settings: dict[str, t.Any], fault: str, call: str
) -> None:
    attempts = ATTEMPTS if FAULTS[fault].is_retried else 1
    stub.next(CALLS[call].operation, *[FAULTS[fault].behaviour] * attempts)
    outcome = await through_quart(db, settings, CALLS[call])
    check(FAULTS[fault], CALLS[call], outcome, stub)


PASSING = [fault for fault in FAULTS if FAULTS[fault].is_retried]


@pytest.mark.parametrize("call", ["get", "put"])
@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_is_not_noticed_in_flask(
    db: PynamoDB, stub: Stub, settings: dict[str, t.Any], fault: str, call: str
) -> None:
    stub.next(CALLS[call].operation, FAULTS[fault].behaviour)
    assert through_flask(db, settings, CALLS[call]) == {"status": 200}
    assert stub.operations == [CALLS[call].operation] * 3


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
@pytest.mark.parametrize("call", ["get", "put"])
@pytest.mark.parametrize("fault", PASSING)
async def test_a_fault_that_passes_is_not_noticed_in_quart(
    db: PynamoDB, stub: Stub, settings: dict[str, t.Any], fault: str, call: str
) -> None:
    stub.next(CALLS[call].operation, FAULTS[fault].behaviour)
    assert await through_quart(db, settings, CALLS[call]) == {"status": 200}
    assert stub.operations == [CALLS[call].operation] * 3


HANGING = Fault(stubs.HOLD, botocore.exceptions.ReadTimeoutError, "Read timeout on endpoint URL")
IMPATIENT = {"DYNAMODB_READ_TIMEOUT_SECONDS": 0.5}


@pytest.mark.parametrize("call", ["get", "put"])
def test_a_server_that_hangs_is_left_in_flask(
    db: PynamoDB, stub: Stub, settings: dict[str, t.Any], call: str
) -> None:
    stub.next(CALLS[call].operation, *[HANGING.behaviour] * ATTEMPTS)
    outcome = through_flask(db, {**settings, **IMPATIENT}, CALLS[call])
    check(HANGING, CALLS[call], outcome, stub)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_server_that_hangs_is_left_in_quart(
    db: PynamoDB, stub: Stub, settings: dict[str, t.Any]
) -> None:
    stub.next("GetItem", *[HANGING.behaviour] * ATTEMPTS)
    outcome = await through_quart(db, {**settings, **IMPATIENT}, CALLS["get"])
    check(HANGING, CALLS["get"], outcome, stub)


TRICKLING = Answer(content=b'{"Item": {"id": {"S": "a"}}}', trickle=0.02)


def test_a_reply_that_trickles_in_counts_when_it_is_complete_in_flask(
    db: PynamoDB, stub: Stub, settings: dict[str, t.Any]
) -> None:
    stub.next("GetItem", TRICKLING)
    assert through_flask(db, settings, CALLS["get"]) == {"status": 200}
    assert stub.operations == ["GetItem"] * 2


@pytest.mark.anyio
async def test_a_reply_that_trickles_in_counts_when_it_is_complete_in_quart(
    db: PynamoDB, stub: Stub, settings: dict[str, t.Any]
) -> None:
    stub.next("GetItem", TRICKLING)
    assert await through_quart(db, settings, CALLS["get"]) == {"status": 200}
    assert stub.operations == ["GetItem"] * 2


@pytest.mark.anyio
async def test_a_task_does_not_wait_for_a_reply_that_trickles_in_for_ever(
    db: PynamoDB, stub: Stub, settings: dict[str, t.Any]
) -> None:
    stub.next("GetItem", Answer(content=b" " * 10_000, trickle=0.02))
    app = quart.Quart("of_quart")
    app.config.from_mapping(settings, DYNAMODB_CALL_TIMEOUT_SECONDS=2)
    db.init_app(app)

    async with app.app_context():
        # The deadline includes it.
        assert db.connection.client

        with pytest.raises(CallTimeout):
            await Item.aget("a")

    assert stub.operations == ["GetItem"]


@pytest.mark.parametrize("call", ["get", "put"])
def test_connections_that_were_closed_while_idle_cost_neither_error_nor_attempt(
    db: PynamoDB, stub: Stub, settings: dict[str, t.Any], call: str
) -> None:
    """A burst leaves several of them."""
    app = flask.Flask("of_flask")
    app.config.from_mapping(settings, DYNAMODB_MAX_RETRY_ATTEMPTS=0)
    db.init_app(app)
    burst = 4

    def send() -> None:
        with app.app_context():
            CALLS[call].send()

    with concurrent.futures.ThreadPoolExecutor(burst) as threads:

        def send_burst() -> None:
            stub.next(CALLS[call].operation, *[stubs.held(stub._usual)] * burst)
            sent = [threads.submit(send) for _ in range(burst)]
            stub.wait_for(lambda: stub.holding == burst)
            stub.release()

            for future in sent:
                future.result()

        send_burst()
        assert stub.connections == burst
        stub.close_connections()
        stub.wait_for(lambda: stub.connections == 0)
        send_burst()

    assert stub.operations == [CALLS[call].operation] * burst * 2
    assert stub.total_connections == burst * 2
