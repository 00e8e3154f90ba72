"""PynamoDB and dynamo-ext in a Flask app. Each call is made as in a view: in an app context."""

from __future__ import annotations

import contextlib
import typing as t

import flask

from dynamo_ext import Model
from dynamo_ext import PynamoDB

from . import models
from .calls import HASH_KEY
from .calls import Call
from .calls import Calls
from .calls import all_keys
from .calls import range_key


def connect(
    url: str,
    stack: contextlib.ExitStack,
    *,
    count: int = 1,
    pool: int = 10,
    transport: str | None = None,
) -> Calls:
    """Set up the app and its models.

    :param transport: dynamo-ext's transport; ``None`` for stock PynamoDB.
    """
    app = flask.Flask("bench")

    if transport is None:
        return _views(app, models.stock(url, pool, count))

    app.config.from_mapping(models.settings(url, pool, transport))
    PynamoDB(app)
    return _views(app, models.define(Model, count=count))


def _views(app: flask.Flask, classes: list[t.Any]) -> Calls:
    def view(function: t.Any, *arguments: t.Any) -> Call:
        def respond() -> t.Any:
            with app.app_context():
                return function(*arguments)

        return respond

    model, key = classes[0], (HASH_KEY, range_key(1))
    return Calls(
        get=view(model.get, *key),
        put=view(models.new(model).save),
        query=view(lambda: list(model.query(HASH_KEY))),
        batch=view(lambda: list(model.batch_get(all_keys()))),
        gets=[view(each.get, *key) for each in classes],
    )
