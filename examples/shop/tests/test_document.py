"""The OpenAPI document, and errors that no view answers with."""

from __future__ import annotations

import typing as t

import pytest
import quart
from quart.typing import TestClientProtocol as QuartClient

from examples.shop.app import create_app
from examples.shop.tests.clients import SETTINGS
from examples.shop.tests.clients import Client

pytestmark = pytest.mark.anyio
NOBODY = "00000000-0000-0000-0000-000000000000"
UNKNOWN = f"/customers/{NOBODY}"
ERRORS: tuple[tuple[str, str, t.Any, int], ...] = (
    ("GET", "/nowhere", None, 404),
    ("GET", "/customers/not-a-uuid", None, 404),
    # Longer than a key of DynamoDB can be.
    ("GET", f"/products/{'x' * 2000}", None, 404),
    ("GET", UNKNOWN, None, 404),
    ("GET", f"{UNKNOWN}/orders/{NOBODY}", None, 404),
    ("PATCH", f"{UNKNOWN}/orders/{NOBODY}", {"state": "paid"}, 404),
    ("PATCH", f"{UNKNOWN}/orders/{NOBODY}", {"state": "lost"}, 400),
    ("GET", "/orders?state=lost", None, 400),
    ("PUT", "/products", {}, 405),
    ("POST", "/products", None, 400),
    ("POST", "/products", [], 400),
    ("POST", "/products", "x" * 70_000, 413),
)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> QuartClient:
    """A client without a token, of an app in debug mode that sends nothing."""
    monkeypatch.setenv("QUART_DEBUG", "1")
    return create_app({**SETTINGS, "DYNAMODB_HOST": "http://127.0.0.1:1"}).test_client()


async def test_document_has_all_paths(client: QuartClient) -> None:
    document = await read(client)
    assert {path: set(methods) for path, methods in document["paths"].items()} == {
        "/products": {"get", "post"},
        "/products/{sku}": {"get"},
        "/products/{sku}/deliveries": {"post"},
        "/customers": {"post"},
        "/customers/{id}": {"get"},
        "/customers/{customer_id}/orders": {"get", "post"},
        "/customers/{customer_id}/orders/{id}": {"get", "patch"},
        "/orders": {"get"},
    }


async def test_document_says_how_to_authenticate(client: QuartClient) -> None:
    document = await read(client)
    assert document["security"] == [{"token": []}]
    schemes = document["components"]["securitySchemes"]
    assert (schemes["token"]["type"], schemes["token"]["scheme"]) == ("http", "bearer")


async def test_document_says_what_an_order_takes_and_gives(client: QuartClient) -> None:
    document = await read(client)
    place = document["paths"]["/customers/{customer_id}/orders"]["post"]
    body = place["requestBody"]["content"]["application/json"]["schema"]
    line = document["components"]["schemas"]["NewLine"]
    assert body["properties"]["lines"]["maxItems"] == 50
    assert line["properties"]["quantity"]["maximum"] == 1000
    assert set(line["properties"]) == {"sku", "quantity"}
    placed = place["responses"]["201"]["content"]["application/json"]["schema"]
    assert placed["properties"]["state"]["enum"] == ["open", "paid", "shipped", "cancelled"]
    assert placed["properties"]["created_at"]["format"] == "date-time"
    assert set(place["responses"]) == {"201", "400", "401", "404", "409", "422", "503"}
    assert "idempotency-key" in {each["name"] for each in place["parameters"]}


async def test_document_names_no_key(client: QuartClient) -> None:
    document = await read(client)
    text = str(document)
    assert not [key for key in ("'pk'", "'sk'", "'kind'", "'tenant_state'") if key in text]


async def test_page_that_shows_the_document_needs_no_token(client: QuartClient) -> None:
    response = await client.get("/docs")
    assert response.status_code == 200
    assert "/openapi.json" in await response.get_data(as_text=True)


async def test_page_to_look_at_data_is_there_in_debug_mode_only(
    app: quart.Quart, client: QuartClient
) -> None:
    # It refuses this client, because the app's own 'debug' is not set.
    assert (await client.get("/dynamodb/")).status_code == 403
    assert (await app.test_client().get("/dynamodb/")).status_code == 404


async def test_every_error_is_json(acme: Client) -> None:
    for method, path, body, status in ERRORS:
        response = await acme.send(method, path, body)
        assert response.status_code == status
        assert set(await response.get_json()) == {"error"}


async def read(client: QuartClient) -> t.Any:
    response = await client.get("/openapi.json")
    assert response.status_code == 200
    return await response.get_json()
