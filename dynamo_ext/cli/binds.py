"""The binds of the app that a command without tables is for."""

from __future__ import annotations

from ..binding import context
from ..binding.app_state import BindState
from ..config import local_file


def in_use() -> list[BindState]:
    """The bind that ``--bind`` names; without it, the app's own settings and then each bind."""
    app_state = context.state()
    current = context.bind_state(app_state)

    if current.policy.bind_key is not None:
        return [current]

    return [app_state.own, *map(app_state.bind, app_state.own.settings.binds or ())]


def endpoint(state: BindState) -> str:
    """The URL to which calls go, or that of an embedded engine as it is set.

    :param state: A bind.
    """
    host = state.settings.host

    if host is not None and local_file.is_embedded(host):
        return host

    return str(state.engine.client.meta.endpoint_url)
