"""Flask apps beside a Quart app, in one process."""

from __future__ import annotations

import os
import typing as t

from hypercorn.middleware import AsyncioWSGIMiddleware
from hypercorn.middleware import DispatcherMiddleware
from hypercorn.middleware import TrioWSGIMiddleware
from quart import Quart
from quart_trio import QuartTrio

from apps import api
from apps import web


def create_app(app_class: type[Quart] = Quart, wsgi: t.Any = AsyncioWSGIMiddleware) -> t.Any:
    quart_app = api.create_app(app_class)
    flask_app = web.create_app()
    other_app = web.create_app(
        DYNAMODB_HOST=os.environ["OTHER_HOST"], DYNAMODB_MAX_POOL_CONNECTIONS=2
    )
    dispatcher = DispatcherMiddleware(
        {"/web": wsgi(flask_app), "/other": wsgi(other_app), "": quart_app}
    )

    async def app(scope: t.Any, receive: t.Any, send: t.Any) -> None:
        # A Flask app never says that it has started, and the dispatcher would wait for that.
        if scope["type"] == "lifespan":
            await quart_app(scope, receive, send)
        else:
            await dispatcher(scope, receive, send)

    return app


def create_trio_app() -> t.Any:
    return create_app(QuartTrio, TrioWSGIMiddleware)
