"""A Flask app that makes calls while it is loaded, which may be before its workers are forked."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import typing as t

from flask import Flask

from apps import web
from apps.models import Todo
from apps.models import db


def create_app() -> Flask:
    app = web.create_app()

    with app.app_context():
        Todo.get("while the app is loaded")

    @app.get("/awaited/<id>")
    async def show_awaited(id: str) -> dict[str, t.Any]:
        return (await Todo.aget(id)).to_simple_dict()

    @app.get("/process")
    def process() -> dict[str, t.Any]:
        # So that another worker gets the next request.
        time.sleep(0.02)
        return {
            "id": os.getpid(),
            "in_use": db.pool.in_use,
            "waiting": db.pool.waiting,
            "threads": len(os.listdir("/proc/self/task")),
            "descriptors": len(os.listdir("/proc/self/fd")),
        }

    return app


def create_awaiting_app() -> Flask:
    """The same app, after awaited calls, which leave threads or the hub behind."""
    app = create_app()

    with app.app_context():
        asyncio.run(_await())

    # uWSGI may fork before they have ended. Without fork hooks, Python waits for them in the worker
    # when that is to stop, until uWSGI kills it a minute later.
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.main_thread():
            thread.join()

    # A thread that has left that list may hold a lock of the interpreter for a moment more. A
    # worker that is forked then, without fork hooks, can't start a thread any more.
    deadline = time.monotonic() + 10

    while len(os.listdir("/proc/self/task")) > threading.active_count():
        assert time.monotonic() < deadline
        time.sleep(0.001)

    return app


async def _await() -> None:
    await asyncio.gather(*(Todo.aget(f"{number} while the app is loaded") for number in range(5)))
