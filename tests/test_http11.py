"""Replies from their bytes alone: no socket is part of these tests."""

from __future__ import annotations

import typing as t

import hypothesis
import pytest
from hypothesis import strategies as st

from dynamo_ext.transport.direct.http11 import ProtocolError
from dynamo_ext.transport.direct.http11 import Reply
from dynamo_ext.transport.direct.http11 import ReplyParser

pytestmark = pytest.mark.once(reason="bytes are parsed")

BODY = b'{"Item": {}}'
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"


def message(*headers: str, body: bytes = BODY, status: str = "200 OK", minor: int = 1) -> bytes:
    return "\r\n".join([f"HTTP/1.{minor} {status}", *headers, "", ""]).encode() + body


LENGTH = f"Content-Length: {len(BODY)}"
PLAIN = message(LENGTH)
CHUNKED = message(
    "Transfer-Encoding: chunked", body=b"5\r\n" + BODY[:5] + b"\r\n7;x=y\r\n" + BODY[5:] + b"\r\n"
)
COMPLETE = {
    "plain": PLAIN,
    "an error": message(LENGTH, status="400 Bad Request"),
    "chunked": CHUNKED + b"0\r\n\r\n",
    "chunked with trailers": CHUNKED + b"0\r\nX-Amz-Crc32: 1\r\n\r\n",
    "after an interim reply": CONTINUE + PLAIN,
    "after two interim replies": HINTS + CONTINUE + PLAIN,
    "HTTP/1.0 with keep-alive": message(LENGTH, "Connection: keep-alive", minor=0),
}
LAST = {
    "says that it closes": message(LENGTH, "Connection: close"),
    "HTTP/1.0": message(LENGTH, minor=0),
}
UNTIL_THE_END = {
    "without headers": message(minor=0),
    "without a length": message("Server: new"),
}
INCOMPLETE = {
    "nothing": b"",
    "a part of the head": PLAIN[:9],
    "the head alone": message(LENGTH, body=b""),
    "a part of the body": PLAIN[:-1],
    "chunks without an end": CHUNKED,
    "an interim reply": CONTINUE,
}
NOT_HTTP = {
    "garbage": b"garbage" * 9,
    "two lengths": message(LENGTH, "Content-Length: 3"),
    "a length that is no number": message("Content-Length: many"),
    "a length and chunks": message(LENGTH, "Transfer-Encoding: chunked"),
    "a chunk of no size": message("Transfer-Encoding: chunked", body=b"z\r\n"),
    "a switch of protocols": message("Upgrade: x", "Connection: upgrade", status="101 Switching"),
}


def received(parser: ReplyParser, data: bytes, size: int | None = None) -> Reply | None:
    """What a parser returns for some bytes that arrive in pieces."""
    reply = None

    for start in range(0, len(data), size or len(data) or 1):
        assert reply is None, "there are bytes after the reply"
        reply = parser.receive_data(data[start : start + (size or len(data))])

    return reply


def a_parser() -> ReplyParser:
    parser = ReplyParser()
    parser.expect_reply()
    return parser


def in_pieces(pieces: dict[str, bytes]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("data", pieces.values(), ids=pieces.keys())


@in_pieces(COMPLETE)
@pytest.mark.parametrize("size", [None, 1, 7])
def test_a_reply_is_complete_with_its_last_byte(data: bytes, size: int | None) -> None:
    parser = a_parser()
    assert received(parser, data[:-1], size) is None
    assert not parser.keep_alive
    reply = parser.receive_data(data[-1:])
    assert reply is not None
    assert reply.body == BODY
    assert reply.status_code == (400 if b"400" in data else 200)
    assert "x-amz-crc32" not in reply.headers
    assert parser.keep_alive


@in_pieces(COMPLETE)
def test_a_second_reply_follows_on_the_same_connection(data: bytes) -> None:
    parser = a_parser()
    first = received(parser, data)
    parser.expect_reply()
    assert not parser.keep_alive
    second = received(parser, message("Content-Length: 3", "X-Second: yes", body=b"abc"))
    assert first is not None
    assert second is not None
    assert (first.body, second.body) == (BODY, b"abc")
    assert "x-second" in second.headers
    assert "x-second" not in first.headers
    assert parser.keep_alive


@in_pieces(LAST)
def test_no_request_follows_a_reply_that_ends_its_connection(data: bytes) -> None:
    parser = a_parser()
    reply = received(parser, data)
    assert reply is not None
    assert reply.body == BODY
    assert not parser.keep_alive


@in_pieces(COMPLETE)
@pytest.mark.parametrize("surplus", [PLAIN, PLAIN[:20], b"garbage", CONTINUE], ids=range(4))
def test_no_request_follows_a_reply_with_bytes_behind_it(data: bytes, surplus: bytes) -> None:
    parser = a_parser()
    reply = parser.receive_data(data + surplus)
    assert reply is not None
    assert reply.body == BODY
    assert not parser.keep_alive


@in_pieces(UNTIL_THE_END)
def test_a_reply_without_a_length_ends_with_its_connection(data: bytes) -> None:
    parser = a_parser()
    assert received(parser, data, 5) is None
    assert parser.receive_end().body == BODY
    assert not parser.keep_alive


@in_pieces(INCOMPLETE)
def test_the_end_of_the_connection_before_that_of_the_reply_is_an_error(data: bytes) -> None:
    parser = a_parser()
    assert received(parser, data) is None

    with pytest.raises(ProtocolError, match="closed before the reply was complete"):
        parser.receive_end()

    assert not parser.keep_alive


@in_pieces(NOT_HTTP)
def test_what_is_not_http_is_an_error(data: bytes) -> None:
    parser = a_parser()

    with pytest.raises(ProtocolError):
        parser.receive_data(data)

    assert not parser.keep_alive


def test_a_header_that_comes_twice_has_both_values() -> None:
    reply = received(a_parser(), message(LENGTH, "X-A: 1", "x-a: 2"))
    assert reply is not None
    assert reply.headers["x-a"] == "1, 2"


names = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True).map(lambda name: f"x-{name}")
values = st.from_regex(r"[!-~]([ -~]{0,8}[!-~])?", fullmatch=True)


@hypothesis.given(
    headers=st.dictionaries(names, values, max_size=4),
    body=st.binary(max_size=40),
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=8),
)
def test_a_reply_is_the_same_however_it_is_cut(
    headers: dict[str, str], body: bytes, sizes: list[int]
) -> None:
    lines = [f"{name}: {value}" for name, value in headers.items()]
    data = message(f"Content-Length: {len(body)}", *lines, body=body)
    parser, start, replies = a_parser(), 0, t.cast("list[Reply | None]", [])

    for size in [*sizes, len(data)]:
        if start < len(data):
            replies.append(parser.receive_data(data[start : start + size]))
            start += size

    *before, reply = replies
    assert not any(before)
    assert reply == Reply(200, {"content-length": str(len(body)), **headers}, body)
