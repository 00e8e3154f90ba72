from __future__ import annotations

import collections.abc as cabc
import inspect
import math
import pathlib
import re
import typing as t

import flask
import pytest
import quart
from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import DeleteError
from pynamodb.exceptions import GetError
from pynamodb.exceptions import PutError
from pynamodb.exceptions import QueryError
from pynamodb.exceptions import ScanError
from pynamodb.exceptions import TableDoesNotExist
from pynamodb.exceptions import UpdateError
from pynamodb.indexes import AllProjection
from pynamodb.indexes import GlobalSecondaryIndex

import dynamo_ext_async
from conftest import InApp
from dynamo_ext import ConfigError
from dynamo_ext import Model
from dynamo_ext import PynamoDB
from dynamo_ext import Settings
from dynamo_ext.config.settings import SETTINGS

ID = "DYNAMODB_AWS_ACCESS_KEY_ID"
SECRET = "DYNAMODB_AWS_SECRET_ACCESS_KEY"
TOKEN = "DYNAMODB_AWS_SESSION_TOKEN"
HOST = "DYNAMODB_HOST"
HEADERS = "DYNAMODB_EXTRA_HEADERS"


class ByAuthor(GlobalSecondaryIndex[t.Any]):
    class Meta:
        projection = AllProjection()

    author = UnicodeAttribute(hash_key=True)


class Book(Model):
    class Meta:
        table_name = "book"

    id = UnicodeAttribute(hash_key=True)
    author = UnicodeAttribute(null=True)
    by_author = ByAuthor()


only_read = pytest.mark.once(reason="app.config is read, and no call is sent")


def refusal(config: cabc.Mapping[str, t.Any]) -> str:
    """The message with which an app's config is refused."""
    app = flask.Flask("tests")
    app.config.from_mapping(config)

    with pytest.raises(ConfigError) as raised:
        PynamoDB(app)

    return str(raised.value)


def name_of(key: str) -> str:
    """The name of a setting, by its key."""
    return key.removeprefix("DYNAMODB_").lower()


WHOLE = {
    "DYNAMODB_BASE_BACKOFF_MS": "from 0 to 2147483647",
    "DYNAMODB_MAX_RETRY_ATTEMPTS": "from 0 to 1000000",
    "DYNAMODB_MAX_POOL_CONNECTIONS": "from 1 to 65535",
    "DYNAMODB_READ_CAPACITY_UNITS": "from 1 to 9223372036854775807",
    "DYNAMODB_WRITE_CAPACITY_UNITS": "from 1 to 9223372036854775807",
}

SECONDS_WANTED = (
    "must be a number of seconds, above 0 and at most 2147483 (24 days, the longest that the"
    " operating system can wait)"
)

SECONDS = [
    "DYNAMODB_CONNECT_TIMEOUT_SECONDS",
    "DYNAMODB_READ_TIMEOUT_SECONDS",
    "DYNAMODB_POOL_TIMEOUT_SECONDS",
    "DYNAMODB_CALL_TIMEOUT_SECONDS",
]


@pytest.mark.parametrize("key", WHOLE)
@pytest.mark.parametrize(
    "value",
    ["abc", "", " ", "1.5", "1e3", "0x10", "-1", -1, True, False, 1.5, math.nan, math.inf],
    ids=repr,
)
def test_no_whole_number(key: str, value: t.Any) -> None:
    assert refusal({key: value}) == (
        f"'{key}' must be a whole number, {WHOLE[key]}; it is {value!r}."
    )


@only_read
@pytest.mark.parametrize("key", WHOLE)
def test_whole_number_beyond_its_limit(key: str) -> None:
    limit = int(WHOLE[key].rpartition(" ")[2])
    assert getattr(Settings.from_mapping({key: limit}), name_of(key)) == limit

    for value in (limit + 1, str(limit + 1), float(2 * limit)):
        assert refusal({key: value}) == (
            f"'{key}' must be a whole number, {WHOLE[key]}; it is {value!r}."
        )


@pytest.mark.parametrize("key", SECONDS)
@pytest.mark.parametrize(
    "value",
    [
        "abc",
        "",
        "5 s",
        "nan",
        "inf",
        "0",
        0,
        -1,
        True,
        False,
        math.nan,
        math.inf,
        -math.inf,
        # What poll takes as milliseconds has 31 bits, what a timeval has more.
        2147484,
        3e6,
        "3e6",
        1e10,
    ],
    ids=repr,
)
def test_no_seconds(key: str, value: t.Any) -> None:
    assert refusal({key: value}) == f"'{key}' {SECONDS_WANTED}; it is {value!r}."


@pytest.mark.parametrize(
    "value",
    ["abc", "", "5 ms", "nan", "inf", -1, True, False, math.nan, math.inf, 2**31, 1e10],
    ids=repr,
)
def test_no_milliseconds(value: t.Any) -> None:
    assert refusal({"DYNAMODB_SLOW_CALL_MS": value}) == (
        "'DYNAMODB_SLOW_CALL_MS' must be a number of milliseconds, from 0 to 2147483647; it is"
        f" {value!r}."
    )


@pytest.mark.parametrize(
    "key",
    [
        "DYNAMODB_MAX_POOL_CONNECTIONS",
        "DYNAMODB_READ_CAPACITY_UNITS",
        "DYNAMODB_WRITE_CAPACITY_UNITS",
    ],
)
def test_zero_is_too_few(key: str) -> None:
    assert refusal({key: 0}) == f"'{key}' must be a whole number, {WHOLE[key]}; it is 0."


@pytest.mark.parametrize("key", [*WHOLE, *SECONDS])
def test_whole_float_and_text_are_numbers(key: str) -> None:
    for value in (5, 5.0, "5", " 5 ", "5\n"):
        assert getattr(Settings.from_mapping({key: value}), name_of(key)) == 5


# Python refuses the repr of the longer one.
@pytest.mark.parametrize("digits", [30, 5000])
@pytest.mark.parametrize("key", ["DYNAMODB_MAX_POOL_CONNECTIONS", *SECONDS])
def test_number_beyond_all_bounds(key: str, digits: int) -> None:
    message = refusal({key: 10**digits})
    assert message.startswith(f"'{key}' must be a")
    assert len(message) < 300


@pytest.mark.parametrize(
    ("config", "missing", "given"),
    [
        ({ID: "AKID"}, [SECRET], [ID]),
        ({SECRET: "s3cr3t"}, [ID], [SECRET]),
        ({TOKEN: "s3cr3t"}, [ID, SECRET], [TOKEN]),
        ({ID: "AKID", TOKEN: "s3cr3t"}, [SECRET], [ID, TOKEN]),
        ({SECRET: "s3cr3t", TOKEN: "s3cr3t"}, [ID], [SECRET, TOKEN]),
    ],
    ids=["id", "secret", "token", "id and token", "secret and token"],
)
def test_half_a_pair_of_credentials(
    config: dict[str, str], missing: list[str], given: list[str]
) -> None:
    message = refusal(config)
    assert message == (
        f"{' and '.join(map(repr, missing))} must be set together with"
        f" {' and '.join(map(repr, given))}; leave out all of them to use botocore's credential"
        " chain."
    )
    assert "s3cr3t" not in message


@pytest.mark.parametrize("key", [ID, SECRET, TOKEN])
@pytest.mark.parametrize("value", ["", " s3cr3t", "s3cr3t\n", "s3\ncr3t"], ids=repr)
def test_credential_that_cannot_be_one(key: str, value: str) -> None:
    config = {ID: "AKID", SECRET: "other", TOKEN: "other", key: value}
    message = refusal(config)
    assert message.startswith(f"'{key}' must be a non-empty string without white space around it;")
    assert "s3" not in message


@only_read
@pytest.mark.parametrize("key", [ID, SECRET, TOKEN])
def test_credential_beyond_ascii(key: str) -> None:
    message = refusal({ID: "AKID", SECRET: "other", TOKEN: "other", key: "s3cr€t"})
    assert message == f"'{key}' must consist of ASCII characters; its value isn't shown here."


@only_read
@pytest.mark.parametrize("key", [ID, TOKEN])
def test_credential_with_a_space_where_headers_have_none(key: str) -> None:
    message = refusal({ID: "AKID", SECRET: "other", TOKEN: "other", key: "s3 cr3t"})
    assert message == f"'{key}' must not hold a space; its value isn't shown here."


@pytest.mark.parametrize("key", [ID, SECRET, TOKEN])
def test_credential_that_the_environment_made_a_number(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"FLASK_{key}", "1234567890")
    config = flask.Config(".")
    config.from_prefixed_env()
    message = refusal(config)
    assert message == (
        f"'{key}' must be a string, but it is of type 'int'. A value that 'from_prefixed_env'"
        " reads is parsed as JSON: put it in double quotes there."
    )


def test_credential_in_double_quotes_stays_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"FLASK_{ID}", '"1234567890"')
    monkeypatch.setenv(f"FLASK_{SECRET}", "s3cr3t")
    config = flask.Config(".")
    config.from_prefixed_env()
    assert Settings.from_mapping(config).aws_access_key_id == "1234567890"


HOST_WANTED = (
    "'DYNAMODB_HOST' must be a URL like 'http://localhost:8000' or 'https://…', or 'local://'"
)


@pytest.mark.parametrize(
    "value",
    [
        "localhost",
        "localhost:8000",
        "127.0.0.1:8000",
        "//localhost:8000",
        "ftp://localhost",
        "local:/",
        "http://",
        "http://:8000",
        "http://localhost:0",
        "http://localhost:",
        "http://local host",
        "http://localhost\n",
        "",
        8000,
        True,
    ],
    ids=repr,
)
def test_host_that_is_no_url(value: t.Any) -> None:
    assert refusal({HOST: value}) == f"{HOST_WANTED}; it is {value!r}."


@pytest.mark.parametrize("value", ["http://localhost:99999", "http://[::1"])
def test_host_that_cannot_be_parsed(value: str) -> None:
    assert refusal({HOST: value}) == (
        f"{HOST_WANTED}; it is {value!r}: its host or port is invalid."
    )


NOT_SHOWN = "a text that isn't shown here, because it may hold a password"


@only_read
@pytest.mark.parametrize(
    "value",
    [
        "http://a_b.example",
        "http://-a.example",
        "http://a..example",
        "http://bücher.example",
        # Letters and digits for an expression that ignores case and knows Unicode.
        "http://\u017f.example",
        "http://\u0663.example",
        "http://[v1.a]",
        f"http://{'a' * 64}.x",
    ],
)
@pytest.mark.parametrize("end", ["", ":8000", "/a"])
def test_host_that_botocore_or_urllib3_refuses(value: str, end: str) -> None:
    shown = NOT_SHOWN if "[v" in value else repr(value + end)
    assert refusal({HOST: value + end}) == (
        f"{HOST_WANTED}; it is {shown}: botocore refuses its host name, in which only letters,"
        " digits and '-' may stand between dots (an international name in its form 'xn--…')."
    )


@only_read
@pytest.mark.parametrize(
    "value", ["http://localhost/ü", 'http://localhost/"a"', "http://localhost/{a}", "http://a/b\\c"]
)
def test_path_that_is_not_encoded(value: str) -> None:
    message = refusal({HOST: value})
    assert message.startswith(f"{HOST_WANTED}; it is ")
    assert message.endswith(": its path holds what must be percent-encoded.")


@pytest.mark.parametrize(
    "value",
    [
        "http://localhost",
        "HTTP://LOCALHOST:8000",
        "http://localhost.:8000",
        "http://127.0.0.1:65535",
        "http://[::1]:8000",
        "http://[fe80::1%25eth0]:8000",
        "http://xn--bcher-kva.example",
        f"http://{'a' * 63}.example",
        "https://gateway.example/a/b%20c/~d",
    ],
)
def test_host_that_is_taken(value: str, in_app: InApp) -> None:
    with in_app({}, DYNAMODB_HOST=value) as db:
        assert db.settings.host == value
        # It is where botocore checks it.
        assert db.connection.client.meta.endpoint_url == value


@only_read
@pytest.mark.parametrize(
    "value",
    [
        "http://localhost?token=hunter2",
        "http://localhost:8000/?hunter2",
        "http://localhost#hunter2",
        "localhost?hunter2",
        "ftp://localhost/?token=hunter2#x",
        # Cut off before the '@', or with an encoded one.
        "http://user:hunter2",
        "https://user:hunter2/",
        "http//user:hunter2",
        "user:hunter2",
        "http://user:hunter2%40localhost",
        "http://user%3Ahunter2%40localhost:8000",
        "http:user:hunter2",
        "http://[user:hunter2",
        "http://localhost/;token=hunter2 ",
        "http://user\uff20hunter2:x",
        ["http://hunter2@localhost"],
        {"url": "hunter2"},
        b"http://user:hunter2@localhost",
    ],
    ids=repr,
)
def test_what_may_be_a_password_in_host_is_not_shown(value: t.Any) -> None:
    message = refusal({HOST: value})
    assert message.startswith(HOST_WANTED)
    assert "hunter2" not in message


def test_query_in_host_is_explained() -> None:
    assert refusal({HOST: "http://localhost:8000/?token=hunter2"}) == (
        f"{HOST_WANTED}, without query and fragment (its value isn't shown here)."
    )


@pytest.mark.parametrize(
    "value",
    [
        "http://user:hunter2@localhost:8000",
        "https://hunter2@localhost",
        "http://user:hunter2@localhost:a",
        "http://user:hunter2@localhost:99999",
        "http://us/er:hunter2@localhost",
        "http://user:hunter2/x@localhost",
        "http://user:hunter2?x@localhost",
        "http://user:hunter2#x@localhost",
        "http://user:80?hunter2@localhost",
        "http://user:80#hunter2@localhost",
        "http://user:[hunter2@localhost",
        "ftp://user:hunter2@localhost",
        "user:hunter2@localhost:8000",
        "//user:hunter2@localhost:8000",
        "hunter2@localhost",
    ],
)
def test_password_in_host_is_not_shown(value: str) -> None:
    message = refusal({HOST: value})
    assert message.startswith(HOST_WANTED)
    assert "hunter2" not in message


def test_user_info_in_host_is_explained() -> None:
    assert refusal({HOST: "http://user:hunter2@localhost:8000"}) == (
        f"{HOST_WANTED}, without user or password (its value isn't shown here); credentials go"
        f" into {ID!r} and {SECRET!r}."
    )


HEADERS_WANTED = (
    "'DYNAMODB_EXTRA_HEADERS' must be a mapping of header names to values, both strings"
)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (["X-Proxy"], "it is of type 'list'."),
        (5, "it is of type 'int'."),
        ("s3cr3t", "as text, it must be a JSON object."),
        ("", "as text, it must be a JSON object."),
        ('["s3cr3t"]', "it is of type 'list'."),
        ("[" * 100_000, "as text, it must be a JSON object."),
        ({"X-Proxy": 5}, "the value of 'X-Proxy' is of type 'int'."),
        ({"X-Proxy": None}, "the value of 'X-Proxy' is of type 'NoneType'."),
        ({"X-Proxy": b"s3cr3t"}, "the value of 'X-Proxy' is of type 'bytes'."),
        ('{"X-Proxy": 5}', "the value of 'X-Proxy' is of type 'int'."),
        (
            {"X-Proxy": "s3cr3t\r\nX-Evil: 1"},
            "the value of 'X-Proxy' holds what a header can't (a line break, say).",
        ),
        (
            {"X-Proxy": "s3cr3té"},
            "the value of 'X-Proxy' holds what a header can't (a line break, say).",
        ),
        *(
            (
                {"X-A": "", name: "s3cr3t"},
                "the name of header number 2 is invalid (it isn't shown here).",
            )
            for name in (5, "", "X Proxy", "X-Proxy:", "X-Proxy\n", "X-Proxy: s3cr3t")
        ),
        ({"s3cr3t" * 8: 5}, "the value of header number 1 is of type 'int'."),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_headers_that_are_none(value: t.Any, reason: str) -> None:
    message = refusal({HEADERS: value})
    assert message == f"{HEADERS_WANTED}; {reason}"
    assert "s3cr3t" not in message


@only_read
@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "content-length",
        "Content-Type",
        "Expect",
        "Transfer-Encoding",
        "X-Amz-Content-SHA256",
        "X-Amz-Date",
        "X-AMZ-SECURITY-TOKEN",
        "X-Amz-Target",
    ],
)
def test_header_that_would_break_each_request(name: str) -> None:
    assert refusal({HEADERS: {"X-A": "1", name: "s3cr3t"}}) == (
        f"'DYNAMODB_EXTRA_HEADERS' must not hold {name!r}, which each request has of its own."
    )


def test_header_that_is_there_twice() -> None:
    assert refusal({HEADERS: {"x-proxy": "s3cr3t", "X-Proxy": "s3cr3t"}}) == (
        "'DYNAMODB_EXTRA_HEADERS' must hold each header once; 'X-Proxy' is there twice."
    )


@pytest.mark.parametrize(
    "value",
    [
        "",
        "eu west",
        "-eu",
        "eu-",
        "eu/west",
        "evil.com#",
        "é",
        "eu-west-1\n",
        "123",
        "e" * 64,
        5,
        True,
    ],
    ids=repr,
)
def test_region_that_is_none(value: t.Any) -> None:
    shown = "a text of 64 characters" if value == "e" * 64 else repr(value)
    assert refusal({"DYNAMODB_REGION": value}) == (
        f"'DYNAMODB_REGION' must be the name of a region like 'us-east-1'; it is {shown}."
    )


def test_region_of_aws_configuration_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu west")
    message = refusal({})
    assert "'DYNAMODB_REGION' is not set" in message
    assert "AWS's own configuration" in message
    assert "'eu west'" in message


URL_WANTED = "must be a URL like 'http://localhost:8000' or 'https://…'"


@only_read
@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"])
def test_url_of_the_environment_that_is_none(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "http://user:hunter2@localhost")
    message = refusal({})
    assert message.startswith(f"the environment variable '{name}' {URL_WANTED}, without user")
    assert "hunter2" not in message
    monkeypatch.setenv(name, "local://")
    assert refusal({}).endswith(f"'{name}' {URL_WANTED}; it is 'local://'.")


def test_url_of_the_environment_that_botocore_does_not_take(
    in_app: InApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nothing")

    with in_app({}, DYNAMODB_HOST="http://localhost") as db:
        assert db.connection.client.meta.endpoint_url == "http://localhost"

    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://[::1]:8000")

    with in_app({}) as db:
        assert db.connection.client.meta.endpoint_url == "http://[::1]:8000"

    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "nothing")
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")

    with in_app({}) as db:
        assert db.connection.client.meta.endpoint_url.endswith("amazonaws.com")


def test_profile_that_does_not_exist(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert refusal({}) == (
        "'DYNAMODB_REGION' is not set and AWS's own configuration can't be read: The config"
        " profile (nobody) could not be found"
    )


@only_read
def test_prefix_that_is_too_long() -> None:
    assert Settings.from_mapping({"DYNAMODB_TABLE_NAME_PREFIX": "x" * 252})
    assert refusal({"DYNAMODB_TABLE_NAME_PREFIX": "x" * 253}) == (
        "'DYNAMODB_TABLE_NAME_PREFIX' must have at most 252 characters, because table names have at"
        " most 255; it has 253."
    )


@pytest.mark.parametrize("where", ["'DYNAMODB_TABLE_NAME_PREFIX'", "'Book.Meta.table_name_prefix'"])
def test_prefix_that_makes_a_table_name_too_long(in_app: InApp, where: str) -> None:
    declared = {"table_name": "four"}
    config = {"DYNAMODB_TABLE_NAME_PREFIX": "x" * 252}

    if "Meta" in where:
        declared["table_name_prefix"] = config.pop("DYNAMODB_TABLE_NAME_PREFIX")

    class Book(Model):
        Meta = type("Meta", (), declared)
        id = UnicodeAttribute(hash_key=True)

    with in_app(config), pytest.raises(ConfigError) as raised:
        Book.get("a")

    assert str(raised.value) == (
        f"{where} and 'Book.Meta.table_name' must have at most 255 characters together, the"
        " longest that a table name may be; they have 256."
    )


def test_prefix_that_the_environment_made_a_number() -> None:
    assert refusal({"DYNAMODB_TABLE_NAME_PREFIX": 5}) == (
        "'DYNAMODB_TABLE_NAME_PREFIX' must be a string, but it is of type 'int'. A value that"
        " 'from_prefixed_env' reads is parsed as JSON: put it in double quotes there."
    )


@pytest.mark.parametrize("value", ["a b", "a/b", "é", "a\n"], ids=repr)
def test_prefix_that_no_table_can_have(value: str) -> None:
    message = refusal({"DYNAMODB_TABLE_NAME_PREFIX": value})
    assert message.startswith(
        "'DYNAMODB_TABLE_NAME_PREFIX' must consist of what table names may hold (letters, digits,"
        " '_', '-', '.'); it is "
    )


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("DYNAMODB_BLOCKING_CALLS", "'allow' or 'warn' or 'raise'"),
        ("DYNAMODB_UNCERTAIN_WRITES", "'retry' or 'raise'"),
        ("DYNAMODB_BILLING_MODE", "'PAY_PER_REQUEST' or 'PROVISIONED'"),
        ("DYNAMODB_TRANSPORT", "'auto' or 'botocore' or 'direct'"),
    ],
)
@pytest.mark.parametrize("value", ["no", "", "Raise", "raise ", True, 5, 0.5], ids=repr)
def test_choice_that_there_is_not(key: str, wanted: str, value: t.Any) -> None:
    assert refusal({key: value}) == f"'{key}' must be {wanted}; it is {value!r}."


def test_long_value_is_cut() -> None:
    assert len(refusal({"DYNAMODB_REGION": "x" * 10_000})) < 300


class Broken:
    """Nothing that Python may ask of a value works on it."""

    def __repr__(self) -> str:
        raise ZeroDivisionError

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError

    __hash__ = None  # type: ignore[assignment]


@only_read
@pytest.mark.parametrize("key", [setting.key for setting in SETTINGS.values()])
@pytest.mark.parametrize("value", [Broken(), ["s3cr3t"], ("s3cr3t",), b"s3cr3t"], ids=type)
def test_value_of_another_type_is_named_by_its_type(key: str, value: t.Any) -> None:
    message = refusal({ID: "AKID", SECRET: "other", key: value})
    assert message.startswith(f"'{key}' must be ")
    assert f"of type '{type(value).__name__}'" in message
    assert "s3cr3t" not in message


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("DYNAMODB_REGOIN", "DYNAMODB_REGION"),
        ("DYNAMODB_MAX_RETRIES", "DYNAMODB_MAX_RETRY_ATTEMPTS"),
        ("DYNAMODB_ACCESS_KEY_ID", "DYNAMODB_AWS_ACCESS_KEY_ID"),
        ("DYNAMODB_CONNECT_TIMEOUT", "DYNAMODB_CONNECT_TIMEOUT_SECONDS"),
        ("DYNAMODB_ENDPOINT", "DYNAMODB_"),
    ],
)
def test_unknown_key_warns_with_the_nearest_one(key: str, nearest: str) -> None:
    app = flask.Flask("tests")
    app.config[key] = "s3cr3t"

    with pytest.warns(UserWarning, match=key) as warnings:
        PynamoDB(app)

    (warning,) = warnings
    message = str(warning.message)
    assert message.startswith(
        f"'{key}' is not a setting of dynamo-ext and has no effect. Did you mean '{nearest}"
    )
    assert "s3cr3t" not in message


FORGERY = "x\n\u2028WARNING forged\x1b[31m\u202e"


def test_unknown_key_forges_no_line() -> None:
    app = flask.Flask("tests")
    app.config[f"DYNAMODB_{FORGERY}"] = 5

    with pytest.warns(UserWarning, match="DYNAMODB_") as warnings:
        PynamoDB(app)

    assert str(warnings[0].message).isprintable()


@pytest.mark.parametrize("declared", [{"table_name": "a", "region": 5}, {"table_name": None}, None])
def test_name_of_a_model_forges_no_line(in_app: InApp, declared: dict[str, t.Any] | None) -> None:
    names = {} if declared is None else {"Meta": type("Meta", (), declared)}
    id_of_item = UnicodeAttribute(hash_key=True)
    model = t.cast(type[Model], type(FORGERY, (Model,), {**names, "id": id_of_item}))

    with in_app({}), pytest.raises((ConfigError, AttributeError)) as raised:
        model.get("a")

    assert str(raised.value).isprintable()
    assert "WARNING forged" in str(raised.value)


def call_constructor(app: flask.Flask) -> int:
    PynamoDB(app)
    return line_above()


def call_init_app(app: flask.Flask) -> int:
    PynamoDB().init_app(app)
    return line_above()


def line_above() -> int:
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno - 1


@pytest.mark.parametrize("call", [call_constructor, call_init_app])
def test_warning_points_at_the_line_of_the_caller(
    call: cabc.Callable[[flask.Flask], int],
) -> None:
    app = flask.Flask("tests")
    app.config["DYNAMODB_REGOIN"] = "eu-west-3"

    with pytest.warns(UserWarning, match="DYNAMODB_REGOIN") as warnings:
        line = call(app)

    assert (warnings[0].filename, warnings[0].lineno) == (__file__, line)


def test_prefix_of_another_product_is_no_unknown_key() -> None:
    app = flask.Flask("tests")
    app.config.update(DYNAMODB="x", DYNAMO_REGION="x", MY_DYNAMODB_REGION="x")
    PynamoDB(app)


def test_refused_app_can_be_mended() -> None:
    app = flask.Flask("tests")
    app.config["DYNAMODB_MAX_RETRY_ATTEMPTS"] = "abc"
    db = PynamoDB()

    with pytest.raises(ConfigError):
        db.init_app(app)

    app.config["DYNAMODB_MAX_RETRY_ATTEMPTS"] = "5"
    db.init_app(app)

    with app.app_context():
        assert db.settings.max_retry_attempts == 5


def test_same_extension_twice() -> None:
    app = flask.Flask("shop")
    db = PynamoDB(app)

    with pytest.raises(RuntimeError) as raised:
        db.init_app(app)

    assert str(raised.value) == (
        "A 'PynamoDB' extension is already initialised on the app 'shop'. Import and use that one"
        " instead."
    )


def test_another_extension_on_the_same_app() -> None:
    app = flask.Flask("shop")
    db = PynamoDB(app)

    with pytest.raises(RuntimeError, match="already initialised on the app 'shop'"):
        PynamoDB(app)

    assert app.extensions["pynamodb"] is db


@pytest.mark.parametrize(
    "no_app", [None, "shop", flask, flask.Flask], ids=["None", "name", "module", "class"]
)
def test_what_is_no_app(no_app: t.Any) -> None:
    with pytest.raises(TypeError) as raised:
        PynamoDB().init_app(no_app)

    assert str(raised.value) == (
        "'init_app' takes a Flask app (for Quart: 'dynamo_ext_async.PynamoDB'), not"
        f" {type(no_app).__name__!r}."
    )


def test_quart_app_on_the_extension_for_flask() -> None:
    with pytest.raises(TypeError) as raised:
        PynamoDB(quart.Quart("shop"))

    assert str(raised.value) == (
        "'init_app' takes a Flask app (for Quart: 'dynamo_ext_async.PynamoDB'), not 'Quart'."
    )


def test_what_is_no_app_on_the_extension_for_quart() -> None:
    with pytest.raises(TypeError) as raised:
        dynamo_ext_async.PynamoDB().init_app(t.cast(t.Any, "shop"))

    assert str(raised.value) == "'init_app' takes a Quart app or a Flask app, not 'str'."


CALLS: dict[str, cabc.Callable[[], object]] = {
    "get": lambda: Book.get("a"),
    "get_or_404": lambda: Book.get_or_404("a"),
    "first_or_404": lambda: Book.first_or_404(),
    "save": lambda: Book("a").save(),
    "delete": lambda: Book("a").delete(),
    "refresh": lambda: Book("a").refresh(),
    "query": lambda: list(Book.query("a")),
    "scan": lambda: list(Book.scan()),
    "count": lambda: Book.count(),
    "index query": lambda: list(Book.by_author.query("a")),
    "batch_get": lambda: list(Book.batch_get(["a"])),
    "exists": lambda: Book.exists(),
    "create_table": lambda: Book.create_table(),
}

DB_CALLS: dict[str, cabc.Callable[[PynamoDB], object]] = {
    "settings": lambda db: db.settings,
    "connection": lambda db: db.connection,
    "pool": lambda db: db.pool,
    "transact_get": lambda db: db.transact_get(),
    "transact_write": lambda db: db.transact_write(),
}

NO_APP = (
    "Outside an app context, and no app is initialised. Use 'with app.app_context():' (Flask) or"
    " 'async with app.app_context():' (Quart) around the call, after db.init_app(app)."
)

TWO_APPS = (
    "Outside an app context, and 2 apps are initialised ('one', 'two'). Use 'with"
    " app.app_context():' (Flask) or 'async with app.app_context():' (Quart) around the call."
)

NO_EXTENSION = (
    "The app 'bare' is not registered with a 'PynamoDB' extension. Did you forget to call"
    " 'db.init_app(app)'?"
)


@pytest.mark.parametrize("call", CALLS)
def test_model_without_any_app(call: str) -> None:
    with pytest.raises(RuntimeError) as raised:
        CALLS[call]()

    assert str(raised.value) == NO_APP


@pytest.mark.parametrize("call", DB_CALLS)
def test_extension_without_any_app(call: str) -> None:
    with pytest.raises(RuntimeError) as raised:
        DB_CALLS[call](PynamoDB())

    assert str(raised.value) == NO_APP


@pytest.mark.parametrize("call", CALLS)
def test_model_outside_of_two_apps(call: str) -> None:
    db = PynamoDB()
    apps = [flask.Flask("two"), quart.Quart("one")]
    db.init_app(apps[0])
    dynamo_ext_async.PynamoDB(apps[1])

    with pytest.raises(RuntimeError) as raised:
        CALLS[call]()

    assert str(raised.value) == TWO_APPS


@pytest.mark.parametrize("call", CALLS)
def test_model_in_the_context_of_an_app_without_the_extension(call: str) -> None:
    registered = flask.Flask("registered")
    PynamoDB(registered)
    bare = flask.Flask("bare")

    with bare.app_context(), pytest.raises(RuntimeError) as raised:
        CALLS[call]()

    assert str(raised.value) == NO_EXTENSION


@pytest.mark.parametrize("call", DB_CALLS)
def test_extension_in_the_context_of_an_app_without_it(call: str) -> None:
    with flask.Flask("bare").app_context(), pytest.raises(RuntimeError) as raised:
        DB_CALLS[call](PynamoDB())

    assert str(raised.value) == NO_EXTENSION


@pytest.mark.parametrize("call", DB_CALLS)
def test_extension_in_the_context_of_another_ones_app(call: str, in_app: InApp) -> None:
    with in_app({}), pytest.raises(RuntimeError) as raised:
        DB_CALLS[call](PynamoDB())

    assert str(raised.value) == (
        "The current app 'tests' is not registered with this 'PynamoDB' instance, but with another"
        " one. Did you create several?"
    )


def test_meta_outside_an_app_is_what_is_declared() -> None:
    meta: t.Any = Book.Meta
    assert meta.table_name == "book"

    with pytest.raises(AttributeError, match="region"):
        _ = meta.region


MISSING_TABLE: dict[str, tuple[cabc.Callable[[], object], type[Exception]]] = {
    "get": (lambda: Book.get("a"), GetError),
    "get_or_404": (lambda: Book.get_or_404("a"), GetError),
    "first_or_404": (lambda: Book.first_or_404(), ScanError),
    "save": (lambda: Book("a").save(), PutError),
    "delete": (lambda: Book("a").delete(), DeleteError),
    "update": (lambda: Book("a").update([Book.author.set("b")]), UpdateError),
    "refresh": (lambda: Book("a").refresh(), GetError),
    "query": (lambda: list(Book.query("a")), QueryError),
    "scan": (lambda: list(Book.scan()), ScanError),
    "index query": (lambda: list(Book.by_author.query("a")), QueryError),
    "batch_get": (lambda: list(Book.batch_get(["a"])), GetError),
    "describe_table": (lambda: Book.describe_table(), TableDoesNotExist),
    "count": (lambda: Book.count(), TableDoesNotExist),
}


@pytest.mark.parametrize("call", MISSING_TABLE)
def test_table_that_does_not_exist(in_app: InApp, config: dict[str, t.Any], call: str) -> None:
    make_call, expected = MISSING_TABLE[call]

    with in_app(config):
        with pytest.raises(expected) as raised:
            make_call()

        assert type(raised.value) is expected
        assert f"{config['DYNAMODB_TABLE_NAME_PREFIX']}book" in str(raised.value)


def test_exists_without_table(in_app: InApp, config: dict[str, t.Any]) -> None:
    with in_app(config):
        assert Book.exists() is False


def test_model_without_meta(in_app: InApp) -> None:
    class Shelf(Model):
        id = UnicodeAttribute(hash_key=True)

    with in_app({}), pytest.raises(AttributeError) as raised:
        Shelf.get("a")

    assert str(raised.value) == (
        f"{__name__}.{Shelf.__qualname__} has no 'Meta': a model needs 'class Meta:' with a"
        " 'table_name'."
    )


def test_meta_without_table_name(in_app: InApp) -> None:
    class Shelf(Model):
        class Meta:
            region = "eu-west-3"

        id = UnicodeAttribute(hash_key=True)

    with in_app({}), pytest.raises(AttributeError) as raised:
        Shelf.get("a")

    assert str(raised.value) == (
        f"{__name__}.{Shelf.__qualname__}.Meta has no 'table_name': a model needs one."
    )


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("table_name", 5, "must be a string, but it is of type 'int'."),
        ("region", "", "must be the name of a region like 'us-east-1'; it is ''."),
        (
            "host",
            "http://a_b.example",
            "must be a URL like 'http://localhost:8000' or 'https://…', or 'local://'; it is"
            " 'http://a_b.example': botocore refuses its host name, in which only letters, digits"
            " and '-' may stand between dots (an international name in its form 'xn--…').",
        ),
        (
            "host",
            "localhost:8000",
            "must be a URL like 'http://localhost:8000' or 'https://…', or 'local://'; it is"
            " 'localhost:8000'.",
        ),
        (
            "connect_timeout_seconds",
            0,
            f"{SECONDS_WANTED}; it is 0.",
        ),
        (
            "read_timeout_seconds",
            "abc",
            f"{SECONDS_WANTED}; it is 'abc'.",
        ),
        (
            "base_backoff_ms",
            -1,
            "must be a whole number, from 0 to 2147483647; it is -1.",
        ),
        (
            "max_retry_attempts",
            True,
            "must be a whole number, from 0 to 1000000; it is True.",
        ),
        ("max_pool_connections", 0, "must be a whole number, from 1 to 65535; it is 0."),
        (
            "extra_headers",
            ["x"],
            "must be a mapping of header names to values, both strings; it is of type 'list'.",
        ),
        (
            "read_capacity_units",
            1.5,
            "must be a whole number, from 1 to 9223372036854775807; it is 1.5.",
        ),
        (
            "write_capacity_units",
            "abc",
            "must be a whole number, from 1 to 9223372036854775807; it is 'abc'.",
        ),
        (
            "aws_access_key_id",
            5,
            "must be a string, but it is of type 'int'. A value that 'from_prefixed_env' reads is"
            " parsed as JSON: put it in double quotes there.",
        ),
        (
            "table_name_prefix",
            "a b",
            "must consist of what table names may hold (letters, digits, '_', '-', '.'); it is"
            " 'a b'.",
        ),
        (
            "billing_mode",
            "FREE",
            "must be 'PAY_PER_REQUEST' or 'PROVISIONED'; it is 'FREE'.",
        ),
    ],
)
def test_wrong_value_in_meta(in_app: InApp, name: str, value: t.Any, reason: str) -> None:
    class Shelf(Model):
        Meta = type("Meta", (), {"table_name": "shelf", name: value})
        id = UnicodeAttribute(hash_key=True)

    with in_app({}):
        with pytest.raises(ConfigError) as raised:
            Shelf.get("a")

        assert str(raised.value) == f"'Shelf.Meta.{name}' {reason}"

        with pytest.raises(ConfigError, match=re.escape(f"'Shelf.Meta.{name}'")):
            _ = Shelf.Meta


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ("aws_access_key_id", ["aws_secret_access_key"]),
        ("aws_secret_access_key", ["aws_access_key_id"]),
        ("aws_session_token", ["aws_access_key_id", "aws_secret_access_key"]),
    ],
)
def test_half_a_pair_of_credentials_in_meta(in_app: InApp, given: str, missing: list[str]) -> None:
    class Shelf(Model):
        Meta = type("Meta", (), {"table_name": "shelf", given: "s3cr3t"})
        id = UnicodeAttribute(hash_key=True)

    # The app's keys do not complete the model's.
    with in_app({ID: "AKID", SECRET: "other"}), pytest.raises(ConfigError) as raised:
        Shelf.get("a")

    wanted = " and ".join(f"'Shelf.Meta.{name}'" for name in missing)
    assert str(raised.value) == (
        f"{wanted} must be set together with 'Shelf.Meta.{given}'; leave out all of them to use"
        " botocore's credential chain."
    )
