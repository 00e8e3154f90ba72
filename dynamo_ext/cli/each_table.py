"""Do one thing to each table of a command, and say what came of it."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

import click

from ..errors import FAILURES
from . import command
from .selection import SelectedTable


def results(
    selected: cabc.Iterable[SelectedTable],
    act: cabc.Callable[[SelectedTable], str],
    *,
    failed: str,
    quiet: bool,
) -> list[dict[str, t.Any]]:
    """Do it to each table, up to the first one for which it fails.

    :param selected: The tables.
    :param act: Does it, and returns the result.
    :param failed: What is said of a table after "Table ..." if it fails.
    :param quiet: Whether to print no lines.
    :return: The results, for programs.
    :raises click.ClickException: if it fails.
    """
    return [_result(table, act, failed=failed, quiet=quiet) for table in selected]


def _result(
    table: SelectedTable,
    act: cabc.Callable[[SelectedTable], str],
    *,
    failed: str,
    quiet: bool,
) -> dict[str, t.Any]:
    if not quiet:
        click.echo(f"{table.shown_name}: ", nl=False)

    try:
        result = act(table)
    except FAILURES as error:
        if not quiet:
            click.echo("failed")

        raise command.failure(error, f"Table {table.shown_name!r} {failed}") from error

    if not quiet:
        click.echo(f"{result}{table.shown_bind}")

    return {**table.identity, "result": result}
