"""The Quart app: the same to-dos as JSON."""

from __future__ import annotations

import json
import typing as t
import uuid

from pynamodb.exceptions import UpdateError
from quart import Blueprint
from quart import Quart
from quart import Response
from quart import abort
from quart import current_app
from quart import make_response
from quart import request
from quart import url_for
from quart.typing import ResponseReturnValue
from werkzeug.exceptions import Conflict
from werkzeug.exceptions import HTTPException

from .config import EMBEDDED
from .config import configure
from .models import LIST
from .models import Todo
from .models import clean_title
from .models import db
from .models import is_conflict

CHANGED = "The to-do was changed or deleted since it was read. Read it again."
PAGE = 100
FIELDS: dict[str, tuple[type, str]] = {
    "title": (str, "a string"),
    "done": (bool, "true or false"),
    "version": (int, "a whole number"),
}

bp = Blueprint("todos", __name__)


def create_app() -> Quart:
    app = Quart(__name__)
    configure(app)
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
    return [present(todo) async for todo in Todo.aquery(LIST, consistent_read=True)]


@bp.get("/todos/stream")
async def stream_todos() -> ResponseReturnValue:
    """Send one line of JSON for each to-do."""
    # Create the query here, inside the app context; its pages are read while the lines are sent.
    todos = Todo.aquery(LIST, page_size=PAGE)
    lines = (json.dumps(present(todo)) + "\n" async for todo in todos)
    response = t.cast(Response, await make_response(lines))
    response.content_type = "application/x-ndjson"
    # Otherwise Quart ends the response after RESPONSE_TIMEOUT, which would cut a long list short.
    response.timeout = None
    return response


@bp.post("/todos")
async def create() -> ResponseReturnValue:
    fields = await read_fields("title", "done")

    if "title" not in fields:
        abort(400, "'title' is missing.")

    todo = Todo(**fields)
    await todo.asave()
    return present(todo), 201, {"Location": url_for(".show", id=todo.id)}


@bp.get("/todos/<uuid:id>")
async def show(id: uuid.UUID) -> ResponseReturnValue:
    return present(await find(id))


@bp.patch("/todos/<uuid:id>")
async def change(id: uuid.UUID) -> ResponseReturnValue:
    """Change the title or ``done``; with ``version``, only if the to-do still has that version."""
    fields = await read_fields("title", "done", "version")
    todo = await find(id)

    if fields.pop("version", todo.version) != todo.version:
        abort(409, CHANGED)

    if not fields:
        abort(400, "Nothing to change: give 'title' or 'done'.")

    await todo.aupdate([getattr(Todo, name).set(value) for name, value in fields.items()])
    return present(todo)


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


def present(todo: Todo) -> dict[str, t.Any]:
    return {
        "id": todo.id,
        "title": todo.title,
        "done": todo.done,
        "created_at": todo.created_at.isoformat(),
        "version": todo.version,
    }


async def read_fields(*known: str) -> dict[str, t.Any]:
    """The fields of the JSON object in the request's body. Invalid content is answered with 400.

    :param known: The names of the allowed fields.
    """
    fields = await read_object()

    for name, value in fields.items():
        if name not in known:
            abort(400, f"There is no field {name!r}; these are known: {', '.join(known)}.")

        wanted, description = FIELDS[name]

        if type(value) is not wanted:
            abort(400, f"{name!r} must be {description}, not {json.dumps(value)}.")

    try:
        return {**fields, "title": clean_title(fields["title"])} if "title" in fields else fields
    except ValueError as error:
        abort(400, str(error))


async def read_object() -> dict[str, t.Any]:
    body: object = None

    # Accept only JSON's content type: a browser sends some others for any web page without asking.
    if request.is_json:
        try:
            body = json.loads(await request.get_data())
        except (ValueError, RecursionError):
            pass

    if not isinstance(body, dict):
        abort(400, "The body must be a JSON object, sent as 'application/json'.")

    return t.cast("dict[str, t.Any]", body)
