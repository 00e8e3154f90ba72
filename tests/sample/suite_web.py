"""Tests of the Flask app."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import multiprocessing
import socket
import threading
import typing as t
import urllib.request

import flask
import pytest
from werkzeug.serving import make_server

from dynamo_ext.testing import DynamoDB

from .app import Todo
from .app import create_web


@pytest.mark.parametrize("title", ["one", "two"])
def test_each_test_has_its_own_tables(web: flask.Flask, dynamodb: DynamoDB, title: str) -> None:
    assert dynamodb.calls == []
    client = web.test_client()
    assert client.put("/todos/1", data=title).status_code == 200
    assert client.get("/todos").json == {"1": title}
    assert [call.operation for call in dynamodb.calls] == ["PutItem", "Scan"]


def test_throttled(web: flask.Flask, dynamodb: DynamoDB) -> None:
    dynamodb.fail("PutItem", times=2)
    assert web.test_client().put("/todos/1", data="x").status_code == 200
    assert [call.attempt for call in dynamodb.calls] == [1, 2, 3]


def serve(config: dict[str, t.Any], listener: socket.socket) -> None:
    host, port = listener.getsockname()
    make_server(host, port, create_web(config), fd=listener.fileno()).serve_forever()


@contextlib.contextmanager
def listening() -> cabc.Iterator[tuple[socket.socket, str]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener, f"http://127.0.0.1:{listener.getsockname()[1]}/todos"


def fetch(url: str) -> str:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url) as response:
        return t.cast(str, response.read().decode())


def test_live_server_in_a_thread(web: flask.Flask, dynamodb: DynamoDB) -> None:
    server = make_server("127.0.0.1", 0, web, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    dynamodb.fail("Scan")

    try:
        assert fetch(f"http://127.0.0.1:{server.port}/todos").strip() == "{}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

    assert [call.error for call in dynamodb.calls] == ["ThrottlingException", None]


def test_live_server_in_a_process(web: flask.Flask, dynamodb: DynamoDB) -> None:
    dynamodb.fail("Scan")

    with listening() as (listener, url):
        spawn = multiprocessing.get_context("spawn")
        process = spawn.Process(target=serve, args=(dynamodb.config, listener), daemon=True)
        process.start()
        assert fetch(url).strip() == "{}"
        process.terminate()
        process.join()

    assert [call.error for call in dynamodb.calls] == ["ThrottlingException", None]


def test_forgotten_fixture() -> None:
    with create_web({}).app_context(), pytest.raises(RuntimeError, match="dynamodb_remote"):
        Todo.get("1")


@pytest.mark.dynamodb_remote
def test_remote(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as (_, url):
        # As if it were on another machine: nobody answers there.
        monkeypatch.setenv("http_proxy", url)
        config = {
            "DYNAMODB_HOST": "http://192.0.2.1",
            "DYNAMODB_READ_TIMEOUT_SECONDS": 0.01,
            "DYNAMODB_MAX_RETRY_ATTEMPTS": 0,
        }

        with create_web(config).app_context(), pytest.raises(Exception, match="Read timeout"):
            Todo.get("1")


def test_whose_fault_never_happens(web: flask.Flask, dynamodb: DynamoDB) -> None:
    assert web.test_client().get("/todos").json == {}
    dynamodb.fail(times=2)


def test_that_fails_on_purpose(web: flask.Flask, dynamodb: DynamoDB) -> None:
    dynamodb.fail("Query")
    web.test_client().put("/todos/1", data="x")
    assert dynamodb.calls == []
