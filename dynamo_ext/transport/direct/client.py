"""``DYNAMODB_TRANSPORT = "direct"``: this project reads and writes the sockets.

urllib3 opens each connection, with botocore's settings. Where only urllib3 can send, it does.
"""

from __future__ import annotations

import json
import typing as t

import msgspec
from botocore.exceptions import ConnectionClosedError
from botocore.exceptions import ReadTimeoutError

from ...calls import deadline
from ...calls.record import Sender
from ...concurrency import waiting
from .. import parser
from ..prepared import PreparedTransport
from ..protocol import Params
from ..response import Response
from ..template import Encode
from ..template import Request
from . import bodies
from .connections import BrokenConnection
from .connections import IdleConnections
from .connections import NoReplyInTime
from .exchange import Exchange
from .opening import open_connection
from .outgoing import OutgoingCall


class DirectTransport(PreparedTransport):
    """Sends the calls of one client on open connections."""

    name: t.ClassVar[Sender] = "direct"

    def __init__(self, *args: t.Any, **options: t.Any) -> None:
        super().__init__(*args, **options)
        self._connections = IdleConnections()

    @property
    def waits_cooperatively(self) -> bool:
        """Whether a call made now would neither first wait for credentials, which botocore fetches,
        nor go by botocore, because something is hooked into it."""
        return self.has_current_credentials and not self.hooks.are_there

    def close(self) -> None:
        """Close all idle connections."""
        self._connections.close()

    def abandon(self) -> None:
        """As :meth:`Transport.abandon`."""
        self._connections.close()
        super().abandon()

    def make_parser(self) -> parser.Parser:
        """As :meth:`PreparedTransport.make_parser`: it reads JSON faster."""
        return _Parser()

    def choose_encoder(self) -> Encode:
        """As :meth:`PreparedTransport.choose_encoder`: it writes JSON faster."""
        return bodies.encode

    def exchange(self, request: Request) -> Response:
        """As :meth:`PreparedTransport.exchange`."""
        exchange = Exchange(self._connections, request)
        in_other_thread = waiting.current.get().in_other_thread

        if not exchange.take_connection():
            url, session = request.template.url, self.http_session
            opened = in_other_thread(lambda: open_connection(session, url))

            if opened is None:
                return in_other_thread(lambda: self.send_by_urllib3(request))

            exchange.connection = opened

        return self._end_exchange(exchange)

    def prepare(self, operation_name: str, params: Params) -> OutgoingCall | None:
        """As :meth:`Transport.prepare`."""
        call = self.begin(operation_name, params)

        if call is None:
            return None

        return OutgoingCall(self, self._connections, self._end_exchange, call)

    def _end_exchange(self, exchange: Exchange) -> Response:
        """Wait for the reply of an exchange that has a connection, or was begun on one."""
        failure: Exception
        url = exchange.request.template.url

        try:
            return Response(url, exchange.complete(self._patience))
        except BrokenConnection as broken:
            failure = ConnectionClosedError(error=broken, endpoint_url=url)
        except NoReplyInTime as late:
            failure = ReadTimeoutError(error=late, endpoint_url=url)

        raise failure

    def _patience(self) -> float:
        limit = deadline.current()
        seconds = self.read_timeout_seconds
        return seconds if limit is None else min(seconds, limit.remaining)


class _Parser(parser.Parser):
    def loads(self, body: bytes) -> t.Any:
        try:
            return msgspec.json.decode(body)
        except (ValueError, msgspec.MsgspecError):
            # msgspec is stricter than botocore, which accepts whatever Python's json reads. In old
            # releases its errors are no ValueErrors.
            return json.loads(body.decode())

    def headers(self, response: parser.Response) -> dict[str, str]:
        # Their names are in lower case already.
        return t.cast("dict[str, str]", response["headers"])
