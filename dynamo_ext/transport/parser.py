"""Parses replies, with botocore's result in fewer steps, and rejects damaged ones.

botocore consults its service model for each value of each item, to find the binary values. Here
items are walked once, and botocore parses the rest of a reply.

botocore treats a reply that is not valid JSON as an empty one, and after the last attempt accepts a
reply whose checksum is wrong. Here both are damaged replies: the call is sent again, and fails if
no attempt gets a valid reply.
"""

from __future__ import annotations

import binascii
import collections.abc as cabc
import json
import logging
import typing as t
import zlib

import botocore.parsers

from ..calls.item_reading import ReadItems
from ..calls.retry import Damaged
from ..concurrency import decode_lock
from .response import Reply

Response = cabc.Mapping[str, t.Any]
TypedValue = dict[str, t.Any]
Reader = cabc.Callable[[t.Any], None]

_LARGE = 8 * 1024
"""Larger bodies, in bytes, are parsed with the decode lock held."""

_CHECKSUM = "x-amz-crc32"
_REQUEST_ID = "x-amzn-requestid"
_UNCHANGED_TYPES = frozenset({"S", "N", "BOOL", "NULL"})
_LIST_TYPES = frozenset({"L", "SS", "NS", "BS"})
_UNITS_OF_TABLE = frozenset(
    {"CapacityUnits", "ReadCapacityUnits", "TableName", "WriteCapacityUnits"}
)
_SCALARS = frozenset({float, int, str})
_botocore_logger = logging.getLogger(botocore.parsers.__name__)


class ParserFactory(botocore.parsers.ResponseParserFactory):
    """Creates this project's parser for DynamoDB's protocol, and botocore's for others.

    A botocore session takes it as the component ``response_parser_factory``.
    """

    def __init__(self) -> None:
        t.cast(t.Any, super()).__init__()
        # botocore asks for a parser for each reply. Parsers are stateless but form a reference
        # cycle: share one.
        self._parser = Parser()

    def create_parser(self, protocol_name: str) -> t.Any:
        """Create a parser.

        :param protocol_name: botocore's name of the protocol.
        :return: A parser of botocore's interface.
        """
        if protocol_name == "json":
            return self._parser

        return t.cast(t.Any, super()).create_parser(protocol_name)


class Parser(botocore.parsers.JSONParser):
    """botocore's parser, with a shorter way for items."""

    def parse(
        self,
        response: Response,
        shape: t.Any,
        read: ReadItems | None = None,
        *,
        may_wait: bool = True,
        was_tried: bool = False,
    ) -> dict[str, t.Any]:
        """Parse a reply.

        :param response: Its ``status_code``, ``headers`` and ``body``.
        :param shape: botocore's model of the output, or of an error.
        :param read: What reads its items; ``None`` if they are left as botocore gives them.
        :param may_wait: Whether this thread may wait for others that parse replies.
        :param was_tried: Whether :meth:`read_items` has left the reply to this method.
        :return: The content; a :class:`~dynamo_ext.calls.retry.Damaged` if the reply is damaged.
        """
        if reason := _wrong_checksum(response["headers"], response["body"]):
            return Damaged(reason)

        if response["status_code"] >= 300 or shape is None:
            return self._botocore_parse(response, shape)

        if len(response["body"]) <= _LARGE or not may_wait:
            return self._parse(response, shape, read, was_tried=was_tried)

        with decode_lock.held():
            content = self._parse(response, shape, read, was_tried=was_tried)

        if isinstance(content, Damaged):
            decode_lock.release()

        return content

    def read_items(self, reply: Reply, shape: t.Any, read: ReadItems) -> dict[str, t.Any] | None:
        """Parse the reply to a call whose caller wants nothing but its content. As :meth:`parse`,
        but this thread never waits for others that parse replies.

        :param reply: A reply that is no error.
        :param shape: botocore's model of the output.
        :param read: What reads the items, or the item.
        :return: The content, without what botocore says of the reply itself; ``None`` if the reply
            is unusual in any way, or a handler of botocore's log records may want it: :meth:`parse`
            takes all.
        """
        if _wrong_checksum(reply.headers, reply.body) or _is_logged():
            return None

        content = read.parse(shape.name, reply.body)

        if content is None:
            return None

        readers = _READERS_BESIDE_ITEMS[shape.name]

        try:
            for name, value in content.items():
                if name in _UNPROCESSED and value != {}:
                    return None

                readers[name](value)
        except (AttributeError, KeyError, TypeError, ValueError):
            return None

        return content

    def loads(self, body: bytes) -> t.Any:
        """Parse JSON.

        :param body: The body of a reply.
        :return: The value.
        :raises ValueError: if the body is not valid JSON.
        """
        return json.loads(body.decode())

    def headers(self, response: Response) -> dict[str, str]:
        """The headers of a reply, by name in lower case."""
        return {name.lower(): value for name, value in response["headers"].items()}

    def _parse(
        self, response: Response, shape: t.Any, read: ReadItems | None, *, was_tried: bool
    ) -> dict[str, t.Any]:
        readers: cabc.Mapping[str, Reader] | None = _READERS.get(shape.name)

        if _is_logged():
            readers = None

        if readers is None:
            read = None

        known = None

        if read is not None and not was_tried:
            known = read.parse(shape.name, response["body"])

        if known is not None:
            return self._decode(response, shape, known, _READERS_BESIDE_ITEMS[shape.name])

        try:
            body = self.loads(response["body"])
        except ValueError:
            return Damaged("it is not valid JSON")

        if not isinstance(body, dict):
            return Damaged("it is not a JSON object")

        if readers is None:
            return self._botocore_parse(response, shape)

        reply = t.cast("dict[str, t.Any]", body)

        if read is not None:
            readers = _with(read, shape.name, readers, reply)

        return self._decode(response, shape, reply, readers)

    def _decode(
        self,
        response: Response,
        shape: t.Any,
        reply: dict[str, t.Any],
        readers: cabc.Mapping[str, Reader],
    ) -> dict[str, t.Any]:
        """What botocore makes of a reply that is parsed as JSON."""
        try:
            content, rest = _split(reply, readers)
        except (AttributeError, KeyError, TypeError, ValueError):
            return self._botocore_parse(response, shape)

        if not rest:
            content["ResponseMetadata"] = self._metadata(response)
            return content

        left = json.dumps(rest).encode()
        return {**content, **self._botocore_parse({**response, "body": left}, shape)}

    def _metadata(self, response: Response) -> dict[str, t.Any]:
        headers = self.headers(response)
        metadata = {"RequestId": headers[_REQUEST_ID]} if _REQUEST_ID in headers else {}
        return {**metadata, "HTTPStatusCode": response["status_code"], "HTTPHeaders": headers}

    def _botocore_parse(self, response: Response, shape: t.Any) -> dict[str, t.Any]:
        parsed: dict[str, t.Any] = t.cast(t.Any, super()).parse(response, shape)
        return parsed


def _is_logged() -> bool:
    """Whether botocore would show replies to handlers of log records."""
    return _botocore_logger.isEnabledFor(logging.DEBUG)


def _wrong_checksum(headers: cabc.Mapping[str, str], body: bytes) -> str | None:
    expected = headers.get(_CHECKSUM)

    if expected is None:
        return None

    actual = str(zlib.crc32(body))
    return None if actual == expected else f"{_CHECKSUM} is {expected}, and should be {actual}"


def _split(
    body: dict[str, t.Any], readers: cabc.Mapping[str, Reader]
) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """Divide a reply into what is decoded here and what botocore parses.

    :raises ValueError: or another error, if the content is unusual. botocore parses it all then.
    """
    content: dict[str, t.Any] = {}
    rest: dict[str, t.Any] = {}

    for name, value in body.items():
        if name in readers and (name not in _UNPROCESSED or value == {}):
            readers[name](value)
            content[name] = value
        else:
            rest[name] = value

    return content, rest


def _with(
    read: ReadItems, shape_name: str, readers: cabc.Mapping[str, Reader], reply: dict[str, t.Any]
) -> cabc.Mapping[str, Reader]:
    """The readers of a reply whose items the caller has read."""

    def read_items(items: t.Any) -> None:
        if not read(_checked_list(items), reply, decode):
            _decode_items(items)

    def read_items_of_tables(tables: dict[str, t.Any]) -> None:
        # The caller knows the items of one table.
        read_list = read_items if len(tables) == 1 else _decode_items

        for items in tables.values():
            read_list(items)

    if shape_name in _SHAPES_OF_PAGES:
        return {**readers, "Items": read_items}

    if shape_name == _SHAPE_OF_BATCH:
        return {**readers, "Responses": read_items_of_tables}

    return readers


def decode(typed_values: cabc.Iterable[TypedValue]) -> None:
    """Decode the binary values among these, in their places.

    :param typed_values: Values with their types, as they are in JSON.
    :raises ValueError: or another error, if one is not as DynamoDB sends it.
    """
    for typed_value in typed_values:
        [kind] = typed_value
        value = typed_value[kind]

        if value is None:
            raise ValueError(kind)

        if kind in _UNCHANGED_TYPES:
            continue

        if kind == "M":
            decode(value.values())
        elif kind == "B":
            typed_value[kind] = binascii.a2b_base64(value)
        elif kind in _LIST_TYPES:
            elements = _checked_list(value)

            if kind == "L":
                decode(elements)
            elif kind == "BS":
                typed_value[kind] = [binascii.a2b_base64(element) for element in elements]
        else:
            raise ValueError(kind)


def _decode_item(item: dict[str, TypedValue]) -> None:
    decode(item.values())


def _decode_items(items: t.Any) -> None:
    for item in _checked_list(items):
        decode(item.values())


def _decode_items_of_tables(tables: dict[str, list[dict[str, TypedValue]]]) -> None:
    for items in tables.values():
        _decode_items(items)


def _decode_responses(responses: t.Any) -> None:
    for response in _checked_list(responses):
        for name, item in response.items():
            if name != "Item":
                raise ValueError(name)

            decode(item.values())


def _checked_list(value: t.Any) -> t.Any:
    if value.__class__ is not list:
        raise TypeError(value)

    return value


def _accept(value: t.Any) -> None:
    """Take what is to be as it is."""


def _check_number(number: t.Any) -> None:
    if not isinstance(number, int):
        raise TypeError(number)


def _check_capacity(capacity: dict[str, t.Any]) -> None:
    """Accept the capacity of a table as a whole. botocore parses a more detailed one."""
    for name, value in capacity.items():
        if name not in _UNITS_OF_TABLE or type(value) not in _SCALARS:
            raise ValueError(name)


def _check_capacities(capacities: t.Any) -> None:
    for capacity in _checked_list(capacities):
        _check_capacity(capacity)


_ATTRIBUTES: dict[str, Reader] = {
    "Attributes": _decode_item,
    "ConsumedCapacity": _check_capacity,
}
_PAGE: dict[str, Reader] = {
    "ConsumedCapacity": _check_capacity,
    "Count": _check_number,
    "Items": _decode_items,
    "LastEvaluatedKey": _decode_item,
    "ScannedCount": _check_number,
}
# Of a batch, and usually empty.
_UNPROCESSED = frozenset({"UnprocessedItems", "UnprocessedKeys"})
_SHAPES_OF_PAGES = frozenset({"QueryOutput", "ScanOutput"})
_SHAPE_OF_BATCH = "BatchGetItemOutput"
_ITEMS = frozenset({"Item", "Items", "Responses"})
_READERS: dict[str, dict[str, Reader]] = {
    _SHAPE_OF_BATCH: {
        "ConsumedCapacity": _check_capacities,
        "Responses": _decode_items_of_tables,
        "UnprocessedKeys": _accept,
    },
    "BatchWriteItemOutput": {
        "ConsumedCapacity": _check_capacities,
        "UnprocessedItems": _accept,
    },
    "DeleteItemOutput": _ATTRIBUTES,
    "GetItemOutput": {"ConsumedCapacity": _check_capacity, "Item": _decode_item},
    "PutItemOutput": _ATTRIBUTES,
    "QueryOutput": _PAGE,
    "ScanOutput": _PAGE,
    "TransactGetItemsOutput": {
        "ConsumedCapacity": _check_capacities,
        "Responses": _decode_responses,
    },
    "TransactWriteItemsOutput": {"ConsumedCapacity": _check_capacities},
    "UpdateItemOutput": _ATTRIBUTES,
}


_READERS_BESIDE_ITEMS: dict[str, dict[str, Reader]] = {
    name: {**readers, **dict.fromkeys(_ITEMS.intersection(readers), _accept)}
    for name, readers in _READERS.items()
}
