"""In what a table differs from what its models declare."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import typing as t

from ..config.settings import PROVISIONED
from .definition import Definition
from .definition import Index
from .definition import shown_keys

_MISSING = "missing"
_NOTHING = "nothing"


class Part:
    """The parts of a table that may differ, as people call them."""

    KEYS: t.Final = "keys"
    LOCAL_INDEX: t.Final = "local index"
    GLOBAL_INDEX: t.Final = "global index"
    INDEX_KEYS: t.Final = "keys of global index"
    INDEX_PROJECTION: t.Final = "projection of global index"
    INDEX_CAPACITY: t.Final = "capacity of global index"
    BILLING_MODE: t.Final = "billing mode"
    CAPACITY: t.Final = "capacity"
    TTL: t.Final = "TTL"
    STREAM: t.Final = "stream"
    TAG: t.Final = "tag"
    DELETION_PROTECTION: t.Final = "deletion protection"
    POINT_IN_TIME_RECOVERY: t.Final = "point-in-time recovery"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """One difference."""

    part: str
    """One of :class:`Part`."""

    name: str | None = None
    """Of the index or tag."""

    declared: str
    """What the models declare, for people."""

    actual: str
    """What DynamoDB has, for people."""

    @property
    def what(self) -> str:
        """What differs, for people."""
        return self.part if self.name is None else f"{self.part} '{self.name}'"

    def __str__(self) -> str:
        return f"{self.what}: declared {self.declared}, actual {self.actual}"


def compare(declared: Definition, actual: Definition) -> list[Difference]:
    """Compare a table with what its models declare.

    Streams, tags, deletion protection, point-in-time recovery and capacity are compared only where
    the models declare them; tags that they don't declare are left to others.

    :param declared: What the models declare.
    :param actual: What DynamoDB has.
    :return: The differences; empty if there is none.
    """
    return [
        *_keys(declared, actual),
        *_local_indexes(declared.local_indexes, actual.local_indexes),
        *_global_indexes(declared, actual),
        *_billing(declared, actual),
        *_ttl(declared, actual),
        *_stream(declared, actual),
        *_tags(declared.tags or {}, actual.tags or {}),
        *_switches(declared, actual),
    ]


def _keys(declared: Definition, actual: Definition) -> cabc.Iterator[Difference]:
    if declared.keys != actual.keys:
        yield Difference(
            part=Part.KEYS, declared=shown_keys(declared.keys), actual=shown_keys(actual.keys)
        )


def _local_indexes(
    declared: cabc.Mapping[str, Index], actual: cabc.Mapping[str, Index]
) -> cabc.Iterator[Difference]:
    for name in sorted({*declared, *actual}):
        if declared.get(name) != actual.get(name):
            yield _existence(Part.LOCAL_INDEX, name, declared.get(name), actual.get(name))


def _global_indexes(declared: Definition, actual: Definition) -> cabc.Iterator[Difference]:
    ours, theirs = declared.global_indexes, actual.global_indexes

    for name in sorted({*ours, *theirs}):
        if name in ours and name in theirs:
            yield from _index(ours[name], theirs[name], of=declared.billing_mode)
        else:
            yield _existence(Part.GLOBAL_INDEX, name, ours.get(name), theirs.get(name))


def _index(declared: Index, actual: Index, *, of: str) -> cabc.Iterator[Difference]:
    if declared.keys != actual.keys:
        yield Difference(
            part=Part.INDEX_KEYS,
            name=declared.name,
            declared=shown_keys(declared.keys),
            actual=shown_keys(actual.keys),
        )

    if (declared.projection, declared.projected) != (actual.projection, actual.projected):
        yield Difference(
            part=Part.INDEX_PROJECTION,
            name=declared.name,
            declared=declared.shown_projection,
            actual=actual.shown_projection,
        )

    if of == PROVISIONED and not declared.capacity.agrees_with(actual.capacity):
        yield Difference(
            part=Part.INDEX_CAPACITY,
            name=declared.name,
            declared=str(declared.capacity),
            actual=str(actual.capacity),
        )


def _existence(part: str, name: str, declared: Index | None, actual: Index | None) -> Difference:
    return Difference(
        part=part,
        name=name,
        declared=_NOTHING if declared is None else str(declared),
        actual=_MISSING if actual is None else str(actual),
    )


def _billing(declared: Definition, actual: Definition) -> cabc.Iterator[Difference]:
    if declared.billing_mode != actual.billing_mode:
        yield Difference(
            part=Part.BILLING_MODE, declared=declared.billing_mode, actual=actual.billing_mode
        )
    elif not declared.capacity.agrees_with(actual.capacity):
        yield Difference(
            part=Part.CAPACITY, declared=str(declared.capacity), actual=str(actual.capacity)
        )


def _ttl(declared: Definition, actual: Definition) -> cabc.Iterator[Difference]:
    if declared.ttl != actual.ttl:
        yield Difference(
            part=Part.TTL, declared=declared.ttl or _NOTHING, actual=actual.ttl or _NOTHING
        )


def _stream(declared: Definition, actual: Definition) -> cabc.Iterator[Difference]:
    if declared.stream is not None and declared.stream != actual.stream:
        yield Difference(
            part=Part.STREAM, declared=declared.stream, actual=actual.stream or _NOTHING
        )


def _tags(
    declared: cabc.Mapping[str, str], actual: cabc.Mapping[str, str]
) -> cabc.Iterator[Difference]:
    for name, value in declared.items():
        if actual.get(name) != value:
            shown = f"'{actual[name]}'" if name in actual else _MISSING
            yield Difference(part=Part.TAG, name=name, declared=f"'{value}'", actual=shown)


def _switches(declared: Definition, actual: Definition) -> cabc.Iterator[Difference]:
    for part, wanted, found in (
        (Part.DELETION_PROTECTION, declared.deletion_protection, actual.deletion_protection),
        (
            Part.POINT_IN_TIME_RECOVERY,
            declared.point_in_time_recovery,
            actual.point_in_time_recovery,
        ),
    ):
        # An engine that lacks it tells nothing.
        if wanted is not None and found is not None and wanted != found:
            yield Difference(part=part, declared=_on_or_off(wanted), actual=_on_or_off(found))


def _on_or_off(switch: bool) -> t.Literal["on", "off"]:
    return "on" if switch else "off"
