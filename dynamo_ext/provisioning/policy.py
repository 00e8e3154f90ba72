"""The IAM policy with the least rights for the calls of models."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

from .arn import TableArn
from .definition import Definition

# Transactions need the right to each of their operations.
_ON_TABLES = (
    "dynamodb:BatchGetItem",
    "dynamodb:BatchWriteItem",
    "dynamodb:ConditionCheckItem",
    "dynamodb:DeleteItem",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:Query",
    "dynamodb:Scan",
    "dynamodb:UpdateItem",
)
_ON_INDEXES = ("dynamodb:Query", "dynamodb:Scan")


def policy(tables: cabc.Iterable[tuple[TableArn, Definition]]) -> dict[str, t.Any]:
    """A policy for an identity (a role, a user).

    :param tables: The ARN and the definition of each table.
    :return: The policy, in the form of IAM's JSON.
    """
    tables = list(tables)
    indexes = [
        arn.index(name)
        for arn, definition in tables
        for name in (*definition.global_indexes, *definition.local_indexes)
    ]
    statements = [
        _statement("Items", _ON_TABLES, [arn.text for arn, _ in tables]),
        *([_statement("Indexes", _ON_INDEXES, indexes)] if indexes else []),
    ]
    return {"Version": "2012-10-17", "Statement": statements}


def _statement(
    name: str, actions: cabc.Iterable[str], resources: cabc.Iterable[str]
) -> dict[str, t.Any]:
    return {
        "Sid": name,
        "Effect": "Allow",
        "Action": list(actions),
        "Resource": sorted(dict.fromkeys(resources)),
    }
