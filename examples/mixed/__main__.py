"""Both apps on one engine: ``python -m examples.mixed``. Ctrl-C stops everything."""

from __future__ import annotations

import argparse
import collections.abc as cabc
import contextlib
import os
import pathlib
import socket
import sys
import time
import typing as t
import urllib.error
import urllib.request

from .. import serving
from .gunicorn_config import graceful_timeout

PROGRAM = "python -m examples.mixed"
READY_DEADLINE = 60.0
READY_INTERVAL = 0.5
INTERRUPTED = 130

SAMPLES = (
    (
        "Where do you run your apps?",
        ("Containers", "Serverless", "Virtual machines", "The machine under my desk"),
    ),
    ("When do you write the tests?", ("Before the code", "After the code", "After the incident")),
)


def main() -> int:
    """Serve both apps until Ctrl-C or SIGTERM.

    :return: The exit code.
    """
    stop = serving.Stop()
    options = parse(sys.argv[1:])

    try:
        return run(options, stop)
    except serving.Failure as failure:
        print(f"{PROGRAM}: {failure}", file=sys.stderr)
        return 1


def parse(arguments: cabc.Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Serve the polls: the pages with Flask and gunicorn, the live results with"
        " Quart and Hypercorn. Ctrl-C stops both; the exit code is 0 then, 1 if one of them has"
        f" ended by itself, and {INTERRUPTED} if they were not ready yet.",
    )
    port = serving.port
    parser.add_argument("--web-port", type=port, default=5000, metavar="N", help="default: 5000")
    parser.add_argument("--live-port", type=port, default=5001, metavar="N", help="default: 5001")
    parser.add_argument(
        "--file",
        help="keep the polls in this file (default: polls.db in the instance folder, or what"
        " POLLS_DYNAMODB_HOST says)",
    )
    return parser.parse_args(arguments)


def run(options: argparse.Namespace, stop: serving.Stop) -> int:
    with contextlib.ExitStack() as stack:
        # Open both ports before anything starts, so that a port in use is reported first.
        web_socket = stack.enter_context(serving.listen("--web-port", options.web_port))
        live_socket = stack.enter_context(serving.listen("--live-port", options.live_port))
        settings = {
            "PAGE_ORIGIN": serving.url_of(web_socket),
            "LIVE_ORIGIN": serving.url_of(live_socket),
        }

        if options.file is not None:
            file = pathlib.Path(options.file).resolve()
            settings["DYNAMODB_HOST"] = f"local:///{file.as_posix()}"

        prepare_tables(settings)
        environment = {f"POLLS_{name}": value for name, value in settings.items()}

        if stop.requested:
            return INTERRUPTED

        servers = [
            stack.enter_context(
                serving.serving(
                    name,
                    serving.guarded(sys.executable, "-m", *command(listener)),
                    listener,
                    environment={**os.environ, **environment},
                    stop_deadline=graceful_timeout + 2,
                )
            )
            for name, command, listener in [
                ("page's server", gunicorn, web_socket),
                ("live results' server", hypercorn, live_socket),
            ]
        ]

        for server in servers:
            wait_until_ready(server, stop)

        if stop.requested:
            return INTERRUPTED

        serving.say(f"The pages (Flask, gunicorn):          {servers[0].url}/")
        serving.say(f"The live results (Quart, Hypercorn):  {servers[1].url}/live/ID")
        serving.say("Ctrl-C stops both.")
        serving.watch(servers, stop)

    serving.say("Stopped.")
    return 0


def gunicorn(listener: socket.socket) -> list[str]:
    config = "python:examples.mixed.gunicorn_config"
    return ["gunicorn", "--config", config, "--bind", f"fd://{listener.fileno()}"]


def hypercorn(listener: socket.socket) -> list[str]:
    return ["examples.mixed.serve_live", "--bind", f"fd://{listener.fileno()}"]


def prepare_tables(settings: cabc.Mapping[str, str]) -> None:
    """Create the tables and some polls in the engine's file, unless they are there.

    From here on, this process uses the file, too. So its engine stays until this process ends.
    Tables of DynamoDB itself are left to the deployment.

    :param settings: The settings that both apps get.
    :raises serving.Failure: if the file can't be used.
    """
    # Import late: the import takes time, and the handler of Ctrl-C must be installed before.
    from dynamo_ext import ConfigError

    from . import models
    from . import web

    try:
        app = web.create_app(settings)
        host = t.cast("str | None", app.config["DYNAMODB_HOST"])
        is_local = host is not None and host.startswith("local://")

        with app.app_context():
            if is_local and not models.Poll.exists():
                models.Vote.create_table(wait=True)
                models.Poll.create_table(wait=True)

                for question, choices in reversed(SAMPLES):
                    models.new_poll(question, choices).save()
    except (ConfigError, RuntimeError) as error:
        raise serving.Failure(str(error)) from error


def wait_until_ready(server: serving.Server, stop: serving.Stop) -> None:
    """Wait until a server reaches DynamoDB, or until Ctrl-C.

    :param server: The server.
    :param stop: Records Ctrl-C.
    :raises serving.Failure: if it does not reach it in a minute.
    """
    # No proxy leads to this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + READY_DEADLINE

    while not stop.requested:
        try:
            opener.open(f"{server.url}/ready", timeout=READY_DEADLINE).close()
            return
        except OSError as error:
            # The first call of a server is slow. As other probes do, ask again.
            early = isinstance(error, urllib.error.HTTPError) and error.code == 503

            if not early or time.monotonic() > deadline:
                raise serving.Failure(f"the {server.name} is not ready: {error}") from error

        time.sleep(READY_INTERVAL)


if __name__ == "__main__":
    sys.exit(main())
