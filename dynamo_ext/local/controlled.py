"""An embedded engine that a test suite controls: ``python -m dynamo_ext.local.controlled``.

It is the ordinary engine, and in addition breaks requests and records them, see
:mod:`dynamo_ext.local.faults`. Only this module starts one: an app can't.

Control protocol: a line with a secret comes on standard input, and the engine's URL goes to
standard output once it answers. It ends when standard input is closed. Its port takes ``POST``
requests for :data:`CONTROL_PATH` with the secret in the header :data:`SECRET_HEADER` and a command
in JSON: ``{"command": NAME, "prefix": PREFIX, ...}``, where the prefix names the test. Each public
method of :class:`Commands` is a command, and its result the answer.
"""

from __future__ import annotations

import hmac
import io
import json
import os
import secrets
import sys
import threading
import typing as t
import uuid
import zlib

from . import faults
from .faults import Body
from .faults import Fault
from .faults import Plan
from .faults import Request
from .faults import TestRun
from .server import EngineServer

CONTROL_PATH = "/.dynamo-ext-control"
SECRET_HEADER = "X-Dynamo-Ext-Secret"
_NAMESPACE = "com.amazonaws.dynamodb.v20120810#"
_MESSAGES = {
    "ConditionalCheckFailedException": "The conditional request failed",
    "TransactionCanceledException": (
        "Transaction cancelled, please refer cancellation reasons for specific reasons"
        " [TransactionConflict]"
    ),
}
_UNPROCESSED = {"BatchGetItem": "UnprocessedKeys", "BatchWriteItem": "UnprocessedItems"}
_EMPTY: dict[str, Body] = {"BatchGetItem": {"Responses": {}}, "BatchWriteItem": {}}

Answer = tuple[int, t.Iterable[tuple[str, str]], bytes]


class ResponseLost(ConnectionError):
    """The connection is to be closed without an answer."""


class ControlledEngineServer(EngineServer):
    """The embedded engine with a control channel.

    :param port: The port to listen on; 0 takes a free one.
    :param secret: What allows to control it.
    :raises OSError: if the port is taken.
    """

    def __init__(self, port: int, secret: str) -> None:
        super().__init__(port, secrets.token_hex(16))
        self._secret = secret
        self._commands = Commands(self)
        self.tests: dict[str, TestRun] = {}

    def call(self, environ: dict[str, t.Any]) -> Answer:
        """Answer a request, or do to it what a test wants.

        :param environ: The request as a WSGI environment.
        :return: Status, headers and body of the response.
        :raises ResponseLost: if the response is to be lost.
        """
        if environ["PATH_INFO"] == CONTROL_PATH:
            return self._control(environ)

        request = _read(environ)
        test = self._find(request)

        if test is None:
            return super().call(environ)

        test.note_creation(request)

        if test.creates_tables:
            return super().call(environ)

        return self._call_in_test(environ, request, test)

    def delete_tables(self, test: TestRun) -> None:
        """Delete a test's tables, in all regions.

        :param test: The test.
        """
        from moto.backends import get_backend

        with self.lock:
            for account in get_backend("dynamodb").values():
                for region in account.values():
                    for name in list(filter(test.owns_table, region.tables)):
                        del region.tables[name]

    def _control(self, environ: dict[str, t.Any]) -> Answer:
        header = f"HTTP_{SECRET_HEADER.upper().replace('-', '_')}"
        given = str(environ.get(header, ""))

        if not hmac.compare_digest(given.encode(), self._secret.encode()):
            return 403, [], b""

        parameters: Body = json.loads(environ["wsgi.input"].read())
        command = getattr(self._commands, parameters.pop("command"))
        return 200, [], json.dumps(command(**parameters)).encode()

    def _find(self, request: Request) -> TestRun | None:
        return next((test for test in list(self.tests.values()) if test.owns(request)), None)

    def _call_in_test(self, environ: dict[str, t.Any], request: Request, test: TestRun) -> Answer:
        plan = test.receive(request)
        answer = self._answer(environ, request, test, plan)

        if plan.delay is not None:
            # After the request was applied: what is stored does not depend on who waits how long.
            test.ended.wait(plan.delay.seconds)

        if plan.fault is not None and plan.fault.kind == "lose_response":
            raise ResponseLost

        _record(plan, answer)
        return answer

    def _answer(
        self, environ: dict[str, t.Any], request: Request, test: TestRun, plan: Plan
    ) -> Answer:
        fault = plan.fault

        if fault is not None and fault.kind == "fail":
            return _failure(fault, request)

        if fault is not None and fault.kind == "unprocessed":
            return self._answer_in_part(environ, request, test, fault)

        return super().call(environ)

    def _answer_in_part(
        self, environ: dict[str, t.Any], request: Request, test: TestRun, fault: Fault
    ) -> Answer:
        """Process some items of a batch only."""

        def is_meant(name: str) -> bool:
            return fault.table_name in {None, test.short_name(name)}

        items: Body = request.parameters["RequestItems"]
        done, left = faults.divide(request.operation, items, is_meant, fault.count)
        status, content = 200, b"{}"

        if done:
            body = json.dumps({**request.parameters, "RequestItems": done}).encode()
            length = {"CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
            status, headers, content = super().call({**environ, **length})

            if status != 200:
                return status, headers, content

        reply: Body = json.loads(content)
        key = _UNPROCESSED[request.operation]
        reply[key] = faults.merge(request.operation, reply.get(key) or {}, left)
        return _json(200, {**_EMPTY[request.operation], **reply})


class Commands:
    """What a test suite can tell its engine.

    :param engine: The engine.
    """

    def __init__(self, engine: ControlledEngineServer) -> None:
        self._engine = engine

    def begin(self, prefix: str, access_key_id: str) -> None:
        """Begin a test.

        :param prefix: The prefix of its tables.
        :param access_key_id: The access key of its app.
        """
        self._engine.tests[prefix] = TestRun(prefix, access_key_id)

    def end(self, prefix: str) -> list[Body]:
        """End a test: its tables are deleted, and no answer is held back any longer.

        :return: The faults that still wait for requests.
        """
        test = self._engine.tests.pop(prefix)
        test.ended.set()
        self._engine.delete_tables(test)
        return test.pending

    def begin_tables(self, prefix: str) -> None:
        """From now on, requests of the test create its tables."""
        self._engine.tests[prefix].creates_tables = True

    def end_tables(self, prefix: str) -> None:
        """The tables are created. The record of requests begins anew."""
        self._engine.tests[prefix].creates_tables = False
        self._engine.tests[prefix].forget_requests()

    def add(self, prefix: str, **fault: t.Any) -> None:
        """Add a fault.

        :param fault: The fields of a :class:`~dynamo_ext.local.faults.Fault`.
        """
        self._engine.tests[prefix].add(Fault(**fault))

    def requests(self, prefix: str) -> list[Body]:
        """The requests of the test so far."""
        return self._engine.tests[prefix].requests

    def forget_requests(self, prefix: str) -> None:
        """Drop the record of all requests so far."""
        self._engine.tests[prefix].forget_requests()

    def pending(self, prefix: str) -> list[Body]:
        """The faults that wait for more requests."""
        return self._engine.tests[prefix].pending

    def tables(self, prefix: str) -> list[str]:
        """The tables that the test has created."""
        return self._engine.tests[prefix].tables


def _read(environ: dict[str, t.Any]) -> Request:
    body = environ["wsgi.input"].read()
    environ["wsgi.input"].seek(0)
    return Request.of(
        environ.get("HTTP_X_AMZ_TARGET", ""),
        body,
        environ.get("HTTP_AUTHORIZATION", ""),
        environ.get("HTTP_AMZ_SDK_REQUEST", ""),
    )


def _failure(fault: Fault, request: Request) -> Answer:
    code = str(fault.error)
    body: Body = {
        "__type": _NAMESPACE + code,
        "message": _MESSAGES.get(code, f"{code}, because the test wants it"),
    }

    if code == "TransactionCanceledException":
        parts = ("TransactItems", "TransactStatements")
        count = max(len(request.parameters.get(part) or ()) for part in parts)
        conflict = {"Code": "TransactionConflict", "Message": "Transaction is ongoing for the item"}
        body["CancellationReasons"] = [conflict, *[{"Code": "None"}] * (count - 1)]

    return _json(fault.status, body)


def _json(status: int, body: Body) -> Answer:
    content = json.dumps(body).encode()
    headers = {
        "Content-Type": "application/x-amz-json-1.0",
        "x-amzn-RequestId": uuid.uuid4().hex.upper(),
        "x-amz-crc32": str(zlib.crc32(content)),
    }
    return status, headers.items(), content


def _record(plan: Plan, answer: Answer) -> None:
    status, _, content = answer

    try:
        body: t.Any = json.loads(content)
    except ValueError:
        body = {}

    plan.received.status = status
    plan.received.consumed_capacity = _capacity(body)

    if status != 200:
        plan.received.error = str(body.get("__type", "Unknown")).rpartition("#")[2]


def _capacity(body: t.Any) -> float | None:
    parts: t.Any = body.get("ConsumedCapacity")

    if parts is None:
        return None

    each: list[Body] = [parts] if isinstance(parts, dict) else parts
    return sum(float(part.get("CapacityUnits") or 0) for part in each)


def main() -> None:
    """Run a controlled engine in this process until standard input is closed."""
    secret = sys.stdin.readline().strip()
    server = ControlledEngineServer(0, secret)
    threading.Thread(target=_exit_with_owner, daemon=True).start()
    server.serve(on_ready=lambda: print(server.url, flush=True))


def _exit_with_owner() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
