"""No repr, log line, message or command shows a secret. Secrets here are unique texts to find."""

from __future__ import annotations

import collections.abc as cabc
import logging
import pathlib
import pprint
import string
import traceback
import typing as t

import botocore.exceptions
import flask
import hypothesis
import pytest
from hypothesis import strategies as st
from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import PynamoDBException

from conftest import InApp
from conftest import RunPython
from dynamo_ext import ConfigError
from dynamo_ext import Model
from dynamo_ext import PynamoDB
from dynamo_ext import Settings
from strength import examples
from stub import RESET
from stub import THROTTLE
from stub import Stub
from stub import error

SECRET = "sentinel-of-the-secret-access-key"
TOKEN = "sentinel-of-the-session-token"
HEADER = "sentinel-of-the-header-value"
SENTINELS = (SECRET, TOKEN, HEADER)

CONFIG: dict[str, t.Any] = {
    "DYNAMODB_AWS_ACCESS_KEY_ID": "AKIDOFTHETESTS",
    "DYNAMODB_AWS_SECRET_ACCESS_KEY": SECRET,
    "DYNAMODB_AWS_SESSION_TOKEN": TOKEN,
    "DYNAMODB_EXTRA_HEADERS": {"X-Proxy": HEADER},
    "DYNAMODB_BASE_BACKOFF_MS": 0,
}


class Book(Model):
    class Meta:
        table_name = "book"

    id = UnicodeAttribute(hash_key=True)


class Shelf(Model):
    class Meta:
        table_name = "shelf"
        aws_access_key_id = "AKIDOFTHEMODEL"
        aws_secret_access_key = SECRET
        aws_session_token = TOKEN
        extra_headers: t.ClassVar[dict[str, str]] = {"X-Proxy": HEADER}

    id = UnicodeAttribute(hash_key=True)


def check_shows_no_secret(text: str) -> None:
    assert text
    assert [sentinel for sentinel in SENTINELS if sentinel in text] == []


def shown(thing: object) -> str:
    """A thing as text, by each of Python's usual ways."""
    return "\n".join([repr(thing), str(thing), f"{thing}", pprint.pformat(thing)])


SHOWN: dict[str, cabc.Callable[[PynamoDB], object]] = {
    "db": lambda db: db,
    "settings": lambda db: db.settings,
    "connection": lambda db: db.connection,
    "pool": lambda db: db.pool,
    "pool stats": lambda db: db.pool.stats(),
    "engine": lambda db: db.connection.engine,
    "endpoint": lambda db: db.connection.engine.endpoint,
    "client": lambda db: db.connection.client,
    "transaction": lambda db: db.transact_get(),
    "Meta": lambda db: Book.Meta,
    "Meta of an item": lambda db: Book("a").Meta,
    "Meta that declares secrets": lambda db: Shelf.Meta,
    "model": lambda db: Book,
    "item": lambda db: Shelf("a"),
    "table connection": lambda db: Book._get_connection(),
    "table connection that declares secrets": lambda db: Shelf._get_connection(),
    "extensions of the app": lambda db: flask.current_app.extensions,
}

SHOWN_INSIDE: dict[str, cabc.Callable[[PynamoDB], object]] = {
    "db": lambda db: vars(db),
    "connection": lambda db: vars(db.connection),
    "table connection": lambda db: vars(Book._get_connection()),
    "table connection that declares secrets": lambda db: vars(Shelf._get_connection()),
    "connection of the table": lambda db: vars(Shelf._get_connection().connection),
    "pool": lambda db: vars(db.pool),
    "client": lambda db: vars(db.connection.client),
    "engine": lambda db: vars(db.connection.engine),
}


@pytest.mark.parametrize("what", SHOWN)
def test_repr_shows_no_secret(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any], what: str
) -> None:
    with in_app(stub_config | CONFIG) as db:
        Shelf.get("a")
        check_shows_no_secret(shown(SHOWN[what](db)))


@pytest.mark.parametrize("what", SHOWN_INSIDE)
def test_attributes_show_no_secret(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any], what: str
) -> None:
    with in_app(stub_config | CONFIG) as db:
        db.connection.list_tables()
        Shelf.get("a")
        check_shows_no_secret(shown(SHOWN_INSIDE[what](db)))


def test_settings_show_the_rest(in_app: InApp) -> None:
    with in_app(CONFIG, DYNAMODB_REGION="eu-west-3") as db:
        assert "eu-west-3" in repr(db.settings)
        assert "eu-west-3" in repr(db.connection)
        assert "X-Proxy" not in repr(db.settings)


def test_attributes_show_no_header_of_the_override_file(
    run_python: RunPython, tmp_path: pathlib.Path
) -> None:
    file = tmp_path / "override.py"
    file.write_text(f"extra_headers = {{'X-Proxy': {HEADER!r}}}")
    code = """
import flask
from dynamo_ext import PynamoDB

app = flask.Flask("tests")
db = PynamoDB(app)
assert db.settings.extra_headers
print(db.settings, db.connection, vars(db.connection))
"""
    done = run_python(code, env={"PYNAMODB_CONFIG": str(file)})
    assert done.returncode == 0, done.stderr
    check_shows_no_secret(done.stdout)


def test_calls_log_no_secret(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any], caplog: pytest.LogCaptureFixture
) -> None:
    # Without botocore's own DEBUG log, which shows every header, and so the token.
    for name in ("dynamo_ext", "dynamo_ext_async", "pynamodb", "flask.app", "tests"):
        caplog.set_level(logging.DEBUG, logger=name)

    stub.next("GetItem", THROTTLE, RESET)

    with in_app(stub_config | CONFIG) as db:
        Book.create_table(wait=True)
        Book("a").save()
        Book.get("a")
        list(Book.scan())
        Shelf.get("a")
        db.connection.list_tables()
        stub.always("GetItem", error(400, "AccessDeniedException"))

        with pytest.raises(PynamoDBException):
            Book.get("a")

    check_shows_no_secret(caplog.text)
    assert "GetItem" in caplog.text


FAILURES = (PynamoDBException, botocore.exceptions.ClientError)

FAILING_CALLS: dict[str, cabc.Callable[[PynamoDB], object]] = {
    "get": lambda db: Book.get("a"),
    "get by a model with secrets": lambda db: Shelf.get("a"),
    "query": lambda db: list(Book.query("a")),
    "save": lambda db: Book("a").save(),
    "create_table": lambda db: Book.create_table(),
    "connection": lambda db: db.connection.list_tables(),
}


@pytest.mark.parametrize("call", FAILING_CALLS)
@pytest.mark.parametrize("failure", ["denied", "reset", "nobody there"])
def test_error_shows_no_secret(in_app: InApp, stub: Stub, call: str, failure: str) -> None:
    answer = RESET if failure == "reset" else error(400, "AccessDeniedException")

    for operation in ("GetItem", "Query", "PutItem", "DescribeTable", "ListTables"):
        stub.always(operation, answer)

    host = "http://127.0.0.1:9" if failure == "nobody there" else stub.url

    with in_app(CONFIG, DYNAMODB_HOST=host) as db, pytest.raises(FAILURES) as raised:
        FAILING_CALLS[call](db)

    check_shows_no_secret("".join(traceback.format_exception(raised.value)))
    check_shows_no_secret(shown(raised.value) + repr(vars(raised.value)))


BAD_CONFIGS: dict[str, dict[str, t.Any]] = {
    "other key": {**CONFIG, "DYNAMODB_MAX_RETRY_ATTEMPTS": "many"},
    "no id": {"DYNAMODB_AWS_SECRET_ACCESS_KEY": SECRET, "DYNAMODB_AWS_SESSION_TOKEN": TOKEN},
    "space": {**CONFIG, "DYNAMODB_AWS_SECRET_ACCESS_KEY": f"{SECRET} "},
    "bytes": {**CONFIG, "DYNAMODB_AWS_SECRET_ACCESS_KEY": SECRET.encode()},
    "list": {**CONFIG, "DYNAMODB_AWS_SESSION_TOKEN": [TOKEN]},
    "header": {**CONFIG, "DYNAMODB_EXTRA_HEADERS": {"X-Proxy": f"{HEADER}\n"}},
    "header list": {**CONFIG, "DYNAMODB_EXTRA_HEADERS": [HEADER]},
    "header bytes": {**CONFIG, "DYNAMODB_EXTRA_HEADERS": {"X-Proxy": HEADER.encode()}},
    "header text": {**CONFIG, "DYNAMODB_EXTRA_HEADERS": f"X-Proxy: {HEADER}"},
    "header half a JSON": {**CONFIG, "DYNAMODB_EXTRA_HEADERS": f'{{"X-Proxy": "{HEADER}"'},
    "host": {**CONFIG, "DYNAMODB_HOST": f"http://user:{SECRET}@localhost"},
}


@pytest.mark.parametrize("case", BAD_CONFIGS)
def test_config_error_shows_no_secret(case: str) -> None:
    app = flask.Flask("tests")
    app.config.from_mapping(BAD_CONFIGS[case])

    with pytest.raises(ConfigError) as raised:
        PynamoDB(app)

    check_shows_no_secret("".join(traceback.format_exception(raised.value)))
    check_shows_no_secret(shown(raised.value) + repr(raised.value.args))


def test_error_of_meta_shows_no_secret(in_app: InApp) -> None:
    class Bad(Model):
        class Meta:
            table_name = "bad"
            aws_secret_access_key = SECRET
            aws_session_token = TOKEN

        id = UnicodeAttribute(hash_key=True)

    with in_app({}), pytest.raises(ConfigError) as raised:
        Bad.get("a")

    check_shows_no_secret("".join(traceback.format_exception(raised.value)))


COMMAND = """
import sys
import click
import flask
from dynamo_ext import Model, PynamoDB
from pynamodb.attributes import UnicodeAttribute

class Book(Model):
    class Meta:
        table_name = "book"
    id = UnicodeAttribute(hash_key=True)

def create_app():
    app = flask.Flask("tests")
    app.config.from_prefixed_env()
    PynamoDB(app)
    return app

flask.cli.FlaskGroup(create_app=create_app)(sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.parametrize("outcome", ["success", "denied", "config error"])
def test_commands_show_no_secret(run_python: RunPython, stub: Stub, outcome: str) -> None:
    if outcome == "denied":
        stub.always("CreateTable", error(400, "AccessDeniedException"))

    environment = {
        "FLASK_DYNAMODB_HOST": stub.url,
        "FLASK_DYNAMODB_AWS_ACCESS_KEY_ID": "12345" if outcome == "config error" else "AKID",
        "FLASK_DYNAMODB_AWS_SECRET_ACCESS_KEY": SECRET,
        "FLASK_DYNAMODB_AWS_SESSION_TOKEN": TOKEN,
        "FLASK_DYNAMODB_EXTRA_HEADERS": f'{{"X-Proxy": "{HEADER}"}}',
    }
    done = run_python(COMMAND, "dynamodb", "create-tables", env=environment)
    assert (done.returncode == 0) is (outcome == "success")
    check_shows_no_secret(done.stdout + done.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["dynamodb", "--help"], ["--help"], ["routes"]], ids=str)
def test_help_shows_no_secret(run_python: RunPython, arguments: list[str]) -> None:
    environment = {
        "FLASK_DYNAMODB_AWS_ACCESS_KEY_ID": "AKID",
        "FLASK_DYNAMODB_AWS_SECRET_ACCESS_KEY": SECRET,
    }
    done = run_python(COMMAND, *arguments, env=environment)
    assert done.returncode == 0, done.stderr
    check_shows_no_secret(done.stdout + done.stderr)


KEYS = [f"DYNAMODB_{name.upper()}" for name in Settings.__dataclass_fields__]
SECRET_KEYS = [key for key in KEYS if "SECRET" in key or "TOKEN" in key]
ALPHABET = string.printable + "é€\x00"

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(ALPHABET, max_size=20)
    | st.binary(max_size=10)
    | st.sampled_from(["local://", "http://localhost:8000", "5", "1e9", "{}", "[]", "raise"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(ALPHABET, max_size=10), inner)
    ),
    max_leaves=5,
)

# A secret with random characters around it, which may make it invalid.
secrets = st.builds(
    "{}{}{}".format, st.text(ALPHABET, max_size=3), st.just(SECRET), st.text(ALPHABET, max_size=3)
)
secret_headers = st.dictionaries(st.text(ALPHABET, max_size=10), secrets, max_size=3)
secret_hosts = st.builds(
    "{}{}{}{}@{}".format,
    st.sampled_from(["http://", "https://", "", "ftp://", "//"]),
    st.text("u:/?#[]80 ", max_size=5),
    st.just(SECRET),
    st.text(":/?#[] ", max_size=2),
    st.sampled_from(["localhost", "localhost:80", "[::1]", "localhost:x", ""]),
)

values: dict[t.Any, st.SearchStrategy[t.Any]] = {
    **dict.fromkeys(KEYS, anything),
    **dict.fromkeys(SECRET_KEYS, anything | secrets | secrets.map(str.encode)),
    "DYNAMODB_EXTRA_HEADERS": anything | secret_headers | secrets | st.lists(secrets),
    "DYNAMODB_HOST": anything | secret_hosts,
    "OTHER": anything,
    5: anything,
}
configs = st.fixed_dictionaries({}, optional=values)


@pytest.mark.slow
@hypothesis.settings(max_examples=examples(250), database=None)
@hypothesis.given(configs)
def test_any_mapping_gives_settings_or_a_config_error_that_names_a_key(
    config: dict[t.Any, t.Any],
) -> None:
    try:
        settings = Settings.from_mapping(config)
    except ConfigError as refused:
        message = "".join(traceback.format_exception_only(refused))
        named = any(f"'{key}'" in message for key in config)
    else:
        message = repr(settings)
        named = True

    assert named
    assert SECRET not in message
