"""Which models' calls run no code of the app, and so may be made in the hub.

A method that an app overrides may block the hub's thread, or hold a lock while a call is in flight.
"""

from __future__ import annotations

import typing as t
import weakref

import pynamodb.models
import pynamodb.signals
from pynamodb.attributes import Attribute
from pynamodb.attributes import AttributeContainer
from pynamodb.attributes import MapAttribute
from pynamodb.attributes import UnicodeAttribute

from dynamo_ext.models.model import Model

_OF_PYNAMODB = ("pynamodb.", "dynamo_ext.", "dynamo_ext_async.")
_HARMLESS = frozenset({"__annotate__", "__eq__", "__hash__", "__repr__", "__str__"})

_known: weakref.WeakKeyDictionary[type[t.Any], bool] = weakref.WeakKeyDictionary()


class _Declared(Model):
    hash_key = UnicodeAttribute(hash_key=True)
    range_key = UnicodeAttribute(range_key=True)


class _DeclaredMap(MapAttribute[t.Any, t.Any]):
    pass


def is_stock(kind: type[t.Any]) -> bool:
    """Whether a call of a model runs no code of the app.

    :param kind: The model.
    """
    return _is_plain(kind) and not _someone_listens()


def _someone_listens() -> bool:
    signals: t.Any = pynamodb.signals
    return bool(signals.pre_dynamodb_send.receivers or signals.post_dynamodb_send.receivers)


def _is_plain(kind: type[t.Any]) -> bool:
    is_plain = _known.get(kind)

    if is_plain is None:
        is_plain = _known[kind] = _looks_plain(kind, frozenset())

    return is_plain


def _looks_plain(kind: type[t.Any], outer: frozenset[type[t.Any]]) -> bool:
    is_map = issubclass(kind, MapAttribute)
    known = _names(_DeclaredMap if is_map else _Declared) | _HARMLESS
    inherited = frozenset(dir(MapAttribute if is_map else pynamodb.models.Model))
    own = {
        name
        for base in kind.__mro__
        if not _is_of_pynamodb(base)
        for name, value in vars(base).items()
        if callable(value) or hasattr(value, "__get__")
    }

    if own & inherited - known:
        return False

    # A map may hold itself.
    return all(_has_plain_values(each, outer | {kind}) for each in kind.get_attributes().values())


def _has_plain_values(attribute: Attribute[t.Any], outer: frozenset[type[t.Any]]) -> bool:
    kind: type[t.Any] = attribute.__class__
    kinds: list[type[t.Any]] = [kind, getattr(attribute, "element_type", None) or kind]
    return all(
        _is_of_pynamodb(kind)
        or kind in outer
        or (issubclass(kind, AttributeContainer) and _looks_plain(kind, outer))
        for kind in kinds
    )


def _names(kind: type) -> frozenset[str]:
    return frozenset(vars(kind))


def _is_of_pynamodb(kind: type) -> bool:
    return f"{kind.__module__}.".startswith(_OF_PYNAMODB) or kind in {object, t.Generic}
