"""One app's state: of the app itself, and of each of its binds, the settings, the engines, and each
model's Meta and connection."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import threading
import typing as t
import weakref

import pynamodb.models
from flask.sansio.app import App
from pynamodb import constants

from ..calls.app_policy import AppPolicy
from ..client.connection import Connection
from ..client.connection import TableConnection
from ..client.endpoint import Endpoint
from ..client.engine import Engine
from ..concurrency.process_local import ProcessLocal
from ..config.settings import Settings
from ..errors import ConfigError
from . import meta


class Engines:
    """The engines of one extension, one for each distinct endpoint.

    An engine lives as long as an app or a call in flight uses it.
    """

    def __init__(self) -> None:
        self._engines: weakref.WeakValueDictionary[Endpoint, Engine] = weakref.WeakValueDictionary()
        self._lock = ProcessLocal(threading.RLock)

    def get(self, endpoint: Endpoint) -> Engine:
        """The engine for an endpoint, created at the first request.

        :param endpoint: The endpoint.
        """
        with self._lock.get():
            engine = self._engines.get(endpoint)

            if engine is None:
                engine = self._engines[endpoint] = Engine(endpoint)

            return engine


@dataclasses.dataclass(frozen=True)
class BoundModel:
    """One model in one bind of one app."""

    snapshot: meta.Snapshot
    """What the model declared when this was created."""

    meta: t.Any
    """What stands for the model's ``Meta``."""

    connection: TableConnection


class BindState:
    """The state of one bind in one app, or of the app's own settings.

    :param policy: What the app or the bind wants of its calls, with its settings.
    :param engines: The engines that the app shares with the other apps of the extension.
    """

    def __init__(self, policy: AppPolicy, engines: Engines) -> None:
        self.policy = policy
        self.settings: Settings = policy.settings
        self._engines = engines
        self._values = meta.AppValues(self.settings, policy.bind_key)
        self._used: frozenset[weakref.ref[Engine]] = frozenset()
        self.engine: Engine = self._use(meta.endpoint(vars(self.settings), self.settings))
        self._models: weakref.WeakKeyDictionary[type[pynamodb.models.Model], BoundModel] = (
            weakref.WeakKeyDictionary()
        )
        self.connection: Connection = self._connect(self.engine)

    def engines(self) -> set[Engine]:
        """The engines that this bind uses."""
        return {engine for reference in self._used if (engine := reference()) is not None}

    def find(self, model: type[pynamodb.models.Model], declared: t.Any) -> BoundModel | None:
        """A model's Meta and connection in this bind, if they have been created, and the model's
        declared Meta has not changed since.

        :param model: The model.
        :param declared: The ``Meta`` that the model declares.
        """
        bound = self._models.get(model)
        return bound if bound is not None and bound.snapshot.is_of(declared) else None

    def bound(self, model: type[pynamodb.models.Model], declared: t.Any) -> BoundModel:
        """A model's Meta and connection in this bind, created unless they are there.

        :param model: The model, which has the key of this bind or none.
        :param declared: The ``Meta`` that the model declares.
        :return: The Meta and the connection.
        :raises ConfigError: if a value that the model declares is invalid.
        """
        bound = self.find(model, declared)

        if bound is None:
            bound = self._models[model] = self._bind(model, declared)

        return bound

    def _bind(self, model: type[pynamodb.models.Model], declared: t.Any) -> BoundModel:
        snapshot = meta.Snapshot(declared)
        effective, endpoint = self._resolve(model, declared)
        engine = self._use(endpoint)
        return BoundModel(
            snapshot=snapshot,
            meta=effective,
            connection=TableConnection(
                self._connect(engine, model.__name__), _describe(model, effective.table_name)
            ),
        )

    def _resolve(
        self, model: type[pynamodb.models.Model], declared: t.Any
    ) -> tuple[t.Any, Endpoint]:
        # The values hold credentials: no variable may have them while code of the app runs.
        resolved = meta.resolve(model.__name__, declared, self._values)
        shown = meta.show(declared, resolved, self._values)
        return shown, meta.endpoint(resolved.values, self.settings)

    def _use(self, endpoint: Endpoint) -> Engine:
        engine = self._engines.get(endpoint)
        # A new set, because another thread may be iterating over the old one.
        self._used = frozenset({*filter(_is_alive, self._used), weakref.ref(engine)})
        return engine

    def _connect(self, engine: Engine, model_name: str | None = None) -> Connection:
        return Connection(engine, self.policy, model_name=model_name)


class AppState:
    """The state of the extension in one app.

    :param app: The app, which this does not keep alive.
    :param settings: The app's settings, and those of its binds.
    :param engines: The engines that the app shares with the other apps of the extension.
    """

    def __init__(self, app: App, settings: Settings, engines: Engines) -> None:
        self._app = weakref.ref(app)
        self.policy: AppPolicy = AppPolicy(self._app, settings)
        self.own: BindState = BindState(self.policy, engines)
        """The state of the app's own settings."""

        self._binds: dict[str, BindState] = {
            bind_key: BindState(self.policy.of_bind(bind_key, of_bind), engines)
            for bind_key, of_bind in (settings.binds or {}).items()
        }

    def bind(self, bind_key: str | None, origin: str | None = None) -> BindState:
        """The state of a bind.

        :param bind_key: The key of the bind; ``None`` for the app's own settings.
        :param origin: What names the bind, for a message.
        :raises ConfigError: if the app has no such bind.
        """
        if bind_key is None:
            return self.own

        # What is no string may not be hashable.
        state = self._binds.get(bind_key) if type(bind_key) is str else None

        if state is None:
            raise ConfigError(self._no_bind(bind_key, origin))

        return state

    def engines(self) -> set[Engine]:
        """The engines that this app uses, in all binds."""
        return {engine for state in self._all() for engine in state.engines()}

    @property
    def longest_read_seconds(self) -> float:
        """The longest read timeout of the app and its binds, in seconds."""
        return max(state.settings.read_timeout_seconds for state in self._all())

    def _all(self) -> list[BindState]:
        return [self.own, *self._binds.values()]

    def _no_bind(self, bind_key: object, origin: str | None) -> str:
        app = self._app()
        what = (
            f"{bind_key!r}" if isinstance(bind_key, str) else f"of type {type(bind_key).__name__!r}"
        )
        known = ", ".join(map(repr, self._binds)) or "none"
        return (
            f"{origin or 'The bind key'} is {what}, but the app"
            f"{'' if app is None else f' {app.name!r}'} has no such bind. Its binds are the keys of"
            f" 'DYNAMODB_BINDS': {known}."
        )


def _describe(model: type[pynamodb.models.Model], table_name: str) -> dict[str, t.Any]:
    """A model's table, as DescribeTable would describe it."""
    schema = t.cast(t.Any, model)._get_schema()
    return {
        constants.TABLE_NAME: table_name,
        constants.KEY_SCHEMA: schema["key_schema"],
        constants.ATTR_DEFINITIONS: schema["attribute_definitions"],
        constants.GLOBAL_SECONDARY_INDEXES: _describe_indexes(schema["global_secondary_indexes"]),
        constants.LOCAL_SECONDARY_INDEXES: _describe_indexes(schema["local_secondary_indexes"]),
    }


def _describe_indexes(schemas: cabc.Iterable[t.Any]) -> list[dict[str, t.Any]]:
    return [
        {constants.INDEX_NAME: schema["index_name"], constants.KEY_SCHEMA: schema["key_schema"]}
        for schema in schemas
    ]


def _is_alive(reference: weakref.ref[Engine]) -> bool:
    return reference() is not None
