"""Detects blocking calls on an event loop's thread, where no other task runs until they end."""

from __future__ import annotations

import asyncio
import collections.abc as cabc
import sys

from ..call_site import called_functions
from ..call_site import warn
from ..config.settings import BlockingCalls
from ..errors import BlockingCallWarning

# The methods that send each operation. Where the app called none of them, the first is named.
_METHODS = {
    "BatchGetItem": ("batch_get",),
    "BatchWriteItem": ("batch_write",),
    "CreateTable": ("create_table",),
    "DeleteItem": ("delete",),
    "DeleteTable": ("delete_table",),
    "DescribeTable": ("describe_table", "count", "create_table", "delete_table", "exists"),
    "GetItem": ("get", "get_or_404", "refresh"),
    "PutItem": ("save",),
    "Query": ("query", "count"),
    "Scan": ("scan", "first_or_404"),
    "TransactGetItems": ("transact_get",),
    "TransactWriteItems": ("transact_write",),
    "UpdateItem": ("update",),
    "UpdateTimeToLive": ("update_ttl", "create_table"),
}
_OF_THE_EXTENSION = ("transact_get", "transact_write")


def check(policy: BlockingCalls, operation_name: str) -> None:
    """Warn of, or refuse, a call that is about to block an event loop.

    :param policy: What to do about such calls.
    :param operation_name: DynamoDB's name of the operation.
    :raises RuntimeError: if the policy is ``"raise"``.
    """
    message = (
        f"{operation_name} blocks the event loop of this thread: await"
        f" '{_twin(operation_name)}' of 'dynamo_ext_async' instead, or set"
        " DYNAMODB_BLOCKING_CALLS to 'allow'."
    )

    if policy == "raise":
        raise RuntimeError(message)

    if policy == "warn":
        warn(message, BlockingCallWarning)


def _twin(operation_name: str) -> str:
    """The name of what to await instead of the method that the app called."""
    methods = _METHODS.get(operation_name)

    if methods is None:
        return "db.run_sync"

    # The app may call another one by way of a decorator, whose name says nothing.
    method = next((name for name in called_functions() if name in methods), methods[0])
    return f"db.a{method}" if method in _OF_THE_EXTENSION else f"a{method}"


def on_event_loop() -> bool:
    """Whether an event loop, asyncio's or trio's, is running in this thread."""
    if asyncio._get_running_loop() is not None:
        return True

    # Another thread may be importing trio: as long as it has no such function, it runs nowhere.
    lowlevel = getattr(sys.modules.get("trio"), "lowlevel", None)
    in_trio_run: cabc.Callable[[], bool] | None = getattr(lowlevel, "in_trio_run", None)
    return in_trio_run is not None and in_trio_run()
