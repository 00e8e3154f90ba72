"""Requests are signed as botocore signs them, to the byte."""

from __future__ import annotations

import collections.abc as cabc
import copy
import typing as t

import botocore
import botocore.auth
import botocore.session
import hypothesis
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import strategies as st

from conftest import InApp
from dynamo_ext.transport import sigv4
from dynamo_ext.transport.sigv4 import Signer
from dynamo_ext.transport.sigv4 import signing_key
from stub import Stub

pytestmark = pytest.mark.once(reason="requests are signed")

KEY = {"id": {"S": "1"}}
names = st.one_of(
    st.sampled_from(["Host", "Date", "X-Amz-Date", "X-Amz-Target", "User-Agent", "traceparent"]),
    st.sampled_from(["Authorization", "X-Amz-Content-SHA256", "X-Amz-Security-Token", "Expect"]),
    st.text("abXY-", min_size=1, max_size=4),
    st.sampled_from(["a b", "a ", "ä"]),
)
values = st.one_of(st.text(" \tabcÄ,;", max_size=8), st.sampled_from(["a  b", " a", "1"]))
urls = st.builds(
    "{}://{}{}".format,
    st.sampled_from(["http", "https"]),
    st.sampled_from(
        ["dynamodb.eu-west-1.amazonaws.com", "Localhost:8000", "h:80", "h:443", "[::1]:8000"]
    ),
    st.sampled_from(["/", "", "/a/../b//c", "/ä b", "/?b=2&a=1", "/x?y"]),
)
contexts = st.sampled_from(
    [
        {},
        {"payload_signing_enabled": False},
        {"checksum": {"request_algorithm": {"in": "trailer"}}},
        {"checksum": {}},
    ]
)


def outcome(
    auth_class: t.Any, credentials: ReadOnlyCredentials | None, request: t.Any
) -> tuple[t.Any, t.Any]:
    """What becomes of a request, or the error."""
    try:
        auth_class(credentials, "dynamodb", "eu-west-1").add_auth(request)
    except Exception as error:
        return type(error), str(error)

    return request.headers.items(), request.context


def agree(credentials: ReadOnlyCredentials | None, request: t.Any) -> None:
    """Both sign it alike, in the same second."""
    while True:
        ours, theirs = copy.deepcopy(request), copy.deepcopy(request)
        expected = outcome(SigV4Auth, credentials, theirs)
        actual = outcome(Signer, credentials, ours)

        if ours.context.get("timestamp") == theirs.context.get("timestamp"):
            break

    assert actual == expected


def make_request(
    url: str, headers: cabc.Iterable[tuple[str, str]], data: t.Any = b"{}", **more: t.Any
) -> t.Any:
    request: t.Any = t.cast(t.Any, AWSRequest)(method="POST", url=url, data=data, **more)

    for name, value in headers:
        request.headers[name] = value

    return request


@hypothesis.given(
    url=urls,
    headers=st.lists(st.tuples(names, values), max_size=6),
    data=st.one_of(st.binary(max_size=5), st.just(b"x" * 5000)),
    token=st.sampled_from([None, "token", "a  token"]),
    context=contexts,
)
def test_a_request_is_signed_as_by_botocore(
    url: str,
    headers: list[tuple[str, str]],
    data: bytes,
    token: str | None,
    context: dict[str, t.Any],
) -> None:
    request = make_request(url, headers, data)
    request.context = dict(context)
    agree(ReadOnlyCredentials("AKID", "secret", token), request)


@pytest.mark.parametrize("data", ["text", {"a": "b"}, None, b""])
def test_any_kind_of_body_is_signed_as_by_botocore(data: t.Any) -> None:
    credentials = ReadOnlyCredentials("AKID", "secret", None)
    agree(credentials, make_request("http://h/", [("X-Amz-Target", "a")], data))


def test_parameters_are_signed_as_by_botocore() -> None:
    credentials = ReadOnlyCredentials("AKID", "secret", None)
    agree(credentials, make_request("http://h/", [], params={"b": "2", "a": "1"}))


def test_a_request_that_was_signed_before_is_signed_anew() -> None:
    credentials = ReadOnlyCredentials("AKID", "secret", "token")
    request = make_request("http://h/", [("X-Amz-Target", "a")])
    Signer(credentials, "dynamodb", "eu-west-1").add_auth(request)
    agree(credentials, request)


def test_without_credentials_botocore_says_so() -> None:
    agree(None, make_request("http://h/", []))


def test_the_key_is_the_one_of_aws_s_example() -> None:
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/signature-v4-examples.html, as it was.
    secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    expected = "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"
    assert signing_key(secret, "20150830", "us-east-1", "iam").hex() == expected


def test_keys_are_kept_but_not_all_of_them() -> None:
    first = signing_key("secret", "20150830", "us-east-1", "iam")
    assert signing_key("secret", "20150830", "us-east-1", "iam") is first

    for day in range(100):
        signing_key("secret", str(day), "us-east-1", "iam")

    assert signing_key("secret", "20150830", "us-east-1", "iam") is not first


def test_no_repr_shows_a_secret() -> None:
    signer = Signer(ReadOnlyCredentials("AKID", "very-secret", None), "dynamodb", "eu-west-1")
    signing_key("very-secret", "20150830", "us-east-1", "iam")
    assert "very-secret" not in repr(signer) + repr(signing_key)


def test_an_engine_s_client_signs_so(in_app: InApp, stub_config: dict[str, t.Any]) -> None:
    with in_app(stub_config) as db:
        signer = t.cast(t.Any, db.connection.client)._request_signer
        assert isinstance(signer.get_auth_instance("dynamodb", "us-east-1", "v4"), Signer)


@pytest.fixture
def client(stub: Stub) -> cabc.Iterator[t.Any]:
    """A client of botocore's that signs as an engine's does."""
    client = make_client(stub.url)
    sigv4.install(client)
    yield client
    client.close()


def make_client(url: str) -> t.Any:
    session = botocore.session.get_session()
    session.set_credentials("AKID", "secret", "token")
    return session.create_client("dynamodb", "us-east-1", endpoint_url=url)


def test_handlers_of_the_app_change_what_is_signed(client: t.Any, stub: Stub) -> None:
    def add(request: t.Any, **event: t.Any) -> None:
        request.headers["X-Of-The-App"] = "1"

    client.meta.events.register("before-sign.dynamodb", add)
    client.get_item(TableName="todo", Key=KEY)
    assert "x-of-the-app" in stub.requests[-1].signature.signed_headers


def test_a_handler_of_the_app_may_choose_not_to_sign(client: t.Any, stub: Stub) -> None:
    client.meta.events.register("choose-signer.dynamodb", lambda **event: botocore.UNSIGNED)
    client.get_item(TableName="todo", Key=KEY)
    assert stub.requests[-1].header("Authorization") is None


def test_another_signature_is_botocore_s(
    client: t.Any, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Own(SigV4Auth):
        def add_auth(self, request: t.Any) -> None:
            request.headers["Authorization"] = "of the app"

    monkeypatch.setitem(t.cast(t.Any, botocore.auth).AUTH_TYPE_MAPS, "v4", Own)
    client.get_item(TableName="todo", Key=KEY)
    assert stub.requests[-1].header("Authorization") == "of the app"


def test_a_presigned_url_is_botocore_s(client: t.Any, stub: Stub) -> None:
    stock = make_client(stub.url)
    arguments = ("get_item", {"TableName": "todo", "Key": KEY})

    while True:
        urls = [each.generate_presigned_url(*arguments) for each in (stock, client, stock)]

        if urls[0] == urls[2]:
            break

    assert urls[1] == urls[0]
    stock.close()


def test_with_its_log_on_botocore_signs(
    client: t.Any, stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG", "botocore.auth"):
        client.get_item(TableName="todo", Key=KEY)

    assert "CanonicalRequest" in caplog.text
    assert stub.requests[-1].header("Authorization")
