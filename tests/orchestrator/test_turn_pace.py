"""The pace of a turn: when its audio comes, and who waits for whom."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.pipeline import Pipeline
from shared.errors import Stage
from shared.settings import Settings
from shared.turn import (
    SpeechChunk,
    TurnCompleted,
)
from tests.orchestrator.test_turn import THREE_SENTENCES, chunks_of, end_of, first_audio_s, reply_of
from tests.support.scripted_stages import REQUEST, Emitted, Script, cast, run_turn, speech, typed
from tests.support.virtual_clock import play


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
