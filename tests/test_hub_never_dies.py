"""Whatever goes wrong in the hub ends one call, and never all of them."""

from __future__ import annotations

import asyncio
import collections.abc as cabc
import contextlib
import ctypes
import gc
import logging
import os
import re
import socket
import sys
import threading
import time
import types
import typing as t
import weakref

import anyio
import pytest
from pynamodb.attributes import UnicodeAttribute
from quart import Quart

import stub as stubs
from app_source import app_source
from conftest import RunPython
from dynamo_ext.binding import context
from dynamo_ext_async import Model
from dynamo_ext_async import PoolTimeout
from dynamo_ext_async import PynamoDB
from dynamo_ext_async.execution import hub as hub_module
from stub import Stub
from waiting import until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.once(reason="each test names its transport"),
    pytest.mark.usefixtures("announced"),
]

HUB = "dynamo-ext hub"
LONGEST = 2147483
"""The longest time that a setting may name, in seconds: epoll takes milliseconds in an int."""

_DEADLINE = 60


class Item(Model):
    class Meta:
        table_name = "item"

    id = UnicodeAttribute(hash_key=True)
    text = UnicodeAttribute(null=True)


class Failure(Exception):
    """Something that nobody expects."""


@pytest.fixture
def db() -> PynamoDB:
    return PynamoDB()


MakeApp = cabc.Callable[..., Quart]


@pytest.fixture
def make_app(make_direct_app: MakeApp) -> MakeApp:
    return make_direct_app


def hubs() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == HUB]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def interrupt(thread: threading.Thread, error: type[Exception]) -> None:
    """Raise an error in a thread, wherever it is, as soon as it runs Python code."""
    identifier = ctypes.c_ulong(t.cast(int, thread.ident))
    ctypes.pythonapi.PyThreadState_SetAsyncExc(identifier, ctypes.py_object(error))


async def end_the_hub() -> None:
    """Raise an error in its thread where no call is to blame: while it polls."""
    [hub] = hubs()

    while hub in hubs():
        await anyio.sleep(0.02)
        interrupt(hub, Failure)

        with contextlib.suppress(RuntimeError, Failure):
            await Item.aget("wakes the hub")

        # If it is ending, it is not to be interrupted again.
        await until(lambda: hub not in hubs() or len(hubs()) == 1)


async def test_calls_of_a_hub_that_ends_fail_and_the_next_one_starts_another(
    make_app: MakeApp, stub: Stub, db: PynamoDB, caplog: pytest.LogCaptureFixture
) -> None:
    failed: list[Exception] = []

    async def get_in_vain() -> None:
        try:
            await Item.aget("in vain")
        except (RuntimeError, Failure) as error:
            failed.append(error)

    async with make_app(DYNAMODB_MAX_POOL_CONNECTIONS=4).app_context():
        await Item.aget("a")
        [before] = hubs()
        db.connection.engine.close()
        open_before = descriptors()

        with anyio.fail_after(_DEADLINE):
            for _ in range(3):
                failed.clear()
                await Item.aget("opens")
                stub.next("GetItem", stubs.HOLD, stubs.HOLD, stubs.HOLD)

                async with anyio.create_task_group() as tasks:
                    for _ in range(3):
                        tasks.start_soon(get_in_vain)

                    await until(lambda: stub.holding == 3)
                    await end_the_hub()

                # Beside those whose thread was interrupted in the middle of what they did.
                assert len(failed) == 3
                stub.release()
                await Item.aget("b")

        assert db.pool.in_use == 0
        assert hubs() != [before]
        assert len(hubs()) == 1
        db.connection.engine.close()
        await until(lambda: descriptors() <= open_before)

    assert any("hub has ended" in record.message for record in caplog.records)
    assert any(isinstance(error, RuntimeError) and "hub" in str(error) for error in failed)


async def test_calls_that_are_queued_fail_too_when_the_hub_ends(
    make_app: MakeApp, stub: Stub, db: PynamoDB
) -> None:
    failed: list[Exception] = []

    async def get_in_vain(key: str) -> None:
        try:
            await Item.aget(key)
        except (RuntimeError, Failure) as error:
            failed.append(error)

    app = make_app(DYNAMODB_MAX_POOL_CONNECTIONS=2)

    async with app.app_context():
        await Item.aget("a")
        [hub] = hubs()
        stub.next("GetItem", *[stubs.held(stub._usual)] * 2)

        with anyio.fail_after(_DEADLINE):
            async with anyio.create_task_group() as tasks:
                for number in range(5):
                    tasks.start_soon(get_in_vain, str(number))

                await until(lambda: stub.holding == 2 and db.pool.waiting == 3)

                interrupt(hub, Failure)
                # Wakes the hub.
                stub.release(1)

            # One was answered. Those that were queued got its slot and another hub, or failed, too.
            assert failed
            stub.release()
            await until(lambda: db.pool.in_use == 0)
            assert db.pool.waiting == 0
            await Item.aget("b")


@pytest.mark.parametrize("seconds", [1e3, -1e6, 1e9], ids=["frozen", "back", "forth"])
async def test_clocks_that_tests_replace(
    make_app: MakeApp, stub: Stub, db: PynamoDB, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """Freezegun, for example, replaces all of :mod:`time`, but leaves asyncio alone."""
    real = time.monotonic
    monkeypatch.setattr(asyncio.base_events, "time", types.SimpleNamespace(monotonic=real))
    app = make_app(
        DYNAMODB_MAX_POOL_CONNECTIONS=1,
        DYNAMODB_POOL_TIMEOUT_SECONDS=0.2,
        DYNAMODB_READ_TIMEOUT_SECONDS=1,
    )
    now = real() + seconds

    async with app.app_context():
        with anyio.fail_after(_DEADLINE):
            await Item.aget("before")

            for clock in (lambda: now, real):
                monkeypatch.setattr(time, "monotonic", clock)
                stub.next("GetItem", stubs.HOLD)

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_get_in_vain, "times out")
                    await until(lambda: stub.holding == 1)

                    with pytest.raises(PoolTimeout):
                        await Item.aget("finds no slot")

                stub.release()
                assert (await Item.aget("after")).id == "after"

        assert db.pool.in_use == 0


async def _get_in_vain(key: str) -> None:
    with pytest.raises(Exception, match="timeout"):
        await Item.aget(key)


@pytest.mark.parametrize("is_queued", [False, True])
async def test_waits_as_long_as_the_system_can(
    make_app: MakeApp, stub: Stub, db: PynamoDB, is_queued: bool
) -> None:
    app = make_app(
        DYNAMODB_MAX_POOL_CONNECTIONS=1 if is_queued else 2,
        DYNAMODB_READ_TIMEOUT_SECONDS=2 if is_queued else LONGEST,
        DYNAMODB_POOL_TIMEOUT_SECONDS=LONGEST if is_queued else 2,
    )
    done: list[str] = []

    async def get(key: str) -> None:
        done.append((await Item.aget(key)).id)

    stub.next("GetItem", stubs.held(stub._usual))

    async with app.app_context():
        with anyio.fail_after(_DEADLINE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(get, "a")
                await until(lambda: stub.holding == 1)
                tasks.start_soon(get, "b")
                await until(lambda: bool(db.pool.waiting if is_queued else done))
                stub.release()

    assert sorted(done) == ["a", "b"]


def test_threads_wait_as_long(make_app: MakeApp, stub: Stub) -> None:
    with context.use(make_app(DYNAMODB_READ_TIMEOUT_SECONDS=LONGEST)):
        stub.next("GetItem", stubs.delayed(0.1, stub._usual))
        assert Item.get("a").id == "a"


@pytest.mark.parametrize("is_filter", [False, True])
async def test_log_handlers_that_raise_when_a_wait_ends(
    make_app: MakeApp, stub: Stub, db: PynamoDB, is_filter: bool
) -> None:
    app = make_app(DYNAMODB_MAX_POOL_CONNECTIONS=1, DYNAMODB_POOL_TIMEOUT_SECONDS=0.1)
    where: list[str] = []

    def fail(record: logging.LogRecord) -> bool:
        where.append(threading.current_thread().name)
        raise Failure

    logger = logging.getLogger("dynamo_ext.pool")
    handler = logging.Handler()
    handler.handle = fail  # type: ignore[method-assign]
    add, remove = (
        (logger.addFilter, logger.removeFilter)
        if is_filter
        else (logger.addHandler, logger.removeHandler)
    )
    argument: t.Any = fail if is_filter else handler

    async with app.app_context():
        with anyio.fail_after(_DEADLINE):
            stub.next("GetItem", stubs.held(stub._usual))
            add(argument)

            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(Item.aget, "first")
                    await until(lambda: stub.holding == 1)

                    for _ in range(3):
                        with pytest.raises((Failure, PoolTimeout)):
                            await Item.aget("never")

                    stub.release()
            finally:
                remove(argument)

            assert (await Item.aget("after")).id == "after"

        await until(lambda: db.pool.in_use == db.pool.waiting == 0)

    assert len(where) == 3
    assert HUB not in where


class Hostile:
    """A DynamoDB that answers writes in its own time.

    :param answers_early: Whether it answers before it has read the whole request.
    :param chunk: How many bytes it reads at once, with a pause after each.
    """

    def __init__(self, *, answers_early: bool, chunk: int) -> None:
        self._answers_early = answers_early
        self._chunk = chunk
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        self._listener.bind((stubs.HOST, 0))
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept, name="hostile")]
        self._connections: list[socket.socket] = []
        self.requests = 0
        self.url = f"http://{stubs.HOST}:{self._listener.getsockname()[1]}"

    def __enter__(self) -> t.Self:
        self._threads[0].start()
        return self

    def __exit__(self, *error: object) -> None:
        for sock in (self._listener, *self._connections):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

            sock.close()

        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
                self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while head := self._read_head(connection):
                is_write = b"PutItem" in head

                if is_write and self._answers_early:
                    self._answer(connection)

                self._read_body(connection, head, slowly=is_write)

                if not (is_write and self._answers_early):
                    self._answer(connection)

    def _read_head(self, connection: socket.socket) -> bytes:
        head = b""

        while not head.endswith(b"\r\n\r\n"):
            if not (byte := connection.recv(1)):
                return b""

            head += byte

        return head

    def _read_body(self, connection: socket.socket, head: bytes, *, slowly: bool) -> None:
        match = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        left = int(match[1]) if match else 0

        if slowly:
            # The client has sent what the buffers hold, and waits.
            time.sleep(0.1)

        while left:
            left -= len(connection.recv(min(left, self._chunk)))

            if slowly:
                time.sleep(0)

    def _answer(self, connection: socket.socket) -> None:
        self.requests += 1
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\n"
            b"Content-Length: 2\r\n\r\n{}"
        )


@pytest.mark.parametrize("size", [390_000, 6_000_000])
@pytest.mark.parametrize("answers_early", [True, False])
async def test_the_answer_to_a_large_request_is_seen(
    make_app: MakeApp, answers_early: bool, size: int
) -> None:
    """Readable and writable may arrive as one: none of them may be lost."""
    with Hostile(answers_early=answers_early, chunk=16 * 1024) as server:
        app = make_app(DYNAMODB_HOST=server.url, DYNAMODB_READ_TIMEOUT_SECONDS=40)

        async with app.app_context():
            with anyio.fail_after(30):
                await Item("a", text="x" * size).asave()
                await Item("b", text="x" * size).asave()

        assert server.requests == 3


def test_a_hub_that_can_not_start_fails_one_call(stub: Stub, run_warm_python: RunPython) -> None:
    """Neither without threads nor without descriptors. Later calls work, on all slots."""
    done = run_warm_python(
        app_source(DYNAMODB_TRANSPORT="direct", DYNAMODB_MAX_POOL_CONNECTIONS=2)
        + """
import resource
from dynamo_ext_async.execution import hub

async def get(key):
    # The event loop itself would make a GetItem, or get the items of this.
    return [page async for page in Item.aquery(key).page_iter]

async def fails(key):
    try:
        await get(key)
    except RuntimeError as error:
        print(type(error).__name__ == "HubUnavailable", "could not be started" in str(error))

async def main():
    async with app.app_context():
        # Opens the connection, in a worker thread.
        await get("a")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        unused = os.open("/dev/null", os.O_RDONLY)
        os.close(unused)

        for allowed in (0, 1):
            resource.setrlimit(resource.RLIMIT_NOFILE, (unused + allowed, hard))
            await asyncio.gather(*(fails("b") for _ in range(5)))

        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        usual = threading.stack_size(1 << 46)
        await asyncio.gather(*(fails("c") for _ in range(5)))
        threading.stack_size(usual)
        assert db.pool.in_use == db.pool.waiting == 0
        assert os.dup(0) == unused
        items = await asyncio.gather(*(get(str(n)) for n in range(10)))
        assert [thread.name for thread in threading.enumerate()].count("dynamo-ext hub") == 1
        print(len(items))

asyncio.run(main())
""",
        stub.url,
    )
    assert (done.stdout.split(), done.stderr) == ([*["True", "True"] * 15, "10"], "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system can't fork")
def test_a_fork_that_python_is_not_told_of(stub: Stub, run_warm_python: RunPython) -> None:
    """As uWSGI forks: without the hooks of :func:`os.register_at_fork`."""
    done = run_warm_python(
        """
import asyncio, ctypes, os, signal, sys, time
from pynamodb.attributes import UnicodeAttribute
from quart import Quart
from dynamo_ext_async import Model, PynamoDB

class Item(Model):
    class Meta:
        table_name = "item"
    id = UnicodeAttribute(hash_key=True)

def make_app(host):
    app = Quart("app")
    app.config.update(DYNAMODB_HOST=host, DYNAMODB_AWS_ACCESS_KEY_ID="id",
                      DYNAMODB_AWS_SECRET_ACCESS_KEY="key", DYNAMODB_TRANSPORT="direct")
    PynamoDB(app)
    return app

async def get(key):
    # The event loop itself would make a GetItem, or get the items of this.
    return [page async for page in Item.aquery(key).page_iter]

async def main(app):
    async with app.app_context():
        await get("a")
        items = await asyncio.wait_for(asyncio.gather(*(get(str(n)) for n in range(20))), 60)
        return len(items)

app = make_app(sys.argv[1])
assert asyncio.run(main(app)) == 20
# The other threads come to rest: the lock of one that is just taking the interpreter's would be
# taken for ever in the child, as in any process that is forked so.
time.sleep(0.5)
pid = ctypes.PyDLL(None).fork()

if pid == 0:
    # Rather than hang without anyone to end it.
    signal.alarm(80)

    try:
        # Another host has connections of its own: this is about the hub.
        done = asyncio.run(main(make_app(sys.argv[1].replace("127.0.0.1", "localhost"))))
    finally:
        os._exit(0 if done == 20 else 1)

assert asyncio.run(main(app)) == 20
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
""",
        stub.url,
    )
    assert (done.stdout.strip(), done.stderr) == ("0", "")


@pytest.mark.parametrize("transport", ["botocore", "direct"])
def test_trio_while_it_is_being_imported(
    make_app: MakeApp, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread imports it: it stands in ``sys.modules`` before it has any content."""
    app = make_app(DYNAMODB_TRANSPORT=transport)

    async def main() -> None:
        async with app.app_context():
            assert (await Item.aget("a")).id == "a"
            assert [item async for item in Item.aquery("a")] == []

    halves = [types.ModuleType("trio"), types.ModuleType("trio")]
    halves[1].lowlevel = types.ModuleType("trio.lowlevel")  # type: ignore[attr-defined]

    for half in halves:
        monkeypatch.setitem(sys.modules, "trio", half)

        with context.use(app):
            assert Item.get("a").id == "a"

        asyncio.run(main())


async def test_an_ended_hub_keeps_nothing(make_app: MakeApp) -> None:
    app = make_app()

    async with app.app_context():
        await Item.aget("a")
        await end_the_hub()

    reference = weakref.ref(app)
    del app

    def is_gone() -> bool:
        gc.collect()
        return reference() is None

    await until(is_gone)


async def test_a_call_that_is_started_twice_is_made_once(make_app: MakeApp, stub: Stub) -> None:
    """As by two threads that give slots back at once."""
    found: list[str] = []

    async def get() -> None:
        found.append((await Item.aget("a")).id)

    stub.next("GetItem", stubs.held(stub._usual))

    async with make_app().app_context(), anyio.create_task_group() as tasks:
        tasks.start_soon(get)
        await until(lambda: stub.holding == 1)
        shared = hub_module.shared()

        for job in [*shared._jobs]:
            shared.start(job)

        await until(lambda: not shared._ready)
        stub.release()

    assert found == ["a"]
    assert stub.operations.count("GetItem") == 1
