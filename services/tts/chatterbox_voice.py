"""Voices for Chatterbox out of recordings.

Working one out takes seconds (6.7 s on a CPU), so it is kept beside the weights, for the next container.
"""

import hashlib
import io
import logging
import os
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
"""How the voice sounds is taken from the recording's first 10 s, how it speaks from its first 15 s."""

_logger = logging.getLogger("speech_to_speech.chatterbox")


def borrowed_voice(model: Any, clip: Path, weights: Path) -> Any:
    """The conditionals of a ChatterboxTurboTTS that make it speak like the person in a recording of more
    than 5 s, on the model's device. `weights` is the folder of its weights, in a Hugging Face cache.

    Raises Misconfigured if the recording cannot be used.
    """
    kept = _kept_at(clip, weights)
    voice = _kept(kept) if kept.exists() else None
    if voice is None:
        voice = _worked_out(model, clip)
        _keep(voice, kept)
    return voice.to(model.device)


def _kept_at(clip: Path, weights: Path) -> Path:
    """Where the voice of this very recording is kept, for this revision and version of the model."""
    try:
        recording = clip.read_bytes()
    except OSError as error:
        raise _misconfigured(clip, error.strerror or "cannot be read") from None
    made_of = recording + f"{weights.name} {version('chatterbox-tts')}".encode()
    repository = weights.parents[1]  # of models--…/snapshots/revision
    return repository / "voices" / f"{hashlib.sha256(made_of).hexdigest()}.pt"


def _worked_out(model: Any, clip: Path) -> Any:
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


def _kept(file: Path) -> Any:
    from chatterbox.tts_turbo import Conditionals

    try:
        return Conditionals.load(file, map_location="cpu")
    except Exception as error:  # a damaged file raises what it likes
        _logger.warning("The voice in %s cannot be read and is made anew: %s", file, error)
        return None


def _keep(voice: Any, file: Path) -> None:
    """Where the folder cannot be written, the next start works the voice out again."""
    content = io.BytesIO()
    voice.save(content)
    try:
        file.parent.mkdir(exist_ok=True)
        _write(file, content.getvalue())
    except OSError as error:
        _logger.warning("The voice cannot be kept for the next start: %s", error)


def _write(file: Path, content: bytes) -> None:
    """Write it as a whole or not at all."""
    partial = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
