"""One app's state: its settings, its engines, and each model's Meta and connection."""

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
class Binding:
    """One model in one app."""

    snapshot: meta.Snapshot
    """What the model declared when this was created."""

    meta: t.Any
    """What stands for the model's ``Meta``."""

    connection: TableConnection


class AppState:
    """The state of the extension in one app.

    :param app: The app, which this does not keep alive.
    :param settings: The app's settings.
    :param engines: The engines that the app shares with the other apps of the extension.
    """

    def __init__(self, app: App, settings: Settings, engines: Engines) -> None:
        self.settings = settings
        self.policy: AppPolicy = AppPolicy(weakref.ref(app), settings)
        self._engines = engines
        self._instance_path = app.instance_path
        self._values = meta.AppValues(settings)
        self._used: frozenset[weakref.ref[Engine]] = frozenset()
        self.engine: Engine = self._use(meta.endpoint(vars(settings), settings))
        self._bindings: weakref.WeakKeyDictionary[type[pynamodb.models.Model], Binding] = (
            weakref.WeakKeyDictionary()
        )
        self.connection: Connection = self._connect(self.engine)

    def engines(self) -> set[Engine]:
        """The engines that this app uses."""
        return {engine for reference in self._used if (engine := reference()) is not None}

    def bind(self, model: type[pynamodb.models.Model], declared: t.Any) -> Binding:
        """A model's Meta and connection in this app.

        They are created again when the model's declared Meta has changed since.

        :param model: The model.
        :param declared: The ``Meta`` that the model declares.
        :return: The Meta and the connection.
        :raises ConfigError: if a value that the model declares is invalid.
        """
        binding = self._bindings.get(model)

        if binding is None or not binding.snapshot.is_of(declared):
            binding = self._bindings[model] = self._make_binding(model, declared)

        return binding

    def _make_binding(self, model: type[pynamodb.models.Model], declared: t.Any) -> Binding:
        snapshot = meta.Snapshot(declared)
        effective, endpoint = self._resolve(model, declared)
        engine = self._use(endpoint)
        return Binding(
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
        engine = self._engines.get(endpoint.of_app(self._instance_path))
        # A new set, because another thread may be iterating over the old one.
        self._used = frozenset({*filter(_is_alive, self._used), weakref.ref(engine)})
        return engine

    def _connect(self, engine: Engine, model_name: str | None = None) -> Connection:
        return Connection(engine, self.policy, model_name=model_name)


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
