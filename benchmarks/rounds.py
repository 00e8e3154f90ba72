"""The rounds. Each measures every contestant in turn, and another contestant begins each time."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import sys
import time

from . import child
from . import lineup
from . import machine
from . import stub
from .cases import Case
from .cases import Load
from .cases import Startup
from .child import Child
from .child import Figures
from .child import NotMeasured
from .lineup import Contestant
from .results import Results
from .results import Row

_CEILING_SECONDS = 0.5


class Rounds:
    """One run of the harness.

    :param server: The stub.
    :param stack: Ends the contestants' processes.
    :param results: Collects the figures.
    """

    def __init__(self, server: stub.Stub, stack: contextlib.ExitStack, results: Results) -> None:
        self._server = server
        self._stack = stack
        self._results = results
        self._children: dict[tuple[Contestant, float], Child] = {}

    def measure(self, number: int, case: Case, contestant: Contestant) -> None:
        """Measure one contestant in one case and one round.

        A contestant that can't be measured is not tried again.
        """
        if contestant.name in self._results.missing or not contestant.takes(case):
            return

        try:
            figures = (
                self._load(case, contestant)
                if isinstance(case, Load)
                else self._startup(case, contestant)
            )
        except NotMeasured as error:
            self._results.missing[contestant.name] = f"{case}: {error}"
        else:
            self._results.rows.append(Row(str(case), contestant.name, number, figures))

    def _load(self, case: Load, contestant: Contestant) -> Figures:
        child = self._child(contestant, case.latency_ms)
        busy, start = self._server.cpu_seconds(), time.perf_counter()
        figures = child.ask("measure", case.operation, case.callers, self._results.seconds)
        busy, seconds = self._server.cpu_seconds() - busy, time.perf_counter() - start
        self._results.stub_busy = max(self._results.stub_busy, busy / seconds)
        return figures

    def _child(self, contestant: Contestant, latency_ms: float) -> Child:
        key = contestant, latency_ms

        if key not in self._children:
            running = child.running(contestant, self._server.url(latency_ms))
            self._children[key] = self._stack.enter_context(running)
            self._note_versions(contestant, self._children[key])

        return self._children[key]

    def _startup(self, case: Startup, contestant: Contestant) -> Figures:
        with child.running(contestant, self._server.url(0), count=case.models) as fresh:
            self._note_versions(contestant, fresh)
            return {**fresh.ask("first_calls"), "ready_ms": fresh.started["ready_ms"]}

    def _note_versions(self, contestant: Contestant, started: Child) -> None:
        versions = started.started["versions"]
        self._results.versions[lineup.without_pool(contestant.name)] = {
            package: versions[package] for package in contestant.packages if package in versions
        }


def run(
    cases: cabc.Sequence[Case],
    contestants: cabc.Sequence[Contestant],
    *,
    rounds: int,
    seconds: float,
) -> Results:
    """Measure contestants.

    :param cases: The cases.
    :param contestants: The contestants; each is measured in the cases that it takes.
    :param rounds: How many rounds.
    :param seconds: How long each contestant is measured in each case and round.
    """
    latencies = {case.latency_ms for case in cases if isinstance(case, Load)}
    results = Results(machine.describe(), rounds, seconds)

    with stub.running(latencies) as server, contextlib.ExitStack() as stack:
        results.ceiling = server.ceiling(_CEILING_SECONDS)
        turns = Rounds(server, stack, results)

        for number in range(rounds):
            for case in cases:
                _show_progress(f"round {number + 1} of {rounds}: {case}")
                first = number % len(contestants)

                for contestant in [*contestants[first:], *contestants[:first]]:
                    turns.measure(number, case, contestant)

    _show_progress("")
    return results


def _show_progress(line: str) -> None:
    """Show the progress if standard error is a terminal."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
