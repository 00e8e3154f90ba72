"""The header ``User-Agent`` is kept, and is botocore's all the same."""

from __future__ import annotations

import typing as t

import botocore.config
import botocore.session
import pytest

from dynamo_ext.transport.user_agent import UserAgent
from stub import Stub

pytestmark = pytest.mark.once(reason="a header is built")


def user_agents(stub: Stub, session: botocore.session.Session) -> list[str | None]:
    """What a client sends with a plain call, with one of a paginator, and with a plain one."""
    session.set_credentials("key", "secret")
    session.user_agent_extra = "of-the-app/1"
    config = botocore.config.Config(user_agent_extra="more/2", retries={"mode": "standard"})
    client: t.Any = session.create_client(
        "dynamodb", "us-east-1", endpoint_url=stub.url, config=config
    )
    key = {"id": {"S": "1"}}
    first = len(stub.requests)
    client.get_item(TableName="todo", Key=key)
    list(client.get_paginator("scan").paginate(TableName="todo"))
    client.get_item(TableName="todo", Key=key)
    client.close()
    return [request.header("User-Agent") for request in stub.requests[first:]]


def test_the_header_is_botocore_s_whatever_features_a_call_uses(stub: Stub) -> None:
    expected = user_agents(stub, botocore.session.get_session())
    session = botocore.session.get_session()
    session.register_component("user_agent_creator", UserAgent.from_environment())
    assert user_agents(stub, session) == expected
    assert len(expected) == 3
    assert "more/2" in str(expected[0])
    assert expected[0] == expected[2]


def test_the_header_is_built_once_for_calls_with_the_same_features(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = botocore.session.get_session()
    session.register_component("user_agent_creator", UserAgent.from_environment())
    session.set_credentials("key", "secret")
    client: t.Any = session.create_client("dynamodb", "us-east-1", endpoint_url=stub.url)
    key = {"id": {"S": "1"}}
    client.get_item(TableName="todo", Key=key)
    # It is part of what botocore builds the header of.
    monkeypatch.setenv("AWS_EXECUTION_ENV", "later")
    client._user_agent_creator._execution_env = "later"
    client.get_item(TableName="todo", Key=key)
    client.close()
    assert "later" not in str(stub.requests[-1].header("User-Agent"))
