"""``Model`` with an awaitable twin of every method that talks to the server.

The twin of ``get`` is ``aget``, with the same parameters, and so on.
"""

from __future__ import annotations

import collections.abc as cabc
import typing as t

from pynamodb import constants
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

import dynamo_ext.models.model
from dynamo_ext.client.connection import Connection
from dynamo_ext.concurrency.generators import Procedure
from dynamo_ext.models import batch
from dynamo_ext.models import late_binding
from dynamo_ext.models import tables
from dynamo_ext.models.model import abort_not_found

from ..execution import workers
from .batch import BatchGetIterator
from .batch import BatchWrite
from .index import make_awaitable
from .iteration import Key
from .iteration import Pages
from .iteration import ResultIterator
from .parallel_scan import ParallelScan

P = t.ParamSpec("P")
R = t.TypeVar("R")


class ModelType(dynamo_ext.models.model.ModelType):
    """The type of models with awaitable methods."""

    def __init__(
        cls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, t.Any],
        discriminator: t.Any = None,
    ) -> None:
        super().__init__(name, bases, namespace, discriminator)

        for index in t.cast(t.Any, cls)._indexes.values():
            make_awaitable(index)


class Model(dynamo_ext.models.model.Model, metaclass=ModelType):
    """The base of models for Quart, and for Flask and Quart together.

    Everything that :class:`dynamo_ext.Model` does, and an awaitable twin, named ``a…``, of each
    method that talks to the server.
    """

    @classmethod
    async def aget(
        cls,
        hash_key: t.Any,
        range_key: t.Any | None = None,
        consistent_read: bool = False,
        attributes_to_get: cabc.Sequence[str] | None = None,
    ) -> t.Self:
        """Get an item. As ``get``.

        :raises DoesNotExist: the model's own, if there is no such item.
        """
        return await _call(cls, cls.get, hash_key, range_key, consistent_read, attributes_to_get)

    @classmethod
    async def aget_or_404(
        cls,
        hash_key: t.Any,
        range_key: t.Any | None = None,
        consistent_read: bool = False,
        attributes_to_get: cabc.Sequence[str] | None = None,
        *,
        message: str = "",
    ) -> t.Self:
        """Get an item, or end the request with 404 Not Found. As ``get_or_404``."""
        try:
            return await cls.aget(hash_key, range_key, consistent_read, attributes_to_get)
        except cls.DoesNotExist:
            abort_not_found(message)

    @classmethod
    async def afirst_or_404(cls, message: str = "") -> t.Self:
        """Get the first item of a scan, or end the request with 404 Not Found. As
        ``first_or_404``."""
        return await _call(cls, cls.first_or_404, message)

    @classmethod
    def aquery(
        cls,
        hash_key: t.Any,
        range_key_condition: Condition | None = None,
        filter_condition: Condition | None = None,
        consistent_read: bool = False,
        index_name: str | None = None,
        scan_index_forward: bool | None = None,
        limit: int | None = None,
        last_evaluated_key: Key | None = None,
        attributes_to_get: cabc.Iterable[str] | None = None,
        page_size: int | None = None,
        rate_limit: float | None = None,
    ) -> ResultIterator[t.Self]:
        """Query the table or an index. As ``query``, for ``async for``; nothing is sent before
        the first item is asked for."""
        result = cls.query(
            hash_key,
            range_key_condition=range_key_condition,
            filter_condition=filter_condition,
            consistent_read=consistent_read,
            index_name=index_name,
            scan_index_forward=scan_index_forward,
            limit=limit,
            last_evaluated_key=last_evaluated_key,
            attributes_to_get=attributes_to_get,
            page_size=page_size,
        )
        return ResultIterator(
            result, _engine_connection(cls), cls, limit=limit, rate_limit=rate_limit
        )

    @classmethod
    def ascan(
        cls,
        filter_condition: Condition | None = None,
        segment: int | None = None,
        total_segments: int | None = None,
        limit: int | None = None,
        last_evaluated_key: Key | None = None,
        page_size: int | None = None,
        consistent_read: bool | None = None,
        index_name: str | None = None,
        rate_limit: float | None = None,
        attributes_to_get: cabc.Sequence[str] | None = None,
    ) -> ResultIterator[t.Self]:
        """Scan the table or an index. As ``scan``, for ``async for``; nothing is sent before the
        first item is asked for."""
        result = cls.scan(
            filter_condition=filter_condition,
            segment=segment,
            total_segments=total_segments,
            limit=limit,
            last_evaluated_key=last_evaluated_key,
            page_size=page_size,
            consistent_read=consistent_read,
            index_name=index_name,
            attributes_to_get=attributes_to_get,
        )
        return ResultIterator(
            result, _engine_connection(cls), cls, limit=limit, rate_limit=rate_limit
        )

    @classmethod
    def aparallel_scan(
        cls,
        total_segments: int,
        filter_condition: Condition | None = None,
        limit: int | None = None,
        page_size: int | None = None,
        consistent_read: bool | None = None,
        index_name: str | None = None,
        attributes_to_get: cabc.Sequence[str] | None = None,
    ) -> ParallelScan[t.Self]:
        """Scan the table or an index in several segments at once, for ``async for``.

        Items come as their pages arrive. Never more calls at once than the pool allows.

        :param total_segments: Into how many segments to divide the table. The other parameters
            are those of ``scan``.
        :raises ValueError: if ``total_segments`` is not from 1 to 1,000,000, see
            https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Scan.html.
        """
        if not 1 <= total_segments <= 1_000_000:
            raise ValueError(f"total_segments must be from 1 to 1,000,000; it is {total_segments}.")

        connection = _engine_connection(cls)
        segments = (
            cls.scan(
                filter_condition=filter_condition,
                segment=segment,
                total_segments=total_segments,
                page_size=page_size,
                consistent_read=consistent_read,
                index_name=index_name,
                attributes_to_get=attributes_to_get,
            )
            for segment in range(total_segments)
        )
        return ParallelScan(
            connection,
            [Pages(connection, t.cast(t.Any, scan).page_iter, cls, None) for scan in segments],
            limit=limit,
        )

    @classmethod
    def abatch_get(
        cls,
        items: cabc.Iterable[t.Any],
        consistent_read: bool | None = None,
        attributes_to_get: cabc.Sequence[str] | None = None,
    ) -> BatchGetIterator[t.Self]:
        """Get many items. As ``batch_get``, for ``async for``; nothing is sent before the first
        item is asked for."""
        left = batch.begin_get(cls, items, consistent_read, attributes_to_get)
        return BatchGetIterator(left, cls)

    @classmethod
    def abatch_write(cls, auto_commit: bool = True) -> BatchWrite[t.Self]:
        """Write many items, in an ``async with`` block. As ``batch_write``; ``save``, ``delete``
        and ``commit`` of what it gives are awaited."""
        return BatchWrite(cls.batch_write(auto_commit))

    @classmethod
    async def acount(
        cls,
        hash_key: t.Any | None = None,
        range_key_condition: Condition | None = None,
        filter_condition: Condition | None = None,
        consistent_read: bool = False,
        index_name: str | None = None,
        limit: int | None = None,
        rate_limit: float | None = None,
    ) -> int:
        """Count items. As ``count``."""
        if hash_key is None:
            return await _call(cls, cls.count, filter_condition=filter_condition)

        result = cls.query(
            hash_key,
            range_key_condition=range_key_condition,
            filter_condition=filter_condition,
            consistent_read=consistent_read,
            index_name=index_name,
            limit=limit,
        )
        page_iterator = t.cast(t.Any, result.page_iter)
        page_iterator._kwargs["select"] = constants.COUNT
        pages = Pages(_engine_connection(cls), page_iterator, cls, rate_limit)
        total = 0

        while (page := await pages.next()) is not None:
            total += page.count

        return total

    async def asave(
        self, condition: Condition | None = None, *, add_version_condition: bool = True
    ) -> dict[str, t.Any]:
        """Write this item. As ``save``."""
        return await _call(
            type(self), self.save, condition, add_version_condition=add_version_condition
        )

    async def aupdate(
        self,
        actions: list[Action],
        condition: Condition | None = None,
        *,
        add_version_condition: bool = True,
    ) -> t.Any:
        """Update this item, there and here. As ``update``."""
        return await _call(
            type(self), self.update, actions, condition, add_version_condition=add_version_condition
        )

    async def adelete(
        self, condition: Condition | None = None, *, add_version_condition: bool = True
    ) -> t.Any:
        """Delete this item. As ``delete``."""
        return await _call(
            type(self), self.delete, condition, add_version_condition=add_version_condition
        )

    async def arefresh(self, consistent_read: bool = False) -> None:
        """Read this item again. As ``refresh``."""
        await _call(type(self), self.refresh, consistent_read)

    @classmethod
    async def aexists(cls) -> bool:
        """Whether the table exists. As ``exists``."""
        return await _call(cls, cls.exists)

    @classmethod
    async def adescribe_table(cls) -> t.Any:
        """Describe the table. As ``describe_table``."""
        return await _call(cls, cls.describe_table)

    @classmethod
    async def acreate_table(
        cls,
        wait: bool = False,
        read_capacity_units: int | None = None,
        write_capacity_units: int | None = None,
        billing_mode: str | None = None,
        ignore_update_ttl_errors: bool = False,
    ) -> t.Any:
        """Create the table. As ``create_table``; it waits on the loop, without a slot."""
        await _drive(
            cls,
            tables.create(
                cls,
                wait=wait,
                read_capacity_units=read_capacity_units,
                write_capacity_units=write_capacity_units,
                billing_mode=billing_mode,
                ignore_update_ttl_errors=ignore_update_ttl_errors,
            ),
        )

    @classmethod
    async def adelete_table(cls, *, wait: bool = False) -> t.Any:
        """Delete the table. As ``delete_table``; it waits on the loop, without a slot."""
        return await _drive(cls, tables.delete(cls, wait=wait))

    @classmethod
    async def aupdate_ttl(cls, ignore_update_ttl_errors: bool) -> None:
        """Switch on the TTL that the model declares. As ``update_ttl``."""
        await _call(cls, cls.update_ttl, ignore_update_ttl_errors)


def _engine_connection(model: type[Model]) -> Connection:
    return late_binding.connection(model).connection


async def _call(
    model: type[Model], method: cabc.Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
) -> R:
    return await workers.call(_engine_connection(model), model, method, *args, **kwargs)


async def _drive(model: type[Model], procedure: Procedure[R]) -> R:
    return await workers.drive(_engine_connection(model), procedure)
