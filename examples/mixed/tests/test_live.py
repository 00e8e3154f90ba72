"""The live results, in Quart's test client."""

from __future__ import annotations

import asyncio
import collections.abc as cabc
import contextlib
import json
import uuid

import anyio
import flask
import pytest
import quart
import quart.typing

from dynamo_ext.testing import DynamoDB
from examples.mixed import live
from examples.mixed.models import Poll
from examples.mixed.models import new_poll

pytestmark = pytest.mark.anyio

DEADLINE = 60


async def save_poll(app: quart.Quart) -> Poll:
    poll = new_poll("Tea?", ["Yes", "No"])

    async with app.app_context():
        await poll.asave()

    return poll


def stretch_interval(app: quart.Quart) -> None:
    """Let the current interval last longer than any test."""
    app.config["LIVE_INTERVAL_SECONDS"] = 1_000_000
    app.extensions["latest_polls"] = live.LatestPolls(app)


@contextlib.asynccontextmanager
async def watching(app: quart.Quart, poll: Poll) -> cabc.AsyncIterator[Stream]:
    """Watch a poll until the end of the block."""
    async with app.test_client().request(f"/live/{poll.id}") as connection:
        yield Stream(connection)
        await connection.disconnect()


class Stream:
    """What a browser has received of the live results."""

    def __init__(self, connection: quart.typing.TestHTTPConnectionProtocol) -> None:
        self._connection = connection

    async def votes(self) -> list[int]:
        """The votes of the next event."""
        with anyio.fail_after(DEADLINE):
            while not (received := await self._connection.receive()).startswith(b"data: "):
                pass

        votes: list[int] = json.loads(received.removeprefix(b"data: "))["votes"]
        return votes

    async def end(self) -> quart.Response:
        """Wait until the app ends the stream."""
        with anyio.fail_after(DEADLINE):
            # The last part of a body is empty.
            while await self._connection.receive():
                pass

            return await self._connection.as_response()


async def test_stream_sends_each_vote_on_the_page(
    live_app: quart.Quart, web_app: flask.Flask
) -> None:
    visitor = web_app.test_client()

    async with live_app.test_app():
        poll = await save_poll(live_app)

        async with watching(live_app, poll) as stream:
            assert await stream.votes() == [0, 0]

            await asyncio.to_thread(visitor.post, f"/polls/{poll.id}", data={"choice": "1"})
            assert await stream.votes() == [0, 1]


async def test_many_streams_are_one_read(live_app: quart.Quart, dynamodb: DynamoDB) -> None:
    stretch_interval(live_app)

    async with live_app.test_app():
        poll = await save_poll(live_app)
        dynamodb.calls.clear()

        async with contextlib.AsyncExitStack() as stack:
            streams = [await stack.enter_async_context(watching(live_app, poll)) for _ in range(5)]
            assert await asyncio.gather(*(stream.votes() for stream in streams)) == [[0, 0]] * 5
            assert [call.operation for call in dynamodb.calls] == ["GetItem"]


async def test_stream_ends_when_the_app_stops(live_app: quart.Quart) -> None:
    stretch_interval(live_app)

    async with live_app.test_app():
        poll = await save_poll(live_app)

        async with watching(live_app, poll) as stream:
            await stream.votes()
            live_app.shutdown_event.set()
            response = await stream.end()

        assert response.status_code == 200
        assert response.content_type == "text/event-stream"
        assert response.headers["Access-Control-Allow-Origin"] == "https://polls.example"


async def test_quiet_stream_has_heartbeats(
    live_app: quart.Quart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0)
    poll = await save_poll(live_app)
    stop = asyncio.Event()
    events = live.send_events(live.LatestPolls(live_app), uuid.UUID(poll.id), stop)
    received = [await anext(events) for _ in range(4)]
    assert [event[0] for event in received] == ["r", "d", ":", ":"]
    assert all(event.endswith("\n\n") for event in received)


async def test_votes_as_json(live_app: quart.Quart) -> None:
    poll = await save_poll(live_app)
    response = await live_app.test_client().get(f"/live/{poll.id}.json")
    answer = await response.get_json()
    assert (answer["question"], answer["votes"]) == ("Tea?", [0, 0])
    assert "board" not in answer


@pytest.mark.parametrize("suffix", ["", ".json"])
async def test_unknown_poll_is_not_found(live_app: quart.Quart, suffix: str) -> None:
    path = f"/live/00000000-0000-0000-0000-000000000000{suffix}"

    async with live_app.test_app() as app:
        response = await app.test_client().get(path)

    assert response.status_code == 404
    assert await response.get_json() == {"error": "There is no such poll."}


async def test_ready_means_that_dynamodb_answers(live_app: quart.Quart, dynamodb: DynamoDB) -> None:
    client = live_app.test_client()
    assert await (await client.get("/ready")).get_data(as_text=True) == "ready"
    # As often as it is tried.
    dynamodb.fail("ListTables", error="InternalServerError", times=100)
    assert (await client.get("/ready")).status_code == 500
