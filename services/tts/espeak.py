"""eSpeak NG: formant synthesis, robotic and instant; the library comes in a Python package."""

import atexit
import ctypes
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.tts.normalization import MODULE, PACKAGE, in_words
from services.tts.preparation import trimmed, utterances
from shared.audio.pcm import Pcm
from shared.engines import EngineSpec, TTSModel, register_model
from shared.errors import EngineLoadFailed, Stage, StageFailed

SAMPLE_RATE_HZ = 22_050
VOICE = "en-us"

# From speak_lib.h
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_CHARS_UTF8 = 1
_ENDPAUSE = 0x1000
_POS_CHARACTER = 1
_RATE, _WORDS_PER_MINUTE = 1, 175  # the library's own
_MAX_DATA_PATH = 150  # a longer one than 159 does not fit its buffer
_LANGUAGE = re.compile(r"^language +([a-z]{2,3})(?: +(\d+))?\s*$", re.MULTILINE)
_DICTIONARY = re.compile(r"^dictionary +(\w+)", re.MULTILINE)

_Samples = Any  # POINTER(c_short); ctypes has no type for it that mypy knows
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


@register_model(
    "tts",
    "espeak",
    EngineSpec(
        summary="Robotic but instant, with no system package.",
        licence="GPL-3.0",
        packages=("espeakng-loader==0.2.4", PACKAGE),
        modules=("espeakng_loader", MODULE),
        sample_rate_hz=SAMPLE_RATE_HZ,
    ),
)
class EspeakTTS(TTSModel):
    """A sentence takes about 4 ms, and cancelling stops it in its middle."""

    model_name = f"eSpeak NG {VOICE}"

    def __init__(self) -> None:
        self._library: _Library | None = None

    @property
    def languages(self) -> tuple[str, ...]:
        """Some hundred."""
        return tuple(sorted(self._library.languages)) if self._library else super().languages

    @property
    def voices(self) -> tuple[str, ...]:
        """Timbres, each of which can speak every language."""
        return self._library.voices if self._library else ()

    def load(self) -> None:
        """Load the library and the voice."""
        self._library = _library()
        in_words("1")

    def synthesize(
        self,
        text: str,
        cancelled: threading.Event,
        *,
        voice: str | None = None,
        language: str | None = None,
    ) -> Iterator[Pcm]:
        """A segment for each 250 characters. In other languages it reads numbers by itself."""
        if self._library is None:
            raise StageFailed("eSpeak NG is not loaded.", Stage.TTS)
        for utterance in utterances(in_words(text) if language in (None, "en") else text):
            samples = self._library.synthesize(utterance, voice, language, cancelled)
            if cancelled.is_set():
                return
            samples = trimmed(samples, SAMPLE_RATE_HZ)
            if samples.size:
                yield Pcm(samples, SAMPLE_RATE_HZ)


@cache
def _library() -> "_Library":
    return _Library()


class _Library:
    """libespeak-ng. Its state is global, so there is one for the process, and one synthesis at a time."""

    def __init__(self) -> None:
        import espeakng_loader

        self._lock = threading.Lock()
        self._chosen = ""
        self._made: list[NDArray[np.int16]] = []
        self._cancelled = threading.Event()
        self._callback = _Callback(self._take)  # lives as long as the library may call it
        self._espeak: Any = ctypes.CDLL(espeakng_loader.get_library_path())
        data = _short(Path(espeakng_loader.get_data_path()))
        # Without DONT_EXIT it ends the process where it cannot read its data.
        rate_hz = self._espeak.espeak_Initialize(
            _AUDIO_OUTPUT_SYNCHRONOUS, 0, str(data).encode(), _INITIALIZE_DONT_EXIT
        )
        if rate_hz != SAMPLE_RATE_HZ or not self._choose(VOICE):
            raise EngineLoadFailed("eSpeak NG cannot read its data: reinstall espeakng-loader.", Stage.TTS)
        self.languages = _languages(data) | {"en": VOICE}
        self.voices = tuple(sorted(file.name for file in (data / "voices" / "!v").iterdir()))
        self._espeak.espeak_SetSynthCallback(self._callback)
        self._espeak.espeak_Synth.argtypes = [
            ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int,
            ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p,
        ]  # fmt: skip

    def synthesize(
        self, utterance: str, voice: str | None, language: str | None, cancelled: threading.Event
    ) -> NDArray[np.float32]:
        """An utterance as samples in [-1, 1]; only its beginning if cancelled meanwhile."""
        text = utterance.encode()
        name = self.languages[language or "en"] + (f"+{voice}" if voice else "")
        with self._lock:
            if not self._choose(name):
                raise StageFailed(f"eSpeak NG cannot read its voice {name}.", Stage.TTS)
            self._made, self._cancelled = [], cancelled
            failed = self._espeak.espeak_Synth(
                text, len(text) + 1, 0, _POS_CHARACTER, 0, _CHARS_UTF8 | _ENDPAUSE, None, None
            )
            made = self._made
        if failed:
            raise StageFailed("eSpeak NG could not synthesize a text.", Stage.TTS)
        pcm16 = np.concatenate([np.empty(0, np.int16), *made])
        return pcm16.astype(np.float32) / np.float32(32768)

    def _choose(self, name: str) -> bool:
        if name != self._chosen and self._espeak.espeak_SetVoiceByName(name.encode()):
            return False
        # The library keeps the speed of a voice that sets one for the voices after it.
        self._espeak.espeak_SetParameter(_RATE, _WORDS_PER_MINUTE, 0)
        self._chosen = name
        return True

    def _take(self, samples: _Samples, num_samples: int, _events: int | None) -> int:
        """Called by the library with some 60 ms of speech at a time; 1 stops it."""
        if samples and num_samples > 0:
            self._made.append(np.ctypeslib.as_array(samples, (num_samples,)).copy())
        return int(self._cancelled.is_set())


def _languages(data: Path) -> dict[str, str]:
    """The file of each language that has a tag of two or three letters, and a dictionary."""
    found: dict[str, tuple[int, str]] = {}
    for file in (path for path in (data / "lang").rglob("*") if path.is_file()):
        text = file.read_text()
        named = _DICTIONARY.search(text)
        if not (data / f"{named[1] if named else file.name.partition('-')[0]}_dict").exists():
            continue
        for tag, priority in _LANGUAGE.findall(text):
            choice = int(priority or 5), file.name  # as the library has it: the lowest is the best
            found[tag] = min(choice, found.get(tag, choice))
    return {tag: name for tag, (_, name) in found.items()}


def _short(data: Path) -> Path:
    """A path to the data that fits the library's buffer: a link, for as long as the process lives,
    since the data of other scripts is read when they occur."""
    if len(bytes(data)) <= _MAX_DATA_PATH:
        return data
    folder = Path(tempfile.mkdtemp(prefix="espeak-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    link = folder / data.name
    link.symlink_to(data)
    return link
