"""aiopynamodb, the asyncio fork of PynamoDB on aiobotocore."""

from __future__ import annotations

import contextlib
import functools

from . import models
from .calls import HASH_KEY
from .calls import Calls
from .calls import all_keys
from .calls import collect
from .calls import range_key


async def connect(
    url: str, stack: contextlib.AsyncExitStack, *, count: int = 1, pool: int = 100
) -> Calls:
    classes = models.stock(url, pool, count, "aiopynamodb")
    model, key = classes[0], (HASH_KEY, range_key(1))
    return Calls(
        get=functools.partial(model.get, *key),
        put=models.new(model).save,
        query=lambda: collect(model.query(HASH_KEY)),
        batch=lambda: collect(model.batch_get(all_keys())),
        gets=[functools.partial(each.get, *key) for each in classes],
    )
