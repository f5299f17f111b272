"""An OpenTelemetry collector: takes OTLP over HTTP, as protobuf, and keeps what it was sent."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from shared.telemetry import telemetry

KINDS = {1: "internal", 2: "server", 3: "client"}


@dataclass(frozen=True)
class KeptSpan:
    """A span as it came; times are nanoseconds since 1970, by the clock of its process."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    events: list[str]
    failure: str | None
    """The message of a span that failed."""


@dataclass(frozen=True)
class KeptMetric:
    """What a histogram, or a counter, has gathered under these attributes."""

    service: str
    name: str
    unit: str
    attributes: dict[str, Any]
    count: int
    sum: float


@dataclass
class Collector:
    """What has come so far, in the order of its coming."""

    url: str = ""
    spans: list[KeptSpan] = field(default_factory=list)
    metrics: list[KeptMetric] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    """The path, headers and body of each."""

    def named(self, name: str) -> list[KeptSpan]:
        return [one for one in self.spans if one.name == name]

    def one(self, name: str) -> KeptSpan:
        (span,) = self.named(name)
        return span

    def below(self, parent: KeptSpan) -> list[KeptSpan]:
        """Its children, in the order of their beginning."""
        children = [one for one in self.spans if one.parent_id == parent.span_id]
        return sorted(children, key=lambda one: one.start_ns)

    def measured(self, name: str, **attributes: Any) -> KeptMetric:
        """The one value of a metric that has these attributes, their dots written as underscores."""
        wanted = attributes.items()
        (metric,) = [
            one
            for one in self.metrics
            if one.name == name
            and wanted <= {key.replace(".", "_"): value for key, value in one.attributes.items()}.items()
        ]
        return metric

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        """Take one export in. Raises DecodeError if it is no such protobuf."""
        if path == "/v1/traces":
            self.spans += _spans(ExportTraceServiceRequest.FromString(body))
        elif path == "/v1/metrics":
            self.metrics += _metrics(ExportMetricsServiceRequest.FromString(body))
        self.requests.append((path, headers, body))


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that listens while the block lasts."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (its name there)
            """Is quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def telemetry_to(collector: Collector, service: str = "tests") -> Iterator[None]:
    """This process's telemetry goes to the collector while the block lasts, all of it at its end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        with telemetry(service):
            yield


def _spans(request: Any) -> Iterator[KeptSpan]:
    for resource in request.resource_spans:
        service = _values(resource.resource.attributes)["service.name"]
        for span in (span for scope in resource.scope_spans for span in scope.spans):
            yield KeptSpan(
                service=service,
                name=span.name,
                kind=KINDS[span.kind],
                trace_id=span.trace_id.hex(),
                span_id=span.span_id.hex(),
                parent_id=span.parent_span_id.hex(),
                start_ns=span.start_time_unix_nano,
                end_ns=span.end_time_unix_nano,
                attributes=_values(span.attributes),
                events=[event.name for event in span.events],
                failure=span.status.message if span.status.code == 2 else None,
            )


def _metrics(request: Any) -> Iterator[KeptMetric]:
    for resource in request.resource_metrics:
        service = _values(resource.resource.attributes)["service.name"]
        for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
            points = [(one, one.count, one.sum) for one in metric.histogram.data_points]
            points += [(one, 1, one.as_double or one.as_int) for one in metric.sum.data_points]
            for point, count, total in points:
                yield KeptMetric(service, metric.name, metric.unit, _values(point.attributes), count, total)


def _values(attributes: Iterable[Any]) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
