"""How a call waits for the server: its thread blocks, or makes other calls meanwhile.

The direct transport waits by a :class:`Waiting` and in no other way.
"""

from __future__ import annotations

import collections.abc as cabc
import contextvars
import socket
import time
import typing as t

from urllib3.util import wait

R = t.TypeVar("R")


class Waiting(t.Protocol):
    """How one call waits."""

    def until_readable(self, sock: socket.socket, seconds: float) -> bool:
        """Wait until a socket has something to read.

        :param sock: The socket.
        :param seconds: Longest wait, in seconds.
        :return: Whether there is something to read.
        """
        ...

    def until_writable(self, sock: socket.socket, seconds: float) -> bool:
        """Wait until a socket can be written to. As :meth:`until_readable`."""
        ...

    def until_either(self, sock: socket.socket, seconds: float) -> bool:
        """Wait until a socket can be written to, or has something to read. As
        :meth:`until_readable`."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait for a time.

        :param seconds: How long, in seconds.
        """
        ...

    def in_other_thread(self, function: cabc.Callable[[], R]) -> R:
        """Call a function that may block its thread in a way that is not known here.

        :param function: The function. It runs in a thread that may block.
        :return: What it returns.
        """
        ...


# Some 11 days. poll() takes milliseconds in an int, which a setting may exceed.
_LONGEST_WAIT_SECONDS = 1e6


class InThread:
    """The thread blocks."""

    def until_readable(self, sock: socket.socket, seconds: float) -> bool:
        return wait.wait_for_read(sock, min(seconds, _LONGEST_WAIT_SECONDS))

    def until_writable(self, sock: socket.socket, seconds: float) -> bool:
        return wait.wait_for_write(sock, min(seconds, _LONGEST_WAIT_SECONDS))

    def until_either(self, sock: socket.socket, seconds: float) -> bool:
        return bool(wait.wait_for_socket(sock, read=True, write=True, timeout=seconds))

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def in_other_thread(self, function: cabc.Callable[[], R]) -> R:
        # This thread may block, too.
        return function()


IN_THREAD: t.Final = InThread()

current: contextvars.ContextVar[Waiting] = contextvars.ContextVar(
    "dynamo_ext.waiting", default=IN_THREAD
)


def is_shared() -> bool:
    """Whether this thread makes other calls while one waits. It then lets other threads run by
    itself."""
    return current.get() is not IN_THREAD
