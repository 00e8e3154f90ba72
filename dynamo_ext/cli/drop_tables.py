"""``flask dynamodb drop-tables`` and ``quart dynamodb drop-tables``."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

import click
import pynamodb.exceptions

from ..concurrency import generators
from ..errors import FAILURES
from ..models import tables
from . import command
from . import confirmation
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
    results = [_drop(table, quiet=as_json) for table in selected]

    if as_json:
        command.echo_json(results)


def _drop(table: SelectedTable, *, quiet: bool) -> dict[str, t.Any]:
    if not quiet:
        click.echo(f"{table.shown_name}: ", nl=False)

    try:
        result = "dropped" if _is_dropped(table) else "missing"
    except FAILURES as error:
        if not quiet:
            click.echo("failed")

        raise command.failure(error, f"Table {table.shown_name!r} was not dropped") from error

    if not quiet:
        click.echo(f"{result}{table.shown_bind}")

    return {**table.identity, "result": result}


def _is_dropped(table: SelectedTable) -> bool:
    """Delete a table. ``False`` if there is none."""
    try:
        generators.run(tables.delete(table.models[0], wait=True))
    except pynamodb.exceptions.TableError as error:
        if error.cause_response_code != _NOT_FOUND:
            raise

        return False

    return True
