"""What a model declares, and its connection in the current app.

Functions, not methods: a model may have an attribute of any name that works on PynamoDB's models.
"""

from __future__ import annotations

import typing as t

import pynamodb.models

from ..binding import context
from ..client.connection import TableConnection
from ..printable import escaped

DECLARED_META: t.Final = "_dynamo_ext_declared_meta"
"""The attribute of a model that holds the ``Meta`` it declares."""

AnyModel: t.TypeAlias = type[pynamodb.models.Model]


def declared_meta(model: AnyModel) -> t.Any:
    """The ``Meta`` that a model declares or inherits.

    :param model: The model.
    :return: The ``Meta``, without anything that an app's settings add.
    :raises AttributeError: if there is none.
    """
    try:
        return getattr(model, DECLARED_META)
    except AttributeError:
        raise AttributeError(
            f"{_name_of(model)} has no 'Meta': a model needs 'class Meta:' with a 'table_name'."
        ) from None


def has_table(model: AnyModel) -> bool:
    """Whether a model declares or inherits a table name.

    :param model: The model.
    """
    return getattr(getattr(model, DECLARED_META, None), "table_name", None) is not None


def connection(model: AnyModel) -> TableConnection:
    """The connection to a model's table in the current app.

    :param model: The model.
    :raises RuntimeError: if no app is current.
    :raises AttributeError: if the model has no ``Meta`` or no table name.
    :raises ConfigError: if a value that the model declares is invalid.
    """
    declared = declared_meta(model)

    if getattr(declared, "table_name", None) is None:
        raise AttributeError(f"{_name_of(model)}.Meta has no 'table_name': a model needs one.")

    return context.state().bind(model, declared).connection


def _name_of(model: AnyModel) -> str:
    return escaped(f"{model.__module__}.{model.__qualname__}")
