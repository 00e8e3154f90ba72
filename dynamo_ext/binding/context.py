"""Which app a call is for, and which of its binds.

The innermost app context wins. Each framework has a current context of its own: if both have one,
the innermost is the one that was pushed while the other was current already.

A model's own bind key wins, then the innermost block that uses a bind of that app. Other apps are
not affected by such a block.
"""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import contextvars
import dataclasses
import functools
import gc
import typing as t
import weakref

import pynamodb.models
from flask.sansio.app import App

from ..calls.app_policy import AppPolicy
from ..client.engine import Engine
from ..printable import escaped
from . import meta
from .app_state import AppState
from .app_state import BindState
from .app_state import BoundModel

P = t.ParamSpec("P")
R = t.TypeVar("R")


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


@dataclasses.dataclass(frozen=True, eq=False)
class _Using:
    """A block that uses a bind."""

    app_state: AppState
    bind_state: BindState
    owner: object
    outer: _Using | None


_using: contextvars.ContextVar[_Using | None] = contextvars.ContextVar(
    "dynamo_ext.using", default=None
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


def known_state_of(app: App) -> AppState | None:
    """Like :func:`state_of`, but ``None`` where that would raise.

    :param app: The app.
    """
    return _states.get(app)


def app() -> App:
    """The app that a call made now is for: the one of the innermost app context, else the only one.

    :raises RuntimeError: outside any app context, unless exactly one app is initialised.
    """
    if (chosen := _chosen.get()) is not None:
        return chosen

    contexts = _contexts()

    # Each call passes here, most of them with one context.
    if len(contexts) == 1:
        return contexts[0].app

    return _only_app() if not contexts else _innermost(contexts).app


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


def bind_state(app_state: AppState) -> BindState:
    """The state of the bind that a call made now goes by, but for models that have a bind key.

    :param app_state: The state of the app that the call is for.
    """
    return _used(app_state) or app_state.own


def bound(app_state: AppState, model: type[pynamodb.models.Model], declared: t.Any) -> BoundModel:
    """A model's Meta and connection in the bind that a call made now goes by.

    :param app_state: The state of the app that the call is for.
    :param model: The model.
    :param declared: The ``Meta`` that the model declares.
    :raises ConfigError: if a value that the model declares is invalid, or the app lacks its bind.
    """
    # Each call passes here. A model is only found where it belongs, so its bind key need not be
    # looked up again.
    state = app_state.own if _using.get() is None else bind_state(app_state)
    found = state.find(model, declared)

    if found is not None:
        return found

    bind_key = meta.bind_key_of(model.__name__, declared)

    if bind_key is not None:
        state = app_state.bind(bind_key, f"'{escaped(model.__name__)}.Meta.{meta.BIND_KEY}'")

    return state.bound(model, declared)


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


@contextlib.contextmanager
def use_bind(app_state: AppState, bind_state: BindState) -> cabc.Generator[None]:
    """Make each call of an app inside the block go by one bind, but for models with a bind key.

    :param app_state: The state of the app.
    :param bind_state: The state of one of its binds, or of its own settings.
    """
    owner = object()
    enter_bind(app_state, bind_state, owner)

    try:
        yield
    finally:
        leave_bind(owner)


def enter_bind(app_state: AppState, bind_state: BindState, owner: object) -> None:
    """Begin what :func:`use_bind` does.

    :param app_state: The state of the app.
    :param bind_state: The state of one of its binds, or of its own settings.
    :param owner: What ends it.
    """
    _using.set(_Using(app_state, bind_state, owner, _using.get()))


def leave_bind(owner: object) -> None:
    """End what :func:`enter_bind` has begun.

    :param owner: What has begun it.
    :raises RuntimeError: if another block was entered last, or this context was not in the block.
    """
    using = _using.get()

    if using is None or using.owner is not owner:
        raise RuntimeError(
            "The block that uses a bind was left in another task, thread or order than it was"
            " entered in. Don't enter it in a generator that others iterate over."
        )

    _using.set(using.outer)


def keep_bind(policy: AppPolicy) -> contextlib.AbstractContextManager[None]:
    """Make every call inside the block go by the bind of something that was begun before, but for
    models that have a bind key, and unless a block uses a bind now.

    :param policy: The policy of that bind. It has no effect in another app.
    """
    app_state = find_state()

    if app_state is None or app_state.policy.app is not policy.app or _used(app_state) is not None:
        return contextlib.nullcontext()

    return use_bind(app_state, app_state.bind(policy.bind_key))


def in_current_bind(function: cabc.Callable[P, R]) -> cabc.Callable[P, R]:
    """Make a function go by the bind that is current now, whenever it is called.

    :param function: The function.
    """
    app_state = find_state()

    if app_state is None:
        return function

    current = bind_state(app_state)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with use_bind(app_state, current):
            return function(*args, **kwargs)

    return call


def _used(app_state: AppState) -> BindState | None:
    """The state of the bind of an app that the innermost block uses, if there is such a block."""
    using = _using.get()

    while using is not None and using.app_state is not app_state:
        using = using.outer

    return None if using is None else using.bind_state


def _contexts() -> list[Context]:
    return [context for current in _frameworks if (context := current()) is not None]


def _innermost(contexts: list[Context]) -> Context:
    for context in contexts:
        outer = _outer.get(context, ())

        if all(other is context or other in outer for other in contexts):
            return context

    return contexts[0]


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
