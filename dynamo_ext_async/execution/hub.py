"""The hub: one thread that makes many calls. While one waits for the server, it makes another.

Worker threads pass the interpreter's lock to each other several times in each call, which costs
more than the call itself. The direct transport waits by :mod:`dynamo_ext.concurrency.waiting`
alone, so its calls can share a thread: each runs in a greenlet, which switches to the hub's main
greenlet where it would wait. A call holds a slot here as anywhere else.

Only code of PynamoDB, botocore and this project runs here. Code of the app could block the thread,
or hold a lock while its call waits: worker threads make such calls, see
:mod:`dynamo_ext.models.eligibility`.

An exception in a call ends that call. If the thread itself ends, all calls that it has fail, and
the next call starts another hub.
"""

from __future__ import annotations

import atexit
import collections
import collections.abc as cabc
import contextlib
import contextvars
import errno
import functools
import heapq
import itertools
import logging
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
from dynamo_ext.calls.slot import Slot
from dynamo_ext.concurrency import process_local
from dynamo_ext.concurrency import waiting
from dynamo_ext.concurrency.permits import Permit
from dynamo_ext.errors import CallTimeout
from dynamo_ext.errors import PoolTimeout

from . import polling
from .completion import Completion
from .completion import Inbox
from .completion import current_inbox

R = t.TypeVar("R")

_logger = logging.getLogger("dynamo_ext.hub")

_SECONDS_BETWEEN_DELIVERIES = 0.001
_LONGEST_DELIVERY_SECONDS = 0.001
# epoll takes milliseconds in an int, which a setting may exceed.
_LONGEST_POLL_SECONDS = 3600.0

_TRIES_TO_END = 100
_LONGEST_STOP_SECONDS = 1.0

if polling.IS_SUPPORTED:
    # What concerns a call that waits to read.
    _READABLE: int = select.EPOLLIN | select.EPOLLERR | select.EPOLLHUP


class HubUnavailable(RuntimeError):
    """The hub's thread has ended, or could not be started."""


class _NoSlotInTime(Exception):
    """Ends the wait of a task, which then makes the error itself: the pool logs it, and handlers of
    log records are code of the app."""


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
        self.due: float = polling.clock() + timeout
        """When the wait for a slot times out, by the hub's clock."""

        self.context: contextvars.Context = contextvars.copy_context()
        self._pool = pool
        self._in_flight = in_flight
        self._function = function
        self._completion: Completion[R] = Completion(current_inbox())
        self._slot: Slot | None = None
        # Acquired once, by the side that decides whether the call is made or given up.
        self._claim = threading.Lock()
        self.never_ran: bool = False
        """Whether the call was given up before it began."""

    async def result(self) -> R:
        """Have the call made, and wait for its result.

        When the wait is cancelled, a call that has begun runs to its end, unattended; a call that
        has not begun never runs.

        :return: What the function returned.
        :raises PoolTimeout: if no slot became free in time.
        :raises CallTimeout: if the call's deadline came first.
        :raises HubUnavailable: if the hub's thread can't be started, or ended meanwhile.
        """
        try:
            await anyio.lowlevel.checkpoint_if_cancelled()
            self._pool.line.join(self)

            if self.is_waiting:
                shared().watch_queue(self)

            return await self._completion.wait()
        except _NoSlotInTime:
            raise self.refused() from None
        except BaseException:
            self._give_up()
            raise

    @property
    def thread(self) -> int | None:
        """Not known: the hub may not have begun."""
        return None

    def take_slot(self, free: collections.deque[Permit]) -> None:
        """Take a slot that has become free, if the call still wants it. The pool calls this.

        :param free: The pool's free permits.
        :raises IndexError: if there is none.
        """
        if self._claim.locked():
            return

        # It has one if this was interrupted before. Then it is not known how far that came: the
        # hub makes a call once, however often it is told.
        if self._slot is None:
            self._slot = self._pool.line.slot(self._start, self._timeout, free)

        self._begin()

    def run(self, hub: Hub) -> None:
        """Make the call, unless it was given up."""
        if not self._claim.acquire(blocking=False):
            return

        slot = t.cast(Slot, self._slot)

        try:
            waiting.current.set(hub)

            with slot, self._in_flight.call():
                result = self._function()
        except BaseException as error:
            slot.release()
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

    def refuse(self, hub: Hub) -> None:
        """End a wait for a slot that has timed out."""
        if self.is_waiting and self._give_up():
            self._completion.set_error(_NoSlotInTime())
            hub.deliver(self._completion)

    def refused(self) -> PoolTimeout | CallTimeout:
        """The error of a wait for a slot that has timed out. The pool counts it."""
        return self._pool.line.refused(self._start, self._timeout)

    def abort(self, error: BaseException) -> None:
        """End a call that the hub can't make or continue, in any thread.

        :param error: What the call's task gets, unless there is a result already.
        """
        self.never_ran = self._claim.acquire(blocking=False) or self.never_ran

        try:
            self._leave()
        finally:
            self._completion.abort(error)

    def _begin(self) -> None:
        try:
            if self._claim.locked():
                self._leave()
            else:
                shared().start(self)
        except HubUnavailable as error:
            self.abort(error)

    def _give_up(self) -> bool:
        if not self._claim.acquire(blocking=False):
            return False

        self.never_ran = True
        self._leave()
        return True

    def _leave(self) -> None:
        self._pool.line.leave(self)

        # A slot may have arrived at this very moment. Releasing one twice is harmless.
        if self._slot is not None:
            self._slot.release()


class _Parked:
    """A greenlet that waits.

    :param paused: The greenlet.
    :param due: When its wait times out, by the hub's clock.
    :param watched: The socket that it waits for; ``None`` if for something else.
    """

    __slots__ = ("due", "paused", "watched")

    def __init__(self, paused: greenlet.greenlet, due: float, watched: _Watched | None) -> None:
        self.paused: greenlet.greenlet = paused
        self.due: float = due
        self.watched: _Watched | None = watched


class _Watched:
    """A socket of which epoll reports the changes.

    :param sock: The socket.
    """

    __slots__ = ("events", "parked", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock: weakref.ref[socket.socket] = weakref.ref(sock)
        self.events: int = 0
        """What was reported and not used yet. Each change is reported once: readable and writable
        may come together while a call waits for only one of them."""

        self.parked: _Parked | None = None
        """Who waits for it."""


class _Event:
    """Something that a greenlet waits for, and that may happen in any thread.

    :param hub: The hub of the greenlet.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._is_set = False
        self._parked: _Parked | None = None

    def set(self) -> None:
        """As :meth:`waiting.Event.set`."""
        self._is_set = True
        self._hub.call_soon(self._resume)

    def wait(self, seconds: float) -> bool:
        """As :meth:`waiting.Event.wait`, in the hub's thread."""
        if self._is_set:
            return True

        self._parked = self._hub.park(seconds, None)
        return bool(self._hub.pause())

    def _resume(self) -> None:
        if self._parked is not None:
            self._hub.resume(self._parked, True)


class Hub(waiting.Waiting):
    """The thread, and the calls that it is making.

    :raises HubUnavailable: if the system has no thread or descriptor left.
    """

    def __init__(self) -> None:
        self._ready: collections.deque[cabc.Callable[[], t.Any]] = collections.deque()
        self._idle: list[greenlet.greenlet] = []
        # The jobs that have their slot, and the greenlet of each that has begun.
        self._jobs: dict[Job[t.Any], greenlet.greenlet | None] = {}
        self._parked: set[_Parked] = set()
        # A heap of queued jobs, by the time at which each times out.
        self._queued: list[tuple[float, int, Job[t.Any]]] = []
        self._numbers = itertools.count()
        self._wakes_at = math.inf
        self._watched: dict[int, _Watched] = {}
        self._next_due = math.inf
        self._inboxes: set[Inbox] = set()
        """The inboxes with completions for which their event loops were not woken yet."""

        self._last_delivery = 0.0
        self._is_polling = False
        self._is_stopping = False
        self._has_ended = False
        self._process = process_local.process_id()
        # Reentrant, because a signal handler may interrupt its holder and end a call.
        self._wakeup_lock = threading.RLock()
        self._open()
        self._thread = threading.Thread(target=self._run, name="dynamo-ext hub", daemon=True)

        try:
            self._thread.start()
        except BaseException as error:
            self._close()

            if isinstance(error, (MemoryError, RuntimeError)):
                raise HubUnavailable(f"The hub's thread could not be started: {error}") from error

            raise

    @property
    def is_usable(self) -> bool:
        """Whether its thread runs, in this process."""
        return not self._has_ended and self._process == process_local.process_id()

    def start(self, job: Job[t.Any]) -> None:
        """Make the call of a job that has its slot.

        :param job: The job. May be called in any thread, like the next two methods.
        """
        # Two threads that give slots back at once may both start it.
        self._jobs.setdefault(job, None)
        self.call_soon(functools.partial(self._start, job))

        if self._has_ended:
            self._jobs.pop(job, None)
            job.abort(_ended())

    def watch_queue(self, job: Job[t.Any]) -> None:
        """End a job's wait for a slot when it times out.

        :param job: A queued job.
        """
        heapq.heappush(self._queued, (job.due, next(self._numbers), job))

        if self._is_polling and job.due < self._wakes_at:
            self._wake()

        if self._has_ended:
            job.abort(_ended())

    def deliver(self, completion: Completion[t.Any]) -> None:
        """Deliver what a job has completed with, in the hub's thread.

        It may wait a moment for others: to wake an event loop means to pass it the interpreter's
        lock.

        :param completion: The job's completion.
        """
        completion.inbox.add(completion)
        self._inboxes.add(completion.inbox)

        if polling.clock() - self._last_delivery > _SECONDS_BETWEEN_DELIVERIES:
            self._let_loops_run()

    def until_readable(self, sock: socket.socket, seconds: float) -> bool:
        watched = self._watch(sock)

        if not watched.events & _READABLE and not self._park_at(watched, seconds):
            return False

        # Who reads until it would block is told of what arrives later.
        watched.events &= ~_READABLE
        return True

    def until_either(self, sock: socket.socket, seconds: float) -> bool:
        watched = self._watch(sock)

        if not watched.events and not self._park_at(watched, seconds):
            return False

        # Who waits for either tries both.
        watched.events = 0
        return True

    def sleep(self, seconds: float) -> None:
        self.park(seconds, None)
        self.pause()

    def event(self) -> waiting.Event:
        return _Event(self)

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
            finally:
                self.call_soon(here.switch)

        threading.Thread(target=work, name="dynamo-ext", daemon=True).start()
        self.pause()
        [(result, error)] = outcome

        if error is not None:
            raise error

        return t.cast(R, result)

    def stop(self) -> None:
        """End the thread, and fail the calls that it has, because the interpreter is about to end.

        A greenlet that is destroyed by another thread than its own, after the end of that one,
        crashes the process.
        """
        self._is_stopping = True
        self._wake()
        self._thread.join(_LONGEST_STOP_SECONDS)

    def abandon(self) -> None:
        """Close the descriptors that a forked child has inherited of its parent's hub."""
        # Without the lock, which a thread of the parent may have held.
        if self._process != process_local.process_id() and not self._has_ended:
            self._close()

    def _open(self) -> None:
        try:
            self._poll = select.epoll()

            try:
                self._wakeup: int = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            except BaseException:
                self._poll.close()
                raise

            self._poll.register(self._wakeup, select.EPOLLIN | select.EPOLLET)
        except (MemoryError, OSError) as error:
            raise HubUnavailable(f"The hub's thread could not be started: {error}") from error

    def _close(self) -> None:
        self._poll.close()
        os.close(self._wakeup)

    def call_soon(self, function: cabc.Callable[[], t.Any]) -> None:
        """Have a function called in the hub's thread, from any thread."""
        self._ready.append(function)

        if self._is_polling:
            self._wake()

    def _wake(self) -> None:
        with self._wakeup_lock:
            if self._has_ended:
                return

            self._is_polling = False

            try:
                os.eventfd_write(self._wakeup, 1)
            except BaseException:
                # A signal handler raised, perhaps before the write: the next one tries again.
                self._is_polling = True
                raise

    def _run(self) -> None:
        cause: BaseException | None = None

        try:
            self._greenlet = greenlet.getcurrent()

            while not self._is_stopping:
                self._take_turn()
        except BaseException as error:
            cause = error
        finally:
            self._end(cause)

    def _take_turn(self) -> None:
        ready = self._ready

        while ready:
            function = ready.popleft()

            # As in _call, but a function less for each call that is made.
            try:
                function()
            except BaseException as error:
                _report("An exception in the hub.", error)

        self._wait()
        now = polling.clock()
        self._refuse_overdue(now)

        if now >= self._next_due:
            self._end_waits(now)

    def _call(self, function: cabc.Callable[..., t.Any], *arguments: t.Any) -> bool:
        """Call a function, which may continue a greenlet. An exception ends only what it does.

        :return: Whether the function returned.
        """
        try:
            function(*arguments)
        except BaseException as error:
            _report("An exception in the hub.", error)
            return False

        return True

    def _end(self, cause: BaseException | None) -> None:
        """Fail all calls: the thread is about to end."""
        for _ in range(_TRIES_TO_END):
            try:
                self._fail_calls(cause)
                break
            except BaseException as error:
                # Go on where it was interrupted: a call that is left would wait for ever.
                cause = error

        self._call(self._wake_loops)
        self._ready.clear()
        self._idle.clear()
        self._parked.clear()
        self._watched.clear()
        self._call(self._close)

        if not self._is_stopping:
            _report("The hub has ended. The next call starts another one.", cause)

    def _fail_calls(self, cause: BaseException | None) -> None:
        with self._wakeup_lock:
            self._has_ended = True

        for job, running in list(self._jobs.items()):
            if running is not None:
                self._call(running.throw, _ended(cause))

            job.abort(_ended(cause))
            self._jobs.pop(job, None)

        while self._queued:
            _, _, job = self._queued[-1]
            job.abort(_ended(cause))
            self._queued.pop()

    def _wake_loops(self) -> None:
        for inbox in self._inboxes:
            # Again, if it was interrupted: its tasks would wait for ever.
            if not self._call(inbox.wake_loop):
                self._call(inbox.wake_loop)

    def _let_loops_run(self) -> None:
        """Wake the event loops, and let them have the interpreter until they have run."""
        self._wake_loops()

        for inbox in self._inboxes:
            inbox.wait_for_delivery(_LONGEST_DELIVERY_SECONDS)

        self._inboxes.clear()
        self._last_delivery = polling.clock()

    def _wait(self) -> None:
        """Wait until a socket is ready, another thread wakes the hub, or a wait times out."""
        events = self._poll.poll(0)

        if not events:
            self._wake_loops()
            self._inboxes.clear()
            self._is_polling = True
            events = self._poll.poll(self._seconds_to_wait())
            self._is_polling = False
            self._last_delivery = polling.clock()

        for descriptor, changes in events:
            watched = self._watched.get(descriptor)

            if watched is not None:
                watched.events |= changes

                if watched.parked is not None:
                    self._call(self.resume, watched.parked, True)

    def _seconds_to_wait(self) -> float | None:
        # From here on a job that is queued wakes the hub, unless it times out after the time below.
        self._wakes_at = math.inf
        self._wakes_at = min(self._next_due, self._queued[0][0] if self._queued else math.inf)

        if self._ready:
            return 0

        if self._wakes_at == math.inf:
            return None

        return min(max(0.0, self._wakes_at - polling.clock()), _LONGEST_POLL_SECONDS)

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

            # Otherwise it was started twice, or the hub is ending.
            if self._jobs.get(job, here) is None:
                self._make_call(job, here)

            # Drop the reference, or the job's app stays alive until the next job arrives.
            del job

    def _make_call(self, job: Job[t.Any], here: greenlet.greenlet) -> None:
        self._jobs[job] = here

        try:
            job.context.run(job.run, self)
        except BaseException as error:
            job.abort(error)
            _report("An exception in the hub.", error)
        finally:
            self._jobs.pop(job, None)

    def _watch(self, sock: socket.socket) -> _Watched:
        descriptor = sock.fileno()
        watched = self._watched.get(descriptor)

        if watched is None or watched.sock() is not sock:
            watched = self._register(descriptor, sock)

        return watched

    def _register(self, descriptor: int, sock: socket.socket) -> _Watched:
        if descriptor < 0:
            raise OSError(errno.EBADF, "the socket was closed")

        polling.register(self._poll, descriptor)
        before = self._watched.get(descriptor)
        watched = self._watched[descriptor] = _Watched(sock)

        if before is not None and before.parked is not None:
            # Its socket was closed, and nothing else would tell it so.
            self._ready.append(functools.partial(self.resume, before.parked, True))

        return watched

    def park(self, seconds: float, watched: _Watched | None) -> _Parked:
        """Note that the current greenlet waits, in the hub's thread. :meth:`pause` must follow.

        :param seconds: Longest wait, in seconds.
        :param watched: The socket that it waits for; ``None`` if for something else.
        """
        parked = _Parked(greenlet.getcurrent(), polling.clock() + seconds, watched)
        self._parked.add(parked)
        self._next_due = min(self._next_due, parked.due)
        return parked

    def _park_at(self, watched: _Watched, seconds: float) -> bool:
        watched.parked = self.park(seconds, watched)
        return bool(self.pause())

    def pause(self) -> t.Any:
        """Let the hub make other calls until this one's wait ends.

        :return: What resumed it; ``False`` if its time was up.
        """
        if self._has_ended:
            raise _ended()

        return self._greenlet.switch()

    def resume(self, parked: _Parked, value: bool) -> None:
        """Continue a greenlet, if it still waits.

        :param parked: The greenlet.
        :param value: What :meth:`pause` returns.
        """
        if parked not in self._parked:
            return

        self._parked.remove(parked)

        if parked.watched is not None:
            parked.watched.parked = None

        parked.paused.switch(value)

    def _refuse_overdue(self, now: float) -> None:
        """End the waits for a slot that have timed out, and forget those that have ended."""
        while self._queued and (self._queued[0][0] <= now or not self._queued[0][2].is_waiting):
            _, _, job = heapq.heappop(self._queued)
            self._call(job.refuse, self)

    def _end_waits(self, now: float) -> None:
        """End all other waits that have timed out, and note when the next one will."""
        for parked in [parked for parked in self._parked if parked.due <= now]:
            self._call(self.resume, parked, False)

        self._next_due = min((parked.due for parked in self._parked), default=math.inf)


def _ended(cause: BaseException | None = None) -> HubUnavailable:
    error = HubUnavailable("The hub's thread has ended while this call was in it.")
    error.__cause__ = cause
    return error


def _report(message: str, error: BaseException | None) -> None:
    """Log an error, in another thread: handlers of log records are code of the app."""

    def write() -> None:
        # A handler or filter that raises has the last word.
        with contextlib.suppress(BaseException):
            _logger.error(message, exc_info=error)

    try:
        threading.Thread(target=write, name="dynamo-ext", daemon=True).start()
    except BaseException:
        write()


# By process, because a fork copies a lock that no thread of the child will release.
_creation_locks: dict[int, threading.RLock] = {}
_shared: Hub | None = None


def shared() -> Hub:
    """The hub of this process. It is created by the first call that wants one, and again if its
    thread has ended.

    :raises HubUnavailable: if the system has no thread or descriptor left.
    """
    hub = _shared
    return hub if hub is not None and hub.is_usable else _create()


def _create() -> Hub:
    global _shared

    # Reentrant, because a signal handler may interrupt its holder and end a call.
    with _creation_locks.setdefault(process_local.process_id(), threading.RLock()):
        before = _shared

        if before is not None and before.is_usable:
            return before

        _shared = None

        if before is not None:
            before.abandon()

        _shared = hub = Hub()
        return hub


@atexit.register
def _stop() -> None:
    if (hub := _shared) is not None and hub.is_usable:
        hub.stop()
