"""A turn that goes well: which events are emitted, in which order, and when."""

import asyncio
import logging
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.pipeline import Pipeline
from shared.errors import Stage
from shared.payloads import ChatMessage, Mp3Audio
from shared.settings import Settings
from shared.turn import (
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
from tests.support.scripted_stages import REQUEST, Emitted, Script, cast, run_turn, speech, typed
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


def test_the_first_audio_comes_when_the_stages_have_done_their_part_and_no_later() -> None:
    emitted = play(run_turn(cast(llm=[typed(THREE_SENTENCES)])))
    first_chunk = chunks_of(emitted)[0].text
    written_s = 0.15 + (len(first_chunk.split()) - 1) / 60
    assert first_audio_s(emitted) == pytest.approx(0.1 + written_s + 0.25 + 0.25 * 0.06 * len(first_chunk))


def test_the_reply_is_being_spoken_while_it_is_still_being_written() -> None:
    scripted = cast(llm=[typed(" ".join(["This is one more sentence of it."] * 20), tokens_per_s=10)])
    emitted = play(run_turn(scripted))
    ended_s = scripted.llm.calls[0].ended_s
    assert ended_s is not None
    assert first_audio_s(emitted) < ended_s / 4


def test_the_last_audio_comes_no_later_than_from_stages_run_one_after_another() -> None:
    reply = " ".join(["Here are twelve words that say nothing new about it at all."] * 8)
    emitted = play(run_turn(cast(llm=[typed(reply)])))
    writing_s = 0.15 + (len(reply.split()) - 1) / 60
    sequential_s = 0.1 + writing_s + 0.25 + 0.25 * 0.06 * len(reply)
    assert emitted[-1].at_s < sequential_s


def test_an_audio_segment_is_emitted_before_the_next_one_exists() -> None:
    voice: Script = [0.3, speech(1.0), 0.4, speech(1.0)]
    emitted = play(run_turn(cast(llm=[typed("It is sunny today.")], tts=[voice])))
    first, second = (t.at_s for t in emitted if isinstance(t.event, SpeechChunk))
    assert second - first == pytest.approx(0.4)


def test_chunks_grow_while_speech_is_ahead_of_the_ear() -> None:
    reply = " ".join(["This is a sentence of nine words or so."] * 12)
    lengths = [len(chunk.text) for chunk in chunks_of(play(run_turn(cast(llm=[typed(reply)]))))]
    assert lengths[0] < 50
    assert max(lengths) > 150
    assert len(lengths) <= 5


def test_a_client_that_takes_nothing_holds_its_turn_up_within_bounds() -> None:
    scripted = cast(llm=[typed(" ".join(["This is a sentence of nine words or so."] * 90), 2000)])

    async def story() -> int:
        events = Pipeline(scripted, Settings(max_undelivered_events=4)).stream(REQUEST)
        async for event in events:
            if isinstance(event, SpeechChunk):
                break
        await asyncio.sleep(3600)
        made = len(scripted.tts.calls)
        await events.aclose()
        return made

    assert play(story()) <= 6


def test_the_reply_keeps_its_order_when_text_comes_just_as_a_slow_client_takes_an_event() -> None:
    same_moment_s = 5e-10  # later, but within the event loop's resolution
    scripted = cast(asr=[["hello"]], llm=[["This comes first. ", 10, "This comes later."]])

    async def story() -> list[Emitted]:
        events = Pipeline(scripted, Settings(max_undelivered_events=1)).stream(REQUEST)
        emitted = [Emitted(0, await anext(events))]
        await asyncio.sleep(10 + same_moment_s)
        return emitted + [Emitted(0, event) async for event in events]

    assert reply_of(play(story())) == "This comes first. This comes later."


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


waits = st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0, 2)  # at the same moment, too
sentences = st.lists(
    st.sampled_from(["Yes.", "It is sunny, I think.", "Well…", "About 3.5 degrees.", "Take a hat."]),
    min_size=1,
    max_size=8,
)


@given(sentences, st.lists(waits, min_size=60, max_size=60), waits, st.integers(1, 4))
def test_whatever_the_pace_order_holds_and_the_ledger_adds_up(
    reply: list[str], pace: list[float], slow_client_s: float, undelivered: int
) -> None:
    deltas = [
        bit
        for sentence in reply
        for bit in (sentence[: len(sentence) // 2], sentence[len(sentence) // 2 :] + " ")
    ]
    script: Script = [step for pair in zip(pace, deltas, strict=False) for step in pair]

    async def story() -> list[Emitted]:
        emitted = []
        now = asyncio.get_running_loop().time
        settings = Settings(max_undelivered_events=undelivered)
        async for event in Pipeline(cast(llm=[script]), settings).stream(REQUEST):
            emitted.append(Emitted(now(), event))
            await asyncio.sleep(slow_client_s)
        return emitted

    emitted = play(story())
    spoken = " ".join(chunk.text for chunk in chunks_of(emitted))
    assert spoken.split() == "".join(deltas).split()
    assert reply_of(emitted) == "".join(deltas)
    assert [chunk.index for chunk in chunks_of(emitted)] == list(range(len(chunks_of(emitted))))
    end = end_of(emitted)
    assert isinstance(end, TurnCompleted)
    assert sum(span.duration_us for span in end.ledger.spans) == end.ledger.total_us


def test_a_second_chunk_is_not_spoken_before_the_request_allows_it() -> None:
    scripted = cast(llm=[typed(THREE_SENTENCES)])
    emitted = play(run_turn(scripted, REQUEST.model_copy(update={"second_chunk_after_s": 5.0})))
    first, second, *_ = scripted.tts.calls
    assert first.began_s < 1
    assert second.began_s == pytest.approx(5.0)
    assert " ".join(scripted.tts.texts) == THREE_SENTENCES
    held = [span for span in end_of(emitted).ledger.spans if span.activity == "held"]
    assert [span.stage for span in held] == [Stage.ORCHESTRATOR]


def test_a_first_chunk_that_takes_longer_than_that_holds_nothing_up() -> None:
    slow_voice: Script = [6.0, speech(1.0)]
    scripted = cast(llm=[typed(THREE_SENTENCES)], tts=[slow_voice])
    emitted = play(run_turn(scripted, REQUEST.model_copy(update={"second_chunk_after_s": 5.0})))
    assert scripted.tts.calls[1].began_s == scripted.tts.calls[0].ended_s
    assert "held" not in {span.activity for span in end_of(emitted).ledger.spans}


def test_a_reply_of_one_chunk_is_not_held_up() -> None:
    emitted = play(
        run_turn(cast(llm=[typed("Yes.")]), REQUEST.model_copy(update={"second_chunk_after_s": 5.0}))
    )
    assert emitted[-1].at_s < 1


@pytest.mark.parametrize("first", ["Good evening to you.", "Of course I can do that, and gladly."])
def test_playback_has_no_gap_with_a_tts_four_times_as_fast_as_real_time(first: str) -> None:
    emitted = play(run_turn(cast(llm=[typed(f"{first} {THREE_SENTENCES} {THREE_SENTENCES}")])))
    heard_until_s = first_audio_s(emitted)
    for came in emitted:
        if isinstance(came.event, SpeechChunk):
            assert came.at_s <= heard_until_s + 1e-6
            heard_until_s += came.event.audio.duration_s
