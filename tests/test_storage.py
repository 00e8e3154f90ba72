"""moto's tables, kept in a file: what a new engine reads is what the last one had."""

from __future__ import annotations

import collections.abc as cabc
import json
import pathlib
import typing as t
import zlib

import pytest

from keeping import Failed
from keeping import Keeper

pytestmark = pytest.mark.once(reason="the embedded engine is called without a client")

BYTES = "AAH/"
EVERY_TYPE: dict[str, t.Any] = {
    "text": {"S": "é\u2028\n\x00\\\"'"},
    "empty text": {"S": ""},
    "number": {"N": "12345678901234567890123456789012345678"},
    "small number": {"N": "-1.5E-100"},
    "zeros": {"N": "1.500"},
    "bytes": {"B": BYTES},
    "no bytes": {"B": ""},
    "texts": {"SS": ["b", "a"]},
    "numbers": {"NS": ["1", "2.50"]},
    "many bytes": {"BS": [BYTES, "AA=="]},
    "nothing": {"NULL": True},
    "false": {"BOOL": False},
    "list": {"L": [{"B": BYTES}, {"M": {"in": {"BS": ["AA=="]}}}, {"L": []}, {"S": "B"}]},
    "map": {"M": {"B": {"B": BYTES}, "N": {"N": "1"}, "empty": {"M": {}}}},
}
HASH = {"KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}]}
ON_DEMAND = {"BillingMode": "PAY_PER_REQUEST"}


def table(name: str = "things", *, key: str = "S", sort_key: str | None = None) -> dict[str, t.Any]:
    keys = [("id", "HASH", key), ("at", "RANGE", sort_key)]
    return {
        "TableName": name,
        "KeySchema": [
            {"AttributeName": name, "KeyType": role} for name, role, kind in keys if kind
        ],
        "AttributeDefinitions": [
            {"AttributeName": name, "AttributeType": kind} for name, _, kind in keys if kind
        ],
    } | ON_DEMAND


def index(name: str, *keys: str) -> dict[str, t.Any]:
    roles = zip(keys, ("HASH", "RANGE"), strict=False)
    return {
        "IndexName": name,
        "KeySchema": [{"AttributeName": key, "KeyType": role} for key, role in roles],
        "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["colour"]},
    }


def definitions(**kinds: str) -> dict[str, t.Any]:
    return {
        "AttributeDefinitions": [
            {"AttributeName": name, "AttributeType": kind} for name, kind in kinds.items()
        ]
    }


@pytest.fixture(scope="module")
def process() -> cabc.Iterator[Keeper]:
    keeper = Keeper()
    yield keeper
    keeper.close()


@pytest.fixture
def keeper(process: Keeper, tmp_path: pathlib.Path) -> Keeper:
    """An empty file in the process."""
    assert process.open(tmp_path / "things.db") == []
    return process


def put(keeper: Keeper, number: int, **more: t.Any) -> None:
    keeper.call("PutItem", TableName="things", Item={"id": {"S": str(number)}, **more})


def assert_kept(keeper: Keeper, *, region: str = "eu-west-1") -> dict[str, t.Any]:
    """Check that a new engine has the same tables; return what they are."""
    before = keeper.state(region=region)
    content = keeper.path.read_bytes()
    assert keeper.reopen() == []
    assert keeper.path.read_bytes() == content
    assert keeper.state(region=region) == before
    return before


# Tables


TABLES: dict[str, dict[str, t.Any]] = {
    "on demand": table(),
    "with a sort key": table(sort_key="N"),
    "with binary keys": table(key="B", sort_key="B"),
    "provisioned": table()
    | {
        "BillingMode": "PROVISIONED",
        "ProvisionedThroughput": {"ReadCapacityUnits": 3, "WriteCapacityUnits": 4},
    },
    "with indexes": table(sort_key="N")
    | definitions(id="S", at="N", colour="S", size="N")
    | {
        "GlobalSecondaryIndexes": [index("by_colour", "colour", "size"), index("by_at", "at")],
        "LocalSecondaryIndexes": [index("by_size", "id", "size")],
    },
    "with a stream": table()
    | {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}},
    "with tags": table() | {"Tags": [{"Key": "team", "Value": "é"}, {"Key": "x", "Value": ""}]},
    "protected and encrypted": table()
    | {"DeletionProtectionEnabled": True, "SSESpecification": {"Enabled": True}},
}


@pytest.mark.parametrize("request_", TABLES.values(), ids=TABLES)
def test_table_is_kept_with_all_that_it_was_created_with(
    keeper: Keeper, request_: dict[str, t.Any]
) -> None:
    keeper.call("CreateTable", **request_)

    if "SSESpecification" in request_:
        # moto makes another key of KMS each time.
        before = keeper.state()
        keeper.reopen()
        after = keeper.state()
        for state in (before, after):
            del state["things"]["table"]["SSEDescription"]["KMSMasterKeyArn"]
        assert after == before
        assert after["things"]["table"]["SSEDescription"]["Status"] == "ENABLED"
        assert after["things"]["table"]["DeletionProtectionEnabled"] is True
    else:
        state = assert_kept(keeper)
        assert list(state) == ["things"]


def test_changes_of_a_table_are_kept(keeper: Keeper) -> None:
    arn = keeper.call("CreateTable", **table())["TableDescription"]["TableArn"]
    put(keeper, 1, colour={"S": "red"}, ttl={"N": "1"})
    by_colour = index("by_colour", "colour")
    changes: list[tuple[str, dict[str, t.Any]]] = [
        ("UpdateTable", {"GlobalSecondaryIndexUpdates": [{"Create": by_colour}]}),
        ("UpdateTable", definitions(id="S", colour="S")),
        ("UpdateTable", {"DeletionProtectionEnabled": True}),
        ("UpdateTable", {"StreamSpecification": {"StreamViewType": "KEYS_ONLY"}}),
        ("UpdateTable", {"StreamSpecification": {"StreamEnabled": False}}),
        (
            "UpdateTimeToLive",
            {"TimeToLiveSpecification": {"Enabled": True, "AttributeName": "ttl"}},
        ),
        (
            "UpdateContinuousBackups",
            {"PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True}},
        ),
    ]

    for operation, request in changes:
        keeper.call(operation, TableName="things", **request)

    keeper.call("TagResource", ResourceArn=arn, Tags=[{"Key": k, "Value": k} for k in "abc"])
    keeper.call("UntagResource", ResourceArn=arn, TagKeys=["b"])
    state = assert_kept(keeper)["things"]
    assert [each["IndexName"] for each in state["table"]["GlobalSecondaryIndexes"]] == ["by_colour"]
    assert state["items"]["by_colour"][0]["colour"] == {"S": "red"}
    assert state["ttl"] == {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"}
    assert [tag["Key"] for tag in state["tags"]] == ["a", "c"]
    recovery = state["backups"]["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
    assert recovery["PointInTimeRecoveryStatus"] == "ENABLED"


def test_deleted_table_is_gone_and_another_of_its_name_is_empty(keeper: Keeper) -> None:
    keeper.call("CreateTable", **table())
    put(keeper, 1)
    keeper.call("DeleteTable", TableName="things")
    assert assert_kept(keeper) == {}
    keeper.call("CreateTable", **table(sort_key="N"))
    assert assert_kept(keeper)["things"]["items"] == {None: []}


def test_refused_change_of_a_table_has_no_effect(keeper: Keeper) -> None:
    keeper.call("CreateTable", **table())
    put(keeper, 1)
    before = keeper.state()
    content = keeper.path.read_bytes()
    # moto applies the first part, and fails at the second.
    status, _ = keeper.request(
        "UpdateTable",
        TableName="things",
        GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "none"}}],
        **definitions(id="S", colour="S"),
    )
    assert status >= 400
    assert keeper.request("CreateTable", **table())[0] == 400
    assert keeper.request("DeleteTable", TableName="nothing")[0] == 400
    keeper.call("TagResource", ResourceArn="arn:aws:dynamodb:x:1:table/nothing", Tags=[])
    assert keeper.state() == before
    assert keeper.path.read_bytes() == content
    assert_kept(keeper)


def test_regions_are_kept_apart(keeper: Keeper) -> None:
    for region in ("eu-west-1", "local"):
        keeper.call("CreateTable", region=region, **table())
        keeper.call("PutItem", region=region, TableName="things", Item={"id": {"S": region}})

    for region in ("eu-west-1", "local"):
        state = assert_kept(keeper, region=region)
        assert state["things"]["items"][None] == [{"id": {"S": region}}]

    assert keeper.state(region="us-east-1") == {}


# Items


def test_every_type_is_kept_as_it_is(keeper: Keeper) -> None:
    keeper.call("CreateTable", **table(key="B", sort_key="N"))
    key = {"id": {"B": BYTES}, "at": {"N": "1.50"}}
    keeper.call("PutItem", TableName="things", Item=key | EVERY_TYPE)
    (item,) = assert_kept(keeper)["things"]["items"][None]
    assert item == key | EVERY_TYPE
    # Also where moto computes with what was read.
    keeper.call(
        "UpdateItem",
        TableName="things",
        Key=key,
        UpdateExpression="ADD #s :s, #n :n SET #l = list_append(#l, #l)",
        ExpressionAttributeNames={"#s": "many bytes", "#n": "numbers", "#l": "list"},
        ExpressionAttributeValues={":s": {"BS": ["//8=", BYTES]}, ":n": {"NS": ["9"]}},
    )
    (updated,) = assert_kept(keeper)["things"]["items"][None]
    assert sorted(updated["many bytes"]["BS"]) == sorted([BYTES, "AA==", "//8="])
    assert len(updated["list"]["L"]) == 8


def update(number: int, expression: str, value: str = "1", **more: t.Any) -> dict[str, t.Any]:
    return {
        "TableName": "things",
        "Key": {"id": {"S": str(number)}},
        "UpdateExpression": expression,
        "ExpressionAttributeValues": {":v": {"N": value}},
    } | more


IS_NEW = {"ConditionExpression": "attribute_not_exists(id)"}
IS_THERE = {"ConditionExpression": "attribute_exists(id)"}
ARN = "arn:aws:dynamodb:eu-west-1:123456789012:table/things"
WRONG_KEY: dict[str, t.Any] = {"PutRequest": {"Item": {"id": {"N": "1"}}}}
ITEM_9_PUT: dict[str, t.Any] = {"Item": {"id": {"S": "9"}}}
ITEM_1: dict[str, t.Any] = {"TableName": "things", "Item": {"id": {"S": "1"}}}
ITEM_9: dict[str, t.Any] = {"TableName": "things", "Item": {"id": {"S": "9"}}}
KEY_1: dict[str, t.Any] = {"TableName": "things", "Key": {"id": {"S": "1"}}}
KEY_9: dict[str, t.Any] = {"TableName": "things", "Key": {"id": {"S": "9"}}}
INSERT = "INSERT INTO \"things\" VALUE {'id': '9', 'height': 4}"
UPDATE = "UPDATE \"things\" SET height = '44' WHERE id = '1'"
WRITES: list[tuple[str, dict[str, t.Any], set[str]]] = [
    ("PutItem", ITEM_9, {"9"}),
    ("PutItem", ITEM_1, {"1"}),
    (
        "PutItem",
        ITEM_9 | {"TableName": ARN},
        {"9"},
    ),
    ("UpdateItem", update(1, "ADD height :v"), {"1"}),
    ("UpdateItem", update(9, "SET height = :v", ReturnValues="UPDATED_NEW"), {"9"}),
    ("DeleteItem", KEY_1, {"1"}),
    (
        "BatchWriteItem",
        {
            "RequestItems": {
                "things": [
                    {"PutRequest": {"Item": ITEM_9["Item"]}},
                    {"DeleteRequest": {"Key": KEY_1["Key"]}},
                ]
            }
        },
        {"1", "9"},
    ),
    (
        "TransactWriteItems",
        {
            "TransactItems": [
                {"Update": update(1, "ADD height :v")},
                {"Put": ITEM_9 | IS_NEW},
                {"Delete": KEY_1 | {"Key": {"id": {"S": "2"}}}},
                {"ConditionCheck": KEY_1 | IS_THERE | {"Key": {"id": {"S": "3"}}}},
            ]
        },
        {"1", "2", "9"},
    ),
    ("ExecuteStatement", {"Statement": INSERT}, {"9"}),
    ("ExecuteStatement", {"Statement": UPDATE}, {"1"}),
    ("ExecuteTransaction", {"TransactStatements": [{"Statement": INSERT}]}, {"9"}),
    (
        "BatchExecuteStatement",
        {"Statements": [{"Statement": "DELETE FROM \"things\" WHERE id = '1'"}]},
        {"1"},
    ),
]


@pytest.fixture
def three(keeper: Keeper) -> Keeper:
    """A table with three items."""
    keeper.call("CreateTable", **table())

    for number in (1, 2, 3):
        put(keeper, number, height={"N": str(number)})

    return keeper


def items_by_id(keeper: Keeper) -> dict[str, t.Any]:
    return {item["id"]["S"]: item for item in keeper.call("Scan", TableName="things")["Items"]}


@pytest.mark.parametrize(("operation", "request_", "changed"), WRITES)
def test_write_is_kept(
    three: Keeper, operation: str, request_: dict[str, t.Any], changed: set[str]
) -> None:
    before = items_by_id(three)
    three.call(operation, **request_)
    after = items_by_id(three)
    assert {id for id in {*before, *after} if before.get(id) != after.get(id)} == changed
    assert_kept(three)


REFUSED: list[tuple[str, dict[str, t.Any]]] = [
    ("PutItem", ITEM_1 | IS_NEW),
    ("PutItem", {"TableName": "nothing", "Item": {"id": {"S": "1"}}}),
    ("PutItem", {"TableName": "things", "Item": {"id": {"N": "1"}}}),
    ("PutItem", {"TableName": "things", "Item": {}}),
    ("PutItem", {"TableName": "things"}),
    ("PutItem", {"TableName": "things", "Item": ["id"]}),
    ("PutItem", {}),
    ("DeleteItem", KEY_9 | IS_THERE),
    ("DeleteItem", {"TableName": "things", "Key": {"id": "1"}}),
    ("UpdateItem", update(9, "ADD height :v", ConditionExpression="height = :v")),
    ("UpdateItem", update(9, "SET height = other + :v")),
    ("BatchWriteItem", {"RequestItems": {"things": [{"PutRequest": {}}]}}),
    (
        "BatchWriteItem",
        {"RequestItems": {"things": [{"PutRequest": {"Item": {"id": {"N": "1"}}}}]}},
    ),
    ("TransactWriteItems", {"TransactItems": [{"Put": ITEM_9}, {"Put": ITEM_1 | IS_NEW}]}),
    ("TransactWriteItems", {"TransactItems": [{"Put": ITEM_9}, {"Update": {}}]}),
    ("TransactWriteItems", {"TransactItems": "none"}),
    ("BatchWriteItem", {"RequestItems": {"things": [{"PutRequest": ITEM_9_PUT}, WRONG_KEY]}}),
    ("ExecuteStatement", {"Statement": "DELETE FROM things, please"}),
    ("ExecuteStatement", {}),
]


@pytest.mark.parametrize(("operation", "request_"), REFUSED)
def test_whatever_moto_makes_of_a_refused_write_a_new_engine_has_the_same(
    three: Keeper, operation: str, request_: dict[str, t.Any]
) -> None:
    status, _ = three.request(operation, **request_)
    assert status >= 400
    assert_kept(three)
    put(three, 5)
    assert_kept(three)


def test_reads_and_failed_conditions_leave_the_file_as_it_is(three: Keeper) -> None:
    content = three.path.read_bytes()
    three.state()
    three.call("GetItem", **KEY_1)
    three.call("BatchGetItem", RequestItems={"things": {"Keys": [KEY_1["Key"]]}})
    three.call("TransactGetItems", TransactItems=[{"Get": KEY_1}])
    three.call("ExecuteStatement", Statement="SELECT * FROM things")
    three.request("PutItem", **ITEM_1, **IS_NEW)
    put(three, 1, height={"N": "1"})
    assert three.path.read_bytes() == content


def test_number_that_is_written_in_another_way_is_the_same_key(keeper: Keeper) -> None:
    keeper.call("CreateTable", **table(key="N"))

    for number in ("1.50", "1.5", "0.15E1"):
        keeper.call("PutItem", TableName="things", Item={"id": {"N": number}})

    # Older releases of moto keep three items until then.
    keeper.reopen()
    (item,) = assert_kept(keeper)["things"]["items"][None]
    assert item == {"id": {"N": "0.15E1"}}
    keeper.call("PutItem", TableName="things", Item={"id": {"N": "2.0"}})
    keeper.call("DeleteItem", TableName="things", Key={"id": {"N": "2"}})
    assert_kept(keeper)


def test_large_request_is_one_record(three: Keeper) -> None:
    lines = three.path.read_bytes().count(b"\n")
    puts = [{"PutRequest": {"Item": {"id": {"S": f"{n}"}}}} for n in range(100, 125)]
    three.call("BatchWriteItem", RequestItems={"things": puts})
    content = three.path.read_bytes()
    assert content.count(b"\n") == lines + 1
    three.path.write_bytes(content[:-2])
    (warning,) = three.reopen()
    assert warning.startswith(f"The end of {str(three.path)!r} was damaged.")
    assert set(items_by_id(three)) == {"1", "2", "3"}


@pytest.mark.parametrize(
    "operation",
    ["CreateBackup", "RestoreTableToPointInTime", "ImportTable", "PutResourcePolicy", "Invent"],
)
def test_operation_whose_effect_would_not_be_kept_is_refused(
    keeper: Keeper, operation: str
) -> None:
    status, answer = keeper.request(operation, TableName="things")
    assert status == 400
    assert answer["message"].startswith(f"{operation} is not supported by an embedded engine with")


# The file


def test_past_of_a_file_is_dropped_by_the_next_engine(three: Keeper) -> None:
    put(three, 1, height={"N": "9"}, bytes={"B": BYTES})
    content = three.path.read_bytes()
    three.path.write_bytes(content + 1100 * content.splitlines(keepends=True)[-1])
    before, size = three.state(), three.path.stat().st_size
    three.reopen()
    assert three.path.stat().st_size < size / 100
    assert three.state() == before
    put(three, 4)
    assert_kept(three)


def test_write_that_does_not_fit_on_the_disk_is_refused_and_not_there(three: Keeper) -> None:
    before, content = three.state(), three.path.read_bytes()
    three.limit_file_size(len(content) + 20)

    try:
        for operation, request in [
            ("PutItem", ITEM_9),
            ("UpdateItem", update(1, "ADD height :v")),
            ("DeleteItem", KEY_1),
            ("CreateTable", table("other")),
            ("DeleteTable", {"TableName": "things"}),
            ("ExecuteStatement", {"Statement": INSERT}),
        ]:
            status, answer = three.request(operation, **request)
            assert status == 400
            assert answer["__type"].endswith("#FileNotWritten")
            path = str(three.path)
            assert answer["message"] == (
                f"the embedded engine cannot write to {path!r}: File too large"
            )
            assert three.state() == before
            assert three.path.read_bytes() == content
            assert three.warnings() == []
    finally:
        three.limit_file_size(None)

    put(three, 4)
    assert set(items_by_id(three)) == {"1", "2", "3", "4"}
    assert_kept(three)


def test_write_into_a_file_that_was_removed_is_refused(three: Keeper) -> None:
    before = three.state()
    three.path.unlink()
    status, answer = three.request("PutItem", **ITEM_9)
    assert status == 400
    assert "was removed or replaced" in answer["message"]
    assert three.state() == before
    assert not three.path.exists()


def test_table_that_cannot_be_restored_is_an_error_that_names_it(three: Keeper) -> None:
    content = three.path.read_bytes()
    first = content.split(b"\n")[1].partition(b" ")[2]
    wrong = first.replace(b'"KeyType": "HASH"', b'"KeyType": "WRONG"')
    rewritten = json.loads(wrong)
    assert rewritten != json.loads(first)
    lines = content.split(b"\n")
    lines[1] = b"%08x %s" % (zlib.crc32(wrong), wrong)
    three.path.write_bytes(b"\n".join(lines))

    with pytest.raises(Failed) as failed:
        three.reopen()

    assert failed.value.args[0] == "RuntimeError"
    assert f"the table 'things' in {str(three.path)!r} cannot be restored" in failed.value.args[1]
