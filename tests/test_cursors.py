"""Cursors: what they are bound to, what they hold, and that no other text is taken for one."""

from __future__ import annotations

import base64
import collections.abc as cabc
import itertools
import string
import typing as t

import flask
import hypothesis
import pytest
import quart
import time_machine
import werkzeug.exceptions
from hypothesis import strategies as st
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.attributes import UnicodeSetAttribute
from pynamodb.indexes import AllProjection
from pynamodb.indexes import GlobalSecondaryIndex

import dynamo_ext
import dynamo_ext_async
from conftest import InApp
from conftest import RunPython
from dynamo_ext import ConfigError
from dynamo_ext import InvalidCursor
from dynamo_ext import PynamoDB
from dynamo_ext_async import Model
from stub import Answer
from stub import Request
from stub import Stub

pytestmark = pytest.mark.once(reason="cursors are made and read above the transport")

SECRET = "a secret of the tests"
URL_SAFE = string.ascii_letters + string.digits + "-_."
TENANT = "tenant-4711"


class ByOwner(GlobalSecondaryIndex["Paper"]):
    class Meta:
        index_name = "by-owner"
        projection = AllProjection()

    owner = UnicodeAttribute(hash_key=True)
    year = NumberAttribute(range_key=True)


class ByYear(GlobalSecondaryIndex["Paper"]):
    class Meta:
        index_name = "by-year"
        projection = AllProjection()

    owner = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(range_key=True)


class Paper(Model):
    class Meta:
        table_name = "papers"

    tenant = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(range_key=True)
    owner = UnicodeAttribute(null=True)
    year = NumberAttribute(null=True)
    tags = UnicodeSetAttribute(null=True)
    by_owner = ByOwner()
    by_year = ByYear()


class Copy(Paper):
    class Meta(Paper.Meta):
        table_name = "copies"


# Each asks for something else than the others, or in another order.
QUERIES: dict[str, cabc.Callable[[], t.Any]] = {
    "plain": lambda: Paper.query(TENANT),
    "other hash key": lambda: Paper.query("another"),
    "other table": lambda: Copy.query(TENANT),
    "range": lambda: Paper.query(TENANT, Paper.number > 1),
    "other range": lambda: Paper.query(TENANT, Paper.number > 2),
    "other operator": lambda: Paper.query(TENANT, Paper.number >= 1),
    "filter": lambda: Paper.query(TENANT, None, Paper.owner == "me"),
    "filter by another value": lambda: Paper.query(TENANT, None, Paper.owner == "you"),
    "filter on another name": lambda: Paper.query(TENANT, None, Paper.year == 1),
    "filters": lambda: Paper.query(TENANT, None, (Paper.owner == "me") & (Paper.year == 1)),
    "filters, or": lambda: Paper.query(TENANT, None, (Paper.owner == "me") | (Paper.year == 1)),
    "not": lambda: Paper.query(TENANT, None, ~(Paper.owner == "me")),
    "text": lambda: Paper.query(TENANT, None, Paper.owner.startswith("1")),
    "size": lambda: Paper.query(TENANT, None, Paper.owner.contains("1")),
    "set": lambda: Paper.query(TENANT, None, Paper.tags == {"a", "b"}),
    "descending": lambda: Paper.query(TENANT, scan_index_forward=False),
    "index": lambda: Paper.by_owner.query(TENANT),
    "other index": lambda: Paper.by_year.query(TENANT),
    "scan": lambda: Paper.scan(),
    "scan of an index": lambda: Paper.by_owner.scan(),
    "filtered scan": lambda: Paper.scan(Paper.owner == "me"),
    "segment": lambda: Paper.scan(segment=0, total_segments=2),
    "other segment": lambda: Paper.scan(segment=1, total_segments=2),
}


def paper(number: int) -> dict[str, t.Any]:
    return {
        "tenant": {"S": TENANT},
        "number": {"N": str(number)},
        "owner": {"S": "me"},
        "year": {"N": "2026"},
    }


def papers(request: Request) -> Answer:
    """More than are asked for, whatever is asked for."""
    count = request.body.get("Limit", 3)
    items = [paper(number) for number in range(count)]
    return Answer(body={"Items": items, "Count": count, "ScannedCount": count})


@pytest.fixture
def stub(stub: Stub) -> Stub:
    stub.always("Query", papers)
    stub.always("Scan", papers)
    return stub


@pytest.fixture
def db(in_app: InApp, stub_config: dict[str, t.Any]) -> cabc.Iterator[PynamoDB]:
    with in_app(stub_config, SECRET_KEY=SECRET) as db:
        yield db


def cursor_of(db: PynamoDB, result: t.Any, **options: t.Any) -> str:
    """The cursor of the second page."""
    cursor = db.paginate(result, per_page=2, **options).next_cursor
    assert cursor is not None
    return cursor


def payload(cursor: str) -> bytes:
    content = cursor.partition(".")[0]
    return base64.urlsafe_b64decode(content + "=" * (-len(content) % 4))


def assert_refused(stub: Stub, db: PynamoDB, cursor: str, **options: t.Any) -> None:
    result = options.pop("result", Paper.query(TENANT))
    stub.forget()

    with pytest.raises(InvalidCursor) as caught:
        db.paginate(result, cursor=cursor, **options)

    assert caught.value.code == 400
    assert not stub.requests


class TestAltered:
    def test_any_altered_character_is_refused(self, stub: Stub, db: PynamoDB) -> None:
        cursor = cursor_of(db, Paper.query(TENANT))
        assert set(cursor) <= set(URL_SAFE)

        for position, character in itertools.product(range(len(cursor)), [*URL_SAFE, "=", " "]):
            altered = cursor[:position] + character + cursor[position + 1 :]

            if altered != cursor:
                assert_refused(stub, db, altered)

        assert db.paginate(Paper.query(TENANT), cursor=cursor).has_next

    def test_a_part_of_one_is_refused_and_so_is_more_than_one(
        self, stub: Stub, db: PynamoDB
    ) -> None:
        cursor = cursor_of(db, Paper.query(TENANT))

        for position in range(len(cursor)):
            assert_refused(stub, db, cursor[:position])
            assert_refused(stub, db, cursor[:position] + cursor[position + 1 :])
            assert_refused(stub, db, cursor[:position] + "=" + cursor[position:])

        for more in ("=", ".", "A", "\n", " ", cursor):
            assert_refused(stub, db, cursor + more)
            assert_refused(stub, db, more + cursor)

    @hypothesis.given(
        text=st.text() | st.from_regex(r"[\w-]*\.[\w-]{6}\.[\w-]{43}", fullmatch=True)
    )
    @hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
    def test_any_other_text_is_refused(self, stub: Stub, db: PynamoDB, text: str) -> None:
        assert_refused(stub, db, text)

    def test_a_long_text_is_refused_unread(self, stub: Stub, db: PynamoDB) -> None:
        assert_refused(stub, db, "A" * 10_000_000)
        assert_refused(stub, db, "\N{SNOWMAN}" * 10_000)

    def test_one_that_is_longer_than_any_key_is_refused_though_it_is_signed(
        self, stub: Stub, db: PynamoDB
    ) -> None:
        item = {"tenant": {"S": "a" * 7_000}, "number": {"N": "1"}}
        stub.always("Scan", Answer(body={"Items": [item] * 3, "Count": 3, "ScannedCount": 3}))
        assert_refused(stub, db, cursor_of(db, Paper.scan()), result=Paper.scan())

    def test_an_old_one_is_refused(self, stub: Stub, db: PynamoDB) -> None:
        with time_machine.travel(1_800_000_000, tick=False) as time:
            cursor = cursor_of(db, Paper.query(TENANT))
            time.shift(60)
            assert db.paginate(Paper.query(TENANT), cursor=cursor, max_age=60)
            time.shift(1)
            assert_refused(stub, db, cursor, max_age=60)
            assert db.paginate(Paper.query(TENANT), cursor=cursor)

            with pytest.raises(InvalidCursor, match="The cursor has expired"):
                db.paginate(Paper.query(TENANT), cursor=cursor, max_age=60)

    def test_one_from_a_server_whose_clock_is_ahead_is_accepted(
        self, stub: Stub, db: PynamoDB
    ) -> None:
        with time_machine.travel(1_800_000_000, tick=False) as time:
            cursor = cursor_of(db, Paper.query(TENANT))
            time.shift(-2)
            assert db.paginate(Paper.query(TENANT), cursor=cursor, max_age=60)


class TestBound:
    @pytest.mark.parametrize("name", QUERIES)
    def test_to_its_own_query(self, stub: Stub, db: PynamoDB, name: str) -> None:
        cursor = cursor_of(db, QUERIES[name]())
        assert db.paginate(QUERIES[name](), cursor=cursor, per_page=5).items

        for other in QUERIES.keys() - {name}:
            assert_refused(stub, db, cursor, result=QUERIES[other]())

    def test_to_its_scope(self, stub: Stub, db: PynamoDB) -> None:
        scopes: list[t.Any] = [None, "", "1", 1, True, ["a"], {"user": "1"}, {"user": "2"}]

        for scope, other in itertools.product(scopes, scopes):
            cursor = cursor_of(db, Paper.query(TENANT), scope=scope)

            if scope is other:
                assert db.paginate(Paper.query(TENANT), cursor=cursor, scope=other)
            else:
                assert_refused(stub, db, cursor, scope=other)

    def test_not_to_how_the_query_is_made(self, db: PynamoDB) -> None:
        cursor = cursor_of(db, Paper.query(TENANT))

        for query in (
            Paper.query(TENANT, scan_index_forward=True),
            Paper.query(TENANT, page_size=3),
            Paper.query(TENANT, consistent_read=True),
            Paper.query(TENANT, rate_limit=1000),
            Paper.query(TENANT, attributes_to_get=["year"]),
        ):
            assert db.paginate(query, cursor=cursor, per_page=7).items

    def test_to_its_table_prefix(
        self, stub: Stub, in_app: InApp, stub_config: dict[str, t.Any]
    ) -> None:
        config = {**stub_config, "SECRET_KEY": SECRET}

        with in_app(config, DYNAMODB_TABLE_NAME_PREFIX="a-") as db:
            cursor = cursor_of(db, Paper.query(TENANT))

        with in_app(config, DYNAMODB_TABLE_NAME_PREFIX="b-") as db:
            assert_refused(stub, db, cursor, result=Paper.query(TENANT))

        with in_app(config, DYNAMODB_TABLE_NAME_PREFIX="a-") as db:
            assert db.paginate(Paper.query(TENANT), cursor=cursor).items

    def test_to_its_bind(self, in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]) -> None:
        binds = {"eu": {"REGION": "eu-west-1"}}

        with in_app(stub_config, SECRET_KEY=SECRET, DYNAMODB_BINDS=binds) as db:
            cursor = cursor_of(db, Paper.query(TENANT))

            with db.using("eu"):
                result = Paper.query(TENANT)

            of_bind = cursor_of(db, result)

            with db.using("eu"), pytest.raises(InvalidCursor):
                db.paginate(Paper.query(TENANT), cursor=cursor)

            with pytest.raises(InvalidCursor):
                db.paginate(Paper.query(TENANT), cursor=of_bind)

            with db.using("eu"):
                assert len(db.paginate(Paper.query(TENANT), per_page=2, cursor=of_bind)) == 2

    def test_not_to_the_order_of_values_in_a_list_or_set(self, db: PynamoDB) -> None:
        """That of a discriminator's classes depends on what was imported first."""
        cursor = cursor_of(db, Paper.query(TENANT, None, Paper.owner.is_in("a", "b")))
        assert db.paginate(Paper.query(TENANT, None, Paper.owner.is_in("b", "a")), cursor=cursor)

    @pytest.mark.parametrize("seed", ["1", "2"])
    def test_not_to_the_process(
        self, db: PynamoDB, stub_config: dict[str, t.Any], run_python: RunPython, seed: str
    ) -> None:
        """Sets have another order in each."""
        tags = {"tag-1", "tag-2", "tag-3", "tag-4", "tag-5"}
        done = run_python(
            f"""
import flask
from pynamodb.attributes import NumberAttribute, UnicodeAttribute, UnicodeSetAttribute
from dynamo_ext import Model, PynamoDB

class Paper(Model):
    class Meta:
        table_name = "papers"

    tenant = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(range_key=True)
    tags = UnicodeSetAttribute(null=True)

app = flask.Flask("app")
app.config.update({stub_config!r}, SECRET_KEY={SECRET!r})
db = PynamoDB(app)

with app.app_context():
    result = Paper.query({TENANT!r}, None, Paper.tags == {tags!r})
    print(db.paginate(result, per_page=2).next_cursor)
""",
            env={"PYTHONHASHSEED": seed},
        )
        assert not done.stderr
        query = Paper.query(TENANT, None, Paper.tags == tags)
        assert db.paginate(query, cursor=done.stdout.strip()).items


class TestContent:
    """What a client may read."""

    def test_a_hash_key_that_the_query_names_is_not_there(self, db: PynamoDB) -> None:
        content = payload(cursor_of(db, Paper.query(TENANT)))
        assert TENANT.encode() not in content
        assert content.endswith(b"1")

    def test_nor_is_any_other_value_that_the_query_fixes(self, stub: Stub, db: PynamoDB) -> None:
        condition = (Paper.tenant == TENANT) & (Paper.number >= 0)
        result = Paper.by_owner.query("me", ByOwner.year == 2026, condition)
        cursor = cursor_of(db, result)
        content = payload(cursor)
        assert not [word for word in (TENANT, "me", "2026") if word.encode() in content]

        result = Paper.by_owner.query("me", ByOwner.year == 2026, condition)
        db.paginate(result, cursor=cursor)
        assert stub.requests[-1].body["ExclusiveStartKey"] == paper(1)

    def test_a_value_that_one_of_several_conditions_names_is_there(self, db: PynamoDB) -> None:
        condition = (Paper.tenant == TENANT) | (Paper.number == 1)
        assert TENANT.encode() in payload(
            cursor_of(db, Paper.by_owner.query("me", None, condition))
        )

    def test_a_scan_has_the_whole_key(self, stub: Stub, db: PynamoDB) -> None:
        cursor = cursor_of(db, Paper.scan())
        assert TENANT.encode() in payload(cursor)
        db.paginate(Paper.scan(), cursor=cursor)
        assert stub.requests[-1].body["ExclusiveStartKey"] == {
            "tenant": {"S": TENANT},
            "number": {"N": "1"},
        }

    def test_a_fixed_number_is_one_however_it_is_written(self, stub: Stub, db: PynamoDB) -> None:
        item = {**paper(1), "year": {"N": "2.026E3"}}
        stub.always("Query", Answer(body={"Items": [item] * 3, "Count": 3, "ScannedCount": 3}))
        content = payload(cursor_of(db, Paper.by_owner.query("me", ByOwner.year == 2026)))
        assert b"2.026E3" not in content

    def test_the_longest_keys_fit(self, stub: Stub, db: PynamoDB) -> None:
        # Of a table's hash key DynamoDB takes 2,048 bytes, of a range key 1,024.
        item = {
            "tenant": {"S": "\0" * 2048},
            "number": {"N": "-" + "1" * 38 + "E-100"},
            "owner": {"S": "\N{SNOWMAN}" * (2048 // 3)},
            "year": {"N": "1"},
        }
        stub.always("Scan", Answer(body={"Items": [item] * 3, "Count": 3, "ScannedCount": 3}))
        cursor = cursor_of(db, Paper.by_owner.scan())
        db.paginate(Paper.by_owner.scan(), cursor=cursor)
        assert stub.requests[-1].body["ExclusiveStartKey"] == item


class TestSecretKey:
    @pytest.mark.parametrize("key", [None, "", b""], ids=repr)
    def test_there_must_be_one(
        self, stub: Stub, in_app: InApp, stub_config: dict[str, t.Any], key: object
    ) -> None:
        with (
            in_app(stub_config, SECRET_KEY=key) as db,
            pytest.raises(ConfigError, match="'SECRET_KEY' is not set"),
        ):
            db.paginate(Paper.query(TENANT))

        assert not stub.requests

    @pytest.mark.parametrize(
        ("config", "words"),
        [
            ({"SECRET_KEY": 4711}, "'SECRET_KEY' must hold text or bytes, not 'int'"),
            ({"SECRET_KEY_FALLBACKS": "4711"}, "'SECRET_KEY_FALLBACKS' must be a list of keys"),
            ({"SECRET_KEY_FALLBACKS": 4711}, "must be a list of keys, not 'int'"),
            ({"SECRET_KEY_FALLBACKS": [4711]}, "'SECRET_KEY_FALLBACKS' must hold text or bytes"),
            ({"SECRET_KEY_FALLBACKS": [""]}, "'SECRET_KEY_FALLBACKS' must hold text or bytes"),
        ],
    )
    def test_it_must_be_one(
        self, in_app: InApp, stub_config: dict[str, t.Any], config: dict[str, t.Any], words: str
    ) -> None:
        with (
            in_app(stub_config, **{"SECRET_KEY": SECRET, **config}) as db,
            pytest.raises(ConfigError, match=words) as caught,
        ):
            db.paginate(Paper.query(TENANT))

        assert "4711" not in str(caught.value)

    def test_a_cursor_is_good_while_its_key_is_known(
        self, stub: Stub, in_app: InApp, stub_config: dict[str, t.Any]
    ) -> None:
        with in_app(stub_config, SECRET_KEY="old") as db:
            cursor = cursor_of(db, Paper.query(TENANT))

        with in_app(stub_config, SECRET_KEY="new", SECRET_KEY_FALLBACKS=["older", b"old"]) as db:
            assert db.paginate(Paper.query(TENANT), cursor=cursor).items
            newer = cursor_of(db, Paper.query(TENANT))

        with in_app(stub_config, SECRET_KEY="new") as db:
            assert_refused(stub, db, cursor)
            assert db.paginate(Paper.query(TENANT), cursor=newer).items

        with in_app(stub_config, SECRET_KEY="old") as db:
            assert_refused(stub, db, newer)

    def test_an_app_without_the_setting_for_fallbacks(
        self, stub: Stub, stub_config: dict[str, t.Any]
    ) -> None:
        """Flask has it from 3.1 on."""
        app = flask.Flask(__name__)
        app.config.from_mapping(stub_config, SECRET_KEY=SECRET)
        app.config.pop("SECRET_KEY_FALLBACKS", None)
        db = PynamoDB(app)

        with app.app_context():
            assert cursor_of(db, Paper.query(TENANT))

    @pytest.mark.anyio
    async def test_flask_and_quart_take_each_others_cursors(
        self, stub: Stub, stub_config: dict[str, t.Any]
    ) -> None:
        apps = [flask.Flask("web"), quart.Quart("api")]
        db = dynamo_ext_async.PynamoDB()

        for app in apps:
            app.config.from_mapping(stub_config, SECRET_KEY=SECRET, DYNAMODB_BLOCKING_CALLS="allow")
            db.init_app(app)

        flask_app, quart_app = apps

        with t.cast(flask.Flask, flask_app).app_context():
            cursor = cursor_of(db, Paper.query(TENANT))

        async with t.cast(quart.Quart, quart_app).app_context():
            page = await db.apaginate(Paper.aquery(TENANT), cursor=cursor)
            assert page.prev_cursor is not None

        with t.cast(flask.Flask, flask_app).app_context():
            assert db.paginate(Paper.query(TENANT), cursor=page.prev_cursor).items


def test_an_invalid_cursor_is_a_bad_request() -> None:
    assert issubclass(InvalidCursor, werkzeug.exceptions.BadRequest)
    assert dynamo_ext_async.InvalidCursor is dynamo_ext.InvalidCursor
    assert InvalidCursor().get_response().status_code == 400
