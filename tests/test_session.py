"""botocore's session: what it does for other services waits until one of them is used."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

import botocore.exceptions
import botocore.handlers
import botocore.session
import pytest

from conftest import InApp
from dynamo_ext.client.session import Session
from dynamo_ext.transport import hooks

pytestmark = pytest.mark.once(reason="both transports have botocore's session")

# What DynamoDB's clients emit, and a client that is created.
EVENTS = [
    "creating-client-class.dynamodb",
    *(
        f"{event}.dynamodb.GetItem"
        for event in (*hooks._EVENTS, "getattr", "docs.*", "docs.request-params")
    ),
    "docs.request-params.dynamodb.GetItem.complete-section",
    "choose-service-name",
]


def handlers(session: botocore.session.Session, event: str) -> list[t.Any]:
    """What a session calls for an event, in its order."""
    called: list[t.Any] = []
    emitter = t.cast(t.Any, session).get_component("event_emitter")

    for handler in emitter._emitter._handlers.prefix_search(event):
        called.append(getattr(handler, "__func__", handler))

    return called


def outcome(session: botocore.session.Session) -> str:
    """What botocore says to a bucket that can't be one, before it sends anything."""
    client: t.Any = session.create_client(
        "s3", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b"
    )

    with pytest.raises(botocore.exceptions.ParamValidationError) as caught:
        client.head_object(Bucket="no bucket", Key="key")

    return str(caught.value)


@pytest.mark.parametrize("event", EVENTS)
def test_dynamodb_has_the_handlers_that_it_has_in_botocore(event: str) -> None:
    assert handlers(Session(), event) == handlers(botocore.session.get_session(), event)


def test_other_services_have_theirs_as_soon_as_they_are_used() -> None:
    session = Session()
    session.create_client("dynamodb", region_name="eu-west-1")
    expected = outcome(botocore.session.get_session())

    assert "Invalid bucket name" in expected
    # With the second client, too, and each handler once.
    assert [outcome(session), outcome(session)] == [expected, expected]

    events = [event.replace("*", "any") for event, *_ in botocore.handlers.BUILTIN_HANDLERS]
    stock = botocore.session.get_session()
    assert [handlers(session, event) for event in events] == [
        handlers(stock, event) for event in events
    ]


def test_an_app_gets_other_services_from_its_connection(
    in_app: InApp, stub_config: dict[str, t.Any]
) -> None:
    with in_app(stub_config) as db:
        assert db.connection.client
        assert "Invalid bucket name" in outcome(db.connection.session)


@pytest.mark.parametrize(
    ("event", "emitted"),
    [
        ("before-call", "before-call.dynamodb.GetItem"),
        ("before-call.*.GetItem", "before-call.dynamodb.GetItem"),
        ("before-call.dynamodb", "before-call.dynamodb.GetItem"),
        ("*.dynamodb.GetItem", "before-call.dynamodb.GetItem"),
        ("docs.request-params.dynamodb.*", "docs.request-params.dynamodb.GetItem"),
    ],
)
def test_handlers_that_tools_have_added_to_botocore_s_are_called(
    monkeypatch: pytest.MonkeyPatch, event: str, emitted: str
) -> None:
    def handle(**_: t.Any) -> None:
        pass

    listed = botocore.handlers.BUILTIN_HANDLERS
    monkeypatch.setattr(botocore.handlers, "BUILTIN_HANDLERS", [*listed, (event, handle)])
    assert handle in handlers(Session(), emitted)


def test_a_first_and_a_last_one_stay_first_and_last(monkeypatch: pytest.MonkeyPatch) -> None:
    def handler(name: str) -> cabc.Callable[..., None]:
        def handle(**_: t.Any) -> None:
            called.append(name)

        return handle

    called: list[str] = []
    listed = [
        ("before-call", handler("last"), botocore.handlers.REGISTER_LAST),
        ("before-call", handler("between")),
        ("before-call", handler("first"), botocore.handlers.REGISTER_FIRST),
    ]
    monkeypatch.setattr(botocore.handlers, "BUILTIN_HANDLERS", listed)
    t.cast(t.Any, Session()).get_component("event_emitter").emit("before-call.dynamodb.GetItem")
    assert called == ["first", "between", "last"]
