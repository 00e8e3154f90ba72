"""Make a call in a worker thread, which holds a slot meanwhile.

The slot belongs to the task until the worker has begun, and to the worker from then on. So a
cancelled task neither loses a slot nor gives back one that is in use, and a call that has not begun
by then never does.

When the worker is done and the next in the queue is a task of the same event loop, the task gives
the slot back, once it has the result: else the worker would have to wake that loop twice, for the
result and for the slot.
"""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import contextvars
import functools
import math
import threading
import typing as t

import anyio
import anyio.lowlevel
import anyio.to_thread

from dynamo_ext.calls import deadline
from dynamo_ext.calls import observation
from dynamo_ext.calls import recording
from dynamo_ext.calls import slot as slots
from dynamo_ext.calls.app_policy import AppPolicy
from dynamo_ext.calls.app_policy import InFlight
from dynamo_ext.calls.pool import Pool
from dynamo_ext.calls.slot import Slot
from dynamo_ext.client.connection import Connection
from dynamo_ext.concurrency import generators
from dynamo_ext.concurrency.generators import Waits
from dynamo_ext.models.eligibility import is_stock

from . import polling
from .slot_wait import wait_for_slot

if t.TYPE_CHECKING:
    from . import hub

P = t.ParamSpec("P")
R = t.TypeVar("R")

# What PynamoDB's methods send first, as far as their names tell.
_OPERATIONS = {
    "delete": "DeleteItem",
    "exists": "DescribeTable",
    "get": "GetItem",
    "refresh": "GetItem",
    "save": "PutItem",
    "update": "UpdateItem",
}

# Without a limit, because the slots are the limit. A limiter belongs to one event loop.
_limiters: anyio.lowlevel.RunVar[anyio.CapacityLimiter] = anyio.lowlevel.RunVar(
    "dynamo_ext_async.limiter"
)


async def run(
    connection: Connection,
    function: cabc.Callable[P, R],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> R:
    """Run a function in a worker thread that holds a slot.

    Calls that the function makes on the same engine use that slot. When the task is cancelled, a
    function that has begun runs to its end, without anyone waiting for it; one that has not begun
    never runs.

    :param connection: A connection on the engine whose slot is needed.
    :param function: The function, which gets the other arguments.
    :return: What the function returns.
    :raises PoolTimeout: if no slot became free in time.
    :raises CallTimeout: if the app limits how long a call may take, and the function took longer.
    """
    pool, policy = connection.engine.pool, connection.policy

    with (
        recording.at_call_site(policy),
        policy.in_flight.call(),
        deadline.limit(policy.settings.call_timeout_seconds) as limit,
        _awaiting(connection, function) as awaited,
    ):
        awaited.never_ran = True
        slot = pool.join_held() or await wait_for_slot(pool, policy.settings.pool_timeout_seconds)
        awaited.never_ran = False
        work = _Work(pool, slot, policy.in_flight, lambda: function(*args, **kwargs))

        try:
            with (
                contextlib.nullcontext() if limit is None else anyio.move_on_after(limit.remaining)
            ):
                return await _in_worker(work)
        finally:
            awaited.never_ran = work.leave()

        raise t.cast(deadline.Deadline, limit).exceeded()


async def run_begun(pool: Pool, slot: Slot, policy: AppPolicy, function: cabc.Callable[[], R]) -> R:
    """Run the rest of a call in a worker thread.

    When the task is cancelled, it runs to its end all the same.

    :param pool: The pool of the slot.
    :param slot: The call's slot, which the worker gives back.
    :param policy: What the app wants of the call.
    :param function: Makes the rest of the call.
    :return: What the function returns.
    """
    work = _Work(pool, slot, policy.in_flight, function)

    try:
        return await _in_worker(work)
    finally:
        if work.leave():
            start_begun(pool, slot, policy, function)


def start_begun(pool: Pool, slot: Slot, policy: AppPolicy, function: cabc.Callable[[], R]) -> bool:
    """Run the rest of a call, for which nobody waits any more, in a thread of its own.

    The parameters are those of :func:`run_begun`.

    :return: Whether there is such a thread. If the system has none left, the slot is given back.
    """
    work = _Work(pool, slot, policy.in_flight, function)
    # So the worker gives the slot back, whoever is next.
    work.has_no_task()
    # From here on, and not only when the thread begins: an app that stops waits for the call.
    counted = contextlib.ExitStack()
    counted.enter_context(policy.in_flight.call())

    def run() -> None:
        # A failure is recorded and logged like any other.
        with counted, contextlib.suppress(Exception):
            work.run()

    context = contextvars.copy_context()

    try:
        threading.Thread(target=context.run, args=(run,), name="dynamo-ext", daemon=True).start()
    except (MemoryError, RuntimeError):
        slot.release()
        return False

    return True


async def _in_worker(work: _Work[R]) -> R:
    return await anyio.to_thread.run_sync(work.run, abandon_on_cancel=True, limiter=_limiter())


async def call(
    connection: Connection,
    model: type[t.Any],
    function: cabc.Callable[P, R],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> R:
    """Run a function that makes one call of a model, and does nothing else that takes time.

    An eligible call, which is one on the transport ``direct`` that runs no code of the app, shares
    the thread of the hub with others. Any other one has a worker, as in :func:`run`.

    :param connection: A connection on the engine whose slot is needed.
    :param model: The model.
    :param function: The function, which gets the other arguments.
    :return: What the function returns.
    :raises PoolTimeout: if no slot became free in time.
    :raises CallTimeout: if the app limits how long a call may take, and the function took longer.
    """
    make_call = run_in_hub if may_share_thread(connection, model) else run
    return await make_call(connection, function, *args, **kwargs)


def may_share_thread(connection: Connection, model: type[t.Any]) -> bool:
    """Whether the hub may make a call of a model that is given nothing but plain values: it is a
    call on the transport ``direct`` that runs no code of the app.

    :param connection: The model's connection.
    :param model: The model.
    """
    engine = connection.engine
    return (
        engine.waits_cooperatively
        and _job_class() is not None
        and not slots.is_any_held()
        and not connection.is_replaced
        and is_stock(model)
    )


async def run_in_hub(
    connection: Connection,
    function: cabc.Callable[P, R],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> R:
    """Run a function in the thread of the hub, which makes other calls while this one waits.

    The parameters, the result and the errors are those of :func:`run`. The function must run no
    code of the app.
    """
    pool, policy = connection.engine.pool, connection.policy
    make_job = t.cast("type[hub.Job[R]]", _job_class())

    with (
        recording.at_call_site(policy),
        policy.in_flight.call(),
        deadline.limit(policy.settings.call_timeout_seconds) as limit,
        _awaiting(connection, function) as awaited,
    ):
        work = functools.partial(function, *args, **kwargs)
        job = make_job(pool, policy.settings.pool_timeout_seconds, policy.in_flight, work)

        try:
            if limit is None:
                return await job.result()

            with anyio.move_on_after(limit.remaining):
                return await job.result()
        finally:
            awaited.never_ran = job.never_ran

        if not job.has_slot:
            raise job.refused()

        raise limit.exceeded()


async def drive(connection: Connection, waits: Waits[R], model: type[t.Any] | None = None) -> R:
    """Drive a generator of waits: each step in a worker or the hub, each wait on the event loop.

    :param connection: A connection on the engine whose slots are needed.
    :param waits: The generator.
    :param model: The model, if a step does nothing else than one call of it: then steps are made
        as by :func:`call`, else as by :func:`run`.
    :return: What the generator returns.
    :raises PoolTimeout: if no slot became free in time.
    :raises CallTimeout: if the app limits how long a call may take, and a step took longer.
    """
    while True:
        seconds, result = (
            await run(connection, generators.step, waits)
            if model is None
            else await call(connection, model, generators.step, waits)
        )

        if seconds is None:
            return t.cast(R, result)

        await anyio.sleep(seconds)


class _Work(t.Generic[R]):
    """A function and its slot. Either the worker or the task claims it, once.

    :param pool: The pool of the slot.
    :param slot: The slot.
    :param in_flight: The counter of the app's calls.
    :param function: The function.
    """

    def __init__(
        self, pool: Pool, slot: Slot, in_flight: InFlight, function: cabc.Callable[[], R]
    ) -> None:
        self._pool = pool
        self._slot = slot
        self._in_flight = in_flight
        self._function = function
        self._thread = threading.get_ident()
        self._claim = threading.Lock()
        # The worker sets one of these and then reads the other one; the task does so vice versa.
        self._slot_is_left = False
        self._task_has_left = False

    def run(self) -> R:
        """Call the function, in the worker."""
        if not self._claim.acquire(blocking=False):
            raise RuntimeError("This call was given up before it began.")

        try:
            # In a copy of the task's context, which ends with this function.
            self._slot.hold()

            with self._in_flight.call():
                return self._function()
        except StopIteration as error:
            raise RuntimeError(f"{self._function} raised StopIteration") from error
        finally:
            self._slot_is_left = self._pool.line.is_next(self._thread)

            if self._task_has_left or not self._slot_is_left:
                self._slot.release()

    def has_no_task(self) -> None:
        """Note that no task waits for the worker."""
        self._task_has_left = True

    def leave(self) -> bool:
        """Note that the task does not wait any more. Give the slot back if the worker has left that
        to the task, or has not begun and so never will.

        :return: Whether the worker never begins.
        """
        self._task_has_left = True

        if self._slot_is_left:
            self._slot.release()
            return False

        if not self._claim.acquire(blocking=False):
            return False

        self._slot.release()
        return True


def _awaiting(
    connection: Connection, function: cabc.Callable[..., t.Any]
) -> contextlib.AbstractContextManager[observation.Awaiting]:
    """Follow the calls of a function that this task has run elsewhere, in a ``with`` block."""
    if (observer := observation.observer) is None:
        return observation.UNOBSERVED

    operation = _OPERATIONS.get(getattr(function, "__name__", ""))
    return observation.Awaited(observer, connection.engine, connection.table_name, operation)


@functools.cache
def _job_class() -> type[hub.Job[t.Any]] | None:
    """The class of the hub's jobs; ``None`` if the system does not support the hub."""
    if not polling.IS_SUPPORTED:
        return None

    # Not at the top, because greenlet is installed with the extra "direct" only.
    from . import hub

    return hub.Job


def _limiter() -> anyio.CapacityLimiter:
    try:
        return _limiters.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(math.inf)
        _limiters.set(limiter)
        return limiter
