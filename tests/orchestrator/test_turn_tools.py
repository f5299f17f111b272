"""Turns in which the LLM asks for tools, and turns that answer without audio."""

import pickle

import pytest
from pydantic import TypeAdapter, ValidationError

from orchestrator.pipeline import Pipeline
from orchestrator.turn_result import TurnResultBuilder
from shared.errors import BadRequest, Stage, StageFailed
from shared.payloads import ChatMessage, Tool, ToolCall
from shared.settings import Settings
from shared.turn import (
    ReplyDelta,
    SpeechChunk,
    ToolCallRequested,
    TranscriptReady,
    TurnCompleted,
    TurnEnd,
    TurnEvent,
    TurnFailed,
    TurnRequest,
)
from tests.support.scripted_stages import REQUEST, Cast, cast, run_turn, typed
from tests.support.virtual_clock import play

WEATHER = Tool(name="weather", description="The weather somewhere.", parameters={"type": "object"})
CALL = ToolCall(call_id="call_1", name="weather", arguments='{"city": "Oslo"}')
QUESTION = ChatMessage(role="user", content="what is the weather in Oslo")
ASKED = ChatMessage(role="assistant", content="Let me look.", tool_calls=(CALL,))
RESULT = ChatMessage(role="tool", tool_call_id="call_1", content="12 degrees")


def events_of(scripted: Cast, request: TurnRequest = REQUEST, **settings: int) -> list[TurnEvent]:
    return [emitted.event for emitted in play(run_turn(scripted, request, **settings))]


def with_tools(request: TurnRequest = REQUEST) -> TurnRequest:
    return request.model_copy(update={"tools": (WEATHER,)})


def test_the_llm_is_offered_the_tools_of_the_request() -> None:
    scripted = cast()
    events_of(scripted, with_tools())
    assert scripted.llm.calls[0].given["tools"] == [WEATHER]


def test_a_tool_call_alone_completes_the_turn_and_nothing_is_spoken() -> None:
    scripted = cast(llm=[[0.2, CALL]])
    events = events_of(scripted, with_tools())
    assert [type(one).__name__ for one in events] == [
        "TurnStarted",
        "TranscriptReady",
        "ToolCallRequested",
        "TurnCompleted",
    ]
    assert [one.call for one in events if isinstance(one, ToolCallRequested)] == [CALL]
    assert not scripted.tts.calls


def test_the_ledger_of_a_turn_of_tool_calls_accounts_for_the_llms_time() -> None:
    end = events_of(cast(llm=[[0.2, CALL, 0.1]]), with_tools())[-1]
    assert isinstance(end, TurnCompleted)
    llm_us = sum(span.duration_us for span in end.ledger.spans if span.stage is Stage.LLM)
    assert llm_us == 300_000
    assert end.ledger.time_to_first_audio_us is None


def test_text_before_a_tool_call_is_spoken() -> None:
    scripted = cast(llm=[[*typed("Let me look that up for you."), CALL]])
    events = events_of(scripted, with_tools())
    assert (
        "".join(one.text for one in events if isinstance(one, ReplyDelta)) == "Let me look that up for you."
    )
    assert scripted.tts.texts == ["Let me look that up for you."]
    assert [one.call for one in events if isinstance(one, ToolCallRequested)] == [CALL]
    assert any(isinstance(one, SpeechChunk) for one in events)
    assert isinstance(events[-1], TurnCompleted)


def test_text_that_cannot_be_spoken_beside_a_tool_call_is_still_emitted() -> None:
    events = events_of(cast(llm=[["***", CALL]]), with_tools())
    assert [one.text for one in events if isinstance(one, ReplyDelta)] == ["***"]
    assert isinstance(events[-1], TurnCompleted)


def test_a_reply_that_is_retried_asks_for_its_tools_once() -> None:
    scripted = cast(llm=[[CALL, StageFailed("lost", Stage.LLM)], [CALL]])
    events = events_of(scripted, with_tools())
    assert [one.call for one in events if isinstance(one, ToolCallRequested)] == [CALL]
    assert len(scripted.llm.calls) == 2
    assert isinstance(events[-1], TurnCompleted)


def test_results_in_the_conversation_are_answered_without_audio_and_without_asr() -> None:
    scripted = cast(llm=[typed("It is twelve degrees in Oslo.")])
    request = TurnRequest(conversation=(QUESTION, ASKED, RESULT), tools=(WEATHER,))
    events = events_of(scripted, request)
    assert not scripted.asr.calls
    assert scripted.llm.calls[0].given["messages"][1:] == [QUESTION, ASKED, RESULT]
    assert not [one for one in events if isinstance(one, TranscriptReady)]
    assert scripted.tts.texts == ["It is twelve degrees in Oslo."]
    assert isinstance(events[-1], TurnCompleted)
    assert events[-1].models.asr == ""


@pytest.mark.parametrize("newest", [0, 1, 2, 3, 4])
def test_a_result_is_never_without_its_tool_call_and_the_question_before_it(newest: int) -> None:
    scripted = cast()
    greeting = ChatMessage(role="assistant", content="Hello.")
    request = TurnRequest(conversation=(greeting, QUESTION, ASKED, RESULT))
    events_of(scripted, request, max_conversation_messages=newest)
    messages = [QUESTION, ASKED, RESULT] if newest < 4 else [greeting, QUESTION, ASKED, RESULT]
    assert scripted.llm.calls[0].given["messages"][1:] == messages


@pytest.mark.parametrize("conversation", [(), (QUESTION, ASKED)])
def test_a_turn_without_audio_needs_a_question_or_a_result_to_answer(
    conversation: tuple[ChatMessage, ...],
) -> None:
    with pytest.raises(ValidationError, match="ends with a message of the user or of a tool"):
        TurnRequest(conversation=conversation)


def test_voice_and_language_reach_the_stages() -> None:
    scripted = cast()
    events_of(scripted, REQUEST.model_copy(update={"voice": "slt", "language": "en-GB"}))
    assert scripted.asr.languages == ["en-GB"]
    assert set(scripted.tts.voices) == {("slt", "en-GB")}


def test_a_language_of_what_is_said_alone_is_not_that_of_the_reply() -> None:
    scripted = cast()
    events_of(scripted, REQUEST.model_copy(update={"voice": "slt", "audio_language": "fr"}))
    assert scripted.asr.languages == ["fr"]
    assert set(scripted.tts.voices) == {("slt", None)}


def test_a_refused_voice_ends_the_turn_and_is_not_retried() -> None:
    scripted = cast(tts=[[BadRequest("it has no voice 'bob'", Stage.TTS)]])
    end = events_of(scripted, REQUEST.model_copy(update={"voice": "bob"}))[-1]
    assert isinstance(end, TurnFailed)
    assert (end.stage, end.retryable) == (Stage.TTS, False)
    assert len(scripted.tts.calls) == 1


async def test_a_turns_result_holds_its_tool_calls() -> None:
    builder = TurnResultBuilder()
    async for event in Pipeline(cast(llm=[[CALL]]), Settings()).stream(with_tools()):
        result = builder.add(event)
    assert result
    assert (result.outcome, result.tool_calls, result.audio) == ("completed", (CALL,), None)


def test_the_events_of_tools_survive_pickle_and_json() -> None:
    adapter: TypeAdapter[TurnEvent] = TypeAdapter(TurnEvent)
    events = events_of(cast(llm=[[CALL]]), with_tools())
    assert [pickle.loads(pickle.dumps(one)) for one in events] == events
    assert [adapter.validate_json(adapter.dump_json(one)) for one in events] == events
    assert isinstance(events[-1], TurnEnd)
