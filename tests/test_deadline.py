"""``DYNAMODB_CALL_TIMEOUT_SECONDS``: one limit for queue, attempts and waits; and what an unhandled
timeout becomes."""

from __future__ import annotations

import collections.abc as cabc
import pickle
import threading
import typing as t

import anyio
import pytest
from flask import Flask
from pynamodb.attributes import UnicodeAttribute
from quart import Quart

import stub as stubs
from dynamo_ext_async import CallTimeout
from dynamo_ext_async import ConfigError
from dynamo_ext_async import Model
from dynamo_ext_async import PoolTimeout
from dynamo_ext_async import PynamoDB
from stub import Stub
from waiting import until

pytestmark = pytest.mark.wire

# Long enough for a busy machine to send a request.
LIMIT = 1.5
AMPLE = 60.0


class Item(Model):
    class Meta:
        table_name = "item"

    id = UnicodeAttribute(hash_key=True)


MakeApps = cabc.Callable[..., tuple[Flask, Quart]]


@pytest.fixture
def db() -> PynamoDB:
    return PynamoDB()


@pytest.fixture
def make_apps(db: PynamoDB, stub_config: dict[str, t.Any]) -> MakeApps:
    def make_apps(**settings: t.Any) -> tuple[Flask, Quart]:
        apps = Flask("of_flask"), Quart("of_quart")

        for app in apps:
            app.config.from_mapping(stub_config)
            app.config.from_mapping(settings)
            db.init_app(app)

        # A deadline includes it: the limits here are for what comes after.
        with apps[0].app_context():
            assert db.connection.client

        return apps

    return make_apps


@pytest.fixture
def apps(make_apps: MakeApps) -> tuple[Flask, Quart]:
    return make_apps(DYNAMODB_CALL_TIMEOUT_SECONDS=LIMIT)


@pytest.fixture(autouse=True)
def let_go(stub: Stub) -> cabc.Iterator[None]:
    yield
    stub.release()


def test_an_attempt_ends_with_the_deadline(apps: tuple[Flask, Quart], stub: Stub) -> None:
    stub.always("GetItem", stubs.held(stub._usual))

    # The read timeout alone would be 30 s, and there would be three retries.
    with apps[0].app_context(), pytest.raises(CallTimeout, match=r"within 1\.5 s") as info:
        Item.get("x")

    assert info.value.timeout == LIMIT
    assert len(stub.requests) == 1


def test_a_retry_that_would_come_too_late_is_not_waited_for(
    make_apps: MakeApps, stub: Stub
) -> None:
    stub.always("GetItem", stubs.THROTTLE)
    app, _ = make_apps(DYNAMODB_CALL_TIMEOUT_SECONDS=5, DYNAMODB_BASE_BACKOFF_MS=10_000_000)

    with app.app_context(), pytest.raises(CallTimeout):
        # Each wait is drawn from up to 20 s: among a hundred retries is one that is too long.
        while True:
            with_retries_left(stub)
            Item.get("x")

    assert stub.operations[-1] == "GetItem"


def with_retries_left(stub: Stub) -> None:
    """Guard the loop above: it ends by the deadline, not by luck."""
    assert len(stub.requests) < 100


def test_the_wait_for_a_slot_counts(make_apps: MakeApps, stub: Stub) -> None:
    patient, _ = make_apps(DYNAMODB_MAX_POOL_CONNECTIONS=1)
    app, _ = make_apps(DYNAMODB_MAX_POOL_CONNECTIONS=1, DYNAMODB_CALL_TIMEOUT_SECONDS=LIMIT)
    stub.always("PutItem", stubs.held(stub._usual))

    def save() -> None:
        with patient.app_context():
            Item("first").save()

    thread = threading.Thread(target=save)
    thread.start()
    stub.wait_for(lambda: stub.in_flight == 1)

    with app.app_context(), pytest.raises(CallTimeout):
        Item("second").save()

    stub.release()
    thread.join()
    assert len(stub.requests) == 1


def test_without_the_setting_there_is_no_limit(make_apps: MakeApps, stub: Stub) -> None:
    stub.next("GetItem", stubs.delayed(2 * LIMIT, stub._usual))

    with make_apps()[0].app_context():
        assert Item.get("x").id == "x"


def test_an_error_in_time_stays_as_it_is(make_apps: MakeApps, stub: Stub) -> None:
    stub.always("GetItem", stubs.error(400, "ValidationException", "wrong"))
    app, _ = make_apps(DYNAMODB_CALL_TIMEOUT_SECONDS=AMPLE)

    with app.app_context(), pytest.raises(Exception, match="wrong") as info:
        Item.get("x")

    assert not isinstance(info.value, CallTimeout)


@pytest.mark.anyio
async def test_a_task_is_released_at_the_deadline(
    apps: tuple[Flask, Quart], stub: Stub, db: PynamoDB
) -> None:
    stub.always("GetItem", stubs.held(stub._usual))

    async with apps[1].app_context():
        with anyio.fail_after(100), pytest.raises(CallTimeout, match=r"within 1\.5 s"):
            await Item.aget("x")

        stub.release()
        await until(lambda: db.pool.in_use == 0)

    assert len(stub.requests) == 1


@pytest.mark.anyio
async def test_a_task_s_wait_for_a_slot_counts(
    make_apps: MakeApps, stub: Stub, db: PynamoDB
) -> None:
    _, patient = make_apps(DYNAMODB_MAX_POOL_CONNECTIONS=1)
    _, app = make_apps(DYNAMODB_MAX_POOL_CONNECTIONS=1, DYNAMODB_CALL_TIMEOUT_SECONDS=LIMIT)
    stub.always("PutItem", stubs.held(stub._usual))

    async def save() -> None:
        async with patient.app_context():
            await Item("first").asave()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(save)
        await until(lambda: stub.in_flight == 1)

        async with app.app_context():
            with pytest.raises(CallTimeout):
                await Item("second").asave()

            assert db.pool.stats().timeouts == 1

        stub.release()

    assert len(stub.requests) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_each_page_has_a_deadline_of_its_own(make_apps: MakeApps, stub: Stub) -> None:
    _, app = make_apps(DYNAMODB_CALL_TIMEOUT_SECONDS=3)
    body = {"Items": [{"id": {"S": "x"}}], "Count": 1, "ScannedCount": 1}
    more = stubs.Answer(body={**body, "LastEvaluatedKey": {"id": {"S": "x"}}})
    pages = [*[more] * 4, stubs.Answer(body=body)]
    stub.next("Scan", *(stubs.delayed(0.7, page) for page in pages))

    async with app.app_context():
        assert len([item async for item in Item.ascan()]) == 5


def test_flask_answers_an_unhandled_timeout_with_503(apps: tuple[Flask, Quart], stub: Stub) -> None:
    app, _ = apps
    stub.always("GetItem", stubs.held(stub._usual))

    @app.get("/")
    def view() -> str:
        return Item.get("x").id

    answer = app.test_client().get("/")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert "too busy" in answer.text
    assert "DYNAMODB" not in answer.text


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_quart_answers_an_unhandled_timeout_with_503(
    apps: tuple[Flask, Quart], stub: Stub
) -> None:
    _, app = apps
    stub.always("GetItem", stubs.held(stub._usual))

    @app.get("/")
    async def view() -> str:
        return (await Item.aget("x")).id

    answer = await app.test_client().get("/")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_a_full_pool_is_a_503_too_and_is_logged(
    make_apps: MakeApps, stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    app, _ = make_apps(DYNAMODB_POOL_TIMEOUT_SECONDS=0.05, DYNAMODB_MAX_POOL_CONNECTIONS=1)
    stub.always("GetItem", stubs.held(stub._usual))

    @app.get("/<key>")
    def view(key: str) -> str:
        return Item.get(key).id

    first = threading.Thread(target=app.test_client().get, args=("/first",))
    first.start()
    stub.wait_for(lambda: stub.in_flight == 1)
    answer = app.test_client().get("/second")
    stub.release()
    first.join()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert "no slot became free within 0.05 s: 1 of 1 are in use" in caplog.text


def test_an_app_s_own_handler_comes_first(apps: tuple[Flask, Quart], stub: Stub) -> None:
    app, _ = apps
    stub.always("GetItem", stubs.held(stub._usual))

    @app.get("/")
    def view() -> str:
        return Item.get("x").id

    @app.errorhandler(CallTimeout)
    def handle(error: CallTimeout) -> tuple[str, int]:
        return f"mine, after {error.timeout} s", 418

    answer = app.test_client().get("/")
    assert (answer.status_code, answer.text) == (418, "mine, after 1.5 s")


def test_other_errors_stay_as_they_are(make_apps: MakeApps, stub: Stub) -> None:
    app, _ = make_apps(DYNAMODB_CALL_TIMEOUT_SECONDS=AMPLE)
    stub.always("GetItem", stubs.error(400, "ValidationException"))

    @app.get("/")
    def view() -> str:
        return Item.get("x").id

    assert app.test_client().get("/").status_code == 500


@pytest.mark.parametrize("error", [CallTimeout(1.5), PoolTimeout(10, 9, 8, 7.5)])
def test_a_timeout_survives_pickling_and_reads_well(error: CallTimeout | PoolTimeout) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
    assert repr(error) == f"{type(error).__name__}({str(error)!r})"
    assert isinstance(error, TimeoutError)


@pytest.mark.parametrize("value", [0, -1, "soon", True, float("nan")])
def test_a_wrong_limit_is_refused(make_apps: MakeApps, value: object) -> None:
    with pytest.raises(ConfigError, match="'DYNAMODB_CALL_TIMEOUT_SECONDS' must be a number of"):
        make_apps(DYNAMODB_CALL_TIMEOUT_SECONDS=value)
