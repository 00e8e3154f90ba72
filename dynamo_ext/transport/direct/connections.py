"""HTTP/1.1 on connections that urllib3 has opened, and which of them may be used again.

A request is written and read in as few system calls as possible: each time a thread releases the
interpreter's lock, it may have to queue for it.
"""

from __future__ import annotations

import collections
import collections.abc as cabc
import contextlib
import socket
import ssl
import sys

import urllib3.connection

from ...concurrency import waiting
from ...concurrency.process_local import ProcessLocal
from ..response import Reply
from ..template import Origin
from .http11 import ProtocolError
from .http11 import ReplyParser

_BUFFER_SIZE = 128 * 1024
# Of Linux's struct tcp_info: the state, and how many bytes were received so far.
_HAS_TCP_INFO = sys.platform == "linux"
_TCP_INFO_SIZE = 136
_BYTES_RECEIVED = slice(128, 136)
_ESTABLISHED = 1
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
# A client has one endpoint for items, and at most a few more for other operations.
_MOST_ORIGINS = 4


class BrokenConnection(Exception):
    """The connection was closed before the reply was complete, or the reply is not HTTP/1.1."""


class NoReplyInTime(Exception):
    """The server accepted or sent no bytes in time."""


class HTTP11Connection:
    """An open connection that has carried no request, or whole ones with whole replies.

    :param opened: urllib3's connection.
    :param sock: Its socket. From now on, it never blocks.
    """

    def __init__(self, opened: urllib3.connection.HTTPConnection, sock: socket.socket) -> None:
        self._opened = opened
        self._sock = sock
        self._buffer = bytearray(_BUFFER_SIZE)
        self._view = memoryview(self._buffer)
        self._parser = ReplyParser()
        self._is_encrypted = isinstance(sock, ssl.SSLSocket)
        self._received = 0
        self._has_tcp_info = False
        self._left = memoryview(b"")
        self._has_waited = False
        sock.settimeout(0)
        self.is_reusable: bool = False
        """Whether another request may follow the last reply: it is complete and final, its request
        was sent to the end, nothing has come after it, and the server keeps the connection open."""

    @property
    def is_idle(self) -> bool:
        """Whether it is open and has received nothing since the last reply, as far as is known."""
        if self._has_tcp_info:
            return self._tcp_info() == (_ESTABLISHED, self._received)

        return not waiting.IN_THREAD.until_readable(self._sock, 0)

    def close(self) -> None:
        """Close it. Nothing is written: a process that has inherited it leaves it to its parent."""
        self._opened.close()

    @property
    def socket(self) -> socket.socket:
        """The socket, for who waits until it is ready."""
        return self._sock

    def begin(self, request: bytes) -> Reply | None:
        """Send a request, as far as that goes without waiting. :meth:`proceed` must follow until
        there is a reply.

        :param request: The whole request.
        :return: The reply, if it has come before the request was wholly sent.
        :raises BrokenConnection: if the reply is not complete or not HTTP/1.1.
        """
        self.is_reusable = False
        self._parser.expect_reply()
        self._left = memoryview(request)
        self._has_waited = False
        return self.proceed()

    def proceed(self) -> Reply | None:
        """Go on as far as that goes without waiting, once the socket is ready.

        :return: The reply, if it is complete now. It may come before the request is wholly sent.
        :raises BrokenConnection: if the reply is not complete or not HTTP/1.1.
        """
        try:
            return self._send() if self._left else self._receive()
        except (OSError, ProtocolError) as error:
            raise BrokenConnection(str(error)) from error

    def complete(self, seconds: cabc.Callable[[], float]) -> Reply:
        """Wait for the reply to a request that was begun.

        :param seconds: Returns the longest time to wait for the next bytes, in seconds.
        :return: The reply.
        :raises BrokenConnection: if the reply is not complete or not HTTP/1.1.
        :raises NoReplyInTime: if the server is too slow.
        """
        waits = waiting.current.get()

        while True:
            wait = waits.until_either if self._left else waits.until_readable

            if not wait(self._sock, seconds()):
                raise NoReplyInTime

            if (reply := self.proceed()) is not None:
                return reply

    def _tcp_info(self) -> tuple[int, int]:
        """The state, and how many bytes were received so far."""
        # The only such query that does not release the interpreter's lock.
        info = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
        return info[0], int.from_bytes(info[_BYTES_RECEIVED], sys.byteorder)

    def _is_drained(self) -> bool:
        """Whether nothing is left to read that would be taken for the next reply.

        Without TLS the parser has seen every byte that was received, and :attr:`is_idle` compares
        their number. With TLS the socket does not show what is decrypted already.
        """
        if self._is_encrypted:
            if _HAS_TCP_INFO:
                # Before the read: bytes that arrive in between are not counted yet.
                _, self._received = self._tcp_info()

            try:
                self._sock.recv_into(self._buffer)
            except _WOULD_BLOCK:
                pass
            else:
                return False

        # Some kernels and sandboxes leave this counter at 0, for all replies then.
        if _HAS_TCP_INFO and not self._has_tcp_info:
            self._has_tcp_info = self._tcp_info()[1] > 0

        return True

    def _send(self) -> Reply | None:
        """Send what is left of the request.

        :return: The reply, if it has come before the request is wholly sent.
        """
        while self._left:
            try:
                self._left = self._left[self._sock.send(self._left) :]
            except _WOULD_BLOCK:
                self._has_waited = True
                return self._received_so_far()
            except OSError as error:
                # The server may have closed the connection because it has answered.
                return self._last_reply(error)

        # While the last bytes were sent, the first ones may have arrived unseen. Otherwise that is
        # too unlikely for a system call.
        return self._receive() if self._has_waited else None

    def _receive(self) -> Reply | None:
        reply = self._received_so_far()

        if reply is not None:
            self.is_reusable = self._parser.keep_alive and self._is_drained()

        return reply

    def _received_so_far(self) -> Reply | None:
        """Read what there is.

        :return: The reply, if it is complete now.
        """
        while True:
            try:
                size = self._sock.recv_into(self._buffer)
            except _WOULD_BLOCK:
                return None

            if not size:
                return self._parser.receive_end()

            self._received += size

            if (reply := self._parser.receive_data(self._view[:size])) is not None:
                return reply

    def _last_reply(self, error: OSError) -> Reply:
        """What a server has sent before it closed the connection.

        :param error: What is raised if there is no complete reply.
        """
        try:
            reply = self._received_so_far()
        except (OSError, ProtocolError):
            reply = None

        if reply is None:
            raise error

        return reply


Home = collections.deque[HTTP11Connection]
"""The idle connections of one origin, in one process."""


class IdleConnections:
    """The open connections of one client that no call uses now."""

    def __init__(self) -> None:
        self._mine = _homes()

    def home(self, origin: Origin) -> Home:
        """Where the connections of an origin belong now.

        :param origin: The origin.
        """
        homes = self._mine.get()

        if (home := homes.get(origin)) is not None:
            return home

        while len(homes) >= _MOST_ORIGINS:
            # After credentials of another account, endpoints have other hosts: the oldest is of
            # no use any more.
            with contextlib.suppress(StopIteration, RuntimeError):
                _close_all(homes.pop(next(iter(homes)), Home()))

        return homes.setdefault(origin, Home())

    def take(self, home: Home) -> HTTP11Connection | None:
        """Take one on which nothing has happened since its last reply.

        :param home: The result of :meth:`home`.
        :return: The connection; ``None`` if there is none.
        """
        # The one used last is the first to be used again: it is the least likely to be closed.
        while home:
            try:
                connection = home.pop()
            except IndexError:
                return None

            if connection.is_idle:
                return connection

            connection.close()

        return None

    def give(self, connection: HTTP11Connection, origin: Origin, home: Home) -> None:
        """Keep a connection for later, or close it if it can't carry another request.

        :param connection: A connection that no call uses any more.
        :param origin: Its origin.
        :param home: What was its home when it was taken or opened.
        """
        if connection.is_reusable:
            home.append(connection)

            # Otherwise the home was closed meanwhile.
            if self.home(origin) is home:
                return

            try:
                home.remove(connection)
            except ValueError:
                # It was closed with its home, or a call that knew that home has it.
                return

        connection.close()

    def close(self) -> None:
        """Close all idle connections; those in use are closed when they come back.

        In a forked child: close those of the parent.
        """
        mine, self._mine = self._mine, _homes()
        _close_homes(mine.get())


def _homes() -> ProcessLocal[dict[Origin, Home]]:
    return ProcessLocal(dict, abandon=_close_homes)


def _close_homes(homes: dict[Origin, Home]) -> None:
    for home in list(homes.values()):
        _close_all(home)


def _close_all(home: Home) -> None:
    while home:
        with contextlib.suppress(IndexError):
            home.pop().close()
