"""nemo: NeMo itself, with a tiny model of the same kind that knows the tone language."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from services.asr.nemo import LARGEST_BATCH, LARGEST_BATCH_S, LONGEST_S, WEIGHTS, NemoASR
from services.asr.nemo_model import NemoModel
from services.host.asr_host import ASRHost
from services.host.vad_gate import VadGate
from shared.audio.pcm import Pcm
from shared.engines import ASR_SAMPLE_RATE_HZ
from shared.errors import EngineLoadFailed, TooLong, WeightsMissing
from shared.payloads import Word
from shared.settings import Settings
from shared.stage_stream import Transcript
from tests.engines.hub_cache import put_into_hub_cache
from tests.engines.no_network import only_loopback
from tests.engines.tone_language import WORDS_HZ, any_words, spoken

TONE_MODEL = Path(__file__).parent / "data" / "tone.nemo"

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NemoASR]:
    """The engine, loaded from a cache of weights with no network."""
    with pytest.MonkeyPatch.context() as patch, only_loopback():
        cache = tmp_path_factory.mktemp("hub")
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
        put_into_hub_cache(cache, WEIGHTS, _folder_with(tmp_path_factory, "model.nemo"))
        nemo = NemoASR()
        nemo.load()
        yield nemo


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def _folder_with(factory: pytest.TempPathFactory, *names: str) -> Path:
    folder = factory.mktemp("files")
    for name in names:
        shutil.copy(TONE_MODEL, folder / name)
    return folder


def utterances(count: int, seed: int = 99) -> tuple[list[str], list[Pcm]]:
    """What is said, and its sound."""
    chance = np.random.default_rng(seed)
    words = [any_words(chance) for _ in range(count)]
    return [" ".join(one) for one in words], [spoken(one, chance) for one in words]


def silence(duration_s: float) -> Pcm:
    return Pcm(np.zeros(round(duration_s * ASR_SAMPLE_RATE_HZ), np.float32), ASR_SAMPLE_RATE_HZ)


def parameters(engine: NemoASR) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in engine._loaded()._model.state_dict().items()}


def test_words_are_written_down(engine: NemoASR) -> None:
    said, sounds = utterances(20)
    heard = [engine.transcribe(sound) for sound in sounds]
    assert sum(one == other for one, other in zip(said, heard, strict=True)) >= 18


def test_words_have_the_times_at_which_they_are_said(engine: NemoASR) -> None:
    _, sounds = utterances(20)
    timed = [(sound, engine.transcribe_words(sound)) for sound in sounds]
    texts = ["".join(word.text for word in words).strip() for _, words in timed]
    assert texts == [engine.transcribe(sound) for sound in sounds]
    right = [
        loudest_hz(sound, word) == pytest.approx(WORDS_HZ[word.text.strip()], rel=0.03)
        for sound, words in timed
        for word in words
    ]
    assert sum(right) / len(right) > 0.9, right


def loudest_hz(sound: Pcm, word: Word) -> float:
    """The tone that sounds while the word is said."""
    start, end = (round(moment_s * ASR_SAMPLE_RATE_HZ) for moment_s in (word.start_s, word.end_s))
    spectrum = np.abs(np.fft.rfft(sound.samples[start:end], ASR_SAMPLE_RATE_HZ))
    return float(spectrum.argmax())


def test_silence_has_no_times(engine: NemoASR) -> None:
    assert [engine.transcribe_words(silence(duration_s)) for duration_s in (2, 0.1, 0)] == [[], [], []]


def test_silence_has_no_words(engine: NemoASR) -> None:
    assert engine.transcribe_batch([silence(2), silence(0.1), silence(0)]) == ["", "", ""]


def test_utterances_of_any_lengths_are_the_same_in_a_batch_as_alone(engine: NemoASR) -> None:
    _, sounds = utterances(2 * LARGEST_BATCH + 3, seed=5)
    sounds.insert(4, silence(0))
    alone = [engine.transcribe(sound) for sound in sounds]
    assert engine.transcribe_batch(sounds) == alone
    assert len(set(alone)) > LARGEST_BATCH


def test_a_batch_is_bounded_in_number_and_in_audio(engine: NemoASR, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[list[float]] = []

    def texts(model: NemoModel, samples: list[np.ndarray]) -> list[str]:
        batches.append([one.size / ASR_SAMPLE_RATE_HZ for one in samples])
        return [str(one.size) for one in samples]

    monkeypatch.setattr(NemoModel, "texts", texts)
    durations_s = [LARGEST_BATCH_S + 20, *[1] * (LARGEST_BATCH + 1), 70, 50, *[20] * 4, 0]
    sounds = [silence(duration_s) for duration_s in durations_s]
    heard = engine.transcribe_batch(sounds)
    assert heard == [str(sound.num_samples or "") for sound in sounds]
    assert max(map(len, batches)) == LARGEST_BATCH
    assert [batch for batch in batches if len(batch) > 1 and len(batch) * max(batch) > LARGEST_BATCH_S] == []
    assert sorted(one for batch in batches for one in batch) == sorted(durations_s)[1:]


def test_use_changes_nothing_in_the_model(engine: NemoASR) -> None:
    _, sounds = utterances(10)
    before, first = parameters(engine), engine.transcribe_batch(sounds)
    assert [engine.transcribe_batch(sounds) for _ in range(5)] == [first] * 5
    after = parameters(engine)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_no_part_of_the_model_is_in_training_mode(engine: NemoASR) -> None:
    engine.transcribe(utterances(1)[1][0])
    assert [name for name, part in engine._loaded()._model.named_modules() if part.training] == []


def test_the_decoder_is_greedy_and_makes_no_cuda_graphs(engine: NemoASR) -> None:
    decoding = engine._loaded()._model.decoding
    assert decoding.cfg.strategy == "greedy_batch"
    assert decoding.decoding.max_symbols == 10
    assert not decoding.decoding.decoding_computer.allow_cuda_graphs


def test_bfloat16_hears_the_same_words() -> None:
    said, sounds = utterances(8)
    model = NemoModel(TONE_MODEL)
    exact = model.texts([sound.samples for sound in sounds])
    model.move_to("cpu", torch.bfloat16)
    assert model.texts([sound.samples for sound in sounds]) == exact
    assert len(set(exact) & set(said)) >= 6


def test_a_restored_engine_goes_on(engine: NemoASR) -> None:
    _, sounds = utterances(3)
    before = engine.transcribe_batch(sounds)
    engine.restored()
    assert engine.transcribe_batch(sounds) == before


def test_audio_that_is_too_long_is_refused(engine: NemoASR) -> None:
    with pytest.raises(TooLong, match="up to 300 s"):
        engine.transcribe(silence(LONGEST_S + 1))
    with pytest.raises(TooLong, match="up to 300 s"):
        engine.transcribe_words(silence(LONGEST_S + 1))


@pytest.mark.parametrize(
    ("message", "broken"), [("CUDA error: unspecified launch failure", True), ("oh", False)]
)
def test_an_engine_whose_cuda_has_failed_says_so(
    engine: NemoASR, monkeypatch: pytest.MonkeyPatch, message: str, broken: bool
) -> None:
    def fail(*_: object) -> list[str]:
        raise RuntimeError(message)

    shared = _Shared(engine)
    monkeypatch.setattr(NemoModel, "texts", fail)
    with pytest.raises(RuntimeError):
        shared.transcribe(silence(1))
    assert shared.is_broken() is broken


def test_missing_weights_are_an_error_that_says_how_to_fetch_them(cache: Path) -> None:
    with only_loopback(), pytest.raises(WeightsMissing, match=r"nvidia/nemotron.*Run: s2s fetch-weights"):
        NemoASR().load()


@pytest.mark.parametrize(
    ("names", "error"), [(["README.md"], WeightsMissing), (["a.nemo", "b.nemo"], EngineLoadFailed)]
)
def test_a_repository_with_no_model_or_with_several_is_refused(
    cache: Path, tmp_path_factory: pytest.TempPathFactory, names: list[str], error: type[Exception]
) -> None:
    put_into_hub_cache(cache, WEIGHTS, _folder_with(tmp_path_factory, *names))
    with pytest.raises(error, match="nvidia/nemotron"):
        NemoASR().load()


async def test_behind_its_stage_requests_at_once_get_their_own_words(
    engine: NemoASR, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VadGate, "has_speech", lambda self, pcm: True)  # tones are no speech to it
    _, sounds = utterances(12, seed=3)
    alone = [engine.transcribe(sound) for sound in sounds]
    host = ASRHost(_Shared(engine), Settings())

    async def heard(sound: Pcm) -> str:
        return "".join([i.text async for i in host.transcribe(sound) if isinstance(i, Transcript)])

    texts = await asyncio.gather(*(heard(sound) for sound in sounds))
    await host.close()
    assert texts == alone


class _Shared(NemoASR):
    """The loaded engine of the other tests."""

    def __init__(self, loaded: NemoASR) -> None:
        super().__init__()
        self._model = loaded._model

    def load(self) -> None:
        pass


def test_what_is_closed_while_it_loads_does_not_go_on(
    cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    put_into_hub_cache(cache, WEIGHTS, _folder_with(tmp_path_factory, "model.nemo"))
    nemo = NemoASR()
    nemo.close()
    with pytest.raises(EngineLoadFailed, match="closed"):
        nemo.load()
