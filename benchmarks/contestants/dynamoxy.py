"""dynamoxy, models on a core in Rust, whose calls run outside of the interpreter's lock."""

from __future__ import annotations

import contextlib
import datetime
import functools
import importlib
import typing as t

from . import calls
from . import models
from .calls import Calls


async def connect(
    url: str, stack: contextlib.AsyncExitStack, *, count: int = 1, keys: int = calls.ITEMS
) -> Calls:
    dynamoxy: t.Any = importlib.import_module("dynamoxy")
    client = await stack.enter_async_context(
        dynamoxy.Client(
            region=calls.REGION,
            endpoint_url=url,
            credentials=dynamoxy.Credentials(calls.ACCESS_KEY_ID, calls.SECRET_ACCESS_KEY),
        )
    )
    address = _define(dynamoxy.Document, {"street": str, "zip": int, "verified": bool})
    classes = [_customer(dynamoxy, address) for _ in range(count)]
    repositories = [client.repository(model) for model in classes]
    repository = repositories[0]
    key = calls.HASH_KEY, calls.range_key(1)
    item = classes[0](
        pk=key[0],
        sk=key[1],
        **models.VALUES,
        created_at=models.CREATED_AT,
        meta=address(**models.META),
    )
    return Calls(
        get=functools.partial(repository.get, *key),
        # save() would check a version, too.
        put=functools.partial(repository.put, item),
        query=lambda: repository.query(pk=calls.HASH_KEY).all(),
        batch=functools.partial(repository.batch_get, calls.all_keys(keys)),
        gets=[functools.partial(each.get, *key) for each in repositories],
    )


def _customer(dynamoxy: t.Any, address: t.Any) -> t.Any:
    fields: dict[str, t.Any] = {
        "pk": str,
        "sk": str,
        "name": str,
        "bio": str | None,
        "age": int | None,
        "score": float | None,
        "active": bool,
        "created_at": datetime.datetime | None,
        "tags": set[str],
        "blob": bytes | None,
        "meta": address | None,
    }
    keys = {"pk": dynamoxy.partition_key(), "sk": dynamoxy.sort_key()}
    return _define(dynamoxy.Model, fields, keys, table=calls.TABLE)


def _define(
    base: t.Any, fields: dict[str, t.Any], keys: dict[str, t.Any] | None = None, **options: str
) -> t.Any:
    """Define a model. dynamoxy reads annotations, which can't name types that are imported late."""
    attr = importlib.import_module("dynamoxy").Attr
    namespace = {
        **(keys or {}),
        "__annotations__": {name: attr[kind] for name, kind in fields.items()},
        "__module__": __name__,
    }
    return type(base)("Customer", (base,), namespace, **options)
