"""The calls of each request: their list, advice, the header ``Server-Timing``, the last requests.

A recording belongs to a request or websocket, as its framework has it: so whoever has the request
in its context (a worker thread, a task, a response that is streamed) adds to the same list, and no
other one does. Only calls for the app that answers the request count.
"""

from __future__ import annotations

import collections
import collections.abc as cabc
import dataclasses
import datetime
import itertools
import re
import time
import typing as t
import weakref

import werkzeug.sansio.response
from flask.sansio.app import App
from werkzeug.sansio.request import Request

from ..binding import context
from ..call_site import Location
from ..calls.record import Call
from ..calls.record import Progress
from ..calls.recording import add_finder
from . import advice

MOST_CALLS: t.Final = 1000
"""How many calls of a request are kept: the last ones."""

MOST_REQUESTS: t.Final = 100
"""How many requests of an app are kept, where there is a page to show them."""

WaitingPlace: t.TypeAlias = cabc.Callable[[], Location | None]
"""Finds the place at which a task waits."""

_HEADER = "Server-Timing"
_WEBSOCKET = "WEBSOCKET"
# As it may stand in a response that is used again.
_OWN_ENTRY = re.compile(r'(?:^|,\s*)dynamodb;dur=[\d.]+;desc="\d+ calls?"')


class RecordedCalls(list[Call]):
    """The calls of a request, in the order in which they ended."""

    left_out: int = 0
    """How many calls were made before these, and are not kept."""


@dataclasses.dataclass(frozen=True, slots=True)
class TimedCall:
    """A call, and when it began."""

    call: Call

    begin: float
    """The seconds from the request's begin to the call's, which includes its wait for a slot."""

    @property
    def seconds(self) -> float:
        """How long it took, with its wait for a slot."""
        return self.call.queue_seconds + self.call.seconds


class Recording:
    """The calls of one request or websocket.

    Threads add to it without a lock: one that is interrupted while it holds a lock would stop the
    others.

    :param app: The app that answers.
    :param request: The request.
    """

    def __init__(self, app: App, request: Request) -> None:
        self.begun: datetime.datetime = datetime.datetime.now(datetime.UTC)
        """When the request began, or made its first call."""

        is_websocket = request.scheme in {"ws", "wss"}
        self.method: str = _WEBSOCKET if is_websocket else request.method
        self.path: str = request.root_path + request.path
        self.status: int | None = None
        """The status of the answer; ``None`` before it, and of a request that raised."""

        self.seconds: float | None = None
        """How long the request took; ``None`` before its end."""

        self.is_listed: bool = True
        """Whether it is shown among the app's last requests."""

        self.find_waiting_place: WaitingPlace | None = None
        """Finds where the request's own task waits."""

        self.number: int = 0
        """Its number among the app's last requests, from 1; 0 before its end."""

        self._app = weakref.ref(app)
        self._start = time.monotonic()
        # When each has ended, and the call.
        self._calls: list[tuple[float, Progress]] = []
        self._left_out = 0
        self._left_out_seconds = 0.0
        self._reads: dict[advice.Reads, itertools.count[int]] = {}

    def waiting_place(self) -> Location | None:
        """The place at which the request's own task waits; ``None`` if unknown."""
        return None if self.find_waiting_place is None else self.find_waiting_place()

    def begin(self, progress: Progress) -> None:
        """Note that a call is about to be made, and give advice.

        :param progress: The call.
        :raises CallAdvice: if a filter of warnings makes an error of it.
        """
        app, location = self._app(), progress.location

        # What is not listed is a page of this project.
        if app is None or location is None or not self.is_listed:
            return

        # Once the answer is there, nobody waits for a task that scans.
        if self.status is None and advice.is_scan(progress):
            self._advise(app, advice.SCAN, location, advice.of_scan(progress))

        if (reads := advice.reads(progress)) is not None:
            number = next(self._reads.setdefault(reads, itertools.count(1)))

            if number >= advice.MANY_READS:
                self._advise(app, advice.READS, location, advice.of_reads(reads, number))

    @staticmethod
    def _advise(app: App, kind: str, location: Location, message: str) -> None:
        advice.give(_of_app(app).given, kind, location, message)

    def end(self, progress: Progress) -> None:
        """Add a call that has ended.

        :param progress: The call.
        """
        # Its record is made when somebody asks for it.
        progress.drop_reply()
        self._calls.append((time.monotonic(), progress))

        if len(self._calls) > MOST_CALLS:
            _, first = self._calls.pop(0)
            self._left_out += 1
            self._left_out_seconds += _seconds(first)

        if self.seconds is not None:
            # The request's first call may come from a task that outlives it.
            self.list()

    @property
    def calls(self) -> RecordedCalls:
        """The calls so far."""
        calls = RecordedCalls(progress.call for _, progress in self._last_calls())
        calls.left_out = self._left_out
        return calls

    @property
    def timed_calls(self) -> list[TimedCall]:
        """The calls so far, with their times."""
        return [
            TimedCall(progress.call, max(0.0, end - self._start - _seconds(progress)))
            for end, progress in self._last_calls()
        ]

    def _last_calls(self) -> list[tuple[float, Progress]]:
        # A copy in one step: others add to it meanwhile.
        return self._calls[-MOST_CALLS:]

    @property
    def left_out(self) -> int:
        """How many calls were made before these, and are not kept."""
        return self._left_out

    @property
    def call_count(self) -> int:
        """How many calls there were, with those that are left out."""
        return self._left_out + len(self._calls)

    @property
    def call_seconds(self) -> float:
        """How long all calls took, added up."""
        return self._left_out_seconds + sum(_seconds(call) for _, call in self._last_calls())

    def finish(self) -> None:
        """Note that the request has ended."""
        # More than once, if its context is entered again to stream the answer.
        self.seconds = time.monotonic() - self._start
        self.list()

    def list(self) -> None:
        """Add this to the app's last requests, if it has made calls, and they are kept."""
        app = self._app()

        if app is None or self.number or not self.is_listed or not self.call_count:
            return

        records = _of_app(app)

        if records.last is not None:
            self.number = next(records.numbers)
            records.last.append(self)


def _seconds(call: Progress) -> float:
    """How long a call took, with its wait for a slot."""
    return call.queue_seconds + call.seconds


@dataclasses.dataclass
class _AppRecords:
    """What is kept of an app's requests."""

    given: set[advice.Given] = dataclasses.field(default_factory=set[advice.Given])
    """The advice that was given."""

    last: collections.deque[Recording] | None = None
    """The last requests that made calls; ``None`` where nobody shows them."""

    numbers: cabc.Iterator[int] = dataclasses.field(default_factory=lambda: itertools.count(1))


_Find: t.TypeAlias = cabc.Callable[[App], Request | None]

_request_finders: list[_Find] = []
# Called before the first recording begins: until then, no request needs a receiver at its end.
_followers: list[cabc.Callable[[], None]] = []
_are_followed = False
_recordings: weakref.WeakKeyDictionary[Request, Recording] = weakref.WeakKeyDictionary()
_apps: weakref.WeakKeyDictionary[App, _AppRecords] = weakref.WeakKeyDictionary()


def get_recorded_calls() -> RecordedCalls:
    """The calls that the current request has made, in the order in which they ended.

    They are recorded in debug mode, unless ``DYNAMODB_RECORD_CALLS`` says otherwise. In a websocket
    they are those of the websocket. A task that has the request in its context adds to that list,
    also after the answer.

    :return: The last 1000 calls; :attr:`~RecordedCalls.left_out` tells how many were made before
        these. Outside a request, and where calls are not recorded: none.
    """
    recording = current()
    return RecordedCalls() if recording is None else recording.calls


def add_framework(find_request: _Find, follow: cabc.Callable[[], None]) -> None:
    """Register a framework.

    :param find_request: Returns the current request or websocket that a given app answers; ``None``
        if there is none.
    :param follow: Has :func:`answered` and :func:`ended` called from now on. It is called before
        the first recording begins. To call it twice is harmless.
    """
    _request_finders.append(find_request)
    _followers.append(follow)

    if _are_followed:
        follow()


def current() -> Recording | None:
    """The recording of the current request; ``None`` where there is none."""
    state = context.find_state()
    app = None if state is None else state.policy.app()
    return None if app is None else _find(app)


def started(app: App, waiting_place: cabc.Callable[[], WaitingPlace] | None = None) -> None:
    """Begin the recording of the current request or websocket, if its calls are to be recorded.

    :param app: The app that answers.
    :param waiting_place: Called in the request's task; returns what finds where that task waits.
    """
    if records_calls(app) and (recording := _find_or_begin(app)) is not None:
        recording.find_waiting_place = None if waiting_place is None else waiting_place()


def answered(app: App, response: werkzeug.sansio.response.Response) -> None:
    """Add ``Server-Timing`` to the answer of the current request, if its calls are recorded.

    :param app: The app that answers.
    :param response: The answer.
    """
    if not records_calls(app) or (recording := _find_or_begin(app)) is None:
        return

    recording.status = response.status_code
    others = ", ".join(response.headers.getlist(_HEADER))
    entries = [_OWN_ENTRY.sub("", others).lstrip(", "), server_timing(recording)]
    response.headers[_HEADER] = ", ".join(filter(None, entries))


def server_timing(recording: Recording) -> str:
    """The entry of a recording in the header ``Server-Timing``.

    :param recording: The recording.
    """
    number = recording.call_count
    calls = "call" if number == 1 else "calls"
    return f'dynamodb;dur={recording.call_seconds * 1000:.1f};desc="{number} {calls}"'


def ended(app: App) -> None:
    """End the recording of the current request or websocket.

    :param app: The app that answers.
    """
    if (recording := _find(app)) is not None:
        recording.finish()


def keep_last(app: App) -> None:
    """Keep the last requests of an app that make calls, from now on.

    :param app: The app.
    """
    records = _of_app(app)

    if records.last is None:
        records.last = collections.deque(maxlen=MOST_REQUESTS)


def last(app: App) -> list[Recording]:
    """The last requests of an app that made calls, the latest one first.

    :param app: The app.
    """
    kept = _of_app(app).last
    return [] if kept is None else list(kept.copy())[::-1]


def leave_out(app: App) -> None:
    """Keep the current request from being shown among the last ones.

    :param app: The app that answers.
    """
    if (recording := _find(app)) is not None:
        recording.is_listed = False


def _find(app: App) -> Recording | None:
    """The recording of the request that an app answers now."""
    request = _request(app)
    return None if request is None else _recordings.get(request)


def _find_or_begin(app: App) -> Recording | None:
    """The recording of the request that an app answers now, begun if there is none: a session may
    make calls before the request is announced, and in tests no request ever is."""
    request = _request(app)

    if request is None:
        return None

    if (recording := _recordings.get(request)) is not None:
        return recording

    _follow_requests()
    return _recordings.setdefault(request, Recording(app, request))


def _follow_requests() -> None:
    global _are_followed

    if not _are_followed:
        for follow in _followers:
            follow()

        # Only now: another thread that sees it begins its recording.
        _are_followed = True

        # Another thread may have added one before it could see that.
        for follow in _followers:
            follow()


def _request(app: App) -> Request | None:
    for find in _request_finders:
        if (found := find(app)) is not None:
            return found

    return None


def records_calls(app: App) -> bool:
    """Whether the calls of an app's requests are recorded.

    :param app: The app.
    """
    state = context.known_state_of(app)
    return state is not None and state.policy.records_calls


def _of_app(app: App) -> _AppRecords:
    return _apps.get(app) or _apps.setdefault(app, _AppRecords())


add_finder(_find_or_begin)
