"""When a connection of the transport ``direct`` may be used again, from the bytes on its socket."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import ipaddress
import socket
import ssl
import threading
import time
import typing as t

import pytest
import urllib3.connection
from cryptography import x509

import engines
from authority import Authority
from dynamo_ext.transport.direct.connections import BrokenConnection
from dynamo_ext.transport.direct.connections import Home
from dynamo_ext.transport.direct.connections import HTTP11Connection
from dynamo_ext.transport.direct.connections import IdleConnections
from dynamo_ext.transport.direct.connections import NoReplyInTime
from dynamo_ext.transport.template import Origin
from threads import at_once
from threads import beside

pytestmark = pytest.mark.once(reason="sockets are used directly")

DEADLINE = 5.0
REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
LARGE = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\n" + b"x" * 20_000_000
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"


def reply(body: bytes, *headers: str, status: int = 200) -> bytes:
    head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


MINE = reply(b"mine")
FOREIGN = reply(b"foreign")


class Peers(t.NamedTuple):
    """The two ends of a connection."""

    client: HTTP11Connection
    server: socket.socket


class Contexts(t.NamedTuple):
    """Those of a server and of a client, for TLS."""

    server: ssl.SSLContext
    client: ssl.SSLContext


@pytest.fixture
def contexts(authority: Authority) -> Contexts:
    server = authority.server(x509.IPAddress(ipaddress.ip_address(engines.HOST)))
    return Contexts(server, ssl.create_default_context(cafile=str(authority.bundle)))


@pytest.fixture(params=["plain", "TLSv1_2", "TLSv1_3"])
def peers(request: pytest.FixtureRequest, contexts: Contexts) -> cabc.Iterator[Peers]:
    """A connection, also with TLS."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((engines.HOST, 0)))
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()

        if request.param != "plain":
            contexts.server.maximum_version = ssl.TLSVersion[request.param]
            done: list[ssl.SSLSocket] = []
            thread = threading.Thread(
                target=lambda: done.append(contexts.server.wrap_socket(server, server_side=True))
            )
            thread.start()
            client = contexts.client.wrap_socket(client, server_hostname=engines.HOST)
            thread.join()
            server = done[0]

        stack.enter_context(server)
        server.settimeout(DEADLINE)
        opened = urllib3.connection.HTTPConnection(engines.HOST)
        opened.sock = client
        connection = HTTP11Connection(opened, client)
        stack.callback(connection.close)
        yield Peers(connection, server)


def exchange(
    peers: Peers, request: bytes = REQUEST, seconds: float = DEADLINE
) -> tuple[int, bytes]:
    answer = peers.client.begin(request) or peers.client.complete(lambda: seconds)
    return answer.status_code, answer.body


def read(server: socket.socket, size: int) -> None:
    while size:
        received = server.recv(size)
        assert received
        size -= len(received)


def wait_until_it_is_not_idle(peers: Peers) -> None:
    end = time.monotonic() + DEADLINE

    while peers.client.is_idle:
        assert time.monotonic() < end
        time.sleep(0.001)


# --- what comes after a reply


def test_a_connection_with_nothing_behind_its_reply_is_used_again(peers: Peers) -> None:
    for _ in range(3):
        peers.server.sendall(MINE)
        assert exchange(peers) == (200, b"mine")
        assert peers.client.is_reusable
        assert peers.client.is_idle
        read(peers.server, len(REQUEST))


@pytest.mark.parametrize(
    "surplus",
    [FOREIGN, FOREIGN[:9], b"x", b"\r\n", CONTINUE],
    ids=["reply", "part", "x", "n", "100"],
)
def test_bytes_behind_the_reply_end_the_connection(peers: Peers, surplus: bytes) -> None:
    """In one segment, and with TLS in one record: then the socket itself shows nothing."""
    peers.server.sendall(MINE + surplus)
    assert exchange(peers) == (200, b"mine")
    wait_until_it_is_not_idle_or_reusable(peers)


def wait_until_it_is_not_idle_or_reusable(peers: Peers) -> None:
    if peers.client.is_reusable:
        wait_until_it_is_not_idle(peers)


def test_a_record_behind_the_record_of_the_reply_ends_the_connection(peers: Peers) -> None:
    peers.server.sendall(MINE)
    peers.server.sendall(FOREIGN)
    assert exchange(peers) == (200, b"mine")
    wait_until_it_is_not_idle_or_reusable(peers)


def test_bytes_that_come_later_end_the_connection(peers: Peers) -> None:
    peers.server.sendall(MINE)
    assert exchange(peers) == (200, b"mine")
    assert peers.client.is_reusable
    peers.server.sendall(b"x")
    wait_until_it_is_not_idle(peers)


def test_a_part_of_a_record_ends_the_connection(peers: Peers) -> None:
    peers.server.sendall(MINE)
    assert exchange(peers) == (200, b"mine")
    assert peers.client.is_reusable
    # Beside TLS, which alone could complete it.
    with socket.socket(fileno=peers.server.detach()) as below:
        below.sendall(b"\x17\x03\x03\x40")
        wait_until_it_is_not_idle(peers)


@pytest.mark.parametrize("ending", ["unwrap", "close"])
def test_a_connection_that_the_server_ends_is_not_idle(peers: Peers, ending: str) -> None:
    peers.server.sendall(MINE)
    assert exchange(peers) == (200, b"mine")

    if ending == "unwrap" and isinstance(peers.server, ssl.SSLSocket):
        read(peers.server, len(REQUEST))
        peers.server.settimeout(0)

        with contextlib.suppress(ssl.SSLWantReadError):
            peers.server.unwrap()
    else:
        peers.server.close()

    wait_until_it_is_not_idle(peers)


def test_interim_replies_are_passed_over_also_when_the_reply_is_late(peers: Peers) -> None:
    def serve() -> None:
        for _ in range(3):
            read(peers.server, len(REQUEST))
            peers.server.sendall(HINTS)
            peers.server.sendall(CONTINUE)
            peers.server.sendall(MINE[:5])
            peers.server.sendall(MINE[5:])

    with beside(serve):
        for _ in range(3):
            assert exchange(peers) == (200, b"mine")
            assert peers.client.is_reusable


def test_an_interim_reply_alone_is_no_reply(peers: Peers) -> None:
    peers.server.sendall(CONTINUE)

    with pytest.raises(NoReplyInTime):
        exchange(peers, seconds=0.05)

    assert not peers.client.is_reusable


@pytest.mark.parametrize("announced", ["Connection: close", "X: y"])
def test_a_reply_before_the_end_of_its_connection_is_read(peers: Peers, announced: str) -> None:
    peers.server.sendall(reply(b"mine", announced))
    peers.server.close()
    assert exchange(peers) == (200, b"mine")
    wait_until_it_is_not_idle_or_reusable(peers)


# --- what comes before the request is wholly sent


@pytest.mark.parametrize("headers", [(), ("Connection: close",)], ids=["kept", "closing"])
def test_a_reply_to_a_request_that_is_not_read_is_read(
    peers: Peers, headers: tuple[str, ...]
) -> None:
    """The server neither reads on nor closes."""
    peers.server.sendall(reply(b"too large", *headers, status=413))
    assert exchange(peers, LARGE) == (413, b"too large")
    assert not peers.client.is_reusable


def test_a_reply_that_begins_while_the_request_is_sent_is_read(peers: Peers) -> None:
    content = reply(b"b" * 1_000_000, status=400)

    def serve() -> None:
        read(peers.server, 100_000)
        peers.server.sendall(content[:50])
        peers.server.sendall(content[50:])

    with beside(serve):
        assert exchange(peers, LARGE) == (400, b"b" * 1_000_000)

    assert not peers.client.is_reusable


def test_a_reply_wins_over_a_broken_pipe(peers: Peers) -> None:
    """What the server has not read makes the system reset the connection."""
    below = socket.socket(fileno=peers.server.fileno())
    peers.server.sendall(reply(b"too large", status=413))
    below.close()
    peers.server.detach()

    with pytest.raises(OSError):  # noqa: PT011 - whichever the system says
        while True:
            peers.client._sock.send(b"x" * 1000)
            time.sleep(0.001)

    assert exchange(peers, LARGE) == (413, b"too large")
    assert not peers.client.is_reusable


@pytest.mark.parametrize("said", [b"", CONTINUE, reply(b"mine")[:-1]], ids=["", "100", "a part"])
def test_a_connection_that_breaks_without_a_reply_is_an_error(peers: Peers, said: bytes) -> None:
    def serve() -> None:
        read(peers.server, 1000)
        peers.server.sendall(said)
        peers.server.close()

    with beside(serve), pytest.raises(BrokenConnection):
        exchange(peers, LARGE)

    assert not peers.client.is_reusable


def test_an_interim_reply_does_not_end_a_request_that_is_being_sent(peers: Peers) -> None:
    def serve() -> None:
        peers.server.sendall(CONTINUE)
        read(peers.server, len(LARGE))
        peers.server.sendall(MINE)

    with beside(serve):
        assert exchange(peers, LARGE) == (200, b"mine")

    assert peers.client.is_reusable


def test_a_server_that_reads_nothing_and_says_nothing_is_left(peers: Peers) -> None:
    with pytest.raises(NoReplyInTime):
        exchange(peers, LARGE, seconds=0.05)

    assert not peers.client.is_reusable


# --- where idle ones are kept

URL = "https://1111.ddb.eu-west-1.amazonaws.com"


def test_origins_are_scheme_host_and_port() -> None:
    assert Origin.of(URL) == Origin("https", "1111.ddb.eu-west-1.amazonaws.com", 443)
    assert Origin.of(URL + ":443/a?b") == Origin.of(URL + "/c")
    assert Origin.of("http://[::1]:8000") == Origin("http", "::1", 8000)
    urls = [URL, URL.replace("1111", "2222"), URL.replace("https", "http"), URL + ":8443"]
    assert len({Origin.of(url) for url in urls}) == 4


@pytest.mark.parametrize("peers", ["plain"], indirect=True)
def test_a_connection_is_given_out_for_its_origin_alone(peers: Peers) -> None:
    idle = IdleConnections()
    origin, other = Origin.of(URL), Origin.of(URL.replace("1111", "2222"))
    peers.server.sendall(MINE)
    exchange(peers)
    home = idle.home(origin)
    idle.give(peers.client, origin, home)
    assert idle.take(idle.home(other)) is None
    assert idle.take(idle.home(origin)) is peers.client
    assert idle.take(idle.home(origin)) is None


@pytest.mark.parametrize("peers", ["plain"], indirect=True)
def test_connections_of_an_origin_that_is_out_of_use_are_closed(peers: Peers) -> None:
    idle = IdleConnections()
    origin = Origin.of(URL)
    peers.server.sendall(MINE)
    exchange(peers)
    read(peers.server, len(REQUEST))
    idle.give(peers.client, origin, idle.home(origin))

    for number in range(20):
        idle.home(Origin.of(f"http://{number}.example"))

    assert peers.server.recv(1) == b""


@pytest.mark.parametrize("peers", ["plain"], indirect=True)
def test_a_connection_that_comes_back_after_the_close_is_closed(peers: Peers) -> None:
    idle = IdleConnections()
    origin = Origin.of(URL)
    home = idle.home(origin)
    peers.server.sendall(MINE)
    exchange(peers)
    read(peers.server, len(REQUEST))
    idle.close()
    idle.give(peers.client, origin, home)
    assert peers.server.recv(1) == b""
    assert idle.take(idle.home(origin)) is None
    # A call may have looked for its home before the close.
    assert idle.take(home) is None


@pytest.mark.parametrize("peers", ["plain"], indirect=True)
def test_a_connection_that_is_taken_while_it_comes_back_stays_open(peers: Peers) -> None:
    class TakenAtOnce(Home):
        def append(self, connection: HTTP11Connection) -> None:
            super().append(connection)
            assert idle.take(self) is connection

    idle = IdleConnections()
    peers.server.sendall(MINE)
    exchange(peers)
    # Not the home of the origin any more.
    idle.give(peers.client, Origin.of(URL), TakenAtOnce())
    peers.server.sendall(MINE)
    assert exchange(peers)[0] == 200


def test_threads_agree_on_a_home() -> None:
    for _ in range(20):
        idle = IdleConnections()

        def home(_: int, idle: IdleConnections = idle) -> int:
            return id(idle.home(Origin.of(URL)))

        assert len(set(at_once(home, 4))) == 1
