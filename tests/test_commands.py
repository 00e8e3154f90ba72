"""The commands ``flask dynamodb …`` and ``quart dynamodb …``, in this process."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import json
import re
import socket
import types
import typing as t
import uuid

import botocore.session
import click
import flask
import pynamodb.settings
import pytest
import quart
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import TTLAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.indexes import AllProjection
from pynamodb.indexes import GlobalSecondaryIndex
from pynamodb.indexes import IncludeProjection
from pynamodb.indexes import KeysOnlyProjection
from pynamodb.indexes import LocalSecondaryIndex

import engines
from conftest import InApp
from dynamo_ext.cli.group import dynamodb
from dynamo_ext_async import Model
from dynamo_ext_async import PynamoDB
from stub import Answer
from stub import Behaviour
from stub import Request
from stub import Stub
from stub import error

pytestmark = pytest.mark.once(reason="which calls the commands make is the same on any transport")

SECRETS = ("AKIDOFTHETESTS", "secret-of-the-tests")
DENIED = error(400, "AccessDeniedException", "not allowed")

Api = dict[str, t.Any]
Client = t.Any


class Result(t.NamedTuple):
    """What a command has done."""

    code: int
    output: str
    """The standard output and the standard error together."""

    @property
    def lines(self) -> list[str]:
        return self.output.splitlines()

    @property
    def json(self) -> t.Any:
        return json.loads(self.output[self.output.index("[\n") :])


def run(
    config: cabc.Mapping[str, t.Any],
    *arguments: str,
    line: str = "flask",
    answers: str = "",
    after: cabc.Callable[[t.Any], None] | None = None,
) -> Result:
    """Run a command in an app. Every command that is run here must name its tables, since other
    modules define models, too."""
    app = app_of(line, config)

    if after is not None:
        after(app)

    done = app.test_cli_runner().invoke(args=["dynamodb", *arguments], input=answers)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info

    for secret in SECRETS:
        assert secret not in done.output

    return Result(done.exit_code, done.output)


_apps: dict[str, t.Any] = {}


def app_of(line: str, config: cabc.Mapping[str, t.Any]) -> t.Any:
    """The app with these settings: one for all commands of a test."""
    key = f"{line} {config!r}"

    if key not in _apps:
        app = _apps[key] = {"flask": flask.Flask, "quart": quart.Quart}[line]("shop")
        app.config.from_mapping(config)
        PynamoDB(app)

    return _apps[key]


@pytest.fixture(autouse=True)
def forget_apps() -> cabc.Iterator[None]:
    yield
    _apps.clear()


both_lines = pytest.mark.parametrize("line", ["flask", "quart"])


@pytest.fixture
def name() -> str:
    """The name of a table that no other test has."""
    return f"order-{uuid.uuid4().hex[:10]}"


@pytest.fixture(scope="module")
def client(engine: str) -> cabc.Iterator[Client]:
    """A client that has nothing to do with this project."""
    yield from a_client(engine)


def table_names(client: Client) -> set[str]:
    """The names of all tables: one reply has 100 at most."""
    pages = client.get_paginator("list_tables").paginate()
    return {name for page in pages for name in page["TableNames"]}


def a_client(url: str, region: str = "us-east-1") -> cabc.Iterator[Client]:
    session = botocore.session.get_session()
    session.set_credentials(*SECRETS)
    client = session.create_client("dynamodb", region, endpoint_url=url)
    yield client
    client.close()


@pytest.fixture
def config(config: dict[str, t.Any]) -> dict[str, t.Any]:
    """Without a prefix: each table has a name of its own."""
    return {**config, "DYNAMODB_TABLE_NAME_PREFIX": ""}


@pytest.fixture
def stub_config(stub_config: dict[str, t.Any]) -> dict[str, t.Any]:
    return {**stub_config, "DYNAMODB_TABLE_NAME_PREFIX": ""}


def index(
    name: str = "by-owner",
    *,
    kind: t.Any = GlobalSecondaryIndex,
    projection: t.Any = None,
    hash_key: str = "owner",
    range_key: str | None = None,
    **meta: t.Any,
) -> t.Any:
    """An index that a model may have."""
    attributes: dict[str, t.Any] = {hash_key: UnicodeAttribute(hash_key=True)}

    if range_key is not None:
        attributes[range_key] = NumberAttribute(range_key=True)

    meta = {"index_name": name, "projection": projection or AllProjection(), **meta}
    return type("AnIndex", (kind,), {"Meta": type("Meta", (), meta), **attributes})()


def local_index(name: str = "by-price", **options: t.Any) -> t.Any:
    return index(name, kind=LocalSecondaryIndex, hash_key="id", range_key="price", **options)


def model(name: str, *indexes: t.Any, ttl: str | None = None, **meta: t.Any) -> type[Model]:
    """A model with the keys ``id`` and ``number``."""
    namespace: dict[str, t.Any] = {
        "Meta": type("Meta", (), {"table_name": name, **meta}),
        "id": UnicodeAttribute(hash_key=True),
        "number": NumberAttribute(range_key=True),
        "owner": UnicodeAttribute(null=True),
        "price": NumberAttribute(null=True),
        **{f"index_{number}": each for number, each in enumerate(indexes)},
        **({} if ttl is None else {ttl: TTLAttribute(null=True)}),
    }
    make: t.Any = type(Model)
    return t.cast("type[Model]", make("Order", (Model,), namespace))


def keys(hash_key: str = "id", range_key: str | None = "number") -> list[dict[str, str]]:
    schema = [{"AttributeName": hash_key, "KeyType": "HASH"}]
    ranges = [] if range_key is None else [{"AttributeName": range_key, "KeyType": "RANGE"}]
    return schema + ranges


def attributes(**types: str) -> list[dict[str, str]]:
    types = {"id": "S", "number": "N", **types}
    return [{"AttributeName": name, "AttributeType": kind} for name, kind in types.items()]


def create(client: Client, name: str, **different: t.Any) -> None:
    """Create the table of :func:`model`, without its indexes, by stock botocore."""
    wanted = {
        "TableName": name,
        "KeySchema": keys(),
        "AttributeDefinitions": attributes(),
        "BillingMode": "PAY_PER_REQUEST",
        **different,
    }
    client.create_table(**wanted)
    client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})


def gsi(
    name: str = "by-owner", *, hash_key: str = "owner", projection: str = "ALL", **more: t.Any
) -> Api:
    return {
        "IndexName": name,
        "KeySchema": keys(hash_key, None),
        "Projection": {"ProjectionType": projection},
        **more,
    }


def units(read: int, write: int) -> dict[str, int]:
    return {"ReadCapacityUnits": read, "WriteCapacityUnits": write}


PROVISIONED: Api = {"BillingMode": "PROVISIONED", "ProvisionedThroughput": units(1, 1)}
WITH_OWNER: Api = {"AttributeDefinitions": attributes(owner="S")}
WITH_INDEX: Api = {**WITH_OWNER, "GlobalSecondaryIndexes": [gsi()]}


@dataclasses.dataclass(frozen=True)
class Case:
    """A table, a model, and in what they differ."""

    line: str
    """The end of the line of ``check``."""

    table: Api = dataclasses.field(default_factory=Api)
    indexes: tuple[cabc.Callable[[], t.Any], ...] = ()
    meta: Api = dataclasses.field(default_factory=Api)
    ttl: str | None = None
    engines: tuple[str, ...] = ("embedded", "dynoxide")
    """The engines that can show it, and change it."""

    ttl_before: str | None = None


CHANGEABLE = {
    "an index is missing": Case(
        "global index 'by-owner': declared owner HASH S; projection ALL, actual missing",
        indexes=(index,),
    ),
    "an index is too many": Case(
        "global index 'by-owner': declared nothing, actual owner HASH S; projection ALL",
        WITH_INDEX,
    ),
    "an index has other keys": Case(
        "keys of global index 'by-owner': declared owner HASH S, price RANGE N,"
        " actual owner HASH S",
        WITH_INDEX,
        (lambda: index(range_key="price"),),
    ),
    "an index has another projection": Case(
        "projection of global index 'by-owner': declared INCLUDE a, b, actual ALL",
        WITH_INDEX,
        (lambda: index(projection=IncludeProjection(["b", "a"])),),
    ),
    "billing on demand": Case(
        "billing mode: declared PAY_PER_REQUEST, actual PROVISIONED", PROVISIONED
    ),
    "provisioned billing": Case(
        "billing mode: declared PROVISIONED, actual PAY_PER_REQUEST",
        WITH_INDEX,
        (index,),
        {"read_capacity_units": 2, "write_capacity_units": 3},
    ),
    "capacity": Case(
        "capacity: declared 2 read, ? write, actual 1 read, 1 write",
        PROVISIONED,
        meta={"billing_mode": "PROVISIONED", "read_capacity_units": 2},
    ),
    "capacity of an index": Case(
        "capacity of global index 'by-owner': declared 5 read, 6 write, actual 1 read, 1 write",
        {
            **PROVISIONED,
            **WITH_OWNER,
            "GlobalSecondaryIndexes": [gsi(ProvisionedThroughput=units(1, 1))],
        },
        (lambda: index(read_capacity_units=5, write_capacity_units=6),),
        {"read_capacity_units": 1, "write_capacity_units": 1},
        engines=("embedded",),
    ),
    "a TTL is missing": Case("TTL: declared expires, actual nothing", ttl="expires"),
    "a TTL is too many": Case("TTL: declared nothing, actual old", ttl_before="old"),
    "another TTL": Case("TTL: declared expires, actual old", ttl="expires", ttl_before="old"),
    "a stream is missing": Case(
        "stream: declared NEW_IMAGE, actual nothing", meta={"stream_view_type": "NEW_IMAGE"}
    ),
    "another stream": Case(
        "stream: declared NEW_IMAGE, actual KEYS_ONLY",
        {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}},
        meta={"stream_view_type": "NEW_IMAGE"},
        engines=("dynoxide",),
    ),
    "a tag is missing": Case(
        "tag 'team': declared 'a', actual missing",
        {"Tags": [{"Key": "cost", "Value": "1"}]},
        meta={"tags": {"team": "a"}},
    ),
    "another tag": Case(
        "tag 'team': declared 'a', actual 'b'",
        {"Tags": [{"Key": "team", "Value": "b"}]},
        meta={"tags": {"team": "a"}},
    ),
    "deletion protection": Case(
        "deletion protection: declared on, actual off", meta={"deletion_protection_enabled": True}
    ),
    "point-in-time recovery": Case(
        "point-in-time recovery: declared on, actual off",
        meta={"point_in_time_recovery_enabled": True},
        engines=("embedded",),
    ),
}

UNCHANGEABLE = {
    "keys": Case(
        "keys: declared id HASH S, number RANGE N, actual id HASH S",
        {"KeySchema": keys("id", None), "AttributeDefinitions": attributes()[:1]},
    ),
    "the type of a key": Case(
        "keys: declared id HASH S, number RANGE N, actual id HASH S, number RANGE S",
        {"AttributeDefinitions": attributes(number="S")},
    ),
    "a local index": Case(
        "local index 'by-price': declared id HASH S, price RANGE N; projection ALL, actual missing",
        indexes=(local_index,),
    ),
    "the projection of a local index": Case(
        "local index 'by-price': declared id HASH S, price RANGE N; projection KEYS_ONLY,"
        " actual id HASH S, price RANGE N; projection ALL",
        {
            "AttributeDefinitions": attributes(price="N"),
            "LocalSecondaryIndexes": [
                {
                    "IndexName": "by-price",
                    "KeySchema": keys("id", "price"),
                    "Projection": {"ProjectionType": "ALL"},
                }
            ],
        },
        (lambda: local_index(projection=KeysOnlyProjection()),),
    ),
}


def every(*groups: cabc.Mapping[str, Case]) -> pytest.MarkDecorator:
    """Each case, on each engine that can show it."""
    pairs = [
        pytest.param(engine, case, id=f"{name}-{engine}")
        for cases in groups
        for name, case in cases.items()
        for engine in case.engines
    ]
    return pytest.mark.parametrize(("engine", "case"), pairs, indirect=["engine"])


def prepare(case: Case, client: Client, name: str) -> type[Model]:
    """Create the table of a case, and define its model."""
    create(client, name, **case.table)

    if case.ttl_before is not None:
        ttl = {"Enabled": True, "AttributeName": case.ttl_before}
        client.update_time_to_live(TableName=name, TimeToLiveSpecification=ttl)

    return model(name, *(make() for make in case.indexes), ttl=case.ttl, **case.meta)


# check, sync


@every(CHANGEABLE)
def test_check_names_what_differs_and_sync_changes_it(
    case: Case, name: str, config: dict[str, t.Any], client: Client
) -> None:
    kept = prepare(case, client, name)
    key = {"id": {"S": "1"}, "number": {"N": "1"}}
    client.put_item(TableName=name, Item=key)

    before = run(config, "check", name)
    assert before.code == 1
    assert f"{name}: differs: {case.line}" in before.lines
    assert all(line.startswith(f"{name}: ") for line in before.lines)

    synced = run(config, "sync", "--yes", name)
    assert synced.code == 0, synced.output
    assert any(line.startswith(f"{name}: plan: ") for line in synced.lines)
    assert run(config, "check", name) == (0, f"{name}: ok\n")
    assert run(config, "sync", name) == (0, f"{name}: ok\n")
    assert client.get_item(TableName=name, Key=key)["Item"] == key
    del kept


@every(UNCHANGEABLE)
def test_sync_refuses_what_would_lose_items(
    case: Case, name: str, config: dict[str, t.Any], client: Client
) -> None:
    kept = prepare(case, client, name)
    before = client.describe_table(TableName=name)["Table"]
    checked = run(config, "check", name)
    assert checked.code == 1
    assert f"{name}: differs: {case.line}" in checked.lines

    done = run(config, "sync", "--yes", name)
    assert done.code == 1
    assert f"{name}: refused: {case.line}. DynamoDB can't change this" in done.output
    assert f"export FILE {name}" in done.output
    assert client.describe_table(TableName=name)["Table"] == before
    del kept


def test_a_refusal_of_one_table_changes_no_other(
    name: str, config: dict[str, t.Any], client: Client
) -> None:
    refused = f"{name}-2"
    create(client, name)
    create(client, refused)
    kept = model(name, index()), model(refused, local_index())
    done = run(config, "sync", "--yes", name, refused)
    assert done.code == 1
    assert (
        f"{name}: plan: create global index 'by-owner' (owner HASH S; projection ALL)" in done.lines
    )
    assert "Nothing was changed" in done.output
    assert not client.describe_table(TableName=name)["Table"].get("GlobalSecondaryIndexes")
    assert run(config, "sync", name).code == 0
    del kept


def test_what_models_do_not_declare_is_not_compared(
    name: str, embedded: str, embedded_config: dict[str, t.Any]
) -> None:
    config = {**embedded_config, "DYNAMODB_TABLE_NAME_PREFIX": ""}

    for client in a_client(embedded):
        create(
            client,
            name,
            BillingMode="PROVISIONED",
            ProvisionedThroughput=units(7, 8),
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"},
            Tags=[{"Key": "cost", "Value": "1"}],
            DeletionProtectionEnabled=True,
        )
        switch = {"PointInTimeRecoveryEnabled": True}
        client.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=switch)

    kept = model(name, billing_mode="PROVISIONED")
    assert run(config, "check", name) == (0, f"{name}: ok\n")
    del kept


def test_what_the_engine_lacks_is_said_to_be_not_compared(
    name: str, dynoxide: str, stub_config: dict[str, t.Any]
) -> None:
    config = {**stub_config, "DYNAMODB_HOST": dynoxide}

    for client in a_client(dynoxide):
        create(client, name)

    kept = model(name, point_in_time_recovery_enabled=True)
    note = f"{name}: not compared: point-in-time recovery: this engine has none"
    assert run(config, "check", name) == (0, f"{name}: ok\n{note}\n")
    assert run(config, "sync", name) == (0, f"{name}: ok\n{note}\n")
    del kept


@both_lines
def test_sync_asks_before_it_removes(
    line: str, name: str, config: dict[str, t.Any], client: Client
) -> None:
    create(client, name, **WITH_INDEX)
    kept = model(name)
    refused = run(config, "sync", name, line=line, answers="n\n")
    assert refused.code == 1
    assert "delete global index 'by-owner'" in refused.output
    assert client.describe_table(TableName=name)["Table"]["GlobalSecondaryIndexes"]
    # No answer is no.
    assert run(config, "sync", name, line=line).code == 1

    planned = run(config, "sync", "--dry-run", name, line=line)
    assert planned.code == 0
    assert planned.lines == [
        f"{name}: plan: delete global index 'by-owner' (owner HASH S; projection ALL)"
    ]
    assert client.describe_table(TableName=name)["Table"]["GlobalSecondaryIndexes"]

    done = run(config, "sync", name, line=line, answers="y\n")
    assert done.code == 0, done.output
    assert not client.describe_table(TableName=name)["Table"].get("GlobalSecondaryIndexes")
    del kept


@both_lines
def test_sync_creates_a_missing_table(
    line: str, name: str, config: dict[str, t.Any], client: Client
) -> None:
    kept = model(name, index(), local_index(), ttl="expires", tags={"team": "a"})
    missing = run(config, "check", name, line=line)
    assert missing.code == 1
    assert missing.lines == [
        f"{name}: differs: the table is missing: 'shop dynamodb create-tables {name}' creates it"
    ]
    assert run(config, "sync", "--dry-run", name, line=line).lines == [
        f"{name}: plan: create the table"
    ]
    assert name not in table_names(client)
    assert run(config, "sync", name, line=line).lines[-1] == f"{name}: created"
    assert run(config, "check", name, line=line).code == 0
    del kept


def test_json_of_check_and_sync(name: str, config: dict[str, t.Any], client: Client) -> None:
    create(client, name)
    kept = model(name, index())
    who = {"table": name, "name": name, "bind": None}
    checked = run(config, "check", "--json", name)
    assert checked.code == 1
    assert checked.json == [
        {
            **who,
            "result": "differs",
            "differences": [
                {
                    "part": "global index",
                    "name": "by-owner",
                    "declared": "owner HASH S; projection ALL",
                    "actual": "missing",
                }
            ],
            "notes": [],
        }
    ]
    step = "create global index 'by-owner' (owner HASH S; projection ALL)"
    plan = {"creates": False, "steps": [{"text": step, "removes": False}], "refusals": []}
    planned = run(config, "sync", "--json", "--dry-run", name)
    assert planned.json == [{**who, "result": "planned", **plan, "notes": []}]
    assert run(config, "sync", "--json", name).json[0]["result"] == "changed"
    assert run(config, "sync", "--json", name).json[0]["result"] == "ok"
    del kept


def description(name: str, **different: t.Any) -> Answer:
    """What DescribeTable says of the table of :func:`model`."""
    table: Api = {
        "TableName": name,
        "TableArn": f"arn:aws:dynamodb:us-east-1:1:table/{name}",
        "TableStatus": "ACTIVE",
        "KeySchema": keys(),
        "AttributeDefinitions": attributes(owner="S"),
        "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
        **different,
    }
    return Answer(body={"Table": table})


TTL_IS_ON = {"TimeToLiveStatus": "ENABLED", "AttributeName": "old"}
RECOVERY_IS_ON = {
    "ContinuousBackupsStatus": "ENABLED",
    "PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "ENABLED"},
}
STREAM = {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}


@pytest.mark.parametrize(
    ("text", "answers", "meta"),
    [
        (
            "end TTL by 'old'",
            {"DescribeTimeToLive": Answer(body={"TimeToLiveDescription": TTL_IS_ON})},
            {},
        ),
        (
            "end stream KEYS_ONLY",
            {"DescribeTable": {"StreamSpecification": STREAM}},
            {"stream_view_type": "NEW_IMAGE"},
        ),
        (
            "end point-in-time recovery",
            {
                "DescribeContinuousBackups": Answer(
                    body={"ContinuousBackupsDescription": RECOVERY_IS_ON}
                )
            },
            {"point_in_time_recovery_enabled": False},
        ),
        (
            "delete global index 'by-owner'",
            {"DescribeTable": {"GlobalSecondaryIndexes": [gsi()]}},
            {},
        ),
    ],
)
def test_nothing_is_removed_without_an_answer(
    text: str, answers: Api, meta: Api, name: str, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    stub.always("DescribeTable", description(name, **answers.pop("DescribeTable", {})))

    for operation, answer in answers.items():
        stub.always(operation, answer)

    kept = model(name, **meta)
    done = run(stub_config, "sync", name)
    assert done.code == 1
    assert text in done.output.partition("Go on, and ")[2]
    assert all(operation.startswith("Describe") for operation in stub.operations)
    del kept


def test_an_index_that_is_being_deleted_is_not_there(
    name: str, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    deleting = {**gsi("by-old"), "IndexStatus": "DELETING"}
    stub.always("DescribeTable", description(name, GlobalSecondaryIndexes=[deleting]))
    kept = model(name)
    assert run(stub_config, "check", name) == (0, f"{name}: ok\n")
    assert "global index by-old DELETING" in run(stub_config, "status", name).output
    del kept


def test_names_of_a_server_steer_no_terminal(
    name: str, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    forged = gsi("by\x1b[2J\n-shop: ok", hash_key="of\x1b[2J\n-shop: ok")
    stub.always("DescribeTable", description(name, GlobalSecondaryIndexes=[forged]))
    kept = model(name)

    for arguments in (("status",), ("check",), ("sync",), ("sync", "--dry-run")):
        done = run(stub_config, *arguments, name)
        assert r"by\x1b[2J\n" in done.output
        assert "-shop: ok" not in done.lines
        assert all(line.isprintable() for line in done.lines)

    del kept


def test_a_model_that_is_not_meant_may_be_invalid(
    name: str, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    kept = model(name), model(f"{name}-invalid", max_retry_attempts=-1)
    assert run(stub_config, "status", name) == (0, f"{name}: missing\n")
    invalid = run(stub_config, "status", f"{name}-invalid")
    assert invalid.code == 1
    assert "'Order.Meta.max_retry_attempts'" in invalid.output
    del kept


def test_indexes_are_changed_one_at_a_time_each_after_the_other_is_active(
    name: str, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    states = iter(
        [
            ("ACTIVE", {"by-old": "ACTIVE"}),
            ("ACTIVE", {"by-old": "ACTIVE"}),
            # Eventually consistent: as before the change.
            ("ACTIVE", {"by-old": "ACTIVE"}),
            ("UPDATING", {"by-old": "DELETING"}),
            ("ACTIVE", {}),
            ("ACTIVE", {}),
            ("UPDATING", {"by-owner": "CREATING"}),
            ("ACTIVE", {"by-owner": "ACTIVE"}),
            ("UPDATING", {"by-owner": "ACTIVE", "by-number": "CREATING"}),
            ("ACTIVE", {"by-owner": "ACTIVE", "by-number": "ACTIVE"}),
        ]
    )

    def describe(request: Request) -> Answer:
        status, indexes = next(states)
        described = [
            {**gsi(each), "IndexStatus": state, "Backfilling": state == "CREATING"}
            for each, state in indexes.items()
        ]
        return description(name, TableStatus=status, GlobalSecondaryIndexes=described)

    stub.always("DescribeTable", describe)
    kept = model(name, index(), index("by-number", hash_key="sort"))
    done = run(stub_config, "sync", "--yes", name)
    assert done.code == 0, done.output
    assert next(states, None) is None
    updates = [each.body for each in stub.requests if each.operation == "UpdateTable"]
    assert [list(each["GlobalSecondaryIndexUpdates"][0]) for each in updates] == [
        ["Delete"],
        ["Create"],
        ["Create"],
    ]
    assert all(len(each["GlobalSecondaryIndexUpdates"]) == 1 for each in updates)
    # Each names the types of what exists then: neither less nor more.
    types = [
        {each["AttributeName"] for each in update["AttributeDefinitions"]} for update in updates[1:]
    ]
    assert types == [{"id", "number", "owner"}, {"id", "number", "owner", "sort"}]
    assert [
        line.removeprefix(f"{name}: waiting: ") for line in done.lines if "waiting" in line
    ] == [
        "index 'by-old' DELETING",
        "table UPDATING; index 'by-old' DELETING",
        "index 'by-owner' expected",
        "table UPDATING; index 'by-owner' CREATING, backfilling",
        "table UPDATING; index 'by-number' CREATING, backfilling",
    ]
    del kept


def test_sync_waits_for_a_table_that_is_being_changed(
    name: str, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    stub.next("DescribeTable", description(name, TableStatus="UPDATING"))
    stub.always("DescribeTable", description(name))
    kept = model(name)
    done = run(stub_config, "sync", name)
    assert done == (0, f"{name}: waiting: table UPDATING\n{name}: ok\n")
    del kept


STUCK = ("ARCHIVING", "ARCHIVED", "INACCESSIBLE_ENCRYPTION_CREDENTIALS")


@pytest.mark.parametrize("status", STUCK)
@pytest.mark.parametrize("command", ["create-tables", "sync"])
def test_no_command_waits_for_a_table_that_does_not_become_active(
    command: str, status: str, name: str, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    stub.always("DescribeTable", description(name, TableStatus=status))
    kept = model(name)
    done = run(stub_config, command, name)
    assert done.code == 1
    assert f"Table '{name}'" in done.output
    assert f"Its status is {status}: " in done.output
    assert "KMS key" in done.output
    assert f"{name}: exists, {status}, " in run(stub_config, "status", name).output
    del kept


def test_a_table_that_is_deleted_while_it_is_changed_is_not_done(
    name: str, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    gone = error(400, "ResourceNotFoundException")
    stub.next("DescribeTable", *[description(name)] * 2, description(name, TableStatus="DELETING"))
    stub.always("DescribeTable", gone)
    kept = model(name, index())
    done = run(stub_config, "sync", name)
    assert done.code == 1
    assert "create global index 'by-owner'" in done.lines[-1]
    assert "The table was deleted meanwhile." in done.lines[-1]
    assert "done:" not in done.output
    del kept


def test_an_index_that_does_not_appear_is_not_waited_for(
    name: str, stub: Stub, stub_config: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    stub.always("DescribeTable", description(name))
    kept = model(name, index())
    done = run(stub_config, "sync", name)
    assert done.code == 1
    assert "Index 'by-owner' did not appear." in done.output
    del kept


def test_a_step_that_fails_is_named(name: str, stub: Stub, stub_config: dict[str, t.Any]) -> None:
    stub.always("DescribeTable", description(name))
    stub.always("UpdateTimeToLive", error(400, "ValidationException", "too\nsoon"))
    kept = model(name, ttl="expires")
    done = run(stub_config, "sync", name)
    assert done.code == 1
    assert "start TTL by 'expires'" in done.output
    assert "once an hour" in done.output
    assert r"too\nsoon" in done.output
    del kept


def test_provisioned_billing_without_capacity_is_refused(
    name: str, config: dict[str, t.Any], client: Client
) -> None:
    create(client, name)
    kept = model(name, billing_mode="PROVISIONED")
    done = run(config, "sync", name)
    assert done.code == 1
    assert f"{name}: refused: billing mode" in done.output
    assert "'DYNAMODB_READ_CAPACITY_UNITS'" in done.output
    del kept


@pytest.mark.parametrize(
    ("one", "other", "parts"),
    [
        ({"tags": {"a": "1"}}, {"tags": {"a": "2"}}, ["'tags'"]),
        ({"stream_view_type": "ALL"}, {}, ["'Meta.stream_view_type'", "'NEW_IMAGE'"]),
        ({"tags": {"a": 1}}, {}, ["'Meta.tags'", "strings"]),
        ({"tags": ["a"]}, {}, ["'Meta.tags'", "mapping"]),
        (
            {"deletion_protection_enabled": "yes"},
            {},
            ["'Order.Meta.deletion_protection_enabled'", "True or False", "'yes'"],
        ),
        (
            {"point_in_time_recovery_enabled": 1},
            {},
            ["'Order.Meta.point_in_time_recovery_enabled'"],
        ),
        ({"ttl": "one"}, {"ttl": "other"}, ["TTL", "'one'", "'other'"]),
        (
            {"indexes": [index()]},
            {"indexes": [index(projection=KeysOnlyProjection())]},
            ["by-owner"],
        ),
        ({"indexes": [index("a", hash_key="price")]}, {}, []),
        (
            {"indexes": [index("a", hash_key="x")]},
            {"indexes": [local_index("b")]},
            [],
        ),
        (
            {"indexes": [index("a", hash_key="price")]},
            {"indexes": [local_index("b")]},
            ["'price'", "'S'", "'N'"],
        ),
    ],
)
def test_what_is_wrong_in_models_is_named_before_any_request(
    one: Api, other: Api, parts: list[str], name: str, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    kept = [
        model(
            name, *each.get("indexes", ()), **{key: each[key] for key in each if key != "indexes"}
        )
        for each in (one, other)
    ]
    done = run(stub_config, "check", name)
    assert done.code == 1
    assert all(part in done.output for part in parts)
    assert bool(stub.requests) is not bool(parts)
    del kept


# create-tables, drop-tables, status


@both_lines
def test_a_table_is_created_shown_and_dropped(
    line: str, name: str, config: dict[str, t.Any], client: Client
) -> None:
    kept = model(name, index(), local_index(), read_capacity_units=2, write_capacity_units=3)
    assert run(config, "status", name, line=line) == (0, f"{name}: missing\n")
    assert run(config, "create-tables", name, line=line) == (0, f"{name}: created\n")
    assert run(config, "create-tables", name, line=line) == (0, f"{name}: exists\n")
    shown = (
        f"{name}: exists, ACTIVE, 0 items, 0 bytes, PROVISIONED (2 read, 3 write),"
        " global index by-owner ACTIVE, local index by-price ACTIVE\n"
    )
    assert run(config, "status", name, line=line) == (0, shown)

    refused = run(config, "drop-tables", name, line=line, answers="n\n")
    assert refused.code == 1
    assert f"Delete with all their items: {name}?" in refused.output
    assert name in table_names(client)
    assert run(config, "drop-tables", name, line=line).code == 1

    assert run(config, "drop-tables", name, line=line, answers="y\n").code == 0
    assert name not in table_names(client)
    assert run(config, "drop-tables", "--yes", name, line=line) == (0, f"{name}: missing\n")
    del kept


def test_json_of_tables(name: str, config: dict[str, t.Any]) -> None:
    prefixed = {**config, "DYNAMODB_TABLE_NAME_PREFIX": "test-"}
    kept = model(name, index())
    who = {"table": f"test-{name}", "name": name, "bind": None}
    assert run(prefixed, "status", "--json", name).json == [{**who, "exists": False}]
    assert run(prefixed, "create-tables", "--json", name).json == [{**who, "result": "created"}]
    (state,) = run(prefixed, "status", "--json", name).json
    assert state["indexes"] == [{"name": "by-owner", "kind": "global", "status": "ACTIVE"}]
    assert state["exists"] is True
    assert (state["status"], state["items"], state["bytes"]) == ("ACTIVE", 0, 0)
    assert (state["billing_mode"], state["read_capacity_units"]) == ("PAY_PER_REQUEST", None)
    dropped = run(prefixed, "drop-tables", "--yes", "--json", name)
    assert dropped.json == [{**who, "result": "dropped"}]
    del kept


def test_the_full_name_is_shown_and_the_declared_one_given(
    name: str, stub_config: dict[str, t.Any]
) -> None:
    config = {**stub_config, "DYNAMODB_TABLE_NAME_PREFIX": "test-"}
    kept = model(name)
    assert run(config, "status", name) == (0, f"test-{name}: missing\n")
    wrong = run(config, "status", f"test-{name}")
    assert wrong.code == 2
    assert f"No model has the table 'test-{name}'" in wrong.output
    assert name in wrong.output.replace(f"test-{name}", "")
    del kept


def test_a_protected_table_is_not_dropped(
    name: str, config: dict[str, t.Any], client: Client
) -> None:
    kept = model(name, deletion_protection_enabled=True)
    assert run(config, "create-tables", name).code == 0
    assert client.describe_table(TableName=name)["Table"]["DeletionProtectionEnabled"] is True
    done = run(config, "drop-tables", "--yes", name)
    assert done.code == 1
    assert f"{name}: failed" in done.lines
    assert "was not dropped" in done.output
    assert name in table_names(client)
    del kept


# --confirm


def test_beyond_loopback_to_delete_needs_the_name_of_the_host(
    name: str, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    # This machine, but not by an address of loopback.
    url = f"http://0.0.0.0:{stub.port}"
    config = {**stub_config, "DYNAMODB_HOST": url, "DYNAMODB_TABLE_NAME_PREFIX": "test-"}
    kept = model(name)
    assert run(config, "create-tables", name).code == 0

    for arguments in ((), ("--yes",)):
        asked = run(config, "drop-tables", *arguments, name, answers="y\n")
        assert asked.code == 2
        assert "--confirm 0.0.0.0" in asked.output

    for wrong in ("127.0.0.1", "us-east-1", "0.0.0.0:1"):
        refused = run(config, "drop-tables", "--yes", "--confirm", wrong, name)
        assert refused.code == 2
        assert "the tables are on 0.0.0.0" in refused.output

    assert "DeleteTable" not in stub.operations
    done = run(config, "drop-tables", "--confirm", "0.0.0.0", name)
    assert done == (0, f"test-{name}: dropped\n")
    assert run(config, "drop-tables", "--confirm", f"0.0.0.0:{stub.port}", name).code == 0
    del kept


def test_in_aws_to_delete_needs_the_region(name: str, stub_config: dict[str, t.Any]) -> None:
    config = {**stub_config, "DYNAMODB_REGION": "eu-west-1"}
    del config["DYNAMODB_HOST"]
    kept = model(name)

    for arguments in ((), ("--yes",), ("--confirm", "us-east-1")):
        done = run(config, "drop-tables", *arguments, name, answers="y\n")
        assert done.code == 2
        assert "eu-west-1" in done.output

    del kept


def test_a_host_of_the_environment_is_named_instead_of_the_region(
    name: str, stub_config: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://dynamodb.internal:8000")
    config = {**stub_config}
    del config["DYNAMODB_HOST"]
    kept = model(name)
    done = run(config, "drop-tables", "--confirm", "us-east-1", name)
    assert done.code == 2
    assert "the tables are on dynamodb.internal" in done.output
    assert run(config, "settings").lines[-2] == "Endpoint: http://dynamodb.internal:8000"
    del kept


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.2:8000",
        "http://[::1]:8000",
        "http://[::ffff:127.0.0.1]:8000",
        "http://LOCALHOST:8000",
        "http://db.localhost",
    ],
)
def test_loopback_is_asked_and_needs_no_confirmation(
    url: str, name: str, stub_config: dict[str, t.Any]
) -> None:
    kept = model(name)
    done = run({**stub_config, "DYNAMODB_HOST": url}, "drop-tables", name, answers="n\n")
    assert done.code == 1
    assert f"Delete with all their items: {name}?" in done.output
    del kept


def test_sync_removes_nothing_beyond_loopback_without_confirmation(
    name: str, dynoxide: str, stub_config: dict[str, t.Any]
) -> None:
    url = dynoxide.replace(engines.HOST, "0.0.0.0")
    config = {**stub_config, "DYNAMODB_HOST": url}

    for client in a_client(dynoxide):
        create(client, name, **WITH_INDEX)

    kept = model(name)
    refused = run(config, "sync", "--yes", name)
    assert refused.code == 2
    assert "--confirm 0.0.0.0" in refused.output
    assert run(config, "check", name).code == 1
    assert run(config, "sync", "--confirm", "0.0.0.0", name).code == 0
    assert run(config, "check", name).code == 0
    # Also where there is nothing to remove.
    assert run(config, "sync", "--confirm", "0.0.0.0", name).code == 0
    assert run(config, "sync", "--confirm", "eu-west-1", name).code == 2
    del kept


def test_each_place_is_confirmed_for_itself(name: str, stub: Stub, dynoxide: str) -> None:
    config = {
        **engines.config(f"http://0.0.0.0:{stub.port}"),
        "DYNAMODB_TABLE_NAME_PREFIX": "",
        "DYNAMODB_BINDS": {"eu": {"HOST": dynoxide.replace(engines.HOST, "localhost")}},
    }
    names = name, f"{name}-eu"
    kept = model(names[0]), model(names[1], bind_key="eu")
    assert run(config, "create-tables", *names).code == 0
    asked = run(config, "drop-tables", *names, "--confirm", "localhost")
    assert asked.code == 2
    assert "--confirm 0.0.0.0" in asked.output
    # The other place is this machine.
    assert run(config, "drop-tables", *names, "--confirm", "0.0.0.0", answers="n\n").code == 1
    assert "DeleteTable" not in stub.operations
    both = ("--confirm", "0.0.0.0", "--confirm", "LOCALHOST")
    assert run(config, "drop-tables", *names, *both).code == 0
    assert "DeleteTable" in stub.operations
    del kept


def test_tables_that_end_with_the_command_are_said_to(
    name: str, stub_config: dict[str, t.Any]
) -> None:
    kept = model(name)
    done = run({**stub_config, "DYNAMODB_HOST": "local://"}, "create-tables", name)
    assert done.code == 0
    assert f"{name}: created" in done.lines
    assert "Note: the tables are in the embedded engine of this command" in done.output
    del kept


# --bind


@both_lines
def test_commands_go_by_a_bind(line: str, name: str, dynoxide: str, embedded: str) -> None:
    config = {
        **engines.config(embedded),
        "DYNAMODB_TABLE_NAME_PREFIX": "",
        "DYNAMODB_BINDS": {"eu": {"HOST": dynoxide, "TABLE_NAME_PREFIX": "eu-"}},
    }
    own, european = f"{name}-own", f"{name}-european"
    kept = model(own), model(european, bind_key="eu"), model(f"{name}-us", bind_key="us")
    created = run(config, "create-tables", own, european, line=line)
    assert created.lines == [f"{own}: created", f"eu-{european}: created in bind 'eu'"]

    for client in a_client(dynoxide):
        tables = table_names(client)
        assert f"eu-{european}" in tables
        assert f"eu-{own}" not in tables

    # As in 'with db.using("eu"):', a model without a bind key goes by that bind.
    states = run(config, "status", "--json", "--bind", "eu", own, european, line=line).json
    assert [(each["table"], each["bind"], each["exists"]) for each in states] == [
        (f"eu-{own}", "eu", False),
        (f"eu-{european}", "eu", True),
    ]
    missing = run(config, "check", "--bind", "eu", own, line=line)
    assert missing.code == 1
    assert f"'shop dynamodb create-tables --bind eu {own}' creates it" in missing.output
    assert run(config, "check", "--bind", "eu", european, line=line) == (
        0,
        f"eu-{european}: ok in bind 'eu'\n",
    )
    planned = run(config, "sync", "--dry-run", "--bind", "eu", own, line=line)
    assert planned.lines == [f"eu-{own}: plan: create the table"]
    assert run(config, "sync", "--bind", "eu", own, line=line).code == 0
    # A model of another bind.
    assert run(config, "status", "--bind", "eu", f"{name}-us", line=line).code == 2
    dropped = run(config, "drop-tables", "--yes", "--bind", "eu", own, european, line=line)
    assert dropped.code == 0, dropped.output

    for client in a_client(dynoxide):
        assert not table_names(client) & {own, f"eu-{own}", f"eu-{european}"}

    assert run(config, "check", own, line=line) == (0, f"{own}: ok\n")
    del kept


def test_an_unknown_bind_is_wrong_usage(name: str, stub_config: dict[str, t.Any]) -> None:
    config = {**stub_config, "DYNAMODB_BINDS": {"eu": {"REGION": "eu-west-1"}}}
    kept = model(name)
    done = run(config, "status", "--bind", "asia", name)
    assert done.code == 2
    assert "'asia'" in done.output
    assert "'eu'" in done.output
    del kept


# ping


@both_lines
def test_ping_asks_the_app_and_each_bind(
    line: str, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    config = {**stub_config, "DYNAMODB_BINDS": {"eu": {"REGION": "eu-west-1"}}}
    done = run(config, "ping", line=line)
    assert done.code == 0
    assert [re.sub(r"[0-9.]+ ms", "? ms", each) for each in done.lines] == [
        f"{stub.url}: ok, ? ms",
        f"{stub.url} (bind 'eu'): ok, ? ms",
    ]
    assert [each.signature.region for each in stub.requests] == ["us-east-1", "eu-west-1"]

    (only,) = run(config, "ping", "--bind", "eu", "--json", line=line).json
    assert (only["bind"], only["endpoint"], only["error"]) == ("eu", stub.url, None)
    stub.always("ListTables", DENIED)
    assert run(config, "ping", line=line).code == 0


def test_ping_says_what_failed(stub: Stub, stub_config: dict[str, t.Any]) -> None:
    config = {**stub_config, "DYNAMODB_BINDS": {"eu": {"REGION": "eu-west-1"}}}

    def answers(request: Request) -> Answer:
        if request.signature.region == "eu-west-1":
            return error(400, "UnrecognizedClientException", "who\n?")

        return Answer(body={"TableNames": []})

    stub.always("ListTables", answers)
    done = run(config, "ping")
    assert done.code == 1
    assert f"{stub.url}: ok" in done.lines[0]
    assert "(bind 'eu'): failed after" in done.lines[1]
    assert r"who\n?" in done.lines[1]
    stub.always("ListTables", Answer(hold=True))
    slow = run(config, "ping", "--timeout", "0.1", "--json")
    assert slow.code == 1
    assert all("0.1 s" in each["error"] for each in slow.json)
    stub.release()
    assert run(config, "ping", "--timeout", "0").code == 2


# settings


@both_lines
def test_settings_tell_value_and_origin(
    line: str, stub: Stub, stub_config: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    # As if the file said so.
    said = types.SimpleNamespace(max_retry_attempts=7)
    monkeypatch.setattr(pynamodb.settings, "override_settings", said)
    config: Api = {
        **stub_config,
        "DYNAMODB_TRANSPORT": "botocore",
        "DYNAMODB_EXTRA_HEADERS": {"x-token": "very-secret-token"},
        "DYNAMODB_POOL_TIMEOUT_SECONDS": "5",
        "DYNAMODB_BINDS": json.dumps(
            {
                "eu": {
                    "REGION": "eu-west-1",
                    "AWS_ACCESS_KEY_ID": "AKIDOFEUROPE",
                    "AWS_SECRET_ACCESS_KEY": "secret-of-europe",
                }
            }
        ),
    }
    config["DYNAMODB_AWS_SESSION_TOKEN"] = "secret-token"
    del config["DYNAMODB_REGION"]
    done = run(config, "settings", line=line)
    assert done.code == 0
    assert "DYNAMODB_AWS_SECRET_ACCESS_KEY = (set) (app.config)" in done.lines
    assert "DYNAMODB_POOL_TIMEOUT_SECONDS = 5.0 (app.config)" in done.lines
    assert "Bind 'eu':" in done.lines
    assert "DYNAMODB_AWS_SESSION_TOKEN = None (default)" in done.lines
    assert "Transport in use: botocore" in done.lines

    text = run(config, "settings", "--json", line=line)
    app, bind = text.json
    assert (app["bind"], bind["bind"]) == (None, "eu")
    assert (app["endpoint"], app["transport_in_use"]) == (stub.url, "botocore")

    for described, key, value, origin in (
        (app, "REGION", "eu-north-1", "AWS_DEFAULT_REGION"),
        (app, "MAX_RETRY_ATTEMPTS", 7, "the file that PYNAMODB_CONFIG names"),
        (app, "HOST", stub.url, "app.config"),
        (app, "CALL_TIMEOUT_SECONDS", None, "default"),
        (app, "EXTRA_HEADERS", "(set)", "app.config"),
        (app, "BINDS", ["eu"], "app.config"),
        (bind, "REGION", "eu-west-1", "DYNAMODB_BINDS['eu']"),
        (bind, "AWS_ACCESS_KEY_ID", "(set)", "DYNAMODB_BINDS['eu']"),
        (bind, "MAX_RETRY_ATTEMPTS", 7, "the file that PYNAMODB_CONFIG names"),
        (bind, "HOST", stub.url, "app.config"),
    ):
        assert described["settings"][f"DYNAMODB_{key}"] == {"value": value, "origin": origin}

    for secret in ("very-secret-token", "secret-of-europe", "secret-token", "AKIDOFEUROPE"):
        assert secret not in done.output + text.output

    (only,) = run(config, "settings", "--bind", "eu", "--json", line=line).json
    assert only == bind
    assert not stub.requests


def test_settings_tell_what_came_too_late(stub_config: dict[str, t.Any]) -> None:
    def change(app: t.Any) -> None:
        app.config["DYNAMODB_REGION"] = "eu-west-1"
        app.config["DYNAMODB_MAX_RETRY_ATTEMPTS"] = "many"

    done = run(stub_config, "settings", after=change)
    late = "(an earlier app.config: a change after 'init_app' has no effect)"
    assert f"DYNAMODB_REGION = 'us-east-1' {late}" in done.lines
    assert f"DYNAMODB_MAX_RETRY_ATTEMPTS = 3 {late}" in done.lines


def test_settings_tell_how_botocore_finds_credentials(
    stub_config: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {key: value for key, value in stub_config.items() if "_AWS_" not in key}
    none = run(config, "settings")
    key = "DYNAMODB_AWS_ACCESS_KEY_ID = None (botocore's credential chain: "
    assert f"{key}no credentials found)" in none.lines
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", SECRETS[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRETS[1])
    assert f"{key}env)" in run(config, "settings").lines


# failures


@pytest.mark.parametrize("command", ["create-tables", "status", "check", "sync"])
@both_lines
def test_an_engine_that_is_down_is_a_message(
    line: str, command: str, name: str, stub_config: dict[str, t.Any]
) -> None:
    kept = model(name)

    with socket.socket() as bound:
        # Taken, but nobody listens.
        bound.bind((engines.HOST, 0))
        url = f"http://{engines.HOST}:{bound.getsockname()[1]}"
        config = {**stub_config, "DYNAMODB_HOST": url, "DYNAMODB_MAX_RETRY_ATTEMPTS": 0}
        done = run(config, command, name, line=line)

    assert done.code == 1
    assert url in done.output
    assert name in done.output
    del kept


@pytest.mark.parametrize("operation", ["DescribeTable", "DescribeTimeToLive", "ListTagsOfResource"])
def test_a_right_that_is_missing_is_a_message(
    operation: str, name: str, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    stub.always("DescribeTable", description(name))
    denied: Behaviour = error(400, "AccessDeniedException", f"no {operation}\x1b[2J")
    stub.always(operation, denied)
    kept = model(name, tags={"a": "b"})

    for command in ("check", "sync"):
        done = run(stub_config, command, name)
        assert done.code == 1
        assert f"Table '{name}'" in done.output
        assert rf"no {operation}\x1b[2J" in done.output

    del kept


# iam-policy


def test_the_policy_has_what_the_calls_of_models_need_and_no_more(
    name: str, stub: Stub, stub_config: dict[str, t.Any], in_app: InApp
) -> None:
    ours = model(name, index(), local_index())
    single: t.Any = ours

    with in_app(stub_config) as db:
        single("1", 1).save()
        single.get("1", 1)
        single("1", 1).update(actions=[single.owner.set("x")])
        single("1", 1).delete()
        list(single.query("1"))
        list(single.scan())
        list(single.index_0.query("x"))
        list(single.index_1.scan())
        list(single.batch_get([("1", 1)]))

        with single.batch_write() as batch:
            batch.save(single("1", 1))

        with db.transact_get() as read:
            read.get(single, "1", 1)

        with db.transact_write() as write:
            write.save(single("1", 1))
            write.update(single("2", 1), actions=[single.owner.set("x")])
            write.delete(single("3", 1))
            write.condition_check(single, "4", 1, condition=single.owner.exists())

    rights = set(stub.operations) - {"TransactGetItems", "TransactWriteItems"}
    items, indexes = json.loads(run(stub_config, "iam-policy", name).output)["Statement"]
    assert set(items["Action"]) == {
        f"dynamodb:{right}" for right in {*rights, "ConditionCheckItem"}
    }
    assert set(indexes["Action"]) == {"dynamodb:Query", "dynamodb:Scan"}
    assert items["Effect"] == indexes["Effect"] == "Allow"
    table = f"arn:aws:dynamodb:us-east-1:*:table/{name}"
    assert items["Resource"] == [table]
    assert indexes["Resource"] == [f"{table}/index/by-owner", f"{table}/index/by-price"]


@both_lines
def test_the_policy_names_partition_region_account_and_arns(
    line: str, name: str, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    arn = f"arn:aws:dynamodb:eu-west-1:111122223333:table/{name}"
    kept = model(name), model(arn)
    config = {**stub_config, "DYNAMODB_TABLE_NAME_PREFIX": "live-"}
    place = ("--region", "cn-north-1", "--account", "123456789012")
    policy = json.loads(run(config, "iam-policy", *place, name, arn, line=line).output)
    assert [each["Sid"] for each in policy["Statement"]] == ["Items"]
    assert policy["Statement"][0]["Resource"] == [
        f"arn:aws-cn:dynamodb:cn-north-1:123456789012:table/live-{name}",
        arn,
    ]
    assert run(config, "iam-policy", "--account", "12", name, line=line).code == 2
    assert run(config, "iam-policy", "--region", 'x"', name, line=line).code == 2
    assert not stub.requests
    del kept


# all of them


@both_lines
def test_every_command_has_help_of_one_line(line: str, stub_config: dict[str, t.Any]) -> None:
    group = run(stub_config, "--help", line=line)
    assert group.code == 0
    commands = group.output.partition("Commands:\n")[2].splitlines()
    names = [command.split()[0] for command in commands]
    assert names == sorted(dynamodb.list_commands(click.Context(dynamodb)))
    assert all(command.endswith(".") and "..." not in command for command in commands)

    for command in names:
        done = run(stub_config, command, "--help", line=line)
        assert done.code == 0
        assert f"dynamodb {command} [OPTIONS]" in done.output
