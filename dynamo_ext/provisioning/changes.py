"""Take the steps of a plan, as generators of waits."""

from __future__ import annotations

import collections.abc as cabc
import itertools
import typing as t

import pynamodb.exceptions
from pynamodb import constants

from ..client.connection import TableConnection
from ..concurrency.generators import Waits
from ..models.tables import check_not_stuck
from ..models.tables import waits
from .described import ACTIVE
from .described import Reply
from .described import describe_table
from .plan import Step

_LONGEST_WAIT = 5.0
# DescribeTable is eventually consistent.
_MOST_LOOKS_FOR_INDEX = 10

Report = cabc.Callable[[str], t.Any]


def take(step: Step, connection: TableConnection, report: Report) -> Waits[None]:
    """Take one step, and wait until the table is ready for the next one.

    :param step: The step.
    :param connection: The connection to the table.
    :param report: Is told what is waited for, whenever that changes.
    :raises pynamodb.exceptions.TableError: if the table is deleted meanwhile, or never becomes
        active.
    :raises pynamodb.exceptions.PynamoDBException: if the server refuses.
    """
    yield 0
    params = dict(step.params)

    if "ResourceArn" not in params:
        params[constants.TABLE_NAME] = connection.table_name

    connection.connection.dispatch(step.operation, params)
    is_there = yield from wait_until_ready(
        connection, report, created=_created(step), deleted=_deleted(step)
    )

    if not is_there:
        raise pynamodb.exceptions.TableError("The table was deleted meanwhile.")


def wait_until_ready(
    connection: TableConnection,
    report: Report,
    *,
    created: str | None = None,
    deleted: str | None = None,
) -> Waits[bool]:
    """Wait until a table and its indexes are active, or the table is gone.

    :param connection: The connection to the table.
    :param report: Is told what is waited for, whenever that changes.
    :param created: A global index that must be there.
    :param deleted: A global index that must be gone.
    :return: Whether the table is there.
    :raises pynamodb.exceptions.TableError: if an index does not appear, or the table never becomes
        active.
    """
    reported = ""
    looks = itertools.count(1)

    pauses = waits(_LONGEST_WAIT)

    while True:
        yield next(pauses)
        table = describe_table(connection)

        if table is None:
            return False

        check_not_stuck(table.get(constants.TABLE_STATUS))
        states = _states(table)

        if created is not None and created not in states:
            if next(looks) == _MOST_LOOKS_FOR_INDEX:
                raise pynamodb.exceptions.TableError(f"Index {created!r} did not appear.")

            states[created] = "expected"

        if deleted in states:
            states[deleted] = "DELETING"

        pending = _shown(table, states)

        if not pending:
            return True

        if pending != reported:
            report(pending)
            reported = pending


def _states(table: Reply) -> dict[str, str]:
    """The status of each global index."""
    return {
        index[constants.INDEX_NAME]: index.get("IndexStatus", ACTIVE)
        + (", backfilling" if index.get("Backfilling") else "")
        for index in table.get(constants.GLOBAL_SECONDARY_INDEXES) or ()
    }


def _shown(table: Reply, states: cabc.Mapping[str, str]) -> str:
    """What is not active yet; empty if everything is."""
    status = table.get(constants.TABLE_STATUS)
    pending = [] if status == ACTIVE else [f"table {status}"]
    pending += [f"index '{name}' {state}" for name, state in states.items() if state != ACTIVE]
    return "; ".join(pending)


def _created(step: Step) -> str | None:
    return None if step.removes else step.index


def _deleted(step: Step) -> str | None:
    return step.index if step.removes else None
