"""The proxy between the apps and the engine, which injects faults."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import random
import socket
import struct
import time
import urllib.parse

_FAULTS = {
    "none": 70,
    "delay": 14,
    "reset before": 2,
    "reset after": 2,
    "error": 2,
    "throttle": 3,
    "cut": 2,
    "garbage": 2,
    "close after": 3,
}
# In one of this many seconds, most requests meet a fault.
_STORM_EVERY = 6
_THROTTLE = b'{"__type": "ProvisionedThroughputExceededException", "message": "of the proxy"}'
_ERROR = b'{"__type": "InternalServerError", "message": "of the proxy"}'


class Proxy:
    """Forwards requests to the engine, some of them with a fault.

    :param engine: The URL of the engine.
    :param choose: Chooses the fault of each request.
    """

    def __init__(self, engine: str, choose: random.Random) -> None:
        self.faults: collections.Counter[str] = collections.Counter()
        self._engine = urllib.parse.urlsplit(engine)
        self._choose = choose
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        """Begin to listen.

        :return: The proxy's URL.
        """
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        return f"http://{host}:{port}"

    async def stop(self) -> None:
        self._server.close()

        for task in self._tasks:
            task.cancel()

        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)

        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._pass_one(reader, writer):
                    pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _pass_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Handle one request of a connection.

        :return: Whether the connection stays open.
        """
        head, body = await _read_message(reader)
        fault = self._next_fault()

        if fault == "reset before":
            return _reset(writer)

        if fault == "delay":
            await asyncio.sleep(self._choose.uniform(0, 0.4))

        if fault in {"throttle", "error"}:
            status, content = (b"400 No", _THROTTLE) if fault == "throttle" else (b"500 No", _ERROR)
            await _send(writer, b"HTTP/1.1 " + status, content)
            return True

        reply_head, reply = await self._ask_engine(head, body)

        if fault == "reset after":
            return _reset(writer)

        if fault == "garbage":
            reply = b"<html>of the proxy</html>"

        promised = len(reply)

        if fault == "cut":
            reply = reply[: promised // 2]

        await _send(writer, reply_head.split(b"\r\n")[0], reply, promised)
        return fault not in {"cut", "close after"}

    def _next_fault(self) -> str:
        is_storm = int(time.monotonic()) % _STORM_EVERY == 0
        weights = {**_FAULTS, "none": 5} if is_storm else _FAULTS
        fault = self._choose.choices(list(weights), list(weights.values()))[0]
        self.faults[fault] += 1
        return fault

    async def _ask_engine(self, head: bytes, body: bytes) -> tuple[bytes, bytes]:
        reader, writer = await asyncio.open_connection(self._engine.hostname, self._engine.port)

        try:
            writer.write(head + body)
            return await _read_message(reader)
        finally:
            writer.close()


async def _read_message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [
        int(line.partition(b":")[2])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    ]
    return head, await reader.readexactly(lengths[0]) if lengths else b""


async def _send(
    writer: asyncio.StreamWriter, status: bytes, content: bytes, promised: int | None = None
) -> None:
    length = len(content) if promised is None else promised
    head = b"%b\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: %d\r\n\r\n"
    writer.write(head % (status, length) + content)
    await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> bool:
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return False
