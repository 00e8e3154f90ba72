"""Slots, as threads use them; what is in flight is counted at the server."""

from __future__ import annotations

import collections.abc as cabc
import concurrent.futures
import contextlib
import contextvars
import json
import os
import pathlib
import pickle
import signal
import threading
import time
import typing as t

import flask
import pytest
from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import GetError

import interpreter
from conftest import InApp
from dynamo_ext import CallTimeout
from dynamo_ext import Model
from dynamo_ext import Pool
from dynamo_ext import PoolTimeout
from dynamo_ext import PynamoDB
from dynamo_ext.calls import backoff
from dynamo_ext.calls import deadline
from stub import RESET
from stub import Answer
from stub import Behaviour
from stub import Stub
from stub import delayed
from stub import error
from stub import held
from stub import unprocessed
from threads import at_once
from threads import in_same_app


class Todo(Model):
    class Meta:
        table_name = "todo"

    id = UnicodeAttribute(hash_key=True)


@contextlib.contextmanager
def slots_taken(stub: Stub, count: int) -> cabc.Iterator[None]:
    """So many calls of the current app are on the wire during the block."""
    behaviour: Behaviour = stub._usual
    stub.next("GetItem", *[held(behaviour)] * count)

    with concurrent.futures.ThreadPoolExecutor(count) as threads:
        get = in_same_app(Todo.get)
        calls = [threads.submit(get, f"holder-{number}") for number in range(count)]

        try:
            stub.wait_for(lambda: stub.in_flight == count)
            yield
        finally:
            stub.release()

        for call in calls:
            call.result()


def test_never_more_threads_in_flight_than_the_pool_allows(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    behaviour: Behaviour = stub._usual
    stub.always("GetItem", delayed(0.02, behaviour))

    with in_app(stub_config, DYNAMODB_MAX_POOL_CONNECTIONS=3) as db:
        found = at_once(in_same_app(lambda number: Todo.get(str(number))), 50)

        assert sorted(int(todo.id) for todo in found) == list(range(50))
        assert db.pool.in_use == db.pool.waiting == 0

    assert stub.peak_in_flight == 3
    assert stub.total_connections <= 3


def test_a_slot_that_comes_after_the_deadline_is_given_back() -> None:
    pool = Pool(1)

    with deadline.limit(0.05):
        time.sleep(0.1)

        with pytest.raises(CallTimeout):
            pool.acquire(10)

    assert (pool.in_use, pool.waiting, pool.stats().timeouts) == (0, 0, 1)


def test_apps_with_equal_endpoints_share_the_slots(
    stub_config: dict[str, t.Any], stub: Stub
) -> None:
    db = PynamoDB()
    apps = [flask.Flask(name) for name in ("one", "two")]
    behaviour: Behaviour = stub._usual
    stub.always("GetItem", delayed(0.02, behaviour))

    for app in apps:
        app.config.from_mapping(stub_config, DYNAMODB_MAX_POOL_CONNECTIONS=3)
        db.init_app(app)

    def get(number: int) -> None:
        with apps[number % 2].app_context():
            Todo.get(str(number))

    with concurrent.futures.ThreadPoolExecutor(20) as threads:
        list(threads.map(get, range(30)))

    assert stub.peak_in_flight == 3


def test_a_model_with_a_pool_of_its_own_waits_for_that_one_only(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    class Elsewhere(Todo):
        class Meta(Todo.Meta):
            max_pool_connections = 2

    with (
        in_app(
            stub_config, DYNAMODB_MAX_POOL_CONNECTIONS=1, DYNAMODB_POOL_TIMEOUT_SECONDS=0.05
        ) as db,
        slots_taken(stub, 1),
    ):
        Elsewhere.get("1")
        assert Elsewhere._get_connection().connection.engine.pool.size == 2

        with pytest.raises(PoolTimeout):
            Todo.get("2")

        assert db.pool.size == 1


def test_a_wait_that_is_too_long_ends_in_an_error_that_says_why(
    stub_config: dict[str, t.Any], stub: Stub
) -> None:
    db = PynamoDB()
    patient, impatient = flask.Flask("patient"), flask.Flask("impatient")
    patient.config.from_mapping(stub_config, DYNAMODB_MAX_POOL_CONNECTIONS=2)
    impatient.config.from_mapping(patient.config, DYNAMODB_POOL_TIMEOUT_SECONDS=0.05)
    db.init_app(patient)
    db.init_app(impatient)

    def wait_patiently() -> Todo:
        with patient.app_context():
            return Todo.get("patient")

    with concurrent.futures.ThreadPoolExecutor(1) as threads, impatient.app_context():
        with slots_taken(stub, 2):
            waiting = threads.submit(wait_patiently)

            while db.pool.waiting < 1:
                assert not waiting.done()

            with pytest.raises(PoolTimeout) as raised:
                Todo.get("impatient")

        assert waiting.result().id == "patient"
        assert db.pool.in_use == 0
        assert db.pool.stats().timeouts == 1

    timeout = raised.value
    assert (timeout.size, timeout.in_use, timeout.waiting, timeout.timeout) == (2, 2, 1, 0.05)
    assert isinstance(timeout, TimeoutError)

    for part in (
        "within 0.05 s",
        "2 of 2 are in use",
        "1 more",
        "'DYNAMODB_MAX_POOL_CONNECTIONS'",
        "'DYNAMODB_POOL_TIMEOUT_SECONDS'",
    ):
        assert part in str(timeout)

    assert "impatient" not in [request.body["Key"]["id"]["S"] for request in stub.requests]


def test_a_timeout_survives_the_way_to_another_process() -> None:
    timeout = PoolTimeout(3, 2, 1, 0.5)
    again = pickle.loads(pickle.dumps(timeout))
    assert str(again) == str(timeout)
    assert (again.size, again.in_use, again.waiting, again.timeout) == (3, 2, 1, 0.5)


def test_a_pool_tells_what_it_does(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    with in_app(stub_config, DYNAMODB_MAX_POOL_CONNECTIONS=2) as db:
        with slots_taken(stub, 1):
            assert (db.pool.size, db.pool.in_use, db.pool.waiting) == (2, 1, 0)
            assert "in_use=1" in repr(db.pool)

        Todo.get("1")
        stats = db.pool.stats()
        assert (stats.size, stats.in_use, stats.waiting) == (2, 0, 0)
        assert (stats.calls, stats.timeouts) == (2, 0)
        assert stats.queue_seconds >= 0


@pytest.mark.parametrize(
    "answer",
    [error(400, "ValidationException"), RESET, Answer(delay=1)],
    ids=["400", "reset", "late"],
)
def test_a_call_that_fails_gives_its_slot_back(
    answer: Behaviour, in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    with in_app(
        stub_config,
        DYNAMODB_MAX_POOL_CONNECTIONS=1,
        DYNAMODB_MAX_RETRY_ATTEMPTS=0,
        DYNAMODB_POOL_TIMEOUT_SECONDS=5,
        DYNAMODB_READ_TIMEOUT_SECONDS=0.2,
    ) as db:
        for _ in range(3):
            stub.next("GetItem", answer)

            with pytest.raises(GetError):
                Todo.get("1")

            assert db.pool.in_use == 0

        assert Todo.get("1").id == "1"


ONE_SLOT = """
import json, os, sys, threading

import flask
from pynamodb.attributes import UnicodeAttribute

from dynamo_ext import Model, PynamoDB

app = flask.Flask(__name__)
app.config.from_mapping(
    json.loads(sys.argv[1]), DYNAMODB_MAX_POOL_CONNECTIONS=1, DYNAMODB_POOL_TIMEOUT_SECONDS=5
)
db = PynamoDB(app)


class Todo(Model):
    class Meta:
        table_name = "todo"

    id = UnicodeAttribute(hash_key=True)


def scan():
    # Its first page has used up the units of a minute.
    list(Todo.scan(rate_limit=1))


def write():
    with Todo.batch_write() as batch:
        batch.save(Todo("unprocessed"))


threading.Thread(target={"scan": scan, "write": write}[sys.argv[2]], daemon=True).start()
sys.stdin.readline()

for number in range(5):
    assert Todo.get(str(number)).id == str(number)

print("done", flush=True)
os._exit(0)
"""


@pytest.mark.parametrize(
    ("work", "operation", "settings"),
    [
        ("scan", "Scan", {}),
        # The longest of all waits, so that it is hardly ever over before the others are done.
        ("write", "BatchWriteItem", {"DYNAMODB_BASE_BACKOFF_MS": 10**9}),
    ],
)
def test_what_waits_between_two_calls_holds_no_slot(
    work: str,
    operation: str,
    settings: dict[str, t.Any],
    stub_config: dict[str, t.Any],
    stub: Stub,
) -> None:
    page = {
        "Items": [],
        "Count": 0,
        "ScannedCount": 0,
        "LastEvaluatedKey": {"id": {"S": "1"}},
        "ConsumedCapacity": {"CapacityUnits": 60},
    }
    stub.always("Scan", Answer(body=page))
    stub.always("BatchWriteItem", unprocessed)
    arguments = json.dumps({**stub_config, **settings}), work

    with interpreter.running(ONE_SLOT, *arguments) as python:
        stub.wait_for(lambda: operation in stub.operations and stub.in_flight == 0)
        python.say("go on")
        assert python.end() == "done\n"

    assert stub.operations.count("GetItem") == 5


@contextlib.contextmanager
def on_signal(function: cabc.Callable[[], object]) -> cabc.Iterator[None]:
    """Call a function when this process gets SIGUSR1."""
    previous = signal.signal(signal.SIGUSR1, lambda number, frame: function())

    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, previous)


def test_a_signal_handler_may_call_while_a_call_holds_the_only_slot(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    found: list[str] = []
    behaviour: Behaviour = stub._usual
    stub.next("GetItem", held(behaviour))

    def interrupt() -> None:
        stub.wait_for(lambda: stub.in_flight == 1)
        os.kill(os.getpid(), signal.SIGUSR1)

    def handle() -> None:
        found.append(Todo.get("nested").id)
        stub.release()

    with (
        in_app(stub_config, DYNAMODB_MAX_POOL_CONNECTIONS=1, DYNAMODB_POOL_TIMEOUT_SECONDS=5) as db,
        on_signal(handle),
    ):
        interrupter = threading.Thread(target=interrupt)
        interrupter.start()
        found.append(Todo.get("outer").id)
        interrupter.join()
        assert db.pool.in_use == 0

    assert found == ["nested", "outer"]


def test_a_signal_handler_may_call_while_the_client_is_made(
    in_app: InApp,
    stub_config: dict[str, t.Any],
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[str] = []
    # The credentials come from a command, which sends the signal, once.
    command = tmp_path / "credentials"
    credentials = {"Version": 1, "AccessKeyId": "AKID", "SecretAccessKey": "secret"}
    command.write_text(
        f"#!/bin/sh\nmkdir '{tmp_path}/sent' 2>/dev/null && kill -USR1 {os.getpid()}\n"
        f"echo '{json.dumps(credentials)}'\n"
    )
    command.chmod(0o755)
    aws_config = tmp_path / "config"
    aws_config.write_text(f"[default]\ncredential_process = {command}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(aws_config))
    config = {key: value for key, value in stub_config.items() if "AWS" not in key}

    with in_app(config) as db, on_signal(lambda: found.append(Todo.get("nested").id)):
        found.append(Todo.get("outer").id)
        assert db.pool.in_use == 0

    assert found == ["nested", "outer"]


def test_calls_in_a_slot_s_block_use_it_and_its_end_gives_it_back(
    in_app: InApp, stub_config: dict[str, t.Any]
) -> None:
    with in_app(
        stub_config, DYNAMODB_MAX_POOL_CONNECTIONS=1, DYNAMODB_POOL_TIMEOUT_SECONDS=5
    ) as db:
        with db.pool.acquire(1) as slot:
            assert (db.pool.in_use, slot.origin is db.pool.line) == (1, True)
            assert Todo.get("x").id == "x"
            assert db.pool.in_use == 1

        assert db.pool.in_use == 0
        slot.release()
        assert db.pool.in_use == 0

        with pytest.raises(ZeroDivisionError), db.pool.acquire(1):
            Todo.get(str(1 // 0))

        assert db.pool.in_use == 0


def test_a_call_under_way_keeps_a_slot_that_its_holder_gives_back(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    stub.always("GetItem", held(stub._usual))

    with in_app(stub_config, DYNAMODB_MAX_POOL_CONNECTIONS=1) as db:
        with concurrent.futures.ThreadPoolExecutor(1) as threads:
            with db.pool.acquire(1):
                context = contextvars.copy_context()
                call = threads.submit(context.run, Todo.get, "x")
                stub.wait_for(lambda: stub.in_flight == 1)

            assert db.pool.in_use == 1
            stub.release()
            call.result()

        assert db.pool.in_use == 0


def test_an_interrupted_wait_takes_no_slot(in_app: InApp, stub_config: dict[str, t.Any]) -> None:
    class Interruption(Exception):
        pass

    def handle() -> None:
        raise Interruption

    with in_app(stub_config, DYNAMODB_MAX_POOL_CONNECTIONS=1) as db:
        pool = db.pool

        def interrupt() -> None:
            while not pool.waiting:
                time.sleep(0.001)

            os.kill(os.getpid(), signal.SIGUSR1)

        with pool.acquire(1), on_signal(handle):
            interrupter = threading.Thread(target=interrupt)
            interrupter.start()

            with pytest.raises(Interruption):
                pool.acquire(10)

            interrupter.join()
            assert (pool.in_use, pool.waiting) == (1, 0)

        assert (pool.in_use, pool.stats().timeouts) == (0, 0)


def test_a_wait_between_attempts_lends_only_what_the_call_holds_itself() -> None:
    pool = Pool(1)
    backoff.wait(0.001)

    with pool.acquire(1) as slot:
        backoff.wait(0)
        assert slot.has_permit

        with deadline.limit(60):
            backoff.wait(0.001)

        assert (slot.has_permit, pool.in_use) == (True, 1)
        share = pool.join_held()
        assert share is not None

        # The slot is in use by its share, which waits for nothing.
        backoff.wait(0.001)
        assert (slot.has_permit, pool.in_use) == (False, 1)
        share.release()

    assert (pool.in_use, pool.waiting) == (0, 0)
