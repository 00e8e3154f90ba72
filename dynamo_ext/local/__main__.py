"""``python -m dynamo_ext.local``: run the embedded engine as a server of its own."""

from __future__ import annotations

import argparse
import collections.abc as cabc
import contextlib
import secrets
import signal
import sys
import types

from ..errors import ConfigError
from . import launcher
from .server import EngineServer


def main(arguments: cabc.Sequence[str] | None = None) -> None:
    """Run an engine in this process until Ctrl-C or SIGTERM; print its URL once it answers.

    :param arguments: The command line. Default: that of this process.
    """
    parser = argparse.ArgumentParser(
        prog="python -m dynamo_ext.local",
        description="Run the embedded engine by itself, print its address, and serve until Ctrl-C."
        " Its data are kept in memory.",
    )
    parser.add_argument("--port", type=int, default=0, help="default: a free port")
    port: int = parser.parse_args(arguments).port

    try:
        launcher.require_extra()
        server = EngineServer(port, secrets.token_hex(16))
    except ConfigError as error:
        parser.exit(1, f"{error}\n")
    except (OSError, OverflowError) as error:
        parser.exit(1, f"cannot listen on port {port}: {error}\n")

    signal.signal(signal.SIGTERM, _exit)

    with contextlib.suppress(KeyboardInterrupt):
        server.serve(on_ready=lambda: print(server.url, flush=True))


def _exit(number: int, frame: types.FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main()
