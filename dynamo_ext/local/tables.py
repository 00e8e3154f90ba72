"""moto's tables: what they hold, and how it is put back.

Requests go through moto's server, as those of a client do. Only items are read from moto's own
objects and put into them, because a request takes longer than the rest of the work: it must not be
made for each write, nor for each item at the start.
"""

from __future__ import annotations

import base64
import collections.abc as cabc
import contextlib
import dataclasses
import datetime
import io
import json
import sys
import typing as t

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.dynamo_type import Item
from werkzeug.test import run_wsgi_app

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_TARGET = "DynamoDB_20120810."
_DEFAULT_REGION = "us-east-1"
# What moto raises for a key that is none: no such attribute, not a number, not base64.
_NO_KEY = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, StopIteration)

Key = cabc.Mapping[str, t.Any]
Response = tuple[int, cabc.Iterable[tuple[str, str]], bytes]


@dataclasses.dataclass(frozen=True)
class Scope:
    """Where tables are apart from others of the same name.

    :param account: The account.
    :param region: The region.
    """

    account: str
    region: str

    @classmethod
    def of(cls, environ: cabc.Mapping[str, t.Any]) -> Scope:
        """The scope of a request: the region for which it is signed.

        :param environ: The request as a WSGI environment.
        """
        credential = str(environ.get("HTTP_AUTHORIZATION", "")).partition(",")[0].split("/")
        return cls(
            environ.get("HTTP_X_MOTO_ACCOUNT_ID") or DEFAULT_ACCOUNT_ID,
            (credential[2:3] or [_DEFAULT_REGION])[0] or _DEFAULT_REGION,
        )


_PROBE = Scope("000000000000", _DEFAULT_REGION)


class Tables:
    """The tables of moto's server in this process.

    :param application: The server.
    """

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application
        self._keeps_bytes = self._find_out_whether_it_keeps_bytes()

    def request(self, scope: Scope, operation: str, body: bytes) -> Response:
        """Make a request.

        :param scope: The account and the region.
        :param operation: The operation, such as ``PutItem``.
        :param body: The body, JSON.
        :return: Status, headers and body of the response.
        """
        environ = _environ(scope, operation, body)
        content, status, headers = run_wsgi_app(self._application, environ, buffered=True)
        return int(status.split()[0]), headers.items(), b"".join(content)

    def clear(self) -> None:
        """Forget all tables."""
        for account in dynamodb_backends.values():
            account.reset()

    def names(self, scope: Scope) -> list[str]:
        """The names of all tables."""
        return list(_backend(scope).tables)

    def key_names(self, scope: Scope, table_name: str) -> list[str]:
        """The names of the attributes that are a table's key."""
        table = _backend(scope).tables[table_name]
        return list(filter(None, [table.hash_key_attr, table.range_key_attr]))

    def item(self, scope: Scope, table_name: str, key: Key) -> str | None:
        """Read an item.

        :param scope: The account and the region.
        :param table_name: The table's name.
        :param key: The item's key. It may hold further attributes.
        :return: The item as JSON; ``None`` if there is none, or the key is invalid.
        """
        table = _backend(scope).tables.get(table_name)

        if table is None:
            return None

        with contextlib.suppress(*_NO_KEY):
            # Looked up with a default: moto adds what is looked up without.
            found: t.Any = table.items.get(self._typed(key[table.hash_key_attr]))

            if found and table.range_key_attr is not None:
                found = found.get(self._typed(key[table.range_key_attr]))

            return _dump(found.attrs) if found else None

        return None

    def items(self, scope: Scope, table_name: str) -> dict[str, str]:
        """Read all items of a table.

        :param scope: The account and the region.
        :param table_name: The table's name.
        :return: Each item, by its key, both as JSON.
        """
        table, names = _backend(scope).tables[table_name], self.key_names(scope, table_name)
        return {
            _dump({name: item.attrs[name] for name in names}): _dump(item.attrs)
            for item in table.all_items()
        }

    def put(self, scope: Scope, table_name: str, items: cabc.Iterable[Key]) -> None:
        """Put items back that were read, without the checks of a request.

        :param scope: The account and the region.
        :param table_name: The table's name.
        :param items: The items, as DynamoDB's JSON.
        """
        table = _backend(scope).tables[table_name]
        hash_name, range_name, typed = table.hash_key_attr, table.range_key_attr, self._typed

        for attributes in items:
            values = {name: typed(value) for name, value in attributes.items()}
            range_value = None if range_name is None else values[range_name]
            item: t.Any = Item(values[hash_name], range_value, {})
            # Not one by one: moto adds up the size of the item each time.
            item.attrs.update(values)

            if range_value is None:
                table.items[values[hash_name]] = item
            else:
                table.items[values[hash_name]][range_value] = item

    def marks(self, scope: Scope, table_name: str) -> dict[str, t.Any]:
        """What moto has given a table, and would give another one: times."""
        table = _backend(scope).tables[table_name]
        return {
            "created_at": table.created_at.isoformat(),
            "latest_stream_label": table.latest_stream_label,
            "continuous_backups": table.continuous_backups,
        }

    def set_marks(self, scope: Scope, table_name: str, marks: cabc.Mapping[str, t.Any]) -> None:
        """Give a table what :meth:`marks` has read."""
        table = _backend(scope).tables[table_name]
        table.created_at = datetime.datetime.fromisoformat(marks["created_at"])
        table.latest_stream_label = marks["latest_stream_label"]
        table.continuous_backups = marks["continuous_backups"]

    def _find_out_whether_it_keeps_bytes(self) -> bool:
        """Whether moto keeps binary values as bytes, as newer releases do, or in base64."""
        key = {"id": {"B": "AA=="}}
        table = {
            "TableName": "probe",
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "B"}],
            "BillingMode": "PAY_PER_REQUEST",
        }
        self.request(_PROBE, "CreateTable", json.dumps(table).encode())
        put = {"TableName": "probe", "Item": key}
        self.request(_PROBE, "PutItem", json.dumps(put).encode())
        (value,) = _backend(_PROBE).tables["probe"].items
        _backend(_PROBE).reset()
        return isinstance(value.value, bytes)

    def _typed(self, value: t.Any) -> DynamoType:
        return DynamoType(_decoded(value) if self._keeps_bytes else value)


def _decoded(value: dict[str, t.Any]) -> dict[str, t.Any]:
    """A value of DynamoDB's JSON with bytes in the place of base64."""
    ((kind, content),) = value.items()

    match kind:
        case "B":
            return {kind: base64.b64decode(content)}
        case "BS":
            return {kind: [base64.b64decode(each) for each in content]}
        case "L":
            return {kind: [_decoded(each) for each in content]}
        case "M":
            return {kind: {name: _decoded(each) for name, each in content.items()}}
        case _:
            return value


def _dump(attributes: cabc.Mapping[str, t.Any]) -> str:
    return json.dumps(attributes, default=_plain, separators=(",", ":"))


def _plain(value: t.Any) -> t.Any:
    if isinstance(value, DynamoType):
        return {value.type: value.value}

    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")

    raise TypeError(f"moto has stored a value of type {type(value).__name__!r}")


def _backend(scope: Scope) -> t.Any:
    return dynamodb_backends[scope.account][scope.region]


def _environ(scope: Scope, operation: str, body: bytes) -> dict[str, t.Any]:
    """A request, as nothing but its scope, operation and body make it."""
    credential = f"AWS4-HMAC-SHA256 Credential=local/20000101/{scope.region}/dynamodb/aws4_request"
    return {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "RAW_URI": "/",
        "REQUEST_URI": "/",
        "CONTENT_TYPE": "application/x-amz-json-1.0",
        "CONTENT_LENGTH": str(len(body)),
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "127.0.0.1",
        "HTTP_AUTHORIZATION": credential,
        "HTTP_X_AMZ_TARGET": _TARGET + operation,
        "HTTP_X_MOTO_ACCOUNT_ID": scope.account,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
