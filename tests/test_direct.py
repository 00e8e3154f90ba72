"""``DYNAMODB_TRANSPORT = "direct"``: what goes over the wire and comes back, past botocore."""

from __future__ import annotations

import collections.abc as cabc
import concurrent.futures
import contextlib
import datetime
import json
import logging
import os
import re
import socket
import ssl
import sys
import threading
import types
import typing as t

import botocore
import botocore.exceptions
import flask
import pytest
from botocore.credentials import RefreshableCredentials
from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import GetError

import engines
import stub as stubs
import threads
from authority import Authority
from conftest import InApp
from conftest import RunPython
from dynamo_ext import CallTimeout
from dynamo_ext import Model
from dynamo_ext import PynamoDB
from stub import Answer
from stub import Request
from stub import Stub

pytestmark = pytest.mark.once(reason="each test names its transport")

DIRECT = {"DYNAMODB_TRANSPORT": "direct"}
ONCE = {"DYNAMODB_MAX_RETRY_ATTEMPTS": 0}
NO_BACKOFF = {"DYNAMODB_BASE_BACKOFF_MS": 0}


class Item(Model):
    class Meta:
        table_name = "item"

    id = UnicodeAttribute(hash_key=True)


def get(client: t.Any, key: str) -> str:
    """The key of the item that comes back."""
    reply = client.get_item(TableName="item", Key={"id": {"S": key}})
    return t.cast(str, reply["Item"]["id"]["S"])


@pytest.fixture
def settings(stub_config: dict[str, t.Any]) -> dict[str, t.Any]:
    return {**stub_config, **DIRECT, **ONCE}


@pytest.fixture
def client(in_app: InApp, settings: dict[str, t.Any]) -> cabc.Iterator[t.Any]:
    """A client with an open connection, on which the next call is made."""
    with in_app(settings) as db:
        client = db.connection.client
        assert get(client, "first") == "first"
        yield client


class LeftToBotocore(logging.Handler):
    """Notes the operations that botocore sends itself.

    It can't be a handler of the client's events: with one, botocore sends every call.
    """

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lists: list[list[str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if str(record.msg).startswith("Making request for"):
            for operations in self.lists:
                operations.append(t.cast(t.Any, record.args)[0].name)


_noted = LeftToBotocore()


@pytest.fixture(autouse=True)
def notes_what_is_left_to_botocore() -> cabc.Iterator[None]:
    logger = logging.getLogger("botocore.endpoint")
    logger.addHandler(_noted)
    logger.setLevel(logging.DEBUG)
    yield
    logger.setLevel(logging.NOTSET)
    logger.removeHandler(_noted)
    _noted.lists.clear()


def left_to_botocore(client: t.Any) -> list[str]:
    """The operations that botocore will send itself, of this client or another one."""
    assert client
    operations: list[str] = []
    _noted.lists.append(operations)
    return operations


# --- requests


# The transport direct writes the same JSON with fewer bytes.
VARIES = {"authorization", "content-length", "x-amz-date", "amz-sdk-invocation-id"}
UUID = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
REQUESTS: dict[str, dict[str, t.Any]] = {
    "keys": {},
    "session token": {"DYNAMODB_AWS_SESSION_TOKEN": "a-token/of+its=own"},
    "extra headers": {
        "DYNAMODB_EXTRA_HEADERS": {
            "X-Proxy": "100 %",
            "X-%s": "%(x)s",
            "user-agent": "mine",
            "Accept-Encoding": "gzip",
        }
    },
    "another host": {"DYNAMODB_EXTRA_HEADERS": {"host": "db.example"}},
}


def fixed_headers(request: Request) -> list[tuple[str, str]]:
    """Those that don't differ from one request to the next."""
    return [
        (name, re.sub("ttl=[0-9TZ]+", "ttl", value))
        for name, value in request.headers
        if name.lower() not in VARIES
    ]


def sent(in_app: InApp, stub: Stub, settings: dict[str, t.Any], transport: str) -> list[Request]:
    """Two calls, of which the second one finds a connection."""
    with in_app({**settings, "DYNAMODB_TRANSPORT": transport}) as db:
        left = left_to_botocore(db.connection.client)
        stub.forget()
        stub.next("GetItem", stubs.INTERNAL_ERROR)
        get(db.connection.client, "a")
        get(db.connection.client, "a")
        assert left == ([] if transport == "direct" else ["GetItem"] * 2)

    return list(stub.requests)


@pytest.mark.parametrize("path", ["", "/a/b"])
@pytest.mark.parametrize("more", REQUESTS)
def test_requests_are_those_that_botocore_sends(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any], more: str, path: str
) -> None:
    settings = {**stub_config, **NO_BACKOFF, **REQUESTS[more], "DYNAMODB_HOST": stub.url + path}
    by_botocore = sent(in_app, stub, settings, "botocore")
    direct = sent(in_app, stub, settings, "direct")

    for one, other in zip(by_botocore, direct, strict=True):
        assert fixed_headers(one) == fixed_headers(other)
        assert [name for name, _ in one.headers] == [name for name, _ in other.headers]
        assert (one.method, one.path, one.body) == (other.method, other.path, other.body)
        assert int(other.header("content-length") or 0) == len(other.content) <= len(one.content)
        assert one.signature.signed_headers == other.signature.signed_headers
        assert re.fullmatch(UUID, other.header("amz-sdk-invocation-id") or "")

    attempts = [request.header("amz-sdk-invocation-id") for request in direct]
    assert attempts[0] == attempts[1] != attempts[2]


def test_a_host_may_have_an_address_of_ipv6(in_app: InApp) -> None:
    with Stub("::1") as stub:
        settings = {**engines.config(stub.url), **NO_BACKOFF}
        by_botocore = sent(in_app, stub, settings, "botocore")
        direct = sent(in_app, stub, settings, "direct")
        assert list(map(fixed_headers, direct)) == list(map(fixed_headers, by_botocore))


@pytest.mark.parametrize("more", [{}, {"X-AMZN-Trace-Id": "mine"}], ids=["", "of the app"])
def test_requests_in_lambda_are_those_that_botocore_sends(
    in_app: InApp,
    stub: Stub,
    stub_config: dict[str, t.Any],
    monkeypatch: pytest.MonkeyPatch,
    more: dict[str, str],
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "function")
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1 é")
    settings = {**stub_config, **NO_BACKOFF, "DYNAMODB_EXTRA_HEADERS": more}
    by_botocore = sent(in_app, stub, settings, "botocore")
    direct = sent(in_app, stub, settings, "direct")

    for one, other in zip(by_botocore, direct, strict=True):
        # The header's place, and the case of its name, are of no account.
        headers = sorted((name.lower(), value) for name, value in fixed_headers(one))
        assert headers == sorted((name.lower(), value) for name, value in fixed_headers(other))
        assert one.header("X-Amzn-Trace-Id")


@pytest.mark.parametrize(
    ("operation", "params"),
    [
        ("GetItem", {"TableName": "arn:aws:dynamodb:us-east-1:1:table/t", "Key": {}}),
        ("BatchGetItem", {"RequestItems": {"arn:aws:dynamodb:us-east-1:1:table/t": {"Keys": []}}}),
        (
            "TransactGetItems",
            {"TransactItems": [{"Get": {"TableName": "arn:aws:dynamodb:x:1:table/t", "Key": {}}}]},
        ),
        ("ListTagsOfResource", {"ResourceArn": "arn:aws:dynamodb:us-east-1:1:table/t"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_named_by_an_arn_is_left_to_botocore(
    client: t.Any, stub: Stub, operation: str, params: dict[str, t.Any]
) -> None:
    left = left_to_botocore(client)
    client._make_api_call(operation, params)
    assert left == [operation]
    assert stub.requests[-1].body == params


def test_requests_that_are_not_signed_are_left_to_botocore(
    in_app: InApp, stub: Stub, settings: dict[str, t.Any]
) -> None:
    with in_app(settings) as db:
        client = db.connection.client
        client.meta.events.register("choose-signer.dynamodb", lambda **event: botocore.UNSIGNED)
        left = left_to_botocore(client)
        assert [get(client, "a"), get(client, "b")] == ["a", "b"]

    assert left == ["GetItem"] * 2
    assert stub.requests[-1].header("Authorization") is None


def test_without_credentials_botocore_says_so(in_app: InApp, stub: Stub) -> None:
    with in_app({"DYNAMODB_HOST": stub.url, **DIRECT}) as db:
        for _ in range(2):
            with pytest.raises(botocore.exceptions.NoCredentialsError):
                get(db.connection.client, "a")

    assert stub.requests == []


@pytest.mark.parametrize("number", [0, 1])
def test_a_parameter_that_there_is_not_is_botocore_s_error(
    in_app: InApp, stub: Stub, settings: dict[str, t.Any], number: int
) -> None:
    """Whether or not the operation is known already."""
    raised: dict[str, str] = {}

    for transport in ("botocore", "direct"):
        with in_app(settings, DYNAMODB_TRANSPORT=transport) as db:
            client = db.connection.client

            for key in ("a", "b")[:number]:
                get(client, key)

            with pytest.raises(Exception) as error:  # noqa: PT011 - whatever it is
                client._make_api_call("GetItem", {"TableName": "item", "NoParameter": 1})

            raised[transport] = repr(error.value)

    assert raised["botocore"] == raised["direct"]


# --- replies


CANCELED = Answer(
    status=400,
    body={
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": "Transaction cancelled",
        "CancellationReasons": [
            {"Code": "None"},
            {
                "Code": "ConditionalCheckFailed",
                "Message": "no",
                "Item": {"id": {"S": "a"}, "photo": {"B": "AP8="}},
            },
        ],
    },
)
CONDITION_FAILED = Answer(
    status=400,
    body={
        "__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
        "message": "The conditional request failed",
        "Item": {"id": {"S": "a"}, "photo": {"B": "AP8="}},
    },
    headers={"x-amzn-RequestId": "REQUEST"},
)
ITEM = Answer(
    body={
        "Item": {"id": {"S": "é"}, "n": {"N": "1"}, "photo": {"B": "AP8="}, "l": {"L": []}},
        "ConsumedCapacity": {"TableName": "item", "CapacityUnits": 0.5},
        "New": 1,
    },
    headers={"x-amzn-RequestId": "REQUEST", "X-Of-The-Server": "a", "x-of-the-server": "b"},
)
REPLIES: dict[str, tuple[str, Answer]] = {
    "item": ("GetItem", ITEM),
    "nothing": ("GetItem", Answer(body={})),
    "other status": ("GetItem", Answer(status=201, body={"Item": {}})),
    "canceled": ("TransactWriteItems", CANCELED),
    "condition failed": ("PutItem", CONDITION_FAILED),
    "throttled": ("GetItem", stubs.THROTTLE),
    "no table": ("GetItem", stubs.error(400, "ResourceNotFoundException")),
    "error of the server": ("GetItem", stubs.INTERNAL_ERROR),
    "unknown error": ("GetItem", stubs.error(400, "NewException")),
    "error that is no JSON": ("GetItem", Answer(status=502, content=b"<html>")),
    "error of a proxy": ("GetItem", Answer(status=413, content=b"")),
    "redirect": ("GetItem", Answer(status=307, headers={"Location": "/elsewhere"})),
}
PARAMS: dict[str, dict[str, t.Any]] = {
    "GetItem": {"TableName": "item", "Key": {"id": {"S": "a"}}},
    "PutItem": {"TableName": "item", "Item": {"id": {"S": "a"}}},
    "TransactWriteItems": {"TransactItems": []},
}


def outcome(client: t.Any, operation: str) -> t.Any:
    """What comes of a call, but for its time."""
    try:
        reply = client._make_api_call(operation, PARAMS[operation])
        described = ["returned"]
    except botocore.exceptions.ClientError as error:
        reply = t.cast("dict[str, t.Any]", error.response)
        known = type(error) is client.exceptions.from_code(reply["Error"]["Code"])
        described = [type(error).__name__, str(error), error.operation_name, str(known)]

    del reply["ResponseMetadata"]["HTTPHeaders"]["date"]
    return described, reply


def compare(
    in_app: InApp, stub: Stub, settings: dict[str, t.Any], operation: str, *answers: Answer
) -> t.Any:
    """What comes of a call, which must be the same by botocore and past it."""
    outcomes: dict[str, t.Any] = {}

    for transport in ("botocore", "direct"):
        with in_app(settings, DYNAMODB_TRANSPORT=transport) as db:
            client: t.Any = db.connection.client
            left = left_to_botocore(client)
            client.list_tables()
            left.clear()
            stub.next(operation, *answers)
            outcomes[transport] = outcome(client, operation)
            assert left == ([] if transport == "direct" else [operation])

    assert outcomes["direct"] == outcomes["botocore"]
    return outcomes["direct"]


@pytest.mark.parametrize("what", REPLIES)
def test_replies_are_what_botocore_makes_of_them(
    in_app: InApp, stub: Stub, settings: dict[str, t.Any], what: str
) -> None:
    operation, answer = REPLIES[what]
    _, reply = compare(in_app, stub, settings, operation, answer)
    assert reply["ResponseMetadata"]["HTTPStatusCode"] == answer.status
    assert reply["ResponseMetadata"]["RetryAttempts"] == 0


@pytest.mark.parametrize("retries", [1, 2])
def test_a_reply_tells_how_often_its_call_was_sent_again(
    in_app: InApp, stub: Stub, settings: dict[str, t.Any], retries: int
) -> None:
    settings = {**settings, **NO_BACKOFF, "DYNAMODB_MAX_RETRY_ATTEMPTS": 2}
    answers = [stubs.THROTTLE] * retries
    _, reply = compare(in_app, stub, settings, "GetItem", *answers)
    assert reply["ResponseMetadata"]["RetryAttempts"] == retries


def test_an_error_tells_how_often_its_call_was_sent_again(
    in_app: InApp, stub: Stub, settings: dict[str, t.Any]
) -> None:
    settings = {**settings, **NO_BACKOFF, "DYNAMODB_MAX_RETRY_ATTEMPTS": 2}
    _, reply = compare(in_app, stub, settings, "GetItem", *[stubs.INTERNAL_ERROR] * 3)
    assert reply["ResponseMetadata"]["RetryAttempts"] == 2
    assert reply["ResponseMetadata"]["MaxAttemptsReached"]


def test_successes_give_back_what_retries_have_used_up(
    in_app: InApp, stub: Stub, settings: dict[str, t.Any]
) -> None:
    """Botocore has tokens for a hundred retries."""
    with in_app(settings, DYNAMODB_MAX_RETRY_ATTEMPTS=1, **NO_BACKOFF) as db:
        for number in range(110):
            stub.next("GetItem", stubs.UNAVAILABLE)
            assert get(db.connection.client, str(number)) == str(number)


def test_pynamodb_gets_the_errors_that_it_knows(client: t.Any, stub: Stub) -> None:
    stub.next("GetItem", stubs.error(400, "ResourceNotFoundException"))

    with pytest.raises(GetError) as raised:
        Item.get("a")

    assert raised.value.cause_response_code == "ResourceNotFoundException"
    assert isinstance(raised.value.cause, botocore.exceptions.ClientError)


# --- HTTP

JSON = b'{"Item": {"id": {"S": "here"}}}'
SURPLUS = JSON.replace(b"here", b"surplus")


def reply(content: bytes, *headers: str, version: str = "1.1") -> bytes:
    head = [f"HTTP/{version} 200 OK", f"Content-Length: {len(content)}", *headers, "", ""]
    return "\r\n".join(head).encode() + content


def head(*headers: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"HTTP/{version} 200 OK", *headers, "", ""]).encode()


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
CHUNKED = head("Transfer-Encoding: chunked") + b"5\r\n" + JSON[:5] + b"\r\n1a;x=y\r\n" + JSON[5:]

KEPT: dict[str, tuple[bytes, ...]] = {
    "plain": (reply(JSON),),
    "byte by byte": tuple(bytes([byte]) for byte in reply(JSON)),
    "head and body": (reply(JSON)[: -len(JSON)], JSON),
    "chunked": (CHUNKED + b"\r\n0\r\n\r\n",),
    "chunked, byte by byte": tuple(bytes([byte]) for byte in CHUNKED + b"\r\n0\r\n\r\n"),
    "chunked, with headers at the end": (CHUNKED + b"\r\n0\r\nx-amz-crc32: 1\r\n\r\n",),
    "after an interim reply": (CONTINUE, reply(JSON)),
    "after interim replies, in one piece": (CONTINUE + HINTS + reply(JSON),),
    "HTTP/1.0 that keeps": (reply(JSON, "Connection: keep-alive", version="1.0"),),
}
NOT_KEPT: dict[str, tuple[bytes, ...]] = {
    "says that it closes": (reply(JSON, "Connection: close"),),
    "HTTP/1.0": (reply(JSON, version="1.0"),),
    "another reply": (reply(JSON) + reply(SURPLUS),),
    "a part of another reply": (reply(JSON) + reply(SURPLUS)[:20],),
    "no HTTP": (reply(JSON) + b"garbage",),
    "another reply after a chunked one": (CHUNKED + b"\r\n0\r\n\r\n" + reply(SURPLUS),),
}
UNTIL_THE_END: dict[str, tuple[bytes, ...]] = {
    "HTTP/1.0 without headers": (head(version="1.0") + JSON,),
    "HTTP/1.0 with headers": (head("Server: old", version="1.0"), JSON),
    "HTTP/1.1": (head("Server: new") + JSON[:9], JSON[9:]),
}


@pytest.mark.parametrize("what", KEPT)
def test_a_connection_is_used_again(client: t.Any, stub: Stub, what: str) -> None:
    stub.next("GetItem", Answer(pieces=KEPT[what]))
    assert get(client, "a") == "here"
    assert get(client, "b") == "b"
    assert len({request.peer for request in stub.requests}) == 1
    assert len(stub.requests) == 3


@pytest.mark.parametrize("what", NOT_KEPT)
def test_a_connection_is_not_used_again_after_its_last_reply(
    client: t.Any, stub: Stub, what: str
) -> None:
    """Nor is what follows that reply taken for another one."""
    stub.next("GetItem", Answer(pieces=NOT_KEPT[what]))
    assert get(client, "a") == "here"
    stub.wait_for(lambda: stub.connections == 0)
    assert get(client, "b") == "b"
    assert len({request.peer for request in stub.requests}) == 2
    assert len(stub.requests) == 3


@pytest.mark.parametrize("what", UNTIL_THE_END)
def test_a_reply_may_end_with_its_connection(client: t.Any, stub: Stub, what: str) -> None:
    stub.next("GetItem", Answer(pieces=UNTIL_THE_END[what], close=True))
    assert get(client, "a") == "here"
    assert get(client, "b") == "b"
    assert len(stub.requests) == 3


@pytest.mark.parametrize("surplus", [reply(SURPLUS), b"H", b"\r\n"], ids=repr)
def test_what_nobody_asked_for_is_not_the_next_reply(
    client: t.Any, stub: Stub, surplus: bytes
) -> None:
    assert get(client, "a") == "a"
    stub.say(surplus)
    assert get(client, "b") == "b"
    assert len({request.peer for request in stub.requests}) == 2


def test_what_follows_the_first_reply_is_not_the_next_one(
    in_app: InApp, settings: dict[str, t.Any], stub: Stub
) -> None:
    """Botocore reads the first one. Of what follows, it leaves a whole reply in the socket."""
    blocks_of_python = 2 * 8192
    padding = blocks_of_python - len(reply(JSON + b" " * 10_000)) + 10_000
    first = reply(JSON + b" " * padding)
    assert len(first) == blocks_of_python
    stub.next("GetItem", Answer(pieces=(first + reply(SURPLUS),)))

    with in_app(settings) as db:
        assert get(db.connection.client, "a") == "here"
        assert get(db.connection.client, "b") == "b"

    assert len(stub.requests) == 2


BROKEN: dict[str, tuple[bytes, ...]] = {
    "no HTTP": (b"garbage\r\n\r\n" + reply(JSON),),
    "another protocol": (SWITCHED + JSON,),
    "no status": (b"HTTP/1.1 x\r\n\r\n",),
    "no length": (head("Content-Length: x") + JSON,),
    "two lengths": (reply(JSON, "Content-Length: 2"),),
    "length and chunks": (reply(JSON, "Transfer-Encoding: chunked"),),
    "no chunks": (head("Transfer-Encoding: chunked") + b"x\r\n",),
    "cut head": (b"HTTP/1.1 200 OK\r\nServer: x\r\n",),
    "cut body": (reply(JSON)[:-1],),
    "cut chunks": (CHUNKED + b"\r\n",),
    "interim reply only": (CONTINUE,),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_reply_is_a_closed_connection(client: t.Any, stub: Stub, what: str) -> None:
    stub.next("GetItem", Answer(pieces=BROKEN[what], close=True))

    with pytest.raises(botocore.exceptions.ConnectionClosedError):
        get(client, "a")

    assert get(client, "b") == "b"
    assert stub.operations == ["GetItem"] * 3


@pytest.mark.parametrize("what", [*NOT_KEPT, *UNTIL_THE_END])
def test_the_first_reply_may_be_the_last_one_of_its_connection(
    in_app: InApp, settings: dict[str, t.Any], stub: Stub, what: str
) -> None:
    pieces = {**NOT_KEPT, **UNTIL_THE_END}[what]
    stub.next("GetItem", Answer(pieces=pieces, close=what in UNTIL_THE_END))

    with in_app(settings) as db:
        client = db.connection.client
        assert [get(client, key) for key in "abc"] == ["here", "b", "c"]


@pytest.mark.parametrize("step", ["on_message_begin", "on_header", "on_body", "_whole_reply"])
def test_what_a_signal_raises_meanwhile_is_not_taken_for_broken_http(
    client: t.Any, stub: Stub, step: str
) -> None:
    if step != "_whole_reply":
        # What comes in pieces is read by httptools, which calls these.
        pieces = (b"HTTP/1.1 200 OK\r\n", b"Content-Length: 2\r\n\r\n{}")
        stub.next("GetItem", Answer(pieces=pieces, trickle=0.1))

    def interrupt(frame: types.FrameType, event: str, argument: object) -> None:
        if frame.f_code.co_name == step:
            sys.setprofile(None)
            raise KeyboardInterrupt

    sys.setprofile(interrupt)

    try:
        with pytest.raises(KeyboardInterrupt):
            get(client, "a")
    finally:
        sys.setprofile(None)

    assert get(client, "b") == "b"
    assert len(stub.requests) == 3


@pytest.mark.parametrize("answer", [stubs.RESET, stubs.DROP], ids=["reset", "dropped"])
def test_a_call_whose_connection_breaks_is_not_sent_again_unseen(
    client: t.Any, stub: Stub, answer: Answer
) -> None:
    stub.next("GetItem", answer)

    with pytest.raises(botocore.exceptions.ConnectionClosedError):
        get(client, "a")

    assert stub.operations == ["GetItem"] * 2
    assert get(client, "b") == "b"


def test_a_connection_that_was_closed_while_idle_costs_neither_error_nor_attempt(
    client: t.Any, stub: Stub
) -> None:
    stub.close_connections()
    stub.wait_for(lambda: stub.connections == 0)
    reply = client.get_item(TableName="item", Key={"id": {"S": "a"}})
    assert reply["ResponseMetadata"]["RetryAttempts"] == 0
    assert len(stub.requests) == 2


def test_a_connection_that_was_reset_while_idle_costs_neither_error_nor_attempt(
    client: t.Any, stub: Stub
) -> None:
    stub.next("GetItem", Answer(content=JSON, close_by_reset=True))
    assert get(client, "a") == "here"
    stub.wait_for(lambda: stub.total_closed == 1)
    assert get(client, "b") == "b"
    assert len(stub.requests) == 3


@pytest.mark.parametrize("size", [64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 1024 * 1024])
def test_large_requests_and_replies_pass(client: t.Any, stub: Stub, size: int) -> None:
    key = "k" * size
    assert get(client, key) == key
    assert get(client, "b") == "b"
    assert stub.total_connections == 1


def test_the_read_timeout_is_for_each_read(
    in_app: InApp, stub: Stub, settings: dict[str, t.Any]
) -> None:
    seconds = 0.5

    with in_app(settings, DYNAMODB_READ_TIMEOUT_SECONDS=seconds) as db:
        client = db.connection.client
        get(client, "first")
        trickle = 0.05
        assert len(JSON) * trickle > 2 * seconds
        stub.next("GetItem", Answer(content=JSON, trickle=trickle))
        assert get(client, "a") == "here"


def test_a_server_that_hangs_is_left(in_app: InApp, stub: Stub, settings: dict[str, t.Any]) -> None:
    with in_app(settings, DYNAMODB_READ_TIMEOUT_SECONDS=0.3) as db:
        client = db.connection.client
        get(client, "first")
        stub.next("GetItem", stubs.held(Answer(content=SURPLUS)))

        with pytest.raises(botocore.exceptions.ReadTimeoutError):
            get(client, "a")

        stub.release()
        # Its late reply goes to nobody.
        assert get(client, "b") == "b"

    assert stub.operations == ["GetItem"] * 3


@pytest.mark.parametrize("size", [1, 100_000])
def test_a_server_that_trickles_is_left_at_the_deadline(
    in_app: InApp, stub: Stub, settings: dict[str, t.Any], size: int
) -> None:
    with in_app(settings, DYNAMODB_CALL_TIMEOUT_SECONDS=2, DYNAMODB_MAX_RETRY_ATTEMPTS=3):
        Item.get("first")
        whole = reply(b" " * size * 100 + JSON)
        pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
        stub.next("GetItem", Answer(pieces=tuple(pieces), trickle=0.05))

        with pytest.raises(CallTimeout):
            Item.get("a")

        assert Item.get("b").id == "b"

    assert stub.operations == ["GetItem"] * 3


INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"


def tagged_after_an_interim_reply(request: Request) -> Answer:
    """Late, and the last one of its connection: so each call opens another one."""
    content = json.dumps({"Item": request.body["Key"]}).encode()
    return Answer(pieces=(INTERIM, reply(content, "Connection: close")), trickle=0.02, close=True)


def test_an_interim_reply_to_the_first_request_of_a_connection_is_passed_over(
    in_app: InApp, stub: Stub, settings: dict[str, t.Any]
) -> None:
    stub.always("GetItem", tagged_after_an_interim_reply)

    with in_app(settings) as db:
        client = db.connection.client
        call = threads.in_same_app(lambda number: [get(client, f"{number}-{n}") for n in range(5)])
        assert threads.at_once(call, 4) == [[f"{k}-{n}" for n in range(5)] for k in range(4)]

    assert len(stub.requests) == 20
    assert stub.total_connections == 20


@pytest.mark.parametrize("size", [100, 3_000_000])
def test_the_first_request_of_a_connection_may_be_answered_before_it_is_sent(
    in_app: InApp, stub: Stub, settings: dict[str, t.Any], size: int
) -> None:
    """By a server that reads the head alone, answers, and closes."""
    listener = socket.create_server((engines.HOST, 0))
    too_large = b'{"__type": "x#RequestTooLarge", "message": "no"}'
    head = f"HTTP/1.1 413 X\r\nContent-Length: {len(too_large)}\r\n\r\n".encode()

    def serve() -> None:
        connection, _ = listener.accept()

        with connection:
            connection.recv(100)
            connection.sendall(head + too_large)

    host = f"http://{engines.HOST}:{listener.getsockname()[1]}"

    with listener, concurrent.futures.ThreadPoolExecutor(1) as pool:
        served = pool.submit(serve)

        with (
            in_app(settings, DYNAMODB_HOST=host) as db,
            pytest.raises(botocore.exceptions.ClientError) as error,
        ):
            get(db.connection.client, "k" * size)

        served.result()

    assert error.value.response["Error"]["Code"] == "RequestTooLarge"


# --- hosts


def test_a_connection_to_one_account_s_host_is_not_used_for_another_one(
    in_app: InApp, settings: dict[str, t.Any]
) -> None:
    """botocore puts the account of the credentials into the host's name."""
    with Stub() as one, Stub() as other, in_app(settings, DYNAMODB_HOST=one.url) as db:
        keys = Keys()
        t.cast(t.Any, db.connection.engine.session)._credentials = keys.credentials()
        client: t.Any = db.connection.client
        resolve = client._resolve_endpoint_ruleset
        hosts = {"token-one": one.url, "token-two": other.url}

        def of_account(*arguments: t.Any, **more: t.Any) -> t.Any:
            _, *rest = resolve(*arguments, **more)
            return hosts[keys.next[2]], *rest

        client._resolve_endpoint_ruleset = of_account
        get(client, "a")
        get(client, "b")
        keys.next = ("AKIDTWO", "secret-two", "token-two")
        keys.now += datetime.timedelta(minutes=59)
        get(client, "c")
        get(client, "d")

        seen = [
            [request.body["Key"]["id"]["S"] for request in stub.requests] for stub in (one, other)
        ]
        assert seen == [["a", "b"], ["c", "d"]]
        assert [one.total_connections, other.total_connections] == [1, 1]
        assert {request.header("Host") for request in other.requests} == {
            other.url.removeprefix("http://")
        }


# --- TLS


@pytest.fixture
def secure_client(
    in_app: InApp, secure_stub: Stub, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> cabc.Iterator[t.Any]:
    """:func:`client`, over TLS."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))

    with in_app({**engines.config(secure_stub.url), **DIRECT, **ONCE}) as db:
        client = db.connection.client
        assert get(client, "first") == "first"
        yield client


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_connection_with_tls_is_used_again(
    secure_client: t.Any, secure_stub: Stub, version: str
) -> None:
    t.cast(ssl.SSLContext, secure_stub.tls).maximum_version = ssl.TLSVersion[version]
    left = left_to_botocore(secure_client)
    secure_stub.close_connections()
    secure_stub.wait_for(lambda: secure_stub.connections == 0)
    secure_stub.forget()
    keys = ["a", "k" * 1024 * 1024, "c"]
    assert [get(secure_client, key) for key in keys] == keys
    assert secure_stub.total_connections == 1
    assert left == []


@pytest.mark.parametrize("what", [*KEPT, *NOT_KEPT])
def test_replies_come_through_tls(secure_client: t.Any, secure_stub: Stub, what: str) -> None:
    secure_stub.next("GetItem", Answer(pieces={**NOT_KEPT, **KEPT}[what]))
    assert get(secure_client, "a") == "here"
    assert get(secure_client, "b") == "b"
    assert len(secure_stub.requests) == 3


@pytest.mark.parametrize("what", UNTIL_THE_END)
def test_a_reply_may_end_with_its_connection_with_tls(
    secure_client: t.Any, secure_stub: Stub, what: str
) -> None:
    secure_stub.next("GetItem", Answer(pieces=UNTIL_THE_END[what], close=True))
    assert get(secure_client, "a") == "here"
    assert get(secure_client, "b") == "b"


def test_a_record_after_the_reply_is_not_the_next_reply(
    secure_client: t.Any, secure_stub: Stub
) -> None:
    of_one_record = 2**14
    padding = of_one_record - len(reply(JSON + b" " * 10_000)) + 10_000
    content = reply(JSON + b" " * padding) + reply(SURPLUS)

    for _ in range(5):
        secure_stub.next("GetItem", Answer(pieces=(content,)))
        assert get(secure_client, "a") == "here"
        secure_stub.wait_for(lambda: secure_stub.answers == len(secure_stub.requests))
        assert get(secure_client, "b") == "b"


@pytest.mark.parametrize("answer", [stubs.RESET, stubs.DROP], ids=["reset", "dropped"])
def test_a_call_whose_connection_with_tls_breaks_is_not_sent_again_unseen(
    secure_client: t.Any, secure_stub: Stub, answer: Answer
) -> None:
    secure_stub.next("GetItem", answer)

    with pytest.raises(botocore.exceptions.ConnectionClosedError):
        get(secure_client, "a")

    assert secure_stub.operations == ["GetItem"] * 2
    assert get(secure_client, "b") == "b"


# --- keys


class Keys:
    """Credentials that expire."""

    def __init__(self) -> None:
        self.now = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
        self.next: tuple[str, str, str] = ("AKIDONE", "secret-one", "token-one")

    def renew(self) -> dict[str, str]:
        access_key, secret_key, token = self.next
        expiry = self.now + datetime.timedelta(hours=1)
        return {
            "access_key": access_key,
            "secret_key": secret_key,
            "token": token,
            "expiry_time": expiry.isoformat(),
        }

    def credentials(self) -> RefreshableCredentials:
        access_key, secret_key, token = self.next
        expiry = self.now + datetime.timedelta(hours=1)
        return RefreshableCredentials(
            access_key, secret_key, token, expiry, self.renew, "tests", lambda: self.now
        )


@pytest.mark.parametrize(
    "renewed",
    [("AKIDTWO", "secret-two", "token-two"), ("AKIDONE", "secret-one", "token-two")],
    ids=["all", "token only"],
)
def test_new_keys_are_used_at_once(
    in_app: InApp, stub: Stub, renewed: tuple[str, str, str]
) -> None:
    keys = Keys()

    with in_app({"DYNAMODB_HOST": stub.url, **DIRECT}) as db:
        t.cast(t.Any, db.connection.engine.session)._credentials = keys.credentials()
        client = db.connection.client
        left = left_to_botocore(client)
        get(client, "a")
        get(client, "b")
        keys.next = renewed
        keys.now += datetime.timedelta(minutes=59)
        get(client, "c")
        get(client, "d")

    seen = [
        (request.signature.access_key_id, request.header("X-Amz-Security-Token"))
        for request in stub.requests
    ]
    assert seen == [("AKIDONE", "token-one")] * 2 + [(renewed[0], renewed[2])] * 2
    assert left == []


@pytest.mark.parametrize("transport", ["botocore", "direct"])
def test_a_call_that_is_sent_again_is_signed_with_new_keys(
    in_app: InApp, stub: Stub, transport: str
) -> None:
    settings = {"DYNAMODB_HOST": stub.url, "DYNAMODB_TRANSPORT": transport, **NO_BACKOFF}
    keys = Keys()

    def expire(request: Request) -> Answer:
        keys.next = ("AKIDTWO", "secret-two", "token-two")
        keys.now += datetime.timedelta(minutes=59)
        return stubs.THROTTLE

    with in_app(settings) as db:
        t.cast(t.Any, db.connection.engine.session)._credentials = keys.credentials()
        client = db.connection.client
        get(client, "a")
        stub.next("GetItem", expire)
        assert get(client, "b") == "b"

    assert [request.signature.access_key_id for request in stub.requests] == [
        "AKIDONE",
        "AKIDONE",
        "AKIDTWO",
    ]
    assert stub.requests[-1].header("X-Amz-Security-Token") == "token-two"


# --- life


def test_close_of_the_client_closes_its_connections(client: t.Any, stub: Stub) -> None:
    get(client, "a")
    assert stub.connections == 1
    client.close()
    stub.wait_for(lambda: stub.connections == 0)
    assert get(client, "b") == "b"


def test_close_of_the_engine_closes_its_connections(
    in_app: InApp, settings: dict[str, t.Any], stub: Stub
) -> None:
    with in_app(settings) as db:
        Item.get("a")
        Item.get("b")
        assert stub.connections == 1
        db.connection.engine.close()
        stub.wait_for(lambda: stub.connections == 0)
        assert Item.get("c").id == "c"


def test_a_connection_that_is_in_use_is_closed_when_it_comes_back(
    client: t.Any, stub: Stub
) -> None:
    stub.next("GetItem", stubs.held(Answer(content=JSON)))

    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        call = threads.submit(get, client, "a")
        stub.wait_for(lambda: stub.holding == 1)
        client.close()
        stub.release()
        assert call.result() == "here"

    stub.wait_for(lambda: stub.connections == 0)


def test_each_of_several_threads_gets_its_own_replies(
    in_app: InApp, settings: dict[str, t.Any], stub: Stub
) -> None:
    threads, calls = 4, 50
    start = threading.Barrier(threads)

    with in_app(settings) as db:
        client = db.connection.client

        def run(thread: int) -> list[str]:
            start.wait()
            return [get(client, f"{thread}-{call}") for call in range(calls)]

        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            results = list(pool.map(run, range(threads)))

    assert results == [[f"{thread}-{call}" for call in range(calls)] for thread in range(threads)]
    assert stub.total_connections <= threads


FORK = """
import json, os, signal, sys, warnings

import flask
from pynamodb.attributes import UnicodeAttribute

from dynamo_ext import Model, PynamoDB

# Newer Pythons warn of what is tested here.
warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork")
app = flask.Flask(__name__)
app.config.from_mapping(json.loads(sys.argv[1]))
db = PynamoDB(app)


class Item(Model):
    class Meta:
        table_name = "item"

    id = UnicodeAttribute(hash_key=True)


with app.app_context():
    for number in range(2):
        Item.get(f"parent-{number}")

    pid = os.fork()

    if pid == 0:
        # A child that hangs is ended, and seen by its exit code.
        signal.alarm(10)

        for number in range(3):
            assert Item.get(f"child-{number}").id == f"child-{number}"

        sys.exit()

    status = os.waitpid(pid, 0)[1]
    assert status == 0, status
    assert Item.get("parent-2").id == "parent-2"
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system can't fork")
def test_a_child_opens_connections_of_its_own(
    run_warm_python: RunPython, settings: dict[str, t.Any], stub: Stub
) -> None:
    done = run_warm_python(FORK, json.dumps(settings))
    assert (done.returncode, done.stderr) == (0, "")
    peers = {
        who: {request.peer for request in stub.requests if who in request.content.decode()}
        for who in ("parent", "child")
    }
    assert [len(peers["parent"]), len(peers["child"])] == [1, 1]
    assert peers["parent"] != peers["child"]
    assert len(stub.requests) == 6
    assert len({request.header("amz-sdk-invocation-id") for request in stub.requests}) == 6


# --- what it needs


@pytest.mark.slow
@pytest.mark.parametrize("missing", [["httptools"], ["msgspec"], ["greenlet", "msgspec"]], ids=str)
def test_a_missing_package_is_named(run_python: RunPython, missing: list[str]) -> None:
    code = """
import sys
import flask
import dynamo_ext

for name in sys.argv[1:]:
    sys.modules[name] = None

app = flask.Flask("of_the_test")
dynamo_ext.PynamoDB().init_app(app)
app = flask.Flask("of_the_test")
app.config["DYNAMODB_TRANSPORT"] = "direct"

try:
    dynamo_ext.PynamoDB().init_app(app)
except dynamo_ext.ConfigError as error:
    print(error)
"""
    done = run_python(code, *missing)
    assert done.returncode == 0, done.stderr
    assert f"needs {' and '.join(missing)}: install 'dynamo-ext[direct]'" in done.stdout


def test_nothing_of_it_is_imported_unless_it_is_asked_for(run_python: RunPython) -> None:
    code = """
import sys
import dynamo_ext
import dynamo_ext.client.engine
direct = "dynamo_ext.transport.direct.client"
print({"httptools", "msgspec", "greenlet", direct} & sys.modules.keys())
"""
    done = run_python(code)
    assert (done.stdout.strip(), done.stderr) == ("set()", "")


# --- secrets

SECRET = "sentinel-of-the-secret-access-key"
TOKEN = "sentinel-of-the-session-token"
HEADER = "sentinel-of-the-header-value"
SECRETS: dict[str, t.Any] = {
    "DYNAMODB_AWS_ACCESS_KEY_ID": "AKIDOFTHETESTS",
    "DYNAMODB_AWS_SECRET_ACCESS_KEY": SECRET,
    "DYNAMODB_AWS_SESSION_TOKEN": TOKEN,
    "DYNAMODB_EXTRA_HEADERS": {"X-Proxy": HEADER},
}


@contextlib.contextmanager
def app_with_secrets(in_app: InApp, settings: dict[str, t.Any]) -> cabc.Iterator[PynamoDB]:
    with in_app(settings, **SECRETS) as db:
        Item.get("first")
        yield db


def shown(thing: t.Any) -> str:
    return f"{thing!r} {thing} {vars(thing)!r}"


def test_no_repr_shows_a_secret(in_app: InApp, stub: Stub, settings: dict[str, t.Any]) -> None:
    with app_with_secrets(in_app, settings) as db:
        text = shown(db.connection.engine) + shown(db.connection.client)
        transport = t.cast(t.Any, db.connection.engine._mine.get().transport)
        text += repr(transport) + repr(flask.current_app.extensions)
        text += repr(transport.begin("GetItem", PARAMS["GetItem"]))

    assert "DirectTransport" in text
    assert "PreparedCall" in text
    assert "sentinel" not in text


@pytest.mark.parametrize(
    "answer", [stubs.RESET, stubs.error(400, "AccessDeniedException"), Answer(content=b"no JSON")]
)
def test_neither_an_error_nor_a_log_shows_a_secret(
    in_app: InApp,
    stub: Stub,
    settings: dict[str, t.Any],
    caplog: pytest.LogCaptureFixture,
    answer: Answer,
) -> None:
    with app_with_secrets(in_app, settings):
        # Botocore's own, of the first request, shows every header.
        caplog.set_level(logging.DEBUG)
        stub.next("GetItem", answer)

        with pytest.raises(GetError) as raised:
            Item.get("a")

        Item.get("b")

    error = raised.getrepr(style="long", funcargs=False, showlocals=False)
    assert "sentinel" not in f"{raised.value!r} {raised.value} {error}"
    assert "sentinel" not in caplog.text
    assert "failed call: GetItem" in caplog.text


LONG_LIVED = {
    "BotocoreTransport",
    "Connection",
    "DirectTransport",
    "Endpoint",
    "Engine",
    "Settings",
    "_InProcess",
}
"""What has secrets for as long as the app lives, and does not show them."""


def reachable(value: t.Any, seen: set[int]) -> cabc.Iterator[str]:
    """What those see who report the local variables of a traceback, with what is in them."""
    if id(value) in seen:
        return

    seen.add(id(value))
    yield repr(value)
    content: t.Any = ()

    if isinstance(value, dict):
        content = [*t.cast(t.Any, value), *t.cast(t.Any, value).values()]
    elif isinstance(value, (list, tuple, set, frozenset)):
        content = value
    elif type(value).__module__.startswith("dynamo_ext") and type(value).__name__ not in LONG_LIVED:
        names = [*getattr(value, "__dict__", ()), *getattr(type(value), "__slots__", ())]
        content = [getattr(value, name, None) for name in names]

    for part in content:
        yield from reachable(part, seen)


@pytest.mark.parametrize("transport", ["botocore", "direct"])
@pytest.mark.parametrize("is_first", [True, False], ids=["first call", "later call"])
@pytest.mark.parametrize(
    "value", [{"S": object()}, {"L": 5}, {"B": 5}], ids=["no text", "no list", "no bytes"]
)
def test_no_variable_holds_a_secret_while_a_value_is_serialised(
    in_app: InApp,
    stub: Stub,
    settings: dict[str, t.Any],
    transport: str,
    is_first: bool,
    value: t.Any,
) -> None:
    with in_app(settings, **SECRETS, DYNAMODB_TRANSPORT=transport) as db:
        assert db.connection.client

        if not is_first:
            Item.get("a")

        with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever botocore says
            db.connection.dispatch("GetItem", {"TableName": "item", "Key": {"id": value}})

    frames = [entry.frame for entry in raised.traceback]
    ours = [frame for frame in frames if str(frame.code.path).count("/dynamo_ext/")]
    assert ours
    texts = [text for frame in ours for text in reachable(dict(frame.f_locals), set())]
    assert len(texts) > 10
    assert [text for text in texts if "sentinel" in text] == []
