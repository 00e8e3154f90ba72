"""The contestants, and the environment of each."""

from __future__ import annotations

import dataclasses
import typing as t

from .cases import Case
from .cases import Framework
from .cases import Load
from .cases import Page
from .cases import Server
from .failure import Failure

PROJECT = "project"
_FLASK = ("Flask==3.1.3", "gunicorn==27.0.1")
_QUART = ("Quart==0.22.0", "Hypercorn==0.18.0")
#: What the project's environment needs besides the project.
SERVERS = (*_FLASK, *_QUART)
#: The requirements of each peer's environment. Stock PynamoDB runs in the project's environment.
REQUIREMENTS = {
    "aiopynamodb": ("as-aiopynamodb==1.0.4", "aiobotocore==3.7.0"),
    "aiobotocore": ("aiobotocore==3.10.0",),
    "aiodynamo": ("aiodynamo[aiohttp]==26.4", *_QUART),
    "aws-sdk-dynamodb": ("aws-sdk-dynamodb==0.12.0",),
    "boto3": ("boto3==1.44.8", *_FLASK),
    "dynamoxy": ("dynamoxy==0.3.0", *_QUART),
    "pydynox": ("pydynox==1.8.0", *_QUART),
}
BASELINE = "pynamodb"
#: With the default settings, and with the extra "direct".
OURS = "dynamo-ext"
BOTOCORE = "dynamo-ext-botocore"
DIRECT = "dynamo-ext-direct"
_TRANSPORTS = {OURS: "auto", BOTOCORE: "botocore", DIRECT: "direct"}
POOLS = (5, 10, 20, 50, 100)
SIZING_CASE = Load("asyncio", "get", 100, 5)


@dataclasses.dataclass(frozen=True)
class Contestant:
    """One way to DynamoDB."""

    name: str
    place: Framework | Server
    """Where its calls are made."""

    module: str
    """Its name in :mod:`benchmarks.contestants`."""

    environment: str
    packages: tuple[str, ...]
    """The packages whose releases are reported."""

    options: tuple[tuple[str, t.Any], ...] = ()
    """Arguments for the module's ``connect``."""

    has_models: bool = True
    python: tuple[int, int] = (3, 11)
    """The oldest Python that it runs on."""

    only: frozenset[Case] = frozenset()
    """The only cases in which the contestant is measured; empty for all."""

    def takes(self, case: Case) -> bool:
        """Whether the contestant is measured in a case."""
        if self.only and case not in self.only:
            return False

        if isinstance(case, Load):
            return case.framework == self.place

        if isinstance(case, Page):
            return case.server == self.place

        return self.place == "asyncio" and self.has_models


def _own(place: Framework | Server, module: str) -> list[Contestant]:
    """dynamo-ext on each transport."""
    return [
        Contestant(
            name,
            place,
            module,
            PROJECT,
            ("dynamo-ext", "pynamodb", "botocore"),
            (("transport", transport),),
        )
        for name, transport in _TRANSPORTS.items()
    ]


_STOCK = ("pynamodb", "botocore", "anyio")
_AIODYNAMO = ("aiodynamo", "aiohttp")
CONTESTANTS = (
    Contestant(BASELINE, "asyncio", "pynamodb", PROJECT, _STOCK),
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
    Contestant("aiodynamo", "asyncio", "aiodynamo", "aiodynamo", _AIODYNAMO, has_models=False),
    Contestant(
        "aws-sdk-dynamodb",
        "asyncio",
        "aws_sdk",
        "aws-sdk-dynamodb",
        ("aws-sdk-dynamodb", "aiohttp"),
        has_models=False,
        python=(3, 12),
    ),
    Contestant("pydynox", "asyncio", "pydynox", "pydynox", ("pydynox",)),
    Contestant("dynamoxy", "asyncio", "dynamoxy", "dynamoxy", ("dynamoxy",), python=(3, 12)),
    *_own("asyncio", "dynamo_ext"),
    Contestant(BASELINE, "flask", "flask_views", PROJECT, _STOCK),
    Contestant("boto3", "flask", "boto3", "boto3", ("boto3", "botocore")),
    *_own("flask", "flask_views"),
    Contestant(BASELINE, "gunicorn", "flask_views", PROJECT, _STOCK),
    Contestant("boto3", "gunicorn", "boto3", "boto3", ("boto3", "botocore")),
    *_own("gunicorn", "flask_views"),
    Contestant(BASELINE, "hypercorn", "pynamodb", PROJECT, _STOCK),
    Contestant("aiodynamo", "hypercorn", "aiodynamo", "aiodynamo", _AIODYNAMO),
    Contestant("pydynox", "hypercorn", "pydynox", "pydynox", ("pydynox",)),
    Contestant("dynamoxy", "hypercorn", "dynamoxy", "dynamoxy", ("dynamoxy",), python=(3, 12)),
    *_own("hypercorn", "dynamo_ext"),
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
        for contestant in choose([f"{name}:{pool}" for name in _TRANSPORTS for pool in POOLS])
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
