"""The cases that can be measured, and their names on the command line."""

from __future__ import annotations

import dataclasses
import typing as t

from .failure import Failure

Framework = t.Literal["asyncio", "flask"]
OPERATIONS = {
    "get": "GetItem",
    "put": "PutItem",
    "query": "Query of 100 items",
    "batch": "BatchGetItem of 100 items",
}
_FLASK = "flask/"
_STARTUP = "startup/"


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


Case = Load | Startup


def parse(text: str) -> Case:
    """Convert a case from its name on the command line.

    :param text: The name.
    :raises Failure: if the name is invalid.
    """
    try:
        if text.startswith(_STARTUP):
            return Startup(_positive(text.removeprefix(_STARTUP)))

        operation, callers, latency = text.removeprefix(_FLASK).split("/")

        if operation in OPERATIONS:
            framework: Framework = "flask" if text.startswith(_FLASK) else "asyncio"
            return Load(framework, operation, _positive(callers), abs(float(latency)))
    except ValueError:
        pass

    raise Failure(
        f"{text!r} is not a valid case. A case is 'get/100/0' (operation, callers, ms at the"
        f" server), 'flask/get/10/0' or 'startup/30'; the operations are {', '.join(OPERATIONS)}."
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
    return [*loads, *flask, *(Startup(models) for models in (1, 10, 30))]


def quick() -> list[Case]:
    """A few cases for a first impression."""
    return [parse(text) for text in ("get/100/0", "query/10/0", "flask/get/10/0", "startup/10")]
