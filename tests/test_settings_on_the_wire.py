"""The effect of settings on requests and tables."""

from __future__ import annotations

import collections.abc as cabc
import hashlib
import hmac
import typing as t

import flask
import pytest
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import GetError
from pynamodb.indexes import AllProjection
from pynamodb.indexes import GlobalSecondaryIndex
from pynamodb.indexes import LocalSecondaryIndex

from conftest import InApp
from dynamo_ext import ConfigError
from dynamo_ext import Model
from dynamo_ext import PynamoDB
from stub import INTERNAL_ERROR
from stub import Request
from stub import Stub

pytestmark = pytest.mark.wire

ON_WIRE: dict[str, t.Any] = {
    "DYNAMODB_REGION": "eu-west-3",
    "DYNAMODB_MAX_RETRY_ATTEMPTS": 2,
    "DYNAMODB_BASE_BACKOFF_MS": 0,
    "DYNAMODB_EXTRA_HEADERS": {"X-Proxy": "let me in", "x-Second": "2"},
    "DYNAMODB_AWS_ACCESS_KEY_ID": "AKIDDISTINCT",
    "DYNAMODB_AWS_SECRET_ACCESS_KEY": "a secret/of+its=own",
    "DYNAMODB_AWS_SESSION_TOKEN": "a-token==",
}

AS_TEXT = {
    **{key: str(value) for key, value in ON_WIRE.items()},
    "DYNAMODB_EXTRA_HEADERS": '{"X-Proxy": "let me in", "x-Second": "2"}',
}


class ByAuthor(GlobalSecondaryIndex[t.Any]):
    class Meta:
        index_name = "by-author"
        projection = AllProjection()

    author = UnicodeAttribute(hash_key=True)


class ByPages(GlobalSecondaryIndex[t.Any]):
    class Meta:
        index_name = "by-pages"
        projection = AllProjection()
        read_capacity_units = 2
        write_capacity_units = 4

    pages = NumberAttribute(hash_key=True)


class ByPagesInShelf(LocalSecondaryIndex[t.Any]):
    class Meta:
        index_name = "by-pages-in-shelf"
        projection = AllProjection()

    shelf = UnicodeAttribute(hash_key=True)
    pages = NumberAttribute(range_key=True)


class Book(Model):
    class Meta:
        table_name = "book"

    shelf = UnicodeAttribute(hash_key=True)
    title = UnicodeAttribute(range_key=True)
    author = UnicodeAttribute(null=True)
    pages = NumberAttribute(null=True)
    by_author = ByAuthor()
    by_pages = ByPages()
    by_pages_in_shelf = ByPagesInShelf()


def get_by_model(db: PynamoDB) -> None:
    Book.get("a", "b")


def get_by_transaction(db: PynamoDB) -> None:
    with db.transact_get() as transaction:
        transaction.get(Book, "a", "b")


def list_by_connection(db: PynamoDB) -> None:
    db.connection.list_tables()


CALLS = {
    "model": (get_by_model, "GetItem"),
    "transaction": (get_by_transaction, "TransactGetItems"),
    "connection": (list_by_connection, "ListTables"),
}


def expected_digest(request: Request, secret: str) -> str:
    """The signature that AWS would compute with this secret key."""
    signature = request.signature
    scope = f"{signature.date}/{signature.region}/dynamodb/aws4_request"
    headers = "".join(f"{name}:{request.header(name)}\n" for name in signature.signed_headers)
    canonical = "\n".join(
        [
            request.method,
            request.path,
            "",
            headers,
            ";".join(signature.signed_headers),
            hashlib.sha256(request.content).hexdigest(),
        ]
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"AWS4-HMAC-SHA256\n{request.header('X-Amz-Date')}\n{scope}\n{digest}"
    key = f"AWS4{secret}".encode()

    for part in (*scope.split("/"), to_sign):
        key = hmac.digest(key, part.encode(), "sha256")

    return key.hex()


def check_request(request: Request, secret: str = "a secret/of+its=own") -> None:
    signature = request.signature
    assert signature.region == "eu-west-3"
    assert signature.access_key_id == "AKIDDISTINCT"
    assert signature.digest == expected_digest(request, secret)
    assert request.header("X-Amz-Security-Token") == "a-token=="
    assert ("X-Proxy", "let me in") in request.headers
    assert ("x-Second", "2") in request.headers
    assert not {"x-proxy", "x-second"} & {name.lower() for name in signature.signed_headers}


@pytest.mark.parametrize("settings", [ON_WIRE, AS_TEXT], ids=["values", "text"])
@pytest.mark.parametrize("call", CALLS)
def test_settings_are_in_the_request(
    in_app: InApp, stub: Stub, settings: dict[str, t.Any], call: str
) -> None:
    make_call, operation = CALLS[call]

    with in_app(settings, DYNAMODB_HOST=stub.url) as db:
        make_call(db)

    (request,) = stub.requests
    assert request.operation == operation
    check_request(request)


def test_settings_of_prefixed_environment_are_in_the_request(
    in_app: InApp, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, text in {**AS_TEXT, "DYNAMODB_HOST": stub.url}.items():
        monkeypatch.setenv(f"FLASK_{key}", text)

    config = flask.Config(".")
    config.from_prefixed_env()

    with in_app(config):
        Book.get("a", "b")

    check_request(stub.requests[0])


def test_settings_of_meta_are_in_the_request(in_app: InApp, stub: Stub) -> None:
    declared = {key.removeprefix("DYNAMODB_").lower(): value for key, value in ON_WIRE.items()}

    class Shelf(Model):
        Meta = type("Meta", (), {"table_name": "shelf", "host": stub.url, **declared})
        id = UnicodeAttribute(hash_key=True)

    others = {
        "DYNAMODB_REGION": "us-west-2",
        # Nothing listens there.
        "DYNAMODB_HOST": "http://127.0.0.1:9",
        "DYNAMODB_EXTRA_HEADERS": {"X-Proxy": "no", "X-Of-App": "1"},
        "DYNAMODB_AWS_ACCESS_KEY_ID": "AKIDOTHER",
        "DYNAMODB_AWS_SECRET_ACCESS_KEY": "other",
        "DYNAMODB_AWS_SESSION_TOKEN": "other",
    }

    with in_app(others):
        Shelf.get("a")

    (request,) = stub.requests
    check_request(request)
    assert request.header("X-Of-App") is None


def test_keys_of_meta_go_without_the_token_of_the_app(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    class Shelf(Model):
        class Meta:
            table_name = "shelf"
            aws_access_key_id = "AKIDOFMODEL"
            aws_secret_access_key = "of the model"

        id = UnicodeAttribute(hash_key=True)

    with in_app(stub_config, DYNAMODB_AWS_SESSION_TOKEN="of-the-app"):
        Shelf.get("a")
        Book.get("a", "b")

    of_model, of_app = stub.requests
    assert of_model.signature.access_key_id == "AKIDOFMODEL"
    assert of_model.header("X-Amz-Security-Token") is None
    assert of_app.signature.access_key_id == stub_config["DYNAMODB_AWS_ACCESS_KEY_ID"]
    assert of_app.header("X-Amz-Security-Token") == "of-the-app"


def test_empty_headers_of_meta_win_over_those_of_the_app(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    class Shelf(Model):
        class Meta:
            table_name = "shelf"
            extra_headers: t.ClassVar[dict[str, str]] = {}

        id = UnicodeAttribute(hash_key=True)

    with in_app(stub_config, DYNAMODB_EXTRA_HEADERS={"X-Proxy": "1"}):
        Shelf.get("a")

    assert stub.requests[0].header("X-Proxy") is None


def test_headers_are_added_to_every_attempt(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    stub.next("ListTables", INTERNAL_ERROR)
    settings = {"DYNAMODB_BASE_BACKOFF_MS": 0, "DYNAMODB_EXTRA_HEADERS": {"X-Proxy": "1"}}

    with in_app(stub_config, **settings) as db:
        db.connection.list_tables()

    assert [request.header("X-Proxy") for request in stub.requests] == ["1", "1"]


@pytest.mark.parametrize("retries", [0, 1, 2, "0", "2"], ids=repr)
def test_max_retry_attempts(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any], retries: int | str
) -> None:
    stub.always("GetItem", INTERNAL_ERROR)
    settings = {"DYNAMODB_MAX_RETRY_ATTEMPTS": retries, "DYNAMODB_BASE_BACKOFF_MS": "0"}

    with in_app(stub_config, **settings), pytest.raises(GetError, match="InternalServerError"):
        Book.get("a", "b")

    assert len(stub.requests) == 1 + int(retries)


def test_max_retry_attempts_of_meta(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    stub.always("GetItem", INTERNAL_ERROR)

    class Shelf(Model):
        class Meta:
            table_name = "shelf"
            max_retry_attempts = 0

        id = UnicodeAttribute(hash_key=True)

    with in_app(stub_config, DYNAMODB_MAX_RETRY_ATTEMPTS=2), pytest.raises(GetError):
        Shelf.get("a")

    assert len(stub.requests) == 1


def table_names(request: Request) -> set[str]:
    """Every table that a request names."""
    body = request.body

    if "RequestItems" in body:
        return set(body["RequestItems"])

    if "TransactItems" in body:
        return {part["TableName"] for item in body["TransactItems"] for part in item.values()}

    return {body["TableName"]}


PrefixedCall = cabc.Callable[[PynamoDB, type[Model]], object]


def batch_write(db: PynamoDB, model: type[Model]) -> None:
    with model.batch_write() as batch:
        batch.save(model("a", "b"))


def transact_write(db: PynamoDB, model: type[Model]) -> None:
    with db.transact_write() as transaction:
        transaction.save(model("a", "b"))
        transaction.delete(model("a", "c"))


def transact_get(db: PynamoDB, model: type[Model]) -> None:
    with db.transact_get() as transaction:
        transaction.get(model, "a", "b")


PREFIXED_CALLS: dict[str, PrefixedCall] = {
    "create": lambda db, model: model.create_table(),
    "describe": lambda db, model: model.exists(),
    "get": lambda db, model: model.get("a", "b"),
    "save": lambda db, model: model("a", "b").save(),
    "delete": lambda db, model: model("a", "b").delete(),
    "update": lambda db, model: model("a", "b").update([t.cast(t.Any, model).pages.set(1)]),
    "refresh": lambda db, model: model("a", "b").refresh(),
    "query": lambda db, model: list(model.query("a")),
    "scan": lambda db, model: list(model.scan()),
    "count": lambda db, model: model.count("a"),
    "index query": lambda db, model: list(t.cast(t.Any, model).by_author.query("a")),
    "index scan": lambda db, model: list(t.cast(t.Any, model).by_author.scan()),
    "batch get": lambda db, model: list(model.batch_get([("a", "b")])),
    "batch write": batch_write,
    "transact get": transact_get,
    "transact write": transact_write,
}


@pytest.mark.parametrize("call", PREFIXED_CALLS)
def test_every_call_names_the_prefixed_table(in_app: InApp, stub: Stub, call: str) -> None:
    with in_app(ON_WIRE, DYNAMODB_HOST=stub.url, DYNAMODB_TABLE_NAME_PREFIX="stage-") as db:
        PREFIXED_CALLS[call](db, Book)

    assert stub.requests
    assert {name for request in stub.requests for name in table_names(request)} == {"stage-book"}


@pytest.mark.parametrize("call", PREFIXED_CALLS)
def test_model_without_prefix(in_app: InApp, stub: Stub, call: str) -> None:
    class Shelf(Book):
        class Meta(Book.Meta):
            table_name = "shelf"
            table_name_prefix = ""

    with in_app(ON_WIRE, DYNAMODB_HOST=stub.url, DYNAMODB_TABLE_NAME_PREFIX="stage-") as db:
        PREFIXED_CALLS[call](db, Shelf)

    assert stub.requests
    assert {name for request in stub.requests for name in table_names(request)} == {"shelf"}


def test_prefixed_table_on_engine(in_app: InApp, config: dict[str, t.Any]) -> None:
    with in_app(config) as db:
        Book.create_table(wait=True)
        Book("a", "b", author="me").save()
        assert Book.get("a", "b").author == "me"
        assert [book.title for book in Book.by_author.query("me")] == ["b"]
        name = f"{config['DYNAMODB_TABLE_NAME_PREFIX']}book"
        assert db.connection.describe_table(name)["TableName"] == name

    with in_app(config, DYNAMODB_TABLE_NAME_PREFIX="another-"):
        assert not Book.exists()


@pytest.mark.parametrize(
    "capacity",
    [
        {"DYNAMODB_READ_CAPACITY_UNITS": 7, "DYNAMODB_WRITE_CAPACITY_UNITS": 9},
        {"DYNAMODB_READ_CAPACITY_UNITS": "7", "DYNAMODB_WRITE_CAPACITY_UNITS": "9"},
    ],
    ids=["values", "text"],
)
def test_capacity_of_table_and_indexes(
    in_app: InApp, config: dict[str, t.Any], capacity: dict[str, t.Any]
) -> None:
    with in_app(config, **capacity):
        Book.create_table(wait=True)
        table = Book.describe_table()

    assert capacity_of(table) == (7, 9)
    assert {index["IndexName"]: capacity_of(index) for index in global_indexes(table)} == {
        "by-author": (7, 9),
        "by-pages": (2, 4),
    }
    assert table.get("BillingModeSummary", {}).get("BillingMode") != "PAY_PER_REQUEST"


def capacity_of(description: t.Any) -> tuple[int, int]:
    throughput = description["ProvisionedThroughput"]
    return throughput["ReadCapacityUnits"], throughput["WriteCapacityUnits"]


def global_indexes(table: t.Any) -> list[t.Any]:
    return t.cast("list[t.Any]", table["GlobalSecondaryIndexes"])


def test_capacity_of_meta_wins_over_app(in_app: InApp, config: dict[str, t.Any]) -> None:
    class Shelf(Book):
        class Meta(Book.Meta):
            table_name = "shelf"
            read_capacity_units = 3
            write_capacity_units = 5

    capacity = {"DYNAMODB_READ_CAPACITY_UNITS": 7, "DYNAMODB_WRITE_CAPACITY_UNITS": 9}

    with in_app(config, **capacity):
        Shelf.create_table(wait=True)
        table = Shelf.describe_table()

    assert capacity_of(table) == (3, 5)
    assert sorted(map(capacity_of, global_indexes(table))) == [(2, 4), (3, 5)]


def test_capacity_half_of_meta_half_of_app(in_app: InApp, config: dict[str, t.Any]) -> None:
    class Shelf(Model):
        class Meta:
            table_name = "shelf"
            read_capacity_units = 3

        id = UnicodeAttribute(hash_key=True)

    with in_app(config, DYNAMODB_WRITE_CAPACITY_UNITS=9):
        Shelf.create_table(wait=True)
        assert capacity_of(Shelf.describe_table()) == (3, 9)


def test_capacity_as_argument_wins(in_app: InApp, config: dict[str, t.Any]) -> None:
    capacity = {"DYNAMODB_READ_CAPACITY_UNITS": 7, "DYNAMODB_WRITE_CAPACITY_UNITS": 9}

    with in_app(config, **capacity):
        Book.create_table(wait=True, read_capacity_units=11)
        assert capacity_of(Book.describe_table()) == (11, 9)


def test_capacity_as_argument_means_provisioned(in_app: InApp, config: dict[str, t.Any]) -> None:
    with in_app(config):
        Book.create_table(wait=True, read_capacity_units=11, write_capacity_units=13)
        table = Book.describe_table()

    assert capacity_of(table) == (11, 13)
    assert sorted(map(capacity_of, global_indexes(table))) == [(2, 4), (11, 13)]


def test_without_capacity_tables_are_on_demand(in_app: InApp, config: dict[str, t.Any]) -> None:
    with in_app(config):
        Book.create_table(wait=True)
        table = Book.describe_table()

    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert capacity_of(table) == (0, 0)


@pytest.mark.parametrize("source", ["app", "meta", "argument"])
def test_billing_mode_wins_over_capacity(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any], source: str
) -> None:
    declared = {"table_name": "shelf", "read_capacity_units": 3, "write_capacity_units": 5}

    if source == "meta":
        declared["billing_mode"] = "PAY_PER_REQUEST"

    class Shelf(Model):
        Meta = type("Meta", (), declared)
        id = UnicodeAttribute(hash_key=True)

    mode = "PAY_PER_REQUEST"
    settings = {"DYNAMODB_BILLING_MODE": mode} if source == "app" else {}

    with in_app(stub_config, **settings):
        Shelf.create_table(billing_mode=mode if source == "argument" else None)

    create = next(request for request in stub.requests if request.operation == "CreateTable")
    assert create.body["BillingMode"] == "PAY_PER_REQUEST"
    assert "ProvisionedThroughput" not in create.body


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"DYNAMODB_READ_CAPACITY_UNITS": 7},
            "'DYNAMODB_WRITE_CAPACITY_UNITS' must be set, or the same in the model's Meta, to"
            " create table 'book' with billing mode 'PROVISIONED'.",
        ),
        (
            {"DYNAMODB_BILLING_MODE": "PROVISIONED"},
            "'DYNAMODB_READ_CAPACITY_UNITS' and 'DYNAMODB_WRITE_CAPACITY_UNITS' must be set, or"
            " the same in the model's Meta, to create table 'book' with billing mode"
            " 'PROVISIONED'.",
        ),
    ],
    ids=["half", "none"],
)
def test_missing_capacity_is_named(
    in_app: InApp, stub: Stub, settings: dict[str, t.Any], message: str
) -> None:
    with (
        in_app(ON_WIRE, DYNAMODB_HOST=stub.url, **settings),
        pytest.raises(ConfigError) as raised,
    ):
        Book.create_table()

    assert str(raised.value) == message
    assert "CreateTable" not in stub.operations


def test_host_with_a_path(in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]) -> None:
    with in_app(stub_config, DYNAMODB_HOST=f"{stub.url}/behind/a/proxy/") as db:
        db.connection.list_tables()

    assert stub.requests[0].path.rstrip("/") == "/behind/a/proxy"
