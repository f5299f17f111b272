"""The record of a turn, as the client saw it."""

from collections.abc import Callable
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from client.metrics.session_line import SessionEnded
from client.metrics.traffic import Traffic
from client.metrics.turn_book import TurnBook
from client.metrics.turn_record import TurnRecord, VoiceToVoice
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
from tests.support.scripted_stages import REQUEST, speech

UTTERANCE = Mp3Audio(mp3=b"u" * 4_000, sample_rate_hz=16_000, num_samples=16_000)
PIECE = Mp3Audio(mp3=b"p" * 1_000, sample_rate_hz=24_000, num_samples=12_000)
CHUNK = SpeechChunk(index=0, segment=0, text="Four.", audio=PIECE)


def ledger(total_us: int = 400_000) -> Ledger:
    span = Span(stage=Stage.ASR, activity="work", duration_us=total_us)
    return Ledger(
        spans=(span,), total_us=total_us, busy=(StageBusy(stage=Stage.ASR, calls=1, busy_us=total_us),)
    )


def completed(total_us: int = 400_000) -> TurnCompleted:
    return TurnCompleted(ledger=ledger(total_us), models=Models(asr="ears"))


class Story:
    """A turn whose moments are set by hand; the session began at second 100."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.book = TurnBook(lambda: self.now_s, "session", session_began_s=100.0, speech_began_s=101.0)

    def at(self, now_s: float) -> TurnBook:
        self.now_s = now_s
        return self.book


def spoken(
    story: Story, *, sent_s: float, certain_s: float, arrived_s: float, sounded_s: float
) -> TurnRecord:
    """A turn in which speech ended at second 102; each moment is told in its order."""
    moments: list[tuple[float, Callable[[TurnBook], None]]] = [
        (certain_s, TurnBook.turn_certain),
        (sent_s, lambda book: book.request_sent(TurnRequest(audio=UTTERANCE, turn_id="turn"))),
        (arrived_s, lambda book: book.told(CHUNK)),
        (arrived_s, lambda book: book.told(completed())),
        (sounded_s, TurnBook.first_sound),
    ]
    story.book.speech_ended(102.0)
    for now_s, happens in sorted(moments, key=lambda moment: moment[0]):
        happens(story.at(now_s))
    return story.at(sounded_s + 0.5).record(heard_s=0.5)


def test_without_speculation_the_silence_comes_before_the_pipeline() -> None:
    record = spoken(Story(), certain_s=103.0, sent_s=103.0, arrived_s=103.6, sounded_s=103.65)
    assert record.voice_to_voice == VoiceToVoice(
        pause_us=1_000_000, first_audio_us=600_000, held_us=0, playback_us=50_000, total_us=1_650_000
    )
    assert (record.kept_speculation_us, record.hidden_us) == (None, 0)


def test_a_quick_speculation_is_held_until_the_turn_is_certain() -> None:
    record = spoken(Story(), sent_s=102.25, arrived_s=102.85, certain_s=103.0, sounded_s=103.05)
    assert record.voice_to_voice == VoiceToVoice(
        pause_us=250_000, first_audio_us=600_000, held_us=150_000, playback_us=50_000, total_us=1_050_000
    )
    assert record.hidden_us == 600_000  # all of the pipeline's time


def test_a_slow_speculation_is_not_held_and_hides_the_rest_of_the_silence() -> None:
    record = spoken(Story(), sent_s=102.25, certain_s=103.0, arrived_s=104.0, sounded_s=104.0)
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
    sounded_s = max(arrived_s, certain_s) + started_s
    record = spoken(Story(), sent_s=sent_s, certain_s=certain_s, arrived_s=arrived_s, sounded_s=sounded_s)
    spans = record.voice_to_voice
    assert spans
    assert spans.total_us == round(sounded_s * 1e6) - 102_000_000
    if sent_s < certain_s:
        without_us = round(certain_s * 1e6) - 102_000_000 + spans.first_audio_us + spans.playback_us
        assert spans.total_us + record.hidden_us == without_us


@given(st.lists(st.floats(0, 200), min_size=6, max_size=6))
def test_moments_told_in_any_order_still_make_a_record(times_s: list[float]) -> None:
    ended_s, sounded_s, began_s, *clock_s = times_s
    sent_s, arrived_s, certain_s = accumulate(clock_s)
    story = Story()
    story.book.speech_began_s = began_s
    story.book.speech_ended(ended_s)
    story.at(sent_s).request_sent(REQUEST)
    story.at(arrived_s).told(CHUNK)
    story.at(certain_s).turn_certain()
    story.book.first_sound(sounded_s)
    assert story.book.record(interrupted=True).voice_to_voice


def test_the_pause_is_counted_from_the_last_time_that_the_person_fell_silent() -> None:
    story = Story()
    story.book.speech_ended(101.5)
    record = spoken(story, certain_s=103.0, sent_s=103.0, arrived_s=103.1, sounded_s=103.1)
    assert record.voice_to_voice
    assert record.voice_to_voice.pause_us == 1_000_000


def test_what_the_ledger_does_not_explain_is_the_networks() -> None:
    story = Story()
    story.at(103.0).request_sent(REQUEST)
    story.at(103.7).told(completed(total_us=400_000))
    record = story.book.record()
    assert (record.end_to_end_us, record.pipeline_us, record.network_us) == (700_000, 400_000, 300_000)


def test_a_ledger_that_claims_more_than_the_client_saw_is_not_believed() -> None:
    story = Story()
    story.at(103.0).request_sent(REQUEST)
    story.at(103.2).told(completed(total_us=400_000))
    record = story.book.record()
    assert (record.end_to_end_us, record.pipeline_us, record.network_us) == (200_000, 200_000, 0)


def test_a_dropped_speculation_costs_its_time_and_its_bytes_and_the_next_request_starts_anew() -> None:
    story = Story()
    story.at(102.25).request_sent(TurnRequest(audio=UTTERANCE))
    story.at(102.50).told(CHUNK)
    story.at(102.75).speculation_dropped()
    record = spoken(story, sent_s=104.0, certain_s=104.75, arrived_s=104.5, sounded_s=104.75)
    (dropped,) = record.dropped_speculations
    assert dropped.pipeline_us == 500_000
    assert (
        dropped.traffic
        == record.traffic
        == Traffic(sent_bytes=4_000, sent_pcm_bytes=32_000, received_bytes=1_000, received_pcm_bytes=24_000)
    )
    assert record.kept_speculation_us is not None
    assert record.reply_us == 500_000


def test_a_speculation_that_had_ended_costs_no_more_time() -> None:
    story = Story()
    story.at(102.25).request_sent(REQUEST)
    story.at(102.5).told(completed())
    story.at(102.9).speculation_dropped()
    assert story.book.record().dropped_speculations[0].pipeline_us == 250_000


def test_a_request_in_place_of_a_speculation_is_none_itself() -> None:
    story = Story()
    story.at(102.25).request_sent(REQUEST)
    story.at(103.0).turn_certain()
    story.at(103.5).request_sent(REQUEST)
    record = story.book.record()
    assert record.kept_speculation_us is None
    assert len(record.dropped_speculations) == 1


def test_speech_that_never_left_the_process_is_no_traffic() -> None:
    story = Story()
    story.book.request_sent(REQUEST)
    story.book.told(SpeechChunk(index=0, segment=0, text="Four.", audio=speech(2.0)))
    record = story.book.record()
    assert record.traffic == Traffic()
    assert record.reply_us == 2_000_000


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
    story.book.request_sent(REQUEST)
    story.book.told(CHUNK)
    if end:
        story.book.told(end)
    record = story.book.record(interrupted=interrupted, heard_s=0.2)
    assert record.outcome == outcome
    assert record.heard_us == 200_000
    assert (record.ledger is None) == (end is None)
    assert not record.failure or (record.failure.kind, record.failure.message) == ("new", "Mute.")


def test_a_turn_that_is_lost_without_a_last_event_has_failed() -> None:
    story = Story()
    story.book.request_sent(REQUEST)
    story.book.failed(AttemptLost("The orchestrator was interrupted."))
    record = story.book.record()
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


def test_more_than_arrived_cannot_have_been_heard() -> None:
    story = Story()
    story.book.request_sent(REQUEST)
    story.book.told(CHUNK)
    assert story.book.record(heard_s=0.500_1).heard_us == 500_000


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
        {"heard_us": 500_001},
        {"end_to_end_us": 599_999},
    ],
)
def test_a_record_that_contradicts_itself_is_none(wrong: dict[str, object]) -> None:
    fields = dict(spoken(Story(), sent_s=103.0, certain_s=103.0, arrived_s=103.6, sounded_s=103.7))
    TurnRecord(**fields)
    with pytest.raises(ValidationError):
        TurnRecord(**(fields | wrong))


def test_a_duration_of_a_thousand_digits_is_damage() -> None:
    with pytest.raises(ValidationError):
        SessionEnded(session_id="one", duration_us=10**1000)
