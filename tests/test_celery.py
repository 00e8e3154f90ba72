"""A worker of Celery: forked processes, an app context for each task, time limits."""

from __future__ import annotations

import collections
import collections.abc as cabc
import os
import pathlib
import typing as t

import celery  # type: ignore[import-untyped]
import pytest

import engines
import servers
from stub import DROP
from stub import Answer
from stub import Request
from stub import Stub
from stub import delayed

pytestmark = [pytest.mark.slow, pytest.mark.wire]

_DEADLINE = 100

Send = cabc.Callable[..., list[t.Any]]


@pytest.fixture
def stub() -> cabc.Iterator[Stub]:
    """A server some way off, which waits for the rest of requests that were not sent to the end."""
    with Stub() as stub:

        def answer(request: Request) -> Answer:
            return stub._usual(request) if request.body else DROP

        stub.always("GetItem", delayed(0.01, answer))
        yield stub


@pytest.fixture
def worker(stub: Stub, tmp_path: pathlib.Path) -> cabc.Iterator[tuple[servers.Server, Send]]:
    """A worker whose queue and results are files; what sends tasks to it and waits for results."""
    queue, results = tmp_path / "queue", tmp_path / "results"
    queue.mkdir()
    results.mkdir()
    environment = {
        "HOST": stub.url,
        "BROKER": "filesystem://",
        "QUEUE": str(queue),
        "RESULTS": results.as_uri(),
    }
    folders = ("data_folder_in", "data_folder_out", "control_folder")
    sender: t.Any = celery.Celery(
        set_as_current=False,
        broker=environment["BROKER"],
        backend=environment["RESULTS"],
        broker_transport_options=dict.fromkeys(folders, str(queue)),
    )

    def send(name: str, ids: cabc.Iterable[str], **options: t.Any) -> list[t.Any]:
        sent = [sender.send_task(f"apps.tasks.{name}", [id], **options) for id in ids]
        return [task.get(timeout=_DEADLINE) for task in sent]

    options = ["--pool", "prefork", "--concurrency", "2", "--loglevel", "WARNING"]

    with servers.celery("apps.tasks:tasks", *options, environment=environment) as server:
        yield server, send

    sender.close()


def test_tasks_in_forked_processes_and_their_time_limits(
    stub: Stub, worker: tuple[servers.Server, Send]
) -> None:
    server, send = worker
    shown = send("show", [str(number) for number in range(30)])
    assert [id for id, _ in shown] == [str(number) for number in range(30)]
    processes = dict(shown)
    users: dict[t.Any, set[t.Any]] = collections.defaultdict(set)

    for request in list(stub.requests):
        users[request.peer].add(processes.get(request.body.get("Key", {}).get("id", {}).get("S")))

    assert [pids for pids in users.values() if len(pids) > 1] == []
    limited = send(
        "exceed_the_limit", [f"limited-{number}" for number in range(6)], soft_time_limit=0.2
    )
    assert [found[1:] for found in limited] == [[[], 0, f"limited-{number}"] for number in range(6)]

    # botocore takes what a signal's handler raises within it for a lost connection, and goes on.
    if os.environ.get(engines.TRANSPORT) == "direct":
        assert all(interrupted for interrupted, *_ in limited)

    server.terminate()
    assert "Traceback" not in server.wait()
    assert not server.has_processes()
    stub.wait_for(lambda: stub.connections == 0)
