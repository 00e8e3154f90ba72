"""Slots, cancellation and context of awaited calls; what is in flight is counted at the server."""

from __future__ import annotations

import asyncio
import collections.abc as cabc
import contextvars
import random
import threading
import typing as t

import anyio
import anyio.from_thread
import anyio.to_thread
import blinker
import pynamodb.signals
import pytest
from flask import Flask
from flask import g as flask_g
from pynamodb.attributes import UnicodeAttribute
from quart import Quart
from quart import current_app
from quart import g

import stub as stubs
from app_source import app_source
from conftest import RunPython
from dynamo_ext.binding import context
from dynamo_ext_async import Model
from dynamo_ext_async import PoolTimeout
from dynamo_ext_async import PynamoDB
from stub import Stub
from waiting import answer_one_by_one
from waiting import until

pytestmark = pytest.mark.anyio


class Item(Model):
    class Meta:
        table_name = "item"

    id = UnicodeAttribute(hash_key=True)


MakeApp = cabc.Callable[..., Quart]


@pytest.fixture
def db() -> PynamoDB:
    return PynamoDB()


@pytest.fixture(params=["threads", "hub", "loop"])
def make_app(
    request: pytest.FixtureRequest, db: PynamoDB, stub: Stub, stub_config: dict[str, t.Any]
) -> MakeApp:
    """Apps whose calls are made in worker threads, all in the one of the hub, or by asyncio's event
    loop itself."""
    if request.param == "hub":
        request.getfixturevalue("announced")

    def make_app(pool: int, **settings: t.Any) -> Quart:
        app = Quart(__name__)
        app.config.from_mapping(
            stub_config, DYNAMODB_MAX_POOL_CONNECTIONS=pool, DYNAMODB_MAX_RETRY_ATTEMPTS=0
        )
        app.config.from_mapping(settings)

        if request.param != "threads":
            app.config["DYNAMODB_TRANSPORT"] = "direct"

        db.init_app(app)

        if request.param != "threads":
            # It takes calls as soon as there is a client.
            with context.use(app):
                db.connection.list_tables()

            stub.forget()

        return app

    return make_app


def keys(stub: Stub) -> list[str]:
    return [request.body["Key"]["id"]["S"] for request in stub.requests]


async def test_never_more_calls_in_flight_than_the_pool_allows(
    make_app: MakeApp, stub: Stub
) -> None:
    async with make_app(5).app_context(), anyio.create_task_group() as tasks:
        stub.always("GetItem", stubs.held(stub._usual))

        for number in range(20):
            tasks.start_soon(Item.aget, str(number))

        await answer_one_by_one(stub, 20, at_once=5)

    assert stub.peak_in_flight == 5
    assert sorted(keys(stub)) == sorted(map(str, range(20)))


@pytest.mark.slow
async def test_hundreds_of_tasks_on_ten_slots_are_served_in_order(
    make_app: MakeApp, stub: Stub, db: PynamoDB
) -> None:
    queued: list[int] = []

    async def get(number: int) -> None:
        queued.append(number)
        await Item.aget(str(number))

    async with make_app(10).app_context():
        async with anyio.create_task_group() as tasks:
            for number in range(300):
                tasks.start_soon(get, number)

        assert sorted(queued) == list(range(300))
        seen = [queued.index(int(key)) for key in keys(stub)]
        assert sorted(seen) == list(range(300))
        # Whoever holds a slot may dawdle on the way to the wire. But nobody gets a slot before his
        # turn: when a call arrives, at most the nine that hold the other slots are still to come.
        assert max(turn - place for place, turn in enumerate(seen)) <= 9
        assert stub.peak_in_flight <= 10
        assert db.pool.in_use == 0


async def test_one_slot_serves_in_the_exact_order(make_app: MakeApp, stub: Stub) -> None:
    queued: list[str] = []

    async def get(key: str) -> None:
        queued.append(key)
        await Item.aget(key)

    async with make_app(1).app_context(), anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(get, str(number))

    assert keys(stub) == queued


@pytest.mark.slow
async def test_tasks_cancelled_at_random_moments_lose_no_slot(
    make_app: MakeApp, stub: Stub, db: PynamoDB
) -> None:
    draw = random.Random(7)
    stub.always("GetItem", stubs.delayed(0.001, stub._usual))
    answered = 0

    async def get(number: int) -> None:
        nonlocal answered
        patience = draw.uniform(0, 0.1) if number % 3 == 0 else 60

        with anyio.move_on_after(patience):
            await Item.aget(str(number))
            answered += 1

    async with make_app(10).app_context():
        async with anyio.create_task_group() as tasks:
            for number in range(300):
                tasks.start_soon(get, number)

        await until(lambda: db.pool.in_use == 0)
        assert stub.peak_in_flight <= 10
        assert answered >= 200

        stub.forget()
        stub.always("GetItem", stubs.held(stub._usual))

        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(Item.aget, str(number))

            await until(lambda: stub.in_flight == 10)
            stub.release()

        await until(lambda: db.pool.in_use == 0)


async def test_a_cancelled_call_keeps_its_slot_until_it_has_ended(
    make_app: MakeApp, stub: Stub, db: PynamoDB
) -> None:
    async with make_app(1).app_context():
        for number in range(5):
            stub.next("GetItem", stubs.held(stub._usual))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(Item.aget, str(number))
                await until(lambda: stub.in_flight == 1)
                tasks.cancel_scope.cancel()

            # The task is released at once, while the server still works.
            assert stub.in_flight == 1
            assert db.pool.in_use == 1

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(Item.aget, "next")
                await until(lambda: db.pool.waiting == 1)
                stub.release()

    assert stub.peak_in_flight == 1
    assert len(stub.requests) == 10


@pytest.mark.slow
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=False)
@pytest.mark.parametrize("way", ["wait_for", "cancel", "timeout"])
async def test_asyncio_s_own_cancellation_keeps_the_slot_too(
    make_app: MakeApp, stub: Stub, db: PynamoDB, way: str
) -> None:
    async def call() -> None:
        if way == "wait_for":
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(Item.aget("first"), 0.05)
        elif way == "timeout":
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await Item.aget("first")
        else:
            task = asyncio.create_task(Item.aget("first"))
            await until(lambda: stub.in_flight == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    async with make_app(1).app_context():
        # Cold, the first call would spend its patience on making the client.
        await Item.aget("warm up")

        for _ in range(5):
            stub.forget()
            stub.always("GetItem", stubs.held(stub._usual))
            await call()
            assert stub.in_flight == db.pool.in_use == 1
            later = asyncio.create_task(Item.aget("second"))
            await until(lambda: db.pool.waiting == 1)
            stub.always("GetItem", stub._usual)
            stub.release()
            await later
            assert stub.peak_in_flight == 1


async def test_a_queued_call_that_is_cancelled_never_runs(
    make_app: MakeApp, stub: Stub, db: PynamoDB
) -> None:
    stub.always("PutItem", stubs.held(stub._usual))

    async with make_app(1).app_context(), anyio.create_task_group() as tasks:
        tasks.start_soon(Item("first").asave)
        await until(lambda: stub.in_flight == 1)

        async with anyio.create_task_group() as queued:
            for _ in range(20):
                queued.start_soon(Item("never").asave)

            await until(lambda: db.pool.waiting == 20)
            queued.cancel_scope.cancel()

        assert db.pool.waiting == 0
        stub.release()
        await until(lambda: db.pool.in_use == 0)

    assert [request.body["Item"]["id"]["S"] for request in stub.requests] == ["first"]


async def test_a_call_that_is_cancelled_before_its_thread_began_gives_its_slot_back(
    make_app: MakeApp, stub: Stub, db: PynamoDB
) -> None:
    async with make_app(3).app_context():
        for _ in range(50):
            with anyio.CancelScope() as scope:
                scope.cancel()
                await Item.aget("never")

        assert db.pool.in_use == 0

    assert stub.requests == []


async def test_a_failing_call_gives_its_slot_back(
    make_app: MakeApp, stub: Stub, db: PynamoDB
) -> None:
    stub.always("GetItem", stubs.INTERNAL_ERROR)

    async with make_app(1).app_context():
        for _ in range(3):
            with pytest.raises(Exception, match="Failed to get item"):
                await Item.aget("x")

            assert db.pool.in_use == 0


async def test_a_wait_for_a_slot_ends_with_the_figures_of_the_pool(
    make_app: MakeApp, stub: Stub, db: PynamoDB
) -> None:
    stub.always("GetItem", stubs.held(stub._usual))

    async with make_app(2, DYNAMODB_POOL_TIMEOUT_SECONDS=0.05).app_context():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Item.aget, "1")
            tasks.start_soon(Item.aget, "2")
            await until(lambda: stub.in_flight == 2)

            with pytest.raises(PoolTimeout, match="2 of 2 are in use") as info:
                await Item.aget("3")

            stub.release()
            assert (info.value.size, info.value.in_use, info.value.waiting) == (2, 2, 0)
            assert info.value.timeout == 0.05

        assert db.pool.stats().timeouts == 1
        assert db.pool.in_use == 0

    assert sorted(keys(stub)) == ["1", "2"]


async def test_a_call_handed_back_to_the_loop_uses_the_slot_that_waits_for_it(
    make_app: MakeApp, stub: Stub, db: PynamoDB
) -> None:
    def nested() -> Item:
        Item.get("outer")
        return anyio.from_thread.run(Item.aget, "inner")

    async with make_app(1, DYNAMODB_POOL_TIMEOUT_SECONDS=5).app_context():
        with anyio.fail_after(100):
            assert (await db.run_sync(nested)).id == "inner"

        assert db.pool.in_use == 0

    assert stub.peak_in_flight == 1


async def test_a_task_that_a_worker_left_behind_does_not_share_its_slot(
    make_app: MakeApp, stub: Stub, db: PynamoDB
) -> None:
    async with make_app(1).app_context():
        async with anyio.create_task_group() as tasks:

            def work() -> None:
                stub.next("GetItem", stubs.held(stub._usual))
                anyio.from_thread.run_sync(lambda: tasks.start_soon(Item.aget, "left behind"))
                anyio.from_thread.run(until, lambda: stub.in_flight == 1)
                tasks_own_turn.set()
                Item.get("own")

            tasks_own_turn = threading.Event()
            tasks.start_soon(db.run_sync, work)
            await until(tasks_own_turn.is_set)
            assert stub.in_flight == 1
            stub.release()

        assert db.pool.in_use == 0

    assert stub.peak_in_flight == 1
    assert keys(stub) == ["left behind", "own"]


async def test_anyio_s_default_limiter_is_not_involved(make_app: MakeApp) -> None:
    limiter = anyio.to_thread.current_default_thread_limiter()
    borrowers = [object() for _ in range(int(limiter.total_tokens))]

    for borrower in borrowers:
        limiter.acquire_on_behalf_of_nowait(borrower)

    try:
        async with make_app(2).app_context():
            with anyio.fail_after(100):
                assert (await Item.aget("x")).id == "x"
    finally:
        for borrower in borrowers:
            limiter.release_on_behalf_of(borrower)


async def test_the_worker_sees_the_app_g_and_context_variables(
    make_app: MakeApp, db: PynamoDB
) -> None:
    app = make_app(1)
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("mine")

    def look() -> tuple[str, str, str]:
        return current_app.name, g.user, variable.get()

    async with app.app_context():
        g.user = "me"
        assert await db.run_sync(look) == (app.name, "me", "mine")


async def test_stop_iteration_does_not_cross_the_thread(make_app: MakeApp, db: PynamoDB) -> None:
    async with make_app(1).app_context():
        with pytest.raises(RuntimeError, match="StopIteration"):
            await db.run_sync(next, iter(()))

        assert db.pool.in_use == 0


async def test_arguments_reach_a_function_of_the_user_s_own(
    make_app: MakeApp, db: PynamoDB
) -> None:
    async with make_app(1).app_context():
        assert await db.run_sync(sorted, [3, 1, 2], reverse=True) == [3, 2, 1]


async def test_signals_fire_in_pairs_in_the_worker(make_app: MakeApp, stub: Stub) -> None:
    seen: list[tuple[str, t.Any, str]] = []

    def before(sender: object, **call: t.Any) -> None:
        seen.append(("pre", call["req_uuid"], current_app.name))

    def after(sender: object, **call: t.Any) -> None:
        seen.append(("post", call["req_uuid"], current_app.name))

    app = make_app(1)
    stub.next("GetItem", stub._usual, stubs.INTERNAL_ERROR)

    before_call, after_call = (
        t.cast(blinker.Signal, signal)
        for signal in (pynamodb.signals.pre_dynamodb_send, pynamodb.signals.post_dynamodb_send)
    )

    with before_call.connected_to(before), after_call.connected_to(after):
        async with app.app_context():
            await Item.aget("x")

            with pytest.raises(Exception, match="Failed to get item"):
                await Item.aget("x")

    (pre, first, name), (post, also_first, _), *failing = seen
    assert (pre, post, name) == ("pre", "post", app.name)
    assert first == also_first
    assert [kind for kind, *_ in failing] == ["pre", "post"]
    assert failing[0][1] == failing[1][1] != first


async def test_no_sleep_holds_a_slot_while_a_table_is_made(
    make_app: MakeApp, stub: Stub, db: PynamoDB
) -> None:
    creating = stubs.Answer(body={"Table": {"TableName": "t", "TableStatus": "CREATING"}})
    active = stubs.Answer(body={"Table": {"TableName": "t", "TableStatus": "ACTIVE"}})
    missing = stubs.error(400, "ResourceNotFoundException")
    stub.next("DescribeTable", missing, *[creating] * 3, active)

    async with make_app(1).app_context(), anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: Item.acreate_table(wait=True))
        await until(lambda: stub.operations.count("DescribeTable") == 3)
        await until(lambda: db.pool.in_use == 0)
        assert (await Item.aget("meanwhile")).id == "meanwhile"
        assert stub.operations.count("DescribeTable") <= 4

    assert stub.operations.count("DescribeTable") == 5


async def test_no_sleep_holds_a_slot_while_a_table_is_deleted(
    make_app: MakeApp, stub: Stub, db: PynamoDB
) -> None:
    there = stubs.Answer(body={"Table": {"TableName": "t", "TableStatus": "DELETING"}})
    missing = stubs.error(400, "ResourceNotFoundException")
    stub.next("DeleteTable", stubs.Answer())
    stub.next("DescribeTable", there, there, there, missing)

    async with make_app(1).app_context(), anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: Item.adelete_table(wait=True))
        await until(lambda: stub.operations.count("DescribeTable") == 2)
        await until(lambda: db.pool.in_use == 0)
        assert (await Item.aget("meanwhile")).id == "meanwhile"

    assert stub.operations.count("DescribeTable") == 4


async def test_threads_and_tasks_share_one_budget(
    make_app: MakeApp, stub: Stub, db: PynamoDB
) -> None:
    app = make_app(4)
    stub.always("GetItem", stubs.delayed(0.005, stub._usual))

    def in_threads() -> None:
        threads = [
            threading.Thread(target=contextvars.copy_context().run, args=(Item.get, f"t{n}"))
            for n in range(40)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    async with app.app_context():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, in_threads)

            for number in range(40):
                tasks.start_soon(Item.aget, f"a{number}")

        assert db.pool.in_use == 0

    assert len(stub.requests) == 80
    assert 2 <= stub.peak_in_flight <= 4


def test_three_event_loops_in_threads_share_one_pool(
    make_app: MakeApp, stub: Stub, anyio_backend: tuple[str, dict[str, t.Any]]
) -> None:
    app = make_app(2)
    stub.always("GetItem", stubs.delayed(0.002, stub._usual))
    answered: list[int] = []

    async def main() -> None:
        async with app.app_context(), anyio.create_task_group() as tasks:
            for number in range(30):
                tasks.start_soon(Item.aget, str(number))

        answered.append(30)

    def loop() -> None:
        anyio.run(main, backend=anyio_backend[0], backend_options=anyio_backend[1])

    threads = [threading.Thread(target=loop, daemon=True) for _ in range(3)]

    for thread in threads:
        thread.start()

    for thread in threads:
        thread.join(100)

    assert answered == [30, 30, 30]
    assert len(stub.requests) == 90
    assert stub.peak_in_flight <= 2


def test_a_loop_that_ends_during_a_call_gives_the_slot_back_when_the_call_ends(
    make_app: MakeApp,
    stub: Stub,
    db: PynamoDB,
    anyio_backend: tuple[str, dict[str, t.Any]],
) -> None:
    app = make_app(1)
    backend, options = anyio_backend
    stub.next("GetItem", stubs.held(stub._usual))

    async def give_up() -> None:
        async with app.app_context(), anyio.create_task_group() as tasks:
            tasks.start_soon(Item.aget, "given up")
            await until(lambda: stub.in_flight == 1)
            tasks.cancel_scope.cancel()

    async def go_on() -> str:
        async with app.app_context():
            return (await Item.aget("next")).id

    anyio.run(give_up, backend=backend, backend_options=options)
    assert stub.in_flight == 1
    stub.release()
    assert anyio.run(go_on, backend=backend, backend_options=options) == "next"
    assert stub.peak_in_flight == 1


@pytest.mark.slow
def test_three_loops_one_after_the_other(stub: Stub, run_warm_python: RunPython) -> None:
    done = run_warm_python(
        app_source()
        + """
async def main():
    async with app.app_context():
        items = await asyncio.gather(*(Item.aget(str(n)) for n in range(20)))
        return len(items), db.connection.client

results = [asyncio.run(main()) for _ in range(3)]
print([count for count, _ in results], len({id(client) for _, client in results}))
""",
        stub.url,
    )
    assert (done.stdout.strip(), done.stderr) == ("[20, 20, 20] 1", "")


@pytest.mark.slow
def test_flask_s_async_views_each_have_a_loop_of_their_own(
    db: PynamoDB, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    app = Flask(__name__)
    app.config.from_mapping(stub_config, DYNAMODB_MAX_POOL_CONNECTIONS=2)
    db.init_app(app)

    @app.get("/<key>")
    async def view(key: str) -> str:
        flask_g.key = key
        item = await Item.aget(key)
        return f"{item.id} {await db.run_sync(lambda: flask_g.key)}"

    def request(number: int) -> None:
        answers.append(app.test_client().get(f"/{number}").text)

    answers: list[str] = []
    threads = [threading.Thread(target=request, args=(number,)) for number in range(12)]

    for thread in threads:
        thread.start()

    for thread in threads:
        thread.join()

    assert sorted(answers) == sorted(f"{number} {number}" for number in range(12))
    assert stub.peak_in_flight <= 2
