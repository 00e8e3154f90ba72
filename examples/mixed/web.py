"""The Flask app: the pages to make a poll, to vote, and to see the results."""

from __future__ import annotations

import collections.abc as cabc
import secrets
import typing as t
import uuid

from flask import Blueprint
from flask import Flask
from flask import Response
from flask import current_app
from flask import flash
from flask import redirect
from flask import render_template
from flask import request
from flask import session
from flask import url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from . import same_origin
from .config import configure
from .models import BOARD
from .models import MAX_CHOICES
from .models import MAX_TEXT
from .models import Poll
from .models import db
from .models import new_poll
from .models import vote
from .models import vote_of

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self';"
    " connect-src 'self' {live_origin}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

bp = Blueprint("polls", __name__)


def create_app(settings: cabc.Mapping[str, t.Any] | None = None) -> Flask:
    app = Flask(__name__)
    configure(app, settings or {})
    db.init_app(app)
    same_origin.protect(app)
    app.register_blueprint(bp)
    app.register_error_handler(HTTPException, show_error)
    app.add_url_rule("/ready", view_func=ready)
    app.after_request(add_headers)
    return app


def ready() -> str:
    db.ping(timeout=2)
    return "ready"


@bp.before_request
def identify_voter() -> None:
    # Before there is a form: two quick clicks are two requests with the same cookies, and must come
    # from the same voter.
    session.setdefault("voter", secrets.token_urlsafe())


@bp.get("/")
def index() -> str:
    return render_index()


@bp.post("/")
def create() -> ResponseReturnValue:
    question, choices = request.form.get("question", ""), request.form.get("choices", "")

    try:
        poll = new_poll(question, choices.splitlines())
    except ValueError as error:
        return render_index(question=question, choices=choices, error=str(error)), 400

    poll.save()
    return redirect(url_for(".show", id=poll.id), 303)


@bp.get("/polls/<uuid:id>")
def show(id: uuid.UUID) -> str:
    return render_poll(find(id))


@bp.post("/polls/<uuid:id>")
def choose(id: uuid.UUID) -> ResponseReturnValue:
    poll = find(id)
    choice = request.form.get("choice", type=int)

    if choice is None or not 0 <= choice < len(poll.choices):
        return render_poll(poll, error="Choose an answer."), 400

    if vote(poll, session["voter"], choice).choice != choice:
        flash("You had already voted. Your first vote counts.")

    # With status 303, reloading the page does not send the form again.
    return redirect(url_for(".show", id=id), 303)


def show_error(error: HTTPException) -> ResponseReturnValue:
    return render_template("error.html", error=error), error.code or 500, error.get_headers()


def add_headers(response: Response) -> Response:
    live_origin = t.cast(str, current_app.config["LIVE_ORIGIN"])
    policy = CONTENT_SECURITY_POLICY.format(live_origin=live_origin)
    response.headers["Content-Security-Policy"] = policy
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def find(id: uuid.UUID) -> Poll:
    # A consistent read counts the vote that was given a moment ago.
    return Poll.get_or_404(BOARD, str(id), consistent_read=True, message="There is no such poll.")


def render_index(**context: str) -> str:
    polls = Poll.query(BOARD, consistent_read=True, scan_index_forward=False)
    page = db.paginate(polls, per_page=10)
    return render_template(
        "index.html", page=page, max_text=MAX_TEXT, max_choices=MAX_CHOICES, **context
    )


def render_poll(poll: Poll, **context: str) -> str:
    return render_template(
        "poll.html",
        poll=poll,
        vote=vote_of(poll, session["voter"]),
        live_url=f"{current_app.config['LIVE_ORIGIN']}/live/{poll.id}",
        **context,
    )
