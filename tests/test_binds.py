"""Binds: which settings each has, what is refused, and what a model's ``Meta`` shows."""

from __future__ import annotations

import collections.abc as cabc
import json
import typing as t

import flask
import hypothesis
import pytest
import quart
from hypothesis import strategies as st
from pynamodb.attributes import UnicodeAttribute

import dynamo_ext_async
from conftest import InApp
from dynamo_ext import ConfigError
from dynamo_ext import Model
from dynamo_ext import PynamoDB
from dynamo_ext import Settings
from dynamo_ext.config.settings import SETTINGS
from strength import examples
from test_settings import ALL
from test_settings import AS_TEXT
from test_settings import attributes

pytestmark = pytest.mark.once(reason="app.config is read, and no call is sent")

KEYS = {"DYNAMODB_AWS_ACCESS_KEY_ID": "AKIDAPP", "DYNAMODB_AWS_SECRET_ACCESS_KEY": "app-secret"}
TWO = {"eu": {"REGION": "eu-west-1"}, "us": {"REGION": "us-west-2"}}


class Book(Model):
    class Meta:
        table_name = "book"

    id = UnicodeAttribute(hash_key=True)


class Report(Model):
    class Meta:
        table_name = "report"
        bind_key = "eu"

    id = UnicodeAttribute(hash_key=True)


class Summary(Report):
    class Meta(Report.Meta):
        table_name = "summary"


def short(key: str) -> str:
    return key.removeprefix("DYNAMODB_")


def bind(app: cabc.Mapping[str, t.Any], **own: t.Any) -> Settings:
    """The settings of a bind that sets its own values, in an app with these."""
    settings = Settings.from_mapping({**app, "DYNAMODB_BINDS": {"eu": own}})
    return (settings.binds or {})["eu"]


def refusal(binds: t.Any, **app: t.Any) -> str:
    with pytest.raises(ConfigError) as refused:
        PynamoDB(flask_app({**app, "DYNAMODB_BINDS": binds}))

    return str(refused.value)


def flask_app(config: cabc.Mapping[str, t.Any]) -> flask.Flask:
    app = flask.Flask("shop")
    app.config.from_mapping(config)
    return app


def region(model: type[Model]) -> str:
    connection = model._get_connection().connection
    assert connection.region == connection.client.meta.region_name
    return connection.region


# Settings.


def test_what_a_bind_does_not_set_is_the_app_s() -> None:
    assert vars(bind(ALL)) == attributes(ALL) | {"binds": None}


IN_BIND = {key: value for key, value in ALL.items() if SETTINGS[short(key).lower()].bind}


@pytest.mark.parametrize("values", [ALL, AS_TEXT], ids=["values", "text"])
def test_a_bind_sets_every_setting_but_those_of_the_whole_app(values: dict[str, t.Any]) -> None:
    settings = bind({}, **{short(key): values[key] for key in IN_BIND})
    unset = vars(Settings.from_mapping({}))
    assert vars(settings) == unset | attributes(IN_BIND)


def test_falsy_values_of_a_bind_win_and_none_means_not_set() -> None:
    falsy = {"MAX_RETRY_ATTEMPTS": 0, "EXTRA_HEADERS": {}, "TABLE_NAME_PREFIX": ""}
    settings = bind(ALL, **falsy, REGION=None)
    assert (settings.max_retry_attempts, settings.table_name_prefix) == (0, "")
    assert settings.extra_headers == {}
    assert settings.region == ALL["DYNAMODB_REGION"]


@pytest.mark.parametrize("none", [{}, {"DYNAMODB_BINDS": None}, {"DYNAMODB_BINDS": {}}])
def test_an_app_may_have_no_binds(none: dict[str, t.Any]) -> None:
    assert not Settings.from_mapping(none).binds


@pytest.mark.parametrize(
    "text", [json.dumps(TWO), json.dumps({k: json.dumps(v) for k, v in TWO.items()})]
)
def test_text_is_json(text: str) -> None:
    binds = Settings.from_mapping({"DYNAMODB_BINDS": text}).binds or {}
    assert {key: settings.region for key, settings in binds.items()} == {
        "eu": "eu-west-1",
        "us": "us-west-2",
    }


@pytest.mark.parametrize(
    ("prefix", "app_class"), [("FLASK", flask.Flask), ("QUART", quart.Quart)], ids=str
)
@pytest.mark.parametrize("form", ["one variable", "a variable for each value"])
def test_binds_of_the_environment(
    prefix: str, app_class: t.Any, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if form == "one variable":
        monkeypatch.setenv(f"{prefix}_DYNAMODB_BINDS", json.dumps(TWO))
    else:
        monkeypatch.setenv(f"{prefix}_DYNAMODB_BINDS__eu__REGION", "eu-west-1")

    app = app_class("shop")
    app.config.from_prefixed_env()
    dynamo_ext_async.PynamoDB(app)
    binds = Settings.from_mapping(app.config).binds or {}
    assert binds["eu"].region == "eu-west-1"


def test_all_credentials_of_a_bind_come_from_one_place() -> None:
    app = {**KEYS, "DYNAMODB_AWS_SESSION_TOKEN": "app-token"}
    own = bind(app, AWS_ACCESS_KEY_ID="AKIDBIND", AWS_SECRET_ACCESS_KEY="bind-secret")
    assert (own.aws_access_key_id, own.aws_secret_access_key) == ("AKIDBIND", "bind-secret")
    assert own.aws_session_token is None
    assert bind(app, REGION="eu-west-1").aws_session_token == "app-token"


# The place where a value was set, and what would be right.
REFUSED: dict[str, tuple[t.Any, str]] = {
    "list": ([], "'DYNAMODB_BINDS' must be a mapping of bind keys to mappings of settings"),
    "text": ("eu", "as text, it must be a JSON object."),
    "JSON list": ("[1]", "it is of type 'list'."),
    "number as key": ({5: {}}, "a key of it is 5."),
    "empty key": ({"": {}}, "a key of it is ''."),
    "text as bind": ({"eu": "eu-west-1"}, "DYNAMODB_BINDS['eu'] must be a mapping of settings"),
    "None as bind": ({"eu": None}, "DYNAMODB_BINDS['eu'] must be a mapping of settings"),
    "number as name": ({"eu": {5: 5}}, "DYNAMODB_BINDS['eu'] must be a mapping of settings; the"),
    "typo": (
        {"eu": {"REGON": "eu-west-1"}},
        "DYNAMODB_BINDS['eu']['REGON'] is not a setting: in a bind, the names of settings are in"
        " upper case, without prefix. Did you mean 'REGION'?",
    ),
    "lower case": ({"eu": {"host": "x"}}, "['host'] is not a setting: in a bind"),
    "prefix": ({"eu": {"DYNAMODB_HOST": "x"}}, "Did you mean 'HOST'?"),
    "no such name": ({"eu": {"COLOUR": "x"}}, "DYNAMODB_BINDS['eu']['COLOUR'] is not a setting"),
    "typo with None": ({"eu": {"REGON": None}}, "DYNAMODB_BINDS['eu']['REGON'] is not a setting"),
    "of the app": (
        {"eu": {"BLOCKING_CALLS": "warn"}},
        "DYNAMODB_BINDS['eu']['BLOCKING_CALLS'] can't be set: it is a setting of the whole app."
        " Remove it, and set 'DYNAMODB_BLOCKING_CALLS' in app.config instead.",
    ),
    "nested": ({"eu": {"BINDS": {}}}, "DYNAMODB_BINDS['eu']['BINDS'] can't be set"),
    "value": (
        {"eu": {}, "us": {"REGION": "us west"}},
        "DYNAMODB_BINDS['us']['REGION'] must be the name of a region like 'us-east-1'; it is"
        " 'us west'.",
    ),
    "half a pair": (
        {"eu": {"AWS_ACCESS_KEY_ID": "AKIDBIND"}},
        "DYNAMODB_BINDS['eu']['AWS_SECRET_ACCESS_KEY'] must be set together with"
        " DYNAMODB_BINDS['eu']['AWS_ACCESS_KEY_ID']",
    ),
    "token alone": (
        {"eu": {"AWS_SESSION_TOKEN": "a-token"}},
        "DYNAMODB_BINDS['eu']['AWS_ACCESS_KEY_ID'] and"
        " DYNAMODB_BINDS['eu']['AWS_SECRET_ACCESS_KEY'] must be set together with"
        " DYNAMODB_BINDS['eu']['AWS_SESSION_TOKEN']",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_invalid_binds_are_refused_when_the_app_is_initialised(case: str) -> None:
    binds, message = REFUSED[case]
    assert message in refusal(binds, **KEYS)


def test_a_name_that_may_be_a_secret_in_the_wrong_place_is_not_shown() -> None:
    secret = "a-secret-that-is-as-long-as-one-of-AWS-is"
    assert "DYNAMODB_BINDS[…] must be" in refusal({secret: "x"})
    assert "DYNAMODB_BINDS['eu'][…] is not a setting" in refusal({"eu": {secret: "x"}})


def test_a_bind_key_does_not_forge_a_line() -> None:
    assert "\n" not in refusal({"e\nu": {"REGON": "x"}})


# What each place gives, from the one that wins to the default; None for nothing.
places = st.lists(st.none() | st.integers(0, 5), min_size=3, max_size=3)


@hypothesis.settings(max_examples=examples(50), database=None)
@hypothesis.given(retries=places, backoffs=places, prefixes=places)
def test_meta_wins_over_the_bind_and_that_over_the_app(
    retries: list[int | None], backoffs: list[int | None], prefixes: list[int | None]
) -> None:
    given: dict[str, list[t.Any]] = {
        "max_retry_attempts": retries,
        "base_backoff_ms": backoffs,
        "table_name_prefix": [None if n is None else "-" * n for n in prefixes],
    }
    of_meta, of_bind, of_app = ({n: v[i] for n, v in given.items()} for i in range(3))

    class Shelf(Model):
        Meta = type("Meta", (), {"table_name": "shelf", "bind_key": "eu", **of_meta})
        id = UnicodeAttribute(hash_key=True)

    app = flask_app({f"DYNAMODB_{name.upper()}": value for name, value in of_app.items()})
    app.config["DYNAMODB_BINDS"] = {"eu": {n.upper(): v for n, v in of_bind.items()}}
    PynamoDB(app)
    defaults = {name: SETTINGS[name].default for name in given}

    with app.app_context():
        for name, values in given.items():
            expected = next((v for v in values if v is not None), defaults[name])
            assert getattr(Shelf.Meta, name) == expected


# Which bind a model goes by.


def test_a_model_goes_by_its_own_bind_and_others_by_the_one_in_use(in_app: InApp) -> None:
    with in_app({}, DYNAMODB_BINDS=TWO) as db:
        assert [region(Book), region(Report), region(Summary)] == ["us-east-1"] + ["eu-west-1"] * 2

        with db.using("us"):
            assert [region(Book), region(Report)] == ["us-west-2", "eu-west-1"]
            assert db.settings.region == db.connection.region == "us-west-2"

            with db.using("eu"):
                assert region(Book) == "eu-west-1"

                with db.using(None):
                    assert [region(Book), region(Report)] == ["us-east-1", "eu-west-1"]
                    assert db.settings.region == "us-east-1"

            assert region(Book) == "us-west-2"

        assert region(Book) == db.settings.region == "us-east-1"


def test_each_bind_has_its_own_pool_unless_its_endpoint_is_the_app_s(in_app: InApp) -> None:
    binds = {"small": {"MAX_POOL_CONNECTIONS": 2}, "same": {"TABLE_NAME_PREFIX": "x-"}}

    with in_app({}, DYNAMODB_BINDS=binds) as db:
        assert [db.bind(key).pool.size for key in (None, "small", "same")] == [10, 2, 10]
        assert db.bind("same").pool is db.pool
        assert db.bind("small").pool is not db.pool

        with db.using("small"):
            assert db.pool is db.bind("small").pool
            assert db.bind(None).pool is not db.pool


def test_a_block_ends_when_it_raises(in_app: InApp) -> None:
    with in_app({}, DYNAMODB_BINDS=TWO) as db:
        with pytest.raises(ZeroDivisionError), db.using("eu"):
            raise ZeroDivisionError

        assert region(Book) == "us-east-1"


def test_a_block_may_be_entered_again_and_inside_itself(in_app: InApp) -> None:
    with in_app({}, DYNAMODB_BINDS=TWO) as db:
        in_eu = db.using("eu")

        for _ in range(2):
            with in_eu, in_eu:
                assert region(Book) == "eu-west-1"

            assert region(Book) == "us-east-1"


def test_a_block_that_is_left_in_the_wrong_order_is_an_error(in_app: InApp) -> None:
    with in_app({}, DYNAMODB_BINDS=TWO) as db:
        outer, inner = db.using("eu"), db.using("us")

        with inner, pytest.raises(RuntimeError, match="another task, thread or order"):
            outer.__exit__(None, None, None)

        with pytest.raises(RuntimeError, match="another task, thread or order"):
            inner.__exit__(None, None, None)


def test_using_decorates_functions(in_app: InApp) -> None:
    db = PynamoDB()

    @db.using("eu")
    def in_eu(model: type[Model]) -> str:
        """Where it is."""
        return region(model)

    assert (in_eu.__name__, in_eu.__doc__) == ("in_eu", "Where it is.")
    app = flask_app({"DYNAMODB_BINDS": TWO})
    db.init_app(app)

    with app.app_context():
        assert in_eu(Book) == "eu-west-1"
        assert region(Book) == "us-east-1"

    def regions() -> cabc.Iterator[str]:
        yield region(Book)

    async def aregions() -> cabc.AsyncIterator[str]:
        yield region(Book)

    for generator in (regions, aregions):
        with pytest.raises(
            TypeError, match=f"can't decorate the generator function .*{generator.__name__}"
        ):
            db.using("eu")(generator)


def test_a_block_holds_for_the_app_in_which_it_was_entered(in_app: InApp) -> None:
    others = {"eu": {"REGION": "eu-north-1"}}

    with in_app({}, DYNAMODB_BINDS=TWO) as db, db.using("us"):
        with in_app({}, DYNAMODB_REGION="eu-west-3", DYNAMODB_BINDS=others) as other:
            assert region(Book) == other.settings.region == "eu-west-3"

            with other.using("eu"):
                assert region(Book) == other.settings.region == "eu-north-1"

                with pytest.raises(RuntimeError, match="not registered with this"):
                    db.using("eu").__enter__()

        assert region(Book) == db.settings.region == "us-west-2"


UNKNOWN = r"'asia', but the app 'tests' has no such bind.* 'DYNAMODB_BINDS': 'eu', 'us'\."


def test_an_unknown_bind_is_named_with_the_known_ones(in_app: InApp) -> None:
    class Lost(Model):
        class Meta:
            table_name = "lost"
            bind_key = "asia"

        id = UnicodeAttribute(hash_key=True)

    with in_app({}, DYNAMODB_BINDS=TWO) as db:
        with pytest.raises(ConfigError, match=f"^The bind key is {UNKNOWN}"):
            db.using("asia").__enter__()

        with pytest.raises(ConfigError, match=f"^The bind key is {UNKNOWN}"):
            db.bind("asia")

        with pytest.raises(ConfigError, match=rf"^'Lost\.Meta\.bind_key' is {UNKNOWN}"):
            Lost.get("a")

        assert region(Book) == "us-east-1"

        wrong: list[t.Any] = [5, [], b"eu", ""]

        for key in wrong:
            with pytest.raises(ConfigError, match="has no such bind"):
                db.bind(key)

    with in_app({}), pytest.raises(ConfigError, match=r"'eu', but .* 'DYNAMODB_BINDS': none\."):
        Report.get("a")


@pytest.mark.parametrize(
    ("key", "fault"), [(5, "of type 'int'"), ("", "empty"), (["eu"], "of type 'list'")]
)
def test_a_model_s_bind_key_is_a_non_empty_string(in_app: InApp, key: t.Any, fault: str) -> None:
    class Wrong(Model):
        Meta = type("Meta", (), {"table_name": "wrong", "bind_key": key})
        id = UnicodeAttribute(hash_key=True)

    with in_app({}, DYNAMODB_BINDS=TWO), pytest.raises(ConfigError) as refused:
        Wrong.get("a")

    assert str(refused.value) == (
        f"'Wrong.Meta.bind_key' must be the key of a bind, a non-empty string; it is {fault}."
    )


def test_a_bind_may_be_made_before_there_is_an_app() -> None:
    db = PynamoDB()
    eu, asia = db.bind("eu"), db.bind("asia")

    with pytest.raises(RuntimeError, match="no app is initialised"):
        _ = eu.settings

    app = flask_app({"DYNAMODB_BINDS": TWO})
    db.init_app(app)

    with app.app_context():
        assert eu.settings.region == eu.connection.region == "eu-west-1"

        with pytest.raises(ConfigError, match="'asia'"):
            _ = asia.settings


def test_a_prefix_of_the_bind_that_is_too_long_is_named(in_app: InApp) -> None:
    with (
        in_app({}, DYNAMODB_BINDS={"eu": {"TABLE_NAME_PREFIX": "x" * 252}}),
        pytest.raises(ConfigError, match="'DYNAMODB_TABLE_NAME_PREFIX' of the bind 'eu' and"),
    ):
        Report.get("a")


# What a Meta shows, and what is written to it.


def meta(model: type[Model]) -> t.Any:
    return model.Meta


def test_meta_shows_what_holds_in_the_bind(in_app: InApp) -> None:
    with in_app({}, DYNAMODB_BINDS=TWO) as db:
        assert (meta(Report).bind_key, meta(Report).region) == ("eu", "eu-west-1")
        assert meta(Book).bind_key is None

        with db.using("us"):
            assert (meta(Book).bind_key, meta(Book).region) == ("us", "us-west-2")
            assert meta(Report).bind_key == "eu"

    assert meta(Report).bind_key == "eu"


def test_what_is_read_in_a_bind_and_written_back_changes_nothing(in_app: InApp) -> None:
    class Shelf(Model):
        class Meta:
            table_name = "shelf"

        id = UnicodeAttribute(hash_key=True)

    binds = {"eu": {"REGION": "eu-west-1", "TABLE_NAME_PREFIX": "eu-"}}

    with in_app({}, DYNAMODB_BINDS=binds) as db:
        with db.using("eu"):
            for name in ("bind_key", "region", "table_name", "table_name_prefix"):
                setattr(meta(Shelf), name, getattr(meta(Shelf), name))

        assert (meta(Shelf).bind_key, meta(Shelf).region) == (None, "us-east-1")
        assert meta(Shelf).table_name == "shelf"


def test_a_bind_key_can_be_written_inherited_and_removed(in_app: InApp) -> None:
    class Shelf(Model):
        class Meta:
            table_name = "shelf"

        id = UnicodeAttribute(hash_key=True)

    with in_app({}, DYNAMODB_BINDS=TWO):
        meta(Shelf).bind_key = "eu"

        class Board(Shelf):
            class Meta(Shelf.Meta):
                table_name = "board"

        class Top(Shelf):
            class Meta(Shelf.Meta):
                bind_key = None

        assert [region(Shelf), region(Board), region(Top)] == ["eu-west-1"] * 2 + ["us-east-1"]
        meta(Shelf).bind_key = "us"
        assert [region(Shelf), region(Board)] == ["us-west-2"] * 2
        del meta(Shelf).bind_key
        assert [region(Shelf), region(Board)] == ["us-east-1"] * 2
