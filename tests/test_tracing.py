"""What OpenTelemetry and X-Ray see: each call, as a child of what was current where it was made.

Both change botocore for the whole process, so each test has a process of its own.
"""

from __future__ import annotations

import collections
import collections.abc as cabc
import concurrent.futures
import json
import pathlib
import socket
import typing as t

import pytest

import engines
import interpreter
import pages
import stub as stubs
from conftest import RunPython
from stub import Answer
from stub import Request
from stub import Stub

pytestmark = [
    pytest.mark.slow,
    pytest.mark.wire,
]

Json = dict[str, t.Any]

SENTINEL = "a-key-that-nobody-needs-to-see"
AT_ONCE = 8
ASYNCIO: tuple[str, Json] = ("asyncio", {})

MODEL = """
import json
import sys

import anyio
from flask import Flask
from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import GetError
from pynamodb.indexes import AllProjection
from quart import Quart
from quart_trio import QuartTrio

from dynamo_ext_async import GlobalSecondaryIndex, Model, PynamoDB

config, key, (backend, options), *arguments = map(json.loads, sys.argv[1:])
db = PynamoDB()


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


def make(app):
    app.config.from_mapping(config)
    db.init_app(app)
    return app


def make_quart():
    return make(QuartTrio("api") if backend == "trio" else Quart("api"))


async def get(app, path):
    assert (await app.test_client().get(path)).status_code == 200


async def get_at_once(app, paths):
    async with anyio.create_task_group() as tasks:
        for path in paths:
            tasks.start_soon(get, app, path)


def run(function, *arguments):
    anyio.run(function, *arguments, backend=backend, backend_options=options)
"""

OPENTELEMETRY = """
from opentelemetry import trace
from opentelemetry.instrumentation.botocore import BotocoreInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
tracer = provider.get_tracer("tests")


def instrument():
    BotocoreInstrumentor().instrument(tracer_provider=provider)


def print_spans():
    print(json.dumps([json.loads(span.to_json()) for span in exporter.get_finished_spans()]))
"""

X_RAY = """
from aws_xray_sdk.core import patch, xray_recorder

(daemon,) = arguments


def trace_segments(context):
    xray_recorder.configure(
        service="app", sampling=False, daemon_address=daemon, context=context
    )
    patch(["botocore"])
"""

# Every way to await a call.
WAYS = """
async def query():
    assert [item.id async for item in Item.aquery(key)] == [key]


async def query_index():
    assert [item async for item in Item.by_text.aquery(key)] == []


async def scan():
    assert [item async for item in Item.aparallel_scan(2)] == []


async def batch_get():
    assert [item.id async for item in Item.abatch_get([key])] == [key]


async def batch_write():
    async with Item.abatch_write() as batch:
        await batch.save(Item(key))


async def transact_get():
    async with db.atransact_get() as transaction:
        item = transaction.get(Item, key)

    assert item.get().id == key


async def transact_write():
    async with db.atransact_write() as transaction:
        transaction.save(Item(key))


WAYS = {
    "get": lambda: Item.aget(key),
    "save": lambda: Item(key).asave(),
    "update": lambda: Item(key).aupdate([Item.text.set("text")]),
    "query": query,
    "query_index": query_index,
    "count": lambda: Item.acount(key),
    "scan": scan,
    "batch_get": batch_get,
    "batch_write": batch_write,
    "transact_get": transact_get,
    "transact_write": transact_write,
    "own": lambda: db.run_sync(Item.get, key),
    "ping": db.aping,
}
"""

CALLS_OF_WAYS = {
    "get": ["GetItem"],
    "save": ["PutItem"],
    "update": ["UpdateItem"],
    "query": ["Query", "Query"],
    "query_index": ["Query"],
    "count": ["Query"],
    "scan": ["Scan", "Scan"],
    "batch_get": ["BatchGetItem"],
    "batch_write": ["BatchWriteItem"],
    "transact_get": ["TransactGetItems"],
    "transact_write": ["TransactWriteItems"],
    "own": ["GetItem"],
    "ping": ["ListTables"],
}


@pytest.fixture
def config(stub_config: Json) -> Json:
    return {
        **stub_config,
        "DYNAMODB_TABLE_NAME_PREFIX": "a-",
        "DYNAMODB_BASE_BACKOFF_MS": 0,
        "DYNAMODB_MAX_RETRY_ATTEMPTS": 2,
    }


@pytest.fixture
def arguments(config: Json, anyio_backend: t.Any) -> list[str]:
    """For :data:`MODEL`."""
    return as_json(config, SENTINEL, anyio_backend)


def as_json(*arguments: t.Any) -> list[str]:
    return [json.dumps(argument) for argument in arguments]


def two_pages(stub: Stub) -> None:
    item = {"id": {"S": SENTINEL}}
    page = {"Items": [item], "Count": 1, "ScannedCount": 1, "LastEvaluatedKey": item}
    stub.next("Query", Answer(body=page))


def spans_of(run_warm_python: RunPython, code: str, arguments: list[str]) -> list[Json]:
    done = run_warm_python(MODEL + OPENTELEMETRY + code, *arguments)
    assert done.returncode == 0, done.stderr
    assert SENTINEL not in done.stdout
    return t.cast("list[Json]", json.loads(done.stdout))


def calls(spans: list[Json]) -> list[Json]:
    """The spans of calls to the server."""
    return [span for span in spans if span["name"].startswith("DynamoDB.")]


def calls_of_views(spans: list[Json]) -> dict[str, list[str]]:
    """The operations whose spans are children of a view's span, by its name."""
    views = {span["context"]["span_id"]: span for span in spans}
    found = collections.defaultdict[str, list[str]](list)

    for call in calls(spans):
        view = views[call["parent_id"]]
        assert call["context"]["trace_id"] == view["context"]["trace_id"]
        found[view["name"]].append(call["attributes"]["rpc.method"])

    return found


def span_id_on_the_wire(request: Request) -> str:
    """The id of the span that a request was sent in."""
    header = request.header("X-Amzn-Trace-Id") or ""
    return dict(part.split("=") for part in header.split(";"))["Parent"]


def answer_when_all_are_there(stub: Stub) -> None:
    """Answer the first requests of all views only when all of these have arrived."""
    stub.next("GetItem", *[stubs.held(stub._usual)] * AT_ONCE)
    stub.wait_for(lambda: stub.in_flight == AT_ONCE)
    stub.release()


@pytest.mark.parametrize("instrumented", ["before", "after"])
def test_opentelemetry_sees_the_calls_of_a_flask_view(
    run_warm_python: RunPython, config: Json, stub: Stub, instrumented: str
) -> None:
    code = """
from opentelemetry.instrumentation.flask import FlaskInstrumentor

app = make(Flask("web"))
FlaskInstrumentor().instrument_app(app, tracer_provider=provider)


@app.get("/")
def view():
    Item.get(key)
    list(Item.query(key))

    with Item.batch_write() as batch:
        batch.save(Item(key))

    with db.transact_write() as transaction:
        transaction.save(Item(key))

    return ""


if arguments == ["before"]:
    instrument()

with app.app_context():
    client = db.connection.client

instrument()
assert app.test_client().get("/").status_code == 200

with app.app_context():
    assert db.connection.client is client

print_spans()
"""
    two_pages(stub)
    arguments = as_json(config, SENTINEL, ASYNCIO, instrumented)
    spans = spans_of(run_warm_python, code, arguments)
    operations = ["GetItem", "Query", "Query", "BatchWriteItem", "TransactWriteItems"]
    assert calls_of_views(spans) == {"GET /": operations}
    assert stub.operations == operations


def test_opentelemetry_sees_every_call_of_a_quart_view(
    run_warm_python: RunPython, arguments: list[str], stub: Stub
) -> None:
    code = """
app = make_quart()


@app.get("/<name>")
async def view(name):
    with tracer.start_as_current_span(name):
        await WAYS[name]()

    return name


async def main():
    for name in WAYS:
        await get(app, f"/{name}")


instrument()
run(main)
print_spans()
"""
    two_pages(stub)
    spans = spans_of(run_warm_python, WAYS + code, arguments)
    assert calls_of_views(spans) == CALLS_OF_WAYS
    assert len(stub.requests) == len(calls(spans))

    for call in calls(spans):
        attributes = call["attributes"]
        has_table = attributes["rpc.method"] not in {
            "ListTables",
            "TransactGetItems",
            "TransactWriteItems",
        }
        assert attributes.get("aws.dynamodb.table_names") == (["a-item"] if has_table else None)
        assert attributes["db.system"] == "dynamodb"
        assert attributes["http.status_code"] == 200
        assert call["status"]["status_code"] == "UNSET"


def test_opentelemetry_does_not_mix_views_that_run_at_once(
    run_warm_python: RunPython, arguments: list[str], stub: Stub
) -> None:
    code = f"""
app = make_quart()


@app.get("/<name>")
async def view(name):
    with tracer.start_as_current_span(name):
        await Item.aget(name)
        await Item.aget(name)

    return name


instrument()
run(get_at_once, app, [f"/{{number}}" for number in range({AT_ONCE})])
print_spans()
"""

    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        running = threads.submit(spans_of, run_warm_python, code, arguments)
        answer_when_all_are_there(stub)
        spans = running.result()

    names = [str(number) for number in range(AT_ONCE)]
    assert calls_of_views(spans) == {name: ["GetItem", "GetItem"] for name in names}
    by_id = {span["context"]["span_id"].removeprefix("0x"): span for span in spans}

    for request in stub.requests:
        view = by_id[by_id[span_id_on_the_wire(request)]["parent_id"].removeprefix("0x")]
        assert view["name"] == request.body["Key"]["id"]["S"]


def test_opentelemetry_sees_one_span_for_all_attempts_and_the_error(
    run_warm_python: RunPython, arguments: list[str], stub: Stub
) -> None:
    code = """
app = make_quart()


@app.get("/<name>")
async def view(name):
    with tracer.start_as_current_span(name):
        try:
            await Item.aget(key)
        except GetError:
            assert name != "retried"

    return name


async def main():
    for name in ("retried", "refused", "lost"):
        await get(app, f"/{name}")


instrument()
run(main)
print_spans()
"""
    refusal = stubs.error(400, "ValidationException", "said the stub")
    stub.next("GetItem", stubs.THROTTLE, stubs.INTERNAL_ERROR, stub._usual, refusal)
    stub.next("GetItem", *[stubs.RESET] * 3)
    spans = spans_of(run_warm_python, code, arguments)
    names = ["retried", "refused", "lost"]
    assert calls_of_views(spans) == {name: ["GetItem"] for name in names}
    retried, refused, lost = calls(spans)

    assert retried["status"]["status_code"] == "UNSET"
    assert retried["attributes"]["retry_attempts"] == 2
    on_wire = [f"0x{span_id_on_the_wire(request)}" for request in stub.requests]
    ids = [span["context"]["span_id"] for span in (retried, refused, lost)]
    assert on_wire == [ids[0]] * 3 + [ids[1]] + [ids[2]] * 3

    assert refused["attributes"]["http.status_code"] == 400
    assert_error(refused, "ValidationException", "said the stub")
    assert_error(lost, "ConnectionClosedError", "Connection was closed")


def assert_error(span: Json, name: str, message: str) -> None:
    """The span ends in an error, and tells which."""
    assert span["status"]["status_code"] == "ERROR"
    assert message in span["status"]["description"]
    (event,) = span["events"]
    told = event["attributes"]
    assert name in told["exception.type"] + told["exception.message"]
    assert message in told["exception.message"]


class Daemon:
    """The X-Ray daemon: it collects segments."""

    def __init__(self, socket: socket.socket) -> None:
        self._socket = socket

    @property
    def address(self) -> str:
        host, port = self._socket.getsockname()
        return f"{host}:{port}"

    def segments(self) -> list[Json]:
        """What has been sent since the last time."""
        segments: list[Json] = []

        while True:
            try:
                content = self._socket.recv(65_535)
            except BlockingIOError:
                return segments

            _, _, document = content.partition(b"\n")
            segments.append(json.loads(document))


@pytest.fixture
def daemon() -> cabc.Iterator[Daemon]:
    with socket.socket(type=socket.SOCK_DGRAM) as listener:
        listener.bind((engines.HOST, 0))
        listener.setblocking(False)
        yield Daemon(listener)


def context_variable_of_docs() -> str:
    """The code of the context that users are told to configure."""
    page = pathlib.Path(__file__).parent.parent / "docs" / "observability.md"
    (block,) = (block for block in pages.read(page.read_text()) if block.value == "xray_context.py")
    return block.code


def operations(segment: Json) -> list[str]:
    """Of the calls right below a segment or subsegment."""
    return [
        part["aws"]["operation"]
        for part in segment.get("subsegments", [])
        if part["name"] == "dynamodb"
    ]


@pytest.mark.parametrize("context", ["the default", "of the docs"])
def test_x_ray_sees_the_calls_of_a_flask_view(
    run_warm_python: RunPython, config: Json, stub: Stub, daemon: Daemon, context: str
) -> None:
    own = "ContextVariable()" if context == "of the docs" else "None"
    code = f"""
from aws_xray_sdk.ext.flask.middleware import XRayMiddleware

app = make(Flask("web"))
XRayMiddleware(app, xray_recorder)


@app.get("/")
def view():
    Item.get(key)

    with xray_recorder.in_subsegment("within"):
        try:
            Item.get(key)
        except GetError:
            list(Item.query(key))

    return ""


with app.app_context():
    db.connection.client

trace_segments({own})
assert app.test_client().get("/").status_code == 200
"""
    two_pages(stub)
    stub.next("GetItem", stub._usual, stubs.error(400, "ValidationException", "said the stub"))
    arguments = as_json(config, SENTINEL, ASYNCIO, daemon.address)
    done = run_warm_python(MODEL + context_variable_of_docs() + X_RAY + code, *arguments)
    assert done.returncode == 0, done.stderr

    (segment,) = daemon.segments()
    well, within = segment["subsegments"]
    assert operations(segment) == ["GetItem"]
    assert operations(within) == ["GetItem", "Query", "Query"]
    assert SENTINEL not in json.dumps(segment)
    refused, *_ = within["subsegments"]
    assert {part["aws"]["table_name"] for part in (well, *within["subsegments"])} == {"a-item"}
    assert "cause" not in well
    assert "said the stub" in refused["cause"]["exceptions"][0]["message"]


def test_x_ray_does_not_mix_quart_views_that_run_at_once(
    run_warm_python: RunPython, arguments: list[str], stub: Stub, daemon: Daemon
) -> None:
    code = f"""
trace_segments(ContextVariable())
app = make_quart()


@app.before_request
async def begin_segment():
    xray_recorder.begin_segment()


@app.teardown_request
async def end_segment(error):
    xray_recorder.end_segment()


@app.get("/<name>")
async def view(name):
    xray_recorder.put_annotation("name", name)
    await Item.aget(name)

    with xray_recorder.in_subsegment("within"):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Item.aget, name)
            tasks.start_soon(Item.aget, name)

    assert [item async for item in Item.aquery(name)] == []
    return name


run(get_at_once, app, [f"/{{number}}" for number in range({AT_ONCE})])
"""
    code = MODEL + context_variable_of_docs() + X_RAY + code

    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        running = threads.submit(run_warm_python, code, *arguments, json.dumps(daemon.address))
        answer_when_all_are_there(stub)
        done = running.result()

    assert done.returncode == 0, done.stderr
    segments = {segment["annotations"]["name"]: segment for segment in daemon.segments()}
    assert sorted(segments) == [str(number) for number in range(AT_ONCE)]
    name_of_call: dict[str, str] = {}

    for name, segment in segments.items():
        first, within, last = segment["subsegments"]
        assert [part["aws"]["operation"] for part in (first, last)] == ["GetItem", "Query"]
        assert within["name"] == "within"
        assert operations(within) == ["GetItem", "GetItem"]
        parts = [first, last, *within["subsegments"]]
        name_of_call |= {part["id"]: name for part in parts}

    for request in stub.requests:
        name = name_of_call[span_id_on_the_wire(request)]
        values = request.body.get("Key") or request.body["ExpressionAttributeValues"]
        assert list(values.values()) == [{"S": name}]


def test_x_ray_gets_a_call_that_goes_on_after_its_task(
    arguments: list[str], stub: Stub, daemon: Daemon
) -> None:
    code = """
trace_segments(ContextVariable())


async def main():
    async with make_quart().app_context(), anyio.create_task_group() as tasks:
        pool = db.pool
        xray_recorder.begin_segment()
        tasks.start_soon(Item.aget, key)
        await anyio.to_thread.run_sync(input)
        tasks.cancel_scope.cancel()

    xray_recorder.end_segment()
    print("ended", flush=True)

    while pool.in_use:
        await anyio.sleep(0.01)


run(main)
"""
    stub.next("GetItem", stubs.HOLD)
    code = MODEL + context_variable_of_docs() + X_RAY + code

    with interpreter.running(code, *arguments, json.dumps(daemon.address)) as python:
        stub.wait_for(lambda: stub.in_flight == 1)
        python.say("cancel")
        assert python.next_line() == "ended"
        assert daemon.segments() == []
        stub.release()
        python.end()

    (segment,) = daemon.segments()
    assert operations(segment) == ["GetItem"]
