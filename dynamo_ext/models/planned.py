"""The methods of a model that make one call, divided into what comes before and after it.

So the call can be made without PynamoDB in between: in a thread, or by who has only sockets to
watch. The steps are those of PynamoDB's methods; where one of these is overridden or patched, there
is no plan for it.
"""

from __future__ import annotations

import collections.abc as cabc
import functools
import typing as t

import pynamodb.models
from pynamodb import constants

from ..calls.item_reading import ReadItems
from ..client.connection import PlainItem
from ..client.connection import TableConnection
from . import eligibility
from . import item_serializer
from . import late_binding
from . import reply_reading
from . import usual_keys

Reply = dict[str, t.Any]
Finish = cabc.Callable[[Reply], t.Any]
Planner = cabc.Callable[..., "PlannedCall | None"]
FindWriter = cabc.Callable[[type[t.Any]], item_serializer.WriteItem | None]


def _nothing() -> None:
    pass


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

    begin: cabc.Callable[[], object] = _nothing
    """To be called once it is certain that the call is made by this plan: changes what PynamoDB's
    method changes of its arguments."""


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
    function: t.Any = getattr(method, "__func__", None)
    planner = _planners.get(function)
    return None if planner is None else _planned(planner, method.__self__, args, kwargs)


def make(table: TableConnection, call: PlannedCall) -> t.Any:
    """Make a planned call in this thread, of a model that runs no code of the app. A method that is
    replaced on the connection itself is called all the same.

    :param table: The connection to the model's table.
    :param call: The call.
    :return: What the model's method returns.
    :raises pynamodb.exceptions.PynamoDBException: or another error, as the model's method.
    """
    if table.is_replaced:
        reply = getattr(table, call.method)(*call.args, **call.kwargs)
    else:
        reply = table.make_call(call.method, call.read, *call.args, **call.kwargs)

    return call.finish(reply)


def _planned(
    planner: Planner, owner: t.Any, args: tuple[t.Any, ...], kwargs: cabc.Mapping[str, t.Any]
) -> PlannedCall | None:
    try:
        return planner(owner, *args, **kwargs)
    except Exception:
        return None


def _plan_get(
    model: t.Any,
    hash_key: t.Any,
    range_key: t.Any = None,
    consistent_read: bool = False,
    attributes_to_get: cabc.Sequence[str] | None = None,
) -> PlannedCall:
    key = usual_keys.text_key(model, hash_key, range_key)
    hash_key, range_key = key or model._serialize_keys(hash_key, range_key)
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
    return _planned_save(item_serializer.of, item, condition, add_version_condition)


def _plan_awaited_save(
    item: t.Any, condition: t.Any = None, *, add_version_condition: bool = True
) -> PlannedCall:
    return _planned_save(item_serializer.known, item, condition, add_version_condition)


def _planned_save(
    find_writer: FindWriter, item: t.Any, condition: t.Any, add_version_condition: bool
) -> PlannedCall:
    if condition is None and (save := _plan_simple_save(find_writer, item)) is not None:
        return save

    args, options = item._get_save_args(
        condition=condition, add_version_condition=add_version_condition
    )

    def finish(reply: Reply) -> Reply:
        item.update_local_version_attribute()
        return reply

    return PlannedCall("put_item", args, options, finish)


def _plan_simple_save(find_writer: FindWriter, item: t.Any) -> PlannedCall | None:
    """Plan to save an item without a version and a condition.

    :raises KeyError: if a part of the key is missing: PynamoDB's method has an error for that.
    """
    kind = _class_of(item)
    write = find_writer(kind) if item._version_attribute_name is None else None
    written = None if write is None else write(item)

    if written is None:
        return None

    whole, is_plain = written
    attributes = PlainItem(whole) if is_plain else whole
    hash_key = _taken(attributes, kind._hash_key_attribute())
    range_attribute = kind._range_key_attribute()
    options: dict[str, t.Any] = {"attributes": attributes, "condition": None}

    if range_attribute is not None:
        options["range_key"] = _taken(attributes, range_attribute)

    return PlannedCall("put_item", (hash_key,), options, _unchanged)


def _taken(item: dict[str, dict[str, t.Any]], attribute: t.Any) -> t.Any:
    return item.pop(attribute.attr_name)[attribute.attr_type]


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
    # PynamoDB refuses all others.
    if type(actions) is not list or not actions:
        return None

    hash_key, range_key = item._get_hash_range_key_serialized_values()
    all_actions = [*actions]
    version_condition = item._handle_version_attribute(actions=all_actions)

    if add_version_condition and version_condition is not None:
        condition &= version_condition

    def finish(reply: Reply) -> Reply:
        _read_into(item, reply[constants.ATTRIBUTES], "update")
        return reply

    options = {
        "range_key": range_key,
        "return_values": constants.ALL_NEW,
        "condition": condition,
        "actions": all_actions,
    }

    def begin() -> None:
        # PynamoDB adds the action of a version to the caller's list.
        actions[:] = all_actions

    return PlannedCall("update_item", (hash_key,), options, finish, begin=begin)


def _read_into(item: t.Any, stored: dict[str, t.Any], what: str) -> None:
    kind = item._get_discriminator_class(stored)

    if kind and kind is not type(item):
        raise ValueError(f"Cannot {what} this item from the returned class: {kind.__name__}")

    item.deserialize(stored)


def _unchanged(reply: Reply) -> Reply:
    return reply


# By what makes the call in a thread.
_planners: dict[cabc.Callable[..., t.Any], Planner] = {}
_class_of: cabc.Callable[[t.Any], type[t.Any]] = type


def _method(name: str, planner: Planner, planner_of_awaited: Planner | None = None) -> t.Any:
    """PynamoDB's method of a name, which gets the arguments as the caller gave them. Its call is
    made without PynamoDB where nobody would notice.

    :param name: The name of the method.
    :param planner: Plans its call.
    :param planner_of_awaited: Plans the call of its twin, after which the turn of the event loop
        ends, if that is another way.
    """
    found: t.Any = getattr(pynamodb.models.Model, name)
    of_pynamodb: t.Any = getattr(found, "__func__", found)

    # Without annotations of its own: those of PynamoDB name classes of PynamoDB's modules.
    @functools.wraps(of_pynamodb, assigned=("__module__", "__name__", "__qualname__", "__doc__"))
    def of_project(owner: t.Any, /, *args: t.Any, **kwargs: t.Any) -> t.Any:
        if _may_plan(owner):
            call = _planned(planner, owner, args, kwargs)

            if call is not None:
                table = late_binding.connection(_model_of(owner))
                call.begin()
                return make(table, call)

        return getattr(super(PlansCalls, owner), name)(*args, **kwargs)

    method: t.Any = of_project
    # In a traceback, and to who looks for the method that the app has called.
    method.__code__ = method.__code__.replace(co_name=name)
    _planners[method] = planner_of_awaited or planner
    return method


def _may_plan(owner: t.Any) -> bool:
    is_known_stock = eligibility.is_known_stock(_model_of(owner))
    return is_known_stock and (isinstance(owner, type) or not eligibility.shadows(owner))


def _model_of(owner: t.Any) -> type[t.Any]:
    return owner if isinstance(owner, type) else _class_of(owner)


if t.TYPE_CHECKING:
    _Model = pynamodb.models.Model
else:
    _Model = object


class PlansCalls(_Model):
    """Makes the calls of models that run no code of the app as they are planned."""

    # Their signatures and documentation are PynamoDB's.
    if not t.TYPE_CHECKING:
        get = classmethod(_method("get", _plan_get))
        refresh = _method("refresh", _plan_refresh)
        save = _method("save", _plan_save, _plan_awaited_save)
        update = _method("update", _plan_update)
        delete = _method("delete", _plan_delete)
