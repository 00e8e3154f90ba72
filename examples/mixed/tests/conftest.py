"""Both apps with the settings of the fixture ``dynamodb``, and with their tables."""

from __future__ import annotations

import flask
import pytest
import quart

from dynamo_ext.testing import DynamoDB
from examples.mixed import live
from examples.mixed import web

SETTINGS = {
    "TESTING": True,
    # Errors are shown to users as in production, and not raised in the test.
    "PROPAGATE_EXCEPTIONS": False,
    # A retry need not wait.
    "DYNAMODB_BASE_BACKOFF_MS": 0,
    # In the Quart app, a call that blocks the event loop fails.
    "DYNAMODB_BLOCKING_CALLS": "raise",
    "PAGE_ORIGIN": "https://polls.example",
    "LIVE_ORIGIN": "https://live.example",
    "LIVE_INTERVAL_SECONDS": 0.01,
}


@pytest.fixture
def web_app(dynamodb: DynamoDB) -> flask.Flask:
    app = web.create_app({**SETTINGS, **dynamodb.config})
    dynamodb.create_tables(app)
    return app


@pytest.fixture
def live_app(dynamodb: DynamoDB) -> quart.Quart:
    app = live.create_app({**SETTINGS, **dynamodb.config})
    dynamodb.create_tables(app)
    return app


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of tests that are marked ``anyio``."""
    return "asyncio"
