"""How a process starts an engine: the server's file, run by an interpreter of its own."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import typing as t

from ..errors import ConfigError
from ..printable import escaped
from . import server

START_TIMEOUT = 30.0
"""How long an engine may take until it listens, in seconds."""

_LOG_TAIL = 2000
_MODULES_OF_EXTRA = ("moto", "flask_cors")


def require_extra() -> None:
    """Check that the extra ``local`` is installed.

    :raises ConfigError: if it is not.
    """
    if missing := missing_modules():
        raise ConfigError(f"'DYNAMODB_HOST' is 'local://', {not_installed(missing)}")


def not_installed(missing: list[str]) -> str:
    """What to do about the modules that are missing, as the rest of a message.

    :param missing: Their names.
    """
    return (
        f"the embedded engine, but it is not installed ({' and '.join(missing)} cannot be"
        ' imported). Run: pip install "dynamo-ext[local]"'
    )


def missing_modules() -> list[str]:
    """The modules of the extra ``local`` that are not installed."""
    return [name for name in _MODULES_OF_EXTRA if importlib.util.find_spec(name) is None]


def import_path() -> list[str]:
    """Where the server finds what is installed here."""
    return [os.path.abspath(entry) for entry in sys.path]


def run_server(request: str, log: pathlib.Path) -> str:
    """Run the server's file until it has left an engine running.

    :param request: What it reads from standard input.
    :param log: The file for its standard error.
    :return: What it wrote to standard output.
    :raises OSError: if the interpreter cannot be run.
    :raises subprocess.TimeoutExpired: if it takes longer than :data:`START_TIMEOUT`.
    """
    # Files and not pipes: a process forked meanwhile could keep the other end of a pipe open.
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
            timeout=START_TIMEOUT,
        )
        stdout.seek(0)
        return stdout.read()


def reason(log: pathlib.Path, error: Exception | None = None) -> str:
    """Why an engine did not start, for a message.

    :param log: The file for its standard error.
    :param error: What was raised in this process.
    """
    if said := end_of_log(log):
        return said

    # As where this process has too many files open, or the disk is full.
    return escaped(error) if isinstance(error, OSError) else "it has said nothing"


def end_of_log(log: pathlib.Path) -> str:
    """The end of an engine's log, for a message.

    :param log: The file.
    :return: The text, escaped. It is empty if the engine has said nothing.
    """
    text = log.read_text(errors="replace")[-_LOG_TAIL:].strip() if log.exists() else ""
    # Indented, so that no further line can be taken for one of the app's own log.
    return "\n    ".join(map(escaped, text.splitlines()))


def directory() -> pathlib.Path:
    """The directory that this user's processes share. No other user may put an address there.

    :raises RuntimeError: if there is none, it can't be written to, or another user can write to it.
    """
    try:
        return _make_directory()
    except OSError as error:
        raise RuntimeError(
            f"the embedded engine needs a directory for temporary files: {error}. Set TMPDIR to a"
            " directory that exists and that this process can write to."
        ) from error


def _temporary_file() -> t.IO[str]:
    return tempfile.TemporaryFile("w+", encoding="ascii", dir=directory())


def _make_directory() -> pathlib.Path:
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
