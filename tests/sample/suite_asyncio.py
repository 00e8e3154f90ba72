"""Tests of the Quart app with pytest-asyncio in its mode ``strict``."""

from __future__ import annotations

import collections.abc as cabc

import pytest
import pytest_asyncio
import quart

from dynamo_ext.testing import DynamoDB

from .app import Todo
from .app import create_api

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def saved(dynamodb: DynamoDB) -> cabc.AsyncIterator[quart.Quart]:
    """The tables are created in an event loop."""
    api = create_api({"TESTING": True, "DYNAMODB_BLOCKING_CALLS": "raise", **dynamodb.config})
    dynamodb.create_tables(api)

    async with api.app_context():
        await Todo("1", title="x").asave()
        yield api
        assert await Todo.acount() == 1


async def test_request_with_pytest_asyncio(saved: quart.Quart, dynamodb: DynamoDB) -> None:
    dynamodb.fail("Scan")
    assert await (await saved.test_client().get("/todos")).get_json() == {"1": "x"}
    assert [call.status for call in dynamodb.calls] == [200, 400, 200]
