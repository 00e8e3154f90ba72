"""A model's ``Meta`` in one app: what the model declares, completed by the app's settings."""

from __future__ import annotations

import collections.abc as cabc
import types
import typing as t

from ..client.endpoint import Endpoint
from ..config.settings import PAY_PER_REQUEST
from ..config.settings import PROVISIONED
from ..config.settings import SETTINGS
from ..config.settings import Settings
from ..config.settings import check_needs
from ..errors import ConfigError
from ..errors import without_origin
from ..printable import escaped

_LONGEST_TABLE_NAME = 255
_ARN = "arn:"
_IN_META = tuple(name for name, setting in SETTINGS.items() if setting.meta)
_NO_VALUES: cabc.Mapping[str, t.Any] = types.MappingProxyType({})


class Meta:
    """A model's ``Meta``, as one app sees it.

    A value that comes from the app's settings is read-only here: assigning one declares it on the
    model, for every app. A class may inherit from this object, and then inherits only what the
    model declares.

    :param declared: The ``Meta`` that the model declares.
    :param values: The values in the app, declared or not. Outside an app: none.
    """

    __slots__ = ("_declared", "_values")

    _declared: t.Any
    _values: cabc.Mapping[str, t.Any]

    def __init__(self, declared: t.Any, values: cabc.Mapping[str, t.Any] = _NO_VALUES) -> None:
        object.__setattr__(self, "_declared", declared)
        object.__setattr__(self, "_values", values)

    def __getattr__(self, name: str) -> t.Any:
        try:
            return self._values[name]
        except KeyError:
            return getattr(self._declared, name)

    def __setattr__(self, name: str, value: t.Any) -> None:
        setattr(self._declared, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._declared, name)

    def __dir__(self) -> list[str]:
        return sorted({*dir(self._declared), *self._values})

    def __mro_entries__(self, bases: tuple[t.Any, ...]) -> tuple[t.Any, ...]:
        return (self._declared,)

    def __repr__(self) -> str:
        return f"<Meta of table {getattr(self, 'table_name', None)!r}>"


class Snapshot:
    """A copy of what a model declares, to notice that the declaration has changed.

    A declared ``Meta`` and its bases are classes of the user, which can be written to directly
    (``BaseMeta.region = ...``, ``mock.patch.object(BaseMeta, ...)``). No hook of Python reports
    such a write, so a version number that writes through ``Model.Meta`` increase would miss it,
    and a metaclass that sees every write would replace the type of the user's classes. Therefore
    each call compares. The comparison is cheap: namespaces of classes are live views, so nothing
    is copied or looked up, and unchanged values are compared by identity.

    :param declared: The ``Meta`` that the model declares, which need not be a class.
    """

    __slots__ = ("_copies", "_declared", "_mro", "_namespaces")

    def __init__(self, declared: t.Any) -> None:
        self._declared = declared
        self._mro = _class_of(declared).__mro__
        self._namespaces = _namespaces(declared)
        self._copies = [_copy(namespace) for namespace in self._namespaces]

    def is_of(self, declared: t.Any) -> bool:
        """Whether a model that declares this now declares the same as before.

        :param declared: The ``Meta`` that the model declares now.
        """
        return (
            declared is self._declared
            # A class gets another tuple when its bases, or theirs, change.
            and _class_of(declared).__mro__ is self._mro
            and self._namespaces == self._copies
        )


def _class_of(declared: t.Any) -> type[t.Any]:
    return declared if isinstance(declared, type) else type(declared)


def _namespaces(declared: t.Any) -> list[cabc.Mapping[str, t.Any]]:
    """The live namespaces that a declared ``Meta`` consists of, without that of ``object``."""
    namespaces: list[cabc.Mapping[str, t.Any]] = [
        vars(layer) for layer in _class_of(declared).__mro__[:-1]
    ]
    return namespaces if isinstance(declared, type) else [vars(declared), *namespaces]


def _copy(namespace: cabc.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """A copy that keeps its values when a dictionary in the namespace is changed in place."""
    copy = dict(namespace)

    for name, value in namespace.items():
        mapping: t.Any = value

        if isinstance(value, dict):
            copy[name] = mapping.copy()

    return copy


def resolve(model_name: str, declared: t.Any, settings: Settings) -> dict[str, t.Any]:
    """Find the values of one model in one app: what it declares, else the app's settings.

    As in PynamoDB, ``None`` means not declared. Settings that need each other (the credentials)
    come from one place: a model that declares keys does not get the app's session token.

    :param model_name: The model's name, for messages.
    :param declared: The ``Meta`` that the model declares.
    :param settings: The app's settings.
    :return: The value of each setting that a ``Meta`` may declare, and the full table name.
    :raises ConfigError: if a declared value is wrong, or is that of a setting of the app.
    """

    try:
        return _resolve(escaped(model_name), declared, settings)
    except ConfigError as error:
        refusal = error

    # Tools that report errors show the variables of each frame of the traceback.
    raise without_origin(refusal)


def _resolve(model_name: str, declared: t.Any, settings: Settings) -> dict[str, t.Any]:
    """As :func:`resolve`. Frames of the error's traceback hold secrets."""

    def origin(name: str) -> str:
        return f"'{model_name}.Meta.{name}'"

    for name, setting in SETTINGS.items():
        if not setting.meta and getattr(declared, name, None) is not None:
            raise ConfigError(
                f"{origin(name)} can't be set: it is a setting of the whole app. Remove it, and set"
                f" '{setting.key}' in app.config instead."
            )

    # Apart from the checks, so that no variable holds a secret if the user's class raises an error.
    table_name = _table_name(origin("table_name"), declared)
    given = {name: getattr(declared, name, None) for name in _IN_META}
    own: dict[str, t.Any] = {
        name: SETTINGS[name].check(origin(name), value)
        for name, value in given.items()
        if value is not None
    }
    together = [name for name, setting in SETTINGS.items() if setting.meta and setting.needs]

    if not own.keys().isdisjoint(together):
        own = {**dict.fromkeys(together), **own}
        check_needs(own, origin)

    values = {
        name: getattr(settings, name) for name, setting in SETTINGS.items() if setting.meta
    } | own
    # An ARN names one table of one account, whatever the app's other tables are called.
    prefix = "" if table_name.startswith(_ARN) else values["table_name_prefix"]
    values["table_name"] = prefix + table_name

    if prefix and len(values["table_name"]) > _LONGEST_TABLE_NAME:
        where = origin if "table_name_prefix" in own else _key
        raise ConfigError(
            f"{where('table_name_prefix')} and {origin('table_name')} must have at most"
            f" {_LONGEST_TABLE_NAME} characters together, the longest that a table name may be;"
            f" they have {len(values['table_name'])}."
        )

    if values["extra_headers"] is not None:
        # A change here would have no effect: the engine has a copy of its own.
        values["extra_headers"] = types.MappingProxyType(values["extra_headers"])

    if values["billing_mode"] is None:
        values["billing_mode"] = billing_mode_for(
            values["read_capacity_units"], values["write_capacity_units"]
        )

    return values


def _table_name(origin: str, declared: t.Any) -> str:
    table_name = declared.table_name

    if not isinstance(table_name, str):
        raise ConfigError(
            f"{origin} must be a string, but it is of type {type(table_name).__name__!r}."
        )

    return table_name


def _key(name: str) -> str:
    return f"'{SETTINGS[name].key}'"


def endpoint(values: cabc.Mapping[str, t.Any], settings: Settings) -> Endpoint:
    """The endpoint of one model's calls.

    :param values: The result of :func:`resolve`.
    :param settings: The app's settings, for what a ``Meta`` cannot declare.
    :return: The endpoint.
    """
    return Endpoint.from_values({**vars(settings), **values})


def billing_mode_for(*capacity_units: int | None) -> str:
    """The billing mode of a table for which none is set.

    :param capacity_units: The capacities that are set for it.
    :return: ``PROVISIONED`` if there is one, else ``PAY_PER_REQUEST``.
    """
    return PAY_PER_REQUEST if all(units is None for units in capacity_units) else PROVISIONED
