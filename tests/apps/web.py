"""A Flask app."""

from __future__ import annotations

import os
import typing as t

from flask import Flask
from flask import Response

from apps.models import Todo
from apps.models import db


def create_app(**settings: t.Any) -> Flask:
    app = Flask(__name__)
    app.config.from_object("apps.config")
    app.config.from_mapping(settings)
    db.init_app(app)

    @app.after_request
    def tell_the_process(response: Response) -> Response:
        response.headers["X-Process"] = str(os.getpid())
        return response

    @app.get("/todos/<id>")
    def show(id: str) -> dict[str, t.Any]:
        return Todo.get_or_404(id, message=f"Flask has no {id}").to_simple_dict()

    @app.post("/todos/<id>")
    def create(id: str) -> dict[str, t.Any]:
        todo = Todo(id, title="from Flask")
        todo.save()
        return todo.to_simple_dict()

    with app.app_context():
        Todo.create_table(wait=True)

    return app
