"""Where this project is meant to differ from PynamoDB.

What is not here is the same. ``docs/differences.md`` tells users.
"""

from __future__ import annotations

import typing as t

from .description import Body

LEFT_OUT = {
    "batch_write: an exception in the block": "writes nothing of what is pending",
    "batch_write: unprocessed items": "are sent again after a wait that grows",
    "batch_write: one key twice": "only the last operation is sent",
    "batch_write: an item without its key": "is an error with a message of its own",
    "keys: a part that is missing or does not fit": "is an error with a message of its own, before"
    " anything is sent",
    "indexes: one that does not project the discriminator": "is warned of",
    "batch_get: unprocessed keys": "are sent again after a wait that grows",
    "batch_get: an invalid key": "is an error of the call, with a message of its own",
    "create_table: neither a billing mode nor a capacity": "is on demand; PynamoDB"
    " asks for a provisioned table without capacity, which DynamoDB refuses",
    "create_table: PROVISIONED without capacities": "is a ConfigError before anything is sent",
    "create_table: an index without capacities": "gets the table's",
    "create_table: a table that another process has just created": "is no error",
    "create_table: a table that is being created": "is waited for without PynamoDB's two seconds",
    "update_ttl: a TTL that is enabled": "is left alone",
    "transactions: models of two endpoints": "are refused",
    "conditional writes after a lost answer": "may be found to have been applied (docs/faults.md)",
    "iteration: a page whose Count is not that of its items": "gives the items that there are",
    "iteration: after a malformed page": "asks for the page again; PynamoDB ends as if it was the"
    " last one",
    "batch_get: after an error": "goes on if awaited; PynamoDB's generator has ended",
    "rate_limit": "is kept on the event loop; how long that takes is no matter of a comparison",
}
"""What the strategies never draw, and what this project does there."""


def _without_token(operation: str, body: Body) -> Body:
    """botocore draws it."""
    if "ClientRequestToken" in body:
        return {**body, "ClientRequestToken": "drawn"}

    return body


def _in_any_order(operation: str, body: Body) -> Body:
    """PynamoDB sends the keys of a batch in the order of a set, and we in that of the caller; and
    two that are serialised to the same, which DynamoDB refuses, are one here."""
    if operation != "BatchGetItem":
        return body

    items = {
        table: {**part, "Keys": sorted({repr(key) for key in part["Keys"]})}
        for table, part in body["RequestItems"].items()
    }
    return {**body, "RequestItems": items}


def without_date(value: t.Any) -> t.Any:
    """botocore puts the server's clock into the reply that PynamoDB returns."""
    match value:
        case {"ResponseMetadata": {"HTTPHeaders": headers, **metadata}, **reply}:
            kept = {name: header for name, header in headers.items() if name != "date"}
            return {**reply, "ResponseMetadata": {**metadata, "HTTPHeaders": kept}}
        case _:
            return value


NEED_THE_KEY_OF_THE_ITEM = frozenset({"update", "delete", "refresh"})
"""What is not called on an item that was read without its key: it is an error of this project's
own, where PynamoDB sends the key ``None``."""

TABLE_EXISTS = "ResourceInUseException"
_OF_MALFORMED_PAGES = (KeyError, IndexError, TypeError)
ENDS_AN_ITERATION: dict[str, tuple[type[Exception], ...]] = {
    "query": _OF_MALFORMED_PAGES,
    "scan": _OF_MALFORMED_PAGES,
    "batch_get": (Exception,),
}
"""The errors after which no further item is asked for."""


def _without_stored_item(operation: str, body: Body) -> Body:
    """A conditional write that is sent again asks for the stored item, which may be what it wanted
    to write (docs/faults.md). PynamoDB never asks for it, except in transactions."""
    return {name: value for name, value in body.items() if name != _STORED_ITEM}


_STORED_ITEM = "ReturnValuesOnConditionCheckFailure"
NORMALISED_REQUESTS = (_without_token, _in_any_order, _without_stored_item)
