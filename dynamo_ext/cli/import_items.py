"""``flask dynamodb import`` and ``quart dynamodb import``."""

from __future__ import annotations

import collections.abc as cabc
import pathlib
import sys
import typing as t

import click

from ..printable import escaped
from . import command
from . import selection
from .selection import SelectedTable
from .transfer import places
from .transfer import progress
from .transfer.budget import Budget
from .transfer.importing import Import
from .transfer.importing import checkpoint_of
from .transfer.item_files import Source
from .transfer.table import Table
from .transferring import failures_as_messages
from .transferring import limit_option
from .transferring import result_line
from .transferring import select_distinct


@click.command("import")
@click.argument("file", type=click.Path(path_type=pathlib.Path))
@selection.options
@limit_option("--max-wcu", "Write")
@command.as_json
@command.in_app
def import_items(
    *,
    file: pathlib.Path,
    names: cabc.Collection[str],
    max_wcu: float | None,
    as_json: bool,
) -> None:
    """Import tables from FILE, as DynamoDB exports them to S3.

    FILE is a file with the items of one table, a folder with a file for each table, or the folder
    of an export to S3. An item replaces one of the same key; others stay. All of a table's files
    are checked before anything is written to it. NAME is a table name as in Meta, without prefix.

    If the command is interrupted, the same command goes on where it was.
    """
    selected = {table.name: table for table in select_distinct(names)}
    every = selection.declared_names()
    budget = Budget(max_wcu)
    results: list[dict[str, t.Any]] = []

    with failures_as_messages():
        sources = places.sources(file, list(names), every=every)

    for name, files in sources.items():
        table = selected[name]

        with failures_as_messages(f"Table {table.shown_name!r} was not imported"):
            results.append(_import(table, budget, file, files, quiet=as_json))

    if as_json:
        command.echo_json(results)
    else:
        _say_what_is_missing(name for name in every if not names and name not in sources)

    selection.note_about_embedded_engine(selected[name] for name in sources)


def _import(
    selected: SelectedTable,
    budget: Budget,
    file: pathlib.Path,
    sources: list[Source],
    *,
    quiet: bool,
) -> dict[str, t.Any]:
    # In a folder with a file for each table, each has a checkpoint of its own.
    begun = sources[0].path if len(sources) == 1 else file
    transfer = Import(
        Table(connection=selected.connection, budget=budget), sources, checkpoint_of(begun)
    )
    is_terminal = sys.stderr.isatty()

    if transfer.has_changed_files:
        click.echo(
            f"{selected.shown_name}: begins anew: the files have changed since the import was"
            " begun",
            err=True,
        )

    if transfer.is_resumed:
        click.echo(f"{selected.shown_name}: goes on with the import that was begun", err=True)
    else:
        with progress.shown(transfer.checking, is_terminal=is_terminal):
            transfer.check()

    with progress.shown(transfer.writing, is_terminal=is_terminal) as watch:
        items = transfer.run()

    if transfer.without_checkpoint is not None:
        click.echo(
            f"Note: no checkpoint could be written: {escaped(transfer.without_checkpoint)}",
            err=True,
        )

    if not quiet:
        click.echo(result_line(selected, f"{items:,} items imported from {begun}", watch))

    return {**selected.identity, "file": str(begun), "result": "imported", "items": items}


def _say_what_is_missing(names: cabc.Iterable[str]) -> None:
    for name in names:
        click.echo(f"{escaped(name)}: there is no file for it", err=True)
