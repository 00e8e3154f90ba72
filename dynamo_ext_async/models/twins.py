"""The awaitable twins of PynamoDB's methods, each declared by a signature and a docstring.

Type checkers, IDEs and Sphinx read the declaration. What a twin does comes from its decorator: it
calls the method that the model or index has, with the arguments as the caller gave them.
"""

from __future__ import annotations

import collections.abc as cabc
import functools
import inspect
import typing as t

import pynamodb.indexes
import pynamodb.models

from dynamo_ext.client.connection import Connection
from dynamo_ext.models import late_binding

from ..execution import eligibility
from ..execution import workers
from .iteration import ResultIterator

F = t.TypeVar("F", bound=cabc.Callable[..., t.Any])


class Twin(t.Protocol):
    """Makes a twin of its declaration."""

    def __call__(self, declared: F, /) -> F: ...


def calls(name: str) -> Twin:
    """Declare the twin of a method that makes one call. It is made in a worker or in the hub.

    :param name: The name of the method.
    """

    def decorate(declared: F, /) -> F:
        @functools.wraps(declared)
        async def twin(owner: t.Any, /, *args: t.Any, **kwargs: t.Any) -> t.Any:
            # The worker looks the connection up again, which takes 2 microseconds: the method may
            # be the app's own and enter another app's context.
            model, method = _model_of(owner), getattr(owner, name)
            connection = late_binding.connection(model).connection

            if not _may_share_thread(connection, method, args, kwargs):
                return await workers.run(connection, method, *args, **kwargs)

            return await workers.call(connection, model, method, *args, **kwargs)

        return t.cast(F, twin)

    return decorate


def iterates(name: str) -> Twin:
    """Declare the twin of ``query`` or ``scan``.

    :param name: The name of the method.
    """

    def decorate(declared: F, /) -> F:
        _, *names = inspect.signature(declared).parameters
        position = names.index("rate_limit")

        @functools.wraps(declared)
        def twin(owner: t.Any, /, *args: t.Any, **kwargs: t.Any) -> t.Any:
            given = {**dict(zip(names, args, strict=False)), **kwargs}

            # PynamoDB's iterator would sleep in a worker to keep the rate: ours sleeps on the loop.
            if "rate_limit" in kwargs:
                kwargs["rate_limit"] = None
            elif "rate_limit" in given:
                args = (*args[:position], None, *args[position + 1 :])

            model, method = _model_of(owner), getattr(owner, name)
            return ResultIterator(
                method(*args, **kwargs),
                late_binding.connection(model).connection,
                model,
                limit=given.get("limit"),
                rate_limit=given.get("rate_limit"),
            )

        return t.cast(F, twin)

    return decorate


def _may_share_thread(
    connection: Connection,
    method: cabc.Callable[..., t.Any],
    args: tuple[t.Any, ...],
    kwargs: dict[str, t.Any],
) -> bool:
    """Whether what is stored or asked for is no code of the app, as far as that matters."""
    return not connection.engine.waits_cooperatively or eligibility.are_plain(
        method, *args, *kwargs.values()
    )


def _model_of(owner: t.Any) -> type[pynamodb.models.Model]:
    """The model, given itself, an instance of it, or an index of it."""
    if isinstance(owner, pynamodb.indexes.Index):
        return t.cast("type[pynamodb.models.Model]", t.cast(t.Any, owner)._model)

    return owner if isinstance(owner, type) else type(owner)
