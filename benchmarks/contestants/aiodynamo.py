"""aiodynamo over aiohttp, whose session keeps 100 connections. It returns plain dicts."""

from __future__ import annotations

import contextlib
import functools
import importlib

from . import calls
from . import models
from .calls import Calls
from .calls import collect


async def connect(
    url: str,
    stack: contextlib.AsyncExitStack,
    *,
    count: int = 1,
    pool: int = 100,
    keys: int = calls.ITEMS,
) -> Calls:
    aiohttp = importlib.import_module("aiohttp")
    aiodynamo = importlib.import_module("aiodynamo.client")
    credentials = importlib.import_module("aiodynamo.credentials")
    requests = importlib.import_module("aiodynamo.models")
    session = await stack.enter_async_context(
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=pool))
    )
    key = credentials.Key(calls.ACCESS_KEY_ID, calls.SECRET_ACCESS_KEY)
    client = aiodynamo.Client(
        importlib.import_module("aiodynamo.http.aiohttp").AIOHTTP(session),
        credentials.StaticCredentials(key),
        calls.REGION,
        importlib.import_module("yarl").URL(url),
    )
    table = client.table(calls.TABLE)
    all_keys = [{"pk": pk, "sk": sk} for pk, sk in calls.all_keys(keys)]
    condition = importlib.import_module("aiodynamo.expressions").HashKey("pk", calls.HASH_KEY)
    # aiodynamo has no type for dates, so format the date here.
    item = {
        **all_keys[1],
        **models.VALUES,
        "created_at": models.CREATED_AT.isoformat(),
        "meta": models.META,
    }
    get = functools.partial(table.get_item, all_keys[1])

    async def batch() -> list[object]:
        reply = await client.batch_get({calls.TABLE: requests.BatchGetRequest(all_keys)})
        return list(reply.items[calls.TABLE])

    return Calls(
        get=get,
        put=functools.partial(table.put_item, item),
        query=lambda: collect(table.query(condition)),
        batch=batch,
        gets=[get] * count,
    )
