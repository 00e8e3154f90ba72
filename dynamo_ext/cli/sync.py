"""``flask dynamodb sync`` and ``quart dynamodb sync``."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import typing as t

import click

from ..concurrency import generators
from ..models import tables
from ..printable import escaped
from ..provisioning import changes
from ..provisioning import plan
from ..provisioning.plan import Plan
from ..provisioning.plan import Step
from . import command
from . import comparison
from . import confirmation
from . import selection
from .selection import SelectedTable

Echo = cabc.Callable[[SelectedTable, str], None]


@dataclasses.dataclass(frozen=True)
class _Planned:
    """A table with its plan."""

    table: SelectedTable
    plan: Plan
    notes: list[str]


@click.command("sync")
@selection.options
@click.option("--dry-run", is_flag=True, help="Only show the plan.")
@confirmation.options
@command.as_json
@command.in_app
def sync(
    *,
    names: cabc.Collection[str],
    dry_run: bool,
    confirm: cabc.Collection[str],
    yes: bool,
    as_json: bool,
) -> None:
    """Change the tables to what their models declare.

    No item is lost. Shows the plan, and asks before it removes an index, a TTL, a stream or
    backups. Refuses what DynamoDB can't change in a table that exists. NAME is a table name without
    prefix.
    """
    selected = selection.select(names)
    confirmation.check_places(selected, confirm)
    # JSON stands alone in the standard output.
    echo: Echo = _to_stderr if as_json else _to_stdout
    planned = _plan(selected, echo)

    for each in planned:
        for line in _lines(each):
            echo(each.table, line)

    is_refused = any(each.plan.refusals for each in planned)
    is_done = not (dry_run or is_refused)

    if is_done:
        _confirm(planned, confirmed=confirm, yes=yes)

        for each in planned:
            _apply(each, echo)

    if as_json:
        command.echo_json([_as_dict(each, is_done=is_done) for each in planned])

    if is_refused:
        raise click.ClickException(_remedy(planned))

    if is_done:
        selection.note_about_embedded_engine(selected)


def _plan(selected: cabc.Sequence[SelectedTable], echo: Echo) -> list[_Planned]:
    planned: list[_Planned] = []

    for table, definition in zip(selected, comparison.declare(selected), strict=True):
        # A table that is being changed may differ for a moment, and takes no other change.
        with command.failures_as_messages(f"Table {table.shown_name!r}"):
            generators.run(changes.wait_until_ready(table.connection, _waiting(table, echo)))

        compared = comparison.compare(table, definition)
        planned.append(_Planned(table, plan.plan(definition, compared.found), compared.notes))

    return planned


def _lines(planned: _Planned) -> cabc.Iterator[str]:
    if planned.plan.is_empty:
        yield f"ok{planned.table.shown_bind}"

    if planned.plan.creates:
        yield "plan: create the table"

    for step in planned.plan.steps:
        yield f"plan: {step.text}"

    for refusal in planned.plan.refusals:
        yield f"refused: {refusal}"

    for note in planned.notes:
        yield f"not compared: {note}"


def _confirm(
    planned: cabc.Iterable[_Planned], *, confirmed: cabc.Collection[str], yes: bool
) -> None:
    removing = [each for each in planned if each.plan.removes]

    if removing:
        texts = [
            f"{each.table.shown_name}: {escaped(step.text)}"
            for each in removing
            for step in each.plan.steps
            if step.removes
        ]
        confirmation.confirm(
            f"Go on, and {'; '.join(texts)}?",
            [each.table for each in removing],
            confirmed=confirmed,
            yes=yes,
        )


def _apply(planned: _Planned, echo: Echo) -> None:
    table = planned.table

    if planned.plan.creates:
        with command.failures_as_messages(f"Table {table.shown_name!r} was not created"):
            generators.run(tables.create(table.models, wait=True))

        echo(table, "created")

    for step in planned.plan.steps:
        with command.failures_as_messages(_failed(table, step)):
            generators.run(changes.take(step, table.connection, _waiting(table, echo)))

        echo(table, f"done: {step.text}")


def _failed(table: SelectedTable, step: Step) -> str:
    text = f"Table {table.shown_name!r}, {escaped(step.text)}"

    if step.operation == "UpdateTimeToLive":
        # There is no error code of its own for that.
        text += " (DynamoDB changes a TTL once an hour: then wait, and run this again)"

    return text


def _waiting(table: SelectedTable, echo: Echo) -> changes.Report:
    return lambda text: echo(table, f"waiting: {text}")


def _remedy(planned: cabc.Iterable[_Planned]) -> str:
    group = command.group_path()
    table = next(each.table for each in planned if each.plan.refusals)
    commands = ("export FILE", "drop-tables", "create-tables", "import FILE")
    listed = ", ".join(f"'{group} {each} {escaped(table.arguments)}'" for each in commands)
    return (
        "Nothing was changed, because a part of the plan is refused. Give the other tables as NAME"
        " to change only them. To change what is refused, export the items, drop the table, create"
        f" it again and import the items: {listed}."
    )


def _as_dict(planned: _Planned, *, is_done: bool) -> dict[str, t.Any]:
    if planned.plan.refusals:
        result = "refused"
    elif planned.plan.is_empty:
        result = "ok"
    else:
        result = "changed" if is_done else "planned"

    return {
        **planned.table.identity,
        "result": result,
        "creates": planned.plan.creates,
        "steps": [{"text": step.text, "removes": step.removes} for step in planned.plan.steps],
        "refusals": list(planned.plan.refusals),
        "notes": planned.notes,
    }


def _to_stdout(table: SelectedTable, text: str) -> None:
    click.echo(f"{table.shown_name}: {escaped(text)}")


def _to_stderr(table: SelectedTable, text: str) -> None:
    click.echo(f"{table.shown_name}: {escaped(text)}", err=True)
