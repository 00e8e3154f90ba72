"""Replies from their bytes alone: no socket is part of these tests."""

from __future__ import annotations

import typing as t

import hypothesis
import pytest
from hypothesis import strategies as st

from dynamo_ext.transport.direct import http11
from dynamo_ext.transport.direct.http11 import ProtocolError
from dynamo_ext.transport.direct.http11 import ReplyParser
from dynamo_ext.transport.response import Reply

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
    "two lengths in one header": message("Content-Length: 12, 13"),
    "a negative length": message("Content-Length: -1"),
    "a length with a sign": message("Content-Length: +12"),
    "chunks and a length": message("Transfer-Encoding: chunked", LENGTH),
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
@pytest.mark.parametrize(
    "surplus", [PLAIN, PLAIN[:20], b"garbage", CONTINUE, b"\r\n", b"\n", b"\r"], ids=range(7)
)
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


ENDLESS = {
    "a status": (b"HTTP/1.1 200 O", b"K"),
    "a header": (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "the name of a header": (b"HTTP/1.1 200 OK\r\n", b"x"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X: 1\r\n"),
    "interim replies": (b"", CONTINUE),
    "interim replies with headers": (b"", HINTS),
    "a header of an interim reply": (b"HTTP/1.1 103 Hints\r\nX: ", b"x"),
    "white space before a value": (b"HTTP/1.1 200 OK\r\nX:", b" "),
    "trailers": (CHUNKED + b"0\r\n", b"X: 1\r\n"),
    "a trailer": (CHUNKED + b"0\r\nX: ", b"x"),
    "an extension of a chunk": (CHUNKED + b"1;", b"x"),
}


@pytest.mark.parametrize("what", ENDLESS)
@pytest.mark.parametrize("size", [1000, 128 * 1024])
def test_what_never_ends_is_refused_soon(what: str, size: int) -> None:
    start, more = ENDLESS[what]
    parser = a_parser()
    assert received(parser, start) is None
    piece = (more * size)[: size - size % len(more)]
    taken = 0

    with pytest.raises(ProtocolError, match="limit"):
        while True:
            taken += len(piece)
            assert taken <= http11.MAX_HEAD_BYTES + 2 * size
            assert parser.receive_data(piece) is None

    assert not parser.keep_alive


@pytest.mark.parametrize("size", [None, 1, 4096])
def test_headers_are_taken_up_to_the_limits(size: int | None) -> None:
    names = [f"X-{number}" for number in range(http11.MAX_HEADERS - 1)]
    left = http11.MAX_HEAD_BYTES - len(LENGTH) - len("".join(names)) - 1000
    lines = [f"{names[0]}: {'v' * left}", *[f"{name}: 1" for name in names[1:]]]
    data = message(LENGTH, *lines)
    reply = received(a_parser(), data, size)
    assert reply is not None
    assert len(reply.headers) == http11.MAX_HEADERS

    with pytest.raises(ProtocolError, match="number of headers"):
        received(a_parser(), message(LENGTH, *lines, "One: more"), size)


def test_a_header_that_comes_many_times_is_refused_before_it_costs_anything() -> None:
    with pytest.raises(ProtocolError, match="number of headers"):
        a_parser().receive_data(message(LENGTH, *["X-A: 1"] * 100_000))


@pytest.mark.parametrize("framing", ["length", "chunks", "end"])
def test_a_body_has_a_limit(monkeypatch: pytest.MonkeyPatch, framing: str) -> None:
    monkeypatch.setattr(http11, "MAX_BODY_BYTES", 1000)
    header = {
        "length": "Content-Length: 1000",
        "chunks": "Transfer-Encoding: chunked",
        "end": "X: y",
    }[framing]
    before, after = (b"3e8\r\n", b"\r\n0\r\n\r\n") if framing == "chunks" else (b"", b"")
    parser = a_parser()
    reply = parser.receive_data(message(header, body=before + b"b" * 1000 + after))
    assert (reply or parser.receive_end()).body == b"b" * 1000

    header = header.replace("1000", "1001")
    before = before.replace(b"3e8", b"3e9")

    with pytest.raises(ProtocolError, match="the body is over the limit"):
        a_parser().receive_data(message(header, body=before + b"b" * 1001 + after))


def test_many_small_chunks_are_no_endless_head() -> None:
    chunk = b"1\r\nb\r\n"
    count = http11.MAX_HEAD_BYTES
    data = message("Transfer-Encoding: chunked", body=chunk * count + b"0\r\n\r\n")
    reply = received(a_parser(), data)
    assert reply is not None
    assert reply.body == b"b" * count


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


LINES = [
    *("Content-Length: 12", "content-length: 12", "Content-Length: 012", "Content-Length: +12"),
    *("Content-Length: 12 ", "Content-Length : 12", "Content-Length:12", "Content-Length: 13"),
    # Python refuses to read a number of so many digits.
    f"Content-Length: {'0' * 5000}12",
    *("Connection: keep-alive", "connection: Keep-Alive", "Connection: close", "Connection: x"),
    *("Transfer-Encoding: identity", "Transfer-Encoding: chunked", "Upgrade: h2c", "Trailer: x"),
    *("X-A: 1", "x-a: 2", "X-B:no space", "X-C:", "X-D:  two spaces", "X-E: a\tb", "X-F: a\0b"),
    *("X-G: \xe9", " folded", "no colon", "Keep-Alive: timeout=5", ": no name", "X H: 1"),
]


@hypothesis.given(
    lines=st.lists(st.sampled_from(LINES), max_size=5),
    status=st.sampled_from(["200 OK", "200 ", "200", "201 Created", "204 No Content"]),
    minor=st.sampled_from([1, 1, 1, 0, 2]),
    body=st.sampled_from([BODY, BODY, BODY + b" ", BODY[:-1], BODY + b"\r\n"]),
)
def test_a_reply_that_is_read_at_once_is_as_one_that_comes_byte_by_byte(
    lines: list[str], status: str, minor: int, body: bytes
) -> None:
    # In most examples there is one length.
    data = message(*lines, "Content-Length: 12", status=status, minor=minor, body=body)
    assert outcome(data, len(data)) == outcome(data, 1)


USUAL = ["Content-Length: 12", "Connection: keep-alive", "X-A: 1", "X-C: c  d", "Date: now"]


@pytest.mark.parametrize("usual", [USUAL, USUAL[::-1]], ids=["in order", "reversed"])
@pytest.mark.parametrize("status", ["200 OK", "200 Well", "201 Created"])
@pytest.mark.parametrize("body", [BODY, BODY[:-1], b"[]"])
def test_a_reply_like_the_last_ones_is_read_as_any_other_one(
    usual: list[str], status: str, body: bytes
) -> None:
    for number in range(len(usual)):
        for line in [*LINES, *USUAL, "Date: then", "dAtE: later", "Date: now "]:
            lines = [*usual[:number], line, *usual[number + 1 :]]
            data = message(*lines, status=status, body=body)
            assert outcome(data, len(data), after_usual_replies(usual)) == outcome(data, 1)


def after_usual_replies(lines: list[str]) -> ReplyParser:
    parser = a_parser()

    for _ in range(3):
        assert parser.receive_data(message(*lines)) is not None
        assert parser.keep_alive
        parser.expect_reply()

    return parser


def test_headers_that_differ_each_time_are_not_learned() -> None:
    parser, learned = a_parser(), http11._UsualReplies.of.cache_info().misses

    for number in range(9):
        assert parser.receive_data(message(LENGTH, f"X-{number}: 1")) is not None
        parser.expect_reply()

    assert http11._UsualReplies.of.cache_info().misses == learned


def outcome(
    data: bytes, size: int, parser: ReplyParser | None = None
) -> tuple[Reply | None, bool] | str:
    """What a parser makes of some bytes, and whether another request may follow."""
    if parser is None:
        parser = a_parser()

    try:
        for start in range(0, len(data), size):
            if (reply := parser.receive_data(data[start : start + size])) is not None:
                return reply, parser.keep_alive and start + size >= len(data)
    except ProtocolError:
        return "an error"

    return None, parser.keep_alive


def test_the_limits_hold_for_replies_that_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http11, "MAX_BODY_BYTES", len(BODY) - 1)

    with pytest.raises(ProtocolError, match="the body is over the limit"):
        a_parser().receive_data(PLAIN)


def test_the_limits_hold_after_replies_with_the_same_headers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parser = after_usual_replies(USUAL)
    monkeypatch.setattr(http11, "MAX_BODY_BYTES", len(BODY) - 1)

    with pytest.raises(ProtocolError, match="the body is over the limit"):
        parser.receive_data(message(*USUAL))
