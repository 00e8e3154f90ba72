"""Servers with several worker processes, and their replacement under load."""

from __future__ import annotations

import collections
import collections.abc as cabc
import concurrent.futures
import contextlib
import functools
import threading
import time
import typing as t

import httpx
import pytest

import servers
from stub import Stub

pytestmark = [pytest.mark.slow, pytest.mark.wire]

DEADLINE = 100
CLIENTS = 4

Run = cabc.Callable[..., contextlib.AbstractContextManager[servers.Server]]

SERVERS: dict[str, Run] = {
    "gunicorn": functools.partial(servers.gunicorn, "apps.web:create_app()", "--workers", "2"),
    "gunicorn, preloaded": functools.partial(
        servers.gunicorn, "apps.web:create_app()", "--workers", "2", "--preload"
    ),
    "gunicorn with threads": functools.partial(
        servers.gunicorn, "apps.web:create_app()", "--workers", "2", "--threads", "4"
    ),
    "uvicorn": functools.partial(servers.uvicorn, "apps.api:create_app", "--workers", "2"),
    "hypercorn": functools.partial(servers.hypercorn, "apps.api:create_app()", "--workers", "2"),
}


class Load:
    """Clients that create to-dos, one after the other, each with an id of its own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._count = 0
        self.processes: dict[str, str] = {}
        """By id: which process has acknowledged it."""

        self.errors: list[str] = []

    @property
    def workers(self) -> int:
        """How many processes have acknowledged one."""
        return len(set(self.processes.values()))

    def create(self) -> None:
        with self._lock:
            self._count += 1
            id = f"todo-{self._count}"

        while id not in self.processes and not self.errors:
            # A server that stops may close a connection on which it has read nothing yet.
            with contextlib.suppress(httpx.TransportError):
                # A connection for each request: any worker may get it.
                response = httpx.post(
                    f"{self._url}/todos/{id}",
                    headers={"Connection": "close"},
                    timeout=DEADLINE,
                    trust_env=False,
                )

                if response.status_code == 200:
                    self.processes[id] = response.headers["X-Process"]
                else:
                    self.errors.append(f"{id}: {response.status_code} {response.text}")

    def create_until(self, enough: cabc.Callable[[], bool]) -> None:
        """Create until there is enough, or something goes wrong, or it takes too long."""
        end = time.monotonic() + DEADLINE

        while not enough() and not self.errors:
            if time.monotonic() > end:
                self.errors.append(f"only {self.workers} processes after {DEADLINE} s")

            self.create()

    @contextlib.contextmanager
    def running(self, enough: cabc.Callable[[], bool]) -> cabc.Iterator[None]:
        """Let several clients create, during the block and until there is enough."""
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as threads:
            clients = [threads.submit(self.create_until, enough) for _ in range(CLIENTS)]
            yield

        for client in clients:
            client.result()

        assert self.errors == []


def written(stub: Stub) -> list[str]:
    """The ids of the to-dos that arrived, in order."""
    return [
        t.cast(str, request.body["Item"]["id"]["S"])
        for request in list(stub.requests)
        if request.operation == "PutItem"
    ]


def check_connections(stub: Stub, load: Load) -> None:
    """No two processes have written through one connection."""
    users: dict[t.Any, set[str]] = collections.defaultdict(set)

    for request in stub.requests:
        if request.operation == "PutItem":
            users[request.peer].add(load.processes[request.body["Item"]["id"]["S"]])

    assert [processes for processes in users.values() if len(processes) > 1] == []


@pytest.mark.parametrize("server", SERVERS)
def test_workers_share_no_connection(stub: Stub, server: str) -> None:
    with SERVERS[server](environment={"HOST": stub.url}) as running:
        load = Load(running.url)

        with load.running(lambda: load.workers == 2):
            pass

        assert "Traceback" not in running.stop()

    assert sorted(written(stub)) == sorted(load.processes)
    check_connections(stub, load)

    if server == "gunicorn, preloaded":
        peers_of_master = {r.peer for r in stub.requests if r.operation != "PutItem"}
        assert peers_of_master.isdisjoint(r.peer for r in stub.requests if r.operation == "PutItem")


@pytest.mark.parametrize("server", ["gunicorn", "gunicorn, preloaded", "uvicorn"])
def test_workers_are_replaced_under_load(stub: Stub, server: str) -> None:
    """Whatever was begun is finished and acknowledged, once."""
    with SERVERS[server](environment={"HOST": stub.url}) as running:
        load = Load(running.url)

        with load.running(lambda: load.workers >= 4):
            stub.wait_for(lambda: load.workers == 2)
            running.hang_up()

        running.stop()

    assert sorted(written(stub)) == sorted(load.processes)
    check_connections(stub, load)


def test_one_server_takes_over_from_another_under_load(stub: Stub) -> None:
    environment = {"HOST": stub.url}

    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(servers.listening())
        old = stack.enter_context(SERVERS["hypercorn"](environment=environment, listener=listener))
        load = Load(old.url)

        with load.running(lambda: load.workers >= 4):
            stub.wait_for(lambda: load.workers == 2)
            new = SERVERS["hypercorn"](environment=environment, listener=listener)
            stack.enter_context(new)
            old.stop()

    assert sorted(written(stub)) == sorted(load.processes)
    check_connections(stub, load)
