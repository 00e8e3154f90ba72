"""Charts as SVG, each in one version for a light page and in one for a dark page."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import html
import math
import pathlib

from . import lineup
from .results import LESS_IS_BETTER
from .results import Results

_WIDTH = 840
_MARGIN = 10
_BAR = 22
_GAP = 9
_SPACE = 8
_TITLE = 46
_VALUES = 64
_SIZE = 13
_FONT = f"font-family='system-ui, sans-serif' font-size='{_SIZE}'"
_PLAIN, _BOLD = "400", "600"
#: The width of a character on average, at most, as a share of the font's size. A page may show
#: another font than this machine, so these are the wider ones'.
_CHARACTER = {_PLAIN: 0.67, _BOLD: 0.68}


@dataclasses.dataclass(frozen=True)
class Theme:
    """The colours for a light or a dark page."""

    name: str
    text: str
    faint: str
    ours: str
    peer: str


THEMES = (
    Theme("light", text="#1f2328", faint="#59636e", ours="#0b6bcb", peer="#aab4be"),
    Theme("dark", text="#e6edf3", faint="#9da7b1", ours="#4aa3ff", peer="#5b6570"),
)


@dataclasses.dataclass(frozen=True)
class Panel:
    """One half of a chart: one figure of all contestants in one case."""

    title: str
    case: str
    figure: str
    decimals: int = 0


@dataclasses.dataclass(frozen=True)
class Chart:
    """A chart of the docs' performance page."""

    name: str
    caption: str
    panels: tuple[Panel, ...]


CHARTS = (
    Chart(
        "get",
        "GetItem, 100 tasks at once",
        (
            Panel("calls per second", "get/100/0", "calls_per_second"),
            Panel("loop lag p99, ms", "get/100/0", "lag_p99_ms", 1),
        ),
    ),
    Chart(
        "query",
        "Query of 100 items, 10 tasks at once",
        (
            Panel("calls per second", "query/10/0", "calls_per_second"),
            Panel("loop lag p99, ms", "query/10/0", "lag_p99_ms", 1),
        ),
    ),
    Chart(
        "cpu",
        "CPU time of the client's process for each call",
        (
            Panel("GetItem, 100 tasks at once, µs", "get/100/0", "cpu_us"),
            Panel("Query of 100 items, 10 tasks at once, µs", "query/10/0", "cpu_us"),
        ),
    ),
    Chart(
        "single",
        "GetItem, one task",
        (
            Panel("0 ms at the server: p50, ms", "get/1/0", "p50_ms", 2),
            Panel("5 ms at the server: p50, ms", "get/1/5", "p50_ms", 2),
        ),
    ),
    Chart(
        "pages",
        "A page with three reads, requests per second",
        (
            Panel("Flask, requests per second", "gunicorn/20/0", "requests_per_second"),
            Panel("Quart, requests per second", "hypercorn/20/0", "requests_per_second"),
        ),
    ),
    Chart(
        "flask",
        "10 threads of a Flask app",
        (
            Panel("GetItem, calls per second", "flask/get/10/0", "calls_per_second"),
            Panel("Query of 100 items, calls per second", "flask/query/10/0", "calls_per_second"),
        ),
    ),
    Chart(
        "startup",
        "The first call of each of 30 models",
        (
            Panel("time, ms", "startup/30", "first_calls_ms"),
            Panel("memory, MB", "startup/30", "memory_mb", 1),
        ),
    ),
)


def available(results: Results) -> list[Chart]:
    """The charts whose cases have all been measured."""
    return [chart for chart in CHARTS if all(panel.case in results.cases for panel in chart.panels)]


def write(results: Results, directory: pathlib.Path) -> None:
    """Draw all available charts.

    :param directory: Where to write the SVG files.
    """
    directory.mkdir(exist_ok=True)

    for chart in available(results):
        for theme in THEMES:
            path = directory / f"{chart.name}-{theme.name}.svg"
            path.write_text(_draw(results, chart, theme))


def alternative_text(results: Results, chart: Chart) -> str:
    """Describe in words what a chart shows."""
    panels = "; ".join(
        f"{panel.title}: " + ", ".join(f"{name} {text}" for name, _, text in _bars(results, panel))
        for panel in chart.panels
    )
    return f"{chart.caption}. {panels}."


def _bars(results: Results, panel: Panel) -> list[tuple[str, float, str]]:
    """Name, value, and the value as text of each contestant, the best one first."""
    medians = {
        name: results.median(panel.case, name, panel.figure)
        for name in results.contestants(panel.case)
        if name in lineup.NAMES
    }
    values = {name: median for name, median in medians.items() if median is not None}
    best_first = sorted(
        values.items(), key=lambda item: item[1], reverse=panel.figure not in LESS_IS_BETTER
    )
    return [(name, value, f"{value:,.{panel.decimals}f}") for name, value in best_first]


def _draw(results: Results, chart: Chart, theme: Theme) -> str:
    panels = [_bars(results, panel) for panel in chart.panels]
    height = _TITLE + max(map(len, panels)) * (_BAR + _GAP)
    width = _WIDTH / len(panels)
    elements: list[str] = []

    for number, (panel, bars) in enumerate(zip(chart.panels, panels, strict=True)):
        elements += _draw_panel(panel, bars, theme, left=number * width, width=width)

    content = "\n".join(elements)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {height}' {_FONT}>\n"
        f"<title>{html.escape(chart.caption)}</title>\n{content}\n</svg>\n"
    )


def _draw_panel(
    panel: Panel,
    bars: cabc.Sequence[tuple[str, float, str]],
    theme: Theme,
    *,
    left: float,
    width: float,
) -> cabc.Iterator[str]:
    better = "less is better" if panel.figure in LESS_IS_BETTER else "more is better"
    yield (
        f"<text x='{left + _MARGIN:g}' y='20' fill='{theme.text}' font-weight='{_BOLD}'>"
        f"{html.escape(panel.title)}"
        f"<tspan fill='{theme.faint}' font-weight='400' font-size='11' dx='8'>{better}</tspan>"
        "</text>"
    )
    names = _MARGIN + max(_text_width(name, _weight(name)) for name, _, _ in bars) + _SPACE
    scale = (width - names - _VALUES) / (max(value for _, value, _ in bars) or 1)
    start = left + names

    for row, (name, value, text) in enumerate(bars):
        top, length = _TITLE - _GAP + row * (_BAR + _GAP), max(value * scale, 1)
        middle = top + _BAR / 2 + 4.5
        yield (
            f"<text x='{start - _SPACE:g}' y='{middle:g}' fill='{theme.text}'"
            f" font-weight='{_weight(name)}' text-anchor='end'>{html.escape(name)}</text>"
        )
        yield (
            f"<rect x='{start:g}' y='{top}' width='{length:.1f}' height='{_BAR}' rx='3'"
            f" fill='{theme.ours if _is_ours(name) else theme.peer}'/>"
        )
        yield (
            f"<text x='{start + length + 6:.1f}' y='{middle:g}' fill='{theme.faint}'>{text}</text>"
        )


def _is_ours(name: str) -> bool:
    return name.startswith(lineup.OURS)


def _weight(name: str) -> str:
    return _BOLD if _is_ours(name) else _PLAIN


def _text_width(text: str, weight: str) -> float:
    """The width that a text needs at most."""
    return math.ceil(len(text) * _CHARACTER[weight] * _SIZE)
