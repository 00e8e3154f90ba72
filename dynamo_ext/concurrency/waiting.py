"""How a call waits for the server: its thread waits, or makes other calls meanwhile.

The direct transport waits by what stands here, and nowhere else.
"""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import contextvars
import socket
import time
import typing as t

from urllib3.util import wait

R = t.TypeVar("R")


class Waits(t.Protocol):
    """The waits of one call."""

    def until_readable(self, sock: socket.socket, seconds: float) -> bool:
        """Wait for something to read.

        :param seconds: Longest wait.
        :return: Whether there is something.
        """
        ...

    def until_writable(self, sock: socket.socket, seconds: float) -> bool:
        """Wait until something can be written. As :meth:`until_readable`."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait for nothing but the time."""
        ...

    def elsewhere(self, function: cabc.Callable[[], R]) -> R:
        """Call a function that waits in ways of its own.

        :return: What it returns.
        """
        ...


class InThread:
    """The thread waits, and does nothing else meanwhile."""

    def until_readable(self, sock: socket.socket, seconds: float) -> bool:
        return wait.wait_for_read(sock, seconds)

    def until_writable(self, sock: socket.socket, seconds: float) -> bool:
        return wait.wait_for_write(sock, seconds)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def elsewhere(self, function: cabc.Callable[[], R]) -> R:
        return function()


IN_THREAD: t.Final = InThread()

current: contextvars.ContextVar[Waits] = contextvars.ContextVar(
    "dynamo_ext.waiting", default=IN_THREAD
)


@contextlib.contextmanager
def in_thread() -> cabc.Generator[None]:
    """Make the calls in the block wait in their thread, as an app's own code expects."""
    token = current.set(IN_THREAD)

    try:
        yield
    finally:
        current.reset(token)


def are_shared() -> bool:
    """Whether this thread makes other calls meanwhile. It lets other threads run by itself."""
    return current.get() is not IN_THREAD
