"""A model's ``Meta`` in one app: what the model declares, completed by the settings of the app or
of one of its binds."""

from __future__ import annotations

import collections.abc as cabc
import copy
import types
import typing as t

import pynamodb.settings

from ..client.endpoint import Endpoint
from ..config import validators
from ..config.settings import PAY_PER_REQUEST
from ..config.settings import PROVISIONED
from ..config.settings import SETTINGS
from ..config.settings import Settings
from ..config.settings import from_one_place
from ..errors import ConfigError
from ..errors import without_origin
from ..printable import escaped

DELETION_PROTECTION: t.Final = "deletion_protection_enabled"
"""The name in a ``Meta`` of whether DynamoDB refuses to delete the table."""

POINT_IN_TIME_RECOVERY: t.Final = "point_in_time_recovery_enabled"
"""The name in a ``Meta`` of whether DynamoDB keeps backups of the table of the last days."""

_SWITCHES = (DELETION_PROTECTION, POINT_IN_TIME_RECOVERY)
_LONGEST_TABLE_NAME = 255
_ARN = "arn:"
BIND_KEY: t.Final = "bind_key"
"""The name in a ``Meta`` of the bind to which the model belongs. It is no setting: it says whose
settings hold."""

_IN_META = tuple(name for name, setting in SETTINGS.items() if setting.meta)
# PynamoDB's metaclass sets all of them that a Meta lacks.
_PUT_IN_BY_PYNAMODB = (
    *("region", "host", "connect_timeout_seconds", "read_timeout_seconds", "max_retry_attempts"),
    *("max_pool_connections", "extra_headers"),
    *("aws_access_key_id", "aws_secret_access_key", "aws_session_token"),
)
_VIEW = "_dynamo_ext_view"
_MOST_TABLE_NAMES = 1_000
# Not the constants themselves: which mode was derived, and so is declared nowhere, can be told.
_DERIVED_MODES = {mode: mode[:1] + mode[1:] for mode in (PAY_PER_REQUEST, PROVISIONED)}


class AppValues:
    """The values that the settings of an app, or of one of its binds, give to every ``Meta``, and
    the table names made of them.

    The values are objects of their own, as far as Python has that: one that was read from a
    ``Meta`` and is written back can be told from an equal one that the user has written.

    :param settings: The settings of the app or the bind.
    :param bind_key: The key of the bind; ``None`` for the app.
    """

    def __init__(self, settings: Settings, bind_key: str | None = None) -> None:
        self._values: dict[str, t.Any] = {
            name: _own_object(getattr(settings, name)) for name in _IN_META
        }
        self._values[BIND_KEY] = _own_object(bind_key)
        self._declared_names: dict[str, str] = {}

    def values(self) -> dict[str, t.Any]:
        """The value of each setting that a ``Meta`` may declare, and the bind key. They include
        credentials."""
        return self._values.copy()

    def origin(self, name: str) -> str:
        """Where a value was set, for a message.

        :param name: The setting.
        """
        bind_key = self._values[BIND_KEY]
        key = f"'{SETTINGS[name].key}'"
        return key if bind_key is None else f"{key} of the bind {bind_key!r}"

    def gave(self, name: str, value: t.Any) -> bool:
        """Whether a value was read from a ``Meta`` that does not declare it.

        :param name: The setting.
        :param value: The value.
        """
        return value is not None and (
            value is self._values.get(name)
            or (name == "billing_mode" and any(value is mode for mode in _DERIVED_MODES.values()))
        )

    def note_name(self, full_name: str, declared_name: str) -> None:
        """Note the table name that a ``Meta`` shows.

        :param full_name: The name with the prefix.
        :param declared_name: The name that the model declares.
        """
        self._declared_names[full_name] = declared_name

        if len(self._declared_names) > _MOST_TABLE_NAMES:
            del self._declared_names[next(iter(self._declared_names))]

    def declared_name(self, name: str, prefix: str, shown: str) -> str:
        """The name to declare where a table name is written.

        :param name: The name that is written.
        :param prefix: The prefix that the model has.
        :param shown: The name with the prefix that the ``Meta`` shows.
        """
        declared = self._declared_names.get(name)
        was_shown = declared is not None and prefix + declared == name
        return name.removeprefix(prefix) if was_shown or name.startswith(shown) else name


class Resolved(t.NamedTuple):
    """The values of one model in one app. They include credentials."""

    values: dict[str, t.Any]
    """Each setting that a ``Meta`` may declare, the bind key, and the full table name."""

    given: dict[str, t.Any]
    """What the model declares of them, as it declares it; ``None`` for nothing."""

    # Tools that report errors show the variables of each frame of the traceback.
    def __repr__(self) -> str:
        return "<Resolved>"


class View:
    """What a ``Meta`` shows, and where that which is written to it goes.

    :param declared: The ``Meta`` that the model declares.
    :param resolved: The values in the app. Outside an app: none.
    :param of_app: What the app's settings give. Outside an app: ``None``.
    """

    __slots__ = ("_given", "_of_app", "_values", "declared")

    def __init__(self, declared: t.Any, resolved: Resolved, of_app: AppValues | None) -> None:
        self.declared: t.Any = declared
        self._values = resolved.values
        self._given = resolved.given
        self._of_app = of_app

    def read(self, name: str) -> t.Any:
        """The value of a name: in the app, else the declared one."""
        try:
            return self._values[name]
        except KeyError:
            return getattr(self.declared, name)

    def write(self, name: str, value: t.Any) -> None:
        """Declare a value. One that was read from here, or from what shows the same model in the
        same app, changes nothing."""
        if self._of_app is None or name not in self._values:
            setattr(self.declared, name, value)
        elif name == "table_name" and isinstance(value, str):
            prefix, shown = self._values["table_name_prefix"], self._values[name]
            self._declare(name, self._of_app.declared_name(value, prefix, shown))
        elif value is self._values[name] and self._given[name] is not None:
            self._declare(name, self._given[name])
        elif self._of_app.gave(name, value) and self._can_undeclare(name):
            self._undeclare(name)
        else:
            setattr(self.declared, name, value)

    def delete(self, name: str) -> None:
        """Delete what is declared."""
        delattr(self.declared, name)

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted({*dir(self.declared), *self._values})

    def namespace(self) -> cabc.Mapping[str, t.Any]:
        """What PynamoDB's ``Meta`` has in its own namespace: what is declared there, and what is
        declared nowhere. Inherited declarations are not part of it."""
        own = dict(_namespaces(self.declared)[0])
        shown = {
            name: value
            for name, value in self._values.items()
            if name in own or getattr(self.declared, name, None) is None
        }
        return types.MappingProxyType({**own, **shown})

    def _declare(self, name: str, value: t.Any) -> None:
        if getattr(self.declared, name, None) != value:
            setattr(self.declared, name, value)

    def _can_undeclare(self, name: str) -> bool:
        """Whether the app's value holds once the model itself declares none."""
        _, *inherited = _namespaces(self.declared)
        return all(layer.get(name) is None for layer in inherited)

    def _undeclare(self, name: str) -> None:
        if name in _namespaces(self.declared)[0]:
            delattr(self.declared, name)


class Meta(type):
    """The class of the classes that stand for a model's ``Meta``.

    A value that comes from the app's settings is read-only: to assign one declares it on the model,
    for every app. A class that inherits from such a class inherits only what the model declares.
    """

    if not t.TYPE_CHECKING:
        # ``class Meta(Model.Meta):`` and ``type("Meta", (Model.Meta,), {})``.
        def __new__(cls, name, bases, namespace, **options):
            bases = tuple(map(declared_by, bases))
            return types.new_class(name, bases, options, lambda empty: empty.update(namespace))

        @property
        def __dict__(cls):
            return _view(cls).namespace()

    def __getattr__(cls, name: str) -> t.Any:
        return _view(cls).read(name)

    def __setattr__(cls, name: str, value: t.Any) -> None:
        _view(cls).write(name, value)

    def __delattr__(cls, name: str) -> None:
        _view(cls).delete(name)

    def __dir__(cls) -> list[str]:
        return _view(cls).names()

    def __call__(cls, *args: t.Any, **kwargs: t.Any) -> t.Any:
        return _view(cls).declared(*args, **kwargs)

    def __instancecheck__(cls, instance: t.Any) -> bool:
        return isinstance(instance, _view(cls).declared)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(declared_by(subclass), _view(cls).declared)

    def __repr__(cls) -> str:
        return _described(_view(cls))


class MetaObject:
    """Stands for a model's ``Meta`` that is no class.

    :param view: What it shows.
    """

    __slots__ = (_VIEW,)

    def __init__(self, view: View) -> None:
        object.__setattr__(self, _VIEW, view)

    if not t.TYPE_CHECKING:

        @property
        def __dict__(self):
            return _view(self).namespace()

    def __getattr__(self, name: str) -> t.Any:
        return _view(self).read(name)

    def __setattr__(self, name: str, value: t.Any) -> None:
        _view(self).write(name, value)

    def __delattr__(self, name: str) -> None:
        _view(self).delete(name)

    def __dir__(self) -> list[str]:
        return _view(self).names()

    def __copy__(self) -> t.Any:
        return copy.copy(_view(self).declared)

    def __deepcopy__(self, memo: dict[int, t.Any]) -> t.Any:
        return copy.deepcopy(_view(self).declared, memo)

    def __reduce_ex__(self, protocol: t.SupportsIndex) -> t.Any:
        # A declared Meta is pickled, as in PynamoDB: what an app adds belongs to that app.
        return copy.copy, (_view(self).declared,)

    def __repr__(self) -> str:
        return _described(_view(self))


_NOTHING = Resolved({}, {})


def show(
    declared: t.Any,
    resolved: Resolved = _NOTHING,
    of_app: AppValues | None = None,
) -> t.Any:
    """What stands for a model's ``Meta``: a class, if the declared one is a class.

    :param declared: The ``Meta`` that the model declares.
    :param resolved: The values in the app. Outside an app: none.
    :param of_app: What the app's settings give. Outside an app: ``None``.
    """
    view = View(declared, resolved, of_app)

    if not isinstance(declared, type):
        return MetaObject(view)

    namespace = {
        "__module__": declared.__module__,
        "__qualname__": declared.__qualname__,
        "__doc__": declared.__doc__,
        _VIEW: view,
    }
    # Not of the declared class, whose __init_subclass__ and metaclass are the user's.
    return type.__new__(Meta, declared.__name__, (), namespace)


def declared_by(shown: t.Any) -> t.Any:
    """What a model declares, given that or what stands for it.

    :param shown: Either of them.
    """
    return _view(shown).declared if isinstance(shown, (Meta, MetaObject)) else shown


def _view(shown: Meta | MetaObject) -> View:
    get = type.__getattribute__ if isinstance(shown, type) else object.__getattribute__
    view: View = t.cast(t.Any, get)(shown, _VIEW)
    return view


def _described(view: View) -> str:
    try:
        table_name = view.read("table_name")
    except AttributeError:
        table_name = None

    return f"<Meta of table {table_name!r}>"


def _own_object(value: t.Any) -> t.Any:
    match value:
        case str():
            return value[:1] + value[1:]
        case cabc.Mapping():
            # Read-only, since a change would have no effect: the engine has a copy of its own.
            return types.MappingProxyType(t.cast("dict[str, str]", value))
        case _:
            return value


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

    __slots__ = ("_copies", "_declared", "_is_class", "_mro", "_namespaces")

    def __init__(self, declared: t.Any) -> None:
        self._declared = declared
        self._is_class = isinstance(declared, type)
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
            and (declared if self._is_class else type(declared)).__mro__ is self._mro
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


def resolve(model_name: str, declared: t.Any, of_app: AppValues) -> Resolved:
    """Find the values of one model in one app: what it declares, else the app's settings.

    As in PynamoDB, ``None`` means not declared; nor is what PynamoDB itself has put into the
    ``Meta`` of a stock model. Settings that need each other (the credentials) come from one place:
    a model that declares keys does not get the app's session token.

    :param model_name: The model's name, for messages.
    :param declared: The ``Meta`` that the model declares.
    :param of_app: What the app's settings give.
    :return: The values.
    :raises ConfigError: if a declared value is wrong, or is that of a setting of the app.
    """

    try:
        return _resolve(escaped(model_name), declared, of_app)
    except ConfigError as error:
        refusal = error

    # Tools that report errors show the variables of each frame of the traceback.
    raise without_origin(refusal)


def _resolve(model_name: str, declared: t.Any, of_app: AppValues) -> Resolved:
    """As :func:`resolve`. Frames of the error's traceback hold secrets."""

    def origin(name: str) -> str:
        return f"'{model_name}.Meta.{name}'"

    for name, setting in SETTINGS.items():
        if not setting.meta and getattr(declared, name, None) is not None:
            raise ConfigError(
                f"{origin(name)} can't be set: it is a setting of the whole app. Remove it, and set"
                f" '{setting.key}' in app.config instead."
            )

    for name in _SWITCHES:
        if getattr(declared, name, None) is not None:
            validators.true_or_false(origin(name), getattr(declared, name))

    # Apart from the checks, so that no variable holds a secret if the user's class raises an error.
    table_name = _table_name(origin("table_name"), declared)
    given = _without_defaults_of_pynamodb(
        declared, {name: getattr(declared, name, None) for name in _IN_META}
    )
    own: dict[str, t.Any] = {
        name: SETTINGS[name].check(origin(name), value)
        for name, value in given.items()
        if value is not None
    }
    own = from_one_place(own, origin)
    values = of_app.values() | own
    # An ARN names one table of one account, whatever the app's other tables are called.
    prefix = "" if table_name.startswith(_ARN) else values["table_name_prefix"]
    values["table_name"] = prefix + table_name

    if prefix and len(values["table_name"]) > _LONGEST_TABLE_NAME:
        where = origin if "table_name_prefix" in own else of_app.origin
        raise ConfigError(
            f"{where('table_name_prefix')} and {origin('table_name')} must have at most"
            f" {_LONGEST_TABLE_NAME} characters together, the longest that a table name may be;"
            f" they have {len(values['table_name'])}."
        )

    if own.get("extra_headers") is not None:
        values["extra_headers"] = _own_object(values["extra_headers"])

    if values["billing_mode"] is None:
        derived = billing_mode_for(values["read_capacity_units"], values["write_capacity_units"])
        values["billing_mode"] = _DERIVED_MODES[derived]

    of_app.note_name(values["table_name"], table_name)
    given |= {"table_name": table_name, BIND_KEY: bind_key_of(model_name, declared)}
    return Resolved(values, given)


def bind_key_of(model_name: str, declared: t.Any) -> str | None:
    """The key of the bind to which a model belongs.

    :param model_name: The model's name, for messages.
    :param declared: The ``Meta`` that the model declares.
    :return: The key; ``None`` for a model that goes by :meth:`PynamoDB.using`.
    :raises ConfigError: if it is not a non-empty string.
    """
    bind_key: t.Any = getattr(declared, BIND_KEY, None)

    if bind_key is not None and (not isinstance(bind_key, str) or not bind_key):
        fault = "empty" if isinstance(bind_key, str) else f"of type {type(bind_key).__name__!r}"
        raise ConfigError(
            f"'{escaped(model_name)}.Meta.{BIND_KEY}' must be the key of a bind, a non-empty"
            f" string; it is {fault}."
        )

    return bind_key


def _without_defaults_of_pynamodb(declared: t.Any, given: dict[str, t.Any]) -> dict[str, t.Any]:
    """What the user declares, without the defaults that PynamoDB puts into the ``Meta`` of a stock
    model."""
    if not all(hasattr(declared, name) for name in _PUT_IN_BY_PYNAMODB):
        return given

    return {
        name: None
        if name in _PUT_IN_BY_PYNAMODB and value == pynamodb.settings.get_settings_value(name)
        else value
        for name, value in given.items()
    }


def _table_name(origin: str, declared: t.Any) -> str:
    table_name = declared.table_name

    if not isinstance(table_name, str):
        raise ConfigError(
            f"{origin} must be a string, but it is of type {type(table_name).__name__!r}."
        )

    return table_name


def endpoint(values: cabc.Mapping[str, t.Any], settings: Settings) -> Endpoint:
    """The endpoint of one model's calls.

    :param values: Those that :func:`resolve` finds, or the app's own.
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
