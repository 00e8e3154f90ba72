"""Where a call is recorded: in the list of the request that makes it, if there is one.

Which request that is, and what becomes of the record, is for :mod:`dynamo_ext.web.recorder`.
"""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import contextvars
import typing as t

from flask.sansio.app import App

from .. import call_site
from ..call_site import Location
from .app_policy import AppPolicy
from .record import Progress


class Recorder(t.Protocol):
    """Records the calls of one request."""

    def waiting_place(self) -> Location | None:
        """The place at which the request itself waits for other tasks; ``None`` if unknown."""
        ...

    def begin(self, progress: Progress) -> None:
        """Note that a call is about to be made.

        :param progress: The call, whose place is known.
        :raises CallAdvice: if there is advice, and a filter of warnings makes an error of it.
        """
        ...

    def end(self, progress: Progress) -> None:
        """Note a call that has ended.

        :param progress: The call.
        """
        ...


_finders: list[cabc.Callable[[App], Recorder | None]] = []
# Set by a task for the worker or the hub that makes its call, where none of the task's frames are.
_place: contextvars.ContextVar[Location | None] = contextvars.ContextVar(
    "dynamo_ext.place", default=None
)
_NOWHERE = contextlib.nullcontext()


def add_finder(find: cabc.Callable[[App], Recorder | None]) -> None:
    """Register what finds the recorder of the current request.

    :param find: Returns it, given the app that the call is for; ``None`` outside its requests.
    """
    _finders.append(find)


def find(policy: AppPolicy) -> Recorder | None:
    """What records a call that is made now.

    :param policy: What the app wants of the call.
    :return: The recorder; ``None`` if the call is not to be recorded.
    """
    if not policy.records_calls or (app := policy.app()) is None:
        return None

    for each in _finders:
        if (found := each(app)) is not None:
            return found

    return None


def begin(recorder: Recorder, progress: Progress, index_name: str | None) -> None:
    """Record that a call is about to be made.

    :param recorder: What records it.
    :param progress: The call.
    :param index_name: The index that it reads.
    :raises CallAdvice: if there is advice, and a filter of warnings makes an error of it.
    """
    progress.index_name = index_name
    progress.location = call_site.find() or _place.get()
    recorder.begin(progress)


def at_call_site(policy: AppPolicy) -> contextlib.AbstractContextManager[None]:
    """Remember the place that makes the calls of a ``with`` block, which others will send.

    :param policy: What the app wants of the calls.
    """
    recorder = find(policy)
    return _NOWHERE if recorder is None else _AtCallSite(recorder)


class _AtCallSite:
    """What :func:`at_call_site` returns. Not a generator: each awaited call enters one."""

    __slots__ = ("_recorder", "_token")

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def __enter__(self) -> None:
        place = call_site.find() or _place.get() or self._recorder.waiting_place()
        self._token = _place.set(place)

    def __exit__(self, *error: object) -> None:
        try:
            _place.reset(self._token)
        except ValueError:
            # The garbage collector has closed the coroutine, in another context.
            pass
