"""Serves one of the apps on a socket that is open already. Each server process of the demo runs it.

The process ends when its standard input is closed. So it never outlives its parent, and needs no
signal.
"""

from __future__ import annotations

import asyncio
import logging
import sys

from ..serving import HOST
from ..serving import when_input_ends


def serve_web(descriptor: int) -> None:
    from werkzeug.serving import make_server

    from . import web

    # Log only errors, not a line for each request.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = make_server(HOST, 0, web.create_app(), threaded=True, fd=descriptor)
    when_input_ends(server.shutdown)
    server.serve_forever()


def serve_api(descriptor: int) -> None:
    import hypercorn.asyncio
    import hypercorn.config

    from . import api

    config = hypercorn.config.Config()
    config.bind = [f"fd://{descriptor}"]
    config.loglevel = "WARNING"
    config.graceful_timeout = 1

    async def serve() -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        when_input_ends(lambda: loop.call_soon_threadsafe(ended.set))
        await hypercorn.asyncio.serve(api.create_app(), config, shutdown_trigger=ended.wait)

    asyncio.run(serve())


if __name__ == "__main__":
    {"web": serve_web, "api": serve_api}[sys.argv[1]](int(sys.argv[2]))
