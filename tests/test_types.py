"""What type checkers make of the public names: mypy and pyright read this file, too."""

from __future__ import annotations

import inspect
import typing as t

from pynamodb.attributes import UnicodeAttribute
from pynamodb.indexes import AllProjection

import dynamo_ext
import dynamo_ext_async
from dynamo_ext_async import GlobalSecondaryIndex
from dynamo_ext_async.models.batch import BatchGetIterator
from dynamo_ext_async.models.iteration import ResultIterator
from dynamo_ext_async.models.parallel_scan import ParallelScan


class Todo(dynamo_ext_async.Model):
    class Meta:
        table_name = "todo"

    class ByOwner(GlobalSecondaryIndex["Todo"]):
        class Meta:
            projection = AllProjection()

        owner = UnicodeAttribute(hash_key=True)

    id = UnicodeAttribute(hash_key=True)
    owner = UnicodeAttribute()
    by_owner = ByOwner()


class Plain(dynamo_ext.Model):
    class Meta:
        table_name = "plain"

    id = UnicodeAttribute(hash_key=True)


async def awaited(db: dynamo_ext_async.PynamoDB) -> None:
    t.assert_type(await Todo.aget("x"), Todo)
    t.assert_type(await Todo.aget_or_404("x"), Todo)
    t.assert_type(await Todo.afirst_or_404(), Todo)
    t.assert_type(Todo.aquery("x"), ResultIterator[Todo])
    t.assert_type(Todo.ascan(), ResultIterator[Todo])
    t.assert_type(Todo.abatch_get(["x"]), BatchGetIterator[Todo])
    t.assert_type(Todo.aparallel_scan(2), ParallelScan[Todo])
    t.assert_type(Todo.by_owner.aquery("x"), ResultIterator[Todo])
    t.assert_type(Todo.by_owner.ascan(), ResultIterator[Todo])
    t.assert_type(await Todo.by_owner.acount("x"), int)
    t.assert_type(await Todo.acount("x"), int)
    t.assert_type(await Todo.aexists(), bool)
    t.assert_type(await db.run_sync(len, "four"), int)
    t.assert_type([todo.id async for todo in Todo.aquery("x")], list[str])
    t.assert_type([todo async for todo in Todo.by_owner.aquery("x")], list[Todo])

    async with Todo.abatch_write() as batch:
        await batch.save(Todo("x"))

    async with db.atransact_get() as transaction:
        t.assert_type(transaction.get(Todo, "x").get(), Todo)


def called(db: dynamo_ext.PynamoDB) -> None:
    t.assert_type(Plain.get("x"), Plain)
    t.assert_type(Plain.get_or_404("x"), Plain)
    t.assert_type(Plain.first_or_404(), Plain)
    t.assert_type([plain.id for plain in Plain.scan()], list[str])
    t.assert_type(list(Plain.batch_get(["x"])), list[Plain])
    t.assert_type(db.settings.max_pool_connections, int)
    t.assert_type(db.pool.stats().calls, int)


def test_the_checked_functions_are_there() -> None:
    # They are never run: the type checkers are what they are for.
    assert inspect.iscoroutinefunction(awaited)
    assert inspect.isfunction(called)
