"""PynamoDB's signals come in pairs: one before each call, one after it, however it ends."""

from __future__ import annotations

import collections.abc as cabc
import logging
import threading
import typing as t
import uuid

import pytest
from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import GetError
from pynamodb.exceptions import PynamoDBConnectionError
from pynamodb.signals import post_dynamodb_send
from pynamodb.signals import pre_dynamodb_send

from conftest import InApp
from dynamo_ext import Call
from dynamo_ext import Model
from dynamo_ext import PoolTimeout
from dynamo_ext import call_finished
from stub import RESET
from stub import Answer
from stub import Stub
from stub import error
from stub import held
from threads import in_same_app

# As blinker gives them; PynamoDB's annotations are of a substitute without it.
before_call: t.Any = pre_dynamodb_send
after_call: t.Any = post_dynamodb_send


class Todo(Model):
    class Meta:
        table_name = "todo"

    id = UnicodeAttribute(hash_key=True)


Event = tuple[str, str, str, uuid.UUID]


@pytest.fixture
def events() -> cabc.Iterator[list[Event]]:
    """What PynamoDB announces, in order."""
    seen: list[Event] = []

    def before(sender: t.Any, operation_name: str, table_name: str, req_uuid: uuid.UUID) -> None:
        seen.append(("before", operation_name, table_name, req_uuid))

    def after(sender: t.Any, operation_name: str, table_name: str, req_uuid: uuid.UUID) -> None:
        seen.append(("after", operation_name, table_name, req_uuid))

    with before_call.connected_to(before), after_call.connected_to(after):
        yield seen


def assert_pairs(events: list[Event], count: int) -> None:
    """Every event before a call is followed by the event after that same call."""
    befores, afters = events[::2], events[1::2]
    assert [event[0] for event in befores] == ["before"] * count
    assert [event[0] for event in afters] == ["after"] * count
    assert [event[1:] for event in befores] == [event[1:] for event in afters]
    assert len({event[3] for event in befores}) == count


def test_a_call_is_announced_before_and_after(
    events: list[Event], in_app: InApp, config: dict[str, t.Any]
) -> None:
    with in_app(config, DYNAMODB_TABLE_NAME_PREFIX="signals-"):
        if not Todo.exists():
            Todo.create_table(wait=True)

        events.clear()
        Todo("1").save()
        list(Todo.scan())

    assert_pairs(events, 2)
    assert [event[1:3] for event in events[::2]] == [
        ("PutItem", "signals-todo"),
        ("Scan", "signals-todo"),
    ]


@pytest.mark.parametrize("answer", [error(400, "ValidationException"), RESET], ids=["400", "reset"])
def test_a_failed_call_is_announced_before_and_after(
    answer: t.Any, events: list[Event], in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    stub.always("GetItem", answer)

    with in_app(stub_config, DYNAMODB_MAX_RETRY_ATTEMPTS=0):
        for _ in range(3):
            with pytest.raises((GetError, PynamoDBConnectionError)):
                Todo.get("1")

    assert_pairs(events, 3)


def test_a_call_that_gets_no_slot_is_announced_before_and_after(
    events: list[Event], in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    stub.next("GetItem", held(Answer(body={"Item": {"id": {"S": "1"}}})))

    with in_app(stub_config, DYNAMODB_MAX_POOL_CONNECTIONS=1, DYNAMODB_POOL_TIMEOUT_SECONDS=0.01):
        holder = threading.Thread(target=in_same_app(Todo.get), args=["1"])
        holder.start()
        stub.wait_for(lambda: stub.in_flight == 1)
        events.clear()

        with pytest.raises(PoolTimeout):
            Todo.get("2")

        assert_pairs(events, 1)
        stub.release()
        holder.join()


def test_a_call_that_a_receiver_makes_is_announced_too(
    events: list[Event], in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    stub.always("GetItem", error(400, "ValidationException"))

    def log(sender: t.Any, operation_name: str, **signal: t.Any) -> None:
        if operation_name == "GetItem":
            Todo("log").save()

    # One slot: what a receiver sends must not wait for the slot of what it receives.
    with (
        in_app(stub_config, DYNAMODB_MAX_POOL_CONNECTIONS=1, DYNAMODB_POOL_TIMEOUT_SECONDS=1),
        before_call.connected_to(log),
        after_call.connected_to(log),
        pytest.raises(GetError),
    ):
        Todo.get("1")

    assert stub.operations == ["PutItem", "GetItem", "PutItem"]
    calls = sorted(events, key=lambda event: event[3])
    assert len(calls) == 6
    assert_pairs(sorted(calls, key=lambda event: (event[3], event[0] == "after")), 3)


def test_a_receiver_of_finished_calls_may_call(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    def log(sender: t.Any, call: Call) -> None:
        if call.operation == "GetItem":
            Todo("log").save()

    with (
        in_app(stub_config, DYNAMODB_MAX_POOL_CONNECTIONS=1, DYNAMODB_POOL_TIMEOUT_SECONDS=1) as db,
        call_finished.connected_to(log),
    ):
        assert Todo.get("1").id == "1"
        assert db.pool.in_use == 0

    assert stub.operations == ["GetItem", "PutItem"]


def test_a_receiver_that_fails_does_not_fail_the_call(
    events: list[Event], in_app: InApp, stub_config: dict[str, t.Any]
) -> None:
    def fail(sender: t.Any, **signal: t.Any) -> None:
        raise LookupError

    with (
        in_app(stub_config),
        before_call.connected_to(fail),
        after_call.connected_to(fail),
    ):
        assert Todo.get("1").id == "1"


def test_pynamodb_s_own_records_are_logged_where_somebody_wants_them(
    in_app: InApp, stub_config: dict[str, t.Any], caplog: pytest.LogCaptureFixture, stub: Stub
) -> None:
    capacity = {"TableName": "todo", "CapacityUnits": 0.5}
    stub.always("GetItem", Answer(body={"Item": {"id": {"S": "1"}}, "ConsumedCapacity": capacity}))

    with in_app(stub_config), caplog.at_level(logging.DEBUG, "pynamodb.connection.base"):
        Todo.get("1")
        table = Todo.Meta.table_name

    assert [record.getMessage() for record in caplog.records if "pynamodb" in record.name] == [
        f"Calling GetItem with arguments {{'TableName': '{table}', 'Key': {{'id': {{'S': '1'}}}},"
        " 'ConsistentRead': False, 'ReturnConsumedCapacity': 'TOTAL'}",
        " GetItem consumed 0.5 units",
    ]


@pytest.mark.parametrize("signal", [before_call, after_call], ids=["before", "after"])
def test_one_signal_is_sent_also_where_nobody_listens_to_the_other(
    in_app: InApp, stub_config: dict[str, t.Any], signal: t.Any
) -> None:
    operations: list[str] = []

    def note(sender: t.Any, operation_name: str, **more: t.Any) -> None:
        operations.append(operation_name)

    with in_app(stub_config), signal.connected_to(note):
        Todo.get("1")

    assert operations == ["GetItem"]
