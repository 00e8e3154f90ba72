"""``flask dynamodb ping`` and ``quart dynamodb ping``."""

from __future__ import annotations

import time
import typing as t

import click

from ..binding.app_state import BindState
from ..client import ping as client_ping
from ..client.place import Place
from ..errors import FAILURES
from ..printable import escaped
from . import binds
from . import command


@click.command("ping")
@command.bind_option
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="The longest wait for each endpoint.",
)
@command.as_json
@command.in_app
def ping(*, timeout: float, as_json: bool) -> None:
    """Check that DynamoDB answers and accepts the credentials.

    Asks for the app and each bind. Exits with 1 if any does not answer.
    """
    results = [_ping(state, timeout) for state in binds.in_use()]

    if as_json:
        command.echo_json(results)
    else:
        for result in results:
            click.echo(_line(result))

    command.exit_with(int(any(result["error"] is not None for result in results)))


def _ping(state: BindState, timeout: float) -> dict[str, t.Any]:
    begin, error = time.monotonic(), None

    try:
        client_ping.ping(state.connection, timeout)
    except FAILURES as failure:
        error = str(failure)

    return {
        "bind": state.policy.bind_key,
        "endpoint": Place.of(state.engine).url,
        "error": error,
        "milliseconds": round((time.monotonic() - begin) * 1000, 1),
    }


def _line(result: dict[str, t.Any]) -> str:
    bind = "" if result["bind"] is None else f" (bind {escaped(result['bind'])!r})"
    where = f"{escaped(result['endpoint'])}{bind}"

    if result["error"] is None:
        return f"{where}: ok, {result['milliseconds']:.1f} ms"

    return f"{where}: failed after {result['milliseconds']:.1f} ms: {escaped(result['error'])}"
