"""The app's models, and their tables as the models declare them."""

from __future__ import annotations

import collections.abc as cabc
import concurrent.futures
import contextvars
import dataclasses
import functools
import typing as t

from pynamodb.attributes import VersionAttribute

from ..client.connection import TableConnection
from ..client.place import Place
from ..errors import FAILURES
from ..errors import ConfigError
from ..models import late_binding
from ..models.item_json import KeySchema
from ..models.item_json import Raw
from ..models.late_binding import AnyModel
from ..models.model import Model
from ..models.model import concrete_models
from ..printable import escaped
from ..provisioning import described
from .visit import Problem

# Of the page's requests for tables. The pool of the engine may let fewer run at once.
_MOST_AT_ONCE = 8


@dataclasses.dataclass(frozen=True)
class Keys:
    """The key of a table or of an index."""

    index_name: str
    """Empty for the table itself."""

    hash: str
    range: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """The attributes of the key."""
        return (self.hash,) if self.range is None else (self.hash, self.range)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A model's table, in the current app and bind."""

    model: AnyModel

    @property
    def name(self) -> str:
        """What names the model in a URL."""
        return name_of(self.model)

    @property
    def declared_name(self) -> str:
        """The name of the table that the model declares, without prefix."""
        return str(late_binding.declared_meta(self.model).table_name)

    @property
    def connection(self) -> TableConnection:
        """The connection to the table.

        :raises ConfigError: if what the model declares is invalid, or raises an exception.
        """
        try:
            return late_binding.connection(self.model)
        except FAILURES:
            raise
        except Exception as error:
            # The page shows the other models all the same.
            raise ConfigError(
                f"The 'Meta' of the model {self.name} raises {type(error).__name__!r}."
            ) from error

    @property
    def bind_key(self) -> str | None:
        """The bind by which its calls go; ``None`` for the app's own settings."""
        return self.connection.connection.policy.bind_key

    @property
    def place(self) -> str:
        """Where the table is, for people: region and host."""
        place = Place.of(self.connection.connection.engine)
        shown = "" if place.is_aws or place.is_embedded else f", {place.host_and_port}"
        return escaped(f"{place.region}{shown}")

    @functools.cached_property
    def keys(self) -> list[Keys]:
        """The key of the table, and then that of each index."""
        described = self._declared
        indexes = [
            *described.get("GlobalSecondaryIndexes", ()),
            *described.get("LocalSecondaryIndexes", ()),
        ]
        return [_keys("", described), *(_keys(each["IndexName"], each) for each in indexes)]

    @property
    def key(self) -> Keys:
        """The key of the table itself."""
        return self.keys[0]

    @functools.cached_property
    def schema(self) -> KeySchema:
        """What the table demands of its items."""
        schema = KeySchema.of(self._declared)
        return dataclasses.replace(schema, names=self.key.names)

    @functools.cached_property
    def declared_names(self) -> frozenset[str]:
        """The attributes that the model, or one that shares its table, declares."""
        return frozenset(str(attribute.attr_name) for attribute in self._attributes)

    @functools.cached_property
    def version_names(self) -> frozenset[str]:
        """The attributes by which a model sees that another has written."""
        return frozenset(
            str(attribute.attr_name)
            for attribute in self._attributes
            if isinstance(attribute, VersionAttribute)
        )

    def key_of(self, item: Raw) -> Raw:
        """The key of an item.

        :param item: The item.
        """
        return self.schema.key(item)

    @property
    def _declared(self) -> dict[str, t.Any]:
        """The table in the form of DescribeTable's reply."""
        return t.cast("dict[str, t.Any]", t.cast(t.Any, self.connection).get_meta_table().data)

    @functools.cached_property
    def _attributes(self) -> list[t.Any]:
        """The attributes of all models of the table."""
        sharing: list[t.Any] = [
            other.model
            for other in tables(None)
            if other.model is self.model or _is_same(other, self)
        ]
        return [attribute for model in sharing for attribute in model.get_attributes().values()]


@dataclasses.dataclass(frozen=True, kw_only=True)
class State:
    """A table as DynamoDB has it."""

    status: str | None
    """``None`` if the table is missing, or DynamoDB does not tell."""

    items: int = 0
    problem: str | None = None


def tables(bind_key: str | None) -> list[Table]:
    """The tables of the app's models, in the order of the models' definition.

    :param bind_key: Leave out models that have another bind than this one of their own.
    """
    # Of two models with one name, such as after a module was loaded again, the last one.
    models = {name_of(model): model for model in concrete_models(Model)}
    return [
        Table(model=model) for model in models.values() if late_binding.is_in_bind(bind_key, model)
    ]


def find(name: str | None, bind_key: str | None) -> Table:
    """The table of a model.

    :param name: What names the model in a URL.
    :param bind_key: The bind that the URL names.
    :raises Problem: if the app has no such model.
    """
    for table in tables(bind_key):
        if table.name == name:
            return table

    raise Problem(404, "There is no such model.")


def name_of(model: AnyModel) -> str:
    """What names a model in a URL.

    :param model: The model.
    """
    return f"{model.__module__}.{model.__qualname__}"


def state(table: Table) -> State:
    """Ask DynamoDB for a table.

    :param table: The table.
    """
    try:
        found = described.describe_table(table.connection)
    except FAILURES as error:
        return State(status=None, problem=escaped(error))

    if found is None:
        return State(status=None)

    return State(status=found.get("TableStatus"), items=found.get("ItemCount", 0))


def states(tables: cabc.Collection[Table]) -> dict[int, State]:
    """Ask DynamoDB for several tables, some at once, and only once for one that models share.

    :param tables: The tables. Each of them has a connection.
    :return: The states, by the id of the table object.
    """
    places = {id(table): _place(table) for table in tables}
    different = {places[id(table)]: table for table in tables}

    if not different:
        return {}

    with concurrent.futures.ThreadPoolExecutor(min(len(different), _MOST_AT_ONCE)) as threads:
        # Each call is for the app and the bind of this request.
        asked = {
            place: threads.submit(contextvars.copy_context().run, state, table)
            for place, table in different.items()
        }
        return {at: asked[place].result() for at, place in places.items()}


def _place(table: Table) -> tuple[object, str]:
    """What tables have in common that models share."""
    connection = table.connection
    return connection.connection.engine, connection.table_name


def _keys(index_name: str, schema: cabc.Mapping[str, t.Any]) -> Keys:
    names = {each["KeyType"]: each["AttributeName"] for each in schema["KeySchema"]}
    return Keys(index_name, names["HASH"], names.get("RANGE"))


def _is_same(one: Table, other: Table) -> bool:
    """Whether two models share a table."""
    try:
        return _place(one) == _place(other)
    except FAILURES:
        return False
