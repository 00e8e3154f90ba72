"""The commands that make a shop on a server."""

from __future__ import annotations

import asyncio
import typing as t

import quart

from examples.shop.tests.clients import Client
from examples.shop.tests.clients import rows


def test_commands_create_tables_and_demo_data_once(app: quart.Quart, acme: Client) -> None:
    assert "shop: created" in run(app, "dynamodb", "create-tables", "--bind", "eu")
    run(app, "seed")
    first = asyncio.run(all_rows(app))
    # Six products, two customers, three orders and their requests, for each of three tenants.
    assert [len(keys) for keys in first] == [2 * 14, 14]
    run(app, "seed")
    assert asyncio.run(all_rows(app)) == first
    assert asyncio.run(acme.stock("beans")) == 39


async def all_rows(app: quart.Quart) -> tuple[t.Any, t.Any]:
    return await rows(app), await rows(app, "eu")


def run(app: quart.Quart, *arguments: str) -> str:
    result = app.test_cli_runner().invoke(args=arguments)
    output: str = result.output
    assert result.exit_code == 0, output
    return output
