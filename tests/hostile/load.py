"""Callers that make calls to the server, and note what came of each."""

from __future__ import annotations

import collections
import collections.abc as cabc
import concurrent.futures
import contextlib
import dataclasses
import random
import traceback
import typing as t

import anyio
import anyio.from_thread
import botocore.exceptions
import flask
import pynamodb.exceptions

from dynamo_ext_async import CallTimeout
from dynamo_ext_async import PoolTimeout

from .calls import CALLS
from .calls import OURS
from .calls import WEIGHTS
from .calls import Side

# Seconds. A call ends after its own limit, which is far shorter: one that takes so long is stuck.
STUCK_SECONDS = 100
_LARGE = "x" * 300_000
_SHOWN = 10
# As documented: what PynamoDB's errors are caused by.
_CAUSES = (
    botocore.exceptions.ClientError,
    botocore.exceptions.ConnectTimeoutError,
    botocore.exceptions.EndpointConnectionError,
    # Of lost connections, timeouts and damaged replies; itself of what urllib3 can't parse.
    botocore.exceptions.HTTPClientError,
    botocore.exceptions.SSLError,
)

Backend = tuple[t.Literal["asyncio", "trio"], dict[str, t.Any]]

LOOPS: dict[str, Backend] = {
    "asyncio": ("asyncio", {"use_uvloop": False}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
}
# How many callers of each kind there are at once, and so their shares of the calls.
CALLERS: dict[str, int] = {"threads": 6, "asyncio": 6, "uvloop": 3, "trio": 3}


@dataclasses.dataclass
class Outcomes:
    """What came of the calls of one kind of caller."""

    counts: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter[str])
    foreign: list[str] = dataclasses.field(default_factory=list[str])
    """Results for another key."""

    empty: list[str] = dataclasses.field(default_factory=list[str])
    """Results without what is stored."""

    undocumented: list[str] = dataclasses.field(default_factory=list[str])
    """Errors that the documentation does not name, one of each kind."""

    _kinds: set[str] = dataclasses.field(default_factory=set[str])

    def note(self, name: str, key: str, result: list[t.Any]) -> None:
        """Note a call that has succeeded."""
        if result == CALLS[name].expected(key):
            self.counts["ok"] += 1
            return

        others = [each for each in result if each is not None and not _is_own(each, key)]
        kind, texts = ("foreign", self.foreign) if others else ("empty", self.empty)
        self.counts[kind] += 1
        _add(texts, f"{name} of {key} gave {result}")

    def note_error(self, name: str, key: str, error: Exception) -> None:
        """Note a call that has failed."""
        cause = getattr(error, "cause", None)
        is_of_dynamodb = isinstance(cause, botocore.exceptions.ClientError)
        kind = "ClientError" if is_of_dynamodb else type(cause or error).__name__

        if isinstance(error, pynamodb.exceptions.DoesNotExist):
            self.counts["empty"] += 1
            _add(self.empty, f"{name} of {key}: {error!r}")
            return

        self.counts[kind] += 1

        if not _is_documented(error, cause) and kind not in self._kinds:
            self._kinds.add(kind)
            text = "".join(traceback.format_exception(error)[-6:])
            _add(self.undocumented, f"{name} of {key}: {error!r} by {cause!r}\n{text}")

    def as_json(self) -> dict[str, t.Any]:
        return {
            "counts": dict(self.counts),
            "foreign": self.foreign,
            "empty": self.empty,
            "undocumented": self.undocumented,
        }


class Group:
    """The callers of one kind.

    :param name: Of the kind.
    :param seed: Of all choices.
    :param side: What makes the calls of threads.
    :param app: The app of the calls, if they are this project's.
    """

    def __init__(self, name: str, seed: str, side: Side, app: flask.Flask | None) -> None:
        self.name = name
        self.outcomes = Outcomes()
        self._seed = seed
        self.side = side
        self.app = app
        self._number = 0
        self._threads: concurrent.futures.ThreadPoolExecutor | None = None
        self._portal: anyio.from_thread.BlockingPortal | None = None

    @contextlib.contextmanager
    def open(self) -> cabc.Generator[t.Self]:
        """Keep its threads, or its event loop, while the block runs."""
        if self.name == "threads":
            with concurrent.futures.ThreadPoolExecutor(CALLERS[self.name]) as self._threads:
                yield self
        else:
            backend, options = LOOPS[self.name]

            with anyio.from_thread.start_blocking_portal(backend, options) as self._portal:
                yield self

    def again(self, seed: str) -> Group:
        """The same callers, for other calls that are noted apart."""
        other = Group(self.name, seed, self.side, self.app)
        other._threads, other._portal = self._threads, self._portal
        return other

    def start(self, count: int) -> list[concurrent.futures.Future[None]]:
        """Begin to make calls.

        :param count: How many.
        :return: What ends with them.
        """
        callers = CALLERS[self.name]
        numbers = range(self._number, self._number + count)
        self._number += count
        shares = [numbers[caller::callers] for caller in range(callers)]

        if self._threads is not None:
            return [self._threads.submit(self._run, share) for share in shares]

        assert self._portal is not None
        return [self._portal.start_task_soon(self._arun, share) for share in shares]

    def _run(self, numbers: cabc.Iterable[int]) -> None:
        with self._context():
            for number in numbers:
                key, _, name, payload = self._draw(number)

                try:
                    result = CALLS[name].send(self.side, key, payload)
                except Exception as error:
                    self.outcomes.note_error(name, key, error)
                else:
                    self.outcomes.note(name, key, result)

    async def _arun(self, numbers: cabc.Iterable[int]) -> None:
        with self._context():
            for number in numbers:
                await self._acall(*self._draw(number))

    async def _acall(self, key: str, choose: random.Random, name: str, payload: str | None) -> None:
        patience = choose.uniform(0, 0.03) if choose.random() < 0.15 else None

        with anyio.move_on_after(patience) as scope:
            try:
                result = await CALLS[name].asend(key, payload)
            except Exception as error:
                self.outcomes.note_error(name, key, error)
            else:
                self.outcomes.note(name, key, result)

        if scope.cancelled_caught:
            self.outcomes.counts["cancelled"] += 1

    def _draw(self, number: int) -> tuple[str, random.Random, str, str | None]:
        key = f"k-{self.name}-{number}"
        choose = random.Random(f"{self._seed}/{key}")
        weights = [WEIGHTS.get(name, 1) for name in CALLS]
        name = choose.choices(list(CALLS), weights)[0]
        return key, choose, name, _LARGE if choose.random() < 0.008 else None

    def _context(self) -> contextlib.AbstractContextManager[t.Any]:
        return contextlib.nullcontext() if self.app is None else self.app.app_context()


def groups(
    names: cabc.Iterable[str], seed: str, side: Side = OURS, app: flask.Flask | None = None
) -> list[Group]:
    """The callers of some kinds."""
    return [Group(name, seed, side, app) for name in names]


def make_calls(groups: list[Group], count: int) -> None:
    """Make calls with all callers at once.

    :param groups: The callers.
    :param count: How many calls in all.
    :raises TimeoutError: if a call is stuck.
    """
    callers = sum(CALLERS[group.name] for group in groups)
    futures = [
        future for group in groups for future in group.start(count * CALLERS[group.name] // callers)
    ]
    done = concurrent.futures.wait(futures, STUCK_SECONDS)

    if done.not_done:
        raise TimeoutError(f"callers whose calls do not end: {len(done.not_done)}")

    for future in futures:
        future.result()


def _is_own(each: t.Any, key: str) -> bool:
    return isinstance(each, str) and each.partition(".")[0] == key


def _is_documented(error: Exception, cause: t.Any) -> bool:
    if isinstance(error, CallTimeout | PoolTimeout):
        return True

    return isinstance(error, pynamodb.exceptions.PynamoDBException) and isinstance(cause, _CAUSES)


def _add(texts: list[str], text: str) -> None:
    if len(texts) < _SHOWN:
        texts.append(text)
