"""The settings of the app that is tested, and clients of its tenants."""

from __future__ import annotations

import typing as t

import quart

from examples.shop.models import Row
from examples.shop.models import db

TENANTS: dict[str, dict[str, str]] = {
    "acme": {"token": "acme-in-these-tests"},
    "other": {"token": "other-in-these-tests"},
    "brot": {"token": "brot-in-these-tests", "bind": "eu"},
}
SETTINGS: dict[str, t.Any] = {
    "TESTING": True,
    # Errors are shown to clients as in production, and not raised in the test.
    "PROPAGATE_EXCEPTIONS": False,
    "SECRET_KEY": "of these tests",
    "TENANTS": TENANTS,
    # A retry need not wait.
    "DYNAMODB_BASE_BACKOFF_MS": 0,
    # A call that blocks the event loop fails.
    "DYNAMODB_BLOCKING_CALLS": "raise",
}


class Client:
    """A client of one tenant.

    :param app: The app.
    :param token: What it sends.
    """

    def __init__(self, app: quart.Quart, token: str) -> None:
        self._client = app.test_client()
        self._headers = {"Authorization": f"Bearer {token}"}

    async def send(
        self, method: str, path: str, body: t.Any = None, **headers: str
    ) -> quart.Response:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self._client.open(
            path, method=method, json=body, headers={**self._headers, **names}
        )

    async def get(self, path: str, status: int = 200) -> t.Any:
        return await _json(await self.send("GET", path), status)

    async def post(self, path: str, body: t.Any, status: int = 201, **headers: str) -> t.Any:
        return await _json(await self.send("POST", path, body, **headers), status)

    async def patch(self, path: str, body: t.Any, status: int = 200) -> t.Any:
        return await _json(await self.send("PATCH", path, body), status)

    async def add_product(self, sku: str, **attributes: t.Any) -> t.Any:
        product = {"sku": sku, "name": sku.title(), "price_cents": 250, "stock": 10, **attributes}
        return await self.post("/products", product)

    async def add_customer(self, name: str = "Ann") -> str:
        """Add a customer.

        :return: The path of the customer.
        """
        customer = await self.post("/customers", {"name": name, "email": "ann@example.com"})
        return f"/customers/{customer['id']}"

    async def order(self, customer: str, status: int = 201, /, **quantities: int) -> t.Any:
        return await self.post(f"{customer}/orders", order(**quantities), status)

    async def stock(self, sku: str) -> int:
        product = await self.get(f"/products/{sku}")
        stock: int = product["stock"]
        return stock


def order(**quantities: int) -> dict[str, t.Any]:
    return {"lines": [{"sku": sku, "quantity": number} for sku, number in quantities.items()]}


async def rows(app: quart.Quart, bind: str | None = None) -> set[tuple[str, str]]:
    """The keys of all items in the table of a bind."""
    async with app.app_context():
        with db.using(bind):
            return {(row.pk, row.sk) async for row in Row.ascan()}


async def _json(response: quart.Response, status: int) -> t.Any:
    assert response.status_code == status, await response.get_data()
    return await response.get_json()
