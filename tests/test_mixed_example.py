"""The example of a mixed deployment, as one runs it: one command, two servers, a browser."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import types
import typing as t
import uuid

import flask
import httpx
import pytest

import chromium
import engines
import marked
import servers
from stub import Stub

if t.TYPE_CHECKING:
    from playwright import sync_api

    from examples import serving
else:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = [
    pytest.mark.repo,
    pytest.mark.slow,
    # Its servers take both processors: not several of them at once.
    pytest.mark.xdist_group("mixed"),
    pytest.mark.skipif(
        not pathlib.Path("/proc/self/environ").exists(), reason="finds processes through /proc"
    ),
]

ROOT = pathlib.Path(__file__).parent.parent
DEADLINE = 100.0
SCREENSHOTS = "DYNAMO_EXT_TEST_SCREENSHOTS"
"""The directory that gets the screenshot of the example's README, if this is set."""

MOST_BYTES = 120_000
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
POLL = re.compile(r'<a href="/polls/([0-9a-f-]+)">')
SLEEP = "echo $$ > pid; exec sleep 300"
STARTED = "Ctrl-C stops both.\n"
STOPPED = "Stopped.\n"
FAILED_PROBE = "failed call: ListTables of None, "


class Deployment:
    """One run of the command, with all its processes.

    :param file: Where the engine keeps the polls.
    """

    def __init__(self, file: pathlib.Path) -> None:
        # Every process that it starts inherits this variable.
        self._mark = f"MIXED_TEST={uuid.uuid4()}"
        name, _, value = self._mark.partition("=")
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "examples.mixed"),
                *("--web-port", "0", "--live-port", "0", "--file", str(file)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=file.parent,
            env={**environment(), name: value},
            text=True,
            start_new_session=True,
        )
        self.page, self.live = self._clients()
        self.poll = POLL.findall(self.page.get("/").text)[0]

    def _clients(self) -> tuple[httpx.Client, httpx.Client]:
        assert self._process.stdout is not None
        found: list[str] = []

        while (line := self._process.stdout.readline()) != STARTED:
            assert line, self._process.communicate()
            found += ADDRESS.findall(line)

        page, live = (
            httpx.Client(base_url=url, trust_env=False, timeout=DEADLINE) for url in found
        )
        return page, live

    def vote(self, choice: int) -> None:
        """Vote as a new visitor."""
        response = self.page.post(f"/polls/{self.poll}", data={"choice": choice})
        assert response.status_code == 303, response.text
        self.page.cookies.clear()

    @contextlib.contextmanager
    def watching(self) -> cabc.Iterator[cabc.Iterator[list[int]]]:
        """Watch the votes as they change, until the end of the block."""
        with self.live.stream("GET", f"/live/{self.poll}") as response:
            assert response.status_code == 200
            data = (
                line.removeprefix("data: ") for line in response.iter_lines() if line[:1] == "d"
            )
            yield (json.loads(text)["votes"] for text in data)

    def send(self, number: signal.Signals, module: str = "") -> None:
        """Send a signal to the command, or to the module that a process of it runs."""
        os.kill(self.processes(module)[0] if module else self._process.pid, number)

    def end(self) -> tuple[int, str, str]:
        """Wait until it has ended, and nothing is left of it.

        :return: The exit code; what else it has said, and what it has complained about.
        """
        said, complaints = self._process.communicate(timeout=DEADLINE)
        marked.wait_until(lambda: not self.processes())
        self.close()
        return self._process.returncode, said, complaints

    def processes(self, module: str = "") -> list[int]:
        """Those of its processes that live, the oldest first.

        :param module: Only those that run this module.
        """
        command = [sys.executable, "-m", module] if module else []
        started = marked.processes(self._mark)
        return [pid for pid in started if marked.command(pid)[: len(command)] == command]

    def close(self) -> None:
        """Kill what is left of it."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

        self._process.communicate()
        self.page.close()
        self.live.close()


def environment() -> dict[str, str]:
    environment = engines.python_environment()
    return {**environment, "PYTHONPATH": os.pathsep.join([environment["PYTHONPATH"], str(ROOT)])}


@contextlib.contextmanager
def deployed(file: pathlib.Path) -> cabc.Iterator[Deployment]:
    deployment = Deployment(file)

    try:
        yield deployment
    finally:
        deployment.close()


def test_its_own_tests() -> None:
    """The tests of the example's own, as its README says to run them."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "examples/mixed"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed in " in done.stdout


def test_one_command_serves_both_apps_until_it_is_stopped(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "polls.db"

    with deployed(file) as deployment, deployment.watching() as votes:
        # What is written on the page is seen in the stream.
        assert next(votes) == [0, 0, 0, 0]
        deployment.vote(3)
        assert next(votes) == [0, 0, 0, 1]

        for choice, count in enumerate([14, 8, 5, 1]):
            for _ in range(count):
                deployment.vote(choice)

        see_live_votes(deployment, tmp_path)
        deployment.send(signal.SIGTERM)
        # A stream that was cut would be an error here.
        assert list(votes)[-1] == [15, 9, 5, 2]
        code, said, complaints = deployment.end()
        assert (code, said, without_probes(complaints)) == (0, STOPPED, "")

    with deployed(file) as deployment, deployment.watching() as votes:
        assert next(votes) == [15, 9, 5, 2]
        # If one server dies, the other one ends, too.
        deployment.send(signal.SIGKILL, "gunicorn")
        complaint = "python -m examples.mixed: the page's server has ended, with exit code 137\n"
        code, said, complaints = deployment.end()
        assert (code, said, without_probes(complaints)) == (1, "", complaint)


def without_probes(complaints: str) -> str:
    """All but what says that a slow machine's server was asked too early whether it is ready."""
    return "".join(
        line for line in complaints.splitlines(True) if not line.startswith(FAILED_PROBE)
    )


def test_a_server_that_is_not_ready_yet_is_asked_again(stub: Stub) -> None:
    from examples.mixed import __main__ as command
    from examples.mixed import models
    from examples.mixed import web

    app = web.create_app(
        {
            **engines.config(stub.url),
            "DYNAMODB_MAX_POOL_CONNECTIONS": 1,
            "DYNAMODB_POOL_TIMEOUT_SECONDS": 0.05,
        }
    )
    answers: list[int] = []

    with app.app_context():
        slot = models.db.pool.acquire(timeout=1)

    @app.after_request
    def note(response: flask.Response) -> flask.Response:
        answers.append(response.status_code)

        if len(answers) == 2:
            slot.release()

        return response

    with servers.in_a_thread(app) as url:
        server = types.SimpleNamespace(name="page's server", url=url)
        command.wait_until_ready(
            t.cast("serving.Server", server),
            t.cast("serving.Stop", types.SimpleNamespace(requested=False)),
        )

    assert answers == [503, 503, 200]


def see_live_votes(deployment: Deployment, directory: pathlib.Path) -> None:
    """Vote in a browser, and see there how others vote.

    :param deployment: It has 29 votes so far.
    :param directory: Where the screenshot goes, unless the environment says it.
    """
    with chromium.launched() as browser:
        context = browser.new_context(color_scheme="light", viewport={"width": 1000, "height": 640})
        context.set_default_timeout(chromium.DEADLINE_MS)
        page = context.new_page()
        wrong: list[str] = []
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(str(deployment.page.base_url.join(f"/polls/{deployment.poll}")))
        page.get_by_role("button", name="Vote for Serverless").click()
        sync_api.expect(page.get_by_text("Your vote")).to_be_visible()
        sync_api.expect(page.get_by_text("Live", exact=True)).to_be_visible()
        sync_api.expect(page.locator("[data-total]")).to_have_text("30 votes")
        deployment.vote(0)
        sync_api.expect(page.locator("[data-total]")).to_have_text("31 votes")
        # The bars have come to rest then.
        page.wait_for_function("document.getAnimations().every(a => a.animationName === 'pulse')")
        screenshot = pathlib.Path(os.environ.get(SCREENSHOTS) or directory) / "poll.png"
        page.screenshot(path=screenshot, animations="disabled")
        assert screenshot.stat().st_size < MOST_BYTES
        assert wrong == []


@pytest.mark.parametrize("guard_dies", [False, True], ids=["ignores SIGTERM", "guard killed"])
def test_server_does_not_outlive_its_block(tmp_path: pathlib.Path, guard_dies: bool) -> None:
    command = f"trap '' TERM; {SLEEP}"

    with started(command, tmp_path, stop_deadline=0.1) as (server, pid):
        assert marked.command(pid)

        if guard_dies:
            server.process.kill()

    marked.wait_until(lambda: not marked.command(pid))


def test_server_does_not_outlive_a_killed_parent(tmp_path: pathlib.Path) -> None:
    with started(SLEEP, tmp_path, stop_deadline=0.1) as (server, pid):
        # What the kernel does when the parent is gone, however it has ended.
        assert server.process.stdin is not None
        server.process.stdin.close()
        assert server.process.wait(DEADLINE) == 128 + signal.SIGTERM
        marked.wait_until(lambda: not marked.command(pid))


@contextlib.contextmanager
def started(
    command: str, directory: pathlib.Path, *, stop_deadline: float
) -> cabc.Iterator[tuple[serving.Server, int]]:
    """Run a command as a guarded server until the end of the block.

    :param command: A command of the shell, which writes its process id to the file ``pid``.
    :return: The server, and the command's process id.
    """
    # Here, because the wheel does not contain the examples: where that is tested, this is not run.
    from examples import serving

    file = directory / "pid"

    with serving.serving(
        "sleeper",
        serving.guarded("sh", "-c", f"cd {directory}; {command}"),
        serving.listen("--port", 0),
        environment=environment(),
        stop_deadline=stop_deadline,
    ) as server:
        marked.wait_until(lambda: file.exists() and file.read_text().endswith("\n"))
        yield server, int(file.read_text())
