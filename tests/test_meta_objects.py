"""What stands for a model's Meta behaves as PynamoDB's does, and never mixes apps."""

from __future__ import annotations

import contextlib
import copy
import inspect
import pickle
import types
import typing as t
from unittest import mock

import flask
import pynamodb.models
import pytest
from pynamodb.attributes import UnicodeAttribute

import dynamo_ext_async
from conftest import InApp
from dynamo_ext import Model
from dynamo_ext import PynamoDB
from dynamo_ext.binding import context
from stub import Stub

ONE = {
    "DYNAMODB_TABLE_NAME_PREFIX": "one-",
    "DYNAMODB_REGION": "eu-west-1",
    "DYNAMODB_HOST": "http://127.0.0.1:8001",
    "DYNAMODB_MAX_RETRY_ATTEMPTS": 1,
    "DYNAMODB_READ_TIMEOUT_SECONDS": 1.5,
    "DYNAMODB_EXTRA_HEADERS": {"X-App": "one"},
}
TWO = {
    "DYNAMODB_TABLE_NAME_PREFIX": "two-",
    "DYNAMODB_REGION": "eu-west-2",
    "DYNAMODB_HOST": "http://127.0.0.1:8002",
    "DYNAMODB_MAX_RETRY_ATTEMPTS": 2,
    "DYNAMODB_READ_TIMEOUT_SECONDS": 2.5,
    "DYNAMODB_EXTRA_HEADERS": {"X-App": "two"},
    "DYNAMODB_BILLING_MODE": "PROVISIONED",
    "DYNAMODB_READ_CAPACITY_UNITS": 2,
    "DYNAMODB_WRITE_CAPACITY_UNITS": 2,
}

pytestmark = pytest.mark.once(reason="no call is sent, but where a test says otherwise")


class Apps(t.NamedTuple):
    one: flask.Flask
    two: flask.Flask


@pytest.fixture
def apps() -> Apps:
    db = PynamoDB()
    apps = Apps(flask.Flask("one"), flask.Flask("two"))

    for app, config in zip(apps, (ONE, TWO), strict=True):
        app.config.from_mapping(config)
        db.init_app(app)

    return apps


class BaseMeta:
    region: t.Any = None
    owner = "accounting"


class Kept(Model):
    """A model of this module, for pickle."""

    class Meta(BaseMeta):
        table_name = "kept"

    id = UnicodeAttribute(hash_key=True)


def define(base: t.Any = Model, **declared: t.Any) -> t.Any:
    """Make a model, whose Meta has a base class."""
    meta = type("Meta", (BaseMeta,), {"table_name": "todo", **declared})
    return type(base)(
        "Todo",
        (base,),
        {"Meta": meta, "__module__": __name__, "id": UnicodeAttribute(hash_key=True)},
    )


def declared_by(model: t.Any) -> dict[str, t.Any]:
    """What a model declares itself, without what Python adds."""
    declared = model.__dict__["Meta"].declared
    return {name: value for name, value in vars(declared).items() if not name.startswith("__")}


def seen_in(app: flask.Flask, model: t.Any) -> dict[str, t.Any]:
    with app.app_context():
        return {name: getattr(model.Meta, name) for name in READ}


create: t.Any = type(Model)

READ = (
    *("table_name", "region", "host", "max_retry_attempts", "read_timeout_seconds"),
    *("extra_headers", "billing_mode", "read_capacity_units", "table_name_prefix"),
)


# While a class is being made.


@pytest.mark.parametrize("base", [Model, dynamo_ext_async.Model], ids=["sync", "async"])
@pytest.mark.parametrize("current", ["none", "one"])
def test_while_a_class_is_made_its_meta_is_the_declared_one(
    base: t.Any, current: str, apps: Apps
) -> None:
    seen: list[t.Any] = []

    class Named(UnicodeAttribute):
        def __set_name__(self, owner: t.Any, name: str) -> None:
            super().__set_name__(owner, name)
            seen.append((name, owner.Meta))

    class Base(base):  # type: ignore[misc]
        def __init_subclass__(cls, **options: t.Any) -> None:
            super().__init_subclass__(**options)
            seen.append(("class", cls.Meta))

            if "Meta" not in vars(cls):
                cls.Meta = type("Meta", (cls.Meta,), {"table_name": cls.__name__.lower()})

    class BaseOfParent:
        table_name = "parent"
        owner = "accounting"

    def create() -> tuple[t.Any, t.Any]:
        class Parent(Base):
            Meta = BaseOfParent
            id = Named(hash_key=True)

        class Child(Parent):
            more = Named(null=True)

        return Parent, Child

    if current == "one":
        with apps.one.app_context():
            parent, child = create()
    else:
        parent, child = create()

    assert seen == [
        ("id", BaseOfParent),
        ("class", BaseOfParent),
        ("more", BaseOfParent),
        ("class", BaseOfParent),
    ]
    assert parent.Meta.table_name == "parent"
    assert child.Meta.table_name == "child"
    assert child.Meta.owner == "accounting"

    with apps.two.app_context():
        assert child.Meta.table_name == "two-child"


def test_a_model_without_meta_has_none_while_it_is_made() -> None:
    seen: list[bool] = []

    class Base(Model):
        def __init_subclass__(cls) -> None:
            super().__init_subclass__()
            seen.append(hasattr(cls, "Meta"))

    class Nameless(Base):
        id = UnicodeAttribute(hash_key=True)

    assert seen == [False]
    assert not hasattr(Nameless, "Meta")


# What is shared.


@pytest.mark.parametrize("current", ["none", "one"])
@pytest.mark.parametrize("how", ["assigned", "inherited", "assigned later", "type", "new_class"])
def test_a_shared_meta_is_the_declaration(how: str, current: str, apps: Apps) -> None:
    first = define(max_retry_attempts=7)

    def share() -> t.Any:
        shared: t.Any = first.Meta

        match how:
            case "inherited":

                class Meta(shared):  # type: ignore[misc]
                    pass

                shared = Meta
            case "type":
                shared = type("Meta", (shared,), {})
            case "new_class":
                shared = types.new_class("Meta", (shared,))
            case _:
                pass

        if how == "assigned later":
            second = define(table_name="other")
            second.Meta = shared
            return second

        class Second(Model):
            Meta = shared
            id = UnicodeAttribute(hash_key=True)

        return Second

    if current == "one":
        with apps.one.app_context():
            second = share()
    else:
        second = share()

    for app in apps:
        assert seen_in(app, second) == seen_in(app, first)

    assert second.Meta.owner == "accounting"
    assert not hasattr(second.Meta, "host")

    first.Meta.owner = "sales"
    assert second.Meta.owner == "sales"


def test_a_class_that_inherits_from_a_meta_is_an_ordinary_class(apps: Apps) -> None:
    todo = define()

    with apps.one.app_context():
        meta: t.Any = type("Meta", (todo.Meta,), {"owner": "sales"})
        assert (meta.table_name, meta.owner) == ("todo", "sales")
        assert type(meta) is type
        assert meta().owner == "sales"
        assert issubclass(meta, todo.Meta)
        assert isinstance(meta(), todo.Meta)
        assert todo.Meta().owner == "accounting"
        assert not issubclass(BaseMeta, todo.Meta)


# What is written.


@pytest.mark.parametrize("declared", [{}, {"region": "eu-west-9", "max_retry_attempts": "5"}])
@pytest.mark.parametrize("name", READ)
def test_to_write_back_what_was_read_changes_nothing(
    name: str, declared: dict[str, t.Any], apps: Apps
) -> None:
    todo = define(**declared)
    before = [seen_in(app, todo) for app in apps]
    written = declared_by(todo)

    for app in apps:
        with app.app_context():
            setattr(todo.Meta, name, getattr(todo.Meta, name))

        assert [seen_in(app, todo) for app in apps] == before
        assert {**declared_by(todo), "read_capacity_units": None} == {
            **written,
            "read_capacity_units": None,
        }


@pytest.mark.parametrize("declared", [{}, {"region": "eu-west-9", "max_retry_attempts": 5}])
@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("table_name", "other"),
        ("region", "eu-west-3"),
        ("max_retry_attempts", 4),
        ("billing_mode", "PROVISIONED"),
    ],
)
def test_to_restore_what_was_read_leaves_nothing(
    name: str, other: t.Any, declared: dict[str, t.Any], apps: Apps
) -> None:
    todo = define(**declared)
    before = [seen_in(app, todo) for app in apps]

    with apps.one.app_context():
        old = getattr(todo.Meta, name)
        setattr(todo.Meta, name, other)
        assert declared_by(todo)[name] == other
        setattr(todo.Meta, name, old)

    assert [seen_in(app, todo) for app in apps] == before


def test_what_is_added_to_a_table_name_is_added_to_the_declared_one(apps: Apps) -> None:
    todo = define()

    with apps.one.app_context():
        todo.Meta.table_name += "-v2"
        assert todo.Meta.table_name == "one-todo-v2"
        todo.Meta.table_name = f"{todo.Meta.table_name}.3"
        assert todo.Meta.table_name == "one-todo-v2.3"

    assert todo.Meta.table_name == "todo-v2.3"
    todo.Meta.table_name += "!"
    assert seen_in(apps.two, todo)["table_name"] == "two-todo-v2.3!"


def test_what_is_written_is_a_declaration(apps: Apps) -> None:
    todo = define()

    with apps.one.app_context():
        todo.Meta.table_name = "one"
        todo.Meta.region = ONE["DYNAMODB_REGION"]
        todo.Meta.billing_mode = "PAY_PER_REQUEST"
        # As the app says, but said by the user.
        assert todo.Meta.region == ONE["DYNAMODB_REGION"]
        assert todo.Meta.table_name == "one-one"

    seen = seen_in(apps.two, todo)
    assert seen["table_name"] == "two-one"
    assert seen["region"] == "eu-west-1"
    assert seen["billing_mode"] == "PAY_PER_REQUEST"


def test_a_name_that_happens_to_begin_with_the_prefix_gets_it_too(in_app: InApp) -> None:
    todo = define()

    with in_app({"DYNAMODB_TABLE_NAME_PREFIX": "app"}):
        todo.Meta.table_name = "apples"
        assert todo.Meta.table_name == "appapples"


def test_the_table_name_of_another_model_is_taken_over_without_prefix(apps: Apps) -> None:
    todo, other = define(), define(table_name="other")

    with apps.one.app_context():
        todo.Meta.table_name = other.Meta.table_name
        assert todo.Meta.table_name == "one-other"

        todo.Meta.table_name_prefix = ""
        todo.Meta.table_name = other.Meta.table_name
        assert todo.Meta.table_name == "one-other"

    assert seen_in(apps.two, todo)["table_name"] == "one-other"


def test_many_table_names_are_not_kept(in_app: InApp) -> None:
    todo = define()

    with in_app({"DYNAMODB_TABLE_NAME_PREFIX": "p-"}):
        for number in range(1_100):
            todo.Meta.table_name = f"tenant-{number}"
            assert todo.Meta.table_name == f"p-tenant-{number}"

        assert len(context.state().own._values._declared_names) == 1_000


# Copies, pickles, inspection.


@pytest.mark.parametrize("current", ["none", "one"])
def test_copies_and_pickles(current: str, apps: Apps) -> None:
    def check() -> None:
        # As a class is copied and pickled.
        assert copy.copy(Kept.Meta) is Kept.Meta
        assert copy.deepcopy(Kept.Meta) is Kept.Meta
        assert copy.deepcopy({"meta": Kept.Meta})["meta"] is Kept.Meta
        assert pickle.loads(pickle.dumps(Kept.Meta)) is Kept.Meta
        assert inspect.isclass(Kept.Meta)

    if current == "one":
        with apps.one.app_context():
            check()
    else:
        check()


def test_a_meta_that_is_no_class(apps: Apps) -> None:
    todo = define()
    todo.Meta = types.SimpleNamespace(table_name="plain", tags={"a": "b"})

    for app in (None, apps.one):
        with app.app_context() if app else contextlib.nullcontext():
            for copied in (
                copy.copy(todo.Meta),
                copy.deepcopy(todo.Meta),
                pickle.loads(pickle.dumps(todo.Meta)),
            ):
                assert copied == types.SimpleNamespace(table_name="plain", tags={"a": "b"})
                copied.table_name = "other"

            assert todo.Meta.table_name == ("one-plain" if app else "plain")
            assert vars(todo.Meta)["table_name"] == todo.Meta.table_name
            assert "tags" in dir(todo.Meta)
            assert "plain" in repr(todo.Meta)
            todo.Meta.tags = {"a": "b"}
            del todo.Meta.tags
            assert not hasattr(todo.Meta, "tags")
            todo.Meta.tags = {"a": "b"}


def test_what_can_be_seen_of_a_meta(apps: Apps) -> None:
    todo = define(region="eu-west-9", tags={"a": "b"})
    assert vars(todo.Meta)["table_name"] == "todo"
    assert "host" not in vars(todo.Meta)
    assert "owner" not in vars(todo.Meta)
    assert {"table_name", "tags", "owner", "region"} <= set(dir(todo.Meta))
    assert todo.Meta.__name__ == "Meta"
    assert repr(todo.Meta) == "<Meta of table 'todo'>"

    with apps.one.app_context():
        names = vars(todo.Meta)
        assert names["table_name"] == "one-todo"
        assert names["region"] == "eu-west-9"
        assert names["host"] == ONE["DYNAMODB_HOST"]
        assert names["tags"] == {"a": "b"}
        assert "owner" not in names
        assert dict(inspect.getmembers(todo.Meta))["host"] == ONE["DYNAMODB_HOST"]
        assert hasattr(todo.Meta, "host")
        assert not hasattr(todo.Meta, "nothing")
        assert getattr(todo.Meta, "nothing", 1) == 1

        with pytest.raises(TypeError, match="does not support item assignment"):
            vars(todo.Meta)["region"] = "x"

        del todo.Meta.region
        assert todo.Meta.region == "eu-west-1"

        with pytest.raises(AttributeError):
            del todo.Meta.region


# Patches.

PATCHES = {
    "table_name": "patched",
    "region": "eu-central-1",
    "host": "http://127.0.0.1:8009",
    "max_retry_attempts": 9,
    "owner": "sales",
    "billing_mode": "PROVISIONED",
}


@pytest.mark.parametrize("declared", [{}, {"region": "eu-west-9"}], ids=["of-app", "declared"])
@pytest.mark.parametrize("name", PATCHES)
@pytest.mark.parametrize("how", ["mock", "multiple", "monkeypatch"])
def test_a_patched_value_counts_and_is_restored(
    how: str, name: str, declared: dict[str, t.Any], apps: Apps
) -> None:
    todo = define(**declared)
    before = [seen_in(app, todo) for app in apps]
    written = declared_by(todo)

    def check() -> None:
        assert getattr(todo.Meta, name) == (
            "one-patched" if name == "table_name" else PATCHES[name]
        )

    with apps.one.app_context():
        match how:
            case "mock":
                with mock.patch.object(todo.Meta, name, PATCHES[name]):
                    check()

                    with mock.patch.object(todo.Meta, name, getattr(todo.Meta, name)):
                        check()

                    check()
            case "multiple":
                patches: dict[str, t.Any] = {name: PATCHES[name], "region": "x"}

                with mock.patch.multiple(todo.Meta, **patches):
                    assert todo.Meta.region == "x"
            case _:
                with pytest.MonkeyPatch.context() as monkeypatch:
                    monkeypatch.setattr(todo.Meta, name, PATCHES[name])
                    check()

    assert [seen_in(app, todo) for app in apps] == before
    assert declared_by(todo) == written
    assert BaseMeta.owner == "accounting"


@pytest.mark.parametrize("how", ["mock", "monkeypatch"])
@pytest.mark.parametrize("which", ["own", "inherited", "of-stock-model", "of-mixin"])
def test_a_patched_meta_counts_and_is_restored(how: str, which: str, apps: Apps) -> None:
    first, second = (type("Meta", (), {"table_name": name}) for name in ("first", "second"))
    model: t.Any = {
        "own": define(),
        "inherited": create("Child", (define(),), {}),
        "of-stock-model": create("Child", (Model, stock_model()), {}),
        "of-mixin": create("Child", (Model, Mixin), {"id": UnicodeAttribute(hash_key=True)}),
    }[which]
    child = create("Grandchild", (model,), {})
    child_before = [seen_in(app, child) for app in apps]
    has_own = "Meta" in vars(model)

    def check(name: str) -> None:
        assert model.Meta.table_name == f"one-{name}"
        assert child.Meta.table_name == f"one-{name}"
        assert model("x").Meta.table_name == f"one-{name}"

    with apps.one.app_context():
        if how == "mock":
            with mock.patch.object(model, "Meta", first):
                check("first")

                with mock.patch.object(model, "Meta", second):
                    check("second")

                    with mock.patch.object(model.Meta, "table_name", "third"):
                        check("third")

                    check("second")

                check("first")
        else:
            with pytest.MonkeyPatch.context() as monkeypatch:
                monkeypatch.setattr(model, "Meta", first)
                check("first")

    assert [seen_in(app, child) for app in apps] == child_before
    assert ("Meta" in vars(model)) is has_own


def test_a_meta_can_be_deleted() -> None:
    todo = define()
    child = create("Child", (todo,), {"Meta": type("Meta", (), {"table_name": "child"})})
    del child.Meta
    assert child.Meta.table_name == "todo"
    del todo.Meta
    assert not hasattr(todo, "Meta")
    assert not hasattr(child, "Meta")

    with pytest.raises(AttributeError):
        del todo.Meta


def test_a_meta_that_hides_that_of_a_stock_model_can_be_deleted(apps: Apps) -> None:
    child = create("Child", (Model, stock_model()), {})
    child.Meta = type("Meta", (), {"table_name": "child"})
    del child.Meta

    with apps.one.app_context():
        assert child.Meta.table_name == child("x").Meta.table_name == "one-of-stock"


# Bases that are no models of this project.


class Mixin:
    class Meta:
        table_name = "of-mixin"
        owner = "mixins"


def stock_model() -> t.Any:
    class Stock(pynamodb.models.Model):
        class Meta:
            table_name = "of-stock"
            read_timeout_seconds = 77

        id = UnicodeAttribute(hash_key=True)

        @classmethod
        def from_raw_data(cls, data: dict[str, t.Any]) -> t.Any:
            item = super().from_raw_data(data)
            t.cast(t.Any, item).mark = "stock"
            return item

        @classmethod
        def batch_get(cls, *args: t.Any, **kwargs: t.Any) -> t.Any:
            return ["of", "stock"]

    return Stock


@pytest.mark.parametrize("base", [Model, dynamo_ext_async.Model], ids=["sync", "async"])
@pytest.mark.parametrize("is_first", [True, False], ids=["model-first", "stock-first"])
def test_a_stock_base_class_keeps_its_meta_and_methods(
    base: t.Any, is_first: bool, apps: Apps
) -> None:
    stock = stock_model()
    bases = (base, stock) if is_first else (stock, base)
    child = type(base)("Child", bases, {"more": UnicodeAttribute(null=True)})
    grandchild: t.Any = type(base)("Grandchild", (child,), {})

    for model in (child, grandchild):
        assert model.Meta.table_name == "of-stock"
        assert model.from_raw_data({"id": {"S": "x"}, "more": {"S": "y"}}).mark == "stock"
        assert model.batch_get([]) == ["of", "stock"]

        with apps.one.app_context():
            # What PynamoDB has put into the stock model's Meta does not hide the app's settings.
            assert model.Meta.table_name == model("x").Meta.table_name == "one-of-stock"
            assert model.Meta.region == "eu-west-1"
            assert model.Meta.max_retry_attempts == 1
            assert model.Meta.host == ONE["DYNAMODB_HOST"]
            assert model.Meta.read_timeout_seconds == 77

    with mock.patch.object(stock, "Meta", type("Meta", (), {"table_name": "patched"})):
        assert grandchild.Meta.table_name == "patched"

    assert grandchild.Meta.table_name == "of-stock"
    assert stock.Meta.table_name == "of-stock"


def test_a_stock_base_class_sends_to_the_app_s_table(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    class Child(Model, stock_model()):  # type: ignore[misc]
        pass

    class Mixed(t.cast(t.Any, Mixin), Model):  # type: ignore[misc]
        id = UnicodeAttribute(hash_key=True)

    with in_app(stub_config, DYNAMODB_TABLE_NAME_PREFIX="p-"):
        assert Child.get("x").mark == "stock"
        assert t.cast(t.Any, Mixed).get("x").id == "x"

    assert [request.body["TableName"] for request in stub.requests] == ["p-of-stock", "p-of-mixin"]


@pytest.mark.parametrize("is_first", [True, False], ids=["model-first", "mixin-first"])
def test_a_mixin_keeps_its_meta(is_first: bool, apps: Apps) -> None:
    bases: tuple[t.Any, ...] = (Model, Mixin) if is_first else (Mixin, Model)
    model: t.Any = create("Mixed", bases, {"id": UnicodeAttribute(hash_key=True)})
    assert model.Meta.owner == "mixins"

    with apps.two.app_context():
        assert model.Meta.table_name == model("x").Meta.table_name == "two-of-mixin"
        assert model.Meta.region == "eu-west-2"

    with mock.patch.object(Mixin.Meta, "table_name", "patched"), apps.two.app_context():
        assert model.Meta.table_name == "two-patched"
