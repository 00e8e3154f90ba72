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
from werkzeug.sansio.request import Request

import dynamo_ext
from dynamo_ext.binding import context
from dynamo_ext.binding.app_state import AppState
from dynamo_ext.extension import prepare_json
from dynamo_ext.web import current_request
from dynamo_ext.web import recorder
from dynamo_ext.web.pages import Options
from dynamo_ext.web.pages import Page

from .binds import AsyncAccess
from .binds import Bind
from .execution import workers
from .models import model
from .models.iteration import ResultIterator
from .web import pages
from .web import waiting_place

P = t.ParamSpec("P")
R = t.TypeVar("R")
T = t.TypeVar("T")


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

    async def apaginate(
        self,
        result: ResultIterator[T],
        *,
        per_page: int | None = None,
        max_per_page: int | None = 100,
        cursor: str | None = None,
        max_age: float | None = None,
        scope: t.Any = None,
        max_requests: int | None = None,
    ) -> Page[T]:
        """Read one page of a query or scan, with links to the next and the previous one.

        :param result: What a model's or an index's ``aquery`` or ``ascan`` has returned, not yet
            iterated, without ``limit`` and ``last_evaluated_key``.
        :param per_page: How many items a page has. In a request, the default is ``per_page`` of the
            query string; else it is 20.
        :param max_per_page: The most that ``per_page`` can be; ``None`` for any number.
        :param cursor: Where the page starts: a cursor of another page. In a request, the default is
            ``cursor`` of the query string; else it is the first page.
        :param max_age: How old a cursor may be, in seconds.
        :param scope: What else cursors are bound to, such as the id of the user who may use them:
            anything that JSON has a form for.
        :param max_requests: How many requests to make at most. A page that would need more, because
            of its filter, has fewer items.
        :return: The page.
        :raises InvalidCursor: if the cursor was altered, is too old, or was made for another query,
            scope or app. Unhandled, it is answered with 400.
        :raises werkzeug.exceptions.BadRequest: if ``per_page`` is no positive whole number.
        :raises ConfigError: if the app has no ``SECRET_KEY``.
        :raises TypeError: if ``result`` is something else.
        :raises ValueError: if ``result`` has been iterated, or has a ``limit`` or a
            ``last_evaluated_key``.
        :raises pynamodb.exceptions.PynamoDBException: if a call fails.
        """
        options = Options(
            per_page=per_page,
            max_per_page=max_per_page,
            cursor=cursor,
            max_age=max_age,
            scope=scope,
            max_requests=max_requests,
        )
        # Raises if the current app is not of this extension.
        _ = self.settings
        return await pages.paginate(context.app(), result, options)


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


# Coroutine functions, because Quart runs other receivers in a thread with a copy of the context.
async def _context_pushed(app: quart.Quart, **signal: t.Any) -> None:
    context.context_pushed(_context.get())
    prepare_json(app)


async def _request_started(app: quart.Quart, **signal: t.Any) -> None:
    prepare_json(app)
    recorder.started(app, waiting_place.of_current_task)


async def _websocket_started(app: quart.Quart, **signal: t.Any) -> None:
    recorder.started(app, waiting_place.of_current_task)


async def _request_finished(app: quart.Quart, response: quart.Response, **signal: t.Any) -> None:
    # Behind all functions of the app that change the response.
    recorder.answered(app, response)


async def _tearing_down(app: quart.Quart, **signal: t.Any) -> None:
    recorder.ended(app)


def _find_request(app: App) -> Request | None:
    # A websocket is no request: it has no other pages.
    if not isinstance(app, quart.Quart) or not quart.has_request_context():
        return None

    request: Request = t.cast(t.Any, quart.request)._get_current_object()
    return request


def _find_request_or_websocket_of(app: App) -> Request | None:
    """The current request or websocket, if it is this app that answers it, and not one further
    out."""
    if not isinstance(app, quart.Quart):
        return None

    if quart.has_request_context():
        request, name = t.cast(t.Any, quart.request), "request_ctx"
    elif quart.has_websocket_context():
        request, name = t.cast(t.Any, quart.websocket), "websocket_ctx"
    else:
        return None

    # Since Quart 0.23, the context of the app holds the request.
    answering: t.Any = vars(quart.globals).get(name, quart.globals.app_ctx)
    found: Request = request._get_current_object()
    return found if answering.app is app else None


def _follow_requests() -> None:
    quart.request_finished.connect(_request_finished)
    quart.request_tearing_down.connect(_tearing_down)
    quart.websocket_tearing_down.connect(_tearing_down)


context.add_framework(functools.partial(_context.get, None))
current_request.add_framework(_find_request)
recorder.add_framework(_find_request_or_websocket_of, _follow_requests)
quart.appcontext_pushed.connect(_context_pushed)
quart.request_started.connect(_request_started)
quart.websocket_started.connect(_websocket_started)
