"""Who follows each call from its beginning to its end: at most one observer, such as a tracer.

An observer runs code that may block, like what exports spans. It never runs in a thread that makes
other calls meanwhile: what happened to such a call is noted, and the observer hears of it from the
task that awaits the call.
"""

from __future__ import annotations

import collections
import collections.abc as cabc
import contextlib
import contextvars
import dataclasses
import logging
import time
import typing as t

from pynamodb.exceptions import VerboseClientError

from ..concurrency import waiting
from ..errors import PoolTimeout
from . import record
from . import slot as slots

R = t.TypeVar("R")
Json = cabc.Mapping[str, t.Any]

_logger = logging.getLogger("dynamo_ext.calls")


class Server(t.Protocol):
    """Where a call goes to."""

    @property
    def region(self) -> str:
        """The region."""
        ...

    @property
    def url(self) -> str | None:
        """The address; ``None`` if it is not known yet."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a call, which has ended."""

    number: int
    """From 1."""

    end: int
    """When it ended, in nanoseconds since 1970."""

    error: str | None
    """DynamoDB's error code, or else the name of the exception; ``None`` for a success."""


@dataclasses.dataclass(kw_only=True, slots=True)
class Observed:
    """A call, as its observer sees it."""

    operation: str | None
    """DynamoDB's name of the operation; ``None`` if it is not known, because the call has not got
    that far."""

    table_name: str | None
    """The table; ``None`` where the operation has none or several."""

    params: Json
    """The operation's parameters, with keys and values."""

    server: Server
    start: int
    """When the call began, or began to wait for its slot, in nanoseconds since 1970."""

    end: int = 0
    """When it ended, in nanoseconds since 1970."""

    attempts: list[Attempt] = dataclasses.field(default_factory=list[Attempt])
    """The attempts that have ended."""

    waited_seconds: float | None = None
    """How long it waited for a slot, in seconds; ``None`` if it used one that its task or thread
    had already, or got none."""

    reply: Json | None = None
    """The parsed reply; ``None`` if the call failed."""

    error: str | None = None
    """DynamoDB's error code, or else the name of the exception; ``None`` for a success."""

    is_error_of_server: bool = False
    """Whether :attr:`error` is DynamoDB's."""

    has_found_no_slot: bool = False
    """Whether it failed because no slot became free in time."""

    request_id: str | None = None
    """What DynamoDB calls the request, if it answered with an error."""

    kept: t.Any = None
    """What the observer keeps of it."""

    _clock: int = dataclasses.field(default_factory=time.monotonic_ns)

    def begin_earlier(self, seconds: float) -> None:
        """Note that the call began before this object was made.

        :param seconds: How long before, in seconds.
        """
        self.start -= int(seconds * 1e9)
        self._clock -= int(seconds * 1e9)

    def now(self) -> int:
        """The time, in nanoseconds since 1970, by a clock that only goes forward in this call."""
        return self.start + max(0, time.monotonic_ns() - self._clock)

    def fail(self, error: BaseException) -> None:
        """Note what the call raised."""
        self.error = record.error_name(error)
        self.is_error_of_server = isinstance(error, VerboseClientError)
        self.has_found_no_slot = isinstance(error, PoolTimeout)
        # PynamoDB's exception has no more of the reply than its text.
        response: Json = getattr(error.__cause__, "response", None) or {}
        self.request_id = request_id(response)


class Observer(t.Protocol):
    """Follows calls. What its methods raise is logged, and the call goes on."""

    def begin(self, call: Observed, /) -> contextvars.Context | None:
        """Follow a call that begins.

        :param call: The call.
        :return: The context in which to make it; ``None`` for the current one.
        """
        ...

    def note(self, call: Observed, /) -> None:
        """Read what is needed of the parameters and the reply of a call that has ended, before
        others change them. It must not block, nor run code of others."""
        ...

    def end(self, call: Observed, /) -> None:
        """Follow the end of a call, which :meth:`note` was given before. :meth:`begin` was not if
        the call was made in a thread that must not block."""
        ...


observer: Observer | None = None
"""The observer of this process, if there is one."""

_current: contextvars.ContextVar[Observed | None] = contextvars.ContextVar(
    "dynamo_ext.observed", default=None
)
_awaited: contextvars.ContextVar[Awaited | None] = contextvars.ContextVar(
    "dynamo_ext.awaited", default=None
)


def observe(new: Observer | None) -> None:
    """Have each call of this process followed, from the next one on.

    :param new: The observer, in the place of the one before; ``None`` for none.
    """
    global observer
    observer = new


def follow(
    server: Server,
    progress: record.Progress,
    params: Json,
    send: cabc.Callable[..., R],
    *args: t.Any,
) -> R:
    """Make a call, and have it followed if there is an observer.

    :param server: Where the call goes to.
    :param progress: The call's record, as far as it has come.
    :param params: The operation's parameters.
    :param send: Makes the call. It gets the other arguments.
    :return: The parsed reply.
    """
    if (following := observer) is None:
        return send(*args)

    call = Observed(
        operation=progress.operation,
        table_name=progress.table_name,
        params=params,
        server=server,
        start=time.time_ns(),
    )
    awaited = _awaited.get()
    is_first = awaited is None or awaited.claim()

    if awaited is not None and is_first and (slot := next(slots.held(), None)) is not None:
        call.begin_earlier(slot.queue_seconds)

    # A copy: nothing that is interrupted can leave the observer's context, or the call, behind.
    # Threads that make several calls may not wait for the observer.
    is_shared = waiting.is_shared()
    context = None if is_shared else _safely(following.begin, call)
    context = contextvars.copy_context() if context is None else context

    try:
        reply = context.run(_send, call, send, args)
        call.reply = t.cast(Json, reply)
        return reply
    except BaseException as error:
        call.fail(error)
        raise
    finally:
        call.end = call.now()
        _end_attempts(call, progress)

        if is_first and progress.has_slot:
            call.waited_seconds = progress.queue_seconds

        _safely(following.note, call)

        if not is_shared:
            _safely(following.end, call)
        elif awaited is None:
            waiting.current.get().in_other_thread(lambda: _safely(following.end, call))
        else:
            awaited.add(following, call)


def _send(call: Observed, send: cabc.Callable[..., R], args: tuple[t.Any, ...]) -> R:
    _current.set(call)
    return send(*args)


def _end_attempts(call: Observed, progress: record.Progress) -> None:
    """Note the end of the last attempt, unless :func:`attempt_ended` has done it."""
    noted = call.attempts[-1].number if call.attempts else 0

    if progress.attempts > noted:
        call.attempts.append(Attempt(progress.attempts, call.end, call.error))


def attempt_ended(
    number: int, response: tuple[t.Any, Json] | None, error: BaseException | None
) -> None:
    """Note that an attempt of the current call has ended.

    :param number: The number of the attempt, from 1.
    :param response: botocore's response and the parsed reply; ``None`` if there is none.
    :param error: What the attempt raised.
    """
    if (call := _current.get()) is None:
        return

    if response is not None:
        name = (response[1] or {}).get("Error", {}).get("Code")
    else:
        name = None if error is None else record.error_name(error)

    call.attempts.append(Attempt(number, call.now(), name))


class Awaited:
    """The calls of one function that a task has run elsewhere, and waits for.

    :param following: The observer.
    :param server: Where the calls go to.
    :param table_name: The table of their model, if they are for one.
    :param operation: What the first of them is, if that is known.
    """

    def __init__(
        self, following: Observer, server: Server, table_name: str | None, operation: str | None
    ) -> None:
        self._observer = following
        self._first: collections.deque[Observed] = collections.deque()
        self._first.append(
            Observed(
                operation=operation,
                table_name=table_name,
                params={},
                server=server,
                start=time.time_ns(),
            )
        )
        self._ended: collections.deque[tuple[Observer, Observed]] = collections.deque()
        self._is_left = False
        self.never_ran: bool = False
        """Whether the task has given the function up before it ran."""

    def __enter__(self) -> t.Self:
        self._outer = _awaited.get()
        _awaited.set(self)
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        _awaited.set(self._outer)
        self._is_left = True

        if self.never_ran and error is not None and self._first:
            call = self._first.pop()
            call.fail(error)
            call.end = call.now()
            _safely(self._observer.note, call)
            self.add(self._observer, call)

        self._deliver()

    def claim(self) -> bool:
        """Whether this is the first call of the function."""
        try:
            self._first.pop()
        except IndexError:
            return False

        return True

    def add(self, following: Observer, call: Observed) -> None:
        """Add a call that has ended. The task tells the observer, or if it waits no longer, another
        thread.

        :param following: The observer.
        :param call: The call.
        """
        self._ended.append((following, call))

        if self._is_left:
            waiting.current.get().in_other_thread(self._deliver)

    def _deliver(self) -> None:
        while self._ended:
            try:
                following, call = self._ended.popleft()
            except IndexError:
                return

            _safely(following.end, call)


class Awaiting(t.Protocol):
    """A task that waits for what it has run elsewhere."""

    never_ran: bool
    """Whether the task has given it up before it ran."""


class _Unobserved:
    """Stands for :class:`Awaited` where nobody observes."""

    __slots__ = ("never_ran",)

    never_ran: bool

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


UNOBSERVED: t.Final[contextlib.AbstractContextManager[Awaiting]] = _Unobserved()
"""In the place of :class:`Awaited` where nobody observes."""


def request_id(reply: Json) -> str | None:
    """What DynamoDB calls a request.

    :param reply: The parsed reply.
    """
    metadata: Json = reply.get("ResponseMetadata") or {}
    found: t.Any = metadata.get("RequestId")
    return found if isinstance(found, str) else None


def _safely(function: cabc.Callable[[Observed], R], call: Observed) -> R | None:
    """Call an observer, which runs code of others: what it raises must not end the call."""
    try:
        return function(call)
    except Exception as error:
        raised = error
        waiting.current.get().in_other_thread(lambda: _log_failure(raised))
        return None


def _log_failure(error: Exception) -> None:
    # The handlers and filters of the app may raise, too.
    with contextlib.suppress(Exception):
        _logger.error("What follows calls raised an exception.", exc_info=error)
