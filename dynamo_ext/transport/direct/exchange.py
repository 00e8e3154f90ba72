"""One request and its reply, on a connection that goes back to the idle ones."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

from ..response import Reply
from ..template import Request
from .connections import BrokenConnection
from .connections import HTTP11Connection
from .connections import IdleConnections
from .connections import NoReplyInTime


class Exchange:
    """A request that is sent, and its reply. Either one caller waits for it by :meth:`complete`, or
    it is made in steps that never wait, by :meth:`begin` and :meth:`proceed`.

    :param idle: The idle connections.
    :param request: The request.
    """

    __slots__ = ("_failure", "_has_begun", "_home", "_idle", "_reply", "connection", "request")

    def __init__(self, idle: IdleConnections, request: Request) -> None:
        self._idle = idle
        self.request: Request = request
        self.connection: HTTP11Connection | None = None
        """The connection, as long as the exchange has one: an idle one, or one that was just
        opened."""

        self._home = idle.home(request.template.origin)
        self._has_begun = False
        self._reply: Reply | None = None
        self._failure: Exception | None = None

    @property
    def reply(self) -> Reply | None:
        """The reply, if it is complete."""
        return self._reply

    def take_connection(self) -> bool:
        """Take an idle connection.

        :return: Whether there was one.
        """
        self.connection = self._idle.take(self._home)
        return self.connection is not None

    def begin(self) -> bool:
        """Send the request, as far as that goes without waiting.

        :return: Whether the exchange has ended: with a reply, or with a failure that
            :meth:`complete` raises.
        """
        self._has_begun = True
        return self._step(begins=True)

    def proceed(self) -> bool:
        """Go on as far as that goes without waiting. As :meth:`begin`."""
        return self._step(begins=False)

    def give_up(self) -> None:
        """End an exchange whose server is too slow."""
        self._end(failure=NoReplyInTime())

    def close(self) -> None:
        """Close the connection of an exchange that nobody will complete."""
        self._end(failure=BrokenConnection("nobody waits for the reply"))

    def complete(self, seconds: cabc.Callable[[], float]) -> Reply:
        """Wait for the reply.

        :param seconds: Returns the longest time to wait for the next bytes, in seconds.
        :return: The reply.
        :raises BrokenConnection: if the reply is not complete or not HTTP/1.1.
        :raises NoReplyInTime: if the server is too slow.
        """
        connection = self.connection

        if connection is not None and not (self.proceed() if self._has_begun else self.begin()):
            try:
                self._end(connection.complete(seconds))
            except (BrokenConnection, NoReplyInTime) as error:
                self._end(failure=error)
            except BaseException:
                self.close()
                raise

        if self._failure is not None:
            raise self._failure

        return t.cast(Reply, self._reply)

    def _step(self, *, begins: bool) -> bool:
        connection = self.connection

        if connection is None:
            return True

        try:
            reply = connection.begin(self.request.to_bytes()) if begins else connection.proceed()
        except BrokenConnection as error:
            self._end(failure=error)
            return True
        except BaseException:
            self.close()
            raise

        if reply is None:
            return False

        self._end(reply)
        return True

    def _end(self, reply: Reply | None = None, *, failure: Exception | None = None) -> None:
        """Keep the outcome, and give the connection back, which may close it."""
        connection, self.connection = self.connection, None

        if connection is not None:
            self._reply, self._failure = reply, failure
            self._idle.give(connection, self.request.template.origin, self._home)
