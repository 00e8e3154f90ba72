"""A page to look at data in development, as a Quart blueprint."""

from __future__ import annotations

import collections.abc as cabc
import inspect
import typing as t

import anyio.to_thread
import quart
import werkzeug.sansio.response
from werkzeug.datastructures import MultiDict

from dynamo_ext.browsing import access
from dynamo_ext.browsing import views
from dynamo_ext.browsing.access import DefaultAccess
from dynamo_ext.browsing.visit import Answer
from dynamo_ext.browsing.visit import Visit

_COMMAND_LINE = "quart"


def blueprint(
    *, guard: cabc.Callable[[], t.Any] | None = None, url_prefix: str | None = views.URL_PREFIX
) -> quart.Blueprint:
    """A page to look at, create, change and delete the items of the app's models.

    :param guard: A function or coroutine function. Called before each request to the page, in that
        request. It returns whether the request may see the page, or a response. Without one, the
        page works in debug mode only, and only under the names of this machine.
    :param url_prefix: Where the page is.
    :return: The blueprint, for ``app.register_blueprint``.
    :raises TypeError: if ``guard`` can't be called.
    """
    access.check_guard(guard)
    pages = quart.Blueprint(views.NAME, __name__, url_prefix=url_prefix)
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


def _protect(pages: quart.Blueprint, guard: cabc.Callable[[], t.Any] | None) -> None:
    default = DefaultAccess()

    async def check() -> t.Any:
        if guard is not None:
            return await _ask(guard)

        refusal = default.refusal(quart.current_app, quart.request)
        return None if refusal is None else _response(refusal)

    pages.before_request(check)


async def _ask(guard: cabc.Callable[[], t.Any]) -> t.Any:
    given = await quart.current_app.ensure_async(guard)()

    if inspect.isawaitable(given):
        # Of an object whose call is a coroutine.
        given = await given

    if isinstance(given, (werkzeug.sansio.response.Response, tuple)):
        return t.cast(t.Any, given)

    return None if given else _response(access.refused_by_guard())


def _view(name: str) -> cabc.Callable[..., cabc.Awaitable[quart.Response]]:
    async def view(model: str | None = None, **values: t.Any) -> quart.Response:
        request = quart.request
        # Else a large item would be refused.
        request.max_form_memory_size = views.MAX_FORM_BYTES
        visit = Visit(
            framework=_COMMAND_LINE,
            request=request,
            form=t.cast("MultiDict[str, str]", await request.form),
            root=quart.url_for(f".{views.INDEX}", **values),
            route=name,
            model=model,
        )
        # Each of its calls takes a slot, as in Flask.
        return _response(await anyio.to_thread.run_sync(views.answer, visit))

    return view


def _response(answer: Answer) -> quart.Response:
    return quart.Response(answer.body, answer.status, answer.all_headers())
