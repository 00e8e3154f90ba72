"""Threads of a test."""

from __future__ import annotations

import collections.abc as cabc
import concurrent.futures
import contextlib
import contextvars
import threading
import typing as t

P = t.ParamSpec("P")
R = t.TypeVar("R")


def in_same_app(function: cabc.Callable[P, R]) -> cabc.Callable[P, R]:
    """The same function, for threads: in each it runs in what is now the current app context."""
    context = contextvars.copy_context()

    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        return context.copy().run(function, *args, **kwargs)

    return run


def at_once(function: cabc.Callable[[int], R], count: int) -> list[R]:
    """Call a function with 0, 1, 2, … in so many threads, which all begin at the same time."""
    barrier = threading.Barrier(count)

    def run(number: int) -> R:
        barrier.wait()
        return function(number)

    with concurrent.futures.ThreadPoolExecutor(count) as threads:
        return list(threads.map(run, range(count)))


@contextlib.contextmanager
def beside(call: cabc.Callable[[], object]) -> cabc.Iterator[None]:
    """Call something in a new thread meanwhile, and wait until it has ended. It must not raise
    anything."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=run)
    thread.start()

    try:
        yield
    finally:
        thread.join()

    assert failures == []


def in_new_thread(call: cabc.Callable[[], object]) -> None:
    """Call something in a new thread, and wait until it has ended. It must not raise anything."""
    with beside(call):
        pass
