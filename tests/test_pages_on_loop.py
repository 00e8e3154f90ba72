"""Queries, scans, counts and batches that the event loop makes itself: the same as elsewhere."""

from __future__ import annotations

import asyncio
import base64
import collections.abc as cabc
import contextlib
import dataclasses
import functools
import inspect
import itertools
import json
import threading
import typing as t
import weakref
from unittest import mock

import anyio
import pynamodb.models
import pynamodb.pagination
import pynamodb.signals
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace import TracerProvider
from pynamodb.attributes import BinaryAttribute
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.connection.base import Connection
from pynamodb.connection.table import TableConnection
from pynamodb.exceptions import AttributeDeserializationError
from pynamodb.exceptions import QueryError
from pynamodb.indexes import AllProjection
from pynamodb.pagination import PageIterator
from pynamodb.pagination import ResultIterator
from quart import Quart

import dynamo_ext
import stub as stubs
from dynamo_ext.concurrency import decode_lock
from dynamo_ext.models import deserializer
from dynamo_ext.opentelemetry import instrument
from dynamo_ext.opentelemetry import uninstrument
from dynamo_ext.transport.direct import outgoing
from dynamo_ext_async import CallTimeout
from dynamo_ext_async import GlobalSecondaryIndex
from dynamo_ext_async import Model
from dynamo_ext_async import PoolTimeout
from dynamo_ext_async import PynamoDB
from dynamo_ext_async import UnprocessedKeys
from dynamo_ext_async.execution import workers as execution
from stub import Answer
from stub import Request
from stub import Stub
from waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.once(reason="each test names its transport")]

MakeApp = cabc.Callable[..., Quart]
Raw = dict[str, t.Any]
Start = cabc.Callable[[bool], t.Any]
"""Begins a query or the like; awaited or not."""

FEW, MANY = 2, 10
"""Sizes of pages: items are decoded one by one; or while their reply is parsed, if it has enough
of them."""

END = object()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class ByText(GlobalSecondaryIndex["Item"]):
    class Meta:
        index_name = "by-text"
        projection = AllProjection()

    text = UnicodeAttribute(hash_key=True, attr_name="t")
    number = NumberAttribute(range_key=True)


class Item(Model):
    class Meta:
        table_name = "item"

    id = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(range_key=True)
    text = UnicodeAttribute(null=True, attr_name="t")
    content = BinaryAttribute(null=True, legacy_encoding=False)
    by_text = ByText()


class WithBytes(Model):
    class Meta:
        table_name = "with-bytes"

    id = UnicodeAttribute(hash_key=True)
    key = BinaryAttribute(range_key=True, legacy_encoding=False)


@pytest.fixture
def db() -> PynamoDB:
    return PynamoDB()


@pytest.fixture
def make_app(make_direct_app: MakeApp) -> MakeApp:
    """Apps that have an open connection, and send a request again at once."""
    return functools.partial(
        make_direct_app, DYNAMODB_BASE_BACKOFF_MS=0, SECRET_KEY="a secret of the tests"
    )


@pytest.fixture
def places(workers: list[t.Any], monkeypatch: pytest.MonkeyPatch) -> Places:
    """Where calls are made that the event loop does not make."""
    places = Places(workers)
    run_in_hub: t.Any = execution.run_in_hub

    async def run(*args: t.Any, **kwargs: t.Any) -> t.Any:
        places.has_hub = True
        return await run_in_hub(*args, **kwargs)

    monkeypatch.setattr(execution, "run_in_hub", run)
    return places


class Places:
    """The threads that take part in calls.

    :param workers: What is run in worker threads.
    """

    def __init__(self, workers: list[t.Any]) -> None:
        self._workers = workers
        self.has_hub = False

    def begin(self) -> None:
        """Forget what has taken part so far."""
        self._workers.clear()
        self.has_hub = False

    def taken(self) -> tuple[int, bool]:
        """How many worker threads have taken part since then, and whether the hub has."""
        return len(self._workers), self.has_hub


ON_LOOP = (0, False)
IN_WORKER = (1, False)
IN_HUB = (0, True)


def raw_item(number: int, /, **more: t.Any) -> Raw:
    content = base64.b64encode(bytes([number])).decode()
    item = {"id": {"S": "a"}, "number": {"N": str(number)}, "t": {"S": f"t{number}"}}
    return {**item, "content": {"B": content}, **more}


def raw_item_with_bytes(number: int) -> Raw:
    return {"id": {"S": "a"}, "key": {"B": base64.b64encode(bytes([number])).decode()}}


def body_of(items: list[Raw], last: Raw | None = None, **more: t.Any) -> Raw:
    body: Raw = {"Items": items, "Count": len(items), "ScannedCount": len(items) + 1, **more}
    return body if last is None else {**body, "LastEvaluatedKey": last}


def page(items: list[Raw], last: Raw | None = None, **more: t.Any) -> Answer:
    return Answer(body=body_of(items, last, **more))


def key_of(item: Raw) -> Raw:
    return {name: item[name] for name in ("id", "number", "key") if name in item}


def pages(size: int, count: int = 2, make: t.Any = raw_item) -> list[Answer]:
    """So many pages of so many items."""
    made: list[Answer] = []

    for start in range(0, size * count, size):
        items = [make(number) for number in range(start, start + size)]
        made.append(page(items, None if start == size * (count - 1) else key_of(items[-1])))

    return made


def counted(*counts: int) -> list[Answer]:
    """Pages of a count."""
    key = key_of(raw_item(1))
    bodies: list[Raw] = [
        {"Count": each, "ScannedCount": each, "LastEvaluatedKey": key} for each in counts
    ]
    del bodies[-1]["LastEvaluatedKey"]
    return [Answer(body=body) for body in bodies]


def found(request: Request) -> Answer:
    """All items of a batch."""
    [(table, asked)] = request.body["RequestItems"].items()
    items = [{**key, "t": {"S": "stored"}} for key in asked["Keys"]]
    return Answer(body={"Responses": {table: items}, "UnprocessedKeys": {}})


def found_some(count: int) -> stubs.Behaviour:
    """So many items of a batch; the keys of the others are unprocessed."""

    def answer(request: Request) -> Answer:
        [(table, asked)] = request.body["RequestItems"].items()
        keys = asked["Keys"]
        left = {table: {**asked, "Keys": keys[count:]}}
        return Answer(body={"Responses": {table: keys[:count]}, "UnprocessedKeys": left})

    return answer


def of(owner: t.Any, name: str, *args: t.Any, **kwargs: t.Any) -> Start:
    return lambda is_awaited: getattr(owner, f"a{name}" if is_awaited else name)(*args, **kwargs)


def keys(count: int) -> list[tuple[str, int]]:
    return [("a", number) for number in range(count)]


OPERATIONS = ("BatchGetItem", "DescribeTable", "Query", "Scan")


@dataclasses.dataclass(frozen=True)
class Case:
    """A query or the like."""

    start: Start
    answers: cabc.Callable[[int], cabc.Sequence[stubs.Behaviour]] = pages
    """What the requests get in turn, given the size of a page."""

    steps: str = ""
    """What is asked for before the rest of the items: ``i`` for an item, ``P`` for a page as it is,
    ``S`` to set the size of the next pages."""

    taken: tuple[int, bool] = ON_LOOP
    """What takes part besides the event loop."""

    goes_on: bool = False
    """Whether more is asked for after an error."""


def one(*answers: stubs.Behaviour) -> cabc.Callable[[int], cabc.Sequence[stubs.Behaviour]]:
    return lambda size: answers


def odd(**values: t.Any) -> cabc.Callable[[int], cabc.Sequence[stubs.Behaviour]]:
    """One page, whose second item is odd."""
    return lambda size: [
        page([raw_item(n, **(values if n == 1 else {})) for n in range(max(size, 2))])
    ]


QUERY = of(Item, "query", "a")
ALL = Item.number > 1
KEY_WITH_BYTES = {"id": {"S": "a"}, "key": {"B": b"\1"}}
CASES: dict[str, Case] = {
    "query": Case(QUERY),
    "query of nothing": Case(QUERY, one(page([]))),
    "empty page": Case(QUERY, lambda size: [page([], key_of(raw_item(1))), *pages(size)]),
    "query with options": Case(
        of(
            *(Item, "query", "a", ALL, Item.text.startswith("t") & Item.content.exists()),
            consistent_read=True,
            scan_index_forward=False,
            page_size=3,
        )
    ),
    "query from a key": Case(of(Item, "query", "a", last_evaluated_key=key_of(raw_item(0)))),
    "query of some attributes": Case(of(Item, "query", "a", attributes_to_get=["t", "id"])),
    "limit": Case(of(Item, "query", "a", limit=3), steps="ii"),
    "limit in a page": Case(of(Item, "query", "a", limit=3, page_size=2)),
    "limit in the last page": Case(of(Item, "query", "a", limit=11, page_size=10)),
    "limit 0": Case(of(Item, "query", "a", limit=0)),
    "rate": Case(
        of(Item, "query", "a", rate_limit=1e6),
        lambda size: [
            page([raw_item(1)] * size, key_of(raw_item(1)), ConsumedCapacity={"CapacityUnits": 2}),
            page([raw_item(2)] * size, ConsumedCapacity={"CapacityUnits": 1}),
        ],
    ),
    "pages": Case(QUERY, lambda size: pages(size, 4), steps="iPiP", taken=IN_HUB),
    "pages first": Case(QUERY, lambda size: pages(size, 3), steps="PiS", taken=IN_HUB),
    "size of pages": Case(QUERY, steps="SiS"),
    "index": Case(
        of(Item.by_text, "query", "t", ALL, page_size=5),
        lambda size: [
            page([raw_item(n) for n in range(size)], {**key_of(raw_item(8)), "t": {"S": "t8"}}),
            page([raw_item(n) for n in range(size)]),
        ],
    ),
    "scan of an index": Case(of(Item.by_text, "scan", limit=4)),
    "binary keys": Case(
        of(WithBytes, "query", "a", WithBytes.key > b"\0", last_evaluated_key=KEY_WITH_BYTES),
        lambda size: pages(size, 3, raw_item_with_bytes),
    ),
    "scan": Case(of(Item, "scan")),
    "scan with options": Case(
        of(
            *(Item, "scan", Item.text.contains("t")),
            segment=1,
            total_segments=3,
            limit=15,
            page_size=7,
            consistent_read=True,
            attributes_to_get=["t"],
            last_evaluated_key=key_of(raw_item(9)),
        )
    ),
    "count": Case(of(Item, "count", "a"), one(*counted(3, 0, 2))),
    "count with options": Case(
        of(Item, "count", "a", ALL, Item.text == "t", consistent_read=True, limit=2),
        one(*counted(2, 1)),
    ),
    "count of nothing": Case(of(Item, "count", "a", limit=0), one()),
    "count in an index": Case(of(Item.by_text, "count", "t", ALL), one(*counted(4))),
    "count of a table": Case(
        of(Item, "count"), one(Answer(body={"Table": {"ItemCount": 7}})), taken=IN_HUB
    ),
    "batch": Case(of(Item, "batch_get", keys(3)), one(found)),
    "batch with options": Case(
        of(Item, "batch_get", keys(12), consistent_read=True, attributes_to_get=["id", "t"]),
        one(found),
    ),
    "batch with no attributes": Case(
        of(Item, "batch_get", keys(2), attributes_to_get=[]), one(found)
    ),
    "batch of nothing": Case(of(Item, "batch_get", []), one()),
    "batch that is not there": Case(
        of(Item, "batch_get", keys(2)), one(Answer(body={"Responses": {"item": []}}))
    ),
    "large batch": Case(of(Item, "batch_get", keys(230)), one(found, found, found)),
    "batch with duplicates": Case(of(Item, "batch_get", [*keys(5), *keys(6)]), one(found)),
    "batch with binary keys": Case(
        of(WithBytes, "batch_get", [("a", bytes([n])) for n in range(6)]), one(found_some(5), found)
    ),
    "batch with unprocessed keys": Case(
        of(Item, "batch_get", keys(105)), one(found_some(98), found_some(2), found)
    ),
    "batch without progress at first": Case(
        of(Item, "batch_get", keys(105)),
        one(found_some(0), stubs.unprocessed, found_some(4), found, found),
        taken=IN_HUB,
    ),
    "batch without progress": Case(
        of(Item, "batch_get", keys(3)), one(*[stubs.unprocessed] * 8), taken=IN_HUB
    ),
    "attribute that nobody knows": Case(QUERY, odd(other={"S": "x"})),
    "no number": Case(QUERY, odd(t={"S": "x"}, number={"N": "no number"}), goes_on=True),
    "wrong type": Case(QUERY, odd(t={"N": "1"})),
    "null": Case(QUERY, odd(t={"NULL": True})),
    "no value": Case(QUERY, odd(t={"S": None})),
    "no type": Case(QUERY, odd(t={})),
    "two types": Case(QUERY, odd(t={"S": "x", "N": "1"}), goes_on=True),
    "unknown type": Case(QUERY, odd(t={"X": "x"})),
    "no base64": Case(QUERY, lambda size: [*odd(content={"B": "x"})(size)] * 2, taken=IN_WORKER),
    "no key": Case(
        QUERY, lambda size: [page([raw_item(1), *[{"t": {"S": "x"}}] * size, raw_item(2)])]
    ),
    "no Items": Case(QUERY, one(Answer(body={"Count": 0, "ScannedCount": 0}))),
    "no Count": Case(QUERY, one(Answer(body={"Items": [], "ScannedCount": 0}))),
    "no ScannedCount": Case(QUERY, one(Answer(body={"Items": [], "Count": 0}))),
    "batch with an odd item": Case(
        of(Item, "batch_get", keys(5)),
        lambda size: [
            Answer(
                body={
                    "Responses": {"item": [raw_item(1, number={"N": "x"}), *[raw_item(2)] * size]}
                }
            )
        ],
        goes_on=True,
    ),
}
ONCE_MORE = {"DYNAMODB_MAX_RETRY_ATTEMPTS": 1}
MISSING = stubs.error(400, "ResourceNotFoundException", "no such table")
FAILURES: dict[str, tuple[stubs.Behaviour, dict[str, t.Any]]] = {
    "throttled": (stubs.THROTTLE, {}),
    "throttled once": (stubs.THROTTLE, ONCE_MORE),
    "missing": (MISSING, {}),
    "invalid": (stubs.error(400, "ValidationException", "not like this"), {}),
    "broken": (stubs.INTERNAL_ERROR, ONCE_MORE),
    "lost": (stubs.DROP, ONCE_MORE),
    "cut": (Answer(body={"Count": 1, "Items": []}, cut=7), {}),
    "cut once": (Answer(body={"Count": 1, "Items": []}, cut=7), ONCE_MORE),
    "damaged": (stubs.WRONG_CHECKSUM, {}),
    "damaged once": (stubs.WRONG_CHECKSUM, ONCE_MORE),
    "no JSON": (Answer(content=b"no JSON"), ONCE_MORE),
    "silent": (stubs.HOLD, {"DYNAMODB_READ_TIMEOUT_SECONDS": 0.1}),
}
CALLED: dict[str, tuple[Start, stubs.Behaviour]] = {
    "query": (of(Item, "query", "a"), pages(FEW, 1)[0]),
    "scan": (of(Item, "scan"), pages(MANY, 1)[0]),
    "count": (of(Item, "count", "a"), counted(3)[0]),
    "batch_get": (of(Item, "batch_get", keys(5)), found),
}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a query or the like has led to."""

    steps: list[t.Any]
    sent: list[t.Any]
    attempts: list[list[str]]
    counted: tuple[int, ...]
    """Calls, retries, errors and slots in use."""


def attempt_of(request: Request) -> list[str]:
    """Which attempt a request is. When it was made is left out."""
    fields = (request.header("amz-sdk-request") or "").split("; ")
    return [field for field in fields if not field.startswith("ttl=")]


async def outcome_of(
    db: PynamoDB, stub: Stub, case: Case, size: int, *, is_awaited: bool = True
) -> Outcome:
    answers = iter(case.answers(size))

    def answer(request: Request) -> Answer:
        behaviour = next(answers)
        return behaviour if isinstance(behaviour, Answer) else behaviour(request)

    for operation in OPERATIONS:
        stub.always(operation, answer)

    stub.forget()
    before = db.pool.stats()
    steps = [step async for step in walk(case, is_awaited=is_awaited)]
    stub.release()
    after = db.pool.stats()
    counted = [
        getattr(after, name) - getattr(before, name) for name in ("calls", "retries", "errors")
    ]
    return Outcome(
        steps,
        [(request.operation, request.body) for request in stub.requests],
        [attempt_of(request) for request in stub.requests],
        (*counted, after.in_use),
    )


async def walk(case: Case, *, is_awaited: bool) -> cabc.AsyncIterator[t.Any]:
    """Everything that can be seen of a query, step by step."""

    async def attempt(function: cabc.Callable[[], t.Any]) -> t.Any:
        try:
            value = function()
            return await value if inspect.isawaitable(value) else value
        except Exception as error:
            return Failure.of(error)

    async def advance(iterator: t.Any) -> t.Any:
        return await attempt(lambda: (anext if is_awaited else next)(iterator, END))

    result = await attempt(lambda: case.start(is_awaited))

    if isinstance(result, (int, Failure)):
        yield result
        return

    failures = 0

    for step in itertools.chain(case.steps, itertools.repeat("i", 1000)):
        if step == "S":
            result.page_iter.page_size = 4
            continue

        value = await advance(result.page_iter if step == "P" else result)
        failures += isinstance(value, Failure)

        if isinstance(value, dict):
            value = {name: each for name, each in value.items() if name != "ResponseMetadata"}

        yield (
            (type(value), value.attribute_values) if isinstance(value, Model) else value,
            await attempt(lambda: result.last_evaluated_key),
            await attempt(lambda: result.total_count),
        )

        if value is END or failures > case.goes_on:
            return


@dataclasses.dataclass(frozen=True)
class Failure:
    """An error, as far as it can be compared."""

    kind: type
    text: str
    cause: tuple[type, str]

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        cause = getattr(error, "cause", None) or error.__cause__
        return cls(type(error), str(error), (type(cause), str(cause)))


def of_generator(outcome: Outcome) -> Outcome:
    """What can be seen of a batch that is not awaited: it ends with the first error."""
    steps = [step[0] for step in outcome.steps]
    number = next((n for n, step in enumerate(steps, 1) if isinstance(step, Failure)), None)
    return dataclasses.replace(outcome, steps=steps[:number])


@pytest.mark.parametrize("name", CASES)
async def test_what_the_loop_gets_is_the_same_as_elsewhere(
    request: pytest.FixtureRequest,
    make_app: MakeApp,
    db: PynamoDB,
    stub: Stub,
    places: Places,
    name: str,
) -> None:
    case = CASES[name]
    outcomes: dict[int, Outcome] = {}

    async with make_app(DYNAMODB_BLOCKING_CALLS="allow").app_context():
        for size in (FEW, MANY):
            places.begin()
            outcomes[size] = await outcome_of(db, stub, case, size)
            assert places.taken() == case.taken
            blocking = await outcome_of(db, stub, case, size, is_awaited=False)

            if "batch" in name:
                assert of_generator(outcomes[size]) == of_generator(blocking)
            else:
                assert outcomes[size] == blocking

        # Somebody listens, so from here on the hub makes each call.
        request.getfixturevalue("announced")

        for size, outcome in outcomes.items():
            places.begin()
            assert outcome == await outcome_of(db, stub, case, size)
            assert places.taken() == (IN_HUB if outcome.sent else ON_LOOP)


@pytest.mark.parametrize("name", FAILURES)
async def test_what_fails_there_fails_as_elsewhere(
    request: pytest.FixtureRequest,
    make_app: MakeApp,
    db: PynamoDB,
    stub: Stub,
    places: Places,
    name: str,
) -> None:
    behaviour, settings = FAILURES[name]
    cases = [Case(start, one(*[behaviour, answer] * 2)) for start, answer in CALLED.values()]
    outcomes: list[Outcome] = []

    async with make_app(DYNAMODB_BLOCKING_CALLS="allow", **settings).app_context():
        for case in cases:
            # Opens a connection again.
            db.connection.list_tables()
            places.begin()
            outcomes.append(await outcome_of(db, stub, case, 0))
            # Its only worker has a call that was begun on the loop.
            assert places.taken() == IN_WORKER
            blocking = await outcome_of(db, stub, case, 0, is_awaited=False)

            if isinstance(outcomes[-1].steps[0], tuple):
                assert outcomes[-1].steps[-1][0] == blocking.steps[-1][0]
                blocking = dataclasses.replace(blocking, steps=outcomes[-1].steps)

            assert outcomes[-1] == blocking

        request.getfixturevalue("announced")

        for case, outcome in zip(cases, outcomes, strict=True):
            places.begin()
            assert outcome == await outcome_of(db, stub, case, 0)
            assert places.taken() == IN_HUB


def padded(size: int, answer: Answer) -> Answer:
    """The same in so many bytes."""
    content = json.dumps(answer.body).encode().ljust(size)
    assert len(content) == size
    return dataclasses.replace(answer, content=content)


def with_texts(size: int, answer: Answer) -> Answer:
    """The same with long texts."""
    items = [{**item, "t": {"S": "x" * size}} for item in answer.body["Items"]]
    return dataclasses.replace(answer, body={**answer.body, "Items": items})


@pytest.mark.parametrize("size", [FEW, MANY])
async def test_after_a_large_page_the_hub_gets_the_others(
    make_app: MakeApp, db: PynamoDB, stub: Stub, places: Places, size: int
) -> None:
    largest = outgoing.LARGEST_BODY_WITH_ITEMS
    answers = pages(size, 5)
    answers[0] = padded(largest, answers[0])
    answers[1] = with_texts(30_000, answers[1])
    answers[2] = with_texts(70_000, answers[2])
    stub.next("Query", *answers)
    seen: list[tuple[int, bool]] = []
    found: list[Item] = []

    async with make_app().app_context():
        items = Item.aquery("a")

        for _ in range(5):
            found += [await anext(items) for _ in range(size)]
            assert items.last_evaluated_key == (
                None if len(found) == 5 * size else key_of(raw_item(len(found) - 1))
            )
            seen.append(places.taken())
            places.begin()

        assert await anext(items, None) is None
        assert (items.total_count, db.pool.in_use) == (5 * size, 0)

    second = ON_LOOP if size == FEW else IN_WORKER
    assert seen == [ON_LOOP, second, IN_WORKER if size == FEW else IN_HUB, IN_HUB, IN_HUB]
    assert [item.number for item in found] == [*range(5 * size)]
    assert {len(item.text) for item in found[size : 3 * size]} == {30_000, 70_000}
    assert len(stub.requests) == 5


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("name", ["query", "scan", "batch_get"])
async def test_items_are_freed_without_the_garbage_collector(
    make_app: MakeApp, stub: Stub, name: str
) -> None:
    numbers = range(MANY)
    stub.next("Query", page([raw_item(number) for number in numbers], None))
    stub.next("Scan", page([raw_item(number) for number in numbers], None))
    stub.next("BatchGetItem", Answer(body={"Responses": {"item": [*map(raw_item, numbers)]}}))
    begin: dict[str, cabc.Callable[[], t.Any]] = {
        "query": lambda: Item.aquery("a"),
        "scan": Item.ascan,
        "batch_get": lambda: Item.abatch_get([("a", number) for number in numbers]),
    }

    async with make_app().app_context():
        references = [weakref.ref(item) async for item in begin[name]()]
        await anyio.sleep(0)
        assert [reference() for reference in references] == [None] * MANY


async def test_after_a_large_reply_the_hub_gets_the_rest_of_a_batch(
    make_app: MakeApp, db: PynamoDB, stub: Stub, places: Places
) -> None:
    answers = [Answer(body={"Responses": {"item": [raw_item(number)]}}) for number in range(4)]
    answers[1] = padded(outgoing.LARGEST_BODY_WITH_ITEMS + 1, answers[1])
    stub.next("BatchGetItem", *answers)
    seen: list[tuple[int, tuple[int, bool]]] = []

    async with make_app().app_context():
        async for item in Item.abatch_get([("a", number) for number in range(400)]):
            seen.append((int(item.number), places.taken()))
            places.begin()

        assert db.pool.in_use == 0

    assert seen == [(0, ON_LOOP), (1, IN_WORKER), (2, IN_HUB), (3, IN_HUB)]
    assert len(stub.requests) == 4


@pytest.mark.parametrize(
    ("start", "answer", "largest"),
    [
        pytest.param(of(Item, "count", "a"), counted(3)[0], outgoing.LARGEST_BODY, id="count"),
        pytest.param(
            of(Item, "batch_get", keys(5)),
            Answer(body={"Responses": {"item": [raw_item(n) for n in range(5)]}}),
            outgoing.LARGEST_BODY_WITH_ITEMS,
            id="batch",
        ),
        pytest.param(
            of(Item, "scan"), pages(FEW, 1)[0], outgoing.LARGEST_BODY_WITH_ITEMS, id="scan"
        ),
    ],
)
async def test_the_largest_reply_that_the_loop_reads(
    make_app: MakeApp,
    db: PynamoDB,
    stub: Stub,
    places: Places,
    start: Start,
    answer: Answer,
    largest: int,
) -> None:
    usual, large, larger = (
        Case(start, one(each))
        for each in (answer, padded(largest, answer), padded(largest + 1, answer))
    )

    async with make_app().app_context():
        outcome = await outcome_of(db, stub, usual, 0)

        for case, taken in ((large, ON_LOOP), (larger, IN_WORKER)):
            places.begin()
            assert await outcome_of(db, stub, case, 0) == outcome
            assert places.taken() == taken


def stored(request: Request) -> Answer:
    """A page of the items 0 to 24."""
    body = request.body
    numbers = [*range(25)]

    if not body.get("ScanIndexForward", True):
        numbers.reverse()

    if start := body.get("ExclusiveStartKey"):
        del numbers[: numbers.index(int(start["number"]["N"])) + 1]

    items = [raw_item(number) for number in numbers[: body["Limit"]]]
    last = key_of(items[-1]) if items and len(items) < len(numbers) else None
    return page(items, last)


@pytest.mark.parametrize("names", [None, ["t"]])
async def test_pages_of_an_app_are_the_same_as_elsewhere(
    request: pytest.FixtureRequest,
    make_app: MakeApp,
    db: PynamoDB,
    stub: Stub,
    places: Places,
    names: list[str] | None,
) -> None:
    """The key is read and hidden where it was not asked for."""
    stub.always("Query", stored)

    async def there_and_back(*, is_awaited: bool) -> t.Any:
        stub.forget()
        start = of(Item, "query", "a", attributes_to_get=names)
        found: list[t.Any] = []
        cursor: str | None = None

        for direction in ("next", "next", "prev"):
            method = db.apaginate if is_awaited else db.paginate
            result: t.Any = method(start(is_awaited), per_page=10, cursor=cursor)
            page = await result if is_awaited else result
            cursor = getattr(page, f"{direction}_cursor")
            found.append([item.attribute_values for item in page])

        return found, [each.body for each in stub.requests], db.pool.in_use

    async with make_app(DYNAMODB_BLOCKING_CALLS="allow").app_context():
        outcome = await there_and_back(is_awaited=True)
        assert places.taken() == ON_LOOP
        assert outcome == await there_and_back(is_awaited=False)
        request.getfixturevalue("announced")
        assert outcome == await there_and_back(is_awaited=True)
        assert places.taken() == IN_HUB

    assert [len(page) for page in outcome[0]] == [10, 10, 5]
    assert ("number" in outcome[0][0][0]) is (names is None)


async def test_the_loop_waits_for_no_thread_that_decodes(
    make_app: MakeApp,
    db: PynamoDB,
    stub: Stub,
    places: Places,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decode_lock, "_LONGEST_WAIT_SECONDS", 5)
    stub.always("Query", stored)
    holds, end = threading.Event(), threading.Event()
    ended_meanwhile: list[bool] = []

    def hold() -> None:
        with decode_lock.held():
            holds.set()
            ended_meanwhile.append(end.wait(3))

    thread = threading.Thread(target=hold)
    thread.start()
    holds.wait()

    async with make_app().app_context():
        # Each is decoded in two steps: items without their keys, and a reply as it is.
        found = await db.apaginate(Item.aquery("a", attributes_to_get=["t"]), per_page=10)
        assert len(found) == 10
        stub.next("Query", padded(outgoing.LARGEST_BODY, counted(3)[0]))
        assert await Item.acount("a") == 3

    end.set()
    thread.join()
    assert ended_meanwhile == [True]
    assert places.taken() == ON_LOOP


class Cancelled(t.NamedTuple):
    """What is cancelled."""

    operation: str
    begin: Start
    answers: tuple[stubs.Behaviour, ...]


CANCELLED = {
    "Query": Cancelled("Query", QUERY, tuple(pages(FEW))),
    "Scan": Cancelled("Scan", of(Item, "scan"), tuple(pages(MANY))),
    "BatchGetItem": Cancelled(
        "BatchGetItem", of(Item, "batch_get", keys(6)), (found_some(2), found)
    ),
}


def in_halves(behaviour: stubs.Behaviour, goes_on: threading.Event) -> stubs.Behaviour:
    """The same, with its second half as late as it goes on."""

    def answer(request: Request) -> Answer:
        answer = behaviour if isinstance(behaviour, Answer) else behaviour(request)
        body = json.dumps(answer.body).encode()
        whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

        def halves() -> cabc.Iterator[bytes]:
            yield whole[: len(whole) // 2]
            goes_on.wait(30)
            yield whole[len(whole) // 2 :]

        return Answer(pieces=t.cast(t.Any, halves()))

    return answer


@pytest.mark.parametrize("phase", ["queued", "sent", "half"])
@pytest.mark.parametrize("name", CANCELLED)
async def test_a_cancelled_fetch_changes_nothing(
    make_app: MakeApp, db: PynamoDB, stub: Stub, places: Places, name: str, phase: str
) -> None:
    operation, begin, (first, second) = CANCELLED[name]
    goes_on = threading.Event()
    again = {
        "queued": [],
        "sent": [stubs.held(second)],
        "half": [in_halves(second, goes_on)],
    }[phase]
    stub.next(operation, first, *again, second)

    async with make_app(DYNAMODB_MAX_POOL_CONNECTIONS=1).app_context():
        before = db.pool.stats()
        items = begin(True)
        found = [await anext(items)]
        count = items.total_count
        found += [await anext(items) for _ in range(count - 1)]
        seen = (items.last_evaluated_key, items.total_count)
        slot = db.pool.acquire(1) if phase == "queued" else None
        task = asyncio.ensure_future(anext(items))
        await until(lambda: db.pool.waiting == 1 if phase == "queued" else len(stub.requests) == 2)

        if phase == "half":
            await until(lambda: stub.in_flight == 0)
            await anyio.sleep(0.02)

        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task

        assert (items.last_evaluated_key, items.total_count) == seen
        assert (db.pool.waiting, db.pool.in_use) == (0, 1)
        # An app that stops waits for what is on the wire.
        in_flight = db.connection.policy.in_flight
        assert (in_flight.count > 0) is (phase != "queued")

        if slot is not None:
            slot.release()

        goes_on.set()
        stub.release()
        found += [item async for item in items]
        await until(lambda: db.pool.in_use == in_flight.count == 0)
        after = db.pool.stats()

    assert len({item.number for item in found}) == len(found) == items.total_count
    number = 2 + len(again)
    assert [request.body for request in stub.requests[1:]] == [stub.requests[1].body] * (number - 1)
    assert (after.calls - before.calls, after.errors, after.waiting) == (number, 0, 0)
    assert places.taken() == ON_LOOP


@pytest.mark.parametrize("name", CANCELLED)
async def test_nothing_is_lost_wherever_a_task_is_cancelled(
    make_app: MakeApp, db: PynamoDB, stub: Stub, name: str
) -> None:
    operation, begin, _ = CANCELLED[name]
    stub.always(operation, found_some(1) if operation == "BatchGetItem" else next_page)

    async with make_app(DYNAMODB_MAX_POOL_CONNECTIONS=2).app_context():
        items = begin(True)
        numbers: list[int] = []

        for turns in itertools.count():
            task = asyncio.ensure_future(anext(items, None))

            for _ in range(turns):
                await asyncio.sleep(0)

            task.cancel()

            with contextlib.suppress(asyncio.CancelledError):
                if (item := await task) is None:
                    break

                numbers.append(item.number)

        await until(lambda: db.pool.in_use == 0)
        assert db.pool.waiting == db.pool.stats().errors == 0

    assert numbers == [*range(6)]


def next_page(request: Request) -> Answer:
    """The next of six items."""
    start = request.body.get("ExclusiveStartKey")
    item = raw_item(0 if start is None else int(start["number"]["N"]) + 1)
    return page([item], None if item["number"]["N"] == "5" else key_of(item))


TIMED: dict[str, tuple[Start, stubs.Behaviour]] = {
    "Query": CALLED["query"],
    "Query for a count": CALLED["count"],
    "BatchGetItem": CALLED["batch_get"],
}


async def all_of(start: Start) -> t.Any:
    result = start(True)
    return await result if inspect.isawaitable(result) else [item async for item in result]


@pytest.mark.parametrize("is_queued", [False, True])
@pytest.mark.parametrize("name", TIMED)
async def test_a_deadline_ends_the_wait_for_a_page(
    make_app: MakeApp, db: PynamoDB, stub: Stub, places: Places, name: str, is_queued: bool
) -> None:
    start, answer = TIMED[name]
    operation = name.split()[0]
    app = make_app(DYNAMODB_CALL_TIMEOUT_SECONDS=0.1, DYNAMODB_MAX_POOL_CONNECTIONS=1)

    async with app.app_context():
        slot = db.pool.acquire(1) if is_queued else None
        stub.next(operation, *([] if is_queued else [stubs.held(answer)]), answer)

        with pytest.raises(CallTimeout) as raised:
            await all_of(start)

        assert places.taken() == ON_LOOP
        assert db.pool.waiting == 0
        assert not getattr(raised.value, "outcome_unknown", False)

        if slot is not None:
            slot.release()

        stub.release()
        await until(lambda: db.pool.in_use == 0)
        assert await all_of(start)
        assert db.pool.in_use == db.pool.waiting == 0

    assert len(stub.requests) == (1 if is_queued else 2)


@pytest.mark.parametrize("name", TIMED)
async def test_no_slot_in_time_for_a_page(
    make_app: MakeApp, db: PynamoDB, stub: Stub, places: Places, name: str
) -> None:
    start, answer = TIMED[name]
    stub.always(name.split()[0], answer)
    app = make_app(DYNAMODB_MAX_POOL_CONNECTIONS=1, DYNAMODB_POOL_TIMEOUT_SECONDS=0.05)

    async with app.app_context():
        slot = db.pool.acquire(1)

        with pytest.raises(PoolTimeout):
            await all_of(start)

        assert (db.pool.waiting, db.pool.stats().timeouts) == (0, 1)
        slot.release()
        assert await all_of(start)
        assert db.pool.in_use == 0

    assert len(stub.requests) == 1
    assert places.taken() == ON_LOOP


@pytest.mark.parametrize("name", ["keys asked for again", "rate"])
async def test_a_wait_is_on_the_loop_without_a_slot(
    make_app: MakeApp,
    db: PynamoDB,
    stub: Stub,
    places: Places,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    waits: list[tuple[bool, int, tuple[int, bool]]] = []
    sleep = anyio.sleep

    async def note(seconds: float) -> None:
        if seconds:
            waits.append((seconds <= 2, db.pool.in_use, places.taken()))

        await sleep(0)

    first, second = pages(FEW)
    capacity = {"TableName": "item", "CapacityUnits": 2000}
    stub.next("Query", page(first.body["Items"], key_of(raw_item(1)), ConsumedCapacity=capacity))
    stub.next("Query", second)
    stub.next("BatchGetItem", stubs.unprocessed, found)
    start = {
        "keys asked for again": of(Item, "batch_get", keys(4)),
        "rate": of(Item, "query", "a", rate_limit=1000),
    }[name]

    async with make_app(DYNAMODB_BASE_BACKOFF_MS=1000).app_context():
        with monkeypatch.context() as patch:
            patch.setattr(anyio, "sleep", note)
            assert len(await all_of(start)) == 4

    assert waits == [(True, 0, ON_LOOP)]


@pytest.mark.parametrize("count", [1, 2, 5])
async def test_pages_of_a_batch_that_are_got_at_once(
    make_app: MakeApp, db: PynamoDB, stub: Stub, places: Places, count: int
) -> None:
    stub.next("BatchGetItem", *[stubs.held(found)] * min(count, 3))
    stub.always("BatchGetItem", found)
    app = make_app(DYNAMODB_MAX_POOL_CONNECTIONS=3)

    async with app.app_context():
        # All connections are open.
        stub.always("Query", stubs.held(pages(FEW, 1)[0]))

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(all_of, QUERY)

            await until(lambda: stub.in_flight == 3)
            stub.release()

        places.begin()
        stub.forget()
        items = Item.abatch_get(keys(330)).with_options(max_concurrency=count)
        task = asyncio.ensure_future(numbers_of(items))
        await until(lambda: stub.in_flight == min(count, 3))
        stub.release()
        assert await task == [*range(330)]
        assert (items.total_count, db.pool.in_use, db.pool.waiting) == (330, 0, 0)

    assert stub.peak_in_flight == min(count, 3)
    sizes = [len(next(iter(each.body["RequestItems"].values()))["Keys"]) for each in stub.requests]
    assert sorted(sizes) == [30, 100, 100, 100]
    assert places.taken() == ON_LOOP


async def numbers_of(items: cabc.AsyncIterable[Item]) -> list[float]:
    return sorted([item.number async for item in items])


@pytest.mark.parametrize("name", CANCELLED)
async def test_tasks_that_share_an_iterator(
    make_app: MakeApp, stub: Stub, places: Places, name: str
) -> None:
    operation, begin, _ = CANCELLED[name]
    stub.always(operation, found_some(1) if operation == "BatchGetItem" else next_page)
    numbers: list[float] = []

    async with make_app().app_context():
        items = begin(True)

        async def take() -> None:
            async for item in items:
                numbers.append(item.number)
                await asyncio.sleep(0)

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(take)

    assert sorted(numbers) == [*range(6)]
    assert len(stub.requests) == 6
    assert stub.peak_in_flight == 1
    assert places.taken() == ON_LOOP


threads: list[int] = []


def saw(*args: t.Any, **kwargs: t.Any) -> None:
    """Called by code of the app."""
    threads.append(threading.get_ident())


def seen(function: t.Any) -> t.Any:
    """The same function, as a patch of the app."""

    def call(*args: t.Any, **kwargs: t.Any) -> t.Any:
        saw()
        return function(*args, **kwargs)

    return call


class Own(Item):
    """Has methods of its own."""

    class Meta(Item.Meta):
        pass

    @classmethod
    def query(cls, *args: t.Any, **kwargs: t.Any) -> t.Any:
        saw()
        return super().query(*args, **kwargs)

    @classmethod
    def scan(cls, *args: t.Any, **kwargs: t.Any) -> t.Any:
        saw()
        return super().scan(*args, **kwargs)

    @classmethod
    def batch_get(cls, *args: t.Any, **kwargs: t.Any) -> t.Any:
        saw()
        return super().batch_get(*args, **kwargs)


class Shouted(UnicodeAttribute):
    def deserialize(self, value: t.Any) -> str:
        saw()
        return t.cast(str, super().deserialize(value))


class Shouting(Item):
    class Meta(Item.Meta):
        pass

    text = Shouted(null=True, attr_name="t")


class Reading(Item):
    class Meta(Item.Meta):
        pass

    @classmethod
    def from_raw_data(cls, data: t.Any) -> t.Any:
        saw()
        return super().from_raw_data(data)


def connected(signal: t.Any) -> t.Any:
    return lambda monkeypatch: signal.connected_to(saw)


def patched(owner: t.Any, *names: str) -> t.Any:
    @contextlib.contextmanager
    def patch(monkeypatch: pytest.MonkeyPatch) -> cabc.Generator[None]:
        with monkeypatch.context() as patch:
            for name in names:
                patch.setattr(owner, name, seen(getattr(owner, name)))

            yield

    return patch


def property_patched(owner: t.Any, name: str) -> t.Any:
    @contextlib.contextmanager
    def patch(monkeypatch: pytest.MonkeyPatch) -> cabc.Generator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, property(seen(vars(owner)[name].fget)))
            yield

    return patch


@contextlib.contextmanager
def table_patched(monkeypatch: pytest.MonkeyPatch) -> cabc.Generator[None]:
    table: t.Any = t.cast(t.Any, Item)._get_connection()

    with monkeypatch.context() as patch:
        patch.setattr(table, "get_meta_table", seen(table.get_meta_table))
        yield


async def test_a_key_has_the_attributes_of_the_index_or_of_the_table(
    make_app: MakeApp, stub: Stub
) -> None:
    async with make_app().app_context():
        # After some replies, items become models while these are parsed.
        for _ in range(9):
            stub.next("Query", *pages(MANY, 1), *pages(MANY, 1))
            of_index, of_table = Item.by_text.aquery("t0"), Item.aquery("a")
            assert (await anext(of_index)).number == (await anext(of_table)).number == 0
            key = key_of(raw_item(0))
            assert of_table.last_evaluated_key == key
            assert of_index.last_evaluated_key == {**key, "t": {"S": "t0"}}


class OwnPages(PageIterator[t.Any]):
    def __next__(self) -> t.Any:
        saw()
        return super().__next__()


@contextlib.contextmanager
def replaced(monkeypatch: pytest.MonkeyPatch) -> cabc.Generator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(pynamodb.pagination, "PageIterator", OwnPages)
        yield


def of_model(monkeypatch: pytest.MonkeyPatch) -> t.Any:
    return contextlib.nullcontext()


FOLLOWED: dict[str, tuple[t.Any, t.Any, tuple[str, ...]]] = {
    "call_finished": (Item, connected(dynamo_ext.call_finished), ()),
    "signals before": (Item, connected(pynamodb.signals.pre_dynamodb_send), ()),
    "signals after": (Item, connected(pynamodb.signals.post_dynamodb_send), ()),
    "Connection": (Item, patched(Connection, "query", "scan", "batch_get_item"), ()),
    "TableConnection": (Item, patched(TableConnection, "query", "scan", "batch_get_item"), ()),
    "the table's own connection": (Item, table_patched, ("batch_get",)),
    "ResultIterator": (
        *(Item, patched(ResultIterator, "__next__")),
        # Nothing awaited uses it.
        ("query", "scan", "count", "batch_get"),
    ),
    "PageIterator": (Item, patched(PageIterator, "__next__"), ("batch_get",)),
    "another PageIterator": (Item, replaced, ("batch_get",)),
    "property of PageIterator": (Item, property_patched(PageIterator, "key_names"), ("batch_get",)),
    "UnicodeAttribute": (Item, patched(UnicodeAttribute, "deserialize"), ("count",)),
    "Model": (Item, patched(Item, "from_raw_data"), ("count",)),
    "methods of the app": (Own, of_model, ("count",)),
    "attribute of the app": (Shouting, of_model, ("count",)),
    "from_raw_data of the app": (Reading, of_model, ("count",)),
}


@pytest.mark.parametrize("name", FOLLOWED)
async def test_code_of_the_app_never_runs_on_the_loop(
    make_app: MakeApp, stub: Stub, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    model, follow, unaffected = FOLLOWED[name]
    calls: dict[str, tuple[cabc.Callable[[], t.Any], list[stubs.Behaviour]]] = {
        "query": (lambda: numbers_of(model.aquery("a")), [*pages(MANY)]),
        "scan": (lambda: numbers_of(model.ascan()), [*pages(FEW)]),
        "count": (lambda: model.acount("a"), [*counted(2, 3)]),
        "batch_get": (lambda: numbers_of(model.abatch_get(keys(105))), [found, found]),
    }
    operations = {"scan": "Scan", "batch_get": "BatchGetItem"}
    results: dict[str, t.Any] = {}
    times: dict[str, int] = {}

    async with make_app().app_context():
        with follow(monkeypatch):
            for call, (make, answers) in calls.items():
                stub.next(operations.get(call, "Query"), *answers)
                threads.clear()
                results[call] = await make()
                assert bool(threads) is (call not in unaffected)
                assert threading.get_ident() not in threads
                times[call] = len(threads)

    assert results == {
        "query": [*range(2 * MANY)],
        "scan": [*range(2 * FEW)],
        "count": 5,
        "batch_get": [*range(105)],
    }
    assert len(stub.requests) == 8

    if name in {"call_finished", "Connection", "PageIterator"}:
        # Once for each page.
        assert {times[call] for call in calls if call not in unaffected} == {2}


@pytest.mark.parametrize("name", ["query", "batch_get"])
async def test_a_worker_decodes_when_no_other_thread_does(
    make_app: MakeApp, stub: Stub, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(decode_lock, "_LONGEST_WAIT_SECONDS", 100)
    stub.next("Query", *pages(MANY, 1))
    stub.next("BatchGetItem", found)
    args = ["a"] if name == "query" else [keys(MANY)]

    async with make_app().app_context():
        with decode_lock.held():
            task = asyncio.ensure_future(all_of(of(Shouting, name, *args)))
            await until(lambda: len(stub.requests) == 1)
            await anyio.sleep(0.1)
            assert not task.done()

        assert len(await task) == MANY


class Names(list[str]):
    """A list of the app's own class."""

    def __iter__(self) -> cabc.Iterator[str]:
        saw()
        return super().__iter__()


@pytest.mark.parametrize(
    ("operation", "name", "args"),
    [("Query", "query", ["a"]), ("Scan", "scan", []), ("BatchGetItem", "batch_get", [keys(3)])],
)
async def test_values_of_the_app_s_classes_are_not_used_on_the_loop(
    make_app: MakeApp, stub: Stub, operation: str, name: str, args: list[t.Any]
) -> None:
    stub.always(operation, found if args and args[0] != "a" else pages(3, 1)[0])

    async with make_app().app_context():
        threads.clear()
        items = await all_of(of(Item, name, *args, attributes_to_get=Names(["id", "t"])))

    assert len(items) == 3
    assert threads
    assert threading.get_ident() not in threads


class Text(str):
    __slots__ = ()


async def test_no_key_of_the_app_s_classes_is_used_on_the_loop(
    make_app: MakeApp, stub: Stub, places: Places
) -> None:
    stub.always("Query", pages(MANY, 1)[0])

    async with make_app().app_context():
        for key, taken in (("a", ON_LOOP), (Text("a"), IN_WORKER)):
            places.begin()
            assert len(await all_of(of(Item, "query", key))) == MANY
            assert places.taken() == taken


Change = cabc.Callable[[], t.Any]
CHANGES: dict[str, Change] = {
    "an attribute": lambda: mock.patch.object(Item.text, "deserialize", return_value="patched"),
    "its class": lambda: mock.patch.object(UnicodeAttribute, "deserialize", return_value="patched"),
}


@pytest.mark.parametrize("name", ["query", "scan", "batch_get"])
@pytest.mark.parametrize("change", CHANGES)
async def test_a_patch_counts_from_the_next_page_on(
    make_app: MakeApp, stub: Stub, name: str, change: str
) -> None:
    """Whether it is made before or after the query, which nothing has waited for."""
    args: dict[str, list[t.Any]] = {"query": ["a"], "scan": [], "batch_get": [keys(MANY)]}
    stub.always("Query", pages(MANY, 1)[0])
    stub.always("Scan", pages(MANY, 1)[0])
    stub.always("BatchGetItem", found)

    async def texts(result: t.Any) -> set[str]:
        return {item.text async for item in result}

    async with make_app().app_context():
        start = functools.partial(of(Item, name, *args[name]), True)
        before = await texts(start())
        result = start()

        with CHANGES[change]():
            assert await texts(result) == {"patched"}
            assert await texts(start()) == {"patched"}

        assert await texts(start()) == before


class Scanning(Item):
    class Meta(Item.Meta):
        pass

    scan = Own.scan


async def test_a_patch_counts_for_a_model_that_has_code_of_the_app(
    make_app: MakeApp, stub: Stub
) -> None:
    """Also in a turn of the event loop in which another call has looked at the model."""
    stub.always("Query", pages(MANY, 1)[0])

    async def texts() -> set[str | None]:
        return {item.text async for item in Scanning.aquery("a")}

    async with make_app().app_context():
        assert len(await texts()) == MANY

        with CHANGES["its class"]():
            _, read = await asyncio.gather(Scanning("a", 0).adelete(), texts())
            assert read == {"patched"}


@pytest.mark.parametrize("name", ["query", "get"])
async def test_a_reply_that_is_unusual_is_tried_once(
    make_app: MakeApp, stub: Stub, name: str
) -> None:
    """After three in a row, no other one would be tried for a while."""
    odd = raw_item(0, t={"BOOL": True})
    stub.always("Query", page([odd] * MANY))
    stub.always("GetItem", Answer(body={"Item": odd}))

    async def call() -> None:
        with pytest.raises(AttributeDeserializationError):
            await (all_of(of(Item, "query", "a")) if name == "query" else Item.aget("a", 0))

    async with make_app().app_context():
        # The first call of a model makes its plans.
        await call()
        reader = t.cast(t.Any, deserializer.of(Item).reply_reader)

        while reader.typed(1_000_000) is None:
            pass

        reader.note_success()
        await call()
        await call()
        assert reader.typed(1) is not None


class Replaced:
    """What a test puts into the place of a model's connection."""

    def query(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
        return {**pages(3, 1)[0].body}


async def test_a_connection_of_a_test_is_called_in_a_worker(
    make_app: MakeApp, stub: Stub, places: Places
) -> None:
    async with make_app().app_context():
        with mock.patch.object(Item, "_get_connection", return_value=Replaced()):
            places.begin()
            assert [item.text async for item in Item.aquery("a")] == ["t0", "t1", "t2"]
            assert places.taken() == IN_WORKER

        with mock.patch.object(pynamodb.models, "ResultIterator", return_value=["replaced"]):
            assert [item async for item in t.cast(t.Any, Item.aquery("a"))] == ["replaced"]

    assert stub.requests == []


async def test_an_item_that_can_t_be_decoded_fails_in_its_turn(
    make_app: MakeApp, stub: Stub
) -> None:
    usual, wrong = raw_item(0), raw_item(1, t={"N": "1"})

    async with make_app().app_context():
        # The first item of a page comes by another way than the others.
        for answer in ([usual, wrong], [wrong, usual]):
            stub.next("BatchGetItem", Answer(body={"Responses": {"items": answer}}))
            items = Item.abatch_get(keys(2))

            for item in answer:
                if item is usual:
                    assert (await anext(items)).number == 0
                else:
                    with pytest.raises(AttributeDeserializationError):
                        await anext(items)


class Spans(SpanProcessor):
    def __init__(self) -> None:
        self.names: list[str] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.names.append(span.name)


async def test_calls_that_have_spans_are_left_to_the_hub(
    make_app: MakeApp, stub: Stub, places: Places
) -> None:
    spans = Spans()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(spans)
    stub.next("Query", *pages(MANY))
    stub.next("BatchGetItem", found)

    async with make_app().app_context():
        instrument(tracer_provider=provider)

        try:
            for start in (QUERY, of(Item, "batch_get", keys(3))):
                places.begin()
                await all_of(start)
                assert places.taken() == IN_HUB
        finally:
            uninstrument()
            provider.shutdown()

    assert [name.split()[0] for name in spans.names] == ["Query", "Query", "BatchGetItem"]


async def test_calls_of_a_request_are_recorded(
    make_app: MakeApp, stub: Stub, places: Places
) -> None:
    app = make_app(DYNAMODB_RECORD_CALLS=True)
    stub.next("Query", *pages(MANY), *counted(2))
    stub.next("BatchGetItem", found)

    @app.get("/")
    async def view() -> dict[str, t.Any]:
        await all_of(QUERY)
        await Item.acount("a")
        await all_of(of(Item, "batch_get", keys(3)))
        calls = dynamo_ext.get_recorded_calls()
        return {"calls": [(each.operation, each.items, bool(each.location)) for each in calls]}

    async with app.app_context():
        response = await app.test_client().get("/")
        assert (await response.get_json())["calls"] == [
            ["Query", MANY, True],
            ["Query", MANY, True],
            ["Query", 2, True],
            ["BatchGetItem", 3, True],
        ]

    assert places.taken() == IN_HUB


async def test_an_error_is_raised_with_its_cause(
    make_app: MakeApp, stub: Stub, places: Places
) -> None:
    async with make_app().app_context():
        stub.next("Query", pages(FEW)[0], MISSING)
        items = Item.aquery("a")
        assert [(await anext(items)).number for _ in range(FEW)] == [0, 1]

        with pytest.raises(QueryError, match="no such table") as raised:
            await anext(items)

        assert raised.value.cause_response_code == "ResourceNotFoundException"
        assert places.taken() == IN_WORKER
        # It goes on where it failed.
        stub.next("Query", pages(FEW)[1])
        assert [item.number async for item in items] == [2, 3]


async def test_keys_that_are_never_processed(make_app: MakeApp, stub: Stub) -> None:
    async with make_app().app_context():
        stub.next("BatchGetItem", found_some(2))
        stub.always("BatchGetItem", stubs.unprocessed)
        items = Item.abatch_get(keys(5))
        assert [(await anext(items)).number for _ in range(2)] == [0, 1]

        with pytest.raises(UnprocessedKeys) as raised:
            await anext(items)

    assert len(raised.value.unprocessed_keys) == 3
