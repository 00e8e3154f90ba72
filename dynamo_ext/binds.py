"""What can be done with an app's own settings and with each of its binds alike."""

from __future__ import annotations

import collections.abc as cabc
import functools
import inspect
import types
import typing as t

from .binding import context
from .binding.app_state import AppState
from .binding.app_state import BindState
from .calls.pool import Pool
from .client.connection import Connection
from .client.ping import ping
from .config.settings import Settings
from .models.transaction import TransactGet
from .models.transaction import TransactWrite

F = t.TypeVar("F", bound=cabc.Callable[..., t.Any])


class Access:
    """Access to an app's endpoint by the settings of the app, or of one of its binds."""

    @property
    def _bind_state(self) -> BindState:
        raise NotImplementedError

    @property
    def settings(self) -> Settings:
        """The settings of the current app, or of the bind.

        :raises RuntimeError: if no app is current, or the extension is not initialised on it.
        """
        return self._bind_state.settings

    @property
    def connection(self) -> Connection:
        """PynamoDB's low-level connection, on the botocore client of the current app, or of the
        bind.

        :raises RuntimeError: as :attr:`settings` does.
        """
        return self._bind_state.connection

    @property
    def pool(self) -> Pool:
        """The pool of slots of the current app, or of the bind.

        :raises RuntimeError: as :attr:`settings` does.
        """
        return self._bind_state.engine.pool

    def ping(self, timeout: float = 2) -> None:
        """Check that the endpoint answers and accepts its credentials.

        This is for a readiness probe. It sends ListTables. "Access denied" counts as a good answer,
        because an app need not have the right to list tables.

        :param timeout: How long the check may take in all, in seconds.
        :raises CallTimeout: if there is no answer in time.
        :raises pynamodb.exceptions.TableError: if the answer is another error.
        """
        ping(self.connection, timeout)

    def transact_get(self, *, return_consumed_capacity: str | None = None) -> TransactGet:
        """Read several items in one transaction.

        :param return_consumed_capacity: As in :class:`pynamodb.transactions.TransactGet`.
        :return: The transaction, for ``with``: it reads when the block ends without an exception.
        """
        return TransactGet(
            connection=self.connection, return_consumed_capacity=return_consumed_capacity
        )

    def transact_write(
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
        :return: The transaction, for ``with``: it writes when the block ends without an exception.
        """
        return TransactWrite(
            connection=self.connection,
            client_request_token=client_request_token,
            return_item_collection_metrics=return_item_collection_metrics,
            return_consumed_capacity=return_consumed_capacity,
        )


class Bind(Access):
    """One bind of the current app; :meth:`PynamoDB.bind` returns it.

    :param find: Finds the bind's state in the current app.
    """

    def __init__(self, find: cabc.Callable[[], BindState]) -> None:
        self._find = find

    @property
    def _bind_state(self) -> BindState:
        return self._find()


class Using:
    """A block that uses a bind; :meth:`PynamoDB.using` returns it.

    Tasks and threads may share it, and it can be entered again.

    :param find: Finds the current app's state, and the bind's.
    """

    def __init__(self, find: cabc.Callable[[], tuple[AppState, BindState]]) -> None:
        self._find = find

    def __enter__(self) -> None:
        context.enter_bind(*self._find(), self)

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        context.leave_bind(self)

    def __call__(self, function: F) -> F:
        """Decorate a function, or a coroutine function, so that all of it is in such a block.

        :param function: The function.
        :raises TypeError: if it is a generator function, whose caller would be in the block, too.
        """
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"'using' can't decorate the generator function {function.__qualname__!r}: use"
                " 'with db.using(...):' around each call in it."
            )

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def call_async(*args: t.Any, **kwargs: t.Any) -> t.Any:
                with self:
                    return await function(*args, **kwargs)

            return t.cast(F, call_async)

        @functools.wraps(function)
        def call(*args: t.Any, **kwargs: t.Any) -> t.Any:
            with self:
                return function(*args, **kwargs)

        return t.cast(F, call)
