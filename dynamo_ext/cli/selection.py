"""Which tables a command is for: those of the app's models, all or by their names."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import typing as t

import click

from ..binding import context
from ..client.connection import TableConnection
from ..models import late_binding
from ..models import tables
from ..models.late_binding import AnyModel
from ..models.model import Model
from ..models.model import concrete_models
from ..printable import escaped
from .command import bind_option

F = t.TypeVar("F", bound=cabc.Callable[..., t.Any])


@dataclasses.dataclass(frozen=True, kw_only=True)
class SelectedTable:
    """A table of the app, with the models that share it."""

    models: tuple[AnyModel, ...]
    """At least one."""

    @property
    def name(self) -> str:
        """The name that the models declare, without prefix."""
        return _name_of(self.models[0])

    @property
    def full_name(self) -> str:
        """The name by which DynamoDB knows the table."""
        return self.connection.table_name

    @property
    def shown_name(self) -> str:
        """The full name, for a terminal."""
        return escaped(self.full_name)

    @property
    def bind_key(self) -> str | None:
        """The bind by which the table's calls go; ``None`` for the app's own settings."""
        return self.connection.connection.policy.bind_key

    @property
    def shown_bind(self) -> str:
        """The bind, as the end of a line of a terminal."""
        return "" if self.bind_key is None else f" in bind {escaped(self.bind_key)!r}"

    @property
    def arguments(self) -> str:
        """What selects the table on the command line."""
        bind = "" if self.bind_key is None else f"--bind {self.bind_key} "
        return f"{bind}{self.name}"

    @property
    def identity(self) -> dict[str, str | None]:
        """What tells the table from others, for programs."""
        return {"table": self.full_name, "name": self.name, "bind": self.bind_key}

    @property
    def connection(self) -> TableConnection:
        """The connection to the table."""
        return late_binding.connection(self.models[0])

    @property
    def is_of_this_process(self) -> bool:
        """Whether the table is in an embedded engine that ends with this command."""
        return self.connection.connection.engine.is_of_this_process


def options(command: F) -> F:
    """Add what selects tables: the argument ``NAME...``, as the parameter ``names``, and the option
    ``--bind``, for :func:`~dynamo_ext.cli.command.in_app`.

    :param command: The function of the command.
    """
    return click.argument("names", nargs=-1, metavar="[NAME]...")(bind_option(command))


def select(names: cabc.Collection[str] = ()) -> list[SelectedTable]:
    """The tables of the current app, in the order of the first model of each.

    Each model goes by its own bind. Where the command goes by a bind, models of other binds are
    left out.

    :param names: The names that the models declare, without prefix; none for all tables.
    :return: The tables, at least one.
    :raises click.ClickException: if there is no model.
    :raises click.UsageError: if no model declares one of the names.
    :raises ConfigError: if what a model declares is invalid.
    """
    models = _models()
    _check_names(names, models)
    # Before a model is bound: one that is not meant may be invalid.
    meant = [model for model in models if not names or _name_of(model) in names]
    return [SelectedTable(models=tuple(sharing)) for sharing in tables.by_table(meant)]


def declared_names() -> list[str]:
    """The names of all tables that :func:`select` can select. No model is bound: one that is not
    meant may be invalid.

    :raises click.ClickException: if there is no model.
    """
    return list(dict.fromkeys(map(_name_of, _models())))


def _models() -> list[AnyModel]:
    """The models that the command is for, at least one.

    :raises click.ClickException: if there is none.
    """
    bind_key = context.bind_state(context.state()).policy.bind_key
    models: list[AnyModel] = [
        m for m in concrete_models(Model) if late_binding.is_in_bind(bind_key, m)
    ]

    if not models:
        what = "model" if bind_key is None else f"model of the bind {escaped(bind_key)!r}"
        raise click.ClickException(
            f"There is no {what}. Import the module that defines the models in the app's factory."
        )

    return models


def note_about_embedded_engine(selected: cabc.Iterable[SelectedTable]) -> None:
    """Say it if tables end with this command.

    :param selected: The tables.
    """
    if any(table.is_of_this_process for table in selected):
        click.echo(
            "Note: the tables are in the embedded engine of this command, and gone with it. Tables"
            " of 'local://' have to be created by the app itself.",
            err=True,
        )


def _check_names(names: cabc.Iterable[str], models: cabc.Iterable[AnyModel]) -> None:
    known = {_name_of(model) for model in models}

    for name in names:
        if name not in known:
            raise click.UsageError(
                f"No model has the table {escaped(name)!r}. Tables are named as in 'Meta', without"
                f" prefix: {', '.join(sorted(map(escaped, known)))}."
            )


def _name_of(model: AnyModel) -> str:
    """The name that a model declares."""
    return str(late_binding.declared_meta(model).table_name)
