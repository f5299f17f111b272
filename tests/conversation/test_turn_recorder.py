"""The record of a turn."""

from collections.abc import Callable
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from conversation.turn_record import TurnRecord, VoiceToVoice
from conversation.turn_recorder import TurnRecorder
from shared.errors import AttemptLost, Stage
from shared.ledger import Ledger, Span, StageBusy
from shared.payloads import Mp3Audio
from shared.turn import (
    Models,
    NoSpeechDetected,
    SpeechChunk,
    TurnCompleted,
    TurnEvent,
    TurnFailed,
    TurnRequest,
)
from tests.support.scripted_stages import REQUEST

UTTERANCE = Mp3Audio(mp3=b"u" * 4_000, sample_rate_hz=16_000, num_samples=16_000)
SEGMENT = Mp3Audio(mp3=b"p" * 1_000, sample_rate_hz=24_000, num_samples=12_000)
CHUNK = SpeechChunk(index=0, segment=0, text="Four.", audio=SEGMENT)


def ledger(total_us: int = 400_000) -> Ledger:
    span = Span(stage=Stage.ASR, activity="work", duration_us=total_us)
    return Ledger(
        spans=(span,), total_us=total_us, busy=(StageBusy(stage=Stage.ASR, calls=1, busy_us=total_us),)
    )


def completed(total_us: int = 400_000) -> TurnCompleted:
    return TurnCompleted(ledger=ledger(total_us), models=Models(asr="tiny"))


class Story:
    """A turn whose moments are set by hand; the conversation began at second 100."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.recorder = TurnRecorder(
            lambda: self.now_s, "session", conversation_began_s=100.0, speech_began_s=101.0
        )

    def at(self, now_s: float) -> TurnRecorder:
        self.now_s = now_s
        return self.recorder


def spoken(
    story: Story, *, sent_s: float, certain_s: float, arrived_s: float, audible_s: float
) -> TurnRecord:
    """A turn in which speech ended at second 102; the moments come in their order."""
    moments: list[tuple[float, Callable[[TurnRecorder], None]]] = [
        (certain_s, TurnRecorder.turn_certain),
        (sent_s, lambda recorder: recorder.request_sent(TurnRequest(audio=UTTERANCE, turn_id="turn"))),
        (arrived_s, lambda recorder: recorder.observe(CHUNK)),
        (arrived_s, lambda recorder: recorder.observe(completed())),
        (audible_s, lambda recorder: recorder.first_audio(audible_s)),
    ]
    story.recorder.speech_ended(102.0)
    for now_s, happens in sorted(moments, key=lambda moment: moment[0]):
        happens(story.at(now_s))
    return story.at(audible_s + 0.5).record(played_s=0.5)


def test_without_speculation_the_silence_comes_before_the_pipeline() -> None:
    record = spoken(Story(), certain_s=103.0, sent_s=103.0, arrived_s=103.6, audible_s=103.65)
    assert record.voice_to_voice == VoiceToVoice(
        pause_us=1_000_000, first_audio_us=600_000, held_us=0, playback_us=50_000, total_us=1_650_000
    )
    assert (record.kept_speculation_us, record.hidden_us) == (None, 0)


def test_a_quick_speculation_is_held_until_the_turn_is_certain() -> None:
    record = spoken(Story(), sent_s=102.25, arrived_s=102.85, certain_s=103.0, audible_s=103.05)
    assert record.voice_to_voice == VoiceToVoice(
        pause_us=250_000, first_audio_us=600_000, held_us=150_000, playback_us=50_000, total_us=1_050_000
    )
    assert record.hidden_us == 600_000  # all of the pipeline's time


def test_a_slow_speculation_is_not_held_and_hides_the_rest_of_the_silence() -> None:
    record = spoken(Story(), sent_s=102.25, certain_s=103.0, arrived_s=104.0, audible_s=104.0)
    assert record.voice_to_voice == VoiceToVoice(
        pause_us=250_000, first_audio_us=1_750_000, held_us=0, playback_us=0, total_us=2_000_000
    )
    assert record.kept_speculation_us == record.hidden_us == 750_000


moments_s = st.floats(102, 1e5)


@given(sent_s=moments_s, certain_s=moments_s, waited_s=st.floats(0, 100), started_s=st.floats(0, 1))
def test_voice_to_voice_adds_up_exactly_and_speculation_explains_what_it_saved(
    sent_s: float, certain_s: float, waited_s: float, started_s: float
) -> None:
    arrived_s = sent_s + waited_s
    audible_s = max(arrived_s, certain_s) + started_s
    record = spoken(Story(), sent_s=sent_s, certain_s=certain_s, arrived_s=arrived_s, audible_s=audible_s)
    spans = record.voice_to_voice
    assert spans
    assert spans.total_us == round(audible_s * 1e6) - 102_000_000
    if sent_s < certain_s:
        without_us = round(certain_s * 1e6) - 102_000_000 + spans.first_audio_us + spans.playback_us
        assert spans.total_us + record.hidden_us == without_us


@given(st.lists(st.floats(0, 200), min_size=6, max_size=6))
def test_moments_in_any_order_still_make_a_record(times_s: list[float]) -> None:
    ended_s, audible_s, began_s, *clock_s = times_s
    sent_s, arrived_s, certain_s = accumulate(clock_s)
    story = Story()
    story.recorder.speech_began_s = began_s
    story.recorder.speech_ended(ended_s)
    story.at(sent_s).request_sent(REQUEST)
    story.at(arrived_s).observe(CHUNK)
    story.at(certain_s).turn_certain()
    story.recorder.first_audio(audible_s)
    assert story.recorder.record(interrupted=True).voice_to_voice


def test_the_pause_is_counted_from_the_last_time_that_the_person_fell_silent() -> None:
    story = Story()
    story.recorder.speech_ended(101.5)
    record = spoken(story, certain_s=103.0, sent_s=103.0, arrived_s=103.1, audible_s=103.1)
    assert record.voice_to_voice
    assert record.voice_to_voice.pause_us == 1_000_000


def test_what_the_ledger_does_not_explain_is_the_networks() -> None:
    story = Story()
    story.at(103.0).request_sent(REQUEST)
    story.at(103.7).observe(completed(total_us=400_000))
    record = story.recorder.record()
    assert (record.end_to_end_us, record.pipeline_us, record.network_us) == (700_000, 400_000, 300_000)


def test_a_ledger_that_claims_more_than_the_client_saw_is_not_believed() -> None:
    story = Story()
    story.at(103.0).request_sent(REQUEST)
    story.at(103.2).observe(completed(total_us=400_000))
    record = story.recorder.record()
    assert (record.end_to_end_us, record.pipeline_us, record.network_us) == (200_000, 200_000, 0)


def test_a_dropped_request_costs_its_time_and_the_next_one_starts_anew() -> None:
    story = Story()
    story.at(102.25).request_sent(TurnRequest(audio=UTTERANCE))
    story.at(102.50).observe(CHUNK)
    story.at(102.75).request_dropped()
    record = spoken(story, sent_s=104.0, certain_s=104.75, arrived_s=104.5, audible_s=104.75)
    assert record.dropped_requests_us == (500_000,)
    assert record.kept_speculation_us is not None
    assert record.reply_us == 500_000


def test_a_speculation_that_had_ended_costs_no_more_time() -> None:
    story = Story()
    story.at(102.25).request_sent(REQUEST)
    story.at(102.5).observe(completed())
    story.at(102.9).request_dropped()
    assert story.recorder.record().dropped_requests_us == (250_000,)


def test_a_request_in_place_of_a_speculation_is_none_itself() -> None:
    story = Story()
    story.at(102.25).request_sent(REQUEST)
    story.at(103.0).turn_certain()
    story.at(103.5).request_sent(REQUEST)
    record = story.recorder.record()
    assert record.kept_speculation_us is None
    assert len(record.dropped_requests_us) == 1


@pytest.mark.parametrize(
    ("end", "interrupted", "outcome"),
    [
        (completed(), False, "completed"),
        (completed(), True, "interrupted"),
        (None, True, "interrupted"),
        (None, False, "interrupted"),
        (NoSpeechDetected(ledger=ledger(), models=Models()), False, "no_speech"),
        (
            TurnFailed(
                ledger=ledger(), models=Models(), kind="new", stage=Stage.TTS, retryable=True, message="Mute."
            ),
            True,
            "failed",
        ),
    ],
)
def test_the_outcome_is_how_the_turn_ended(end: TurnEvent | None, interrupted: bool, outcome: str) -> None:
    story = Story()
    story.recorder.request_sent(REQUEST)
    story.recorder.observe(CHUNK)
    if end:
        story.recorder.observe(end)
    record = story.recorder.record(interrupted=interrupted, played_s=0.2)
    assert record.outcome == outcome
    assert record.played_us == 200_000
    assert (record.ledger is None) == (end is None)
    assert not record.failure or (record.failure.kind, record.failure.message) == ("new", "Mute.")


def test_a_turn_that_is_lost_without_a_last_event_has_failed() -> None:
    story = Story()
    story.recorder.request_sent(REQUEST)
    story.recorder.failed(AttemptLost("The orchestrator was interrupted."))
    record = story.recorder.record()
    assert record.outcome == "failed"
    assert record.failure
    assert record.failure.kind == "attempt_lost"


def test_a_turn_whose_request_never_went_out_is_a_record_too() -> None:
    record = Story().at(103.0).record(interrupted=True)
    assert (record.outcome, record.turn_id, record.began_us, record.ended_us) == (
        "interrupted",
        "",
        1_000_000,
        3_000_000,
    )


def test_more_than_arrived_cannot_have_been_played() -> None:
    story = Story()
    story.recorder.request_sent(REQUEST)
    story.recorder.observe(CHUNK)
    assert story.recorder.record(played_s=0.500_1).played_us == 500_000


def test_spans_that_do_not_add_up_are_no_voice_to_voice() -> None:
    with pytest.raises(ValidationError, match="not to 11 µs"):
        VoiceToVoice(pause_us=1, first_audio_us=2, held_us=3, playback_us=4, total_us=11)


@pytest.mark.parametrize(
    "wrong",
    [
        {"ended_us": 5},
        {"outcome": "failed"},
        {"outcome": "completed", "ledger": None, "end_to_end_us": None},
        {"ledger": None},
        {"played_us": 500_001},
        {"end_to_end_us": 599_999},
    ],
)
def test_a_record_that_contradicts_itself_is_none(wrong: dict[str, object]) -> None:
    fields = dict(spoken(Story(), sent_s=103.0, certain_s=103.0, arrived_s=103.6, audible_s=103.7))
    TurnRecord(**fields)
    with pytest.raises(ValidationError):
        TurnRecord(**(fields | wrong))
