"""Ask before something is deleted, and make sure that it is deleted where it is meant to be."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import typing as t

import click

from ..client.engine import Engine
from ..client.place import Place
from ..printable import escaped
from .selection import SelectedTable

F = t.TypeVar("F", bound=cabc.Callable[..., t.Any])


@dataclasses.dataclass(frozen=True)
class Target:
    """Where tables are: what ``--confirm`` must name, if it is beyond loopback."""

    names: tuple[str, ...]
    """What names it: its host, with and without port; or the region, if it is AWS itself."""

    is_loopback: bool
    """Whether it is on this machine."""

    def __str__(self) -> str:
        return self.names[0]

    @classmethod
    def of(cls, engine: Engine) -> t.Self:
        """The target of an engine's calls.

        :param engine: The engine.
        """
        place = Place.of(engine)
        names = (place.region if place.is_aws else place.host, place.host, place.host_and_port)
        return cls(tuple(dict.fromkeys(names)), is_loopback=place.is_loopback)


def options(command: F) -> F:
    """Add ``--yes`` and ``--confirm``, as the parameters ``yes`` and ``confirm``.

    :param command: The function of the command.
    """
    for option in (
        click.option(
            "--confirm",
            metavar="HOST-or-REGION",
            multiple=True,
            help="Delete there. Needed unless the endpoint is on this machine; no question then.",
        ),
        click.option("--yes", is_flag=True, help="Don't ask, if the endpoint is on this machine."),
    ):
        command = option(command)

    return command


def check_places(selected: cabc.Iterable[SelectedTable], confirmed: cabc.Iterable[str]) -> None:
    """Refuse a confirmation of another place than that of the tables, whatever is done there.

    :param selected: All tables of the command.
    :param confirmed: What ``--confirm`` names.
    :raises click.UsageError: if none of the tables is at one of the places.
    """
    targets = _targets(selected)
    known = {name for target in targets for name in target.names}

    for name in confirmed:
        if name.lower() not in known:
            shown = ", ".join(sorted(escaped(target) for target in targets))
            raise click.UsageError(
                f"--confirm names {escaped(name)!r}, but the tables are on {shown}."
            )


def confirm(
    question: str,
    selected: cabc.Iterable[SelectedTable],
    *,
    confirmed: cabc.Collection[str],
    yes: bool,
) -> None:
    """Go on only if that is what the user wants.

    :param question: What to ask.
    :param selected: The tables that something is deleted from.
    :param confirmed: What ``--confirm`` names.
    :param yes: Whether ``--yes`` was given.
    :raises click.UsageError: if they are beyond this machine, and ``--confirm`` does not say where.
    :raises click.Abort: if the answer is no.
    """
    wanted = {name.lower() for name in confirmed}
    open_targets = [target for target in _targets(selected) if wanted.isdisjoint(target.names)]
    remote = sorted(str(target) for target in open_targets if not target.is_loopback)

    if remote:
        options = " ".join(f"--confirm {escaped(name)}" for name in remote)
        raise click.UsageError(
            f"This deletes on {', '.join(map(escaped, remote))}, which is not this machine."
            f" To do it, add: {options}"
        )

    if open_targets and not yes:
        click.confirm(question, abort=True, err=True)


def _targets(selected: cabc.Iterable[SelectedTable]) -> set[Target]:
    return {Target.of(table.connection.connection.engine) for table in selected}
