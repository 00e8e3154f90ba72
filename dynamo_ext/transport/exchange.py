"""A request and its reply, over a connection that is open already.

Botocore and urllib3 send headers and body one after the other, set the socket's timeout twice, and
parse the few headers of a reply as those of an e-mail. Here a request leaves in one piece, and the
reply is read in as few steps as there are. Connections are urllib3's, from its pools; it opens and
checks them, and whatever is unusual about a request goes botocore's way altogether. So does
everything while another tool has put itself between botocore, urllib3 and ``http.client``.
"""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import dataclasses
import errno
import functools
import http.client
import io
import logging
import os
import queue
import re
import socket
import ssl
import types
import typing as t
import urllib.parse
import weakref

import botocore.awsrequest
import botocore.client
import botocore.exceptions
import botocore.httpsession
import urllib3
import urllib3.connection
import urllib3.connectionpool
import urllib3.exceptions
from urllib3.util.connection import is_connection_dropped

from ..calls import deadline

_END = b"\r\n\r\n"
_LARGE = 64 * 1024
_LARGEST = 1024 * 1024
_LEGAL_NAME = re.compile(r"[!#-'*+\-.0-9A-Z^-z|~]+")
# Anything else is left to the standard library's parser.
_PLAIN_HEAD = re.compile(
    rb"HTTP/1\.1 ([2-5]\d\d)[ -~]*((?:\r\n[!#-'*+\-.0-9A-Z^-z|~]+:[ \t]*[!-~](?:[ -~]*[!-~])?)+)"
)
_FOLD = re.compile(r"[ \t]*\r\n[ \t]+")
_WITHOUT_CONTENT = frozenset({204, 304})
_ADDED_BY_OTHERS = frozenset({"accept-encoding", "expect", "host", "transfer-encoding"})
_SWALLOWED = frozenset({errno.EPIPE, errno.ECONNRESET, errno.EPROTOTYPE})
_CONNECTIONS = frozenset(
    {botocore.awsrequest.AWSHTTPConnection, botocore.awsrequest.AWSHTTPSConnection}
)
_MANY = 64
_pool_logger = logging.getLogger(urllib3.connectionpool.__name__)


def install(client: botocore.client.BaseClient) -> None:
    """Make a client send its ordinary requests by an :class:`Exchange`.

    :param client: The client.
    """
    http_session = t.cast(t.Any, client)._endpoint.http_session
    http_session.send = Exchange(http_session).send


class Exchange:
    """Sends ordinary requests over the connections of botocore's HTTP session, and others by it.

    :param http_session: Botocore's session.
    """

    def __init__(self, http_session: t.Any) -> None:
        self._http_session = http_session
        self._routes: dict[str, _Route | None] = {}

    def send(self, request: t.Any) -> t.Any:
        """Send a request.

        :param request: Botocore's prepared request.
        :return: Botocore's response, with its content.
        :raises HTTPClientError: as botocore does.
        """
        route = self._route(request.url) if _is_ordinary(request) else None
        pool = None if route is None else self._pool(route)
        message = None if route is None else _message(route.opening, request)
        connection = None if message is None else _open_connection(pool)

        if pool is None or message is None or connection is None:
            return self._http_session.__class__.send(self._http_session, request)

        try:
            reply = _exchange(pool, connection, message)

            if reply.is_last:
                connection.close()
        except Exception as error:
            connection.close()
            raise _as_botocore(error, request) from error
        except BaseException:
            connection.close()
            raise
        finally:
            pool._put_conn(connection)

        return _Response(request.url, reply)

    def _route(self, url: str) -> _Route | None:
        try:
            return self._routes[url]
        except KeyError:
            route = self._make_route(url)

            if len(self._routes) < _MANY:
                self._routes[url] = route

            return route

    def _make_route(self, url: str) -> _Route | None:
        parts, proxies = urllib.parse.urlsplit(url), self._http_session._proxy_config

        if parts.path != "/" or parts.query or parts.username or proxies.proxy_url_for(url):
            return None

        pool = self._http_session._manager.connection_from_url(url)
        return _Route(url, _opening(pool), weakref.ref(pool))

    def _pool(self, route: _Route) -> t.Any:
        pool = route.pool()

        if pool is None or pool.pool is None:
            pool = self._http_session._manager.connection_from_url(route.url)
            route.pool = weakref.ref(pool)

        return pool


@dataclasses.dataclass
class _Route:
    """Where requests to one URL go, and how each of them begins."""

    url: str
    opening: bytes
    pool: weakref.ref[t.Any]
    """Nothing else may keep it: its connections are closed with it."""


class _Recorder(http.client.HTTPConnection):
    """Keeps what it would send."""

    sent = b""

    def send(self, data: t.Any) -> None:
        self.sent += data


def _opening(pool: t.Any) -> bytes:
    """Request line and first headers, as the standard library writes them."""
    connection = pool.ConnectionCls(pool.host, pool.port)
    recorder = _Recorder(connection.host, connection.port)
    recorder.default_port = connection.default_port
    recorder.putrequest("POST", "/")
    recorder.endheaders()
    return recorder.sent.removesuffix(b"\r\n")


def _open_connection(pool: t.Any) -> t.Any:
    """A connection of a pool that is open already; ``None`` if there is none of the usual kind.

    None is made here: botocore tells the pool first which certificates to trust.
    """
    try:
        connection = pool.pool.get(block=False)
    except (AttributeError, queue.Empty):
        # The pool was closed, or all its connections are in use.
        return None

    if (
        connection is not None
        and connection.sock.__class__ in {socket.socket, ssl.SSLSocket}
        and connection.__class__ in _CONNECTIONS
        and not connection.debuglevel
        and not is_connection_dropped(connection)
    ):
        return connection

    pool._put_conn(connection)
    return None


def _is_ordinary(request: t.Any) -> bool:
    context: dict[str, t.Any] = getattr(request, "context", None) or {}
    return (
        request.method == "POST"
        and type(request.body) is bytes
        and not request.stream_output
        and "read_timeout" not in context
        and not _pool_logger.isEnabledFor(logging.DEBUG)
        and "BOTO_EXPERIMENTAL__ADD_PROXY_HOST_HEADER" not in os.environ
        and _hooks() == _ORIGINAL_HOOKS
    )


def _message(opening: bytes, request: t.Any) -> bytes | None:
    """The request as it leaves; ``None`` where its headers are unusual."""
    lines = [opening]
    names: set[str] = set()

    for name, value in request.headers.items():
        if type(value) is str:
            value = value.encode() if value.isascii() else None

        start = _start(name)

        if type(value) is not bytes or start is None:
            return None

        names.add(name.lower())
        lines.append(b"%b%b\r\n" % (start, value))

    head = b"".join(lines)
    ends = opening.count(b"\n") + len(names)

    if (
        not names.isdisjoint(_ADDED_BY_OTHERS)
        or "user-agent" not in names
        or "content-length" not in names
        or not head.count(b"\r") == head.count(b"\n") == ends
    ):
        return None

    return b"%b\r\n%b" % (head, request.body)


@functools.lru_cache(maxsize=128)
def _start(name: str) -> bytes | None:
    """How a header's line begins; ``None`` for one that is not to be sent."""
    return f"{name}: ".encode() if _LEGAL_NAME.fullmatch(name) else None


def _exchange(pool: t.Any, connection: t.Any, message: bytes) -> _Reply:
    pool._validate_conn(connection)
    pool.num_requests += 1
    sock, seconds = connection.sock, _seconds_to_read(pool.timeout)

    if sock.gettimeout() != seconds:
        sock.settimeout(seconds)

    try:
        connection.send(message)
    except TimeoutError as error:
        raise urllib3.exceptions.ProtocolError("Connection aborted.", error) from error
    except OSError as error:
        # The server may have answered before it went.
        if error.errno not in _SWALLOWED:
            raise

    return _read(sock)


def _seconds_to_read(timeout: urllib3.Timeout) -> float | None:
    if isinstance(timeout, deadline.Timeout):
        return timeout.seconds_to_read()

    return timeout.clone().read_timeout


@dataclasses.dataclass(frozen=True)
class _Reply:
    status: int
    headers: cabc.Mapping[str, str]
    body: bytes
    is_last: bool
    """Whether the connection is of no use any more."""


def _read(sock: socket.socket) -> _Reply:
    data = sock.recv(_LARGE)
    end = data.find(_END)
    head = None if end < 0 else _PLAIN_HEAD.fullmatch(data, 0, end)

    if head is None:
        return _read_by_standard_library(sock, data)

    lines = head[2].decode().split("\r\n")[1:]
    headers = {name: value.lstrip(" \t") for name, _, value in [n.partition(":") for n in lines]}
    known = {name.lower(): value for name, value in headers.items()}
    length, status = known.get("content-length", ""), int(head[1])

    if (
        len(known) != len(lines)
        or not length.isdigit()
        or "transfer-encoding" in known
        or status in _WITHOUT_CONTENT
    ):
        return _read_by_standard_library(sock, data)

    body = _rest(sock, data[end + len(_END) :], int(length))
    is_last = len(body) != int(length) or "close" in known.get("connection", "").lower()
    return _Reply(status, headers, body[: int(length)], is_last)


def _rest(sock: socket.socket, body: bytes, length: int) -> bytes:
    """The whole body; less where the connection ends too early."""
    parts, missing = [body], length - len(body)

    while missing > 0:
        part = sock.recv(min(missing, _LARGEST))

        if not part:
            break

        parts.append(part)
        missing -= len(part)

    return b"".join(parts)


def _read_by_standard_library(sock: socket.socket, data: bytes) -> _Reply:
    response = http.client.HTTPResponse(t.cast(t.Any, _Again(sock, data)), method="POST")

    # Left open, it would be closed with the error that refers to it, in any order.
    with contextlib.closing(response):
        response.begin()
        body = b"".join(iter(lambda: response.read(_LARGE), b""))
        is_last = response.will_close or not response.isclosed()

    message = response.headers
    headers = {
        name: ", ".join(_FOLD.sub(" ", value) for value in message.get_all(name, []))
        for name in {name.lower(): name for name in reversed(message.keys())}.values()
    }
    return _Reply(response.status, headers, body, is_last)


class _Again(io.RawIOBase):
    """A socket some of whose data were read already."""

    def __init__(self, sock: socket.socket, data: bytes) -> None:
        self._sock = sock
        self._data = data

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: t.Any) -> int:
        if not self._data:
            return self._sock.recv_into(buffer)

        data = self._data[: len(buffer)]
        self._data = self._data[len(data) :]
        buffer[: len(data)] = data
        return len(data)


class _Headers(botocore.awsrequest.HeadersDict):
    """Botocore's headers, with names that are compared as they are stored."""

    def __init__(self, headers: cabc.Mapping[str, str]) -> None:
        self._by_name = {name.lower(): (name, value) for name, value in headers.items()}

    def __setitem__(self, key: str, value: t.Any) -> None:
        lower = key.lower()
        name, _ = self._by_name.get(lower, (key, None))
        self._by_name[lower] = name, value

    def __getitem__(self, key: str) -> t.Any:
        return self._by_name[key.lower()][1]

    def __delitem__(self, key: str) -> None:
        del self._by_name[key.lower()]

    def __iter__(self) -> cabc.Iterator[str]:
        return iter([name for name, _ in self._by_name.values()])

    def __len__(self) -> int:
        return len(self._by_name)

    def __repr__(self) -> str:
        return repr(dict(self._by_name.values()))

    def copy(self) -> _Headers:
        return _Headers(dict(self._by_name.values()))


class _Response(botocore.awsrequest.AWSResponse):
    """Botocore's response, of a reply that is here already."""

    def __init__(self, url: str, reply: _Reply) -> None:
        nothing = t.cast(t.Any, {})
        super().__init__(url, reply.status, nothing, _Content(reply.body))
        self.headers: t.Any = _Headers(reply.headers)


class _Content(io.BytesIO):
    """Stands for urllib3's response, of which botocore wants the content."""

    def stream(
        self, amt: int | None = None, decode_content: bool | None = None
    ) -> cabc.Iterator[bytes]:
        # As a rule everything at once, which copies nothing.
        while part := self.read(amt):
            yield part


def _as_botocore(error: Exception, request: t.Any) -> Exception:
    """What botocore makes of an error of the exchange."""
    url, exceptions = request.url, urllib3.exceptions

    if isinstance(error, TimeoutError):
        timeout = exceptions.ReadTimeoutError(t.cast(t.Any, None), url, str(error))
        return botocore.exceptions.ReadTimeoutError(endpoint_url=url, error=timeout)

    if isinstance(error, ssl.SSLError):
        return botocore.exceptions.SSLError(endpoint_url=url, error=exceptions.SSLError(error))

    if isinstance(error, (OSError, http.client.HTTPException)):
        error = exceptions.ProtocolError("Connection aborted.", error)

    if isinstance(error, exceptions.ProtocolError):
        return botocore.exceptions.ConnectionClosedError(
            endpoint_url=url, error=error, request=request
        )

    return botocore.exceptions.HTTPClientError(error=error)


def _hooks() -> tuple[t.Any, ...]:
    """What tools replace that trace, record or mock."""
    connection: t.Any = http.client.HTTPConnection
    connection_of_urllib3: t.Any = urllib3.connection.HTTPConnection
    pool: t.Any = urllib3.connectionpool.HTTPConnectionPool
    return (
        botocore.httpsession.URLLib3Session.send,
        botocore.awsrequest.AWSConnection.request,
        pool.urlopen,
        connection_of_urllib3.request,
        connection.request,
        connection.putrequest,
        connection.putheader,
        connection.endheaders,
        connection.getresponse,
        http.client.HTTPResponse.read,
    )


def _are_untouched(hooks: cabc.Iterable[t.Any]) -> bool:
    return all(
        isinstance(hook, types.FunctionType)
        and not hasattr(hook, "__wrapped__")
        and hook.__module__.partition(".")[0] in {"botocore", "http", "urllib3"}
        for hook in hooks
    )


_ORIGINAL_HOOKS = _hooks() if _are_untouched(_hooks()) else None
