"""A Python that a test talks with while it runs."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import os
import signal
import subprocess
import sys
import typing as t

import engines
import warm


class Interpreter:
    """A running Python."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def next_line(self) -> str:
        """What it prints next."""
        return t.cast("t.IO[str]", self._process.stdout).readline().strip()

    def say(self, line: str) -> None:
        """Write to its standard input."""
        stdin = t.cast("t.IO[str]", self._process.stdin)
        stdin.write(line + "\n")
        stdin.flush()

    def pause(self) -> None:
        """Stop it where it is, and wait until it stands still."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)

    def resume(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> str:
        """Wait until it has ended, without a failure; give what else it has printed."""
        output, errors = self._process.communicate(timeout=100)
        assert self._process.returncode == 0, errors
        return output


@contextlib.contextmanager
def running(code: str, *arguments: str) -> cabc.Generator[Interpreter]:
    """Run code in a warm Python that treats warnings as errors, at most for this block."""
    process: warm.Popen[str] = warm.Popen(
        [sys.executable, "-P", "-W", "error", "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=engines.python_environment(),
    )

    with process:
        try:
            yield Interpreter(process)
        finally:
            process.kill()
