"""A server's end of a connection, whose bytes are written exactly as they are asked for.

asyncio's own TLS decides itself how it cuts what it sends into records and segments.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct

_READ_SIZE = 65536
_NO_LINGER = struct.pack("ii", 1, 0)


class Channel:
    """A plain TCP connection.

    :param reader: asyncio's streams of the connection.
    :param writer: The other one.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._received = bytearray()
        self.is_closed: bool = False
        """Whether this end has closed or reset it. Half-closed, it is not."""

        self._is_half_closed = False

    async def open(self) -> None:
        """Do what comes before the first request."""

    def seal(self, data: bytes) -> bytes:
        """Make of some bytes what is sent for them: with TLS, a record or more."""
        return data

    async def send(self, data: bytes) -> None:
        """Send some bytes, in one segment if they are not too many."""
        await self.send_sealed(self.seal(data))

    async def send_sealed(self, data: bytes) -> None:
        """Send bytes that :meth:`seal` returned, or a part of them.

        :raises BrokenPipeError: if this end has half-closed it.
        """
        if self._is_half_closed:
            raise BrokenPipeError

        self._writer.write(data)
        await self._writer.drain()

    async def receive(self) -> bytes:
        """Receive some bytes; none at the end of the connection."""
        return await self._reader.read(_READ_SIZE)

    async def read_until(self, end: bytes) -> bytes:
        """Read up to some bytes and with them.

        :raises EOFError: if the connection ends before.
        """
        while (place := self._received.find(end)) < 0:
            await self._read_more()

        return self._take(place + len(end))

    async def read(self, size: int) -> bytes:
        """Read so many bytes.

        :raises EOFError: if the connection ends before.
        """
        while len(self._received) < size:
            await self._read_more()

        return self._take(size)

    async def half_close(self) -> None:
        """Say that nothing more will be sent, and go on reading."""
        self._is_half_closed = True
        self._writer.write_eof()

    async def end_encryption(self) -> None:
        """Half-close what is inside of TLS only; without TLS, the connection."""
        await self.half_close()

    def close(self) -> None:
        """Close it, after what was sent."""
        self.is_closed = True
        self._writer.close()

    def reset(self) -> None:
        """Reset it."""
        self.is_closed = True
        connection: socket.socket = self._writer.get_extra_info("socket")

        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)

        self._writer.transport.abort()

    async def _read_more(self) -> None:
        data = await self.receive()

        if not data:
            raise EOFError

        self._received += data

    def _take(self, size: int) -> bytes:
        taken = bytes(self._received[:size])
        del self._received[:size]
        return taken


class TLSChannel(Channel):
    """A TCP connection that is encrypted.

    :param context: What to speak TLS with.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        context: ssl.SSLContext,
    ) -> None:
        super().__init__(reader, writer)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def open(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            else:
                return await self._flush()

    def seal(self, data: bytes) -> bytes:
        self._tls.write(data)
        return self._outgoing.read()

    async def receive(self) -> bytes:
        while True:
            try:
                return self._tls.read(_READ_SIZE)
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            except ssl.SSLZeroReturnError:
                return b""

    async def end_encryption(self) -> None:
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()

        await self._flush()

    async def _fill(self) -> None:
        data = await super().receive()

        if not data:
            raise EOFError

        self._incoming.write(data)

    async def _flush(self) -> None:
        if data := self._outgoing.read():
            await self.send_sealed(data)
