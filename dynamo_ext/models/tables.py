"""Creating and deleting a model's table, as procedures."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

import pynamodb.exceptions
from pynamodb import constants

from ..concurrency.generators import Procedure
from ..config.settings import PROVISIONED
from ..errors import ConfigError
from . import late_binding
from .late_binding import AnyModel

_LONGEST_WAIT = 2.0
_LOOKS_FOR_A_NEW_TABLE = 10
_MERGED = ("attribute_definitions", "global_secondary_indexes", "local_secondary_indexes")
_IN_USE = "ResourceInUseException"


def by_table(models: cabc.Iterable[AnyModel]) -> list[list[AnyModel]]:
    """Put together the models that share a table in the current app."""
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
) -> Procedure[bool]:
    """Create a table, with its indexes and TTL, unless it exists.

    The parameters are those of :meth:`dynamo_ext.Model.create_table`.

    :param models: The model, or all models that share the table; the first one's Meta counts.
    :return: Whether it was created now.
    """
    first = models[0]
    created = _status(first) is None

    if created:
        yield 0
        request = _request(models, read_capacity_units, write_capacity_units, billing_mode)
        created = _create_missing(first, request)

    if wait:
        looks_in_vain = 0

        for seconds in _waits():
            yield seconds
            status = _status(first)

            if status == constants.ACTIVE:
                break

            looks_in_vain = looks_in_vain + 1 if status is None else 0

            if looks_in_vain == _LOOKS_FOR_A_NEW_TABLE:
                raise pynamodb.exceptions.TableDoesNotExist(
                    late_binding.connection(first).table_name
                )

    for model in models:
        yield 0
        model.update_ttl(ignore_update_ttl_errors)

    return created


def _status(model: AnyModel) -> str | None:
    """A table's status, or ``None`` if it is not seen.

    DescribeTable is eventually consistent: a new table may not be seen at once, see
    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_DescribeTable.html.
    """
    try:
        description = t.cast(t.Any, late_binding.connection(model)).describe_table()
        return t.cast(str, description[constants.TABLE_STATUS])
    except pynamodb.exceptions.TableDoesNotExist:
        return None


def delete(model: AnyModel, *, wait: bool = False) -> Procedure[t.Any]:
    """Delete a model's table.

    :param wait: Whether to wait until it is gone.
    :return: What DeleteTable returned.
    """
    result = t.cast("dict[str, t.Any]", late_binding.connection(model).delete_table())

    if wait:
        for seconds in _waits():
            yield seconds

            if _status(model) is None:
                break

    return result


def _waits() -> cabc.Iterator[float]:
    """Seconds before each look at a table: none at first, then more and more."""
    seconds = 0.0

    while True:
        yield seconds
        seconds = min(_LONGEST_WAIT, 2 * seconds + 0.1)


def _create_missing(model: AnyModel, request: dict[str, t.Any]) -> bool:
    try:
        late_binding.connection(model).create_table(**request)
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

    if billing_mode is None and (read is not None or write is not None):
        billing_mode = PROVISIONED

    request = {
        **_schema(models),
        "read_capacity_units": model_meta.read_capacity_units if read is None else read,
        "write_capacity_units": model_meta.write_capacity_units if write is None else write,
        "billing_mode": model_meta.billing_mode if billing_mode is None else billing_mode,
        "tags": getattr(model_meta, "tags", None),
    }

    if (stream_view_type := getattr(model_meta, "stream_view_type", None)) is not None:
        request["stream_specification"] = {
            "stream_enabled": True,
            "stream_view_type": stream_view_type,
        }

    return request


def _schema(models: cabc.Sequence[AnyModel]) -> dict[str, list[t.Any]]:
    """The keys, and the indexes of all models together.

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
