"""The keys of most batches, texts and whole numbers, serialised in few steps."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import typing as t

import pynamodb.models
from pynamodb.attributes import Attribute
from pynamodb.attributes import NumberAttribute
from pynamodb.constants import NUMBER
from pynamodb.constants import STRING

TypedValue = dict[str, t.Any]
Identity = tuple[cabc.Hashable, ...]
_class_of: cabc.Callable[[t.Any], type[t.Any]] = type
Serialize = cabc.Callable[[t.Any], tuple[Identity, dict[str, TypedValue]] | None]


@dataclasses.dataclass(frozen=True)
class _Part:
    """How one attribute of a key is serialised."""

    name: str
    attribute_type: str
    kind: type
    write: cabc.Callable[[t.Any], str] | None
    """Serialises a value; ``None`` if that is sent as it is."""

    def typed(self, value: t.Any) -> TypedValue:
        return {self.attribute_type: value if self.write is None else self.write(value)}


def serializer(model: t.Any, attributes: cabc.Sequence[t.Any]) -> Serialize:
    """A function that serialises a key of a model, and says what is equal for equal keys.

    It returns ``None`` for a key that is of an unusual form, and for all keys if the model or an
    attribute might serialise them in a way of its own.

    :param model: The model, whose ``_serialize_keys`` is this project's.
    :param attributes: The attributes that make its key, the hash key first.
    """
    stock = t.cast(t.Any, pynamodb.models.Model)
    own = model._hash_key_attribute(), model._range_key_attribute()
    parts = [_part(attribute) for attribute in attributes]

    if (
        getattr(stock._serialize_keys, "__func__", None) is not _serialize_keys
        or any(one is not other for one, other in zip(own, attributes, strict=False))
        or None in parts
    ):
        return _of_no_key

    match parts:
        case [_Part() as hash_key]:
            return _of_hash_key(hash_key)
        case [_Part() as hash_key, _Part() as range_key]:
            return _of_pair(hash_key, range_key)
        case _:
            return _of_no_key


def _part(attribute: t.Any) -> _Part | None:
    # Overridden, patched, or set on the attribute, it would be another function.
    serialize = getattr(attribute.serialize, "__func__", None)
    name, attribute_type = attribute.attr_name, attribute.attr_type

    if serialize is _serialize_as_it_is and attribute_type == STRING:
        return _Part(name, attribute_type, str, None)

    if serialize is _serialize_number and attribute_type == NUMBER:
        return _Part(name, attribute_type, int, repr)

    return None


def _of_no_key(key: t.Any) -> None:
    return None


def _of_hash_key(part: _Part) -> Serialize:
    def serialize(key: t.Any) -> tuple[Identity, dict[str, TypedValue]] | None:
        return ((key,), {part.name: part.typed(key)}) if type(key) is part.kind else None

    return serialize


def _of_pair(one: _Part, other: _Part) -> Serialize:
    one_name, one_type = one.name, one.attribute_type
    one_kind, one_write = one.kind, one.write
    other_name, other_type = other.name, other.attribute_type
    other_kind, other_write = other.kind, other.write

    def serialize(key: t.Any) -> tuple[Identity, dict[str, TypedValue]] | None:
        kind = _class_of(key)

        if (kind is not tuple and kind is not list) or len(key) != 2:
            return None

        hash_key, range_key = key

        if type(hash_key) is not one_kind or type(range_key) is not other_kind:
            return None

        one_text = hash_key if one_write is None else one_write(hash_key)
        other_text = range_key if other_write is None else other_write(range_key)
        typed = {one_name: {one_type: one_text}, other_name: {other_type: other_text}}
        return (hash_key, range_key), typed

    return serialize


# As they are when this project is imported, so that a patch is noticed.
_serialize_keys: t.Any = t.cast(t.Any, pynamodb.models.Model)._serialize_keys.__func__
_serialize_as_it_is: t.Any = t.cast(t.Any, Attribute).serialize
_serialize_number: t.Any = NumberAttribute.serialize
