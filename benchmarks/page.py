"""Writes the figures into the docs, between marks that name them."""

from __future__ import annotations

import collections.abc as cabc
import pathlib
import re

from . import cases
from . import charts
from . import lineup
from . import tables
from .environments import ROOT
from .failure import Failure
from .results import Results

DOCS = ROOT / "docs"
CHARTS = "performance"
_NOTHING = "This run did not measure it."
_PART = re.compile(r"(?<=^% begin: )(\w+)\n.*?(?=^% end: \1$)", re.MULTILINE | re.DOTALL)


def write(results: Results, docs: pathlib.Path = DOCS) -> None:
    """Write charts and figures into the pages on performance and sizing.

    :param docs: The directory of the pages.
    """
    charts.write(results, docs / CHARTS)

    for name in ("performance.md", "sizing.md"):
        page = docs / name
        page.write_text(filled(page.read_text(), results))


def filled(text: str, results: Results) -> str:
    """A page with the figures between its marks.

    :param text: The page.
    :raises Failure: if the page has an unknown mark.
    """

    def part(found: re.Match[str]) -> str:
        if found[1] not in PARTS:
            raise Failure(f"a page of the docs has an unknown mark: {found[1]!r}.")

        figures = PARTS[found[1]](results)
        return found[0] if figures is None else f"{found[1]}\n\n{figures}\n\n"

    return _PART.sub(part, text)


def circumstances(results: Results) -> str:
    """The machine, the rounds, and the server's load."""
    lines = [f"- {name}: {value}" for name, value in results.machine.items()]
    lines += [
        f"- medians of {results.rounds} rounds of {results.seconds:g} s, interleaved",
        f"- the server can answer {results.ceiling:,.0f} GetItem calls per second, and used"
        f" {results.stub_busy:.0%} of a CPU at most",
    ]

    if results.clients_busy:
        lines.append(f"- the clients of the pages used {results.clients_busy:.0%} of a CPU at most")

    return "\n".join(lines)


def run(results: Results) -> str:
    """When the figures were measured, and on which Python."""
    day, python = results.machine.get("day"), results.machine.get("Python")
    return f"The run was made on {day}, on Python {python}."


def missing(results: Results) -> str:
    """The contestants that could not be measured, and the reasons."""
    reasons = {
        name: reason
        for name, reason in results.missing.items()
        if ":" not in name or lineup.without_pool(name) not in results.missing
    }

    if not reasons:
        return "Every contestant could be measured."

    return "\n".join(f"- `{name}` was not measured: {why}" for name, why in reasons.items())


def _images(*names: str) -> cabc.Callable[[Results], str]:
    def render(results: Results) -> str:
        return (
            "\n\n".join(
                f"```{{image}} {CHARTS}/{chart.name}-{theme.name}.svg\n"
                f":class: only-{theme.name}\n"
                f":alt: {charts.alternative_text(results, chart)}\n"
                "```"
                for chart in charts.available(results)
                if chart.name in names
                for theme in charts.THEMES
            )
            or _NOTHING
        )

    return render


def _tables(*wanted: str) -> cabc.Callable[[Results], str]:
    def render(results: Results) -> str:
        measured = [case for case in wanted if case in results.cases]
        return (
            "\n\n".join(
                f"{cases.parse(case).title}:\n\n{tables.of_case(results, case)}"
                for case in measured
            )
            or _NOTHING
        )

    return render


def _overview(results: Results) -> str:
    return "\n\n".join(
        f"{title}:\n\n{tables.of_operation(results, operation)}"
        for operation, title in cases.OPERATIONS.items()
        if any(case.startswith(f"{operation}/") for case in results.cases)
    )


def _sizing(results: Results) -> str | None:
    """``None`` if no pools were compared: the page then keeps its table."""
    case = str(lineup.SIZING_CASE)
    has_pools = any(":" in name for name in results.contestants(case))
    return tables.of_pools(results, case) if has_pools else None


PAGE_CASES = [str(case) for case in cases.every() if isinstance(case, cases.Page)]
PARTS: dict[str, cabc.Callable[[Results], str | None]] = {
    "run": run,
    "circumstances": circumstances,
    "versions": tables.of_versions,
    "missing": missing,
    "get": _images("get"),
    "query": _images("query"),
    "cpu": _images("cpu"),
    "single": _images("single"),
    "flask": _images("flask"),
    "pages": _images("pages"),
    "startup": _images("startup"),
    "headlines": _tables("get/100/0", "query/10/0"),
    "alone": _tables("get/1/0", "get/1/5"),
    "requests": _tables(*PAGE_CASES),
    "threads": _tables("flask/get/10/0", "flask/query/10/0"),
    "starts": _tables("startup/1", "startup/10", "startup/30"),
    "overview": _overview,
    "ahead": tables.of_better_peers,
    "pools": _sizing,
}
