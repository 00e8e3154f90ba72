"""The to-do example on its real servers: the page, the API, and both on the same data."""

from __future__ import annotations

import collections.abc as cabc
import concurrent.futures
import html
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import typing as t
import uuid

import httpx
import pytest

import todo
from stub import Answer
from stub import Request
from stub import Stub
from stub import held
from todo import Page
from todo import Settings

UNKNOWN = uuid.UUID(int=0)
SCRIPT = "<script>alert(1)</script>"

# One server of each app for all.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.once(reason="made above the transport; the demo runs on the default one"),
    pytest.mark.xdist_group("example"),
]


@pytest.fixture(scope="module")
def settings(embedded: str) -> Settings:
    settings = todo.settings(embedded)
    created = todo.run(*todo.FLASK, "dynamodb", "create-tables", environment=settings)
    assert created.returncode == 0, created.stderr
    return settings


@pytest.fixture(scope="module")
def web_url(settings: Settings) -> cabc.Iterator[str]:
    with todo.serving(*todo.FLASK_RUN, environment=settings) as url:
        yield url


@pytest.fixture(scope="module")
def api_url(settings: Settings) -> cabc.Iterator[str]:
    with todo.serving(*todo.HYPERCORN, environment=settings) as url:
        yield url


@pytest.fixture
def api(api_url: str) -> cabc.Iterator[httpx.Client]:
    """The API, with no to-do at first."""
    with todo.api_client(api_url) as api:
        todo.delete_all(api)
        yield api


@pytest.fixture
def page(web_url: str, api: httpx.Client) -> cabc.Iterator[Page]:
    """The page, with no to-do at first."""
    with Page(web_url) as page:
        yield page


@pytest.fixture
def stub_settings(settings: Settings, embedded: str, stub: Stub) -> Settings:
    """For apps that reach the engine through a server that can hold its answers back."""

    def forward(request: Request) -> Answer:
        names = ("Authorization", "Content-Type", "X-Amz-Date", "X-Amz-Target")
        headers = {name: request.header(name) or "" for name in names}
        response = httpx.post(embedded, content=request.content, headers=headers, trust_env=False)
        return Answer(status=response.status_code, body=response.json())

    for operation in ("GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query"):
        stub.always(operation, forward)

    return {**settings, "TODO_DYNAMODB_HOST": stub.url}


def hold(stub: Stub, operation: str, *, count: int = 1, after: int = 0) -> None:
    """Hold some of the answers to an operation's next requests back.

    :param count: How many of them.
    :param after: How many are let through before.
    """
    forward = stub._always[operation]
    stub.next(operation, *[forward] * after, *[held(forward)] * count)


def wait_until_held(stub: Stub, *, count: int = 1) -> None:
    """Wait until the engine has answered, and the answers are held back."""
    deadline = time.monotonic() + todo.DEADLINE

    while len(stub._held) < count:
        assert time.monotonic() < deadline, stub
        time.sleep(0.005)


# The commands


@pytest.mark.repo
def test_its_own_tests() -> None:
    """The tests of the example's own, as its README says to run them."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "examples/todo"],
        capture_output=True,
        text=True,
        cwd=todo.ROOT,
        timeout=todo.DEADLINE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed in " in done.stdout


@pytest.mark.parametrize("command", [todo.FLASK, todo.QUART], ids=["flask", "quart"])
def test_each_apps_command_creates_the_table(embedded: str, command: tuple[str, ...]) -> None:
    settings = todo.settings(embedded)
    table = settings["TODO_DYNAMODB_TABLE_NAME_PREFIX"] + "todos"
    done = todo.run(*command, "dynamodb", "create-tables", environment=settings)
    assert (done.returncode, done.stdout) == (0, f"{table}: created\n"), done.stderr
    again = todo.run(*command, "dynamodb", "create-tables", environment=settings)
    assert (again.returncode, again.stdout) == (0, f"{table}: exists\n"), again.stderr


@pytest.mark.parametrize("command", [todo.FLASK_RUN, todo.GUNICORN], ids=["flask run", "gunicorn"])
def test_page_on_its_own_embedded_engine_needs_no_command(command: tuple[str, ...]) -> None:
    with todo.serving(*command, environment={}) as url, Page(url) as page:
        page.add("Milk")
        assert page.titles() == ["Milk"]


@pytest.mark.parametrize(
    "command", [todo.QUART_RUN, todo.HYPERCORN], ids=["quart run", "hypercorn"]
)
def test_api_on_its_own_embedded_engine_needs_no_command(command: tuple[str, ...]) -> None:
    with todo.serving(*command, environment={}) as url, todo.api_client(url) as api:
        todo.create(api, "Milk")
        assert [item["title"] for item in todo.items(api)] == ["Milk"]


@pytest.mark.repo
def test_screenshots_of_its_readme(web_url: str, api: httpx.Client, tmp_path: pathlib.Path) -> None:
    """They are of this page as it is. With the environment variable, they are written."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    import chromium

    for title in ("Order the wood", "Paint the shed", "Draw the plan"):
        todo.create(api, title)

    done, *_ = todo.items(api)
    assert api.patch(f"/todos/{done['id']}", json={"done": True}).status_code == 200
    directory = pathlib.Path(os.environ.get("DYNAMO_EXT_TEST_SCREENSHOTS") or tmp_path)

    with chromium.launched() as browser:
        for scheme in ("light", "dark"):
            context = browser.new_context(
                color_scheme=scheme, viewport={"width": 760, "height": 300}
            )
            on = chromium.Visit(context, web_url)
            on.says("Draw the plan")
            file = directory / f"todos-{scheme}.png"
            on.page.screenshot(path=file, full_page=True)
            assert file.stat().st_size < 60_000
            assert on.wrong == []
            context.close()


# Both apps on the same data


def test_api_reads_what_the_page_added(page: Page, api: httpx.Client) -> None:
    page.add("Milk")
    (item,) = todo.items(api)
    assert (item["title"], item["done"]) == ("Milk", False)
    assert api.get(f"/todos/{item['id']}").json() == item


def test_page_shows_what_the_api_added(page: Page, api: httpx.Client) -> None:
    todo.create(api, "Milk")
    assert page.titles() == ["Milk"]


def test_api_reads_what_the_page_ticked(page: Page, api: httpx.Client) -> None:
    id = todo.create(api, "Milk")["id"]
    page.submit(f"/{id}/done", done="yes")
    assert api.get(f"/todos/{id}").json()["done"] is True
    page.submit(f"/{id}/done", done="no")
    assert api.get(f"/todos/{id}").json()["done"] is False


def test_page_shows_what_the_api_ticked(page: Page, api: httpx.Client) -> None:
    id = todo.create(api, "Milk")["id"]
    assert 'aria-pressed="false"' in page.get()
    api.patch(f"/todos/{id}", json={"done": True})
    assert 'aria-pressed="true"' in page.get()


def test_each_app_deletes_what_the_other_added(page: Page, api: httpx.Client) -> None:
    page.add("Of the page")
    (of_page,) = todo.items(api)
    of_api = todo.create(api, "Of the API")
    assert api.delete(f"/todos/{of_page['id']}").status_code == 204
    assert page.titles() == ["Of the API"]
    assert page.submit(f"/{of_api['id']}/delete").status_code == 303
    assert todo.items(api) == []


def test_both_list_the_newest_first_in_pages_of_twenty(page: Page, api: httpx.Client) -> None:
    titles = [f"{number}" for number in range(45)]

    for number, title in enumerate(titles):
        page.add(title) if number % 9 == 0 else todo.create(api, title)

    wanted = [titles[44:24:-1], titles[24:4:-1], titles[4::-1]]
    of_api, url = list[list[str]](), "/todos"

    while url:
        response = api.get(url)
        of_api.append([item["title"] for item in response.json()["items"]])
        url = response.json()["next"]
        assert response.links.get("next", {"url": None})["url"] == url

    assert of_api == wanted
    first = page.get()
    second = page.http.get(link_to("Older", first)).text
    third = page.http.get(link_to("Older", second)).text
    assert [todo.titles(each) for each in (first, second, third)] == wanted
    assert (link_to("Newer", first), link_to("Older", third)) == ("", "")
    assert todo.titles(page.http.get(link_to("Newer", third)).text) == wanted[1]
    assert todo.titles(page.http.get(link_to("Newer", second)).text) == wanted[0]
    check_forms_of_page(page, link_to("Older", first), titles[24])


def check_forms_of_page(page: Page, path: str, title: str) -> None:
    """A form on a page leads back to that page, also where it says that it has failed."""
    (action,) = re.findall(
        rf'action="(/[^"]+/done[^"]*)".*?Done: {title}"', page.http.get(path).text, re.S
    )
    answer = page.submit(html.unescape(action), done="yes")
    assert (answer.status_code, answer.headers["Location"]) == (303, path)
    assert page.http.get(path).text.count('class="done"') == 1


def link_to(text: str, page: str) -> str:
    """Where a link of a page leads; empty if there is none."""
    match = re.search(rf'<a rel="\w+" href="([^"]+)">{text}</a>', page)
    return html.unescape(match[1]) if match else ""


def test_altered_cursor_is_explained(page: Page, api: httpx.Client) -> None:
    assert page.http.get("/", params={"cursor": "x"}).status_code == 400
    response = api.get("/todos", params={"cursor": "x"})
    assert response.status_code == 400
    assert "cursor" in response.json()["error"]


def test_page_from_which_all_was_deleted_leads_back(page: Page, api: httpx.Client) -> None:
    ids = [todo.create(api, f"{number}")["id"] for number in range(21)]
    older = link_to("Older", page.get())
    assert page.submit(f"/{ids[0]}/delete?{older.partition('?')[2]}").headers["Location"] == older
    emptied = page.http.get(older).text
    assert "No to-dos are left on this page." in emptied
    assert len(todo.titles(page.http.get(link_to("Newer", emptied)).text)) == 20


# The page


def test_page_without_to_dos_says_so(page: Page) -> None:
    assert "Nothing to do." in page.get()
    page.add("Milk")
    assert "Nothing to do." not in page.get()


@pytest.mark.parametrize("action", ["", "done", "delete"])
def test_form_leads_back_to_the_list(page: Page, api: httpx.Client, action: str) -> None:
    id = todo.create(api, "Milk")["id"]
    path = f"/{id}/{action}" if action else "/"
    response = page.submit(path, title="Bread")
    assert (response.status_code, response.headers["Location"]) == (303, "/")


def test_page_escapes_a_title(page: Page) -> None:
    page.add(SCRIPT)
    text = page.get()
    assert SCRIPT not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert page.titles() == [SCRIPT]


def test_page_escapes_a_title_within_an_attribute(page: Page, api: httpx.Client) -> None:
    todo.create(api, '" onmouseover="alert(1)')
    assert 'onmouseover="' not in page.get()


def test_page_escapes_a_title_that_it_refuses(page: Page) -> None:
    response = page.submit("/", title=SCRIPT + "x" * 200)
    assert response.status_code == 400
    assert SCRIPT not in response.text
    assert "&lt;script&gt;" in response.text


@pytest.mark.parametrize(
    ("title", "message"),
    [
        ("", "A to-do needs a title."),
        (" \t ", "A to-do needs a title."),
        ("x" * 201, "A title has at most 200 characters, this one has 201."),
    ],
)
def test_page_refuses_a_bad_title(page: Page, title: str, message: str) -> None:
    page.add("Milk")
    response = page.submit("/", title=title)
    assert response.status_code == 400
    assert message in response.text
    assert f'value="{title}"' in response.text
    assert todo.titles(response.text) == page.titles() == ["Milk"]


def test_title_of_the_greatest_length_is_kept(page: Page) -> None:
    page.add("é" * 200)
    assert page.titles() == ["é" * 200]


def test_title_becomes_one_line_without_space_around_it(page: Page) -> None:
    page.add("  Milk\r\n  and bread ")
    assert page.titles() == ["Milk and bread"]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"csrf_token": ""},
        {"csrf_token": "wrong"},
        {"csrf_token": "é"},
    ],
    ids=["none", "empty", "wrong", "not ASCII"],
)
@pytest.mark.parametrize("action", ["", "done", "delete"])
def test_form_without_the_token_changes_nothing(
    page: Page, api: httpx.Client, action: str, fields: dict[str, str]
) -> None:
    before = todo.create(api, "Milk")
    path = f"/{before['id']}/{action}" if action else "/"
    # So that there is a session, with a token.
    page.get()
    response = page.http.post(path, data={"title": "Bread", "done": "yes", **fields})
    assert response.status_code == 400
    assert "This form is not from this site" in response.text
    assert todo.items(api) == [before]


@pytest.mark.parametrize("token", [None, ""])
def test_form_without_a_session_changes_nothing(
    page: Page, api: httpx.Client, token: str | None
) -> None:
    fields = {"title": "Bread"} if token is None else {"title": "Bread", "csrf_token": token}
    assert page.http.post("/", data=fields).status_code == 400
    assert todo.items(api) == []


def test_token_of_another_visitor_is_wrong(page: Page, web_url: str, api: httpx.Client) -> None:
    with Page(web_url) as other:
        stolen = other.token()

    page.get()
    response = page.http.post("/", data={"title": "Bread", "csrf_token": stolen})
    assert response.status_code == 400
    assert todo.items(api) == []


@pytest.mark.parametrize("action", ["done", "delete"])
def test_page_does_not_know_an_unknown_to_do(page: Page, action: str) -> None:
    response = page.submit(f"/{UNKNOWN}/{action}")
    assert response.status_code == 404
    assert "There is no such to-do." in response.text
    assert "Back to the list" in response.text


@pytest.mark.parametrize("path", ["/nothing", "/not-a-uuid/done"])
def test_page_does_not_know_an_unknown_address(page: Page, path: str) -> None:
    response = page.http.get(path)
    assert response.status_code == 404
    assert "Back to the list" in response.text


def test_page_names_the_methods_that_an_address_has(page: Page) -> None:
    response = page.http.get(f"/{UNKNOWN}/delete")
    assert response.status_code == 405
    assert set(response.headers["Allow"].split(", ")) == {"OPTIONS", "POST"}


def test_page_refuses_a_form_that_is_too_large(page: Page) -> None:
    page.add("Milk")
    assert page.submit("/", title="x" * 20_000).status_code == 413
    assert page.titles() == ["Milk"]


@pytest.mark.parametrize("path", ["/", "/nothing", "/static/style.css"])
def test_page_lets_no_script_run_and_no_site_frame_it(page: Page, path: str) -> None:
    headers = page.http.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "script-src" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_session_is_neither_for_scripts_nor_for_other_sites(page: Page) -> None:
    cookie = page.http.get("/").headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


def test_page_refuses_to_tick_what_was_changed_meanwhile(
    page: Page, api: httpx.Client, stub_settings: Settings, stub: Stub
) -> None:
    id = todo.create(api, "Milk")["id"]

    with todo.serving(*todo.FLASK_RUN, environment=stub_settings) as url, Page(url) as slow:
        token = slow.token()
        hold(stub, "GetItem")

        with concurrent.futures.ThreadPoolExecutor() as threads:
            fields = {"csrf_token": token, "done": "yes"}
            answer = threads.submit(slow.http.post, f"/{id}/done", data=fields)
            wait_until_held(stub)
            api.patch(f"/todos/{id}", json={"title": "Bread"})
            stub.release()

    response = answer.result()
    assert response.status_code == 409
    assert "Someone has just changed this to-do." in response.text
    assert todo.titles(response.text) == ["Bread"]
    assert api.get(f"/todos/{id}").json()["done"] is False


def test_page_says_that_it_failed_without_saying_why(settings: Settings) -> None:
    broken = {**settings, "TODO_DYNAMODB_TABLE_NAME_PREFIX": "not-there-"}

    with todo.serving(*todo.FLASK_RUN, environment=broken) as url, Page(url) as page:
        response = page.http.get("/")

    assert response.status_code == 500
    assert "not-there-" not in response.text
    assert "Back to the list" in response.text


# The API


def test_api_creates(api: httpx.Client) -> None:
    response = api.post("/todos", json={"title": " Milk ", "done": True})
    assert response.status_code == 201
    item = response.json()
    assert uuid.UUID(item["id"]).version == 7
    assert item["created_at"].endswith("+00:00")
    assert (item["title"], item["done"], item["version"]) == ("Milk", True, 1)
    assert response.headers["Location"] == f"/todos/{item['id']}"
    assert api.get(response.headers["Location"]).json() == item


def test_api_changes_what_is_given(api: httpx.Client) -> None:
    item = todo.create(api, "Milk")
    response = api.patch(f"/todos/{item['id']}", json={"done": True})
    assert response.status_code == 200
    assert response.json() == {**item, "done": True, "version": 2}
    api.patch(f"/todos/{item['id']}", json={"title": "Bread", "version": 2})
    assert api.get(f"/todos/{item['id']}").json() == {
        **item,
        "title": "Bread",
        "done": True,
        "version": 3,
    }


def test_api_deletes(api: httpx.Client) -> None:
    id = todo.create(api, "Milk")["id"]
    kept = todo.create(api, "Bread")
    response = api.delete(f"/todos/{id}")
    assert (response.status_code, response.content) == (204, b"")
    assert todo.items(api) == [kept]


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
@pytest.mark.parametrize("id", [str(UNKNOWN), "not-a-uuid"])
def test_api_does_not_know_an_unknown_to_do(api: httpx.Client, method: str, id: str) -> None:
    response = api.request(method, f"/todos/{id}", json={"done": True})
    assert response.status_code == 404
    assert set(response.json()) == {"error"}


def test_api_names_the_to_do_that_it_does_not_know(api: httpx.Client) -> None:
    assert api.get(f"/todos/{UNKNOWN}").json() == {"error": f"There is no to-do {UNKNOWN}."}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "The body: Invalid JSON"),
        (b"{", "The body: Invalid JSON"),
        (b"[]", "The body: Input should be an object"),
        (b"null", "The body: Input should be an object"),
        (b"[" * 10_000, "The body: Invalid JSON: recursion limit exceeded"),
        (b'{"title": "\xff"}', "The body: Invalid JSON: invalid unicode"),
        (b"{}", "title: Field required"),
        (b'{"title": null}', "title: Input should be a valid string"),
        (b'{"title": 5}', "title: Input should be a valid string"),
        (b'{"title": ""}', "A to-do needs a title."),
        (b'{"title": "\\ud800"}', "The body: Invalid JSON"),
        (b'{"title": "x", "done": 1}', "done: Input should be a valid boolean"),
        (b'{"title": "x", "done": "true"}', "done: Input should be a valid boolean"),
        (b'{"title": "x", "id": "y"}', "id: Extra inputs are not permitted"),
        (b'{"titel": "x"}', "title: Field required; titel: Extra inputs are not permitted"),
    ],
)
def test_api_refuses_to_create(api: httpx.Client, content: bytes, message: str) -> None:
    headers = {"Content-Type": "application/json"}
    response = api.post("/todos", content=content, headers=headers)
    assert response.status_code == 400
    assert message in response.json()["error"]
    assert todo.items(api) == []


def test_api_refuses_what_another_site_could_send(api: httpx.Client) -> None:
    headers = {"Content-Type": "text/plain"}
    response = api.post("/todos", content=b'{"title": "Milk"}', headers=headers)
    assert response.status_code == 400
    assert todo.items(api) == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "Nothing to change: give 'title' or 'done'."),
        ({"version": 1}, "Nothing to change: give 'title' or 'done'."),
        ({"title": "x" * 201}, "A title has at most 200 characters, this one has 201."),
        ({"done": None}, "done: Input should be a valid boolean"),
        ({"done": True, "version": True}, "version: Input should be a valid integer"),
        ({"done": True, "version": 1.5}, "version: Input should be a valid integer"),
        ({"id": "x"}, "id: Extra inputs are not permitted"),
    ],
)
def test_api_refuses_to_change(api: httpx.Client, body: dict[str, t.Any], message: str) -> None:
    item = todo.create(api, "Milk")
    response = api.patch(f"/todos/{item['id']}", json=body)
    assert response.status_code == 400
    assert response.json() == {"error": message}
    assert api.get(f"/todos/{item['id']}").json() == item


@pytest.mark.parametrize("version", [0, 2, 10**60])
def test_api_refuses_to_change_another_version(api: httpx.Client, version: int) -> None:
    item = todo.create(api, "Milk")
    response = api.patch(f"/todos/{item['id']}", json={"done": True, "version": version})
    assert response.status_code == 409
    assert "changed or deleted since it was read" in response.json()["error"]
    assert api.get(f"/todos/{item['id']}").json() == item


def test_of_two_changes_at_once_the_api_refuses_one(
    api: httpx.Client, stub_settings: Settings, stub: Stub
) -> None:
    id = todo.create(api, "Milk")["id"]

    with todo.serving(*todo.HYPERCORN, environment=stub_settings) as url:
        hold(stub, "GetItem", count=2)

        with (
            todo.api_client(url) as slow,
            concurrent.futures.ThreadPoolExecutor() as threads,
        ):
            answers = [
                threads.submit(slow.patch, f"/todos/{id}", json={"title": title})
                for title in ("Bread", "Butter")
            ]
            wait_until_held(stub, count=2)
            stub.release()

    won, lost = sorted((answer.result() for answer in answers), key=lambda a: a.status_code)
    assert (won.status_code, lost.status_code) == (200, 409)
    assert "changed or deleted since it was read" in lost.json()["error"]
    assert api.get(f"/todos/{id}").json() == won.json()


def test_change_does_not_bring_a_deleted_to_do_back(
    api: httpx.Client, stub_settings: Settings, stub: Stub
) -> None:
    id = todo.create(api, "Milk")["id"]

    with todo.serving(*todo.HYPERCORN, environment=stub_settings) as url:
        hold(stub, "GetItem")

        with (
            todo.api_client(url) as slow,
            concurrent.futures.ThreadPoolExecutor() as threads,
        ):
            answer = threads.submit(slow.patch, f"/todos/{id}", json={"done": True})
            wait_until_held(stub)
            assert api.delete(f"/todos/{id}").status_code == 204
            stub.release()

    assert answer.result().status_code == 409
    assert todo.items(api) == []


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("GET", "/nothing", b"", 404),
        ("PUT", "/todos", b"", 405),
        ("POST", "/todos", b"[" * 20_000, 413),
    ],
)
def test_every_error_of_the_api_is_json(
    api: httpx.Client, method: str, path: str, content: bytes, status: int
) -> None:
    headers = {"Content-Type": "application/json"}
    response = api.request(method, path, content=content, headers=headers)
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/json"
    assert response.json()["error"]


def test_api_says_that_it_failed_without_saying_why(settings: Settings) -> None:
    broken = {**settings, "TODO_DYNAMODB_TABLE_NAME_PREFIX": "not-there-"}

    with todo.serving(*todo.HYPERCORN, environment=broken) as url, todo.api_client(url) as api:
        response = api.get("/todos")

    assert response.status_code == 500
    assert "not-there-" not in response.text
    assert set(response.json()) == {"error"}


# The stream


def test_stream_of_no_to_dos_is_empty(api: httpx.Client) -> None:
    response = api.get("/todos/stream")
    assert (response.status_code, response.content) == (200, b"")


def test_stream_gives_all_to_dos_and_the_first_before_it_has_read_the_last(
    api: httpx.Client, stub_settings: Settings, stub: Stub
) -> None:
    wanted = [todo.create(api, f"To-do {number}") for number in range(210)]

    with todo.serving(*todo.HYPERCORN, environment=stub_settings) as url:
        hold(stub, "Query", after=2)

        with (
            todo.api_client(url) as client,
            client.stream("GET", "/todos/stream") as response,
        ):
            assert response.status_code == 200
            assert response.headers["Content-Type"] == "application/x-ndjson"
            lines = response.iter_lines()
            # The third page is not released before: without a first line, this would time out.
            first = json.loads(next(lines))
            wait_until_held(stub)
            stub.release()
            assert [first, *map(json.loads, lines)] == wanted

    assert stub.operations.count("Query") == 3
