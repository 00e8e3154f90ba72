"""The page: which request gets which answer."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import copy
import dataclasses
import functools
import importlib.resources
import typing as t

import jinja2
from flask.sansio.app import App

from ..binding import context
from ..binding.app_state import AppState
from ..errors import FAILURES
from ..errors import ConfigError
from ..models.item_json import InvalidItem
from ..models.item_json import Raw
from ..printable import escaped
from ..web import advice
from ..web import recorder
from ..web import templating
from ..web import timeline
from ..web.recorder import Recording
from . import catalogue
from . import editing
from . import search
from . import shown
from .catalogue import State
from .catalogue import Table
from .csrf import FIELD
from .csrf import Protection
from .editing import Conflict
from .search import Search
from .visit import Answer
from .visit import Problem
from .visit import Visit

NAME: t.Final = "dynamodb_browse"
"""The name of both frameworks' blueprints."""

URL_PREFIX: t.Final = "/dynamodb"
MODEL: t.Final = "model"
INDEX: t.Final = "index"
_TABLE = "table"
_ITEM = "item"
_NEW = "new"
_DELETE = "delete"
_REQUESTS = "requests"
_STYLE = "style"
_TIMELINE = "timeline"
_ICON = "icon"

MAX_FORM_BYTES: t.Final = 16 * 1024 * 1024
"""The largest item's JSON is several times as long as the item, and longer still in a form."""

_CSS = "text/css; charset=utf-8"
_MOST_COLUMNS = 6
_PATH_OF_REQUESTS = "requests/"
_NOTICES = {
    "saved": "The item is saved.",
    "unchanged": "Nothing was different, so nothing was written.",
    "created": "The item is created.",
    "deleted": "The item is deleted.",
}


@dataclasses.dataclass(frozen=True)
class Route:
    """A URL of the page."""

    name: str
    rule: str
    methods: tuple[str, ...] = ("GET",)


ROUTES: t.Final = (
    Route(INDEX, "/"),
    Route(_STYLE, "/style.css"),
    Route(_TIMELINE, "/timeline.css"),
    Route(_ICON, "/icon.svg"),
    Route(_REQUESTS, "/requests/"),
    Route(_TABLE, "/<model>/"),
    Route(_ITEM, "/<model>/item", ("GET", "POST")),
    Route(_NEW, "/<model>/new", ("GET", "POST")),
    Route(_DELETE, "/<model>/delete", ("POST",)),
)


def registered(app: App) -> None:
    """Note that an app has the page: it shows the app's last requests.

    :param app: The app.
    """
    recorder.keep_last(app)


def answer(visit: Visit) -> Answer:
    """Answer a request. It may make calls to DynamoDB, so it may take a while.

    :param visit: The request.
    """
    recorder.leave_out(visit.app)

    if visit.route in _FILES:
        return _FILES[visit.route]()

    protection: Protection | None = None

    try:
        protection = Protection(visit)

        with _in_bind(visit):
            if visit.request.method == "POST":
                protection.check()

            view = _View(visit, protection)
            return _VIEWS[visit.route](view)
    except Problem as problem:
        return _failed(visit, protection, problem.status, problem.message)
    except FAILURES as error:
        return _failed(visit, protection, 502, escaped(error))


class _View:
    """What the views have in common in one request.

    :param visit: The request.
    :param protection: The protection of its forms.
    """

    def __init__(self, visit: Visit, protection: Protection) -> None:
        self.visit = visit
        self._protection = protection

    @functools.cached_property
    def table(self) -> Table:
        """The table that the URL names.

        :raises Problem: if there is none.
        """
        table = catalogue.find(self.visit.model, self.visit.bind_key)
        # What the model declares may be invalid: say that before anything else.
        _ = table.connection
        return table

    def key(self) -> Raw:
        """The key that the URL names.

        :raises Problem: if it is not one of the table.
        """
        try:
            key = shown.parse(self.visit.request.args.get("key", ""))
            self.table.schema.check(key)
        except InvalidItem as error:
            raise Problem(400, f"The URL has no key of this table: {error}") from None

        return self.table.key_of(key)

    def show(self, template: str, *, status: int = 200, **values: t.Any) -> Answer:
        """Render a page."""
        return _show(self.visit, self._protection, template, status=status, **values)

    def url_of_table(self, **args: str) -> str:
        """The URL of the table's items."""
        return self.visit.url(f"{self.table.name}/", **args)

    def url_of_item(self, page: str, key: Raw, **args: str) -> str:
        """The URL of a page about an item."""
        return self.visit.url(f"{self.table.name}/{page}", key=shown.as_argument(key), **args)


def _index(view: _View) -> Answer:
    visit = view.visit
    tables = catalogue.tables(visit.bind_key)
    problems = {table.name: problem for table in tables if (problem := _problem(table))}
    states = catalogue.states([table for table in tables if table.name not in problems])
    rows = [
        {
            "name": table.name,
            "url": visit.url(f"{table.name}/"),
            **(
                {"problem": problems[table.name]}
                if table.name in problems
                else _facts(table, states[id(table)])
            ),
        }
        for table in tables
    ]
    url = visit.url(_PATH_OF_REQUESTS)
    return view.show("index.html", rows=rows, binds=_binds(visit), requests_url=url)


def _problem(table: Table) -> str | None:
    """Why there is no connection to a table."""
    try:
        _ = table.connection
    except FAILURES as error:
        return escaped(error)

    return None


def _facts(table: Table, state: State) -> dict[str, t.Any]:
    connection = table.connection
    return {
        "table": connection.table_name,
        "declared": table.declared_name,
        "bind": table.bind_key,
        "place": table.place,
        "is_of_this_process": connection.connection.engine.is_of_this_process,
        "state": state,
    }


def _binds(visit: Visit) -> list[dict[str, t.Any]]:
    """The app's binds, to choose from; none if there is no choice."""
    binds = _app_state(visit).own.settings.binds or {}
    choices = [(None, visit.root), *((key, visit.url_in(key)) for key in binds)]
    return (
        [{"key": key, "url": url, "is_current": key == visit.bind_key} for key, url in choices]
        if binds
        else []
    )


def _requests(view: _View) -> Answer:
    """The app's last requests, or one of them."""
    visit, last = view.visit, recorder.last(view.visit.app)
    number = visit.request.args.get("number")
    shown = None

    if number is not None:
        shown = next((each for each in last if str(each.number) == number), None)

        if shown is None:
            raise Problem(404, "This request is not among the last ones any more.")

    return view.show(
        "requests.html",
        requests_url=visit.url(_PATH_OF_REQUESTS),
        shown=shown,
        timeline=None if shown is None else timeline.render(shown),
        rows=[_row_of_request(visit, each) for each in last] if shown is None else [],
        is_recording=recorder.records_calls(visit.app),
        most=recorder.MOST_REQUESTS,
    )


def _row_of_request(visit: Visit, recording: Recording) -> dict[str, t.Any]:
    return {
        "recording": recording,
        "url": visit.url(_PATH_OF_REQUESTS, number=str(recording.number)),
        "advice": list(dict.fromkeys(each.kind for each in advice.on(recording.calls))),
    }


def _items(view: _View) -> Answer:
    table, form = view.table, Search.of(view.visit.request.args)
    values: dict[str, t.Any] = {
        "table": table,
        "form": form,
        "search": search,
        "new_url": view.visit.url(f"{table.name}/new"),
        "first_url": view.url_of_table(),
    }

    try:
        state = catalogue.state(table)
        page = search.run(view.visit.app, table, form)
    except Problem as problem:
        return view.show("table.html", status=problem.status, problem=problem.message, **values)
    except FAILURES as error:
        return view.show("table.html", status=502, problem=escaped(error), **values)

    columns = _columns(table, page.items)
    rows = [
        {
            "url": view.url_of_item(_ITEM, table.key_of(item)),
            "cells": [_cell(item, name) for name in columns],
        }
        for item in page.items
    ]
    return view.show("table.html", page=page, columns=columns, rows=rows, state=state, **values)


def _columns(table: Table, items: cabc.Sequence[Raw]) -> list[str]:
    """The attributes to show: those of keys, and then those that most items have."""
    counts: dict[str, int] = {}

    for name in (name for item in items for name in item):
        counts[name] = counts.get(name, 0) + 1

    of_keys = [name for keys in table.keys for name in keys.names if name in counts]
    common = sorted(counts, key=lambda name: -counts[name])
    most = max(_MOST_COLUMNS, len(table.key.names))
    return list(dict.fromkeys([*table.key.names, *of_keys, *common]))[:most]


def _cell(item: Raw, name: str) -> dict[str, str] | None:
    if name not in item:
        return None

    (kind,) = item[name]
    return {"type": kind, "text": shown.preview(item[name])}


def _item(view: _View) -> Answer:
    key = view.key()

    if view.visit.request.method == "POST":
        return _save(view, key)

    current = editing.read(view.table, key)

    if current is None:
        return _missing(view, key)

    return _show_item(view, key, current, text=_as_json(view, current))


def _save(view: _View, key: Raw) -> Answer:
    text, seen = view.visit.form.get("item", ""), view.visit.form.get("seen", "")

    try:
        wanted = shown.parse(text)
        view.table.schema.check(wanted)
        _check_same_key(view.table, key, wanted)
        is_changed = editing.change(view.table, key, wanted, seen=seen)
    except InvalidItem as error:
        return _show_again(view, key, text=text, seen=seen, problem=str(error), status=400)
    except Conflict as conflict:
        return _conflict(view, key, conflict, text=text)
    except FAILURES as error:
        return _show_again(view, key, text=text, seen=seen, problem=escaped(error), status=502)

    notice = "saved" if is_changed else "unchanged"
    return _redirect(view.url_of_item(_ITEM, key, notice=notice))


def _check_same_key(table: Table, key: Raw, wanted: Raw) -> None:
    if table.schema.identity(wanted) != table.schema.identity(key):
        names = " and ".join(f"'{escaped(name)}'" for name in table.key.names)
        raise InvalidItem(
            f"an item keeps its key ({names}). To have it under another key, create another item"
            " and delete this one."
        )


def _delete(view: _View) -> Answer:
    key, seen = view.key(), view.visit.form.get("seen", "")

    try:
        editing.delete(view.table, key, seen=seen)
    except Conflict as conflict:
        return _conflict(view, key, conflict, text=None)

    return _redirect(view.url_of_table(notice="deleted"))


def _conflict(view: _View, key: Raw, conflict: Conflict, *, text: str | None) -> Answer:
    """Show what the item is now, and what the visitor wanted."""
    if conflict.current is None:
        return _missing(view, key, text=text)

    message = (
        "Nothing was deleted: the item was changed since you have seen it. This is what it is now."
        if text is None
        else "Nothing was saved: the item was changed since you have seen it. Below is what it is"
        " now, and what you wanted to save. If you save again, that replaces what it is now."
    )
    now = _as_json(view, conflict.current)
    return _show_item(
        view,
        key,
        conflict.current,
        text=now if text is None else text,
        now=None if text is None else now,
        problem=message,
        status=409,
    )


def _show_again(
    view: _View, key: Raw, *, text: str, seen: str, problem: str, status: int
) -> Answer:
    """Show the form as the visitor has left it: the text must not be lost, even if DynamoDB does
    not answer."""
    try:
        current = editing.read(view.table, key)
    except FAILURES:
        return _show_item(view, key, {}, text=text, seen=seen, problem=problem, status=status)

    if current is None:
        return _missing(view, key, text=text)

    return _show_item(view, key, current, text=text, seen=seen, problem=problem, status=status)


def _show_item(
    view: _View,
    key: Raw,
    current: Raw,
    *,
    text: str,
    seen: str | None = None,
    now: str | None = None,
    problem: str | None = None,
    status: int = 200,
) -> Answer:
    table = view.table
    return view.show(
        "item.html",
        status=status,
        table=table,
        key=[(name, shown.preview(value)) for name, value in key.items()],
        text=text,
        seen=editing.digest(current) if seen is None else seen,
        now=now,
        problem=problem,
        undeclared=[escaped(name) for name in current if name not in table.declared_names],
        versions=[escaped(name) for name in sorted(table.version_names & current.keys())],
        unreadable=_unreadable(table, current) if current else None,
        table_url=view.url_of_table(),
        save_url=view.url_of_item(_ITEM, key),
        delete_url=view.url_of_item(_DELETE, key),
        copy_url=view.url_of_item(_NEW, key),
    )


def _as_json(view: _View, item: Raw) -> str:
    """An item's JSON, its key first. DynamoDB's own order is not the same each time."""
    names = dict.fromkeys([*view.table.key.names, *sorted(item)])
    return shown.as_json({name: item[name] for name in names})


def _unreadable(table: Table, item: Raw) -> str | None:
    """Why the model can't read an item; ``None`` if it can."""
    try:
        table.model.from_raw_data(copy.deepcopy(item))
    except Exception as error:
        # Whatever a model's own code raises.
        return escaped(f"{type(error).__name__}: {error}")

    return None


def _missing(view: _View, key: Raw, *, text: str | None = None) -> Answer:
    """There is no such item, or none any more."""
    if text is None:
        raise Problem(404, "There is no such item. It may have been deleted.")

    return _show_new(
        view,
        text=text,
        problem="Nothing was saved: the item was deleted since you have seen it. Below is what you"
        " wanted to save. You can create it again.",
        status=409,
    )


def _new(view: _View) -> Answer:
    if view.visit.request.method == "POST":
        return _create(view)

    if "key" not in view.visit.request.args:
        return _show_new(view, text=_outline(view.table))

    similar = editing.read(view.table, view.key())

    if similar is None:
        raise Problem(404, "There is no such item to begin with. It may have been deleted.")

    return _show_new(view, text=_as_json(view, similar))


def _create(view: _View) -> Answer:
    text = view.visit.form.get("item", "")

    try:
        item = shown.parse(text)
        view.table.schema.check(item)
    except InvalidItem as error:
        return _show_new(view, text=text, problem=str(error), status=400)

    key = view.table.key_of(item)

    try:
        editing.create(view.table, item)
    except Conflict:
        return _show_new(
            view,
            text=text,
            problem="Nothing was created: there is an item with this key.",
            other_url=view.url_of_item(_ITEM, key),
            status=409,
        )
    except FAILURES as error:
        return _show_new(view, text=text, problem=escaped(error), status=502)

    return _redirect(view.url_of_item(_ITEM, key, notice="created"))


def _show_new(
    view: _View,
    *,
    text: str,
    problem: str | None = None,
    other_url: str | None = None,
    status: int = 200,
) -> Answer:
    return view.show(
        "new.html",
        status=status,
        table=view.table,
        text=text,
        problem=problem,
        other_url=other_url,
        table_url=view.url_of_table(),
        create_url=view.visit.url(f"{view.table.name}/{_NEW}"),
    )


def _outline(table: Table) -> str:
    """JSON with the key of a table, to be filled in."""
    types = table.schema.types
    empty = {"S": "", "N": "0", "B": b""}
    return shown.as_json({name: {types[name]: empty[types[name]]} for name in table.key.names})


_VIEWS: t.Final[cabc.Mapping[str, cabc.Callable[[_View], Answer]]] = {
    INDEX: _index,
    _REQUESTS: _requests,
    _TABLE: _items,
    _ITEM: _item,
    _NEW: _new,
    _DELETE: _delete,
}


def _file(name: str, content_type: str) -> Answer:
    body = importlib.resources.files(str(__package__)).joinpath("static", name).read_bytes()
    return Answer(body=body, content_type=content_type)


_FILES: t.Final[cabc.Mapping[str, cabc.Callable[[], Answer]]] = {
    _STYLE: functools.partial(_file, "style.css", _CSS),
    _TIMELINE: lambda: Answer(body=timeline.style().encode(), content_type=_CSS),
    _ICON: functools.partial(_file, "icon.svg", "image/svg+xml"),
}


@contextlib.contextmanager
def _in_bind(visit: Visit) -> cabc.Generator[None]:
    """Go by the bind that the URL names.

    :raises Problem: if the app has no such bind, or no extension.
    """
    app_state = _app_state(visit)

    if visit.bind_key is None:
        yield
        return

    try:
        bind_state = app_state.bind(visit.bind_key)
    except ConfigError as error:
        raise Problem(404, escaped(error)) from None

    with context.use_bind(app_state, bind_state):
        yield


def _app_state(visit: Visit) -> AppState:
    try:
        return context.state_of(visit.app)
    except RuntimeError as error:
        raise Problem(500, str(error)) from None


def _redirect(url: str) -> Answer:
    return Answer(body=b"", status=303, headers={"Location": url})


def _failed(visit: Visit, protection: Protection | None, status: int, message: str) -> Answer:
    return _show(visit, protection, "problem.html", status=status, problem=message)


def _show(
    visit: Visit,
    protection: Protection | None,
    template: str,
    *,
    status: int = 200,
    **values: t.Any,
) -> Answer:
    text = (
        _templates()
        .get_template(template)
        .render(
            visit=visit,
            notice=_NOTICES.get(visit.request.args.get("notice", "")),
            csrf_field=FIELD,
            csrf_token="" if protection is None else protection.token,
            **values,
        )
    )
    headers = {} if protection is None else protection.headers
    return Answer(body=text.encode(), status=status, headers=headers)


@functools.cache
def _templates() -> jinja2.Environment:
    environment = templating.environment(str(__package__))
    environment.filters["thousands"] = "{:,}".format
    return environment
