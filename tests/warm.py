"""Processes of Python that need not import Flask, Quart, botocore and this project first.

:class:`Popen` and :func:`run` are those of :mod:`subprocess`, for commands that run Python. The new
process is forked from a server that has imported what most programs here begin with, which takes a
second of a processor otherwise. It is made like a new one: its arguments, directory, variables,
path, warnings, standard files and signals are those that it would have, it inherits no file of the
server, its parent is the test's process, and it ends as Python does.

What differs: more modules are imported than the program has asked for, their exit handlers run
after all of its own, Python's hashes have the server's seed, and ``/proc`` tells the server's
command line and variables. So what is about imports and their order, start-up or memory, and what
finds processes through ``/proc``, needs :mod:`subprocess`.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import faulthandler
import fcntl
import gc
import importlib
import importlib.machinery
import importlib.util
import inspect
import io
import json
import linecache
import multiprocessing.process
import os
import pathlib
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import types
import typing as t
import warnings

MODULES = (
    "anyio._backends._asyncio",
    "anyio.to_thread",
    "asyncio",
    "botocore.session",
    "flask.cli",
    "flask.testing",
    "pynamodb.models",
    "pynamodb.transactions",
    "quart.cli",
    "quart.testing",
    "werkzeug.serving",
    "dynamo_ext",
    "dynamo_ext_async",
)
# Python, or a module, reads them at its start. The server has those of the test's process.
_READ_AT_START = ("LANG", "LC_", "PYNAMODB_CONFIG", "PYTHON", "TZ")
_HANDLED = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONWARNINGS")
_SET_CHILD_SUBREAPER = 36


class Popen(subprocess.Popen[t.AnyStr]):
    """A process, forked from a server where that makes no difference but those above."""

    def _execute_child(self, *arguments: t.Any) -> None:
        asked = _EXECUTE_CHILD.bind(self, *arguments).arguments
        launch = _Launch.of(asked)

        if launch is None:
            t.cast(t.Any, super())._execute_child(*arguments)
            return

        standard = [asked["p2cread"], asked["c2pwrite"], asked["errwrite"]]
        files = [number if each == -1 else each for number, each in enumerate(standard)]
        this = t.cast(t.Any, self)
        this.pid = _server(is_safe=launch.is_safe).launch(launch, files)
        this._child_created = True
        names = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        this._close_pipe_fds(*(asked[name] for name in names))


def run(
    command: t.Sequence[str | os.PathLike[str]],
    *,
    input: t.Any = None,
    timeout: float | None = None,
    check: bool = False,
    capture_output: bool = False,
    **options: t.Any,
) -> subprocess.CompletedProcess[t.Any]:
    """Do what :func:`subprocess.run` does."""
    if capture_output:
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}

    if input is not None:
        options["stdin"] = subprocess.PIPE

    process: Popen[t.Any]

    with Popen(command, **options) as process:
        try:
            output, errors = process.communicate(input, timeout)
        except BaseException:
            process.kill()
            raise

    done = subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    if check:
        done.check_returncode()

    return done


_EXECUTE_CHILD = inspect.signature(t.cast(t.Any, subprocess.Popen)._execute_child)


class _Launch(t.NamedTuple):
    """What a process has of its own; all of it can be written as JSON."""

    command: list[str]
    is_safe: bool
    """Whether Python adds no directory of the program to the path (``-P``)."""

    warnings: list[str]
    faulthandler: bool
    program: tuple[str, str]
    """``-c`` and code, ``-m`` and a module, or nothing and a file."""

    arguments: list[str]
    directory: str
    environment: dict[str, str]
    inherited: list[int]
    new_session: bool

    @classmethod
    def of(cls, asked: dict[str, t.Any]) -> _Launch | None:
        """What was asked for; ``None`` if only a new Python can be that."""
        environment: dict[str, str] = {**(os.environ if asked["env"] is None else asked["env"])}
        unusual = (
            asked["shell"]
            or asked["preexec_fn"] is not None
            or not asked["close_fds"]
            or asked["executable"] is not None
            or any(asked[name] is not None for name in ("gid", "gids", "uid"))
            or asked["umask"] >= 0
            # New in Python 3.11.
            or asked.get("process_group", -1) != -1
            or not isinstance(asked["args"], list)
            or _read_at_start(environment) != _read_at_start(os.environ)
            # It measures each process from its start on.
            or any(name.startswith("COVERAGE_PROCESS_") for name in environment)
        )

        if sys.platform != "linux" or unusual:
            return None

        command = [os.fsdecode(each) for each in asked["args"]]
        directory = os.getcwd() if asked["cwd"] is None else os.path.abspath(asked["cwd"])

        if command[0] != sys.executable or not os.path.isdir(directory):
            return None

        options: dict[str, list[str]] = {"-P": [], "-W": [], "-X": []}
        left = command[1:]

        while left and left[0] in options:
            name = left.pop(0)
            options[name].append("" if name == "-P" else left.pop(0))

        if set(options["-X"]) - {"faulthandler"}:
            return None

        if left[:1] in (["-c"], ["-m"]):
            program = left[0], left[1]
            del left[:2]
        elif left and os.path.isfile(os.path.join(directory, left[0])):
            program = "", left.pop(0)
        else:
            return None

        by_variable = environment.get("PYTHONWARNINGS", "").split(",")
        return cls(
            command=command,
            is_safe=bool(options["-P"]),
            warnings=[*filter(None, by_variable), *options["-W"]],
            faulthandler=bool(options["-X"]),
            program=program,
            arguments=left,
            directory=directory,
            environment={os.fsdecode(k): os.fsdecode(v) for k, v in environment.items()},
            inherited=sorted(int(each) for each in asked["pass_fds"]),
            new_session=asked["start_new_session"],
        )


def _read_at_start(environment: t.Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(_READ_AT_START) and name not in _HANDLED
    }


class _Server:
    """A process that forks those that are asked for.

    :param is_safe: Whether it was started with ``-P``.
    """

    def __init__(self, *, is_safe: bool) -> None:
        self.environment = _read_at_start(os.environ)
        self._lock = threading.Lock()
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

        with theirs:
            # Warnings are errors, also those of imports, however its children are to treat them.
            self._process = subprocess.Popen(
                [
                    *(sys.executable, *(["-P"] if is_safe else []), "-W", "error"),
                    *(__file__, str(theirs.fileno()), _directory_of_packages()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={name: value for name, value in os.environ.items() if name not in _HANDLED},
                pass_fds=[theirs.fileno()],
            )

    def launch(self, launch: _Launch, standard: list[int]) -> int:
        """Fork a process of this one.

        :param launch: What it is to be.
        :param standard: Its standard files.
        :return: Its id.
        """
        # Threads may launch processes at the same time.
        with self._lock, contextlib.ExitStack() as files:
            request = files.enter_context(open(os.memfd_create("launch"), "w+"))
            json.dump(launch._asdict(), request)
            request.flush()
            request.seek(0)
            reader, writer = os.pipe()
            answer = files.enter_context(open(reader))

            with open(writer) as theirs, _adopting():
                numbers = [request.fileno(), theirs.fileno(), *standard, *launch.inherited]
                socket.send_fds(self._connection, [b"x"], numbers)
                theirs.close()
                pid = answer.read()

        if not pid:
            raise RuntimeError(f"no process was forked for {launch.command}")

        return int(pid)

    def close(self) -> None:
        """End it. What it has forked lives on."""
        self._connection.close()
        self._process.wait()


@contextlib.contextmanager
def _adopting() -> t.Iterator[None]:
    """Become the parent of a process below this one whose own parent ends meanwhile."""
    libc = ctypes.CDLL(None)
    libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    try:
        yield
    finally:
        libc.prctl(_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


_servers: dict[tuple[int, bool], _Server] = {}
_servers_lock = threading.Lock()


def _server(*, is_safe: bool) -> _Server:
    key = os.getpid(), is_safe

    with _servers_lock:
        server = _servers.get(key)

        if server is not None and server.environment != _read_at_start(os.environ):
            server.close()
            server = None

        if server is None:
            server = _servers[key] = _Server(is_safe=is_safe)

        return server


@atexit.register
def _close_servers() -> None:
    for (owner, _), server in _servers.items():
        if owner == os.getpid():
            server.close()


def _directory_of_packages() -> str:
    # That is the installed wheel under tox, and the checkout elsewhere.
    package = importlib.util.find_spec("dynamo_ext")
    assert package is not None
    assert package.origin is not None
    return str(pathlib.Path(package.origin).parent.parent)


# What follows runs in the server, and in what it forks.


def _serve(connection: socket.socket) -> list[int]:
    """Fork processes until the test's process ends. Returns in these alone, with their files."""
    while True:
        message, files, *_ = socket.recv_fds(connection, 1, 200)

        if not message:
            os._exit(0)

        if not (child := os.fork()):
            parent = os.getpid()

            if os.fork():
                os._exit(0)

            # The test's process adopts it when the parent has ended.
            while os.getppid() == parent:
                time.sleep(0.0005)

            return files

        for file in files:
            os.close(file)

        os.waitpid(child, 0)


def _become(launch: _Launch, answer: int, files: list[int]) -> None:
    """Make this process what it is to be, and tell its id.

    :param answer: Where to tell it.
    :param files: The standard files and those that it inherits.
    """
    numbers = [0, 1, 2, *launch.inherited]
    above = max(numbers) + 1
    answer, *files = [fcntl.fcntl(file, fcntl.F_DUPFD, above) for file in (answer, *files)]

    for file, number in zip(files, numbers, strict=True):
        os.dup2(file, number)

    for name in os.listdir("/proc/self/fd"):
        if int(name) not in {answer, *numbers}:
            # The one of the directory itself is closed already.
            with contextlib.suppress(OSError):
                os.close(int(name))

    if launch.new_session:
        os.setsid()

    os.chdir(launch.directory)
    multiprocessing.process.ORIGINAL_DIR = os.getcwd()  # type: ignore[attr-defined]
    os.environ.clear()
    os.environ.update(launch.environment)
    _open_standard_files()
    _warn_as_asked(launch.warnings)
    sys.orig_argv[:] = launch.command
    sys.dont_write_bytecode = bool(launch.environment.get("PYTHONDONTWRITEBYTECODE"))

    if launch.faulthandler:
        sys._xoptions["faulthandler"] = True
        faulthandler.enable()

    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.write(answer, str(os.getpid()).encode())
    os.close(answer)


def _open_standard_files() -> None:
    # As Python's create_stdio() does: whether lines are buffered depends on the file.
    is_unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))

    for number, name in enumerate(("stdin", "stdout", "stderr")):
        before: io.TextIOWrapper = getattr(sys, f"__{name}__")
        mode = "w" if number else "r"
        buffering = 0 if is_unbuffered and number else -1
        buffer: t.Any = open(number, f"{mode}b", buffering, closefd=False)  # noqa: SIM115
        getattr(buffer, "raw", buffer).name = f"<{name}>"
        file = io.TextIOWrapper(
            buffer,
            encoding=before.encoding,
            errors=before.errors,
            newline="\n" if number else None,
            line_buffering=not is_unbuffered and (number == 2 or os.isatty(number)),
            write_through=is_unbuffered,
        )
        t.cast(t.Any, file).mode = mode
        setattr(sys, name, file)
        setattr(sys, f"__{name}__", file)


def _warn_as_asked(options: list[str]) -> None:
    # What imports have added stands before and after what the server's own option has.
    before = list(warnings.filters)
    place = before.index(("error", None, Warning, None, 0))
    warnings.resetwarnings()
    t.cast(t.Any, warnings)._processoptions(options)
    before[place : place + 1] = warnings.filters
    warnings.resetwarnings()
    t.cast(t.Any, warnings.filters).extend(before)
    sys.warnoptions[:] = options


def _run(launch: _Launch, path: list[str]) -> None:
    """Run the program as Python does.

    :param path: Where Python finds modules without the program's directory and ``PYTHONPATH``.
    """
    option, program = launch.program
    given = filter(None, launch.environment.get("PYTHONPATH", "").split(os.pathsep))
    own = {"-c": "", "-m": os.getcwd()}.get(option, os.path.dirname(os.path.realpath(program)))
    sys.path[:] = dict.fromkeys([*map(os.path.abspath, given), *path])

    if not launch.is_safe:
        sys.path.insert(0, own)

    importlib.invalidate_caches()
    sys.argv[:] = [option or program, *launch.arguments]
    main = types.ModuleType("__main__")
    main.__dict__.update(__builtins__=__builtins__, __annotations__={})
    main.__loader__ = importlib.machinery.BuiltinImporter
    sys.modules["__main__"] = main

    try:
        if option == "-m":
            t.cast(t.Any, runpy)._run_module_as_main(program)
        elif option == "-c":
            if sys.version_info >= (3, 13):
                # Tracebacks show its lines.
                lines = program.splitlines(keepends=True)
                linecache.cache["<string>"] = (len(program), None, lines, "<string>")

            exec(compile(program, "<string>", "exec", dont_inherit=True), main.__dict__)
        else:
            program = os.path.abspath(program)
            main.__dict__.update(__file__=program, __cached__=None)
            main.__loader__ = importlib.machinery.SourceFileLoader("__main__", program)
            code = pathlib.Path(program).read_bytes()
            exec(compile(code, program, "exec", dont_inherit=True), main.__dict__)
    except BaseException:
        _hide_this_module()
        raise


def _hide_this_module() -> None:
    """Let the traceback that Python prints at the end begin with the program."""
    hook = sys.excepthook

    def print_traceback(
        kind: type[BaseException], error: BaseException, trace: types.TracebackType | None
    ) -> None:
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next

        hook(kind, error.with_traceback(trace), trace)

    sys.excepthook = print_traceback


def _main() -> None:
    connection = socket.socket(fileno=int(sys.argv[1]))
    # A terminal sends it to the server, too.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    path = sys.path[0 if sys.flags.safe_path else 1 :]
    sys.path.insert(0, sys.argv[2])

    for name in MODULES:
        importlib.import_module(name)

    # What lives now is never looked at again, and so is not copied.
    gc.collect()
    gc.freeze()
    request, answer, *files = _serve(connection)
    connection.detach()

    with open(request) as file:
        launch = _Launch(**json.load(file))

    _become(launch, answer, files)
    _run(launch, path)


if __name__ == "__main__":
    _main()
