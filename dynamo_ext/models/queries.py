"""Checks of queries and scans, made before they are sent.

They find what DynamoDB refuses in words that don't name the model, and what it silently answers
with nothing.
"""

from __future__ import annotations

import collections.abc as cabc
import functools
import inspect
import typing as t
import weakref

import pynamodb.models
from pynamodb import constants
from pynamodb.expressions.condition import Condition
from pynamodb.pagination import ResultIterator as SyncResultIterator

from .. import call_site
from ..printable import escaped
from .late_binding import AnyModel

F = t.TypeVar("F", bound=cabc.Callable[..., t.Any])
_Key = dict[str, dict[str, t.Any]]

# By model, the names of the indexes of which a warning has been given.
_warned: weakref.WeakKeyDictionary[AnyModel, set[str]] = weakref.WeakKeyDictionary()

if t.TYPE_CHECKING:
    _Model = pynamodb.models.Model
else:
    _Model = object


def _checked(declared: F) -> F:
    """PynamoDB's method of this name, which gets the arguments as the caller gave them.

    :param declared: Its parameters and documentation.
    """
    _, *names = inspect.signature(declared).parameters

    @functools.wraps(declared)
    def checked(cls: t.Any, /, *args: t.Any, **kwargs: t.Any) -> t.Any:
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        index_name = given.get("index_name")

        if given.get("range_key_condition") is not None:
            _check_range_key(cls, index_name)

        if index_name is not None:
            _warn_if_discriminator_is_missing(cls, index_name)

        return getattr(super(ChecksQueries, cls), declared.__name__)(*args, **kwargs)

    return t.cast(F, checked)


class ChecksQueries(_Model):
    """Refuses a condition on a range key that there is not, and warns where an index lacks the
    attribute that tells which items are of the model."""

    @classmethod
    @_checked
    def query(
        cls,
        hash_key: t.Any,
        range_key_condition: Condition | None = None,
        filter_condition: Condition | None = None,
        consistent_read: bool = False,
        index_name: str | None = None,
        scan_index_forward: bool | None = None,
        limit: int | None = None,
        last_evaluated_key: _Key | None = None,
        attributes_to_get: cabc.Iterable[str] | None = None,
        page_size: int | None = None,
        rate_limit: float | None = None,
    ) -> SyncResultIterator[t.Self]:
        """Query the table or an index. Nothing is sent before the first item is asked for.

        :param hash_key: The hash key.
        :param range_key_condition: A condition on the range key.
        :param filter_condition: Which of the items to give.
        :param consistent_read: Whether to read consistently.
        :param index_name: The index; ``None`` for the table.
        :param scan_index_forward: Whether in ascending order of the range key, which is the
            default.
        :param limit: How many items to give at most.
        :param last_evaluated_key: Where to start: after the item with this key.
        :param attributes_to_get: The names of the attributes to read; ``None`` for all.
        :param page_size: How many items a request examines at most.
        :param rate_limit: The capacity units to consume per second at most.
        :return: The items. To iterate raises :exc:`pynamodb.exceptions.QueryError` if a call fails.
        :raises ValueError: if there is a condition on the range key, but no range key.
        """
        raise NotImplementedError

    @classmethod
    @_checked
    def count(
        cls,
        hash_key: t.Any | None = None,
        range_key_condition: Condition | None = None,
        filter_condition: Condition | None = None,
        consistent_read: bool = False,
        index_name: str | None = None,
        limit: int | None = None,
        rate_limit: float | None = None,
    ) -> int:
        """Count items.

        :param hash_key: The hash key; ``None`` for DynamoDB's own figure of the whole table, which
            it updates about every six hours.
        :param range_key_condition: A condition on the range key.
        :param filter_condition: Which of the items to count.
        :param consistent_read: Whether to read consistently.
        :param index_name: The index; ``None`` for the table.
        :param limit: How many items a request examines at most.
        :param rate_limit: The capacity units to consume per second at most.
        :return: How many there are.
        :raises ValueError: if there is a condition on the range key, but no range key; or a filter
            condition without a hash key.
        :raises pynamodb.exceptions.QueryError: if a call fails.
        """
        raise NotImplementedError

    @classmethod
    @_checked
    def scan(
        cls,
        filter_condition: Condition | None = None,
        segment: int | None = None,
        total_segments: int | None = None,
        limit: int | None = None,
        last_evaluated_key: _Key | None = None,
        page_size: int | None = None,
        consistent_read: bool | None = None,
        index_name: str | None = None,
        rate_limit: float | None = None,
        attributes_to_get: cabc.Sequence[str] | None = None,
    ) -> SyncResultIterator[t.Self]:
        """Scan the table or an index. Nothing is sent before the first item is asked for.

        :param filter_condition: Which of the items to give.
        :param segment: The number of the segment to scan, from 0, if only one is to be scanned.
        :param total_segments: Into how many segments the table is divided.
        :param limit: How many items to give at most.
        :param last_evaluated_key: Where to start: after the item with this key.
        :param page_size: How many items a request examines at most.
        :param consistent_read: Whether to read consistently.
        :param index_name: The index; ``None`` for the table.
        :param rate_limit: The capacity units to consume per second at most.
        :param attributes_to_get: The names of the attributes to read; ``None`` for all.
        :return: The items. To iterate raises :exc:`pynamodb.exceptions.ScanError` if a call fails.
        """
        raise NotImplementedError


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
