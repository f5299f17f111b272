"""What a host keeps from its engine: audio without speech, and options that the engine lacks."""

import re
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from services.host.asr_host import ASRHost
from services.host.llm_host import LLMHost
from services.host.tts_host import TTSHost
from shared.audio.pcm import Pcm
from shared.errors import BadRequest, Stage
from shared.payloads import Tool
from shared.settings import Settings
from shared.stage_stream import Transcript
from tests.support.hosted_engines import MESSAGES, NOISE, Ears, Mind, Voice, read


async def test_silence_and_noise_never_reach_the_asr_engine() -> None:
    engine = Ears()
    host = ASRHost(engine, Settings())
    for audio in (NOISE, Pcm(np.zeros(16_000, np.float32), 16_000)):
        (transcript,) = [i for i in await read(host.transcribe(audio)) if isinstance(i, Transcript)]
        assert transcript.text == ""
    await host.close()
    assert engine.asked == 0


async def test_a_language_that_the_asr_engine_lacks_is_refused_before_it_works() -> None:
    engine = Ears()
    host = ASRHost(engine, Settings())
    with pytest.raises(BadRequest, match=r"ears has no language 'de'\. It has: en\.") as raised:
        await read(host.transcribe(NOISE, language="de-AT"))
    await host.close()
    assert (raised.value.stage, raised.value.retryable, engine.asked) == (Stage.ASR, False, 0)


async def test_tools_are_refused_by_an_llm_engine_without_them_before_it_works() -> None:
    engine = Mind()
    host = LLMHost(engine, Settings())
    with pytest.raises(BadRequest, match="mind has no tools") as raised:
        await read(host.generate(MESSAGES, tools=[Tool(name="look")], max_tokens=5, temperature=0))
    await host.close()
    assert (raised.value.stage, engine.most_at_work) == (Stage.LLM, 0)


@pytest.mark.parametrize(
    ("asked", "refusal"),
    [
        ({"voice": "bob"}, "voice has no voice 'bob'. It has only its own."),
        ({"language": "de"}, "voice has no language 'de'. It has: en."),
    ],
)
async def test_a_voice_or_language_that_the_tts_engine_lacks_is_refused_before_it_works(
    asked: dict[str, str], refusal: str
) -> None:
    engine = Voice()
    host = TTSHost(engine, Settings())
    with pytest.raises(BadRequest, match=re.escape(refusal)) as raised:
        await read(host.synthesize_mp3("one two", **asked))
    await host.close()
    assert (raised.value.stage, engine.pieces_made) == (Stage.TTS, 0)


async def test_an_engine_gets_the_voice_and_the_primary_tag_of_the_language_that_it_offers() -> None:
    asked: list[dict[str, str | None]] = []

    class Polyglot(Voice):
        voices = ("bob", "eve")
        languages = ("en", "de")

        def synthesize(self, text: str, cancelled: threading.Event, **options: str | None) -> Iterator[Pcm]:
            asked.append(options)
            return super().synthesize(text, cancelled)

    host = TTSHost(Polyglot(), Settings())
    await read(host.synthesize("one", voice="eve", language="de-AT"))
    await read(host.synthesize("one"))
    await host.close()
    assert asked == [{"voice": "eve", "language": "de"}, {"voice": None, "language": None}]
