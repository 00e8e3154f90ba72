"""Functions and classes that are generic over models, in the syntax of Python 3.12."""

from typing import assert_type

from pynamodb.attributes import UnicodeAttribute

import dynamo_ext
import dynamo_ext_async


class Todo(dynamo_ext_async.Model):
    class Meta:
        table_name = "todo"

    id = UnicodeAttribute(hash_key=True)


def find[T: dynamo_ext.Model](model: type[T], key: str) -> T:
    return model.get_or_404(key)


async def found[T: dynamo_ext_async.Model](model: type[T], key: str) -> list[T]:
    return [item async for item in model.aquery(key)]


class Repository[T: dynamo_ext_async.Model]:
    def __init__(self, model: type[T]) -> None:
        self.model = model

    async def get(self, key: str) -> T:
        return await self.model.aget(key)


type Found = list[Todo]


async def use() -> Found:
    assert_type(find(Todo, "1"), Todo)
    assert_type(await found(Todo, "1"), list[Todo])
    assert_type(await Repository(Todo).get("1"), Todo)
    return await found(Todo, "1")
