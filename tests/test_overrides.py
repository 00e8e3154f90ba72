"""A model's own methods are called, with the arguments that the caller gave and no others."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import inspect
import itertools
import threading
import typing as t
from unittest import mock

import pynamodb.indexes
import pynamodb.models
import pytest
import werkzeug.exceptions
from pynamodb.attributes import UnicodeAttribute
from pynamodb.indexes import AllProjection
from quart import Quart

import dynamo_ext
import engines
from dynamo_ext_async import Model
from dynamo_ext_async import PynamoDB
from stub import Answer
from stub import Stub

pytestmark = pytest.mark.anyio

# They call no server, so they have no twin.
LOCAL = {
    *("attribute_values", "deserialize", "from_dynamodb_dict", "from_json", "from_raw_data"),
    *("from_simple_dict", "get_attributes", "get_delete_kwargs_from_instance"),
    *("get_operation_kwargs_from_class", "get_save_kwargs_from_instance"),
    *("get_update_kwargs_from_instance", "serialize", "to_dynamodb_dict", "to_json"),
    *("to_json_dict", "to_simple_dict", "update_local_version_attribute"),
}
# Ours; they have no namesake in PynamoDB, or call another method.
OURS = {"aparallel_scan"}


def public_methods(kind: type) -> list[str]:
    return [
        name
        for name in dir(kind)
        if not name.startswith("_") and inspect.isroutine(getattr(kind, name, None))
    ]


METHODS = [name for name in public_methods(dynamo_ext.Model) if name not in LOCAL]
TWINS = [name for name in public_methods(Model) if name not in {*METHODS, *LOCAL, *OURS}]
METHODS_OF_INDEXES = public_methods(pynamodb.indexes.Index)

ITERATE = {"aquery", "ascan", "abatch_get"}


def test_every_method_has_a_twin() -> None:
    assert {f"a{name}" for name in METHODS} == set(TWINS)
    assert set(METHODS) >= {*public_methods(pynamodb.models.Model)} - LOCAL
    assert {"aquery", "ascan", "acount"} == {f"a{name}" for name in METHODS_OF_INDEXES}
    index = define(Model).by_id
    assert all(hasattr(index, f"a{name}") for name in METHODS_OF_INDEXES)


def test_what_is_local_is_known() -> None:
    assert {name for name in LOCAL if hasattr(pynamodb.models.Model, name)} >= {
        *public_methods(pynamodb.models.Model)
    } - {*METHODS}


class Shape(t.NamedTuple):
    """A signature that an override may have, and how it may be called."""

    name: str
    parameters: list[inspect.Parameter]
    calls: list[tuple[tuple[t.Any, ...], dict[str, t.Any]]]


POSITIONAL = inspect.Parameter.POSITIONAL_ONLY
EITHER = inspect.Parameter.POSITIONAL_OR_KEYWORD
KEYWORD = inspect.Parameter.KEYWORD_ONLY
ARGS = inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL)
KWARGS = inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)


def shapes(stock: t.Any) -> cabc.Iterator[Shape]:
    """The shapes that an override of a method may have.

    :param stock: The method that is overridden.
    """
    parameters = [*inspect.signature(stock).parameters.values()]
    either = [parameter.name for parameter in parameters if parameter.kind is EITHER]
    keyword = [parameter.name for parameter in parameters if parameter.kind is KEYWORD]
    values = tuple(f"the {name}" for name in either)
    by_name = dict(zip(either, values, strict=True))
    options = {name: f"the {name}" for name in keyword}
    mixed = [(values[:1], dict([*by_name.items()][1:])), (values[:-1], options)]

    def parameter(name: str, kind: t.Any = EITHER, default: t.Any = None) -> inspect.Parameter:
        return inspect.Parameter(name, kind, default=default)

    required = inspect.Parameter.empty
    own = [*map(parameter, either), *(parameter(name, KEYWORD) for name in keyword)]
    yield Shape("keywords", [KWARGS], [((), {}), ((), {**by_name, **options})])
    yield Shape(
        "anything",
        [ARGS, KWARGS],
        [((), {}), (values, {}), (values, options), ((), by_name), *mixed],
    )
    yield Shape("nothing", [], [((), {})])
    yield Shape("positional", [parameter(name, POSITIONAL) for name in either], [(values, {})])
    yield Shape(
        "an extra keyword",
        [*own, parameter("tenant", KEYWORD, required)],
        [((), {"tenant": 1}), (values, {**options, "tenant": 1}), ((), {**by_name, "tenant": 1})],
    )
    yield Shape(
        "an extra keyword with a default",
        [*own, parameter("tenant", KEYWORD, 7)],
        [((), {}), (values, {}), (values, {"tenant": 1}), ((), {**by_name, "tenant": None})],
    )
    yield Shape(
        "an extra parameter in front",
        [parameter("tenant", EITHER, required), *own],
        [((1, *values), options), ((), {"tenant": 1, **by_name})],
    )
    yield Shape(
        "other names",
        [parameter(f"my_{name}") for name in either],
        [(values, {}), ((), {f"my_{name}": value for name, value in by_name.items()})],
    )
    yield Shape(
        "another order",
        [parameter(name) for name in reversed(either)],
        [(values[::-1], {}), ((), by_name)],
    )
    yield Shape(
        "fewer parameters",
        [parameter(name) for name in either[:-1]],
        [((), {}), (values[:-1], {}), ((), dict([*by_name.items()][:-1]))],
    )
    yield Shape(
        "only keywords",
        [parameter(name, KEYWORD) for name in [*either, *keyword]],
        [((), {}), ((), {**by_name, **options})],
    )


class Recorder:
    """An override that notes what arrives, as a function with a signature would get it."""

    def __init__(self, shape: Shape, result: t.Any) -> None:
        self.arrived: list[t.Any] = []
        self.threads: list[int] = []
        self._signature = inspect.Signature(shape.parameters)
        self._result = result

    def method(self) -> t.Any:
        def override(owner: t.Any, /, *args: t.Any, **kwargs: t.Any) -> t.Any:
            self._signature.bind(*args, **kwargs)
            self.arrived.append((args, kwargs))
            self.threads.append(threading.get_ident())
            return self._result

        return override


class Index(pynamodb.indexes.GlobalSecondaryIndex[t.Any]):
    class Meta:
        index_name = "by_id"
        projection = AllProjection()

    id = UnicodeAttribute(hash_key=True)


def define(*bases: t.Any, index: type[t.Any] = Index, **members: t.Any) -> t.Any:
    """Make a model."""
    namespace = {
        "__module__": __name__,
        "Meta": type("Meta", (), {"table_name": "things"}),
        "id": UnicodeAttribute(hash_key=True),
        "by_id": index(),
        **members,
    }
    return type(bases[0])("Thing", bases, namespace)


def as_declared(stock: t.Any, function: t.Any) -> t.Any:
    """A function as a class method, where the method that it overrides is one."""
    return classmethod(function) if isinstance(stock, classmethod) else function


def in_class(name: str, function: t.Any) -> t.Any:
    stock = inspect.getattr_static(dynamo_ext.Model, name)
    return define(Model, **{name: as_declared(stock, function)})


class ABatch:
    """What an override of ``batch_write`` may return."""

    def __init__(self) -> None:
        self.done: list[t.Any] = []

    def __enter__(self) -> t.Self:
        self.done.append("enter")
        return self

    def __exit__(self, *_: object) -> None:
        self.done.append("exit")

    def save(self, item: t.Any) -> None:
        self.done.append(item)

    def delete(self, item: t.Any) -> None:
        self.done.append(item)

    def commit(self) -> None:
        self.done.append("commit")


@pytest.fixture
async def context(anyio_backend: object) -> cabc.AsyncIterator[None]:
    app = Quart(__name__)
    # No server: whatever is sent fails.
    app.config.from_mapping(engines.config("http://127.0.0.1:1"), DYNAMODB_BLOCKING_CALLS="raise")
    PynamoDB(app)

    async with app.app_context():
        yield


async def outcome(twin: str, returned: t.Any) -> t.Any:
    """What the caller of a twin gets in the end."""
    if twin in ITERATE:
        return [item async for item in returned]

    if twin == "abatch_write":
        async with returned as batch:
            await batch.save("item")
            await batch.delete("other")
            await batch.commit()

        return returned._batch

    return await returned


def result_for(twin: str) -> t.Any:
    if twin in ITERATE:
        return ["one", "two"]

    return ABatch() if twin == "abatch_write" else object()


def is_of_class(name: str) -> bool:
    return isinstance(inspect.getattr_static(dynamo_ext.Model, name), classmethod)


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize("twin", TWINS)
async def test_a_twin_calls_the_override_of_a_model(twin: str) -> None:
    name = twin.removeprefix("a")
    checked = 0

    for shape in shapes(getattr(dynamo_ext.Model, name) if is_of_class(name) else bound(name)):
        for args, kwargs in shape.calls:
            result = result_for(twin)
            recorder = Recorder(shape, result)
            model = in_class(name, recorder.method())
            owner = model if is_of_class(name) else model("x")
            got = await outcome(twin, getattr(owner, twin)(*args, **kwargs))
            assert recorder.arrived == [(args, kwargs)], shape.name
            assert got == result
            assert twin in ITERATE or got is result
            # "abatch_write" creates a batch, and calls nothing.
            assert twin == "abatch_write" or threading.get_ident() not in recorder.threads
            checked += 1

    assert checked > 15


def bound(name: str) -> t.Any:
    return getattr(define(Model)("x"), name)


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize("name", METHODS)
def test_a_method_calls_the_override_of_a_model(name: str) -> None:
    stock = getattr(dynamo_ext.Model, name) if is_of_class(name) else bound(name)

    for shape in shapes(stock):
        for args, kwargs in shape.calls:
            recorder = Recorder(shape, result := object())
            model = in_class(name, recorder.method())
            owner = model if is_of_class(name) else model("x")
            assert getattr(owner, name)(*args, **kwargs) is result
            assert recorder.arrived == [(args, kwargs)]


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize("name", METHODS_OF_INDEXES)
async def test_a_twin_calls_the_override_of_an_index(name: str) -> None:
    twin = f"a{name}"

    for shape in shapes(getattr(Index(), name)):
        for args, kwargs in shape.calls:
            result = result_for(twin)
            recorder = Recorder(shape, result)
            index = type("Own", (Index,), {name: recorder.method()})
            by_id = define(Model, index=index).by_id
            assert await outcome(twin, getattr(by_id, twin)(*args, **kwargs)) == result
            assert recorder.arrived == [(args, kwargs)], shape.name
            assert getattr(by_id, name)(*args, **kwargs) is result
            assert recorder.arrived == [(args, kwargs)] * 2


ANYTHING = Shape("anything", [ARGS, KWARGS], [])


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize("twin", TWINS)
async def test_wherever_the_override_is(twin: str) -> None:
    name = twin.removeprefix("a")
    stock = inspect.getattr_static(dynamo_ext.Model, name)
    result = result_for(twin)
    recorder = Recorder(ANYTHING, result)
    method = as_declared(stock, recorder.method())
    mixin = type("Mixin", (), {name: method})
    base = define(pynamodb.models.Model, **{name: method})
    parent = define(Model, **{name: method})
    plain = define(Model)

    create: t.Any = type(Model)
    every_bases = (mixin, plain), (Model, base), (parent,)

    for number, bases in enumerate(every_bases, start=1):
        model = create("Thing", bases, {})
        owner = model if is_of_class(name) else model("x")
        assert await outcome(twin, getattr(owner, twin)("given")) == result
        assert recorder.arrived == [(("given",), {})] * number

    recorder.arrived.clear()

    with mock.patch.object(plain, name, method):
        owner = plain if is_of_class(name) else plain("x")
        assert await outcome(twin, getattr(owner, twin)("given")) == result
        assert recorder.arrived == [(("given",), {})]


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize("overridden", ["get", "aget", "get_or_404"])
async def test_404_comes_with_what_the_caller_gave(overridden: str) -> None:
    for shape in shapes(dynamo_ext.Model.get):
        for args, kwargs in shape.calls:
            recorder = Recorder(shape, result := object())
            method = recorder.method()

            if overridden == "aget":
                method = awaitable(method)

            members: dict[str, t.Any] = {overridden: classmethod(method)}
            model = define(Model, **members)
            assert await model.aget_or_404(*args, **kwargs) is result
            assert recorder.arrived == [(args, kwargs)]

            if overridden == "get":
                assert model.get_or_404(*args, **kwargs, message="none") is result
                assert recorder.arrived == [(args, kwargs)] * 2


def awaitable(method: cabc.Callable[..., t.Any]) -> cabc.Callable[..., t.Any]:
    async def call(*args: t.Any, **kwargs: t.Any) -> t.Any:
        return method(*args, **kwargs)

    return call


@pytest.mark.usefixtures("context")
async def test_404_is_raised_for_what_an_override_does_not_find() -> None:
    class Thing(Model):
        class Meta:
            table_name = "things"

        id = UnicodeAttribute(hash_key=True)

        if not t.TYPE_CHECKING:

            @classmethod
            def get(cls, hash_key):
                raise cls.DoesNotExist

    with pytest.raises(werkzeug.exceptions.NotFound, match="no such thing"):
        await Thing.aget_or_404("x", message="no such thing")

    with pytest.raises(werkzeug.exceptions.NotFound, match="no such thing"):
        Thing.get_or_404("x", message="no such thing")


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize("name", ["scan", "first_or_404"])
async def test_the_first_item_is_that_of_the_model_s_own_scan(name: str) -> None:
    shape = Shape("nothing", [], [((), {})])
    result = ["first", "second"] if name == "scan" else "first"
    recorder = Recorder(shape, result)
    model = in_class(name, recorder.method())
    assert await model.afirst_or_404() == "first"
    assert model.first_or_404() == "first"
    assert recorder.arrived == [((), {})] * 2


@pytest.mark.usefixtures("context")
async def test_a_parallel_scan_calls_the_model_s_own_scan() -> None:
    recorder = Recorder(ANYTHING, ["one", "two"])
    model = in_class("scan", recorder.method())
    both = {"total_segments": 2}
    items = [item async for item in model.aparallel_scan(2)]
    assert items == ["one", "two"] * 2
    assert sorted(recorder.arrived, key=str) == [((), {"segment": n, **both}) for n in range(2)]

    recorder.arrived.clear()
    scan = model.aparallel_scan(2, "condition", 3, tenant=1)
    assert len([item async for item in scan]) == 3
    given = {**both, "filter_condition": "condition", "tenant": 1}
    assert sorted(recorder.arrived, key=str) == [((), {"segment": n, **given}) for n in range(2)]
    assert threading.get_ident() not in recorder.threads

    with pytest.raises(TypeError, match="multiple values for argument 'total_segments'"):
        model.aparallel_scan(2, total_segments=2)

    with pytest.raises(TypeError, match="missing 1 required argument: 'total_segments'"):
        model.aparallel_scan()

    with pytest.raises(TypeError, match="takes at most 7 arguments"):
        model.aparallel_scan(*range(8))


@pytest.mark.usefixtures("context")
async def test_the_twin_of_an_index_calls_the_override_of_its_model() -> None:
    for name in METHODS_OF_INDEXES:
        twin = f"a{name}"
        result = result_for(twin)
        recorder = Recorder(ANYTHING, result)
        model = in_class(name, recorder.method())
        assert await outcome(twin, getattr(model.by_id, twin)("x")) == result
        assert getattr(model.by_id, name)("x") is result
        # PynamoDB's index passes on what it takes: the model gets the same from both.
        assert recorder.threads[0] != recorder.threads[1] == threading.get_ident()
        awaited, direct = recorder.arrived
        assert awaited == direct
        assert awaited[1]["index_name"] == "by_id"


PAGE = {"Items": [{"id": {"S": "a"}}, {"id": {"S": "b"}}], "Count": 2, "ScannedCount": 2}
KEY = {"id": {"S": "b"}}


@pytest.fixture
async def stub_app(
    stub: Stub, stub_config: dict[str, t.Any], anyio_backend: object
) -> cabc.AsyncIterator[PynamoDB]:
    app = Quart(__name__)
    app.config.from_mapping(stub_config, DYNAMODB_BLOCKING_CALLS="raise")
    db = PynamoDB(app)

    async with app.app_context():
        yield db


def with_super(query: t.Any) -> t.Any:
    """A model whose query and scan are overridden with ``super()``."""

    class Thing(Model):
        class Meta:
            table_name = "things"

        id = UnicodeAttribute(hash_key=True)

        if not t.TYPE_CHECKING:

            @classmethod
            def query(cls, *args, **kwargs):
                return query(super().query, *args, **kwargs)

    return Thing


def as_list(query: t.Any, *args: t.Any, **kwargs: t.Any) -> t.Any:
    return list(query(*args, **kwargs))


def as_tuple(query: t.Any, *args: t.Any, **kwargs: t.Any) -> t.Any:
    return tuple(query(*args, **kwargs))


def lazily(query: t.Any, *args: t.Any, **kwargs: t.Any) -> t.Any:
    yield from query(*args, **kwargs)


def behind_the_first_item(query: t.Any, *args: t.Any, **kwargs: t.Any) -> t.Any:
    result = query(*args, **kwargs)
    return itertools.chain([next(result)], result)


def as_it_is(query: t.Any, *args: t.Any, **kwargs: t.Any) -> t.Any:
    return query(*args, **kwargs)


def after_a_call(query: t.Any, *args: t.Any, **kwargs: t.Any) -> t.Any:
    list(query("other"))
    return query(*args, **kwargs)


@pytest.mark.usefixtures("stub_app")
@pytest.mark.parametrize(
    "query", [as_list, as_tuple, lazily, behind_the_first_item, as_it_is, after_a_call]
)
async def test_whatever_an_override_returns_is_iterated_in_workers(
    query: t.Any, stub: Stub
) -> None:
    stub.next(
        "Query",
        *([Answer(body=PAGE)] if query is after_a_call else []),
        Answer(body={**PAGE, "LastEvaluatedKey": KEY}),
        Answer(body=PAGE),
    )
    result = with_super(query).aquery("x")
    assert [item.id async for item in result] == ["a", "b", "a", "b"]
    assert [item async for item in result] == []
    assert len(stub.requests) == (3 if query is after_a_call else 2)


@pytest.mark.usefixtures("stub_app")
async def test_a_result_of_pynamodb_s_keeps_its_properties(stub: Stub) -> None:
    def limited(query: t.Any, *args: t.Any, **kwargs: t.Any) -> t.Any:
        return query(*args, **kwargs, limit=1)

    stub.always("Query", Answer(body=PAGE))
    result = with_super(limited).aquery("x")
    assert result.total_count == 0
    assert [item.id async for item in result] == ["a"]
    assert result.last_evaluated_key == {"id": {"S": "a"}}
    assert result.total_count == 2
    assert result.page_iter.page_size == 1
    assert len(stub.requests) == 1


@pytest.mark.usefixtures("stub_app")
async def test_an_override_that_asks_for_no_items_sends_nothing(stub: Stub) -> None:
    def limited(query: t.Any, *args: t.Any, **kwargs: t.Any) -> t.Any:
        return query(*args, **kwargs, limit=0)

    assert [item async for item in with_super(limited).aquery("x")] == []
    result = with_super(limited).aquery("x")
    assert result.last_evaluated_key is None
    assert [item async for item in result] == []
    assert stub.requests == []


@pytest.mark.usefixtures("stub_app")
async def test_errors_of_an_override_are_raised() -> None:
    def refuse(*_: object) -> t.Any:
        raise ValueError("not like that")

    with pytest.raises(ValueError, match="not like that"):
        await anext(with_super(refuse).aquery("x"))


@pytest.mark.usefixtures("stub_app")
async def test_an_override_that_decodes_itself(stub: Stub) -> None:
    """An override may give PynamoDB's result another function that makes items."""

    def decoded(query: t.Any, *args: t.Any, **kwargs: t.Any) -> t.Any:
        result = query(*args, **kwargs)
        result._map_fn = lambda item: item["id"]["S"]
        return result

    stub.always("Query", Answer(body=PAGE))
    assert [item async for item in with_super(decoded).aquery("x")] == ["a", "b"]


async def test_overridden_calls_on_which_others_depend(stub: Stub, stub_app: PynamoDB) -> None:
    """PynamoDB's methods call each other on the model, and so do the twins."""
    seen: list[t.Any] = []

    class Thing(Model):
        class Meta:
            table_name = "things"

        id = UnicodeAttribute(hash_key=True)

        if not t.TYPE_CHECKING:

            @classmethod
            def exists(cls):
                seen.append("exists")
                return True

            @classmethod
            def update_ttl(cls, ignore):
                seen.append(("update_ttl", ignore))

            @classmethod
            def describe_table(cls):
                seen.append("describe_table")
                return {"ItemCount": 7}

            @classmethod
            def query(cls):
                raise NotImplementedError

    await Thing.acreate_table(ignore_update_ttl_errors=True)
    Thing.create_table()
    assert seen == ["exists", ("update_ttl", True), "exists", ("update_ttl", False)]
    assert await Thing.acount() == Thing.count() == 7
    stub.always("Query", Answer(body={"Count": 3, "ScannedCount": 3}))
    # PynamoDB's count does not call the model's query.
    assert await Thing.acount("x") == await stub_app.run_sync(Thing.count, "x") == 3
    assert await Thing.acount("x", limit=0) == Thing.count("x", limit=0) == 0
    assert len(stub.requests) == 2


@pytest.mark.usefixtures("stub_app")
async def test_a_batch_of_the_app_s_own() -> None:
    @contextlib.contextmanager
    def managed(_: object, **options: t.Any) -> t.Any:
        log.append(options)

        try:
            yield ABatch()
        finally:
            log.append("left")

    log: list[t.Any] = []
    model = in_class("batch_write", managed)

    async with model.abatch_write(auto_commit=False) as batch:
        await batch.save("item")

    assert log == [{"auto_commit": False}, "left"]

    with pytest.raises(KeyError):
        async with model.abatch_write() as batch:
            raise KeyError

    assert log[2:] == [{}, "left"]


@pytest.mark.usefixtures("stub_app")
async def test_a_batch_of_pynamodb_s_own(stub: Stub) -> None:
    model = in_class(
        "batch_write", lambda cls, **options: pynamodb.models.BatchWrite(cls, **options)
    )

    async with model.abatch_write() as batch:
        await batch.save(model("x"))
        assert len(batch.pending_operations) == 1
        assert batch.failed_operations == []

    assert [request.operation for request in stub.requests] == ["BatchWriteItem"]


@pytest.mark.usefixtures("stub_app")
async def test_page_iter_is_pynamodb_s_awaitable(stub: Stub) -> None:
    model = define(Model)
    stub.next("Query", Answer(body={**PAGE, "LastEvaluatedKey": KEY}), Answer(body=PAGE))
    result = model.aquery("x", page_size=2)
    pages = result.page_iter
    assert (pages.page_size, pages.last_evaluated_key) == (2, None)
    pages.page_size = 1
    assert [(await anext(result)).id, (await anext(result)).id] == ["a", "b"]
    assert pages.last_evaluated_key == KEY
    assert [*pages.key_names] == ["id"]
    assert pages.total_scanned_count == 2
    assert [page["Items"] async for page in pages] == [PAGE["Items"]]
    assert pages.last_evaluated_key is None
    assert pages.total_scanned_count == 4
    assert [item async for item in result] == []
    assert [request.body["Limit"] for request in stub.requests] == [1, 1]


@pytest.mark.usefixtures("stub_app")
async def test_pages_of_an_override() -> None:
    result = with_super(as_list).aquery("x")
    lazy = with_super(as_it_is).aquery("x", page_size=5)
    assert lazy.page_iter.page_size == 5

    with pytest.raises(RuntimeError, match="blocks the event loop"):
        _ = result.page_iter
