from __future__ import annotations

import typing as t

import flask
import pytest
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.attributes import VersionAttribute
from pynamodb.exceptions import TransactWriteError

from conftest import InApp
from dynamo_ext import Model
from dynamo_ext import PynamoDB
from stub import Stub

pytestmark = pytest.mark.wire


class Account(Model):
    class Meta:
        table_name = "account"

    id = UnicodeAttribute(hash_key=True)
    balance = NumberAttribute(default=0)
    version = VersionAttribute()


class Booking(Model):
    class Meta:
        table_name = "booking"

    day = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(range_key=True)


def test_several_items_are_written_at_once_and_read_at_once(
    in_app: InApp, config: dict[str, t.Any]
) -> None:
    with in_app(config) as db:
        Account.create_table(wait=True)
        Booking.create_table(wait=True)
        ann, bob, old = Account("ann", balance=5), Account("bob"), Account("old")

        for account in (ann, old):
            account.save()

        with db.transact_write(client_request_token="once") as transaction:
            transaction.update(ann, [Account.balance.add(-2)])
            transaction.save(bob)
            transaction.save(Booking("monday", 1))
            transaction.delete(old)
            transaction.condition_check(
                Booking, "monday", 2, condition=Booking.number.does_not_exist()
            )

        with db.transact_get() as transaction:
            got_ann = transaction.get(Account, "ann")
            got_booking = transaction.get(Booking, "monday", 1)
            got_old = transaction.get(Account, "old")

        assert (got_ann.get().balance, got_ann.get().version) == (3, 2)
        assert got_booking.get().number == 1
        assert (ann.version, bob.version) == (2, 1)

        with pytest.raises(Account.DoesNotExist):
            got_old.get()


def test_nothing_is_written_if_one_condition_does_not_hold(
    in_app: InApp, config: dict[str, t.Any]
) -> None:
    with in_app(config) as db:
        Account.create_table(wait=True)
        Account("ann", balance=1).save()

        with pytest.raises(TransactWriteError) as raised, db.transact_write() as transaction:
            transaction.save(Account("bob"))
            transaction.condition_check(Account, "ann", condition=Account.balance > 3)

        reasons = [reason and reason.code for reason in raised.value.cancellation_reasons]
        assert sorted(reasons, key=str) == ["ConditionalCheckFailed", None]
        assert [account.id for account in Account.scan()] == ["ann"]


def test_an_exception_in_the_block_sends_nothing(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    with (
        in_app(stub_config) as db,
        pytest.raises(LookupError),
        db.transact_write() as transaction,
    ):
        transaction.save(Account("ann"))
        raise LookupError

    assert not stub.requests


def test_the_options_of_a_transaction_are_sent(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    with in_app(stub_config) as db:
        with db.transact_write(
            client_request_token="once",
            return_item_collection_metrics="SIZE",
            return_consumed_capacity="INDEXES",
        ) as writing:
            writing.save(Account("ann"))

        with db.transact_get(return_consumed_capacity="NONE") as reading:
            reading.get(Account, "ann")

    write, get = stub.requests
    assert write.body["ClientRequestToken"] == "once"
    assert write.body["ReturnItemCollectionMetrics"] == "SIZE"
    assert write.body["ReturnConsumedCapacity"] == "INDEXES"
    assert get.body["ReturnConsumedCapacity"] == "NONE"


def test_the_tables_of_a_transaction_have_their_prefix(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    with (
        in_app(stub_config, DYNAMODB_TABLE_NAME_PREFIX="stage-") as db,
        db.transact_write() as transaction,
    ):
        transaction.save(Account("ann"))
        transaction.delete(Booking("monday", 1))

    (request,) = stub.requests
    tables = {
        operation["TableName"]
        for item in request.body["TransactItems"]
        for operation in item.values()
    }
    assert tables == {"stage-account", "stage-booking"}


def test_models_on_two_engines_are_refused_before_anything_is_sent(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    with Stub() as other, in_app(stub_config) as db:

        class Elsewhere(Account):
            class Meta(Account.Meta):
                host = other.url

        def refused() -> t.Any:
            return pytest.raises(ValueError, match=r"'Elsewhere'.*one endpoint")

        with refused(), db.transact_write() as writing:
            writing.save(Account("ann"))
            writing.save(Elsewhere("bob"))

        with refused(), db.transact_write() as writing:
            writing.update(Elsewhere("bob"), [Elsewhere.balance.set(1)])

        with refused(), db.transact_write() as writing:
            writing.delete(Elsewhere("bob"))

        with refused(), db.transact_write() as writing:
            writing.condition_check(Elsewhere, "bob", condition=Elsewhere.balance > 1)

        with refused(), db.transact_get() as reading:
            reading.get(Account, "ann")
            reading.get(Elsewhere, "bob")

        assert not stub.requests
        assert not other.requests


def test_what_refuses_a_model_shows_no_secret(in_app: InApp, stub_config: dict[str, t.Any]) -> None:
    with in_app(stub_config) as db:

        class Elsewhere(Account):
            class Meta(Account.Meta):
                region = "eu-west-1"
                aws_access_key_id = "AKIDOFTHEMODEL"
                aws_secret_access_key = "secret-of-the-model"

        with pytest.raises(ValueError, match="Elsewhere") as raised, db.transact_get() as reading:
            reading.get(Elsewhere, "bob")

    for secret in (
        "AKIDOFTHEMODEL",
        "secret-of-the-model",
        "AKIDOFTHETESTS",
        "secret-of-the-tests",
    ):
        assert secret not in str(raised.value)


def test_a_transaction_stays_with_the_app_in_which_it_was_begun(
    stub_config: dict[str, t.Any], stub: Stub
) -> None:
    db = PynamoDB()

    with Stub() as other:
        one, two = flask.Flask("one"), flask.Flask("two")
        one.config.from_mapping(stub_config)
        two.config.from_mapping(stub_config, DYNAMODB_HOST=other.url)
        db.init_app(one)
        db.init_app(two)

        with one.app_context(), db.transact_write() as transaction:
            transaction.save(Account("ann"))

            with two.app_context(), pytest.raises(ValueError, match="Account"):
                transaction.save(Account("bob"))

        assert stub.operations == ["TransactWriteItems"]
        assert not other.requests
