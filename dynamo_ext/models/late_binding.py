"""What a model declares, and its connection in the current app.

Functions, not methods: a model may have an attribute of any name that works on PynamoDB's models.
"""

from __future__ import annotations

import collections.abc as cabc
import types
import typing as t

import pynamodb.models

from ..binding import context
from ..binding import meta
from ..client.connection import TableConnection
from ..printable import escaped

DECLARED_META: t.Final = "_dynamo_ext_declared_meta"
"""The attribute of a model that holds the ``Meta`` it declares."""

ELSEWHERE: t.Final = object()
"""In its place: the ``Meta`` that counts is that of a base class which is no model of this project,
and is looked up when it is needed."""

_META = "Meta"
_COMPLETE = "_dynamo_ext_complete"
_SHOWN_META = "_dynamo_ext_shown_meta"

P = t.ParamSpec("P")
R = t.TypeVar("R")
AnyModel: t.TypeAlias = type[pynamodb.models.Model]


class MetaOfModel:
    """A model's attribute ``Meta``: in an app, what holds there; outside an app, what is declared.

    While a class is created, it is the declared one.

    :param declared: What the class declares that has this attribute. Other classes inherit.
    """

    def __init__(self, declared: t.Any = ELSEWHERE) -> None:
        self.declared = declared

    def __get__(self, item: t.Any, owner: t.Any) -> t.Any:
        declared = declared_meta(owner)

        if not vars(owner).get(_COMPLETE):
            return declared

        state = context.find_state()

        if state is None or not has_table(owner):
            return _shown_outside_apps(owner, declared)

        return context.bound(state, owner, declared).meta

    def __getattr__(self, name: str) -> t.Any:
        # For those who find this in the class's namespace.
        return getattr(vars(self).get("declared"), name)


def declaration(value: t.Any) -> dict[str, t.Any]:
    """What a class has in its namespace in order to declare a ``Meta``.

    :param value: The ``Meta``; or another model's, whose declaration is then shared.
    """
    if isinstance(value, MetaOfModel):
        return {_META: value, DECLARED_META: value.declared}

    declared = meta.declared_by(value)
    return {_META: MetaOfModel(declared), DECLARED_META: declared}


def incomplete(namespace: dict[str, t.Any]) -> dict[str, t.Any]:
    """The namespace of a model that is about to be created.

    :param namespace: The namespace that the user has written.
    """
    declares = declaration(namespace[_META]) if _META in namespace else {}
    return {**namespace, **declares, _COMPLETE: False}


def complete(model: AnyModel) -> None:
    """Note that a model is created.

    :param model: The model.
    """
    setattr(model, _COMPLETE, True)


def inherits_from_elsewhere(model: AnyModel) -> bool:
    """Whether a model's ``Meta`` is that of a base class that is no model of this project.

    :param model: The model.
    """
    return not isinstance(_nearest_meta(model), (types.NoneType, MetaOfModel))


def declared_meta(model: AnyModel) -> t.Any:
    """The ``Meta`` that a model declares or inherits.

    :param model: The model.
    :return: The ``Meta``, without anything that an app's settings add.
    :raises AttributeError: if there is none.
    """
    declared: t.Any = getattr(model, DECLARED_META, ELSEWHERE)
    return _found_elsewhere(model) if declared is ELSEWHERE else declared


def has_table(model: AnyModel) -> bool:
    """Whether a model declares or inherits a table name.

    :param model: The model.
    """
    try:
        declared = declared_meta(model)
    except AttributeError:
        return False

    return getattr(declared, "table_name", None) is not None


def is_in_bind(bind_key: str | None, model: AnyModel) -> bool:
    """Whether a model goes by a bind where that bind is used: unless it has another one of its own.

    :param bind_key: The key of the bind; ``None`` if none is used, so that each model goes by its
        own.
    :param model: The model.
    """
    declared = getattr(declared_meta(model), meta.BIND_KEY, None)
    return bind_key is None or declared is None or declared == bind_key


def connection(model: AnyModel) -> TableConnection:
    """The connection to a model's table in the current app.

    :param model: The model.
    :raises RuntimeError: if no app is current.
    :raises AttributeError: if the model has no ``Meta`` or no table name.
    :raises ConfigError: if a value that the model declares is invalid, or the app lacks its bind.
    """
    declared = declared_meta(model)

    if getattr(declared, "table_name", None) is None:
        raise AttributeError(f"{_name_of(model)}.Meta has no 'table_name': a model needs one.")

    return context.bound(context.state(), model, declared).connection


def in_current_bind(function: cabc.Callable[P, R]) -> cabc.Callable[P, R]:
    """Make a function go by the bind that is current now, whenever it is called: a query or a batch
    keeps the bind under which it was made.

    :param function: The function.
    """
    return context.in_current_bind(function)


def _found_elsewhere(model: AnyModel) -> t.Any:
    nearest = _nearest_meta(model)

    if nearest is None:
        raise AttributeError(
            f"{_name_of(model)} has no 'Meta': a model needs 'class Meta:' with a 'table_name'."
        )

    return nearest.declared if isinstance(nearest, MetaOfModel) else meta.declared_by(nearest)


def _nearest_meta(model: AnyModel) -> t.Any:
    """What the first class of the method resolution order that declares a ``Meta`` has in its
    namespace."""
    for kind in model.__mro__:
        own = vars(kind).get(_META)

        if own is not None and not (isinstance(own, MetaOfModel) and own.declared is ELSEWHERE):
            return own

    return None


def _shown_outside_apps(model: AnyModel, declared: t.Any) -> t.Any:
    """The same object each time, as long as the model declares the same: pickle asks for that."""
    shown: t.Any = vars(model).get(_SHOWN_META)

    if shown is None or meta.declared_by(shown) is not declared:
        shown = meta.show(declared)
        setattr(model, _SHOWN_META, shown)

    return shown


def _name_of(model: AnyModel) -> str:
    return escaped(f"{model.__module__}.{model.__qualname__}")
