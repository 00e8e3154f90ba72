"""Servers as child processes, for the examples that start several. Nothing outlives its parent.

As a program, it runs a command, and ends it when its own standard input is closed:
``python -m examples.serving COMMAND ARGUMENTS``.
"""

from __future__ import annotations

import argparse
import collections.abc as cabc
import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import typing as t

HOST = "127.0.0.1"
STOP_DEADLINE = 5.0


class Failure(Exception):
    """The example can't continue. The message says why."""


class Stop:
    """Records whether Ctrl-C was pressed or an equivalent signal has arrived.

    The flag is checked between two steps. An exception could be raised after a process was started
    and before its id was stored, and would leave the process running.
    """

    def __init__(self) -> None:
        self.requested = False

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._request)

    def _request(self, *signal_and_frame: object) -> None:
        self.requested = True


class Server(t.NamedTuple):
    """One app in a process of its own."""

    name: str
    url: str
    process: subprocess.Popen[bytes]


def port(text: str) -> int:
    """The number of a port on the command line."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a valid port: give a number from 0 to 65535"
        )

    return int(text)


def listen(option: str, number: int) -> socket.socket:
    """Open a port of the loopback interface.

    :param option: The option that chooses the port, for the message.
    :param number: The port; 0 for a free one.
    :raises Failure: if the port can't be opened.
    """
    try:
        return socket.create_server((HOST, number))
    except OSError as error:
        in_use = error.errno == errno.EADDRINUSE
        reason = "is in use" if in_use else f"can't be opened ({error.strerror})"
        raise Failure(f"port {number} {reason}; choose another with {option} N") from None


def url_of(listener: socket.socket) -> str:
    """The address of an open port."""
    return f"http://{HOST}:{listener.getsockname()[1]}"


@contextlib.contextmanager
def serving(
    name: str,
    command: cabc.Sequence[str],
    listener: socket.socket,
    *,
    environment: cabc.Mapping[str, str],
    stop_deadline: float = STOP_DEADLINE,
) -> cabc.Iterator[Server]:
    """Run a server as a child process, on a port that is open already.

    :param name: What the server is called in messages.
    :param command: What runs the server. It ends when its standard input is closed.
    :param listener: The open port. The server inherits it, and it is closed in this process.
    :param environment: The server's environment variables.
    :param stop_deadline: After how many seconds the server is killed, if it does not end.
    :return: A context manager that gives the server, and ends it after the block.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        env=environment,
        pass_fds=[listener.fileno()],
        # Ctrl-C in the terminal must reach only this process, which then ends the others.
        start_new_session=True,
    )
    url = url_of(listener)
    listener.close()

    try:
        yield Server(name, url, process)
    finally:
        _end(process, stop_deadline)


def guarded(*command: str) -> list[str]:
    """A command that does the same, and also ends when its standard input is closed."""
    return [sys.executable, "-m", __name__, *command]


def watch(servers: cabc.Sequence[Server], stop: Stop) -> None:
    """Wait for Ctrl-C.

    :param servers: The running servers.
    :param stop: Records Ctrl-C.
    :raises Failure: if one of the servers ends first.
    """
    while not stop.requested:
        time.sleep(0.1)

        for server in servers:
            if (code := server.process.poll()) is not None:
                raise Failure(f"the {server.name} has ended, with exit code {code}")


def when_input_ends(stop: cabc.Callable[[], object]) -> None:
    """Call a function, in a thread, when standard input is closed."""

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass

        stop()

    threading.Thread(target=wait, daemon=True).start()


def say(line: str) -> None:
    print(line, flush=True)


def _end(process: subprocess.Popen[bytes], deadline: float) -> None:
    """End a server by closing its input, and kill what is left of it after the deadline."""
    t.cast("t.IO[bytes]", process.stdin).close()

    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(deadline)

    # The whole session: if a guard was killed, its command still runs.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)

    process.wait()


def _guard(command: cabc.Sequence[str]) -> int:
    # The command inherits the open port.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, close_fds=False)
    when_input_ends(process.terminate)
    code = process.wait()
    # As a shell reports that a signal has ended a command.
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(_guard(sys.argv[1:]))
