"""One table, in raw requests: items are neither decoded into models nor encoded from them."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import functools
import random
import time
import typing as t

from botocore.exceptions import ClientError

from ...calls.retry import full_jitter
from ...client.connection import TableConnection
from ...client.place import Place
from ...errors import error_code
from ...models.item_json import Raw
from .budget import Budget
from .failures import TransferError
from .stopping import Stopped
from .stopping import Stopping

_NOT_FOUND = "ResourceNotFoundException"
_PATIENCE = 12
"""After how many requests without any progress to give up. The waits between them grow to 20 s."""

_BASE_MS = 50
_THROTTLED = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
        "ThrottledException",
    }
)


@dataclasses.dataclass(frozen=True)
class Page:
    """A reply to Scan."""

    items: list[Raw]
    last_key: Raw | None
    units: float
    """The capacity units that it has consumed."""

    scanned: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A table, and how to be considerate of it.

    Its requests hold a slot while they are under way, and none while they wait for capacity.
    """

    connection: TableConnection
    budget: Budget
    stopping: Stopping = dataclasses.field(default_factory=Stopping)
    """Set it, and the transfer ends after the requests that are under way."""

    sleep: cabc.Callable[[float], None] = time.sleep
    draw: cabc.Callable[[], float] = random.random

    @property
    def name(self) -> str:
        """The name by which DynamoDB knows the table."""
        return self.connection.table_name

    @property
    def slots(self) -> int:
        """How many requests may be under way at once."""
        return self.connection.connection.engine.endpoint.max_pool_connections

    def describe(self) -> Raw:
        """What DescribeTable says of the table.

        :raises TransferError: if there is no such table.
        """
        try:
            reply = self.connection.connection.dispatch("DescribeTable", {"TableName": self.name})
        except ClientError as error:
            if error_code(error) != _NOT_FOUND:
                raise

            raise TransferError("it does not exist. Create it with 'create-tables'.") from error

        return t.cast(Raw, reply["Table"])

    def identity(self, description: Raw) -> Raw:
        """What tells this table from others, for a checkpoint.

        :param description: What DescribeTable says of the table.
        """
        place = Place.of(self.connection.connection.engine)
        return {
            "table": self.name,
            "id": description.get("TableId"),
            "endpoint": place.url,
            "region": place.region,
        }

    def scan(
        self, *, segment: int, segments: int, start_key: Raw | None, limit: int | None
    ) -> Page:
        """Read a page of a segment, consistently: everything written before is seen.

        :param segment: Which segment.
        :param segments: Of how many.
        :param start_key: The last key of the page before; ``None`` for the first page.
        :param limit: How many items to read at most.
        :raises Stopped: if the transfer is told to stop.
        """
        request = {
            "TableName": self.name,
            "ConsistentRead": True,
            "Segment": segment,
            "TotalSegments": segments,
            **({} if start_key is None else {"ExclusiveStartKey": start_key}),
            **({} if limit is None else {"Limit": limit}),
        }
        reply = self._repeated(functools.partial(self._send, "Scan", request))
        items = t.cast("list[Raw]", reply["Items"])
        units = self._spend(t.cast("Raw | None", reply.get("ConsumedCapacity")))
        scanned = t.cast(int, reply.get("ScannedCount", len(items)))
        return Page(items, reply.get("LastEvaluatedKey") or None, units, scanned)

    def put(self, items: cabc.Iterable[Raw]) -> None:
        """Write items, up to 25 with different keys.

        :param items: The items.
        :raises Stopped: if the transfer is told to stop.
        :raises TransferError: if DynamoDB leaves all items unprocessed, time after time.
        """
        left = [{"PutRequest": {"Item": item}} for item in items]
        rounds = 0

        while left:
            reply = self._repeated(functools.partial(self._send_batch, left))
            unprocessed = t.cast("dict[str, list[Raw]]", reply.get("UnprocessedItems") or {})
            # DynamoDB names the table by its name or its ARN.
            still_left = [request for requests in unprocessed.values() for request in requests]
            rounds = rounds + 1 if len(still_left) == len(left) else 0
            left = still_left

            if left:
                self._wait(rounds, f"{len(left)} items were left unprocessed again and again")

    def _send_batch(self, requests: list[Raw]) -> Raw:
        reply = self._send("BatchWriteItem", {"RequestItems": {self.name: requests}})
        self._spend(next(iter(reply.get("ConsumedCapacity") or ()), None))
        return reply

    def _send(self, operation: str, request: Raw) -> Raw:
        self.budget.wait(is_over=self.stopping.is_set)

        if self.stopping.is_set():
            raise Stopped

        return self.connection.connection.dispatch(
            operation, {**request, "ReturnConsumedCapacity": "TOTAL"}
        )

    def _spend(self, consumed: cabc.Mapping[str, t.Any] | None) -> float:
        if consumed is None and self.budget.units_per_second is not None:
            raise TransferError(
                "The server does not say which capacity a request has consumed, so none can be"
                " limited. Run the command without a limit."
            )

        units = float((consumed or {}).get("CapacityUnits", 0.0))
        self.budget.spend(units)
        return units

    def _repeated(self, request: cabc.Callable[[], Raw]) -> Raw:
        """Send a request again as long as DynamoDB refuses it for want of capacity."""
        rounds = 0

        while True:
            try:
                return request()
            except ClientError as error:
                if error_code(error) not in _THROTTLED:
                    raise

                rounds += 1
                self._wait(rounds, "requests were throttled again and again", cause=error)

    def _wait(self, rounds: int, what: str, cause: BaseException | None = None) -> None:
        if rounds == _PATIENCE:
            raise TransferError(
                f"DynamoDB has too little capacity for table {self.name!r}: {what}. Run the same"
                " command again later to go on, with a limit of capacity, or raise the table's."
            ) from cause

        self._sleep_unless_stopping(full_jitter(_BASE_MS, rounds, draw=self.draw))

    def _sleep_unless_stopping(self, seconds: float) -> None:
        while seconds > 0 and not self.stopping.is_set():
            step = min(seconds, 0.5)
            self.sleep(step)
            seconds -= step
