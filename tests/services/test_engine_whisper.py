"""whisper: faster-whisper and CTranslate2 themselves, with a tiny model that says a planted text, and with
tiny.en."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faster_whisper import WhisperModel

from services.asr.whisper import WhisperASR, whisper_weights
from services.host.asr_host import ASRHost
from services.tts.espeak import EspeakTTS
from shared.audio.decode import decode_audio
from shared.audio.pcm import Pcm, join, resample
from shared.engines import ASR_SAMPLE_RATE_HZ
from shared.errors import BadRequest, Misconfigured, WeightsMissing
from shared.settings import Settings, settings
from shared.stage_stream import Transcript
from shared.weights import HubWeights
from tests.engines.hub_cache import put_into_hub_cache
from tests.engines.no_network import only_loopback
from tests.support.paths import EXAMPLES
from tests.support.tiny_whisper import TinyWhisper, write_tiny_whisper

pytestmark = pytest.mark.slow

SENTENCE = "Hello there, how are you today?"
HELLO = EXAMPLES / "hello.mp3"

Loaded = Callable[..., WhisperASR]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def loaded(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loaded]:
    """Loads the engine with a planted model and S2S_WHISPER_ settings."""

    def load(plan: TinyWhisper | None = None, **chosen: str) -> WhisperASR:
        for name, value in {"model": "small.en", **chosen}.items():
            monkeypatch.setenv(f"S2S_WHISPER_{name.upper()}", value)
        settings.cache_clear()
        write_tiny_whisper(tmp_path / "files", plan or TinyWhisper(text=SENTENCE))
        weights = WhisperASR.weights()
        assert isinstance(weights, HubWeights)
        put_into_hub_cache(cache, weights, tmp_path / "files")
        engine = WhisperASR()
        with only_loopback():
            engine.load()
        return engine

    yield load
    settings.cache_clear()


@pytest.fixture(scope="module")
def speech() -> Pcm:
    return resample(decode_audio(HELLO.read_bytes(), Settings()), ASR_SAMPLE_RATE_HZ)


def silence(duration_s: float) -> Pcm:
    return Pcm(np.zeros(round(duration_s * ASR_SAMPLE_RATE_HZ), np.float32), ASR_SAMPLE_RATE_HZ)


def noise(duration_s: float) -> Pcm:
    samples = np.random.default_rng(1).normal(0, 0.02, round(duration_s * ASR_SAMPLE_RATE_HZ))
    return Pcm(samples.astype(np.float32), ASR_SAMPLE_RATE_HZ)


@dataclass
class Work:
    """What the library was asked for: the frames of each window, the tokens of each text."""

    windows: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Work]:
    """Observes the library from then on."""
    encode, generate = WhisperModel.encode, WhisperModel.generate_with_fallback

    def observe() -> Work:
        seen = Work()

        def encoded(model: Any, features: Any) -> Any:
            seen.windows.append(features.shape[-1])
            return encode(model, features)

        def generated(*args: Any) -> Any:
            result = generate(*args)
            seen.tokens.append(len(result[0].sequences_ids[0]))
            return result

        monkeypatch.setattr(WhisperModel, "encode", encoded)
        monkeypatch.setattr(WhisperModel, "generate_with_fallback", generated)
        return seen

    return observe


async def heard(host: ASRHost, pcm: Pcm) -> str:
    (transcript,) = [item async for item in host.transcribe(pcm) if isinstance(item, Transcript)]
    return transcript.text


def test_speech_is_written_down_time_and_again_without_a_network(loaded: Loaded, speech: Pcm) -> None:
    engine = loaded()
    with only_loopback():
        assert [engine.transcribe(speech) for _ in range(3)] == [SENTENCE] * 3


def test_a_short_utterance_takes_half_a_window_and_a_longer_one_all_of_it(
    loaded: Loaded, work: Callable[[], Work], speech: Pcm
) -> None:
    engine, seen = loaded(), work()
    engine.transcribe(speech)
    assert seen.windows == [1500]
    engine.transcribe(join([speech] * 9))
    assert seen.windows == [1500, 3000]


def test_an_utterance_leaves_no_line_in_the_log(
    loaded: Loaded, speech: Pcm, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    loaded().transcribe(speech)
    assert caplog.records == []


def test_words_are_aligned_only_for_those_who_want_their_times(
    loaded: Loaded, speech: Pcm, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, aligned = loaded(), 0
    find_alignment = WhisperModel.find_alignment

    def observed(*args: Any) -> Any:
        nonlocal aligned
        aligned += 1
        return find_alignment(*args)

    monkeypatch.setattr(WhisperModel, "find_alignment", observed)
    engine.transcribe(speech)
    assert not aligned
    engine.transcribe_words(speech)
    assert aligned


def test_a_guess_in_half_a_window_is_decoded_anew_in_all_of_it(
    loaded: Loaded, work: Callable[[], Work], speech: Pcm
) -> None:
    engine, seen = loaded(TinyWhisper(text=SENTENCE, certainty=3.0)), work()
    engine.transcribe(speech)
    assert seen.windows == [1500, 3000]


def test_a_text_that_does_not_end_is_cut_at_more_words_than_anybody_speaks_in_that_time(
    loaded: Loaded, work: Callable[[], Work], speech: Pcm
) -> None:
    endless = "abcdefghijklmnopqrstuvwxyz"
    engine, seen = loaded(TinyWhisper(text=endless)), work()
    text = engine.transcribe(speech)
    assert endless.startswith(text)
    assert seen.windows == [1500, 3000]
    assert seen.tokens == [8 + round(7 * speech.duration_s)] * 2


def test_silence_and_noise_give_no_words_although_the_model_would(loaded: Loaded) -> None:
    engine = loaded()
    assert [engine.transcribe(pcm) for pcm in (silence(2), noise(2), silence(0))] == [""] * 3


def test_quiet_speech_is_heard(loaded: Loaded, speech: Pcm) -> None:
    assert loaded().transcribe(Pcm(speech.samples * np.float32(0.01), ASR_SAMPLE_RATE_HZ)) == SENTENCE


def test_speech_longer_than_a_window_is_heard_window_by_window(loaded: Loaded, speech: Pcm) -> None:
    long = join([speech] * (1 + int(45 / speech.duration_s)))
    assert loaded().transcribe(long).count(SENTENCE) == 2


def test_words_of_which_the_model_is_unsure_and_believes_that_nobody_said_them_are_dropped(
    loaded: Loaded, speech: Pcm
) -> None:
    assert loaded(TinyWhisper(text=SENTENCE, certainty=3.0, hears_nobody=True)).transcribe(speech) == ""


def test_words_of_which_the_model_is_sure_stay(loaded: Loaded, speech: Pcm) -> None:
    assert loaded(TinyWhisper(text=SENTENCE, hears_nobody=True)).transcribe(speech) == SENTENCE


def test_hotwords_stand_before_what_the_model_writes(loaded: Loaded, speech: Pcm) -> None:
    text = loaded(hotwords="fox").transcribe(speech)
    assert SENTENCE.endswith(text)  # the planted model begins where the hotwords end
    assert 0 < len(text) < len(SENTENCE)


def test_a_language_that_the_model_does_not_know_is_refused(loaded: Loaded) -> None:
    with pytest.raises(Misconfigured, match=r"S2S_WHISPER_LANGUAGE=de: the model small\.en knows auto, en"):
        loaded(language="de")


@pytest.mark.parametrize("language", ["de", "auto"])
def test_a_multilingual_model_listens_for_the_language_or_finds_it_out(
    loaded: Loaded, speech: Pcm, language: str
) -> None:
    engine = loaded(TinyWhisper(text=SENTENCE, multilingual=True), language=language, model="small")
    assert engine.transcribe(speech) == SENTENCE
    assert engine.model_name == "faster-whisper small"


def test_a_turn_chooses_among_the_languages_of_a_multilingual_model(
    loaded: Loaded, speech: Pcm, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = loaded(TinyWhisper(text=SENTENCE, multilingual=True), language="fr", model="small")
    assert {"en", "de", "zh"} <= set(engine.languages)
    used: list[str] = []
    transcribe = WhisperModel.transcribe

    def observed(*args: Any, **settings: Any) -> Any:
        segments, info = transcribe(*args, **settings)
        used.append(info.language)
        return segments, info

    monkeypatch.setattr(WhisperModel, "transcribe", observed)
    assert [engine.transcribe(speech, language=language) for language in ("de", None)] == [SENTENCE] * 2
    assert used == ["de", "fr"]


def test_an_english_model_knows_english_alone(loaded: Loaded) -> None:
    assert loaded().languages == ("en",)


@pytest.mark.parametrize("absent", ["tokenizer.json", "model.bin"])
def test_a_model_without_one_of_its_files_is_refused_and_the_network_is_not_asked(
    loaded: Loaded, cache: Path, absent: str
) -> None:
    loaded()
    for file in cache.rglob(absent):
        file.unlink()
    with only_loopback(), pytest.raises(WeightsMissing, match=f"{absent} is not there"):
        WhisperASR().load()


def test_weights_of_another_size_are_not_taken(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded()
    monkeypatch.setenv("S2S_WHISPER_MODEL", "base.en")
    settings.cache_clear()
    assert WhisperASR.weights() == whisper_weights("base.en")
    with (
        only_loopback(),
        pytest.raises(WeightsMissing, match=r"Systran/faster-whisper-base\.en .*fetch-weights"),
    ):
        WhisperASR().load()


async def test_behind_its_stage_a_language_that_it_does_not_know_is_refused(
    loaded: Loaded, speech: Pcm
) -> None:
    host = ASRHost(loaded(), Settings())
    with pytest.raises(BadRequest, match=r"faster-whisper small\.en has no language 'de'\. It has: en\."):
        _ = [item async for item in host.transcribe(speech, language="de-AT")]
    await host.close()


async def test_behind_its_stage_it_answers_many_at_once_and_is_not_asked_about_silence(
    loaded: Loaded, speech: Pcm
) -> None:
    host = ASRHost(loaded(), Settings())
    texts = await asyncio.gather(*(heard(host, pcm) for pcm in [speech, silence(1)] * 3))
    await host.close()
    assert texts == [SENTENCE, ""] * 3


@pytest.fixture(scope="module")
def tiny_en() -> Iterator[WhisperASR]:
    engine = WhisperASR()
    engine.load()
    yield engine
    engine.close()


EXPECTED = {
    "hello": "Hello there.",
    "my-name-is-peter": "My name is Peter.",
    "tell-me-a-joke": "Tell me a joke",
    "what-can-you-do": "What can you do?",
    "what-is-my-name": "What is my name?",
    "what-is-six-times-seven": "What is 6 times 7?",
    "what-is-the-date-today": "What is the date today?",
    "what-is-two-plus-two": "What is 2 plus 2?",
    "what-time-is-it": "What time is it?",
}


def test_the_default_model_hears_the_examples(tiny_en: WhisperASR) -> None:
    assert tiny_en.model_name == "faster-whisper tiny.en"
    heard = {
        path.stem: tiny_en.transcribe(decode_audio(path.read_bytes(), Settings()))
        for path in EXAMPLES.glob("*.mp3")
    }
    assert heard == EXPECTED


def test_words_of_the_default_model_have_the_times_at_which_they_are_said(tiny_en: WhisperASR) -> None:
    question = decode_audio((EXAMPLES / "what-is-two-plus-two.mp3").read_bytes(), Settings())
    words = tiny_en.transcribe_words(join([silence(2), question, silence(1)]))
    assert [word.text for word in words] == [" What", " is", " 2", " plus", " 2?"]
    assert all(one.start_s < one.end_s <= other.start_s for one, other in pairwise(words))
    # The library's own voice activity detection removes the silence, but for 0.4 s before the first word.
    assert 1.5 < words[0].start_s < words[1].start_s
    assert words[1].start_s > 2.0
    assert 2.0 + question.duration_s - 0.5 < words[-1].end_s < 2.0 + question.duration_s + 0.1


def test_silence_and_noise_have_no_words_with_times(tiny_en: WhisperASR) -> None:
    assert [tiny_en.transcribe_words(pcm) for pcm in (silence(2), noise(2), silence(0))] == [[], [], []]


def test_what_follows_a_long_silence_has_its_times_from_the_beginning(tiny_en: WhisperASR) -> None:
    question = decode_audio((EXAMPLES / "what-is-two-plus-two.mp3").read_bytes(), Settings())
    words = tiny_en.transcribe_words(join([question, silence(29), question]))
    first, second = [word.start_s for word in words if word.text == " plus"]
    assert second - first == pytest.approx(question.duration_s + 29, abs=0.3)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("de", "Guten Tag, ich hätte gern zwei Brötchen und eine Tasse Kaffee mit Milch."),
        ("fr", "Bonjour, je voudrais savoir à quelle heure part le prochain train pour Lyon."),
        ("cmn", "你好，请问火车站怎么走？今天的天气真好。"),
    ],
)
def test_another_language_costs_an_english_model_no_more_than_its_length_allows(
    tiny_en: WhisperASR, work: Callable[[], Work], language: str, text: str
) -> None:
    voice = EspeakTTS()
    voice.load()
    said = join(list(voice.synthesize(text, threading.Event(), language=language)))
    assert 2 < said.duration_s < 9
    seen = work()
    tiny_en.transcribe(resample(said, ASR_SAMPLE_RATE_HZ))
    assert len(seen.windows) <= 2
    assert all(tokens <= round(8 + 7 * said.duration_s) for tokens in seen.tokens)
