"""``Endpoint``: where calls go, and how; equal endpoints share one engine."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import typing as t

from ..config import local_file
from ..config.settings import SETTINGS
from ..config.settings import Transport


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Endpoint:
    """The settings of scope ``endpoint``, as one hashable value: the key of an engine.

    The fields are declared here, and not made from the settings, so that type checkers and editors
    know them. A test compares their names and types with the settings.
    """

    region: str
    host: str | None
    connect_timeout_seconds: float
    read_timeout_seconds: float
    base_backoff_ms: int
    max_retry_attempts: int
    max_pool_connections: int
    extra_headers: frozenset[tuple[str, str]]
    aws_access_key_id: str | None
    aws_secret_access_key: str | None
    aws_session_token: str | None
    transport: Transport

    @classmethod
    def from_values(cls, values: cabc.Mapping[str, t.Any]) -> Endpoint:
        """Select an endpoint's values from those of all settings.

        :param values: The value of each setting, by its name.
        :return: The endpoint.
        """
        selected: dict[str, t.Any] = {
            field.name: values[field.name] for field in dataclasses.fields(cls)
        }
        headers: cabc.Mapping[str, str] = selected["extra_headers"] or {}
        selected["extra_headers"] = frozenset(headers.items())
        return cls(**selected)

    def of_app(self, instance_path: str) -> Endpoint:
        """The endpoint as an app means it: a file's relative path is in the app's instance folder.

        :param instance_path: The app's instance folder.
        :return: The endpoint. It equals those that name the same file in another way.
        """
        host = local_file.resolve(self.host, instance_path)
        return self if host == self.host else dataclasses.replace(self, host=host)

    def __repr__(self) -> str:
        shown = (
            f"{name}={value!r}" for name, value in vars(self).items() if not SETTINGS[name].secret
        )
        return f"Endpoint({', '.join(shown)})"
