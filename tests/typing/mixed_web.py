"""The Flask side: it calls."""

from typing import assert_type

from flask import Flask
from mixed_models import Todo
from mixed_models import db
from pynamodb.pagination import ResultIterator

app = Flask(__name__)
db.init_app(app)


@app.get("/<owner>")
def todos_of(owner: str) -> list[str]:
    todos = Todo.by_owner.query(owner, scan_index_forward=False, limit=10)
    assert_type(todos, ResultIterator[Todo])
    return [todo.id for todo in todos]


@app.get("/<owner>/count")
def count(owner: str) -> str:
    return f"{Todo.by_owner.count(owner)} of {Todo.count()}"
