"""``scripts/demo``, as one runs it."""

from __future__ import annotations

import ast
import collections.abc as cabc
import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import typing as t
import uuid

import pytest

import engines
import marked
import ports
import todo
from todo import Page

DEMO = todo.ROOT / "scripts" / "demo"
DEADLINE = 120.0

pytestmark = [
    pytest.mark.repo,
    pytest.mark.skipif(
        not pathlib.Path("/proc/self/environ").exists(), reason="finds processes through /proc"
    ),
]

ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
STOPPED = "Stopped.\n"


class Demo:
    """One run of the demo, with all its processes.

    :param directory: Where it is started.
    :param script: The script.
    :param python: An interpreter that has everything; empty to have everything installed.
    :param variables: More environment variables.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        *arguments: str,
        script: pathlib.Path = DEMO,
        python: str = sys.executable,
        variables: cabc.Mapping[str, str] | None = None,
    ) -> None:
        # Every process that it starts inherits this variable.
        self._mark = f"DEMO_TEST={uuid.uuid4()}"
        name, _, value = self._mark.partition("=")
        # A group of its own, as in a terminal.
        self._process = subprocess.Popen(
            [sys.executable, script, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=directory,
            env={**os.environ, "DEMO_PYTHON": python, name: value, **(variables or {})},
            text=True,
            start_new_session=True,
        )

    def addresses(self) -> tuple[str, str]:
        """Wait until it says where the page and the API are."""
        assert self._process.stdout is not None
        found: list[str] = []

        while len(found) < 2:
            line = self._process.stdout.readline()
            assert line, self._process.communicate()
            found += ADDRESS.findall(line)

        return found[0], found[1]

    def send(self, number: signal.Signals) -> None:
        """Send a signal as a terminal does: to the whole group."""
        os.killpg(self._process.pid, number)

    def end(self) -> tuple[int, str, str]:
        """Wait until it has ended.

        :return: The exit code; what else it has said, and what it has complained about.
        """
        said, complaints = self._process.communicate(timeout=DEADLINE)
        return self._process.returncode, said, complaints

    def processes(self, what: str = "") -> list[int]:
        """Those of its processes that live.

        :param what: A part of the command line.
        """
        started = marked.processes(self._mark)
        return [pid for pid in started if what in " ".join(marked.command(pid))]

    def wait_for(self, what: str) -> int:
        """Wait for one of its processes.

        :param what: A part of the command line.
        :return: Its id.
        """
        found: list[int] = []

        def look() -> bool:
            # Once: in the middle of exec, a process has no command line for a moment.
            found[:] = self.processes(what)
            return bool(found)

        marked.wait_until(look, DEADLINE)
        return found[0]

    def is_gone(self) -> None:
        """Check that no process is left, not even a little later."""
        marked.wait_until(lambda: not self.processes(), DEADLINE)

    def kill(self) -> None:
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

        self._process.communicate()


Start = cabc.Callable[..., Demo]


@pytest.fixture
def start(tmp_path: pathlib.Path) -> cabc.Iterator[Start]:
    """Start the demo, from anywhere. Nothing of it outlives the test."""
    demos: list[Demo] = []

    def start(*arguments: str, **options: t.Any) -> Demo:
        demos.append(Demo(tmp_path, *arguments, **options))
        return demos[-1]

    yield start

    for demo in demos:
        demo.kill()


@pytest.fixture
def taken_port() -> cabc.Iterator[int]:
    with socket.create_server((engines.HOST, 0)) as listener:
        yield listener.getsockname()[1]


def start_on_free_ports(start: Start) -> Demo:
    return start("--web-port", "0", "--api-port", "0")


def stops_cleanly(demo: Demo, number: signal.Signals) -> None:
    """Check that a signal ends a demo, with connections or without."""
    demo.send(number)
    code, said, complaints = demo.end()
    assert (code, complaints) == (0, "")
    assert said.endswith(STOPPED)
    demo.is_gone()


def test_check_says_what_works_wherever_it_runs_and_leaves_nothing_behind(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TODO_DYNAMODB_HOST", "http://127.0.0.1:9")
    monkeypatch.setenv("TODO_MAX_CONTENT_LENGTH", "1")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.setenv("FLASK_DEBUG", "1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    demo = start("--check")
    code, said, complaints = demo.end()
    assert (code, complaints) == (0, ""), said
    assert said.splitlines() == [
        "todos: created",
        "ok: the page added a to-do, the API read it",
        "ok: the API added a to-do, the page showed it",
        "ok: the page ticked a to-do off, the API knew",
        "ok: the API streamed 2 to-dos",
        "ok: the API deleted the page's to-do, the page no longer showed it",
        "ok: the page deleted the API's to-do, the API no longer knew it",
        "Both apps work, on the same models and the same data.",
    ]
    demo.is_gone()


def test_check_fails_and_says_why_when_an_app_has_died(start: Start) -> None:
    demo = start("--check")
    os.kill(demo.wait_for("examples.todo.serve web"), signal.SIGKILL)
    code, said, complaints = demo.end()
    assert code == 1
    assert re.match(r"scripts/demo: GET http://127\.0\.0\.1:\d+/\w* got no answer: ", complaints)
    assert "timed out" not in complaints
    assert "Both apps work" not in said
    demo.is_gone()


def test_demo_shows_samples_on_both_apps_on_the_ports_that_are_chosen(start: Start) -> None:
    port = ports.free_port()
    demo = start("--web-port", "0", "--api-port", str(port))
    web, api = demo.addresses()
    assert api == f"http://127.0.0.1:{port}"

    # The connections stay open, as a browser's do.
    with Page(web) as page, todo.api_client(api) as client:
        samples = [item["title"] for item in todo.items(client)]
        assert len(samples) == 3
        assert page.titles() == samples
        # What is sent to it when its terminal is closed.
        stops_cleanly(demo, signal.SIGHUP)


def test_demo_keeps_the_to_dos_in_a_file_and_says_so(start: Start, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "kept.db"

    for has_run, stop in [(False, signal.SIGINT), (True, signal.SIGTERM)]:
        demo = start("--web-port", "0", "--api-port", "0", "--keep", str(file))
        web, api = demo.addresses()

        with Page(web) as page, todo.api_client(api) as client:
            assert ("A new one" in page.titles()) is has_run
            assert f"They are in the file {file}." in page.get()
            client.post("/todos", json={"title": "A new one"})
            stops_cleanly(demo, stop)

    file.write_text("something else")
    code, _, complaints = start("--web-port", "0", "--api-port", "0", "--keep", file).end()
    assert code == 1
    assert complaints.startswith(f"scripts/demo: '{file}' is not a file of the embedded engine.")


def test_second_ctrl_c_changes_nothing(start: Start) -> None:
    demo = start_on_free_ports(start)
    demo.addresses()
    demo.send(signal.SIGINT)
    time.sleep(0.15)
    stops_cleanly(demo, signal.SIGINT)


@pytest.mark.parametrize("process", ["dynamo_ext/local/server.py", "create-tables"])
def test_ctrl_c_before_the_demo_is_ready_stops_it_cleanly(start: Start, process: str) -> None:
    demo = start_on_free_ports(start)
    demo.wait_for(process)
    demo.send(signal.SIGINT)
    code, said, complaints = demo.end()
    assert (code, complaints) == (130, "")
    assert not ADDRESS.search(said)
    demo.is_gone()


def test_ctrl_c_stops_the_check(start: Start) -> None:
    demo = start("--check")
    demo.wait_for("examples.todo.serve api")
    demo.send(signal.SIGINT)
    code, said, complaints = demo.end()
    assert (code, complaints) == (130, "")
    assert "Both apps work" not in said
    demo.is_gone()


def test_nothing_outlives_a_demo_that_is_killed(start: Start) -> None:
    demo = start_on_free_ports(start)
    demo.addresses()
    demo.send(signal.SIGKILL)
    demo.is_gone()


@pytest.mark.parametrize("app", ["web", "api"])
def test_demo_ends_and_says_why_when_an_app_has_died(start: Start, app: str) -> None:
    demo = start_on_free_ports(start)
    demo.addresses()
    os.kill(demo.wait_for(f"examples.todo.serve {app}"), signal.SIGKILL)
    code, _, complaints = demo.end()
    assert code == 1
    assert complaints == f"scripts/demo: the {app} app has ended, with exit code -9\n"
    demo.is_gone()


@pytest.mark.parametrize("option", ["--web-port", "--api-port"])
def test_taken_port_is_named_before_anything_starts(
    start: Start, taken_port: int, option: str
) -> None:
    other = {"--web-port": "--api-port", "--api-port": "--web-port"}[option]
    demo = start(option, str(taken_port), other, "0")
    code, said, complaints = demo.end()
    message = f"scripts/demo: port {taken_port} is in use; choose another with {option} N\n"
    assert (code, said, complaints) == (1, "", message)


@pytest.mark.parametrize("port", ["x", "-1", "65536", "5000.0"])
def test_bad_port_is_refused(start: Start, port: str) -> None:
    code, said, complaints = start(f"--web-port={port}").end()
    assert (code, said) == (2, "")
    assert f"{port!r} is not a valid port: give a number from 0 to 65535" in complaints


# The set-up, with a project that needs nothing from elsewhere

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "small"
version = "1"
"""

BACKEND = """
import zipfile


def build_editable(directory, config_settings=None, metadata_directory=None):
    name = "small-1-py3-none-any.whl"
    with zipfile.ZipFile(f"{directory}/{name}", "w") as wheel:
        info = "small-1.dist-info"
        wheel.writestr("installed_by_demo.py", "")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: small\\nVersion: 1\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name
"""

RAN = """
import sys

import installed_by_demo

print("ran", *sys.argv[1:])
"""


@pytest.fixture
def checkout(tmp_path: pathlib.Path) -> pathlib.Path:
    """A checkout of another, very small project with the same ``scripts/demo``."""
    checkout = tmp_path / "check out"
    (checkout / "scripts").mkdir(parents=True)
    (checkout / "examples" / "todo").mkdir(parents=True)
    shutil.copy(DEMO, checkout / "scripts")
    (checkout / "pyproject.toml").write_text(PYPROJECT)
    (checkout / "backend.py").write_text(BACKEND)
    (checkout / "examples" / "todo" / "demo.py").write_text(RAN)
    return checkout


# Takes the place of Python's module: to unpack and compile pip takes five seconds of a processor.
# CI runs "scripts/demo --check", which installs everything as Python does.
VENV = """
import importlib.util, pathlib, sys

here = str(pathlib.Path(__file__).parent)
sys.path.remove(here)
import venv

*_, directory = sys.argv
pip = pathlib.Path(importlib.util.find_spec("pip").origin).parent
venv.create(directory, clear="--clear" in sys.argv, symlinks=True)
version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
pathlib.Path(directory, "lib", version, "site-packages", "pip").symlink_to(pip)
"""


@pytest.fixture
def quick_venv(tmp_path: pathlib.Path) -> dict[str, str]:
    """Variables for a Python whose virtual environments have a link to the pip that is here."""
    directory = tmp_path / "quick"
    directory.mkdir()
    (directory / "venv.py").write_text(VENV)
    return {"PYTHONPATH": str(directory)}


def set_up(
    checkout: pathlib.Path, *arguments: str, variables: cabc.Mapping[str, str] | None = None
) -> tuple[int, list[str], str]:
    """Run the script with nothing but Python: no home, and a path without anything else."""
    home = checkout.parent / "home"
    home.mkdir(exist_ok=True)
    path = str(pathlib.Path(sys.executable).parent)
    done = subprocess.run(
        [sys.executable, checkout / "scripts" / "demo", *arguments],
        capture_output=True,
        text=True,
        cwd=home,
        env={"HOME": str(home), "PATH": path, **(variables or {})},
        timeout=DEADLINE,
    )
    return done.returncode, done.stdout.splitlines(), done.stderr


NOTICE = "Installing into .venv-demo (once, and again when pyproject.toml changes) ..."


@pytest.mark.slow
def test_set_up_is_done_again_when_it_has_failed_and_when_pyproject_changes(
    checkout: pathlib.Path, quick_venv: dict[str, str]
) -> None:
    def run(*arguments: str) -> tuple[int, list[str], str]:
        return set_up(checkout, *arguments, variables=quick_venv)

    (checkout / "backend.py").write_text("raise SystemExit('broken')\n")
    code, said, complaints = run()
    assert (code, said) == (1, [NOTICE])
    assert complaints.endswith("scripts/demo: could not set up .venv-demo: see above\n")
    (checkout / "backend.py").write_text(BACKEND)
    assert run("--check") == (0, [NOTICE, "ran --check"], "")
    assert run("--web-port", "1") == (0, ["ran --web-port 1"], "")
    (checkout / "pyproject.toml").write_text(PYPROJECT + "description = 'changed'\n")
    assert run() == (0, [NOTICE, "ran"], "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("process", "number"),
    [("-m venv", signal.SIGINT), ("pip install", signal.SIGTERM)],
)
def test_set_up_is_stopped_cleanly(
    checkout: pathlib.Path,
    start: Start,
    quick_venv: dict[str, str],
    process: str,
    number: signal.Signals,
) -> None:
    (checkout / "backend.py").write_text("import time\ntime.sleep(600)\n")
    # The quick one would have ended before it is stopped.
    variables = {} if process == "-m venv" else quick_venv
    demo = start(script=checkout / "scripts" / "demo", python="", variables=variables)
    demo.wait_for(process)
    demo.send(number)
    assert demo.end() == (130, f"{NOTICE}\n", "")
    demo.is_gone()


INTERRUPTED = """
import os, runpy, signal, subprocess, sys
start = subprocess.Popen

def start_and_interrupt(command, **options):
    process = start(command, **options)

    if "pip" in command:
        os.kill(os.getpid(), signal.SIGINT)

    return process

subprocess.Popen = start_and_interrupt
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
def test_set_up_is_stopped_while_it_starts_a_process(
    checkout: pathlib.Path, start: Start, tmp_path: pathlib.Path, quick_venv: dict[str, str]
) -> None:
    (checkout / "backend.py").write_text("import time\ntime.sleep(600)\n")
    script = tmp_path / "interrupted"
    script.write_text(INTERRUPTED)
    program = str(checkout / "scripts" / "demo")
    demo = start(program, script=script, python="", variables=quick_venv)
    assert demo.end() == (130, f"{NOTICE}\n", "")
    demo.is_gone()


def test_old_python_is_told_that_it_is() -> None:
    code = (
        "import runpy, sys; sys.version_info = (3, 10, 13); sys.version = '3.10.13 (main)';"
        f" runpy.run_path({str(DEMO)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "scripts/demo: this is Python 3.10.13; 3.11 or newer is needed: python3.11 scripts/demo\n"
    )


def test_old_python_can_read_the_script() -> None:
    ast.parse(DEMO.read_text(), feature_version=(3, 6))


def test_help_installs_nothing(checkout: pathlib.Path) -> None:
    (checkout / "examples" / "todo" / "demo.py").write_text("print('help')\n")
    assert set_up(checkout, "--help") == (0, ["help"], "")
    assert not (checkout / ".venv-demo").exists()


def test_help_names_the_options() -> None:
    done = subprocess.run([sys.executable, DEMO, "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert all(option in done.stdout for option in ("--check", "--web-port", "--api-port"))
