"""What models do beyond PynamoDB's own: 404s, many models on one table, items on real engines."""

from __future__ import annotations

import typing as t

import flask
import pytest
import werkzeug.exceptions
from pynamodb.attributes import DiscriminatorAttribute
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.attributes import VersionAttribute
from pynamodb.exceptions import DeleteError
from pynamodb.exceptions import GetError
from pynamodb.exceptions import PutError
from pynamodb.exceptions import TableDoesNotExist
from pynamodb.indexes import AllProjection
from pynamodb.indexes import GlobalSecondaryIndex

from conftest import InApp
from dynamo_ext import Model
from dynamo_ext import PynamoDB
from stub import Answer
from stub import Stub

NOT_FOUND = werkzeug.exceptions.NotFound.description


class ByOwner(GlobalSecondaryIndex[t.Any]):
    class Meta:
        index_name = "by-owner"
        projection = AllProjection()

    owner = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(range_key=True)


class Todo(Model):
    class Meta:
        table_name = "todo"

    id = UnicodeAttribute(hash_key=True)
    owner = UnicodeAttribute(default="nobody")
    number = NumberAttribute(default=0)
    by_owner = ByOwner()


class Versioned(Model):
    class Meta:
        table_name = "versioned"

    id = UnicodeAttribute(hash_key=True)
    text = UnicodeAttribute(null=True)
    version = VersionAttribute()


class Animal(Model):
    class Meta:
        table_name = "animal"

    name = UnicodeAttribute(hash_key=True)
    kind = DiscriminatorAttribute()


class Cat(Animal, discriminator="cat"):
    lives = NumberAttribute(default=9)


class Dog(Animal, discriminator="dog"):
    tricks = NumberAttribute(default=0)


class Customer(Model):
    class Meta:
        table_name = "shop"

    email = UnicodeAttribute(hash_key=True, attr_name="pk")
    section = UnicodeAttribute(range_key=True, attr_name="sk", default="customer")
    name = UnicodeAttribute()


class ByState(GlobalSecondaryIndex[t.Any]):
    class Meta:
        index_name = "by-state"
        projection = AllProjection()

    state = UnicodeAttribute(hash_key=True)


class Order(Model):
    class Meta:
        table_name = "shop"

    customer = UnicodeAttribute(hash_key=True, attr_name="pk")
    number = UnicodeAttribute(range_key=True, attr_name="sk")
    state = UnicodeAttribute(default="new")
    by_state = ByState()


def test_items_are_written_read_changed_and_deleted(
    in_app: InApp, config: dict[str, t.Any]
) -> None:
    with in_app(config):
        Todo.create_table(wait=True)
        todo = Todo("1", owner="ann", number=3)
        todo.save()
        todo.update([Todo.number.set(4)])
        assert todo.number == 4

        again = Todo.get("1", consistent_read=True)
        assert (again.owner, again.number) == ("ann", 4)

        again.update([Todo.owner.set("bob")])
        todo.refresh()
        assert todo.owner == "bob"

        todo.delete()

        with pytest.raises(Todo.DoesNotExist):
            Todo.get("1")


def test_tables_and_indexes_are_queried_scanned_and_counted(
    in_app: InApp, config: dict[str, t.Any]
) -> None:
    with in_app(config):
        Todo.create_table(wait=True)

        for number in range(6):
            Todo(str(number), owner="ann" if number < 4 else "bob", number=number).save()

        assert [todo.id for todo in Todo.query("3")] == ["3"]
        assert {todo.id for todo in Todo.scan(Todo.number > 2, page_size=2)} == {"3", "4", "5"}
        assert Todo.by_owner.count("ann") == 4

        query = Todo.by_owner.query("ann", Todo.number >= 1, limit=2)
        assert [todo.id for todo in query] == ["1", "2"]

        rest = Todo.by_owner.query("ann", last_evaluated_key=query.last_evaluated_key)
        assert [todo.id for todo in rest] == ["3"]


def test_a_table_that_does_not_exist_is_named(in_app: InApp, config: dict[str, t.Any]) -> None:
    with in_app(config):
        assert not Todo.exists()

        with pytest.raises(TableDoesNotExist, match="-todo"):
            Todo.describe_table()


def test_a_version_is_counted_and_a_stale_item_is_refused(
    in_app: InApp, config: dict[str, t.Any]
) -> None:
    with in_app(config):
        Versioned.create_table(wait=True)
        first = Versioned("1", text="a")
        first.save()
        stale = Versioned.get("1")
        first.text = "b"
        first.save()
        assert first.version == Versioned.get("1").version == 2

        with pytest.raises(PutError):
            stale.save()

        with pytest.raises(DeleteError):
            stale.delete()

        assert Versioned.get("1").text == "b"

        first.update([Versioned.text.set("c")])
        assert first.version == 3

        stale.delete(add_version_condition=False)
        assert list(Versioned.scan()) == []


def test_polymorphic_items_come_back_as_what_they_were(
    in_app: InApp, config: dict[str, t.Any]
) -> None:
    with in_app(config):
        Animal.create_table(wait=True)
        Cat("tom", lives=7).save()
        Dog("rex", tricks=2).save()

        tom = t.cast(Cat, Animal.get("tom"))
        assert (type(tom), tom.lives) == (Cat, 7)
        assert type(Animal.get_or_404("tom")) is type(Cat.get_or_404("tom")) is Cat
        assert {type(animal) for animal in Animal.scan()} == {Cat, Dog}
        assert [dog.name for dog in Dog.scan()] == ["rex"]
        assert [dog.name for dog in Dog.query("tom")] == []
        assert [type(animal) for animal in Animal.batch_get(["tom"])] == [Cat]


def test_models_on_one_table_keep_their_own_keys_and_indexes(
    in_app: InApp, config: dict[str, t.Any]
) -> None:
    with in_app(config):
        # The one with the index, for the table has what the model that creates it declares.
        Order.create_table(wait=True)
        Customer("ann@example.com", name="Ann").save()
        Order("ann@example.com", "order-1").save()
        Order("ann@example.com", "order-2", state="sent").save()

        assert Customer.get("ann@example.com", "customer").name == "Ann"
        orders = Order.query("ann@example.com", Order.number.startswith("order"))
        assert [order.number for order in orders] == ["order-1", "order-2"]
        assert [order.number for order in Order.by_state.query("sent")] == ["order-2"]
        assert [item.section for item in Customer.batch_get([("ann@example.com", "customer")])] == [
            "customer"
        ]


def test_models_that_name_their_keys_differently_can_share_a_table_name(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    class One(Model):
        class Meta:
            table_name = "shared"

        first = NumberAttribute(hash_key=True)

    class Two(Model):
        class Meta:
            table_name = "shared"

        second = UnicodeAttribute(hash_key=True)
        third = NumberAttribute(range_key=True)

    with in_app(stub_config):
        One.get(1)
        Two.get("a", 2)
        One.get(3)

    assert [request.body["Key"] for request in stub.requests] == [
        {"first": {"N": "1"}},
        {"second": {"S": "a"}, "third": {"N": "2"}},
        {"first": {"N": "3"}},
    ]


def not_found(client: t.Any, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 404
    return t.cast(str, response.get_data(as_text=True))


@pytest.fixture
def web(config: dict[str, t.Any]) -> flask.Flask:
    """An app with pages that end in 404 where an item or any is missing."""
    app = flask.Flask("web")
    app.config.from_mapping(config)
    PynamoDB(app)

    @app.get("/todo/<todo_id>")
    def todo(todo_id: str) -> str:
        return Todo.get_or_404(todo_id).id

    @app.get("/worded/<todo_id>")
    def worded(todo_id: str) -> str:
        return Todo.get_or_404(hash_key=todo_id, message=f"There is no to-do {todo_id}.").id

    @app.get("/first")
    def first() -> str:
        return Todo.first_or_404().id

    @app.get("/worded-first")
    def worded_first() -> str:
        return Todo.first_or_404(message="Nothing to do.").id

    with app.app_context():
        Todo.create_table(wait=True)

    return app


def test_what_is_missing_is_404(web: flask.Flask) -> None:
    client = web.test_client()

    assert str(NOT_FOUND) in not_found(client, "/todo/1")
    assert "There is no to-do 1." in not_found(client, "/worded/1")
    assert str(NOT_FOUND) in not_found(client, "/first")
    assert "Nothing to do." in not_found(client, "/worded-first")


def test_what_is_there_is_given_instead_of_404(web: flask.Flask) -> None:
    with web.app_context():
        Todo("1").save()

    client = web.test_client()

    for path in ("/todo/1", "/worded/1", "/first", "/worded-first"):
        assert client.get(path).text == "1"


def test_get_or_404_takes_what_get_takes(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    with in_app(stub_config):
        Order.get_or_404("ann", "1", True, ["state"])
        Order.get_or_404(hash_key="ann", range_key="1", consistent_read=True)

    first, second = stub.requests
    assert first.body["Key"] == second.body["Key"] == {"pk": {"S": "ann"}, "sk": {"S": "1"}}
    assert first.body["ConsistentRead"] is second.body["ConsistentRead"] is True
    assert first.body["ExpressionAttributeNames"] == {"#0": "state"}


def test_a_404_of_the_innermost_app_is_raised_by_its_own_aborter(
    stub_config: dict[str, t.Any], stub: Stub
) -> None:
    class Gone(werkzeug.exceptions.NotFound):
        pass

    class Aborter(werkzeug.exceptions.Aborter):
        def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
            super().__init__(extra={404: Gone})

    class App(flask.Flask):
        aborter_class = Aborter

    stub.always("GetItem", Answer())
    db = PynamoDB()
    app = App("own-aborter")
    plain = flask.Flask("plain")

    for each in (app, plain):
        each.config.from_mapping(stub_config)
        db.init_app(each)

    with app.app_context():
        with pytest.raises(Gone, match="no such thing"):
            Todo.get_or_404("1", message="no such thing")

        with plain.app_context(), pytest.raises(werkzeug.exceptions.NotFound) as raised:
            Todo.get_or_404("1")

        assert not isinstance(raised.value, Gone)


def test_the_first_of_a_polymorphic_model_is_found_behind_others(
    in_app: InApp, config: dict[str, t.Any]
) -> None:
    with in_app(config):
        Animal.create_table(wait=True)

        with pytest.raises(werkzeug.exceptions.NotFound):
            Animal.first_or_404()

        for number in range(20):
            Cat(f"cat-{number}").save()

        with pytest.raises(werkzeug.exceptions.NotFound):
            Dog.first_or_404()

        Dog("rex").save()
        assert Dog.first_or_404().name == "rex"
        assert isinstance(Animal.first_or_404(), (Cat, Dog))


def test_the_first_is_asked_for_alone(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    stub.always("Scan", Answer(body={"Items": [{"id": {"S": "1"}}], "Count": 1, "ScannedCount": 1}))

    with in_app(stub_config):
        assert Todo.first_or_404().id == "1"

    (request,) = stub.requests
    assert request.body["Limit"] == 1


def test_a_failure_is_no_404(in_app: InApp, config: dict[str, t.Any]) -> None:
    with in_app(config), pytest.raises(GetError, match="ResourceNotFound"):
        Todo.get_or_404("1")
