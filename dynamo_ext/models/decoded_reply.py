"""One reply to Query or Scan, with its items decoded."""

from __future__ import annotations

import binascii
import collections.abc as cabc
import contextlib
import functools
import typing as t

from pynamodb import constants
from pynamodb.pagination import PageIterator

from ..client import ceremony
from ..client.connection import TableConnection
from . import iterators
from . import reply_reading
from . import undecodable
from .item_json import Raw
from .item_json import TypedValue
from .planned import PlannedCall
from .undecodable import Undecodable

A = t.TypeVar("A")
B = t.TypeVar("B")
T = t.TypeVar("T")
Key: t.TypeAlias = dict[str, TypedValue]


class DecodeEach(t.Protocol):
    """Calls a function with each item. The list is not used afterwards."""

    def __call__(self, function: cabc.Callable[[A], B], items: list[A], /) -> list[B]: ...


class DecodedReply(t.NamedTuple, t.Generic[T]):
    """One reply to Query or Scan."""

    # Not "count", which is a method of tuples.
    number: int
    keys: cabc.Mapping[str, cabc.Sequence[TypedValue | None]]
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
        return key_of(self.pages, self.keys, index)


def key_of(
    pages: PageIterator[t.Any],
    keys: cabc.Mapping[str, cabc.Sequence[TypedValue | None]],
    index: int,
) -> Key:
    """The key from which a later query or scan can start after an item of a reply.

    :param pages: PynamoDB's iterator, behind the reply.
    :param keys: As :attr:`DecodedReply.keys`.
    :param index: The index of the item.
    :raises KeyError: as in PynamoDB, if the item lacks an attribute of the key.
    """
    key: Key = {}

    for name in pages.key_names:
        value = keys[name][index]

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


class Fetch(t.Generic[T]):
    """The next request of a query or scan.

    :param pages: PynamoDB's iterator.
    :param decode: What makes items of those that botocore gives; ``None`` for these themselves.
    :param limit: How many items to decode at most; ``None`` for all.
    :param hidden: The names of attributes that are read for the keys alone.
    :param decode_each: How to decode the items, one after the other.
    """

    def __init__(
        self,
        pages: PageIterator[t.Any],
        decode: cabc.Callable[[Raw], T] | None,
        *,
        limit: int | None = None,
        hidden: cabc.Collection[str] = (),
        decode_each: DecodeEach = _one_by_one,
    ) -> None:
        self._pages = pages
        self._decode = decode
        self._limit = limit
        self._hidden = hidden
        self._decode_each = decode_each
        self._operation: t.Any = t.cast(t.Any, pages)._operation

    @functools.cached_property
    def reading(self) -> reply_reading.ReadingOfPage | None:
        """What reads the items while the reply is parsed; ``None`` if they are read afterwards."""
        is_noticed = iterators.are_patched() or ceremony.is_noticed()
        return None if is_noticed or not self.is_of_project else self._new_reading()

    def _new_reading(self) -> reply_reading.ReadingOfPage | None:
        if self._hidden:
            return None

        # Nothing that refers to this object, which refers to what reads the page: the items of a
        # circle would be left to the garbage collector.
        index_name: str | None = t.cast(t.Any, self._pages)._kwargs.get("index_name")
        key_names = functools.partial(self.table.key_names, index_name)
        return reply_reading.of_page(self._decode, key_names, self._limit)

    @property
    def table(self) -> TableConnection:
        """The connection to the table."""
        table: TableConnection = self._operation.__self__
        return table

    def send(self) -> DecodedReply[T] | None:
        """Make the request.

        :return: The reply, or ``None`` after the last one.
        :raises pynamodb.exceptions.PynamoDBException: if the call fails.
        """
        # The reply is in no variable here, so that its items can be freed one by one.
        return self._decoded(self.next())

    def plan(self) -> PlannedCall | None:
        """Plan the request, which is then made elsewhere. It is of this project, and nobody would
        notice: the caller has looked.

        :return: The call, which gives the reply; ``None`` after the last one, and if PynamoDB's
            iterator must make it.
        """
        pages = t.cast(t.Any, self._pages)

        if pages._is_last_page or pages._rate_limiter is not None:
            return None

        # The steps of PynamoDB's iterator, up to the request.
        pages._kwargs["exclusive_start_key"] = pages._last_evaluated_key
        self.reading = self._new_reading()
        return PlannedCall(
            self._operation.__name__,
            pages._args,
            {**pages._kwargs},
            self._finish,
            self.reading,
        )

    def next(self) -> Raw | None:
        """Make the request.

        :return: The reply, in which items may have been read (see :attr:`reading`); ``None`` after
            the last one.
        :raises pynamodb.exceptions.PynamoDBException: if the call fails.
        """
        with self.reads_items():
            return next(self._pages, None)

    @contextlib.contextmanager
    def reads_items(self) -> cabc.Generator[None]:
        """Have the items of a reply that PynamoDB's iterator gets in this block read while it is
        parsed, if there is a :attr:`reading`."""
        if self.reading is None:
            yield
            return

        make_call, method = self.table.make_call, self._operation.__name__

        pages = t.cast(t.Any, self._pages)
        pages._operation = functools.partial(make_call, method, self.reading)

        try:
            yield
        finally:
            pages._operation = self._operation

    @property
    def is_of_project(self) -> bool:
        """Whether the request is PynamoDB's, on a connection of this project that is as it was
        made."""
        table: t.Any = getattr(self._operation, "__self__", None)

        if type(table) is not TableConnection:
            return False

        of_table: object = getattr(TableConnection, self._operation.__name__, None)
        return self._operation.__func__ is of_table and not table.is_replaced

    def _names_of_keys(self) -> cabc.Iterable[str]:
        try:
            return self._pages.key_names
        except AttributeError:
            # A mock of the request belongs to no table. As in PynamoDB, that is an error only
            # where a key is asked for.
            return ()

    def _finish(self, reply: Raw) -> DecodedReply[T] | None:
        # The steps of PynamoDB's iterator, from the reply on.
        pages = t.cast(t.Any, self._pages)
        last_key = pages._last_evaluated_key = reply.get(constants.LAST_EVALUATED_KEY)
        pages._is_last_page = last_key is None
        pages._total_scanned_count += reply[constants.SCANNED_COUNT]
        return self._decoded(reply)

    def _decoded(self, reply: Raw | None) -> DecodedReply[T] | None:
        if reply is None:
            return None

        pages, decode = self._pages, self._decode
        number: int = reply[constants.CAMEL_COUNT]
        consumed = consumed_by(reply)
        raw_items: list[Raw] = reply.get(constants.ITEMS) or []

        if self.reading is not None and self.reading.has_read(raw_items):
            return DecodedReply(
                number=number,
                keys=self.reading.keys,
                items=t.cast(t.Any, raw_items),
                consumed=consumed,
                pages=pages,
            )

        raw_items = [*raw_items]
        # Usually the last reference: each item can then be freed as soon as it is decoded.
        del reply
        keys = {name: [item.get(name) for item in raw_items] for name in self._names_of_keys()}

        if self._limit is not None:
            del raw_items[self._limit :]

        for name in self._hidden:
            for item in raw_items:
                item.pop(name, None)

        def decoded(raw_item: Raw) -> T | Undecodable:
            if decode is None:
                return t.cast(T, raw_item)

            return undecodable.decoded(decode, raw_item)

        return DecodedReply(
            number=number,
            keys=keys,
            items=self._decode_each(decoded, raw_items),
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
