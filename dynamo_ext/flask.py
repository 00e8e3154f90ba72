"""The Flask adapter."""

from __future__ import annotations

import contextvars
import functools
import typing as t

import flask
import flask.globals
from flask.sansio.app import App
from werkzeug.sansio.request import Request

from .binding import context
from .extension import Extension
from .extension import prepare_json
from .web import current_request
from .web import recorder


class PynamoDB(Extension):
    """Connect PynamoDB's models to Flask apps.

    :param app: Call :meth:`init_app` on this app.
    """

    _app_types: t.ClassVar[tuple[type[App], ...]] = (flask.Flask,)
    _wanted: t.ClassVar[str] = "a Flask app (for Quart: 'dynamo_ext_async.PynamoDB')"


# Each call reads this. Flask's proxies for it take several times as long.
_context: contextvars.ContextVar[context.Context] = t.cast(t.Any, flask.globals)._cv_app
# From Flask 3.2 on, the context of the app holds the request, and the other name warns.
_answering: t.Any = vars(flask.globals).get("request_ctx", flask.globals.app_ctx)


def _context_pushed(app: flask.Flask, **signal: t.Any) -> None:
    context.context_pushed(_context.get())
    prepare_json(app)


def _request_started(app: flask.Flask, **signal: t.Any) -> None:
    # For a request inside an app context that was pushed before: Flask pushes no other one.
    prepare_json(app)
    recorder.started(app)


def _request_finished(app: flask.Flask, response: flask.Response, **signal: t.Any) -> None:
    # Behind all functions of the app that change the response.
    recorder.answered(app, response)


def _request_tearing_down(app: flask.Flask, **signal: t.Any) -> None:
    recorder.ended(app)


def _find_request(app: App) -> Request | None:
    if not isinstance(app, flask.Flask) or not flask.has_request_context():
        return None

    # The request itself, which is several times as fast as its proxy.
    request: Request = t.cast(t.Any, flask.request)._get_current_object()
    return request


def _find_request_of(app: App) -> Request | None:
    """The current request, if it is this app that answers it, and not one further out."""
    if not flask.has_request_context():
        return None

    # The context itself, which is several times as fast as its proxy.
    answering = _answering._get_current_object()
    return answering.request if answering.app is app else None


def _follow_requests() -> None:
    flask.request_finished.connect(_request_finished)
    flask.request_tearing_down.connect(_request_tearing_down)


context.add_framework(functools.partial(_context.get, None))
current_request.add_framework(_find_request)
recorder.add_framework(_find_request_of, _follow_requests)
flask.appcontext_pushed.connect(_context_pushed)
flask.request_started.connect(_request_started)
