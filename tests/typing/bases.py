"""The base of models, by each of its names that type checkers understand."""

from typing import assert_type

from pynamodb.attributes import UnicodeAttribute

import dynamo_ext
import dynamo_ext_async
from dynamo_ext import Model
from dynamo_ext import PynamoDB

db = PynamoDB()
async_db = dynamo_ext_async.PynamoDB()


class Todo(Model):
    class Meta:
        table_name = "todo"

    id = UnicodeAttribute(hash_key=True)


class ByClass(PynamoDB.Model):
    class Meta:
        table_name = "by-class"

    id = UnicodeAttribute(hash_key=True)


class AsyncByClass(dynamo_ext_async.PynamoDB.Model):
    class Meta:
        table_name = "async-by-class"

    id = UnicodeAttribute(hash_key=True)


class Base(dynamo_ext_async.Model):
    """A base without a table."""

    owner = UnicodeAttribute()


class Derived(Base):
    class Meta:
        table_name = "derived"

    id = UnicodeAttribute(hash_key=True)


def takes_model(model: type[dynamo_ext.Model]) -> None:
    assert_type(db.Model, type[dynamo_ext.Model])
    assert_type(async_db.Model, type[dynamo_ext_async.Model])


takes_model(Todo)
takes_model(ByClass)
takes_model(AsyncByClass)
takes_model(Derived)
takes_model(async_db.Model)


async def use() -> None:
    assert_type(Todo.get("1"), Todo)
    assert_type(ByClass.get("1"), ByClass)
    assert_type(await AsyncByClass.aget("1"), AsyncByClass)
    assert_type((await Derived.aget("1")).owner, str)
