"""Tenants: who may see what, and where it is."""

from __future__ import annotations

import asyncio
import typing as t

import pytest
import quart

from dynamo_ext.testing import DynamoDB
from examples.shop.app import create_app
from examples.shop.tests.clients import SETTINGS
from examples.shop.tests.clients import TENANTS
from examples.shop.tests.clients import Client
from examples.shop.tests.clients import rows

HIDDEN = ("'pk'", "'sk'", "'kind'", "tenant_state", "acme")
WITHOUT_TOKEN: tuple[dict[str, str], ...] = (
    {},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer "},
    {"Authorization": "Bearer wrong"},
    {"Authorization": "Bearer \xe9"},
    {"Authorization": f"Basic {TENANTS['acme']['token']}"},
    {"Authorization": f"Token {TENANTS['acme']['token']}"},
    {"X-Tenant": "acme"},
)

pytestmark = pytest.mark.anyio


async def test_nobody_reads_without_a_token(app: quart.Quart, dynamodb: DynamoDB) -> None:
    client = app.test_client()

    for headers in WITHOUT_TOKEN:
        for path in ("/products", "/products/tea", "/orders"):
            response = await client.get(path, headers=headers)
            assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Bearer")
            assert set(await response.get_json()) == {"error"}

    assert dynamodb.calls == []


async def test_tenants_see_nothing_of_each_other(acme: Client, other: Client) -> None:
    await acme.add_product("tea")
    customer = await acme.add_customer()
    placed = f"{customer}/orders/{(await acme.order(customer, tea=1))['id']}"
    assert (await other.get("/products"))["items"] == []
    assert (await other.get("/orders"))["items"] == []
    assert (await other.get(f"{customer}/orders"))["items"] == []

    for path in ("/products/tea", customer, placed):
        await acme.get(path)
        await other.get(path, 404)

    await other.patch(placed, {"state": "paid"}, 404)
    await other.post("/products/tea/deliveries", {"quantity": 1}, 404)
    await other.order(customer, 400, tea=1)
    await other.add_product("tea", stock=1)
    await other.order(customer, 404, tea=1)
    assert (await acme.get(placed))["state"] == "open"
    assert (await acme.stock("tea"), await other.stock("tea")) == (9, 1)


async def test_cursor_of_another_tenant_is_refused(
    acme: Client, other: Client, dynamodb: DynamoDB
) -> None:
    for sku in ("cup", "tea"):
        await acme.add_product(sku)
        await other.add_product(sku)

    page = await acme.get("/products?per_page=1")
    dynamodb.calls.clear()
    assert "not valid here" in (await other.get(page["next"], 400))["error"]
    assert dynamodb.calls == []


async def test_no_response_shows_a_key(acme: Client) -> None:
    await acme.add_product("tea")
    await acme.add_product("cup")
    customer = await acme.add_customer()
    placed = await acme.order(customer, tea=1)

    for path in (
        *("/products?per_page=1", "/products/tea", customer, "/orders", f"{customer}/orders"),
        f"{customer}/orders/{placed['id']}",
    ):
        text = str(await acme.get(path))
        assert not [key for key in HIDDEN if key in text]


async def test_each_tenant_has_its_data_where_its_bind_says(
    app: quart.Quart, acme: Client, brot: Client
) -> None:
    async def shop(client: Client) -> None:
        await client.add_product("tea")
        customer = await client.add_customer()
        placed = await client.order(customer, tea=1)
        await client.patch(f"{customer}/orders/{placed['id']}", {"state": "cancelled"})
        assert len((await client.get("/orders?state=cancelled"))["items"]) == 1

    # At once, in one event loop.
    await asyncio.gather(shop(acme), shop(brot))
    here, there = await rows(app), await rows(app, "eu")
    assert len(here) == len(there) == 4
    assert {pk.partition("#")[0] for pk, _ in here} == {"acme"}
    assert {pk.partition("#")[0] for pk, _ in there} == {"brot"}


@pytest.mark.parametrize(
    ("tenants", "message"),
    [
        ({"a#b": {"token": "x" * 16}}, "'a#b' is not a tenant's name"),
        ({"": {"token": "x" * 16}}, "'' is not a tenant's name"),
        ({"a\n": {"token": "x" * 16}}, "is not a tenant's name"),
        ({"a": {"bind": "eu"}}, "The tenant 'a' must have a 'token'"),
        ({"a": {"tokn": "x" * 16}}, "The tenant 'a' must have a 'token'"),
        ({"a": {"token": "x" * 15}}, "The token of 'a' has less than 16 characters"),
        ({"a": {"token": "x" * 16, "bind": "us"}}, "The bind of 'a' is not in DYNAMODB_BINDS"),
        ({"a": {"token": "x" * 16}, "b": {"token": "x" * 16}}, "Two tenants have the same token"),
    ],
)
def test_invalid_tenant_is_refused_at_the_start(tenants: dict[str, t.Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        create_app({**SETTINGS, "TENANTS": tenants})

    assert "x" * 15 not in str(raised.value)


def test_secrets_of_development_are_refused_on_a_server() -> None:
    with pytest.raises(RuntimeError, match=r"Set SHOP_SECRET_KEY and SHOP_TENANTS\."):
        create_app({"DYNAMODB_HOST": None})
