"""pydynox, models on a core in Rust."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import logging
import typing as t

from . import calls
from . import models
from .calls import Calls
from .calls import collect


@dataclasses.dataclass
class Address:
    street: str
    zip: int
    verified: bool


async def connect(
    url: str, stack: contextlib.AsyncExitStack, *, count: int = 1, keys: int = calls.ITEMS
) -> Calls:
    # pydynox logs a warning for each slow call.
    logging.getLogger("pydynox").setLevel(logging.CRITICAL)
    client = importlib.import_module("pydynox").DynamoDBClient(
        region=calls.REGION,
        endpoint_url=url,
        access_key=calls.ACCESS_KEY_ID,
        secret_key=calls.SECRET_ACCESS_KEY,
    )
    classes = [_define(client) for _ in range(count)]
    model = classes[0]
    all_keys = [{"pk": pk, "sk": sk} for pk, sk in calls.all_keys(keys)]
    meta = Address(**models.META)
    item = model(**all_keys[1], **models.VALUES, created_at=models.CREATED_AT, meta=meta)
    return Calls(
        get=functools.partial(model.get, **all_keys[1]),
        # Without this option, pydynox sends only what has changed, which is nothing.
        put=functools.partial(item.save, full_replace=True),
        query=lambda: collect(model.query(partition_key=calls.HASH_KEY)),
        batch=functools.partial(model.batch_get, all_keys),
        gets=[functools.partial(each.get, **all_keys[1]) for each in classes],
    )


def _define(client: t.Any) -> t.Any:
    pydynox: t.Any = importlib.import_module("pydynox")
    attributes: t.Any = importlib.import_module("pydynox.attributes")

    class Customer(pydynox.Model):  # type: ignore[misc]
        model_config = pydynox.ModelConfig(table=calls.TABLE, client=client)

        pk = attributes.StringAttribute(partition_key=True)
        sk = attributes.StringAttribute(sort_key=True)
        name = attributes.StringAttribute()
        bio = attributes.StringAttribute()
        age = attributes.NumberAttribute()
        score = attributes.NumberAttribute()
        active = attributes.BooleanAttribute()
        created_at = attributes.DatetimeAttribute()
        tags = attributes.StringSetAttribute()
        blob = attributes.BinaryAttribute()
        meta = attributes.MapAttribute(Address)

    return Customer
