"""The contestants, and the environment of each."""

from __future__ import annotations

import dataclasses
import typing as t

from .cases import Case
from .cases import Framework
from .cases import Load
from .failure import Failure

PROJECT = "project"
#: The requirements of each peer's environment. Stock PynamoDB runs in the project's environment.
REQUIREMENTS = {
    "aiopynamodb": ("as-aiopynamodb==1.0.4", "aiobotocore==3.7.0"),
    "aiobotocore": ("aiobotocore==3.10.0",),
    "aiodynamo": ("aiodynamo[aiohttp]==26.4",),
    "pydynox": ("pydynox==1.8.0",),
}
BASELINE = "pynamodb"
OURS = "dynamo-ext"
DIRECT = "dynamo-ext-direct"
AUTO = "dynamo-ext-auto"
POOLS = (5, 10, 20, 50, 100)
SIZING_CASE = Load("asyncio", "get", 100, 5)


@dataclasses.dataclass(frozen=True)
class Contestant:
    """One way to DynamoDB."""

    name: str
    framework: Framework
    module: str
    """Its name in :mod:`benchmarks.contestants`."""

    environment: str
    packages: tuple[str, ...]
    """The packages whose releases are reported."""

    options: tuple[tuple[str, t.Any], ...] = ()
    """Arguments for the module's ``connect``."""

    has_models: bool = True
    only: frozenset[Case] = frozenset()
    """The only cases in which the contestant is measured; empty for all."""

    def takes(self, case: Case) -> bool:
        """Whether the contestant is measured in a case."""
        if self.only and case not in self.only:
            return False

        if isinstance(case, Load):
            return case.framework == self.framework

        return self.framework == "asyncio" and self.has_models


_OWN = ("dynamo-ext", "pynamodb", "botocore")
_DIRECT = (("transport", "direct"),)
CONTESTANTS = (
    Contestant(BASELINE, "asyncio", "pynamodb", PROJECT, ("pynamodb", "botocore", "anyio")),
    Contestant(
        "aiopynamodb",
        "asyncio",
        "aiopynamodb",
        "aiopynamodb",
        ("as-aiopynamodb", "aiobotocore", "botocore", "aiohttp"),
    ),
    Contestant(
        "aiobotocore",
        "asyncio",
        "aiobotocore",
        "aiobotocore",
        ("aiobotocore", "botocore", "aiohttp"),
        has_models=False,
    ),
    Contestant(
        "aiodynamo", "asyncio", "aiodynamo", "aiodynamo", ("aiodynamo", "aiohttp"), has_models=False
    ),
    Contestant("pydynox", "asyncio", "pydynox", "pydynox", ("pydynox",)),
    Contestant(OURS, "asyncio", "dynamo_ext", PROJECT, _OWN),
    Contestant(DIRECT, "asyncio", "dynamo_ext", PROJECT, _OWN, _DIRECT),
    Contestant(AUTO, "asyncio", "dynamo_ext", PROJECT, _OWN, (("transport", "auto"),)),
    Contestant(BASELINE, "flask", "flask_views", PROJECT, ("pynamodb", "botocore")),
    Contestant(OURS, "flask", "flask_views", PROJECT, _OWN, (("transport", "botocore"),)),
    Contestant(DIRECT, "flask", "flask_views", PROJECT, _OWN, _DIRECT),
)
NAMES = tuple(dict.fromkeys(contestant.name for contestant in CONTESTANTS))


def choose(texts: t.Sequence[str]) -> list[Contestant]:
    """Find contestants by name.

    :param texts: Names; ``NAME:50`` is that contestant with a pool of 50. Empty for all.
    :raises Failure: if a name is unknown.
    """
    return [contestant for text in texts or NAMES for contestant in _named(text)]


def without_pool(name: str) -> str:
    """A contestant's name without the size of its pool."""
    return name.partition(":")[0]


def sizing() -> list[Contestant]:
    """dynamo-ext with pools of several sizes, for the docs' page on sizing."""
    return [
        dataclasses.replace(contestant, only=frozenset({SIZING_CASE}))
        for contestant in choose([f"{name}:{pool}" for name in (OURS, DIRECT) for pool in POOLS])
        if contestant.takes(SIZING_CASE)
    ]


def _named(text: str) -> list[Contestant]:
    name, colon, pool = text.partition(":")

    if name not in NAMES or (colon and not (pool.isdecimal() and int(pool))):
        raise Failure(
            f"{text!r} is not a contestant. There are {', '.join(NAMES)}; 'NAME:50' is one with a"
            " pool of 50."
        )

    named = [contestant for contestant in CONTESTANTS if contestant.name == name]

    if not colon:
        return named

    return [
        dataclasses.replace(
            contestant, name=text, options=(*contestant.options, ("pool", int(pool)))
        )
        for contestant in named
    ]
