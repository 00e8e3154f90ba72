"""How long a call may take in all: queue, attempts and the waits between them."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import contextvars
import time
import typing as t

import botocore.client
import urllib3
from botocore.exceptions import BotoCoreError

from ..errors import CallTimeout

_current: contextvars.ContextVar[Deadline | None] = contextvars.ContextVar(
    "dynamo_ext.deadline", default=None
)

_NO_LIMIT: t.Final = contextlib.nullcontext[t.Any](None)


class Deadline:
    """The end of the time that a call may take.

    :param seconds: How long it may take, from now on.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def remaining(self) -> float:
        """Seconds that are left, 0 at least."""
        return max(0.0, self._end - time.monotonic())

    def check(self, wait: float = 0) -> None:
        """
        :param wait: Seconds that are about to be waited.
        :raises CallTimeout: if nothing would be left after that.
        """
        if self.remaining <= wait:
            raise CallTimeout(self.seconds)


def current() -> Deadline | None:
    """The deadline of the call that this thread is making, if it has one."""
    return _current.get()


def limit(seconds: float | None) -> contextlib.AbstractContextManager[Deadline | None]:
    """Give the calls in the block a deadline together, unless they have one already.

    :param seconds: How long they may take; ``None`` for no limit.
    :raises CallTimeout: if an attempt failed because the time was up.
    """
    return _NO_LIMIT if seconds is None and _current.get() is None else _limit(seconds)


@contextlib.contextmanager
def _limit(seconds: float | None) -> cabc.Generator[Deadline | None]:
    deadline = _current.get()
    token = None

    if deadline is None and seconds is not None:
        deadline = Deadline(seconds)
        token = _current.set(deadline)

    try:
        yield deadline
    except BotoCoreError as error:
        if deadline is not None and not deadline.remaining:
            raise CallTimeout(deadline.seconds) from error

        raise
    finally:
        if token is not None:
            _current.reset(token)


def install(client: botocore.client.BaseClient) -> None:
    """Make a client's attempts end with the deadline of their call.

    Botocore sets timeouts for a client, not for a request. Those timeouts are urllib3's, which
    copies them for each request, and here the copy learns what is left.

    :param client: The client.
    """
    http_session = t.cast(t.Any, client)._endpoint.http_session
    timeout = Timeout(http_session._timeout)
    http_session._timeout = timeout
    http_session._manager.connection_pool_kw["timeout"] = timeout


class Timeout(urllib3.Timeout):
    """Timeouts that never go beyond the current deadline.

    :param configured: Those that a client has.
    """

    def __init__(self, configured: urllib3.Timeout) -> None:
        super().__init__(connect=configured.connect_timeout, read=configured.read_timeout)
        self._configured = configured

    def seconds_to_read(self) -> float | None:
        """How long a request on an open connection may wait for the server, from now on."""
        seconds, deadline = self._configured.read_timeout, current()

        if deadline is None:
            return seconds

        remaining = max(deadline.remaining, 0.001)
        return remaining if seconds is None else min(seconds, remaining)

    def clone(self) -> urllib3.Timeout:
        """The timeouts of one request."""
        deadline = current()
        total = None if deadline is None else max(deadline.remaining, 0.001)
        return urllib3.Timeout(
            connect=self._configured.connect_timeout,
            read=self._configured.read_timeout,
            total=total,
        )
