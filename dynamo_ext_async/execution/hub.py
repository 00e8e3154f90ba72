"""The hub: one thread that makes many calls. While one waits for the server, it makes another.

Worker threads pass the interpreter's lock to each other several times in each call, which costs
more than the call itself. The direct transport waits by :mod:`dynamo_ext.concurrency.waiting`
alone, so its calls can share a thread: each runs in a greenlet, which switches to the hub's main
greenlet where it would wait. A call holds a slot here as anywhere else.

Only code of PynamoDB, botocore and this project runs here. Code of the app could block the thread,
or hold a lock while its call waits: worker threads make such calls, see
:mod:`dynamo_ext_async.execution.eligibility`.
"""

from __future__ import annotations

import collections
import collections.abc as cabc
import contextvars
import functools
import heapq
import itertools
import math
import os
import select
import socket
import threading
import time
import typing as t
import weakref

import anyio.lowlevel
import greenlet

from dynamo_ext.calls.app_policy import InFlight
from dynamo_ext.calls.pool import Pool
from dynamo_ext.calls.pool import Slot
from dynamo_ext.concurrency import waiting
from dynamo_ext.errors import CallTimeout
from dynamo_ext.errors import PoolTimeout

from .completion import Completion
from .completion import Inbox
from .completion import current_inbox

R = t.TypeVar("R")

_SECONDS_BETWEEN_DELIVERIES = 0.001
_LONGEST_DELIVERY_SECONDS = 0.001

IS_SUPPORTED: bool = hasattr(select, "epoll") and hasattr(os, "eventfd")
"""Whether the system has edge-triggered polling and event descriptors (Linux)."""


class Job(t.Generic[R]):
    """A call that the hub makes as soon as there is a slot for it.

    :param pool: The pool of the slot.
    :param timeout: Longest wait for the slot, in seconds.
    :param in_flight: The counter of the app's calls.
    :param function: Makes the call.
    """

    def __init__(
        self, pool: Pool, timeout: float, in_flight: InFlight, function: cabc.Callable[[], R]
    ) -> None:
        self._timeout = timeout
        self._start: float = time.monotonic()
        self.context: contextvars.Context = contextvars.copy_context()
        self._pool = pool
        self._in_flight = in_flight
        self._function = function
        self._completion: Completion[R] = Completion(current_inbox())
        self._slot: Slot | None = None
        # Acquired once, by the side that decides whether the call is made or given up.
        self._claim = threading.Lock()

    async def result(self) -> R:
        """Have the call made, and wait for its result.

        When the wait is cancelled, a call that has begun runs to its end, unattended; a call that
        has not begun never runs.

        :return: What the function returned.
        :raises PoolTimeout: if no slot became free in time.
        """
        await anyio.lowlevel.checkpoint_if_cancelled()
        self._pool.stand_in_line(self)

        if self.is_waiting:
            shared().watch_queue(self)

        try:
            return await self._completion.wait()
        except BaseException:
            self._give_up()
            raise

    def set(self) -> bool:
        """Take a slot that has become free. The pool calls this.

        :return: Whether the call still wants it.
        """
        if self._claim.locked():
            return False

        self._slot = self._pool.slot(self._start)

        if self._claim.locked():
            self._slot.release()
        else:
            shared().start(self)

        return True

    def run(self, hub: Hub) -> None:
        """Make the call, unless it was given up."""
        if not self._claim.acquire(blocking=False):
            return

        slot = t.cast(Slot, self._slot)
        waiting.current.set(hub)

        try:
            with slot, self._in_flight:
                result = self._function()
        except BaseException as error:
            self._completion.set_error(error)
        else:
            self._completion.set_result(result)

        hub.deliver(self._completion)

    @property
    def is_waiting(self) -> bool:
        """Whether the call is queued for a slot."""
        return not self.has_slot and not self._claim.locked()

    @property
    def has_slot(self) -> bool:
        """Whether the call has, or has had, a slot."""
        return self._slot is not None

    @property
    def due(self) -> float:
        """When the wait for a slot times out, by :func:`time.monotonic`."""
        return self._start + self._timeout

    def refuse(self) -> None:
        """End a wait for a slot that has timed out."""
        if not self.is_waiting or not self._give_up():
            return

        self._completion.set_error(self.context.run(self.refused))
        shared().deliver(self._completion)

    def refused(self) -> PoolTimeout | CallTimeout:
        """The error of a wait for a slot that has timed out. The pool counts it."""
        try:
            return self._pool.refused(self._start, self._timeout)
        except CallTimeout as error:
            return error

    def _give_up(self) -> bool:
        if not self._claim.acquire(blocking=False):
            return False

        self._pool.leave_line(self)

        # A slot may have arrived at this very moment. Releasing one twice is harmless.
        if self._slot is not None:
            self._slot.release()

        return True


class _Parked(t.NamedTuple):
    """A greenlet that waits, and when its wait times out."""

    greenlet: greenlet.greenlet
    due: float


class Hub(waiting.Waiting):
    """The thread, and the calls that it is making."""

    def __init__(self) -> None:
        self._ready: collections.deque[cabc.Callable[[], t.Any]] = collections.deque()
        self._idle: list[greenlet.greenlet] = []
        self._at_sockets: dict[int, _Parked] = {}
        self._asleep: set[_Parked] = set()
        # A heap of queued jobs, by the time at which each times out.
        self._queued: list[tuple[float, int, Job[t.Any]]] = []
        self._numbers = itertools.count()
        self._wakes_at = math.inf
        self._registered: dict[int, weakref.ref[socket.socket]] = {}
        self._next_due = math.inf
        self._inboxes: set[Inbox] = set()
        """The inboxes with completions for which their event loops were not woken yet."""

        self._last_delivery = 0.0
        self._poll = select.epoll()
        self._edges: int = select.EPOLLIN | select.EPOLLOUT | select.EPOLLET
        self._wakeup: int = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll.register(self._wakeup, select.EPOLLIN | select.EPOLLET)
        self._is_polling = False
        self._thread = threading.Thread(target=self._run, name="dynamo-ext hub", daemon=True)
        self._thread.start()

    def start(self, job: Job[t.Any]) -> None:
        """Make the call of a job that has its slot.

        :param job: The job. May be called in any thread, like the next two methods.
        """
        self._call_soon(functools.partial(self._start, job))

    def watch_queue(self, job: Job[t.Any]) -> None:
        """End a job's wait for a slot when it times out.

        :param job: A queued job.
        """
        heapq.heappush(self._queued, (job.due, next(self._numbers), job))

        if self._is_polling and job.due < self._wakes_at:
            self._wake()

    def deliver(self, completion: Completion[t.Any]) -> None:
        """Deliver what a job has completed with, in the hub's thread.

        It may wait a moment for others: to wake an event loop means to pass it the interpreter's
        lock.

        :param completion: The job's completion.
        """
        completion.inbox.add(completion)
        self._inboxes.add(completion.inbox)

        if time.monotonic() - self._last_delivery > _SECONDS_BETWEEN_DELIVERIES:
            self._let_loops_run()

    def until_readable(self, sock: socket.socket, seconds: float) -> bool:
        return self._park_at(sock, seconds)

    def until_writable(self, sock: socket.socket, seconds: float) -> bool:
        return self._park_at(sock, seconds)

    def until_either(self, sock: socket.socket, seconds: float) -> bool:
        return self._park_at(sock, seconds)

    def sleep(self, seconds: float) -> None:
        parked = self._parked(seconds)
        self._asleep.add(parked)
        self._greenlet.switch()

    def in_other_thread(self, function: cabc.Callable[[], R]) -> R:
        outcome: list[tuple[t.Any, BaseException | None]] = []
        here = greenlet.getcurrent()
        context = contextvars.copy_context()
        context.run(waiting.current.set, waiting.IN_THREAD)

        def work() -> None:
            try:
                outcome.append((context.run(function), None))
            except BaseException as error:
                outcome.append((None, error))

            self._call_soon(here.switch)

        threading.Thread(target=work, name="dynamo-ext", daemon=True).start()
        self._greenlet.switch()
        [(result, error)] = outcome

        if error is not None:
            raise error

        return t.cast(R, result)

    def _call_soon(self, function: cabc.Callable[[], t.Any]) -> None:
        """Have a function called in the hub's thread, from any thread."""
        self._ready.append(function)

        if self._is_polling:
            self._wake()

    def _wake(self) -> None:
        self._is_polling = False
        os.eventfd_write(self._wakeup, 1)

    def _run(self) -> None:
        self._greenlet = greenlet.getcurrent()

        while True:
            while self._ready:
                self._ready.popleft()()

            self._wait()
            now = time.monotonic()
            self._refuse_overdue(now)

            if now >= self._next_due:
                self._end_waits(now)

    def _wake_loops(self) -> None:
        for inbox in self._inboxes:
            inbox.wake_loop()

    def _let_loops_run(self) -> None:
        """Wake the event loops, and let them have the interpreter until they have run."""
        self._wake_loops()

        for inbox in self._inboxes:
            inbox.wait_for_delivery(_LONGEST_DELIVERY_SECONDS)

        self._inboxes.clear()
        self._last_delivery = time.monotonic()

    def _wait(self) -> None:
        """Wait until a socket is ready, another thread wakes the hub, or a wait times out."""
        events = self._poll.poll(0)

        if not events:
            self._wake_loops()
            self._inboxes.clear()
            self._is_polling = True
            events = self._poll.poll(self._seconds_to_wait())
            self._is_polling = False
            self._last_delivery = time.monotonic()

        for descriptor, _ in events:
            parked = self._at_sockets.pop(descriptor, None)

            if parked is not None:
                parked.greenlet.switch(True)

    def _seconds_to_wait(self) -> float | None:
        # From here on a job that is queued wakes the hub, unless it times out after the time below.
        self._wakes_at = math.inf
        self._wakes_at = min(self._next_due, self._queued[0][0] if self._queued else math.inf)

        if self._ready:
            return 0

        return None if self._wakes_at == math.inf else max(0.0, self._wakes_at - time.monotonic())

    def _start(self, job: Job[t.Any]) -> None:
        if not self._idle:
            # Without the job: a greenlet keeps its function's arguments, and so the job's app,
            # until the function returns.
            greenlet.greenlet(self._work).switch()

        self._idle.pop().switch(job)

    def _work(self) -> None:
        """Make one call after the other: a new greenlet for each would cost more."""
        here = greenlet.getcurrent()

        while True:
            self._idle.append(here)
            job: Job[t.Any] = self._greenlet.switch()
            job.context.run(job.run, self)
            # Drop the reference, or the job's app stays alive until the next job arrives.
            del job

    def _parked(self, seconds: float) -> _Parked:
        parked = _Parked(greenlet.getcurrent(), time.monotonic() + seconds)
        self._next_due = min(self._next_due, parked.due)
        return parked

    def _park_at(self, sock: socket.socket, seconds: float) -> bool:
        descriptor = sock.fileno()
        known = self._registered.get(descriptor)

        if known is None or known() is not sock:
            self._register(descriptor, sock)

        self._at_sockets[descriptor] = self._parked(seconds)
        return bool(self._greenlet.switch())

    def _register(self, descriptor: int, sock: socket.socket) -> None:
        try:
            self._poll.register(descriptor, self._edges)
        except FileExistsError:
            self._poll.modify(descriptor, self._edges)

        self._registered[descriptor] = weakref.ref(sock)

    def _refuse_overdue(self, now: float) -> None:
        """End the waits for a slot that have timed out, and forget those that have ended."""
        while self._queued and (self._queued[0][0] <= now or not self._queued[0][2].is_waiting):
            _, _, job = heapq.heappop(self._queued)
            job.refuse()

    def _end_waits(self, now: float) -> None:
        """End all other waits that have timed out, and note when the next one will."""
        for descriptor, parked in list(self._at_sockets.items()):
            if parked.due <= now:
                del self._at_sockets[descriptor]
                self._ready.append(functools.partial(parked.greenlet.switch, False))

        for parked in [parked for parked in self._asleep if parked.due <= now]:
            self._asleep.remove(parked)
            self._ready.append(parked.greenlet.switch)

        waiting = [*self._at_sockets.values(), *self._asleep]
        self._next_due = min((parked.due for parked in waiting), default=math.inf)


_creation_lock = threading.Lock()
_shared: Hub | None = None


def shared() -> Hub:
    """The hub of this process, created at the first call that wants one."""
    global _shared

    if _shared is None:
        with _creation_lock:
            if _shared is None:
                _shared = Hub()

    return _shared


def _after_fork_in_child() -> None:
    global _creation_lock, _shared
    _creation_lock = threading.Lock()
    _shared = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
