"""The clients: they write, read acknowledged items again, and hang up at random times."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import random
import time

import httpx

_TIMEOUT = 30


@dataclasses.dataclass
class Ledger:
    """The answers that the clients got."""

    acknowledged: dict[str, int] = dataclasses.field(default_factory=dict)
    refused: set[str] = dataclasses.field(default_factory=set)
    """Ids of writes that were never sent to the engine, because no slot became free in time."""

    outcomes: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    problems: list[str] = dataclasses.field(default_factory=list)


class Client:
    """One client of one app.

    :param name: A name that no other client has.
    :param app: The name of the app, and its URL.
    :param ledger: Records the answers.
    :param seed: The seed of the client's random choices.
    """

    def __init__(self, name: str, app: tuple[str, str], ledger: Ledger, seed: int) -> None:
        self._name = name
        self._app, self._url = app
        self._ledger = ledger
        self._choose = random.Random(seed)
        self._written: list[str] = []
        self._count = 0

    async def run(self, seconds: float) -> None:
        """Make requests for a time, in seconds."""
        end = time.monotonic() + seconds

        async with httpx.AsyncClient(base_url=self._url, timeout=_TIMEOUT, trust_env=False) as http:
            while time.monotonic() < end:
                if self._written and self._choose.random() < 0.25:
                    await self._read(http)
                else:
                    await self._write(http)

    async def _write(self, http: httpx.AsyncClient) -> None:
        self._count += 1
        id, number = f"{self._name}-{self._count}", self._choose.randrange(10**6)
        patience = self._choose.uniform(0.001, 1.0) if self._choose.random() < 0.2 else None
        response = await self._ask(http, "POST", f"/items/{id}/{number}", patience)

        if response is None:
            return

        if response.status_code == 200:
            self._ledger.acknowledged[id] = number
            self._written.append(id)
        elif "PoolTimeout" in response.text:
            self._ledger.refused.add(id)

    async def _read(self, http: httpx.AsyncClient) -> None:
        id = self._choose.choice(self._written)
        response = await self._ask(http, "GET", f"/items/{id}", None)

        if response is None or response.status_code in {500, 503}:
            return

        if (
            response.status_code != 200
            or response.json()["number"] != (self._ledger.acknowledged[id])
        ):
            self._ledger.problems.append(f"{id} was acknowledged, and is {response.text!r}")

    async def _ask(
        self, http: httpx.AsyncClient, method: str, path: str, patience: float | None
    ) -> httpx.Response | None:
        """Make a request, and hang up after a time.

        :param patience: The time in seconds; ``None`` to wait for the answer.
        :return: The answer; ``None`` if there was none.
        """
        response: httpx.Response | None = None
        outcome = "hung up"

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                try:
                    response = await http.request(method, path)
                    outcome = str(response.status_code)
                except httpx.TransportError as error:
                    outcome = type(error).__name__

        self._ledger.outcomes[f"{self._app} {method} {outcome}"] += 1
        return response
