"""The parent's side of :mod:`benchmarks.worker`: starts the process and sends it requests."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import json
import os
import pathlib
import platform
import select
import subprocess
import sys
import tempfile
import typing as t

from . import environments
from .lineup import Contestant

_PATIENCE = 120.0
_FOREIGN = (
    *("AWS_", "DYNAMODB_", "FLASK_", "QUART_", "PYNAMODB_CONFIG"),
    # Installed packages have their bytecode; so has the project here, after its first start.
    "PYTHONDONTWRITEBYTECODE",
)

Figures = dict[str, t.Any]


class NotMeasured(Exception):
    """A contestant can't be measured. The message says why."""


class Child:
    """A contestant's process.

    :param process: The process.
    :param log: The file that has the process's error output.
    """

    def __init__(self, process: subprocess.Popen[str], log: t.IO[bytes]) -> None:
        self._process = process
        self._log = log
        self.started: Figures = self._answer()
        """The first answer of the process, which it sends when it is ready."""

    def ask(self, name: str, *arguments: t.Any) -> Figures:
        """Call a method of the contestant in the process.

        :param name: The method's name.
        :param arguments: The method's arguments, as values of JSON.
        :return: The figures that the method returns.
        :raises NotMeasured: if the method or the process fails.
        """
        assert self._process.stdin is not None

        try:
            self._process.stdin.write(json.dumps([name, *arguments]) + "\n")
            self._process.stdin.flush()
        except OSError:
            raise NotMeasured(self._end()) from None

        return self._answer()

    def _answer(self) -> Figures:
        assert self._process.stdout is not None

        if not select.select([self._process.stdout], [], [], _PATIENCE)[0]:
            # Left alive, the process would take CPU time from the next contestants.
            self._process.kill()
            raise NotMeasured(f"no answer within {_PATIENCE:g} s")

        line = self._process.stdout.readline()
        figures: Figures = json.loads(line) if line else {"error": self._end()}

        if "error" in figures:
            raise NotMeasured(" ".join(figures["error"].split()))

        return figures

    def _end(self) -> str:
        # A process that has crashed has no last words.
        code = self._process.wait(_PATIENCE)
        return last_words(self._log) or f"its process has ended, with exit code {code}"


@contextlib.contextmanager
def running(contestant: Contestant, url: str, **options: t.Any) -> cabc.Iterator[Child]:
    """Run a contestant's process until the end of the block.

    :param contestant: The contestant.
    :param url: The server's address.
    :param options: More arguments for the contestant's ``connect``.
    :return: A context manager that gives the process.
    :raises NotMeasured: if the contestant can't be installed or started.
    """
    python = interpreter(contestant)
    arguments = [contestant.module, url, json.dumps({**dict(contestant.options), **options})]

    with tempfile.TemporaryFile() as log, _start(python, arguments, log) as process:
        try:
            yield Child(process, log)
        finally:
            process.kill()


def _start(python: pathlib.Path, arguments: list[str], log: t.IO[bytes]) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            [python, "-m", "benchmarks.worker", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=environments.ROOT,
            env=environment(),
            text=True,
        )
    except OSError as error:
        raise NotMeasured(f"cannot run {str(python)!r}: {error.strerror}") from None


def last_words(log: t.IO[bytes]) -> str:
    """The last line of a process's output; empty if there is none."""
    log.seek(0)
    lines = log.read().decode(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "")


def interpreter(contestant: Contestant) -> pathlib.Path:
    """The interpreter of a contestant's environment, which is created if it does not exist.

    :raises NotMeasured: if it can't be created, or if the contestant needs a newer Python.
    """
    if sys.version_info < contestant.python:
        raise NotMeasured(
            f"needs Python {'.'.join(map(str, contestant.python))} or newer, and the others ran"
            f" on {platform.python_version()}"
        )

    try:
        return environments.python(contestant.environment)
    except environments.NotInstalled as error:
        raise NotMeasured(f"not installed: {error}") from None


def environment() -> dict[str, str]:
    """The environment variables, without the machine's own AWS, Flask and proxy settings."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_FOREIGN) and not name.lower().endswith("_proxy")
    }
    return {
        **kept,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
