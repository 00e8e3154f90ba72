"""A server in front of a real engine, which loses requests and answers where it is told to."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import json
import urllib.error
import urllib.request

import stub as stubs
from stub import Answer
from stub import Behaviour
from stub import Request
from stub import Stub

_OPERATIONS = (
    "BatchExecuteStatement",
    "BatchGetItem",
    "BatchWriteItem",
    "CreateTable",
    "DeleteItem",
    "DeleteTable",
    "DescribeTable",
    "DescribeTimeToLive",
    "ExecuteStatement",
    "GetItem",
    "ListTables",
    "PutItem",
    "Query",
    "Scan",
    "TransactGetItems",
    "TransactWriteItems",
    "UpdateItem",
    "UpdateTable",
    "UpdateTimeToLive",
)
# The engines of the tests know no arithmetic in PartiQL: the relay makes it an update.
COUNTING = 'UPDATE "{}" SET "total" = "total" + 1 WHERE id = \'a\''
_SENT_ON = ("Authorization", "Content-Type", "X-Amz-Date")
_VERSION = "DynamoDB_20120810"


class Relay:
    """Hands requests on to an engine.

    :param stub: The server that receives them.
    :param engine: The URL of the engine.
    """

    def __init__(self, stub: Stub, engine: str) -> None:
        self.stub = stub
        self._engine = engine
        self._transactions: dict[str, Answer] = {}

        for operation in _OPERATIONS:
            stub.always(operation, self.hand_on)

    def hand_on(self, request: Request) -> Answer:
        """What the engine answers. A transaction is made once, as by DynamoDB's rules."""
        token: str | None = request.body.get("ClientRequestToken")

        if token in self._transactions:
            return self._transactions[token]

        answer = self._ask(_without_arithmetic(request))

        if token is not None and answer.status == 200:
            self._transactions[token] = answer

        return answer

    def lose_requests(self, operation: str, *instead: Behaviour) -> None:
        """Let the next requests of an operation not reach the engine."""
        self.stub.next(operation, *(instead or (stubs.DROP,)))

    def lose_answers(self, operation: str, *instead: Behaviour) -> None:
        """Let the next requests reach the engine, but not its answers the client."""
        self.stub.next(operation, *map(self._applied, instead or (stubs.DROP,)))

    def _applied(self, behaviour: Behaviour) -> cabc.Callable[[Request], Answer]:
        def answer(request: Request) -> Answer:
            self.hand_on(request)
            return behaviour if isinstance(behaviour, Answer) else behaviour(request)

        return answer

    def _ask(self, request: Request) -> Answer:
        headers = {name: request.header(name) or "" for name in _SENT_ON}
        headers["X-Amz-Target"] = f"{_VERSION}.{request.operation}"
        asked = urllib.request.Request(self._engine, request.content, headers)

        try:
            with urllib.request.urlopen(asked, timeout=60) as reply:
                return Answer(status=reply.status, content=reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(status=error.code, content=error.read())


def _without_arithmetic(request: Request) -> Request:
    start, end = COUNTING.split("{}")
    statement: str = request.body.get("Statement", "")

    if not (statement.startswith(start) and statement.endswith(end)):
        return request

    body = {
        "TableName": statement.removeprefix(start).removesuffix(end),
        "Key": {"id": {"S": "a"}},
        "UpdateExpression": "ADD #0 :1",
        "ExpressionAttributeNames": {"#0": "total"},
        "ExpressionAttributeValues": {":1": {"N": "1"}},
    }
    content = json.dumps(body).encode()
    return dataclasses.replace(request, operation="UpdateItem", body=body, content=content)
