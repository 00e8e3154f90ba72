"""Tests of a Quart app on trio with pytest-trio."""

from __future__ import annotations

import collections.abc as cabc

import pytest
import quart

from dynamo_ext.testing import DynamoDB

from .app import Todo


@pytest.fixture
async def saved(api_on_trio: quart.Quart) -> cabc.AsyncIterator[quart.Quart]:
    async with api_on_trio.app_context():
        await Todo("1", title="x").asave()
        yield api_on_trio
        assert await Todo.acount() == 1


@pytest.mark.trio
async def test_request_with_pytest_trio(saved: quart.Quart, dynamodb: DynamoDB) -> None:
    dynamodb.fail("Scan")
    assert await (await saved.test_client().get("/todos")).get_json() == {"1": "x"}
    assert [call.status for call in dynamodb.calls] == [200, 400, 200]
