"""The group ``dynamodb``, with a command for each file of this package that has one."""

from __future__ import annotations

import click

from .create_tables import create_tables
from .drop_tables import drop_tables
from .export import export
from .import_items import import_items


@click.group()
def dynamodb() -> None:
    """Manage DynamoDB tables."""


for _command in (
    create_tables,
    drop_tables,
    export,
    import_items,
):
    dynamodb.add_command(_command)
