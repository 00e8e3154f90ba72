"""The keys that a caller gives: checked and serialised before anything is sent."""

from __future__ import annotations

import collections.abc as cabc
import decimal
import typing as t

import pynamodb.models

from ..calls import items
from ..printable import escaped
from . import usual_keys
from .late_binding import AnyModel
from .usual_keys import Key

# What PynamoDB calls a method of a model with that wants the hash key alone.
_NOT_ASKED_FOR: t.Any = object()

if t.TYPE_CHECKING:
    _Model = pynamodb.models.Model
else:
    _Model = object


class ChecksKeys(_Model):
    """Refuses a range key of a model that has none, and a key that is missing.

    A read by the hash key alone is left to DynamoDB, which refuses it in clear words. An instance
    is not: PynamoDB serialises what it lacks, to the number ``null`` for one.
    """

    @classmethod
    def _serialize_keys(
        cls, hash_key: t.Any, range_key: t.Any = _NOT_ASKED_FOR
    ) -> tuple[t.Any, t.Any]:
        """Serialise a key, for ``get``, the reads and checks of transactions, and batches.

        A query wants the hash key alone.
        """
        if range_key is _NOT_ASKED_FOR:
            return super()._serialize_keys(hash_key)

        _check(cls, hash_key, range_key, needs_both=False)
        return super()._serialize_keys(hash_key, range_key)

    def _get_hash_range_key_serialized_values(self) -> tuple[t.Any, t.Any | None]:
        """Serialise the key of an instance, for ``update``, ``delete`` and ``refresh``."""
        check_item(self)
        return super()._get_hash_range_key_serialized_values()


_serialize_keys: t.Any = t.cast(t.Any, ChecksKeys)._serialize_keys.__func__


def check_item(item: pynamodb.models.Model) -> None:
    """Check that an instance has its whole key.

    :param item: The instance.
    :raises ValueError: if a part is missing.
    """
    names = _names(type(item))
    hash_key, range_key = (None if name is None else getattr(item, name) for name in names)
    _check(type(item), hash_key, range_key, needs_both=True)


def _check(model: AnyModel, hash_key: t.Any, range_key: t.Any, *, needs_both: bool) -> None:
    """
    :raises ValueError: if a key is missing, or the model has no such key.
    """
    kind: t.Any = model
    has_hash_key = kind._hash_key_attribute() is not None
    has_range_key = kind._range_key_attribute() is not None

    # Each call passes here: names are looked for only where something is wrong.
    if (hash_key is not None) is has_hash_key and (range_key is not None) is has_range_key:
        return

    hash_name, range_name = _names(model)

    for argument, name, value, is_needed in (
        ("hash_key", hash_name, hash_key, True),
        ("range_key", range_name, range_key, needs_both),
    ):
        if name is not None and value is None and is_needed:
            raise ValueError(
                f"{_name_of(model)} has the {_in_words(argument)} {name!r}, but '{argument}' was"
                " not given."
            )

        if name is None and value is not None:
            raise ValueError(
                f"{_name_of(model)} has no {_in_words(argument)}, but '{argument}' is {value!r}:"
                " leave it out."
            )


def _names(model: AnyModel) -> tuple[str | None, str | None]:
    """The names of a model's hash key and range key, as attributes of the model."""
    hash_name = range_name = None
    attributes = t.cast("dict[str, t.Any]", model.get_attributes())

    for name, attribute in attributes.items():
        if attribute.is_hash_key:
            hash_name = name
        elif attribute.is_range_key:
            range_name = name

    return hash_name, range_name


def serialized_keys(model: AnyModel, keys: cabc.Iterable[t.Any]) -> tuple[Key, ...]:
    """The keys of a batch, as DynamoDB takes them. Each is there once.

    :param model: The model.
    :param keys: Hash keys or, if the model has a range key, pairs of both; or dictionaries of what
        makes a key, by the names of the model's attributes.
    :raises ValueError: if a key is not of that form.
    """
    kind = t.cast(t.Any, model)
    keys = list(keys)
    is_ours = getattr(kind._serialize_keys, "__func__", None) is _serialize_keys

    if is_ours and (usual := usual_keys.serialized(kind, keys)) is not None:
        return usual

    names = [name for name in _names(model) if name is not None]
    attributes = [kind.get_attributes()[name] for name in names]
    unique: dict[tuple[cabc.Hashable, ...], Key] = {}

    for key in keys:
        values = _values(names, key)

        if values and values[0] is not None:
            _check(model, *values, *[None] * (2 - len(names)), needs_both=True)

        serialized = () if values is None else kind._serialize_keys(*values)
        # A hash key alone comes with None.
        typed = [
            (attribute.attr_name, attribute.attr_type, value)
            for attribute, value in zip(attributes, serialized, strict=False)
        ]
        identity = tuple(_scalar(attr_type, value) for _, attr_type, value in typed)

        if not identity or None in identity:
            raise _invalid(model, names, key)

        if identity not in unique:
            unique[identity] = {name: {attr_type: value} for name, attr_type, value in typed}

    return tuple(unique.values())


def _values(names: list[str], key: t.Any) -> tuple[t.Any, ...] | None:
    """The values that make a key, in the order of their names; ``None`` if it has other ones."""
    if isinstance(key, cabc.Mapping):
        values = t.cast(t.Any, key)
        return tuple(values[name] for name in names) if {*values} == {*names} else None

    if len(names) == 1:
        return (key,)

    # A set has no order, and a text is one value.
    if not isinstance(key, cabc.Iterable) or isinstance(key, (str, bytes, bytearray, cabc.Set)):
        return None

    pair: tuple[t.Any, ...] = tuple(t.cast(t.Any, key))
    return pair if len(pair) == len(names) else None


def _scalar(attr_type: str, value: t.Any) -> cabc.Hashable | None:
    """A serialised value in a form that equals that of the same value; ``None`` if it can't be part
    of a key."""
    match attr_type, value:
        case "S", str():
            return value
        case "N", str():
            return _number(value)
        case "B", str():
            # botocore takes text for binary values, too.
            return value.encode()
        case "B", bytes() | bytearray():
            return bytes(value)
        case _:
            return None


def _number(text: str) -> decimal.Decimal | None:
    try:
        return items.number(text)
    except decimal.InvalidOperation:
        return None


def _invalid(model: AnyModel, names: list[str], key: t.Any) -> ValueError:
    example = "{" + ", ".join(f"{name!r}: ..." for name in names) + "}"

    if len(names) == 1:
        what, why = "the value of a hash key", "no range key"
    else:
        # PynamoDB's words.
        kind = "non-str iterable" if isinstance(key, str) else "iterable"
        what, why = f"{kind} with exactly 2 elements (hash key, range key)", "a range key"

    return ValueError(
        f"Invalid key value {key!r}: expected {what} or a dictionary {example}, for"
        f" {_name_of(model)} has {why}"
    )


def _in_words(argument: str) -> str:
    return argument.replace("_", " ")


def _name_of(model: AnyModel) -> str:
    return escaped(repr(model.__name__))
