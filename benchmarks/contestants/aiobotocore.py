"""aiobotocore, which aioboto3 wraps. It returns attribute values in DynamoDB's own format."""

from __future__ import annotations

import contextlib
import functools
import importlib

from . import calls
from .calls import Calls


async def connect(
    url: str, stack: contextlib.AsyncExitStack, *, count: int = 1, pool: int = 100
) -> Calls:
    config = importlib.import_module("aiobotocore.config").AioConfig(
        parameter_validation=False,
        max_pool_connections=pool,
        retries={"mode": "standard", "total_max_attempts": 4},
    )
    session = importlib.import_module("aiobotocore.session").get_session()
    client = await stack.enter_async_context(
        session.create_client(
            "dynamodb",
            region_name=calls.REGION,
            endpoint_url=url,
            config=config,
            aws_access_key_id=calls.ACCESS_KEY_ID,
            aws_secret_access_key=calls.SECRET_ACCESS_KEY,
        )
    )
    keys = [{"pk": {"S": pk}, "sk": {"S": sk}} for pk, sk in calls.all_keys()]
    item = {**calls.attributes(1), "blob": {"B": calls.BLOB}}
    get = functools.partial(client.get_item, TableName=calls.TABLE, Key=keys[1])

    async def query() -> list[object]:
        reply = await client.query(
            TableName=calls.TABLE,
            KeyConditionExpression="#0 = :0",
            ExpressionAttributeNames={"#0": "pk"},
            ExpressionAttributeValues={":0": {"S": calls.HASH_KEY}},
        )
        return list(reply["Items"])

    async def batch() -> list[object]:
        reply = await client.batch_get_item(RequestItems={calls.TABLE: {"Keys": keys}})
        return list(reply["Responses"][calls.TABLE])

    return Calls(
        get=get,
        put=functools.partial(client.put_item, TableName=calls.TABLE, Item=item),
        query=query,
        batch=batch,
        gets=[get] * count,
    )
