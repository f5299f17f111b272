"""What ends a turn, where a model judges in each pause whether the speaker has finished."""

import asyncio
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.sounds import HZ
from conversation.audio import Samples
from conversation.turn_detection import silence_s
from shared.settings import Settings
from tests.support.conversations import HELLO, OTHER_QUESTION, QUESTION, TIME_TO_NOTICE_S, Talking, answering
from tests.support.sounds import likeness

FIXED_S, SHORTEST_S, LONGEST_S = 1.0, 0.3, 2.0
ASKED_AFTER_S = 0.25
NOT_FINISHED_AGAIN_S = 1.6
"""After the end of the question: later than the fixed silence, sooner than the longest one."""


class Judge:
    """Answers in each pause what it is to, after some time; or with an error."""

    def __init__(self, *answers: float | Exception, takes_s: float = 0.08) -> None:
        self._answers = list(answers)
        self._takes_s = takes_s
        self.heard: list[Samples] = []

    async def probability(self, samples: Samples) -> float:
        self.heard.append(samples)
        await asyncio.sleep(self._takes_s)
        answer = self._answers[min(len(self.heard), len(self._answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_who_has_surely_finished_is_answered_after_the_shortest_silence(talking: Talking) -> None:
    scripted = answering("It is four.", asr_s=0.05)
    conversed = talking([(0.5, QUESTION)], scripted, turn_model=Judge(1.0))
    (end,) = conversed.turns[0].record.ends
    assert (end.ended_by, end.spoke_on) == ("model", False)
    assert end.silence_us / 1e6 == pytest.approx(max(SHORTEST_S, ASKED_AFTER_S + 0.08), abs=TIME_TO_NOTICE_S)
    ledger = conversed.turns[0].record.ledger
    assert ledger
    pipeline_s = (ledger.time_to_first_audio_us or 0) / 1e6
    assert conversed.voice_to_voice_s() == pytest.approx(ASKED_AFTER_S + pipeline_s, abs=TIME_TO_NOTICE_S)


def test_who_has_surely_not_finished_is_given_the_longest_silence(talking: Talking) -> None:
    again_s = 0.5 + QUESTION.duration_s + NOT_FINISHED_AGAIN_S
    scripted = answering("Never played.", "It is four.")
    judge = Judge(0.0, 1.0)
    conversed = talking([(0.5, QUESTION), (again_s, HELLO)], scripted, turn_model=judge)
    assert conversed.outcomes == ["completed"]
    assert [end.ended_by for end in conversed.turns[0].record.ends] == ["model"]  # it ended once
    assert len(judge.heard) == 2  # it is asked in every pause
    assert conversed.turns[0].played == "It is four."


def test_who_has_not_finished_and_says_no_more_is_answered_in_the_end(talking: Talking) -> None:
    conversed = talking([(0.5, QUESTION)], answering("It is four."), turn_model=Judge(0.0), silence_after_s=4)
    (end,) = conversed.turns[0].record.ends
    assert end.silence_us / 1e6 == pytest.approx(LONGEST_S, abs=TIME_TO_NOTICE_S)
    assert conversed.outcomes == ["completed"]


@pytest.mark.parametrize(
    "judge",
    [
        Judge(1.0, takes_s=60.0),
        Judge(ZeroDivisionError()),
        Judge(float("nan")),
        Judge(1.5),
    ],
    ids=["late", "broken", "not a number", "not a probability"],
)
def test_without_an_answer_the_silence_is_the_fixed_one(talking: Talking, judge: Judge) -> None:
    conversed = talking([(0.5, QUESTION)], answering("It is four."), turn_model=judge)
    (end,) = conversed.turns[0].record.ends
    assert end.ended_by == "fallback"
    assert end.silence_us / 1e6 == pytest.approx(FIXED_S, abs=TIME_TO_NOTICE_S)
    assert conversed.outcomes == ["completed"]


def test_a_late_answer_still_ends_the_turn_before_the_fixed_silence_does(talking: Talking) -> None:
    conversed = talking([(0.5, QUESTION)], answering("It is four."), turn_model=Judge(1.0, takes_s=0.4))
    (end,) = conversed.turns[0].record.ends
    assert end.ended_by == "model"
    assert end.silence_us / 1e6 == pytest.approx(ASKED_AFTER_S + 0.4, abs=TIME_TO_NOTICE_S)


def test_an_answer_about_what_was_said_before_the_speaker_went_on_changes_nothing(talking: Talking) -> None:
    judge = Judge(1.0, ZeroDivisionError(), takes_s=0.2)
    again_s = 0.5 + QUESTION.duration_s + 0.35
    conversed = talking([(0.5, QUESTION), (again_s, HELLO)], answering("Four.", "Four."), turn_model=judge)
    assert len(judge.heard) == 2
    (end,) = conversed.turns[0].record.ends
    assert end.ended_by == "fallback"
    assert end.silence_us / 1e6 == pytest.approx(FIXED_S, abs=TIME_TO_NOTICE_S)


def test_without_a_model_the_silence_is_fixed(talking: Talking) -> None:
    (end,) = talking([(0.5, QUESTION)], answering("It is four.")).turns[0].record.ends
    assert end.ended_by == "silence"
    assert end.silence_us / 1e6 == pytest.approx(FIXED_S, abs=TIME_TO_NOTICE_S)


def test_the_model_hears_what_was_said_up_to_now_at_most_eight_seconds(talking: Talking) -> None:
    lines, at_s = [], 0.5
    for pcm in (QUESTION, OTHER_QUESTION) * 5:
        lines.append((at_s, pcm))
        at_s += pcm.duration_s
    judge = Judge(1.0)
    talking([lines[0]], answering("Four."), turn_model=judge)
    (short,) = judge.heard
    assert QUESTION.duration_s < short.size / HZ < QUESTION.duration_s + 0.5 + 0.5
    at = int(np.correlate(short, QUESTION.samples, "valid").argmax())
    assert likeness(short[at:][: QUESTION.num_samples], QUESTION.samples) > 0.9
    talking(lines, answering("Four."), turn_model=judge)
    assert judge.heard[-1].size == 8 * HZ


# Who is cut off loses nothing


@pytest.mark.parametrize("speculative", [True, False])
def test_who_is_cut_off_is_answered_to_all_of_it_and_it_is_counted(
    talking: Talking, speculative: bool
) -> None:
    again_s = 0.5 + QUESTION.duration_s + 0.7
    scripted = answering("Never played.", "Never played.", "It is four.", asr_s=1.0)
    conversed = talking(
        [(0.5, QUESTION), (again_s, HELLO)], scripted, turn_model=Judge(1.0), speculative=speculative
    )
    assert conversed.outcomes == ["completed"]
    assert conversed.turns[0].question.duration_s > QUESTION.duration_s + HELLO.duration_s
    assert [(end.ended_by, end.spoke_on) for end in conversed.turns[0].record.ends] == [
        ("model", True),
        ("model", False),
    ]


def test_who_is_cut_off_by_an_audible_reply_is_answered_to_both_and_it_is_counted(talking: Talking) -> None:
    again_s = 0.5 + QUESTION.duration_s + 1.5
    scripted = answering("Four. That is two and two.", "It is forty-two.", asr_s=0.05)
    conversed = talking([(0.5, QUESTION), (again_s, OTHER_QUESTION)], scripted, turn_model=Judge(1.0))
    assert conversed.outcomes == ["interrupted", "completed"]
    assert [end.spoke_on for turn in conversed.turns for end in turn.record.ends] == [True, False]
    said = [one.content for one in scripted.llm.calls[-1].given["messages"][1:]]
    assert (said[0], said[-1]) == ("question 1", conversed.turns[1].transcript)


def test_who_interrupts_later_was_not_cut_off(talking: Talking) -> None:
    again_s = 0.5 + QUESTION.duration_s + 3.0
    scripted = answering("The sun is out today. It will stay dry until the evening.", "It is forty-two.")
    conversed = talking([(0.5, QUESTION), (again_s, OTHER_QUESTION)], scripted, turn_model=Judge(1.0))
    assert conversed.outcomes == ["interrupted", "completed"]
    assert [end.spoke_on for turn in conversed.turns for end in turn.record.ends] == [False, False]


def test_an_utterance_as_long_as_it_may_be_has_no_end_of_turn(talking: Talking) -> None:
    lines = [(0.5 + number * QUESTION.duration_s, QUESTION) for number in range(5)]
    conversed = talking(lines, answering("Four."), max_utterance_s=3.0, turn_model=Judge(1.0))
    assert conversed.turns[0].record.ends == ()
    assert conversed.turns[-1].record.ends


# The curve


def test_the_surer_the_model_the_shorter_the_silence() -> None:
    silences_s = [silence_s(number / 100, Settings()) for number in range(101)]
    assert all(sooner >= later for sooner, later in pairwise(silences_s))
    assert (silences_s[0], silences_s[100]) == (LONGEST_S, SHORTEST_S)


@given(st.floats(0, 1), st.floats(0.2, 10), st.floats(0.2, 10))
def test_no_silence_is_shorter_or_longer_than_the_settings_say(
    probability: float, shortest_s: float, longest_s: float
) -> None:
    settings = Settings(min_end_of_turn_silence_s=shortest_s, max_end_of_turn_silence_s=longest_s)
    assert shortest_s <= silence_s(probability, settings) <= max(shortest_s, longest_s) + 1e-9


@pytest.mark.parametrize("probability", [-0.01, 1.01, float("nan"), float("inf")])
def test_what_is_no_probability_is_refused(probability: float) -> None:
    with pytest.raises(ValueError, match="probability"):
        silence_s(probability, Settings())
