"""Tests of the Quart app with pytest-asyncio in its mode ``auto``: nothing is marked."""

from __future__ import annotations

import pytest
import quart

from dynamo_ext.testing import DynamoDB

from .app import Todo
from .app import create_api


@pytest.fixture
async def saved(dynamodb: DynamoDB) -> quart.Quart:
    api = create_api({"TESTING": True, "DYNAMODB_BLOCKING_CALLS": "raise", **dynamodb.config})
    dynamodb.create_tables(api)

    async with api.app_context():
        await Todo("1", title="x").asave()

    return api


@pytest.mark.parametrize("attempts", [2, 3])
async def test_request_in_auto_mode(saved: quart.Quart, dynamodb: DynamoDB, attempts: int) -> None:
    dynamodb.lose_response("Scan", times=attempts - 1)
    assert await (await saved.test_client().get("/todos")).get_json() == {"1": "x"}
    assert [call.operation for call in dynamodb.calls] == ["PutItem", *["Scan"] * attempts]
