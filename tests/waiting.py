"""Waiting, in a task, for something to become true."""

from __future__ import annotations

import collections.abc as cabc

import anyio

from stub import Stub

_DEADLINE = 100.0


async def until(condition: cabc.Callable[[], bool]) -> None:
    """Wait until a condition holds, without blocking the loop.

    :raises TimeoutError: if it never does.
    """
    with anyio.fail_after(_DEADLINE):
        while not condition():  # noqa: ASYNC110
            await anyio.sleep(0.002)


async def answer_one_by_one(stub: Stub, count: int, *, at_once: int) -> None:
    """Answer held requests one at a time, each when as many have arrived as there may be."""
    for left in range(count, 0, -1):
        expected = min(at_once, left)

        def all_have_arrived(expected: int = expected) -> bool:
            return stub.holding == expected

        await until(all_have_arrived)
        stub.release(1)
