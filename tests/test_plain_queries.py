"""Awaited queries that are begun without PynamoDB's ``query``: the same as with it."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import threading
import typing as t

import pynamodb
import pynamodb.models
import pynamodb.pagination
import pynamodb.signals
import pytest
from pynamodb.attributes import Attribute
from pynamodb.attributes import AttributeContainer
from pynamodb.attributes import DiscriminatorAttribute
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.pagination import PageIterator
from pynamodb.pagination import ResultIterator
from quart import Quart

import stub as stubs
from conftest import RunPython
from dynamo_ext.models import eligibility
from dynamo_ext.models import plain_queries
from dynamo_ext_async import Model
from dynamo_ext_async import PynamoDB
from stub import Stub

pytestmark = [pytest.mark.anyio, pytest.mark.once(reason="each test names its transport")]

MakeApp = cabc.Callable[..., Quart]
Patch = cabc.Callable[[pytest.MonkeyPatch], None]
_Model: t.Any = pynamodb.models.Model


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def db() -> PynamoDB:
    return PynamoDB()


class Item(Model):
    class Meta:
        table_name = "item"

    id = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(range_key=True)
    text = UnicodeAttribute(null=True)


class OfNumber(Model):
    class Meta:
        table_name = "of-number"

    id = NumberAttribute(hash_key=True)


class Text(str):
    """The app's own class."""


class Number(int):
    """The app's own class."""


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"limit": 3},
        {"page_size": 2},
        {"limit": 0, "page_size": 5},
        {"consistent_read": True},
        {"consistent_read": False, "scan_index_forward": False},
        {"limit": None, "page_size": None, "scan_index_forward": True},
    ],
)
async def test_it_is_begun_as_by_pynamodb(make_direct_app: MakeApp, kwargs: t.Any) -> None:
    async with make_direct_app().app_context():
        found = plain_queries.begin(Item, ("a",), kwargs)
        wanted: t.Any = _Model.query.__func__(Item, "a", **kwargs)

    assert found is not None
    assert type(found.pages) is type(wanted.page_iter)
    assert vars(found.pages) == vars(wanted.page_iter)
    assert list(vars(found.pages)) == list(vars(wanted.page_iter))
    assert found.table.query == wanted.page_iter._operation
    assert (found.decode, found.limit) == (wanted._map_fn, wanted._limit)


@pytest.mark.parametrize(
    ("model", "args", "kwargs"),
    [
        (Item, (), {}),
        (Item, (), {"hash_key": "a"}),
        (Item, ("a", Item.number > 3), {}),
        (Item, ("a",), {"filter_condition": Item.text == "x"}),
        (Item, ("a",), {"last_evaluated_key": None}),
        (Item, ("a",), {"limit": Number(3)}),
        (Item, ("a",), {"no_such": 1}),
        (Item, (Text("a"),), {}),
        (Item, (None,), {}),
        (Item, (1,), {}),
        (OfNumber, (1,), {}),
    ],
)
async def test_all_others_are_begun_by_pynamodb(
    make_direct_app: MakeApp, model: t.Any, args: t.Any, kwargs: t.Any
) -> None:
    async with make_direct_app().app_context():
        assert plain_queries.begin(model, args, kwargs) is None


async def test_an_argument_too_many_is_refused_at_once(make_direct_app: MakeApp) -> None:
    async with make_direct_app().app_context():
        with pytest.raises(TypeError, match="no_such"):
            t.cast(t.Any, Item).aquery("a", no_such=1)


async def test_it_is_refused_outside_an_app() -> None:
    with pytest.raises(RuntimeError, match="app"):
        Item.aquery("a")


seen: list[str] = []


class WithSerializeKeys(Item):
    if not t.TYPE_CHECKING:

        @classmethod
        def _serialize_keys(cls, *args: t.Any) -> t.Any:
            seen.append("_serialize_keys")
            return super()._serialize_keys(*args)


class WithHashKey(Item):
    @classmethod
    def _hash_key_attribute(cls) -> t.Any:
        seen.append("_hash_key_attribute")
        return t.cast(t.Any, super())._hash_key_attribute()


class WithConnection(Item):
    @classmethod
    def _get_connection(cls) -> t.Any:
        seen.append("_get_connection")
        return super()._get_connection()


class WithStaticMethod(Item):
    if not t.TYPE_CHECKING:

        @staticmethod
        def _get_connection() -> t.Any:
            seen.append("_get_connection")
            return Item._get_connection()


class WithDiscriminatorAttribute(Item):
    @classmethod
    def _get_discriminator_attribute(cls) -> t.Any:
        seen.append("_get_discriminator_attribute")
        return None


class Shouted(UnicodeAttribute):
    def serialize(self, value: t.Any) -> t.Any:
        seen.append("serialize")
        return super().serialize(value)


class WithAttribute(Item):
    id = Shouted(hash_key=True)


class FromRawData(Item):
    @classmethod
    def from_raw_data(cls, data: t.Any) -> t.Any:
        seen.append("from_raw_data")
        return super().from_raw_data(data)


class WithFunction(Item):
    if not t.TYPE_CHECKING:

        @staticmethod
        def from_raw_data(data: t.Any) -> t.Any:
            seen.append("from_raw_data")
            return Item.from_raw_data(data)


OVERRIDDEN = [
    *(WithSerializeKeys, WithHashKey, WithConnection, WithStaticMethod),
    *(WithDiscriminatorAttribute, WithAttribute, FromRawData, WithFunction),
]


async def all_of(model: type[Item], stub: Stub) -> list[float]:
    reply = {"Items": [{"id": {"S": "a"}, "number": {"N": "1"}}], "Count": 1, "ScannedCount": 1}
    stub.next("Query", stubs.Answer(body=reply))
    return [item.number async for item in model.aquery("a")]


@pytest.mark.parametrize("model", OVERRIDDEN)
async def test_what_a_model_overrides_is_called(
    make_direct_app: MakeApp, stub: Stub, model: type[Item]
) -> None:
    async with make_direct_app().app_context():
        # The second time everything is known of the model.
        for _ in range(2):
            seen.clear()
            assert await all_of(model, stub) == [1]
            assert seen


def noting(owner: t.Any, name: str) -> Patch:
    """Patches that note the calls of a function of PynamoDB."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        stored = vars(owner)[name]
        original = getattr(stored, "__func__", stored)

        def noted(*args: t.Any, **kwargs: t.Any) -> t.Any:
            seen.append(name)
            return original(*args, **kwargs)

        is_of_class = isinstance(stored, classmethod)
        monkeypatch.setattr(owner, name, classmethod(noted) if is_of_class else noted)

    return patch


def replacing(module: t.Any, name: str) -> Patch:
    """Patches that replace an iterator of PynamoDB by one of the app's."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        of_pynamodb = getattr(module, name)

        def step(self: t.Any) -> t.Any:
            seen.append(name)
            return of_pynamodb.__next__(self)

        monkeypatch.setattr(module, name, type("OfApp", (of_pynamodb,), {"__next__": step}))

    return patch


def on_the_attribute(monkeypatch: pytest.MonkeyPatch) -> None:
    serialize = Item.id.serialize

    def noted(value: t.Any) -> t.Any:
        seen.append("serialize")
        return serialize(value)

    # Not by setattr, which would leave the method on the attribute when it is undone.
    monkeypatch.setitem(vars(Item.id), "serialize", noted)


PATCHES: dict[str, Patch] = {
    "query": noting(_Model, "query"),
    "_serialize_keys": noting(_Model, "_serialize_keys"),
    "_hash_key_attribute": noting(_Model, "_hash_key_attribute"),
    "_get_discriminator_attribute": noting(AttributeContainer, "_get_discriminator_attribute"),
    "_get_connection": noting(Model.__mro__[1], "_get_connection"),
    "serialize": noting(Attribute, "serialize"),
    "serialize of the attribute": on_the_attribute,
    "ResultIterator": noting(ResultIterator, "__init__"),
    "PageIterator": noting(PageIterator, "__init__"),
    "another ResultIterator": replacing(pynamodb.models, "ResultIterator"),
    "another PageIterator": replacing(pynamodb.pagination, "PageIterator"),
}


@pytest.mark.parametrize("name", PATCHES)
async def test_what_is_patched_is_called(
    make_direct_app: MakeApp, stub: Stub, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    async with make_direct_app().app_context():
        assert await all_of(Item, stub) == [1]

        with monkeypatch.context() as patch:
            PATCHES[name](patch)
            seen.clear()
            assert await all_of(Item, stub) == [1]
            assert seen

        seen.clear()
        assert await all_of(Item, stub) == [1]
        assert not seen
        assert eligibility.is_stock(Item)


async def test_what_is_patched_on_the_table_s_connection_never_runs_in_the_hub(
    make_direct_app: MakeApp, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    reply = {"Items": [], "Count": 0, "ScannedCount": 0}
    stub.next("Query", *[stubs.Answer(body=reply)] * 3)

    async with make_direct_app().app_context():
        assert [page async for page in Item.aquery("a").page_iter]
        table: t.Any = t.cast(t.Any, Item)._get_connection()
        query = table.query

        def noted(*args: t.Any, **kwargs: t.Any) -> t.Any:
            threads.append(threading.current_thread().name)
            return query(*args, **kwargs)

        monkeypatch.setattr(table, "query", noted)
        assert [page async for page in Item.aquery("a").page_iter]
        assert [item async for item in Item.aquery("a")] == []

    assert len(threads) == 2
    assert not any("dynamo-ext" in name or name == "MainThread" for name in threads)


ITERATORS: list[t.Any] = [PageIterator, ResultIterator]


@pytest.mark.parametrize("kind", ITERATORS)
@pytest.mark.parametrize("what", ["copy", "annotations", "undo"])
def test_what_python_notes_in_pynamodb_s_iterators_is_no_patch(
    run_warm_python: RunPython, kind: type, what: str
) -> None:
    code = f"""
import copy
from pynamodb.pagination import {kind.__name__} as kind
from dynamo_ext.models import iterators

if {what!r} == "copy":
    copy.copy(kind(None, (), {{}}))
elif {what!r} == "annotations":
    kind.__annotations__
else:
    step = kind.__next__
    kind.__next__ = lambda self: None
    assert iterators.are_patched()
    del kind.__next__
    assert iterators.are_patched()
    kind.__next__ = step

assert not iterators.are_patched()
kind.next = None
print(iterators.are_patched())
"""
    assert run_warm_python(code).stdout == "True\n"


class Animal(Model):
    class Meta:
        table_name = "animal"

    id = UnicodeAttribute(hash_key=True)
    kind = DiscriminatorAttribute()


class Cat(Animal, discriminator="cat"):
    pass


async def test_a_model_with_a_discriminator_filters_by_it(
    make_direct_app: MakeApp, stub: Stub
) -> None:
    stub.next("Query", stubs.Answer(body={"Items": [], "Count": 0, "ScannedCount": 0}))

    async with make_direct_app().app_context():
        assert [cat async for cat in Cat.aquery("a")] == []

    [request] = stub.requests[-1:]
    assert "FilterExpression" in request.body


@pytest.mark.parametrize("is_announced", [False, True])
async def test_a_patch_takes_effect_between_the_query_and_its_first_item(
    make_direct_app: MakeApp, stub: Stub, monkeypatch: pytest.MonkeyPatch, *, is_announced: bool
) -> None:
    """PynamoDB looks for an attribute's methods when it reads an item."""
    announced: list[t.Any] = []

    def note(*args: t.Any, **signal: t.Any) -> None:
        announced.append(args)

    def deserialize(self: t.Any, value: t.Any) -> str:
        return "patched"

    signal: t.Any = pynamodb.signals.pre_dynamodb_send
    listening = signal.connected_to(note) if is_announced else contextlib.nullcontext()
    item = {"id": {"S": "a"}, "number": {"N": "1"}, "text": {"S": "stored"}}
    reply = {"Items": [item], "Count": 1, "ScannedCount": 1}
    stub.next("Query", *[stubs.Answer(body=reply)] * 3)

    async with make_direct_app().app_context():
        assert [each.text async for each in Item.aquery("a")] == ["stored"]

        with listening:
            result = Item.aquery("a")
            monkeypatch.setattr(UnicodeAttribute, "deserialize", deserialize)
            assert [each.text async for each in result] == ["patched"]
            monkeypatch.undo()
            assert [each.text async for each in Item.aquery("a")] == ["stored"]

    assert bool(announced) is is_announced
