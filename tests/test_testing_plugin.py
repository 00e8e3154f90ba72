"""The fixture ``dynamodb`` of the plugin for pytest, used by tests as users write them."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import http.client
import importlib.metadata
import json
import pathlib
import shutil
import subprocess
import sys
import threading
import typing as t
import urllib.parse
import warnings

import flask
import pytest
import quart
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import GetError
from pynamodb.exceptions import PutError
from pynamodb.exceptions import PynamoDBException
from pynamodb.exceptions import TransactWriteError
from pynamodb.exceptions import UpdateError
from pynamodb.models import Model as StockModel
from quart_trio import QuartTrio

import dynamo_ext.testing
import dynamo_ext_async
import engines
import pytest_dynamo_ext
from conftest import RunPython
from dynamo_ext import CallTimeout
from dynamo_ext import ConfigError
from dynamo_ext import UnprocessedItems
from dynamo_ext.local.controlled import CONTROL_PATH
from dynamo_ext.local.controlled import SECRET_HEADER
from dynamo_ext.testing import DynamoDB
from dynamo_ext.testing.engine import EngineOfSession
from dynamo_ext.transport import loopback
from stub import Stub

pytestmark = [
    pytest.mark.slow,
    # The engine starts once, in one worker.
    pytest.mark.xdist_group("plugin"),
]

once = pytest.mark.once(reason="no call is sent")
ONCE = {"DYNAMODB_MAX_RETRY_ATTEMPTS": 0}
NO_BACKOFF = {"DYNAMODB_BASE_BACKOFF_MS": 0}

db = dynamo_ext_async.PynamoDB()


class Todo(dynamo_ext_async.Model):
    class Meta:
        table_name = "plugin-todo"

    id = UnicodeAttribute(hash_key=True)
    title = UnicodeAttribute(null=True)
    hits = NumberAttribute(default=0)


class Note(dynamo_ext_async.Model):
    class Meta:
        table_name = "plugin-note"

    id = UnicodeAttribute(hash_key=True)


# Other test modules have models that need no table here.
MODELS = (Todo, Note)


class Keys(dynamo_ext_async.Model):
    """Another idea of the table of :class:`Todo`."""

    class Meta:
        table_name = "plugin-todo"

    key = UnicodeAttribute(hash_key=True)


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return t.cast(str, getattr(request, "param", "asyncio"))


on_both_loops = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"], indirect=True)


def create_app(config: cabc.Mapping[str, t.Any], **more: t.Any) -> flask.Flask:
    app = flask.Flask("web")
    app.config.update(TESTING=True)
    app.config.update(config, **more)
    db.init_app(app)

    @app.get("/todos/<id>")
    def show(id: str) -> str:
        return str(Todo.get_or_404(id).title)

    @app.get("/ready")
    def ready() -> str:
        try:
            db.ping()
        except PynamoDBException as error:
            return f"not ready: {error.cause_response_code}"

        return "ready"

    return app


def create_api(
    config: cabc.Mapping[str, t.Any], *, kind: type[quart.Quart] = quart.Quart, **more: t.Any
) -> quart.Quart:
    app = kind("api")
    # A blocking call in an event loop's thread fails.
    app.config.update(TESTING=True, DYNAMODB_BLOCKING_CALLS="raise", **NO_BACKOFF)
    app.config.from_mapping(config, **more)
    db.init_app(app)

    @app.get("/todos/<id>")
    async def show(id: str) -> str:
        return str((await Todo.aget_or_404(id)).title)

    return app


@contextlib.contextmanager
def running(dynamodb: DynamoDB, **more: t.Any) -> cabc.Generator[flask.Flask]:
    """An app that has its tables, and in whose context the block runs."""
    app = create_app(dynamodb.config, **{**NO_BACKOFF, **more})
    dynamodb.create_tables(app, models=MODELS)

    with app.app_context():
        yield app


def operations(dynamodb: DynamoDB) -> list[str]:
    return [call.operation for call in dynamodb.calls]


# --- settings, tables, calls


def test_config_is_plain_data_for_an_engine_of_this_machine(dynamodb: DynamoDB) -> None:
    assert json.loads(json.dumps(dynamodb.config)) == dynamodb.config
    assert all(key.startswith("DYNAMODB_") for key in dynamodb.config)
    host = urllib.parse.urlsplit(dynamodb.config["DYNAMODB_HOST"]).hostname
    assert loopback.is_loopback(str(host))


def test_secrets_are_not_printed(dynamodb: DynamoDB) -> None:
    assert dynamodb.config["DYNAMODB_AWS_SECRET_ACCESS_KEY"] not in repr(dynamodb)


def test_calls_are_the_requests_after_the_tables_were_created(dynamodb: DynamoDB) -> None:
    with running(dynamodb) as app:
        assert dynamodb.calls == []
        Todo("1", title="Buy milk").save()
        assert app.test_client().get("/todos/1").text == "Buy milk"

    write, read = dynamodb.calls
    assert (write.operation, write.table_name, write.status) == ("PutItem", "plugin-todo", 200)
    assert (read.operation, read.table_names) == ("GetItem", ("plugin-todo",))
    assert read.parameters["Key"] == {"id": {"S": "1"}}
    assert (read.attempt, read.error, read.faults) == (1, None, ())


def test_calls_name_index_capacity_and_error(dynamodb: DynamoDB) -> None:
    with running(dynamodb), pytest.raises(PynamoDBException):
        list(Todo.scan())
        db.connection.scan(dynamodb.config["DYNAMODB_TABLE_NAME_PREFIX"] + "missing")

    found, missing = dynamodb.calls
    assert found.consumed_capacity is not None
    assert (missing.table_name, missing.status) == ("missing", 400)
    assert missing.error == "ResourceNotFoundException"


def test_calls_of_several_tables(dynamodb: DynamoDB) -> None:
    prefix = dynamodb.config["DYNAMODB_TABLE_NAME_PREFIX"]

    with running(dynamodb):
        with db.transact_write() as transaction:
            transaction.save(Todo("1"))
            transaction.save(Note("1"))

        with Todo.batch_write() as batch:
            batch.save(Todo("2"))

        list(Todo.batch_get(["1"]))
        client: t.Any = db.connection.client
        client.execute_statement(Statement=f'SELECT * FROM "{prefix}plugin-note"')

    both, written, read, queried = dynamodb.calls
    assert (both.table_name, both.table_names) == (None, ("plugin-todo", "plugin-note"))
    assert written.table_name == read.table_name == "plugin-todo"
    assert queried.table_name == "plugin-note"


def test_calls_can_be_cleared(dynamodb: DynamoDB) -> None:
    with running(dynamodb):
        Todo("1").save()
        calls = dynamodb.calls
        calls.clear()
        assert calls == dynamodb.calls == []
        Todo.get("1")

    assert operations(dynamodb) == ["GetItem"]


def test_creating_tables_forgets_what_was_before(dynamodb: DynamoDB) -> None:
    with running(dynamodb) as app:
        Todo("1").save()
        dynamodb.create_tables(app, models=MODELS)
        assert dynamodb.calls == []
        assert Todo.count() == 1


def test_creating_tables_meets_no_fault(dynamodb: DynamoDB) -> None:
    app = create_app(dynamodb.config, **ONCE)
    dynamodb.fail(times=1)
    dynamodb.create_tables(app, models=MODELS)

    with app.app_context(), pytest.raises(GetError):
        Todo.get("1")


def test_a_call_that_names_no_table_is_of_the_test_too(dynamodb: DynamoDB) -> None:
    with running(dynamodb) as app:
        client = app.test_client()
        dynamodb.fail("ListTables", error="UnrecognizedClientException")
        assert client.get("/ready").text == "not ready: UnrecognizedClientException"
        assert client.get("/ready").text == "ready"

    assert [(call.operation, call.table_name) for call in dynamodb.calls] == [
        ("ListTables", None)
    ] * 2


@pytest.fixture
def engine_of_session(request: pytest.FixtureRequest) -> EngineOfSession:
    """What the fixture ``dynamodb`` of each test has."""
    return t.cast(EngineOfSession, request.getfixturevalue("_dynamodb_engine"))


@pytest.fixture
def other(engine_of_session: EngineOfSession) -> cabc.Iterator[DynamoDB]:
    """What another test has at the same time."""
    engine = engine_of_session.begin()
    yield DynamoDB(engine)
    engine.end()


def test_tests_do_not_see_each_other(dynamodb: DynamoDB, other: DynamoDB) -> None:
    assert other.config["DYNAMODB_HOST"] == dynamodb.config["DYNAMODB_HOST"]

    with running(other):
        Todo("1").save()

    other.fail(times=2)

    with running(dynamodb):
        assert not list(Todo.scan())

    assert operations(dynamodb) == ["Scan"]
    assert operations(other) == ["PutItem"]
    assert [fault.times for fault in other.pending_faults] == [2]
    assert not dynamodb.pending_faults


def test_tables_are_gone_after_the_test(
    dynamodb: DynamoDB, engine_of_session: EngineOfSession
) -> None:
    engine = engine_of_session.begin()
    ended = DynamoDB(engine)

    # In another region, and under a name without prefix: a model may want both.
    with running(ended, DYNAMODB_REGION="eu-west-1") as app:
        dynamodb.create_tables(create_app(dynamodb.config), models=MODELS)
        copy = {"TableName": "copy", "BillingMode": "PAY_PER_REQUEST"}
        keys = {
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        }
        client = app.extensions["pynamodb"].connection.client
        client.create_table(**copy, **keys, DeletionProtectionEnabled=True)
        assert len(client.list_tables()["TableNames"]) == 3
        engine.end()
        assert client.list_tables()["TableNames"] == []

    with create_app(dynamodb.config).app_context():
        assert Todo.exists()


def test_tables_of_an_app_with_other_settings_are_not_created(dynamodb: DynamoDB) -> None:
    with pytest.raises(ValueError, match="'DYNAMODB_TABLE_NAME_PREFIX' differs"):
        dynamodb.create_tables(create_app(dynamodb.config, DYNAMODB_TABLE_NAME_PREFIX="x-"))


def test_tables_of_what_is_no_app_are_not_created(dynamodb: DynamoDB) -> None:
    with pytest.raises(TypeError, match="takes an app, not 'dict'"):
        dynamodb.create_tables(t.cast(t.Any, {}))

    with pytest.raises(RuntimeError, match="init_app"):
        dynamodb.create_tables(flask.Flask("app"))


def test_without_models_there_are_no_tables_to_create(dynamodb: DynamoDB) -> None:
    with pytest.raises(RuntimeError, match="There is no model"):
        dynamodb.create_tables(create_app(dynamodb.config), models=[])


@once
def test_tables_of_what_is_no_model_of_ours_are_not_created(dynamodb: DynamoDB) -> None:
    class Stock(StockModel):
        class Meta:
            table_name = "stock"

        id = UnicodeAttribute(hash_key=True)

    app = create_app(dynamodb.config)

    # Its requests would go to where its Meta says: to AWS.
    for wrong in (Stock, "plugin-todo", dynamo_ext_async.Model):
        with pytest.raises(TypeError, match="must be models of dynamo-ext that have a table, not"):
            dynamodb.create_tables(app, models=t.cast(t.Any, [Todo, wrong]))

    with pytest.raises(TypeError, match=r"'models' must be a list of models: models=\[Todo\]"):
        dynamodb.create_tables(app, models=t.cast(t.Any, Todo))


def test_models_that_disagree_about_a_table_are_an_error(dynamodb: DynamoDB) -> None:
    app = create_app(dynamodb.config)

    with pytest.raises(ConfigError, match="declare different keys"):
        dynamodb.create_tables(app, models=[Todo, Keys])

    # The requests that follow are recorded again.
    dynamodb.create_tables(app, models=MODELS)

    with app.app_context():
        Todo("1").save()

    assert operations(dynamodb) == ["PutItem"]


def test_no_proxy_is_asked_for_the_engine(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, stub.url)

    with running(request.getfixturevalue("dynamodb")):
        Todo("1").save()

    assert not stub.requests


# --- faults


@pytest.mark.parametrize(
    ("error", "status", "attempts"),
    [
        ("ThrottlingException", 400, 2),
        ("ProvisionedThroughputExceededException", 400, 2),
        ("InternalServerError", 500, 2),
        ("ServiceUnavailable", 503, 2),
        ("AccessDeniedException", 400, 1),
        ("ResourceNotFoundException", 400, 1),
    ],
)
def test_fail(dynamodb: DynamoDB, error: str, status: int, attempts: int) -> None:
    with running(dynamodb, DYNAMODB_MAX_RETRY_ATTEMPTS=1):
        dynamodb.fail("GetItem", error=error, times=2)

        with pytest.raises(GetError) as raised:
            Todo.get("1")

    assert raised.value.cause_response_code == error
    assert [call.status for call in dynamodb.calls] == [status] * attempts
    assert {call.error for call in dynamodb.calls} == {error}
    assert sum(fault.times for fault in dynamodb.pending_faults) == 2 - attempts


def test_a_retry_is_a_request_of_its_own(dynamodb: DynamoDB) -> None:
    with running(dynamodb):
        dynamodb.fail("PutItem")
        Todo("1").save()

    first, second = dynamodb.calls
    assert (first.attempt, first.error, first.faults) == (1, "ThrottlingException", ("fail",))
    assert (second.attempt, second.error, second.faults) == (2, None, ())


def test_what_fails_is_not_applied(dynamodb: DynamoDB) -> None:
    with running(dynamodb, **ONCE):
        dynamodb.fail()

        with pytest.raises(PutError):
            Todo("1").save()

        assert Todo.count() == 0


def test_faults_of_an_operation_or_a_table(dynamodb: DynamoDB) -> None:
    with running(dynamodb, **ONCE):
        dynamodb.fail("GetItem", "plugin-note")
        Note("1").save()
        assert Todo.count() == 0

        with pytest.raises(Todo.DoesNotExist):
            Todo.get("1")

        with pytest.raises(GetError):
            Note.get("1")

        assert Note.get("1")


def test_faults_happen_in_their_order(dynamodb: DynamoDB) -> None:
    with running(dynamodb):
        dynamodb.fail("GetItem", error="InternalServerError")
        dynamodb.fail()

        with pytest.raises(Todo.DoesNotExist):
            Todo.get("1")

    errors = [call.error for call in dynamodb.calls]
    assert errors == ["InternalServerError", "ThrottlingException", None]


def test_a_cancelled_transaction_has_its_reasons(dynamodb: DynamoDB) -> None:
    with running(dynamodb, **ONCE):
        dynamodb.fail("TransactWriteItems", error="TransactionCanceledException")

        with pytest.raises(TransactWriteError) as raised, db.transact_write() as transaction:
            transaction.save(Todo("1"))
            transaction.save(Todo("2"))

    conflict, other = raised.value.cancellation_reasons
    assert conflict is not None
    assert conflict.code == "TransactionConflict"
    assert other is None


def test_lose_response(dynamodb: DynamoDB) -> None:
    with running(dynamodb):
        Todo("1").save()
        dynamodb.lose_response("UpdateItem")
        Todo("1").update(actions=[Todo.hits.add(1)])
        assert Todo.get("1").hits == 2, "it was applied, and then sent again"

    lost = dynamodb.calls[1]
    assert (lost.operation, lost.status, lost.faults) == ("UpdateItem", None, ("lose_response",))


def test_lose_response_of_a_write_that_must_not_be_repeated(dynamodb: DynamoDB) -> None:
    with running(dynamodb, DYNAMODB_UNCERTAIN_WRITES="raise"):
        Todo("1").save()
        dynamodb.lose_response(table="plugin-todo")

        with pytest.raises(UpdateError) as raised:
            Todo("1").update(actions=[Todo.hits.add(1)])

        assert t.cast(t.Any, raised.value).outcome_unknown
        assert Todo.get("1").hits == 1


def test_delay(dynamodb: DynamoDB) -> None:
    with running(dynamodb, DYNAMODB_READ_TIMEOUT_SECONDS=0.5):
        # Longer than the test may take: the end of the test must not wait for it.
        dynamodb.delay(3600, "PutItem")
        Todo("1").save()

    first, *_, last = dynamodb.calls
    assert (first.operation, first.status, first.faults) == ("PutItem", None, ("delay",))
    assert (last.operation, last.status, last.faults) == ("PutItem", 200, ())


def test_what_is_delayed_is_applied_at_once(dynamodb: DynamoDB) -> None:
    with running(dynamodb, DYNAMODB_CALL_TIMEOUT_SECONDS=0.5):
        dynamodb.delay(3600, operation="PutItem")

        with pytest.raises(CallTimeout):
            Todo("1").save()

    with running(dynamodb):
        assert Todo.get("1")


def test_a_request_may_be_delayed_and_fail(dynamodb: DynamoDB) -> None:
    with running(dynamodb):
        dynamodb.fail()
        dynamodb.delay(0.01)
        Todo("1").save()

    first, second = dynamodb.calls
    assert first.faults == ("delay", "fail")
    assert second.faults == ()


def test_unprocessed(dynamodb: DynamoDB) -> None:
    keys = [str(number) for number in range(5)]

    with running(dynamodb):
        dynamodb.unprocessed()
        dynamodb.unprocessed("BatchGetItem", count=2)

        with Todo.batch_write() as batch:
            for key in keys:
                batch.save(Todo(key))

        assert sorted(todo.id for todo in Todo.batch_get(keys)) == keys

    assert operations(dynamodb) == ["BatchWriteItem"] * 2 + ["BatchGetItem"] * 2
    rest = dynamodb.calls[3].parameters["RequestItems"]
    assert [len(of_table["Keys"]) for of_table in rest.values()] == [2]


def test_what_stays_unprocessed_is_an_error(dynamodb: DynamoDB) -> None:
    with running(dynamodb, **ONCE):
        dynamodb.unprocessed("BatchWriteItem", times=100, count=1)

        with pytest.raises(UnprocessedItems) as raised, Todo.batch_write() as batch:
            batch.save(Todo("1"))
            batch.save(Todo("2"))

        assert len(raised.value.unprocessed_items) == 1
        assert [todo.id for todo in Todo.scan()] == ["1"]


def test_unprocessed_items_of_one_table(dynamodb: DynamoDB) -> None:
    prefix = dynamodb.config["DYNAMODB_TABLE_NAME_PREFIX"]
    keys = {"Keys": [{"id": {"S": "1"}}], "ConsistentRead": True}
    writes = [{"PutRequest": {"Item": {"id": {"S": "1"}}}}]
    todo, note = f"{prefix}plugin-todo", f"{prefix}plugin-note"

    with running(dynamodb):
        client: t.Any = db.connection.client
        dynamodb.unprocessed(table="plugin-note", times=2)
        written = client.batch_write_item(RequestItems={todo: writes, note: writes})
        read = client.batch_get_item(RequestItems={todo: keys, note: keys})

    assert written["UnprocessedItems"] == {note: writes}
    assert read["UnprocessedKeys"] == {note: keys}
    assert list(read["Responses"]) == [todo]


def test_unprocessed_leaves_what_is_no_batch_alone(dynamodb: DynamoDB) -> None:
    with running(dynamodb):
        dynamodb.unprocessed()
        Todo("1").save()

    (pending,) = dynamodb.pending_faults
    assert (pending.kind, pending.operation, pending.times) == ("unprocessed", None, 1)


def test_faults_that_wait_tell_how_often_they_have_happened(dynamodb: DynamoDB) -> None:
    with running(dynamodb, **ONCE):
        dynamodb.fail("PutItem", times=3)
        dynamodb.delay(0.01, "GetItem")

        with pytest.raises(PutError):
            Todo("1").save()

    partly, never = dynamodb.pending_faults
    assert (partly.kind, partly.times, partly.happened) == ("fail", 2, 1)
    assert (never.kind, never.times, never.happened) == ("delay", 1, 0)


def test_a_failed_test_can_be_described(dynamodb: DynamoDB) -> None:
    with running(dynamodb):
        dynamodb.fail("PutItem")
        dynamodb.lose_response("PutItem")
        dynamodb.fail("Query", table="plugin-todo", times=2)
        Todo("1").save()

    assert dynamodb.describe().splitlines() == [
        "3 requests",
        "  PutItem plugin-todo ThrottlingException [fail]",
        "  PutItem plugin-todo attempt 2 not answered [lose_response]",
        "  PutItem plugin-todo attempt 3 200",
        "faults that have not happened:",
        "  fail: Query, plugin-todo, 2 times",
    ]


WRONG: list[tuple[cabc.Callable[[DynamoDB], None], str]] = [
    (lambda d: d.fail("Getitem"), "'operation' must be .* not 'Getitem'. Did you mean 'GetItem'?"),
    (lambda d: d.delay(1, t.cast(t.Any, 3)), "'operation' must be .* Known are: BatchExec"),
    (lambda d: d.lose_response("get"), "'operation' must be the name of an operation"),
    (lambda d: d.unprocessed("GetItem"), "'operation' must .* 'BatchGetItem'"),
    (
        lambda d: d.unprocessed("PutItem"),
        "an operation that can leave items unprocessed, not 'PutItem'. Known are: BatchGetItem, B",
    ),
    (
        lambda d: d.fail(error="ThrotlingException"),
        "'error' must .* Did you mean 'ThrottlingException'",
    ),
    (lambda d: d.fail(error=t.cast(t.Any, 500)), "'error' must .* not 500"),
    (lambda d: d.fail(table="plugin-tod"), "'table' must .* Did you mean 'plugin-todo'"),
    (lambda d: d.fail(table=""), "'table' must be the name of a table, without the test's prefix"),
    (lambda d: d.fail(times=0), "'times' must be a whole number from 1 on, not 0"),
    (lambda d: d.lose_response(times=-1), "'times' must be a whole number from 1 on, not -1"),
    (lambda d: d.delay(1, times=t.cast(t.Any, True)), "'times' must be .* not True"),
    (lambda d: d.delay(0), "'seconds' must be a number above 0 and at most 86400, not 0"),
    (lambda d: d.delay(float("nan")), "'seconds' must be .* not nan"),
    (lambda d: d.delay(t.cast(t.Any, "1")), "'seconds' must be .* not '1'"),
    (lambda d: d.unprocessed(count=0), "'count' must be a whole number from 1 on, not 0"),
]


@once
@pytest.mark.parametrize(("call", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_argument(
    dynamodb: DynamoDB, call: cabc.Callable[[DynamoDB], None], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        call(dynamodb)

    assert not dynamodb.pending_faults


@once
def test_a_table_with_its_prefix_is_an_error(dynamodb: DynamoDB) -> None:
    prefix = dynamodb.config["DYNAMODB_TABLE_NAME_PREFIX"]

    with pytest.raises(ValueError, match="without the test's prefix: 'plugin-todo'"):
        dynamodb.fail(table=f"{prefix}plugin-todo")


@once
def test_a_table_that_no_model_of_ours_has_may_be_named(dynamodb: DynamoDB) -> None:
    class Stock(StockModel):
        class Meta:
            table_name = dynamodb.config["DYNAMODB_TABLE_NAME_PREFIX"] + "stock"
            host = dynamodb.config["DYNAMODB_HOST"]
            region = "us-east-1"
            aws_access_key_id = "of-the-model"
            aws_secret_access_key = "secret"

        id = UnicodeAttribute(hash_key=True)

    Stock.create_table(wait=True, billing_mode="PAY_PER_REQUEST")
    dynamodb.calls.clear()
    dynamodb.fail("GetItem", "stock", error="AccessDeniedException")

    with pytest.raises(GetError):
        Stock.get("1")

    assert [call.table_name for call in dynamodb.calls] == ["stock"]


# --- event loops, threads, processes


@pytest.mark.anyio
@on_both_loops
async def test_awaited(dynamodb: DynamoDB, anyio_backend: str) -> None:
    kind = QuartTrio if anyio_backend == "trio" else quart.Quart
    api = create_api(dynamodb.config, kind=kind, DYNAMODB_READ_TIMEOUT_SECONDS=0.5)
    dynamodb.create_tables(api, models=MODELS)
    dynamodb.fail("PutItem")
    dynamodb.lose_response("UpdateItem")
    dynamodb.delay(3600, "GetItem")
    dynamodb.unprocessed("BatchGetItem")

    async with api.app_context():
        await Todo("1", title="Buy milk").asave()
        await Todo("1").aupdate(actions=[Todo.hits.add(1)])
        assert [todo.hits async for todo in Todo.abatch_get(["1"])] == [2]

    response = await api.test_client().get("/todos/1")
    assert await response.get_data(as_text=True) == "Buy milk"
    assert not dynamodb.pending_faults
    met = {call.operation: call.faults for call in dynamodb.calls if call.faults}
    assert met == {
        "PutItem": ("fail",),
        "UpdateItem": ("lose_response",),
        "BatchGetItem": ("unprocessed",),
        "GetItem": ("delay",),
    }


@pytest.mark.anyio
@on_both_loops
async def test_creating_tables_in_an_event_loop_warns_of_nothing(
    dynamodb: DynamoDB, anyio_backend: str
) -> None:
    app = create_app(dynamodb.config)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dynamodb.create_tables(app, models=MODELS)
        assert dynamodb.calls == []


def test_requests_of_a_thread(dynamodb: DynamoDB) -> None:
    with running(dynamodb) as app:
        dynamodb.fail("GetItem")
        answers: list[int] = []
        client = app.test_client()
        thread = threading.Thread(target=lambda: answers.append(client.get("/todos/1").status_code))
        thread.start()
        thread.join()

    assert answers == [404]
    assert operations(dynamodb) == ["GetItem"] * 2


_IN_A_PROCESS = """
import flask, json, sys
from pynamodb.attributes import UnicodeAttribute
from dynamo_ext import Model, PynamoDB

class Todo(Model):
    class Meta:
        table_name = "plugin-todo"
    id = UnicodeAttribute(hash_key=True)

for config in json.loads(sys.argv[1]):
    app = flask.Flask("web")
    app.config.update(config)
    PynamoDB(app)
    with app.app_context():
        try:
            Todo("1").save()
        except RuntimeError as error:
            print(error)
"""


def test_requests_of_a_process(dynamodb: DynamoDB, run_python: RunPython) -> None:
    """Faults, calls and the refusal of a remote endpoint are the same in a process of its own."""
    transport = engines.config("")["DYNAMODB_TRANSPORT"]
    configs = [
        {"DYNAMODB_TRANSPORT": transport, **dynamodb.config},
        {"DYNAMODB_TRANSPORT": transport, **REMOTE[0], **KEYS},
    ]

    with running(dynamodb):
        dynamodb.fail("PutItem")
        done = run_python(_IN_A_PROCESS, json.dumps(configs))
        assert done.returncode == 0, done.stderr
        assert Todo.get("1")

    assert operations(dynamodb) == ["PutItem", "PutItem", "GetItem"]
    (refusal,) = done.stdout.splitlines()
    assert "192.0.2.1" in refusal
    assert "dynamodb_remote" in refusal


# --- the engine


def test_an_engine_that_was_killed_is_replaced_for_the_next_test(
    engine_of_session: EngineOfSession,
) -> None:
    killed = DynamoDB(engine_of_session.begin())
    process = t.cast(t.Any, engine_of_session)._process._process
    process.kill()
    process.wait()

    with pytest.raises(RuntimeError, match="engine of the fixture 'dynamodb' does not answer"):
        assert killed.calls

    assert "does not answer" in killed.describe()
    assert killed._engine.end() == []
    # The tests that follow here use it.
    assert DynamoDB(engine_of_session.begin()).calls == []


def test_the_engine_is_controlled_by_its_secret_alone(dynamodb: DynamoDB) -> None:
    assert _control(dynamodb.config["DYNAMODB_HOST"], {}) == 403
    assert _control(dynamodb.config["DYNAMODB_HOST"], {SECRET_HEADER: "wrong"}) == 403


def test_an_ordinary_engine_can_not_be_controlled(embedded: str) -> None:
    assert _control(embedded, {SECRET_HEADER: ""}) >= 400


def _control(url: str, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=100)

    with contextlib.closing(connection):
        body = json.dumps({"command": "begin", "prefix": "x", "access_key_id": "x"})
        connection.request("POST", CONTROL_PATH, body, headers)
        return connection.getresponse().status


@once
def test_without_the_extra_the_fixture_says_what_to_install(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "moto", None)

    with pytest.raises(pytest.fail.Exception, match=r'pip install "dynamo-ext\[local\]"'):
        request.getfixturevalue("dynamodb")


# --- remote endpoints

REMOTE: list[dict[str, t.Any]] = [
    {"DYNAMODB_HOST": "http://192.0.2.1"},
    {"DYNAMODB_HOST": "https://dynamodb.example:8000"},
    {"DYNAMODB_HOST": "http://[2001:db8::1]:8000"},
    {"DYNAMODB_REGION": "eu-west-1"},
]
KEYS = {"DYNAMODB_AWS_ACCESS_KEY_ID": "key", "DYNAMODB_AWS_SECRET_ACCESS_KEY": "secret"}


@pytest.mark.parametrize("config", REMOTE, ids=str)
@pytest.mark.parametrize("keys", [KEYS, {}], ids=["keys", "no keys"])
def test_a_remote_endpoint_is_refused(
    dynamodb: DynamoDB, config: dict[str, t.Any], keys: dict[str, str]
) -> None:
    app = create_app({**config, **keys})

    with app.app_context(), pytest.raises(RuntimeError, match=r"@pytest\.mark\.dynamodb_remote"):
        Todo.get("1")


@pytest.mark.anyio
@on_both_loops
async def test_a_remote_endpoint_is_refused_to_tasks(
    dynamodb: DynamoDB, anyio_backend: str
) -> None:
    api = create_api({**REMOTE[0], **KEYS})

    async with api.app_context():
        with pytest.raises(RuntimeError, match="dynamodb_remote"):
            await Todo.aget("1")


def test_a_remote_endpoint_is_refused_to_calls_that_botocore_makes(dynamodb: DynamoDB) -> None:
    """Something is hooked into them that might have answered them, and has not."""
    app = create_app({**REMOTE[0], **KEYS}, **ONCE)

    with app.app_context(), pytest.raises(GetError, match="dynamodb_remote"):
        db.connection.client.meta.events.register("before-send", lambda **event: None)
        Todo.get("1")


def test_a_remote_endpoint_behind_a_proxy_is_refused(
    dynamodb: DynamoDB, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", stub.url)
    app = create_app({**REMOTE[0], **KEYS}, **ONCE)

    with app.app_context():
        with pytest.raises(RuntimeError, match="dynamodb_remote"):
            Todo.get("1")

        db.connection.client.meta.events.register("before-send", lambda **event: None)

        with pytest.raises(GetError, match="dynamodb_remote"):
            Todo.get("1")

    assert not stub.requests


@pytest.mark.dynamodb_remote
def test_a_remote_endpoint_is_not_refused_to_a_marked_test(
    dynamodb: DynamoDB, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", stub.url)

    with create_app({**REMOTE[0], **KEYS}).app_context():
        assert not Todo.exists()

    assert stub.operations == ["DescribeTable"]


@pytest.mark.botocore(reason="moto replaces what botocore calls")
def test_what_is_mocked_is_not_refused(dynamodb: DynamoDB, monkeypatch: pytest.MonkeyPatch) -> None:
    moto = pytest.importorskip("moto")

    with moto.mock_aws(), create_app({**REMOTE[3], **KEYS}).app_context():
        Todo.create_table(wait=True)
        Todo("1").save()
        assert Todo.get("1")

    assert dynamodb.calls == []


@once
@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("localhost", True),
        ("Dynamodb.LOCALHOST.", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", True),
        ("::ffff:192.0.2.1", False),
        ("localhost.example", False),
        ("notlocalhost", False),
        ("192.0.2.1", False),
        ("10.0.0.1", False),
        ("dynamodb.us-east-1.amazonaws.com", False),
        ("", False),
    ],
)
def test_is_loopback(host: str, is_loopback: bool) -> None:
    assert loopback.is_loopback(host) is is_loopback


@once
def test_the_plugin_and_the_transports_agree_on_the_variable() -> None:
    names = ("VARIABLE", "LOOPBACK", "ANY")
    assert [vars(pytest_dynamo_ext)[name] for name in names] == [
        vars(loopback)[name] for name in names
    ]


# --- a whole suite


@pytest.fixture
def suite(tmp_path: pathlib.Path) -> cabc.Callable[..., str]:
    """Run the suite of the project ``sample``, and give what pytest prints."""
    shutil.copytree(pathlib.Path(__file__).parent / "sample", tmp_path / "sample")
    (tmp_path / "engines").mkdir()

    def run(*arguments: str) -> str:
        done = subprocess.run(
            # Without what takes as long to be imported as the suite to run.
            [sys.executable, "-P", "-m", "pytest", "-p", "no:hypothesispytest", *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**engines.python_environment(), "ENGINES": str(tmp_path / "engines")},
            timeout=200,
        )
        assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
        return done.stdout

    return run


whole = pytest.mark.once(reason="the project has the default transport")


@whole
def test_suite(suite: cabc.Callable[..., str]) -> None:
    """All of it, with the plugins for async tests: anyio's, pytest-asyncio and pytest-trio."""
    printed = suite("sample", "-o", "dynamodb_faults_must_happen=true", "-rA")
    assert "1 failed, 14 passed, 1 error" in printed, printed
    assert "FAILED sample/suite_web.py::test_that_fails_on_purpose" in printed
    assert "fixture 'dynamodb'" in printed
    assert "  PutItem todo 200" in printed
    assert "  fail: Query, once" in printed
    assert "ERROR sample/suite_web.py::test_whose_fault_never_happens" in printed
    assert "'dynamodb' never happened:\n  fail: any request, 2 times" in printed

    for name in ("asyncio", "trio"):
        assert f"PASSED sample/suite_{name}.py::test_request_with_pytest_{name}" in printed


@whole
def test_suite_in_two_processes(suite: cabc.Callable[..., str], tmp_path: pathlib.Path) -> None:
    # Both take part: neither can take all of what is left at once.
    in_two = ("-n", "2", "--maxschedchunk", "1", "-o", "asyncio_mode=auto")
    printed = suite(
        "sample/auto_asyncio.py", "sample/suite_web.py", "-k", "auto or purpose or never", *in_two
    )
    assert "1 failed, 3 passed" in printed, printed
    assert "faults of the fixture 'dynamodb' that never happened" in printed
    assert "sample/suite_web.py::test_whose_fault_never_happens: fail: any request, 2 t" in printed
    urls = [file.read_text() for file in (tmp_path / "engines").iterdir()]
    assert len(set(urls)) == len(urls) == 2


@once
def test_pytest_loads_neither_the_package_nor_what_it_needs_at_its_start(
    run_python: RunPython,
) -> None:
    code = "import sys, pytest_dynamo_ext; print(*sys.modules)"
    loaded = set(run_python(code).stdout.split())
    assert "pytest" in loaded
    assert not loaded & {"dynamo_ext", "flask", "botocore", "pynamodb", "moto"}


@once
def test_the_plugin_is_an_entry_point() -> None:
    (found,) = (
        each for each in importlib.metadata.entry_points(group="pytest11") if "dynamo" in each.name
    )
    assert found.load() is pytest_dynamo_ext
    # Whoever names the documented package as a plugin gets this one, once.
    assert dynamo_ext.testing.pytest_plugins == [found.name]
