"""A report for people."""

from __future__ import annotations

import collections.abc as cabc
import typing as t


def lines(report: dict[str, t.Any]) -> cabc.Iterator[str]:
    """The counts and figures of a report."""
    transport = report["transport"]

    for scheme, of_scheme in report["schemes"].items():
        for caller, outcomes in of_scheme["callers"].items():
            total = sum(outcomes["counts"].values())
            yield f"{transport} {scheme} {caller}: {total} calls: {_counts(outcomes['counts'])}"

        for name in ("before", "after_warm_up", "at_end", "after_close"):
            if of_scheme[name] is not None:
                measured = ", ".join(f"{what} {n:.0f}" for what, n in of_scheme[name].items())
                yield f"{transport} {scheme} {name.replace('_', ' ')}: {measured}"

    server, cpu = report["server"], report["cpu_seconds"]
    yield f"{transport} replies and more: {_counts(server['counts'])}"
    yield f"{transport} requests where none may come: {_counts(server['reused']) or 'none'}"
    yield (
        f"{transport} CPU seconds: callers {cpu['callers']}, server {cpu['server']};"
        f" --seed {report['seed']}"
    )


def _counts(counts: dict[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return "; ".join(f"{name} {count}" for name, count in ordered)
