from __future__ import annotations

import collections.abc as cabc
import contextlib
import functools
import gc
import ipaddress
import os
import pathlib
import signal
import socket
import subprocess
import sys
import typing as t

import pytest
from cryptography import x509

import engines
import strength
import transports
import warm
from authority import Authority
from stub import Stub

if t.TYPE_CHECKING:
    from dynamo_ext import PynamoDB

# The last one names the embedded engine of an earlier test, which a child would share.
_FOREIGN = ("AWS_", "DYNAMODB_", "FLASK_", "QUART_", "PYNAMODB_CONFIG", "_DYNAMO_EXT_LOCAL")
_NOTHING_OF_THE_MACHINE = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}

InApp = cabc.Callable[..., contextlib.AbstractContextManager["PynamoDB"]]
RunPython = cabc.Callable[..., "subprocess.CompletedProcess[str]"]


def isolate() -> None:
    """Keep the machine's own AWS, Flask and PynamoDB setup away from the tests."""
    for name in list(os.environ):
        if name.startswith(_FOREIGN):
            del os.environ[name]

    os.environ.update(_NOTHING_OF_THE_MACHINE)


def heed_interrupts() -> None:
    """Let SIGINT interrupt this process and those that it starts.

    Tests send SIGINT to processes. A shell makes a job in the background ignore it, and so would
    all processes that the job starts.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def read_data_of_botocore_once() -> None:
    """Let the sessions of stock PynamoDB share what they have read of botocore's data files.

    Each would parse megabytes of JSON. The engines of this project have a loader of their own.
    """
    from botocore import loaders

    class ReadOnce(loaders.JSONFileLoader):
        load_file = staticmethod(functools.cache(loaders.JSONFileLoader().load_file))

    loaders.Loader.FILE_LOADER_CLASS = ReadOnce


class SkipsFailInCI:
    """Where CI is set, a test that is skipped makes the run fail: nothing is lost unseen.

    With pytest-xdist, it is the plugin of the controller that fails the run: workers send it what
    they report.
    """

    def __init__(self) -> None:
        self.skips: list[str] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not hasattr(report, "wasxfail"):
            self._note(report)

    def _note(self, report: pytest.CollectReport | pytest.TestReport) -> None:
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
            self.skips.append(f"{report.nodeid}: {reason}")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.skips and session.exitstatus in {pytest.ExitCode.OK, 0}:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.skips:
            terminalreporter.section("skipped, which is a failure in CI", red=True)

            for skip in self.skips:
                terminalreporter.line(skip)


class SlowFirst:
    """In a worker of pytest-xdist, slow tests come first: no worker is left with one at the end."""

    # After the order has been made random, where it is.
    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)


strength.register_profiles()


def pytest_configure(config: pytest.Config) -> None:
    heed_interrupts()
    # Now, because PynamoDB reads PYNAMODB_CONFIG when it is imported.
    isolate()
    read_data_of_botocore_once()

    transports.register(config)

    if hasattr(config, "workerinput"):
        config.pluginmanager.register(SlowFirst())

    if os.environ.get("CI"):
        config.pluginmanager.register(SkipsFailInCI())


def pytest_collection() -> None:
    # Thousands of tests are made, and none is freed: to look for what may be takes a fifth of it.
    gc.disable()


def pytest_collection_finish() -> None:
    gc.enable()
    gc.freeze()


def pytest_sessionfinish() -> None:
    # pytest reports what is found now. It looks twice more at the end, and Python does, too: at the
    # thousands of tests, which takes half a second each time.
    gc.unfreeze()
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def isolated() -> cabc.Iterator[None]:
    """Each test begins without variables of the machine or of an earlier test, and leaves no app
    behind: outside an app context, the only app of the process is used."""
    isolate()
    yield
    current = sys.modules.get("dynamo_ext.binding.context")

    if current is not None and current._states:
        gc.collect()
        # Older anyio and asgiref keep the context, and so the app, of the last call for a while.
        current._states.clear()
        # What is left now will be left after the next test, too: skip it in that collection.
        gc.freeze()


@pytest.fixture(scope="session")
def embedded() -> cabc.Iterator[str]:
    """The URL of the embedded engine."""
    with engines.embedded() as url:
        yield url


@pytest.fixture(scope="session")
def dynoxide() -> cabc.Iterator[str]:
    """The URL of the engine dynoxide."""
    if not os.environ.get(engines.DYNOXIDE):
        pytest.skip(f"the environment variable {engines.DYNOXIDE} does not name its binary")

    with engines.dynoxide() as url:
        yield url


@pytest.fixture(scope="session")
def other() -> str:
    """The URL of an engine of the developer's choice."""
    return os.environ[engines.ENDPOINT]


@pytest.fixture(
    scope="session",
    params=["embedded", "dynoxide", *(["other"] if os.environ.get(engines.ENDPOINT) else [])],
)
def engine(request: pytest.FixtureRequest) -> str:
    """The URL of a server that speaks DynamoDB; the test runs on each."""
    return t.cast(str, request.getfixturevalue(request.param))


@pytest.fixture
def config(engine: str) -> dict[str, t.Any]:
    """Settings for an app on :func:`engine`."""
    return engines.config(engine)


@pytest.fixture
def embedded_config(embedded: str) -> dict[str, t.Any]:
    """Settings for an app on the embedded engine."""
    return engines.config(embedded)


@pytest.fixture
def stub() -> cabc.Iterator[Stub]:
    """A server that records what it is sent and misbehaves where it is told to."""
    with Stub() as stub:
        yield stub


@pytest.fixture
def busy() -> cabc.Iterator[str]:
    """The URL of a server whose queue of new connections is full."""
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind((engines.HOST, 0))
        listener.listen(0)

        for _ in range(4):
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())

        yield f"http://{engines.HOST}:{listener.getsockname()[1]}"


@pytest.fixture
def stub_config(stub: Stub) -> dict[str, t.Any]:
    """Settings for an app on :func:`stub`."""
    return engines.config(stub.url)


@pytest.fixture
def authority(tmp_path: pathlib.Path) -> Authority:
    """A private certification authority."""
    return Authority(tmp_path)


@pytest.fixture
def secure_stub(authority: Authority) -> cabc.Iterator[Stub]:
    """A server that speaks TLS with a certificate of the authority."""
    address = x509.IPAddress(ipaddress.ip_address(engines.HOST))

    with Stub(tls=authority.server(address)) as stub:
        yield stub


@pytest.fixture
def in_app() -> InApp:
    """Enter the context of a new Flask app that has an extension of its own."""
    # Not at the top: PynamoDB must not be imported before the environment is ready.
    import flask

    import dynamo_ext

    @contextlib.contextmanager
    def in_app(
        config: cabc.Mapping[str, t.Any], **more: t.Any
    ) -> cabc.Generator[dynamo_ext.PynamoDB]:
        app = flask.Flask("tests")
        app.config.from_mapping({**config, **more})
        db = dynamo_ext.PynamoDB(app)

        with app.app_context():
            yield db

    return in_app


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
        pytest.param(("asyncio", {"use_uvloop": True}), id="asyncio+uvloop"),
        pytest.param(("trio", {}), id="trio"),
    ],
)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, t.Any]]:
    """The event loops on which a test marked ``anyio`` runs."""
    name, options = t.cast("tuple[str, dict[str, t.Any]]", request.param)

    if options.get("use_uvloop"):
        pytest.importorskip("uvloop")

    return name, options


@pytest.fixture
def run_python() -> RunPython:
    """Run code in a new Python that treats warnings as errors.

    If the program does not end, the test fails and shows where each thread was, those of forked
    processes, too.
    """
    return functools.partial(_run_python, subprocess.Popen)


@pytest.fixture
def run_warm_python() -> RunPython:
    """Do what :func:`run_python` does, in a process forked from one that has imported this project.

    For code that imports it at its beginning; not for what is about imports or their order.
    """
    return functools.partial(_run_python, warm.Popen)


def _run_python(
    start: type[subprocess.Popen[t.Any]],
    code: str,
    *arguments: str,
    env: cabc.Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-W", "error", "-X", "faulthandler", "-c", code]

    with start(
        [*command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**engines.python_environment(), **(env or {})},
        start_new_session=True,
    ) as process:
        try:
            said, complaints = process.communicate(timeout=100)
        except subprocess.TimeoutExpired:
            # This signal makes faulthandler write the stacks.
            os.killpg(process.pid, signal.SIGABRT)
            pytest.fail(f"the program has not ended: {process.communicate()}")
        except BaseException:
            # The program may have ended meanwhile.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

            raise

    return subprocess.CompletedProcess(process.args, process.returncode, said, complaints)


@pytest.fixture
def uncollected() -> cabc.Iterator[None]:
    """Without garbage collection: what is in a circle, or was made for nothing, is still there."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def announced() -> cabc.Generator[None]:
    """Somebody wants to know of each call: so the event loop makes none itself."""
    import dynamo_ext

    def receive(sender: object, call: object) -> None:
        pass

    with dynamo_ext.call_finished.connected_to(receive):
        yield


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> list[t.Any]:
    """What is run in worker threads."""
    import anyio.to_thread

    made: list[t.Any] = []
    run_sync = anyio.to_thread.run_sync

    async def run(function: t.Any, *args: t.Any, **options: t.Any) -> t.Any:
        made.append(function)
        return await run_sync(function, *args, **options)

    monkeypatch.setattr(anyio.to_thread, "run_sync", run)
    return made


@pytest.fixture
def make_direct_app(
    db: t.Any, stub: Stub, stub_config: dict[str, t.Any]
) -> cabc.Callable[..., t.Any]:
    """Quart apps of the test's ``db`` on the direct transport, that have made a call already, and
    so have a client and, if the server lets them, an open connection."""
    from quart import Quart

    from dynamo_ext import CallTimeout
    from dynamo_ext.binding import context

    def make_app(**settings: t.Any) -> Quart:
        app = Quart("app")
        app.config.from_mapping(
            stub_config, DYNAMODB_TRANSPORT="direct", DYNAMODB_MAX_RETRY_ATTEMPTS=0
        )
        app.config.from_mapping(settings)
        db.init_app(app)

        with context.use(app):
            # On a busy machine the first call may take longer than the app allows.
            for _ in range(5):
                try:
                    db.connection.list_tables()
                except CallTimeout:
                    continue
                except Exception:
                    pass

                break

        stub.forget()
        return app

    return make_app
