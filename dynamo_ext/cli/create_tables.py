"""``flask dynamodb create-tables`` and ``quart dynamodb create-tables``."""

from __future__ import annotations

import typing as t

import click
import pynamodb.exceptions
from botocore.exceptions import BotoCoreError
from botocore.exceptions import ClientError
from flask.sansio.app import App

from ..binding import context
from ..concurrency import generators
from ..errors import ConfigError
from ..models import late_binding
from ..models import tables
from ..models.late_binding import AnyModel
from ..models.model import Model
from ..models.model import concrete_models
from ..printable import escaped

_FAILURES = (ConfigError, pynamodb.exceptions.PynamoDBException, BotoCoreError, ClientError)


@click.group()
def dynamodb() -> None:
    """Manage DynamoDB tables."""


@dynamodb.command("create-tables")
@click.pass_context
def create_tables(click_context: click.Context) -> None:
    """Create the table of every model, and wait until it is active.

    Tables that exist are left alone.
    """
    with context.use(_load_app(click_context)):
        models = concrete_models(Model)

        if not models:
            raise click.ClickException(
                "There is no model. Import the module that defines the models in the app's factory."
            )

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

    click.echo("created" if created else "exists")

    if late_binding.connection(models[0]).connection.engine.is_of_this_process:
        click.echo(
            "Note: it is in the embedded engine of this command, and gone with it. Tables of"
            " 'local://' have to be created by the app itself.",
            err=True,
        )


def _load_app(click_context: click.Context) -> App:
    """The app of the command line, loaded by ``flask`` or ``quart``."""
    return t.cast(App, click_context.obj.load_app())
