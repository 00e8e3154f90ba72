"""One set of models, several apps: each call reaches the server of its own app, and no other."""

from __future__ import annotations

import asyncio
import collections.abc as cabc
import contextlib
import gc
import json
import os
import pathlib
import random
import threading
import typing as t
import weakref

import flask
import pytest
import quart
from pynamodb.attributes import UnicodeAttribute

import dynamo_ext
import engines
import marked
from conftest import RunPython
from dynamo_ext_async import Model
from dynamo_ext_async import PynamoDB
from stub import Request
from stub import Stub
from threads import at_once


class Todo(Model):
    class Meta:
        table_name = "todo"

    id = UnicodeAttribute(hash_key=True)


def new_flask(db: dynamo_ext.PynamoDB, config: dict[str, t.Any], name: str = "web") -> flask.Flask:
    app = flask.Flask(name)
    app.config.from_mapping(config)
    db.init_app(app)
    return app


def new_quart(db: PynamoDB, config: dict[str, t.Any], name: str = "api") -> quart.Quart:
    app = quart.Quart(name)
    # Blocking calls on the loop are what these tests are full of.
    app.config.from_mapping(config, DYNAMODB_BLOCKING_CALLS="allow")
    db.init_app(app)
    return app


def config_of(name: str, stub: Stub) -> dict[str, t.Any]:
    """Settings of which every one says whose it is."""
    return {
        "DYNAMODB_HOST": stub.url,
        "DYNAMODB_REGION": f"region-{name}",
        "DYNAMODB_AWS_ACCESS_KEY_ID": f"AKID-{name}",
        "DYNAMODB_AWS_SECRET_ACCESS_KEY": f"secret-{name}",
        "DYNAMODB_AWS_SESSION_TOKEN": f"token-{name}",
        "DYNAMODB_TABLE_NAME_PREFIX": f"{name}-",
        "DYNAMODB_EXTRA_HEADERS": {"X-App": name},
    }


def assert_only_of(name: str, stub: Stub, keys: cabc.Iterable[str]) -> None:
    """A server got exactly these keys, and all its requests are of one app in every respect."""
    assert sorted(key_of(request) for request in stub.requests) == sorted(keys)

    for request in stub.requests:
        authorization = request.header("Authorization") or ""
        assert f"Credential=AKID-{name}/" in authorization
        assert f"/region-{name}/dynamodb/" in authorization
        assert request.header("X-Amz-Security-Token") == f"token-{name}"
        assert request.header("X-App") == name
        assert request.body["TableName"] == f"{name}-todo"


def key_of(request: Request) -> str:
    return t.cast(str, request.body["Key"]["id"]["S"])


@pytest.fixture
def stubs() -> cabc.Iterator[tuple[Stub, Stub, Stub]]:
    with Stub() as one, Stub() as two, Stub() as three:
        yield one, two, three


def test_the_innermost_of_nested_flask_contexts_counts(stubs: tuple[Stub, Stub, Stub]) -> None:
    db = PynamoDB()
    one, two, three = (
        new_flask(db, config_of(name, stub)) for name, stub in zip("abc", stubs, strict=True)
    )

    with one.app_context():
        Todo.get("1")

        with two.app_context():
            Todo.get("2")

            with three.app_context(), one.app_context(), three.app_context():
                Todo.get("3")

            Todo.get("4")

        Todo.get("5")

    assert_only_of("a", stubs[0], ["1", "5"])
    assert_only_of("b", stubs[1], ["2", "4"])
    assert_only_of("c", stubs[2], ["3"])


def test_each_app_has_its_own_settings_pool_and_connection(stubs: tuple[Stub, Stub, Stub]) -> None:
    db = PynamoDB()
    one, two, _ = (
        new_flask(db, {**config_of(name, stub), "DYNAMODB_MAX_POOL_CONNECTIONS": size})
        for size, name, stub in zip((1, 2, 3), "abc", stubs, strict=True)
    )

    for app, name, size in ((one, "a", 1), (two, "b", 2), (one, "a", 1)):
        with app.app_context():
            assert db.settings.region == f"region-{name}"
            assert db.pool.size == size
            assert db.connection.region == f"region-{name}"
            assert db.connection.list_tables()["TableNames"] == []

    assert stubs[0].operations == ["ListTables", "ListTables"]
    assert stubs[1].operations == ["ListTables"]
    assert stubs[2].operations == []


async def in_thread(function: cabc.Callable[[], object]) -> None:
    """Run in a thread that sees the contexts of this task."""
    await asyncio.to_thread(function)


def test_a_flask_context_in_a_thread_of_a_quart_handler_counts(
    stubs: tuple[Stub, Stub, Stub],
) -> None:
    db = PynamoDB()
    web = new_flask(db, config_of("a", stubs[0]))
    api = new_quart(db, config_of("b", stubs[1]))

    def with_flask() -> None:
        Todo.get("3")

        with web.app_context():
            Todo.get("4")

        Todo.get("5")

    @api.get("/")
    async def index() -> str:
        await Todo.aget("1")
        Todo.get("2")
        await asyncio.to_thread(with_flask)

        with web.app_context():
            Todo.get("6")
            await Todo.aget("7")

        await Todo.aget("8")
        return "done"

    async def request() -> None:
        response = await api.test_client().get("/")
        assert await response.get_data(as_text=True) == "done"

    asyncio.run(request())
    assert_only_of("a", stubs[0], ["4", "6", "7"])
    assert_only_of("b", stubs[1], ["1", "2", "3", "5", "8"])


def test_a_quart_context_inside_a_flask_context_counts(stubs: tuple[Stub, Stub, Stub]) -> None:
    db = PynamoDB()
    web = new_flask(db, config_of("a", stubs[0]))
    api = new_quart(db, config_of("b", stubs[1]))

    async def with_quart() -> None:
        await Todo.aget("2")

        async with api.app_context():
            Todo.get("3")
            await Todo.aget("4")

        await Todo.aget("5")

    with web.app_context():
        Todo.get("1")
        asyncio.run(with_quart())
        Todo.get("6")

    assert_only_of("a", stubs[0], ["1", "2", "5", "6"])
    assert_only_of("b", stubs[1], ["3", "4"])


@pytest.mark.parametrize("outermost", ["flask", "quart"])
def test_contexts_that_are_nested_three_deep_are_popped_one_by_one(
    outermost: str, stubs: tuple[Stub, Stub, Stub]
) -> None:
    db = PynamoDB()
    web = new_flask(db, config_of("a", stubs[0]))
    api = new_quart(db, config_of("b", stubs[1]))
    kinds = ["flask", "quart"] if outermost == "flask" else ["quart", "flask"]
    third = (
        new_flask(db, config_of("c", stubs[2]))
        if outermost == "flask"
        else new_quart(db, config_of("c", stubs[2]))
    )
    by_kind: dict[str, t.Any] = {"flask": web, "quart": api}
    apps = [by_kind[kinds[0]], by_kind[kinds[1]], third]

    async def nest(depth: int) -> None:
        await Todo.aget(f"before-{depth}")

        if depth < 3:
            async with context_of(apps[depth]):
                await nest(depth + 1)

            Todo.get(f"after-{depth}")

    async def main() -> None:
        async with context_of(apps[0]):
            await nest(1)

    asyncio.run(main())
    names = ["a", "b", "c"] if outermost == "flask" else ["b", "a", "c"]
    by_name = dict(zip("abc", stubs, strict=True))
    assert_only_of(names[0], by_name[names[0]], ["before-1", "after-1"])
    assert_only_of(names[1], by_name[names[1]], ["before-2", "after-2"])
    assert_only_of(names[2], by_name[names[2]], ["before-3"])


def context_of(app: flask.Flask | quart.Quart) -> t.Any:
    """An app's context, for ``async with``."""
    if isinstance(app, quart.Quart):
        return app.app_context()

    @contextlib.asynccontextmanager
    async def context() -> cabc.AsyncIterator[None]:
        with app.app_context():
            yield

    return context()


def test_a_quart_context_that_is_pushed_again_counts(stubs: tuple[Stub, Stub, Stub]) -> None:
    db = PynamoDB()
    web = new_flask(db, config_of("a", stubs[0]))
    api = new_quart(db, config_of("b", stubs[1]))

    async def main() -> None:
        async with api.app_context():

            @quart.copy_current_app_context
            async def in_quart() -> None:
                await Todo.aget("2")

            with web.app_context():
                await Todo.aget("1")
                await in_quart()
                await Todo.aget("3")

            await Todo.aget("4")

    asyncio.run(main())
    assert_only_of("a", stubs[0], ["1", "3"])
    assert_only_of("b", stubs[1], ["2", "4"])


def test_contexts_of_tasks_do_not_mix(stubs: tuple[Stub, Stub, Stub]) -> None:
    db = PynamoDB()
    web = new_flask(db, config_of("a", stubs[0]))
    api = new_quart(db, config_of("b", stubs[1]))
    other = new_quart(db, config_of("c", stubs[2]))
    apps: tuple[flask.Flask | quart.Quart, ...] = (web, api, other)
    sent: dict[str, list[str]] = {"a": [], "b": [], "c": []}

    async def task(number: int) -> None:
        draw = random.Random(number)

        for step in range(4):
            index = draw.randrange(3)
            key = f"{number}-{step}"
            sent["abc"[index]].append(key)

            async with context_of(apps[index]):
                await asyncio.sleep(draw.random() / 100)

                if draw.random() < 0.5:
                    await Todo.aget(key)
                else:
                    await asyncio.to_thread(Todo.get, key)

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(50):
                tasks.create_task(task(number))

    asyncio.run(main())

    for name, stub in zip("abc", stubs, strict=True):
        assert_only_of(name, stub, sent[name])


def test_contexts_of_threads_do_not_mix(stubs: tuple[Stub, Stub, Stub]) -> None:
    db = PynamoDB()
    web = new_flask(db, config_of("a", stubs[0]))
    api = new_quart(db, config_of("b", stubs[1]))
    other = new_flask(db, config_of("c", stubs[2]))
    apps: tuple[flask.Flask | quart.Quart, ...] = (web, api, other)
    sent: dict[str, list[str]] = {"a": [], "b": [], "c": []}

    async def get(app: flask.Flask | quart.Quart, key: str) -> None:
        async with context_of(app):
            Todo.get(key)

    def work(number: int) -> None:
        for step in range(15):
            index = (number + step) % 3
            key = f"{number}-{step}"
            sent["abc"[index]].append(key)
            asyncio.run(get(apps[index], key))

    at_once(work, 8)

    for name, stub in zip("abc", stubs, strict=True):
        assert_only_of(name, stub, sent[name])


def test_two_apps_on_two_real_engines_have_their_own_items(embedded: str, dynoxide: str) -> None:
    db = PynamoDB()
    # With the same names and prefix, so that only the engine tells them apart.
    config = engines.config(embedded)
    web = new_flask(db, config)
    api = new_quart(db, {**config, "DYNAMODB_HOST": dynoxide})

    with web.app_context():
        Todo.create_table(wait=True)
        Todo("of-flask").save()

    async def main() -> None:
        async with api.app_context():
            assert not await Todo.aexists()
            await Todo.acreate_table(wait=True)
            await Todo("of-quart").asave()
            assert [todo.id async for todo in Todo.ascan()] == ["of-quart"]

    asyncio.run(main())

    with web.app_context():
        assert [todo.id for todo in Todo.scan()] == ["of-flask"]


def test_what_was_begun_in_one_app_goes_on_there(stubs: tuple[Stub, Stub, Stub]) -> None:
    db = PynamoDB()
    one = new_flask(db, config_of("a", stubs[0]))
    two = new_flask(db, config_of("b", stubs[1]))

    with one.app_context():
        batch = Todo.batch_write()
        items = Todo.batch_get([str(number) for number in range(150)])
        scan = Todo.scan()
        next(items)

        with two.app_context():
            batch.save(Todo("1"))
            batch.commit()
            list(items)
            list(scan)

    assert stubs[0].operations == ["BatchGetItem", "BatchWriteItem", "BatchGetItem", "Scan"]
    assert not stubs[1].requests


def test_an_app_without_the_extension_is_named(stub_config: dict[str, t.Any], stub: Stub) -> None:
    db = PynamoDB()
    web = new_flask(db, stub_config)
    bare = flask.Flask("bare")

    with web.app_context(), bare.app_context():
        with pytest.raises(RuntimeError, match=r"'bare'.*init_app"):
            Todo.get("1")

        with pytest.raises(RuntimeError, match=r"'bare'.*init_app"):
            _ = db.settings

    assert not stub.requests


OUTSIDE = """
import gc, json, sys

import flask
import quart
from pynamodb.attributes import UnicodeAttribute

from dynamo_ext_async import Model, PynamoDB

config = json.loads(sys.argv[1])
db = PynamoDB()


class Todo(Model):
    class Meta:
        table_name = "todo"

    id = UnicodeAttribute(hash_key=True)


def new(app):
    app.config.from_mapping(config)
    db.init_app(app)
    return app


def refused():
    for touch in (lambda: Todo.get("1"), lambda: db.settings):
        try:
            touch()
        except RuntimeError as error:
            print(error)
        else:
            raise AssertionError
"""


def test_outside_a_context_the_only_app_is_used(
    run_warm_python: RunPython, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    code = """
app = new(flask.Flask("web"))
assert Todo.get("1").id == "1"
assert Todo.Meta.table_name == config["DYNAMODB_TABLE_NAME_PREFIX"] + "todo"
assert db.settings.host == config["DYNAMODB_HOST"]
"""
    done = run_warm_python(OUTSIDE + code, json.dumps(stub_config))
    assert done.returncode == 0, done.stderr
    assert stub.operations == ["GetItem"]


def test_outside_a_context_and_without_app_it_is_said_what_to_do(
    run_warm_python: RunPython, stub_config: dict[str, t.Any]
) -> None:
    code = """
refused()
assert Todo.Meta.table_name == "todo"
assert not hasattr(Todo.Meta, "host")
"""
    done = run_warm_python(OUTSIDE + code, json.dumps(stub_config))
    assert done.returncode == 0, done.stderr

    for message in done.stdout.splitlines():
        assert "no app is initialised" in message
        assert "db.init_app(app)" in message


def test_outside_a_context_several_apps_are_named(
    run_warm_python: RunPython, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    code = """
apps = new(flask.Flask("web")), new(quart.Quart("api"))
refused()
assert Todo.Meta.table_name == "todo"
"""
    done = run_warm_python(OUTSIDE + code, json.dumps(stub_config))
    assert done.returncode == 0, done.stderr

    for message in done.stdout.splitlines():
        assert "2 apps are initialised ('api', 'web')" in message
        assert "app_context()" in message

    assert not stub.requests


def test_outside_a_context_an_app_that_was_dropped_does_not_count(
    run_warm_python: RunPython, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    code = """
gc.disable()
dropped, kept = new(flask.Flask("dropped")), new(flask.Flask("kept"))
dropped.test_client().get("/")
del dropped
Todo.get("1")
"""
    done = run_warm_python(OUTSIDE + code, json.dumps(stub_config))
    assert done.returncode == 0, done.stderr
    assert stub.operations == ["GetItem"]


def test_apps_with_equal_settings_share_one_engine(
    stub_config: dict[str, t.Any], stub: Stub
) -> None:
    db = PynamoDB()
    apps: list[flask.Flask | quart.Quart] = []

    for number in range(3):
        apps += [
            new_flask(db, stub_config, f"web-{number}"),
            new_quart(db, stub_config, f"api-{number}"),
        ]

    async def use() -> set[int]:
        pools: set[int] = set()

        for app in apps:
            async with context_of(app):
                Todo.get("1")
                pools.add(id(db.pool))

        return pools

    assert len(asyncio.run(use())) == 1
    assert stub.total_connections == 1


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


counts_files = pytest.mark.skipif(
    not pathlib.Path("/proc/self/fd").exists(), reason="counts open files through /proc"
)


@pytest.mark.slow
@counts_files
def test_an_app_factory_leaves_nothing_behind(stub_config: dict[str, t.Any], stub: Stub) -> None:
    db = PynamoDB()
    apps: weakref.WeakSet[flask.Flask] = weakref.WeakSet()
    kept = new_flask(db, stub_config)

    def use_an_app(number: int) -> None:
        app = new_flask(db, stub_config)
        apps.add(app)

        with app.app_context():
            Todo.get(str(number))

    use_an_app(0)
    files, threads = open_files(), threading.active_count()

    for number in range(300):
        use_an_app(number)

    gc.collect()
    assert not apps
    # The stub's threads, which are of this process too, have yet to close some.
    marked.wait_until(lambda: open_files() <= files and threading.active_count() <= threads)
    assert stub.total_connections == 1
    assert kept.extensions["pynamodb"] is db

    with kept.app_context():
        engine = weakref.ref(db.connection.engine)

    del kept
    gc.collect()
    assert engine() is None
    stub.wait_for(lambda: stub.connections == 0)


@pytest.mark.slow
@counts_files
def test_apps_with_endpoints_of_their_own_leave_nothing_behind(
    stub_config: dict[str, t.Any], stub: Stub
) -> None:
    db = PynamoDB()
    engines_seen: weakref.WeakSet[object] = weakref.WeakSet()

    def use_an_app(number: int) -> None:
        app = new_flask(db, {**stub_config, "DYNAMODB_REGION": f"region-{number}"})

        with app.app_context():
            Todo.get("1")
            engines_seen.add(db.connection.engine)

    use_an_app(0)
    gc.collect()
    stub.wait_for(lambda: stub.connections == 0)
    files, threads = open_files(), threading.active_count()

    for number in range(8):
        use_an_app(number)

    gc.collect()
    stub.wait_for(lambda: stub.connections == 0)
    assert not engines_seen
    # The stub's threads, which are of this process too, have yet to close some.
    marked.wait_until(lambda: open_files() <= files and threading.active_count() <= threads)
    assert stub.total_connections == 9


def test_an_engine_goes_with_the_last_of_its_apps(
    stub_config: dict[str, t.Any], stub: Stub
) -> None:
    db = PynamoDB()
    one, two = new_flask(db, stub_config), new_flask(db, stub_config)

    for app in (one, two):
        with app.app_context():
            Todo.get("1")

    assert stub.connections == 1
    del one, app
    gc.collect()

    with two.app_context():
        Todo.get("2")
        client = db.connection.client

    assert stub.total_connections == 1
    del two
    gc.collect()
    stub.wait_for(lambda: stub.connections == 0)
    # It was closed, and has not just been forgotten.
    assert client is not None


def test_two_extensions_do_not_mix(stubs: tuple[Stub, Stub, Stub]) -> None:
    one, two = PynamoDB(), PynamoDB()
    app_of_one = new_flask(one, config_of("a", stubs[0]), "app-of-one")
    app_of_two = new_flask(two, config_of("b", stubs[1]), "app-of-two")

    with app_of_one.app_context():
        Todo.get("1")
        assert one.settings.region == "region-a"

        for touch in (
            lambda: two.settings,
            lambda: two.pool,
            lambda: two.connection,
            lambda: two.transact_get(),
            lambda: two.transact_write(),
        ):
            with pytest.raises(RuntimeError, match=r"'app-of-one'.*this 'PynamoDB' instance"):
                touch()

    with app_of_two.app_context():
        Todo.get("2")
        assert two.settings.region == "region-b"

    assert_only_of("a", stubs[0], ["1"])
    assert_only_of("b", stubs[1], ["2"])


def test_two_extensions_share_no_engine(stub_config: dict[str, t.Any], stub: Stub) -> None:
    one, two = PynamoDB(), PynamoDB()
    app_of_one, app_of_two = new_flask(one, stub_config), new_flask(two, stub_config)

    with app_of_one.app_context():
        Todo.get("1")
        pool = one.pool

    with app_of_two.app_context():
        Todo.get("2")
        assert two.pool is not pool

    assert stub.total_connections == 2
