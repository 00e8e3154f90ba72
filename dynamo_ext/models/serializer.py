"""Serialises items to values that any JSON library takes.

The keys are those of PynamoDB's ``to_simple_dict``, which can't tell bytes and sets from text and
lists, and gives times in the form in which they are stored. Here, times are ISO 8601 in UTC, bytes
are base64, sets are sorted lists, and a JSON attribute is the value that it holds.
"""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import datetime
import inspect
import json
import typing as t
import weakref

import pynamodb.models
from pynamodb.attributes import Attribute
from pynamodb.attributes import AttributeContainer
from pynamodb.attributes import BinaryAttribute
from pynamodb.attributes import BinarySetAttribute
from pynamodb.attributes import BooleanAttribute
from pynamodb.attributes import DynamicMapAttribute
from pynamodb.attributes import JSONAttribute
from pynamodb.attributes import ListAttribute
from pynamodb.attributes import MapAttribute
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import NumberSetAttribute
from pynamodb.attributes import TTLAttribute
from pynamodb.attributes import UnicodeSetAttribute
from pynamodb.attributes import UTCDateTimeAttribute
from pynamodb.attributes import VersionAttribute
from pynamodb.constants import BINARY
from pynamodb.constants import BINARY_SET
from pynamodb.constants import LIST
from pynamodb.constants import MAP
from pynamodb.constants import NULL
from pynamodb.constants import NUMBER
from pynamodb.constants import NUMBER_SET
from pynamodb.constants import STRING
from pynamodb.constants import STRING_SET

from ..errors import ConfigError
from . import late_binding
from .item_json import as_base64

Form = cabc.Callable[[t.Any, t.Any], t.Any]

_UTC = datetime.UTC
_BINARY = (BinaryAttribute, BinarySetAttribute)
_TIMES = (TTLAttribute, UTCDateTimeAttribute)
_NUMBERS = frozenset({bool, float, int})
_SCALARS = frozenset({*_NUMBERS, str})
# Stands for a value that DynamoDB does not store, as an empty set: its key is left out.
_NOTHING: t.Final = object()
# PynamoDB puts an empty map of this name into a dynamic map that it reads.
_ATTRIBUTE_VALUES = "attribute_values"
# By function: whether it takes ``force``.
_TAKES_FORCE: weakref.WeakKeyDictionary[t.Any, bool] = weakref.WeakKeyDictionary()
# Kept here, so that a patch is noticed.
_to_simple_dict = AttributeContainer.to_simple_dict


def to_json_dict(
    item: AttributeContainer,
    *,
    include: cabc.Iterable[str] | None = None,
    exclude: cabc.Iterable[str] | None = None,
) -> dict[str, t.Any]:
    """The values of a model or a map, as any JSON library takes them.

    :param item: The model or the map. It may be one of PynamoDB's own.
    :param include: The names of the attributes that are wanted; ``None`` for those that the model's
        ``Meta`` leaves.
    :param exclude: The names of attributes that are not wanted.
    :return: The values, by the names that they have in DynamoDB.
    :raises ValueError: if a name is not an attribute's.
    :raises ConfigError: if a name in the model's ``Meta`` is not an attribute's.
    """
    if isinstance(item, MapAttribute):
        form: dict[str, t.Any] = _form(item, item)
        return form

    names = _wanted(item, include, exclude)
    own = item.to_simple_dict

    if getattr(own, "__func__", None) is _to_simple_dict or not callable(own):
        return _of_attributes(item, names)

    return _select(item, _called(own), names)


def untyped(value: t.Any) -> t.Any:
    """A value of a map or list that does not declare its type.

    :param value: The value: whatever PynamoDB stores in such a map or list.
    :return: The value, as any JSON library takes it.
    :raises ValueError: if PynamoDB can't store a value of this type.
    """
    if value is None or type(value) in _SCALARS:
        return value

    if isinstance(value, MapAttribute):
        return _form(value, value)

    container: t.Any = value

    if isinstance(value, dict):
        return {name: untyped(each) for name, each in container.items()}

    if isinstance(value, list):
        return [untyped(each) for each in container]

    if isinstance(value, (set, frozenset)):
        return _sorted(t.cast("set[t.Any]", value))

    if isinstance(value, bytes):
        return as_base64(value)

    raise ValueError(
        f"A map or list without declared types can't hold a {type(value).__name__!r}:"
        " PynamoDB does not store it."
    )


def iso_format(value: datetime.datetime) -> str:
    """A time in UTC, as ISO 8601. One without a time zone is in UTC, as PynamoDB takes it.

    :param value: The time.
    """
    aware = value.replace(tzinfo=_UTC) if value.tzinfo is None else value.astimezone(_UTC)
    return aware.isoformat()


def attributes_of(container: t.Any) -> dict[str, t.Any]:
    """The attributes of a model or a map, by their Python names.

    :param container: The class, or an instance.
    """
    attributes: dict[str, t.Any] = container.get_attributes()
    return attributes


def check_names(
    origin: str, names: t.Any, known: cabc.Collection[str], error: type[ValueError] = ValueError
) -> set[str]:
    """Names of attributes.

    :param origin: Where they stand, for messages.
    :param names: The names.
    :param known: The names that there are.
    :param error: What to raise.
    :return: The names.
    :raises ValueError: if they are not names, or one is unknown.
    """
    if isinstance(names, (str, bytes)) or not isinstance(names, cabc.Iterable):
        raise error(
            f"{origin} must be several names of attributes, like ['title'], but it is of type"
            f" {type(names).__name__!r}."
        )

    listed = [*t.cast(t.Any, names)]

    for name in listed:
        if not isinstance(name, str):
            raise error(
                f"{origin} must hold names of attributes, which are strings, but one is of type"
                f" {type(name).__name__!r}."
            )

        if name not in known:
            raise error(
                f"{origin} names {name!r}, which is not an attribute. There are:"
                f" {', '.join(sorted(known))}."
            )

    return set(listed)


def _wanted(
    item: AttributeContainer,
    include: cabc.Iterable[str] | None,
    exclude: cabc.Iterable[str] | None,
) -> cabc.Set[str]:
    """The names of the attributes that are wanted."""
    known = attributes_of(item).keys()
    wanted = (
        _wanted_by_meta(type(item), known)
        if include is None
        else check_names("'include'", include, known)
    )
    return wanted if exclude is None else wanted - check_names("'exclude'", exclude, known)


def _wanted_by_meta(kind: type[AttributeContainer], known: cabc.Set[str]) -> cabc.Set[str]:
    if not issubclass(kind, pynamodb.models.Model):
        return known

    try:
        meta = late_binding.declared_meta(kind)
    except AttributeError:
        return known

    included: t.Any = getattr(meta, "json_include", None)
    excluded: t.Any = getattr(meta, "json_exclude", None)
    wanted = known

    if included is not None:
        wanted = check_names(_origin(kind, "json_include"), included, known, ConfigError)

    if excluded is not None:
        wanted = wanted - check_names(_origin(kind, "json_exclude"), excluded, known, ConfigError)

    return wanted


def _origin(kind: type[AttributeContainer], name: str) -> str:
    return f"'{kind.__name__}.Meta.{name}'"


def _called(to_simple_dict: cabc.Callable[..., dict[str, t.Any]]) -> dict[str, t.Any]:
    """Call a model's own method. Without ``force``, PynamoDB's refuses bytes and sets."""
    return to_simple_dict(force=True) if _takes_force(to_simple_dict) else to_simple_dict()


def _takes_force(method: cabc.Callable[..., t.Any]) -> bool:
    """Whether a method has the parameter ``force``: found out once for each function, not for each
    item. A class that is patched has another function."""
    function: t.Any = getattr(method, "__func__", method)

    # Not every callable object can be hashed, or referred to weakly.
    with contextlib.suppress(TypeError):
        if function not in _TAKES_FORCE:
            _TAKES_FORCE[function] = _finds_force(method)

        return _TAKES_FORCE[function]

    return _finds_force(method)


def _finds_force(method: cabc.Callable[..., t.Any]) -> bool:
    parameters = inspect.signature(method).parameters.values()
    return any(each.name == "force" or each.kind is each.VAR_KEYWORD for each in parameters)


def _select(
    item: AttributeContainer, values: dict[str, t.Any], names: cabc.Set[str]
) -> dict[str, t.Any]:
    """What a model's own ``to_simple_dict`` gives, without the attributes that are not wanted."""
    unwanted = {
        attribute.attr_name for name, attribute in attributes_of(item).items() if name not in names
    }
    return {key: value for key, value in values.items() if key not in unwanted}


def _of_attributes(
    item: AttributeContainer, names: cabc.Set[str] | None = None
) -> dict[str, t.Any]:
    form: dict[str, t.Any] = {}

    for name, attribute in attributes_of(item).items():
        if names is None or name in names:
            value = getattr(item, name)

            if value is not None and (each := _form(attribute, value)) is not _NOTHING:
                form[attribute.attr_name] = each

    return form


def _form(attribute: t.Any, value: t.Any) -> t.Any:
    """The form of an attribute's value, which is found by how the attribute serialises it: where
    that is overridden or patched, the value is given as it is stored."""
    serialize = getattr(attribute.serialize, "__func__", None)
    return _FORMS.get(serialize, _as_stored)(attribute, value)


def _as_stored(attribute: t.Any, value: t.Any) -> t.Any:
    if isinstance(attribute, _TIMES) and isinstance(value, datetime.datetime):
        return iso_format(value)

    if isinstance(attribute, (ListAttribute, MapAttribute)):
        stored = t.cast(t.Any, attribute).serialize(value, null_check=False)
    else:
        stored = attribute.serialize(value)

    if stored is None:
        return _NOTHING

    if isinstance(attribute, JSONAttribute) and isinstance(stored, str):
        return json.loads(stored, strict=False)

    return _of_stored(attribute.attr_type, stored)


def _of_stored(kind: str, stored: t.Any) -> t.Any:
    """The form of a value that botocore would send."""
    if kind == NULL:
        return None
    if kind == NUMBER:
        return json.loads(stored)
    if kind == BINARY:
        return as_base64(stored)
    if kind == NUMBER_SET:
        return sorted(map(json.loads, stored))
    if kind in {BINARY_SET, STRING_SET}:
        return _sorted(stored)
    if kind == LIST:
        return [_of_stored(*pair) for each in stored for pair in each.items()]
    if kind == MAP:
        return {name: _of_stored(*pair) for name, each in stored.items() for pair in each.items()}
    return stored


def _text(attribute: t.Any, value: t.Any) -> t.Any:
    # A class of the user's may store what it is given as another type.
    return value if attribute.attr_type == STRING else _as_stored(attribute, value)


def _boolean(attribute: t.Any, value: t.Any) -> bool:
    return bool(value)


def _number(attribute: t.Any, value: t.Any) -> t.Any:
    return value if type(value) in _NUMBERS else _as_stored(attribute, value)


def _version(attribute: t.Any, value: t.Any) -> int:
    return int(value)


def _set(attribute: t.Any, value: t.Any) -> t.Any:
    return _sorted(value) if value else _NOTHING


def _bytes(attribute: t.Any, value: t.Any) -> str:
    return as_base64(value)


def _time(attribute: t.Any, value: t.Any) -> str:
    return iso_format(value)


def _expiry(attribute: t.Any, value: t.Any) -> str:
    seconds = json.loads(attribute.serialize(value))
    return datetime.datetime.fromtimestamp(seconds, _UTC).isoformat()


def _json(attribute: t.Any, value: t.Any) -> t.Any:
    return value if type(value) in _SCALARS else json.loads(json.dumps(value))


def _list(attribute: t.Any, values: t.Any) -> list[t.Any]:
    if attribute.element_type is None:
        return [untyped(each) for each in values]

    element = element_of(attribute)
    return [_of_element(element, each) for each in values]


def element_of(attribute: t.Any) -> Attribute[t.Any]:
    """An attribute of the kind that a list has.

    :param attribute: The list, with a type of its elements.
    """
    kind = attribute.element_type
    element: Attribute[t.Any] = kind(legacy_encoding=False) if issubclass(kind, _BINARY) else kind()
    return element


def _of_element(element: t.Any, value: t.Any) -> t.Any:
    if value is None:
        return None

    form = _form(value if isinstance(value, Attribute) else element, value)
    return None if form is _NOTHING else form


def _map(attribute: t.Any, value: t.Any) -> dict[str, t.Any]:
    if attribute.is_raw():
        return {name: untyped(value[name]) for name in value}

    return _of_attributes(_instance(attribute, value))


def _dynamic_map(attribute: t.Any, value: t.Any) -> dict[str, t.Any]:
    item = _instance(attribute, value)
    return {
        **_of_attributes(item),
        **{name: untyped(each) for name, each in undeclared(item).items()},
    }


def undeclared(item: t.Any) -> dict[str, t.Any]:
    """What a dynamic map holds that its class does not declare.

    :param item: The map.
    """
    declared = item.get_attributes().keys() | {_ATTRIBUTE_VALUES}
    return {name: item[name] for name in item if name not in declared}


def _instance(attribute: t.Any, value: t.Any) -> t.Any:
    """A map of its class, as PynamoDB makes one of a dictionary in order to store it."""
    kind: t.Any = attribute.__class__

    if isinstance(value, kind):
        return value

    instance = kind()
    instance.attribute_values = {}

    for name in value:
        if attribute.is_raw() or name in attribute.get_attributes():
            setattr(instance, name, value[name])

    return instance


def _sorted(values: cabc.Iterable[t.Any]) -> list[t.Any]:
    return sorted(as_base64(each) if isinstance(each, bytes) else each for each in values)


_FORMS: dict[t.Any, Form] = {
    Attribute.serialize: _text,
    BinaryAttribute.serialize: _bytes,
    BinarySetAttribute.serialize: _set,
    BooleanAttribute.serialize: _boolean,
    DynamicMapAttribute.serialize: _dynamic_map,
    JSONAttribute.serialize: _json,
    ListAttribute.serialize: _list,
    MapAttribute.serialize: _map,
    NumberAttribute.serialize: _number,
    NumberSetAttribute.serialize: _set,
    TTLAttribute.serialize: _expiry,
    UnicodeSetAttribute.serialize: _set,
    UTCDateTimeAttribute.serialize: _time,
    VersionAttribute.serialize: _version,
}
"""By PynamoDB's own method that serialises a value: the form of the value."""
