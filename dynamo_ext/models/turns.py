"""The turns of event loops: what is found out once in a turn need not be asked again in it."""

from __future__ import annotations

import asyncio
import weakref

_turns: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, object] = weakref.WeakKeyDictionary()


def known() -> object | None:
    """The current turn, if anyone has asked for it; ``None`` otherwise."""
    loop = asyncio._get_running_loop()
    return None if loop is None else _turns.get(loop)


def current() -> object | None:
    """The turn of the event loop that is running in this thread.

    It ends before any task goes on that has waited for something since the turn began.

    :return: An object of its own for each turn; ``None`` if no event loop of asyncio is running.
    """
    loop = asyncio._get_running_loop()

    if loop is None:
        return None

    turn = _turns.get(loop)

    if turn is None:
        turn = _turns[loop] = object()
        loop.call_soon(_turns.pop, loop, None)

    return turn
