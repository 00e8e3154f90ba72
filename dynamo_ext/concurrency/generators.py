"""Work that takes several calls with waits between them, written once for threads and for tasks.

A procedure is a generator: between two waits it makes at most one call, and it yields how many
seconds to wait before it goes on. Whoever drives it decides how to wait; nobody holds a slot
meanwhile.
"""

from __future__ import annotations

import collections.abc as cabc
import time
import typing as t

R = t.TypeVar("R")

Procedure: t.TypeAlias = cabc.Generator[float, None, R]


def run(procedure: Procedure[R]) -> R:
    """Drive a procedure in this thread.

    :param procedure: What to drive.
    :return: What it returns.
    """
    while True:
        try:
            seconds = next(procedure)
        except StopIteration as end:
            return t.cast(R, end.value)

        time.sleep(seconds)
