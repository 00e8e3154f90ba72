"""A Quart app whose handlers call into a Flask app with settings of its own, in a thread."""

from __future__ import annotations

import collections.abc as cabc
import os
import typing as t

from quart import Quart
from quart.utils import run_sync

from apps import api
from apps import web
from apps.models import Todo

flask_app = web.create_app(DYNAMODB_HOST=os.environ["OTHER_HOST"])


def create_app() -> Quart:
    app = api.create_app()

    @app.get("/request/<id>")
    async def request(id: str) -> list[str]:
        return await inside_and_around(title_from_response, id)

    @app.get("/context/<id>")
    async def context(id: str) -> list[str]:
        return await inside_and_around(title_in_context, id)

    return app


def title_from_response(id: str) -> str:
    response = flask_app.test_client().get(f"/todos/{id}")
    return t.cast(str, response.get_json()["title"])


def title_in_context(id: str) -> str:
    with flask_app.app_context():
        return Todo.get(id).title


async def inside_and_around(title: cabc.Callable[[str], str], id: str) -> list[str]:
    """What the Quart app sees, in the handler and in the thread, around what the Flask app
    sees."""

    def in_thread() -> list[str]:
        before, inside, after = Todo.get(f"{id}-q"), title(f"{id}-f"), Todo.get(f"{id}-q")
        return [before.title, inside, after.title]

    first = await Todo.aget(f"{id}-q")
    titles = await run_sync(in_thread)()
    last = await Todo.aget(f"{id}-q")
    return [first.title, *titles, last.title]
