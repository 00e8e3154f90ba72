from __future__ import annotations

import collections.abc as cabc
import contextlib
import threading
import types
import typing as t

import botocore.exceptions
import pytest
from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import GetError

from conftest import InApp
from dynamo_ext import DamagedReply
from dynamo_ext import Model
from dynamo_ext import Pool
from dynamo_ext.calls.retry import Damaged
from dynamo_ext.calls.retry import Retry
from dynamo_ext.calls.retry import full_jitter
from stub import INTERNAL_ERROR
from stub import RESET
from stub import THROTTLE
from stub import UNAVAILABLE
from stub import Answer
from stub import Stub
from stub import closing
from stub import delayed
from stub import error

pytestmark = pytest.mark.wire


class Book(Model):
    class Meta:
        table_name = "book"

    id = UnicodeAttribute(hash_key=True)


FAST = {"DYNAMODB_BASE_BACKOFF_MS": 0}

RETRIED: dict[str, Answer] = {
    "throttled": THROTTLE,
    "request limit": error(400, "RequestLimitExceeded"),
    "500": INTERNAL_ERROR,
    "503": UNAVAILABLE,
    "500 closing": Answer(status=500, close=True),
    "reset": RESET,
}

NOT_RETRIED: dict[str, Answer] = {
    "validation": error(400, "ValidationException"),
    "condition": error(400, "ConditionalCheckFailedException"),
    "missing table": error(400, "ResourceNotFoundException"),
    "access": error(400, "AccessDeniedException"),
}


@pytest.mark.parametrize("failure", RETRIED)
def test_call_is_sent_again(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any], failure: str
) -> None:
    stub.next("GetItem", RETRIED[failure], RETRIED[failure])

    with in_app(stub_config, **FAST):
        assert Book.get("a").id == "a"

    assert stub.operations == ["GetItem"] * 3


@pytest.mark.parametrize("failure", NOT_RETRIED)
def test_call_is_not_sent_again(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any], failure: str
) -> None:
    stub.next("GetItem", NOT_RETRIED[failure])

    with in_app(stub_config, **FAST), pytest.raises(GetError, match="said the stub"):
        Book.get("a")

    assert stub.operations == ["GetItem"]


def test_call_fails_after_the_last_attempt(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    stub.always("GetItem", THROTTLE)

    with in_app(stub_config, **FAST):
        with pytest.raises(GetError, match="ProvisionedThroughputExceededException"):
            Book.get("a")

        assert stub.operations == ["GetItem"] * 4


def test_server_is_told_of_the_attempts(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    stub.next("GetItem", THROTTLE)

    with in_app(stub_config, **FAST, DYNAMODB_MAX_RETRY_ATTEMPTS=2):
        Book.get("a")

    attempts = [request.header("amz-sdk-request") or "" for request in stub.requests]
    assert ["attempt=1" in attempts[0], "attempt=2" in attempts[1]] == [True, True]
    assert "max=3" in attempts[1]


def test_connection_that_the_server_has_closed_costs_no_attempt(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    stub.next("GetItem", closing(Answer(body={"Item": {"id": {"S": "a"}}})))

    with in_app(stub_config, DYNAMODB_MAX_RETRY_ATTEMPTS=0):
        assert Book.get("a").id == "a"
        stub.wait_for(lambda: stub.total_closed == 1)
        assert Book.get("b").id == "b"

    assert stub.total_connections == 2


def test_read_timeout_is_retried(in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]) -> None:
    stub.next("GetItem", delayed(20, Answer()))

    with in_app(stub_config, **FAST, DYNAMODB_READ_TIMEOUT_SECONDS=0.2):
        assert Book.get("a").id == "a"

    assert stub.operations == ["GetItem"] * 2


def test_read_timeout_without_retries(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    stub.next("GetItem", delayed(20, Answer()))
    settings = {"DYNAMODB_MAX_RETRY_ATTEMPTS": 0, "DYNAMODB_READ_TIMEOUT_SECONDS": "0.2"}

    with in_app(stub_config, **settings), pytest.raises(GetError) as raised:
        Book.get("a")

    assert isinstance(raised.value.cause, botocore.exceptions.ReadTimeoutError)
    assert stub.operations == ["GetItem"]


def test_waits_grow_from_the_base() -> None:
    retry = Retry(lambda **event: 1.0, base_ms=40, draw=lambda: 0.5)
    waits = [retry.needs_retry(attempts=attempts, response=None) for attempts in range(1, 6)]
    assert waits == pytest.approx([0.02, 0.04, 0.08, 0.16, 0.32])


def test_waits_are_drawn_between_none_and_the_whole() -> None:
    draws = iter([0.0, 0.25, 0.999])
    retry = Retry(lambda **event: 1.0, base_ms=1000, draw=lambda: next(draws))
    waits = [retry.needs_retry(attempts=2, response=None) for _ in range(3)]
    assert waits == pytest.approx([0.0, 0.5, 1.998])


def test_waits_have_an_end() -> None:
    for exponent in (20, 64, 10_000):
        assert full_jitter(25, exponent, draw=lambda: 1.0) == 20


def test_base_beyond_all_bounds_has_the_same_end() -> None:
    retry = Retry(lambda **event: 1.0, base_ms=10**400, draw=lambda: 0.5)
    assert retry.needs_retry(attempts=1, response=None) == 10


def test_base_of_zero_never_waits() -> None:
    retry = Retry(lambda **event: 1.0, base_ms=0, draw=lambda: 1.0)
    assert {retry.needs_retry(attempts=n, response=None) for n in range(1, 50)} == {0}


@pytest.mark.parametrize("decision", [None, False])
def test_decision_not_to_retry_is_kept(decision: t.Literal[False] | None) -> None:
    retry = Retry(lambda **event: decision, base_ms=1000)
    assert retry.needs_retry(attempts=1, response=None) is decision


def test_decision_gets_the_whole_event() -> None:
    seen: dict[str, t.Any] = {}

    def decide(**event: t.Any) -> None:
        seen.update(event)

    Retry(decide, base_ms=1).needs_retry(attempts=2, response=None, operation="x", endpoint="y")
    assert seen == {"attempts": 2, "response": None, "operation": "x", "endpoint": "y"}


def response_asking(retry_after: str) -> tuple[t.Any, t.Any]:
    return types.SimpleNamespace(headers={"x-amz-retry-after": retry_after}), {}


@pytest.mark.parametrize(
    ("retry_after", "wait"),
    [("1500", 1.5), ("60000", 5.1), ("10", 0.1), ("-5", 0.1), ("soon", 0.1), ("9" * 400, 0.1)],
    ids=["longer", "too long", "shorter", "negative", "no number", "huge"],
)
def test_server_may_ask_for_a_longer_wait(retry_after: str, wait: float) -> None:
    retry = Retry(lambda **event: 1.0, base_ms=200, draw=lambda: 0.5)
    assert retry.needs_retry(attempts=1, response=response_asking(retry_after)) == pytest.approx(
        wait
    )


@contextlib.contextmanager
def one_slot_that_another_call_waits_for() -> cabc.Generator[Pool]:
    """Hold the only slot of a pool, and wait 0.1 s at most for another one."""
    pool, may_end = Pool(1), threading.Event()

    def take_and_keep() -> None:
        with pool.acquire(60):
            may_end.wait(60)

    with pool.acquire(0.1):
        other = threading.Thread(target=take_and_keep)
        other.start()

        while not pool.waiting:
            assert other.is_alive()

        yield pool

    may_end.set()
    other.join()
    assert (pool.in_use, pool.waiting) == (0, 0)


def test_without_a_slot_for_another_attempt_the_last_one_counts() -> None:
    retry = Retry(lambda **event: 1.0, base_ms=2, draw=lambda: 0.5)

    with one_slot_that_another_call_waits_for():
        assert retry.wait_for_retry(attempts=1, response=response_asking("0")) is False


def test_without_a_slot_for_another_attempt_a_damaged_reply_is_an_error() -> None:
    retry = Retry(lambda **event: 1.0, base_ms=2, draw=lambda: 0.5)
    operation = types.SimpleNamespace(name="GetItem")
    reply = (types.SimpleNamespace(headers={}, status_code=200), Damaged("it is cut"))

    with one_slot_that_another_call_waits_for(), pytest.raises(DamagedReply, match="it is cut"):
        retry.wait_for_retry(attempts=1, response=reply, operation=operation, request_dict={})


@pytest.mark.parametrize("make_model_client", [False, True], ids=["app", "model"])
def test_client_has_no_other_rule(in_app: InApp, make_model_client: bool) -> None:
    # Were botocore's own handler still there, two would answer.
    with in_app({}, DYNAMODB_BASE_BACKOFF_MS=0) as db:
        connection = Book._get_connection().connection if make_model_client else db.connection
        client: t.Any = connection.client
        answers = client.meta.events.emit(
            "needs-retry.dynamodb.GetItem",
            response=None,
            operation=client.meta.service_model.operation_model("GetItem"),
            attempts=1,
            caught_exception=botocore.exceptions.EndpointConnectionError(endpoint_url="x"),
            request_dict={"context": {}},
        )

    assert [delay for _, delay in answers if delay is not None] == [0]


def test_retries_stop_when_most_calls_fail(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    # Botocore's quota: a service in trouble isn't sent a multiple of the calls for long.
    stub.always("GetItem", INTERNAL_ERROR)

    with in_app(stub_config, **FAST):
        for _ in range(300):
            with pytest.raises(GetError):
                Book.get("a")

    assert 300 < len(stub.requests) < 600
