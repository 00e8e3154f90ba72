"""Which models a command is for, in which app and which bind."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import typing as t

import click
from flask.sansio.app import App

from ..binding import context
from ..binding import meta
from ..errors import ConfigError
from ..models import late_binding
from ..models.late_binding import AnyModel
from ..models.model import Model
from ..models.model import concrete_models
from ..printable import escaped

F = t.TypeVar("F", bound=cabc.Callable[..., t.Any])


def bind_option(command: F) -> F:
    """Give a command the option ``--bind``, as its argument ``bind_key``.

    :param command: The command's function.
    """
    option = click.option(
        "--bind",
        "bind_key",
        metavar="KEY",
        help="Go by this bind, as in 'with db.using(KEY):'. Leave out the models of other binds.",
    )
    return option(command)


@contextlib.contextmanager
def selected_models(
    click_context: click.Context, bind_key: str | None
) -> cabc.Generator[list[AnyModel]]:
    """The models that a command is for. In the block, their calls go to where the command means.

    Without a key, these are all models, each in its own bind. With a key, these are the models of
    that bind, and those without a bind key, whose calls go by that bind in the block.

    :param click_context: The context of the command, which knows the app.
    :param bind_key: What ``--bind`` says.
    :raises click.ClickException: if there is no model.
    :raises click.BadParameter: if the app has no such bind.
    """
    app: App = click_context.obj.load_app()

    with context.use(app), _use_bind(bind_key):
        models: list[AnyModel] = [
            model for model in concrete_models(Model) if _is_selected(model, bind_key)
        ]

        if not models:
            raise click.ClickException(_no_model(bind_key))

        yield models


def bind_key_of(model: AnyModel) -> str | None:
    """The key of the bind that a model's calls go by now; ``None`` for the app's own settings.

    :param model: The model.
    """
    return late_binding.connection(model).connection.policy.bind_key


def _use_bind(bind_key: str | None) -> contextlib.AbstractContextManager[None]:
    if bind_key is None:
        return contextlib.nullcontext()

    app_state = context.state()

    try:
        bind_state = app_state.bind(bind_key)
    except ConfigError as error:
        raise click.BadParameter(escaped(error), param_hint="--bind") from error

    return context.use_bind(app_state, bind_state)


def _is_selected(model: AnyModel, bind_key: str | None) -> bool:
    declared = getattr(late_binding.declared_meta(model), meta.BIND_KEY, None)
    return bind_key is None or declared is None or declared == bind_key


def _no_model(bind_key: str | None) -> str:
    what = "model" if bind_key is None else f"model of the bind {bind_key!r}"
    return f"There is no {what}. Import the module that defines the models in the app's factory."
