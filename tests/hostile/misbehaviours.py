"""All that the server does wrong, or unusually: each with a name and how often it is drawn.

A misbehaviour replies to one request. There is no race in any of them: bytes that look like the
reply to a later request are sent only where no client may send one, that is in the same write as
the end of the reply, after the connection was said to end, or while all clients are known to rest.
A client that was already sending could not tell them from its reply.
"""

from __future__ import annotations

import asyncio
import collections.abc as cabc
import dataclasses
import random

from . import content as contents
from .channel import Channel
from .content import Request

GOOD = "good"
_GOOD_WEIGHT = 120
_HTML = b"<html><body>of a proxy</body></html>"
_JUNK = (b"\r\n", b"\0", b"}", b"HTTP/1.1", b"HTTP/1.1 200 OK\r\n", b"0\r\n\r\n", b"\x15\x03\x03")
_INTERIM = {
    100: b"HTTP/1.1 100 Continue\r\n\r\n",
    102: b"HTTP/1.1 102 Processing\r\nX-Progress: 1\r\n\r\n",
    103: b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\nX-A: b\r\n\r\n",
}
_ENDLESS_BYTES = 150_000
# Seconds. Longer than the callers' read timeout.
_STALL = 0.5


@dataclasses.dataclass
class Exchange:
    """One request that was read, its head at least, and what may be done about it."""

    channel: Channel
    request: Request
    choose: random.Random
    """Depends on the seed and the numbers of connection and request only."""

    content: bytes
    """Of the right reply."""

    is_soiled: bool = False
    """Whether no further request may come on the connection."""

    @property
    def reply(self) -> bytes:
        """The right reply."""
        return contents.head(200, self.content) + self.content

    @property
    def foreign(self) -> bytes:
        """A plausible reply to somebody else."""
        content = contents.foreign(self.content, self.request)
        return contents.head(200, content) + content

    async def send(self, *pieces: bytes) -> None:
        """Send pieces, so that each arrives for itself."""
        for number, piece in enumerate(pieces):
            if number:
                await self.pause(0.002)

            await self.channel.send(piece)

    async def pause(self, longest: float) -> None:
        """Wait for a time, in seconds."""
        await asyncio.sleep(self.choose.uniform(0, longest))

    def end(self) -> None:
        """Close the connection, or reset it."""
        if self.choose.random() < 0.3:
            self.channel.reset()
        else:
            self.channel.close()


Act = cabc.Callable[[Exchange], cabc.Awaitable[None]]


@dataclasses.dataclass(frozen=True)
class Misbehaviour:
    act: Act
    weight: float
    is_early: bool
    """Whether it acts before the whole request is read."""


REPLIES: dict[str, Misbehaviour] = {}
"""What a request gets, by name."""

AT_REST: dict[str, Act] = {}
"""What a connection gets while its client is known to rest, by name."""


def _reply(name: str, weight: float = 1, *, is_early: bool = False) -> cabc.Callable[[Act], Act]:
    def register(act: Act) -> Act:
        REPLIES[name] = Misbehaviour(act, weight, is_early)
        return act

    return register


def _at_rest(name: str) -> cabc.Callable[[Act], Act]:
    def register(act: Act) -> Act:
        AT_REST[name] = act
        return act

    return register


@_reply(GOOD, _GOOD_WEIGHT)
async def _good(x: Exchange) -> None:
    await x.channel.send(x.reply)


# ---------------------------------------------------------------- time


@_reply("late", 4)
async def _late(x: Exchange) -> None:
    await x.pause(0.05)
    await x.channel.send(x.reply)


@_reply("late, when the caller has given up")
async def _too_late(x: Exchange) -> None:
    await asyncio.sleep(_STALL)
    await x.channel.send(x.reply)


@_reply("late in its middle, when the caller has given up", 0.5)
async def _too_late_in_middle(x: Exchange) -> None:
    place = x.choose.randrange(1, len(x.reply))
    await x.channel.send(x.reply[:place])
    await asyncio.sleep(_STALL)
    await x.channel.send(x.reply[place:])


# ---------------------------------------------------------------- split


@_reply("split in the status line")
async def _split_status(x: Exchange) -> None:
    place = x.choose.randrange(1, x.reply.index(b"\r\n"))
    await x.send(x.reply[:place], x.reply[place:])


@_reply("split in the headers")
async def _split_headers(x: Exchange) -> None:
    start, end = x.reply.index(b"\r\n") + 2, x.reply.index(b"\r\n\r\n")
    places = sorted(x.choose.sample(range(start, end), 3))
    await x.send(*_pieces(x.reply, places))


@_reply("split between CR and LF")
async def _split_line_ends(x: Exchange) -> None:
    end = x.reply.index(b"\r\n\r\n") + 4
    breaks = [place + 1 for place in range(end) if x.reply[place : place + 2] == b"\r\n"]
    await x.send(*_pieces(x.reply, breaks[-2:] if x.choose.random() < 0.5 else breaks))


@_reply("split in the body")
async def _split_body(x: Exchange) -> None:
    start = x.reply.index(b"\r\n\r\n") + 4
    places = sorted({start, *x.choose.sample(range(start + 1, len(x.reply)), 3)})
    await x.send(*_pieces(x.reply, places))


@_reply("split in a TLS record or a segment", 2)
async def _split_record(x: Exchange) -> None:
    sealed = x.channel.seal(x.reply)
    places = sorted({x.choose.randrange(1, 6), x.choose.randrange(6, len(sealed))})

    for piece in _pieces(sealed, places):
        await x.channel.send_sealed(piece)
        await x.pause(0.002)


@_reply("byte by byte", 0.5)
async def _byte_by_byte(x: Exchange) -> None:
    # The rest of a long one comes at once.
    for place in range(min(len(x.reply), 400)):
        await x.channel.send(x.reply[place : place + 1])
        await asyncio.sleep(0)

    await x.channel.send(x.reply[400:])


# ---------------------------------------------------------------- chunked


@_reply("chunked")
async def _chunked(x: Exchange) -> None:
    await x.channel.send(_chunked_head(x) + b"".join(_chunks(x)) + b"0\r\n\r\n")


@_reply("chunked, with extensions")
async def _chunk_extensions(x: Exchange) -> None:
    chunks = _chunks(x, b';name="a; b";c')
    await x.send(_chunked_head(x), b"".join(chunks) + b"0;last\r\n\r\n")


@_reply("chunked, with trailers")
async def _trailers(x: Exchange) -> None:
    trailers = b"0\r\nContent-Length: 3\r\nx-amz-crc32: 1\r\nX-Trailer: yes\r\n\r\n"
    await x.send(_chunked_head(x), b"".join(_chunks(x)), trailers)


@_reply("chunked, each chunk for itself")
async def _chunk_by_chunk(x: Exchange) -> None:
    await x.send(_chunked_head(x), *_chunks(x), b"0\r\n", b"\r\n")


@_reply("chunked, and closed before the last chunk")
async def _chunks_cut(x: Exchange) -> None:
    await x.send(_chunked_head(x), b"".join(_chunks(x)))
    x.end()


@_reply("chunked, with a size that is none")
async def _chunk_size(x: Exchange) -> None:
    x.is_soiled = True
    size = x.choose.choice([b"zz", b"-5", b"", b"ffffffffffffffffff", b"0x10"])
    await x.send(_chunked_head(x) + size + b"\r\n" + x.content + b"\r\n0\r\n\r\n")
    await asyncio.sleep(_STALL)
    x.channel.close()


@_reply("chunked, with bytes behind it")
async def _chunked_padded(x: Exchange) -> None:
    x.is_soiled = True
    await x.channel.send(_chunked_head(x) + b"".join(_chunks(x)) + b"0\r\n\r\n" + x.foreign)


# ---------------------------------------------------------------- closed


@_reply("closed before the reply", 0.5)
async def _closed_before(x: Exchange) -> None:
    x.channel.close()


@_reply("closed in the head", 0.5)
async def _closed_in_head(x: Exchange) -> None:
    await x.channel.send(x.reply[: x.choose.randrange(1, x.reply.index(b"\r\n\r\n"))])
    x.channel.close()


@_reply("closed in the body", 0.5)
async def _closed_in_body(x: Exchange) -> None:
    await x.channel.send(x.reply[: len(x.reply) - x.choose.randrange(1, len(x.content))])
    x.channel.close()


@_reply("closed after the reply", 2)
async def _closed_after(x: Exchange) -> None:
    await x.channel.send(x.reply)
    x.channel.close()


@_reply("closed a moment after the reply", 2)
async def _closed_soon(x: Exchange) -> None:
    await x.channel.send(x.reply)
    await x.pause(0.01)
    x.channel.close()


@_reply("half-closed before the reply", 0.5)
async def _half_closed_before(x: Exchange) -> None:
    x.is_soiled = True
    await x.channel.half_close()


@_reply("half-closed in the body", 0.5)
async def _half_closed_in_body(x: Exchange) -> None:
    x.is_soiled = True
    await x.channel.send(x.reply[: len(x.reply) - x.choose.randrange(1, len(x.content))])
    await x.channel.half_close()


@_reply("half-closed after the reply")
async def _half_closed_after(x: Exchange) -> None:
    await x.channel.send(x.reply)
    await x.channel.half_close()


@_reply("encryption ended in the body", 0.5)
async def _encryption_ended(x: Exchange) -> None:
    x.is_soiled = True
    await x.channel.send(x.reply[: len(x.reply) - x.choose.randrange(1, len(x.content))])
    await x.channel.end_encryption()


@_reply("reset before the reply", 0.5)
async def _reset_before(x: Exchange) -> None:
    x.channel.reset()


@_reply("reset in the head", 0.5)
async def _reset_in_head(x: Exchange) -> None:
    await x.channel.send(x.reply[: x.choose.randrange(1, x.reply.index(b"\r\n\r\n"))])
    await x.pause(0.002)
    x.channel.reset()


@_reply("reset in the body", 0.5)
async def _reset_in_body(x: Exchange) -> None:
    await x.channel.send(x.reply[: len(x.reply) - x.choose.randrange(1, len(x.content))])
    await x.pause(0.002)
    x.channel.reset()


@_reply("reset after the reply")
async def _reset_after(x: Exchange) -> None:
    await x.channel.send(x.reply)
    await x.pause(0.005)
    x.channel.reset()


# ---------------------------------------------------------------- more than was asked for


@_reply("the reply twice, at once", 2)
async def _twice(x: Exchange) -> None:
    x.is_soiled = True
    await x.channel.send(x.reply + x.reply)


@_reply("the reply twice, in two TLS records at once")
async def _twice_in_two_records(x: Exchange) -> None:
    x.is_soiled = True
    await x.channel.send_sealed(x.channel.seal(x.reply) + x.channel.seal(x.reply))


@_reply("a foreign reply behind it", 3)
async def _foreign_behind(x: Exchange) -> None:
    x.is_soiled = True
    await x.channel.send(x.reply + x.foreign)


@_reply("a foreign reply behind it, in another TLS record at once", 2)
async def _foreign_in_another_record(x: Exchange) -> None:
    x.is_soiled = True
    await x.channel.send_sealed(x.channel.seal(x.reply) + x.channel.seal(x.foreign))


@_reply("a foreign reply behind it, and the end of the reply apart")
async def _foreign_behind_last_byte(x: Exchange) -> None:
    x.is_soiled = True
    place = len(x.reply) - x.choose.randrange(1, 4)
    await x.send(x.reply[:place], x.reply[place:] + x.foreign)


@_reply("half a foreign reply behind it")
async def _half_a_foreign_behind(x: Exchange) -> None:
    x.is_soiled = True
    await x.channel.send(x.reply + x.foreign[: x.choose.randrange(20, len(x.foreign))])


@_reply("junk behind it", 2)
async def _junk_behind(x: Exchange) -> None:
    x.is_soiled = True
    await x.channel.send(x.reply + x.choose.choice(_JUNK))


@_reply("a foreign reply after 'Connection: close'")
async def _foreign_after_close(x: Exchange) -> None:
    x.is_soiled = True
    await x.channel.send(contents.head(200, x.content, "Connection: close") + x.content)
    await x.pause(0.01)
    await x.channel.send(x.foreign)


@_reply("a foreign reply after a reply of HTTP/1.0")
async def _foreign_after_old(x: Exchange) -> None:
    x.is_soiled = True
    await x.channel.send(contents.head(200, x.content, version="1.0") + x.content)
    await x.pause(0.01)
    await x.channel.send(x.foreign)


# ---------------------------------------------------------------- interim and early


@_reply("an interim reply before it: 100")
async def _interim_100(x: Exchange) -> None:
    await _send_after(x, _INTERIM[100])


@_reply("an interim reply before it: 102")
async def _interim_102(x: Exchange) -> None:
    await _send_after(x, _INTERIM[102])


@_reply("an interim reply before it: 103")
async def _interim_103(x: Exchange) -> None:
    await _send_after(x, _INTERIM[103])


@_reply("several interim replies before it")
async def _interim_several(x: Exchange) -> None:
    codes = x.choose.choices(list(_INTERIM), k=x.choose.randrange(2, 6))
    await _send_after(x, *(_INTERIM[code] for code in codes))


@_reply("an interim reply, and closed")
async def _interim_closed(x: Exchange) -> None:
    await x.send(x.choose.choice(list(_INTERIM.values())))
    x.end()


@_reply("early, an error", is_early=True)
async def _early_error(x: Exchange) -> None:
    await x.channel.send(_throttling())


@_reply("early, an error, and closed", is_early=True)
async def _early_error_closed(x: Exchange) -> None:
    content = contents.error("InternalServerError")
    await x.channel.send(contents.head(500, content, "Connection: close") + content)
    x.channel.close()


@_reply("early", is_early=True)
async def _early(x: Exchange) -> None:
    await x.channel.send(x.reply)


@_reply("early, and closed", is_early=True)
async def _early_closed(x: Exchange) -> None:
    await x.channel.send(x.reply)
    x.end()


# ---------------------------------------------------------------- what is no HTTP/1.1


@_reply("garbage")
async def _garbage(x: Exchange) -> None:
    x.is_soiled = True
    await x.channel.send(x.choose.randbytes(x.choose.randrange(1, 600)) + b"\r\n\r\n")
    await x.pause(0.01)
    x.end()


@_reply("a status line that is none")
async def _no_status_line(x: Exchange) -> None:
    x.is_soiled = True
    lines = [b"HTTP/1.1 abc OK", b"ICY 200 OK", b"HTTP/9.9 200 OK", b"200 OK", b"HTTP/1.1 2000 OK"]
    rest = x.reply[x.reply.index(b"\r\n") :]
    await x.channel.send(x.choose.choice(lines) + rest)
    await x.pause(0.01)
    x.end()


@_reply("the content alone")
async def _content_alone(x: Exchange) -> None:
    x.is_soiled = True
    await x.channel.send(x.content)
    x.end()


@_reply("switched to another protocol")
async def _switched(x: Exchange) -> None:
    x.is_soiled = True
    await x.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n")
    await x.pause(0.01)
    x.end()


@_reply("endless headers", 0.3)
async def _endless_headers(x: Exchange) -> None:
    x.is_soiled = True
    await x.channel.send(b"HTTP/1.1 200 OK\r\n")
    piece = b"".join(b"X-%d: %d\r\n" % (number, number) for number in range(1000))

    for _ in range(_ENDLESS_BYTES // len(piece)):
        await x.channel.send(piece)

    x.channel.close()


@_reply("a huge header", 0.3)
async def _huge_header(x: Exchange) -> None:
    x.is_soiled = True
    await x.channel.send(b"HTTP/1.1 200 OK\r\nX-Huge: " + b"x" * _ENDLESS_BYTES)
    x.channel.close()


@_reply("a header name again and again", 0.3)
async def _repeated_header(x: Exchange) -> None:
    await x.channel.send(contents.head(200, x.content, *["X-Same: again"] * 60) + x.content)


# ---------------------------------------------------------------- lengths


@_reply("a length that is too long", 0.5)
async def _too_long(x: Exchange) -> None:
    x.is_soiled = True
    framing = (f"Content-Length: {len(x.content) + x.choose.randrange(1, 50)}",)
    await x.channel.send(contents.head(200, x.content, framing=framing) + x.content)
    await asyncio.sleep(_STALL)
    x.channel.close()


@_reply("a length that is too long, and closed")
async def _too_long_closed(x: Exchange) -> None:
    framing = (f"Content-Length: {len(x.content) + x.choose.randrange(1, 50)}",)
    await x.channel.send(contents.head(200, x.content, framing=framing) + x.content)
    x.end()


@_reply("a length that is too short")
async def _too_short(x: Exchange) -> None:
    x.is_soiled = True
    framing = (f"Content-Length: {x.choose.randrange(len(x.content))}",)
    await x.channel.send(contents.head(200, x.content, framing=framing) + x.content)


@_reply("a length that is none")
async def _no_number(x: Exchange) -> None:
    x.is_soiled = True
    length = x.choose.choice(["-1", "abc", "1e3", "", "99999999999999999999999", "+5"])
    head = contents.head(200, x.content, framing=(f"Content-Length: {length}",))
    await x.channel.send(head + x.content)
    await x.pause(0.01)
    x.end()


@_reply("two lengths")
async def _two_lengths(x: Exchange) -> None:
    x.is_soiled = True
    lengths = [len(x.content), len(x.content) + len(x.foreign)]
    x.choose.shuffle(lengths)
    framing = tuple(f"Content-Length: {length}" for length in lengths)
    await x.channel.send(contents.head(200, x.content, framing=framing) + x.content + x.foreign)


@_reply("a length, and chunked")
async def _length_and_chunked(x: Exchange) -> None:
    x.is_soiled = True
    framing = (f"Content-Length: {len(x.content)}", "Transfer-Encoding: chunked")
    head = contents.head(200, x.content, framing=framing)
    await x.channel.send(head + b"".join(_chunks(x)) + b"0\r\n\r\n")


@_reply("no length, and closed")
async def _no_length(x: Exchange) -> None:
    await x.channel.send(contents.head(200, x.content, framing=()) + x.content)
    x.channel.close()


@_reply("HTTP/1.0, and closed")
async def _old(x: Exchange) -> None:
    await x.channel.send(contents.head(200, x.content, version="1.0") + x.content)
    x.channel.close()


@_reply("HTTP/1.0, and kept")
async def _old_kept(x: Exchange) -> None:
    head = contents.head(200, x.content, "Connection: keep-alive", version="1.0")
    await x.channel.send(head + x.content)


@_reply("'Connection: close'")
async def _connection_close(x: Exchange) -> None:
    await x.channel.send(contents.head(200, x.content, "Connection: close") + x.content)
    x.channel.close()


# ---------------------------------------------------------------- failures that are good HTTP


@_reply("500 with HTML")
async def _html_500(x: Exchange) -> None:
    await x.channel.send(contents.head(500, _HTML) + _HTML)


@_reply("503 with HTML")
async def _html_503(x: Exchange) -> None:
    await x.channel.send(contents.head(503, _HTML, "Retry-After: 1") + _HTML)


@_reply("200 with HTML")
async def _html_200(x: Exchange) -> None:
    await x.channel.send(contents.head(200, _HTML) + _HTML)


@_reply("204 without content")
async def _nothing(x: Exchange) -> None:
    await x.channel.send(b"HTTP/1.1 204 No Content\r\n\r\n")


@_reply("throttling", 2)
async def _throttle(x: Exchange) -> None:
    await x.channel.send(_throttling())


@_reply("a wrong checksum")
async def _wrong_checksum(x: Exchange) -> None:
    content = contents.foreign(x.content, x.request)
    await x.channel.send(contents.head(200, content, checksum=12345) + content)


# ---------------------------------------------------------------- at rest


@_at_rest("at rest: nothing")
async def _rest(x: Exchange) -> None:
    pass


@_at_rest("at rest: closed")
async def _rest_closed(x: Exchange) -> None:
    x.channel.close()


@_at_rest("at rest: half-closed")
async def _rest_half_closed(x: Exchange) -> None:
    x.is_soiled = True
    await x.channel.half_close()


@_at_rest("at rest: encryption ended")
async def _rest_encryption_ended(x: Exchange) -> None:
    x.is_soiled = True
    await x.channel.end_encryption()


@_at_rest("at rest: reset")
async def _rest_reset(x: Exchange) -> None:
    x.channel.reset()


@_at_rest("at rest: a foreign reply")
async def _rest_foreign(x: Exchange) -> None:
    x.is_soiled = True
    await x.channel.send(x.foreign)


@_at_rest("at rest: a foreign reply, and closed")
async def _rest_foreign_closed(x: Exchange) -> None:
    x.is_soiled = True
    await x.channel.send(x.foreign)
    x.channel.close()


@_at_rest("at rest: the last reply again")
async def _rest_again(x: Exchange) -> None:
    x.is_soiled = True
    await x.channel.send(x.reply)


@_at_rest("at rest: 408, and closed")
async def _rest_408(x: Exchange) -> None:
    x.is_soiled = True
    await x.channel.send(contents.head(408, _HTML, "Connection: close") + _HTML)
    x.channel.close()


@_at_rest("at rest: an interim reply")
async def _rest_interim(x: Exchange) -> None:
    x.is_soiled = True
    await x.channel.send(_INTERIM[103])


@_at_rest("at rest: junk")
async def _rest_junk(x: Exchange) -> None:
    x.is_soiled = True
    await x.channel.send(x.choose.choice(_JUNK))


@_at_rest("at rest: a part of a TLS record")
async def _rest_part(x: Exchange) -> None:
    x.is_soiled = True
    sealed = x.channel.seal(x.foreign)
    await x.channel.send_sealed(sealed[: x.choose.randrange(1, len(sealed))])


def _pieces(data: bytes, places: list[int]) -> list[bytes]:
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def _chunked_head(x: Exchange) -> bytes:
    return contents.head(200, x.content, framing=("Transfer-Encoding: chunked",))


def _chunks(x: Exchange, extension: bytes = b"") -> list[bytes]:
    size = x.choose.choice([1, 7, 64, 1000, 1 << 20]) if len(x.content) < 2000 else 3001
    parts = [x.content[place : place + size] for place in range(0, len(x.content), size)]
    form = x.choose.choice([b"%x", b"%X", b"00%x"])
    return [form % len(part) + extension + b"\r\n" + part + b"\r\n" for part in parts]


def _throttling() -> bytes:
    content = contents.error("ProvisionedThroughputExceededException")
    return contents.head(400, content) + content


async def _send_after(x: Exchange, *interim: bytes) -> None:
    """Send interim replies and then the final one, together or apart."""
    if x.choose.random() < 0.5:
        await x.channel.send(b"".join(interim) + x.reply)
    else:
        await x.send(*interim, x.reply)
