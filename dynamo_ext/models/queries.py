"""Checks of queries and scans, made before they are sent.

They find what DynamoDB refuses in words that don't name the model, and what it silently answers
with nothing.
"""

from __future__ import annotations

import collections.abc as cabc
import functools
import inspect
import operator
import types
import typing as t
import weakref

import pynamodb
import pynamodb.models
from pynamodb import constants
from pynamodb.pagination import PageIterator

from .. import call_site
from ..client.connection import TableConnection
from ..printable import escaped
from . import hooks
from . import late_binding
from . import results
from . import usual_keys
from .late_binding import AnyModel

# By model, the names of the indexes of which a warning has been given.
_warned: weakref.WeakKeyDictionary[AnyModel, set[str]] = weakref.WeakKeyDictionary()

# The arguments of a query that can have no code of the app, and their types then.
_PLAIN_OPTIONS = frozenset({"consistent_read", "limit", "page_size", "scan_index_forward"})
_TYPES_OF_PLAIN_OPTIONS = frozenset({bool, int, types.NoneType})

_DECODE = "from_raw_data"
_Stock: t.Any = pynamodb.models.Model
_methods_of = operator.attrgetter("_get_connection.__func__", "_serialize_keys.__func__")
_iterators_of = operator.attrgetter(
    "models.ResultIterator", "models.ResultIterator.__init__", "pagination.PageIterator"
)
_methods_of_stock = operator.attrgetter("query.__func__", "_serialize_keys.__func__")
# As they are when this module is imported. A patch is code of the app.
_as_written: _AsWritten
_stock_methods = _methods_of_stock(_Stock)
_stock_iterators = _iterators_of(pynamodb)

if t.TYPE_CHECKING:
    _Model = pynamodb.models.Model
else:
    _Model = object


def _checked(name: str) -> t.Any:
    """PynamoDB's class method of a name, which gets the arguments as the caller gave them.

    :param name: The name of the method.
    """
    of_pynamodb: t.Any = getattr(pynamodb.models.Model, name).__func__
    _, *names = inspect.signature(of_pynamodb).parameters

    # Without annotations of its own: those of PynamoDB name classes of PynamoDB's modules.
    @functools.wraps(of_pynamodb, assigned=("__module__", "__name__", "__qualname__", "__doc__"))
    def checked(cls: t.Any, /, *args: t.Any, **kwargs: t.Any) -> t.Any:
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        index_name = given.get("index_name")

        if given.get("range_key_condition") is not None:
            _check_range_key(cls, index_name)

        if index_name is not None:
            _warn_if_discriminator_is_missing(cls, index_name)

        return results.of(getattr(super(ChecksQueries, cls), name)(*args, **kwargs))

    return classmethod(checked)


class ChecksQueries(_Model):
    """Refuses a condition on a range key that there is not, and warns where an index lacks the
    attribute that tells which items are of the model."""

    # Their signatures and documentation are PynamoDB's.
    if not t.TYPE_CHECKING:
        query = _checked("query")
        count = _checked("count")
        scan = _checked("scan")


class PlainQuery(t.NamedTuple):
    """What ``query`` has made of its arguments, which hold no code of the app."""

    table: TableConnection
    """The connection to its table."""

    pages: PageIterator[t.Any]
    decode: cabc.Callable[[t.Any], t.Any]
    """Makes an instance of an item as botocore gives it."""

    limit: int | None
    """How many items to give at most."""


class _AsWritten(t.NamedTuple):
    """What ``query`` uses of a model, and is not called here."""

    methods: tuple[t.Any, ...]
    from_raw_data: t.Any
    """The class method as it is stored."""


def note(model: AnyModel) -> None:
    """Note the base class of all models as it is now, so that overrides and patches are found.

    :param model: The class.
    """
    global _as_written
    _as_written = _AsWritten(_methods_of(model), hooks.stored(model, _DECODE))


def plain_query(
    model: AnyModel, args: tuple[t.Any, ...], kwargs: cabc.Mapping[str, t.Any]
) -> PlainQuery | None:
    """Begin a query of all items with a text for their hash key, as PynamoDB does, in fewer steps.

    :param model: The model, which has PynamoDB's ``query``.
    :param args: The arguments of that.
    :param kwargs: Its arguments by name.
    :return: The query; ``None`` if the method itself must begin it.
    """
    if len(args) != 1 or not _are_plain(kwargs):
        return None

    decode = _plain_decode(model)
    kind: t.Any = model

    if (
        decode is None
        or not usual_keys.is_sent_as_it_is(kind._hash_key_attribute(), *args)
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
    return PlainQuery(table, PageIterator(table.query, args, options), decode, limit)


def _are_plain(options: cabc.Mapping[str, t.Any]) -> bool:
    return not options or (
        _PLAIN_OPTIONS.issuperset(options)
        and _TYPES_OF_PLAIN_OPTIONS.issuperset(map(type, options.values()))
    )


def _plain_decode(model: t.Any) -> cabc.Callable[[t.Any], t.Any] | None:
    """What makes instances of a model, if nothing that ``query`` calls is overridden or patched."""
    try:
        is_as_written = (
            _methods_of(model) == _as_written.methods
            and _methods_of_stock(_Stock) == _stock_methods
            and _iterators_of(pynamodb) == _stock_iterators
        )
    except AttributeError:
        # One of them is no method any more.
        return None

    stored = hooks.stored(model, _DECODE)

    if not is_as_written or stored is not _as_written.from_raw_data:
        return None

    # Without looking for patches of attributes: that is done when a page is asked for.
    return types.MethodType(stored.__func__, model)


def _check_range_key(model: AnyModel, index_name: str | None) -> None:
    kind = t.cast(t.Any, model)

    if index_name is None:
        attributes = kind.get_attributes()
        what = repr(model.__name__)
    elif index_name in kind._indexes:
        attributes = kind._indexes[index_name].Meta.attributes
        what = f"The index {index_name!r} of {model.__name__!r}"
    else:
        return

    if not any(attribute.is_range_key for attribute in attributes.values()):
        raise ValueError(
            f"{escaped(what)} has no range key, but there is a 'range_key_condition': give it as"
            " 'filter_condition'."
        )


def _warn_if_discriminator_is_missing(model: AnyModel, index_name: str) -> None:
    """Warn once if a query of an index finds nothing whatever there is."""
    kind = t.cast(t.Any, model)
    discriminator = kind._get_discriminator_attribute()
    index = kind._indexes.get(index_name)

    if discriminator is None or index is None:
        return

    name = discriminator.attr_name

    if _projects(kind, index, name) or index_name in _warned.setdefault(model, set()):
        return

    _warned[model].add(index_name)
    call_site.warn(
        escaped(
            f"The index {index_name!r} of {model.__name__!r} does not project {name!r}, the"
            " discriminator, so a query or scan of it finds no item. Project the attribute: with"
            f" 'AllProjection()', or 'IncludeProjection([{name!r}, ...])'."
        ),
        UserWarning,
    )


def _projects(model: t.Any, index: t.Any, name: str) -> bool:
    """Whether an index holds an attribute, given its name in the table."""
    projection = index.Meta.projection

    if projection.projection_type == constants.ALL:
        return True

    attributes = [*model.get_attributes().values(), *index.Meta.attributes.values()]
    keys = {each.attr_name for each in attributes if each.is_hash_key or each.is_range_key}
    return name in keys or name in (projection.non_key_attributes or ())
