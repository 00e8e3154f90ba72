"""Deadlines: how long a call may take in all, with its queue, attempts and the waits between."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import contextvars
import time
import typing as t

import botocore.client
import urllib3
from botocore.exceptions import BotoCoreError

from ..errors import OUTCOME_UNKNOWN
from ..errors import CallTimeout

_current: contextvars.ContextVar[Deadline | None] = contextvars.ContextVar(
    "dynamo_ext.deadline", default=None
)

_NO_LIMIT: t.Final = contextlib.nullcontext[t.Any](None)


class Deadline:
    """When a call must have ended.

    :param seconds: How long the call may take from now on, in seconds.
    """

    # Tests that freeze the time replace this function in modules, but not in classes. Their time
    # may stand still or jump while a call is under way, and the call's must not.
    _now = staticmethod(time.monotonic)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.uncertain_writes: int = 0
        """How many writes are being sent, or have failed and may have been applied."""

        self._end = self._now() + seconds

    @property
    def remaining(self) -> float:
        """How much time is left, in seconds; at least 0."""
        return max(0.0, self._end - self._now())

    def exceeded(self) -> CallTimeout:
        """The error of a task that does not wait for its call any longer.

        :return: The error, which says so if a write may have been applied, or may still be.
        """
        error = CallTimeout(self.seconds)

        if self.uncertain_writes:
            setattr(error, OUTCOME_UNKNOWN, True)

        return error

    def check(self, wait: float = 0) -> None:
        """Check that there is time for a wait.

        :param wait: How long the wait is, in seconds.
        :raises CallTimeout: if no time would be left after it.
        """
        if self.remaining <= wait:
            raise CallTimeout(self.seconds)


def current() -> Deadline | None:
    """The deadline of the call that this thread is making; ``None`` if it has none."""
    return _current.get()


def limit(seconds: float | None) -> contextlib.AbstractContextManager[Deadline | None]:
    """Set one deadline for all calls in a block, unless there is one already.

    :param seconds: How long they may take together, in seconds; ``None`` for no limit.
    :return: A context manager that gives the deadline, or ``None``.
    :raises CallTimeout: if an attempt fails because the time is up.
    """
    return _NO_LIMIT if seconds is None and _current.get() is None else _limit(seconds)


@contextlib.contextmanager
def _limit(seconds: float | None) -> cabc.Generator[Deadline | None]:
    outer = deadline = _current.get()

    # Without the token that set() returns: a signal handler that raises could lose it, and the
    # deadline would stay for ever.
    try:
        if deadline is None and seconds is not None:
            deadline = Deadline(seconds)
            _current.set(deadline)

        yield deadline
    except BotoCoreError as error:
        if deadline is not None and not deadline.remaining:
            raise CallTimeout(deadline.seconds) from error

        raise
    finally:
        _current.set(outer)


def install(client: botocore.client.BaseClient) -> None:
    """Make a client's attempts end with the deadline of their call.

    botocore sets timeouts for a client, not for a request. They are urllib3's, which copies them
    for each request: here each copy gets the time that is left.

    :param client: The client.
    """
    http_session = t.cast(t.Any, client)._endpoint.http_session
    timeout = Timeout(http_session._timeout)
    http_session._timeout = timeout
    http_session._manager.connection_pool_kw["timeout"] = timeout


class Timeout(urllib3.Timeout):
    """Timeouts that never go beyond the current deadline.

    :param configured: The timeouts of a client.
    """

    def __init__(self, configured: urllib3.Timeout) -> None:
        super().__init__(connect=configured.connect_timeout, read=configured.read_timeout)
        self._configured = configured

    def clone(self) -> urllib3.Timeout:
        """The timeouts of one request."""
        deadline = current()
        total = None if deadline is None else max(deadline.remaining, 0.001)
        return urllib3.Timeout(
            connect=self._configured.connect_timeout,
            read=self._configured.read_timeout,
            total=total,
        )
