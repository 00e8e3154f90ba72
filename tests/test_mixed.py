"""Flask and Quart apps that share their models, on real servers."""

from __future__ import annotations

import collections.abc as cabc
import sys
import time
import typing as t

import pytest

import servers
import stub as stubs
from stub import Answer
from stub import Request
from stub import Stub


@pytest.fixture
def other_stub() -> cabc.Iterator[Stub]:
    with Stub() as other_stub:
        yield other_stub


@pytest.fixture
def hosts(stub: Stub, other_stub: Stub) -> dict[str, str]:
    return {"HOST": stub.url, "OTHER_HOST": other_stub.url}


def todo_titled(title: str) -> cabc.Callable[[Request], Answer]:
    """Finds every to-do, with this title."""
    return lambda request: Answer(body={"Item": {**request.body["Key"], "title": {"S": title}}})


def ids(stub: Stub) -> set[str]:
    return {key(request) for request in stub.requests if request.operation == "GetItem"}


def key(request: Request) -> str:
    return t.cast(str, request.body["Key"]["id"]["S"])


@pytest.mark.slow
def test_what_one_process_creates_the_other_reads(embedded_config: dict[str, str]) -> None:
    environment = {
        "HOST": embedded_config["DYNAMODB_HOST"],
        "TABLE_NAME_PREFIX": embedded_config["DYNAMODB_TABLE_NAME_PREFIX"],
    }

    with (
        servers.hypercorn("apps.api:create_app()", environment=environment) as api,
        # Preloaded: the client that made the table is older than the workers.
        servers.gunicorn(
            "apps.web:create_app()", "--preload", "--workers", "2", environment=environment
        ) as web,
    ):
        for number in range(4):
            assert api.post(f"/todos/quart-{number}").status_code == 200
            assert web.post(f"/todos/flask-{number}").status_code == 200

        for number in range(4):
            flask_todo = {"id": f"flask-{number}", "title": "from Flask"}
            quart_todo = {"id": f"quart-{number}", "title": "from Quart"}
            assert api.get(f"/todos/flask-{number}").json() == flask_todo
            assert web.get(f"/todos/quart-{number}").json() == quart_todo

        for server, name in ((api, "Quart"), (web, "Flask")):
            response = server.get("/todos/none")
            assert response.status_code == 404
            assert f"{name} has no none" in response.text

        for server in (api, web):
            assert "Traceback" not in server.stop()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("worker", "app"), [("asyncio", "create_app"), ("trio", "create_trio_app")]
)
def test_apps_with_equal_settings_share_one_budget_and_others_have_their_own(
    stub: Stub, other_stub: Stub, hosts: dict[str, str], worker: str, app: str
) -> None:
    titles = {stub: "shared", other_stub: "other"}
    sharing = [f"/todos/q{n}" for n in range(4)] + [f"/web/todos/f{n}" for n in range(2)]
    # Hypercorn has at least five threads for the Flask apps.
    others = [f"/other/todos/o{n}" for n in range(3)]

    with servers.hypercorn(
        f"apps.mounted:{app}()", "--worker-class", worker, environment=hosts
    ) as server:
        assert server.get("/pool").json() == {"in_use": 0, "waiting": 0}

        for one, title in titles.items():
            one.always("GetItem", stubs.held(todo_titled(title)))

        with server.getting(*sharing, *others) as answers:
            wait_for_pool(server, in_use=3, waiting=3)
            stub.wait_for(lambda: stub.in_flight == 3)
            other_stub.wait_for(lambda: other_stub.in_flight == 2)

            for one, title in titles.items():
                one.always("GetItem", todo_titled(title))
                one.release()

            todos = [answer.result().json() for answer in answers]

        assert [todo["title"] for todo in todos] == ["shared"] * 6 + ["other"] * 3
        assert (stub.peak_in_flight, other_stub.peak_in_flight) == (3, 2)
        assert stub.peak_connections <= 3
        assert ids(stub) == {"q0", "q1", "q2", "q3", "f0", "f1"}
        assert ids(other_stub) == {"o0", "o1", "o2"}
        assert "Traceback" not in server.stop()


@pytest.mark.slow
def test_the_flask_app_that_a_quart_handler_calls_in_a_thread_is_the_one_inside(
    stub: Stub, other_stub: Stub, hosts: dict[str, str]
) -> None:
    stub.always("GetItem", stubs.delayed(0.01, todo_titled("Quart's")))
    other_stub.always("GetItem", stubs.delayed(0.01, todo_titled("Flask's")))
    paths = [f"/{way}/{way}-{n}" for n in range(15) for way in ("request", "context")]

    with servers.hypercorn("apps.nested:create_app()", environment=hosts) as server:
        with server.getting(*paths) as answers:
            titles = [answer.result().json() for answer in answers]

        assert titles == [["Quart's", "Quart's", "Flask's", "Quart's", "Quart's"]] * 30
        names = [path.rpartition("/")[2] for path in paths]
        assert ids(stub) == {f"{name}-q" for name in names}
        assert ids(other_stub) == {f"{name}-f" for name in names}
        assert "Traceback" not in server.stop()


# Quart 0.23, which needs Python 3.13, is too new for Quart-Flask-Patch 0.3. These two are not
# marked as slow: in CI, only the oldest dependencies have a Python that is old enough.
if sys.version_info < (3, 13):

    def test_with_quart_flask_patch_both_kinds_of_calls_work(
        stub: Stub, hosts: dict[str, str]
    ) -> None:
        with servers.hypercorn("apps.patched:app", environment=hosts, is_new=True) as server:
            for way in ("todos", "blocking"):
                with server.getting(*(f"/{way}/{n}" for n in range(10))) as answers:
                    found = [answer.result().json()["id"] for answer in answers]

                assert found == [str(n) for n in range(10)]

            assert stub.peak_in_flight <= 3
            assert server.get("/ensured/x").json() == {"id": "x", "app": "apps.api"}
            assert "Traceback" not in server.stop()

    def test_with_quart_flask_patch_a_synchronous_view_blocks_the_event_loop(
        stub: Stub, hosts: dict[str, str]
    ) -> None:
        environment = {**hosts, "BLOCKING_CALLS": "raise"}

        with servers.hypercorn("apps.patched:app", environment=environment, is_new=True) as server:
            response = server.get("/blocking/x")
            assert response.status_code == 500
            assert "GetItem blocks the event loop" in response.text
            assert "GetItem" not in stub.operations
            assert server.get("/todos/x").json() == {"id": "x"}
            assert "Traceback" not in server.stop()


def wait_for_pool(server: servers.Server, *, in_use: int, waiting: int) -> None:
    deadline = time.monotonic() + 20
    wanted = {"in_use": in_use, "waiting": waiting}

    while (figures := server.get("/pool").json()) != wanted:
        assert time.monotonic() < deadline, figures
        time.sleep(0.01)
