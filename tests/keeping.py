"""A process with moto in it, whose tables are kept in a file: without a server, to be quick."""

from __future__ import annotations

import contextlib
import json
import pathlib
import subprocess
import sys
import typing as t

import engines
import warm

_PROGRAM = """
import json, pathlib, resource, sys
from dynamo_ext.local import server, storage, tables

application = server._dynamodb_application()


def open_file(path):
    globals()["kept"] = storage.Storage(application, pathlib.Path(path))
    return kept.warnings


def warnings():
    return kept.warnings


def call(operation, request, region):
    environ = tables._environ(tables.Scope("123456789012", region), operation, request.encode())

    try:
        status, _, body = kept.answer(environ)
    except Exception as error:
        return [500, {"message": repr(error)}]

    # Older releases of moto answer some requests with nothing.
    return [status, json.loads(body or "{}")]


def limit_file_size(size):
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard if size is None else size, hard))


while line := sys.stdin.readline():
    name, *arguments = json.loads(line)

    try:
        answer = {"result": globals()[name](*arguments)}
    except Exception as error:
        answer = {"error": [type(error).__name__, str(error)]}

    print(json.dumps(answer), flush=True)
"""


class Failed(Exception):
    """What was raised in the process."""


class Keeper:
    """A process that keeps moto's tables in a file."""

    def __init__(self) -> None:
        self.path = pathlib.Path()
        self._process = warm.Popen(
            [sys.executable, "-P", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=engines.python_environment(),
        )

    def open(self, path: pathlib.Path) -> list[str]:
        """Read a file as an engine does that starts; give the warnings."""
        self.path = path
        return t.cast("list[str]", self._ask("open_file", str(path)))

    def reopen(self) -> list[str]:
        """Do what a new engine does. Nothing is left of the tables but what is in the file."""
        return self.open(self.path)

    def warnings(self) -> list[str]:
        """The warnings since the file was opened."""
        return t.cast("list[str]", self._ask("warnings"))

    def request(
        self, operation: str, *, region: str = "eu-west-1", **request: t.Any
    ) -> tuple[int, dict[str, t.Any]]:
        """Make a request; give its status and its answer."""
        status, answer = self._ask("call", operation, json.dumps(request), region)
        return status, answer

    def call(
        self, operation: str, *, region: str = "eu-west-1", **request: t.Any
    ) -> dict[str, t.Any]:
        """Make a request that succeeds; give its answer."""
        status, answer = self.request(operation, region=region, **request)
        assert status == 200, answer
        return answer

    def limit_file_size(self, size: int | None) -> None:
        """Make writes fail that make a file larger than this."""
        self._ask("limit_file_size", size)

    def state(self, *, region: str = "eu-west-1") -> dict[str, t.Any]:
        """Everything that the API tells about the tables and their items."""
        return {
            name: self._state_of(name, region)
            for name in self.call("ListTables", region=region)["TableNames"]
        }

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _state_of(self, name: str, region: str) -> dict[str, t.Any]:
        def ask(operation: str, **request: t.Any) -> dict[str, t.Any]:
            return self.call(operation, region=region, **request)

        table = ask("DescribeTable", TableName=name)["Table"]
        scans = {None: ask("Scan", TableName=name)["Items"]}

        for index in [*table["GlobalSecondaryIndexes"], *table["LocalSecondaryIndexes"]]:
            found = ask("Scan", TableName=name, IndexName=index["IndexName"])
            scans[index["IndexName"]] = found["Items"]

        return {
            "table": table,
            "items": {index: sorted(items, key=repr) for index, items in scans.items()},
            "ttl": ask("DescribeTimeToLive", TableName=name)["TimeToLiveDescription"],
            "tags": ask("ListTagsOfResource", ResourceArn=table["TableArn"])["Tags"],
            "backups": ask("DescribeContinuousBackups", TableName=name),
        }

    def _ask(self, name: str, *arguments: t.Any) -> t.Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None

        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps([name, *arguments]) + "\n")
            self._process.stdin.flush()

        line = self._process.stdout.readline()
        assert line, "the process has ended"
        answer = json.loads(line)

        if "error" in answer:
            raise Failed(*answer["error"])

        return answer["result"]
