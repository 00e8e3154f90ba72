"""Queries that begin without PynamoDB's ``query``: of all items with a text for their hash key.

What begins here is what PynamoDB begins, in fewer steps. Where the app overrides or patches
anything that PynamoDB would call, there is no such way. To send a query is not the matter of this
module.
"""

from __future__ import annotations

import collections.abc as cabc
import operator
import types
import typing as t

import pynamodb
import pynamodb.models
from pynamodb.pagination import PageIterator

from ..client.connection import TableConnection
from . import hooks
from . import late_binding
from . import usual_keys
from .late_binding import AnyModel
from .model import Model

# The arguments that can have no code of the app, and their types then.
_OPTIONS = frozenset({"consistent_read", "limit", "page_size", "scan_index_forward"})
_TYPES_OF_OPTIONS = frozenset({bool, int, types.NoneType})

_DECODE = "from_raw_data"
_Stock: t.Any = pynamodb.models.Model
_methods_of = operator.attrgetter("_get_connection.__func__", "_serialize_keys.__func__")
_methods_of_stock = operator.attrgetter("query.__func__", "_serialize_keys.__func__")
_iterators_of = operator.attrgetter(
    "models.ResultIterator", "models.ResultIterator.__init__", "pagination.PageIterator"
)
# What PynamoDB's method would use, and is not called here, as it is when this module is imported.
# A patch is code of the app.
_methods = _methods_of(Model)
_stock_methods = _methods_of_stock(_Stock)
_iterators = _iterators_of(pynamodb)
_from_raw_data: t.Any = hooks.stored(Model, _DECODE)


class PlainQuery(t.NamedTuple):
    """What ``query`` has made of its arguments, which hold no code of the app."""

    table: TableConnection
    """The connection to its table."""

    pages: PageIterator[t.Any]
    decode: cabc.Callable[[t.Any], t.Any]
    """Makes an instance of an item as botocore gives it."""

    limit: int | None
    """How many items to give at most."""


def begin(
    model: AnyModel, args: tuple[t.Any, ...], kwargs: cabc.Mapping[str, t.Any]
) -> PlainQuery | None:
    """Begin a query.

    :param model: The model, which has PynamoDB's ``query``.
    :param args: The arguments of that.
    :param kwargs: Its arguments by name.
    :return: The query; ``None`` if the method itself must begin it.
    """
    if len(args) != 1 or not _are_plain(kwargs) or not _is_as_written(model):
        return None

    kind: t.Any = model

    if (
        not usual_keys.is_sent_as_it_is(kind._hash_key_attribute(), *args)
        or kind._get_discriminator_attribute() is not None
    ):
        return None

    table = late_binding.connection(model)

    if table.has_changes:
        return None

    limit: int | None = kwargs.get("limit")
    page_size: int | None = kwargs.get("page_size")
    options: dict[str, t.Any] = {
        "range_key_condition": None,
        "filter_condition": None,
        "index_name": None,
        "exclusive_start_key": None,
        "consistent_read": kwargs.get("consistent_read", False),
        "scan_index_forward": kwargs.get("scan_index_forward"),
        "limit": limit if page_size is None else page_size,
        "attributes_to_get": None,
    }
    return PlainQuery(
        table=table,
        pages=PageIterator(table.query, args, options),
        # Patches of attributes are looked for when a page is asked for.
        decode=types.MethodType(_from_raw_data.__func__, model),
        limit=limit,
    )


def _are_plain(options: cabc.Mapping[str, t.Any]) -> bool:
    return not options or (
        _OPTIONS.issuperset(options) and _TYPES_OF_OPTIONS.issuperset(map(type, options.values()))
    )


def _is_as_written(model: t.Any) -> bool:
    """Whether nothing that PynamoDB's method would use is overridden or patched."""
    try:
        return (
            _methods_of(model) == _methods
            and _methods_of_stock(_Stock) == _stock_methods
            and _iterators_of(pynamodb) == _iterators
            and hooks.stored(model, _DECODE) is _from_raw_data
        )
    except AttributeError:
        # One of them is no method any more.
        return False
