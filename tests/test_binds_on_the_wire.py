"""Binds: where each request goes, whoever makes it and whenever."""

from __future__ import annotations

import collections
import collections.abc as cabc
import itertools
import logging
import typing as t

import anyio
import flask
import pytest
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import GetError
from pynamodb.exceptions import UpdateError
from pynamodb.indexes import AllProjection
from quart import Quart
from quart_trio import QuartTrio

import dynamo_ext
import stub as stubs
from conftest import InApp
from dynamo_ext_async import Call
from dynamo_ext_async import GlobalSecondaryIndex
from dynamo_ext_async import Model
from dynamo_ext_async import PynamoDB
from dynamo_ext_async import WriteOutcomeUnknown
from dynamo_ext_async import call_finished
from stub import Answer
from stub import Request
from stub import Stub
from threads import at_once
from threads import in_same_app
from waiting import until

pytestmark = pytest.mark.wire

BINDS = {
    "eu": {"REGION": "eu-west-1", "TABLE_NAME_PREFIX": "eu-"},
    "us": {
        "REGION": "us-west-2",
        "TABLE_NAME_PREFIX": "us-",
        "AWS_ACCESS_KEY_ID": "AKIDOFUS",
        "AWS_SECRET_ACCESS_KEY": "secret-of-us",
    },
}
REGIONS = {None: "us-east-1", "eu": "eu-west-1", "us": "us-west-2"}
PREFIXES = {None: "own-", "eu": "eu-", "us": "us-"}


class Item(Model):
    class Meta:
        table_name = "item"

    class ByText(GlobalSecondaryIndex["Item"]):
        class Meta:
            projection = AllProjection()

        text = UnicodeAttribute(hash_key=True)

    id = UnicodeAttribute(hash_key=True)
    text = UnicodeAttribute(null=True)
    number = NumberAttribute(null=True)
    by_text = ByText()


class Report(Model):
    class Meta:
        table_name = "report"
        bind_key = "eu"

    id = UnicodeAttribute(hash_key=True)


class Order(Model):
    class Meta:
        table_name = "order"
        bind_key = "us"

    id = UnicodeAttribute(hash_key=True)


class Overriding(Model):
    """Its overrides make their calls as late as they can."""

    class Meta:
        table_name = "overriding"

    id = UnicodeAttribute(hash_key=True)

    @classmethod
    def query(cls, *args: t.Any, **kwargs: t.Any) -> t.Any:
        yield from super().query(*args, **kwargs)

    @classmethod
    def scan(cls, *args: t.Any, **kwargs: t.Any) -> t.Any:
        return super().scan(*args, **kwargs)

    @classmethod
    def batch_write(cls, *args: t.Any, **kwargs: t.Any) -> t.Any:
        return Saving(cls)


class Saving:
    """A batch of the app's own, which saves each item by itself."""

    def __init__(self, model: type[Model]) -> None:
        self.model = model

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.model("last").save()

    def save(self, item: Model) -> None:
        item.save()


def place(request: Request) -> str | None:
    """The bind by which a request was made: its region, its tables and its keys are the bind's."""
    region = request.signature.region
    (bind_key,) = (key for key, each in REGIONS.items() if each == region)
    assert (request.signature.access_key_id == "AKIDOFUS") == (bind_key == "us")

    for name in tables(request.body):
        assert name.startswith(PREFIXES[bind_key])

    return bind_key


def tables(body: dict[str, t.Any]) -> cabc.Iterator[str]:
    """Every table that a request names."""
    yield from body.get("RequestItems", ())

    if "TableName" in body:
        yield body["TableName"]

    for item in body.get("TransactItems", ()):
        for part in item.values():
            yield part["TableName"]


def places(stub: Stub) -> list[str | None]:
    found = [place(request) for request in stub.requests]
    stub.forget()
    return found


def expected_place(request: Request) -> str | None:
    """What the item's key says: ``eu:5``, say."""
    name, _, _ = t.cast(str, request.body["Key"]["id"]["S"]).partition(":")
    return name or None


def settings(config: dict[str, t.Any], **more: t.Any) -> dict[str, t.Any]:
    return {
        **config,
        "DYNAMODB_BASE_BACKOFF_MS": 0,
        "DYNAMODB_TABLE_NAME_PREFIX": "own-",
        "DYNAMODB_BINDS": BINDS,
        **more,
    }


@pytest.fixture
def db() -> PynamoDB:
    return PynamoDB()


@pytest.fixture
def app(
    db: PynamoDB, stub_config: dict[str, t.Any], anyio_backend: tuple[str, dict[str, t.Any]]
) -> Quart:
    app = (QuartTrio if anyio_backend[0] == "trio" else Quart)("tests")
    app.config.from_mapping(settings(stub_config))
    db.init_app(app)
    return app


@pytest.fixture
def flask_db(in_app: InApp, stub_config: dict[str, t.Any]) -> cabc.Iterator[dynamo_ext.PynamoDB]:
    with in_app(settings(stub_config)) as db:
        yield db


def two_pages(request: Request) -> Answer:
    """A page with one item, and another one behind it."""
    number = int(request.body.get("ExclusiveStartKey", {}).get("id", {}).get("S", "0"))
    item = {"id": {"S": str(number + 1)}, "text": {"S": "x"}}
    body: dict[str, t.Any] = {"Items": [item], "Count": 1, "ScannedCount": 1}
    return Answer(body=body if number else {**body, "LastEvaluatedKey": item})


def test_each_call_goes_where_its_bind_says(flask_db: dynamo_ext.PynamoDB, stub: Stub) -> None:
    db = flask_db
    Item.get("x")
    Report("x").save()
    Order("x").delete()

    with db.using("us"):
        Item("x").update([Item.text.set("y")])
        Report.get("x")
        db.ping()

    db.bind("eu").ping()
    assert places(stub) == [None, "eu", "us", "us", "eu", "us", "eu"]


def test_threads_go_by_their_own_binds(flask_db: dynamo_ext.PynamoDB, stub: Stub) -> None:
    def run(number: int) -> None:
        for bind_key in itertools.islice(itertools.cycle([None, "eu", "us"]), number, number + 6):
            with flask_db.using(bind_key):
                Item.get(f"{bind_key or ''}:{number}")

    at_once(in_same_app(run), 6)
    assert len(stub.requests) == 36
    assert [place(each) for each in stub.requests] == list(map(expected_place, stub.requests))


def test_a_new_thread_begins_without_the_block(flask_db: dynamo_ext.PynamoDB, stub: Stub) -> None:
    """As it begins without an app context: here, the only app is found."""
    with flask_db.using("eu"):
        at_once(lambda _: Item.get("x"), 1)

    assert places(stub) == [None]


@pytest.mark.anyio
async def test_tasks_go_by_their_own_binds(app: Quart, db: PynamoDB, stub: Stub) -> None:
    stub.always("GetItem", stubs.held(stub._usual))

    async def get(bind_key: str | None, number: int) -> None:
        with db.using(bind_key):
            await Item.aget(f"{bind_key or ''}:{number}")
            await db.run_sync(Item.get, f"{bind_key or ''}:again {number}")

    async with app.app_context(), anyio.create_task_group() as tasks:
        for bind_key, number in itertools.product(REGIONS, range(2)):
            tasks.start_soon(get, bind_key, number)

        # All are inside their blocks at once.
        await until(lambda: len(stub.requests) == 6)
        stub.release()
        await until(lambda: len(stub.requests) == 12)
        stub.release()

    assert len(stub.requests) == 12
    assert [place(each) for each in stub.requests] == list(map(expected_place, stub.requests))


Await = cabc.Callable[[PynamoDB], cabc.Awaitable[object]]


async def through(items: t.Any) -> int:
    return len([item async for item in items])


async def write_batch(db: PynamoDB) -> None:
    async with Item.abatch_write() as batch:
        await batch.save(Item("1"))


AWAITED: dict[str, Await] = {
    "aget": lambda db: Item.aget("1"),
    "asave": lambda db: Item("1").asave(),
    "aupdate": lambda db: Item("1").aupdate([Item.text.set("x")]),
    "arefresh": lambda db: Item("1").arefresh(),
    "adelete": lambda db: Item("1").adelete(),
    "acount": lambda db: Item.acount("1"),
    "aquery": lambda db: through(Item.aquery("1")),
    "index": lambda db: through(Item.by_text.aquery("x")),
    "ascan": lambda db: through(Item.ascan()),
    "aparallel_scan": lambda db: through(Item.aparallel_scan(2)),
    "abatch_get": lambda db: through(Item.abatch_get(["1", "2"])),
    "abatch_write": write_batch,
    "aexists": lambda db: Item.aexists(),
    "aget_or_404": lambda db: Item.aget_or_404("1"),
    "overridden query": lambda db: through(Overriding.aquery("1")),
    "run_sync": lambda db: db.run_sync(Item.get, "1"),
    "aping": lambda db: db.aping(),
}


@pytest.mark.anyio
@pytest.mark.parametrize("call", AWAITED)
async def test_every_awaited_call_goes_by_the_bind(
    app: Quart, db: PynamoDB, stub: Stub, call: str
) -> None:
    stub.always("Query", two_pages)
    stub.always("Scan", two_pages)

    async with app.app_context():
        with db.using("us"):
            await AWAITED[call](db)

    assert set(places(stub)) == {"us"}


# What is made in a block, and what is done with it outside.
QUERIES: dict[str, cabc.Callable[[], t.Any]] = {
    "query": lambda: Item.query("1"),
    "index": lambda: Item.by_text.query("x"),
    "scan": lambda: Item.scan(),
    "rate-limited scan": lambda: Item.scan(rate_limit=1000),
    "batch_get": lambda: Item.batch_get(["1", "2"]),
}
AWAITED_QUERIES: dict[str, cabc.Callable[[], t.Any]] = {
    "aquery": lambda: Item.aquery("1"),
    "index": lambda: Item.by_text.aquery("x"),
    "ascan": lambda: Item.ascan(),
    "aparallel_scan": lambda: Item.aparallel_scan(3),
    "abatch_get": lambda: Item.abatch_get(["1", "2"]),
    "overridden query": lambda: Overriding.aquery("1"),
    "overridden scan": lambda: Overriding.ascan(),
    "overridden parallel scan": lambda: Overriding.aparallel_scan(2),
}


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_keeps_the_bind_under_which_it_was_made(
    flask_db: dynamo_ext.PynamoDB, stub: Stub, query: str
) -> None:
    stub.always("Query", two_pages)
    stub.always("Scan", two_pages)

    with flask_db.using("eu"):
        in_eu = QUERIES[query]()

    own = QUERIES[query]()
    assert len(list(in_eu)) == 2
    assert set(places(stub)) == {"eu"}

    with flask_db.using("us"):
        assert len(list(own)) == 2

    assert set(places(stub)) == {None}


@pytest.mark.anyio
@pytest.mark.parametrize("query", AWAITED_QUERIES)
async def test_an_awaited_query_keeps_the_bind_under_which_it_was_made(
    app: Quart, db: PynamoDB, stub: Stub, query: str
) -> None:
    stub.always("Query", two_pages)
    stub.always("Scan", two_pages)

    async with app.app_context():
        with db.using("eu"):
            in_eu = AWAITED_QUERIES[query]()

        own = AWAITED_QUERIES[query]()
        assert await through(in_eu) >= 2
        assert set(places(stub)) == {"eu"}

        with db.using("us"):
            assert await through(own) >= 2

        assert set(places(stub)) == {None}


def test_the_next_page_of_a_query_is_of_the_same_bind(
    flask_db: dynamo_ext.PynamoDB, stub: Stub
) -> None:
    stub.always("Query", two_pages)

    with flask_db.using("eu"):
        items = Item.query("1")
        next(items)

    next(items)
    assert items.last_evaluated_key is None
    assert places(stub) == ["eu", "eu"]


def test_a_batch_keeps_its_bind(flask_db: dynamo_ext.PynamoDB, stub: Stub) -> None:
    stub.next("BatchWriteItem", stubs.unprocessed)

    with flask_db.using("eu"):
        batch = Item.batch_write()

    with flask_db.using("us"), batch:
        batch.save(Item("1"))

    assert places(stub) == ["eu", "eu"]


@pytest.mark.anyio
@pytest.mark.parametrize("model", [Item, Overriding])
async def test_an_awaited_batch_keeps_its_bind(
    app: Quart, db: PynamoDB, stub: Stub, model: type[Model]
) -> None:
    async with app.app_context():
        with db.using("eu"):
            batch = model.abatch_write()

        async with batch as entered:
            await entered.save(model("1"))

    assert set(places(stub)) == {"eu"}


def test_an_item_goes_by_the_bind_in_use_wherever_it_was_read(
    flask_db: dynamo_ext.PynamoDB, stub: Stub
) -> None:
    with flask_db.using("eu"):
        item, report = Item.get("x"), Report.get("x")

    item.save()

    with flask_db.using("us"):
        item.refresh()
        report.save()

    assert places(stub) == ["eu", "eu", None, "us", "eu"]


# Transactions.


def test_a_transaction_is_made_by_the_bind(flask_db: dynamo_ext.PynamoDB, stub: Stub) -> None:
    db = flask_db

    with db.using("us"), db.transact_write() as write:
        write.save(Item("1"))
        write.delete(Order("1"))
        write.update(Item("2"), [Item.text.set("x")])
        write.condition_check(Item, "3", condition=Item.text.exists())

    with db.bind("eu").transact_get() as get:
        items = get.get(Item, "1"), get.get(Report, "1")

    assert [item.get().id for item in items] == ["1", "1"]

    with db.bind(None).transact_write() as write:
        write.save(Item("1"))

    assert places(stub) == ["us", "eu", None]


def test_a_transaction_keeps_the_bind_under_which_it_was_made(
    flask_db: dynamo_ext.PynamoDB, stub: Stub
) -> None:
    with flask_db.using("eu"):
        transaction = flask_db.transact_write()

    with transaction:
        transaction.save(Item("1"))

    assert places(stub) == ["eu"]


REFUSED: dict[str, cabc.Callable[[dynamo_ext.PynamoDB, type[Model]], object]] = {
    "save": lambda db, model: db.transact_write().save(model("1")),
    "delete": lambda db, model: db.transact_write().delete(model("1")),
    "update": lambda db, model: db.transact_write().update(model("1"), [Item.text.set("x")]),
    "condition_check": lambda db, model: db.transact_write().condition_check(
        model, "1", condition=Item.text.exists()
    ),
    "get": lambda db, model: db.transact_get().get(model, "1"),
}


@pytest.mark.parametrize("call", REFUSED)
def test_a_model_of_another_bind_is_refused_before_anything_is_sent(
    flask_db: dynamo_ext.PynamoDB, stub: Stub, call: str
) -> None:
    with pytest.raises(ValueError, match=r"'Report' can't be part .* it is in the bind 'eu', and"):
        REFUSED[call](flask_db, Report)

    with (
        flask_db.using("us"),
        pytest.raises(ValueError, match=r"it is in the bind 'eu', .* is in the bind 'us'"),
    ):
        REFUSED[call](flask_db, Report)

    with flask_db.using("eu"):
        REFUSED[call](flask_db, Report)

    assert not stub.requests


def test_models_of_two_binds_are_named(flask_db: dynamo_ext.PynamoDB, stub: Stub) -> None:
    with (
        pytest.raises(ValueError, match=r"'Order' .* 'us', .* with 'Report' is in the bind 'eu'"),
        flask_db.bind("eu").transact_write() as transaction,
    ):
        transaction.save(Report("1"))
        transaction.save(Order("1"))

    with (
        pytest.raises(ValueError, match=r"'Report' .* 'eu', .* with 'Item' is in no bind"),
        flask_db.transact_write() as transaction,
    ):
        transaction.save(Item("1"))
        transaction.save(Report("1"))

    with (
        pytest.raises(ValueError, match=r"'Item' .* 'us', .* with 'Report' is in the bind 'eu'"),
        flask_db.bind("eu").transact_write() as transaction,
    ):
        transaction.save(Report("1"))

        with flask_db.using("us"):
            transaction.save(Item("1"))

    assert not stub.requests


def test_two_binds_of_one_endpoint_are_two_binds(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    binds = {"eu": {"TABLE_NAME_PREFIX": "eu-"}, "us": {"TABLE_NAME_PREFIX": "us-"}}

    with in_app(settings(stub_config, DYNAMODB_BINDS=binds)) as db:
        assert db.bind("eu").pool is db.bind("us").pool

        with pytest.raises(ValueError, match=r"'Order' can't be part"):
            db.bind("eu").transact_write().save(Order("1"))

    assert not stub.requests


@pytest.mark.anyio
async def test_awaited_transactions(app: Quart, db: PynamoDB, stub: Stub) -> None:
    async with app.app_context():
        with db.using("us"):
            async with db.atransact_write() as write:
                write.save(Item("1"))

            transaction = db.atransact_write()

        async with db.bind("eu").atransact_get() as get:
            report = get.get(Report, "1")

        async with db.bind("eu").atransact_write() as write:
            write.save(Report("1"))

        async with transaction:
            transaction.save(Item("1"))

        with pytest.raises(ValueError, match=r"'Order' .* with 'Report' is in the bind 'eu'"):
            async with db.bind("eu").atransact_write() as write:
                write.save(Report("1"))
                write.save(Order("1"))

        await db.bind("us").aping()

    assert report.get().id == "1"
    assert places(stub) == ["us", "eu", "eu", "us", "us"]


# What else a bind sets, and what is told of its calls.


def test_limits_of_a_bind_hold_for_its_calls(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    limits = {
        "MAX_POOL_CONNECTIONS": 1,
        "POOL_TIMEOUT_SECONDS": 0.01,
        "MAX_RETRY_ATTEMPTS": 1,
        "UNCERTAIN_WRITES": "raise",
    }
    binds = {"strict": limits}

    with in_app(settings(stub_config, DYNAMODB_BINDS=binds)) as db:
        with db.using("strict"):
            # In a thread that does not hold the slot.
            get = in_same_app(lambda number: Item.get("x"))

            with db.pool.acquire(1), pytest.raises(dynamo_ext.PoolTimeout):
                at_once(get, 1)

            stub.next("UpdateItem", stubs.DROP)

            with pytest.raises(UpdateError) as raised:
                Item("x").update([Item.number.add(1)])

            assert isinstance(raised.value.cause, WriteOutcomeUnknown)
            stub.always("GetItem", stubs.THROTTLE)
            stub.forget()

            with pytest.raises(GetError):
                Item.get("x")

            assert len(stub.requests) == 2

        stub.forget()

        with pytest.raises(GetError):
            Item.get("x")

        assert len(stub.requests) == 4


def test_what_is_told_of_a_call_names_its_bind(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[Call] = []

    def note(app: object, call: Call) -> None:
        calls.append(call)

    binds = {"e\nu": {**BINDS["eu"], "SLOW_CALL_MS": 0}, "us": BINDS["us"]}

    with (
        in_app(settings(stub_config, DYNAMODB_BINDS=binds)) as db,
        call_finished.connected_to(note),
    ):
        Item.get("x")
        Order.get("x")

        with db.using("e\nu"):
            Item.get("x")

        assert [call.bind_key for call in calls] == [None, "us", "e\nu"]
        stats = {key: db.bind(key).pool.stats().calls for key in (None, "us", "e\nu")}
        assert stats == {None: 1, "us": 1, "e\nu": 1}

    ((_, level, message),) = (
        record for record in caplog.record_tuples if record[0] == "dynamo_ext.calls"
    )
    assert level == logging.WARNING
    assert message.startswith("slow call: GetItem of Item, bind=e\\nu attempts=1 ")


# Requests and apps.


def test_a_flask_request_and_a_streamed_response(stub_config: dict[str, t.Any], stub: Stub) -> None:
    db = dynamo_ext.PynamoDB()
    app = flask.Flask("tests")
    app.config.from_mapping(settings(stub_config))
    db.init_app(app)
    stub.always("Scan", two_pages)

    @app.get("/")
    @db.using("eu")
    def index() -> t.Any:
        items = Item.scan()
        return flask.Response(flask.stream_with_context(item.id for item in items))

    assert app.test_client().get("/").text == "12"
    assert places(stub) == ["eu", "eu"]

    with app.app_context():
        Item.get("x")

    assert places(stub) == [None]


@pytest.mark.anyio
async def test_a_quart_request(app: Quart, db: PynamoDB, stub: Stub) -> None:
    @app.get("/<bind_key>")
    async def index(bind_key: str) -> str:
        with db.using(bind_key):
            return (await Item.aget(f"{bind_key}:x")).id

    @app.get("/decorated")
    @db.using("us")
    async def decorated() -> str:
        return (await Item.aget("us:x")).id

    client = app.test_client()

    async def get(path: str) -> None:
        response = await client.get(f"/{path}")
        assert response.status_code == 200

    async with anyio.create_task_group() as tasks:
        for path in ["eu", "us", "decorated"] * 2:
            tasks.start_soon(get, path)

    assert collections.Counter(map(place, stub.requests)) == {"eu": 2, "us": 4}
    assert [place(each) for each in stub.requests] == list(map(expected_place, stub.requests))


@pytest.mark.anyio
async def test_an_app_that_stops_waits_for_its_binds_and_closes_their_connections(
    app: Quart, db: PynamoDB, stub: Stub
) -> None:
    stub.next("GetItem", stub._usual, stubs.held(stub._usual))

    async def release() -> None:
        await anyio.sleep(0.1)
        stub.release()

    async with anyio.create_task_group() as tasks:
        async with app.test_app():
            async with app.app_context():
                await Item.aget("x")
                tasks.start_soon(Report.aget, "x")
                await until(lambda: len(stub.requests) == 2)

            tasks.start_soon(release)

        assert stub.in_flight == 0

    assert places(stub) == [None, "eu"]
    await until(lambda: stub.connections == 0)


@pytest.mark.once(reason="tables are created, which is the same on each transport")
def test_binds_have_tables_of_their_own(in_app: InApp, embedded_config: dict[str, t.Any]) -> None:
    """The embedded engine keeps regions apart, as DynamoDB does."""
    config, prefix = embedded_config, embedded_config["DYNAMODB_TABLE_NAME_PREFIX"]
    binds = {"eu": {"REGION": "eu-west-1"}, "other": {"TABLE_NAME_PREFIX": f"{prefix}o-"}}

    with in_app(config, DYNAMODB_BINDS=binds) as db:
        for bind_key in (None, *binds):
            with db.using(bind_key):
                Item.create_table(wait=True)
                Item("x", text=f"of {bind_key}").save()

        for bind_key in (None, *binds):
            with db.using(bind_key):
                assert Item.get("x").text == f"of {bind_key}"
                Item.delete_table()
