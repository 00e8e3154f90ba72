"""Web servers with one worker process, each of which serves a contestant's page."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import typing as t

from . import apps
from . import child
from . import clients
from . import environments
from . import worker
from .cases import Server
from .child import Figures
from .child import NotMeasured
from .lineup import Contestant

_WARM_UP = 0.3
#: A page takes as long as many calls, and the first one of each client waits for a connection: so
#: count more than one window's.
_WINDOWS = 4
_PATIENCE = 10.0
_THREADS = 10
#: The commands, without the address.
COMMANDS: dict[Server, tuple[str, ...]] = {
    "gunicorn": (
        *("gunicorn", "--worker-class", "gthread", "--workers", "1", "--threads", str(_THREADS)),
        "benchmarks.apps:flask_app()",
    ),
    "hypercorn": (
        *("hypercorn", "--worker-class", "asyncio", "--workers", "1"),
        "benchmarks.apps:quart_app()",
    ),
}


class WebServer:
    """A running web server.

    :param process: Its process, which has started the worker process.
    :param port: Its port.
    :param log: The file that has its error output.
    """

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: t.IO[bytes]) -> None:
        self._process = process
        self._port = port
        self._log = log
        self._check()
        self.versions: dict[str, str] = self._figures()["versions"]
        """The release of each package that the worker process can import."""

        self.clients_busy = 0.0
        """The largest share of a CPU that the clients have used."""

    def measure(self, connections: int, seconds: float) -> Figures:
        """Request the page again and again.

        :param connections: How many clients.
        :param seconds: How long, in seconds.
        :raises NotMeasured: if the server does not answer as it should.
        """
        self._load(connections, min(_WARM_UP, seconds))
        before = self._figures()["cpu_seconds"]
        measured = self._load(connections, seconds * _WINDOWS)
        cpu_seconds = self._figures()["cpu_seconds"] - before
        self.clients_busy = measured.cpu_seconds / measured.seconds
        count = len(measured.latencies)
        return {
            "requests_per_second": count / measured.seconds,
            "cpu_us": cpu_seconds / count * 1e6,
            "p50_ms": worker.percentile(measured.latencies, 0.5) * 1e3,
            "p99_ms": worker.percentile(measured.latencies, 0.99) * 1e3,
        }

    def _check(self) -> None:
        rows = self._request("/").count(apps.ROW.encode())

        if rows != apps.QUERIED + apps.BATCHED:
            raise NotMeasured(f"its page has {rows} items, not {apps.QUERIED + apps.BATCHED}")

    def _figures(self) -> Figures:
        return t.cast(Figures, json.loads(self._request("/figures")))

    def _request(self, path: str) -> bytes:
        with self._explained():
            return clients.request(self._port, path)

    def _load(self, connections: int, seconds: float) -> clients.Measured:
        with self._explained():
            return clients.load(self._port, "/", clients=connections, seconds=seconds)

    @contextlib.contextmanager
    def _explained(self) -> cabc.Iterator[None]:
        try:
            yield
        except clients.Broken as error:
            words = child.last_words(self._log)
            raise NotMeasured(
                f"{error}; its last words: {words}" if words else str(error)
            ) from None


@contextlib.contextmanager
def running(contestant: Contestant, server: Server, url: str) -> cabc.Iterator[WebServer]:
    """Run a web server until the end of the block.

    :param contestant: The contestant, which makes the page's reads.
    :param server: The server.
    :param url: The address of DynamoDB.
    :return: A context manager that gives the web server.
    :raises NotMeasured: if the contestant can't be installed, or its page can't be served.
    """
    python = child.interpreter(contestant)
    given = json.dumps([contestant.module, url, dict(contestant.options), os.getpid()])

    with tempfile.TemporaryFile() as log, _listening() as (listener, port):
        process = _start(python, server, listener, given, log)
        # Only the server listens now: without it, connections are refused instead of kept waiting.
        listener.close()

        try:
            yield WebServer(process, port, log)
        finally:
            _end(process)


@contextlib.contextmanager
def _listening() -> cabc.Iterator[tuple[socket.socket, int]]:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        yield listener, listener.getsockname()[1]


def _start(
    python: pathlib.Path, server: Server, listener: socket.socket, given: str, log: t.IO[bytes]
) -> subprocess.Popen[bytes]:
    command = [str(python), "-m", *COMMANDS[server], "--bind", f"fd://{listener.fileno()}"]

    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=environments.ROOT,
            env={**child.environment(), apps.VARIABLE: given},
            pass_fds=[listener.fileno()],
        )
    except OSError as error:
        raise NotMeasured(f"cannot run {str(python)!r}: {error.strerror}") from None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server. It ends its worker process."""
    process.send_signal(signal.SIGTERM)

    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
