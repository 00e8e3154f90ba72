"""The demo: both apps on one embedded engine. ``scripts/demo`` installs and runs it."""

from __future__ import annotations

import argparse
import collections.abc as cabc
import contextlib
import http.client
import json
import os
import pathlib
import re
import secrets
import subprocess
import sys
import types
import typing as t
import urllib.error
import urllib.parse
import urllib.request

from ..serving import Failure
from ..serving import Server
from ..serving import Stop
from ..serving import listen
from ..serving import port
from ..serving import say
from ..serving import serving
from ..serving import watch

INTERRUPTED = 130
DEADLINE = 30.0

# Variables of the developer's own setup, which the demo must ignore. Proxies are among them,
# because no proxy leads to this machine.
FOREIGN = re.compile(r"(AWS|FLASK|QUART|TODO)_|PYNAMODB_CONFIG|\w+_PROXY$", re.IGNORECASE)

SAMPLES = (
    ("Start the demo", True),
    ("Tick this off", False),
    ("Add a to-do here, and look for it in the API", False),
)


class Engine(t.NamedTuple):
    """The embedded engine: its URL, where it keeps the to-dos, and the apps' settings for it."""

    url: str
    place: str = "memory"
    settings: t.Mapping[str, str] = types.MappingProxyType({})
    use: object = None
    """While it is there, this process uses the engine of a file, which therefore does not end."""


def main() -> int:
    """Run the demo.

    :return: The exit code.
    """
    stop = Stop()
    options = parse(sys.argv[1:])

    try:
        return run(options, stop)
    except Failure as failure:
        print(f"scripts/demo: {failure}", file=sys.stderr)
        return 1


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="Start a DynamoDB engine and, on it, the to-do example twice: as a page"
        " (Flask) and as an API (Quart). Ctrl-C stops everything; the exit code is 0 then, or"
        f" {INTERRUPTED} if the demo was not ready yet.",
    )
    parser.add_argument("--web-port", type=port, metavar="N", help="the page's (default: 5000)")
    parser.add_argument("--api-port", type=port, metavar="N", help="the API's (default: 5001)")
    parser.add_argument(
        "--check",
        action="store_true",
        help="on free ports: drive both apps once, say what was done, and exit with 0 or 1",
    )
    parser.add_argument(
        "--keep",
        nargs="?",
        const="todo.db",
        metavar="FILE",
        help="keep the to-dos in a file between runs (default: todo.db; relative to the checkout)",
    )
    return parser.parse_args(arguments)


def run(options: argparse.Namespace, stop: Stop) -> int:
    with contextlib.ExitStack() as stack:
        # Open both ports before anything starts, so that a port in use is reported first.
        web_socket, api_socket = (
            stack.enter_context(listen(option, default if chosen is None else chosen))
            for option, chosen, default in [
                ("--web-port", options.web_port, 0 if options.check else 5000),
                ("--api-port", options.api_port, 0 if options.check else 5001),
            ]
        )
        engine = start_engine(options.keep)
        create_tables(engine)

        if stop.requested:
            return INTERRUPTED

        web, api = (
            stack.enter_context(
                serving(
                    f"{name} app",
                    [sys.executable, "-m", "examples.todo.serve", name, str(listener.fileno())],
                    listener,
                    environment={**environment(), **engine.settings},
                )
            )
            for name, listener in [("web", web_socket), ("api", api_socket)]
        )

        if options.check:
            return check(web, api, stop)

        add_samples(api)

        if stop.requested:
            return INTERRUPTED

        say(f"The page (Flask): {web.url}/")
        say(f"The API (Quart):  {api.url}/todos")
        say(f"Ctrl-C stops both, and the engine, which keeps the to-dos in {engine.place}.")
        watch([web, api], stop)

    say("Stopped.")
    return 0


def start_engine(file: str | None) -> Engine:
    """Start the embedded engine, which this process and its children share.

    :param file: The file that keeps the to-dos; ``None`` to keep them in memory.
    :raises Failure: if the file can't be used.
    """
    # Import late: the import takes time, and the handler of Ctrl-C must be installed before.
    from dynamo_ext import ConfigError
    from dynamo_ext.local import launcher
    from dynamo_ext.local import sharing

    if file is None:
        return Engine(launcher.endpoint())

    path = pathlib.Path(file).resolve()
    host = f"local:///{path.as_posix()}"

    try:
        shared = sharing.engine(path)
        url = shared.endpoint()
    except (ConfigError, RuntimeError) as error:
        raise Failure(str(error)) from error

    return Engine(url, str(path), {"TODO_DYNAMODB_HOST": host}, shared)


def create_tables(engine: Engine) -> None:
    """Create the table as a deployment would, with the extension's own command.

    :param engine: The engine. The command gets its URL and not ``local://``, because on
        ``local://`` the app creates its table itself before the command runs.
    """
    command = [sys.executable, "-m", "flask", "--app", "examples.todo.web"]
    settings = {
        "TODO_DYNAMODB_HOST": engine.url,
        "TODO_DYNAMODB_AWS_ACCESS_KEY_ID": "any",
        "TODO_DYNAMODB_AWS_SECRET_ACCESS_KEY": "any",
    }
    done = subprocess.run(
        [*command, "dynamodb", "create-tables"],
        stdin=subprocess.DEVNULL,
        env=environment() | settings,
        start_new_session=True,
    )

    if done.returncode:
        raise Failure("the table could not be created")


def environment() -> dict[str, str]:
    """The environment variables for the demo's processes."""
    return {name: value for name, value in os.environ.items() if not FOREIGN.match(name)}


def add_samples(server: Server) -> None:
    api = Client(server.url)

    if not json.loads(api.get("/todos"))["items"]:
        for title, done in SAMPLES:
            api.create(title=title, done=done)


def check(web: Server, api: Server, stop: Stop) -> int:
    for line in drive(Client(web.url), Client(api.url)):
        say(f"ok: {line}")

        if stop.requested:
            return INTERRUPTED

    say("Both apps work, on the same models and the same data.")
    return 0


def drive(page: Client, api: Client) -> cabc.Iterator[str]:
    """Use each function of both apps once; each app reads what the other one writes.

    :param page: A visitor of the Flask app.
    :param api: A visitor of the Quart app.
    :return: A line for each function that worked.
    :raises Failure: if a function does not work.
    """
    mark = secrets.token_hex(4)
    of_page, of_api = f"Added on the page {mark}", f"Added through the API {mark}"

    page.submit("/", title=of_page)
    ids = {todo["title"]: todo["id"] for todo in json.loads(api.get("/todos"))["items"]}
    expect(of_page in ids, "the API does not know the to-do that was added on the page")
    yield "the page added a to-do, the API read it"

    ids[of_api] = api.create(title=of_api)["id"]
    expect(of_api in page.get("/"), "the page does not show the to-do that the API added")
    yield "the API added a to-do, the page showed it"

    page.submit(f"/{ids[of_page]}/done", done="yes")
    done = json.loads(api.get(f"/todos/{ids[of_page]}"))["done"]
    expect(done is True, "the API does not know that the page ticked a to-do off")
    yield "the page ticked a to-do off, the API knew"

    streamed = [json.loads(line)["id"] for line in api.get("/todos/stream").splitlines()]
    expect(
        streamed[-2:] == [ids[of_page], ids[of_api]],
        "the API did not stream the to-dos in the order of their creation",
    )
    yield f"the API streamed {len(streamed)} to-dos"

    api.send("DELETE", f"/todos/{ids[of_page]}", status=204)
    expect(of_page not in page.get("/"), "the page still shows what the API deleted")
    yield "the API deleted the page's to-do, the page no longer showed it"

    page.submit(f"/{ids[of_api]}/delete")
    api.send("GET", f"/todos/{ids[of_api]}", status=404)
    yield "the page deleted the API's to-do, the API no longer knew it"


def expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise Failure(otherwise)


class Client:
    """A visitor of one of the apps, with cookies.

    :param url: The app's address.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor()
        )

    def get(self, path: str) -> str:
        return self.send("GET", path, status=200)

    def create(self, **fields: object) -> dict[str, t.Any]:
        """Add a to-do through the API."""
        body = json.dumps(fields).encode()
        content_type = "application/json"
        answer = self.send("POST", "/todos", body, content_type=content_type, status=201)
        return t.cast("dict[str, t.Any]", json.loads(answer))

    def submit(self, path: str, **fields: str) -> str:
        """Send a form of the page, with the CSRF token that the page contains."""
        token = re.search(r'name="csrf_token" value="([^"]+)"', self.get("/"))
        fields["csrf_token"] = token[1] if token else ""
        body = urllib.parse.urlencode(fields).encode()
        return self.send("POST", path, body, status=200)

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        content_type: str = "application/x-www-form-urlencoded",
        status: int,
    ) -> str:
        """Send a request, and follow a redirect.

        :param status: The expected status of the answer.
        :return: The answer's body.
        :raises Failure: if the answer has another status, or there is no answer.
        """
        url = self._url + path
        headers = {"Content-Type": content_type}
        request = urllib.request.Request(url, body, headers, method=method)

        try:
            code, text = self._exchange(request)
        except (OSError, http.client.HTTPException) as error:
            raise Failure(f"{method} {url} got no answer: {error}") from error

        expect(code == status, f"{method} {url} answered {code}, not {status}: {text}")
        return text

    def _exchange(self, request: urllib.request.Request) -> tuple[int, str]:
        try:
            answer: t.Any = self._opener.open(request, timeout=DEADLINE)
        except urllib.error.HTTPError as error:
            answer = error

        with answer:
            return answer.status, answer.read().decode()


if __name__ == "__main__":
    sys.exit(main())
