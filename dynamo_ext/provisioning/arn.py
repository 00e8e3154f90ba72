"""The ARNs of tables and indexes."""

from __future__ import annotations

import dataclasses
import typing as t

from ..client.connection import TableConnection

_ARN = "arn:"
_TABLE = ":table/"


@dataclasses.dataclass(frozen=True)
class TableArn:
    """The ARN of a table."""

    text: str

    @classmethod
    def of(cls, connection: TableConnection, *, region: str | None, account: str) -> t.Self:
        """The ARN of a connection's table.

        :param connection: The connection.
        :param region: The region; ``None`` for that of the connection.
        :param account: The number of the account, or ``*``. A model that names its table by an ARN
            says both itself.
        """
        if connection.table_name.startswith(_ARN):
            return cls(connection.table_name)

        engine = connection.connection.engine
        region = region or engine.endpoint.region
        partition: str = t.cast(t.Any, engine.session).get_partition_for_region(region)
        return cls(f"arn:{partition}:dynamodb:{region}:{account}{_TABLE}{connection.table_name}")

    def index(self, name: str) -> str:
        """The ARN of an index of the table.

        :param name: The index.
        """
        return f"{self.text}/index/{name}"


def plain_name(table_name: str) -> str:
    """The name of a table that a model may name by its ARN.

    :param table_name: The name or the ARN.
    """
    return table_name.rpartition(_TABLE)[2] if table_name.startswith(_ARN) else table_name
