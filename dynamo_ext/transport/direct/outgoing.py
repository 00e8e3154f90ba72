"""A call whose first attempt is made without waiting, in steps, by who watches its socket.

Nine calls in ten need no more than that. Whatever is out of the ordinary (no open connection, an
error, a large reply, a connection that breaks) is left to :meth:`DirectTransport.send`, which goes
on where the steps have stopped.
"""

from __future__ import annotations

import collections.abc as cabc
import functools
import socket
import typing as t

from ...calls.item_reading import ReadItems
from ...calls.retry import Damaged
from ..prepared import PreparedCall
from ..prepared import PreparedTransport
from ..prepared import resume
from ..protocol import Parsed
from ..response import Response
from .connections import IdleConnections
from .exchange import Exchange

_OK = 200

LARGEST_BODY = 8 * 1024
"""The largest body, in bytes, that is parsed here: larger ones would keep their thread."""

LARGEST_BODY_WITH_ITEMS = 128 * 1024
"""The same where the items of the body are read while it is parsed, which is several times as
fast."""


class OutgoingCall:
    """One call.

    :param transport: Its transport.
    :param idle: The idle connections.
    :param end_exchange: Waits for the reply of an exchange, as the transport does.
    :param call: The call, of which nothing is sent yet.
    """

    __slots__ = ("_call", "_end_exchange", "_exchange", "_idle", "_transport")

    def __init__(
        self,
        transport: PreparedTransport,
        idle: IdleConnections,
        end_exchange: cabc.Callable[[Exchange], Response],
        call: PreparedCall,
    ) -> None:
        self._transport = transport
        self._idle = idle
        self._end_exchange = end_exchange
        self._call = call
        self._exchange: Exchange | None = None

    @property
    def patience_seconds(self) -> float:
        """As :meth:`Outgoing.patience_seconds`."""
        return self._transport.read_timeout_seconds

    def begin(self) -> socket.socket | None:
        """As :meth:`Outgoing.begin`."""
        exchange = Exchange(self._idle, self._transport.request(self._call))

        if not exchange.take_connection():
            return None

        self._exchange = exchange
        connection = exchange.connection
        return None if connection is None or exchange.begin() else connection.socket

    @property
    def has_begun(self) -> bool:
        """As :meth:`Outgoing.has_begun`."""
        return self._exchange is not None

    def proceed(self) -> bool:
        """As :meth:`Outgoing.proceed`."""
        exchange = t.cast(Exchange, self._exchange)
        return exchange.proceed()

    def result(self, read: ReadItems | None) -> Parsed | None:
        """As :meth:`Outgoing.result`."""
        exchange = self._exchange

        if exchange is None or (reply := exchange.reply) is None:
            return None

        reads_items = read is not None and read.is_of_many_items
        largest = LARGEST_BODY_WITH_ITEMS if reads_items else LARGEST_BODY

        if reply.status_code != _OK or len(reply.body) > largest:
            return None

        transport, call = self._transport, self._call
        response = Response(exchange.request.template.url, reply)

        if read is not None:
            content = transport.read_items(call.operation, reply, read)

            if content is not None:
                transport.restore_quota(call, response)
                return content

        parsed = transport.parse(
            call.operation, response, read, may_wait=False, was_tried=read is not None
        )

        if isinstance(parsed, Damaged):
            return None

        transport.end(call, response, parsed)
        return parsed

    def give_up(self) -> None:
        """As :meth:`Outgoing.give_up`."""
        if self._exchange is not None:
            self._exchange.give_up()

    def close(self) -> None:
        """As :meth:`Outgoing.close`."""
        if self._exchange is not None:
            self._exchange.close()

    def hand_over(self) -> None:
        """As :meth:`Outgoing.hand_over`."""
        exchange = self._exchange

        if exchange is not None:
            self._call.first = functools.partial(self._end_exchange, exchange)
            resume(self._call)
