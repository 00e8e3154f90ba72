"""Models and calls that are drawn at random: what is sent, what comes back and what is raised is
what PynamoDB sends, gives and raises.

``DYNAMO_EXT_TEST_DIFFERENTIAL`` says how many scenarios are drawn for each area, and
``DYNAMO_EXT_TEST_DIFFERENTIAL_SEED`` which ones.
"""

from __future__ import annotations

import collections.abc as cabc
import logging
import os
import typing as t

import botocore.session
import hypothesis
import pynamodb.connection.base
import pytest
from botocore.retries.standard import ExponentialBackoff
from hypothesis import strategies as st

import engines
from differential import calls
from differential import coverage
from differential import models
from differential import pictures
from differential import running
from differential.description import Scenario
from differential.running import Run
from differential.running import Script
from differential.sides import MAX_RETRY_ATTEMPTS
from differential.sides import Awaited
from differential.sides import Blocking
from differential.sides import Side
from differential.sides import Stock
from strength import examples
from stub import Stub

T = t.TypeVar("T")
_USUAL = 50
_AT_A_TIME = 10
_SEEDS = 1_000_000
SEED = int(os.environ.get("DYNAMO_EXT_TEST_DIFFERENTIAL_SEED", "0"))
SCENARIOS = int(os.environ.get("DYNAMO_EXT_TEST_DIFFERENTIAL", "0")) or examples(_USUAL)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.once(reason="each scenario runs on both transports"),
    pytest.mark.xdist_group("differential"),
    pytest.mark.timeout(300 + SCENARIOS),
]


class Sides:
    """PynamoDB, and all ways to call this project, on one server."""

    def __init__(self, stub: Stub) -> None:
        self.script = Script(stub)
        self.stock = Stock(stub.url)
        config = {
            **engines.config(stub.url),
            "DYNAMODB_TABLE_NAME_PREFIX": "",
            "DYNAMODB_MAX_RETRY_ATTEMPTS": MAX_RETRY_ATTEMPTS,
            "DYNAMODB_BASE_BACKOFF_MS": 0,
        }
        botocores = {**config, "DYNAMODB_TRANSPORT": "botocore"}
        direct = {**config, "DYNAMODB_TRANSPORT": "direct"}
        self.ours: dict[str, Side] = {
            "blocking, botocore": Blocking(botocores),
            "blocking, direct": Blocking(direct),
            "asyncio, botocore": Awaited(botocores, "asyncio"),
            "asyncio, direct": Awaited(direct, "asyncio"),
            "trio, direct": Awaited(direct, "trio"),
        }

    def run(self, side: Side, scenario: Scenario) -> running.Seen:
        return side.drive(lambda: Run(side, self.script).run(scenario))


@pytest.fixture
def sides(caplog: pytest.LogCaptureFixture) -> cabc.Iterator[Sides]:
    # Each call that fails is logged, and most of what is drawn does.
    caplog.set_level(logging.CRITICAL, "dynamo_ext")
    session = botocore.session.get_session()

    with Stub() as stub, pytest.MonkeyPatch.context() as patch:
        # Each model of PynamoDB has a client of its own: from one session, that is quick.
        patch.setattr(pynamodb.connection.base, "get_session", lambda: session)
        # It would wait up to a second before it sends a call again.
        patch.setattr(ExponentialBackoff, "delay_amount", lambda self, context: 0)
        yield Sides(stub)


def for_many(count: int, strategy: st.SearchStrategy[T], check: cabc.Callable[[T], object]) -> None:
    """Check so many examples, the same ones with the same seed.

    After ten examples, hypothesis draws most of the others by varying one a little, so it is asked
    for ten at a time.
    """
    for start in range(0, count, _AT_A_TIME):

        @hypothesis.seed(SEED * _SEEDS + start)
        @hypothesis.settings(max_examples=_AT_A_TIME, database=None)
        @hypothesis.given(strategy)
        def check_some(example: T) -> None:
            check(example)

        check_some()


@pytest.mark.parametrize("area", calls.AREAS)
def test_models_behave_as_pynamodb_s(sides: Sides, area: str) -> None:
    met: set[str] = set()

    def agree(scenario: Scenario) -> None:
        met.update(coverage.of_steps(scenario))
        expected = sides.run(sides.stock, scenario)

        for name, side in sides.ours.items():
            # The event loop makes the least difference.
            if name.startswith("trio") and len(scenario.steps) % 3:
                continue

            difference = pictures.difference(expected, sides.run(side, scenario))
            assert difference is None, f"{name}: {difference}"

    for_many(SCENARIOS, calls.scenarios(area), agree)

    if SCENARIOS >= _USUAL:
        assert met >= {*calls.MEETS[area], "200", "400"}


@pytest.mark.once(reason="no call is sent")
def test_the_models_have_everything_that_models_may_have() -> None:
    met: set[str] = set()
    for_many(200, models.models(), lambda model: met.update(coverage.of_model(model)))
    assert met >= coverage.wanted_of_models()
