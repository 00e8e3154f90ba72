"""A page to look at data in development, as a Flask blueprint."""

from __future__ import annotations

import collections.abc as cabc
import inspect
import typing as t

import flask
import werkzeug.wrappers
from flask.typing import ResponseReturnValue

from ..browsing import access
from ..browsing import views
from ..browsing.access import DefaultAccess
from ..browsing.visit import Answer
from ..browsing.visit import Visit

_COMMAND_LINE = "flask"


def blueprint(
    *, guard: cabc.Callable[[], t.Any] | None = None, url_prefix: str | None = views.URL_PREFIX
) -> flask.Blueprint:
    """A page to look at, create, change and delete the items of the app's models.

    :param guard: Called before each request to the page, in that request. It returns whether the
        request may see the page, or a response. Without one, the page works in debug mode only, and
        only under the names of this machine.
    :param url_prefix: Where the page is.
    :return: The blueprint, for ``app.register_blueprint``.
    :raises TypeError: if ``guard`` can't be called.
    """
    access.check_guard(guard)
    pages = flask.Blueprint(views.NAME, __name__, url_prefix=url_prefix)
    pages.record(lambda state: views.registered(state.app))
    _protect(pages, guard)

    for route in views.ROUTES:
        pages.add_url_rule(
            route.rule,
            endpoint=route.name,
            view_func=_view(route.name),
            methods=list(route.methods),
        )

    return pages


def _protect(pages: flask.Blueprint, guard: cabc.Callable[[], t.Any] | None) -> None:
    default = DefaultAccess()

    def check() -> ResponseReturnValue | None:
        if guard is not None:
            return _ask(guard)

        refusal = default.refusal(flask.current_app, flask.request)
        return None if refusal is None else _response(refusal)

    pages.before_request(check)


def _ask(guard: cabc.Callable[[], t.Any]) -> ResponseReturnValue | None:
    given = flask.current_app.ensure_sync(guard)()

    if inspect.isawaitable(given):
        if inspect.iscoroutine(given):
            # Else Python warns that nobody has awaited it.
            given.close()

        raise access.awaitable_guard_error(given)

    if isinstance(given, (werkzeug.wrappers.Response, tuple)):
        return t.cast(ResponseReturnValue, given)

    return None if given else _response(access.refused_by_guard())


def _view(name: str) -> cabc.Callable[..., flask.Response]:
    def view(model: str | None = None, **values: t.Any) -> flask.Response:
        request = flask.request
        # Else a large item would be refused.
        request.max_form_memory_size = views.MAX_FORM_BYTES
        visit = Visit(
            framework=_COMMAND_LINE,
            request=request,
            form=request.form,
            root=flask.url_for(f".{views.INDEX}", **values),
            route=name,
            model=model,
        )
        return _response(views.answer(visit))

    return view


def _response(answer: Answer) -> flask.Response:
    return flask.Response(answer.body, answer.status, answer.all_headers())
