"""The capacity that a transfer may consume, by a clock of the test's own."""

from __future__ import annotations

import dataclasses

import pytest

from dynamo_ext.cli.transfer.budget import Budget

pytestmark = pytest.mark.once(reason="no call is made")


@dataclasses.dataclass
class Clock:
    """A time that passes only while somebody sleeps."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("units", [0.5, 3, 128, 5000])
def test_what_was_consumed_is_paid_for_by_waiting(units: float) -> None:
    clock = Clock()
    budget = Budget(100, clock=clock, sleep=clock.sleep)

    for _ in range(50):
        budget.wait()
        budget.spend(units)

    # The last request is not paid for.
    assert clock.now - 1000 == pytest.approx(49 * units / 100)


def test_time_without_requests_is_not_saved() -> None:
    clock = Clock()
    budget = Budget(100, clock=clock, sleep=clock.sleep)
    clock.now += 3600
    budget.spend(100)
    budget.wait()
    assert clock.now - 4600 == pytest.approx(1)


def test_without_a_limit_nothing_waits() -> None:
    clock = Clock()
    budget = Budget(clock=clock, sleep=clock.sleep)
    budget.spend(10**9)
    budget.wait()
    assert clock.now == 1000


def test_a_wait_ends_when_the_transfer_does() -> None:
    clock = Clock()
    budget = Budget(1, clock=clock, sleep=clock.sleep)
    budget.spend(3600)
    budget.wait(is_over=lambda: clock.now > 1010)
    assert clock.now < 1012
