"""The targets for dynamo-ext, and whether they are met."""

from __future__ import annotations

import dataclasses
import statistics

from .lineup import BASELINE
from .lineup import DIRECT
from .lineup import OURS
from .results import Results


@dataclasses.dataclass(frozen=True)
class Target:
    """The factor by which a contestant should be better than another."""

    case: str
    figure: str
    contestant: str
    other: str
    must: float
    aim: float


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The result for one target."""

    target: Target
    factors: list[float]
    """The factor in each round; empty if the case was not measured."""

    @property
    def factor(self) -> float | None:
        return statistics.median(self.factors) if self.factors else None

    @property
    def verdict(self) -> str:
        if self.factor is None:
            return "not measured"

        if self.factor < self.target.must:
            return "MISSED"

        return "aim reached" if self.factor >= self.target.aim else "met"


SPEED, LAG = "calls_per_second", "lag_p99_ms"
TARGETS = (
    Target("query/10/0", SPEED, OURS, BASELINE, 3, 4),
    Target("query/10/0", SPEED, OURS, "aiopynamodb", 1.5, 2),
    Target("get/100/0", SPEED, OURS, BASELINE, 1.2, 1.5),
    Target("get/100/0", SPEED, DIRECT, BASELINE, 5, 8),
    Target("get/100/0", SPEED, DIRECT, "aiopynamodb", 3, 4.5),
    Target("get/100/0", SPEED, DIRECT, "aiobotocore", 2.2, 3),
    Target("get/100/0", SPEED, DIRECT, "aiodynamo", 1.1, 1.5),
    Target("get/100/0", SPEED, DIRECT, "pydynox", 0.75, 1.1),
    Target("query/10/0", SPEED, DIRECT, "pydynox", 1.2, 2),
    Target("query/10/0", SPEED, DIRECT, "aiodynamo", 0.75, 1.2),
    Target("get/100/0", LAG, DIRECT, "aiodynamo", 8, 15),
    Target("query/10/0", LAG, OURS, BASELINE, 6, 20),
    Target("query/10/0", LAG, DIRECT, BASELINE, 6, 20),
    Target("flask/get/10/0", SPEED, DIRECT, BASELINE, 4, 7),
    Target("flask/query/10/0", SPEED, DIRECT, BASELINE, 5, 8),
    Target("startup/30", "first_calls_ms", OURS, BASELINE, 12, 20),
    Target("startup/30", "memory_mb", OURS, BASELINE, 15, 20),
)
CASES = tuple(dict.fromkeys(target.case for target in TARGETS))


def outcomes(results: Results) -> list[Outcome]:
    """The result for each target."""
    return [
        Outcome(
            target,
            results.times_better(target.case, target.contestant, target.other, target.figure),
        )
        for target in TARGETS
    ]
