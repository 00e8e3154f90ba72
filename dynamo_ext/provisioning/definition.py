"""``Definition``: what a table is, whether its models declare it or DynamoDB describes it."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import typing as t

HASH: t.Final = "HASH"
ALL: t.Final = "ALL"


@dataclasses.dataclass(frozen=True)
class KeyAttribute:
    """An attribute that is part of a key."""

    attribute: str
    kind: str
    """``HASH`` or ``RANGE``."""

    type: str
    """``S``, ``N`` or ``B``."""

    def __str__(self) -> str:
        return f"{self.attribute} {self.kind} {self.type}"


@dataclasses.dataclass(frozen=True)
class Capacity:
    """Capacity units. ``None``: not declared, or not told."""

    read: int | None = None
    write: int | None = None

    def __str__(self) -> str:
        return f"{_shown(self.read)} read, {_shown(self.write)} write"

    def agrees_with(self, other: Capacity) -> bool:
        """Whether no unit is known of both and differs.

        :param other: Another capacity.
        """
        pairs = ((self.read, other.read), (self.write, other.write))
        return all(None in pair or pair[0] == pair[1] for pair in pairs)

    def completed_by(self, other: Capacity) -> Capacity:
        """This capacity, with the other's units where it has none.

        :param other: Another capacity.
        """
        read = other.read if self.read is None else self.read
        return Capacity(read, other.write if self.write is None else self.write)

    @property
    def is_complete(self) -> bool:
        """Whether both units are known."""
        return self.read is not None and self.write is not None


@dataclasses.dataclass(frozen=True)
class Index:
    """A secondary index."""

    name: str
    keys: tuple[KeyAttribute, ...]
    projection: str
    """``ALL``, ``KEYS_ONLY`` or ``INCLUDE``."""

    projected: frozenset[str] = frozenset()
    """The attributes that an ``INCLUDE`` names."""

    capacity: Capacity = Capacity()
    """Of a global index in a provisioned table."""

    @property
    def shown_projection(self) -> str:
        """The projection, for people."""
        names = f" {', '.join(sorted(self.projected))}" if self.projected else ""
        return self.projection + names

    def __str__(self) -> str:
        return f"{shown_keys(self.keys)}; projection {self.shown_projection}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Definition:
    """A table. What is ``None`` is not declared; or, in a description, does not exist."""

    name: str
    keys: tuple[KeyAttribute, ...]
    global_indexes: cabc.Mapping[str, Index]
    local_indexes: cabc.Mapping[str, Index]
    billing_mode: str
    capacity: Capacity
    stream: str | None
    """What its stream shows of an item, such as ``NEW_IMAGE``."""

    ttl: str | None
    """The attribute by which items expire."""

    tags: cabc.Mapping[str, str] | None
    deletion_protection: bool | None
    point_in_time_recovery: bool | None

    @property
    def attribute_types(self) -> dict[str, str]:
        """The type of each attribute that is part of a key, of the table or an index."""
        indexes = (*self.global_indexes.values(), *self.local_indexes.values())
        keys = [*self.keys, *(key for index in indexes for key in index.keys)]
        return {key.attribute: key.type for key in keys}


def shown_keys(keys: cabc.Iterable[KeyAttribute]) -> str:
    """Keys, for people.

    :param keys: The keys.
    """
    return ", ".join(map(str, keys))


def _shown(units: int | None) -> str:
    return "?" if units is None else str(units)
