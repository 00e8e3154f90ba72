"""Starts the embedded engine, which ``DYNAMODB_HOST = "local://"`` asks for, and finds it again.

The engine is a DynamoDB-compatible server (moto's) on a free port of the loopback interface, for
development and tests. It keeps its data in memory. Each process tree has one: a server, its workers
and the children of its reloader share it, and it ends with the server.
"""

from __future__ import annotations

import atexit
import codecs
import collections.abc as cabc
import contextlib
import dataclasses
import http.client
import json
import logging
import multiprocessing
import os
import pathlib
import secrets
import signal
import subprocess
import sys
import threading
import time
import typing as t

from ..concurrency.process_local import ProcessLocal
from . import files
from . import server
from . import starting
from .server import HOST
from .server import Process
from .starting import START_TIMEOUT

if sys.platform != "win32":
    import fcntl

_VARIABLE = "_DYNAMO_EXT_LOCAL"
_STOP_TIMEOUT = 5.0
_STOP_INTERVAL = 0.005
_ANSWER_INTERVAL = 0.02

_logger = logging.getLogger("dynamo_ext.local")


def start() -> None:
    """Start the engine of this process tree, or join the one that runs.

    This does not wait until the engine answers.

    :raises ConfigError: if the extra ``local`` is not installed.
    :raises RuntimeError: if the engine cannot be started.
    """
    with _state.lock:
        _find_or_start()


def endpoint() -> str:
    """Get the address of this process tree's engine, once it answers. Start it if needed.

    If the engine was killed, its data are lost: this logs a warning and starts a new one, which has
    no tables. Any thread may call this, as often as it likes.

    :return: A URL on the loopback interface.
    :raises ConfigError: if the extra ``local`` is not installed.
    :raises RuntimeError: if the engine ends at once, or does not answer within 30 s.
    """
    while True:
        with _state.lock:
            engine = _find_or_start()

            if _state.has_answered:
                return engine.url

        # Without the lock: a fork in another thread must not wait for the engine.
        is_engine = _wait_for_answer(engine)

        with _state.lock:
            if is_engine:
                _state.has_answered = engine == _state.engine
                return engine.url

            _state.impostors.add(engine)


def ends_with_this_process() -> bool:
    """Whether the engine that this process uses ends when this process ends."""
    engine = _state.engine
    return engine is not None and engine.owner.pid == os.getpid()


@dataclasses.dataclass(frozen=True)
class _Engine:
    """A running engine.

    :param process: The process of the engine.
    :param owner: The process whose end ends the engine.
    :param port: The port that it listens on.
    :param token: The secret by which it proves its identity.
    """

    process: Process
    owner: Process
    port: int
    token: str = dataclasses.field(repr=False)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{HOST}:{self.port}"

    def dump(self) -> str:
        """The engine as text, for an environment variable or a file."""
        numbers = [*dataclasses.astuple(self.process), *dataclasses.astuple(self.owner), self.port]
        return ":".join([*map(str, numbers), self.token])

    @classmethod
    def load(cls, text: str) -> _Engine | None:
        """Read what :meth:`dump` wrote.

        :param text: The text.
        :return: The engine; ``None`` if the text does not come from :meth:`dump`.
        """
        try:
            *numbers, token = text.split(":")
            pid, started, owner_pid, owner_started, port = map(int, numbers)
        except ValueError:
            return None

        return cls(Process(pid, started), Process(owner_pid, owner_started), port, token)


class _State:
    """What this process knows of its engine. Hold the lock to read or change it.

    A forked child keeps what its parent knew: the two share the engine.
    """

    def __init__(self) -> None:
        # Reentrant: a log handler may make calls to the engine while the lock is held.
        self._lock = ProcessLocal(threading.RLock)
        self.engine: _Engine | None = None
        self.has_answered = False
        # Addresses at which something else answered.
        self.impostors: set[_Engine] = set()

    @property
    def lock(self) -> threading.RLock:
        return self._lock.get()


_state = _State()

# Import this codec now; otherwise the first connection would. A process forked while another thread
# imports a module waits forever for that module's lock, because the thread does not exist in it.
codecs.lookup("idna")

if sys.platform != "win32":
    # Where Python makes the fork, it waits while an engine is being started. Otherwise the child
    # would inherit locks of the standard library that none of its threads can release.
    os.register_at_fork(
        before=lambda: _state.lock.acquire(), after_in_parent=lambda: _state.lock.release()
    )


# Registered at import, so that it runs after the app's exit handlers, which may use the engine.
@atexit.register
def _stop() -> None:
    engine = _state.engine

    if engine is None or engine.owner.pid != os.getpid() or not engine.process.is_alive():
        return

    with contextlib.suppress(ProcessLookupError):
        os.kill(engine.process.pid, signal.SIGTERM)

    deadline = time.monotonic() + _STOP_TIMEOUT

    while engine.process.is_alive() and time.monotonic() < deadline:
        time.sleep(_STOP_INTERVAL)


def _find_or_start() -> _Engine:
    """The engine that this process knows, or finds in its process tree, or starts.

    The caller holds the lock.
    """
    known = _state.engine

    if known is not None and _is_usable(known):
        return known

    starting.require_extra()
    inherited = _Engine.load(os.environ.get(_VARIABLE, ""))

    if inherited is not None and _is_usable(inherited):
        engine, is_replacement = inherited, False
    else:
        engine, is_replacement = _agree_on_engine(_find_owner(inherited))

    has_lost_data = is_replacement or _state.has_answered
    _state.engine, _state.has_answered = engine, False
    os.environ[_VARIABLE] = engine.dump()

    if has_lost_data:
        _logger.warning(
            "The embedded engine has died, and its tables and items with it."
            " A new one, which is empty, takes its place."
        )

    return engine


def _is_usable(engine: _Engine) -> bool:
    return engine not in _state.impostors and engine.process.is_alive() and engine.owner.is_alive()


def _agree_on_engine(owner: Process) -> tuple[_Engine, bool]:
    """Find or start the one engine of an owner's processes, by means of a file that they share.

    :param owner: The process whose end ends the engine.
    :return: The engine, and whether it was started in place of one that has died.
    """
    with _locked(_path(owner, "engine")) as file:
        recorded = _Engine.load(file.read())

        if recorded is not None and _is_usable(recorded):
            return recorded, False

        engine = _launch(owner)
        file.truncate(0)
        file.write(engine.dump())
        return engine, recorded is not None


def _find_owner(inherited: _Engine | None) -> Process:
    """Find the process whose workers, reloads and children share an engine with this one.

    Servers load the app in their workers, often only there. So the owner is the server: the topmost
    process from which this one comes by multiprocessing, by a fork, or by running the same command
    again.

    :param inherited: The engine that the environment names.
    :return: The owner of that engine if it is alive, else the topmost such process.
    """
    if inherited is not None and inherited not in _state.impostors and inherited.owner.is_alive():
        return inherited.owner

    owner = t.cast(Process, Process.of(os.getpid()))
    parent = _multiprocessing_parent() or _parent_of_same_program(owner)

    while parent is not None:
        owner = parent
        parent = _parent_of_same_program(owner)

    return owner


def _multiprocessing_parent() -> Process | None:
    parent = multiprocessing.parent_process()
    return None if parent is None else Process.of(t.cast(int, parent.pid))


def _parent_of_same_program(process: Process) -> Process | None:
    fields = server.stat_fields(process.pid)
    parent = None if fields is None else Process.of(int(fields[1]))

    if parent is None or not _is_same_program(process, parent):
        return None

    return parent


def _is_same_program(process: Process, other: Process) -> bool:
    # A forked process may change its title, and so its command line, but not its auxiliary vector.
    for name in ("cmdline", "auxv"):
        with contextlib.suppress(OSError):
            content = pathlib.Path(f"/proc/{process.pid}/{name}").read_bytes()

            if content and content == pathlib.Path(f"/proc/{other.pid}/{name}").read_bytes():
                return True

    return False


def _launch(owner: Process) -> _Engine:
    """Start an engine.

    :param owner: The process whose end ends the engine.
    :raises RuntimeError: if it cannot be started. The message has the end of its log.
    """
    token = secrets.token_hex(16)
    request = {
        "owner": dataclasses.astuple(owner),
        "token": token,
        "path": starting.import_path(),
        "files": [str(_path(owner, suffix)) for suffix in ("engine", "log")],
    }

    try:
        report = json.loads(starting.run_server(json.dumps(request), _path(owner, "log")))
        pid, started, port = map(int, report)
    except (OSError, subprocess.TimeoutExpired, TypeError, ValueError) as error:
        raise _failure("could not be started", owner, error) from error

    return _Engine(Process(pid, started), owner, port, token)


def _wait_for_answer(engine: _Engine) -> bool:
    """Wait until the engine's port answers.

    :param engine: The engine.
    :return: Whether the engine answered, and not another server that listens on its port.
    :raises RuntimeError: if the engine ends, or nothing answers within 30 s.
    """
    deadline = time.monotonic() + START_TIMEOUT

    while (remaining := deadline - time.monotonic()) > 0:
        if not engine.process.is_alive():
            raise _failure("ended before it could answer", engine.owner)

        try:
            return _has_proof(engine, remaining)
        except OSError:
            time.sleep(_ANSWER_INTERVAL)
        except http.client.HTTPException:
            return False

    raise RuntimeError(f"the embedded engine does not answer within {START_TIMEOUT:g} s")


def _has_proof(engine: _Engine, timeout: float) -> bool:
    """Ask the server on an engine's port to prove that it has the engine's token."""
    challenge = secrets.token_hex(16)
    connection = http.client.HTTPConnection(HOST, engine.port, timeout=timeout)

    with contextlib.closing(connection):
        connection.request("GET", server.PROOF_PATH + challenge)
        answer = connection.getresponse().read()

    return answer == server.proof(engine.token, challenge).encode()


def _failure(what: str, owner: Process, error: Exception | None = None) -> RuntimeError:
    """Remove the files of an engine that failed, and make an error with the end of its log."""
    log = _path(owner, "log")
    shown = starting.reason(log, error)

    for file in (log, _path(owner, "engine")):
        file.unlink(missing_ok=True)

    return RuntimeError(f"the embedded engine {what}: {shown}")


def _path(owner: Process, suffix: str) -> pathlib.Path:
    return starting.directory() / f"{owner.pid}-{owner.started}.{suffix}"


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> cabc.Iterator[t.TextIO]:
    """Open a file that one process at a time may have open. Create it if needed."""
    while True:
        with path.open("a+") as file, _exclusive(file):
            # An engine that ends removes its file, perhaps between opening and locking it here.
            if files.is_at(path, file.fileno()):
                file.seek(0)
                yield file
                return


if sys.platform == "win32":

    def _exclusive(file: t.TextIO) -> contextlib.nullcontext[None]:
        # Without a lock, workers that start at the same moment may get an engine each.
        return contextlib.nullcontext()

else:

    @contextlib.contextmanager
    def _exclusive(file: t.TextIO) -> cabc.Iterator[None]:
        fcntl.flock(file, fcntl.LOCK_EX)

        try:
            yield
        finally:
            file.flush()
            # Closing the file does not unlock it if a process forked meanwhile has it open, too.
            fcntl.flock(file, fcntl.LOCK_UN)
