"""Reads the items of a reply while it is parsed: for a page, and for a batch."""

from __future__ import annotations

import collections.abc as cabc
import copy
import typing as t

from pynamodb import constants
from pynamodb.pagination import PageIterator

from ..calls.item_reading import Decode
from . import deserializer
from .item_json import Raw
from .item_json import TypedValue

# For fewer, no code is generated.
_MANY_ITEMS = 4


class Reading:
    """Makes instances of a reply's items, unless there are only a few.

    :param read_page: What makes instances.
    """

    def __init__(self, read_page: deserializer.ReadPage) -> None:
        self._read_page = read_page
        self._items: list[t.Any] | None = None

    def has_read(self, items: list[t.Any]) -> bool:
        """Whether a list of a reply has instances.

        :param items: The list. It may be another one than was read: a reply that is unusual
            elsewhere is parsed again, and one that was damaged was sent again.
        """
        return self._items is items

    def __call__(self, items: list[t.Any], reply: cabc.Mapping[str, t.Any], decode: Decode) -> bool:
        """As :class:`~dynamo_ext.calls.item_reading.ReadItems`."""
        if len(items) < _MANY_ITEMS:
            return False

        left = items[:]
        # Each item can be freed as soon as it is read.
        items.clear()
        items += self._read_page(left, decode)
        self._items = items
        return True


class ReadingOfPage(Reading):
    """The same for a reply to Query or Scan, of which keys are wanted, too.

    :param read_page: What makes instances.
    :param pages: PynamoDB's iterator.
    :param limit: How many items to decode at most; ``None`` for all.
    """

    def __init__(
        self, read_page: deserializer.ReadPage, pages: PageIterator[t.Any], limit: int | None
    ) -> None:
        super().__init__(read_page)
        self._pages = pages
        self._limit = limit
        self.keys: dict[str, list[TypedValue | None]] = {}
        """By name, the attributes of a ``LastEvaluatedKey``: the value of each item, in order, or
        ``None`` for one that lacks it. Binary values are as they are in JSON."""

    def __call__(self, items: list[t.Any], reply: cabc.Mapping[str, t.Any], decode: Decode) -> bool:
        """As :class:`~dynamo_ext.calls.item_reading.ReadItems`."""
        if self._limit is not None and self._limit < len(items):
            return False

        names = _key_names(self._pages, reply)
        keys = {name: [item.get(name) for item in items] for name in names}

        if not super().__call__(items, reply, decode):
            return False

        self.keys = keys
        return True


def _key_names(pages: PageIterator[t.Any], reply: cabc.Mapping[str, t.Any]) -> cabc.Iterable[str]:
    """What PynamoDB's iterator will say the key's names are, once it has seen a reply."""
    if last_key := reply.get(constants.LAST_EVALUATED_KEY):
        return t.cast("dict[str, t.Any]", last_key).keys()

    if pages.last_evaluated_key:
        pages = copy.copy(pages)
        t.cast(t.Any, pages)._last_evaluated_key = None

    return pages.key_names


def of_batch(decode: cabc.Callable[[Raw], t.Any]) -> Reading | None:
    """What reads the items of the next reply to a batch; ``None`` if they are read one by one.

    :param decode: What makes an instance of one item as botocore gives it.
    """
    read_page = deserializer.reads_page(decode)
    return None if read_page is None else Reading(read_page)


def of_page(
    decode: cabc.Callable[[Raw], t.Any] | None, pages: PageIterator[t.Any], limit: int | None
) -> ReadingOfPage | None:
    """What reads the items of the next page; ``None`` if they are read one by one.

    :param decode: What makes an instance of one item as botocore gives it.
    :param pages: PynamoDB's iterator.
    :param limit: How many items to decode at most; ``None`` for all.
    """
    read_page = deserializer.reads_page(decode)
    return None if read_page is None else ReadingOfPage(read_page, pages, limit)
