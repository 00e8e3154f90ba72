"""HTTP/1.1 without I/O: the bytes of a connection go in, replies come out.

A parser never sees a socket, so a test of any odd server is a few bytes. Reading, writing and
waiting are in :mod:`dynamo_ext.transport.direct.connections`.
"""

from __future__ import annotations

import functools
import re
import typing as t

import httptools

from ..response import Reply

_FIRST_FINAL_STATUS = 200
_LINE_END = b"\r\n"
_LENGTH_HEADERS = frozenset({"content-length", "transfer-encoding"})

MAX_HEADERS = 100
"""How many headers a reply may have, with trailers and interim replies; as in ``http.client``."""

MAX_HEAD_BYTES = 64 * 1024
"""How large they may be together; and how many bytes in a row may be no part of a body."""

MAX_BODY_BYTES = 256 * 1024 * 1024
"""How large the body of a reply may be. DynamoDB's replies hold at most 16 MB of items, as DynamoDB
counts, and JSON takes at most 15 times that: ``{"BOOL":false},`` counts as one byte."""

Buffer = bytes | bytearray | memoryview


_NAME = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_VALUE = rb"[!-~]++(?: ++[!-~]++)*+"
# A final reply to which nothing special is to be done, and the lines of its headers.
_ORDINARY_HEAD = re.compile(
    rb"HTTP/1\.1 200 [ -~]*\r\n((?:%b: %b\r\n)+)\r\n" % (_NAME, _VALUE),
)
_HEADER = re.compile(r"([^:]+): ([^\r]+)\r\n")
_FOR_HTTPTOOLS = frozenset({"connection", "trailer", "transfer-encoding", "upgrade"})
_LENGTH = "content-length"
# Python refuses to read a number of some thousand digits.
_DIGITS_OF_LENGTH = len(str(MAX_BODY_BYTES))


class ProtocolError(Exception):
    """The server sent something that is not HTTP/1.1, or closed before the reply was complete."""


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
        self._shape: tuple[tuple[str, ...], str | None] | None = None
        self._usual: _UsualReplies | None = None
        self._header_count = 0
        self._head_size = 0
        self._body_size = 0
        self._size_without_body = 0
        self.keep_alive: bool = True
        """Whether another request may follow: the last reply is complete, nothing has come after
        it, and the server keeps the connection open."""

    def expect_reply(self) -> None:
        """Begin a reply: its request is about to be sent."""
        self.keep_alive = False
        self._is_complete = False
        self._reply_headers = None
        self._header_count = self._head_size = self._body_size = self._size_without_body = 0

    def receive_data(self, data: Buffer) -> Reply | None:
        """Take the next bytes of the connection.

        Interim replies (1xx) are passed over, see
        https://www.rfc-editor.org/rfc/rfc9110#name-informational-1xx.

        :param data: What was read, at least one byte.
        :return: The reply, once it is complete.
        :raises ProtocolError: if the bytes are not HTTP/1.1, or the reply is too large.
        """
        if not self._size_without_body and (reply := self._read_at_once(data)) is not None:
            self._is_complete = self.keep_alive = True
            return reply

        self._size_without_body += len(data)

        if data[-1] in _LINE_END:
            # httptools ignores empty lines between replies. They are told from the end of this one
            # by the last byte: it must be what completes the reply.
            self._feed(data[:-1])

            if self._is_complete:
                self.keep_alive = False
                return self._reply()

            data = data[-1:]

        self._feed(data)

        if self._is_complete:
            return self._reply()

        # httptools keeps what is not complete, such as a header without an end.
        _check_size(self._size_without_body, MAX_HEAD_BYTES, "the head of the reply")
        return None

    def receive_end(self) -> Reply:
        """Take the end of the connection, which also ends a reply that names no length.

        :return: The reply.
        :raises ProtocolError: if the reply is not complete.
        """
        headers = self._reply_headers

        if headers is None or not _LENGTH_HEADERS.isdisjoint(headers):
            raise ProtocolError("the connection was closed before the reply was complete")

        return self._reply()

    def _read_at_once(self, data: Buffer) -> Reply | None:
        """As :func:`_whole_reply`, sooner where the last two replies had the same headers."""
        usual = self._usual

        if usual is not None and (reply := usual.whole_reply(data)) is not None:
            return reply

        reply = _whole_reply(data)

        if reply is not None:
            shape = tuple(reply.headers), reply.headers.get("connection")

            # Some servers send other names each time.
            if shape == self._shape:
                self._usual = _UsualReplies.of(*shape)

            self._shape = shape

        return reply

    def _feed(self, data: Buffer) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._handle(error)

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
            raise raised or ProtocolError(str(error)) from error

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
        """Called by httptools, several times for each reply."""
        self._header_count += 1
        self._head_size += len(name) + len(value)

        if self._header_count > MAX_HEADERS or self._head_size > MAX_HEAD_BYTES:
            _check_size(self._header_count, MAX_HEADERS, "the number of headers")
            _check_size(self._head_size, MAX_HEAD_BYTES, "the head of the reply")

        key, text = str(name, "latin-1").lower(), str(value, "latin-1")
        headers = self._headers
        headers[key] = f"{headers[key]}, {text}" if key in headers else text

    def on_headers_complete(self) -> None:
        """Called by httptools."""
        self._status_code = self._parser.get_status_code()
        self._reply_headers = self._headers
        # The trailers of a chunked reply are not among its headers.
        self._headers = {}

    def on_status(self, reason: bytes) -> None:
        """Called by httptools."""
        self._head_size += len(reason)
        _check_size(self._head_size, MAX_HEAD_BYTES, "the head of the reply")

    def on_chunk_header(self) -> None:
        """Called by httptools."""
        self._size_without_body = 0

    def on_body(self, body: bytes) -> None:
        """Called by httptools."""
        self._size_without_body = 0
        self._body_size += len(body)
        _check_size(self._body_size, MAX_BODY_BYTES, "the body")
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Called by httptools."""
        if self._status_code < _FIRST_FINAL_STATUS:
            self._reply_headers = None
        else:
            self._is_complete = True
            self.keep_alive = self._parser.should_keep_alive()


def _whole_reply(data: Buffer) -> Reply | None:
    """The reply, if it is an ordinary one that was read at once.

    Nearly all replies of DynamoDB are: status 200, headers that say nothing about the connection, a
    length, and as many bytes. To call a function for each header would take several times as long.

    :param data: The first bytes after a request.
    :return: The reply; ``None`` if httptools has to read it.
    """
    head = _ORDINARY_HEAD.match(data)

    if head is None or head.end() > MAX_HEAD_BYTES:
        return None

    lines: list[tuple[str, str]] = _HEADER.findall(head[1].decode())
    names, values = zip(*lines, strict=True)
    headers = dict(zip(map(_lower, names), values, strict=True))
    length = headers.get(_LENGTH, "")

    if (
        not length.isdecimal()
        or len(length) > _DIGITS_OF_LENGTH
        or head.end() + int(length) != len(data)
        or len(headers) != len(lines)
        or len(lines) > MAX_HEADERS
        or int(length) > MAX_BODY_BYTES
        or not (_FOR_HTTPTOOLS.isdisjoint(headers) or _only_keeps_alive(headers))
    ):
        return None

    return Reply(200, headers, bytes(data[head.end() :]))


class _UsualReplies:
    """Ordinary replies whose headers have certain names, in a certain order: what was found out
    about one holds for the others.

    :param names: The names, in lower case.
    :param connection: The value of the header ``Connection``, if there is one.
    """

    def __init__(self, names: tuple[str, ...], connection: str | None) -> None:
        values = dict.fromkeys(names, b"(%b)" % _VALUE)
        values[_LENGTH] = b"([0-9]{1,%d})" % _DIGITS_OF_LENGTH

        if connection is not None:
            values["connection"] = b"(%b)" % re.escape(connection.encode("ascii"))

        lines = [b"(?i:%b): %b\r\n" % (re.escape(n.encode()), values[n]) for n in names]
        self._head = re.compile(rb"HTTP/1\.1 200 [ -~]*\r\n%b\r\n" % b"".join(lines))
        self._names = names
        self._length = names.index(_LENGTH)

    @classmethod
    @functools.lru_cache(maxsize=16)
    def of(cls, names: tuple[str, ...], connection: str | None) -> _UsualReplies:
        """The replies like one that is ordinary.

        The parameters are those of the class.
        """
        return cls(names, connection)

    def whole_reply(self, data: Buffer) -> Reply | None:
        """As :func:`_whole_reply`; ``None`` also for an ordinary one with other headers."""
        head = self._head.match(data)

        if head is None:
            return None

        values, end = head.groups(), head.end()
        size = int(values[self._length])

        if end + size != len(data) or size > MAX_BODY_BYTES or end > MAX_HEAD_BYTES:
            return None

        headers = dict(zip(self._names, map(bytes.decode, values), strict=True))
        return Reply(200, headers, bytes(data[end:]))


# A server sends the same few names again and again.
_lower = functools.lru_cache(maxsize=128)(str.lower)


def _only_keeps_alive(headers: dict[str, str]) -> bool:
    return (
        headers.get("connection", "").lower() == "keep-alive"
        and len(_FOR_HTTPTOOLS & headers.keys()) == 1
    )


def _check_size(size: int, limit: int, what: str) -> None:
    """
    :raises ProtocolError: if something is too large.
    """
    if size > limit:
        raise ProtocolError(f"{what} is over the limit of {limit:,}")
