"""The Flask adapter."""

from __future__ import annotations

import typing as t

import flask
import flask.globals
from flask.sansio.app import App

from . import current
from .extension import Extension


class PynamoDB(Extension):
    """Connect PynamoDB's models to Flask apps.

    :param app: Call :meth:`init_app` on this app.
    """

    _app_types: t.ClassVar[tuple[type[App], ...]] = (flask.Flask,)
    _wanted: t.ClassVar[str] = "a Flask app (for Quart: 'dynamo_ext_async.PynamoDB')"


def _current_context() -> current.Context | None:
    # Each call asks this: the proxy that is made of it takes several times as long.
    context: current.Context | None = t.cast(t.Any, flask.globals)._cv_app.get(None)
    return context


def _context_pushed(app: flask.Flask, **signal: t.Any) -> None:
    current.context_pushed(t.cast(current.Context, _current_context()))


current.add_framework(_current_context)
flask.appcontext_pushed.connect(_context_pushed)
