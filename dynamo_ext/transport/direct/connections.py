"""Connections that urllib3 has opened, and HTTP/1.1 on them.

urllib3 opens them, as for botocore: TLS, proxies, timeouts and names are its own. A request on an
open connection is then written and read here in as few system calls as possible: each time a thread
releases the interpreter's lock, it may have to queue for it.
"""

from __future__ import annotations

import collections
import collections.abc as cabc
import contextlib
import queue
import socket
import ssl
import sys
import typing as t

import urllib3
import urllib3.connection

from ...concurrency import waiting
from .http11 import ProtocolError
from .http11 import Reply
from .http11 import ReplyParser

_BUFFER_SIZE = 128 * 1024
# Of Linux's struct tcp_info: the state, and how many bytes were received so far.
_HAS_TCP_INFO = sys.platform == "linux"
_TCP_INFO_SIZE = 136
_BYTES_RECEIVED = slice(128, 136)
_ESTABLISHED = 1
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class BrokenConnection(Exception):
    """The connection was closed before the reply was complete, or the reply is not HTTP/1.1."""


class NoReplyInTime(Exception):
    """The server accepted or sent no bytes in time."""


class HTTP11Connection:
    """An open connection on which at least one reply was read.

    :param opened: urllib3's connection.
    :param sock: Its socket. From now on, it never blocks.
    :param home: The idle connections that it belongs to.
    """

    def __init__(
        self, opened: urllib3.connection.HTTPConnection, sock: socket.socket, home: object
    ) -> None:
        self.home = home
        self._opened = opened
        self._sock = sock
        self._buffer = bytearray(_BUFFER_SIZE)
        self._view = memoryview(self._buffer)
        self._parser = ReplyParser()
        self._is_encrypted = isinstance(sock, ssl.SSLSocket)
        self._received = 0
        # Some kernels and sandboxes leave this counter at 0.
        self._has_tcp_info = _HAS_TCP_INFO and self._tcp_info()[1] > 0
        sock.settimeout(0)
        self.is_reusable: bool = self._is_drained()
        """Whether another request may follow the last reply."""

    @property
    def is_idle(self) -> bool:
        """Whether it is open and has received nothing since the last reply, as far as is known."""
        if self._has_tcp_info:
            return self._tcp_info() == (_ESTABLISHED, self._received)

        return not waiting.IN_THREAD.until_readable(self._sock, 0)

    def close(self) -> None:
        """Close it."""
        self._opened.close()

    def exchange(self, request: bytes, seconds: cabc.Callable[[], float]) -> Reply:
        """Send a request and read its reply.

        :param request: The whole request.
        :param seconds: Returns the longest time to wait for the next bytes, in seconds.
        :return: The reply.
        :raises BrokenConnection: if the reply is not complete or not HTTP/1.1.
        :raises NoReplyInTime: if the server is too slow.
        """
        self.is_reusable = False
        self._parser.expect_reply()
        waits = waiting.current.get()

        try:
            self._send(request, waits, seconds)
            reply = self._receive(waits, seconds)
        except (OSError, ProtocolError) as error:
            raise BrokenConnection(str(error)) from error

        self.is_reusable = self._parser.keep_alive and (
            not self._is_encrypted or self._is_drained()
        )
        return reply

    def _tcp_info(self) -> tuple[int, int]:
        """The state, and how many bytes were received so far."""
        # The only such query that does not release the interpreter's lock.
        info = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
        return info[0], int.from_bytes(info[_BYTES_RECEIVED], sys.byteorder)

    def _is_drained(self) -> bool:
        """Whether nothing is left to read that would be taken for the next reply.

        Without TLS the parser has seen every byte that was received, so it knows.
        """
        if self._has_tcp_info:
            # Before the read: bytes that arrive in between are not counted yet.
            _, self._received = self._tcp_info()

        try:
            self._sock.recv_into(self._buffer)
        except _WOULD_BLOCK:
            return True
        except OSError:
            pass

        return False

    def _send(
        self, request: bytes, waits: waiting.Waiting, seconds: cabc.Callable[[], float]
    ) -> None:
        left = memoryview(request)

        while left:
            try:
                left = left[self._sock.send(left) :]
            except _WOULD_BLOCK:
                if not waits.until_writable(self._sock, seconds()):
                    raise NoReplyInTime from None

    def _receive(self, waits: waiting.Waiting, seconds: cabc.Callable[[], float]) -> Reply:
        may_read = False

        while True:
            if not may_read and not waits.until_readable(self._sock, seconds()):
                raise NoReplyInTime

            try:
                size = self._sock.recv_into(self._buffer)
            except _WOULD_BLOCK:
                may_read = False
                continue

            if not size:
                return self._parser.receive_end()

            self._received += size

            if (reply := self._parser.receive_data(self._view[:size])) is not None:
                return reply

            # What TLS has decrypted already does not show at the socket.
            may_read = True


class IdleConnections:
    """The open connections of one client that no call uses now."""

    def __init__(self) -> None:
        # The one used last is the first to be used again: it is the least likely to be closed.
        self._idle: collections.deque[HTTP11Connection] = collections.deque()

    def take(self) -> HTTP11Connection | None:
        """Take one on which nothing has happened since its last reply.

        :return: The connection; ``None`` if there is none.
        """
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None

            if connection.is_idle:
                return connection

            connection.close()

    def give(self, connection: HTTP11Connection) -> None:
        """Keep a connection for later, or close it if it can't carry another request.

        :param connection: A connection that no call uses any more.
        """
        idle = self._idle

        if connection.is_reusable and connection.home is idle:
            idle.append(connection)

            # Otherwise close() ran meanwhile.
            if idle is self._idle:
                return

        connection.close()

    def adopt(self, pool: urllib3.HTTPConnectionPool) -> None:
        """Take over a connection that urllib3 has opened and does not use now.

        :param pool: Its pool for one host.
        """
        # It is None once it is closed.
        opened_by_urllib3 = pool.pool

        if opened_by_urllib3 is None:
            return

        try:
            opened = t.cast(
                "urllib3.connection.HTTPConnection | None", opened_by_urllib3.get(block=False)
            )
        except queue.Empty:
            return

        sock = None if opened is None else opened.sock

        if opened is not None and type(sock) in {socket.socket, ssl.SSLSocket}:
            self.give(HTTP11Connection(opened, t.cast(socket.socket, sock), self._idle))
        else:
            t.cast(t.Any, pool)._put_conn(opened)

    def close(self) -> None:
        """Close all idle connections; those in use are closed when they come back."""
        idle, self._idle = self._idle, collections.deque()

        while idle:
            with contextlib.suppress(IndexError):
                idle.pop().close()
