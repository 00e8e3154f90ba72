"""Clients of a web server: connections that are kept, each with one request at a time.

They run in the harness's own process, which has nothing else to do, on prepared bytes, so that
they need little of the machine that they share with the server.
"""

from __future__ import annotations

import contextlib
import dataclasses
import select
import socket
import time

_PATIENCE = 60.0
_CHUNK = 1 << 18


class Broken(Exception):
    """The server does not answer as it should. The message says how."""


@dataclasses.dataclass
class Measured:
    """What the clients have seen."""

    latencies: list[float]
    """Of each request, in seconds."""

    seconds: float
    cpu_seconds: float
    """The clients' own CPU time, in seconds."""


@dataclasses.dataclass
class _Client:
    connection: socket.socket
    received: bytes = b""
    sent_at: float = 0.0


def request(port: int, path: str) -> bytes:
    """Request something once.

    :param port: The server's port.
    :param path: What to request.
    :return: The body of the answer.
    :raises Broken: if the server does not answer, or not with status 200.
    """
    with _connect(port) as connection:
        connection.sendall(_request(path))
        received = b""

        while not (complete := _complete(received)):
            received += _receive(connection)

        return received[complete.start : complete.end]


def load(port: int, path: str, *, clients: int, seconds: float) -> Measured:
    """Request something again and again.

    :param port: The server's port.
    :param path: What to request.
    :param clients: How many clients.
    :param seconds: How long they send requests. The answers to the last ones are waited for.
    :raises Broken: if the server does not answer, or not with status 200.
    """
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(_connect(port)) for _ in range(clients)]
        poll = stack.enter_context(contextlib.closing(select.epoll()))
        return _load(poll, connections, _request(path), seconds)


def _load(
    poll: select.epoll, connections: list[socket.socket], content: bytes, seconds: float
) -> Measured:
    waiting = {connection.fileno(): _Client(connection) for connection in connections}
    latencies: list[float] = []
    cpu, start = time.process_time(), time.perf_counter()
    end = start + seconds

    for number, client in waiting.items():
        poll.register(number, select.EPOLLIN)
        client.sent_at = time.perf_counter()
        client.connection.sendall(content)

    while waiting:
        ready = poll.poll(_PATIENCE)

        if not ready:
            raise Broken(f"no answer within {_PATIENCE:g} s")

        for number, _ in ready:
            client = waiting[number]
            client.received += _receive(client.connection)

            if _complete(client.received) is None:
                continue

            now = time.perf_counter()
            latencies.append(now - client.sent_at)
            client.received = b""

            if now < end:
                client.sent_at = now
                client.connection.sendall(content)
            else:
                del waiting[number]

    return Measured(latencies, time.perf_counter() - start, time.process_time() - cpu)


def _connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()


def _receive(connection: socket.socket) -> bytes:
    try:
        received = connection.recv(_CHUNK)
    except OSError as error:
        raise Broken(f"the server does not answer: {error}") from None

    if not received:
        raise Broken("the server has closed a connection")

    return received


@dataclasses.dataclass(frozen=True)
class _Body:
    start: int
    end: int


def _complete(received: bytes) -> _Body | None:
    """Where the body of an answer is, once all of it has been received."""
    head, separator, _ = received.partition(b"\r\n\r\n")

    if not separator:
        return None

    status, *lines = head.lower().split(b"\r\n")

    if status.split(b" ")[1:2] != [b"200"]:
        raise Broken(f"the server has answered {status.decode(errors='replace')!r}")

    lengths = [line.partition(b":")[2] for line in lines if line.startswith(b"content-length:")]

    if not lengths:
        raise Broken("the server has not given the length of its answer")

    start = len(head) + len(separator)
    end = start + int(lengths[0])
    return _Body(start, end) if len(received) >= end else None
