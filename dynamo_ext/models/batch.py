"""Batches: what DynamoDB leaves unprocessed is sent again, after a wait that grows.

AWS recommends that, see ``UnprocessedItems`` in
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html.
"""

from __future__ import annotations

import collections
import collections.abc as cabc
import functools
import threading
import types
import typing as t

import pynamodb.models
from pynamodb import constants

from ..calls.items import normal_item
from ..calls.retry import full_jitter
from ..client.connection import PlainKeys
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
from .planned import PlannedCall
from .undecodable import Undecodable
from .undecodable import unwrap
from .usual_keys import UsualKeys

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

    def commit(self) -> None:
        """Write what is pending, and what an earlier commit could not write.

        Whatever DynamoDB has not acknowledged stays in ``pending_operations``, also after an
        exception: the next commit sends it. Of several operations on one key, only the last one is
        sent.

        :raises UnprocessedItems: if DynamoDB leaves every item unprocessed, time after time. They
            are then in ``failed_operations``, in the form of the request.
        :raises pynamodb.exceptions.PutError: if a call fails.
        """
        generators.run(self._step_by_step(write_pending(self)))

    def _step_by_step(self, waits: Waits[None]) -> Waits[None]:
        """Take each step while no other thread takes one for this batch: what it sends must arrive
        before anything newer on the same key, and what it has written need not be sent again."""
        while True:
            with self._sending:
                try:
                    seconds = next(waits)
                except StopIteration:
                    return

            yield seconds


def write_pending(batch: BatchWrite[t.Any]) -> Waits[None]:
    """Write what a batch holds when the first step is taken, one request after the other.

    :param batch: The batch. No two steps are taken for it at once.
    :raises UnprocessedItems: if DynamoDB leaves every item unprocessed, time after time.
    :raises pynamodb.exceptions.PutError: if a call fails.
    """
    yield from Commit(batch).write()


class _Write(t.NamedTuple):
    """What is sent of the operations on one key that are not acknowledged: the last one."""

    key: cabc.Hashable
    request: Raw
    operations: list[Raw]
    """All of them, the oldest first."""


class Commit:
    """Writes the operations that a batch holds when this is created.

    Several drivers may write at once, each one request at a time. They never have two requests with
    the same key, because there is one write for each key, and one driver takes it.

    :param batch: The batch.
    """

    def __init__(self, batch: BatchWrite[t.Any]) -> None:
        self._batch = batch
        self._key_types = _key_types(batch.model)
        self._queue = collections.deque(self._latest(self._operations()))
        # The keys of which a write is not acknowledged yet.
        self._keys = {write.key for write in self._queue}
        # Held for a moment, in which nothing else changes the batch's lists but by appending.
        self._lists = threading.Lock()

    @property
    def number_of_requests(self) -> int:
        """How many requests it takes to send what no driver has taken yet."""
        return -(-len(self._queue) // self._batch.max_operations)

    def write(self) -> Waits[None]:
        """Write what no other driver has taken, as a generator of waits.

        :raises UnprocessedItems: if DynamoDB leaves every item unprocessed, time after time.
        :raises pynamodb.exceptions.PutError: if a call fails.
        """
        left: list[_Write] = []
        rounds = 0

        while writes := self._next(left):
            unprocessed = self._send(writes)
            left = self._settle(writes, unprocessed)

            if not left and not self._queue:
                return

            rounds = rounds + 1 if len(writes) <= len(unprocessed) else 0

            if rounds == ROUNDS_WITHOUT_PROGRESS:
                self._give_up(left, unprocessed)
                raise UnprocessedItems(self._batch.connection.table_name, unprocessed)

            yield _back_off(self._batch.connection, rounds) if unprocessed else 0

    def stop(self) -> None:
        """Begin no further write. Those that a driver has taken are not affected."""
        self._queue.clear()

    def _operations(self) -> list[Raw]:
        """What is not acknowledged, the oldest first."""
        return [*self._batch.failed_operations, *self._batch.pending_operations]

    def _latest(self, operations: cabc.Iterable[Raw]) -> list[_Write]:
        """What is to be sent: of each key the last operation, at its place, for what it refers to
        may be before it."""
        writes: dict[cabc.Hashable, _Write] = {}

        for operation in operations:
            request = self._request(operation)
            key = self._key(request)
            earlier = writes.pop(key, None)
            before = [] if earlier is None else earlier.operations
            writes[key] = _Write(key, request, [*before, operation])

        return list(writes.values())

    def _next(self, left: list[_Write]) -> list[_Write]:
        """What to send next.

        :param left: What this driver has sent, and DynamoDB has left unprocessed.
        """
        # Another commit may have written something meanwhile.
        there = set(map(id, self._operations()))
        writes = [write for write in left if id(write.operations[-1]) in there]

        while len(writes) < self._batch.max_operations:
            try:
                write = self._queue.popleft()
            except IndexError:
                break

            if id(write.operations[-1]) in there:
                writes.append(write)

        return writes

    def _settle(self, writes: list[_Write], unprocessed: list[Raw]) -> list[_Write]:
        """Forget what was written.

        :param writes: What was sent.
        :param unprocessed: What DynamoDB left unprocessed of it.
        :return: The writes that are left.
        """
        keys = set(map(self._key, unprocessed))
        written = [write for write in writes if write.key not in keys]
        self._keys.difference_update(write.key for write in written)

        with self._lists:
            self._forget(written)

        left = [write for write in writes if write.key in keys]
        return [*left, *self._unknown(unprocessed)]

    def _unknown(self, unprocessed: list[Raw]) -> list[_Write]:
        """What a server, or a test's mock, says is unprocessed although it is none of the writes.

        It becomes one of them, as in PynamoDB: nothing that is said to be unwritten is dropped.
        """
        unknown = [each for each in unprocessed if self._key(each) not in self._keys]
        self._batch.failed_operations.extend(unknown)
        writes = self._latest(unknown)
        self._keys.update(write.key for write in writes)
        return writes

    def _give_up(self, writes: list[_Write], unprocessed: list[Raw]) -> None:
        """Move what was sent in vain to ``failed_operations``."""
        with self._lists:
            # First added, then removed: an interruption between the two loses nothing.
            self._batch.failed_operations[:0] = unprocessed
            self._forget(writes)

    def _forget(self, writes: cabc.Iterable[_Write]) -> None:
        for write in writes:
            for operation in write.operations:
                self._remove(operation)

    def _remove(self, operation: Raw) -> None:
        # In place, since another thread may append meanwhile.
        for operations in (self._batch.failed_operations, self._batch.pending_operations):
            for index, each in enumerate(operations):
                if each is operation:
                    del operations[index]
                    return

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

    def _send(self, writes: list[_Write]) -> list[Raw]:
        """Send one request.

        :return: What DynamoDB left unprocessed.
        """
        requests = [write.request for write in writes]
        reply: Raw = t.cast(t.Any, self._batch.connection).batch_write_item(
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


class Answer(t.NamedTuple, t.Generic[T]):
    """What one request has given."""

    items: list[T | Undecodable]
    unprocessed: list[Raw]
    """The keys that DynamoDB left unprocessed."""


class BatchGet(t.NamedTuple, t.Generic[T]):
    """The keys of a batch that are still to be got, and how.

    It never changes. An abandoned generator may go on in a worker after its task was cancelled;
    because each page comes with the batch that is left, the next one gets the same page again.
    """

    connection: TableConnection
    keys: tuple[Raw, ...]
    model: type[T]
    consistent_read: bool | None
    attributes_to_get: cabc.Sequence[str] | None

    def next_page(
        self, first: Answer[T] | None = None
    ) -> Waits[tuple[list[T | Undecodable], BatchGet[T]]]:
        """Get the next items, up to 100 with each request, as a generator of waits.

        :param first: What the call of :meth:`plan` has given; ``None`` if it was not made.
        :return: The items, which are none only if no key is left, and the batch that is left.
        :raises UnprocessedKeys: if DynamoDB leaves every key unprocessed, time after time.
        """
        batch, rounds = self, 0

        while batch.keys:
            size = len(batch._first_keys)
            answer = first or batch._request()
            first, batch = None, batch.after(answer)

            if answer.items or not batch.keys:
                return answer.items, batch

            rounds = rounds + 1 if len(answer.unprocessed) == size else 0

            if rounds == ROUNDS_WITHOUT_PROGRESS:
                raise UnprocessedKeys(self.connection.table_name, list(batch.keys))

            yield _back_off(self.connection, rounds) if rounds else 0

        return [], self

    def after(self, answer: Answer[T]) -> BatchGet[T]:
        """The batch that is left.

        :param answer: What the next request has given.
        """
        size = len(self._first_keys)
        return self._with_keys((*answer.unprocessed, *self.keys[size:]))

    def without_keys(self) -> BatchGet[T]:
        """The batch with no keys left."""
        return self._with_keys(())

    def pages(self) -> list[BatchGet[T]]:
        """The batch in parts, one for each request that it takes."""
        size = constants.BATCH_GET_PAGE_LIMIT
        return [
            self._with_keys(self.keys[start : start + size])
            for start in range(0, len(self.keys), size)
        ]

    @property
    def _first_keys(self) -> tuple[Raw, ...]:
        """As many keys as a request takes."""
        size = constants.BATCH_GET_PAGE_LIMIT
        # A slice would lose the class, which says that keys are usual.
        return self.keys if len(self.keys) <= size else self.keys[:size]

    @property
    def _decode(self) -> cabc.Callable[[Raw], T]:
        """Makes an instance of an item as botocore gives it."""
        decode: cabc.Callable[[Raw], T] = t.cast(t.Any, self.model).from_raw_data
        return decode

    def _with_keys(self, keys: tuple[Raw, ...]) -> BatchGet[T]:
        return BatchGet(
            self.connection, keys, self.model, self.consistent_read, self.attributes_to_get
        )

    def plan(self) -> PlannedCall:
        """Plan the next request, which is then made elsewhere. Nothing of the model is overridden
        or patched: the caller has looked.

        :return: The request. Its result is for :meth:`next_page`.
        """
        reading = reply_reading.of_plain_batch(self.model)
        args, options = self._arguments()
        return PlannedCall(
            "batch_get_item", args, options, functools.partial(self._read, reading), reading
        )

    @decode_lock.kept()
    def _request(self) -> Answer[T]:
        """Send one request."""
        args, options = self._arguments()
        connection, method = self.connection, "batch_get_item"
        reading = reply_reading.of_batch(self._decode) if connection.may_make_calls else None

        # The reply is in no variable here, so that its items can be freed one by one.
        if reading is None:
            return self._read(None, getattr(connection, method)(*args, **options))

        return self._read(reading, connection.make_call(method, reading, *args, **options))

    def _arguments(self) -> tuple[tuple[list[Raw]], dict[str, t.Any]]:
        keys = self._first_keys
        options = {
            "consistent_read": self.consistent_read,
            "attributes_to_get": self.attributes_to_get,
        }
        return (PlainKeys(keys) if isinstance(keys, UsualKeys) else list(keys),), options

    def _read(self, reading: reply_reading.Reading | None, reply: Raw) -> Answer[T]:
        items: list[t.Any] = _of_only_table(reply.get(constants.RESPONSES)) or []
        unprocessed: Raw = _of_only_table(reply.get(constants.UNPROCESSED_KEYS)) or {}

        if reading is not None and reading.has_read(items):
            return Answer(items, unprocessed.get(constants.KEYS, []))

        items = [*items]
        # Usually the last reference: each item can then be freed as soon as it is decoded.
        del reply
        return Answer(
            decode_lock.decode_each(functools.partial(undecodable.decoded, self._decode), items),
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
        model=model,
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
