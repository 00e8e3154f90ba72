"""The commands, as real processes of both command lines."""

from __future__ import annotations

import json
import os
import pathlib
import socket
import subprocess
import sys
import typing as t

import botocore.session
import pytest

import engines
import warm
from stub import Answer
from stub import Behaviour
from stub import Request
from stub import Stub
from stub import error

pytestmark = [
    pytest.mark.slow,
    pytest.mark.once(reason="what the commands print and send does not depend on the transport"),
]

SECRETS = ("AKIDOFTHETESTS", "secret-of-the-tests")

BOTH = """
import json, os

import flask
import quart
from pynamodb.attributes import NumberAttribute, TTLAttribute, UnicodeAttribute
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex, LocalSecondaryIndex

from dynamo_ext_async import Model, PynamoDB

db = PynamoDB()


def create_flask():
    return configured(flask.Flask("shop"))


def create_quart():
    return configured(quart.Quart("shop"))


def configured(app):
    app.config.from_mapping(json.loads(os.environ["SETTINGS"]))
    db.init_app(app)
    return app
"""

SHOP = """
class ByState(GlobalSecondaryIndex):
    class Meta:
        index_name = "by-state"
        projection = AllProjection()

    state = UnicodeAttribute(hash_key=True)


class ByName(GlobalSecondaryIndex):
    class Meta:
        index_name = "by-name"
        projection = AllProjection()

    name = UnicodeAttribute(hash_key=True)


class ByPrice(LocalSecondaryIndex):
    class Meta:
        index_name = "by-price"
        projection = AllProjection()

    customer = UnicodeAttribute(hash_key=True, attr_name="pk")
    price = NumberAttribute(range_key=True)


class Order(Model):
    class Meta:
        table_name = "shop"

    customer = UnicodeAttribute(hash_key=True, attr_name="pk")
    number = UnicodeAttribute(range_key=True, attr_name="sk")
    state = UnicodeAttribute()
    price = NumberAttribute()
    by_state = ByState()
    by_price = ByPrice()


class Customer(Model):
    class Meta:
        table_name = "shop"

    email = UnicodeAttribute(hash_key=True, attr_name="pk")
    section = UnicodeAttribute(range_key=True, attr_name="sk")
    name = UnicodeAttribute()
    forgotten = TTLAttribute(null=True)
    by_name = ByName()


class Session(Model):
    class Meta:
        table_name = "session"

    id = UnicodeAttribute(hash_key=True)
    expires = TTLAttribute()
"""

CONFLICT = """
class Order(Model):
    class Meta:
        table_name = "shop"

    number = UnicodeAttribute(hash_key=True)


class Customer(Model):
    class Meta:
        table_name = "shop"

    email = UnicodeAttribute(hash_key=True)
"""

WRONG_META = """
class Order(Model):
    class Meta:
        table_name = "shop"
        max_retry_attempts = -1

    number = UnicodeAttribute(hash_key=True)
"""

BINDS = """
class Todo(Model):
    class Meta:
        table_name = "todo"

    id = UnicodeAttribute(hash_key=True)


class Report(Model):
    class Meta:
        table_name = "report"
        bind_key = "eu"

    id = UnicodeAttribute(hash_key=True)


class Order(Model):
    class Meta:
        table_name = "order"
        bind_key = "us"

    id = UnicodeAttribute(hash_key=True)
"""

both_lines = pytest.mark.parametrize("line", ["flask", "quart"])


@pytest.fixture
def project(tmp_path: pathlib.Path) -> pathlib.Path:
    """A directory with apps of the user."""
    for name, models in {
        "shop": SHOP,
        "conflict": CONFLICT,
        "wrong_meta": WRONG_META,
        "empty": "",
        "binds": BINDS,
    }.items():
        (tmp_path / f"{name}.py").write_text(BOTH + models)

    return tmp_path


def run(
    line: str,
    project: pathlib.Path,
    module: str,
    config: dict[str, t.Any],
    *arguments: str,
) -> subprocess.CompletedProcess[str]:
    """Run ``flask dynamodb …`` or ``quart dynamodb …``."""
    environment = engines.python_environment()
    settings = json.dumps(config)
    return warm.run(
        [
            *(sys.executable, "-W", "error", "-m", line, "--app", f"{module}:create_{line}"),
            *("dynamodb", *arguments),
        ],
        capture_output=True,
        text=True,
        env={
            **environment,
            "SETTINGS": settings,
            "PYTHONPATH": os.pathsep.join([str(project), environment["PYTHONPATH"]]),
        },
        cwd=project,
        timeout=120,
    )


def assert_failed(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """It ended with exit code 1 and a message that holds all this, and nothing that must not be."""
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr

    for part in parts:
        assert part in done.stderr

    for secret in SECRETS:
        assert secret not in done.stdout + done.stderr


def client_of(engine: str) -> t.Any:
    """A client that has nothing to do with this project."""
    session = botocore.session.get_session()
    session.set_credentials(*SECRETS)
    return session.create_client("dynamodb", "us-east-1", endpoint_url=engine)


@both_lines
def test_tables_are_created_once_with_all_that_the_models_declare(
    line: str, project: pathlib.Path, engine: str, config: dict[str, t.Any]
) -> None:
    prefix = config["DYNAMODB_TABLE_NAME_PREFIX"]
    done = run(line, project, "shop", config, "create-tables")
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.splitlines()) == [
        f"{prefix}session: created",
        f"{prefix}shop: created",
    ]

    client = client_of(engine)
    shop = client.describe_table(TableName=f"{prefix}shop")["Table"]
    session = client.describe_table(TableName=f"{prefix}session")["Table"]
    ttls = [
        client.describe_time_to_live(TableName=prefix + table)["TimeToLiveDescription"]
        for table in ("session", "shop")
    ]
    client.close()
    assert shop["TableStatus"] == session["TableStatus"] == "ACTIVE"
    assert {index["IndexName"] for index in shop["GlobalSecondaryIndexes"]} == {
        "by-state",
        "by-name",
    }
    assert [index["IndexName"] for index in shop["LocalSecondaryIndexes"]] == ["by-price"]
    assert [ttl["TimeToLiveStatus"] for ttl in ttls] == ["ENABLED", "ENABLED"]
    assert [ttl["AttributeName"] for ttl in ttls] == ["expires", "forgotten"]

    again = run(line, project, "shop", config, "create-tables")
    assert (again.returncode, again.stderr) == (0, "")
    assert sorted(again.stdout.splitlines()) == [
        f"{prefix}session: exists",
        f"{prefix}shop: exists",
    ]


def test_it_waits_until_a_table_is_active(
    project: pathlib.Path, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    usual: Behaviour = stub._usual

    def creating(request: Request) -> Answer:
        name = request.body["TableName"]
        return Answer(body={"Table": {"TableName": name, "TableStatus": "CREATING"}})

    stub.next("DescribeTable", usual, creating, creating, usual, usual)
    done = run("flask", project, "shop", stub_config, "create-tables")
    assert done.returncode == 0, done.stderr
    # Two tables: one look each whether it is there, and one that finds it active; two in between.
    assert stub.operations.count("DescribeTable") == 6
    assert stub.operations.count("CreateTable") == 2


def test_models_with_conflicting_keys_are_named(
    project: pathlib.Path, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    done = run("flask", project, "conflict", stub_config, "create-tables")
    table = stub_config["DYNAMODB_TABLE_NAME_PREFIX"] + "shop"
    assert_failed(done, "'Order'", "'Customer'", table, "keys")
    assert "CreateTable" not in stub.operations


def test_what_is_wrong_in_a_meta_is_named(
    project: pathlib.Path, stub_config: dict[str, t.Any]
) -> None:
    done = run("quart", project, "wrong_meta", stub_config, "create-tables")
    assert_failed(done, "'Order.Meta.max_retry_attempts'")


@both_lines
def test_an_engine_that_is_down_is_said_to_be(
    line: str, project: pathlib.Path, stub_config: dict[str, t.Any]
) -> None:
    with socket.socket() as bound:
        # Taken, but nobody listens.
        bound.bind((engines.HOST, 0))
        url = f"http://{engines.HOST}:{bound.getsockname()[1]}"
        config = {**stub_config, "DYNAMODB_HOST": url, "DYNAMODB_MAX_RETRY_ATTEMPTS": 0}
        done = run(line, project, "shop", config, "create-tables")

    assert_failed(done, url, "-shop")


def test_a_table_that_the_engine_refuses_is_named_with_the_reason(
    project: pathlib.Path, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    stub.always("CreateTable", error(400, "LimitExceededException", "too many tables"))
    done = run("flask", project, "shop", stub_config, "create-tables")
    assert_failed(done, "-shop", "too many tables")


def test_what_a_server_answers_steers_no_terminal(
    project: pathlib.Path, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    forgery = "\x1b[2Jno\n-shop: created\u2028\u202e\ud800"
    stub.always("CreateTable", error(400, "LimitExceededException", forgery))
    done = run("flask", project, "shop", stub_config, "create-tables")
    assert_failed(done, r"\x1b[2Jno\n-shop: created\u2028\u202e\ud800")
    assert all(line.isprintable() for line in (done.stdout + done.stderr).split("\n"))


def test_without_a_model_it_says_what_to_do(
    project: pathlib.Path, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    done = run("quart", project, "empty", stub_config, "create-tables")
    assert_failed(done, "no model", "Import")
    assert not stub.requests


@pytest.mark.parametrize(
    ("line", "arguments", "created"),
    [
        (
            "flask",
            (),
            [
                ("us-east-1", "todo: created"),
                ("eu-west-1", "report: created in bind 'eu'"),
                ("us-west-2", "order: created in bind 'us'"),
            ],
        ),
        (
            "quart",
            ("--bind", "eu"),
            [
                ("eu-west-1", "todo: created in bind 'eu'"),
                ("eu-west-1", "report: created in bind 'eu'"),
            ],
        ),
    ],
)
def test_each_table_is_created_in_its_bind(
    project: pathlib.Path,
    stub_config: dict[str, t.Any],
    stub: Stub,
    line: str,
    arguments: tuple[str, ...],
    created: list[tuple[str, str]],
) -> None:
    binds = {"eu": {"REGION": "eu-west-1"}, "us": {"REGION": "us-west-2"}}
    config = {**stub_config, "DYNAMODB_BINDS": binds, "DYNAMODB_TABLE_NAME_PREFIX": ""}
    done = run(line, project, "binds", config, "create-tables", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    requests = [request for request in stub.requests if request.operation == "CreateTable"]
    regions = [request.signature.region for request in requests]
    assert list(zip(regions, done.stdout.splitlines(), strict=True)) == created


def test_an_unknown_bind_is_named(
    project: pathlib.Path, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    config = {**stub_config, "DYNAMODB_BINDS": {"eu": {}}}
    done = run("flask", project, "binds", config, "create-tables", "--bind", "asia")
    assert done.returncode == 2
    assert "--bind: The bind key is 'asia'" in done.stderr
    assert "'DYNAMODB_BINDS': 'eu'." in done.stderr
    assert not stub.requests


@both_lines
def test_without_names_a_command_is_for_all_tables(
    line: str, project: pathlib.Path, embedded_config: dict[str, t.Any]
) -> None:
    def lines(text: str) -> list[str]:
        return [f"{embedded_config['DYNAMODB_TABLE_NAME_PREFIX']}{name}: {text}" for name in names]

    names = ("session", "shop")
    checked = run(line, project, "shop", embedded_config, "check")
    assert (checked.returncode, checked.stderr) == (1, "")
    assert len(checked.stdout.splitlines()) == len(names)

    for name in names:
        assert f"'python -m {line} dynamodb create-tables {name}' creates it" in checked.stdout

    synced = run(line, project, "shop", embedded_config, "sync")
    assert (synced.returncode, synced.stderr) == (0, "")
    assert sorted(synced.stdout.splitlines()[-2:]) == lines("created")
    dropped = run(line, project, "shop", embedded_config, "drop-tables", "--yes")
    assert (dropped.returncode, dropped.stderr) == (0, "")
    assert sorted(dropped.stdout.splitlines()) == lines("dropped")


@both_lines
def test_the_group_has_help(
    line: str, project: pathlib.Path, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    group = run(line, project, "shop", stub_config, "--help")
    assert group.returncode == 0, group.stderr
    assert "Manage DynamoDB tables." in group.stdout
    commands = group.stdout.partition("Commands:")[2].split("\n")
    assert "create-tables" in [command.split()[0] for command in commands if command.strip()]
    assert not stub.requests
