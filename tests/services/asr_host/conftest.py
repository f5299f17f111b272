"""An engine that works in batches, held up by a test, and calls that wait for it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from typing import Any

import numpy as np
import pytest

from services.host.asr_host import ASRHost
from shared.audio.decode import decode_audio
from shared.audio.pcm import Pcm, resample
from shared.engines import ASR_SAMPLE_RATE_HZ, ASRModel, EngineSpec
from shared.payloads import Speech, Word
from shared.settings import Settings
from shared.stage_stream import StageFinished, StageStarted, Transcript
from tests.support.paths import EXAMPLES
from tests.support.waiting import GIVE_UP_S, until_async

HELLO = EXAMPLES / "hello.mp3"
SILENCE = Pcm(np.zeros(ASR_SAMPLE_RATE_HZ, np.float32), ASR_SAMPLE_RATE_HZ)


class Ears(ASRModel):
    """Hears how long an utterance is, in batches of up to three, when it is let go on."""

    spec = EngineSpec(summary="for tests", licence="MIT", concurrent_inputs=3)
    model_name = "ears"

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.languages_known: tuple[str, ...] = ("en",)
        self.languages_asked: list[str | None] = []
        self.working = threading.Event()
        self.may_go_on = threading.Event()
        self.closing = threading.Event()
        self.breaks_at: str | None = None

    def load(self) -> None:
        pass

    def close(self) -> None:
        self.closing.set()

    @property
    def languages(self) -> tuple[str, ...]:
        return self.languages_known

    def transcribe(self, pcm: Pcm, *, language: str | None = None) -> str:
        return self.transcribe_batch([pcm], language=language)[0]

    def transcribe_words(self, pcm: Pcm, *, language: str | None = None) -> list[Word]:
        return [Word(text=f" {self.transcribe(pcm, language=language)}", start_s=0.1, end_s=0.2)]

    def transcribe_batch(self, utterances: Sequence[Pcm], *, language: str | None = None) -> list[str]:
        texts = [str(pcm.num_samples) for pcm in utterances]
        self.batches.append(texts)
        self.languages_asked.append(language)
        self.working.set()
        assert self.may_go_on.wait(GIVE_UP_S)
        if self.breaks_at in texts:
            raise OSError(f"broken at {self.breaks_at}")
        return texts


@pytest.fixture(scope="module")
def speech() -> Pcm:
    return resample(decode_audio(HELLO.read_bytes(), Settings()), ASR_SAMPLE_RATE_HZ)


@pytest.fixture
async def ears() -> AsyncIterator[Ears]:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    engine = Ears()
    yield engine
    engine.may_go_on.set()


def lengthened(speech: Pcm, by: int) -> Pcm:
    """The same utterance, told from others by its length."""
    return Pcm(np.pad(speech.samples, (0, by)), ASR_SAMPLE_RATE_HZ)


async def transcript(host: ASRHost, audio: Speech, **wanted: Any) -> Transcript:
    items = [item async for item in host.transcribe(audio, **wanted)]
    assert tuple(type(item) for item in items) == (StageStarted, Transcript, StageFinished)
    assert len({item.attempt_id for item in items}) == 1
    return next(item for item in items if isinstance(item, Transcript))


async def heard(host: ASRHost, audio: Speech, language: str | None = None) -> str:
    return (await transcript(host, audio, language=language)).text


async def asked(
    host: ASRHost, *audios: Speech, languages: Sequence[str | None] = ()
) -> list[asyncio.Task[str]]:
    """The calls, all of them waiting for the engine."""
    calls = [
        asyncio.create_task(heard(host, audio, language))
        for audio, language in zip_longest(audios, languages)
    ]
    for _ in range(50):  # each call takes a few steps to its gate
        await asyncio.sleep(0)
    await asyncio.to_thread(lambda: None)  # behind them, on the one thread on which they are gated
    for _ in range(50):  # and to its place in the queue
        await asyncio.sleep(0)
    return calls


async def at_work(engine: Ears) -> None:
    await until_async(engine.working.is_set)  # a wait on the one thread would keep calls from their gate
