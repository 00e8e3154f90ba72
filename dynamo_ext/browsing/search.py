"""A query or scan that a form asks for, and the page of items that it gives."""

from __future__ import annotations

import dataclasses
import typing as t

import werkzeug.exceptions
from flask.sansio.app import App
from pynamodb.expressions.condition import BeginsWith
from pynamodb.expressions.condition import Comparison
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.operand import Path
from pynamodb.expressions.operand import Value
from pynamodb.pagination import PageIterator
from werkzeug.datastructures import MultiDict

from ..models import item_json
from ..models.item_json import InvalidItem
from ..models.item_json import Raw
from ..printable import escaped
from ..web import pages
from ..web.pages import Options
from ..web.pages import Page
from ..web.pending_query import PendingQuery
from .catalogue import Keys
from .catalogue import Table
from .visit import Problem

MAX_PER_PAGE: t.Final = 100
MAX_REQUESTS: t.Final = 10
BETWEEN: t.Final = "between"
BEGINS_WITH: t.Final = "begins_with"
_CONTAINS = "contains"
_EXISTS = "exists"
_MISSING = "missing"
_COMPARISONS = {"=": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}

RANGE_OPERATORS: t.Final = ("=", "<", "<=", ">", ">=", BETWEEN, BEGINS_WITH)
FILTER_OPERATORS: t.Final = (
    *_COMPARISONS,
    BETWEEN,
    BEGINS_WITH,
    _CONTAINS,
    _EXISTS,
    _MISSING,
)
TYPES: t.Final = {
    "S": "String",
    "N": "Number",
    "B": "Binary (base64)",
    "BOOL": "Boolean (true, false)",
    "NULL": "Null",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """What a visitor has put into the form."""

    index: str
    hash: str
    range_operator: str
    range: str
    range_to: str
    attribute: str
    operator: str
    type: str
    value: str
    value_to: str
    is_descending: bool
    per_page: str

    @classmethod
    def of(cls, args: MultiDict[str, str]) -> t.Self:
        """What the arguments of a URL say.

        :param args: The arguments.
        """
        return cls(
            index=args.get("index", ""),
            hash=args.get("hash", ""),
            range_operator=args.get("range_operator", "="),
            range=args.get("range", ""),
            range_to=args.get("range_to", ""),
            attribute=args.get("attribute", ""),
            operator=args.get("operator", "="),
            type=args.get("type", "S"),
            value=args.get("value", ""),
            value_to=args.get("value_to", ""),
            is_descending=args.get("order") == "descending",
            per_page=args.get("per_page", ""),
        )

    @property
    def is_query(self) -> bool:
        """Whether it names a hash key."""
        return bool(self.hash)


def run(app: App, table: Table, search: Search) -> Page[Raw]:
    """Read one page.

    :param app: The current app.
    :param table: The table.
    :param search: What to search for.
    :return: The page, of items as botocore gives them.
    :raises Problem: if the form says something wrong, or the cursor is invalid.
    """
    query = PendingQuery[Raw].of_pages(
        _pages(table, search), decode=None, limit=None, rate_limit=None
    )
    options = Options(
        # An empty field of the form sends ``per_page=``, which is not a number.
        per_page=None if search.per_page else pages.USUAL_PER_PAGE,
        max_per_page=MAX_PER_PAGE,
        cursor=None,
        max_age=None,
        scope=None,
        max_requests=MAX_REQUESTS,
    )

    try:
        return pages.read(app, query, options)
    except werkzeug.exceptions.BadRequest as error:
        raise Problem(400, str(error.description)) from None


def _pages(table: Table, search: Search) -> PageIterator[t.Any]:
    keys = _keys(table, search.index)
    connection = table.connection
    common: dict[str, t.Any] = {
        "filter_condition": _filter(search),
        "index_name": keys.index_name or None,
    }

    if not search.is_query:
        _check_scan(search)
        return PageIterator(connection.scan, (), common)

    types = table.schema.types
    return PageIterator(
        connection.query,
        (_value(f"The hash key '{keys.hash}'", types[keys.hash], search.hash),),
        {
            **common,
            "range_key_condition": _range_condition(keys, types, search),
            "scan_index_forward": not search.is_descending,
        },
    )


def _keys(table: Table, index_name: str) -> Keys:
    for keys in table.keys:
        if keys.index_name == index_name:
            return keys

    raise Problem(400, f"There is no index '{escaped(index_name)}'.")


def _check_scan(search: Search) -> None:
    if search.range or search.range_to:
        raise Problem(400, "A condition on the range key needs a hash key.")

    if search.is_descending:
        raise Problem(400, "Only a query has an order: give a hash key.")


def _range_condition(keys: Keys, types: t.Mapping[str, str], search: Search) -> Condition | None:
    if not search.range and not search.range_to:
        return None

    if keys.range is None:
        raise Problem(400, "This table or index has no range key: leave its condition empty.")

    if search.range_operator not in RANGE_OPERATORS:
        raise Problem(400, f"The operator must be one of {', '.join(RANGE_OPERATORS)}.")

    return _condition(
        f"The range key '{keys.range}'",
        keys.range,
        types[keys.range],
        search.range_operator,
        (search.range, search.range_to),
    )


def _filter(search: Search) -> Condition | None:
    if not search.attribute:
        if search.value or search.value_to:
            raise Problem(400, "A filter needs the name of an attribute.")

        return None

    if search.operator not in FILTER_OPERATORS:
        raise Problem(400, f"The operator must be one of {', '.join(FILTER_OPERATORS)}.")

    if search.type not in TYPES:
        raise Problem(400, f"The type must be one of {', '.join(TYPES)}.")

    return _condition(
        f"The value for '{search.attribute}'",
        search.attribute,
        search.type,
        search.operator,
        (search.value, search.value_to),
    )


def _condition(what: str, name: str, kind: str, operator: str, texts: tuple[str, str]) -> Condition:
    path = Path([name])

    if operator == _EXISTS:
        return path.exists()

    if operator == _MISSING:
        return path.does_not_exist()

    value = Value(_value(what, kind, texts[0]))

    if operator == BETWEEN:
        return path.between(value, Value(_value(what, kind, texts[1])))

    if texts[1]:
        raise Problem(400, f"{what}: only '{BETWEEN}' has a second value.")

    if operator == BEGINS_WITH:
        return BeginsWith(path, value)

    if operator == _CONTAINS:
        return path.contains(value)

    return Comparison(_COMPARISONS[operator], path, value)


def _value(what: str, kind: str, text: str) -> Raw:
    """A value with its type.

    :raises Problem: if the text is not of the type.
    """
    content: t.Any = text

    if kind == "BOOL":
        content = {"true": True, "false": False}.get(text.strip().lower(), text)
    elif kind == "NULL":
        content = True
    elif kind in {"N", "B"}:
        content = text.strip()

    typed = {"value": {kind: content}}

    try:
        item_json.decode_values(typed)
    except InvalidItem as error:
        reason = str(error).removeprefix("attribute 'value' ")
        raise Problem(400, f"{escaped(what)} {reason}") from None

    return typed["value"]
