"""Calls that share one thread: which ones do, and that none of them holds up the others."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import gc
import os
import threading
import typing as t
import weakref

import anyio
import botocore.exceptions
import pynamodb.signals
import pytest
from pynamodb.attributes import ListAttribute
from pynamodb.attributes import MapAttribute
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import GetError
from quart import Quart

import dynamo_ext
import stub as stubs
from app_source import app_source
from conftest import RunPython
from dynamo_ext_async import Model
from dynamo_ext_async import PoolTimeout
from dynamo_ext_async import PynamoDB
from stub import Answer
from stub import Stub
from waiting import until

AWAITS = (
    app_source(DYNAMODB_TRANSPORT="direct")
    + """
import warnings

warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork")

async def get(key):
    # The event loop itself would make a GetItem, or get the items of this.
    return [page async for page in Item.aquery(key).page_iter]

async def main():
    async with app.app_context():
        for _ in range(3):
            items = await asyncio.gather(*(get(str(n)) for n in range(20)))
        return len(items)
"""
)

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.once(reason="each test names its transport"),
    pytest.mark.usefixtures("announced"),
]

#: The thread in which the hub has code of the app called: it never calls any itself.
BESIDE_HUB = "dynamo-ext"


class Item(Model):
    class Meta:
        table_name = "item"

    id = UnicodeAttribute(hash_key=True)


class Address(MapAttribute[str, t.Any]):
    street = UnicodeAttribute(null=True)


class Shouted(UnicodeAttribute):
    def deserialize(self, value: t.Any) -> str:
        return str(super().deserialize(value)).upper()


class LoudAddress(MapAttribute[str, t.Any]):
    street = Shouted(null=True)


class Rich(Item):
    """Declares much, and overrides nothing."""

    class Meta:
        table_name = "rich"

    address: t.Any = t.cast(t.Any, Address)(null=True)
    addresses = ListAttribute(of=Address, null=True)
    anything: ListAttribute[t.Any] = ListAttribute(null=True)

    def title(self) -> str:
        return self.id.title()

    def __str__(self) -> str:
        return self.id


class WithOwnGet(Item):
    class Meta:
        table_name = "own-get"

    @classmethod
    def get(cls, *args: t.Any, **more: t.Any) -> t.Any:
        return super().get(*args, **more)


class WithOwnInit(Item):
    class Meta:
        table_name = "own-init"

    def __init__(self, *args: t.Any, **more: t.Any) -> None:
        super().__init__(*args, **more)


class WithOwnAttribute(Item):
    class Meta:
        table_name = "own-attribute"

    name = Shouted(null=True)


class WithOwnAttributeInMap(Item):
    class Meta:
        table_name = "own-attribute-in-map"

    address: t.Any = t.cast(t.Any, LoudAddress)(null=True)


class WithOwnAttributeInList(Item):
    class Meta:
        table_name = "own-attribute-in-list"

    addresses = ListAttribute(of=LoudAddress, null=True)


class HeirOfOwnGet(WithOwnGet):
    class Meta:
        table_name = "heir"

    count_of_visits = NumberAttribute(null=True)


MakeApp = cabc.Callable[..., Quart]


@pytest.fixture
def db() -> PynamoDB:
    return PynamoDB()


@pytest.fixture
def make_app(make_direct_app: MakeApp) -> MakeApp:
    return make_direct_app


@contextlib.contextmanager
def recorded_threads() -> cabc.Generator[list[str]]:
    """The names of the threads in which calls end."""
    names: list[str] = []

    def record(sender: t.Any, call: dynamo_ext.Call) -> None:
        names.append(threading.current_thread().name)

    with dynamo_ext.call_finished.connected_to(record):
        yield names


@pytest.mark.parametrize("model", [Item, Rich])
async def test_calls_of_a_model_that_only_declares_share_one_thread(
    make_app: MakeApp, stub: Stub, model: type[Item]
) -> None:
    stub.next("BatchGetItem", Answer(body={}))

    async with make_app().app_context():
        with recorded_threads() as names:
            async with anyio.create_task_group() as tasks:
                for number in range(8):
                    tasks.start_soon(model.aget, str(number))

            await model("a").asave()
            assert [item.id async for item in model.aquery("a")] == []
            assert [item.id async for item in model.abatch_get(["a"])] == []

    assert names == [BESIDE_HUB] * 11


@pytest.mark.parametrize(
    "model",
    [
        WithOwnGet,
        WithOwnInit,
        WithOwnAttribute,
        WithOwnAttributeInMap,
        WithOwnAttributeInList,
        HeirOfOwnGet,
    ],
)
async def test_a_model_that_overrides_something_is_left_to_worker_threads(
    make_app: MakeApp, stub: Stub, model: type[Item]
) -> None:
    stub.next("BatchGetItem", Answer(body={}))

    async with make_app().app_context():
        with recorded_threads() as names:
            assert (await model.aget("a")).id == "a"
            assert [item async for item in model.abatch_get(["a"])] == []

    assert BESIDE_HUB not in names
    assert len(names) == 2


async def test_a_client_is_made_anew_in_a_worker_thread(make_app: MakeApp, db: PynamoDB) -> None:
    async with make_app().app_context():
        db.connection.engine.close()

        with recorded_threads() as names:
            await Item.aget("a")
            await Item.aget("b")

    assert names[0] != BESIDE_HUB
    assert names[1] == BESIDE_HUB


async def test_an_app_s_own_function_is_left_to_worker_threads(
    make_app: MakeApp, db: PynamoDB
) -> None:
    async with make_app().app_context():
        with recorded_threads() as names:
            await db.run_sync(Item.get, "a")

    assert names != [BESIDE_HUB]


async def test_receivers_of_pynamodb_s_signals_are_called_in_worker_threads(
    make_app: MakeApp,
) -> None:
    seen: list[str] = []

    def receive(sender: t.Any, **signal: t.Any) -> None:
        seen.append(threading.current_thread().name)

    async with make_app().app_context():
        with t.cast(t.Any, pynamodb.signals).pre_dynamodb_send.connected_to(receive):
            await Item.aget("a")

    assert len(seen) == 1
    assert seen != [BESIDE_HUB]


async def test_botocore_s_transport_is_left_to_worker_threads(make_app: MakeApp) -> None:
    async with make_app(DYNAMODB_TRANSPORT="botocore").app_context():
        with recorded_threads() as names:
            await Item.aget("a")

    assert names != [BESIDE_HUB]


async def test_a_receiver_may_make_calls_while_it_holds_a_lock(
    make_app: MakeApp, stub: Stub
) -> None:
    lock = threading.Lock()

    def receive(sender: t.Any, call: dynamo_ext.Call) -> None:
        if call.model == "Item":
            with lock:
                Rich("of the receiver").save()

    async with make_app(DYNAMODB_MAX_POOL_CONNECTIONS=4).app_context():
        with dynamo_ext.call_finished.connected_to(receive), anyio.fail_after(100):
            async with anyio.create_task_group() as tasks:
                for number in range(20):
                    tasks.start_soon(Item.aget, str(number))

    assert stub.operations.count("PutItem") == 20


async def test_a_call_that_waits_to_be_sent_again_holds_up_no_other(
    make_app: MakeApp, stub: Stub
) -> None:
    asked_to_wait = stubs.Answer(
        status=400,
        body={"__type": "com.amazonaws.dynamodb.v20120810#ThrottlingException"},
        headers={"x-amz-retry-after": "2000"},
    )
    stub.next("GetItem", asked_to_wait)
    done: list[str] = []

    async def get(key: str) -> None:
        done.append((await Item.aget(key)).id)

    app = make_app(DYNAMODB_MAX_RETRY_ATTEMPTS=1, DYNAMODB_BASE_BACKOFF_MS=0)

    async with app.app_context(), anyio.create_task_group() as tasks:
        tasks.start_soon(get, "throttled")
        await until(lambda: stub.operations == ["GetItem"])

        for number in range(10):
            await get(str(number))

    assert done == [*map(str, range(10)), "throttled"]


async def test_a_server_that_hangs_holds_up_no_other(make_app: MakeApp, stub: Stub) -> None:
    stub.next("GetItem", stubs.HOLD)
    done: list[str] = []

    async def get_in_vain() -> None:
        with pytest.raises(GetError) as raised:
            await Item.aget("in vain")

        assert isinstance(raised.value.cause, botocore.exceptions.ReadTimeoutError)
        done.append("in vain")

    app = make_app(DYNAMODB_READ_TIMEOUT_SECONDS=2)

    async with app.app_context(), anyio.create_task_group() as tasks:
        tasks.start_soon(get_in_vain)
        await until(lambda: stub.holding == 1)

        for number in range(10):
            done.append((await Item.aget(str(number))).id)

    assert done == [*map(str, range(10)), "in vain"]
    stub.release()


async def test_a_connection_in_the_place_of_another_is_watched_too(
    make_app: MakeApp, stub: Stub
) -> None:
    """The system gives it the descriptor of the one that was closed."""
    async with make_app().app_context():
        for _ in range(3):
            stub.close_connections()
            stub.wait_for(lambda: stub.connections == 0)

            for key in ("opens", "uses"):
                assert (await Item.aget(key)).id == key

    assert stub.total_connections >= 3


async def test_a_connection_that_is_not_made_holds_up_no_other(
    make_app: MakeApp, busy: str
) -> None:
    quick, slow = make_app(), make_app(DYNAMODB_HOST=busy, DYNAMODB_CONNECT_TIMEOUT_SECONDS=2)
    done: list[str] = []

    async def get_in_vain() -> None:
        async with slow.app_context():
            with pytest.raises(GetError) as raised:
                await Item.aget("in vain")

        assert isinstance(raised.value.cause, botocore.exceptions.ConnectTimeoutError)
        done.append("in vain")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(get_in_vain)
        await anyio.sleep(0.1)

        async with quick.app_context():
            for number in range(10):
                done.append((await Item.aget(str(number))).id)

    assert done == [*map(str, range(10)), "in vain"]


async def test_each_app_is_as_patient_as_it_says_though_they_share_the_slots(
    make_app: MakeApp, stub: Stub, db: PynamoDB
) -> None:
    one_slot = {"DYNAMODB_MAX_POOL_CONNECTIONS": 1}
    patient = make_app(**one_slot, DYNAMODB_POOL_TIMEOUT_SECONDS=100)
    hasty = make_app(**one_slot, DYNAMODB_POOL_TIMEOUT_SECONDS=0.2)
    stub.next("GetItem", stubs.held(stub._usual))
    done: list[str] = []

    async def get(app: Quart, key: str) -> None:
        async with app.app_context():
            done.append((await Item.aget(key)).id)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(get, patient, "first")
        await until(lambda: stub.holding == 1)
        tasks.start_soon(get, patient, "second")

        async with hasty.app_context():
            await until(lambda: db.pool.waiting == 1)

            with pytest.raises(PoolTimeout, match=r"within 0\.2 s"):
                await Item.aget("never")

            assert db.pool.waiting == 1

        stub.release()

    assert sorted(done) == ["first", "second"]
    assert stub.operations == ["GetItem"] * 2


async def test_the_hub_keeps_no_app_alive(make_app: MakeApp) -> None:
    app = make_app()

    async with app.app_context(), anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(Item.aget, str(number))

    reference = weakref.ref(app)
    del app

    def is_gone() -> bool:
        gc.collect()
        return reference() is None

    await until(is_gone)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system can't fork")
def test_a_forked_child_has_a_hub_of_its_own(stub: Stub, run_warm_python: RunPython) -> None:
    done = run_warm_python(
        AWAITS
        + """
assert asyncio.run(main()) == 20
pid = os.fork()
assert asyncio.run(main()) == 20

if pid == 0:
    os._exit(0)

print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
""",
        stub.url,
    )
    assert (done.stdout.strip(), done.stderr) == ("0", "")
    assert len(stub.requests) == 180


def test_the_hub_ends_before_the_interpreter_does(stub: Stub, run_python: RunPython) -> None:
    """Greenlets that outlive their thread crash the process when it ends."""
    first = """
import atexit, gc, threading

@atexit.register
def look():
    names = [thread.name for thread in threading.enumerate()]
    print("dynamo-ext hub" in names, len([each for each in gc.get_objects() if is_left(each)]))

def is_left(value):
    return type(value).__name__ == "greenlet" and not value.dead and value.parent is not None
"""
    then = """
async def leave_one_on_the_wire():
    async with app.app_context():
        task = asyncio.ensure_future(get("held"))
        await asyncio.sleep(0.2)
        task.cancel()

assert asyncio.run(main()) == 20
print([thread.name for thread in threading.enumerate()].count("dynamo-ext hub"))
asyncio.run(leave_one_on_the_wire())
"""
    usual = stub._usual
    hold = stubs.held(usual)
    stub.always(
        "Query",
        lambda request: stubs._answer(
            hold if {"S": "held"} in request.body["ExpressionAttributeValues"].values() else usual,
            request,
        ),
    )
    done = run_python(first + AWAITS + then, stub.url)
    assert (done.returncode, done.stdout.split()) == (0, ["1", "False", "0"]), done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith("failed call: Query")
    assert line.endswith("error=HubUnavailable")
