"""A real browser: Debian's Chromium, without a window."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import re
import shutil
import typing as t

import pytest

if t.TYPE_CHECKING:
    from playwright import sync_api
else:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

DEADLINE_MS = 100_000
_OPTIONS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-sync",
    "--no-first-run",
    # Chromium's own sandbox needs more rights than a container gives.
    "--no-sandbox",
)


@contextlib.contextmanager
def launched() -> cabc.Generator[sync_api.Browser]:
    """The browser; the test is skipped where there is none."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")

    if path is None:
        pytest.skip("there is no Chromium (on Debian: apt-get install chromium)")

    sync_api.expect.set_options(timeout=DEADLINE_MS)

    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_OPTIONS)
        yield browser
        browser.close()


class Visit:
    """A browser's visit to a page, and all that went wrong in it.

    :param context: A browser without history or cookies.
    :param url: The page's address.
    :param refusals: The statuses of answers that are no errors here.
    """

    def __init__(
        self, context: sync_api.BrowserContext, url: str, refusals: cabc.Collection[int] = ()
    ) -> None:
        context.set_default_timeout(DEADLINE_MS)
        self.wrong: list[str] = []
        self.url = url
        self.page = context.new_page()
        self._refusals = refusals
        self._origin = "/".join(url.split("/")[:3])
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("requestfailed", self._note_failure)
        self.page.on("response", self._check)
        self.page.on("dialog", self._dismiss)
        self.page.goto(url)

    def _note_failure(self, request: sync_api.Request) -> None:
        # What has not arrived when the page is left, the browser does not wait for.
        if request.failure != "net::ERR_ABORTED":
            self.wrong.append(request.url)

    def button(self, name: str) -> sync_api.Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def says(self, text: str) -> None:
        """Wait until the page shows a text."""
        sync_api.expect(self.page.get_by_text(text)).to_be_visible()

    def brightness(self) -> float:
        """How bright the page's background is, from 0 to 255."""
        color = self.page.evaluate("getComputedStyle(document.body).backgroundColor")
        red, green, blue = (int(part) for part in re.findall(r"\d+", color))
        return (red + green + blue) / 3

    def _note(self, message: sync_api.ConsoleMessage) -> None:
        is_expected = any(f"status of {status} " in message.text for status in self._refusals)

        if message.type in {"error", "warning"} and not is_expected:
            self.wrong.append(message.text)

    def _check(self, response: sync_api.Response) -> None:
        is_refusal = response.status >= 400 and response.status not in self._refusals

        if is_refusal or not response.url.startswith(self._origin):
            self.wrong.append(f"{response.url}: {response.status}")

    def _dismiss(self, dialog: sync_api.Dialog) -> None:
        self.wrong.append(dialog.message)
        dialog.dismiss()
