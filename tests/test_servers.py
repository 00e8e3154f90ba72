"""Servers that people run: no page shows another's item, wherever the app is loaded and forked."""

from __future__ import annotations

import collections
import collections.abc as cabc
import concurrent.futures
import contextlib
import dataclasses
import functools
import pathlib
import typing as t

import httpx
import pytest

import apps
import servers
from stub import Request
from stub import Stub
from stub import delayed

pytestmark = [pytest.mark.slow, pytest.mark.wire]

CLIENTS = 8
PAGES = 240
_DEADLINE = 100

Run = cabc.Callable[..., contextlib.AbstractContextManager[servers.Server]]

# The app makes calls while it is loaded; here, it awaits some of them.
AWAITS = "apps.preloaded:create_awaiting_app()"
BLOCKS = "apps.preloaded:create_app()"
PATCHED = str(pathlib.Path(apps.__path__[0], "gunicorn_with_gevent.py"))

uwsgi = functools.partial(servers.uwsgi, AWAITS, "--processes", "4")
gunicorn = functools.partial(
    servers.gunicorn, AWAITS, "--workers", "2", "--worker-class", "gthread", "--threads", "4"
)
gevent = functools.partial(
    servers.gunicorn, BLOCKS, "--workers", "2", "--worker-class", "gevent", is_new=True
)
waitress = functools.partial(servers.waitress, AWAITS, "threads=8")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind:
    """One way to run an app."""

    run: Run
    workers: int

    forks: bool = False
    """Whether another process than the workers loads the app."""

    awaits: bool = True
    """Whether views may be coroutines. An event loop belongs to a thread, and so to all greenlets
    in it: gevent and asyncio exclude each other."""


SERVERS: dict[str, Kind] = {
    "uwsgi": Kind(run=uwsgi, workers=4, forks=True),
    "uwsgi, fork hooks": Kind(
        run=functools.partial(uwsgi, "--py-call-uwsgi-fork-hooks"), workers=4, forks=True
    ),
    "uwsgi, threads": Kind(
        run=functools.partial(uwsgi, "--processes", "2", "--threads", "4"), workers=2, forks=True
    ),
    "uwsgi, lazy apps": Kind(
        run=functools.partial(uwsgi, "--processes", "2", "--lazy-apps"), workers=2
    ),
    "gthread": Kind(run=gunicorn, workers=2),
    "gthread, preload": Kind(run=functools.partial(gunicorn, "--preload"), workers=2, forks=True),
    "gevent": Kind(run=gevent, workers=2, awaits=False),
    "gevent, preload": Kind(
        run=functools.partial(gevent, "--preload", "--config", PATCHED),
        workers=2,
        forks=True,
        awaits=False,
    ),
    "waitress": Kind(run=waitress, workers=1),
}


@dataclasses.dataclass(frozen=True)
class Process:
    """What a worker says of itself while it makes no call."""

    id: int
    in_use: int
    waiting: int
    threads: int
    descriptors: int


class Visitors:
    """Clients that ask for pages, several at a time, each page for an item of its own."""

    def __init__(self, url: str) -> None:
        # A connection for each request: any worker may get it.
        self._client = httpx.Client(
            base_url=url, timeout=_DEADLINE, trust_env=False, headers={"Connection": "close"}
        )
        self.workers: dict[str, str] = {}
        """By the item's id: the process that has shown it."""

    def visit(self, paths: cabc.Iterable[str]) -> list[str]:
        """Ask for pages; give what is wrong with them."""
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as threads:
            return list(filter(None, threads.map(self._see, paths)))

    def processes(self, count: int) -> dict[int, Process]:
        """Ask until so many workers have answered; give them by their ids."""
        found: dict[int, Process] = {}

        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as threads:
            for _ in range(100):
                answers = threads.map(self._client.get, ["/process"] * CLIENTS)
                processes = [Process(**answer.json()) for answer in answers]
                found.update({process.id: process for process in processes})

                if len(found) == count:
                    return found

        raise AssertionError(f"only {len(found)} of {count} workers answer")

    def close(self) -> None:
        self._client.close()

    def _see(self, path: str) -> str:
        id = path.rpartition("/")[2]

        try:
            response = self._client.get(path)
        except httpx.TransportError as error:
            return f"{path}: {error!r}"

        self.workers[id] = response.headers.get("X-Process", "")

        if response.status_code == 200 and response.json()["id"] == id:
            return ""

        return f"{path}: {response.status_code} {response.text}"


def pages(kind: Kind, name: str) -> list[str]:
    ways = ["todos", "awaited"] if kind.awaits else ["todos"]
    return [f"/{ways[number % len(ways)]}/{name}-{number}" for number in range(PAGES // 2)]


def item_of(request: Request) -> str:
    return t.cast(str, request.body.get("Key", {}).get("id", {}).get("S", ""))


def shared_connections(stub: Stub, visitors: Visitors, kind: Kind) -> list[set[str]]:
    """Which processes have used one connection: those that show pages, and one that forks them."""
    users: dict[t.Any, set[str]] = collections.defaultdict(set)

    for request in stub.requests:
        if (worker := visitors.workers.get(item_of(request))) or kind.forks:
            users[request.peer].add(worker or "the process that has loaded the app")

    return [processes for processes in users.values() if len(processes) > 1]


@pytest.mark.parametrize("kind", SERVERS.values(), ids=SERVERS)
def test_each_page_shows_its_own_item(stub: Stub, kind: Kind) -> None:
    # As far away as DynamoDB: a near server has answered before another process calls.
    stub.always("GetItem", delayed(0.03, stub._usual))

    with kind.run(environment={"HOST": stub.url}) as server:
        with contextlib.closing(Visitors(server.url)) as visitors:
            assert visitors.visit(pages(kind, "first")) == [], server.log()
            before = visitors.processes(kind.workers)
            assert visitors.visit(pages(kind, "second")) == [], server.log()
            after = visitors.processes(kind.workers)

        assert "Traceback" not in server.stop()
        assert not server.has_processes()

    asked_for = [
        item for request in stub.requests if (item := item_of(request)) in visitors.workers
    ]
    assert sorted(asked_for) == sorted(visitors.workers)
    assert shared_connections(stub, visitors, kind) == []
    stub.wait_for(lambda: stub.connections == 0)

    for id, process in after.items():
        assert (process.in_use, process.waiting) == (0, 0)
        # Each has shown many more pages meanwhile.
        assert process.threads < before[id].threads + CLIENTS
        assert process.descriptors < before[id].descriptors + CLIENTS
