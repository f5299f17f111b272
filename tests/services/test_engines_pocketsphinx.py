from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bench.word_errors import word_errors
from services.asr.pocketsphinx import PocketsphinxASR
from shared.audio.decode import decode_audio, decode_mp3
from shared.audio.mp3 import encode_mp3
from shared.audio.pcm import Pcm, join, resample
from shared.settings import Settings
from tests.support.flite_speech import flite_says
from tests.support.paths import EXAMPLES

pytestmark = pytest.mark.slow

HZ = 16_000

SAID = (
    "what is two plus two",
    "five hundred and twelve plus three hundred",
    "my name is peter",
    "the people of this country are waiting for an answer",
    "thank you very much and see you later",
)


TWO_PLUS_TWO = EXAMPLES / "what-is-two-plus-two.mp3"


def silence(num_samples: int) -> Pcm:
    return Pcm(np.zeros(num_samples, np.float32), HZ)


@pytest.fixture(scope="module")
def engine() -> Iterator[PocketsphinxASR]:
    engine = PocketsphinxASR()
    engine.load()
    yield engine
    engine.close()


@pytest.mark.needs("flite")
def test_words_come_back_from_flite_and_mp3(engine: PocketsphinxASR) -> None:
    mp3s = [encode_mp3(flite_says(f"{said}.")) for said in SAID]
    heard = [engine.transcribe(decode_mp3(mp3)) for mp3 in mp3s]
    assert word_errors(" ".join(SAID), " ".join(heard)).rate <= 0.15, heard


def test_a_recorded_speech_is_recognisable(engine: PocketsphinxASR, recordings: Path) -> None:
    speech = resample(decode_audio((recordings / "jfk.flac").read_bytes(), Settings()), HZ)
    heard = engine.transcribe(Pcm(speech.samples[: 8 * HZ].copy(), HZ))
    assert "fellow america" in heard
    assert "your country can do for you" in heard


@pytest.mark.needs("flite")
def test_an_utterance_is_heard_alike_whatever_came_before(engine: PocketsphinxASR) -> None:
    noise = np.random.default_rng(0).standard_normal(HZ).astype(np.float32)
    question = flite_says("good morning", "slt")
    for before in (question, Pcm((0.3 * noise).clip(-1, 1), HZ)):
        engine.transcribe(before)
        assert engine.transcribe(question) == "good morning"


@pytest.mark.needs("flite")
def test_several_threads_are_answered_each_with_its_own_words(engine: PocketsphinxASR) -> None:
    names = ["hello there", "what time is it", "goodbye"]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda said: engine.transcribe(flite_says(said)), names)) == names


def test_words_have_the_times_at_which_they_are_said(engine: PocketsphinxASR) -> None:
    question = resample(decode_audio(TWO_PLUS_TWO.read_bytes(), Settings()), HZ)
    words = engine.transcribe_words(join([silence(2 * HZ), question]))
    assert [word.text for word in words] == [" what", " is", " two", " plus", " two"]
    assert words[0].start_s == pytest.approx(2.0, abs=0.1)
    assert 2.0 + question.duration_s - 0.5 < words[-1].end_s < 2.0 + question.duration_s
    assert all(one.start_s < one.end_s <= other.start_s for one, other in pairwise(words))


@pytest.mark.parametrize("num_samples", [0, 1, 160, 1_000])
def test_audio_too_short_for_words_gives_none(engine: PocketsphinxASR, num_samples: int) -> None:
    assert engine.transcribe(silence(num_samples)) == ""
    assert engine.transcribe_words(silence(num_samples)) == []
