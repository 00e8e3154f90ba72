"""A handler as AWS Lambda runs it: a loop for each invocation, and a stop of any length between."""

from __future__ import annotations

import collections.abc as cabc
import json
import typing as t

import pytest

import interpreter
from stub import HOLD
from stub import Stub
from stub import held

pytestmark = [pytest.mark.slow, pytest.mark.wire]

FUNCTION = """
import asyncio, json, os, sys, time

from pynamodb.attributes import UnicodeAttribute
from quart import Quart

from dynamo_ext_async import Model, PynamoDB

class Item(Model):
    class Meta:
        table_name = "item"
    id = UnicodeAttribute(hash_key=True)

app = Quart("function")
app.config.from_mapping(json.loads(sys.argv[1]))
db = PynamoDB(app)

async def handle(key):
    async with app.app_context():
        found = await asyncio.gather(*(Item.aget(f"{key}-{number}") for number in range(3)))
        return [item.id for item in found]

def handle_blocking(key):
    return [Item.get(f"{key}-{number}").id for number in range(3)]

def invoke(key):
    return asyncio.run(handle(key)) if sys.argv[2] == "awaits" else handle_blocking(key)

for line in sys.stdin:
    try:
        answer = invoke(line.strip())
    except Exception as error:
        answer = repr(error)

    # What was on the wire when its invocation failed runs to its end.
    for _ in range(10_000):
        if db.pool.in_use == 0:
            break

        time.sleep(0.005)

    usage = [len(os.listdir("/proc/self/" + directory)) for directory in ("task", "fd")]
    print(json.dumps([answer, db.pool.in_use, *usage]), flush=True)
"""


class Function:
    """A running function."""

    def __init__(self, process: interpreter.Interpreter) -> None:
        self.process = process
        self.threads = 0
        self.descriptors = 0

    def invoke(self, key: str) -> t.Any:
        """What an invocation gives. All slots are free after it."""
        self.process.say(key)
        return self.result()

    def result(self) -> t.Any:
        answer, in_use, self.threads, self.descriptors = json.loads(self.process.next_line())
        assert in_use == 0
        return answer


@pytest.fixture(params=["blocks", "awaits"])
def start(
    request: pytest.FixtureRequest, stub_config: dict[str, t.Any]
) -> cabc.Callable[..., t.Any]:
    def start(**config: t.Any) -> t.Any:
        settings = json.dumps({**stub_config, **config})
        return interpreter.running(FUNCTION, settings, request.param)

    return start


def items(key: str) -> list[str]:
    return [f"{key}-{number}" for number in range(3)]


def test_connections_that_are_gone_after_a_stop_cost_no_call(
    stub: Stub, start: cabc.Callable[..., t.Any]
) -> None:
    with start(DYNAMODB_MAX_RETRY_ATTEMPTS=0) as process:
        function = Function(process)

        early: list[tuple[int, int]] = []
        late: list[tuple[int, int]] = []

        for number in range(5):
            assert function.invoke(f"first-{number}") == items(f"first-{number}")
            early.append((function.threads, function.descriptors))

        for number in range(10):
            process.pause()
            stub.close_connections()
            stub.wait_for(lambda: stub.connections == 0)
            process.resume()
            assert function.invoke(f"stop-{number}") == items(f"stop-{number}")
            late.append((function.threads, function.descriptors))

        # The threads of an event loop end soon after it, not at once.
        for most, least in zip(
            map(max, zip(*early, strict=True)), map(min, zip(*late[-5:], strict=True)), strict=True
        ):
            # The first invocations may not have used all that is kept.
            assert least < most + 3

        assert process.end() == ""

    keys = [request.body["Key"]["id"]["S"] for request in stub.requests]
    assert len(keys) == len(set(keys)) == 3 * 15
    stub.wait_for(lambda: stub.connections == 0)


@pytest.mark.parametrize("lost", [False, True], ids=["answered meanwhile", "lost meanwhile"])
def test_stop_in_the_middle_of_calls(
    stub: Stub, start: cabc.Callable[..., t.Any], lost: bool
) -> None:
    with start() as process:
        function = Function(process)
        assert function.invoke("first") == items("first")

        for number in range(3):
            stub.next("GetItem", HOLD if lost else held(stub._usual))
            process.say(f"stop-{number}")
            stub.wait_for(lambda: stub.holding == 1)
            process.pause()

            if lost:
                stub.close_connections()

            stub.release()
            process.resume()
            assert function.result() == items(f"stop-{number}")

        assert process.end() == ""


def test_stop_that_is_longer_than_a_call_may_take(
    stub: Stub, start: cabc.Callable[..., t.Any]
) -> None:
    """The call has its answer or its error, and the next one has its own answer."""
    with start(DYNAMODB_CALL_TIMEOUT_SECONDS=0.3, DYNAMODB_MAX_RETRY_ATTEMPTS=0) as process:
        function = Function(process)

        def is_answered(key: str, answer: t.Any) -> bool:
            assert answer == items(key) or answer.startswith("CallTimeout(")
            return bool(answer == items(key))

        # Calls that find everything cold, or the machine busy, may take longer.
        while not is_answered("first", function.invoke("first")):
            pass

        stub.next("GetItem", held(stub._usual))
        process.say("stop")
        stub.wait_for(lambda: stub.holding == 1)
        process.pause()
        assert not stub.closes_within(0.4)
        stub.release()
        process.resume()
        is_answered("stop", function.result())

        while not is_answered("next", function.invoke("next")):
            pass

        assert process.end() == ""
