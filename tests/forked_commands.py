"""Commands of both command lines, each in a process of its own that is forked from a warm one.

A command takes a tenth of the time that it would take in a new Python, and can be killed at any
moment. Its models are those of this module, and no other test's.
"""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import dataclasses
import importlib
import json
import os
import pathlib
import pty
import re
import signal
import subprocess
import sys
import tempfile
import threading
import typing as t

import engines

LINES = ("flask", "quart")


@dataclasses.dataclass(frozen=True)
class Done:
    """How a command has ended."""

    code: int
    """Its exit code; if a signal has ended it, that with a minus sign."""

    stdout: str
    stderr: str


class Commands:
    """Runs commands.

    :param process: A process of :func:`_serve`.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run_on_terminal(
        self,
        config: cabc.Mapping[str, t.Any],
        *arguments: str | pathlib.Path,
        line: str = "flask",
        ctrl_c_at: str | None = None,
    ) -> Done:
        """Run a command on a terminal of its own, which is wide. All of its output is in
        ``stdout``.

        :param config: The app's settings.
        :param arguments: What comes after ``dynamodb``.
        :param line: Which command line.
        :param ctrl_c_at: An expression: press Ctrl-C as soon as the output has it.
        """
        return self._send(
            line=line,
            config=config,
            arguments=[str(each) for each in arguments],
            terminal=True,
            ctrl_c_at=ctrl_c_at,
        )

    def run(
        self,
        config: cabc.Mapping[str, t.Any],
        *arguments: str | pathlib.Path,
        line: str = "flask",
        kill_after: float | None = None,
        interrupt_after: float | None = None,
    ) -> Done:
        """Run ``flask dynamodb …`` or ``quart dynamodb …``.

        :param config: The app's settings.
        :param arguments: What comes after ``dynamodb``.
        :param line: Which command line.
        :param kill_after: After how many seconds to kill it.
        :param interrupt_after: After how many seconds to interrupt it, as Ctrl-C does.
        """
        return self._send(
            line=line,
            config=config,
            arguments=[str(each) for each in arguments],
            terminal=False,
            kill_after=kill_after,
            interrupt_after=interrupt_after,
        )

    def _send(self, **request: t.Any) -> Done:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Done(**json.loads(self._process.stdout.readline()))


@contextlib.contextmanager
def commands() -> cabc.Generator[Commands]:
    """Start the warm process."""
    environment = engines.python_environment()
    tests = str(pathlib.Path(__file__).parent)

    with subprocess.Popen(
        [sys.executable, "-W", "error", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={
            **environment,
            "PYTHONPATH": os.pathsep.join([tests, environment["PYTHONPATH"]]),
        },
    ) as process:
        try:
            yield Commands(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()


def _serve() -> None:
    import flask
    import quart
    from pynamodb.attributes import BinaryAttribute
    from pynamodb.attributes import NumberAttribute
    from pynamodb.attributes import UnicodeAttribute

    from dynamo_ext_async import Model
    from dynamo_ext_async import PynamoDB

    class Thing(Model):
        class Meta:
            table_name = "thing"

        id = UnicodeAttribute(hash_key=True)
        number = NumberAttribute(range_key=True)

    class Blob(Model):
        class Meta:
            table_name = "blob"

        key = BinaryAttribute(hash_key=True, legacy_encoding=False)

    # A class that nobody refers to may be gone before a command looks for models.
    models = [Thing, Blob]
    apps = {"flask": flask.Flask, "quart": quart.Quart}

    def create(line: str, config: dict[str, t.Any]) -> t.Any:
        app = apps[line]("tests")
        app.config.from_mapping(config)
        PynamoDB(app)
        return app

    # The children need not load these again.
    importlib.import_module("flask.cli")
    importlib.import_module("quart.cli")
    warm = flask.Flask("warm")
    warm.config.from_mapping(engines.config(f"http://{engines.HOST}:1"))
    db = PynamoDB(warm)

    with warm.app_context():
        assert db.connection.client is not None

    for request in sys.stdin:
        wanted = json.loads(request)
        run = _run_on_terminal if wanted["terminal"] else _run
        print(json.dumps(run(wanted, create)), flush=True)

    models.clear()


def _run(request: dict[str, t.Any], create: cabc.Callable[..., t.Any]) -> dict[str, t.Any]:
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        if not (child := os.fork()):
            os.dup2(stdout.fileno(), 1)
            os.dup2(stderr.fileno(), 2)
            _run_in_child(request, create)

        timers = [
            threading.Timer(seconds, os.kill, (child, number))
            for seconds, number in (
                (request["kill_after"], signal.SIGKILL),
                (request["interrupt_after"], signal.SIGINT),
            )
            if seconds is not None
        ]

        for timer in timers:
            timer.start()

        _, status = os.waitpid(child, 0)

        for timer in timers:
            timer.cancel()

        return {
            "code": os.waitstatus_to_exitcode(status),
            "stdout": _content(stdout),
            "stderr": _content(stderr),
        }


def _run_on_terminal(
    request: dict[str, t.Any], create: cabc.Callable[..., t.Any]
) -> dict[str, t.Any]:
    child, terminal = pty.fork()

    if not child:
        # Click's bar is as wide as that.
        os.environ["COLUMNS"] = "160"
        _run_in_child(request, create)

    output, wanted = b"", request["ctrl_c_at"]

    # On Linux, a terminal whose last user has ended is an error.
    with contextlib.suppress(OSError):
        while some := os.read(terminal, 65536):
            output += some

            if wanted is not None and re.search(wanted, output.decode(errors="replace")):
                os.write(terminal, b"\x03")
                wanted = None

    os.close(terminal)
    _, status = os.waitpid(child, 0)
    return {"code": os.waitstatus_to_exitcode(status), "stdout": output.decode(), "stderr": ""}


def _content(file: t.IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def _run_in_child(request: dict[str, t.Any], create: cabc.Callable[..., t.Any]) -> t.NoReturn:
    code = 70

    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        line = request["line"]
        app = create(line, request["config"])
        # As the app's own runner for tests does, but in this process.
        script = importlib.import_module(f"{line}.cli").ScriptInfo(create_app=lambda *_: app)
        app.cli.main(["dynamodb", *request["arguments"]], prog_name=line, obj=script)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
