"""``Model`` with an awaitable twin of every method that talks to the server.

The twin of ``get`` is ``aget``, with the same parameters, and so on.
"""

from __future__ import annotations

import collections.abc as cabc
import typing as t

from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

import dynamo_ext.models.model
from dynamo_ext.concurrency.generators import Waits
from dynamo_ext.models import plain_queries
from dynamo_ext.models import tables
from dynamo_ext.models.decoded_reply import Key

from . import twins
from .batch import BatchGetIterator
from .batch import BatchWrite
from .index import make_awaitable
from .iteration import ResultIterator
from .parallel_scan import ParallelScan


def _create_table(model: t.Any, *args: t.Any, **kwargs: t.Any) -> Waits[None]:
    # PynamoDB's returns nothing.
    yield from tables.create([model], *args, **kwargs)


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
    method that talks to the server. Beside the errors that are named, each twin raises those of the
    method, and while it waits for its turn :exc:`~dynamo_ext.PoolTimeout` and
    :exc:`~dynamo_ext.CallTimeout`.
    """

    @classmethod
    @twins.calls("get")
    async def aget(
        cls,
        hash_key: t.Any,
        range_key: t.Any | None = None,
        consistent_read: bool = False,
        attributes_to_get: cabc.Sequence[str] | None = None,
    ) -> t.Self:
        """Get an item, without blocking the event loop.

        :param hash_key: The hash key.
        :param range_key: The range key, if the model has one.
        :param consistent_read: Whether to read consistently.
        :param attributes_to_get: The names of the attributes to read; ``None`` for all.
        :return: The item.
        :raises DoesNotExist: the model's own, if there is no such item.
        :raises pynamodb.exceptions.GetError: if the call fails.
        """
        raise NotImplementedError

    @classmethod
    @twins.gets_or_404
    async def aget_or_404(
        cls,
        hash_key: t.Any,
        range_key: t.Any | None = None,
        consistent_read: bool = False,
        attributes_to_get: cabc.Sequence[str] | None = None,
        *,
        message: str = "",
    ) -> t.Self:
        """Get an item, or end the request with 404 Not Found, without blocking the event loop.

        :param hash_key: The hash key.
        :param range_key: The range key, if the model has one.
        :param consistent_read: Whether to read consistently.
        :param attributes_to_get: The names of the attributes to read; ``None`` for all.
        :param message: The description of the 404.
        :return: The item.
        :raises werkzeug.exceptions.NotFound: if there is no such item.
        :raises pynamodb.exceptions.GetError: if the call fails.
        """
        raise NotImplementedError

    @classmethod
    @twins.calls("first_or_404")
    async def afirst_or_404(cls, message: str = "") -> t.Self:
        """Get the first item of a scan, or end the request with 404 Not Found, without blocking the
        event loop.

        :param message: The description of the 404.
        :return: The item.
        :raises werkzeug.exceptions.NotFound: if the table has no item of this model.
        :raises pynamodb.exceptions.ScanError: if the call fails.
        """
        raise NotImplementedError

    @classmethod
    @twins.iterates("query", plain_queries.begin)
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
        """Query the table or an index, for ``async for``. Nothing is sent before the first item is
        asked for.

        :param hash_key: The hash key.
        :param range_key_condition: A condition on the range key.
        :param filter_condition: Which of the items to give.
        :param consistent_read: Whether to read consistently.
        :param index_name: The index; ``None`` for the table.
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

    @classmethod
    @twins.iterates("scan")
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
        """Scan the table or an index, for ``async for``. Nothing is sent before the first item is
        asked for.

        :param filter_condition: Which of the items to give.
        :param segment: The number of the segment to scan, from 0, if only one is to be scanned.
        :param total_segments: Into how many segments the table is divided.
        :param limit: How many items to give at most.
        :param last_evaluated_key: Where to start: after the item with this key.
        :param page_size: How many items a request examines at most.
        :param consistent_read: Whether to read consistently.
        :param index_name: The index; ``None`` for the table.
        :param rate_limit: The capacity units to consume per second at most. The wait is on the
            event loop, without a slot.
        :param attributes_to_get: The names of the attributes to read; ``None`` for all.
        :return: The items. To iterate raises :exc:`pynamodb.exceptions.ScanError` if a call fails.
        :raises ValueError: if ``rate_limit`` is negative.
        """
        raise NotImplementedError

    @classmethod
    @twins.iterates_segments
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

        :param total_segments: Into how many segments to divide the table.
        :param filter_condition: Which of the items to give.
        :param limit: How many items to give at most.
        :param page_size: How many items a request examines at most.
        :param consistent_read: Whether to read consistently.
        :param index_name: The index; ``None`` for the table.
        :param attributes_to_get: The names of the attributes to read; ``None`` for all.
        :return: The items. To iterate raises :exc:`pynamodb.exceptions.ScanError` if a call fails.
        :raises ValueError: if ``total_segments`` is not from 1 to 1,000,000, see
            https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Scan.html.
        """
        raise NotImplementedError

    @classmethod
    @twins.gets_batch
    def abatch_get(
        cls,
        items: cabc.Iterable[t.Any],
        consistent_read: bool | None = None,
        attributes_to_get: cabc.Sequence[str] | None = None,
    ) -> BatchGetIterator[t.Self]:
        """Get many items, for ``async for``. Nothing is sent before the first item is asked for.

        What DynamoDB leaves unprocessed is asked for again after a wait that grows; the wait is on
        the event loop, without a slot.

        :param items: Hash keys, or pairs of hash and range key, or dictionaries of what makes a
            key, by the names of the model's attributes. Duplicates count once.
        :param consistent_read: Whether to read consistently.
        :param attributes_to_get: The names of the attributes to read; ``None`` for all.
        :return: The items, in any order. To iterate raises :exc:`~dynamo_ext.UnprocessedKeys` if
            DynamoDB leaves every key unprocessed, time after time, and
            :exc:`pynamodb.exceptions.GetError` if a call fails.
        :raises ValueError: if a key is not of that form.
        """
        raise NotImplementedError

    @classmethod
    @twins.writes_batch
    def abatch_write(cls, auto_commit: bool = True) -> BatchWrite[t.Self]:
        """Write many items, in an ``async with`` block; ``save``, ``delete`` and ``commit`` of the
        batch are awaited.

        An exception in the block writes nothing of what is pending.

        :param auto_commit: Whether to write whenever 25 items are pending, not only at the end.
        :return: The batch.
        """
        raise NotImplementedError

    @classmethod
    @twins.counts
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
        """Count items, without blocking the event loop.

        :param hash_key: The hash key; ``None`` for DynamoDB's own figure of the whole table, which
            it updates about every six hours.
        :param range_key_condition: A condition on the range key.
        :param filter_condition: Which of the items to count.
        :param consistent_read: Whether to read consistently.
        :param index_name: The index; ``None`` for the table.
        :param limit: How many items a request examines at most.
        :param rate_limit: The capacity units to consume per second at most. The wait is on the
            event loop, without a slot.
        :return: How many there are.
        :raises ValueError: if there is a filter condition without a hash key.
        :raises pynamodb.exceptions.QueryError: if a call fails.
        """
        raise NotImplementedError

    @twins.calls("save")
    async def asave(
        self, condition: Condition | None = None, *, add_version_condition: bool = True
    ) -> dict[str, t.Any]:
        """Write this item, without blocking the event loop.

        :param condition: What must hold for the stored item.
        :param add_version_condition: Whether the stored version must be this item's, if the model
            has a version.
        :return: DynamoDB's reply.
        :raises pynamodb.exceptions.PutError: if the condition does not hold or the call fails.
        """
        raise NotImplementedError

    @twins.calls("update")
    async def aupdate(
        self,
        actions: list[Action],
        condition: Condition | None = None,
        *,
        add_version_condition: bool = True,
    ) -> t.Any:
        """Update the stored item and this instance, without blocking the event loop.

        :param actions: What to change.
        :param condition: What must hold for the stored item.
        :param add_version_condition: Whether the stored version must be this item's, if the model
            has a version.
        :return: DynamoDB's reply.
        :raises pynamodb.exceptions.UpdateError: if the condition does not hold or the call fails.
        """
        raise NotImplementedError

    @twins.calls("delete")
    async def adelete(
        self, condition: Condition | None = None, *, add_version_condition: bool = True
    ) -> t.Any:
        """Delete this item, without blocking the event loop.

        :param condition: What must hold for the stored item.
        :param add_version_condition: Whether the stored version must be this item's, if the model
            has a version.
        :return: DynamoDB's reply.
        :raises pynamodb.exceptions.DeleteError: if the condition does not hold or the call fails.
        """
        raise NotImplementedError

    @twins.calls("refresh")
    async def arefresh(self, consistent_read: bool = False) -> None:
        """Read the stored item into this instance, without blocking the event loop.

        :param consistent_read: Whether to read consistently.
        :raises DoesNotExist: the model's own, if the item is not stored any more.
        :raises pynamodb.exceptions.GetError: if the call fails.
        """
        raise NotImplementedError

    @classmethod
    @twins.calls("exists")
    async def aexists(cls) -> bool:
        """Ask whether the table exists, without blocking the event loop.

        :return: Whether it exists, in any state.
        :raises pynamodb.exceptions.TableError: if the call fails.
        """
        raise NotImplementedError

    @classmethod
    @twins.calls("describe_table")
    async def adescribe_table(cls) -> t.Any:
        """Describe the table, without blocking the event loop.

        :return: DynamoDB's description of the table.
        :raises pynamodb.exceptions.TableDoesNotExist: if there is no such table.
        :raises pynamodb.exceptions.TableError: if the call fails.
        """
        raise NotImplementedError

    @classmethod
    @twins.drives("create_table", _create_table)
    async def acreate_table(
        cls,
        wait: bool = False,
        read_capacity_units: int | None = None,
        write_capacity_units: int | None = None,
        billing_mode: str | None = None,
        ignore_update_ttl_errors: bool = False,
    ) -> t.Any:
        """Create the table, with its indexes and TTL, unless it exists. It waits on the event loop,
        without a slot.

        :param wait: Whether to wait until it is active.
        :param read_capacity_units: Instead of the Meta's or the app's.
        :param write_capacity_units: Instead of the Meta's or the app's.
        :param billing_mode: Instead of the Meta's or the app's. Where none of the three is set,
            ``PROVISIONED`` if a capacity is set anywhere, else ``PAY_PER_REQUEST``.
        :param ignore_update_ttl_errors: Whether an engine may lack TTL.
        :raises ConfigError: if the mode is ``PROVISIONED`` and a capacity is missing.
        :raises pynamodb.exceptions.TableError: if the server refuses.
        """
        raise NotImplementedError

    @classmethod
    @twins.drives("delete_table", tables.delete)
    async def adelete_table(cls, *, wait: bool = False) -> t.Any:
        """Delete the table. It waits on the event loop, without a slot.

        :param wait: Whether to wait until it is gone.
        :return: DynamoDB's reply.
        :raises pynamodb.exceptions.TableError: if the server refuses.
        """
        raise NotImplementedError

    @classmethod
    @twins.calls("update_ttl")
    async def aupdate_ttl(cls, ignore_update_ttl_errors: bool) -> None:
        """Enable the TTL that the model declares, without blocking the event loop. One that is
        enabled already is left alone.

        :param ignore_update_ttl_errors: Whether an engine may lack TTL.
        :raises pynamodb.exceptions.TableError: if the server refuses.
        """
        raise NotImplementedError
