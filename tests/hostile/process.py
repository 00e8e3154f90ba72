"""Starts the server, and tells it what to do."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import typing as t

import engines

from .misbehaviours import AT_REST
from .misbehaviours import GOOD
from .misbehaviours import REPLIES
from .server import HOST

_STOP_SECONDS = 60


class Hostile:
    """The running server. It behaves well until it is told otherwise.

    :param process: Its process.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        started = self._read()
        self.ports: dict[str, int] = started["ports"]
        self.urls: dict[str, str] = {
            "tcp": f"http://{HOST}:{self.ports['tcp']}",
            "tls": f"https://{HOST}:{self.ports['tls']}",
        }
        self.bundle: str = started["bundle"]
        """The file with the certificate of its authority."""

    def misbehave(self, names: cabc.Collection[str]) -> None:
        """Do what these names say, beside good replies."""
        replies = [name for name in REPLIES if name in names and name != GOOD]
        at_rest = [name for name in AT_REST if name in names]
        self._tell("misbehave", replies=replies, at_rest=at_rest or [next(iter(AT_REST))])

    def behave(self) -> None:
        """Behave well from now on."""
        self.misbehave(())

    def disturb(self) -> None:
        """Do something to each connection that is idle. No client may be sending."""
        self._tell("disturb")

    def report(self) -> dict[str, t.Any]:
        """What it has counted so far."""
        return self._tell("report")

    def _tell(self, command: str, **more: t.Any) -> dict[str, t.Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": command, **more}) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, t.Any]:
        assert self._process.stdout is not None
        answer: dict[str, t.Any] = json.loads(self._process.stdout.readline())
        return answer


@contextlib.contextmanager
def running(seed: str) -> cabc.Generator[Hostile]:
    """Run the server while the block runs.

    :param seed: Of all its choices.
    """
    environment = engines.python_environment()
    tests = str(pathlib.Path(__file__).parent.parent)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "hostile.server", "--seed", seed],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**environment, "PYTHONPATH": os.pathsep.join([tests, environment["PYTHONPATH"]])},
        text=True,
    )

    try:
        yield Hostile(process)
    finally:
        # It ends with its standard input.
        process.communicate(timeout=_STOP_SECONDS)
