"""The item as a PynamoDB model, for PynamoDB and for libraries that use its attributes."""

from __future__ import annotations

import datetime
import importlib
import typing as t

from . import calls

CREATED_AT = datetime.datetime(2025, 11, 2, 10, 11, 12, 123456, datetime.UTC)

#: The value of the item's map.
META: dict[str, t.Any] = {"street": "1 High Street", "zip": 12345, "verified": True}
#: The first item's other attributes, without its keys and its date.
VALUES: dict[str, t.Any] = {
    "name": "Customer Number 1 with a longish name",
    "bio": calls.BIO,
    "age": 21,
    "score": 1.75,
    "active": True,
    "tags": {"alpha", "beta", "gamma", "delta"},
    "blob": calls.BLOB,
}


def define(
    base: t.Any, package: str = "pynamodb", options: dict[str, t.Any] | None = None, count: int = 1
) -> list[t.Any]:
    """Define models.

    :param base: Their base class.
    :param package: The package whose attributes they use.
    :param options: The attributes of their ``Meta``, besides the name of the table.
    :param count: How many equal models to define.
    """
    attributes = importlib.import_module(f"{package}.attributes")
    return [_define(base, attributes, options or {}) for _ in range(count)]


def _define(base: t.Any, attributes: t.Any, options: dict[str, t.Any]) -> t.Any:
    class Address(attributes.MapAttribute):  # type: ignore[misc]
        street = attributes.UnicodeAttribute()
        zip = attributes.NumberAttribute()
        verified = attributes.BooleanAttribute()

    class Customer(base):  # type: ignore[misc]
        Meta = type("Meta", (), {"table_name": calls.TABLE, **options})

        pk = attributes.UnicodeAttribute(hash_key=True)
        sk = attributes.UnicodeAttribute(range_key=True)
        name = attributes.UnicodeAttribute()
        bio = attributes.UnicodeAttribute(null=True)
        age = attributes.NumberAttribute(null=True)
        score = attributes.NumberAttribute(null=True)
        active = attributes.BooleanAttribute(default=False)
        created_at = attributes.UTCDateTimeAttribute(null=True)
        tags = attributes.UnicodeSetAttribute(null=True)
        blob = attributes.BinaryAttribute(null=True, legacy_encoding=False)
        meta = Address(null=True)

    return Customer


def stock(url: str, pool: int, count: int, package: str = "pynamodb") -> list[t.Any]:
    """Define models on stock PynamoDB or on a fork.

    :param url: The server's address.
    :param pool: How many connections each model's client keeps.
    :param count: How many equal models to define.
    :param package: The package of PynamoDB or of the fork.
    """
    base = importlib.import_module(f"{package}.models").Model
    options = {
        "region": calls.REGION,
        "host": url,
        "max_pool_connections": pool,
        "aws_access_key_id": calls.ACCESS_KEY_ID,
        "aws_secret_access_key": calls.SECRET_ACCESS_KEY,
    }
    return define(base, package, options, count)


def settings(url: str, pool: int, transport: str) -> dict[str, t.Any]:
    """The settings of an app with dynamo-ext.

    :param url: The server's address.
    :param pool: The number of slots.
    :param transport: The transport.
    """
    return {
        "DYNAMODB_HOST": url,
        "DYNAMODB_REGION": calls.REGION,
        "DYNAMODB_AWS_ACCESS_KEY_ID": calls.ACCESS_KEY_ID,
        "DYNAMODB_AWS_SECRET_ACCESS_KEY": calls.SECRET_ACCESS_KEY,
        "DYNAMODB_MAX_POOL_CONNECTIONS": pool,
        "DYNAMODB_TRANSPORT": transport,
    }


def new(model: t.Any) -> t.Any:
    """A new item of a model, for PutItem."""
    item = model(calls.HASH_KEY, calls.range_key(1), **VALUES)
    item.created_at = CREATED_AT
    item.meta = META
    return item
