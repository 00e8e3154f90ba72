"""The tenants: who they are, how a request proves it, and where their data are."""

from __future__ import annotations

import contextlib
import dataclasses
import hmac
import re
import typing as t

from quart import Quart
from quart import current_app
from quart import g
from quart import request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from .models import db

_KEY = "shop_tenants"
# No separator of keys: a tenant 'a#b' could read into the keys of the tenant 'a'.
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_SHORTEST_TOKEN = 16


@dataclasses.dataclass(frozen=True)
class Tenant:
    """A shop, which sees nothing of the other ones.

    :param name: What its keys begin with.
    :param token: What its requests prove with that they are its own.
    :param bind: The bind of its data; ``None`` for the app's own settings.
    """

    name: str
    token: str = dataclasses.field(repr=False)
    bind: str | None = None


def init_app(app: Quart) -> None:
    """Read an app's tenants.

    :param app: The app, with its ``TENANTS``: a mapping of names to ``token`` and ``bind``.
    :raises ValueError: if a tenant is invalid.
    """
    declared = t.cast(dict[str, dict[str, t.Any]], app.config["TENANTS"])
    tenants = [_tenant(app, name, **values) for name, values in declared.items()]

    if len({tenant.token for tenant in tenants}) < len(tenants):
        raise ValueError("Two tenants have the same token.")

    app.extensions[_KEY] = tenants


def all_tenants() -> list[Tenant]:
    """The tenants of the current app."""
    tenants: list[Tenant] = current_app.extensions[_KEY]
    return tenants


def current() -> Tenant:
    """The tenant for whom the app acts."""
    tenant: Tenant = g.tenant
    return tenant


def act_for(tenant: Tenant) -> contextlib.ExitStack:
    """From now on, keys are this tenant's, and calls go to its bind, until the result is closed.

    Keys and bind are chosen here together, for requests and commands, so that neither can be
    forgotten.

    :param tenant: The tenant.
    """
    stack = contextlib.ExitStack()
    stack.enter_context(db.using(tenant.bind))
    g.tenant = tenant
    stack.callback(g.pop, "tenant")
    return stack


# Coroutine functions: Quart would run others in a thread with a copy of the context, and so of what
# is in use.
async def begin_request() -> None:
    """Act for the tenant whose token the request has, or answer it with 401."""
    authorization = request.authorization

    if authorization is None or authorization.type != "bearer" or not authorization.token:
        raise _unauthorized()

    g.acting = act_for(_find(authorization.token))


async def end_request(error: BaseException | None) -> None:
    if (acting := g.pop("acting", None)) is not None:
        acting.close()


def _tenant(app: Quart, name: str, **values: t.Any) -> Tenant:
    try:
        tenant = Tenant(name, **values)
    except TypeError:
        raise ValueError(
            f"The tenant {name!r} must have a 'token', and may have a 'bind'."
        ) from None

    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is not a tenant's name: a lower-case letter, then letters, digits and '-',"
            " 40 characters at most."
        )

    if len(tenant.token) < _SHORTEST_TOKEN:
        raise ValueError(f"The token of {name!r} has less than {_SHORTEST_TOKEN} characters.")

    if tenant.bind is not None and tenant.bind not in app.config["DYNAMODB_BINDS"]:
        raise ValueError(f"The bind of {name!r} is not in DYNAMODB_BINDS: {tenant.bind!r}.")

    return tenant


def _find(token: str) -> Tenant:
    # Compare with each token, in a time that tells nothing of how much of it is right.
    found = [tenant for tenant in all_tenants() if _is_same(tenant.token, token)]

    if not found:
        raise _unauthorized()

    return found[0]


def _is_same(expected: str, given: str) -> bool:
    return hmac.compare_digest(expected.encode(), given.encode())


def _unauthorized() -> Unauthorized:
    return Unauthorized(
        "Send the token of a tenant: 'Authorization: Bearer ...'.",
        www_authenticate=WWWAuthenticate("bearer"),
    )
