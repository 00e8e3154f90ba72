"""One client per endpoint: not per model, not per thread, and not the parent's after a fork."""

from __future__ import annotations

import concurrent.futures
import gc
import json
import os
import typing as t

import pytest
from pynamodb.attributes import UnicodeAttribute

import interpreter
from conftest import InApp
from conftest import RunPython
from dynamo_ext import Model
from stub import Answer
from stub import Behaviour
from stub import Request
from stub import Stub
from stub import held
from threads import at_once
from threads import in_same_app

pytestmark = pytest.mark.wire

ITEM = Answer(body={"Item": {"id": {"S": "1"}}})


class Todo(Model):
    class Meta:
        table_name = "todo"

    id = UnicodeAttribute(hash_key=True)


def new_model(name: str, **declared: t.Any) -> type[Model]:
    class New(Model):
        Meta = type("Meta", (), {"table_name": name, **declared})

        id = UnicodeAttribute(hash_key=True)

    return New


def engine_of(model: type[Model]) -> object:
    return model._get_connection().connection.engine


def clients() -> list[object]:
    """All clients of DynamoDB in this process, also those that nobody uses any more."""
    return [thing for thing in gc.get_objects() if type(thing).__name__ == "DynamoDB"]


@pytest.mark.usefixtures("uncollected")
def test_thirty_models_have_one_client_and_few_sockets(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    models = [new_model(f"table-{number}") for number in range(30)]
    before = len(clients())

    with in_app(stub_config, DYNAMODB_MAX_POOL_CONNECTIONS=5):
        get = in_same_app(lambda model: model.get("1"))

        with concurrent.futures.ThreadPoolExecutor(5) as threads:
            list(threads.map(get, models * 3))

        assert len(clients()) - before == 1

    assert len(stub.requests) == 90
    assert stub.total_connections <= 5


@pytest.mark.usefixtures("uncollected")
def test_twenty_cold_threads_have_one_client(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    before = len(clients())

    with in_app(stub_config):
        found = at_once(in_same_app(lambda number: Todo.get(str(number))), 20)
        assert sorted(int(todo.id) for todo in found) == list(range(20))
        assert len(clients()) - before == 1

    assert stub.total_connections <= 10


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("region", "eu-west-3"),
        ("connect_timeout_seconds", 3),
        ("read_timeout_seconds", 3),
        ("base_backoff_ms", 0),
        ("max_retry_attempts", 0),
        ("max_pool_connections", 2),
        ("extra_headers", {"X-Proxy": "let me in"}),
        ("extra_headers", {}),
    ],
    ids=repr,
)
def test_models_that_override_an_endpoint_setting_share_an_engine_of_their_own(
    name: str, value: t.Any, in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    one, two = new_model("one", **{name: value}), new_model("two", **{name: value})

    with in_app(stub_config, DYNAMODB_EXTRA_HEADERS={"X-App": "1"}) as db:
        for model in (Todo, one, two, Todo):
            model.get("1")

        assert engine_of(Todo) is db.connection.engine
        assert engine_of(one) is engine_of(two) is not db.connection.engine

    assert stub.total_connections == 2


def test_models_with_another_host_share_its_engine(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    with Stub() as other, in_app(stub_config):
        one, two = new_model("one", host=other.url), new_model("two", host=other.url)

        for model in (Todo, one, two):
            model.get("1")

        assert len(stub.requests) == stub.total_connections == 1
        assert len(other.requests) == 2
        assert other.total_connections == 1


@pytest.mark.parametrize(
    "declared",
    [
        {"table_name_prefix": ""},
        {"read_capacity_units": 3, "write_capacity_units": 3},
        {"billing_mode": "PAY_PER_REQUEST"},
        {"region": "us-east-1"},
    ],
    ids=repr,
)
def test_models_that_override_nothing_of_the_endpoint_share_the_engine_of_the_app(
    declared: dict[str, t.Any], in_app: InApp, stub_config: dict[str, t.Any]
) -> None:
    model = new_model("other", **declared)

    with in_app(stub_config) as db:
        model.get("1")
        assert engine_of(model) is db.connection.engine


def test_low_level_calls_use_the_same_client(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    with in_app(stub_config) as db:
        Todo.get("1")
        db.connection.list_tables()
        assert Todo._get_connection().connection.client is db.connection.client

    assert stub.operations == ["GetItem", "ListTables"]
    assert stub.total_connections == 1


def test_a_closed_engine_closes_its_sockets_and_works_again(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    with in_app(stub_config) as db:
        engine, client = db.connection.engine, db.connection.client
        Todo.get("1")
        engine.close()
        stub.wait_for(lambda: stub.connections == 0)
        assert db.connection.client is not client

        Todo.get("2")
        assert stub.connections == 1

        engine.close()
        engine.close()
        Todo.get("3")

    assert len(stub.requests) == 3


def test_a_call_on_the_wire_survives_that_its_engine_is_closed(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    stub.next("GetItem", held(ITEM))

    with in_app(stub_config) as db, concurrent.futures.ThreadPoolExecutor(1) as threads:
        call = threads.submit(in_same_app(Todo.get), "1")
        stub.wait_for(lambda: stub.in_flight == 1)
        db.connection.engine.close()
        stub.release()
        assert call.result().id == "1"
        assert db.pool.in_use == 0


FORK = """
import json, os, signal, sys, threading, traceback, warnings

import flask
from pynamodb.attributes import UnicodeAttribute

from dynamo_ext import Model, PynamoDB

# Newer Pythons warn of what is tested here.
warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork")
app = flask.Flask(__name__)
app.config.from_mapping(json.loads(sys.argv[1]))
db = PynamoDB(app)


class Todo(Model):
    class Meta:
        table_name = "todo"

    id = UnicodeAttribute(hash_key=True)


def fork_and_run(in_child):
    pid = os.fork()

    if pid == 0:
        # A child that hangs is ended, and seen by its exit code.
        signal.alarm(10)

        try:
            in_child()
        except BaseException:
            traceback.print_exc()
            os._exit(1)

        os._exit(0)

    return pid


def assert_success(pid):
    status = os.waitpid(pid, 0)[1]
    assert status == 0, status
"""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system can't fork")


def by_key(stub: Stub, prefix: str) -> list[Request]:
    return [item for item in stub.requests if item.body["Key"]["id"]["S"].startswith(prefix)]


@needs_fork
def test_after_a_fork_parent_and_child_work_at_once_on_sockets_of_their_own(
    run_warm_python: RunPython, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    code = """
with app.app_context():
    Todo.get("warm")

    def in_child():
        for number in range(20):
            assert Todo.get(f"child-{number}").id == f"child-{number}"

    pid = fork_and_run(in_child)

    for number in range(20):
        assert Todo.get(f"parent-{number}").id == f"parent-{number}"

    assert_success(pid)
"""
    usual: Behaviour = stub._usual
    stub.next("GetItem", usual, held(usual), held(usual))

    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        running = threads.submit(run_warm_python, FORK + code, json.dumps(stub_config))
        stub.wait_for(lambda: stub.in_flight == 2)
        stub.release()
        done = running.result()

    assert done.returncode == 0, done.stderr
    of_parent = {request.peer for request in [*by_key(stub, "warm"), *by_key(stub, "parent")]}
    of_child = {request.peer for request in by_key(stub, "child")}
    assert len(by_key(stub, "parent")) == len(by_key(stub, "child")) == 20
    assert len(of_parent) == len(of_child) == 1
    assert of_parent != of_child


@needs_fork
def test_a_child_has_a_whole_pool_though_its_parent_had_given_away_every_slot(
    stub_config: dict[str, t.Any], stub: Stub
) -> None:
    code = """
threads = [threading.Thread(target=Todo.get, args=[f"parent-{number}"]) for number in range(2)]
[thread.start() for thread in threads]
sys.stdin.readline()

def in_child():
    with app.app_context():
        assert db.pool.in_use == 0
        assert Todo.get("child-1").id == "child-1"
        assert Todo.get("child-2").id == "child-2"
        assert db.pool.in_use == 0

assert_success(fork_and_run(in_child))
print("forked", flush=True)
[thread.join() for thread in threads]

with app.app_context():
    assert db.pool.in_use == 0
    assert Todo.get("parent-3").id == "parent-3"
"""
    usual: Behaviour = stub._usual
    stub.next("GetItem", held(usual), held(usual))
    config = {**stub_config, "DYNAMODB_MAX_POOL_CONNECTIONS": 2, "DYNAMODB_POOL_TIMEOUT_SECONDS": 5}

    with interpreter.running(FORK + code, json.dumps(config)) as python:
        stub.wait_for(lambda: stub.in_flight == 2)
        python.say("fork")

        if python.next_line() == "forked":
            stub.release()

        python.end()

    assert len(by_key(stub, "child")) == 2
    assert len(by_key(stub, "parent")) == 3


@needs_fork
def test_a_child_can_make_engines_though_its_parent_was_just_making_one(
    run_warm_python: RunPython, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    code = """
class Elsewhere(Todo):
    class Meta:
        table_name = "todo"
        region = "eu-west-3"

locked, forked = threading.Event(), threading.Event()

def hold():
    # As a thread does while it makes an engine.
    with db._engines._lock.get():
        locked.set()
        forked.wait()

thread = threading.Thread(target=hold)
thread.start()
locked.wait()
pid = fork_and_run(lambda: Elsewhere.get("child"))
forked.set()
thread.join()
assert_success(pid)
"""
    done = run_warm_python(FORK + code, json.dumps(stub_config))
    assert done.returncode == 0, done.stderr
    assert len(by_key(stub, "child")) == 1


@needs_fork
def test_a_child_ends_without_closing_what_its_parent_uses(
    run_warm_python: RunPython, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    code = """
with app.app_context():
    Todo.get("parent-1")
    pid = os.fork()

    if pid == 0:
        Todo.get("child")
        sys.exit()

    assert_success(pid)
    Todo.get("parent-2")
"""
    done = run_warm_python(FORK + code, json.dumps(stub_config))
    assert done.returncode == 0, done.stderr
    assert len({request.peer for request in by_key(stub, "parent")}) == 1
    assert len(by_key(stub, "parent")) == 2
