"""Keys that no item can have are refused, with words that help, before anything is sent."""

from __future__ import annotations

import collections.abc as cabc
import typing as t
from unittest import mock

import hypothesis
import pynamodb.models
import pytest
from hypothesis import strategies as st
from pynamodb.attributes import Attribute
from pynamodb.attributes import BinaryAttribute
from pynamodb.attributes import JSONAttribute
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import GetError

import dynamo_ext_async
from conftest import InApp
from dynamo_ext import PynamoDB
from dynamo_ext.models import keys
from dynamo_ext.models import usual_keys
from dynamo_ext_async import Model
from strength import examples
from stub import Stub
from stub import error


class Book(Model):
    class Meta:
        table_name = "book"

    isbn = UnicodeAttribute(hash_key=True, attr_name="i")
    title = UnicodeAttribute(null=True)


class Line(Model):
    class Meta:
        table_name = "line"

    page = UnicodeAttribute(hash_key=True, attr_name="p")
    number = NumberAttribute(range_key=True, attr_name="n")
    text = UnicodeAttribute(null=True)


class Member(Model):
    """Its range key has a default, which is that of its instances."""

    class Meta:
        table_name = "member"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True, default="member")


class Document(Model):
    """Its key is written as a text, whatever it is."""

    class Meta:
        table_name = "document"

    id = JSONAttribute(hash_key=True)


class Blob(Model):
    class Meta:
        table_name = "blob"

    digest = BinaryAttribute(hash_key=True, legacy_encoding=False)


class NoKey(Model):
    class Meta:
        table_name = "no-key"

    text = UnicodeAttribute(null=True)


def in_transaction(transaction: t.Any, method: str, *args: t.Any, **kwargs: t.Any) -> None:
    with transaction as opened:
        getattr(opened, method)(*args, **kwargs)


async def in_awaited_transaction(
    transaction: t.Any, method: str, *args: t.Any, **kwargs: t.Any
) -> None:
    async with transaction as opened:
        getattr(opened, method)(*args, **kwargs)


def in_batch(batch: t.Any, method: str, item: Model) -> None:
    with batch as opened:
        getattr(opened, method)(item)


async def in_awaited_batch(batch: t.Any, method: str, item: Model) -> None:
    async with batch as opened:
        await getattr(opened, method)(item)


def change() -> list[t.Any]:
    return [Line.text.set("new")]


Calls = dict[str, cabc.Callable[[t.Any], t.Any]]

ONE_TOO_MANY: Calls = {
    "get": lambda db: Book.get("1", "x"),
    "get, by name": lambda db: Book.get(hash_key="1", range_key="x"),
    "get_or_404": lambda db: Book.get_or_404("1", "x"),
    "operation kwargs": lambda db: Book.get_operation_kwargs_from_class("1", "x"),
    "transact_get": lambda db: in_transaction(db.transact_get(), "get", Book, "1", "x"),
    "condition_check": lambda db: in_transaction(
        db.transact_write(), "condition_check", Book, "1", "x", Book.isbn.exists()
    ),
}
ONE_TOO_FEW: Calls = {
    "update": lambda db: Line("1").update(change()),
    "delete": lambda db: Line("1").delete(),
    "refresh": lambda db: Line("1").refresh(),
    "update kwargs": lambda db: Line("1").get_update_kwargs_from_instance(change()),
    "delete kwargs": lambda db: Line("1").get_delete_kwargs_from_instance(),
    "batch_get": lambda db: Line.batch_get([("1", None)]),
    "batch_write": lambda db: in_batch(Line.batch_write(), "delete", Line("1")),
    "transact update": lambda db: in_transaction(
        db.transact_write(), "update", Line("1"), change()
    ),
    "transact delete": lambda db: in_transaction(db.transact_write(), "delete", Line("1")),
}
NO_HASH_KEY: Calls = {
    "get": lambda db: Book.get(None),
    "get, with a range key": lambda db: Line.get(None, 1),
    "delete": lambda db: Book().delete(),
    "refresh": lambda db: Line(None, 1).refresh(),
    "transact_get": lambda db: in_transaction(db.transact_get(), "get", Book, None),
    "batch_write": lambda db: in_batch(Book.batch_write(), "delete", Book()),
}
AWAITED_TOO_MANY: Calls = {
    "aget": lambda db: Book.aget("1", "x"),
    "aget_or_404": lambda db: Book.aget_or_404("1", range_key="x"),
    "atransact_get": lambda db: in_awaited_transaction(db.atransact_get(), "get", Book, "1", "x"),
    "condition_check": lambda db: in_awaited_transaction(
        db.atransact_write(), "condition_check", Book, "1", "x", Book.isbn.exists()
    ),
}
AWAITED_TOO_FEW: Calls = {
    "aupdate": lambda db: Line("1").aupdate(change()),
    "adelete": lambda db: Line("1").adelete(),
    "arefresh": lambda db: Line("1").arefresh(),
    "abatch_write": lambda db: in_awaited_batch(Line.abatch_write(), "delete", Line("1")),
    "atransact_write": lambda db: in_awaited_transaction(db.atransact_write(), "delete", Line("1")),
}


@pytest.fixture
def db(in_app: InApp, stub_config: dict[str, t.Any]) -> cabc.Iterator[PynamoDB]:
    with in_app(stub_config) as db:
        yield db


@pytest.fixture
def adb(stub_config: dict[str, t.Any]) -> cabc.Iterator[dynamo_ext_async.PynamoDB]:
    import flask

    app = flask.Flask("tests")
    app.config.from_mapping(stub_config)
    db = dynamo_ext_async.PynamoDB(app)

    with app.app_context():
        yield db


def refused(model: str, argument: str, right: str) -> t.Any:
    return pytest.raises(ValueError, match=rf"'{model}' has .*'{argument}'.*{right}")


@pytest.mark.parametrize("call", ONE_TOO_MANY)
def test_a_range_key_of_a_model_without_one_is_refused(call: str, db: PynamoDB, stub: Stub) -> None:
    with refused("Book", "range_key", "leave it out"):
        ONE_TOO_MANY[call](db)

    assert not stub.requests


@pytest.mark.anyio
@pytest.mark.parametrize("call", AWAITED_TOO_MANY)
async def test_so_is_an_awaited_one(call: str, adb: dynamo_ext_async.PynamoDB, stub: Stub) -> None:
    with refused("Book", "range_key", "leave it out"):
        await AWAITED_TOO_MANY[call](adb)

    assert not stub.requests
    assert adb.pool.in_use == 0


@pytest.mark.parametrize("call", ONE_TOO_FEW)
def test_half_a_key_is_refused(call: str, db: PynamoDB, stub: Stub) -> None:
    with refused("Line", "range_key", "not given") as raised:
        ONE_TOO_FEW[call](db)

    assert "the range key 'number'" in str(raised.value)
    assert not stub.requests


@pytest.mark.anyio
@pytest.mark.parametrize("call", AWAITED_TOO_FEW)
async def test_so_is_half_an_awaited_one(
    call: str, adb: dynamo_ext_async.PynamoDB, stub: Stub
) -> None:
    with refused("Line", "range_key", "not given"):
        await AWAITED_TOO_FEW[call](adb)

    assert not stub.requests


@pytest.mark.parametrize("call", NO_HASH_KEY)
def test_no_hash_key_is_refused(call: str, db: PynamoDB, stub: Stub) -> None:
    with refused("(Book|Line)", "hash_key", "not given"):
        NO_HASH_KEY[call](db)

    assert not stub.requests


def test_a_hash_key_of_a_model_without_any_is_refused(db: PynamoDB, stub: Stub) -> None:
    with refused("NoKey", "hash_key", "leave it out"):
        NoKey.get("1")

    assert not stub.requests


def test_a_name_of_a_model_forges_no_line(db: PynamoDB) -> None:
    forged: t.Any = t.cast(t.Any, type(Book))("Boo\nk", (Book,), {})

    with pytest.raises(ValueError, match=r"Boo\\\\n") as raised:
        forged.get("1", "x")

    assert str(raised.value).isprintable()


def test_the_default_of_a_range_key_is_that_of_an_instance_alone(db: PynamoDB, stub: Stub) -> None:
    Member("1").delete()
    (request,) = stub.requests
    assert request.body["Key"] == {"pk": {"S": "1"}, "sk": {"S": "member"}}


def test_a_read_by_the_hash_key_alone_is_left_to_dynamodb(db: PynamoDB, stub: Stub) -> None:
    refusal = error(400, "ValidationException", "The provided key element does not match")
    stub.always("GetItem", refusal)

    with pytest.raises(GetError, match="does not match"):
        Member.get("1")

    (request,) = stub.requests
    assert request.body["Key"] == {"pk": {"S": "1"}}


def test_a_falsy_key_is_one(db: PynamoDB, stub: Stub) -> None:
    Line.get("a", 0)
    Line("a", 0).delete()
    # DynamoDB itself refuses an empty text.
    Line.get("", 0)
    assert stub.operations == ["GetItem", "DeleteItem", "GetItem"]


def keys_sent(stub: Stub) -> list[t.Any]:
    (request,) = stub.requests
    (part,) = request.body["RequestItems"].values()
    return t.cast("list[t.Any]", part["Keys"])


SAME_PAIRS: list[t.Any] = [
    ("a", 1),
    ["a", 1],
    {"page": "a", "number": 1},
    {"number": 1.0, "page": "a"},
    (each for each in ("a", 1)),
]


def test_a_pair_may_be_a_tuple_a_list_or_a_dictionary_of_names(db: PynamoDB, stub: Stub) -> None:
    lines = list(Line.batch_get([*SAME_PAIRS, ("b", 2)]))
    assert [(line.page, line.number) for line in lines] == [("a", 1), ("b", 2)]
    assert keys_sent(stub) == [
        {"p": {"S": "a"}, "n": {"N": "1"}},
        {"p": {"S": "b"}, "n": {"N": "2"}},
    ]


@pytest.mark.anyio
async def test_and_so_where_it_is_awaited(adb: dynamo_ext_async.PynamoDB, stub: Stub) -> None:
    lines = [line async for line in Line.abatch_get([["a", 1], {"page": "b", "number": 2}])]
    assert [(line.page, line.number) for line in lines] == [("a", 1), ("b", 2)]
    books = [book async for book in Book.abatch_get([{"isbn": "1"}])]
    assert [book.isbn for book in books] == ["1"]


def test_pairs_are_found_on_an_engine(in_app: InApp, config: dict[str, t.Any]) -> None:
    with in_app(config):
        Line.create_table(wait=True)

        with Line.batch_write() as batch:
            for number in range(3):
                batch.save(Line("a", number))

        found = Line.batch_get([["a", 0], {"page": "a", "number": 2}, ("a", 2.0)])
        assert sorted(line.number for line in found) == [0, 2]


def test_a_hash_key_may_be_in_a_dictionary(db: PynamoDB, stub: Stub) -> None:
    assert [book.isbn for book in Book.batch_get([{"isbn": "1"}, "1", "2"])] == ["1", "2"]


def test_a_hash_key_may_be_what_its_attribute_makes_a_text_of(db: PynamoDB, stub: Stub) -> None:
    list(Document.batch_get([("a", "b"), ["a", "b"], ("c",), 5, {"id": {"x": 1}}]))
    texts = [key["id"]["S"] for key in keys_sent(stub)]
    assert texts == ['["a", "b"]', '["c"]', "5", '{"x": 1}']


def test_binary_keys_are_compared_by_their_bytes(db: PynamoDB, stub: Stub) -> None:
    list(Blob.batch_get([b"a", bytearray(b"a"), b"b"]))
    assert len(keys_sent(stub)) == 2


class Text(str): ...


def by_itself(model: type[Model]) -> type[Model]:
    """The same model, but for a method that leaves nothing to be done in few steps."""

    @classmethod  # type: ignore[misc]
    def _serialize_keys(cls: t.Any, *keys: t.Any) -> t.Any:
        return super(kind, cls)._serialize_keys(*keys)

    namespace = {"Meta": model.Meta, "_serialize_keys": _serialize_keys}
    create: t.Any = type(model)
    kind: t.Any = create(model.__name__, (model,), namespace)
    return t.cast("type[Model]", kind)


MODELS: list[type[Model]] = [Book, Line, Member]
BY_ITSELF = {model: by_itself(model) for model in MODELS}
parts: st.SearchStrategy[t.Any] = st.one_of(
    st.sampled_from(["", "a", "b", Text("a"), "\ud800", b"a", None, [1]]),
    st.sampled_from([1, 1.0, 2, -0.0, 0, True, 10**30, 1e30, float("nan"), 10**5000]),
)
some_keys = st.lists(
    st.one_of(
        parts,
        st.tuples(parts, parts),
        st.tuples(parts),
        st.lists(parts, min_size=2, max_size=3),
        st.fixed_dictionaries({"page": parts, "number": parts}),
        st.fixed_dictionaries({"isbn": parts}),
    ),
    max_size=6,
)


@pytest.mark.once(reason="keys are serialised, and no call is sent")
@hypothesis.settings(max_examples=examples(200))
@hypothesis.given(st.sampled_from(MODELS), some_keys)
def test_usual_keys_are_serialised_as_all_others(model: type[Model], some: list[t.Any]) -> None:
    def outcome(model: type[Model]) -> t.Any:
        try:
            return keys.serialized_keys(model, some)
        except Exception as error:
            return type(error), error.args

    assert outcome(model) == outcome(BY_ITSELF[model])


@pytest.mark.once(reason="keys are serialised, and no call is sent")
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (UnicodeAttribute, "serialize"),
        (Attribute, "serialize"),
        (Line.page, "serialize"),
        (NumberAttribute, "serialize"),
    ],
    ids=["texts", "all", "one", "numbers"],
)
def test_a_patch_of_what_serialises_keys_counts(owner: t.Any, name: str) -> None:
    expected = keys.serialized_keys(Line, [("a", 1)])

    with mock.patch.object(owner, name, return_value="5", create=True):
        (patched,) = keys.serialized_keys(Line, [("a", 1)])
        assert {"5"} <= {value for typed in patched.values() for value in typed.values()}

    assert keys.serialized_keys(Line, [("a", 1)]) == expected


@pytest.mark.once(reason="keys are serialised, and no call is sent")
def test_patches_of_how_models_serialise_keys_count() -> None:
    for owner in (pynamodb.models.Model, Line):
        with mock.patch.object(owner, "_serialize_keys", return_value=("x", "7")):
            assert keys.serialized_keys(Line, [("a", 1)]) == ({"p": {"S": "x"}, "n": {"N": "7"}},)


@pytest.mark.once(reason="keys are serialised, and no call is sent")
def test_usual_keys_are_serialised_without_pynamodb() -> None:
    (key,) = keys.serialized_keys(Line, [("a", 1), ["a", 1]])
    assert usual_keys.serialized(Line, [("a", 1), ("a", 1)]) == (key,)
    assert usual_keys.serialized(Line, [("a", 1), ("a", 1.0)]) is None
    assert usual_keys.serialized(Book, ["b", "a", "b"]) == ({"i": {"S": "b"}}, {"i": {"S": "a"}})
    assert usual_keys.serialized(Book, ["b", Text("b")]) is None


def named(case: tuple[type[Model], t.Any, str]) -> str:
    model, key, _ = case
    # The order of a set is another one in each process.
    key = sorted(map(str, key)) if isinstance(key, cabc.Set) else key
    return f"{model.__name__}-{type(case[1]).__name__}-{key!r}"


WRONG_KEYS: list[tuple[type[Model], t.Any, str]] = [
    (Book, ("1", "x"), "the value of a hash key"),
    (Book, ["1", "x"], "the value of a hash key"),
    (Book, 5, "the value of a hash key"),
    (Book, None, "the value of a hash key"),
    (Book, {"hash": "1"}, "{'isbn': ...}"),
    (Book, {"i": "1"}, "{'isbn': ...}"),
    (Line, "a", "2 elements (hash key, range key)"),
    (Line, "ab", "2 elements (hash key, range key)"),
    (Line, b"ab", "2 elements (hash key, range key)"),
    (Line, ("a",), "2 elements (hash key, range key)"),
    (Line, ["a", 1, 2], "2 elements (hash key, range key)"),
    (Member, {"a", "b"}, "2 elements (hash key, range key)"),
    (Member, frozenset({"a", "b"}), "2 elements (hash key, range key)"),
    (Line, ("a", "not a number"), "2 elements (hash key, range key)"),
    (Line, ("a", [1]), "2 elements (hash key, range key)"),
    (Line, (1, 1), "2 elements (hash key, range key)"),
    (Line, {"page": "a"}, "{'page': ..., 'number': ...}"),
    (Line, {"hash": "a", "range": 1}, "{'page': ..., 'number': ...}"),
    (Line, {"page": "a", "number": 1, "text": "x"}, "{'page': ..., 'number': ...}"),
]


@pytest.mark.parametrize(("model", "key", "right"), WRONG_KEYS, ids=map(named, WRONG_KEYS))
def test_another_key_in_a_batch_is_refused(
    model: t.Any, key: t.Any, right: str, db: PynamoDB, stub: Stub
) -> None:
    good = {Book: "1", Line: ("a", 1), Member: ("a", "b")}[model]

    for get in (model.batch_get, model.abatch_get):
        with pytest.raises(
            ValueError, match=rf"Invalid key value .*'{model.__name__}' has"
        ) as raised:
            get([good, key])

        assert repr(key) in str(raised.value)
        assert right in str(raised.value)

    assert not stub.requests
