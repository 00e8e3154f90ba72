"""Ports for servers that have to be told theirs, and for those that have to be missing."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import socket

_FIRST = 20_000
_OF_A_WORKER = 500
_WORKERS = 24
"""Up to 32,000: no system gives a port there to who asks for any, or to a client. One of those
would be somebody else's at times, as soon as it is closed."""

_PORT = re.compile(r"(?<=127\.0\.0\.1:)\d{4}|(?<=--port )\d{4}")
_numbers = itertools.count()


def free_port() -> int:
    """A port on which nothing listens, and which nobody else gets while this test runs.

    :raises OSError: There is none.
    """
    # The process that starts the workers is one more.
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw-1").removeprefix("gw")) + 1
    first = _FIRST + worker % _WORKERS * _OF_A_WORKER

    for _ in range(_OF_A_WORKER):
        port = first + next(_numbers) % _OF_A_WORKER

        with contextlib.suppress(OSError), socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
            return port

    raise OSError(f"none of the ports from {first} to {first + _OF_A_WORKER - 1} is free")


def with_free_ports(text: str) -> tuple[str, dict[str, str]]:
    """A page of the docs whose ports are free ones.

    :param text: The page.
    :return: The page, and which port has taken the place of which.
    """
    free = {port: str(free_port()) for port in set(_PORT.findall(text))}
    return _PORT.sub(lambda match: free[match[0]], text), free
