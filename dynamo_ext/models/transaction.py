"""PynamoDB's transactions, on one engine each."""

from __future__ import annotations

import typing as t

import pynamodb.models
import pynamodb.transactions
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from ..client.connection import Connection
from . import late_binding
from .model import ModelType

Item: t.TypeAlias = pynamodb.models.Model
M = t.TypeVar("M", bound=Item)


class _OnOneEngine(pynamodb.transactions.Transaction):
    """Refuses what a transaction can't hold, before anything is sent."""

    _connection: Connection

    def _check(self, model: type[Item]) -> None:
        """
        :raises ValueError: if a model's table is on another engine than the transaction.
        """
        kind: type = type(model)

        if not issubclass(kind, ModelType):
            return

        engine = late_binding.connection(model).connection.engine

        if engine is not self._connection.engine:
            raise ValueError(
                f"{model.__name__!r} can't be part of this transaction: its table is at"
                f" {engine.endpoint!r}, and the transaction at {self._connection.engine.endpoint!r}"
                " (a transaction has one endpoint)."
            )


class TransactGet(_OnOneEngine, pynamodb.transactions.TransactGet):
    """Reads several items at once."""

    def get(
        self, model_cls: type[M], hash_key: t.Any, range_key: t.Any | None = None
    ) -> pynamodb.models._ModelFuture[M]:  # pyright: ignore[reportPrivateUsage]
        """Add an item to read. Its ``get()`` gives it after the transaction.

        :raises ValueError: if the model's table is on another engine.
        """
        self._check(model_cls)
        return super().get(model_cls, hash_key, range_key)


class TransactWrite(_OnOneEngine, pynamodb.transactions.TransactWrite):
    """Writes several items at once, or none."""

    def condition_check(
        self,
        model_cls: type[Item],
        hash_key: t.Any,
        range_key: t.Any | None = None,
        condition: Condition | None = None,
    ) -> None:
        """Add a condition that must hold.

        :raises ValueError: if the model's table is on another engine.
        """
        self._check(model_cls)
        super().condition_check(model_cls, hash_key, range_key, condition)

    def delete(
        self, model: Item, condition: Condition | None = None, *, add_version_condition: bool = True
    ) -> None:
        """Add an item to delete.

        :raises ValueError: if the model's table is on another engine.
        """
        self._check(type(model))
        super().delete(model, condition, add_version_condition=add_version_condition)

    def save(
        self, model: Item, condition: Condition | None = None, return_values: str | None = None
    ) -> None:
        """Add an item to write.

        :raises ValueError: if the model's table is on another engine.
        """
        self._check(type(model))
        super().save(model, condition, return_values)

    def update(
        self,
        model: Item,
        actions: list[Action],
        condition: Condition | None = None,
        return_values: str | None = None,
        *,
        add_version_condition: bool = True,
    ) -> None:
        """Add an item to update.

        :raises ValueError: if the model's table is on another engine.
        """
        self._check(type(model))
        super().update(
            model, actions, condition, return_values, add_version_condition=add_version_condition
        )
