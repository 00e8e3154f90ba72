"""The items of a query or scan, for a thread that iterates over them."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

import pynamodb.models
import pynamodb.pagination
from pynamodb.pagination import PageIterator

from ..client.connection import TableConnection
from . import decoded_reply
from . import iterators
from .decoded_reply import Fetch
from .decoded_reply import Key
from .reply_reading import ReadingOfPage
from .undecodable import Undecodable
from .undecodable import unwrap

M = t.TypeVar("M", bound=pynamodb.models.Model)

_class_of: cabc.Callable[[t.Any], type[t.Any]] = type
_OfPynamoDB = pynamodb.pagination.ResultIterator


def of(result: t.Any) -> t.Any:
    """What a query or scan returns: PynamoDB's iterator, which reads its pages in fewer steps.

    :param result: What PynamoDB's own method has returned.
    :return: The iterator; or the result itself, if the app has patched PynamoDB's.
    """
    is_usual = _class_of(result) is _OfPynamoDB and not iterators.are_patched()
    return ResultIterator(result) if is_usual else result


class ResultIterator(_OfPynamoDB[M]):
    """PynamoDB's iterator, whose items become instances while their page is parsed, unless code of
    the app would notice.

    :param result: PynamoDB's own, of which nothing was asked for.
    """

    page_iter: PageIterator[t.Any]
    _items: t.Any
    _index: int
    _map_fn: t.Any

    def __init__(self, result: pynamodb.pagination.ResultIterator[M]) -> None:
        # As PynamoDB has made it.
        vars(self).update(vars(result))
        self._decode = self._map_fn
        self._read: ReadingOfPage | None = None
        """What has read the items of the current page."""

    @property
    def last_evaluated_key(self) -> Key | None:
        """The key of the last item that was given, from which a later query or scan can start;
        ``None`` after the last item of all."""
        if self._read is None or self._index == self._count:
            return super().last_evaluated_key

        return decoded_reply.key_of(self.page_iter, self._read.keys, self._index - 1)

    def _get_next_page(self) -> None:
        fetch = Fetch(self.page_iter, self._decode, limit=self._limit)

        with fetch.reads_items():
            super()._get_next_page()

        if fetch.reading is not None and fetch.reading.has_read(self._items):
            self._read = fetch.reading
            self._map_fn = unwrap if Undecodable in set(map(_class_of, self._items)) else None
        else:
            self._read, self._map_fn = None, self._decode


def table_of(result: t.Any) -> TableConnection | None:
    """The connection to the table of a query or scan.

    :param result: What the method has returned, PynamoDB's or an override.
    :return: The connection, if it is one of this project.
    """
    if not is_of_pynamodb(_class_of(result)):
        return None

    table = getattr(result.page_iter._operation, "__self__", None)
    return table if type(table) is TableConnection else None


def is_of_pynamodb(kind: type) -> bool:
    """Whether a result is what PynamoDB's own query or scan has returned.

    :param kind: The class of the result.
    """
    return kind is _OfPynamoDB or kind is ResultIterator
