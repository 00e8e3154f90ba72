"""How a project would set its suite up."""

from __future__ import annotations

import os
import pathlib

import flask
import pytest
import quart
from quart_trio import QuartTrio

from dynamo_ext.testing import DynamoDB

from .app import create_api
from .app import create_web


def pytest_configure() -> None:
    # What the project's own settings would be, if a test forgot the fixture: AWS.
    os.environ.update(AWS_ACCESS_KEY_ID="of-the-project", AWS_SECRET_ACCESS_KEY="secret")


@pytest.fixture
def web(dynamodb: DynamoDB) -> flask.Flask:
    app = create_web({"TESTING": True, **dynamodb.config})
    dynamodb.create_tables(app)
    return app


@pytest.fixture
def api(dynamodb: DynamoDB) -> quart.Quart:
    app = create_api({"TESTING": True, **dynamodb.config})
    dynamodb.create_tables(app)
    return app


@pytest.fixture
def api_on_trio(dynamodb: DynamoDB) -> quart.Quart:
    app = create_api({"TESTING": True, **dynamodb.config}, kind=QuartTrio)
    dynamodb.create_tables(app)
    return app


@pytest.fixture(autouse=True)
def note_engine(request: pytest.FixtureRequest) -> None:
    """Leave the engine's address where the run can be examined."""
    if (directory := os.environ.get("ENGINES")) and "dynamodb" in request.fixturenames:
        worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
        url: str = request.getfixturevalue("dynamodb").config["DYNAMODB_HOST"]
        pathlib.Path(directory, worker).write_text(url)
