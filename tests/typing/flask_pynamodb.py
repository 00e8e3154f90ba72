"""An app of flask-pynamodb, with the import changed: its models derive from ``db.Model``.

mypy accepts no attribute of an instance as a base class, whatever its type is
(https://github.com/python/mypy/issues/8603). That is the one message it may report here.
"""

from typing import Any
from typing import assert_type

from flask import Flask
from pynamodb.attributes import BooleanAttribute
from pynamodb.attributes import UnicodeAttribute

import dynamo_ext
from dynamo_ext import PynamoDB


class Config:
    DYNAMODB_HOST = "local://"
    DYNAMODB_AWS_ACCESS_KEY_ID = "test"
    DYNAMODB_AWS_SECRET_ACCESS_KEY = "test"
    DYNAMODB_READ_CAPACITY_UNITS = "10"
    DYNAMODB_WRITE_CAPACITY_UNITS = "10"


app = Flask(__name__)
app.config.from_object(Config)
db = PynamoDB(app)


class Todo(db.Model):  # error: name-defined # strict: misc
    class Meta:
        table_name = "todo"

    id = UnicodeAttribute(hash_key=True)
    name = UnicodeAttribute()
    done = BooleanAttribute(default=False)


@app.get("/todo/<id>")
def get_todo(id: str) -> dict[str, Any]:
    todo = Todo.get_or_404(id, message="No such to-do.")
    return todo.to_simple_dict()  # strict: no-any-return


def table_status() -> str:
    return str(Todo.describe_table()["TableStatus"])


assert_type(db.Model, type[dynamo_ext.Model])
assert_type(Todo("1").name, str)
