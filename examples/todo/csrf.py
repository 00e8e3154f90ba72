"""Refuses forms that this site has not served.

Another site can make a visitor's browser send a form here, with the visitor's cookies. It can't
read our pages, though: so each form repeats a random token that the signed session cookie holds.
"""

from __future__ import annotations

import secrets

from flask import Flask
from flask import abort
from flask import request
from flask import session

_FIELD = "csrf_token"


def protect(app: Flask) -> None:
    """Check every form that is sent to the app; give its templates ``csrf_token()``."""
    app.add_template_global(token, _FIELD)
    app.before_request(_check)


def token() -> str:
    """The current visitor's token, for a hidden field ``csrf_token`` in every form."""
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
