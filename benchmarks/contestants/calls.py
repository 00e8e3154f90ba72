"""The four calls that every contestant makes, and their item."""

from __future__ import annotations

import base64
import collections.abc as cabc
import dataclasses
import typing as t

TABLE = "bench"
REGION = "us-east-1"
ACCESS_KEY_ID = "AKIDOFTHEBENCHMARKS"
SECRET_ACCESS_KEY = "secret-of-the-benchmarks"
HASH_KEY = "user#0001"
ITEMS = 100
BIO = ("Lorem ipsum dolor sit amet, consectetur adipiscing elit. " * 9)[:500]
BLOB = bytes(range(1, 49))

Call = cabc.Callable[[], t.Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calls:
    """One contestant's calls. Each returns an awaitable, or in Flask the result."""

    get: Call
    """GetItem of the item with number 1."""

    put: Call
    """PutItem of that item."""

    query: Call
    """Query of all :data:`ITEMS` items, as a list."""

    batch: Call
    """BatchGetItem of all :data:`ITEMS` items, or of the first ones, as a list."""

    gets: cabc.Sequence[Call] = ()
    """GetItem through each of several models."""


def range_key(number: int) -> str:
    return f"order#{number:06}"


def all_keys(count: int = ITEMS) -> list[tuple[str, str]]:
    """The hash key and the range key of each item, or of the first ones.

    :param count: How many.
    """
    return [(HASH_KEY, range_key(number)) for number in range(count)]


def attributes(number: int) -> dict[str, dict[str, t.Any]]:
    """One item in DynamoDB's format: 11 attributes, about 1 KB.

    :param number: The item's number.
    """
    return {
        "pk": {"S": HASH_KEY},
        "sk": {"S": range_key(number)},
        "name": {"S": f"Customer Number {number} with a longish name"},
        "bio": {"S": BIO},
        "age": {"N": str(20 + number % 60)},
        "score": {"N": f"{number * 1.5 + 0.25}"},
        "active": {"BOOL": bool(number % 2)},
        "created_at": {"S": "2025-11-02T10:11:12.123456+0000"},
        "tags": {"SS": ["alpha", "beta", "gamma", "delta"]},
        "blob": {"B": base64.b64encode(BLOB).decode()},
        "meta": {
            "M": {
                "street": {"S": "1 High Street"},
                "zip": {"N": "12345"},
                "verified": {"BOOL": True},
            }
        },
    }


async def collect(items: cabc.AsyncIterable[t.Any]) -> list[t.Any]:
    """All items of an asynchronous iterable."""
    return [item async for item in items]


def check(operation: str, result: t.Any) -> None:
    """Check the result of a call.

    :param operation: The operation, a name in :class:`Calls`.
    :param result: What the call returned.
    :raises ValueError: if the result is wrong.
    """
    if operation in {"query", "batch"} and len(result) != ITEMS:
        raise ValueError(f"{operation} has given {len(result)} items instead of {ITEMS}")

    if operation == "get" and range_key(1) not in str(_range_key_of(result)):
        raise ValueError(f"get has given {result!r}")


def _range_key_of(item: t.Any) -> t.Any:
    # The item is a model, a plain dict, or a reply in DynamoDB's format.
    return item.sk if hasattr(item, "sk") else item.get("Item", item)["sk"]
