"""The framework-free part of ``PynamoDB``. The adapters add which apps it takes."""

from __future__ import annotations

import typing as t

import pynamodb.exceptions
from flask.sansio.app import App

from .binding import context
from .binding.app_state import AppState
from .binding.app_state import Engines
from .calls import deadline
from .calls.pool import Pool
from .cli.group import dynamodb
from .client.connection import Connection
from .config.settings import Settings
from .models import model
from .models.model import concrete_models
from .models.transaction import TransactGet
from .models.transaction import TransactWrite

_KEY = "pynamodb"
_ACCESS_DENIED = "AccessDeniedException"


class Extension:
    """Connects PynamoDB's models to apps.

    :param app: Call :meth:`init_app` on this app.
    """

    # An alias, so that mypy accepts "PynamoDB.Model" as a base.
    Model: t.TypeAlias = model.Model
    """The base of models. The same class as ``dynamo_ext.Model``."""

    _app_types: t.ClassVar[tuple[type[App], ...]] = ()
    _wanted: t.ClassVar[str] = ""

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

    @property
    def settings(self) -> Settings:
        """The settings of the current app.

        :raises RuntimeError: if no app is current, or this extension is not initialised on it.
        """
        return self._state.settings

    @property
    def connection(self) -> Connection:
        """PynamoDB's low-level connection, on the botocore client of the current app.

        :raises RuntimeError: as :attr:`settings` does.
        """
        return self._state.connection

    @property
    def pool(self) -> Pool:
        """The pool of slots of the current app.

        :raises RuntimeError: as :attr:`settings` does.
        """
        return self._state.engine.pool

    def ping(self, timeout: float = 2) -> None:
        """Check that the current app's endpoint answers and accepts its credentials.

        This is for a readiness probe. It sends ListTables. "Access denied" counts as a good answer,
        because an app need not have the right to list tables.

        :param timeout: How long the check may take in all, in seconds.
        :raises CallTimeout: if there is no answer in time.
        :raises pynamodb.exceptions.TableError: if the answer is another error.
        """
        with deadline.limit(timeout):
            try:
                self.connection.list_tables(limit=1)
            except pynamodb.exceptions.TableError as error:
                if error.cause_response_code != _ACCESS_DENIED:
                    raise

    def transact_get(self, *, return_consumed_capacity: str | None = None) -> TransactGet:
        """Read several items in one transaction of the current app.

        :param return_consumed_capacity: As in :class:`pynamodb.transactions.TransactGet`.
        :return: The transaction, for ``with``: it reads when the block ends without an exception.
        """
        return TransactGet(
            connection=self.connection, return_consumed_capacity=return_consumed_capacity
        )

    def transact_write(
        self,
        *,
        client_request_token: str | None = None,
        return_item_collection_metrics: str | None = None,
        return_consumed_capacity: str | None = None,
    ) -> TransactWrite:
        """Write several items in one transaction of the current app.

        :param client_request_token: As in :class:`pynamodb.transactions.TransactWrite`.
        :param return_item_collection_metrics: As in PynamoDB.
        :param return_consumed_capacity: As in PynamoDB.
        :return: The transaction, for ``with``: it writes when the block ends without an exception.
        """
        return TransactWrite(
            connection=self.connection,
            client_request_token=client_request_token,
            return_item_collection_metrics=return_item_collection_metrics,
            return_consumed_capacity=return_consumed_capacity,
        )

    @property
    def _state(self) -> AppState:
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
