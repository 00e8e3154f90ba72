"""Refuses forms that this page has not served.

A cookie holds a random value, and each form a token that is derived of it with the app's
``SECRET_KEY``. Another site can make a visitor's browser send a form to this one. But it can
neither read the token nor make one.
"""

from __future__ import annotations

import hmac
import re
import secrets
import typing as t

from werkzeug.http import dump_cookie

from ..errors import ConfigError
from ..web import cursors
from .visit import Problem
from .visit import Visit

FIELD: t.Final = "csrf_token"
_COOKIE = "dynamo_ext_browse"
_PURPOSE = b"dynamo-ext browse, version 1:"
_VALUE = re.compile(r"[A-Za-z0-9_-]{43}")
_FETCH_SITE = "Sec-Fetch-Site"


class Protection:
    """The protection of one request's forms.

    :param visit: The request.
    :raises Problem: if the app has no ``SECRET_KEY``.
    """

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        given = visit.request.cookies.get(_COOKIE, "")
        self._is_new = not _VALUE.fullmatch(given)
        self._value = secrets.token_urlsafe(32) if self._is_new else given

        try:
            self._keys = cursors.secret_keys(
                visit.app.config, purpose="the forms and pages of this page are signed with it"
            )
        except ConfigError as error:
            raise Problem(500, str(error)) from None

    @property
    def token(self) -> str:
        """What each form holds."""
        return self._token(self._keys[-1])

    @property
    def headers(self) -> dict[str, str]:
        """What sets the cookie, if the visitor has none."""
        if not self._is_new:
            return {}

        cookie = dump_cookie(
            _COOKIE,
            self._value,
            path=self._visit.root,
            httponly=True,
            secure=self._visit.request.is_secure,
            samesite="Lax",
        )
        return {"Set-Cookie": cookie}

    def check(self) -> None:
        """Check the form of the request.

        :raises Problem: if this page has not served it to this visitor.
        """
        given = self._visit.form.get(FIELD, "").encode()
        is_known = [hmac.compare_digest(given, self._token(key).encode()) for key in self._keys]

        if self._is_new or not any(is_known) or not self._is_from_here:
            raise Problem(
                400,
                "This form is not from this page, or is too old. Nothing was changed. Go back, load"
                " the page again, and repeat what you did.",
            )

    @property
    def _is_from_here(self) -> bool:
        """Whether the browser says that the form is of this site, if it says anything."""
        return self._visit.request.headers.get(_FETCH_SITE, "same-origin") == "same-origin"

    def _token(self, key: bytes) -> str:
        return hmac.digest(key, _PURPOSE + self._value.encode(), "sha256").hex()
