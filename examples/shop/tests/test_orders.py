"""Orders: what one transaction does, and what it does not do."""

from __future__ import annotations

import asyncio
import datetime
import typing as t

import pytest
import quart

from dynamo_ext.testing import DynamoDB
from examples.shop.tests.clients import Client
from examples.shop.tests.clients import order
from examples.shop.tests.clients import rows

pytestmark = pytest.mark.anyio

UNKNOWN = "/customers/00000000-0000-0000-0000-000000000000"
IMPOSSIBLE: tuple[tuple[t.Any, int, str], ...] = (
    (order(cup=1, tea=4), 409, "There is not enough in stock: tea."),
    (order(cup=11, tea=4), 409, "There is not enough in stock: cup, tea."),
    (order(cup=1, pot=1), 400, "There is no such product: pot."),
    (order(cup=0), 400, "lines.0.quantity: Input should be greater than or equal to 1"),
    (order(), 400, "lines: List should have at least 1 item after validation, not 0"),
    ({"lines": order(cup=1)["lines"] * 2}, 400, "Name each product once."),
    ({"lines": order(cup=1)["lines"] * 51}, 400, "lines: List should have at most 50 items"),
)


@pytest.fixture
async def ann(acme: Client) -> str:
    """A customer, in a shop with two products."""
    await acme.add_product("cup", price_cents=750, stock=10)
    await acme.add_product("tea", price_cents=1290, stock=3)
    return await acme.add_customer("Ann")


async def test_order_is_one_transaction(acme: Client, ann: str, dynamodb: DynamoDB) -> None:
    dynamodb.calls.clear()
    response = await acme.send("POST", f"{ann}/orders", order(cup=2, tea=3))
    placed = await response.get_json()
    assert response.status_code == 201
    assert [call.operation for call in dynamodb.calls] == ["BatchGetItem", "TransactWriteItems"]
    assert (placed["state"], placed["total_cents"]) == ("open", 2 * 750 + 3 * 1290)
    assert datetime.datetime.fromisoformat(placed["created_at"]).tzinfo is not None
    assert placed["lines"][1] == {"sku": "tea", "name": "Tea", "price_cents": 1290, "quantity": 3}
    assert await acme.get(response.headers["Location"]) == placed
    assert (await acme.stock("cup"), await acme.stock("tea")) == (8, 0)
    assert (await acme.get(ann))["order_count"] == 1


async def test_order_that_can_not_be_placed_changes_nothing(
    app: quart.Quart, acme: Client, ann: str
) -> None:
    before = await rows(app)

    for body, status, message in IMPOSSIBLE:
        error = await acme.post(f"{ann}/orders", body, status)
        assert error["error"].startswith(message)

    assert (await acme.stock("cup"), await acme.stock("tea")) == (10, 3)
    assert (await acme.get(ann))["order_count"] == 0
    assert await rows(app) == before


async def test_order_of_an_unknown_customer_changes_nothing(
    app: quart.Quart, acme: Client, ann: str
) -> None:
    before = await rows(app)
    error = await acme.order(UNKNOWN, 404, cup=1)
    assert error["error"].startswith("There is no customer ")
    assert await acme.stock("cup") == 10
    assert await rows(app) == before


async def test_of_orders_at_once_only_what_is_in_stock_is_sold(acme: Client, ann: str) -> None:
    bodies = [acme.send("POST", f"{ann}/orders", order(tea=1)) for _ in range(5)]
    statuses = [response.status_code for response in await asyncio.gather(*bodies)]
    assert sorted(statuses) == [201, 201, 201, 409, 409]
    assert await acme.stock("tea") == 0
    assert (await acme.get(ann))["order_count"] == 3


async def test_same_request_places_no_second_order(acme: Client, ann: str) -> None:
    first, second = [
        await acme.post(f"{ann}/orders", order(tea=3), Idempotency_Key="a") for _ in range(2)
    ]
    assert first == second
    assert (await acme.get(ann))["order_count"] == 1
    assert await acme.stock("tea") == 0


async def test_key_belongs_to_one_order_of_one_customer(acme: Client, ann: str) -> None:
    await acme.post(f"{ann}/orders", order(tea=1), Idempotency_Key="a")
    error = await acme.post(f"{ann}/orders", order(tea=2), 422, Idempotency_Key="a")
    assert error == {"error": "This Idempotency-Key was sent with another order."}
    assert await acme.stock("tea") == 2
    bob = await acme.add_customer("Bob")
    await acme.post(f"{bob}/orders", order(tea=2), 201, Idempotency_Key="a")
    assert await acme.stock("tea") == 0


async def test_invalid_key_is_refused(acme: Client, ann: str) -> None:
    for key in ("", "x" * 101, "a b", "é"):
        error = await acme.post(f"{ann}/orders", order(tea=1), 400, Idempotency_Key=key)
        assert error["error"].startswith("idempotency_key: ")


async def test_order_whose_answer_was_lost_is_placed_once(
    acme: Client, ann: str, dynamodb: DynamoDB
) -> None:
    dynamodb.lose_response("TransactWriteItems")
    placed = await acme.order(ann, tea=2)
    assert (await acme.get(ann))["latest_orders"] == [placed]
    assert await acme.stock("tea") == 1


async def test_order_that_failed_can_be_sent_again(
    acme: Client, ann: str, dynamodb: DynamoDB
) -> None:
    # As often as it is tried.
    dynamodb.fail("TransactWriteItems", error="InternalServerError", times=4)
    request = "POST", f"{ann}/orders", order(tea=2)
    failed = await acme.send(*request, Idempotency_Key="a")
    assert failed.status_code == 503
    assert "not known" in (await failed.get_json())["error"]
    assert (await acme.send(*request, Idempotency_Key="a")).status_code == 201
    assert (await acme.get(ann))["order_count"] == 1


async def test_contention_is_answered_with_when_to_try_again(
    acme: Client, ann: str, dynamodb: DynamoDB
) -> None:
    dynamodb.fail("TransactWriteItems", error="TransactionCanceledException")
    response = await acme.send("POST", f"{ann}/orders", order(tea=2))
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert await acme.stock("tea") == 3


async def test_customer_with_the_latest_orders_is_one_query(
    acme: Client, ann: str, dynamodb: DynamoDB
) -> None:
    placed = [await acme.order(ann, cup=1) for _ in range(10)]
    await acme.post("/products/cup/deliveries", {"quantity": 5}, 200)
    placed += [await acme.order(ann, cup=1) for _ in range(2)]
    dynamodb.calls.clear()
    customer = await acme.get(ann)
    assert [call.operation for call in dynamodb.calls] == ["Query"]
    assert customer["name"] == "Ann"
    assert customer["latest_orders"] == placed[:1:-1]
    page = await acme.get(f"{ann}/orders?per_page=11")
    assert page["items"] == placed[:0:-1]
    assert (await acme.get(page["next"]))["items"] == placed[:1]


async def test_order_moves_from_state_to_state(acme: Client, ann: str) -> None:
    first, second = [await acme.order(ann, cup=1) for _ in range(2)]
    assert await ids(acme, "open") == [first["id"], second["id"]]

    for state in ("paid", "shipped"):
        moved = await acme.patch(f"{ann}/orders/{first['id']}", {"state": state})
        assert moved == {**first, "state": state}
        assert await ids(acme, state) == [first["id"]]

    for id, state in ((first["id"], "paid"), (second["id"], "shipped"), (second["id"], "open")):
        error = await acme.patch(f"{ann}/orders/{id}", {"state": state}, 409)
        assert error["error"].endswith(f"can't become {state}.")

    assert await ids(acme, "paid") == []
    assert await ids(acme, "open") == [second["id"]]


async def test_cancelled_order_gives_back_what_was_ordered(acme: Client, ann: str) -> None:
    placed = await acme.order(ann, cup=4, tea=3)
    moved = await acme.patch(f"{ann}/orders/{placed['id']}", {"state": "cancelled"})
    assert moved == {**placed, "state": "cancelled"}
    assert (await acme.stock("cup"), await acme.stock("tea")) == (10, 3)
    error = await acme.patch(f"{ann}/orders/{placed['id']}", {"state": "cancelled"}, 409)
    assert error == {"error": "The order is cancelled, and can't become cancelled."}
    assert await acme.stock("tea") == 3


@pytest.mark.parametrize(("slow", "quick"), [("paid", "cancelled"), ("cancelled", "paid")])
async def test_change_that_comes_between_reading_and_writing_is_told(
    acme: Client, ann: str, dynamodb: DynamoDB, slow: str, quick: str
) -> None:
    placed = await acme.order(ann, cup=4)
    path = f"{ann}/orders/{placed['id']}"
    dynamodb.delay(0.3, "GetItem")
    first = asyncio.create_task(acme.send("PATCH", path, {"state": slow}))
    await until_read(dynamodb)
    second = await acme.send("PATCH", path, {"state": quick})
    # On a busy machine, the slow one may be the first to write.
    assert sorted([(await first).status_code, second.status_code]) == [200, 409]
    is_cancelled = (await acme.get(path))["state"] == "cancelled"
    assert await acme.stock("cup") == (10 if is_cancelled else 6)


async def ids(client: Client, state: str) -> list[str]:
    page = await client.get(f"/orders?state={state}")
    return [order["id"] for order in page["items"]]


async def until_read(dynamodb: DynamoDB) -> None:
    # No event tells what has reached the engine, so poll.
    while "GetItem" not in [call.operation for call in dynamodb.calls]:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
