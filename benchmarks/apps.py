"""The apps that :mod:`benchmarks.servers` runs: a page with three reads.

The web server imports :func:`flask_app` or :func:`quart_app`. The environment variable
:data:`VARIABLE` says which contestant makes the reads: a JSON array of its module, the address of
DynamoDB, its options, and the harness's process id. The web server ends when the harness ends.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import threading
import time
import typing as t

from .contestants.calls import Calls
from .worker import versions

if t.TYPE_CHECKING:
    import flask
    import quart

VARIABLE = "BENCH_PAGE"
#: How many items the page's query and its batch give.
QUERIED = 20
BATCHED = 10
#: An element of the page for each item of the query and of the batch.
ROW = "<li>"
_TEMPLATE = """\
<!doctype html>
<title>{{ customer.name }}</title>
<h1>{{ customer.name }}, {{ customer.age }}</h1>
<p>{{ customer.bio }}</p>
<ul>
{% for order in orders %}<li>{{ order.sk }}: {{ order.name }}, {{ order.score }}
{% endfor %}</ul>
<ul>
{% for other in others %}<li>{{ other.sk }}: {{ other.name }}, {{ other.active }}
{% endfor %}</ul>
"""


def flask_app() -> flask.Flask:
    """A Flask app with the page and with its server's figures."""
    import flask

    app = flask.Flask("bench")
    # Compile it once, as templates in files are.
    template: t.Any = app.jinja_env.from_string(_TEMPLATE)
    module, url, options = _given()
    stack = contextlib.ExitStack()
    calls: Calls = (
        module.install(app, url, **options)
        if hasattr(module, "install")
        else module.connect(url, stack, **options)
    )

    @app.get("/")
    def page() -> str:
        return flask.render_template(
            template, customer=calls.get(), orders=calls.query(), others=calls.batch()
        )

    app.add_url_rule("/figures", view_func=_figures)
    return app


def quart_app() -> quart.Quart:
    """A Quart app with the page and with its server's figures."""
    import quart

    app = quart.Quart("bench")
    # Compile it once, as templates in files are.
    template: t.Any = app.jinja_env.from_string(_TEMPLATE)
    module, url, options = _given()
    stack = contextlib.AsyncExitStack()
    calls: Calls

    if hasattr(module, "install"):
        calls = module.install(app, url, **options)
    else:

        @app.before_serving
        async def connect() -> None:
            nonlocal calls
            calls = await module.connect(url, stack, **options)

        app.after_serving(stack.aclose)

    @app.get("/")
    async def page() -> str:
        return await quart.render_template(
            template,
            customer=await calls.get(),
            orders=await calls.query(),
            others=await calls.batch(),
        )

    app.add_url_rule("/figures", view_func=_figures)
    return app


def _given() -> tuple[t.Any, str, dict[str, t.Any]]:
    module, url, options, harness = json.loads(os.environ[VARIABLE])
    threading.Thread(target=_end_with, args=[harness], daemon=True).start()
    return (
        importlib.import_module(f".contestants.{module}", __package__),
        url,
        {**options, "keys": BATCHED},
    )


def _end_with(harness: int) -> None:
    """Wait until the harness has ended, in whatever way, and end the web server then."""
    with contextlib.suppress(ProcessLookupError):
        select.select([os.pidfd_open(harness)], [], [])

    # This is the worker process, whose parent is the web server's.
    os.kill(os.getppid(), signal.SIGTERM)


def _figures() -> dict[str, t.Any]:
    """The CPU time of this process so far, in seconds, and its releases."""
    return {"cpu_seconds": time.process_time(), "versions": versions()}
