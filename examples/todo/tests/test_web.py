"""The page, in Flask's test client."""

from __future__ import annotations

import flask
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from dynamo_ext.testing import DynamoDB
from examples.todo.models import Todo


@pytest.fixture
def client(web_app: flask.Flask) -> FlaskClient:
    client = web_app.test_client()

    with client.session_transaction() as session:
        session["csrf_token"] = "token"

    return client


def submit(client: FlaskClient, path: str, **fields: str) -> TestResponse:
    return client.post(path, data={"csrf_token": "token", **fields})


def save_todos(app: flask.Flask, count: int) -> list[Todo]:
    todos = [Todo(title=f"To-do {number}.") for number in range(count)]

    with app.app_context(), Todo.batch_write() as batch:
        for todo in todos:
            batch.save(todo)

    return todos


def test_page_shows_what_was_added(client: FlaskClient, dynamodb: DynamoDB) -> None:
    assert submit(client, "/", title="Buy milk").status_code == 303
    assert "Buy milk" in client.get("/").text
    assert [call.operation for call in dynamodb.calls] == ["PutItem", "Query"]


def test_throttled_write_is_sent_again(client: FlaskClient, dynamodb: DynamoDB) -> None:
    dynamodb.fail("PutItem")
    assert submit(client, "/", title="Buy milk").status_code == 303
    assert [call.attempt for call in dynamodb.calls] == [1, 2]


def test_failed_write_is_shown_as_an_error(client: FlaskClient, dynamodb: DynamoDB) -> None:
    # As often as it is tried.
    dynamodb.fail("PutItem", error="InternalServerError", times=100)
    assert submit(client, "/", title="Buy milk").status_code == 500
    assert "Buy milk" not in client.get("/").text


def test_change_of_someone_else_is_shown(
    web_app: flask.Flask, client: FlaskClient, dynamodb: DynamoDB
) -> None:
    (todo,) = save_todos(web_app, 1)
    dynamodb.fail("UpdateItem", error="ConditionalCheckFailedException")
    response = submit(client, f"/{todo.id}/done", done="yes")
    assert response.status_code == 409
    assert "Someone has just changed this to-do" in response.text


def test_change_whose_answer_was_lost_is_no_conflict(
    web_app: flask.Flask, client: FlaskClient, dynamodb: DynamoDB
) -> None:
    (todo,) = save_todos(web_app, 1)
    dynamodb.lose_response("UpdateItem")
    assert submit(client, f"/{todo.id}/done", done="yes").status_code == 303

    with web_app.app_context():
        todo.refresh()

    assert todo.done


def test_pages_have_twenty_to_dos(
    web_app: flask.Flask, client: FlaskClient, dynamodb: DynamoDB
) -> None:
    # Two to-dos of the batch are sent again.
    dynamodb.unprocessed(count=2)
    save_todos(web_app, 22)
    dynamodb.calls.clear()
    page = client.get("/").text
    assert "To-do 21." in page
    assert "To-do 1." not in page
    assert [call.operation for call in dynamodb.calls] == ["Query"]
