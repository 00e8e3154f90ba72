"""boto3's client, whose replies its own converter turns into plain dicts."""

from __future__ import annotations

import contextlib
import importlib
import typing as t

from . import calls
from . import models
from .calls import Calls

_Item = dict[str, t.Any]


def connect(
    url: str,
    stack: contextlib.ExitStack,
    *,
    count: int = 1,
    pool: int = 10,
    keys: int = calls.ITEMS,
) -> Calls:
    types: t.Any = importlib.import_module("boto3.dynamodb.types")
    read, write = types.TypeDeserializer().deserialize, types.TypeSerializer().serialize
    client = _client(url, pool)
    all_keys = [{"pk": {"S": pk}, "sk": {"S": sk}} for pk, sk in calls.all_keys(keys)]

    def plain(item: _Item) -> _Item:
        return {name: read(value) for name, value in item.items()}

    def get() -> _Item:
        return plain(client.get_item(TableName=calls.TABLE, Key=all_keys[1])["Item"])

    def query() -> list[_Item]:
        reply = client.query(
            TableName=calls.TABLE,
            KeyConditionExpression="#0 = :0",
            ExpressionAttributeNames={"#0": "pk"},
            ExpressionAttributeValues={":0": {"S": calls.HASH_KEY}},
        )
        return [plain(item) for item in reply["Items"]]

    def batch() -> list[_Item]:
        reply = client.batch_get_item(RequestItems={calls.TABLE: {"Keys": all_keys}})
        return [plain(item) for item in reply["Responses"][calls.TABLE]]

    item = {name: value for name, value in models.VALUES.items() if name != "score"}
    values = {**item, "created_at": models.CREATED_AT.isoformat(), "meta": models.META}
    # boto3 refuses floats.
    score = {"score": {"N": str(models.VALUES["score"])}}

    def put() -> None:
        written = {name: write(value) for name, value in values.items()}
        client.put_item(TableName=calls.TABLE, Item={**all_keys[1], **written, **score})

    return Calls(get=get, put=put, query=query, batch=batch, gets=[get] * count)


def _client(url: str, pool: int) -> t.Any:
    config: t.Any = importlib.import_module("botocore.config")
    return importlib.import_module("boto3").client(
        "dynamodb",
        region_name=calls.REGION,
        endpoint_url=url,
        config=config.Config(max_pool_connections=pool),
        aws_access_key_id=calls.ACCESS_KEY_ID,
        aws_secret_access_key=calls.SECRET_ACCESS_KEY,
    )
