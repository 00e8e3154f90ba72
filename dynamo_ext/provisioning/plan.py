"""The steps that make a table what its models declare."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import typing as t

from ..config.settings import PROVISIONED
from .definition import Capacity
from .definition import Definition
from .definition import Index
from .definition import KeyAttribute
from .described import Description
from .differences import Difference
from .differences import Part
from .differences import compare

_UPDATE_TABLE = "UpdateTable"
_UNCHANGEABLE = (Part.KEYS, Part.LOCAL_INDEX)
_RECREATES = (Part.INDEX_KEYS, Part.INDEX_PROJECTION)

Params = dict[str, t.Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """One request to DynamoDB."""

    text: str
    """What it does, for people."""

    operation: str
    params: Params
    """The parameters, without the table."""

    removes: bool = False
    """Whether something is lost that can't be had back in a moment: ask first."""

    index: str | None = None
    """The global index that it creates or deletes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What would make a table what its models declare."""

    creates: bool = False
    """Whether there is no table yet."""

    steps: tuple[Step, ...] = ()
    refusals: tuple[str, ...] = ()
    """What DynamoDB can't change, for people. Then no step may be taken."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.creates or self.steps or self.refusals)

    @property
    def removes(self) -> bool:
        """Whether a step removes something."""
        return any(step.removes for step in self.steps)


def plan(declared: Definition, found: Description | None) -> Plan:
    """Plan the steps, in an order in which DynamoDB takes them.

    :param declared: What the models declare.
    :param found: What DynamoDB has; ``None`` if there is no such table.
    """
    if found is None:
        return Plan(creates=True)

    return _Planner(declared, found).plan()


class _Planner:
    def __init__(self, declared: Definition, found: Description) -> None:
        self._declared = declared
        self._actual = found.definition
        self._arn = found.arn
        self._differences = compare(declared, found.definition)

    def plan(self) -> Plan:
        steps = (
            *self._delete_indexes(),
            *self._update_billing(),
            *self._create_indexes(),
            *self._update_stream(),
            *self._update_ttl(),
            *self._tag(),
            *self._protect(),
            *self._recover(),
        )
        return Plan(steps=steps, refusals=tuple(self._refusals()))

    def _of(self, *parts: str) -> list[Difference]:
        return [each for each in self._differences if each.part in parts]

    def _refusals(self) -> cabc.Iterator[str]:
        for difference in self._of(*_UNCHANGEABLE):
            yield f"{difference}. DynamoDB can't change this in a table that exists."

        if self._of(Part.BILLING_MODE) and self._declared.billing_mode == PROVISIONED:
            lacking = [
                name for name, capacity in self._capacities_to_set() if not capacity.is_complete
            ]

            if lacking:
                yield (
                    f"{Part.BILLING_MODE}: to make it {PROVISIONED}, set"
                    " 'read_capacity_units' and 'write_capacity_units' in the model's Meta, or"
                    " 'DYNAMODB_READ_CAPACITY_UNITS' and 'DYNAMODB_WRITE_CAPACITY_UNITS'."
                )

    @property
    def _recreated(self) -> set[str | None]:
        return {difference.name for difference in self._of(*_RECREATES)}

    @property
    def _kept(self) -> dict[str, Index]:
        """The global indexes that stay, as they are declared."""
        return {
            name: index
            for name, index in self._declared.global_indexes.items()
            if name in self._actual.global_indexes and name not in self._recreated
        }

    def _delete_indexes(self) -> cabc.Iterator[Step]:
        for name, index in self._actual.global_indexes.items():
            if name not in self._kept:
                again = ", to create it again" if name in self._recreated else ""
                yield Step(
                    text=f"delete global index '{name}' ({index}){again}",
                    operation=_UPDATE_TABLE,
                    params=_index_update("Delete", {"IndexName": name}),
                    removes=True,
                    index=name,
                )

    def _create_indexes(self) -> cabc.Iterator[Step]:
        present = dict(self._kept)

        for name, index in self._declared.global_indexes.items():
            if name in present:
                continue

            present[name] = index
            definition = dataclasses.replace(self._actual, global_indexes=present)
            yield Step(
                text=f"create global index '{name}' ({index})",
                operation=_UPDATE_TABLE,
                params={
                    "AttributeDefinitions": attribute_definitions(definition),
                    **_index_update("Create", self._new_index(index)),
                },
                index=name,
            )

    def _new_index(self, index: Index) -> Params:
        is_provisioned = self._declared.billing_mode == PROVISIONED
        # Where nothing declares a capacity, that of the table scales by itself.
        capacity = index.capacity.completed_by(self._actual.capacity)
        return index_parameters(index, capacity if is_provisioned else None)

    def _update_billing(self) -> cabc.Iterator[Step]:
        mode = self._declared.billing_mode

        if self._of(Part.BILLING_MODE):
            params: Params = {"BillingMode": mode}

            if mode == PROVISIONED:
                params |= self._throughput(self._capacities_to_set())

            yield Step(
                text=f"set billing mode {mode}{self._shown_capacity()}",
                operation=_UPDATE_TABLE,
                params=params,
            )
        elif changed := self._changed_capacities():
            shown = "; ".join(
                f"table {capacity}" if name is None else f"global index '{name}' {capacity}"
                for name, capacity in changed
            )
            yield Step(
                text=f"set capacity: {shown}",
                operation=_UPDATE_TABLE,
                params=self._throughput(changed),
            )

    def _shown_capacity(self) -> str:
        is_provisioned = self._declared.billing_mode == PROVISIONED
        return f" ({self._declared.capacity})" if is_provisioned else ""

    def _capacities_to_set(self) -> list[tuple[str | None, Capacity]]:
        """The capacity of the table, which has no name here, and of each index that stays."""
        indexes = [(name, index.capacity) for name, index in self._kept.items()]
        return [(None, self._declared.capacity), *indexes]

    def _changed_capacities(self) -> list[tuple[str | None, Capacity]]:
        changed: list[tuple[str | None, Capacity]] = []

        if self._of(Part.CAPACITY):
            changed.append((None, self._declared.capacity.completed_by(self._actual.capacity)))

        for difference in self._of(Part.INDEX_CAPACITY):
            if (name := difference.name) in self._kept:
                actual = self._actual.global_indexes[name].capacity
                changed.append((name, self._kept[name].capacity.completed_by(actual)))

        return changed

    def _throughput(self, capacities: cabc.Iterable[tuple[str | None, Capacity]]) -> Params:
        params: Params = {}
        updates: list[Params] = []

        for name, capacity in capacities:
            throughput = {"ProvisionedThroughput": throughput_of(capacity)}

            if name is None:
                params |= throughput
            else:
                updates.append({"Update": {"IndexName": name, **throughput}})

        return {**params, "GlobalSecondaryIndexUpdates": updates} if updates else params

    def _update_stream(self) -> cabc.Iterator[Step]:
        if not self._of(Part.STREAM):
            return

        if (old := self._actual.stream) is not None:
            yield Step(
                text=f"end stream {old}: its readers must change to a new one",
                operation=_UPDATE_TABLE,
                params={"StreamSpecification": {"StreamEnabled": False}},
                removes=True,
            )

        yield Step(
            text=f"start stream {self._declared.stream}",
            operation=_UPDATE_TABLE,
            params={
                "StreamSpecification": {
                    "StreamEnabled": True,
                    "StreamViewType": self._declared.stream,
                }
            },
        )

    def _update_ttl(self) -> cabc.Iterator[Step]:
        if not self._of(Part.TTL):
            return

        if (old := self._actual.ttl) is not None:
            yield self._ttl(f"end TTL by '{old}': items stay", old, enabled=False)

        if (new := self._declared.ttl) is not None:
            yield self._ttl(f"start TTL by '{new}'", new, enabled=True)

    def _ttl(self, text: str, attribute: str, *, enabled: bool) -> Step:
        return Step(
            text=text,
            operation="UpdateTimeToLive",
            params={"TimeToLiveSpecification": {"Enabled": enabled, "AttributeName": attribute}},
            removes=not enabled,
        )

    def _tag(self) -> cabc.Iterator[Step]:
        names = [t.cast(str, difference.name) for difference in self._of(Part.TAG)]
        tags = {name: (self._declared.tags or {})[name] for name in names}

        if tags:
            yield Step(
                text=f"tag {', '.join(f'{name}={value}' for name, value in tags.items())}",
                operation="TagResource",
                params={"ResourceArn": self._arn, "Tags": tag_list(tags)},
            )

    def _protect(self) -> cabc.Iterator[Step]:
        if self._of(Part.DELETION_PROTECTION):
            wanted = self._declared.deletion_protection
            yield Step(
                text=f"{'start' if wanted else 'end'} deletion protection",
                operation=_UPDATE_TABLE,
                params={"DeletionProtectionEnabled": wanted},
            )

    def _recover(self) -> cabc.Iterator[Step]:
        if self._of(Part.POINT_IN_TIME_RECOVERY):
            wanted = bool(self._declared.point_in_time_recovery)
            yield Step(
                text=f"{'start' if wanted else 'end'} point-in-time recovery"
                f"{'' if wanted else ': its backups are lost'}",
                operation="UpdateContinuousBackups",
                params={"PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": wanted}},
                removes=not wanted,
            )


def index_parameters(index: Index, capacity: Capacity | None = None) -> Params:
    """An index as CreateTable, UpdateTable and CloudFormation take it.

    :param index: The index.
    :param capacity: Its capacity, if it has one.
    """
    projection: Params = {"ProjectionType": index.projection}

    if index.projected:
        projection["NonKeyAttributes"] = sorted(index.projected)

    params = {
        "IndexName": index.name,
        "KeySchema": key_schema(index.keys),
        "Projection": projection,
    }
    return (
        params if capacity is None else {**params, "ProvisionedThroughput": throughput_of(capacity)}
    )


def key_schema(keys: cabc.Iterable[KeyAttribute]) -> list[dict[str, str]]:
    """Keys as DynamoDB takes them.

    :param keys: The keys.
    """
    return [{"AttributeName": key.attribute, "KeyType": key.kind} for key in keys]


def attribute_definitions(definition: Definition) -> list[dict[str, str]]:
    """The types of the attributes that are part of a key, as DynamoDB takes them.

    :param definition: The table.
    """
    return [
        {"AttributeName": name, "AttributeType": kind}
        for name, kind in definition.attribute_types.items()
    ]


def throughput_of(capacity: Capacity) -> dict[str, int | None]:
    """A capacity as DynamoDB takes it.

    :param capacity: The capacity.
    """
    return {"ReadCapacityUnits": capacity.read, "WriteCapacityUnits": capacity.write}


def tag_list(tags: cabc.Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as DynamoDB takes them.

    :param tags: The tags.
    """
    return [{"Key": name, "Value": value} for name, value in tags.items()]


def _index_update(action: str, params: Params) -> Params:
    return {"GlobalSecondaryIndexUpdates": [{action: params}]}
