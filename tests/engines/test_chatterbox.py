"""Chatterbox Turbo in its real library, with a tiny model."""

import threading
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import perth
import pytest
import soundfile
import torch
from chatterbox.tts_turbo import ChatterboxTurboTTS

from bench.sounds import voice
from services.host.tts_host import TTSHost
from services.tts.chatterbox import SAMPLE_RATE_HZ, WEIGHTS, ChatterboxTTS
from services.tts.chatterbox_model import ChatterboxModel
from services.tts.chatterbox_text import longest_s
from services.tts.chatterbox_voice import cloned_voice
from shared.audio.decode import decode_audio
from shared.audio.pcm import Pcm
from shared.engines import TTSModel
from shared.errors import EngineLoadFailed, Misconfigured, StageFailed, WeightsMissing
from shared.settings import Settings, settings
from shared.stage_stream import AudioSegment, StageFinished
from tests.engines.built_models import built_model
from tests.engines.hub_cache import put_into_hub_cache
from tests.engines.no_network import only_loopback
from tests.engines.tiny_chatterbox import ENDLESS_T3, NUM_TOKENS, TOKENS_OF_SILENCE, build, shrink
from tests.support.paths import EXAMPLES
from tests.support.waiting import until_async

SENTENCE = "Hello there, how are you today?"
TOKEN_SAMPLES = SAMPLE_RATE_HZ // 25

TOKEN_STEP = "GPT2Model"
DECODING = "UpsampleConformerEncoder"
VOCODING = "ConvRNNF0Predictor"
COMPUTING_A_VOICE = "LSTM"


@pytest.fixture(scope="module")
def files() -> Path:
    """The tiny model's files."""
    torch.set_num_threads(1)
    shrink()
    return built_model("chatterbox", build)


@pytest.fixture
def snapshot(files: Path, tmp_path: Path) -> Iterator[Path]:
    """The folder of the model's files in a cache of the hub that all looks go to; like there they are
    links."""
    with hub(tmp_path):
        yield laid_out(tmp_path, files)


@pytest.fixture(scope="module")
def engine(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChatterboxTTS]:
    """The engine whose speech is always of NUM_TOKENS."""
    folder = tmp_path_factory.mktemp("chatterbox")
    with hub(folder):
        laid_out(folder, files)
        made = loaded(ChatterboxTTS())
    yield made
    made.close()


@pytest.fixture(scope="module")
def endless(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChatterboxTTS]:
    """The engine whose model never ends."""
    folder = tmp_path_factory.mktemp("endless")
    with hub(folder):
        replace(laid_out(folder, files) / "t3_turbo_v1.safetensors", files / ENDLESS_T3)
        made = loaded(ChatterboxTTS())
    yield made
    made.close()


@contextmanager
def hub(folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder / "hub"))
        yield


def laid_out(folder: Path, files: Path) -> Path:
    (folder / "nothing").mkdir()
    snapshot = put_into_hub_cache(folder / "hub", WEIGHTS, folder / "nothing")
    for file in files.iterdir():
        if file.name != ENDLESS_T3:
            (snapshot / file.name).symlink_to(file)
    return snapshot


def replace(link: Path, file: Path) -> None:
    link.unlink()
    link.symlink_to(file)


def loaded(engine: ChatterboxTTS) -> ChatterboxTTS:
    with only_loopback():
        engine.load()
    return engine


def speak(engine: TTSModel, text: str, seed: int = 0, voice: str | None = None) -> list[Pcm]:
    torch.manual_seed(seed)
    return list(engine.synthesize(text, threading.Event(), voice=voice))


def same(one: list[Pcm], other: list[Pcm]) -> bool:
    return [piece.samples.tolist() for piece in one] == [piece.samples.tolist() for piece in other]


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """How often each kind of module of any torch model has done its work."""
    calls: Counter[str] = Counter()

    def count(module: torch.nn.Module, *_: object) -> None:
        calls[type(module).__name__] += 1

    with torch.nn.modules.module.register_module_forward_hook(count):
        yield calls


class SetAfter(threading.Event):
    """An event that is set once it has been looked at `looks` times."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks_left = looks

    def is_set(self) -> bool:
        self.looks_left -= 1
        return self.looks_left < 0


def test_a_text_becomes_one_piece_of_24_khz_speech_without_asking_the_network(engine: ChatterboxTTS) -> None:
    with only_loopback():
        (piece,) = speak(engine, SENTENCE)
    assert piece.sample_rate_hz == engine.spec.sample_rate_hz == 24_000
    assert piece.num_samples == pytest.approx((NUM_TOKENS + TOKENS_OF_SILENCE) * TOKEN_SAMPLES, rel=0.2)
    assert np.abs(piece.samples).max() > 0.01


def test_long_text_is_spoken_in_pieces(engine: ChatterboxTTS) -> None:
    assert len(speak(engine, f"{SENTENCE} " * 12)) == 2


@pytest.mark.parametrize("text", ["", "...", '"', "[smiles]", "[happy]", "👍🏽", "你好。"])
def test_where_there_is_nothing_to_say_the_model_is_not_asked(engine: ChatterboxTTS, text: str) -> None:
    with counted() as calls:
        assert speak(engine, text) == []
    assert calls[TOKEN_STEP] == 0


def test_speech_carries_the_watermark(endless: ChatterboxTTS) -> None:
    (piece,) = speak(endless, "Yes.")
    watermarks = perth.PerthImplicitWatermarker()
    assert watermarks.get_watermark(piece.samples.copy(), SAMPLE_RATE_HZ) == 1.0


def test_speech_is_sampled_anew_each_time_from_the_global_random_numbers(engine: ChatterboxTTS) -> None:
    first = speak(engine, SENTENCE, seed=1)
    assert same(first, speak(engine, SENTENCE, seed=1))
    again = list(engine.synthesize(SENTENCE, threading.Event()))
    assert not same(first, again)


def test_speaking_leaves_the_model_as_it_was(engine: ChatterboxTTS) -> None:
    first = speak(engine, SENTENCE)
    speak(engine, "Something else [laugh].")
    for looks in (5, NUM_TOKENS + 3):  # cancelled between two tokens, and after them
        assert list(engine.synthesize(SENTENCE, SetAfter(looks))) == []
    assert same(first, speak(engine, SENTENCE))


def test_after_a_snapshot_it_speaks_as_before(engine: ChatterboxTTS) -> None:
    first = speak(engine, SENTENCE)
    engine.before_snapshot()
    engine.restored()
    assert same(first, speak(engine, SENTENCE))


def test_a_model_that_does_not_end_is_ended(endless: ChatterboxTTS) -> None:
    with counted() as calls:
        (piece,) = speak(endless, "Yes.")
    assert calls[TOKEN_STEP] == pytest.approx(longest_s("Yes.") * 25, abs=2)
    assert piece.duration_s == pytest.approx(longest_s("Yes."), rel=0.2)


def test_cancelling_acts_between_two_speech_tokens(endless: ChatterboxTTS) -> None:
    cancelled = SetAfter(7)
    with counted() as calls:
        assert list(endless.synthesize(SENTENCE, cancelled)) == []
    assert 0 < calls[TOKEN_STEP] <= 7
    assert calls[DECODING] == 0


def test_cancelling_from_another_thread_acts_at_the_next_token(endless: ChatterboxTTS) -> None:
    cancelled = threading.Event()
    at_cancelling: list[int] = []

    with counted() as calls:

        def cancel_after_some(module: torch.nn.Module, *_: object) -> None:
            if calls[TOKEN_STEP] == 20 and not at_cancelling:
                at_cancelling.append(calls[TOKEN_STEP])
                canceller = threading.Thread(target=cancelled.set)
                canceller.start()
                canceller.join()

        with torch.nn.modules.module.register_module_forward_hook(cancel_after_some):
            assert list(endless.synthesize(SENTENCE, cancelled)) == []
    assert calls[TOKEN_STEP] <= 21


def test_cancelling_acts_between_the_last_token_and_the_sound(engine: ChatterboxTTS) -> None:
    worked: set[tuple[bool, bool, bool]] = set()
    for looks in range(NUM_TOKENS, NUM_TOKENS + 6):
        with counted() as calls:
            spoken = list(engine.synthesize(SENTENCE, SetAfter(looks)))
        worked.add((calls[DECODING] > 0, calls[VOCODING] > 0, bool(spoken)))
    assert worked == {(False, False, False), (True, False, False), (True, True, True)}


def test_what_is_cancelled_before_it_begins_is_not_begun(engine: ChatterboxTTS) -> None:
    cancelled = threading.Event()
    cancelled.set()
    with counted() as calls:
        assert list(engine.synthesize(SENTENCE, cancelled)) == []
    assert calls[TOKEN_STEP] == 0


def test_after_a_cancelled_piece_no_other_piece_comes(engine: ChatterboxTTS) -> None:
    cancelled = threading.Event()
    pieces = engine.synthesize(f"{SENTENCE} " * 12, cancelled)
    next(pieces)
    cancelled.set()
    with counted() as calls:
        assert list(pieces) == []
    assert calls[TOKEN_STEP] == 0


async def test_the_only_thread_is_free_soon_after_a_stream_or_the_engine_is_closed(
    snapshot: Path, files: Path
) -> None:
    replace(snapshot / "t3_turbo_v1.safetensors", files / ENDLESS_T3)
    host = TTSHost(ChatterboxTTS(), Settings())
    await host.load()

    stream = host.synthesize(f"{SENTENCE} " * 8)
    await closed_while_it_speaks(stream, stream.aclose)
    with counted() as calls:
        items = [item async for item in host.synthesize("Yes.")]
    assert isinstance(items[1], AudioSegment)
    assert isinstance(items[-1], StageFinished)
    assert calls[TOKEN_STEP] < longest_s("Yes.") * 25 + 5

    at_closing = await closed_while_it_speaks(host.synthesize(f"{SENTENCE} " * 8), host.close)
    assert at_closing[DECODING] == 0
    with pytest.raises(StageFailed, match="not loaded"):
        speak(host.engine, SENTENCE)


async def closed_while_it_speaks(
    stream: AsyncGenerator[Any, None], close: Callable[[], Awaitable[None]]
) -> Counter[str]:
    """What the model did for the stream until it was closed, after its tenth token."""
    async with aclosing(stream):
        await anext(stream)
        with counted() as calls:
            await until_async(lambda: calls[TOKEN_STEP] >= 10)
            await close()
            return calls


@pytest.mark.parametrize(
    ("message", "broken"), [("CUDA error: unspecified launch failure", True), ("oh", False)]
)
def test_an_engine_whose_cuda_has_failed_says_so(
    engine: ChatterboxTTS, monkeypatch: pytest.MonkeyPatch, message: str, broken: bool
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(message)

    shared = ChatterboxTTS()
    monkeypatch.setattr(shared, "_model", engine._model)
    monkeypatch.setattr(ChatterboxModel, "synthesize", fail)
    with pytest.raises(RuntimeError):
        speak(shared, SENTENCE)
    assert shared.is_broken() is broken


def test_speaking_prints_nothing(engine: ChatterboxTTS, capfd: pytest.CaptureFixture[str]) -> None:
    speak(engine, SENTENCE)
    assert capfd.readouterr() == ("", "")


def test_an_engine_that_is_not_loaded_says_so() -> None:
    with pytest.raises(StageFailed, match="not loaded"):
        speak(ChatterboxTTS(), SENTENCE)


def test_loading_does_once_what_speaking_does(snapshot: Path) -> None:
    with counted() as calls:
        loaded(ChatterboxTTS()).close()
    assert calls[TOKEN_STEP] >= 3
    assert calls[DECODING] == 2  # a long text, and a longer piece of speech
    assert calls[VOCODING] == 2


def test_weights_that_are_not_there_are_an_error_that_names_the_command(tmp_path: Path) -> None:
    with hub(tmp_path), only_loopback(), pytest.raises(WeightsMissing, match="Run: s2s fetch-weights"):
        ChatterboxTTS().load()


def test_a_missing_file_is_named(snapshot: Path) -> None:
    (snapshot / "ve.safetensors").unlink()
    with only_loopback(), pytest.raises(WeightsMissing, match=r"ve\.safetensors"):
        ChatterboxTTS().load()


def test_weights_without_a_voice_ask_for_one(snapshot: Path) -> None:
    (snapshot / "conds.pt").unlink()
    with pytest.raises(Misconfigured, match="S2S_CHATTERBOX_VOICE"):
        ChatterboxTTS().load()


def test_without_its_watermarker_it_does_not_load(snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perth, "PerthImplicitWatermarker", None)
    with pytest.raises(EngineLoadFailed, match="setuptools"):
        ChatterboxTTS().load()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A recording of more than 5 s."""
    return recorded(tmp_path / "somebody.wav", "what-is-two-plus-two.mp3")


def recorded(file: Path, example: str) -> Path:
    """Somebody who says the same several times."""
    said = decode_audio((EXAMPLES / example).read_bytes(), Settings())
    soundfile.write(file, np.tile(said.samples, 6), said.sample_rate_hz)
    return file


def test_a_cloned_voice_is_computed_once_and_stored_beside_the_weights(
    engine: ChatterboxTTS, snapshot: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = speak(engine, SENTENCE)
    monkeypatch.setenv("S2S_CHATTERBOX_VOICE", str(clip))
    settings.cache_clear()
    with counted() as calls:
        first = loaded(ChatterboxTTS())
    assert calls[COMPUTING_A_VOICE] > 0
    with counted() as calls:
        second = loaded(ChatterboxTTS(clip))
        cloned = speak(second, SENTENCE)
    assert calls[COMPUTING_A_VOICE] == 0
    assert same(cloned, speak(first, SENTENCE))
    assert not same(cloned, own)
    assert first.model_name == "Chatterbox Turbo, voice somebody"
    settings.cache_clear()


def test_a_turn_chooses_among_the_recordings_of_a_folder(
    engine: ChatterboxTTS, snapshot: Path, tmp_path: Path
) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    recorded(clips / "ann.wav", "what-is-two-plus-two.mp3")
    recorded(clips / "bob.wav", "what-is-six-times-seven.mp3")
    (clips / ".hidden").write_text("no recording")
    several = loaded(ChatterboxTTS(clips))
    assert several.voices == ("ann", "bob")
    assert several.model_name == "Chatterbox Turbo"
    ann, bob = speak(several, SENTENCE, voice="ann"), speak(several, SENTENCE, voice="bob")
    assert not same(ann, bob)
    assert same(speak(several, SENTENCE), speak(engine, SENTENCE))  # its own, whoever spoke before
    assert same(ann, speak(several, SENTENCE, voice="ann"))


def test_an_engine_with_its_own_voice_alone_has_none_to_choose(engine: ChatterboxTTS) -> None:
    assert (engine.voices, engine.languages) == ((), ("en",))


def test_a_folder_without_recordings_is_refused(snapshot: Path, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    with pytest.raises(Misconfigured, match="the folder has no recording"):
        ChatterboxTTS(tmp_path / "clips").load()


@pytest.fixture(scope="module")
def library(files: Path) -> Any:
    """The library's own model."""
    return ChatterboxTurboTTS.from_local(files, "cpu")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A folder such as that of the weights."""
    folder = tmp_path / "models--somebody--something" / "snapshots" / "main"
    folder.mkdir(parents=True)
    return folder


def test_another_recording_under_the_same_name_is_another_voice(
    library: Any, clip: Path, weights: Path
) -> None:
    one = cloned_voice(library, clip, weights)
    recorded(clip, "hello.mp3")
    other = cloned_voice(library, clip, weights)
    assert not torch.equal(one.t3.speaker_emb, other.t3.speaker_emb)
    assert len(list((weights.parents[1] / "voices").iterdir())) == 2


def test_a_stored_voice_that_is_damaged_is_computed_again(
    library: Any, clip: Path, weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = cloned_voice(library, clip, weights)
    (kept,) = (weights.parents[1] / "voices").iterdir()
    kept.write_bytes(kept.read_bytes()[:1000])
    anew = cloned_voice(library, clip, weights)
    assert torch.equal(whole.t3.speaker_emb, anew.t3.speaker_emb)
    assert "computed again" in caplog.text
    assert len(kept.read_bytes()) > 1000


def test_a_voice_that_cannot_be_stored_is_used_all_the_same(
    library: Any, clip: Path, weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (weights.parents[1] / "voices").write_text("in the way")
    assert cloned_voice(library, clip, weights).t3.speaker_emb.shape == (1, 256)
    assert "cannot be stored" in caplog.text


def unusable_clips() -> dict[str, Callable[[Path], Any]]:
    return {
        "No such file": lambda file: None,
        "no audio file": lambda file: file.write_text("not a sound"),
        "longer than 5 s": lambda file: soundfile.write(file, voice(48_000, 16_000).samples, 16_000),
        "nobody speaks in its first 10 s": lambda file: soundfile.write(file, np.zeros(160_000), 16_000),
        "not numbers": lambda file: soundfile.write(file, np.full(160_000, np.nan), 16_000, "FLOAT"),
    }


@pytest.mark.parametrize("problem", unusable_clips())
def test_a_recording_that_cannot_be_used_is_named_with_its_setting(
    library: Any, weights: Path, tmp_path: Path, problem: str
) -> None:
    file = tmp_path / "clip.wav"
    unusable_clips()[problem](file)
    with pytest.raises(Misconfigured, match=rf"S2S_CHATTERBOX_VOICE=.*clip\.wav: .*{problem}"):
        cloned_voice(library, file, weights)
    assert not (weights.parents[1] / "voices").exists()
