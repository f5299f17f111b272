"""Utterances that wait together are transcribed together, and none waits for a batch to fill."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest

import numpy as np
import pytest

from services.host.asr_host import ASRHost
from shared.audio.decode import decode_audio
from shared.audio.pcm import Pcm, resample
from shared.engines import ASR_SAMPLE_RATE_HZ, ASRModel, EngineSpec
from shared.errors import BadAudio, StageFailed
from shared.payloads import Mp3Audio, Speech
from shared.settings import ServiceSettings, Settings
from shared.stage_stream import StageFinished, StageStarted, Transcript
from tests.support.paths import EXAMPLES
from tests.support.waiting import until_async

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
        self.breaks_at: str | None = None

    def load(self) -> None:
        pass

    @property
    def languages(self) -> tuple[str, ...]:
        return self.languages_known

    def transcribe(self, pcm: Pcm, *, language: str | None = None) -> str:
        return self.transcribe_batch([pcm])[0]

    def transcribe_batch(self, utterances: Sequence[Pcm], *, language: str | None = None) -> list[str]:
        texts = [str(pcm.num_samples) for pcm in utterances]
        self.batches.append(texts)
        self.languages_asked.append(language)
        self.working.set()
        assert self.may_go_on.wait(30)
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


async def heard(host: ASRHost, audio: Speech, language: str | None = None) -> str:
    items = [item async for item in host.transcribe(audio, language=language)]
    assert [type(item) for item in items] == [StageStarted, Transcript, StageFinished]
    assert len({item.attempt_id for item in items}) == 1
    return next(item.text for item in items if isinstance(item, Transcript))


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
    assert await asyncio.to_thread(engine.working.wait, 30)


async def test_one_utterance_is_begun_at_once_and_those_that_come_meanwhile_go_together(
    ears: Ears, speech: Pcm
) -> None:
    host = ASRHost(ears, Settings())
    first = await asked(host, speech)
    await at_work(ears)
    others = await asked(host, *(lengthened(speech, by) for by in range(1, 6)))
    ears.may_go_on.set()
    texts = [await call for call in first + others]
    await host.close()
    lengths = [str(speech.num_samples + by) for by in range(6)]
    assert texts == lengths
    assert ears.batches == [lengths[:1], lengths[1:4], lengths[4:]]


async def test_a_batch_is_of_one_language(ears: Ears, speech: Pcm) -> None:
    ears.languages_known = ("en", "de")
    host = ASRHost(ears, Settings())
    first = await asked(host, speech)
    await at_work(ears)
    more = [lengthened(speech, by) for by in range(1, 4)]
    others = await asked(host, *more, languages=[None, "de-DE", None])
    ears.may_go_on.set()
    texts = [await call for call in first + others]
    await host.close()
    lengths = [str(speech.num_samples + by) for by in range(4)]
    assert texts == lengths
    assert ears.batches[1:] == [[lengths[1], lengths[3]], [lengths[2]]]
    assert ears.languages_asked[1:] == [None, "de"]


async def test_the_setting_bounds_the_batch(ears: Ears, speech: Pcm) -> None:
    ears.may_go_on.set()
    host = ASRHost(ears, Settings(asr=ServiceSettings(concurrent_inputs=2)))
    await asyncio.gather(*(heard(host, speech) for _ in range(6)))
    await host.close()
    assert max(map(len, ears.batches)) <= 2


async def test_a_batch_holds_neither_silence_nor_what_is_no_audio(ears: Ears, speech: Pcm) -> None:
    broken = Mp3Audio(mp3=b"no mp3 at all", sample_rate_hz=16_000, num_samples=16_000)
    host = ASRHost(ears, Settings())
    first = await asked(host, speech)
    await at_work(ears)
    others = await asked(host, SILENCE, broken, speech)
    ears.may_go_on.set()
    results = await asyncio.gather(*first, *others, return_exceptions=True)
    await host.close()
    assert results[:2] == [str(speech.num_samples), ""]
    assert isinstance(results[2], BadAudio)
    assert results[3] == str(speech.num_samples)
    assert ears.batches == [[str(speech.num_samples)]] * 2


async def test_an_utterance_that_breaks_the_engine_does_not_take_its_neighbours_with_it(
    ears: Ears, speech: Pcm
) -> None:
    bad = lengthened(speech, 1)
    ears.breaks_at = str(bad.num_samples)
    host = ASRHost(ears, Settings())
    first = await asked(host, speech)
    await at_work(ears)
    others = await asked(host, speech, bad, speech)
    ears.may_go_on.set()
    results = await asyncio.gather(*first, *others, return_exceptions=True)
    await host.close()
    assert results[:2] + results[3:] == [str(speech.num_samples)] * 3
    assert isinstance(results[2], StageFailed)
    assert "ears: broken at" in str(results[2])


async def test_a_call_that_is_cancelled_while_it_waits_is_never_begun(ears: Ears, speech: Pcm) -> None:
    host = ASRHost(ears, Settings())
    first = await asked(host, speech)
    await at_work(ears)
    cancelled, kept = await asked(host, lengthened(speech, 1), lengthened(speech, 2))
    cancelled.cancel()
    await asyncio.wait([cancelled])
    ears.may_go_on.set()
    assert [await first[0], await kept] == [str(speech.num_samples), str(speech.num_samples + 2)]
    await host.close()
    assert str(speech.num_samples + 1) not in [text for batch in ears.batches for text in batch]


async def test_a_call_that_is_cancelled_in_mid_batch_leaves_the_others_their_words(
    ears: Ears, speech: Pcm
) -> None:
    host = ASRHost(ears, Settings())
    (cancelled,) = await asked(host, speech)
    await at_work(ears)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    (kept,) = await asked(host, lengthened(speech, 1))
    ears.may_go_on.set()
    assert await kept == str(speech.num_samples + 1)
    await host.close()


async def test_an_engine_that_goes_on_when_all_calls_of_a_batch_are_cancelled_is_reported_as_stuck(
    ears: Ears, speech: Pcm
) -> None:
    stuck = asyncio.Event()
    host = ASRHost(ears, Settings(engine_stuck_after_s=0.01), on_stuck=stuck.set)
    first = await asked(host, speech)
    await at_work(ears)
    first[0].cancel()
    async with asyncio.timeout(30):
        await stuck.wait()
    ears.may_go_on.set()
    await host.close()


async def test_an_engine_that_somebody_still_waits_for_is_not_stuck(ears: Ears, speech: Pcm) -> None:
    stuck = asyncio.Event()
    host = ASRHost(ears, Settings(engine_stuck_after_s=0.01), on_stuck=stuck.set)
    (first,) = await asked(host, speech)
    await at_work(ears)
    cancelled, kept = await asked(host, speech, speech)
    first_may_end, ears.may_go_on = ears.may_go_on, threading.Event()
    ears.working.clear()
    first_may_end.set()
    await first
    await at_work(ears)
    cancelled.cancel()
    await asyncio.sleep(0.1)
    assert not stuck.is_set()
    ears.may_go_on.set()
    assert await kept == str(speech.num_samples)
    await host.close()
    assert [len(batch) for batch in ears.batches] == [1, 2]


async def test_without_anybody_to_end_the_container_a_stuck_engine_is_logged(
    ears: Ears, speech: Pcm, caplog: pytest.LogCaptureFixture
) -> None:
    host = ASRHost(ears, Settings(engine_stuck_after_s=0.01))
    (cancelled,) = await asked(host, speech)
    await at_work(ears)
    cancelled.cancel()
    await until_async(lambda: "ears keeps working on an abandoned call" in caplog.text)
    ears.may_go_on.set()
    await host.close()


async def test_noise_that_takes_long_to_gate_holds_nobody_else_up(ears: Ears, speech: Pcm) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
    ears.may_go_on.set()
    samples = np.random.default_rng(0).normal(0, 0.05, 20 * ASR_SAMPLE_RATE_HZ).astype(np.float32)
    host = ASRHost(ears, Settings())
    noise = asyncio.create_task(heard(host, Pcm(samples, ASR_SAMPLE_RATE_HZ)))
    await asyncio.sleep(0.05)
    assert await heard(host, speech) == str(speech.num_samples)
    assert not noise.done()
    assert await noise == ""
    await host.close()


async def test_a_batch_is_booked_once_and_not_for_each_of_its_utterances(ears: Ears, speech: Pcm) -> None:
    host = ASRHost(ears, Settings())
    first = await asked(host, speech)
    await at_work(ears)
    booked: list[StageFinished] = []

    async def book() -> None:
        items = [item async for item in host.transcribe(speech)]
        booked.extend(item for item in items if isinstance(item, StageFinished))

    others = [asyncio.create_task(book()) for _ in range(2)]
    for _ in range(50):
        await asyncio.sleep(0)
    await asyncio.to_thread(lambda: None)
    for _ in range(50):
        await asyncio.sleep(0)
    first_may_end, ears.may_go_on = ears.may_go_on, threading.Event()
    ears.working.clear()
    first_may_end.set()
    await at_work(ears)
    await asyncio.sleep(0.3)
    ears.may_go_on.set()
    await asyncio.gather(*first, *others)
    await host.close()
    assert len(ears.batches[1]) == 2
    assert all(one.elapsed_us >= 300_000 for one in booked)
    assert all(one.busy_us < one.elapsed_us for one in booked)


async def test_a_host_that_is_closed_fails_what_waits(ears: Ears, speech: Pcm) -> None:
    host = ASRHost(ears, Settings())
    (first,) = await asked(host, speech)
    await at_work(ears)
    (waiting,) = await asked(host, speech)
    closing = asyncio.create_task(host.close())
    await asyncio.sleep(0.05)
    ears.may_go_on.set()
    await closing
    assert await first == str(speech.num_samples)
    with pytest.raises(StageFailed, match="ears"):
        await waiting
    assert not [thread for thread in threading.enumerate() if "asr-engine" in thread.name]
