"""The DynamoDB-speaking servers that the tests run on, each a process of its own."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import importlib.util
import os
import pathlib
import subprocess
import sys
import typing as t
import urllib.error
import urllib.request
import uuid

import ports

HOST = "127.0.0.1"
DYNOXIDE = "DYNOXIDE"
ENDPOINT = "DYNAMO_EXT_TEST_ENDPOINT"
TRANSPORT = "DYNAMO_EXT_TEST_TRANSPORT"
_STOP_SECONDS = 60


def config(url: str) -> dict[str, t.Any]:
    """Settings for an app of one test: its tables are its own.

    The transport of the run is among them, since they are also handed to other processes.
    """
    return {
        "DYNAMODB_TRANSPORT": os.environ.get(TRANSPORT, "botocore"),
        "DYNAMODB_HOST": url,
        "DYNAMODB_REGION": "us-east-1",
        "DYNAMODB_AWS_ACCESS_KEY_ID": "AKIDOFTHETESTS",
        "DYNAMODB_AWS_SECRET_ACCESS_KEY": "secret-of-the-tests",
        "DYNAMODB_TABLE_NAME_PREFIX": f"{uuid.uuid4().hex[:12]}-",
    }


def python_environment() -> dict[str, str]:
    """An environment in which another Python finds the packages that are tested here.

    That is the installed wheel under tox, and the checkout elsewhere.
    """
    package = importlib.util.find_spec("dynamo_ext")
    assert package is not None
    assert package.origin is not None
    paths = [str(pathlib.Path(package.origin).parent.parent), os.environ.get("PYTHONPATH")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


@contextlib.contextmanager
def embedded() -> cabc.Generator[str]:
    """The embedded engine, by its own command."""
    # -P: the packages are those of the environment, not those of the working directory.
    command = [sys.executable, "-P", "-m", "dynamo_ext.local", "--port", "0"]

    with _running(command) as (process, url):
        _wait_for_answer(process, url)
        yield url


@contextlib.contextmanager
def dynoxide() -> cabc.Generator[str]:
    """The engine dynoxide, whose binary an environment variable names."""
    # It can't tell which port it got, so it is given one.
    port = ports.free_port()
    command = [os.environ[DYNOXIDE], "serve", "--host", HOST, "-p", str(port)]

    with _running(command, stderr=subprocess.STDOUT) as (process, first_line):
        if "listening" not in first_line:
            raise RuntimeError(f"dynoxide did not start on port {port}: {first_line}")

        url = f"http://{HOST}:{port}"
        _wait_for_answer(process, url)
        yield url


@contextlib.contextmanager
def _running(
    command: list[str], *, stderr: int | None = None
) -> cabc.Generator[tuple[subprocess.Popen[str], str]]:
    """Run a server until the end of the block; give its process and the first line it prints."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=python_environment(),
        text=True,
    )

    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()

    try:
        process.communicate(timeout=_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _wait_for_answer(process: subprocess.Popen[str], url: str) -> None:
    """Wait until a server answers, and make sure that it is this one that does."""
    try:
        urllib.request.urlopen(url, timeout=_STOP_SECONDS).close()
    except urllib.error.HTTPError as error:
        error.close()

    if process.poll() is not None:
        raise RuntimeError(f"{process.args!r} has ended with exit code {process.returncode}")
