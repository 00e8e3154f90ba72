"""The app: a shop for each tenant, as an API."""

from __future__ import annotations

import asyncio
import collections.abc as cabc
import typing as t

import pydantic
import pydantic_core
from pynamodb.exceptions import PynamoDBException
from quart import Blueprint
from quart import Quart
from quart.helpers import get_debug_flag
from quart.typing import ResponseReturnValue
from quart_schema import RequestSchemaValidationError
from quart_schema import tag_blueprint
from werkzeug.exceptions import BadRequest
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import ServiceUnavailable

from dynamo_ext_async.web.browse import blueprint as browse

from . import config
from . import contract
from . import customers
from . import demo_data
from . import orders
from . import products
from . import tenants
from .models import Order
from .models import db

_CONTENTION = {
    "TransactionCanceledException",
    "TransactionConflictException",
    "TransactionInProgressException",
}

# Every view is below it, so none forgets for whom it acts.
api = Blueprint("api", __name__)
api.before_request(tenants.begin_request)
api.teardown_request(tenants.end_request)

for _name, _bp in {"Products": products.bp, "Customers": customers.bp, "Orders": orders.bp}.items():
    tag_blueprint(_bp, [_name])
    api.register_blueprint(_bp)


def create_app(settings: cabc.Mapping[str, t.Any] | None = None) -> Quart:
    app = Quart(__name__)
    config.configure(app, settings or {})
    tenants.init_app(app)
    app.register_blueprint(api)

    # 'quart run --debug' sets 'app.debug' only afterwards.
    if get_debug_flag():
        app.register_blueprint(browse())

    contract.init_app(app)
    # After quart-schema, which gives the app another JSON provider.
    db.init_app(app)
    app.register_error_handler(HTTPException, show_error)
    app.register_error_handler(RequestSchemaValidationError, show_invalid)
    app.register_error_handler(PynamoDBException, show_failure)

    if config.is_embedded(app):
        app.before_serving(prepare)

    @app.cli.command("seed")
    def seed() -> None:
        """Save the demo data."""
        asyncio.run(save_demo_data(app))

    return app


async def prepare() -> None:
    """Create the tables, and save the demo data: another process can't reach this app's engine."""
    for bind in {tenant.bind for tenant in tenants.all_tenants()}:
        with db.using(bind):
            await Order.acreate_table(wait=True)

    await demo_data.save()


async def save_demo_data(app: Quart) -> None:
    async with app.app_context():
        await demo_data.save()


async def show_error(error: HTTPException) -> ResponseReturnValue:
    headers = [(name, value) for name, value in error.get_headers() if name != "Content-Type"]
    return {"error": error.description}, error.code or 500, headers


async def show_invalid(error: RequestSchemaValidationError) -> ResponseReturnValue:
    reason = error.validation_error
    details = reason.errors() if isinstance(reason, pydantic.ValidationError) else []
    return await show_error(BadRequest("; ".join(map(_describe, details)) or str(reason)))


async def show_failure(error: PynamoDBException) -> ResponseReturnValue:
    if getattr(error, "outcome_unknown", False):
        return await show_error(
            ServiceUnavailable("It is not known whether this was done. Look before you repeat it.")
        )

    if error.cause_response_code in _CONTENTION:
        return await show_error(
            ServiceUnavailable("Others are changing the same. Send it again.", retry_after=1)
        )

    raise error


def _describe(error: pydantic_core.ErrorDetails) -> str:
    name = ".".join(map(str, error["loc"])) or "The request"
    return f"{name}: {error['msg']}"
