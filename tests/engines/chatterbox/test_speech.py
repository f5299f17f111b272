"""What Chatterbox speaks."""

import threading

import numpy as np
import perth
import pytest

from services.tts.chatterbox import SAMPLE_RATE_HZ, ChatterboxTTS
from services.tts.chatterbox_model import ChatterboxModel
from services.tts.chatterbox_text import longest_s
from shared.errors import StageFailed
from tests.engines.chatterbox.tiny_engine import SENTENCE, TOKEN_STEP, SetAfter, counted, same, speak
from tests.engines.no_network import only_loopback
from tests.engines.tiny_chatterbox import NUM_TOKENS, TOKENS_OF_SILENCE


def test_a_text_becomes_one_piece_of_24_khz_speech_without_asking_the_network(engine: ChatterboxTTS) -> None:
    with only_loopback():
        (piece,) = speak(engine, SENTENCE)
    assert piece.sample_rate_hz == engine.spec.sample_rate_hz == 24_000
    assert piece.num_samples == pytest.approx(
        (NUM_TOKENS + TOKENS_OF_SILENCE) * SAMPLE_RATE_HZ // 25, rel=0.2
    )
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
