"""The orders of a tenant's customers."""

from __future__ import annotations

import uuid

import pydantic
from quart import Blueprint
from quart import url_for

from dynamo_ext_async import Page

from . import pages
from . import placing
from .contract import contract
from .models import ORDERS
from .models import Order
from .models import customer_key
from .models import order_key
from .models import state_key
from .schemas import NewOrder
from .schemas import OrderChange
from .schemas import OrderHeaders
from .schemas import OrderItem
from .schemas import OrderPage
from .schemas import OrderQuery
from .schemas import PageQuery

bp = Blueprint("orders", __name__)


@bp.get("/orders")
@contract(OrderPage, query=OrderQuery, errors=(400,))
async def list_orders(query_args: OrderQuery) -> tuple[Page[Order], int, dict[str, str]]:
    """The orders of one state, the oldest first"""
    orders = Order.by_state.aquery(state_key(query_args.state))
    return await pages.answer(orders, query_args)


@bp.get("/customers/<uuid:customer_id>/orders")
@contract(OrderPage, query=PageQuery, errors=(400,))
async def list_orders_of(
    customer_id: uuid.UUID, query_args: PageQuery
) -> tuple[Page[Order], int, dict[str, str]]:
    """The orders of a customer, the latest first"""
    orders = Order.aquery(
        customer_key(str(customer_id)), Order.sk.startswith(ORDERS), scan_index_forward=False
    )
    return await pages.answer(orders, query_args)


@bp.post("/customers/<uuid:customer_id>/orders")
@contract(OrderItem, 201, body=NewOrder, headers=OrderHeaders, errors=(400, 404, 409, 422, 503))
async def place_order(
    customer_id: uuid.UUID, data: pydantic.BaseModel, headers: OrderHeaders
) -> tuple[Order, int, dict[str, str]]:
    """Place an order

    It is placed as a whole or not at all: 409 if a product's stock is too small. If it is sent
    again with the same `Idempotency-Key`, the answer is the order that was placed.
    """
    order = await placing.place(
        str(customer_id), data.model_dump()["lines"], headers.idempotency_key
    )
    return order, 201, {"Location": url_for(".show_order", customer_id=customer_id, id=order.id)}


@bp.get("/customers/<uuid:customer_id>/orders/<uuid:id>")
@contract(OrderItem, errors=(404,))
async def show_order(customer_id: uuid.UUID, id: uuid.UUID) -> Order:
    """An order"""
    return await _find(customer_id, id)


@bp.patch("/customers/<uuid:customer_id>/orders/<uuid:id>")
@contract(OrderItem, body=OrderChange, errors=(400, 404, 409, 503))
async def change_order(customer_id: uuid.UUID, id: uuid.UUID, data: pydantic.BaseModel) -> Order:
    """Move an order to its next state

    `open` orders become `paid` or `cancelled`, and `paid` ones `shipped`. What was ordered goes
    back to the stock if the order is cancelled.
    """
    order = await _find(customer_id, id)
    await placing.move(order, data.model_dump()["state"])
    return order


async def _find(customer_id: uuid.UUID, id: uuid.UUID) -> Order:
    keys = order_key(str(customer_id), str(id))
    # An order that was placed just now is there.
    message = f"There is no order {id} of this customer."
    return await Order.aget_or_404(*keys, consistent_read=True, message=message)
