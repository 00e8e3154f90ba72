"""What PynamoDB's users know: each scenario runs on stock PynamoDB and here, on one real engine.

Compared are the requests that arrive, in their order; what each call returns; and what is raised.
What differs on purpose is in test_differences.py.
"""

from __future__ import annotations

import collections.abc as cabc
import copy
import datetime
import pickle
import typing as t

import pynamodb.exceptions
import pynamodb.signals
import pytest
from pynamodb import attributes as attrs
from pynamodb.attributes import JSONAttribute
from pynamodb.attributes import ListAttribute
from pynamodb.attributes import MapAttribute
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import TTLAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.attributes import UnicodeSetAttribute
from pynamodb.attributes import UTCDateTimeAttribute
from pynamodb.attributes import VersionAttribute
from pynamodb.indexes import AllProjection
from pynamodb.indexes import GlobalSecondaryIndex
from pynamodb.indexes import IncludeProjection
from pynamodb.indexes import KeysOnlyProjection
from pynamodb.indexes import LocalSecondaryIndex

import dynamo_ext
import dynamo_ext_async
import stock
from conftest import InApp
from relay import Relay
from stock import Side
from stock import Trace
from stub import Stub

pytestmark = pytest.mark.slow

UTC = datetime.UTC
MOMENT = datetime.datetime(2026, 11, 26, 12, 30, 15, 250000, UTC)
Scenario = cabc.Callable[[Side, Trace], None]


def name_of(scenario: Scenario) -> str:
    return scenario.__name__


def thread_model(side: Side) -> t.Any:
    class ByViews(LocalSecondaryIndex[t.Any]):
        class Meta:
            index_name = "by-views"
            projection = AllProjection()

        forum = UnicodeAttribute(hash_key=True)
        views = NumberAttribute(range_key=True)

    class ByAuthor(GlobalSecondaryIndex[t.Any]):
        class Meta:
            projection = IncludeProjection(["views"])

        author = UnicodeAttribute(hash_key=True, attr_name="a")
        subject = UnicodeAttribute(range_key=True)

    class Thread(side.base):  # type: ignore[misc, name-defined]
        class Meta(side.connected):  # type: ignore[misc, name-defined]
            table_name = "thread"
            tags: t.ClassVar[dict[str, str]] = {"team": "forum"}
            stream_view_type = "NEW_IMAGE"

        forum = UnicodeAttribute(hash_key=True)
        subject = UnicodeAttribute(range_key=True)
        author = UnicodeAttribute(null=True, attr_name="a")
        views = NumberAttribute(default=0)
        tags = UnicodeSetAttribute(null=True)
        replies: t.Any = ListAttribute(null=True)
        expires = TTLAttribute(null=True)
        by_views = ByViews()
        by_author = ByAuthor()

    return Thread


def filled(side: Side, trace: Trace) -> t.Any:
    """A table with threads in it."""
    model = thread_model(side)
    trace(lambda: model.create_table(wait=True, billing_mode="PAY_PER_REQUEST"))

    for number in range(12):
        author = "jane" if number % 2 else "joe"
        trace(model(f"f{number // 8}", f"s{number:02}", author=author, views=number).save)

    return model


def scenario_table(side: Side, trace: Trace) -> None:
    model = thread_model(side)
    trace(model.exists)
    trace(model.describe_table)
    trace(model.delete_table)
    trace(lambda: model.create_table(wait=True, billing_mode="PAY_PER_REQUEST"))
    trace(lambda: model.create_table(wait=True, billing_mode="PAY_PER_REQUEST"))
    trace(model.exists)
    description = trace(model.describe_table)
    assert description["TableName"] == "thread"
    trace(model.count)
    trace(lambda: model.update_ttl(ignore_update_ttl_errors=True))
    trace(lambda: model.delete_table(wait=True))
    trace(model.exists)


def scenario_item(side: Side, trace: Trace) -> None:
    model = filled(side, trace)
    trace(lambda: model.get("f0", "s00"))
    trace(lambda: model.get("f0", "none"))
    trace(lambda: model.get("f0", "s01", consistent_read=True))
    trace(lambda: model.get("f0", "s01", attributes_to_get=["views"]))
    trace(lambda: model.get("f0", range_key="s01", attributes_to_get=["views", "a"]))

    item = model("f0", "s00")
    trace(item.refresh)
    trace(lambda: item)
    trace(lambda: item.refresh(consistent_read=True))
    trace(model("f0", "none").refresh)
    trace(
        lambda: item.update(
            [
                model.views.add(2),
                model.author.set("new"),
                model.tags.set({"x"}),
                model.replies.set(["first"]),
            ]
        )
    )
    trace(lambda: item)
    trace(lambda: item.update([model.replies.set(model.replies.append(["second"]))]))
    trace(lambda: item.update([model.replies[0].remove(), model.tags.add({"y"})]))
    trace(lambda: item.update([model.tags.delete({"x"}), model.author.remove()]))
    trace(lambda: item.update([model.views.set(model.views | 7)]))
    trace(lambda: item.update([model.views.set(model.views + 1)], model.views == 99))
    trace(lambda: item.update([]))
    trace(lambda: item.update(None))
    trace(lambda: item.save(model.author.exists() & (model.views > 100)))
    trace(lambda: item.save(condition=model.forum.exists()))
    trace(lambda: item.delete(~model.views.exists()))
    trace(item.delete)
    trace(item.delete)
    trace(lambda: item.save(condition="no condition"))
    trace(lambda: model("f0").save())
    trace(lambda: model(None, "s").save())
    trace(lambda: model("f0", "s", unknown=1))
    trace(lambda: model("f0", "s", views="text").save())


def scenario_conditions(side: Side, trace: Trace) -> None:
    model = filled(side, trace)

    class SubAttribute(MapAttribute[t.Any, t.Any]):
        inner = UnicodeAttribute(null=True, attr_name="i")

    Sub: t.Any = SubAttribute

    class Deep(side.base):  # type: ignore[misc, name-defined]
        class Meta(side.connected):  # type: ignore[misc, name-defined]
            table_name = "deep"

        id = UnicodeAttribute(hash_key=True)
        sub: t.Any = Sub(null=True)
        free: t.Any = MapAttribute(null=True)
        items: t.Any = ListAttribute(of=Sub, null=True)

    for condition in [
        model.views.between(2, 4),
        model.views.is_in(1, 3, 5),
        model.author.startswith("j"),
        model.author.contains("o"),
        model.author.is_type(),
        model.tags.does_not_exist(),
        (model.views < 3) | (model.views >= 10),
        ~(model.views == 1) & (model.author != "joe"),
        model.author.exists(),
    ]:
        trace(model.scan, condition)

    trace(lambda: Deep.create_table(wait=True, billing_mode="PAY_PER_REQUEST"))
    item = Deep("1", sub=Sub(inner="x"), free={"a": 1, "b": {"c": "d"}}, items=[Sub(inner="y")])
    trace(item.save)
    trace(lambda: Deep.get("1"))
    trace(lambda: list(Deep.scan(Deep.sub.inner == "x")))
    trace(lambda: list(Deep.scan(Deep.free["b"]["c"] == "d")))
    trace(lambda: list(Deep.scan(Deep.items[0].inner == "z")))
    trace(lambda: item.update([Deep.sub.inner.set("new"), Deep.free["a"].set(2)]))
    trace(lambda: item)
    trace(lambda: Deep("2", items=[{"inner": 5}]).save())


def scenario_query(side: Side, trace: Trace) -> None:
    model = filled(side, trace)
    key = model.subject

    for condition in [
        None,
        key == "s02",
        key < "s02",
        key <= "s02",
        key > "s05",
        key >= "s05",
        key.between("s02", "s04"),
        key.startswith("s0"),
    ]:
        trace(model.query, "f0", condition)

    trace(lambda: model.query("f0", filter_condition=model.author == "joe"))
    trace(lambda: model.query("f0", filter_condition="joe"))
    trace(lambda: model.query("f0", "s02"))
    trace(lambda: model.query("f0", key > "s01", model.views > 3, True))
    trace(lambda: model.query("f0", scan_index_forward=False, limit=3))
    trace(lambda: model.query("f0", limit=0))
    trace(lambda: model.query("f0", limit=3, page_size=2))
    trace(lambda: model.query("f0", attributes_to_get=["subject", "views"]))
    trace(lambda: model.query("f0", rate_limit=1000.0))
    trace(lambda: model.query("f0", rate_limit=-1))
    trace(lambda: model.query("none"))

    trace(lambda: model.by_views.query("f0", model.views > 4, scan_index_forward=False))
    trace(lambda: model.by_author.query("joe", model.subject > "s04"))
    trace(lambda: model.by_author.query("jane", limit=2, page_size=1))
    trace(lambda: model.query("joe", index_name=model.by_author.Meta.index_name))
    trace(lambda: model.query("joe", index_name="none"))
    trace(lambda: model.by_author.scan(limit=4))
    trace(lambda: model.by_author.count("joe"))
    trace(lambda: model.by_views.count("f0", model.views > 2))

    trace(lambda: model.count("f0"))
    trace(lambda: model.count("f0", key > "s02", model.author == "joe"))
    trace(lambda: model.count("f0", limit=2))
    trace(lambda: model.count("f0", limit=0))
    trace(lambda: model.count(filter_condition=model.author == "joe"))


def scenario_pages(side: Side, trace: Trace) -> None:
    model = filled(side, trace)
    found = model.query("f0", page_size=3)

    for _ in range(4):
        trace(lambda: next(found))
        trace(lambda: found.last_evaluated_key)
        trace(lambda: found.total_count)

    again = model.query("f0", last_evaluated_key=found.last_evaluated_key)
    trace(lambda: again)
    trace(lambda: again.last_evaluated_key)
    trace(lambda: again.total_count)

    pages = model.query("f0", page_size=3).page_iter
    trace(lambda: [page["Count"] for page in pages])
    trace(lambda: pages.total_scanned_count)
    index = model.by_views.query("f0", page_size=2)
    trace(lambda: next(index))
    trace(lambda: index.last_evaluated_key)
    trace(lambda: model.by_views.query("f0", last_evaluated_key=index.last_evaluated_key))

    scanned = model.scan(page_size=5, limit=7)
    trace(lambda: scanned)
    trace(lambda: scanned.last_evaluated_key)
    trace(lambda: scanned.total_count)

    for segment in range(2):
        trace(model.scan, segment=segment, total_segments=2)

    trace(lambda: model.scan(model.views > 8, consistent_read=True))
    trace(lambda: model.scan(attributes_to_get=["views"], rate_limit=1000.0))


def scenario_versions(side: Side, trace: Trace) -> None:
    class Versioned(side.base):  # type: ignore[misc, name-defined]
        class Meta(side.connected):  # type: ignore[misc, name-defined]
            table_name = "versioned"

        id = UnicodeAttribute(hash_key=True)
        text = UnicodeAttribute(null=True)
        version = VersionAttribute()

    trace(lambda: Versioned.create_table(wait=True, billing_mode="PAY_PER_REQUEST"))
    first, stale = Versioned("1"), Versioned("1")
    trace(first.save)
    trace(lambda: first)
    trace(stale.save)
    trace(lambda: stale)
    trace(first.save)
    trace(lambda: first.update([Versioned.text.set("a")]))
    trace(lambda: first)
    trace(lambda: stale.save(add_version_condition=False))
    trace(lambda: stale.update([Versioned.text.set("b")], add_version_condition=False))
    trace(lambda: first.update([Versioned.text.set("c")]))
    trace(lambda: first.delete())
    trace(lambda: first.delete(add_version_condition=False))

    with side.transact_write() as transaction:
        written = Versioned("2")
        transaction.save(written)

    trace(lambda: written)

    def change() -> None:
        with side.transact_write() as transaction:
            transaction.update(written, [Versioned.text.set("d")])

    trace(change)
    trace(lambda: written)

    def fail() -> None:
        with side.transact_write() as transaction:
            transaction.update(Versioned("2"), [Versioned.text.set("d")])

    trace(fail)
    trace(lambda: Versioned.get("2"))


def scenario_discriminators(side: Side, trace: Trace) -> None:
    class Animal(side.base):  # type: ignore[misc, name-defined]
        class Meta(side.connected):  # type: ignore[misc, name-defined]
            table_name = "animal"

        class ByName(GlobalSecondaryIndex[t.Any]):
            class Meta:
                projection = AllProjection()

            name = UnicodeAttribute(hash_key=True)

        id = UnicodeAttribute(hash_key=True)
        name = UnicodeAttribute(default="nobody")
        kind = attrs.DiscriminatorAttribute(attr_name="k")
        by_name = ByName()

    class Cat(Animal, discriminator="cat"):  # type: ignore[call-arg]
        lives = NumberAttribute(default=9)

    class Lion(Cat, discriminator="lion"):  # type: ignore[call-arg]
        pride = UnicodeAttribute(null=True)

    class Dog(Animal, discriminator="dog"):  # type: ignore[call-arg]
        class ByTrick(GlobalSecondaryIndex[t.Any]):
            class Meta:
                projection = AllProjection()

            trick = UnicodeAttribute(hash_key=True)

        trick = UnicodeAttribute(default="sit")
        by_trick = ByTrick()

    trace(lambda: Animal.create_table(wait=True, billing_mode="PAY_PER_REQUEST"))
    trace(Animal.describe_table)

    for item in (Cat("1"), Lion("2", pride="a"), Dog("3", name="rex")):
        trace(item.save)

    trace(lambda: Animal.get("1"))
    trace(lambda: Animal.get("2"))
    trace(lambda: Cat.get("2"))
    trace(lambda: Lion.get("1"))
    trace(lambda: Dog.get("1"))
    trace(lambda: sorted(item.id for item in Animal.scan()))
    trace(lambda: sorted(item.id for item in Cat.scan()))
    trace(lambda: Lion.query("2"))
    trace(lambda: Cat.count("1"))
    trace(lambda: Animal.by_name.query("rex"))
    trace(lambda: Cat.by_name.query("rex"))
    trace(lambda: Dog.by_trick.query("sit"))
    trace(Cat("2").refresh)
    trace(lambda: Cat("2").update([Cat.lives.set(1)]))
    trace(lambda: Animal.from_raw_data({"id": {"S": "1"}, "k": {"S": "fish"}}))
    trace(lambda: Animal.from_raw_data({"id": {"S": "1"}, "k": {"S": "lion"}}))
    trace(lambda: Animal.from_raw_data({"id": {"S": "1"}}))
    trace(lambda: sorted(item.id for item in Animal.batch_get(["1", "2", "3"])))

    with side.transact_get() as transaction:
        futures = [transaction.get(Animal, "1"), transaction.get(Lion, "2")]

    for future in futures:
        trace(future.get)

    def twice() -> None:
        class Another(Animal, discriminator="cat"):  # type: ignore[call-arg]
            pass

    trace(twice)


def everything(side: Side) -> tuple[t.Any, t.Any]:
    class InnerAttribute(MapAttribute[t.Any, t.Any]):
        text = UnicodeAttribute()
        number = NumberAttribute(default=3, attr_name="n")

    Inner: t.Any = InnerAttribute

    class Everything(side.base):  # type: ignore[misc, name-defined]
        class Meta(side.connected):  # type: ignore[misc, name-defined]
            table_name = "everything"

        id = UnicodeAttribute(hash_key=True, attr_name="pk")
        number = NumberAttribute(null=True)
        flag = attrs.BooleanAttribute(null=True)
        data = attrs.BinaryAttribute(null=True, legacy_encoding=False)
        legacy = attrs.BinaryAttribute(null=True, legacy_encoding=True)
        texts = UnicodeSetAttribute(null=True)
        numbers = attrs.NumberSetAttribute(null=True)
        blobs = attrs.BinarySetAttribute(null=True, legacy_encoding=False)
        moment = UTCDateTimeAttribute(null=True)
        expires = TTLAttribute(null=True)
        document = JSONAttribute(null=True)
        free: t.Any = MapAttribute(null=True)
        inner: t.Any = Inner(null=True)
        inners = ListAttribute(of=Inner, null=True)
        mixed: t.Any = ListAttribute(null=True)
        nothing = attrs.NullAttribute(null=True)
        made = UnicodeAttribute(default_for_new=lambda: "new", null=True)
        old = UnicodeAttribute(default="old")

    item = Everything(
        "1",
        number=1.5,
        flag=True,
        data=b"\x00\xff",
        legacy=b"legacy",
        texts={"a"},
        numbers={1},
        blobs={b"x"},
        moment=MOMENT,
        expires=MOMENT.replace(microsecond=0),
        document={"a": [1, None]},
        free={"a": {"b": [1, "2", None, True]}},
        inner=Inner(text="t"),
        inners=[Inner(text="u", number=4)],
        mixed=[1, "a", {"b": 2}, [3], None, False],
    )
    return Everything, item


def scenario_serialisation(side: Side, trace: Trace) -> None:
    model, item = everything(side)
    trace(item.serialize)
    trace(item.to_dynamodb_dict)
    trace(item.to_simple_dict)
    trace(lambda: item.to_simple_dict(force=True))
    trace(lambda: repr(item))
    trace(lambda: item.attribute_values)
    trace(lambda: sorted(model.get_attributes()))

    loaded = model()
    trace(lambda: loaded.from_dynamodb_dict(item.to_dynamodb_dict()))
    trace(lambda: loaded)
    simple = model()
    trace(lambda: simple.from_simple_dict(model("2", number=3).to_simple_dict()))
    trace(lambda: simple)
    trace(lambda: simple.deserialize({"pk": {"S": "3"}, "number": {"N": "7"}, "x": {"S": "?"}}))
    trace(lambda: simple)
    trace(lambda: model.from_raw_data(item.serialize()))
    trace(lambda: model.from_raw_data({"pk": {"S": "4"}, "number": {"NULL": True}}))
    trace(lambda: model.from_raw_data({"pk": {"S": "4"}, "number": {"S": "no number"}}))
    trace(lambda: model.from_raw_data({"pk": {"S": "4"}, "moment": {"S": "yesterday"}}))
    trace(lambda: model.from_raw_data(None))
    trace(lambda: model.from_raw_data({}))

    def serialised(values: dict[str, t.Any]) -> t.Any:
        return model("5", **values).serialize()

    for wrong in [
        {"inner": {"text": None}},
        {"inners": [{"number": 1}]},
        {"inner": {"unknown": 1}},
        {"inner": 5},
        {"number": object},
        {"moment": "today"},
    ]:
        trace(serialised, wrong)

    trace(lambda: model("5", inner={"text": None}).serialize(null_check=False))
    trace(lambda: model(number=1).serialize())
    trace(lambda: copy.copy(item))
    trace(lambda: copy.deepcopy(item))
    trace(lambda: item == copy.copy(item))
    trace(lambda: (model("6").made, model("6").old, model.from_raw_data({}).made))


def scenario_stored_values(side: Side, trace: Trace) -> None:
    model, item = everything(side)
    trace(lambda: model.create_table(wait=True, billing_mode="PAY_PER_REQUEST"))
    trace(item.save)
    trace(lambda: model.get("1"))
    trace(lambda: model.get("1").inner.text)
    trace(lambda: model.get("1").free.a.b)
    trace(lambda: item.update([model.inner.number.set(9), model.numbers.add({2})]))
    trace(lambda: item)
    trace(lambda: item.update([model.number.remove(), model.expires.set(MOMENT)]))
    trace(lambda: item)


def scenario_classes(side: Side, trace: Trace) -> None:
    def declare(namespace: cabc.Callable[[], dict[str, t.Any]]) -> t.Any:
        meta = type("Meta", (side.connected,), {"table_name": "wrong"})
        return type(side.base)("Wrong", (side.base,), {"Meta": meta, **namespace()})

    class NoProjection(GlobalSecondaryIndex[t.Any]):
        class Meta:
            index_name = "no-projection"

        id = UnicodeAttribute(hash_key=True)

    class NoMeta(GlobalSecondaryIndex[t.Any]):
        id = UnicodeAttribute(hash_key=True)

    def key() -> t.Any:
        return UnicodeAttribute(hash_key=True)

    for namespace in [
        lambda: {"a": key(), "b": key()},
        lambda: {"a": key(), "b": UnicodeAttribute(range_key=True, null=True)},
        lambda: {"a": key(), **{n: UnicodeAttribute(range_key=True) for n in "bc"}},
        lambda: {"a": key(), "b": TTLAttribute(), "c": TTLAttribute()},
        lambda: {"a": key(), "b": VersionAttribute(), "c": VersionAttribute()},
        lambda: {"a": UnicodeAttribute(hash_key=True, default="x", default_for_new="y")},
        lambda: {"a": key(), "index": NoProjection()},
        lambda: {"a": key(), "index": NoMeta()},
        lambda: {"index": IncludeProjection()},
    ]:
        trace(declare, namespace)

    model = thread_model(side)
    trace(lambda: model.DoesNotExist.__qualname__.rpartition(".")[0].rpartition(".")[2])
    trace(lambda: issubclass(model.DoesNotExist, pynamodb.exceptions.DoesNotExist))
    trace(lambda: model.DoesNotExist is not side.base.DoesNotExist)
    trace(lambda: sorted(model._indexes))
    trace(lambda: model.by_author.Meta.index_name)
    trace(lambda: pickle.loads(pickle.dumps(KeysOnlyProjection())).projection_type)
    trace(lambda: declare(lambda: {"text": UnicodeAttribute()})("key"))
    trace(lambda: declare(lambda: {"a": key()})("key", "range"))


def scenario_shared_index(side: Side, trace: Trace) -> None:
    class Shared(GlobalSecondaryIndex[t.Any]):
        class Meta:
            index_name = "shared"
            projection = KeysOnlyProjection()
            read_capacity_units = 3
            write_capacity_units = 4

        owner = UnicodeAttribute(hash_key=True)
        due = UTCDateTimeAttribute(range_key=True)

    class Base(side.base):  # type: ignore[misc, name-defined]
        class Meta(side.connected):  # type: ignore[misc, name-defined]
            table_name = "base"
            read_capacity_units = 1
            write_capacity_units = 2
            billing_mode = "PROVISIONED"

        id = UnicodeAttribute(hash_key=True)
        owner = UnicodeAttribute(null=True)
        due = UTCDateTimeAttribute(null=True)
        shared = Shared()

    class Heir(Base):
        class Meta(side.connected):  # type: ignore[misc, name-defined]
            table_name = "heir"
            billing_mode = "PAY_PER_REQUEST"

        more = UnicodeAttribute(null=True)

    class SameTable(Base):
        more = UnicodeAttribute(null=True)

    for model in (Base, Heir, SameTable):
        trace(model.create_table, wait=True)
        trace(model.describe_table)
        trace(model("1", owner="a", due=MOMENT).save)
        trace(model.shared.query, "a", model.due <= MOMENT)
        trace(next, model.shared.scan())


def scenario_batches(side: Side, trace: Trace) -> None:
    model = thread_model(side)
    trace(lambda: model.create_table(wait=True, billing_mode="PAY_PER_REQUEST"))

    with model.batch_write() as batch:
        for number in range(60):
            batch.save(model("f", f"s{number}"))

        trace(lambda: len(batch.pending_operations))

    with model.batch_write() as batch:
        batch.delete(model("f", "s0"))
        batch.save(model("g", "s0"))
        batch.delete(model("f", "s1"))

    trace(lambda: batch.failed_operations)

    with model.batch_write(auto_commit=False) as batch:
        for number in range(26):
            trace(batch.save, model("f", f"s{number}"))

    trace(lambda: len(list(model.query("f"))))
    trace(lambda: list(model.batch_get([("f", "s5")])))
    trace(lambda: list(model.batch_get([("f", "s5")], consistent_read=True)))
    trace(lambda: list(model.batch_get([("f", "s5")], attributes_to_get=["subject"])))
    trace(lambda: list(model.batch_get([("none", "none")])))
    trace(lambda: list(model.batch_get([])))
    several = [("f", f"s{number}") for number in range(2, 60)]
    trace(lambda: sorted(each.subject for each in model.batch_get(several)))


def scenario_transactions(side: Side, trace: Trace) -> None:
    model = filled(side, trace)

    with side.transact_get(return_consumed_capacity="TOTAL") as get:
        there, missing = get.get(model, "f0", "s00"), get.get(model, "f0", range_key="none")
        trace(there.get)

    trace(there.get)
    trace(missing.get)

    def write(condition: t.Any) -> None:
        with side.transact_write(return_item_collection_metrics="SIZE") as transaction:
            transaction.condition_check(model, "f0", "s01", condition=model.views == 1)
            transaction.save(model("f0", "new"), condition=model.forum.does_not_exist())
            transaction.update(model("f0", "s02"), [model.views.add(1)], condition, "ALL_OLD")
            transaction.delete(model("f0", "s03"), model.author == "jane")

    trace(lambda: write(model.views == 2))
    trace(lambda: sorted(item.subject for item in model.query("f0")))
    trace(lambda: write(model.views == 2))

    def failing() -> None:
        with side.transact_write() as transaction:
            transaction.save(model("f0", "never"))
            raise LookupError("in the block")

    trace(failing)
    trace(lambda: model.get("f0", "never"))

    def reasons() -> t.Any:
        try:
            write(model.views == 2)
        except pynamodb.exceptions.TransactWriteError as error:
            return [
                None if reason is None else (reason.code, reason.message)
                for reason in error.cancellation_reasons
            ]

    trace(reasons)

    def no_condition() -> None:
        with side.transact_write() as transaction:
            transaction.condition_check(model, "f0", "s00")

    trace(no_condition)


def scenario_signals(side: Side, trace: Trace) -> None:
    model = filled(side, trace)
    seen: list[t.Any] = []

    def record(before: bool) -> t.Any:
        def receiver(sender: t.Any, **data: t.Any) -> None:
            seen.append((before, data["operation_name"], data["table_name"]))

        return receiver

    signals: t.Any = pynamodb.signals
    before, after = record(True), record(False)
    signals.pre_dynamodb_send.connect(before)
    signals.post_dynamodb_send.connect(after)

    try:
        model.create_table(wait=True)
        model("f", "s").save()
        model.get("f", "s")
        list(model.query("f"))
        list(model.batch_get([("f", "s")]))
    finally:
        signals.pre_dynamodb_send.disconnect(before)
        signals.post_dynamodb_send.disconnect(after)

    for each in seen:
        trace(tuple, each)


def scenario_connections(side: Side, trace: Trace) -> None:
    model = filled(side, trace)
    low = side.connection
    trace(lambda: low.get_item("thread", "f0", "s00"))
    trace(lambda: low.describe_table("none"))
    trace(lambda: low.describe_table("thread")["TableName"])
    trace(lambda: low.get_item("thread", "f0", "s00"))
    trace(lambda: low.get_item("thread", "f0", range_key="s00", attributes_to_get=["views"]))
    trace(lambda: low.put_item("thread", "f9", "s", attributes={"a": {"S": "low"}}))
    trace(lambda: low.put_item("thread", "f9", "s", condition=model.views.exists()))
    trace(lambda: low.update_item("thread", "f9", "s", actions=[model.author.set("x")]))
    trace(lambda: low.update_item("thread", "f9", "s", actions=[]))
    trace(lambda: low.query("thread", "f9", filter_condition=model.author == "x"))
    trace(lambda: low.query("thread", "joe", index_name="none"))
    trace(lambda: low.scan("thread", limit=2))
    trace(lambda: low.batch_get_item("thread", [{"forum": "f9", "subject": "s"}]))
    trace(lambda: low.batch_write_item("thread", delete_items=[{"forum": "f9", "subject": "s"}]))
    trace(lambda: low.batch_write_item("thread"))
    trace(lambda: low.delete_item("thread", "f9", "s", return_values="ALL_OLD"))
    trace(lambda: low.delete_item("thread", "f9", "s", return_values="SOME"))
    table = model._get_connection()
    trace(lambda: table.get_item("f0", "s01"))
    trace(lambda: table.table_name)
    trace(lambda: table.describe_table()["TableName"])
    trace(lambda: table.scan(limit=1))
    trace(lambda: table.query("f0", model.subject == "s01"))
    trace(lambda: model("f0", "s01").get_update_kwargs_from_instance([model.views.add(1)]))
    trace(lambda: model("f0", "s01").get_delete_kwargs_from_instance(model.views == 1))
    trace(lambda: model("f0", "s01").get_save_kwargs_from_instance())
    trace(lambda: model.get_operation_kwargs_from_class("f0", "s01"))

    schema: dict[str, t.Any] = {
        "attribute_definitions": [{"attribute_name": "forum", "attribute_type": "S"}],
        "key_schema": [{"attribute_name": "forum", "key_type": "HASH"}],
    }
    capacity = {"read_capacity_units": 1, "write_capacity_units": 2}
    trace(low.create_table, "low", **schema, **capacity)
    trace(low.update_table, "low", read_capacity_units=3, write_capacity_units=4)
    trace(low.create_table, "lower", **schema, billing_mode="PAY_PER_REQUEST")
    trace(low.create_table, "lowest", **schema, billing_mode="FREE")
    trace(low.list_tables, limit=1)
    trace(table.delete_table)
    trace(table.create_table, **schema, **capacity)
    trace(table.update_time_to_live, "expires")
    trace(table.update_table, read_capacity_units=5, write_capacity_units=6)


def scenario_overrides(side: Side, trace: Trace) -> None:
    class Audited(thread_model(side)):  # type: ignore[misc]
        def save(self, *args: t.Any, by: str = "nobody", **kwargs: t.Any) -> t.Any:
            self.author = by
            return super().save(*args, **kwargs)

        @classmethod
        def get(cls, hash_key: str, *args: t.Any, **kwargs: t.Any) -> t.Any:
            return super().get(hash_key.lower(), *args, **kwargs)

        @classmethod
        def query(cls, *args: t.Any, **kwargs: t.Any) -> t.Any:
            return super().query(*args, **{"limit": 1, **kwargs})

        def serialize(self, null_check: bool = True) -> t.Any:
            return {**super().serialize(null_check), "extra": {"S": "x"}}

    trace(lambda: Audited.create_table(wait=True, billing_mode="PAY_PER_REQUEST"))
    trace(lambda: Audited("f", "s").save(by="jane"))
    trace(lambda: Audited("f", "t").save(Audited.forum.does_not_exist()))
    trace(lambda: Audited.get("F", "s"))
    trace(lambda: Audited.query("f"))
    trace(lambda: Audited.by_views.query("f"))

    with Audited.batch_write() as batch:
        batch.save(Audited("f", "u"))

    trace(lambda: Audited.query("f", limit=9))


SCENARIOS: list[Scenario] = [
    scenario_table,
    scenario_item,
    scenario_conditions,
    scenario_query,
    scenario_pages,
    scenario_versions,
    scenario_discriminators,
    scenario_serialisation,
    scenario_stored_values,
    scenario_classes,
    scenario_shared_index,
    scenario_batches,
    scenario_transactions,
    scenario_signals,
    scenario_connections,
    scenario_overrides,
]


def test_every_scenario_is_run() -> None:
    declared = {value for name, value in globals().items() if name.startswith("scenario_")}
    assert declared == set(SCENARIOS)


@pytest.mark.parametrize("base", [dynamo_ext.Model, dynamo_ext_async.Model], ids=["flask", "quart"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=name_of)
def test_it_is_as_on_stock_pynamodb(
    scenario: Scenario,
    base: t.Any,
    engine: str,
    in_app: InApp,
    stub_config: dict[str, t.Any],
    stub: Stub,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in stock.CREDENTIALS.items():
        monkeypatch.setenv(name.upper(), value)

    Relay(stub, engine)
    theirs = run(scenario, stock.stock(stub), stub)

    with in_app(stub_config, DYNAMODB_TABLE_NAME_PREFIX="") as db:
        mine = run(scenario, stock.ours(db, base), stub)

    assert mine.results == theirs.results
    assert mine.requests == theirs.requests
    assert theirs.results


class Outcome(t.NamedTuple):
    """What became of a scenario."""

    results: list[t.Any]
    requests: list[tuple[str, t.Any]]


def run(scenario: Scenario, side: Side, stub: Stub) -> Outcome:
    trace = Trace(stub)
    stub.forget()

    try:
        scenario(side, trace)
        return Outcome(trace.results, trace.sent)
    finally:
        stock.drop_tables(stub, side.connection)
