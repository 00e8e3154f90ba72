"""The calls of a request: their list, places, advice, the header, the panel and the page."""

from __future__ import annotations

import collections.abc as cabc
import functools
import gc
import inspect
import pathlib
import re
import threading
import typing as t
import warnings

import anyio
import anyio.lowlevel
import flask
import flask_debugtoolbar
import hypothesis
import pytest
import quart
from hypothesis import strategies as st
from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import GetError
from pynamodb.indexes import AllProjection
from quart_trio import QuartTrio

import dynamo_ext.web.browse
import dynamo_ext_async.web.browse
import engines
import stub as stubs
from conftest import RunPython
from dynamo_ext.calls import record
from dynamo_ext.web import recorder
from dynamo_ext.web import timeline
from dynamo_ext_async import Call
from dynamo_ext_async import CallAdvice
from dynamo_ext_async import ConfigError
from dynamo_ext_async import GlobalSecondaryIndex
from dynamo_ext_async import Model
from dynamo_ext_async import PynamoDB
from dynamo_ext_async import Settings
from dynamo_ext_async import get_recorded_calls
from stub import Stub

HOSTILE = "<script>alert(1)</script>\"'\n\u202ex"


class ByText(GlobalSecondaryIndex["Note"]):
    class Meta:
        index_name = "by-text"
        projection = AllProjection()

    text = UnicodeAttribute(hash_key=True)


class Note(Model):
    class Meta:
        table_name = "note"

    id = UnicodeAttribute(hash_key=True)
    text = UnicodeAttribute(null=True)
    by_text = ByText()


App = t.TypeVar("App", flask.Flask, quart.Quart)


def prepared(app: App, config: dict[str, t.Any], **settings: t.Any) -> App:
    options = {"DYNAMODB_RECORD_CALLS": True, "DYNAMODB_BASE_BACKOFF_MS": 0, **settings}
    app.config.from_mapping({**config, "SECRET_KEY": "a secret of the tests", **options})
    PynamoDB(app)
    return app


@pytest.fixture
def web(stub_config: dict[str, t.Any]) -> flask.Flask:
    return prepared(flask.Flask("web"), stub_config)


@pytest.fixture
def api(stub_config: dict[str, t.Any], anyio_backend_name: str) -> quart.Quart:
    kind = QuartTrio if anyio_backend_name == "trio" else quart.Quart
    return prepared(kind("api"), stub_config)


def line_here() -> int:
    """The line of the caller."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def operations() -> list[str]:
    return [call.operation for call in get_recorded_calls()]


def places() -> list[tuple[str, int] | None]:
    return [
        None if call.location is None else (call.location.function, call.location.line)
        for call in get_recorded_calls()
    ]


class TestList:
    def test_it_has_the_calls_of_the_request_and_no_others(self, web: flask.Flask) -> None:
        @web.get("/<name>")
        def view(name: str) -> dict[str, t.Any]:
            assert operations() == []
            Note.get(name)
            Note(name).save()
            list(Note.by_text.query("x"))
            return {
                "operations": operations(),
                "what": [
                    (call.model, call.index_name, call.items) for call in get_recorded_calls()
                ],
            }

        for name in "ab":
            assert web.test_client().get(f"/{name}").json == {
                "operations": ["GetItem", "PutItem", "Query"],
                "what": [["Note", None, 1], ["Note", None, None], ["Note", "by-text", 0]],
            }

    def test_it_is_empty_outside_a_request(self, web: flask.Flask) -> None:
        with web.app_context():
            Note.get("x")
            list(Note.scan())
            assert get_recorded_calls() == []

        flask.Flask("another")
        assert get_recorded_calls() == []

    @pytest.mark.once(reason="no call is sent")
    def test_it_is_empty_where_no_app_is_current(self, stub_config: dict[str, t.Any]) -> None:
        _apps = [prepared(flask.Flask(name), stub_config) for name in "ab"]
        assert get_recorded_calls() == []

    @pytest.mark.parametrize(
        ("setting", "debug", "is_on"),
        [(None, False, False), (None, True, True), (False, True, False), ("1", False, True)],
    )
    def test_it_is_kept_in_debug_mode_unless_the_setting_says_otherwise(
        self, stub_config: dict[str, t.Any], setting: object, debug: bool, is_on: bool
    ) -> None:
        app = prepared(flask.Flask("web"), stub_config, DYNAMODB_RECORD_CALLS=setting)
        app.debug = debug

        @app.get("/")
        def view() -> list[str]:
            Note.get("x")
            return operations()

        answer = app.test_client().get("/")
        assert answer.json == (["GetItem"] if is_on else [])
        assert ("Server-Timing" in answer.headers) is is_on

    def test_a_request_of_a_test_needs_no_dispatch(self, web: flask.Flask) -> None:
        with web.test_request_context():
            Note.get("x")
            assert operations() == ["GetItem"]

    def test_a_failed_call_is_in_it(self, web: flask.Flask, stub: Stub) -> None:
        stub.always("GetItem", stubs.error(400, "AccessDeniedException"))

        with web.test_request_context():
            with pytest.raises(GetError):
                Note.get("x")

            (call,) = get_recorded_calls()

        assert (call.error, call.items) == ("AccessDeniedException", None)

    def test_what_is_kept_of_a_call_holds_no_item(
        self, web: flask.Flask, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with web.test_request_context():
            Note.get("x")
            recording = recorder.current()
            assert recording is not None
            [(_, progress)] = recording._calls
            dictionaries = [each for each in gc.get_referents(progress) if isinstance(each, dict)]
            [call] = get_recorded_calls()

        assert dictionaries == []
        assert call.items == 1

    def test_the_last_thousand_are_kept(self, web: flask.Flask) -> None:
        call = record.Progress("GetItem", "Note", "note", None)
        call.queue_seconds = call.seconds = 0.25

        with web.test_request_context():
            Note.get("x")
            recording = recorder.current()
            assert recording is not None
            first = recording.call_seconds

            for _ in range(1002):
                recording.end(call)

            calls = get_recorded_calls()

        assert (len(calls), calls.left_out, recording.call_count) == (1000, 3, 1003)
        assert recording.call_seconds == pytest.approx(501 + first)
        assert "The first 3 calls are not kept." in timeline.render(recording)

    def test_apps_keep_theirs_apart(self, web: flask.Flask, stub_config: dict[str, t.Any]) -> None:
        other = prepared(flask.Flask("other"), stub_config)

        @other.get("/")
        def inner() -> list[str]:
            Note("y").save()
            return operations()

        @web.get("/")
        def outer() -> list[t.Any]:
            Note.get("x")
            answer = other.test_client().get("/")

            with other.app_context():
                Note.get("y")
                assert operations() == []

            with web.app_context():
                Note.get("x")

            return [answer.json, operations()]

        assert web.test_client().get("/").json == [["PutItem"], ["GetItem", "GetItem"]]

    def test_threads_with_the_request_in_their_context_add_to_it(self, web: flask.Flask) -> None:
        with web.test_request_context():
            threads = [
                threading.Thread(target=flask.copy_current_request_context(Note.get), args=["x"])
                for _ in range(8)
            ]

            for thread in threads:
                thread.start()

            for thread in threads:
                thread.join()

            assert operations() == ["GetItem"] * 8

    def test_a_streamed_answer_adds_to_it(self, web: flask.Flask) -> None:
        seen: list[list[str]] = []

        @web.get("/")
        def view() -> flask.Response:
            def lines() -> cabc.Iterator[str]:
                list(Note.query("x"))
                yield "line"
                Note.get("x")
                seen.append(operations())

            Note.get("x")
            return flask.Response(flask.stream_with_context(lines()))

        answer = web.test_client().get("/")
        assert answer.headers["Server-Timing"].endswith(';desc="1 call"')
        assert answer.text == "line"
        assert seen == [["GetItem", "Query", "GetItem"]]

    @pytest.mark.anyio
    async def test_awaited_calls_and_tasks_add_to_it(self, api: quart.Quart) -> None:
        @api.get("/")
        async def view() -> list[str]:
            await Note.aget("x")
            _ = [note async for note in Note.aquery("x")]

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(Note.aget, "y")

            return operations()

        answer = await api.test_client().get("/")
        assert await answer.get_json() == ["GetItem", "Query", "GetItem"]
        assert answer.headers["Server-Timing"].endswith(';desc="3 calls"')

    @pytest.mark.anyio
    async def test_a_background_task_adds_to_it_after_the_answer(self, api: quart.Quart) -> None:
        """Where it has the request in its context, which it has not from Quart 0.23 on."""
        seen: list[list[str]] = []
        expected: list[list[str]] = []
        answered, ended = anyio.Event(), anyio.Event()

        async def work() -> None:
            await answered.wait()

            # A task that nobody waits for may scan.
            async for _ in Note.ascan():
                pass

            seen.append(operations())
            expected.append(["GetItem", "Scan"] if quart.has_request_context() else [])
            ended.set()

        @api.get("/")
        async def view() -> list[str]:
            await Note.aget("x")
            api.add_background_task(work)
            return operations()

        async with api.test_app():
            answer = await api.test_client().get("/")
            assert await answer.get_json() == ["GetItem"]
            answered.set()

            with anyio.fail_after(20):
                await ended.wait()

        assert seen == expected

    @pytest.mark.anyio
    async def test_a_websocket_has_its_own(self, api: quart.Quart) -> None:
        @api.websocket("/")
        async def socket() -> None:
            while True:
                await Note.aget(await quart.websocket.receive())
                await quart.websocket.send(" ".join(operations()))

        async with api.test_app(), api.test_client().websocket("/") as socket_:
            for number in range(1, 3):
                await socket_.send("x")
                assert await socket_.receive() == " ".join(["GetItem"] * number)

    @pytest.mark.anyio
    async def test_websockets_and_requests_that_alternate_share_nothing(
        self, api: quart.Quart
    ) -> None:
        @api.websocket("/<name>")
        async def socket(name: str) -> None:
            while True:
                await quart.websocket.receive()
                await (Note.aget("x") if name == "get" else Note("x").asave())
                await quart.websocket.send(" ".join(operations()))

        @api.get("/")
        async def view() -> list[str]:
            await Note.acount("x")
            return operations()

        client = api.test_client()

        async with (
            api.test_app(),
            client.websocket("/get") as getting,
            client.websocket("/put") as putting,
        ):
            for number in range(1, 3):
                for connection, operation in ((getting, "GetItem"), (putting, "PutItem")):
                    await connection.send("x")
                    assert await (await client.get("/")).get_json() == ["Query"]
                    assert await connection.receive() == " ".join([operation] * number)


@hypothesis.given(
    steps=st.lists(st.integers(0, 3), max_size=12), counts=st.lists(st.integers(0, 3), min_size=4)
)
@hypothesis.settings(max_examples=10)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_nothing_leaks_between_requests_however_they_alternate(
    backend: str, steps: list[int], counts: list[int]
) -> None:
    """Each request makes calls with a name of its own, in an order that is drawn."""

    async def check(url: str) -> None:
        kind = QuartTrio if backend == "trio" else quart.Quart
        api = prepared(kind("api"), engines.config(url))
        turns = [anyio.Semaphore(0) for _ in range(4)]
        seen: dict[int, list[int | None]] = {}

        @api.get("/<int:number>")
        async def view(number: int) -> str:
            for _ in range(counts[number]):
                await turns[number].acquire()
                # Where a call is made tells who has made it.
                await CALLS[number]()

            seen[number] = [call.items for call in get_recorded_calls()]
            return ""

        async with anyio.create_task_group() as tasks:
            for number in range(4):
                tasks.start_soon(api.test_client().get, f"/{number}")

            for number in [*steps, *(number for number in range(4) for _ in range(3))]:
                turns[number].release()
                await anyio.lowlevel.checkpoint()

        assert seen == {number: [number + 1] * counts[number] for number in range(4)}

    with Stub() as stub:
        anyio.run(check, stub.url, backend=backend)


async def get_many(number: int) -> None:
    _ = [note async for note in Note.abatch_get([str(each) for each in range(number + 1)])]


CALLS = [functools.partial(get_many, number) for number in range(4)]


class TestPlace:
    def test_it_is_the_line_of_the_app_that_calls(self, web: flask.Flask) -> None:
        def load(name: str) -> Note:
            return Note.get(name)

        with web.test_request_context():
            load("x")
            _ = [Note.get(name) for name in "x"]
            line = line_here()
            first, second = get_recorded_calls()

        assert first.location is not None
        assert second.location is not None
        assert (first.location.file, first.location.function) == (__file__, "load")
        assert str(first.location).startswith(f"{__file__}:{first.location.line}")
        assert second.location.function == "test_it_is_the_line_of_the_app_that_calls"
        assert second.location.line == line - 1

    def test_of_an_iterator_it_is_where_the_page_is_asked_for(self, web: flask.Flask) -> None:
        with web.test_request_context():
            notes = Note.query("x")
            list(notes)
            assert places() == [(inspect.stack()[0].function, line_here() - 1)]

    def test_of_a_template_it_is_the_line_there(
        self, stub_config: dict[str, t.Any], tmp_path: pathlib.Path
    ) -> None:
        (tmp_path / "notes.html").write_text("Notes\n\n{% for note in notes %}{% endfor %}\n")
        web = prepared(flask.Flask("web", template_folder=str(tmp_path)), stub_config)

        with web.test_request_context():
            flask.render_template("notes.html", notes=Note.query("x"))
            (call,) = get_recorded_calls()

        assert str(call.location) == f"{tmp_path / 'notes.html'}:3 in template"

    @pytest.mark.anyio
    async def test_of_awaited_calls_it_is_the_line_that_awaits(self, api: quart.Quart) -> None:
        db = t.cast(PynamoDB, api.extensions["pynamodb"])

        @api.get("/")
        async def view() -> str:
            await Note.aget("x")
            first = line_here() - 1
            notes = Note.aquery("x")
            _ = [note async for note in notes]
            _ = [note async for note in Note.aparallel_scan(1)]
            await db.run_sync(Note.exists)
            await db.run_sync(lambda: Note.get("x"))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(Note.aget, "y")

            names = ["view"] * 6
            lines = [first + offset for offset in (0, 3, 4, 5, 6, 7)]
            assert places() == list(zip(names, lines, strict=True))
            return "good"

        with pytest.warns(CallAdvice, match="scan"):
            answer = await api.test_client().get("/")

        assert await answer.get_data(as_text=True) == "good"

    def test_it_is_not_looked_for_outside_a_request(self, web: flask.Flask) -> None:
        seen: list[Call] = []

        def note(sender: object, call: Call) -> None:
            seen.append(call)

        with dynamo_ext_async.call_finished.connected_to(note), web.app_context():
            Note.get("x")

        assert seen[0].location is None


class TestHeader:
    @pytest.mark.parametrize("own", [[], ["app;dur=5"], ["a;dur=1", "b;dur=2"]])
    def test_it_stands_behind_the_apps_own(self, web: flask.Flask, own: list[str]) -> None:
        # In the answer of each request, the same object.
        answer = flask.Response("x")

        for value in own:
            answer.headers.add("Server-Timing", value)

        @web.get("/")
        def view() -> flask.Response:
            Note.get("x")
            return answer

        for _ in range(2):
            headers = web.test_client().get("/").headers.getlist("Server-Timing")
            assert len(headers) == 1
            *others, ours = headers[0].split(", ")
            assert others == own
            assert re.fullmatch(r'dynamodb;dur=\d+\.\d;desc="1 call"', ours)

    def test_it_survives_what_the_app_sets_after_the_request(
        self, stub_config: dict[str, t.Any]
    ) -> None:
        web = flask.Flask("web")

        @web.after_request
        def own(answer: flask.Response) -> flask.Response:
            answer.headers["Server-Timing"] = "app;dur=5"
            return answer

        prepared(web, stub_config)
        value = web.test_client().get("/").headers["Server-Timing"]
        assert value == 'app;dur=5, dynamodb;dur=0.0;desc="0 calls"'

    @pytest.mark.parametrize("kind", ["unhandled", "handled", "aborted"])
    def test_errors_have_it(self, web: flask.Flask, kind: str) -> None:
        @web.get("/")
        def view() -> str:
            Note.get("x")

            if kind == "aborted":
                flask.abort(503)

            raise KeyError(HOSTILE)

        if kind == "handled":
            web.register_error_handler(KeyError, lambda error: ("sorry", 500))

        answer = web.test_client().get("/")
        assert answer.status_code == (503 if kind == "aborted" else 500)
        assert answer.headers["Server-Timing"].endswith(';desc="1 call"')

    @pytest.mark.anyio
    async def test_errors_of_quart_have_it(self, api: quart.Quart) -> None:
        @api.get("/")
        async def view() -> str:
            await Note.aget("x")
            raise KeyError("x")

        answer = await api.test_client().get("/")
        assert answer.status_code == 500
        assert answer.headers["Server-Timing"].endswith(';desc="1 call"')


class TestAdvice:
    def test_a_scan_is_advised_about_once_with_its_place(self, web: flask.Flask) -> None:
        def scan() -> None:
            list(Note.scan())

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")

            for _ in range(2):
                with web.test_request_context():
                    scan()
                    scan()

        (warning,) = caught
        assert warning.category is CallAdvice
        assert warning.filename == __file__
        assert warning.lineno == scan.__code__.co_firstlineno + 1
        assert "'Note'" in str(warning.message)

    def test_ten_single_reads_from_one_place_are_advised_about(self, web: flask.Flask) -> None:
        with web.test_request_context(), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")

            for number in range(9):
                Note.get(str(number))

            Note.get("from another place")
            assert not caught

        with web.test_request_context(), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")

            for number in range(12):
                Note.get(str(number))

            line = line_here() - 2

        (warning,) = caught
        assert (warning.filename, warning.lineno) == (__file__, line)
        assert "10 single reads of 'Note'" in str(warning.message)
        assert "Note.batch_get" in str(warning.message)

    @pytest.mark.anyio
    async def test_reads_at_once_are_advised_about(self, api: quart.Quart) -> None:
        @api.get("/")
        async def view() -> str:
            async with anyio.create_task_group() as tasks:
                for number in range(10):
                    tasks.start_soon(Note.aget, str(number))

            return "good"

        with pytest.warns(CallAdvice, match="10 single reads") as caught:
            answer = await api.test_client().get("/")

        assert answer.status_code == 200
        assert caught[0].filename == __file__

    def test_as_an_error_it_is_raised_before_the_call(self, web: flask.Flask, stub: Stub) -> None:
        db = t.cast(PynamoDB, web.extensions["pynamodb"])

        for _ in range(2):
            # Each time: an error that is gone the next time would not be found.
            with web.test_request_context():
                with pytest.raises(CallAdvice):
                    list(Note.scan())

                assert operations() == []
                assert db.pool.in_use == 0
                Note.get("x")

        assert stub.operations == ["GetItem"] * 2

    @pytest.mark.anyio
    async def test_as_an_error_of_an_awaited_call_it_loses_no_slot(
        self, stub_config: dict[str, t.Any], anyio_backend_name: str
    ) -> None:
        kind = QuartTrio if anyio_backend_name == "trio" else quart.Quart
        api = prepared(kind("api"), stub_config, DYNAMODB_MAX_POOL_CONNECTIONS=1)

        @api.get("/")
        async def view() -> list[str]:
            for _ in range(3):
                with pytest.raises(CallAdvice):
                    await Note.afirst_or_404()

            await Note.aget("x")
            return operations()

        answer = await api.test_client().get("/")
        assert await answer.get_json() == ["GetItem"]

    def test_outside_requests_and_where_nothing_is_recorded_there_is_none(
        self, web: flask.Flask, stub_config: dict[str, t.Any]
    ) -> None:
        with web.app_context():
            list(Note.scan())

        off = prepared(flask.Flask("off"), stub_config, DYNAMODB_RECORD_CALLS=False)

        with off.test_request_context():
            list(Note.scan())

    def test_names_are_escaped(self, web: flask.Flask) -> None:
        model = t.cast(type[Note], type(HOSTILE, (Note,), {}))

        with web.test_request_context(), pytest.warns(CallAdvice) as caught:
            list(model.scan())

        assert str(caught[0].message).isprintable()


@pytest.mark.once(reason="no call is sent")
@pytest.mark.parametrize(
    ("value", "switch"),
    [(True, True), ("true", True), ("ON", True), ("0", False), (" no ", False), (False, False)],
)
def test_the_setting_is_a_switch_that_the_environment_may_set(value: object, switch: bool) -> None:
    assert Settings.from_mapping({"DYNAMODB_RECORD_CALLS": value}).record_calls is switch


@pytest.mark.once(reason="no call is sent")
@pytest.mark.parametrize("value", ["maybe", "", 1, 2.5, []])
def test_another_value_of_the_setting_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match=r"'DYNAMODB_RECORD_CALLS' must be True or False"):
        Settings.from_mapping({"DYNAMODB_RECORD_CALLS": value})


# The requests of two apps, one of each framework: first without a record, then with one.
REQUESTS = """
import asyncio, flask, quart
from dynamo_ext_async import PynamoDB

def app(kind, records):
    app = kind("app")
    app.config["DYNAMODB_RECORD_CALLS"] = records
    PynamoDB(app)
    app.add_url_rule("/", view_func=lambda: "x")
    return app

def connected():
    signals = [
        *(flask.request_finished, flask.request_tearing_down),
        *(quart.request_finished, quart.request_tearing_down, quart.websocket_tearing_down),
    ]
    return [len(signal.receivers) for signal in signals]

async def answer(app):
    return await app.test_client().get("/")

for records in (False, True, True):
    replies = [app(flask.Flask, records).test_client().get("/")]
    replies.append(asyncio.run(answer(app(quart.Quart, records))))
    print(connected(), *["Server-Timing" in reply.headers for reply in replies])
"""


@pytest.mark.once(reason="no call is sent")
def test_the_end_of_requests_is_followed_once_calls_are_recorded(run_python: RunPython) -> None:
    assert run_python(REQUESTS).stdout.splitlines() == [
        "[0, 0, 0, 0, 0] False False",
        "[1, 1, 1, 1, 1] True True",
        "[1, 1, 1, 1, 1] True True",
    ]


@pytest.mark.once(reason="no call is sent")
def test_it_is_followed_in_a_framework_that_comes_later_too(run_python: RunPython) -> None:
    code = """
import flask, quart
from dynamo_ext import PynamoDB

app = flask.Flask("app")
app.config["DYNAMODB_RECORD_CALLS"] = True
PynamoDB(app)
app.test_client().get("/")
import dynamo_ext_async
print(len(quart.request_finished.receivers))
"""
    assert run_python(code).stdout == "1\n"


def with_toolbar(app: flask.Flask) -> flask.Flask:
    app.debug = True
    app.config["DEBUG_TB_PANELS"] = ["dynamo_ext.debug.DynamoDBPanel"]
    flask_debugtoolbar.DebugToolbarExtension(app)
    return app


class TestPanel:
    def test_it_shows_calls_places_and_advice(self, web: flask.Flask, stub: Stub) -> None:
        stub.next("GetItem", stubs.INTERNAL_ERROR)
        with_toolbar(web)

        @web.get("/")
        def view() -> str:
            Note.get("x")
            list(Note.by_text.query("x"))
            list(Note.scan())
            return "<!doctype html><title>x</title><body></body>"

        with pytest.warns(CallAdvice):
            html = web.test_client().get("/").text

        assert re.search(r"<small>3 calls, \d+\.\d ms</small>", html)
        rows = [" ".join(re.sub(r"<.*?>", " ", row).split()) for row in html.split("<tr")[2:]]
        assert re.match(r"> GetItem Note retries table \S+-note by \w+ ", rows[0])
        assert "Query Note table" in rows[1]
        assert "index by-text" in rows[1]
        assert "Scan Note scan" in rows[2]
        assert all("tests/test_recorder.py:" in row for row in rows)
        assert "1 of the calls needed 1 more attempts" in html

    def test_it_says_how_to_record(self, stub_config: dict[str, t.Any]) -> None:
        off = prepared(flask.Flask("off"), stub_config, DYNAMODB_RECORD_CALLS=False)
        with_toolbar(off)
        off.add_url_rule("/", view_func=lambda: "<!doctype html><body></body>")
        html = off.test_client().get("/").text
        assert "not recorded" in html
        assert "DYNAMODB_RECORD_CALLS" in html

    def test_hostile_names_are_text(self, web: flask.Flask) -> None:
        location = dynamo_ext.Location(f"/{HOSTILE}.py", 3, HOSTILE)

        with web.test_request_context(f"/{HOSTILE}"):
            Note.get("x")
            recording = recorder.current()
            assert recording is not None
            hostile = record.Progress(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
            hostile.end({"ConsumedCapacity": {"CapacityUnits": 0.5}})
            hostile.attempts = 1
            hostile.index_name = hostile.error = HOSTILE
            hostile.location = location
            recording.end(hostile)
            html = timeline.render_alone(recording)

        assert "<script" not in html
        assert "\u202e" not in html
        assert html.count("&lt;script&gt;alert(1)") == 10


class TestPage:
    """Of the last requests."""

    def test_it_lists_requests_that_made_calls_and_shows_each(self, web: flask.Flask) -> None:
        web.debug = True
        web.register_blueprint(dynamo_ext.web.browse.blueprint())

        @web.get("/notes/<path:name>")
        def view(name: str) -> str:
            if name != "none":
                Note.get(name)

            return name

        client = web.test_client()

        for name in ("a", "none", HOSTILE):
            assert client.get(f"/notes/{name}").status_code == 200

        html = client.get("/dynamodb/requests/").text
        assert html.count('<th scope="row">') == 2
        assert html.index("/notes/&lt;script&gt;") < html.index("/notes/a")
        assert "<script" not in html
        first = client.get("/dynamodb/requests/?number=1").text
        assert "GET /notes/a" in first
        assert "GetItem" in first
        assert client.get("/dynamodb/requests/?number=9").status_code == 404
        assert client.get("/dynamodb/timeline.css").content_type == "text/css; charset=utf-8"

    def test_it_keeps_a_hundred_and_none_of_its_own(self, web: flask.Flask) -> None:
        web.debug = True
        web.register_blueprint(dynamo_ext.web.browse.blueprint())
        web.add_url_rule("/", view_func=lambda: Note.get("x").id)
        client = web.test_client()
        assert client.get("/dynamodb/").status_code == 200
        assert recorder.last(web) == []

        for _ in range(102):
            client.get("/")

        assert [each.number for each in recorder.last(web)] == list(range(102, 2, -1))

    def test_a_request_that_raises_is_in_it(self, web: flask.Flask) -> None:
        web.debug = True
        web.register_blueprint(dynamo_ext.web.browse.blueprint())

        @web.get("/")
        def view() -> str:
            Note.get("x")
            raise KeyError("x")

        with pytest.raises(KeyError):
            web.test_client().get("/")

        (recording,) = recorder.last(web)
        assert (recording.status, recording.call_count) == (None, 1)

    def test_without_the_page_no_request_is_kept(self, web: flask.Flask) -> None:
        web.add_url_rule("/", view_func=lambda: Note.get("x").id)
        web.test_client().get("/")
        assert recorder.last(web) == []

    @pytest.mark.anyio
    async def test_quart_has_it(self, api: quart.Quart) -> None:
        api.debug = True
        api.register_blueprint(dynamo_ext_async.web.browse.blueprint())

        @api.websocket("/socket")
        async def socket() -> None:
            await Note.aget("x")
            await quart.websocket.send("sent")

        @api.get("/")
        async def view() -> str:
            await Note.aget("x")
            return "x"

        client = api.test_client()
        await client.get("/")

        async with client.websocket("/socket") as socket_:
            assert await socket_.receive() == "sent"

        html = await (await client.get("/dynamodb/requests/")).get_data(as_text=True)
        assert "GET /" in html
        assert "WEBSOCKET /socket" in html
