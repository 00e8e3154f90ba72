"""The same models on stock PynamoDB and on this project, at one server that records requests."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import copy
import dataclasses
import re
import typing as t

import pynamodb.connection
import pynamodb.models
import pynamodb.transactions
from pynamodb.attributes import AttributeContainer

import dynamo_ext
from stub import Stub

CREDENTIALS = {
    "aws_access_key_id": "AKIDOFTHETESTS",
    "aws_secret_access_key": "secret-of-the-tests",
}
REGION = "us-east-1"
_REQUEST_ID = re.compile(r"on request \([^)]*\) ")
# Two tables are not created in the same second.
_OF_ONE_TABLE = frozenset(
    {
        "LatestStreamArn",
        "LatestStreamLabel",
        "ResponseMetadata",
        "TableId",
    }
)


@dataclasses.dataclass(frozen=True)
class Side:
    """Stock PynamoDB, or this project."""

    is_stock: bool
    base: t.Any
    """The class of models."""

    connected: type[t.Any]
    """What a ``Meta`` has to inherit to reach the server."""

    connection: t.Any
    transact_get: cabc.Callable[..., t.Any]
    transact_write: cabc.Callable[..., t.Any]


def stock(stub: Stub) -> Side:
    """Stock PynamoDB.

    :param stub: The server.
    """
    connected = type("Connected", (), {"host": stub.url, "region": REGION, **CREDENTIALS})
    connection = t.cast(t.Any, pynamodb.connection.Connection)(
        host=stub.url, region=REGION, max_retry_attempts=0
    )
    connection.session.set_credentials(*CREDENTIALS.values())
    return Side(
        is_stock=True,
        base=pynamodb.models.Model,
        connected=connected,
        connection=connection,
        transact_get=lambda **options: pynamodb.transactions.TransactGet(
            connection=connection, **options
        ),
        transact_write=lambda **options: pynamodb.transactions.TransactWrite(
            connection=connection, **options
        ),
    )


def ours(db: dynamo_ext.PynamoDB, base: t.Any = dynamo_ext.Model) -> Side:
    """This project, in an app whose context is current.

    :param db: The app's extension.
    :param base: The class of models.
    """
    return Side(
        is_stock=False,
        base=base,
        connected=type("Connected", (), {"table_name_prefix": ""}),
        connection=db.connection,
        transact_get=db.transact_get,
        transact_write=db.transact_write,
    )


class Trace:
    """What a scenario got and what was raised, and what the server got of it, in order."""

    def __init__(self, stub: Stub) -> None:
        self._stub = stub
        self.results: list[t.Any] = []

    def __call__(self, call: cabc.Callable[..., t.Any], *args: t.Any, **kwargs: t.Any) -> t.Any:
        """Make a call, and note what comes of it.

        :param call: What to call. If it returns an iterator, that is drained.
        :param args: What it is called with.
        :param kwargs: What it is called with.
        :return: Its result; ``None`` if it raises an error.
        """
        try:
            result = call(*args, **kwargs)

            if isinstance(result, cabc.Iterator):
                result = list(result)
        except Exception as error:
            self.results.append(described_error(error))
            return None

        self.results.append(described(result))
        return result

    @property
    def sent(self) -> list[tuple[str, t.Any]]:
        """The requests."""
        return [(each.operation, _comparable(each.body)) for each in self._stub.requests]


def _comparable(body: t.Any) -> t.Any:
    """A request, without what differs from one to the next."""
    body = copy.deepcopy(body)
    # botocore makes one up.
    body.pop("ClientRequestToken", None)

    for part in (body.get("RequestItems") or {}).values():
        if isinstance(part, dict):
            # PynamoDB puts the keys into a set.
            part["Keys"].sort(key=repr)

    return body


def described_error(error: BaseException) -> tuple[str, ...]:
    """An error, without what differs from one call to the next."""
    names = [
        kind.__qualname__.rpartition("<locals>.")[2]
        for kind in type(error).__mro__
        if kind.__module__ not in {"builtins", "typing"}
    ]
    code = getattr(error, "cause_response_code", None)
    message = _REQUEST_ID.sub("", str(error))
    return ("raised", type(error).__name__, *names, str(code), message)


def described(value: t.Any) -> t.Any:
    """A result, so that those of two classes of the same name can be compared."""
    if isinstance(value, pynamodb.models.Model):
        return (type(value).__name__, described(value.attribute_values))

    if isinstance(value, AttributeContainer):
        return (type(value).__name__, described(t.cast(t.Any, value).attribute_values))

    if isinstance(value, cabc.Mapping):
        return {
            name: described(each)
            for name, each in t.cast(t.Any, value).items()
            if name not in _OF_ONE_TABLE and not str(name).endswith("DateTime")
        }

    if isinstance(value, (list, tuple)):
        return [described(each) for each in t.cast(t.Any, value)]

    if isinstance(value, type):
        return value.__name__

    return value


def drop_tables(stub: Stub, connection: t.Any) -> None:
    """Delete all tables of the scenario.

    :param stub: The server, which knows what was created.
    :param connection: A connection to it.
    """
    created = {each.body["TableName"] for each in stub.requests if each.operation == "CreateTable"}

    for name in created:
        with contextlib.suppress(Exception):
            connection.delete_table(name)
