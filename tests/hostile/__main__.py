"""Makes calls to the server, and reports what came of them. See ``python -m hostile --help``."""

from __future__ import annotations

import argparse
import collections.abc as cabc
import contextlib
import dataclasses
import faulthandler
import json
import logging
import os
import random
import sys
import threading
import time
import typing as t

import flask

from . import calls
from . import figures
from . import load
from . import process
from . import show
from . import verdict
from .misbehaviours import AT_REST
from .misbehaviours import GOOD
from .misbehaviours import REPLIES

SCHEMES = ("tcp", "tls")
# PynamoDB and botocore as they are, to compare: an interim reply other than 100 makes them take one
# call's answer for another's, and replies that are not JSON or have a wrong checksum are accepted.
STOCK = "stock"
TRANSPORTS = ("botocore", "direct", STOCK)
NAMES = [name for name in [*REPLIES, *AT_REST] if name != GOOD]

# In seconds. Two attempts that stall are too much where there is one; without one, a call whose
# result gets lost waits for ever, and so is found.
_CALL_TIMEOUTS = {"tcp": None, "tls": 0.6}
HUB = "dynamo-ext hub"
_MAIN = "MainThread"
POOL = 8
_ROUND = 120
_WARM_UP = 0.3
# Seconds.
_IDLE = 60
_SETTLE = 0.02
_GOOD_CALLS = 4
_GOOD_TRIES = 30

SETTINGS: dict[str, t.Any] = {
    "DYNAMODB_REGION": "us-east-1",
    "DYNAMODB_AWS_ACCESS_KEY_ID": "AKIDOFTHEHOSTILE",
    "DYNAMODB_AWS_SECRET_ACCESS_KEY": "secret-of-the-hostile",
    "DYNAMODB_BASE_BACKOFF_MS": 1,
    "DYNAMODB_MAX_RETRY_ATTEMPTS": 2,
    "DYNAMODB_MAX_POOL_CONNECTIONS": POOL,
    "DYNAMODB_POOL_TIMEOUT_SECONDS": 5,
    "DYNAMODB_CONNECT_TIMEOUT_SECONDS": 1,
    # Shorter than the server stalls.
    "DYNAMODB_READ_TIMEOUT_SECONDS": 0.35,
}


@dataclasses.dataclass
class Report:
    """What came of the calls over one scheme."""

    callers: dict[str, load.Outcomes] = dataclasses.field(default_factory=dict[str, load.Outcomes])
    before: figures.Figures | None = None
    after_warm_up: figures.Figures | None = None
    at_end: figures.Figures | None = None
    after_close: figures.Figures | None = None
    """When the event loops have ended and the client is closed."""

    in_use: int = 0
    waiting: int = 0
    connections_after_close: int = 0
    """How many connections are left when the client is closed."""

    threads_after_close: list[str] = dataclasses.field(default_factory=list[str])
    """The names of the threads that are left then."""

    unanswered: list[str] = dataclasses.field(default_factory=list[str])
    """Callers without an answer from the server when it behaves well."""

    stuck: str | None = None

    def as_json(self) -> dict[str, t.Any]:
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        measured = {
            name: dataclasses.asdict(value)
            for name, value in fields.items()
            if isinstance(value, figures.Figures)
        }
        callers = {name: outcomes.as_json() for name, outcomes in self.callers.items()}
        return {**fields, **measured, "callers": callers}


@dataclasses.dataclass
class _Errors:
    """Errors that nobody sees: of threads, and of objects that are collected."""

    texts: list[str] = dataclasses.field(default_factory=list[str])

    def note(self, unseen: t.Any) -> None:
        where = getattr(unseen, "object", None) or getattr(unseen, "thread", None)
        self.texts.append(f"{unseen.exc_type.__name__}: {unseen.exc_value} in {where!r}")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m hostile",
        description="Makes calls to a server that breaks the rules of HTTP, from threads and from"
        " tasks of asyncio, uvloop and trio at once, and reports what came of them.",
    )
    parser.add_argument("--transport", choices=TRANSPORTS, default="direct")
    parser.add_argument("--calls", type=int, default=10_000, help="default: 10000")
    parser.add_argument("--seconds", type=float, help="end after this time")
    parser.add_argument("--seed", default=str(random.SystemRandom().randrange(10**9)))
    parser.add_argument("--scheme", choices=SCHEMES, nargs="+", default=list(SCHEMES))
    parser.add_argument("--caller", choices=load.CALLERS, nargs="+")
    parser.add_argument(
        "--only",
        choices=NAMES,
        nargs="+",
        metavar="NAME",
        help="misbehaviours; by default all that the transport must withstand",
    )
    parser.add_argument("--without", choices=NAMES, nargs="+", metavar="NAME", default=())
    parser.add_argument("--json", action="store_true", help="print nothing but the report")
    options = parser.parse_args()
    names = [name for name in options.only or list(NAMES) if name not in options.without]
    # PynamoDB as it is has no calls to await.
    callers = options.caller or (["threads"] if options.transport == STOCK else list(load.CALLERS))
    report = run(
        options.transport,
        options.seed,
        calls_=options.calls,
        seconds=options.seconds,
        schemes=options.scheme,
        callers=callers,
        names=names,
    )

    if options.json:
        print(json.dumps(report), flush=True)
    else:
        print("\n".join(show.lines(report)))

        for check, find in verdict.CHECKS.items():
            for problem in find(report):
                print(f"PROBLEM: {check}: {problem}")

    # Callers that are stuck would keep the process.
    os._exit(0)


def run(
    transport: str,
    seed: str,
    *,
    calls_: int,
    seconds: float | None,
    schemes: cabc.Sequence[str],
    callers: cabc.Sequence[str],
    names: cabc.Sequence[str],
) -> dict[str, t.Any]:
    """Make calls and report what came of them.

    :return: The report, as JSON would have it.
    """
    # Hundreds of calls fail.
    logging.getLogger("dynamo_ext").addHandler(logging.NullHandler())
    errors = _Errors()
    sys.unraisablehook = errors.note
    threading.excepthook = errors.note
    reports: dict[str, Report] = {}
    share = None if seconds is None else seconds / len(schemes)

    with process.running(seed) as server:
        os.environ["AWS_CA_BUNDLE"] = server.bundle

        for scheme in schemes:
            reports[scheme] = _run_scheme(
                server,
                transport,
                scheme,
                seed=seed,
                count=calls_ // len(schemes),
                seconds=share,
                callers=callers,
                names=names,
            )

            if reports[scheme].stuck:
                break

        seen = server.report()

    cpu = os.times()
    return {
        "transport": transport,
        "seed": seed,
        "names": list(names),
        "schemes": {scheme: report.as_json() for scheme, report in reports.items()},
        "server": seen,
        "unseen": errors.texts,
        "cpu_seconds": {
            "callers": round(cpu.user + cpu.system, 1),
            "server": round(cpu.children_user + cpu.children_system, 1),
        },
    }


def _run_scheme(
    server: process.Hostile,
    transport: str,
    scheme: str,
    *,
    seed: str,
    count: int,
    seconds: float | None,
    callers: cabc.Sequence[str],
    names: cabc.Sequence[str],
) -> Report:
    report = Report()

    with contextlib.ExitStack() as stack:
        if transport == STOCK:
            app, side = None, calls.stock(**_stock_settings(server.urls[scheme]))
        else:
            app, side = _make_app(transport, scheme, server.urls[scheme]), calls.OURS
            stack.enter_context(app.app_context())

        calls.prepare(side)
        groups = load.groups(callers, f"{seed}/{scheme}", side, app)
        report.callers = {group.name: group.outcomes for group in groups}

        report.before = figures.measure()

        with contextlib.ExitStack() as open_groups:
            for group in groups:
                open_groups.enter_context(group.open())

            try:
                server.misbehave(names)
                warm_up = int(count * _WARM_UP)
                _make_rounds(server, groups, warm_up, _part(seconds, _WARM_UP))
                report.after_warm_up = figures.measure()
                _make_rounds(server, groups, count - warm_up, _part(seconds, 1 - _WARM_UP))
                server.behave()
                _check_good_calls(groups, report)
                _wait_until_idle()
                report.at_end = figures.measure()
            except TimeoutError as error:
                faulthandler.dump_traceback(all_threads=True)
                report.stuck = str(error)
                # What is stuck is not waited for.
                open_groups.pop_all()

        if app is not None:
            report.in_use, report.waiting = calls.db.pool.in_use, calls.db.pool.waiting
            calls.db.connection.client.close()
            _wait_for(lambda: figures.connections(server.ports[scheme]) == 0)
            report.connections_after_close = figures.connections(server.ports[scheme])

    _wait_for(lambda: not set(_threads()) - {_MAIN, HUB})
    report.threads_after_close = _threads()
    report.after_close = figures.measure()
    return report


def _make_app(transport: str, scheme: str, url: str) -> flask.Flask:
    app = flask.Flask(f"hostile {scheme}")
    app.config.from_mapping(SETTINGS, DYNAMODB_HOST=url, DYNAMODB_TRANSPORT=transport)
    app.config["DYNAMODB_CALL_TIMEOUT_SECONDS"] = _CALL_TIMEOUTS[scheme]
    calls.db.init_app(app)
    return app


def _stock_settings(url: str) -> dict[str, t.Any]:
    os.environ["AWS_ACCESS_KEY_ID"] = SETTINGS["DYNAMODB_AWS_ACCESS_KEY_ID"]
    os.environ["AWS_SECRET_ACCESS_KEY"] = SETTINGS["DYNAMODB_AWS_SECRET_ACCESS_KEY"]
    return {
        "host": url,
        "region": SETTINGS["DYNAMODB_REGION"],
        "max_retry_attempts": SETTINGS["DYNAMODB_MAX_RETRY_ATTEMPTS"],
        "max_pool_connections": POOL,
        "connect_timeout_seconds": SETTINGS["DYNAMODB_CONNECT_TIMEOUT_SECONDS"],
        "read_timeout_seconds": SETTINGS["DYNAMODB_READ_TIMEOUT_SECONDS"],
    }


def _part(seconds: float | None, share: float) -> float | None:
    return None if seconds is None else seconds * share


def _make_rounds(
    server: process.Hostile, groups: list[load.Group], count: int, seconds: float | None
) -> None:
    """Make calls, and disturb what is idle between the rounds."""
    end = None if seconds is None else time.monotonic() + seconds

    while count > 0 and (end is None or time.monotonic() < end):
        load.make_calls(groups, min(count, _ROUND))
        count -= _ROUND
        _wait_until_idle()
        server.disturb()
        # Until what was sent has arrived, also where loopback is slower than Linux's.
        time.sleep(_SETTLE)


def _wait_until_idle() -> None:
    """Wait for the calls whose callers were cancelled.

    :raises TimeoutError: if they do not end.
    """
    if not flask.has_app_context():
        return

    # Not the pool: a call that waits between two attempts has no slot.
    in_flight = calls.db.connection.policy.in_flight

    if not _wait_for(lambda: not in_flight.count):
        raise TimeoutError(f"{in_flight.count} calls do not end: {calls.db.pool!r}")


def _check_good_calls(groups: list[load.Group], report: Report) -> None:
    """Every caller gets its answers from a server that behaves well.

    On a busy machine a call may need several tries.
    """
    for group in groups:
        for attempt in range(_GOOD_TRIES):
            trial = group.again(f"good {attempt}")
            load.make_calls([trial], load.CALLERS[group.name] * _GOOD_CALLS)

            if set(trial.outcomes.counts) - {"cancelled"} == {"ok"}:
                break
        else:
            report.unanswered.append(f"{group.name} in {_GOOD_TRIES} tries")


def _wait_for(condition: cabc.Callable[[], bool]) -> bool:
    """Wait for something that happens soon, if at all.

    :return: Whether it has happened.
    """
    end = time.monotonic() + _IDLE

    while not condition():
        if time.monotonic() > end:
            return False

        time.sleep(0.005)

    return True


def _threads() -> list[str]:
    """The names of all threads, without those that trio keeps for ten more seconds."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if not name.startswith("Trio thread")]


if __name__ == "__main__":
    main()
