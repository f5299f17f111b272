"""OpenTelemetry: spans and metrics of turns, sent by OTLP where the usual variables ask for it.

Where they do not, nothing of OpenTelemetry is imported, and every span is one that keeps nothing. What people
say and are told is in no span, whatever the variables say.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from shared.errors import SpeechError
from shared.turn import Failure

if TYPE_CHECKING:
    from shared.telemetry_sdk import TelemetrySdk

logger = logging.getLogger(__name__)

Attributes = Mapping[str, str | bool | int | float | None]
"""Of a span, an event or a measured value; None is left out."""

Kind = Literal["internal", "client", "server"]
"""A client's span waits for a server's, in another process."""

PREFIX = "s2s"
"""Before the names that are ours; the others are of the semantic conventions."""


@dataclass(frozen=True)
class Metric:
    """A histogram, with these bounds of its buckets, or without any a counter."""

    name: str
    description: str
    bounds: tuple[float, ...] = ()
    unit: str = "s"


_GEN_AI_S = tuple(0.01 * 2**power for power in range(14))  # what the conventions ask for
_WAIT_S = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 120.0, 600.0)  # the gateway's
_SPAN_S = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0, 600.0)

TURN_DURATION = Metric("gen_ai.invoke_workflow.duration", "Turns, from request to end.", _GEN_AI_S)
LLM_DURATION = Metric("gen_ai.client.inference.duration", "Calls of the LLM.", _GEN_AI_S)
LLM_FIRST_OUTPUT = Metric(
    "gen_ai.client.inference.time_to_first_chunk", "From a call of the LLM to its first output.", _GEN_AI_S
)
INPUT_TOKENS = Metric(
    "gen_ai.client.inference.usage.input_tokens", "Tokens that the LLM read.", unit="{token}"
)
OUTPUT_TOKENS = Metric(
    "gen_ai.client.inference.usage.output_tokens", "Tokens that the LLM wrote.", unit="{token}"
)
SPEECH_DURATION = Metric("gen_ai.client.operation.duration", "Calls of the ASR and the TTS.", _GEN_AI_S)
TURN_SPAN = Metric("s2s.turn.span", "Spans of turns' critical paths, by stage and activity.", _SPAN_S)
FIRST_AUDIO = Metric(
    "s2s.time_to_first_audio", "From a turn's request to the first audio of its reply.", _WAIT_S
)
VOICE_TO_VOICE = Metric(
    "s2s.voice_to_voice", "From the end of a person's speech to the first audio of the reply.", _WAIT_S
)


class Span:
    """A span, which lasts until `end`. This one keeps nothing: what there is where telemetry is off."""

    traceparent: str | None = None
    """Its place in its trace, for whoever works on it in another process (W3C Trace Context); None of a span
    that keeps nothing."""

    def rename(self, name: str) -> None:
        """Give it a name that was not known at its start."""

    def set(self, attributes: Attributes) -> None:
        """Set attributes."""

    def event(self, name: str, attributes: Attributes | None = None) -> None:
        """Something happens in it now."""

    def fail(self, error: SpeechError | Failure) -> None:
        """What it is about has failed."""

    def child(
        self, name: str, offset_us: int, duration_us: int, attributes: Attributes | None = None
    ) -> "Span":
        """A span within this one that is over: when it began, since the start of this one."""
        return self

    def current(self) -> AbstractContextManager[None]:
        """While the block lasts, spans that are started in this task, and in tasks that it starts, are
        children of this one. A generator must not yield in the block."""
        return nullcontext()

    def end(self) -> None:
        """It is over; what is told later is not kept."""


_NO_SPAN = Span()

_sdk: "TelemetrySdk | None" = None


def start_span(
    name: str,
    *,
    kind: Kind = "internal",
    traceparent: str | None = None,
    began_s_ago: float = 0.0,
    attributes: Attributes | None = None,
) -> Span:
    """Start a span below the one that `traceparent` names, or below the current one if there is one."""
    if _sdk is None:
        return _NO_SPAN
    return _sdk.start_span(name, kind, traceparent, began_s_ago, attributes or {})


def current_traceparent() -> str | None:
    """The place of the current span, None if there is none."""
    return _sdk.current_traceparent() if _sdk else None


def record(metric: Metric, value: float, attributes: Attributes | None = None) -> None:
    """Add a value to a metric."""
    if _sdk:
        _sdk.record(metric, value, attributes or {})


def error_attributes(error: SpeechError | Failure) -> Attributes:
    """What a failure is, without its message."""
    return {
        "error.type": error.kind,
        f"{PREFIX}.error.stage": str(error.stage),
        f"{PREFIX}.error.retryable": error.retryable,
    }


@contextmanager
def telemetry(service: str) -> Iterator[None]:
    """Keep the spans and metrics of this process while the block lasts, if the variables ask for it. What has
    not been sent by then is sent at the end. One block at a time; `service` is the process's name, unless
    OTEL_SERVICE_NAME says otherwise.

    Raises nothing: what does not work is logged once, and the turns go on.
    """
    global _sdk  # noqa: PLW0603 (one process, one telemetry)
    sdk = _sdk = _started(service)
    try:
        yield
    finally:
        _sdk = None
        if sdk:
            sdk.close()


def exporter(signal: Literal["traces", "metrics"], environ: Mapping[str, str]) -> str:
    """What a signal is exported by: otlp, console, or none.

    Unlike OpenTelemetry's own default it is none until an endpoint or an exporter is named.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return "none"
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT")
    usual = "otlp" if any(environ.get(name) for name in endpoints) else "none"
    return environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip().lower() or usual


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Whether these variables ask for telemetry."""
    return {exporter("traces", environ), exporter("metrics", environ)} != {"none"}


def _started(service: str) -> "TelemetrySdk | None":
    if not is_wanted(os.environ):
        return None
    try:
        from shared.telemetry_sdk import TelemetrySdk

        return TelemetrySdk(service)
    except ImportError as error:
        logger.warning("OTEL_* ask for telemetry, which needs more: pip install -e '.[otel]' (%s)", error)
    except Exception as error:
        logger.warning("There is no telemetry: %s", error)
    return None
