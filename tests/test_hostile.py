"""Thousands of calls, from all kinds of callers at once, to a server that breaks the rules.

The server and the callers are in ``tests/hostile``; ``python -m hostile --help`` says how to run
them by hand. What is checked here does not depend on how fast anything is: calls may fail, in the
documented ways.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest

import engines
from hostile import show
from hostile import verdict

CALLS = int(os.environ.get("DYNAMO_EXT_TEST_HOSTILE_CALLS", "6000"))
SEED = os.environ.get("DYNAMO_EXT_TEST_HOSTILE_SEED", "11")
# Far more than a busy machine takes.
_SECONDS = 800 + CALLS / 20

pytestmark = [
    pytest.mark.slow,
    pytest.mark.once(reason="names its transports itself"),
    # Calls that are stuck are reported before.
    pytest.mark.timeout(_SECONDS + 100),
]

# botocore takes more time for each, and less of what receives replies is this project's.
_SHARES = {"direct": 0.65, "botocore": 0.35}
# Fewer may miss one of the misbehaviours.
_ENOUGH_TO_MEET_ALL = 6_000

Report = dict[str, t.Any]


def run(*options: str) -> Report:
    """Make the calls, in a process of their own."""
    environment = engines.python_environment()
    paths = [str(pathlib.Path(__file__).parent), environment["PYTHONPATH"]]
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-m", "hostile", "--json", *options],
        capture_output=True,
        text=True,
        env={**environment, "PYTHONPATH": os.pathsep.join(paths)},
        timeout=_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    report: Report = json.loads(done.stdout)
    print("\n".join(show.lines(report)))
    # Where calls are stuck, the stack of each thread.
    print(done.stderr)
    return report


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=pytest.mark.xdist_group(f"hostile {name}")) for name in _SHARES
    ],
)
def report(request: pytest.FixtureRequest) -> Report:
    """What came of the calls on one transport."""
    calls = int(CALLS * _SHARES[request.param])
    return run("--transport", request.param, "--calls", str(calls), "--seed", SEED)


@pytest.mark.parametrize("check", verdict.CHECKS)
def test_whatever_the_server_does(report: Report, check: str) -> None:
    assert verdict.CHECKS[check](report) == []


def test_the_calls_meet_every_misbehaviour(report: Report) -> None:
    if CALLS >= _ENOUGH_TO_MEET_ALL:
        assert verdict.not_met(report) == []
