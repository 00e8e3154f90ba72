"""Reads the items of a reply while it is parsed: for a page, for a batch, and for a single item."""

from __future__ import annotations

import collections.abc as cabc
import functools
import typing as t

from pynamodb import constants
from pynamodb.attributes import AttributeContainer

from ..calls.item_reading import Decode
from ..concurrency import decode_lock
from . import deserializer
from .item_json import Raw
from .item_json import TypedValue
from .reply_reader import ReplyReader

if t.TYPE_CHECKING:
    from .typed_replies import TypedReplies

KeyNames = cabc.Callable[[], cabc.Iterable[str]]

# For fewer, no code is generated.
_MANY_ITEMS = 4

_SHAPE_OF_GET = "GetItemOutput"
_SHAPES_WITH_LISTS = frozenset({"BatchGetItemOutput", "QueryOutput", "ScanOutput"})


class Reading:
    """Makes instances of a reply's items, unless there are only a few.

    :param reader: What makes instances.
    """

    is_of_many_items: t.ClassVar[bool] = True

    def __init__(self, reader: ReplyReader) -> None:
        self._reader = reader
        self._items: list[t.Any] | None = None

    def has_read(self, items: list[t.Any] | None) -> bool:
        """Whether a list of a reply has instances.

        :param items: The list. It may be another one than was read: a reply that is unusual
            elsewhere is parsed again, and one that was damaged was sent again.
        """
        return items is not None and self._items is items

    def parse(self, shape_name: str, body: bytes) -> dict[str, t.Any] | None:
        """As :meth:`~dynamo_ext.calls.item_reading.ReadItems.parse`."""
        if shape_name not in _SHAPES_WITH_LISTS:
            return None

        typed = self._reader.typed(len(body))

        if typed is None:
            return None

        try:
            items, reply = typed.items(shape_name, body)

            if not self.prepare(typed, items, reply):
                return None

            left = items[:]
            # Each decoded item can be freed as soon as it is read.
            items.clear()
            items += decode_lock.decode_parts(typed.read_items, left)
        except Exception:
            self._reader.note_refusal()
            return None

        self._reader.note_success()
        self._items = items
        return reply

    def prepare(
        self, typed: TypedReplies, items: list[t.Any], reply: cabc.Mapping[str, t.Any]
    ) -> bool:
        """Note what must be known of decoded items before they are read.

        :param typed: What has decoded them.
        :param items: The items.
        :param reply: All that the reply has.
        :return: Whether to read them.
        """
        return True

    def __call__(self, items: list[t.Any], reply: cabc.Mapping[str, t.Any], decode: Decode) -> bool:
        """As :class:`~dynamo_ext.calls.item_reading.ReadItems`."""
        if len(items) < _MANY_ITEMS or self._reader.has_few_bytes:
            return False

        left = items[:]
        # Each item can be freed as soon as it is read.
        items.clear()
        items += decode_lock.decode_parts(functools.partial(self._read_page, decode), left)
        self._items = items
        return True

    def _read_page(self, decode: Decode, items: list[t.Any]) -> list[t.Any]:
        return self._reader.read_page(items, decode)


class ReadingOfPage(Reading):
    """The same for a reply to Query or Scan, of which keys are wanted, too.

    :param reader: What makes instances.
    :param key_names: Gives the names of the attributes of a key, for a reply that is the last one.
    :param limit: How many items to decode at most; ``None`` for all.
    """

    def __init__(self, reader: ReplyReader, key_names: KeyNames, limit: int | None) -> None:
        super().__init__(reader)
        self._key_names = key_names
        self._limit = limit
        self.keys: cabc.Mapping[str, cabc.Sequence[TypedValue | None]] = {}
        """By name, the attributes of a ``LastEvaluatedKey``: the value of each item, in order, or
        ``None`` for one that lacks it. Binary values may be as they are in JSON."""

    def prepare(
        self, typed: TypedReplies, items: list[t.Any], reply: cabc.Mapping[str, t.Any]
    ) -> bool:
        """As :meth:`Reading.prepare`."""
        if self._has_too_many(items):
            return False

        self.keys = typed.keys(self._names(reply), items)
        return True

    def __call__(self, items: list[t.Any], reply: cabc.Mapping[str, t.Any], decode: Decode) -> bool:
        """As :class:`~dynamo_ext.calls.item_reading.ReadItems`."""
        if self._has_too_many(items):
            return False

        names = self._names(reply)
        keys = {name: [item.get(name) for item in items] for name in names}

        if not super().__call__(items, reply, decode):
            return False

        self.keys = keys
        return True

    def _names(self, reply: cabc.Mapping[str, t.Any]) -> cabc.Iterable[str]:
        """What PynamoDB's iterator will say the key's names are, once it has seen a reply."""
        last_key: dict[str, t.Any] | None = reply.get(constants.LAST_EVALUATED_KEY)
        return last_key.keys() if last_key else self._key_names()

    def _has_too_many(self, items: list[t.Any]) -> bool:
        return self._limit is not None and self._limit < len(items)


class ReadingOfItem:
    """Makes an instance of the item of a reply to GetItem.

    :param reader: What makes instances.
    """

    is_of_many_items: t.ClassVar[bool] = False

    def __init__(self, reader: ReplyReader) -> None:
        self._reader = reader
        self._item: t.Any = None

    def has_read(self, item: t.Any) -> bool:
        """Whether the item of a reply is an instance.

        :param item: What the reply has for its item.
        """
        return item is not None and self._item is item

    def parse(self, shape_name: str, body: bytes) -> dict[str, t.Any] | None:
        """As :meth:`~dynamo_ext.calls.item_reading.ReadItems.parse`."""
        typed = self._reader.typed(len(body)) if shape_name == _SHAPE_OF_GET else None

        if typed is None:
            return None

        try:
            item, reply = typed.item(body)

            if item is None:
                return reply

            [self._item] = typed.read_items([item])
        except Exception:
            self._reader.note_refusal()
            return None

        self._reader.note_success()
        reply[constants.ITEM] = self._item
        return reply

    def __call__(self, items: list[t.Any], reply: cabc.Mapping[str, t.Any], decode: Decode) -> bool:
        """As :class:`~dynamo_ext.calls.item_reading.ReadItems`: there is no list."""
        return False


def of_batch(decode: cabc.Callable[[Raw], t.Any]) -> Reading | None:
    """What reads the items of the next reply to a batch; ``None`` if they are read one by one.

    :param decode: What makes an instance of one item as botocore gives it.
    """
    reader = deserializer.reads_replies(decode)
    return None if reader is None else Reading(reader)


def of_plain_batch(model: type[t.Any]) -> Reading | None:
    """As :func:`of_batch`.

    :param model: The model, of which nothing is overridden or patched: the caller has looked.
    """
    reader = deserializer.of(model).reply_reader
    return None if reader is None else Reading(reader)


def of_page(
    decode: cabc.Callable[[Raw], t.Any] | None, key_names: KeyNames, limit: int | None
) -> ReadingOfPage | None:
    """What reads the items of the next page; ``None`` if they are read one by one.

    :param decode: What makes an instance of one item as botocore gives it.
    :param key_names: Gives the names of the attributes of a key, for a reply that is the last one.
    :param limit: How many items to decode at most; ``None`` for all.
    """
    reader = deserializer.reads_replies(decode)
    return None if reader is None else ReadingOfPage(reader, key_names, limit)


def of_item(model: type[AttributeContainer]) -> ReadingOfItem | None:
    """What reads the item of the reply to a call; ``None`` if it is read afterwards.

    :param model: The model, of which nothing is overridden or patched: the caller has looked.
    """
    reader = deserializer.of(model).reply_reader
    return None if reader is None else ReadingOfItem(reader)
