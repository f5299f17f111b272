"""What Chatterbox's load does, and what it asks for."""

from pathlib import Path

import perth
import pytest

from services.tts.chatterbox import ChatterboxTTS
from shared.errors import EngineLoadFailed, Misconfigured, WeightsMissing
from tests.engines.chatterbox.tiny_engine import DECODING, TOKEN_STEP, VOCODING, counted, hub, loaded
from tests.engines.no_network import only_loopback


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
