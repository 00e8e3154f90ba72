"""One reply to Query or Scan, with its items decoded."""

from __future__ import annotations

import binascii
import collections.abc as cabc
import dataclasses
import typing as t

from pynamodb import constants
from pynamodb.pagination import PageIterator

from ..calls import item_reading
from . import reply_reading
from . import undecodable
from .item_json import Raw
from .item_json import TypedValue
from .undecodable import Undecodable

A = t.TypeVar("A")
B = t.TypeVar("B")
T = t.TypeVar("T")
Key: t.TypeAlias = dict[str, TypedValue]


class DecodeEach(t.Protocol):
    """Calls a function with each item. The list is not used afterwards."""

    def __call__(self, function: cabc.Callable[[A], B], items: list[A], /) -> list[B]: ...


@dataclasses.dataclass(frozen=True)
class DecodedReply(t.Generic[T]):
    """One reply to Query or Scan."""

    count: int
    keys: cabc.Mapping[str, list[TypedValue | None]]
    """By name, the attributes of a ``LastEvaluatedKey``: the value of each item, in order, or
    ``None`` for one that lacks it. A binary value may be in base64 still."""

    items: cabc.Sequence[T | Undecodable]
    consumed: float
    """The capacity units that the request consumed."""

    pages: PageIterator[t.Any]
    """PynamoDB's iterator, behind this reply."""

    def key_of(self, index: int) -> Key:
        """The key from which a later query or scan can start after an item of this reply.

        :param index: The index of the item.
        :raises KeyError: as in PynamoDB, if the item lacks an attribute of the key.
        """
        key: Key = {}

        for name in self.pages.key_names:
            value = self.keys[name][index]

            if value is None:
                raise KeyError(name)

            key[name] = _decoded(value)

        return key


def _decoded(value: TypedValue) -> TypedValue:
    """A value of a key, whose item may have been read without being changed."""
    content = value.get(constants.BINARY)
    return {constants.BINARY: binascii.a2b_base64(content)} if type(content) is str else value


def _one_by_one(function: cabc.Callable[[A], B], items: list[A]) -> list[B]:
    return [function(item) for item in items]


def fetch(
    pages: PageIterator[t.Any],
    decode: cabc.Callable[[Raw], T] | None,
    *,
    limit: int | None = None,
    hidden: cabc.Collection[str] = (),
    decode_each: DecodeEach = _one_by_one,
) -> DecodedReply[T] | None:
    """Make the next request of a query or scan.

    :param pages: PynamoDB's iterator.
    :param decode: What makes items of those that botocore gives; ``None`` for these themselves.
    :param limit: How many items to decode at most; ``None`` for all.
    :param hidden: The names of attributes that are read for the keys alone.
    :param decode_each: How to decode the items, one after the other.
    :return: The reply, or ``None`` after the last one.
    :raises pynamodb.exceptions.PynamoDBException: if the call fails.
    """
    reading = None if hidden else reply_reading.of_page(decode, pages, limit)

    try:
        with item_reading.by(reading):
            reply: Raw = next(pages)
    except StopIteration:
        return None

    count: int = reply[constants.CAMEL_COUNT]
    consumed = consumed_by(reply)
    raw_items: list[Raw] = reply.get(constants.ITEMS) or []

    if reading is not None and reading.has_read(raw_items):
        return DecodedReply(
            count=count,
            keys=reading.keys,
            items=t.cast(t.Any, raw_items),
            consumed=consumed,
            pages=pages,
        )

    raw_items = [*raw_items]
    # Usually the last reference: each item can then be freed as soon as it is decoded.
    del reply
    keys = {name: [item.get(name) for item in raw_items] for name in pages.key_names}

    if limit is not None:
        del raw_items[limit:]

    for name in hidden:
        for item in raw_items:
            item.pop(name, None)

    def decoded(raw_item: Raw) -> T | Undecodable:
        if decode is None:
            return t.cast(T, raw_item)

        return undecodable.decoded(decode, raw_item)

    return DecodedReply(
        count=count,
        keys=keys,
        items=decode_each(decoded, raw_items),
        consumed=consumed,
        pages=pages,
    )


def consumed_by(reply: Raw) -> float:
    """The capacity units that a request has consumed.

    :param reply: The reply, as botocore gives it.
    """
    capacity: dict[str, t.Any] = reply.get(constants.CONSUMED_CAPACITY) or {}
    units: float = capacity.get(constants.CAPACITY_UNITS, 0)
    return units
