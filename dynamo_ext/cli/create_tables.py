"""``flask dynamodb create-tables`` and ``quart dynamodb create-tables``."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

import click

from ..concurrency import generators
from ..errors import FAILURES
from ..models import tables
from . import command
from . import selection
from .selection import SelectedTable


@click.command("create-tables")
@selection.options
@command.as_json
@command.in_app
def create_tables(*, names: cabc.Collection[str], as_json: bool) -> None:
    """Create the tables of the models.

    Waits until they are active. Tables that exist are left alone. NAME is a table name without
    prefix.
    """
    selected = selection.select(names)
    results = [_create(table, quiet=as_json) for table in selected]

    if as_json:
        command.echo_json(results)

    selection.note_about_embedded_engine(selected)


def _create(table: SelectedTable, *, quiet: bool) -> dict[str, t.Any]:
    if not quiet:
        click.echo(f"{table.shown_name}: ", nl=False)

    try:
        created = generators.run(tables.create(table.models, wait=True))
    except FAILURES as error:
        if not quiet:
            click.echo("failed")

        raise command.failure(error, f"Table {table.shown_name!r} was not created") from error

    result = "created" if created else "exists"

    if not quiet:
        click.echo(f"{result}{table.shown_bind}")

    return {**table.identity, "result": result}
