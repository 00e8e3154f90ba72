"""Whether anybody would notice what PynamoDB does around a call, besides making it.

PynamoDB announces each call by signals and debug records, each with an identifier of the call.
Where nobody listens, and nothing of it is patched, that is left out: it takes longer than to sign
the request.
"""

from __future__ import annotations

import logging
import typing as t

import pynamodb.connection.base
import pynamodb.signals

_Connection: t.Any = pynamodb.connection.base.Connection
_signals: t.Any = pynamodb.signals
_logger: logging.Logger = pynamodb.connection.base.log

# As they are when this module is imported.
_dispatch = _Connection.dispatch
_make_api_call = _Connection._make_api_call
_capacity_map = _Connection.get_consumed_capacity_map


def is_noticed() -> bool:
    """Whether PynamoDB's own ``dispatch`` must make a call made now."""
    return bool(
        _signals.pre_dynamodb_send.receivers
        or _signals.post_dynamodb_send.receivers
        or _Connection.dispatch is not _dispatch
        or _Connection._make_api_call is not _make_api_call
        or _Connection.get_consumed_capacity_map is not _capacity_map
        or _logger.isEnabledFor(logging.DEBUG)
    )
