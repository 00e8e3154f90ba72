"""``dynamo_ext.opentelemetry``: a span and metrics of each call, on every transport."""

from __future__ import annotations

import collections.abc as cabc
import concurrent.futures
import gc
import importlib.util
import os
import threading
import time
import typing as t

import anyio
import httpx
import pytest
import quart
from flask import Flask
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.botocore import BotocoreInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import GetError
from pynamodb.exceptions import PutError
from pynamodb.exceptions import TransactWriteError
from pynamodb.indexes import AllProjection
from quart import Quart
from quart_trio import QuartTrio

import dynamo_ext.opentelemetry
import servers
import stub as stubs
import waiting
from conftest import RunPython
from dynamo_ext.opentelemetry import instrument
from dynamo_ext_async import Call
from dynamo_ext_async import GlobalSecondaryIndex
from dynamo_ext_async import Model
from dynamo_ext_async import PoolTimeout
from dynamo_ext_async import PynamoDB
from dynamo_ext_async import call_finished
from stub import Answer
from stub import Stub

pytestmark = pytest.mark.once(reason="each test names its transports")

Json = dict[str, t.Any]
SENTINEL = "a-key-that-nobody-needs-to-see"
TABLE = "a-item"
HAS_DIRECT = importlib.util.find_spec("httptools") is not None
on_each_transport = pytest.mark.parametrize("transport", ["botocore", "direct"])


class ByText(GlobalSecondaryIndex["Item"]):
    class Meta:
        index_name = "by-text"
        projection = AllProjection()

    text = UnicodeAttribute(hash_key=True)


class Item(Model):
    class Meta:
        table_name = "item"

    id = UnicodeAttribute(hash_key=True)
    text = UnicodeAttribute(null=True)
    by_text = ByText()


class Telemetry:
    """What was recorded."""

    def __init__(self, **options: t.Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracer_provider = TracerProvider(shutdown_on_exit=False, **options)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.tracer_provider.get_tracer("tests")
        self.reader = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self.reader], shutdown_on_exit=False)

    def instrument(self) -> None:
        instrument(tracer_provider=self.tracer_provider, meter_provider=self.meter_provider)

    @property
    def spans(self) -> list[t.Any]:
        """Those of calls."""
        found: list[t.Any] = [*self.exporter.get_finished_spans()]
        return [span for span in found if span.instrumentation_scope.name == "dynamo_ext"]

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.spans]

    @property
    def points(self) -> dict[str, list[t.Any]]:
        """By the name of a metric: its data points now."""
        data = self.reader.get_metrics_data()
        return {
            metric.name: list(metric.data.data_points)
            for resource in ([] if data is None else data.resource_metrics)
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def __str__(self) -> str:
        spans = [span.to_json() for span in self.exporter.get_finished_spans()]
        return "\n".join([*spans, repr(self.points)])


@pytest.fixture
def telemetry() -> cabc.Iterator[Telemetry]:
    recorded = Telemetry()
    recorded.instrument()
    yield recorded
    dynamo_ext.opentelemetry.uninstrument()
    recorded.tracer_provider.shutdown()
    recorded.meter_provider.shutdown()


MakeApp = cabc.Callable[..., t.Any]


@pytest.fixture
def db() -> PynamoDB:
    return PynamoDB()


@pytest.fixture
def make_app(db: PynamoDB, stub_config: Json) -> MakeApp:
    def make_app(kind: type[t.Any], transport: str, **settings: t.Any) -> t.Any:
        if transport == "direct" and not HAS_DIRECT:
            pytest.skip("the extra 'direct' is not installed")

        app = kind("tests")
        app.config.from_mapping(
            stub_config,
            DYNAMODB_TRANSPORT=transport,
            DYNAMODB_TABLE_NAME_PREFIX="a-",
            DYNAMODB_BASE_BACKOFF_MS=0,
            **settings,
        )
        db.init_app(app)
        return app

    return make_app


def write_batch(db: PynamoDB) -> None:
    with Item.batch_write() as batch:
        batch.save(Item(SENTINEL))
        batch.save(Item("other"))


def write_transaction(db: PynamoDB) -> None:
    with db.transact_write() as transaction:
        transaction.save(Item(SENTINEL))
        transaction.delete(Item("other"))


CALLS: dict[str, cabc.Callable[[PynamoDB], object]] = {
    "GetItem": lambda db: Item.get(SENTINEL),
    "PutItem": lambda db: Item(SENTINEL).save(Item.text == SENTINEL),
    "UpdateItem": lambda db: Item(SENTINEL).update([Item.text.set(SENTINEL)]),
    "DeleteItem": lambda db: Item(SENTINEL).delete(),
    "Query": lambda db: list(Item.query(SENTINEL)),
    "Scan": lambda db: list(Item.scan(Item.text == SENTINEL)),
    "BatchGetItem": lambda db: list(Item.batch_get([SENTINEL, "other"])),
    "BatchWriteItem": write_batch,
    "TransactWriteItems": write_transaction,
    "ListTables": lambda db: db.ping(),
}


@on_each_transport
def test_each_call_has_a_span_with_the_names_of_the_conventions(
    make_app: MakeApp, db: PynamoDB, stub: Stub, telemetry: Telemetry, transport: str
) -> None:
    started, view_span = time.time_ns(), telemetry.tracer.start_as_current_span("view")

    with make_app(Flask, transport).app_context(), view_span as view:
        for call in CALLS.values():
            call(db)

    assert [span.attributes["db.operation.name"] for span in telemetry.spans] == list(CALLS)

    for span in telemetry.spans:
        attributes = dict(span.attributes or {})
        operation = attributes["db.operation.name"]
        table = None if operation == "ListTables" else TABLE
        assert span.name == " ".join(filter(None, [operation, table]))
        assert span.kind is trace.SpanKind.CLIENT
        assert span.parent.span_id == view.get_span_context().span_id
        assert span.context.trace_id == view.get_span_context().trace_id
        assert started <= span.start_time < span.end_time <= time.time_ns()
        assert span.status.status_code is trace.StatusCode.UNSET
        assert attributes["db.system.name"] == "aws.dynamodb"
        assert attributes.get("db.collection.name") == table
        assert attributes.get("aws.dynamodb.table_names") == (table and (table,))
        assert attributes["server.address"] == "127.0.0.1"
        assert attributes["server.port"] == stub.port
        assert attributes["cloud.region"] == "us-east-1"
        assert attributes.get("db.operation.batch.size") == (
            2 if operation.startswith(("Batch", "Trans")) else None
        )
        assert "error.type" not in attributes

    assert SENTINEL not in str(telemetry)


@on_each_transport
def test_a_span_tells_the_parameters_and_the_reply(
    make_app: MakeApp, stub: Stub, telemetry: Telemetry, transport: str
) -> None:
    item = {"id": {"S": SENTINEL}, "text": {"S": SENTINEL}}
    body = {
        "Items": [item],
        "Count": 1,
        "ScannedCount": 7,
        "ConsumedCapacity": {"TableName": TABLE, "CapacityUnits": 1.5},
    }
    stub.next("Query", Answer(body=body, headers={"x-amzn-RequestId": "ABC-1"}))

    with make_app(Flask, transport).app_context():
        found = Item.by_text.query(SENTINEL, page_size=5, scan_index_forward=False)
        assert [item.id for item in found] == [SENTINEL]
        Item.get(SENTINEL, consistent_read=True)

    query, get = (dict(span.attributes) for span in telemetry.spans)
    assert query["aws.dynamodb.index_name"] == "by-text"
    assert query["aws.dynamodb.limit"] == 5
    assert query["aws.dynamodb.scan_forward"] is False
    assert query["aws.dynamodb.count"] == 1
    assert query["aws.dynamodb.scanned_count"] == 7
    assert '"CapacityUnits": 1.5' in query["aws.dynamodb.consumed_capacity"][0]
    assert query["aws.request_id"] == "ABC-1"
    assert get["aws.dynamodb.consistent_read"] is True
    assert SENTINEL not in str(telemetry)


async def query() -> None:
    assert [item.id async for item in Item.aquery(SENTINEL)] == [SENTINEL]


async def scan() -> None:
    assert [item async for item in Item.aparallel_scan(2)] == []


async def batch_write() -> None:
    async with Item.abatch_write() as batch:
        await batch.save(Item(SENTINEL))


async def ways(db: PynamoDB) -> None:
    """Every way to await a call."""
    await Item.aget(SENTINEL)
    await Item(SENTINEL).asave()
    await query()
    await Item.acount(SENTINEL)
    await scan()
    assert [item.id async for item in Item.abatch_get([SENTINEL])] == [SENTINEL]
    await batch_write()

    async with db.atransact_write() as transaction:
        transaction.save(Item(SENTINEL))

    await db.run_sync(Item.get, SENTINEL)
    await db.aping()


OF_WAYS = [
    *("GetItem", "PutItem", "Query", "Query", "Query", "Scan", "Scan", "BatchGetItem"),
    *("BatchWriteItem", "TransactWriteItems", "GetItem", "ListTables"),
]


@pytest.mark.anyio
@on_each_transport
async def test_each_awaited_call_has_a_span_in_that_of_its_task(
    make_app: MakeApp, db: PynamoDB, stub: Stub, telemetry: Telemetry, transport: str
) -> None:
    page = {"Items": [{"id": {"S": SENTINEL}}], "Count": 1, "ScannedCount": 1}
    stub.next("Query", Answer(body={**page, "LastEvaluatedKey": {"id": {"S": SENTINEL}}}))

    async def one(number: int) -> None:
        with telemetry.tracer.start_as_current_span(f"view {number}"):
            await Item.aget("x")

    async with make_app(Quart, transport).app_context():
        with telemetry.tracer.start_as_current_span("view") as view:
            await ways(db)

        assert [span.attributes["db.operation.name"] for span in telemetry.spans] == OF_WAYS
        parents = {span.parent.span_id for span in telemetry.spans}
        assert parents == {view.get_span_context().span_id}
        telemetry.exporter.clear()

        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(one, number)

    assert len({span.parent.span_id for span in telemetry.spans}) == 8
    assert len({span.context.trace_id for span in telemetry.spans}) == 8
    assert SENTINEL not in str(telemetry)


@pytest.mark.anyio
@on_each_transport
async def test_a_call_under_a_websocket_has_a_span_in_that_of_the_websocket(
    make_app: MakeApp, telemetry: Telemetry, transport: str, anyio_backend_name: str
) -> None:
    app: Quart = make_app(QuartTrio if anyio_backend_name == "trio" else Quart, transport)
    t.cast(t.Any, app).asgi_app = OpenTelemetryMiddleware(
        app.asgi_app,
        tracer_provider=telemetry.tracer_provider,
        meter_provider=telemetry.meter_provider,
        exclude_spans=["receive", "send"],
    )

    @app.websocket("/<name>")
    async def socket(name: str) -> None:
        while True:
            await quart.websocket.receive()
            await Item.aget(SENTINEL)
            await quart.websocket.send(name)

    async with (
        app.test_client().websocket("/a") as first,
        app.test_client().websocket("/b") as second,
    ):
        for connection in (first, second, second, first):
            await connection.send(SENTINEL)
            await connection.receive()

    finished: list[t.Any] = [*telemetry.exporter.get_finished_spans()]
    of_sockets = {
        span.context.span_id: span.attributes["http.target"]
        for span in finished
        if span.kind is trace.SpanKind.SERVER
    }
    assert telemetry.names == [f"GetItem {TABLE}"] * 4
    parents = [of_sockets[span.parent.span_id] for span in telemetry.spans]
    assert parents == ["/a", "/b", "/b", "/a"]
    assert SENTINEL not in str(telemetry)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_each_page_of_a_forking_server_has_its_own_spans_and_calls(stub: Stub) -> None:
    """uWSGI forks the process that has loaded the app, instrumented it and made calls."""
    app, transport = "apps.observed:create_app()", "direct" if HAS_DIRECT else "botocore"
    environment = {"HOST": stub.url, "RECORD_CALLS": "1", "DYNAMO_EXT_TEST_TRANSPORT": transport}
    pages: set[str] = set()

    def busy(request: stubs.Request) -> stubs.Answer:
        key = request.body["Key"]["id"]["S"]

        if key.isdigit():
            # The four threads of one process can't be where five pages are.
            pages.add(key)
            stub.wait_for(lambda: len(pages) > 4)

        return stub._usual(request)

    # As far away as DynamoDB: a near server has answered before another process calls.
    stub.always("GetItem", stubs.delayed(0.03, busy))
    ways = ["observed", "observed-awaited"]
    paths = [f"/{ways[number % 2]}/{number}" for number in range(40)]

    with (
        servers.uwsgi(
            app, "--processes", "2", "--threads", "4", "--enable-threads", environment=environment
        ) as server,
        concurrent.futures.ThreadPoolExecutor(8) as threads,
    ):
        answers = list(threads.map(lambda path: _get(server.url, path), paths))
        assert "Traceback" not in server.stop()

    for answer in answers:
        assert answer.headers["Server-Timing"].endswith(';desc="2 calls"')
        seen = answer.json()
        assert seen["calls"] == ["GetItem", "Query"]
        assert seen["spans"] == ["GetItem todo", "Query todo"]
        assert seen["parents"] == [True, True]

    assert len({answer.json()["process"] for answer in answers}) == 2


def _get(url: str, path: str) -> httpx.Response:
    # A connection for each request: any worker may get it.
    return httpx.get(url + path, timeout=100, trust_env=False, headers={"Connection": "close"})


class Threads(SpanProcessor):
    """Notes the threads in which it runs, and raises if it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.names: set[str] = set()
        self.calls = 0
        self.error = error

    def on_start(self, span: t.Any, parent_context: t.Any = None) -> None:
        self.calls += 1
        self.names.add(threading.current_thread().name)

        if self.error is not None:
            raise self.error

    def on_end(self, span: ReadableSpan) -> None:
        self.on_start(span)


@pytest.mark.anyio
async def test_what_exports_does_not_run_in_the_hub(
    make_app: MakeApp, stub: Stub, telemetry: Telemetry
) -> None:
    threads = Threads()
    telemetry.tracer_provider.add_span_processor(threads)
    makers: set[str] = set()

    def usual(request: stubs.Request) -> Answer:
        makers.update(thread.name for thread in threading.enumerate())
        return stub._usual(request)

    stub.always("GetItem", usual)

    async with make_app(Quart, "direct").app_context():
        # The first call creates the client, in a worker.
        await Item.aget("x")
        threads.names.clear()
        await Item.aget("x")

        with anyio.CancelScope() as scope:
            stub.next("GetItem", stubs.held(stub._usual))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(Item.aget, "x")
                await waiting.until(lambda: stub.in_flight == 1)
                scope.cancel()

        assert len(telemetry.spans) == 2
        stub.release()
        await waiting.until(lambda: len(telemetry.spans) == 3)

    assert "dynamo-ext hub" in makers
    assert threads.names
    assert "dynamo-ext hub" not in threads.names
    assert telemetry.spans[2].status.status_code is trace.StatusCode.UNSET


@on_each_transport
def test_attempts_are_events_and_the_error_is_dynamodbs_code(
    make_app: MakeApp, stub: Stub, telemetry: Telemetry, transport: str
) -> None:
    refusal = stubs.error(400, "ValidationException", f"{SENTINEL} is wrong")
    stub.next("GetItem", stubs.THROTTLE, stubs.INTERNAL_ERROR, stub._usual, refusal)
    stub.next("GetItem", *[stubs.RESET] * 3)

    with make_app(Flask, transport, DYNAMODB_MAX_RETRY_ATTEMPTS=2).app_context():
        Item.get("x")

        for _ in range(2):
            with pytest.raises(GetError):
                Item.get(SENTINEL)

    throttled, internal = "ProvisionedThroughputExceededException", "InternalServerError"
    reset = "ConnectionClosedError"
    told = [[event.attributes.get("error.type") for event in s.events] for s in telemetry.spans]
    assert told == [[throttled, internal, None], ["ValidationException"], [reset] * 3]
    retried, refused, lost = telemetry.spans
    numbers = [event.attributes["dynamo_ext.attempt.number"] for event in retried.events]
    assert numbers == [1, 2, 3]
    times = [retried.start_time, *(event.timestamp for event in retried.events), retried.end_time]
    assert times == sorted(times)
    assert retried.status.status_code is trace.StatusCode.UNSET
    assert "error.type" not in retried.attributes

    for span, code in ((refused, "ValidationException"), (lost, reset)):
        assert span.status.status_code is trace.StatusCode.ERROR
        assert span.status.description is None
        assert span.attributes["error.type"] == code

    assert refused.attributes["db.response.status_code"] == "ValidationException"
    assert "db.response.status_code" not in lost.attributes
    assert SENTINEL not in str(telemetry)


def test_an_error_holds_nothing_of_the_servers_words(
    make_app: MakeApp, db: PynamoDB, stub: Stub, telemetry: Telemetry
) -> None:
    cancelled = {
        "__type": "TransactionCanceledException",
        "message": SENTINEL,
        "CancellationReasons": [{"Code": "ConditionalCheckFailed", "Message": SENTINEL}],
    }
    failed = stubs.error(400, "ConditionalCheckFailedException", SENTINEL)
    stub.next("PutItem", failed, stubs.error(400, f"{SENTINEL} is the code", SENTINEL))
    stub.next("TransactWriteItems", Answer(status=400, body=cancelled))

    with make_app(Flask, "botocore").app_context():
        for _ in range(2):
            with pytest.raises(PutError):
                Item(SENTINEL).save(Item.id.does_not_exist())

        with pytest.raises(TransactWriteError):
            write_transaction(db)

    types = [span.attributes["error.type"] for span in telemetry.spans]
    assert types == ["ConditionalCheckFailedException", "_OTHER", "TransactionCanceledException"]
    assert {span.status.status_code for span in telemetry.spans} == {trace.StatusCode.ERROR}
    assert SENTINEL not in str(telemetry)


@pytest.mark.anyio
@on_each_transport
async def test_a_call_without_a_slot_and_a_cancelled_one_have_spans(
    make_app: MakeApp, db: PynamoDB, stub: Stub, telemetry: Telemetry, transport: str
) -> None:
    settings = {"DYNAMODB_MAX_POOL_CONNECTIONS": 1, "DYNAMODB_POOL_TIMEOUT_SECONDS": 0.05}
    app = make_app(Quart, transport, **settings)

    async with app.app_context(), anyio.create_task_group() as tasks:
        await Item.aget("the client is there")
        telemetry.exporter.clear()
        stub.next("GetItem", stubs.held(stub._usual))
        tasks.start_soon(Item.aget, "x")
        await waiting.until(lambda: stub.in_flight == 1)

        with pytest.raises(PoolTimeout):
            await Item.aget(SENTINEL)

        with pytest.raises(PoolTimeout):
            await anyio.to_thread.run_sync(Item.get, SENTINEL)

        with anyio.CancelScope() as scope:
            scope.cancel()
            await Item.aget(SENTINEL)

        pool = db.pool
        assert (pool.in_use, pool.waiting) == (1, 0)
        stub.release()

    refused, refused_in_thread, cancelled, answered = telemetry.spans
    assert [span.name for span in telemetry.spans] == [f"GetItem {TABLE}"] * 4
    assert refused.attributes["error.type"] == "PoolTimeout"
    assert refused_in_thread.attributes["error.type"] == "PoolTimeout"
    # Nearly all of the 50 ms: the timers of event loops may be early.
    assert refused.end_time - refused.start_time >= 25_000_000
    assert cancelled.attributes["error.type"] in {"CancelledError", "Cancelled"}
    assert answered.status.status_code is trace.StatusCode.UNSET
    (timeouts,) = telemetry.points["db.client.connection.timeouts"]
    assert timeouts.value == 2


def test_metrics(make_app: MakeApp, db: PynamoDB, stub: Stub, telemetry: Telemetry) -> None:
    two = {"Items": [{"id": {"S": "x"}}] * 2, "Count": 2, "ScannedCount": 2}
    stub.next("Query", Answer(body=two))
    stub.next("GetItem", stub._usual, Answer(), stubs.error(400, "ValidationException"))

    with make_app(Flask, "direct", DYNAMODB_MAX_POOL_CONNECTIONS=7).app_context():
        list(Item.query("x"))
        Item.get("x")

        for error in (Item.DoesNotExist, GetError):
            with pytest.raises(error):
                Item.get("x")

        with db.pool.acquire(1):
            points = telemetry.points

    durations = {
        (point.attributes["db.operation.name"], point.attributes.get("error.type")): point
        for point in points["db.client.operation.duration"]
    }
    counts = {key: point.count for key, point in durations.items()}
    assert counts == {
        ("Query", None): 1,
        ("GetItem", None): 2,
        ("GetItem", "ValidationException"): 1,
    }
    (span,) = (span for span in telemetry.spans if span.name.startswith("Query"))
    assert durations["Query", None].sum == (span.end_time - span.start_time) / 1e9
    buckets = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
    assert durations["Query", None].explicit_bounds == buckets
    assert dict(durations["Query", None].attributes) == {
        "db.system.name": "aws.dynamodb",
        "db.operation.name": "Query",
        "db.collection.name": TABLE,
        "server.address": "127.0.0.1",
        "server.port": stub.port,
    }
    rows = {
        p.attributes["db.operation.name"]: p.sum for p in points["db.client.response.returned_rows"]
    }
    assert rows == {"Query": 2, "GetItem": 1}
    pool = f"127.0.0.1:{stub.port}"
    assert values_of(points, "db.client.connection.count", pool) == {"used": 1, "idle": 6}
    assert values_of(points, "db.client.connection.max", pool) == {None: 7}
    assert values_of(points, "db.client.connection.pending_requests", pool) == {None: 0}
    assert sum(point.count for point in points["db.client.connection.wait_time"]) == 4


def values_of(points: dict[str, list[t.Any]], metric: str, pool: str) -> dict[str | None, int]:
    """The values of a pool's metric, by state."""
    return {
        point.attributes.get("db.client.connection.state"): point.value
        for point in points.get(metric, [])
        if point.attributes["db.client.connection.pool.name"] == pool
    }


def test_a_pool_that_is_gone_is_not_reported(
    stub: Stub, stub_config: Json, telemetry: Telemetry
) -> None:
    app = Flask("tests")
    app.config.from_mapping(stub_config)
    db = PynamoDB(app)

    with app.app_context():
        assert db.pool.size == 10

    pool = f"127.0.0.1:{stub.port}"
    assert values_of(telemetry.points, "db.client.connection.max", pool) == {None: 10}
    del app, db
    gc.collect()
    assert values_of(telemetry.points, "db.client.connection.max", pool) == {}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_reports_its_own_pool(
    run_warm_python: RunPython, stub: Stub, stub_config: Json
) -> None:
    code = f"""
import os
from flask import Flask
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from dynamo_ext import PynamoDB
from dynamo_ext.opentelemetry import instrument

exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
tracers = TracerProvider(shutdown_on_exit=False)
tracers.add_span_processor(SimpleSpanProcessor(exporter))
instrument(tracer_provider=tracers, meter_provider=MeterProvider([reader], shutdown_on_exit=False))
app = Flask("tests")
app.config.from_mapping({stub_config!r})
db = PynamoDB(app)

with app.app_context(), db.pool.acquire(1):
    if (child := os.fork()) == 0:
        db.ping()
        (resource,) = reader.get_metrics_data().resource_metrics
        (scope,) = resource.scope_metrics
        print({{
            (m.name, p.attributes.get("db.client.connection.state")): p.value
            for m in scope.metrics for p in m.data.data_points if hasattr(p, "value")
        }}, [span.name for span in exporter.get_finished_spans()], flush=True)
        os._exit(0)

    os.waitpid(child, 0)
"""
    done = run_warm_python(code)
    assert done.returncode == 0, done.stderr
    assert "('db.client.connection.count', 'used'): 0" in done.stdout
    assert "('db.client.connection.count', 'idle'): 10" in done.stdout
    assert "['ListTables']" in done.stdout


@pytest.mark.anyio
@on_each_transport
async def test_what_exports_may_fail(
    make_app: MakeApp,
    db: PynamoDB,
    telemetry: Telemetry,
    transport: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    threads = Threads(KeyError("of the processor"))
    telemetry.tracer_provider.add_span_processor(threads)

    async with make_app(Quart, transport, DYNAMODB_MAX_POOL_CONNECTIONS=1).app_context():
        for _ in range(3):
            assert (await Item.aget("x")).id == "x"

        assert await anyio.to_thread.run_sync(lambda: Item.get("x").id) == "x"
        assert (db.pool.in_use, db.pool.waiting) == (0, 0)

    assert threads.calls >= 4
    assert "What follows calls raised an exception." in caplog.text
    assert "of the processor" in caplog.text


@on_each_transport
def test_botocores_instrumentation_beside_it_adds_no_span(
    make_app: MakeApp, telemetry: Telemetry, transport: str
) -> None:
    # It has no annotations.
    of_botocore = t.cast(t.Any, BotocoreInstrumentor)()
    of_botocore.instrument(tracer_provider=telemetry.tracer_provider)

    try:
        with make_app(Flask, transport).app_context():
            Item.get("x")
            assert len(telemetry.exporter.get_finished_spans()) == 1
            dynamo_ext.opentelemetry.uninstrument()
            Item.get("x")
    finally:
        of_botocore.uninstrument()

    ours, *others = [span.name for span in telemetry.exporter.get_finished_spans()]
    assert ours == f"GetItem {TABLE}"
    # Its older releases wrap anew what is wrapped already.
    assert set(others) == {"DynamoDB.GetItem"}


@pytest.mark.anyio
@pytest.mark.parametrize("key", dynamo_ext.opentelemetry._SUPPRESSED, ids=["exporter", "user"])
async def test_suppressed_instrumentation(
    make_app: MakeApp, telemetry: Telemetry, key: str
) -> None:
    async with make_app(Quart, "direct").app_context():
        await Item.aget("before")
        token = otel_context.attach(otel_context.set_value(key, True))

        try:
            await Item.aget("x")
            await db_get()
        finally:
            otel_context.detach(token)

        assert len(telemetry.spans) == 1
        await Item.aget("x")

    assert len(telemetry.spans) == 2
    (duration,) = telemetry.points["db.client.operation.duration"]
    assert duration.count == 2


async def db_get() -> None:
    await anyio.to_thread.run_sync(Item.get, "x")


def test_a_receiver_runs_in_the_span_of_the_handler(
    make_app: MakeApp, telemetry: Telemetry
) -> None:
    seen: list[trace.Span] = []

    def receive(sender: object, call: Call) -> None:
        seen.append(trace.get_current_span())

        if len(seen) == 1:
            Item.get("of the receiver")

    app, view_span = make_app(Flask, "botocore"), telemetry.tracer.start_as_current_span("view")

    with app.app_context(), call_finished.connected_to(receive), view_span as view:
        Item.get("x")

    assert seen == [view, view]
    assert {span.parent.span_id for span in telemetry.spans} == {view.get_span_context().span_id}


def test_what_is_not_sampled_has_metrics_only(make_app: MakeApp, telemetry: Telemetry) -> None:
    off = Telemetry(sampler=ALWAYS_OFF)
    instrument(tracer_provider=off.tracer_provider)

    with make_app(Flask, "botocore").app_context():
        Item.get("x")

    assert off.spans == telemetry.spans == []
    # The meter given before is still the one.
    assert telemetry.points["db.client.operation.duration"][0].count == 1


def test_twice_is_harmless(make_app: MakeApp, stub: Stub, telemetry: Telemetry) -> None:
    telemetry.instrument()
    instrument()

    with make_app(Flask, "botocore").app_context():
        Item.get("x")
        points = telemetry.points

    assert telemetry.names == [f"GetItem {TABLE}"]
    assert points["db.client.operation.duration"][0].count == 1
    pool = f"127.0.0.1:{stub.port}"
    assert values_of(points, "db.client.connection.max", pool) == {None: 10}


def test_other_providers_take_the_place_of_the_first(
    make_app: MakeApp, stub: Stub, telemetry: Telemetry
) -> None:
    second = Telemetry()
    second.instrument()

    with make_app(Flask, "botocore").app_context():
        Item.get("x")
        assert second.names == [f"GetItem {TABLE}"]
        assert telemetry.names == []
        pool = f"127.0.0.1:{stub.port}"
        assert values_of(second.points, "db.client.connection.max", pool) == {None: 10}
        assert values_of(telemetry.points, "db.client.connection.max", pool) == {}
        dynamo_ext.opentelemetry.uninstrument()
        Item.get("x")
        assert len(second.spans) == 1
        assert values_of(second.points, "db.client.connection.max", pool) == {}


def test_a_provider_is_checked() -> None:
    with pytest.raises(TypeError, match=r"'tracer_provider' must be a provider.*'Flask'"):
        instrument(tracer_provider=t.cast(t.Any, Flask("tests")))

    with pytest.raises(TypeError, match="'meter_provider' must be a provider"):
        instrument(meter_provider=t.cast(t.Any, trace.NoOpTracerProvider()))


def test_it_says_what_is_missing(run_python: RunPython) -> None:
    done = run_python(
        "import sys; sys.modules['opentelemetry'] = None; import dynamo_ext.opentelemetry"
    )
    assert 'pip install "dynamo-ext[opentelemetry]"' in done.stderr


def test_without_an_sdk_calls_work(run_python: RunPython, stub: Stub, stub_config: Json) -> None:
    code = f"""
from flask import Flask
from dynamo_ext import PynamoDB
from dynamo_ext.opentelemetry import instrument

instrument()
app = Flask("tests")
app.config.from_mapping({stub_config!r})
db = PynamoDB(app)

with app.app_context():
    db.ping()

import sys
assert "opentelemetry.sdk" not in sys.modules
"""
    done = run_python(code)
    assert (done.returncode, done.stderr) == (0, "")
    assert stub.operations == ["ListTables"]
