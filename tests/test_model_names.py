"""A model carries few names of ours: its attributes may have almost any other."""

from __future__ import annotations

import typing as t

import pynamodb.indexes
import pynamodb.models
import pytest
from pynamodb.attributes import UnicodeAttribute
from pynamodb.indexes import AllProjection
from quart import Quart

import dynamo_ext
import dynamo_ext.models.model
import dynamo_ext_async
import dynamo_ext_async.models.model
from conftest import InApp

#: Beside what PynamoDB has.
DOCUMENTED = {"Meta", "first_or_404", "get_or_404", "to_json_dict"}
DOCUMENTED_AWAITABLE = {
    *DOCUMENTED,
    *(f"a{name}" for name in dir(pynamodb.models.Model) if not name.startswith("_")),
    "aget_or_404",
    "afirst_or_404",
    "aparallel_scan",
}
#: What helpers of a model are called, or were, or could be called.
ORDINARY_NAMES = (
    "acquire",
    "aggregate",
    "app",
    "app_state",
    "batch",
    "begin_batch_get",
    "bind",
    "bind_key",
    "binding",
    "call",
    "client",
    "config",
    "connection",
    "context",
    "declared",
    "declared_meta",
    "deserializer",
    "drive",
    "effective_meta",
    "enable_ttl",
    "endpoint",
    "engine",
    "engine_connection",
    "full_schema",
    "hub",
    "index",
    "items",
    "json_exclude",
    "keys",
    "late_binding",
    "limit",
    "local",
    "meta",
    "model",
    "name",
    "objects",
    "offload",
    "pages",
    "paginate",
    "pool",
    "query_class",
    "record",
    "region",
    "retry",
    "run",
    "run_sync",
    "schema",
    "serialized_key",
    "session",
    "settings",
    "slot",
    "snapshot",
    "state",
    "table",
    "table_name",
    "table_schema",
    "transport",
    "type",
    "values",
    "version",
    "worker",
    "workers",
)
VALUES = {name: f"the value of {name}" for name in ORDINARY_NAMES}


def declare(base: t.Any, index: t.Any) -> t.Any:
    """A model, and an index of it, with an attribute for each ordinary name.

    The last attribute is the index's key.
    """
    *_, key = ORDINARY_NAMES
    index_meta = type("Meta", (), {"index_name": "by-key", "projection": AllProjection()})
    attributes_of_index = {name: UnicodeAttribute(hash_key=name == key) for name in ORDINARY_NAMES}
    by_key = type("ByKey", (index,), {"Meta": index_meta, **attributes_of_index})
    return type(base)(
        "Ordinary",
        (base,),
        {
            "Meta": type("Meta", (), {"table_name": "ordinary-names"}),
            "id": UnicodeAttribute(hash_key=True),
            "of": UnicodeAttribute(range_key=True),
            "by_key": by_key(),
            **{name: UnicodeAttribute(null=True) for name in ORDINARY_NAMES},
        },
    )


def values_of(item: t.Any) -> dict[str, str]:
    return {name: getattr(item, name) for name in ORDINARY_NAMES}


@pytest.mark.parametrize(
    ("ours", "theirs", "documented"),
    [
        (dynamo_ext.Model, pynamodb.models.Model, DOCUMENTED),
        (dynamo_ext_async.Model, pynamodb.models.Model, DOCUMENTED_AWAITABLE),
        (dynamo_ext.models.model.ModelType, pynamodb.models.MetaModel, {"Meta"}),
        (dynamo_ext_async.models.model.ModelType, pynamodb.models.MetaModel, {"Meta"}),
        *(
            (ours, theirs, {"aquery", "ascan", "acount"})
            for ours, theirs in [
                (
                    dynamo_ext_async.GlobalSecondaryIndex,
                    pynamodb.indexes.GlobalSecondaryIndex,
                ),
                (dynamo_ext_async.LocalSecondaryIndex, pynamodb.indexes.LocalSecondaryIndex),
            ]
        ),
    ],
)
def test_a_class_adds_documented_names_alone(
    ours: type, theirs: type, documented: set[str]
) -> None:
    added = set(dir(ours)) - set(dir(theirs))
    assert {name for name in added if not name.startswith("_dynamo_ext_")} <= documented


@pytest.mark.parametrize(
    ("base", "documented"),
    [(dynamo_ext.Model, DOCUMENTED), (dynamo_ext_async.Model, DOCUMENTED_AWAITABLE)],
)
def test_a_declared_model_and_its_instances_add_documented_names_alone(
    base: t.Any, documented: set[str]
) -> None:
    ours = declare(base, pynamodb.indexes.GlobalSecondaryIndex)
    theirs = declare(pynamodb.models.Model, pynamodb.indexes.GlobalSecondaryIndex)
    ours.from_raw_data({"id": {"S": "1"}, "of": {"S": "a"}})

    for mine, stock in [(ours, theirs), (ours("1", "a"), theirs("1", "a"))]:
        added = set(dir(mine)) - set(dir(stock))
        assert {name for name in added if not name.startswith("_dynamo_ext_")} <= documented


def test_attributes_may_have_ordinary_names(
    in_app: InApp, embedded_config: dict[str, t.Any]
) -> None:
    model = declare(dynamo_ext.Model, pynamodb.indexes.GlobalSecondaryIndex)
    *_, key = ORDINARY_NAMES

    with in_app(embedded_config) as db:
        model.create_table(wait=True)
        assert model.exists()
        assert model.describe_table()["TableName"] == model.Meta.table_name

        model("1", "a", **VALUES).save()
        found = model.get("1", "a")
        assert values_of(found) == VALUES
        assert values_of(model.get_or_404("1", "a")) == VALUES
        assert values_of(model.first_or_404()) == VALUES

        found.update([getattr(model, name).set(f"new {name}") for name in ORDINARY_NAMES])
        assert found.connection == "new connection"
        stale = model("1", "a")
        stale.refresh()
        assert stale.connection == "new connection"
        stale.update([getattr(model, name).set(VALUES[name]) for name in ORDINARY_NAMES])

        condition = model.connection == VALUES["connection"]
        assert [values_of(item) for item in model.query("1", None, condition)] == [VALUES]
        assert [values_of(item) for item in model.scan(condition)] == [VALUES]
        assert [values_of(item) for item in model.by_key.query(VALUES[key])] == [VALUES]
        assert [values_of(item) for item in model.by_key.scan()] == [VALUES]
        assert (model.count(), model.count("1"), model.by_key.count(VALUES[key])) == (1, 1, 1)

        with model.batch_write() as batch:
            batch.save(model("2", "b", **VALUES))
            batch.delete(found)

        assert [item.id for item in model.batch_get([("1", "a"), ("2", "b")])] == ["2"]

        with db.transact_write() as writing:
            writing.save(model("3", "c", **VALUES))
            writing.update(model("2", "b"), [model.pool.set("deep")])

        with db.transact_get() as reading:
            future = reading.get(model, "3", "c")

        assert values_of(future.get()) == VALUES
        future.get().delete()
        assert [item.pool for item in model.scan()] == ["deep"]
        model.delete_table(wait=True)
        assert not model.exists()


@pytest.mark.anyio
@pytest.mark.parametrize(
    "index",
    [pynamodb.indexes.GlobalSecondaryIndex, dynamo_ext_async.GlobalSecondaryIndex],
    ids=["PynamoDB's index", "ours"],
)
async def test_and_so_where_it_is_awaited(embedded_config: dict[str, t.Any], index: t.Any) -> None:
    model = declare(dynamo_ext_async.Model, index)
    *_, key = ORDINARY_NAMES
    app = Quart(__name__)
    app.config.from_mapping(embedded_config)
    db = dynamo_ext_async.PynamoDB(app)

    async with app.app_context():
        await model.acreate_table(wait=True)
        assert await model.aexists()
        assert (await model.adescribe_table())["TableName"] == model.Meta.table_name

        await model("1", "a", **VALUES).asave()
        found = await model.aget("1", "a")
        assert values_of(found) == VALUES
        assert values_of(await model.aget_or_404("1", "a")) == VALUES
        assert values_of(await model.afirst_or_404()) == VALUES

        await found.aupdate([getattr(model, name).set(f"new {name}") for name in ORDINARY_NAMES])
        assert found.connection == "new connection"
        stale = model("1", "a")
        await stale.arefresh()
        assert stale.connection == "new connection"
        await stale.aupdate([getattr(model, name).set(VALUES[name]) for name in ORDINARY_NAMES])

        condition = model.connection == VALUES["connection"]

        for result in [
            model.aquery("1", None, condition),
            model.ascan(condition),
            model.aparallel_scan(2, condition),
            model.by_key.aquery(VALUES[key]),
            model.by_key.ascan(),
        ]:
            assert [values_of(item) async for item in result] == [VALUES]

        assert (await model.acount(), await model.acount("1")) == (1, 1)
        assert await model.by_key.acount(VALUES[key]) == 1

        async with model.abatch_write() as batch:
            await batch.save(model("2", "b", **VALUES))
            await batch.delete(found)

        assert [item.id async for item in model.abatch_get([("1", "a"), ("2", "b")])] == ["2"]

        async with db.atransact_write() as writing:
            writing.save(model("3", "c", **VALUES))
            writing.update(model("2", "b"), [model.pool.set("deep")])

        async with db.atransact_get() as reading:
            future = reading.get(model, "3", "c")

        assert values_of(future.get()) == VALUES
        await future.get().adelete()
        assert [item.pool async for item in model.ascan()] == ["deep"]
        await model.adelete_table(wait=True)
        assert not await model.aexists()
