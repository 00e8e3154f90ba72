"""``flask dynamodb create-tables`` and ``quart dynamodb create-tables``."""

from __future__ import annotations

import collections.abc as cabc

import click

from ..concurrency import generators
from ..models import tables
from . import command
from . import each_table
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
    results = each_table.results(selected, _create, failed="was not created", quiet=as_json)

    if as_json:
        command.echo_json(results)

    selection.note_about_embedded_engine(selected)


def _create(table: SelectedTable) -> str:
    return "created" if generators.run(tables.create(table.models, wait=True)) else "exists"
