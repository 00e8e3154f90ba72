"""Secondary indexes with awaitable methods."""

from __future__ import annotations

import typing as t

import pynamodb.indexes
import pynamodb.models
from pynamodb.expressions.condition import Condition

from dynamo_ext.models.decoded_reply import Key

from . import twins
from .iteration import ResultIterator

M = t.TypeVar("M", bound=pynamodb.models.Model)


class AsyncIndex(pynamodb.indexes.Index[M]):
    """The awaitable methods of an index."""

    if t.TYPE_CHECKING:
        # PynamoDB's has no annotation, which "mypy --strict" would report for each index of an app.
        def __init_subclass__(cls, **kwargs: t.Any) -> None: ...

    @twins.iterates("query")
    def aquery(
        self,
        hash_key: t.Any,
        range_key_condition: Condition | None = None,
        filter_condition: Condition | None = None,
        consistent_read: bool = False,
        scan_index_forward: bool | None = None,
        limit: int | None = None,
        last_evaluated_key: Key | None = None,
        attributes_to_get: list[str] | None = None,
        page_size: int | None = None,
        rate_limit: float | None = None,
    ) -> ResultIterator[M]:
        """Query the index, for ``async for``. Nothing is sent before the first item is asked for.

        :param hash_key: The index's hash key.
        :param range_key_condition: A condition on the index's range key.
        :param filter_condition: Which of the items to give.
        :param consistent_read: Whether to read consistently, which a local index can.
        :param scan_index_forward: Whether in ascending order of the range key, which is the
            default.
        :param limit: How many items to give at most.
        :param last_evaluated_key: Where to start: after the item with this key.
        :param attributes_to_get: The names of the attributes to read; ``None`` for all.
        :param page_size: How many items a request examines at most.
        :param rate_limit: The capacity units to consume per second at most. The wait is on the
            event loop, without a slot.
        :return: The items. To iterate raises :exc:`pynamodb.exceptions.QueryError` if a call fails.
        :raises ValueError: if ``rate_limit`` is negative.
        """
        raise NotImplementedError

    @twins.iterates("scan")
    def ascan(
        self,
        filter_condition: Condition | None = None,
        segment: int | None = None,
        total_segments: int | None = None,
        limit: int | None = None,
        last_evaluated_key: Key | None = None,
        page_size: int | None = None,
        consistent_read: bool | None = None,
        rate_limit: float | None = None,
        attributes_to_get: list[str] | None = None,
    ) -> ResultIterator[M]:
        """Scan the index, for ``async for``. Nothing is sent before the first item is asked for.

        :param filter_condition: Which of the items to give.
        :param segment: The number of the segment to scan, from 0, if only one is to be scanned.
        :param total_segments: Into how many segments the index is divided.
        :param limit: How many items to give at most.
        :param last_evaluated_key: Where to start: after the item with this key.
        :param page_size: How many items a request examines at most.
        :param consistent_read: Whether to read consistently, which a local index can.
        :param rate_limit: The capacity units to consume per second at most. The wait is on the
            event loop, without a slot.
        :param attributes_to_get: The names of the attributes to read; ``None`` for all.
        :return: The items. To iterate raises :exc:`pynamodb.exceptions.ScanError` if a call fails.
        :raises ValueError: if ``rate_limit`` is negative.
        """
        raise NotImplementedError

    @twins.counts
    async def acount(
        self,
        hash_key: t.Any,
        range_key_condition: Condition | None = None,
        filter_condition: Condition | None = None,
        consistent_read: bool = False,
        limit: int | None = None,
        rate_limit: float | None = None,
    ) -> int:
        """Count items of the index, without blocking the event loop.

        :param hash_key: The index's hash key.
        :param range_key_condition: A condition on the index's range key.
        :param filter_condition: Which of the items to count.
        :param consistent_read: Whether to read consistently, which a local index can.
        :param limit: How many items a request examines at most.
        :param rate_limit: The capacity units to consume per second at most. The wait is on the
            event loop, without a slot.
        :return: How many there are.
        :raises pynamodb.exceptions.QueryError: if a call fails.
        """
        raise NotImplementedError


class GlobalSecondaryIndex(AsyncIndex[M], pynamodb.indexes.GlobalSecondaryIndex[M]):
    """A global secondary index with awaitable methods."""


class LocalSecondaryIndex(AsyncIndex[M], pynamodb.indexes.LocalSecondaryIndex[M]):
    """A local secondary index with awaitable methods."""


def make_awaitable(index: pynamodb.indexes.Index[t.Any]) -> None:
    """Give an index the awaitable methods, whatever class it was declared with.

    :param index: The index. Its class becomes a subclass of its own class.
    """
    if not isinstance(index, AsyncIndex):
        index_class = type(index)
        index.__class__ = type(index_class.__name__, (AsyncIndex, index_class), {})
