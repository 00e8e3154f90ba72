"""Where a request waits for calls that other tasks make: ``asyncio.gather(Todo.aget("1"), ...)``.

Such a task runs no code of the app. But the task of the request does, and the place at which it
waits is where these calls are awaited.
"""

from __future__ import annotations

import asyncio
import collections.abc as cabc
import functools
import sys
import typing as t
import weakref

from dynamo_ext import call_site
from dynamo_ext.call_site import Location


def of_current_task() -> cabc.Callable[[], Location | None]:
    """What finds the place at which the current task waits, from other tasks of its event loop.

    :return: Returns the innermost place in the app's code; ``None`` if the task does not wait, or
        its code can't be seen.
    """
    coroutine = _coroutine_of_current_task()
    # The task keeps its coroutine alive, and nobody else should.
    return _nowhere if coroutine is None else functools.partial(_find, weakref.ref(coroutine))


def _nowhere() -> None:
    return None


def _coroutine_of_current_task() -> t.Any:
    try:
        task: t.Any = asyncio.current_task()
    except RuntimeError:
        return t.cast(t.Any, sys.modules["trio"]).lowlevel.current_task().coro

    return None if task is None else task.get_coro()


def _find(coroutine: cabc.Callable[[], t.Any]) -> Location | None:
    step, found = coroutine(), None

    while step is not None:
        # Of a coroutine or a generator. What else is awaited has no frame, and ends the search.
        frame = getattr(step, "cr_frame", None) or getattr(step, "gi_frame", None)

        if frame is not None:
            found = call_site.location_of(frame) or found

        step = getattr(step, "cr_await", None) or getattr(step, "gi_yieldfrom", None)

    return found
