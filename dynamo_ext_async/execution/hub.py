"""One thread that has many calls under way: while one waits for the server, it makes another.

Worker threads hand the interpreter to each other several times for each call, which costs more than
the call itself. The direct transport says when it waits. So its calls can share a thread: each is a
greenlet, which goes to the hub where it would wait. A call holds a slot here as anywhere else.

Only PynamoDB's own code runs here. What an app has made of it could wait in ways of its own, or
hold a lock meanwhile: that is left to worker threads, see :mod:`dynamo_ext_async.offload`.
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

from dynamo_ext.calls.pool import Pool
from dynamo_ext.calls.pool import Slot
from dynamo_ext.client.connection import UnderWay
from dynamo_ext.concurrency import waiting
from dynamo_ext.errors import CallTimeout
from dynamo_ext.errors import PoolTimeout

from .completion import Letter
from .completion import Mailbox
from .completion import mailbox

R = t.TypeVar("R")

_LONGEST_STRETCH = 0.001
_PATIENCE = 0.001

IS_SUPPORTED: bool = hasattr(select, "epoll") and hasattr(os, "eventfd")
"""Whether the system can tell of many sockets at once in the way that is needed here."""


class Job(t.Generic[R]):
    """A call for the hub to make when there is a slot for it.

    :param pool: Where the slot comes from.
    :param timeout: Longest wait for the slot, in seconds.
    :param under_way: What counts the app's calls.
    :param function: Makes the call.
    """

    def __init__(
        self, pool: Pool, timeout: float, under_way: UnderWay, function: cabc.Callable[[], R]
    ) -> None:
        self._timeout = timeout
        self._start: float = time.monotonic()
        self.context: contextvars.Context = contextvars.copy_context()
        self._pool = pool
        self._under_way = under_way
        self._function = function
        self._letter: Letter[R] = Letter(mailbox())
        self._slot: Slot | None = None
        # Taken by whoever decides what becomes of it: it is made, or given up.
        self._claim = threading.Lock()

    async def result(self) -> R:
        """Have the call made, and wait for what comes of it.

        When the wait is cancelled, a call that has begun runs to its end, unattended; one that
        has not never does.

        :return: What the function returned.
        :raises PoolTimeout: if no slot became free in time.
        """
        await anyio.lowlevel.checkpoint_if_cancelled()
        self._pool.stand_in_line(self)

        if self.is_waiting:
            shared().watch(self)

        try:
            return await self._letter.read()
        except BaseException:
            self._give_up()
            raise

    def set(self) -> bool:
        """Be given a slot."""
        if self._claim.locked():
            return False

        self._slot = self._pool.slot(self._start)

        if self._claim.locked():
            self._slot.release()
        else:
            shared().begin(self)

        return True

    def run(self, hub: Hub) -> None:
        """Make the call, unless it was given up."""
        if not self._claim.acquire(blocking=False):
            return

        slot = t.cast(Slot, self._slot)
        waiting.current.set(hub)

        try:
            with slot, self._under_way:
                result = self._function()
        except BaseException as error:
            self._letter.write_error(error)
        else:
            self._letter.write(result)

        hub.post(self._letter)

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for a slot."""
        return not self.has_slot and not self._claim.locked()

    @property
    def has_slot(self) -> bool:
        """Whether it was given one."""
        return self._slot is not None

    @property
    def due(self) -> float:
        """When that wait has been too long."""
        return self._start + self._timeout

    def refuse(self) -> None:
        """End a wait for a slot that has been too long."""
        if not self.is_waiting or not self._give_up():
            return

        self._letter.write_error(self.context.run(self.refused))
        shared().post(self._letter)

    def refused(self) -> PoolTimeout | CallTimeout:
        """The error of a wait for a slot that has been too long. It counts as one."""
        try:
            return self._pool.refused(self._start, self._timeout)
        except CallTimeout as error:
            return error

    def _give_up(self) -> bool:
        if not self._claim.acquire(blocking=False):
            return False

        self._pool.leave_line(self)

        # It may have got one at this very moment. A slot can be released twice.
        if self._slot is not None:
            self._slot.release()

        return True


class _Parked(t.NamedTuple):
    """A greenlet that waits for something, but not for ever."""

    greenlet: greenlet.greenlet
    due: float


class Hub(waiting.Waits):
    """The thread, and what it has under way."""

    def __init__(self) -> None:
        self._ready: collections.deque[cabc.Callable[[], t.Any]] = collections.deque()
        self._idle: list[greenlet.greenlet] = []
        self._at_sockets: dict[int, _Parked] = {}
        self._asleep: set[_Parked] = set()
        # By when each has waited too long.
        self._in_line: list[tuple[float, int, Job[t.Any]]] = []
        self._numbers = itertools.count()
        self._wakes_at = math.inf
        self._registered: dict[int, weakref.ref[socket.socket]] = {}
        self._next_due = math.inf
        self._mailboxes: set[Mailbox] = set()
        """Those with letters of which their event loops don't know yet."""

        self._last_hand_over = 0.0
        self._poll = select.epoll()
        self._edges: int = select.EPOLLIN | select.EPOLLOUT | select.EPOLLET
        self._bell: int = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll.register(self._bell, select.EPOLLIN | select.EPOLLET)
        self._must_be_rung = False
        self._thread = threading.Thread(target=self._run, name="dynamo-ext hub", daemon=True)
        self._thread.start()

    def begin(self, job: Job[t.Any]) -> None:
        """Make the call of a job that has its slot."""
        self._soon(functools.partial(self._start, job))

    def watch(self, job: Job[t.Any]) -> None:
        """Have a job wait for its slot no longer than it may."""
        heapq.heappush(self._in_line, (job.due, next(self._numbers), job))

        if self._must_be_rung and job.due < self._wakes_at:
            self._ring()

    def post(self, letter: Letter[t.Any]) -> None:
        """Send what comes of a job, in the hub.

        It waits a moment for others: who wakes an event loop has to hand it the interpreter.
        """
        letter.mailbox.drop(letter)
        self._mailboxes.add(letter.mailbox)

        if time.monotonic() - self._last_hand_over > _LONGEST_STRETCH:
            self._hand_over()

    def until_readable(self, sock: socket.socket, seconds: float) -> bool:
        return self._park_at(sock, seconds)

    def until_writable(self, sock: socket.socket, seconds: float) -> bool:
        return self._park_at(sock, seconds)

    def sleep(self, seconds: float) -> None:
        parked = self._parked(seconds)
        self._asleep.add(parked)
        self._greenlet.switch()

    def elsewhere(self, function: cabc.Callable[[], R]) -> R:
        outcome: list[tuple[t.Any, BaseException | None]] = []
        here = greenlet.getcurrent()
        context = contextvars.copy_context()
        context.run(waiting.current.set, waiting.IN_THREAD)

        def work() -> None:
            try:
                outcome.append((context.run(function), None))
            except BaseException as error:
                outcome.append((None, error))

            self._soon(here.switch)

        threading.Thread(target=work, name="dynamo-ext", daemon=True).start()
        self._greenlet.switch()
        [(result, error)] = outcome

        if error is not None:
            raise error

        return t.cast(R, result)

    def _soon(self, function: cabc.Callable[[], t.Any]) -> None:
        """Have a function called in the hub, from any thread."""
        self._ready.append(function)

        if self._must_be_rung:
            self._ring()

    def _ring(self) -> None:
        self._must_be_rung = False
        os.eventfd_write(self._bell, 1)

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

    def _announce(self) -> None:
        for each in self._mailboxes:
            each.announce()

    def _hand_over(self) -> None:
        """Let the event loops have their letters, and the interpreter."""
        self._announce()

        for each in self._mailboxes:
            each.let_fetch(_PATIENCE)

        self._mailboxes.clear()
        self._last_hand_over = time.monotonic()

    def _wait(self) -> None:
        """Wait until a socket is ready, the bell rings, or somebody has waited long enough."""
        events = self._poll.poll(0)

        if not events:
            self._announce()
            self._mailboxes.clear()
            self._must_be_rung = True
            events = self._poll.poll(self._seconds_to_wait())
            self._must_be_rung = False
            self._last_hand_over = time.monotonic()

        for descriptor, _ in events:
            parked = self._at_sockets.pop(descriptor, None)

            if parked is not None:
                parked.greenlet.switch(True)

    def _seconds_to_wait(self) -> float | None:
        # Whoever gets into the line from now on rings, unless the time that follows is soon enough.
        self._wakes_at = math.inf
        self._wakes_at = min(self._next_due, self._in_line[0][0] if self._in_line else math.inf)

        if self._ready:
            return 0

        return None if self._wakes_at == math.inf else max(0.0, self._wakes_at - time.monotonic())

    def _start(self, job: Job[t.Any]) -> None:
        worker = self._idle.pop() if self._idle else greenlet.greenlet(self._work)
        worker.switch(job)

    def _work(self, job: Job[t.Any]) -> None:
        """Make one call after the other, in a greenlet: a new one for each would cost more."""
        here = greenlet.getcurrent()

        while True:
            job.context.run(job.run, self)
            # Its context, and with it an app, must not live as long as the next job lets wait.
            del job
            self._idle.append(here)
            job = self._greenlet.switch()

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
        """End the waits for a slot that have been too long, and forget those that have ended."""
        while self._in_line and (self._in_line[0][0] <= now or not self._in_line[0][2].is_waiting):
            _, _, job = heapq.heappop(self._in_line)
            job.refuse()

    def _end_waits(self, now: float) -> None:
        """End all other waits that have been long enough, and see when the next has to end."""
        for descriptor, parked in list(self._at_sockets.items()):
            if parked.due <= now:
                del self._at_sockets[descriptor]
                self._ready.append(functools.partial(parked.greenlet.switch, False))

        for parked in [parked for parked in self._asleep if parked.due <= now]:
            self._asleep.remove(parked)
            self._ready.append(parked.greenlet.switch)

        waiting = [*self._at_sockets.values(), *self._asleep]
        self._next_due = min((parked.due for parked in waiting), default=math.inf)


_making = threading.Lock()
_shared: Hub | None = None


def shared() -> Hub:
    """The hub of this process."""
    global _shared

    if _shared is None:
        with _making:
            if _shared is None:
                _shared = Hub()

    return _shared


def _after_fork_in_child() -> None:
    global _making, _shared
    _making = threading.Lock()
    _shared = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
