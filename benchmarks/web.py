"""What a view costs with this project's shortcuts, and without: ``python -m benchmarks.web``.

Calls that are recorded or traced are compared as well: see :mod:`benchmarks.observed`.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import sys
import typing as t

import flask
from pynamodb.attributes import BooleanAttribute
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import TTLAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.attributes import UnicodeSetAttribute
from pynamodb.attributes import UTCDateTimeAttribute

from dynamo_ext import Model
from dynamo_ext import PynamoDB

from . import observed
from . import stub
from .comparison import Comparison
from .comparison import compare
from .contestants import models
from .contestants.calls import HASH_KEY

_ROUNDS = 15
_CALLS = 200
_PER_PAGE = 20
_ITEMS = 100


def main() -> None:
    options = _options()
    is_too_slow = False

    with contextlib.ExitStack() as stack:
        for comparison in [_paginate(stack), _jsonify(stack), *observed.comparisons(stack)]:
            outcome = compare(comparison, rounds=options.rounds, calls=options.calls)
            is_too_slow |= outcome.is_too_slow
            print(outcome, flush=True)

    sys.exit(is_too_slow)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.web", description=__doc__)
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    parser.add_argument("--calls", type=int, default=_CALLS, help="calls of each way in a round")
    return parser.parse_args()


def _paginate(stack: contextlib.ExitStack) -> Comparison:
    """A page behind the first one, in a request."""
    hand_model, _, hand_app = _app(stack, items=_PER_PAGE)
    # One item more tells whether there is a next page.
    model, db, app = _app(stack, items=_PER_PAGE + 1)

    with app.app_context():
        cursor = db.paginate(model.query(HASH_KEY)).next_cursor

    def by_hand() -> object:
        with hand_app.test_request_context(f"/?start={cursor}"):
            key = {"pk": {"S": HASH_KEY}, "sk": {"S": flask.request.args["start"]}}
            result = hand_model.query(HASH_KEY, limit=_PER_PAGE, last_evaluated_key=key)
            items = list(result)
            return items, result.last_evaluated_key

    def shortcut() -> object:
        with app.test_request_context(f"/?cursor={cursor}"):
            page = db.paginate(model.query(HASH_KEY))
            return page.items, page.next_url

    return Comparison("paginate, 20 items", by_hand, shortcut, most=1.3)


def _app(stack: contextlib.ExitStack, *, items: int) -> tuple[t.Any, PynamoDB, flask.Flask]:
    """A model, and an app whose queries give so many items."""
    server = stack.enter_context(stub.running([], items=items))
    app = flask.Flask("bench")
    app.config.from_mapping(models.settings(server.url(0), 10, "botocore"), SECRET_KEY="secret")
    (model,) = models.define(Model)
    return model, PynamoDB(app), app


class _Todo(Model):
    class Meta:
        table_name = "todo"

    id = UnicodeAttribute(hash_key=True)
    title = UnicodeAttribute()
    done = BooleanAttribute(default=False)
    priority = NumberAttribute(default=1)
    tags = UnicodeSetAttribute()
    created = UTCDateTimeAttribute()
    expires = TTLAttribute()


class _Account(_Todo):
    class Meta(_Todo.Meta):
        json_exclude = ("priority",)


def _jsonify(stack: contextlib.ExitStack) -> Comparison:
    """A list of items, half of them of a model that leaves an attribute out."""
    now = datetime.datetime.now(datetime.UTC)
    kinds: tuple[type[t.Any], ...] = (_Todo, _Account)
    items = [
        kinds[n % 2](str(n), title="A title", tags={"a", "b"}, created=now, expires=now)
        for n in range(_ITEMS)
    ]
    app = flask.Flask("bench")
    app.config["DYNAMODB_REGION"] = "us-east-1"
    PynamoDB(app)
    stack.enter_context(app.app_context())

    def by_hand() -> object:
        return flask.jsonify([item.to_simple_dict(force=True) for item in items])

    def shortcut() -> object:
        return flask.jsonify(items)

    return Comparison(f"jsonify, {_ITEMS} items", by_hand, shortcut, most=1.5)


if __name__ == "__main__":
    main()
