"""The settings of both apps.

Environment variables can set each of them, too: ``POLLS_`` followed by the setting's name.
"""

from __future__ import annotations

import collections.abc as cabc
import typing as t

from flask.sansio.app import App

# A file in the instance folder. All processes that name it share one engine: gunicorn's workers,
# Hypercorn, and a command in a terminal. POLLS_DYNAMODB_HOST=null selects DynamoDB itself.
DYNAMODB_HOST = "local:///polls.db"

# Shorter than gunicorn's and nginx's patience, so that a visitor gets an error page and no silence.
DYNAMODB_CALL_TIMEOUT_SECONDS = 10

# The origins under which browsers see the two apps, such as "http://127.0.0.1:5000". Empty: the
# same origin for both, as behind a reverse proxy.
PAGE_ORIGIN = ""
LIVE_ORIGIN = ""

# Every so many seconds, each process that serves live results reads each poll that someone watches.
LIVE_INTERVAL_SECONDS = 1

# For development only, because anyone who knows the key can forge a session. Elsewhere, set
# POLLS_SECRET_KEY.
SECRET_KEY = "development only"

SESSION_COOKIE_NAME = "polls_session"
SESSION_COOKIE_SAMESITE = "Lax"

# In bytes: more than a poll needs, and few enough for a server.
MAX_CONTENT_LENGTH = 16 * 1024


def configure(app: App, settings: cabc.Mapping[str, t.Any]) -> None:
    """Configure an app from this module. Environment variables take precedence, and then settings.

    :param app: The app.
    :param settings: Settings of a test.
    """
    app.config.from_object(__name__)
    app.config.from_prefixed_env("POLLS")
    app.config.update(settings)
