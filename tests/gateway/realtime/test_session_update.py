"""session.update: partial updates, answered by the whole session."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from openai.types.realtime import RealtimeSessionCreateRequest, SessionUpdatedEvent

from gateway.realtime.events import ProtocolError, server_event
from gateway.realtime.session_config import SessionConfig
from shared.settings import Settings
from tests.support.realtime_client import Client, Served, said
from tests.support.scripted_stages import Cast


async def test_the_server_speaks_first_with_the_whole_session(client: Client) -> None:
    (created,) = client.events
    session = created["session"]
    assert session["type"] == "realtime"
    assert session["object"] == "realtime.session"
    assert session["model"] == "gpt-realtime"
    assert session["output_modalities"] == ["audio"]
    assert session["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24_000}
    assert session["audio"]["input"]["turn_detection"]["type"] == "server_vad"
    assert session["expires_at"] > 1_700_000_000


async def test_an_update_changes_what_it_names_and_leaves_the_rest(client: Client) -> None:
    await client.update(instructions="Be brief.", audio={"output": {"voice": "marin"}})
    session = await client.update(tracing="auto", audio={"input": {"transcription": {"model": "whisper-1"}}})
    assert session["instructions"] == "Be brief."
    assert session["tracing"] == "auto"
    assert session["audio"]["output"]["voice"] == "marin"
    assert session["audio"]["input"]["transcription"] == {"model": "whisper-1"}
    assert session["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24_000}


async def test_null_switches_turn_detection_off_and_is_echoed(client: Client) -> None:
    session = await client.update(audio={"input": {"turn_detection": None}})
    assert session["audio"]["input"]["turn_detection"] is None


async def test_another_kind_of_turn_detection_brings_its_own_defaults(client: Client) -> None:
    await client.update(audio={"input": {"turn_detection": {"type": "server_vad", "threshold": 0.3}}})
    session = await client.update(audio={"input": {"turn_detection": {"type": "semantic_vad"}}})
    assert session["audio"]["input"]["turn_detection"] == {
        "type": "semantic_vad",
        "eagerness": "auto",
        "create_response": True,
        "interrupt_response": True,
    }


async def test_models_and_voices_that_are_unknown_here_are_accepted(served: Served) -> None:
    async with served.client("?model=gpt-realtime-2099") as client:
        assert client.events[0]["session"]["model"] == "gpt-realtime-2099"
        session = await client.update(audio={"output": {"voice": {"id": "voice_123"}}})
        assert session["audio"]["output"]["voice"] == {"id": "voice_123"}


@pytest.mark.parametrize(
    ("session", "param"),
    [
        ({"type": "realtime", "instructions": "x" * 20_000}, "session"),
        ({"type": "realtime", "audio": {"input": {"transcription": {"language": "no tag!"}}}}, "session"),
        ({"type": "realtime", "tools": [{"type": "mcp", "server_label": "x"}]}, "session.tools"),
        ({"type": "realtime", "tools": [{"type": "function", "name": "not a name"}]}, "session.tools"),
    ],
)
async def test_what_cannot_be_is_refused_and_changes_nothing(
    client: Client, session: dict[str, Any], param: str
) -> None:
    await client.send("session.update", event_id="mine", session=session)
    error = await client.error()
    assert error["event_id"] == "mine"
    assert error["param"] == param
    after = await client.update(tracing="auto")
    assert after["instructions"] == ""
    assert after["tools"] == []


@pytest.mark.parametrize(
    "session",
    [
        {},
        {"type": "something"},
        {"type": "realtime", "audio": 5},
        {"type": "realtime", "audio": {"input": {"format": {"type": "audio/pcm", "rate": 16_000}}}},
        {"type": "realtime", "max_output_tokens": "many"},
    ],
)
async def test_wrong_types_are_an_error_and_the_session_lives_on(
    client: Client, session: dict[str, Any]
) -> None:
    await client.send("session.update", event_id="mine", session=session)
    assert (await client.error())["event_id"] == "mine"
    assert (await client.update(tracing="auto"))["tracing"] == "auto"


DETECTIONS = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {"type": st.just("server_vad")},
        optional={
            "threshold": st.floats(-1, 2) | st.none(),
            "silence_duration_ms": st.integers(-100, 100_000) | st.none(),
            "prefix_padding_ms": st.integers(-100, 100_000),
            "create_response": st.booleans(),
        },
    ),
    st.fixed_dictionaries(
        {"type": st.just("semantic_vad")},
        optional={"eagerness": st.sampled_from(["low", "medium", "high", "auto"]) | st.none()},
    ),
)
FORMATS = st.sampled_from(
    [{"type": "audio/pcm", "rate": 24_000}, {"type": "audio/pcmu"}, {"type": "audio/pcma"}]
)
INPUTS = st.fixed_dictionaries(
    {},
    optional={
        "turn_detection": DETECTIONS,
        "format": FORMATS | st.none(),
        "transcription": st.none() | st.fixed_dictionaries({}, optional={"model": st.text(max_size=5)}),
        "noise_reduction": st.none() | st.just({"type": "near_field"}),
    },
)
UPDATES = st.fixed_dictionaries(
    {"type": st.just("realtime")},
    optional={
        "instructions": st.text(max_size=20) | st.none(),
        "output_modalities": st.sampled_from([["audio"], ["text"]]) | st.none(),
        "tracing": st.sampled_from(["auto", None]),
        "tool_choice": st.sampled_from(["none", "auto", "required"]),
        "max_output_tokens": st.integers(1, 4096) | st.just("inf") | st.none(),
        "audio": st.none()
        | st.fixed_dictionaries(
            {},
            optional={
                "input": INPUTS | st.none(),
                "output": st.fixed_dictionaries(
                    {}, optional={"format": FORMATS, "voice": st.text(min_size=1, max_size=5)}
                ),
            },
        ),
    },
)


@given(updates=st.lists(UPDATES, max_size=6))
def test_after_any_updates_the_session_is_whole_and_has_what_was_set_last(
    updates: list[dict[str, Any]],
) -> None:
    config = SessionConfig("realtime", Settings(), id="sess_1", object="realtime.session", model="m")
    for update in updates:
        config.update(RealtimeSessionCreateRequest.model_validate(update))
    event = server_event(SessionUpdatedEvent, session=config.full)
    session = event.model_dump(mode="json", exclude_unset=True)["session"]
    assert session.keys() >= {"id", "model", "instructions", "tools", "tool_choice", "audio"}
    assert session["audio"]["input"].keys() >= {"format", "transcription", "turn_detection"}
    assert session["audio"]["output"].keys() >= {"format", "voice", "speed"}
    for name in ("instructions", "max_output_tokens", "tool_choice"):
        set_to = [update[name] for update in updates if update.get(name) is not None and name in update]
        if set_to and updates[-1].get(name) is not None:
            assert session[name] == set_to[-1]
    listening = config.listening()
    if session["audio"]["input"]["turn_detection"] is None:
        assert listening is None
    else:
        assert listening is not None
        assert 0.0 <= listening.vad_threshold <= 0.9
        assert 0.0 <= listening.pre_roll_s <= 1.0
        assert 0.2 <= listening.end_of_turn_silence_s <= 10.0


ELSEWHERE_KNOWN = st.sampled_from(
    ["audio", "input", "output", "turn_detection", "transcription", "noise_reduction", "type"]
)
ANYTHING = st.recursive(
    st.integers() | st.text(max_size=3) | st.none(),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(ELSEWHERE_KNOWN | st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(session=st.dictionaries(ELSEWHERE_KNOWN | st.text(max_size=8), ANYTHING, max_size=5))
@example(session={"input": 0})
@example(session={"turn_detection": {"type": []}})
@example(session={"audio": {"input": {"output": 0}, "output": {"turn_detection": "?"}}})
def test_fields_that_are_unknown_do_no_harm(session: dict[str, Any]) -> None:
    config = SessionConfig("realtime", Settings(), id="sess_1", object="realtime.session", model="m")
    fields = {**session, "type": "realtime"}
    try:
        config.update(RealtimeSessionCreateRequest.model_validate(fields))
    except (ProtocolError, ValueError):
        return
    assert config.full.model_dump(mode="json")["id"] == "sess_1"


async def test_the_voice_cannot_be_changed_once_it_has_spoken(client: Client) -> None:
    await client.update(audio={"output": {"voice": "marin"}})
    await client.speak(said())
    await client.until("response.done")
    await client.update(audio={"output": {"voice": "marin", "speed": 1.2}})
    session = {"type": "realtime", "audio": {"output": {"voice": "ash"}}}
    await client.send("session.update", session=session)
    assert (await client.error())["code"] == "cannot_update_voice"
    assert (await client.update())["audio"]["output"]["voice"] == "marin"


async def test_the_language_of_what_is_said_is_for_the_asr_alone(client: Client, scripted: Cast) -> None:
    await client.update(audio={"input": {"transcription": {"language": "en"}}})
    await client.speak(said())
    await client.until("response.done")
    assert scripted.asr.languages == ["en"]
    assert {language for _, language in scripted.tts.voices} == {None}
