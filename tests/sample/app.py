"""An app for Flask and one for Quart on the same model."""

from __future__ import annotations

import typing as t

import flask
import quart
from pynamodb.attributes import UnicodeAttribute

from dynamo_ext_async import Model
from dynamo_ext_async import PynamoDB
from dynamo_ext_async import Unavailable

db = PynamoDB()


class Todo(Model):
    class Meta:
        table_name = "todo"

    id = UnicodeAttribute(hash_key=True)
    title = UnicodeAttribute()


def create_web(config: dict[str, t.Any]) -> flask.Flask:
    app = flask.Flask("web")
    app.config.update(config)
    db.init_app(app)

    @app.get("/todos")
    def index() -> dict[str, t.Any]:
        return {todo.id: todo.title for todo in Todo.scan()}

    @app.put("/todos/<id>")
    def put(id: str) -> str:
        Todo(id, title=flask.request.get_data(as_text=True)).save()
        return ""

    return app


def create_api(config: dict[str, t.Any], *, kind: type[quart.Quart] = quart.Quart) -> quart.Quart:
    app = kind("api")
    app.config.update(config)
    db.init_app(app)

    @app.get("/todos")
    async def index() -> dict[str, t.Any]:
        return {todo.id: todo.title async for todo in Todo.ascan()}

    @app.put("/todos/<id>")
    async def put(id: str) -> tuple[str, int]:
        try:
            await Todo(id, title=await quart.request.get_data(as_text=True)).asave()
        except Unavailable:
            return "busy", 503

        return "", 200

    return app
