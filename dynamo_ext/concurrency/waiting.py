"""How a call waits for the server: its thread blocks, or makes other calls meanwhile.

The direct transport waits by a :class:`Waiting` and in no other way.
"""

from __future__ import annotations

import collections.abc as cabc
import contextvars
import queue
import socket
import time
import typing as t

from urllib3.util import wait

R = t.TypeVar("R")


class Event(t.Protocol):
    """Something that happens once, in any thread."""

    def set(self) -> None:
        """End the wait for it, which may not have begun."""
        ...

    def wait(self, seconds: float) -> bool:
        """Wait for it.

        :param seconds: Longest wait, in seconds.
        :return: Whether it has happened.
        """
        ...


class Waiting(t.Protocol):
    """How one call waits."""

    def event(self) -> Event:
        """Make an event that this call can wait for."""
        ...

    def until_readable(self, sock: socket.socket, seconds: float) -> bool:
        """Wait until a socket has something to read.

        :param sock: The socket.
        :param seconds: Longest wait, in seconds.
        :return: Whether there is something to read.
        """
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


# poll() takes milliseconds in an int. This is the longest that a setting may say, too.
_LONGEST_WAIT_SECONDS = 2_147_483


class _EventOfThread:
    # Not threading.Event: a signal handler that sets it while its lock is held would wait for ever.
    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[None] = queue.SimpleQueue()

    def set(self) -> None:
        self._queue.put(None)

    def wait(self, seconds: float) -> bool:
        try:
            self._queue.get(timeout=seconds)
        except queue.Empty:
            return False

        return True


class InThread:
    """The thread blocks."""

    def event(self) -> Event:
        return _EventOfThread()

    def until_readable(self, sock: socket.socket, seconds: float) -> bool:
        return wait.wait_for_read(sock, min(seconds, _LONGEST_WAIT_SECONDS))

    def until_either(self, sock: socket.socket, seconds: float) -> bool:
        longest = min(seconds, _LONGEST_WAIT_SECONDS)
        return bool(wait.wait_for_socket(sock, read=True, write=True, timeout=longest))

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
