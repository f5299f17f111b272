"""Payloads cross process boundaries: nothing is lost, and nothing bad gets through."""

import json
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter, ValidationError

from shared.audio.pcm import Pcm
from shared.errors import ERRORS_BY_KIND, BadRequest, Overloaded, SpeechError, Stage
from shared.ledger import Ledger, Span
from shared.payloads import ChatMessage, Mp3Audio, Payload, TextDelta, Tool, ToolCall
from shared.stage_stream import LLMOutput
from shared.turn import (
    Failure,
    Models,
    SpeechChunk,
    ToolCallRequested,
    TurnCompleted,
    TurnEvent,
    TurnFailed,
    TurnRequest,
    TurnResult,
)

AUDIO = Mp3Audio(mp3=bytes(range(256)), sample_rate_hz=16000, num_samples=1600)
MODELS = Models(asr="a", llm="l", tts="t")
LEDGER = Ledger(spans=(Span(stage=Stage.ASR, activity="work", duration_us=5),), total_us=5)
PCM = Pcm(np.zeros(160, np.float32), 16000)

tools = st.builds(
    Tool,
    name=st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True),
    description=st.text(max_size=50),
    parameters=st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3),
)
tool_calls = st.builds(
    ToolCall,
    call_id=st.text(min_size=1, max_size=20),
    name=st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True),
    arguments=st.dictionaries(st.text(max_size=5), st.integers(), max_size=3).map(json.dumps),
)
messages = st.one_of(
    st.builds(
        ChatMessage, role=st.sampled_from(["system", "user", "assistant"]), content=st.text(max_size=50)
    ),
    st.builds(ChatMessage, role=st.just("assistant"), tool_calls=st.lists(tool_calls, max_size=2).map(tuple)),
    st.builds(ChatMessage, role=st.just("tool"), tool_call_id=st.text(min_size=1, max_size=20)),
)
audios = st.builds(
    Mp3Audio,
    mp3=st.binary(min_size=1, max_size=200),
    sample_rate_hz=st.sampled_from([8000, 16000, 44100]),
    num_samples=st.integers(1, 10**7),
)
requests = st.builds(
    TurnRequest,
    audio=audios,
    conversation=st.lists(messages, max_size=4).map(tuple),
    tools=st.lists(tools, max_size=2).map(tuple),
    language=st.sampled_from([None, "de", "en-GB"]),
)
events = st.one_of(
    st.builds(SpeechChunk, index=st.integers(0, 9), segment=st.integers(0, 9), text=st.text(), audio=audios),
    st.builds(ToolCallRequested, call=tool_calls),
    st.just(TurnCompleted(ledger=LEDGER, models=MODELS)),
    st.just(TurnFailed(kind="x", stage=Stage.TTS, retryable=True, message="m", ledger=LEDGER, models=MODELS)),
)


@given(st.one_of(requests, events))
def test_a_payload_survives_pickle(payload: Payload) -> None:
    assert pickle.loads(pickle.dumps(payload)) == payload


@given(requests)
def test_a_request_survives_json(request: TurnRequest) -> None:
    assert TurnRequest.model_validate_json(request.model_dump_json()) == request


@given(events)
def test_an_event_survives_json_and_keeps_its_type(event: TurnEvent) -> None:
    adapter: TypeAdapter[TurnEvent] = TypeAdapter(TurnEvent)
    back = adapter.validate_json(adapter.dump_json(event))
    assert (type(back), back) == (type(event), event)


@given(st.builds(LLMOutput, attempt_id=st.just("1"), elapsed_us=st.just(1), delta=tool_calls))
def test_a_delta_of_a_reply_keeps_its_type_over_pickle_and_json(output: LLMOutput) -> None:
    text = output.model_copy(update={"delta": TextDelta(text="hi")})
    for one in (output, text):
        assert pickle.loads(pickle.dumps(one)) == one
        assert LLMOutput.model_validate_json(one.model_dump_json()) == one


@pytest.mark.parametrize("arguments", ["", "[]", "{", "[" * 15_000, '{"a": "' + "x" * 20_000 + '"}'])
def test_the_arguments_of_a_tool_call_are_a_bounded_json_object(arguments: str) -> None:
    with pytest.raises(BadRequest, match="arguments"):
        ToolCall.checked(call_id="1", name="look", arguments=arguments)


@pytest.mark.parametrize("parameters", [{"a": "x" * 20_000}, {"a": object()}])
def test_the_schema_of_a_tool_is_bounded_json(parameters: dict[str, object]) -> None:
    with pytest.raises(BadRequest, match="parameters"):
        Tool.checked(name="look", parameters=parameters)


@pytest.mark.parametrize(
    "fields",
    [
        {"role": "tool"},
        {"role": "user", "tool_call_id": "1"},
        {"role": "user", "tool_calls": (ToolCall(call_id="1", name="look", arguments="{}"),)},
    ],
)
def test_only_an_assistant_calls_tools_and_only_a_tool_answers_a_call(fields: dict[str, object]) -> None:
    with pytest.raises(BadRequest, match="message"):
        ChatMessage.checked(**fields)


def test_audio_is_base64_in_json() -> None:
    assert isinstance(json.loads(AUDIO.model_dump_json())["mp3"], str)


def test_payloads_do_not_change() -> None:
    with pytest.raises(ValidationError):
        AUDIO.num_samples = 5  # type: ignore[misc]


bad_fields = st.one_of(
    st.fixed_dictionaries(
        {"num_samples": st.integers(max_value=0) | st.integers(min_value=3600 * 48_000 + 1)}
    ),
    st.fixed_dictionaries(
        {"sample_rate_hz": st.integers().filter(lambda hz: hz not in {8000, 16000})}
    ).filter(lambda d: d["sample_rate_hz"] not in {11025, 12000, 22050, 24000, 32000, 44100, 48000}),
    st.fixed_dictionaries({"mp3": st.one_of(st.just(b""), st.none(), st.lists(st.integers()))}),
)


@given(bad_fields)
def test_a_bad_payload_never_gets_through_unpickling(fields: dict[str, Any]) -> None:
    good: dict[str, Any] = {"mp3": b"x", "sample_rate_hz": 16000, "num_samples": 5}
    forged = Mp3Audio.model_construct(**(good | fields))
    with pytest.raises(BadRequest, match="Not a valid Mp3Audio"):
        pickle.loads(pickle.dumps(forged))


def test_a_bad_payload_inside_a_good_one_never_gets_through_either() -> None:
    forged = Mp3Audio.model_construct(mp3=b"x", sample_rate_hz=16000, num_samples=-1)
    request = TurnRequest.model_construct(**(dict(TurnRequest(audio=AUDIO)) | {"audio": forged}))
    with pytest.raises(BadRequest):
        pickle.loads(pickle.dumps(request))


def test_a_payload_of_an_older_sender_gets_the_defaults_of_what_it_did_not_know() -> None:
    older = TurnRequest.model_construct(audio=AUDIO, session_id="s", turn_id="t")
    for newer_field in ("conversation", "system_prompt", "max_tokens", "temperature"):
        del older.__dict__[newer_field]
    assert pickle.loads(pickle.dumps(older)) == TurnRequest(audio=AUDIO, session_id="s", turn_id="t")


class _Newer(Payload):
    """A payload that has a field which its receiver does not know."""

    n: int = Field(ge=0)
    unknown: str = "new"


def test_a_field_that_only_the_sender_knows_is_ignored() -> None:
    rebuild, (_, fields) = _Newer(n=1).__reduce__()
    assert rebuild(ChatMessage, {"role": "user", "content": "hi", **fields}) == ChatMessage(
        role="user", content="hi"
    )


def test_pcm_does_not_leave_its_process() -> None:
    with pytest.raises(TypeError, match="encode it"):
        pickle.dumps(TurnRequest(audio=PCM))


def test_what_was_said_does_not_show_in_a_repr() -> None:
    assert "secret" not in repr(ChatMessage(role="user", content="secret"))
    assert "secret" not in repr(TurnResult(outcome="completed", reply="secret", ledger=LEDGER, models=MODELS))


@pytest.mark.parametrize("kind", list(ERRORS_BY_KIND))
def test_an_error_crosses_a_process_boundary_intact(kind: str) -> None:
    error = ERRORS_BY_KIND[kind]("The reason.", Stage.TTS)
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), back.message, back.stage, str(back)) == (
        type(error),
        "The reason.",
        Stage.TTS,
        "The reason.",
    )


@pytest.mark.parametrize("kind", list(ERRORS_BY_KIND))
def test_an_error_told_as_an_event_is_the_same_error_again(kind: str) -> None:
    error = ERRORS_BY_KIND[kind]("The reason.", Stage.LLM)
    back = Failure.model_validate_json(Failure.of(error).model_dump_json()).to_error()
    assert (type(back), back.message, back.stage) == (type(error), "The reason.", Stage.LLM)


def test_an_error_of_a_kind_that_is_not_known_here_is_still_an_error() -> None:
    failure = Failure(kind="from_the_future", stage=Stage.ASR, retryable=True, message="m")
    assert type(failure.to_error()) is SpeechError


def test_errors_say_whether_trying_again_can_help() -> None:
    assert Overloaded("busy").retryable
    assert not BadRequest("bad").retryable


def test_a_failure_of_a_kind_that_only_its_sender_knows_keeps_its_kind_and_whether_a_retry_can_help() -> None:
    failure = Failure(kind="from_the_future", stage=Stage.TTS, retryable=True, message="not yet")
    error = pickle.loads(pickle.dumps(failure.to_error()))
    assert isinstance(error, SpeechError)
    assert Failure.of(error) == failure
