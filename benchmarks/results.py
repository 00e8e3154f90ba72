"""The measured figures, and medians and ratios of them."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import statistics
import typing as t

#: Figures of which less is better.
LESS_IS_BETTER = frozenset(
    {
        "cpu_us",
        "p50_ms",
        "p99_ms",
        "lag_p99_ms",
        "ready_ms",
        "first_calls_ms",
        "memory_mb",
        "sockets",
    }
)
#: A measured 0 counts as this, to avoid a division by zero.
_LEAST = 1e-3


@dataclasses.dataclass(frozen=True)
class Row:
    """One contestant, one case, one round."""

    case: str
    contestant: str
    round: int
    figures: dict[str, float]


@dataclasses.dataclass
class Results:
    """One run of the harness."""

    machine: dict[str, str]
    rounds: int
    seconds: float
    """How long each contestant is measured in each case and round, in seconds."""

    rows: list[Row] = dataclasses.field(default_factory=list[Row])
    versions: dict[str, dict[str, str]] = dataclasses.field(
        default_factory=dict[str, dict[str, str]]
    )
    """The releases of each contestant's packages."""

    missing: dict[str, str] = dataclasses.field(default_factory=dict[str, str])
    """The reason for each contestant that could not be measured."""

    ceiling: float = 0
    """GetItem calls per second that the stub can answer."""

    stub_busy: float = 0
    """The largest share of a CPU that the stub used in a round."""

    clients_busy: float = 0
    """The largest share of a CPU that the clients of a web server used in a round."""

    @property
    def cases(self) -> list[str]:
        return list(dict.fromkeys(row.case for row in self.rows))

    def contestants(self, case: str) -> list[str]:
        return list(dict.fromkeys(row.contestant for row in self.rows if row.case == case))

    def values(self, case: str, contestant: str, figure: str) -> dict[int, float]:
        """A figure by the number of the round."""
        return {
            row.round: row.figures[figure]
            for row in self.rows
            if row.case == case and row.contestant == contestant and figure in row.figures
        }

    def median(self, case: str, contestant: str, figure: str) -> float | None:
        values = self.values(case, contestant, figure)
        return statistics.median(values.values()) if values else None

    def times_better(self, case: str, contestant: str, other: str, figure: str) -> list[float]:
        """By what factor a contestant is better than another, in each round.

        The two are compared round by round, because a machine that is slow in one round is slow
        for both.
        """
        mine, others = self.values(case, contestant, figure), self.values(case, other, figure)
        return [
            _times_better(mine[number], others[number], figure)
            for number in mine
            if number in others
        ]

    def ratios(self, case: str, contestant: str, other: str, figure: str) -> list[float]:
        """A figure of a contestant divided by another's, in each round.

        They are compared round by round, as in :meth:`times_better`.
        """
        mine, others = self.values(case, contestant, figure), self.values(case, other, figure)
        return [mine[number] / max(others[number], _LEAST) for number in mine if number in others]

    def write(self, path: pathlib.Path) -> None:
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: pathlib.Path) -> Results:
        values: dict[str, t.Any] = json.loads(path.read_text())
        values["rows"] = [Row(**row) for row in values["rows"]]
        return cls(**values)


def _times_better(mine: float, other: float, figure: str) -> float:
    if figure in LESS_IS_BETTER:
        mine, other = other, mine

    return mine / max(other, _LEAST)
