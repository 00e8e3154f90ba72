"""A query or scan that has not been sent yet, as PynamoDB's iterator holds it."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import functools
import typing as t

import pynamodb.connection.table
from pynamodb.expressions import projection
from pynamodb.pagination import PageIterator
from pynamodb.pagination import ResultIterator

from ..models import results
from ..models.decoded_reply import Key
from ..models.item_json import Raw
from ..models.item_json import TypedValue
from . import conditions

T = t.TypeVar("T")

_QUERY = "query"
_SCAN = "scan"
_WHOLE_ATTRIBUTE = "#0"
_FIRST_PAGE_SIZE = 20
_MOST_DOUBLINGS = 12


@dataclasses.dataclass(frozen=True, kw_only=True)
class PendingQuery(t.Generic[T]):
    """A query or scan."""

    operation: cabc.Callable[..., t.Any]
    """The method of PynamoDB's connection to the table."""

    args: tuple[t.Any, ...]
    kwargs: cabc.Mapping[str, t.Any]
    decode: cabc.Callable[[Raw], T] | None
    rate_limit: float | None

    @classmethod
    def of(cls, result: ResultIterator[T]) -> t.Self:
        """What a result is going to ask for.

        :param result: The result.
        :raises TypeError: if it is no result of PynamoDB's own ``query`` or ``scan``.
        :raises ValueError: as in :meth:`of_pages`.
        """
        kind: type = type(result)

        if not results.is_of_pynamodb(kind):
            raise TypeError(
                "'paginate' takes what a model's or an index's 'query' or 'scan' returns,"
                f" not {type(result).__name__!r}."
            )

        of_pynamodb: t.Any = result
        limiter = of_pynamodb.page_iter._rate_limiter
        return cls.of_pages(
            of_pynamodb.page_iter,
            decode=of_pynamodb._map_fn,
            limit=of_pynamodb._limit,
            rate_limit=None if limiter is None else limiter.rate_limit,
        )

    @classmethod
    def of_pages(
        cls,
        pages: PageIterator[t.Any],
        *,
        decode: cabc.Callable[[Raw], T] | None,
        limit: int | None,
        rate_limit: float | None,
    ) -> t.Self:
        """What a page iterator is going to ask for.

        :param pages: PynamoDB's iterator.
        :param decode: What makes items of those that botocore gives.
        :param limit: How many items the result gives at most.
        :param rate_limit: The capacity units to consume per second at most.
        :raises TypeError: if the iterator asks for something else than a query or scan.
        :raises ValueError: if it was used already, has a limit, or does not start at the beginning.
        """
        of_pynamodb: t.Any = pages
        operation = of_pynamodb._operation
        table = getattr(operation, "__self__", None)

        if not isinstance(table, pynamodb.connection.table.TableConnection) or getattr(
            operation, "__name__", None
        ) not in {_QUERY, _SCAN}:
            raise TypeError("Only a query or scan of a table can be paginated.")

        if limit is not None:
            raise ValueError(
                "A query or scan that is to be paginated can't have a 'limit': leave it out, and"
                " say how many items a page has with 'per_page'."
            )

        if pages.total_scanned_count or of_pynamodb._is_last_page:
            raise ValueError("The result has been iterated already: give a new one.")

        if pages.last_evaluated_key is not None:
            raise ValueError(
                "A query or scan that is to be paginated can't have a 'last_evaluated_key': leave"
                " it out, the cursor says where a page starts."
            )

        return cls(
            operation=operation,
            args=of_pynamodb._args,
            kwargs=dict(of_pynamodb._kwargs),
            decode=decode,
            rate_limit=rate_limit,
        )

    @property
    def is_scan(self) -> bool:
        """Whether it is a scan, which has one direction only."""
        return self.operation.__name__ == _SCAN

    @functools.cached_property
    def key_types(self) -> dict[str, str]:
        """The names of the attributes from which it can go on, and the type of each."""
        table = self._table
        names: list[str] = table.get_key_names(self.kwargs.get("index_name"))
        return {name: table.get_attribute_type(name) for name in names}

    @functools.cached_property
    def fixed_values(self) -> dict[str, TypedValue]:
        """The values that all its items have, by the names of their attributes."""
        fixed = conditions.fixed_values(self.kwargs.get("filter_condition"))
        fixed |= conditions.fixed_values(self.kwargs.get("range_key_condition"))
        return fixed if self.is_scan else {**fixed, **self._hash_key}

    @functools.cached_property
    def hidden(self) -> frozenset[str]:
        """The names of key attributes that it does not ask for."""
        wanted = self._attributes_to_get
        return frozenset(self.key_types) - _whole_attributes(wanted) if wanted else frozenset()

    def identity(self) -> str:
        """A text that differs from that of each query that gives other items or another order."""
        return conditions.as_text(
            [
                self.operation.__name__,
                self._table.table_name,
                self._bind_key,
                self.kwargs.get("index_name"),
                list(self.key_types.items()),
                None if self.is_scan else self._hash_key,
                conditions.form(self.kwargs.get("range_key_condition")),
                conditions.form(self.kwargs.get("filter_condition")),
                self._is_forward,
                [self.kwargs.get("segment"), self.kwargs.get("total_segments")],
            ]
        )

    def pages(self, *, start: Key | None, is_reversed: bool) -> PageIterator[t.Any]:
        """PynamoDB's iterator for it.

        :param start: The key after which to start.
        :param is_reversed: Whether in the opposite order.
        """
        kwargs = {**self.kwargs, "exclusive_start_key": start}

        if is_reversed:
            kwargs["scan_index_forward"] = not self._is_forward

        if self.hidden:
            kwargs["attributes_to_get"] = [*self._attributes_to_get, *sorted(self.hidden)]

        return PageIterator(self.operation, self.args, kwargs, self.rate_limit)

    def page_size(self, missing: int, number: int) -> int:
        """How many items a request should examine.

        Without a filter, as many as are missing. With one, nobody knows: each request examines
        twice as many as the one before, so that few requests are made, and little more is read than
        twice what is needed.

        :param missing: How many items are missing.
        :param number: The number of the request, from 0.
        """
        given: int | None = self.kwargs.get("limit")

        if self.kwargs.get("filter_condition") is None:
            return missing if given is None else min(given, missing)

        grown = max(missing, _FIRST_PAGE_SIZE) << min(number, _MOST_DOUBLINGS)
        return grown if given is None else given

    @property
    def _table(self) -> t.Any:
        table: t.Any = self.operation
        return table.__self__.get_meta_table()

    @property
    def _bind_key(self) -> str | None:
        """The key of the bind under which it was made. A stock model's connection has none."""
        table: t.Any = self.operation
        policy = getattr(table.__self__.connection, "policy", None)
        return None if policy is None else policy.bind_key

    @property
    def _is_forward(self) -> bool:
        return self.kwargs.get("scan_index_forward") is not False

    @property
    def _attributes_to_get(self) -> list[t.Any]:
        given: t.Any = self.kwargs.get("attributes_to_get") or []
        # As PynamoDB takes it.
        return [*given] if isinstance(given, list) else [given]

    @property
    def _hash_key(self) -> dict[str, TypedValue]:
        """The hash key that a query names."""
        table, (value,) = self._table, self.args
        index_name = self.kwargs.get("index_name")
        name = table.get_index_hash_keyname(index_name) if index_name else table.hash_keyname

        if isinstance(value, dict):
            return {name: t.cast("dict[str, t.Any]", value)}

        return {name: {table.get_attribute_type(name): value}}


def _whole_attributes(wanted: cabc.Iterable[t.Any]) -> set[str]:
    """The names of those attributes to get that are not a part of one."""
    whole: set[str] = set()

    for attribute in wanted:
        names: dict[str, str] = {}

        if projection.create_projection_expression([attribute], names) == _WHOLE_ATTRIBUTE:
            whole.update(names)

    return whole
