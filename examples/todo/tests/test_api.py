"""The API, in Quart's test client."""

from __future__ import annotations

import pytest
import quart

from dynamo_ext.testing import DynamoDB
from examples.todo.models import Todo

pytestmark = pytest.mark.anyio


async def test_list_has_what_was_created(api_app: quart.Quart) -> None:
    client = api_app.test_client()
    created = await client.post("/todos", json={"title": "Buy milk"})
    assert created.status_code == 201
    listed = await client.get("/todos")
    assert (await listed.get_json())["items"] == [await created.get_json()]


async def test_throttled_write_is_sent_again(api_app: quart.Quart, dynamodb: DynamoDB) -> None:
    dynamodb.fail("PutItem", times=2)
    response = await api_app.test_client().post("/todos", json={"title": "Buy milk"})
    assert response.status_code == 201
    assert [call.error for call in dynamodb.calls] == ["ThrottlingException"] * 2 + [None]


async def test_failed_write_is_answered_with_json(api_app: quart.Quart, dynamodb: DynamoDB) -> None:
    # As often as it is tried.
    dynamodb.fail("PutItem", error="InternalServerError", times=100)
    client = api_app.test_client()
    response = await client.post("/todos", json={"title": "Buy milk"})
    assert response.status_code == 500
    assert set(await response.get_json()) == {"error"}
    assert (await (await client.get("/todos")).get_json())["items"] == []


async def test_pages_follow_each_other(api_app: quart.Quart, dynamodb: DynamoDB) -> None:
    async with api_app.app_context():
        for number in range(3):
            await Todo(title=f"To-do {number}").asave()

    dynamodb.calls.clear()
    client = api_app.test_client()
    first = await (await client.get("/todos?per_page=2")).get_json()
    second = await (await client.get(first["next"])).get_json()
    assert [todo["title"] for todo in first["items"]] == ["To-do 2", "To-do 1"]
    assert [todo["title"] for todo in second["items"]] == ["To-do 0"]
    assert second["next"] is None
    assert {call.operation for call in dynamodb.calls} == {"Query"}
