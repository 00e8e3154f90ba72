"""Stock PynamoDB in anyio's worker threads, as one would write it by hand."""

from __future__ import annotations

import contextlib
import functools
import typing as t

import anyio
import anyio.to_thread

from . import models
from .calls import HASH_KEY
from .calls import ITEMS
from .calls import Call
from .calls import Calls
from .calls import all_keys
from .calls import range_key


async def connect(
    url: str,
    stack: contextlib.AsyncExitStack,
    *,
    count: int = 1,
    pool: int = 10,
    keys: int = ITEMS,
) -> Calls:
    limiter = anyio.CapacityLimiter(pool)
    classes = models.stock(url, pool, count)
    model, key = classes[0], (HASH_KEY, range_key(1))

    def threaded(function: t.Any, *arguments: t.Any) -> Call:
        call = functools.partial(function, *arguments)
        return functools.partial(anyio.to_thread.run_sync, call, limiter=limiter)

    return Calls(
        get=threaded(model.get, *key),
        put=threaded(models.new(model).save),
        query=threaded(lambda: list(model.query(HASH_KEY))),
        batch=threaded(lambda: list(model.batch_get(all_keys(keys)))),
        gets=[threaded(each.get, *key) for each in classes],
    )
