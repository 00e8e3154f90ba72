"""PynamoDB, and this project in each of the ways in which it is called."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import typing as t

import anyio
import flask
import pynamodb.connection
import pynamodb.indexes
import pynamodb.models
import pynamodb.transactions
import quart

import dynamo_ext_async

from .building import AnyModel
from .building import Foundation

R = t.TypeVar("R")
Coroutine = cabc.Callable[[], cabc.Coroutine[t.Any, t.Any, R]]
_CREDENTIALS = {"aws_access_key_id": "AKIDOFTHETESTS", "aws_secret_access_key": "of-the-tests"}
MAX_RETRY_ATTEMPTS = 1


class Side:
    """What the sides have in common: how those that block make calls."""

    foundation: Foundation

    def drive(self, make: Coroutine[R]) -> R:
        """Run a coroutine that never waits."""
        coroutine = make()

        try:
            coroutine.send(None)
        except StopIteration as end:
            return t.cast(R, end.value)

        raise AssertionError("a call that blocks has waited")

    async def call(self, owner: t.Any, method: str, *args: t.Any, **kwargs: t.Any) -> t.Any:
        return getattr(owner, method)(*args, **kwargs)

    def iterate(self, owner: t.Any, method: str, *args: t.Any, **kwargs: t.Any) -> t.Any:
        return getattr(owner, method)(*args, **kwargs)

    async def next(self, iterator: t.Any) -> t.Any:
        try:
            return next(iterator)
        except StopIteration:
            # A coroutine can't raise the other one.
            raise StopAsyncIteration from None

    @contextlib.asynccontextmanager
    async def batch_write(self, model: AnyModel, **options: t.Any) -> cabc.AsyncGenerator[t.Any]:
        with model.batch_write(**options) as batch:
            yield batch

    async def in_batch(self, batch: t.Any, method: str, item: t.Any) -> None:
        getattr(batch, method)(item)

    def transact_get(self) -> contextlib.AbstractAsyncContextManager[t.Any]:
        raise NotImplementedError

    def transact_write(self) -> contextlib.AbstractAsyncContextManager[t.Any]:
        raise NotImplementedError


@contextlib.asynccontextmanager
async def _blocking(manager: t.Any) -> cabc.AsyncGenerator[t.Any]:
    with manager as entered:
        yield entered


class Stock(Side):
    """PynamoDB itself.

    :param url: The server.
    """

    def __init__(self, url: str) -> None:
        endpoint = {"host": url, "region": "us-east-1", "max_retry_attempts": MAX_RETRY_ATTEMPTS}
        self.foundation = Foundation(
            model=pynamodb.models.Model,
            global_index=pynamodb.indexes.GlobalSecondaryIndex,
            local_index=pynamodb.indexes.LocalSecondaryIndex,
            meta={**endpoint, **_CREDENTIALS},
        )
        self._connection = pynamodb.connection.Connection(**t.cast(t.Any, endpoint))
        self._connection.session.set_credentials(*_CREDENTIALS.values())

    def transact_get(self) -> contextlib.AbstractAsyncContextManager[t.Any]:
        return _blocking(pynamodb.transactions.TransactGet(connection=self._connection))

    def transact_write(self) -> contextlib.AbstractAsyncContextManager[t.Any]:
        return _blocking(pynamodb.transactions.TransactWrite(connection=self._connection))


class Blocking(Side):
    """This project in a Flask app.

    :param config: The app's settings.
    """

    def __init__(self, config: dict[str, t.Any]) -> None:
        self.foundation = Foundation(
            model=dynamo_ext_async.Model,
            global_index=dynamo_ext_async.GlobalSecondaryIndex,
            local_index=dynamo_ext_async.LocalSecondaryIndex,
            meta={},
        )
        self._db = dynamo_ext_async.PynamoDB()
        self._app = flask.Flask("differential")
        self._app.config.from_mapping(config)
        self._db.init_app(self._app)

    def drive(self, make: Coroutine[R]) -> R:
        with self._app.app_context():
            return super().drive(make)

    def transact_get(self) -> contextlib.AbstractAsyncContextManager[t.Any]:
        return _blocking(self._db.transact_get())

    def transact_write(self) -> contextlib.AbstractAsyncContextManager[t.Any]:
        return _blocking(self._db.transact_write())


class Awaited(Side):
    """This project in a Quart app: every call is the awaited twin.

    :param config: The app's settings.
    :param backend: The event loop.
    """

    def __init__(self, config: dict[str, t.Any], backend: str) -> None:
        self.foundation = Foundation(
            model=dynamo_ext_async.Model,
            # Ours, and PynamoDB's, which get the awaitable methods from the model.
            global_index=pynamodb.indexes.GlobalSecondaryIndex,
            local_index=dynamo_ext_async.LocalSecondaryIndex,
            meta={},
        )
        self._backend = backend
        self._db = dynamo_ext_async.PynamoDB()
        self._app = quart.Quart("differential")
        self._app.config.from_mapping(config)
        self._db.init_app(self._app)

    def drive(self, make: Coroutine[R]) -> R:
        async def run() -> R:
            async with self._app.app_context():
                return await make()

        return anyio.run(run, backend=self._backend)

    async def call(self, owner: t.Any, method: str, *args: t.Any, **kwargs: t.Any) -> t.Any:
        return await getattr(owner, f"a{method}")(*args, **kwargs)

    def iterate(self, owner: t.Any, method: str, *args: t.Any, **kwargs: t.Any) -> t.Any:
        return getattr(owner, f"a{method}")(*args, **kwargs)

    async def next(self, iterator: t.Any) -> t.Any:
        return await anext(iterator)

    @contextlib.asynccontextmanager
    async def batch_write(self, model: AnyModel, **options: t.Any) -> cabc.AsyncGenerator[t.Any]:
        async with t.cast(t.Any, model).abatch_write(**options) as batch:
            yield batch

    async def in_batch(self, batch: t.Any, method: str, item: t.Any) -> None:
        await getattr(batch, method)(item)

    def transact_get(self) -> contextlib.AbstractAsyncContextManager[t.Any]:
        return t.cast("contextlib.AbstractAsyncContextManager[t.Any]", self._db.atransact_get())

    def transact_write(self) -> contextlib.AbstractAsyncContextManager[t.Any]:
        return t.cast("contextlib.AbstractAsyncContextManager[t.Any]", self._db.atransact_write())
