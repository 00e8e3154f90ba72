"""Clocks that tests freeze, thaw and set back while calls are under way: freezegun, time-machine.

freezegun also replaces :func:`time.monotonic`, in all modules; time-machine leaves it alone.
"""

from __future__ import annotations

import datetime
import json
import typing as t

import freezegun
import pytest
from pynamodb.attributes import UnicodeAttribute

from conftest import InApp
from conftest import RunPython
from dynamo_ext import Model
from stub import HOLD
from stub import Stub
from stub import delayed

pytestmark = [pytest.mark.slow, pytest.mark.wire]


class Item(Model):
    class Meta:
        table_name = "item"

    id = UnicodeAttribute(hash_key=True)


CALLS = """
import contextlib, contextvars, datetime, faulthandler, json, logging, sys, threading

import anyio
from pynamodb.attributes import UnicodeAttribute
from quart import Quart

from dynamo_ext_async import Model, PynamoDB

# By the C library's clock: nothing in Python can freeze it.
faulthandler.dump_traceback_later(60, exit=True)
logging.getLogger("dynamo_ext").setLevel(logging.CRITICAL)
config, package, backend = json.loads(sys.argv[1]), *sys.argv[2:]
past = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)

if package == "freezegun":
    import freezegun

    def stop_clock(tick=False):
        # The loops need the real time for their own timeouts.
        return freezegun.freeze_time(past, tick=tick, real_asyncio=True, ignore=["trio"])
else:
    import time_machine

    def stop_clock(tick=False):
        return time_machine.travel(past, tick=tick)

class Item(Model):
    class Meta:
        table_name = "item"
    id = UnicodeAttribute(hash_key=True)

app = Quart("app")
# No limit is near: what fires, fires by a clock that has jumped.
app.config.from_mapping(config, DYNAMODB_MAX_POOL_CONNECTIONS=4, DYNAMODB_CALL_TIMEOUT_SECONDS=60,
                        DYNAMODB_BLOCKING_CALLS="allow")
db = PynamoDB(app)

async def calls_around(change):
    # On a busy machine, some calls may end before the others begin.
    while (results := await calls_at_once(change)) is None:
        pass

    return results

async def calls_at_once(change):
    # Six calls at once on four slots: two queue. The clock changes while they are under way. None
    # if they were not all under way at any time.
    results = []

    def get(key):
        try:
            results.append(Item.get(key).id)
        except Exception as error:
            results.append(repr(error))

    async def aget(key):
        try:
            results.append((await Item.aget(key)).id)
        except Exception as error:
            results.append(repr(error))

    threads = [
        threading.Thread(target=contextvars.copy_context().run, args=(get, f"sync {number}"))
        for number in range(3)
    ]

    async with anyio.create_task_group() as tasks:
        for thread in threads:
            thread.start()

        for number in range(3):
            tasks.start_soon(aget, f"awaited {number}")

        while not (is_late := len(results) == 6) and (
            db.pool.in_use < 4 or db.pool.waiting < 2
        ):
            await anyio.lowlevel.checkpoint()

        if not is_late:
            change()

    for thread in threads:
        thread.join()

    return None if is_late else sorted(results)

def nothing():
    pass

async def scenarios():
    with stop_clock():
        yield "frozen", await calls_around(nothing)

    with stop_clock(tick=True):
        yield "ticking", await calls_around(nothing)

    with contextlib.ExitStack() as stack:
        yield "frozen meanwhile", await calls_around(lambda: stack.enter_context(stop_clock()))

    with contextlib.ExitStack() as stack:
        stack.enter_context(stop_clock())
        yield "thawed meanwhile", await calls_around(stack.close)

    for tick in (False, True):
        with stop_clock(tick) as clock:
            day_before = past - datetime.timedelta(days=1)
            yield f"set back, {tick=}", await calls_around(lambda: clock.move_to(day_before))

    yield "real", await calls_around(nothing)

async def main():
    async with app.app_context():
        # So that the hub runs, on the real clock.
        await Item.aget("first")
        results = {name: result async for name, result in scenarios()}
        print(json.dumps({**results, "slots": db.pool.in_use}))

anyio.run(main, backend=backend)
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("package", ["freezegun", "time_machine"])
def test_no_call_fails_or_hangs_because_a_clock_stops_or_jumps(
    stub: Stub,
    stub_config: dict[str, t.Any],
    run_warm_python: RunPython,
    package: str,
    backend: str,
) -> None:
    # Long enough for a clock to change meanwhile.
    stub.always("GetItem", delayed(0.2, stub._usual))
    done = run_warm_python(CALLS, json.dumps(stub_config), package, backend)
    assert done.stderr[-3000:] == ""
    everything = [f"{kind} {number}" for kind in ("awaited", "sync") for number in range(3)]
    results = json.loads(done.stdout)
    assert results.pop("slots") == 0
    assert len(results) == 7
    assert {name: result for name, result in results.items() if result != everything} == {}


UNANSWERED = """
import asyncio, contextlib, faulthandler, json, logging, sys

import freezegun
from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import GetError
from quart import Quart

from dynamo_ext_async import CallTimeout, Model, PynamoDB

faulthandler.dump_traceback_later(60, exit=True)
logging.getLogger("dynamo_ext").setLevel(logging.CRITICAL)

class Item(Model):
    class Meta:
        table_name = "item"
    id = UnicodeAttribute(hash_key=True)

app = Quart("app")
app.config.from_mapping(json.loads(sys.argv[1]), DYNAMODB_MAX_RETRY_ATTEMPTS=0,
                        DYNAMODB_BLOCKING_CALLS="allow")
db = PynamoDB(app)

async def main():
    async with app.app_context():
        await db.aping(timeout=30)

        with freezegun.freeze_time("2020-01-01", real_asyncio=True):
            for _ in range(2):
                with contextlib.suppress(CallTimeout, GetError):
                    print(await Item.aget("awaited"))

                with contextlib.suppress(CallTimeout, GetError):
                    print(Item.get("sync"))

        await db.aping(timeout=30)

asyncio.run(main())
print("done", db.pool.in_use)
"""


@pytest.mark.parametrize("limit", ["READ_TIMEOUT_SECONDS", "CALL_TIMEOUT_SECONDS"])
def test_call_without_an_answer_ends_while_the_clock_stands(
    stub: Stub, stub_config: dict[str, t.Any], run_warm_python: RunPython, limit: str
) -> None:
    stub.always("GetItem", HOLD)
    done = run_warm_python(UNANSWERED, json.dumps({**stub_config, f"DYNAMODB_{limit}": 0.3}))
    stub.release()
    assert done.stderr[-3000:] == ""
    assert done.stdout == "done 0\n"
    assert stub.operations.count("GetItem") == 4


def test_signature_has_the_frozen_time_unless_dynamo_ext_is_ignored(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    """DynamoDB refuses a signature that is minutes old; an engine for tests does not look."""
    with in_app(stub_config):
        with freezegun.freeze_time("2020-01-02"):
            Item.get("frozen")

        with freezegun.freeze_time("2020-01-02", ignore=["dynamo_ext"]):
            Item.get("real")
            frozen_for_the_app = datetime.datetime.now(datetime.UTC)

    frozen, real = (request.header("X-Amz-Date") for request in stub.requests)
    assert frozen == "20200102T000000Z"
    assert real is not None
    assert real > "2026"
    assert frozen_for_the_app.year == 2020
