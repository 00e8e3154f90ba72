"""The server for all contestants: a C program that sends prepared replies of DynamoDB.

To show that the server limits no contestant, :meth:`Stub.ceiling` measures how many calls it can
answer, and :meth:`Stub.cpu_seconds` how busy it is.
"""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import hashlib
import json
import os
import pathlib
import socket
import subprocess
import time
import typing as t
import zlib

from ..contestants import calls
from ..environments import HOME
from ..failure import Failure

HOST = "127.0.0.1"
_SOURCE = pathlib.Path(__file__).parent / "stub.c"
_CONNECTIONS = 100


class Stub:
    """A running stub.

    :param process: The stub's process.
    :param ports: The port for each latency in ms.
    """

    def __init__(self, process: subprocess.Popen[str], ports: dict[float, int]) -> None:
        self._process = process
        self._ports = ports

    def url(self, latency_ms: float) -> str:
        """The address at which replies have a latency, in ms."""
        return f"http://{HOST}:{self._ports[latency_ms]}"

    def cpu_seconds(self) -> float:
        """The CPU time that the stub has used so far, in seconds."""
        stat = pathlib.Path(f"/proc/{self._process.pid}/stat").read_text()
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def ceiling(self, seconds: float) -> float:
        """GetItem calls per second that the stub answers to a client that only sends and receives.

        :param seconds: How long to measure, in seconds.
        """
        reply = response(_bodies(1, 1)["GetItem"])

        with contextlib.ExitStack() as stack:
            address = (HOST, self._ports[0])
            connections = [
                stack.enter_context(socket.create_connection(address)) for _ in range(_CONNECTIONS)
            ]
            start, done = time.perf_counter(), 0

            while (elapsed := time.perf_counter() - start) < seconds:
                for connection in connections:
                    connection.sendall(_REQUEST)

                for connection in connections:
                    _receive(connection, len(reply))

                done += len(connections)

        return done / elapsed


_REQUEST = (
    b"POST / HTTP/1.1\r\nHost: stub\r\nX-Amz-Target: DynamoDB_20120810.GetItem\r\n"
    b"Content-Length: 2\r\n\r\n{}"
)


def _receive(connection: socket.socket, count: int) -> None:
    while count:
        received = len(connection.recv(count))

        if not received:
            raise Failure("The stub has closed a connection.")

        count -= received


@contextlib.contextmanager
def running(
    latencies_ms: cabc.Iterable[float], *, items: int = calls.ITEMS, batch: int | None = None
) -> cabc.Iterator[Stub]:
    """Run the stub until the end of the block.

    :param latencies_ms: The latencies of the replies, in ms. The stub has a port for each of them,
        and one for latency 0.
    :param items: How many items the reply to a query or a batch has.
    :param batch: How many the reply to a batch has, if not as many.
    :return: A context manager that gives the stub.
    :raises Failure: if the stub can't be built or started.
    """
    latencies = sorted({0, *latencies_ms})
    binary = _build(HOME)
    batch = items if batch is None else batch
    replies = HOME / f"replies-{items}-{batch}"
    _write_replies(replies, _bodies(items, batch))
    process = subprocess.Popen(
        [binary, replies, *map(str, latencies)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    with process:
        assert process.stdin is not None
        assert process.stdout is not None

        try:
            ports = [int(port) for port in process.stdout.readline().split()]

            if len(ports) != len(latencies):
                raise Failure("The stub did not start.")

            yield Stub(process, dict(zip(latencies, ports, strict=True)))
        finally:
            # The stub ends when its input is closed.
            process.stdin.close()


def _build(directory: pathlib.Path) -> pathlib.Path:
    digest = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:12]
    binary = directory / f"stub-{digest}"

    if not binary.exists():
        directory.mkdir(parents=True, exist_ok=True)
        unfinished = directory / f"{binary.name}.{os.getpid()}"

        try:
            subprocess.run(["cc", "-O2", "-o", unfinished, _SOURCE], check=True)
        except FileNotFoundError:
            raise Failure(
                "The stub server needs a C compiler named 'cc' (on Debian: apt-get install gcc)."
            ) from None
        except subprocess.CalledProcessError:
            raise Failure("The stub server could not be compiled: see above.") from None

        unfinished.rename(binary)

    return binary


def _write_replies(directory: pathlib.Path, bodies: dict[str, t.Any]) -> None:
    directory.mkdir(parents=True, exist_ok=True)

    for operation, body in bodies.items():
        content = response(body)
        path = directory / operation

        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)


def _bodies(query: int, batch: int) -> dict[str, t.Any]:
    items = [calls.attributes(number) for number in range(max(query, batch))]
    return {
        "GetItem": {"Item": calls.attributes(1)},
        "PutItem": {},
        "Query": {"Items": items[:query], "Count": query, "ScannedCount": query},
        "BatchGetItem": {"Responses": {calls.TABLE: items[:batch]}, "UnprocessedKeys": {}},
    }


def response(body: t.Any) -> bytes:
    """A whole HTTP response, with DynamoDB's headers.

    :param body: The content, as a value of JSON.
    """
    content = json.dumps(body, separators=(",", ":")).encode()
    head = (
        "HTTP/1.1 200 OK\r\n"
        "Server: Server\r\n"
        "Date: Sun, 22 Nov 2026 15:00:00 GMT\r\n"
        "Content-Type: application/x-amz-json-1.0\r\n"
        f"Content-Length: {len(content)}\r\n"
        "Connection: keep-alive\r\n"
        "x-amzn-RequestId: 4KBNVRGD25RG1KEO9UT4V3FQDJVV4KQNSO5AEMVJF66Q9ASUAAJG\r\n"
        f"x-amz-crc32: {zlib.crc32(content)}\r\n"
        "\r\n"
    )
    return head.encode() + content
