"""The calls, and which key each result says that it is for."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import typing as t

import pynamodb.models
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.connection import Connection
from pynamodb.connection.base import MetaTable
from pynamodb.transactions import TransactGet

import dynamo_ext_async

TABLE = "hostile"
_BATCH = 3

db = dynamo_ext_async.PynamoDB()


class Item(dynamo_ext_async.Model):
    class Meta:
        table_name = TABLE

    id = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(null=True)
    payload = UnicodeAttribute(null=True)
    padding = UnicodeAttribute(null=True)
    reply = UnicodeAttribute(null=True)


class StockItem(pynamodb.models.Model):
    class Meta:
        table_name = TABLE

    id = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(null=True)
    payload = UnicodeAttribute(null=True)
    padding = UnicodeAttribute(null=True)
    reply = UnicodeAttribute(null=True)


@dataclasses.dataclass(frozen=True)
class Side:
    """What makes the calls: this project, or PynamoDB as it is."""

    model: t.Any
    connection: cabc.Callable[[], Connection]
    transact_get: cabc.Callable[[], t.Any]


def prepare(side: Side) -> Side:
    """Tell the connection of a side what the table is like, without asking the server."""
    side.connection().add_meta_table(
        MetaTable(
            {
                "TableName": TABLE,
                "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
                "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            }
        )
    )
    return side


OURS = Side(Item, lambda: db.connection, db.transact_get)


def stock(**settings: t.Any) -> Side:
    """PynamoDB as it is.

    :param settings: What the model's ``Meta`` and PynamoDB's connection are both given.
    """
    for name, value in settings.items():
        setattr(StockItem.Meta, name, value)

    connection = Connection(**settings)
    return Side(StockItem, lambda: connection, lambda: TransactGet(connection=connection))


@dataclasses.dataclass(frozen=True)
class Call:
    """One kind of call. Each function makes it for a key, and returns the keys of the result.

    :param expected: The keys that the right result has.
    """

    send: cabc.Callable[[Side, str, str | None], list[t.Any]]
    asend: cabc.Callable[[str, str | None], cabc.Awaitable[list[t.Any]]]
    expected: cabc.Callable[[str], list[str]]


def _one(key: str) -> list[str]:
    return [key]


def _many(key: str) -> list[str]:
    return [f"{key}.{number}" for number in range(_BATCH)]


def _pages(key: str) -> list[str]:
    return [key] * 4


def _get(side: Side, key: str, payload: str | None) -> list[t.Any]:
    return [side.model.get(key).id]


async def _aget(key: str, payload: str | None) -> list[t.Any]:
    return [(await Item.aget(key)).id]


def _save(side: Side, key: str, payload: str | None) -> list[t.Any]:
    return [_written(side.model(key, payload=payload).save())]


async def _asave(key: str, payload: str | None) -> list[t.Any]:
    return [_written(await Item(key, payload=payload).asave())]


def _update(side: Side, key: str, payload: str | None) -> list[t.Any]:
    item = side.model(key)
    return [_written(item.update(actions=[side.model.number.set(1)])), item.id]


async def _aupdate(key: str, payload: str | None) -> list[t.Any]:
    item = Item(key)
    return [_written(await item.aupdate(actions=[Item.number.set(1)])), item.id]


def _delete(side: Side, key: str, payload: str | None) -> list[t.Any]:
    return [_written(side.model(key).delete())]


async def _adelete(key: str, payload: str | None) -> list[t.Any]:
    return [_written(await Item(key).adelete())]


def _query(side: Side, key: str, payload: str | None) -> list[t.Any]:
    return [item.id for item in side.model.query(key)]


async def _aquery(key: str, payload: str | None) -> list[t.Any]:
    return [item.id async for item in Item.aquery(key)]


def _scan(side: Side, key: str, payload: str | None) -> list[t.Any]:
    return [item.id for item in side.model.scan(side.model.reply == key)]


async def _ascan(key: str, payload: str | None) -> list[t.Any]:
    return [item.id async for item in Item.ascan(Item.reply == key)]


def _batch_get(side: Side, key: str, payload: str | None) -> list[t.Any]:
    return sorted(item.id for item in side.model.batch_get(_many(key)))


async def _abatch_get(key: str, payload: str | None) -> list[t.Any]:
    return sorted([item.id async for item in Item.abatch_get(_many(key))])


def _batch_write(side: Side, key: str, payload: str | None) -> list[t.Any]:
    # The connection's, because the model's returns nothing.
    puts = [{"id": {"S": each}} for each in _many(key)]
    content: t.Any = side.connection().batch_write_item(TABLE, put_items=puts)
    metrics = content.get("ItemCollectionMetrics", {}).get(TABLE, [])
    return sorted(each["ItemCollectionKey"]["id"]["S"] for each in metrics)


async def _abatch_write(key: str, payload: str | None) -> list[t.Any]:
    return await db.run_sync(_batch_write, OURS, key, payload)


def _transact_get(side: Side, key: str, payload: str | None) -> list[t.Any]:
    with side.transact_get() as transaction:
        found = [transaction.get(side.model, each) for each in _many(key)]

    return [each.get().id for each in found]


async def _atransact_get(key: str, payload: str | None) -> list[t.Any]:
    async with db.atransact_get() as transaction:
        found = [transaction.get(Item, each) for each in _many(key)]

    return [each.get().id for each in found]


def _written(content: t.Any) -> t.Any:
    """The key in what a write returned; ``None`` if there is none."""
    return content.get("Attributes", {}).get("id", {}).get("S")


CALLS: dict[str, Call] = {
    "get": Call(_get, _aget, _one),
    "save": Call(_save, _asave, _one),
    "update": Call(_update, _aupdate, lambda key: [key, key]),
    "delete": Call(_delete, _adelete, _one),
    "query": Call(_query, _aquery, _pages),
    "scan": Call(_scan, _ascan, _pages),
    "batch_get": Call(_batch_get, _abatch_get, _many),
    "batch_write": Call(_batch_write, _abatch_write, _many),
    "transact_get": Call(_transact_get, _atransact_get, _many),
}
WEIGHTS: dict[str, float] = {"get": 4, "save": 3, "query": 1.5}
"""How often a kind of call is drawn; others with 1."""
