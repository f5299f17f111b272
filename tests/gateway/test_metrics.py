"""What the gateway counts."""

import asyncio
from contextlib import aclosing

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.metrics import Metrics
from orchestrator.pipeline import Pipeline
from shared.errors import StageFailed
from shared.settings import Settings
from shared.turn import SpeechChunk, TurnCompleted, TurnEvent, TurnRequest
from tests.support.scripted_stages import HANG, REQUEST, Cast, cast, typed
from tests.support.virtual_clock import play


def figures(metrics: Metrics) -> dict[str, float]:
    """All samples, as Prometheus would read them: `name{label=value,...}` and the figure."""
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {
        sample.name
        + "{"
        + ",".join(f"{name}={value}" for name, value in sample.labels.items())
        + "}": sample.value
        for family in families
        for sample in family.samples
    }


async def count(metrics: Metrics, scripted: Cast, request: TurnRequest = REQUEST) -> list[TurnEvent]:
    turns = metrics.counted(Pipeline(scripted, Settings(stage_attempts=1)).stream)
    return [event async for event in turns(request)]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def test_a_turn_is_counted_with_each_span_of_its_ledger(metrics: Metrics) -> None:
    events = play(count(metrics, cast()))
    (*_, end) = events
    assert isinstance(end, TurnCompleted)
    ledger = end.ledger
    assert ledger.time_to_first_audio_us
    counted = figures(metrics)
    assert counted["s2s_turns_total{outcome=completed}"] == 1
    assert counted["s2s_turns_running{}"] == 0
    assert counted["s2s_time_to_first_audio_seconds_sum{}"] == ledger.time_to_first_audio_us / 1e6
    sums = {name: value for name, value in counted.items() if name.startswith("s2s_turn_span_seconds_sum")}
    assert sum(sums.values()) == pytest.approx(ledger.total_us / 1e6)
    assert counted["s2s_turn_span_seconds_sum{activity=work,stage=asr}"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("scripted", "request_", "outcome"),
    [
        (cast(asr=[[""]]), REQUEST, "no_speech"),
        (cast(asr=[[StageFailed("broken")]]), REQUEST, "failed"),
        (cast(), REQUEST.model_copy(update={"transcribe_only": True}), "transcribed"),
    ],
)
def test_turns_are_counted_by_how_they_ended(
    metrics: Metrics, scripted: Cast, request_: TurnRequest, outcome: str
) -> None:
    play(count(metrics, scripted, request_))
    assert figures(metrics)[f"s2s_turns_total{{outcome={outcome}}}"] == 1


def test_a_turn_that_is_closed_early_is_cancelled_in_its_stages_too(metrics: Metrics) -> None:
    scripted = cast(llm=[[*typed("It is sunny outside. Take a hat."), HANG]])

    async def interrupted() -> None:
        turns = metrics.counted(Pipeline(scripted, Settings()).stream)
        async with aclosing(turns(REQUEST)) as events:
            async for event in events:
                if isinstance(event, SpeechChunk):
                    assert figures(metrics)["s2s_turns_running{}"] == 1
                    break
        assert not scripted.under_way

    play(interrupted())
    counted = figures(metrics)
    assert counted["s2s_turns_total{outcome=cancelled}"] == 1
    assert counted["s2s_turns_running{}"] == 0


def test_a_turn_that_waits_for_a_stage_to_start_is_in_the_queue(metrics: Metrics) -> None:
    scripted = cast()
    scripted.asr.start_s = 5.0

    async def watched() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(count(metrics, scripted))
            await asyncio.sleep(1.0)
            assert figures(metrics)["s2s_queue{stage=asr}"] == 1
        assert figures(metrics)["s2s_queue{stage=asr}"] == 0

    play(watched())


def test_a_turn_that_is_cancelled_in_the_queue_leaves_it(metrics: Metrics) -> None:
    scripted = cast(asr=[[HANG]])
    scripted.asr.start_s = 5.0

    async def watched() -> None:
        waiting = asyncio.create_task(count(metrics, scripted))
        await asyncio.sleep(1.0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert figures(metrics)["s2s_queue{stage=asr}"] == 0

    play(watched())


def test_sessions_are_counted_while_they_last_and_for_ever(metrics: Metrics) -> None:
    with metrics.session("realtime"), metrics.session("realtime"):
        assert figures(metrics)["s2s_sessions{type=realtime}"] == 2
    with pytest.raises(ConnectionError), metrics.session("transcription"):
        raise ConnectionError
    counted = figures(metrics)
    assert counted["s2s_sessions{type=realtime}"] == counted["s2s_sessions{type=transcription}"] == 0
    assert counted["s2s_sessions_opened_total{type=realtime}"] == 2


def test_voice_to_voice_and_errors_are_counted(metrics: Metrics) -> None:
    metrics.voice_to_voice(0.85)
    metrics.error("invalid_api_key")
    counted = figures(metrics)
    assert counted["s2s_voice_to_voice_seconds_bucket{le=1.0}"] == 1
    assert counted["s2s_voice_to_voice_seconds_bucket{le=0.7}"] == 0
    assert counted["s2s_errors_total{code=invalid_api_key}"] == 1


def test_two_gateways_in_one_process_count_apart(metrics: Metrics) -> None:
    metrics.error("overloaded")
    assert "s2s_errors_total{code=overloaded}" not in figures(Metrics())
