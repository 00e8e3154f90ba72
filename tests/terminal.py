"""Runs the ``bash`` blocks of the docs' pages, as somebody at a terminal does."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess

import pages

DEADLINE = 200.0
"""How long commands may take, and a server to end, in seconds."""


def run(
    script: str,
    block: pages.Block,
    directory: pathlib.Path,
    environment: dict[str, str],
    where: str,
) -> str:
    """Run commands to their end, and check exit code and output against their block.

    :param script: The commands.
    :param block: The block that they come from.
    :param directory: Where they run.
    :param environment: Their environment variables.
    :param where: Their place in the page, for messages.
    :return: The output.
    """
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=DEADLINE,
    )
    code = int(block.value) if block.mark == "exits" else 0
    assert done.returncode == code, f"{where}: {done.stdout}"
    assert block.output is None or pages.same(done.stdout, block.output), done.stdout
    return done.stdout


def serve(
    commands: str, directory: pathlib.Path, environment: dict[str, str], log: pathlib.Path
) -> subprocess.Popen[bytes]:
    """Start commands of which the last one is a server.

    :param commands: The commands.
    :param directory: Where they run.
    :param environment: Their environment variables.
    :param log: The file for their output.
    """
    with log.open("wb") as output:
        return subprocess.Popen(
            ["bash", "-euc", commands],
            cwd=directory,
            env=environment,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )


def stop(server: subprocess.Popen[bytes]) -> None:
    """Stop a server, if it has not ended.

    :param server: The server.
    """
    if server.poll() is not None:
        return

    # As Ctrl-C in a terminal does.
    os.killpg(server.pid, signal.SIGINT)

    try:
        server.wait(DEADLINE)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        raise
