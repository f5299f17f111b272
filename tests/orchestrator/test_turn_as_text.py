"""Turns whose reply is text alone: nothing is synthesized, and each word comes as it is written."""

import pytest

from shared.errors import Stage, StageFailed
from shared.payloads import ToolCall
from shared.turn import ReplyDelta, ToolCallRequested, TurnCompleted, TurnFailed
from tests.support.scripted_stages import REQUEST, Script, cast, run_turn, typed
from tests.support.virtual_clock import play

AS_TEXT = REQUEST.model_copy(update={"spoken": False})


def test_the_words_come_as_they_are_written_and_nothing_is_synthesized() -> None:
    scripted = cast(llm=[typed("It is sunny.", tokens_per_s=10, first_s=0.2)])
    emitted = play(run_turn(scripted, AS_TEXT))
    words = [(one.at_s, one.event.text) for one in emitted if isinstance(one.event, ReplyDelta)]
    assert [text for _, text in words] == ["It ", "is ", "sunny."]
    assert words[1][0] - words[0][0] == pytest.approx(0.1)
    assert isinstance(emitted[-1].event, TurnCompleted)
    assert scripted.tts.calls == []


def test_its_ledger_has_no_first_audio_and_adds_up() -> None:
    end = play(run_turn(cast(), AS_TEXT))[-1].event
    assert isinstance(end, TurnCompleted)
    assert end.ledger.time_to_first_audio_us is None
    assert sum(span.duration_us for span in end.ledger.spans) == end.ledger.total_us


def test_a_call_of_a_tool_alone_completes_it() -> None:
    call = ToolCall(call_id="call_1", name="weather", arguments="{}")
    events = [one.event for one in play(run_turn(cast(llm=[[0.1, call]]), AS_TEXT))]
    assert [event.call for event in events if isinstance(event, ToolCallRequested)] == [call]
    assert isinstance(events[-1], TurnCompleted)


def test_a_reply_that_breaks_off_before_its_first_word_is_retried() -> None:
    broken: Script = [0.1, StageFailed("Lost.", Stage.LLM)]
    events = [one.event for one in play(run_turn(cast(llm=[broken, typed("Sunny.")]), AS_TEXT))]
    assert "".join(event.text for event in events if isinstance(event, ReplyDelta)) == "Sunny."
    assert isinstance(events[-1], TurnCompleted)


def test_a_reply_that_breaks_off_later_is_not_told_twice() -> None:
    broken: Script = [0.1, "It is ", StageFailed("Lost.", Stage.LLM)]
    events = [one.event for one in play(run_turn(cast(llm=[broken, typed("Sunny.")]), AS_TEXT))]
    assert "".join(event.text for event in events if isinstance(event, ReplyDelta)) == "It is "
    assert isinstance(events[-1], TurnFailed)


def test_an_empty_reply_has_failed() -> None:
    end = play(run_turn(cast(llm=[[0.1]]), AS_TEXT))[-1].event
    assert isinstance(end, TurnFailed)
    assert end.stage is Stage.LLM
