"""Spans and metrics of OpenTelemetry for each call, on every transport.

This needs OpenTelemetry's API, which the extra ``opentelemetry`` installs. The names are those of
https://opentelemetry.io/docs/specs/semconv/db/dynamodb/.
"""

from __future__ import annotations

import collections
import collections.abc as cabc
import contextvars
import importlib.metadata
import json
import re
import typing as t
import urllib.parse

try:
    from opentelemetry import context as otel_context
    from opentelemetry import metrics
    from opentelemetry import trace
except ModuleNotFoundError as _error:
    raise ImportError(
        f"'dynamo_ext.opentelemetry' needs {_error.name!r}, which is not installed. Install the"
        ' extra: pip install "dynamo-ext[opentelemetry]"'
    ) from _error

from .calls import observation
from .calls.observation import Json
from .calls.observation import Observed
from .calls.observation import Server
from .calls.pool import Pool
from .client import engine

__all__ = ["instrument", "uninstrument"]

Attributes = dict[str, t.Any]

_NAME = "dynamo_ext"
_SYSTEM = "aws.dynamodb"
_PORTS = {"http": 80, "https": 443}
_DURATION_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
_ROW_BUCKETS = (1.0, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
# What the OpenTelemetry API suppresses all instrumentation by: exporters set the first, users both.
_SUPPRESSED: tuple[str, ...] = (
    t.cast(t.Any, otel_context)._SUPPRESS_INSTRUMENTATION_KEY,
    "suppress_instrumentation",
)
# What the server sends is text of its own, also where a code is expected.
_CODE = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,99}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,128}")
_OTHER = "_OTHER"

# By the parameter or part of the reply: what the conventions call it, and its type.
_OF_PARAMS: dict[str, tuple[str, type]] = {
    "ConsistentRead": ("consistent_read", bool),
    "ExclusiveStartTableName": ("exclusive_start_table", str),
    "IndexName": ("index_name", str),
    "Limit": ("limit", int),
    "ScanIndexForward": ("scan_forward", bool),
    "Segment": ("segment", int),
    "Select": ("select", str),
    "TotalSegments": ("total_segments", int),
}
_OF_REPLY: dict[str, tuple[str, type]] = {
    "Count": ("count", int),
    "ScannedCount": ("scanned_count", int),
}

_OF_SEVERAL_TABLES = ("Batch", "Transact")

_instrumentation: _Instrumentation | None = None


def instrument(
    *,
    tracer_provider: trace.TracerProvider | None = None,
    meter_provider: metrics.MeterProvider | None = None,
) -> None:
    """Record a span and metrics of each call of this process, from the next one on.

    Called again, it changes nothing but the providers that are given then.

    :param tracer_provider: What provides the tracer; ``None`` for the one given before, or else the
        global one, which may also be set later.
    :param meter_provider: The same for the meter.
    :raises TypeError: if a provider is not one.
    """
    global _instrumentation
    _check("tracer_provider", tracer_provider, "get_tracer")
    _check("meter_provider", meter_provider, "get_meter")
    before = _instrumentation

    if before is not None:
        tracer_provider = tracer_provider or before.tracer_provider
        meter_provider = meter_provider or before.meter_provider

    if before is None or (tracer_provider, meter_provider) != (
        before.tracer_provider,
        before.meter_provider,
    ):
        _instrumentation = _Instrumentation(tracer_provider, meter_provider, before)
        observation.observe(_instrumentation)


def uninstrument() -> None:
    """Undo :func:`instrument`. Calls that are under way still get their spans."""
    global _instrumentation
    observation.observe(None)
    _instrumentation = None


def _check(name: str, provider: object, method: str) -> None:
    if provider is not None and not callable(getattr(provider, method, None)):
        raise TypeError(
            f"'{name}' must be a provider, with a method '{method}', or None; it is"
            f" {type(provider).__name__!r}."
        )


class _Instrumentation:
    """An observer of calls that makes spans and metrics of them.

    :param tracer_provider: What provides the tracer; ``None`` for the global one.
    :param meter_provider: What provides the meter; ``None`` for the global one.
    :param before: The instrumentation before, whose instruments are used for the same meter.
    """

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None,
        meter_provider: metrics.MeterProvider | None,
        before: _Instrumentation | None,
    ) -> None:
        self.tracer_provider = tracer_provider
        self.meter_provider = meter_provider
        version = importlib.metadata.version("dynamo-ext")
        self._tracer = trace.get_tracer(_NAME, version, tracer_provider)

        if before is not None and before.meter_provider is meter_provider:
            self._instruments: _Instruments = before._instruments
        else:
            self._instruments = _Instruments(metrics.get_meter(_NAME, version, meter_provider))

    @property
    def instruments(self) -> _Instruments:
        """The metrics."""
        return self._instruments

    def begin(self, call: Observed) -> contextvars.Context | None:
        """Start the span, which is the current one during the call."""
        if _is_suppressed():
            call.kept = _Kept(is_suppressed=True)
            return None

        kept = call.kept = _Kept()
        kept.span = self._start(call)
        return _context_of(kept.span)

    def note(self, call: Observed) -> None:
        """Read what the parameters and the reply say."""
        kept = call.kept = call.kept or _Kept()

        if kept.is_suppressed:
            return

        kept.rows = _rows(call)

        # A call that has no span yet may still get one that is recorded.
        if kept.span is None or kept.span.is_recording():
            kept.noted = {**_of_params(call.params), **_of_reply(call)}

    def end(self, call: Observed) -> None:
        """End the span, and count the call."""
        kept: _Kept = call.kept

        if kept.is_suppressed or (kept.span is None and _is_suppressed()):
            return

        span = kept.span or self._start(call)

        try:
            self._instruments.count(call, kept.rows, trace.set_span_in_context(span))
        finally:
            if span.is_recording():
                _complete(span, call, kept.noted)

            span.end(call.end)

    def _start(self, call: Observed) -> trace.Span:
        attributes = _attributes(call)
        target = attributes.get("db.collection.name")
        name = " ".join(filter(None, (call.operation, target))) or _SYSTEM
        attributes["rpc.system"] = "aws-api"
        attributes["rpc.service"] = "DynamoDB"
        attributes["cloud.region"] = call.server.region

        if call.operation is not None:
            attributes["rpc.method"] = call.operation

        if (size := _batch_size(call.operation, call.params)) is not None and size != 1:
            attributes["db.operation.batch.size"] = size

        return self._tracer.start_span(
            name, kind=trace.SpanKind.CLIENT, attributes=attributes, start_time=call.start
        )


class _Kept:
    """What is kept of a call."""

    __slots__ = ("is_suppressed", "noted", "rows", "span")

    def __init__(self, *, is_suppressed: bool = False) -> None:
        self.is_suppressed = is_suppressed
        self.span: trace.Span | None = None
        self.noted: Attributes = {}
        self.rows: int | None = None


class _Instruments:
    """The metrics of one meter.

    :param meter: The meter.
    """

    def __init__(self, meter: metrics.Meter) -> None:
        self._duration = meter.create_histogram(
            "db.client.operation.duration",
            "s",
            "Duration of database client operations.",
            explicit_bucket_boundaries_advisory=_DURATION_BUCKETS,
        )
        self._rows = meter.create_histogram(
            "db.client.response.returned_rows",
            "{row}",
            "The actual number of records returned by the database operation.",
            explicit_bucket_boundaries_advisory=_ROW_BUCKETS,
        )
        self._wait = meter.create_histogram(
            "db.client.connection.wait_time",
            "s",
            "The time it took to obtain a slot of the pool.",
            explicit_bucket_boundaries_advisory=_DURATION_BUCKETS,
        )
        self._timeouts = meter.create_counter(
            "db.client.connection.timeouts",
            "{timeout}",
            "The number of calls that ended because no slot of the pool became free in time.",
        )
        self._observe_pools(meter)

    def _observe_pools(self, meter: metrics.Meter) -> None:
        meter.create_observable_up_down_counter(
            "db.client.connection.count",
            [self._counts],
            "{connection}",
            "The number of slots of the pool that are in the given state.",
        )
        meter.create_observable_up_down_counter(
            "db.client.connection.max",
            [self._maximums],
            "{connection}",
            "The number of slots of the pool.",
        )
        meter.create_observable_up_down_counter(
            "db.client.connection.pending_requests",
            [self._pending],
            "{request}",
            "The number of calls that wait for a slot of the pool.",
        )

    def count(self, call: Observed, rows: int | None, context: otel_context.Context) -> None:
        """Count a call that has ended.

        :param call: The call.
        :param rows: How many items it has read; ``None`` if it does not read items.
        :param context: The context with its span, for exemplars.
        """
        attributes = {**_attributes(call), **_error_attributes(call)}
        self._duration.record((call.end - call.start) / 1e9, attributes, context)

        if rows is not None:
            self._rows.record(rows, attributes, context)

        pool = {"db.client.connection.pool.name": _pool_name(call.server)}

        if call.waited_seconds is not None:
            self._wait.record(call.waited_seconds, pool, context)

        if call.has_found_no_slot:
            self._timeouts.add(1, pool, context)

    def _counts(self, _: metrics.CallbackOptions) -> cabc.Iterable[metrics.Observation]:
        counts: collections.Counter[tuple[str, str]] = collections.Counter()

        for name, pool in self._pools():
            in_use = pool.in_use
            counts[name, "used"] += in_use
            counts[name, "idle"] += pool.size - in_use

        for (name, state), count in counts.items():
            yield metrics.Observation(
                count,
                {
                    "db.client.connection.pool.name": name,
                    "db.client.connection.state": state,
                },
            )

    def _maximums(self, _: metrics.CallbackOptions) -> cabc.Iterable[metrics.Observation]:
        return _sums((name, pool.size) for name, pool in self._pools())

    def _pending(self, _: metrics.CallbackOptions) -> cabc.Iterable[metrics.Observation]:
        return _sums((name, pool.waiting) for name, pool in self._pools())

    def _pools(self) -> cabc.Iterator[tuple[str, Pool]]:
        """All pools of this process, unless other instruments have taken the place of these."""
        if _instrumentation is not None and _instrumentation.instruments is self:
            for each in engine.engines():
                yield _pool_name(each), each.pool


def _sums(values: cabc.Iterable[tuple[str, int]]) -> cabc.Iterator[metrics.Observation]:
    """One observation for each name: engines at one address may have different credentials."""
    sums: collections.Counter[str] = collections.Counter()

    for name, value in values:
        sums[name] += value

    for name, value in sums.items():
        yield metrics.Observation(value, {"db.client.connection.pool.name": name})


def _is_suppressed() -> bool:
    return any(otel_context.get_value(key) for key in _SUPPRESSED)


def _context_of(span: trace.Span) -> contextvars.Context:
    """A context in which a span is the current one, and what botocore and urllib3 do gets no spans
    of its own."""
    within = trace.set_span_in_context(span)

    for key in _SUPPRESSED:
        within = otel_context.set_value(key, True, within)

    context = contextvars.copy_context()
    context.run(otel_context.attach, within)
    return context


def _complete(span: trace.Span, call: Observed, noted: Attributes) -> None:
    """Add to a span what was not known at its start."""
    for attempt in call.attempts:
        attributes: Attributes = {"dynamo_ext.attempt.number": attempt.number}

        if attempt.error is not None:
            attributes["error.type"] = _checked(attempt.error)

        span.add_event("dynamo_ext.attempt", attributes, attempt.end)

    span.set_attributes({**_address(call.server), **noted, **_error_attributes(call)})

    if call.error is not None:
        # Without a description: the server's text may hold keys and values.
        span.set_status(trace.StatusCode.ERROR)


def _attributes(call: Observed) -> Attributes:
    """What spans and metrics tell of a call."""
    attributes: Attributes = {"db.system.name": _SYSTEM, **_address(call.server)}

    if call.operation is not None:
        attributes["db.operation.name"] = call.operation

    tables = _table_names(call)

    if len(tables) == 1:
        attributes["db.collection.name"] = tables[0]

    return attributes


def _address(server: Server) -> Attributes:
    url = urllib.parse.urlsplit(server.url or "")

    if not url.hostname:
        return {}

    port = url.port or _PORTS.get(url.scheme)
    address: Attributes = {"server.address": url.hostname}
    return address if port is None else {**address, "server.port": port}


def _pool_name(server: Server) -> str:
    address = _address(server)

    if not address:
        return server.region

    return f"{address['server.address']}:{address.get('server.port', '')}"


def _error_attributes(call: Observed) -> Attributes:
    if call.error is None:
        return {}

    attributes: Attributes = {"error.type": _checked(call.error)}

    if call.is_error_of_server:
        attributes["db.response.status_code"] = attributes["error.type"]

    return attributes


def _checked(code: str) -> str:
    return code if _CODE.fullmatch(code) else _OTHER


def _table_names(call: Observed) -> list[str]:
    if call.table_name is not None:
        return [call.table_name]

    params = call.params
    names = [*(params.get("RequestItems") or ())]

    for item in params.get("TransactItems") or ():
        names.extend(action["TableName"] for action in item.values() if action)

    return list(dict.fromkeys(names))


def _batch_size(operation: str | None, params: Json) -> int | None:
    """How many operations a batch or transaction has; ``None`` for other operations."""
    if (items := params.get("TransactItems")) is not None:
        return len(items)

    if (requests := params.get("RequestItems")) is None:
        return None

    # To write, a table has a list; to read, a dictionary.
    return sum(
        len(part if operation == "BatchWriteItem" else part["Keys"]) for part in requests.values()
    )


def _rows(call: Observed) -> int | None:
    """How many items a call has read; ``None`` if it has failed, or does not read items or only
    counts them."""
    if (reply := call.reply) is None:
        return None

    if call.operation == "GetItem":
        return int("Item" in reply)

    if "Items" in reply:
        return len(reply["Items"])

    responses: t.Any = reply.get("Responses")

    if isinstance(responses, dict):
        return sum(map(len, t.cast("dict[str, list[t.Any]]", responses).values()))

    return None if responses is None else sum("Item" in response for response in responses)


def _of_params(params: Json) -> Attributes:
    found = _selected(params, _OF_PARAMS)
    throughput: Json = params.get("ProvisionedThroughput") or {}

    for unit, name in (("ReadCapacityUnits", "read"), ("WriteCapacityUnits", "write")):
        if (units := throughput.get(unit)) is not None:
            found[f"aws.dynamodb.provisioned_{name}_capacity"] = float(units)

    return found


def _of_reply(call: Observed) -> Attributes:
    """What a call's reply says, and the tables, whose names the conventions list among it."""
    found: Attributes = {}

    if tables := _table_names(call):
        found["aws.dynamodb.table_names"] = tables

    reply = call.reply or {}
    found.update(_selected(reply, _OF_REPLY))

    if "TableNames" in reply:
        found["aws.dynamodb.table_count"] = len(reply["TableNames"])

    if consumed := reply.get("ConsumedCapacity"):
        is_one = call.operation is None or not call.operation.startswith(_OF_SEVERAL_TABLES)
        parts: list[t.Any] = [consumed] if is_one else consumed
        found["aws.dynamodb.consumed_capacity"] = [json.dumps(part) for part in parts]

    request_id = call.request_id or observation.request_id(reply)

    if request_id is not None and _REQUEST_ID.fullmatch(request_id):
        found["aws.request_id"] = request_id

    return found


def _selected(source: Json, names: dict[str, tuple[str, type]]) -> Attributes:
    return {
        f"aws.dynamodb.{attribute}": kind(source[name])
        for name, (attribute, kind) in names.items()
        if source.get(name) is not None
    }
