"""A turn in which a stage fails, falls silent or restarts, at every point of its work."""

import asyncio
from collections.abc import Sequence

import pytest

from shared.errors import AttemptLost, Misconfigured, Overloaded, SpeechError, Stage, StageFailed
from shared.turn import SpeechChunk, TranscriptReady, TurnCompleted, TurnFailed
from tests.orchestrator.test_turn import chunks_of, end_of, reply_of
from tests.support.scripted_stages import (
    BREAK_OFF,
    HANG,
    RESTART,
    SPLICE,
    Cast,
    Script,
    cast,
    run_turn,
    speech,
    typed,
)
from tests.support.virtual_clock import play

REPLY = "It is sunny outside. Take a hat with you."
GOOD: dict[Stage, Script] = {
    Stage.ASR: [0.1, "what is the weather like"],
    Stage.LLM: typed(REPLY),
    Stage.TTS: [0.2, speech(1.0), 0.2, speech(1.0)],
}
SOME_OUTPUT: dict[Stage, Script] = {
    Stage.ASR: [0.1],
    Stage.LLM: [0.1, "It is"],
    Stage.TTS: [0.2, speech(1.0)],
}
STAGES = list(GOOD)


def with_scripts(stage: Stage, *scripts: Script) -> Cast:
    """A good cast in which one stage plays these scripts, one a call."""
    chosen: dict[Stage, Sequence[Script]] = {name: [script] for name, script in GOOD.items()}
    chosen[stage] = scripts
    return cast(asr=chosen[Stage.ASR], llm=chosen[Stage.LLM], tts=chosen[Stage.TTS])


def failure_of(scripted: Cast) -> TurnFailed:
    end = end_of(play(run_turn(scripted)))
    assert isinstance(end, TurnFailed)
    assert scripted.under_way == []
    return end


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    "ending",
    [Overloaded("busy"), ConnectionError("gone"), HANG, BREAK_OFF],
    ids=["busy", "gone", "hang", "cut"],
)
def test_a_stage_that_fails_before_any_output_is_retried_and_the_turn_completes(
    stage: Stage, ending: str | Exception
) -> None:
    scripted = with_scripts(stage, [0.1, ending], GOOD[stage])
    emitted = play(run_turn(scripted))
    assert isinstance(end_of(emitted), TurnCompleted)
    assert reply_of(emitted) == REPLY
    assert " ".join(dict.fromkeys(chunk.text for chunk in chunks_of(emitted))) == REPLY
    lost = [span.stage for span in end_of(emitted).ledger.spans if span.activity == "lost"]
    assert lost == [stage]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("ending", [ConnectionError("gone"), HANG, BREAK_OFF], ids=["gone", "hang", "cut"])
def test_a_stage_that_fails_every_time_fails_the_turn_by_its_name(
    stage: Stage, ending: str | Exception
) -> None:
    scripted = with_scripts(stage, [0.1, ending])
    failure = failure_of(scripted)
    assert (failure.stage, failure.retryable) == (stage, True)
    assert failure.kind == ("stage_timed_out" if ending is HANG else "stage_failed")
    calls = {Stage.ASR: scripted.asr, Stage.LLM: scripted.llm, Stage.TTS: scripted.tts}[stage].calls
    assert len(calls) == 2


@pytest.mark.parametrize("stage", STAGES)
def test_an_error_that_a_retry_cannot_help_is_not_retried(stage: Stage) -> None:
    scripted = with_scripts(stage, [0.1, Misconfigured("no such voice")], GOOD[stage])
    failure = failure_of(scripted)
    assert (failure.kind, failure.stage, failure.message) == ("misconfigured", stage, "no such voice")


def test_a_reply_that_breaks_off_unspoken_is_retried_and_the_first_attempt_is_never_emitted() -> None:
    broken: Script = [0.1, "Nonsense that is never", 0.01, ConnectionError("gone")]
    emitted = play(run_turn(with_scripts(Stage.LLM, broken, GOOD[Stage.LLM])))
    assert reply_of(emitted) == REPLY
    assert "Nonsense" not in "".join(chunk.text for chunk in chunks_of(emitted))


def test_a_reply_that_breaks_off_unspoken_is_not_emitted_although_its_first_clause_was_complete() -> None:
    broken: Script = [0.1, "Nonsense that stands here. And", 0.1, ConnectionError("gone")]
    emitted = play(run_turn(with_scripts(Stage.LLM, broken, GOOD[Stage.LLM])))
    assert isinstance(end_of(emitted), TurnCompleted)
    assert reply_of(emitted) == REPLY
    assert "Nonsense" not in "".join(chunk.text for chunk in chunks_of(emitted))


@pytest.mark.parametrize("ending", [Overloaded("busy"), ConnectionError("gone"), HANG, BREAK_OFF, RESTART])
def test_a_reply_that_breaks_off_once_spoken_is_not_retried_but_its_complete_sentences_are_synthesized(
    ending: str | Exception,
) -> None:
    broken: Script = [*typed("It is sunny outside. Take a hat with you. And al"), 5.0, ending, "never said"]
    scripted = with_scripts(Stage.LLM, broken, GOOD[Stage.LLM])
    emitted = play(run_turn(scripted))
    end = end_of(emitted)
    assert isinstance(end, TurnFailed)
    assert (end.stage, end.retryable) == (Stage.LLM, True)
    assert dict.fromkeys(c.text for c in chunks_of(emitted)) == dict.fromkeys(
        ["It is sunny outside.", "Take a hat with you."]
    )
    assert len(scripted.llm.calls) == 1


@pytest.mark.parametrize("ending", [Overloaded("busy"), ConnectionError("gone"), HANG, BREAK_OFF, RESTART])
def test_a_chunk_that_breaks_off_once_emitted_is_not_retried(ending: str | Exception) -> None:
    scripted = with_scripts(Stage.TTS, [0.2, speech(1.0), ending, speech(2.0)])
    emitted = play(run_turn(scripted))
    end = end_of(emitted)
    assert isinstance(end, TurnFailed)
    assert (end.stage, end.retryable) == (Stage.TTS, True)
    assert [(c.index, c.segment) for c in chunks_of(emitted)] == [(0, 0)]
    assert len(scripted.tts.calls) == 1


def test_a_later_chunk_that_fails_before_its_audio_is_retried() -> None:
    good = GOOD[Stage.TTS]
    emitted = play(run_turn(with_scripts(Stage.TTS, good, [0.1, ConnectionError("gone")], good)))
    assert isinstance(end_of(emitted), TurnCompleted)
    assert [(c.index, c.segment) for c in chunks_of(emitted)] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_a_failed_turn_has_emitted_what_was_finished_before_it_failed() -> None:
    emitted = play(run_turn(with_scripts(Stage.TTS, [3.0, SpeechError("broken")])))
    assert any(isinstance(t.event, TranscriptReady) for t in emitted)
    assert reply_of(emitted) == REPLY


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_restarted_before_any_output_goes_on_with_the_new_attempt(stage: Stage) -> None:
    scripted = with_scripts(stage, [0.1, RESTART, *GOOD[stage]])
    emitted = play(run_turn(scripted))
    assert isinstance(end_of(emitted), TurnCompleted)
    assert reply_of(emitted) == REPLY


@pytest.mark.parametrize("break_", [RESTART, SPLICE], ids=["restart", "splice"])
@pytest.mark.parametrize("outputs_before", range(1, 9))
def test_heads_and_tails_of_two_attempts_are_never_joined(outputs_before: int, break_: str) -> None:
    words = ["One ", "two ", "three, ", "four ", "five ", "six. ", "Seven ", "eight."]
    head: Script = [step for word in words[:outputs_before] for step in (0.2, word)]
    whole: Script = [step for word in words for step in (0.2, word.upper())]
    emitted = play(run_turn(with_scripts(Stage.LLM, [*head, break_, *whole])))
    reply = reply_of(emitted)
    assert "".join(words).startswith(reply) or "".join(words).upper().startswith(reply)
    spoken = " ".join(dict.fromkeys(chunk.text for chunk in chunks_of(emitted)))
    assert spoken == spoken.upper() or spoken.lower() in "".join(words).lower()
    end = end_of(emitted)
    assert isinstance(end, TurnCompleted) or (isinstance(end, TurnFailed) and end.kind == "attempt_lost")


@pytest.mark.parametrize("stage", [Stage.LLM, Stage.TTS])
def test_the_end_of_another_attempt_is_no_end_of_this_one(stage: Stage) -> None:
    head = ["One, two, three, four, five. ", 1.0] if stage is Stage.LLM else [speech(1.0)]
    failure = failure_of(with_scripts(stage, [*head, SPLICE]))
    assert (failure.kind, failure.stage) == ("attempt_lost", stage)


def test_a_reply_with_nothing_to_say_is_a_failure_of_the_llm() -> None:
    failure = failure_of(with_scripts(Stage.LLM, ["🙂 ", "***"]))
    assert (failure.stage, failure.kind) == (Stage.LLM, "stage_failed")


def test_speech_that_never_comes_is_a_failure_of_the_tts() -> None:
    failure = failure_of(with_scripts(Stage.TTS, [0.1]))
    assert (failure.stage, failure.kind) == (Stage.TTS, "stage_failed")


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_does_not_start_in_time_is_timed_out(stage: Stage) -> None:
    scripted = with_scripts(stage, GOOD[stage])
    {Stage.ASR: scripted.asr, Stage.LLM: scripted.llm, Stage.TTS: scripted.tts}[stage].start_s = 10_000.0
    failure = failure_of(scripted)
    assert (failure.kind, failure.stage, failure.retryable) == ("stage_timed_out", stage, True)


def test_the_ledger_of_a_failed_turn_adds_up_too() -> None:
    ledger = failure_of(with_scripts(Stage.TTS, [0.2, speech(1.0), ConnectionError("gone")])).ledger
    assert sum(span.duration_us for span in ledger.spans) == ledger.total_us
    assert ledger.time_to_first_audio_us is not None


def test_events_of_a_failed_turn_stay_in_order() -> None:
    emitted = play(
        run_turn(with_scripts(Stage.LLM, [*typed(REPLY + " And al"), 5.0, ConnectionError("gone")]))
    )
    pieces = [(t.event.index, t.event.segment) for t in emitted if isinstance(t.event, SpeechChunk)]
    assert pieces == sorted(set(pieces))


def test_a_chunk_that_the_voice_cannot_speak_is_left_out_and_the_turn_completes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    silent: Script = [0.1]
    scripted = cast(
        llm=[
            typed(
                "In Russian you say this. Добрый вечер, дорогие мои друзья. Take a hat with you.",
                1,
            )
        ],
        tts=[GOOD[Stage.TTS], silent, GOOD[Stage.TTS]],
    )
    emitted = play(run_turn(scripted))
    assert isinstance(end_of(emitted), TurnCompleted)
    assert {chunk.index for chunk in chunks_of(emitted)} == {0, 2}
    assert len(scripted.tts.calls) == 3
    assert "made no speech of chunk 1" in caplog.text


def test_an_overloaded_stage_is_given_a_moment_before_the_retry_and_a_lost_one_is_not() -> None:
    for error, least_s, most_s in ((Overloaded("busy"), 0.1, 0.3), (AttemptLost("gone"), 0.0, 0.0)):
        scripted = with_scripts(Stage.LLM, [error], GOOD[Stage.LLM])
        play(run_turn(scripted))
        first, second = scripted.llm.calls
        assert first.ended_s is not None
        assert least_s <= second.began_s - first.ended_s <= most_s


def test_an_error_of_which_the_message_is_no_text_ends_the_turn_like_any_other() -> None:
    broken = StageFailed(ValueError("of all things"), Stage.ASR)  # type: ignore[arg-type]
    failure = failure_of(with_scripts(Stage.ASR, [broken]))
    assert (failure.stage, failure.message) == (Stage.ASR, "of all things")


class Unprintable(SpeechError):
    """An engine's own error, which breaks whoever wants to know more of it."""

    @property
    def retryable(self) -> bool:  # type: ignore[override]
        raise RuntimeError("no idea")


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("ending", [Unprintable("?"), asyncio.CancelledError()], ids=["broken", "cancelled"])
def test_whatever_breaks_the_orchestrator_itself_the_turn_ends_with_an_event(
    stage: Stage, ending: BaseException
) -> None:
    scripted = with_scripts(stage, [0.1, ending])
    failure = failure_of(scripted)
    assert (failure.kind, failure.stage) == ("stage_failed", Stage.ORCHESTRATOR)
    assert failure.message.startswith("The orchestrator failed")
