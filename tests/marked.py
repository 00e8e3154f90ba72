"""The processes of a test, found through ``/proc`` by a variable that they have inherited."""

from __future__ import annotations

import collections.abc as cabc
import pathlib
import time

_DEADLINE = 100.0


def processes(mark: str) -> list[int]:
    """The ids of the processes that live, in their order.

    :param mark: The variable and its value: ``NAME=VALUE``.
    """
    ids = sorted(int(path.name) for path in pathlib.Path("/proc").glob("[0-9]*"))
    return [pid for pid in ids if mark.encode() in _read(pid, "environ").split(b"\0")]


def command(pid: int) -> list[str]:
    """The command line of a process; empty if it has ended.

    :param pid: Its id.
    """
    return _read(pid, "cmdline").decode().split("\0")[:-1]


def wait_until(condition: cabc.Callable[[], bool], seconds: float = _DEADLINE) -> None:
    """Wait until a condition holds, in a thread.

    :param condition: The condition.
    :param seconds: Longest wait, in seconds.
    """
    deadline = time.monotonic() + seconds

    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _read(pid: int, name: str) -> bytes:
    # A process may end meanwhile, or be someone else's.
    try:
        return pathlib.Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
