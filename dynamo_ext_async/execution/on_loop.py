"""Calls that the event loop makes itself: it watches their sockets, and no thread takes part.

To pass a call to another thread and its result back costs about as much as the call. So a call that
is planned (see :mod:`dynamo_ext.models.planned`), and runs no code of the app, is signed and sent
by its task, or by what gives it a slot, and finished when its reply is there. A call of one item
takes the event loop a tenth of a millisecond, one of a hundred items a millisecond or two. It never
waits, and holds a slot like any other call.

Whatever is out of the ordinary goes on in a worker thread, where it has stopped here: a call
without an open connection, an error, a large reply, a connection that breaks. So does a call whose
task is cancelled while the call is on the wire.

Only asyncio's event loops (uvloop's too) call a function when a socket is ready. With trio, the hub
makes these calls.
"""

from __future__ import annotations

import asyncio
import collections
import collections.abc as cabc
import importlib
import math
import select
import socket
import threading
import time
import typing as t
import weakref

import anyio
import anyio.lowlevel
import anyio.to_thread

from dynamo_ext.calls import deadline
from dynamo_ext.calls import observation
from dynamo_ext.calls import record
from dynamo_ext.calls import recording
from dynamo_ext.calls import uncertain
from dynamo_ext.calls.app_policy import AppPolicy
from dynamo_ext.calls.slot import Slot
from dynamo_ext.client.connection import CallInSteps
from dynamo_ext.client.connection import TableConnection
from dynamo_ext.concurrency import decode_lock
from dynamo_ext.concurrency import process_local
from dynamo_ext.concurrency.permits import Permit
from dynamo_ext.errors import CallTimeout
from dynamo_ext.errors import PoolTimeout
from dynamo_ext.models import planned

from . import polling
from . import workers

MOST_VALUES = 500
"""How many values the arguments of a call may have, and those in them, for the event loop to make
it: to serialise more would keep other tasks waiting."""

# How long the event loop's other tasks may have to wait for replies that are there, if no single
# one takes longer: as much as everything else in this thread has taken since the last turn, by its
# CPU time, within these bounds. A loop that does little between replies is soon there for other
# tasks; and the page of a web app, which takes long anyway, is made in less time, because replies
# are read faster one after the other.
_LEAST_TURN_SECONDS = 0.0005
_LONGEST_TURN_SECONDS = 0.002

# Where anyio keeps the tasks that may be in a cancel scope. The name is anyio's own affair, so it
# may be gone in another release.
_BACKEND = "anyio._backends._asyncio"
_TASKS_IN_SCOPES = "_task_states"


def prepare(
    table: TableConnection, make_plan: cabc.Callable[[], planned.PlannedCall | None]
) -> CallOnLoop | None:
    """Prepare a call.

    :param table: The connection to a model's table. A call on it now would wait cooperatively.
    :param make_plan: Plans the call, and runs no code of the app.
    :return: The call; ``None`` if it can't be made on the event loop.
    """
    loop, connection = asyncio._get_running_loop(), table.connection

    if loop is None or _is_followed(connection.policy):
        return None

    plan = make_plan()

    if plan is None:
        return None

    try:
        steps = table.prepare_call(plan.method, plan.args, plan.kwargs)

        if steps is None:
            return None

        call = CallOnLoop(loop, table, plan, steps)
    except Exception:
        # It is raised once more where the call is then made. Or no descriptor is left, or this kind
        # of event loop can't watch sockets.
        return None

    plan.begin()
    return call


def _is_followed(policy: AppPolicy) -> bool:
    """Whether anybody wants to know of each call: code that may block."""
    return (
        observation.observer is not None
        or bool(record.call_finished.receivers)
        or recording.find(policy) is not None
    )


# What has become of a call. One that is stopped has its slot, and goes on in a worker thread.
_State = t.Literal["queued", "sent", "stopped", "refused", "left", "ended"]


class CallOnLoop:
    """One call. Its task makes it by :meth:`make`.

    :param loop: The event loop that is running.
    :param table: The connection to the table.
    :param plan: What comes before and after the request.
    :param steps: The steps by which it is made.
    """

    __slots__ = (
        "__weakref__",
        "_error",
        "_future",
        "_limit",
        "_outgoing",
        "_plan",
        "_policy",
        "_pool",
        "_progress",
        "_result",
        "_slot",
        "_start",
        "_state",
        "_table",
        "_watch",
        "descriptor",
        "went_on",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        table: TableConnection,
        plan: planned.PlannedCall,
        steps: CallInSteps,
    ) -> None:
        connection = table.connection
        self._table = table
        self._plan = plan
        self._outgoing, self._progress, self._pool = steps
        self._policy = connection.policy
        self.went_on: bool = False
        """Whether the call went on in a worker thread."""

        self._watch = _watch_of(loop)
        self._future: asyncio.Future[None] = loop.create_future()
        self._state: _State = "queued"
        self._slot: Slot | None = None
        self._limit: deadline.Deadline | None = None
        self._start = 0.0
        self._result: t.Any = None
        self._error: BaseException | None = None
        self.descriptor: int = -1
        """The descriptor of the socket that is watched for it."""

    async def make(self) -> t.Any:
        """Make the call.

        When the task is cancelled, a call that is on the wire runs to its end, unattended; a call
        that has not begun never runs.

        :return: What the model's method returns.
        :raises PoolTimeout: if no slot became free in time.
        :raises CallTimeout: if the app limits how long a call may take, and it took longer.
        """
        policy = self._policy
        seconds = policy.settings.call_timeout_seconds

        with policy.in_flight.call():
            if seconds is None and deadline.current() is None:
                return await self._make()

            with deadline.limit(seconds) as limit:
                self._limit = t.cast(deadline.Deadline, limit)

                with anyio.move_on_after(self._limit.remaining):
                    return await self._make()

                raise self._refused() if self._slot is None else self._limit.exceeded()

    @property
    def thread(self) -> int | None:
        """The thread of the event loop."""
        return self._watch.thread

    def take_slot(self, free: collections.deque[Permit]) -> None:
        """Take a slot that has become free, if the call still wants it, and send the request. The
        pool calls this.

        :param free: The pool's free permits.
        :raises IndexError: if there is none.
        """
        if self._state != "queued":
            return

        # It has one if this was interrupted before.
        if self._slot is None:
            timeout = self._policy.settings.pool_timeout_seconds
            self._slot = self._pool.line.slot(self._start, timeout, free)

        if self._watch.is_here:
            self._send()
        elif not self._watch.call_soon(self._send):
            # The event loop has ended, and its tasks with it.
            self._slot.release()

    def proceed(self) -> None:
        """Go on, now that the socket is ready."""
        outgoing = self._outgoing

        try:
            if not outgoing.proceed():
                return

            self._watch.forget(self)
            reply = outgoing.result(self._plan.read)
        except Exception:
            # The same is raised where the call goes on.
            self._stop()
            return
        except BaseException as error:
            self._break(error)
            raise

        if reply is None:
            self._stop()
        else:
            self._end(reply)

    def time_out(self) -> None:
        """End a wait, for a slot or for the server, that has taken too long."""
        if self._state == "sent":
            self._outgoing.give_up()
            self._stop()
        elif self._state == "queued" and self._slot is None:
            self._state = "refused"
            self._pool.line.leave(self)
            self._wake_task()

    async def _make(self) -> t.Any:
        settings = self._policy.settings

        try:
            # Most tasks are in no cancel scope. To ask anyio whether a task is cancelled takes a
            # hundredth of the time of a web page with three reads.
            tasks = self._watch.tasks_in_scopes

            if tasks is None or asyncio.current_task() in tasks:
                await anyio.lowlevel.checkpoint_if_cancelled()

            self._start = time.monotonic()
            self._pool.line.join(self)

            if self._slot is None:
                self._watch.limit(self, settings.pool_timeout_seconds)

            await self._future
        except BaseException:
            self._leave()
            raise

        if self._state == "ended":
            slow_ms = settings.slow_call_ms

            if slow_ms is not None and self._progress.seconds * 1000 >= slow_ms:
                # Handlers of log records are code of the app.
                await anyio.to_thread.run_sync(record.log, self._progress, slow_ms)

            if self._error is None:
                return self._result

            try:
                raise self._error
            finally:
                # The error's traceback refers to this frame: break the cycle.
                self._error = None

        if self._state == "refused":
            raise self._refused()

        self.went_on = True
        slot = t.cast(Slot, self._slot)
        return await workers.run_begun(self._pool, slot, self._policy, self._go_on_attended)

    def _send(self) -> None:
        """Send the request, in the thread of the event loop."""
        slot = t.cast(Slot, self._slot)

        if self._state != "queued":
            if self._state == "left":
                slot.release()

            return

        self._state = "sent"
        self._progress.begin(slot.queue_seconds)

        if self._limit is not None and self._is_write:
            self._limit.uncertain_writes += 1

        try:
            sock = self._outgoing.begin()

            if sock is None:
                self._stop()
            else:
                self._watch.add(self, sock, self._outgoing.patience_seconds)
        except Exception:
            self._stop()
        except BaseException as error:
            self._break(error)
            raise

    def _end(self, reply: planned.Reply) -> None:
        """End a call that has its reply."""
        self._state = "ended"
        self._give_back()
        progress = self._progress
        progress.attempts, progress.transport = 1, "direct"
        progress.end(reply)
        self._pool.record(progress)

        self._forget_write()

        try:
            self._result = self._plan.finish(reply)
        except Exception as error:
            self._error = error

        self._wake_task()

    def _stop(self) -> None:
        """Have the call go on in a worker thread."""
        self._state = "stopped"
        self._watch.forget(self)
        self._wake_task()

    def _break(self, error: BaseException) -> None:
        """End a call that was interrupted in the middle of anything."""
        self._state = "ended"
        self._watch.forget(self)
        self._outgoing.close()
        self._give_back()
        self._progress.fail(error)
        self._pool.record(self._progress)
        self._error = error
        self._wake_task()

    def _leave(self) -> None:
        """Note that the task does not wait any more."""
        state = self._state

        if state == "queued" or (state == "stopped" and not self._outgoing.has_begun):
            self._state = "left"
            self._watch.forget(self)
            self._pool.line.leave(self)
            self._give_back()
        elif state == "sent" or state == "stopped":
            self._state = "left"
            self._watch.forget(self)
            slot = t.cast(Slot, self._slot)

            if not workers.start_begun(self._pool, slot, self._policy, self._go_on):
                self._outgoing.close()

    def _go_on_attended(self) -> t.Any:
        try:
            return self._go_on()
        finally:
            self._forget_write()

    def _go_on(self) -> t.Any:
        """Make the rest of the call, in a worker thread."""
        self._outgoing.hand_over()
        record.resume(self._progress)

        with decode_lock.kept():
            return planned.make(self._table, self._plan)

    @property
    def _is_write(self) -> bool:
        return uncertain.is_write(self._progress.operation)

    def _give_back(self) -> None:
        if self._slot is not None:
            self._slot.release()

    def _forget_write(self) -> None:
        """Note that it is known what became of a write, or that others look after it."""
        if self._limit is not None and self._is_write:
            self._limit.uncertain_writes -= 1

    def _refused(self) -> PoolTimeout | CallTimeout:
        timeout = self._policy.settings.pool_timeout_seconds
        return self._pool.line.refused(self._start, timeout)

    def _wake_task(self) -> None:
        if not self._future.done():
            self._future.set_result(None)


class _Watch:
    """The sockets and time limits of one event loop's calls.

    The sockets are watched by an epoll object of its own, which the event loop watches in turn.
    That leaves a connection free for other threads while it is idle: epoll reports what has changed
    there, once, and nobody here waits for it.

    :param loop: The event loop, which is running in this thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # Both belong to the loop, and must not keep it alive.
        self._loop = weakref.ref(loop)
        self.thread: int = threading.get_ident()
        """The thread of the event loop."""

        self._process = process_local.process_id()
        self._poll = select.epoll()
        self._sockets: dict[int, weakref.ref[socket.socket]] = {}
        self._calls: dict[int, CallOnLoop] = {}
        # When each call that waits has waited too long.
        self._due: dict[CallOnLoop, float] = {}
        self._next_due = math.inf
        self.tasks_in_scopes: cabc.Container[t.Any] | None = _tasks_in_scopes()
        """The tasks that may be in a cancel scope of anyio's; ``None`` if that is not known."""

        # The CPU time of this thread at the end of the last turn.
        self._cpu_seconds = polling.cpu_clock()
        loop.add_reader(self._poll.fileno(), self._handle_changes)

    def is_of(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether it was made for a loop, in this process, and for the thread in which it runs now.

        :param loop: An event loop that runs in this thread.
        """
        return (
            self._loop() is loop
            and self._process == process_local.process_id()
            and self.thread == threading.get_ident()
        )

    @property
    def is_here(self) -> bool:
        """Whether the event loop is running in this thread."""
        return asyncio._get_running_loop() is self._loop()

    def call_soon(self, function: cabc.Callable[[], None]) -> bool:
        """Have a function called by the event loop, from any thread.

        :param function: The function.
        :return: Whether it will be, unless the loop ends before.
        """
        loop = self._loop()

        if loop is None:
            return False

        try:
            loop.call_soon_threadsafe(function)
        except RuntimeError:
            return False

        return True

    def add(self, call: CallOnLoop, sock: socket.socket, seconds: float) -> None:
        """Watch a socket for a call.

        :param call: The call.
        :param sock: The socket.
        :param seconds: The longest wait, in seconds.
        """
        descriptor = sock.fileno()
        known = self._sockets.get(descriptor)

        if known is None or known() is not sock:
            polling.register(self._poll, descriptor)
            self._sockets[descriptor] = weakref.ref(sock)

        call.descriptor = descriptor
        self._calls[descriptor] = call
        self.limit(call, seconds)

    def limit(self, call: CallOnLoop, seconds: float) -> None:
        """Limit how long a call waits from now on.

        :param call: The call.
        :param seconds: The longest wait, in seconds.
        """
        self._due[call] = due = polling.clock() + seconds

        if due < self._next_due:
            self._call_at(due)

    def forget(self, call: CallOnLoop) -> None:
        """Forget a call, which waits no more.

        :param call: The call.
        """
        self._due.pop(call, None)

        if self._calls.get(call.descriptor) is call:
            del self._calls[call.descriptor]

    def _handle_changes(self) -> None:
        """Let the calls go on whose sockets are ready."""
        now = polling.clock()
        others = polling.cpu_clock() - self._cpu_seconds
        end = now + min(max(_LEAST_TURN_SECONDS, others), _LONGEST_TURN_SECONDS)

        try:
            # One at a time: what is not asked for yet, because other tasks of the event loop come
            # first or something was raised, makes the event loop come here again.
            while changes := self._poll.poll(0, 1):
                [(descriptor, _)] = changes
                call = self._calls.get(descriptor)

                if call is not None:
                    call.proceed()

                before, now = now, polling.clock()

                # The next one may take as long, and the task of a long one has as much to do again.
                if now + (now - before) > end:
                    return
        finally:
            self._cpu_seconds = polling.cpu_clock()

    def _call_at(self, due: float) -> None:
        self._next_due = due
        loop = t.cast(asyncio.AbstractEventLoop, self._loop())
        loop.call_later(max(0.0, due - polling.clock()), self._end_waits, due)

    def _end_waits(self, due: float) -> None:
        """End the waits that have taken too long, and note when the next one will."""
        # Otherwise a later timer was replaced by an earlier one.
        if due != self._next_due:
            return

        self._next_due = math.inf
        now = polling.clock()

        try:
            for call in [call for call, due in self._due.items() if due <= now]:
                self._due.pop(call, None)
                call.time_out()
        finally:
            if self._due:
                self._call_at(min(self._due.values()))


def _tasks_in_scopes() -> cabc.Container[t.Any] | None:
    return getattr(importlib.import_module(_BACKEND), _TASKS_IN_SCOPES, None)


_watches: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Watch] = weakref.WeakKeyDictionary()


# Most processes have one event loop: to look it up takes as long as much else of a call.
_latest: weakref.ref[_Watch] | None = None


def _watch_of(loop: asyncio.AbstractEventLoop) -> _Watch:
    global _latest
    watch = None if _latest is None else _latest()

    if watch is not None and watch.is_of(loop):
        return watch

    watch = _watches.get(loop)

    if watch is None or not watch.is_of(loop):
        _forget_closed_loops()
        watch = _watches[loop] = _Watch(loop)

    _latest = weakref.ref(watch)
    return watch


def _forget_closed_loops() -> None:
    """Give back the descriptors of loops that are closed, but not freed. Older releases of anyio
    keep the loops in which they had threads."""
    for reference in _watches.keyrefs():
        loop = reference()

        if loop is not None and loop.is_closed():
            _watches.pop(loop, None)
