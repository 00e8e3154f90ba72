"""Check that an endpoint answers."""

from __future__ import annotations

import pynamodb.exceptions

from ..calls import deadline
from .connection import Connection

_ACCESS_DENIED = "AccessDeniedException"


def ping(connection: Connection, timeout: float) -> None:
    """Check that an endpoint answers and accepts its credentials, by ListTables.

    "Access denied" counts as a good answer, because an app need not have the right to list tables.

    :param connection: A connection to the endpoint.
    :param timeout: How long the check may take in all, in seconds.
    :raises CallTimeout: if there is no answer in time.
    :raises pynamodb.exceptions.TableError: if the answer is another error.
    """
    with deadline.limit(timeout):
        try:
            connection.list_tables(limit=1)
        except pynamodb.exceptions.TableError as error:
            if error.cause_response_code != _ACCESS_DENIED:
                raise
