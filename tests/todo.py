"""The to-do example as its users meet it: its servers, its page in a browser's stead, its API."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import html
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import typing as t

import httpx

import engines
import ports
import warm

ROOT = pathlib.Path(__file__).parent.parent
DEADLINE = 100.0

FLASK = ("flask", "--app", "examples.todo.web")
QUART = ("quart", "--app", "examples.todo.api")
FLASK_RUN = (*FLASK, "run", "--port", "0")
QUART_RUN = (*QUART, "run", "--port", "{port}")
GUNICORN = ("gunicorn", "--bind", "127.0.0.1:0", "examples.todo.web:create_app()")
HYPERCORN = ("hypercorn", "--bind", "127.0.0.1:0", "examples.todo.api:create_app()")

_ADDRESS = re.compile(r"(?:Running on|Listening at:) (http://127\.0\.0\.1:\d+)")
_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
_TITLE = re.compile(r'<span class="title">(.*?)</span>')

Settings = dict[str, str]


def settings(url: str) -> Settings:
    """Environment variables for apps of one test on an engine: their table is their own."""
    return {f"TODO_{key}": str(value) for key, value in engines.config(url).items()}


def run(*command: str, environment: Settings) -> subprocess.CompletedProcess[str]:
    """Run a command of one of the apps."""
    return warm.run(
        _python(*command),
        capture_output=True,
        text=True,
        cwd=tempfile.gettempdir(),
        env={**_environment(), **environment},
        timeout=DEADLINE,
    )


@contextlib.contextmanager
def serving(*command: str, environment: Settings) -> cabc.Iterator[str]:
    """Run a server of one of the apps until the end of the block.

    :return: Its address.
    """
    with tempfile.TemporaryDirectory() as directory:
        port = ports.free_port()
        log = pathlib.Path(directory, "log")

        with log.open("wb") as output:
            process: warm.Popen[bytes] = warm.Popen(
                _python(*(part.format(port=port) for part in command)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory,
                # gunicorn puts its control socket there.
                env={**_environment(), **environment, "XDG_RUNTIME_DIR": directory},
                start_new_session=True,
            )

        try:
            yield _address(process, log)
        finally:
            _end(process)


class Page:
    """A visitor of the page.

    :param url: The app's address.
    """

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, trust_env=False, timeout=DEADLINE)

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.http.close()

    def get(self) -> str:
        response = self.http.get("/")
        assert response.status_code == 200, response.text
        return response.text

    def titles(self) -> list[str]:
        return titles(self.get())

    def token(self) -> str:
        """What the page's forms prove with that they are its own."""
        match = _TOKEN.search(self.get())
        assert match is not None
        return match[1]

    def submit(self, path: str, **fields: str) -> httpx.Response:
        """Send one of the page's forms; no redirect is followed."""
        return self.http.post(path, data={"csrf_token": self.token(), **fields})

    def add(self, title: str) -> None:
        assert self.submit("/", title=title).status_code == 303


def titles(text: str) -> list[str]:
    """The titles that a page shows, in their order."""
    return [html.unescape(title) for title in _TITLE.findall(text)]


def api_client(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, trust_env=False, timeout=DEADLINE)


def create(api: httpx.Client, title: str) -> dict[str, t.Any]:
    response = api.post("/todos", json={"title": title})
    assert response.status_code == 201, response.text
    return t.cast("dict[str, t.Any]", response.json())


def items(api: httpx.Client) -> list[dict[str, t.Any]]:
    """The to-dos on the API's first page."""
    items: list[dict[str, t.Any]] = api.get("/todos").json()["items"]
    return items


def delete_all(api: httpx.Client) -> None:
    while on_page := items(api):
        for todo in on_page:
            api.delete(f"/todos/{todo['id']}")


def _python(*command: str) -> list[str]:
    return [sys.executable, "-P", "-W", "error", "-m", *command]


def _environment() -> Settings:
    environment = engines.python_environment()
    # Last: under tox the packages are those that are installed, not those of the checkout.
    environment["PYTHONPATH"] += os.pathsep + str(ROOT)
    return {**environment, "PYTHONUNBUFFERED": "1"}


def _address(process: subprocess.Popen[bytes], log: pathlib.Path) -> str:
    deadline = time.monotonic() + DEADLINE

    while time.monotonic() < deadline:
        if match := _ADDRESS.search(log.read_text()):
            url = match[1]
            _wait_for_answer(url, deadline)
            return url

        if process.poll() is not None:
            break

        time.sleep(0.02)

    raise RuntimeError(f"{process.args!r} does not serve:\n{log.read_text()}")


def _wait_for_answer(url: str, deadline: float) -> None:
    while True:
        try:
            httpx.get(url, trust_env=False, timeout=DEADLINE)
            return
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise

            time.sleep(0.02)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()

    try:
        process.wait(DEADLINE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
