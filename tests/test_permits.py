"""Slots, counters and deadlines when a signal handler raises, wherever that is."""

from __future__ import annotations

import collections.abc as cabc
import concurrent.futures
import gc
import threading
import time
import typing as t
import weakref

import pytest
from pynamodb.attributes import UnicodeAttribute

import interrupting
from conftest import InApp
from dynamo_ext import CallTimeout
from dynamo_ext import Model
from dynamo_ext import Pool
from dynamo_ext import PoolTimeout
from dynamo_ext.binding import context
from dynamo_ext.calls import backoff
from dynamo_ext.calls import deadline
from dynamo_ext.calls.app_policy import InFlight
from dynamo_ext.concurrency.permits import Permit
from stub import Stub

DEADLINE = 60


class Todo(Model):
    class Meta:
        table_name = "todo"

    id = UnicodeAttribute(hash_key=True)


class Owner:
    """Takes permits back."""

    def __init__(self) -> None:
        self.permits: list[Permit] = []

    def take_back(self, permit: Permit) -> None:
        self.permits.append(permit)


def test_a_permit_that_nobody_refers_to_goes_back_as_often_as_that_happens() -> None:
    owner = Owner()
    owner.take_back(Permit(weakref.WeakMethod(owner.take_back)))

    for _ in range(3):
        owner.permits.pop()

    assert len(owner.permits) == 1


def test_permits_end_with_their_owner() -> None:
    owner = Owner()
    reference = weakref.ref(owner)
    permit = Permit(weakref.WeakMethod(owner.take_back))
    del owner
    assert reference() is None
    del permit


def one_slot(pool: Pool) -> None:
    with pool.slot_for_call(DEADLINE):
        pass


def a_share_of_a_slot(pool: Pool) -> None:
    with pool.slot_for_call(DEADLINE), pool.slot_for_call(DEADLINE):
        pass


def released_by_hand(pool: Pool) -> None:
    slot = pool.acquire(DEADLINE)
    slot.release()


def a_share_that_outlives_its_slot(pool: Pool) -> None:
    with pool.acquire(DEADLINE):
        share = t.cast(t.Any, pool.join_held())

    share.release()


def a_wait_that_is_too_long(pool: Pool) -> None:
    with pool.acquire(DEADLINE), pool.acquire(DEADLINE), pytest.raises(TimeoutError):
        pool.acquire(0)


def a_wait_between_attempts(pool: Pool) -> None:
    with pool.slot_for_call(DEADLINE):
        backoff.wait(1e-6)


def a_wait_of_a_share_between_attempts(pool: Pool) -> None:
    with pool.slot_for_call(DEADLINE), pool.slot_for_call(DEADLINE):
        backoff.wait(1e-6)


@pytest.mark.parametrize(
    "use",
    [
        one_slot,
        a_wait_between_attempts,
        a_wait_of_a_share_between_attempts,
        a_share_of_a_slot,
        released_by_hand,
        a_share_that_outlives_its_slot,
        a_wait_that_is_too_long,
    ],
)
def test_no_slot_is_lost_wherever_its_use_is_interrupted(use: cabc.Callable[[Pool], None]) -> None:
    pool = Pool(2)
    points = 0

    for points in interrupting.everywhere(lambda: use(pool)):
        assert (pool.in_use, pool.waiting, pool.is_held) == (0, 0, False), points

    assert points > 10
    use(pool)


def test_a_slot_is_not_lost_to_a_traceback_that_someone_keeps() -> None:
    """An exception that is logged later keeps the frames of the code that it has interrupted."""
    pool = Pool(1)

    class Kept(Exception):
        pass

    def use() -> None:
        with pool.slot_for_call(DEADLINE):
            raise Kept

    with pytest.raises(Kept) as kept:
        use()

    assert pool.in_use == 0
    assert kept.value.__traceback__ is not None


def test_who_waits_gets_the_slot_wherever_it_is_given_back_and_interrupted() -> None:
    pool = Pool(1)

    def wait_and_give_back() -> None:
        pool.acquire(DEADLINE).release()

    def until_queued() -> None:
        while not pool.waiting:
            assert not waiting[-1].done()

    with concurrent.futures.ThreadPoolExecutor(2) as threads:

        def give_back_to_another() -> None:
            with pool.acquire(DEADLINE):
                waiting.append(threads.submit(wait_and_give_back))
                # In a thread, because its steps are no points of interruption.
                threads.submit(until_queued).result(DEADLINE)

        waiting: list[concurrent.futures.Future[None]] = []

        for _ in interrupting.everywhere(give_back_to_another):
            # It is not interrupted itself: only the main thread runs signal handlers.
            for future in waiting:
                future.result(DEADLINE)

            assert (pool.in_use, pool.waiting) == (0, 0)


def test_who_waits_too_long_is_told_which_limit_it_was(caplog: pytest.LogCaptureFixture) -> None:
    pool = Pool(1)
    now = time.monotonic()

    with deadline.limit(30), pytest.raises(CallTimeout):
        # As by a timer that was early: there is time left, but less than for the slot.
        raise pool.line.refused(now, 60)

    assert caplog.messages == []

    with deadline.limit(60):
        error = pool.line.refused(now - 30, 30)
        assert isinstance(error, PoolTimeout)
        assert error.timeout == 30

    assert len(caplog.messages) == 1


def test_no_deadline_stays_behind() -> None:
    def use() -> None:
        with deadline.limit(1):
            pass

    for _ in interrupting.everywhere(use):
        assert deadline.current() is None


def test_no_call_stays_in_flight() -> None:
    in_flight = InFlight()

    def use() -> None:
        with in_flight.call():
            assert in_flight.count == 1

    for _ in interrupting.everywhere(use):
        assert in_flight.count == 0

    use()
    assert in_flight.count == 0


# The finaliser of a socket closes it, and warns.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.slow
def test_a_whole_call_leaves_nothing_behind_wherever_it_is_interrupted(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    stub_config["DYNAMODB_CALL_TIMEOUT_SECONDS"] = DEADLINE

    with in_app(stub_config, DYNAMODB_MAX_POOL_CONNECTIONS=1) as db:
        Todo.get("x")
        policy = context.state_of(context.app()).policy
        threads = threading.active_count()

        for point in interrupting.everywhere(lambda: Todo.get("x"), stride=2):
            left = (db.pool.in_use, db.pool.waiting, db.pool.is_held, policy.in_flight.count)
            assert left == (0, 0, False, 0), point
            assert deadline.current() is None, point

        # Each has its own item, also after replies that nobody has read to their end.
        assert [Todo.get(str(number)).id for number in range(5)] == list("01234")
        assert threading.active_count() <= threads + stub.connections

    gc.collect()
