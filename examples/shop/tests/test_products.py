"""Products: pages, errors, deliveries."""

from __future__ import annotations

import typing as t

import pytest

from dynamo_ext.testing import DynamoDB
from examples.shop.tests.clients import Client

pytestmark = pytest.mark.anyio

TEA = {"sku": "tea", "name": "Green tea", "price_cents": 1290, "stock": 5}
INVALID: tuple[tuple[str, t.Any, str], ...] = (
    ("sku", "a#b", "String should match pattern"),
    ("name", " ", "String should have at least 1 character"),
    ("name", "\ud800", "Input should be a valid string"),
    ("price_cents", 12.9, "Input should be a valid integer"),
    ("price_cents", "12", "Input should be a valid integer"),
    ("price_cents", True, "Input should be a valid integer"),
    ("stock", -1, "Input should be greater than or equal to 0"),
    ("stock", 10**60, "Input should be less than or equal to"),
    ("pk", "other#products", "Extra inputs are not permitted"),
)


async def test_product_is_added_once(acme: Client) -> None:
    response = await acme.send("POST", "/products", {**TEA, "name": " Green tea "})
    assert (response.status_code, await response.get_json()) == (201, TEA)
    error = await acme.post("/products", {**TEA, "stock": 99}, 409)
    assert error == {"error": "There is a product 'tea' already."}
    assert await acme.get(response.headers["Location"]) == TEA


async def test_pages_follow_each_other_in_both_directions(acme: Client, dynamodb: DynamoDB) -> None:
    for sku in ("cup", "kettle", "tea"):
        await acme.add_product(sku)

    dynamodb.calls.clear()
    response = await acme.send("GET", "/products?per_page=2")
    first = await response.get_json()
    assert response.headers["Link"] == f'<{first["next"]}>; rel="next"'
    second = await acme.get(first["next"])
    assert skus(first) == ["cup", "kettle"]
    assert skus(second) == ["tea"]
    assert (first["prev"], second["next"]) == (None, None)
    assert skus(await acme.get(second["prev"])) == ["cup", "kettle"]
    assert {call.operation for call in dynamodb.calls} == {"Query"}


async def test_page_that_is_none_is_refused(acme: Client, dynamodb: DynamoDB) -> None:
    for query in ("per_page=0", "per_page=x", "cursor=x"):
        assert set(await acme.get(f"/products?{query}", 400)) == {"error"}

    assert dynamodb.calls == []


async def test_invalid_product_is_refused(acme: Client, dynamodb: DynamoDB) -> None:
    for name, value, message in INVALID:
        error = await acme.post("/products", {**TEA, name: value}, 400)
        assert error["error"].startswith(f"{name}: {message}")

    assert dynamodb.calls == []


async def test_delivery_adds_to_the_stock_of_a_product_that_is_there(acme: Client) -> None:
    error = await acme.post("/products/tea/deliveries", {"quantity": 7}, 404)
    assert error == {"error": "There is no product 'tea'."}
    assert skus(await acme.get("/products")) == []
    await acme.post("/products", TEA)
    assert (await acme.post("/products/tea/deliveries", {"quantity": 7}, 200))["stock"] == 12


async def test_delivery_whose_answer_was_lost_does_not_count_twice(
    acme: Client, dynamodb: DynamoDB
) -> None:
    await acme.post("/products", TEA)
    dynamodb.lose_response("UpdateItem")
    error = await acme.post("/products/tea/deliveries", {"quantity": 7}, 503)
    assert "not known" in error["error"]
    assert await acme.stock("tea") == 12


def skus(page: t.Any) -> list[str]:
    return [product["sku"] for product in page["items"]]
