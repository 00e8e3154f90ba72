"""``python -m dynamo_ext.local``: run the embedded engine as a server of its own."""

from __future__ import annotations

import argparse
import collections.abc as cabc
import contextlib
import pathlib
import secrets
import signal
import sys
import types

from ..errors import ConfigError
from . import sharing
from . import starting
from .server import EngineServer
from .sharing import CannotListen


def main(arguments: cabc.Sequence[str] | None = None) -> None:
    """Run an engine in this process until Ctrl-C or SIGTERM; print its URL once it answers.

    :param arguments: The command line. Default: that of this process.
    """
    parser = argparse.ArgumentParser(
        prog="python -m dynamo_ext.local",
        description="Run the embedded engine by itself, print its address, and serve until Ctrl-C."
        " Its data are kept in memory, or in a file.",
    )
    parser.add_argument("--port", type=int, default=0, help="default: a free port")
    parser.add_argument(
        "--file",
        metavar="FILE",
        help="keep the tables in this file, and share them with all processes that name it:"
        " 'local:////absolute/path' in DYNAMODB_HOST",
    )
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _exit)

    try:
        with contextlib.suppress(KeyboardInterrupt):
            if options.file is None:
                serve(options.port)
            else:
                serve_file(pathlib.Path(options.file), options.port)
    except (ConfigError, CannotListen, RuntimeError) as error:
        parser.exit(1, f"{error}\n")
    except OSError as error:
        parser.exit(1, f"the embedded engine cannot be served: {error}\n")


def serve(port: int) -> None:
    """Serve an engine that keeps its data in memory, in this process.

    :param port: The port; 0 for a free one.
    :raises ConfigError: if the extra ``local`` is not installed.
    :raises CannotListen: if the port is taken, or can't be one.
    """
    starting.require_extra()

    try:
        server = EngineServer(port, secrets.token_hex(16))
    except (OSError, OverflowError) as error:
        raise CannotListen(port, error) from error

    server.serve(on_ready=lambda: print(server.url, flush=True))


def serve_file(file: pathlib.Path, port: int) -> None:
    """Serve the engine of a file, which all processes that name the file share.

    :param file: The file. It is created if needed.
    :param port: The port; 0 for the engine's own.
    :raises ConfigError: if the file cannot be used, or the extra ``local`` is not installed.
    :raises CannotListen: if the port is taken, or can't be one.
    :raises OSError: if the file cannot be found out, as where its folder may not be read.
    :raises RuntimeError: if the engine cannot be started or reached, or ends.
    """
    with sharing.serving(file.resolve(), port) as served:
        print(served.url, flush=True)
        served.wait()
        raise RuntimeError("the embedded engine has died; start it again, nothing is lost")


def _exit(number: int, frame: types.FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main()
