"""PynamoDB and dynamo-ext in a Flask app. Each call is made as in a view: in an app context."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import typing as t

import flask

from dynamo_ext import Model
from dynamo_ext import PynamoDB

from . import models
from .calls import HASH_KEY
from .calls import ITEMS
from .calls import Call
from .calls import Calls
from .calls import all_keys
from .calls import range_key


def connect(url: str, stack: contextlib.ExitStack, **options: t.Any) -> Calls:
    app = flask.Flask("bench")
    calls = install(app, url, **options)

    def view(call: Call) -> Call:
        def respond() -> t.Any:
            with app.app_context():
                return call()

        return respond

    return dataclasses.replace(
        calls,
        get=view(calls.get),
        put=view(calls.put),
        query=view(calls.query),
        batch=view(calls.batch),
        gets=[view(each) for each in calls.gets],
    )


def install(
    app: flask.Flask,
    url: str,
    *,
    count: int = 1,
    pool: int = 10,
    keys: int = ITEMS,
    transport: str | None = None,
) -> Calls:
    """Set up the models, and dynamo-ext for an app, in whose context its calls are made.

    :param app: The app.
    :param transport: dynamo-ext's transport; ``None`` for stock PynamoDB.
    """
    if transport is None:
        classes = models.stock(url, pool, count)
    else:
        app.config.from_mapping(models.settings(url, pool, transport))
        PynamoDB(app)
        classes = models.define(Model, count=count)

    model, key = classes[0], (HASH_KEY, range_key(1))
    return Calls(
        get=functools.partial(model.get, *key),
        put=models.new(model).save,
        query=lambda: list(model.query(HASH_KEY)),
        batch=lambda: list(model.batch_get(all_keys(keys))),
        gets=[functools.partial(each.get, *key) for each in classes],
    )
