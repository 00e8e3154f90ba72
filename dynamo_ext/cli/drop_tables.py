"""``flask dynamodb drop-tables`` and ``quart dynamodb drop-tables``."""

from __future__ import annotations

import collections.abc as cabc

import click
import pynamodb.exceptions

from ..concurrency import generators
from ..models import tables
from . import command
from . import confirmation
from . import each_table
from . import selection
from .selection import SelectedTable

_NOT_FOUND = "ResourceNotFoundException"


@click.command("drop-tables")
@selection.options
@confirmation.options
@command.as_json
@command.in_app
def drop_tables(
    *,
    names: cabc.Collection[str],
    confirm: cabc.Collection[str],
    yes: bool,
    as_json: bool,
) -> None:
    """Delete the tables of the models, with all their items.

    Asks first, and waits until they are gone. NAME is a table name without prefix.
    """
    selected = selection.select(names)
    confirmation.check_places(selected, confirm)
    listed = ", ".join(table.shown_name for table in selected)
    confirmation.confirm(
        f"Delete with all their items: {listed}?", selected, confirmed=confirm, yes=yes
    )
    results = each_table.results(selected, _drop, failed="was not dropped", quiet=as_json)

    if as_json:
        command.echo_json(results)


def _drop(table: SelectedTable) -> str:
    try:
        generators.run(tables.delete(table.models[0], wait=True))
    except pynamodb.exceptions.TableError as error:
        if error.cause_response_code != _NOT_FOUND:
            raise

        return "missing"

    return "dropped"
