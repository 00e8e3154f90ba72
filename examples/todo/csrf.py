"""Refuses forms that this site has not served.

Another site can make a visitor's browser send a form to this site, with the visitor's cookies. But
the other site can't read this site's pages. So each form repeats a random token, which the signed
session cookie holds as well.
"""

from __future__ import annotations

import secrets

from flask import Flask
from flask import abort
from flask import request
from flask import session

_FIELD = "csrf_token"


def protect(app: Flask) -> None:
    """Check every form that is sent to an app, and give the app's templates ``csrf_token()``."""
    app.add_template_global(token, _FIELD)
    app.before_request(_check)


def token() -> str:
    """The current visitor's token, for the hidden field ``csrf_token`` of each form."""
    return str(session.setdefault(_FIELD, secrets.token_urlsafe()))


def _check() -> None:
    if request.method in {"GET", "HEAD", "OPTIONS"}:
        return

    expected = session.get(_FIELD, "")
    sent = request.form.get(_FIELD, "")

    if not expected or not secrets.compare_digest(sent.encode(), expected.encode()):
        abort(
            400, "This form is not from this site, or is too old. Go back to the list, try again."
        )
