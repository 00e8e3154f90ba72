"""dynamo-ext in a Quart app."""

from __future__ import annotations

import contextlib
import functools
import typing as t

from quart import Quart

from dynamo_ext_async import Model
from dynamo_ext_async import PynamoDB

from . import models
from .calls import HASH_KEY
from .calls import ITEMS
from .calls import Calls
from .calls import all_keys
from .calls import collect
from .calls import range_key


async def connect(
    url: str, stack: contextlib.AsyncExitStack, *, count: int = 1, **options: t.Any
) -> Calls:
    app = Quart("bench")
    calls = install(app, url, count=count, **options)
    await stack.enter_async_context(t.cast(t.Any, app.app_context()))
    return calls


def install(
    app: Quart,
    url: str,
    *,
    count: int = 1,
    pool: int = 10,
    keys: int = ITEMS,
    transport: str = "auto",
) -> Calls:
    """Set up dynamo-ext for an app, in whose context its calls are made.

    :param app: The app.
    """
    app.config.from_mapping(models.settings(url, pool, transport))
    PynamoDB(app)
    classes = models.define(Model, count=count)
    model, key = classes[0], (HASH_KEY, range_key(1))
    return Calls(
        get=functools.partial(model.aget, *key),
        put=models.new(model).asave,
        query=lambda: collect(model.aquery(HASH_KEY)),
        batch=lambda: collect(model.abatch_get(all_keys(keys))),
        gets=[functools.partial(each.aget, *key) for each in classes],
    )
