"""Utterances that wait together are transcribed together, and none waits for a batch to fill."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from services.host import vad_gate
from services.host.asr_host import ASRHost
from shared.audio.pcm import Pcm
from shared.audio.vad import VoiceActivityDetector
from shared.engines import ASR_SAMPLE_RATE_HZ
from shared.errors import BadAudio, StageFailed
from shared.payloads import Mp3Audio, Word
from shared.service_settings import ServiceSettings
from shared.settings import Settings
from shared.stage_stream import StageFinished, Transcript
from tests.services.asr_host.conftest import (
    SILENCE,
    Ears,
    asked,
    at_work,
    heard,
    lengthened,
    transcript,
)
from tests.support.waiting import GIVE_UP_S, until_async


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


async def test_words_with_times_come_to_those_who_want_them_from_an_engine_that_has_them(
    ears: Ears, speech: Pcm
) -> None:
    ears.has_word_times = True
    ears.may_go_on.set()
    host = ASRHost(ears, Settings())
    timed, plain, silent = [
        await transcript(host, speech, word_times=True),
        await transcript(host, speech),
        await transcript(host, SILENCE, word_times=True),
    ]
    ears.has_word_times = False
    unable = await transcript(host, speech, word_times=True)
    await host.close()
    text = str(speech.num_samples)
    assert (timed.text, timed.words) == (text, (Word(text=f" {text}", start_s=0.1, end_s=0.2),))
    assert [(one.text, one.words) for one in (plain, unable)] == [(text, None)] * 2
    assert (silent.text, silent.words) == ("", ())


async def test_words_with_times_wait_in_the_same_batch_and_fail_alone(ears: Ears, speech: Pcm) -> None:
    ears.has_word_times = True
    ears.languages_known = ("en", "de")
    more = [lengthened(speech, by) for by in range(1, 4)]
    ears.breaks_at = str(more[1].num_samples)
    host = ASRHost(ears, Settings(asr=ServiceSettings(concurrent_inputs=4)))
    first = await asked(host, speech)
    await at_work(ears)
    plain = await asked(host, more[0])
    timed = [asyncio.create_task(transcript(host, pcm, language="de", word_times=True)) for pcm in more[1:]]
    for _ in range(50):
        await asyncio.sleep(0)
    await asyncio.to_thread(lambda: None)
    ears.may_go_on.set()
    texts = await asyncio.gather(*first, *plain)
    broken, whole = await asyncio.gather(*timed, return_exceptions=True)
    await host.close()
    assert texts == [str(speech.num_samples), str(more[0].num_samples)]
    assert isinstance(broken, StageFailed)
    assert isinstance(whole, Transcript)
    assert whole.text == str(more[2].num_samples)
    assert "de" in ears.languages_asked


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


async def test_noise_that_takes_long_to_gate_holds_nobody_else_up(
    ears: Ears, speech: Pcm, monkeypatch: pytest.MonkeyPatch
) -> None:
    detectors: list[VoiceActivityDetector] = []
    may_go_on = threading.Event()

    class FirstIsSlow(VoiceActivityDetector):
        def __init__(self) -> None:
            super().__init__()
            detectors.append(self)

        def probability(self, frame: NDArray[np.float32]) -> float:
            assert self is not detectors[0] or may_go_on.wait(GIVE_UP_S)
            return super().probability(frame)

    monkeypatch.setattr(vad_gate, "VoiceActivityDetector", FirstIsSlow)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
    ears.may_go_on.set()
    samples = np.random.default_rng(0).normal(0, 0.05, ASR_SAMPLE_RATE_HZ).astype(np.float32)
    host = ASRHost(ears, Settings())
    noise = asyncio.create_task(heard(host, Pcm(samples, ASR_SAMPLE_RATE_HZ)))
    await until_async(lambda: detectors)
    assert await heard(host, speech) == str(speech.num_samples)
    may_go_on.set()
    assert await noise == ""
    await host.close()


async def test_a_batch_is_booked_once_and_not_for_each_of_its_utterances(
    ears: Ears, speech: Pcm, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ns = 0
    monkeypatch.setattr(time, "perf_counter_ns", lambda: now_ns)
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
    now_ns = 300_000_000
    ears.may_go_on.set()
    await asyncio.gather(*first, *others)
    await host.close()
    assert len(ears.batches[1]) == 2
    assert [(one.elapsed_us, one.busy_us) for one in booked] == [(300_000, 150_000)] * 2
