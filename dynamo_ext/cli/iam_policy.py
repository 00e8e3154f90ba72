"""``flask dynamodb iam-policy`` and ``quart dynamodb iam-policy``."""

from __future__ import annotations

import collections.abc as cabc
import re

import click

from ..provisioning.arn import TableArn
from ..provisioning.policy import policy
from . import command
from . import comparison
from . import selection

_ACCOUNT = re.compile(r"\*|[0-9]{12}")
_REGION = re.compile(r"\*|[a-z0-9-]{1,63}")


def _check_account(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if not _ACCOUNT.fullmatch(value):
        raise click.BadParameter("an account has 12 digits, like 123456789012; or '*'")

    return value


def _check_region(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> str | None:
    if value is not None and not _REGION.fullmatch(value):
        raise click.BadParameter("a region is named like 'eu-west-1'; or '*'")

    return value


@click.command("iam-policy")
@selection.options
@click.option(
    "--account",
    default="*",
    callback=_check_account,
    metavar="NUMBER",
    help="The tables' account, instead of that of whoever has the policy.",
)
@click.option(
    "--region",
    callback=_check_region,
    metavar="REGION",
    help="The tables' region, instead of that in the settings.",
)
@command.in_app
def iam_policy(*, names: cabc.Collection[str], account: str, region: str | None) -> None:
    """Print an IAM policy with the rights that the models need.

    It has what calls of the models need, and nothing to create, change or delete tables. NAME is a
    table name without prefix.
    """
    selected = selection.select(names)
    arns = [TableArn.of(table.connection, region=region, account=account) for table in selected]
    command.echo_json(policy(zip(arns, comparison.declare(selected), strict=True)))
