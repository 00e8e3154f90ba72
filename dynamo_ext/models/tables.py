"""Creating and deleting a model's table, as generators of waits."""

from __future__ import annotations

import collections.abc as cabc
import types
import typing as t

import pynamodb.exceptions
from pynamodb import constants

from ..binding import meta
from ..call_site import warn
from ..concurrency.generators import Waits
from ..errors import ConfigError
from ..errors import error_code
from ..printable import escaped
from . import late_binding
from .late_binding import AnyModel

STUCK: t.Final[cabc.Mapping[str, str]] = types.MappingProxyType(
    {
        "INACCESSIBLE_ENCRYPTION_CREDENTIALS": "DynamoDB can't use the table's KMS key. Let it use"
        " the key again",
        "ARCHIVING": "DynamoDB archives the table, because it could not use the table's KMS key for"
        " a week. Restore it from the backup that DynamoDB makes",
        "ARCHIVED": "DynamoDB has archived the table, because it could not use the table's KMS key"
        " for a week. Restore it from the backup that DynamoDB has made",
    }
)
"""Each status of a table that does not become active by waiting, and what to do."""

_LONGEST_WAIT = 2.0
_MAX_NOT_FOUND = 10
_MERGED = ("attribute_definitions", "global_secondary_indexes", "local_secondary_indexes")
_IN_USE = "ResourceInUseException"
UNKNOWN_OPERATION: t.Final = "UnknownOperationException"
"""The error code of an engine that lacks an operation of DynamoDB's."""

_BACKUPS_NOT_READY = "ContinuousBackupsUnavailableException"
_MOST_WAITS_FOR_BACKUPS = 60


def by_table(models: cabc.Iterable[AnyModel]) -> list[list[AnyModel]]:
    """Group the models by the table that they have in the current app.

    :param models: The models.
    :return: A list for each table, in the order of the first model of each.
    """
    tables: dict[tuple[int, str], list[AnyModel]] = {}

    for model in models:
        connection = late_binding.connection(model)
        key = id(connection.connection.engine), connection.table_name
        tables.setdefault(key, []).append(model)

    return list(tables.values())


def create(
    models: cabc.Sequence[AnyModel],
    wait: bool = False,
    read_capacity_units: int | None = None,
    write_capacity_units: int | None = None,
    billing_mode: str | None = None,
    ignore_update_ttl_errors: bool = False,
) -> Waits[bool]:
    """Create a table, with its indexes and TTL, unless it exists, as a generator of waits.

    :param models: The model, or all models that share the table. The ``Meta`` of the first counts
        for billing.
    :param wait: Whether to wait until the table is active.
    :param read_capacity_units: Instead of the Meta's or the app's.
    :param write_capacity_units: Instead of the Meta's or the app's.
    :param billing_mode: Instead of the Meta's or the app's. Where none of the three is set,
        ``PROVISIONED`` if a capacity is set anywhere, else ``PAY_PER_REQUEST``.
    :param ignore_update_ttl_errors: Whether an engine may lack TTL.
    :return: Whether the table was created now.
    :raises ConfigError: if the mode is ``PROVISIONED`` and a capacity is missing, or if the models
        declare different keys.
    :raises pynamodb.exceptions.TableError: if the server refuses.
    """
    first = models[0]
    # Where a model overrides these, PynamoDB's own methods call them, too.
    created = not first.exists()

    if created:
        yield 0
        given = request(models, read_capacity_units, write_capacity_units, billing_mode)
        created = _create_missing(first, given)

    recovers = option(models, meta.POINT_IN_TIME_RECOVERY)

    if wait or recovers:
        not_found = 0

        for seconds in waits():
            yield seconds
            status = _status(first)

            if status == constants.ACTIVE:
                break

            check_not_stuck(status)

            if not status and status is not None:
                raise pynamodb.exceptions.TableError("No TableStatus returned for table")

            not_found = not_found + 1 if status is None else 0

            if not_found == _MAX_NOT_FOUND:
                raise pynamodb.exceptions.TableDoesNotExist(
                    late_binding.connection(first).table_name
                )

    for model in models:
        yield 0
        model.update_ttl(ignore_update_ttl_errors)

    if recovers:
        yield from set_point_in_time_recovery(first, enabled=True)

    return created


def check_not_stuck(status: str | None) -> None:
    """Check that a table may become active by waiting.

    :param status: What DescribeTable says.
    :raises pynamodb.exceptions.TableError: if it never does. The message says what to do.
    """
    if (remedy := STUCK.get(status or "")) is not None:
        raise pynamodb.exceptions.TableError(f"Its status is {status}: {remedy}, and try again.")


def _status(model: AnyModel) -> str | None:
    """A table's status, or ``None`` if DescribeTable does not find the table, or empty if the reply
    has none.

    DescribeTable is eventually consistent: it may not find a new table at once, see
    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_DescribeTable.html.
    """
    try:
        description: dict[str, t.Any] = _connection(model).describe_table() or {}
        return t.cast(str, description.get(constants.TABLE_STATUS, ""))
    except pynamodb.exceptions.TableDoesNotExist:
        return None


def delete(model: AnyModel, *, wait: bool = False) -> Waits[t.Any]:
    """Delete a model's table, as a generator of waits.

    :param model: The model.
    :param wait: Whether to wait until the table is gone.
    :return: DynamoDB's reply.
    :raises pynamodb.exceptions.TableError: if the server refuses.
    """
    result = _connection(model).delete_table()

    if wait:
        for seconds in waits():
            yield seconds

            if not model.exists():
                break

    return result


def _connection(model: AnyModel) -> t.Any:
    """The model's own connection, which an app or a test may have replaced."""
    return t.cast(t.Any, model)._get_connection()


def waits(longest: float | None = None) -> cabc.Iterator[float]:
    """How long to wait before each look at a table: 0 before the first, then growing.

    :param longest: The longest wait, in seconds. Default: that for a table to be created.
    """
    most = _LONGEST_WAIT if longest is None else longest
    seconds = 0.0

    while True:
        yield seconds
        seconds = min(most, 2 * seconds + 0.1)


def _create_missing(model: AnyModel, request: dict[str, t.Any]) -> bool:
    try:
        _connection(model).create_table(**request)
    except pynamodb.exceptions.TableError as error:
        if error.cause_response_code == _IN_USE:
            return False

        raise

    return True


def request(
    models: cabc.Sequence[AnyModel],
    read: int | None = None,
    write: int | None = None,
    billing_mode: str | None = None,
) -> dict[str, t.Any]:
    """What the table of some models should be: the arguments of ``create_table`` of a connection.

    :param models: The model, or all models that share the table. The ``Meta`` of the first counts
        for billing.
    :param read: The read capacity, instead of the Meta's or the app's.
    :param write: The write capacity, instead of the Meta's or the app's.
    :param billing_mode: Instead of the Meta's or the app's.
    :raises ConfigError: if the models declare different keys, or different values of an option.
    """
    model_meta = t.cast(t.Any, models[0]).Meta
    read = model_meta.read_capacity_units if read is None else read
    write = model_meta.write_capacity_units if write is None else write
    arguments = {
        **_schema(models),
        "read_capacity_units": read,
        "write_capacity_units": write,
        "billing_mode": billing_mode
        or _declared_billing_mode(models[0])
        or meta.billing_mode_for(read, write),
        "tags": option(models, "tags"),
    }

    if (stream_view_type := option(models, "stream_view_type")) is not None:
        arguments["stream_specification"] = {
            "stream_enabled": True,
            "stream_view_type": stream_view_type,
        }

    # Not otherwise: the connection of a test may be PynamoDB's, which lacks it.
    if (is_protected := option(models, meta.DELETION_PROTECTION)) is not None:
        arguments["deletion_protection_enabled"] = is_protected

    return arguments


def option(models: cabc.Sequence[AnyModel], name: str) -> t.Any:
    """What the models of a table say of it in their ``Meta``.

    :param models: All models that share the table.
    :param name: The name in a ``Meta``.
    :return: The value; ``None`` if no model declares one.
    :raises ConfigError: if they declare different values.
    """
    declared = [
        (model, value)
        for model in models
        if (value := getattr(t.cast(t.Any, model).Meta, name, None)) is not None
    ]

    for model, value in declared[1:]:
        if value != declared[0][1]:
            raise _conflict(declared[0][0], model, f"{name!r}")

    return declared[0][1] if declared else None


def set_point_in_time_recovery(model: AnyModel, *, enabled: bool) -> Waits[None]:
    """Switch point-in-time recovery of a table on or off, as a generator of waits.

    On an engine that lacks it, this warns.

    :param model: A model of the table, which is active.
    :param enabled: Whether to switch it on.
    :raises pynamodb.exceptions.PynamoDBException: if the server refuses.
    """
    table = late_binding.connection(model)
    arguments = {
        constants.TABLE_NAME: table.table_name,
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": enabled},
    }

    for count, seconds in enumerate(waits(), 1):
        yield seconds

        try:
            table.connection.dispatch("UpdateContinuousBackups", arguments)
        except pynamodb.exceptions.VerboseClientError as error:
            match error_code(error):
                case code if code == UNKNOWN_OPERATION:
                    warn(
                        f"The engine of table {escaped(table.table_name)!r} has no point-in-time"
                        f" recovery: 'Meta.{meta.POINT_IN_TIME_RECOVERY}' has no effect there.",
                        UserWarning,
                    )
                    return
                # Of a new table, DynamoDB enables backups some time after it is active.
                case code if code == _BACKUPS_NOT_READY and count < _MOST_WAITS_FOR_BACKUPS:
                    continue
                case _:
                    raise
        else:
            return


def _declared_billing_mode(model: AnyModel) -> str | None:
    """The billing mode that the model or the app sets; ``None`` where it follows from capacities,
    which the effective ``Meta`` does not tell."""
    declared: str | None = getattr(late_binding.declared_meta(model), "billing_mode", None)
    settings = late_binding.connection(model).connection.policy.settings
    return settings.billing_mode if declared is None else declared


def _schema(models: cabc.Sequence[AnyModel]) -> dict[str, list[t.Any]]:
    """The keys, and the indexes of all models together, as CreateTable takes them.

    :raises ConfigError: if models that share a table disagree about its keys.
    """
    first, *others = (t.cast(t.Any, model)._get_schema() for model in models)
    merged: dict[str, list[t.Any]] = {part: list(schemas) for part, schemas in first.items()}

    for model, schema in zip(models[1:], others, strict=True):
        if schema["key_schema"] != first["key_schema"]:
            raise _conflict(models[0], model, "keys")

        for part in _MERGED:
            new = [item for item in schema[part] if item not in merged[part]]
            taken = {item.get("index_name") for item in merged[part]} - {None}

            for item in new:
                if item.get("index_name") in taken:
                    raise _conflict(models[0], model, f"indexes {item['index_name']!r}")

            merged[part] += new

    return merged


def _conflict(first: AnyModel, other: AnyModel, what: str) -> ConfigError:
    return ConfigError(
        f"{first.__name__!r} and {other.__name__!r} share the table"
        f" {late_binding.connection(other).table_name!r}, but declare different {what}."
    )
