"""What it costs to see a call: to record it, and to trace and count it with OpenTelemetry."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import typing as t

import flask
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.export import SpanExportResult

from dynamo_ext import Model
from dynamo_ext import PynamoDB
from dynamo_ext.opentelemetry import instrument
from dynamo_ext.opentelemetry import uninstrument

from . import stub
from .comparison import Comparison
from .contestants import models
from .contestants.calls import HASH_KEY
from .contestants.calls import range_key

Get = cabc.Callable[[], object]

# Few enough for no advice, and more than one: what is done once for each request is no part of a
# call.
_CALLS = 5


def comparisons(stack: contextlib.ExitStack) -> cabc.Iterator[Comparison]:
    """Some GetItem calls in a request that nothing sees, and some that are seen."""
    (model,) = models.define(Model)
    server = stack.enter_context(stub.running([]))

    # On the other transport, the call itself costs a quarter of that.
    for transport, most in (("botocore", 1.05), ("auto", None)):
        plain = _getting(model, server.url(0), transport, record_calls=False)
        recorded = _getting(model, server.url(0), transport, record_calls=True)
        yield Comparison(f"{_CALLS} GetItem on {transport}, recorded", plain, recorded, most)

    for name, around in (("without an SDK", _api), ("with an SDK", _sdk)):
        yield Comparison(f"{_CALLS} GetItem on auto, traced {name}", plain, plain, None, around)


def _getting(model: t.Any, url: str, transport: str, *, record_calls: bool) -> Get:
    app = flask.Flask("bench")
    app.config.from_mapping(models.settings(url, 10, transport), DYNAMODB_RECORD_CALLS=record_calls)
    PynamoDB(app)

    def get() -> object:
        with app.test_request_context():
            return [model.get(HASH_KEY, range_key(1)) for _ in range(_CALLS)]

    return get


@contextlib.contextmanager
def _api() -> cabc.Iterator[None]:
    instrument()
    yield
    uninstrument()


@contextlib.contextmanager
def _sdk() -> cabc.Iterator[None]:
    """Spans go in batches to an exporter that drops them, metrics to memory."""
    tracers = TracerProvider()
    tracers.add_span_processor(BatchSpanProcessor(_Nowhere()))
    meters = MeterProvider([InMemoryMetricReader()])
    instrument(tracer_provider=tracers, meter_provider=meters)
    yield
    uninstrument()
    tracers.shutdown()
    meters.shutdown()


class _Nowhere(SpanExporter):
    def export(self, spans: t.Any) -> SpanExportResult:
        return SpanExportResult.SUCCESS
