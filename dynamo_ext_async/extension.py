"""The Quart adapter."""

from __future__ import annotations

import collections.abc as cabc
import contextvars
import functools
import typing as t

import anyio
import flask
import quart
import quart.globals
from flask.sansio.app import App

import dynamo_ext
from dynamo_ext.binding import context
from dynamo_ext.binding.app_state import AppState
from dynamo_ext.calls import deadline

from .execution import workers
from .models.model import Model
from .models.transaction import TransactGet
from .models.transaction import TransactWrite

P = t.ParamSpec("P")
R = t.TypeVar("R")


class PynamoDB(dynamo_ext.PynamoDB):
    """Connect PynamoDB's models to Quart and Flask apps.

    :param app: Call :meth:`init_app` on this app.
    """

    Model = Model
    """The base of models. The same class as ``dynamo_ext_async.Model``."""

    _app_types: t.ClassVar[tuple[type[App], ...]] = (quart.Quart, flask.Flask)
    _wanted: t.ClassVar[str] = "a Quart app or a Flask app"

    def init_app(self, app: App) -> None:
        """As :meth:`dynamo_ext.PynamoDB.init_app`, for Quart apps and Flask apps.

        When a Quart app stops serving, its calls under way are waited for and its connections
        closed, unless another app shares them.
        """
        super().init_app(app)

        if isinstance(app, quart.Quart):
            app.after_serving(functools.partial(_close, context.state_of(app)))

    async def run_sync(
        self, function: cabc.Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run any PynamoDB call of your own in a worker thread that holds a slot.

        :param function: What to run. It sees the current app, ``g`` and context variables.
        :return: What it returns.
        :raises PoolTimeout: if no slot became free in time.
        """
        return await workers.run(self.connection, function, *args, **kwargs)

    async def aping(self, timeout: float = 2) -> None:
        """As :meth:`ping`."""
        with deadline.limit(timeout):
            await self.run_sync(self.ping, timeout)

    def atransact_get(self, *, return_consumed_capacity: str | None = None) -> TransactGet:
        """As :meth:`transact_get`, for ``async with``."""
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
        """As :meth:`transact_write`, for ``async with``: collect without awaiting; it commits on a
        clean exit."""
        return TransactWrite(
            connection=self.connection,
            client_request_token=client_request_token,
            return_item_collection_metrics=return_item_collection_metrics,
            return_consumed_capacity=return_consumed_capacity,
        )


async def _close(state: AppState) -> None:
    """Let the app's calls finish, then close the connections that no other app shares."""
    try:
        with anyio.move_on_after(state.settings.read_timeout_seconds):
            # Nobody is told when the last one has ended: it is only asked here.
            while state.policy.in_flight.count:  # noqa: ASYNC110
                await anyio.sleep(0.05)
    finally:
        # Also when a framework loses patience with this.
        for engine in state.engines():
            if context.uses(engine) == 1:
                engine.close()


_context: contextvars.ContextVar[context.Context] = t.cast(t.Any, quart.globals)._cv_app


# Quart runs a receiver that is no coroutine function in a thread, where the context is a copy.
async def _context_pushed(app: quart.Quart, **signal: t.Any) -> None:
    context.context_pushed(_context.get())


context.add_framework(functools.partial(_context.get, None))
quart.appcontext_pushed.connect(_context_pushed)
