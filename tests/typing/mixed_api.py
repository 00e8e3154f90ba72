"""The Quart side: it awaits."""

from typing import assert_type

from mixed_models import Todo
from mixed_models import db
from quart import Quart

from dynamo_ext_async import ResultIterator

app = Quart(__name__)
db.init_app(app)


@app.get("/<owner>")
async def todos_of(owner: str) -> list[str]:
    todos = Todo.by_owner.aquery(owner, scan_index_forward=False, limit=10)
    assert_type(todos, ResultIterator[Todo])
    return [todo.id async for todo in todos]


@app.get("/<owner>/count")
async def count(owner: str) -> str:
    return f"{await Todo.by_owner.acount(owner)} of {await Todo.acount()}"


@app.get("/<owner>/all")
async def everything(owner: str) -> list[str]:
    return [todo.id async for todo in Todo.by_owner.ascan(page_size=100)]
