"""Two ways to do the same, in turns in this process.

What counts is the CPU time of this process, so that other work of the machine matters little.
"""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import dataclasses
import statistics
import time


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two ways to do the same."""

    name: str
    plain: cabc.Callable[[], object]
    other: cabc.Callable[[], object]

    most: float | None
    """What the other way may cost, if the plain one costs 1; ``None`` if that is only reported."""

    around_other: cabc.Callable[[], contextlib.AbstractContextManager[object]] = (
        contextlib.nullcontext
    )
    """What is in force while the other way is measured."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a comparison has shown: medians of all rounds."""

    comparison: Comparison
    ratio: float
    """What the other way costs, if the plain one costs 1."""

    plain_us: float
    other_us: float

    @property
    def is_too_slow(self) -> bool:
        return self.comparison.most is not None and self.ratio > self.comparison.most

    def __str__(self) -> str:
        most = "" if self.comparison.most is None else f", at most {self.comparison.most:g}"
        return (
            f"{self.comparison.name}: {self.other_us:.0f} µs instead of {self.plain_us:.0f},"
            f" {self.ratio:.2f} times as much{most}"
        )


def compare(comparison: Comparison, *, rounds: int, calls: int) -> Outcome:
    """Measure both ways in turns.

    :param rounds: How many turns.
    :param calls: How often each way is called in a turn.
    """
    # The first round is warm-up.
    measured = [_round(comparison, calls) for _ in range(rounds + 1)][1:]
    plain, other = zip(*measured, strict=True)
    return Outcome(
        comparison,
        statistics.median(slow / fast for fast, slow in measured),
        statistics.median(plain) * 1e6,
        statistics.median(other) * 1e6,
    )


def _round(comparison: Comparison, calls: int) -> tuple[float, float]:
    plain = _seconds(comparison.plain, calls)

    with comparison.around_other():
        return plain, _seconds(comparison.other, calls)


def _seconds(function: cabc.Callable[[], object], calls: int) -> float:
    """The CPU time of each call, in seconds."""
    start = time.process_time()

    for _ in range(calls):
        function()

    return (time.process_time() - start) / calls
