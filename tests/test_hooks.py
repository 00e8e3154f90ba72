"""What is hooked into botocore is honoured on every transport, from the next call on.

A hook that answers or refuses a call keeps it from the network: the endpoint is a server that
records what it is sent.
"""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import functools
import json
import socket
import threading
import typing as t
import unittest.mock

import botocore.awsrequest
import botocore.client
import botocore.endpoint
import botocore.handlers
import botocore.httpsession
import botocore.stub
import pytest
import urllib3
import urllib3.connection
import wrapt
from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import GetError

import dynamo_ext
import engines
from conftest import InApp
from conftest import RunPython
from dynamo_ext_async import Model
from stub import Stub

pytestmark = pytest.mark.once(reason="each test names its transport")

TRANSPORTS = ["botocore", "direct", "auto"]
KEY = {"id": {"S": "from the hook"}}
BODY = json.dumps({"Item": KEY}).encode()
Hook = cabc.Callable[[t.Any], contextlib.AbstractContextManager[object]]


class Item(Model):
    class Meta:
        table_name = "item"

    id = UnicodeAttribute(hash_key=True)


class Refused(Exception):
    """What a hook raises."""


class Raw:
    """The body of a reply."""

    def stream(self, *args: t.Any, **kwargs: t.Any) -> cabc.Iterator[bytes]:
        yield BODY


def response(**event: t.Any) -> t.Any:
    return t.cast(t.Any, botocore.awsrequest.AWSResponse)("http://x", 200, {}, Raw())


def parsed() -> dict[str, t.Any]:
    return {"Item": KEY, "ResponseMetadata": {"HTTPStatusCode": 200}}


def refuse(*args: t.Any, **event: t.Any) -> t.Any:
    raise Refused


@contextlib.contextmanager
def handler(client: t.Any, *, event: str, function: cabc.Callable[..., t.Any]) -> t.Iterator[None]:
    client.meta.events.register(event, function)
    yield
    client.meta.events.unregister(event, function)


@contextlib.contextmanager
def stubber(client: t.Any) -> t.Iterator[None]:
    with botocore.stub.Stubber(client) as stubbed:
        stubbed.add_response("get_item", {"Item": KEY})
        yield


def patched(owner: t.Any, name: str, value: t.Any) -> Hook:
    return lambda client: unittest.mock.patch.object(owner, name, value)


def wrapped(client: t.Any) -> contextlib.AbstractContextManager[object]:
    """As instrumentations do it: the name and module of the function are those of botocore's."""
    base: t.Any = botocore.client.BaseClient
    original = base._make_api_call

    @functools.wraps(original)
    def traced(self: t.Any, operation_name: str, params: t.Any) -> t.Any:
        return parsed()

    return unittest.mock.patch.object(base, "_make_api_call", traced)


@contextlib.contextmanager
def wrapped_by_wrapt(client: t.Any) -> t.Iterator[None]:
    """As OpenTelemetry and X-Ray do it: the wrapper claims to be a function, and equal to it."""
    base: t.Any = botocore.client.BaseClient
    original = vars(base)["_make_api_call"]

    def trace(wrapped: t.Any, instance: t.Any, args: t.Any, kwargs: t.Any) -> t.Any:
        return parsed()

    wrapt.wrap_function_wrapper(botocore.client, "BaseClient._make_api_call", trace)

    try:
        yield
    finally:
        base._make_api_call = original


def on(event: str, function: cabc.Callable[..., t.Any]) -> Hook:
    return functools.partial(handler, event=event, function=function)


ANSWERING: dict[str, Hook] = {
    "a Stubber": stubber,
    "before-send": on("before-send.dynamodb.GetItem", response),
    "before-send of all services": on("before-send", response),
    "before-send, with a wildcard": on("before-send.*.GetItem", response),
    "before-call": on("before-call.dynamodb", lambda **event: (response(), parsed())),
    "_make_api_call as a mock": lambda client: unittest.mock.patch(
        "botocore.client.BaseClient._make_api_call", return_value=parsed()
    ),
    "_make_api_call, wrapped": wrapped,
    "_make_api_call, wrapped by wrapt": wrapped_by_wrapt,
    "_make_api_call of the client": lambda client: unittest.mock.patch.object(
        client, "_make_api_call", return_value=parsed()
    ),
    "make_request of the class": patched(
        botocore.endpoint.Endpoint, "make_request", lambda *arguments: (response(), parsed())
    ),
    "make_request of the client": lambda client: unittest.mock.patch.object(
        client._endpoint, "make_request", return_value=(response(), parsed())
    ),
    "send of the class": patched(
        botocore.httpsession.URLLib3Session, "send", lambda self, request: response()
    ),
    "send of the client": lambda client: unittest.mock.patch.object(
        client._endpoint.http_session, "send", return_value=response()
    ),
}
REFUSING: dict[str, Hook] = {
    **{
        event: on(f"{event}.dynamodb.GetItem", refuse)
        for event in (
            "provide-client-params",
            "before-parameter-build",
            "before-call",
            "request-created",
            "choose-signer",
            "before-sign",
            "before-send",
        )
    },
    "before-endpoint-resolution": on("before-endpoint-resolution.dynamodb", refuse),
    "urlopen": patched(urllib3.HTTPConnectionPool, "urlopen", refuse),
    "the connection class": patched(
        botocore.awsrequest.AWSHTTPConnectionPool, "ConnectionCls", refuse
    ),
}
SEEING = ["response-received", "needs-retry", "after-call"]
Get = cabc.Callable[[str], str]


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return t.cast(str, request.param)


class Senders:
    """What has sent each call."""

    def __init__(self) -> None:
        self.names: list[str | None] = []

    def __call__(self, sender: object, call: dynamo_ext.Call, **more: object) -> None:
        self.names.append(call.transport)


@pytest.fixture
def senders() -> cabc.Iterator[list[str | None]]:
    senders = Senders()

    with dynamo_ext.call_finished.connected_to(senders):
        yield senders.names


def settings(stub: Stub, transport: str) -> dict[str, t.Any]:
    return {
        **engines.config(stub.url),
        "DYNAMODB_TRANSPORT": transport,
        "DYNAMODB_MAX_RETRY_ATTEMPTS": 0,
    }


def usual(transport: str) -> str:
    return "botocore" if transport == "botocore" else "direct"


@pytest.mark.parametrize("what", ANSWERING)
def test_a_call_that_a_hook_answers_never_reaches_the_network(
    in_app: InApp, stub: Stub, senders: list[str | None], transport: str, what: str
) -> None:
    with in_app(settings(stub, transport)) as db:
        client: t.Any = db.connection.client
        assert Item.get("a").id == "a"

        for count in (1, 2):
            with ANSWERING[what](client):
                assert Item.get("b").id == "from the hook"

            assert len(stub.requests) == count
            assert Item.get("c").id == "c"

    assert len(stub.requests) == 3
    assert senders[0::2] == [usual(transport)] * 3
    # What replaces the client's own method sends it, or does not.
    assert set(senders[1::2]) == {None if what == "_make_api_call of the client" else "botocore"}


@pytest.mark.parametrize("what", REFUSING)
def test_a_call_that_a_hook_refuses_never_reaches_the_network(
    in_app: InApp, stub: Stub, senders: list[str | None], transport: str, what: str
) -> None:
    with in_app(settings(stub, transport)) as db:
        assert Item.get("a").id == "a"
        # urllib3 has a class of connections for each pool, which it may have made already.
        t.cast(t.Any, db.connection.client)._endpoint.http_session.close()

        with REFUSING[what](db.connection.client), pytest.raises((Refused, GetError)):
            Item.get("b")

        assert len(stub.requests) == 1
        assert Item.get("c").id == "c"

    assert senders == [usual(transport), "botocore", usual(transport)]


@pytest.mark.parametrize("event", SEEING)
def test_a_hook_that_looks_on_sees_the_call(
    in_app: InApp, stub: Stub, senders: list[str | None], transport: str, event: str
) -> None:
    seen: list[str] = []

    def look(event_name: str, **event: t.Any) -> None:
        seen.append(event_name)

    with in_app(settings(stub, transport)) as db:
        Item.get("a")

        with handler(db.connection.client, event=f"{event}.dynamodb", function=look):
            assert Item.get("b").id == "b"

        assert Item.get("c").id == "c"

    assert seen == [f"{event}.dynamodb.GetItem"]
    assert senders == [usual(transport), "botocore", usual(transport)]


@pytest.mark.anyio
@pytest.mark.parametrize("what", ["a Stubber", "before-send", "_make_api_call, wrapped"])
async def test_awaited_calls_too(
    in_app: InApp, stub: Stub, senders: list[str | None], transport: str, what: str
) -> None:
    threads: set[str] = set()

    def note_thread(**event: t.Any) -> None:
        threads.add(threading.current_thread().name)

    with in_app(settings(stub, transport)) as db:
        for _ in range(3):
            assert (await Item.aget("a")).id == "a"

        client = db.connection.client

        with ANSWERING[what](client):
            client.meta.events.register_first("before-call.dynamodb", note_thread)
            assert (await Item.aget("b")).id == "from the hook"
            client.meta.events.unregister("before-call.dynamodb", note_thread)

        assert len(stub.requests) == 3
        assert (await Item.aget("c")).id == "c"

    assert senders == [*[usual(transport)] * 3, "botocore", usual(transport)]
    assert "dynamo-ext hub" not in threads


def test_the_class_of_encrypted_connections_counts_for_all(
    in_app: InApp, stub: Stub, senders: list[str | None], transport: str
) -> None:
    class Traced(urllib3.connection.HTTPSConnection):
        pass

    with in_app(settings(stub, transport)) as db:
        Item.get("a")

        with patched(botocore.awsrequest.AWSHTTPSConnectionPool, "ConnectionCls", Traced)(
            db.connection.client
        ):
            Item.get("b")

    assert senders == [usual(transport), "botocore"]


def test_a_hook_into_another_operation_changes_nothing(
    in_app: InApp, stub: Stub, senders: list[str | None]
) -> None:
    with in_app(settings(stub, "direct")) as db:
        with handler(db.connection.client, event="before-send.dynamodb.Query", function=refuse):
            Item.get("a")

            with pytest.raises(Refused):
                list(Item.query("a"))

        with handler(db.connection.client, event="before-send.s3", function=refuse):
            Item.get("a")

    assert senders == ["direct", "botocore", "direct"]


def test_a_handler_of_botocore_s_that_is_taken_away_is_missed(
    in_app: InApp, stub: Stub, senders: list[str | None]
) -> None:
    with in_app(settings(stub, "direct")) as db:
        events = db.connection.client.meta.events
        Item.get("a")
        events.unregister("needs-retry.dynamodb", unique_id="retry-config-dynamodb")
        Item.get("b")

    assert senders == ["direct", "botocore"]


def test_a_handler_that_the_session_has_before_the_client_counts(
    in_app: InApp, stub: Stub, senders: list[str | None], transport: str
) -> None:
    with in_app(settings(stub, transport)) as db:
        db.connection.session.register("before-send.dynamodb", response)
        assert Item.get("a").id == "from the hook"
        assert stub.requests == []
        db.connection.client.meta.events.unregister("before-send.dynamodb", response)
        assert Item.get("b").id == "b"

    assert senders == ["botocore", usual(transport)]


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_is_added_to_botocore_s_own_handlers_counts(
    in_app: InApp,
    stub: Stub,
    senders: list[str | None],
    transport: str,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
) -> None:
    """As moto does, whether or not the client is older."""
    mine = t.cast(t.Any, ("before-send", response))
    builtin = [*botocore.handlers.BUILTIN_HANDLERS]

    with in_app(settings(stub, transport)) as db:
        if when == "after":
            assert Item.get("a").id == "a"

        monkeypatch.setattr(botocore.handlers, "BUILTIN_HANDLERS", [*builtin, mine])
        assert Item.get("b").id == "from the hook"
        assert Item.get("b").id == "from the hook"
        assert len(stub.requests) == (when == "after")
        assert db.connection.client

    assert senders[-1] == "botocore"


def test_a_call_that_was_not_sent_names_no_transport(
    in_app: InApp, stub: Stub, senders: list[str | None], transport: str
) -> None:
    config = {**settings(stub, transport), "DYNAMODB_POOL_TIMEOUT_SECONDS": 0.01}

    with in_app(config, DYNAMODB_MAX_POOL_CONNECTIONS=1) as db:
        slot = db.pool.acquire(1)

        with pytest.raises(dynamo_ext.PoolTimeout):
            Item.get("a")

        slot.release()
        assert Item.get("a").id == "a"

    assert senders == [None, usual(transport)]


@pytest.mark.anyio
async def test_auto_makes_awaited_calls_in_worker_threads(in_app: InApp, stub: Stub) -> None:
    """Only who asks for the transport ``direct`` gets the hub."""
    names: dict[str, list[str]] = {"auto": [], "direct": []}

    for transport, threads in names.items():

        def note(
            sender: object,
            call: dynamo_ext.Call,
            threads: list[str] = threads,
            **more: object,
        ) -> None:
            assert call.transport == "direct"
            threads.append(threading.current_thread().name)

        with dynamo_ext.call_finished.connected_to(note), in_app(settings(stub, transport)):
            for _ in range(3):
                await Item.aget("a")

    # A thread of its own beside the hub, where it may block.
    assert "dynamo-ext" not in names["auto"]
    assert "dynamo-ext" in names["direct"]


WITHOUT_EXTRA = """
import json, sys

sys.modules["httptools"] = None
import flask
from pynamodb.attributes import UnicodeAttribute
import dynamo_ext

app = flask.Flask(__name__)
app.config.from_mapping(json.loads(sys.argv[1]))
db = dynamo_ext.PynamoDB(app)
app.app_context().push()


class Item(dynamo_ext.Model):
    class Meta:
        table_name = "item"

    id = UnicodeAttribute(hash_key=True)


def note(sender, call):
    print(call.transport)


dynamo_ext.call_finished.connect(note)
Item.get("a")
"""


@pytest.mark.slow
def test_auto_is_botocore_where_the_extra_is_not_installed(
    run_python: RunPython, stub: Stub
) -> None:
    done = run_python(WITHOUT_EXTRA, json.dumps(settings(stub, "auto")))
    assert (done.stdout.strip(), done.stderr) == ("botocore", "")


MOTO = """
import json, sys
import flask
from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import PynamoDBException
import dynamo_ext

app = flask.Flask(__name__)
app.config.from_mapping(json.loads(sys.argv[1]))
db = dynamo_ext.PynamoDB(app)
app.app_context().push()
senders = []
note = lambda sender, call: senders.append(call.transport)
dynamo_ext.call_finished.connect(note)


class Item(dynamo_ext.Model):
    class Meta:
        table_name = "item"

    id = UnicodeAttribute(hash_key=True)


def reaches_the_network():
    before = len(senders)

    try:
        Item.get("a")
    except PynamoDBException as error:
        assert "ConnectionClosedError" in repr(error.cause), error.cause

    print("sent by", *senders[before:])


reaches_the_network()
import moto


def use_table():
    Item.create_table(wait=True)
    Item("a").save()
    assert Item.get("a").id == "a"
    print("mocked")


with moto.mock_aws():
    use_table()

reaches_the_network()
moto.mock_aws(use_table)()
reaches_the_network()
"""


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["botocore", "direct"])
def test_a_mock_of_moto_counts_though_the_client_is_older_than_moto(
    run_python: RunPython, transport: str
) -> None:
    """A proxy stands for the network, because moto mocks AWS's own hosts alone."""
    config = {
        "DYNAMODB_REGION": "eu-west-1",
        "DYNAMODB_TRANSPORT": transport,
        "DYNAMODB_MAX_RETRY_ATTEMPTS": 0,
        "DYNAMODB_AWS_ACCESS_KEY_ID": "testing",
        "DYNAMODB_AWS_SECRET_ACCESS_KEY": "testing",
    }
    connections: list[object] = []

    with socket.create_server((engines.HOST, 0)) as proxy:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, address = proxy.accept()
                    connection.recv(10_000)
                    connection.close()
                    connections.append(address)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        url = f"http://{engines.HOST}:{proxy.getsockname()[1]}"
        done = run_python(MOTO, json.dumps(config), env={"HTTPS_PROXY": url, "NO_PROXY": ""})
        proxy.shutdown(socket.SHUT_RDWR)

    thread.join()
    assert done.returncode == 0, done.stderr
    sent = f"sent by {transport}"
    assert done.stdout.splitlines() == [sent, "mocked", sent, "mocked", sent]
    assert len(connections) == 3
