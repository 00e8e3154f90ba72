"""Tests that users write with mocks of PynamoDB's connection or of a model's methods, as PynamoDB's
own tests do."""

from __future__ import annotations

import threading
import typing as t
import unittest.mock

import pytest
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import PutError
from pynamodb.exceptions import TableError

import dynamo_ext_async
from conftest import InApp
from dynamo_ext_async import Model
from stub import Stub

API = "pynamodb.connection.Connection._make_api_call"


class Todo(Model):
    class Meta:
        table_name = "todo"
        table_name_prefix = ""

    id = UnicodeAttribute(hash_key=True)
    title = UnicodeAttribute(null=True)


class Line(Model):
    class Meta:
        table_name = "line"
        table_name_prefix = ""

    page = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(range_key=True)


@pytest.fixture(autouse=True)
def app(in_app: InApp, stub_config: dict[str, t.Any], stub: Stub) -> t.Iterator[None]:
    with in_app(stub_config, DYNAMODB_BASE_BACKOFF_MS=0, DYNAMODB_BLOCKING_CALLS="allow"):
        yield

    assert not stub.requests


@pytest.mark.anyio
async def test_a_mock_may_reply_with_nothing() -> None:
    with unittest.mock.patch(API, return_value=None) as api:
        assert Todo("1").delete() is None
        assert await Todo("1").adelete() is None

    assert [call.args[0] for call in api.call_args_list] == ["DeleteItem", "DeleteItem"]


@pytest.mark.anyio
async def test_a_mock_may_give_an_item() -> None:
    item = {"Item": {"id": {"S": "1"}, "title": {"S": "mocked"}}}

    with unittest.mock.patch(API, return_value=item):
        assert Todo.get("1").title == "mocked"
        assert (await Todo.aget("1")).title == "mocked"

    with unittest.mock.patch(API, return_value={}), pytest.raises(Todo.DoesNotExist):
        Todo.get("1")


def test_a_table_without_description_exists_but_can_not_be_waited_for() -> None:
    with unittest.mock.patch(API, return_value={}) as api:
        assert Todo.exists()
        Todo.create_table()
        assert [call.args[0] for call in api.call_args_list] == 2 * ["DescribeTable"]

        with pytest.raises(TableError, match="No TableStatus"):
            Todo.create_table(wait=True)


def test_what_a_mock_says_is_unprocessed_is_sent_again() -> None:
    """Also if it is no item of the batch."""
    foreign = {"PutRequest": {"Item": {"id": {"S": "foreign"}}}}
    replies: list[t.Any] = [{"UnprocessedItems": {"todo": [foreign]}}, {}]

    with unittest.mock.patch(API, side_effect=replies) as api, Todo.batch_write() as batch:
        batch.save(Todo("1"))

    assert api.call_args.args[1]["RequestItems"] == {"todo": [foreign]}
    assert (batch.pending_operations, batch.failed_operations) == ([], [])


def test_and_is_given_up_in_the_end() -> None:
    foreign = {"PutRequest": {"Item": {"id": {"S": "foreign"}}}}
    reply = {"UnprocessedItems": {"todo": 3 * [foreign]}}

    with (
        unittest.mock.patch(API, return_value=reply),
        pytest.raises(PutError),
        Todo.batch_write() as batch,
    ):
        batch.save(Todo("1"))

    assert batch.failed_operations == 3 * [foreign]
    assert batch.pending_operations == []


def test_a_number_of_a_batch_may_be_none() -> None:
    with unittest.mock.patch(API, return_value={}) as api, Line.batch_write() as batch:
        batch.delete(Line("a", "no number"))
        batch.delete(Line("a", "no number"))

    (request,) = api.call_args.args[1]["RequestItems"]["line"]
    assert request["DeleteRequest"]["Key"]["number"] == {"N": '"no number"'}


@pytest.mark.anyio
@pytest.mark.parametrize("base", [dynamo_ext_async.Model, Todo])
async def test_a_replaced_exists_and_connection_are_asked(base: t.Any) -> None:
    for delete in ("delete_table", "adelete_table"):
        with (
            unittest.mock.patch.object(base, "exists", side_effect=[True, True, False]) as exists,
            unittest.mock.patch.object(Todo, "_get_connection") as connection,
        ):
            result = getattr(Todo, delete)(wait=True)
            result = await result if delete.startswith("a") else result

        assert result is connection.return_value.delete_table.return_value
        assert exists.call_count == 3


def test_an_overridden_exists_tells_whether_a_table_is_created() -> None:
    class Elsewhere(Todo):
        @classmethod
        def exists(cls) -> bool:
            return True

    with unittest.mock.patch(API, return_value={}) as api:
        Elsewhere.create_table()

    assert not api.called


@pytest.mark.anyio
async def test_a_patched_dispatch_makes_the_calls() -> None:
    reply = {"Item": {"id": {"S": "1"}, "title": {"S": "patched"}}}

    with unittest.mock.patch("pynamodb.connection.Connection.dispatch", return_value=reply) as send:
        assert Todo.get("1").title == "patched"
        assert (await Todo.aget("1")).title == "patched"

    assert [call.args[0] for call in send.call_args_list] == ["GetItem", "GetItem"]


def test_a_patch_of_the_capacity_that_is_asked_for_takes_effect() -> None:
    name = "pynamodb.connection.Connection.get_consumed_capacity_map"

    with (
        unittest.mock.patch(name, return_value={"ReturnConsumedCapacity": "INDEXES"}),
        unittest.mock.patch(API, return_value={}) as api,
    ):
        Todo("1").save()

    [call] = api.call_args_list
    assert call.args[1]["ReturnConsumedCapacity"] == "INDEXES"


@pytest.mark.anyio
@pytest.mark.parametrize("method", ["dispatch", "_make_api_call"])
async def test_a_patch_of_pynamodb_s_connection_runs_in_a_thread_that_may_block(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub, method: str
) -> None:
    threads: list[str] = []

    def reply(*arguments: t.Any) -> dict[str, t.Any]:
        threads.append(threading.current_thread().name)
        return {"Item": {"id": {"S": "1"}}}

    with in_app(stub_config, DYNAMODB_TRANSPORT="direct"):
        # So that there is a client, without which no call is made in the hub.
        await Todo.aget("1")
        stub.requests.clear()

        with unittest.mock.patch(f"pynamodb.connection.Connection.{method}", side_effect=reply):
            await Todo.aget("1")

    assert len(threads) == 1
    assert "hub" not in threads[0]
