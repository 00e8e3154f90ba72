"""The tutorial does what it says, for someone who follows it word by word.

The commands and files are the page's own, in its order, in a folder that is empty at first and an
environment that has only what the page installs. ``pip install`` is :mod:`clean_environment`'s,
without a network. There is no Docker: the Dockerfile's instructions are carried out one by one,
which leaves the base image, the user and ``docker`` itself untried.
"""

from __future__ import annotations

import ast
import collections.abc as cabc
import contextlib
import html
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import time
import typing as t
import urllib.error
import urllib.parse
import urllib.request

import pytest

import clean_environment
import pages
import ports
import terminal

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "tutorial.md"

pytestmark = [pytest.mark.timeout(600), pytest.mark.repo, pytest.mark.slow]


@pytest.fixture
def reader(tmp_path: pathlib.Path) -> cabc.Iterator[Reader]:
    text, free = ports.with_free_ports(PAGE.read_text())
    reader = Reader(pages.read(text), tmp_path, port=free["5000"])
    yield reader
    reader.stop_server()


def test_tutorial(reader: Reader) -> None:
    for block in reader.blocks:
        reader.follow(block)

    # A page without blocks would pass as well.
    assert {"web.py", "models.py", "test_web.py", "Dockerfile"} <= reader.written
    assert reader.checks >= 5
    reader.stop_server()
    container = Container(reader)
    container.build()
    assert not container.has("pytest")
    assert not container.has("moto")
    assert "Book 11" in container.first_page()


class Reader:
    """Someone with a terminal, an editor and a browser."""

    def __init__(self, blocks: list[pages.Block], home: pathlib.Path, *, port: str) -> None:
        self.blocks = blocks
        self.directory = home
        self.written: set[str] = set()
        self.checks = 0
        self._home = home
        self._port = port
        self._output = ""
        self._environment = _empty_environment(home, port)
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        return dict(self._environment)

    def follow(self, block: pages.Block) -> None:
        where = f"tutorial.md, line {block.line}"

        if block.mark == "file":
            self._write(block)
        elif block.mark == "replaces":
            self._replace(block)
        elif block.language == pages.CHECK:
            self._check(block)
        elif block.mark == "answers":
            self._serve(block, where)
        else:
            assert block.language == "bash", where
            self._run(block, where)

    def _write(self, block: pages.Block) -> None:
        # The tutorial says when to make a folder.
        (self.directory / block.value).write_text(block.code)
        self.written.add(block.value)

    def _replace(self, block: pages.Block) -> None:
        function, _, name = block.value.partition(" in ")
        file = self.directory / name
        lines = file.read_text().splitlines(keepends=True)
        (found,) = (
            node
            for node in ast.walk(ast.parse("".join(lines)))
            if isinstance(node, ast.FunctionDef) and node.name == function
        )
        lines[found.decorator_list[0].lineno - 1 : found.end_lineno] = [block.code]
        file.write_text("".join(lines))

    def _run(self, block: pages.Block, where: str) -> None:
        """Run commands as a terminal does: the directory and the variables stay for the next."""
        # A person stops the server before the next command.
        self.stop_server()
        state = self._home / "state"
        script = "".join(map(self._command, block.code.splitlines(keepends=True)))
        after = f"\nexec >{shlex.quote(str(state))}; pwd; env -0"
        self._output = terminal.run(
            f"{script}{after}", block, self.directory, self._environment, where
        )

        # Commands that fail end before they have told their state.
        if block.mark != "exits":
            directory, _, variables = state.read_text().partition("\n")
            self.directory = pathlib.Path(directory)
            self._environment = dict(
                line.split("=", 1) for line in variables.split("\0") if "=" in line
            )

    def _command(self, line: str) -> str:
        if not line.startswith("pip install "):
            return line

        # Not the environment's own Python: the packages are in that of the tests.
        install = [sys.executable, "-P", clean_environment.__file__, *shlex.split(line)[2:]]
        return f"{shlex.join(install)}\n"

    def _serve(self, block: pages.Block, where: str) -> None:
        self.stop_server()
        log = self.directory.parent / "server.log"
        self._server = terminal.serve(block.code, self.directory, self._environment, log)
        wait_for(block.value, self._server, where)
        assert block.output is None or pages.same(get(block.value), block.output), where

    def stop_server(self) -> None:
        if self._server is not None:
            terminal.stop(self._server)
            self._server = None

    def _check(self, block: pages.Block) -> None:
        browser = Browser(f"http://127.0.0.1:{self._port}")
        names: dict[str, t.Any] = {
            "read": browser.read,
            "send": browser.send,
            "link": browser.link,
            "action": browser.action,
            "output": self._output,
        }
        exec(compile(block.padded, str(PAGE), "exec"), names)
        self.checks += 1


class Browser:
    """What a person does with the pages of the tutorial."""

    def __init__(self, origin: str) -> None:
        self._origin = origin

    def read(self, path: str) -> str:
        return get(f"{self._origin}{path}")

    def send(self, path: str, **fields: str) -> str:
        return get(f"{self._origin}{path}", urllib.parse.urlencode(fields).encode())

    def link(self, page: str, text: str) -> str:
        return self._only(rf'<a href="([^"]+)">{text}</a>', page)

    def action(self, page: str, end: str) -> str:
        """Where the first form leads whose address ends like that."""
        return self._only(rf'action="([^"]+{end})"', page)

    def _only(self, pattern: str, page: str) -> str:
        found = re.search(pattern, page)
        assert found, page
        return html.unescape(found[1])


class Container:
    """What the tutorial's Dockerfile makes, in a directory and an environment of its own."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._context = reader.directory
        self._directory = reader.directory.parent / "container"
        self._venv = reader.directory.parent / "packages"
        self._command: list[str] = []

    def build(self) -> None:
        text = (self._context / "Dockerfile").read_text()
        instructions = [line.split(maxsplit=1) for line in text.splitlines() if line]
        assert instructions[0] == ["FROM", "python:3.13-slim"]

        for name, arguments in instructions[1:]:
            getattr(self, f"_{name.lower()}")(arguments)

    def _workdir(self, path: str) -> None:
        assert path == "/app"
        self._directory.mkdir()
        subprocess.run(
            [sys.executable, "-m", "venv", "--without-pip", self._venv],
            check=True,
            timeout=terminal.DEADLINE,
        )

    def _copy(self, paths: str) -> None:
        *sources, target = paths.split()

        for source in sources:
            if source.endswith("/"):
                shutil.copytree(self._context / source, self._directory / target)
            else:
                shutil.copy(self._context / source, self._directory / target)

    def _run(self, command: str) -> None:
        assert command == "pip install --no-cache-dir -r requirements.txt"
        requirements = (self._directory / "requirements.txt").read_text().split()
        clean_environment.install(requirements, self._venv)

    def _user(self, name: str) -> None:
        assert name == "nobody"

    def _cmd(self, command: str) -> None:
        self._command = json.loads(command)

    def has(self, package: str) -> bool:
        return bool(list(self._venv.rglob(package)))

    def first_page(self) -> str:
        """Start it beside the engine of another terminal, which has the reader's books."""
        port, port_of_engine = ports.free_port(), ports.free_port()
        url, engine = (f"http://127.0.0.1:{number}/" for number in (port, port_of_engine))
        local = f"python -m dynamo_ext.local --port {port_of_engine} --file instance/reading.db"
        command = [part.replace("0.0.0.0:8000", f"127.0.0.1:{port}") for part in self._command]
        assert command != self._command
        environment = self._reader.environment | {
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "FLASK_DYNAMODB_HOST": engine.rstrip("/"),
            "FLASK_SECRET_KEY": "for-this-machine-only",
            "PATH": f"{self._venv / 'bin'}{os.pathsep}{os.defpath}",
            "VIRTUAL_ENV": str(self._venv),
        }

        with contextlib.ExitStack() as stack:
            for commands, directory, variables, answer in (
                (local, self._context, self._reader.environment, engine),
                (shlex.join(command), self._directory, environment, url),
            ):
                log = directory.parent / "server.log"
                server = terminal.serve(commands, directory, variables, log)
                stack.callback(terminal.stop, server)
                wait_for(answer, server, commands)

            return get(url)


def _empty_environment(home: pathlib.Path, port: str) -> dict[str, str]:
    """That of a new terminal."""
    installed = pathlib.Path(sys.base_prefix, "bin", "python3")
    programs = home / "programs"
    programs.mkdir()
    python = programs / "python3"
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(str(installed))} "$@"\n')
    python.chmod(0o755)
    return {
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PATH": f"{programs}{os.pathsep}{os.defpath}",
        "TMPDIR": str(home),
        # Nothing of this machine is found where the page leads to AWS.
        "AWS_EC2_METADATA_DISABLED": "true",
        "FLASK_RUN_PORT": port,
        "PYTHONWARNINGS": "error",
    }


def wait_for(url: str, server: subprocess.Popen[bytes], where: str) -> None:
    deadline = time.monotonic() + terminal.DEADLINE

    while True:
        try:
            get(url)
            return
        except urllib.error.HTTPError as error:
            error.close()

            # An engine answers a request without an operation like that.
            if error.code != 404:
                raise AssertionError(f"{where}: {url} answers {error.code}") from error

            return
        except OSError:
            assert server.poll() is None, f"{where}: the server has ended"
            assert time.monotonic() < deadline, f"{where}: {url} does not answer"
            time.sleep(0.05)


def get(url: str, content: bytes | None = None) -> str:
    with urllib.request.urlopen(url, content, timeout=terminal.DEADLINE) as response:
        return t.cast(str, response.read().decode())
