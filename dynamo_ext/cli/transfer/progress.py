"""How far a transfer has got: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import dataclasses
import sys
import threading
import time
import typing as t

import click

from ...printable import escaped

_SECONDS_BETWEEN_LINES = 5.0


@dataclasses.dataclass(kw_only=True)
class Meter:
    """What a transfer counts."""

    what: str
    unit: str
    """What ``done`` and ``total`` count."""

    total: int
    """How much there is in all, as far as is known. 0 if that is not known."""

    done: int = 0
    items: int = 0
    """How many items were transferred by this process."""

    tick: cabc.Callable[[], None] = lambda: None
    """Shows how far it has got. Called by the thread that has begun the transfer."""

    _lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def advance(self, done: int, *, items: int) -> None:
        """Count.

        :param done: How much was done.
        :param items: How many items that was.
        """
        with self._lock:
            self.done += done
            self.items += items


class Watch:
    """How fast a transfer is.

    :param meter: What it counts.
    :param clock: Returns a time in seconds.
    """

    def __init__(self, meter: Meter, *, clock: cabc.Callable[[], float] = time.monotonic) -> None:
        self._meter = meter
        self._clock = clock
        self._began = clock()
        self._done_before = meter.done

    @property
    def seconds(self) -> float:
        """How long it has taken."""
        return self._clock() - self._began

    @property
    def rate(self) -> float:
        """Items per second."""
        return self._meter.items / self.seconds if self.seconds else 0.0

    def show(self, items: int | None) -> str:
        """How fast it is, for people.

        :param items: Whatever a progress bar is at.
        """
        return f"{self.rate:,.0f} items/s"

    @property
    def seconds_left(self) -> float | None:
        """How long the rest will take at this rate; ``None`` if that is not known."""
        done = self._meter.done - self._done_before

        if not done or self._meter.done > self._meter.total:
            return None

        return (self._meter.total - self._meter.done) * self.seconds / done


@contextlib.contextmanager
def shown(
    meter: Meter, *, is_terminal: bool, clock: cabc.Callable[[], float] = time.monotonic
) -> cabc.Generator[Watch]:
    """Show how far a transfer has got, on stderr, while the block runs.

    :param meter: What the transfer counts. Its ``tick`` shows it.
    :param is_terminal: Whether stderr is a terminal.
    :param clock: Returns a time in seconds.
    """
    watch = Watch(meter, clock=clock)

    if not is_terminal:
        meter.tick = _Lines(meter, watch, clock)
        yield watch
        return

    with t.cast(t.Any, click.progressbar)(
        length=max(meter.total, meter.done, 1),
        label=escaped(meter.what),
        file=sys.stderr,
        show_pos=meter.unit == "items",
        item_show_func=watch.show,
    ) as bar:
        meter.tick = lambda: _update(bar, meter)
        meter.tick()
        yield watch
        meter.tick()


def _update(bar: t.Any, meter: Meter) -> None:
    # DynamoDB counts a table's items every six hours: there may be more.
    bar.length = max(bar.length, meter.done)
    bar.update(meter.done - bar.pos, current_item=meter.items)


class _Lines:
    def __init__(self, meter: Meter, watch: Watch, clock: cabc.Callable[[], float]) -> None:
        self._meter = meter
        self._watch = watch
        self._clock = clock
        self._next = clock() + _SECONDS_BETWEEN_LINES

    def __call__(self) -> None:
        if self._clock() >= self._next:
            self._next = self._clock() + _SECONDS_BETWEEN_LINES
            click.echo(line(self._meter, self._watch), err=True)


def line(meter: Meter, watch: Watch) -> str:
    """How far a transfer has got, on one line.

    :param meter: What it counts.
    :param watch: How fast it is.
    """
    parts = [f"{meter.items:,} items", watch.show(meter.items)]

    if meter.total:
        parts.insert(1, f"{min(100, 100 * meter.done // meter.total)}%")

    if (left := watch.seconds_left) is not None:
        parts.append(f"{left:,.0f} s left")

    return f"{escaped(meter.what)}: {', '.join(parts)}"
