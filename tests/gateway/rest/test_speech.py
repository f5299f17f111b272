"""/v1/audio/speech, by OpenAI's own client."""

import asyncio
import base64
import json
from typing import Any

import httpx2
import numpy as np
import openai
import pytest

from bench.sounds import Samples
from gateway.speech_encoder import SPEECH_FORMATS, SpeechFormat
from shared.audio.decode import decode_audio
from shared.audio.pcm import Pcm, resample
from shared.errors import BadRequest, StageFailed
from shared.settings import Settings
from tests.gateway.rest.conftest import Served, rest_api
from tests.support.scripted_stages import HANG, Cast, cast
from tests.support.sounds import tone
from tests.support.waiting import until_async

TONE = Pcm(tone(440, 1.0), 16_000)
TEXT = "How are you this morning?"

TEXT_OF_MANY_CHUNKS = " ".join(f"This is sentence number {number}, and it is spoken." for number in range(12))


def speech_of(scripted: Cast, *script: Any) -> None:
    scripted.tts.scripts = [list(script)]


def decoded(data: bytes, speech_format: SpeechFormat) -> Pcm:
    if speech_format == "pcm":
        samples: Samples = np.frombuffer(data, "<i2").astype(np.float32)
        return Pcm(samples / np.float32(32_768), 24_000)
    return decode_audio(data, Settings())


def pitch_hz(pcm: Pcm) -> float:
    spectrum = np.abs(np.fft.rfft(pcm.samples * np.hanning(pcm.num_samples)))
    return float(np.argmax(spectrum)) * pcm.sample_rate_hz / pcm.num_samples


@pytest.mark.parametrize("speech_format", [one for one in SPEECH_FORMATS if one != "aac"])
async def test_every_format_holds_what_was_synthesized(
    api: Served, scripted: Cast, speech_format: SpeechFormat
) -> None:
    speech_of(scripted, TONE, TONE)
    answer = await api.client.audio.speech.create(
        input=TEXT, model="tts-1", voice="alloy", response_format=speech_format
    )
    heard = decoded(answer.content, speech_format)
    expected = resample(Pcm(np.concatenate([TONE.samples] * 2), 16_000), 24_000)
    assert heard.sample_rate_hz == 24_000 or speech_format == "opus"
    assert heard.duration_s == pytest.approx(2.0, abs=0.1)
    assert pitch_hz(heard) == pytest.approx(440, abs=2)
    if speech_format in ("wav", "flac", "pcm"):
        assert heard.num_samples == expected.num_samples
        inside = slice(100, -100)  # filters differ where the sound begins and ends
        assert heard.samples[inside] == pytest.approx(expected.samples[inside], abs=0.01)
    else:
        assert float(np.abs(heard.samples).max()) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("speech_format", "media_type", "first_bytes"),
    [
        ("mp3", "audio/mpeg", b"\xff\xf3"),
        ("opus", "audio/opus", b"OggS"),
        ("aac", "audio/aac", b"\xff\xf1"),
        ("flac", "audio/flac", b"fLaC"),
        ("wav", "audio/wav", b"RIFF"),
        ("pcm", "audio/pcm", b"\0\0"),
    ],
)
async def test_every_format_is_what_it_is_called(
    api: Served, speech_format: SpeechFormat, media_type: str, first_bytes: bytes
) -> None:
    answer = await api.client.audio.speech.create(
        input=TEXT, model="tts-1", voice="ash", response_format=speech_format
    )
    assert answer.response.headers["content-type"] == media_type
    assert answer.content.startswith(first_bytes) or speech_format == "pcm"


@pytest.mark.needs("ffmpeg")
async def test_aac_holds_what_was_synthesized(api: Served, scripted: Cast) -> None:
    speech_of(scripted, TONE, TONE)
    answer = await api.client.audio.speech.create(
        input=TEXT, model="tts-1", voice="ash", response_format="aac"
    )
    heard = decode_audio(answer.content, Settings())
    assert heard.duration_s == pytest.approx(2.0, abs=0.1)
    assert pitch_hz(heard) == pytest.approx(440, abs=2)


async def test_mp3_is_the_default(api: Served) -> None:
    answer = await api.client.audio.speech.create(input=TEXT, model="tts-1", voice="ash")
    assert answer.response.headers["content-type"] == "audio/mpeg"


@pytest.mark.parametrize("speed", [0.25, 0.5, 1.5, 4.0])
async def test_speed_changes_the_length_and_not_the_pitch(api: Served, scripted: Cast, speed: float) -> None:
    speech_of(scripted, TONE, TONE, TONE)
    answer = await api.client.audio.speech.create(
        input=TEXT, model="tts-1", voice="ash", response_format="wav", speed=speed
    )
    heard = decoded(answer.content, "wav")
    assert heard.duration_s == pytest.approx(3.0 / speed, rel=0.05)
    assert pitch_hz(heard) == pytest.approx(440, abs=4)


async def test_the_first_bytes_come_before_the_last_chunk_is_synthesized(api: Served, scripted: Cast) -> None:
    scripted.tts.scripts = [[TONE], [TONE], [HANG]]
    speaking = api.client.audio.speech.with_streaming_response.create(
        input=TEXT_OF_MANY_CHUNKS, model="tts-1", voice="ash", response_format="pcm"
    )
    async with speaking as answer:
        parts = answer.iter_bytes(4_800)
        for _ in range(8):
            await anext(parts)
        await until_async(lambda: scripted.tts.under_way and len(scripted.tts.calls) == 3)
    await until_async(lambda: not scripted.under_way)


async def test_a_long_text_is_spoken_in_chunks_without_losing_a_word(api: Served, scripted: Cast) -> None:
    speech_of(scripted, TONE)
    await api.client.audio.speech.create(
        input=TEXT_OF_MANY_CHUNKS, model="tts-1", voice="ash", response_format="pcm"
    )
    assert len(scripted.tts.texts) > 2
    assert " ".join(scripted.tts.texts) == TEXT_OF_MANY_CHUNKS


async def test_markdown_is_made_speakable(api: Served, scripted: Cast) -> None:
    await api.client.audio.speech.create(input="**Hello**, [you](https://x.org)!", model="tts-1", voice="ash")
    assert scripted.tts.texts == ["Hello, you!"]


async def test_the_stream_of_events_carries_the_same_audio_and_its_usage(api: Served, scripted: Cast) -> None:
    speech_of(scripted, TONE)
    wanted: dict[str, Any] = {"input": TEXT, "model": "tts-1", "voice": "ash", "response_format": "wav"}
    whole = await api.client.audio.speech.create(**wanted)
    answer = await api.client.audio.speech.create(**wanted, stream_format="sse")
    assert answer.response.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line]
    *deltas, done = events
    assert {delta["type"] for delta in deltas} == {"speech.audio.delta"}
    assert b"".join(base64.b64decode(delta["audio"]) for delta in deltas) == whole.content
    assert done["type"] == "speech.audio.done"
    usage = {"input_tokens": 7, "output_tokens": 20, "total_tokens": 27}
    assert done["usage"] == usage  # 25 characters, and a second


@pytest.mark.parametrize(
    ("named", "used"), [("alloy", "af_heart"), ({"id": "alloy"}, "af_heart"), ("nobody", None)]
)
async def test_voices_are_mapped_and_unknown_ones_are_the_models_own(
    scripted: Cast, named: Any, used: str | None
) -> None:
    async with rest_api(scripted, voices="alloy=af_heart") as api:
        await api.client.audio.speech.create(input=TEXT, model="a-model-of-tomorrow", voice=named)
    assert scripted.tts.voices == [(used, None)]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("input", ""),
        ("input", "x" * 4_097),
        ("input", 5),
        ("response_format", "midi"),
        ("speed", 0.2),
        ("speed", 4.1),
        ("stream_format", "websocket"),
        ("voice", "v" * 101),
    ],
)
async def test_what_cannot_be_is_refused_with_the_name_of_its_field(
    api: Served, scripted: Cast, field: str, value: Any
) -> None:
    wanted: dict[str, Any] = {"input": TEXT, "model": "tts-1", "voice": "ash", field: value}
    with pytest.raises(openai.BadRequestError) as refused:
        await api.client.audio.speech.create(**wanted)
    assert refused.value.type == "invalid_request_error"
    assert str(refused.value.param).startswith(field)
    assert not scripted.tts.calls


async def test_a_text_of_which_nothing_can_be_spoken_is_refused(api: Served) -> None:
    with pytest.raises(openai.BadRequestError, match="Nothing of the input can be spoken"):
        await api.client.audio.speech.create(input="--- 🙂 ---", model="tts-1", voice="ash")


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [(StageFailed("The TTS is tired."), 503, "1"), (BadRequest("No such voice."), 400, None)],
)
async def test_a_stage_that_fails_at_once_is_answered_with_its_status(
    api: Served, scripted: Cast, error: Exception, status: int, retry_after: str | None
) -> None:
    speech_of(scripted, error)
    with pytest.raises(openai.APIStatusError) as failed:
        await api.client.audio.speech.create(input=TEXT, model="tts-1", voice="ash")
    assert (failed.value.status_code, failed.value.response.headers.get("retry-after")) == (
        status,
        retry_after,
    )
    assert isinstance(failed.value.body, dict)
    assert failed.value.body["message"] == str(error)
    assert api.figures[f"s2s_errors_total{{code={failed.value.code}}}"] == 1


async def test_audio_that_breaks_off_is_not_taken_for_whole(api: Served, scripted: Cast) -> None:
    scripted.tts.scripts = [[TONE], [StageFailed("The TTS is tired.")]]
    with pytest.raises(openai.APIConnectionError):
        await api.client.audio.speech.create(input=TEXT_OF_MANY_CHUNKS, model="tts-1", voice="ash")


async def test_events_that_break_off_say_why(api: Served, scripted: Cast) -> None:
    scripted.tts.scripts = [[TONE], [StageFailed("The TTS is tired.")]]
    answer = await api.client.audio.speech.create(
        input=TEXT_OF_MANY_CHUNKS, model="tts-1", voice="ash", stream_format="sse"
    )
    last = json.loads(answer.text.strip().splitlines()[-1].removeprefix("data: "))
    assert last["error"] == {
        "message": "The TTS is tired.",
        "type": "server_error",
        "param": None,
        "code": "stage_failed",
    }


async def test_a_client_that_leaves_cancels_the_synthesis(api: Served, scripted: Cast) -> None:
    speech_of(scripted, HANG)
    waiting = asyncio.create_task(api.client.audio.speech.create(input=TEXT, model="tts-1", voice="ash"))
    await until_async(lambda: scripted.tts.calls)
    waiting.cancel()
    await until_async(lambda: not scripted.under_way)


async def test_a_request_that_waits_for_the_tts_is_in_the_queue() -> None:
    scripted = cast(tts=[[TONE]])
    scripted.tts.start_s = 0.5
    async with rest_api(scripted, stage_waiting_after_s=0.05) as api:
        speaking = asyncio.create_task(api.client.audio.speech.create(input=TEXT, model="tts-1", voice="ash"))
        await until_async(lambda: api.figures["s2s_queue{stage=tts}"] == 1)
        await speaking
        assert api.figures["s2s_queue{stage=tts}"] == 0


async def test_the_stage_does_not_wait_for_a_slow_reader(scripted: Cast) -> None:
    long = Pcm(tone(440, 60.0), 16_000)
    speech_of(scripted, long, long, long)
    async with rest_api(scripted) as api:
        speaking = api.client.audio.speech.with_streaming_response.create(
            input=TEXT, model="tts-1", voice="ash", response_format="wav"
        )
        async with speaking:  # of which nothing is read
            await until_async(lambda: scripted.tts.calls and not scripted.under_way)


async def test_a_reader_that_takes_nothing_is_disconnected(scripted: Cast) -> None:
    long = Pcm(tone(440, 120.0), 16_000)
    scripted.tts.scripts = [[long, long, long, long]]
    async with rest_api(scripted, slow_reader_timeout_s=0.2) as api:
        speaking = api.client.audio.speech.with_streaming_response.create(
            input=TEXT_OF_MANY_CHUNKS, model="tts-1", voice="ash", response_format="wav"
        )
        async with speaking as answer:
            await until_async(
                lambda: api.figures.get("s2s_requests_total{route=/v1/audio/speech,status=200}")
            )
            with pytest.raises(httpx2.RemoteProtocolError):
                async for _ in answer.iter_bytes():
                    pass
