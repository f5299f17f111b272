"""What a collector gets of the gateway: a trace for each turn of a session, and for each request."""

from typing import Any

import httpx2
import pytest

from shared.turn import TurnRequest
from tests.gateway.realtime.conftest import quick
from tests.gateway.rest.conftest import rest_api
from tests.support.otlp_collector import Collector, collecting, telemetry_to
from tests.support.realtime_client import said, serving
from tests.support.scripted_stages import HANG, cast, speech
from tests.support.sounds import sound_file, tone

CLIENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
QUESTION: Any = [{"role": "user", "content": "How is the weather?"}]


async def test_a_spoken_turn_is_a_trace_from_the_speech_to_the_reply() -> None:
    with collecting() as collector:
        with telemetry_to(collector):
            async with serving(quick()) as served, served.client() as client:
                await client.speak(said())
                await client.until("response.done")
        (root,) = [span for span in collector.spans if not span.parent_id]
        assert (root.name, root.failure) == ("conversation turn", None)
        assert root.attributes["s2s.outcome"] == "completed"
        (turn,) = collector.named("turn")
        assert turn.parent_id == root.span_id
        assert turn.attributes["gen_ai.conversation.id"] == root.attributes["gen_ai.conversation.id"]
        assert turn.attributes["s2s.turn_id"] == root.attributes["s2s.turn_id"]
        assert root.start_ns <= turn.start_ns <= turn.end_ns
        check_voice_to_voice(collector)


def check_voice_to_voice(collector: Collector) -> None:
    """It has the part that the pipeline does not see, and no gap."""
    whole = collector.one("voice to voice")
    parts = collector.below(whole)
    assert [part.name for part in parts] == ["pause", "first audio", "held", "playback"]
    assert [part.start_ns for part in parts] == [whole.start_ns, *(part.end_ns for part in parts[:-1])]
    assert parts[-1].end_ns == whole.end_ns
    measured = collector.measured("s2s.voice_to_voice")
    assert measured.sum == pytest.approx((whole.end_ns - whole.start_ns) / 1e9)
    root = collector.one("conversation turn")
    assert root.attributes["s2s.voice_to_voice_s"] == pytest.approx(measured.sum)


async def test_an_interrupted_response_ends_its_trace() -> None:
    with collecting() as collector:
        with telemetry_to(collector):
            hanging = cast(llm=[["It is sunny. ", HANG]], tts=[[speech(0.1)]])
            async with serving(hanging) as served, served.client() as client:
                await client.send("conversation.item.create", item=_written("How is it?"))
                await client.send("response.create")
                await client.until("response.output_audio.delta")
                await client.send("response.cancel")
                await client.until("response.done")
        assert collector.one("conversation turn").attributes["s2s.outcome"] == "interrupted"
        assert collector.one("turn").attributes["s2s.outcome"] == "cancelled"
        assert collector.one("chat scripted LLM").attributes["s2s.cancelled"] is True


async def test_a_request_goes_on_with_the_trace_of_its_client() -> None:
    with collecting() as collector:
        with telemetry_to(collector):
            async with rest_api(cast(llm=[["It is sunny."]])) as api:
                await api.client.chat.completions.create(
                    model="gpt-4o", messages=QUESTION, extra_headers={"traceparent": CLIENT}
                )
        request, call = collector.one("POST /v1/chat/completions"), collector.one("chat scripted LLM")
        assert (request.trace_id, request.parent_id) == tuple(CLIENT.split("-")[1:3])
        assert (request.kind, request.attributes["http.response.status_code"]) == ("server", 200)
        assert collector.below(request) == [call]


async def test_probes_are_not_traced() -> None:
    with collecting() as collector:
        with telemetry_to(collector):
            async with rest_api(cast()) as api, httpx2.AsyncClient() as client:
                assert (await client.get(f"{api.url}/healthz")).is_success
                assert (await client.get(f"{api.url}/v1/models")).is_success
        assert [span.name for span in collector.spans] == ["GET /v1/models"]


async def test_a_transcription_is_a_turn_below_its_request() -> None:
    with collecting() as collector:
        with telemetry_to(collector):
            async with rest_api(cast(asr=[["how are you"]])) as api:
                upload = ("question.wav", sound_file(tone(440, 1.0)))
                await api.client.audio.transcriptions.create(file=upload, model="whisper-1")
        request = collector.one("POST /v1/audio/transcriptions")
        (turn,) = collector.below(request)
        assert (turn.name, turn.attributes["s2s.outcome"]) == ("turn", "transcribed")


async def test_speech_is_a_call_a_chunk_below_its_request() -> None:
    with collecting() as collector:
        with telemetry_to(collector):
            async with rest_api(cast(tts=[[speech(0.1)]])) as api:
                await api.client.audio.speech.create(
                    input="This is the first sentence of it. And this is the second one of them.",
                    model="tts-1",
                    voice="alloy",
                )
        calls = collector.below(collector.one("POST /v1/audio/speech"))
        assert {call.name for call in calls} == {"text_to_speech scripted TTS"}


def test_a_request_without_a_valid_place_in_a_trace_is_refused() -> None:
    with pytest.raises(ValueError, match="traceparent"):
        TurnRequest(conversation=[{"role": "user", "content": "Hi"}], traceparent="no such thing")


def _written(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
