"""A request to the page, and the answer to it, as both frameworks have them."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import typing as t
import urllib.parse

from flask.sansio.app import App
from werkzeug.datastructures import MultiDict
from werkzeug.sansio.request import Request

from ..binding import context

BIND: t.Final = "bind"
"""The argument of a URL that names a bind."""

HTML: t.Final = "text/html; charset=utf-8"
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self';"
        " frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Visit:
    """A request to the page."""

    framework: str
    """The name of the command line: ``flask`` or ``quart``."""

    request: Request
    form: MultiDict[str, str]
    root: str
    """The URL of the list of models, with a slash at its end."""

    route: str
    model: str | None = None
    """The model's name in the URL."""

    @property
    def app(self) -> App:
        """The app that answers."""
        return context.app()

    @property
    def bind_key(self) -> str | None:
        """The bind that the URL names."""
        return self.request.args.get(BIND)

    def url(self, path: str = "", **args: str) -> str:
        """A URL of the page, in the same bind.

        :param path: What follows the root.
        :param args: The arguments.
        """
        bind = {} if self.bind_key is None else {BIND: self.bind_key}
        query = urllib.parse.urlencode({**bind, **args})
        return self.root + urllib.parse.quote(path) + (f"?{query}" if query else "")

    def url_in(self, bind_key: str) -> str:
        """The URL of the list of models, in a bind.

        :param bind_key: The bind.
        """
        return f"{self.root}?{urllib.parse.urlencode({BIND: bind_key})}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer to a request."""

    body: bytes
    status: int = 200
    content_type: str = HTML
    headers: cabc.Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])

    def all_headers(self) -> dict[str, str]:
        """The headers, with those that each answer has."""
        return {"Content-Type": self.content_type, **_HEADERS, **self.headers}


class Problem(Exception):
    """What keeps the page from doing what it was asked for.

    :param status: The status of the answer.
    :param message: What is wrong, and what would be right.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
