"""A spoken conversation: one side is recorded speech, the other scripted stages, on a virtual clock."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest

from bench.sounds import HZ, recording
from client.audio.microphone import FileMicrophone
from client.audio.speaker import FileSpeaker
from conversation.conversation import Conversation, Phase
from conversation.reply import SpokenTurn
from orchestrator.pipeline import Pipeline
from shared.audio.pcm import Pcm
from shared.errors import Misconfigured, Overloaded, Stage
from shared.payloads import ChatMessage, Mp3Audio
from shared.settings import Settings
from shared.turn import TurnEvent, TurnFailed, TurnRequest
from tests.support.conversations import (
    LONG_REPLY,
    MM_HM,
    OTHER_QUESTION,
    QUESTION,
    TIME_TO_NOTICE_S,
    Talking,
    answering,
)
from tests.support.scripted_stages import cast, speech, typed
from tests.support.virtual_clock import play

END_OF_TURN_S = 1.0


def test_a_question_is_answered_and_the_reply_played(talking: Talking) -> None:
    conversed = talking([(0.5, QUESTION)], answering("It is four."))
    assert conversed.outcomes == ["completed"]
    assert (conversed.turns[0].transcript, conversed.turns[0].played) == ("question 1", "It is four.")
    assert conversed.sound_in(0, 60) == pytest.approx(0.06 * len("It is four."), abs=0.02)
    assert conversed.seen.phases[:4] == [Phase.LISTENING, Phase.HEARING, Phase.THINKING, Phase.SPEAKING]


@pytest.mark.parametrize("end_of_turn_silence_s", [0.7, 1.0])
@pytest.mark.parametrize("speculation_after_s", [0.25, 0.4])
@pytest.mark.parametrize("first_audio_s", [0.2, 0.45, 0.75, 1.0, 3.0])
def test_the_silence_that_ends_the_turn_hides_the_pipelines_time(
    talking: Talking, first_audio_s: float, speculation_after_s: float, end_of_turn_silence_s: float
) -> None:
    stage_s = first_audio_s / 3
    scripted = cast(
        asr=[[stage_s, "question 1"]], llm=[[stage_s, "It is four."]], tts=[[stage_s, speech(0.1)]]
    )
    conversed = talking(
        [(0.2, QUESTION)],
        scripted,
        silence_after_s=0.0,
        speculation_after_s=speculation_after_s,
        end_of_turn_silence_s=end_of_turn_silence_s,
    )
    ledger = conversed.turns[0].record.ledger
    assert ledger
    assert ledger.time_to_first_audio_us == pytest.approx(first_audio_s * 1e6, abs=100)
    promised_s = max(end_of_turn_silence_s, speculation_after_s + first_audio_s)
    assert conversed.voice_to_voice_s() == pytest.approx(promised_s, abs=TIME_TO_NOTICE_S)


def test_without_speculation_the_pipeline_waits_for_the_end_of_the_turn(talking: Talking) -> None:
    scripted = answering("It is four.")
    conversed = talking([(0.5, QUESTION)], scripted, speculative=False)
    assert len(scripted.asr.calls) == 1
    assert conversed.voice_to_voice_s() > END_OF_TURN_S + 0.4
    assert conversed.turns[0].record.kept_speculation_us is None


@pytest.mark.parametrize("speculative", [True, False])
def test_a_request_says_whether_it_is_speculative(tmp_path: Path, speculative: bool) -> None:
    sent: list[TurnRequest] = []

    async def conversation() -> None:
        async def turns(request: TurnRequest) -> AsyncGenerator[TurnEvent, None]:
            sent.append(request)
            async with aclosing(Pipeline(answering("Four."), Settings()).stream(request)) as events:
                async for event in events:
                    yield event

        microphone = FileMicrophone(recording([(0.5, QUESTION)], 4.0))
        async with microphone, FileSpeaker(tmp_path / "played.wav") as speaker:
            conversation = Conversation(turns, speaker, Settings(), speculative=speculative)
            await conversation.run(microphone, ended=lambda: microphone.ended)

    play(conversation())
    assert [request.speculative for request in sent] == [speculative]


def test_a_speculation_is_dropped_when_the_speaker_goes_on_and_all_of_it_is_answered(
    talking: Talking,
) -> None:
    scripted = answering("Never played.", "It is four.", asr_s=0.1)
    second_s = 0.5 + QUESTION.duration_s + 0.6
    conversed = talking([(0.5, QUESTION), (second_s, OTHER_QUESTION)], scripted)
    assert conversed.outcomes == ["completed"]
    assert conversed.turns[0].played == "It is four."
    first, whole = (call.given for call in scripted.asr.calls)
    assert isinstance(whole, Mp3Audio)
    assert whole.duration_s > QUESTION.duration_s + OTHER_QUESTION.duration_s > first.duration_s
    assert conversed.summary.requests_dropped == 1
    assert conversed.voice_to_voice_s() <= END_OF_TURN_S + TIME_TO_NOTICE_S
    assert not scripted.under_way


def test_a_speculation_speaks_no_second_chunk_before_the_turn_is_certain(talking: Talking) -> None:
    scripted = answering(LONG_REPLY)
    conversed = talking([(0.5, QUESTION)], scripted)
    certain_s = scripted.asr.calls[0].began_s + END_OF_TURN_S - 0.25
    assert scripted.tts.calls[0].began_s < certain_s
    assert scripted.tts.calls[1].began_s >= certain_s - TIME_TO_NOTICE_S
    assert conversed.turns[0].played == LONG_REPLY


def test_the_conversation_so_far_goes_with_the_next_question(talking: Talking) -> None:
    scripted = answering("It is four.", "It is forty-two.")
    conversed = talking([(0.5, QUESTION), (6.0, OTHER_QUESTION)], scripted)
    assert conversed.outcomes == ["completed", "completed"]
    messages: list[ChatMessage] = scripted.llm.calls[-1].given["messages"]
    assert [(one.role, one.content) for one in messages[1:]] == [
        ("user", "question 1"),
        ("assistant", "It is four."),
        ("user", "question 2"),
    ]


def test_speech_interrupts_the_reply_and_only_what_was_played_is_remembered(talking: Talking) -> None:
    scripted = answering(LONG_REPLY, "It is forty-two.")
    interrupts_s = 5.0
    conversed = talking([(0.5, QUESTION), (interrupts_s, OTHER_QUESTION)], scripted)
    assert conversed.outcomes == ["interrupted", "completed"]
    played = conversed.turns[0].played
    assert played.endswith(" …")
    assert LONG_REPLY.startswith(played.removesuffix(" …"))
    messages: list[ChatMessage] = scripted.llm.calls[-1].given["messages"]
    assert [one.content for one in messages[1:]] == ["question 1", played, conversed.turns[1].transcript]
    assert conversed.sound_in(interrupts_s + 0.3, interrupts_s + OTHER_QUESTION.duration_s) == 0
    assert not scripted.under_way


def test_a_short_sound_pauses_the_reply_and_no_word_of_it_is_lost(talking: Talking) -> None:
    scripted = answering(LONG_REPLY)
    conversed = talking([(0.5, QUESTION), (4.0, MM_HM)], scripted, silence_after_s=1.0)
    assert conversed.outcomes == ["completed"]
    assert conversed.turns[0].played == LONG_REPLY
    assert Phase.PAUSED in conversed.seen.phases
    assert conversed.sound_in(0, 60) == pytest.approx(0.06 * sum(map(len, scripted.tts.texts)), abs=0.1)
    assert len(scripted.llm.calls) == 1


def test_a_back_channel_is_not_answered_however_short_the_end_of_turn_silence(talking: Talking) -> None:
    for end_of_turn_silence_s in (0.2, 0.25, 0.3, 0.33, 0.4):
        scripted = answering(LONG_REPLY, "Never played.")
        conversed = talking(
            [(0.5, QUESTION), (4.0, MM_HM)],
            scripted,
            silence_after_s=1.0,
            end_of_turn_silence_s=end_of_turn_silence_s,
            speculation_after_s=0.2,
        )
        assert (conversed.outcomes, conversed.turns[0].played) == (["completed"], LONG_REPLY)
        assert Phase.PAUSED in conversed.seen.phases


def test_a_short_end_of_turn_silence_cuts_no_interruption_in_two(talking: Talking) -> None:
    scripted = answering(LONG_REPLY, "It is forty-two.")
    halves = [(4.0, Pcm(OTHER_QUESTION.samples[: HZ // 3], HZ)), (4.0 + 0.48, OTHER_QUESTION)]
    conversed = talking(
        [(0.5, QUESTION), *halves], scripted, end_of_turn_silence_s=0.2, speculation_after_s=0.2
    )
    assert conversed.outcomes == ["interrupted", "completed"]
    assert conversed.turns[1].question.duration_s > 0.48 + OTHER_QUESTION.duration_s


def test_a_failed_turn_is_shown_and_the_conversation_goes_on(talking: Talking) -> None:
    overloaded = Overloaded("Too much at once.", Stage.ASR)
    scripted = cast(asr=[[overloaded], [overloaded], [0.1, "again"]], llm=[typed("It is four.")])
    conversed = talking([(0.5, QUESTION), (5.0, OTHER_QUESTION)], scripted)
    assert conversed.outcomes == ["failed", "completed"]
    failed = [event for event in conversed.seen.events if isinstance(event, TurnFailed)]
    assert [event.message for event in failed] == ["Too much at once."]
    assert conversed.turns[1].played == "It is four."


def test_a_reply_that_breaks_off_is_played_as_far_as_it_goes(talking: Talking) -> None:
    broken = [*typed("It is four. And that is"), 3.0, Misconfigured("No key.", Stage.LLM)]
    conversed = talking([(0.5, QUESTION)], cast(asr=[[0.1, "sum"]], llm=[broken]))
    assert conversed.outcomes == ["failed"]
    assert conversed.turns[0].played == "It is four. …"


def test_noise_and_silence_are_never_sent(talking: Talking) -> None:
    scripted = answering("Never played.")
    noise = Pcm(np.random.default_rng(1).normal(0, 0.05, 5 * HZ).astype(np.float32), HZ)
    assert talking([(1.0, noise)], scripted).turns == []
    assert scripted.asr.calls == []


def test_an_utterance_without_a_word_is_not_answered(talking: Talking) -> None:
    scripted = cast(asr=[[0.1, ""]], llm=[typed("Never played.")])
    assert talking([(0.5, QUESTION)], scripted).outcomes == ["no_speech"]
    assert scripted.llm.calls == []


def test_hanging_up_in_the_middle_of_a_reply_leaves_nothing_running(talking: Talking) -> None:
    scripted = answering(LONG_REPLY)
    conversed = talking([(0.5, QUESTION)], scripted, hang_up_at_s=5.0)
    assert conversed.outcomes == ["interrupted"]
    assert not scripted.under_way
    assert conversed.summary.outcomes == {"interrupted": 1}


def test_hanging_up_in_the_middle_of_a_speculation_leaves_nothing_running(talking: Talking) -> None:
    scripted = answering(LONG_REPLY, asr_s=9.0)
    talking([(0.5, QUESTION)], scripted, hang_up_at_s=0.5 + QUESTION.duration_s + 0.6)
    assert len(scripted.asr.calls) == 1
    assert not scripted.under_way


@pytest.mark.parametrize("questions", [1, 5], ids=["hanging up", "in a monologue"])
def test_an_error_at_the_end_of_a_turn_leaves_nothing_running(tmp_path: Path, questions: int) -> None:
    scripted = answering(LONG_REPLY)
    lines = [(0.5 + number * QUESTION.duration_s, QUESTION) for number in range(questions)]

    async def conversation() -> None:
        microphone, settings = FileMicrophone(recording(lines, 20.0)), Settings(max_utterance_s=4.0)
        hang_up_at_s = lines[-1][0] + 5.0
        async with microphone, FileSpeaker(tmp_path / "played.wav") as speaker, asyncio.timeout(hang_up_at_s):
            turns = Pipeline(scripted, settings).stream
            await Conversation(turns, speaker, settings, on_turn=broken).run(microphone)

    def broken(turn: SpokenTurn) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        play(conversation())
    assert not scripted.under_way


def test_what_is_played_is_the_reply_without_a_gap(talking: Talking) -> None:
    scripted = answering("The sun is out today. It will stay dry until the evening.")
    conversed = talking([(0.5, QUESTION)], scripted)
    assert len(scripted.tts.calls) == 2
    loud = np.flatnonzero(np.abs(conversed.played) > 1e-3)
    spoken_s = 0.06 * sum(map(len, scripted.tts.texts))
    assert (loud[-1] - loud[0]) / HZ == pytest.approx(spoken_s, abs=0.02)
    assert conversed.summary.underruns == 0
