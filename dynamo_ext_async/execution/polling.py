"""How the hub and the event loop watch sockets, and by which clock they wait."""

from __future__ import annotations

import collections.abc as cabc
import functools
import os
import select
import time

IS_SUPPORTED: bool = hasattr(select, "epoll") and hasattr(os, "eventfd")
"""Whether the system has edge-triggered polling and event descriptors (Linux)."""

if IS_SUPPORTED:
    _CHANGES: int = select.EPOLLIN | select.EPOLLOUT | select.EPOLLET

    # Not time.monotonic: tests that freeze the time replace it.
    clock: cabc.Callable[[], float] = functools.partial(time.clock_gettime, time.CLOCK_MONOTONIC)
    """Returns the seconds of a clock that only goes forward."""

    cpu_clock: cabc.Callable[[], float] = functools.partial(
        time.clock_gettime, time.CLOCK_THREAD_CPUTIME_ID
    )
    """Returns the CPU time of this thread, in seconds."""


def register(poll: select.epoll, descriptor: int) -> None:
    """Have the changes of a descriptor reported, each once.

    :param poll: What reports them.
    :param descriptor: The descriptor. It may be that of a socket that was closed meanwhile, and
        have been registered for that.
    """
    try:
        poll.register(descriptor, _CHANGES)
    except FileExistsError:
        poll.modify(descriptor, _CHANGES)
