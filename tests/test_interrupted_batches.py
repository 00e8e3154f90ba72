"""Batches that are cancelled, interrupted or refused: what was not acknowledged is not lost."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import random
import signal
import threading
import time
import typing as t

import anyio
import pytest
from pynamodb import constants
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import PutError

import stub as stubs
from conftest import InApp
from dynamo_ext_async import Model
from dynamo_ext_async import UnprocessedItems
from stub import Answer
from stub import Behaviour
from stub import Request
from stub import Stub
from waiting import until

pytestmark = pytest.mark.wire

REFUSED = stubs.error(400, "ValidationException")
Batch = t.Any


class Item(Model):
    class Meta:
        table_name = "item"

    id = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(range_key=True)
    text = UnicodeAttribute(null=True)


def item(number: int, text: str | None = None) -> Item:
    return Item("a", number, text=text)


def sent(request: Request) -> list[str]:
    """What a request writes: the numbers of its items with their texts, or with a minus."""
    (operations,) = request.body["RequestItems"].values()
    return sorted(map(described, operations))


def described(request: t.Any) -> str:
    if "DeleteRequest" in request:
        return f"-{request['DeleteRequest']['Key']['number']['N']}"

    written = request["PutRequest"]["Item"]
    return t.cast(str, written["number"]["N"] + written.get("text", {}).get("S", ""))


def left(batch: Batch) -> list[str]:
    """What a batch says is not acknowledged."""
    pending = [
        f"-{operation['item'].number:g}"
        if operation["action"] == constants.DELETE
        else f"{operation['item'].number:g}{operation['item'].text or ''}"
        for operation in batch.pending_operations
    ]
    return sorted(pending + [described(request) for request in batch.failed_operations])


def all_but(done: int) -> cabc.Callable[[Request], Answer]:
    """So many items of a batch are written, the others are not."""

    def answer(request: Request) -> Answer:
        ((table, part),) = request.body["RequestItems"].items()
        return Answer(body={"UnprocessedItems": {table: part[done:]} if part[done:] else {}})

    return answer


@pytest.fixture
def impatient(stub_config: dict[str, t.Any]) -> dict[str, t.Any]:
    """Settings with which nothing waits between two attempts."""
    return {**stub_config, "DYNAMODB_BASE_BACKOFF_MS": 0, "DYNAMODB_MAX_RETRY_ATTEMPTS": 0}


@pytest.fixture
def patient(stub_config: dict[str, t.Any]) -> dict[str, t.Any]:
    """Settings with which the wait between two rounds is long: 4.8 s, by the seed."""
    random.seed(3)
    return {**stub_config, "DYNAMODB_BASE_BACKOFF_MS": 10**6}


@pytest.fixture(autouse=True)
def let_go(stub: Stub) -> cabc.Iterator[None]:
    yield
    stub.release()


def five(batch: Batch) -> None:
    for number in range(5):
        batch.save(item(number))


async def afive(batch: Batch) -> None:
    for number in range(5):
        await batch.save(item(number))


FIVE = ["0", "1", "2", "3", "4"]
FAILURES: dict[str, Behaviour] = {
    "refused": REFUSED,
    "throttled": stubs.THROTTLE,
    "lost": stubs.DROP,
    "500": stubs.INTERNAL_ERROR,
    "damaged": Answer(content=b"{", checksum=False),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_what_a_failing_round_leaves_is_sent_by_the_next_commit(
    failure: str, in_app: InApp, impatient: dict[str, t.Any], stub: Stub
) -> None:
    stub.next("BatchWriteItem", all_but(2), all_but(1), FAILURES[failure])

    with in_app(impatient):
        batch = Item.batch_write()
        five(batch)

        with pytest.raises(PutError):
            batch.commit()

        assert left(batch) == ["3", "4"]
        batch.commit()
        assert left(batch) == []
        batch.commit()

    assert [sent(request) for request in stub.requests] == [FIVE, FIVE[2:], FIVE[3:], FIVE[3:]]


@pytest.mark.anyio
@pytest.mark.parametrize("failure", FAILURES)
async def test_what_a_failing_round_leaves_is_sent_by_the_next_awaited_commit(
    failure: str, in_app: InApp, impatient: dict[str, t.Any], stub: Stub
) -> None:
    stub.next("BatchWriteItem", all_but(2), FAILURES[failure])

    with in_app(impatient):
        batch = Item.abatch_write()
        await afive(batch)

        with pytest.raises(PutError):
            await batch.commit()

        assert left(batch) == FIVE[2:]
        await batch.commit()
        assert left(batch) == []

    assert [sent(request) for request in stub.requests] == [FIVE, FIVE[2:], FIVE[2:]]


def interrupt_when(condition: cabc.Callable[[], bool]) -> threading.Thread:
    """Interrupt the main thread, as Ctrl-C does, as soon as something holds."""
    main = threading.get_ident()

    def interrupt() -> None:
        while not condition():
            time.sleep(0.002)

        # A signal that comes just before a system call does not interrupt it.
        time.sleep(0.1)
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    return thread


def test_an_interrupt_in_the_wait_between_two_rounds_loses_nothing(
    in_app: InApp, patient: dict[str, t.Any], stub: Stub
) -> None:
    stub.next("BatchWriteItem", all_but(2))

    with in_app(patient):
        batch = Item.batch_write()
        five(batch)
        thread = interrupt_when(lambda: len(batch.pending_operations) == 3)

        with pytest.raises(KeyboardInterrupt):
            batch.commit()

        thread.join()
        assert left(batch) == FIVE[2:]
        batch.commit()
        assert left(batch) == []

    assert [sent(request) for request in stub.requests] == [FIVE, FIVE[2:]]


def test_an_interrupt_on_the_wire_loses_nothing(
    in_app: InApp, impatient: dict[str, t.Any], stub: Stub
) -> None:
    stub.next("BatchWriteItem", stubs.HOLD)

    with in_app(impatient) as db:
        batch = Item.batch_write()
        five(batch)
        thread = interrupt_when(lambda: stub.holding == 1)

        with pytest.raises(KeyboardInterrupt):
            batch.commit()

        thread.join()
        assert db.pool.in_use == 0
        assert left(batch) == FIVE
        batch.commit()
        assert left(batch) == []

    assert [sent(request) for request in stub.requests] == [FIVE, FIVE]


@pytest.mark.anyio
async def test_a_commit_that_is_cancelled_between_two_rounds_loses_nothing(
    in_app: InApp, patient: dict[str, t.Any], stub: Stub
) -> None:
    stub.next("BatchWriteItem", all_but(2))

    with in_app(patient):
        batch = Item.abatch_write()
        await afive(batch)
        await cancel_when(lambda: len(batch.pending_operations) == 3, batch.commit)
        assert left(batch) == FIVE[2:]
        await batch.commit()
        assert left(batch) == []

    assert [sent(request) for request in stub.requests] == [FIVE, FIVE[2:]]


async def cancel_when(
    condition: cabc.Callable[[], bool], work: cabc.Callable[[], cabc.Awaitable[object]]
) -> None:
    """Cancel some work as soon as something holds."""
    has_ended = False

    async def run() -> None:
        nonlocal has_ended
        await work()
        has_ended = True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)

        await until(condition)
        tasks.cancel_scope.cancel()

    assert not has_ended


@pytest.mark.anyio
async def test_a_commit_that_is_cancelled_on_the_wire_loses_nothing(
    in_app: InApp, impatient: dict[str, t.Any], stub: Stub
) -> None:
    """What its worker still gets acknowledged is not sent again."""
    stub.next("BatchWriteItem", stubs.held(all_but(2)))

    with in_app(impatient):
        batch = Item.abatch_write()
        await afive(batch)
        await cancel_when(lambda: stub.holding == 1, batch.commit)
        assert left(batch) == FIVE

        stub.release()
        await until(lambda: left(batch) == FIVE[2:])
        await batch.commit()
        assert left(batch) == []

    assert [sent(request) for request in stub.requests] == [FIVE, FIVE[2:]]


@pytest.mark.anyio
async def test_what_is_newer_is_sent_after_what_is_still_on_the_wire(
    in_app: InApp, impatient: dict[str, t.Any], stub: Stub
) -> None:
    stub.next("BatchWriteItem", stubs.held(all_but(2)))

    with in_app(impatient) as db:
        batch = Item.abatch_write()
        await afive(batch)
        await cancel_when(lambda: stub.holding == 1, batch.commit)
        await batch.save(item(4, "newer"))
        await batch.delete(item(3))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(batch.commit)
            await anyio.wait_all_tasks_blocked()
            # It waits without a slot.
            assert (len(stub.requests), db.pool.in_use) == (1, 1)
            stub.release()

        assert left(batch) == []

    assert [sent(request) for request in stub.requests] == [FIVE, ["-3", "2", "4newer"]]


def test_threads_that_share_a_batch_send_one_request_after_the_other(
    in_app: InApp, impatient: dict[str, t.Any], stub: Stub
) -> None:
    """What is newer arrives later, and what is written is not sent again."""
    stub.next("BatchWriteItem", stubs.held(all_but(2)))

    with in_app(impatient):
        batch = Item.batch_write()
        five(batch)
        threads = [threading.Thread(target=batch.commit) for _ in range(2)]
        threads[0].start()
        stub.wait_for(lambda: stub.holding == 1)
        batch.save(item(4, "newer"))
        threads[1].start()
        # It waits for the other one, and sends nothing meanwhile.
        threads[1].join(0.2)
        assert len(stub.requests) == 1
        stub.release()

        for thread in threads:
            thread.join()

        assert left(batch) == []

    first, *others = map(sent, stub.requests)
    assert first == FIVE
    later = [each for request in others for each in request]
    assert later.count("4newer") == 1
    assert not {"0", "1"} & {*later}


@pytest.mark.anyio
async def test_a_block_that_is_cancelled_while_it_writes_loses_nothing(
    in_app: InApp, patient: dict[str, t.Any], stub: Stub
) -> None:
    stub.next("BatchWriteItem", all_but(20))
    batches: list[Batch] = []

    async def write_many() -> None:
        async with Item.abatch_write() as batch:
            batches.append(batch)

            for number in range(40):
                await batch.save(item(number))

    with in_app(patient):
        await cancel_when(
            lambda: bool(batches) and len(batches[0].pending_operations) == 5 and stub.answers > 0,
            write_many,
        )
        (batch,) = batches
        assert left(batch) == sorted(str(number) for number in range(20, 25))
        await batch.commit()
        assert left(batch) == []

    assert [len(sent(request)) for request in stub.requests] == [25, 5]


def test_a_block_that_fails_while_it_writes_loses_nothing(
    in_app: InApp, impatient: dict[str, t.Any], stub: Stub
) -> None:
    stub.next("BatchWriteItem", all_but(20), REFUSED)
    batch = None

    with in_app(impatient):
        with pytest.raises(PutError), Item.batch_write() as batch:
            for number in range(40):
                batch.save(item(number))

        assert batch is not None
        assert left(batch) == sorted(str(number) for number in range(20, 25))
        batch.commit()
        assert left(batch) == []

    assert [len(sent(request)) for request in stub.requests] == [25, 5, 5]


def test_what_was_given_up_is_sent_by_the_next_commit(
    in_app: InApp, impatient: dict[str, t.Any], stub: Stub
) -> None:
    with in_app(impatient):
        batch = Item.batch_write()
        five(batch)
        stub.next("BatchWriteItem", all_but(1))
        stub.always("BatchWriteItem", stubs.unprocessed)

        with pytest.raises(UnprocessedItems) as raised:
            batch.commit()

        assert batch.pending_operations == []
        assert batch.failed_operations == raised.value.unprocessed_items
        assert left(batch) == FIVE[1:]

        with pytest.raises(UnprocessedItems):
            batch.commit()

        assert left(batch) == FIVE[1:]
        stub.forget()
        stub.always("BatchWriteItem", all_but(25))
        batch.save(item(2, "newer"))
        batch.delete(item(3))
        batch.save(item(9))
        batch.commit()
        assert (batch.pending_operations, batch.failed_operations) == ([], [])

    assert [sent(request) for request in stub.requests] == [["-3", "1", "2newer", "4", "9"]]


def test_more_than_one_request_is_sent_for_what_was_given_up_and_what_is_new(
    in_app: InApp, impatient: dict[str, t.Any], stub: Stub
) -> None:
    with in_app(impatient):
        batch = Item.batch_write()
        stub.always("BatchWriteItem", stubs.unprocessed)

        for number in range(25):
            batch.save(item(number))

        with pytest.raises(UnprocessedItems):
            batch.commit()

        for number in range(25, 40):
            batch.save(item(number))

        stub.forget()
        stub.always("BatchWriteItem", all_but(25))
        batch.commit()
        assert left(batch) == []

    first, second = map(sent, stub.requests)
    assert (len(first), len(second)) == (25, 15)
    assert sorted(map(int, first + second)) == list(range(40))


#: Operations on one key: a letter saves it, a minus deletes it.
REPEATED = ["ab", "a-", "-a", "a-b", "-a-", "abc", "--"]


def add(batch: Batch, text: str, expected: dict[int, str]) -> t.Any:
    """Add one of these operations, and note what comes of it."""
    if text == "-":
        expected.pop(1, None)
        return batch.delete(item(1))

    expected[1] = text
    return batch.save(item(1, text))


def test_of_several_operations_on_one_key_the_last_one_is_written(
    in_app: InApp, config: dict[str, t.Any]
) -> None:
    with in_app(config):
        Item.create_table(wait=True)
        item(3, "stored").save()

        with Item.batch_write() as batch:
            batch.save(item(1, "first"))
            batch.save(item(1, "second"))
            batch.delete(item(2))
            batch.save(item(2, "after its deletion"))
            batch.save(item(3, "deleted"))
            batch.delete(item(3))

        assert {each.number: each.text for each in Item.scan()} == {
            1: "second",
            2: "after its deletion",
        }


def test_the_last_operation_on_a_key_keeps_its_place(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    """What it refers to may be before it."""
    with in_app(stub_config), Item.batch_write() as batch:
        for number, text in [(1, "old"), (2, "old"), (3, ""), (1, "new"), (4, ""), (2, "new")]:
            batch.save(item(number, text))

    (request,) = stub.requests
    (operations,) = request.body["RequestItems"].values()
    assert list(map(described, operations)) == ["3", "1new", "4", "2new"]


@pytest.mark.parametrize("operations", REPEATED)
def test_the_last_one_wins_across_the_border_of_two_requests(
    operations: str, in_app: InApp, config: dict[str, t.Any]
) -> None:
    expected: dict[int, str] = {}

    with in_app(config):
        Item.create_table(wait=True)

        with Item.batch_write() as batch:
            for text in operations:
                add(batch, text, expected)

                for other in range(10, 30):
                    batch.save(item(other))

        assert {each.number: each.text for each in Item.query("a", Item.number < 10)} == expected


@pytest.mark.anyio
@pytest.mark.parametrize("operations", REPEATED)
async def test_the_last_one_wins_where_it_is_awaited(
    operations: str, in_app: InApp, config: dict[str, t.Any]
) -> None:
    expected: dict[int, str] = {}

    with in_app(config):
        await Item.acreate_table(wait=True)

        async with Item.abatch_write() as batch:
            for text in operations:
                await add(batch, text, expected)

                for other in range(10, 20):
                    await batch.save(item(other))

        found = {each.number: each.text async for each in Item.aquery("a", Item.number < 10)}
        assert found == expected


@pytest.mark.parametrize("operations", REPEATED)
def test_what_is_newer_replaces_what_was_given_up(
    operations: str, in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    expected: dict[int, str] = {}
    first, others = operations[0], operations[1:]

    with in_app(stub_config, DYNAMODB_BASE_BACKOFF_MS=0):
        batch = Item.batch_write()
        add(batch, first, expected)
        stub.always("BatchWriteItem", stubs.unprocessed)

        with pytest.raises(UnprocessedItems):
            batch.commit()

        assert len(batch.failed_operations) == 1

        for text in others:
            add(batch, text, expected)

        assert len(batch.pending_operations) == len(others)
        stub.always("BatchWriteItem", Answer(body={"UnprocessedItems": {}}))
        stub.forget()
        batch.commit()

    (request,) = stub.requests
    assert sent(request) == [f"1{expected[1]}" if expected else "-1"]
    assert left(batch) == []


@pytest.mark.parametrize("operations", REPEATED)
def test_of_what_stays_unprocessed_only_the_last_one_is_on_the_error(
    operations: str, in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    expected: dict[int, str] = {}

    with in_app(stub_config, DYNAMODB_BASE_BACKOFF_MS=0):
        batch = Item.batch_write()

        for text in operations:
            add(batch, text, expected)

        stub.always("BatchWriteItem", stubs.unprocessed)

        with pytest.raises(UnprocessedItems) as raised:
            batch.commit()

    assert list(map(described, raised.value.unprocessed_items)) == [
        f"1{expected[1]}" if expected else "-1"
    ]
    assert batch.failed_operations == raised.value.unprocessed_items
    assert batch.pending_operations == []


class Table:
    """A stub's table, which writes what it likes of each batch, and may lose its answers.

    :param seed: What it does follows from it.
    """

    def __init__(self, seed: int) -> None:
        self.items: dict[str, str] = {}
        self.acknowledged: list[str] = []
        self._random = random.Random(seed)

    def __call__(self, request: Request) -> Answer:
        ((table, part),) = request.body["RequestItems"].items()
        keys = [described(each).lstrip("-").split("v")[0] for each in part]
        assert len(set(keys)) == len(keys) <= 25

        if self._random.random() < 0.2:
            return self._random.choice([REFUSED, stubs.DROP])

        count = self._random.choice([0, 1, len(part) // 2, len(part), len(part)])
        chosen = self._random.sample(range(len(part)), count)

        for index in chosen:
            if "PutRequest" in part[index]:
                self.items[keys[index]] = described(part[index])
            else:
                self.items.pop(keys[index], None)

        if self._random.random() < 0.2:
            return stubs.DROP

        self.acknowledged += [described(part[index]) for index in chosen]
        rest = [each for index, each in enumerate(part) if index not in chosen]
        return Answer(body={"UnprocessedItems": {table: rest} if rest else {}})


class Expected:
    """What should come of a batch's operations, one after the other."""

    def __init__(self, seed: int) -> None:
        self.items: dict[str, str] = {}
        self.accepted: list[str] = []
        self._random = random.Random(seed)

    def next(self, number: int) -> tuple[bool, Item]:
        """Whether to save, and what."""
        key = self._random.randrange(30)
        return self._random.random() < 0.7, item(key, f"v{number}")

    def accept(self, is_save: bool, each: Item) -> None:
        key = f"{each.number:g}"
        self.accepted.append(f"{key}{each.text}" if is_save else f"-{key}")

        if is_save:
            self.items[key] = f"{key}{each.text}"
        else:
            self.items.pop(key, None)


@pytest.mark.parametrize("seed", range(8))
def test_whatever_fails_nothing_is_lost_and_the_last_one_wins(
    seed: int, in_app: InApp, impatient: dict[str, t.Any], stub: Stub
) -> None:
    table, expected = Table(seed), Expected(seed)
    stub.always("BatchWriteItem", table)
    failures = 0

    with in_app(impatient):
        batch = Item.batch_write()

        for number in range(120):
            is_save, each = expected.next(number)

            while True:
                try:
                    (batch.save if is_save else batch.delete)(each)
                    break
                except PutError:
                    failures += 1

            expected.accept(is_save, each)

        while True:
            try:
                batch.commit()
                break
            except PutError:
                failures += 1
                # What is neither acknowledged nor replaced by a later operation is still there.
                latest = {name.lstrip("-").split("v")[0]: name for name in expected.accepted}
                missing = set(latest.values()) - set(left(batch)) - set(table.acknowledged)
                assert not missing

    assert left(batch) == []
    assert table.items == expected.items
    assert failures


@pytest.mark.anyio
async def test_whatever_fails_nothing_awaited_is_lost_and_the_last_one_wins(
    in_app: InApp, impatient: dict[str, t.Any], stub: Stub
) -> None:
    table, expected = Table(1), Expected(1)
    stub.always("BatchWriteItem", table)

    with in_app(impatient):
        batch = Item.abatch_write()

        for number in range(60):
            is_save, each = expected.next(number)

            while True:
                try:
                    await (batch.save if is_save else batch.delete)(each)
                    break
                except PutError:
                    pass

            expected.accept(is_save, each)

        while left(batch):
            with contextlib.suppress(PutError):
                await batch.commit()

    assert table.items == expected.items
