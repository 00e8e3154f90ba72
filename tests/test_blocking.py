"""A blocking call on an event loop's thread is caught, and only there."""

from __future__ import annotations

import asyncio
import collections.abc as cabc
import linecache
import threading
import typing as t
import warnings

import flask
import pytest
import quart
import quart_trio
import trio
from pynamodb.attributes import TTLAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.indexes import AllProjection
from pynamodb.indexes import GlobalSecondaryIndex

from dynamo_ext import BlockingCallWarning
from dynamo_ext_async import Model
from dynamo_ext_async import PynamoDB
from stub import Answer
from stub import Stub


class ByOwner(GlobalSecondaryIndex[t.Any]):
    class Meta:
        index_name = "by-owner"
        projection = AllProjection()

    owner = UnicodeAttribute(hash_key=True)


class Todo(Model):
    class Meta:
        table_name = "todo"

    id = UnicodeAttribute(hash_key=True)
    owner = UnicodeAttribute(default="nobody")
    expires = TTLAttribute(null=True)
    by_owner = ByOwner()


MakeApp = cabc.Callable[..., flask.Flask]


@pytest.fixture
def db() -> PynamoDB:
    return PynamoDB()


@pytest.fixture
def make_app(db: PynamoDB, stub_config: dict[str, t.Any]) -> MakeApp:
    def make_app(policy: str | None = None, **options: t.Any) -> flask.Flask:
        app = flask.Flask(__name__)
        app.config.from_mapping(stub_config, DYNAMODB_BLOCKING_CALLS=policy, **options)
        db.init_app(app)
        return app

    return make_app


def on_asyncio(function: cabc.Callable[[], object]) -> None:
    async def main() -> None:
        function()

    asyncio.run(main())


def on_trio(function: cabc.Callable[[], object]) -> None:
    async def main() -> None:
        function()

    trio.run(main)


on_both = pytest.mark.parametrize("on_loop", [on_asyncio, on_trio], ids=["asyncio", "trio"])
OnLoop = cabc.Callable[[cabc.Callable[[], object]], None]


def get() -> str:
    return Todo.get("1").id


@on_both
def test_raise_refuses_the_call_before_anything_is_sent(
    on_loop: OnLoop, make_app: MakeApp, stub: Stub
) -> None:
    with (
        make_app("raise").app_context(),
        pytest.raises(RuntimeError, match=r"GetItem.*'aget'.*DYNAMODB_BLOCKING_CALLS"),
    ):
        on_loop(get)

    assert not stub.requests


@on_both
def test_warn_warns_and_makes_the_call(on_loop: OnLoop, make_app: MakeApp, stub: Stub) -> None:
    with (
        make_app("warn").app_context(),
        pytest.warns(BlockingCallWarning, match="'aget'") as caught,
    ):
        on_loop(get)

    assert len(caught) == 1
    assert stub.operations == ["GetItem"]


@on_both
def test_allow_makes_the_call(on_loop: OnLoop, make_app: MakeApp, stub: Stub) -> None:
    with make_app("allow", DEBUG=True, TESTING=True).app_context():
        on_loop(get)

    assert stub.operations == ["GetItem"]


@on_both
@pytest.mark.parametrize("option", ["DEBUG", "TESTING"])
def test_by_default_it_warns_in_debug_and_testing(
    option: str, on_loop: OnLoop, make_app: MakeApp, stub: Stub
) -> None:
    app = make_app()
    app.config[option] = True

    with app.app_context(), pytest.warns(BlockingCallWarning):
        on_loop(get)

    assert stub.operations == ["GetItem"]


@on_both
def test_by_default_it_allows_in_production(on_loop: OnLoop, make_app: MakeApp, stub: Stub) -> None:
    with make_app().app_context():
        on_loop(get)

    assert stub.operations == ["GetItem"]


def test_raise_counts_in_debug_too(make_app: MakeApp, stub: Stub) -> None:
    with make_app("raise", DEBUG=True).app_context(), pytest.raises(RuntimeError):
        on_asyncio(get)

    assert not stub.requests


def batch_write() -> None:
    with Todo.batch_write() as batch:
        batch.save(Todo("1"))


CALLS: dict[str, cabc.Callable[[], object]] = {
    "aget": get,
    "aget_or_404": lambda: Todo.get_or_404("1"),
    "afirst_or_404": lambda: Todo.first_or_404(),
    "aquery": lambda: list(Todo.query("1")),
    "ascan": lambda: list(Todo.scan()),
    "acount": lambda: Todo.count("1"),
    "abatch_get": lambda: list(Todo.batch_get(["1"])),
    "abatch_write": batch_write,
    "asave": lambda: Todo("1").save(),
    "aupdate": lambda: Todo("1").update([Todo.owner.set("ann")]),
    "adelete": lambda: Todo("1").delete(),
    "arefresh": lambda: Todo("1").refresh(),
    "aexists": lambda: Todo.exists(),
    "adescribe_table": lambda: Todo.describe_table(),
    "acreate_table": lambda: Todo.create_table(),
    "adelete_table": lambda: Todo.delete_table(),
    "aupdate_ttl": lambda: Todo.update_ttl(ignore_update_ttl_errors=False),
}


@pytest.mark.parametrize("twin", CALLS)
def test_the_method_to_use_instead_is_named(twin: str, make_app: MakeApp, stub: Stub) -> None:
    assert hasattr(Todo, twin)

    with make_app("raise").app_context(), pytest.raises(RuntimeError, match=f"'{twin}'"):
        on_asyncio(CALLS[twin])

    assert not stub.requests


@pytest.mark.parametrize(
    ("call", "twin"),
    [
        (lambda: list(Todo.by_owner.query("ann")), "aquery"),
        (lambda: list(Todo.by_owner.scan()), "ascan"),
        (lambda: Todo.by_owner.count("ann"), "acount"),
    ],
    ids=["query", "scan", "count"],
)
def test_the_method_to_use_instead_of_one_of_an_index_is_named(
    call: cabc.Callable[[], object], twin: str, make_app: MakeApp, stub: Stub
) -> None:
    with make_app("raise").app_context(), pytest.raises(RuntimeError, match=f"'{twin}'"):
        on_asyncio(call)

    assert not stub.requests


def test_what_to_use_instead_of_transactions_and_low_level_calls_is_named(
    make_app: MakeApp, db: PynamoDB, stub: Stub
) -> None:
    def read() -> None:
        with db.transact_get() as transaction:
            transaction.get(Todo, "1")

    def write() -> None:
        with db.transact_write() as transaction:
            transaction.save(Todo("1"))

    with make_app("raise").app_context():
        for call, twin in (
            (read, "db.atransact_get"),
            (write, "db.atransact_write"),
            (lambda: db.connection.list_tables(), "db.run_sync"),
        ):
            with pytest.raises(RuntimeError, match=f"'{twin}'"):
                on_asyncio(call)

    assert not stub.requests


@pytest.mark.parametrize("name", [*CALLS, "index", "transaction"])
def test_the_warning_points_at_the_line_of_the_user(
    name: str, make_app: MakeApp, db: PynamoDB, stub: Stub
) -> None:
    def transaction() -> None:
        with db.transact_write() as writing:
            writing.save(Todo("1"))

    others = {"index": lambda: list(Todo.by_owner.query("ann")), "transaction": transaction}
    calls: dict[str, cabc.Callable[[], object]] = {**CALLS, **others}
    items = {"Items": [{"id": {"S": "1"}}], "Count": 1, "ScannedCount": 1}
    stub.always("Scan", Answer(body=items))

    with make_app("warn").app_context():
        Todo.create_table()

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            on_asyncio(calls[name])

    assert caught
    assert {warning.category for warning in caught} == {BlockingCallWarning}

    for warning in caught:
        assert warning.filename == __file__
        line = linecache.getline(warning.filename, warning.lineno)
        assert ("transact_write" if name == "transaction" else "Todo") in line


def test_plain_code_and_worker_threads_are_not_warned(
    make_app: MakeApp, db: PynamoDB, stub: Stub
) -> None:
    app = make_app("raise")

    async def main() -> None:
        await asyncio.to_thread(get)
        await db.run_sync(get)
        assert (await Todo.aget("1")).id == "1"

        async with Todo.abatch_write() as batch:
            await batch.save(Todo("1"))

    def in_thread() -> None:
        with app.app_context():
            get()

    with app.app_context():
        get()
        asyncio.run(main())

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    assert stub.operations == [*["GetItem"] * 4, "BatchWriteItem", "GetItem"]


def test_trio_leaves_its_worker_threads_alone(make_app: MakeApp, stub: Stub) -> None:
    async def main() -> None:
        await trio.to_thread.run_sync(get)
        await Todo.aget("1")

    with make_app("raise").app_context():
        trio.run(main)

    assert stub.operations == ["GetItem", "GetItem"]


def with_views(app: t.Any) -> t.Any:
    """An app with a view that blocks, and one that blocks nothing."""

    async def blocking() -> str:
        return get()

    def plain() -> str:
        return get()

    app.add_url_rule("/blocking", view_func=blocking)
    app.add_url_rule("/plain", view_func=plain)
    return app


def test_flask_views(make_app: MakeApp, stub: Stub) -> None:
    app = with_views(make_app("raise"))
    client = app.test_client()
    assert client.get("/plain").text == "1"
    assert client.get("/blocking").status_code == 500
    assert stub.operations == ["GetItem"]

    app.testing = True

    with pytest.raises(RuntimeError, match="'aget'"):
        client.get("/blocking")


@pytest.mark.parametrize(
    ("app_type", "run"),
    [(quart.Quart, asyncio.run), (quart_trio.QuartTrio, lambda main: trio.run(lambda: main))],
    ids=["asyncio", "trio"],
)
def test_quart_handlers(
    app_type: type[quart.Quart],
    run: cabc.Callable[[cabc.Coroutine[t.Any, t.Any, None]], None],
    db: PynamoDB,
    stub_config: dict[str, t.Any],
    stub: Stub,
) -> None:
    app = app_type(__name__)
    app.config.from_mapping(stub_config, DYNAMODB_BLOCKING_CALLS="raise")
    db.init_app(app)
    with_views(app)

    async def main() -> None:
        client = app.test_client()
        response = await client.get("/plain")
        assert await response.get_data(as_text=True) == "1"
        response = await client.get("/blocking")
        assert response.status_code == 500

    run(main())
    assert stub.operations == ["GetItem"]
