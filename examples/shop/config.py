"""The settings, and what may stand for them in development.

Environment variables set each of them: ``SHOP_`` followed by the setting's name.
"""

from __future__ import annotations

import collections.abc as cabc
import typing as t

from quart import Quart

# The embedded engine starts with the app, and ends with it. SHOP_DYNAMODB_HOST=null selects
# DynamoDB itself.
DYNAMODB_HOST = "local://"

# The app's own region, and a bind for the tenants whose data must stay in another one. The embedded
# engine keeps regions apart as DynamoDB does.
DYNAMODB_REGION = "us-east-1"
DYNAMODB_BINDS = {"eu": {"REGION": "eu-central-1"}}

# A delivery adds to the stock. If its answer is lost, it is not sent again, because it would count
# twice: the client is told.
DYNAMODB_UNCERTAIN_WRITES = "raise"

# In bytes: more than an order with the most lines needs.
MAX_CONTENT_LENGTH = 64 * 1024

# What everybody can read here protects nothing, so it is used on an embedded engine only.
_DEVELOPMENT = {
    "SECRET_KEY": "development only",
    "TENANTS": {
        "acme": {"token": "acme-development-only"},
        "brot": {"token": "brot-development-only", "bind": "eu"},
    },
}


def configure(app: Quart, settings: cabc.Mapping[str, t.Any]) -> None:
    """Configure an app from this module. Environment variables take precedence, and then settings.

    :param app: The app.
    :param settings: Settings of a test.
    :raises RuntimeError: if the app is for a real server, and lacks a secret.
    """
    app.config.from_object(__name__)
    app.config.from_prefixed_env("SHOP")
    app.config.update(settings)
    missing = [key for key in _DEVELOPMENT if not app.config.get(key)]

    if missing and not is_embedded(app):
        raise RuntimeError(f"Set {' and '.join(f'SHOP_{key}' for key in missing)}.")

    app.config.update({key: _DEVELOPMENT[key] for key in missing})


def is_embedded(app: Quart) -> bool:
    """Whether an app uses an engine that comes with it, and not a server."""
    host = t.cast(object, app.config["DYNAMODB_HOST"])
    return isinstance(host, str) and host.startswith("local:")
