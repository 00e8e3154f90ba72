"""Awaited pages: the same as the blocking ones, on each event loop."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

import anyio
import pytest
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.indexes import AllProjection
from quart import Quart

import stub as stubs
from dynamo_ext_async import GlobalSecondaryIndex
from dynamo_ext_async import InvalidCursor
from dynamo_ext_async import Model
from dynamo_ext_async import Page
from dynamo_ext_async import PynamoDB
from stub import Answer
from stub import Stub
from waiting import until

pytestmark = pytest.mark.anyio

SECRET = {"SECRET_KEY": "a secret of the tests"}


class Entry(Model):
    class Meta:
        table_name = "entries"

    class ByColour(GlobalSecondaryIndex["Entry"]):
        class Meta:
            projection = AllProjection()

        colour = UnicodeAttribute(hash_key=True)
        rank = NumberAttribute(range_key=True)

    book = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(range_key=True)
    colour = UnicodeAttribute(null=True)
    rank = NumberAttribute(null=True)
    by_colour = ByColour()


class Own(Entry):
    """Has methods of its own: they run in workers."""

    class Meta(Entry.Meta):
        pass

    @classmethod
    def query(cls, hash_key: t.Any, *args: t.Any, **kwargs: t.Any) -> t.Any:
        return super().query(hash_key, *args, **kwargs)

    @classmethod
    def scan(cls, *args: t.Any, **kwargs: t.Any) -> t.Any:
        return [*super().scan(*args, **kwargs)]


class Limited(Own):
    class Meta(Entry.Meta):
        pass

    @classmethod
    def query(cls, hash_key: t.Any, *args: t.Any, **kwargs: t.Any) -> t.Any:
        return super().query(hash_key, *args, limit=2, **kwargs)


@pytest.fixture
def db() -> PynamoDB:
    return PynamoDB()


@pytest.fixture
async def context(
    db: PynamoDB, config: dict[str, t.Any], anyio_backend: object
) -> cabc.AsyncIterator[None]:
    """An app on a real engine, with 7 entries."""
    app = Quart(__name__)
    app.config.from_mapping(config, **SECRET)
    db.init_app(app)

    def fill() -> None:
        Entry.create_table(wait=True)

        for number in range(7):
            Entry("a", number, colour="red", rank=number // 3).save()

    async with app.app_context():
        await db.run_sync(fill)
        yield


@pytest.fixture
def stub_app(db: PynamoDB, stub_config: dict[str, t.Any]) -> Quart:
    app = Quart(__name__)
    app.config.from_mapping(stub_config, **SECRET)
    db.init_app(app)
    return app


Query = cabc.Callable[[], t.Any]


async def walk(
    db: PynamoDB, query: Query, **options: t.Any
) -> tuple[list[Page[Entry]], list[Page[Entry]]]:
    """All pages forwards, then all backwards."""
    ahead = [await db.apaginate(query(), **options)]

    while (cursor := ahead[-1].next_cursor) is not None:
        ahead.append(await db.apaginate(query(), cursor=cursor, **options))

    back = [ahead[-1]]

    while (cursor := back[-1].prev_cursor) is not None:
        back.append(await db.apaginate(query(), cursor=cursor, **options))

    return ahead, back


def numbers(pages: list[Page[Entry]]) -> list[list[int]]:
    return [[int(entry.number) for entry in page] for page in pages]


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize(
    "query",
    [
        pytest.param(lambda: Entry.aquery("a"), id="table"),
        pytest.param(lambda: Entry.by_colour.aquery("red"), id="index"),
        pytest.param(lambda: Entry.aquery("a", None, Entry.colour == "red"), id="filter"),
        pytest.param(lambda: Own.aquery("a"), id="override"),
        pytest.param(lambda: Entry.aquery("a", rate_limit=1e6), id="rate limit"),
        pytest.param(
            lambda: Entry.aquery("a", attributes_to_get=["number", "rank"]), id="projection"
        ),
    ],
)
async def test_there_and_back(db: PynamoDB, query: Query) -> None:
    ahead, back = await walk(db, query, per_page=3)
    assert numbers(ahead) == [[0, 1, 2], [3, 4, 5], [6]]
    assert numbers(back) == [[6], [3, 4, 5], [0, 1, 2]]


@pytest.mark.usefixtures("context")
async def test_a_scan(db: PynamoDB) -> None:
    ahead, back = await walk(db, Entry.ascan, per_page=3)
    assert sorted(int(entry.number) for page in ahead for entry in page) == list(range(7))
    assert [len(page) for page in ahead] == [3, 3, 1]
    assert len(back) == 1


async def used() -> t.Any:
    result = Entry.aquery("a")
    await anext(result)
    return result


async def exhausted() -> t.Any:
    result = Entry.aquery("a")
    assert [entry async for entry in result]
    return result


async def closed() -> t.Any:
    result = Entry.aquery("a")
    await result.aclose()
    return result


async def half_used() -> t.Any:
    result = Entry.aquery("a")
    await anext(result.page_iter)
    return result


@pytest.mark.once(reason="arguments are checked")
@pytest.mark.parametrize(
    ("result", "error", "words"),
    [
        (used, ValueError, "iterated already"),
        (exhausted, ValueError, "iterated already"),
        (half_used, ValueError, "iterated already"),
        (closed, ValueError, "iterated already"),
        (lambda: Entry.aquery("a", limit=1), ValueError, "can't have a 'limit'"),
        (lambda: Limited.aquery("a"), ValueError, "can't have a 'limit':"),
        (lambda: Own.ascan(), TypeError, "an override of the app returned 'list'"),
        (
            lambda: Entry.aquery("a", last_evaluated_key={"book": {"S": "a"}}),
            ValueError,
            "can't have a 'last_evaluated_key'",
        ),
        (lambda: Entry.query("a"), TypeError, "'apaginate' takes what .* 'aquery' or 'ascan'"),
        (lambda: Entry.aparallel_scan(2), TypeError, "not 'ParallelScan'"),
    ],
)
async def test_what_can_not_be_paginated(
    db: PynamoDB, stub: Stub, stub_app: Quart, result: t.Any, error: type[Exception], words: str
) -> None:
    items = [{"book": {"S": "a"}, "number": {"N": "1"}}]
    stub.always("Query", Answer(body={"Items": items, "Count": 1, "ScannedCount": 1}))

    async with stub_app.app_context():
        given = result()

        if isinstance(given, cabc.Coroutine):
            given = await given

        with pytest.raises(error, match=words):
            await db.apaginate(given)


async def test_an_invalid_cursor_costs_nothing(db: PynamoDB, stub: Stub, stub_app: Quart) -> None:
    async with stub_app.app_context():
        with pytest.raises(InvalidCursor):
            await db.apaginate(Entry.aquery("a"), cursor="abc")

    assert not stub.requests


async def test_a_cancelled_page_leaves_nothing_behind(
    db: PynamoDB, stub: Stub, stub_app: Quart
) -> None:
    stub.next("Query", stubs.HOLD)

    async with stub_app.app_context():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(db.apaginate, Entry.aquery("a"))
            await until(lambda: stub.in_flight == 1)
            tasks.cancel_scope.cancel()

        stub.release()
        assert not (await db.apaginate(Entry.aquery("a"))).items
        await until(lambda: db.pool.in_use == 0)


async def test_a_rate_limit_is_kept(db: PynamoDB, stub: Stub, stub_app: Quart) -> None:
    async with stub_app.app_context():
        await db.apaginate(Entry.aquery("a", rate_limit=1e6))

    assert stub.requests[0].body["ReturnConsumedCapacity"] == "TOTAL"


async def test_what_is_not_asked_for_is_not_shown(
    db: PynamoDB, stub: Stub, stub_app: Quart
) -> None:
    item = {"book": {"S": "a"}, "number": {"N": "1"}}
    stub.always("Query", Answer(body={"Items": [item], "Count": 1, "ScannedCount": 1}))

    async with stub_app.app_context():
        page = await db.apaginate(Entry.aquery("a", attributes_to_get=["number"]), per_page=5)

    assert [(t.cast("str | None", entry.book), entry.number) for entry in page] == [(None, 1)]
    assert stub.requests[0].body["Limit"] == 6


async def test_a_page_makes_one_call_after_the_other_and_no_more_than_it_may(
    db: PynamoDB, stub: Stub, stub_app: Quart
) -> None:
    key = {"book": {"S": "a"}, "number": {"N": "1"}}
    body = {"Items": [], "Count": 0, "ScannedCount": 1, "LastEvaluatedKey": key}
    stub.always("Query", Answer(body=body))

    async with stub_app.app_context():
        query = Entry.aquery("a", None, Entry.rank == 1)
        page = await db.apaginate(query, max_requests=3)

    assert (len(page), page.has_next) == (0, True)
    assert [request.body.get("ExclusiveStartKey") for request in stub.requests] == [None, key, key]
    assert stub.peak_in_flight == 1
