"""The part of telemetry that needs OpenTelemetry's SDK (the extra `otel`): the spans that are kept, and their
export. Only `shared.telemetry` imports it.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Literal, TypeVar

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    ConsoleMetricExporter,
    MetricExporter,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.errors import SpeechError
from shared.telemetry import Attributes, Kind, Metric, Span, error_attributes, exporter
from shared.turn import Failure

logger = logging.getLogger(__name__)

Values = dict[str, str | bool | int | float]
Recorder = Callable[[float, Values], None]

Exporter = TypeVar("Exporter", bound=SpanExporter | MetricExporter)

CLOSE_WITHIN_S: Final = 3.0
"""How long the end waits for what has not been sent, if the collector does not answer."""

_SCOPE: Final = "speech_to_speech"
_W3C: Final = TraceContextTextMapPropagator()
_KINDS: Final[dict[Kind, SpanKind]] = {
    "internal": SpanKind.INTERNAL,
    "client": SpanKind.CLIENT,
    "server": SpanKind.SERVER,
}


class TelemetrySdk:
    """Providers of a process's own, so that libraries which know OpenTelemetry add nothing to them.

    Sampling, limits, batches, endpoints and headers are the SDK's own business, by its variables.
    """

    def __init__(self, service: str) -> None:
        """Raises ValueError for a variable that cannot be followed."""
        _check_protocol()
        resource = _resource(service)
        self._tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        spans = _chosen("traces", OTLPSpanExporter, ConsoleSpanExporter)
        metrics = _chosen("metrics", OTLPMetricExporter, ConsoleMetricExporter)
        if spans:
            self._tracers.add_span_processor(BatchSpanProcessor(spans))
        readers = [PeriodicExportingMetricReader(metrics)] if metrics else []
        self._meters = MeterProvider(readers, resource=resource, shutdown_on_exit=False)
        self._tracer = self._tracers.get_tracer(_SCOPE)
        self._meter = self._meters.get_meter(_SCOPE)
        self._recorders: dict[str, Recorder] = {}
        self._exporters = [one for one in (spans, metrics) if one]
        self._warning = _WarningOnce()
        complaints = logging.getLogger("opentelemetry")
        complaints.handlers, complaints.propagate = [self._warning], False

    def start_span(
        self, name: str, kind: Kind, traceparent: str | None, began_s_ago: float, attributes: Attributes
    ) -> Span:
        """See `shared.telemetry.start_span`."""
        parent = _W3C.extract({"traceparent": traceparent}) if traceparent else None
        start_ns = time.time_ns() - round(began_s_ago * 1e9)
        return _KeptSpan(
            self._tracer,
            self._tracer.start_span(
                name, parent, _KINDS[kind], attributes=_given(attributes), start_time=start_ns
            ),
            start_ns,
        )

    def current_traceparent(self) -> str | None:
        """See `shared.telemetry.current_traceparent`."""
        return _traceparent(otel_context.get_current())

    def record(self, metric: Metric, value: float, attributes: Attributes) -> None:
        """See `shared.telemetry.record`."""
        if metric.name not in self._recorders:
            self._recorders[metric.name] = _recorder(self._meter, metric)
        self._recorders[metric.name](value, _given(attributes))

    def close(self) -> None:
        """Send what has not been sent, for at most CLOSE_WITHIN_S: a collector that does not answer holds up
        no exit."""
        ending = [
            threading.Thread(target=provider.shutdown, name="telemetry-end", daemon=True)
            for provider in (self._tracers, self._meters)
        ]
        give_up_s = time.monotonic() + CLOSE_WITHIN_S
        for thread in ending:
            thread.start()
        for thread in ending:
            thread.join(max(0.0, give_up_s - time.monotonic()))
        if any(thread.is_alive() for thread in ending):
            self._warning.say("the collector does not answer")
            for one in self._exporters:
                one.shutdown()  # it tries no more
        self._warning.said = True  # a thread that is left behind has nothing to add


class _KeptSpan(Span):
    """A span that is exported once it is over."""

    def __init__(self, tracer: trace.Tracer, span: trace.Span, start_ns: int) -> None:
        self._tracer = tracer
        self._span = span
        self._start_ns = start_ns
        self._context = trace.set_span_in_context(span, Context())

    @property
    def traceparent(self) -> str | None:  # type: ignore[override]
        return _traceparent(self._context)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def set(self, attributes: Attributes) -> None:
        self._span.set_attributes(_given(attributes))

    def event(self, name: str, attributes: Attributes | None = None) -> None:
        self._span.add_event(name, _given(attributes or {}))

    def fail(self, error: SpeechError | Failure) -> None:
        self.set(error_attributes(error))
        self._span.set_status(Status(StatusCode.ERROR, error.message))

    def child(
        self, name: str, offset_us: int, duration_us: int, attributes: Attributes | None = None
    ) -> Span:
        start_ns = self._start_ns + offset_us * 1000
        span = self._tracer.start_span(
            name, self._context, attributes=_given(attributes or {}), start_time=start_ns
        )
        span.end(start_ns + duration_us * 1000)
        return _KeptSpan(self._tracer, span, start_ns)

    @contextmanager
    def current(self) -> Iterator[None]:
        token = otel_context.attach(self._context)
        try:
            yield
        finally:
            otel_context.detach(token)

    def end(self) -> None:
        if self._span.is_recording():
            self._span.end()


class _WarningOnce(logging.Handler):
    """What the SDK has to complain of, as one warning of ours: an exporter that cannot reach its collector
    says so with every batch."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said = False

    def emit(self, record: logging.LogRecord) -> None:
        """Of the first record only."""
        self.say(record.getMessage())

    def say(self, what: str) -> None:
        """Warn, unless that was done."""
        if not self.said:
            self.said = True
            logger.warning("Telemetry does not get through, and turns go on without it: %s", what)


def _resource(service: str) -> Resource:
    """What the usual variables say of this process, and what they leave open."""
    container = os.environ.get("MODAL_TASK_ID")
    resource = Resource.create({"container.id": container} if container else {})
    if str(resource.attributes["service.name"]).startswith("unknown_service"):
        return resource.merge(Resource({"service.name": service}))
    return resource


def _chosen(
    signal: Literal["traces", "metrics"], otlp: Callable[[], Exporter], console: Callable[[], Exporter]
) -> Exporter | None:
    """The exporter that the variables choose. Raises ValueError for another one."""
    match exporter(signal, os.environ):
        case "none":
            return None
        case "otlp":
            return otlp()
        case "console":
            return console()
        case other:
            raise ValueError(f"OTEL_{signal.upper()}_EXPORTER={other}: it is otlp, console or none")


def _check_protocol() -> None:
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    if protocol != "http/protobuf":
        raise ValueError(f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol}: only http/protobuf is spoken here")


def _recorder(meter: Meter, metric: Metric) -> Recorder:
    """What adds a value to the metric."""
    if not metric.bounds:
        return meter.create_counter(metric.name, metric.unit, metric.description).add
    return meter.create_histogram(
        metric.name, metric.unit, metric.description, explicit_bucket_boundaries_advisory=metric.bounds
    ).record


def _given(attributes: Attributes) -> Values:
    return {name: value for name, value in attributes.items() if value is not None}


def _traceparent(context: Context) -> str | None:
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, context)
    return carrier.get("traceparent")
