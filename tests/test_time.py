"""How long a call takes at most: which side gives up first, and how often it is tried."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import random
import typing as t

import anyio
import anyio.to_thread
import botocore.exceptions
import pytest
from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import GetError

import dynamo_ext
import engines
import ports
import stub as stubs
from conftest import InApp
from dynamo_ext_async import Model
from stub import Stub

pytestmark = pytest.mark.wire


class Item(Model):
    class Meta:
        table_name = "item"

    id = UnicodeAttribute(hash_key=True)


class HastyItem(Item):
    class Meta:
        table_name = "hasty"
        read_timeout_seconds = 0.3
        connect_timeout_seconds = 0.2


@contextlib.contextmanager
def recorded_calls() -> cabc.Generator[list[dynamo_ext.Call]]:
    calls: list[dynamo_ext.Call] = []

    def record(sender: t.Any, call: dynamo_ext.Call) -> None:
        calls.append(call)

    with dynamo_ext.call_finished.connected_to(record):
        yield calls


@pytest.fixture
def nobody() -> str:
    """The URL of a port on which nobody listens."""
    port = ports.free_port()
    return f"http://{engines.HOST}:{port}"


def test_each_attempt_to_connect_has_the_connect_timeout(in_app: InApp, busy: str) -> None:
    settings = engines.config(busy)
    settings["DYNAMODB_CONNECT_TIMEOUT_SECONDS"] = 0.2
    settings["DYNAMODB_MAX_RETRY_ATTEMPTS"] = 2

    with in_app(settings), recorded_calls() as calls, pytest.raises(GetError) as raised:
        Item.get("a")

    assert isinstance(raised.value.cause, botocore.exceptions.ConnectTimeoutError)
    assert [call.attempts for call in calls] == [3]


def test_a_connection_that_is_refused_is_tried_again(in_app: InApp, nobody: str) -> None:
    settings = engines.config(nobody)
    settings["DYNAMODB_BASE_BACKOFF_MS"] = 0

    with in_app(settings), recorded_calls() as calls, pytest.raises(GetError) as raised:
        Item.get("a")

    assert isinstance(raised.value.cause, botocore.exceptions.EndpointConnectionError)
    assert nobody in str(raised.value)
    assert [call.attempts for call in calls] == [4]


def test_the_client_leaves_a_server_that_exceeds_the_read_timeout(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    stub.always("GetItem", stubs.HOLD)

    with in_app(stub_config, DYNAMODB_READ_TIMEOUT_SECONDS=0.3, DYNAMODB_MAX_RETRY_ATTEMPTS=0):
        with pytest.raises(GetError) as raised:
            Item.get("a")

        assert isinstance(raised.value.cause, botocore.exceptions.ReadTimeoutError)
        # It has not answered yet: the client has gone first.
        assert stub.in_flight == 1
        assert stub.operations == ["GetItem"]

    stub.release()


def test_a_server_that_answers_within_the_read_timeout_is_waited_for(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    stub.next("GetItem", stubs.delayed(0.5, stubs.Answer(body={"Item": {"id": {"S": "a"}}})))

    with in_app(stub_config):
        assert Item.get("a").id == "a"

    assert stub.operations == ["GetItem"]


@pytest.mark.anyio
async def test_a_model_may_have_timeouts_of_its_own(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    stub.always("GetItem", stubs.HOLD)

    with in_app(stub_config, DYNAMODB_MAX_RETRY_ATTEMPTS=1, DYNAMODB_BASE_BACKOFF_MS=0):
        with pytest.raises(GetError) as raised:
            await HastyItem.aget("a")

        assert isinstance(raised.value.cause, botocore.exceptions.ReadTimeoutError)
        assert stub.in_flight == 2

    stub.release()


@pytest.mark.anyio
async def test_there_are_never_more_sockets_than_slots(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    """Whatever goes wrong meanwhile, for threads and tasks together."""
    choose = random.Random(1)
    usual = stub._usual
    faults: list[stubs.Behaviour] = [
        stubs.RESET,
        stubs.DROP,
        stubs.THROTTLE,
        stubs.UNAVAILABLE,
        stubs.closing(usual),
        stubs.Answer(content=b"{", cut=1),
    ]
    chosen = [choose.choice([*faults, usual, usual]) for _ in range(400)]
    stub.next("GetItem", *[stubs.delayed(0.01, behaviour) for behaviour in chosen])
    settings = {
        "DYNAMODB_BASE_BACKOFF_MS": 0,
        "DYNAMODB_MAX_POOL_CONNECTIONS": 4,
        "DYNAMODB_MAX_RETRY_ATTEMPTS": 50,
    }

    with in_app(stub_config, **settings) as db:

        def work() -> int:
            with contextlib.suppress(GetError):
                for _ in range(10):
                    Item.get("a")

            return 1

        async def await_work() -> None:
            with contextlib.suppress(GetError):
                for _ in range(10):
                    await Item.aget("a")

        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(anyio.to_thread.run_sync, work)
                tasks.start_soon(await_work)

        assert db.pool.in_use == 0

    assert 1 < stub.peak_connections <= 4
    assert stub.total_connections > 4
