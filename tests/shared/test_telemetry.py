"""Telemetry is what the usual variables ask for, nothing where they do not, and never in a turn's way."""

import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

import shared.telemetry_sdk
from shared.telemetry import current_traceparent, exporter, start_span, telemetry
from tests.support.otlp_collector import Collector, collecting, telemetry_to
from tests.support.paths import ROOT
from tests.support.waiting import until

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"

OFF = """
import sys
import conversation.conversation, orchestrator.pipeline
from shared.telemetry import start_span, telemetry
with telemetry("tests"):
    assert start_span("one") is start_span("another")
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Those of ours: what OpenTelemetry logs itself is seen by nobody but the tests."""
    ours = [one for one in caplog.records if not one.name.startswith("opentelemetry")]
    return [one.getMessage() for one in ours if one.levelno >= logging.WARNING]


def test_where_nothing_asks_for_it_nothing_of_it_is_imported_and_no_span_is_made() -> None:
    done = subprocess.run([sys.executable, "-c", OFF], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("variables", "traces", "metrics"),
    [
        ({}, "none", "none"),
        ({ENDPOINT: "http://there"}, "otlp", "otlp"),
        ({ENDPOINT: "http://there", "OTEL_SDK_DISABLED": "true"}, "none", "none"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://there/v1/traces"}, "otlp", "none"),
        ({ENDPOINT: "http://there", "OTEL_METRICS_EXPORTER": "none"}, "otlp", "none"),
        ({"OTEL_TRACES_EXPORTER": "console"}, "console", "none"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "otlp", "none"),
        ({"OTEL_SERVICE_NAME": "mine"}, "none", "none"),
    ],
)
def test_the_usual_variables_say_what_is_exported(
    variables: dict[str, str], traces: str, metrics: str
) -> None:
    assert (exporter("traces", variables), exporter("metrics", variables)) == (traces, metrics)


def test_what_has_not_been_sent_is_sent_at_the_end(collector: Collector) -> None:
    with telemetry_to(collector, "my service"):
        start_span("one").end()
        assert collector.spans == []
    assert [(span.name, span.service) for span in collector.spans] == [("one", "my service")]


def test_name_resource_and_headers_are_those_of_the_variables(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "another")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=staging")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=of%20mine")
    with telemetry_to(collector):
        start_span("one").end()
    assert collector.one("one").service == "another"
    ((path, headers, body),) = collector.requests
    assert (path, headers["api-key"]) == ("/v1/traces", "of mine")
    assert b"staging" in body


def test_what_is_not_sampled_is_not_sent(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    with telemetry_to(collector):
        start_span("one").end()
    assert collector.spans == []


def test_spans_in_a_block_are_children_and_none_afterwards(collector: Collector) -> None:
    with telemetry_to(collector):
        parent = start_span("parent")
        with parent.current():
            assert current_traceparent() == parent.traceparent
            start_span("child").end()
        assert current_traceparent() is None
        parent.end()
    assert collector.below(collector.one("parent")) == [collector.one("child")]


def test_a_collector_that_is_not_there_is_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = closed.getsockname()
    monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{address[1]}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.1")  # there is no time for a second try
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
    with telemetry("tests"):
        for _ in range(3):
            start_span("one").end()
    (warning,) = warnings(caplog)
    assert warning.startswith("Telemetry does not get through")


def test_one_that_does_not_answer_holds_up_no_exit(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shared.telemetry_sdk, "CLOSE_WITHIN_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{silent.getsockname()[1]}")
        with telemetry("tests"):
            start_span("one").end()
        (warning,) = warnings(caplog)
    assert "does not answer" in warning
    until(lambda: not [one for one in threading.enumerate() if one.name.startswith("Otel")])


@pytest.mark.parametrize(
    ("variable", "value"),
    [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_TRACES_EXPORTER", "zipkin")],
)
def test_what_is_not_spoken_here_is_one_warning_and_no_telemetry(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(ENDPOINT, "http://there")
    monkeypatch.setenv(variable, value)
    with telemetry("tests"):
        assert start_span("one").traceparent is None
    (warning,) = warnings(caplog)
    assert f"{variable}={value}" in warning


def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(ENDPOINT, "http://there")
    monkeypatch.setitem(sys.modules, "shared.telemetry_sdk", None)
    with telemetry("tests"):
        assert start_span("one").traceparent is None
    (warning,) = warnings(caplog)
    assert "pip install -e '.[otel]'" in warning
