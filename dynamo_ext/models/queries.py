"""Checks of queries and scans, made before they are sent.

They find what DynamoDB refuses in words that don't name the model, and what it silently answers
with nothing.
"""

from __future__ import annotations

import functools
import inspect
import typing as t
import weakref

import pynamodb.models
from pynamodb import constants

from .. import call_site
from ..printable import escaped
from . import results
from .late_binding import AnyModel

# By model, the names of the indexes of which a warning has been given.
_warned: weakref.WeakKeyDictionary[AnyModel, set[str]] = weakref.WeakKeyDictionary()

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
