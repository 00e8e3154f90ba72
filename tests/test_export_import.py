"""``export`` and ``import`` under both command lines: what they write, read and say."""

from __future__ import annotations

import base64
import collections.abc as cabc
import contextlib
import dataclasses
import gzip
import hashlib
import json
import pathlib
import re
import typing as t

import botocore.session
import hypothesis
import pytest
from hypothesis import strategies

import engines
import forked_commands
import strength
from dynamo_ext.calls.items import normal_item
from forked_commands import Commands
from forked_commands import Done
from stub import Answer
from stub import Stub
from stub import error

Item = dict[str, t.Any]
Config = dict[str, t.Any]

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("commands")]

once = pytest.mark.once(reason="what is written and said does not depend on the transport")
both_lines = pytest.mark.parametrize("line", forked_commands.LINES)


_KEYS = {"thing": (("id", "S"), ("number", "N")), "blob": (("key", "B"),)}


@pytest.fixture(scope="module")
def commands() -> cabc.Iterator[Commands]:
    with forked_commands.commands() as commands:
        yield commands


@dataclasses.dataclass
class Database:
    """Tables, by a client that has nothing to do with this project."""

    client: t.Any
    prefix: str

    def create(self, name: str, *key: tuple[str, str]) -> None:
        self.client.create_table(
            TableName=self.prefix + name,
            KeySchema=[
                {"AttributeName": attribute, "KeyType": kind}
                for (attribute, _), kind in zip(key, ("HASH", "RANGE"), strict=False)
            ],
            AttributeDefinitions=[
                {"AttributeName": attribute, "AttributeType": kind} for attribute, kind in key
            ],
            BillingMode="PAY_PER_REQUEST",
        )

    def drop(self, name: str) -> None:
        self.client.delete_table(TableName=self.prefix + name)

    def put(self, name: str, items: cabc.Sequence[Item]) -> None:
        for begin in range(0, len(items), 25):
            requests = [{"PutRequest": {"Item": item}} for item in items[begin : begin + 25]]
            self.client.batch_write_item(RequestItems={self.prefix + name: requests})

    def empty(self, name: str) -> None:
        self.drop(name)
        self.create(name, *_KEYS[name])

    def items(self, name: str) -> list[Item]:
        pages = self.client.get_paginator("scan").paginate(
            TableName=self.prefix + name, ConsistentRead=True
        )
        return [item for page in pages for item in page["Items"]]


@contextlib.contextmanager
def connected(config: Config) -> cabc.Generator[Database]:
    session = botocore.session.get_session()
    session.set_credentials("a", "b")
    client = session.create_client(
        "dynamodb", config["DYNAMODB_REGION"], endpoint_url=config["DYNAMODB_HOST"]
    )

    try:
        yield Database(client, config["DYNAMODB_TABLE_NAME_PREFIX"])
    finally:
        client.close()


@pytest.fixture
def database(config: Config) -> cabc.Iterator[Database]:
    with connected(config) as database:
        create_tables(database)
        yield database


def create_tables(database: Database) -> None:
    for name, key in _KEYS.items():
        database.create(name, *key)


def things(count: int, size: int = 10) -> list[Item]:
    return [
        {"id": {"S": f"é{each}"}, "number": {"N": str(each)}, "text": {"S": "x" * size}}
        for each in range(count)
    ]


def blobs(count: int) -> list[Item]:
    return [{"key": {"B": bytes([0xFF, each])}, "n": {"NULL": True}} for each in range(count)]


def normal(items: cabc.Iterable[Item]) -> list[t.Any]:
    """What is equal for equal items in any order."""
    return sorted(map(normal_item, items), key=lambda item: sorted(map(repr, item)))


def lines(path: pathlib.Path) -> list[Item]:
    content = path.read_bytes()
    content = gzip.decompress(content) if path.suffix == ".gz" else content
    return [json.loads(line) for line in content.splitlines()]


def assert_passed(done: Done) -> None:
    assert done.code == 0, done.stderr


def assert_failed(done: Done, *parts: str, code: int = 1) -> None:
    assert done.code == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert all(part in done.stderr for part in parts), done.stderr


@both_lines
def test_one_table_goes_to_a_file_and_back(
    line: str, commands: Commands, config: Config, database: Database, tmp_path: pathlib.Path
) -> None:
    items, path = things(150), tmp_path / "things.json.gz"
    database.put("thing", items)
    done = commands.run(config, "export", path, "thing", line=line)
    assert_passed(done)
    assert "thing: 150 items exported" in done.stdout
    assert "items/s" in done.stdout
    assert normal(each["Item"] for each in lines(path)) == normal(items)

    database.empty("thing")
    done = commands.run(config, "import", path, "thing", line=line)
    assert_passed(done)
    assert "thing: 150 items imported" in done.stdout
    assert normal(database.items("thing")) == normal(items)
    assert not database.items("blob")


@both_lines
def test_several_tables_go_into_a_folder_and_back(
    line: str, commands: Commands, config: Config, database: Database, tmp_path: pathlib.Path
) -> None:
    database.put("thing", things(30))
    database.put("blob", blobs(30))
    folder = tmp_path / "backup"
    assert_passed(commands.run(config, "export", folder, line=line))
    assert sorted(file.name for file in folder.iterdir()) == ["blob.json", "thing.json"]

    for name in ("thing", "blob"):
        database.empty(name)

    assert_passed(commands.run(config, "import", folder, line=line))
    assert normal(database.items("thing")) == normal(things(30))
    assert normal(database.items("blob")) == normal(blobs(30))


def test_a_file_of_a_line_is_what_dynamodb_itself_writes(
    commands: Commands, config: Config, database: Database, tmp_path: pathlib.Path
) -> None:
    database.put("blob", [{"key": {"B": b"\xff\x00"}, "all": {"L": [{"N": "1"}, {"BOOL": True}]}}])
    assert_passed(commands.run(config, "export", tmp_path / "blobs.json", "blob"))
    written = (tmp_path / "blobs.json").read_text()
    expected = {"key": {"B": "/wA="}, "all": {"L": [{"N": "1"}, {"BOOL": True}]}}
    assert written.endswith("}\n")
    assert json.loads(written) == {"Item": expected}


@once
def test_an_empty_table_gives_a_file_that_gzip_reads(
    commands: Commands, config: Config, database: Database, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "things.json.gz"
    assert_passed(commands.run(config, "export", path, "thing"))
    assert path.read_bytes().startswith(b"\x1f\x8b")
    assert lines(path) == []
    assert_passed(commands.run(config, "import", path, "thing"))


@once
def test_a_complete_export_is_left_alone(
    commands: Commands, config: Config, database: Database, tmp_path: pathlib.Path
) -> None:
    database.put("thing", things(3))
    path = tmp_path / "things.json"
    assert_passed(commands.run(config, "export", path, "thing"))
    database.put("thing", things(5))
    again = commands.run(config, "export", path, "thing")
    assert_passed(again)
    assert "complete already" in again.stdout
    assert "--overwrite" in again.stdout
    assert len(lines(path)) == 3
    assert_passed(commands.run(config, "export", path, "thing", "--overwrite"))
    assert len(lines(path)) == 5


@once
def test_the_export_of_another_table_does_not_pass_for_this_one(
    commands: Commands, config: Config, database: Database, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "items.json"
    assert_passed(commands.run(config, "export", path, "thing"))
    assert_failed(commands.run(config, "export", path, "blob"), "items.json exists", "--overwrite")


@once
def test_a_file_that_is_no_export_is_not_replaced(
    commands: Commands, config: Config, database: Database, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "models.py"
    path.write_text("import this\n")
    assert_failed(commands.run(config, "export", path, "thing"), "models.py exists")
    assert path.read_text() == "import this\n"


@once
def test_results_can_be_read_by_programs(
    commands: Commands, config: Config, database: Database, tmp_path: pathlib.Path
) -> None:
    database.put("thing", things(3))
    prefix = config["DYNAMODB_TABLE_NAME_PREFIX"]
    results = [
        json.loads(commands.run(config, name, tmp_path / "t.json", "thing", "--json").stdout)
        for name in ("export", "import")
    ]
    assert [(each["table"], each["items"]) for (each,) in results] == [(f"{prefix}thing", 3)] * 2


@once
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("{", "not valid JSON"),
        ('{"item": {}}', 'not of the form {"Item"'),
        ('{"Item": {"number": {"N": "1"}}}', "'id' is missing"),
        ('{"Item": {"id": {"N": "1"}, "number": {"N": "1"}}}', "'id' has the type N"),
        ('{"Keys": {}, "OldImage": {}}', "incremental"),
    ],
)
def test_a_damaged_line_is_named_and_nothing_is_written(
    damage: str,
    reason: str,
    commands: Commands,
    stub_config: Config,
    stub: Stub,
    tmp_path: pathlib.Path,
) -> None:
    describe(stub)
    good = [json.dumps({"Item": each}) for each in things(60)]
    content = "\n".join([*good, damage, *good]).encode()
    path = tmp_path / "things.json.gz"
    path.write_bytes(gzip.compress(content))
    done = commands.run(stub_config, "import", path, "thing")
    assert_failed(done, "things.json.gz, line 61: ", reason)
    assert stub.operations == ["DescribeTable"]


def describe(stub: Stub, count: int = 0) -> None:
    """Let the stub know the keys of things."""
    stub.always(
        "DescribeTable",
        lambda request: Answer(
            body={
                "Table": {
                    "TableName": request.body["TableName"],
                    "TableStatus": "ACTIVE",
                    "ItemCount": count,
                    "KeySchema": [
                        {"AttributeName": "id", "KeyType": "HASH"},
                        {"AttributeName": "number", "KeyType": "RANGE"},
                    ],
                    "AttributeDefinitions": [
                        {"AttributeName": "id", "AttributeType": "S"},
                        {"AttributeName": "number", "AttributeType": "N"},
                    ],
                }
            }
        ),
    )


def test_what_only_dynamodb_finds_is_named_by_its_line(
    commands: Commands, config: Config, database: Database, tmp_path: pathlib.Path
) -> None:
    items = things(40)
    items[30]["text"] = {"N": "1e200"}
    path = tmp_path / "things.json"
    path.write_text("".join(json.dumps({"Item": each}) + "\n" for each in items))
    done = commands.run(config, "import", path, "thing")
    assert_failed(done, "things.json, line 31: DynamoDB refuses the item", "Number overflow")


def test_of_one_key_the_last_line_counts(
    commands: Commands, config: Config, database: Database, tmp_path: pathlib.Path
) -> None:
    items = [{**each, "round": {"N": str(number)}} for number in range(4) for each in things(41)]
    items += [{"id": {"S": "é1"}, "number": {"N": "1.0"}, "round": {"N": "5"}}]
    path = tmp_path / "things.json"
    path.write_text("".join(json.dumps({"Item": each}) + "\n" for each in items))
    assert_passed(commands.run(config, "import", path, "thing"))
    rounds = {item["id"]["S"]: item["round"]["N"] for item in database.items("thing")}
    assert rounds == {**{f"é{each}": "3" for each in range(41)}, "é1": "5"}


@once
def test_a_table_that_is_not_there_is_said_to_be(
    commands: Commands, config: Config, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "things.json"
    assert_failed(commands.run(config, "export", path, "thing"), "-thing", "create-tables")
    path.write_text("")
    assert_failed(commands.run(config, "import", path, "thing"), "-thing", "create-tables")


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["export", "nowhere/file.json", "thing"], "nowhere does not exist", 2),
        (["import", "missing.json", "thing"], "missing.json does not exist", 2),
        (["export", "file.json", "think"], "'think'", 2),
        (["export", "a-file", "thing", "blob"], "is a file, but 2 tables need a folder", 2),
        (["import", "a-file"], "Say which it is", 2),
        (["import", "empty"], "no file named *.json", 1),
        (["export", "file.json", "thing", "--max-rcu", "0"], "--max-rcu", 2),
        (["import", "a-file", "thing", "--max-wcu", "-1"], "--max-wcu", 2),
    ],
)
@once
def test_wrong_usage_is_said_before_anything_is_sent(
    arguments: list[str],
    message: str,
    code: int,
    commands: Commands,
    stub_config: Config,
    stub: Stub,
    tmp_path: pathlib.Path,
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a-file").write_text("")
    name, file, *others = arguments
    done = commands.run(stub_config, name, tmp_path / file, *others)
    assert done.code == code
    assert message in done.stderr
    assert not stub.requests


def exported_to_s3(folder: pathlib.Path, items: list[Item], **summary: t.Any) -> pathlib.Path:
    """A folder as DynamoDB's own export to S3 leaves it."""
    export = folder / "AWSDynamoDB" / "01234567890123-abcdefab"
    (export / "data").mkdir(parents=True)
    (folder / "AWSDynamoDB" / "_started").write_text("")
    entries: list[Item] = []

    for number, begin in enumerate(range(0, len(items), 20)):
        some = items[begin : begin + 20]
        content = "".join(json.dumps({"Item": each}) + "\n" for each in some).encode()
        content = gzip.compress(content)
        name = f"data/part{number}.json.gz"
        (export / name).write_bytes(content)
        digest = base64.b64encode(hashlib.md5(content).digest()).decode()
        entries.append(
            {
                "itemCount": len(some),
                "md5Checksum": digest,
                "etag": "e",
                "dataFileS3Key": f"some/prefix/AWSDynamoDB/{export.name}/{name}",
            }
        )

    (export / "manifest-files.json").write_text("\n".join(map(json.dumps, entries)))
    (export / "manifest-files.md5").write_text("x")
    (export / "manifest-summary.json").write_text(
        json.dumps({"version": "2020-06-30", "outputFormat": "DYNAMODB_JSON", **summary})
    )
    return export


@once
@pytest.mark.parametrize("folder", [".", "AWSDynamoDB", "AWSDynamoDB/01234567890123-abcdefab"])
def test_an_export_to_s3_is_imported(
    folder: str,
    commands: Commands,
    embedded_config: Config,
    tmp_path: pathlib.Path,
) -> None:
    exported_to_s3(tmp_path, things(50), exportType="FULL_EXPORT")

    with connected(embedded_config) as database:
        create_tables(database)
        assert_passed(commands.run(embedded_config, "import", tmp_path / folder, "thing"))
        assert normal(database.items("thing")) == normal(things(50))


@once
def test_a_damaged_export_to_s3_is_refused(
    commands: Commands, stub_config: Config, stub: Stub, tmp_path: pathlib.Path
) -> None:
    describe(stub)
    export = exported_to_s3(tmp_path, things(50))
    data = export / "data" / "part1.json.gz"
    good = data.read_bytes()

    data.write_bytes(gzip.compress(gzip.decompress(good), 1, mtime=1))
    assert_failed(commands.run(stub_config, "import", tmp_path, "thing"), "part1", "MD5")

    data.unlink()
    assert_failed(commands.run(stub_config, "import", tmp_path, "thing"), "part1", "missing")

    data.write_bytes(good)
    files = export / "manifest-files.json"
    files.write_text(files.read_text().replace('"itemCount": 20', '"itemCount": 21'))
    assert_failed(commands.run(stub_config, "import", tmp_path, "thing"), "20 items, but 21")

    for name, value in {"exportType": "INCREMENTAL_EXPORT", "outputFormat": "ION"}.items():
        (export / "manifest-summary.json").write_text(json.dumps({name: value}))
        assert_failed(commands.run(stub_config, "import", tmp_path, "thing"), "manifest-summary")

    assert "BatchWriteItem" not in stub.operations


@once
def test_files_that_may_be_of_another_table_are_refused(
    commands: Commands, stub_config: Config, stub: Stub, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "thing.json").write_text("")
    done = commands.run(stub_config, "import", tmp_path, "blob")
    assert_failed(done, "no file for 'blob'")
    (tmp_path / "more.json").write_text("")
    assert_failed(commands.run(stub_config, "import", tmp_path), "more.json")
    (tmp_path / "blob.json.part").write_text("")
    assert_failed(commands.run(stub_config, "import", tmp_path), "not complete")
    assert not stub.requests


# --- how the server is treated


def scanned(stub: Stub, pages: int, units: float | None) -> None:
    """Let each segment have some pages of one item each, and say what each page has consumed."""

    def answer(request: t.Any) -> Answer:
        body = request.body
        number = int(body.get("ExclusiveStartKey", {}).get("number", {"N": "0"})["N"])
        item = {"id": {"S": f"s{body['Segment']}"}, "number": {"N": str(number + 1)}}
        more = {"LastEvaluatedKey": item} if number + 1 < pages else {}
        consumed = {} if units is None else {"ConsumedCapacity": {"CapacityUnits": units}}
        content = {"Items": [item], "Count": 1, "ScannedCount": 1}
        return Answer(body={**content, **more, **consumed})

    stub.always("Scan", answer)


@once
def test_an_export_scans_in_parallel_and_consistently(
    commands: Commands, stub_config: Config, stub: Stub, tmp_path: pathlib.Path
) -> None:
    describe(stub)
    scanned(stub, pages=3, units=1)
    path = tmp_path / "things.json"
    assert_passed(commands.run(stub_config, "export", path, "thing"))
    scans = [request.body for request in stub.requests if request.operation == "Scan"]
    segments = {scan["TotalSegments"] for scan in scans}
    assert segments == {8}
    assert {scan["Segment"] for scan in scans} == set(range(8))
    assert all(scan["ConsistentRead"] for scan in scans)
    assert all("Limit" not in scan for scan in scans)
    assert len(lines(path)) == len(scans) == 24


@once
def test_an_export_takes_no_more_slots_than_there_are(
    commands: Commands, stub_config: Config, stub: Stub, tmp_path: pathlib.Path
) -> None:
    describe(stub)
    scanned(stub, pages=3, units=1)
    config = {**stub_config, "DYNAMODB_MAX_POOL_CONNECTIONS": 2}
    path = tmp_path / "things.json"
    assert_passed(commands.run(config, "export", path, "thing"))
    assert len(lines(path)) == 24
    assert stub.peak_in_flight <= 2


@once
def test_a_limit_needs_to_know_what_is_consumed(
    commands: Commands, stub_config: Config, stub: Stub, tmp_path: pathlib.Path
) -> None:
    describe(stub)
    scanned(stub, pages=1, units=None)
    arguments = ("export", tmp_path / "things.json", "thing")
    done = commands.run(stub_config, *arguments, "--max-rcu", "5")
    assert_failed(done, "does not say which capacity")
    assert_passed(commands.run(stub_config, *arguments))


@once
def test_throttled_scans_and_unprocessed_items_are_repeated(
    commands: Commands, stub_config: Config, stub: Stub, tmp_path: pathlib.Path
) -> None:
    describe(stub)
    scanned(stub, pages=2, units=1)
    stub.next("Scan", *[error(400, "ProvisionedThroughputExceededException")] * 6)
    config = {**stub_config, "DYNAMODB_MAX_RETRY_ATTEMPTS": 0, "DYNAMODB_BASE_BACKOFF_MS": 1}
    path = tmp_path / "things.json"
    assert_passed(commands.run(config, "export", path, "thing"))
    assert len(lines(path)) == 16

    written: list[str] = []

    def half(request: t.Any) -> Answer:
        ((table, requests),) = request.body["RequestItems"].items()
        done, left = requests[: len(requests) // 2], requests[len(requests) // 2 :]
        done, left = (done, left) if len(requests) > 1 else (requests, [])
        written.extend(json.dumps(each["PutRequest"]["Item"], sort_keys=True) for each in done)
        return Answer(body={"UnprocessedItems": {table: left} if left else {}})

    stub.always("BatchWriteItem", half)
    stub.next("BatchWriteItem", error(400, "ThrottlingException"))
    assert_passed(commands.run(config, "import", path, "thing"))
    items = [json.dumps(each["Item"], sort_keys=True) for each in lines(path)]
    assert sorted(written) == sorted(items)


@once
def test_another_failure_ends_it_and_says_how_to_go_on(
    commands: Commands, stub_config: Config, stub: Stub, tmp_path: pathlib.Path
) -> None:
    describe(stub)
    scanned(stub, pages=4, units=1)
    stub.next("Scan", error(400, "AccessDeniedException", "no"))
    arguments = ("export", tmp_path / "things.json", "thing")
    assert_failed(commands.run(stub_config, *arguments), "-thing", "no", "same command again")
    assert_passed(commands.run(stub_config, *arguments))
    assert len(lines(tmp_path / "things.json")) == 32


@once
def test_an_interrupted_export_says_so_and_goes_on(
    commands: Commands, stub_config: Config, stub: Stub, tmp_path: pathlib.Path
) -> None:
    describe(stub)
    scanned(stub, pages=2, units=10)
    arguments = ("export", tmp_path / "things.json", "thing")
    # It takes 16 pages of 10 units, and so 15 seconds.
    done = commands.run(stub_config, *arguments, "--max-rcu", "10", interrupt_after=4)
    assert_failed(done, "same command again")
    assert_passed(again := commands.run(stub_config, *arguments))
    assert "goes on with the export of" in again.stderr
    identities = [
        (each["Item"]["id"]["S"], each["Item"]["number"]["N"])
        for each in lines(tmp_path / "things.json")
    ]
    assert sorted(identities) == [
        (f"s{segment}", str(number)) for segment in range(8) for number in (1, 2)
    ]


@once
@both_lines
def test_a_terminal_has_a_bar_with_rate_and_time_left_and_ctrl_c_ends_it(
    line: str, commands: Commands, stub_config: Config, stub: Stub, tmp_path: pathlib.Path
) -> None:
    describe(stub, count=48)
    scanned(stub, pages=6, units=10)
    path = tmp_path / "things.json"
    name = f"{stub_config['DYNAMODB_TABLE_NAME_PREFIX']}thing"
    # It takes a second for each page, or eight for one of each segment. Click tells the time
    # left from the second time on.
    left = r"thing +\[#+-+\] +\d+/48 +\d\d:\d\d:\d\d +\d+ items/s"
    arguments = ("export", path, "thing", "--max-rcu", "10")
    ended = commands.run_on_terminal(stub_config, *arguments, line=line, ctrl_c_at=left)
    assert ended.code == 1, ended.stdout
    assert ended.stdout.splitlines()[-2:] == [
        "Interrupted. Run the same command again to go on.",
        "Aborted!",
    ]
    assert "Traceback" not in ended.stdout

    done = commands.run_on_terminal(stub_config, "export", path, "thing", line=line)
    assert done.code == 0, done.stdout
    assert re.search(rf"{name} +\[#+\] +48/48 +", done.stdout), done.stdout
    assert f"{name}: 48 items exported to " in done.stdout.splitlines()[-1]

    # Elsewhere there is none.
    plain = commands.run(stub_config, "export", path, "thing", "--overwrite", line=line)
    assert_passed(plain)
    assert "[#" not in plain.stdout + plain.stderr

    stub.always("BatchWriteItem", accepting(set()))
    done = commands.run_on_terminal(stub_config, "import", path, "thing", line=line)
    assert done.code == 0, done.stdout
    assert re.search(rf"{name}, checking +\[#+\] +100%", done.stdout), done.stdout
    assert re.search(rf"{name} +\[#+\] +100%", done.stdout), done.stdout


@once
def test_a_checkpoint_of_another_table_is_refused(
    commands: Commands, stub_config: Config, stub: Stub, tmp_path: pathlib.Path
) -> None:
    describe(stub)
    stub.always("Scan", error(400, "AccessDeniedException"))
    arguments = ("export", tmp_path / "things.json", "thing")
    assert_failed(commands.run(stub_config, *arguments), "AccessDenied")
    other = {**stub_config, "DYNAMODB_TABLE_NAME_PREFIX": "other-"}
    assert_failed(commands.run(other, *arguments), "another table", "'other-thing'")
    other = {**stub_config, "DYNAMODB_REGION": "eu-west-1"}
    assert_failed(commands.run(other, *arguments), "another table", "'eu-west-1'")

    (tmp_path / "things.json.checkpoint").unlink()
    assert_failed(commands.run(stub_config, *arguments), "things.json.part", "Move it away")


@once
def test_an_import_goes_on_behind_what_is_written(
    commands: Commands, stub_config: Config, stub: Stub, tmp_path: pathlib.Path
) -> None:
    describe(stub)
    path = tmp_path / "things.json"
    path.write_text("".join(json.dumps({"Item": each}) + "\n" for each in things(2000)))
    first: set[str] = set()
    second: set[str] = set()
    stub.next("BatchWriteItem", *[accepting(first)] * 60)
    stub.always("BatchWriteItem", error(400, "AccessDeniedException"))
    assert_failed(commands.run(stub_config, "import", path, "thing"), "same command again")

    stub.always("BatchWriteItem", accepting(second))
    assert_passed(done := commands.run(stub_config, "import", path, "thing"))
    assert "goes on" in done.stderr
    assert first | second == {each["id"]["S"] for each in things(2000)}
    assert len(second) < 2000
    assert [file.name for file in tmp_path.iterdir()] == ["things.json"]


@once
@pytest.mark.parametrize(
    "damage",
    [
        "",
        "{",
        "[]",
        "\xff",
        pytest.param("[" * 100_000, id="nested too deep"),
        '{"kind": "export", "version": 2}',
        '{"kind": "other", "version": 1}',
        '{"kind": "KIND", "version": 1}',
        '{"kind": "KIND", "version": 1, "table": {}, "began": "", "segments": [], "offset": 0,'
        ' "items": 0, "files": [], "written": [0, 0]}',
        '{"kind": "KIND", "version": 1, "table": {}, "began": "", "segments":'
        ' [{"start_key": 1, "is_done": false}], "offset": 0, "items": 0, "files": [1],'
        ' "written": [0, "1"]}',
        None,
    ],
)
def test_a_damaged_checkpoint_is_a_message_that_says_what_to_do(
    damage: str | None, commands: Commands, stub_config: Config, stub: Stub, tmp_path: pathlib.Path
) -> None:
    describe(stub)
    source, target = tmp_path / "source.json", tmp_path / "target.json"
    source.write_text(json.dumps({"Item": things(1)[0]}))
    (part := tmp_path / "target.json.part").write_text("")

    for checkpoint, kind, arguments in (
        (tmp_path / "source.json.import-checkpoint", "import", ("import", source, "thing")),
        (tmp_path / "target.json.checkpoint", "export", ("export", target, "thing")),
    ):
        if damage is None:
            checkpoint.mkdir()
        else:
            checkpoint.write_text(damage.replace("KIND", kind), encoding="latin-1")

        done = commands.run(stub_config, *arguments)
        assert_failed(done, checkpoint.name, "away to begin anew")
        assert (str(part) in done.stderr) is (kind == "export")

    assert set(stub.operations) == {"DescribeTable"}


@once
def test_an_import_of_changed_files_begins_anew_and_says_so(
    commands: Commands, stub_config: Config, stub: Stub, tmp_path: pathlib.Path
) -> None:
    describe(stub)
    path = tmp_path / "things.json"
    content = [json.dumps({"Item": each}) for each in things(3)]
    path.write_text("\n".join(content))
    stub.always("BatchWriteItem", error(400, "AccessDeniedException"))
    arguments = ("import", path, "thing")
    assert_failed(commands.run(stub_config, *arguments), "same command again")
    assert (tmp_path / "things.json.import-checkpoint").exists()

    path.write_text("\n".join([*content, "{"]))
    assert_failed(commands.run(stub_config, *arguments), "have changed", "line 4")
    path.write_text("\n".join(content[1:]))
    written: set[str] = set()
    stub.always("BatchWriteItem", accepting(written))
    assert_passed(done := commands.run(stub_config, *arguments))
    assert "begins anew: the files have changed" in done.stderr
    assert written == {each["id"]["S"] for each in things(3)[1:]}


@once
@both_lines
def test_a_bind_is_exported_and_imported(
    line: str,
    commands: Commands,
    stub_config: Config,
    stub: Stub,
    dynoxide: str,
    tmp_path: pathlib.Path,
) -> None:
    prefix = f"{stub_config['DYNAMODB_TABLE_NAME_PREFIX']}eu-"
    config = {
        **stub_config,
        "DYNAMODB_BINDS": {"eu": {"HOST": dynoxide, "TABLE_NAME_PREFIX": prefix}},
    }
    path, other = tmp_path / "things.json", tmp_path / "other.json"
    of_bind = {**stub_config, "DYNAMODB_HOST": dynoxide, "DYNAMODB_TABLE_NAME_PREFIX": prefix}

    with connected(of_bind) as database:
        create_tables(database)
        database.put("thing", things(3))
        bind = ("--bind", "eu")
        done = commands.run(config, "export", path, "thing", *bind, "--json", line=line)
        assert_passed(done)
        (result,) = json.loads(done.stdout)
        assert (result["table"], result["bind"]) == (f"{prefix}thing", "eu")
        assert normal(each["Item"] for each in lines(path)) == normal(things(3))
        database.empty("thing")
        assert_passed(commands.run(config, "import", path, "thing", *bind, line=line))
        assert normal(database.items("thing")) == normal(things(3))

    for name, file in (("export", other), ("import", path)):
        unknown = commands.run(config, name, file, "thing", "--bind", "asia", line=line)
        assert_failed(unknown, "'asia'", "'eu'", code=2)

    assert not stub.requests
    assert not other.exists()


def accepting(written: set[str]) -> t.Any:
    """Let the stub write batches, and note what it has written."""

    def answer(request: t.Any) -> Answer:
        ((_, requests),) = request.body["RequestItems"].items()
        written.update(each["PutRequest"]["Item"]["id"]["S"] for each in requests)
        return Answer(body={"UnprocessedItems": {}})

    return answer


# --- everything that a table may hold

texts = strategies.text(strategies.characters(codec="utf-8"), max_size=8)
numbers = strategies.one_of(
    strategies.integers(-(10**38) + 1, 10**38 - 1).map(str),
    strategies.decimals(-(10**9), 10**9, places=5).map(str),
)
binaries = strategies.binary(max_size=8)


def of_type(kind: str, values: strategies.SearchStrategy[t.Any]) -> strategies.SearchStrategy[Item]:
    return values.map(lambda value: {kind: value})


def sets(values: strategies.SearchStrategy[t.Any]) -> strategies.SearchStrategy[t.Any]:
    return strategies.lists(values, min_size=1, max_size=3, unique=True)


scalars = strategies.one_of(
    of_type("S", texts),
    of_type("N", numbers),
    of_type("B", binaries),
    of_type("BOOL", strategies.booleans()),
    of_type("NULL", strategies.just(True)),
    of_type("SS", sets(texts.filter(bool))),
    of_type("NS", sets(strategies.integers(-(10**20), 10**20).map(str))),
    of_type("BS", sets(binaries.filter(bool))),
)
values = strategies.recursive(
    scalars,
    lambda inner: strategies.one_of(
        of_type("L", strategies.lists(inner, max_size=3)),
        of_type("M", strategies.dictionaries(texts.filter(bool), inner, max_size=3)),
    ),
    max_leaves=6,
)
rests = strategies.dictionaries(
    texts.filter(lambda name: bool(name) and name not in {"id", "number"}), values, max_size=4
)
tables = strategies.lists(
    strategies.tuples(texts.filter(bool), strategies.integers(-9, 9), rests),
    max_size=12,
    unique_by=lambda item: item[:2],
)


@pytest.mark.slow
@hypothesis.given(rows=tables, ending=strategies.sampled_from([".json", ".json.gz"]))
@hypothesis.settings(
    max_examples=strength.examples(4),
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
def test_any_table_is_the_same_after_export_drop_create_and_import(
    rows: list[tuple[str, int, Item]],
    ending: str,
    engine: str,
    commands: Commands,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    config = engines.config(engine)
    path = tmp_path_factory.mktemp("any") / f"things{ending}"

    with connected(config) as database:
        create_tables(database)
        database.put(
            "thing",
            [
                {"id": {"S": id_}, "number": {"N": str(number)}, **rest}
                for id_, number, rest in rows
            ],
        )
        before = normal(database.items("thing"))
        assert_passed(commands.run(config, "export", path, "thing"))
        assert_passed(commands.run(config, "drop-tables", "thing", "--yes"))
        assert_passed(commands.run(config, "create-tables", "thing"))
        assert_passed(commands.run(config, "import", path, "thing"))
        assert normal(database.items("thing")) == before
