"""Secondary indexes with awaitable methods."""

from __future__ import annotations

import typing as t

import pynamodb.indexes
import pynamodb.models
from pynamodb.expressions.condition import Condition

from .iteration import Key
from .iteration import ResultIterator

M = t.TypeVar("M", bound=pynamodb.models.Model)


class AsyncIndex(pynamodb.indexes.Index[M]):
    """What awaiting adds to an index."""

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
        """Query the index. The parameters are those of ``query``."""
        items: ResultIterator[M] = _model_of(self).aquery(
            hash_key,
            range_key_condition=range_key_condition,
            filter_condition=filter_condition,
            consistent_read=consistent_read,
            index_name=self.Meta.index_name,
            scan_index_forward=scan_index_forward,
            limit=limit,
            last_evaluated_key=last_evaluated_key,
            attributes_to_get=attributes_to_get,
            page_size=page_size,
            rate_limit=rate_limit,
        )
        return items

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
        """Scan the index. The parameters are those of ``scan``."""
        items: ResultIterator[M] = _model_of(self).ascan(
            filter_condition=filter_condition,
            segment=segment,
            total_segments=total_segments,
            limit=limit,
            last_evaluated_key=last_evaluated_key,
            page_size=page_size,
            consistent_read=consistent_read,
            index_name=self.Meta.index_name,
            rate_limit=rate_limit,
            attributes_to_get=attributes_to_get,
        )
        return items

    async def acount(
        self,
        hash_key: t.Any,
        range_key_condition: Condition | None = None,
        filter_condition: Condition | None = None,
        consistent_read: bool = False,
        limit: int | None = None,
        rate_limit: float | None = None,
    ) -> int:
        """Count on the index. The parameters are those of ``count``."""
        number: int = await _model_of(self).acount(
            hash_key,
            range_key_condition=range_key_condition,
            filter_condition=filter_condition,
            index_name=self.Meta.index_name,
            consistent_read=consistent_read,
            limit=limit,
            rate_limit=rate_limit,
        )
        return number


class GlobalSecondaryIndex(AsyncIndex[M], pynamodb.indexes.GlobalSecondaryIndex[M]):
    """A global secondary index with awaitable methods."""


class LocalSecondaryIndex(AsyncIndex[M], pynamodb.indexes.LocalSecondaryIndex[M]):
    """A local secondary index with awaitable methods."""


def make_awaitable(index: pynamodb.indexes.Index[t.Any]) -> None:
    """Give an index the awaitable methods, whatever class it was declared with."""
    if not isinstance(index, AsyncIndex):
        index_class = type(index)
        index.__class__ = type(index_class.__name__, (AsyncIndex, index_class), {})


def _model_of(index: AsyncIndex[t.Any]) -> t.Any:
    """An index's model. PynamoDB's type for it lacks the ``a*`` methods."""
    return t.cast(t.Any, index)._model
