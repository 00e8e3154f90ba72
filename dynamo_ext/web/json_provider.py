"""Models in JSON responses, behind the app's own JSON provider.

Flask and Quart serialise with ``app.json``, whose ``default`` is asked for what is not JSON. It is
asked first here, too: what it refuses, and is a model or a result, gets its form from this module.
"""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import functools
import sys
import types
import typing as t

from flask.sansio.app import App
from pynamodb.attributes import AttributeContainer
from pynamodb.pagination import ResultIterator

from ..models import batch
from ..models import serializer
from . import pages
from .pages import Page

_DEFAULT = "default"
Default = cabc.Callable[[t.Any], t.Any]


def json_default(value: t.Any) -> t.Any:
    """Give the form in JSON of a model, a map, a page or a result of a query, for a JSON library's
    option ``default``.

    :param value: The value: a model, a map attribute's value, a page, what ``query``, ``scan`` or
        ``batch_get`` returned.
    :return: A dictionary, or a list of models. A page is ``{"items", "next", "prev"}``: the last
        two are URLs if it was made in a request, else cursors, or ``None``.
    :raises TypeError: if the value is something else.
    """
    return _form(value)


def install(app: App) -> None:
    """Let an app's JSON provider serialise models.

    A provider without ``default``, or whose ``default`` can't be replaced, is left as it is. To
    install twice is harmless.

    :param app: The app.
    """
    provider: t.Any = app.json
    default = getattr(provider, _DEFAULT, None)

    if not callable(default) or isinstance(default, _Behind):
        return

    is_class_s = _DEFAULT not in getattr(provider, "__dict__", ()) and _of_class(provider)

    try:
        provider.default = _Behind(provider, None if is_class_s else default)
    except AttributeError:
        pass


class _Unknown(TypeError):
    """A value is neither a model nor a result."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Behind:
    """A provider's ``default``, which asks the provider's own one first."""

    provider: t.Any
    own: Default | None
    """What was set on the provider itself; ``None`` if it is its class's, which may be patched."""

    def __call__(self, value: t.Any) -> t.Any:
        try:
            return (self.own or _of_class(self.provider))(value)
        except Exception as error:
            if not _is_refusal(error):
                raise

            refusal = error

        try:
            return _form(value)
        except _Unknown:
            raise refusal from None
        finally:
            # Its traceback refers to this frame: left there, they would keep the value alive.
            del refusal


def _of_class(provider: t.Any) -> t.Any:
    """The ``default`` that a provider has from its class."""
    for kind in type(provider).__mro__:
        default: t.Any = vars(kind).get(_DEFAULT)

        if default is not None:
            return default.__get__(provider) if hasattr(default, "__get__") else default

    return None


def _is_refusal(error: Exception) -> bool:
    """Whether an error says that a value is not known. Providers that ask pydantic get its own."""
    pydantic: t.Any = sys.modules.get("pydantic_core")
    refusals = () if pydantic is None else (pydantic.PydanticSerializationError,)
    return isinstance(error, (TypeError, *refusals))


@functools.singledispatch
def _form(value: t.Any) -> t.Any:
    """The form of a value. Who has another kind of result registers it here."""
    raise _Unknown(f"Object of type {type(value).__name__} is not JSON serializable")


@_form.register(AttributeContainer)
def _of_item(item: t.Any) -> t.Any:
    if "attribute_values" not in vars(item):
        raise _Unknown("An attribute is not JSON serializable: only the value that an item has is")

    # A user's attribute may have this name.
    if callable(getattr(item.__class__, "to_json_dict", None)):
        return item.to_json_dict()

    return serializer.to_json_dict(item)


@_form.register(ResultIterator)
def _of_result(result: ResultIterator[t.Any]) -> t.Any:
    # Not their forms: the provider is asked for each.
    return list(result)


@_form.register(Page)
def _of_page(page: Page[t.Any]) -> dict[str, t.Any]:
    links = pages.links(page)
    return {"items": page.items, "next": links.next, "prev": links.prev}


@_form.register(types.GeneratorType)
def _of_generator(generator: types.GeneratorType[t.Any, t.Any, t.Any]) -> t.Any:
    if generator.gi_code is not batch.get.__code__:
        raise _Unknown("Object of type generator is not JSON serializable")

    return list(generator)


@_form.register(cabc.AsyncIterable)
def _of_async_iterable(result: cabc.AsyncIterable[t.Any]) -> t.NoReturn:
    raise TypeError(
        f"Object of type {type(result).__name__} is not JSON serializable, because its items have"
        " to be awaited. Collect them first: [item async for item in result]"
    )


@_form.register(cabc.Awaitable)
def _of_awaitable(call: cabc.Awaitable[t.Any]) -> t.NoReturn:
    raise TypeError(
        f"Object of type {type(call).__name__} is not JSON serializable: it has to be awaited."
        " Is an 'await' missing?"
    )
