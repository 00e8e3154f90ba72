"""Work that takes several calls with waits between them, written once for threads and for tasks.

Such work is a generator of waits. Between two waits it makes at most one call; it yields how many
seconds to wait before its next step. Its driver decides how to wait: a thread sleeps, a task
awaits. During a wait, no slot is held.
"""

from __future__ import annotations

import collections.abc as cabc
import time
import typing as t

R = t.TypeVar("R")

Waits: t.TypeAlias = cabc.Generator[float, None, R]
"""A generator of waits, in seconds, which returns a result."""


def step(waits: Waits[R]) -> tuple[float | None, R | None]:
    """Take one step.

    :param waits: The generator.
    :return: How many seconds to wait before the next step; or ``None``, and what the generator
        returns. It is not raised: a worker can't raise ``StopIteration``.
    """
    try:
        return next(waits), None
    except StopIteration as end:
        return None, end.value


def run(waits: Waits[R]) -> R:
    """Drive a generator of waits in this thread.

    :param waits: The generator.
    :return: What the generator returns.
    """
    while True:
        try:
            seconds = next(waits)
        except StopIteration as end:
            return t.cast(R, end.value)

        time.sleep(seconds)
