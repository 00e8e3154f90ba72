"""The turns of event loops: what is found out once in a turn need not be asked again in it."""

from __future__ import annotations

import asyncio
import typing as t
import weakref

Turn = set[t.Hashable]
"""One turn of an event loop: what was found to be so in it."""

_turns: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Turn] = weakref.WeakKeyDictionary()


def current() -> Turn | None:
    """The turn of the event loop that is running in this thread.

    It ends before any task goes on that has waited for something since the turn began.

    :return: A set of its own for each turn; ``None`` if no event loop of asyncio is running.
    """
    loop = asyncio._get_running_loop()

    if loop is None:
        return None

    turn = _turns.get(loop)

    if turn is None:
        turn = _turns[loop] = set()
        loop.call_soon(_turns.pop, loop, None)

    return turn
