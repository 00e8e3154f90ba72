"""The settings of both apps.

Environment variables can set each of them, too: ``TODO_`` followed by the setting's name.
"""

from __future__ import annotations

import collections.abc as cabc
import typing as t

from flask.sansio.app import App

EMBEDDED = "local://"

# The embedded engine starts empty, with the app, and ends with the app. Apps share it if one parent
# process has started both. TODO_DYNAMODB_HOST=null selects DynamoDB itself.
DYNAMODB_HOST = EMBEDDED

# For development only, because anyone who knows the key can forge a session. Elsewhere, set
# TODO_SECRET_KEY.
SECRET_KEY = "development only"

SESSION_COOKIE_NAME = "todo_session"
SESSION_COOKIE_SAMESITE = "Lax"

# In bytes: more than a title needs, and few enough for a server.
MAX_CONTENT_LENGTH = 16 * 1024


def configure(app: App, settings: cabc.Mapping[str, t.Any]) -> None:
    """Configure an app from this module. Environment variables take precedence, and then settings.

    :param app: The app.
    :param settings: Settings of a test.
    """
    app.config.from_object(__name__)
    app.config.from_prefixed_env("TODO")
    app.config.update(settings)
