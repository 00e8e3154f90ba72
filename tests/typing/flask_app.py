"""The Flask app of the quick start, with the annotations that strict checkers want."""

from typing import Any
from typing import assert_type
from uuid import uuid4

from flask import Flask
from flask import request
from pynamodb.attributes import BooleanAttribute
from pynamodb.attributes import UnicodeAttribute

from dynamo_ext import Model
from dynamo_ext import PynamoDB

db = PynamoDB()


class Todo(Model):
    class Meta:
        table_name = "todo"

    id = UnicodeAttribute(hash_key=True)
    title = UnicodeAttribute()
    done = BooleanAttribute(default=False)


def create_app() -> Flask:
    app = Flask(__name__)
    app.config["DYNAMODB_HOST"] = "local://"
    db.init_app(app)

    with app.app_context():
        Todo.create_table(wait=True)

    return app


app = create_app()
other_app = Flask("other")
PynamoDB(other_app)


@app.get("/")
def index() -> list[dict[str, Any]]:
    return [todo.to_simple_dict() for todo in Todo.scan()]


@app.post("/")
def add() -> tuple[dict[str, Any], int]:
    todo = Todo(uuid4().hex, title=request.form["title"])
    todo.save()
    return todo.to_simple_dict(), 201


@app.get("/<id>")
def show(id: str) -> dict[str, Any]:
    return Todo.get_or_404(id, consistent_read=True, message="No such to-do.").to_simple_dict()


@app.get("/first")
def first() -> str:
    todo = Todo.first_or_404(message="There is nothing to do.")
    assert_type(todo, Todo)
    assert_type(todo.title, str)
    return todo.title


@app.post("/<id>/done")
def tick(id: str) -> tuple[str, int]:
    todo = Todo.get(id)
    todo.update([Todo.done.set(True), Todo.title.set("Done")], condition=Todo.id.exists())
    todo.refresh(consistent_read=True)
    todo.delete(Todo.done == True)  # noqa: E712
    return "", 204


@app.errorhandler(Todo.DoesNotExist)
def show_missing(error: Exception) -> tuple[str, int]:
    return str(error), 404
