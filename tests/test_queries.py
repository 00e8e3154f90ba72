"""Queries and scans that could find nothing, and those that DynamoDB would not take."""

from __future__ import annotations

import collections.abc as cabc
import inspect
import typing as t
import warnings

import pynamodb.models
import pytest
from pynamodb.attributes import DiscriminatorAttribute
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.expressions.condition import Condition
from pynamodb.indexes import AllProjection
from pynamodb.indexes import GlobalSecondaryIndex
from pynamodb.indexes import IncludeProjection
from pynamodb.indexes import KeysOnlyProjection
from pynamodb.indexes import LocalSecondaryIndex

from conftest import InApp
from dynamo_ext import PynamoDB
from dynamo_ext_async import Model
from stub import Stub

Calls = dict[str, cabc.Callable[[t.Any, t.Any], t.Any]]


class ByTitle(GlobalSecondaryIndex[t.Any]):
    class Meta:
        index_name = "by-title"
        projection = AllProjection()

    title = UnicodeAttribute(hash_key=True)


class ByTitleAndYear(GlobalSecondaryIndex[t.Any]):
    class Meta:
        index_name = "by-title-and-year"
        projection = AllProjection()

    title = UnicodeAttribute(hash_key=True)
    year = NumberAttribute(range_key=True)


class Film(Model):
    class Meta:
        table_name = "film"

    id = UnicodeAttribute(hash_key=True)
    title = UnicodeAttribute(null=True)
    year = NumberAttribute(null=True)
    by_title = ByTitle()
    by_title_and_year = ByTitleAndYear()


class Page(Model):
    class Meta:
        table_name = "page"

    book = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(range_key=True)
    title = UnicodeAttribute(null=True)
    by_title = ByTitle()


WITH_RANGE_CONDITION: Calls = {
    "query": lambda model, condition: model.query("a", condition),
    "query, by name": lambda model, condition: model.query("a", range_key_condition=condition),
    "count": lambda model, condition: model.count("a", condition),
    "aquery": lambda model, condition: model.aquery("a", condition),
    "acount": lambda model, condition: model.acount("a", range_key_condition=condition),
}
OF_AN_INDEX: Calls = {
    "query": lambda model, condition: model.by_title.query("a", condition),
    "count": lambda model, condition: model.by_title.count("a", condition),
    "aquery": lambda model, condition: model.by_title.aquery("a", condition),
    "acount": lambda model, condition: model.by_title.acount("a", condition),
    "query, by name": lambda model, condition: model.query("a", condition, index_name="by-title"),
}


async def finish(result: t.Any) -> t.Any:
    """Make the call, however it is made."""
    if inspect.isawaitable(result):
        return await result

    if isinstance(result, cabc.AsyncIterator):
        return [item async for item in result]

    return list(result) if isinstance(result, cabc.Iterator) else result


@pytest.fixture
def app(in_app: InApp, stub_config: dict[str, t.Any]) -> cabc.Iterator[PynamoDB]:
    with in_app(stub_config, DYNAMODB_BLOCKING_CALLS="allow") as db:
        yield db


@pytest.mark.anyio
@pytest.mark.parametrize("call", WITH_RANGE_CONDITION)
async def test_a_condition_on_a_range_key_that_there_is_not_is_refused(
    call: str, app: PynamoDB, stub: Stub
) -> None:
    right = "'Film' has no range key.*'range_key_condition'.*'filter_condition'"

    with pytest.raises(ValueError, match=right):
        await finish(WITH_RANGE_CONDITION[call](Film, Film.year > 1950))

    await finish(WITH_RANGE_CONDITION[call](Page, Page.number > 5))
    assert stub.operations == ["Query"]


@pytest.mark.anyio
@pytest.mark.parametrize("call", OF_AN_INDEX)
async def test_so_is_one_on_that_of_an_index(call: str, app: PynamoDB, stub: Stub) -> None:
    right = "The index 'by-title' of 'Page' has no range key"

    # That of the table is none of the index.
    with pytest.raises(ValueError, match=right):
        await finish(OF_AN_INDEX[call](Page, Page.number > 5))

    assert not stub.requests


@pytest.mark.anyio
async def test_the_range_key_of_an_index_counts(app: PynamoDB, stub: Stub) -> None:
    await finish(Film.by_title_and_year.query("a", Film.year > 1950))
    await finish(t.cast(t.Any, Film.by_title_and_year).aquery("a", Film.year > 1950))
    assert stub.operations == ["Query", "Query"]


def test_what_is_no_index_is_left_to_pynamodb(app: PynamoDB, stub: Stub) -> None:
    with pytest.raises(KeyError, match="by-nothing"):
        Film.query("a", Film.year > 1950, index_name="by-nothing")

    list(Film.scan(index_name="by-nothing"))
    assert stub.operations == ["Scan"]


def test_the_method_of_a_stock_base_gets_what_the_caller_gave(app: PynamoDB) -> None:
    class StockBase(pynamodb.models.Model):
        @classmethod
        def query(cls, key: str, *conditions: Condition, limit: int = 5) -> t.Any:  # type: ignore[override]
            return (key, *conditions, limit)

    # Python asks ours first, then that one, then PynamoDB's.
    mixed: t.Any = t.cast(t.Any, type(Film))("Mixed", (Film, StockBase), {})
    assert mixed.query("a", limit=3) == ("a", 3)
    assert mixed.query("a") == ("a", 5)


def declare(projection: t.Any, *, is_local: bool = False, key: str = "name") -> t.Any:
    """A model with a discriminator, and an index with a projection, that nobody has used yet."""
    base = LocalSecondaryIndex if is_local else GlobalSecondaryIndex
    meta = type("Meta", (), {"index_name": "by-name", "projection": projection})
    index = type(
        "ByName",
        (base,),
        {
            "Meta": meta,
            **({"id": UnicodeAttribute(hash_key=True)} if is_local else {}),
            "key": UnicodeAttribute(hash_key=not is_local, range_key=is_local, attr_name=key),
        },
    )

    class Animal(Model):
        class Meta:
            table_name = "animal"

        id = UnicodeAttribute(hash_key=True)
        name = UnicodeAttribute(null=True)
        kind = DiscriminatorAttribute(attr_name="k")
        by_name = index()

    class Cat(Animal, discriminator="cat"):
        lives = NumberAttribute(default=9)

    return Animal, Cat


SEARCHES: Calls = {
    "query": lambda model, index: model.query("a", index_name=index),
    "scan": lambda model, index: model.scan(index_name=index),
    "count": lambda model, index: model.count("a", index_name=index),
    "index.query": lambda model, index: model.by_name.query("a"),
    "index.scan": lambda model, index: model.by_name.scan(),
    "index.count": lambda model, index: model.by_name.count("a"),
    "aquery": lambda model, index: model.aquery("a", index_name=index),
    "ascan": lambda model, index: model.ascan(index_name=index),
    "aparallel_scan": lambda model, index: model.aparallel_scan(2, index_name=index),
    "index.aquery": lambda model, index: model.by_name.aquery("a"),
    "index.ascan": lambda model, index: model.by_name.ascan(),
    "acount": lambda model, index: model.acount("a", index_name=index),
    "index.acount": lambda model, index: model.by_name.acount("a"),
}
LACKING: dict[str, cabc.Callable[[], t.Any]] = {
    "keys": KeysOnlyProjection,
    # The name that the attribute has in Python is none of the table.
    "included": lambda: IncludeProjection(["lives", "kind"]),
}


@pytest.mark.anyio
@pytest.mark.parametrize("projection", LACKING)
@pytest.mark.parametrize("search", SEARCHES)
async def test_an_index_without_the_discriminator_warns(
    search: str, projection: str, app: PynamoDB
) -> None:
    _, cat = declare(LACKING[projection]())

    with pytest.warns(UserWarning, match="'by-name' of 'Cat' does not project 'k'") as warned:
        await finish(SEARCHES[search](cat, "by-name"))

    assert len(warned) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("search", SEARCHES)
async def test_it_warns_once_for_each_model_and_index(search: str, app: PynamoDB) -> None:
    animal, cat = declare(KeysOnlyProjection())

    for model in (animal, cat):
        with pytest.warns(UserWarning, match="does not project"):
            await finish(SEARCHES[search](model, "by-name"))

    for model in (animal, cat):
        # A warning would be an error here.
        for again in SEARCHES:
            await finish(SEARCHES[again](model, "by-name"))


def test_the_warning_points_at_the_line_of_the_caller(app: PynamoDB) -> None:
    for search in ("index.query", "index.aquery", "query", "ascan"):
        _, cat = declare(KeysOnlyProjection())

        with pytest.warns(UserWarning, match="does not project") as warned:
            SEARCHES[search](cat, "by-name")

        assert warned[0].filename == __file__


def test_a_warning_that_is_an_error_is_raised_before_anything_is_sent(
    app: PynamoDB, stub: Stub
) -> None:
    _, cat = declare(KeysOnlyProjection())

    with warnings.catch_warnings():
        warnings.simplefilter("error")

        with pytest.raises(UserWarning, match="does not project"):
            cat.by_name.query("a")

    assert not stub.requests


HOLDING: dict[str, cabc.Callable[[], tuple[t.Any, t.Any]]] = {
    "all": lambda: declare(AllProjection()),
    "included": lambda: declare(IncludeProjection(["k"])),
    "the key": lambda: declare(KeysOnlyProjection(), key="k"),
    "the local key": lambda: declare(KeysOnlyProjection(), key="k", is_local=True),
}


@pytest.mark.anyio
@pytest.mark.parametrize("projection", HOLDING)
async def test_an_index_with_the_discriminator_does_not_warn(
    projection: str, app: PynamoDB
) -> None:
    for model in HOLDING[projection]():
        for search in SEARCHES:
            await finish(SEARCHES[search](model, "by-name"))


@pytest.mark.anyio
async def test_a_model_without_discriminator_does_not_warn(app: PynamoDB) -> None:
    class Plain(Model):
        class Meta:
            table_name = "plain"

        class ByName(GlobalSecondaryIndex[t.Any]):
            class Meta:
                index_name = "by-name"
                projection = KeysOnlyProjection()

            name = UnicodeAttribute(hash_key=True)

        id = UnicodeAttribute(hash_key=True)
        by_name = ByName()

    for search in SEARCHES:
        await finish(SEARCHES[search](Plain, "by-name"))


@pytest.mark.parametrize(
    ("projection", "found"),
    [(KeysOnlyProjection(), 0), (IncludeProjection(["k"]), 1)],
    ids=["without", "with"],
)
def test_what_the_warning_says_is_so(
    projection: t.Any, found: int, in_app: InApp, config: dict[str, t.Any]
) -> None:
    animal, cat = declare(projection)

    with in_app(config), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        animal.create_table(wait=True)
        cat("1", name="Tom").save()
        assert len(list(cat.by_name.query("Tom"))) == found
        assert len(list(cat.by_name.scan())) == found

    assert len([each for each in warned if each.category is UserWarning]) == 1 - found
