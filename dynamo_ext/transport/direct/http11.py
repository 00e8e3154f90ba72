"""HTTP/1.1 on connections that are open already.

urllib3 opens them, as for botocore: TLS, proxies, timeouts and names are its own. A request on an
open connection is then written and read here, in as few steps as can be: each time a thread lets go
of the interpreter and wants it back, it may have to queue for it.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import queue
import socket
import ssl
import sys
import typing as t

import httptools
import urllib3
import urllib3.connection

from ...concurrency import waiting

_SIZE = 128 * 1024
# Of Linux's struct tcp_info: the state, and how many bytes were received so far.
_KNOWS_STATE = sys.platform == "linux"
_STATE_SIZE = 136
_BYTES_RECEIVED = slice(128, 136)
_ESTABLISHED = 1
_INTERIM = 200
_MUST_WAIT = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Closed(Exception):
    """The server closed the connection before the reply was complete, or sent what is no HTTP."""


class TooLate(Exception):
    """Nothing came, or went, in time."""


@dataclasses.dataclass
class Reply:
    """What the server sent."""

    status_code: int
    headers: dict[str, str]
    """By name in lower case."""

    body: bytes


class Connection:
    """A connection that urllib3 has opened, and on which one reply was read.

    :param opened: urllib3's.
    :param sock: Its socket. From now on, it never blocks.
    :param home: Where it is kept while it is not in use.
    """

    def __init__(
        self, opened: urllib3.connection.HTTPConnection, sock: socket.socket, home: object
    ) -> None:
        self.home = home
        self._opened = opened
        self._sock = sock
        self._buffer = bytearray(_SIZE)
        self._view = memoryview(self._buffer)
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._reply: Reply | None = None
        self._is_complete = False
        self._is_encrypted = isinstance(sock, ssl.SSLSocket)
        self._received = 0
        # There are kernels, or what stands for one, that don't count.
        self._knows_state = _KNOWS_STATE and self._state()[1] > 0
        sock.settimeout(0)
        self.is_reusable: bool = self._is_drained()
        """Whether another request may follow the last reply."""

    @property
    def is_idle(self) -> bool:
        """Whether it is open, and nothing came since the last reply, as far as is known."""
        if self._knows_state:
            return self._state() == (_ESTABLISHED, self._received)

        return not waiting.IN_THREAD.until_readable(self._sock, 0)

    def close(self) -> None:
        """Close it."""
        self._opened.close()

    def exchange(self, request: bytes, seconds: t.Callable[[], float]) -> Reply:
        """Send a request and read its reply.

        :param request: The whole of it.
        :param seconds: Gives the longest time to wait for the next bytes.
        :raises Closed: if the reply is not complete.
        :raises TooLate: if the server is too slow.
        """
        self.is_reusable = False
        self._is_complete = False
        self._reply = None
        waits = waiting.current.get()

        try:
            self._send(request, waits, seconds)
            reply = self._receive(waits, seconds)
        except (OSError, httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise Closed(str(error)) from error

        if self.is_reusable and self._is_encrypted:
            self.is_reusable = self._is_drained()

        reply.body = b"".join(self._body)
        return reply

    def _state(self) -> tuple[int, int]:
        """The state, and how many bytes were received so far."""
        # Of all ways to ask, this one does not let go of the interpreter.
        info = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _STATE_SIZE)
        return info[0], int.from_bytes(info[_BYTES_RECEIVED], sys.byteorder)

    def _is_drained(self) -> bool:
        """Whether nothing is left to read that would be taken for the next reply.

        Where all that was received passes through here, as it is, the parser knows.
        """
        if self._knows_state:
            # Before it looks: what comes after that is not counted yet.
            _, self._received = self._state()

        try:
            self._sock.recv_into(self._buffer)
        except _MUST_WAIT:
            return True
        except OSError:
            pass

        return False

    def _send(self, request: bytes, waits: waiting.Waits, seconds: t.Callable[[], float]) -> None:
        left = memoryview(request)

        while left:
            try:
                left = left[self._sock.send(left) :]
            except _MUST_WAIT:
                if not waits.until_writable(self._sock, seconds()):
                    raise TooLate from None

    def _receive(self, waits: waiting.Waits, seconds: t.Callable[[], float]) -> Reply:
        may_read = False

        while not self._is_complete:
            if not may_read and not waits.until_readable(self._sock, seconds()):
                raise TooLate

            try:
                size = self._sock.recv_into(self._buffer)
            except _MUST_WAIT:
                may_read = False
                continue

            if not size:
                self._end()
                break

            self._received += size
            self._parse(size)
            # What is decrypted already does not show at the socket.
            may_read = True

        return t.cast(Reply, self._reply)

    def _parse(self, size: int) -> None:
        try:
            self._parser.feed_data(self._view[:size])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            # What follows a complete reply belongs to no request.
            self.is_reusable = False
            raised = error.__context__

            if raised is not None and not isinstance(raised, Closed):
                # It has nothing to do with HTTP: a signal's handler has raised it, say.
                raise raised from None

            if not self._is_complete:
                raise

    def _end(self) -> None:
        """The server has closed the connection, which ends a reply that names no length."""
        reply = self._reply

        if reply is None or {"content-length", "transfer-encoding"} & reply.headers.keys():
            raise Closed("the connection was closed before the reply was complete")

    def on_message_begin(self) -> None:
        """Called by the parser."""
        if self._is_complete:
            raise Closed("there is more than one reply")

        self._headers = {}
        self._body = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        before = self._headers.get(key)
        self._headers[key] = text if before is None else f"{before}, {text}"

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        self._reply = Reply(self._parser.get_status_code(), self._headers, b"")
        # Those at the end of a chunked reply are not among a reply's headers.
        self._headers = {}

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        if self._parser.get_status_code() < _INTERIM:
            self._reply = None
        else:
            self._is_complete = True
            self.is_reusable = self._parser.should_keep_alive()


class Connections:
    """The open connections of one client that nobody uses now."""

    def __init__(self) -> None:
        # The one used last is the first to be used again: it is the least likely to be closed.
        self._idle: collections.deque[Connection] = collections.deque()

    def take(self) -> Connection | None:
        """One that is as it was left, if there is one."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None

            if connection.is_idle:
                return connection

            connection.close()

    def give(self, connection: Connection) -> None:
        """Keep one for later, if it is good for another request."""
        idle = self._idle

        if connection.is_reusable and connection.home is idle:
            idle.append(connection)

            # Else all were closed just now.
            if idle is self._idle:
                return

        connection.close()

    def adopt(self, pool: urllib3.HTTPConnectionPool) -> None:
        """Take over what urllib3 has opened and does not use now.

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
            self.give(Connection(opened, t.cast(socket.socket, sock), self._idle))
        else:
            t.cast(t.Any, pool)._put_conn(opened)

    def close(self) -> None:
        """Close all of them; those in use are closed when they come back."""
        idle, self._idle = self._idle, collections.deque()

        while idle:
            with contextlib.suppress(IndexError):
                idle.pop().close()
