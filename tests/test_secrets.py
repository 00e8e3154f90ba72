"""No repr, log line, message or command shows a secret. Secrets here are unique texts to find."""

from __future__ import annotations

import collections.abc as cabc
import json
import logging
import pathlib
import pprint
import string
import sys
import traceback
import types
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
from dynamo_ext.binding import meta
from strength import examples
from stub import RESET
from stub import THROTTLE
from stub import Answer
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
    "bind": lambda db: db.bind("eu"),
    "settings of a bind": lambda db: db.bind("eu").settings,
    "connection of a bind": lambda db: db.bind("eu").connection,
    "Meta in a bind": lambda db: db.using("eu")(lambda: Book.Meta)(),
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
    own = {key.removeprefix("DYNAMODB_"): value for key, value in CONFIG.items()}

    with in_app(stub_config | CONFIG, DYNAMODB_BINDS={"eu": own}) as db:
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


def chain_of(error: BaseException) -> list[BaseException]:
    """An error with its causes and contexts, also those that a traceback does not print."""
    chain: list[BaseException] = []
    left = [error]

    while left:
        if (one := left.pop()) not in chain:
            chain.append(one)
            left += [other for other in (one.__cause__, one.__context__) if other is not None]

    return chain


def frames_of_ours(error: BaseException) -> cabc.Iterator[types.FrameType]:
    for one in chain_of(error):
        for frame, _ in traceback.walk_tb(one.__traceback__):
            if frame.f_globals.get("__name__", "").partition(".")[0].startswith("dynamo_ext"):
                yield frame


def told_by(error: BaseException) -> str:
    """What a tool shows that reports errors: the messages of the whole chain, and the variables of
    each frame of ours."""
    told = [f"{one} {one!r} {one.args!r} {vars(one)!r}" for one in chain_of(error)]
    told += [f"{frame.f_code.co_name}: {frame.f_locals!r}" for frame in frames_of_ours(error)]
    return "\n".join(told)


def in_bind(values: object) -> dict[str, t.Any]:
    return {**CONFIG, "DYNAMODB_BINDS": {"eu": values}}


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
    "header twice": {**CONFIG, "DYNAMODB_EXTRA_HEADERS": {"X-Proxy": HEADER, "x-proxy": ""}},
    "header in a name": {**CONFIG, "DYNAMODB_EXTRA_HEADERS": {f"X-Proxy: {HEADER}": ""}},
    "header in a long name": {**CONFIG, "DYNAMODB_EXTRA_HEADERS": {f"{SECRET}": 5}},
    "host": {**CONFIG, "DYNAMODB_HOST": f"http://user:{SECRET}@localhost"},
    "host cut off": {**CONFIG, "DYNAMODB_HOST": f"http://user:{TOKEN}"},
    "host with query": {**CONFIG, "DYNAMODB_HOST": f"http://localhost/?token={TOKEN}"},
    "host with fragment": {**CONFIG, "DYNAMODB_HOST": f"http://localhost/#{TOKEN}"},
    "host without colon": {**CONFIG, "DYNAMODB_HOST": f"http//user:{TOKEN}"},
    "host encoded": {**CONFIG, "DYNAMODB_HOST": f"http://user%3A{TOKEN}%40localhost"},
    "region": {**CONFIG, "DYNAMODB_REGION": f"{SECRET}/"},
    "number": {**CONFIG, "DYNAMODB_READ_TIMEOUT_SECONDS": SECRET},
    "word": {**CONFIG, "DYNAMODB_BILLING_MODE": SECRET},
    "nested": {**CONFIG, "DYNAMODB_REGION": {"SECRET": [SECRET]}},
    "other key of a bind": in_bind({"AWS_SECRET_ACCESS_KEY": SECRET, "REGON": TOKEN}),
    "no id in a bind": in_bind({"AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": TOKEN}),
    "space in a bind": in_bind({"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": f"{SECRET} "}),
    "header of a bind": in_bind({"EXTRA_HEADERS": {"X-Proxy": f"{HEADER}\n"}}),
    "bind that is text": in_bind(f"AWS_SECRET_ACCESS_KEY={SECRET}"),
    "binds that are half a JSON": {"DYNAMODB_BINDS": f'{{"eu": {{"AWS_SESSION_TOKEN": "{TOKEN}"'},
    "bind beside a wrong one": {
        "DYNAMODB_BINDS": {"eu": {"EXTRA_HEADERS": {"X-Proxy": HEADER}}, "us": {"REGION": 5}}
    },
}


@pytest.mark.parametrize("case", BAD_CONFIGS)
def test_config_error_shows_no_secret(case: str) -> None:
    app = flask.Flask("tests")
    app.config.from_mapping(BAD_CONFIGS[case])

    with pytest.raises(ConfigError) as raised:
        PynamoDB(app)

    check_shows_no_secret(told_by(raised.value))


def test_error_of_meta_shows_no_secret(in_app: InApp) -> None:
    class Bad(Model):
        class Meta:
            table_name = "bad"
            aws_secret_access_key = SECRET
            aws_session_token = TOKEN

        id = UnicodeAttribute(hash_key=True)

    with in_app(CONFIG), pytest.raises(ConfigError) as raised:
        Bad.get("a")

    check_shows_no_secret(told_by(raised.value))


@pytest.mark.once(reason="app.config is read, and no call is sent")
def test_error_of_the_file_with_the_credentials_shows_no_line_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    file = tmp_path / "credentials"
    file.write_text(f"[default]\naws_secret_access_key {SECRET}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))

    with pytest.raises(ConfigError, match="AWS's own configuration can't be read") as raised:
        PynamoDB(flask.Flask("tests"))

    check_shows_no_secret(told_by(raised.value))


def test_warning_that_is_an_error_shows_no_secret() -> None:
    app = flask.Flask("tests")
    app.config.from_mapping(CONFIG, DYNAMODB_REGOIN="eu-west-3")

    with pytest.raises(UserWarning, match="DYNAMODB_REGOIN") as raised:
        PynamoDB(app)

    check_shows_no_secret(told_by(raised.value))


class OfUser(UnicodeAttribute):
    """An attribute whose code fails."""

    def serialize(self, value: t.Any) -> str:
        raise ZeroDivisionError

    deserialize = serialize


class MetaOfUser(type):
    """A Meta, one value of which is computed, after the credentials were read."""

    @property
    def table_name_prefix(cls) -> str:
        raise ZeroDivisionError

    @property
    def transport(cls) -> str:
        raise ZeroDivisionError


class MetaWithSecrets:
    table_name = "fails"
    aws_access_key_id = "AKIDOFTHEMODEL"
    aws_secret_access_key = SECRET
    aws_session_token = TOKEN
    extra_headers: t.ClassVar[dict[str, str]] = {"X-Proxy": HEADER}


class Fails(Model):
    Meta = MetaWithSecrets
    id = UnicodeAttribute(hash_key=True)
    text = OfUser(null=True)


class FailsInMeta(Model):
    class Meta(MetaWithSecrets, metaclass=MetaOfUser):
        pass

    id = UnicodeAttribute(hash_key=True)


class FailsInSchema(Model):
    class Meta(MetaWithSecrets):
        pass

    id = UnicodeAttribute(hash_key=True)

    @classmethod
    def _get_schema(cls) -> t.Any:
        raise ZeroDivisionError


def fail(*args: object, **event: object) -> None:
    raise ZeroDivisionError


def get_with_handler(event: str) -> cabc.Callable[[PynamoDB], object]:
    def get(db: PynamoDB) -> object:
        events = Book._get_connection().connection.client.meta.events
        events.register(f"{event}.dynamodb.GetItem", fail)

        try:
            return Book.get("a")
        finally:
            events.unregister(f"{event}.dynamodb.GetItem", fail)

    return get


def put_what_is_no_json(db: PynamoDB) -> None:
    item = {"id": {"S": object()}}
    db.connection.dispatch("PutItem", {"TableName": "book", "Item": item})


FAILING_CODE: dict[str, cabc.Callable[[PynamoDB], object]] = {
    "json": put_what_is_no_json,
    "serialize": lambda db: Fails("a", text="b").save(),
    "deserialize": lambda db: Fails.get("a"),
    "Meta": lambda db: FailsInMeta.get("a"),
    "schema": lambda db: FailsInSchema.get("a"),
    **{
        event: get_with_handler(event)
        for event in ("before-call", "request-created", "before-sign", "before-send", "after-call")
    },
}


@pytest.mark.botocore(reason="handlers of botocore's events are a matter of this transport")
@pytest.mark.parametrize("case", FAILING_CODE)
def test_no_frame_of_ours_holds_a_secret_while_code_of_the_app_fails(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any], case: str
) -> None:
    stub.always("GetItem", Answer(body={"Item": {"id": {"S": "a"}, "text": {"S": "b"}}}))

    with (
        in_app(stub_config | CONFIG) as db,
        pytest.raises((ZeroDivisionError, TypeError)) as raised,
    ):
        FAILING_CODE[case](db)

    check_shows_no_secret(told_by(raised.value))


@pytest.mark.once(reason="the test names its transport")
def test_no_frame_of_ours_holds_a_secret_while_a_client_is_made(
    in_app: InApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Python raises an ImportError for a module that is None.
    monkeypatch.setitem(sys.modules, "dynamo_ext.transport.direct.client", t.cast(t.Any, None))

    with (
        in_app(CONFIG, DYNAMODB_TRANSPORT="direct") as db,
        pytest.raises(ImportError, match="direct") as raised,
    ):
        db.connection.list_tables()

    check_shows_no_secret(told_by(raised.value))


def test_proxy_that_does_not_answer_keeps_its_password(
    in_app: InApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://user:{SECRET}@127.0.0.1:9")
    config = {**CONFIG, "DYNAMODB_HOST": "http://db.example", "DYNAMODB_MAX_RETRY_ATTEMPTS": 0}

    with in_app(config), pytest.raises(PynamoDBException, match="proxy") as raised:
        Book.get("a")

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
@pytest.mark.once(reason="a process of its own has its own default")
@pytest.mark.parametrize("outcome", ["success", "denied", "config error"])
def test_commands_show_no_secret(run_warm_python: RunPython, stub: Stub, outcome: str) -> None:
    if outcome == "denied":
        stub.always("CreateTable", error(400, "AccessDeniedException"))

    environment = {
        "FLASK_DYNAMODB_HOST": stub.url,
        "FLASK_DYNAMODB_AWS_ACCESS_KEY_ID": "12345" if outcome == "config error" else "AKID",
        "FLASK_DYNAMODB_AWS_SECRET_ACCESS_KEY": SECRET,
        "FLASK_DYNAMODB_AWS_SESSION_TOKEN": TOKEN,
        "FLASK_DYNAMODB_EXTRA_HEADERS": f'{{"X-Proxy": "{HEADER}"}}',
    }
    done = run_warm_python(COMMAND, "dynamodb", "create-tables", env=environment)
    assert (done.returncode == 0) is (outcome == "success")
    check_shows_no_secret(done.stdout + done.stderr)


@pytest.mark.slow
@pytest.mark.once(reason="no call is sent")
@pytest.mark.parametrize("arguments", [["dynamodb", "--help"], ["--help"], ["routes"]], ids=str)
def test_help_shows_no_secret(run_warm_python: RunPython, arguments: list[str]) -> None:
    environment = {
        "FLASK_DYNAMODB_AWS_ACCESS_KEY_ID": "AKID",
        "FLASK_DYNAMODB_AWS_SECRET_ACCESS_KEY": SECRET,
    }
    done = run_warm_python(COMMAND, *arguments, env=environment)
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
# Without an "@", which alone would be a sign of a password.
secret_urls = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["http://", "https://", "http//", "http:", "//", ""]),
    st.sampled_from(["user:", "localhost/?token=", "localhost?", "localhost/#", "localhost:80#a="]),
    secrets,
    st.sampled_from(["", "%40localhost", "/", ":80", "&a=b"]),
)
secret_hosts = secret_urls | st.builds(
    "{}{}{}{}@{}".format,
    st.sampled_from(["http://", "https://", "", "ftp://", "//"]),
    st.text("u:/?#[]80 ", max_size=5),
    st.just(SECRET),
    st.text(":/?#[] ", max_size=2),
    st.sampled_from(["localhost", "localhost:80", "[::1]", "localhost:x", ""]),
)

secret_binds = st.dictionaries(
    st.text(ALPHABET, max_size=10) | secrets,
    st.dictionaries(
        st.sampled_from([key.removeprefix("DYNAMODB_") for key in KEYS])
        | st.text(ALPHABET, max_size=10)
        | secrets,
        anything | secrets | secret_headers,
        max_size=3,
    ),
    max_size=2,
)


def as_json(value: t.Any) -> str:
    return json.dumps(value, default=str)


values: dict[t.Any, st.SearchStrategy[t.Any]] = {
    **dict.fromkeys(KEYS, anything),
    **dict.fromkeys(SECRET_KEYS, anything | secrets | secrets.map(str.encode)),
    "DYNAMODB_EXTRA_HEADERS": anything | secret_headers | secrets | st.lists(secrets),
    "DYNAMODB_HOST": anything | secret_hosts,
    "DYNAMODB_BINDS": anything | secret_binds | secret_binds.map(as_json),
    "OTHER": anything,
    5: anything,
}
configs = st.fixed_dictionaries({}, optional=values)


@pytest.mark.slow
@pytest.mark.once(reason="no call is sent")
@hypothesis.settings(max_examples=examples(250), database=None)
@hypothesis.given(configs)
def test_any_mapping_gives_settings_or_a_config_error_that_names_a_key(
    config: dict[t.Any, t.Any],
) -> None:
    try:
        settings = Settings.from_mapping(config)
    except ConfigError as refused:
        message = "".join(traceback.format_exception_only(refused))
        named = any(f"'{key}'" in message or f"{key}[" in message for key in config)
    else:
        message = repr(settings)
        named = True

    assert named
    assert SECRET not in message


# Where a secret may have got to by mistake: into any setting, and anywhere in its value.
misplaced = st.recursive(
    secrets | secrets.map(str.encode) | secret_urls,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=2)
        | st.lists(inner, min_size=1, max_size=2).map(tuple)
        | st.dictionaries(st.text(max_size=3) | secrets, inner, min_size=1, max_size=2)
    ),
    max_leaves=3,
)
misplaced_configs = st.dictionaries(
    st.sampled_from(KEYS) | st.just("DYNAMODB_HOST"),
    secret_urls | misplaced,
    min_size=1,
    max_size=2,
)


def check_refusal_shows_no_secret(read: cabc.Callable[[], object]) -> None:
    try:
        read()
    except ConfigError as refused:
        check_shows_no_secret(told_by(refused))


@pytest.mark.slow
@pytest.mark.once(reason="app.config is read, and no call is sent")
@hypothesis.settings(max_examples=examples(100), database=None)
@hypothesis.given(misplaced_configs)
def test_no_refusal_shows_a_secret_wherever_it_is(config: dict[str, t.Any]) -> None:
    config.setdefault("DYNAMODB_REGION", "eu-west-3")
    declared = {key.removeprefix("DYNAMODB_").lower(): value for key, value in config.items()}
    declared_meta = type("Meta", (), {"table_name": "book", **declared})
    check_refusal_shows_no_secret(lambda: Settings.from_mapping(config))
    of_app = meta.AppValues(Settings())
    check_refusal_shows_no_secret(lambda: meta.resolve("Book", declared_meta, of_app))
