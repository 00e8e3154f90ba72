"""Creating and deleting a model's table, as generators of waits."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

import pynamodb.exceptions
from pynamodb import constants

from ..binding import meta
from ..concurrency.generators import Waits
from ..errors import ConfigError
from . import late_binding
from .late_binding import AnyModel

_LONGEST_WAIT = 2.0
_MAX_NOT_FOUND = 10
_MERGED = ("attribute_definitions", "global_secondary_indexes", "local_secondary_indexes")
_IN_USE = "ResourceInUseException"


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

    :param models: The model, or all models that share the table. The ``Meta`` of the first counts.
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
        request = _request(models, read_capacity_units, write_capacity_units, billing_mode)
        created = _create_missing(first, request)

    if wait:
        not_found = 0

        for seconds in _waits():
            yield seconds
            status = _status(first)

            if status == constants.ACTIVE:
                break

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

    return created


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
        for seconds in _waits():
            yield seconds

            if not model.exists():
                break

    return result


def _connection(model: AnyModel) -> t.Any:
    """The model's own connection, which an app or a test may have replaced."""
    return t.cast(t.Any, model)._get_connection()


def _waits() -> cabc.Iterator[float]:
    """Seconds to wait before each DescribeTable: 0 before the first, then growing."""
    seconds = 0.0

    while True:
        yield seconds
        seconds = min(_LONGEST_WAIT, 2 * seconds + 0.1)


def _create_missing(model: AnyModel, request: dict[str, t.Any]) -> bool:
    try:
        _connection(model).create_table(**request)
    except pynamodb.exceptions.TableError as error:
        if error.cause_response_code == _IN_USE:
            return False

        raise

    return True


def _request(
    models: cabc.Sequence[AnyModel],
    read: int | None,
    write: int | None,
    billing_mode: str | None,
) -> dict[str, t.Any]:
    model_meta = t.cast(t.Any, models[0]).Meta
    read = model_meta.read_capacity_units if read is None else read
    write = model_meta.write_capacity_units if write is None else write
    request = {
        **_schema(models),
        "read_capacity_units": read,
        "write_capacity_units": write,
        "billing_mode": billing_mode
        or _declared_billing_mode(models[0])
        or meta.billing_mode_for(read, write),
        "tags": getattr(model_meta, "tags", None),
    }

    if (stream_view_type := getattr(model_meta, "stream_view_type", None)) is not None:
        request["stream_specification"] = {
            "stream_enabled": True,
            "stream_view_type": stream_view_type,
        }

    return request


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
            raise ConfigError(
                f"{models[0].__name__!r} and {model.__name__!r} share the table"
                f" {late_binding.connection(model).table_name!r}, but declare different keys."
            )

        for part in _MERGED:
            merged[part] += [item for item in schema[part] if item not in merged[part]]

    return merged
