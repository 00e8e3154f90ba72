"""Between two attempts a call has no slot: others are made meanwhile, and it queues again."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import typing as t

import anyio
import anyio.to_thread
import pytest
from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import GetError
from quart import Quart

import stub as stubs
from dynamo_ext import CallTimeout
from dynamo_ext_async import Model
from dynamo_ext_async import PynamoDB
from stub import Stub
from waiting import until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    # They wait most of the time: one process is enough for them, while the others compute.
    pytest.mark.xdist_group("backoff"),
    pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"]),
    pytest.mark.once(reason="the tests name the transports"),
]

Get = cabc.Callable[[str], cabc.Coroutine[t.Any, t.Any, t.Any]]
Enter = cabc.Callable[..., contextlib.AbstractAsyncContextManager[Get]]


_ON_DIRECT = frozenset({"direct thread", "hub", "loop"})


class Item(Model):
    class Meta:
        table_name = "item"

    id = UnicodeAttribute(hash_key=True)


@pytest.fixture
def db() -> PynamoDB:
    return PynamoDB()


@pytest.fixture(params=["thread", "direct thread", "awaited", "run_sync", "hub", "loop", "hooked"])
def enter(
    request: pytest.FixtureRequest, db: PynamoDB, stub: Stub, stub_config: dict[str, t.Any]
) -> Enter:
    """Enter an app with one slot, which waits between attempts as long as the server asks for. It
    gives a way to get an item."""
    way: str = request.param

    if way == "hub":
        request.getfixturevalue("announced")

    async def get(key: str) -> t.Any:
        match way:
            case "thread" | "direct thread":
                return await anyio.to_thread.run_sync(Item.get, key)
            case "run_sync":
                return await db.run_sync(Item.get, key)
            case _:
                return await Item.aget(key)

    @contextlib.asynccontextmanager
    async def enter(**settings: t.Any) -> cabc.AsyncGenerator[Get]:
        app = Quart(__name__)
        app.config.from_mapping(
            stub_config,
            DYNAMODB_TRANSPORT="direct" if way in _ON_DIRECT else "botocore",
            DYNAMODB_MAX_POOL_CONNECTIONS=1,
            DYNAMODB_MAX_RETRY_ATTEMPTS=2,
            DYNAMODB_BASE_BACKOFF_MS=0,
        )
        app.config.from_mapping(settings)
        db.init_app(app)

        async with app.app_context():
            # The hub and the loop take calls as soon as there is a client.
            await db.run_sync(db.connection.list_tables)

            if way == "hooked":
                # botocore makes the whole call.
                events = db.connection.client.meta.events
                events.register("before-send.dynamodb", lambda **event: None)

            stub.forget()
            yield get

    return enter


# The wait is long enough for another call to begin meanwhile, on a busy machine, too.
THROTTLED = stubs.Answer(
    status=400,
    body={"__type": "com.amazonaws.dynamodb.v20120810#ThrottlingException"},
    headers={"x-amz-retry-after": "1500"},
)


def keys(stub: Stub) -> list[str]:
    return [request.body["Key"]["id"]["S"] for request in stub.requests]


async def test_another_call_has_the_slot_meanwhile(enter: Enter, stub: Stub, db: PynamoDB) -> None:
    stub.next("GetItem", THROTTLED)

    async with enter() as get, anyio.create_task_group() as tasks:
        tasks.start_soon(get, "throttled")
        await until(lambda: keys(stub) == ["throttled"] and db.pool.in_use == 0)
        await get("other")

    assert keys(stub) == ["throttled", "other", "throttled"]
    assert (db.pool.in_use, db.pool.waiting) == (0, 0)
    assert stub.peak_in_flight == 1


async def test_it_queues_behind_those_that_wait(enter: Enter, stub: Stub, db: PynamoDB) -> None:
    stub.next("GetItem", THROTTLED, stubs.held(stub._usual))

    async with enter() as get, anyio.create_task_group() as tasks:
        tasks.start_soon(get, "throttled")
        await until(lambda: keys(stub) == ["throttled"] and db.pool.in_use == 0)
        tasks.start_soon(get, "holder")
        await until(lambda: stub.in_flight == 1 and db.pool.waiting == 1)
        tasks.start_soon(get, "last")
        await until(lambda: db.pool.waiting == 2)
        stub.release()

    assert keys(stub) == ["throttled", "holder", "throttled", "last"]
    assert stub.peak_in_flight == 1


async def test_it_waits_no_longer_for_a_slot_than_another_call(
    enter: Enter, stub: Stub, db: PynamoDB
) -> None:
    stub.next("GetItem", THROTTLED, stubs.held(stub._usual))

    async with enter(DYNAMODB_POOL_TIMEOUT_SECONDS=0.2) as get:
        async with anyio.create_task_group() as tasks:

            async def get_throttled() -> None:
                with pytest.raises(GetError, match="ThrottlingException"):
                    await get("throttled")

                stub.release()

            tasks.start_soon(get_throttled)
            await until(lambda: keys(stub) == ["throttled"] and db.pool.in_use == 0)
            tasks.start_soon(get, "holder")

        assert (db.pool.in_use, db.pool.waiting) == (0, 0)
        await get("later")

    assert keys(stub) == ["throttled", "holder", "later"]


async def test_its_deadline_ends_the_wait_for_a_slot(
    enter: Enter, stub: Stub, db: PynamoDB
) -> None:
    stub.next("GetItem", THROTTLED)
    ended: list[type[BaseException]] = []

    async with enter(DYNAMODB_CALL_TIMEOUT_SECONDS=3) as get:
        async with anyio.create_task_group() as tasks:

            async def get_throttled() -> None:
                with pytest.raises(CallTimeout):
                    await get("throttled")

                ended.append(CallTimeout)

            tasks.start_soon(get_throttled)
            await until(lambda: keys(stub) == ["throttled"] and db.pool.in_use == 0)

            # Not a call, which would have a deadline of its own.
            slot = db.pool.acquire(1)
            await until(lambda: ended != [])
            slot.release()

        await until(lambda: (db.pool.in_use, db.pool.waiting) == (0, 0))
        assert keys(stub) == ["throttled"]


async def test_a_cancelled_call_leaves_the_queue(enter: Enter, stub: Stub, db: PynamoDB) -> None:
    stub.next("GetItem", THROTTLED, stubs.held(stub._usual))

    async with enter() as get:
        async with anyio.create_task_group() as others, anyio.create_task_group() as tasks:
            tasks.start_soon(get, "throttled")
            await until(lambda: keys(stub) == ["throttled"] and db.pool.in_use == 0)
            others.start_soon(get, "holder")
            await until(lambda: stub.in_flight == 1 and db.pool.waiting == 1)
            # A call that has begun runs to its end, unattended.
            tasks.cancel_scope.cancel()
            stub.release()

        await until(lambda: (db.pool.in_use, db.pool.waiting) == (0, 0))
        await get("later")
