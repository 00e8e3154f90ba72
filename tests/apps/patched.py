"""A Quart app with Quart-Flask-Patch, which has to be imported first."""

from __future__ import annotations

import quart_flask_patch  # type: ignore[import-not-found,import-untyped,unused-ignore]  # isort: skip

import typing as t

import flask

from apps import api
from apps.models import Todo

assert flask is quart_flask_patch
app = api.create_app()


@app.get("/blocking/<id>")
def block(id: str) -> dict[str, t.Any]:
    return {**Todo.get(id).to_simple_dict(), "app": flask.current_app.name}


@app.get("/ensured/<id>")
def ensure(id: str) -> dict[str, t.Any]:
    """As a Flask extension calls what it was given."""
    get = t.cast(t.Any, app).ensure_sync(Todo.aget)
    return {**get(id).to_simple_dict(), "app": flask.current_app.name}


@app.errorhandler(RuntimeError)
async def tell(error: RuntimeError) -> tuple[str, int]:
    return str(error), 500
