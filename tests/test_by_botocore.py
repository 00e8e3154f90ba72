"""The transport ``botocore``: botocore and urllib3 send and receive, as they are."""

from __future__ import annotations

import json
import logging
import types
import typing as t

import botocore.client
import botocore.httpsession
import pytest
import urllib3
import urllib3.connectionpool
from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import GetError

import engines
from authority import Authority
from conftest import InApp
from dynamo_ext import CallTimeout
from dynamo_ext import Model
from dynamo_ext import PynamoDB
from stub import Answer
from stub import Request
from stub import Stub
from threads import at_once
from threads import in_same_app

pytestmark = pytest.mark.once(reason="each test names its transport")


class Item(Model):
    class Meta:
        table_name = "item"

    id = UnicodeAttribute(hash_key=True)


@pytest.fixture
def settings(stub_config: dict[str, t.Any]) -> dict[str, t.Any]:
    return {**stub_config, "DYNAMODB_TRANSPORT": "botocore"}


def send_and_receive(db: PynamoDB) -> list[t.Any]:
    """All that a request and its reply pass on their way between botocore and a socket."""
    client: t.Any = db.connection.client
    endpoint = client._endpoint
    session = endpoint.http_session
    manager = session._manager
    pool = manager.connection_from_url(client.meta.endpoint_url)
    [connection] = [opened for opened in pool.pool.queue if opened is not None]
    return [endpoint, session, manager, pool, connection]


def test_nothing_of_ours_stands_between_botocore_and_its_sockets(
    in_app: InApp, stub: Stub, settings: dict[str, t.Any]
) -> None:
    """Neither a class, nor a function that takes the place of a method.

    But for urllib3's pool, which closes a connection after an interim reply, and does nothing else.
    """
    with in_app(settings) as db:
        Item.get("a")
        parts = send_and_receive(db)

    pool = parts.pop(3)
    ours = [kind for kind in type(pool).__mro__ if kind.__module__.startswith("dynamo_ext")]
    changed = {name for kind in ours for name in vars(kind) if not name.startswith("__")}
    assert changed == {"urlopen"}
    kinds = {type(part).__module__.partition(".")[0] for part in parts}
    replaced = {
        name
        for part in parts
        for name, value in vars(part).items()
        if isinstance(value, (types.FunctionType, types.MethodType)) and hasattr(type(part), name)
    }
    assert kinds == {"botocore", "urllib3"}
    assert replaced == set()


def test_a_call_ends_with_its_deadline_on_an_open_connection_too(
    in_app: InApp, stub: Stub, settings: dict[str, t.Any]
) -> None:
    stub.next("ListTables", Answer(body={"TableNames": []}), Answer(hold=True))

    with in_app(settings, DYNAMODB_CALL_TIMEOUT_SECONDS=2) as db:
        # Created before the deadline starts.
        assert db.connection.client
        db.connection.list_tables()

        with pytest.raises(CallTimeout):
            db.connection.list_tables()

    stub.release()
    assert stub.total_connections == 1


def get_three_items(in_app: InApp, settings: dict[str, t.Any]) -> None:
    with in_app(settings):
        for _ in range(3):
            Item.get("a")


def test_tools_that_hook_into_urllib3_see_every_request(
    in_app: InApp, stub: Stub, settings: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    pool: t.Any = urllib3.connectionpool.HTTPConnectionPool
    urlopen = pool.urlopen

    def traced(self: t.Any, *arguments: t.Any, **options: t.Any) -> t.Any:
        seen.append(options["url"])
        return urlopen(self, *arguments, **options)

    monkeypatch.setattr(pool, "urlopen", traced)
    get_three_items(in_app, settings)
    assert len(seen) == 3


def test_tools_that_hook_into_botocore_s_session_see_every_request(
    in_app: InApp, stub: Stub, settings: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    session: t.Any = botocore.httpsession.URLLib3Session
    send = session.send

    def traced(self: t.Any, request: t.Any) -> t.Any:
        seen.append(request.url)
        return send(self, request)

    monkeypatch.setattr(session, "send", traced)
    get_three_items(in_app, settings)
    assert len(seen) == 3


@pytest.mark.parametrize("transport", ["botocore", "direct"])
def test_tools_that_hook_into_botocore_s_clients_see_what_goes_by_botocore(
    in_app: InApp,
    stub: Stub,
    settings: dict[str, t.Any],
    monkeypatch: pytest.MonkeyPatch,
    transport: str,
) -> None:
    """On direct, an operation on a table that is named by its ARN is such a call."""
    seen: list[str] = []
    client: t.Any = botocore.client.BaseClient
    make_api_call = client._make_api_call

    def traced(self: t.Any, operation_name: str, params: t.Any) -> t.Any:
        seen.append(operation_name)
        return make_api_call(self, operation_name, params)

    with in_app(settings, DYNAMODB_TRANSPORT=transport) as db:
        table = "arn:aws:dynamodb:us-east-1:123456789012:table/item"
        db.connection.client._make_api_call("GetItem", {"TableName": table, "Key": {}})
        monkeypatch.setattr(client, "_make_api_call", traced)
        db.connection.client._make_api_call("GetItem", {"TableName": table, "Key": {}})

    assert seen == ["GetItem"]


def test_the_log_of_urllib3_has_every_request(
    in_app: InApp, stub: Stub, settings: dict[str, t.Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, urllib3.connectionpool.__name__):
        get_three_items(in_app, settings)

    assert caplog.text.count('"POST / HTTP/1.1" 200') == 3


def test_who_debugs_botocore_reads_what_it_does_in_each_call(
    in_app: InApp, stub: Stub, settings: dict[str, t.Any], caplog: pytest.LogCaptureFixture
) -> None:
    get_three_items(in_app, settings)
    assert caplog.messages == []
    caplog.set_level(logging.DEBUG, "botocore")
    get_three_items(in_app, settings)
    made = [text for text in caplog.messages if text.startswith("Making request for")]
    assert len(made) == 3


@pytest.mark.parametrize("transport", ["botocore", "direct"])
def test_a_client_of_the_app_s_own_from_the_same_session_sends_by_botocore(
    in_app: InApp, stub: Stub, settings: dict[str, t.Any], transport: str
) -> None:
    with in_app(settings, DYNAMODB_TRANSPORT=transport) as db:
        client: t.Any = db.connection.session.create_client(
            "dynamodb", "us-east-1", endpoint_url=stub.url
        )
        seen: list[t.Any] = []
        client.meta.events.register("before-send.dynamodb", lambda **event: seen.append(event))
        assert client.get_item(TableName="item", Key={"id": {"S": "a"}})["Item"]
        client.close()

    assert len(seen) == 1


# --- nothing of another call


class Tagged:
    """Answers that name the key that was asked for, with something else before or behind them."""

    def __init__(self, before: bytes, behind: bytes) -> None:
        self.before = before
        self.behind = behind

    def __call__(self, request: Request) -> Answer:
        content = json.dumps({"Item": request.body["Key"]}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\n\r\n".encode()
        reply = head + content + self.behind
        # Written as one, it is one record of TLS.
        pieces = (self.before, reply) if self.before else (reply,)
        return Answer(pieces=pieces, trickle=0.005)


FOREIGN = b'{"Item": {"id": {"S": "foreign"}}}'
SURPLUS = f"HTTP/1.1 200 OK\r\nContent-Length: {len(FOREIGN)}\r\n\r\n".encode() + FOREIGN
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def answers(settings: dict[str, t.Any], in_app: InApp) -> dict[str, str]:
    """What each of several threads gets for each of its keys; an error is no wrong answer."""
    found: dict[str, str] = {}

    def run(thread: int) -> None:
        for number in range(10):
            key = f"{thread}-{number}"

            try:
                found[key] = Item.get(key).id
            except GetError as error:
                found[key] = type(error.cause).__name__

    with in_app(settings, DYNAMODB_BASE_BACKOFF_MS=0):
        at_once(in_same_app(run), 4)

    assert len(found) == 40
    return found


@pytest.mark.parametrize("surplus", [SURPLUS, SURPLUS[:20], b"x"], ids=["reply", "part", "x"])
@pytest.mark.parametrize("transport", ["botocore", "direct"])
def test_what_follows_a_reply_in_its_record_is_nobody_s_answer(
    in_app: InApp,
    secure_stub: Stub,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    transport: str,
    surplus: bytes,
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
    secure_stub.always("GetItem", Tagged(b"", surplus))
    settings = {**engines.config(secure_stub.url), "DYNAMODB_TRANSPORT": transport}
    assert all(key == answer for key, answer in answers(settings, in_app).items())


@pytest.mark.parametrize("interim", [INTERIM, CONTINUE], ids=["103", "100"])
@pytest.mark.parametrize("transport", ["botocore", "direct"])
def test_what_follows_an_interim_reply_is_nobody_else_s_answer(
    in_app: InApp, stub: Stub, settings: dict[str, t.Any], transport: str, interim: bytes
) -> None:
    """``http.client`` passes over 100 alone: on ``botocore``, the others end in an error."""
    stub.always("GetItem", Tagged(interim, b""))
    found = answers({**settings, "DYNAMODB_TRANSPORT": transport}, in_app)
    fails = transport == "botocore" and interim == INTERIM
    assert all(answer == ("DamagedReply" if fails else key) for key, answer in found.items())
