"""PynamoDB's transactions, for ``async with``."""

from __future__ import annotations

import types
import typing as t

import dynamo_ext.models.transaction
from dynamo_ext.models import eligibility
from dynamo_ext.models.model import Model

from ..execution import workers


class _AsyncTransaction(dynamo_ext.models.transaction.InOneBind):
    """A transaction for ``async with``: it collects without awaiting, and commits unless the block
    raises."""

    async def __aenter__(self) -> t.Self:
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        if error_type is None:
            call = workers.run_in_hub if self._runs_no_code_of_app() else workers.run
            await call(self._connection, self._commit)

    def _runs_no_code_of_app(self) -> bool:
        """Whether to commit runs no code of the app: neither a model's, nor a value's."""
        values = {**vars(self)}
        del values["_connection"]
        return (
            type(self) in (TransactGet, TransactWrite)
            and bool(self.models)
            and all(map(self._may_share_thread, self.models))
            and eligibility.are_plain(self._commit, *values.values())
        )

    def _may_share_thread(self, model: type[t.Any]) -> bool:
        return issubclass(model, Model) and workers.may_share_thread(self._connection, model)


class TransactGet(_AsyncTransaction, dynamo_ext.models.transaction.TransactGet):
    """Read several items in one transaction, with ``async with``."""


class TransactWrite(_AsyncTransaction, dynamo_ext.models.transaction.TransactWrite):
    """Write several items in one transaction, with ``async with``."""
