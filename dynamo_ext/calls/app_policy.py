"""What one app wants of its calls, and how many of them there are."""

from __future__ import annotations

import dataclasses
import os
import threading
import weakref

from flask.sansio.app import App

from ..config.settings import BlockingCalls
from ..config.settings import Settings

_all_in_flight: weakref.WeakSet[InFlight] = weakref.WeakSet()


class InFlight:
    """Counts an app's calls that are queued or running. The app waits for them when it stops."""

    def __init__(self) -> None:
        self.reset()
        _all_in_flight.add(self)

    def reset(self) -> None:
        """Start again at 0, as a forked child must: it has only one of its parent's threads."""
        self.count: int = 0
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        with self._lock:
            self.count += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self.count -= 1


@dataclasses.dataclass(frozen=True)
class AppPolicy:
    """What one app wants of its calls."""

    app: weakref.ref[App]
    """The app, which is not kept alive."""

    settings: Settings
    in_flight: InFlight = dataclasses.field(default_factory=InFlight)

    @property
    def blocking_calls(self) -> BlockingCalls:
        """What to do about a call on an event loop's thread."""
        if self.settings.blocking_calls is not None:
            return self.settings.blocking_calls

        app = self.app()
        return "warn" if app is not None and (app.debug or app.testing) else "allow"


def _after_fork_in_child() -> None:
    for in_flight in list(_all_in_flight):
        in_flight.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
