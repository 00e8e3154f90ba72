"""The threads of a transfer."""

from __future__ import annotations

import collections.abc as cabc
import concurrent.futures
import contextvars
import threading

from .table import Stopped

_TICK_SECONDS = 0.2


def run(
    tasks: cabc.Sequence[cabc.Callable[[], None]],
    *,
    stopping: threading.Event,
    tick: cabc.Callable[[], None],
) -> None:
    """Run tasks, each in a thread of its own, until all have ended.

    If one fails, or this thread is interrupted, the others are told to stop, and end after what is
    under way.

    :param tasks: The tasks.
    :param stopping: What tells them to stop.
    :param tick: Called in this thread, several times a second.
    :raises BaseException: what the first task to fail has raised.
    """
    with concurrent.futures.ThreadPoolExecutor(len(tasks)) as executor:
        # What listens to calls sees the caller's context.
        futures = [executor.submit(contextvars.copy_context().run, task) for task in tasks]

        try:
            _wait(futures, tick)
        finally:
            stopping.set()

    _raise_first([future.exception() for future in futures])


def _wait(
    futures: cabc.Collection[concurrent.futures.Future[None]], tick: cabc.Callable[[], None]
) -> None:
    pending = set(futures)

    while pending:
        done, pending = concurrent.futures.wait(
            pending, _TICK_SECONDS, concurrent.futures.FIRST_EXCEPTION
        )
        tick()

        if any(future.exception() for future in done):
            return


def _raise_first(errors: cabc.Iterable[BaseException | None]) -> None:
    """Others may have stopped because of it."""
    raised = [error for error in errors if error is not None]

    for error in sorted(raised, key=lambda each: isinstance(each, Stopped)):
        raise error
