"""Runs the soak test. See ``python -m soak --help``."""

from __future__ import annotations

import argparse
import asyncio
import collections.abc as cabc
import contextlib
import json
import os
import random
import sys
import time
import typing as t

import flask
import httpx

import engines
import servers
from dynamo_ext_async import PynamoDB
from hostile import show
from hostile import verdict

from . import apps
from .clients import Client
from .clients import Ledger
from .proxy import Proxy

WEB_THREADS = 16
CLIENTS = {"web": 12, "api": 60}
TRANSPORTS = ("botocore", "direct")
IDLE_SECONDS = 60
EXTRA_SECONDS = 120
# Seconds. A worker that already has a call when the call is cancelled begins it within this time.
# A call that was still queued would begin later.
LATEST_BEGIN = 0.5
MEMORY_TOLERANCE = 1.25
MEMORY_ALLOWANCE = 24

State = dict[str, t.Any]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/soak",
        description="Runs a Flask and a Quart app on one engine, behind a proxy that delays,"
        " resets, throttles and garbles replies, with clients that hang up. For the last quarter of"
        " the time, threads and event loops call a server that breaks the rules of HTTP. Checks"
        " that no acknowledged write is lost, that no refused write was applied, that no call gets"
        " the answer to another, and that no slot, thread, file descriptor or memory has leaked.",
    )
    parser.add_argument("seconds", nargs="?", type=float, default=120, help="default: 120")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9))
    options = parser.parse_args()
    print(f"soak: {options.seconds:g} s, --seed {options.seed}", flush=True)
    problems = asyncio.run(soak(options.seconds, options.seed))

    for problem in problems:
        print(f"PROBLEM: {problem}")

    print(f"soak: {'FAILED' if problems else 'passed'} (--seed {options.seed})")
    sys.exit(bool(problems))


async def soak(seconds: float, seed: int) -> list[str]:
    """Run the apps, the proxy and the clients, and check the outcome.

    :param seconds: How long the clients make requests.
    :param seed: The seed of all random choices.
    :return: A line for each problem.
    """
    choose = random.Random(seed)
    ledger = Ledger()

    with engine() as url:
        proxy = Proxy(url, random.Random(choose.random()))
        environment = {apps.ENDPOINT: await proxy.start()}
        make_table(url)

        with (
            servers.gunicorn(
                "soak.apps:make_web()",
                *("--threads", str(WEB_THREADS), "--timeout", "0"),
                environment=environment,
            ) as web,
            servers.hypercorn("soak.apps:make_api()", environment=environment) as api,
        ):
            urls = {"web": web.url, "api": api.url}

            try:
                async with asyncio.timeout(seconds + EXTRA_SECONDS):
                    await load("warm-up", urls, ledger, choose, seconds / 4)
                    before = await idle_states(urls)
                    await load("soak", urls, ledger, choose, seconds / 2)
                    after = await idle_states(urls)
            except TimeoutError:
                return [*ledger.problems, f"it has not ended {EXTRA_SECONDS} s after its time"]
            finally:
                await proxy.stop()

        items = stored(url)

    print_figures(ledger, proxy, before, after, len(items))
    hostile = await asyncio.gather(
        *(call_hostile_server(transport, seconds / 4, seed) for transport in TRANSPORTS)
    )
    return [
        *(problem for problems in hostile for problem in problems),
        *ledger.problems,
        *wrong_items(ledger, items),
        *late_begins(after),
        *leaks(before, after),
    ]


async def call_hostile_server(transport: str, seconds: float, seed: int) -> list[str]:
    """Make calls to the server that breaks the rules of HTTP, in a process of their own.

    :return: A line for each problem.
    """
    command = ("-P", "-W", "error", "-m", "hostile", "--json", "--transport", transport)
    options = ("--seconds", str(seconds), "--calls", str(10**9), "--seed", str(seed))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, *options, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()

    if process.returncode:
        return [f"hostile server, {transport}: exit code {process.returncode}"]

    report = json.loads(output)
    print("\n".join(show.lines(report)))
    return [
        f"hostile server, {transport}: {check}: {problem}"
        for check, find in verdict.CHECKS.items()
        for problem in find(report)
    ]


@contextlib.contextmanager
def engine() -> cabc.Generator[str]:
    """The URL of an engine: dynoxide if ``DYNOXIDE`` names it, else the embedded engine."""
    has_dynoxide = bool(os.environ.get(engines.DYNOXIDE))
    print(f"engine: {'dynoxide' if has_dynoxide else 'embedded'}", flush=True)

    with engines.dynoxide() if has_dynoxide else engines.embedded() as url:
        yield url


@contextlib.contextmanager
def directly(url: str) -> cabc.Generator[None]:
    """Send the calls in the block to the engine directly, not through the proxy."""
    app = flask.Flask("direct")
    app.config.from_mapping(apps.SETTINGS, DYNAMODB_HOST=url)
    app.config["DYNAMODB_READ_TIMEOUT_SECONDS"] = 60
    app.config["DYNAMODB_CALL_TIMEOUT_SECONDS"] = None
    PynamoDB(app)

    with app.app_context():
        yield


def make_table(url: str) -> None:
    with directly(url):
        apps.Item.create_table(wait=True)


def stored(url: str) -> dict[str, int]:
    """The content of the table: each item's number by its id."""
    with directly(url):
        return {item.id: int(item.number) for item in apps.Item.scan(consistent_read=True)}


async def load(
    phase: str, urls: dict[str, str], ledger: Ledger, choose: random.Random, seconds: float
) -> None:
    clients = [
        Client(f"{phase}-{app}-{number}", (app, url), ledger, choose.randrange(10**9))
        for app, url in urls.items()
        for number in range(CLIENTS[app])
    ]

    async with asyncio.TaskGroup() as tasks:
        for client in clients:
            tasks.create_task(client.run(seconds))


async def idle_states(urls: dict[str, str]) -> dict[str, State]:
    """The state of each app, once neither has a call under way or waiting.

    After ``IDLE_SECONDS``, the states are returned as they are.
    """
    end = time.monotonic() + IDLE_SECONDS

    while True:
        states = {app: await state(url) for app, url in urls.items()}
        is_idle = all(s["in_flight"] == 0 for s in states.values())

        if is_idle or time.monotonic() > end:
            return states

        await asyncio.sleep(0.2)


async def state(url: str) -> State:
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as http:
        answer: State = (await http.get("/state")).json()
        return answer


def wrong_items(ledger: Ledger, items: dict[str, int]) -> list[str]:
    lost = [id for id, number in ledger.acknowledged.items() if items.get(id) != number]
    applied = [id for id in ledger.refused if id in items]
    return [
        *(f"{id} was acknowledged, and is {items.get(id, 'missing')}" for id in lost),
        *(f"{id} was refused while it was queued, and is there" for id in applied),
    ]


def late_begins(after: dict[str, State]) -> list[str]:
    """A line for each write that was cancelled while it was queued, and began nevertheless."""
    delays: dict[str, float] = after["api"]["late"]
    return [
        f"{id} was begun {delay:.1f} s after it was cancelled"
        for id, delay in delays.items()
        if delay > LATEST_BEGIN
    ]


def leaks(before: dict[str, State], after: dict[str, State]) -> list[str]:
    problems: list[str] = []

    for app, now in after.items():
        problems += [
            f"{app}: {name} is {now[name]}, when all is done"
            for name in ("in_flight", "in_use", "waiting")
            if now[name]
        ]
        # Allow more than after the warm-up: connections, workers and gunicorn's threads are
        # created on demand. A call that waits for its next attempt has a worker and no slot, so
        # there may be one for each client.
        threads = max(WEB_THREADS, CLIENTS[app])
        problems += [
            f"{app}: {name} were {before[app][name]} after the warm-up, and are {now[name]}"
            for name, more in (("descriptors", 2 * apps.POOL), ("threads", apps.POOL + threads))
            if now[name] > before[app][name] + more
        ]
        allowed = before[app]["megabytes"] * MEMORY_TOLERANCE + MEMORY_ALLOWANCE

        if now["megabytes"] > allowed:
            problems.append(f"{app}: {now['megabytes']:.0f} MB of memory, allowed {allowed:.0f}")

    return problems


def print_figures(
    ledger: Ledger,
    proxy: Proxy,
    before: dict[str, State],
    after: dict[str, State],
    items: int,
) -> None:
    print("outcomes:", ", ".join(f"{name} {n}" for name, n in sorted(ledger.outcomes.items())))
    print("faults:", ", ".join(f"{name} {n}" for name, n in sorted(proxy.faults.items())))
    print(
        f"writes: {len(ledger.acknowledged)} acknowledged, {len(ledger.refused)} refused,"
        f" {after['api']['cancelled']} cancelled, {items} items in the table"
    )

    for app, now in after.items():
        figures = ", ".join(
            f"{name} {before[app][name]:.0f} -> {now[name]:.0f}"
            for name in now
            if name not in {"cancelled", "late"}
        )
        print(f"{app}: {figures}")


if __name__ == "__main__":
    main()
