"""``flask dynamodb settings`` and ``quart dynamodb settings``."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

import click
from botocore.exceptions import BotoCoreError

from ..binding import context
from ..binding.app_state import BindState
from ..client.place import Place
from ..config.origins import DEFAULT
from ..config.origins import origins
from ..config.settings import SETTINGS
from ..config.settings import Setting
from ..printable import escaped
from . import binds
from . import command

_HIDDEN = "(set)"


@click.command("settings")
@command.bind_option
@command.as_json
@command.in_app
def settings(*, as_json: bool) -> None:
    """Show the settings in effect, and where each is set.

    Of the app, and of each bind. Secrets are not shown.
    """
    described = [_describe(state) for state in binds.in_use()]

    if as_json:
        command.echo_json(described)
        return

    for number, each in enumerate(described):
        if number:
            click.echo()

        for line in _lines(each):
            click.echo(line)


def _describe(state: BindState) -> dict[str, t.Any]:
    found = origins(state.settings, context.app().config, state.policy.bind_key)
    return {
        "bind": state.policy.bind_key,
        "settings": {
            setting.key: {
                "value": _shown(setting, getattr(state.settings, name)),
                "origin": _origin(setting, state, found[name]),
            }
            for name, setting in SETTINGS.items()
            if setting.bind or state.policy.bind_key is None
        },
        "endpoint": Place.of(state.engine).url,
        "transport_in_use": state.engine.transport_in_use,
    }


def _shown(setting: Setting, value: t.Any) -> t.Any:
    """A value that may be seen, as JSON has it."""
    if value is None:
        return None

    if setting.name == "binds":
        return list(value)

    return _HIDDEN if setting.secret else value


def _origin(setting: Setting, state: BindState, origin: str) -> str:
    if origin == DEFAULT and setting.name == "aws_access_key_id":
        return f"botocore's credential chain: {_method(state)}"

    return origin


def _method(state: BindState) -> str:
    """How botocore finds credentials."""
    try:
        credentials = state.engine.session.get_credentials()
    except BotoCoreError as error:
        return escaped(error)

    return "no credentials found" if credentials is None else str(credentials.method)


def _lines(described: cabc.Mapping[str, t.Any]) -> cabc.Iterator[str]:
    if described["bind"] is not None:
        yield f"Bind {escaped(described['bind'])!r}:"

    for key, setting in described["settings"].items():
        value = setting["value"]
        shown = value if value == _HIDDEN else repr(value)
        yield f"{key} = {escaped(shown)} ({escaped(setting['origin'])})"

    yield f"Endpoint: {escaped(described['endpoint'])}"
    yield f"Transport in use: {described['transport_in_use']}"
