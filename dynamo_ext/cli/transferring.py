"""What ``export`` and ``import`` share as commands."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import typing as t

import click

from ..errors import FAILURES
from ..printable import escaped
from . import command
from . import selection
from .selection import SelectedTable
from .transfer.failures import TransferError
from .transfer.failures import WrongUsage
from .transfer.progress import Watch

F = t.TypeVar("F", bound=cabc.Callable[..., t.Any])

_GO_ON = "Run the same command again to go on."


def limit_option(name: str, what: str) -> cabc.Callable[[F], F]:
    """Add an option that limits the capacity that is consumed.

    :param name: The option.
    :param what: What it limits.
    """
    return click.option(
        name,
        type=click.FloatRange(min=0, min_open=True),
        metavar="UNITS",
        help=f"{what} capacity units to consume per second, at most.",
    )


def select_distinct(names: cabc.Collection[str]) -> list[SelectedTable]:
    """The tables of the current app, as :func:`~dynamo_ext.cli.selection.select` gives them.

    :param names: Their names; none for all tables.
    :raises click.UsageError: if two have one name: its file could be either's.
    """
    selected = selection.select(names)
    seen: set[str] = set()

    for table in selected:
        if table.name in seen:
            raise click.UsageError(
                f"Several binds have a table {escaped(table.name)!r}. Say which by --bind."
            )

        seen.add(table.name)

    return selected


@contextlib.contextmanager
def failures_as_messages(what: str | None = None) -> cabc.Generator[None]:
    """End the command with a message and exit code 1, if the block fails; with 2, if it was not
    clear what to do.

    :param what: What failed, as the beginning of the message.
    """
    try:
        yield
    except WrongUsage as error:
        raise click.UsageError(escaped(error)) from error
    except FAILURES as error:
        raise _that_can_go_on(command.failure(error, what)) from error
    except (TransferError, OSError) as error:
        raise command.failure(error, what) from error
    except KeyboardInterrupt:
        click.echo(f"\nInterrupted. {_GO_ON}", err=True)
        raise click.Abort from None


def _that_can_go_on(failure: click.ClickException) -> click.ClickException:
    return click.ClickException(f"{failure.message}\n{_GO_ON}")


def result_line(selected: SelectedTable, result: str, watch: Watch) -> str:
    """What a command prints of a table that it is done with.

    :param selected: The table.
    :param result: What was done.
    :param watch: How fast that was.
    """
    speed = f"{watch.seconds:,.1f} s, {watch.rate:,.0f} items/s"
    return f"{selected.shown_name}: {escaped(result)} ({speed})"
