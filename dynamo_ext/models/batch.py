"""Batches: what DynamoDB leaves unprocessed is sent again, after a wait that grows.

AWS recommends that, see ``UnprocessedItems`` in
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html.
"""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import functools
import threading
import types
import typing as t

import pynamodb.models
from pynamodb import constants

from ..calls import item_reading
from ..calls.items import normal_item
from ..calls.retry import full_jitter
from ..client.connection import TableConnection
from ..concurrency import decode_lock
from ..concurrency import generators
from ..concurrency.generators import Waits
from ..errors import UnprocessedItems
from ..errors import UnprocessedKeys
from . import late_binding
from . import reply_reading
from . import undecodable
from .item_json import Raw
from .keys import check_item
from .keys import serialized_keys
from .undecodable import Undecodable
from .undecodable import unwrap

M = t.TypeVar("M", bound=pynamodb.models.Model)
T = t.TypeVar("T")

ROUNDS_WITHOUT_PROGRESS = 8


class BatchWrite(pynamodb.models.BatchWrite[M]):
    """PynamoDB's batch, bound to the app that is current when it is created.

    An exception in the ``with`` block writes nothing of what is pending.

    :param model: The model.
    :param connection: The connection to its table.
    :param auto_commit: Whether to write whenever 25 items are pending, not only at the end.
    """

    def __init__(self, model: type[M], connection: TableConnection, auto_commit: bool) -> None:
        super().__init__(model, auto_commit)
        self.connection: TableConnection = connection
        self.failed_operations: list[Raw]
        self._key_types: dict[str, str] = _key_types(model)
        # Reentrant: a signal handler may commit while this thread sends.
        self._sending = threading.RLock()

    if t.TYPE_CHECKING:
        # PynamoDB's has no annotation: to mypy, the batch in a ``with`` block would be ``Any``.
        def __enter__(self) -> t.Self: ...

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        if error_type is None:
            self.commit()

    @property
    def is_full(self) -> bool:
        """Whether as many operations are pending as DynamoDB accepts in one request."""
        return len(self.pending_operations) >= self.max_operations

    def commit(self) -> None:
        """Write what is pending, and what an earlier commit could not write.

        Whatever DynamoDB has not acknowledged stays in ``pending_operations``, also after an
        exception: the next commit sends it. Of several operations on one key, only the last one is
        sent.

        :raises UnprocessedItems: if DynamoDB leaves every item unprocessed, time after time. They
            are then in ``failed_operations``, in the form of the request.
        :raises pynamodb.exceptions.PutError: if a call fails.
        """
        generators.run(self.write_pending())

    def write_pending(self) -> Waits[None]:
        """Write what is there now, as a generator of waits.

        :raises UnprocessedItems: if DynamoDB leaves every item unprocessed, time after time.
        :raises pynamodb.exceptions.PutError: if a call fails.
        """
        writes = [_Write(each, self._request(each)) for each in self._operations()]
        rounds = 0

        while writes:
            sent, unprocessed = self._send_some(writes)
            writes = self._left([*writes, *self._unknown(writes, unprocessed)])

            if not writes:
                return

            rounds = rounds + 1 if sent <= len(unprocessed) else 0

            if rounds == ROUNDS_WITHOUT_PROGRESS:
                self._give_up(writes, unprocessed)
                raise UnprocessedItems(self.connection.table_name, unprocessed)

            yield _back_off(self.connection, rounds) if unprocessed else 0

    def _operations(self) -> list[Raw]:
        """What is not acknowledged, the oldest first."""
        return [*self.failed_operations, *self.pending_operations]

    def _left(self, writes: list[_Write]) -> list[_Write]:
        left = set(map(id, self._operations()))
        return [write for write in writes if id(write.operation) in left]

    def _send_some(self, writes: list[_Write]) -> tuple[int, list[Raw]]:
        """Send one request, and forget what it has written.

        :param writes: The writes that are left, the oldest first.
        :return: How many writes were sent, and those that DynamoDB left unprocessed.
        """
        # The worker of a cancelled task goes on. What it is sending must arrive before anything
        # newer on the same key, and what it has written need not be sent again.
        with self._sending:
            requests = self._latest(writes)[: self.max_operations]

            if not requests:
                return 0, []

            unprocessed = self._send(requests)
            keys = {self._key(request) for request in requests}
            keys -= {self._key(request) for request in unprocessed}

            for write in writes:
                if self._key(write.request) in keys:
                    self._forget(write)

            return len(requests), unprocessed

    def _latest(self, writes: list[_Write]) -> list[Raw]:
        """What is to be sent of the writes that are left: of each key the last one, at its place,
        for what it refers to may be before it."""
        latest: dict[cabc.Hashable, Raw] = {}

        for write in self._left(writes):
            key = self._key(write.request)
            latest.pop(key, None)
            latest[key] = write.request

        return list(latest.values())

    def _unknown(self, writes: list[_Write], unprocessed: list[Raw]) -> list[_Write]:
        """What a server, or a test's mock, says is unprocessed although it is none of the writes.

        It becomes one of them, as in PynamoDB: nothing that is said to be unwritten is dropped.
        """
        known = {self._key(write.request) for write in writes}
        unknown = [each for each in unprocessed if self._key(each) not in known]
        self.failed_operations.extend(unknown)
        return [_Write(each, each) for each in unknown]

    def _forget(self, write: _Write) -> None:
        # In place, since another thread may append meanwhile.
        for operations in (self.failed_operations, self.pending_operations):
            for index, each in enumerate(operations):
                if each is write.operation:
                    del operations[index]
                    return

    def _give_up(self, writes: list[_Write], unprocessed: list[Raw]) -> None:
        """Move what was sent in vain to ``failed_operations``."""
        keys = {self._key(request) for request in unprocessed}
        # First added, then removed: an interruption between the two loses nothing.
        self.failed_operations[:0] = unprocessed

        for write in writes:
            if self._key(write.request) in keys:
                self._forget(write)

    def _request(self, operation: Raw) -> Raw:
        if "action" not in operation:
            return operation

        item = operation["item"]

        if operation["action"] == constants.PUT:
            return {constants.PUT_REQUEST: {constants.ITEM: item.serialize()}}

        check_item(item)
        key = {name: {self._key_types[name]: value} for name, value in item._get_keys().items()}
        return {constants.DELETE_REQUEST: {constants.KEY: key}}

    def _key(self, request: Raw) -> cabc.Hashable:
        put = request.get(constants.PUT_REQUEST)
        item = put[constants.ITEM] if put else request[constants.DELETE_REQUEST][constants.KEY]
        return normal_item({name: item[name] for name in self._key_types if name in item})

    def _send(self, requests: list[Raw]) -> list[Raw]:
        reply: Raw = t.cast(t.Any, self.connection).batch_write_item(
            put_items=[
                request[constants.PUT_REQUEST][constants.ITEM]
                for request in requests
                if constants.PUT_REQUEST in request
            ],
            delete_items=[
                request[constants.DELETE_REQUEST][constants.KEY]
                for request in requests
                if constants.DELETE_REQUEST in request
            ],
        )
        unprocessed: list[Raw] | None = _of_only_table(reply.get(constants.UNPROCESSED_ITEMS))
        return unprocessed or []


def _key_types(kind: type[pynamodb.models.Model]) -> dict[str, str]:
    """The types of a model's keys, by their names in the table."""
    model = t.cast(t.Any, kind)
    keys = model._hash_key_attribute(), model._range_key_attribute()
    return {key.attr_name: key.attr_type for key in keys if key is not None}


class _Write(t.NamedTuple):
    """An operation that is not acknowledged, and what is sent for it."""

    operation: Raw
    request: Raw


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchGet(t.Generic[T]):
    """The keys of a batch that are still to be got, and how.

    It never changes. An abandoned generator may go on in a worker after its task was cancelled;
    because each page comes with the batch that is left, the next one gets the same page again.
    """

    connection: TableConnection
    keys: tuple[Raw, ...]
    decode: cabc.Callable[[Raw], T]
    """Makes an instance of an item as botocore gives it."""

    consistent_read: bool | None
    attributes_to_get: cabc.Sequence[str] | None

    def next_page(self) -> Waits[tuple[list[T | Undecodable], BatchGet[T]]]:
        """Get the next items, up to 100 with each request, as a generator of waits.

        :return: The items, which are none only if no key is left, and the batch that is left.
        :raises UnprocessedKeys: if DynamoDB leaves every key unprocessed, time after time.
        """
        keys, rounds = self.keys, 0

        while keys:
            size = min(len(keys), constants.BATCH_GET_PAGE_LIMIT)
            items, unprocessed = self._request(keys[:size])
            keys = (*unprocessed, *keys[size:])

            if items or not keys:
                return items, dataclasses.replace(self, keys=keys)

            rounds = rounds + 1 if len(unprocessed) == size else 0

            if rounds == ROUNDS_WITHOUT_PROGRESS:
                raise UnprocessedKeys(self.connection.table_name, list(keys))

            yield _back_off(self.connection, rounds) if rounds else 0

        return [], self

    def without_keys(self) -> BatchGet[T]:
        """The batch with no keys left."""
        return dataclasses.replace(self, keys=())

    @decode_lock.kept()
    def _request(self, keys: tuple[Raw, ...]) -> tuple[list[T | Undecodable], list[Raw]]:
        """Send one request.

        :return: The items, and the keys that DynamoDB left unprocessed.
        """
        reading = reply_reading.of_batch(self.decode)

        with item_reading.by(reading):
            reply: Raw = t.cast(t.Any, self.connection).batch_get_item(
                list(keys),
                consistent_read=self.consistent_read,
                attributes_to_get=self.attributes_to_get,
            )

        items: list[t.Any] = _of_only_table(reply.get(constants.RESPONSES)) or []
        unprocessed: Raw = _of_only_table(reply.get(constants.UNPROCESSED_KEYS)) or {}

        if reading is not None and reading.has_read(items):
            return items, unprocessed.get(constants.KEYS, [])

        items = [*items]
        # Usually the last reference: each item can then be freed as soon as it is decoded.
        del reply
        return (
            decode_lock.decode_each(functools.partial(undecodable.decoded, self.decode), items),
            unprocessed.get(constants.KEYS, []),
        )


def begin_get(
    model: type[M],
    items: cabc.Iterable[t.Any],
    consistent_read: bool | None = None,
    attributes_to_get: cabc.Sequence[str] | None = None,
) -> BatchGet[M]:
    """A batch of a model, of which nothing has been got.

    :param model: The model.
    :param items: Hash keys, or pairs of hash and range key, or dictionaries of what makes a key, by
        the names of the model's attributes. Duplicates count once.
    :param consistent_read: Whether to read consistently.
    :param attributes_to_get: The attributes to read; ``None`` for all.
    :raises ValueError: if a key is not of that form.
    """
    return BatchGet(
        connection=late_binding.connection(model),
        keys=serialized_keys(model, items),
        decode=model.from_raw_data,
        consistent_read=consistent_read,
        attributes_to_get=attributes_to_get,
    )


def get(batch: BatchGet[T]) -> cabc.Iterator[T]:
    """Get all items of a batch, in this thread.

    :param batch: The batch.
    :return: The items; a page is requested when its first item is asked for.
    :raises UnprocessedKeys: if DynamoDB leaves every key unprocessed, time after time.
    """
    while batch.keys:
        items, batch = generators.run(batch.next_page())
        for item in items:
            yield unwrap(item)


def _of_only_table(tables: dict[str, t.Any] | None) -> t.Any:
    """What the reply to a batch says of its table, which it may name by its name or its ARN."""
    return next(iter((tables or {}).values()), None)


def _back_off(connection: TableConnection, rounds: int) -> float:
    return full_jitter(connection.connection.engine.endpoint.base_backoff_ms, rounds)
