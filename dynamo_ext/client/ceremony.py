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

from ..namespaces import Namespaces

_signals: t.Any = pynamodb.signals
_logger: logging.Logger = pynamodb.connection.base.log

# What connections are made of, PynamoDB's and this project's.
_classes = Namespaces()


def watch(*kinds: type) -> None:
    """Note the classes of connections as they are now, so that a patch is noticed.

    :param kinds: The classes.
    """
    for kind in kinds:
        _classes.note(kind, vars(kind))


def is_noticed() -> bool:
    """Whether PynamoDB's own ``dispatch`` must make a call made now."""
    return bool(
        _signals.pre_dynamodb_send.receivers
        or _signals.post_dynamodb_send.receivers
        or not _classes.are_unchanged()
        or _logger.isEnabledFor(logging.DEBUG)
    )


watch(pynamodb.connection.base.Connection, pynamodb.connection.table.TableConnection)
