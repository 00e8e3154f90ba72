"""The awaitable twins of PynamoDB's methods, each declared by a signature and a docstring.

Type checkers, IDEs and Sphinx read the declaration. What a twin does comes from its decorator: it
calls the method that the model or index has, with the arguments as the caller gave them. Where that
method is not the app's, some twins do without it what it does, to wait on the event loop.
"""

from __future__ import annotations

import collections.abc as cabc
import functools
import inspect
import typing as t

import pynamodb.indexes
import pynamodb.models
from pynamodb import constants

import dynamo_ext.models.model
from dynamo_ext.concurrency.generators import Waits
from dynamo_ext.models import batch
from dynamo_ext.models import eligibility
from dynamo_ext.models import late_binding
from dynamo_ext.models import planned
from dynamo_ext.models import results
from dynamo_ext.models.model import abort_not_found
from dynamo_ext.models.plain_queries import PlainQuery

from ..execution import on_loop
from ..execution import workers
from .batch import BatchGetIterator
from .batch import batch_write
from .iteration import Deferred
from .iteration import Pages
from .iteration import ResultIterator
from .iteration import Source
from .iteration import plain_pages
from .iteration import source_of
from .parallel_scan import ParallelScan

F = t.TypeVar("F", bound=cabc.Callable[..., t.Any])

BeginPlain = cabc.Callable[
    [type[t.Any], tuple[t.Any, ...], cabc.Mapping[str, t.Any]], PlainQuery | None
]

_MOST_SEGMENTS = 1_000_000


class Twin(t.Protocol):
    """Makes a twin of its declaration."""

    def __call__(self, declared: F, /) -> F: ...


def calls(name: str) -> Twin:
    """Declare the twin of a method that makes one call. The event loop itself makes the call, or
    the hub, or a worker.

    :param name: The name of the method.
    """

    def decorate(declared: F, /) -> F:
        @functools.wraps(declared)
        async def twin(owner: t.Any, /, *args: t.Any, **kwargs: t.Any) -> t.Any:
            # The worker looks the connection up again, which takes 2 microseconds: the method may
            # be the app's own and enter another app's context.
            model, method = _model_of(owner), getattr(owner, name)
            table = late_binding.connection(model)
            connection = table.connection

            if table.has_changes or not workers.may_share_thread(connection, model):
                return await workers.run(connection, method, *args, **kwargs)

            number = eligibility.count_plain(method, *args, *kwargs.values())

            if number is None:
                return await workers.run(connection, method, *args, **kwargs)

            if number <= on_loop.MOST_VALUES:
                call = on_loop.prepare(table, lambda: planned.plan(method, args, kwargs))

                if call is not None:
                    return await call.make()

            return await workers.run_in_hub(connection, method, *args, **kwargs)

        return t.cast(F, twin)

    return decorate


def gets_or_404(declared: F, /) -> F:
    """Declare the twin of ``get_or_404``.

    :param declared: The declaration.
    """

    @functools.wraps(declared)
    async def twin(model: t.Any, /, *args: t.Any, **kwargs: t.Any) -> t.Any:
        if not _is_ours(model.get_or_404):
            return await _run(model, model.get_or_404, *args, **kwargs)

        message: str = kwargs.pop("message", "")

        try:
            return await model.aget(*args, **kwargs)
        except model.DoesNotExist:
            abort_not_found(message)

    return t.cast(F, twin)


def iterates(name: str, begin: BeginPlain | None = None) -> Twin:
    """Declare the twin of ``query`` or ``scan``.

    :param name: The name of the method.
    :param begin: Begins what the model's own method would, in fewer steps where that is possible.
    """

    def decorate(declared: F, /) -> F:
        @functools.wraps(declared)
        def twin(owner: t.Any, /, *args: t.Any, **kwargs: t.Any) -> t.Any:
            model, method = _model_of(owner), getattr(owner, name)

            # The method of an index calls that of its model.
            if _is_ours(method) and (owner is model or _is_ours(getattr(model, name))):
                plain = None if begin is None else begin(model, args, kwargs)

                if plain is not None:
                    return ResultIterator(plain_pages(model, plain))

                result = method(*args, **kwargs)
                # It has looked the connection up already.
                table = results.table_of(result) or late_binding.connection(model)
                return ResultIterator(source_of(table.connection, model, result))

            connection = late_binding.connection(model).connection
            work = functools.partial(method, *args, **kwargs)
            return ResultIterator(Deferred(connection, model, work))

        return t.cast(F, twin)

    return decorate


def iterates_segments(declared: F, /) -> F:
    """Declare a method that scans several segments at once.

    :param declared: The declaration. ``scan`` gets the arguments, but for ``limit``.
    """
    _, *names = inspect.signature(declared).parameters

    @functools.wraps(declared)
    def twin(model: t.Any, /, *args: t.Any, **kwargs: t.Any) -> t.Any:
        given = _by_name(declared.__name__, names, args, kwargs)
        limit: int | None = given.pop("limit", None)
        number: int = given["total_segments"]

        if not 1 <= number <= _MOST_SEGMENTS:
            raise ValueError(f"total_segments must be from 1 to 1,000,000; it is {number}.")

        connection = late_binding.connection(model).connection
        is_ours = _is_ours(model.scan)
        segments: list[Source[t.Any]] = []

        for segment in range(number):
            scan = functools.partial(model.scan, segment=segment, **given)
            segments.append(
                source_of(connection, model, scan())
                if is_ours
                else Deferred(connection, model, scan)
            )

        return ParallelScan(connection, segments, limit=limit)

    return t.cast(F, twin)


def gets_batch(declared: F, /) -> F:
    """Declare the twin of ``batch_get``.

    :param declared: The declaration.
    """

    @functools.wraps(declared)
    def twin(model: t.Any, /, *args: t.Any, **kwargs: t.Any) -> t.Any:
        if _is_ours(model.batch_get):
            return BatchGetIterator(batch.begin_get(model, *args, **kwargs), model)

        connection = late_binding.connection(model).connection
        work = functools.partial(model.batch_get, *args, **kwargs)
        return ResultIterator(Deferred(connection, model, work))

    return t.cast(F, twin)


def writes_batch(declared: F, /) -> F:
    """Declare the twin of ``batch_write``.

    :param declared: The declaration.
    """

    @functools.wraps(declared)
    def twin(model: t.Any, /, *args: t.Any, **kwargs: t.Any) -> t.Any:
        connection = late_binding.connection(model).connection
        return batch_write(connection, model.batch_write(*args, **kwargs))

    return t.cast(F, twin)


def counts(declared: F, /) -> F:
    """Declare the twin of ``count``.

    :param declared: The declaration.
    """

    @functools.wraps(declared)
    async def twin(owner: t.Any, /, *args: t.Any, **kwargs: t.Any) -> t.Any:
        if not _is_ours(owner.count):
            return await _run(owner, owner.count, *args, **kwargs)

        if isinstance(owner, pynamodb.indexes.Index):
            return await _count_index(owner, *args, **kwargs)

        return await _count_model(owner, *args, **kwargs)

    return t.cast(F, twin)


def drives(name: str, begin: cabc.Callable[..., Waits[t.Any]]) -> Twin:
    """Declare the twin of a method that waits between its calls.

    :param name: The name of the method.
    :param begin: What the method does as a generator of waits, given the model and the arguments.
    """

    def decorate(declared: F, /) -> F:
        @functools.wraps(declared)
        async def twin(model: t.Any, /, *args: t.Any, **kwargs: t.Any) -> t.Any:
            method = getattr(model, name)

            if not _is_ours(method):
                return await _run(model, method, *args, **kwargs)

            connection = late_binding.connection(model).connection
            return await workers.drive(connection, begin(model, *args, **kwargs))

        return t.cast(F, twin)

    return decorate


async def _run(owner: t.Any, method: t.Any, *args: t.Any, **kwargs: t.Any) -> t.Any:
    """Run a method of the app in a worker."""
    connection = late_binding.connection(_model_of(owner)).connection
    return await workers.run(connection, method, *args, **kwargs)


async def _count_index(
    index: t.Any,
    hash_key: t.Any,
    range_key_condition: t.Any = None,
    filter_condition: t.Any = None,
    consistent_read: bool = False,
    limit: int | None = None,
    rate_limit: float | None = None,
) -> int:
    """What PynamoDB's ``Index.count`` does."""
    number: int = await index._model.acount(
        hash_key,
        range_key_condition=range_key_condition,
        filter_condition=filter_condition,
        index_name=index.Meta.index_name,
        consistent_read=consistent_read,
        limit=limit,
        rate_limit=rate_limit,
    )
    return number


async def _count_model(
    model: t.Any,
    hash_key: t.Any = None,
    range_key_condition: t.Any = None,
    filter_condition: t.Any = None,
    consistent_read: bool = False,
    index_name: str | None = None,
    limit: int | None = None,
    rate_limit: float | None = None,
) -> int:
    """What PynamoDB's ``Model.count`` does."""
    connection = late_binding.connection(model).connection

    if hash_key is None:
        work = functools.partial(model.count, filter_condition=filter_condition)
        return await workers.call(connection, model, work)

    # Not the model's own query, which PynamoDB's count does not call either.
    result = _query(
        model,
        hash_key,
        range_key_condition=range_key_condition,
        filter_condition=filter_condition,
        consistent_read=consistent_read,
        index_name=index_name,
        page_size=limit,
        rate_limit=rate_limit,
    )
    result.page_iter._kwargs["select"] = constants.COUNT
    pages: Pages[t.Any] = Pages(connection, model, result.page_iter, decode=None)

    while limit != 0 and await pages.next() is not None:
        pass

    return pages.total_count


def _by_name(
    function: str,
    names: cabc.Sequence[str],
    args: tuple[t.Any, ...],
    kwargs: dict[str, t.Any],
) -> dict[str, t.Any]:
    """The arguments that a caller gave, by name.

    :raises TypeError: if they are too many, given twice, or the first one is missing.
    """
    if len(args) > len(names):
        raise TypeError(f"{function}() takes at most {len(names)} arguments ({len(args)} given)")

    for name in names[: len(args)]:
        if name in kwargs:
            raise TypeError(f"{function}() got multiple values for argument {name!r}")

    given = {**dict(zip(names, args, strict=False)), **kwargs}

    if names[0] not in given:
        raise TypeError(f"{function}() missing 1 required argument: {names[0]!r}")

    return given


def _model_of(owner: t.Any) -> type[pynamodb.models.Model]:
    """The model, given itself, an instance of it, or an index of it."""
    if isinstance(owner, pynamodb.indexes.Index):
        return t.cast("type[pynamodb.models.Model]", t.cast(t.Any, owner)._model)

    return owner if isinstance(owner, type) else type(owner)


def _is_ours(method: t.Any) -> bool:
    """Whether a method is PynamoDB's or this project's: neither overridden nor patched."""
    return getattr(method, "__func__", None) in _OURS


def _functions_of(kind: type) -> cabc.Iterator[t.Any]:
    for base in kind.__mro__:
        for value in vars(base).values():
            yield getattr(value, "__func__", value)


# As they are when this module is imported. A patch is an override.
_OURS = frozenset(
    function
    for kind in (dynamo_ext.models.model.Model, pynamodb.indexes.Index)
    for function in _functions_of(kind)
    if inspect.isfunction(function)
)
_query: t.Any = t.cast(t.Any, dynamo_ext.models.model.Model.query).__func__
