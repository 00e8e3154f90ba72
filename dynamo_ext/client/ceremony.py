"""Whether anybody would notice what PynamoDB does around a call, besides making it.

PynamoDB announces each call by signals and debug records, each with an identifier of the call.
Where nobody listens, and nothing of it is patched, that is left out: it takes longer than to sign
the request.
"""

from __future__ import annotations

import logging
import typing as t

import pynamodb.connection.base
import pynamodb.connection.table
import pynamodb.signals

_signals: t.Any = pynamodb.signals
_logger: logging.Logger = pynamodb.connection.base.log

# What PynamoDB's connections are made of, at any time and when this module is imported.
_of_connection = vars(pynamodb.connection.base.Connection).values()
_of_table_connection = vars(pynamodb.connection.table.TableConnection).values()
_at_first = [*_of_connection, *_of_table_connection]


def is_noticed() -> bool:
    """Whether PynamoDB's own ``dispatch`` must make a call made now."""
    return bool(
        _signals.pre_dynamodb_send.receivers
        or _signals.post_dynamodb_send.receivers
        # They are hardly ever compared, because Python first looks whether they are identical.
        or [*_of_connection, *_of_table_connection] != _at_first
        or _logger.isEnabledFor(logging.DEBUG)
    )
