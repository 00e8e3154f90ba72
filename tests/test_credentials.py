from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import threading
import typing as t

import botocore.exceptions
import pytest
from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import GetError

import engines
from conftest import InApp
from conftest import RunPython
from dynamo_ext import Model
from stub import HOLD
from stub import Stub
from threads import in_new_thread

pytestmark = pytest.mark.wire

ID = "DYNAMODB_AWS_ACCESS_KEY_ID"
SECRET = "DYNAMODB_AWS_SECRET_ACCESS_KEY"
TOKEN = "DYNAMODB_AWS_SESSION_TOKEN"


class Book(Model):
    class Meta:
        table_name = "book"

    id = UnicodeAttribute(hash_key=True)


@pytest.fixture
def chain_config(stub: Stub) -> dict[str, t.Any]:
    """Settings that leave credentials to botocore's chain."""
    return {"DYNAMODB_HOST": stub.url, "DYNAMODB_MAX_RETRY_ATTEMPTS": 0}


def test_environment_alone(
    in_app: InApp, stub: Stub, chain_config: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDOFENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-of-environment")

    with in_app(chain_config) as db:
        connection = db.connection
        Book.get("a")
        connection.list_tables()
        in_new_thread(connection.list_tables)

    assert len(stub.requests) == 3

    for request in stub.requests:
        assert request.signature.access_key_id == "AKIDOFENVIRONMENT"
        assert request.header("X-Amz-Security-Token") == "token-of-environment"


def test_profile_of_the_shared_file(
    in_app: InApp,
    stub: Stub,
    chain_config: dict[str, t.Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: pathlib.Path,
) -> None:
    file = tmp_path / "credentials"
    file.write_text(
        "[default]\naws_access_key_id = AKIDDEFAULT\naws_secret_access_key = x\n"
        "[work]\naws_access_key_id = AKIDWORK\naws_secret_access_key = x\n"
        "aws_session_token = token-of-work\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))

    with in_app(chain_config):
        Book.get("a")

    monkeypatch.setenv("AWS_PROFILE", "work")

    with in_app(chain_config):
        Book.get("a")

    default, work = stub.requests
    assert default.signature.access_key_id == "AKIDDEFAULT"
    assert default.header("X-Amz-Security-Token") is None
    assert work.signature.access_key_id == "AKIDWORK"
    assert work.header("X-Amz-Security-Token") == "token-of-work"


def test_settings_win_over_environment(
    in_app: InApp, stub: Stub, chain_config: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDOFENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-of-environment")

    with in_app(chain_config, **{ID: "AKIDOFAPP", SECRET: "x"}):
        Book.get("a")

    (request,) = stub.requests
    assert request.signature.access_key_id == "AKIDOFAPP"
    assert request.header("X-Amz-Security-Token") is None


def test_token_in_a_new_thread(in_app: InApp, stub: Stub, chain_config: dict[str, t.Any]) -> None:
    settings = {ID: "AKIDOFAPP", SECRET: "x", TOKEN: "token-of-app"}

    with in_app(chain_config, **settings) as db:
        connection, table = db.connection, Book._get_connection()
        connection.list_tables()
        in_new_thread(connection.list_tables)
        in_new_thread(lambda: table.get_item("a"))

    assert len(stub.requests) == 3

    for request in stub.requests:
        assert request.signature.access_key_id == "AKIDOFAPP"
        assert request.header("X-Amz-Security-Token") == "token-of-app"


def fail_without_credentials() -> None:
    with pytest.raises(GetError, match="Unable to locate credentials") as raised:
        Book.get("a")

    assert isinstance(raised.value.cause, botocore.exceptions.NoCredentialsError)


def test_absent_credentials_make_one_client(
    in_app: InApp, stub: Stub, chain_config: dict[str, t.Any]
) -> None:
    with in_app(chain_config) as db:
        clients: list[t.Any] = []

        for _ in range(5):
            fail_without_credentials()
            clients.append(db.connection.client)

    # All are alive here, so that none can have the place of another.
    assert len({id(client) for client in clients}) == 1
    assert stub.requests == []


def test_credentials_that_appear_later_are_used(
    in_app: InApp, stub: Stub, chain_config: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with in_app(chain_config) as db:
        fail_without_credentials()
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDLATE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
        assert Book.get("a").id == "a"
        client = db.connection.client
        assert Book.get("a").id == "a"
        assert db.connection.client is client

    assert [request.signature.access_key_id for request in stub.requests] == ["AKIDLATE"] * 2


def test_client_without_credentials_is_not_given_out_once_they_are_there(
    in_app: InApp, stub: Stub, chain_config: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with in_app(chain_config) as db:
        fail_without_credentials()
        connection = db.connection
        clients: list[t.Any] = []
        second = threading.Thread(target=lambda: clients.append(connection.client))

        def while_the_new_client_is_made(**event: object) -> None:
            second.start()
            # It either waits for the new client, or has got the old one by now.
            second.join(0.2)

        event = "creating-client-class.dynamodb"
        connection.session.register(event, while_the_new_client_is_made)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDLATE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
        client = connection.client
        second.join()
        connection.session.unregister(event, while_the_new_client_is_made)

    assert clients == [client]


FORK = """
import os
import sys

import flask
from dynamo_ext import PynamoDB

app = flask.Flask("tests")
app.config.from_prefixed_env()
db = PynamoDB(app)
parents = db.connection.client
db.connection.list_tables()
child = os.fork()

if child == 0:
    status = 1

    try:
        assert db.connection.client is not parents
        assert db.connection.client is db.connection.client
        db.connection.list_tables()
        db.connection.list_tables()
        assert (db.pool.in_use, db.pool.waiting, db.pool.stats().calls) == (0, 0, 2)
        status = 0
    finally:
        os._exit(status)

assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert db.connection.client is parents
db.connection.list_tables()
"""

forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


@forking
def test_forked_child_has_a_client_and_sockets_of_its_own(
    run_warm_python: RunPython, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    environment = {f"FLASK_{key}": value for key, value in stub_config.items()}
    done = run_warm_python(FORK, env=environment)
    assert done.returncode == 0, done.stderr
    parent, first_of_child, second_of_child, parent_again = (
        request.peer for request in stub.requests
    )
    assert parent == parent_again
    assert first_of_child == second_of_child
    assert parent != first_of_child
    assert stub.total_connections == 2


FORK_WHILE_BUSY = """
import os
import sys
import threading
import warnings

import flask
from dynamo_ext import PynamoDB

# From Python 3.12 on: what a server that forks late does is what is tested here.
warnings.simplefilter("ignore", DeprecationWarning)

app = flask.Flask("tests")
app.config.from_prefixed_env()
db = PynamoDB(app)
holder = threading.Thread(target=db.connection.list_tables)
holder.start()
print("holding", flush=True)
sys.stdin.readline()
assert db.pool.in_use == 1
child = os.fork()

if child == 0:
    status = 1

    try:
        db.connection.list_tables()
        status = 0
    finally:
        os._exit(status)

assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert db.pool.in_use == 1
print("child is done", flush=True)
holder.join()
assert db.pool.in_use == 0
"""


@forking
def test_forked_child_has_slots_of_its_own(stub: Stub, stub_config: dict[str, t.Any]) -> None:
    stub.next("ListTables", HOLD)
    settings = {**stub_config, "DYNAMODB_MAX_POOL_CONNECTIONS": "1"}
    environment = {f"FLASK_{key}": value for key, value in settings.items()}

    parent = subprocess.Popen(
        [sys.executable, "-P", "-W", "error", "-c", FORK_WHILE_BUSY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**engines.python_environment(), **environment},
        text=True,
    )

    try:
        assert parent.stdin is not None
        assert parent.stdout is not None
        assert parent.stdout.readline() == "holding\n"
        stub.wait_for(lambda: stub.in_flight == 1)
        parent.stdin.write("fork\n")
        parent.stdin.flush()
        assert parent.stdout.readline() == "child is done\n"
        stub.release()
        parent.communicate(timeout=100)
    finally:
        parent.kill()
        parent.communicate()

    assert parent.returncode == 0
    assert stub.operations == ["ListTables"] * 2
