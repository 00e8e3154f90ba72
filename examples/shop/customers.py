"""The customers of a tenant."""

from __future__ import annotations

import typing as t
import uuid

import pydantic
from quart import Blueprint
from quart import abort
from quart import url_for

from .contract import contract
from .models import ORDERS
from .models import PROFILE
from .models import Customer
from .models import Row
from .models import customer_key
from .models import new_id
from .schemas import CustomerItem
from .schemas import CustomerWithOrders
from .schemas import NewCustomer

LATEST = 10

bp = Blueprint("customers", __name__, url_prefix="/customers")


@bp.post("")
@contract(CustomerItem, 201, body=NewCustomer, errors=(400,))
async def add_customer(data: pydantic.BaseModel) -> tuple[Customer, int, dict[str, str]]:
    """Add a customer"""
    customer = Customer.of(new_id(), **data.model_dump())
    await customer.asave()
    return customer, 201, {"Location": url_for(".show_customer", id=customer.id)}


@bp.get("/<uuid:id>")
@contract(CustomerWithOrders, errors=(404,))
async def show_customer(id: uuid.UUID) -> dict[str, t.Any]:
    """A customer, with the latest orders"""
    # One query. Backwards, the profile comes first, and then the orders, of which the latest.
    rows = Row.aquery(
        customer_key(str(id)),
        Row.sk.between(ORDERS, PROFILE),
        scan_index_forward=False,
        limit=1 + LATEST,
    )
    found = [row async for row in rows]

    if not found:
        abort(404, f"There is no customer {id}.")

    customer, *orders = found
    return {**customer.to_json_dict(), "latest_orders": orders}
