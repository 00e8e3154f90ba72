"""The engine of a test session: an own process, and the control channel to it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pathlib
import secrets
import subprocess
import sys
import tempfile
import threading
import typing as t
import urllib.parse
import urllib.request

from ..local import starting
from ..local.controlled import CONTROL_PATH
from ..local.controlled import SECRET_HEADER
from ..local.faults import Fault
from ..printable import escaped

_ANSWER_TIMEOUT = 60.0
_STOP_TIMEOUT = 5.0
_LOG_TAIL = 2000
_MODULE = "dynamo_ext.local.controlled"
# Behind the installed packages: a file of the app must not hide a library that the engine needs.
_CODE = f"import sys; sys.path.append(sys.argv.pop()); import {_MODULE} as m; m.main()"
# Where this package was imported from, if it is not where all others are.
_PLACE = str(pathlib.Path(__file__).parents[2])
_PROXIES = ("NO_PROXY", "no_proxy")


class EngineNotInstalled(Exception):
    """What the embedded engine needs is not installed."""


class EngineOfSession:
    """The engine of one session of pytest. It starts at first use."""

    def __init__(self) -> None:
        self._process: _EngineProcess | None = None

    def begin(self) -> EngineOfTest:
        """Begin a test. This starts the engine, if there is none or it was killed.

        :return: What the test has of the engine.
        :raises EngineNotInstalled: if the extra ``local`` is not installed.
        :raises RuntimeError: if the engine can't be started.
        """
        _check_installed()

        if self._process is None or not self._process.is_alive():
            self.stop()
            self._process = _EngineProcess()

        return EngineOfTest(self._process)

    def stop(self) -> None:
        """Stop the engine, if it runs."""
        if self._process is not None:
            self._process.stop()


class EngineOfTest:
    """What one test has of an engine: tables with a prefix of its own, and an access key.

    :param process: The engine.
    """

    def __init__(self, process: _EngineProcess) -> None:
        self._process = process
        self.url: str = process.url
        self.prefix: str = f"test-{secrets.token_hex(6)}-"
        self.access_key_id: str = f"TEST{secrets.token_hex(8).upper()}"
        self.command("begin", access_key_id=self.access_key_id)

    def command(self, name: str, **parameters: t.Any) -> t.Any:
        """Send a command about this test.

        :param name: The name of a method of :class:`dynamo_ext.local.controlled.Commands`.
        :param parameters: Its arguments.
        :return: What the method returns.
        :raises RuntimeError: if the engine does not answer.
        """
        return self._process.command({"command": name, "prefix": self.prefix, **parameters})

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables by which no proxy is asked for the engine."""
        if not urllib.request.getproxies():
            return {}

        host = urllib.parse.urlsplit(self.url).hostname
        values = {name: os.environ.get(name, "") for name in _PROXIES}
        return {
            name: ",".join(filter(None, [value, host]))
            for name, value in values.items()
            if value != "*"
        }

    def end(self) -> list[Fault]:
        """Delete the test's tables. Of an engine that has ended there is nothing to delete.

        :return: The faults that still wait for requests.
        """
        pending: list[dict[str, t.Any]] = self.command("end") if self._process.is_alive() else []
        return [Fault(**fault) for fault in pending]


class _EngineProcess:
    """The running process of an engine. It ends with this process, if not before.

    :raises RuntimeError: if the engine can't be started. The message has the end of its log.
    """

    def __init__(self) -> None:
        self._secret = secrets.token_hex(16)
        # A file and not a pipe, which would fill up. It is closed when the engine has ended.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", "-c", _CODE, _PLACE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=_environment(),
            # So that Ctrl-C does not end it while tests still clean up.
            start_new_session=True,
            text=True,
        )
        self.url: str = self._start()

    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def command(self, command: dict[str, t.Any]) -> t.Any:
        """Send a command.

        :param command: Its name and its arguments.
        :return: The result.
        :raises RuntimeError: if the engine does not answer.
        """
        address = urllib.parse.urlsplit(self.url).netloc
        connection = http.client.HTTPConnection(address, timeout=_ANSWER_TIMEOUT)

        try:
            with contextlib.closing(connection):
                headers = {SECRET_HEADER: self._secret}
                connection.request("POST", CONTROL_PATH, json.dumps(command), headers)
                response = connection.getresponse()
                content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._failure("does not answer") from error

        if response.status != http.HTTPStatus.OK:
            raise self._failure(f"answers {command['command']!r} with status {response.status}")

        return json.loads(content)

    def stop(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            # It may have ended, and not have read what is still in the pipe.
            with contextlib.suppress(OSError):
                t.cast("t.IO[str]", pipe).close()

        try:
            self._process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

        self._log.close()

    def _start(self) -> str:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None

        with contextlib.suppress(BrokenPipeError):
            stdin.write(f"{self._secret}\n")
            stdin.flush()

        # An engine that does not start in time is killed. Then the line is empty.
        limit = threading.Timer(starting.START_TIMEOUT, self._process.kill)
        limit.start()

        try:
            url = stdout.readline().strip()
        finally:
            limit.cancel()

        if url:
            return url

        failure = self._failure("could not be started")
        self.stop()
        raise failure

    def _failure(self, what: str) -> RuntimeError:
        """An error with the end of the engine's log."""
        self._log.seek(0)
        text = self._log.read().decode(errors="replace")[-_LOG_TAIL:].strip()
        shown = "\n    ".join(map(escaped, text.splitlines())) or "it has said nothing"
        return RuntimeError(f"the engine of the fixture 'dynamodb' {what}: {shown}")


def _check_installed() -> None:
    if missing := starting.missing_modules():
        raise EngineNotInstalled(f"The fixture 'dynamodb' needs {starting.not_installed(missing)}")


def _environment() -> dict[str, str]:
    """This process's environment, without the configuration file of PynamoDB, which is code."""
    return {name: value for name, value in os.environ.items() if name != "PYNAMODB_CONFIG"}
