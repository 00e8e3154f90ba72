"""A Quart app."""

from __future__ import annotations

import os
import typing as t

from quart import Quart
from quart import Response

from apps.models import Todo
from apps.models import db


def create_app(app_class: type[Quart] = Quart) -> Quart:
    app = app_class(__name__)
    app.config.from_object("apps.config")
    db.init_app(app)

    @app.before_serving
    async def create_table() -> None:
        await Todo.acreate_table(wait=True)

    @app.after_request
    async def tell_the_process(response: Response) -> Response:
        response.headers["X-Process"] = str(os.getpid())
        return response

    @app.get("/todos/<id>")
    async def show(id: str) -> dict[str, t.Any]:
        todo = await Todo.aget_or_404(id, message=f"Quart has no {id}")
        return todo.to_simple_dict()

    @app.post("/todos/<id>")
    async def create(id: str) -> dict[str, t.Any]:
        todo = Todo(id, title="from Quart")
        await todo.asave()
        return todo.to_simple_dict()

    @app.get("/pool")
    async def pool() -> dict[str, int]:
        return {"in_use": db.pool.in_use, "waiting": db.pool.waiting}

    return app
