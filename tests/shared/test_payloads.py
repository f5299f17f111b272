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
from shared.payloads import ChatMessage, Mp3Audio, Payload
from shared.turn import (
    Failure,
    Models,
    SpeechChunk,
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

messages = st.builds(
    ChatMessage, role=st.sampled_from(["system", "user", "assistant"]), content=st.text(max_size=50)
)
audios = st.builds(
    Mp3Audio,
    mp3=st.binary(min_size=1, max_size=200),
    sample_rate_hz=st.sampled_from([8000, 16000, 44100]),
    num_samples=st.integers(1, 10**7),
)
requests = st.builds(TurnRequest, audio=audios, conversation=st.lists(messages, max_size=4).map(tuple))
events = st.one_of(
    st.builds(SpeechChunk, index=st.integers(0, 9), piece=st.integers(0, 9), text=st.text(), audio=audios),
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
