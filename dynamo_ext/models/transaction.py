"""PynamoDB's transactions, in one bind and on one engine each."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import typing as t

import pynamodb.models
import pynamodb.transactions
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from ..binding import context
from ..client.connection import Connection
from . import late_binding
from .model import ModelType

Item: t.TypeAlias = pynamodb.models.Model
M = t.TypeVar("M", bound=Item)


class InOneBind(pynamodb.transactions.Transaction):
    """Refuses a model of another bind or on another engine, before anything is sent.

    A model without a bind key goes by the transaction's bind, unless a block uses one.
    """

    _connection: Connection
    models: tuple[type[Item], ...] = ()
    """The models of the transaction, each once."""

    @contextlib.contextmanager
    def _adding(self, model: type[Item]) -> cabc.Generator[None]:
        """Add a model in the block.

        :raises ValueError: if it can't be part of the transaction.
        """
        with context.keep_bind(self._connection.policy):
            if issubclass(type(model), ModelType):
                self._check(model)

            yield

        if model not in self.models:
            self.models = (*self.models, model)

    def _check(self, model: type[Item]) -> None:
        own, other = self._connection, late_binding.connection(model).connection
        is_same_app = other.policy.app is own.policy.app

        if is_same_app and other.policy.bind_key != own.policy.bind_key:
            raise ValueError(
                f"{model.__name__!r} can't be part of this transaction: it is in"
                f" {_bind(other)}, and the transaction{self._with()} is in {_bind(own)} (a"
                " transaction has one bind). Begin it with the bind of all its models:"
                f" db.bind({other.policy.bind_key!r}).transact_…, or inside"
                f" 'with db.using({other.policy.bind_key!r}):'."
            )

        if other.engine is not own.engine:
            raise ValueError(
                f"{model.__name__!r} can't be part of this transaction: its table is at"
                f" {other.engine.endpoint!r}, and the transaction{self._with()} at"
                f" {own.engine.endpoint!r} (a transaction has one endpoint)."
            )

    def _with(self) -> str:
        return f" with {self.models[0].__name__!r}" if self.models else ""


def _bind(connection: Connection) -> str:
    bind_key = connection.policy.bind_key
    return "no bind (the app's own settings)" if bind_key is None else f"the bind {bind_key!r}"


class TransactGet(InOneBind, pynamodb.transactions.TransactGet):
    """Reads several items at once."""

    def get(
        self, model_cls: type[M], hash_key: t.Any, range_key: t.Any | None = None
    ) -> pynamodb.models._ModelFuture[M]:  # pyright: ignore[reportPrivateUsage]
        """Add an item to read.

        :param model_cls: The model.
        :param hash_key: The hash key.
        :param range_key: The range key, if the model has one.
        :return: A future. After the transaction, its ``get()`` returns the item.
        :raises ValueError: if the model is in another bind, or its table on another engine.
        """
        with self._adding(model_cls):
            return super().get(model_cls, hash_key, range_key)


class TransactWrite(InOneBind, pynamodb.transactions.TransactWrite):
    """Writes several items at once, or none."""

    def condition_check(
        self,
        model_cls: type[Item],
        hash_key: t.Any,
        range_key: t.Any | None = None,
        condition: Condition | None = None,
    ) -> None:
        """Add a condition that must hold.

        :param model_cls: The model.
        :param hash_key: The hash key.
        :param range_key: The range key, if the model has one.
        :param condition: What must hold for the stored item.
        :raises ValueError: if the model is in another bind, or its table on another engine.
        """
        with self._adding(model_cls):
            super().condition_check(model_cls, hash_key, range_key, condition)

    def delete(
        self, model: Item, condition: Condition | None = None, *, add_version_condition: bool = True
    ) -> None:
        """Add an item to delete.

        :param model: The item.
        :param condition: What must hold for the stored item.
        :param add_version_condition: Whether the stored version must be the item's, if the model
            has a version.
        :raises ValueError: if the model is in another bind, or its table on another engine.
        """
        with self._adding(type(model)):
            super().delete(model, condition, add_version_condition=add_version_condition)

    def save(
        self, model: Item, condition: Condition | None = None, return_values: str | None = None
    ) -> None:
        """Add an item to write.

        :param model: The item.
        :param condition: What must hold for the stored item.
        :param return_values: What DynamoDB returns if the condition does not hold, for instance
            ``ALL_OLD``.
        :raises ValueError: if the model is in another bind, or its table on another engine.
        """
        with self._adding(type(model)):
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

        :param model: The item.
        :param actions: What to change.
        :param condition: What must hold for the stored item.
        :param return_values: What DynamoDB returns if the condition does not hold, for instance
            ``ALL_OLD``.
        :param add_version_condition: Whether the stored version must be the item's, if the model
            has a version.
        :raises ValueError: if the model is in another bind, or its table on another engine.
        """
        with self._adding(type(model)):
            super().update(
                model,
                actions,
                condition,
                return_values,
                add_version_condition=add_version_condition,
            )
