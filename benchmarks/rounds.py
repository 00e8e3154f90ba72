"""The rounds. Each measures every contestant in turn, and another contestant begins each time."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import dataclasses
import sys
import time

from . import apps
from . import child
from . import lineup
from . import machine
from . import servers
from . import stub
from .cases import Case
from .cases import Load
from .cases import Page
from .cases import Startup
from .child import Child
from .child import Figures
from .child import NotMeasured
from .lineup import Contestant
from .results import Results
from .results import Row
from .servers import WebServer

_CEILING_SECONDS = 0.2
#: The packages of the web servers, whose releases are reported as well.
_SERVER_PACKAGES = {"gunicorn": ("flask", "gunicorn"), "hypercorn": ("quart", "hypercorn")}


@dataclasses.dataclass(frozen=True)
class Stubs:
    """The DynamoDB of the loads and of the pages, whose queries and batches are smaller."""

    loads: stub.Stub
    pages: stub.Stub


class Rounds:
    """One run of the harness.

    :param stubs: The stubs.
    :param stack: Ends the contestants' processes.
    :param results: Collects the figures.
    """

    def __init__(self, stubs: Stubs, stack: contextlib.ExitStack, results: Results) -> None:
        self._stubs = stubs
        self._stack = stack
        self._results = results
        self._children: dict[tuple[Contestant, float], Child] = {}
        self._web_servers: dict[tuple[Contestant, float], WebServer] = {}

    def measure(self, number: int, case: Case, contestant: Contestant) -> None:
        """Measure one contestant in one case and one round.

        A contestant that can't be measured is not tried again.
        """
        if contestant.name in self._results.missing or not contestant.takes(case):
            return

        try:
            figures = self._figures(case, contestant)
        except NotMeasured as error:
            self._results.missing[contestant.name] = f"{case}: {error}"
        else:
            self._results.rows.append(Row(str(case), contestant.name, number, figures))

    def _figures(self, case: Case, contestant: Contestant) -> Figures:
        if isinstance(case, Startup):
            return self._startup(case, contestant)

        if isinstance(case, Page):
            return self._page(case, contestant)

        return self._load(case, contestant)

    def _load(self, case: Load, contestant: Contestant) -> Figures:
        child = self._child(contestant, case.latency_ms)

        with self._watched(self._stubs.loads):
            return child.ask("measure", case.operation, case.callers, self._results.seconds)

    @contextlib.contextmanager
    def _watched(self, server: stub.Stub) -> cabc.Iterator[None]:
        """Note how busy a stub is in the block."""
        busy, start = server.cpu_seconds(), time.perf_counter()
        yield
        busy, seconds = server.cpu_seconds() - busy, time.perf_counter() - start
        self._results.stub_busy = max(self._results.stub_busy, busy / seconds)

    def _child(self, contestant: Contestant, latency_ms: float) -> Child:
        key = contestant, latency_ms

        if key not in self._children:
            running = child.running(contestant, self._stubs.loads.url(latency_ms))
            self._children[key] = self._stack.enter_context(running)
            self._note_versions(contestant, self._children[key].started["versions"])

        return self._children[key]

    def _startup(self, case: Startup, contestant: Contestant) -> Figures:
        with child.running(contestant, self._stubs.loads.url(0), count=case.models) as fresh:
            self._note_versions(contestant, fresh.started["versions"])
            return {**fresh.ask("first_calls"), "ready_ms": fresh.started["ready_ms"]}

    def _page(self, case: Page, contestant: Contestant) -> Figures:
        web_server = self._web_server(contestant, case)

        with self._watched(self._stubs.pages):
            figures = web_server.measure(case.clients, self._results.seconds)

        self._results.clients_busy = max(self._results.clients_busy, web_server.clients_busy)
        return figures

    def _web_server(self, contestant: Contestant, case: Page) -> WebServer:
        key = contestant, case.latency_ms

        if key not in self._web_servers:
            url = self._stubs.pages.url(case.latency_ms)
            running = servers.running(contestant, case.server, url)
            self._web_servers[key] = self._stack.enter_context(running)
            self._note_versions(contestant, self._web_servers[key].versions)

        return self._web_servers[key]

    def _note_versions(self, contestant: Contestant, versions: dict[str, str]) -> None:
        server = _SERVER_PACKAGES.get(contestant.place, ())
        noted = self._results.versions.setdefault(lineup.without_pool(contestant.name), {})
        noted.update(
            (package, versions[package])
            for package in ("Python", *contestant.packages, *server)
            if package in versions
        )


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
    latencies = {case.latency_ms for case in cases if not isinstance(case, Startup)}
    results = Results(machine.describe(), rounds, seconds)

    with contextlib.ExitStack() as stack:
        stubs = Stubs(
            stack.enter_context(stub.running(latencies)),
            stack.enter_context(stub.running(latencies, items=apps.QUERIED, batch=apps.BATCHED)),
        )
        results.ceiling = stubs.loads.ceiling(_CEILING_SECONDS)
        turns = Rounds(stubs, stack, results)

        for number in range(rounds):
            for case in cases:
                _show_progress(f"round {number + 1} of {rounds}: {case}")
                first = number % len(contestants)

                for contestant in [*contestants[first:], *contestants[:first]]:
                    turns.measure(number, case, contestant)

    _show_progress("")
    results.machine["load after"] = machine.load()
    return results


def _show_progress(line: str) -> None:
    """Show the progress if standard error is a terminal."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
