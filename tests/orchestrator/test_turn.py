"""A turn that goes well: which events are emitted, in which order, and what is refused."""

import asyncio
import logging
from typing import Any, Literal

import pytest
from pydantic import ValidationError

from orchestrator.pipeline import Pipeline
from shared.errors import Stage
from shared.payloads import ChatMessage, Mp3Audio, Word
from shared.settings import Settings
from shared.turn import (
    Models,
    NoSpeechDetected,
    ReplyDelta,
    SpeechChunk,
    StageWaiting,
    TranscriptReady,
    TurnCompleted,
    TurnEnd,
    TurnFailed,
    TurnRequest,
    TurnStarted,
)
from tests.support.scripted_stages import REQUEST, Emitted, cast, run_turn, speech, typed
from tests.support.virtual_clock import play

THREE_SENTENCES = "The sun is out today. It will stay dry until the evening. Take a hat with you."


def chunks_of(emitted: list[Emitted]) -> list[SpeechChunk]:
    return [t.event for t in emitted if isinstance(t.event, SpeechChunk)]


def reply_of(emitted: list[Emitted]) -> str:
    return "".join(t.event.text for t in emitted if isinstance(t.event, ReplyDelta))


def end_of(emitted: list[Emitted]) -> TurnEnd:
    assert isinstance(emitted[-1].event, TurnEnd)
    assert sum(isinstance(t.event, TurnEnd) for t in emitted) == 1
    return emitted[-1].event


def first_audio_s(emitted: list[Emitted]) -> float:
    return next(t.at_s for t in emitted if isinstance(t.event, SpeechChunk))


def test_a_turn_emits_its_start_the_transcript_the_reply_with_its_speech_and_its_end() -> None:
    emitted = play(run_turn(cast(llm=[typed(THREE_SENTENCES, tokens_per_s=5)])))
    kinds = [type(t.event) for t in emitted]
    assert kinds[:3] == [TurnStarted, TranscriptReady, ReplyDelta]
    assert kinds[-1] is TurnCompleted
    assert set(kinds[3:-1]) == {ReplyDelta, SpeechChunk}
    assert reply_of(emitted) == THREE_SENTENCES


def test_every_word_is_spoken_once_and_in_order() -> None:
    emitted = play(run_turn(cast(llm=[typed(THREE_SENTENCES)])))
    assert " ".join(chunk.text for chunk in chunks_of(emitted)) == THREE_SENTENCES
    assert [(chunk.index, chunk.segment) for chunk in chunks_of(emitted)] == [(0, 0), (1, 0)]


def test_a_turn_in_which_nobody_speaks_ends_there_and_costs_the_llm_nothing() -> None:
    scripted = cast(asr=[[0.1, "  "]])
    emitted = play(run_turn(scripted))
    assert [type(t.event) for t in emitted] == [TurnStarted, NoSpeechDetected]
    assert scripted.llm.calls == []
    assert scripted.tts.calls == []


def test_the_llm_gets_the_system_prompt_the_newest_messages_and_the_transcript() -> None:
    roles: tuple[Literal["user", "assistant"], ...] = ("user", "assistant") * 2
    conversation = tuple(ChatMessage(role=role, content=f"message {n}") for n, role in enumerate(roles))
    request = TurnRequest(
        audio=REQUEST.audio,
        conversation=conversation,
        system_prompt="Be brief.",
        max_tokens=900,
        temperature=0.1,
    )
    scripted = cast(asr=[["and now?"]])
    play(run_turn(scripted, request, max_conversation_messages=2, max_reply_tokens=150))
    given = scripted.llm.calls[0].given
    assert [(m.role, m.content) for m in given["messages"]] == [
        ("system", "Be brief."),
        ("user", "message 2"),
        ("assistant", "message 3"),
        ("user", "and now?"),
    ]
    assert given["max_tokens"] == 150
    assert given["temperature"] == 0.1


@pytest.mark.parametrize(("newest", "kept"), [(0, 0), (1, 0), (2, 2), (3, 2), (4, 4), (5, 4)])
def test_a_conversation_that_is_cut_begins_with_the_user(newest: int, kept: int) -> None:
    roles: tuple[Literal["user", "assistant"], ...] = ("user", "assistant") * 3
    conversation = tuple(ChatMessage(role=role, content=f"message {n}") for n, role in enumerate(roles))
    scripted = cast(asr=[["and now?"]])
    request = TurnRequest(audio=REQUEST.audio, conversation=conversation)
    play(run_turn(scripted, request, max_conversation_messages=newest))
    messages = scripted.llm.calls[0].given["messages"][1:]
    assert messages == [*conversation[6 - kept :], ChatMessage(role="user", content="and now?")]


def test_a_turn_that_only_transcribes_completes_behind_the_transcript(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scripted = cast(asr=[["stop"]])
    with caplog.at_level(logging.INFO, "speech_to_speech"):
        emitted = play(run_turn(scripted, REQUEST.model_copy(update={"transcribe_only": True})))
    (record,) = caplog.records
    assert record.__dict__["fields"]["outcome"] == "transcribed"
    started, transcript, completed = (one.event for one in emitted)
    assert isinstance(started, TurnStarted)
    assert isinstance(transcript, TranscriptReady)
    assert transcript.text == "stop"
    assert isinstance(completed, TurnCompleted)
    assert completed.models == Models(asr="scripted ASR")
    assert not scripted.llm.calls
    assert not scripted.tts.calls


def test_a_transcript_has_its_words_times_for_those_who_want_them() -> None:
    words = (Word(text="stop", start_s=0.2, end_s=0.5),)
    for wanted in (True, False):
        scripted = cast(asr=[["stop"]])
        scripted.asr.words = words
        asked = {"transcribe_only": True, "word_times": wanted}
        emitted = play(run_turn(scripted, REQUEST.model_copy(update=asked)))
        (transcript,) = (one.event for one in emitted if isinstance(one.event, TranscriptReady))
        assert (transcript.text, transcript.words) == ("stop", words if wanted else None)


def test_without_audio_there_is_nothing_to_transcribe() -> None:
    with pytest.raises(ValidationError, match="without audio"):
        TurnRequest(conversation=(ChatMessage(role="user", content="hello"),), transcribe_only=True)


def test_what_was_said_without_an_answer_and_the_transcript_are_one_message_for_the_llm() -> None:
    conversation = (ChatMessage(role="user", content="what is the weather"),)
    request = TurnRequest(audio=REQUEST.audio, conversation=conversation, system_prompt="Be brief.")
    scripted = cast(asr=[["in Oslo"]])
    play(run_turn(scripted, request))
    messages = scripted.llm.calls[0].given["messages"]
    assert [(m.role, m.content) for m in messages[1:]] == [("user", "what is the weather in Oslo")]


def test_a_reply_without_end_is_ended() -> None:
    scripted = cast(llm=[["This goes on. "] * 1000])
    emitted = play(run_turn(scripted, max_reply_characters=400))
    assert isinstance(end_of(emitted), TurnCompleted)
    assert 400 <= len(reply_of(emitted)) < 420
    assert not scripted.under_way


def test_a_slow_start_is_shown_as_waiting_and_is_no_failure() -> None:
    scripted = cast()
    scripted.llm.start_s = 40.0
    emitted = play(run_turn(scripted))
    assert [t.event.stage for t in emitted if isinstance(t.event, StageWaiting)] == [Stage.LLM]
    assert isinstance(end_of(emitted), TurnCompleted)


def test_the_end_names_the_models() -> None:
    assert end_of(play(run_turn(cast()))).models.tts == "scripted TTS"


def test_more_turns_than_the_bound_are_refused_at_once_and_the_others_go_on() -> None:
    scripted = cast()

    async def story() -> list[TurnEnd]:
        pipeline = Pipeline(scripted, Settings(max_active_turns=2))

        async def turn() -> list[Emitted]:
            return [Emitted(0, event) async for event in pipeline.stream(REQUEST)]

        first = await asyncio.gather(turn(), turn(), turn())
        return [end_of(emitted) for emitted in [*first, await turn()]]

    one, two, three, later = play(story())
    assert isinstance(one, TurnCompleted)
    assert isinstance(two, TurnCompleted)
    assert isinstance(later, TurnCompleted)
    assert isinstance(three, TurnFailed)
    assert (three.kind, three.retryable, three.ledger.busy) == ("overloaded", True, ())


@pytest.mark.parametrize(
    ("audio", "settings", "kind"),
    [
        (speech(0.05), {}, "bad_audio"),
        (speech(3.0), {"max_audio_s": 2.0}, "too_long"),
        (
            Mp3Audio(mp3=b"x" * 2000, sample_rate_hz=16000, num_samples=16000),
            {"max_request_bytes": 1000},
            "too_long",
        ),
    ],
)
def test_audio_out_of_bounds_is_refused_before_any_stage(audio: Any, settings: Any, kind: str) -> None:
    scripted = cast()
    end = end_of(play(run_turn(scripted, TurnRequest(audio=audio), **settings)))
    assert isinstance(end, TurnFailed)
    assert (end.kind, end.retryable) == (kind, False)
    assert scripted.asr.calls == []


def test_the_ledger_shows_where_the_time_to_first_audio_went() -> None:
    scripted = cast(llm=[typed("It is sunny today. Take a hat.")])
    scripted.asr.start_s, scripted.llm.start_s, scripted.tts.start_s = 0.2, 0.3, 0.4
    scripted.asr.transport_s, scripted.llm.transport_s, scripted.tts.transport_s = 0.01, 0.02, 0.03
    emitted = play(run_turn(scripted))
    ledger = end_of(emitted).ledger
    assert ledger.time_to_first_audio_us == round(first_audio_s(emitted) * 1e6)
    assert ledger.total_us == round(emitted[-1].at_s * 1e6)
    words = [(str(span.stage), span.activity, span.duration_us) for span in ledger.spans]
    text = "It is sunny today."
    assert words[:9] == [
        ("asr", "start", 200_000),
        ("asr", "work", 100_000),
        ("asr", "transport", 10_000),
        ("llm", "start", 300_000),
        ("llm", "first token", 150_000),
        ("llm", "transport", 20_000),
        ("llm", "work", pytest.approx(3 * (1e6 / 60 + 20_000), abs=3)),
        ("tts", "start", 400_000),
        ("tts", "work", pytest.approx(250_000 + 0.25 * 60_000 * len(text), abs=3)),
    ]


def test_the_ledger_holds_what_each_stage_says_it_worked() -> None:
    busy = {b.stage: (b.calls, b.busy_us) for b in end_of(play(run_turn(cast()))).ledger.busy}
    assert busy[Stage.ASR] == (1, 100_000)
    assert busy[Stage.TTS][0] == 2


def test_one_line_is_logged_a_turn_without_its_texts(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "speech_to_speech"):
        play(run_turn(cast(asr=[["my secret"]], llm=[["Your secret is safe."]])))
    (record,) = caplog.records
    fields = record.__dict__["fields"]
    assert fields["outcome"] == "completed"
    assert fields["turn_id"] == REQUEST.turn_id
    assert "secret" not in str(fields)


def test_texts_are_logged_where_a_setting_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "speech_to_speech"):
        play(run_turn(cast(asr=[["my secret"]]), log_texts=True))
    assert caplog.records[0].__dict__["fields"]["transcript"] == "my secret"
