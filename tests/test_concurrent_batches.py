"""Batches with several requests in flight, where that is asked for.

Nothing is lost, nothing is sent twice, and the order of the writes of one key stays.
"""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import random
import threading
import time
import typing as t

import anyio
import pynamodb.models
import pytest
import quart
from pynamodb import constants
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import GetError
from pynamodb.exceptions import PutError
from quart_trio import QuartTrio

import stub as stubs
from conftest import InApp
from dynamo_ext_async import Model
from dynamo_ext_async import PynamoDB
from dynamo_ext_async import UnprocessedItems
from dynamo_ext_async import UnprocessedKeys
from dynamo_ext_async import get_recorded_calls
from stub import Answer
from stub import Request
from stub import Stub
from waiting import answer_one_by_one
from waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.wire]

REFUSED = stubs.error(400, "ValidationException")
Batch = t.Any
ITEMS = 250
KEYS = [("a", number) for number in range(ITEMS)]


class Item(Model):
    class Meta:
        table_name = "item"

    id = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(range_key=True)
    text = UnicodeAttribute(null=True)


def item(number: int, text: str | None = None) -> Item:
    return Item("a", number, text=text)


@pytest.fixture
def config(stub_config: dict[str, t.Any]) -> dict[str, t.Any]:
    """Settings with which nothing waits between two attempts."""
    return {**stub_config, "DYNAMODB_BASE_BACKOFF_MS": 0, "DYNAMODB_MAX_RETRY_ATTEMPTS": 0}


@pytest.fixture(autouse=True)
def let_go(stub: Stub) -> cabc.Iterator[None]:
    yield
    stub.release()


def numbers(request: Request) -> set[int]:
    """The numbers of the items that a request writes."""
    (operations,) = request.body["RequestItems"].values()
    return {*map(number_of, operations)}


def number_of(operation: dict[str, t.Any]) -> int:
    put = operation.get("PutRequest")
    key = put["Item"] if put else operation["DeleteRequest"]["Key"]
    return int(key["number"]["N"])


def left(batch: Batch) -> set[int]:
    """The numbers of the items that a batch says are not acknowledged. None is there twice."""
    found = [int(each["item"].number) for each in batch.pending_operations]
    found += map(number_of, batch.failed_operations)
    assert len(found) == len(set(found))
    return set(found)


async def filled(count: int, *, max_concurrency: int = 4) -> Batch:
    """A batch that is to be written."""
    batch = Item.abatch_write().with_options(max_concurrency=max_concurrency)

    for number in range(count):
        await batch.save(item(number))

    return batch


def held_if(condition: cabc.Callable[[Request], bool], answer: Answer) -> stubs.Behaviour:
    """An answer to the requests of which something is true; all others are held."""
    return lambda request: answer if condition(request) else stubs.HOLD


def after(count: int, stub: Stub, behaviour: stubs.Behaviour) -> stubs.Behaviour:
    """The same, but not before so many requests have arrived: after an error no other begins."""

    def wait(request: Request) -> Answer:
        stub.wait_for(lambda: len(stub.requests) >= count)
        return stubs._answer(behaviour, request)

    return wait


@pytest.mark.parametrize(
    ("max_concurrency", "slots", "at_once"), [(4, 10, 4), (8, 3, 3), (1, 10, 1)]
)
async def test_so_many_requests_are_in_flight(
    max_concurrency: int,
    slots: int,
    at_once: int,
    in_app: InApp,
    config: dict[str, t.Any],
    stub: Stub,
) -> None:
    stub.always("BatchWriteItem", stubs.HOLD)

    async def write() -> None:
        async with Item.abatch_write().with_options(max_concurrency=max_concurrency) as batch:
            for number in range(25 * 4):
                await batch.save(item(number))

        assert left(batch) == set()

    with in_app(config, DYNAMODB_MAX_POOL_CONNECTIONS=slots) as db:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            await until(lambda: stub.holding == at_once)
            assert db.pool.waiting == 0

            if at_once == 3:
                # It holds as many items as three requests take, and then the rest.
                await answer_one_by_one(stub, 3, at_once=3)
                await answer_one_by_one(stub, 1, at_once=1)
            else:
                await answer_one_by_one(stub, 4, at_once=at_once)

    assert stub.peak_in_flight == at_once
    assert sorted(number for each in stub.requests for number in numbers(each)) == [*range(100)]


async def test_one_request_after_the_other_is_what_happens_unasked(
    in_app: InApp, config: dict[str, t.Any], stub: Stub
) -> None:
    with in_app(config):
        async with Item.abatch_write() as batch:
            for number in range(60):
                await batch.save(item(number))

        assert [len(numbers(request)) for request in stub.requests] == [25, 25, 10]
        stub.always("BatchGetItem", Answer(body={}))
        assert [
            each async for each in Item.abatch_get([("a", number) for number in range(250)])
        ] == []

    assert stub.peak_in_flight == 1


async def error_of(
    batch: Batch, *, when: cabc.Callable[[], bool], then: cabc.Callable[[], object]
) -> PutError:
    """The error of a commit, in the middle of which something happens."""

    async def wait() -> None:
        await until(when)
        then()

    errors: list[PutError] = []

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)

        with pytest.raises(PutError) as raised:
            await batch.commit()

        errors.append(raised.value)

    (error,) = errors
    return error


def writers() -> int:
    """How many tasks of a commit have not ended."""
    return len([task for task in anyio.get_running_tasks() if "_write_some" in str(task.name)])


def written_by(requests: cabc.Iterable[Request]) -> list[int]:
    return sorted(number for request in requests for number in numbers(request))


async def test_of_those_in_flight_one_fails(
    in_app: InApp, config: dict[str, t.Any], stub: Stub
) -> None:
    """The others are waited for, no further one begins, and only what was not written is sent by
    the next commit."""
    stub.always(
        "BatchWriteItem", after(3, stub, held_if(lambda request: 0 in numbers(request), REFUSED))
    )
    everything = {*range(75), *range(100, 110)}

    with in_app(config) as db:
        batch = await filled(75, max_concurrency=3)
        # More than three requests take, as after an earlier commit in vain.
        batch.failed_operations.extend(
            {"DeleteRequest": {"Key": {"id": {"S": "a"}, "number": {"N": str(number)}}}}
            for number in range(100, 110)
        )
        error = await error_of(
            batch, when=lambda: stub.holding == 2 and writers() == 2, then=stub.release
        )
        assert "ValidationException" in str(error)
        assert db.pool.in_use == 0
        assert len(stub.requests) == 3
        written = written_by(each for each in stub.requests if 0 not in numbers(each))
        assert left(batch) == everything - {*written}

        stub.forget()
        stub.always("BatchWriteItem", Answer())
        await batch.commit()
        assert left(batch) == set()

    assert written_by(stub.requests) == sorted(everything - {*written})


async def test_an_error_says_if_any_outcome_is_unknown(
    in_app: InApp, config: dict[str, t.Any], stub: Stub
) -> None:
    """The first one to fail was refused, and the answer to the other one is lost."""
    stub.always(
        "BatchWriteItem",
        after(
            2,
            stub,
            lambda request: REFUSED if 0 in numbers(request) else Answer(hold=True, drop=True),
        ),
    )

    with in_app(config):
        batch = await filled(50)
        error = await error_of(
            batch, when=lambda: stub.holding == 1 and writers() == 1, then=stub.release
        )
        assert t.cast(t.Any, error).outcome_unknown
        assert left(batch) == {*range(50)}


async def test_what_several_requests_leave_unprocessed_is_on_one_error(
    in_app: InApp, config: dict[str, t.Any], stub: Stub
) -> None:
    stub.always("BatchWriteItem", after(3, stub, stubs.unprocessed))

    with in_app(config):
        batch = await filled(60)

        with pytest.raises(UnprocessedItems) as raised:
            await batch.commit()

        assert {*map(number_of, raised.value.unprocessed_items)} == {*range(60)}
        assert batch.pending_operations == []
        assert left(batch) == {*range(60)}
        stub.forget()
        stub.always("BatchWriteItem", Answer())
        await batch.commit()
        assert left(batch) == set()

    assert written_by(stub.requests) == [*range(60)]


async def cancel_when(
    condition: cabc.Callable[[], bool], work: cabc.Callable[[], cabc.Coroutine[t.Any, t.Any, t.Any]]
) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        await until(condition)
        tasks.cancel_scope.cancel()


async def test_a_commit_is_cancelled_while_several_requests_are_in_flight(
    in_app: InApp, config: dict[str, t.Any], stub: Stub
) -> None:
    """They run to their ends, and are waited for without a slot; the one that is queued for a slot
    is never sent."""
    stub.always("BatchWriteItem", stubs.HOLD)

    with in_app(config, DYNAMODB_MAX_POOL_CONNECTIONS=3) as db:
        slot = db.pool.acquire(timeout=1)
        batch = await filled(75, max_concurrency=3)
        await cancel_when(lambda: stub.holding == 2 and db.pool.waiting == 1, batch.commit)
        slot.release()
        assert left(batch) == {*range(75)}
        assert db.pool.in_use == 2
        batch.pending_operations.append({"action": constants.PUT, "item": item(200)})
        stub.always("BatchWriteItem", Answer())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(batch.commit)
            await anyio.wait_all_tasks_blocked()
            assert (len(stub.requests), db.pool.in_use, db.pool.waiting) == (2, 2, 0)
            stub.release()

        assert left(batch) == set()

    # Nothing was sent twice.
    assert written_by(stub.requests) == [*range(75), 200]


async def test_a_commit_is_cancelled_between_two_rounds(
    in_app: InApp, config: dict[str, t.Any], stub: Stub
) -> None:
    """It waits without slots."""
    random.seed(3)
    stub.next("BatchWriteItem", *3 * [stubs.unprocessed])

    with in_app(config, DYNAMODB_BASE_BACKOFF_MS=10**6) as db:
        batch = await filled(75)
        await cancel_when(lambda: stub.answers == 3 and db.pool.in_use == 0, batch.commit)
        assert left(batch) == {*range(75)}
        await batch.commit()
        assert left(batch) == set()

    assert len(stub.requests) == 6


class Table:
    """A stub's table that takes its time, writes what it likes of each batch, and may lose its
    answers.

    :param seed: What it does follows from it.
    """

    def __init__(self, seed: int) -> None:
        self.items: dict[int, str | None] = {}
        self.most_in_flight = 0
        self._in_flight: list[set[int]] = []
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Answer:
        ((table, part),) = request.body["RequestItems"].items()
        keys = numbers(request)
        assert len(keys) == len(part) <= 25

        with self._lock:
            assert not any(keys & other for other in self._in_flight), "two writes of one key"
            self._in_flight.append(keys)
            self.most_in_flight = max(self.most_in_flight, len(self._in_flight))
            kind = self._random.random()
            chosen = part if kind > 0.4 else part[: self._random.randrange(25)]
            seconds = self._random.random() * 0.005

        time.sleep(seconds)

        with self._lock:
            self._in_flight.remove(keys)

            if kind < 0.1:
                return REFUSED

            for each in chosen:
                put = each.get("PutRequest")
                self.items[number_of(each)] = put["Item"]["text"]["S"] if put else None

        if kind < 0.2:
            return stubs.DROP

        rest = part[len(chosen) :]
        return Answer(body={"UnprocessedItems": {table: rest} if rest else {}})


@pytest.mark.parametrize("seed", range(2))
async def test_whatever_fails_nothing_is_lost_and_the_last_write_of_a_key_wins(
    seed: int, in_app: InApp, config: dict[str, t.Any], stub: Stub
) -> None:
    table, chance = Table(seed), random.Random(seed)
    stub.always("BatchWriteItem", table)
    expected: dict[int, str | None] = {}

    with in_app(config):
        batch = Item.abatch_write().with_options(max_concurrency=4)

        for number in range(400):
            # Near each other, so that a key is written by several requests.
            each = item(number // 2 - chance.randrange(80), f"v{number}")
            is_save = chance.random() < 0.7

            while True:
                # A task may be cancelled at any time.
                with contextlib.suppress(PutError), anyio.move_on_after(chance.choice([0.004, 9])):
                    await (batch.save if is_save else batch.delete)(each)
                    break

            expected[int(each.number)] = each.text if is_save else None

        while batch.pending_operations or batch.failed_operations:
            with contextlib.suppress(PutError), anyio.move_on_after(chance.choice([0.004, 9])):
                await batch.commit()

    assert table.items == expected
    assert 1 < table.most_in_flight <= 4


async def test_a_put_and_a_delete_of_one_key_stay_in_order(
    in_app: InApp, config: dict[str, t.Any], stub: Stub
) -> None:
    """The put is on the wire when its task is cancelled: the delete is held back."""
    stub.next("BatchWriteItem", stubs.HOLD, stubs.HOLD)

    with in_app(config):
        batch = await filled(50)
        await cancel_when(lambda: stub.holding == 2, batch.commit)
        await batch.delete(item(7))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(batch.commit)
            await anyio.wait_all_tasks_blocked()
            assert len(stub.requests) == 2
            stub.release()

        assert left_of(batch) == 0

    assert len(stub.requests) == 3
    ((deleted,),) = stub.requests[2].body["RequestItems"].values()
    assert deleted["DeleteRequest"]["Key"]["number"] == {"N": "7"}


def left_of(batch: Batch) -> int:
    return len(batch.pending_operations) + len(batch.failed_operations)


WRONG = [("4", TypeError), (None, TypeError), (True, TypeError), (2.0, TypeError)]
TOO_SMALL = [(0, ValueError), (-1, ValueError)]


@pytest.mark.parametrize(("number", "error"), [*WRONG, *TOO_SMALL], ids=repr)
@pytest.mark.parametrize("what", ["write", "get"])
def test_a_wrong_number_is_named(
    what: str, number: t.Any, error: type[Exception], in_app: InApp, config: dict[str, t.Any]
) -> None:
    with in_app(config), pytest.raises(error, match=rf"'max_concurrency' must be.*{number!r}"):
        batch = Item.abatch_write() if what == "write" else Item.abatch_get([("a", 1)])
        batch.with_options(max_concurrency=number)


class Overriding(Item):
    class Meta:
        table_name = "overriding"

    @classmethod
    def batch_write(cls, auto_commit: bool = True) -> t.Any:
        return pynamodb.models.BatchWrite(cls, auto_commit)


def test_what_writes_one_request_after_the_other_says_so(
    in_app: InApp, config: dict[str, t.Any]
) -> None:
    with in_app(config):
        with pytest.raises(ValueError, match="'max_concurrency' needs 'auto_commit'"):
            Item.abatch_write(auto_commit=False).with_options(max_concurrency=2)

        with pytest.raises(ValueError, match="override of 'batch_write'"):
            Overriding.abatch_write().with_options(max_concurrency=2)

        for batch in (Item.abatch_write(auto_commit=False), Overriding.abatch_write()):
            assert batch.with_options(max_concurrency=1) is batch


async def test_calls_are_recorded_where_the_app_awaits_them(
    config: dict[str, t.Any], stub: Stub, anyio_backend: tuple[str, dict[str, t.Any]]
) -> None:
    app = (QuartTrio if anyio_backend[0] == "trio" else quart.Quart)(__name__)
    app.config.from_mapping(config, DYNAMODB_RECORD_CALLS=True)
    PynamoDB(app)

    async def write_and_read() -> None:
        batch = await filled(50)
        await batch.commit()
        stub.always("BatchGetItem", Answer(body={}))
        keys = KEYS[:150]
        assert [each async for each in Item.abatch_get(keys).with_options(max_concurrency=2)] == []

    @app.get("/")
    async def handle() -> dict[str, t.Any]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write_and_read)

        places = [call.location for call in get_recorded_calls()]
        return {"functions": [place.function for place in places if place is not None]}

    async with app.app_context():
        response = await app.test_client().get("/")
        found = (await response.get_json())["functions"]

    assert [name.rpartition(".")[2] for name in found] == ["write_and_read"] * 4


def got_by(request: Request) -> set[int]:
    (part,) = request.body["RequestItems"].values()
    return {int(key["number"]["N"]) for key in part["Keys"]}


def all_of_them(request: Request) -> Answer:
    """Every item is there."""
    ((table, part),) = request.body["RequestItems"].items()
    return Answer(body={"Responses": {table: part["Keys"]}, "UnprocessedKeys": {}})


@pytest.mark.parametrize(
    ("max_concurrency", "slots", "at_once"), [(2, 10, 2), (5, 2, 2), (8, 10, 3), (1, 10, 1)]
)
async def test_so_many_pages_are_in_flight(
    max_concurrency: int,
    slots: int,
    at_once: int,
    in_app: InApp,
    config: dict[str, t.Any],
    stub: Stub,
) -> None:
    stub.always("BatchGetItem", stubs.held(all_of_them))
    found: list[int] = []

    with in_app(config, DYNAMODB_MAX_POOL_CONNECTIONS=slots):
        items = Item.abatch_get(KEYS).with_options(max_concurrency=max_concurrency)

        async def read() -> None:
            found.extend([int(each.number) async for each in items])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await until(lambda: stub.holding == at_once)
            stub.always("BatchGetItem", all_of_them)
            stub.release()

        assert items.total_count == ITEMS

    assert sorted(found) == [*range(ITEMS)]
    assert stub.peak_in_flight == at_once
    assert len(stub.requests) == 3


async def test_items_come_as_their_pages_arrive(
    in_app: InApp, config: dict[str, t.Any], stub: Stub
) -> None:
    stub.always(
        "BatchGetItem",
        lambda request: (
            stubs.held(all_of_them)(request)  # type: ignore[operator]
            if 0 in got_by(request)
            else all_of_them(request)
        ),
    )

    with in_app(config):
        items = Item.abatch_get(KEYS).with_options(max_concurrency=2)
        early = [int((await anext(items)).number) for _ in range(150)]
        assert sorted(early) == [*range(100, ITEMS)]
        # It may be the last one to be sent.
        await until(lambda: stub.holding == 1)
        stub.release()
        assert sorted([int(each.number) async for each in items]) == [*range(100)]


async def test_keys_that_are_left_unprocessed_are_asked_for_again(
    in_app: InApp, config: dict[str, t.Any], stub: Stub
) -> None:
    stub.next("BatchGetItem", *3 * [stubs.unprocessed])
    stub.always("BatchGetItem", all_of_them)

    with in_app(config):
        items = Item.abatch_get(KEYS).with_options(max_concurrency=3)
        assert sorted([int(each.number) async for each in items]) == [*range(ITEMS)]
        assert len(stub.requests) == 6

        stub.always("BatchGetItem", stubs.unprocessed)

        with pytest.raises(UnprocessedKeys):
            await anext(Item.abatch_get(KEYS).with_options(max_concurrency=3))


async def test_an_error_ends_the_iteration(
    in_app: InApp, config: dict[str, t.Any], stub: Stub
) -> None:
    stub.always("BatchGetItem", after(2, stub, REFUSED))

    with in_app(config) as db:
        items = Item.abatch_get(KEYS).with_options(max_concurrency=2)

        with pytest.raises(GetError, match="ValidationException"):
            await anext(items)

        assert [each async for each in items] == []
        await until(lambda: db.pool.in_use == 0)
        assert len(stub.requests) == 2


async def test_a_closed_iterator_asks_for_nothing_more(
    in_app: InApp, config: dict[str, t.Any], stub: Stub
) -> None:
    stub.always("BatchGetItem", all_of_them)

    with in_app(config) as db:
        items = Item.abatch_get(KEYS).with_options(max_concurrency=2)
        await anext(items)

        with pytest.raises(ValueError, match="asked for already"):
            items.with_options(max_concurrency=3)

        await items.aclose()
        assert [each async for each in items] == []
        await until(lambda: db.pool.in_use == 0)
        assert len(stub.requests) <= 2

        items = Item.abatch_get(KEYS).with_options(max_concurrency=2)
        await items.aclose()
        assert [each async for each in items] == []
