"""Batches on real engines, and what becomes of what a server leaves unprocessed."""

from __future__ import annotations

import collections.abc as cabc
import random
import time
import typing as t

import pytest
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import AttributeDeserializationError
from pynamodb.exceptions import GetError
from pynamodb.exceptions import PutError

import dynamo_ext_async
from conftest import InApp
from dynamo_ext import Model
from dynamo_ext import UnprocessedItems
from dynamo_ext import UnprocessedKeys
from stub import Answer
from stub import Request
from stub import Stub
from stub import error
from stub import unprocessed

pytestmark = pytest.mark.wire


class Todo(Model):
    class Meta:
        table_name = "todo"

    id = UnicodeAttribute(hash_key=True)


class Awaited(dynamo_ext_async.Model):
    class Meta:
        table_name = "awaited"

    id = UnicodeAttribute(hash_key=True)


class Line(Model):
    class Meta:
        table_name = "line"

    page = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(range_key=True)


def ids(numbers: cabc.Iterable[int]) -> list[str]:
    return [f"{number:03}" for number in numbers]


def written(request: Request) -> list[str]:
    """What the items of a BatchWriteItem are called, those to delete with a minus."""
    (operations,) = request.body["RequestItems"].values()
    return [
        operation["PutRequest"]["Item"]["id"]["S"]
        if "PutRequest" in operation
        else "-" + operation["DeleteRequest"]["Key"]["id"]["S"]
        for operation in operations
    ]


def asked_for(request: Request) -> list[str]:
    """What the items of a BatchGetItem are called."""
    (part,) = request.body["RequestItems"].values()
    return [key["id"]["S"] for key in part["Keys"]]


def all_but(done: int) -> cabc.Callable[[Request], Answer]:
    """So many items of a batch are done, the others are not."""

    def answer(request: Request) -> Answer:
        ((table, part),) = request.body["RequestItems"].items()

        if request.operation == "BatchWriteItem":
            return Answer(body={"UnprocessedItems": {table: part[done:]} if part[done:] else {}})

        left = {**part, "Keys": part["Keys"][done:]}
        return Answer(
            body={
                "Responses": {table: part["Keys"][:done]},
                "UnprocessedKeys": {table: left} if left["Keys"] else {},
            }
        )

    return answer


@pytest.fixture
def impatient(stub_config: dict[str, t.Any]) -> dict[str, t.Any]:
    """Settings with which nothing waits between two attempts."""
    return {**stub_config, "DYNAMODB_BASE_BACKOFF_MS": 0}


def test_many_items_are_written_read_and_deleted(in_app: InApp, config: dict[str, t.Any]) -> None:
    with in_app(config):
        Todo.create_table(wait=True)

        with Todo.batch_write() as batch:
            for name in ids(range(130)):
                batch.save(Todo(name))

        found = Todo.batch_get([*ids(range(130)), *ids(range(5)), "missing"])
        assert sorted(todo.id for todo in found) == ids(range(130))

        with Todo.batch_write() as batch:
            for name in ids(range(120)):
                batch.delete(Todo(name))

            batch.save(Todo("new"))

        assert sorted(todo.id for todo in Todo.scan()) == [*ids(range(120, 130)), "new"]


def test_items_with_a_range_key_are_got_by_pairs(in_app: InApp, config: dict[str, t.Any]) -> None:
    with in_app(config):
        Line.create_table(wait=True)

        with Line.batch_write() as batch:
            for number in range(3):
                batch.save(Line("a", number))

        found = Line.batch_get([("a", 0), ("a", 2), ("a", 2), ("b", 0)])
        assert sorted(line.number for line in found) == [0, 2]


def test_nothing_is_sent_for_an_empty_batch(
    in_app: InApp, impatient: dict[str, t.Any], stub: Stub
) -> None:
    with in_app(impatient):
        with Todo.batch_write():
            pass

        assert list(Todo.batch_get([])) == []

    assert not stub.requests


def test_nothing_is_sent_before_the_first_item_is_asked_for(
    in_app: InApp, impatient: dict[str, t.Any], stub: Stub
) -> None:
    with in_app(impatient):
        items = Todo.batch_get(ids(range(150)))
        assert not stub.requests

        next(items)
        assert len(stub.requests) == 1
        assert len(list(items)) == 149
        assert len(stub.requests) == 2


def test_an_item_that_can_t_be_decoded_fails_in_its_turn(
    in_app: InApp, impatient: dict[str, t.Any], stub: Stub
) -> None:
    def wrong_type(request: Request) -> Answer:
        (table,) = request.body["RequestItems"]
        return Answer(body={"Responses": {table: [{"id": {"S": "000"}}, {"id": {"N": "1"}}]}})

    stub.next("BatchGetItem", wrong_type)

    with in_app(impatient):
        items = Todo.batch_get(ids(range(2)))
        assert next(items).id == "000"

        with pytest.raises(AttributeDeserializationError):
            next(items)


@pytest.mark.parametrize("key", ["a", ("a",), ("a", 1, 2), 5], ids=repr)
def test_a_wrong_key_is_named_before_anything_is_sent(
    key: t.Any, in_app: InApp, impatient: dict[str, t.Any], stub: Stub
) -> None:
    with in_app(impatient), pytest.raises(ValueError, match="Line") as raised:
        Line.batch_get([("a", 1), key])

    assert repr(key) in str(raised.value)
    assert not stub.requests


def test_without_auto_commit_a_batch_takes_25_items(
    in_app: InApp, impatient: dict[str, t.Any], stub: Stub
) -> None:
    with in_app(impatient), Todo.batch_write(auto_commit=False) as batch:
        for name in ids(range(25)):
            batch.save(Todo(name))

        with pytest.raises(ValueError, match="25"):
            batch.save(Todo("too much"))

        assert not stub.requests

    (request,) = stub.requests
    assert written(request) == ids(range(25))


def test_an_exception_in_the_block_writes_nothing_of_what_is_pending(
    in_app: InApp, impatient: dict[str, t.Any], stub: Stub
) -> None:
    with (
        in_app(impatient),
        pytest.raises(LookupError, match="in the block"),
        Todo.batch_write() as batch,
    ):
        for name in ids(range(30)):
            batch.save(Todo(name))

        raise LookupError("in the block")

    (request,) = stub.requests
    assert written(request) == ids(range(25))


def test_a_failed_write_is_not_sent_again_at_the_end_of_the_block(
    in_app: InApp, impatient: dict[str, t.Any], stub: Stub
) -> None:
    stub.always("BatchWriteItem", error(400, "ValidationException"))

    with in_app(impatient), pytest.raises(PutError), Todo.batch_write() as batch:
        for name in ids(range(30)):
            batch.save(Todo(name))

    assert len(stub.requests) == 1


@pytest.mark.parametrize("retries", [0, 3])
def test_what_was_not_written_is_sent_again(
    retries: int, in_app: InApp, impatient: dict[str, t.Any], stub: Stub
) -> None:
    stub.next("BatchWriteItem", unprocessed, unprocessed, all_but(2))

    with in_app(impatient, DYNAMODB_MAX_RETRY_ATTEMPTS=retries), Todo.batch_write() as batch:
        batch.save(Todo("a"))
        batch.save(Todo("b"))
        batch.save(Todo("c"))
        batch.delete(Todo("d"))

    everything = ["-d", "a", "b", "c"]
    assert [written(request) for request in stub.requests] == [*[everything] * 3, ["b", "c"]]


@pytest.mark.parametrize("retries", [0, 3])
def test_what_is_never_written_is_on_the_error(
    retries: int, in_app: InApp, impatient: dict[str, t.Any], stub: Stub
) -> None:
    stub.next("BatchWriteItem", all_but(1))
    stub.always("BatchWriteItem", unprocessed)

    with in_app(impatient, DYNAMODB_MAX_RETRY_ATTEMPTS=retries) as db:
        batch = Todo.batch_write()
        batch.save(Todo("a"))
        batch.delete(Todo("b"))
        batch.delete(Todo("c"))

        with pytest.raises(UnprocessedItems, match=r"2 items were not written.*-todo") as raised:
            batch.commit()

        assert db.pool.in_use == 0

    left = [
        {"DeleteRequest": {"Key": {"id": {"S": "c"}}}},
        {"PutRequest": {"Item": {"id": {"S": "a"}}}},
    ]
    assert raised.value.unprocessed_items == left
    assert batch.failed_operations == left
    assert isinstance(raised.value, PutError)
    assert len(stub.requests) > 2


def test_a_batch_that_is_written_item_by_item_is_not_given_up(
    in_app: InApp, impatient: dict[str, t.Any], stub: Stub
) -> None:
    stub.always("BatchWriteItem", all_but(1))

    with in_app(impatient), Todo.batch_write() as batch:
        for name in ids(range(25)):
            batch.save(Todo(name))

    assert [written(request)[0] for request in stub.requests] == ids(range(25))


@pytest.mark.parametrize("retries", [0, 3])
def test_what_was_not_read_is_asked_for_again(
    retries: int, in_app: InApp, impatient: dict[str, t.Any], stub: Stub
) -> None:
    stub.next("BatchGetItem", unprocessed, unprocessed, all_but(1))

    with in_app(impatient, DYNAMODB_MAX_RETRY_ATTEMPTS=retries):
        items = Todo.batch_get(["a", "b", "c"], consistent_read=True, attributes_to_get=["id"])
        assert [item.id for item in items] == ["a", "b", "c"]

    asked = [asked_for(request) for request in stub.requests]
    assert asked == [["a", "b", "c"]] * 3 + [["b", "c"]]

    for request in stub.requests:
        (part,) = request.body["RequestItems"].values()
        assert part["ConsistentRead"] is True
        assert "#0" in part["ProjectionExpression"]


@pytest.mark.parametrize("retries", [0, 3])
def test_what_is_never_read_is_on_the_error(
    retries: int, in_app: InApp, impatient: dict[str, t.Any], stub: Stub
) -> None:
    stub.next("BatchGetItem", all_but(1))
    stub.always("BatchGetItem", unprocessed)

    with in_app(impatient, DYNAMODB_MAX_RETRY_ATTEMPTS=retries):
        items = Todo.batch_get(["a", "b", "c"])
        assert next(items).id == "a"

        with pytest.raises(UnprocessedKeys, match=r"2 items were not read.*-todo") as raised:
            next(items)

    assert raised.value.unprocessed_keys == [{"id": {"S": "b"}}, {"id": {"S": "c"}}]
    assert isinstance(raised.value, GetError)


def test_what_was_not_read_is_asked_for_again_with_what_is_left(
    in_app: InApp, impatient: dict[str, t.Any], stub: Stub
) -> None:
    stub.next("BatchGetItem", all_but(90))

    with in_app(impatient):
        found = [item.id for item in Todo.batch_get(ids(range(150)))]

    assert found == ids(range(150))
    assert [len(asked_for(request)) for request in stub.requests] == [100, 60]


class Waits:
    """The waits that full jitter draws, from a seed that makes them known."""

    BASE_MS = 40
    _SEED = 3

    def __init__(self) -> None:
        random.seed(self._SEED)
        self._start = time.monotonic()

    def assert_were_waited(self, rounds: int) -> None:
        """So many waits, which grow, have passed since. An event loop's clock is a bit coarse."""
        draws = random.Random(self._SEED)
        waits = [draws.random() * self.BASE_MS * 2**round / 1000 for round in range(1, rounds + 1)]
        assert time.monotonic() - self._start > sum(waits) - 0.01 > 0.1


def write_two() -> None:
    with Todo.batch_write() as batch:
        batch.save(Todo("a"))
        batch.save(Todo("b"))


async def write_two_awaiting() -> None:
    async with Awaited.abatch_write() as batch:
        await batch.save(Awaited("a"))
        await batch.save(Awaited("b"))


async def get_two_awaiting() -> None:
    assert [item.id async for item in Awaited.abatch_get(["a", "b"])] == ["a", "b"]


@pytest.mark.parametrize(
    ("operation", "call"),
    [
        ("BatchWriteItem", write_two),
        ("BatchGetItem", lambda: list(Todo.batch_get(["a", "b"]))),
    ],
    ids=["write", "get"],
)
def test_what_is_unprocessed_is_sent_again_after_a_wait(
    operation: str,
    call: cabc.Callable[[], object],
    in_app: InApp,
    stub_config: dict[str, t.Any],
    stub: Stub,
) -> None:
    stub.next(operation, *[unprocessed] * 3)

    with in_app(stub_config, DYNAMODB_BASE_BACKOFF_MS=Waits.BASE_MS) as db:
        # Making the client takes a while, too.
        db.connection.list_tables()
        waits = Waits()
        call()
        waits.assert_were_waited(3)

    assert stub.operations[1:] == [operation] * 4


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("operation", "call"),
    [("BatchWriteItem", write_two_awaiting), ("BatchGetItem", get_two_awaiting)],
    ids=["write", "get"],
)
async def test_what_is_unprocessed_is_sent_again_after_an_awaited_wait(
    operation: str,
    call: cabc.Callable[[], cabc.Awaitable[None]],
    in_app: InApp,
    stub_config: dict[str, t.Any],
    stub: Stub,
) -> None:
    stub.next(operation, *[unprocessed] * 3)

    with in_app(stub_config, DYNAMODB_BASE_BACKOFF_MS=Waits.BASE_MS) as db:
        # Making the client takes a while, too.
        db.connection.list_tables()
        waits = Waits()
        await call()
        waits.assert_were_waited(3)

    assert stub.operations[1:] == [operation] * 4
