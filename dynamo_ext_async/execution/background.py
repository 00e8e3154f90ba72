"""Tasks that nobody waits for.

anyio starts tasks in a task group, which can't stay open between two items of an iterator.
"""

from __future__ import annotations

import asyncio
import collections.abc as cabc
import contextvars
import sys
import typing as t

Function = cabc.Callable[[], cabc.Coroutine[t.Any, t.Any, None]]

# An event loop refers to its tasks weakly.
_tasks: set[asyncio.Task[None]] = set()


def start(function: Function) -> None:
    """Run a coroutine function in a task of its own, with the current context. The event loop
    cancels the task when it ends.

    :param function: The function. It deals with its exceptions itself.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        context = contextvars.copy_context()
        t.cast(t.Any, sys.modules["trio"]).lowlevel.spawn_system_task(function, context=context)
        return

    task = loop.create_task(function())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
