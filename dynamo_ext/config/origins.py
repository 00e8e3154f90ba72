"""Where the value of each setting comes from, found afterwards."""

from __future__ import annotations

import collections.abc as cabc
import os
import typing as t

import pynamodb.settings

from ..errors import ConfigError
from .settings import SETTINGS
from .settings import Setting
from .settings import Settings
from .settings import region_of_chain

IN_APP_CONFIG: t.Final = "app.config"
IN_OVERRIDE_FILE: t.Final = "the file that PYNAMODB_CONFIG names"
IN_REGION_VARIABLE: t.Final = "AWS_DEFAULT_REGION"
IN_PROFILE: t.Final = "botocore: AWS's configuration file"
DEFAULT: t.Final = "default"
CHANGED: t.Final = "an earlier app.config: a change after 'init_app' has no effect"

_NO_BIND: cabc.Mapping[str, t.Any] = {}

Found = tuple[str, t.Any]
"""An origin, and the value there as it was written."""


def origins(
    settings: Settings, config: cabc.Mapping[str, t.Any], bind_key: str | None = None
) -> dict[str, str]:
    """Where the values of an app's settings, or of those of a bind, come from.

    :param settings: The settings, of the app or the bind.
    :param config: The app's ``app.config`` now, which may have changed since it was read.
    :param bind_key: The key of the bind; ``None`` for the app's own settings.
    :return: For each setting, by its name, where its value is set. A bind's value that the bind
        does not set has the origin that it has in the app.
    """
    of_bind = _NO_BIND if bind_key is None else _bind(config, bind_key)
    return {
        name: _origin(setting, getattr(settings, name), _find(setting, config, of_bind, bind_key))
        for name, setting in SETTINGS.items()
    }


def _origin(setting: Setting, value: t.Any, found: Found) -> str:
    origin, written = found

    if setting.name == "binds" or origin == DEFAULT:
        is_same = setting.name == "binds" or value == setting.default
    else:
        is_same = _checked(setting, written) == value

    # A bind with keys of its own has no session token, wherever the app has one.
    return origin if is_same else DEFAULT if value is None else CHANGED


def _find(
    setting: Setting,
    config: cabc.Mapping[str, t.Any],
    of_bind: cabc.Mapping[str, t.Any],
    bind_key: str | None,
) -> Found:
    if (value := of_bind.get(setting.name.upper())) is not None:
        return f"DYNAMODB_BINDS[{bind_key!r}]", value

    if (value := config.get(setting.key)) is not None:
        return IN_APP_CONFIG, value

    if setting.override_file and hasattr(pynamodb.settings.override_settings, setting.name):
        return IN_OVERRIDE_FILE, getattr(pynamodb.settings.override_settings, setting.name)

    if setting.name == "region" and (region := region_of_chain()) is not None:
        is_variable = os.environ.get(IN_REGION_VARIABLE) == region
        return IN_REGION_VARIABLE if is_variable else IN_PROFILE, region

    return DEFAULT, setting.default


def _bind(config: cabc.Mapping[str, t.Any], bind_key: str) -> cabc.Mapping[str, t.Any]:
    """What ``app.config`` says of a bind."""
    binds = SETTINGS["binds"]
    checked: t.Any = _checked(binds, config.get(binds.key))
    return t.cast("cabc.Mapping[str, t.Any]", (checked or {}).get(bind_key, _NO_BIND))


def _checked(setting: Setting, value: t.Any) -> t.Any:
    """A value as it would be read; ``None`` if it would be refused."""
    if value is None:
        return None

    try:
        return setting.check(f"'{setting.key}'", value)
    except ConfigError:
        return None
