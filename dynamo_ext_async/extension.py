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

from .binds import AsyncAccess
from .binds import Bind
from .execution import workers
from .models import model

P = t.ParamSpec("P")
R = t.TypeVar("R")


class PynamoDB(AsyncAccess, dynamo_ext.PynamoDB):
    """Connect PynamoDB's models to Quart and Flask apps.

    :param app: Call :meth:`init_app` on this app.
    """

    # An alias, so that mypy accepts "PynamoDB.Model" as a base. To pyright it could be assigned.
    Model: t.TypeAlias = model.Model  # pyright: ignore[reportIncompatibleVariableOverride]
    """The base of models. The same class as ``dynamo_ext_async.Model``."""

    _app_types: t.ClassVar[tuple[type[App], ...]] = (quart.Quart, flask.Flask)
    _wanted: t.ClassVar[str] = "a Quart app or a Flask app"
    _bind_class: t.ClassVar[type[dynamo_ext.Bind]] = Bind

    if t.TYPE_CHECKING:

        def bind(self, bind_key: str | None) -> Bind: ...

    def init_app(self, app: App) -> None:
        """Read an app's settings, and make the models work in that app.

        When a Quart app stops serving, the extension waits for the app's calls in flight, then
        closes the connections that no other app shares.

        :param app: A Quart app or a Flask app.
        :raises TypeError: if ``app`` is neither.
        :raises RuntimeError: if the app has a ``PynamoDB`` extension already.
        :raises ConfigError: if a setting is invalid. The message names its key.
        """
        super().init_app(app)

        if isinstance(app, quart.Quart):
            app.after_serving(functools.partial(_close, context.state_of(app)))

    async def run_sync(
        self, function: cabc.Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run any PynamoDB call of your own in a worker thread that holds a slot.

        :param function: The function. It sees the current app, ``g`` and context variables.
        :param args: Its positional arguments.
        :param kwargs: Its keyword arguments.
        :return: What the function returns.
        :raises PoolTimeout: if no slot became free in time.
        :raises CallTimeout: if ``DYNAMODB_CALL_TIMEOUT_SECONDS`` is over.
        """
        return await workers.run(self.connection, function, *args, **kwargs)


async def _close(state: AppState) -> None:
    """Let the app's calls finish, then close the connections that no other app shares."""
    try:
        with anyio.move_on_after(state.longest_read_seconds):
            # No event signals the last call's end, so poll.
            while state.policy.in_flight.count:  # noqa: ASYNC110
                await anyio.sleep(0.05)
    finally:
        # Also when the framework cancels this wait.
        for engine in state.engines():
            if context.uses(engine) == 1:
                engine.close()


_context: contextvars.ContextVar[context.Context] = t.cast(t.Any, quart.globals)._cv_app


# A coroutine function, because Quart runs other receivers in a thread with a copy of the context.
async def _context_pushed(app: quart.Quart, **signal: t.Any) -> None:
    context.context_pushed(_context.get())


context.add_framework(functools.partial(_context.get, None))
quart.appcontext_pushed.connect(_context_pushed)
