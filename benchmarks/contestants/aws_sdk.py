"""AWS's own SDK for asyncio. It returns attribute values in DynamoDB's own format, as objects."""

from __future__ import annotations

import base64
import contextlib
import functools
import importlib
import typing as t

from . import calls
from .calls import Calls


async def connect(
    url: str, stack: contextlib.AsyncExitStack, *, count: int = 1, keys: int = calls.ITEMS
) -> Calls:
    sdk: t.Any = importlib.import_module("aws_sdk_dynamodb.models")
    client = await stack.enter_async_context(await _client(url))
    all_keys = [
        {"pk": _value({"S": pk}), "sk": _value({"S": sk})} for pk, sk in calls.all_keys(keys)
    ]
    item = {name: _value(value) for name, value in calls.attributes(1).items()}
    get_input = sdk.GetItemInput(table_name=calls.TABLE, key=all_keys[1])

    async def get() -> object:
        return (await client.get_item(get_input)).item

    async def query() -> list[object]:
        reply = await client.query(
            sdk.QueryInput(
                table_name=calls.TABLE,
                key_condition_expression="#0 = :0",
                expression_attribute_names={"#0": "pk"},
                expression_attribute_values={":0": _value({"S": calls.HASH_KEY})},
            )
        )
        return list(reply.items)

    async def batch() -> list[object]:
        wanted = {calls.TABLE: sdk.KeysAndAttributes(keys=all_keys)}
        reply = await client.batch_get_item(sdk.BatchGetItemInput(request_items=wanted))
        return list(reply.responses[calls.TABLE])

    return Calls(
        get=get,
        put=functools.partial(client.put_item, sdk.PutItemInput(table_name=calls.TABLE, item=item)),
        query=query,
        batch=batch,
        gets=[get] * count,
    )


async def _client(url: str) -> t.Any:
    package: t.Any = importlib.import_module("aws_sdk_dynamodb.client")
    settings: t.Any = importlib.import_module("aws_sdk_dynamodb.config")
    identity: t.Any = importlib.import_module("smithy_aws_core.identity")
    credentials = identity.AWSCredentialsIdentity(
        access_key_id=calls.ACCESS_KEY_ID, secret_access_key=calls.SECRET_ACCESS_KEY
    )
    config = await settings.AsyncDynamoDBConfig.resolve(
        region=calls.REGION,
        endpoint_uri=url,
        aws_credentials_identity_resolver=identity.StaticCredentialsResolver(credentials),
    )
    return package.AsyncDynamoDBClient(config)


def _value(value: dict[str, t.Any]) -> t.Any:
    """The SDK's object for a value in DynamoDB's format."""
    ((kind, content),) = value.items()

    if kind == "B":
        content = base64.b64decode(content)
    elif kind == "M":
        content = {name: _value(each) for name, each in content.items()}

    models: t.Any = importlib.import_module("aws_sdk_dynamodb.models")
    return getattr(models, f"AttributeValue{kind}")(value=content)
