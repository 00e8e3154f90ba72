"""The to-do page in a real browser: Debian's Chromium, without a window."""

from __future__ import annotations

import collections.abc as cabc
import re
import typing as t

import pytest

import chromium
import todo

if t.TYPE_CHECKING:
    from playwright import sync_api
else:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

# One browser and one server for all.
pytestmark = [pytest.mark.repo, pytest.mark.xdist_group("page")]
SCRIPT = "<script>document.title = 'run'; alert(1)</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def browser() -> cabc.Iterator[sync_api.Browser]:
    with chromium.launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def url(embedded: str) -> cabc.Iterator[str]:
    settings = todo.settings(embedded)
    created = todo.run(*todo.FLASK, "dynamodb", "create-tables", environment=settings)
    assert created.returncode == 0, created.stderr

    with todo.serving(*todo.FLASK_RUN, environment=settings) as url:
        yield url


class Visit(chromium.Visit):
    """A browser's visit to the page."""

    @property
    def field(self) -> sync_api.Locator:
        return self.page.get_by_label("New to-do")

    def add(self, title: str) -> None:
        self.field.fill(title)
        self.button("Add").click()
        # That of the page that comes then.
        sync_api.expect(self.field).to_have_value("")

    def shows(self, *titles: str) -> None:
        """Wait until the page shows these to-dos, in this order, and no others."""
        sync_api.expect(self.page.locator(".title")).to_have_text(titles)

    def is_done(self, title: str, *, done: bool = True) -> None:
        """Wait until the page shows a to-do as done, or not done."""
        button = self.button(f"Done: {title}")
        sync_api.expect(button).to_have_attribute("aria-pressed", "true" if done else "false")


Open = cabc.Callable[..., Visit]


@pytest.fixture
def visit(browser: sync_api.Browser, url: str) -> cabc.Iterator[Open]:
    """Visit the page, with no to-do on it at first."""
    contexts: list[sync_api.BrowserContext] = []

    with todo.Page(url) as page:
        for id in re.findall(r"/([0-9a-f-]{36})/delete", page.get()):
            page.submit(f"/{id}/delete")

    def visit(**options: t.Any) -> Visit:
        contexts.append(browser.new_context(**options))
        return Visit(contexts[-1], url)

    yield visit

    for context in contexts:
        context.close()


@pytest.mark.parametrize("script", [True, False], ids=["JavaScript", "no JavaScript"])
def test_to_dos_are_added_ticked_and_deleted(visit: Open, script: bool) -> None:
    on = visit(java_script_enabled=script)
    on.says("Nothing to do.")
    on.add("Milk")
    on.add("Bread")
    on.shows("Bread", "Milk")

    on.button("Done: Milk").click()
    on.is_done("Milk")
    on.is_done("Bread", done=False)
    on.button("Done: Milk").click()
    on.is_done("Milk", done=False)

    on.button("Delete: Milk").click()
    on.shows("Bread")
    on.button("Delete: Bread").click()
    on.says("Nothing to do.")
    assert on.wrong == []


def test_to_dos_are_added_with_the_keyboard_alone(visit: Open) -> None:
    on = visit()

    for title in ("Milk", "Bread"):
        sync_api.expect(on.field).to_be_focused()
        on.page.keyboard.type(title)
        on.page.keyboard.press("Enter")
        on.says(title)

    on.shows("Bread", "Milk")
    assert on.wrong == []


def test_page_loaded_again_adds_nothing_again(visit: Open) -> None:
    on = visit()
    on.add("Milk")
    on.page.reload()
    on.shows("Milk")


def test_script_in_a_title_is_shown_and_does_not_run(visit: Open) -> None:
    on = visit()
    on.add(SCRIPT)
    on.button(f"Done: {SCRIPT}").click()
    on.is_done(SCRIPT)
    on.shows(SCRIPT)
    assert on.page.title() == "To-dos"
    assert on.wrong == []


def test_bad_title_is_explained_beside_its_field(visit: Open) -> None:
    on = visit()
    on.field.fill("   ")
    on.button("Add").click()
    message = on.page.get_by_role("alert")
    sync_api.expect(message).to_have_text("A to-do needs a title.")
    assert on.field.get_attribute("aria-describedby") == message.get_attribute("id")
    assert on.field.get_attribute("aria-invalid") == "true"


def test_browser_itself_stops_a_title_that_is_empty_or_too_long(visit: Open) -> None:
    on = visit()
    on.button("Add").click()
    on.field.press_sequentially("x" * 205)
    on.button("Add").click()
    on.shows("x" * 200)
    assert on.wrong == []


def test_a_to_do_on_another_page_is_ticked_and_deleted_there(visit: Open, url: str) -> None:
    titles = [f"To-do {number:02}" for number in range(22)]

    with todo.Page(url) as page:
        for title in titles:
            page.add(title)

    on = visit()
    on.shows(*titles[:1:-1])
    on.page.get_by_role("link", name="Older").click()
    on.shows(*titles[1::-1])
    on.button(f"Done: {titles[0]}").click()
    on.is_done(titles[0])
    on.button(f"Delete: {titles[1]}").click()
    on.shows(titles[0])
    on.page.get_by_role("link", name="Newer").click()
    on.shows(*titles[:1:-1])
    assert on.wrong == []


@pytest.mark.parametrize("width", [320, 1280])
def test_page_is_no_wider_than_the_screen(visit: Open, width: int) -> None:
    on = visit(viewport={"width": width, "height": 640})
    title = "Averylongword" * 15
    on.add(title)
    sync_api.expect(on.button(f"Delete: {title}")).to_be_visible()
    # With its style sheet.
    on.page.wait_for_load_state()
    assert on.page.evaluate("document.documentElement.scrollWidth") == width


def test_page_is_dark_where_the_visitor_wants_it_dark(visit: Open) -> None:
    light, dark = (visit(color_scheme=scheme).brightness() for scheme in ("light", "dark"))
    assert light > 200
    assert dark < 60


def test_all_that_can_be_used_has_a_name(visit: Open) -> None:
    on = visit()
    on.add("Milk")
    on.shows("Milk")
    sync_api.expect(on.page.get_by_role("button")).to_have_count(3)
    sync_api.expect(on.page.get_by_role("button", name=re.compile(r"\w"))).to_have_count(3)
    sync_api.expect(on.page.get_by_role("textbox", name="New to-do")).to_have_count(1)


def test_unknown_address_leads_back_to_the_list(visit: Open) -> None:
    on = visit()
    on.page.goto(f"{on.url}/nothing")
    sync_api.expect(on.page.get_by_role("heading")).to_have_text("Not Found")
    on.page.get_by_role("link", name="Back to the list").click()
    sync_api.expect(on.page.get_by_role("heading")).to_have_text("To-dos")
