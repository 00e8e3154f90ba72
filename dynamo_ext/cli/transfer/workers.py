"""The threads of a transfer."""

from __future__ import annotations

import collections.abc as cabc
import concurrent.futures
import contextlib
import contextvars
import signal
import threading
import types

from .stopping import Stopped
from .stopping import Stopping

_TICK_SECONDS = 0.2


def run(
    tasks: cabc.Sequence[cabc.Callable[[], None]],
    *,
    stopping: Stopping,
    tick: cabc.Callable[[], None],
) -> None:
    """Run tasks, each in a thread of its own, until all have ended.

    If one fails, or Ctrl-C is pressed, the others are told to stop, and end after what is under
    way.

    :param tasks: The tasks.
    :param stopping: What tells them to stop.
    :param tick: Called in this thread, several times a second.
    :raises KeyboardInterrupt: if Ctrl-C was pressed. All tasks have ended by then.
    :raises BaseException: what the first task to fail has raised.
    """
    with (
        _interruption_after(stopping),
        concurrent.futures.ThreadPoolExecutor(len(tasks)) as executor,
    ):
        try:
            # What listens to calls sees the caller's context.
            futures = [executor.submit(contextvars.copy_context().run, task) for task in tasks]
            _wait(futures, tick)
        finally:
            stopping.set()

    _raise_first([future.exception() for future in futures])


@contextlib.contextmanager
def _interruption_after(stopping: Stopping) -> cabc.Generator[None]:
    """Let Ctrl-C stop the tasks, and raise ``KeyboardInterrupt`` at the end of the block.

    Raised inside it, as Python does, it could leave a lock of :mod:`threading` taken for ever: the
    threads would wait for this one, and this one for them.
    """
    is_main = threading.current_thread() is threading.main_thread()

    # The app's own handler, or that Ctrl-C is ignored, stays.
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    has_come = False

    def note(number: int, frame: types.FrameType | None) -> None:
        nonlocal has_come
        has_come = True
        stopping.set()

    signal.signal(signal.SIGINT, note)

    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)

        if has_come:
            raise KeyboardInterrupt


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
