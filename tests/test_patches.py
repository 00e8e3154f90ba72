"""Patches of classes take effect, also after the first item was read, and can be undone."""

from __future__ import annotations

import collections.abc as cabc
import datetime
import typing as t
from unittest import mock

import pytest
from pynamodb.attributes import Attribute
from pynamodb.attributes import BooleanAttribute
from pynamodb.attributes import ListAttribute
from pynamodb.attributes import MapAttribute
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.attributes import UTCDateTimeAttribute
from quart import Quart

from conftest import InApp
from dynamo_ext_async import Model
from dynamo_ext_async import PynamoDB
from stub import Answer
from stub import Request
from stub import Stub

Case = tuple[t.Any, str, t.Any, tuple[t.Any, ...]]
"""What is patched, its attribute, with what, and what an item is then."""


class Shouting(UnicodeAttribute):
    """An attribute of the app that overrides nothing of what reads it."""


class Loud(UnicodeAttribute):
    def deserialize(self, value: t.Any) -> t.Any:
        return f"{value}!"


class Address(MapAttribute[t.Any, t.Any]):
    street = Shouting(null=True)
    number = NumberAttribute(default=1)


class Person(Model):
    class Meta:
        table_name = "people"

    id = UnicodeAttribute(hash_key=True)
    name = Shouting(null=True)
    nick = Loud(null=True)
    age = NumberAttribute(null=True)
    born = UTCDateTimeAttribute(null=True)
    admin = BooleanAttribute(default=False)
    home = t.cast(t.Any, Address)(null=True)
    others = ListAttribute(of=Address, null=True)


ITEM = {
    "id": {"S": "a"},
    "name": {"S": "Ada"},
    "nick": {"S": "ada"},
    "age": {"N": "36"},
    "born": {"S": "1815-12-10T00:00:00.000000+0000"},
    "home": {"M": {"street": {"S": "Main"}, "number": {"N": "7"}}},
    "others": {"L": [{"M": {"street": {"S": "Side"}}}]},
}
BORN = datetime.datetime(1815, 12, 10, tzinfo=datetime.UTC)


def shown(item: Person) -> tuple[t.Any, ...]:
    """All that the patches of these tests change."""
    return (
        *(type(item), item.id, item.name, item.nick, item.age, item.born, item.admin),
        *(item.home.street, item.home.number, item.others[0].street, item.others[0].number),
        getattr(item, "mark", None),
    )


AS_IT_IS = (Person, "a", "Ada", "ada!", 36, BORN, False, "Main", 7, "Side", 1, None)


def changed(position: int, value: t.Any, *others: tuple[int, t.Any]) -> tuple[t.Any, ...]:
    values = [*AS_IT_IS]

    for index, other in ((position, value), *others):
        values[index] = other

    return tuple(values)


def patched(value: t.Any) -> cabc.Callable[..., t.Any]:
    return lambda *_args, **_kwargs: value


def deserialize_loudly(_attribute: Attribute[t.Any], value: t.Any) -> t.Any:
    return f"{value}?"


def mark(item: t.Any, *args: t.Any, **kwargs: t.Any) -> None:
    super(Person, item).__init__(*args, **kwargs)
    item.mark = "marked"


CASES: dict[str, Case] = {
    "a-stock-attribute": (
        NumberAttribute,
        "deserialize",
        patched(5),
        changed(4, 5, (8, 5)),
    ),
    "an-attribute-without-methods": (
        Shouting,
        "deserialize",
        deserialize_loudly,
        changed(2, "Ada?", (7, "Main?"), (9, "Side?")),
    ),
    "an-attribute-with-methods": (Loud, "deserialize", patched("x"), changed(3, "x")),
    "the-base-of-all-attributes": (
        UnicodeAttribute,
        "deserialize",
        deserialize_loudly,
        changed(1, "a?", (2, "Ada?"), (7, "Main?"), (9, "Side?")),
    ),
    "a-parser-of-dates": (UTCDateTimeAttribute, "deserialize", patched(None), changed(5, None)),
    "one-attribute": (Person.name, "deserialize", patched("x"), changed(2, "x")),
    "the-default-of-one": (Person.admin, "default", True, changed(6, True)),
    "the-default-of-one-in-a-map": (Address.number, "default", 3, changed(10, 3)),
    "the-initializer-of-a-model": (Person, "__init__", mark, changed(11, "marked")),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def test_a_patch_changes_what_is_read_from_raw_data(case: Case) -> None:
    owner, name, new, expected = case

    for _ in range(2):
        assert shown(Person.from_raw_data(ITEM)) == AS_IT_IS

        with mock.patch.object(owner, name, new):
            assert shown(Person.from_raw_data(ITEM)) == expected


def test_a_patch_changes_what_calls_read(
    case: Case, in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]
) -> None:
    owner, name, new, expected = case
    answer(stub)

    def read() -> list[t.Any]:
        query = Person.query("a")
        items = [Person.get("a"), *Person.batch_get(["a"]), *query, *Person.scan()]
        return [shown(item) for item in items]

    with in_app(stub_config):
        for _ in range(2):
            assert read() == [AS_IT_IS] * 4

            with mock.patch.object(owner, name, new):
                assert read() == [expected] * 4


@pytest.mark.anyio
async def test_a_patch_changes_what_awaited_calls_read(
    case: Case, stub: Stub, stub_config: dict[str, t.Any], anyio_backend: object
) -> None:
    owner, name, new, expected = case
    answer(stub)

    async def read() -> list[t.Any]:
        items = [await Person.aget("a")]
        items += [item async for item in Person.abatch_get(["a"])]
        items += [item async for item in Person.aquery("a")]
        items += [item async for item in Person.ascan()]
        return [shown(item) for item in items]

    app = Quart(__name__)
    app.config.from_mapping(stub_config)
    PynamoDB(app)

    async with app.app_context():
        for _ in range(2):
            assert await read() == [AS_IT_IS] * 4

            with mock.patch.object(owner, name, new):
                assert await read() == [expected] * 4


def answer(stub: Stub) -> None:
    """Give :data:`ITEM` to whatever is asked for."""
    page = {"Items": [ITEM], "Count": 1, "ScannedCount": 1}
    stub.always("GetItem", Answer(body={"Item": ITEM}))
    stub.always("Query", Answer(body=page))
    stub.always("Scan", Answer(body=page))
    stub.always("BatchGetItem", batch)


def batch(request: Request) -> Answer:
    (table,) = request.body["RequestItems"]
    return Answer(body={"Responses": {table: [ITEM]}, "UnprocessedKeys": {}})
