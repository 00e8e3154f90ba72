"""The request that an app is answering, and the URLs of its other pages."""

from __future__ import annotations

import collections.abc as cabc
import typing as t
import urllib.parse

from flask.sansio.app import App
from werkzeug.sansio.request import Request

_Find: t.TypeAlias = cabc.Callable[[App], Request | None]

# Of RFC 3986, what a path may hold as it is, without what HTML and headers give a meaning to.
_SAFE_IN_PATH = "/:@!$*+,;=~"
_finders: list[_Find] = []


def add_framework(find: _Find) -> None:
    """Register a framework.

    :param find: Returns the current request, given the app; ``None`` if the app is of another
        framework or there is no request.
    """
    _finders.append(find)


def find(app: App) -> Request | None:
    """The current request; ``None`` outside a request.

    :param app: The current app.
    """
    return next((found for each in _finders if (found := each(app)) is not None), None)


def url_with(request: Request, name: str, value: str) -> str:
    """The request's own URL, relative to its host, with another value of one argument.

    :param request: The request.
    :param name: The argument's name.
    :param value: Its value. All other arguments stay, in their order.
    """
    args = [(key, each) for key, each in request.args.items(multi=True) if key != name]
    path = urllib.parse.quote(request.root_path + request.path, safe=_SAFE_IN_PATH)
    return f"{path}?{urllib.parse.urlencode([*args, (name, value)])}"
