"""Web servers that run an app, each on a port of its own. Those that are processes run one of
``apps``."""

from __future__ import annotations

import collections.abc as cabc
import concurrent.futures
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import typing as t

import httpx
import werkzeug.serving

import engines
import threads
import warm

_TESTS = pathlib.Path(__file__).parent
_DEADLINE = 100
# gunicorn and waitress leave it to the garbage collector to close what they were given.
_WARNINGS = (
    *("-W", "error"),
    *("-W", "ignore:unclosed <socket.socket fd=:ResourceWarning"),
    *("-W", "ignore:unclosed <socket object, fd=:ResourceWarning"),
    *("-W", "ignore:unclosed file <waitress.:ResourceWarning"),
)

Answer = concurrent.futures.Future[httpx.Response]


class Server:
    """A running server.

    :param process: Its first process; it leads the group of those that it starts.
    :param url: Where it listens.
    :param log: What it prints.
    :param stop_signal: What asks it to stop.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        url: str,
        log: t.IO[bytes],
        stop_signal: signal.Signals,
    ) -> None:
        self._process = process
        self._log = log
        self._stop_signal = stop_signal
        self._client = httpx.Client(
            base_url=url, timeout=_DEADLINE, trust_env=False, limits=httpx.Limits()
        )

    @property
    def url(self) -> str:
        return str(self._client.base_url)

    def get(self, path: str) -> httpx.Response:
        return self._client.get(path)

    def post(self, path: str) -> httpx.Response:
        return self._client.post(path)

    @contextlib.contextmanager
    def getting(self, *paths: str) -> cabc.Iterator[list[Answer]]:
        """Make requests all at once, while the block runs; give their answers in their order."""
        with concurrent.futures.ThreadPoolExecutor(len(paths)) as threads:
            yield [threads.submit(self.get, path) for path in paths]

    @contextlib.contextmanager
    def idle_connection(self) -> cabc.Iterator[socket.socket]:
        """A connection on which no request is made."""
        url = self._client.base_url

        with socket.create_connection((url.host, t.cast(int, url.port)), _DEADLINE) as connection:
            yield connection

    def hang_up(self) -> None:
        """Ask it to replace its workers."""
        self._process.send_signal(signal.SIGHUP)

    def terminate(self) -> None:
        """Ask it to stop."""
        self._process.send_signal(self._stop_signal)

    def stop(self) -> str:
        """Ask it to stop, and wait until it has.

        :return: What it has printed.
        """
        # Hypercorn on trio waits for idle connections.
        self._client.close()
        self.terminate()
        return self.wait()

    def wait(self) -> str:
        """Wait until it has stopped, as it was asked to.

        :return: What it has printed.
        """
        code = self._process.wait(_DEADLINE)
        log = self.log()
        assert code == 0, log
        return log

    def log(self) -> str:
        """What it has printed so far."""
        # By its own position: the server writes at that of the file that both have open.
        return os.pread(self._log.fileno(), 2**30, 0).decode()

    def has_processes(self) -> bool:
        """Whether it, or one that it has started, still runs."""
        try:
            os.killpg(self._process.pid, 0)
        except ProcessLookupError:
            return False

        return True

    def end(self) -> None:
        """End it, and what it has started."""
        self._client.close()

        if self._process.poll() is None:
            self.terminate()

            try:
                self._process.wait(_DEADLINE)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()


@contextlib.contextmanager
def listening() -> cabc.Iterator[socket.socket]:
    """A socket for servers to inherit: it has a port, and takes connections before they do."""
    with socket.create_server((engines.HOST, 0)) as listener:
        yield listener


@contextlib.contextmanager
def hypercorn(
    app: str,
    *options: str,
    environment: cabc.Mapping[str, str],
    listener: socket.socket | None = None,
    is_new: bool = False,
) -> cabc.Iterator[Server]:
    """Run Hypercorn until the end of the block.

    :param app: Module and variable.
    :param listener: Where to listen; by default a socket of its own.
    :param is_new: Whether it is a new Python that runs it, since it matters what is imported first.
    """
    command = ["-m", "hypercorn", "--bind", "fd://{fd}", app, *options]

    with _running_python(command, environment, listener, is_new=is_new) as server:
        yield server


@contextlib.contextmanager
def uvicorn(
    app: str,
    *options: str,
    environment: cabc.Mapping[str, str],
    listener: socket.socket | None = None,
) -> cabc.Iterator[Server]:
    """Run uvicorn until the end of the block.

    :param app: Module and function that makes the app.
    :param listener: Where to listen; by default a socket of its own.
    """
    # It would kill a worker that takes five seconds to start, which it may on a busy machine.
    patience = ["--timeout-worker-healthcheck", str(_DEADLINE)]
    command = ["-m", "uvicorn", "--fd", "{fd}", "--factory", *patience, app, *options]

    with _running_python(command, environment, listener) as server:
        yield server


@contextlib.contextmanager
def gunicorn(
    app: str,
    *options: str,
    environment: cabc.Mapping[str, str],
    listener: socket.socket | None = None,
    is_new: bool = False,
) -> cabc.Iterator[Server]:
    """Run gunicorn until the end of the block.

    :param app: Module and variable.
    :param listener: Where to listen; by default a socket of its own.
    :param is_new: Whether it is a new Python that runs it, since it matters what is imported first.
    """
    command = ["-m", "gunicorn", "--bind", "fd://{fd}", app, *options]

    with tempfile.TemporaryDirectory() as directory:
        # Its control socket goes there.
        environment = {**environment, "XDG_RUNTIME_DIR": directory}

        with _running_python(command, environment, listener, is_new=is_new) as server:
            yield server


@contextlib.contextmanager
def uwsgi(app: str, *options: str, environment: cabc.Mapping[str, str]) -> cabc.Iterator[Server]:
    """Run uWSGI until the end of the block: a master that loads the app and forks its workers.

    :param app: Module and variable.
    """
    run = "import pyuwsgi, sys; pyuwsgi.run(sys.argv[1:])"
    quiet = ["--disable-logging", "--need-app"]
    master = ["--master", "--die-on-term", "--http-socket", "fd://{fd}"]
    command = ["-c", run, *quiet, *master, "--module", app, *options]

    # It initializes Python in a way of its own.
    with _running_python(command, environment, None, is_new=True) as server:
        yield server


@contextlib.contextmanager
def waitress(app: str, *options: str, environment: cabc.Mapping[str, str]) -> cabc.Iterator[Server]:
    """Run waitress until the end of the block.

    :param app: Module and variable.
    :param options: Arguments of ``waitress.serve``, each as its name, ``=`` and a value of Python.
    """
    module, _, variable = app.partition(":")
    arguments = ", ".join(["sockets=[socket.socket(fileno={fd})]", *options])
    run = f"import socket, {module}, waitress; waitress.serve({module}.{variable}, {arguments})"

    # By default, SIGTERM just ends a process.
    with _running_python(["-c", run], environment, None, signal.SIGINT) as server:
        yield server


@contextlib.contextmanager
def celery(app: str, *options: str, environment: cabc.Mapping[str, str]) -> cabc.Iterator[Server]:
    """Run a worker of Celery until the end of the block. It answers no request.

    :param app: Module and variable.
    """
    as_root = ["-W", "ignore:You're running the worker with superuser"]
    command = [*as_root, "-m", "celery", "--app", app, "worker", *options]

    with _running_python(command, environment, None) as server:
        yield server


@contextlib.contextmanager
def in_a_thread(app: cabc.Callable[..., t.Any]) -> cabc.Iterator[str]:
    """Serve a Flask app in this process, until the end of the block: Werkzeug's server, with a
    thread for each request. Gives its address."""
    server = werkzeug.serving.make_server(engines.HOST, 0, app, threaded=True)

    with threads.beside(lambda: server.serve_forever(poll_interval=0.01)):
        try:
            yield f"http://{engines.HOST}:{server.port}"
        finally:
            server.shutdown()
            server.server_close()


@contextlib.contextmanager
def _running_python(
    arguments: cabc.Sequence[str],
    environment: cabc.Mapping[str, str],
    listener: socket.socket | None,
    stop_signal: signal.Signals = signal.SIGTERM,
    *,
    is_new: bool = False,
) -> cabc.Iterator[Server]:
    with tempfile.TemporaryFile() as log:
        # The server inherits a socket that listens already: no port to lose to another process,
        # and no moment at which a request comes too early.
        with listening() if listener is None else contextlib.nullcontext(listener) as inherited:
            fd = inherited.fileno()
            start = subprocess.Popen if is_new else warm.Popen
            process = start(
                [
                    *(sys.executable, "-P", *_WARNINGS),
                    *(argument.format(fd=fd) for argument in arguments),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**_environment(), **environment},
                pass_fds=[fd],
                start_new_session=True,
            )
            host, port = inherited.getsockname()

        server = Server(process, f"http://{host}:{port}", log, stop_signal)

        try:
            yield server
        finally:
            server.end()


def _environment() -> dict[str, str]:
    environment = engines.python_environment()
    return {**environment, "PYTHONPATH": os.pathsep.join([str(_TESTS), environment["PYTHONPATH"]])}
