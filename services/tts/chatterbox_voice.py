"""Clones voices for Chatterbox from recordings.

Computing one takes seconds (6.7 s on a CPU), so it is stored beside the weights, for the next container.
"""

import hashlib
import io
import logging
import os
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import soundfile

from services.host.vad_gate import VadGate
from shared.audio.pcm import Pcm, resample
from shared.engines import ASR_SAMPLE_RATE_HZ
from shared.errors import BadAudio, Misconfigured, Stage

MIN_CLIP_S = 5.0
"""The library takes no shorter recording."""

USED_S = 10.0
"""The sound of the voice is taken from the recording's first 10 s, its manner from the first 15 s."""

_logger = logging.getLogger("speech_to_speech.chatterbox")


def recordings(path: Path) -> list[Path]:
    """The recording at a path, or those in the folder there. Raises Misconfigured if a folder has none."""
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    if not found:
        raise _misconfigured(path, "the folder has no recording")
    return found


def cloned_voice(model: Any, clip: Path, weights: Path) -> Any:
    """The conditionals that make a ChatterboxTurboTTS sound like the person in a recording of more than 5 s,
    on the model's device. `weights` is the folder of its weights, in a Hugging Face cache.

    Raises Misconfigured if the recording cannot be used.
    """
    file = _cache_file(clip, weights)
    voice = _cached(file) if file.exists() else None
    if voice is None:
        voice = _computed(model, clip)
        _store(voice, file)
    return voice.to(model.device)


def _cache_file(clip: Path, weights: Path) -> Path:
    """Where the voice of this very recording is stored, for this revision and version of the model."""
    try:
        recording = clip.read_bytes()
    except OSError as error:
        raise _misconfigured(clip, error.strerror or "cannot be read") from None
    made_of = recording + f"{weights.name} {version('chatterbox-tts')}".encode()
    repository = weights.parents[1]  # of models--…/snapshots/revision
    return repository / "voices" / f"{hashlib.sha256(made_of).hexdigest()}.pt"


def _computed(model: Any, clip: Path) -> Any:
    import torch

    _check(clip)
    with torch.no_grad():
        model.prepare_conditionals(clip)
    return model.conds


def _check(clip: Path) -> None:
    try:
        with soundfile.SoundFile(clip) as file:
            duration_s = file.frames / file.samplerate
            used = file.read(round(USED_S * file.samplerate), dtype="float32", always_2d=True)
            mono = Pcm(used.mean(axis=1).clip(-1.0, 1.0), file.samplerate)
    except soundfile.LibsndfileError:
        raise _misconfigured(clip, "is no audio file that libsndfile reads") from None
    except BadAudio as error:
        raise _misconfigured(clip, error.message.rstrip(".")) from None
    if duration_s <= MIN_CLIP_S:
        raise _misconfigured(clip, f"must be longer than {MIN_CLIP_S:.0f} s, and is {duration_s:.1f} s long")
    if not VadGate().has_speech(resample(mono, ASR_SAMPLE_RATE_HZ)):
        raise _misconfigured(clip, f"nobody speaks in its first {USED_S:.0f} s; take another recording")


def _misconfigured(clip: Path, problem: str) -> Misconfigured:
    return Misconfigured(f"S2S_CHATTERBOX_VOICE={clip}: {problem}.", Stage.TTS)


def _cached(file: Path) -> Any:
    from chatterbox.tts_turbo import Conditionals

    try:
        return Conditionals.load(file, map_location="cpu")
    except Exception as error:  # a damaged file raises what it likes
        _logger.warning("The voice in %s cannot be read and is computed again: %s", file, error)
        return None


def _store(voice: Any, file: Path) -> None:
    """As a whole or not at all. Where it cannot be written, the next start computes the voice again."""
    content = io.BytesIO()
    voice.save(content)
    partial = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(exist_ok=True)
        partial.write_bytes(content.getvalue())
        partial.replace(file)
    except OSError as error:
        _logger.warning("The voice cannot be stored for the next start: %s", error)
        with suppress(OSError):
            partial.unlink()
