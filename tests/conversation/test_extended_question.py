"""Before the reply is audible, new speech extends the question: nothing that a person says is lost."""

from typing import Any

import numpy as np
import pytest

from bench.sounds import HZ
from shared.audio.decode import to_pcm
from shared.audio.pcm import Pcm
from shared.errors import Overloaded, Stage
from shared.payloads import Mp3Audio
from tests.support.conversations import (
    HELLO,
    MM_HM,
    OTHER_QUESTION,
    QUESTION,
    TIME_TO_NOTICE_S,
    Talking,
    answering,
)
from tests.support.scripted_stages import HANG, Cast, cast, typed
from tests.support.sounds import likeness


def said_to_the_llm(scripted: Cast) -> list[tuple[str, str]]:
    """The conversation that its last call got."""
    return [(one.role, one.content) for one in scripted.llm.calls[-1].given["messages"][1:]]


@pytest.mark.parametrize("speculative", [True, False])
@pytest.mark.parametrize(
    ("asr_s", "pause_s"), [(9.0, 4.0), (2.0, 1.3)], ids=["cold start", "a pause in a sentence"]
)
def test_who_speaks_again_before_the_transcript_is_answered_to_all_of_it(
    talking: Talking, asr_s: float, pause_s: float, speculative: bool
) -> None:
    scripted = answering("Never played.", "Never played.", "It is four.", asr_s=asr_s)
    again_s = 0.5 + QUESTION.duration_s + pause_s
    conversed = talking([(0.5, QUESTION), (again_s, HELLO)], scripted, speculative=speculative)
    assert conversed.outcomes == ["completed"]
    said = scripted.asr.calls[-1].given
    assert_holds(said, QUESTION, HELLO)
    assert conversed.turns[0].question == said
    assert said_to_the_llm(scripted) == [("user", conversed.turns[0].transcript)]
    assert len(conversed.turns[0].record.dropped_requests_us) == len(scripted.asr.calls) - 1
    assert not scripted.under_way


def assert_holds(audio: Mp3Audio, *lines: Pcm) -> None:
    """The lines are in it, in their order."""
    whole, start = to_pcm(audio).samples, 0
    for line in lines:
        size = whole.size + line.num_samples  # np.correlate takes a second
        spectrum = np.fft.rfft(whole[start:], size) * np.fft.rfft(line.samples, size).conj()
        at = int(np.fft.irfft(spectrum, size)[: whole.size - start].argmax())
        part = whole[start + at :][: line.num_samples]
        assert likeness(part, line.samples) > 0.9
        start += at + line.num_samples


@pytest.mark.parametrize("pending", [[HANG], [1.2, Overloaded("Too much at once.", Stage.LLM)]])
def test_who_speaks_again_before_the_reply_is_answered_to_all_of_it(
    talking: Talking, pending: list[Any]
) -> None:
    scripted = cast(asr=[[0.1, "what is"], [0.1, "what is the answer"]], llm=[pending, typed("It is four.")])
    again_s = 0.5 + QUESTION.duration_s + 1.03
    conversed = talking([(0.5, QUESTION), (again_s, OTHER_QUESTION)], scripted, stage_attempts=1)
    assert (conversed.outcomes, conversed.turns[0].transcript) == (["completed"], "what is the answer")
    assert_holds(scripted.asr.calls[-1].given, QUESTION, OTHER_QUESTION)
    assert said_to_the_llm(scripted) == [("user", "what is the answer")]
    assert not scripted.under_way


def test_a_word_too_short_to_interrupt_is_not_lost_before_the_reply(talking: Talking) -> None:
    scripted = answering("Never played.", "It is four.", asr_s=6.0)
    conversed = talking([(0.5, QUESTION), (4.0, MM_HM)], scripted)
    assert conversed.outcomes == ["completed"]
    assert_holds(scripted.asr.calls[-1].given, QUESTION, MM_HM)


def test_the_question_is_extended_as_often_as_somebody_speaks(talking: Talking) -> None:
    scripted = answering(*["Never played."] * 2, "It is four.", asr_s=9.0)
    lines = [(0.5, QUESTION), (4.0, HELLO), (8.0, OTHER_QUESTION)]
    conversed = talking(lines, scripted)
    assert conversed.outcomes == ["completed"]
    assert_holds(scripted.asr.calls[-1].given, QUESTION, HELLO, OTHER_QUESTION)


def test_a_noise_before_the_reply_changes_nothing(talking: Talking) -> None:
    blip = Pcm(OTHER_QUESTION.samples[: round(0.08 * HZ)].copy(), HZ)
    quiet, noisy = (answering("It is four.", asr_s=4.0) for _ in range(2))
    without = talking([(0.5, QUESTION)], quiet)
    conversed = talking([(0.5, QUESTION), (4.0, blip)], noisy)
    assert len(conversed.seen.phases) > len(without.seen.phases)  # it was noticed
    assert (conversed.outcomes, len(noisy.asr.calls)) == (["completed"], 1)
    assert conversed.turns[0].played == "It is four."
    assert conversed.voice_to_voice_s() == pytest.approx(without.voice_to_voice_s(), abs=TIME_TO_NOTICE_S)


def test_a_reply_that_comes_while_somebody_speaks_again_is_not_played(talking: Talking) -> None:
    again_s = 0.5 + QUESTION.duration_s + 1.3
    scripted = answering("Never played.", "It is four.", asr_s=1.45)  # its speech comes in the second line
    conversed = talking([(0.5, QUESTION), (again_s, OTHER_QUESTION)], scripted)
    assert scripted.tts.calls[0].ended_s
    assert again_s < scripted.tts.calls[0].ended_s < again_s + OTHER_QUESTION.duration_s
    assert conversed.outcomes == ["completed"]
    assert conversed.sound_in(0.0, again_s + OTHER_QUESTION.duration_s + 0.9) == 0
    assert conversed.turns[0].played == "It is four."


@pytest.mark.parametrize("speculative", [True, False])
@pytest.mark.parametrize("asr_s", [[0.1, 0.1, 0.1, 0.1], [5.0, 1.0, 3.0, 0.5]])
def test_of_a_monologue_longer_than_an_utterance_may_be_every_part_is_answered(
    talking: Talking, asr_s: list[float], speculative: bool
) -> None:
    lines, at_s = [], 0.5
    for pcm in (QUESTION, OTHER_QUESTION) * 4:
        lines.append((at_s, pcm))
        at_s += pcm.duration_s
    by_length: list[list[float | str]] = [
        [seconds, f"part {number}"] for number, seconds in enumerate(asr_s, start=1)
    ]
    scripted = cast(asr=by_length, llm=[typed("It is four.")])
    conversed = talking(lines, scripted, max_utterance_s=4.0, speculative=speculative, silence_after_s=7.0)
    parts = [call.given for call in scripted.asr.calls]
    assert len(parts) == 3
    assert sum(part.duration_s for part in parts) == pytest.approx(at_s - 0.5, abs=1.0)
    assert all(part.duration_s <= 4.0 for part in parts)
    assert [turn.transcript for turn in conversed.turns] == ["part 1", "part 2", "part 3"]
    assert conversed.outcomes == ["interrupted", "interrupted", "completed"]
    assert said_to_the_llm(scripted) == [("user", "part 1 part 2 part 3")]
    assert conversed.sound_in(0.0, at_s) == 0
    assert not scripted.under_way


def test_hanging_up_in_a_monologue_leaves_nothing_running_and_records_each_part(talking: Talking) -> None:
    lines = [(0.5 + number * QUESTION.duration_s, QUESTION) for number in range(6)]
    scripted = answering("Never played.", asr_s=60.0)
    conversed = talking(lines, scripted, max_utterance_s=3.0, hang_up_at_s=5.5)
    assert conversed.outcomes == ["interrupted"]
    assert not scripted.under_way
