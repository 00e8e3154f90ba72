"""PynamoDB's transactions, for ``async with``."""

from __future__ import annotations

import types
import typing as t

import pynamodb.transactions

import dynamo_ext.models.transaction
from dynamo_ext.client.connection import Connection

from ..execution import workers


class _AsyncTransaction(pynamodb.transactions.Transaction):
    """A transaction for ``async with``: it collects without awaiting, and commits unless the block
    raises."""

    _connection: Connection

    async def __aenter__(self) -> t.Self:
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        if error_type is None:
            await workers.run(self._connection, self._commit)


class TransactGet(_AsyncTransaction, dynamo_ext.models.transaction.TransactGet):
    """Read several items in one transaction, with ``async with``."""


class TransactWrite(_AsyncTransaction, dynamo_ext.models.transaction.TransactWrite):
    """Write several items in one transaction, with ``async with``."""
