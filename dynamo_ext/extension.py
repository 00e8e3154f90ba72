"""The framework-free part of ``PynamoDB``. The adapters add which apps it takes."""

from __future__ import annotations

import contextlib
import functools
import typing as t

from flask.sansio.app import App

from .binding import context
from .binding.app_state import AppState
from .binding.app_state import BindState
from .binding.app_state import Engines
from .binds import Access
from .binds import Bind
from .binds import Using
from .cli.group import dynamodb
from .config.settings import Settings
from .models import model
from .models.model import concrete_models

_KEY = "pynamodb"


class Extension(Access):
    """Connects PynamoDB's models to apps.

    :param app: Call :meth:`init_app` on this app.
    """

    # An alias, so that mypy accepts "PynamoDB.Model" as a base.
    Model: t.TypeAlias = model.Model
    """The base of models. The same class as ``dynamo_ext.Model``."""

    _app_types: t.ClassVar[tuple[type[App], ...]] = ()
    _wanted: t.ClassVar[str] = ""
    _bind_class: t.ClassVar[type[Bind]] = Bind

    def __init__(self, app: App | None = None) -> None:
        self._engines = Engines()

        if app is not None:
            self.init_app(app)

    def init_app(self, app: App) -> None:
        """Read an app's settings, and make the models work in that app.

        The settings are read once, here. No connection is opened yet.

        :param app: The app.
        :raises TypeError: if ``app`` is not an app of the extension's framework.
        :raises RuntimeError: if the app has a ``PynamoDB`` extension already.
        :raises ConfigError: if a setting is invalid. The message names its key.
        """
        if not isinstance(app, self._app_types):
            raise TypeError(f"'init_app' takes {self._wanted}, not {type(app).__name__!r}.")

        if _KEY in app.extensions:
            raise RuntimeError(
                f"A 'PynamoDB' extension is already initialised on the app {app.name!r}."
                " Import and use that one instead."
            )

        settings = Settings.from_mapping(app.config)
        context.register(app, AppState(app, settings, self._engines))
        app.extensions[_KEY] = self
        app.shell_context_processor(self._shell_context)
        app.cli.add_command(dynamodb)

    def using(self, bind_key: str | None) -> Using:
        """Use a bind of the current app, in a ``with`` block or in a function that this decorates.

        Inside, calls of models without a ``bind_key`` in their ``Meta``, and :attr:`settings`,
        :attr:`connection`, :attr:`pool` and the like, go by the bind. That holds for this task or
        thread, for the worker threads and tasks that it starts, and for the app in which the block
        was entered. Use ``with``, not ``async with``, in a coroutine, too.

        :param bind_key: The key of the bind in ``DYNAMODB_BINDS``; ``None`` for the app's own
            settings.
        :return: The block. To enter it raises :exc:`~dynamo_ext.ConfigError` if the app has no such
            bind.
        """
        return Using(functools.partial(self._find_to_use, bind_key))

    def bind(self, bind_key: str | None) -> Bind:
        """A bind of the current app, whatever :meth:`using` says.

        Which app is current is asked whenever the bind is used, so it may be created without one.

        :param bind_key: The key of the bind in ``DYNAMODB_BINDS``; ``None`` for the app's own
            settings.
        :return: The bind. If no app is current, its use raises what this would.
        :raises ConfigError: if the app has no such bind.
        """
        find = functools.partial(self._find_bind, bind_key)

        with contextlib.suppress(RuntimeError):
            find()

        return self._bind_class(find)

    def _find_bind(self, bind_key: str | None) -> BindState:
        return self._app_state.bind(bind_key)

    def _find_to_use(self, bind_key: str | None) -> tuple[AppState, BindState]:
        state = self._app_state
        return state, state.bind(bind_key)

    @property
    def _bind_state(self) -> BindState:
        return context.bind_state(self._app_state)

    @property
    def _app_state(self) -> AppState:
        app = context.app()
        state = context.state_of(app)

        if app.extensions.get(_KEY) is not self:
            raise RuntimeError(
                f"The current app {app.name!r} is not registered with this 'PynamoDB' instance,"
                " but with another one. Did you create several?"
            )

        return state

    def _shell_context(self) -> dict[str, t.Any]:
        return {**{each.__name__: each for each in concrete_models()}, "db": self}
