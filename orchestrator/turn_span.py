"""The span of a turn: what its log line says, and below it the ledger, span by span; and around it, in the
process of its caller, the span of the call."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate

from orchestrator.turn_log import TurnLog
from shared.errors import SpeechError
from shared.ledger import Ledger
from shared.telemetry import FIRST_AUDIO, TURN_DURATION, TURN_SPAN, Span, record, start_span
from shared.turn import (
    NoSpeechDetected,
    SpeechChunk,
    StageWaiting,
    TurnCompleted,
    TurnEvent,
    TurnFailed,
    TurnRequest,
)

WORKFLOW = "speech-to-speech turn"


def start_turn_span(request: TurnRequest, call_id: str) -> Span:
    """The turn begins, for a caller in another process where it has a call's id."""
    return start_span(
        "turn",
        kind="server" if call_id else "internal",
        traceparent=request.traceparent,
        attributes={
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.workflow.name": WORKFLOW,
            "gen_ai.conversation.id": request.session_id,
        },
    )


def end_turn_span(span: Span, log: TurnLog, ledger: Ledger) -> None:
    """The turn is over. Its time is told by the ledger alone: it has one clock, and starts with the span."""
    if span.traceparent is None:
        return
    fields = log.fields(ledger)
    span.set({f"s2s.{name}": value for name, value in fields.items()})
    if log.failure:
        span.fail(log.failure)
    path = span.child("critical path", 0, ledger.total_us)
    starts = accumulate((one.duration_us for one in ledger.spans), initial=0)
    for start_us, one in zip(starts, ledger.spans, strict=False):
        attributes = {"s2s.stage": str(one.stage), "s2s.activity": one.activity}
        path.child(f"{one.stage} {one.activity}", start_us, one.duration_us, attributes)
        record(TURN_SPAN, one.duration_us / 1e6, attributes)
    span.end()
    error = log.failure.kind if log.failure else None
    ended = {"gen_ai.workflow.name": WORKFLOW, "s2s.outcome": fields["outcome"], "error.type": error}
    record(TURN_DURATION, ledger.total_us / 1e6, ended)
    if ledger.time_to_first_audio_us is not None:
        record(FIRST_AUDIO, ledger.time_to_first_audio_us / 1e6)


@contextmanager
def turn_call_span(request: TurnRequest) -> Iterator[tuple[TurnRequest, Callable[[TurnEvent], None]]]:
    """The span of a turn that another process runs. The block gets the request, which now names this span,
    and an observer of the turn's events. An async generator may yield in it."""
    call = start_span(
        "call turn",
        kind="client",
        traceparent=request.traceparent,
        attributes={"gen_ai.conversation.id": request.session_id, "s2s.turn_id": request.turn_id},
    )

    def observe(event: TurnEvent) -> None:
        match event:
            case StageWaiting(stage=stage):
                call.event("waiting", {"s2s.stage": str(stage)})
            case SpeechChunk(index=0, segment=0):
                call.event("first audio")
            case TurnFailed():
                call.fail(event)
            case TurnCompleted() | NoSpeechDetected():
                call.set({"s2s.outcome": event.event.removeprefix("turn_")})

    try:
        yield request.model_copy(update={"traceparent": call.traceparent or request.traceparent}), observe
    except SpeechError as error:
        call.fail(error)
        raise
    finally:
        call.end()
