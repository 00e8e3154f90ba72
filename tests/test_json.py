"""Models in JSON: the form of every attribute, and ``jsonify`` behind the app's own provider."""

from __future__ import annotations

import asyncio
import collections.abc as cabc
import datetime
import enum
import inspect
import json
import typing as t
from unittest import mock

import flask
import orjson
import pynamodb.attributes
import pynamodb.models
import pytest
import quart
import quart_schema
from flask.json.provider import DefaultJSONProvider
from flask.json.provider import JSONProvider
from pynamodb.attributes import Attribute
from pynamodb.attributes import BinaryAttribute
from pynamodb.attributes import JSONAttribute
from pynamodb.attributes import ListAttribute
from pynamodb.attributes import MapAttribute
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import TTLAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.attributes import UnicodeSetAttribute
from pynamodb.attributes import UTCDateTimeAttribute
from pynamodb.indexes import AllProjection
from pynamodb.indexes import GlobalSecondaryIndex

import dynamo_ext
import dynamo_ext_async
from every_attribute import IN_JSON
from every_attribute import NOON
from every_attribute import NOON_IN_JSON
from every_attribute import STORED_IN_JSON
from every_attribute import Everything
from every_attribute import everything

pytestmark = pytest.mark.once(reason="what was read becomes JSON in the same way on any transport")

View = cabc.Callable[[], t.Any]


class ByOwner(GlobalSecondaryIndex[t.Any]):
    class Meta:
        projection = AllProjection()

    owner = UnicodeAttribute(hash_key=True)


class Todo(dynamo_ext_async.Model):
    class Meta:
        table_name = "todo"

    id = UnicodeAttribute(hash_key=True)
    title = UnicodeAttribute(default="", attr_name="t")
    owner = UnicodeAttribute(null=True)
    due = UTCDateTimeAttribute(null=True)
    by_owner = ByOwner()


class Flask:
    """An app of Flask, and how a request is sent to it."""

    def __init__(self, config: dict[str, t.Any] | None = None) -> None:
        self.app: t.Any = flask.Flask("app")
        self.app.config.from_mapping(config or {"DYNAMODB_REGION": "us-east-1"})
        self.jsonify: t.Any = flask.jsonify

    def get(self, view: View) -> t.Any:
        self.app.view_functions["view"] = view

        if not any(rule.endpoint == "view" for rule in self.app.url_map.iter_rules()):
            self.app.add_url_rule("/", "view")

        return self._json()

    def _json(self) -> t.Any:
        return self.app.test_client().get("/").get_json()


class Quart(Flask):
    """The same of Quart."""

    def __init__(self, config: dict[str, t.Any] | None = None) -> None:
        self.app = quart.Quart("app")
        self.app.config.from_mapping(config or {"DYNAMODB_REGION": "us-east-1"})
        self.jsonify = quart.jsonify

    def _json(self) -> t.Any:
        async def get() -> t.Any:
            response = await self.app.test_client().get("/")
            return await response.get_json()

        return asyncio.run(get())


frameworks = pytest.mark.parametrize("framework", [Flask, Quart])


def in_json(value: t.Any) -> t.Any:
    return json.loads(json.dumps(value, default=dynamo_ext.json_default))


# The form.


def test_every_class_of_attribute_of_pynamodb_is_in_the_model() -> None:
    classes = {
        kind
        for kind in vars(pynamodb.attributes).values()
        if isinstance(kind, type) and issubclass(kind, Attribute) and kind is not Attribute
    }
    here = {base for each in Everything.get_attributes().values() for base in type(each).__mro__}
    assert not classes - here


@frameworks
def test_every_attribute_in_a_response(framework: t.Any, embedded_config: dict[str, t.Any]) -> None:
    web = framework(embedded_config)
    dynamo_ext_async.PynamoDB(web.app)
    Everything.create_table(wait=True)
    item = everything()
    assert in_json(item) == IN_JSON
    item.save()
    assert in_json(item) == STORED_IN_JSON

    assert web.get(lambda: {"item": Everything.get("1", 2)}) == {"item": STORED_IN_JSON}
    assert web.get(lambda: [Everything.get("1", 2)]) == [STORED_IN_JSON]
    assert web.get(lambda: web.jsonify(Everything.get("1", 2))) == STORED_IN_JSON
    assert web.get(lambda: web.jsonify(a=Everything.get("1", 2))) == {"a": STORED_IN_JSON}


def test_keys_are_those_of_to_simple_dict() -> None:
    item = everything()
    assert item.to_json_dict().keys() == item.to_simple_dict(force=True).keys()
    item.texts = set()
    item.text = item.address = t.cast(t.Any, None)
    assert item.to_json_dict().keys() == item.to_simple_dict(force=True).keys()
    assert "texts" not in item.to_json_dict()


def test_a_time_is_in_utc_whatever_zone_it_was_given_in() -> None:
    class Event(dynamo_ext.Model):
        id = UnicodeAttribute(hash_key=True)
        at = UTCDateTimeAttribute()
        ends = TTLAttribute(null=True)

    east = datetime.timezone(datetime.timedelta(hours=2))
    assert Event("1", at=NOON.astimezone(east)).to_json_dict()["at"] == NOON_IN_JSON
    assert Event("1", at=NOON.replace(tzinfo=None)).to_json_dict()["at"] == NOON_IN_JSON
    early = datetime.datetime(9, 1, 1, tzinfo=datetime.UTC)
    assert Event("1", at=early).to_json_dict()["at"] == "0009-01-01T00:00:00+00:00"
    event = Event("1", at=NOON, ends=NOON.astimezone(east))
    assert event.to_json_dict()["ends"] == "2026-05-04T12:30:15+00:00"


def test_what_is_in_a_json_attribute_is_copied() -> None:
    item = everything()
    item.to_json_dict()["document"]["b"].append(2)
    assert item.to_json_dict() == IN_JSON


def test_a_value_that_pynamodb_cannot_store_in_a_map_is_an_error() -> None:
    item = everything()
    item.raw["when"] = NOON

    with pytest.raises(ValueError, match="can't hold a 'datetime'"):
        item.to_json_dict()


class Color(enum.Enum):
    RED = 1


class ColorAttribute(Attribute[Color]):
    attr_type = "S"

    def serialize(self, value: t.Any) -> t.Any:
        return value.name

    def deserialize(self, value: t.Any) -> t.Any:
        return Color[value]


class Hidden(UnicodeAttribute):
    def serialize(self, value: t.Any) -> t.Any:
        return f"hidden {len(value)}"


class Halved(NumberAttribute):
    def serialize(self, value: t.Any) -> t.Any:
        return json.dumps(value / 2)


class Joined(ListAttribute[t.Any]):
    def serialize(self, values: t.Any, *, null_check: bool = True) -> t.Any:
        return super().serialize(["/".join(values)], null_check=null_check)


class Minutes(UTCDateTimeAttribute):
    def serialize(self, value: t.Any) -> t.Any:
        return f"{value:%H:%M}"


class Sorted(JSONAttribute):
    def serialize(self, value: t.Any) -> t.Any:
        return json.dumps(sorted(value))


class Unset(UnicodeAttribute):
    def serialize(self, value: t.Any) -> t.Any:
        return None


class Raw(Attribute[t.Any]):
    attr_type = "N"


def test_an_attribute_class_of_the_apps_own_is_given_as_it_is_stored() -> None:
    class Own(dynamo_ext.Model):
        color = ColorAttribute(hash_key=True)
        hidden = Hidden()
        halved = Halved()
        joined = Joined()
        minutes = Minutes()
        sorted = Sorted()
        unset = Unset()
        raw = Raw()
        colors = ListAttribute(of=ColorAttribute)

    own = Own(
        Color.RED,
        hidden="secret",
        halved=3,
        joined=["a", "b"],
        minutes=NOON,
        sorted=[2, 1],
        unset="x",
        raw="12",
        colors=[Color.RED],
    )
    assert own.to_json_dict() == {
        "color": "RED",
        "hidden": "hidden 6",
        "halved": 1.5,
        "joined": ["a/b"],
        # Times are times, however they are stored.
        "minutes": NOON_IN_JSON,
        "sorted": [1, 2],
        "raw": 12,
        "colors": ["RED"],
    }


def test_a_patch_of_an_attribute_class_takes_effect_and_can_be_undone() -> None:
    item = Todo("1", title="x")

    with mock.patch.object(UnicodeAttribute, "serialize", lambda self, value: value * 2):
        assert item.to_json_dict() == {"id": "11", "t": "xx"}

    assert item.to_json_dict() == {"id": "1", "t": "x"}


def test_a_map_and_a_stock_model_have_the_same_form() -> None:
    class Stock(pynamodb.models.Model):
        class Meta:
            table_name = "stock"
            json_exclude = ("secret",)

        id = UnicodeAttribute(hash_key=True)
        tags = UnicodeSetAttribute()
        secret = UnicodeAttribute()

    item = everything()
    assert in_json([item.address, item.notes, item.raw]) == [
        IN_JSON["address"],
        IN_JSON["notes"],
        IN_JSON["raw"],
    ]
    assert in_json(Stock("1", tags={"b", "a"}, secret="x")) == {"id": "1", "tags": ["a", "b"]}


def test_an_attribute_itself_is_no_value() -> None:
    for attribute in (Everything.address, Everything.raw, Todo.title):
        with pytest.raises(TypeError, match="not JSON serializable"):
            dynamo_ext.json_default(attribute)


# What is left out.


class Account(dynamo_ext.Model):
    class Meta:
        table_name = "account"
        json_exclude: t.Any = ("password",)

    id = UnicodeAttribute(hash_key=True)
    name = UnicodeAttribute(default="n", attr_name="Name")
    password = UnicodeAttribute(default="p", attr_name="pw")


class Included(Account):
    class Meta(Account.Meta):
        json_include: t.Any = ("id", "password")


class Inheriting(Account):
    age = NumberAttribute(default=1)


@pytest.mark.parametrize(
    ("item", "options", "keys"),
    [
        (Account("1"), {}, {"id", "Name"}),
        (Account("1"), {"include": ["id", "password"]}, {"id", "pw"}),
        (Account("1"), {"exclude": ["name"]}, {"id"}),
        (Account("1"), {"exclude": []}, {"id", "Name"}),
        (Account("1"), {"include": []}, set()),
        (Account("1"), {"include": {"id", "name"}, "exclude": iter(["id"])}, {"Name"}),
        (Included("1"), {}, {"id"}),
        (Included("1"), {"include": ["name"]}, {"Name"}),
        (Inheriting("1"), {}, {"id", "Name", "age"}),
    ],
)
def test_include_and_exclude(item: t.Any, options: dict[str, t.Any], keys: set[str]) -> None:
    assert item.to_json_dict(**options).keys() == keys


@pytest.mark.parametrize("option", ["include", "exclude"])
@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["nmae"], "names 'nmae', which is not an attribute. There are: id, name, password."),
        (["Name"], "names 'Name', which is not an attribute"),
        ("name", "must be several names of attributes, like .'title'., but it is of type 'str'"),
        (b"name", "but it is of type 'bytes'"),
        (1, "but it is of type 'int'"),
        ([Account.name], "which are strings, but one is of type 'UnicodeAttribute'"),
    ],
)
def test_a_wrong_name_is_an_error(option: str, names: t.Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"'{option}' .*{message}"):
        Account("1").to_json_dict(**{option: names})

    class Wrong(Account):
        class Meta(Account.Meta):
            pass

    setattr(Wrong.Meta, f"json_{option}", names)

    with pytest.raises(dynamo_ext.ConfigError, match=f"'Wrong.Meta.json_{option}' .*{message}"):
        Wrong("1").to_json_dict()


def test_meta_counts_as_it_is_now() -> None:
    class Now(Account):
        class Meta(Account.Meta):
            pass

    with mock.patch.object(Now.Meta, "json_exclude", ()):
        assert "pw" in Now("1").to_json_dict()

    assert "pw" not in Now("1").to_json_dict()

    with mock.patch.object(Now, "Meta", type("Meta", (), {"table_name": "x"})):
        assert "pw" in Now("1").to_json_dict()

    assert "pw" not in Now("1").to_json_dict()


@frameworks
def test_what_meta_excludes_is_in_no_response(framework: t.Any) -> None:
    web = framework()
    dynamo_ext_async.PynamoDB(web.app)
    assert web.get(lambda: [Account("1")]) == [{"id": "1", "Name": "n"}]


# Overrides.


def test_a_models_own_to_json_dict_is_what_jsonify_gives() -> None:
    class Own(Todo):
        def to_json_dict(self, **options: t.Any) -> dict[str, t.Any]:
            return {**super().to_json_dict(**options), "own": True}

    assert in_json([Own("1")]) == [{"id": "1", "t": "", "own": True}]

    with mock.patch.object(Todo, "to_json_dict", lambda self: {"patched": self.id}):
        assert in_json(Todo("1")) == {"patched": "1"}

    assert in_json(Todo("1")) == {"id": "1", "t": ""}


def test_a_models_own_to_simple_dict_is_honoured() -> None:
    class Plain(Account):
        def _plain(self) -> dict[str, t.Any]:
            return {"id": self.id, "pw": self.password, "url": f"/{self.id}"}

        # Without the argument of PynamoDB's.
        to_simple_dict: t.Any = _plain

    class Forced(Account):
        tags = UnicodeSetAttribute(default=lambda: {"a"})

        def to_simple_dict(self, *, force: bool = False) -> dict[str, t.Any]:
            return {**super().to_simple_dict(force=force), "url": f"/{self.id}"}

    # What the Meta excludes stays out.
    assert in_json(Plain("1")) == {"id": "1", "url": "/1"}
    assert in_json(Forced("1")) == {"id": "1", "Name": "n", "tags": ["a"], "url": "/1"}
    assert Plain("1").to_json_dict(exclude=["id"]) == {"url": "/1"}

    with mock.patch.object(Account, "to_simple_dict", return_value={"patched": 1}):
        assert in_json(Account("1")) == {"patched": 1}


def test_what_a_models_own_to_simple_dict_takes_is_found_out_once_for_a_class() -> None:
    class Own(Account):
        def to_simple_dict(self, *, force: bool = False) -> dict[str, t.Any]:
            return {"forced": force}

    with mock.patch.object(inspect, "signature", wraps=inspect.signature) as signature:
        assert in_json([Own("1"), Own("2"), Own("3")]) == [{"forced": True}] * 3
        assert signature.call_count == 1

    # A patch takes other arguments, and can be undone.
    with mock.patch.object(Own, "to_simple_dict", lambda item: {"patched": item.id}):
        assert in_json(Own("1")) == {"patched": "1"}

    assert in_json(Own("1")) == {"forced": True}


def test_attributes_may_have_the_names_of_these_methods() -> None:
    class Named(dynamo_ext.Model):
        id = UnicodeAttribute(hash_key=True)
        to_json_dict: t.Any = UnicodeAttribute()
        to_simple_dict: t.Any = MapAttribute(default=dict)

    named = Named("1", to_json_dict="x")
    assert named.to_json_dict == "x"
    assert in_json(named) == {"id": "1", "to_json_dict": "x", "to_simple_dict": {}}


# Results.


@frameworks
def test_results(framework: t.Any, embedded_config: dict[str, t.Any]) -> None:
    web = framework(embedded_config)
    web.app.config["DYNAMODB_BLOCKING_CALLS"] = "allow"
    dynamo_ext_async.PynamoDB(web.app)
    Todo.create_table(wait=True)

    with Todo.batch_write() as batch:
        for id in "123":
            batch.save(Todo(id, owner="o"))

    def ids(value: View) -> list[str]:
        return sorted(item["id"] for item in web.get(lambda: {"items": value()})["items"])

    assert ids(Todo.scan) == ["1", "2", "3"]
    assert ids(lambda: Todo.scan(limit=2, page_size=1)).__len__() == 2
    assert ids(lambda: Todo.query("2")) == ["2"]
    assert ids(lambda: Todo.by_owner.query("o")) == ["1", "2", "3"]
    assert ids(lambda: Todo.by_owner.scan()) == ["1", "2", "3"]
    assert ids(lambda: Todo.batch_get(["1", "3", "9"])) == ["1", "3"]
    assert sorted(item["id"] for item in web.get(lambda: web.jsonify(Todo.scan()))) == [*"123"]
    Todo.delete_table(wait=True)


@frameworks
def test_pages(framework: t.Any, embedded_config: dict[str, t.Any]) -> None:
    web = framework({**embedded_config, "SECRET_KEY": "secret"})
    web.app.config["DYNAMODB_BLOCKING_CALLS"] = "allow"
    db = dynamo_ext_async.PynamoDB(web.app)
    Todo.create_table(wait=True)

    with Todo.batch_write() as batch:
        for id in "123":
            batch.save(Todo(id, owner="o"))

    def page(cursor: str | None = None) -> dynamo_ext.Page[Todo]:
        return db.paginate(Todo.by_owner.query("o"), per_page=1, cursor=cursor)

    pages: list[dynamo_ext.Page[Todo]] = []

    def view() -> t.Any:
        pages.append(page(pages[-1].next_cursor if pages else None))
        return {"todos": pages[-1]}

    first, second = web.get(view)["todos"], web.get(view)["todos"]
    assert first == {
        "items": [{"id": pages[0].items[0].id, "owner": "o", "t": ""}],
        "next": pages[0].next_url,
        "prev": None,
    }
    assert second["prev"] == pages[1].prev_url
    assert first["next"].startswith("/?cursor=")
    assert web.get(lambda: web.jsonify(page())).keys() == first.keys()

    outside = page()
    assert in_json(outside) == {**first, "next": outside.next_cursor}
    Todo.delete_table(wait=True)


async def _awaited() -> None: ...


COLLECT = r"Collect them first: \[item async for item in result\]"
REFUSED: dict[str, tuple[View, str]] = {
    "ascan": (lambda: Todo.ascan(), COLLECT),
    "aquery": (lambda: Todo.aquery("1"), COLLECT),
    "abatch_get": (lambda: Todo.abatch_get(["1"]), COLLECT),
    "aparallel_scan": (lambda: Todo.aparallel_scan(2), COLLECT),
    "generator": (lambda: (each for each in "ab"), "generator is not JSON serializable"),
    "object": (lambda: object(), "object is not JSON serializable"),
    "set": (lambda: {1}, "set is not JSON serializable"),
}


@frameworks
@pytest.mark.parametrize(("value", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_result_is_refused(framework: t.Any, value: View, message: str) -> None:
    web = framework()
    dynamo_ext_async.PynamoDB(web.app)

    with pytest.raises(TypeError, match=message):
        web.app.json.dumps({"value": value()})

    with pytest.raises(TypeError, match=message):
        dynamo_ext.json_default(value())


def test_a_missing_await_is_told() -> None:
    call = _awaited()

    with pytest.raises(TypeError, match=r"Is an 'await' missing\?"):
        dynamo_ext.json_default(call)

    call.close()


# The app's own provider.


class Mine(DefaultJSONProvider):
    """Knows a type of its own, and has its own form of some to-dos."""

    def default(self, value: t.Any) -> t.Any:
        if isinstance(value, complex):
            return str(value)

        if isinstance(value, Todo) and value.id == "mine":
            return "mine"

        return super().default(value)


def mine(value: t.Any) -> t.Any:
    return Mine.default(t.cast(t.Any, Mine(flask.Flask("other"))), value)


VALUES: t.Any = [Todo("mine"), Todo("1", due=NOON), 1j, NOON]
FORMS = [
    "mine",
    {"id": "1", "t": "", "due": NOON_IN_JSON},
    "1j",
    # A time that is not in a model has the form that the framework gives it.
    "Mon, 04 May 2026 12:30:15 GMT",
]


class Own(JSONProvider):
    """A provider of another class, which has ``default`` as users of orjson write it."""

    default = staticmethod(mine)

    def dumps(self, obj: t.Any, **options: t.Any) -> str:
        return orjson.dumps(
            obj, default=self.default, option=orjson.OPT_PASSTHROUGH_DATETIME
        ).decode()

    def loads(self, s: str | bytes, **options: t.Any) -> t.Any:
        return orjson.loads(s)


def before_init_app(web: t.Any) -> None:
    web.app.json = Mine(web.app)
    dynamo_ext_async.PynamoDB(web.app)


def after_init_app(web: t.Any) -> None:
    dynamo_ext_async.PynamoDB(web.app)
    web.app.json = Mine(web.app)


def as_the_class(web: t.Any) -> None:
    web.app.json_provider_class = Mine
    web.app.json = web.app.json_provider_class(web.app)
    dynamo_ext_async.PynamoDB(web.app)


def as_a_function_before(web: t.Any) -> None:
    web.app.json.default = mine
    dynamo_ext_async.PynamoDB(web.app)


def as_a_function_after(web: t.Any) -> None:
    dynamo_ext_async.PynamoDB(web.app)
    web.app.json.default = mine


def of_another_class(web: t.Any) -> None:
    dynamo_ext_async.PynamoDB(web.app)
    web.app.json = Own(web.app)


def around_what_is_there(web: t.Any) -> None:
    dynamo_ext_async.PynamoDB(web.app)
    before = web.app.json.default
    web.app.json.default = lambda value: (
        mine(value)
        if isinstance(value, complex) or getattr(value, "id", 0) == "mine"
        else before(value)
    )


setups = pytest.mark.parametrize(
    "set_up",
    [
        before_init_app,
        after_init_app,
        as_the_class,
        as_a_function_before,
        as_a_function_after,
        of_another_class,
        around_what_is_there,
    ],
)


@frameworks
@setups
def test_the_apps_own_provider_is_asked_first(framework: t.Any, set_up: t.Any) -> None:
    web = framework()
    set_up(web)
    kind = type(web.app.json)
    assert web.get(lambda: {"values": VALUES}) == {"values": FORMS}
    assert web.get(lambda: web.jsonify(VALUES)) == FORMS
    # Outside requests and contexts, too.
    assert json.loads(web.app.json.dumps(VALUES)) == FORMS
    assert type(web.app.json) is kind

    with pytest.raises(TypeError, match="not JSON serializable"):
        web.app.json.dumps(object())


def test_a_provider_that_is_replaced_counts_in_the_next_context() -> None:
    web = Flask()
    dynamo_ext.PynamoDB(web.app)
    web.app.json = Mine(web.app)

    with web.app.app_context():
        assert json.loads(web.app.json.dumps(VALUES)) == FORMS


def test_a_provider_that_is_replaced_counts_in_the_next_context_of_quart() -> None:
    web = Quart()
    dynamo_ext_async.PynamoDB(web.app)
    web.app.json = Mine(web.app)

    async def dumps() -> t.Any:
        async with web.app.app_context():
            return json.loads(web.app.json.dumps(VALUES))

    assert asyncio.run(dumps()) == FORMS


def test_a_refusal_is_the_providers_own_however_often_it_was_looked_at() -> None:
    web = Flask()
    dynamo_ext.PynamoDB(web.app)

    def refuse(value: t.Any) -> t.NoReturn:
        raise TypeError("I refuse")

    web.app.json.default = refuse
    assert web.get(lambda: [Todo("1")]) == [{"id": "1", "t": ""}]
    default = web.app.json.default
    assert web.get(lambda: [Todo("1")]) == [{"id": "1", "t": ""}]
    assert web.app.json.default is default

    with pytest.raises(TypeError, match="I refuse"):
        web.app.json.dumps(object())


def test_a_request_inside_a_context_that_is_older_than_the_provider() -> None:
    web = Flask()
    dynamo_ext.PynamoDB(web.app)

    with web.app.app_context():
        web.app.json = Mine(web.app)
        assert web.get(lambda: VALUES) == FORMS


def test_the_same_in_quart() -> None:
    web = Quart()
    dynamo_ext_async.PynamoDB(web.app)
    web.app.add_url_rule("/", "view", lambda: VALUES)

    async def get() -> t.Any:
        async with web.app.app_context():
            web.app.json = Mine(web.app)
            response = await web.app.test_client().get("/")
            return await response.get_json()

    assert asyncio.run(get()) == FORMS


def test_a_patch_of_the_providers_class_takes_effect_and_can_be_undone() -> None:
    web = Flask()
    dynamo_ext.PynamoDB(web.app)

    def patched(self: t.Any, value: t.Any) -> t.Any:
        return {"patched": value.id}

    with mock.patch.object(DefaultJSONProvider, "default", patched):
        assert web.get(lambda: [Todo("1")]) == [{"patched": "1"}]

    assert web.get(lambda: [Todo("1")]) == [{"id": "1", "t": ""}]


def test_another_error_of_the_providers_default_is_not_hidden() -> None:
    web = Flask()
    dynamo_ext.PynamoDB(web.app)
    web.app.json.default = lambda value: value.no_such_attribute

    with web.app.app_context(), pytest.raises(AttributeError, match="no_such_attribute"):
        web.app.json.dumps(Todo("1"))


class Ignoring(JSONProvider):
    def dumps(self, obj: t.Any, **options: t.Any) -> str:
        return json.dumps(obj, default=repr)

    def loads(self, s: str | bytes, **options: t.Any) -> t.Any:
        return json.loads(s)


class ReadOnly(Ignoring):
    @property
    def default(self) -> t.Any:
        return repr


class NotAFunction(Ignoring):
    default = None


@frameworks
@pytest.mark.parametrize("kind", [Ignoring, ReadOnly, NotAFunction])
def test_a_provider_that_asks_nobody_stays_as_it_is(framework: t.Any, kind: t.Any) -> None:
    web = framework()
    web.app.json = kind(web.app)
    before = dict(vars(web.app.json))
    dynamo_ext_async.PynamoDB(web.app)
    item = Todo("1")
    assert web.get(lambda: [item]) == [repr(item)]
    assert vars(web.app.json) == before


@frameworks
def test_an_app_without_the_extension_stays_as_it_is(framework: t.Any) -> None:
    with_it, without = framework(), framework()
    dynamo_ext_async.PynamoDB(with_it.app)
    default = without.app.json.default
    assert without.get(list) == []
    assert without.app.json.default is default

    with pytest.raises(TypeError, match="Todo is not JSON serializable"):
        without.app.json.dumps(Todo("1"))


def test_a_provider_that_two_apps_share() -> None:
    one, two = Flask(), Flask()
    two.app.json = one.app.json
    dynamo_ext.PynamoDB(one.app)
    dynamo_ext.PynamoDB(two.app)
    assert two.get(lambda: [Todo("1")]) == [{"id": "1", "t": ""}]


def test_the_provider_of_quart_schema_which_asks_pydantic() -> None:
    web = Quart()
    dynamo_ext_async.PynamoDB(web.app)
    quart_schema.QuartSchema(web.app)
    assert web.get(lambda: {"a": Todo("1"), "b": [Todo("2")]}) == {
        "a": {"id": "1", "t": ""},
        "b": [{"id": "2", "t": ""}],
    }


def test_templates() -> None:
    web = Flask()
    dynamo_ext.PynamoDB(web.app)

    with web.app.app_context():
        text = flask.render_template_string("{{ item | tojson }}", item=Todo("<1>"))

    assert json.loads(text) == {"id": "<1>", "t": ""}


def test_another_json_library() -> None:
    items = [Todo("1", due=NOON), everything()]
    assert orjson.loads(orjson.dumps(items, default=dynamo_ext.json_default)) == in_json(items)
    assert dynamo_ext.json_default is dynamo_ext_async.json_default


def test_a_models_binary_key_in_a_response() -> None:
    class Key(dynamo_ext.Model):
        id = BinaryAttribute(hash_key=True, legacy_encoding=False)

    assert in_json(Key(b"\xff")) == {"id": "/w=="}
