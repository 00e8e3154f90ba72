"""The group ``dynamodb``, with a command for each file of this package that has one."""

from __future__ import annotations

import importlib
import typing as t

import click

# The name of each command, and where it is. An app that serves requests imports none of them.
_COMMANDS = {
    "check": "check",
    "create-tables": "create_tables",
    "drop-tables": "drop_tables",
    "export": "export",
    "iam-policy": "iam_policy",
    "import": "import_items",
    "local": "local",
    "ping": "ping",
    "settings": "settings",
    "status": "status",
    "sync": "sync",
    "template": "template",
}


class _Commands(click.Group):
    """A group that imports a command when it is asked for it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_COMMANDS, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if (name := _COMMANDS.get(cmd_name)) is None:
            return super().get_command(ctx, cmd_name)

        module = importlib.import_module(f".{name}", __package__)
        return t.cast(click.Command, getattr(module, name))


@click.group(cls=_Commands)
def dynamodb() -> None:
    """Manage DynamoDB tables."""
