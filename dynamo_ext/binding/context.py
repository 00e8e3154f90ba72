"""Which app a call is for.

The innermost app context wins. Each framework has a current context of its own: if both have one,
the innermost is the one that was pushed while the other was current already.
"""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import contextvars
import gc
import typing as t
import weakref

from flask.sansio.app import App

from ..client.engine import Engine
from .app_state import AppState


class Context(t.Protocol):
    """A framework's app context."""

    @property
    def app(self) -> App: ...


_frameworks: list[cabc.Callable[[], Context | None]] = []
_outer: weakref.WeakKeyDictionary[Context, tuple[Context, ...]] = weakref.WeakKeyDictionary()
_states: weakref.WeakKeyDictionary[App, AppState] = weakref.WeakKeyDictionary()
_chosen: contextvars.ContextVar[App | None] = contextvars.ContextVar(
    "dynamo_ext.chosen_app", default=None
)


def add_framework(current_context: cabc.Callable[[], Context | None]) -> None:
    """Register a framework.

    It must also call :func:`context_pushed` whenever it has pushed an app context.

    :param current_context: Returns the framework's current app context, if there is one.
    """
    _frameworks.append(current_context)


def context_pushed(context: Context) -> None:
    """Remember inside which other contexts a context was pushed.

    :param context: The context.
    """
    if others := tuple(other for other in _contexts() if other is not context):
        _outer[context] = others


def register(app: App, state: AppState) -> None:
    """Register an app with its state.

    :param app: The app.
    :param state: The state of the extension in the app.
    """
    _states[app] = state


def state_of(app: App) -> AppState:
    """The state of the extension in an app.

    :param app: The app.
    :raises RuntimeError: if the app was not initialised.
    """
    try:
        return _states[app]
    except KeyError:
        raise RuntimeError(
            f"The app {app.name!r} is not registered with a 'PynamoDB' extension."
            " Did you forget to call 'db.init_app(app)'?"
        ) from None


def app() -> App:
    """The app that a call made now is for: the one of the innermost app context, else the only one.

    :raises RuntimeError: outside any app context, unless exactly one app is initialised.
    """
    if (chosen := _chosen.get()) is not None:
        return chosen

    if (context := _innermost(_contexts())) is not None:
        return context.app

    return _only_app()


def state() -> AppState:
    """The state of the extension in the app that a call made now is for.

    :raises RuntimeError: outside any app context, unless exactly one app is initialised, and if the
        app is not initialised.
    """
    return state_of(app())


def find_state() -> AppState | None:
    """Like :func:`state`, but ``None`` where that would raise."""
    try:
        return state()
    except RuntimeError:
        return None


def uses(engine: Engine) -> int:
    """How many apps use an engine.

    :param engine: The engine.
    """
    return sum(engine in state.engines() for state in list(_states.values()))


@contextlib.contextmanager
def use(app: App) -> cabc.Generator[None]:
    """Make every call inside the block be for one app, whatever contexts are pushed.

    :param app: The app.
    """
    token = _chosen.set(app)

    try:
        yield
    finally:
        _chosen.reset(token)


def _contexts() -> list[Context]:
    return [context for current in _frameworks if (context := current()) is not None]


def _innermost(contexts: list[Context]) -> Context | None:
    if len(contexts) == 1:
        return contexts[0]

    for context in contexts:
        outer = _outer.get(context, ())

        if all(other is context or other in outer for other in contexts):
            return context

    return contexts[0] if contexts else None


def _only_app() -> App:
    apps = list(_states)

    if len(apps) > 1:
        # An app is part of reference cycles: one that is no longer used may not be collected yet.
        del apps
        gc.collect()
        apps = list(_states)

    if len(apps) == 1:
        return apps[0]

    found = (
        f"{len(apps)} apps are initialised ({', '.join(sorted(repr(app.name) for app in apps))})"
        if apps
        else "no app is initialised"
    )
    raise RuntimeError(
        f"Outside an app context, and {found}. Use 'with app.app_context():' (Flask) or"
        " 'async with app.app_context():' (Quart) around the call"
        f"{'' if apps else ', after db.init_app(app)'}."
    )
