"""Voices that Chatterbox clones from recordings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from chatterbox.tts_turbo import ChatterboxTurboTTS

from bench.sounds import voice
from services.tts.chatterbox import ChatterboxTTS
from services.tts.chatterbox_voice import cloned_voice
from shared.audio.decode import decode_audio
from shared.errors import Misconfigured
from shared.settings import Settings, settings
from tests.engines.chatterbox.tiny_engine import COMPUTING_A_VOICE, SENTENCE, counted, loaded, same, speak
from tests.support.paths import EXAMPLES


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
