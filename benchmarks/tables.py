"""Renders results as Markdown tables."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import statistics

from . import cases
from . import lineup
from . import targets
from .results import LESS_IS_BETTER
from .results import Results


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table: one figure."""

    heading: str
    figure: str
    decimals: int


LOAD = (
    Column("calls/s", "calls_per_second", 0),
    Column("CPU, µs per call", "cpu_us", 0),
    Column("p50, ms", "p50_ms", 2),
    Column("p99, ms", "p99_ms", 2),
    Column("loop lag p99, ms", "lag_p99_ms", 1),
)
PAGE = (
    Column("requests/s", "requests_per_second", 0),
    Column("CPU, µs per request", "cpu_us", 0),
    *LOAD[2:4],
)
STARTUP = (
    Column("first calls, ms", "first_calls_ms", 0),
    Column("memory, MB", "memory_mb", 1),
    Column("connections", "sockets", 0),
    Column("import and set-up, ms", "ready_ms", 0),
)
FIGURES = {
    "calls_per_second": "calls/s",
    "requests_per_second": "requests/s",
    "cpu_us": "CPU",
    "p99_ms": "p99",
    "lag_p99_ms": "loop lag p99",
    "first_calls_ms": "time",
    "memory_mb": "memory",
}


def of_case(results: Results, case: str) -> str:
    """The medians of all contestants in a case, the best one first."""
    columns = _columns(case)
    sorted_by = columns[0].figure
    names = sorted(
        results.contestants(case),
        key=lambda name: results.median(case, name, sorted_by) or 0,
        reverse=sorted_by not in LESS_IS_BETTER,
    )
    first, *others = (column for column in columns if results.values(case, names[0], column.figure))
    headings = [
        "",
        first.heading,
        "lowest to highest",
        f"times `{lineup.BASELINE}`",
        *(column.heading for column in others),
    ]
    rows = [
        [
            f"`{name}`",
            _median(results, case, name, first),
            _range(results, case, name, first),
            _ratio(results.times_better(case, name, lineup.BASELINE, first.figure)),
            *(_median(results, case, name, column) for column in others),
        ]
        for name in names
    ]
    return table(headings, rows)


def of_targets(results: Results) -> str:
    """The targets, and what was measured for each."""
    headings = [
        "",
        "case",
        "figure",
        "against",
        "ratio",
        "lowest to highest",
        "must",
        "aim",
        "",
    ]
    rows = [
        [
            f"`{outcome.target.contestant}`",
            f"`{outcome.target.case}`",
            FIGURES[outcome.target.figure],
            f"`{outcome.target.other}`",
            _ratio(outcome.ratios),
            _ratio_range(outcome.ratios),
            _wanted(outcome.target, outcome.target.must),
            _wanted(outcome.target, outcome.target.aim),
            outcome.verdict,
        ]
        for outcome in targets.outcomes(results)
    ]
    return table(headings, rows, texts=(0, 1, 2, 3, 8))


def of_operation(results: Results, operation: str) -> str:
    """Calls per second in all cases of an operation on an event loop."""
    shown = [case for case in results.cases if case.startswith(f"{operation}/")]
    names = [name for name in lineup.NAMES if any(name in results.contestants(c) for c in shown)]
    headings = ["calls/s", *(_circumstances(case) for case in shown)]
    rows = [
        [f"`{name}`", *(_median(results, case, name, LOAD[0]) for case in shown)] for name in names
    ]
    return table(headings, rows)


def of_better_peers(results: Results) -> str:
    """The figures in which the best peer is ahead of dynamo-ext on every transport."""
    rows = [
        [f"`{case}`", FIGURES[figure], f"`{peer}`", f"{factor:.2f}"]
        for case in results.cases
        for figure in FIGURES
        for peer, factor in _better_peer(results, case, figure)
    ]
    return table(["case", "figure", "best peer", "times better"], rows, texts=(0, 1, 2))


def of_pools(results: Results, case: str) -> str:
    """The figures by the size of the pool."""
    shown = (LOAD[0], LOAD[1], LOAD[2], LOAD[4])
    names = [name for name in results.contestants(case) if ":" in name]
    rows = [
        [
            f"`{lineup.without_pool(name)}`",
            str(_pool(name)),
            *(_median(results, case, name, column) for column in shown),
        ]
        for name in sorted(names, key=lambda name: (lineup.without_pool(name), _pool(name)))
    ]
    return table(["", "pool", *(column.heading for column in shown)], rows)


def of_versions(results: Results) -> str:
    """The releases of each contestant's packages."""
    rows = [
        [f"`{name}`", ", ".join(f"{package} {version}" for package, version in versions.items())]
        for name, versions in results.versions.items()
    ]
    return table(["", "releases"], rows, texts=(0, 1))


def table(
    headings: cabc.Sequence[str],
    rows: cabc.Sequence[cabc.Sequence[str]],
    *,
    texts: cabc.Collection[int] = (0,),
) -> str:
    """Render a table.

    :param headings: The headings.
    :param rows: The cells of each row.
    :param texts: The numbers of the columns that are aligned to the left.
    """
    rules = ["---" if number in texts else "--:" for number in range(len(headings))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [headings, rules, *rows])


def _better_peer(results: Results, case: str, figure: str) -> list[tuple[str, float]]:
    """The best peer and the factor by which it is ahead; empty if no peer is ahead."""
    medians = {
        name: median
        for name in results.contestants(case)
        if (median := results.median(case, name, figure)) is not None and name in lineup.NAMES
    }
    best = min if figure in LESS_IS_BETTER else max
    ours = [name for name in medians if name.startswith(lineup.OURS)]
    peers = [name for name in medians if name not in ours]

    if not ours or not peers:
        return []

    peer, own = best(peers, key=medians.__getitem__), best(ours, key=medians.__getitem__)
    factor = statistics.median(results.times_better(case, peer, own, figure))
    return [(peer, factor)] if factor > 1 else []


def _columns(case: str) -> tuple[Column, ...]:
    match cases.parse(case):
        case cases.Startup():
            return STARTUP
        case cases.Page():
            return PAGE
        case cases.Load():
            return LOAD


def _circumstances(case: str) -> str:
    load = cases.parse(case)
    assert isinstance(load, cases.Load)
    return f"{load.callers} at once, {load.latency_ms:g} ms"


def _pool(name: str) -> int:
    return int(name.partition(":")[2])


def _median(results: Results, case: str, name: str, column: Column) -> str:
    median = results.median(case, name, column.figure)
    return "-" if median is None else _number(median, column)


def _range(results: Results, case: str, name: str, column: Column) -> str:
    values = results.values(case, name, column.figure).values()
    return f"{_number(min(values), column)}-{_number(max(values), column)}"


def _number(value: float, column: Column) -> str:
    return f"{value:.{column.decimals}f}"


def _ratio(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f}" if ratios else "-"


def _ratio_range(ratios: list[float]) -> str:
    return f"{min(ratios):.2f}-{max(ratios):.2f}" if ratios else "-"


def _wanted(target: targets.Target, ratio: float) -> str:
    return f"{'≤' if target.is_maximum else '≥'} {ratio:.3g}"
