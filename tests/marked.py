"""The processes of a test, found through ``/proc`` by a variable that they have inherited."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import pathlib
import time

_DEADLINE = 100.0
_READS = 500
_PF_KTHREAD = 0x00200000


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
    directory = pathlib.Path(f"/proc/{pid}")

    # A process may end meanwhile, or be someone else's.
    with contextlib.suppress(OSError):
        # Between two programs (exec), a process has neither a command line nor an environment for
        # a moment. Some have none as long as they live.
        for _ in range(_READS):
            if (content := (directory / name).read_bytes()) or not _runs_a_program(directory):
                return content

            time.sleep(0.002)

    return b""


def _runs_a_program(directory: pathlib.Path) -> bool:
    # See proc_pid_stat(5). A thread of the kernel never has any.
    state, *numbers = (directory / "stat").read_text().rpartition(")")[2].split()
    return state not in ("Z", "X") and not int(numbers[5]) & _PF_KTHREAD
