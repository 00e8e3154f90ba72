"""Pages in requests of Flask and Quart: arguments of the query string, URLs, the header Link."""

from __future__ import annotations

import collections.abc as cabc
import html
import re
import typing as t
import urllib.parse

import anyio.to_thread
import flask
import pytest
import quart
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute
from werkzeug.middleware.proxy_fix import ProxyFix

from dynamo_ext.web import pages
from dynamo_ext_async import Model
from dynamo_ext_async import Page
from dynamo_ext_async import PynamoDB
from stub import Answer
from stub import Request
from stub import Stub

pytestmark = [
    pytest.mark.once(reason="requests of apps are looked at"),
    pytest.mark.anyio,
]

COUNT = 7
PATH = "/lists/a%2Fb%20%3C%3E%22%27%C3%A9"
NAME = "a/b <>\"'\N{LATIN SMALL LETTER E WITH ACUTE}"
LINK = re.compile(r'<([^<>"]*)>; rel="(next|prev)"')


class Todo(Model):
    class Meta:
        table_name = "todos"

    user = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(range_key=True)


def todos(request: Request) -> Answer:
    """Answers queries of seven to-dos."""
    body = request.body
    stored = list(range(COUNT))

    if body.get("ScanIndexForward") is False:
        stored.reverse()

    if (start := body.get("ExclusiveStartKey")) is not None:
        del stored[: stored.index(int(start["number"]["N"])) + 1]

    found = [{"user": {"S": "u"}, "number": {"N": str(n)}} for n in stored[: body["Limit"]]]
    return Answer(body={"Items": found, "Count": len(found), "ScannedCount": len(found)})


@pytest.fixture
def stub(stub: Stub) -> Stub:
    stub.always("Query", todos)
    return stub


def content(page: Page[Todo]) -> tuple[dict[str, t.Any], dict[str, str]]:
    """What the views of both apps answer with."""
    body = {
        "numbers": [int(todo.number) for todo in page],
        "per_page": page.per_page,
        "next": page.next_url,
        "prev": page.prev_url,
    }
    return body, {"Link": page.link_header}


@pytest.fixture
def config(stub_config: dict[str, t.Any]) -> dict[str, t.Any]:
    return {**stub_config, "SECRET_KEY": "a secret of the tests"}


@pytest.fixture
def flask_app(config: dict[str, t.Any]) -> flask.Flask:
    app = flask.Flask(__name__)
    app.config.from_mapping(config)
    db = PynamoDB(app)

    @app.get("/lists/<path:name>")
    @app.post("/lists/<path:name>")
    def show(name: str) -> t.Any:
        assert name == NAME
        return content(db.paginate(Todo.query("u")))

    @app.get("/template")
    def template() -> str:
        page = db.paginate(Todo.query("u"))
        return flask.render_template_string(
            "{% for todo in page %}{{ todo.number }},{% endfor %}"
            '{% if page.has_next %}<a href="{{ page.next_url }}">next</a>{% endif %}',
            page=page,
        )

    return app


@pytest.fixture
def quart_app(config: dict[str, t.Any]) -> quart.Quart:
    app = quart.Quart(__name__)
    app.config.from_mapping(config)
    db = PynamoDB(app)

    @app.get("/lists/<path:name>")
    async def show(name: str) -> t.Any:
        assert name == NAME
        return content(await db.apaginate(Todo.aquery("u")))

    @app.websocket("/live")
    async def live() -> None:
        page = await db.apaginate(Todo.aquery("u"))
        await quart.websocket.send(f"{page.per_page} {page.has_prev}")

    return app


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Requests are Quart's business; that of pages is the same on each event loop."""
    return "asyncio"


Get = cabc.Callable[[str], cabc.Awaitable[tuple[int, t.Any, str]]]
"""Sends a request; gives status, JSON and ``Link``."""


@pytest.fixture(params=["flask", "flask below a prefix", "quart", "quart below a prefix"])
def get(request: pytest.FixtureRequest) -> Get:
    kind, _, rest = str(request.param).partition(" ")
    prefix = "/app é" if rest else ""

    async def get_from_flask(url: str) -> tuple[int, t.Any, str]:
        app: flask.Flask = request.getfixturevalue("flask_app")
        url = url.removeprefix(urllib.parse.quote(prefix))
        response = app.test_client().get(url, base_url=f"http://localhost{prefix}")
        return response.status_code, response.json, response.headers.get("Link", "")

    async def get_from_quart(url: str) -> tuple[int, t.Any, str]:
        app: quart.Quart = request.getfixturevalue("quart_app")

        if prefix and not url.startswith("/app"):
            url = urllib.parse.quote(prefix) + url

        response = await app.test_client().get(url, root_path=prefix)
        body = await response.get_json() if response.is_json else None
        return response.status_code, body, response.headers.get("Link", "")

    return get_from_flask if kind == "flask" else get_from_quart


async def test_links_lead_there_and_back(get: Get) -> None:
    status, first, _ = await get(f"{PATH}?per_page=3")
    assert (status, first["numbers"], first["prev"]) == (200, [0, 1, 2], None)
    _, second, _ = await get(first["next"])
    assert (second["numbers"], second["per_page"]) == ([3, 4, 5], 3)
    _, third, _ = await get(second["next"])
    assert (third["numbers"], third["next"]) == ([6], None)
    _, before, _ = await get(third["prev"])
    assert before["numbers"] == [3, 4, 5]
    _, start, _ = await get(before["prev"])
    assert (start["numbers"], start["prev"]) == ([0, 1, 2], None)
    _, again, _ = await get(start["next"])
    assert again["numbers"] == [3, 4, 5]


async def test_the_header_has_the_same_links(get: Get) -> None:
    _, first, link = await get(f"{PATH}?per_page=3")
    assert LINK.findall(link) == [(first["next"], "next")]
    _, second, link = await get(first["next"])
    assert LINK.findall(link) == [(second["next"], "next"), (second["prev"], "prev")]
    assert LINK.sub("", link) == ", "
    assert link.isascii()
    _, _, link = await get(f"{PATH}?per_page=50")
    assert link == ""


async def test_a_link_keeps_all_other_arguments(get: Get) -> None:
    args = [("b", "1"), ("b", "2"), ("empty", ""), ("x", "a&b=c#\u00e9<>"), ("per_page", "2")]
    _, first, _ = await get(f"{PATH}?{urllib.parse.urlencode(args)}")
    _, second, _ = await get(first["next"])

    for link in (first["next"], second["next"], second["prev"]):
        found = urllib.parse.parse_qsl(urllib.parse.urlsplit(link).query, keep_blank_values=True)
        assert found[:-1] == args
        assert found[-1][0] == "cursor"


@pytest.mark.parametrize(
    "query",
    [
        "per_page=0",
        "per_page=-1",
        "per_page=1.5",
        "per_page=abc",
        "per_page=",
        "per_page=%2B1",
        "per_page=%D9%A3",
        "per_page=2&per_page=3",
        "cursor=",
        "cursor=abc",
        "cursor=a&cursor=b",
        "cursor=%00",
        "cursor=%FF",
    ],
)
async def test_what_is_wrong_is_a_bad_request(get: Get, stub: Stub, query: str) -> None:
    status, _, _ = await get(f"{PATH}?{query}")
    assert status == 400
    assert not stub.requests


async def test_an_explicit_argument_comes_before_that_of_the_request(
    flask_app: flask.Flask, stub: Stub
) -> None:
    db: PynamoDB = flask_app.extensions["pynamodb"]

    with flask_app.test_request_context("/?per_page=2"):
        first = db.paginate(Todo.query("u"))
        assert (len(first), len(db.paginate(Todo.query("u"), per_page=3))) == (2, 3)

    with flask_app.test_request_context("/?per_page=500&cursor=wrong"):
        page = db.paginate(Todo.query("u"), cursor=first.next_cursor, max_per_page=4)
        assert [todo.number for todo in page] == [2, 3, 4, 5]

        with pytest.raises(flask.Flask.aborter_class().mapping[400]):
            db.paginate(Todo.query("u"), cursor=first.next_cursor, per_page=0)


async def test_an_async_view_of_flask(flask_app: flask.Flask) -> None:
    db: PynamoDB = flask_app.extensions["pynamodb"]

    @flask_app.get("/async")
    async def show_async() -> t.Any:
        return content(await db.apaginate(Todo.aquery("u")))

    def get() -> t.Any:
        return flask_app.test_client().get("/async?per_page=3").json

    body = await anyio.to_thread.run_sync(get)
    assert body["numbers"] == [0, 1, 2]
    assert body["next"].startswith("/async?per_page=3&cursor=")


async def test_a_template_escapes_a_link(flask_app: flask.Flask) -> None:
    client = flask_app.test_client()
    text = client.get("/template?per_page=4&q='\"<b>").text
    assert text.startswith("0,1,2,3,")
    found = re.search(r'<a href="([^"<>]*)">next</a>', text)
    assert found is not None
    assert client.get(html.unescape(found[1])).text == "4,5,6,"


async def test_behind_a_proxy_that_says_its_prefix(flask_app: flask.Flask) -> None:
    flask_app.wsgi_app = ProxyFix(flask_app.wsgi_app, x_prefix=1)  # type: ignore[method-assign]
    headers = {"X-Forwarded-Prefix": "/behind", "X-Forwarded-Host": "example.org"}
    response = flask_app.test_client().get(f"{PATH}?per_page=3", headers=headers)
    body = t.cast("dict[str, t.Any]", response.json)
    assert body["next"].startswith("/behind/lists/")


async def test_after_another_method(flask_app: flask.Flask) -> None:
    """A search that is posted: its URL is that of the list."""
    first = t.cast("dict[str, t.Any]", flask_app.test_client().post(f"{PATH}?per_page=3").json)
    second = t.cast("dict[str, t.Any]", flask_app.test_client().get(first["next"]).json)
    assert second["numbers"] == [3, 4, 5]


async def test_outside_a_request_a_page_has_cursors_alone(flask_app: flask.Flask) -> None:
    db: PynamoDB = flask_app.extensions["pynamodb"]

    with flask_app.app_context():
        page = db.paginate(Todo.query("u"), per_page=3)

    assert pages.links(page) == pages.Links(next=page.next_cursor, prev=None)
    assert page.next_cursor is not None

    for name in ("next_url", "prev_url", "link_header"):
        with pytest.raises(RuntimeError, match="not made in a request, so it has no URLs"):
            getattr(page, name)


async def test_in_a_request_links_are_urls_also_after_it(flask_app: flask.Flask) -> None:
    db: PynamoDB = flask_app.extensions["pynamodb"]

    with flask_app.test_request_context("/?per_page=3"):
        page = db.paginate(Todo.query("u"))

    assert pages.links(page) == pages.Links(next=page.next_url, prev=None)
    assert page.next_url == f"/?per_page=3&cursor={page.next_cursor}"


async def test_a_websocket_is_no_request(quart_app: quart.Quart) -> None:
    async with quart_app.test_client().websocket("/live?per_page=3&cursor=abc") as connection:
        assert await connection.receive() == "20 False"


async def test_an_app_inside_the_request_of_another(
    flask_app: flask.Flask, quart_app: quart.Quart
) -> None:
    """Flask inside Quart: the request is that of the app whose context is the innermost."""
    async with quart_app.test_request_context("/?per_page=3"):
        with flask_app.app_context():
            db: PynamoDB = flask_app.extensions["pynamodb"]
            assert (await db.apaginate(Todo.aquery("u"))).per_page == 20

        with flask_app.test_request_context("/?per_page=4"):
            assert (await db.apaginate(Todo.aquery("u"))).per_page == 4

        db = quart_app.extensions["pynamodb"]
        assert (await db.apaginate(Todo.aquery("u"))).per_page == 3
