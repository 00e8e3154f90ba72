"""A Flask app whose views say what was seen of them: the calls of the request, and its spans."""

from __future__ import annotations

import os
import typing as t

from flask import Flask
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from apps import preloaded
from apps.models import Todo
from dynamo_ext import get_recorded_calls
from dynamo_ext.opentelemetry import instrument

Json = dict[str, t.Any]

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
tracer = provider.get_tracer("tests")


def create_app() -> Flask:
    """Create the app, which makes calls, some of them awaited, before its workers are forked."""
    instrument(tracer_provider=provider)
    app = preloaded.create_awaiting_app()

    @app.get("/observed/<id>")
    def observe(id: str) -> Json:
        with tracer.start_as_current_span("view") as view:
            Todo.get(id)
            list(Todo.query(id))

        return _seen_in(view.get_span_context())

    @app.get("/observed-awaited/<id>")
    async def observe_awaited(id: str) -> Json:
        with tracer.start_as_current_span("view") as view:
            await Todo.aget(id)
            _ = [todo async for todo in Todo.aquery(id)]

        return _seen_in(view.get_span_context())

    return app


def _seen_in(view: t.Any) -> Json:
    finished: list[t.Any] = [*exporter.get_finished_spans()]
    spans = [span for span in finished if span.context.trace_id == view.trace_id]
    return {
        "process": os.getpid(),
        "calls": [call.operation for call in get_recorded_calls()],
        "spans": [span.name for span in spans if span.name != "view"],
        "parents": [span.parent.span_id == view.span_id for span in spans if span.parent],
    }
