"""The hub runs no code of the app, wherever an app puts it."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import datetime
import enum
import logging
import threading
import typing as t
from unittest import mock

import anyio
import pynamodb.exceptions
import pytest
from pynamodb.attributes import Attribute
from pynamodb.attributes import DiscriminatorAttribute
from pynamodb.attributes import JSONAttribute
from pynamodb.attributes import ListAttribute
from pynamodb.attributes import MapAttribute
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.attributes import UnicodeSetAttribute
from pynamodb.attributes import UTCDateTimeAttribute
from pynamodb.attributes import VersionAttribute
from quart import Quart
from quart import current_app

import dynamo_ext
import dynamo_ext_async
import stub as stubs
from dynamo_ext.binding import context
from dynamo_ext_async import Model
from dynamo_ext_async import PynamoDB
from stub import Answer
from stub import Request
from stub import Stub

pytestmark = [pytest.mark.anyio, pytest.mark.once(reason="each test names its transport")]

HUB = "dynamo-ext hub"
BESIDE_HUB = "dynamo-ext"
WORKER = "AnyIO worker thread"

Item = dict[str, t.Any]
Call = cabc.Callable[[], cabc.Awaitable[t.Any]]


names: list[str] = []


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    names.clear()


def saw(value: t.Any = None, *_: t.Any) -> t.Any:
    """Code of the app: note in which thread it runs."""
    names.append(threading.current_thread().name)
    return value


@pytest.fixture
async def stocked(stub: Stub, stub_config: Item) -> cabc.AsyncIterator[Stub]:
    """Be in an app whose awaited calls may be made in the hub. The stub answers all of them."""
    app = Quart(__name__)
    app.config.from_mapping(stub_config, DYNAMODB_TRANSPORT="direct", DYNAMODB_MAX_RETRY_ATTEMPTS=0)
    db = PynamoDB(app)

    async with app.app_context():
        with context.use(app):
            await db.run_sync(db.connection.list_tables)

        names.clear()
        yield stub


def stored(stub: Stub, **values: Item) -> None:
    """What the next calls read."""
    item = {"id": {"S": "a"}, **values}
    stub.always("GetItem", Answer(body={"Item": item}))
    stub.always("UpdateItem", Answer(body={"Attributes": item}))
    page = {"Items": [item], "Count": 1, "ScannedCount": 1}
    stub.always("Query", Answer(body=page))
    stub.always("Scan", Answer(body=page))


async def read_all(model: t.Any) -> None:
    """Read an item in each way."""
    await model.aget("a")
    assert len([item async for item in model.aquery("a")]) == 1
    item = model("a")
    await item.arefresh()
    await item.aupdate([model.id.set("a")])


@contextlib.contextmanager
def where_calls_end() -> cabc.Generator[list[str]]:
    ended: list[str] = []

    def receive(sender: t.Any, call: dynamo_ext.Call) -> None:
        ended.append(threading.current_thread().name)

    with dynamo_ext.call_finished.connected_to(receive):
        yield ended


class Loud(UnicodeAttribute):
    def deserialize(self, value: t.Any) -> t.Any:
        return saw(super().deserialize(value))


class Shape(MapAttribute[str, t.Any]):
    kind: t.Any = t.cast(t.Any, DiscriminatorAttribute)()


async def test_discriminated_subclasses_that_override(stocked: Stub) -> None:
    class Base(Model):
        class Meta:
            table_name = "base"

        id = UnicodeAttribute(hash_key=True)
        kind: t.Any = t.cast(t.Any, DiscriminatorAttribute)()

    class Deserializes(Base, discriminator="deserializes"):
        def deserialize(self, attribute_values: t.Any) -> None:
            saw()
            super().deserialize(attribute_values)

    class Initialises(Base, discriminator="initialises"):
        def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
            saw()
            super().__init__(*args, **kwargs)

    class HasOwnAttribute(Base, discriminator="attribute"):
        name = Loud(null=True)

    models = {
        "deserializes": Deserializes,
        "initialises": Initialises,
        "attribute": HasOwnAttribute,
    }

    for kind, model in models.items():
        stored(stocked, kind={"S": kind}, name={"S": "n"})
        assert type(await Base.aget("a")) is model
        assert len([item async for item in Base.ascan()]) == 1

    assert len(names) >= 4
    assert HUB not in names


async def test_subclasses_that_are_defined_after_the_first_call(stocked: Stub) -> None:
    class Root(Model):
        class Meta:
            table_name = "root"

        id = UnicodeAttribute(hash_key=True)
        kind: t.Any = t.cast(t.Any, DiscriminatorAttribute)()

    class Plain(Root, discriminator="plain"):
        pass

    stored(stocked, kind={"S": "plain"})

    with where_calls_end() as ended:
        assert type(await Root.aget("a")) is Plain

    assert ended == [BESIDE_HUB]

    class Late(Root, discriminator="late"):
        def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
            saw()
            super().__init__(*args, **kwargs)

    stored(stocked, kind={"S": "late"})
    assert type(await Root.aget("a")) is Late
    assert len(names) == 1
    assert HUB not in names


class Circle(Shape, discriminator="circle"):
    def __init__(self, **attributes: t.Any) -> None:
        saw()
        t.cast(t.Any, super()).__init__(**attributes)


class WithDiscriminatedMap(Model):
    class Meta:
        table_name = "map"

    id = UnicodeAttribute(hash_key=True)
    shape: t.Any = t.cast(t.Any, Shape)(null=True)


class WithDiscriminatedMaps(Model):
    class Meta:
        table_name = "maps"

    id = UnicodeAttribute(hash_key=True)
    shapes = ListAttribute(of=Shape, null=True)


class Deep(MapAttribute[str, t.Any]):
    shapes = ListAttribute(of=Shape, null=True)


class WithDeepMaps(Model):
    class Meta:
        table_name = "deep"

    id = UnicodeAttribute(hash_key=True)
    deep: t.Any = t.cast(t.Any, Deep)(null=True)


CIRCLE = {"M": {"kind": {"S": "circle"}}}
CIRCLES = {"L": [CIRCLE]}


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (WithDiscriminatedMap, {"shape": CIRCLE}),
        (WithDiscriminatedMaps, {"shapes": CIRCLES}),
        (WithDeepMaps, {"deep": {"M": {"shapes": CIRCLES}}}),
    ],
)
async def test_maps_with_a_discriminator(stocked: Stub, model: t.Any, values: Item) -> None:
    stored(stocked, **values)
    names.clear()
    await read_all(model)
    assert len(names) >= 4
    assert HUB not in names


class WithDefault(Model):
    class Meta:
        table_name = "default"

    id = UnicodeAttribute(hash_key=True)
    name = UnicodeAttribute(default=lambda: t.cast(str, saw("n")))


class DefaultInMap(MapAttribute[str, t.Any]):
    name = UnicodeAttribute(default=lambda: t.cast(str, saw("n")))


class WithDefaultInMap(Model):
    class Meta:
        table_name = "default-in-map"

    id = UnicodeAttribute(hash_key=True)
    inner: t.Any = t.cast(t.Any, DefaultInMap)(null=True)


class WithMapAsDefault(Model):
    class Meta:
        table_name = "map-as-default"

    id = UnicodeAttribute(hash_key=True)
    inner: t.Any = t.cast(t.Any, DefaultInMap)(default=DefaultInMap)


@pytest.mark.parametrize("model", [WithDefault, WithDefaultInMap, WithMapAsDefault])
async def test_defaults_that_are_called(stocked: Stub, model: t.Any) -> None:
    stored(stocked, **({} if model is WithDefault else {"inner": {"M": {}}}))
    await read_all(model)
    assert len(names) >= 4
    assert HUB not in names


class NewInMap(MapAttribute[str, t.Any]):
    name = UnicodeAttribute(default_for_new=lambda: t.cast(str, saw("n")))


class WithListOfNew(Model):
    class Meta:
        table_name = "new-in-map"

    id = UnicodeAttribute(hash_key=True)
    inner = ListAttribute(of=NewInMap, null=True)


async def test_defaults_of_new_maps(stocked: Stub) -> None:
    """PynamoDB creates the maps when it writes a list of dictionaries."""
    await WithListOfNew("a", inner=[{"name": "x"}]).asave()
    assert names
    assert HUB not in names


class WithNew(Model):
    class Meta:
        table_name = "new"

    id = UnicodeAttribute(hash_key=True, default_for_new=lambda: t.cast(str, saw("a")))
    tags: t.Any = UnicodeSetAttribute(default_for_new=set)
    anything: t.Any = t.cast(t.Any, MapAttribute)(default=dict)


async def test_defaults_that_no_call_calls_do_not_count(stocked: Stub) -> None:
    with where_calls_end() as ended:
        await WithNew().asave()
        await WithNew.aget("a")

    assert ended == [BESIDE_HUB] * 2
    assert names == [threading.current_thread().name]


HOOKS = ["deserialize", "serialize", "get_value"]


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("is_late", [False, True])
async def test_hooks_on_an_attribute(stocked: Stub, hook: str, is_late: bool) -> None:
    class Hooked(Model):
        class Meta:
            table_name = "hooked"

        id = UnicodeAttribute(hash_key=True)
        name = UnicodeAttribute(null=True)

    stored(stocked, name={"S": "n"})

    if is_late:
        await Hooked.aget("a")

    attribute = Hooked.name
    usual = getattr(attribute, hook)
    setattr(attribute, hook, lambda value: saw(usual(value)))
    await Hooked.aget("a")
    await Hooked("a", name="n").asave()
    assert names
    assert HUB not in names


@pytest.mark.parametrize(
    ("kind", "hook"),
    [
        (UnicodeAttribute, "serialize"),
        (UnicodeAttribute, "deserialize"),
        (Attribute, "get_value"),
        (Attribute, "__set__"),
    ],
)
@pytest.mark.parametrize("is_late", [False, True])
async def test_patches_of_an_attribute_class(
    stocked: Stub, kind: t.Any, hook: str, is_late: bool
) -> None:
    class Patched(Model):
        class Meta:
            table_name = "patched"

        id = UnicodeAttribute(hash_key=True)

    if is_late:
        await Patched.aget("a")

    usual = getattr(kind, hook)

    def patch(*args: t.Any) -> t.Any:
        return saw(usual(*args))

    with mock.patch.object(kind, hook, patch):
        item = await Patched.aget("a")
        await item.asave()
        await item.arefresh()
        assert names
        assert HUB not in names

    with where_calls_end() as ended:
        await Patched.aget("a")

    assert ended == [BESIDE_HUB]


@pytest.mark.parametrize("is_late", [False, True])
async def test_patches_of_a_model(stocked: Stub, is_late: bool) -> None:
    class Patched(Model):
        class Meta:
            table_name = "patched-model"

        id = UnicodeAttribute(hash_key=True)

    if is_late:
        await Patched.aget("a")

    usual = Patched.get
    item = Patched("a")

    with mock.patch.object(Patched, "get", lambda *args: saw(usual(*args))):
        await Patched.aget("a")

    def serialize(*args: t.Any, **more: t.Any) -> t.Any:
        return saw({"id": {"S": "a"}})

    with mock.patch.object(Patched, "serialize", serialize):
        await item.asave()

    assert len(names) == 2
    assert HUB not in names


class Sized:
    """A property with a length: an attribute of texts takes it for a text if they are compared."""

    def __get__(self, *of: object) -> t.Any:
        return self

    def __set__(self, *of: object) -> None:
        saw()

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize("replacement", [property(saw, saw), Sized()], ids=["property", "sized"])
async def test_a_property_in_the_place_of_an_attribute(stocked: Stub, replacement: t.Any) -> None:

    class Patched(Model):
        class Meta:
            table_name = "patched-attribute"

        id = UnicodeAttribute(hash_key=True)
        text = UnicodeAttribute(null=True)

    stored(stocked, text={"S": "x"})

    with where_calls_end() as ended:
        await Patched.aget("a")

    assert ended == [BESIDE_HUB]

    with mock.patch.object(Patched, "text", replacement), where_calls_end() as ended:
        await Patched.aget("a")

    assert names
    assert HUB not in names
    assert ended != [BESIDE_HUB]


async def test_methods_on_an_instance(stocked: Stub) -> None:
    class Plain(Model):
        class Meta:
            table_name = "plain"

        id = UnicodeAttribute(hash_key=True)

    item = Plain("a")
    usual = item.serialize
    t.cast(t.Any, item).serialize = lambda *args, **more: saw(usual(*args, **more))
    await item.asave()
    assert len(names) == 1
    assert HUB not in names


@pytest.mark.parametrize("name", ["save", "delete", "refresh"])
async def test_a_function_in_the_place_of_a_method(stocked: Stub, name: str) -> None:
    item = Values("a")
    await item.asave()
    setattr(item, name, saw)
    names.clear()
    await getattr(item, f"a{name}")()
    assert len(names) == 1
    assert HUB not in names
    assert threading.current_thread().name not in names


class FalseModel(Model):
    class Meta:
        table_name = "false"

    id = UnicodeAttribute(hash_key=True)

    def __bool__(self) -> bool:
        saw()
        return True


class WithGetattr(Model):
    class Meta:
        table_name = "getattr"

    id = UnicodeAttribute(hash_key=True)

    def __getattribute__(self, name: str) -> t.Any:
        saw()
        return super().__getattribute__(name)


class OwnType(type(Model)):  # type: ignore[misc]
    def __call__(cls, *args: t.Any, **kwargs: t.Any) -> t.Any:
        saw()
        return super().__call__(*args, **kwargs)


class WithOwnType(Model, metaclass=OwnType):
    class Meta:
        table_name = "type"

    id = UnicodeAttribute(hash_key=True)


@pytest.mark.parametrize("model", [FalseModel, WithGetattr, WithOwnType])
async def test_special_methods(stocked: Stub, model: t.Any) -> None:
    stored(stocked)
    names.clear()
    await read_all(model)
    assert names
    assert HUB not in names


class OfClass:
    """A property of the class, as several libraries have it."""

    def __init__(self, value: str) -> None:
        self._value = value

    def __get__(self, instance: object, owner: type) -> t.Any:
        return saw(self._value)


async def test_a_meta_that_computes(stocked: Stub) -> None:
    class Computed(Model):
        class Meta:
            table_name = OfClass("computed")

        id = UnicodeAttribute(hash_key=True)

    await Computed.aget("a")
    assert names
    assert HUB not in names


async def test_an_error_of_the_model_s_own(stocked: Stub) -> None:
    class Missing(Model):
        class Meta:
            table_name = "missing"

        class DoesNotExist(pynamodb.exceptions.DoesNotExist):
            def __init__(self, *args: t.Any) -> None:
                saw()
                super().__init__(*args)

        id = UnicodeAttribute(hash_key=True)

    stocked.always("GetItem", Answer(body={}))

    with pytest.raises(Missing.DoesNotExist):
        await Missing.aget("a")

    assert names
    assert HUB not in names


class Key(str):
    def __eq__(self, other: object) -> bool:
        saw()
        return super().__eq__(other)

    def __hash__(self) -> int:
        saw()
        return super().__hash__()

    def __str__(self) -> str:
        saw()
        return super().__str__()


class Grade(enum.IntEnum):
    GOOD = 1

    def __str__(self) -> str:
        return str(saw("1"))


class Numbers(dict[str, t.Any]):
    def items(self) -> t.Any:
        saw()
        return super().items()


class Berlin(datetime.tzinfo):
    def utcoffset(self, dt: object) -> datetime.timedelta:
        return t.cast(datetime.timedelta, saw(datetime.timedelta(hours=1)))

    def tzname(self, dt: object) -> str:
        return "Berlin"

    def dst(self, dt: object) -> datetime.timedelta:
        return datetime.timedelta()


class Inner(MapAttribute[str, t.Any]):
    names: t.Any = ListAttribute(null=True)


class Values(Model):
    class Meta:
        table_name = "values"

    id = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(null=True)
    json: t.Any = JSONAttribute(null=True)
    time = UTCDateTimeAttribute(null=True)
    inner: t.Any = t.cast(t.Any, Inner)(null=True)
    version = VersionAttribute()


class Fancy(Inner):
    def serialize(self, *args: t.Any, **more: t.Any) -> t.Any:
        return saw(super().serialize(*args, **more))


def _first_of_each(request: Request) -> Answer:
    items = {name: [{"id": {"S": "a"}}] for name in request.body["RequestItems"]}
    return Answer(body={"Responses": items})


async def test_values_of_the_app_s_own_classes(stocked: Stub) -> None:
    stored(stocked)
    stocked.always("BatchGetItem", _first_of_each)

    for call in (
        lambda: Values.aget(Key("a")),
        lambda: Values("a", number=Grade.GOOD).asave(),
        lambda: Values("a", json=Numbers(b=1)).asave(),
        lambda: Values("a", json=[{"c": Numbers(b=1)}]).asave(),
        lambda: Values("a", json={"c": {Key("b"): 1}}).asave(),
        lambda: Values("a", time=datetime.datetime.now(Berlin())).asave(),
        lambda: Values("a", inner=t.cast(t.Any, Fancy)(names=[])).asave(),
        lambda: Values("a").asave(condition=(Values.id == Key("a")) & Values.json.exists()),
        lambda: Values("a").aupdate([Values.id.set(Key("a"))]),
        lambda: anext(Values.aquery("a", filter_condition=Values.id == Key("a"))),
        lambda: anext(Values.abatch_get([Key("a")])),
    ):
        with where_calls_end() as ended:
            await t.cast(Call, call)()

        assert HUB not in names
        assert ended
        assert BESIDE_HUB not in ended


async def test_ordinary_values_do_not_count(stocked: Stub) -> None:
    stored(stocked)
    now = datetime.datetime.now(datetime.UTC)
    item = Values(
        "a", number=1, json={"b": [1, None]}, time=now, inner=t.cast(t.Any, Inner)(names=[])
    )

    with where_calls_end() as ended:
        await item.asave(condition=Values.id.does_not_exist() | (Values.number > 3))
        await item.aupdate([Values.number.set(3)], Values.json.exists())
        await anext(Values.aquery("a", filter_condition=Values.number == 1))

    assert ended == [BESIDE_HUB] * 3


class Loudly(Values):
    """An item of a batch of another class than the batch's."""

    class Meta:
        table_name = "values"

    def serialize(self, *args: t.Any, **more: t.Any) -> t.Any:
        return saw(super().serialize(*args, **more))


class Reads(Values):
    class Meta:
        table_name = "reads"

    @classmethod
    def from_raw_data(cls, data: t.Any) -> t.Any:
        return saw(super().from_raw_data(data))


class Counts(Values):
    class Meta:
        table_name = "counts"

    def update_local_version_attribute(self) -> None:
        saw()
        t.cast(t.Any, super()).update_local_version_attribute()


async def write_batch(*items: t.Any, delete: bool = False) -> None:
    async with Values.abatch_write() as batch:
        for item in items:
            await (batch.delete if delete else batch.save)(item)


async def transact(db: PynamoDB, *steps: tuple[t.Any, ...]) -> None:
    """Write what the steps say: the name of a method, and its arguments."""
    async with db.atransact_write() as transaction:
        for name, *arguments in steps:
            getattr(transaction, name)(*arguments)


async def transact_get(db: PynamoDB, *keys: tuple[t.Any, ...]) -> None:
    async with db.atransact_get() as transaction:
        for key in keys:
            transaction.get(*key)


def one_of_each(request: Request) -> Answer:
    return Answer(body={"Responses": [{"Item": {"id": {"S": "a"}}} for _ in transacted(request)]})


def transacted(request: Request) -> list[t.Any]:
    return t.cast("list[t.Any]", request.body["TransactItems"])


def shadowed(name: str) -> Values:
    """An item with a method of its own."""
    item = Values("a")
    usual = getattr(item, name)
    setattr(item, name, lambda *args, **more: saw(usual(*args, **more)))
    return item


CODE_OF_APP: dict[str, cabc.Callable[[PynamoDB], cabc.Awaitable[None]]] = {
    "batch: a value": lambda db: write_batch(Values(Key("a"))),
    "batch: a value among others": lambda db: write_batch(Values("a"), Values("b", json=Numbers())),
    "batch: a key": lambda db: write_batch(Values(Key("a")), delete=True),
    "batch: a class": lambda db: write_batch(Values("a"), Loudly("b")),
    "batch: a method on an item": lambda db: write_batch(shadowed("serialize")),
    "batch: a method on a deleted item": lambda db: write_batch(shadowed("_get_keys"), delete=True),
    "get: a class": lambda db: transact_get(db, (Values, "a"), (Reads, "a")),
    "get: a key": lambda db: transact_get(db, (Values, Key("a"))),
    "write: a value": lambda db: transact(db, ("save", Values("a")), ("save", Values(Key("b")))),
    "write: a class": lambda db: transact(db, ("save", Values("a")), ("save", Counts("a"))),
    "write: a condition": lambda db: transact(
        db, ("condition_check", Values, "a", None, Values.id == Key("a"))
    ),
    "write: an action": lambda db: transact(
        db, ("update", Values("a"), [Values.json.set(1), Values.id.set(Key("a"))])
    ),
    "write: a method on an item": lambda db: transact(
        db, ("save", shadowed("update_local_version_attribute"))
    ),
}


@pytest.mark.parametrize("name", CODE_OF_APP)
async def test_batches_and_transactions_with_code_of_the_app(stocked: Stub, name: str) -> None:
    stocked.always("TransactGetItems", one_of_each)

    with where_calls_end() as ended:
        await CODE_OF_APP[name](extension())

    assert HUB not in names
    assert len(ended) == 1
    assert BESIDE_HUB not in ended


def extension() -> PynamoDB:
    """That of the current app."""
    return t.cast(PynamoDB, current_app.extensions["pynamodb"])


async def test_batches_and_transactions_without_code_of_the_app(stocked: Stub) -> None:
    stocked.always("TransactGetItems", one_of_each)
    db = extension()
    item = Values("a", number=1, json={"b": [1, None]})

    with where_calls_end() as ended:
        await write_batch(*(Values(str(number)) for number in range(60)))
        await write_batch(item, delete=True)
        await transact_get(db, (Values, "a"), (WithNew, "a"))
        await transact(
            db,
            ("save", item, Values.id.does_not_exist()),
            ("update", Values("b"), [Values.number.set(1)], Values.number > 1),
            ("delete", Values("c")),
            ("condition_check", Values, "d", None, Values.number == 1),
        )
        batch = Values.abatch_write().with_options(max_concurrency=3)

        for number in range(60):
            await batch.save(Values(str(number)))

        await batch.commit()

    assert ended == [BESIDE_HUB] * 9
    assert item.version == 1


@pytest.mark.parametrize("patched", ["_commit", "save"])
async def test_patches_of_transactions(stocked: Stub, patched: str) -> None:
    owner = dynamo_ext_async.TransactWrite
    usual = getattr(owner, patched)

    def patch(*args: t.Any, **more: t.Any) -> t.Any:
        return saw(usual(*args, **more))

    with mock.patch.object(owner, patched, patch):
        await transact(extension(), ("save", Values("a")))

    assert names
    assert HUB not in names


async def test_a_transaction_of_the_app_s_own_class(stocked: Stub) -> None:
    class Own(dynamo_ext_async.TransactGet):
        @staticmethod
        def _update_futures(futures: t.Any, results: t.Any) -> None:
            saw()

    stocked.always("TransactGetItems", one_of_each)

    async with Own(connection=extension().connection) as transaction:
        transaction.get(Values, "a")

    assert len(names) == 1
    assert HUB not in names


class Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        saw()


async def test_receivers_and_handlers_of_log_records(stocked: Stub) -> None:
    """They are code of the app, too, and may take any lock."""

    def receive(sender: t.Any, call: dynamo_ext.Call) -> None:
        saw()

    handler = Handler()
    logger = logging.getLogger("dynamo_ext")
    logger.addHandler(handler)

    try:
        stocked.next("GetItem", stubs.INTERNAL_ERROR)

        with (
            dynamo_ext.call_finished.connected_to(receive),
            pytest.raises(Exception, match="InternalServerError"),
        ):
            await Values.aget("a")
    finally:
        logger.removeHandler(handler)

    assert len(names) == 2
    assert HUB not in names


async def test_debug_records_of_the_libraries(stocked: Stub) -> None:
    handler = Handler()
    logger = logging.getLogger("pynamodb")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)

    try:
        await Values.aget("a")
    finally:
        logger.setLevel(logging.NOTSET)
        logger.removeHandler(handler)

    assert names
    assert HUB not in names


async def test_a_lock_of_the_app_stops_nothing(stocked: Stub) -> None:
    """In the hub, the first call would wait with the lock and the second one for it."""
    lock = threading.Lock()

    class Outer(Model):
        class Meta:
            table_name = "outer"

        id = UnicodeAttribute(hash_key=True)
        kind: t.Any = t.cast(t.Any, DiscriminatorAttribute)()

    class Locks(Outer, discriminator="locks"):
        def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
            with lock:
                WithNew.get("a")

            super().__init__(*args, **kwargs)

    stocked.always(
        "GetItem", lambda request: Answer(body={"Item": {"id": {"S": "a"}, "kind": {"S": "locks"}}})
    )

    async def get() -> None:
        assert type(await Outer.aget("a")) is Locks

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(get)
