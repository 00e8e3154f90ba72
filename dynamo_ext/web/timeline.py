"""The calls of a request as HTML: a timeline, with advice. For the panel and the page alike.

Server-rendered, without a script, and without a style in an attribute: a Content-Security-Policy
may forbid both, so the bars are SVG.
"""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import functools
import importlib.resources
import os
import typing as t

import jinja2
import markupsafe

from ..call_site import Location
from ..calls.record import Call
from . import advice
from . import templating
from .recorder import Recording
from .recorder import TimedCall

_READS = ("BatchGet", "Get", "Query", "Scan", "TransactGet")
_WRITES = ("BatchWrite", "Delete", "Put", "TransactWrite", "Update")
_OF_TABLES = ("DeleteTable", "UpdateTable", "UpdateTimeToLive", "UpdateContinuousBackups")
# Of a bar, in percent: what is shorter would not be seen.
_LEAST_WIDTH = 0.4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One call in the timeline."""

    call: Call
    number: int
    kind: t.Literal["read", "write", "other"]
    marks: tuple[str, ...]
    """The kinds of the advice on it."""

    queue_at: float
    queue_width: float
    at: float
    width: float

    @property
    def queue_ms(self) -> float:
        return self.call.queue_seconds * 1000

    @property
    def ms(self) -> float:
        return self.call.seconds * 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timeline:
    """The calls of one request, ready to be shown."""

    rows: list[Row]
    advice: list[advice.Advice]
    count: int
    left_out: int
    call_ms: float
    total_ms: float
    """The time that the timeline covers."""

    capacity: float | None
    items: int
    retries: int
    errors: int

    @classmethod
    def of(cls, recording: Recording) -> Timeline:
        """The timeline of a recording, as it is now.

        :param recording: The recording.
        """
        timed = sorted(recording.timed_calls, key=lambda each: each.begin)
        calls = [each.call for each in timed]
        given = advice.on(calls)
        total = max([recording.seconds or 0.0, *(each.begin + each.seconds for each in timed)])
        capacities = [
            call.consumed_capacity for call in calls if call.consumed_capacity is not None
        ]
        return cls(
            rows=[_row(number, each, total, given) for number, each in enumerate(timed)],
            advice=given,
            count=recording.call_count,
            left_out=recording.left_out,
            call_ms=recording.call_seconds * 1000,
            total_ms=total * 1000,
            capacity=sum(capacities) if capacities else None,
            items=sum(call.items or 0 for call in calls),
            retries=sum(max(0, call.attempts - 1) for call in calls),
            errors=sum(call.error is not None for call in calls),
        )


def _row(number: int, timed: TimedCall, total: float, given: cabc.Iterable[advice.Advice]) -> Row:
    call, scale = timed.call, 100 / (total or 1)
    at = min((timed.begin + call.queue_seconds) * scale, 100 - _LEAST_WIDTH)
    return Row(
        call=call,
        number=number + 1,
        kind=_kind(call.operation),
        marks=tuple(each.kind for each in given if number in each.numbers),
        queue_at=timed.begin * scale,
        queue_width=call.queue_seconds * scale,
        at=at,
        width=max(_LEAST_WIDTH, min(call.seconds * scale, 100 - at)),
    )


def _kind(operation: str) -> t.Literal["read", "write", "other"]:
    if operation in _OF_TABLES:
        return "other"

    if operation.startswith(_READS):
        return "read"

    return "write" if operation.startswith(_WRITES) else "other"


def render(recording: Recording) -> markupsafe.Markup:
    """The timeline of a recording, without style.

    :param recording: The recording.
    """
    return _rendered("timeline.html", timeline=Timeline.of(recording))


def render_alone(recording: Recording | None) -> markupsafe.Markup:
    """The timeline of a recording with its style, shielded from that of the page around it.

    :param recording: The recording; ``None`` where calls are not recorded.
    """
    timeline = None if recording is None else Timeline.of(recording)
    return _rendered("shielded.html", timeline=timeline, style=markupsafe.Markup(style()))


@functools.cache
def style() -> str:
    """The style sheet of a timeline."""
    file = importlib.resources.files(str(__package__)).joinpath("static", "timeline.css")
    return file.read_text(encoding="utf-8")


def _rendered(template: str, **values: t.Any) -> markupsafe.Markup:
    return markupsafe.Markup(_templates().get_template(template).render(**values))


@functools.cache
def _templates() -> jinja2.Environment:
    environment = templating.environment(str(__package__))
    environment.filters["place"] = _short
    environment.filters["number"] = "{:,g}".format
    environment.filters["ms"] = "{:,.1f}".format
    return environment


def _short(location: Location) -> str:
    """The end of a place's path, which tells enough, with its line."""
    parts = location.file.replace(os.sep, "/").split("/")
    return f"{'/'.join(parts[-2:])}:{location.line}"
