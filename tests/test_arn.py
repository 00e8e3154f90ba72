"""A table that is named by its ARN, which may be of another account: it gets no prefix."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

import flask
import pytest
from pynamodb.attributes import UnicodeAttribute

import dynamo_ext
from conftest import InApp
from dynamo_ext.models import tables as of_tables
from dynamo_ext_async import Model
from dynamo_ext_async import PynamoDB
from stub import Answer
from stub import Request
from stub import Stub

OF_TABLE = "arn:aws:dynamodb:us-east-1:123456789012:table/"
ARN = f"{OF_TABLE}shared"


class Shared(Model):
    class Meta:
        table_name = ARN

    id = UnicodeAttribute(hash_key=True)
    text = UnicodeAttribute(null=True)


class Own(Model):
    class Meta:
        table_name = "own"

    id = UnicodeAttribute(hash_key=True)


@pytest.fixture
def db(stub_config: dict[str, t.Any]) -> cabc.Iterator[PynamoDB]:
    app = flask.Flask("tests")
    app.config.from_mapping(stub_config, DYNAMODB_BLOCKING_CALLS="allow")
    db = PynamoDB(app)

    with app.app_context():
        yield db


def tables(request: Request) -> set[str]:
    """The tables that a request names."""
    body = request.body
    return {
        *filter(None, [body.get("TableName")]),
        *(body.get("RequestItems") or ()),
        *(part["TableName"] for item in body.get("TransactItems") or () for part in item.values()),
    }


@pytest.mark.anyio
async def test_every_call_names_it_without_the_prefix(db: PynamoDB, stub: Stub) -> None:
    assert (Shared.Meta.table_name, Shared.exists()) == (ARN, False)
    Shared.create_table()
    Shared("1", text="a").save()
    Shared.get("1").update([Shared.text.set("b")])
    Shared("1").refresh()
    list(Shared.query("1"))
    list(Shared.scan())
    assert [each.id for each in Shared.batch_get(["1", "2"])] == ["1", "2"]

    with Shared.batch_write() as batch:
        batch.save(Shared("1"))
        batch.delete(Shared("2"))

    with db.transact_get() as get:
        found = get.get(Shared, "1")

    with db.transact_write() as write:
        write.save(Shared("1"))
        write.condition_check(Shared, "2", condition=Shared.text.exists())

    await Shared.aget("1")
    await Shared("1").asave()
    assert [each.id async for each in Shared.abatch_get(["1"])] == ["1"]

    async with Shared.abatch_write() as awaited:
        await awaited.save(Shared("1"))

    Shared.delete_table()
    assert found.get().id == "1"
    assert {name for request in stub.requests for name in tables(request)} == {ARN}


def test_the_app_s_other_tables_have_their_prefix(db: PynamoDB, stub: Stub) -> None:
    prefix = db.settings.table_name_prefix
    assert prefix

    with db.transact_write() as write:
        write.save(Shared("1"))
        write.save(Own("1"))

    (request,) = stub.requests
    assert tables(request) == {ARN, f"{prefix}own"}


@pytest.mark.parametrize("table_name_prefix", ["", "of-the-meta-"])
def test_nor_does_a_prefix_of_its_meta_come_before_it(table_name_prefix: str, db: PynamoDB) -> None:
    prefix = table_name_prefix

    class Prefixed(Model):
        class Meta:
            table_name = ARN
            table_name_prefix = prefix

        id = UnicodeAttribute(hash_key=True)

    assert Prefixed.Meta.table_name == ARN


def test_it_may_be_as_long_as_an_arn_may_be(db: PynamoDB, stub: Stub) -> None:
    class Long(Model):
        class Meta:
            table_name = OF_TABLE + 255 * "x"

        id = UnicodeAttribute(hash_key=True)

    Long.get("1")
    (request,) = stub.requests
    assert request.body["TableName"] == OF_TABLE + 255 * "x"


def test_a_name_that_only_looks_like_one_has_the_prefix(db: PynamoDB) -> None:
    class Arno(Model):
        class Meta:
            table_name = "arno.arn"

        id = UnicodeAttribute(hash_key=True)

    assert Arno.Meta.table_name == f"{db.settings.table_name_prefix}arno.arn"


@pytest.mark.parametrize("name", [ARN, "shared"])
def test_a_batch_is_answered_by_arn_or_by_name(name: str, db: PynamoDB, stub: Stub) -> None:
    """DynamoDB's reference says ``table name or table ARN`` of both replies."""
    item = {"id": {"S": "1"}}
    key = {"id": {"S": "2"}}
    write = {"PutRequest": {"Item": {"id": {"S": "3"}}}}
    read = Answer(body={"Responses": {name: [item]}, "UnprocessedKeys": {name: {"Keys": [key]}}})
    stub.next("BatchGetItem", read)
    stub.next("BatchWriteItem", Answer(body={"UnprocessedItems": {name: [write]}}))

    assert [each.id for each in Shared.batch_get(["1", "2"])] == ["1", "2"]

    with Shared.batch_write() as batch:
        batch.save(Shared("3"))

    assert batch.pending_operations == []
    assert stub.operations == [*2 * ["BatchGetItem"], *2 * ["BatchWriteItem"]]
    assert all(tables(request) == {ARN} for request in stub.requests)


def test_an_item_is_stored_under_it(in_app: InApp, embedded_config: dict[str, t.Any]) -> None:
    # The other engine knows tables by their names alone.
    class Named(dynamo_ext.Model):
        class Meta:
            table_name = "named"

        id = UnicodeAttribute(hash_key=True)

    with in_app(embedded_config):
        Named.create_table(wait=True)
        arn = Named.describe_table()["TableArn"]

        class ByArn(dynamo_ext.Model):
            class Meta:
                table_name = arn

            id = UnicodeAttribute(hash_key=True)

        with ByArn.batch_write() as batch:
            batch.save(ByArn("1"))
            batch.save(ByArn("2"))

        assert ByArn.exists()
        assert sorted(each.id for each in ByArn.batch_get(["1", "2"])) == ["1", "2"]
        assert sorted(each.id for each in Named.scan()) == ["1", "2"]


def test_commands_take_it_for_another_table_than_one_of_that_name(db: PynamoDB) -> None:
    class SameName(Model):
        class Meta:
            table_name = "shared"

        id = UnicodeAttribute(hash_key=True)

    class SameArn(Model):
        class Meta:
            table_name = ARN

        id = UnicodeAttribute(hash_key=True)

    groups = of_tables.by_table([Shared, SameName, SameArn])
    assert groups == [[Shared, SameArn], [SameName]]
