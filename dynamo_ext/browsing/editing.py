"""Reading, creating, changing and deleting one item, so that no other change is lost.

An edit is written under the condition that the item is what the visitor has seen. It changes those
attributes alone that the visitor has changed, so what others add meanwhile stays.
"""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import hashlib
import typing as t

import pynamodb.exceptions

from ..errors import error_code
from ..models.item_json import InvalidItem
from ..models.item_json import Raw
from ..web import conditions
from .catalogue import Table

_CONDITION_FAILED = "ConditionalCheckFailedException"
# DynamoDB takes 300 operators in an expression: as many comparisons, and an AND between each two.
_MOST_COMPARISONS = 150


class Conflict(Exception):
    """The item is not what the visitor has seen.

    :param current: What it is now; ``None`` if there is none.
    """

    def __init__(self, current: Raw | None) -> None:
        super().__init__("the item was changed")
        self.current = current


def digest(item: Raw) -> str:
    """What a form remembers of an item. Equal items have equal digests.

    :param item: The item.
    """
    return hashlib.sha256(_canonical(item).encode()).hexdigest()


def read(table: Table, key: Raw) -> Raw | None:
    """An item as it is now.

    :param table: Its table.
    :param key: Its key.
    """
    reply = _call(table, "GetItem", {"Key": key, "ConsistentRead": True})
    return t.cast("Raw | None", reply.get("Item"))


def create(table: Table, item: Raw) -> None:
    """Create an item.

    :param table: Its table.
    :param item: The item.
    :raises Conflict: if there is one with its key.
    """
    expression = _Expression()
    condition = f"attribute_not_exists({expression.name(table.key.hash)})"
    params = {"Item": item, "ConditionExpression": condition, **expression.params}
    _write(table, "PutItem", params, table.key_of(item))


def change(table: Table, key: Raw, wanted: Raw, *, seen: str) -> bool:
    """Change an item.

    :param table: Its table.
    :param key: Its key.
    :param wanted: What it should be, with the same key.
    :param seen: The digest of what the visitor has seen.
    :return: Whether there was anything to change.
    :raises Conflict: if it is something else by now.
    :raises InvalidItem: if it has too many changes for one request.
    """
    current = _as_seen(table, key, seen)
    edit = Edit.of(current, wanted, table)

    if edit.is_empty:
        return False

    if len(edit.set) + len(edit.removed) > _MOST_COMPARISONS:
        raise InvalidItem(
            f"this changes more than {_MOST_COMPARISONS} attributes at once, which DynamoDB can't"
            " do under the condition that nobody else has changed them. Save a part of it first."
        )

    _write(table, "UpdateItem", {"Key": key, **edit.params()}, key)
    return True


def delete(table: Table, key: Raw, *, seen: str) -> None:
    """Delete an item.

    :param table: Its table.
    :param key: Its key.
    :param seen: The digest of what the visitor has seen.
    :raises Conflict: if it is something else by now.
    """
    current = _as_seen(table, key, seen)
    expression = _Expression()
    condition = expression.unchanged(current, list(current)[:_MOST_COMPARISONS])
    params = {"Key": key, "ConditionExpression": condition, **expression.params}
    _write(table, "DeleteItem", params, key)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Edit:
    """The difference between an item as it is and as it should be."""

    current: Raw
    set: Raw
    """The attributes that get other values, or are new."""

    removed: tuple[str, ...]

    @classmethod
    def of(cls, current: Raw, wanted: Raw, table: Table) -> t.Self:
        """Compare two items.

        :param current: The item as it is.
        :param wanted: The item as it should be.
        :param table: Their table.
        """
        # The key stays, however a number in it is written.
        new = {
            name: value
            for name, value in wanted.items()
            if name not in table.key.names
            and (name not in current or _canonical(value) != _canonical(current[name]))
        }
        removed = tuple(name for name in current if name not in wanted)

        if new or removed:
            new = {**_next_versions(current, wanted, table.version_names), **new}

        return cls(current=current, set=new, removed=removed)

    @property
    def is_empty(self) -> bool:
        """Whether there is no difference."""
        return not self.set and not self.removed

    def params(self) -> dict[str, t.Any]:
        """The parameters of UpdateItem, but for table and key."""
        expression = _Expression()
        touched = [*self.set, *self.removed]
        # All that is written is compared, and of the rest as much as DynamoDB takes.
        compared = list(dict.fromkeys([*touched, *self.current]))[:_MOST_COMPARISONS]
        condition = expression.unchanged(self.current, compared)
        parts: list[str] = []

        if self.set:
            assignments = (
                f"{expression.name(name)} = {expression.value(value)}"
                for name, value in self.set.items()
            )
            parts.append(f"SET {', '.join(assignments)}")

        if self.removed:
            parts.append(f"REMOVE {', '.join(map(expression.name, self.removed))}")

        return {
            "UpdateExpression": " ".join(parts),
            "ConditionExpression": condition,
            **expression.params,
        }


class _Expression:
    """The placeholders of DynamoDB's expressions."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._values: dict[str, Raw] = {}

    def name(self, name: str) -> str:
        """The placeholder of an attribute."""
        return self._names.setdefault(name, f"#{len(self._names)}")

    def value(self, value: Raw) -> str:
        """A placeholder for a value."""
        placeholder = f":{len(self._values)}"
        self._values[placeholder] = value
        return placeholder

    def unchanged(self, item: Raw, names: cabc.Iterable[str]) -> str:
        """The condition that attributes are those of an item."""
        return " AND ".join(
            f"{self.name(name)} = {self.value(item[name])}"
            if name in item
            else f"attribute_not_exists({self.name(name)})"
            for name in names
        )

    @property
    def params(self) -> dict[str, t.Any]:
        """The parameters that tell DynamoDB what the placeholders stand for."""
        names = {placeholder: name for name, placeholder in self._names.items()}
        values = {"ExpressionAttributeValues": self._values} if self._values else {}
        return {"ExpressionAttributeNames": names, **values}


def _as_seen(table: Table, key: Raw, seen: str) -> Raw:
    current = read(table, key)

    if current is None or digest(current) != seen:
        raise Conflict(current)

    return current


def _next_versions(current: Raw, wanted: Raw, names: cabc.Iterable[str]) -> Raw:
    """The versions of an item after an edit that leaves them as they are.

    Else a model that has read the item before would write over the edit.
    """
    return {
        name: {"N": str(int(current[name]["N"]) + 1)}
        for name in names
        if name in wanted
        and name in current
        and current[name].get("N", "").isdecimal()
        and wanted[name] == current[name]
    }


def _canonical(value: t.Any) -> str:
    return conditions.as_text(conditions.ordered(value))


def _write(table: Table, operation: str, params: dict[str, t.Any], key: Raw) -> None:
    try:
        _call(table, operation, params)
    except pynamodb.exceptions.VerboseClientError as error:
        if error_code(error) != _CONDITION_FAILED:
            raise

        raise Conflict(read(table, key)) from None


def _call(table: Table, operation: str, params: dict[str, t.Any]) -> dict[str, t.Any]:
    connection = table.connection
    return connection.connection.dispatch(operation, {"TableName": connection.table_name, **params})
