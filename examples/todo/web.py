"""The Flask app: a page to add, tick off and delete to-dos."""

from __future__ import annotations

import collections.abc as cabc
import typing as t
import uuid

from flask import Blueprint
from flask import Flask
from flask import Response
from flask import redirect
from flask import render_template
from flask import request
from flask import url_for
from flask.typing import ResponseReturnValue
from pynamodb.exceptions import UpdateError
from werkzeug.exceptions import HTTPException

from . import csrf
from .config import EMBEDDED
from .config import configure
from .models import LIST
from .models import MAX_TITLE
from .models import Todo
from .models import clean_title
from .models import db
from .models import is_conflict

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

bp = Blueprint("todos", __name__)


def create_app(settings: cabc.Mapping[str, t.Any] | None = None) -> Flask:
    app = Flask(__name__)
    configure(app, settings or {})
    db.init_app(app)
    csrf.protect(app)
    app.register_blueprint(bp)
    app.register_error_handler(HTTPException, show_error)
    app.after_request(add_headers)

    # Create the table here, because a command could not reach this process's embedded engine.
    if app.config["DYNAMODB_HOST"] == EMBEDDED:
        with app.app_context():
            Todo.create_table(wait=True)

    return app


@bp.get("/")
def index() -> str:
    return render_list()


@bp.post("/")
def add() -> ResponseReturnValue:
    typed = request.form.get("title", "")

    try:
        title = clean_title(typed)
    except ValueError as error:
        return render_list(title=typed, title_error=str(error)), 400

    Todo(title=title).save()
    return back_to_list()


@bp.post("/<uuid:id>/done")
def tick(id: uuid.UUID) -> ResponseReturnValue:
    find(id).update(actions=[Todo.done.set(request.form.get("done") == "yes")])
    return back_to_list()


@bp.post("/<uuid:id>/delete")
def delete(id: uuid.UUID) -> ResponseReturnValue:
    find(id).delete(add_version_condition=False)
    return back_to_list()


@bp.errorhandler(UpdateError)
def show_conflict(error: UpdateError) -> ResponseReturnValue:
    if not is_conflict(error):
        raise error

    return render_list(notice="Someone has just changed this to-do. This is how it is now."), 409


def show_error(error: HTTPException) -> ResponseReturnValue:
    return render_template("error.html", error=error), error.code or 500, error.get_headers()


def add_headers(response: Response) -> Response:
    response.headers.update(HEADERS)
    return response


def find(id: uuid.UUID) -> Todo:
    message = "There is no such to-do. Perhaps it was deleted."
    return Todo.get_or_404(LIST, str(id), consistent_read=True, message=message)


def render_list(**context: str) -> str:
    # The newest come first. A consistent read shows what the page's own form has just changed.
    todos = Todo.query(LIST, consistent_read=True, scan_index_forward=False)
    return render_template("list.html", page=db.paginate(todos), max_title=MAX_TITLE, **context)


def back_to_list() -> ResponseReturnValue:
    # With status 303, reloading the page does not send the form again.
    return redirect(url_for(".index", cursor=request.args.get("cursor")), 303)
