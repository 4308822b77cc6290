"""The way out of spans and GenAI metrics: OpenTelemetry's SDK, which batches them and sends them from threads of its
own. The only file that knows the library, imported only where there is a collector.

A collector that is gone, slow or full costs no request anything: a span is put into a queue, or, if that is full,
counted as lost. The SDK reads of the environment what is its own to know: ``OTEL_TRACES_SAMPLER``,
``OTEL_RESOURCE_ATTRIBUTES``, ``OTEL_SERVICE_NAME``, ``OTEL_BSP_*``, ``OTEL_METRIC_EXPORT_INTERVAL``,
``OTEL_EXPORTER_OTLP_TIMEOUT`` and their like.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import requests
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import Histogram
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, TraceFlags, set_span_in_context
from opentelemetry.trace.span import TraceState
from opentelemetry.trace.status import Status, StatusCode

from gateway.core.exchange_record import AttemptRecord, ExchangeRecord
from gateway.core.trace_context import TraceContext
from gateway.runtime.tls import client_context
from gateway.telemetry.gen_ai import (
    DURATION_BOUNDS,
    FIRST_TOKEN_BOUNDS,
    TOKEN_BOUNDS,
    operation_of_route,
    operation_of_target,
    provider,
)
from gateway.telemetry.losses import Losses
from gateway.telemetry.spans import Attributes, Span, place_of

SERVICE = "piapi-gateway"

FLUSH_SECONDS = 3.0
"""How long the end of the process waits for a collector to take what is left."""

MOST_WAITING = 2_048
"""Spans that wait to be sent, unless OTEL_BSP_MAX_QUEUE_SIZE says otherwise."""

_KINDS = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT}
_UNSET, _ERROR = Status(StatusCode.UNSET), Status(StatusCode.ERROR)


@dataclass(frozen=True, slots=True)
class Collector:
    """Where to. ``traces``, ``metrics``: the URLs; empty for none. ``headers``: sent with everything; secrets.

    ``gateway_id``, ``version``: of this gateway, for ``service.instance.id`` and ``service.version``. ``ca_files``:
    certificate authorities that are trusted beside the system's.
    """

    traces: str
    metrics: str
    headers: Mapping[str, str] = field(repr=False)
    gateway_id: str
    version: str
    ca_files: Sequence[str] = ()


class Otlp:
    """Sends spans, and measures. Implements ``tracing.Sender``; ``close`` ends its threads.

    Making one raises ValueError for a variable of the environment that the SDK does not put up with.
    """

    def __init__(self, collector: Collector, losses: Losses) -> None:
        self._losses = losses
        losses.listen()
        own = {"service.version": collector.version, "service.instance.id": collector.gateway_id}
        resource = Resource.create(own)
        if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: SERVICE}))
        self._resource = resource
        self._scope = InstrumentationScope(SERVICE, collector.version)
        self._sampler = TracerProvider(resource=resource, shutdown_on_exit=False).sampler
        self._most = _whole("OTEL_BSP_MAX_QUEUE_SIZE", MOST_WAITING)
        self._given = 0
        self._closed = False
        self._exporter: _Counting | None = None
        self._processor: BatchSpanProcessor | None = None
        if collector.traces:
            exporter = OTLPSpanExporter(collector.traces, headers=collector.headers, session=_session(collector))
            self._exporter = _Counting(exporter, losses)
            batch = min(_whole("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512), self._most)
            self._processor = BatchSpanProcessor(self._exporter, max_queue_size=self._most, max_export_batch_size=batch)
        self._meters: MeterProvider | None = None
        self._measures: _Measures | None = None
        if collector.metrics:
            metrics = OTLPMetricExporter(collector.metrics, headers=collector.headers, session=_session(collector))
            reader = PeriodicExportingMetricReader(metrics)
            self._meters = MeterProvider([reader], resource, shutdown_on_exit=False)
            self._measures = _Measures(self._meters, collector.version)
        losses.tell_settings()

    @property
    def traces(self) -> bool:
        """Whether spans are sent; else it only measures."""
        return self._processor is not None

    def samples(self, parent: TraceContext | None, trace_id: int) -> tuple[bool, str]:
        """Whether the spans of a request are to be sent, and the tracestate that goes on with it. ``parent``: the place
        of the span it was sent in.
        """
        if self._processor is None:
            return False, ""
        context = Context()
        if parent is not None:
            context = set_span_in_context(NonRecordingSpan(_context(parent, remote=True)), context)
        result = self._sampler.should_sample(context, trace_id, "request", SpanKind.SERVER)
        state = result.trace_state
        return result.decision is Decision.RECORD_AND_SAMPLE, state.to_header() if state else ""

    def send(self, span: Span) -> None:
        """Have the span sent soon, or count it as lost. Never waits."""
        if self._processor is None or self._exporter is None:
            return
        if self._given - self._exporter.taken >= self._most:
            self._losses.lost(1)
            return
        self._given += 1
        parent = None if span.parent is None else _context(span.parent, remote=span.remote)
        self._processor.on_end(
            ReadableSpan(
                span.name,
                context=_context(span.own),
                parent=parent,
                resource=self._resource,
                attributes=span.attributes,
                links=() if span.link is None else (Link(_context(span.link)),),
                kind=_KINDS[span.kind],
                status=_ERROR if span.failed else _UNSET,
                start_time=span.start_ns,
                end_time=span.end_ns,
                instrumentation_scope=self._scope,
            )
        )

    def measure(self, record: ExchangeRecord, model: str) -> None:
        """Count an exchange that has ended, and its attempts. ``model``: a label, of few values."""
        if self._measures is not None:
            self._measures.count(record, model)

    async def close(self, seconds: float = FLUSH_SECONDS) -> None:
        """Send what is left, for at most so long; then what is not sent is lost. A second time does nothing."""
        if self._closed:
            return
        self._closed = True
        loop = asyncio.get_running_loop()
        ended = [_aside(loop, end) for end in self._ends()]
        _, late = await asyncio.wait(ended, timeout=seconds) if ended else ((), ())
        if self._exporter is not None:
            left = self._given - self._exporter.ended
            if late and left:
                self._losses.lost(left)
                self._losses.said(f"the collector took nothing for {seconds:g} s at the end", trouble=True)
            self._exporter.give_up()
        self._losses.tell()
        self._losses.stop_listening()

    def _ends(self) -> list[Callable[[], object]]:
        ends: list[Callable[[], object]] = []
        if self._processor is not None:
            ends.append(self._processor.shutdown)
        if self._meters is not None:
            ends.append(self._meters.shutdown)
        return ends


def _aside(loop: asyncio.AbstractEventLoop, work: Callable[[], object]) -> asyncio.Future[None]:
    """Done once ``work`` is, in a thread that the end of the process does not wait for."""
    done: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not done.done():
            done.set_result(None)

    def run() -> None:
        try:
            work()
        finally:
            if not loop.is_closed():
                loop.call_soon_threadsafe(tell)

    threading.Thread(target=run, name="telemetry-flush", daemon=True).start()
    return done


class _Counting(SpanExporter):
    """Hands batches on, and counts. ``taken``: spans that left the queue; ``ended``: that were sent, or lost."""

    def __init__(self, exporter: OTLPSpanExporter, losses: Losses) -> None:
        self._exporter = exporter
        self._losses = losses
        self._given_up = False
        self.taken = self.ended = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        result = self._exporter.export(spans)
        self.ended += len(spans)
        if result is not SpanExportResult.SUCCESS:
            self._losses.lost(len(spans))
        return result

    def shutdown(self) -> None:
        self.give_up()

    def give_up(self) -> None:
        """Try nothing again."""
        if not self._given_up:
            self._given_up = True
            self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


class _Measures:
    """The GenAI metrics, with labels of few values only."""

    def __init__(self, provider: MeterProvider, version: str) -> None:
        meter = provider.get_meter(SERVICE, version)

        def histogram(name: str, unit: str, meaning: str, bounds: Sequence[float]) -> Histogram:
            return meter.create_histogram(name, unit, meaning, explicit_bucket_boundaries_advisory=bounds)

        self._requests = histogram(
            "gen_ai.server.request.duration", "s", "Seconds from a request's arrival to its end.", DURATION_BOUNDS
        )
        self._first = histogram(
            "gen_ai.server.time_to_first_token", "s", "Seconds to the first content.", FIRST_TOKEN_BOUNDS
        )
        self._operations = histogram(
            "gen_ai.client.operation.duration", "s", "Seconds that an attempt upstream lasted.", DURATION_BOUNDS
        )
        self._tokens = histogram("gen_ai.client.token.usage", "{token}", "Tokens charged for.", TOKEN_BOUNDS)

    def count(self, record: ExchangeRecord, model: str) -> None:
        last = record.attempts[-1] if record.attempts else None
        names: Attributes = {
            "gen_ai.operation.name": operation_of_route(record.route),
            "gen_ai.provider.name": provider(None if last is None else last.target),
            "gen_ai.request.model": model,
        }
        error = record.code or ("client_gone" if record.status == 499 else None)
        with_error = names if error is None else {**names, "error.type": error}
        self._requests.record(record.duration or 0.0, with_error)
        if record.first_content is not None and error is None:
            self._first.record(record.first_content, names)
        over = record.began + (record.duration or 0.0)
        for attempt in record.attempts:
            lasted = (attempt.ended or over) - attempt.began
            self._operations.record(max(0.0, lasted), _attempt_names(attempt, names))
        usage = record.usage
        for kind, tokens in (("input", usage.input_tokens), ("output", usage.output_tokens)):
            if tokens:
                self._tokens.record(tokens, {**names, "gen_ai.token.type": kind})


def _attempt_names(attempt: AttemptRecord, names: Attributes) -> Attributes:
    host, port = place_of(attempt.endpoint)
    target = attempt.target
    own: Attributes = {**names, "gen_ai.provider.name": provider(target), "server.address": host, "server.port": port}
    if target is not None:
        own["gen_ai.operation.name"] = operation_of_target(target.operation)
    if attempt.outcome != "ok":
        own["error.type"] = attempt.outcome
    return own


def _context(place: TraceContext, *, remote: bool = False) -> SpanContext:
    state = TraceState.from_header([place.state]) if place.state else None
    return SpanContext(place.trace_id, place.span_id, remote, TraceFlags(place.flags), state)


def _session(collector: Collector) -> requests.Session:
    """One that trusts what everything here trusts, and leaves the environment's proxies and ``.netrc`` alone."""
    session = requests.Session()
    session.trust_env = False
    session.stream = True  # what a collector answers is looked at by the exporter as far as its status
    session.hooks["response"].append(_take_status_only)
    if "https://" in f"{collector.traces} {collector.metrics}":
        session.mount("https://", _Adapter(collector.ca_files))
    return session


def _take_status_only(response: requests.Response, **_: object) -> None:
    """Read none of the body, which may have no end. The exporter would take a redirect, which it does not follow, for
    success.
    """
    response.close()
    if 300 <= response.status_code < 400:
        raise requests.RequestException(f"the collector redirects ({response.status_code}), which is not followed")


class _Adapter(requests.adapters.HTTPAdapter):
    """``ca_files``: see Collector."""

    def __init__(self, ca_files: Sequence[str]) -> None:
        self._context = client_context(ca_files)
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **options)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """The library would have the authorities trusted that it brings itself, beside those of the context."""
        super().cert_verify(conn, url, verify, cert)
        if verify is True:
            conn.ca_certs = conn.ca_cert_dir = None


def _whole(variable: str, usual: int) -> int:
    value = os.environ.get(variable, "")
    return int(value) if value.isdigit() and int(value) else usual
