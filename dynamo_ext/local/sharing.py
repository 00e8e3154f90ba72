"""The engine of a file, which all processes that name the file share.

Whoever names the file first starts the engine; its lock, beside the file, says where it is. Each
process that uses it keeps a connection to it open, and the engine ends with the last of them. Forks
keep their parent's connection. If the engine is killed, the next call of any of them starts
another, with the same tables and items.
"""

from __future__ import annotations

import atexit
import collections.abc as cabc
import contextlib
import hashlib
import http.client
import json
import logging
import os
import pathlib
import secrets
import socket
import subprocess
import sys
import threading
import time
import typing as t
import weakref

from ..concurrency.process_local import ProcessLocal
from ..errors import ConfigError
from ..printable import escaped
from . import journal
from . import lock
from . import server
from . import starting
from .server import HOST
from .server import Process

_INTERVAL = 0.02
_JOIN_TIMEOUT = 30.0
# While the process of an engine is alive, it may be reading a large file.
_LOAD_TIMEOUT = 600.0

_logger = logging.getLogger("dynamo_ext.local")


def engine(path: pathlib.Path) -> FileEngine:
    """The engine of a file, in this process.

    :param path: The file's real path.
    :raises ConfigError: if it is the path of something else, the file cannot be used, or the extra
        ``local`` is not installed.
    """
    with _lock.get():
        found = _engines.get(path)

        if found is None:
            found = _engines[path] = FileEngine(path)

        return found


class CannotListen(OSError):
    """An engine can't be served on a port.

    :param port: The port.
    :param reason: Why not.
    """

    def __init__(self, port: int, reason: object) -> None:
        super().__init__(f"cannot listen on port {port}: {reason}")


class Served:
    """An engine that is served on a port.

    :param url: Its address on that port.
    :param connection: A connection that ends when the engine does.
    """

    def __init__(self, url: str, connection: socket.socket) -> None:
        self.url = url
        self._connection = connection

    def wait(self) -> None:
        """Wait until the engine has ended, which it does by itself only if it is killed."""
        self._connection.settimeout(None)

        with contextlib.suppress(OSError):
            while self._connection.recv(1):
                pass


@contextlib.contextmanager
def serving(path: pathlib.Path, port: int) -> cabc.Iterator[Served]:
    """Serve the engine of a file on a port, besides its own.

    :param path: The file's real path.
    :param port: The port. 0: no port but the engine's own.
    :return: A context manager that gives the served engine.
    :raises ConfigError: as :func:`engine` does.
    :raises CannotListen: if the port is taken.
    :raises RuntimeError: if the engine cannot be started.
    """
    shared = engine(path)
    url = f"http://{HOST}:{port}" if port else shared.endpoint()

    with contextlib.closing(shared.open_port(port)) as connection:
        yield Served(url, connection)


class FileEngine:
    """The engine of one file. While this object is there, the process uses the engine.

    :param path: The file's real path.
    :raises ConfigError: as :func:`engine` does.
    """

    def __init__(self, path: pathlib.Path) -> None:
        starting.require_extra()
        _check(path)
        self._path = path
        self._use: _Use | None = None

    def start(self) -> None:
        """Start the engine, or join the one that runs. This does not wait until it answers.

        :raises RuntimeError: if the engine cannot be started or reached.
        """
        with _lock.get():
            self._join()

    def endpoint(self) -> str:
        """The engine's address, once it answers. Start it if needed.

        If the engine was killed, this logs a warning and starts another one, which has the same
        tables and items. Any thread may call this, as often as it likes.

        :return: A URL on the loopback interface.
        :raises RuntimeError: if the engine cannot be started or reached.
        """
        return self._answering().url

    def ends_with_this_process(self) -> bool:
        """Whether the tables are gone when this process ends. They are in the file."""
        return False

    def open_port(self, port: int) -> socket.socket:
        """Have the engine listen on another port, too.

        :param port: The port. 0: on no other one.
        :return: A connection. The engine listens until it is closed.
        :raises CannotListen: if the port is taken.
        :raises RuntimeError: if the engine cannot be started or reached.
        """
        address = self._answering().address

        with _explained("has ended, or cannot be reached"):
            use = _Use(address, port=port or None)

        if not use.is_answered():
            use.close()

            if use.refusal is None:
                raise RuntimeError("the embedded engine has ended")

            raise CannotListen(port, use.refusal)

        return use.release()

    def leave(self) -> None:
        """Use the engine no more, unless there is another call."""
        use, self._use = self._use, None

        if use is not None:
            use.close()

    def _answering(self) -> _Use:
        deadline = time.monotonic() + _JOIN_TIMEOUT

        while True:
            with _lock.get():
                use = self._join()

            # Without the lock: a fork in another thread must not wait for the engine.
            if use.is_answered():
                return use

            with _lock.get():
                if self._use is use:
                    self._use = None

            time.sleep(_INTERVAL)

            if failure := starting.end_of_log(_log(self._path)):
                _log(self._path).unlink(missing_ok=True)
                raise RuntimeError(f"the embedded engine ended before it could answer: {failure}")

            if time.monotonic() > deadline:
                raise _unreachable(self._path)

    def _join(self) -> _Use:
        """The connection to the engine, which is started if needed. The caller holds the lock."""
        use = self._use

        if use is not None and use.is_usable():
            return use

        if use is not None and not use.process.is_alive():
            _logger.warning(
                "The embedded engine of '%s' has died. A new one takes its place, with the same"
                " tables and items.",
                escaped(self._path),
            )

        self._use = self._connect()
        return self._use

    def _connect(self) -> _Use:
        deadline = time.monotonic() + _JOIN_TIMEOUT
        path = lock.path_for(self._path)

        while time.monotonic() < deadline:
            with _explained(f"cannot read the lock {str(path)!r}"):
                address = lock.read(path)

            if address is not None and Process(address.pid, address.started).is_alive():
                # It may be ending just now.
                with contextlib.suppress(OSError):
                    return _Use(address)

            if not _launch(self._path):
                time.sleep(_INTERVAL)

        raise _unreachable(self._path)


class _Use:
    """A connection by which the engine knows that a process uses it.

    :param address: Where the engine is.
    :param port: A further port on which it should listen.
    :raises OSError: if nothing listens there.
    """

    def __init__(self, address: lock.Address, *, port: int | None = None) -> None:
        self.address = address
        self.refusal: str | None = None
        self._pid = os.getpid()
        self._challenge = secrets.token_hex(16)
        self._answer_lock = threading.Lock()
        self._is_answered: bool | None = None
        self._socket = socket.create_connection((HOST, address.port), _JOIN_TIMEOUT)
        self._close = weakref.finalize(self, self._socket.close)
        # Not before the app's exit handlers, which may use the engine.
        self._close.atexit = False
        path = f"{server.USE_PATH}{self._challenge}/{'' if port is None else port}"
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())

    @property
    def url(self) -> str:
        """The engine's address."""
        return f"http://{HOST}:{self.address.port}"

    @property
    def process(self) -> Process:
        """The engine's process."""
        return Process(self.address.pid, self.address.started)

    def is_usable(self) -> bool:
        """Whether the engine is there, and this process need not have a connection of its own.

        A fork shares its parent's connection, but the parent alone gets the answer on it.
        """
        return self.process.is_alive() and (bool(self._is_answered) or self._pid == os.getpid())

    def is_answered(self) -> bool:
        """Wait for the answer; tell whether it is the engine's, and this process may use it."""
        if self._is_answered is None:
            with self._answer_lock:
                if self._is_answered is None:
                    self._is_answered = self._read_answer()

        return self._is_answered

    def close(self) -> None:
        """Close the connection of this process. A fork may have it open, too."""
        # Not by the finalizer, which does nothing any more when the interpreter exits.
        self.release().close()

    def release(self) -> socket.socket:
        """Give the connection away, to be closed by the caller."""
        self._close.detach()
        return self._socket

    def _read_answer(self) -> bool:
        self._socket.settimeout(_LOAD_TIMEOUT)

        try:
            response = http.client.HTTPResponse(self._socket)
            response.begin()
            body = response.read()

            if response.status == http.HTTPStatus.CONFLICT:
                self.refusal = body.decode(errors="replace")
                return False

            answer = json.loads(body)

            if answer["proof"] != server.proof(self.address.token, self._challenge):
                return False

            warnings = list(map(escaped, answer["warnings"]))
        except (OSError, http.client.HTTPException, KeyError, TypeError, ValueError):
            return False

        for warning in warnings:
            _logger.warning("%s", warning)

        return True


_engines: weakref.WeakValueDictionary[pathlib.Path, FileEngine] = weakref.WeakValueDictionary()
# Reentrant: a log handler may make calls to the engine while the lock is held.
_lock = ProcessLocal(threading.RLock)

if sys.platform != "win32":
    # As in the launcher: a child forked while an engine is being started would inherit locks of the
    # standard library that none of its threads can release.
    os.register_at_fork(
        before=lambda: _lock.get().acquire(), after_in_parent=lambda: _lock.get().release()
    )


# Registered at import, so that it runs after the app's exit handlers.
@atexit.register
def _leave() -> None:
    for each in list(_engines.values()):
        each.leave()


def _check(path: pathlib.Path) -> None:
    """Check all that can be known before the engine opens the file.

    :raises ConfigError: if the file cannot be used.
    """
    folder = path.parent

    try:
        if not folder.is_dir():
            raise ConfigError(
                f"The embedded engine is to keep its tables in {str(path)!r}, but there is no"
                f" folder {str(folder)!r}. Create it, or name another file."
            )

        if path.exists() and not path.is_file():
            raise ConfigError(f"{str(path)!r} is not a file: name one, which need not exist yet.")

        journal.check(path)
    except journal.RefusedFile as error:
        raise ConfigError(str(error)) from None
    except OSError as error:
        raise ConfigError(f"{str(path)!r} cannot be read: {error.strerror}.") from error

    # The lock and a new file of the engine are made in the folder.
    for needed in (folder, path):
        if needed.exists() and not os.access(needed, os.W_OK):
            raise ConfigError(
                f"The embedded engine cannot write to {str(needed)!r}, and keeps its tables in"
                f" {str(path)!r}. Give this user the right to, or name another file."
            )


def _launch(path: pathlib.Path) -> bool:
    """Start an engine.

    :param path: The file.
    :return: Whether it runs. If not, another one has the file.
    :raises RuntimeError: if it cannot be started. The message has the end of its log.
    """
    log = _log(path)
    request = {
        "file": str(path),
        "token": secrets.token_hex(16),
        "path": starting.import_path(),
        "files": [str(log)],
    }

    try:
        report = json.loads(starting.run_server(json.dumps(request), log))
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        shown = starting.reason(log, error)
        log.unlink(missing_ok=True)
        raise RuntimeError(f"the embedded engine could not be started: {shown}") from error

    if report is None:
        log.unlink(missing_ok=True)

    return report is not None


def _log(path: pathlib.Path) -> pathlib.Path:
    """The log of the engine that this process starts for a file."""
    me = t.cast(Process, Process.of(os.getpid()))
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return starting.directory() / f"{me.pid}-{me.started}.{name}.log"


def _unreachable(path: pathlib.Path) -> RuntimeError:
    return RuntimeError(
        f"another engine has the file {str(path)!r}, and this process cannot reach it, or it does"
        " not answer. It may run in another container; processes on one machine share an engine."
    )


@contextlib.contextmanager
def _explained(what: str) -> cabc.Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RuntimeError(f"the embedded engine {what}: {error.strerror}") from error
