"""Every awaitable method, on real engines; and that none is missing or differs from PynamoDB's."""

from __future__ import annotations

import collections.abc as cabc
import datetime
import inspect
import typing as t
import uuid

import anyio
import pynamodb.indexes
import pynamodb.models
import pynamodb.transactions
import pytest
import werkzeug.exceptions
from pynamodb.attributes import DiscriminatorAttribute
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import TTLAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.attributes import VersionAttribute
from pynamodb.exceptions import DeleteError
from pynamodb.exceptions import PutError
from pynamodb.exceptions import TransactWriteError
from pynamodb.exceptions import UpdateError
from pynamodb.indexes import AllProjection
from pynamodb.indexes import LocalSecondaryIndex as PynamoDBLocalIndex
from quart import Quart

import dynamo_ext
import dynamo_ext.models.batch
import dynamo_ext.models.transaction
import dynamo_ext_async.models.batch
import dynamo_ext_async.models.index
import dynamo_ext_async.models.transaction
import stub as stubs
from dynamo_ext.calls.pool import Pool
from dynamo_ext.calls.slot import Slot
from dynamo_ext_async import GlobalSecondaryIndex
from dynamo_ext_async import LocalSecondaryIndex
from dynamo_ext_async import Model
from dynamo_ext_async import PynamoDB
from dynamo_ext_async import UnprocessedItems
from stub import Answer
from stub import Stub
from waiting import until

pytestmark = pytest.mark.anyio

#: What talks to the server, by where PynamoDB has it. The rest of its public surface does not.
CALLS = {
    pynamodb.models.Model: {
        "batch_get",
        "batch_write",
        "count",
        "create_table",
        "delete",
        "delete_table",
        "describe_table",
        "exists",
        "get",
        "query",
        "refresh",
        "save",
        "scan",
        "update",
        "update_ttl",
    },
    pynamodb.indexes.Index: {"count", "query", "scan"},
}
LOCAL = {
    pynamodb.models.Model: {
        "deserialize",
        "dumps",
        "from_dynamodb_dict",
        "from_json",
        "from_raw_data",
        "from_simple_dict",
        "get_attributes",
        "get_delete_kwargs_from_instance",
        "get_operation_kwargs_from_class",
        "get_save_kwargs_from_instance",
        "get_update_kwargs_from_instance",
        "loads",
        "serialize",
        "to_dynamodb_dict",
        "to_json",
        "to_simple_dict",
        "update_local_version_attribute",
    },
    pynamodb.indexes.Index: set[str](),
}
TWINS = {pynamodb.models.Model: Model, pynamodb.indexes.Index: GlobalSecondaryIndex}


def public_methods(owner: type) -> set[str]:
    return {
        name
        for name, member in inspect.getmembers(owner, callable)
        if not name.startswith("_") and not inspect.isclass(member)
    }


@pytest.mark.parametrize("owner", CALLS)
def test_pynamodb_has_no_method_that_is_not_accounted_for(owner: type) -> None:
    assert public_methods(owner) - LOCAL[owner] == CALLS[owner]


@pytest.mark.parametrize(
    ("owner", "name"), [(owner, name) for owner, names in CALLS.items() for name in sorted(names)]
)
def test_a_twin_has_the_parameters_and_defaults_of_pynamodb_s(owner: type, name: str) -> None:
    original = inspect.signature(getattr(owner, name)).parameters.values()
    twin = inspect.signature(getattr(TWINS[owner], f"a{name}")).parameters.values()
    assert [(p.name, p.kind, p.default) for p in twin] == [
        (p.name, p.kind, p.default) for p in original
    ]


@pytest.mark.parametrize("name", ["get_or_404", "first_or_404"])
def test_so_have_the_twins_of_our_own_methods(name: str) -> None:
    original = inspect.signature(getattr(dynamo_ext.Model, name)).parameters
    assert inspect.signature(getattr(Model, f"a{name}")).parameters == original


@pytest.mark.parametrize(
    "owner",
    [
        dynamo_ext.Model,
        Model,
        dynamo_ext_async.models.index.AsyncIndex,
        dynamo_ext.models.batch.BatchWrite,
        dynamo_ext_async.models.batch.BatchWrite,
        dynamo_ext.models.transaction.TransactGet,
        dynamo_ext.models.transaction.TransactWrite,
        Pool,
        Slot,
    ],
    ids=lambda owner: f"{owner.__module__}.{owner.__name__}",
)
def test_every_public_method_documents_its_parameters_and_result(owner: type) -> None:
    for name in public_methods(owner) & {*vars(owner)}:
        method = getattr(owner, name)
        signature = inspect.signature(method)
        documentation = inspect.getdoc(method) or ""

        for parameter in signature.parameters.keys() - {"self"}:
            assert f":param {parameter}: " in documentation, name

        if signature.return_annotation not in {"None", "Waits[None]", "t.Any"}:
            assert ":return: " in documentation, name


@pytest.mark.parametrize("name", sorted(CALLS[pynamodb.models.Model]))
def test_our_own_synchronous_methods_keep_pynamodb_s_parameters(name: str) -> None:
    original = inspect.signature(getattr(pynamodb.models.Model, name)).parameters.values()
    ours = inspect.signature(getattr(dynamo_ext.Model, name)).parameters.values()
    assert [(p.name, p.kind, p.default) for p in ours] == [
        (p.name, p.kind, p.default) for p in original
    ]


@pytest.mark.parametrize("transaction", ["TransactGet", "TransactWrite"])
def test_transactions_collect_with_pynamodb_s_parameters(transaction: str) -> None:
    original = getattr(pynamodb.transactions, transaction)
    ours = getattr(dynamo_ext_async.models.transaction, transaction)

    for name in public_methods(original):
        theirs = [
            (p.name, p.kind, p.default)
            for p in inspect.signature(getattr(original, name)).parameters.values()
        ]
        assert [
            (p.name, p.kind, p.default)
            for p in inspect.signature(getattr(ours, name)).parameters.values()
        ] == theirs


class Thread(Model):
    class Meta:
        table_name = "threads"

    class ByViews(LocalSecondaryIndex["Thread"]):
        class Meta:
            projection = AllProjection()

        forum = UnicodeAttribute(hash_key=True)
        views = NumberAttribute(range_key=True)

    class ByAuthor(GlobalSecondaryIndex["Thread"]):
        class Meta:
            projection = AllProjection()

        author = UnicodeAttribute(hash_key=True)

    class ByReplies(PynamoDBLocalIndex["Thread"]):
        class Meta:
            projection = AllProjection()

        forum = UnicodeAttribute(hash_key=True)
        replies = NumberAttribute(range_key=True)

    forum = UnicodeAttribute(hash_key=True)
    subject = UnicodeAttribute(range_key=True)
    author = UnicodeAttribute(null=True)
    views = NumberAttribute(default=0)
    replies = NumberAttribute(default=0)
    expires = TTLAttribute(null=True)
    version = VersionAttribute()
    by_views = ByViews()
    by_author = ByAuthor()
    by_replies = ByReplies()


class Animal(Model):
    class Meta:
        table_name = "animals"

    name = UnicodeAttribute(hash_key=True)
    kind = DiscriminatorAttribute()


class Cat(Animal, discriminator="cat"):
    lives = NumberAttribute(default=9)


class Dog(Animal, discriminator="dog"):
    tricks = UnicodeAttribute(null=True)


@pytest.fixture
def db() -> PynamoDB:
    return PynamoDB()


@pytest.fixture
async def context(
    db: PynamoDB, config: dict[str, t.Any], anyio_backend: object
) -> cabc.AsyncIterator[None]:
    app = Quart(__name__)
    app.config.from_mapping(config)
    db.init_app(app)

    async with app.app_context():
        await Thread.acreate_table(wait=True)
        await Animal.acreate_table(wait=True)
        yield
        await Thread.adelete_table(wait=True)
        await Animal.adelete_table(wait=True)


@pytest.mark.usefixtures("context")
class TestOnRealEngines:
    async def test_tables(self) -> None:
        assert await Thread.aexists()
        await Thread.acreate_table(wait=True)
        description = await Thread.adescribe_table()
        assert {index["IndexName"] for index in description["LocalSecondaryIndexes"]} == {
            "by_views",
            "by_replies",
        }
        assert description["TableName"] == Thread.Meta.table_name
        assert await Thread.acount() == 0
        await Thread.aupdate_ttl(ignore_update_ttl_errors=True)
        await Thread.adelete_table(wait=True)
        assert not await Thread.aexists()
        await Thread.acreate_table(wait=True)

    async def test_an_item_s_life(self) -> None:
        thread = Thread("aws", "dynamodb", author="me")
        await thread.asave(Thread.forum.does_not_exist())
        found = await Thread.aget("aws", "dynamodb", consistent_read=True)
        assert (type(found), found.author, found.version) == (Thread, "me", 1)

        await found.aupdate([Thread.views.add(2)], Thread.views == 0)
        assert (found.views, found.version) == (2, 2)
        await thread.arefresh()
        assert (thread.views, thread.version) == (2, 2)

        projected = await Thread.aget("aws", "dynamodb", attributes_to_get=["views"])
        assert projected.views == 2
        assert projected.author is None

        await thread.adelete(Thread.views == 2)

        with pytest.raises(Thread.DoesNotExist):
            await Thread.aget("aws", "dynamodb")

        with pytest.raises(Thread.DoesNotExist):
            await thread.arefresh()

    async def test_conditions_that_do_not_hold(self) -> None:
        await Thread("aws", "dynamodb").asave()

        with pytest.raises(PutError) as put:
            await Thread("aws", "dynamodb").asave(Thread.forum.does_not_exist())

        assert put.value.cause_response_code == "ConditionalCheckFailedException"
        thread = await Thread.aget("aws", "dynamodb")

        with pytest.raises(UpdateError):
            await thread.aupdate([Thread.views.set(1)], Thread.views > 10)

        with pytest.raises(DeleteError):
            await thread.adelete(Thread.views > 10)

    async def test_optimistic_locking(self) -> None:
        await Thread("aws", "dynamodb").asave()
        mine, yours = [await Thread.aget("aws", "dynamodb") for _ in range(2)]
        mine.views = 1
        await mine.asave()
        yours.views = 2

        with pytest.raises(PutError, match="ConditionalCheckFailed"):
            await yours.asave()

        with pytest.raises(DeleteError, match="ConditionalCheckFailed"):
            await yours.adelete()

        await yours.asave(add_version_condition=False)
        assert (await Thread.aget("aws", "dynamodb")).views == 2
        await mine.adelete(add_version_condition=False)
        assert await Thread.acount("aws") == 0

    async def test_indexes(self) -> None:
        async with Thread.abatch_write() as batch:
            for number in range(6):
                author = "odd" if number % 2 else "even"
                await batch.save(
                    Thread("aws", f"t{number}", author=author, views=number, replies=-number)
                )

        popular = Thread.by_views.aquery("aws", Thread.views > 2, scan_index_forward=False)
        assert [thread.views async for thread in popular] == [5, 4, 3]
        quiet = t.cast(t.Any, Thread.by_replies).aquery("aws", limit=2)
        assert [thread.replies async for thread in quiet] == [-5, -4]
        assert await Thread.by_author.acount("odd") == 3
        assert len([thread async for thread in Thread.by_author.ascan()]) == 6

    async def test_batches(self) -> None:
        async with Thread.abatch_write() as batch:
            for number in range(60):
                await batch.save(Thread("aws", f"t{number:02}"))

            assert len(batch.pending_operations) == 10

        assert await Thread.acount("aws") == 60

        async with Thread.abatch_write() as batch:
            for number in range(30):
                await batch.delete(Thread("aws", f"t{number:02}"))

            await batch.commit()
            assert batch.pending_operations == []

        assert await Thread.acount("aws") == 30

        batch = Thread.abatch_write(auto_commit=False)

        for number in range(25):
            await batch.save(Thread("other", str(number)))

        with pytest.raises(ValueError, match="maximum of 25"):
            await batch.save(Thread("other", "one too many"))

        assert await Thread.acount("other") == 0

    async def test_an_exception_in_a_batch_writes_nothing_of_what_is_pending(self) -> None:
        with pytest.raises(KeyError):
            async with Thread.abatch_write() as batch:
                for number in range(30):
                    await batch.save(Thread("aws", f"t{number:02}"))

                raise KeyError

        assert await Thread.acount("aws") == 25

    async def test_transactions(self, db: PynamoDB) -> None:
        async with db.atransact_write(client_request_token=uuid.uuid4().hex) as write:
            write.save(Thread("aws", "one"))
            write.save(Thread("aws", "two"))
            write.condition_check(Thread, "aws", "three", condition=Thread.forum.does_not_exist())

        async with db.atransact_get() as get:
            one, none = get.get(Thread, "aws", "one"), get.get(Thread, "aws", "none")

        assert (one.get().subject, one.get().version) == ("one", 1)

        with pytest.raises(Thread.DoesNotExist):
            none.get()

        thread = one.get()

        with pytest.raises(TransactWriteError) as refused:
            async with db.atransact_write() as write:
                write.update(thread, [Thread.views.set(5)])
                write.delete(Thread("aws", "two"), Thread.views == 99, add_version_condition=False)

        # DynamoDB gives the reasons in the order of PynamoDB's request: deletions come first.
        reasons = [reason and reason.code for reason in refused.value.cancellation_reasons]
        assert reasons == ["ConditionalCheckFailed", None]
        assert (await Thread.aget("aws", "one")).views == 0

        with pytest.raises(KeyError):
            async with db.atransact_write() as write:
                write.save(Thread("aws", "never"))
                raise KeyError

        assert await Thread.acount("aws") == 2

    async def test_polymorphism(self) -> None:
        await Cat("tom", lives=7).asave()
        await Dog("rex", tricks="sit").asave()
        animals = {animal.name: animal async for animal in Animal.ascan()}
        tom, rex = animals["tom"], animals["rex"]
        assert isinstance(tom, Cat)
        assert isinstance(rex, Dog)
        assert (tom.lives, rex.tricks) == (7, "sit")
        assert [animal.name async for animal in Dog.ascan()] == ["rex"]
        assert (await Cat.afirst_or_404()).name == "tom"

    async def test_404(self) -> None:
        with pytest.raises(werkzeug.exceptions.NotFound, match="no such thread"):
            await Thread.aget_or_404("aws", "none", message="no such thread")

        with pytest.raises(werkzeug.exceptions.NotFound, match="The requested URL was not found"):
            await Thread.afirst_or_404()

        await Thread("aws", "one").asave()
        assert (await Thread.afirst_or_404("none")).subject == "one"
        assert (await Thread.aget_or_404("aws", "one")).subject == "one"

    async def test_a_time_to_live(self) -> None:
        expires = datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC)
        await Thread("aws", "one", expires=expires).asave()
        assert (await Thread.aget("aws", "one")).expires == expires


@pytest.fixture
def stub_app(db: PynamoDB, stub_config: dict[str, t.Any]) -> Quart:
    app = Quart(__name__)
    app.config.from_mapping(stub_config, DYNAMODB_BASE_BACKOFF_MS=0, DYNAMODB_MAX_RETRY_ATTEMPTS=0)
    db.init_app(app)
    return app


async def test_unprocessed_items_are_sent_again(stub_app: Quart, stub: Stub) -> None:
    stub.next("BatchWriteItem", stubs.unprocessed, stubs.unprocessed)

    async with stub_app.app_context():
        async with Thread.abatch_write() as batch:
            await batch.save(Thread("aws", "one"))
            await batch.delete(Thread("aws", "two"))

        assert batch.failed_operations == []

    bodies = [request.body["RequestItems"] for request in stub.requests]
    assert len(bodies) == 3
    assert bodies[0] == bodies[1] == bodies[2]


async def test_what_remains_unprocessed_is_on_the_error(stub_app: Quart, stub: Stub) -> None:
    stub.always("BatchWriteItem", stubs.unprocessed)

    async with stub_app.app_context():
        batch = Thread.abatch_write()
        await batch.save(Thread("aws", "one"))

        with pytest.raises(UnprocessedItems, match="1 items were not written") as info:
            await batch.commit()

    ((_, sent),) = stub.requests[-1].body["RequestItems"].items()
    assert info.value.unprocessed_items == batch.failed_operations == sent


async def test_a_batch_that_fails_keeps_what_is_pending(stub_app: Quart, stub: Stub) -> None:
    stub.next("BatchWriteItem", stubs.INTERNAL_ERROR)

    async with stub_app.app_context():
        batch = Thread.abatch_write()
        await batch.save(Thread("aws", "one"))

        with pytest.raises(PutError):
            await batch.commit()

        assert len(batch.pending_operations) == 1
        await batch.commit()
        assert batch.pending_operations == []

    assert len(stub.requests) == 2


async def test_what_is_added_after_a_cancelled_commit_is_not_lost(
    stub_app: Quart, stub: Stub, db: PynamoDB
) -> None:
    stub.next("BatchWriteItem", stubs.held(stub._usual))

    async with stub_app.app_context():
        batch = Thread.abatch_write()
        await batch.save(Thread("aws", "one"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(batch.commit)
            await until(lambda: stub.in_flight == 1)
            tasks.cancel_scope.cancel()

        await batch.save(Thread("aws", "two"))
        stub.release()
        await until(lambda: db.pool.in_use == 0)
        await batch.commit()

    ((_, last),) = stub.requests[-1].body["RequestItems"].items()
    assert [item["PutRequest"]["Item"]["subject"]["S"] for item in last] == ["two"]


async def test_several_tasks_share_a_batch(stub_app: Quart, stub: Stub) -> None:
    stub.always("BatchWriteItem", stubs.delayed(0.005, stub._usual))

    async def save(batch: t.Any, first: int) -> None:
        for number in range(first, first + 20):
            await batch.save(Thread("aws", str(number)))

    async with (
        stub_app.app_context(),
        Thread.abatch_write() as batch,
        anyio.create_task_group() as tasks,
    ):
        for first in range(0, 100, 20):
            tasks.start_soon(save, batch, first)

    written = [
        item["PutRequest"]["Item"]["subject"]["S"]
        for request in stub.requests
        for items in request.body["RequestItems"].values()
        for item in items
    ]
    assert sorted(written, key=int) == [str(number) for number in range(100)]
    assert len(stub.requests) == 4


async def test_models_of_two_engines_in_one_transaction_are_refused(
    db: PynamoDB, stub_app: Quart, stub: Stub
) -> None:
    class Elsewhere(Model):
        class Meta:
            table_name = "elsewhere"
            host = "http://127.0.0.1:1"

        id = UnicodeAttribute(hash_key=True)

    async with stub_app.app_context():
        with pytest.raises(ValueError, match="'Elsewhere' can't be part of this transaction"):
            async with db.atransact_write() as write:
                write.save(Thread("aws", "one"))
                write.save(Elsewhere("x"))

        with pytest.raises(ValueError, match="'Elsewhere' can't be part of this transaction"):
            async with db.atransact_get() as get:
                get.get(Elsewhere, "x")

    assert stub.requests == []


class Narrow(Model):
    """Overrides methods with signatures of its own, and notes how they are called."""

    class Meta:
        table_name = "narrow"

    id = UnicodeAttribute(hash_key=True)
    seen: t.ClassVar[list[t.Any]] = []

    if not t.TYPE_CHECKING:

        @classmethod
        def get(cls, hash_key, **options):
            cls.seen.append((hash_key, options))
            return super().get(hash_key, **options)

        @classmethod
        def scan(cls, *conditions, **options):
            cls.seen.append((conditions, options))
            return super().scan(*conditions, **options)

        def refresh(self):
            self.seen.append("refresh")
            super().refresh()


async def test_a_twin_passes_on_what_the_caller_gave(stub_app: Quart, stub: Stub) -> None:
    Narrow.seen.clear()
    stub.always("Scan", Answer(body={"Items": [{"id": {"S": "a"}}], "Count": 1, "ScannedCount": 1}))
    condition = Narrow.id.exists()

    async with stub_app.app_context():
        item = await Narrow.aget("x")
        await Narrow.aget("x", consistent_read=True)
        await item.arefresh()
        assert [item.id async for item in Narrow.ascan(limit=1)] == ["a"]
        assert [item.id async for item in Narrow.ascan(condition, rate_limit=5)] == ["a"]
        positional = Narrow.ascan(None, None, None, None, None, None, None, None, 5, ["id"])
        assert [item.id async for item in positional] == ["a"]

    assert Narrow.seen == [
        ("x", {}),
        ("x", {"consistent_read": True}),
        "refresh",
        ((), {"limit": 1}),
        ((condition,), {"rate_limit": 5}),
        ((*[None] * 8, 5, ["id"]), {}),
    ]
