"""The embedded engine under real servers, with their reloaders and workers."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import http.client
import json
import os
import pathlib
import signal
import subprocess
import sys
import typing as t

import pytest

import ports
from test_local import DEADLINE
from test_local import engine_files
from test_local import environment
from test_local import has_the_mark
from test_local import kill_group
from test_local import leave_a_mark
from test_local import running_engines
from test_local import wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not pathlib.Path("/proc/self/stat").exists(), reason="finds processes through /proc"
    ),
    pytest.mark.once(reason="the embedded engine is started, and called by a client of its own"),
]

_APP = """
import os

from {framework} import {name}

from dynamo_ext.local import launcher as local

local.start()
app = {name}(__name__)


@app.get("/")
def index():
    return {{"version": 1, "pid": os.getpid(), "url": local.endpoint()}}


if __name__ == "__main__":
    app.run(port=int(os.environ["PORT"]), debug=True)
"""


class _Server:
    """A running server of the app in ``app.py``."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, directory: pathlib.Path):
        self.process = process
        self.port = port
        self.directory = directory

    def answer(self) -> dict[str, t.Any] | None:
        """The app's answer; ``None`` while no process answers."""
        assert self.process.poll() is None, "the server has ended"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)

        with contextlib.closing(connection):
            try:
                connection.request("GET", "/")
                body = connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                return None

        # Hypercorn, when its reloader interrupts it, ends requests with an empty 500.
        return t.cast("dict[str, t.Any]", json.loads(body)) if body else None

    def answers_of(self, count: int) -> dict[int, str]:
        """The engine's URL in each of this number of workers, by the worker's process id."""
        found: dict[int, str] = {}

        def ask() -> bool:
            if answer := self.answer():
                found[answer["pid"]] = answer["url"]

            return len(found) == count

        wait_for(ask)
        return found

    def one_answer(self) -> dict[str, t.Any]:
        wait_for(self.answer)
        answer = self.answer()
        assert answer is not None
        return answer

    def change_app(self) -> None:
        file = self.directory / "app.py"
        file.write_text(file.read_text().replace('"version": 1', '"version": 2'))

    def has_version(self, version: int) -> bool:
        return (answer := self.answer()) is not None and answer["version"] == version

    def interrupt(self) -> None:
        """Do what Ctrl-C in a terminal does: interrupt the server and all that it has started."""
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(DEADLINE)


class _Serve(t.Protocol):
    def __call__(self, framework: str, *command: str, source: str = ...) -> _Server: ...


@pytest.fixture
def serve(tmp_path: pathlib.Path) -> cabc.Iterator[_Serve]:
    """Starts a server; ``PORT`` in its command is replaced by a free port."""
    with contextlib.ExitStack() as stack:

        def start(framework: str, *command: str, source: str = "") -> _Server:
            name = framework.capitalize()
            source = source or _APP.format(framework=framework, name=name)
            (tmp_path / "app.py").write_text(source)

            port = ports.free_port()
            log = stack.enter_context((tmp_path / "server.log").open("wb"))
            process = subprocess.Popen(
                [sys.executable, *(part.replace("PORT", str(port)) for part in command)],
                cwd=tmp_path,
                # Python would take the old app's bytecode for the new one's: both files have the
                # same size, and may have the same time in seconds.
                env=environment(tmp_path) | {"PORT": str(port), "PYTHONDONTWRITEBYTECODE": "1"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            stack.enter_context(process)
            stack.callback(kill_group, process)
            return _Server(process, port, tmp_path)

        yield start

    wait_for(lambda: not running_engines(tmp_path))


@pytest.mark.parametrize(
    ("framework", "command"),
    [
        ("flask", ["-m", "flask", "run", "--debug", "--port", "PORT"]),
        ("flask", ["app.py"]),
        ("quart", ["-m", "quart", "run", "--reload", "--port", "PORT"]),
        ("quart", ["-m", "quart", "--debug", "run", "--port", "PORT"]),
        ("quart", ["app.py"]),
        ("quart", ["-m", "hypercorn", "--reload", "--bind", "127.0.0.1:PORT", "app:app"]),
    ],
)
def test_reload_keeps_the_engine_and_ctrl_c_stops_it(
    serve: _Serve, framework: str, command: list[str]
) -> None:
    server = serve(framework, *command)
    url = server.one_answer()["url"]
    leave_a_mark(url)
    server.change_app()
    wait_for(lambda: server.has_version(2))
    assert server.one_answer()["url"] == url
    assert has_the_mark(url)
    assert len(running_engines(server.directory)) == 1
    server.interrupt()
    wait_for(lambda: not running_engines(server.directory))
    assert engine_files(server.directory) == []


def test_workers_of_hypercorn_share_one_engine(serve: _Serve) -> None:
    server = serve("quart", "-m", "hypercorn", "-w", "2", "--bind", "127.0.0.1:PORT", "app:app")
    urls = server.answers_of(2)
    (url,) = {*urls.values()}
    leave_a_mark(url)
    # Replaces its workers, from Hypercorn 0.18 on.
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: (answer := server.answer()) is not None and answer["pid"] not in urls)
    assert server.one_answer()["url"] == url
    assert has_the_mark(url)
    assert len(running_engines(server.directory)) == 1
    server.interrupt()
    wait_for(lambda: not running_engines(server.directory))
    assert engine_files(server.directory) == []


@pytest.mark.parametrize("preload", [[], ["--preload"]])
def test_workers_of_gunicorn_share_one_engine(serve: _Serve, preload: list[str]) -> None:
    server = serve(
        "flask",
        "-m",
        "gunicorn",
        "--no-control-socket",
        *preload,
        "-w",
        "2",
        "-b",
        "127.0.0.1:PORT",
        "app:app",
    )
    urls = server.answers_of(2)
    (url,) = {*urls.values()}
    leave_a_mark(url)

    for pid in urls:
        os.kill(pid, signal.SIGKILL)

    wait_for(lambda: (answer := server.answer()) is not None and answer["pid"] not in urls)
    assert server.one_answer()["url"] == url
    assert has_the_mark(url)
    assert len(running_engines(server.directory)) == 1
    server.interrupt()
    wait_for(lambda: not running_engines(server.directory))
    assert engine_files(server.directory) == []


_TODO = """
import os

import flask
from pynamodb.attributes import UnicodeAttribute

import dynamo_ext

app = flask.Flask(__name__)
app.config["DYNAMODB_HOST"] = "local:///todo.db"
db = dynamo_ext.PynamoDB(app)


class Todo(dynamo_ext.Model):
    class Meta:
        table_name = "todo"

    id = UnicodeAttribute(hash_key=True)


@app.get("/")
def index():
    Todo(str(os.getpid())).save()
    url = db.connection.client.meta.endpoint_url
    return {"version": 1, "pid": os.getpid(), "url": url, "ids": [todo.id for todo in Todo.scan()]}
"""


@pytest.mark.parametrize(
    "command",
    [
        ("flask", "run", "--debug", "--port", "PORT"),
        (
            "gunicorn",
            "--no-control-socket",
            "--preload",
            "-w",
            "2",
            "-b",
            "127.0.0.1:PORT",
            "app:app",
        ),
    ],
    ids=["reloader", "workers"],
)
def test_server_and_command_share_the_engine_of_a_file(
    serve: _Serve, tmp_path: pathlib.Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "instance").mkdir()
    (tmp_path / "todos.py").write_text(_TODO)
    server = serve("flask", "-m", *command, source=_TODO)
    # A command in another terminal.
    subprocess.run(
        [sys.executable, "-m", "flask", "--app", "todos", "dynamodb", "create-tables"],
        cwd=tmp_path,
        env=environment(tmp_path),
        check=True,
    )

    if command[0] == "flask":
        first = server.one_answer()
        server.change_app()
        wait_for(lambda: server.has_version(2))
        pids, urls = {str(first["pid"])}, {first["url"]}
    else:
        answers = server.answers_of(2)
        pids, urls = set(map(str, answers)), set(answers.values())

    answer = server.one_answer()
    assert {*answer["ids"]} >= pids
    assert {answer["url"]} == urls
    assert len(running_engines(server.directory)) == 1
    server.interrupt()
    wait_for(lambda: not running_engines(server.directory))
    assert engine_files(server.directory) == []
