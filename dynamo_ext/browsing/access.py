"""Who may see the page if the app gives no guard: whoever sits at a machine in development."""

from __future__ import annotations

import ipaddress
import logging

from flask.sansio.app import App
from werkzeug.sansio.request import Request

from ..printable import escaped
from .visit import Answer

log: logging.Logger = logging.getLogger("dynamo_ext.browse")

_OUTSIDE_DEBUG = (
    "The page to look at DynamoDB's tables is refused: the app is not in debug mode. Pass a guard"
    " to let some users see it, as in blueprint(guard=is_admin)."
)
_FOREIGN_HOST = (
    "The page to look at DynamoDB's tables is refused: without a guard, it answers only under"
    " 'localhost', a name without dots or an IP address, so that no other site can read it through"
    " a name that leads to this machine. Pass a guard, as in blueprint(guard=is_admin)."
)
_REFUSED_BY_GUARD = "The app's guard does not let you see this page."
_LOCALHOST = ".localhost"


class DefaultAccess:
    """What a blueprint without a guard lets through."""

    def __init__(self) -> None:
        self._has_warned = False

    def refusal(self, app: App, request: Request) -> Answer | None:
        """The answer to a request that is refused; ``None`` for one that is not.

        :param app: The app.
        :param request: The request.
        """
        if not app.debug:
            return self._refuse(_OUTSIDE_DEBUG)

        if not _is_local_name(request.host):
            return self._refuse(_FOREIGN_HOST)

        return None

    def _refuse(self, why: str) -> Answer:
        if not self._has_warned:
            self._has_warned = True
            log.warning("%s", why)

        return _forbidden(why)


def refused_by_guard() -> Answer:
    """The answer to a request that a guard does not let through."""
    return _forbidden(_REFUSED_BY_GUARD)


def check_guard(guard: object) -> None:
    """Check what is given as a guard.

    :param guard: The guard.
    :raises TypeError: if it can't be called.
    """
    if guard is not None and not callable(guard):
        raise TypeError(
            "'guard' must be a function that returns whether the request may see the page, or"
            f" None, not {type(guard).__name__!r}."
        )


def awaitable_guard_error(given: object) -> TypeError:
    """The error for a guard that returns what has to be awaited where nobody can.

    :param given: What the guard has returned.
    """
    return TypeError(
        f"'guard' has returned {escaped(type(given).__name__)!r}, which must be awaited. Pass a"
        " function that returns whether the request may see the page."
    )


def _forbidden(why: str) -> Answer:
    return Answer(body=f"{why}\n".encode(), status=403, content_type="text/plain; charset=utf-8")


def _is_local_name(host: str) -> bool:
    """Whether a host is one that no other site can have: not a name of the public DNS."""
    name = _without_port(host).lower().removesuffix(".")

    if "." not in name or name.endswith(_LOCALHOST):
        return ":" not in name or _is_address(name)

    return _is_address(name)


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]

    name, _, _port = host.partition(":")
    return name


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False

    return True
