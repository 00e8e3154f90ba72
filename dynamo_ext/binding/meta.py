"""A model's declared ``Meta`` + an app's settings -> its ``Meta`` in that app."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import types
import typing as t

from ..client.engine import Endpoint
from ..config import settings as settings_module
from ..config.settings import CREDENTIALS
from ..config.settings import PAY_PER_REQUEST
from ..config.settings import PROVISIONED
from ..config.settings import Settings

_OF_THE_APP_ALONE = {
    "blocking_calls",
    "call_timeout_seconds",
    "pool_timeout_seconds",
    "slow_call_ms",
    "transport",
}
_FROM_SETTINGS = tuple(
    field.name for field in dataclasses.fields(Settings) if field.name not in _OF_THE_APP_ALONE
)
_NO_VALUES: cabc.Mapping[str, t.Any] = {}


class Meta:
    """A model's ``Meta``, as one app sees it.

    What the app's settings decide is read-only here; assigning declares it on the model, for every
    app. A class may inherit from it, and then inherits only what the model declares.

    :param declared: The ``Meta`` that the model declares.
    :param values: What holds in the app, declared or not. Outside an app: nothing.
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
    """All that a model declares, to see whether it has changed.

    :param declared: The ``Meta`` that the model declares.
    """

    def __init__(self, declared: t.Any) -> None:
        self._layers = _layers(declared)
        self._values = [
            dict(t.cast("cabc.Mapping[str, t.Any]", vars(layer))) for layer in self._layers
        ]

    def is_of(self, declared: t.Any) -> bool:
        """Whether that declares the same."""
        layers = _layers(declared)
        return layers == self._layers and [vars(layer) for layer in layers] == self._values


def _layers(declared: t.Any) -> tuple[t.Any, ...]:
    """The classes that a ``Meta`` consists of, without the one that all have."""
    if isinstance(declared, type):
        kind: type[t.Any] = declared
        return kind.__mro__[:-1]

    # It need not be a class.
    return (declared, *declared.__class__.__mro__[:-1])


def resolve(model_name: str, declared: t.Any, settings: Settings) -> dict[str, t.Any]:
    """What holds for a model in an app: what it declares, else the app's settings.

    As in PynamoDB, ``None`` means not declared. Credentials go together: a model that declares
    keys does not get the app's session token.

    :param model_name: For messages.
    :param declared: The ``Meta`` that the model declares.
    :param settings: The app's settings.
    :raises ConfigError: if a declared value is wrong.
    """

    def origin(name: str) -> str:
        return f"'{model_name}.Meta.{name}'"

    own: dict[str, t.Any] = {
        name: settings_module.convert(name, value, origin(name))
        for name in _FROM_SETTINGS
        if (value := getattr(declared, name, None)) is not None
    }

    if any(name in own for name in CREDENTIALS):
        own = {**dict.fromkeys(CREDENTIALS), **own}
        settings_module.check_credentials(own, origin)

    values = {name: getattr(settings, name) for name in _FROM_SETTINGS} | own
    values["table_name"] = values["table_name_prefix"] + declared.table_name

    if values["extra_headers"] is not None:
        # A change would be lost: the engine has a copy of its own.
        values["extra_headers"] = types.MappingProxyType(values["extra_headers"])

    if values["billing_mode"] is None:
        values["billing_mode"] = billing_mode_for(
            values["read_capacity_units"], values["write_capacity_units"]
        )

    return values


def endpoint(values: cabc.Mapping[str, t.Any], settings: Settings) -> Endpoint:
    """Where a model's calls go.

    :param values: What :func:`resolve` gave.
    :param settings: The app's settings.
    """
    return Endpoint.from_values({**values, "transport": settings.transport})


def billing_mode_for(*capacity_units: int | None) -> str:
    """The billing mode of a table for which none is set."""
    return PAY_PER_REQUEST if all(units is None for units in capacity_units) else PROVISIONED
