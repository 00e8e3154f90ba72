"""The server, a process of its own: what it does to which request depends on a seed, not on time.

It is told what to do by lines of JSON on its standard input, and answers with one line each.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import collections.abc as cabc
import ipaddress
import itertools
import json
import pathlib
import random
import ssl
import sys
import tempfile
import traceback
import typing as t

from cryptography import x509

from authority import Authority

from . import content as contents
from .channel import Channel
from .channel import TLSChannel
from .content import Request
from .misbehaviours import AT_REST
from .misbehaviours import GOOD
from .misbehaviours import REPLIES
from .misbehaviours import Exchange

HOST = "127.0.0.1"
_BACKLOG = 512
# Bytes that each item of a reply holds without meaning: buffers of 8 KB are common.
_PADDINGS = {0: 70, 300: 20, 9_000: 10}
_LARGE_PADDING = 150_000
_KEY_PIECE = 2048
_GONE = (OSError, EOFError, ssl.SSLError)


class _Connection:
    """One connection, and the last request that came on it."""

    def __init__(self, number: int, channel: Channel) -> None:
        self.number = number
        self.channel = channel
        self.last: Exchange | None = None
        self.is_busy = True
        self.soiled_by: str | None = None
        """The misbehaviour after which no further request may come."""

        self.replies = 0

    def note(self, name: str, exchange: Exchange) -> None:
        """Remember what was done."""
        self.last = exchange

        if exchange.is_soiled:
            self.soiled_by = name


class Server:
    """The server.

    :param seed: Of all choices.
    :param tls: What to speak TLS with.
    """

    def __init__(self, seed: str, tls: ssl.SSLContext) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        """How often each misbehaviour was met."""

        self.reused: collections.Counter[str] = collections.Counter()
        """How often a request came where none may come any more, by what was done before."""

        self.failures: list[str] = []
        """What went wrong in this server itself."""

        self._seed = seed
        self._tls = tls
        self._numbers = itertools.count()
        self._rests = itertools.count()
        self._connections: set[_Connection] = set()
        self.misbehave([], list(AT_REST)[:1])

    async def start(self) -> dict[str, int]:
        """Begin to listen.

        :return: The ports, by scheme.
        """
        self._servers = {
            "tcp": await asyncio.start_server(self._serve_tcp, HOST, 0, backlog=_BACKLOG),
            "tls": await asyncio.start_server(self._serve_tls, HOST, 0, backlog=_BACKLOG),
        }
        return {
            scheme: server.sockets[0].getsockname()[1] for scheme, server in self._servers.items()
        }

    def misbehave(self, replies: list[str], at_rest: list[str]) -> None:
        """Do only what is named, from now on.

        :param replies: Of :data:`REPLIES`; good replies are always among them.
        :param at_rest: Of :data:`AT_REST`.
        """
        self.replies = {name: REPLIES[name] for name in (GOOD, *replies)}
        others = sum(REPLIES[name].weight for name in replies)
        self._weights = [
            min(each.weight, others or 1) if name == GOOD else each.weight
            for name, each in self.replies.items()
        ]
        self._deck = self._shuffled(at_rest)

    async def disturb(self) -> None:
        """Do something to all connections on which nothing is under way.

        All clients must be known to rest.
        """
        rest = next(self._rests)

        for connection in list(self._connections):
            exchange = connection.last

            if connection.is_busy or exchange is None or connection.soiled_by is not None:
                continue

            choose = random.Random(f"{self._seed}/{connection.number}/at rest/{rest}")
            name = next(self._deck)
            exchange.choose, exchange.is_soiled = choose, False
            await self._act(connection, name, AT_REST[name], exchange)

    def _shuffled(self, names: list[str]) -> cabc.Iterator[str]:
        """All names in a random order, again and again: few connections are idle at a time."""
        for number in itertools.count():
            yield from random.Random(f"{self._seed}/at rest/{number}").sample(names, len(names))

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._serve(Channel(reader, writer))

    async def _serve_tls(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._serve(TLSChannel(reader, writer, self._tls))

    async def _serve(self, channel: Channel) -> None:
        connection = _Connection(next(self._numbers), channel)
        self._connections.add(connection)

        try:
            await channel.open()

            for number in itertools.count():
                await self._serve_one(connection, number)

                if channel.is_closed:
                    break
        except (*_GONE, asyncio.CancelledError):
            # The client has gone, or the server ends.
            pass
        except Exception:
            self.failures.append(traceback.format_exc())
        finally:
            self._connections.discard(connection)

            if not channel.is_closed:
                channel.close()

    async def _serve_one(self, connection: _Connection, number: int) -> None:
        channel = connection.channel
        connection.is_busy = False
        head = await channel.read_until(b"\r\n\r\n")
        connection.is_busy = True

        if connection.soiled_by is not None:
            on = "the first reply" if connection.replies == 1 else "a later reply"
            self.reused[f"{on} of a connection: {connection.soiled_by}"] += 1
            connection.soiled_by = None

        choose = random.Random(f"{self._seed}/{connection.number}/{number}")
        name = choose.choices(list(self.replies), self._weights)[0]
        misbehaviour = self.replies[name]
        size = _length(head)
        body = await self._read_key(channel, size) if misbehaviour.is_early else b""

        if not misbehaviour.is_early or contents.key_in(body) is None:
            body += await channel.read(size - len(body))

        request = _request(head, body)
        tag = f"{name}: connection {connection.number}, request {number}"
        padding = choose.choices(list(_PADDINGS), list(_PADDINGS.values()))[0]

        if name == GOOD and choose.random() < 0.005:
            padding = _LARGE_PADDING

        content = contents.content(request, tag, padding)
        exchange = Exchange(channel, request, choose, content)
        await self._act(connection, name, misbehaviour.act, exchange)
        connection.replies += 1

        if not channel.is_closed:
            await channel.read(size - len(body))

    async def _read_key(self, channel: Channel, size: int) -> bytes:
        """Read of a body what is needed to find the key, if it is near the beginning."""
        return await channel.read(min(size, _KEY_PIECE))

    async def _act(
        self, connection: _Connection, name: str, act: t.Any, exchange: Exchange
    ) -> None:
        self.counts[name] += 1

        try:
            await act(exchange)
        except _GONE:
            connection.channel.reset()
        finally:
            connection.note(name, exchange)


def _length(head: bytes) -> int:
    return int(_header(head, b"content-length"))


def _request(head: bytes, body: bytes) -> Request:
    operation = _header(head, b"x-amz-target").rpartition(b".")[2].decode()
    key = contents.key_in(body)

    if key is None:
        raise ValueError(body)

    try:
        return Request(operation, key, json.loads(body))
    except ValueError:
        # Not all of it has been read. An item that is written says no more than its key.
        item = {"id": {"S": key.decode()}}
        return Request(operation, key, {"Item": item, "Key": item})


def _header(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n"):
        key, _, value = line.partition(b":")

        if key.lower() == name:
            return value.strip()

    raise ValueError(head)


async def _obey(server: Server, command: dict[str, t.Any]) -> dict[str, t.Any]:
    if command["do"] == "misbehave":
        server.misbehave(command["replies"], command["at_rest"])
    elif command["do"] == "disturb":
        await server.disturb()

    return {
        "counts": server.counts,
        "reused": server.reused,
        "failures": server.failures,
    }


async def _run(seed: str, tls: ssl.SSLContext, bundle: pathlib.Path) -> None:
    server = Server(seed, tls)
    ports = await server.start()
    print(json.dumps({"ports": ports, "bundle": str(bundle)}), flush=True)
    commands = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)

    while line := await commands.readline():
        print(json.dumps(await _obey(server, json.loads(line))), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m hostile.server")
    parser.add_argument("--seed", default="1")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as directory:
        authority = Authority(pathlib.Path(directory))
        tls = authority.server(x509.IPAddress(ipaddress.ip_address(HOST)))
        asyncio.run(_run(options.seed, tls, authority.bundle))


if __name__ == "__main__":
    main()
