"""``DYNAMODB_TRANSPORT = "botocore"``: botocore's HTTP session and urllib3 send and receive."""

from __future__ import annotations

import logging
import typing as t

from ..calls.record import Sender
from .prepared import PreparedTransport
from .response import Response
from .template import Request

# Its children inherit the level, unless they are given one of their own.
_logger = logging.getLogger("botocore.endpoint")


class BotocoreTransport(PreparedTransport):
    """Reads and writes no socket itself: what goes over the wire, and how, is botocore's matter."""

    name: t.ClassVar[Sender] = "botocore"

    def close(self) -> None:
        """Do nothing: the connections are the client's."""

    @property
    def can_prepare(self) -> bool:
        """As :attr:`PreparedTransport.can_prepare`; not if botocore is debugged."""
        return super().can_prepare and not _logger.isEnabledFor(logging.DEBUG)

    def exchange(self, request: Request) -> Response:
        """As :meth:`PreparedTransport.exchange`."""
        return self.send_by_urllib3(request)
