"""/v1/audio/transcriptions, by OpenAI's own client."""

import asyncio
import io
from typing import Any

import httpx2
import openai
import pytest
from openai.types.audio import TranscriptionTextDeltaEvent, TranscriptionTextDoneEvent, TranscriptionVerbose

from shared.audio.pcm import Pcm
from shared.errors import BadRequest, StageFailed
from shared.payloads import Word
from tests.gateway.rest.conftest import Served, rest_api
from tests.support.scripted_stages import HANG, Cast
from tests.support.sounds import sound_file, tone
from tests.support.waiting import until_async

WAV = sound_file(tone(440, 1.5))
TEXT = "what is the weather like"


def upload(data: bytes = WAV) -> tuple[str, bytes]:
    return ("question.wav", data)


async def test_json_holds_the_transcript_and_its_usage(api: Served, scripted: Cast) -> None:
    answer = await api.client.audio.transcriptions.create(file=upload(), model="whisper-1")
    assert answer.text == TEXT
    assert answer.usage
    assert answer.usage.model_dump() == {"type": "duration", "seconds": 1.5}
    (call,) = scripted.asr.calls
    assert isinstance(call.given, Pcm)
    assert (call.given.duration_s, call.given.sample_rate_hz) == (1.5, 16_000)


async def test_verbose_json_holds_language_duration_and_one_segment(api: Served, scripted: Cast) -> None:
    answer = await api.client.audio.transcriptions.create(
        file=upload(), model="whisper-1", response_format="verbose_json", language="de"
    )
    assert isinstance(answer, TranscriptionVerbose)
    assert (answer.text, answer.language, answer.duration) == (TEXT, "de", 1.5)
    assert answer.segments
    assert [(one.start, one.end, one.text) for one in answer.segments] == [(0.0, 1.5, TEXT)]
    assert scripted.asr.languages == ["de"]


SPOKEN = [
    (" What", 0.2, 0.4),
    (" is", 0.4, 0.5),
    (" it?", 0.5, 0.7),
    (" Good", 1.0, 1.2),
    (" day.", 1.2, 1.4),
]
WORDS = tuple(Word(text=text, start_s=start_s, end_s=end_s) for text, start_s, end_s in SPOKEN)


async def test_words_have_their_times(api: Served, scripted: Cast) -> None:
    scripted.asr.words = WORDS
    answer = await api.client.audio.transcriptions.create(
        file=upload(), model="whisper-1", response_format="verbose_json", timestamp_granularities=["word"]
    )
    assert isinstance(answer, TranscriptionVerbose)
    assert answer.words
    assert [(f" {one.word}", one.start, one.end) for one in answer.words] == SPOKEN
    assert answer.segments is None


@pytest.mark.parametrize("granularities", [["segment"], ["segment", "word"], []])
async def test_segments_are_sentences_where_words_have_times(
    api: Served, scripted: Cast, granularities: Any
) -> None:
    scripted.asr.words = WORDS
    answer = await api.client.audio.transcriptions.create(
        file=upload(),
        model="whisper-1",
        response_format="verbose_json",
        timestamp_granularities=granularities,
    )
    assert isinstance(answer, TranscriptionVerbose)
    assert answer.segments
    sentences = [(0.2, 0.7, "What is it?"), (1.0, 1.4, "Good day.")]
    assert [(one.start, one.end, one.text) for one in answer.segments] == sentences
    assert bool(answer.words) == ("word" in granularities)


SRT = "1\n00:00:00,200 --> 00:00:00,700\nWhat is it?\n\n2\n00:00:01,000 --> 00:00:01,400\nGood day.\n\n"
VTT = "WEBVTT\n\n00:00:00.200 --> 00:00:00.700\nWhat is it?\n\n00:00:01.000 --> 00:00:01.400\nGood day.\n\n"


@pytest.mark.parametrize(("response_format", "text"), [("srt", SRT), ("vtt", VTT)])
async def test_subtitles_are_sentences_where_words_have_times(
    api: Served, scripted: Cast, response_format: Any, text: str
) -> None:
    scripted.asr.words = WORDS
    answer = await api.client.audio.transcriptions.create(
        file=upload(), model="whisper-1", response_format=response_format
    )
    assert answer == text


async def test_an_engine_without_word_times_is_refused_with_the_names_of_those_that_have_them(
    api: Served,
) -> None:
    with pytest.raises(
        openai.BadRequestError, match=r"scripted ASR .* nemo, pocketsphinx, whisper\."
    ) as refused:
        await api.client.audio.transcriptions.create(
            file=upload(),
            model="whisper-1",
            response_format="verbose_json",
            timestamp_granularities=["word"],
        )
    assert refused.value.param == "timestamp_granularities"


@pytest.mark.parametrize("granularities", [["word"], ["segment"]])
async def test_where_nobody_speaks_there_are_no_words_and_no_segments(
    api: Served, scripted: Cast, granularities: Any
) -> None:
    scripted.asr.scripts, scripted.asr.words = [[""]], ()
    answer = await api.client.audio.transcriptions.create(
        file=upload(),
        model="whisper-1",
        response_format="verbose_json",
        timestamp_granularities=granularities,
    )
    assert isinstance(answer, TranscriptionVerbose)
    assert (answer.text, answer.words or [], answer.segments or []) == ("", [], [])


async def test_a_language_that_was_not_named_is_undetermined(api: Served, scripted: Cast) -> None:
    answer = await api.client.audio.transcriptions.create(
        file=upload(), model="whisper-1", response_format="verbose_json"
    )
    assert answer.language == "und"
    assert scripted.asr.languages == [None]


@pytest.mark.parametrize(
    ("response_format", "text"),
    [
        ("text", f"{TEXT}\n"),
        ("srt", f"1\n00:00:00,000 --> 00:00:01,500\n{TEXT}\n\n"),
        ("vtt", f"WEBVTT\n\n00:00:00.000 --> 00:00:01.500\n{TEXT}\n\n"),
    ],
)
async def test_texts_are_sent_as_texts(api: Served, response_format: Any, text: str) -> None:
    answer = await api.client.audio.transcriptions.create(
        file=upload(), model="whisper-1", response_format=response_format
    )
    assert answer == text


@pytest.mark.parametrize(
    ("response_format", "text"), [("text", "\n"), ("srt", ""), ("vtt", "WEBVTT\n\n"), ("json", "")]
)
async def test_where_nobody_speaks_the_transcript_is_empty(
    api: Served, scripted: Cast, response_format: Any, text: str
) -> None:
    scripted.asr.scripts = [[""]]
    answer: Any = await api.client.audio.transcriptions.create(
        file=upload(), model="whisper-1", response_format=response_format
    )
    assert getattr(answer, "text", answer) == text


async def test_a_stream_sends_the_text_and_then_all_of_it(api: Served) -> None:
    stream = await api.client.audio.transcriptions.create(
        file=upload(), model="gpt-4o-mini-transcribe", stream=True
    )
    delta, done = [one async for one in stream]
    assert isinstance(delta, TranscriptionTextDeltaEvent)
    assert isinstance(done, TranscriptionTextDoneEvent)
    assert (delta.delta, done.text) == (TEXT, TEXT)
    assert done.usage
    assert (done.usage.input_tokens, done.usage.output_tokens, done.usage.total_tokens) == (15, 6, 21)


async def test_what_has_no_effect_is_taken(api: Served) -> None:
    answer = await api.client.audio.transcriptions.create(
        file=upload(),
        model="a-model-of-tomorrow",
        prompt="About the weather.",
        temperature=0.3,
        include=["logprobs"],
        timestamp_granularities=["segment"],
    )
    assert answer.text == TEXT


@pytest.mark.parametrize("kind", ["FLAC", "OGG", "MP3"])
async def test_other_files_are_decoded_too(api: Served, scripted: Cast, kind: str) -> None:
    subtype = {"FLAC": "PCM_16", "OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}[kind]
    data = sound_file(tone(440, 1.5, 24_000), 24_000, kind, subtype)
    await api.client.audio.transcriptions.create(file=upload(data), model="whisper-1")
    given = scripted.asr.calls[0].given
    assert given.duration_s == pytest.approx(1.5, abs=0.06)
    assert given.sample_rate_hz == 16_000


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"response_format": "diarized_json"}, "response_format"),
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities"),
        ({"timestamp_granularities": ["word"], "response_format": "srt"}, "timestamp_granularities"),
        (
            {"timestamp_granularities": ["word"], "response_format": "verbose_json", "stream": True},
            "timestamp_granularities",
        ),
        ({"timestamp_granularities": ["letter"]}, "timestamp_granularities"),
        ({"stream": "perhaps"}, "stream"),
    ],
)
async def test_what_cannot_be_is_refused_with_the_name_of_its_field(
    api: Served, scripted: Cast, wanted: dict[str, Any], field: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await api.client.audio.transcriptions.create(file=upload(), model="whisper-1", **wanted)
    assert refused.value.param == field
    assert not scripted.asr.calls


@pytest.mark.parametrize("language", ["klingon-language", "?", "d"])
async def test_a_language_that_is_none_is_refused(api: Served, language: str) -> None:
    with pytest.raises(openai.BadRequestError, match="language"):
        await api.client.audio.transcriptions.create(file=upload(), model="whisper-1", language=language)


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 400, "bad_audio"),
        (b"no audio at all", 400, "bad_audio"),
        (sound_file(tone(440, 0.05)), 400, "bad_audio"),
        (sound_file(tone(440, 6.0)), 413, "too_long"),
    ],
)
async def test_audio_that_cannot_be_used_is_refused(
    scripted: Cast, data: bytes, status: int, code: str
) -> None:
    async with rest_api(scripted, max_audio_s=5) as api:
        with pytest.raises(openai.APIStatusError) as refused:
            await api.client.audio.transcriptions.create(file=upload(data), model="whisper-1")
    assert (refused.value.status_code, refused.value.code) == (status, code)
    assert not scripted.asr.calls


async def test_a_file_that_is_too_large_is_refused(scripted: Cast) -> None:
    async with rest_api(scripted, max_upload_bytes=100_000) as api:
        with pytest.raises(openai.APIStatusError) as refused:
            await api.client.audio.transcriptions.create(file=upload(bytes(3_000_000)), model="whisper-1")
        assert (refused.value.status_code, refused.value.code) == (413, "request_too_large")
        assert (await api.client.audio.transcriptions.create(file=upload(), model="whisper-1")).text == TEXT


async def test_a_file_without_a_declared_size_is_read_no_further_than_its_bound(scripted: Cast) -> None:
    async with rest_api(scripted, max_upload_bytes=100_000) as api, httpx2.AsyncClient() as client:

        async def endless() -> Any:
            yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            for _ in range(100):
                yield bytes(10_000)

        answer = await client.post(
            f"{api.url}/v1/audio/transcriptions",
            content=endless(),
            headers={"content-type": "multipart/form-data; boundary=b"},
        )
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "request_too_large"


FORM = "multipart/form-data; boundary=b"
TWO_FILES = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n' * 2 + b"--b--\r\n"
)
PART = b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b"--b\r\n"),
        (FORM, b""),
        (FORM, b"nonsense"),
        (FORM, PART % (b"file", b"no file, but a field") + b"--b--\r\n"),
        (FORM, b"--b\r\nContent-Disposition: form-data\r\n\r\nnameless\r\n--b--\r\n"),
        (FORM, b"".join(PART % (b"f%d" % number, b"x") for number in range(40)) + b"--b--\r\n"),
        (FORM, PART % (b"prompt", b"x" * 70_000) + b"--b--\r\n"),
        (
            FORM,
            (b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n' * 2)
            + b"--b--\r\n",
        ),
    ],
)
async def test_a_form_that_is_none_or_holds_too_much_is_refused(
    api: Served, content_type: str, body: bytes
) -> None:
    async with httpx2.AsyncClient() as client:
        answer = await client.post(
            f"{api.url}/v1/audio/transcriptions", content=body, headers={"content-type": content_type}
        )
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [(StageFailed("The ASR is tired."), 503, "1"), (BadRequest("It knows no German."), 400, None)],
)
async def test_a_turn_that_fails_is_answered_with_its_status(
    api: Served, scripted: Cast, error: Exception, status: int, retry_after: str | None, stream: bool
) -> None:
    scripted.asr.scripts = [[error]]
    with pytest.raises(openai.APIStatusError) as failed:
        await api.client.audio.transcriptions.create(file=upload(), model="whisper-1", stream=stream)
    assert (failed.value.status_code, failed.value.response.headers.get("retry-after")) == (
        status,
        retry_after,
    )
    assert isinstance(failed.value.body, dict)
    assert failed.value.body["message"] == str(error)


async def test_openais_client_retries_what_may_succeed(api: Served, scripted: Cast) -> None:
    scripted.asr.scripts = [[StageFailed("The ASR is tired.")], [TEXT]]
    patient = api.client.with_options(max_retries=1)
    assert (await patient.audio.transcriptions.create(file=upload(), model="whisper-1")).text == TEXT


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_cancels_the_turn(api: Served, scripted: Cast, stream: bool) -> None:
    scripted.asr.scripts = [[HANG]]
    waiting = asyncio.create_task(
        api.client.audio.transcriptions.create(file=upload(), model="whisper-1", stream=stream)
    )
    await until_async(lambda: scripted.asr.calls)
    waiting.cancel()
    await until_async(lambda: not scripted.under_way)
    await until_async(lambda: api.figures.get("s2s_turns_total{outcome=cancelled}"))


async def test_a_transcription_is_counted_as_a_turn(api: Served) -> None:
    await api.client.audio.transcriptions.create(file=io.BytesIO(WAV), model="whisper-1")
    assert api.figures["s2s_turns_total{outcome=transcribed}"] == 1


async def test_others_are_served_while_hostile_uploads_come_in(scripted: Cast) -> None:
    hostile = [
        b"\r\n--" * 700_000,
        PART % (b"prompt", b"\r\n--b" * 10_000) * 30,
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"RIFF" * 700_000,
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        + b"\xff\xfb\x90\x64" * 700_000,
    ]
    async with (
        rest_api(scripted, max_upload_bytes=3_000_000) as api,
        httpx2.AsyncClient(timeout=60) as client,
    ):

        async def attack(body: bytes) -> int:
            url = f"{api.url}/v1/audio/transcriptions"
            answer = await client.post(url, content=body + b"\r\n--b--\r\n", headers={"content-type": FORM})
            return answer.status_code

        attacks = [asyncio.create_task(attack(body)) for body in hostile * 3]
        for _ in range(5):
            assert (
                await api.client.audio.transcriptions.create(file=upload(), model="whisper-1")
            ).text == TEXT
        assert set(await asyncio.gather(*attacks)) == {400}
