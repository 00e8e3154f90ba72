"""Several interpreters in one process, as mod_wsgi makes one for each application."""

from __future__ import annotations

import json
import typing as t

import pytest

from conftest import RunPython
from stub import Stub

pytestmark = [
    pytest.mark.slow,
    pytest.mark.wire,
    pytest.mark.once(reason="each test names its transport"),
]

APP = """
import sys

sys.path[:0] = {path!r}

import flask
from pynamodb.attributes import UnicodeAttribute

from dynamo_ext import Model, PynamoDB

class Item(Model):
    class Meta:
        table_name = "item"
    id = UnicodeAttribute(hash_key=True)

app = flask.Flask("app")
app.config.from_mapping({config!r})
db = PynamoDB(app)
print(Item.get({key!r}).id, db.pool.in_use, flush=True)
"""

INTERPRETERS = """
import json, sys

app, config = sys.argv[1], json.loads(sys.argv[2])

# mod_wsgi's share one lock, and take extension modules that know nothing of interpreters.
if sys.version_info >= (3, 13):
    import _interpreters

    def run(code):
        print(_interpreters.run_string(_interpreters.create("legacy"), code) or "", end="")
else:
    import _xxsubinterpreters

    def run(code):
        _xxsubinterpreters.run_string(_xxsubinterpreters.create(isolated=False), code)

for key in ("first", "second"):
    run(app.format(path=sys.path, config=config, key=key))
"""


def test_apps_in_interpreters_of_one_process_have_clients_of_their_own(
    stub: Stub, stub_config: dict[str, t.Any], run_python: RunPython
) -> None:
    config = {**stub_config, "DYNAMODB_TRANSPORT": "botocore"}
    done = run_python(INTERPRETERS, APP, json.dumps(config))
    assert done.stdout.split() == ["first", "0", "second", "0"], done.stderr[-2000:]
    assert len({request.peer for request in stub.requests}) == 2
