"""Refuses forms that this site has not served.

Another site can make a visitor's browser send a form to this site, with the visitor's cookies. But
the browser says where a request comes from, in headers that no page can change.
"""

from __future__ import annotations

import urllib.parse

from flask import Flask
from flask import abort
from flask import request


def protect(app: Flask) -> None:
    """Check where every form that is sent to an app comes from."""
    app.before_request(_check)


def _check() -> None:
    if request.method not in {"GET", "HEAD", "OPTIONS"} and not _is_from_this_site():
        abort(403, "This form is not from this site.")


def _is_from_this_site() -> bool:
    site = request.headers.get("Sec-Fetch-Site")

    if site is not None:
        return site in {"same-origin", "none"}

    # Browsers before 2023, and all where the page has come without TLS from another machine.
    origin = request.headers.get("Origin")
    # Without either header it is no browser, so nobody else's cookies are sent.
    return origin is None or urllib.parse.urlsplit(origin).netloc == request.host
