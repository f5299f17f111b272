"""A spoken conversation: one side is recorded speech, the other scripted stages, on a virtual clock."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.sounds import HZ, Line, example, recording
from shared.audio.pcm import Pcm
from shared.errors import Misconfigured, Overloaded, Stage
from shared.payloads import ChatMessage, Mp3Audio
from shared.turn import TurnFailed
from tests.support.conversations import Conversed, converse
from tests.support.scripted_stages import HANG, Cast, cast, speech, typed
from tests.support.virtual_clock import play

QUESTION = example("what-is-two-plus-two")
OTHER_QUESTION = example("what-is-six-times-seven")
END_OF_TURN_S = 1.0
TIME_TO_NOTICE_S = 0.05
LONG_REPLY = "The sun is out today. It will stay dry until the evening. Take a hat with you. Enjoy it."

Talking = Callable[..., Conversed]


@pytest.fixture
def talking(tmp_path: Path) -> Talking:
    """Plays a conversation in which these lines are said."""

    def conversation(lines: Iterable[Line], scripted: Cast, **how: Any) -> Conversed:
        lines = list(lines)
        ends_s = max(at_s + pcm.duration_s for at_s, pcm in lines) + how.pop("silence_after_s", 2.0)
        return play(converse(recording(lines, ends_s), scripted, tmp_path, **how))

    return conversation


def answering(*replies: str, asr_s: float = 0.1) -> Cast:
    texts = [f"question {number}" for number in range(1, 9)]
    return cast(asr=[[asr_s, text] for text in texts], llm=[typed(reply) for reply in replies])


def test_a_question_is_answered_and_the_answer_heard(talking: Talking) -> None:
    conversed = talking([(0.5, QUESTION)], answering("It is four."))
    assert conversed.outcomes == ["completed"]
    assert (conversed.turns[0].transcript, conversed.turns[0].heard) == ("question 1", "It is four.")
    assert conversed.sound_in(0, 60) == pytest.approx(0.06 * len("It is four."), abs=0.02)
    assert conversed.seen.phases[:3] == ["listening", "hearing", "speaking"]


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


def test_a_speculation_is_dropped_when_the_speaker_goes_on_and_all_of_it_is_answered(
    talking: Talking,
) -> None:
    scripted = answering("Never heard.", "It is four.", asr_s=0.1)
    second_s = 0.5 + QUESTION.duration_s + 0.6
    conversed = talking([(0.5, QUESTION), (second_s, OTHER_QUESTION)], scripted)
    assert conversed.outcomes == ["completed"]
    assert conversed.turns[0].heard == "It is four."
    first, whole = (call.given for call in scripted.asr.calls)
    assert isinstance(whole, Mp3Audio)
    assert whole.duration_s > QUESTION.duration_s + OTHER_QUESTION.duration_s > first.duration_s
    assert conversed.summary.speculation.dropped == 1
    assert conversed.voice_to_voice_s() <= END_OF_TURN_S + TIME_TO_NOTICE_S
    assert not scripted.under_way


def test_a_speculation_speaks_no_second_chunk_before_the_turn_is_certain(talking: Talking) -> None:
    scripted = answering(LONG_REPLY)
    conversed = talking([(0.5, QUESTION)], scripted)
    certain_s = scripted.asr.calls[0].began_s + END_OF_TURN_S - 0.25
    assert scripted.tts.calls[0].began_s < certain_s
    assert scripted.tts.calls[1].began_s >= certain_s - TIME_TO_NOTICE_S
    assert conversed.turns[0].heard == LONG_REPLY


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


def test_speech_interrupts_the_reply_and_only_what_was_heard_is_remembered(talking: Talking) -> None:
    scripted = answering(LONG_REPLY, "It is forty-two.")
    interrupts_s = 5.0
    conversed = talking([(0.5, QUESTION), (interrupts_s, OTHER_QUESTION)], scripted)
    assert conversed.outcomes == ["interrupted", "completed"]
    heard = conversed.turns[0].heard
    assert heard.endswith(" …")
    assert LONG_REPLY.startswith(heard.removesuffix(" …"))
    messages: list[ChatMessage] = scripted.llm.calls[-1].given["messages"]
    assert [one.content for one in messages[1:]] == ["question 1", heard, conversed.turns[1].transcript]
    assert conversed.sound_in(interrupts_s + 0.3, interrupts_s + OTHER_QUESTION.duration_s) == 0
    assert not scripted.under_way


def test_a_short_sound_pauses_the_reply_and_no_word_of_it_is_lost(talking: Talking) -> None:
    scripted = answering(LONG_REPLY)
    yes = Pcm(QUESTION.samples[: round(0.3 * HZ)].copy(), HZ)
    conversed = talking([(0.5, QUESTION), (4.0, yes)], scripted, silence_after_s=1.0)
    assert conversed.outcomes == ["completed"]
    assert conversed.turns[0].heard == LONG_REPLY
    assert "paused" in conversed.seen.phases
    assert conversed.sound_in(0, 60) == pytest.approx(0.06 * sum(map(len, scripted.tts.texts)), abs=0.1)
    assert len(scripted.asr.calls) == 1


def test_who_goes_on_before_the_answer_has_begun_is_heard_out(talking: Talking) -> None:
    scripted = cast(asr=[[0.1, "what is"], [0.1, "the answer"]], llm=[[HANG], typed("It is four.")])
    conversed = talking([(0.5, QUESTION), (4.5, OTHER_QUESTION)], scripted)
    assert conversed.outcomes == ["interrupted", "completed"]
    messages: list[ChatMessage] = scripted.llm.calls[-1].given["messages"]
    assert [one.content for one in messages[1:]] == ["what is", "the answer"]
    assert not scripted.under_way


def test_a_failed_turn_is_shown_and_the_conversation_goes_on(talking: Talking) -> None:
    overloaded = Overloaded("Too much at once.", Stage.ASR)
    scripted = cast(asr=[[overloaded], [overloaded], [0.1, "again"]], llm=[typed("It is four.")])
    conversed = talking([(0.5, QUESTION), (5.0, OTHER_QUESTION)], scripted)
    assert conversed.outcomes == ["failed", "completed"]
    failed = [event for event in conversed.seen.events if isinstance(event, TurnFailed)]
    assert [event.message for event in failed] == ["Too much at once."]
    assert conversed.turns[1].heard == "It is four."


def test_a_reply_that_breaks_off_is_heard_as_far_as_it_goes(talking: Talking) -> None:
    broken = [*typed("It is four. And that is"), 3.0, Misconfigured("No key.", Stage.LLM)]
    conversed = talking([(0.5, QUESTION)], cast(asr=[[0.1, "sum"]], llm=[broken]))
    assert conversed.outcomes == ["failed"]
    assert conversed.turns[0].heard == "It is four."


def test_noise_and_silence_are_never_sent(talking: Talking) -> None:
    scripted = answering("Never heard.")
    noise = Pcm(np.random.default_rng(1).normal(0, 0.05, 5 * HZ).astype(np.float32), HZ)
    assert talking([(1.0, noise)], scripted).turns == []
    assert scripted.asr.calls == []


def test_an_utterance_in_which_no_word_is_heard_is_not_answered(talking: Talking) -> None:
    scripted = cast(asr=[[0.1, ""]], llm=[typed("Never heard.")])
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


def test_what_is_heard_is_the_reply_without_a_gap(talking: Talking) -> None:
    scripted = answering("The sun is out today. It will stay dry until the evening.")
    conversed = talking([(0.5, QUESTION)], scripted)
    assert len(scripted.tts.calls) == 2
    loud = np.flatnonzero(np.abs(conversed.heard) > 1e-3)
    spoken_s = 0.06 * sum(map(len, scripted.tts.texts))
    assert (loud[-1] - loud[0]) / HZ == pytest.approx(spoken_s, abs=0.02)
    assert conversed.summary.underruns == 0
