"""The framework-free part of ``PynamoDB``. The adapters add which apps it takes."""

from __future__ import annotations

import contextlib
import functools
import typing as t

from flask.sansio.app import App
from pynamodb.pagination import ResultIterator as SyncResultIterator

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
from .web import json_provider
from .web import pages
from .web.pages import Options
from .web.pages import Page

T = t.TypeVar("T")

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
        json_provider.install(app)

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

    def paginate(
        self,
        result: SyncResultIterator[T],
        *,
        per_page: int | None = None,
        max_per_page: int | None = 100,
        cursor: str | None = None,
        max_age: float | None = None,
        scope: t.Any = None,
        max_requests: int | None = None,
    ) -> Page[T]:
        """Read one page of a query or scan, with links to the next and the previous one.

        :param result: What a model's or an index's ``query`` or ``scan`` has returned, not yet
            iterated, without ``limit`` and ``last_evaluated_key``.
        :param per_page: How many items a page has. In a request, the default is ``per_page`` of the
            query string; else it is 20.
        :param max_per_page: The most that ``per_page`` can be; ``None`` for any number.
        :param cursor: Where the page starts: a cursor of another page. In a request, the default is
            ``cursor`` of the query string; else it is the first page.
        :param max_age: How old a cursor may be, in seconds.
        :param scope: What else cursors are bound to, such as the id of the user who may use them:
            anything that JSON has a form for.
        :param max_requests: How many requests to make at most. A page that would need more, because
            of its filter, has fewer items.
        :return: The page.
        :raises InvalidCursor: if the cursor was altered, is too old, or was made for another query,
            scope or app. Unhandled, it is answered with 400.
        :raises werkzeug.exceptions.BadRequest: if ``per_page`` is no positive whole number.
        :raises ConfigError: if the app has no ``SECRET_KEY``.
        :raises TypeError: if ``result`` is something else.
        :raises ValueError: if ``result`` has been iterated, or has a ``limit`` or a
            ``last_evaluated_key``.
        :raises pynamodb.exceptions.PynamoDBException: if a call fails.
        """
        options = Options(
            per_page=per_page,
            max_per_page=max_per_page,
            cursor=cursor,
            max_age=max_age,
            scope=scope,
            max_requests=max_requests,
        )
        # Raises if the current app is not of this extension.
        _ = self._app_state
        return pages.paginate(context.app(), result, options)

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


def prepare_json(app: App) -> None:
    """Let an app's JSON provider serialise models, if the app has the extension.

    Called when a context or a request begins: the provider may be another one by then.

    :param app: The app.
    """
    if isinstance(app.extensions.get(_KEY), Extension):
        json_provider.install(app)
