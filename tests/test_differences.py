"""Each deliberate difference from PynamoDB: a test for each row of docs/differences.md.

Each test shows what stock PynamoDB does, too, so that a release that changes it fails here.
"""

from __future__ import annotations

import asyncio
import collections.abc as cabc
import itertools
import pathlib
import re
import threading
import typing as t

import pynamodb.models
import pynamodb.settings
import pynamodb.signals
import pytest
from pynamodb.attributes import DiscriminatorAttribute
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import TTLAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import GetError
from pynamodb.exceptions import PutError
from pynamodb.exceptions import QueryError
from pynamodb.exceptions import TableDoesNotExist
from pynamodb.exceptions import TableError
from pynamodb.indexes import AllProjection
from pynamodb.indexes import GlobalSecondaryIndex
from pynamodb.indexes import KeysOnlyProjection

import dynamo_ext_async
import stock
import stub as stubs
from conftest import InApp
from dynamo_ext import ConfigError
from dynamo_ext import DamagedReply
from dynamo_ext import PoolTimeout
from dynamo_ext import PynamoDB
from dynamo_ext import Settings
from dynamo_ext import UnprocessedItems
from dynamo_ext import UnprocessedKeys
from dynamo_ext.models import tables
from relay import Relay
from stock import Side
from stub import Answer
from stub import Request
from stub import Stub
from threads import in_same_app

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "differences.md"
NOT_FOUND = stubs.error(400, "ResourceNotFoundException")
REFUSED = stubs.error(400, "ValidationException")
ON_DEMAND = "PAY_PER_REQUEST"

TESTED: dict[str, str] = {}
F = t.TypeVar("F", bound=cabc.Callable[..., t.Any])


def differs(row: str) -> cabc.Callable[[F], F]:
    """Mark the test of a row.

    :param row: The row's first cell.
    """

    def note(test: F) -> F:
        assert row not in TESTED
        TESTED[row] = test.__name__
        return test

    return note


class Models(t.NamedTuple):
    plain: t.Any
    line: t.Any


def models(side: Side) -> Models:
    class ByText(GlobalSecondaryIndex[t.Any]):
        class Meta:
            index_name = "by-text"
            projection = AllProjection()

        text = UnicodeAttribute(hash_key=True)

    class Plain(side.base):  # type: ignore[misc, name-defined]
        class Meta(side.connected):  # type: ignore[misc, name-defined]
            table_name = "plain"
            max_retry_attempts = 2

        id = UnicodeAttribute(hash_key=True)
        text = UnicodeAttribute(null=True)
        expires = TTLAttribute(null=True)
        by_text = ByText()

    class Line(side.base):  # type: ignore[misc, name-defined]
        class Meta(side.connected):  # type: ignore[misc, name-defined]
            table_name = "line"
            max_retry_attempts = 2

        page = UnicodeAttribute(hash_key=True)
        number = NumberAttribute(range_key=True)

    return Models(Plain, Line)


@pytest.fixture
def db(in_app: InApp, stub_config: dict[str, t.Any]) -> cabc.Iterator[PynamoDB]:
    with in_app(stub_config, DYNAMODB_TABLE_NAME_PREFIX="", DYNAMODB_BASE_BACKOFF_MS=0) as db:
        yield db


@pytest.fixture
def theirs(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> Side:
    # PynamoDB waits between two looks at a table.
    monkeypatch.setattr("pynamodb.models.time.sleep", lambda seconds: None)
    return stock.stock(stub)


@pytest.fixture
def ours(db: PynamoDB) -> Side:
    return stock.ours(db)


def written(stub: Stub) -> list[str]:
    """The keys that were to be written, in all requests."""
    return [
        operation["PutRequest"]["Item"]["id"]["S"]
        for request in stub.requests
        if request.operation == "BatchWriteItem"
        for operations in request.body["RequestItems"].values()
        for operation in operations
    ]


def described(model: t.Any, status: str = "ACTIVE") -> Answer:
    name = model.Meta.table_name
    return Answer(body={"Table": {"TableName": name, "TableStatus": status}})


def rows() -> list[list[str]]:
    """The cells of the table."""
    page = PAGE.read_text(encoding="utf-8")
    lines = re.findall(r"^\| .* \|$", page, flags=re.MULTILINE)
    return [[cell.strip() for cell in re.split(r" \| ", line.strip("| "))] for line in lines[1:]]


def test_each_row_has_a_test_and_each_test_a_row() -> None:
    assert [row[0] for row in rows()] == list(TESTED)


def test_each_row_says_what_pynamodb_does_what_happens_here_and_why() -> None:
    assert all(len(row) == 4 and all(row) for row in rows())


@differs("A range key for a model that has none")
def test_range_key_of_none(theirs: Side, ours: Side, stub: Stub) -> None:
    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'serialize'"):
        models(theirs).plain.get("1", "x")

    with pytest.raises(ValueError, match="'Plain' has no range key"):
        models(ours).plain.get("1", "x")

    assert not stub.requests


@differs("A key that is missing")
def test_missing_key(theirs: Side, ours: Side, stub: Stub) -> None:
    stub.always("GetItem", REFUSED)
    calls: list[cabc.Callable[[t.Any], t.Any]] = [
        lambda line: line.get(None, 1),
        lambda line: line("1").refresh(),
    ]

    for call in calls:
        with pytest.raises(GetError):
            call(models(theirs).line)

        stub.forget()

        with pytest.raises(ValueError, match=r"'Line' has the (range|hash) key"):
            call(models(ours).line)

        assert not stub.requests


@differs("A condition on a range key that there is not")
def test_range_key_condition(theirs: Side, ours: Side, stub: Stub) -> None:
    stub.always("Query", REFUSED)
    model = models(theirs).plain
    found = model.query("1", model.text == "x")

    with pytest.raises(QueryError):
        next(found)

    stub.forget()
    model = models(ours).plain

    with pytest.raises(ValueError, match="'Plain' has no range key"):
        model.query("1", model.text == "x")

    assert not stub.requests


@differs("An index that does not project the discriminator")
def test_discriminator(theirs: Side, ours: Side) -> None:
    def cat(side: Side) -> t.Any:
        class Animal(side.base):  # type: ignore[misc, name-defined]
            class Meta(side.connected):  # type: ignore[misc, name-defined]
                table_name = "animal"

            class ByName(GlobalSecondaryIndex[t.Any]):
                class Meta:
                    index_name = "by-name"
                    projection = KeysOnlyProjection()

                name = UnicodeAttribute(hash_key=True)

            id = UnicodeAttribute(hash_key=True)
            name = UnicodeAttribute(null=True)
            kind = DiscriminatorAttribute()
            by_name = ByName()

        class Cat(Animal, discriminator="cat"):  # type: ignore[call-arg]
            pass

        return Cat

    assert list(cat(theirs).by_name.query("Tom")) == []

    with pytest.warns(UserWarning, match="does not project 'kind'"):
        assert list(cat(ours).by_name.query("Tom")) == []


@differs("Lists and dictionaries as keys in `batch_get`")
def test_lists_as_keys(theirs: Side, ours: Side) -> None:
    for key in (["a", 1], {"page": "a", "number": 1}):
        with pytest.raises(TypeError, match="unhashable"):
            list(models(theirs).line.batch_get([key]))

        assert len(list(models(ours).line.batch_get([key]))) == 1


@differs("An invalid key in `batch_get`")
def test_invalid_key(theirs: Side, ours: Side) -> None:
    found = models(theirs).line.batch_get([("a",)])

    with pytest.raises(ValueError, match="Invalid key value"):
        next(found)

    with pytest.raises(ValueError, match=r"Invalid key value .* for 'Line' has a range key"):
        models(ours).line.batch_get([("a",)])


@differs("The order of keys in `batch_get`")
def test_order_of_keys(theirs: Side, ours: Side, stub: Stub) -> None:
    names = [f"{number:02}" for number in range(40)]
    sent = []

    for side in (theirs, ours):
        stub.forget()
        list(models(side).plain.batch_get(names))
        (part,) = stub.requests[0].body["RequestItems"].values()
        sent.append([key["id"]["S"] for key in part["Keys"]])

    assert sent[0] != names == sorted(sent[0])
    assert sent[1] == names


@differs("Keys that `batch_get` leaves unprocessed")
def test_unprocessed_keys(theirs: Side, ours: Side, stub: Stub) -> None:
    nothing = stubs.unprocessed

    def unprocessed(request: Request) -> Answer:
        return Answer(body={**nothing(request).body, "Responses": {"plain": []}})

    stub.next("BatchGetItem", *20 * [unprocessed])
    assert len(list(models(theirs).plain.batch_get(["1"]))) == 1
    assert len(stub.requests) == 21

    stub.next("BatchGetItem", *20 * [unprocessed])

    with pytest.raises(UnprocessedKeys):
        list(models(ours).plain.batch_get(["1"]))


@differs("Items that `batch_write` leaves unprocessed")
def test_unprocessed_items(theirs: Side, ours: Side, stub: Stub) -> None:
    def write(side: Side) -> int:
        stub.forget()
        model = models(side).plain

        with pytest.raises(PutError) as raised, model.batch_write() as batch:
            batch.save(model("1"))

        assert isinstance(raised.value, UnprocessedItems) == (not side.is_stock)
        assert len(batch.failed_operations) == 1
        return len(stub.requests)

    stub.always("BatchWriteItem", stubs.unprocessed)
    # Its number of attempts is a setting of its own calls; ours is not.
    assert write(theirs) == 2
    assert write(ours) == 8


@differs("An exception in the block of `batch_write`")
def test_exception_in_block(theirs: Side, ours: Side, stub: Stub) -> None:
    for side, expected in ((theirs, ["1"]), (ours, [])):
        stub.forget()
        model = models(side).plain

        with pytest.raises(LookupError), model.batch_write() as batch:
            batch.save(model("1"))
            raise LookupError

        assert written(stub) == expected


@differs("A batch that could not be written")
def test_failed_batch(theirs: Side, ours: Side, stub: Stub) -> None:
    for side, left in ((theirs, 0), (ours, 1)):
        model = models(side).plain
        stub.next("BatchWriteItem", REFUSED)
        batch = model.batch_write()
        batch.save(model("1"))

        with pytest.raises(PutError):
            batch.commit()

        assert len(batch.pending_operations) == left
        stub.forget()
        batch.commit()
        assert written(stub) == left * ["1"]


@differs("Several operations on one key in `batch_write`")
def test_several_operations(theirs: Side, ours: Side, stub: Stub) -> None:
    for side, expected in ((theirs, ["1", "2", "1"]), (ours, ["2", "1"])):
        stub.forget()
        model = models(side).plain

        with model.batch_write() as batch:
            for name in ("1", "2", "1"):
                batch.save(model(name))

        assert written(stub) == expected


def created(stub: Stub) -> dict[str, t.Any]:
    (request,) = [each for each in stub.requests if each.operation == "CreateTable"]
    return request.body


@differs("Neither a billing mode nor capacities")
def test_neither_mode_nor_capacity(theirs: Side, ours: Side, stub: Stub) -> None:
    nothing = {"ReadCapacityUnits": None, "WriteCapacityUnits": None}

    for side, mode, throughput in ((theirs, None, nothing), (ours, ON_DEMAND, None)):
        stub.forget()
        model = models(side).line
        model.create_table()
        assert created(stub).get("BillingMode") == mode
        assert created(stub).get("ProvisionedThroughput") == throughput
        model.delete_table()


@differs("`billing_mode = None` in a `Meta`")
def test_no_billing_mode(theirs: Side, ours: Side) -> None:
    for side in (theirs, ours):
        model = models(side).line
        model.Meta.billing_mode = None

        if side.is_stock:
            with pytest.raises(ValueError, match="incorrect value for billing_mode"):
                model.create_table()
        else:
            model.create_table()


@differs("`PROVISIONED` without both capacities")
def test_half_a_capacity(theirs: Side, ours: Side, stub: Stub) -> None:
    models(theirs).line.create_table(billing_mode="PROVISIONED", read_capacity_units=1)
    assert created(stub)["ProvisionedThroughput"]["WriteCapacityUnits"] is None
    models(theirs).line.delete_table()
    stub.forget()

    with pytest.raises(ConfigError, match="DYNAMODB_WRITE_CAPACITY_UNITS"):
        models(ours).line.create_table(billing_mode="PROVISIONED", read_capacity_units=1)

    assert "CreateTable" not in stub.operations


@differs("An index without capacities, on a provisioned table")
def test_capacity_of_index(theirs: Side, ours: Side, stub: Stub) -> None:
    capacity = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 2}

    for side, expected in ((theirs, {}), (ours, capacity)):
        stub.forget()
        model = models(side).plain
        model.create_table(
            billing_mode="PROVISIONED", read_capacity_units=1, write_capacity_units=2
        )
        (index,) = created(stub)["GlobalSecondaryIndexes"]
        assert index["ProvisionedThroughput"] == expected
        model.delete_table()


@differs("The wait for a table")
def test_wait_for_table(
    theirs: Side, ours: Side, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("pynamodb.models.time.sleep", waits.append)
    model = models(theirs).line
    busy = [described(model, "CREATING")] * 3
    stub.next("DescribeTable", NOT_FOUND, *busy, described(model))
    model.create_table(wait=True)
    assert waits == [2, 2, 2]

    growing = list(itertools.islice(tables.waits(), 8))
    assert growing[0] == 0
    assert growing[1:] == sorted(growing[1:])
    assert growing[-1] == 2
    stub.next("DescribeTable", NOT_FOUND, described(model, "CREATING"), described(model))
    monkeypatch.setattr(tables, "_LONGEST_WAIT", 0.0)
    models(ours).line.create_table(wait=True)


@differs("A table that somebody else has just created")
def test_table_in_use(theirs: Side, ours: Side, stub: Stub) -> None:
    stub.always("DescribeTable", NOT_FOUND)
    stub.always("CreateTable", stubs.error(400, "ResourceInUseException"))

    with pytest.raises(TableError):
        models(theirs).line.create_table()

    models(ours).line.create_table()


@differs("A new table that is not found yet")
def test_new_table_not_found(theirs: Side, ours: Side, stub: Stub) -> None:
    stub.next("DescribeTable", NOT_FOUND, NOT_FOUND)

    with pytest.raises(TableDoesNotExist):
        models(theirs).line.create_table(wait=True)

    models(theirs).line.delete_table()
    stub.next("DescribeTable", NOT_FOUND, NOT_FOUND)
    models(ours).line.create_table(wait=True)


@differs("TTL that is enabled already")
def test_ttl_enabled(theirs: Side, ours: Side, stub: Stub) -> None:
    stub.always(
        "UpdateTimeToLive", stubs.error(400, "ValidationException", "TimeToLive is already enabled")
    )

    with pytest.raises(TableError):
        models(theirs).plain.update_ttl(ignore_update_ttl_errors=False)

    models(ours).plain.update_ttl(ignore_update_ttl_errors=False)


@differs("The signal after a call that fails")
def test_signal_after_failure(theirs: Side, ours: Side, stub: Stub) -> None:
    stub.always("GetItem", REFUSED)
    seen: list[str] = []

    def note(sender: t.Any, **data: t.Any) -> None:
        seen.append(data["operation_name"])

    signals: t.Any = pynamodb.signals
    signals.post_dynamodb_send.connect(note)

    try:
        for side, expected in ((theirs, []), (ours, ["GetItem"])):
            with pytest.raises(GetError):
                models(side).plain.get("1")

            assert seen == expected
    finally:
        signals.post_dynamodb_send.disconnect(note)


@differs("A reply that is damaged")
def test_damaged_reply(theirs: Side, ours: Side, stub: Stub) -> None:
    stub.always("GetItem", Answer(content=b'{"Item": {"id', checksum=False))

    with pytest.raises(models(theirs).plain.DoesNotExist.__mro__[1]):
        models(theirs).plain.get("1")

    with pytest.raises(GetError) as raised:
        models(ours).plain.get("1")

    assert isinstance(raised.value.cause, DamagedReply)


@differs("A conditional write whose answer was lost")
def test_lost_answer(theirs: Side, ours: Side, stub: Stub, embedded: str) -> None:
    relay = Relay(stub, embedded)

    for side in (theirs, ours):
        model = models(side).plain
        model.create_table(wait=True, billing_mode=ON_DEMAND)

        try:
            relay.lose_answers("PutItem")

            if side.is_stock:
                with pytest.raises(PutError) as raised:
                    model("1").save(model.id.does_not_exist())

                assert raised.value.cause_response_code == "ConditionalCheckFailedException"
            else:
                model("1").save(model.id.does_not_exist())

            assert model.get("1").id == "1"
        finally:
            model.delete_table(wait=True)


@differs("Errors of writes")
def test_outcome_unknown(theirs: Side, ours: Side, stub: Stub) -> None:
    stub.always("PutItem", stubs.DROP)

    for side, expected in ((theirs, "nothing"), (ours, True)):
        with pytest.raises(PutError) as raised:
            models(side).plain("1").save()

        assert getattr(raised.value, "outcome_unknown", "nothing") is expected


@differs("The wait between two attempts")
def test_retries() -> None:
    theirs = pynamodb.settings.default_settings_dict
    ours = Settings.__dataclass_fields__
    assert "retry_configuration" in theirs.keys() - ours.keys()
    assert "base_backoff_ms" in ours.keys() - theirs.keys()


@differs("More calls at once than connections")
def test_pool(theirs: Side, in_app: InApp, stub_config: dict[str, t.Any], stub: Stub) -> None:
    with in_app(
        stub_config, DYNAMODB_MAX_POOL_CONNECTIONS=1, DYNAMODB_POOL_TIMEOUT_SECONDS=0.01
    ) as db:
        for side in (theirs, stock.ours(db)):
            stub.next("GetItem", stubs.held(Answer(body={"Item": {"id": {"S": "1"}}})))
            model = models(side).plain
            model.Meta.max_pool_connections = 1
            held = threading.Thread(target=in_same_app(model.get), args=("1",))
            held.start()
            stub.wait_for(lambda: stub.holding == 1)

            try:
                if side.is_stock:
                    assert model.get("2").id == "2"
                else:
                    with pytest.raises(PoolTimeout):
                        model.get("2")
            finally:
                stub.release()
                held.join()


@differs("A blocking call on an event loop")
def test_blocking_call(theirs: Side, in_app: InApp, stub_config: dict[str, t.Any]) -> None:
    async def call(side: Side) -> t.Any:
        return models(side).plain.get("1")

    assert asyncio.run(call(theirs)).id == "1"

    with (
        in_app(stub_config, DYNAMODB_BLOCKING_CALLS="raise") as db,
        pytest.raises(RuntimeError, match="event loop"),
    ):
        asyncio.run(call(stock.ours(db)))


@differs("`Meta`")
def test_meta(theirs: Side, ours: Side, in_app: InApp) -> None:
    def declare(side: Side) -> tuple[t.Any, t.Any]:
        class Meta:
            table_name = "any"

        meta = type(side.base)
        model: t.Any = t.cast(t.Any, meta)(
            "Any", (side.base,), {"Meta": Meta, "id": UnicodeAttribute(hash_key=True)}
        )
        return model, Meta

    model, declared = declare(theirs)
    assert model.Meta is declared
    assert declared.read_timeout_seconds == 30

    model, declared = declare(ours)
    assert not hasattr(declared, "read_timeout_seconds")
    assert model.Meta.read_timeout_seconds == 30

    with in_app({"DYNAMODB_READ_TIMEOUT_SECONDS": 5}):
        assert model.Meta.read_timeout_seconds == 5


@differs("A wrong value in a `Meta`")
def test_wrong_value_in_meta(theirs: Side, ours: Side) -> None:
    class Wrong:
        max_retry_attempts = -1

    def declare(side: Side) -> t.Any:
        class Any(side.base):  # type: ignore[misc, name-defined]
            class Meta(side.connected, Wrong):  # type: ignore[misc, name-defined]
                table_name = "any"

            id = UnicodeAttribute(hash_key=True)

        return Any

    with pytest.raises(Exception, match="max_attempts") as raised:
        declare(theirs).get("1")

    assert not isinstance(raised.value, ConfigError)

    with pytest.raises(ConfigError, match=r"'Any\.Meta\.max_retry_attempts'"):
        declare(ours).get("1")


@differs("`Meta.extra_headers` that are changed in place")
def test_headers_in_place(theirs: Side, ours: Side) -> None:
    for side in (theirs, ours):
        model = models(side).plain
        model.Meta.extra_headers = {"X-Team": "a"}

        if side.is_stock:
            model.Meta.extra_headers["X-Team"] = "b"
        else:
            with pytest.raises(TypeError):
                model.Meta.extra_headers["X-Team"] = "b"


@differs("A model without `Meta` or table name")
def test_no_meta(theirs: Side, ours: Side) -> None:
    for side, words in ((theirs, "As of v1.0"), (ours, "'Meta': a model needs 'class Meta:'")):
        nothing: t.Any = t.cast(t.Any, type(side.base))(
            "Nothing", (side.base,), {"id": UnicodeAttribute(hash_key=True)}
        )

        with pytest.raises(AttributeError, match=words):
            nothing.get("1")


@differs("Clients and connections")
def test_connections(theirs: Side, ours: Side) -> None:
    for side in (theirs, ours):
        plain, line = models(side)
        heir = t.cast(t.Any, type(side.base))("Heir", (plain,), {})
        clients = {id(model._get_connection().connection.client) for model in (plain, line)}
        assert len(clients) == (2 if side.is_stock else 1)
        # Theirs ignores what the heir adds to the keys and indexes.
        assert (heir._get_connection() is plain._get_connection()) == side.is_stock
        assert (plain._connection is not None) == side.is_stock


@differs("A transaction with a model of another endpoint")
def test_transaction_of_two_endpoints(theirs: Side, ours: Side, stub: Stub) -> None:
    for side in (theirs, ours):
        model = models(side).plain
        model.Meta.host = "http://127.0.0.1:9"
        stub.forget()

        if side.is_stock:
            with side.transact_write() as transaction:
                transaction.save(model("1"))
        else:
            with (
                pytest.raises(ValueError, match="one endpoint"),
                side.transact_write() as transaction,
            ):
                transaction.save(model("1"))

        assert len(stub.requests) == side.is_stock


@differs("No region anywhere")
def test_no_region(theirs: Side, in_app: InApp, stub_config: dict[str, t.Any], stub: Stub) -> None:
    model = models(theirs).plain
    model.Meta.region = None

    with pytest.raises(Exception, match="You must specify a region"):
        model.get("1")

    with in_app({**stub_config, "DYNAMODB_REGION": None}) as db:
        models(stock.ours(db)).plain.get("1")

    assert stub.requests[-1].signature.region == "us-east-1"


@differs("Names on a model")
def test_names() -> None:
    added = {
        name
        for name in set(dir(dynamo_ext_async.Model)) - set(dir(pynamodb.models.Model))
        if not name.startswith("_")
    }
    assert {"get_or_404", "first_or_404", "aget"} <= added
    assert all(
        name in {"get_or_404", "first_or_404", "to_json_dict", "Meta"}
        or (name.startswith("a") and hasattr(dynamo_ext_async.Model, name[1:]))
        or name == "aparallel_scan"
        for name in added
    )
