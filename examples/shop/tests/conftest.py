"""The app, with the settings of the fixture ``dynamodb``, and a client of each tenant."""

from __future__ import annotations

import pytest
import quart

from dynamo_ext.testing import DynamoDB
from examples.shop.app import create_app
from examples.shop.models import Order
from examples.shop.models import db
from examples.shop.tests.clients import SETTINGS
from examples.shop.tests.clients import TENANTS
from examples.shop.tests.clients import Client


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of tests that are marked ``anyio``."""
    return "asyncio"


@pytest.fixture
def app(dynamodb: DynamoDB) -> quart.Quart:
    app = create_app({**SETTINGS, **dynamodb.config})
    dynamodb.create_tables(app, models=[Order])
    return app


@pytest.fixture
def acme(app: quart.Quart) -> Client:
    return Client(app, TENANTS["acme"]["token"])


@pytest.fixture
def other(app: quart.Quart) -> Client:
    """A tenant with the same bind as 'acme'."""
    return Client(app, TENANTS["other"]["token"])


@pytest.fixture
async def brot(app: quart.Quart, dynamodb: DynamoDB) -> Client:
    """A tenant whose data are in the European Union."""
    async with app.app_context():
        with db.using("eu"):
            await Order.acreate_table(wait=True)

    dynamodb.calls.clear()
    return Client(app, TENANTS["brot"]["token"])
