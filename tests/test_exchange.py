"""A request and its reply over an open connection: the bytes, the result and the errors are those
of botocore and urllib3."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import dataclasses
import http.client
import logging
import socket
import threading
import time
import typing as t

import botocore.awsrequest
import botocore.config
import botocore.httpsession
import botocore.session
import hypothesis
import pytest
import urllib3.connectionpool
from hypothesis import strategies as st

from conftest import InApp
from dynamo_ext.errors import CallTimeout
from dynamo_ext.transport import exchange
from stub import Answer
from stub import Stub

KEY = {"id": {"S": "1"}}
START = b"HTTP/1.1 200 OK\r\n"
HEADERS = {"X-Amz-Target": "DynamoDB_20120810.GetItem", "User-Agent": "test"}


@dataclasses.dataclass(frozen=True)
class Talk:
    """What a request gets."""

    pieces: tuple[bytes, ...]
    is_last: bool = False
    """The connection ends after it."""

    is_followed_by_silence: bool = False


class Script:
    """A server that answers its n-th request with the n-th answer.

    :param answers: The answers.
    """

    def __init__(self, *answers: Talk) -> None:
        self._answers = list(answers)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        self.requests: list[bytes] = []
        self.pieces: list[int] = []
        """How many pieces each request came in."""
        self.connections = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> t.Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._answers.clear()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()

    def _serve(self) -> None:
        while self._answers:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return

            self.connections += 1

            with connection, contextlib.suppress(OSError):
                self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        while self._answers and (request := self._read(connection)):
            self.requests.append(request)
            answer = self._answers.pop(0)

            for number, piece in enumerate(answer.pieces):
                time.sleep(0.01 if number else 0)
                connection.sendall(piece)

            if answer.is_followed_by_silence:
                connection.recv(1)

            if answer.is_last:
                return

    def _read(self, connection: socket.socket) -> bytes:
        data, pieces = b"", 0

        while b"\r\n\r\n" not in data or len(data.partition(b"\r\n\r\n")[2]) < _length(data):
            piece = connection.recv(1 << 20)

            if not piece:
                return b""

            data += piece
            pieces += 1

        self.pieces.append(pieces)
        return data


OK = Talk((START + b"Content-Length: 2\r\n\r\n{}",))
CHUNKED = START + b"Transfer-Encoding: chunked\r\n\r\n"


def _length(data: bytes) -> int:
    return int(data.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])


def make_request(
    url: str, body: bytes = b'{"a": 1}', headers: cabc.Mapping[str, t.Any] = HEADERS
) -> t.Any:
    request: t.Any = t.cast(t.Any, botocore.awsrequest.AWSRequest)(
        method="POST", url=url, headers=headers, data=body
    )
    return request.prepare()


def make_session(timeout: float = 5) -> t.Any:
    make: t.Any = botocore.httpsession.URLLib3Session
    return make(timeout=(timeout, timeout))


def outcomes(session: t.Any, requests: cabc.Iterable[t.Any]) -> list[t.Any]:
    """What each request gets."""
    results: list[t.Any] = []

    for request in requests:
        try:
            response = session.send(request)
        except Exception as error:
            results.append(type(error))
        else:
            headers = sorted(response.headers.items())
            results.append((response.status_code, headers, response.content))

    return results


def both(*answers: Talk, timeout: float = 5, **request: t.Any) -> tuple[list[t.Any], Script]:
    """What our exchange makes of a conversation, which has to be what botocore does."""
    conversations: list[tuple[Script, list[t.Any]]] = []

    for is_ours in (False, True):
        session = make_session(timeout)

        if is_ours:
            session.send = exchange.Exchange(session).send

        with Script(*answers) as script:
            requests = [make_request(script.url, **request) for _ in answers]
            results = outcomes(session, requests)
            session.close()

        conversations.append((script, results))

    (theirs, expected), (ours, actual) = conversations
    assert actual == expected
    assert [_without_port(each) for each in ours.requests] == [
        _without_port(each) for each in theirs.requests
    ]
    assert ours.connections == theirs.connections
    return actual, ours


def _without_port(request: bytes) -> bytes:
    head, _, rest = request.partition(b"\r\nHost: ")
    return head + rest.partition(b"\r\n")[1] + rest.partition(b"\r\n")[2]


ANSWERS = {
    "plain": START + b"Content-Length: 2\r\n\r\n{}",
    "error": b'HTTP/1.1 400 Bad\r\nContent-Length: 5\r\nx-amzn-RequestId: A\r\n\r\n{"a"}',
    "empty": b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
    "chunked": CHUNKED + b"2\r\n{}\r\n1\r\n \r\n0\r\n\r\n",
    "after 100": b"HTTP/1.1 100 Continue\r\n\r\n" + START + b"Content-Length: 2\r\n\r\n{}",
    "header twice": START + b"X-A: a\r\nx-a: b\r\nContent-Length: 2\r\n\r\n{}",
    "spaces": START + b"X-A:  a \t b  \r\nContent-Length:2\r\n\r\n{}",
    "empty header": START + b"X-A:\r\nContent-Length: 2\r\n\r\n{}",
    "latin-1": START + b"X-A: \xe4\r\nContent-Length: 2\r\n\r\n{}",
    "no reason": b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n{}",
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
    "old, kept": b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}",
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "large": START + b"Content-Length: 300000\r\n\r\n" + b"x" * 300_000,
}
LAST_ANSWERS = {
    "closed": START + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}",
    "until the end": START + b"\r\n{}",
    "old": b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "cut chunk": CHUNKED + b"9\r\n{}",
    "bad chunk": CHUNKED + b"no number\r\n{}",
    "cut head": START + b"Content-",
    "another protocol": b"HTTP/2 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "no HTTP": b"no HTTP at all\r\n\r\n",
    "no header": START + b"no header\r\nContent-Length: 2\r\n\r\n{}",
    "two lengths": START + b"Content-Length: 2, 2\r\n\r\n{}",
    "negative length": START + b"Content-Length: -2\r\n\r\n{}",
    "long header": START + b"X-A: " + b"a" * 70_000 + b"\r\nContent-Length: 2\r\n\r\n{}",
    "nothing": b"",
}
IN_PIECES = {
    "head in pieces": (b"HTTP", b"/1.1 200 OK\r\nContent-Length: 4\r\n\r", b"\n{", b"} ", b" "),
    "body in pieces": (START + b"Content-Length: 4\r\n\r\n", b"{", b"} ", b" "),
    "chunks in pieces": (CHUNKED, b"2\r", b"\n{}\r\n0\r\n\r\n"),
}


# In each of these, the first reply opens the connection, and the last shows of what use it is.
@pytest.mark.parametrize("name", ANSWERS)
def test_a_reply_is_taken_as_by_botocore(name: str) -> None:
    results, script = both(OK, Talk((ANSWERS[name],)), OK)
    assert script.connections == 1
    assert results[2][0] == 200


def by_ours(*answers: Talk) -> tuple[list[t.Any], Script]:
    """What our exchange makes of a conversation, where releases of urllib3 differ."""
    with Script(*answers) as script:
        session = make_session()
        session.send = exchange.Exchange(session).send
        results = outcomes(session, [make_request(script.url)] * len(answers))
        session.close()

    return results, script


def test_a_header_on_two_lines_is_one() -> None:
    # As by the later releases of urllib3; by others, it keeps the end of its first line.
    folded = Talk((START + b"X-A: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",))
    results, _ = by_ours(OK, folded)
    assert results[1] == (200, [("Content-Length", "2"), ("X-A", "a b")], b"{}")


def test_what_there_is_of_a_reply_that_was_cut_ends_the_connection() -> None:
    # As by the later releases of urllib3; others compare the length.
    cut = Talk((START + b"Content-Length: 9\r\n\r\n{}",), is_last=True)
    results, script = by_ours(OK, cut, OK)
    assert results[1] == (200, [("Content-Length", "9")], b"{}")
    assert results[2][0] == 200
    assert script.connections == 2


@pytest.mark.parametrize("name", LAST_ANSWERS)
def test_a_reply_that_ends_the_connection_is_taken_as_by_botocore(name: str) -> None:
    _, script = both(OK, Talk((LAST_ANSWERS[name],), is_last=True), OK)
    assert script.connections == 2


@pytest.mark.parametrize("answer", ["nothing", "cut head", "cut chunk", "until the end"])
def test_no_reply_is_left_open(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # From Python 3.13 on, one that is left is complained of when it is collected with its error.
    made: list[http.client.HTTPResponse] = []

    class Response(http.client.HTTPResponse):
        def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
            super().__init__(*args, **kwargs)
            made.append(self)

    with Script(OK, Talk((LAST_ANSWERS[answer],), is_last=True)) as script:
        session = make_session()
        session.send = exchange.Exchange(session).send
        outcomes(session, [make_request(script.url)])
        monkeypatch.setattr(http.client, "HTTPResponse", Response)
        outcomes(session, [make_request(script.url)])
        session.close()

    assert [response.closed for response in made] == [True]
    assert made[0].isclosed()


@pytest.mark.parametrize("name", IN_PIECES)
def test_a_reply_in_pieces_is_taken_as_by_botocore(name: str) -> None:
    _, script = both(OK, Talk(IN_PIECES[name]), OK)
    assert script.connections == 1


headers = st.lists(
    st.tuples(
        st.sampled_from([b"X-A", b"x-a", b"Connection", b"X-B"]),
        st.text(" \tabc:,\x01\xe4", max_size=6).map(lambda text: text.encode("latin-1")),
    ),
    max_size=4,
)


@hypothesis.settings(deadline=None, max_examples=40)
@hypothesis.given(headers=headers, status=st.sampled_from([b"200 OK", b"400 ", b"503"]))
def test_headers_are_read_as_by_botocore(headers: list[tuple[bytes, bytes]], status: bytes) -> None:
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    answer = b"HTTP/1.1 %b\r\nContent-Length: 2\r\n%b\r\n{}" % (status, lines)
    both(OK, Talk((answer,), is_last=True))


@pytest.mark.parametrize(
    "request_headers",
    [
        {**HEADERS, "X-Bytes": b"b", "X-Empty": ""},
        {**HEADERS, "Host": "other", "Accept-Encoding": "gzip"},
        {"X-Amz-Target": "a"},
        {**HEADERS, "X-Latin": "\xe4".encode("latin-1")},
        {**HEADERS, "Content-Length": "8"},
    ],
)
def test_a_request_leaves_as_by_botocore(request_headers: dict[str, t.Any]) -> None:
    results, _ = both(OK, OK, headers=request_headers)
    assert [result[0] for result in results] == [200, 200]


@pytest.mark.parametrize("value", ["a\r\nX-B: b", "a\nb", "a\rb"])
def test_a_header_cannot_smuggle_another_one_in(value: str) -> None:
    with Script(OK, OK) as script:
        session = make_session()
        session.send = exchange.Exchange(session).send
        session.send(make_request(script.url))
        request = make_request(script.url)
        request.headers["X-A"] = value

        with pytest.raises(botocore.httpsession.HTTPClientError):
            session.send(request)

        session.close()

    assert len(script.requests) == 1


@pytest.mark.parametrize("body", [b"", b"x" * 200_000])
def test_a_body_of_any_size_arrives(body: bytes) -> None:
    both(OK, OK, body=body)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/",
        "http://localhost.:8000/",
        "http://[::1]:8000/",
        "http://[::1]/",
        "https://dynamodb.eu-west-1.amazonaws.com/",
        "https://dynamodb.eu-west-1.amazonaws.com:8000/",
        "https://dynamodb.eu-west-1.amazonaws.com:80/",
    ],
)
def test_a_request_begins_as_by_urllib3(url: str) -> None:
    sent: list[bytes] = []
    session = make_session()
    pool: t.Any = session._manager.connection_from_url(url)
    connection: t.Any = pool.ConnectionCls(pool.host, pool.port)
    connection.send = sent.append
    connection.sock, connection.timeout = socket.socket(), 1
    connection.request("POST", "/", headers={"User-Agent": "test"})
    connection.close()
    route = exchange.Exchange(session)._route(url)
    assert route is not None
    assert b"".join(sent).startswith(route.opening)
    session.close()


@pytest.mark.parametrize("path", ["prefix", "?a=b", "prefix/"])
def test_another_path_is_left_to_botocore(path: str) -> None:
    assert exchange.Exchange(make_session())._route(f"http://localhost/{path}") is None


def test_a_proxy_is_left_to_botocore() -> None:
    make: t.Any = botocore.httpsession.URLLib3Session
    session = make(proxies={"http": "http://proxy"})
    assert exchange.Exchange(session)._route("http://localhost/") is None
    assert exchange.Exchange(session)._route("https://localhost/") is not None


def test_a_request_leaves_in_one_piece() -> None:
    _, script = both(OK, OK, OK)
    assert script.pieces[1:] == [1, 1]


@pytest.mark.parametrize("piece", [b"", START, START + b"Content-Length: 9\r\n\r\n{}", CHUNKED])
def test_a_server_that_falls_silent_is_given_up_as_by_botocore(piece: bytes) -> None:
    results, _ = both(OK, Talk((piece,), is_followed_by_silence=True), timeout=0.1)
    assert results[1] is botocore.httpsession.ReadTimeoutError


names = st.sampled_from(["A", "a", "B", "x-Y", "X-y"])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("__setitem__"), names, st.text(max_size=2)),
        st.tuples(st.sampled_from(["__getitem__", "__delitem__", "get", "__contains__"]), names),
        st.tuples(st.sampled_from(["__len__", "copy"])),
    )
)


@hypothesis.given(
    start=st.dictionaries(st.sampled_from(["A", "B", "x-Y"]), st.text(max_size=2)), steps=steps
)
def test_headers_of_a_reply_behave_as_botocore_s(
    start: dict[str, str], steps: list[tuple[t.Any, ...]]
) -> None:
    theirs: t.Any = botocore.awsrequest.HeadersDict
    assert behaviour(exchange._Headers(start), steps) == behaviour(theirs(start), steps)
    assert isinstance(exchange._Headers(start), theirs)


def behaviour(headers: t.Any, steps: list[tuple[t.Any, ...]]) -> list[t.Any]:
    results: list[t.Any] = []

    for name, *arguments in steps:
        try:
            result: t.Any = getattr(headers, name)(*arguments)
        except KeyError as error:
            results.append(type(error))
        else:
            results.append(list(result.items()) if name == "copy" else result)

    return [*results, list(headers.items())]


def test_a_call_ends_with_its_deadline_on_an_open_connection_too(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    stub.next("ListTables", Answer(body={"TableNames": []}), Answer(hold=True))

    with in_app(stub_config, DYNAMODB_CALL_TIMEOUT_SECONDS=1) as db:
        db.connection.list_tables()

        with pytest.raises(CallTimeout):
            db.connection.list_tables()

    stub.release()


def send_by_client(stub: Stub, count: int) -> None:
    """Send some calls by a client with our exchange."""
    session = botocore.session.get_session()
    session.set_credentials("AKID", "secret")
    client: t.Any = session.create_client(
        "dynamodb",
        "us-east-1",
        endpoint_url=stub.url,
        config=botocore.config.Config(retries={"mode": "standard", "total_max_attempts": 1}),
    )
    exchange.install(client)

    for _ in range(count):
        client.get_item(TableName="todo", Key=KEY)

    client.close()


def test_tools_that_hook_into_urllib3_see_every_request(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    pool: t.Any = urllib3.connectionpool.HTTPConnectionPool
    urlopen = pool.urlopen

    def traced(self: t.Any, *arguments: t.Any, **options: t.Any) -> t.Any:
        seen.append(options["url"])
        return urlopen(self, *arguments, **options)

    monkeypatch.setattr(pool, "urlopen", traced)
    send_by_client(stub, 3)
    assert len(seen) == 3


def test_tools_that_hook_into_botocore_s_session_see_every_request(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    session: t.Any = botocore.httpsession.URLLib3Session
    send = session.send

    def traced(self: t.Any, request: t.Any) -> t.Any:
        seen.append(request.url)
        return send(self, request)

    monkeypatch.setattr(session, "send", traced)
    send_by_client(stub, 3)
    assert len(seen) == 3


def test_the_log_of_urllib3_has_every_request(stub: Stub, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, urllib3.connectionpool.__name__):
        send_by_client(stub, 3)

    assert caplog.text.count('"POST / HTTP/1.1" 200') == 3


def test_an_engine_s_client_sends_so(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    with in_app(stub_config) as db:
        http_session = t.cast(t.Any, db.connection.client)._endpoint.http_session
        assert isinstance(http_session.send.__self__, exchange.Exchange)
