"""Pages of a query or scan, with links to the next and the previous one.

A page is built of PynamoDB's own iterators, by a generator that both ways to wait drive: it yields
what to fetch, and is sent the reply.
"""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import itertools
import re
import typing as t

import werkzeug.exceptions
from flask.sansio.app import App
from pynamodb.pagination import PageIterator
from pynamodb.pagination import ResultIterator
from werkzeug.sansio.request import Request

from ..errors import InvalidCursor
from ..models import decoded_reply
from ..models.decoded_reply import DecodedReply
from ..models.decoded_reply import Key
from ..models.undecodable import Undecodable
from ..models.undecodable import unwrap
from . import current_request
from . import cursors
from .cursors import Cursors
from .cursors import Position
from .pending_query import PendingQuery

T = t.TypeVar("T")

USUAL_PER_PAGE: t.Final = 20
"""How many items a page has where nothing says it."""

_CURSOR = "cursor"
_PER_PAGE = "per_page"
_DIGITS = re.compile(r"[0-9]+")
# A number with more digits is larger than any cap, and Python converts only some thousand digits.
_MOST_DIGITS = 100


@dataclasses.dataclass(frozen=True)
class Links:
    """What leads to the next and the previous page: URLs or cursors."""

    next: str | None
    prev: str | None


class Page(t.Generic[T]):
    """One page of a query or scan: can be iterated, and has a length.

    It is no dataclass: Flask's JSON provider would give its fields.

    :param items: The items.
    :param per_page: How many items a full page has.
    :param cursors: The cursors of the next and the previous page.
    :param urls: The URLs of these pages; ``None`` outside a request.
    """

    def __init__(
        self, items: list[T], *, per_page: int, cursors: Links, urls: Links | None
    ) -> None:
        self.items: list[T] = items
        """The items, in the order of the query."""

        self.per_page: int = per_page
        """How many items a full page has."""

        self.next_cursor: str | None = cursors.next
        """The cursor of the next page; ``None`` if there is none."""

        self.prev_cursor: str | None = cursors.prev
        """The cursor of the previous page; ``None`` if there is none, and for a scan."""

        self._urls = urls

    def __iter__(self) -> cabc.Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        return (
            f"<Page of {len(self.items)} items, per_page={self.per_page}"
            f" has_next={self.has_next} has_prev={self.has_prev}>"
        )

    @property
    def has_next(self) -> bool:
        """Whether there is an item after this page. Exact; on a page that was reached backwards, it
        means that there was one when the next page was read."""
        return self.next_cursor is not None

    @property
    def has_prev(self) -> bool:
        """Whether there is an item before this page. Exact on a page that was reached backwards; on
        another one, it means that there was one when the previous page was read."""
        return self.prev_cursor is not None

    @property
    def next_url(self) -> str | None:
        """The URL of the next page: the request's own, with another ``cursor``; ``None`` if there
        is no such page.

        :raises RuntimeError: if the page was not made in a request.
        """
        return self._urls_in_request.next

    @property
    def prev_url(self) -> str | None:
        """The URL of the previous page; ``None`` if there is no such page.

        :raises RuntimeError: if the page was not made in a request.
        """
        return self._urls_in_request.prev

    @property
    def link_header(self) -> str:
        """The value of the header ``Link`` (RFC 8288); empty if there is no other page.

        :raises RuntimeError: if the page was not made in a request.
        """
        urls = dataclasses.asdict(self._urls_in_request)
        return ", ".join(f'<{url}>; rel="{name}"' for name, url in urls.items() if url is not None)

    @property
    def _urls_in_request(self) -> Links:
        if self._urls is None:
            raise RuntimeError(
                "This page was not made in a request, so it has no URLs: use 'next_cursor' and"
                " 'prev_cursor'."
            )

        return self._urls


def links(page: Page[t.Any]) -> Links:
    """What leads to the next and the previous page: URLs if it was made in a request, else cursors.

    :param page: The page.
    """
    try:
        return Links(next=page.next_url, prev=page.prev_url)
    except RuntimeError:
        return Links(next=page.next_cursor, prev=page.prev_cursor)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What a caller says about a page."""

    per_page: int | None
    max_per_page: int | None
    cursor: str | None
    max_age: float | None
    scope: t.Any
    max_requests: int | None

    def __post_init__(self) -> None:
        """
        :raises ValueError: if a limit is no positive whole number.
        :raises TypeError: if ``cursor`` or ``max_age`` is of another type.
        """
        for name, value in (
            ("max_per_page", self.max_per_page),
            ("max_requests", self.max_requests),
        ):
            if value is not None and not _is_positive(value):
                raise ValueError(
                    f"'{name}' must be a positive whole number or None, not {value!r}."
                )

        if not isinstance(t.cast(t.Any, self.cursor), (str, type(None))):
            raise TypeError(f"'cursor' must be text, not {type(self.cursor).__name__!r}.")

        if not isinstance(t.cast(t.Any, self.max_age), (int, float, type(None))):
            raise TypeError(
                f"'max_age' must be a number of seconds, not {type(self.max_age).__name__!r}."
            )


@dataclasses.dataclass(frozen=True)
class Fetch:
    """What to fetch next."""

    page_size: int
    """How many items to examine at most."""

    decode: int
    """How many items to decode at most."""


@dataclasses.dataclass(frozen=True)
class _Found(t.Generic[T]):
    """What the requests for one page gave, in the order of these requests."""

    items: list[T | Undecodable]
    first_key: Key | None
    """The key of the first item; ``None`` if there is no item."""

    has_more: bool
    """Whether there is another item, or may be one after ``max_requests``."""

    end: Key | None
    """After which key to go on; ``None`` if there is no more."""


class Pagination(t.Generic[T]):
    """One call of ``paginate`` or ``apaginate``.

    :param app: The current app.
    :param query: The query or scan.
    :param options: What the caller says.
    :raises werkzeug.exceptions.BadRequest: if ``per_page`` is no positive whole number.
    :raises InvalidCursor: if the cursor is invalid.
    :raises ConfigError: if the app has no ``SECRET_KEY``.
    """

    def __init__(self, app: App, query: PendingQuery[T], options: Options) -> None:
        self.query = query
        self._options = options
        self._request = current_request.find(app)
        self._cursors = Cursors(
            cursors.secret_keys(app.config),
            identity=query.identity(),
            scope=options.scope,
            key_types=query.key_types,
            fixed_values=query.fixed_values,
        )
        self._per_page = self._find_per_page()
        self._start = self._find_start()

    def pages(self) -> PageIterator[t.Any]:
        """PynamoDB's iterator, at the start of this page."""
        return self.query.pages(start=self._start.key, is_reversed=self._start.is_backward)

    def steps(self) -> cabc.Generator[Fetch, DecodedReply[T], Page[T]]:
        """Make the page.

        :return: What to fetch, reply by reply; then the page.
        """
        found = yield from self._collect()
        return self._page(found)

    def _collect(self) -> cabc.Generator[Fetch, DecodedReply[T], _Found[T]]:
        items: list[T | Undecodable] = []
        first_key = last_key = end = None
        count = 0

        for number in itertools.count():
            # One item more than the page has tells whether there is a next page.
            missing = self._per_page + 1 - count
            reply = yield Fetch(self.query.page_size(missing, number), self._per_page - len(items))

            if reply.number and first_key is None:
                first_key = reply.key_of(0)

            if reply.items:
                last_key = reply.key_of(len(reply.items) - 1)

            items += reply.items
            count += reply.number
            end = reply.pages.last_evaluated_key

            if count > self._per_page:
                return _Found(items, first_key, has_more=True, end=last_key)

            if end is None or number + 1 == self._options.max_requests:
                break

        return _Found(items, first_key, has_more=end is not None, end=end)

    def _page(self, found: _Found[T]) -> Page[T]:
        is_backward = self._start.is_backward
        onward = Position(found.end, is_backward) if found.has_more else None
        back = self._back(found)
        items = [unwrap(item) for item in found.items]

        if is_backward:
            items.reverse()

        after, before = (back, onward) if is_backward else (onward, back)
        cursors = Links(*map(self._cursor, (after, before)))
        return Page(items, per_page=self._per_page, cursors=cursors, urls=self._urls(cursors))

    def _cursor(self, position: Position | None) -> str | None:
        return None if position is None else self._cursors.dump(position)

    def _back(self, found: _Found[T]) -> Position | None:
        """Where the page starts from which this one was reached; ``None`` if it was reached from
        none."""
        if self._start.key is None or self.query.is_scan:
            return None

        # Without an item, go back from where the requests have ended: from the end of the result,
        # or from the key of an item that they passed over.
        return Position(found.first_key or found.end, not self._start.is_backward)

    def _urls(self, cursors: Links) -> Links | None:
        request = self._request

        if request is None:
            return None

        return Links(next=_url(request, cursors.next), prev=_url(request, cursors.prev))

    def _find_per_page(self) -> int:
        """
        :raises werkzeug.exceptions.BadRequest: if it is no positive whole number.
        """
        given, most = self._options.per_page, self._options.max_per_page
        value = self._argument(_PER_PAGE) if given is None else given
        per_page = USUAL_PER_PAGE if value is None else _as_positive(value)

        if per_page is None:
            raise werkzeug.exceptions.BadRequest(f"'{_PER_PAGE}' must be a positive whole number.")

        return per_page if most is None else min(per_page, most)

    def _find_start(self) -> Position:
        """
        :raises InvalidCursor: if the cursor is invalid.
        """
        given = self._options.cursor
        cursor = self._argument(_CURSOR) if given is None else given

        if cursor is None:
            return Position()

        return self._cursors.load(cursor, max_age=self._options.max_age)

    def _argument(self, name: str) -> str | None:
        """An argument of the current request's query string.

        :raises werkzeug.exceptions.BadRequest: if it is there more than once.
        """
        values = [] if self._request is None else self._request.args.getlist(name)

        if len(values) > 1:
            kind = InvalidCursor if name == _CURSOR else werkzeug.exceptions.BadRequest
            raise kind(f"'{name}' must not be given more than once.")

        return values[0] if values else None


def paginate(app: App, result: ResultIterator[T], options: Options) -> Page[T]:
    """Read one page.

    :param app: The current app.
    :param result: What ``query`` or ``scan`` has returned.
    :param options: What the caller says.
    """
    return read(app, PendingQuery[T].of(result), options)


def read(app: App, query: PendingQuery[T], options: Options) -> Page[T]:
    """Read one page.

    :param app: The current app.
    :param query: The query or scan.
    :param options: What the caller says.
    """
    pagination = Pagination(app, query, options)
    pages, steps = pagination.pages(), pagination.steps()
    fetch = next(steps)

    while True:
        pages.page_size = fetch.page_size
        reply = decoded_reply.Fetch(
            pages, query.decode, limit=fetch.decode, hidden=query.hidden
        ).send()

        try:
            fetch = steps.send(t.cast("DecodedReply[T]", reply))
        except StopIteration as end:
            return t.cast("Page[T]", end.value)


def _url(request: Request, cursor: str | None) -> str | None:
    return None if cursor is None else current_request.url_with(request, _CURSOR, cursor)


def _as_positive(value: int | str) -> int | None:
    """A number or its digits as a positive whole number; ``None`` if it is none."""
    if isinstance(value, str):
        value = int(value[:_MOST_DIGITS]) if _DIGITS.fullmatch(value) else 0

    return value if _is_positive(value) else None


def _is_positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
