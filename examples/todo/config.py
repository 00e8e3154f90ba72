"""The settings that both apps share.

Each can be set in the environment, too, with ``TODO_`` before its name.
"""

from __future__ import annotations

from flask.sansio.app import App

EMBEDDED = "local://"

# The embedded engine starts with the app, empty, and ends with it. Apps that one parent process
# has started share it. TODO_DYNAMODB_HOST=null stands for DynamoDB itself.
DYNAMODB_HOST = EMBEDDED

# For development only: whoever knows it can forge a session. Elsewhere, set TODO_SECRET_KEY.
SECRET_KEY = "development only"

SESSION_COOKIE_NAME = "todo_session"
SESSION_COOKIE_SAMESITE = "Lax"

# In bytes. Much for a title, little for a server.
MAX_CONTENT_LENGTH = 16 * 1024


def configure(app: App) -> None:
    """Configure an app: from here, and what the environment says instead."""
    app.config.from_object(__name__)
    app.config.from_prefixed_env("TODO")
