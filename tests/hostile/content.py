"""What requests ask for, and the replies that say for which key they are."""

from __future__ import annotations

import dataclasses
import json
import re
import typing as t
import zlib

_KEY = re.compile(rb"\bk-[0-9a-z-]+")
_NAMESPACE = "com.amazonaws.dynamodb.v20120810#"
_FOREIGN = b"foreign-"
REASONS = {
    200: "OK",
    400: "Bad Request",
    408: "Request Timeout",
    500: "Internal Server Error",
    503: "Service Unavailable",
}

Item = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Request:
    """One request, or as much of it as has been read."""

    operation: str
    key: bytes
    """Identifies the call. The keys of a batch begin with it, followed by a dot."""

    body: dict[str, t.Any]


def key_in(body: bytes) -> bytes | None:
    """The key that a body, or its beginning, asks for. It must end before the last byte."""
    found = _KEY.search(body)
    return found[0] if found is not None and found.end() < len(body) else None


def content(request: Request, tag: str, padding: int) -> bytes:
    """The content of a successful reply.

    :param request: The request.
    :param tag: Says which reply it is.
    :param padding: How many bytes of no meaning each item holds.
    """
    own = {"reply": {"S": tag}, **({"padding": {"S": "x" * padding}} if padding else {})}
    return json.dumps(_answer(request, own)).encode()


def foreign(content: bytes, request: Request) -> bytes:
    """The same content, for a key that nobody has asked for."""
    return content.replace(request.key, _FOREIGN + request.key)


def error(code: str) -> bytes:
    """The content of an error of DynamoDB."""
    return json.dumps({"__type": _NAMESPACE + code, "message": "of the hostile server"}).encode()


def head(
    status: int,
    content: bytes,
    *headers: str,
    version: str = "1.1",
    framing: tuple[str, ...] | None = None,
    checksum: int | None = None,
) -> bytes:
    """The head of a reply, with its right checksum.

    :param status: The status.
    :param content: The content.
    :param headers: More lines.
    :param version: Of HTTP.
    :param framing: The lines that say how long the content is; by default the right one.
    :param checksum: Another checksum.
    """
    if framing is None:
        framing = (f"Content-Length: {len(content)}",)

    checksum = zlib.crc32(content) if checksum is None else checksum
    lines = (
        f"HTTP/{version} {status} {REASONS[status]}",
        "Content-Type: application/x-amz-json-1.0",
        f"x-amz-crc32: {checksum}",
        *framing,
        *headers,
    )
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"


def _answer(request: Request, own: Item) -> dict[str, t.Any]:
    body = request.body

    match request.operation:
        case "GetItem":
            return {"Item": {**body["Key"], **own}}
        case "PutItem":
            return {"Attributes": {"id": body["Item"]["id"], **own}}
        case "UpdateItem" | "DeleteItem":
            return {"Attributes": {**body["Key"], **own}}
        case "Query" | "Scan":
            return _page(request, own)
        case "BatchGetItem":
            items = {
                table: [{**key, **own} for key in part["Keys"]]
                for table, part in body["RequestItems"].items()
            }
            return {"Responses": items, "UnprocessedKeys": {}}
        case "BatchWriteItem":
            metrics = {
                table: [
                    {"ItemCollectionKey": {"id": write["PutRequest"]["Item"]["id"]}}
                    for write in writes
                ]
                for table, writes in body["RequestItems"].items()
            }
            return {"ItemCollectionMetrics": metrics, "UnprocessedItems": {}}
        case "TransactGetItems":
            keys = [get["Get"]["Key"] for get in body["TransactItems"]]
            return {"Responses": [{"Item": {**key, **own}} for key in keys]}
        case operation:
            raise NotImplementedError(operation)


def _page(request: Request, own: Item) -> dict[str, t.Any]:
    """Two items on each of two pages."""
    key = {"id": {"S": request.key.decode()}}
    more = {} if "ExclusiveStartKey" in request.body else {"LastEvaluatedKey": key}
    items = [{**key, **own}] * 2
    return {"Items": items, "Count": len(items), "ScannedCount": len(items), **more}
