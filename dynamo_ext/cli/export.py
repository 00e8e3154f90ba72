"""``flask dynamodb export`` and ``quart dynamodb export``."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import pathlib
import sys
import typing as t

import click

from ..models.item_json import KeySchema
from ..printable import escaped
from . import command
from . import selection
from .selection import SelectedTable
from .transfer import places
from .transfer import progress
from .transfer.budget import Budget
from .transfer.exporting import Export
from .transfer.exporting import is_complete
from .transfer.failures import TransferError
from .transfer.item_files import begins_with_item
from .transfer.table import Table
from .transferring import failures_as_messages
from .transferring import limit_option
from .transferring import result_line
from .transferring import select_distinct


@click.command("export")
@click.argument("file", type=click.Path(path_type=pathlib.Path))
@selection.options
@limit_option("--max-rcu", "Read")
@click.option("--overwrite", is_flag=True, help="Replace exports that are complete.")
@command.as_json
@command.in_app
def export(
    *,
    file: pathlib.Path,
    names: cabc.Collection[str],
    max_rcu: float | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Export tables to FILE, as DynamoDB exports them to S3.

    One table goes to the file, compressed if its name ends with '.gz'; several go into a folder,
    each to a file of its name. NAME is a table name as in Meta, without prefix.

    If the command is interrupted, the same command goes on where it was.
    """
    selected = select_distinct(names)
    budget = Budget(max_rcu)
    results: list[dict[str, t.Any]] = []

    with failures_as_messages():
        paths = places.targets(file, [table.name for table in selected])

    for table, path in zip(selected, paths, strict=True):
        with failures_as_messages(f"Table {table.shown_name!r} was not exported"):
            place = _Place(path, is_named_after_table=path != file)
            transferred = Table(connection=table.connection, budget=budget)
            results.append(_export(table, transferred, place, overwrite=overwrite, quiet=as_json))

    if as_json:
        command.echo_json(results)


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where a table is exported to."""

    path: pathlib.Path
    is_named_after_table: bool
    """Whether it is a file in a folder, whose name says which table's it is."""

    def has_export_of(self, table: Table) -> bool:
        """Whether a complete export of a table is there."""
        if self.is_named_after_table:
            return begins_with_item(self.path, KeySchema.of(table.describe()))

        return is_complete(table, self.path)


def _export(
    selected: SelectedTable, table: Table, place: _Place, *, overwrite: bool, quiet: bool
) -> dict[str, t.Any]:
    path = place.path
    result = {**selected.identity, "file": str(path)}

    if path.exists() and not overwrite:
        _check_complete(table, place)

        if not quiet:
            click.echo(
                f"{selected.shown_name}: {escaped(path)} is complete already. To export the table"
                " again, name another file, or add --overwrite."
            )

        return {**result, "result": "complete"}

    # Nothing else would tell later whose items are in a file of any name.
    export = Export(table, path, keeps_checkpoint=not place.is_named_after_table)

    if export.resumed_from is not None:
        click.echo(
            f"{selected.shown_name}: goes on with the export of {escaped(export.resumed_from)},"
            f" which has {export.meter.done:,} items",
            err=True,
        )

    with progress.shown(export.meter, is_terminal=sys.stderr.isatty()) as watch:
        items = export.run()

    if not quiet:
        click.echo(result_line(selected, f"{items:,} items exported to {path}", watch))

    return {**result, "result": "exported", "items": items}


def _check_complete(table: Table, place: _Place) -> None:
    if not place.has_export_of(table):
        raise TransferError(
            f"{place.path} exists, and is not known to be a complete export of this table. Name"
            " another file, or add --overwrite to replace it."
        )
