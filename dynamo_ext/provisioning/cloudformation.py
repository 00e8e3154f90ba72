"""Tables as a CloudFormation template, in JSON."""

from __future__ import annotations

import collections.abc as cabc
import json
import re
import typing as t

from ..config.settings import PROVISIONED
from .definition import Definition
from .definition import Index
from .plan import attribute_definitions
from .plan import index_parameters
from .plan import key_schema
from .plan import tag_list
from .plan import throughput_of

_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9]+")


def render(definitions: cabc.Iterable[Definition]) -> str:
    """The template. Its tables stay if the stack is deleted.

    :param definitions: The tables.
    """
    resources: dict[str, t.Any] = {}

    for definition in definitions:
        resources[_logical_id(definition.name, resources)] = {
            "Type": "AWS::DynamoDB::Table",
            "DeletionPolicy": "Retain",
            "UpdateReplacePolicy": "Retain",
            "Properties": _properties(definition),
        }

    return json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}, indent=2)


def _properties(definition: Definition) -> dict[str, t.Any]:
    is_provisioned = definition.billing_mode == PROVISIONED
    properties: dict[str, t.Any] = {
        "TableName": definition.name,
        "BillingMode": definition.billing_mode,
        "AttributeDefinitions": attribute_definitions(definition),
        "KeySchema": key_schema(definition.keys),
    }

    if is_provisioned:
        properties["ProvisionedThroughput"] = throughput_of(definition.capacity)

    if definition.global_indexes:
        properties["GlobalSecondaryIndexes"] = [
            index_parameters(index, index.capacity if is_provisioned else None)
            for index in definition.global_indexes.values()
        ]

    if definition.local_indexes:
        properties["LocalSecondaryIndexes"] = list(
            map(_local_index, definition.local_indexes.values())
        )

    return {**properties, **_options(definition)}


def _local_index(index: Index) -> dict[str, t.Any]:
    return index_parameters(index)


def _options(definition: Definition) -> dict[str, t.Any]:
    """What is left out unless it is declared."""
    options: dict[str, t.Any] = {}

    if definition.stream is not None:
        options["StreamSpecification"] = {"StreamViewType": definition.stream}

    if definition.ttl is not None:
        options["TimeToLiveSpecification"] = {"AttributeName": definition.ttl, "Enabled": True}

    if definition.tags:
        options["Tags"] = tag_list(definition.tags)

    if definition.deletion_protection is not None:
        options["DeletionProtectionEnabled"] = definition.deletion_protection

    if definition.point_in_time_recovery is not None:
        options["PointInTimeRecoverySpecification"] = {
            "PointInTimeRecoveryEnabled": definition.point_in_time_recovery
        }

    return options


def _logical_id(name: str, taken: cabc.Container[str]) -> str:
    """A name of letters and digits that no other table of the template has."""
    words = [word for word in _NOT_IN_IDS.split(name) if word]
    wanted = "".join(word[:1].upper() + word[1:] for word in words) + "Table"
    found, number = wanted, 1

    while found in taken:
        number += 1
        found = f"{wanted}{number}"

    return found
