"""Tables are created and deleted, with all that the models declare."""

from __future__ import annotations

import threading
import typing as t

import pytest
from botocore.exceptions import ClientError
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import TTLAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import TableDoesNotExist
from pynamodb.exceptions import TableError
from pynamodb.indexes import AllProjection
from pynamodb.indexes import GlobalSecondaryIndex
from pynamodb.indexes import IncludeProjection
from pynamodb.indexes import LocalSecondaryIndex

from conftest import InApp
from dynamo_ext import ConfigError
from dynamo_ext import Model
from dynamo_ext import PynamoDB
from stub import Answer
from stub import Behaviour
from stub import Request
from stub import Stub
from stub import error
from threads import at_once
from threads import in_same_app

NOT_FOUND = error(400, "ResourceNotFoundException")
IN_USE = error(400, "ResourceInUseException")
REFUSED = error(400, "ValidationException")


class ByOwner(GlobalSecondaryIndex[t.Any]):
    class Meta:
        index_name = "by-owner"
        projection = AllProjection()

    owner = UnicodeAttribute(hash_key=True)


class ByPriority(LocalSecondaryIndex[t.Any]):
    class Meta:
        index_name = "by-priority"
        projection = IncludeProjection(["text"])

    list = UnicodeAttribute(hash_key=True)
    priority = NumberAttribute(range_key=True)


class Todo(Model):
    class Meta:
        table_name = "todo"
        stream_view_type = "NEW_IMAGE"
        tags: t.ClassVar[dict[str, str]] = {"team": "accounting"}

    list = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(range_key=True)
    owner = UnicodeAttribute(default="nobody")
    priority = NumberAttribute(default=0)
    text = UnicodeAttribute(null=True)
    expires = TTLAttribute(null=True)
    by_owner = ByOwner()
    by_priority = ByPriority()


class Kept(Model):
    class Meta:
        table_name = "kept"
        deletion_protection_enabled = True
        point_in_time_recovery_enabled = True

    id = UnicodeAttribute(hash_key=True)


class Plain(Model):
    class Meta:
        table_name = "plain"

    id = UnicodeAttribute(hash_key=True)


def described(model: type[Model], status: str) -> Behaviour:
    def answer(request: Request) -> Answer:
        name = request.body["TableName"]
        return Answer(body={"Table": {"TableName": name, "TableStatus": status}})

    return answer


def keys(schema: list[dict[str, str]]) -> dict[str, str]:
    return {key["KeyType"]: key["AttributeName"] for key in schema}


def ttl_of(db: PynamoDB, model: type[Model]) -> tuple[str, str]:
    client: t.Any = db.connection.client
    description = client.describe_time_to_live(TableName=model.Meta.table_name)
    ttl = description["TimeToLiveDescription"]
    return ttl["TimeToLiveStatus"], ttl.get("AttributeName")


def test_a_table_has_all_that_its_model_declares(in_app: InApp, config: dict[str, t.Any]) -> None:
    with in_app(config) as db:
        Todo.create_table(wait=True)
        assert Todo.exists()

        client: t.Any = db.connection.client
        table = client.describe_table(TableName=Todo.Meta.table_name)["Table"]
        tags = client.list_tags_of_resource(ResourceArn=table["TableArn"])["Tags"]
        (by_owner,) = table["GlobalSecondaryIndexes"]
        (by_priority,) = table["LocalSecondaryIndexes"]

        assert table["TableStatus"] == "ACTIVE"
        assert keys(table["KeySchema"]) == {"HASH": "list", "RANGE": "number"}
        assert by_owner["IndexName"] == "by-owner"
        assert keys(by_owner["KeySchema"]) == {"HASH": "owner"}
        assert by_priority["IndexName"] == "by-priority"
        assert keys(by_priority["KeySchema"]) == {"HASH": "list", "RANGE": "priority"}
        assert by_priority["Projection"]["NonKeyAttributes"] == ["text"]
        assert table["StreamSpecification"] == {
            "StreamEnabled": True,
            "StreamViewType": "NEW_IMAGE",
        }
        assert tags == [{"Key": "team", "Value": "accounting"}]
        assert ttl_of(db, Todo) == ("ENABLED", "expires")


def test_a_table_is_protected_and_recoverable_where_its_meta_says_so(
    in_app: InApp, embedded_config: dict[str, t.Any]
) -> None:
    with in_app(embedded_config) as db:
        Kept.create_table()
        client: t.Any = db.connection.client
        name = Kept.Meta.table_name
        backups = client.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
        recovery = backups["PointInTimeRecoveryDescription"]
        assert recovery["PointInTimeRecoveryStatus"] == "ENABLED"
        assert client.describe_table(TableName=name)["Table"]["DeletionProtectionEnabled"] is True

        with pytest.raises(TableError):
            Kept.delete_table()

        # What a Meta does not say is not sent.
        Plain.create_table()
        plain = client.describe_table(TableName=Plain.Meta.table_name)["Table"]
        assert plain["DeletionProtectionEnabled"] is False


def test_recovery_is_switched_on_once_the_table_and_its_backups_are_ready(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    early = error(400, "ContinuousBackupsUnavailableException")
    stub.next("DescribeTable", NOT_FOUND, described(Kept, "CREATING"))
    stub.next("UpdateContinuousBackups", early, early)

    with in_app(stub_config):
        Kept.create_table()

    assert stub.operations == [
        *("DescribeTable", "CreateTable", "DescribeTable", "DescribeTable"),
        *["UpdateContinuousBackups"] * 3,
    ]
    (created,) = (each.body for each in stub.requests if each.operation == "CreateTable")
    assert created["DeletionProtectionEnabled"] is True
    assert stub.requests[-1].body == {
        "TableName": f"{stub_config['DYNAMODB_TABLE_NAME_PREFIX']}kept",
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
    }


def test_an_engine_without_recovery_gives_a_warning(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    stub.always("UpdateContinuousBackups", error(400, "UnknownOperationException"))

    with (
        in_app(stub_config),
        pytest.warns(UserWarning, match=r"-kept.*'Meta.point_in_time_recovery_enabled'") as caught,
    ):
        Kept.create_table()

    assert caught[0].filename == __file__


def test_a_recovery_that_is_refused_is_an_error(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    stub.always("UpdateContinuousBackups", REFUSED)

    with in_app(stub_config), pytest.raises(ClientError, match="ValidationException"):
        Kept.create_table()


def test_a_table_that_is_created_again_keeps_its_items(
    in_app: InApp, config: dict[str, t.Any]
) -> None:
    with in_app(config) as db:
        Todo.create_table(wait=True)
        Todo("home", 1).save()
        Todo.create_table(wait=True)
        Todo.create_table()

        assert Todo.get("home", 1).number == 1
        assert ttl_of(db, Todo) == ("ENABLED", "expires")


def test_a_deleted_table_is_gone_and_can_be_created_anew(
    in_app: InApp, config: dict[str, t.Any]
) -> None:
    with in_app(config):
        Plain.create_table(wait=True)
        Plain("1").save()
        Plain.delete_table(wait=True)
        assert not Plain.exists()

        Plain.create_table(wait=True)
        assert list(Plain.scan()) == []


def test_capacity_can_be_given_with_the_call(in_app: InApp, config: dict[str, t.Any]) -> None:
    with in_app(config):
        Plain.create_table(wait=True, read_capacity_units=3, write_capacity_units=4)
        throughput = Plain.describe_table()["ProvisionedThroughput"]
        assert (throughput["ReadCapacityUnits"], throughput["WriteCapacityUnits"]) == (3, 4)


def test_half_the_capacity_is_refused_before_the_table_is_created(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    with (
        in_app(stub_config),
        pytest.raises(ConfigError, match=r"'DYNAMODB_WRITE_CAPACITY_UNITS'.*-plain"),
    ):
        Plain.create_table(read_capacity_units=3)

    assert "CreateTable" not in stub.operations


def test_ttl_can_be_switched_on_later(in_app: InApp, config: dict[str, t.Any]) -> None:
    class Before(Model):
        class Meta:
            table_name = "session"

        id = UnicodeAttribute(hash_key=True)

    class After(Before):
        expires = TTLAttribute(null=True)

    with in_app(config) as db:
        Before.create_table(wait=True)
        assert ttl_of(db, Before)[0] == "DISABLED"

        After.update_ttl(ignore_update_ttl_errors=False)
        assert ttl_of(db, After) == ("ENABLED", "expires")


def test_ttl_that_is_on_already_is_left_alone(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    # DynamoDB itself refuses to switch on what is on; the engines of the tests don't.
    on = {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires"}
    stub.always("DescribeTable", described(Todo, "ACTIVE"))
    stub.always("DescribeTimeToLive", Answer(body={"TimeToLiveDescription": on}))
    stub.always(
        "UpdateTimeToLive", error(400, "ValidationException", "TimeToLive is already enabled")
    )

    with in_app(stub_config):
        Todo.create_table(wait=True)
        Todo.update_ttl(ignore_update_ttl_errors=False)

    assert "CreateTable" not in stub.operations


def test_an_engine_without_ttl_can_be_put_up_with(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    stub.always("UpdateTimeToLive", error(400, "UnknownOperationException"))
    stub.always("DescribeTimeToLive", error(400, "UnknownOperationException"))

    with in_app(stub_config):
        with pytest.raises(TableError):
            Todo.create_table()

        Todo.create_table(ignore_update_ttl_errors=True)


@pytest.mark.parametrize("wait", [True, False])
def test_a_table_that_someone_else_has_created_meanwhile_is_no_error(
    wait: bool, in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    stub.next("DescribeTable", NOT_FOUND, described(Plain, "CREATING"))
    stub.always("DescribeTable", described(Plain, "ACTIVE"))
    stub.always("CreateTable", IN_USE)

    with in_app(stub_config):
        Plain.create_table(wait=wait)

    assert stub.operations[:2] == ["DescribeTable", "CreateTable"]
    assert len(stub.operations) == (4 if wait else 2)


def test_a_new_table_that_is_not_seen_at_once_is_waited_for(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    # DescribeTable is eventually consistent.
    stub.next("DescribeTable", NOT_FOUND, NOT_FOUND, described(Plain, "CREATING"))

    with in_app(stub_config):
        Plain.create_table(wait=True)

    assert stub.operations == ["DescribeTable", "CreateTable", *["DescribeTable"] * 3]


def test_two_threads_that_create_a_table_at_once_both_get_it(
    in_app: InApp, config: dict[str, t.Any]
) -> None:
    with in_app(config) as db:
        at_once(in_same_app(lambda number: Todo.create_table(wait=True)), 2)
        assert ttl_of(db, Todo) == ("ENABLED", "expires")


def test_a_refused_table_is_an_error(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    stub.always("CreateTable", REFUSED)

    with in_app(stub_config), pytest.raises(TableError, match="-plain"):
        Plain.create_table(wait=True)

    assert stub.operations == ["DescribeTable", "CreateTable"]


def test_what_waits_for_a_table_holds_no_slot(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    with in_app(stub_config, DYNAMODB_MAX_POOL_CONNECTIONS=1) as db:
        Plain.create_table()
        stub.always("DescribeTable", described(Plain, "CREATING"))
        waiting = threading.Thread(target=in_same_app(Plain.create_table), kwargs={"wait": True})
        waiting.start()
        stub.wait_for(lambda: stub.operations.count("DescribeTable") >= 4)

        for _ in range(5):
            Plain.get("1")

        assert waiting.is_alive()
        stub.always("DescribeTable", described(Plain, "ACTIVE"))
        waiting.join()
        assert db.pool.in_use == 0


def test_what_waits_for_the_end_of_a_table_sees_it(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    with in_app(stub_config):
        Plain.create_table()
        stub.forget()
        stub.next("DescribeTable", described(Plain, "DELETING"), described(Plain, "DELETING"))
        Plain.delete_table(wait=True)

    assert stub.operations == ["DeleteTable", *["DescribeTable"] * 3]


def test_a_new_table_that_is_never_seen_is_given_up(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dynamo_ext.models.tables._LONGEST_WAIT", 0.0)
    stub.always("DescribeTable", NOT_FOUND)

    with in_app(stub_config), pytest.raises(TableDoesNotExist, match="-plain"):
        Plain.create_table(wait=True)

    assert stub.operations.count("DescribeTable") == 1 + 10
