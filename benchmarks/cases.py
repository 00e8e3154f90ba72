"""The cases that can be measured, and their names on the command line."""

from __future__ import annotations

import dataclasses
import typing as t

from .failure import Failure

Framework = t.Literal["asyncio", "flask"]
Server = t.Literal["gunicorn", "hypercorn"]
OPERATIONS = {
    "get": "GetItem",
    "put": "PutItem",
    "query": "Query of 100 items",
    "batch": "BatchGetItem of 100 items",
}
#: The framework of the page that each server serves.
SERVERS: dict[Server, str] = {"gunicorn": "Flask", "hypercorn": "Quart"}
_FLASK = "flask/"
_STARTUP = "startup/"
#: More than gunicorn has threads, and than dynamo-ext has slots, so that none waits for a request.
_CLIENTS = 20


@dataclasses.dataclass(frozen=True)
class Load:
    """A number of callers, each of which makes one call after the other.

    On the command line: ``get/100/5``, which is the operation, the number of callers, and the
    server's latency in ms. With the prefix ``flask/``, the callers are threads.
    """

    framework: Framework
    operation: str
    callers: int
    latency_ms: float

    def __str__(self) -> str:
        prefix = _FLASK if self.framework == "flask" else ""
        return f"{prefix}{self.operation}/{self.callers}/{self.latency_ms:g}"

    @property
    def title(self) -> str:
        place = "threads of a Flask app" if self.framework == "flask" else "tasks at once"
        place = place if self.callers > 1 else place.replace("s at once", "").replace("ds ", "d ")
        return (
            f"{OPERATIONS[self.operation]}, {self.callers} {place},"
            f" {self.latency_ms:g} ms at the server"
        )


@dataclasses.dataclass(frozen=True)
class Startup:
    """The first call of each of several models, in a fresh process.

    On the command line: ``startup/30`` for 30 models.
    """

    models: int

    def __str__(self) -> str:
        return f"{_STARTUP}{self.models}"

    @property
    def title(self) -> str:
        models = f"each of {self.models} models" if self.models > 1 else "one model"
        return f"The first call of {models}"


@dataclasses.dataclass(frozen=True)
class Page:
    """A page with three reads, requested from a web server by a number of clients.

    On the command line: ``gunicorn/20/5``, which is the server, the number of clients, and the
    latency of DynamoDB in ms.
    """

    server: Server
    clients: int
    latency_ms: float

    def __str__(self) -> str:
        return f"{self.server}/{self.clients}/{self.latency_ms:g}"

    @property
    def title(self) -> str:
        clients = "clients" if self.clients > 1 else "client"
        return (
            f"A {SERVERS[self.server]} page with three reads under {self.server.capitalize()},"
            f" {self.clients} {clients}, {self.latency_ms:g} ms at DynamoDB"
        )


Case = Load | Startup | Page


def parse(text: str) -> Case:
    """Convert a case from its name on the command line.

    :param text: The name.
    :raises Failure: if the name is invalid.
    """
    try:
        if text.startswith(_STARTUP):
            return Startup(_positive(text.removeprefix(_STARTUP)))

        operation, callers, latency = text.removeprefix(_FLASK).split("/")

        for server in SERVERS:
            if text.startswith(f"{server}/"):
                return Page(server, _positive(callers), abs(float(latency)))

        if operation in OPERATIONS:
            framework: Framework = "flask" if text.startswith(_FLASK) else "asyncio"
            return Load(framework, operation, _positive(callers), abs(float(latency)))
    except ValueError:
        pass

    raise Failure(
        f"{text!r} is not a valid case. A case is 'get/100/0' (operation, callers, ms at the"
        " server), 'flask/get/10/0', 'startup/30' or 'gunicorn/20/0' (a page, clients, ms at the"
        f" server); the operations are {', '.join(OPERATIONS)}, the pages' servers"
        f" {', '.join(SERVERS)}."
    )


def _positive(text: str) -> int:
    number = int(text)

    if number < 1:
        raise ValueError(text)

    return number


def every() -> list[Case]:
    """All cases that the docs' performance page shows."""
    loads = [
        Load("asyncio", operation, callers, latency_ms)
        for operation in OPERATIONS
        for callers in (1, 10, 100)
        for latency_ms in (0, 5)
    ]
    flask = [
        Load("flask", operation, 10, latency_ms)
        for operation in ("get", "query")
        for latency_ms in (0, 5)
    ]
    pages = [Page(server, _CLIENTS, latency_ms) for server in SERVERS for latency_ms in (0, 5)]
    return [*loads, *flask, *(Startup(models) for models in (1, 10, 30)), *pages]


def quick() -> list[Case]:
    """A few cases for a first impression."""
    names = ("get/100/0", "query/10/0", "flask/get/10/0", "startup/10", "gunicorn/20/0")
    return [parse(text) for text in (*names, "hypercorn/20/0")]
