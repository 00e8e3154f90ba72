"""``flask dynamodb status`` and ``quart dynamodb status``."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

import click
from pynamodb import constants

from ..printable import escaped
from ..provisioning import described
from ..provisioning.described import Reply
from . import command
from . import selection


@click.command("status")
@selection.options
@command.as_json
@command.in_app
def status(*, names: cabc.Collection[str], as_json: bool) -> None:
    """Show which tables exist, and in which state.

    DynamoDB counts items and bytes every six hours or so. NAME is a table name without prefix.
    """
    states: list[dict[str, t.Any]] = []

    for table in selection.select(names):
        with command.failures_as_messages(f"Table {table.shown_name!r}"):
            state = _state(described.describe_table(table.connection))

        states.append({**table.identity, **state})

        if not as_json:
            click.echo(f"{table.shown_name}: {escaped(_shown(state))}{table.shown_bind}")

    if as_json:
        command.echo_json(states)


def _state(table: Reply | None) -> dict[str, t.Any]:
    if table is None:
        return {"exists": False}

    definition = described.define(table)
    capacity = definition.capacity
    return {
        "exists": True,
        "status": table.get(constants.TABLE_STATUS),
        "items": table.get(constants.ITEM_COUNT, 0),
        "bytes": table.get("TableSizeBytes", 0),
        "billing_mode": definition.billing_mode,
        "read_capacity_units": capacity.read,
        "write_capacity_units": capacity.write,
        "indexes": [
            {
                "name": index[constants.INDEX_NAME],
                "kind": kind,
                "status": index.get("IndexStatus", described.ACTIVE),
            }
            for kind, part in (
                ("global", constants.GLOBAL_SECONDARY_INDEXES),
                ("local", constants.LOCAL_SECONDARY_INDEXES),
            )
            for index in table.get(part) or ()
        ],
    }


def _shown(state: cabc.Mapping[str, t.Any]) -> str:
    if not state["exists"]:
        return "missing"

    indexes = [
        f"{index['kind']} index {index['name']} {index['status']}" for index in state["indexes"]
    ]
    parts = (
        f"exists, {state['status']}",
        _counted(state["items"], "item"),
        _counted(state["bytes"], "byte"),
        _billing(state),
        *indexes,
    )
    return ", ".join(parts)


def _billing(state: cabc.Mapping[str, t.Any]) -> str:
    read, write = state["read_capacity_units"], state["write_capacity_units"]
    units = "" if read is None else f" ({read} read, {write} write)"
    return f"{state['billing_mode']}{units}"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
