"""The shop example: its own tests, and what its README says on a real server."""

from __future__ import annotations

import argparse
import collections.abc as cabc
import pathlib
import shlex
import string
import subprocess
import sys

import httpx
import pytest

import todo

HYPERCORN = ("hypercorn", "--bind", "127.0.0.1:0", "examples.shop.app:create_app()")

CURL = argparse.ArgumentParser()
CURL.add_argument("-H", dest="header", action="append")
CURL.add_argument("-X", dest="method")
CURL.add_argument("-i", action="store_true")
CURL.add_argument("--json")
CURL.add_argument("url")

pytestmark = [pytest.mark.repo, pytest.mark.slow]


def test_its_own_tests() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "examples/shop"],
        capture_output=True,
        text=True,
        cwd=todo.ROOT,
        timeout=2 * todo.DEADLINE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed in " in done.stdout


def test_requests_of_its_readme_on_its_own_embedded_engine() -> None:
    with todo.serving(*HYPERCORN, environment={}) as url:
        answers = list(send_requests(url))
        document = httpx.get(f"{url}/openapi.json", trust_env=False)

    assert [answer.status_code for answer in answers] == [200, 201, 200, 200, 201, 200, 200]
    products, pot, delivered, ann, placed, open_orders, paid = [each.json() for each in answers]
    assert [product["sku"] for product in products["items"]] == ["beans", "cup"]
    assert (pot["stock"], delivered["stock"]) == (3, 8)
    assert [order["state"] for order in ann["latest_orders"]] == ["paid", "open"]
    assert placed["total_cents"] == 2 * pot["price_cents"]
    assert open_orders["items"][-1] == placed
    assert paid == {**placed, "state": "paid"}
    assert document.json()["info"]["title"] == "Shop"


def send_requests(url: str) -> cabc.Iterator[httpx.Response]:
    """Send the requests of the README's commands, in their order."""
    readme = pathlib.Path(todo.ROOT, "examples", "shop", "README.md").read_text()
    section = readme.partition("\n## The API\n")[2].partition("\n## ")[0]
    lines = [line.strip() for line in section.splitlines() if line.startswith("    ")]
    variables: dict[str, str] = {}
    order = ""

    for line in lines:
        line = line.replace("localhost:5000", url).replace("/ID ", f"/{order} ")
        words = shlex.split(string.Template(line).substitute(variables))

        if words[0] == "curl":
            answer = send(words[1:])
            order = answer.json().get("id", order)
            yield answer
        else:
            name, _, variables[name] = words[0].partition("=")


def send(arguments: list[str]) -> httpx.Response:
    """Send the request that curl would send."""
    given = CURL.parse_args(arguments)
    headers = dict(header.split(": ") for header in given.header)

    if given.json is not None:
        headers["Content-Type"] = "application/json"

    method = given.method or ("GET" if given.json is None else "POST")
    return httpx.request(method, given.url, headers=headers, content=given.json, trust_env=False)
