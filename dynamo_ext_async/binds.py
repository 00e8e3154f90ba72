"""What can be awaited with an app's own settings and with each of its binds alike."""

from __future__ import annotations

import dynamo_ext.binds
from dynamo_ext.calls import deadline

from .execution import workers
from .models.transaction import TransactGet
from .models.transaction import TransactWrite


class AsyncAccess(dynamo_ext.binds.Access):
    """Awaitable access to an app's endpoint."""

    async def aping(self, timeout: float = 2) -> None:
        """Check that the endpoint answers and accepts its credentials.

        This sends ListTables, from a worker thread. "Access denied" counts as a good answer.

        :param timeout: How long the check may take in all, in seconds.
        :raises CallTimeout: if there is no answer in time.
        :raises PoolTimeout: if no slot became free in time.
        :raises pynamodb.exceptions.TableError: if the answer is another error.
        """
        with deadline.limit(timeout):
            await workers.run(self.connection, self.ping, timeout)

    def atransact_get(self, *, return_consumed_capacity: str | None = None) -> TransactGet:
        """Read several items in one transaction.

        :param return_consumed_capacity: As in :class:`pynamodb.transactions.TransactGet`.
        :return: The transaction, for ``async with``: collect without awaiting. It reads when the
            block ends without an exception.
        """
        return TransactGet(
            connection=self.connection, return_consumed_capacity=return_consumed_capacity
        )

    def atransact_write(
        self,
        *,
        client_request_token: str | None = None,
        return_item_collection_metrics: str | None = None,
        return_consumed_capacity: str | None = None,
    ) -> TransactWrite:
        """Write several items in one transaction.

        :param client_request_token: As in :class:`pynamodb.transactions.TransactWrite`.
        :param return_item_collection_metrics: As in PynamoDB.
        :param return_consumed_capacity: As in PynamoDB.
        :return: The transaction, for ``async with``: collect without awaiting. It writes when the
            block ends without an exception.
        """
        return TransactWrite(
            connection=self.connection,
            client_request_token=client_request_token,
            return_item_collection_metrics=return_item_collection_metrics,
            return_consumed_capacity=return_consumed_capacity,
        )


class Bind(AsyncAccess, dynamo_ext.binds.Bind):
    """One bind of the current app; :meth:`PynamoDB.bind` returns it."""
