"""Placing an order, and moving it on. Each is done as a whole or not at all."""

from __future__ import annotations

import collections.abc as cabc
import json
import typing as t

from pynamodb.exceptions import TransactWriteError
from pynamodb.exceptions import UpdateError
from quart import abort

from .models import Customer
from .models import Order
from .models import OrderLine
from .models import PlacedOrder
from .models import Product
from .models import State
from .models import catalogue_key
from .models import db
from .models import failed_conditions
from .models import order_key

NEXT: t.Final[cabc.Mapping[State, tuple[State, ...]]] = {
    "open": ("paid", "cancelled"),
    "paid": ("shipped",),
    "shipped": (),
    "cancelled": (),
}


async def place(
    customer_id: str, wanted: cabc.Sequence[cabc.Mapping[str, t.Any]], key: str | None
) -> Order:
    """Place an order, once for each key.

    One transaction writes the order, takes it from the stock, counts it, and notes the request. So
    the same request, or the same transaction after its answer was lost, places no second order:
    DynamoDB knows a repeated transaction for ten minutes only, and the embedded engine never.

    :param customer_id: Who orders.
    :param wanted: The ``sku`` and ``quantity`` of each line.
    :param key: The client's ``Idempotency-Key``; ``None`` if it has sent none.
    :return: The order, or the one that was placed with this key.
    :raises HTTPException: if it can't be placed: 400, 404, 409 or 422.
    """
    lines = await _price(wanted)
    order = Order.of(customer_id, lines)
    request = PlacedOrder.of(order, key or order.id, json.dumps(wanted, sort_keys=True))

    try:
        async with db.atransact_write() as transaction:
            transaction.save(request, PlacedOrder.pk.does_not_exist())
            transaction.save(order)

            for line in lines:
                transaction.update(
                    Product(catalogue_key(), line.sku),
                    [Product.stock.add(-line.quantity)],
                    Product.stock >= line.quantity,
                )

            transaction.update(
                Customer.of(customer_id), [Customer.order_count.add(1)], Customer.pk.exists()
            )
    except TransactWriteError as error:
        failed = failed_conditions(error)

        if not any(failed):
            raise

        # In the order of the writes above.
        noted, _, *short, unknown = failed

        if noted:
            return await _placed_before(request)

        if unknown:
            abort(404, f"There is no customer {customer_id}.")

        skus = ", ".join(line.sku for line, is_short in zip(lines, short, strict=True) if is_short)
        abort(409, f"There is not enough in stock: {skus}.")

    return order


async def move(order: Order, state: State) -> None:
    """Move an order to another state.

    :param order: The order, as it was read.
    :param state: The state.
    :raises HTTPException: if it can't be moved there from the state that it has: 409.
    """
    if state not in NEXT[order.state]:
        abort(409, f"The order is {order.state}, and can't become {state}.")

    try:
        await (_cancel(order) if state == "cancelled" else _move(order, state))
    except (TransactWriteError, UpdateError) as error:
        if any(failed_conditions(error)):
            abort(409, "Someone has just changed this order. Read it again.")

        raise


async def _price(wanted: cabc.Sequence[cabc.Mapping[str, t.Any]]) -> list[OrderLine]:
    """The lines of an order, with the names and prices that the products have now."""
    keys = [(catalogue_key(), line["sku"]) for line in wanted]

    if len(set(keys)) < len(keys):
        abort(400, "Name each product once.")

    found = Product.abatch_get(keys, consistent_read=True)
    products = {product.sku: product async for product in found}

    if unknown := [line["sku"] for line in wanted if line["sku"] not in products]:
        abort(400, f"There is no such product: {', '.join(unknown)}.")

    return [OrderLine.of(products[line["sku"]], line["quantity"]) for line in wanted]


async def _placed_before(request: PlacedOrder) -> Order:
    noted = await PlacedOrder.aget(request.pk, request.sk, consistent_read=True)

    if noted.content != request.content:
        abort(422, "This Idempotency-Key was sent with another order.")

    return await Order.aget(*order_key(noted.customer_id, noted.order_id), consistent_read=True)


async def _move(order: Order, state: State) -> None:
    await order.aupdate(Order.moves_to(state), Order.state == order.state)


async def _cancel(order: Order) -> None:
    async with db.atransact_write() as transaction:
        transaction.update(order, Order.moves_to("cancelled"), Order.state == order.state)

        for line in order.lines:
            transaction.update(
                Product(catalogue_key(), line.sku), [Product.stock.add(line.quantity)]
            )

    # A transaction does not say what it has written.
    await order.arefresh(consistent_read=True)
