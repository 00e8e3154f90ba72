"""Serves the Quart app with Hypercorn: ``python -m examples.mixed.serve_live --bind ADDRESS``.

When Hypercorn's own command is to stop, it waits for open streams, and the app does not know yet
that it should end them. So this passes Hypercorn a trigger, which tells the app first.
"""

from __future__ import annotations

import argparse
import asyncio
import signal

import hypercorn.asyncio
import hypercorn.config
from quart import Quart

from . import live


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.mixed.serve_live")
    parser.add_argument("--bind", default="127.0.0.1:5001", metavar="ADDRESS")
    options = parser.parse_args()
    config = hypercorn.config.Config()
    config.bind = [options.bind]
    config.loglevel = "WARNING"
    asyncio.run(serve(live.create_app(), config))


async def serve(app: Quart, config: hypercorn.config.Config) -> None:
    """Serve an app until SIGINT or SIGTERM.

    :param app: The app.
    :param config: Hypercorn's settings.
    """
    requested = asyncio.Event()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, requested.set)

    async def end_streams() -> None:
        await requested.wait()
        # Quart sets it, too, but only after Hypercorn has waited for the streams.
        app.shutdown_event.set()

    await hypercorn.asyncio.serve(app, config, shutdown_trigger=end_streams)


if __name__ == "__main__":
    main()
