"""Models that override methods of theirs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any
from typing import Self
from typing import assert_type

from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.expressions.condition import Condition
from pynamodb.models import Model as StockModel

import dynamo_ext
import dynamo_ext_async


class Logged(dynamo_ext.Model):
    """A base without a table: it takes whatever the methods take."""

    def save(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return super().save(*args, **kwargs)

    @classmethod
    def get(cls, *args: Any, tries: int = 1, **kwargs: Any) -> Self:
        return super().get(*args, **kwargs)

    @classmethod
    def get_or_404(cls, *args: Any, **kwargs: Any) -> Self:
        return super().get_or_404(*args, **kwargs)


class Todo(Logged):
    class Meta:
        table_name = "todo"

    id = UnicodeAttribute(hash_key=True)
    saved = NumberAttribute(default=0)

    def save(
        self,
        condition: Condition | None = None,
        *,
        add_version_condition: bool = True,
        by: str = "nobody",
    ) -> dict[str, Any]:
        self.saved += 1
        return super().save(condition, add_version_condition=add_version_condition)

    def delete(
        self, condition: Condition | None = None, *, add_version_condition: bool = True
    ) -> Any:
        return super().delete(condition, add_version_condition=add_version_condition)

    @classmethod
    def first_or_404(cls, message: str = "Nothing to do.") -> Self:
        return super().first_or_404(message)


class Stamped:
    """A mixin."""

    stamp = UnicodeAttribute(null=True)

    def stamp_now(self, stamp: str) -> None:
        self.stamp = stamp


class AsyncTodo(Stamped, dynamo_ext_async.Model):
    class Meta:
        table_name = "async-todo"

    id = UnicodeAttribute(hash_key=True)

    @classmethod
    async def aget(
        cls,
        hash_key: Any,
        range_key: Any | None = None,
        consistent_read: bool = True,
        attributes_to_get: Sequence[str] | None = None,
        *,
        tries: int = 1,
    ) -> Self:
        return await super().aget(hash_key, range_key, consistent_read, attributes_to_get)

    @classmethod
    async def aget_or_404(cls, *args: Any, **kwargs: Any) -> Self:
        return await super().aget_or_404(*args, **kwargs)

    async def asave(
        self, condition: Condition | None = None, *, add_version_condition: bool = True
    ) -> dict[str, Any]:
        self.stamp_now("now")
        return await super().asave(condition, add_version_condition=add_version_condition)

    def save(
        self, condition: Condition | None = None, *, add_version_condition: bool = True
    ) -> dict[str, Any]:
        return super().save(condition, add_version_condition=add_version_condition)


class Tried(dynamo_ext_async.Model):
    """What ``get`` takes, its twin takes, too."""

    class Meta:
        table_name = "tried"

    id = UnicodeAttribute(hash_key=True)

    @classmethod
    def get(cls, *args: Any, tries: int = 1, **kwargs: Any) -> Self:
        return super().get(*args, **kwargs)

    if TYPE_CHECKING:

        @classmethod
        async def aget(cls, *args: Any, tries: int = 1, **kwargs: Any) -> Self: ...


class OnlyKeywords(dynamo_ext.Model):
    """Code that gives positional arguments can't use it in the place of a model."""

    def save(self, **kw: Any) -> Any:  # error: override # strict: reportIncompatibleMethodOverride
        return super().save(**kw)


class StockBase(StockModel):
    """A base of stock PynamoDB's, which other code has, too."""

    def describe(self) -> str:
        return type(self).__name__


class OnStockBase(dynamo_ext.Model, StockBase):
    class Meta:  # strict: reportIncompatibleVariableOverride
        table_name = "on-stock-base"

    id = UnicodeAttribute(hash_key=True)


def use(todo: Todo, on_stock_base: OnStockBase) -> None:
    assert_type(Todo.get("1", tries=3), Todo)
    assert_type(Todo.get_or_404("1", tries=3), Todo)
    assert_type(Todo.first_or_404(), Todo)
    assert_type(todo.saved, float)
    todo.save(by="me")
    assert_type(on_stock_base.describe(), str)
    assert_type(OnStockBase.get("1"), OnStockBase)


async def await_them(todo: AsyncTodo) -> None:
    assert_type(await AsyncTodo.aget("1", tries=3), AsyncTodo)
    assert_type(await AsyncTodo.aget_or_404("1"), AsyncTodo)
    assert_type(todo.stamp, str)
    assert_type(await Tried.aget("1", tries=3), Tried)
    await todo.asave()
