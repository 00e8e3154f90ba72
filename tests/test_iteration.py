"""Awaited queries, scans and batch gets: pages, keys, limits, sharing, breaking off."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import gc
import json
import threading
import typing as t

import anyio
import pytest
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.indexes import AllProjection
from pynamodb.indexes import GlobalSecondaryIndex
from quart import Quart
from quart_trio import QuartTrio

import stub as stubs
from dynamo_ext.concurrency import decode_lock
from dynamo_ext_async import CallTimeout
from dynamo_ext_async import Model
from dynamo_ext_async import PynamoDB
from dynamo_ext_async import UnprocessedKeys
from dynamo_ext_async.execution.slot_wait import wait_for_slot
from stub import Answer
from stub import Request
from stub import Stub
from waiting import answer_one_by_one
from waiting import until

pytestmark = pytest.mark.anyio


class Entry(Model):
    class Meta:
        table_name = "entries"

    class ByColour(GlobalSecondaryIndex["Entry"]):
        class Meta:
            projection = AllProjection()

        colour = UnicodeAttribute(hash_key=True)
        number = NumberAttribute(range_key=True)

    book = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(range_key=True)
    colour = UnicodeAttribute(null=True)
    by_colour = ByColour()


@pytest.fixture
def db() -> PynamoDB:
    return PynamoDB()


@pytest.fixture
async def context(
    db: PynamoDB,
    config: dict[str, t.Any],
    anyio_backend: object,
) -> cabc.AsyncIterator[None]:
    """An app on a real engine, with 25 entries of one book and 3 of another."""
    app = Quart(__name__)
    app.config.from_mapping(config)
    db.init_app(app)

    def fill() -> None:
        Entry.create_table(wait=True)

        with Entry.batch_write() as batch:
            for number in range(25):
                batch.save(Entry("a", number, colour="red" if number % 2 else "blue"))

            for number in range(3):
                batch.save(Entry("b", number))

    async with app.app_context():
        await db.run_sync(fill)
        yield
        await Entry.adelete_table()


@pytest.fixture
def stub_app(db: PynamoDB, stub_config: dict[str, t.Any]) -> Quart:
    app = Quart(__name__)
    app.config.from_mapping(stub_config, DYNAMODB_BASE_BACKOFF_MS=0)
    db.init_app(app)
    return app


def page(first: int, count: int, *, last: bool = False, capacity: float = 0) -> Answer:
    items = [{"book": {"S": "a"}, "number": {"N": str(first + n)}} for n in range(count)]
    body: dict[str, t.Any] = {"Items": items, "Count": count, "ScannedCount": count}

    if capacity:
        body["ConsumedCapacity"] = {"TableName": "entries", "CapacityUnits": capacity}

    return Answer(body=body if last else {**body, "LastEvaluatedKey": items[-1]})


@pytest.mark.usefixtures("context")
class TestOnRealEngines:
    async def test_a_query_gives_models_in_order(self) -> None:
        entries = [entry async for entry in Entry.aquery("a")]
        assert [entry.number for entry in entries] == list(range(25))
        assert {type(entry) for entry in entries} == {Entry}

    async def test_a_query_of_nothing_ends(self) -> None:
        entries = Entry.aquery("nothing")

        with pytest.raises(StopAsyncIteration):
            await anext(entries)

        assert (entries.last_evaluated_key, entries.total_count) == (None, 0)

    async def test_pages_make_no_difference(self) -> None:
        entries = Entry.aquery("a", page_size=4, scan_index_forward=False)
        assert [entry.number async for entry in entries] == list(range(25))[::-1]
        assert entries.total_count == 25
        assert entries.last_evaluated_key is None

    async def test_conditions_and_projections_reach_the_engine(self) -> None:
        entries = Entry.aquery(
            "a",
            Entry.number.between(3, 9),
            Entry.colour == "red",
            attributes_to_get=["number"],
            consistent_read=True,
        )
        found = [(entry.number, t.cast(t.Any, entry).colour) async for entry in entries]
        assert found == [(3, None), (5, None), (7, None), (9, None)]

    async def test_a_limit_in_mid_page_leaves_a_key_that_goes_on_from_there(self) -> None:
        first = Entry.aquery("a", limit=7, page_size=5)
        assert [entry.number async for entry in first] == list(range(7))
        rest = Entry.aquery("a", last_evaluated_key=first.last_evaluated_key)
        assert [entry.number async for entry in rest] == list(range(7, 25))

    async def test_a_limit_of_nothing_gives_nothing(self) -> None:
        assert [entry async for entry in Entry.aquery("a", limit=0, page_size=5)] == []

    async def test_it_agrees_with_pynamodb_item_by_item(self, db: PynamoDB) -> None:
        def sync() -> list[t.Any]:
            entries = Entry.query("a", limit=9, page_size=4)
            return [(entry.number, entries.last_evaluated_key) for entry in entries]

        entries = Entry.aquery("a", limit=9, page_size=4)
        found = [(entry.number, entries.last_evaluated_key) async for entry in entries]
        assert found == await db.run_sync(sync)

    async def test_an_index_of_pynamodb_s_own_class(self, db: PynamoDB) -> None:
        by_colour = t.cast(t.Any, Entry.by_colour)
        reds = by_colour.aquery("red", Entry.number > 3, limit=3)
        assert [entry.number async for entry in reds] == [5, 7, 9]
        assert isinstance(Entry.by_colour, GlobalSecondaryIndex)
        assert await by_colour.acount("red") == 12
        assert len([entry async for entry in by_colour.ascan(page_size=10)]) == 25

    async def test_a_scan_gives_every_item_once(self) -> None:
        entries = [entry async for entry in Entry.ascan(page_size=6)]
        assert sorted((entry.book, entry.number) for entry in entries) == [
            *(("a", number) for number in range(25)),
            *(("b", number) for number in range(3)),
        ]

    async def test_a_parallel_scan_gives_every_item_once(self, db: PynamoDB) -> None:
        scan = Entry.aparallel_scan(total_segments=4, page_size=3)
        entries = [entry async for entry in scan]
        assert scan.total_count == 28
        assert sorted((entry.book, entry.number) for entry in entries) == [
            *(("a", number) for number in range(25)),
            *(("b", number) for number in range(3)),
        ]
        assert len([entry async for entry in Entry.aparallel_scan(3, limit=10)]) == 10
        reds = Entry.aparallel_scan(2, Entry.colour == "red")
        assert len([entry async for entry in reds]) == 12
        # Pages that the limit has made superfluous may still be on their way.
        await until(lambda: db.pool.in_use == 0)

    async def test_counts(self) -> None:
        assert await Entry.acount("a") == 25
        assert await Entry.acount("a", Entry.number < 10, limit=4) == 10
        assert await Entry.acount("a", filter_condition=Entry.colour == "red") == 12
        assert await Entry.acount("red", index_name="by_colour") == 12
        assert await Entry.acount("a", rate_limit=10_000) == 25

        with pytest.raises(ValueError, match="hash_key must be given"):
            await Entry.acount(filter_condition=Entry.colour == "red")

    async def test_a_batch_get_gives_what_is_there(self) -> None:
        wanted = [("a", number) for number in range(60)] + [("b", 1), ("b", 1), ("c", 1)]
        batch = Entry.abatch_get(wanted)
        entries = [entry async for entry in batch]
        assert (batch.total_count, batch.last_evaluated_key) == (26, None)
        assert sorted((entry.book, entry.number) for entry in entries) == [
            *(("a", number) for number in range(25)),
            ("b", 1),
        ]
        projected = Entry.abatch_get([("a", 1)], consistent_read=True, attributes_to_get=["number"])
        found = [(entry.number, t.cast(t.Any, entry).colour) async for entry in projected]
        assert found == [(1, None)]
        assert [entry async for entry in Entry.abatch_get([])] == []


async def test_nothing_is_sent_before_the_first_item_is_asked_for(
    stub_app: Quart, stub: Stub
) -> None:
    async with stub_app.app_context():
        Entry.aquery("a")
        Entry.ascan()
        Entry.abatch_get([("a", 1)])
        Entry.aparallel_scan(4)
        await anyio.sleep(0.05)

    assert stub.requests == []


@pytest.mark.parametrize("count", [5, 20])
async def test_an_item_goes_when_it_is_decoded(
    stub_app: Quart, stub: Stub, stub_config: dict[str, t.Any], count: int
) -> None:
    # Else the garbage collector finds all items of a page beside all models of it.
    there: list[int] = []

    class Counting(UnicodeAttribute):
        def deserialize(self, value: t.Any) -> t.Any:
            found = [each for each in gc.get_objects() if type(each) is dict and "seen" in each]
            there.append(sum(type(each["seen"]) is dict for each in found))
            return value

    class Watched(Model):
        class Meta:
            table_name = "watched"

        id = UnicodeAttribute(hash_key=True)
        seen = Counting()

    ids = [*map(str, range(count))]
    name = stub_config["DYNAMODB_TABLE_NAME_PREFIX"] + "watched"
    # As text: what the stub holds is not to be counted.
    items = json.dumps([{"id": {"S": number}, "seen": {"S": "yes"}} for number in ids])
    page = f'{{"Items": {items}, "Count": {count}, "ScannedCount": {count}}}'
    batch = f'{{"Responses": {{"{name}": {items}}}, "UnprocessedKeys": {{}}}}'
    stub.next("Query", Answer(content=page.encode()))
    stub.next("BatchGetItem", Answer(content=batch.encode()))

    async with stub_app.app_context():
        assert [item.id async for item in Watched.aquery("a")] == ids
        assert [item.id async for item in Watched.abatch_get(ids)] == ids

    assert there == [*range(count, 0, -1)] * 2


async def test_no_page_is_fetched_ahead(stub_app: Quart, stub: Stub) -> None:
    stub.next("Query", page(0, 3), page(3, 3), page(6, 3, last=True))

    async with stub_app.app_context():
        entries = Entry.aquery("a")

        for sent in (1, 1, 1, 2, 2, 2, 3, 3, 3):
            await anext(entries)
            assert len(stub.requests) == sent

        with pytest.raises(StopAsyncIteration):
            await anext(entries)

    assert len(stub.requests) == 3


@pytest.mark.botocore(reason="the direct transport emits no events of botocore")
async def test_a_page_is_read_at_one_go(
    stub_app: Quart, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode_lock, "_LONGEST_WAIT_SECONDS", 20)
    monkeypatch.setattr(decode_lock, "_SECONDS_WITHOUT_PAUSE", 0)
    seen: list[int] = []

    class Watched(Entry):
        class Meta(Entry.Meta):
            pass

        @classmethod
        def from_raw_data(cls, data: dict[str, t.Any] | None) -> t.Self:
            seen.append(threading.get_ident())
            return super().from_raw_data(data)

    def after_call(**event: t.Any) -> None:
        seen.append(threading.get_ident())

    items = [{"book": {"S": "a" * 1000}, "number": {"N": str(number)}} for number in range(40)]
    stub.always("Query", Answer(body={"Items": items, "Count": 40, "ScannedCount": 40}))

    async def read() -> None:
        assert len([entry async for entry in Watched.aquery("a")]) == 40

    async with stub_app.app_context():
        events = t.cast(PynamoDB, stub_app.extensions["pynamodb"]).connection.client.meta.events
        events.register("after-call.dynamodb", after_call)

        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(read)

    assert len(seen) == 8 * 41
    assert all(len(set(seen[start : start + 41])) == 1 for start in range(0, len(seen), 41))


async def test_empty_pages_are_passed_over(stub_app: Quart, stub: Stub) -> None:
    empty = {**page(0, 0, last=True).body, "LastEvaluatedKey": {"book": {"S": "a"}}}
    stub.next("Query", Answer(body=empty), Answer(body=empty), page(0, 1, last=True))

    async with stub_app.app_context():
        assert [entry.number async for entry in Entry.aquery("a")] == [0]


async def test_breaking_off_leaves_nothing_behind(
    stub_app: Quart, stub: Stub, db: PynamoDB
) -> None:
    stub.always("Query", page(0, 3))

    async with stub_app.app_context():
        async with contextlib.aclosing(Entry.aquery("a")) as entries:
            async for entry in entries:
                if entry.number == 1:
                    break

        assert [entry async for entry in entries] == []
        assert db.pool.in_use == 0

    assert len(stub.requests) == 1


async def test_two_tasks_on_one_iterator_neither_lose_nor_repeat_items(
    stub_app: Quart, stub: Stub
) -> None:
    pages = [page(number * 3, 3, last=number == 9) for number in range(10)]
    stub.next("Query", *(stubs.delayed(0.002, each) for each in pages))
    seen: list[float] = []

    async def take(entries: cabc.AsyncIterator[Entry]) -> None:
        async for entry in entries:
            seen.append(entry.number)
            await anyio.sleep(0)

    async with stub_app.app_context():
        entries = Entry.aquery("a")

        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(take, entries)

    assert sorted(seen) == list(range(30))
    assert len(stub.requests) == 10


async def test_a_cancelled_fetch_loses_no_page(stub_app: Quart, stub: Stub) -> None:
    async with stub_app.app_context():
        stub.next("Query", page(0, 2), stubs.held(page(2, 2)), page(2, 2, last=True))
        entries = Entry.aquery("a")
        assert [(await anext(entries)).number for _ in range(2)] == [0, 1]

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anext, entries)
            await until(lambda: stub.in_flight == 1)
            tasks.cancel_scope.cancel()

        stub.release()
        await until(lambda: stub.in_flight == 0)
        assert [entry.number async for entry in entries] == [2, 3]

    starts = [request.body.get("ExclusiveStartKey", {}).get("number") for request in stub.requests]
    assert starts == [None, {"N": "1"}, {"N": "1"}]


async def test_a_cancelled_fetch_of_a_batch_loses_no_page(stub_app: Quart, stub: Stub) -> None:
    ids = [("a", number) for number in range(3)]

    def asked_for(request: Request) -> list[str]:
        (part,) = request.body["RequestItems"].values()
        return [key["number"]["N"] for key in part["Keys"]]

    def one(request: Request) -> Answer:
        ((table, part),) = request.body["RequestItems"].items()
        first, *others = part["Keys"]
        left = {table: {"Keys": others}} if others else {}
        return Answer(body={"Responses": {table: [first]}, "UnprocessedKeys": left})

    async with stub_app.app_context():
        stub.next("BatchGetItem", one, stubs.held(one))
        stub.always("BatchGetItem", one)
        entries = Entry.abatch_get(ids)
        assert (await anext(entries)).number == 0

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anext, entries)
            await until(lambda: stub.in_flight == 1)
            tasks.cancel_scope.cancel()

        stub.release()
        await until(lambda: stub.in_flight == 0)
        assert (entries.total_count, [entry.number async for entry in entries]) == (1, [1, 2])

    assert [asked_for(request) for request in stub.requests] == [
        ["0", "1", "2"],
        ["1", "2"],
        ["1", "2"],
        ["2"],
    ]


async def test_an_item_that_can_t_be_decoded_fails_in_its_turn(stub_app: Quart, stub: Stub) -> None:
    answer = page(0, 3, last=True)
    answer.body["Items"][1]["number"] = {"S": "not a number"}
    stub.next("Query", answer)

    async with stub_app.app_context():
        entries = Entry.aquery("a")
        assert (await anext(entries)).number == 0

        with pytest.raises(Exception, match="number"):
            await anext(entries)

        assert (await anext(entries)).number == 2


async def test_an_item_of_a_batch_that_can_t_be_decoded_fails_in_its_turn(
    stub_app: Quart, stub: Stub
) -> None:
    items = page(0, 3, last=True).body["Items"]
    items[1]["number"] = {"S": "not a number"}

    def found(request: Request) -> Answer:
        (table,) = request.body["RequestItems"]
        return Answer(body={"Responses": {table: items}})

    stub.next("BatchGetItem", found)

    async with stub_app.app_context():
        entries = Entry.abatch_get([("a", 0), ("a", 1), ("a", 2)])
        assert (await anext(entries)).number == 0

        with pytest.raises(Exception, match="number"):
            await anext(entries)

        assert (await anext(entries)).number == 2

    assert len(stub.requests) == 1


async def test_a_key_that_one_item_lacks_is_known_of_the_others(
    stub_app: Quart, stub: Stub
) -> None:
    answer = page(0, 3)
    del answer.body["Items"][1]["book"]
    stub.next("Query", answer)

    async with stub_app.app_context():
        entries = Entry.aquery("a")
        await anext(entries)
        assert entries.last_evaluated_key == {"book": {"S": "a"}, "number": {"N": "0"}}
        await anext(entries)

        with pytest.raises(KeyError, match="book"):
            _ = entries.last_evaluated_key


async def test_a_rate_limit_waits_on_the_loop_without_a_slot(
    db: PynamoDB, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    app = Quart(__name__)
    app.config.from_mapping(stub_config, DYNAMODB_MAX_POOL_CONNECTIONS=1)
    db.init_app(app)
    stub.always("Query", page(0, 1, capacity=1000))

    async with app.app_context():
        entries = Entry.aquery("a", rate_limit=1)
        await anext(entries)

        async with anyio.create_task_group() as tasks:
            # 1,000 units at one a second: it waits for long, and meanwhile ...
            tasks.start_soon(anext, entries)
            await anyio.wait_all_tasks_blocked()
            await Entry.aget("a", 1)
            assert (db.pool.in_use, stub.operations) == (0, ["Query", "GetItem"])
            tasks.cancel_scope.cancel()


async def test_a_rate_limit_loses_nothing(stub_app: Quart, stub: Stub) -> None:
    stub.next("Query", page(0, 2, capacity=5), page(2, 2, capacity=5), page(4, 1, last=True))

    async with stub_app.app_context():
        entries = Entry.aquery("a", rate_limit=1000)
        assert [entry.number async for entry in entries] == list(range(5))


async def test_a_rate_limit_below_zero_is_refused(stub_app: Quart) -> None:
    async with stub_app.app_context():
        with pytest.raises(ValueError, match="rate_limit must be greater than zero"):
            Entry.aquery("a", rate_limit=-1)


async def test_unprocessed_keys_are_asked_for_again(stub_app: Quart, stub: Stub) -> None:
    def half(request: Request) -> Answer:
        ((table, part),) = request.body["RequestItems"].items()
        now, later = part["Keys"][:1], part["Keys"][1:]
        left = {table: {"Keys": later}} if later else {}
        return Answer(body={"Responses": {table: now}, "UnprocessedKeys": left})

    stub.always("BatchGetItem", half)
    wanted = [("a", number) for number in range(3)]

    async with stub_app.app_context():
        assert [entry.number async for entry in Entry.abatch_get(wanted)] == [0, 1, 2]

        stub.always("BatchGetItem", stubs.unprocessed)

        with pytest.raises(UnprocessedKeys, match="3 items were not read") as info:
            await anext(Entry.abatch_get(wanted))

    assert [key["number"] for key in info.value.unprocessed_keys] == [
        {"N": "0"},
        {"N": "1"},
        {"N": "2"},
    ]


async def test_a_parallel_scan_never_exceeds_the_pool(
    db: PynamoDB, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    app = Quart(__name__)
    app.config.from_mapping(stub_config, DYNAMODB_MAX_POOL_CONNECTIONS=3)
    db.init_app(app)
    stub.always("Scan", stubs.held(page(0, 2, last=True)))

    async with app.app_context(), anyio.create_task_group() as tasks:

        async def scan() -> None:
            assert len([entry async for entry in Entry.aparallel_scan(10)]) == 20

        tasks.start_soon(scan)

        await answer_one_by_one(stub, 10, at_once=3)

    assert stub.peak_in_flight == 3
    segments = sorted(request.body["Segment"] for request in stub.requests)
    assert segments == list(range(10))


async def test_a_parallel_scan_gives_what_has_arrived_while_others_are_slow(
    stub_app: Quart, stub: Stub
) -> None:
    def answer(request: Request) -> Answer:
        slow = request.body["Segment"] == 1
        reply = page(100 if slow else 0, 2, last=True)
        return Answer(body=reply.body, hold=slow)

    stub.always("Scan", answer)

    async with stub_app.app_context():
        entries = Entry.aparallel_scan(2)
        assert [(await anext(entries)).number for _ in range(2)] == [0, 1]
        await until(lambda: stub.in_flight == 1)
        stub.release()
        assert [entry.number async for entry in entries] == [100, 101]


async def test_a_cancelled_parallel_scan_sends_nothing_more(
    db: PynamoDB, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    app = Quart(__name__)
    app.config.from_mapping(stub_config, DYNAMODB_MAX_POOL_CONNECTIONS=2)
    db.init_app(app)
    stub.always("Scan", stubs.held(page(0, 2)))

    async with app.app_context():
        entries = Entry.aparallel_scan(6)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anext, entries)
            await until(lambda: stub.in_flight == 2)
            tasks.cancel_scope.cancel()

        stub.release()
        await until(lambda: db.pool.in_use == 0)
        assert [entry async for entry in entries] == []

    assert len(stub.requests) == 2


async def test_a_failing_segment_ends_a_parallel_scan(
    stub_app: Quart, stub: Stub, db: PynamoDB
) -> None:
    stub.always("Scan", stubs.error(400, "ValidationException", "no such segment"))

    async with stub_app.app_context():
        with pytest.raises(Exception, match="no such segment"):
            await anext(Entry.aparallel_scan(3))

        await until(lambda: db.pool.in_use == 0)


async def test_a_queued_parallel_scan_ends_with_the_time_of_its_call(
    db: PynamoDB, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    app = Quart(__name__)
    app.config.from_mapping(
        stub_config, DYNAMODB_MAX_POOL_CONNECTIONS=1, DYNAMODB_CALL_TIMEOUT_SECONDS=0.05
    )
    db.init_app(app)

    async with app.app_context():
        slot = await wait_for_slot(db.pool, 1)

        with pytest.raises(CallTimeout):
            await anext(Entry.aparallel_scan(2))

        slot.release()
        await until(lambda: (db.pool.in_use, db.pool.waiting) == (0, 0))

    assert stub.requests == []


async def test_an_app_that_stops_waits_for_a_parallel_scan(
    db: PynamoDB, stub: Stub, stub_config: dict[str, t.Any], anyio_backend: tuple[str, t.Any]
) -> None:
    app = QuartTrio(__name__) if anyio_backend[0] == "trio" else Quart(__name__)
    app.config.from_mapping(stub_config)
    db.init_app(app)
    stub.always("Scan", stubs.held(page(0, 2, last=True)))

    async def scan() -> None:
        async with app.app_context():
            assert len([entry async for entry in Entry.aparallel_scan(2)]) == 4

    async def answer_later() -> None:
        # The app stops meanwhile.
        await anyio.sleep(0.3)
        stub.release()

    async with anyio.create_task_group() as tasks:
        async with app.test_app():
            tasks.start_soon(scan)
            await until(lambda: stub.in_flight == 2)
            tasks.start_soon(answer_later)

        assert stub.in_flight == 0


@pytest.mark.parametrize("segments", [0, -1, 1_000_001])
async def test_a_wrong_number_of_segments_is_refused(stub_app: Quart, segments: int) -> None:
    async with stub_app.app_context():
        with pytest.raises(ValueError, match="total_segments must be from 1 to 1,000,000"):
            Entry.aparallel_scan(segments)
