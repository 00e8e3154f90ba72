"""Some products, customers and orders for each tenant."""

from __future__ import annotations

import typing as t

from . import placing
from . import tenants
from .models import Customer
from .models import Product
from .models import catalogue_key

PRODUCTS = (
    ("beans", "Coffee beans, 1 kg", 1890, 40),
    ("cup", "Cup", 750, 120),
    ("filter", "Paper filters, 100", 490, 200),
    ("grinder", "Hand grinder", 6900, 3),
    ("kettle", "Kettle", 4500, 8),
    ("tea", "Green tea, 250 g", 1290, 25),
)
# The same ids each time, for the commands of the README.
CUSTOMERS = (
    ("01900000-0000-7000-8000-000000000001", "Ann Archer", "ann@example.com"),
    ("01900000-0000-7000-8000-000000000002", "Bob Baker", "bob@example.com"),
)
# The orders of each of them.
ORDERS = (
    ({"beans": 1, "filter": 2}, {"cup": 4}),
    ({"tea": 2, "kettle": 1},),
)


async def save() -> None:
    """Save them in the current app, for each tenant that has no product yet."""
    for tenant in tenants.all_tenants():
        with tenants.act_for(tenant):
            if not await Product.acount(catalogue_key(), limit=1):
                await _save()


async def _save() -> None:
    async with Product.abatch_write() as batch:
        for sku, name, price_cents, stock in PRODUCTS:
            await batch.save(Product.of(sku, name=name, price_cents=price_cents, stock=stock))

    for (id, name, email), orders in zip(CUSTOMERS, ORDERS, strict=True):
        await Customer.of(id, name=name, email=email).asave()

        placed = [
            await placing.place(id, _lines(order), f"demo-{number}")
            for number, order in enumerate(orders)
        ]
        await placing.move(placed[-1], "paid")


def _lines(order: dict[str, int]) -> list[dict[str, t.Any]]:
    return [{"sku": sku, "quantity": quantity} for sku, quantity in order.items()]
