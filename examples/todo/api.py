"""The Quart app: the same to-dos as JSON."""

from __future__ import annotations

import collections.abc as cabc
import json
import typing as t
import uuid

import pydantic
import pydantic_core
from pynamodb.exceptions import UpdateError
from quart import Blueprint
from quart import Quart
from quart import Response
from quart import abort
from quart import current_app
from quart import jsonify
from quart import make_response
from quart import request
from quart import url_for
from quart.typing import ResponseReturnValue
from werkzeug.exceptions import Conflict
from werkzeug.exceptions import HTTPException

from dynamo_ext.schema import pydantic_model

from .config import EMBEDDED
from .config import configure
from .models import LIST
from .models import Todo
from .models import clean_title
from .models import db
from .models import is_conflict

CHANGED = "The to-do was changed or deleted since it was read. Read it again."
PAGE = 100

NewTodo = pydantic_model(Todo, name="NewTodo", include=("title", "done"))
TodoChange = pydantic_model(
    Todo, name="TodoChange", include=("title", "done", "version"), optional=("title",)
)

bp = Blueprint("todos", __name__)


def create_app(settings: cabc.Mapping[str, t.Any] | None = None) -> Quart:
    app = Quart(__name__)
    configure(app, settings or {})
    db.init_app(app)
    app.register_blueprint(bp)
    app.register_error_handler(HTTPException, show_error)
    app.before_serving(create_missing_table)
    return app


async def create_missing_table() -> None:
    # Create the table here, because a command could not reach this process's embedded engine.
    if current_app.config["DYNAMODB_HOST"] == EMBEDDED:
        await Todo.acreate_table(wait=True)


@bp.get("/todos")
async def list_todos() -> ResponseReturnValue:
    todos = Todo.aquery(LIST, consistent_read=True, scan_index_forward=False)
    page = await db.apaginate(todos)
    return jsonify(page), {"Link": page.link_header} if page.link_header else {}


@bp.get("/todos/stream")
async def stream_todos() -> ResponseReturnValue:
    """Send one line of JSON for each to-do."""
    # Create the query here, inside the app context; its pages are read while the lines are sent.
    todos = Todo.aquery(LIST, page_size=PAGE)
    lines = (json.dumps(todo.to_json_dict()) + "\n" async for todo in todos)
    response = t.cast(Response, await make_response(lines))
    response.content_type = "application/x-ndjson"
    # Otherwise Quart ends the response after RESPONSE_TIMEOUT, which would cut a long list short.
    response.timeout = None
    return response


@bp.post("/todos")
async def create() -> ResponseReturnValue:
    todo = Todo(**await read_body(NewTodo))
    await todo.asave()
    return jsonify(todo), 201, {"Location": url_for(".show", id=todo.id)}


@bp.get("/todos/<uuid:id>")
async def show(id: uuid.UUID) -> ResponseReturnValue:
    return jsonify(await find(id))


@bp.patch("/todos/<uuid:id>")
async def change(id: uuid.UUID) -> ResponseReturnValue:
    """Change the title or ``done``; with ``version``, only if the to-do still has that version."""
    fields = await read_body(TodoChange)
    todo = await find(id)

    if fields.pop("version", todo.version) != todo.version:
        abort(409, CHANGED)

    if not fields:
        abort(400, "Nothing to change: give 'title' or 'done'.")

    await todo.aupdate([getattr(Todo, name).set(value) for name, value in fields.items()])
    return jsonify(todo)


@bp.delete("/todos/<uuid:id>")
async def delete(id: uuid.UUID) -> ResponseReturnValue:
    todo = await find(id)
    await todo.adelete(add_version_condition=False)
    return "", 204


@bp.errorhandler(UpdateError)
async def show_conflict(error: UpdateError) -> ResponseReturnValue:
    if not is_conflict(error):
        raise error

    return await show_error(Conflict(CHANGED))


async def show_error(error: HTTPException) -> ResponseReturnValue:
    headers = [(name, value) for name, value in error.get_headers() if name != "Content-Type"]
    return {"error": error.description}, error.code or 500, headers


async def find(id: uuid.UUID) -> Todo:
    message = f"There is no to-do {id}."
    return await Todo.aget_or_404(LIST, str(id), consistent_read=True, message=message)


async def read_body(schema: type[pydantic.BaseModel]) -> dict[str, t.Any]:
    """The fields that the request's body gives. Invalid content is answered with 400.

    :param schema: What the body must be, without any other field.
    """
    # Accept only JSON's content type: a browser sends some others for any web page without asking.
    if not request.is_json:
        abort(400, "The body must be sent as 'application/json'.")

    try:
        body = schema.model_validate_json(await request.get_data(), strict=True, extra="forbid")
        fields = body.model_dump(exclude_unset=True)
        return {**fields, "title": clean_title(fields["title"])} if "title" in fields else fields
    except pydantic.ValidationError as error:
        abort(400, "; ".join(map(describe, error.errors())))
    except ValueError as error:
        abort(400, str(error))


def describe(error: pydantic_core.ErrorDetails) -> str:
    name = ".".join(map(str, error["loc"])) or "The body"
    return f"{name}: {error['msg']}"
