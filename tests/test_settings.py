from __future__ import annotations

import collections.abc as cabc
import dataclasses
import json
import math
import pathlib
import random
import re
import threading
import types
import typing as t
from unittest import mock

import botocore.exceptions
import flask
import pytest
import quart
from pynamodb.attributes import UnicodeAttribute

import dynamo_ext_async
from conftest import InApp
from conftest import RunPython
from dynamo_ext import ConfigError
from dynamo_ext import Model
from dynamo_ext import PoolTimeout
from dynamo_ext import Settings
from dynamo_ext.client.endpoint import Endpoint
from dynamo_ext.config.settings import SETTINGS
from dynamo_ext.config.settings import Setting
from stub import HOLD
from stub import Stub

pytestmark = pytest.mark.once(reason="app.config is read, and no call is sent")

# All values are different, and differ from the defaults, so that a test notices a mix-up.
ALL: dict[str, t.Any] = {
    "DYNAMODB_REGION": "eu-west-3",
    "DYNAMODB_HOST": "http://127.0.0.1:8123",
    "DYNAMODB_CONNECT_TIMEOUT_SECONDS": 2.5,
    "DYNAMODB_READ_TIMEOUT_SECONDS": 7.25,
    "DYNAMODB_BASE_BACKOFF_MS": 40,
    "DYNAMODB_MAX_RETRY_ATTEMPTS": 4,
    "DYNAMODB_MAX_POOL_CONNECTIONS": 6,
    "DYNAMODB_EXTRA_HEADERS": {"X-Proxy": "let me in"},
    "DYNAMODB_READ_CAPACITY_UNITS": 11,
    "DYNAMODB_WRITE_CAPACITY_UNITS": 13,
    "DYNAMODB_AWS_ACCESS_KEY_ID": "AKIDDISTINCT",
    "DYNAMODB_AWS_SECRET_ACCESS_KEY": "a secret/of+its=own",
    "DYNAMODB_AWS_SESSION_TOKEN": "a-token",
    "DYNAMODB_POOL_TIMEOUT_SECONDS": 3.75,
    "DYNAMODB_CALL_TIMEOUT_SECONDS": 21.5,
    "DYNAMODB_SLOW_CALL_MS": 125.5,
    "DYNAMODB_BLOCKING_CALLS": "raise",
    "DYNAMODB_RECORD_CALLS": True,
    "DYNAMODB_UNCERTAIN_WRITES": "raise",
    "DYNAMODB_TABLE_NAME_PREFIX": "stage-",
    "DYNAMODB_BILLING_MODE": "PROVISIONED",
    "DYNAMODB_TRANSPORT": "botocore",
}

# Apart from the others, since they consist of settings; test_binds.py tests them.
NO_BINDS = {"binds": None}

SECRETS = [name for name, setting in SETTINGS.items() if setting.secret]

AS_TEXT = {
    key: '{"X-Proxy": "let me in"}' if key == "DYNAMODB_EXTRA_HEADERS" else str(value)
    for key, value in ALL.items()
}

DEFAULTS: dict[str, t.Any] = {
    "region": "us-east-1",
    "host": None,
    "connect_timeout_seconds": 15,
    "read_timeout_seconds": 30,
    "base_backoff_ms": 25,
    "max_retry_attempts": 3,
    "max_pool_connections": 10,
    "extra_headers": None,
    "read_capacity_units": None,
    "write_capacity_units": None,
    "aws_access_key_id": None,
    "aws_secret_access_key": None,
    "aws_session_token": None,
    "pool_timeout_seconds": 30,
    "call_timeout_seconds": None,
    "slow_call_ms": None,
    "blocking_calls": None,
    "record_calls": None,
    "uncertain_writes": "retry",
    "table_name_prefix": "",
    "billing_mode": None,
    "transport": "auto",
    **NO_BINDS,
}

ON_CLIENT: dict[str, dict[str, t.Any]] = {
    "DYNAMODB_REGION": {
        "region": "eu-west-3",
        "endpoint_url": "https://dynamodb.eu-west-3.amazonaws.com",
    },
    "DYNAMODB_HOST": {"endpoint_url": "http://127.0.0.1:8123"},
    "DYNAMODB_CONNECT_TIMEOUT_SECONDS": {"connect_timeout": 2.5},
    "DYNAMODB_READ_TIMEOUT_SECONDS": {"read_timeout": 7.25},
    "DYNAMODB_BASE_BACKOFF_MS": {"base_backoff_ms": 40},
    "DYNAMODB_MAX_RETRY_ATTEMPTS": {"retries": {"mode": "standard", "total_max_attempts": 5}},
    "DYNAMODB_MAX_POOL_CONNECTIONS": {"max_pool_connections": 6},
}

UNTOUCHED_CLIENT: dict[str, t.Any] = {
    "region": "us-east-1",
    "endpoint_url": "https://dynamodb.us-east-1.amazonaws.com",
    "connect_timeout": 15,
    "read_timeout": 30,
    "base_backoff_ms": 25,
    "retries": {"mode": "standard", "total_max_attempts": 4},
    "max_pool_connections": 10,
}


class Book(Model):
    class Meta:
        table_name = "book"

    id = UnicodeAttribute(hash_key=True)


def on_client(client: t.Any) -> dict[str, t.Any]:
    config = client.meta.config
    return {
        "region": client.meta.region_name,
        "endpoint_url": client.meta.endpoint_url,
        "connect_timeout": config.connect_timeout,
        "read_timeout": config.read_timeout,
        "base_backoff_ms": base_backoff_ms(client),
        "retries": config.retries,
        "max_pool_connections": config.max_pool_connections,
    }


def effective(model: type[Model]) -> t.Any:
    """A model's Meta in the current app, without the type of the declared one."""
    return model.Meta


def base_backoff_ms(client: t.Any) -> int:
    """The longest wait before the first retry, computed from the client's own handlers."""
    random.seed(0)

    with mock.patch("time.sleep") as sleep:
        client.meta.events.emit(
            "needs-retry.dynamodb.GetItem",
            response=None,
            operation=client.meta.service_model.operation_model("GetItem"),
            attempts=1,
            caught_exception=botocore.exceptions.EndpointConnectionError(endpoint_url="x"),
            request_dict={"context": {}},
        )

    [((delay,), _)] = sleep.call_args_list
    # botocore draws random numbers, too: the right one makes the base a whole number.
    draws = random.Random(0)
    bases: list[float] = [delay * 1000 / draws.random() for _ in range(5)]
    return next(round(base) for base in bases if math.isclose(base, round(base), abs_tol=1e-6))


def attributes(config: cabc.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {key.removeprefix("DYNAMODB_").lower(): value for key, value in config.items()}


@pytest.mark.botocore(reason="the setting has its own default")
def test_every_setting_has_its_default() -> None:
    assert vars(Settings.from_mapping({})) == DEFAULTS
    assert vars(Settings()) == DEFAULTS


@pytest.mark.botocore(reason="the setting has its own default")
def test_none_means_not_set() -> None:
    assert vars(Settings.from_mapping(dict.fromkeys(ALL))) == DEFAULTS


def test_every_setting_is_read() -> None:
    assert vars(Settings.from_mapping(ALL)) == attributes(ALL) | NO_BINDS


def test_text_is_converted() -> None:
    settings = Settings.from_mapping(AS_TEXT)
    assert vars(settings) == attributes(ALL) | NO_BINDS
    assert type(settings.max_retry_attempts) is int


def test_other_keys_are_left_alone() -> None:
    assert Settings.from_mapping({"DEBUG": 1, "SECRET_KEY": "x"}) == Settings()


def test_settings_of_the_current_app(in_app: InApp) -> None:
    with in_app({}, DYNAMODB_REGION="eu-west-1") as outer:
        with in_app({}, DYNAMODB_REGION="eu-west-2") as inner:
            assert inner.settings.region == "eu-west-2"

        assert outer.settings.region == "eu-west-1"


def test_settings_are_read_once(in_app: InApp) -> None:
    with in_app({}) as db:
        flask.current_app.config["DYNAMODB_REGION"] = "eu-west-1"
        assert db.settings.region == "us-east-1"


@pytest.mark.parametrize("config", [ALL, AS_TEXT], ids=["values", "text"])
@pytest.mark.parametrize("key", ON_CLIENT)
def test_setting_alone_reaches_client(in_app: InApp, config: dict[str, t.Any], key: str) -> None:
    with in_app({key: config[key]}) as db:
        for client in (db.connection.client, Book._get_connection().connection.client):
            assert on_client(client) == UNTOUCHED_CLIENT | ON_CLIENT[key]


def test_settings_of_prefixed_environment_reach_client(
    in_app: InApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, text in AS_TEXT.items():
        monkeypatch.setenv(f"FLASK_{key}", text)

    config = flask.Config(".")
    assert config.from_prefixed_env()

    with in_app(config) as db:
        assert vars(db.settings) == attributes(ALL) | NO_BINDS
        assert db.pool.size == 6
        assert db.connection.client.meta.endpoint_url == "http://127.0.0.1:8123"
        assert base_backoff_ms(db.connection.client) == 40


def test_headers_of_prefixed_environment_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_DYNAMODB_EXTRA_HEADERS__X-Proxy", "let me in")
    config = flask.Config(".")
    config.from_prefixed_env()
    assert Settings.from_mapping(config).extra_headers == {"X-Proxy": "let me in"}


async def quart_settings() -> Settings:
    app = quart.Quart("tests")
    app.config.from_prefixed_env()
    db = dynamo_ext_async.PynamoDB(app)

    async with app.app_context():
        return db.settings


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_settings_of_quart_app(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, text in AS_TEXT.items():
        monkeypatch.setenv(f"QUART_{key}", text)

    assert vars(await quart_settings()) == attributes(ALL) | NO_BINDS


@pytest.mark.parametrize("key", ON_CLIENT)
def test_meta_wins_over_app(in_app: InApp, key: str) -> None:
    declared = {"table_name": "shelf", **attributes({key: ALL[key]})}

    class Shelf(Model):
        Meta = type("Meta", (), declared)
        id = UnicodeAttribute(hash_key=True)

    others: dict[str, t.Any] = {
        "DYNAMODB_REGION": "us-west-2",
        "DYNAMODB_CONNECT_TIMEOUT_SECONDS": 1.5,
        "DYNAMODB_READ_TIMEOUT_SECONDS": 1.75,
        "DYNAMODB_BASE_BACKOFF_MS": 77,
        "DYNAMODB_MAX_RETRY_ATTEMPTS": 8,
        "DYNAMODB_MAX_POOL_CONNECTIONS": 9,
        "DYNAMODB_HOST": "http://127.0.0.1:8999",
    }

    with in_app(others) as db:
        of_app = on_client(db.connection.client)
        expected = {**of_app, **ON_CLIENT[key]}

        if key != "DYNAMODB_HOST":
            expected["endpoint_url"] = "http://127.0.0.1:8999"

        connection = Shelf._get_connection().connection
        assert on_client(connection.client) == expected
        assert on_client(Book._get_connection().connection.client) == of_app
        assert connection.engine.pool.size == expected["max_pool_connections"]
        name = key.removeprefix("DYNAMODB_").lower()
        assert getattr(effective(Shelf), name) == ALL[key]


def test_meta_is_converted_like_settings(in_app: InApp) -> None:
    class Shelf(Model):
        class Meta:
            table_name = "shelf"
            max_retry_attempts = "0"
            read_capacity_units = "5"
            host = "http://127.0.0.1:8123/"

        id = UnicodeAttribute(hash_key=True)

    with in_app({}):
        assert effective(Shelf).max_retry_attempts == 0
        assert effective(Shelf).read_capacity_units == 5
        assert effective(Shelf).host == "http://127.0.0.1:8123"


def test_falsy_settings_win_over_defaults(in_app: InApp) -> None:
    with in_app({}, DYNAMODB_MAX_RETRY_ATTEMPTS=0) as db:
        client: t.Any = db.connection.client
        assert client.meta.config.retries["total_max_attempts"] == 1

    with in_app({}, DYNAMODB_BASE_BACKOFF_MS=0) as db:
        assert base_backoff_ms(db.connection.client) == 0

    with in_app({}, DYNAMODB_EXTRA_HEADERS={}, DYNAMODB_TABLE_NAME_PREFIX="") as db:
        assert db.settings.extra_headers == {}
        assert effective(Book).table_name == "book"


def test_falsy_meta_wins_over_app(in_app: InApp) -> None:
    class Shelf(Model):
        class Meta:
            table_name = "shelf"
            max_retry_attempts = 0
            base_backoff_ms = 0
            extra_headers: t.ClassVar[dict[str, str]] = {}
            table_name_prefix = ""

        id = UnicodeAttribute(hash_key=True)

    with in_app(ALL):
        meta = effective(Shelf)
        assert meta.max_retry_attempts == 0
        assert meta.base_backoff_ms == 0
        assert meta.extra_headers == {}
        assert meta.table_name == "shelf"
        endpoint = Shelf._get_connection().connection.engine.endpoint
        assert endpoint.max_retry_attempts == 0
        assert endpoint.base_backoff_ms == 0
        assert endpoint.extra_headers == frozenset()


def test_none_in_meta_means_not_declared(in_app: InApp) -> None:
    class Shelf(Model):
        class Meta:
            table_name = "shelf"
            region = None
            host = None
            max_retry_attempts = None

        id = UnicodeAttribute(hash_key=True)

    with in_app(ALL):
        assert effective(Shelf).region == "eu-west-3"
        assert effective(Shelf).host == "http://127.0.0.1:8123"
        assert effective(Shelf).max_retry_attempts == 4


def test_region_of_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-south-1")
    assert Settings.from_mapping({}).region == "ap-south-1"


def test_region_of_profile(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "config"
    file.write_text("[default]\nregion = sa-east-1\n[profile work]\nregion = ap-south-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    assert Settings.from_mapping({}).region == "sa-east-1"
    monkeypatch.setenv("AWS_PROFILE", "work")
    assert Settings.from_mapping({}).region == "ap-south-1"


def test_region_of_settings_wins_over_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-south-1")
    assert Settings.from_mapping({"DYNAMODB_REGION": "eu-west-3"}).region == "eu-west-3"


def test_region_of_environment_reaches_client(
    in_app: InApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-south-1")

    with in_app({}) as db:
        assert db.connection.client.meta.region_name == "ap-south-1"


@pytest.mark.parametrize("host", [{}, {"DYNAMODB_HOST": "http://127.0.0.1:8123"}])
def test_region_that_only_the_cli_of_others_reads_is_named(
    monkeypatch: pytest.MonkeyPatch, host: dict[str, str]
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-3")

    with pytest.warns(UserWarning, match="'AWS_REGION' is 'eu-west-3'.*'AWS_DEFAULT_REGION'"):
        assert Settings.from_mapping(host).region == "us-east-1"


@pytest.mark.parametrize(
    ("config", "environment"),
    [
        ({"DYNAMODB_REGION": "eu-west-1"}, {}),
        ({}, {"AWS_DEFAULT_REGION": "eu-west-1"}),
        ({}, {"AWS_REGION": "us-east-1"}),
        ({}, {"AWS_REGION": ""}),
        ({"DYNAMODB_HOST": "local://"}, {}),
    ],
)
def test_region_of_the_environment_that_changes_nothing_is_not_named(
    monkeypatch: pytest.MonkeyPatch, config: dict[str, str], environment: dict[str, str]
) -> None:
    for name, value in {"AWS_REGION": "eu-west-3", **environment}.items():
        monkeypatch.setenv(name, value)

    Settings.from_mapping(config)


LOST_PREFIX = r"without the prefix 'DYNAMODB_' has no effect"


@pytest.mark.parametrize("app", [flask.Flask("app"), quart.Quart("app")], ids=["Flask", "Quart"])
@pytest.mark.parametrize(
    "variables",
    [
        {"DYNAMODB_HOST": "http://127.0.0.1:8123"},
        {"DYNAMODB_MAX_RETRY_ATTEMPTS": "5"},
        {"DYNAMODB_EXTRA_HEADERS": '{"X-Team": "blue"}'},
        {"DYNAMODB_AWS_ACCESS_KEY_ID": "id", "DYNAMODB_AWS_SECRET_ACCESS_KEY": "hush-hush"},
    ],
)
def test_prefix_that_flask_has_removed_is_named(
    monkeypatch: pytest.MonkeyPatch, app: flask.Flask | quart.Quart, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    app.config.from_prefixed_env("DYNAMODB")

    with pytest.warns(UserWarning, match=LOST_PREFIX) as warned:
        settings = Settings.from_mapping(app.config)

    message = str(warned[0].message)
    assert settings == Settings()
    assert "app.config.from_prefixed_env()" in message
    assert "hush-hush" not in message

    for name in variables:
        assert f"'{name.removeprefix('DYNAMODB_')}'" in message
        assert f"'FLASK_{name}'" in message


@pytest.mark.parametrize(
    "config",
    [
        {"HOST": "http://127.0.0.1:8123", "REGION": "eu-west-1"},
        {"REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"},
        {"TABLE_NAME_PREFIX": "stage-", "READ_TIMEOUT_SECONDS": 5},
    ],
)
def test_several_settings_without_their_prefix_are_named(config: dict[str, t.Any]) -> None:
    with pytest.warns(UserWarning, match=LOST_PREFIX):
        Settings.from_mapping(config)


@pytest.mark.parametrize(
    "config",
    [
        {"HOST": "127.0.0.1"},
        {"HOST": "https://example.org"},
        {"HOST": "0.0.0.0", "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"},
        {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"},
        {"REGION": "north"},
        {"READ_TIMEOUT_SECONDS": 5, "CONNECT_TIMEOUT_SECONDS": 5},
        {"HOST": "http://a", "REGION": "north", "DYNAMODB_REGION": "eu-west-1"},
        {"HOST": None, "REGION": None, "AWS_ACCESS_KEY_ID": None},
    ],
)
def test_keys_of_others_are_not_named(
    monkeypatch: pytest.MonkeyPatch, config: dict[str, t.Any]
) -> None:
    monkeypatch.setenv("DYNAMODB_HOST", "http://127.0.0.1:8000")
    Settings.from_mapping(config)


def test_warning_points_to_the_line_that_sets_the_extension_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DYNAMODB_HOST", "local://")
    app = flask.Flask("app")
    app.config.from_prefixed_env("DYNAMODB")

    with pytest.warns(UserWarning, match=LOST_PREFIX) as warned:
        dynamo_ext_async.PynamoDB(app)

    assert warned[0].filename == __file__


OVERRIDE_FILE = """
region = "eu-west-3"
host = "http://127.0.0.1:8123"
connect_timeout_seconds = 2.5
read_timeout_seconds = 7.25
base_backoff_ms = 40
max_retry_attempts = 4
max_pool_connections = 6
extra_headers = {"X-Proxy": "let me in"}
"""

PRINT_SETTINGS = """
import json, sys
from dynamo_ext import Settings

print(json.dumps(vars(Settings.from_mapping(json.loads(sys.argv[1])))))
"""

BINDING = """
import json
import math
import flask
from dynamo_ext import Model, PynamoDB
from pynamodb.attributes import UnicodeAttribute

class Shelf(Model):
    class Meta:
        table_name = "shelf"
        max_retry_attempts = 0
    id = UnicodeAttribute(hash_key=True)

app = flask.Flask("x")
app.config["DYNAMODB_READ_TIMEOUT_SECONDS"] = 1.5
db = PynamoDB(app)
client = Shelf._get_connection().connection.client
config = client.meta.config
print(json.dumps([
    client.meta.region_name, config.connect_timeout, config.read_timeout,
    config.retries["total_max_attempts"], Shelf.Meta.max_pool_connections,
]))
"""


@pytest.fixture
def override_file(tmp_path: pathlib.Path) -> cabc.Callable[[str], dict[str, str]]:
    """Write PynamoDB's own override file; PynamoDB reads it when it is imported."""

    def write(content: str) -> dict[str, str]:
        file = tmp_path / "override.py"
        file.write_text(content)
        return {"PYNAMODB_CONFIG": str(file)}

    return write


OverrideFile = cabc.Callable[[str], dict[str, str]]


def test_override_file_wins_over_defaults(
    run_python: RunPython, override_file: OverrideFile
) -> None:
    environment = {**override_file(OVERRIDE_FILE), "AWS_DEFAULT_REGION": "ap-south-1"}
    done = run_python(PRINT_SETTINGS, "{}", env=environment)
    assert done.stderr == ""
    overridden = {key: ALL[key] for key in (*ON_CLIENT, "DYNAMODB_EXTRA_HEADERS")}
    assert json.loads(done.stdout) == DEFAULTS | attributes(overridden)


def test_settings_win_over_override_file(
    run_python: RunPython, override_file: OverrideFile
) -> None:
    config: dict[str, t.Any] = {
        "DYNAMODB_REGION": "us-west-2",
        "DYNAMODB_HOST": "http://127.0.0.1:8999",
        "DYNAMODB_CONNECT_TIMEOUT_SECONDS": 1.5,
        "DYNAMODB_READ_TIMEOUT_SECONDS": 1.75,
        "DYNAMODB_BASE_BACKOFF_MS": 0,
        "DYNAMODB_MAX_RETRY_ATTEMPTS": 0,
        "DYNAMODB_MAX_POOL_CONNECTIONS": 9,
        "DYNAMODB_EXTRA_HEADERS": {},
    }
    done = run_python(PRINT_SETTINGS, json.dumps(config), env=override_file(OVERRIDE_FILE))
    assert json.loads(done.stdout) == DEFAULTS | attributes(config)


def test_meta_wins_over_settings_and_they_over_override_file(
    run_python: RunPython, override_file: OverrideFile
) -> None:
    done = run_python(BINDING, env=override_file(OVERRIDE_FILE))
    assert done.stderr == ""
    assert json.loads(done.stdout) == ["eu-west-3", 2.5, 1.5, 1, 6]


def test_wrong_value_in_override_file_is_named(
    run_python: RunPython, override_file: OverrideFile
) -> None:
    done = run_python(PRINT_SETTINGS, "{}", env=override_file("max_retry_attempts = 'many'"))
    assert done.stderr.splitlines()[-1] == (
        "dynamo_ext.errors.ConfigError: 'max_retry_attempts' in the file that PYNAMODB_CONFIG"
        " names must be a whole number, from 0 to 1000000; it is 'many'."
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "retry_configuration",
            "'retry_configuration' in the file that PYNAMODB_CONFIG names has no effect in"
            " dynamo-ext.",
        ),
        (
            "table_name_prefix",
            "'table_name_prefix' in the file that PYNAMODB_CONFIG names has no effect in"
            " dynamo-ext. Set 'DYNAMODB_TABLE_NAME_PREFIX' in app.config instead.",
        ),
    ],
)
def test_what_has_no_effect_in_the_override_file_is_named(
    run_python: RunPython, override_file: OverrideFile, name: str, message: str
) -> None:
    file = override_file(f"import os\nstage = os.sep\n{name} = 'x'")
    done = run_python(PRINT_SETTINGS, "{}", env=file)
    assert done.stderr.splitlines()[-1] == f"UserWarning: {message}"


def test_pool_has_the_size_of_the_setting(in_app: InApp) -> None:
    with in_app({}, DYNAMODB_MAX_POOL_CONNECTIONS="3") as db:
        assert db.pool.size == 3


def test_pool_timeout(in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]) -> None:
    stub.always("ListTables", HOLD)
    settings = {"DYNAMODB_MAX_POOL_CONNECTIONS": 1, "DYNAMODB_POOL_TIMEOUT_SECONDS": "0.05"}

    with in_app(stub_config, **settings) as db:
        connection = db.connection
        holder = threading.Thread(target=connection.list_tables)
        holder.start()
        stub.wait_for(lambda: stub.in_flight == 1)

        with pytest.raises(PoolTimeout, match=r"within 0\.05 s: 1 of 1 are in use") as raised:
            connection.list_tables()

        assert raised.value.timeout == 0.05
        stub.release()
        holder.join()

    assert stub.operations == ["ListTables"]


@pytest.mark.parametrize(
    ("capacity", "mode"),
    [
        ({}, "PAY_PER_REQUEST"),
        ({"DYNAMODB_READ_CAPACITY_UNITS": 5}, "PROVISIONED"),
        ({"DYNAMODB_WRITE_CAPACITY_UNITS": 5}, "PROVISIONED"),
    ],
    ids=["none", "read", "write"],
)
def test_billing_mode_follows_capacity(in_app: InApp, capacity: dict[str, int], mode: str) -> None:
    with in_app(capacity):
        assert effective(Book).billing_mode == mode


def test_billing_mode_of_app_wins_over_capacity(in_app: InApp) -> None:
    capacity = {"DYNAMODB_READ_CAPACITY_UNITS": 5, "DYNAMODB_WRITE_CAPACITY_UNITS": 5}

    with in_app(capacity, DYNAMODB_BILLING_MODE="PAY_PER_REQUEST"):
        assert effective(Book).billing_mode == "PAY_PER_REQUEST"


def test_billing_mode_of_meta_wins_over_app(in_app: InApp) -> None:
    class Shelf(Model):
        class Meta:
            table_name = "shelf"
            billing_mode = "PAY_PER_REQUEST"

        id = UnicodeAttribute(hash_key=True)

    with in_app({}, DYNAMODB_BILLING_MODE="PROVISIONED"):
        assert effective(Shelf).billing_mode == "PAY_PER_REQUEST"


def test_other_transport_is_refused() -> None:
    with pytest.raises(
        ConfigError, match="'DYNAMODB_TRANSPORT' must be 'auto' or 'botocore' or 'direct'"
    ):
        Settings.from_mapping({"DYNAMODB_TRANSPORT": "pigeon"})


def test_endpoint_has_the_settings_of_its_scope() -> None:
    wanted = {name for name, setting in SETTINGS.items() if setting.scope == "endpoint"}
    types_of_settings = {**t.get_type_hints(Settings), "extra_headers": frozenset[tuple[str, str]]}

    assert t.get_type_hints(Endpoint) == {name: types_of_settings[name] for name in wanted}
    assert {field.name for field in dataclasses.fields(Endpoint)} == wanted


def test_endpoint_can_be_a_key_and_shows_no_secret() -> None:
    values = {**vars(Settings.from_mapping(ALL)), **{name: name for name in SECRETS}}
    values["extra_headers"] = {"X-Proxy": "extra_headers"}
    endpoint = Endpoint.from_values(values)

    assert hash(endpoint) == hash(Endpoint.from_values(values))
    assert endpoint == Endpoint.from_values(values)
    assert endpoint != Endpoint.from_values(values | {"aws_session_token": "another"})
    assert [name for name in SECRETS if name in repr(endpoint)] == []
    assert "region='eu-west-3'" in repr(endpoint)

    with pytest.raises(dataclasses.FrozenInstanceError):
        t.cast(t.Any, endpoint).region = "eu-west-1"


def test_only_the_rule_for_event_loops_is_the_same_in_every_bind() -> None:
    not_in_binds = [name for name, setting in SETTINGS.items() if not setting.bind]
    assert not_in_binds == ["blocking_calls", "record_calls", "binds"]


def test_defaults_pass_their_own_checks() -> None:
    for setting in SETTINGS.values():
        if setting.default is not None:
            assert setting.check("the default", setting.default) == setting.default


CONFIGURATION = pathlib.Path(__file__).parent.parent / "docs" / "configuration.md"


def rows_of_settings_table() -> dict[str, list[str]]:
    """The cells of each row of the documented table, by the first one."""
    _, _, after = CONFIGURATION.read_text().partition("| Key | Type | Default | `Meta` | File |\n")
    table, _, _ = after.partition("\n\n")
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()]
    return {key: cells for key, *cells in rows[1:]}


def type_in_table(setting: Setting) -> str:
    """The type and the unit of a setting, in the words of the documentation."""
    kind = t.get_type_hints(Settings)[setting.name]

    if t.get_origin(kind) in {t.Union, types.UnionType}:
        (kind,) = (option for option in t.get_args(kind) if option is not types.NoneType)

    if t.get_origin(kind) is t.Literal:
        *words, last = (f'`"{word}"`' for word in t.get_args(kind))
        return f"{', '.join(words)} or {last}"

    names: dict[t.Any, str] = {
        str: "text",
        bool: "`True` or `False`",
        int: "whole number",
        float: "number",
        cabc.Mapping[str, str]: "mapping of text to text",
        cabc.Mapping[str, Settings]: "mapping of text to settings",
    }
    name = names[kind]

    if setting.name.endswith("_seconds"):
        return f"{name}, seconds"

    return f"{name}, milliseconds" if setting.name.endswith("_ms") else name


def test_documented_table_agrees_with_the_settings() -> None:
    """A default may be followed by an explanation, after a colon or a comma."""
    yes_or_no = {True: "yes", False: "no"}
    wanted = {
        f"`{setting.key}`": [
            type_in_table(setting),
            "none" if setting.default is None else f"`{json.dumps(setting.default)}`",
            yes_or_no[setting.meta],
            yes_or_no[setting.override_file],
        ]
        for setting in SETTINGS.values()
    }
    rows = {
        key: [kind, re.split("[:,]", default)[0], *who]
        for key, (kind, default, *who) in rows_of_settings_table().items()
    }
    assert rows == wanted
