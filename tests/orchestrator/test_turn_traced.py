"""What a collector gets of a turn: one trace, with the calls of its stages and its ledger, and metrics."""

import asyncio
from dataclasses import dataclass

import pytest

from shared.errors import StageFailed
from shared.ledger import Ledger
from shared.payloads import TokenUsage
from shared.turn import ReplyDelta, SpeechChunk, TurnCompleted, TurnEnd, TurnRequest
from tests.support.otlp_collector import Collector, collecting, telemetry_to
from tests.support.scripted_stages import REQUEST, Cast, Emitted, cast, run_turn, speech, typed

TRANSCRIPT = "what is the secret word"
REPLY = "It is abracadabra. Do not tell anybody."
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def quick(**scripts: list[list[object]]) -> Cast:
    usual: dict[str, list[list[object]]] = {
        "asr": [[0.01, TRANSCRIPT]],
        "llm": [[*typed(REPLY, tokens_per_s=1000, first_s=0.01)]],
        "tts": [[0.01, speech(0.1), 0.01, speech(0.1)]],
    }
    return cast(**(usual | scripts))  # type: ignore[arg-type]


@dataclass
class Traced:
    """A turn and what the collector got of it."""

    collector: Collector
    ledger: Ledger
    request: TurnRequest


async def traced(scripted: Cast, request: TurnRequest = REQUEST) -> Traced:
    with collecting() as collector:
        with telemetry_to(collector):
            emitted = await run_turn(scripted, request)
        end = emitted[-1].event
        assert isinstance(end, TurnEnd)
        return Traced(collector, end.ledger, request)


@pytest.fixture(scope="module")
def turn() -> Traced:
    return asyncio.run(traced(quick()))


def test_it_is_one_trace_whose_root_is_the_turn(turn: Traced) -> None:
    assert len({span.trace_id for span in turn.collector.spans}) == 1
    root = turn.collector.one("turn")
    assert (root.parent_id, root.kind, root.failure) == ("", "internal", None)
    assert root.attributes["gen_ai.conversation.id"] == turn.request.session_id
    assert root.attributes["s2s.turn_id"] == turn.request.turn_id
    assert root.attributes["s2s.outcome"] == "completed"
    assert root.attributes["s2s.total_ms"] == round(turn.ledger.total_us / 1000, 1)


def test_each_call_of_a_stage_is_below_the_turn(turn: Traced) -> None:
    calls = [span for span in turn.collector.below(turn.collector.one("turn")) if span.kind == "client"]
    assert [call.name for call in calls] == [
        "speech_to_text scripted ASR",
        "chat scripted LLM",
        "text_to_speech scripted TTS",
        "text_to_speech scripted TTS",
    ]
    assert all(call.events == ["started", "first output"] for call in calls)


def test_the_call_of_the_llm_says_what_the_conventions_ask_for(turn: Traced) -> None:
    attributes = turn.collector.one("chat scripted LLM").attributes
    assert attributes["gen_ai.operation.name"] == "chat"
    assert attributes["gen_ai.provider.name"] == "speech-to-speech"
    assert attributes["gen_ai.request.model"] == "scripted LLM"
    assert attributes["gen_ai.output.type"] == "text"
    assert attributes["gen_ai.request.stream"] is True
    assert attributes["gen_ai.response.time_to_first_chunk"] >= 0.01
    assert attributes["s2s.cold_start"] is False


def test_the_ledger_is_below_it_span_by_span_without_a_gap(turn: Traced) -> None:
    path = turn.collector.one("critical path")
    assert path.parent_id == turn.collector.one("turn").span_id
    spans = turn.collector.below(path)
    assert [(span.name, span.end_ns - span.start_ns) for span in spans] == [
        (f"{one.stage} {one.activity}", one.duration_us * 1000) for one in turn.ledger.spans
    ]
    ends = [path.start_ns, *(span.end_ns for span in spans)]
    assert [span.start_ns for span in spans] == ends[:-1]
    assert ends[-1] == path.end_ns


def test_its_metrics_have_the_names_of_the_conventions_and_ours(turn: Traced) -> None:
    measured = turn.collector.measured
    total = measured("gen_ai.invoke_workflow.duration", s2s_outcome="completed")
    assert (total.count, total.unit, total.sum) == (1, "s", turn.ledger.total_us / 1e6)
    assert turn.ledger.time_to_first_audio_us
    assert measured("s2s.time_to_first_audio").sum == turn.ledger.time_to_first_audio_us / 1e6
    assert measured("gen_ai.client.inference.duration", gen_ai_request_model="scripted LLM").count == 1
    assert measured("gen_ai.client.inference.time_to_first_chunk").count == 1
    assert measured("gen_ai.client.operation.duration", gen_ai_operation_name="text_to_speech").count == 2
    works = [one.duration_us for one in turn.ledger.spans if (one.stage, one.activity) == ("tts", "work")]
    spans = measured("s2s.turn.span", s2s_stage="tts", s2s_activity="work")
    assert spans.count == len(works)
    assert spans.sum == pytest.approx(sum(works) / 1e6)


def test_nothing_of_what_was_said_is_in_it(turn: Traced) -> None:
    sent = b"".join(body for _, _, body in turn.collector.requests)
    assert b"scripted LLM" in sent
    assert not any(word.encode() in sent for word in [*TRANSCRIPT.split()[-2:], "abracadabra", "anybody"])


async def test_tokens_that_the_engine_counts_are_in_the_call_and_in_the_metrics() -> None:
    scripted = quick()
    scripted.llm.tokens = TokenUsage(input_tokens=31, output_tokens=9)
    turn = await traced(scripted)
    attributes = turn.collector.one("chat scripted LLM").attributes
    assert (attributes["gen_ai.usage.input_tokens"], attributes["gen_ai.usage.output_tokens"]) == (31, 9)
    read = turn.collector.measured("gen_ai.client.inference.usage.input_tokens")
    written = turn.collector.measured("gen_ai.client.inference.usage.output_tokens")
    assert (read.sum, read.unit, written.sum) == (31, "{token}", 9)


def test_tokens_that_nobody_counts_are_not_made_up(turn: Traced) -> None:
    assert not [name for one in turn.collector.spans for name in one.attributes if "usage" in name]
    assert not [one for one in turn.collector.metrics if "usage" in one.name]


async def test_it_goes_on_with_the_trace_of_its_request() -> None:
    turn = await traced(quick(), REQUEST.model_copy(update={"traceparent": PARENT}))
    root = turn.collector.one("turn")
    assert (root.trace_id, root.parent_id) == tuple(PARENT.split("-")[1:3])


async def test_a_turn_is_the_same_where_no_collector_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.1")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "1")  # it fails while the turn goes on
    with collecting() as gone:
        pass
    with telemetry_to(gone):
        emitted = await run_turn(quick())
    without = await run_turn(quick())
    assert isinstance(emitted[-1].event, TurnCompleted)
    assert what_came(emitted) == what_came(without)


def what_came(emitted: list[Emitted]) -> tuple[set[str], str, list[tuple[int, int]]]:
    """The kinds of events, the reply, and the audio segments; how they interleave is a matter of time."""
    events = [one.event for one in emitted]
    return (
        {event.event for event in events},
        "".join(event.text for event in events if isinstance(event, ReplyDelta)),
        [(event.index, event.segment) for event in events if isinstance(event, SpeechChunk)],
    )


async def test_a_retry_is_a_second_call_and_an_event_of_the_turn() -> None:
    turn = await traced(quick(llm=[[StageFailed("It broke.")], [*typed(REPLY, 1000)]]))
    failed, answered = (one for one in turn.collector.spans if one.name.startswith("chat"))
    assert (failed.failure, failed.attributes["error.type"]) == ("It broke.", "stage_failed")
    assert answered.failure is None
    root = turn.collector.one("turn")
    assert (root.events, root.failure) == (["retry"], None)
    errors = turn.collector.measured("gen_ai.client.inference.duration", error_type="stage_failed")
    assert errors.count == 1


async def test_a_failed_turn_says_which_stage_failed_and_whether_a_retry_can_help() -> None:
    turn = await traced(quick(tts=[[StageFailed("The voice is gone.")]]))
    root = turn.collector.one("turn")
    assert root.failure == "The voice is gone."
    assert root.attributes["s2s.outcome"] == "failed"
    error = {"error.type": "stage_failed", "s2s.error.stage": "tts", "s2s.error.retryable": True}
    assert error.items() <= root.attributes.items()
    assert turn.collector.below(turn.collector.one("critical path"))[-1].name == "tts lost"
    measured = turn.collector.measured("gen_ai.invoke_workflow.duration", error_type="stage_failed")
    assert measured.attributes["s2s.outcome"] == "failed"
