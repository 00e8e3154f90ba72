"""Tests of the Quart app."""

from __future__ import annotations

import pytest
import quart

from dynamo_ext.testing import DynamoDB

from .app import Todo
from .app import create_api

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_request(api: quart.Quart, dynamodb: DynamoDB) -> None:
    dynamodb.fail("PutItem", error="InternalServerError")
    client = api.test_client()
    assert (await client.put("/todos/1", data="x")).status_code == 200
    assert await (await client.get("/todos")).get_json() == {"1": "x"}
    assert [call.status for call in dynamodb.calls] == [500, 200, 200]


async def test_time_limit(dynamodb: DynamoDB) -> None:
    api = create_api({**dynamodb.config, "DYNAMODB_CALL_TIMEOUT_SECONDS": 0.5})
    dynamodb.create_tables(api)
    dynamodb.delay(60, "PutItem")
    response = await api.test_client().put("/todos/1", data="x")
    assert response.status_code == 503


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_task(api: quart.Quart, dynamodb: DynamoDB, anyio_backend: str) -> None:
    dynamodb.lose_response("GetItem")

    async with api.app_context():
        await Todo("1", title="x").asave()
        assert (await Todo.aget("1")).title == "x"

    assert [call.operation for call in dynamodb.calls] == ["PutItem", "GetItem", "GetItem"]
