"""The binds of the app that a command without tables is for."""

from __future__ import annotations

from ..binding import context
from ..binding.app_state import BindState


def in_use() -> list[BindState]:
    """The bind that ``--bind`` names; without it, the app's own settings and then each bind."""
    app_state = context.state()
    current = context.bind_state(app_state)

    if current.policy.bind_key is not None:
        return [current]

    return [app_state.own, *map(app_state.bind, app_state.own.settings.binds or ())]
