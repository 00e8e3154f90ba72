"""A DynamoDB that records what it is sent, counts what is in flight, and misbehaves on demand."""

from __future__ import annotations

import collections
import collections.abc as cabc
import contextlib
import dataclasses
import http.server
import json
import socket
import socketserver
import ssl
import struct
import sys
import threading
import typing as t
import zlib

HOST = "127.0.0.1"
_DEADLINE = 100.0
CHECKSUM = "x-amz-crc32"
_NAMESPACE = "com.amazonaws.dynamodb.v20120810#"

Body = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Signature:
    """What a request's ``Authorization`` says."""

    access_key_id: str
    date: str
    region: str
    signed_headers: tuple[str, ...]
    digest: str

    @classmethod
    def parse(cls, header: str) -> Signature:
        algorithm, _, fields = header.partition(" ")
        assert algorithm == "AWS4-HMAC-SHA256"
        values = dict(field.strip().split("=", 1) for field in fields.split(","))
        access_key_id, date, region, service, end = values["Credential"].rsplit("/", 4)
        assert (service, end) == ("dynamodb", "aws4_request")
        signed_headers = tuple(values["SignedHeaders"].split(";"))
        return cls(access_key_id, date, region, signed_headers, values["Signature"])


@dataclasses.dataclass(frozen=True)
class Request:
    """One request, as it arrived."""

    operation: str
    """What ``X-Amz-Target`` names: ``"GetItem"``, say."""

    body: Body
    content: bytes
    """The body, as it was signed."""

    headers: tuple[tuple[str, str], ...]
    """In the order and the case in which they came."""

    peer: tuple[str, int]
    """The client's end of the connection."""

    method: str
    path: str

    def header(self, name: str) -> str | None:
        """A header's value, whatever the case of its name."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def signature(self) -> Signature:
        """Who has signed it, and what of it."""
        return Signature.parse(self.header("Authorization") or "")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """What a request gets."""

    status: int = 200
    body: cabc.Mapping[str, t.Any] = dataclasses.field(default_factory=dict[str, t.Any])
    headers: cabc.Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])

    delay: float = 0
    """Seconds until it is sent."""

    hold: bool = False
    """Not sent before :meth:`Stub.release`."""

    close: bool = False
    """The connection is closed after it, without a word about that."""

    close_by_reset: bool = False
    """The connection is reset after it."""

    reset: bool = False
    """The connection is reset instead."""

    drop: bool = False
    """The connection is closed instead."""

    content: bytes | None = None
    """Sent as it is, in the place of the body."""

    checksum: bool = True
    """Whether the header ``x-amz-crc32`` goes with it, as with every reply of DynamoDB."""

    cut: int = 0
    """So many bytes of the content are missing at its end; then the connection is closed."""

    trickle: float = 0
    """Seconds between one byte of the content, or one piece, and the next."""

    pieces: tuple[bytes, ...] = ()
    """Written one by one, as they are, in the place of all that."""


Behaviour = Answer | cabc.Callable[[Request], Answer]


def error(status: int, code: str, message: str = "said the stub") -> Answer:
    """An error as DynamoDB words it."""
    return Answer(status=status, body={"__type": _NAMESPACE + code, "message": message})


THROTTLE = error(400, "ProvisionedThroughputExceededException")
INTERNAL_ERROR = error(500, "InternalServerError")
UNAVAILABLE = error(503, "ServiceUnavailable")
HOLD = Answer(hold=True)
WRONG_CHECKSUM = Answer(headers={CHECKSUM: "1"})
RESET = Answer(reset=True)
DROP = Answer(drop=True)


def held(behaviour: Behaviour) -> Behaviour:
    """The same, but not sent before :meth:`Stub.release`."""
    return lambda request: dataclasses.replace(_answer(behaviour, request), hold=True)


def delayed(seconds: float, behaviour: Behaviour) -> Behaviour:
    """The same, but later."""
    return lambda request: dataclasses.replace(_answer(behaviour, request), delay=seconds)


def closing(behaviour: Behaviour) -> Behaviour:
    """The same, and the connection is closed after it."""
    return lambda request: dataclasses.replace(_answer(behaviour, request), close=True)


def unprocessed(request: Request) -> Answer:
    """Nothing of a batch was done."""
    if request.operation == "BatchGetItem":
        body = {"Responses": {}, "UnprocessedKeys": request.body["RequestItems"]}
    else:
        body = {"UnprocessedItems": request.body["RequestItems"]}

    return Answer(body=body)


class Stub:
    """The server. Everything that it counts, it counts on its own side of the wire.

    A request is in flight from its last byte to the first byte of its answer, whether or not the
    client still waits.

    :param host: An address of the loopback interface.
    :param port: A port; 0 for a free one.
    :param tls: What to speak TLS with; ``None`` for plain HTTP.
    """

    def __init__(
        self, host: str = HOST, port: int = 0, *, tls: ssl.SSLContext | None = None
    ) -> None:
        self.tls = tls
        self.requests: list[Request] = []
        self.failures: list[BaseException | None] = []
        self.in_flight = 0
        self.peak_in_flight = 0
        self.connections = 0
        self.peak_connections = 0
        self.total_connections = 0
        self.total_closed = 0
        self.answers = 0
        self._changed = threading.Condition()
        self._closing = False
        self._held: collections.deque[threading.Event] = collections.deque()
        self._arrived = 0
        self._released = 0
        self._next: dict[str, collections.deque[Behaviour]] = {}
        self._always: dict[str, Behaviour] = {}
        self._tables: dict[str, Body] = {}
        self._sockets: set[socket.socket] = set()
        self._server = (_ServerOnIPv6 if ":" in host else _Server)(self, host, port)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, name="stub"
        )

    def __enter__(self) -> Stub:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._thread.join()

        with self._changed:
            self._closing = True
            self.release()
            self._changed.notify_all()

            self.close_connections()

        self._server.server_close()
        assert not self.failures, self.failures

    @property
    def url(self) -> str:
        host, port = self._server.server_address[:2]
        name = f"[{host!s}]" if ":" in str(host) else str(host)
        return f"{'http' if self.tls is None else 'https'}://{name}:{port}"

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def holding(self) -> int:
        """How many answers wait to be released."""
        return len(self._held)

    @property
    def operations(self) -> list[str]:
        """What was asked for, in order."""
        return [request.operation for request in self.requests]

    def next(self, operation: str, *behaviours: Behaviour) -> None:
        """What the next requests of an operation get, in turn, before it is back to normal."""
        with self._changed:
            self._next.setdefault(operation, collections.deque()).extend(behaviours)

    def always(self, operation: str, behaviour: Behaviour) -> None:
        """What all requests of an operation get from now on."""
        with self._changed:
            self._always[operation] = behaviour

    def release(self, count: int | None = None) -> None:
        """Send what is held: the answers of all requests so far, or so many, the oldest first."""
        with self._changed:
            if count is None:
                # Also those that are in flight and not held yet.
                self._released = self._arrived

            for _ in range(len(self._held) if count is None else count):
                self._held.popleft().set()

    def wait_for(self, condition: cabc.Callable[[], bool]) -> None:
        """Wait until something holds that depends on this server alone.

        :raises AssertionError: if it never does.
        """
        with self._changed:
            assert self._changed.wait_for(condition, _DEADLINE), self

    def close_connections(self) -> None:
        """Close all connections, as a server does with those that are idle."""
        with self._changed:
            for connection in self._sockets:
                _hang_up(connection)

    def say(self, content: bytes) -> None:
        """Send something on all connections that nobody has asked for."""
        with self._changed:
            for connection in self._sockets:
                connection.sendall(content)

    def closes_within(self, seconds: float) -> bool:
        """Wait so long, but no longer than until this server is closed."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closing, seconds)

    def forget(self) -> None:
        """Start to record and to count anew."""
        with self._changed:
            self.requests.clear()
            self.peak_in_flight = self.in_flight
            self.peak_connections = self.connections
            self.total_connections = self.connections

    def __repr__(self) -> str:
        return (
            f"<Stub in_flight={self.in_flight} peak_in_flight={self.peak_in_flight}"
            f" connections={self.connections} operations={self.operations}>"
        )

    def connected(self, connection: socket.socket) -> None:
        with self._changed:
            self._sockets.add(connection)

            if self._closing:
                _hang_up(connection)

            self.total_connections += 1
            self.connections += 1
            self.peak_connections = max(self.peak_connections, self.connections)
            self._changed.notify_all()

    def disconnected(self, connection: socket.socket) -> None:
        with self._changed:
            if connection in self._sockets:
                self._sockets.discard(connection)
                self.connections -= 1
                self._changed.notify_all()

    def answer(self, request: Request) -> Answer:
        """Record a request, and wait until its answer may be sent."""
        with self._changed:
            self.requests.append(request)
            self.in_flight += 1
            self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
            self._arrived += 1
            number = self._arrived
            self._changed.notify_all()

        try:
            answer = _answer(self._behaviour(request.operation), request)
            self._wait(answer, number)
        finally:
            with self._changed:
                self.in_flight -= 1
                self._changed.notify_all()

        return answer

    def closed(self) -> None:
        """A connection is closed, which it is some time after it is no longer counted."""
        with self._changed:
            self.total_closed += 1
            self._changed.notify_all()

    def answered(self) -> None:
        """An answer has been written, to its last byte."""
        with self._changed:
            self.answers += 1
            self._changed.notify_all()

    def _behaviour(self, operation: str) -> Behaviour:
        with self._changed:
            if queue := self._next.get(operation):
                return queue.popleft()

            return self._always.get(operation, self._usual)

    def _wait(self, answer: Answer, number: int) -> None:
        released = threading.Event()

        with self._changed:
            if self._closing:
                return

            is_held = answer.hold and number > self._released

            if is_held:
                self._held.append(released)
                self._changed.notify_all()

        if is_held:
            released.wait()

        if answer.delay:
            self.closes_within(answer.delay)

    def _usual(self, request: Request) -> Answer:
        """Plausible answers: tables that were created exist, and every item is there."""
        body = request.body
        name = body.get("TableName", "")

        match request.operation:
            case "GetItem":
                return Answer(body={"Item": body["Key"]})
            case "Query" | "Scan":
                return Answer(body={"Items": [], "Count": 0, "ScannedCount": 0})
            case "UpdateItem":
                return Answer(body={"Attributes": body["Key"]})
            case "BatchGetItem":
                items = {table: part["Keys"] for table, part in body["RequestItems"].items()}
                return Answer(body={"Responses": items, "UnprocessedKeys": {}})
            case "BatchWriteItem":
                return Answer(body={"UnprocessedItems": {}})
            case "TransactGetItems":
                keys = [item["Get"]["Key"] for item in body["TransactItems"]]
                return Answer(body={"Responses": [{"Item": key} for key in keys]})
            case "CreateTable":
                self._tables[name] = _description(body)
                return Answer(body={"TableDescription": self._tables[name]})
            case "DescribeTable" | "DeleteTable" if name not in self._tables:
                return error(400, "ResourceNotFoundException", f"no table {name}")
            case "DescribeTable":
                return Answer(body={"Table": self._tables[name]})
            case "DeleteTable":
                return Answer(body={"TableDescription": self._tables.pop(name)})
            case "ListTables":
                return Answer(body={"TableNames": sorted(self._tables)})
            case _:
                return Answer()


def _answer(behaviour: Behaviour, request: Request) -> Answer:
    return behaviour if isinstance(behaviour, Answer) else behaviour(request)


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _description(create: Body) -> Body:
    kept = ("TableName", "KeySchema", "AttributeDefinitions")
    indexes = ("GlobalSecondaryIndexes", "LocalSecondaryIndexes")
    return {
        **{name: create[name] for name in (*kept, *indexes) if name in create},
        "TableStatus": "ACTIVE",
        "ProvisionedThroughput": create.get("ProvisionedThroughput", {}),
        "ItemCount": 0,
    }


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    request_queue_size = 256

    def __init__(self, stub: Stub, host: str, port: int) -> None:
        self.stub = stub
        super().__init__((host, port), _Handler)

    def finish_request(self, request: t.Any, client_address: t.Any) -> None:
        if self.stub.tls is None:
            super().finish_request(request, client_address)
        else:
            with self.stub.tls.wrap_socket(request, server_side=True) as connection:
                super().finish_request(connection, client_address)

    def shutdown_request(self, request: t.Any) -> None:
        super().shutdown_request(request)
        self.stub.closed()

    def handle_error(self, request: t.Any, client_address: t.Any) -> None:
        failure = sys.exception()

        # A client that has gone is no failure.
        if not isinstance(failure, OSError):
            self.stub.failures.append(failure)


class _ServerOnIPv6(_Server):
    address_family = socket.AF_INET6


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def stub(self) -> Stub:
        return t.cast(_Server, self.server).stub

    def setup(self) -> None:
        super().setup()
        self.stub.connected(self.connection)

    def finish(self) -> None:
        self.stub.disconnected(self.connection)
        super().finish()

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        content = self.rfile.read(length)

        if len(content) < length:
            # The connection was closed, by whichever side, before the request was complete.
            self.close_connection = True
            return

        request = Request(
            operation=self.headers.get("X-Amz-Target", "").rpartition(".")[2],
            body=json.loads(content or b"{}"),
            content=content,
            headers=tuple(self.headers.items()),
            peer=self.client_address,
            method=self.command,
            path=self.path,
        )
        answer = self.stub.answer(request)

        self.close_connection = (
            answer.reset or answer.drop or answer.close or answer.close_by_reset or bool(answer.cut)
        )

        if self.close_connection:
            # Before the client can know, and open another one.
            self.stub.disconnected(self.connection)

        if answer.reset:
            self._reset()
        elif answer.pieces:
            self._write(answer.pieces, answer.trickle)
        elif not answer.drop:
            self._send(answer)

        if answer.close_by_reset:
            self._reset()

        self.stub.answered()

    def _send(self, answer: Answer) -> None:
        content = json.dumps(answer.body).encode() if answer.content is None else answer.content
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(content)))

        if answer.checksum and CHECKSUM not in answer.headers:
            self.send_header(CHECKSUM, str(zlib.crc32(content)))

        for name, value in answer.headers.items():
            self.send_header(name, value)

        self.end_headers()
        content = content[: len(content) - answer.cut]

        if answer.trickle:
            self._write((bytes([byte]) for byte in content), answer.trickle)
        else:
            self.wfile.write(content)

    def _write(self, pieces: cabc.Iterable[bytes], seconds: float) -> None:
        for piece in pieces:
            if seconds and self.stub.closes_within(seconds):
                return

            self.wfile.write(piece)

    def _reset(self) -> None:
        linger_no_time = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_no_time)
        # Else it would stay open until that is closed.
        self.rfile.close()
        self.connection.close()

    def log_message(self, format: str, *args: t.Any) -> None:
        """Nothing."""
