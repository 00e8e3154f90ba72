"""Keeps moto's tables in a file, and puts them back from it.

What is kept of a table is the requests that made it (CreateTable, UpdateTable, ...), which are part
of DynamoDB's API and so the same for every release of moto, and its items as they are after each
write, whatever has made them so.
"""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import dataclasses
import decimal
import gc
import json
import os
import pathlib
import sys
import traceback
import typing as t

from .journal import Journal
from .tables import Key
from .tables import Response
from .tables import Scope
from .tables import Tables

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_READING = ("BatchGet", "Describe", "Get", "List", "Query", "Scan", "TransactGet")
_OF_A_TABLE = {
    "CreateTable",
    "DeleteTable",
    "TagResource",
    "UntagResource",
    "UpdateContinuousBackups",
    "UpdateTable",
    "UpdateTimeToLive",
}
_OF_ITEMS = {"BatchWriteItem", "DeleteItem", "PutItem", "TransactWriteItems", "UpdateItem"}
_PARTIQL = {"BatchExecuteStatement", "ExecuteStatement", "ExecuteTransaction"}
_SERVICE = "DynamoDB_"
_CONTENT_TYPE = [("Content-Type", "application/x-amz-json-1.0")]
# A file is written anew when more of its records than this are of the past, and more than half.
_MOST_PAST_CHANGES = 1000
_FAILED = 70

_Change = dict[str, t.Any]


class Storage:
    """moto's tables, kept in a file. Its methods are called by one thread at a time.

    :param application: moto's server.
    :param path: The file.
    :raises RefusedFile: if the file is of another kind, of a newer format, or damaged elsewhere
        than at its end.
    :raises RuntimeError: if moto refuses to create a table again.
    :raises OSError: if it cannot be read or written to.
    """

    def __init__(self, application: WSGIApplication, path: pathlib.Path) -> None:
        self._tables = Tables(application)
        self._journal = Journal(path)
        self.warnings: list[str] = []
        self._load()

    def answer(self, environ: dict[str, t.Any]) -> Response:
        """Let moto answer a request, and keep what it has changed.

        :param environ: The request as a WSGI environment.
        :return: Status, headers and body of the response.
        """
        service, _, operation = str(environ.get("HTTP_X_AMZ_TARGET", "")).partition(".")

        if not service.startswith(_SERVICE):
            return _refusal("UnknownOperationException", "this is not a request of DynamoDB's API")

        return self._answer(Scope.of(environ), operation, environ["wsgi.input"].read())

    def close(self) -> None:
        """Wait until all is on the disk, and close the file. Then nothing more is written.

        If the disk fails, that is in the log: nobody waits for an answer any more.
        """
        try:
            self._journal.sync()
            self._journal.close()
        except OSError:
            traceback.print_exc()

    def _answer(self, scope: Scope, operation: str, body: bytes) -> Response:
        request = _parsed(body)

        if request is None or operation.startswith(_READING):
            return self._tables.request(scope, operation, body)

        try:
            if operation in _OF_A_TABLE:
                return self._change_table(scope, operation, body, request)

            if operation in _OF_ITEMS:
                touched = _Touched(self._tables, scope, list(_touched(operation, request)))
                return self._change_items(scope, operation, body, touched)

            if operation in _PARTIQL:
                statements = _OfStatements(self._tables, scope, body.decode())
                return self._change_items(scope, operation, body, statements)
        except _NotKept as error:
            return self._take_back(error)

        return _refusal(
            "ValidationException",
            f"{operation} is not supported by an embedded engine with a file, because its effect"
            " would not be kept",
        )

    def _change_items(
        self, scope: Scope, operation: str, body: bytes, looked_at: _Touched | _OfStatements
    ) -> Response:
        before = looked_at.items()

        try:
            return self._tables.request(scope, operation, body)
        finally:
            # Also after an error: moto may have applied a part of the request.
            with _kept():
                after = looked_at.items()
                changed = [at for at in {**before, **after} if before.get(at) != after.get(at)]
                self._keep(scope, [_item_change(*at, after.get(at)) for at in changed])

    def _change_table(
        self, scope: Scope, operation: str, body: bytes, request: dict[str, t.Any]
    ) -> Response:
        table_name = _name(request.get("TableName") or request.get("ResourceArn"))
        before = self._description(scope, table_name)
        is_done = False

        try:
            response = self._tables.request(scope, operation, body)
            is_done = response[0] == 200
        finally:
            # moto applies one part of a request after the other, and may refuse the second one.
            if not is_done and self._description(scope, table_name) != before:
                self._reload()

        if is_done:
            with _kept():
                changes = self._table_changes(scope, operation, request, table_name)
                self._keep(scope, list(map(json.dumps, changes)))

        return response

    def _table_changes(
        self, scope: Scope, operation: str, request: dict[str, t.Any], table_name: str
    ) -> list[_Change]:
        if operation == "DeleteTable":
            return [{"table": table_name, "drop": True}]

        # moto tags a table that does not exist, without effect.
        return [
            {
                "table": table_name,
                "request": [operation, request],
                "marks": self._tables.marks(scope, table_name),
            }
            for name in self._tables.names(scope)
            if name == table_name
        ]

    def _keep(self, scope: Scope, changes: list[str]) -> None:
        if changes:
            self._journal.append(_record(scope, changes))

    def _description(self, scope: Scope, table_name: str) -> bytes:
        body = json.dumps({"TableName": table_name}).encode()
        return self._tables.request(scope, "DescribeTable", body)[2]

    def _take_back(self, failure: _NotKept) -> Response:
        """Make the tables what they are in the file, to which a change could not be written.

        :return: The response to the request that has made the change.
        """
        self._reload()
        path = str(self._journal.path)
        return _refusal(
            "FileNotWritten", f"the embedded engine cannot write to {path!r}: {failure}"
        )

    def _reload(self) -> None:
        """As :meth:`_load`, while the engine is in use."""
        try:
            self._load()
        except BaseException:
            # No engine is better than one with other tables than those in the file.
            traceback.print_exc()
            os._exit(_FAILED)

    def _load(self) -> None:
        """Make the tables what they are in the file."""
        self._tables.clear()

        with _garbage_collection_paused():
            content = _Content()

            for text in self._journal.read():
                content.add(json.loads(text.decode("ascii")))

            self._note_damage()

            if content.is_mostly_past:
                self._rewrite(content)

            for scope, tables in content.tables.items():
                for table_name, table in tables.items():
                    self._restore(scope, table_name, table)

    def _restore(self, scope: Scope, table_name: str, table: _Table) -> None:
        for change in table.changes:
            operation, request = change["request"]
            body = json.dumps(request).encode()
            status, _, answer = self._tables.request(scope, operation, body)

            if status != 200:
                raise RuntimeError(
                    f"the table {table_name!r} in {str(self._journal.path)!r} cannot be restored:"
                    f" {operation} is refused: {answer.decode(errors='replace')}"
                )

        self._tables.set_marks(scope, table_name, table.changes[-1]["marks"])
        self._tables.put(scope, table_name, table.items.values())

    def _rewrite(self, content: _Content) -> None:
        try:
            self._journal.rewrite(content.records())
        except OSError as error:
            # The file as it is holds the same.
            print(f"{str(self._journal.path)!r} stays as long as it is: {error}", file=sys.stderr)

    def _note_damage(self) -> None:
        if (damage := self._journal.damage) is not None:
            self.warnings.append(
                f"The end of {str(self._journal.path)!r} was damaged. {damage.size} bytes, from"
                f" byte {damage.offset} on, were cut off; what was written before them is there."
            )


class _NotKept(Exception):
    """A change is in moto's tables, and not in the file. The message says why."""


@contextlib.contextmanager
def _kept() -> cabc.Iterator[None]:
    """Whatever is raised in the block, the change of a request was not kept."""
    try:
        yield
    except OSError as error:
        raise _NotKept(error.strerror or str(error)) from error
    except Exception as error:
        traceback.print_exc()
        raise _NotKept(f"{type(error).__name__}: {error}") from error


class _Touched:
    """The items that a request names."""

    def __init__(self, tables: Tables, scope: Scope, places: list[tuple[str, Key]]) -> None:
        self._tables = tables
        self._scope = scope
        self._places: dict[tuple[str, str], Key] = {}

        for table_name, key in places:
            self._places[table_name, self._key(table_name, key)] = key

    def items(self) -> dict[tuple[str, str], str | None]:
        """The items as they are, by table and key."""
        return {
            (table_name, text): self._tables.item(self._scope, table_name, key)
            for (table_name, text), key in self._places.items()
        }

    def _key(self, table_name: str, key: Key) -> str:
        with contextlib.suppress(LookupError, TypeError):
            names = self._tables.key_names(self._scope, table_name)
            return json.dumps({name: key[name] for name in names})

        return ""


class _OfStatements:
    """The items of all tables whose names are in statements in PartiQL."""

    def __init__(self, tables: Tables, scope: Scope, statements: str) -> None:
        self._tables = tables
        self._scope = scope
        self._names = [name for name in tables.names(scope) if name in statements]

    def items(self) -> dict[tuple[str, str], str | None]:
        """The items as they are, by table and key."""
        return {
            (name, key): item
            for name in self._names
            for key, item in self._tables.items(self._scope, name).items()
        }


@dataclasses.dataclass
class _Table:
    """What a file holds of one table.

    :param key_names: The names of the attributes that are its key.
    """

    key_names: list[str]
    changes: list[_Change] = dataclasses.field(default_factory=list[_Change])
    items: dict[tuple[object, ...], Key] = dataclasses.field(
        default_factory=dict[tuple[object, ...], Key]
    )

    @classmethod
    def of(cls, change: _Change) -> _Table:
        """The table that a CreateTable makes."""
        _, request = change["request"]
        return cls([element["AttributeName"] for element in request["KeySchema"]])

    def __len__(self) -> int:
        return len(self.changes) + len(self.items)


class _Content:
    """What a file holds."""

    def __init__(self) -> None:
        self.tables: dict[Scope, dict[str, _Table]] = {}
        self._changes = 0

    def add(self, record: dict[str, t.Any]) -> None:
        """Apply a record."""
        scope = Scope(record["account"], record["region"])
        tables = self.tables.setdefault(scope, {})
        self._changes += len(record["changes"])

        for change in record["changes"]:
            _apply(change, tables)

    @property
    def is_mostly_past(self) -> bool:
        """Whether most of the records have no effect any more."""
        present = sum(len(table) for tables in self.tables.values() for table in tables.values())
        return self._changes - present > max(present, _MOST_PAST_CHANGES)

    def records(self) -> cabc.Iterator[str]:
        """The records of a file that holds the same, and nothing of the past."""
        for scope, tables in self.tables.items():
            for table_name, table in tables.items():
                for change in table.changes:
                    yield _record(scope, [json.dumps(change)])

                for item in table.items.values():
                    change = {"table": table_name, "put": item}
                    yield _record(scope, [json.dumps(change)])


def _apply(change: _Change, tables: dict[str, _Table]) -> None:
    table_name = change["table"]

    match change:
        case {"put": item}:
            table = tables[table_name]
            table.items[_identity(item, table.key_names)] = item
        case {"delete": key}:
            table = tables[table_name]
            table.items.pop(_identity(key, table.key_names), None)
        case {"drop": _}:
            tables.pop(table_name, None)
        case _:
            if table_name not in tables:
                tables[table_name] = _Table.of(change)

            tables[table_name].changes.append(change)


def _identity(item: Key, key_names: cabc.Iterable[str]) -> tuple[object, ...]:
    """What the keys of two items have in common if the items are the same."""
    return tuple(
        decimal.Decimal(content) if kind == "N" else content
        for name in key_names
        for kind, content in item[name].items()
    )


def _touched(operation: str, request: dict[str, t.Any]) -> cabc.Iterator[tuple[str, Key]]:
    """The table and key of each item that a request may change, as far as it is well-formed."""
    with contextlib.suppress(AttributeError, LookupError, TypeError):
        if operation == "BatchWriteItem":
            for table, entries in request["RequestItems"].items():
                for entry in entries:
                    for write in entry.values():
                        yield _name(table), write.get("Item") or write["Key"]
        elif operation == "TransactWriteItems":
            for entry in request["TransactItems"]:
                for write in entry.values():
                    yield _name(write["TableName"]), write.get("Item") or write["Key"]
        else:
            yield _name(request["TableName"]), request.get("Item") or request["Key"]


def _name(name_or_arn: t.Any) -> str:
    """The name of a table, given that or its ARN."""
    text = str(name_or_arn)
    return text.partition(":table/")[2].partition("/")[0] if text.startswith("arn:") else text


def _item_change(table_name: str, key: str, item: str | None) -> str:
    what, content = ("delete", key) if item is None else ("put", item)
    return f'{{"table":{json.dumps(table_name)},"{what}":{content}}}'


def _record(scope: Scope, changes: list[str]) -> str:
    account, region = json.dumps(scope.account), json.dumps(scope.region)
    return f'{{"account":{account},"region":{region},"changes":[{",".join(changes)}]}}'


def _parsed(body: bytes) -> dict[str, t.Any] | None:
    """The parameters of a request; ``None`` if they are not valid, so that moto refuses it."""
    with contextlib.suppress(ValueError, RecursionError):
        if isinstance(request := json.loads(body or b"{}"), dict):
            return t.cast("dict[str, t.Any]", request)

    return None


def _refusal(code: str, message: str) -> Response:
    """A response that clients don't send again: nothing was changed."""
    body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message}
    return 400, _CONTENT_TYPE, json.dumps(body).encode()


@contextlib.contextmanager
def _garbage_collection_paused() -> cabc.Iterator[None]:
    """Skip collections while many objects are created, and leave these out of later ones."""
    gc.disable()

    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
