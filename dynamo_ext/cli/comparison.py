"""The tables of a command, with what their models declare and what DynamoDB has."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import typing as t

from ..printable import escaped
from ..provisioning import declared
from ..provisioning import described
from ..provisioning import differences
from ..provisioning.definition import Definition
from ..provisioning.described import Description
from ..provisioning.differences import Difference
from . import command
from .selection import SelectedTable


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparedTable:
    """A table as it should be and as it is."""

    table: SelectedTable
    declared: Definition
    found: Description | None
    """``None``: there is no such table."""

    @property
    def differences(self) -> list[Difference]:
        """The differences, if the table exists."""
        if self.found is None:
            return []

        return differences.compare(self.declared, self.found.definition)

    @property
    def notes(self) -> list[str]:
        """What could not be compared."""
        if self.found is None or self.declared.point_in_time_recovery is None:
            return []

        if self.found.definition.point_in_time_recovery is not None:
            return []

        return [f"{differences.Part.POINT_IN_TIME_RECOVERY}: this engine has none"]

    def line(self, text: str) -> str:
        """A line about the table, for a terminal.

        :param text: The text.
        """
        return f"{self.table.shown_name}: {escaped(text)}"


def declare(selected: cabc.Iterable[SelectedTable]) -> list[Definition]:
    """What the tables should be. An error in any model ends the command before any request.

    :param selected: The tables.
    :raises ConfigError: if what a model declares is invalid.
    """
    return [declared.define(table.models) for table in selected]


def compare(table: SelectedTable, definition: Definition) -> ComparedTable:
    """Ask DynamoDB about a table.

    :param table: The table.
    :param definition: What it should be.
    :raises click.ClickException: if DynamoDB refuses or does not answer.
    """
    with command.failures_as_messages(f"Table {table.shown_name!r}"):
        found = described.describe(table.connection, definition)

    return ComparedTable(table=table, declared=definition, found=found)


def as_dicts(found: cabc.Iterable[Difference]) -> list[dict[str, t.Any]]:
    """Differences, for programs.

    :param found: The differences.
    """
    return [
        {
            "part": difference.part,
            "name": difference.name,
            "declared": difference.declared,
            "actual": difference.actual,
        }
        for difference in found
    ]
