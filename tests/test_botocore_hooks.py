"""What others hook into botocore works here as anywhere."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

import botocore.awsrequest
import moto
import pynamodb.attributes
import pytest

import dynamo_ext_async
from conftest import InApp
from stub import Answer
from stub import Stub

pytestmark = pytest.mark.anyio


class Todo(dynamo_ext_async.Model):
    class Meta:
        table_name = "todo"

    id = pynamodb.attributes.UnicodeAttribute(hash_key=True)
    photo = pynamodb.attributes.BinaryAttribute(legacy_encoding=False, null=True)


@pytest.fixture
def mocked_aws(monkeypatch: pytest.MonkeyPatch) -> t.Any:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")

    with moto.mock_aws() as mock:
        yield mock


@pytest.mark.usefixtures("mocked_aws")
async def test_mocks_of_moto_answer_in_place_of_aws(in_app: InApp) -> None:
    with in_app({"DYNAMODB_REGION": "eu-west-1"}):
        await Todo.acreate_table(wait=True)
        await Todo("1", photo=b"\x00\xff").asave()
        assert (await Todo.aget("1")).photo == b"\x00\xff"
        assert [todo.id async for todo in Todo.aquery("1")] == ["1"]

        with pytest.raises(Todo.DoesNotExist):
            await Todo.aget("2")


async def test_event_handlers_of_the_app_see_request_and_reply(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    seen: list[t.Any] = []

    def before_send(request: t.Any, **event: t.Any) -> None:
        seen.append(request.headers["X-Amz-Target"])
        request.headers["X-Of-The-App"] = "yes"

    def after_call(parsed: dict[str, t.Any], **event: t.Any) -> None:
        seen.append((parsed["Item"], parsed["ResponseMetadata"]["HTTPStatusCode"]))

    with in_app(stub_config) as db:
        events = db.connection.client.meta.events
        events.register("before-send.dynamodb", before_send)
        events.register("after-call.dynamodb.GetItem", after_call)
        await Todo.aget("1")

    assert seen == [b"DynamoDB_20120810.GetItem", ({"id": {"S": "1"}}, 200)]
    assert stub.requests[-1].header("X-Of-The-App") == "yes"


async def test_event_handlers_of_the_app_may_keep_a_reply(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    ids = [str(number) for number in range(20)]
    items = [{"id": {"S": number}} for number in ids]
    page = {"Count": 20, "ScannedCount": 20, "Items": items}
    batch = {"Responses": {"todo": items}, "UnprocessedKeys": {}}
    kept: list[t.Any] = []

    def after_call(parsed: dict[str, t.Any], **event: t.Any) -> None:
        kept.append(parsed.get("Items") or parsed["Responses"]["todo"])

    with in_app({**stub_config, "DYNAMODB_TABLE_NAME_PREFIX": ""}) as db:
        db.connection.client.meta.events.register("after-call.dynamodb", after_call)
        stub.next("Query", Answer(body=page))
        assert [todo.id async for todo in Todo.aquery("1", limit=15)] == ids[:15]
        stub.next("BatchGetItem", Answer(body=batch))
        assert [todo.id async for todo in Todo.abatch_get(ids)] == ids

    assert kept == [items, items]


async def test_event_handlers_of_the_app_may_answer_themselves(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    class Raw:
        def stream(self, *args: t.Any, **kwargs: t.Any) -> cabc.Iterator[bytes]:
            yield b'{"Item": {"id": {"S": "of the app"}}}'

    def before_send(request: t.Any, **event: t.Any) -> t.Any:
        make_response = t.cast(t.Any, botocore.awsrequest.AWSResponse)
        return make_response(request.url, 200, {}, Raw())

    with in_app(stub_config) as db:
        handler = t.cast("cabc.Callable[..., None]", before_send)
        db.connection.client.meta.events.register("before-send.dynamodb", handler)
        assert (await Todo.aget("1")).id == "of the app"

    assert stub.operations == []
