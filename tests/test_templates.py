"""Tables as code: what a template says is what the models declare."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import json
import re
import typing as t
import uuid

import botocore.session
import botocore.validate
import pytest
from pynamodb.indexes import IncludeProjection
from pynamodb.indexes import KeysOnlyProjection

import test_commands
from conftest import InApp
from dynamo_ext.provisioning import cloudformation
from dynamo_ext.provisioning import declared
from dynamo_ext.provisioning import described
from dynamo_ext.provisioning import differences
from dynamo_ext.provisioning import terraform
from dynamo_ext.provisioning.definition import Definition
from test_commands import index
from test_commands import local_index
from test_commands import model
from test_commands import run

pytestmark = pytest.mark.once(reason="templates are printed, no call is made")

# `run` keeps an app for each configuration, also for a test here.
forget_apps = test_commands.forget_apps

HOSTILE = 'a "quoted" \\ back\nslash\t${var.secret} %{if true} $${x} ü \U0001f600'
# What CreateTable does not take; CloudFormation calls other operations for it.
ON_TABLES_ONLY = ("TimeToLiveSpecification", "PointInTimeRecoverySpecification")

Document = dict[str, t.Any]


def definitions(in_app: InApp, config: dict[str, t.Any]) -> list[Definition]:
    name = f"t-{uuid.uuid4().hex[:8]}"
    models = [
        model(f"{name}.1"),
        model(
            f"{name}_1",
            index(projection=IncludeProjection(["b", "a"])),
            index("by-name", hash_key="name", range_key="price", read_capacity_units=7),
            local_index(projection=KeysOnlyProjection()),
            ttl="expires",
            stream_view_type="NEW_IMAGE",
            tags={"team": HOSTILE, HOSTILE: "1"},
            deletion_protection_enabled=True,
            point_in_time_recovery_enabled=True,
            read_capacity_units=2,
            write_capacity_units=3,
        ),
        model(f"{name}-1", deletion_protection_enabled=False),
    ]

    with in_app({**config, "DYNAMODB_TABLE_NAME_PREFIX": ""}):
        return [declared.define([each]) for each in models]


# CloudFormation


def test_cloudformation_makes_what_the_models_declare(
    in_app: InApp, stub_config: dict[str, t.Any]
) -> None:
    # Not at the top: it is slow to import.
    from moto.dynamodb.models.table import Table

    tables = definitions(in_app, stub_config)
    template = json.loads(cloudformation.render(tables))
    assert template["AWSTemplateFormatVersion"] == "2010-09-09"
    resources: Document = template["Resources"]
    assert all(re.fullmatch("[A-Za-z0-9]+", name) for name in resources)
    assert len(resources) == len(tables)

    for definition, resource in zip(tables, resources.values(), strict=True):
        properties = resource["Properties"]
        assert resource["Type"] == "AWS::DynamoDB::Table"
        assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Retain"
        assert_takes(properties)
        made = Table.create_from_cloudformation_json(
            properties["TableName"], resource, "123456789012", "us-east-1"
        )
        tags = {each["Key"]: each["Value"] for each in properties.get("Tags", ())}
        recovery = properties.get("PointInTimeRecoverySpecification", {})
        actual = described.define(
            t.cast(t.Any, made).describe()["TableDescription"],
            ttl=properties.get("TimeToLiveSpecification", {}).get("AttributeName"),
            tags=tags,
            point_in_time_recovery=recovery.get("PointInTimeRecoveryEnabled", False),
        )
        assert actual.name == definition.name
        assert differences.compare(definition, actual) == []


def assert_takes(properties: Document) -> None:
    """CreateTable takes the properties, but for those that it has no parameters for."""
    service = botocore.session.get_session().get_service_model("dynamodb")
    shape: t.Any = service.operation_model("CreateTable").input_shape
    params = {key: properties[key] for key in properties if key not in ON_TABLES_ONLY}

    if "StreamSpecification" in params:
        # CloudFormation's stream is enabled if it is there.
        params["StreamSpecification"] = {**params["StreamSpecification"], "StreamEnabled": True}

    report = botocore.validate.ParamValidator().validate(params, shape)
    assert not report.has_errors(), report.generate_report()
    assert params.keys() <= shape.members.keys()
    assert properties.get("TimeToLiveSpecification", {}).keys() in (
        set(),
        {"AttributeName", "Enabled"},
    )


# Terraform


@dataclasses.dataclass
class Block:
    """A block of HCL, as it was read."""

    labels: list[str]
    arguments: Document = dataclasses.field(default_factory=Document)
    blocks: list[tuple[str, Block]] = dataclasses.field(default_factory=list[tuple[str, "Block"]])

    def all(self, kind: str) -> list[Document]:
        return [block.arguments for name, block in self.blocks if name == kind]


TOKEN = re.compile(r'\s*(?:("(?:[^"\\\n]|\\.)*")|([A-Za-z_][\w-]*)|([0-9]+)|([{}\[\],=]))')


class Reader:
    """Reads the part of HCL that is written here, and nothing else."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        position = 0
        text = text.rstrip()

        while position < len(text):
            found = TOKEN.match(text, position)
            assert found, text[position : position + 40]
            self._tokens.append(found.group().strip())
            position = found.end()

    def _next(self) -> str:
        return self._tokens[0]

    def blocks(self) -> cabc.Iterator[tuple[str, Block]]:
        while self._tokens and self._next() != "}":
            yield self._take(), self._block()

    def _take(self, expected: str | None = None) -> str:
        token = self._tokens.pop(0)
        assert expected in (None, token), (expected, token)
        return token

    def _block(self) -> Block:
        block = Block([])

        while self._next() != "{":
            block.labels.append(literal(self._take()))

        self._take("{")

        while self._next() != "}":
            name = self._take()

            if self._next() == "=":
                self._take("=")
                assert name not in block.arguments
                block.arguments[name] = self._value()
            else:
                block.blocks.append((name, self._block()))

        self._take("}")
        return block

    def _value(self) -> t.Any:
        match self._take():
            case "true" | "false" as word:
                return word == "true"
            case "[":
                values = [self._value()]

                while self._next() != "]":
                    self._take(",")
                    values.append(self._value())

                self._take("]")
                return values
            case "{":
                pairs: Document = {}

                while self._next() != "}":
                    key = literal(self._take())
                    self._take("=")
                    pairs[key] = self._value()

                self._take("}")
                return pairs
            case token:
                return int(token) if token.isdigit() else literal(token)


def literal(token: str) -> str:
    """The text of a literal, in which no template begins."""
    assert token[0] == token[-1] == '"'
    assert not re.search(r"(?<!\$)(?:\$\$)*\$\{(?!\{)", token.replace("$${", "")), token
    assert "%{" not in token.replace("%%{", "")
    escapes = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
    text = re.sub(r"\\(.)", lambda found: escapes[found[1]], token[1:-1])
    return text.replace("$${", "${").replace("%%{", "%{")


def test_terraform_has_what_the_models_declare(
    in_app: InApp, stub_config: dict[str, t.Any]
) -> None:
    tables = definitions(in_app, stub_config)
    resources = list(Reader(terraform.render(tables)).blocks())
    assert [kind for kind, _ in resources] == ["resource"] * len(tables)
    labels = [tuple(block.labels) for _, block in resources]
    assert {kind for kind, _ in labels} == {"aws_dynamodb_table"}
    assert len({label for _, label in labels}) == len(tables)
    assert all(re.fullmatch(r"[A-Za-z_][\w-]*", label) for _, label in labels)

    for definition, (_, block) in zip(tables, resources, strict=True):
        assert block.arguments["name"] == definition.name
        assert block.arguments["billing_mode"] == definition.billing_mode
        assert {each["name"]: each["type"] for each in block.all("attribute")} == (
            definition.attribute_types
        )
        assert block.all("lifecycle") == [{"prevent_destroy": True}]

    plain, full, unprotected = (block for _, block in resources)
    keys = {"hash_key": "id", "range_key": "number"}
    assert plain.arguments == {
        "name": tables[0].name,
        "billing_mode": "PAY_PER_REQUEST",
        **keys,
    }
    assert {kind for kind, _ in plain.blocks} == {"attribute", "lifecycle"}
    assert unprotected.arguments["deletion_protection_enabled"] is False
    assert full.arguments == {
        "name": tables[1].name,
        "billing_mode": "PROVISIONED",
        **keys,
        "read_capacity": 2,
        "write_capacity": 3,
        "stream_enabled": True,
        "stream_view_type": "NEW_IMAGE",
        "deletion_protection_enabled": True,
        "tags": {"team": HOSTILE, HOSTILE: "1"},
    }
    assert full.all("global_secondary_index") == [
        {
            "name": "by-owner",
            "hash_key": "owner",
            "projection_type": "INCLUDE",
            "non_key_attributes": ["a", "b"],
            "read_capacity": 2,
            "write_capacity": 3,
        },
        {
            "name": "by-name",
            "hash_key": "name",
            "range_key": "price",
            "projection_type": "ALL",
            "read_capacity": 7,
            "write_capacity": 3,
        },
    ]
    assert full.all("local_secondary_index") == [
        {"name": "by-price", "range_key": "price", "projection_type": "KEYS_ONLY"}
    ]
    assert full.all("ttl") == [{"attribute_name": "expires", "enabled": True}]
    assert full.all("point_in_time_recovery") == [{"enabled": True}]


# The command


@pytest.mark.parametrize("line", ["flask", "quart"])
def test_the_command_prints_templates(line: str, stub_config: dict[str, t.Any]) -> None:
    name = f"t-{uuid.uuid4().hex[:8]}"
    arn = f"arn:aws:dynamodb:us-east-1:123456789012:table/{name}-arn"
    kept = model(name), model(arn)
    config = {**stub_config, "DYNAMODB_TABLE_NAME_PREFIX": "live-"}
    tables = {f"live-{name}", f"{name}-arn"}
    printed = run(config, "template", "--format", "cloudformation", name, arn, line=line)
    resources = json.loads(printed.output)["Resources"].values()
    assert {each["Properties"]["TableName"] for each in resources} == tables
    printed = run(config, "template", "--format", "terraform", name, arn, line=line)
    blocks = [block for _, block in Reader(printed.output).blocks()]
    assert {block.arguments["name"] for block in blocks} == tables
    assert run(config, "template", name, line=line).code == 2
    assert run(config, "template", "--format", "yaml", name, line=line).code == 2
    del kept


def test_what_no_template_can_say_is_refused(stub_config: dict[str, t.Any]) -> None:
    name = f"t-{uuid.uuid4().hex[:8]}"
    kept = (
        model(name),
        model(f"{name}-eu", bind_key="eu"),
        model(f"{name}-scaled", billing_mode="PROVISIONED", read_capacity_units=1),
    )
    config = {**stub_config, "DYNAMODB_BINDS": {"eu": {"REGION": "eu-west-1"}}}
    form = ("template", "--format", "terraform")
    several = run(config, *form, name, f"{name}-eu")
    assert several.code == 2
    assert "eu-west-1, us-east-1" in several.output
    assert run(config, *form, "--bind", "eu", name, f"{name}-eu").code == 0
    lacking = run(config, *form, f"{name}-scaled")
    assert lacking.code == 1
    assert "'write_capacity_units'" in lacking.output
    del kept
