"""How other threads complete what the tasks of an event loop wait for.

Waking an event loop costs more than delivering a result, so a loop is woken once for all results
that are in its inbox by then.
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

from dynamo_ext.calls import blocking

R = t.TypeVar("R")

CallSoon = cabc.Callable[[cabc.Callable[[], None]], t.Any]

# By event loop, or by the token of a trio run.
_inboxes: weakref.WeakKeyDictionary[t.Any, Inbox] = weakref.WeakKeyDictionary()


class Completion(t.Generic[R]):
    """A result that one task waits for. The task creates it.

    :param inbox: The inbox of the task's event loop.
    """

    def __init__(self, inbox: Inbox) -> None:
        self.inbox = inbox
        self._event: _Event = inbox.new_event()
        self._result: R | None = None
        self._error: BaseException | None = None
        self._is_set = False

    def set_result(self, result: R) -> None:
        """Store the result, in any thread."""
        self._result = result
        self._is_set = True

    def set_error(self, error: BaseException) -> None:
        """Store an error instead, in any thread."""
        self._error = error
        self._is_set = True

    def abort(self, error: BaseException) -> None:
        """Store an error, unless there is a result already, and deliver either, in any thread."""
        if not self._is_set:
            self.set_error(error)

        self.inbox.add(self)
        self.inbox.wake_loop()

    def wake_task(self) -> None:
        """Wake the task, in the thread of its event loop."""
        self._event.set()

    async def wait(self) -> R:
        """Wait for the result.

        :return: The result.
        :raises BaseException: the error, if that was stored instead.
        """
        await self._event.wait()

        if self._error is None:
            return t.cast(R, self._result)

        try:
            raise self._error
        finally:
            # The error's traceback refers to this frame: break the cycle.
            self._error = None


class _Event(t.Protocol):
    """What one task waits for."""

    def set(self) -> None: ...

    async def wait(self) -> t.Any: ...


class _FutureEvent:
    """asyncio's. An ``asyncio.Event`` would create such a future, and more."""

    __slots__ = ("_future",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._future: asyncio.Future[None] = loop.create_future()

    def set(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    async def wait(self) -> None:
        await self._future


class Inbox:
    """The completions for the tasks of one event loop.

    :param call_soon: Makes the event loop call a function, from any thread.
    :param call_next: The same from the loop's own thread, behind the tasks that can run.
    :param new_event: Creates what one task waits for.
    """

    def __init__(
        self,
        call_soon: CallSoon,
        call_next: CallSoon,
        new_event: cabc.Callable[[], _Event],
    ) -> None:
        self.new_event = new_event
        self._call_soon = call_soon
        self._call_next = call_next
        self._completions: collections.deque[Completion[t.Any]] = collections.deque()
        # Held from the time at which the loop is woken until its tasks have run.
        self._undelivered = threading.Lock()

    def add(self, completion: Completion[t.Any]) -> None:
        """Add a completion, in any thread. Its task runs after the next :meth:`wake_loop`."""
        self._completions.append(completion)

    def wake_loop(self) -> None:
        """Have all completions delivered, in any thread."""
        self._undelivered.acquire(blocking=False)

        # The event loop may have ended: then no task waits any more.
        with contextlib.suppress(RuntimeError):
            self._call_soon(self._deliver)

    def wait_for_delivery(self, seconds: float) -> None:
        """Let the event loop run until its tasks have the results.

        :param seconds: Longest wait, in seconds.
        """
        self._undelivered.acquire(timeout=seconds)

    def _deliver(self) -> None:
        while self._completions:
            self._completions.popleft().wake_task()

        try:
            self._call_next(self._mark_delivered)
        except RuntimeError:
            # The event loop is ending.
            self._mark_delivered()

    def _mark_delivered(self) -> None:
        if self._undelivered.locked():
            self._undelivered.release()


def current_inbox() -> Inbox:
    """The inbox of the event loop that is running in this thread.

    :raises RuntimeError: if none is running.
    """
    loop = asyncio._get_running_loop()

    if loop is None and not blocking.on_event_loop():
        raise RuntimeError("No event loop is running in this thread.")

    key = _trio().lowlevel.current_trio_token() if loop is None else loop
    found = _inboxes.get(key)

    if found is None:
        found = _inboxes[key] = _trio_inbox(key) if loop is None else _asyncio_inbox(loop)

    return found


def _asyncio_inbox(loop: asyncio.AbstractEventLoop) -> Inbox:
    # An inbox must not keep its loop alive.
    reference = weakref.ref(loop)

    def call_soon(function: cabc.Callable[[], None]) -> None:
        if (loop := reference()) is not None:
            loop.call_soon_threadsafe(function)

    def call_next(function: cabc.Callable[[], None]) -> None:
        # The loop is running, so it need not be woken.
        t.cast(asyncio.AbstractEventLoop, reference()).call_soon(function)

    def new_event() -> _FutureEvent:
        return _FutureEvent(t.cast(asyncio.AbstractEventLoop, reference()))

    return Inbox(call_soon, call_next, new_event)


def _trio_inbox(token: t.Any) -> Inbox:
    reference = weakref.ref(token)

    def call_soon(function: cabc.Callable[[], None]) -> None:
        if (token := reference()) is not None:
            token.run_sync_soon(function)

    return Inbox(call_soon, call_soon, _trio().Event)


def _trio() -> t.Any:
    return sys.modules["trio"]
