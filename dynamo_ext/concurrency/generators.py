"""Work that takes several calls with waits between them, written once for threads and for tasks.

A procedure is a generator. Between two waits it makes at most one call; it yields how many seconds
to wait before the next step. Its driver decides how to wait: a thread sleeps, a task awaits. During
a wait, no slot is held.
"""

from __future__ import annotations

import collections.abc as cabc
import time
import typing as t

R = t.TypeVar("R")

Procedure: t.TypeAlias = cabc.Generator[float, None, R]


def run(procedure: Procedure[R]) -> R:
    """Drive a procedure in this thread.

    :param procedure: The procedure.
    :return: What the procedure returns.
    """
    while True:
        try:
            seconds = next(procedure)
        except StopIteration as end:
            return t.cast(R, end.value)

        time.sleep(seconds)
