"""What other threads send to the tasks of an event loop.

An event loop is woken once for all that has arrived by then: to wake it costs more than to deliver.
"""

from __future__ import annotations

import asyncio
import collections
import collections.abc as cabc
import contextlib
import sys
import threading
import typing as t
import weakref

R = t.TypeVar("R")

CallSoon = cabc.Callable[[cabc.Callable[[], None]], t.Any]

# By event loop, or by what stands for a run of trio.
_mailboxes: weakref.WeakKeyDictionary[t.Any, Mailbox] = weakref.WeakKeyDictionary()


class Letter(t.Generic[R]):
    """A result that a task waits for. Made by the task.

    :param mailbox: The one of the task's event loop.
    """

    def __init__(self, mailbox: Mailbox) -> None:
        self.mailbox = mailbox
        self._flag: _Flag = mailbox.new_flag()
        self._result: R | None = None
        self._error: BaseException | None = None

    def write(self, result: R) -> None:
        """Put a result into it, in any thread."""
        self._result = result

    def write_error(self, error: BaseException) -> None:
        """Put an error into it instead, in any thread."""
        self._error = error

    def arrive(self) -> None:
        """Tell the task that it is there, in the thread of its event loop."""
        self._flag.set()

    async def read(self) -> R:
        """Wait for it.

        :return: The result.
        :raises BaseException: if there is an error instead.
        """
        await self._flag.wait()

        if self._error is None:
            return t.cast(R, self._result)

        try:
            raise self._error
        finally:
            # Its traceback leads back here.
            self._error = None


class _Flag(t.Protocol):
    def set(self) -> None: ...

    async def wait(self) -> t.Any: ...


class _Future:
    """asyncio's flag. Its own Event would make such a future, and more."""

    __slots__ = ("_future",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._future: asyncio.Future[None] = loop.create_future()

    def set(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    async def wait(self) -> None:
        await self._future


class Mailbox:
    """The letters to the tasks of one event loop.

    :param call_soon: Has the event loop call a function, from any thread.
    :param call_next: The same from its own thread, behind the tasks that can run.
    :param new_flag: Makes what one task waits for.
    """

    def __init__(
        self,
        call_soon: CallSoon,
        call_next: CallSoon,
        new_flag: cabc.Callable[[], _Flag],
    ) -> None:
        self.new_flag = new_flag
        self._call_soon = call_soon
        self._call_next = call_next
        self._letters: collections.deque[Letter[t.Any]] = collections.deque()
        self._fetched = threading.Lock()

    def drop(self, letter: Letter[t.Any]) -> None:
        """Add a letter, in any thread. It arrives after the next :meth:`announce`."""
        self._letters.append(letter)

    def announce(self) -> None:
        """Have all letters arrive, in any thread."""
        self._fetched.acquire(blocking=False)

        # Nobody waits any more where the event loop has ended.
        with contextlib.suppress(RuntimeError):
            self._call_soon(self._deliver)

    def let_fetch(self, seconds: float) -> None:
        """Let the event loop run, until the tasks have got what was announced.

        :param seconds: Longest wait.
        """
        self._fetched.acquire(timeout=seconds)

    def _deliver(self) -> None:
        while self._letters:
            self._letters.popleft().arrive()

        self._call_next(self._note_fetched)

    def _note_fetched(self) -> None:
        if self._fetched.locked():
            self._fetched.release()


def mailbox() -> Mailbox:
    """That of the event loop that is running in this thread."""
    loop = asyncio._get_running_loop()
    key = _trio().lowlevel.current_trio_token() if loop is None else loop
    found = _mailboxes.get(key)

    if found is None:
        found = _mailboxes[key] = _trio_mailbox(key) if loop is None else _asyncio_mailbox(loop)

    return found


def _asyncio_mailbox(loop: asyncio.AbstractEventLoop) -> Mailbox:
    # The loop is not kept alive by what is kept for it.
    here = weakref.ref(loop)

    def call_soon(function: cabc.Callable[[], None]) -> None:
        if (loop := here()) is not None:
            loop.call_soon_threadsafe(function)

    def call_next(function: cabc.Callable[[], None]) -> None:
        # It need not be woken for that.
        t.cast(asyncio.AbstractEventLoop, here()).call_soon(function)

    return Mailbox(call_soon, call_next, lambda: _Future(t.cast(asyncio.AbstractEventLoop, here())))


def _trio_mailbox(token: t.Any) -> Mailbox:
    here = weakref.ref(token)

    def call_soon(function: cabc.Callable[[], None]) -> None:
        if (token := here()) is not None:
            token.run_sync_soon(function)

    return Mailbox(call_soon, call_soon, _trio().Event)


def _trio() -> t.Any:
    return sys.modules["trio"]
