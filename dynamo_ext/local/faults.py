"""What a test asks of its engine: which requests to break, and which ones it was sent.

A :class:`TestRun` belongs to one test. It knows the test's requests by the prefix of their tables,
or, where they name no table, by their access key.
"""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import json
import re
import threading
import typing as t

Kind = t.Literal["fail", "delay", "lose_response", "unprocessed"]
Body = dict[str, t.Any]

BATCHES: t.Final = ("BatchGetItem", "BatchWriteItem")
_ACCESS_KEY_ID = re.compile(r"Credential=([^/,\s]+)")
_ATTEMPT = re.compile(r"attempt=(\d+)")
_TABLE_OF_ARN = re.compile(r"^arn:[^:]*:dynamodb:[^:]*:[^:]*:table/([^/]+)")
_TABLE_OF_STATEMENT = re.compile(r"\b(?:FROM|INTO|UPDATE)\s+\"?([\w.-]+)", flags=re.IGNORECASE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fault:
    """What is to happen to the next requests that match."""

    kind: Kind
    """The method of the fixture that has set it."""

    operation: str | None
    """DynamoDB's name of the operation; ``None`` for any."""

    table_name: str | None
    """The table, without the test's prefix; ``None`` for any."""

    times: int
    """How many requests it is for. Of one that waits: how many it still is for."""

    happened: int = 0
    """How many requests it has happened to."""

    error: str | None = None
    """DynamoDB's error code, with which the request is answered."""

    status: int = 400
    """The HTTP status of that answer."""

    seconds: float = 0
    """How long the answer is held back, in seconds."""

    count: int | None = None
    """How many items of a batch are left unprocessed; ``None`` for all."""

    def matches(self, request: Request, table_names: cabc.Collection[str]) -> bool:
        """Whether a request meets this fault.

        :param request: The request.
        :param table_names: Its tables, without the test's prefix.
        """
        return (
            self.operation in {None, request.operation}
            and (self.table_name is None or self.table_name in table_names)
            and (self.kind != "unprocessed" or request.operation in BATCHES)
        )


@dataclasses.dataclass(kw_only=True)
class ReceivedRequest:
    """One request that reached the engine: each attempt of a call is one."""

    operation: str
    """DynamoDB's name of the operation, such as ``"GetItem"``."""

    table_name: str | None
    """The table, without the test's prefix; ``None`` if the request names none or several."""

    table_names: tuple[str, ...]
    """All tables that the request names, without the test's prefix."""

    index_name: str | None
    """The index of a query or scan."""

    attempt: int | None
    """Which attempt of its call it is, from 1; ``None`` if the client did not say."""

    parameters: Body = dataclasses.field(repr=False)
    """The parameters as they were sent: table names have the test's prefix."""

    status: int | None = None
    """The HTTP status of the answer; ``None`` if there was none, or none yet."""

    error: str | None = None
    """DynamoDB's error code; ``None`` for a success."""

    consumed_capacity: float | None = None
    """The capacity units that it consumed; ``None`` if the engine did not say."""

    faults: tuple[Kind, ...] = ()
    """The methods of the fixture that have set what happened to it."""


@dataclasses.dataclass(frozen=True)
class Request:
    """What a request to the engine says."""

    operation: str
    parameters: Body
    access_key_id: str | None
    attempt: int | None

    @classmethod
    def of(cls, target: str, body: bytes, authorization: str, attempt: str) -> Request:
        """Read a request.

        :param target: Its header ``X-Amz-Target``.
        :param body: Its body. One that is not valid JSON is left to the engine.
        :param authorization: Its header ``Authorization``.
        :param attempt: Its header ``amz-sdk-request``.
        """
        try:
            parameters: t.Any = json.loads(body)
        except ValueError:
            parameters = {}

        key, number = _ACCESS_KEY_ID.search(authorization), _ATTEMPT.search(attempt)
        return cls(
            operation=target.rpartition(".")[2],
            parameters=t.cast(Body, parameters) if isinstance(parameters, dict) else {},
            access_key_id=None if key is None else key[1],
            attempt=None if number is None else int(number[1]),
        )

    @property
    def table_names(self) -> tuple[str, ...]:
        """The tables that it names."""
        return tuple(dict.fromkeys(map(_without_arn, self._table_names())))

    def _table_names(self) -> cabc.Iterator[str]:
        parameters = self.parameters

        for key in ("TableName", "ResourceArn"):
            if isinstance(name := parameters.get(key), str):
                yield name

        yield from parameters.get("RequestItems") or ()

        for item in parameters.get("TransactItems") or ():
            yield from (action["TableName"] for action in item.values() if "TableName" in action)

        statements = [
            *(parameters.get("Statements") or ()),
            *(parameters.get("TransactStatements") or ()),
            parameters,
        ]

        for statement in statements:
            yield from _TABLE_OF_STATEMENT.findall(statement.get("Statement") or "")


def _without_arn(name: str) -> str:
    found = _TABLE_OF_ARN.match(name)
    return name if found is None else found[1]


@dataclasses.dataclass
class Plan:
    """What is to happen to one request."""

    received: ReceivedRequest
    delay: Fault | None = None
    fault: Fault | None = None


class TestRun:
    """The requests and the faults of one test.

    :param prefix: The prefix of its tables.
    :param access_key_id: The access key of its app.
    """

    # Not a class of tests.
    __test__ = False

    def __init__(self, prefix: str, access_key_id: str) -> None:
        self.prefix: str = prefix
        self._access_key_id = access_key_id
        self._lock = threading.Lock()
        self._requests: list[ReceivedRequest] = []
        self._faults: list[Fault] = []
        self._created: set[str] = set()
        self.creates_tables: bool = False
        """Whether its tables are being created: requests are neither broken nor recorded."""
        self.ended: threading.Event = threading.Event()
        """Set at the end of the test, so that no answer is held back any longer."""

    def owns(self, request: Request) -> bool:
        """Whether a request is of this test.

        :param request: The request.
        """
        return request.access_key_id == self._access_key_id or any(
            name.startswith(self.prefix) for name in request.table_names
        )

    def owns_table(self, name: str) -> bool:
        """Whether a table is of this test: it has the prefix, or the test has created it.

        :param name: The table's name.
        """
        return name.startswith(self.prefix) or name in self._created

    def note_creation(self, request: Request) -> None:
        """Note that a request creates a table, if it does.

        :param request: The request.
        """
        if request.operation == "CreateTable":
            with self._lock:
                self._created.update(request.table_names)

    def short_name(self, name: str) -> str:
        """The name of a table as the models declare it.

        :param name: The name with the prefix, or the table's ARN.
        """
        return _without_arn(name).removeprefix(self.prefix)

    def receive(self, request: Request) -> Plan:
        """Record a request, and find out what is to happen to it.

        :param request: The request.
        :return: At most one delay and one other fault: the first of each that match.
        """
        table_names = tuple(map(self.short_name, request.table_names))
        received = ReceivedRequest(
            operation=request.operation,
            table_name=table_names[0] if len(table_names) == 1 else None,
            table_names=table_names,
            index_name=request.parameters.get("IndexName"),
            attempt=request.attempt,
            parameters=request.parameters,
        )
        plan = Plan(received)

        with self._lock:
            self._requests.append(received)
            plan.delay = self._take(request, table_names, is_delay=True)
            plan.fault = self._take(request, table_names, is_delay=False)
            faults = filter(None, (plan.delay, plan.fault))
            received.faults = tuple(fault.kind for fault in faults)

        return plan

    def add(self, fault: Fault) -> None:
        """Add a fault behind the others.

        :param fault: The fault.
        """
        with self._lock:
            self._faults.append(fault)

    def forget_requests(self) -> None:
        """Drop the record of all requests so far."""
        with self._lock:
            self._requests.clear()

    @property
    def requests(self) -> list[Body]:
        """All requests so far, in the order in which they came."""
        with self._lock:
            return list(map(dataclasses.asdict, self._requests))

    @property
    def pending(self) -> list[Body]:
        """The faults that wait for more requests."""
        with self._lock:
            return list(map(dataclasses.asdict, self._faults))

    @property
    def tables(self) -> list[str]:
        """The tables that the test has created, without the prefix."""
        with self._lock:
            return sorted(map(self.short_name, self._created))

    def _take(
        self, request: Request, table_names: tuple[str, ...], *, is_delay: bool
    ) -> Fault | None:
        for place, fault in enumerate(self._faults):
            if (fault.kind == "delay") == is_delay and fault.matches(request, table_names):
                left = dataclasses.replace(
                    fault, times=fault.times - 1, happened=fault.happened + 1
                )
                self._faults[place : place + 1] = [left] if left.times else []
                return fault

        return None


def divide(
    operation: str, items: Body, is_meant: cabc.Callable[[str], bool], count: int | None
) -> tuple[Body, Body]:
    """Divide the ``RequestItems`` of a batch.

    :param operation: The operation.
    :param items: What each table is asked for.
    :param is_meant: Whether items of a table may be left unprocessed.
    :param count: How many are left at most, the last ones; ``None`` for all.
    :return: What is to be processed, and what is left.
    """
    entries = [(name, entry) for name in items for entry in _entries(operation, items[name])]
    meant = [place for place, (name, _) in enumerate(entries) if is_meant(name)]
    left = set(meant if count is None else meant[-count:])
    return (
        _joined(operation, items, [each for n, each in enumerate(entries) if n not in left]),
        _joined(operation, items, [each for n, each in enumerate(entries) if n in left]),
    )


def merge(operation: str, items: Body, others: Body) -> Body:
    """Put what is left of two parts of a batch together.

    :param operation: The operation.
    :param items: What is left of one part, in the form of ``RequestItems``.
    :param others: What is left of the other part.
    """
    entries = [
        (name, entry)
        for part in (items, others)
        for name in part
        for entry in _entries(operation, part[name])
    ]
    return _joined(operation, {**items, **others}, entries)


def _entries(operation: str, of_table: t.Any) -> list[t.Any]:
    return t.cast("list[t.Any]", of_table["Keys"] if operation == "BatchGetItem" else of_table)


def _joined(operation: str, items: Body, entries: list[tuple[str, t.Any]]) -> Body:
    joined: Body = {}

    for name in dict.fromkeys(name for name, _ in entries):
        of_table = [entry for owner, entry in entries if owner == name]
        is_get = operation == "BatchGetItem"
        joined[name] = {**items[name], "Keys": of_table} if is_get else of_table

    return joined
