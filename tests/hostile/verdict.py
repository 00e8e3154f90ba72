"""What must hold of a run, whatever the server has done."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

Report = dict[str, t.Any]
Check = cabc.Callable[[Report], list[str]]

_LEAST_SUCCESSES = 1 / 3
# The hub's, which stay: it starts with the first awaited call.
_DESCRIPTORS_OF_HUB = 6
_THREADS = {"MainThread", "dynamo-ext hub"}
# Memory grows by fragmentation, and by what is created on demand: connections, threads, caches. One
# buffer that is lost with each connection that the server breaks would be hundreds of megabytes.
_MEMORY_TOLERANCE = 1.25
_MEMORY_ALLOWANCE = 24

CHECKS: dict[str, Check] = {}
"""By what must hold: returns a line for each problem."""


def _check(name: str) -> cabc.Callable[[Check], Check]:
    def register(check: Check) -> Check:
        CHECKS[name] = check
        return check

    return register


@_check("nobody gets the answer to another call")
def _foreign(report: Report) -> list[str]:
    return _of_callers(report, "foreign")


@_check("no answer lacks what was asked for, like that to another operation")
def _empty(report: Report) -> list[str]:
    return _of_callers(report, "empty")


@_check("every failure is a documented one")
def _undocumented(report: Report) -> list[str]:
    return _of_callers(report, "undocumented")


@_check("no call is stuck, and every slot comes back")
def _slots(report: Report) -> list[str]:
    return [
        f"{scheme}: {name} is {of_scheme[name]}"
        for scheme, of_scheme in report["schemes"].items()
        for name in ("stuck", "in_use", "waiting")
        if of_scheme[name]
    ]


@_check("every caller gets its answers when the server behaves well again")
def _answered(report: Report) -> list[str]:
    return [
        f"{scheme}: {text}"
        for scheme, of_scheme in report["schemes"].items()
        for text in of_scheme["unanswered"]
    ]


@_check("calls succeed in spite of it all")
def _successes(report: Report) -> list[str]:
    problems: list[str] = []

    for scheme, of_scheme in report["schemes"].items():
        for caller, outcomes in of_scheme["callers"].items():
            counts = outcomes["counts"]
            total = sum(counts.values())

            if counts.get("ok", 0) < total * _LEAST_SUCCESSES:
                problems.append(f"{scheme} {caller}: {counts}")

    return problems


@_check("no connection, descriptor or thread is lost")
def _lost(report: Report) -> list[str]:
    problems: list[str] = []

    for scheme, of_scheme in report["schemes"].items():
        if of_scheme["stuck"]:
            continue

        before, after = of_scheme["before"]["descriptors"], of_scheme["after_close"]["descriptors"]

        if of_scheme["connections_after_close"]:
            problems.append(f"{scheme}: {of_scheme['connections_after_close']} connections left")

        if after > before + _DESCRIPTORS_OF_HUB:
            problems.append(f"{scheme}: descriptors were {before}, and are {after}")

        if left := set(of_scheme["threads_after_close"]) - _THREADS:
            problems.append(f"{scheme}: threads left: {left}")

    return problems


@_check("memory does not grow")
def _memory(report: Report) -> list[str]:
    problems: list[str] = []

    for scheme, of_scheme in report["schemes"].items():
        if of_scheme["at_end"] is None:
            continue

        before, after = (of_scheme[when]["megabytes"] for when in ("after_warm_up", "at_end"))

        if after > before * _MEMORY_TOLERANCE + _MEMORY_ALLOWANCE:
            problems.append(f"{scheme}: {before:.0f} MB after the warm-up, {after:.0f} at the end")

    return problems


@_check("no error goes unseen")
def _unseen(report: Report) -> list[str]:
    return t.cast("list[str]", report["unseen"])


@_check("no request follows what ends a connection")
def _reused(report: Report) -> list[str]:
    # urllib3 does not look behind a reply.
    if report["transport"] != "direct":
        return []

    return [f"{count} after {name!r}" for name, count in report["server"]["reused"].items()]


@_check("the server itself makes no mistake")
def _server(report: Report) -> list[str]:
    return t.cast("list[str]", report["server"]["failures"])


def not_met(report: Report) -> list[str]:
    """The misbehaviours that the calls did not meet. Too few calls are no fault of theirs."""
    return [name for name in report["names"] if not report["server"]["counts"].get(name)]


def _of_callers(report: Report, kind: str) -> list[str]:
    return [
        f"{scheme} {caller}: {text}"
        for scheme, of_scheme in report["schemes"].items()
        for caller, outcomes in of_scheme["callers"].items()
        for text in outcomes[kind]
    ]
