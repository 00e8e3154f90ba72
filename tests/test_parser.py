"""Replies: parsed as botocore parses them, and not believed where they are damaged."""

from __future__ import annotations

import base64
import copy
import json
import logging
import typing as t
import zlib

import botocore.parsers
import botocore.session
import hypothesis
import pytest
from botocore.awsrequest import HeadersDict
from hypothesis import strategies as st

from dynamo_ext.calls.retry import Damaged
from dynamo_ext.transport import parser
from dynamo_ext.transport.direct import client as direct
from strength import examples

pytestmark = pytest.mark.once(reason="replies are parsed")

_model = botocore.session.get_session().get_service_model("dynamodb")
OPERATIONS = [
    "BatchGetItem",
    "BatchWriteItem",
    "DeleteItem",
    "DescribeTable",
    "GetItem",
    "ListTables",
    "PutItem",
    "Query",
    "Scan",
    "TransactGetItems",
    "TransactWriteItems",
    "UpdateItem",
]


def parsed(parser: t.Any, operation: str, body: bytes, status: int = 200) -> t.Any:
    """What a parser makes of a body, or the error."""
    headers = HeadersDict({"X-Amzn-RequestId": "id", "Content-Type": "application/x-amz-json-1.0"})
    response = {"status_code": status, "headers": headers, "body": body, "context": {}}
    shape = t.cast(t.Any, _model.operation_model(operation)).output_shape

    try:
        return parser.parse(response, shape)
    except Exception as error:
        return type(error), str(error)


def agree(operation: str, body: t.Any) -> None:
    content = json.dumps(body).encode()
    expected = parsed(botocore.parsers.JSONParser(), operation, content)
    assert parsed(parser.Parser(), operation, content) == expected


texts = st.text(max_size=5)
encoded = st.one_of(
    st.binary(max_size=5).map(lambda value: base64.b64encode(value).decode()),
    st.sampled_from(["no base64", "YQ", "YQ=="]),
)
scalars = st.one_of(
    st.fixed_dictionaries({"S": texts}),
    st.fixed_dictionaries({"N": st.integers().map(str)}),
    st.fixed_dictionaries({"B": encoded}),
    st.fixed_dictionaries({"BS": st.lists(encoded, max_size=3)}),
    st.fixed_dictionaries({"SS": st.lists(texts, max_size=3)}),
    st.fixed_dictionaries({"NS": st.lists(texts, max_size=3)}),
    st.fixed_dictionaries({"BOOL": st.booleans()}),
    st.fixed_dictionaries({"NULL": st.just(True)}),
)
unusual: st.SearchStrategy[t.Any] = st.sampled_from(
    [
        {"SS": {}},
        {"NS": {}},
        {"BS": {}},
        {"L": {}},
        {"M": []},
        {},
        {"S": None},
        {"B": None},
        {"X": "new"},
        {"S": "a", "N": "1"},
        {"B": 5},
        None,
        "text",
        1,
    ]
)


def containers(values: st.SearchStrategy[t.Any]) -> st.SearchStrategy[t.Any]:
    return st.one_of(
        st.fixed_dictionaries({"L": st.lists(values, max_size=3)}),
        st.fixed_dictionaries({"M": st.dictionaries(names, values, max_size=3)}),
    )


names = st.one_of(texts, st.sampled_from(["B", "BS", "M", "Item"]))
values = st.recursive(scalars, containers, max_leaves=6)
strange_values = st.recursive(st.one_of(scalars, unusual), containers, max_leaves=6)
units = st.one_of(st.floats(0, 9), st.integers(0, 9), st.none(), texts)
capacity = st.fixed_dictionaries(
    {"TableName": texts, "CapacityUnits": units},
    optional={
        "Table": st.just({"CapacityUnits": 1.0, "New": 1}),
        "ReadCapacityUnits": units,
        "New": units,
    },
)


def bodies(values: st.SearchStrategy[t.Any]) -> st.SearchStrategy[t.Any]:
    items = st.dictionaries(names, values, max_size=3)
    lists = st.lists(items, max_size=3)
    responses = st.one_of(
        st.dictionaries(texts, lists, max_size=2),
        st.lists(st.fixed_dictionaries({}, optional={"Item": items, "New": items}), max_size=3),
    )
    return st.fixed_dictionaries(
        {},
        optional={
            "Attributes": items,
            "ConsumedCapacity": st.one_of(capacity, st.lists(capacity, max_size=2), st.none()),
            "Count": st.one_of(st.integers(0, 9), st.none()),
            "Item": st.one_of(items, items, st.none()),
            "Items": st.one_of(lists, lists, st.none(), st.just({})),
            "ItemCollectionMetrics": st.just({"ItemCollectionKey": {"a": {"B": "YQ=="}}}),
            "LastEvaluatedKey": st.one_of(items, items, st.none(), st.just([])),
            "New": values,
            "Responses": responses,
            "ScannedCount": st.integers(0, 9),
            "UnprocessedItems": st.one_of(
                st.just({}), st.just({"t": [{"PutRequest": {"Item": {"a": {"B": "YQ=="}}}}]})
            ),
            "UnprocessedKeys": st.one_of(
                st.just({}), st.just({"t": {"Keys": [{"a": {"B": "YQ=="}}]}})
            ),
        },
    )


differential = hypothesis.settings(
    max_examples=examples(100),
)


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS)
@differential
@hypothesis.given(body=st.one_of(bodies(values), bodies(strange_values)))
def test_a_reply_means_what_botocore_says(operation: str, body: t.Any) -> None:
    agree(operation, body)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_reply_means_the_same_while_botocore_logs_it(
    operation: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "botocore.parsers"):
        agree(operation, {"Item": {"a": {"B": "YQ=="}}, "Count": 1})

    assert '"YQ=="' in caplog.text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"Item": {"a": {"S": "cut',
        b"<html>a proxy's page</html>",
        b"\xff\xfe",
        b"[]",
        b'"text"',
        b"null",
    ],
)
@pytest.mark.parametrize("operation", ["GetItem", "DescribeTable"])
def test_what_is_no_json_object_is_damaged(operation: str, body: bytes) -> None:
    content = parsed(parser.Parser(), operation, body)
    assert isinstance(content, Damaged)
    assert content == {}
    assert content.reason in {"it is not valid JSON", "it is not a JSON object"}


def test_an_operation_that_has_no_reply_may_send_nothing() -> None:
    content = parsed(parser.Parser(), "TagResource", b"")
    assert content == parsed(botocore.parsers.JSONParser(), "TagResource", b"")
    assert not isinstance(content, Damaged)


@pytest.mark.parametrize("status", [200, 400])
def test_a_checksum_that_is_wrong_means_damage(status: int) -> None:
    body = b'{"Item": {}}'
    shape = t.cast(t.Any, _model.operation_model("GetItem")).output_shape
    right = str(zlib.crc32(body))

    def parse(checksum: str) -> t.Any:
        headers = HeadersDict({"X-Amz-Crc32": checksum})
        response = {"status_code": status, "headers": headers, "body": body, "context": {}}
        return parser.Parser().parse(response, shape)

    assert not isinstance(parse(right), Damaged)
    damaged = parse("1")
    assert isinstance(damaged, Damaged)
    assert damaged.reason == f"x-amz-crc32 is 1, and should be {right}"


def test_an_error_means_what_botocore_says() -> None:
    body = b'{"__type": "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException"}'
    expected = parsed(botocore.parsers.JSONParser(), "GetItem", body, 400)
    assert parsed(parser.Parser(), "GetItem", body, 400) == expected
    assert expected["Error"]["Code"] == "ResourceNotFoundException"


def test_a_parser_is_made_once() -> None:
    # Botocore wants one for each reply, and each refers to itself: work for the garbage collector.
    factory = parser.ParserFactory()
    assert factory.create_parser("json") is factory.create_parser("json")


def test_other_protocols_are_left_to_botocore() -> None:
    query_parser = parser.ParserFactory().create_parser("query")
    assert type(query_parser) is botocore.parsers.QueryParser


def test_the_response_is_not_changed() -> None:
    response = {
        "status_code": 200,
        "headers": HeadersDict(),
        "body": b'{"Count": 1}',
        "context": {},
    }
    before = copy.deepcopy(response)
    parser.Parser().parse(response, t.cast(t.Any, _model.operation_model("Query")).output_shape)
    assert response == before


@pytest.mark.parametrize(
    "text",
    [
        *('"\\ud800"', "[NaN]", "1e400", "Infinity", "18446744073709551616", '"\\ud83d\\ude00"'),
        *('{"a": 1, "a": 2}', "-0", "1E5", '{"\\ud800": 1}', f"{'[' * 500}{']' * 500}"),
        *("01", '"\t"', "\ufeff1", "1 2", "{", "", "[1,]", "nul", "'a'", '"\\x"', "\x00"),
    ],
)
def test_the_direct_transport_reads_what_python_s_json_reads(text: str) -> None:
    read = direct.DirectTransport.make_parser(t.cast(t.Any, None)).loads

    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(json.JSONDecodeError):
            read(text.encode())
    else:
        assert repr(read(text.encode())) == repr(expected)


def test_the_direct_transport_refuses_what_is_no_text() -> None:
    with pytest.raises(UnicodeDecodeError):
        direct.DirectTransport.make_parser(t.cast(t.Any, None)).loads(b'"\xff"')
