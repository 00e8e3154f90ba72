"""pydantic models that are made of the attributes of PynamoDB's models."""

from __future__ import annotations

import base64
import collections.abc as cabc
import datetime
import types
import typing as t
import weakref

import pydantic
from pydantic_core import PydanticCustomError
from pynamodb.attributes import Attribute
from pynamodb.attributes import AttributeContainer
from pynamodb.attributes import BinaryAttribute
from pynamodb.attributes import BinarySetAttribute
from pynamodb.attributes import BooleanAttribute
from pynamodb.attributes import DiscriminatorAttribute
from pynamodb.attributes import DynamicMapAttribute
from pynamodb.attributes import JSONAttribute
from pynamodb.attributes import ListAttribute
from pynamodb.attributes import MapAttribute
from pynamodb.attributes import NullAttribute
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import NumberSetAttribute
from pynamodb.attributes import TTLAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.attributes import UnicodeSetAttribute
from pynamodb.attributes import UTCDateTimeAttribute
from pynamodb.attributes import VersionAttribute

from ..models import item_json
from ..models import serializer

Container = type[AttributeContainer]
Schema = type[pydantic.BaseModel]
AnyAttribute: t.TypeAlias = Attribute[t.Any]

_UTC = datetime.UTC
# What a JSON schema can show as a default.
_SHOWN_DEFAULTS = (bool, float, int, str)
# PynamoDB's attributes of these kinds refuse None, also where they may be unset.
_REFUSE_NONE = (DiscriminatorAttribute, VersionAttribute)


def pydantic_model(
    model: Container,
    *,
    name: str | None = None,
    include: cabc.Iterable[str] | None = None,
    exclude: cabc.Iterable[str] | None = None,
    optional: cabc.Iterable[str] = (),
) -> Schema:
    """Make a pydantic model of the attributes of a model.

    Its fields have the attributes' Python names, types and defaults. What it has validated becomes
    an item by ``Model(**schema.model_dump())``, and an item becomes a schema by
    ``Schema.model_validate(item)``.

    :param model: The model.
    :param name: The name of the pydantic model, and so of the component in an OpenAPI document;
        ``None`` for the model's name and ``Schema``.
    :param include: The names of the attributes that are wanted; ``None`` for all.
    :param exclude: The names of attributes that are not wanted.
    :param optional: The names of attributes that may be left out though the model needs them, as in
        a request that changes an item. Such a field is unset then:
        ``model_dump(exclude_unset=True)`` gives what the request has.
    :return: The pydantic model.
    :raises ValueError: if a name is not an attribute's.
    :raises TypeError: if ``model`` is not a model.
    """
    if not _is_model(model):
        raise TypeError(f"'pydantic_model' takes a model, which is a class, not {model!r}.")

    names = _wanted(model, include, exclude)
    unneeded = serializer.check_names("'optional'", optional, names)
    return _create(model, name or _name_of(model), names, unneeded)


def _is_model(value: t.Any) -> bool:
    return isinstance(value, type) and issubclass(value, AttributeContainer)


def _wanted(
    model: Container, include: cabc.Iterable[str] | None, exclude: cabc.Iterable[str] | None
) -> list[str]:
    known = _in_order_of_definition(model)
    included = known if include is None else serializer.check_names("'include'", include, known)
    excluded = () if exclude is None else serializer.check_names("'exclude'", exclude, known)
    return [name for name in known if name in included and name not in excluded]


def _in_order_of_definition(model: Container) -> list[str]:
    known = serializer.attributes_of(model)
    defined = [name for kind in reversed(model.__mro__) for name in vars(kind) if name in known]
    return list(dict.fromkeys([*defined, *known]))


def _name_of(model: Container) -> str:
    return f"{model.__name__}Schema"


def _create(
    model: Container, name: str, names: cabc.Iterable[str], optional: cabc.Container[str] = ()
) -> Schema:
    attributes = serializer.attributes_of(model)
    fields: dict[str, t.Any] = {}

    for each in names:
        field_name = _field_name(each, fields.keys() | attributes.keys())
        annotation, options = _field(model, attributes[each], each in optional)
        alias = None if field_name == each else each
        fields[field_name] = (annotation, pydantic.Field(alias=alias, **options))

    return pydantic.create_model(
        name,
        __base__=_DynamicSchema if issubclass(model, DynamicMapAttribute) else _Schema,
        __module__=model.__module__,
        __doc__=vars(model).get("__doc__"),
        **fields,
    )


class _Schema(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(
        from_attributes=True, protected_namespaces=(), serialize_by_alias=True
    )


def _field_name(name: str, taken: cabc.Container[str]) -> str:
    """The name of a field. Some names are pydantic's own: then the attribute's is an alias."""
    if not name.startswith("_") and not hasattr(pydantic.BaseModel, name):
        return name

    field_name = f"{name.strip('_')}_"

    while field_name in taken:
        field_name += "_"

    return field_name


def _field(
    model: Container, attribute: AnyAttribute, is_optional: bool
) -> tuple[t.Any, dict[str, t.Any]]:
    """An attribute's annotation and the options of its field."""
    if isinstance(attribute, DiscriminatorAttribute):
        return _discriminator(model, attribute)

    annotation: t.Any = _type_of(attribute)
    options = _default(attribute)

    if annotation is t.Any and not attribute.null:
        annotation = _Anything

    if attribute.null:
        annotation = annotation | None
        options = options or {"default": None}
    elif is_optional and not options:
        # Not None as a default that a document would show: it is no valid value.
        options = {
            "default_factory": _always(None),
            "exclude_if": _is_none,
            "validate_default": False,
        }

    return annotation, {**_exclusion(attribute), **options}


def _exclusion(attribute: AnyAttribute) -> dict[str, t.Any]:
    return {"exclude_if": _is_none} if isinstance(attribute, _REFUSE_NONE) else {}


def _default(attribute: AnyAttribute) -> dict[str, t.Any]:
    default: t.Any = t.cast(t.Any, attribute).default_for_new

    if default is None:
        default = t.cast(t.Any, attribute).default

    if default is None:
        return {}

    if isinstance(default, _SHOWN_DEFAULTS):
        return {"default": default}

    return {
        "default_factory": default if callable(default) else _always(default),
        "validate_default": True,
    }


def _not_none(value: t.Any) -> t.Any:
    if value is None:
        raise PydanticCustomError("none", "Input should not be None")

    return value


def _is_none(value: t.Any) -> bool:
    return value is None


def _always(value: t.Any) -> cabc.Callable[[], t.Any]:
    return lambda: value


def _type_of(attribute: AnyAttribute) -> t.Any:
    """The type of an attribute's value."""
    if (declared := _argument(getattr(attribute, "__orig_class__", None))) is not None:
        return _usable(declared)

    for kind in type(attribute).__mro__:
        if kind in _TYPES:
            return _TYPES[kind](attribute)

        if (declared := _declared_type(kind)) is not None:
            return _usable(declared)

    return t.Any


def _declared_type(kind: type) -> t.Any:
    """The type that an attribute class of the user's declares; ``None`` if it declares none."""
    for base in vars(kind).get("__orig_bases__", ()):
        if (argument := _argument(base)) is not None:
            return argument

    if (deserialize := vars(kind).get("deserialize")) is None:
        return None

    try:
        return t.get_type_hints(deserialize).get("return", t.Any)
    except Exception:
        # A name that can't be found from here.
        return t.Any


def _argument(generic: t.Any) -> t.Any:
    """The type in ``Attribute[...]``, or in an attribute class of the user's that is generic."""
    origin = t.get_origin(generic)

    if not isinstance(origin, type) or not issubclass(origin, Attribute):
        return None

    if origin is not Attribute and origin in _TYPES:
        return None

    argument = t.get_args(generic)[0]
    return None if isinstance(argument, t.TypeVar) else argument


def _usable(declared: t.Any) -> t.Any:
    """A type, if pydantic can validate it and describe it."""
    try:
        pydantic.TypeAdapter(declared).json_schema()
    except (pydantic.errors.PydanticUserError, NameError, TypeError):
        return t.Any

    return declared


def _from_base64(value: t.Any) -> t.Any:
    if not isinstance(value, str):
        return value

    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        raise PydanticCustomError("base64", "Input should be standard base64") from None


def _in_utc(value: datetime.datetime) -> datetime.datetime:
    if value.tzinfo is None:
        return value.replace(tzinfo=_UTC)

    try:
        return value.astimezone(_UTC)
    except OverflowError:
        raise PydanticCustomError("time_range", "Input is out of range in UTC") from None


def _from_now(value: t.Any) -> t.Any:
    return datetime.datetime.now(_UTC) + value if isinstance(value, datetime.timedelta) else value


def _expiry(value: datetime.datetime) -> datetime.datetime:
    if value.tzinfo is None:
        raise PydanticCustomError("timezone_aware", "Input should have timezone info")

    return _in_utc(value).replace(microsecond=0)


def _plain(value: t.Any) -> t.Any:
    """A value without declared types, as dictionaries and lists."""
    container: t.Any = value

    if isinstance(value, (MapAttribute, dict)):
        return {name: _plain(container[name]) for name in container}

    if isinstance(value, list):
        return [_plain(each) for each in container]

    return value


_Untyped = t.Annotated[t.Any, pydantic.PlainSerializer(serializer.untyped, when_used="json")]


class _DynamicSchema(_Schema):
    """Keeps what a map holds that its class does not declare."""

    model_config = pydantic.ConfigDict(extra="allow")

    __pydantic_extra__: dict[str, _Untyped]  # pyright: ignore[reportIncompatibleVariableOverride]

    @pydantic.model_validator(mode="before")
    @classmethod
    def _values_of(cls, value: t.Any) -> t.Any:
        if not isinstance(value, MapAttribute):
            return value

        item = t.cast(t.Any, value)
        declared = {name: getattr(item, name) for name in item.get_attributes()}
        return {**declared, **_plain(serializer.undeclared(item))}


# Not as text, which older releases of pydantic would look up in the modules of the maps.
_DynamicSchema.__annotations__["__pydantic_extra__"] = dict[str, _Untyped]


def _as_json(function: cabc.Callable[..., t.Any], type_: t.Any) -> pydantic.PlainSerializer:
    return pydantic.PlainSerializer(function, return_type=type_, when_used="json")


_Anything: t.Any = t.Annotated[t.Any, pydantic.AfterValidator(_not_none)]
_FILLED = pydantic.Field(min_length=1)
_Number = int | t.Annotated[float, pydantic.Field(allow_inf_nan=False)]
_Bytes = t.Annotated[
    bytes,
    pydantic.BeforeValidator(_from_base64),
    _as_json(item_json.as_base64, str),
    pydantic.WithJsonSchema({"type": "string", "format": "byte"}),
]
_IN_JSON = (
    _as_json(serializer.iso_format, str),
    pydantic.WithJsonSchema({"type": "string", "format": "date-time"}),
)
_Time = t.Annotated[datetime.datetime, pydantic.AfterValidator(_in_utc), *_IN_JSON]
_Expiry = t.Annotated[
    datetime.datetime,
    pydantic.BeforeValidator(_from_now),
    pydantic.AfterValidator(_expiry),
    *_IN_JSON,
]
_Map = t.Annotated[
    dict[str, t.Any],
    pydantic.BeforeValidator(_plain),
    _as_json(serializer.untyped, dict[str, t.Any]),
]
_List = t.Annotated[
    list[t.Any], pydantic.BeforeValidator(_plain), _as_json(serializer.untyped, list[t.Any])
]


def _text(attribute: AnyAttribute) -> t.Any:
    return _key(attribute, str)


def _bytes(attribute: AnyAttribute) -> t.Any:
    return _key(attribute, _Bytes)


def _key(attribute: AnyAttribute, type_: t.Any) -> t.Any:
    is_key = attribute.is_hash_key or attribute.is_range_key
    return t.Annotated[type_, _FILLED] if is_key else type_


def _set_of(element: t.Any, element_in_json: t.Any) -> cabc.Callable[[AnyAttribute], t.Any]:
    in_json = _as_json(serializer.untyped, types.GenericAlias(list, (element_in_json,)))

    def type_of(attribute: AnyAttribute) -> t.Any:
        type_: t.Any = t.Annotated[set[element], in_json]
        # DynamoDB has no empty set: where there must be one, it has elements.
        return type_ if attribute.null else t.Annotated[type_, _FILLED]

    return type_of


def _list_of(attribute: t.Any) -> t.Any:
    if attribute.element_type is None:
        return _List

    element = serializer.element_of(attribute)
    # An empty set would be stored as None, which is no element of this type.
    element.null = False
    return types.GenericAlias(list, (_type_of(element),))


def _map_of(attribute: t.Any) -> t.Any:
    kind: t.Any = attribute.__class__

    if kind is MapAttribute:
        return _Map

    field = _discriminator_of(kind)
    return _of_map(kind) if field is None else _one_of(kind, field)


def _discriminator_of(kind: Container) -> str | None:
    known = serializer.attributes_of(kind).items()
    return next((name for name, each in known if isinstance(each, DiscriminatorAttribute)), None)


_schemas: weakref.WeakKeyDictionary[type, Schema] = weakref.WeakKeyDictionary()


def _of_map(kind: Container) -> Schema:
    """The schema of a map: always the same one, so that it is one component of a document."""
    if (schema := _schemas.get(kind)) is None:
        names = _in_order_of_definition(kind)
        schema = _schemas[kind] = _create(kind, _name_of(kind), names)

    return schema


def _one_of(base: Container, field: str) -> t.Any:
    """The schemas of a map and of its subclasses. What is dumped for Python is the map itself:
    PynamoDB would make a map of the base class of a dictionary."""
    discriminator = serializer.attributes_of(base)[field]
    # A base that is not registered can't be stored.
    kinds: list[Container] = discriminator.get_registered_subclasses(base) or [base]
    tags: dict[t.Any, str] = {None: _tag(base)}

    for kind in kinds:
        tags[kind] = tags[discriminator.get_discriminator(kind)] = _tag(kind)

    def tag(value: t.Any) -> str | None:
        if isinstance(value, AttributeContainer):
            return tags.get(type(value))

        given: t.Any = value
        is_mapping = isinstance(value, cabc.Mapping)
        return tags.get(given.get(field) if is_mapping else getattr(given, field, None))

    schemas: list[t.Any] = [
        t.Annotated[_of_map(kind), _dumped_as(kind), pydantic.Tag(_tag(kind))] for kind in kinds
    ]
    union: t.Any = schemas[0]

    for schema in schemas[1:]:
        union = union | schema

    return t.Annotated[union, pydantic.Discriminator(tag)] if len(kinds) > 1 else union


def _tag(kind: Container) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _dumped_as(kind: Container) -> pydantic.WrapSerializer:
    def dump(value: t.Any, handler: t.Any, info: t.Any) -> t.Any:
        values = handler(value)
        return kind(**values) if info.mode == "python" else values

    # Without an annotation, the JSON schema is that of what is wrapped.
    del dump.__annotations__["return"]
    return pydantic.WrapSerializer(dump)


def _discriminator(
    model: Container, attribute: DiscriminatorAttribute
) -> tuple[t.Any, dict[str, t.Any]]:
    """The field of a discriminator: a class in Python, as in the model; in JSON, what is stored."""
    kinds: list[Container] = attribute.get_registered_subclasses(model)
    classes = {
        str(attribute.get_discriminator(kind)): kind
        for kind in kinds
        # Each map has a schema of its own.
        if kind is model or not issubclass(model, MapAttribute)
    }
    expected = ", ".join(map(repr, classes))

    if not classes:
        return types.NoneType, {"default": None, "exclude_if": _is_none}

    def to_class(value: t.Any) -> t.Any:
        found = classes.get(value) if isinstance(value, str) else value

        if found not in classes.values():
            raise PydanticCustomError(
                "discriminator", "Input should be one of {expected}", {"expected": expected}
            )

        return found

    def to_text(kind: t.Any) -> str:
        return str(attribute.get_discriminator(kind))

    annotation: t.Any = t.Annotated[
        t.Any,
        pydantic.BeforeValidator(to_class),
        _as_json(to_text, str),
        pydantic.WithJsonSchema({"type": "string", "enum": sorted(classes)}),
    ]

    if model in classes.values():
        return annotation, {"default_factory": _always(model)}

    return annotation, {}


def _constant(type_: t.Any) -> cabc.Callable[[t.Any], t.Any]:
    def type_of(attribute: t.Any) -> t.Any:
        return type_

    return type_of


_TYPES: dict[t.Any, cabc.Callable[[t.Any], t.Any]] = {
    Attribute: _constant(t.Any),
    BinaryAttribute: _bytes,
    BinarySetAttribute: _set_of(_Bytes, str),
    BooleanAttribute: _constant(bool),
    DynamicMapAttribute: _map_of,
    JSONAttribute: _constant(t.Any),
    ListAttribute: _list_of,
    MapAttribute: _map_of,
    NullAttribute: _constant(types.NoneType),
    NumberAttribute: _constant(_Number),
    NumberSetAttribute: _set_of(_Number, _Number),
    TTLAttribute: _constant(_Expiry),
    UnicodeAttribute: _text,
    UnicodeSetAttribute: _set_of(str, str),
    UTCDateTimeAttribute: _constant(_Time),
    VersionAttribute: _constant(int),
}
"""By the class of an attribute: the type of its value."""
