"""Requests that are made from a template are those that botocore would make."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import decimal
import enum
import json
import typing as t
import uuid

import botocore
import botocore.awsrequest
import botocore.config
import botocore.session
import hypothesis
import pytest
from botocore.auth import SigV4Auth
from botocore.credentials import Credentials
from botocore.credentials import ReadOnlyCredentials
from hypothesis import strategies as st

from dynamo_ext.transport import template
from dynamo_ext.transport.direct import bodies
from strength import examples

pytestmark = pytest.mark.once(reason="requests are built")

Outcome = bytes | tuple[type[Exception], str]


def new_client(url: str | None = None, token: str | None = None, **config: t.Any) -> t.Any:
    session = botocore.session.get_session()
    session.set_credentials("AKIDOFTHETESTS", "secret", token)
    settings = botocore.config.Config(parameter_validation=False, **config)
    return session.create_client("dynamodb", "eu-west-3", endpoint_url=url, config=settings)


CLIENT = new_client()

names = st.one_of(
    st.text(max_size=4), st.sampled_from(["B", "BS", "null", 'a"B"', "%s", "TableName", "M"])
)
texts = st.one_of(st.text(max_size=5), st.sampled_from(["null", '"B"', "\ud800", "é\U0001f600"]))
binary: st.SearchStrategy[t.Any] = st.one_of(
    st.binary(max_size=5), st.binary(max_size=5).map(bytearray)
)
scalars: st.SearchStrategy[dict[str, t.Any]] = st.one_of(
    st.fixed_dictionaries({"S": texts}),
    st.fixed_dictionaries({"N": st.decimals(allow_nan=False, places=3).map(str)}),
    st.fixed_dictionaries({"B": binary}),
    st.fixed_dictionaries({"SS": st.lists(texts, max_size=2)}),
    st.fixed_dictionaries({"NS": st.lists(st.integers().map(str), max_size=2)}),
    st.fixed_dictionaries({"BS": st.lists(binary, max_size=2)}),
    st.fixed_dictionaries({"BOOL": st.booleans()}),
    st.fixed_dictionaries({"NULL": st.just(True)}),
)
values = st.recursive(
    scalars,
    lambda values: st.one_of(
        st.fixed_dictionaries({"L": st.lists(values, max_size=2)}),
        st.fixed_dictionaries({"M": st.dictionaries(names, values, max_size=2)}),
    ),
    max_leaves=5,
)
items = st.dictionaries(names, values, max_size=3)
expressions = {
    "ConditionExpression": texts,
    "ExpressionAttributeNames": st.dictionaries(texts, texts, max_size=2),
    "ExpressionAttributeValues": items,
}
of_an_item = {**expressions, "ReturnConsumedCapacity": texts, "ReturnValues": texts}
of_a_page = {
    **expressions,
    "ConsistentRead": st.booleans(),
    "ExclusiveStartKey": items,
    "Limit": st.integers(1, 9),
}


def params(
    required: dict[str, st.SearchStrategy[t.Any]], optional: dict[str, st.SearchStrategy[t.Any]]
) -> st.SearchStrategy[t.Any]:
    optional = {name: st.one_of(value, st.none()) for name, value in optional.items()}
    return st.fixed_dictionaries(required, optional=optional)


def on_a_table(**required: st.SearchStrategy[t.Any]) -> dict[str, st.SearchStrategy[t.Any]]:
    return {"TableName": texts, **required}


one_get = params(on_a_table(Key=items), {"ExpressionAttributeNames": st.none()})
one_write = st.one_of(
    st.fixed_dictionaries({"Put": params(on_a_table(Item=items), expressions)}),
    st.fixed_dictionaries({"Delete": params(on_a_table(Key=items), expressions)}),
    st.fixed_dictionaries({"Update": params(on_a_table(Key=items), expressions)}),
    st.fixed_dictionaries({"ConditionCheck": params(on_a_table(Key=items), expressions)}),
)
PARAMS: dict[str, st.SearchStrategy[t.Any]] = {
    "BatchGetItem": params(
        {
            "RequestItems": st.dictionaries(
                texts,
                params({"Keys": st.lists(items, max_size=2)}, {"ConsistentRead": st.booleans()}),
                max_size=2,
            )
        },
        {"ReturnConsumedCapacity": texts},
    ),
    "BatchWriteItem": params(
        {
            "RequestItems": st.dictionaries(
                texts,
                st.lists(
                    st.one_of(
                        st.fixed_dictionaries({"PutRequest": params({"Item": items}, {})}),
                        st.fixed_dictionaries({"DeleteRequest": params({"Key": items}, {})}),
                    ),
                    max_size=2,
                ),
                max_size=2,
            )
        },
        {"ReturnItemCollectionMetrics": texts},
    ),
    "DeleteItem": params(on_a_table(Key=items), of_an_item),
    "GetItem": params(on_a_table(Key=items), {"ConsistentRead": st.booleans(), **of_an_item}),
    "PutItem": params(on_a_table(Item=items), of_an_item),
    "Query": params(on_a_table(), of_a_page),
    "Scan": params(on_a_table(), of_a_page),
    "TransactGetItems": params(
        {"TransactItems": st.lists(st.fixed_dictionaries({"Get": one_get}), max_size=2)},
        {"ReturnConsumedCapacity": texts},
    ),
    "TransactWriteItems": params(
        {"TransactItems": st.lists(one_write, max_size=2), "ClientRequestToken": texts},
        {"ReturnConsumedCapacity": texts},
    ),
    "UpdateItem": params(on_a_table(Key=items), {"UpdateExpression": texts, **of_an_item}),
}


def made_here(operation: str, params: t.Any, encode: template.Encode | None = None) -> Outcome:
    try:
        return template.Operation(CLIENT, operation, encode).body(copy.deepcopy(params))
    except Exception as error:
        return type(error), str(error)


def made_by_botocore(operation: str, params: t.Any) -> Outcome:
    model = CLIENT.meta.service_model.operation_model(operation)

    try:
        request = CLIENT._serializer.serialize_to_request(copy.deepcopy(params), model)
        return t.cast(bytes, request["body"])
    except Exception as error:
        return type(error), str(error)


def content(outcome: Outcome) -> t.Any:
    """What a body says, with the order of its names; or an error as it is."""
    if isinstance(outcome, bytes):
        return json.loads(outcome, object_pairs_hook=tuple)

    return outcome


def agree(operation: str, params: t.Any) -> None:
    """Python's ``json`` makes botocore's bytes; msgspec writes the same with fewer of them."""
    expected = made_by_botocore(operation, params)
    assert made_here(operation, params) == expected
    assert content(made_here(operation, params, bodies.encode)) == content(expected)


@pytest.mark.parametrize("operation", PARAMS)
@hypothesis.given(data=st.data())
@hypothesis.settings(max_examples=examples(60))
def test_a_body_is_botocore_s(operation: str, data: st.DataObject) -> None:
    agree(operation, data.draw(PARAMS[operation]))


def agree_with_json(operation: str, params: t.Any) -> None:
    """Whatever the parameters are, the two transports send the same."""
    assert content(made_here(operation, params, bodies.encode)) == content(
        made_here(operation, params)
    )


class Text(str):
    """Is written as text by Python's json, and may be anything to others."""


class Colour(enum.Enum):
    RED = "red"


class Shade(enum.StrEnum):
    DARK = "dark"


@dataclasses.dataclass
class Point:
    x: int


ODD: list[t.Any] = [
    *(Text("a"), Colour.RED, Shade.DARK, Point(1), datetime.datetime(2025, 1, 2)),
    *(datetime.date(2025, 1, 2), datetime.time(1), uuid.UUID(int=1), decimal.Decimal(1)),
    *(None, 1, 1e16, 2**70, True, b"a", bytearray(b"a"), memoryview(b"a"), "\ud800", "null"),
    *((), ("a",), ["a"], [b"a"], [Text("a")], [Colour.RED], [1], {"a"}, {}, {"S": "a"}),
    *({1: {"S": "a"}}, {"a": {}}, {"a": {"S": "a", "N": "1"}}, {"a": None}, {"a": ["S"]}),
    *({key: {"S": "a"}} for key in (1.5, True, None, b"a", Colour.RED, Shade.DARK, ("a",))),
    *({key: {"S": "a"}} for key in (uuid.UUID(int=1), datetime.date(2025, 1, 2))),
    *({key: "a"} for key in (1, b"a", Colour.RED, uuid.UUID(int=1))),
    *(["S"], [{"S": Shade.DARK}], {Text("a"): {"S": "a"}}, {"a": {Text("S"): "a"}}),
    *({"a": {"M": {"b": {"L": [{"S": uuid.UUID(int=1)}]}}}},),
]
IDS = [f"{number}-{type(odd).__name__}" for number, odd in enumerate(ODD)]


def with_keys(*keys: t.Any) -> dict[str, t.Any]:
    return {"RequestItems": {"t": {"Keys": [*keys]}}}


KINDS = ("S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS", "X")


@pytest.mark.parametrize("odd", ODD, ids=IDS)
def test_a_value_that_only_some_encoders_know_is_sent_as_by_json(odd: t.Any) -> None:
    for kind in KINDS:
        agree_with_json("PutItem", {"TableName": "t", "Item": {"id": {kind: odd}}})
        agree_with_json("PutItem", {"TableName": "t", "Item": {"id": {"M": {"a": {kind: odd}}}}})
        agree_with_json("BatchGetItem", with_keys({"id": {kind: odd}}))

    for name in ("TableName", "Item", "ReturnValues", "ExpressionAttributeNames"):
        agree_with_json("PutItem", {"TableName": "t", "Item": {}, name: odd})

    for name in ("Keys", "ConsistentRead"):
        agree_with_json("BatchGetItem", {"RequestItems": {"t": {"Keys": [], name: odd}}})

    for key in (odd, {"id": odd}):
        agree_with_json("BatchGetItem", with_keys({"id": {"S": "a"}}, key))

    agree_with_json("PutItem", {"TableName": "t", "ExpressionAttributeNames": {"#0": odd}})
    agree_with_json("BatchGetItem", {"RequestItems": odd})
    agree_with_json("BatchWriteItem", {"RequestItems": {"t": [{"PutRequest": {"Item": odd}}]}})
    agree_with_json("BatchWriteItem", {"RequestItems": {"t": [{"PutRequest": odd}]}})
    agree_with_json("TransactGetItems", {"TransactItems": odd})


def test_a_value_of_too_many_levels_is_sent_as_by_json() -> None:
    value: t.Any = {"S": "a"}

    for _ in range(300):
        value = {"M": {"a": value}}

    agree_with_json("PutItem", {"TableName": "t", "Item": {"id": value}})


def test_what_is_ordinary_is_encoded_without_python_s_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template, "as_json", None)
    item = {
        "s": {"S": 'é"null'},
        "n": {"N": "1"},
        "b": {"B": b"\x00\xff"},
        "t": {"BOOL": True},
        "ss": {"SS": ["a"]},
        "ns": {"NS": ["1"]},
        "bs": {"BS": [b"a", b""]},
        "l": {"L": [{"NULL": True}, {"M": {"a": {"S": "a"}}}]},
        "m": {"M": {}},
    }
    key = {"id": {"S": "a"}}
    expression = {
        "ConditionExpression": "#0 = :0",
        "ExpressionAttributeNames": {"#0": "id"},
        "ExpressionAttributeValues": {":0": {"S": "a"}},
    }
    of_a_table = {"TableName": "t", **expression}
    ordinary: dict[str, t.Any] = {
        "BatchGetItem": {"RequestItems": {"t": {"Keys": [key, key], "ConsistentRead": True}}},
        "BatchWriteItem": {
            "RequestItems": {"t": [{"PutRequest": {"Item": item}}, {"DeleteRequest": {"Key": key}}]}
        },
        "PutItem": {"Item": item, **of_a_table},
        "Query": {"ExclusiveStartKey": key, "Limit": 2, **of_a_table},
        "TransactGetItems": {"TransactItems": [{"Get": {"Key": key, "TableName": "t"}}]},
        "TransactWriteItems": {
            "TransactItems": [
                {"Put": {"Item": item, **of_a_table}},
                {"Update": {"Key": key, "UpdateExpression": "SET #0 = :0", **of_a_table}},
                {"Delete": {"Key": key, **of_a_table}},
                {"ConditionCheck": {"Key": key, **of_a_table}},
            ],
            "ClientRequestToken": "token",
        },
    }

    for operation, params in ordinary.items():
        body = made_here(operation, params, bodies.encode)
        assert content(body) == content(made_by_botocore(operation, params))


@pytest.mark.parametrize(
    "params",
    [
        {"TableName": "t", "Key": {"id": {"B": b"\x00\xff"}}},
        {"TableName": "t", "Key": {"B": {"M": {"BS": {"L": [{"BS": [b"a", b"b"]}]}}}}},
        {"TableName": "t", "Key": {"id": {"B": "text"}}},
        {"TableName": "t", "Key": {"id": {"B": "text"}, "other": {"S": b"bytes"}}},
        {"TableName": "t", "Key": {"id": {"B": "é"}}},
        {"TableName": "t", "Key": {"id": {"B": 'a"'}, "other": {"B": b"bytes"}}},
        {"TableName": "t", "Key": {"id": {"B": 5}}},
        {"TableName": "t", "Key": {"id": {"B": 5}, "other": {"B": b"bytes"}}},
        {"TableName": "t", "Key": {"id": {"B": [1]}, "other": {"B": True}}},
        {"TableName": "t", "Key": {"id": {"B": {"a": 1}}}},
        {"TableName": "t", "Key": {"id": {"B": {"S": "a"}}}},
        {"TableName": "t", "Key": {"B": {"S": "a"}, "id": {"M": {"B": {"N": "1"}}}}},
        pytest.param(
            {"TableName": "t", "Key": {"id": {"B": bytearray(b"a")}, "B": {"B": memoryview(b"b")}}},
            id="a memoryview",
        ),
        {"TableName": "t", "Key": {"id": {"S": '"B": "YQ=="'}, "other": {"B": b"a"}}},
        {"TableName": "t", "Key": {"id": {"S": b"a"}}},
        {"TableName": "t", "Key": {"id": {}, "other": {"S": "a", "N": "1"}}},
        {"TableName": "t", "Key": {"id": {"S": "a", "B": "text"}}},
        {"TableName": "t", "Key": {"id": {"L": [{"BOOL": True, "B": b"a"}, {}]}}},
        {"TableName": "t", "Key": {"id": {"N": "1"}}, "ConsistentRead": None},
        {"TableName": "t", "Key": {"null": {"S": "null"}}},
        {"TableName": "t", "Key": None},
        {"TableName": "t", "Key": {}, "NoParameter": 1},
        pytest.param({"TableName": "t", "Key": {"id": {"S": object()}}}, id="an object"),
        {"TableName": "t", "Key": {"id": {"S": float("nan")}}},
        {},
    ],
    ids=str,
)
def test_a_body_that_is_out_of_the_ordinary_is_botocore_s(params: t.Any) -> None:
    agree("GetItem", params)


def test_other_operations_have_bodies_too() -> None:
    params = {"TableName": "B", "PointInTimeRecoverySpecification": {"RecoveryPeriodInDays": 3}}
    body = made_here("UpdateContinuousBackups", params)
    assert body == made_by_botocore("UpdateContinuousBackups", params)


def test_each_write_of_a_transaction_gets_a_token_of_its_own() -> None:
    operation = template.Operation(CLIENT, "TransactWriteItems")
    params: dict[str, t.Any] = {"TransactItems": []}
    bodies = [json.loads(operation.body(params)) for _ in range(2)]
    assert [list(body) for body in bodies] == [["TransactItems", "ClientRequestToken"]] * 2
    tokens = {uuid.UUID(body["ClientRequestToken"]).version for body in bodies}
    assert tokens == {4}
    assert bodies[0] != bodies[1]
    assert params == {"TransactItems": []}


PARAMS_OF_GET = {"TableName": "t", "Key": {"id": {"S": "a"}}}
NO_HEADERS: dict[str, str] = {}


def learn(client: t.Any, extra_headers: dict[str, str] = NO_HEADERS) -> template.Template | None:
    operation = template.Operation(client, "GetItem")
    request = template.build_request(client, operation, PARAMS_OF_GET)
    return template.make_template(operation, request, frozen(client), extra_headers)


def frozen(client: t.Any) -> ReadOnlyCredentials:
    credentials: Credentials | None = client._request_signer._credentials
    # A client that signs nothing has none.
    return (credentials or Credentials("key", "secret")).get_frozen_credentials()


def filled(client: t.Any, made: template.Template, time: str) -> template.Request:
    return made.fill(
        frozen(client),
        time=time,
        invocation="0",
        attempt="attempt=1",
        body=b"{}",
    )


def digest_by_botocore(client: t.Any, request: template.Request, time: str) -> str:
    signer: t.Any = SigV4Auth(frozen(client), "dynamodb", "eu-west-3")
    signed = request.headers["Authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    assert {"content-type", "host", "x-amz-date", "x-amz-target"} <= {*signed.split(";")}
    headers = {
        name: value for name, value in request.headers.items() if name.lower() in signed.split(";")
    }
    again: t.Any = botocore.awsrequest.AWSRequest(
        "POST", request.template.url, headers, request.body
    )
    again.context["timestamp"] = time
    to_sign = signer.string_to_sign(again, signer.canonical_request(again))
    return t.cast(str, signer.signature(to_sign, again))


URLS = {
    "of AWS": (None, "dynamodb.eu-west-3.amazonaws.com"),
    "port": ("http://127.0.0.1:8000", "127.0.0.1:8000"),
    "path": ("http://127.0.0.1:8000/a/b-1", "127.0.0.1:8000"),
    "usual port of http": ("http://db.example:80", "db.example"),
    "usual port of https": ("https://db.example:443", "db.example"),
    "port of the other scheme": ("https://db.example:80", "db.example:80"),
    "IPv6": ("http://[::1]:8000", "[::1]:8000"),
    "IPv6 without a port": ("https://[2001:db8::1]", "[2001:db8::1]"),
    "capitals": ("http://DB.Example:8000", "db.example:8000"),
}


@pytest.mark.parametrize("token", [None, "a-token/of+its=own%s"], ids=["keys", "token"])
@pytest.mark.parametrize("url", URLS)
def test_requests_of_two_days_are_signed_as_botocore_would(url: str, token: str | None) -> None:
    client = new_client(URLS[url][0], token)
    made = learn(client)
    assert made is not None

    for time in ("20240229T235959Z", "20240301T000000Z", "20240229T235959Z"):
        request = filled(client, made, time)
        digest = digest_by_botocore(client, request, time)
        assert request.headers["Authorization"].endswith(f"Signature={digest}")
        assert request.headers["X-Amz-Date"] == time
        assert request.headers.get("X-Amz-Security-Token") == token


@pytest.mark.parametrize("url", URLS)
def test_the_host_is_named_as_http_wants_it(url: str) -> None:
    client = new_client(URLS[url][0])
    made = learn(client)
    assert made is not None
    head = filled(client, made, "20240229T235959Z").to_bytes().decode().split("\r\n")
    assert head[1] == f"Host: {URLS[url][1]}"


# These paths are worded in another way where they are signed, or sent.
@pytest.mark.parametrize("path", ["/a%20b", "/a//b", "/a/../b", "/a+b"])
def test_a_path_that_is_not_signed_as_it_is_makes_no_template(path: str) -> None:
    assert learn(new_client(f"http://127.0.0.1:8000{path}")) is None


def test_what_is_not_signed_makes_no_template() -> None:
    assert learn(new_client(signature_version=botocore.UNSIGNED)) is None


def test_a_body_that_would_be_sent_in_chunks_makes_no_template() -> None:
    assert learn(new_client(), {"transfer-Encoding": "chunked"}) is None


def test_extra_headers_take_the_place_of_others_as_in_botocore() -> None:
    client = new_client()
    extra = {"user-agent": "mine", "HOST": "h", "x-amz-date": "%d", "X-%s": "100 %(x)s"}
    made = learn(client, extra)
    assert made is not None
    head = filled(client, made, "20240229T235959Z").to_bytes().decode().split("\r\n")
    names = [line.partition(":")[0].lower() for line in head[1:-2]]
    assert len(names) == len(set(names))
    assert {"User-Agent: mine", "HOST: h", "X-Amz-Date: %d", "X-%s: 100 %(x)s"} <= set(head)


def test_what_is_kept_for_a_second_belongs_to_its_secret() -> None:
    client = new_client()
    made = learn(client)
    assert made is not None
    signatures = [
        made.fill(
            ReadOnlyCredentials("key", secret, None),
            time="20240229T235959Z",
            invocation="0",
            attempt="attempt=1",
            body=body,
        ).headers["Authorization"]
        for secret in ("one", "other", "one")
        for body in (b"{}", b"{ }")
    ]
    assert len({*signatures}) == 4
    assert signatures[:2] == signatures[4:]


def test_no_repr_shows_a_secret() -> None:
    client = new_client(token="sentinel-of-the-token")
    made = learn(client, {"X-Proxy": "sentinel-of-the-header"})
    assert made is not None
    shown = f"{made!r} {filled(client, made, '20240229T235959Z')!r} {made.operation!r}"
    assert "sentinel" not in shown
