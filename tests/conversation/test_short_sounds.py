"""A short sound over a reply is transcribed before the reply goes on: "stop" interrupts it, "okay" not."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from bench.sounds import HZ
from conversation.conversation import Phase
from conversation.short_sound import TIME_LIMIT_S, ShortSounds, words_of
from conversation.tasks import Tasks
from shared.audio.pcm import Pcm
from shared.errors import Overloaded, Stage
from shared.settings import Settings
from shared.turn import TurnEvent, TurnRequest
from tests.support.conversations import LONG_REPLY, MM_HM, OTHER_QUESTION, QUESTION, Conversed, Talking
from tests.support.scripted_stages import HANG, Cast, Script, cast, typed

SOUND_S = 4.0
"""The reply is audible then."""


def hears(sound: list[Any], *, reply: str = LONG_REPLY) -> Cast:
    """Stages whose ASR does this to a short sound, after a question."""
    again: Script = [0.1, "stop, what is the answer"]
    return cast(asr=[[0.1, "what is it"], sound, again], llm=[typed(reply), typed("It is four.")])


def assert_not_interrupted(conversed: Conversed, scripted: Cast) -> None:
    assert conversed.outcomes == ["completed"]
    assert conversed.turns[0].played == LONG_REPLY
    assert Phase.PAUSED in conversed.seen.phases
    assert conversed.sound_in(0, 60) == pytest.approx(0.06 * sum(map(len, scripted.tts.texts)), abs=0.1)
    assert len(scripted.llm.calls) == 1
    assert not scripted.under_way


@pytest.mark.parametrize("said", ["Stop.", "no", "Wait!", "Oh, no, no."])
def test_a_word_of_the_list_interrupts_the_reply_and_is_answered(talking: Talking, said: str) -> None:
    scripted = hears([0.1, said])
    conversed = talking([(0.5, QUESTION), (SOUND_S, MM_HM)], scripted)
    assert conversed.outcomes == ["interrupted", "completed"]
    assert conversed.turns[0].played.endswith(" …")
    assert conversed.turns[1].transcript == "stop, what is the answer"
    assert conversed.sound_in(SOUND_S + 0.2, SOUND_S + 1.2) == 0
    assert conversed.turns[1].question.duration_s > MM_HM.duration_s
    assert not scripted.under_way


@pytest.mark.parametrize("said", ["Okay.", "mm-hm", "Yeah, yeah.", "know", "stopping", ""])
def test_any_other_word_does_not_interrupt_it_nor_is_it_answered(talking: Talking, said: str) -> None:
    scripted = hears([0.1, said])
    conversed = talking([(0.5, QUESTION), (SOUND_S, MM_HM)], scripted, silence_after_s=1.0)
    assert_not_interrupted(conversed, scripted)
    assert len(scripted.asr.calls) == 2


@pytest.mark.parametrize(
    "asr",
    [[HANG], [TIME_LIMIT_S + 0.1, "stop"], [Overloaded("Too much at once.", Stage.ASR)]],
    ids=["never", "too late", "failed"],
)
def test_the_reply_goes_on_if_there_is_no_transcript_in_time(talking: Talking, asr: list[Any]) -> None:
    scripted = hears(asr)
    conversed = talking([(0.5, QUESTION), (SOUND_S, MM_HM)], scripted, silence_after_s=3.0, stage_attempts=1)
    assert_not_interrupted(conversed, scripted)
    silent_s = SOUND_S + MM_HM.duration_s + 0.3
    assert conversed.sound_in(silent_s, silent_s + TIME_LIMIT_S + 0.5) > 0


def test_only_the_sound_is_transcribed_and_nothing_else_is_done(talking: Talking) -> None:
    scripted = hears([0.1, "okay"])
    talking([(0.5, QUESTION), (SOUND_S, MM_HM)], scripted)
    sound = scripted.asr.calls[1].given
    assert MM_HM.duration_s < sound.duration_s < MM_HM.duration_s + 1.0
    assert len(scripted.llm.calls) == 1


def test_what_is_too_short_for_a_word_is_not_transcribed(talking: Talking) -> None:
    blip = Pcm(OTHER_QUESTION.samples[: round(0.08 * HZ)].copy(), HZ)
    scripted = hears([0.1, "stop"])
    conversed = talking([(0.5, QUESTION), (SOUND_S, blip)], scripted)
    assert_not_interrupted(conversed, scripted)
    assert len(scripted.asr.calls) == 1


def test_who_goes_on_while_it_is_transcribed_interrupts_as_ever(talking: Talking) -> None:
    scripted = hears([0.9, "okay"])
    again_s = SOUND_S + MM_HM.duration_s + 0.6
    conversed = talking([(0.5, QUESTION), (SOUND_S, MM_HM), (again_s, OTHER_QUESTION)], scripted)
    assert conversed.outcomes == ["interrupted", "completed"]
    first = scripted.asr.calls[1]
    assert first.ended_s
    assert first.ended_s - first.began_s < 0.8  # it was cancelled
    assert conversed.turns[1].question.duration_s > 0.6 + OTHER_QUESTION.duration_s  # all that was said


def test_a_second_short_sound_is_transcribed_with_the_first(talking: Talking) -> None:
    scripted = cast(
        asr=[[0.1, "what is it"], [0.9, "okay"], [0.1, "okay, stop"], [0.1, "stop"]],
        llm=[typed(LONG_REPLY), typed("It is four.")],
    )
    again_s = SOUND_S + MM_HM.duration_s + 0.6
    conversed = talking([(0.5, QUESTION), (SOUND_S, MM_HM), (again_s, MM_HM)], scripted)
    assert conversed.outcomes == ["interrupted", "completed"]
    assert scripted.asr.calls[2].given.duration_s > 0.6 + MM_HM.duration_s


def test_the_words_are_a_setting_and_without_any_nothing_is_transcribed(talking: Talking) -> None:
    lines = [(0.5, QUESTION), (SOUND_S, MM_HM)]
    assert talking(lines, hears([0.1, "Basta!"]), interrupting_words="basta no").outcomes[0] == "interrupted"
    scripted = hears([0.1, "stop"])
    assert_not_interrupted(talking(lines, scripted, interrupting_words=""), scripted)
    assert len(scripted.asr.calls) == 1


def test_hanging_up_while_it_is_transcribed_leaves_nothing_running(talking: Talking) -> None:
    scripted = hears([HANG])
    conversed = talking(
        [(0.5, QUESTION), (SOUND_S, MM_HM)], scripted, hang_up_at_s=SOUND_S + MM_HM.duration_s + 0.8
    )
    assert len(scripted.asr.calls) == 2
    assert conversed.outcomes == ["interrupted"]
    assert not scripted.under_way


async def test_an_unexpected_error_of_the_turn_is_raised_where_the_decision_is_asked_for() -> None:
    async def turns(request: TurnRequest) -> AsyncGenerator[TurnEvent, None]:
        raise ZeroDivisionError
        yield

    sounds = ShortSounds(turns, Settings(), Tasks(), session_id="session")
    assert sounds.decision() is None
    sounds.decide(MM_HM.samples)
    for _ in range(5):
        await asyncio.sleep(0)
    with pytest.raises(ZeroDivisionError):
        sounds.decision()
    assert sounds.decision() is None


def test_words_are_told_apart_whatever_surrounds_them() -> None:
    assert words_of("No, WAIT -- don't. Stop!") == {"no", "wait", "don't", "stop"}
    assert words_of(" … ") == set()
