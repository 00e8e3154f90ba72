"""PynamoDB's connections, each on a shared engine instead of a client of its own.

Every call to the server passes :meth:`Connection.dispatch`.
"""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import contextvars
import functools
import itertools
import types
import typing as t
import uuid

import botocore.session
import pynamodb.connection
import pynamodb.connection.base
import pynamodb.connection.table
import pynamodb.exceptions
import pynamodb.signals
from pynamodb import constants
from pynamodb.expressions.operand import Path

from ..calls import blocking
from ..calls import deadline
from ..calls import item_reading
from ..calls import observation
from ..calls import record
from ..calls import recording
from ..calls import retry
from ..calls import uncertain
from ..calls.app_policy import AppPolicy
from ..calls.item_reading import ReadItems
from ..calls.pool import Pool
from ..config.settings import PROVISIONED
from ..config.settings import RETRY
from ..errors import OUTCOME_UNKNOWN
from ..errors import ConfigError
from ..transport.protocol import Outgoing
from ..transport.protocol import PlainParams
from . import ceremony
from .engine import Engine

if t.TYPE_CHECKING:
    from pynamodb.connection._botocore_private import BotocoreBaseClientPrivate

Kwargs = dict[str, t.Any]

_signals: t.Any = pynamodb.signals
_OF_TABLES = frozenset(
    {
        constants.CREATE_TABLE,
        constants.DELETE_TABLE,
        constants.DESCRIBE_TABLE,
        constants.LIST_TABLES,
        constants.UPDATE_TABLE,
        constants.UPDATE_TIME_TO_LIVE,
    }
)
# PynamoDB asks every operation that it does not know for the consumed capacity.
_WITHOUT_CONSUMED_CAPACITY = frozenset(
    {
        "DescribeContinuousBackups",
        "DescribeTimeToLive",
        "ListTagsOfResource",
        "TagResource",
        "UpdateContinuousBackups",
    }
)
_DICTS = frozenset({dict})
_FLAGS = frozenset({bool, types.NoneType})
_NONE = frozenset({types.NoneType})
_NUMBERS = frozenset({int, types.NoneType})
_TYPES_OF_TEXTS = frozenset({constants.NUMBER, constants.STRING})
_options_of_new_table: contextvars.ContextVar[Kwargs | None] = contextvars.ContextVar(
    "dynamo_ext.options_of_new_table", default=None
)
_announced: contextvars.ContextVar[tuple[str, uuid.UUID, str | None] | None] = (
    contextvars.ContextVar("dynamo_ext.announced", default=None)
)


_OfPynamoDB = pynamodb.connection.Connection
C = t.TypeVar("C", bound=type[_OfPynamoDB])

_WRITES = (
    "put_item",
    "update_item",
    "delete_item",
    "batch_write_item",
    "transact_write_items",
    "create_table",
    "update_table",
    "delete_table",
    "update_time_to_live",
)


def _tell_outcomes(kind: C) -> C:
    """Have the errors of the methods that write say whether the write may have been applied.

    :param kind: A class of connections.
    """
    for name in _WRITES:
        setattr(kind, name, _tells_outcome(name))

    return kind


def _tells_outcome(name: str) -> t.Any:
    """The method of that name, in a class of connections."""

    @functools.wraps(getattr(_OfPynamoDB, name))
    def call(self: t.Any, *args: t.Any, **kwargs: t.Any) -> t.Any:
        try:
            # Looked up now: it may be patched.
            return getattr(_OfPynamoDB, name)(self, *args, **kwargs)
        except pynamodb.exceptions.PynamoDBException as error:
            is_unknown = getattr(error.cause, OUTCOME_UNKNOWN, False)
            setattr(error, OUTCOME_UNKNOWN, is_unknown)
            raise

    return call


@_tell_outcomes
class Connection(pynamodb.connection.Connection):
    """A PynamoDB connection whose calls go through an engine's client and slots.

    :param engine: The engine.
    :param policy: What the app, or its bind, wants of its calls.
    :param model_name: The name of the model that the connection is for, if it is for one.
    """

    def __init__(self, engine: Engine, policy: AppPolicy, *, model_name: str | None = None) -> None:
        super().__init__(
            region=engine.endpoint.region,
            host=engine.endpoint.host,
            connect_timeout_seconds=engine.endpoint.connect_timeout_seconds,
            read_timeout_seconds=engine.endpoint.read_timeout_seconds,
            max_retry_attempts=engine.endpoint.max_retry_attempts,
            max_pool_connections=engine.endpoint.max_pool_connections,
            # The engine adds the headers; PynamoDB would show those of its override file in vars().
            extra_headers={},
        )
        self.engine = engine
        self.policy: AppPolicy = policy
        self._model_name = model_name
        self.table_name: str | None = None
        """The table, if the connection is for a model."""

    def __repr__(self) -> str:
        return f"<Connection {self.engine.endpoint!r}>"

    @property
    def client(self) -> BotocoreBaseClientPrivate:
        """The engine's botocore client."""
        client = self.engine.client

        if not self._may_repeat:
            retry.forbid_repetition(client)

        return t.cast("BotocoreBaseClientPrivate", client)

    @property
    def session(self) -> botocore.session.Session:
        """The engine's botocore session."""
        return self.engine.session

    @property
    def is_replaced(self) -> bool:
        """Whether something that each call passes, besides the method that is named after it, is
        replaced on this very connection."""
        own = vars(self)
        return "dispatch" in own or "_make_api_call" in own or "client" in own

    def follow(self, operation_name: str) -> record.Progress:
        """The record of a call that is about to be made on this connection, elsewhere.

        :param operation_name: DynamoDB's name of the operation.
        """
        return record.Progress(
            operation_name, self._model_name, self.table_name, self.policy.bind_key
        )

    def dispatch(
        self, operation_name: str, operation_kwargs: Kwargs, read: ReadItems | None = None
    ) -> Kwargs:
        """Send one call.

        PynamoDB sends a signal before a call and another one after it. Here the second is sent
        after a call that fails, too.

        :param operation_name: DynamoDB's name of the operation.
        :param operation_kwargs: The operation's parameters.
        :param read: What reads the reply's items. It is not used if someone would notice.
        :return: The parsed reply.
        :raises RuntimeError: if the call would block an event loop and the app refuses that.
        """
        if blocking.on_event_loop():
            blocking.check(self.policy.blocking_calls, operation_name)

        if not ceremony.is_noticed():
            return self._make_api_call(
                operation_name, _with_capacity(operation_name, operation_kwargs), read
            )

        token = _announced.set(None)

        try:
            return t.cast(Kwargs, super().dispatch(operation_name, operation_kwargs))
        except BaseException:
            if (announced := _announced.get()) is not None:
                self.send_post_boto_callback(*announced)

            raise
        finally:
            _announced.reset(token)

    def send_pre_boto_callback(
        self, operation_name: str, req_uuid: uuid.UUID, table_name: str | None
    ) -> None:
        """Send PynamoDB's signal before a call, and note that the other one must follow."""
        _announced.set((operation_name, req_uuid, table_name))

        if _signals.pre_dynamodb_send.receivers:
            announce = t.cast(t.Any, super().send_pre_boto_callback)
            announce(operation_name, req_uuid, table_name)

    def send_post_boto_callback(
        self, operation_name: str, req_uuid: uuid.UUID, table_name: str | None
    ) -> None:
        """Send PynamoDB's signal after a call."""
        _announced.set(None)

        if _signals.post_dynamodb_send.receivers:
            announce = t.cast(t.Any, super().send_post_boto_callback)
            announce(operation_name, req_uuid, table_name)

    def _make_api_call(
        self, operation_name: str, operation_kwargs: Kwargs, read: ReadItems | None = None
    ) -> Kwargs:
        pool = self.engine.pool
        operation_kwargs = _completed(operation_name, operation_kwargs)
        recorder = recording.find(self.policy)
        table_name = operation_kwargs.get(constants.TABLE_NAME)

        with record.InProgress(
            operation_name, self._model_name, table_name, self.policy.bind_key
        ) as progress:
            if recorder is not None:
                index_name = operation_kwargs.get(constants.INDEX_NAME)
                # Before there is a slot: advice may be an error.
                recording.begin(recorder, progress, index_name)

            try:
                reply = observation.follow(
                    self.engine,
                    progress,
                    operation_kwargs,
                    self._call,
                    pool,
                    progress,
                    operation_kwargs,
                    read,
                )
            except BaseException as error:
                progress.fail(error)
                self._record(pool, progress, recorder)
                raise

        progress.end(reply)
        self._record(pool, progress, recorder)
        return reply

    def _call(
        self, pool: Pool, progress: record.Progress, params: Kwargs, read: ReadItems | None
    ) -> Kwargs:
        """Take a slot and send a call."""
        settings = self.policy.settings
        write = self._begin_write(progress.operation, params)

        try:
            with (
                self.policy.in_flight.call(),
                deadline.limit(settings.call_timeout_seconds),
                pool.slot_for_call(settings.pool_timeout_seconds) as slot,
            ):
                progress.begin(slot.queue_seconds)

                if read is None:
                    return self._send(write, progress.operation, params)

                with item_reading.by(read, params):
                    return self._send(write, progress.operation, params)
        except BaseException as error:
            if write is not None:
                write.tell(error)

            raise

    @property
    def _may_repeat(self) -> bool:
        return self.policy.settings.uncertain_writes == RETRY

    def _begin_write(self, operation_name: str, params: Kwargs) -> uncertain.Write | None:
        if not uncertain.is_write(operation_name):
            return None

        return uncertain.Write(operation_name, params, may_repeat=self._may_repeat)

    def _send(self, write: uncertain.Write | None, operation_name: str, params: Kwargs) -> Kwargs:
        send = t.cast("cabc.Callable[[str, Kwargs], Kwargs]", super()._make_api_call)

        if write is None:
            return send(operation_name, params)

        try:
            with write:
                return send(operation_name, params)
        except pynamodb.exceptions.VerboseClientError as error:
            # PynamoDB's own exception lacks the stored item, which botocore's has.
            reply = write.settle(t.cast(t.Any, error.__cause__))

            if reply is None:
                raise

            return reply

    def _record(
        self, pool: Pool, progress: record.Progress, recorder: recording.Recorder | None
    ) -> None:
        """Count, log and announce a call. Its slot is free: a receiver may make calls."""
        pool.record(progress)

        if recorder is not None:
            recorder.end(progress)

        record.log(progress, self.policy.settings.slow_call_ms)

        if record.call_finished.receivers:
            record.announce(self.policy.app(), progress.call)


class PlainItem(dict[str, dict[str, t.Any]]):
    """What an item has beside its key: texts, flags and binaries alone, where they belong, which
    :class:`PlainParams` may have."""

    __slots__ = ()


class PlainKeys(list[dict[str, dict[str, str]]]):
    """The keys of a batch, which are made of texts alone, as :class:`PlainItem`."""

    __slots__ = ()


class _Description(pynamodb.connection.Connection):
    """Says what each call on a table would send, and sends nothing.

    :param table: The table.
    """

    def __init__(self, table: pynamodb.connection.base.MetaTable) -> None:
        super().__init__(region="us-east-1", extra_headers={})
        self.add_meta_table(table)
        hash_name, range_name = table.hash_keyname, table.range_keyname
        self._hash_key = hash_name, table.get_attribute_type(hash_name)
        self._range_key = (
            None if range_name is None else (range_name, table.get_attribute_type(range_name))
        )
        self._has_usual_key = all(
            type(name) is str and kind in _TYPES_OF_TEXTS
            for name, kind in filter(None, [self._hash_key, self._range_key])
        )

    @functools.cached_property
    def _condition_of_hash_key(self) -> tuple[str, dict[str, str], str]:
        """The condition of a query that has no other one: its expression, the names in it, and the
        placeholder of the key."""
        name, attribute_type = self._hash_key
        names: dict[str, str] = {}
        values: dict[str, t.Any] = {}
        condition = Path([name]) == {attribute_type: ""}
        expression = condition.serialize(names, values)
        [placeholder] = values
        return expression, {short: whole for whole, short in names.items()}, placeholder

    def _key(self, hash_key: t.Any, range_key: t.Any) -> Kwargs:
        name, attribute_type = self._hash_key
        key: Kwargs = {name: {attribute_type: hash_key}}

        if range_key is not None and self._range_key is not None:
            name, attribute_type = self._range_key
            key[name] = {attribute_type: range_key}

        return key

    if not t.TYPE_CHECKING:

        def dispatch(self, operation_name: str, operation_kwargs: Kwargs) -> tuple[str, Kwargs]:
            return operation_name, _with_capacity(operation_name, operation_kwargs)

        def get_operation_kwargs(
            self,
            table_name: str,
            hash_key: str,
            range_key: str | None = None,
            key: str = constants.KEY,
            attributes: Kwargs | None = None,
            consistent_read: bool | None = None,
            **options: t.Any,
        ) -> Kwargs:
            """As PynamoDB's, in fewer steps where a call has nothing but a key or an item."""
            for option in options.values():
                if option is not None:
                    return super().get_operation_kwargs(
                        table_name,
                        hash_key,
                        range_key=range_key,
                        key=key,
                        attributes=attributes,
                        consistent_read=consistent_read,
                        **options,
                    )

            item = self._key(hash_key, range_key)

            if attributes:
                item.update(attributes)

            params: Kwargs = {constants.TABLE_NAME: table_name, key: item}

            if consistent_read is not None:
                params[constants.CONSISTENT_READ] = consistent_read

            return params

        def get_item(
            self,
            table_name: str,
            hash_key: str,
            range_key: str | None = None,
            consistent_read: bool = False,
            attributes_to_get: t.Any | None = None,
        ) -> tuple[str, Kwargs]:
            """As PynamoDB's, in fewer steps for a key of texts and numbers."""
            if (
                not self._has_usual_key
                or attributes_to_get is not None
                or type(consistent_read) is not bool
                or type(hash_key) is not str
                or (range_key is not None and type(range_key) is not str)
            ):
                return super().get_item(
                    table_name, hash_key, range_key, consistent_read, attributes_to_get
                )

            params = PlainParams(
                TableName=table_name,
                Key=self._key(hash_key, range_key),
                ConsistentRead=consistent_read,
                ReturnConsumedCapacity=constants.TOTAL,
            )
            return constants.GET_ITEM, params

        def put_item(
            self,
            table_name: str,
            hash_key: str,
            range_key: str | None = None,
            attributes: Kwargs | None = None,
            condition: t.Any | None = None,
            **options: t.Any,
        ) -> tuple[str, Kwargs]:
            """As PynamoDB's, in fewer steps for a plain item without a condition."""
            if condition is not None or options or type(attributes) is not PlainItem:
                return super().put_item(
                    table_name, hash_key, range_key, attributes, condition, **options
                )

            params = PlainParams(
                TableName=table_name,
                Item=self._key(hash_key, range_key) | attributes,
                ReturnConsumedCapacity=constants.TOTAL,
            )
            return constants.PUT_ITEM, params

        def query(
            self,
            table_name: str,
            hash_key: str,
            range_key_condition: t.Any | None = None,
            filter_condition: t.Any | None = None,
            attributes_to_get: t.Any | None = None,
            consistent_read: bool = False,
            exclusive_start_key: t.Any | None = None,
            index_name: str | None = None,
            limit: int | None = None,
            return_consumed_capacity: str | None = None,
            scan_index_forward: bool | None = None,
            select: str | None = None,
        ) -> tuple[str, Kwargs]:
            """As PynamoDB's, in fewer steps for all items that have a text or a number for their
            hash key."""
            conditions = range_key_condition, filter_condition, exclusive_start_key
            options = attributes_to_get, index_name, return_consumed_capacity, select

            if (
                not self._has_usual_key
                or type(hash_key) is not str
                or not _NONE.issuperset(map(type, (*conditions, *options)))
                or type(limit) not in _NUMBERS
                or type(scan_index_forward) not in _FLAGS
            ):
                return super().query(
                    table_name,
                    hash_key,
                    range_key_condition,
                    filter_condition,
                    attributes_to_get,
                    consistent_read,
                    exclusive_start_key,
                    index_name,
                    limit,
                    return_consumed_capacity,
                    scan_index_forward,
                    select,
                )

            expression, names, placeholder = self._condition_of_hash_key
            params = PlainParams(TableName=table_name, KeyConditionExpression=expression)

            if consistent_read:
                params[constants.CONSISTENT_READ] = True

            if limit is not None:
                params[constants.LIMIT] = limit

            if scan_index_forward is not None:
                params[constants.SCAN_INDEX_FORWARD] = scan_index_forward

            params[constants.EXPRESSION_ATTRIBUTE_NAMES] = names.copy()
            value = {self._hash_key[1]: hash_key}
            params[constants.EXPRESSION_ATTRIBUTE_VALUES] = {placeholder: value}
            return self.dispatch(constants.QUERY, params)

        def batch_get_item(
            self,
            table_name: str,
            keys: cabc.Sequence[Kwargs],
            consistent_read: bool | None = None,
            return_consumed_capacity: str | None = None,
            attributes_to_get: t.Any | None = None,
        ) -> tuple[str, Kwargs]:
            """As PynamoDB's, in fewer steps for keys whose values have their types."""
            is_plain = type(keys) is PlainKeys and type(consistent_read) in _FLAGS
            values = itertools.chain.from_iterable(map(dict.values, keys))

            if (
                return_consumed_capacity
                or attributes_to_get is not None
                or not (is_plain or _DICTS.issuperset(map(type, values)))
            ):
                return super().batch_get_item(
                    table_name, keys, consistent_read, return_consumed_capacity, attributes_to_get
                )

            options = {constants.CONSISTENT_READ: consistent_read} if consistent_read else {}
            tables = {table_name: {**options, constants.KEYS: keys}}
            make_params = PlainParams if is_plain else dict
            return self.dispatch(constants.BATCH_GET_ITEM, make_params(RequestItems=tables))


@_tell_outcomes
class _Failure(pynamodb.connection.Connection):
    """Raises an error where each call on a table would be sent.

    :param table: The table.
    :param error: The error.
    """

    def __init__(self, table: pynamodb.connection.base.MetaTable, error: Exception) -> None:
        super().__init__(region="us-east-1", extra_headers={})
        self.add_meta_table(table)
        self._error: Exception | None = error

    def dispatch(self, operation_name: str, operation_kwargs: Kwargs) -> Kwargs:
        """Raise the error."""
        error, self._error = t.cast(Exception, self._error), None

        try:
            raise error
        finally:
            # The error's traceback refers to this frame: break the cycle.
            del error


class CallInSteps(t.NamedTuple):
    """A call that is made in steps that never wait."""

    outgoing: Outgoing
    progress: record.Progress
    """Its record."""

    pool: Pool
    """The slots, of which it needs one."""


class TableConnection(pynamodb.connection.table.TableConnection):
    """A connection to one model's table.

    Each model has its own, with its own key schema, also where several models share a table.

    :param connection: A connection that no other model uses.
    :param table: The table's description, in the form of DescribeTable's reply.
    """

    connection: Connection

    def __init__(self, connection: Connection, table: Kwargs) -> None:
        super().__init__(
            table[constants.TABLE_NAME], meta_table=pynamodb.connection.base.MetaTable(table)
        )
        meta_table = self.get_meta_table()
        self.connection = connection
        connection.table_name = table[constants.TABLE_NAME]
        connection.add_meta_table(meta_table)
        self._description: _Description | None = None
        self._key_names: dict[str | None, tuple[str, ...]] = {}
        self._own_names: frozenset[str] = frozenset({*vars(self), "_own_names"})

    def prepare_call(
        self, method: str, args: tuple[t.Any, ...], kwargs: cabc.Mapping[str, t.Any]
    ) -> CallInSteps | None:
        """Prepare a call that is made in steps that never wait.

        A call of that method now would wait cooperatively: the caller has asked.

        :param method: The name of a method of this connection.
        :param args: Its arguments.
        :param kwargs: Its arguments by name.
        :return: The call; ``None`` if only the method itself can make it.
        :raises ValueError: or another error, if the method would raise it before it sends anything.
        """
        here = self.connection.engine.here

        if here.transport is None:
            return None

        operation, params = self.describe_call(method, args, kwargs)
        outgoing = here.transport.prepare(operation, params)

        if outgoing is None:
            return None

        return CallInSteps(outgoing, self.connection.follow(operation), here.pool)

    def describe_call(
        self, method: str, args: tuple[t.Any, ...], kwargs: cabc.Mapping[str, t.Any]
    ) -> tuple[str, Kwargs]:
        """Tell what a method of this connection would send.

        :param method: The name of the method.
        :param args: Its arguments.
        :param kwargs: Its arguments by name.
        :return: DynamoDB's name of the operation, and its parameters.
        """
        if self._description is None:
            self._description = _Description(self.get_meta_table())

        call: tuple[str, Kwargs] = getattr(self._description, method)(
            self.table_name, *args, **kwargs
        )
        return call

    def key_names(self, index_name: str | None) -> tuple[str, ...]:
        """The names of the attributes of a key from which a query or scan can start.

        :param index_name: The index; ``None`` for the table.
        """
        found = self._key_names.get(index_name)

        if found is None:
            names = t.cast(t.Any, self.get_meta_table()).get_key_names(index_name)
            found = self._key_names[index_name] = tuple(names)

        return found

    @property
    def may_make_calls(self) -> bool:
        """Whether :meth:`make_call` may make calls: nobody would notice."""
        return not ceremony.is_noticed() and not self.is_replaced

    @property
    def is_replaced(self) -> bool:
        """Whether something of this very connection is replaced, by a test's mock for example."""
        return self.connection.is_replaced or self.has_changes

    @property
    def has_changes(self) -> bool:
        """As :attr:`is_replaced`, of this object alone, without the connection that it has."""
        return not vars(self).keys() <= self._own_names

    def make_call(
        self, method: str, read: ReadItems | None, /, *args: t.Any, **kwargs: t.Any
    ) -> Kwargs:
        """Make the call of a method of this connection, with less of PynamoDB in between.

        :param method: The name of the method. It gets the arguments.
        :param read: What reads the items of the reply.
        :return: The parsed reply.
        :raises pynamodb.exceptions.PynamoDBException: or another error, as the method.
        """
        operation, params = self.describe_call(method, args, kwargs)

        try:
            return self.connection.dispatch(operation, params, read)
        except Exception as error:
            # PynamoDB's method makes its own exception of it.
            fail = getattr(_Failure(self.get_meta_table(), error), method)
            fail(self.table_name, *args, **kwargs)
            raise

    def create_table(
        self,
        attribute_definitions: t.Any | None = None,
        key_schema: t.Any | None = None,
        read_capacity_units: int | None = None,
        write_capacity_units: int | None = None,
        global_secondary_indexes: t.Any | None = None,
        local_secondary_indexes: t.Any | None = None,
        stream_specification: Kwargs | None = None,
        billing_mode: str = PROVISIONED,
        tags: dict[str, str] | None = None,
        deletion_protection_enabled: bool | None = None,
    ) -> Kwargs:
        """Send CreateTable. An index that declares no capacity gets that of the table.

        :param deletion_protection_enabled: Whether DynamoDB refuses to delete the table.
        :raises ConfigError: if the mode is ``PROVISIONED`` and a capacity is not set anywhere.
        """
        if billing_mode == PROVISIONED:
            capacity = {
                constants.READ_CAPACITY_UNITS: read_capacity_units,
                constants.WRITE_CAPACITY_UNITS: write_capacity_units,
            }
            _check_capacity(self.table_name, capacity)
            global_secondary_indexes = [
                {**index, "provisioned_throughput": {**capacity, **index["provisioned_throughput"]}}
                for index in global_secondary_indexes or ()
            ]

        create_table = t.cast(t.Any, super().create_table)

        with _with_options(deletion_protection_enabled):
            reply: Kwargs = create_table(
                attribute_definitions=attribute_definitions,
                key_schema=key_schema,
                read_capacity_units=read_capacity_units,
                write_capacity_units=write_capacity_units,
                global_secondary_indexes=global_secondary_indexes,
                local_secondary_indexes=local_secondary_indexes,
                stream_specification=stream_specification,
                billing_mode=billing_mode,
                tags=tags,
            )

        return reply


@contextlib.contextmanager
def _with_options(deletion_protection_enabled: bool | None) -> cabc.Generator[None]:
    """Add to a CreateTable in the block what PynamoDB has no argument for."""
    options = {"DeletionProtectionEnabled": deletion_protection_enabled}
    token = _options_of_new_table.set(None if deletion_protection_enabled is None else options)

    try:
        yield
    finally:
        _options_of_new_table.reset(token)


def _with_capacity(operation_name: str, params: Kwargs) -> Kwargs:
    """The parameters of a call, which ask for the consumed capacity as PynamoDB's ``dispatch``
    does."""
    if operation_name not in _OF_TABLES and constants.RETURN_CONSUMED_CAPACITY not in params:
        params[constants.RETURN_CONSUMED_CAPACITY] = constants.TOTAL

    return params


def _completed(operation_name: str, params: Kwargs) -> Kwargs:
    """The parameters of a call, where PynamoDB gives too few or too many."""
    if operation_name in _WITHOUT_CONSUMED_CAPACITY:
        return {
            name: value
            for name, value in params.items()
            if name != constants.RETURN_CONSUMED_CAPACITY
        }

    if operation_name == constants.CREATE_TABLE and (options := _options_of_new_table.get()):
        return {**params, **options}

    return params


def _check_capacity(table_name: str, capacity: dict[str, int | None]) -> None:
    settings = {
        constants.READ_CAPACITY_UNITS: "DYNAMODB_READ_CAPACITY_UNITS",
        constants.WRITE_CAPACITY_UNITS: "DYNAMODB_WRITE_CAPACITY_UNITS",
    }
    missing = [f"'{settings[unit]}'" for unit, value in capacity.items() if value is None]

    if missing:
        raise ConfigError(
            f"{' and '.join(missing)} must be set, or the same in the model's Meta, to create table"
            f" {table_name!r} with billing mode {PROVISIONED!r}."
        )


ceremony.watch(TableConnection, Connection)
