"""Pages of a tenant's items."""

from __future__ import annotations

import typing as t

from dynamo_ext_async import Page
from dynamo_ext_async import ResultIterator

from . import tenants
from .models import Row
from .models import db
from .schemas import PageQuery

R = t.TypeVar("R", bound=Row)


async def answer(
    result: ResultIterator[R], query: PageQuery
) -> tuple[Page[R], int, dict[str, str]]:
    """The answer with a page of items, whose cursors are of no use to other tenants.

    :param result: What ``aquery`` has returned.
    :param query: Which page.
    """
    page = await db.apaginate(
        result, per_page=query.per_page, cursor=query.cursor, scope=tenants.current().name
    )
    return page, 200, {"Link": page.link_header} if page.link_header else {}
