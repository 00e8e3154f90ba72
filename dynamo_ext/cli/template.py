"""``flask dynamodb template`` and ``quart dynamodb template``."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import types

import click

from ..config.settings import PROVISIONED
from ..errors import ConfigError
from ..provisioning import cloudformation
from ..provisioning import terraform
from ..provisioning.arn import plain_name
from ..provisioning.definition import Definition
from . import command
from . import comparison
from . import selection
from .selection import SelectedTable

_FORMATS: cabc.Mapping[str, cabc.Callable[[cabc.Iterable[Definition]], str]] = (
    types.MappingProxyType({"cloudformation": cloudformation.render, "terraform": terraform.render})
)


@click.command("template")
@selection.options
@click.option(
    "--format",
    "form",
    type=click.Choice([*_FORMATS]),
    required=True,
    help="CloudFormation's JSON, or Terraform's HCL.",
)
@command.in_app
def template(*, names: cabc.Collection[str], form: str) -> None:
    """Print the tables as code for CloudFormation or Terraform.

    NAME is a table name without prefix.
    """
    selected = selection.select(names)
    definitions = comparison.declare(selected)
    _check_regions(selected)

    for definition in definitions:
        _check_capacity(definition)

    click.echo(
        _FORMATS[form](
            [
                dataclasses.replace(definition, name=plain_name(definition.name))
                for definition in definitions
            ]
        )
    )


def _check_regions(selected: cabc.Iterable[SelectedTable]) -> None:
    """Refuse tables of several regions: a stack, and a provider of Terraform, is of one."""
    regions = {table.connection.connection.engine.endpoint.region for table in selected}

    if len(regions) > 1:
        raise click.UsageError(
            f"The tables are in several regions: {', '.join(sorted(regions))}. A template is for"
            " one region: select tables by --bind or by NAME."
        )


def _check_capacity(definition: Definition) -> None:
    capacities = {
        "": definition.capacity,
        **{
            f" in index {name!r}": index.capacity
            for name, index in definition.global_indexes.items()
        },
    }

    for where, capacity in capacities.items():
        if definition.billing_mode == PROVISIONED and not capacity.is_complete:
            raise ConfigError(
                f"Table {definition.name!r} is {PROVISIONED}, but{where} a capacity is missing: set"
                " 'read_capacity_units' and 'write_capacity_units' in the model's Meta, or"
                " 'DYNAMODB_READ_CAPACITY_UNITS' and 'DYNAMODB_WRITE_CAPACITY_UNITS'."
            )
