"""HTTP/1.1 without I/O: the bytes of a connection go in, replies come out.

A parser never sees a socket, so a test of any odd server is a few bytes. Reading, writing and
waiting are in :mod:`dynamo_ext.transport.direct.connections`.
"""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import typing as t

import httptools

_FIRST_FINAL_STATUS = 200
_LENGTH_HEADERS = frozenset({"content-length", "transfer-encoding"})

Buffer = bytes | bytearray | memoryview


class ProtocolError(Exception):
    """The server sent something that is not HTTP/1.1, or closed before the reply was complete."""


@dataclasses.dataclass(slots=True)
class Reply:
    """One complete, final reply."""

    status_code: int
    headers: cabc.Mapping[str, str]
    """By name in lower case. Values of a name that came twice are joined by a comma."""

    body: bytes


class ReplyParser:
    """Parses the replies of one connection, one after the other.

    For each request: :meth:`expect_reply`, then :meth:`receive_data` until it returns a reply.
    """

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._reply_headers: dict[str, str] | None = None
        self._status_code = 0
        self._body: list[bytes] = []
        self._is_complete = False
        self.keep_alive: bool = True
        """Whether another request may follow: the last reply is complete, nothing has come after
        it, and the server keeps the connection open."""

    def expect_reply(self) -> None:
        """Begin a reply: its request is about to be sent."""
        self.keep_alive = False
        self._is_complete = False
        self._reply_headers = None

    def receive_data(self, data: Buffer) -> Reply | None:
        """Take the next bytes of the connection.

        Interim replies (1xx) are passed over, see
        https://www.rfc-editor.org/rfc/rfc9110#name-informational-1xx.

        :param data: What was read, at least one byte.
        :return: The reply, once it is complete.
        :raises ProtocolError: if the bytes are not HTTP/1.1.
        """
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._handle(error)

        return self._reply() if self._is_complete else None

    def receive_end(self) -> Reply:
        """Take the end of the connection, which also ends a reply that names no length.

        :return: The reply.
        :raises ProtocolError: if the reply is not complete.
        """
        headers = self._reply_headers

        if headers is None or not _LENGTH_HEADERS.isdisjoint(headers):
            raise ProtocolError("the connection was closed before the reply was complete")

        return self._reply()

    def _handle(self, error: Exception) -> None:
        """
        :raises ProtocolError: if there is no complete reply before what is wrong.
        """
        self.keep_alive = False
        raised = error.__context__

        if raised is not None and not isinstance(raised, ProtocolError):
            # A callback was interrupted, for example by a signal handler that raises.
            raise raised from None

        if not self._is_complete:
            raise ProtocolError(str(error)) from error

    def _reply(self) -> Reply:
        headers = t.cast("dict[str, str]", self._reply_headers)
        return Reply(self._status_code, headers, b"".join(self._body))

    def on_message_begin(self) -> None:
        """Called by httptools."""
        if self._is_complete:
            raise ProtocolError("there is more than one reply")

        self._headers = {}
        self._body = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by httptools."""
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        before = self._headers.get(key)
        self._headers[key] = text if before is None else f"{before}, {text}"

    def on_headers_complete(self) -> None:
        """Called by httptools."""
        self._status_code = self._parser.get_status_code()
        self._reply_headers = self._headers
        # The trailers of a chunked reply are not among its headers.
        self._headers = {}

    def on_body(self, body: bytes) -> None:
        """Called by httptools."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Called by httptools."""
        if self._status_code < _FIRST_FINAL_STATUS:
            self._reply_headers = None
        else:
            self._is_complete = True
            self.keep_alive = self._parser.should_keep_alive()
