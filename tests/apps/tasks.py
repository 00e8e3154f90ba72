"""A worker of Celery whose tasks run in the context of a Flask app."""

from __future__ import annotations

import os
import time
import typing as t

import celery  # type: ignore[import-untyped]
import celery.exceptions  # type: ignore[import-untyped]
from pynamodb.exceptions import PynamoDBException

from apps import web
from apps.models import Todo
from apps.models import db

_LONGEST_TASK = 2

# In the parent of the processes that run the tasks.
flask_app = web.create_app(DYNAMODB_BASE_BACKOFF_MS=0)


class AppTask(celery.Task):  # type: ignore[misc]
    """A task in the context of the app."""

    def __call__(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
        with flask_app.app_context():
            return self.run(*args, **kwargs)


tasks: t.Any = celery.Celery(
    "tasks",
    task_cls=AppTask,
    broker=os.environ["BROKER"],
    backend=os.environ["RESULTS"],
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "data_folder_in": os.environ["QUEUE"],
        "data_folder_out": os.environ["QUEUE"],
        "control_folder": os.environ["QUEUE"],
    },
    worker_hijack_root_logger=False,
)


def show(id: str) -> list[t.Any]:
    return [Todo.get(id).id, os.getpid()]


def exceed_the_limit(id: str) -> list[t.Any]:
    """Make calls, until Celery's handler of a signal raises within one of them."""
    wrong: list[str] = []
    interrupted = False
    end = time.monotonic() + _LONGEST_TASK

    try:
        # botocore takes what is raised within it for a failed attempt, and may try again.
        while time.monotonic() < end:
            key = f"{id}-{time.monotonic_ns()}"

            if (found := Todo.get(key).id) != key:
                wrong.append(f"{key}: {found}")
    except (celery.exceptions.SoftTimeLimitExceeded, PynamoDBException):
        interrupted = True

    return [interrupted, wrong, db.pool.in_use, Todo.get(id).id]


for function in (show, exceed_the_limit):
    tasks.task(function)
