"""What a file costs the embedded engine: ``python -m benchmarks.local_file``.

Writes to an engine with a file and to one in memory alternate, so that both meet the same load of
the machine. Then an engine starts on a file with many items.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import typing as t

_ROUND = 100
_ITEM = {
    "title": {"S": "Some title of a to-do"},
    "done": {"BOOL": False},
    "position": {"N": "17"},
    "tags": {"L": [{"S": "home"}, {"S": "garden"}]},
}
_TABLE = {
    "TableName": "todo",
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
}


class Engine:
    """An embedded engine, by its own command.

    :param options: Options of the command.
    """

    def __init__(self, *options: str) -> None:
        command = [sys.executable, "-m", "dynamo_ext.local", *options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        url = self._process.stdout.readline().strip()
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"))

    def call(self, operation: str, **request: t.Any) -> dict[str, t.Any]:
        """Make a request."""
        headers = {
            "X-Amz-Target": f"DynamoDB_20120810.{operation}",
            "Authorization": "AWS4-HMAC-SHA256 Credential=a/20000101/eu-west-1/dynamodb/x",
            "Content-Type": "application/x-amz-json-1.0",
        }
        self._connection.request("POST", "/", json.dumps(request), headers)
        response = self._connection.getresponse()
        answer: dict[str, t.Any] = json.loads(response.read())
        assert response.status == 200, answer
        return answer

    def close(self) -> None:
        """End the command."""
        self._connection.close()
        self._process.terminate()
        self._process.communicate()


def _write(engine: Engine, operation: str, number: int) -> float:
    """Write items; return how long one took, in microseconds."""
    begin = time.perf_counter()

    for each in range(number, number + _ROUND):
        key = {"id": {"S": f"item-{each}"}}

        if operation == "PutItem":
            engine.call(operation, TableName="todo", Item=key | _ITEM)
        else:
            engine.call(
                operation,
                TableName="todo",
                Key=key,
                UpdateExpression="ADD seen :one",
                ExpressionAttributeValues={":one": {"N": "1"}},
            )

    return (time.perf_counter() - begin) / _ROUND * 1e6


def measure_writes(folder: pathlib.Path, rounds: int) -> None:
    """Print how long a write takes, with a file and without."""
    with (
        contextlib.closing(Engine("--file", str(folder / "writes.db"))) as with_file,
        contextlib.closing(Engine()) as in_memory,
    ):
        for engine in (with_file, in_memory):
            engine.call("CreateTable", **_TABLE)
            _write(engine, "PutItem", 0)

        for operation in ("PutItem", "UpdateItem"):
            pairs = [
                (_write(with_file, operation, each), _write(in_memory, operation, each))
                for each in range(0, rounds * _ROUND, _ROUND)
            ]
            file, memory = (statistics.median(column) for column in zip(*pairs, strict=True))
            ratio = statistics.median(one / other for one, other in pairs)
            print(
                f"{operation}: {file:.0f} µs with a file, {memory:.0f} µs in memory:"
                f" {ratio - 1:+.1%}"
            )


def measure_start(folder: pathlib.Path, items: int) -> None:
    """Print how long an engine takes until it has read a file."""
    file = str(folder / "start.db")

    with contextlib.closing(Engine("--file", file)) as engine:
        engine.call("CreateTable", **_TABLE)

        for first in range(0, items, 1000):
            numbers = range(first, min(first + 1000, items))
            puts = [{"PutRequest": {"Item": {"id": {"S": f"{n}"}} | _ITEM}} for n in numbers]
            engine.call("BatchWriteItem", RequestItems={"todo": puts})

    begin = time.perf_counter()

    with contextlib.closing(Engine("--file", file)) as engine:
        count = engine.call("DescribeTable", TableName="todo")["Table"]["ItemCount"]
        seconds = time.perf_counter() - begin

    size = pathlib.Path(file).stat().st_size / 1e6
    assert count == items, count
    print(f"start with {items:,} items ({size:.1f} MB): {seconds:.1f} s")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="of 100 writes each (default: 20)")
    parser.add_argument("--items", type=int, default=100_000, help="(default: 100000)")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        measure_writes(pathlib.Path(folder), options.rounds)
        measure_start(pathlib.Path(folder), options.items)


if __name__ == "__main__":
    main()
