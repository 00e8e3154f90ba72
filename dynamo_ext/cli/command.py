"""What every command does around its work: find the app, report failures, print JSON."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import functools
import json
import typing as t

import click
from flask.sansio.app import App

from ..binding import context
from ..errors import FAILURES
from ..errors import ConfigError
from ..printable import escaped

BIND_KEY: t.Final = "bind_key"
"""The parameter of the option ``--bind``, which :func:`in_app` takes care of."""

F = t.TypeVar("F", bound=cabc.Callable[..., t.Any])


def in_app(command: F) -> F:
    """Run a command in the app of the command line, by the bind that ``--bind`` names, and report
    its failures as messages.

    :param command: The function of the command.
    """

    @click.pass_context
    @functools.wraps(command)
    def run(click_context: click.Context, /, *args: t.Any, **kwargs: t.Any) -> t.Any:
        bind_key: str | None = kwargs.pop(BIND_KEY, None)

        with (
            context.use(_load_app(click_context)),
            _use_bind(bind_key),
            failures_as_messages(),
        ):
            return command(*args, **kwargs)

    return t.cast(F, run)


def as_json(command: F) -> F:
    """Add the option ``--json``, as the parameter ``as_json``.

    :param command: The function of the command.
    """
    option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
    return option(command)


def bind_option(command: F) -> F:
    """Add the option ``--bind``, for :func:`in_app`.

    :param command: The function of the command.
    """
    option = click.option(
        "--bind",
        BIND_KEY,
        metavar="KEY",
        help="Go by this bind, as in 'with db.using(KEY):', without the models of other binds.",
    )
    return option(command)


@contextlib.contextmanager
def failures_as_messages(what: str | None = None) -> cabc.Generator[None]:
    """End the command with a message and exit code 1, if the block fails.

    :param what: What failed, as the beginning of the message.
    """
    try:
        yield
    except FAILURES as error:
        raise failure(error, what) from error


def failure(error: BaseException, what: str | None = None) -> click.ClickException:
    """The failure of a command, with a message that forges no line and steers no terminal.

    :param error: What has happened.
    :param what: What failed, as the beginning of the message.
    """
    reason = escaped(error)
    return click.ClickException(reason if what is None else f"{what}: {reason}")


def echo_json(value: t.Any) -> None:
    """Print a value as JSON, in ASCII.

    :param value: The value.
    """
    click.echo(json.dumps(value, indent=2))


def group_path() -> str:
    """How the user has called this group, such as ``flask dynamodb``."""
    parent = click.get_current_context().parent
    return "flask dynamodb" if parent is None else parent.command_path


def exit_with(code: int) -> None:
    """End the command, unless the code is 0.

    :param code: The exit code.
    """
    if code:
        raise click.exceptions.Exit(code)


def _load_app(click_context: click.Context) -> App:
    """The app of the command line, loaded by ``flask`` or ``quart``."""
    return t.cast(App, click_context.obj.load_app())


def _use_bind(bind_key: str | None) -> contextlib.AbstractContextManager[None]:
    if bind_key is None:
        return contextlib.nullcontext()

    app_state = context.state()

    try:
        bind_state = app_state.bind(bind_key)
    except ConfigError as error:
        raise click.BadParameter(escaped(error), param_hint="--bind") from error

    return context.use_bind(app_state, bind_state)
