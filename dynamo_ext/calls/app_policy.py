"""What one app, or one of its binds, wants of its calls, and how many of them there are."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import dataclasses
import functools
import weakref

from flask.sansio.app import App

from ..concurrency.process_local import ProcessLocal
from ..config.settings import BlockingCalls
from ..config.settings import Settings


class InFlight:
    """Counts an app's calls that are queued or running. The app waits for them when it stops."""

    def __init__(self) -> None:
        self._calls: set[weakref.ref[_CallInFlight]] = set()
        self.call: cabc.Callable[[], contextlib.AbstractContextManager[None]] = functools.partial(
            _CallInFlight, self._calls
        )
        """Makes the context manager of one call, which is in flight during its block."""

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._calls)


class _CallInFlight:
    """A call that is counted in its block, and no longer than this object lives: a signal handler
    that raises may keep the end of the block from being run."""

    __slots__ = ("__weakref__", "_calls")

    def __init__(self, calls: set[weakref.ref[_CallInFlight]]) -> None:
        self._calls = calls

    def __enter__(self) -> None:
        self._calls.add(weakref.ref(self, self._calls.discard))

    def __exit__(self, *error: object) -> None:
        self._calls.discard(weakref.ref(self))


@dataclasses.dataclass(frozen=True)
class AppPolicy:
    """What one app, or one of its binds, wants of its calls."""

    app: weakref.ref[App]
    """The app, which is not kept alive."""

    settings: Settings

    bind_key: str | None = None
    """The key of the bind; ``None`` where the app's own settings hold."""

    _in_flight: ProcessLocal[InFlight] = dataclasses.field(
        default_factory=lambda: ProcessLocal(InFlight), repr=False
    )

    def of_bind(self, bind_key: str, settings: Settings) -> AppPolicy:
        """The policy of a bind of the same app. Its calls count as the app's.

        :param bind_key: The key of the bind.
        :param settings: The settings of the bind.
        """
        return dataclasses.replace(self, settings=settings, bind_key=bind_key)

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

    @property
    def records_calls(self) -> bool:
        """Whether each request of the app keeps a record of its calls."""
        if self.settings.record_calls is not None:
            return self.settings.record_calls

        app = self.app()
        return app is not None and app.debug
