"""The process of the embedded engine: moto's DynamoDB behind a small HTTP server.

:mod:`dynamo_ext.local.launcher` runs this file by its path, not as a module. So the process does
not import the package and what it depends on, and listens a moment after its start. For the same
reason this file imports nothing but the standard library at its top.

An engine in memory ends with the process that owns it. An engine with a file ends with the last
process that uses it: each keeps a connection open, which the operating system closes however the
process ends.
"""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import dataclasses
import hmac
import http.server
import importlib
import importlib.util
import io
import json
import os
import pathlib
import signal
import socketserver
import subprocess
import sys
import threading
import time
import traceback
import types
import typing as t
import warnings
import zlib

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from .lock import Lock
    from .storage import Storage

HOST = "127.0.0.1"
PROOF_PATH = "/.dynamo-ext/"
USE_PATH = PROOF_PATH + "use/"
_OWNER_INTERVAL = 0.2
# How long an engine with a file waits for its first user, in seconds.
_FIRST_USER_TIMEOUT = 60.0
# How long an engine that ends waits for the call under way, in seconds.
_LAST_CALL_TIMEOUT = 5.0
_PACKAGE = "_dynamo_ext_local"
_HAS_PROC = pathlib.Path("/proc/self/stat").exists()

_Headers = cabc.Iterable[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Process:
    """One process, distinct from a later one with the same process id.

    :param pid: Its process id. It stays the same when the process executes another program.
    :param started: When it started, in ticks of the system's clock; 0 where the system does not
        tell.
    """

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """Find the process that has this id now.

        :param pid: The process id.
        :return: The process; ``None`` if there is none, or only its exit code is left.
        """
        started = _start_time(pid)
        return None if started is None else cls(pid, started)

    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return _start_time(self.pid) == self.started


def stat_fields(pid: int) -> list[bytes] | None:
    """Read what Linux tells about a process.

    :param pid: The process id.
    :return: The fields of ``/proc/PID/stat`` from the third one on, which is the process's state;
        ``None`` if there is no such process.
    """
    try:
        content = pathlib.Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None

    # The second field, the program's name in brackets, may contain spaces and brackets.
    return content.rpartition(b")")[2].split()


def _start_time(pid: int) -> int | None:
    if _HAS_PROC:
        fields = stat_fields(pid)
        return None if fields is None or fields[0] in b"ZX" else int(fields[19])

    return 0 if _exists(pid) else None


if sys.platform == "win32":

    def _exists(pid: int) -> bool:
        import _winapi

        synchronize = 0x00100000

        try:
            handle = _winapi.OpenProcess(synchronize, False, pid)
        except OSError:
            return False

        try:
            return _winapi.WaitForSingleObject(handle, 0) != _winapi.WAIT_OBJECT_0
        finally:
            _winapi.CloseHandle(handle)

else:

    def _exists(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass

        return True


def proof(token: str, challenge: str) -> str:
    """Compute the answer that only the engine with this token can give.

    :param token: The engine's secret.
    :param challenge: The question, different each time.
    :return: The answer.
    """
    return hmac.digest(token.encode(), challenge.encode(), "sha256").hex()


class _HTTPServer(socketserver.ThreadingTCPServer):
    """A port of the loopback interface, behind which the engine is.

    :param port: The port to listen on; 0 takes a free one.
    :raises OSError: if the port is taken.
    """

    daemon_threads: bool = True
    request_queue_size: int = 128
    # On Windows this option would let two servers listen on one port.
    allow_reuse_address: bool = os.name == "posix"

    def __init__(self, port: int) -> None:
        super().__init__((HOST, port), _Handler)
        self.port: int = self.server_address[1]
        self.url: str = f"http://{HOST}:{self.port}"

    @property
    def engine(self) -> EngineServer:
        """The engine."""
        raise NotImplementedError

    def handle_error(self, request: object, client_address: object) -> None:
        """Print an exception, unless the client has closed its connection, which is normal."""
        if not isinstance(sys.exception(), ConnectionError):
            traceback.print_exc()


class Entrance(_HTTPServer):
    """Another port of an engine. The block of ``with`` serves it.

    :param port: The port to listen on.
    :param engine: The engine.
    :raises OSError: if the port is taken.
    """

    def __init__(self, port: int, engine: EngineServer) -> None:
        super().__init__(port)
        self._engine = engine

    @property
    def engine(self) -> EngineServer:
        return self._engine

    def __enter__(self) -> t.Self:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.shutdown()
        self.server_close()


class Users:
    """The processes that use an engine with a file; when the last one has gone, none may come."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._have_come = False
        self._are_gone = False

    def come(self) -> bool:
        """Count one more user.

        :return: Whether it may come: not if the engine is about to end.
        """
        with self._lock:
            if not self._are_gone:
                self._count += 1
                self._have_come = True

            return not self._are_gone

    def go(self) -> bool:
        """Count one less.

        :return: Whether it was the last one.
        """
        with self._lock:
            self._count -= 1
            self._are_gone = self._count == 0
            return self._are_gone

    def have_not_come(self) -> bool:
        """Whether none has come yet. Then none may come any more."""
        with self._lock:
            self._are_gone = self._are_gone or not self._have_come
            return not self._have_come


class EngineServer(_HTTPServer):
    """The engine's HTTP server on the loopback interface.

    It listens from the start; requests wait until :meth:`serve` has loaded moto.

    :param port: The port to listen on; 0 takes a free one.
    :param token: The secret by which the engine proves its identity.
    :param file: The file that keeps the tables. Default: they are kept in memory.
    :param on_end: Called when the last user of an engine with a file has gone.
    :raises OSError: if the port is taken.
    """

    def __init__(
        self,
        port: int,
        token: str,
        *,
        file: pathlib.Path | None = None,
        on_end: cabc.Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(port)
        self.users: Users = Users()
        self._token = token
        self._file = file
        self._on_end = on_end
        self._storage: Storage | None = None
        # moto changes its tables without a lock. With this one each call is atomic, as in
        # DynamoDB. It costs no speed: the interpreter runs one thread at a time anyway.
        self.lock: threading.Lock = threading.Lock()

    @property
    def engine(self) -> EngineServer:
        return self

    def serve(self, on_ready: cabc.Callable[[], None] = lambda: None) -> None:
        """Load moto, then answer requests until the process ends.

        :param on_ready: Called when moto is loaded.
        """
        self._application = _dynamodb_application()

        if self._file is not None:
            self._storage = _storage(self._application, self._file)

        on_ready()
        self.serve_forever()

    def proof(self, challenge: str) -> str:
        """Compute the engine's answer to a challenge, as :func:`proof` does."""
        return proof(self._token, challenge)

    def call(self, environ: dict[str, t.Any]) -> tuple[int, _Headers, bytes]:
        """Let moto answer a request. An exception in moto becomes an error of the server.

        :param environ: The request as a WSGI environment.
        :return: Status, headers and body of the response.
        """
        from werkzeug.test import run_wsgi_app

        try:
            with self.lock:
                if self._storage is not None:
                    return self._storage.answer(environ)

                content, status, headers = run_wsgi_app(self._application, environ, buffered=True)
                return int(status.split()[0]), headers.items(), b"".join(content)
        except Exception as error:
            traceback.print_exc()
            return _internal_error(error)

    def take_warnings(self) -> list[str]:
        """What the app should log about the file. Each warning is given once."""
        with self.lock:
            warnings = self._storage.warnings if self._storage else []
            taken = warnings[:]
            warnings.clear()
            return taken

    def leave(self) -> None:
        """Count one user less. With the last one, end."""
        if self.users.go():
            self.end()

    def end(self) -> None:
        """Finish the call under way, have the file written to the disk, and end."""
        # Not for ever: a call that hangs must not keep the process.
        self.lock.acquire(timeout=_LAST_CALL_TIMEOUT)

        try:
            if self._storage:
                self._storage.close()
        finally:
            self._on_end()


def _internal_error(error: Exception) -> tuple[int, _Headers, bytes]:
    body = {
        "__type": "com.amazonaws.dynamodb.v20120810#InternalServerError",
        "message": f"the embedded engine failed: {type(error).__name__}: {error}",
    }
    return 500, [("Content-Type", "application/x-amz-json-1.0")], json.dumps(body).encode()


class _Handler(http.server.BaseHTTPRequestHandler):
    """Passes the requests of one connection to the engine's WSGI application.

    It keeps the connection open. The WSGI servers of the standard library and of Werkzeug close it
    after each request.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    @property
    def _engine(self) -> EngineServer:
        return t.cast(_HTTPServer, self.server).engine

    def do_GET(self) -> None:
        if self.path.startswith(USE_PATH):
            challenge, _, port = self.path.removeprefix(USE_PATH).partition("/")
            self._serve_user(challenge, int(port) if port.isdigit() else None)
        elif self.path.startswith(PROOF_PATH):
            challenge = self.path.removeprefix(PROOF_PATH)
            self._send(200, [], self._engine.proof(challenge).encode())
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        # Only browsers send this header. No web page may read or change the data.
        if "Origin" in self.headers:
            self.send_error(403)
        elif (length := self.headers.get("Content-Length", "")).isdigit():
            self._send(*self._engine.call(self._environ(self.rfile.read(int(length)))))
        else:
            self.send_error(411)

    def _serve_user(self, challenge: str, port: int | None) -> None:
        """Answer a process that uses the engine from now on, and wait for its end.

        :param challenge: What it asks, to know that this is the engine.
        :param port: The port on which it wants to have the engine, besides the engine's own.
        """
        self.close_connection = True

        if not self._engine.users.come():
            self.send_error(503)
            return

        try:
            with contextlib.nullcontext() if port is None else Entrance(port, self._engine):
                answer = {
                    "proof": self._engine.proof(challenge),
                    "warnings": self._engine.take_warnings(),
                }
                self._send(200, [], json.dumps(answer).encode())
                self.wfile.flush()
                # The system closes the connection with the last process that has it open.
                self.rfile.read()
        except ConnectionError:
            pass
        except (OSError, OverflowError) as error:
            self._send(409, [], str(error).encode())
            self.wfile.flush()
        finally:
            self._engine.leave()

    def log_message(self, format: str, *args: object) -> None:
        """Log no requests."""

    def _environ(self, body: bytes) -> dict[str, t.Any]:
        path, _, query = self.path.partition("?")
        environ = {
            f"HTTP_{name.upper().replace('-', '_')}": value for name, value in self.headers.items()
        }
        return environ | {
            "REQUEST_METHOD": self.command,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "RAW_URI": self.path,
            "REQUEST_URI": self.path,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "SERVER_NAME": HOST,
            "SERVER_PORT": str(self._engine.port),
            "SERVER_PROTOCOL": self.request_version,
            "REMOTE_ADDR": HOST,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }

    def _send(self, status: int, headers: _Headers, body: bytes) -> None:
        self.send_response_only(status)

        for name, value in headers:
            if name.lower() != "content-length":
                self.send_header(name, value)

        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _dynamodb_application() -> WSGIApplication:
    """Load moto, independent of the settings for AWS, moto and warnings in the environment."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "MOTO_"))]:
        del os.environ[name]

    os.environ["MOTO_ALLOW_NONEXISTENT_REGION"] = "true"
    os.environ["MOTO_DISABLE_GLOBAL_CORS"] = "true"
    # Options that turn warnings into errors are meant for the app, not for moto.
    warnings.simplefilter("ignore")
    from moto.moto_server.werkzeug_app import create_backend_app

    _put_binary_keys_into_segments()
    application = create_backend_app("dynamodb")
    application.config["PROPAGATE_EXCEPTIONS"] = True
    return application


def _storage(application: WSGIApplication, file: pathlib.Path) -> Storage:
    storage: Storage = _module("storage").Storage(application, file)
    return storage


def _module(name: str) -> t.Any:
    """Import a module that lies beside this file, also where this file is run by its path."""
    if __package__:
        return importlib.import_module(f".{name}", __package__)

    if _PACKAGE not in sys.modules:
        folder = pathlib.Path(__file__).parent
        spec = importlib.util.spec_from_file_location(
            _PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None
        sys.modules[_PACKAGE] = importlib.util.module_from_spec(spec)

    return importlib.import_module(f"{_PACKAGE}.{name}")


def _put_binary_keys_into_segments() -> None:
    """Let moto scan in segments where keys are binary, which it hashes as if they were text."""
    from moto.dynamodb.models.dynamo_type import Item

    of_text = Item.is_within_segment

    def is_within_segment(item: t.Any, segments: tuple[int, int] | tuple[None, None]) -> bool:
        key, (segment, count) = item.hash_key.value, segments

        if isinstance(key, bytes) and count is not None:
            return zlib.crc32(key) % count == segment

        return bool(of_text(item, segments))

    t.cast(t.Any, Item).is_within_segment = is_within_segment


def main() -> None:
    """Start the engine that standard input describes; print its pid, start time and port.

    If another engine has the file already, print ``null``.
    """
    request = sys.stdin.read()

    if sys.platform == "win32" and sys.argv[1:] != ["detached"]:
        print(_report_of_detached_process(request))
        return

    wanted = json.loads(request)
    # Behind the installed packages: a file of the app must not hide a library that moto needs.
    sys.path.extend(entry for entry in wanted["path"] if entry not in sys.path)
    files = [pathlib.Path(name) for name in wanted["files"]]

    if "owner" in wanted:
        _serve_owner(Process(*wanted["owner"]), wanted["token"], files)
    else:
        _serve_file(pathlib.Path(wanted["file"]), wanted["token"], files)


def _serve_owner(owner: Process, token: str, files: list[pathlib.Path]) -> None:
    """Serve an engine in memory, until its owner has ended."""
    server = EngineServer(0, token)
    _report_and_detach(lambda process: _report(process, server.port))
    _exit_on_signals(lambda: _exit(files))
    threading.Thread(target=_exit_after, args=(owner, files), daemon=True).start()
    _remove_stale_files(files[0].parent)
    server.serve()


def _serve_file(file: pathlib.Path, token: str, files: list[pathlib.Path]) -> None:
    """Serve an engine with a file, until the last process that uses it has ended."""
    module = _module("lock")
    lock: Lock | None = module.Lock.take(module.path_for(file))

    if lock is None:
        print(json.dumps(None), flush=True)
        return

    def end() -> None:
        lock.remove()
        _exit(files)

    def tell(process: Process) -> None:
        lock.write(module.Address(process.pid, process.started, server.port, token))
        _report(process, server.port)

    server = EngineServer(0, token, file=file, on_end=end)
    _report_and_detach(tell)
    _exit_on_signals(server.end)
    _remove_stale_files(files[0].parent)

    def end_unless_used() -> None:
        if server.users.have_not_come():
            server.end()

    timer = threading.Timer(_FIRST_USER_TIMEOUT, end_unless_used)
    timer.daemon = True

    try:
        server.serve(on_ready=timer.start)
    except (OSError, RuntimeError, ValueError) as error:
        lock.remove()
        # What is wrong with the file is all that the app's error should say.
        sys.exit(str(error))


def _report_and_detach(report: cabc.Callable[[Process], None]) -> None:
    """Go on in a process that is not the app's child, so that no ``wait()`` of the app meets it.

    :param report: Tells the app which process that is.
    """
    if sys.platform == "win32":
        report(_existing(os.getpid()))
    elif engine := os.fork():
        try:
            report(_existing(engine))
        except BaseException:
            # Nobody would find it.
            os.kill(engine, signal.SIGKILL)
            raise

        os._exit(0)

    _close_standard_streams()


def _existing(pid: int) -> Process:
    return Process(pid, _start_time(pid) or 0)


def _report(process: Process, port: int) -> None:
    print(json.dumps([process.pid, process.started, port]), flush=True)


def _report_of_detached_process(request: str) -> str:
    """Start the engine as a detached process, for Windows, which has no fork.

    :param request: What the process reads from standard input.
    :return: Its report.
    """
    command = [sys.executable, "-I", __file__, "detached"]
    flags = 0

    if sys.platform == "win32":
        flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP

    pipe = subprocess.PIPE
    engine = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, creationflags=flags)
    assert engine.stdin is not None
    assert engine.stdout is not None

    with engine.stdin:
        engine.stdin.write(request)

    return engine.stdout.readline()


def _close_standard_streams() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)

    for descriptor in (0, 1):
        os.dup2(nothing, descriptor)

    os.close(nothing)


def _exit_on_signals(end: cabc.Callable[[], None]) -> None:
    """Exit on SIGTERM and SIGINT, even if the process that started the engine ignores them.

    :param end: Exits.
    """

    def handle(number: int, frame: types.FrameType | None) -> None:
        end()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)

    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _exit_after(owner: Process, files: list[pathlib.Path]) -> None:
    """Exit when the owner has ended."""
    # Polled: a pipe to the owner would also close when the owner executes another program.
    while owner.is_alive():
        time.sleep(_OWNER_INTERVAL)

    _exit(files)


def _exit(files: list[pathlib.Path]) -> t.NoReturn:
    _remove(files)
    os._exit(0)


def _remove(files: cabc.Iterable[pathlib.Path]) -> None:
    for file in files:
        # Windows does not remove a file that is open; a later engine does.
        with contextlib.suppress(OSError):
            file.unlink()


def _remove_stale_files(directory: pathlib.Path) -> None:
    """Remove the files of engines that were killed, once their owners have ended."""
    for file in directory.iterdir():
        with contextlib.suppress(ValueError):
            pid, started = map(int, file.name.partition(".")[0].split("-"))

            if not Process(pid, started).is_alive():
                _remove([file])


if __name__ == "__main__":
    main()
