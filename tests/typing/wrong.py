"""Mistakes, each with what type checkers must say about it."""

from typing import Any

from flask import Flask
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute

from dynamo_ext import Model
from dynamo_ext import PynamoDB

app = Flask(__name__)
db = PynamoDB(app)


class Todo(Model):
    class Meta:
        table_name = "todo"

    id = UnicodeAttribute(hash_key=True)
    rank = NumberAttribute()


class Other(Model):
    class Meta:
        table_name = "other"

    id = UnicodeAttribute(hash_key=True)


def extension() -> None:
    PynamoDB("web")  # error: arg-type, reportArgumentType
    db.init_app(app.name)  # error: arg-type, reportArgumentType
    db.ping(timeout="2")  # error: arg-type, reportArgumentType
    db.ping(2, 3)  # error: call-arg, reportCallIssue
    db.run_sync(len, "four")  # error: attr-defined, reportAttributeAccessIssue
    db.settings.regoin  # error: attr-defined, reportAttributeAccessIssue
    db.settings.region = "eu-west-1"  # error: misc, reportAttributeAccessIssue
    db.pool.stats().kalls  # error: attr-defined, reportAttributeAccessIssue
    db.pool = db.pool  # error: misc, reportAttributeAccessIssue
    db.bind("eu").settings.regoin  # error: attr-defined, reportAttributeAccessIssue
    db.bind(5)  # error: arg-type, reportArgumentType
    db.using()  # error: call-arg, reportCallIssue
    db.connection.describe_table(1)  # error: arg-type, reportArgumentType


def model(todo: Todo) -> None:
    Todo.get()  # error: call-arg, reportCallIssue
    Todo.get("1", consistnt_read=True)  # error: call-arg, reportCallIssue
    Todo.get_or_404("1", mesage="No such to-do.")  # error: call-arg, reportCallIssue
    Todo.get_or_404("1", None, False, None, "No such to-do.")  # error: call-arg, reportCallIssue
    Todo.first_or_404(1)  # error: arg-type, reportArgumentType
    Todo.query("1", "title")  # error: arg-type, reportArgumentType
    Todo.query("1", limit="3")  # error: arg-type, reportArgumentType
    Todo.scan(filter_condition=True)  # error: arg-type, reportArgumentType
    Todo.create_table(billing_mode=1)  # error: arg-type, reportArgumentType
    Todo.delete_table(True)  # error: call-arg, reportCallIssue
    Todo.aget("1")  # error: attr-defined, reportAttributeAccessIssue
    todo.save(True)  # error: arg-type, reportArgumentType
    todo.update(Todo.rank.set(1))  # error: arg-type, reportArgumentType
    print(Todo.rank.set("1"))  # error: arg-type, reportArgumentType
    todo.id = 1  # error: assignment, reportAttributeAccessIssue
    todo.rank.lower()  # error: attr-defined, reportAttributeAccessIssue
    todo.tilte  # error: attr-defined, reportAttributeAccessIssue


def results(todo: Todo) -> None:
    number: int = Todo.get("1")  # error: assignment, reportAssignmentType
    other: Other = Todo.get_or_404("1")  # error: assignment, reportAssignmentType
    others: list[Other] = list(Todo.scan())  # error: arg-type, reportAssignmentType
    text: str = Todo.first_or_404().rank  # error: assignment, reportAssignmentType
    count: str = Todo.count()  # error: assignment, reportAssignmentType
    print(number, other, others, text, count)


def batches_and_transactions(todo: Todo, other: Other) -> None:
    Todo.batch_write(commit=False)  # error: call-arg, reportCallIssue

    with Todo.batch_write() as batch:
        batch.save(other)  # error: arg-type, reportArgumentType
        batch.delete("1")  # error: arg-type, reportArgumentType
        batch.svae(todo)  # error: attr-defined, reportAttributeAccessIssue

    Todo.batch_get(1)  # error: arg-type, reportArgumentType

    with db.transact_get() as reading:
        reading.get("Todo", "1")  # error: arg-type, reportArgumentType
        future = reading.get(Todo, "1")

    wrong: Other = future.get()  # error: assignment, reportAssignmentType

    db.transact_write("token")  # error: call-arg, reportCallIssue

    with db.transact_write() as writing:
        writing.save(Todo)  # error: arg-type, reportArgumentType
        writing.update(todo, Todo.rank.set(1))  # error: arg-type, reportArgumentType
        writing.condition_check(todo, "1")  # error: arg-type, reportArgumentType

    print(wrong)


class Saves(Model):
    def save(self) -> None:  # error: override # strict: reportIncompatibleMethodOverride
        return None


class Deletes(Model):
    def delete(self, why: str) -> Any:  # error: override # strict: reportIncompatibleMethodOverride
        return why
