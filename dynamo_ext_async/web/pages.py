"""Pages of a query or scan, awaited: one hop to a worker or to the hub for each request."""

from __future__ import annotations

import typing as t

from flask.sansio.app import App

from dynamo_ext.models.decoded_reply import DecodedReply
from dynamo_ext.web.pages import Options
from dynamo_ext.web.pages import Page
from dynamo_ext.web.pages import Pagination
from dynamo_ext.web.pending_query import PendingQuery

from ..models import iteration
from ..models.iteration import ResultIterator

T = t.TypeVar("T")


async def paginate(app: App, result: ResultIterator[T], options: Options) -> Page[T]:
    """Read one page.

    :param app: The current app.
    :param result: What ``aquery`` or ``ascan`` has returned.
    :param options: What the caller says.
    """
    kind: object = type(result)

    if kind is not ResultIterator:
        raise TypeError(
            "'apaginate' takes what a model's or an index's 'aquery' or 'ascan' returns, not"
            f" {type(result).__name__!r}."
        )

    source = await iteration.untouched_pages(result)
    query = PendingQuery[T].of_pages(
        source.pages, decode=source.decode, limit=source.limit, rate_limit=source.rate_limit
    )
    pagination = Pagination(app, query, options)
    pages, steps = source.restarted(pagination.pages(), hidden=query.hidden), pagination.steps()
    fetch = next(steps)

    while True:
        pages.pages.page_size = fetch.page_size
        await pages.next(fetch.decode)

        try:
            fetch = steps.send(t.cast("DecodedReply[T]", pages.reply))
        except StopIteration as end:
            return t.cast("Page[T]", end.value)
