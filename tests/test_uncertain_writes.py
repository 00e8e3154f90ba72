"""Writes whose request or answer is lost: what the caller sees, and what is in the table then.

``docs/faults.md`` shows the same table; each of its rows is a row here.
"""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import pathlib
import signal
import threading
import typing as t

import botocore.exceptions
import flask
import pynamodb.exceptions
import pytest
import quart
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.attributes import UnicodeSetAttribute
from pynamodb.attributes import VersionAttribute
from pynamodb.exceptions import DeleteError
from pynamodb.exceptions import PutError
from pynamodb.exceptions import TableError
from pynamodb.exceptions import UpdateError

import stub as stubs
from conftest import InApp
from dynamo_ext_async import CallTimeout
from dynamo_ext_async import DamagedReply
from dynamo_ext_async import Model
from dynamo_ext_async import PoolTimeout
from dynamo_ext_async import PynamoDB
from dynamo_ext_async import WriteOutcomeUnknown
from relay import COUNTING
from relay import Relay
from stub import Answer
from stub import Behaviour
from stub import Stub
from threads import in_same_app

pytestmark = pytest.mark.wire

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "faults.md"
SETTINGS = {"DYNAMODB_BASE_BACKOFF_MS": 0, "DYNAMODB_MAX_RETRY_ATTEMPTS": 2}
RAISE = {"DYNAMODB_UNCERTAIN_WRITES": "raise"}

db = PynamoDB()


class Item(Model):
    class Meta:
        table_name = "item"

    id = UnicodeAttribute(hash_key=True)
    text = UnicodeAttribute(null=True)
    total = NumberAttribute(null=True)
    tags = UnicodeSetAttribute(null=True)


class Versioned(Model):
    class Meta:
        table_name = "versioned"

    id = UnicodeAttribute(hash_key=True)
    text = UnicodeAttribute(null=True)
    total = NumberAttribute(null=True)
    version = VersionAttribute()


def values(item: Model) -> dict[str, t.Any]:
    return {
        name: sorted(t.cast("set[str]", value)) if isinstance(value, set) else value
        for name, value in item.attribute_values.items()
        if value is not None
    }


def stored(model: type[Model]) -> list[dict[str, t.Any]]:
    """What is in a table."""
    return [values(item) for item in model.scan()]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seen:
    """What the caller sees, and what is in the table."""

    error: type[Exception] | None = None
    cause: type[Exception] | None = None
    is_unknown: bool = False
    attempts: int = 2
    table: cabc.Sequence[cabc.Mapping[str, t.Any]]


def failed(
    error: type[Exception],
    cause: type[Exception],
    *table: cabc.Mapping[str, t.Any],
    attempts: int = 2,
) -> Seen:
    return Seen(error=error, cause=cause, is_unknown=True, attempts=attempts, table=table)


def done(*table: cabc.Mapping[str, t.Any]) -> Seen:
    return Seen(table=table)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A write, for threads and for tasks."""

    operation: str
    send: cabc.Callable[[t.Any], t.Any]
    asend: cabc.Callable[[t.Any], cabc.Awaitable[t.Any]]
    """Gets the item, and returns what it is in the end."""

    request_lost: Seen
    answer_lost: Seen
    model: type[Model] = Item
    before: cabc.Mapping[str, t.Any] | None = None
    """What is in the table before, besides its key."""

    settings: cabc.Mapping[str, t.Any] = dataclasses.field(default_factory=dict[str, t.Any])


def batch(item: Item) -> None:
    with Item.batch_write() as writing:
        writing.save(item)
        writing.delete(Item("gone"))

    assert not writing.pending_operations


async def abatch(item: Item) -> None:
    async with Item.abatch_write() as writing:
        await writing.save(item)
        await writing.delete(Item("gone"))

    assert not writing.pending_operations


def transact(item: Item) -> None:
    with db.transact_write() as transaction:
        transaction.update(item, [Item.total.add(1)])


async def atransact(item: Item) -> None:
    async with db.atransact_write() as transaction:
        transaction.update(item, [Item.total.add(1)])


STATEMENTS = {
    "set": "UPDATE \"{}\" SET text = 'new' WHERE id = 'a'",
    "add": COUNTING,
}


def execute(name: str) -> t.Any:
    statement = STATEMENTS[name].format(Item.Meta.table_name)
    return db.connection.dispatch("ExecuteStatement", {"Statement": statement})


def aexecute(name: str) -> t.Any:
    return db.run_sync(lambda: execute(name))


def update(*actions: t.Any, condition: t.Any = None) -> cabc.Callable[[t.Any], t.Any]:
    return lambda item: item.update(list(actions), condition=condition)


def aupdate(*actions: t.Any, condition: t.Any = None) -> cabc.Callable[[t.Any], t.Any]:
    return lambda item: item.aupdate(list(actions), condition=condition)


A = {"id": "a"}
NEW = {"id": "a", "text": "new"}
CONDITION = botocore.exceptions.ClientError

ROWS = {
    "`save`": Row(
        operation="PutItem",
        send=lambda item: item.save(),
        asend=lambda item: item.asave(),
        request_lost=done(NEW),
        answer_lost=done(NEW),
    ),
    "`save` with a condition": Row(
        operation="PutItem",
        send=lambda item: item.save(Item.id.does_not_exist()),
        asend=lambda item: item.asave(Item.id.does_not_exist()),
        request_lost=done(NEW),
        answer_lost=done(NEW),
    ),
    "`save` with a version": Row(
        model=Versioned,
        before={"text": "old", "version": 1},
        operation="PutItem",
        send=lambda item: item.save(),
        asend=lambda item: item.asave(),
        request_lost=done({**NEW, "version": 2}),
        answer_lost=done({**NEW, "version": 2}),
    ),
    "`delete`, also with a condition or version": Row(
        model=Versioned,
        before={"text": "old", "version": 1},
        operation="DeleteItem",
        send=lambda item: item.delete(Versioned.id.exists()),
        asend=lambda item: item.adelete(Versioned.id.exists()),
        request_lost=done(),
        answer_lost=done(),
    ),
    "`update` with `set` or `remove`": Row(
        before={"text": "old", "total": 1},
        operation="UpdateItem",
        send=update(Item.text.set("new"), Item.total.remove()),
        asend=aupdate(Item.text.set("new"), Item.total.remove()),
        request_lost=done(NEW),
        answer_lost=done(NEW),
    ),
    "the same with a condition": Row(
        before={"text": "old", "total": 1},
        operation="UpdateItem",
        send=update(Item.text.set("new"), Item.total.remove(), condition=Item.total == 1),
        asend=aupdate(Item.text.set("new"), Item.total.remove(), condition=Item.total == 1),
        request_lost=done(NEW),
        answer_lost=done(NEW),
    ),
    "`update` with a version": Row(
        model=Versioned,
        before={"text": "old", "version": 1},
        settings=RAISE,
        operation="UpdateItem",
        send=update(Versioned.text.set("new")),
        asend=aupdate(Versioned.text.set("new")),
        request_lost=done({**NEW, "version": 2}),
        answer_lost=done({**NEW, "version": 2}),
    ),
    "`update` with `add` of a number, `retry`": Row(
        before={"total": 1},
        operation="UpdateItem",
        send=update(Item.total.add(1)),
        asend=aupdate(Item.total.add(1)),
        request_lost=done({**A, "total": 2}),
        answer_lost=done({**A, "total": 3}),
    ),
    "the same, `raise`": Row(
        before={"total": 1},
        settings=RAISE,
        operation="UpdateItem",
        send=update(Item.total.add(1)),
        asend=aupdate(Item.total.add(1)),
        request_lost=failed(UpdateError, WriteOutcomeUnknown, {**A, "total": 1}, attempts=1),
        answer_lost=failed(UpdateError, WriteOutcomeUnknown, {**A, "total": 2}, attempts=1),
    ),
    "`update` with `add` to a set, `raise`": Row(
        settings=RAISE,
        operation="UpdateItem",
        send=update(Item.tags.add({"x"})),
        asend=aupdate(Item.tags.add({"x"})),
        request_lost=done({**A, "tags": ["x"]}),
        answer_lost=done({**A, "tags": ["x"]}),
    ),
    "`update` with `add` that its own condition stops": Row(
        before={"total": 1},
        settings=RAISE,
        operation="UpdateItem",
        send=update(Item.total.add(1), condition=Item.total == 1),
        asend=aupdate(Item.total.add(1), condition=Item.total == 1),
        request_lost=done({**A, "total": 2}),
        answer_lost=done({**A, "total": 2}),
    ),
    "`update` with `add` and a condition that may hold again, `retry`": Row(
        before={"total": 1},
        operation="UpdateItem",
        send=update(Item.total.add(1), condition=Item.total < 2),
        asend=aupdate(Item.total.add(1), condition=Item.total < 2),
        request_lost=done({**A, "total": 2}),
        answer_lost=failed(UpdateError, CONDITION, {**A, "total": 2}),
    ),
    "a batch": Row(
        operation="BatchWriteItem",
        send=batch,
        asend=abatch,
        request_lost=done(NEW),
        answer_lost=done(NEW),
    ),
    "a transaction": Row(
        before={"total": 1},
        settings=RAISE,
        operation="TransactWriteItems",
        send=transact,
        asend=atransact,
        request_lost=done({**A, "total": 2}),
        answer_lost=done({**A, "total": 2}),
    ),
    "PartiQL with `SET a = ?`": Row(
        before={"text": "old"},
        settings=RAISE,
        operation="ExecuteStatement",
        send=lambda item: execute("set"),
        asend=lambda item: aexecute("set"),
        request_lost=done(NEW),
        answer_lost=done(NEW),
    ),
    "PartiQL with `SET a = a + ?`, `raise`": Row(
        before={"total": 1},
        settings=RAISE,
        operation="ExecuteStatement",
        send=lambda item: execute("add"),
        asend=lambda item: aexecute("add"),
        request_lost=Seen(
            error=WriteOutcomeUnknown, is_unknown=True, attempts=1, table=[{**A, "total": 1}]
        ),
        answer_lost=Seen(
            error=WriteOutcomeUnknown, is_unknown=True, attempts=1, table=[{**A, "total": 2}]
        ),
    ),
}
LOSSES = ["request", "answer"]


def prepare(row: Row) -> Model:
    """Put into the table what is in it before, and return an instance that is to be written."""
    for item in row.model.scan():
        t.cast(t.Any, item)._get_connection().delete_item("a")

    if row.before is not None:
        item = row.model("a", **row.before)
        t.cast(t.Any, item)._get_connection().put_item("a", attributes=item.serialize())

    before = row.before or {}
    version = {"version": before["version"]} if "version" in before else {}
    return row.model("a", text="new", **version)


def lose(relay: Relay, what: str, operation: str) -> None:
    relay.stub.forget()
    losing = relay.lose_requests if what == "request" else relay.lose_answers
    losing(operation)


def check(row: Row, lost: str, item: Model, error: Exception | None, stub: Stub) -> None:
    seen = row.request_lost if lost == "request" else row.answer_lost
    assert type(error) is (seen.error or type(None)), error
    assert stub.operations == [row.operation] * seen.attempts
    assert getattr(error, "outcome_unknown", False) is seen.is_unknown
    assert stored(row.model) == list(seen.table)
    assert db.pool.in_use == 0

    if seen.cause is not None:
        assert isinstance(t.cast(t.Any, error).cause, seen.cause)

    if seen.error is None and row.operation in {"PutItem", "UpdateItem"}:
        # The instance has the values that are stored, its version among them.
        assert [values(item)] == list(seen.table)


def failure_of(send: cabc.Callable[[t.Any], t.Any], item: Model) -> Exception | None:
    try:
        send(item)
    except Exception as error:
        return error

    return None


async def afailure_of(
    send: cabc.Callable[[t.Any], cabc.Awaitable[t.Any]], item: Model
) -> Exception | None:
    try:
        await send(item)
    except Exception as error:
        return error

    return None


@pytest.fixture(params=["retry", "raise"])
def mode(request: pytest.FixtureRequest) -> str:
    """The rows are run in one app for each, which is quicker than one for each row."""
    return t.cast(str, request.param)


def rows(mode: str) -> cabc.Iterator[Row]:
    for name, row in ROWS.items():
        if row.settings.get("DYNAMODB_UNCERTAIN_WRITES", "retry") == mode:
            print("row:", name)
            yield row


@pytest.mark.parametrize("lost", LOSSES)
def test_a_write_that_is_lost(
    mode: str, lost: str, stub: Stub, stub_config: dict[str, t.Any], engine: str
) -> None:
    relay = Relay(stub, engine)
    app = flask.Flask("of_flask")
    app.config.from_mapping({**stub_config, **SETTINGS}, DYNAMODB_UNCERTAIN_WRITES=mode)
    db.init_app(app)

    with app.app_context():
        for model in (Item, Versioned):
            model.create_table(wait=True)

        for row in rows(mode):
            item = prepare(row)
            lose(relay, lost, row.operation)
            error = failure_of(row.send, item)
            check(row, lost, item, error, stub)


@pytest.mark.anyio
@pytest.mark.parametrize("lost", LOSSES)
async def test_an_awaited_write_that_is_lost(
    mode: str, lost: str, stub: Stub, stub_config: dict[str, t.Any], embedded: str
) -> None:
    relay = Relay(stub, embedded)
    app = quart.Quart("of_quart")
    app.config.from_mapping({**stub_config, **SETTINGS}, DYNAMODB_UNCERTAIN_WRITES=mode)
    app.config["DYNAMODB_BLOCKING_CALLS"] = "allow"
    db.init_app(app)

    async with app.app_context():
        for model in (Item, Versioned):
            model.create_table(wait=True)

        for row in rows(mode):
            item = prepare(row)
            lose(relay, lost, row.operation)
            error = await afailure_of(row.asend, item)
            check(row, lost, item, error, stub)


def test_each_row_of_the_documentation_is_tested() -> None:
    _, _, after = PAGE.read_text().partition("| write | request lost | answer lost |\n")
    table, _, _ = after.partition("\n\n")
    rows = [row.strip("|").split("|")[0].strip() for row in table.splitlines()[1:]]
    assert rows == list(ROWS)


HTML = b"<html><body>of a proxy</body></html>"
UNCERTAIN: dict[str, Behaviour] = {
    "dropped": stubs.DROP,
    "reset": stubs.RESET,
    "500": stubs.INTERNAL_ERROR,
    "502 of a proxy": Answer(status=502, content=HTML, checksum=False),
    "503": stubs.UNAVAILABLE,
    "504 without content": Answer(status=504, content=b"", checksum=False),
    "damaged": Answer(content=b"{", checksum=False),
    "wrong checksum": stubs.WRONG_CHECKSUM,
    "cut": Answer(content=b'{"Attributes": {}}', cut=5),
    "held": stubs.HOLD,
}
CERTAIN: dict[str, Behaviour] = {
    "throttled": stubs.THROTTLE,
    "request limit": stubs.error(400, "RequestLimitExceeded"),
    "transaction conflict": stubs.error(400, "ThrottlingException"),
}


@pytest.fixture
def let_go(stub: Stub) -> cabc.Iterator[None]:
    yield
    stub.release()


def add_one() -> Item:
    item = Item("a")
    item.update([Item.total.add(1)])
    return item


@pytest.mark.usefixtures("let_go")
@pytest.mark.parametrize("loss", UNCERTAIN)
def test_whatever_loses_an_answer_makes_the_outcome_unknown(
    loss: str, in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    stub.next("UpdateItem", UNCERTAIN[loss])
    patience = {"DYNAMODB_READ_TIMEOUT_SECONDS": 0.3} if loss == "held" else {}

    with in_app(stub_config, **SETTINGS, **RAISE, **patience), pytest.raises(UpdateError) as raised:
        add_one()

    assert isinstance(raised.value.cause, WriteOutcomeUnknown)
    assert t.cast(t.Any, raised.value).outcome_unknown is True
    assert "UpdateItem" in str(raised.value)
    assert len(stub.requests) == 1


@pytest.mark.usefixtures("let_go")
@pytest.mark.parametrize("loss", UNCERTAIN)
def test_whatever_loses_an_answer_makes_a_failed_condition_ask_for_the_item(
    loss: str, in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    item = {"id": {"S": "a"}, "text": {"S": "new"}}
    stub.next("PutItem", UNCERTAIN[loss], condition_failed(item))
    patience = {"DYNAMODB_READ_TIMEOUT_SECONDS": 0.3} if loss == "held" else {}

    with in_app(stub_config, **SETTINGS, **patience):
        Item("a", text="new").save(Item.id.does_not_exist())

    first, second = stub.requests
    assert "ReturnValuesOnConditionCheckFailure" not in first.body
    assert second.body == {**first.body, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}


@pytest.mark.parametrize("answer", CERTAIN)
def test_what_was_refused_is_sent_again_as_it_was(
    answer: str, in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    stub.next("UpdateItem", CERTAIN[answer])
    stub.next("PutItem", CERTAIN[answer])

    with in_app(stub_config, **SETTINGS, **RAISE):
        add_one()
        Item("a").save(Item.id.does_not_exist())

    assert stub.operations == ["UpdateItem"] * 2 + ["PutItem"] * 2
    assert stub.requests[0].body == stub.requests[1].body
    assert stub.requests[2].body == stub.requests[3].body


def test_what_was_never_sent_is_not_uncertain(in_app: InApp, stub_config: dict[str, t.Any]) -> None:
    with Stub() as stopped:
        url = stopped.url

    settings = {**stub_config, **SETTINGS, **RAISE, "DYNAMODB_HOST": url}

    with in_app(settings), pytest.raises(UpdateError) as raised:
        add_one()

    assert isinstance(raised.value.cause, botocore.exceptions.EndpointConnectionError)
    assert t.cast(t.Any, raised.value).outcome_unknown is False


def test_a_server_that_is_too_busy_to_connect_to_makes_nothing_uncertain(
    in_app: InApp, stub_config: dict[str, t.Any], busy: str
) -> None:
    settings = {**stub_config, **SETTINGS, **RAISE, "DYNAMODB_HOST": busy}

    with (
        in_app(settings, DYNAMODB_CONNECT_TIMEOUT_SECONDS=0.2, DYNAMODB_MAX_RETRY_ATTEMPTS=0),
        pytest.raises(UpdateError) as raised,
    ):
        add_one()

    assert isinstance(raised.value.cause, botocore.exceptions.ConnectTimeoutError)
    assert t.cast(t.Any, raised.value).outcome_unknown is False


def condition_failed(item: t.Any = None) -> Answer:
    error = stubs.error(400, "ConditionalCheckFailedException")
    return Answer(status=400, body={**error.body, **({} if item is None else {"Item": item})})


def test_the_last_lost_answer_is_uncertain_too(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    """Also where there is no other attempt, and in each mode."""
    stub.always("UpdateItem", stubs.DROP)
    stub.always("PutItem", stubs.DROP)
    once = {**SETTINGS, "DYNAMODB_MAX_RETRY_ATTEMPTS": 0}

    with in_app(stub_config, **once), pytest.raises(UpdateError) as raised:
        add_one()

    assert isinstance(raised.value.cause, botocore.exceptions.ConnectionClosedError)
    assert t.cast(t.Any, raised.value).outcome_unknown is True

    with in_app(stub_config, **once, **RAISE):
        with pytest.raises(UpdateError) as raised:
            add_one()

        assert isinstance(raised.value.cause, WriteOutcomeUnknown)

        with pytest.raises(PutError) as put:
            Item("a").save()

        assert isinstance(put.value.cause, botocore.exceptions.ConnectionClosedError)
        assert t.cast(t.Any, put.value).outcome_unknown is True


def test_a_write_that_is_refused_after_a_lost_answer_may_have_been_applied(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    stub.next("PutItem", stubs.DROP, stubs.THROTTLE, stubs.THROTTLE)

    with in_app(stub_config, **SETTINGS), pytest.raises(PutError) as raised:
        Item("a").save()

    assert raised.value.cause_response_code == "ProvisionedThroughputExceededException"
    assert t.cast(t.Any, raised.value).outcome_unknown is True


def test_a_condition_that_fails_at_once_is_certain(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    """Also after a refusal; and whatever is stored."""
    item = {"id": {"S": "a"}}
    stub.next("PutItem", condition_failed(item), stubs.THROTTLE, condition_failed(item))

    with in_app(stub_config, **SETTINGS):
        for _ in range(2):
            with pytest.raises(PutError) as raised:
                Item("a").save(Item.id.does_not_exist())

            assert raised.value.cause_response_code == "ConditionalCheckFailedException"
            assert t.cast(t.Any, raised.value).outcome_unknown is False


@dataclasses.dataclass(frozen=True)
class Undecided:
    """A conditional write whose first attempt was lost, and what is stored when it fails."""

    operation: str
    send: cabc.Callable[[], object]
    stored: cabc.Mapping[str, t.Any] | None
    error: type[pynamodb.exceptions.PynamoDBException]


SOMEONES = {"id": {"S": "a"}, "text": {"S": "of someone else"}, "total": {"N": "5"}}
UNDECIDED = {
    "put, another item": Undecided(
        "PutItem",
        lambda: Item("a", text="new").save(Item.id.does_not_exist()),
        SOMEONES,
        PutError,
    ),
    "put, no item": Undecided(
        "PutItem", lambda: Item("a", text="new").save(Item.text == "old"), None, PutError
    ),
    "put, more attributes": Undecided(
        "PutItem",
        lambda: Item("a").save(Item.id.does_not_exist()),
        SOMEONES,
        PutError,
    ),
    "delete, an item": Undecided(
        "DeleteItem", lambda: Item("a").delete(Item.total == 1), SOMEONES, DeleteError
    ),
    "update, another value": Undecided(
        "UpdateItem",
        lambda: Item("a").update([Item.text.set("new")], condition=Item.total == 1),
        SOMEONES,
        UpdateError,
    ),
    "update, no item": Undecided(
        "UpdateItem",
        lambda: Item("a").update([Item.text.set("new")], condition=Item.total == 1),
        None,
        UpdateError,
    ),
    "update, a sum of what is not known": Undecided(
        "UpdateItem",
        lambda: Item("a").update([Item.total.add(1)], condition=Item.total < 5),
        SOMEONES,
        UpdateError,
    ),
    "update, in part": Undecided(
        "UpdateItem",
        lambda: Item("a").update(
            [Item.text.set("of someone else"), Item.tags.add({"x"})], condition=Item.total == 1
        ),
        SOMEONES,
        UpdateError,
    ),
}


@pytest.mark.parametrize("case", UNDECIDED)
def test_a_failed_condition_that_proves_nothing_leaves_the_outcome_unknown(
    case: str, in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    undecided = UNDECIDED[case]
    stub.next(undecided.operation, stubs.DROP, condition_failed(undecided.stored))

    with in_app(stub_config, **SETTINGS) as db:
        with pytest.raises(undecided.error) as raised:
            undecided.send()

        assert db.pool.in_use == 0

    error: t.Any = raised.value
    assert error.cause_response_code == "ConditionalCheckFailedException"
    assert error.outcome_unknown is True
    assert "Item" not in error.cause.response
    # Nobody has asked for it.
    assert "Item" not in error.cause.__cause__.response


def put(return_values: dict[str, str]) -> t.Any:
    return db.connection.dispatch(
        "PutItem",
        {
            "TableName": "item",
            "Item": {"id": {"S": "a"}, "text": {"S": "new"}},
            "ConditionExpression": "attribute_not_exists(id)",
            **return_values,
        },
    )


MINE = {"id": {"S": "a"}, "text": {"S": "new"}}


def test_what_the_caller_has_asked_for_is_asked_for_and_given(
    stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    app = flask.Flask("of_flask")
    app.config.from_mapping({**stub_config, **SETTINGS})
    db.init_app(app)
    asked = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    refused = {"ReturnValuesOnConditionCheckFailure": "NONE"}

    with app.app_context():
        stub.next("PutItem", stubs.DROP, condition_failed(MINE))
        assert put(asked)["ResponseMetadata"]["HTTPStatusCode"] == 200

        stub.next("PutItem", stubs.DROP, condition_failed(SOMEONES))

        with pytest.raises(botocore.exceptions.ClientError) as raised:
            put(asked)

        assert t.cast(t.Any, raised.value.__cause__).response["Item"] == SOMEONES

        stub.next("PutItem", stubs.DROP, condition_failed())

        with pytest.raises(botocore.exceptions.ClientError) as raised:
            put(refused)

        assert t.cast(t.Any, raised.value).outcome_unknown is True

    sent = [request.body.get("ReturnValuesOnConditionCheckFailure") for request in stub.requests]
    assert sent == ["ALL_OLD"] * 4 + ["NONE"] * 2


def test_a_success_that_can_not_say_what_was_there_before_is_an_error(
    stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    app = flask.Flask("of_flask")
    app.config.from_mapping({**stub_config, **SETTINGS})
    db.init_app(app)
    stub.next("PutItem", stubs.DROP, condition_failed(MINE))

    with app.app_context(), pytest.raises(botocore.exceptions.ClientError) as raised:
        put({"ReturnValues": "ALL_OLD"})

    assert t.cast(t.Any, raised.value).outcome_unknown is True


def test_an_update_that_was_applied_gives_what_is_stored(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    new = {"id": {"S": "a"}, "text": {"S": "new"}, "total": {"N": "7"}, "version": {"N": "2"}}
    stub.next("UpdateItem", stubs.DROP, condition_failed(new))

    with in_app(stub_config, **SETTINGS):
        item = Versioned("a", text="old", version=1)
        reply = item.update([Versioned.text.set("new")])

    assert reply["Attributes"] == new
    assert reply["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert reply["ResponseMetadata"]["RetryAttempts"] == 1
    assert (item.text, item.total, item.version) == ("new", 7, 2)


def test_a_version_that_someone_else_has_taken_is_not_ours(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    theirs = {"id": {"S": "a"}, "text": {"S": "theirs"}, "version": {"N": "2"}}
    stub.next("PutItem", stubs.DROP, condition_failed(theirs))

    with in_app(stub_config, **SETTINGS):
        item = Versioned("a", text="new", version=1)

        with pytest.raises(PutError):
            item.save()

    assert item.version == 1


def test_a_success_after_a_failed_condition_is_recorded_as_one(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any], caplog: pytest.LogCaptureFixture
) -> None:
    stub.next("PutItem", stubs.DROP, condition_failed(MINE))

    with in_app(stub_config, **SETTINGS) as app_db:
        Item("a", text="new").save(Item.id.does_not_exist())
        assert app_db.pool.stats().errors == 0

    assert "failed call" not in caplog.text


def tokens(stub: Stub) -> list[str]:
    return [request.body["ClientRequestToken"] for request in stub.requests]


@pytest.mark.parametrize("given", [None, "a-token-of-the-app"])
def test_each_attempt_of_a_transaction_has_the_same_token(
    given: str | None, in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    stub.next("TransactWriteItems", stubs.DROP, stubs.INTERNAL_ERROR)

    with in_app(stub_config, **SETTINGS, **RAISE) as app_db:
        for _ in range(2):
            with app_db.transact_write(client_request_token=given) as transaction:
                transaction.update(Item("a"), [Item.total.add(1)])

    first, second, third, of_the_next = tokens(stub)
    assert first == second == third
    assert given is None or first == given
    assert (of_the_next == first) is (given is not None)


def test_a_transaction_that_is_refused_was_not_applied_before(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    stub.next("TransactWriteItems", stubs.DROP, stubs.error(400, "TransactionCanceledException"))

    with (
        in_app(stub_config, **SETTINGS) as app_db,
        pytest.raises(pynamodb.exceptions.TransactWriteError) as raised,
        app_db.transact_write() as transaction,
    ):
        transaction.save(Item("a"))

    assert t.cast(t.Any, raised.value).outcome_unknown is False


def test_two_apps_on_one_client_have_each_its_own_rule(
    stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    retrying, raising = flask.Flask("retrying"), flask.Flask("raising")
    retrying.config.from_mapping({**stub_config, **SETTINGS})
    raising.config.from_mapping({**stub_config, **SETTINGS, **RAISE})
    db.init_app(retrying)
    db.init_app(raising)
    stub.next("UpdateItem", *[stubs.DROP] * 3)

    with raising.app_context():
        client = db.connection.client

        with pytest.raises(UpdateError):
            add_one()

    with retrying.app_context():
        assert db.connection.client is client
        add_one()

    assert stub.operations == ["UpdateItem"] * 4


def test_a_call_on_the_client_itself_obeys_too(stub: Stub, stub_config: dict[str, t.Any]) -> None:
    app = flask.Flask("raising")
    app.config.from_mapping({**stub_config, **SETTINGS, **RAISE})
    db.init_app(app)
    statement = "UPDATE item SET a = a + 1 WHERE id = 'a'"
    stub.next("ExecuteStatement", stubs.DROP)
    stub.next("BatchExecuteStatement", stubs.DROP)
    stub.next("GetItem", stubs.DROP)
    stub.next("PutItem", stubs.DROP)

    with app.app_context():
        client: t.Any = db.connection.client

        with pytest.raises(WriteOutcomeUnknown, match="ExecuteStatement"):
            client.execute_statement(Statement=statement)

        with pytest.raises(WriteOutcomeUnknown, match="BatchExecuteStatement"):
            client.batch_execute_statement(Statements=[{"Statement": statement}])

        client.get_item(TableName="item", Key={"id": {"S": "a"}})
        client.put_item(TableName="item", Item={"id": {"S": "a"}})

    assert stub.operations[2:] == ["GetItem"] * 2 + ["PutItem"] * 2


def test_a_read_is_never_uncertain(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    stub.next("GetItem", *[stubs.DROP] * 3)

    with (
        in_app(stub_config, **SETTINGS, **RAISE),
        pytest.raises(pynamodb.exceptions.GetError) as raised,
    ):
        Item.get("a")

    assert isinstance(raised.value.cause, botocore.exceptions.ConnectionClosedError)
    assert getattr(raised.value, "outcome_unknown", False) is False


def test_the_reason_of_a_lost_answer_is_kept(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    stub.next("UpdateItem", stubs.WRONG_CHECKSUM, stubs.UNAVAILABLE)

    with in_app(stub_config, **SETTINGS, **RAISE):
        with pytest.raises(UpdateError, match="x-amz-crc32") as raised:
            add_one()

        assert isinstance(t.cast(t.Any, raised.value.cause).__cause__, DamagedReply)

        with pytest.raises(UpdateError, match="status 503"):
            add_one()


def test_a_table_that_is_created_or_deleted_twice(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any], engine: str
) -> None:
    relay = Relay(stub, engine)

    with in_app(stub_config, **SETTINGS):
        relay.lose_answers("CreateTable")
        Item.create_table(wait=True)
        assert Item.exists()
        relay.lose_answers("DeleteTable")

        with pytest.raises(TableError) as raised:
            Item.delete_table()

        assert t.cast(t.Any, raised.value).outcome_unknown is True
        assert not Item.exists()


def test_the_deadline_of_a_write_leaves_its_outcome_unknown(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    stub.next("PutItem", stubs.HOLD)

    with in_app(stub_config, **SETTINGS, DYNAMODB_CALL_TIMEOUT_SECONDS=0.5) as app_db:
        assert app_db.connection.client

        with pytest.raises(CallTimeout) as raised:
            Item("a").save()

    stub.release()
    assert t.cast(t.Any, raised.value).outcome_unknown is True


@pytest.mark.anyio
@pytest.mark.parametrize("transport", ["botocore", "direct"])
@pytest.mark.parametrize("way", ["twin", "run_sync"])
async def test_the_deadline_of_an_awaited_write_leaves_its_outcome_unknown(
    stub: Stub, stub_config: dict[str, t.Any], transport: str, way: str
) -> None:
    app = quart.Quart(__name__)
    app.config.from_mapping(
        stub_config, DYNAMODB_TRANSPORT=transport, DYNAMODB_CALL_TIMEOUT_SECONDS=0.5
    )
    app_db = PynamoDB(app)

    async def fail(item: Item) -> t.Any:
        with pytest.raises(CallTimeout) as raised:
            await (item.asave() if way == "twin" else app_db.run_sync(item.save))

        return raised.value

    async with app.app_context():
        assert app_db.connection.client
        stub.next("PutItem", stubs.HOLD)
        stub.next("GetItem", stubs.HOLD)
        assert (await fail(Item("a"))).outcome_unknown is True

        with pytest.raises(CallTimeout) as raised:
            await Item.aget("a")

        assert not hasattr(raised.value, "outcome_unknown")
        stub.release()


def test_a_write_that_got_no_slot_was_not_applied(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    settings = {"DYNAMODB_MAX_POOL_CONNECTIONS": 1, "DYNAMODB_POOL_TIMEOUT_SECONDS": 0.1}

    with in_app(stub_config, **SETTINGS, **settings):
        stub.next("GetItem", stubs.held(stub._usual))
        reading = threading.Thread(target=in_same_app(Item.get), args=["a"])
        reading.start()
        stub.wait_for(lambda: stub.holding == 1)

        with pytest.raises(PoolTimeout) as raised:
            Item("a").save()

        stub.release()
        reading.join()

    assert t.cast(t.Any, raised.value).outcome_unknown is False
    assert "PutItem" not in stub.operations


class Interrupted(BaseException):
    """What a signal handler raises. botocore takes an ``Exception`` for one of the network."""


def test_an_exception_of_a_signal_handler_leaves_the_outcome_unknown(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    def interrupt(*signal: object) -> t.NoReturn:
        raise Interrupted

    def send_signal(request: stubs.Request) -> Answer:
        # It interrupts the wait for the answer, which has begun or is about to.
        signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
        return stubs.HOLD

    before = signal.signal(signal.SIGALRM, interrupt)
    stub.next("PutItem", send_signal)

    try:
        with in_app(stub_config, **SETTINGS) as app_db, pytest.raises(Interrupted) as raised:
            assert app_db.connection.client
            Item("a").save()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        stub.release()

    assert t.cast(t.Any, raised.value).outcome_unknown is True
