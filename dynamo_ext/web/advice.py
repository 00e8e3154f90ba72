"""Advice on calls: a scan in a request, many single reads, a query that reads a lot, retries."""

from __future__ import annotations

import collections
import collections.abc as cabc
import dataclasses
import typing as t
import warnings

from pynamodb import constants

from ..call_site import Location
from ..calls.record import Call
from ..concurrency import waiting
from ..errors import CallAdvice
from ..printable import escaped

MANY_READS: t.Final = 10
"""How many single reads of one model from one place could be one batch."""

MANY_ITEMS: t.Final = 1000
"""From how many items on a query that one place reads to its end is a lot for one request."""

SCAN: t.Final = "scan"
READS: t.Final = "single reads"
QUERY: t.Final = "large query"
RETRIES: t.Final = "retries"

Given: t.TypeAlias = tuple[str, str, int]
"""The kind of some advice, and the file and line that it was given for."""

_HOW_TO_IGNORE = (
    " If it is meant, ignore 'dynamo_ext.CallAdvice' for this module, or set"
    " DYNAMODB_RECORD_CALLS to False."
)


class _Read(t.Protocol):
    """A call, ended or not."""

    @property
    def operation(self) -> str: ...

    @property
    def model(self) -> str | None: ...

    @property
    def table_name(self) -> str | None: ...

    @property
    def index_name(self) -> str | None: ...

    @property
    def location(self) -> Location | None: ...


class Reads(t.NamedTuple):
    """Single reads of one model from one place."""

    model: str
    is_model: bool
    location: Location


@dataclasses.dataclass(frozen=True, kw_only=True)
class Advice:
    """Advice on some calls of a request."""

    kind: str
    """What it is about, in a word or two."""

    message: str
    location: Location | None
    numbers: frozenset[int]
    """The positions of the calls in the list, from 0."""


def is_scan(call: _Read) -> bool:
    """Whether a call is a scan.

    :param call: The call.
    """
    return call.operation == constants.SCAN


def reads(call: _Read) -> Reads | None:
    """The single reads that a call belongs to, if it is one and its place is known.

    :param call: The call.
    """
    if call.operation != constants.GET_ITEM or call.location is None:
        return None

    return Reads(call.model or call.table_name or "", call.model is not None, call.location)


def of_scan(call: _Read) -> str:
    """The advice on a scan in a request.

    :param call: The call.
    """
    return (
        f"A scan of {_name(call)} in a request reads all that is stored, so it takes longer and"
        " costs more as the table grows. Query by a key or an index instead, or scan outside"
        " requests."
    )


def of_reads(single: Reads, number: int) -> str:
    """The advice on many single reads.

    :param single: The reads.
    :param number: How many there are so far.
    """
    name = escaped(single.model)
    batch = (
        f"'{name}.batch_get' (awaited: '{name}.abatch_get')"
        if single.is_model
        else "a BatchGetItem ('batch_get_item')"
    )
    return (
        f"{number} single reads of '{name}' from one place in one request: read them at once, by"
        f" {batch}, which takes up to 100 keys for each call."
    )


def on(calls: cabc.Sequence[Call]) -> list[Advice]:
    """All advice on the calls of a request.

    :param calls: The calls.
    """
    return [*_on_scans(calls), *_on_reads(calls), *_on_queries(calls), *_on_retries(calls)]


def _on_scans(calls: cabc.Sequence[Call]) -> cabc.Iterator[Advice]:
    for numbers in _by(calls, lambda call: (call.model, call.location) if is_scan(call) else None):
        first = calls[numbers[0]]
        yield _advice(SCAN, of_scan(first), first, numbers)


def _on_reads(calls: cabc.Sequence[Call]) -> cabc.Iterator[Advice]:
    for numbers in _by(calls, reads):
        first = calls[numbers[0]]
        single = reads(first)

        if single is not None and len(numbers) >= MANY_READS:
            yield _advice(READS, of_reads(single, len(numbers)), first, numbers)


def _on_queries(calls: cabc.Sequence[Call]) -> cabc.Iterator[Advice]:
    def key(call: Call) -> t.Any:
        is_query = call.operation == constants.QUERY
        return (call.model, call.index_name, call.location) if is_query else None

    for numbers in _by(calls, key):
        first = calls[numbers[0]]
        items = sum(calls[number].items or 0 for number in numbers)

        if items >= MANY_ITEMS or len(numbers) >= MANY_READS:
            message = (
                f"{len(numbers)} requests of queries of {_name(first)} from one place have read"
                f" {items:,} items: give the query a limit, read a page with 'db.paginate', or keep"
                " what belongs together under one key."
            )
            yield _advice(QUERY, message, first, numbers)


def _on_retries(calls: cabc.Sequence[Call]) -> cabc.Iterator[Advice]:
    numbers = [number for number, call in enumerate(calls) if call.attempts > 1]

    if numbers:
        more = sum(calls[number].attempts - 1 for number in numbers)
        message = (
            f"{len(numbers)} of the calls needed {more} more attempts: they were throttled, the"
            " server failed, or a connection was lost. If that goes on, look at the table's"
            " capacity, and at keys that are used much more than others."
        )
        yield Advice(kind=RETRIES, message=message, location=None, numbers=frozenset(numbers))


def _advice(kind: str, message: str, call: Call, numbers: cabc.Iterable[int]) -> Advice:
    return Advice(kind=kind, message=message, location=call.location, numbers=frozenset(numbers))


def _by(calls: cabc.Sequence[Call], key: cabc.Callable[[Call], t.Any]) -> cabc.Iterable[list[int]]:
    """The positions of the calls that have the same key; not of those whose key is ``None``."""
    groups: dict[t.Any, list[int]] = collections.defaultdict(list)

    for number, call in enumerate(calls):
        if (group := key(call)) is not None:
            groups[group].append(number)

    return groups.values()


def _name(call: _Read) -> str:
    """The model, or else the table, in quotes."""
    name = f"'{escaped(call.model or call.table_name or 'a table')}'"
    return name if call.index_name is None else f"the index '{escaped(call.index_name)}' of {name}"


def give(given: set[Given], kind: str, location: Location, message: str) -> None:
    """Issue a warning about a place, once.

    :param given: What was given before, to which this is added.
    :param kind: What it is about.
    :param location: The place.
    :param message: The advice.
    :raises CallAdvice: if a filter of warnings makes an error of it. Then it is issued again the
        next time.
    """
    key = (kind, location.file, location.line)

    if key in given:
        return

    given.add(key)

    try:
        # What shows warnings may be code of the app.
        waiting.current.get().in_other_thread(lambda: _warn(location, message))
    except BaseException:
        given.discard(key)
        raise


def _warn(location: Location, message: str) -> None:
    warnings.warn_explicit(
        message + _HOW_TO_IGNORE,
        CallAdvice,
        filename=location.file,
        lineno=location.line,
        module=location.module or None,
    )
