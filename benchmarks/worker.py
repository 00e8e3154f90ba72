"""Runs one contestant in a process of its own, which takes requests on its standard input.

Each line of the input is a request, a JSON array: ``["measure", OPERATION, CONCURRENCY, SECONDS]``
or ``["first_calls"]``. The process answers each with a JSON object. It runs until its input is
closed, because an app, too, is started once and then serves for long. Start-up is measured
separately.
"""

from __future__ import annotations

import asyncio
import collections.abc as cabc
import concurrent.futures
import contextlib
import gc
import importlib
import importlib.metadata
import inspect
import itertools
import json
import os
import pathlib
import platform
import sys
import time
import typing as t

from .contestants.calls import Call
from .contestants.calls import Calls
from .contestants.calls import check

_WARM_UP = 0.1
_TICK = 0.001
_AT_ONCE = 50

Figures = dict[str, t.Any]


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    # Send what a contestant prints to standard error, away from the answers.
    os.dup2(2, 1)

    def answer(figures: Figures) -> None:
        answers.write(json.dumps(figures) + "\n")
        answers.flush()

    module, url, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])

    try:
        start = time.perf_counter()
        connect = importlib.import_module(f".contestants.{module}", __package__).connect
        kind = _Tasks if inspect.iscoroutinefunction(connect) else _Threads

        with kind(connect, url, options) as contestant:
            ready_ms = (time.perf_counter() - start) * 1e3
            answer({"versions": versions(), "ready_ms": ready_ms})

            for line in sys.stdin:
                name, *arguments = json.loads(line)
                answer(getattr(contestant, name)(*arguments))
    except Exception as error:
        answer({"error": f"{type(error).__name__}: {error}"})


class _Tasks:
    """A contestant whose calls are awaited: one task for each caller, on one event loop."""

    def __init__(self, connect: t.Any, url: str, options: t.Any) -> None:
        self._connecting = connect, url, options

    def __enter__(self) -> _Tasks:
        connect, url, options = self._connecting
        self._runner = asyncio.Runner()
        self._stack = contextlib.AsyncExitStack()
        self._calls: Calls = self._runner.run(connect(url, self._stack, **options))
        return self

    def __exit__(self, *error: object) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()

    def measure(self, operation: str, concurrency: int, seconds: float) -> Figures:
        return self._runner.run(self._measure(operation, concurrency, seconds))

    async def _measure(self, operation: str, concurrency: int, seconds: float) -> Figures:
        call: Call = getattr(self._calls, operation)
        check(operation, await call())
        await _load(call, concurrency, min(_WARM_UP, seconds))
        gc.collect()

        cpu, start = time.process_time(), time.perf_counter()
        latencies = await _load(call, concurrency, seconds)
        figures = _figures(latencies, cpu, start)

        # Measure the lag in a window of its own, because the ticker takes CPU time, too.
        lags: list[float] = []
        ticker = asyncio.create_task(_tick(lags))
        await _load(call, concurrency, seconds)
        ticker.cancel()
        await asyncio.wait([ticker])
        return {**figures, "lag_p99_ms": percentile(lags, 0.99) * 1e3}

    def first_calls(self) -> Figures:
        async def call_each() -> None:
            for call in self._calls.gets:
                await call()

        async def call_all_at_once() -> None:
            many = list(self._calls.gets) * _AT_ONCE

            for first in range(0, len(many), _AT_ONCE):
                await asyncio.gather(*(call() for call in many[first : first + _AT_ONCE]))

        return _first_calls(
            lambda: self._runner.run(call_each()), lambda: self._runner.run(call_all_at_once())
        )


class _Threads:
    """A contestant whose calls block: one thread for each caller."""

    def __init__(self, connect: t.Any, url: str, options: t.Any) -> None:
        self._connecting = connect, url, options

    def __enter__(self) -> _Threads:
        connect, url, options = self._connecting
        # The threads live as long as the process, like those of a server.
        self._threads = concurrent.futures.ThreadPoolExecutor(_AT_ONCE * 2)
        self._stack = contextlib.ExitStack()
        self._calls: Calls = connect(url, self._stack, **options)
        return self

    def __exit__(self, *error: object) -> None:
        self._threads.shutdown()
        self._stack.close()

    def measure(self, operation: str, concurrency: int, seconds: float) -> Figures:
        call: Call = getattr(self._calls, operation)
        check(operation, call())
        self._load(call, concurrency, min(_WARM_UP, seconds))
        gc.collect()

        cpu, start = time.process_time(), time.perf_counter()
        latencies = self._load(call, concurrency, seconds)
        return _figures(latencies, cpu, start)

    def _load(self, call: Call, concurrency: int, seconds: float) -> list[float]:
        end = time.perf_counter() + seconds

        def caller(number: int) -> list[float]:
            latencies: list[float] = []
            start = time.perf_counter()

            # Call at least once, also on a slow machine.
            while not latencies or start < end:
                call()
                now = time.perf_counter()
                latencies.append(now - start)
                start = now

            return latencies

        all_latencies = self._threads.map(caller, range(concurrency))
        return list(itertools.chain.from_iterable(all_latencies))

    def first_calls(self) -> Figures:
        def call_each() -> None:
            for call in self._calls.gets:
                call()

        def call_all_at_once() -> None:
            many = list(self._calls.gets) * _AT_ONCE

            for running in [self._threads.submit(call) for call in many]:
                running.result()

        return _first_calls(call_each, call_all_at_once)


async def _load(call: Call, concurrency: int, seconds: float) -> list[float]:
    end = time.perf_counter() + seconds

    async def caller() -> list[float]:
        latencies: list[float] = []
        start = time.perf_counter()

        # Call at least once, also on a slow machine.
        while not latencies or start < end:
            await call()
            now = time.perf_counter()
            latencies.append(now - start)
            start = now

        return latencies

    all_latencies = await asyncio.gather(*(caller() for _ in range(concurrency)))
    return list(itertools.chain.from_iterable(all_latencies))


async def _tick(lags: list[float]) -> None:
    """Record how late the event loop returns to a task that is due every ms, in seconds."""
    while True:
        start = time.perf_counter()

        try:
            await asyncio.sleep(_TICK)
        finally:
            lags.append(max(0, time.perf_counter() - start - _TICK))


def _figures(latencies: list[float], cpu: float, start: float) -> Figures:
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    return {
        "calls_per_second": len(latencies) / seconds,
        "cpu_us": cpu_seconds / len(latencies) * 1e6,
        "p50_ms": percentile(latencies, 0.5) * 1e3,
        "p99_ms": percentile(latencies, 0.99) * 1e3,
    }


def percentile(values: list[float], share: float) -> float:
    """The value that a share of the values stays below."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _first_calls(
    call_each: cabc.Callable[[], None], call_all_at_once: cabc.Callable[[], None]
) -> Figures:
    gc.collect()
    memory, start = _memory_bytes(), time.perf_counter()
    call_each()
    seconds = time.perf_counter() - start
    used = _memory_bytes() - memory
    call_all_at_once()
    return {"first_calls_ms": seconds * 1e3, "memory_mb": used / 1e6, "sockets": _sockets()}


def _memory_bytes() -> int:
    resident = pathlib.Path("/proc/self/statm").read_text().split()[1]
    return int(resident) * os.sysconf("SC_PAGE_SIZE")


def _sockets() -> int:
    """The number of TCP connections that this process has open."""
    connections = {
        line.split()[9] for line in pathlib.Path("/proc/self/net/tcp").read_text().splitlines()[1:]
    }
    count = 0

    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            target = os.readlink(f"/proc/self/fd/{name}")
            count += target.startswith("socket:[") and target[8:-1] in connections

    return count


def versions() -> dict[str, str]:
    """The release of each installed package, and of Python."""
    installed = importlib.metadata.distributions()
    # aws_sdk_dynamodb calls itself by this name.
    releases = {each.name.lower().replace("_", "-"): each.version for each in installed}
    return {**releases, "Python": platform.python_version()}


if __name__ == "__main__":
    main()
