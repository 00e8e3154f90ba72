"""The life of a Quart app, on asyncio and trio; what is in flight is counted at the server."""

from __future__ import annotations

import asyncio
import collections.abc as cabc
import contextlib
import functools
import gc
import os
import socket
import threading
import typing as t

import anyio
import httpx
import hypercorn.asyncio
import hypercorn.config
import hypercorn.trio
import pytest
from pynamodb.attributes import UnicodeAttribute
from quart import Quart
from quart import current_app
from quart import websocket
from quart_trio import QuartTrio

import engines
import servers
import stub as stubs
from dynamo_ext.binding import context
from dynamo_ext.client import engine
from dynamo_ext_async import Model
from dynamo_ext_async import PynamoDB
from dynamo_ext_async.execution.slot_wait import wait_for_slot
from stub import Answer
from stub import Request
from stub import Stub
from waiting import until

pytestmark = pytest.mark.anyio

MakeApp = cabc.Callable[..., Quart]


class Item(Model):
    class Meta:
        table_name = "item"

    id = UnicodeAttribute(hash_key=True)


@pytest.fixture
def db() -> PynamoDB:
    return PynamoDB()


@pytest.fixture
def make_app(
    db: PynamoDB, stub_config: dict[str, t.Any], anyio_backend: tuple[str, dict[str, t.Any]]
) -> MakeApp:
    """Make an app for the test's event loop, whose ``/<key>`` gives an item's key."""

    def make_app(pool: int = 1, **settings: t.Any) -> Quart:
        app = QuartTrio("app") if anyio_backend[0] == "trio" else Quart("app")
        app.config.from_mapping(
            stub_config,
            DYNAMODB_MAX_POOL_CONNECTIONS=pool,
            DYNAMODB_MAX_RETRY_ATTEMPTS=0,
            TESTING=True,
        )
        app.config.from_mapping(settings)
        db.init_app(app)

        @app.get("/<key>")
        async def show(key: str) -> str:
            return (await Item.aget(key)).id

        return app

    return make_app


def keys(stub: Stub) -> list[str]:
    return [
        request.body["Key"]["id"]["S"]
        for request in stub.requests
        if request.operation == "GetItem"
    ]


async def text(app: Quart, path: str) -> str:
    return await (await app.test_client().get(path)).get_data(as_text=True)


@contextlib.asynccontextmanager
async def served(app: Quart) -> cabc.AsyncIterator[httpx.AsyncClient]:
    """Run Hypercorn in this event loop until the end of the block; give a client of it."""
    serve = hypercorn.trio.serve if isinstance(app, QuartTrio) else hypercorn.asyncio.serve
    config = hypercorn.config.Config()
    config.loglevel = "ERROR"
    config.graceful_timeout = 0.1
    stop = anyio.Event()

    with socket.create_server((engines.HOST, 0)) as listener:
        host, port = listener.getsockname()
        config.bind = [f"fd://{listener.detach()}"]

    url = f"http://{host}:{port}"

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(functools.partial(serve, app, config, shutdown_trigger=stop.wait))

        async with httpx.AsyncClient(base_url=url, timeout=100, trust_env=False) as client:
            yield client

        stop.set()


@contextlib.asynccontextmanager
async def leaving(client: httpx.AsyncClient, path: str) -> cabc.AsyncIterator[None]:
    """Make a request; hang up at the end of the block."""

    async def get() -> None:
        # A server may cut a response off.
        with contextlib.suppress(httpx.RemoteProtocolError):
            await client.get(path)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(get)
        yield
        tasks.cancel_scope.cancel()


async def test_an_app_needs_no_start_and_does_nothing_before_the_first_call(
    make_app: MakeApp, stub: Stub
) -> None:
    app = make_app()

    @app.get("/")
    async def index() -> str:
        return "no call"

    assert await text(app, "/") == "no call"
    assert stub.total_connections == 0
    assert await text(app, "/x") == "x"
    assert stub.operations == ["GetItem"]


async def test_clients_that_hang_up_take_no_slot_with_them(
    make_app: MakeApp, stub: Stub, db: PynamoDB
) -> None:
    app = make_app(pool=1)
    left: list[str] = []

    @app.get("/leave/<key>")
    async def leave(key: str) -> str:
        try:
            return (await Item.aget(key)).id
        finally:
            left.append(key)

    async def until_left(count: int) -> None:
        await until(lambda: len(left) == count)

    async def until_sent(count: int) -> None:
        await until(lambda: len(stub.requests) == count)

    async with app.app_context():
        pool = db.pool

    async with served(app) as client:
        await client.get("/warm-up")
        stub.forget()
        stub.always("GetItem", stubs.held(stub._usual))

        for number in range(5):
            async with leaving(client, f"/leave/on-the-wire-{number}"):
                if number > 0:
                    await until(lambda: pool.waiting == 1)
                    assert stub.in_flight == 1
                    stub.release()

                await until_sent(number + 1)

            await until_left(2 * number + 1)
            assert stub.in_flight == pool.in_use == 1

            async with leaving(client, f"/leave/queued-{number}"):
                await until(lambda: pool.waiting == 1)

            await until_left(2 * number + 2)
            assert pool.waiting == 0

        assert keys(stub) == [f"on-the-wire-{number}" for number in range(5)]
        assert stub.peak_in_flight == 1
        stub.always("GetItem", stub._usual)
        stub.release()
        assert (await client.get("/next")).text == "next"
        await until(lambda: pool.in_use == 0)


@pytest.fixture
def given_up() -> list[str]:
    """The keys for whose items a handler has waited in vain."""
    return []


@pytest.fixture
def impatient_app(make_app: MakeApp, given_up: list[str]) -> Quart:
    """An app with one slot, whose handlers wait 50 ms for a call, each in its way."""
    app = make_app(pool=1, RESPONSE_TIMEOUT=0.05)

    @app.get("/move-on-after/<key>")
    async def move_on_after(key: str) -> str:
        with anyio.move_on_after(0.05):
            return (await Item.aget(key)).id

        given_up.append(key)
        return ""

    @app.get("/wait-for/<key>")
    async def wait_for(key: str) -> str:
        try:
            return (await asyncio.wait_for(Item.aget(key), 0.05)).id
        except TimeoutError:
            given_up.append(key)
            return ""

    @app.get("/response-timeout/<key>")
    async def response_timeout(key: str) -> cabc.AsyncIterator[str]:
        item = Item.aget(key)

        async def stream() -> cabc.AsyncIterator[str]:
            try:
                yield (await item).id
            except BaseException:
                given_up.append(key)
                raise

        return stream()

    return app


async def five_calls_are_given_up(
    app: Quart, stub: Stub, db: PynamoDB, way: str, given_up: list[str]
) -> None:
    async def give_up(key: str) -> None:
        count = len(given_up)

        async with leaving(client, f"/{way}/{key}"):
            await until(lambda: len(given_up) > count)

    async with app.app_context():
        pool = db.pool

    async with served(app) as client:
        assert (await client.get("/warm-up")).text == "warm-up"
        stub.forget()
        stub.always("GetItem", stubs.held(stub._usual))

        # On a slow machine, a call may be given up before it is under way.
        for _ in range(20):
            await give_up("under way")

            if pool.in_use > 0:
                break

        await until(lambda: stub.in_flight == 1)

        for _ in range(4):
            await give_up("queued")
            assert stub.in_flight == pool.in_use == 1
            assert pool.waiting == 0

        assert keys(stub) == ["under way"]
        assert stub.peak_in_flight == 1
        stub.always("GetItem", stub._usual)
        stub.release()
        assert (await client.get("/next")).text == "next"
        await until(lambda: pool.in_use == 0)


@pytest.mark.parametrize("way", ["move-on-after", "response-timeout"])
async def test_calls_that_are_given_up_keep_their_slot_until_they_have_ended(
    impatient_app: Quart, stub: Stub, db: PynamoDB, way: str, given_up: list[str]
) -> None:
    await five_calls_are_given_up(impatient_app, stub, db, way, given_up)


@pytest.mark.parametrize("anyio_backend", [("asyncio", {})], ids=["asyncio"])
async def test_calls_that_asyncio_gives_up_keep_their_slot_until_they_have_ended(
    impatient_app: Quart, stub: Stub, db: PynamoDB, given_up: list[str]
) -> None:
    await five_calls_are_given_up(impatient_app, stub, db, "wait-for", given_up)


def pages_of_two(request: Request) -> Answer:
    """An endless table."""
    start = int(request.body.get("ExclusiveStartKey", {"id": {"S": "0"}})["id"]["S"])
    items = [{"id": {"S": str(start + n)}} for n in (1, 2)]
    return Answer(
        body={"Items": items, "Count": 2, "ScannedCount": 2, "LastEvaluatedKey": items[-1]}
    )


@pytest.fixture
def streaming_app(make_app: MakeApp, stub: Stub, stub_config: dict[str, t.Any]) -> Quart:
    """An app with one slot that streams a table of which it can't reach the end."""
    stub.always("Scan", pages_of_two)
    app = make_app(pool=1)
    # So that outside an app context it is not clear which app is meant.
    app.extensions["other"] = make_app(DYNAMODB_REGION="other")

    @app.get("/stream")
    async def stream() -> cabc.AsyncIterator[str]:
        items = Item.ascan()

        async def lines() -> cabc.AsyncIterator[str]:
            try:
                async for item in items:
                    yield f"{item.id}\n"
            finally:
                app.extensions["streams ended"] = True

        return lines()

    return app


async def test_a_client_that_leaves_in_mid_stream_leaves_nothing_behind(
    streaming_app: Quart, stub: Stub, db: PynamoDB
) -> None:
    stub.next("Scan", pages_of_two, stubs.held(pages_of_two))

    async with streaming_app.app_context():
        pool = db.pool

    async with served(streaming_app) as client:
        url = client.base_url

        async with await anyio.connect_tcp(url.host, t.cast(int, url.port)) as connection:
            await connection.send(b"GET /stream HTTP/1.1\r\nHost: tests\r\n\r\n")
            received = b""

            while b"2\n" not in received:
                received += await connection.receive()

            await until(lambda: stub.in_flight == 1)

        await until(lambda: "streams ended" in streaming_app.extensions)
        assert stub.in_flight == pool.in_use == 1
        stub.release()
        assert (await client.get("/x")).text == "x"
        await until(lambda: pool.in_use == 0)

    assert stub.operations == ["Scan", "Scan", "GetItem"]


async def test_a_client_that_reads_slowly_holds_no_slot(
    streaming_app: Quart, stub: Stub, db: PynamoDB
) -> None:
    events: list[t.Any] = [{"type": "http.request", "body": b"", "more_body": False}]
    full = anyio.Event()

    async def receive() -> t.Any:
        if events:
            return events.pop()

        await anyio.sleep_forever()

    async def send(message: cabc.Mapping[str, t.Any]) -> None:
        if message.get("body") == b"2\n":
            full.set()
            await anyio.sleep_forever()

    scope: t.Any = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.1"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/stream",
        "raw_path": b"/stream",
        "query_string": b"",
        "root_path": "",
        "headers": [],
        "extensions": {},
    }

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(streaming_app, scope, receive, send)
        await full.wait()

        async with streaming_app.app_context():
            assert db.pool.in_use == 0

        assert await text(streaming_app, "/x") == "x"
        tasks.cancel_scope.cancel()

    assert stub.operations == ["Scan", "GetItem"]


async def test_a_websocket_that_closes_during_a_call_takes_no_slot_with_it(
    make_app: MakeApp, stub: Stub, db: PynamoDB
) -> None:
    app = make_app(pool=1)

    @app.websocket("/")
    async def echo() -> None:
        while True:
            item = await Item.aget(await websocket.receive())
            await websocket.send(f"{item.id} in {current_app.name}")

    async with app.app_context():
        pool = db.pool

    async with app.test_client().websocket("/") as connection:
        for key in ("1", "2"):
            await connection.send(key)
            assert await connection.receive() == f"{key} in app"

        stub.next("GetItem", stubs.held(stub._usual))
        await connection.send("3")
        await until(lambda: stub.in_flight == 1)

    assert stub.in_flight == pool.in_use == 1
    stub.release()
    assert await text(app, "/4") == "4"
    assert stub.peak_in_flight == 1


async def test_synchronous_handlers_block_their_thread_and_share_the_slots(
    make_app: MakeApp, stub: Stub, db: PynamoDB
) -> None:
    app = make_app(pool=2)

    @app.get("/sync/<key>")
    def show_sync(key: str) -> str:
        return Item.get(key).id

    async with app.app_context():
        pool = db.pool

    stub.always("GetItem", stubs.held(stub._usual))
    texts: set[str] = set()

    async def add_text(path: str) -> None:
        texts.add(await text(app, path))

    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(add_text, f"/sync/sync-{number}")
            tasks.start_soon(add_text, f"/async-{number}")

        await until(lambda: (stub.in_flight, pool.waiting) == (2, 4))
        stub.always("GetItem", stub._usual)
        stub.release()

    assert texts == {f"{kind}-{number}" for kind in ("sync", "async") for number in range(3)}
    assert stub.peak_in_flight == 2


@pytest.mark.parametrize("path", ["/get/x", "/first"])
async def test_what_is_missing_is_a_404_with_the_message(
    make_app: MakeApp, stub: Stub, path: str
) -> None:
    app = make_app()
    stub.next("GetItem", Answer())

    @app.get("/get/<key>")
    async def get(key: str) -> str:
        return (await Item.aget_or_404(key, message=f"no item {key}")).id

    @app.get("/first")
    async def first() -> str:
        return (await Item.afirst_or_404(message="no item x")).id

    response = await app.test_client().get(path)
    assert response.status_code == 404
    assert "no item x" in await response.get_data(as_text=True)


async def test_tables_are_made_before_serving_and_while_serving(
    make_app: MakeApp, stub: Stub
) -> None:
    app = make_app()

    @app.before_serving
    async def create() -> None:
        await Item.acreate_table(wait=True)

    @app.while_serving
    async def report() -> cabc.AsyncGenerator[None]:
        assert await Item.aexists()
        yield
        await Item.adelete_table(wait=True)

    async with app.test_app() as running:
        assert (await running.test_client().get("/x")).status_code == 200
        assert stub._tables

    assert not stub._tables
    assert stub.operations[0] == "DescribeTable"
    assert stub.operations[1] == "CreateTable"
    assert "DeleteTable" in stub.operations


async def test_a_background_task_is_done_before_the_app_has_stopped(
    make_app: MakeApp, stub: Stub
) -> None:
    app = make_app()

    @app.post("/<key>")
    async def begin(key: str) -> str:
        app.add_background_task(copy, key)
        return "begun"

    async def copy(key: str) -> None:
        item = await Item.aget(key)
        await Item(f"copy of {item.id} in {current_app.name}").asave()

    stub.next("GetItem", stubs.held(stub._usual))

    async with anyio.create_task_group() as tasks, app.test_app() as running:
        assert (await running.test_client().post("/x")).status_code == 200
        await until(lambda: stub.in_flight == 1)
        tasks.start_soon(release_later, stub)

    assert stub.operations == ["GetItem", "PutItem"]
    assert stub.requests[1].body["Item"] == {"id": {"S": "copy of x in app"}}


async def release_later(stub: Stub, count: int | None = None) -> None:
    """Give an app the time to begin to stop."""
    await anyio.sleep(0.1)
    stub.release(count)


async def test_an_app_that_stops_lets_calls_finish_and_closes_its_connections(
    make_app: MakeApp, stub: Stub, db: PynamoDB
) -> None:
    app = make_app(pool=2)
    texts: list[str] = []

    async def add_text(path: str) -> None:
        texts.append(await text(app, path))

    for _ in range(2):
        stub.next("GetItem", *[stubs.held(stub._usual)] * 2)

        async with anyio.create_task_group() as tasks:
            async with app.test_app():
                # The last one is still queued when the app begins to stop.
                for key in ("1", "2", "3"):
                    tasks.start_soon(add_text, f"/{key}")

                await until(lambda: stub.in_flight == 2)
                tasks.start_soon(release_later, stub)

            assert stub.in_flight == 0
            assert sorted(keys(stub)) == ["1", "2", "3"]
            await until(lambda: stub.connections == 0)

        assert sorted(texts) == ["1", "2", "3"]
        texts.clear()
        stub.forget()

    assert await text(app, "/again") == "again"


async def test_an_app_that_stops_gives_up_a_background_task_that_waits_in_vain(
    make_app: MakeApp, stub: Stub, db: PynamoDB
) -> None:
    # Quart-Trio then cancels whatever else the app still does to stop, too.
    app = make_app(pool=1, BACKGROUND_TASK_SHUTDOWN_TIMEOUT=0.2)

    @app.post("/")
    async def begin() -> str:
        app.add_background_task(Item.aget, "never")
        return "begun"

    async with app.app_context():
        pool = db.pool

    async with served(app) as client:
        assert (await client.get("/x")).text == "x"
        slot = await wait_for_slot(pool, 1)
        assert (await client.post("/")).text == "begun"
        await until(lambda: pool.waiting == 1)

    await until(lambda: stub.connections == 0)
    slot.release()
    assert await text(app, "/again") == "again"
    assert keys(stub) == ["x", "again"]


async def test_an_app_that_stops_lets_calls_finish_on_an_engine_that_it_shares(
    make_app: MakeApp, stub: Stub
) -> None:
    one, other = make_app(pool=2), make_app(pool=2)
    texts: list[str] = []

    async def add_text(app: Quart, path: str) -> None:
        texts.append(await text(app, path))

    stub.next("GetItem", *[stubs.held(stub._usual)] * 2)

    async with anyio.create_task_group() as tasks:
        async with one.test_app():
            tasks.start_soon(add_text, one, "/its-own")
            await until(lambda: stub.holding == 1)
            tasks.start_soon(add_text, other, "/the-other-s")
            await until(lambda: stub.holding == 2)
            tasks.start_soon(release_later, stub, 1)

        # It does not wait for the other's.
        assert stub.in_flight == 1
        stub.release()
        await add_text(other, "/later")

    assert sorted(texts) == ["its-own", "later", "the-other-s"]


@pytest.mark.slow
async def test_an_app_factory_called_again_and_again_leaks_nothing(
    make_app: MakeApp, stub: Stub
) -> None:
    app = make_app()

    async def serve(times: int) -> dict[str, int]:
        for _ in range(times):
            assert await text(make_app(), "/x") == "x"

        return usage(stub)

    assert await text(app, "/x") == "x"
    before = await serve(5)
    after = await serve(200)
    assert (after["engines"], after["connections"]) == (before["engines"], 1)
    # anyio's worker thread may keep an app or two.
    assert not {name for name, number in after.items() if number > before[name] + 5}


async def test_the_engine_of_an_app_goes_with_it(make_app: MakeApp, stub: Stub) -> None:
    before = usage(stub)

    async def serve(region: str) -> None:
        assert await text(make_app(DYNAMODB_REGION=region), "/x") == "x"

    for number in range(8):
        await serve(f"region-{number}")

    assert stub.total_connections == 8
    # anyio's worker thread may keep the context that it was made in, and that of its last call.
    await until(lambda: usage(stub)["connections"] <= 2)
    assert usage(stub)["engines"] <= before["engines"] + 2


def usage(stub: Stub) -> dict[str, int]:
    gc.collect()
    return {
        "apps": len(context._states),
        "engines": sum(isinstance(thing, engine.Engine) for thing in gc.get_objects()),
        "connections": stub.connections,
        "threads": threading.active_count(),
        "files": len(os.listdir("/dev/fd")),
    }


@contextlib.contextmanager
def call_under_way(
    worker: str, stub: Stub, graceful_timeout: int, **environment: str
) -> cabc.Iterator[tuple[servers.Server, servers.Answer]]:
    """A server in a process of its own that begins to stop while a call is under way."""
    app = "apps.trio_api:app" if worker == "trio" else "apps.api:create_app()"
    timeouts = ("--graceful-timeout", str(graceful_timeout), "--keep-alive", "60")
    environment["HOST"] = stub.url

    with (
        servers.hypercorn(
            app, "--worker-class", worker, *timeouts, environment=environment
        ) as server,
        server.idle_connection() as idle,
    ):
        assert server.get("/todos/warm-up").status_code == 200
        stub.always("GetItem", stubs.held(stub._usual))

        with server.getting("/todos/x") as (answer,):
            stub.wait_for(lambda: stub.in_flight == 1)
            server.terminate()
            # A server that begins to stop closes what is idle.
            assert idle.recv(1) == b""
            yield server, answer


@pytest.mark.slow
@pytest.mark.parametrize("worker", ["asyncio", "uvloop", "trio"])
def test_a_server_that_is_terminated_answers_the_request_under_way(worker: str, stub: Stub) -> None:
    with call_under_way(worker, stub, graceful_timeout=3) as (server, answer):
        stub.release()
        assert answer.result().json() == {"id": "x"}
        assert "Traceback" not in server.wait()

    stub.wait_for(lambda: stub.connections == 0)


@pytest.mark.slow
@pytest.mark.parametrize("worker", ["asyncio", "trio"])
def test_a_server_that_is_terminated_does_not_hang_on_a_call_without_end(
    worker: str, stub: Stub
) -> None:
    with call_under_way(worker, stub, graceful_timeout=1, READ_TIMEOUT_SECONDS="1") as (
        server,
        answer,
    ):
        with contextlib.suppress(httpx.RemoteProtocolError):
            assert answer.result().status_code == 500

        server.wait()
