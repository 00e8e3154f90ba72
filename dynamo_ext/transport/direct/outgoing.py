"""A call whose first attempt is made without waiting, in steps, by who watches its socket.

Nine calls in ten need no more than that. Whatever is out of the ordinary (no open connection, an
error, a large reply, a connection that breaks) is left to :meth:`DirectTransport.send`, which goes
on where the steps have stopped.
"""

from __future__ import annotations

import socket
import typing as t

from ...calls.retry import Damaged
from .. import prepared
from ..protocol import Parsed
from ..response import Response
from .exchange import Exchange

if t.TYPE_CHECKING:
    from .client import DirectTransport

_OK = 200

LARGEST_BODY = 8 * 1024
"""The largest body, in bytes, that is parsed here: larger ones would keep their thread."""


class OutgoingCall:
    """One call.

    :param transport: Its transport.
    :param call: The call, of which nothing is sent yet.
    """

    __slots__ = ("_call", "_exchange", "_transport")

    def __init__(self, transport: DirectTransport, call: prepared.PreparedCall) -> None:
        self._transport = transport
        self._call = call
        self._exchange: Exchange | None = None

    @property
    def patience_seconds(self) -> float:
        """The longest wait for the next bytes of a reply, in seconds."""
        return self._transport.read_timeout_seconds

    def begin(self) -> socket.socket | None:
        """Sign the request and send it, as far as that goes without waiting.

        :return: The socket on which the reply will come; ``None`` if there is no open connection,
            or the exchange has ended already.
        :raises botocore.exceptions.BotoCoreError: if the request can't be signed any more.
        """
        exchange = self._transport.exchange_of(self._transport.request(self._call))

        if not exchange.take_connection():
            return None

        self._exchange = exchange
        connection = exchange.connection
        return None if connection is None or exchange.begin() else connection.socket

    @property
    def has_begun(self) -> bool:
        """Whether anything was sent."""
        return self._exchange is not None

    def proceed(self) -> bool:
        """Read what there is, once the socket is ready.

        :return: Whether the exchange has ended.
        """
        exchange = t.cast(Exchange, self._exchange)
        return exchange.proceed()

    def result(self) -> Parsed | None:
        """Parse the reply of an exchange that has ended.

        :return: The parsed reply, as botocore returns it; ``None`` if it is not an ordinary one.
        """
        exchange = self._exchange

        if exchange is None or (reply := exchange.reply) is None:
            return None

        if reply.status_code != _OK or len(reply.body) > LARGEST_BODY:
            return None

        transport, call = self._transport, self._call
        response = Response(exchange.request.template.url, reply)
        parsed = transport.parse(call.operation, response)

        if isinstance(parsed, Damaged):
            return None

        transport.end(call, response, parsed)
        return parsed

    def give_up(self) -> None:
        """End an exchange whose server is too slow: the attempt has failed."""
        if self._exchange is not None:
            self._exchange.give_up()

    def close(self) -> None:
        """Close the connection: nobody will go on with the call."""
        if self._exchange is not None:
            self._exchange.close()

    def hand_over(self) -> None:
        """Make the next call of the current context go on with this one.

        It must be of the same operation, with the same parameters.
        """
        exchange = self._exchange

        if exchange is not None:
            self._call.first = lambda: self._transport.end_exchange(exchange)
            prepared.resume(self._call)
