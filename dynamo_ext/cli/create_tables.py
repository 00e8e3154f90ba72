"""``flask dynamodb create-tables`` and ``quart dynamodb create-tables``."""

from __future__ import annotations

import click
import pynamodb.exceptions
from botocore.exceptions import BotoCoreError
from botocore.exceptions import ClientError

from ..concurrency import generators
from ..errors import ConfigError
from ..models import late_binding
from ..models import tables
from ..models.late_binding import AnyModel
from ..printable import escaped
from . import selection

_FAILURES = (ConfigError, pynamodb.exceptions.PynamoDBException, BotoCoreError, ClientError)


@click.group()
def dynamodb() -> None:
    """Manage DynamoDB tables."""


@dynamodb.command("create-tables")
@selection.bind_option
@click.pass_context
def create_tables(click_context: click.Context, bind_key: str | None) -> None:
    """Create the table of every model, each in its own bind, and wait until it is active.

    Tables that exist are left alone.
    """
    with selection.selected_models(click_context, bind_key) as models:
        try:
            groups = tables.by_table(models)
        except ConfigError as error:
            raise click.ClickException(escaped(error)) from error

        for sharing in groups:
            _create_table(sharing)


def _create_table(models: list[AnyModel]) -> None:
    table_name = late_binding.connection(models[0]).table_name
    click.echo(f"{escaped(table_name)}: ", nl=False)

    try:
        created = generators.run(tables.create(models, wait=True))
    except _FAILURES as error:
        click.echo("failed")
        raise click.ClickException(
            f"Table {table_name!r} was not created: {escaped(error)}"
        ) from error

    bind_key = selection.bind_key_of(models[0])
    where = "" if bind_key is None else f" in bind {bind_key!r}"
    click.echo(f"{'created' if created else 'exists'}{where}")

    if late_binding.connection(models[0]).connection.engine.is_of_this_process:
        click.echo(
            "Note: it is in the embedded engine of this command, and gone with it. Tables of"
            " 'local://' have to be created by the app itself.",
            err=True,
        )
