"""The process of the embedded engine: moto's DynamoDB behind a small HTTP server.

:mod:`dynamo_ext.local.launcher` runs this file by its path, not as a module. So the package and
what it imports are not loaded first, and the port is open a moment after the process has started.
For the same reason this file imports nothing but the standard library at its top.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hmac
import http.server
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

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

HOST = "127.0.0.1"
PROOF_PATH = "/.dynamo-ext/"
_WATCH_INTERVAL = 0.2
_HAS_PROC = pathlib.Path("/proc/self/stat").exists()


@dataclasses.dataclass(frozen=True)
class Process:
    """One process, told apart from a later one that gets the same pid.

    :param pid: Its process id. It stays the same when the process executes another program.
    :param born: When it started, in ticks of the system's clock; 0 where the system does not tell.
    """

    pid: int
    born: int

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The process that has this pid now.

        :param pid: The process id.
        :return: ``None`` if there is no such process, or nothing is left of it but its exit code.
        """
        born = _birth(pid)
        return None if born is None else cls(pid, born)

    def lives(self) -> bool:
        return _birth(self.pid) == self.born


def stat_fields(pid: int) -> list[bytes] | None:
    """What Linux tells about a process, from its state on (field 3 of ``/proc/PID/stat``)."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The name of the program may hold spaces and brackets: count from the last bracket.
    return stat.rpartition(b")")[2].split()


def _birth(pid: int) -> int | None:
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
    """What only the engine that was given this token can answer to the challenge."""
    return hmac.digest(token.encode(), challenge.encode(), "sha256").hex()


class EngineServer(socketserver.ThreadingTCPServer):
    """The engine's HTTP server on the loopback interface.

    It listens as soon as it is made; requests wait until :meth:`serve` has loaded moto.

    :param port: The port to listen on; 0 takes a free one.
    :param token: What the engine proves its identity with.
    :raises OSError: The port is taken.
    """

    daemon_threads = True
    request_queue_size = 128
    # On Windows the option would let two servers listen on one port.
    allow_reuse_address = os.name == "posix"

    def __init__(self, port: int, token: str) -> None:
        super().__init__((HOST, port), _Handler)
        self.port: int = self.server_address[1]
        self.url = f"http://{HOST}:{self.port}"
        self._token = token
        # moto changes its tables without a lock. With one, each call is atomic, as it is in
        # DynamoDB, and nothing is lost: the interpreter runs one thread at a time anyway.
        self._turn = threading.Lock()

    def serve(self, on_ready: t.Callable[[], None] = lambda: None) -> None:
        """Load moto, then answer requests until the process ends.

        :param on_ready: Called when moto is loaded.
        """
        self._application = _dynamodb_application()
        on_ready()
        self.serve_forever()

    def proof(self, challenge: str) -> str:
        return proof(self._token, challenge)

    def call(self, environ: dict[str, t.Any]) -> tuple[int, t.Iterable[tuple[str, str]], bytes]:
        from werkzeug.test import run_wsgi_app

        try:
            with self._turn:
                content, status, headers = run_wsgi_app(self._application, environ, buffered=True)
                return int(status.split()[0]), headers.items(), b"".join(content)
        except Exception as error:
            traceback.print_exc()
            return _internal_error(error)

    def handle_error(self, request: object, client_address: object) -> None:
        # A client that hangs up is no event.
        if not isinstance(sys.exception(), ConnectionError):
            traceback.print_exc()


def _internal_error(error: Exception) -> tuple[int, t.Iterable[tuple[str, str]], bytes]:
    body = {
        "__type": "com.amazonaws.dynamodb.v20120810#InternalServerError",
        "message": f"the embedded engine failed: {type(error).__name__}: {error}",
    }
    return 500, [("Content-Type", "application/x-amz-json-1.0")], json.dumps(body).encode()


class _Handler(http.server.BaseHTTPRequestHandler):
    """Keeps connections open, which the WSGI servers of the standard library and werkzeug don't."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    @property
    def _engine(self) -> EngineServer:
        return t.cast(EngineServer, self.server)

    def do_GET(self) -> None:
        if self.path.startswith(PROOF_PATH):
            challenge = self.path.removeprefix(PROOF_PATH)
            self._send(200, [], self._engine.proof(challenge).encode())
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        # A browser names the page that a request comes from. No page has any business here.
        if "Origin" in self.headers:
            self.send_error(403)
        elif (length := self.headers.get("Content-Length", "")).isdigit():
            self._send(*self._engine.call(self._environ(self.rfile.read(int(length)))))
        else:
            self.send_error(411)

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

    def _send(self, status: int, headers: t.Iterable[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() != "content-length":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _dynamodb_application() -> WSGIApplication:
    for name in [name for name in os.environ if name.startswith(("AWS_", "MOTO_"))]:
        del os.environ[name]
    os.environ["MOTO_ALLOW_NONEXISTENT_REGION"] = "true"
    os.environ["MOTO_DISABLE_GLOBAL_CORS"] = "true"
    # Whoever turns warnings into errors means his own code and not moto's.
    warnings.simplefilter("ignore")
    from moto.moto_server.werkzeug_app import create_backend_app

    application = create_backend_app("dynamodb")
    application.config["PROPAGATE_EXCEPTIONS"] = True
    return application


def main() -> None:
    """Leave the engine that standard input describes running, and print its pid and port."""
    request = sys.stdin.read()
    if sys.platform == "win32" and sys.argv[1:] != ["detached"]:
        print(_report_of_detached_process(request))
        return
    wanted = json.loads(request)
    # After what is installed: a file of the app must not hide a library that moto needs.
    sys.path.extend(entry for entry in wanted["path"] if entry not in sys.path)
    leftovers = [pathlib.Path(name) for name in wanted["leftovers"]]
    owner = Process(*wanted["owner"])
    server = EngineServer(0, wanted["token"])
    _report_and_detach(server.port)
    _obey_signals(leftovers)
    threading.Thread(target=_leave_after, args=(owner, leftovers), daemon=True).start()
    _sweep(leftovers[0].parent)
    server.serve()


def _report_and_detach(port: int) -> None:
    """Go on as a process that is nobody's child, so that no ``wait()`` of the app ever meets it."""
    if sys.platform == "win32":
        _report(os.getpid(), port)
    elif engine := os.fork():
        _report(engine, port)
        os._exit(0)
    _close_standard_streams()


def _report(engine: int, port: int) -> None:
    print(json.dumps([engine, _birth(engine), port]), flush=True)


def _report_of_detached_process(request: str) -> str:
    """Windows has no fork: start the engine as a process of its own, and pass its report on."""
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


def _obey_signals(leftovers: list[pathlib.Path]) -> None:
    # Ignored and blocked signals are inherited from whoever was the first to need the engine.
    def leave(number: int, frame: types.FrameType | None) -> None:
        _leave(leftovers)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _close_standard_streams() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(nothing, descriptor)
    os.close(nothing)


def _leave_after(owner: Process, leftovers: list[pathlib.Path]) -> None:
    # Polled, because no handle on another process survives that it executes itself anew.
    while owner.lives():
        time.sleep(_WATCH_INTERVAL)
    _leave(leftovers)


def _leave(leftovers: list[pathlib.Path]) -> t.NoReturn:
    _remove(leftovers)
    os._exit(0)


def _remove(files: t.Iterable[pathlib.Path]) -> None:
    for file in files:
        # On Windows a file that is still open stays; the next engine sweeps it up.
        with contextlib.suppress(OSError):
            file.unlink()


def _sweep(directory: pathlib.Path) -> None:
    """Remove what engines that were killed have left, once their owners are gone."""
    for file in directory.iterdir():
        with contextlib.suppress(ValueError):
            pid, born = map(int, file.stem.split("-"))
            if not Process(pid, born).lives():
                _remove([file])


if __name__ == "__main__":
    main()
