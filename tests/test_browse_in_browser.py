"""The page to look at data in a real browser, served by both frameworks."""

from __future__ import annotations

import asyncio
import collections.abc as cabc
import contextlib
import json
import os
import pathlib
import re
import socket
import threading
import typing as t
import urllib.parse
import warnings

import flask
import flask_debugtoolbar
import hypercorn.asyncio
import hypercorn.config
import pytest
import quart
from pynamodb.attributes import BooleanAttribute
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.attributes import VersionAttribute
from pynamodb.indexes import AllProjection
from pynamodb.indexes import GlobalSecondaryIndex

import chromium
import dynamo_ext
import dynamo_ext.web.browse
import dynamo_ext_async.web.browse
import engines
import servers
from chromium import Visit
from dynamo_ext_async import Model
from dynamo_ext_async import PynamoDB

if t.TYPE_CHECKING:
    from playwright import sync_api
else:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = [pytest.mark.repo, pytest.mark.slow, pytest.mark.xdist_group("page")]

SCREENSHOTS = "DYNAMO_EXT_TEST_SCREENSHOTS"
"""The directory that gets the screenshots of the docs, if this is set."""

ROOT = pathlib.Path(__file__).parent.parent
MOST_BYTES = 70_000
TESTS = pathlib.Path(__file__).name
RENAME = """names => {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode())
        for (const [from, to] of Object.entries(names))
            texts.currentNode.data = texts.currentNode.data.replaceAll(from, to);
}"""
HOSTILE = (
    "<script>document.title = 'run'; alert(1)</script>\"><img src=x onerror=alert(1)>\0\u202etxt"
)


class ByStatus(GlobalSecondaryIndex["Task"]):
    class Meta:
        index_name = "by-status"
        projection = AllProjection()

    status = UnicodeAttribute(hash_key=True)


class Task(Model):
    class Meta:
        table_name = "tasks"

    project = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(range_key=True)
    title = UnicodeAttribute()
    status = UnicodeAttribute()
    urgent = BooleanAttribute(default=False)
    version = VersionAttribute()
    by_status = ByStatus()


class Member(Model):
    class Meta:
        table_name = "members"

    email = UnicodeAttribute(hash_key=True)


TITLES = (
    "Draw the plan",
    "Order the wood",
    "Dig the holes",
    "Pour the concrete",
    "Build the frame",
)


@pytest.fixture(scope="module")
def browser() -> cabc.Iterator[sync_api.Browser]:
    with chromium.launched() as browser:
        yield browser


@pytest.fixture
def config(embedded: str) -> dict[str, t.Any]:
    return {**engines.config(embedded), "SECRET_KEY": "a secret of the tests"}


@pytest.fixture(autouse=True)
def tables(config: dict[str, t.Any]) -> flask.Flask:
    app = flask.Flask("filling")
    app.config.from_mapping(config)
    PynamoDB(app)

    with app.app_context():
        Task.create_table(wait=True)
        Member.create_table(wait=True)

        for number, title in enumerate(TITLES, 1):
            Task("shed", number, title=title, status="open" if number > 2 else "done").save()

    return app


@pytest.fixture
def flask_url(config: dict[str, t.Any]) -> cabc.Iterator[str]:
    app = flask.Flask("tests")
    app.config.from_mapping(config)
    app.debug = True
    PynamoDB(app)
    app.register_blueprint(dynamo_ext.web.browse.blueprint())

    with servers.in_a_thread(app) as url:
        yield f"{url}/dynamodb/"


@pytest.fixture
def quart_url(config: dict[str, t.Any]) -> cabc.Iterator[str]:
    app = quart.Quart("tests")
    app.config.from_mapping(config)
    app.debug = True
    PynamoDB(app)
    app.register_blueprint(dynamo_ext_async.web.browse.blueprint())

    listener = socket.create_server((engines.HOST, 0))
    port = listener.getsockname()[1]

    with serving_quart(app, listener):
        yield f"http://{engines.HOST}:{port}/dynamodb/"


@contextlib.contextmanager
def serving_quart(app: quart.Quart, listener: socket.socket) -> cabc.Iterator[None]:
    loop, ends = asyncio.new_event_loop(), asyncio.Event()
    options = hypercorn.config.Config()
    # Hypercorn closes it.
    options.bind = [f"fd://{listener.detach()}"]
    options.errorlog = None
    serve = hypercorn.asyncio.serve(t.cast(t.Any, app), options, shutdown_trigger=ends.wait)
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve))
    thread.start()

    try:
        yield
    finally:
        loop.call_soon_threadsafe(ends.set)
        thread.join()
        loop.close()


@pytest.fixture(params=["flask", "quart"])
def url(request: pytest.FixtureRequest) -> str:
    return t.cast(str, request.getfixturevalue(f"{request.param}_url"))


Open = cabc.Callable[..., Visit]


@pytest.fixture
def visit(browser: sync_api.Browser) -> cabc.Iterator[Open]:
    with contextlib.ExitStack() as contexts:

        def visit(url: str, *, refusals: cabc.Collection[int] = (), **options: t.Any) -> Visit:
            context = browser.new_context(**options)
            contexts.callback(context.close)
            return Visit(context, url, refusals)

        yield visit


def test_item_is_found_edited_and_deleted_with_the_keyboard_alone(
    visit: Open, url: str, tables: flask.Flask
) -> None:
    on = visit(url, java_script_enabled=False)
    keyboard = on.page.keyboard
    keyboard.press("Tab")
    sync_api.expect(on.page.get_by_text("Skip to the content")).to_be_in_viewport()
    keyboard.press("Enter")
    press_until(on, on.page.get_by_role("link", name=re.compile("Task")))
    keyboard.press("Enter")
    press_until(on, on.page.get_by_label("Hash key", exact=True))
    keyboard.type("shed")
    press_until(on, on.page.get_by_label("Range key", exact=True))
    keyboard.type("2")
    keyboard.press("Enter")
    sync_api.expect(on.page.locator("tbody tr")).to_have_count(1)
    press_until(on, on.page.get_by_role("link", name="shed", exact=True))
    keyboard.press("Enter")
    editor = on.page.get_by_label("Item", exact=True)
    press_until(on, editor)
    item = json.loads(editor.input_value())
    keyboard.press("Control+A")
    keyboard.insert_text(json.dumps({**item, "title": {"S": "Order more wood"}}))
    press_until(on, on.button("Save"))
    keyboard.press("Enter")
    on.says("The item is saved.")

    with tables.app_context():
        assert Task.get("shed", 2).title == "Order more wood"

    press_until(on, on.page.get_by_text("Delete …"))
    keyboard.press("Enter")
    press_until(on, on.button("Delete this item"))
    keyboard.press("Enter")
    on.says("The item is deleted.")
    sync_api.expect(on.page.locator("tbody tr")).to_have_count(4)
    assert on.wrong == []


def press_until(on: Visit, wanted: sync_api.Locator) -> None:
    """Press the tabulator key until an element has the focus, which must be visible then."""
    sync_api.expect(wanted).to_be_attached()

    for _ in range(60):
        if wanted.evaluate("element => element === document.activeElement"):
            assert wanted.evaluate("element => getComputedStyle(element).outlineStyle") != "none"
            return

        on.page.keyboard.press("Tab")

    raise AssertionError(f"{wanted} can't be reached")


def test_two_tabs_lose_no_update(visit: Open, flask_url: str, tables: flask.Flask) -> None:
    on = visit(item_url(flask_url, 1), refusals={409})
    other = on.page.context.new_page()
    other.goto(item_url(flask_url, 1))

    for page, title in ((on.page, "of the first tab"), (other, "of the second tab")):
        editor = page.get_by_label("Item", exact=True)
        editor.fill(editor.input_value().replace("Draw the plan", title))
        page.get_by_role("button", name="Save").click()

    sync_api.expect(other.get_by_role("alert")).to_contain_text("Nothing was saved")
    sync_api.expect(other.locator("pre")).to_contain_text("of the first tab")
    sync_api.expect(other.get_by_label("Item", exact=True)).to_have_value(
        re.compile("of the second tab")
    )

    with tables.app_context():
        assert Task.get("shed", 1).title == "of the first tab"

    assert on.wrong == []


def test_hostile_contents_are_shown_and_do_not_run(
    visit: Open, flask_url: str, tables: flask.Flask
) -> None:
    item = {
        "project": {"S": HOSTILE},
        "number": {"N": "1"},
        HOSTILE: {"L": [{"S": HOSTILE}]},
        "</textarea><script>": {"S": "x" * 390_000},
    }
    on = visit(f"{flask_url}{Task.__module__}.Task/new", refusals={400})
    on.page.get_by_label("Item", exact=True).fill(json.dumps(item))
    on.button("Create").click()
    on.says("The item is created.")
    editor = on.page.get_by_label("Item", exact=True)
    assert json.loads(editor.input_value()) == item
    assert "\\u0000" in editor.input_value()
    editor.fill(f"{HOSTILE}</textarea><script>alert(1)</script>".replace("\0", ""))
    on.button("Save").click()
    sync_api.expect(on.page.get_by_role("alert")).to_contain_text("not valid JSON")
    on.page.goto(f"{flask_url}{Task.__module__}.Task/")
    row = on.page.locator("tr", has=on.page.get_by_role("link", name=re.compile("script")))
    sync_api.expect(row).to_contain_text("document.title = 'run'")
    sync_api.expect(row).to_contain_text("\\x00")
    assert "DynamoDB" in on.page.title()
    assert on.page.locator("script, img").count() == 0
    assert on.wrong == []


@pytest.mark.parametrize("width", [360, 1280])
def test_page_is_no_wider_than_the_screen(
    visit: Open, flask_url: str, tables: flask.Flask, width: int
) -> None:
    with tables.app_context():
        Task("Averylongword" * 15, 1, title="Averylongword" * 40, status="x").save()

    on = visit(flask_url, viewport={"width": width, "height": 640})

    for name in ("Task", "Averylongword"):
        on.page.get_by_role("link", name=re.compile(name)).first.click()
        on.page.wait_for_load_state()
        assert on.page.evaluate("document.documentElement.scrollWidth") == width

    assert on.wrong == []


def test_page_is_dark_where_the_visitor_wants_it_dark(visit: Open, flask_url: str) -> None:
    light, dark = (visit(flask_url, color_scheme=scheme) for scheme in ("light", "dark"))
    assert light.brightness() > 200
    assert dark.brightness() < 60
    assert light.wrong == dark.wrong == []


def test_all_that_can_be_used_has_a_name(visit: Open, flask_url: str) -> None:
    on = visit(f"{flask_url}{Task.__module__}.Task/")
    visible = "input:visible, select:visible, textarea:visible, button:visible"

    for url in (on.page.url, item_url(flask_url, 1), f"{on.page.url}new"):
        on.page.goto(url)
        controls = on.page.locator(visible)

        for number in range(controls.count()):
            sync_api.expect(controls.nth(number)).to_have_accessible_name(re.compile(r"\w"))

        sync_api.expect(on.page.get_by_role("main")).to_have_count(1)
        sync_api.expect(on.page.locator("[aria-current=page]")).to_have_count(1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_screenshots_of_the_docs(
    visit: Open, flask_url: str, scheme: str, tmp_path: pathlib.Path
) -> None:
    """They are of this page as it is. With the environment variable, they are written."""
    on = visit(
        f"{flask_url}{Task.__module__}.Task/?hash=shed&per_page=3",
        color_scheme=scheme,
        viewport={"width": 760, "height": 840},
    )
    # The names of the table and the port are others in each run.
    on.page.locator(".facts").evaluate(
        "element => element.textContent ="
        " 'Table tasks, us-east-1, 127.0.0.1:8000, ACTIVE, about 5 items'"
    )
    directory = pathlib.Path(os.environ.get(SCREENSHOTS) or tmp_path)
    file = directory / f"items-{scheme}.png"
    on.page.screenshot(path=file)
    assert file.stat().st_size < MOST_BYTES
    assert on.wrong == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_requests_are_shown_with_their_calls(
    visit: Open, config: dict[str, t.Any], scheme: str, tmp_path: pathlib.Path
) -> None:
    """In the panel of the toolbar, and on the page, of which there are screenshots in the docs."""
    app = flask.Flask("tests")
    app.config.from_mapping(config, DEBUG_TB_PANELS=["dynamo_ext.debug.DynamoDBPanel"])
    app.debug = True
    PynamoDB(app)
    app.register_blueprint(dynamo_ext.web.browse.blueprint())
    flask_debugtoolbar.DebugToolbarExtension(app)

    @app.get("/sheds/<name>")
    def shed(name: str) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dynamo_ext.CallAdvice)

            for number in range(10):
                Task.get("shed", number % 5 + 1)

        list(Task.by_status.query("open"))
        return "<!doctype html><html lang=en><title>Sheds</title><body></body></html>"

    with servers.in_a_thread(app) as url:
        on = visit(
            f"{url}/sheds/{urllib.parse.quote(HOSTILE[:9])}",
            color_scheme=scheme,
            viewport={"width": 1240, "height": 640},
        )
        on.page.evaluate("document.querySelector('#flDebug').style.display = 'block'")
        on.page.evaluate("document.querySelector('#flDebugToolbar').style.display = 'block'")
        on.page.get_by_role("link", name=re.compile("DynamoDB")).click()
        panel = on.page.locator("#flDebugDynamoDBPanel-content")
        sync_api.expect(panel.get_by_text("10 single reads of 'Task'")).to_be_visible()
        sync_api.expect(panel.locator("tbody tr")).to_have_count(11)
        # The toolbar's own scripts warn of themselves.
        on.wrong.clear()

        app.config["DEBUG_TB_HOSTS"] = ("nobody",)
        on.page.goto(f"{url}/dynamodb/requests/")
        press_until(on, on.page.get_by_role("link", name=re.compile("GET .sheds")))
        on.page.keyboard.press("Enter")
        press_until(on, on.page.get_by_role("region", name="Timeline of the calls"))
        sync_api.expect(on.page.locator("tbody tr")).to_have_count(11)
        assert on.page.evaluate("document.documentElement.scrollWidth") == 1240
        on.page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
        # Everybody's checkout is elsewhere, and a name that attacks is no example.
        names = {f"{ROOT}/": "", "tests/": "", TESTS: "views.py", HOSTILE[:9]: "ann"}
        on.page.evaluate(RENAME, names)
        directory = pathlib.Path(os.environ.get(SCREENSHOTS) or tmp_path)
        file = directory / f"requests-{scheme}.png"
        on.page.screenshot(path=file)
        assert file.stat().st_size < 2 * MOST_BYTES
        assert on.wrong == []


def item_url(url: str, number: int) -> str:
    key = json.dumps({"project": {"S": "shed"}, "number": {"N": str(number)}})
    return f"{url}{Task.__module__}.Task/item?{urllib.parse.urlencode({'key': key})}"
