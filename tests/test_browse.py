"""The page to look at data, as the clients of both frameworks see it."""

from __future__ import annotations

import asyncio
import base64
import collections.abc as cabc
import concurrent.futures
import html.parser
import json
import logging
import re
import typing as t
import urllib.parse

import flask
import pytest
import quart
from pynamodb.attributes import BinaryAttribute
from pynamodb.attributes import ListAttribute
from pynamodb.attributes import MapAttribute
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import NumberSetAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.attributes import VersionAttribute
from pynamodb.indexes import AllProjection
from pynamodb.indexes import GlobalSecondaryIndex
from urllib3.filepost import encode_multipart_formdata

import dynamo_ext
import dynamo_ext.web.browse
import dynamo_ext_async
import dynamo_ext_async.web.browse
from dynamo_ext.browsing import editing
from dynamo_ext.browsing import shown
from dynamo_ext_async import Model
from stub import Answer
from stub import Stub
from stub import error
from stub import held

pytestmark = pytest.mark.once(reason="pages are made above the transport")

SECRET = "a secret of the tests"
HOSTILE = "<script>alert(1)</script>\"><img src=x onerror=alert(1)>'{{ 70007 * 7 }}\0\u202egnp.exe"
BIG = "1234567890123456789012345678.9012345678"
PREFIX = "/dynamodb/"


class ByColour(GlobalSecondaryIndex["Note"]):
    class Meta:
        index_name = "by-colour"
        projection = AllProjection()

    colour = UnicodeAttribute(hash_key=True)
    rank = NumberAttribute(range_key=True)


class Note(Model):
    class Meta:
        table_name = "browsed-notes"

    book = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(range_key=True)
    text = UnicodeAttribute(null=True)
    colour = UnicodeAttribute(null=True)
    rank = NumberAttribute(null=True)
    version = VersionAttribute()
    by_colour = ByColour()


class Everything(Model):
    class Meta:
        table_name = "browsed-everything"

    id = BinaryAttribute(hash_key=True, legacy_encoding=False)
    numbers: NumberSetAttribute = NumberSetAttribute(null=True)
    list: ListAttribute[t.Any] = ListAttribute(null=True)
    map: MapAttribute[str, t.Any] = MapAttribute(null=True)


class InEurope(Model):
    class Meta:
        table_name = "browsed-in-europe"
        bind_key = "eu"

    id = UnicodeAttribute(hash_key=True)


class NeverCreated(Model):
    class Meta:
        table_name = "browsed-never"

    id = UnicodeAttribute(hash_key=True)


class Parsed(html.parser.HTMLParser):
    """A page as text, links and forms.

    :param text: Its HTML.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.links: dict[str, str] = {}
        self.forms: dict[str, dict[str, str]] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._form: dict[str, str] = {}
        self._link: str | None = None
        self._textarea: str | None = None
        self.feed(text)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def form(self, part: str) -> tuple[str, dict[str, str]]:
        """The URL and the fields of the form whose URL holds a text."""
        return next((url, {**form}) for url, form in self.forms.items() if part in url)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))

        if tag == "form":
            self._form = self.forms.setdefault(str(found["action"]), {})
        elif tag == "input" and found.get("name"):
            self._form[str(found["name"])] = found.get("value") or ""
        elif tag == "textarea":
            self._textarea = str(found["name"])
        elif tag == "a":
            self._link = found["href"]

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self._textarea = None
        elif tag == "a":
            self._link = None

    def handle_data(self, data: str) -> None:
        if self._textarea is not None:
            # HTML takes a line break at its beginning for the source's.
            self._form[self._textarea] = data.removeprefix("\n")
        elif self._link is not None and data.strip():
            self.links.setdefault(data.strip(), self._link)

        self.words.append(data)


class Answered:
    """An answer: its status, headers and content."""

    def __init__(self, status: int, headers: t.Any, text: str) -> None:
        self.status = status
        self.headers = headers
        self.html = text
        self.page = Parsed(text)


class Visitor:
    """A browser that keeps cookies, for a Flask app or a Quart app.

    :param app: The app.
    :param base_url: Below which URL.
    """

    def __init__(self, app: flask.Flask | quart.Quart, runner: asyncio.Runner) -> None:
        self.app = app
        self._client: t.Any = app.test_client()
        self._runner = runner

    def get(self, url: str = PREFIX, **options: t.Any) -> Answered:
        return self._open("GET", url, **options)

    def post(self, url: str, form: cabc.Mapping[str, str], **options: t.Any) -> Answered:
        key = "data" if isinstance(self.app, flask.Flask) else "form"
        return self._open("POST", url, **{key: form}, **options)

    def submit(self, answered: Answered, part: str, **changes: str) -> Answered:
        """Send a form of a page, and follow where it leads."""
        url, form = answered.page.form(part)
        sent = self.post(url, {**form, **changes})
        return self.get(sent.headers["Location"]) if sent.status == 303 else sent

    def _open(self, method: str, url: str, **options: t.Any) -> Answered:
        if isinstance(self.app, flask.Flask):
            response = self._client.open(url, method=method, **options)
            return Answered(response.status_code, response.headers, response.get_data(as_text=True))

        return self._runner.run(self._open_in_quart(method, url, **options))

    async def _open_in_quart(self, method: str, url: str, **options: t.Any) -> Answered:
        response = await self._client.open(url, method=method, **options)
        text = await response.get_data(as_text=True)
        return Answered(response.status_code, response.headers, text)


Make = cabc.Callable[..., Visitor]
FRAMEWORKS = {
    "flask": (flask.Flask, dynamo_ext.PynamoDB, dynamo_ext.web.browse.blueprint),
    "quart": (quart.Quart, dynamo_ext_async.PynamoDB, dynamo_ext_async.web.browse.blueprint),
}


@pytest.fixture
def runner() -> cabc.Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


_PLACES = [("flask", "embedded"), ("flask", "dynoxide"), ("quart", "embedded")]
flask_alone = pytest.mark.parametrize("framework", ["flask"], indirect=True)
"""For what the frameworks have in common, where another test shows that both of them have it."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Flask on each engine, Quart on one: an engine does not know which framework asks."""
    names = {"framework", "engine"} & {*metafunc.fixturenames}
    chosen = {mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")}

    if any("framework" in names for names in chosen):
        return

    if names == {"framework", "engine"}:
        metafunc.parametrize(("framework", "engine"), _PLACES, indirect=True)
    elif names == {"framework"}:
        metafunc.parametrize("framework", list(FRAMEWORKS), indirect=True)


@pytest.fixture
def framework(request: pytest.FixtureRequest) -> str:
    return t.cast(str, request.param)


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    """The URL of an engine: the embedded one, where the test does not say which."""
    return t.cast(str, request.getfixturevalue(getattr(request, "param", "embedded")))


@pytest.fixture
def make(framework: str, runner: asyncio.Runner) -> Make:
    def make(
        config: cabc.Mapping[str, t.Any],
        *,
        debug: bool = True,
        guard: t.Any = None,
        **options: t.Any,
    ) -> Visitor:
        kind, extension, blueprint = FRAMEWORKS[framework]
        app: t.Any = kind("tests")
        app.config.from_mapping({"SECRET_KEY": SECRET, **config})
        app.debug = debug
        extension(app)
        app.register_blueprint(t.cast(t.Any, blueprint)(guard=guard, **options))
        return Visitor(app, runner)

    return make


@pytest.fixture
def binds(config: dict[str, t.Any]) -> dict[str, t.Any]:
    return {
        **config,
        "DYNAMODB_BINDS": {
            "eu": {"TABLE_NAME_PREFIX": "eu-" + config["DYNAMODB_TABLE_NAME_PREFIX"]}
        },
    }


@pytest.fixture
def visitor(make: Make, embedded_config: dict[str, t.Any]) -> Visitor:
    return make(embedded_config)


Fill = cabc.Callable[[cabc.Mapping[str, t.Any]], t.ContextManager[t.Any]]


def create(config: cabc.Mapping[str, t.Any], *models: type[Model]) -> flask.Flask:
    """Create tables. Another app with the same settings fills them."""
    app = flask.Flask("filling")
    app.config.from_mapping(config)
    dynamo_ext_async.PynamoDB(app)

    with app.app_context():
        for model in models:
            model.create_table(wait=True)

    return app


def url_of(model: type[Model], page: str = "", **args: str) -> str:
    query = f"?{urllib.parse.urlencode(args)}" if args else ""
    return f"{PREFIX}{urllib.parse.quote(f'{model.__module__}.{model.__qualname__}')}/{page}{query}"


def url_of_note(book: str, number: int | str, page: str = "item") -> str:
    return url_of(Note, page, key=json.dumps({"book": {"S": book}, "number": {"N": str(number)}}))


class TestAccess:
    def test_outside_debug_it_is_refused_and_says_what_to_do(
        self,
        make: Make,
        stub: Stub,
        stub_config: dict[str, t.Any],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        visitor = make(stub_config, debug=False)

        for url in (PREFIX, url_of(Note), f"{PREFIX}style.css", url_of_note("a", 1)):
            answered = visitor.get(url)
            assert answered.status == 403
            assert "guard" in answered.html
            assert "browsed" not in answered.html

        assert visitor.post(url_of(Note, "new"), {}).status == 403
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert stub.operations == []

    def test_debug_may_be_switched_after_it_was_registered(
        self, make: Make, stub_config: dict[str, t.Any]
    ) -> None:
        visitor = make(stub_config, debug=False)
        visitor.app.debug = True
        assert visitor.get(f"{PREFIX}style.css").status == 200

    @pytest.mark.parametrize(
        ("host", "status"),
        [
            ("localhost:5000", 200),
            ("app.localhost", 200),
            ("127.0.0.1:5000", 200),
            ("192.168.1.7", 200),
            ("[::1]:5000", 200),
            ("web", 200),
            ("rebound.example", 403),
            ("127.0.0.1.example:5000", 403),
            ("localhost.example", 403),
        ],
    )
    @flask_alone
    def test_without_a_guard_no_name_of_another_site_leads_to_it(
        self, make: Make, stub_config: dict[str, t.Any], host: str, status: int
    ) -> None:
        assert make(stub_config).get(f"{PREFIX}style.css", headers={"Host": host}).status == status

    @pytest.mark.parametrize("debug", [True, False])
    @pytest.mark.parametrize(
        ("given", "status"), [(True, 200), ("ann", 200), (False, 403), (None, 403)]
    )
    @flask_alone
    def test_guard_decides_whatever_debug_says(
        self, make: Make, stub_config: dict[str, t.Any], debug: bool, given: object, status: int
    ) -> None:
        visitor = make(stub_config, debug=debug, guard=lambda: given)
        host = {"Host": "admin.example"}
        assert visitor.get(f"{PREFIX}style.css", headers=host).status == status

    def test_guard_sees_the_request_and_may_answer_or_abort(
        self, make: Make, framework: str, stub_config: dict[str, t.Any]
    ) -> None:
        package = flask if framework == "flask" else quart

        def guard() -> t.Any:
            match package.request.args.get("as"):
                case "admin":
                    return True
                case "guest":
                    return package.redirect("/login")
                case "nobody":
                    return "go away", 401
                case _:
                    package.abort(404)

        visitor = make(stub_config, guard=guard)
        answers = [
            visitor.get(f"{PREFIX}style.css?as={who}") for who in ("admin", "guest", "nobody", "x")
        ]
        assert [answered.status for answered in answers] == [200, 302, 401, 404]
        assert answers[2].html == "go away"

    def test_coroutine_function_never_lets_everybody_in(
        self, make: Make, framework: str, stub_config: dict[str, t.Any]
    ) -> None:
        class Guard:
            async def __call__(self) -> bool:
                return False

        visitor = make(stub_config, guard=Guard())
        visitor.app.testing = True

        if framework == "quart":
            assert visitor.get().status == 403
        else:
            with pytest.raises(TypeError, match="must be awaited"):
                visitor.get()

    def test_coroutine_function_is_a_guard_in_quart(
        self, runner: asyncio.Runner, stub_config: dict[str, t.Any]
    ) -> None:
        async def guard() -> bool:
            return quart.request.args.get("as") == "admin"

        app = quart.Quart("tests")
        app.config.from_mapping(stub_config, SECRET_KEY=SECRET)
        dynamo_ext_async.PynamoDB(app)
        app.register_blueprint(dynamo_ext_async.web.browse.blueprint(guard=guard))
        visitor = Visitor(app, runner)
        assert visitor.get(f"{PREFIX}style.css?as=admin").status == 200
        assert visitor.get(f"{PREFIX}style.css").status == 403

    @pytest.mark.once(reason="it is about arguments")
    def test_guard_that_is_no_function_is_refused(self, framework: str) -> None:
        with pytest.raises(TypeError, match="'guard' must be a function"):
            t.cast(t.Any, FRAMEWORKS[framework][2])(guard="admin")

    def test_headers_forbid_scripts_frames_and_caches(self, visitor: Visitor) -> None:
        for answered in (
            visitor.get(),
            visitor.get(f"{PREFIX}nothing/"),
            visitor.get(f"{PREFIX}style.css"),
        ):
            policy = answered.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "script" not in policy
            assert answered.headers["X-Content-Type-Options"] == "nosniff"
            assert answered.headers["Cache-Control"] == "no-store"

    def test_without_secret_key_it_says_so(self, make: Make, stub_config: dict[str, t.Any]) -> None:
        answered = make({**stub_config, "SECRET_KEY": None}).get()
        assert answered.status == 500
        assert "'SECRET_KEY' is not set: the forms" in answered.page.text

    def test_app_without_the_extension_is_told_so(
        self, framework: str, runner: asyncio.Runner
    ) -> None:
        kind, _, blueprint = FRAMEWORKS[framework]
        app: t.Any = kind("tests")
        app.config["SECRET_KEY"] = SECRET
        app.debug = True
        app.register_blueprint(t.cast(t.Any, blueprint)())
        answered = Visitor(app, runner).get()
        assert answered.status == 500
        assert "Did you forget to call 'db.init_app(app)'?" in answered.page.text


class TestModels:
    def test_models_tables_counts_and_states_are_listed(
        self, make: Make, framework: str, config: dict[str, t.Any]
    ) -> None:
        app = create(config, Note)

        with app.app_context():
            for number in range(3):
                Note("a", number).save()

        visitor = make({**config, "DYNAMODB_BINDS": {"eu": {}}})
        text = visitor.get().page.text
        table = config["DYNAMODB_TABLE_NAME_PREFIX"] + "browsed-notes"
        assert re.search(rf"test_browse\.Note {table} us-east-1, 127\.0\.0\.1:\d+ ACTIVE 3 ", text)
        assert f"missing. Create it: {framework} dynamodb create-tables browsed-never" in text

    def test_model_without_its_bind_is_explained_and_the_others_are_shown(
        self, make: Make, embedded_config: dict[str, t.Any]
    ) -> None:
        create(embedded_config, Note)
        visitor = make(embedded_config)
        answered = visitor.get()
        assert answered.status == 200
        assert "ACTIVE" in answered.page.text
        assert "'InEurope.Meta.bind_key' is 'eu'" in answered.page.text
        assert visitor.get(url_of(InEurope)).status == 502
        assert embedded_config["DYNAMODB_AWS_SECRET_ACCESS_KEY"] not in answered.html

    @flask_alone
    def test_model_whose_meta_raises_is_explained_and_the_others_are_shown(
        self, make: Make, embedded_config: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(meta: object) -> t.NoReturn:
            raise ZeroDivisionError

        create(embedded_config, Note)
        failing = type("Failing", (), {"table_name": "fails", "region": property(fail)})()
        monkeypatch.setattr(NeverCreated, "Meta", failing)
        text = make(embedded_config).get().page.text
        assert "raises 'ZeroDivisionError'." in text
        assert "ACTIVE" in text

    @flask_alone
    def test_tables_are_described_at_once_and_a_shared_one_only_once(
        self, make: Make, stub: Stub, stub_config: dict[str, t.Any]
    ) -> None:
        class SameTable(Note):
            class Meta:
                table_name = Note.Meta.table_name

        missing = error(400, "ResourceNotFoundException")
        stub.always("DescribeTable", held(missing))
        visitor = make(stub_config)

        with concurrent.futures.ThreadPoolExecutor() as threads:
            answered = threads.submit(visitor.get)

            try:
                stub.wait_for(lambda: stub.holding >= 2)
            finally:
                stub.always("DescribeTable", missing)
                stub.release()

            text = answered.result().page.text

        assert f"{SameTable.__qualname__} " in text
        named = [request.body["TableName"] for request in stub.requests]
        assert len(named) == len({*named})

    def test_unreachable_engine_is_explained(
        self, make: Make, stub: Stub, stub_config: dict[str, t.Any]
    ) -> None:
        stub.always("DescribeTable", error(400, "AccessDeniedException", "<b>no</b>"))
        answered = make(stub_config).get()
        assert "<b>no</b>" in answered.page.text
        assert "<b>" not in answered.html

    @pytest.mark.parametrize("name", ["nothing", "test_browse.Nobody", "../x", "%3Cscript%3E"])
    @flask_alone
    def test_unknown_model_is_not_found(self, visitor: Visitor, name: str) -> None:
        assert visitor.get(f"{PREFIX}{name}/").status == 404

    def test_each_bind_shows_its_own_tables(self, make: Make, binds: dict[str, t.Any]) -> None:
        app = create(binds, Note, InEurope)
        visitor = make(binds)

        with app.app_context(), app.extensions["pynamodb"].using("eu"):
            Note.create_table(wait=True)
            Note("of Europe", 1).save()

        europe = visitor.get(visitor.get().page.links["eu"])
        assert "Bind eu" in europe.page.text
        items = visitor.get(europe.page.links["test_browse.Note"])
        assert "of Europe" in items.page.text
        assert "of Europe" not in visitor.get(url_of(Note)).page.text
        changed = visitor.submit(
            visitor.get(items.page.links["of Europe"]),
            "/item",
            item=shown.as_json(
                {
                    "book": {"S": "of Europe"},
                    "number": {"N": "1"},
                    "text": {"S": "new"},
                    "version": {"N": "1"},
                }
            ),
        )
        assert "saved" in changed.page.text

        with app.app_context():
            with app.extensions["pynamodb"].using("eu"):
                assert Note.get("of Europe", 1).text == "new"

            assert Note.count() == 0

    def test_unknown_bind_is_not_found(self, make: Make, binds: dict[str, t.Any]) -> None:
        answered = make(binds).get(f"{PREFIX}?bind=us")
        assert answered.status == 404
        assert "'us'" in answered.page.text


QUERIES: list[tuple[dict[str, str], str]] = [
    ({"hash": "a"}, "0123456"),
    ({"hash": "a", "order": "descending"}, "6543210"),
    ({"hash": "a", "range_operator": "=", "range": "3"}, "3"),
    ({"hash": "a", "range_operator": "<", "range": "3"}, "012"),
    ({"hash": "a", "range_operator": "<=", "range": "3"}, "0123"),
    ({"hash": "a", "range_operator": ">", "range": "3"}, "456"),
    ({"hash": "a", "range_operator": ">=", "range": "3"}, "3456"),
    ({"hash": "a", "range_operator": "between", "range": "2", "range_to": "4"}, "234"),
    ({"index": "by-colour", "hash": "red"}, "135"),
    ({"index": "by-colour", "hash": "red", "range": "3"}, "3"),
    ({"hash": "a", "attribute": "text", "operator": "=", "value": "t5"}, "5"),
    ({"hash": "a", "attribute": "text", "operator": "!=", "value": "t5"}, "012346"),
    ({"hash": "a", "attribute": "rank", "operator": ">", "type": "N", "value": "4"}, "56"),
    ({"hash": "a", "attribute": "text", "operator": "contains", "value": "4"}, "4"),
    (
        {"hash": "a", "attribute": "text", "operator": "begins_with", "value": "t"},
        "0123456",
    ),
    (
        {
            "hash": "a",
            "attribute": "text",
            "operator": "between",
            "value": "t1",
            "value_to": "t2",
        },
        "12",
    ),
    ({"hash": "a", "attribute": "text", "operator": "exists"}, "0123456"),
    ({"hash": "a", "attribute": "text", "operator": "missing"}, ""),
    ({"hash": "b"}, ""),
]


class TestSearch:
    @pytest.fixture
    def notes(self, make: Make, config: dict[str, t.Any]) -> Visitor:
        app = create(config, Note)

        with app.app_context(), Note.batch_write() as batch:
            for number in range(7):
                batch.save(
                    Note(
                        "a",
                        number,
                        text=f"t{number}",
                        colour="red" if number % 2 else "blue",
                        rank=number,
                    )
                )

            batch.save(Note("b", 1))

        return make(config)

    def texts(self, answered: Answered) -> list[str]:
        return re.findall(r"<bdi>(t\d)</bdi>", answered.html)

    def test_query(self, notes: Visitor) -> None:
        for args, expected in QUERIES:
            answered = notes.get(url_of(Note, **args))
            assert answered.status == 200, args
            assert self.texts(answered) == [f"t{number}" for number in expected], args

    def test_scan_and_its_filter(self, notes: Visitor) -> None:
        assert len(re.findall("/item", notes.get(url_of(Note)).html)) == 8
        answered = notes.get(url_of(Note, attribute="rank", operator=">", type="N", value="4"))
        assert sorted(self.texts(answered)) == ["t5", "t6"]

    def test_pages_lead_to_the_next_and_back(self, notes: Visitor) -> None:
        first = notes.get(url_of(Note, hash="a", per_page="3"))
        second = notes.get(first.page.links["Next page"])
        third = notes.get(second.page.links["Next page"])
        back = notes.get(third.page.links["Previous page"])
        assert [self.texts(each) for each in (first, second, third, back)] == [
            ["t0", "t1", "t2"],
            ["t3", "t4", "t5"],
            ["t6"],
            ["t3", "t4", "t5"],
        ]
        assert "Next page" not in third.page.links
        assert "Previous page" not in first.page.links
        assert 'value="3"' in second.html

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            ({"cursor": "abc"}, "cursor is not valid"),
            ({"per_page": "many"}, "'per_page' must be a positive whole number"),
            ({"index": "nothing"}, "no index 'nothing'"),
            ({"range": "1"}, "needs a hash key"),
            ({"order": "descending"}, "give a hash key"),
            ({"hash": "a", "range": "one"}, "'number' is not a number"),
            ({"hash": "a", "range": "1", "range_operator": "~"}, "operator must be one of"),
            ({"hash": "a", "range": "1", "range_to": "2"}, "only 'between' has a second value"),
            ({"attribute": "x", "operator": "~"}, "operator must be one of"),
            ({"attribute": "x", "type": "SS"}, "type must be one of"),
            ({"attribute": "x", "type": "B", "value": "*"}, "not binary"),
            ({"attribute": "x", "type": "BOOL", "value": "2"}, "not a boolean"),
            ({"value": "x"}, "needs the name of an attribute"),
        ],
    )
    @flask_alone
    def test_what_is_wrong_in_the_form_is_explained_and_kept(
        self,
        make: Make,
        stub: Stub,
        stub_config: dict[str, t.Any],
        args: dict[str, str],
        message: str,
    ) -> None:
        answered = make(stub_config).get(url_of(Note, **args))
        assert answered.status == 400
        assert message in answered.page.text
        assert not {"Query", "Scan"} & {*stub.operations}

    def test_missing_table_is_explained(self, visitor: Visitor) -> None:
        answered = visitor.get(url_of(NeverCreated))
        assert answered.status == 502
        assert "ResourceNotFound" in answered.page.text


class TestItems:
    @pytest.fixture
    def notes(self, make: Make, config: dict[str, t.Any]) -> Visitor:
        app = create(config, Note)

        with app.app_context():
            Note("a", 1, text="old").save()

        return make(config)

    def stored(self, config: dict[str, t.Any], book: str = "a", number: int = 1) -> t.Any:
        """What the table holds, read past the page."""
        app = flask.Flask("reading")
        app.config.from_mapping(config)
        db = dynamo_ext.PynamoDB(app)

        with app.app_context():
            key = {"book": {"S": book}, "number": {"N": str(number)}}
            table = config["DYNAMODB_TABLE_NAME_PREFIX"] + "browsed-notes"
            return db.connection.dispatch("GetItem", {"TableName": table, "Key": key}).get("Item")

    def test_item_is_edited_and_its_version_counted_up(
        self, notes: Visitor, config: dict[str, t.Any]
    ) -> None:
        item = notes.get(url_of_note("a", 1))
        _, form = item.page.form("/item")
        changed = json.loads(form["item"])
        assert changed == {
            "book": {"S": "a"},
            "number": {"N": "1"},
            "text": {"S": "old"},
            "version": {"N": "1"},
        }
        changed["text"] = {"S": "new"}
        changed["more"] = {"L": [{"BOOL": True}, {"NULL": True}]}
        saved = notes.submit(item, "/item", item=json.dumps(changed))
        assert "The item is saved." in saved.page.text
        assert "1 attribute that Note does not declare: more" in saved.page.text
        assert self.stored(config) == {**changed, "version": {"N": "2"}}
        del changed["text"], changed["more"]
        notes.submit(saved, "/item", item=json.dumps({**changed, "version": {"N": "2"}}))
        assert self.stored(config) == {**changed, "version": {"N": "3"}}

    @flask_alone
    def test_key_may_be_written_as_another_number(
        self, notes: Visitor, config: dict[str, t.Any]
    ) -> None:
        """DynamoDB gives 1 where 1.0 was written, as a key, too."""
        note = {"book": {"S": "a"}, "number": {"N": "2.0"}, "text": {"S": "old"}}
        made = notes.submit(notes.get(url_of(Note, "new")), "/new", item=json.dumps(note))
        shown = json.loads(made.page.form("/item")[1]["item"])
        note["text"] = shown["text"] = {"S": "new"}
        saved = notes.submit(made, "/item", item=json.dumps(shown))
        assert "The item is saved." in saved.page.text
        stored = self.stored(config, number=2)
        # moto keeps a number as it was written.
        assert float(stored["number"]["N"]) == 2
        assert {**stored, "number": note["number"]} == note
        again = notes.submit(saved, "/item", item=json.dumps(note))
        assert "nothing was written" in again.page.text

    @flask_alone
    def test_more_changes_than_a_condition_can_hold_are_refused(
        self, notes: Visitor, config: dict[str, t.Any]
    ) -> None:
        before = self.stored(config)
        many = {**before, **{f"n{number}": {"N": "1"} for number in range(151)}}
        refused = notes.submit(notes.get(url_of_note("a", 1)), "/item", item=json.dumps(many))
        assert (refused.status, self.stored(config)) == (400, before)
        assert "more than 150 attributes" in refused.page.text
        assert json.loads(refused.page.form("/item")[1]["item"]) == many

    @pytest.mark.parametrize("text", ['{"book": ', '{"book": {"S": "a"}, "number": {"N": "1"}}'])
    @flask_alone
    def test_text_is_kept_where_dynamodb_does_not_answer(
        self, make: Make, stub: Stub, stub_config: dict[str, t.Any], text: str
    ) -> None:
        item = {"book": {"S": "a"}, "number": {"N": "1"}, "text": {"S": "old"}}
        stub.next("GetItem", Answer(body={"Item": item}))
        stub.always("GetItem", error(400, "AccessDeniedException", "not any more"))
        visitor = make(stub_config)
        shown = visitor.get(url_of_note("a", 1))
        answered = visitor.submit(shown, "/item", item=text)
        assert answered.status >= 400
        _, form = answered.page.form("/item")
        assert (form["item"], form["seen"]) == (text, shown.page.form("/item")[1]["seen"])

    @flask_alone
    def test_nothing_different_writes_nothing(
        self, make: Make, stub: Stub, stub_config: dict[str, t.Any]
    ) -> None:
        stub.always(
            "GetItem",
            Answer(
                body={"Item": {"book": {"S": "a"}, "number": {"N": "1"}, "s": {"SS": ["a", "b"]}}}
            ),
        )
        visitor = make(stub_config)
        same = visitor.submit(
            visitor.get(url_of_note("a", 1)),
            "/item",
            item=json.dumps({"s": {"SS": ["b", "a"]}, "number": {"N": "1"}, "book": {"S": "a"}}),
        )
        assert "nothing was written" in same.page.text
        assert {*stub.operations} == {"GetItem"}

    @pytest.mark.parametrize("removed", [False, True])
    def test_two_tabs_lose_no_update(
        self, notes: Visitor, config: dict[str, t.Any], removed: bool
    ) -> None:
        first, second = notes.get(url_of_note("a", 1)), notes.get(url_of_note("a", 1))
        wanted = {"book": {"S": "a"}, "number": {"N": "1"}, "version": {"N": "1"}}
        notes.submit(first, "/item", item=json.dumps({**wanted, "text": {"S": "of the first"}}))
        late = wanted if removed else {**wanted, "text": {"S": "of the second"}}
        conflict = notes.submit(second, "/item", item=json.dumps(late))
        assert conflict.status == 409
        assert "Nothing was saved" in conflict.page.text
        assert '"of the first"' in conflict.page.text
        assert json.loads(conflict.page.form("/item")[1]["item"]) == late
        assert self.stored(config)["text"] == {"S": "of the first"}
        # Who has seen both may go on.
        again = notes.submit(conflict, "/item", item=json.dumps({**late, "version": {"N": "2"}}))
        assert "saved" in again.page.text
        assert self.stored(config).get("text") == late.get("text")

    @flask_alone
    def test_change_between_read_and_write_is_a_conflict(
        self, make: Make, stub: Stub, stub_config: dict[str, t.Any]
    ) -> None:
        item = {
            "book": {"S": "a"},
            "number": {"N": "1"},
            "text": {"S": "old"},
            "gone": {"S": "x"},
            "version": {"N": "7"},
        }
        stub.always("GetItem", Answer(body={"Item": item}))
        stub.always(
            "UpdateItem",
            error(400, "ConditionalCheckFailedException", "The conditional request failed"),
        )
        visitor = make(stub_config)
        answered = visitor.submit(
            visitor.get(url_of_note("a", 1)),
            "/item",
            item=json.dumps(
                {
                    "book": {"S": "a"},
                    "number": {"N": "1"},
                    "text": {"S": "new"},
                    "added": {"S": "y"},
                    "version": {"N": "7"},
                }
            ),
        )
        assert answered.status == 409
        (sent,) = (request.body for request in stub.requests if request.operation == "UpdateItem")
        names, values = sent["ExpressionAttributeNames"], sent["ExpressionAttributeValues"]
        condition = sent["ConditionExpression"]
        seen = {names[n]: values[v] for n, v in re.findall(r"(#\d+) = (:\d+)", condition)}
        assert seen == item
        (new,) = re.findall(r"attribute_not_exists\((#\d+)\)", condition)
        assert names[new] == "added"
        written = {
            names[n]: values[v] for n, v in re.findall(r"(#\d+) = (:\d+)", sent["UpdateExpression"])
        }
        assert written == {"text": {"S": "new"}, "added": {"S": "y"}, "version": {"N": "8"}}
        (removed,) = re.findall(r"REMOVE (#\d+)", sent["UpdateExpression"])
        assert names[removed] == "gone"

    def test_item_is_created_once(self, notes: Visitor, config: dict[str, t.Any]) -> None:
        new = notes.get(notes.get(url_of(Note)).page.links["Create an item"])
        assert json.loads(new.page.form("/new")[1]["item"]) == {
            "book": {"S": ""},
            "number": {"N": "0"},
        }
        wanted = {"book": {"S": "b"}, "number": {"N": "2"}, "text": {"S": "x"}}
        assert (
            "The item is created." in notes.submit(new, "/new", item=json.dumps(wanted)).page.text
        )
        assert self.stored(config, "b", 2) == wanted
        other = notes.submit(new, "/new", item=json.dumps({**wanted, "text": {"S": "y"}}))
        assert other.status == 409
        assert "there is an item with this key" in other.page.text
        assert '"y"' in other.page.form("/new")[1]["item"]
        assert self.stored(config, "b", 2) == wanted
        assert "Item of Note" in notes.get(other.page.links["Show that item"]).page.text

    @flask_alone
    def test_another_one_like_it_is_begun_with(self, notes: Visitor) -> None:
        item = notes.get(url_of_note("a", 1))
        new = notes.get(item.page.links["Create another one like it"])
        assert new.page.form("/new")[1]["item"] == item.page.form("/item")[1]["item"]

    def test_item_is_deleted_unless_it_was_changed(
        self, notes: Visitor, config: dict[str, t.Any]
    ) -> None:
        old = notes.get(url_of_note("a", 1))
        notes.submit(old, "/item", item=old.page.form("/item")[1]["item"].replace("old", "new"))
        conflict = notes.submit(old, "/delete")
        assert conflict.status == 409
        assert "Nothing was deleted" in conflict.page.text
        assert self.stored(config)["text"] == {"S": "new"}
        assert "The item is deleted." in notes.submit(conflict, "/delete").page.text
        assert self.stored(config) is None
        assert notes.submit(conflict, "/delete").status == 404
        late = notes.submit(conflict, "/item")
        assert late.status == 409
        assert "deleted since" in late.page.text
        assert late.page.form("/new")[1]["item"]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("{", "not valid JSON"),
            ("[]", "an item is an object"),
            (
                '{"book": {"S": "a"}, "book": {"S": "a"}, "number": {"N": "1"}}',
                "'book' is there twice",
            ),
            ('{"book": {"S": "a"}}', "'number' is missing"),
            ('{"book": {"S": "a"}, "number": {"N": "2"}}', "an item keeps its key"),
            ('{"book": {"S": "a"}, "number": {"N": 1}}', "is not a number"),
            (
                '{"book": {"S": "a"}, "number": {"N": "1"}, "x": "<b>"}',
                "is not one value with its type",
            ),
            ('{"book": {"S": "a"}, "number": {"N": "1"}, "<b>": {"X": "y"}}', "the type 'X'"),
        ],
    )
    @flask_alone
    def test_what_is_no_item_is_explained_and_kept(
        self, make: Make, stub: Stub, stub_config: dict[str, t.Any], text: str, message: str
    ) -> None:
        item = {"book": {"S": "a"}, "number": {"N": "1"}}
        stub.always("GetItem", Answer(body={"Item": item}))
        visitor = make(stub_config)
        answered = visitor.submit(visitor.get(url_of_note("a", 1)), "/item", item=text)
        assert answered.status == 400
        assert message in answered.page.text
        assert answered.page.form("/item")[1]["item"] == text
        assert "<b>" not in answered.html
        assert {*stub.operations} == {"GetItem"}

    def test_what_dynamodb_refuses_is_explained_and_kept(
        self, make: Make, stub: Stub, stub_config: dict[str, t.Any]
    ) -> None:
        item = {"book": {"S": "a"}, "number": {"N": "1"}}
        stub.always("GetItem", Answer(body={"Item": item}))
        stub.always("UpdateItem", error(400, "ValidationException", "Item size <has> exceeded"))
        visitor = make(stub_config)
        text = json.dumps({**item, "x": {"S": "y"}})
        answered = visitor.submit(visitor.get(url_of_note("a", 1)), "/item", item=text)
        assert answered.status == 502
        assert "Item size <has> exceeded" in answered.page.text
        assert answered.page.form("/item")[1]["item"] == text

    @pytest.mark.parametrize(
        "key", ["", "{", "{}", '{"book": {"S": "a"}}', '{"book": {"N": "1"}, "number": {"N": "1"}}']
    )
    @flask_alone
    def test_key_that_is_none_is_refused(self, visitor: Visitor, key: str) -> None:
        assert visitor.get(url_of(Note, "item", key=key)).status == 400

    def test_missing_item_is_not_found(self, notes: Visitor) -> None:
        assert notes.get(url_of_note("a", 99)).status == 404

    @flask_alone
    def test_item_that_no_model_can_read_is_shown_and_mended(
        self, notes: Visitor, config: dict[str, t.Any]
    ) -> None:
        broken = {
            "book": {"S": "broken"},
            "number": {"N": "1"},
            "text": {"N": "5"},
            "version": {"S": "x"},
        }
        new = notes.get(url_of(Note, "new"))
        shown_now = notes.submit(new, "/new", item=json.dumps(broken))
        assert "Note can't read this item" in shown_now.page.text
        assert "broken" in notes.get(url_of(Note)).page.links
        mended = {**broken, "text": {"S": "5"}, "version": {"N": "1"}}
        answered = notes.submit(shown_now, "/item", item=json.dumps(mended))
        assert "can't read" not in answered.page.text
        assert self.stored(config, "broken", 1) == mended


class TestContents:
    def test_every_type_survives_an_edit(self, make: Make, config: dict[str, t.Any]) -> None:
        create(config, Everything)
        visitor = make(config)
        key = base64.b64encode(b"\0\xff key").decode()
        item = {
            "id": {"B": key},
            "numbers": {"NS": ["1", "-2.5", "3"]},
            "list": {
                "L": [
                    {"N": BIG},
                    {"M": {"deep": {"L": [{"NULL": True}, {"BOOL": False}]}}},
                    {"L": []},
                ]
            },
            "map": {"M": {}},
            "empty": {"S": ""},
            "strings": {"SS": ["ä", "\u202e", "\0"]},
            "binaries": {"BS": [base64.b64encode(b"a").decode(), base64.b64encode(b"b").decode()]},
            "smile": {"S": '😀 \ud7ff\U0010ffff\n\r\n\t\\ " </textarea>'},
            "SS": {"S": "called like a type"},
        }
        made = visitor.submit(visitor.get(url_of(Everything, "new")), "/new", item=json.dumps(item))
        assert made.status == 200
        text = made.page.form("/item")[1]["item"]
        assert _sorted(json.loads(text)) == _sorted(item)
        assert all(c.isprintable() or c == "\n" for c in text)
        # Whatever the browser makes of line breaks.
        changed = {**json.loads(text), "SS": {"S": "changed"}}
        saved = visitor.submit(
            made, "/item", item=json.dumps(changed, indent=1).replace("\n", "\r\n")
        )
        assert "saved" in saved.page.text
        again = json.loads(saved.page.form("/item")[1]["item"])
        assert _sorted(again) == _sorted({**item, "SS": {"S": "changed"}})
        assert visitor.submit(saved, "/delete").status == 200

    def test_hostile_contents_are_text(self, make: Make, config: dict[str, t.Any]) -> None:
        create(config, Note)
        visitor = make(config)
        item = {
            "book": {"S": HOSTILE},
            "number": {"N": "1"},
            HOSTILE: {"M": {HOSTILE: {"S": HOSTILE}}},
            "text": {"SS": [HOSTILE]},
        }
        made = visitor.submit(visitor.get(url_of(Note, "new")), "/new", item=json.dumps(item))
        assert json.loads(made.page.form("/item")[1]["item"]) == item
        items = visitor.get(url_of(Note, hash=HOSTILE, attribute=HOSTILE, operator="exists"))
        wrong = visitor.submit(made, "/item", item="<img src=x></textarea><script>")

        for answered in (made, items, wrong):
            tags = [tag for tag, _ in answered.page.tags]
            assert "script" not in tags
            assert "img" not in tags
            assert not any(
                name.startswith("on") or name == "style"
                for _, attrs in answered.page.tags
                for name in attrs
            )
            assert not {"\0", "\u202e"} & {*answered.page.text}
            assert "490049" not in answered.page.text

        (link,) = (url for name, url in items.page.links.items() if "script" in name)
        assert visitor.get(link).status == 200

    @pytest.mark.parametrize(
        ("framework", "engine"), [("flask", "dynoxide"), ("quart", "dynoxide")], indirect=True
    )
    def test_item_of_400_kb_is_edited(
        self, make: Make, framework: str, config: dict[str, t.Any]
    ) -> None:
        create(config, Note)
        visitor = make(config)
        item = {"book": {"S": "big"}, "number": {"N": "1"}, "text": {"S": "ü" * 199_000}}
        made = visitor.submit(visitor.get(url_of(Note, "new")), "/new", item=json.dumps(item))
        assert made.status == 200
        wanted = {**item, "text": {"S": "ä" * 199_000}, "colour": {"S": "red"}}
        saved = visitor.submit(made, "/item", item=json.dumps(wanted))
        assert "The item is saved." in saved.page.text
        assert json.loads(saved.page.form("/item")[1]["item"]) == wanted
        assert len(visitor.get(url_of(Note)).html) < 20_000

        if framework == "flask":
            # Some releases of Werkzeug limit every form, others only those of this type.
            url, form = saved.page.form("/item")
            form["item"] = json.dumps(wanted)
            body, kind = encode_multipart_formdata(form)
            assert visitor.post(url, t.cast(t.Any, body), content_type=kind).status == 303

    @pytest.mark.once(reason="nothing is sent")
    def test_digest_tells_items_apart_and_takes_sets_for_sets(self) -> None:
        assert editing.digest({"a": {"SS": ["x", "y"]}}) == editing.digest(
            {"a": {"SS": ["y", "x"]}}
        )
        different: list[dict[str, t.Any]] = [
            {"a": {"SS": ["x", "y"]}},
            {"a": {"L": [{"S": "x"}, {"S": "y"}]}},
            {"a": {"L": [{"S": "y"}, {"S": "x"}]}},
            {"SS": {"S": "a"}},
            {"SS": {"S": "b"}},
            {"a": {"M": {"SS": {"S": "a"}}}},
            {"a": {"M": {"SS": {"S": "b"}}}},
            {"a": {"B": b"x"}},
            {"a": {"S": "eA=="}},
            {},
        ]
        assert len({editing.digest(item) for item in different}) == len(different)


class TestForms:
    @pytest.fixture
    def refusing(self, make: Make, stub: Stub, stub_config: dict[str, t.Any]) -> Visitor:
        item = {"book": {"S": "a"}, "number": {"N": "1"}}
        stub.always("GetItem", Answer(body={"Item": item}))
        return make(stub_config)

    @pytest.mark.parametrize("page", ["item", "delete", "new"])
    @pytest.mark.parametrize("token", [None, "", "wrong", "ü"])
    @flask_alone
    def test_form_without_the_token_is_refused(
        self, refusing: Visitor, stub: Stub, page: str, token: str | None
    ) -> None:
        _, form = refusing.get(url_of_note("a", 1)).page.form("/item")
        stub.forget()
        sent = {name: value for name, value in form.items() if name != "csrf_token"}
        answered = refusing.post(
            url_of_note("a", 1, page), sent if token is None else {**sent, "csrf_token": token}
        )
        assert answered.status == 400
        assert "Nothing was changed" in answered.page.text
        assert stub.operations == []

    def test_token_of_another_visitor_or_another_site_is_refused(
        self, refusing: Visitor, runner: asyncio.Runner, stub: Stub
    ) -> None:
        _, form = refusing.get(url_of_note("a", 1)).page.form("/item")
        other = Visitor(refusing.app, runner)
        other.get()
        stub.forget()
        assert other.post(url_of_note("a", 1, "delete"), form).status == 400
        # A visitor without a cookie can't be given one in the same request.
        assert Visitor(refusing.app, runner).post(url_of_note("a", 1, "delete"), form).status == 400
        elsewhere = {"Sec-Fetch-Site": "cross-site"}
        assert refusing.post(url_of_note("a", 1, "delete"), form, headers=elsewhere).status == 400
        assert stub.operations == []
        here = {"Sec-Fetch-Site": "same-origin"}
        assert refusing.post(url_of_note("a", 1, "delete"), form, headers=here).status == 303

    def test_cookie_is_kept_from_scripts_and_other_sites(self, refusing: Visitor) -> None:
        cookie = refusing.get().headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert f"Path={PREFIX}" in cookie
        assert "Secure" not in cookie
        assert "Set-Cookie" not in refusing.get().headers

    def test_old_secret_key_holds_while_it_is_a_fallback(self, refusing: Visitor) -> None:
        _, form = refusing.get(url_of_note("a", 1)).page.form("/item")
        refusing.app.config.update(SECRET_KEY="new", SECRET_KEY_FALLBACKS=[SECRET])
        assert refusing.post(url_of_note("a", 1, "delete"), form).status == 303
        refusing.app.config.update(SECRET_KEY_FALLBACKS=None)
        assert refusing.post(url_of_note("a", 1, "delete"), form).status == 400

    @pytest.mark.parametrize("page", ["delete", "item", "new"])
    def test_reading_changes_nothing(self, refusing: Visitor, stub: Stub, page: str) -> None:
        answered = refusing.get(url_of_note("a", 1, page))
        assert answered.status == (405 if page == "delete" else 200)
        assert not {"PutItem", "UpdateItem", "DeleteItem"} & {*stub.operations}


class TestPlaces:
    def test_below_a_prefix_of_the_server_and_one_of_the_user(
        self, make: Make, framework: str, config: dict[str, t.Any]
    ) -> None:
        app = create(config, Note)

        with app.app_context():
            for number in range(3):
                Note("a", number).save()

        visitor = make(config, url_prefix="/admin/<tenant>/data")
        below = (
            {"environ_overrides": {"SCRIPT_NAME": "/mounted"}}
            if framework == "flask"
            else {"root_path": "/mounted"}
        )
        prefix = "" if framework == "flask" else "/mounted"
        index = visitor.get(f"{prefix}/admin/ä/data/", **below)
        root = "/mounted/admin/%C3%A4/data/"
        assert index.page.links["test_browse.Note"] == f"{root}test_browse.Note/"
        assert f'href="{root}style.css"' in index.html
        path = "/admin/ä/data/test_browse.Note/"
        items = visitor.get(f"{prefix}{path}?hash=a&per_page=2", **below)
        assert items.page.links["Next page"].startswith(
            f"{root}test_browse.Note/?hash=a&per_page=2&cursor="
        )
        assert items.page.links["a"].startswith(f"{root}test_browse.Note/item?key=")


def _sorted(value: t.Any) -> t.Any:
    """The same with the elements of sets in order."""
    if isinstance(value, dict):
        return {
            name: sorted(part)
            if name in {"SS", "NS", "BS"} and isinstance(part, list)
            else _sorted(part)
            for name, part in value.items()
        }

    return [_sorted(part) for part in value] if isinstance(value, list) else value
