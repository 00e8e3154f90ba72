"""The targets for dynamo-ext, and whether they are met."""

from __future__ import annotations

import dataclasses
import statistics

from .lineup import BASELINE
from .lineup import BOTOCORE
from .lineup import DIRECT
from .lineup import OURS
from .results import LESS_IS_BETTER
from .results import Results

_MISSED, _REACHED, _NOT_MEASURED = "MISSED", "aim reached", "not measured"


@dataclasses.dataclass(frozen=True)
class Target:
    """What a figure of a contestant should be, if the other contestant's is 1."""

    case: str
    figure: str
    contestant: str
    other: str
    must: float
    aim: float

    @property
    def is_maximum(self) -> bool:
        return self.figure in LESS_IS_BETTER

    def is_reached(self, ratio: float, wanted: float) -> bool:
        return ratio <= wanted if self.is_maximum else ratio >= wanted


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The result for one target."""

    target: Target
    ratios: list[float]
    """The ratio in each round; empty if the case was not measured."""

    @property
    def verdict(self) -> str:
        if not self.ratios:
            return _NOT_MEASURED

        ratio = statistics.median(self.ratios)

        if not self.target.is_reached(ratio, self.target.must):
            return _MISSED

        return _REACHED if self.target.is_reached(ratio, self.target.aim) else "met"


SPEED, CPU, LAG, PAGES = "calls_per_second", "cpu_us", "lag_p99_ms", "requests_per_second"
TIME, MEMORY = "first_calls_ms", "memory_mb"
TARGETS = (
    Target("get/100/0", CPU, DIRECT, "dynamoxy", 0.85, 0.7),
    Target("put/100/0", CPU, DIRECT, "dynamoxy", 1.1, 0.9),
    Target("query/10/0", CPU, DIRECT, "dynamoxy", 0.75, 0.6),
    Target("batch/10/0", CPU, DIRECT, "dynamoxy", 0.85, 0.7),
    Target("get/100/0", SPEED, DIRECT, "dynamoxy", 0.65, 0.85),
    Target("query/10/0", SPEED, DIRECT, "dynamoxy", 0.9, 1.1),
    Target("get/100/0", SPEED, DIRECT, "pydynox", 1.3, 1.6),
    Target("put/100/0", SPEED, DIRECT, "pydynox", 1.1, 1.4),
    Target("get/100/0", SPEED, DIRECT, "aiodynamo", 1.3, 1.6),
    Target("put/100/0", SPEED, DIRECT, "aiodynamo", 1.1, 1.4),
    Target("query/10/0", SPEED, DIRECT, "aiodynamo", 1.2, 1.5),
    Target("batch/10/0", SPEED, DIRECT, "aiodynamo", 0.9, 1.2),
    Target("get/100/0", LAG, DIRECT, "dynamoxy", 1 / 2, 1 / 4),
    Target("query/10/0", LAG, DIRECT, "dynamoxy", 1 / 8, 1 / 15),
    Target("get/100/0", SPEED, OURS, BASELINE, 3, 4),
    Target("put/100/0", SPEED, OURS, BASELINE, 2.5, 3.5),
    Target("query/10/0", SPEED, OURS, BASELINE, 5, 6.5),
    Target("get/100/0", SPEED, BOTOCORE, BASELINE, 1.15, 1.4),
    Target("query/10/0", SPEED, BOTOCORE, BASELINE, 3, 4),
    Target("flask/get/10/0", SPEED, OURS, BASELINE, 4.5, 7),
    Target("flask/query/10/0", SPEED, OURS, BASELINE, 5.5, 8),
    Target("startup/1", TIME, OURS, BASELINE, 1, 0.7),
    Target("startup/30", TIME, OURS, BASELINE, 1 / 20, 1 / 30),
    Target("startup/30", MEMORY, OURS, BASELINE, 1 / 20, 1 / 25),
    Target("hypercorn/20/0", PAGES, OURS, "dynamoxy", 0.9, 1.1),
    Target("hypercorn/20/0", PAGES, OURS, "aiodynamo", 1, 1.2),
    Target("hypercorn/20/0", PAGES, OURS, BASELINE, 2, 3),
    # An app that awaits its calls may say "direct".
    Target("hypercorn/20/0", PAGES, DIRECT, "dynamoxy", 0.9, 1.1),
    Target("hypercorn/20/0", PAGES, DIRECT, "aiodynamo", 1, 1.2),
    Target("hypercorn/20/0", PAGES, DIRECT, BASELINE, 2, 3),
)
CASES = tuple(dict.fromkeys(target.case for target in TARGETS))
CONTESTANTS = tuple(
    dict.fromkeys(name for target in TARGETS for name in (target.contestant, target.other))
)


def outcomes(results: Results) -> list[Outcome]:
    """The result for each target."""
    return [
        Outcome(target, results.ratios(target.case, target.contestant, target.other, target.figure))
        for target in TARGETS
    ]


def summary(results: Results) -> str:
    """How many targets are met, and how many aims are reached."""
    verdicts = [outcome.verdict for outcome in outcomes(results)]
    missed, missing = verdicts.count(_MISSED), verdicts.count(_NOT_MEASURED)
    return (
        f"{len(verdicts) - missed - missing} of {len(verdicts)} targets are met,"
        f" {verdicts.count(_REACHED)} aims are reached, {missing} targets were not measured."
    )
