"""Items as lines of JSON: the form of DynamoDB's export to S3, and what is refused in it."""

from __future__ import annotations

import base64
import gzip
import json
import pathlib
import typing as t

import pytest

from dynamo_ext.cli.transfer import item_lines
from dynamo_ext.cli.transfer.failures import InvalidFile
from dynamo_ext.cli.transfer.item_files import Reader
from dynamo_ext.models.item_json import InvalidItem
from dynamo_ext.models.item_json import KeySchema

pytestmark = pytest.mark.once(reason="files are read")

SCHEMA = KeySchema(names=("id", "day"), types={"id": "S", "day": "N", "state": "S"})
KEY = {"id": {"S": "a"}, "day": {"N": "1"}}


def line(value: t.Any) -> bytes:
    return json.dumps({"Item": {**KEY, "value": value}}).encode() + b"\n"


def nested(levels: int) -> t.Any:
    return {"L": [nested(levels - 1)]} if levels else {"S": "deep"}


def test_a_line_is_one_of_dynamodb() -> None:
    items = [{"id": {"S": "ä\n\u2028"}, "data": {"B": b"\x00\xff"}, "all": {"BS": [b"1"]}}]
    assert item_lines.encode(items) == (
        b'{"Item":{"id":{"S":"\\u00e4\\n\\u2028"},"data":{"B":"AP8="},"all":{"BS":["MQ=="]}}}\n'
    )


def test_binary_values_are_decoded_wherever_they_are() -> None:
    value = {"M": {"a": {"L": [{"B": "AP8="}]}, "b": {"BS": ["MQ==", "Mg=="]}}}
    item = item_lines.decode(line(value), SCHEMA)
    assert item["value"] == {"M": {"a": {"L": [{"B": b"\x00\xff"}]}, "b": {"BS": [b"1", b"2"]}}}


@pytest.mark.parametrize(
    "value",
    [
        {"S": ""},
        {"N": "-1.5E+20"},
        {"N": ".5"},
        {"BOOL": False},
        {"NULL": True},
        {"L": []},
        {"M": {}},
        {"SS": ["a"]},
        nested(32),
    ],
)
def test_what_dynamodb_accepts_is_accepted(value: t.Any) -> None:
    assert item_lines.decode(line(value), SCHEMA)["value"] == value


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (b"{", "not valid JSON"),
        (b'{"Item": {"id": NaN}}', "NaN is not JSON"),
        (b"\xff", "not valid UTF-8"),
        ('\ufeff{"Item": {}}'.encode(), "byte order mark"),
        (b'["Item"]', 'not of the form {"Item": {...}}'),
        (b'{"item": {}}', 'not of the form {"Item": {...}}'),
        (b'{"Item": []}', 'not of the form {"Item": {...}}'),
        (b'{"Item": {}, "Also": 1}', 'not of the form {"Item": {...}}'),
        (b'{"Keys": {}, "NewImage": {}}', "incremental"),
        (b'{"Item": {"id": {"S": "a"}}}', "'day' is missing"),
        (
            b'{"Item": {"id": {"S": "a"}, "day": {"S": "1"}}}',
            "'day' has the type S; the table has N",
        ),
        (b'{"Item": {"id": {"S": ""}, "day": {"N": "1"}}}', "'id' is empty"),
        (
            b'{"Item": {"id": {"S": "a"}, "day": {"N": "1"}, "state": {"N": "1"}}}',
            "'state' has the type N; the table has S",
        ),
        (line("text"), "'value' is not one value with its type"),
        (line({}), "'value' is not one value with its type"),
        (line({"S": "a", "N": "1"}), "'value' is not one value with its type"),
        (line({"X": "a"}), "the type 'X'"),
        (line({"S": 1}), "not a string"),
        (line({"N": 1}), "not a number"),
        (line({"N": "one"}), "not a number"),
        (line({"N": "NaN"}), "not a number"),
        (line({"N": "1 "}), "not a number"),
        (line({"B": "*"}), "not binary"),
        (line({"B": 1}), "not binary"),
        (line({"BOOL": "true"}), "not a boolean"),
        (line({"NULL": False}), "not null"),
        (line({"SS": []}), "without a value"),
        (line({"SS": "a"}), "not a list"),
        (line({"NS": ["1", "1"]}), "a value twice"),
        (line({"M": []}), "not a map"),
        (line({"L": {}}), "not a list"),
        (line(nested(33)), "deeper than DynamoDB's 32 levels"),
        (b'{"Item": {"value": ' + b'{"L": [' * 100_000, "deeper than DynamoDB's 32 levels"),
        (b'{"Item": {"value": {"S": "\\ud800"}}}', "lone surrogate"),
        (line({"S": "x" * 410_000}), "larger than 400 KB"),
        (line({"L": [{"B": base64.b64encode(b"x" * 410_000).decode()}]}), "larger than 400 KB"),
    ],
)
def test_what_is_wrong_with_a_line_is_said(wrong: bytes, reason: str) -> None:
    with pytest.raises(InvalidItem) as raised:
        item_lines.decode(wrong, SCHEMA)

    assert reason in str(raised.value)


def test_no_value_is_shown() -> None:
    with pytest.raises(InvalidItem) as raised:
        item_lines.decode(line({"N": "secret"}), SCHEMA)

    assert "secret" not in str(raised.value)


def read(path: pathlib.Path) -> list[tuple[int, str]]:
    return [(each.number, each.item["id"]["S"]) for each in Reader(path).items(SCHEMA)]


def keys(*names: str) -> list[bytes]:
    return [json.dumps({"Item": {**KEY, "id": {"S": name}}}).encode() for name in names]


def test_blank_lines_and_a_missing_line_break_are_allowed(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "items.json"
    path.write_bytes(b"\r\n\n".join(keys("a", "b")))
    assert read(path) == [(1, "a"), (3, "b")]


def test_compression_is_seen_by_the_content(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "items.json"
    path.write_bytes(b"".join(gzip.compress(key + b"\n") for key in keys("a", "b")))
    assert read(path) == [(1, "a"), (2, "b")]


@pytest.mark.parametrize("cut", [1, 12, 30])
def test_a_compressed_file_that_is_cut_is_named_with_its_line(
    tmp_path: pathlib.Path, cut: int
) -> None:
    path = tmp_path / "items.json.gz"
    path.write_bytes(gzip.compress(b"\n".join(keys("a", "b")) + b"\n")[:-cut])

    with pytest.raises(InvalidFile, match=r"items\.json\.gz, line \d: .* cut or damaged"):
        read(path)


def test_a_line_without_end_takes_no_memory(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "items.json"

    with path.open("wb") as file:
        file.write(keys("a")[0] + b"\n")
        file.truncate(10**10)

    with pytest.raises(InvalidFile, match="line 2: it is longer than any item"):
        read(path)
