"""Functions and classes that are generic over models."""

from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any
from typing import Generic
from typing import TypeVar
from typing import assert_type

from pynamodb.attributes import UnicodeAttribute

import dynamo_ext
import dynamo_ext_async
from dynamo_ext_async import BatchGetIterator
from dynamo_ext_async import ResultIterator

T = TypeVar("T", bound=dynamo_ext.Model)
A = TypeVar("A", bound=dynamo_ext_async.Model)


class Todo(dynamo_ext.Model):
    class Meta:
        table_name = "todo"

    id = UnicodeAttribute(hash_key=True)


class AsyncTodo(dynamo_ext_async.Model):
    class Meta:
        table_name = "async-todo"

    id = UnicodeAttribute(hash_key=True)


def find(model: type[T], key: str) -> T | None:
    try:
        return model.get(key)
    except model.DoesNotExist:
        return None


def save_all(items: Iterable[T]) -> list[T]:
    saved: list[T] = []

    for item in items:
        item.save()
        saved.append(item)

    return saved


def save_at_once(model: type[T], items: Iterable[T]) -> None:
    with model.batch_write() as batch:
        for item in items:
            batch.save(item)


def some_of(model: type[T], keys: list[str]) -> Iterator[T]:
    yield from model.batch_get(keys)
    yield from model.query(keys[0])
    yield from model.scan(limit=3)
    yield model.get_or_404(keys[0])
    yield model.first_or_404()


def table_names(*models: type[dynamo_ext.Model]) -> list[str]:
    return [model.Meta.table_name for model in models]


async def afind(model: type[A], key: str) -> A | None:
    try:
        return await model.aget(key)
    except model.DoesNotExist:
        return None


async def found(model: type[A], key: str) -> list[A]:
    return [item async for item in model.aquery(key)]


def lazily_found(model: type[A], key: str) -> ResultIterator[A]:
    return model.aquery(key)


def lazily_got(model: type[A], keys: list[Any]) -> BatchGetIterator[A]:
    return model.abatch_get(keys)


async def save_all_at_once(model: type[A], items: Iterable[A]) -> None:
    async with model.abatch_write() as batch:
        for item in items:
            await batch.save(item)


async def read_at_once(db: dynamo_ext_async.PynamoDB, model: type[A], key: str) -> A:
    async with db.atransact_get() as transaction:
        future = transaction.get(model, key)

    return future.get()


class Repository(Generic[T]):
    """Gives the items of one model."""

    def __init__(self, model: type[T]) -> None:
        self.model = model

    def get(self, key: str) -> T:
        return self.model.get(key)


class Todos(Repository[Todo]):
    def __init__(self) -> None:
        super().__init__(Todo)


async def use(db: dynamo_ext_async.PynamoDB) -> None:
    assert_type(find(Todo, "1"), Todo | None)
    assert_type(save_all([Todo("1")]), list[Todo])
    assert_type(list(some_of(Todo, ["1"])), list[Todo])
    assert_type(table_names(Todo, AsyncTodo), list[str])
    assert_type(Todos().get("1"), Todo)
    assert_type(Repository(AsyncTodo).get("1"), AsyncTodo)
    assert_type(await afind(AsyncTodo, "1"), AsyncTodo | None)
    assert_type(await found(AsyncTodo, "1"), list[AsyncTodo])
    assert_type([item async for item in lazily_found(AsyncTodo, "1")], list[AsyncTodo])
    assert_type([item async for item in lazily_got(AsyncTodo, ["1"])], list[AsyncTodo])
    assert_type(await read_at_once(db, AsyncTodo, "1"), AsyncTodo)
    save_at_once(Todo, [Todo("1")])
    await save_all_at_once(AsyncTodo, [AsyncTodo("1")])
