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
import time
import typing as t
import uuid

import httpx
import pytest

import chromium
import engines
from examples import serving

if t.TYPE_CHECKING:
    from playwright import sync_api
else:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = [
    pytest.mark.repo,
    pytest.mark.slow,
    # One deployment for several tests.
    pytest.mark.xdist_group("mixed"),
    pytest.mark.skipif(
        not pathlib.Path("/proc/self/environ").exists(), reason="finds processes through /proc"
    ),
]

ROOT = pathlib.Path(__file__).parent.parent
DEADLINE = 100.0
SCREENSHOTS = "DYNAMO_EXT_TEST_SCREENSHOTS"
"""The directory that gets the screenshot of the example's README, if this is set."""

ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
POLL = re.compile(r'<a href="/polls/([0-9a-f-]+)">')
STOPPED = "Stopped.\n"


class Deployment:
    """One run of the command, with all its processes.

    :param file: Where the engine keeps the polls.
    """

    def __init__(self, file: pathlib.Path) -> None:
        # Every process that it starts inherits this variable.
        self._mark = str(uuid.uuid4())
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "examples.mixed"),
                *("--web-port", "0", "--live-port", "0", "--file", str(file)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=file.parent,
            env={**environment(), "MIXED_TEST": self._mark},
            text=True,
            start_new_session=True,
        )
        self.page, self.live = self._clients()
        self.poll = POLL.findall(self.page.get("/").text)[0]

    def _clients(self) -> tuple[httpx.Client, httpx.Client]:
        assert self._process.stdout is not None
        found: list[str] = []

        while len(found) < 2:
            line = self._process.stdout.readline()
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
        wait_until(lambda: not self.processes())
        self.close()
        return self._process.returncode, said, complaints

    def processes(self, module: str = "") -> list[int]:
        """Those of its processes that live, the oldest first.

        :param module: Only those that run this module.
        """
        command = f"{sys.executable}\0-m\0{module}" if module else ""
        mark = f"MIXED_TEST={self._mark}".encode()
        ids = sorted(int(path.name) for path in pathlib.Path("/proc").glob("[0-9]*"))
        return [
            pid
            for pid in ids
            if mark in read(pid, "environ").split(b"\0")
            and read(pid, "cmdline").startswith(command.encode())
        ]

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


def read(pid: int, name: str) -> bytes:
    # A process may end meanwhile, or be someone else's.
    try:
        return pathlib.Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def wait_until(condition: cabc.Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE

    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextlib.contextmanager
def deployed(file: pathlib.Path) -> cabc.Iterator[Deployment]:
    deployment = Deployment(file)

    try:
        yield deployment
    finally:
        deployment.close()


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> cabc.Iterator[Deployment]:
    """One that is killed in the end. Nothing must be left of it."""
    with deployed(tmp_path_factory.mktemp("mixed") / "polls.db") as deployment:
        yield deployment
        deployment.send(signal.SIGKILL)
        code, _, complaints = deployment.end()
        assert (code, complaints) == (-signal.SIGKILL, "")


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


def test_vote_on_the_page_is_seen_in_the_stream(deployment: Deployment) -> None:
    with deployment.watching() as votes:
        first = next(votes)
        deployment.vote(1)
        assert next(votes) == [first[0], first[1] + 1, *first[2:]]


def test_browser_shows_the_votes_of_others(deployment: Deployment, tmp_path: pathlib.Path) -> None:
    for choice, count in enumerate([14, 8, 5, 2]):
        for _ in range(count):
            deployment.vote(choice)

    with chromium.launched() as browser:
        context = browser.new_context(color_scheme="light", viewport={"width": 1000, "height": 640})
        context.set_default_timeout(chromium.DEADLINE_MS)
        page = context.new_page()
        wrong: list[str] = []
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(str(deployment.page.base_url.join(f"/polls/{deployment.poll}")))
        total = sum(deployment.live.get(f"/live/{deployment.poll}.json").json()["votes"])
        page.get_by_role("button", name="Vote for Serverless").click()
        sync_api.expect(page.get_by_text("Your vote")).to_be_visible()
        sync_api.expect(page.get_by_text("Live", exact=True)).to_be_visible()
        sync_api.expect(page.locator("[data-total]")).to_have_text(f"{total + 1} votes")
        deployment.vote(0)
        sync_api.expect(page.locator("[data-total]")).to_have_text(f"{total + 2} votes")
        screenshot = pathlib.Path(os.environ.get(SCREENSHOTS) or tmp_path) / "poll.png"
        # The bars have come to rest then.
        page.wait_for_function("document.getAnimations().every(a => a.animationName === 'pulse')")
        page.screenshot(path=screenshot, animations="disabled")
        assert screenshot.stat().st_size < 120_000
        assert wrong == []


def test_it_ends_with_its_streams_and_keeps_the_votes(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "polls.db"

    with deployed(file) as deployment, deployment.watching() as votes:
        next(votes)
        deployment.vote(1)
        after = next(votes)
        deployment.send(signal.SIGTERM)
        # A stream that was cut would be an error here.
        assert list(votes) == []
        assert deployment.end() == (0, STOPPED, "")

    with deployed(file) as deployment:
        assert deployment.live.get(f"/live/{deployment.poll}.json").json()["votes"] == after
        # If a server dies, the other one ends, too.
        deployment.send(signal.SIGKILL, "gunicorn")
        code, said, complaints = deployment.end()
        assert (code, said) == (1, "")
        assert complaints.endswith("the page's server has ended, with exit code 137\n")


@pytest.mark.parametrize("guard_dies", [False, True], ids=["ignores SIGTERM", "guard killed"])
def test_server_does_not_outlive_its_block(tmp_path: pathlib.Path, guard_dies: bool) -> None:
    file = tmp_path / "pid"
    command = serving.guarded("sh", "-c", f"trap '' TERM; echo $$ > {file}; exec sleep 300")
    listener = serving.listen("--port", 0)

    with serving.serving(
        "sleeper", command, listener, environment=environment(), stop_deadline=0.1
    ) as server:
        wait_until(lambda: file.exists() and file.read_text().endswith("\n"))
        pid = int(file.read_text())
        assert read(pid, "cmdline")

        if guard_dies:
            server.process.kill()

    wait_until(lambda: not read(pid, "cmdline"))
