"""The Quart app of the quick start, with the annotations that strict checkers want."""

from collections.abc import AsyncIterator
from typing import Any
from typing import assert_type
from uuid import uuid4

from pynamodb.attributes import BooleanAttribute
from pynamodb.attributes import UnicodeAttribute
from quart import Quart
from quart import request

from dynamo_ext_async import Bind
from dynamo_ext_async import Model
from dynamo_ext_async import PynamoDB
from dynamo_ext_async import ResultIterator

db = PynamoDB()


class Todo(Model):
    class Meta:
        table_name = "todo"

    id = UnicodeAttribute(hash_key=True)
    title = UnicodeAttribute()
    done = BooleanAttribute(default=False)


def create_app() -> Quart:
    app = Quart(__name__)
    app.config["DYNAMODB_HOST"] = "local://"
    db.init_app(app)

    @app.before_serving
    async def create_tables() -> None:
        await Todo.acreate_table(wait=True)

    app.add_url_rule("/", view_func=index)
    app.add_url_rule("/", view_func=add, methods=["POST"])
    app.add_url_rule("/<id>", view_func=show)
    return app


async def index() -> list[dict[str, Any]]:
    return [todo.to_simple_dict() async for todo in Todo.ascan()]


async def add() -> tuple[dict[str, Any], int]:
    todo = Todo(uuid4().hex, title=await request.get_data(as_text=True))
    await todo.asave()
    return todo.to_simple_dict(), 201


async def show(id: str) -> dict[str, Any]:
    todo = await Todo.aget_or_404(id, consistent_read=True, message="No such to-do.")
    assert_type(todo, Todo)
    assert_type(todo.done, bool)
    return todo.to_simple_dict()


async def stream() -> AsyncIterator[str]:
    todos = Todo.aquery("inbox", Todo.title.startswith("a"), page_size=10, rate_limit=5.0)
    assert_type(todos, ResultIterator[Todo])

    async for todo in todos:
        yield todo.title

    assert_type(todos.total_count, int)


async def everything(todo: Todo) -> None:
    assert_type(await Todo.aget("1"), Todo)
    assert_type(await Todo.afirst_or_404(), Todo)
    assert_type(await Todo.acount("1"), int)
    assert_type(await Todo.aexists(), bool)
    assert_type([each.id async for each in Todo.aparallel_scan(4)], list[str])
    assert_type([each async for each in Todo.abatch_get(["1", "2"])], list[Todo])
    await todo.aupdate([Todo.done.set(True)], Todo.id.exists(), add_version_condition=False)
    await todo.arefresh()
    await todo.adelete()
    await Todo.adelete_table(wait=True)

    async with Todo.abatch_write() as batch:
        await batch.save(todo)
        await batch.delete(todo)
        assert_type(batch.failed_operations, list[Any])

    async with db.atransact_get() as reading:
        future = reading.get(Todo, "1")

    assert_type(future.get(), Todo)

    async with db.atransact_write(client_request_token="token") as writing:
        writing.save(todo)
        writing.update(todo, [Todo.title.set("Buy milk")])
        writing.condition_check(Todo, "2", condition=Todo.id.exists())


def longest(words: list[str], *, at_most: int) -> str:
    return max(words, key=len)[:at_most]


async def own_calls() -> None:
    assert_type(await db.run_sync(longest, ["a", "bc"], at_most=1), str)
    assert_type(await db.run_sync(Todo.get, "1"), Todo)
    await db.aping(timeout=1)


@db.using("eu")
async def in_eu() -> int:
    assert_type(db.bind("eu"), Bind)
    await db.bind("eu").aping(timeout=1)

    async with db.bind("eu").atransact_get() as reading:
        assert_type(reading.get(Todo, "1").get(), Todo)

    return await Todo.acount("1")


async def counted_in_eu() -> None:
    assert_type(await in_eu(), int)
