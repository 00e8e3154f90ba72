"""From what DynamoDB says to the definition of a table."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import typing as t

import pynamodb.exceptions
from pynamodb import constants

from ..client.connection import TableConnection
from ..config.settings import PROVISIONED
from ..errors import error_code
from ..models.tables import UNKNOWN_OPERATION
from .definition import Capacity
from .definition import Definition
from .definition import Index
from .definition import KeyAttribute

ACTIVE: t.Final = "ACTIVE"
DELETING: t.Final = "DELETING"
_ON = frozenset({"ENABLED", "ENABLING"})

Reply = dict[str, t.Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Description:
    """A table as DynamoDB describes it."""

    table: Reply
    """DescribeTable's."""

    definition: Definition

    @property
    def status(self) -> str:
        """``ACTIVE``, ``CREATING``, ..."""
        return t.cast(str, self.table.get(constants.TABLE_STATUS, ""))

    @property
    def arn(self) -> str:
        """The table's ARN."""
        return t.cast(str, self.table["TableArn"])


def describe(connection: TableConnection, wanted: Definition) -> Description | None:
    """Ask DynamoDB what a table is.

    :param connection: The connection to the table.
    :param wanted: What it should be. Tags and backups are asked for only if it has them.
    :return: The description; ``None`` if there is no such table.
    :raises pynamodb.exceptions.PynamoDBException: if the server refuses.
    """
    table = describe_table(connection)

    if table is None:
        return None

    recovery = wanted.point_in_time_recovery
    definition = define(
        table,
        ttl=_ttl(connection),
        tags=None if wanted.tags is None else _tags(connection, table["TableArn"]),
        point_in_time_recovery=None if recovery is None else _recovers(connection),
    )
    return Description(table=table, definition=definition)


def describe_table(connection: TableConnection) -> Reply | None:
    """DescribeTable's reply; ``None`` if there is no such table.

    :param connection: The connection to the table.
    :raises pynamodb.exceptions.PynamoDBException: if the server refuses.
    """
    try:
        return t.cast(Reply, connection.describe_table())
    except pynamodb.exceptions.TableDoesNotExist:
        return None


def define(
    table: cabc.Mapping[str, t.Any],
    *,
    ttl: str | None = None,
    tags: cabc.Mapping[str, str] | None = None,
    point_in_time_recovery: bool | None = None,
) -> Definition:
    """The definition in DescribeTable's reply. An index that is being deleted is left out.

    :param table: The reply.
    :param ttl: What other operations tell.
    :param tags: What other operations tell.
    :param point_in_time_recovery: What other operations tell.
    """
    billing_mode = table.get("BillingModeSummary", {}).get(constants.BILLING_MODE) or PROVISIONED
    is_provisioned = billing_mode == PROVISIONED
    types = {
        each[constants.ATTR_NAME]: each[constants.ATTR_TYPE]
        for each in table.get(constants.ATTR_DEFINITIONS, ())
    }
    stream: Reply = table.get(constants.STREAM_SPECIFICATION) or {}
    return Definition(
        name=table[constants.TABLE_NAME],
        keys=_keys(table[constants.KEY_SCHEMA], types),
        global_indexes=_indexes(
            table.get(constants.GLOBAL_SECONDARY_INDEXES), types, is_provisioned
        ),
        local_indexes=_indexes(table.get(constants.LOCAL_SECONDARY_INDEXES), types, False),
        billing_mode=billing_mode,
        capacity=_capacity(table) if is_provisioned else Capacity(),
        stream=stream.get(constants.STREAM_VIEW_TYPE)
        if stream.get(constants.STREAM_ENABLED)
        else None,
        ttl=ttl,
        tags=tags,
        deletion_protection=bool(table.get("DeletionProtectionEnabled")),
        point_in_time_recovery=point_in_time_recovery,
    )


def _keys(schema: cabc.Iterable[t.Any], types: cabc.Mapping[str, str]) -> tuple[KeyAttribute, ...]:
    keys = (
        KeyAttribute(
            each[constants.ATTR_NAME],
            each[constants.KEY_TYPE],
            types.get(each[constants.ATTR_NAME], "?"),
        )
        for each in schema
    )
    return tuple(sorted(keys, key=lambda key: key.kind))


def _indexes(
    described: cabc.Iterable[t.Any] | None, types: cabc.Mapping[str, str], is_provisioned: bool
) -> dict[str, Index]:
    return {
        each[constants.INDEX_NAME]: Index(
            name=each[constants.INDEX_NAME],
            keys=_keys(each[constants.KEY_SCHEMA], types),
            projection=each[constants.PROJECTION][constants.PROJECTION_TYPE],
            projected=frozenset(each[constants.PROJECTION].get(constants.NON_KEY_ATTRIBUTES) or ()),
            capacity=_capacity(each) if is_provisioned else Capacity(),
        )
        for each in described or ()
        if each.get("IndexStatus") != DELETING
    }


def _capacity(described: cabc.Mapping[str, t.Any]) -> Capacity:
    """A capacity. There are engines that say 0 of an index whose capacity they don't keep."""
    units: Reply = described.get(constants.PROVISIONED_THROUGHPUT) or {}
    return Capacity(
        units.get(constants.READ_CAPACITY_UNITS) or None,
        units.get(constants.WRITE_CAPACITY_UNITS) or None,
    )


def _ttl(connection: TableConnection) -> str | None:
    reply = _ask(connection, "DescribeTimeToLive")
    ttl = (reply or {}).get("TimeToLiveDescription", {})
    return ttl.get("AttributeName") if ttl.get("TimeToLiveStatus") in _ON else None


def _tags(connection: TableConnection, arn: str) -> dict[str, str]:
    tags: dict[str, str] = {}
    following: dict[str, str] = {}

    while True:
        page = connection.connection.dispatch(
            "ListTagsOfResource", {"ResourceArn": arn, **following}
        )
        tags |= {tag[constants.KEY]: tag[constants.VALUE] for tag in page.get(constants.TAGS, ())}

        if not (token := page.get("NextToken")):
            return tags

        following = {"NextToken": token}


def _recovers(connection: TableConnection) -> bool | None:
    """Whether point-in-time recovery is on; ``None`` if the engine lacks it."""
    reply = _ask(connection, "DescribeContinuousBackups")

    if reply is None:
        return None

    backups = reply.get("ContinuousBackupsDescription", {})
    recovery = backups.get("PointInTimeRecoveryDescription", {})
    return recovery.get("PointInTimeRecoveryStatus") in _ON


def _ask(connection: TableConnection, operation: str) -> Reply | None:
    """The reply about a table; ``None`` if the engine lacks the operation."""
    try:
        return connection.connection.dispatch(
            operation, {constants.TABLE_NAME: connection.table_name}
        )
    except pynamodb.exceptions.VerboseClientError as error:
        if error_code(error) != UNKNOWN_OPERATION:
            raise

        return None
