"""The Quart app: the results as they change, as server-sent events, and as JSON."""

from __future__ import annotations

import asyncio
import collections.abc as cabc
import json
import typing as t
import uuid

from quart import Blueprint
from quart import Quart
from quart import Response
from quart import current_app
from quart import jsonify
from quart import make_response
from quart.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from .config import configure
from .models import BOARD
from .models import Poll
from .models import db

HEARTBEAT_SECONDS = 15
"""After so long without an event, a comment is sent, so that no proxy gives up."""

STREAM_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    # Otherwise nginx would collect events before it passes them on.
    "X-Accel-Buffering": "no",
}

bp = Blueprint("live", __name__, url_prefix="/live")


def create_app(settings: cabc.Mapping[str, t.Any] | None = None) -> Quart:
    app = Quart(__name__)
    configure(app, settings or {})
    db.init_app(app)
    app.extensions["latest_polls"] = LatestPolls(app)
    app.register_blueprint(bp)
    app.register_error_handler(HTTPException, show_error)
    app.add_url_rule("/ready", view_func=ready)
    app.after_request(add_headers)
    return app


class LatestPolls:
    """Polls as they are in the current interval: however many watch one, it is read once.

    :param app: The app in whose context they are read.
    """

    def __init__(self, app: Quart) -> None:
        self._app = app
        self._seconds: float = app.config["LIVE_INTERVAL_SECONDS"]
        self._interval = -1
        self._reads: dict[uuid.UUID, asyncio.Task[Poll]] = {}

    async def get(self, id: uuid.UUID) -> Poll:
        """The poll; its first reader in an interval starts the read, the others wait for it, too.

        :raises werkzeug.exceptions.NotFound: if there is no such poll.
        """
        interval = int(asyncio.get_running_loop().time() // self._seconds)

        if interval != self._interval:
            self._interval, self._reads = interval, {}

        if id not in self._reads:
            self._reads[id] = asyncio.create_task(self._read(id))

        # A visitor who leaves must not cancel the read for the others.
        return await asyncio.shield(self._reads[id])

    async def next_interval(self, stop: asyncio.Event) -> None:
        """Sleep until the next interval begins, or the event is set."""
        rest = self._seconds - asyncio.get_running_loop().time() % self._seconds

        try:
            await asyncio.wait_for(stop.wait(), rest)
        except TimeoutError:
            pass

    async def _read(self, id: uuid.UUID) -> Poll:
        # No request's context is left when a stream reads on. A consistent read never goes back
        # behind the results that a visitor has seen.
        async with self._app.app_context():
            message = "There is no such poll."
            return await Poll.aget_or_404(BOARD, str(id), consistent_read=True, message=message)


async def ready() -> str:
    await db.aping(timeout=2)
    return "ready"


@bp.get("/<uuid:id>")
async def stream(id: uuid.UUID) -> ResponseReturnValue:
    """Send the votes now, and whenever they have changed."""
    latest = latest_polls()
    # Before the answer begins, so that an unknown poll is a 404.
    await latest.get(id)
    stop = t.cast(asyncio.Event, current_app.shutdown_event)
    events = send_events(latest, id, stop)
    response = t.cast(Response, await make_response(events, STREAM_HEADERS))
    # Otherwise Quart ends the response after RESPONSE_TIMEOUT.
    response.timeout = None
    return response


@bp.get("/<uuid:id>.json")
async def show(id: uuid.UUID) -> ResponseReturnValue:
    return jsonify(await latest_polls().get(id))


async def send_events(
    latest: LatestPolls, id: uuid.UUID, stop: asyncio.Event
) -> cabc.AsyncIterator[str]:
    """The events of one stream.

    :param latest: Reads the poll.
    :param id: The poll's id.
    :param stop: Ends the stream.
    """
    loop = asyncio.get_running_loop()
    sent, sent_at = "", 0.0
    # The browser's pause before it connects again, in milliseconds.
    yield "retry: 2000\n\n"

    while not stop.is_set():
        poll = await latest.get(id)
        data = json.dumps(poll.to_json_dict(include=("votes",)))

        if data != sent:
            yield f"data: {data}\n\n"
            sent, sent_at = data, loop.time()
        elif loop.time() - sent_at >= HEARTBEAT_SECONDS:
            yield ": still there\n\n"
            sent_at = loop.time()

        await latest.next_interval(stop)


def latest_polls() -> LatestPolls:
    return t.cast(LatestPolls, current_app.extensions["latest_polls"])


async def show_error(error: HTTPException) -> ResponseReturnValue:
    headers = [(name, value) for name, value in error.get_headers() if name != "Content-Type"]
    return {"error": error.description}, error.code or 500, headers


async def add_headers(response: Response) -> Response:
    if origin := t.cast(str, current_app.config["PAGE_ORIGIN"]):
        response.headers["Access-Control-Allow-Origin"] = origin

    return response
