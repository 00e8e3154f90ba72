"""A process forked from a warm one is like a new Python in what programs see of it."""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import typing as t

import pytest

import engines
import warm

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each process is a new one"),
    pytest.mark.once(reason="no call is sent"),
]

PYTHON = [sys.executable, "-P", "-W", "error"]

# Tells what a program can see of its process.
TELL = """
import faulthandler, gc, json, linecache, multiprocessing.process, os, pathlib, signal, sys
import tempfile, threading, warnings

if sys.argv[-1] == "filters":
    for name in sys.argv[1:-1]:
        __import__(name)

# Not those of which the module does not know that faulthandler has handled them first.
HANDLED = sorted(signal.valid_signals() - {4, 6, 7, 8, 11})
main = sys.modules["__main__"]
files = [sys.stdin, sys.stdout, sys.stderr]
numbers = sorted(os.listdir("/proc/self/fd"), key=int)
seen = {
    "arguments": [sys.argv, sys.orig_argv],
    "path": sys.path,
    "flags": [repr(sys.flags), sorted(sys._xoptions), sys.warnoptions],
    "filters": repr(warnings.filters) if sys.argv[-1] == "filters" else None,
    "bytecode": sys.dont_write_bytecode,
    "directories": [os.getcwd(), multiprocessing.process.ORIGINAL_DIR, tempfile.gettempdir()],
    "variables": dict(os.environ),
    "umask": os.umask(0),
    "files": [os.path.exists(f"/proc/self/fd/{each}") for each in numbers],
    "inherited": [each for each in range(3, 256) if os.path.exists(f"/proc/self/fd/{each}")],
    "inheritable": [os.get_inheritable(each) for each in range(3)],
    "signals": {each: repr(signal.getsignal(each)) for each in HANDLED},
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "main": {key: repr(main.__dict__.get(key)) for key in ("__name__", "__file__", "__package__")},
    "names": sorted(key for key in main.__dict__ if key.startswith("__")),
    "spec": main.__spec__ and main.__spec__.name,
    "is main": main.__dict__ is globals(),
    "standard files": [
        [each.name, each.mode, each.encoding, each.errors, each.line_buffering, each.isatty(),
         each.write_through, each.buffer.name, each.fileno(), repr(each.newlines),
         type(each.buffer).__name__]
        for each in files
    ],
    "same": [sys.__stdin__ is sys.stdin, sys.__stdout__ is sys.stdout],
    "read": sys.stdin.read(),
    "threads": [each.name for each in threading.enumerate()],
    "gc": [gc.isenabled(), gc.get_threshold(), faulthandler.is_enabled()],
    "hooks": [sys.excepthook is sys.__excepthook__, threading.excepthook.__name__],
    "parent": os.getppid(),
    "group": [os.getpgid(0) == os.getpid(), os.getsid(0) == os.getpid()],
    "parent process": repr(multiprocessing.process.parent_process()),
}
print(json.dumps(seen, indent=1))
"""


@pytest.fixture(autouse=True)
def bytecode(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one setting that ``sys.flags`` of a warm process does not show."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)


def both(
    command: list[str], *, code: int = 0, **options: t.Any
) -> subprocess.CompletedProcess[str]:
    """Run a command in a new Python and in a warm one; both must end alike."""
    options = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
        "env": engines.python_environment(),
        **options,
    }
    new: subprocess.CompletedProcess[str] = subprocess.run(command, **options)
    forked = warm.run(command, **options)
    assert (forked.returncode, forked.stdout) == (new.returncode, new.stdout)
    assert forked.stderr == new.stderr
    assert forked.returncode == code, forked.stderr
    return forked


def test_it_is_warm() -> None:
    code = "import sys; print('dynamo_ext_async' in sys.modules, 'quart.cli' in sys.modules)"
    done = warm.run([*PYTHON, "-c", code], stdout=subprocess.PIPE, text=True)
    assert done.stdout == "True True\n"


@pytest.mark.parametrize("flags", [["-P", "-W", "error", "-X", "faulthandler"], []])
@pytest.mark.parametrize("program", [["-c", TELL], ["-m", "tell"], ["tell.py"], ["there/tell.py"]])
def test_a_program_sees_what_it_would_see(
    flags: list[str], program: list[str], tmp_path: pathlib.Path
) -> None:
    (tmp_path / "there").mkdir()

    for directory in (tmp_path, tmp_path / "there"):
        (directory / "tell.py").write_text(TELL)

    paths = [str(tmp_path), engines.python_environment()["PYTHONPATH"], str(tmp_path), "else"]
    environment = {
        **engines.python_environment(),
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONWARNINGS": "default::ImportWarning,ignore:a:UserWarning",
        "TMPDIR": str(tmp_path / "there"),
        "ONLY_HERE": "ü\udcff",
        "PYTHONUNBUFFERED": "1" if flags else "",
    }
    environment.pop("HOME", None)
    (tmp_path / "input").write_text("a line\nanother")

    with socket.socket() as inherited, (tmp_path / "input").open() as file:
        seen: list[dict[str, t.Any]] = []
        runs: list[t.Any] = [subprocess.run, warm.run]

        for run in runs:
            file.seek(0)
            done = run(
                [sys.executable, *flags, *program, "-x", "ü"],
                stdin=file,
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
                cwd=tmp_path,
                pass_fds=[inherited.fileno()],
                start_new_session=bool(flags),
                check=True,
            )
            seen.append(json.loads(done.stdout))

        assert seen[0] == seen[1]
        assert seen[1]["inherited"] == [inherited.fileno()]
        assert seen[1]["parent"] == os.getpid()


def test_warnings_are_treated_as_asked_after_what_imports_add(tmp_path: pathlib.Path) -> None:
    (tmp_path / "tell.py").write_text(TELL)
    ignore = ["-W", "ignore:unclosed <socket.socket fd=:ResourceWarning", "-W", "once"]
    command = [sys.executable, "-P", *ignore, "tell.py", *warm.MODULES, "filters"]
    both(command, cwd=tmp_path, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("pass", 0),
        ("import sys; sys.exit(3)", 3),
        ("import sys; sys.exit('a message')", 1),
        ("def f():\n    raise ValueError('x') from KeyError('y')\n\nf()", 1),
        ("import nothing_like_it", 1),
        ("def", 1),
        ("import warnings; warnings.warn('old', DeprecationWarning)", 1),
        ("raise KeyboardInterrupt", -signal.SIGINT),
        ("import os; print('not written'); os._exit(4)", 4),
        ("import os; os.abort()", -signal.SIGABRT),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("import sys; sys.excepthook = lambda *a: print(len(a), a[0].__name__)\n1 / 0", 1),
        (
            "import atexit, sys, threading, time\n"
            "atexit.register(print, 'at exit')\n"
            "wait = lambda: (time.sleep(0.1), print('thread'))\n"
            "threading.Thread(target=wait).start()\n"
            "sys.stderr.write('no end of line')\n"
            "print('main')",
            0,
        ),
        ("class A:\n    def __del__(self):\n        print('deleted')\n\na = A()", 0),
        ("def _f():\n    f = open(__file__)\n\n_f()\nprint('on')", 0),
        ("import sys\nprint(input(), sys.stdin.readline())", 1),
    ],
)
def test_it_ends_as_python_does(program: str, code: int, tmp_path: pathlib.Path) -> None:
    (tmp_path / "program.py").write_text(program)
    options: dict[str, t.Any] = {"cwd": tmp_path, "stdin": subprocess.DEVNULL}
    both([*PYTHON, "program.py"], code=code, **options)

    if "__file__" not in program:
        both([*PYTHON, "-c", program], code=code, **options)


def test_a_module_ends_as_python_does(tmp_path: pathlib.Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("print('package')")
    (tmp_path / "package" / "__main__.py").write_text("print(__spec__.name)\n1 / 0")
    path = os.pathsep.join([str(tmp_path), engines.python_environment()["PYTHONPATH"]])
    both([*PYTHON, "-m", "package"], code=1, env={**os.environ, "PYTHONPATH": path})


def test_missing_program_and_directory_are_missing(tmp_path: pathlib.Path) -> None:
    both([*PYTHON, "-m", "nothing_like_it"], code=1)
    both([*PYTHON, "nothing.py"], code=2)

    with pytest.raises(FileNotFoundError):
        warm.Popen([*PYTHON, "-c", "pass"], cwd=tmp_path / "nothing")


def test_test_controls_it_through_pipes_and_signals() -> None:
    code = "import sys\nprint('ready', flush=True)\nfor line in sys.stdin: print(line, flush=True)"

    with warm.Popen(
        [*PYTHON, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGSTOP)
        stopped = os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        assert stopped is not None
        assert stopped.si_status == signal.SIGSTOP
        process.send_signal(signal.SIGCONT)
        assert process.poll() is None
        process.stdin.write("said\n")
        process.stdin.flush()
        assert process.stdout.readline() == "said\n"

        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)

        process.send_signal(signal.SIGINT)
        assert re.search(r"^KeyboardInterrupt$", process.stderr.read(), re.MULTILINE)
        assert process.wait() == -signal.SIGINT

    # Its id is free.
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_pipes_end_with_the_process_that_has_them() -> None:
    # The second one, and the server, would keep the first one's open.
    wait = [*PYTHON, "-c", "import sys; sys.stdin.read()"]

    with (
        warm.Popen(wait, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first,
        warm.Popen(wait, stdin=subprocess.PIPE, text=True) as second,
    ):
        assert first.stdin is not None
        assert first.stdout is not None
        first.stdin.close()
        assert first.stdout.read() == ""
        assert first.wait() == 0
        assert second.poll() is None


def test_only_a_new_python_is_asked_for_what_is_unusual() -> None:
    code = "import sys; sys.exit('flask' in sys.modules)"
    asked: list[tuple[list[str], dict[str, t.Any]]] = [
        (["-I"], {}),
        (["-X", "dev"], {}),
        ([], {"env": {**os.environ, "PYTHONHASHSEED": "1"}}),
        ([], {"preexec_fn": lambda: None}),
        ([], {"close_fds": False}),
    ]

    for flags, options in asked:
        assert warm.run([sys.executable, *flags, "-c", code], **options).returncode == 0
