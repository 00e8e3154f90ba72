"""The group ``dynamodb``, with a command for each file of this package that has one."""

from __future__ import annotations

import click

from .check import check
from .create_tables import create_tables
from .drop_tables import drop_tables
from .export import export
from .iam_policy import iam_policy
from .import_items import import_items
from .local import local
from .ping import ping
from .settings import settings
from .status import status
from .sync import sync
from .template import template


@click.group()
def dynamodb() -> None:
    """Manage DynamoDB tables."""


for _command in (
    check,
    create_tables,
    drop_tables,
    export,
    import_items,
    local,
    iam_policy,
    ping,
    settings,
    status,
    sync,
    template,
):
    dynamodb.add_command(_command)
