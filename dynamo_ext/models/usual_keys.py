"""The keys of most calls, serialised in fewer steps: texts, and in batches whole numbers, too.

What is done for each key costs Python more than the key. So a key of texts is left as it is, and
each step for the keys of a batch is taken for all of them, by Python's functions in C.
"""

from __future__ import annotations

import collections.abc as cabc
import typing as t

import pynamodb.models
from pynamodb.attributes import Attribute
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.constants import NUMBER
from pynamodb.constants import STRING

Key = dict[str, dict[str, t.Any]]

_NUMBERS = frozenset({int})
_PAIRS = frozenset({list, tuple})
_TEXTS = frozenset({str})


class UsualKeys(tuple[Key, ...]):
    """Keys that are made of texts alone, by this project: to use them runs no code of the app."""

    __slots__ = ()


def text_key(model: t.Any, hash_key: t.Any, range_key: t.Any) -> tuple[str, str | None] | None:
    """The key of an item as its model serialises it, where that leaves it as it is.

    :param model: The model, of which nothing is overridden or patched: the caller has looked.
    :param hash_key: The hash key.
    :param range_key: The range key.
    :return: The same, if these are the texts that the model's key is made of; ``None`` otherwise.
    """
    range_attribute = model._range_key_attribute()

    if type(hash_key) is not str or type(model._hash_key_attribute()) is not UnicodeAttribute:
        return None

    if range_attribute is None:
        return None if range_key is not None else (hash_key, None)

    if type(range_key) is not str or type(range_attribute) is not UnicodeAttribute:
        return None

    return hash_key, range_key


def is_sent_as_it_is(attribute: t.Any, value: t.Any) -> bool:
    """Whether a value of a key is a text, which is sent as it is.

    :param attribute: The attribute of the key; ``None`` if the model has none.
    :param value: The value.
    """
    return (
        type(value) is str
        and attribute is not None
        and _function_of(attribute) is _serialize_as_it_is
        and attribute.attr_type == STRING
    )


class _Part(t.NamedTuple):
    """How one attribute of a key is serialised."""

    name: str
    attribute_type: str
    kinds: frozenset[type]
    """The one class of its usual values."""

    write: cabc.Callable[[t.Any], str] | None
    """Serialises a value; ``None`` if that is sent as it is."""

    def are_usual(self, values: cabc.Iterable[t.Any]) -> bool:
        """Whether all values are usual ones."""
        return self.kinds.issuperset(map(type, values))

    def written(self, values: cabc.Iterable[t.Any]) -> cabc.Iterable[str]:
        """The values, serialised."""
        return values if self.write is None else map(self.write, values)


def serialized(model: t.Any, keys: cabc.Sequence[t.Any]) -> UsualKeys | None:
    """The keys of a batch, as DynamoDB takes them. Each is there once.

    :param model: The model, whose ``_serialize_keys`` is this project's.
    :param keys: The keys.
    :return: The serialised keys; ``None`` if one of them is unusual, or the model or an attribute
        might serialise them in a way of its own.
    """
    stock: t.Any = pynamodb.models.Model

    if getattr(stock._serialize_keys, "__func__", None) is not _serialize_keys:
        return None

    hash_attribute, range_attribute = model._hash_key_attribute(), model._range_key_attribute()
    hash_key = None if hash_attribute is None else _part(hash_attribute)

    if hash_key is None:
        return None

    if range_attribute is None:
        return _of_hash_keys(hash_key, keys)

    range_key = _part(range_attribute)
    return None if range_key is None else _of_pairs(hash_key, range_key, keys)


def _function_of(attribute: t.Any) -> t.Any:
    """What serialises the values of an attribute: another function than PynamoDB's if that is
    overridden, patched, or hidden by something on the attribute itself."""
    return getattr(attribute.serialize, "__func__", None)


def _part(attribute: t.Any) -> _Part | None:
    serialize = _function_of(attribute)
    name, attribute_type = attribute.attr_name, attribute.attr_type

    if type(name) is not str:
        return None

    if serialize is _serialize_as_it_is and attribute_type == STRING:
        return _Part(name, attribute_type, _TEXTS, None)

    if serialize is _serialize_number and attribute_type == NUMBER:
        return _Part(name, attribute_type, _NUMBERS, repr)

    return None


def _of_hash_keys(part: _Part, keys: cabc.Sequence[t.Any]) -> UsualKeys | None:
    if not part.are_usual(keys):
        return None

    name, kind = part.name, part.attribute_type
    return UsualKeys([{name: {kind: value}} for value in part.written(dict.fromkeys(keys))])


def _of_pairs(one: _Part, other: _Part, keys: cabc.Sequence[t.Any]) -> UsualKeys | None:
    if not keys:
        return UsualKeys()

    if not _PAIRS.issuperset(map(type, keys)):
        return None

    try:
        hash_keys, range_keys = zip(*keys, strict=True)
    except ValueError:
        # One is no pair.
        return None

    if not one.are_usual(hash_keys) or not other.are_usual(range_keys):
        return None

    unique = dict.fromkeys(zip(hash_keys, range_keys, strict=True))

    if len(unique) < len(keys):
        hash_keys, range_keys = zip(*unique, strict=True)

    hash_name, hash_type = one.name, one.attribute_type
    range_name, range_type = other.name, other.attribute_type
    return UsualKeys(
        [
            {hash_name: {hash_type: hash_key}, range_name: {range_type: range_key}}
            for hash_key, range_key in zip(
                one.written(hash_keys), other.written(range_keys), strict=True
            )
        ]
    )


# As they are when this project is imported, so that a patch is noticed.
_serialize_keys: t.Any = t.cast(t.Any, pynamodb.models.Model)._serialize_keys.__func__
_serialize_as_it_is: t.Any = t.cast(t.Any, Attribute).serialize
_serialize_number: t.Any = NumberAttribute.serialize
