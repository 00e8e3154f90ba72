"""What the extension itself has, batches, transactions and errors."""

from typing import Any
from typing import assert_type

from flask import Flask
from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import PutError
from pynamodb.indexes import AllProjection
from pynamodb.indexes import GlobalSecondaryIndex
from pynamodb.indexes import KeysOnlyProjection
from pynamodb.indexes import LocalSecondaryIndex
from pynamodb.pagination import ResultIterator

from dynamo_ext import BatchWrite
from dynamo_ext import Bind
from dynamo_ext import Call
from dynamo_ext import ConfigError
from dynamo_ext import Connection
from dynamo_ext import Model
from dynamo_ext import Pool
from dynamo_ext import PoolStats
from dynamo_ext import PoolTimeout
from dynamo_ext import PynamoDB
from dynamo_ext import Settings
from dynamo_ext import TransactGet
from dynamo_ext import TransactWrite
from dynamo_ext import Unavailable
from dynamo_ext import UnprocessedItems
from dynamo_ext import UnprocessedKeys
from dynamo_ext import Using
from dynamo_ext import WriteOutcomeUnknown
from dynamo_ext import call_finished

app = Flask(__name__)
db = PynamoDB(app)


class ByOwner(GlobalSecondaryIndex["Todo"]):  # strict: no-untyped-call
    class Meta:
        projection = AllProjection()

    owner = UnicodeAttribute(hash_key=True)


class ByTitle(LocalSecondaryIndex["Todo"]):  # strict: no-untyped-call
    class Meta:
        index_name = "by-title"
        projection = KeysOnlyProjection()

    id = UnicodeAttribute(hash_key=True)
    title = UnicodeAttribute(range_key=True)


class Todo(Model):
    class Meta:
        table_name = "todo"

    id = UnicodeAttribute(hash_key=True)
    owner = UnicodeAttribute(range_key=True)
    title = UnicodeAttribute()
    by_owner = ByOwner()
    by_title = ByTitle()


def of_the_app() -> None:
    assert_type(db.settings, Settings)
    assert_type(db.settings.region, str)
    assert_type(db.settings.host, str | None)
    assert_type(db.settings.table_name_prefix, str)
    assert_type(db.connection, Connection)
    assert_type(db.pool, Pool)
    assert_type(db.pool.stats(), PoolStats)
    assert_type(db.pool.stats().calls, int)
    db.connection.describe_table("todo")  # strict: reportUnknownMemberType
    db.ping(timeout=0.5)


def indexes() -> None:
    assert_type(Todo.by_owner.query("me", limit=3), ResultIterator[Todo])
    assert_type(Todo.by_title.scan(), ResultIterator[Todo])
    assert_type(Todo.by_title.count("1", ByTitle.title.startswith("a")), int)
    assert_type([todo.owner for todo in Todo.by_owner.query("me")], list[str])


def batches(todo: Todo) -> list[str]:
    with Todo.batch_write(auto_commit=False) as batch:
        assert_type(batch, BatchWrite[Todo])
        batch.save(todo)
        batch.delete(todo)
        batch.commit()

    assert_type(batch.pending_operations, list[dict[str, Any]])
    return [each.title for each in Todo.batch_get([("1", "me"), ("2", "me")])]


def transactions(todo: Todo) -> Todo:
    with db.transact_get() as reading:
        assert_type(reading, TransactGet)
        future = reading.get(Todo, "1", "me")

    with db.transact_write(return_consumed_capacity="TOTAL") as writing:
        assert_type(writing, TransactWrite)
        writing.save(todo, Todo.id.does_not_exist(), return_values="ALL_OLD")
        writing.update(todo, [Todo.title.set("Buy milk")])
        writing.delete(todo, add_version_condition=False)
        writing.condition_check(Todo, "1", "me", Todo.title == "Buy milk")

    return future.get()


def errors(todo: Todo) -> str:
    try:
        todo.save(Todo.id.does_not_exist())
        Todo.get("1", "me")
    except Todo.DoesNotExist:
        return "gone"
    except PoolTimeout as error:
        unavailable: Unavailable = error
        return str(unavailable.retry_after)
    except UnprocessedItems as error:
        return f"{error.table_name}: {len(error.unprocessed_items)}"
    except UnprocessedKeys as error:
        return f"{error.table_name}: {len(error.unprocessed_keys)}"
    except PutError as error:
        if isinstance(error.__cause__, WriteOutcomeUnknown):
            return "unknown"

        assert_type(error.cause_response_code, str | None)
        return "refused"
    except ConfigError as error:
        return str(error)

    return "saved"


@call_finished.connect
def log(sender: object, call: Call, **other: Any) -> None:
    assert_type(call.operation, str)
    assert_type(call.table_name, str | None)
    assert_type(call.bind_key, str | None)


def binds() -> None:
    eu = db.bind("eu")
    assert_type(eu, Bind)
    assert_type(eu.settings, Settings)
    assert_type(eu.connection, Connection)
    assert_type(eu.pool, Pool)
    eu.ping(timeout=1)
    assert_type(db.using("eu"), Using)

    with db.using("eu"), db.using(None), eu.transact_write() as transaction:
        assert_type(transaction, TransactWrite)

    assert_type(count_in_eu("1"), int)


@db.using("eu")
def count_in_eu(id: str) -> int:
    return Todo.count(id)
