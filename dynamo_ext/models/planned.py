"""The methods of a model that make one call, divided into what comes before and after it.

So who has only sockets to watch can make the call, without PynamoDB in between. The steps are those
of PynamoDB's methods; where one of these is overridden or patched, there is no plan for it.
"""

from __future__ import annotations

import collections.abc as cabc
import typing as t

import pynamodb.models
from pynamodb import constants

from ..calls.item_reading import ReadItems
from . import reply_reading

Reply = dict[str, t.Any]
Finish = cabc.Callable[[Reply], t.Any]


class PlannedCall(t.NamedTuple):
    """A call of a method of a model."""

    method: str
    """The method of the model's connection that sends it."""

    args: tuple[t.Any, ...]
    """What that method gets."""

    kwargs: dict[str, t.Any]
    """What that method gets by name."""

    finish: Finish
    """Makes what the model's method returns, or raises, of the reply."""

    read: ReadItems | None = None
    """Reads the items of the reply."""


def plan(
    method: t.Any, args: tuple[t.Any, ...], kwargs: cabc.Mapping[str, t.Any]
) -> PlannedCall | None:
    """Plan a call of a method.

    :param method: The method, bound to its model or instance. Nothing of that is overridden or
        patched: the caller has looked.
    :param args: Its arguments.
    :param kwargs: Its arguments by name.
    :return: The call; ``None`` if the method must be called as it is, also where that raises an
        error.
    """
    planner = _PLANNERS.get(getattr(method, "__func__", None))

    if planner is None:
        return None

    try:
        return planner(method.__self__, *args, **kwargs)
    except Exception:
        return None


def _plan_get(
    model: t.Any,
    hash_key: t.Any,
    range_key: t.Any = None,
    consistent_read: bool = False,
    attributes_to_get: cabc.Sequence[str] | None = None,
) -> PlannedCall:
    hash_key, range_key = model._serialize_keys(hash_key, range_key)
    reading = reply_reading.of_item(model)

    def finish(reply: Reply) -> t.Any:
        item = reply.get(constants.ITEM)

        if reading is not None and reading.has_read(item):
            return item

        if item:
            return model.from_raw_data(item)

        raise model.DoesNotExist

    options = {
        "range_key": range_key,
        "consistent_read": consistent_read,
        "attributes_to_get": attributes_to_get,
    }
    return PlannedCall("get_item", (hash_key,), options, finish, reading)


def _plan_refresh(item: t.Any, consistent_read: bool = False) -> PlannedCall:
    hash_key, range_key = item._get_hash_range_key_serialized_values()

    def finish(reply: Reply) -> None:
        if (stored := reply.get(constants.ITEM)) is None:
            raise item.DoesNotExist("This item does not exist in the table.")

        _read_into(item, stored, "refresh")

    options = {"range_key": range_key, "consistent_read": consistent_read}
    return PlannedCall("get_item", (hash_key,), options, finish)


def _plan_save(
    item: t.Any, condition: t.Any = None, *, add_version_condition: bool = True
) -> PlannedCall:
    args, options = item._get_save_args(
        condition=condition, add_version_condition=add_version_condition
    )

    def finish(reply: Reply) -> Reply:
        item.update_local_version_attribute()
        return reply

    return PlannedCall("put_item", args, options, finish)


def _plan_delete(
    item: t.Any, condition: t.Any = None, *, add_version_condition: bool = True
) -> PlannedCall:
    hash_key, range_key = item._get_hash_range_key_serialized_values()
    version_condition = item._handle_version_attribute()

    if add_version_condition and version_condition is not None:
        condition &= version_condition

    options = {"range_key": range_key, "condition": condition}
    return PlannedCall("delete_item", (hash_key,), options, _unchanged)


def _plan_update(
    item: t.Any,
    actions: list[t.Any],
    condition: t.Any = None,
    *,
    add_version_condition: bool = True,
) -> PlannedCall | None:
    # PynamoDB refuses other actions, and adds that of a version to the caller's list.
    if type(actions) is not list or item._version_attribute_name is not None:
        return None

    hash_key, range_key = item._get_hash_range_key_serialized_values()

    def finish(reply: Reply) -> Reply:
        _read_into(item, reply[constants.ATTRIBUTES], "update")
        return reply

    options = {
        "range_key": range_key,
        "return_values": constants.ALL_NEW,
        "condition": condition,
        "actions": actions,
    }
    return PlannedCall("update_item", (hash_key,), options, finish)


def _read_into(item: t.Any, stored: dict[str, t.Any], what: str) -> None:
    kind = item._get_discriminator_class(stored)

    if kind and kind is not type(item):
        raise ValueError(f"Cannot {what} this item from the returned class: {kind.__name__}")

    item.deserialize(stored)


def _unchanged(reply: Reply) -> Reply:
    return reply


_Model: t.Any = pynamodb.models.Model

# By PynamoDB's methods, as they are when this module is imported.
_PLANNERS: dict[t.Any, cabc.Callable[..., PlannedCall | None]] = {
    _Model.get.__func__: _plan_get,
    _Model.refresh: _plan_refresh,
    _Model.save: _plan_save,
    _Model.delete: _plan_delete,
    _Model.update: _plan_update,
}
