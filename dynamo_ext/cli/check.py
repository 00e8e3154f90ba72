"""``flask dynamodb check`` and ``quart dynamodb check``."""

from __future__ import annotations

import collections.abc as cabc

import click

from . import command
from . import comparison
from . import selection
from .comparison import ComparedTable


@click.command("check")
@selection.options
@command.as_json
@command.in_app
def check(*, names: cabc.Collection[str], as_json: bool) -> None:
    """Compare the tables with their models.

    Exits with 1 if any table differs. Changes nothing. NAME is a table name without prefix.
    """
    selected = selection.select(names)
    results: list[ComparedTable] = []

    for table, definition in zip(selected, comparison.declare(selected), strict=True):
        compared = comparison.compare(table, definition)
        results.append(compared)

        if not as_json:
            for line in _lines(compared):
                click.echo(compared.line(line))

    if as_json:
        command.echo_json([_as_dict(compared) for compared in results])

    command.exit_with(int(any(_differs(compared) for compared in results)))


def _differs(compared: ComparedTable) -> bool:
    return compared.found is None or bool(compared.differences)


def _lines(compared: ComparedTable) -> cabc.Iterator[str]:
    if compared.found is None:
        yield f"differs: the table is missing: '{_next('create-tables', compared)}' creates it"
    elif not compared.differences:
        yield f"ok{compared.table.shown_bind}"
    else:
        for difference in compared.differences:
            yield f"differs: {difference}"

        yield f"differs: '{_next('sync --dry-run', compared)}' shows what would change it"

    for note in compared.notes:
        yield f"not compared: {note}"


def _next(name: str, compared: ComparedTable) -> str:
    """The command that goes on from here."""
    return f"{command.group_path()} {name} {compared.table.arguments}"


def _as_dict(compared: ComparedTable) -> dict[str, object]:
    result = "differs" if _differs(compared) else "ok"
    return {
        **compared.table.identity,
        "result": "missing" if compared.found is None else result,
        "differences": comparison.as_dicts(compared.differences),
        "notes": compared.notes,
    }
