"""What one app wants of its calls, and how many of them there are."""

from __future__ import annotations

import dataclasses
import threading
import weakref

from flask.sansio.app import App

from ..concurrency.process_local import ProcessLocal
from ..config.settings import BlockingCalls
from ..config.settings import Settings


class InFlight:
    """Counts an app's calls that are queued or running. The app waits for them when it stops."""

    def __init__(self) -> None:
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
    _in_flight: ProcessLocal[InFlight] = dataclasses.field(
        default_factory=lambda: ProcessLocal(InFlight), init=False, repr=False
    )

    @property
    def in_flight(self) -> InFlight:
        """The app's calls in this process. A forked child begins at 0: it makes none of them."""
        return self._in_flight.get()

    @property
    def blocking_calls(self) -> BlockingCalls:
        """What to do about a call on an event loop's thread."""
        if self.settings.blocking_calls is not None:
            return self.settings.blocking_calls

        app = self.app()
        return "warn" if app is not None and (app.debug or app.testing) else "allow"
