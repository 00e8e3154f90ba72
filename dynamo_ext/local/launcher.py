"""The embedded engine: what ``DYNAMODB_HOST = "local://"`` stands for.

A DynamoDB-compatible engine (moto's server) on a free port of the loopback interface, for
development and tests. It keeps its data in memory. There is one for each process tree: a server,
its workers and the children of its reloader share it, and it ends with the server.
"""

from __future__ import annotations

import atexit
import codecs
import collections.abc as cabc
import contextlib
import dataclasses
import http.client
import importlib.util
import json
import logging
import multiprocessing
import os
import pathlib
import secrets
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import typing as t

from ..errors import ConfigError
from . import server
from .server import HOST
from .server import Process

if sys.platform != "win32":
    import fcntl

_VARIABLE = "_DYNAMO_EXT_LOCAL"
_DEADLINE = 30.0
_STOP_DEADLINE = 5.0
_LOG_TAIL = 2000
_EXTRA = ("moto", "flask_cors")

_logger = logging.getLogger("dynamo_ext.local")


def start() -> None:
    """Start the engine of this process tree, or join the one that it has.

    Does not wait until the engine answers.

    :raises dynamo_ext.ConfigError: The extra ``local`` is not installed.
    :raises RuntimeError: The engine could not be started.
    """
    with _known.lock:
        _current()


def endpoint() -> str:
    """The address of this process tree's engine, once it answers. Starts it if needed.

    If the engine was killed, its data are lost: a warning is logged, and a new one started, which
    has no tables. May be called from any thread, and often.

    :return: A URL on the loopback interface.
    :raises dynamo_ext.ConfigError: The extra ``local`` is not installed.
    :raises RuntimeError: The engine ended at once, or does not answer within 30 s.
    """
    while True:
        with _known.lock:
            engine = _current()
            if _known.has_answered:
                return engine.url
        is_ours = _answers(engine)
        with _known.lock:
            if is_ours:
                _known.has_answered = engine == _known.engine
                return engine.url
            _known.foreign.add(engine)


def ends_with_this_process() -> bool:
    """Whether the engine that this process uses is gone as soon as this process is."""
    engine = _known.engine
    return engine is not None and engine.owner.pid == os.getpid()


@dataclasses.dataclass(frozen=True)
class _Engine:
    """An engine's process, and the process that it lives and dies with."""

    process: Process
    owner: Process
    port: int
    token: str = dataclasses.field(repr=False)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def dump(self) -> str:
        numbers = [*dataclasses.astuple(self.process), *dataclasses.astuple(self.owner), self.port]
        return ":".join([*map(str, numbers), self.token])

    @classmethod
    def load(cls, text: str) -> _Engine | None:
        """The engine that :meth:`dump` gave this text for; ``None`` for any other text."""
        try:
            *numbers, token = text.split(":")
            pid, born, owner_pid, owner_born, port = map(int, numbers)
        except ValueError:
            return None
        return cls(Process(pid, born), Process(owner_pid, owner_born), port, token)


class _Known:
    """What this process knows of its engine. To be read and changed with the lock held."""

    def __init__(self) -> None:
        # Reentrant: a log handler may make calls to the engine that the record is about.
        self.lock = threading.RLock()
        self.engine: _Engine | None = None
        self.has_answered = False
        self.foreign: set[_Engine] = set()


_known = _Known()
# Imported by the first connection otherwise. A process that is forked during an import is stuck in
# its own one for ever: the thread that holds the lock of the module is not in it.
codecs.lookup("idna")
if sys.platform != "win32":
    # Nobody forks while an engine is being started: the child would be left with locks that no
    # thread of its own can release, here and in the standard library.
    os.register_at_fork(
        before=_known.lock.acquire,
        after_in_parent=_known.lock.release,
        after_in_child=_known.lock.release,
    )


# Registered when imported, hence run after the exit handlers of the app, which may still need it.
@atexit.register
def _stop() -> None:
    engine = _known.engine
    if engine is None or engine.owner.pid != os.getpid() or not engine.process.lives():
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(engine.process.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_DEADLINE
    while engine.process.lives() and time.monotonic() < deadline:
        time.sleep(0.005)


def require_extra() -> None:
    """
    :raises ConfigError: if the extra ``local`` is not installed.
    """
    missing = [name for name in _EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            "'DYNAMODB_HOST' is 'local://', the embedded engine, but it is not installed"
            f" ({' and '.join(missing)} cannot be imported)."
            ' Run: pip install "dynamo-ext[local]"'
        )


def _is_usable(engine: _Engine) -> bool:
    return engine not in _known.foreign and engine.process.lives() and engine.owner.lives()


def _current() -> _Engine:
    """The engine that this process knows, or else finds in its tree, or else starts."""
    known = _known.engine
    if known is not None and _is_usable(known):
        return known
    require_extra()
    inherited = _Engine.load(os.environ.get(_VARIABLE, ""))
    if inherited is not None and _is_usable(inherited):
        engine, is_replacement = inherited, False
    else:
        engine, is_replacement = _meet(_owner(inherited))
    has_lost_data = is_replacement or _known.has_answered
    _known.engine, _known.has_answered = engine, False
    os.environ[_VARIABLE] = engine.dump()
    if has_lost_data:
        _logger.warning(
            "The embedded engine has died, and its tables and items with it."
            " A new one, which is empty, takes its place."
        )
    return engine


def _meet(owner: Process) -> tuple[_Engine, bool]:
    """The one engine that the processes of this owner agree on.

    :param owner: The process that the engine lives and dies with.
    :return: The engine, and whether it was started in place of one that has died.
    """
    record = _path(owner, "engine")
    with _locked(record) as file:
        recorded = _Engine.load(file.read())
        if recorded is not None and _is_usable(recorded):
            return recorded, False
        engine = _launch(owner)
        file.truncate(0)
        file.write(engine.dump())
        return engine, recorded is not None


def _owner(inherited: _Engine | None) -> Process:
    """The process whose workers, reloads and children share an engine with this one.

    Servers load the app in their workers, often in these alone. So the owner is the server: the
    topmost process that this one was started from by multiprocessing, by a fork, or by running
    the same command again.
    """
    if inherited is not None and inherited not in _known.foreign and inherited.owner.lives():
        return inherited.owner
    owner = t.cast(Process, Process.of(os.getpid()))
    parent = _multiprocessing_parent() or _parent_in_same_program(owner)
    while parent is not None:
        owner = parent
        parent = _parent_in_same_program(owner)
    return owner


def _launch(owner: Process) -> _Engine:
    token = secrets.token_hex(16)
    request = {
        "owner": dataclasses.astuple(owner),
        "token": token,
        "path": [os.path.abspath(entry) for entry in sys.path],
        "leftovers": [str(_path(owner, suffix)) for suffix in ("engine", "log")],
    }
    try:
        report = json.loads(_run_launcher(json.dumps(request), _path(owner, "log")))
        pid, born, port = map(int, report)
    except (OSError, subprocess.TimeoutExpired, TypeError, ValueError) as error:
        raise _failure("could not be started", owner) from error
    return _Engine(Process(pid, born), owner, port, token)


def _run_launcher(request: str, log: pathlib.Path) -> str:
    # Files and not pipes: of a pipe, a process that is made meanwhile could hold the other end.
    with _temporary_file() as stdin, _temporary_file() as stdout, log.open("w") as stderr:
        stdin.write(request)
        stdin.seek(0)
        subprocess.run(
            [sys.executable, "-I", server.__file__],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=log.parent,
            start_new_session=True,
            timeout=_DEADLINE,
        )
        stdout.seek(0)
        return stdout.read()


def _temporary_file() -> t.IO[str]:
    return tempfile.TemporaryFile("w+", encoding="ascii", dir=_directory())


def _answers(engine: _Engine) -> bool:
    """Wait until the engine answers, and prove that it is the engine that does."""
    deadline = time.monotonic() + _DEADLINE
    while (left := deadline - time.monotonic()) > 0:
        if not engine.process.lives():
            raise _failure("ended before it could answer", engine.owner)
        try:
            return _proves_itself(engine, left)
        except OSError:
            time.sleep(0.02)
        except http.client.HTTPException:
            return False
    raise RuntimeError(f"the embedded engine does not answer within {_DEADLINE:g} s")


def _proves_itself(engine: _Engine, timeout: float) -> bool:
    challenge = secrets.token_hex(16)
    connection = http.client.HTTPConnection(HOST, engine.port, timeout=timeout)
    with contextlib.closing(connection):
        connection.request("GET", server.PROOF_PATH + challenge)
        answer = connection.getresponse().read()
    return answer == server.proof(engine.token, challenge).encode()


def _failure(what: str, owner: Process) -> RuntimeError:
    log = _path(owner, "log")
    said = log.read_text(errors="replace")[-_LOG_TAIL:].strip() if log.exists() else ""
    for leftover in (log, _path(owner, "engine")):
        leftover.unlink(missing_ok=True)
    return RuntimeError(f"the embedded engine {what}: {said or 'it has said nothing'}")


def _path(owner: Process, suffix: str) -> pathlib.Path:
    return _directory() / f"{owner.pid}-{owner.born}.{suffix}"


def _directory() -> pathlib.Path:
    """Where the processes of this user meet. No other user may put a false address there."""
    if sys.platform == "win32":
        directory = pathlib.Path(tempfile.gettempdir(), "dynamo-ext")
        directory.mkdir(exist_ok=True)
        return directory
    directory = pathlib.Path(tempfile.gettempdir(), f"dynamo-ext-{os.getuid()}")
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    status = directory.lstat()
    is_private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
    if not is_private or status.st_uid != os.getuid():
        raise RuntimeError(
            f"{str(directory)!r} must be a directory that belongs to the current user, with mode"
            " 0700. Remove it, or set TMPDIR to another place."
        )
    return directory


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> cabc.Iterator[t.TextIO]:
    """A file that one process at a time has open. It is created if needed."""
    while True:
        with path.open("a+") as file, _exclusive(file):
            # An engine that ends removes its file, perhaps before it could be locked here.
            if _is_at(path, file):
                file.seek(0)
                yield file
                return


def _is_at(path: pathlib.Path, file: t.TextIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


if sys.platform == "win32":

    def _exclusive(file: t.TextIO) -> contextlib.nullcontext[None]:
        # So workers that start at the same moment may get an engine each there.
        return contextlib.nullcontext()

else:

    @contextlib.contextmanager
    def _exclusive(file: t.TextIO) -> cabc.Iterator[None]:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            file.flush()
            # Closing is not enough: a process forked meanwhile has the file open, too.
            fcntl.flock(file, fcntl.LOCK_UN)


def _multiprocessing_parent() -> Process | None:
    parent = multiprocessing.parent_process()
    return None if parent is None else Process.of(t.cast(int, parent.pid))


def _parent_in_same_program(process: Process) -> Process | None:
    fields = server.stat_fields(process.pid)
    parent = None if fields is None else Process.of(int(fields[1]))
    if parent is None or not _is_same_program(process, parent):
        return None
    return parent


def _is_same_program(process: Process, other: Process) -> bool:
    # A forked process has its parent's auxiliary vector, whatever title it has given itself.
    for name in ("cmdline", "auxv"):
        with contextlib.suppress(OSError):
            content = pathlib.Path(f"/proc/{process.pid}/{name}").read_bytes()
            if content and content == pathlib.Path(f"/proc/{other.pid}/{name}").read_bytes():
                return True
    return False
