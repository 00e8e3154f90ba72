"""Methods that models override, in the shapes in which apps do.

Each is a mixin: a plain class, which both sides have among their bases.
"""

from __future__ import annotations

import typing as t

calls: list[tuple[str, t.Any]] = []
"""Which overridden methods were called, and with which arguments, since it was cleared."""


def _note(name: str, *args: t.Any, **kwargs: t.Any) -> None:
    calls.append((name, (args, kwargs)))


class Init:
    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(*args, **kwargs)
        self.made = "by hand"


class InitByName:
    def __init__(self, hash_key: t.Any = None, range_key: t.Any = None, **attributes: t.Any):
        t.cast(t.Any, super()).__init__(hash_key, range_key, **attributes)
        self.keys = [hash_key, range_key]


class SaveWithKeywords:
    def save(self, **kwargs: t.Any) -> t.Any:
        _note("save", **kwargs)
        return t.cast(t.Any, super()).save(**kwargs)


class SaveWithPositions:
    def save(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
        _note("save", *args, **kwargs)
        return {"saved": t.cast(t.Any, super()).save(*args, **kwargs)}


class SaveWithMore:
    def save(self, condition: t.Any = None, *, audit: bool = True, **kwargs: t.Any) -> t.Any:
        _note("save", condition, audit=audit, **kwargs)
        return t.cast(t.Any, super()).save(condition, **kwargs)


class UpdateThenNothing:
    def update(self, actions: t.Any, condition: t.Any = None, **kwargs: t.Any) -> None:
        _note("update", actions, condition, **kwargs)
        t.cast(t.Any, super()).update(actions, condition, **kwargs)


class DeleteTwice:
    def delete(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
        _note("delete", *args, **kwargs)
        t.cast(t.Any, super()).delete(*args, **kwargs)
        return t.cast(t.Any, super()).delete(*args, **kwargs)


class RefreshConsistently:
    def refresh(self, consistent_read: bool = True) -> None:
        _note("refresh", consistent_read)
        t.cast(t.Any, super()).refresh(consistent_read)


class GetWithKeywords:
    @classmethod
    def get(cls, hash_key: t.Any, range_key: t.Any = None, **kwargs: t.Any) -> t.Any:
        _note("get", hash_key, range_key, **kwargs)
        return t.cast(t.Any, super()).get(hash_key, range_key, **kwargs)


class GetOrNone:
    @classmethod
    def get(cls, *args: t.Any, **kwargs: t.Any) -> t.Any:
        _note("get", *args, **kwargs)

        try:
            return t.cast(t.Any, super()).get(*args, **kwargs)
        except t.cast(t.Any, cls).DoesNotExist:
            return None


class Query:
    @classmethod
    def query(cls, hash_key: t.Any, *args: t.Any, **kwargs: t.Any) -> t.Any:
        _note("query", hash_key, *args, **kwargs)
        kwargs.setdefault("scan_index_forward", False)
        return t.cast(t.Any, super()).query(hash_key, *args, **kwargs)


class Scan:
    @classmethod
    def scan(cls, *args: t.Any, **kwargs: t.Any) -> t.Any:
        _note("scan", *args, **kwargs)
        return t.cast(t.Any, super()).scan(*args, **{"page_size": 7, **kwargs})


class Count:
    @classmethod
    def count(cls, *args: t.Any, **kwargs: t.Any) -> t.Any:
        _note("count", *args, **kwargs)
        return -t.cast(t.Any, super()).count(*args, **kwargs)


class BatchGet:
    @classmethod
    def batch_get(cls, items: t.Any, *args: t.Any, **kwargs: t.Any) -> t.Any:
        _note("batch_get", items, *args, **kwargs)
        return t.cast(t.Any, super()).batch_get(items[:1], *args, **kwargs)


class CreateTable:
    @classmethod
    def create_table(cls, *args: t.Any, **kwargs: t.Any) -> t.Any:
        _note("create_table", *args, **kwargs)
        # DynamoDB refuses a provisioned table without capacity, and this project says so.
        capacity = {"read_capacity_units": 5, "write_capacity_units": 6}
        return t.cast(t.Any, super()).create_table(
            *args, **{**capacity, **kwargs, "billing_mode": "PROVISIONED"}
        )


class DeleteTable:
    @classmethod
    def delete_table(cls, **kwargs: t.Any) -> t.Any:
        _note("delete_table", **kwargs)
        return [t.cast(t.Any, super()).delete_table(**kwargs)]


class DescribeTable:
    @classmethod
    def describe_table(cls) -> t.Any:
        _note("describe_table")
        return {**t.cast(t.Any, super()).describe_table(), "ItemCount": 77}


class FromRawData:
    @classmethod
    def from_raw_data(cls, data: t.Any) -> t.Any:
        item = t.cast(t.Any, super()).from_raw_data(data)
        item.raw = sorted(data)
        return item


class FromRawDataInstead:
    @classmethod
    def from_raw_data(cls, data: t.Any) -> t.Any:
        return {"raw": data}


class Serialize:
    def serialize(self, null_check: bool = True, *args: t.Any, **kwargs: t.Any) -> t.Any:
        serialize = t.cast(t.Any, super()).serialize
        return {**serialize(null_check, *args, **kwargs), "extra": {"S": "added"}}


class Deserialize:
    def deserialize(self, attribute_values: t.Any) -> None:
        t.cast(t.Any, super()).deserialize(attribute_values)
        self.read = sorted(attribute_values)


class SetAttr:
    def __setattr__(self, name: str, value: t.Any) -> None:
        super().__setattr__(name, value)
        vars(self).setdefault("written", []).append(name)


class Falsy:
    def __len__(self) -> int:
        return 0


class Defaults:
    def _set_defaults(self, _user_instantiated: bool = True) -> None:
        t.cast(t.Any, super())._set_defaults(_user_instantiated)
        vars(self)["is_new"] = _user_instantiated


class Equal:
    """Instances of the same keys are equal, and can be hashed."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return 1


OVERRIDES: dict[str, type] = {
    override.__name__: override
    for override in (
        Init,
        InitByName,
        SaveWithKeywords,
        SaveWithPositions,
        SaveWithMore,
        UpdateThenNothing,
        DeleteTwice,
        RefreshConsistently,
        GetWithKeywords,
        GetOrNone,
        Query,
        Scan,
        Count,
        BatchGet,
        CreateTable,
        DeleteTable,
        DescribeTable,
        FromRawData,
        FromRawDataInstead,
        Serialize,
        Deserialize,
        SetAttr,
        Falsy,
        Defaults,
        Equal,
    )
}
