"""The two apps, and the state that each reports."""

from __future__ import annotations

import asyncio
import contextvars
import os
import pathlib
import threading
import time
import typing as t

from flask import Flask
from flask.sansio.app import App
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.signals import pre_dynamodb_send
from quart import Quart

from dynamo_ext_async import CallTimeout
from dynamo_ext_async import Model
from dynamo_ext_async import PoolTimeout
from dynamo_ext_async import PynamoDB

POOL = 3
ENDPOINT = "SOAK_ENDPOINT"
_LISTEN = "0A"
SETTINGS = {
    "DYNAMODB_REGION": "us-east-1",
    "DYNAMODB_AWS_ACCESS_KEY_ID": "AKIDOFTHESOAK",
    "DYNAMODB_AWS_SECRET_ACCESS_KEY": "secret-of-the-soak",
    "DYNAMODB_BASE_BACKOFF_MS": 10,
    "DYNAMODB_MAX_RETRY_ATTEMPTS": 2,
    "DYNAMODB_CALL_TIMEOUT_SECONDS": 8,
    "DYNAMODB_MAX_POOL_CONNECTIONS": POOL,
    "DYNAMODB_POOL_TIMEOUT_SECONDS": 4,
    "DYNAMODB_READ_TIMEOUT_SECONDS": 3,
}

db = PynamoDB()
_written: contextvars.ContextVar[str] = contextvars.ContextVar("written")
_cancelled: dict[str, float] = {}
_begun: dict[str, float] = {}


class Item(Model):
    class Meta:
        table_name = "soak"

    id = UnicodeAttribute(hash_key=True)
    number = NumberAttribute()


def set_up(app: App, **settings: t.Any) -> None:
    """Give an app its settings and its error handlers."""
    app.config.from_mapping({**SETTINGS, "DYNAMODB_HOST": os.environ[ENDPOINT], **settings})
    db.init_app(app)

    @app.errorhandler(PoolTimeout)
    @app.errorhandler(CallTimeout)
    def time_out(error: Exception) -> tuple[dict[str, str], int]:
        return {"error": type(error).__name__}, 503


def state() -> dict[str, t.Any]:
    """The resources that this process holds, and the statistics of its calls."""
    stats = db.pool.stats()
    status = pathlib.Path("/proc/self/status").read_text()
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return {
        # A call that waits between two attempts has no slot.
        "in_flight": db.connection.policy.in_flight.count,
        "in_use": stats.in_use,
        "waiting": stats.waiting,
        "calls": stats.calls,
        "errors": stats.errors,
        "retries": stats.retries,
        "timeouts": stats.timeouts,
        "threads": threading.active_count(),
        "descriptors": descriptors(),
        "megabytes": int(resident.split()[1]) / 1024,
        "cancelled": len(_cancelled),
        "late": {
            id: _begun[id] - when
            for id, when in list(_cancelled.items())
            if id in _begun and _begun[id] > when
        },
    }


def descriptors() -> int:
    """The number of open file descriptors, without the connections of the server's clients.

    Those are not counted, because the server closes them at a time of its own choice.
    """
    with os.scandir("/proc/self/fd") as entries:
        links = [link for entry in entries if (link := _link(entry.path)) is not None]

    rows = [row.split() for row in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{row[9]}]": (row[1], row[3]) for row in rows}
    listening = {address for address, state in sockets.values() if state == _LISTEN}
    return sum(sockets.get(link, ("", ""))[0] not in listening for link in links)


def _link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def note_begin(sender: t.Any, operation_name: str, **signal: t.Any) -> None:
    """Record, in the worker thread, when the call for an item began."""
    if operation_name == "PutItem":
        _begun.setdefault(_written.get(), time.monotonic())


def make_web() -> Flask:
    app = Flask("web")
    set_up(app, DYNAMODB_POOL_TIMEOUT_SECONDS=0.3)
    app.get("/state")(state)

    @app.post("/items/<id>/<int:number>")
    def write(id: str, number: int) -> str:
        Item(id, number=number).save()
        return "written"

    @app.get("/items/<id>")
    def read(id: str) -> dict[str, t.Any]:
        return Item.get_or_404(id, consistent_read=True).to_simple_dict()

    return app


def make_api() -> Quart:
    app = Quart("api")
    set_up(app)
    pre_dynamodb_send.connect(note_begin)
    app.get("/state")(state)

    @app.post("/items/<id>/<int:number>")
    async def write(id: str, number: int) -> str:
        _written.set(id)

        try:
            await Item(id, number=number).asave()
        except asyncio.CancelledError:
            _cancelled[id] = time.monotonic()
            raise

        return "written"

    @app.get("/items/<id>")
    async def read(id: str) -> dict[str, t.Any]:
        item = await Item.aget_or_404(id, consistent_read=True)
        return item.to_simple_dict()

    return app
