"""The values of a model's Meta, in and outside of apps, and the effect on the model's calls."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import types
import typing as t
from unittest import mock

import flask
import pytest
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute

import engines
from conftest import InApp
from dynamo_ext import ConfigError
from dynamo_ext import Model
from dynamo_ext import PynamoDB
from dynamo_ext.config.settings import SETTINGS
from stub import Stub


def flask_app(db: PynamoDB, config: dict[str, t.Any], **more: t.Any) -> flask.Flask:
    app = flask.Flask(__name__)
    app.config.from_mapping({**config, **more})
    db.init_app(app)
    return app


@pytest.fixture(autouse=True)
def two_apps(stub_config: dict[str, t.Any]) -> cabc.Iterator[None]:
    """Initialise two apps, so that outside a context no app is current."""
    db = PynamoDB()
    apps = flask_app(db, stub_config), flask_app(db, stub_config)
    yield
    del apps


def define_todo() -> type[t.Any]:
    """Make a new model, for a test that changes its Meta."""

    class Todo(Model):
        class Meta:
            table_name = "todo"

        id = UnicodeAttribute(hash_key=True)

    return Todo


def seen(model: type[Model]) -> t.Any:
    """A model's Meta, without the type that type checkers infer from its declaration."""
    return model.Meta


def test_a_model_that_was_defined_before_any_app_works(
    in_app: InApp, config: dict[str, t.Any]
) -> None:
    Todo = define_todo()

    with in_app(config):
        Todo.create_table(wait=True)
        Todo("1").save()
        assert Todo.get("1").id == "1"


def test_a_model_that_is_defined_in_one_app_works_in_another(stub_config: dict[str, t.Any]) -> None:
    db = PynamoDB()
    one = flask_app(db, stub_config, DYNAMODB_TABLE_NAME_PREFIX="one-", DYNAMODB_REGION="eu-west-1")
    two = flask_app(db, stub_config, DYNAMODB_TABLE_NAME_PREFIX="two-", DYNAMODB_REGION="eu-west-2")

    with one.app_context():
        Todo = define_todo()
        assert Todo.get("1").id == "1"

    with two.app_context():
        assert Todo.Meta.table_name == "two-todo"
        assert Todo.Meta.region == "eu-west-2"
        assert Todo.get("1").id == "1"


def test_outside_an_app_meta_shows_what_is_declared_and_nothing_else() -> None:
    Todo = define_todo()

    assert Todo.Meta.table_name == "todo"
    assert not hasattr(Todo.Meta, "host")
    assert not hasattr(Todo.Meta, "billing_mode")


def test_in_an_app_meta_shows_what_holds_there(in_app: InApp) -> None:
    Todo = define_todo()
    settings = {
        "region": "eu-west-3",
        "host": "http://127.0.0.1:8123",
        "connect_timeout_seconds": 2.5,
        "read_timeout_seconds": 7.25,
        "base_backoff_ms": 0,
        "max_retry_attempts": 0,
        "max_pool_connections": 6,
        "extra_headers": {"X-Proxy": "let me in"},
        "read_capacity_units": 11,
        "write_capacity_units": 13,
        "aws_access_key_id": "AKIDDISTINCT",
        "aws_secret_access_key": "a-secret",
        "aws_session_token": "a-token",
        "table_name_prefix": "stage-",
    }

    with in_app({f"DYNAMODB_{name.upper()}": value for name, value in settings.items()}):
        shown = {name: getattr(Todo.Meta, name) for name in settings}
        assert shown == settings
        assert Todo.Meta.table_name == "stage-todo"
        assert Todo.Meta.billing_mode == "PROVISIONED"
        assert set(settings) <= set(dir(Todo.Meta))


@pytest.mark.parametrize("declares", [True, False], ids=["declared", "of-the-app"])
def test_headers_in_an_app_are_read_only(in_app: InApp, declares: bool) -> None:
    Todo = define_todo()

    if declares:
        Todo.Meta.extra_headers = {"X-Team": "blue"}

    with in_app({}, DYNAMODB_EXTRA_HEADERS={"X-Team": "blue"}):
        with pytest.raises(TypeError, match="does not support item assignment"):
            Todo.Meta.extra_headers["X-Team"] = "red"

        assert Todo.Meta.extra_headers == {"X-Team": "blue"}


def test_without_capacity_the_billing_mode_is_on_demand(in_app: InApp) -> None:
    with in_app({}):
        assert define_todo().Meta.billing_mode == "PAY_PER_REQUEST"


def test_what_a_model_declares_beats_the_settings_also_if_it_is_falsy(in_app: InApp) -> None:
    class Todo(Model):
        class Meta:
            table_name = "todo"
            table_name_prefix = ""
            max_retry_attempts = 0
            base_backoff_ms = 0
            extra_headers: t.ClassVar[dict[str, str]] = {}
            region = "eu-west-1"

        id = UnicodeAttribute(hash_key=True)

    with in_app(
        {
            "DYNAMODB_TABLE_NAME_PREFIX": "stage-",
            "DYNAMODB_MAX_RETRY_ATTEMPTS": 3,
            "DYNAMODB_BASE_BACKOFF_MS": 50,
            "DYNAMODB_EXTRA_HEADERS": {"X-Proxy": "let me in"},
            "DYNAMODB_REGION": "us-west-2",
        }
    ):
        assert Todo.Meta.table_name == "todo"
        assert Todo.Meta.max_retry_attempts == 0
        assert Todo.Meta.base_backoff_ms == 0
        assert Todo.Meta.extra_headers == {}
        assert Todo.Meta.region == "eu-west-1"


def test_none_declares_nothing(in_app: InApp) -> None:
    class Todo(Model):
        class Meta:
            table_name = "todo"
            max_retry_attempts = None
            region = None

        id = UnicodeAttribute(hash_key=True)

    with in_app({"DYNAMODB_MAX_RETRY_ATTEMPTS": 7, "DYNAMODB_REGION": "eu-west-1"}):
        assert Todo.Meta.max_retry_attempts == 7
        assert Todo.Meta.region == "eu-west-1"


def test_meta_shows_what_the_user_has_put_there(in_app: InApp) -> None:
    class Todo(Model):
        class Meta:
            table_name = "todo"
            owner = "accounting"

        id = UnicodeAttribute(hash_key=True)

    assert Todo.Meta.owner == "accounting"

    with in_app({}):
        assert Todo.Meta.owner == "accounting"


def test_an_item_has_the_meta_of_its_model(in_app: InApp) -> None:
    item = define_todo()("1")

    assert item.Meta.table_name == "todo"

    with in_app({"DYNAMODB_TABLE_NAME_PREFIX": "stage-"}):
        assert item.Meta.table_name == "stage-todo"


@pytest.mark.parametrize("inside", [True, False], ids=["in-an-app", "outside"])
def test_a_meta_that_inherits_another_gets_only_what_that_one_declares(
    inside: bool, stub_config: dict[str, t.Any]
) -> None:
    db = PynamoDB()
    one = flask_app(db, stub_config, DYNAMODB_REGION="eu-west-1", DYNAMODB_MAX_RETRY_ATTEMPTS=1)
    two = flask_app(db, stub_config, DYNAMODB_REGION="eu-west-2", DYNAMODB_MAX_RETRY_ATTEMPTS=2)

    class Base(Model):
        class Meta:
            table_name = "base"
            read_capacity_units = 5
            write_capacity_units = 6

    with one.app_context() if inside else contextlib.nullcontext():

        class Child(Base):
            class Meta(Base.Meta):
                table_name = "child"
                write_capacity_units = 7

            id = UnicodeAttribute(hash_key=True)

    with two.app_context():
        assert seen(Child).region == "eu-west-2"
        assert seen(Child).max_retry_attempts == 2
        assert seen(Child).table_name == stub_config["DYNAMODB_TABLE_NAME_PREFIX"] + "child"
        assert seen(Child).read_capacity_units == 5
        assert seen(Child).write_capacity_units == 7
        assert seen(Base).write_capacity_units == 6

    with one.app_context():
        assert seen(Child).region == "eu-west-1"
        assert seen(Child).max_retry_attempts == 1

    assert Child.Meta.table_name == "child"
    assert not hasattr(Child.Meta, "region")


def test_a_model_without_meta_has_that_of_its_parent(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    class Todo(Model):
        class Meta:
            table_name = "todo"

        id = UnicodeAttribute(hash_key=True)

    class Urgent(Todo):
        deadline = NumberAttribute(null=True)

    assert Urgent.Meta.table_name == "todo"

    with in_app(stub_config):
        Urgent.get("1")

    assert stub.requests[-1].body["TableName"].endswith("-todo")


def test_a_model_without_meta_says_so(in_app: InApp) -> None:
    class Nameless(Model):
        id = UnicodeAttribute(hash_key=True)

    assert not hasattr(Nameless, "Meta")

    with in_app({}), pytest.raises(AttributeError, match=r"Nameless has no 'Meta'"):
        Nameless.get("1")


def test_a_model_without_table_name_says_so(in_app: InApp) -> None:
    class Nameless(Model):
        class Meta:
            region = "eu-west-1"

        id = UnicodeAttribute(hash_key=True)

    with in_app({}):
        with pytest.raises(AttributeError, match=r"Nameless\.Meta has no 'table_name'"):
            Nameless.get("1")

        assert Nameless.Meta.region == "eu-west-1"


def test_what_is_wrong_in_a_meta_is_named_when_the_model_is_used(in_app: InApp) -> None:
    Todo = define_todo()
    Todo.Meta.max_retry_attempts = -1

    with in_app({}), pytest.raises(ConfigError, match=r"'Todo\.Meta\.max_retry_attempts'"):
        Todo.get("1")


OF_THE_APP = {
    "pool_timeout_seconds": 1,
    "call_timeout_seconds": 1,
    "slow_call_ms": 1,
    "blocking_calls": "raise",
    "transport": "direct",
}


def test_each_setting_of_the_app_is_known_here() -> None:
    assert {name for name, setting in SETTINGS.items() if not setting.meta} >= OF_THE_APP.keys()


@pytest.mark.parametrize("name", [name for name, setting in SETTINGS.items() if not setting.meta])
def test_a_setting_of_the_app_in_a_meta_is_refused(in_app: InApp, name: str) -> None:
    value = OF_THE_APP.get(name, "anything")

    Todo = define_todo()
    setattr(Todo.Meta, name, value)
    wanted = rf"'Todo\.Meta\.{name}' can't be set.*'DYNAMODB_{name.upper()}' in app\.config"

    with in_app({}), pytest.raises(ConfigError, match=wanted):
        Todo.get("1")


def test_half_a_pair_of_credentials_in_a_meta_is_refused(in_app: InApp) -> None:
    Todo = define_todo()
    Todo.Meta.aws_access_key_id = "AKIDOFTHEMODEL"

    with in_app({}), pytest.raises(ConfigError, match=r"'Todo\.Meta\.aws_secret_access_key'"):
        Todo.get("1")


@pytest.mark.parametrize("inside", [True, False], ids=["in-an-app", "outside"])
def test_a_host_that_is_set_after_first_use_counts(
    inside: bool, in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    Todo = define_todo()

    with Stub() as other, contextlib.ExitStack() as context:
        context.enter_context(in_app(stub_config))
        Todo.get("1")

        if not inside:
            context.close()

        Todo.Meta.host = other.url

        if not inside:
            context.enter_context(in_app(stub_config))

        Todo.get("2")
        assert Todo.Meta.host == other.url
        assert len(stub.requests) == len(other.requests) == 1

        del Todo.Meta.host
        Todo.get("3")
        assert Todo.Meta.host == stub.url
        assert len(stub.requests) == 2


def test_a_table_name_that_is_set_after_first_use_counts(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    Todo = define_todo()

    with in_app(stub_config, DYNAMODB_TABLE_NAME_PREFIX="stage-"):
        Todo.get("1")
        Todo.Meta.table_name = "done"
        Todo.get("1")
        list(Todo.batch_get(["1"]))

    first, second, third = stub.requests
    assert first.body["TableName"] == "stage-todo"
    assert second.body["TableName"] == "stage-done"
    assert list(third.body["RequestItems"]) == ["stage-done"]


def test_a_meta_that_is_replaced_counts(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    Todo = define_todo()

    class Replacement:
        table_name = "replacement"

    with in_app(stub_config, DYNAMODB_TABLE_NAME_PREFIX=""):
        Todo.get("1")
        Todo.Meta = Replacement
        Todo.get("1")
        assert Todo.Meta.table_name == "replacement"

    assert [request.body["TableName"] for request in stub.requests] == ["todo", "replacement"]


def declare(**of_the_base: t.Any) -> tuple[t.Any, t.Any, t.Any]:
    """A model whose Meta inherits, with this Meta and the base of it."""
    base: t.Any = type("BaseMeta", (), of_the_base)
    declared: t.Any = type("Meta", (base,), {"table_name": "todo"})

    class Todo(Model):
        Meta = declared
        id = UnicodeAttribute(hash_key=True)

    return Todo, declared, base


@pytest.mark.parametrize("where", ["declared", "base"])
def test_a_write_that_does_not_pass_the_model_counts(in_app: InApp, where: str) -> None:
    Todo, declared, base = declare()
    written = declared if where == "declared" else base

    with in_app({}, DYNAMODB_REGION="us-west-2"):
        assert Todo.Meta.region == "us-west-2"

        written.region = "eu-west-1"
        assert Todo.Meta.region == "eu-west-1"
        assert Todo._get_connection().connection.engine.endpoint.region == "eu-west-1"

        with mock.patch.object(written, "region", "eu-west-2"):
            assert Todo.Meta.region == "eu-west-2"

        assert Todo.Meta.region == "eu-west-1"

        del written.region
        assert Todo.Meta.region == "us-west-2"


def test_another_base_of_a_declared_meta_counts(in_app: InApp) -> None:
    Todo, declared, base = declare(region="eu-west-1")
    other = type("OtherMeta", (), {"region": "eu-west-2"})

    with in_app({}):
        assert Todo.Meta.region == "eu-west-1"

        declared.__bases__ = (other,)
        assert Todo.Meta.region == "eu-west-2"

        declared.__bases__ = (base,)
        assert Todo.Meta.region == "eu-west-1"


def test_declared_headers_that_are_changed_in_place_count(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    headers = {"X-Team": "blue"}
    Todo, _, _ = declare(extra_headers=headers)

    with in_app(stub_config):
        Todo.get("1")
        headers["X-Team"] = "red"
        Todo.get("1")

    assert [request.header("X-Team") for request in stub.requests] == ["blue", "red"]


def test_a_write_to_a_meta_that_is_no_class_counts(in_app: InApp) -> None:
    declared: t.Any = types.SimpleNamespace(table_name="todo", region="eu-west-1")

    class Todo(Model):
        Meta = declared
        id = UnicodeAttribute(hash_key=True)

    with in_app({}):
        assert seen(Todo).region == "eu-west-1"

        declared.region = "eu-west-2"
        assert seen(Todo).region == "eu-west-2"


def test_an_unchanged_meta_keeps_its_connection(in_app: InApp) -> None:
    Todo, _, _ = declare(region="eu-west-1", extra_headers={"X-Team": "blue"})

    with in_app({}):
        assert Todo._get_connection() is Todo._get_connection()


def test_a_submodel_on_the_same_table_goes_to_the_host_of_its_own_meta(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    class Todo(Model):
        class Meta:
            table_name = "todo"

        id = UnicodeAttribute(hash_key=True)

    with Stub() as other, in_app(stub_config):
        Todo.get("1")

        class Elsewhere(Todo):
            class Meta(Todo.Meta):
                host = other.url

        Elsewhere.get("2")
        Todo.get("3")

        (of_other,) = other.requests
        of_parent, *_ = stub.requests
        assert of_other.body["Key"] == {"id": {"S": "2"}}
        assert of_other.body["TableName"] == of_parent.body["TableName"]
        assert len(stub.requests) == 2


def test_a_submodel_that_has_been_used_first_leaves_its_parent_alone(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    class Todo(Model):
        class Meta:
            table_name = "todo"

        id = UnicodeAttribute(hash_key=True)

    with Stub() as other:

        class Elsewhere(Todo):
            class Meta(Todo.Meta):
                host = other.url

        with in_app(stub_config):
            Elsewhere.get("1")
            Todo.get("2")

        assert len(stub.requests) == len(other.requests) == 1


def test_a_model_with_keys_of_its_own_does_not_get_the_token_of_the_app(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    Todo = define_todo()
    Todo.Meta.aws_access_key_id = "AKIDOFTHEMODEL"
    Todo.Meta.aws_secret_access_key = "secret-of-the-model"

    class Other(Model):
        class Meta:
            table_name = "other"

        id = UnicodeAttribute(hash_key=True)

    with in_app(stub_config, DYNAMODB_AWS_SESSION_TOKEN="token-of-the-app"):
        Other.get("1")
        Todo.get("1")

    of_app, of_model = stub.requests
    assert of_app.header("X-Amz-Security-Token") == "token-of-the-app"
    assert "AKIDOFTHETESTS" in (of_app.header("Authorization") or "")
    assert of_model.header("X-Amz-Security-Token") is None
    assert "AKIDOFTHEMODEL" in (of_model.header("Authorization") or "")


def test_a_model_that_opts_out_of_the_prefix_shares_a_table_with_other_apps(
    in_app: InApp, config: dict[str, t.Any]
) -> None:
    Shared = define_todo()
    Shared.Meta.table_name = engines.config("")["DYNAMODB_TABLE_NAME_PREFIX"] + "shared"
    Shared.Meta.table_name_prefix = ""

    with in_app(config, DYNAMODB_TABLE_NAME_PREFIX="one-"):
        Shared.create_table(wait=True)
        Shared("1").save()

    with in_app(config, DYNAMODB_TABLE_NAME_PREFIX="two-"):
        assert Shared.get("1").id == "1"
