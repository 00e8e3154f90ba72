"""Pages of queries and scans: what is on them, and what leads to the next and previous ones."""

from __future__ import annotations

import collections.abc as cabc
import typing as t
import uuid

import hypothesis
import pynamodb.models
import pytest
from hypothesis import strategies as st
from pynamodb.attributes import BinaryAttribute
from pynamodb.attributes import BooleanAttribute
from pynamodb.attributes import DiscriminatorAttribute
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.indexes import AllProjection
from pynamodb.indexes import GlobalSecondaryIndex
from pynamodb.indexes import KeysOnlyProjection
from pynamodb.indexes import LocalSecondaryIndex

import strength
from conftest import InApp
from dynamo_ext import Page
from dynamo_ext import PynamoDB
from dynamo_ext_async import Model
from stub import Answer
from stub import Request
from stub import Stub

SECRET = {"SECRET_KEY": "a secret of the tests"}


class ByColour(GlobalSecondaryIndex["Entry"]):
    class Meta:
        index_name = "by-colour"
        projection = AllProjection()

    colour = UnicodeAttribute(hash_key=True)
    rank = NumberAttribute(range_key=True)


class ByShelf(GlobalSecondaryIndex["Entry"]):
    class Meta:
        index_name = "by-shelf"
        projection = KeysOnlyProjection()

    shelf = UnicodeAttribute(hash_key=True)


class ByTitle(LocalSecondaryIndex["Entry"]):
    class Meta:
        index_name = "by-title"
        projection = AllProjection()

    book = UnicodeAttribute(hash_key=True)
    title = UnicodeAttribute(range_key=True)


class Entry(Model):
    class Meta:
        table_name = "entries"

    book = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(range_key=True)
    colour = UnicodeAttribute(null=True)
    rank = NumberAttribute(null=True)
    shelf = UnicodeAttribute(null=True)
    title = UnicodeAttribute(null=True)
    is_hidden = BooleanAttribute(default=False)
    by_colour = ByColour()
    by_shelf = ByShelf()
    by_title = ByTitle()


class Note(Model):
    class Meta:
        table_name = "notes"

    id = UnicodeAttribute(hash_key=True)


Query = cabc.Callable[[], t.Any]


@pytest.fixture
def db(in_app: InApp, config: dict[str, t.Any]) -> cabc.Iterator[PynamoDB]:
    """An extension on a real engine, with an empty table."""
    with in_app(config, **SECRET) as db:
        Entry.create_table(wait=True)
        yield db


@pytest.fixture
def stub_db(in_app: InApp, stub_config: dict[str, t.Any]) -> cabc.Iterator[PynamoDB]:
    with in_app(stub_config, **SECRET) as db:
        yield db


def save(*entries: Entry) -> None:
    with Entry.batch_write() as batch:
        for entry in entries:
            batch.save(entry)


def numbers(page: Page[Entry]) -> list[int]:
    return [int(entry.number) for entry in page]


def contents(entries: cabc.Iterable[Entry]) -> list[dict[str, t.Any]]:
    return [entry.to_simple_dict() for entry in entries]


def forwards(db: PynamoDB, query: Query, **options: t.Any) -> list[Page[t.Any]]:
    """All pages, from the first one on."""
    pages = [db.paginate(query(), **options)]

    while (cursor := pages[-1].next_cursor) is not None:
        pages.append(db.paginate(query(), cursor=cursor, **options))

    return pages


def backwards(db: PynamoDB, query: Query, page: Page[t.Any], **options: t.Any) -> list[Page[t.Any]]:
    """All pages before a page, the last of them first."""
    pages = [page]

    while (cursor := pages[-1].prev_cursor) is not None:
        pages.append(db.paginate(query(), cursor=cursor, **options))

    return pages[1:]


class TestWalks:
    """There and back, on both engines."""

    @pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 6, 7])
    def test_borders(self, db: PynamoDB, count: int) -> None:
        save(*(Entry("a", number) for number in range(count)), Entry("b", 0))
        pages = forwards(db, lambda: Entry.query("a"), per_page=3)
        expected = [list(range(count))[first : first + 3] for first in range(0, count, 3)] or [[]]
        assert [numbers(page) for page in pages] == expected
        assert [page.has_next for page in pages] == [True] * (len(pages) - 1) + [False]
        assert [page.has_prev for page in pages] == [False] + [True] * (len(pages) - 1)

        back = backwards(db, lambda: Entry.query("a"), pages[-1], per_page=3)
        assert [numbers(page) for page in back] == expected[:-1][::-1]
        assert [page.has_prev for page in back] == [True] * (len(back) - 1) + [False] * bool(back)
        assert all(page.has_next for page in back)

    @pytest.mark.parametrize(
        "query",
        [
            pytest.param(lambda: Entry.query("a"), id="table"),
            pytest.param(lambda: Entry.query("a", scan_index_forward=False), id="descending"),
            pytest.param(lambda: Entry.query("a", Entry.number.between(1, 9)), id="range"),
            pytest.param(lambda: Entry.query("a", Entry.number == 3), id="one"),
            pytest.param(lambda: Entry.by_colour.query("red"), id="global"),
            pytest.param(lambda: Entry.by_colour.query("red", ByColour.rank == 1), id="ties"),
            pytest.param(
                lambda: Entry.by_colour.query("red", scan_index_forward=False), id="global, desc"
            ),
            pytest.param(lambda: Entry.by_shelf.query("top"), id="global without range key"),
            pytest.param(lambda: Entry.by_title.query("a"), id="local"),
            pytest.param(lambda: Entry.query("a", consistent_read=True), id="consistent"),
            pytest.param(lambda: Entry.query("a", page_size=1), id="small requests"),
            pytest.param(lambda: Entry.query("a", rate_limit=1e6), id="with a rate limit"),
            pytest.param(lambda: Entry.query("a", attributes_to_get=["title"]), id="projection"),
            pytest.param(lambda: Entry.query("a", None, Entry.rank == 1), id="filter"),
            pytest.param(
                lambda: Entry.query("a", None, Entry.rank == 1, page_size=1), id="filter, page size"
            ),
            pytest.param(
                lambda: Entry.by_colour.query("red", None, Entry.book == "a"), id="filter on a key"
            ),
        ],
    )
    def test_each_kind_of_query_gives_everything_once_both_ways(
        self, db: PynamoDB, query: Query
    ) -> None:
        save(
            *(
                Entry(
                    book,
                    number,
                    colour="red",
                    rank=number // 2 % 3,
                    shelf="top",
                    title=f"{number % 4}",
                )
                for book in "ab"
                for number in range(8)
            )
        )
        expected = contents([*query()])
        pages = forwards(db, query, per_page=3)
        assert contents([entry for page in pages for entry in page]) == expected
        assert {len(page) for page in pages[:-1]} <= {3}

        back = backwards(db, query, pages[-1], per_page=3)[::-1]
        assert [contents(page) for page in back] == [contents(page) for page in pages[:-1]]

    @pytest.mark.parametrize(
        "scan",
        [
            pytest.param(lambda: Entry.scan(), id="table"),
            pytest.param(lambda: Entry.by_colour.scan(), id="index"),
            pytest.param(lambda: Entry.scan(Entry.rank == 1), id="filter"),
            pytest.param(lambda: Entry.scan(attributes_to_get=["number"]), id="projection"),
            pytest.param(lambda: Entry.scan(segment=0, total_segments=2), id="segment"),
        ],
    )
    def test_a_scan_has_pages_forwards_only(self, db: PynamoDB, scan: Query) -> None:
        save(*(Entry(f"{n}", n, colour="red", rank=n % 3) for n in range(8)))
        expected = sorted(entry.number for entry in scan())
        pages = forwards(db, scan, per_page=2)
        assert sorted(entry.number for page in pages for entry in page) == expected
        assert {len(page) for page in pages[:-1]} <= {2}
        assert not any(page.has_prev or page.prev_cursor for page in pages)

    def test_a_model_without_a_range_key_has_one_item_for_a_key(self, db: PynamoDB) -> None:
        Note.create_table(wait=True)
        Note("a").save()
        page = db.paginate(Note.query("a"))
        assert [note.id for note in page] == ["a"]
        assert not page.has_next

    @pytest.mark.parametrize("is_forward", [True, False])
    @hypothesis.settings(
        max_examples=strength.examples(20),
        suppress_health_check=[
            hypothesis.HealthCheck.function_scoped_fixture,
            hypothesis.HealthCheck.too_slow,
        ],
    )
    @hypothesis.given(data=st.data())
    def test_any_walk_while_items_come_and_go(
        self, db: PynamoDB, is_forward: bool, data: st.DataObject
    ) -> None:
        Walk(db, data, is_forward=is_forward).run()


class Walk:
    """Steps forwards and backwards, with changes between them, beside a list of what is stored."""

    def __init__(self, db: PynamoDB, data: st.DataObject, *, is_forward: bool) -> None:
        self.db = db
        self.data = data
        self.is_forward = is_forward
        self.colour = uuid.uuid4().hex
        self.has_filter = data.draw(st.booleans(), label="filter")
        self.per_page = data.draw(st.integers(1, 4), label="per_page")
        self.ranks = data.draw(
            st.dictionaries(st.integers(0, 40), st.integers(0, 2), max_size=12), label="ranks"
        )
        self.hidden = data.draw(st.sets(st.sampled_from([*self.ranks, -1])), label="hidden")
        save(*(self.entry(number) for number in self.ranks))

    def entry(self, number: int) -> Entry:
        is_hidden = number in self.hidden
        return Entry(
            self.colour, number, colour=self.colour, rank=self.ranks[number], is_hidden=is_hidden
        )

    def order(self, number: int) -> tuple[int, int]:
        """Where an item stands in the index: by its range key, then by the table's."""
        return self.ranks[number], number

    def stored(self, exists: cabc.Collection[int]) -> list[int]:
        found = (n for n in exists if not (self.has_filter and n in self.hidden))
        return sorted(found, key=self.order, reverse=not self.is_forward)

    def read(self, cursor: str | None) -> Page[Entry]:
        condition = Entry.is_hidden == False if self.has_filter else None  # noqa: E712
        query = Entry.by_colour.query(
            self.colour, filter_condition=condition, scan_index_forward=self.is_forward
        )
        return self.db.paginate(query, cursor=cursor, per_page=self.per_page)

    def run(self) -> None:
        exists = set(self.ranks)
        page = self.read(None)
        expected = self.stored(exists)
        assert numbers(page) == expected[: self.per_page]
        assert page.has_next is (len(expected) > self.per_page)
        assert not page.has_prev

        for step in self.data.draw(st.lists(st.sampled_from("nnppdi"), max_size=10), label="steps"):
            match step:
                case "n" if page.next_cursor is not None:
                    page = self.go_on(page, exists)
                case "p" if page.prev_cursor is not None:
                    page = self.go_back(page, exists)
                case "d" if exists:
                    number = self.data.draw(st.sampled_from(sorted(exists)), label="delete")
                    self.entry(number).delete()
                    exists.discard(number)
                case "i":
                    number = self.data.draw(st.integers(0, 40), label="insert")
                    self.ranks.setdefault(number, number % 3)
                    save(self.entry(number))
                    exists.add(number)
                case _:
                    pass

    def go_on(self, page: Page[Entry], exists: set[int]) -> Page[Entry]:
        stored = self.stored(exists)

        if page.items:
            stored = stored[self.number_before(numbers(page)[-1], stored, including=True) :]

        after = self.read(page.next_cursor)
        assert numbers(after) == stored[: self.per_page]
        assert after.has_next is (len(stored) > self.per_page)
        assert after.has_prev is bool(page.items)
        return after

    def go_back(self, page: Page[Entry], exists: set[int]) -> Page[Entry]:
        stored = self.stored(exists)

        if page.items:
            stored = stored[: self.number_before(numbers(page)[0], stored, including=False)]

        before = self.read(page.prev_cursor)
        assert numbers(before) == stored[-self.per_page :]
        assert before.has_prev is (len(stored) > self.per_page)
        assert before.has_next is bool(page.items)
        return before

    def number_before(self, number: int, stored: list[int], *, including: bool) -> int:
        """How many of what is stored stand before an item, which may be gone."""
        with_it = sorted({*stored, number}, key=self.order, reverse=not self.is_forward)
        return with_it.index(number) + (including and number in stored)


def book(
    count: int, *, matching: cabc.Callable[[int], bool] = lambda number: True
) -> cabc.Callable[[Request], Answer]:
    """Answers queries and scans of the entries 0, 1, ... of a book, as DynamoDB does.

    :param count: How many entries there are.
    :param matching: Which of them meet the filter, if there is one.
    """

    def answer(request: Request) -> Answer:
        body = request.body
        stored = list(range(count))

        if body.get("ScanIndexForward") is False:
            stored.reverse()

        if (start := body.get("ExclusiveStartKey")) is not None:
            del stored[: stored.index(int(start["number"]["N"])) + 1]

        examined = stored[: body.get("Limit", 10)]
        found = [n for n in examined if "FilterExpression" not in body or matching(n)]
        reply: dict[str, t.Any] = {
            "Items": [{"book": {"S": "a"}, "number": {"N": str(n)}} for n in found],
            "Count": len(found),
            "ScannedCount": len(examined),
        }

        # DynamoDB sends it also where nothing is left.
        if len(examined) == body.get("Limit", 10):
            reply["LastEvaluatedKey"] = {"book": {"S": "a"}, "number": {"N": str(examined[-1])}}

        return Answer(body=reply)

    return answer


def limits(stub: Stub) -> list[int | None]:
    """How many items each request wanted to be examined."""
    return [request.body.get("Limit") for request in stub.requests]


@pytest.mark.once(reason="what is asked for is decided above the transport")
class TestCost:
    """What is asked for, and how often."""

    def test_a_page_costs_one_request_also_backwards(self, stub: Stub, stub_db: PynamoDB) -> None:
        stub.always("Query", book(50))
        pages = forwards(stub_db, lambda: Entry.query("a"), per_page=20)
        assert limits(stub) == [21, 21, 21]
        stub.forget()
        assert len(backwards(stub_db, lambda: Entry.query("a"), pages[-1], per_page=20)) == 2
        assert limits(stub) == [21, 21]

    def test_requests_are_as_small_as_the_query_says(self, stub: Stub, stub_db: PynamoDB) -> None:
        stub.always("Query", book(50))
        page = stub_db.paginate(Entry.query("a", page_size=8), per_page=20)
        assert numbers(page) == list(range(20))
        assert limits(stub) == [8, 8, 5]

    def test_a_rate_limit_is_kept(self, stub: Stub, stub_db: PynamoDB) -> None:
        stub.always("Query", book(5))
        stub_db.paginate(Entry.query("a", rate_limit=1e6))
        assert stub.requests[0].body["ReturnConsumedCapacity"] == "TOTAL"

    def test_a_filter_makes_requests_larger_one_by_one(self, stub: Stub, stub_db: PynamoDB) -> None:
        stub.always("Query", book(1000, matching=lambda number: number % 40 == 0))
        page = stub_db.paginate(Entry.query("a", None, Entry.rank == 1), per_page=10)
        assert numbers(page) == list(range(0, 400, 40))
        assert limits(stub) == [20, 40, 80, 160, 320]
        assert page.has_next

    def test_a_filter_examines_what_the_query_says(self, stub: Stub, stub_db: PynamoDB) -> None:
        stub.always("Query", book(100, matching=lambda number: number % 2 == 0))
        query = Entry.query("a", None, Entry.rank == 1, page_size=7)
        assert numbers(stub_db.paginate(query, per_page=5)) == [0, 2, 4, 6, 8]
        assert limits(stub) == [7, 7]

    @pytest.mark.parametrize("kind", ["Query", "Scan"])
    def test_the_requests_for_a_page_can_be_limited(
        self, stub: Stub, stub_db: PynamoDB, kind: str
    ) -> None:
        stub.always(kind, book(70, matching=lambda number: number in {3, 45, 46}))
        condition = Entry.rank == 1

        def query() -> t.Any:
            if kind == "Scan":
                return Entry.scan(condition, page_size=10)

            return Entry.query("a", None, condition, page_size=10)

        pages = forwards(stub_db, query, per_page=2, max_requests=2)
        assert [numbers(page) for page in pages] == [[3], [], [45, 46], []]
        assert [page.has_next for page in pages] == [True, True, True, False]
        assert len(stub.requests) == 8

        if kind == "Query":
            back = backwards(stub_db, query, pages[-1], per_page=2, max_requests=2)
            assert [number for page in back[::-1] for number in numbers(page)] == [3, 45, 46]

            # From a page without items, too, nothing is passed over in the other direction.
            empty = next(page for page in back[::-1] if not page.items)
            ahead = [empty]

            while ahead[-1].next_cursor is not None:
                cursor = ahead[-1].next_cursor
                options: dict[str, t.Any] = {"per_page": 2, "max_requests": 2}
                ahead.append(stub_db.paginate(query(), cursor=cursor, **options))

            assert [number for page in ahead for number in numbers(page)] == [45, 46]

    def test_a_page_whose_requests_end_at_its_last_item_goes_on_behind_what_was_examined(
        self, stub: Stub, stub_db: PynamoDB
    ) -> None:
        stub.always("Query", book(40, matching=lambda number: number in {1, 30}))
        options: dict[str, t.Any] = {"per_page": 1, "max_requests": 1}

        def query() -> t.Any:
            return Entry.query("a", None, Entry.rank == 1, page_size=10)

        first = stub_db.paginate(query(), **options)
        stub_db.paginate(query(), cursor=first.next_cursor, **options)
        assert stub.requests[-1].body["ExclusiveStartKey"]["number"] == {"N": "9"}

    def test_a_key_that_is_not_asked_for_is_not_shown(self, stub: Stub, stub_db: PynamoDB) -> None:
        stub.always("Query", book(3))
        query = Entry.query("a", attributes_to_get=["title", "number"])
        page = stub_db.paginate(query, per_page=2)
        assert [entry.number for entry in page] == [0, 1]
        assert [t.cast("str | None", entry.book) for entry in page] == [None, None]
        assert {*stub.requests[0].body["ExpressionAttributeNames"].values()} == {
            *("title", "number", "book")
        }


class Hard(UnicodeAttribute):
    def deserialize(self, value: str) -> str:
        raise ValueError(f"not to be read: {value}")


class Riddle(Model):
    class Meta:
        table_name = "riddles"

    book = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(range_key=True)
    text = Hard(null=True)


def riddles(*texts: str | None) -> Answer:
    items: list[dict[str, t.Any]] = [
        {
            "book": {"S": "a"},
            "number": {"N": str(number)},
            **({} if text is None else {"text": {"S": text}}),
        }
        for number, text in enumerate(texts)
    ]
    return Answer(body={"Items": items, "Count": len(items), "ScannedCount": len(items)})


@pytest.mark.once(reason="items are decoded above the transport")
class TestItems:
    def test_an_item_that_cannot_be_decoded_fails_its_own_page_alone(
        self, stub: Stub, stub_db: PynamoDB
    ) -> None:
        stub.always("Query", riddles(None, None, "hard"))
        page = stub_db.paginate(Riddle.query("a"), per_page=2)
        assert page.has_next
        assert len(page) == 2

        with pytest.raises(ValueError, match="not to be read: hard"):
            stub_db.paginate(Riddle.query("a"), per_page=3)

    def test_a_page_is_what_it_says(self, stub: Stub, stub_db: PynamoDB) -> None:
        stub.always("Query", book(3))
        page = stub_db.paginate(Entry.query("a"), per_page=2)
        assert [*page] == page.items
        assert len(page) == 2
        assert page.per_page == 2
        assert repr(page) == "<Page of 2 items, per_page=2 has_next=True has_prev=False>"


class Animal(Model):
    class Meta:
        table_name = "animals"

    zoo = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(range_key=True)
    kind = DiscriminatorAttribute()


class Cat(Animal, discriminator="cat"):
    pass


class Dog(Animal, discriminator="dog"):
    pass


class BinaryKey(Model):
    class Meta:
        table_name = "binary-keys"

    id = UnicodeAttribute(hash_key=True)
    part = BinaryAttribute(range_key=True, legacy_encoding=False)


class LegacyKey(Model):
    class Meta:
        table_name = "legacy-keys"

    id = BinaryAttribute(hash_key=True, legacy_encoding=True)
    part = BinaryAttribute(range_key=True, legacy_encoding=True)


class TestKinds:
    """Of keys and of models."""

    def test_one_of_several_models_in_a_table(self, db: PynamoDB) -> None:
        Animal.create_table(wait=True)

        for number in range(9):
            (Cat if number % 2 else Dog)("zoo", number).save()

        pages = forwards(db, lambda: Cat.query("zoo"), per_page=2)
        assert [[cat.number for cat in page] for page in pages] == [[1, 3], [5, 7]]
        assert {type(cat) for page in pages for cat in page} == {Cat}
        back = backwards(db, lambda: Cat.query("zoo"), pages[-1], per_page=2)
        assert [[cat.number for cat in page] for page in back] == [[1, 3]]

    @pytest.mark.parametrize(
        ("model", "key"), [(BinaryKey, "a"), (LegacyKey, b"a")], ids=["bytes", "legacy"]
    )
    def test_binary_keys(self, db: PynamoDB, model: t.Any, key: object) -> None:
        model.create_table(wait=True)
        # Those of the old encoding are in the order of their base64.
        parts = [b"\xff\xfe", b"\0", b"\0\0", b"\x80"]
        parts = parts if model is LegacyKey else sorted(parts)

        for part in parts:
            model(key, part).save()

        pages = forwards(db, lambda: model.query(key), per_page=1)
        assert [item.part for page in pages for item in page] == parts
        back = backwards(db, lambda: model.query(key), pages[-1], per_page=1)
        assert [item.part for page in back for item in page] == parts[-2::-1]

    @pytest.mark.parametrize("number", [-1, 0.1, 1e-100, 12345678901234567890])
    def test_numbers_of_any_size(self, db: PynamoDB, number: float) -> None:
        save(Entry("a", number), Entry("a", abs(number) * 2 + 1))
        pages = forwards(db, lambda: Entry.query("a"), per_page=1)
        assert [entry.number for page in pages for entry in page] == [number, abs(number) * 2 + 1]

    def test_text_of_any_script(self, db: PynamoDB) -> None:
        Note.create_table(wait=True)
        ids = ["a/b?c", "\N{SNOWMAN}", "\N{GRINNING FACE}", "\0", '"']

        for note_id in ids:
            Note(note_id).save()

        pages = forwards(db, Note.scan, per_page=1)
        assert sorted(note.id for page in pages for note in page) == sorted(ids)

    def test_a_stock_model(self, db: PynamoDB, config: dict[str, t.Any]) -> None:
        """In an app that has some models of its own."""

        class Stock(pynamodb.models.Model):
            class Meta:
                table_name = f"{config['DYNAMODB_TABLE_NAME_PREFIX']}entries"
                host = config["DYNAMODB_HOST"]
                region = config["DYNAMODB_REGION"]
                aws_access_key_id = "key"
                aws_secret_access_key = "secret"

            book = UnicodeAttribute(hash_key=True)
            number = NumberAttribute(range_key=True)

        save(*(Entry("a", number) for number in range(4)))
        pages = forwards(db, lambda: Stock.query("a"), per_page=3)
        assert [[stock.number for stock in page] for page in pages] == [[0, 1, 2], [3]]


class Own(Entry):
    class Meta(Entry.Meta):
        table_name = "own"

    @classmethod
    def query(cls, hash_key: t.Any, *args: t.Any, **kwargs: t.Any) -> t.Any:
        return super().query(f"{hash_key}!", *args, **kwargs)

    @classmethod
    def scan(cls, *args: t.Any, **kwargs: t.Any) -> t.Any:
        return [*super().scan(*args, **kwargs)]


def iterated() -> t.Any:
    result = Entry.query("a")
    next(result)
    return result


def exhausted() -> t.Any:
    """A result of nothing, of which only its end is known."""
    assert [*Entry.query("a")]
    result = Entry.query("b")
    assert not [*result]
    return result


def half_used() -> t.Any:
    result = Entry.query("a")
    next(result.page_iter)
    return result


@pytest.mark.once(reason="arguments are checked")
class TestArguments:
    @pytest.mark.parametrize(
        ("result", "error", "words"),
        [
            (lambda: Entry.query("a", limit=3), ValueError, "can't have a 'limit'"),
            (lambda: Entry.by_title.query("a", limit=0), ValueError, "can't have a 'limit':"),
            (
                lambda: Entry.query("a", last_evaluated_key={"book": {"S": "a"}}),
                ValueError,
                "can't have a 'last_evaluated_key'",
            ),
            (iterated, ValueError, "iterated already"),
            (exhausted, ValueError, "iterated already"),
            (half_used, ValueError, "iterated already"),
            (lambda: {*Entry.query("a")}, TypeError, "not 'set'"),
            (lambda: Own.scan(), TypeError, "not 'list'"),
            (lambda: Entry.aquery("a"), TypeError, "'paginate' takes what .* not 'ResultIterator'"),
            (lambda: Entry, TypeError, "not 'ModelType'"),
        ],
    )
    def test_what_can_not_be_paginated(
        self,
        stub: Stub,
        stub_db: PynamoDB,
        result: cabc.Callable[[], t.Any],
        error: type[Exception],
        words: str,
    ) -> None:
        stub.next("Query", book(5))
        given = result()
        stub.forget()

        with pytest.raises(error, match=words):
            stub_db.paginate(given)

        assert not stub.requests

    def test_an_override_that_returns_a_query(self, stub: Stub, stub_db: PynamoDB) -> None:
        stub_db.paginate(Own.query("a"))
        assert stub.requests[0].body["ExpressionAttributeValues"] == {":0": {"S": "a!"}}

    @pytest.mark.parametrize(
        ("options", "error", "words"),
        [
            ({"max_per_page": 0}, ValueError, "'max_per_page' must be a positive whole number"),
            ({"max_requests": 0}, ValueError, "'max_requests' must be a positive whole number"),
            ({"max_requests": 1.5}, ValueError, "'max_requests' must be a positive whole number"),
            ({"cursor": b"abc"}, TypeError, "'cursor' must be text, not 'bytes'"),
            ({"max_age": "1"}, TypeError, "'max_age' must be a number of seconds, not 'str'"),
            ({"scope": object()}, TypeError, "'scope' must be something that JSON has a form for"),
        ],
    )
    def test_wrong_options(
        self,
        stub: Stub,
        stub_db: PynamoDB,
        options: dict[str, t.Any],
        error: type[Exception],
        words: str,
    ) -> None:
        with pytest.raises(error, match=words):
            stub_db.paginate(Entry.query("a"), **options)

        assert not stub.requests

    @pytest.mark.parametrize(
        ("options", "per_page"),
        [
            ({}, 20),
            ({"per_page": 7}, 7),
            ({"per_page": "7"}, 7),
            ({"per_page": 500}, 100),
            ({"per_page": 500, "max_per_page": None}, 500),
            ({"max_per_page": 10}, 10),
            ({"per_page": "9" * 10_000}, 100),
        ],
    )
    def test_how_many_items_a_page_has(
        self, stub_db: PynamoDB, options: dict[str, t.Any], per_page: int
    ) -> None:
        assert stub_db.paginate(Entry.query("a"), **options).per_page == per_page

    def test_an_app_of_another_extension(self, stub_db: PynamoDB) -> None:
        with pytest.raises(RuntimeError, match="not registered with this 'PynamoDB' instance"):
            PynamoDB().paginate(Entry.query("a"))
