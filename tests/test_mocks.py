"""Tests that users write with mocks of AWS: on no transport does a mocked call reach a server."""

from __future__ import annotations

import collections.abc as cabc
import typing as t
import unittest.mock

import botocore.client
import botocore.stub
import flask
import moto
import pytest
import quart
from pynamodb.attributes import UnicodeAttribute

import dynamo_ext_async
from dynamo_ext.config.settings import Transport
from stub import Stub

pytestmark = pytest.mark.once(reason="each test names its transport")


class Todo(dynamo_ext_async.Model):
    class Meta:
        table_name = "todo"

    id = UnicodeAttribute(hash_key=True)
    title = UnicodeAttribute(null=True)


@pytest.fixture(params=t.get_args(Transport))
def config(request: pytest.FixtureRequest) -> dict[str, t.Any]:
    """Settings of an app on AWS."""
    return {"DYNAMODB_REGION": "eu-west-1", "DYNAMODB_TRANSPORT": request.param}


@pytest.fixture
def aws(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> cabc.Iterator[Stub]:
    """A mocked AWS; what would reach the real one reaches this server, as a proxy."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("HTTPS_PROXY", stub.url)

    with moto.mock_aws():
        yield stub


def client_of(app: flask.Flask | quart.Quart) -> t.Any:
    """The client of botocore, in a context of the app."""
    return app.extensions["pynamodb"].connection.client


def make_web(config: dict[str, t.Any]) -> flask.Flask:
    app = flask.Flask("web")
    app.config.from_mapping(config)
    dynamo_ext_async.PynamoDB(app)

    @app.get("/todos/<id>")
    def show(id: str) -> dict[str, t.Any]:
        return Todo.get_or_404(id).to_simple_dict()

    @app.get("/todos")
    def show_all() -> list[str]:
        return sorted(todo.id for todo in Todo.scan())

    @app.post("/todos/<id>")
    def create(id: str) -> dict[str, t.Any]:
        todo = Todo(id, title="new")
        todo.save()
        return todo.to_simple_dict()

    return app


def make_api(config: dict[str, t.Any]) -> quart.Quart:
    app = quart.Quart("api")
    app.config.from_mapping(config)
    dynamo_ext_async.PynamoDB(app)

    @app.get("/todos/<id>")
    async def show(id: str) -> dict[str, t.Any]:
        return (await Todo.aget_or_404(id)).to_simple_dict()

    @app.post("/todos/<id>")
    async def create(id: str) -> dict[str, t.Any]:
        todo = Todo(id, title="new")
        await todo.asave()
        return todo.to_simple_dict()

    return app


@pytest.mark.parametrize("client_is_older", [False, True])
def test_flask_view_on_moto(aws: Stub, config: dict[str, t.Any], client_is_older: bool) -> None:
    app = make_web(config)

    with app.app_context():
        if client_is_older:
            assert client_of(app)

        Todo.create_table(wait=True)

    client = app.test_client()
    assert client.post("/todos/1").json == {"id": "1", "title": "new"}
    assert client.post("/todos/2").status_code == 200
    assert client.get("/todos/1").json == {"id": "1", "title": "new"}
    assert client.get("/todos").json == ["1", "2"]
    assert client.get("/todos/3").status_code == 404
    assert aws.total_connections == 0


def test_mock_that_begins_after_the_first_calls(
    stub: Stub, config: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An app at the top of a module, and a fixture that mocks AWS for each test."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("HTTPS_PROXY", stub.url)
    app = make_web(config)

    for _ in range(2):
        with moto.mock_aws():
            with app.app_context():
                Todo.create_table(wait=True)

            # Nothing is left of the test before.
            assert app.test_client().get("/todos/1").status_code == 404
            assert app.test_client().post("/todos/1").status_code == 200

    assert stub.total_connections == 0


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=False)
async def test_quart_view_on_moto(aws: Stub, config: dict[str, t.Any]) -> None:
    app = make_api(config)

    async with app.app_context():
        await Todo.acreate_table(wait=True)

    client = app.test_client()
    assert (await client.post("/todos/1")).status_code == 200
    response = await client.get("/todos/1")
    assert await response.get_json() == {"id": "1", "title": "new"}
    assert (await client.get("/todos/2")).status_code == 404
    assert aws.total_connections == 0


@pytest.fixture
def on_stub(config: dict[str, t.Any], stub_config: dict[str, t.Any]) -> dict[str, t.Any]:
    """Settings of an app whose server is there: it must not get what is mocked."""
    return {**stub_config, "DYNAMODB_TRANSPORT": config["DYNAMODB_TRANSPORT"]}


def test_flask_view_with_a_stubber(stub: Stub, on_stub: dict[str, t.Any]) -> None:
    app = make_web(on_stub)
    client = app.test_client()
    assert client.get("/todos/before").json == {"id": "before"}

    with app.app_context():
        stubber = botocore.stub.Stubber(client_of(app))

    stubber.add_response("get_item", {"Item": {"id": {"S": "1"}, "title": {"S": "stubbed"}}})
    stubber.add_client_error("get_item", "ResourceNotFoundException", http_status_code=400)

    with stubber:
        assert client.get("/todos/1").json == {"id": "1", "title": "stubbed"}
        assert client.get("/todos/2").status_code == 500
        stubber.assert_no_pending_responses()

    assert client.get("/todos/after").json == {"id": "after"}
    assert [request.body["Key"]["id"]["S"] for request in stub.requests] == ["before", "after"]


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=False)
async def test_quart_view_with_a_stubber(stub: Stub, on_stub: dict[str, t.Any]) -> None:
    app = make_api(on_stub)
    client = app.test_client()
    assert (await client.get("/todos/before")).status_code == 200

    async with app.app_context():
        stubber = botocore.stub.Stubber(client_of(app))

    stubber.add_response("get_item", {"Item": {"id": {"S": "1"}, "title": {"S": "stubbed"}}})

    with stubber:
        response = await client.get("/todos/1")
        assert await response.get_json() == {"id": "1", "title": "stubbed"}

    assert (await client.get("/todos/after")).status_code == 200
    assert [request.body["Key"]["id"]["S"] for request in stub.requests] == ["before", "after"]


def test_flask_view_with_a_patched_client(stub: Stub, on_stub: dict[str, t.Any]) -> None:
    """As the documentation of moto advises for what moto does not have."""
    client = make_web(on_stub).test_client()
    assert client.get("/todos/before").json == {"id": "before"}
    asked: list[tuple[str, t.Any]] = []

    def answer(self: t.Any, operation_name: str, parameters: dict[str, t.Any]) -> dict[str, t.Any]:
        asked.append((operation_name, parameters["Key"]))
        return {"Item": {"id": {"S": "1"}, "title": {"S": "patched"}}}

    with unittest.mock.patch.object(botocore.client.BaseClient, "_make_api_call", answer):
        assert client.get("/todos/1").json == {"id": "1", "title": "patched"}

    assert client.get("/todos/after").json == {"id": "after"}
    assert asked == [("GetItem", {"id": {"S": "1"}})]
    assert [request.body["Key"]["id"]["S"] for request in stub.requests] == ["before", "after"]
