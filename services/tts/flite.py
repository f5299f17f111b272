"""flite: small English voices of Carnegie Mellon University, from Debian's libflite1, in memory."""

import ctypes
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.tts.normalization import MODULE, PACKAGE, in_words
from services.tts.preparation import to_ascii, trimmed, utterances
from shared.audio.pcm import Pcm
from shared.engines import EngineSpec, TTSModel, register_model
from shared.errors import EngineLoadFailed, Stage, StageFailed

VOICES = ("rms", "slt", "awb", "kal16")
SAMPLE_RATE_HZ = 16_000


@register_model(
    "tts",
    "flite",
    EngineSpec(
        summary="Small English voices; a sentence in about 75 ms on a CPU.",
        licence="BSD-like (CMU Flite)",
        packages=(PACKAGE,),
        modules=(MODULE,),
        apt_packages=("libflite1",),
        sample_rate_hz=SAMPLE_RATE_HZ,
    ),
)
class FliteTTS(TTSModel):
    """One segment for each sentence, since flite hardly pauses between two. Looks at `cancelled` between
    segments; a sentence takes 20 to 400 ms.

    rms is the natural voice that is understood best: pocketsphinx got 11 % of the words of 37
    short questions wrong, of slt 16 %, of kal16 9 %. 13 words take 75, 60 and 2 ms.
    """

    voices = VOICES

    def __init__(self, voice: str = "rms") -> None:
        self._voice = voice
        self._library: _Library | None = None

    @classmethod
    def missing(cls) -> str | None:
        """The library, where it cannot be loaded, or a package."""
        try:
            _Library()
        except OSError:
            return "libflite: apt install libflite1"
        return super().missing()

    @property
    def model_name(self) -> str:
        """The engine and its voice."""
        return f"flite {self._voice}"

    def load(self) -> None:
        """Load the library and the voice."""
        try:
            self._library = _Library()
            self._library.voice(self._voice)
            in_words("1")
        except OSError as error:
            message = f"flite cannot be loaded ({error}): apt install libflite1"
            raise EngineLoadFailed(message, Stage.TTS) from None

    def synthesize(
        self,
        text: str,
        cancelled: threading.Event,
        *,
        voice: str | None = None,
        language: str | None = None,
    ) -> Iterator[Pcm]:
        """A segment for each sentence. Accents are dropped, and letters of other scripts than Latin."""
        if self._library is None:
            raise StageFailed("flite is not loaded.", Stage.TTS)
        for sentence in utterances(to_ascii(in_words(text)), by_sentence=True):
            if cancelled.is_set():
                return
            samples = trimmed(self._library.synthesize(sentence, voice or self._voice), SAMPLE_RATE_HZ)
            if samples.size:
                yield Pcm(samples, SAMPLE_RATE_HZ)


class _Wave(ctypes.Structure):
    """flite's cst_wave."""

    _fields_ = (
        ("type", ctypes.c_char_p),
        ("sample_rate", ctypes.c_int),
        ("num_samples", ctypes.c_int),
        ("num_channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    )


class _Library:
    """libflite, and the voices that have been asked for. Several threads may synthesize at once.

    Give it `utterances` only: a run of 320 punctuation marks overflows a buffer, and the process dies
    (version 2.2); what it needs for very long words or numbers grows without bound.
    """

    def __init__(self) -> None:
        self._flite: Any = ctypes.CDLL("libflite.so.1", mode=ctypes.RTLD_GLOBAL)
        self._flite.flite_text_to_wave.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
        self._flite.flite_text_to_wave.restype = ctypes.POINTER(_Wave)
        self._flite.delete_wave.argtypes = [ctypes.POINTER(_Wave)]
        self._flite.delete_wave.restype = None
        self._flite.flite_init()
        self._voices: dict[str, int] = {}

    def voice(self, name: str) -> int:
        """The library's pointer to a voice, which is loaded when it is first asked for."""
        if name not in self._voices:
            library: Any = ctypes.CDLL(f"libflite_cmu_us_{name}.so.1")
            register = library[f"register_cmu_us_{name}"]
            register.argtypes, register.restype = [ctypes.c_char_p], ctypes.c_void_p
            self._voices[name] = register(None)
        return self._voices[name]

    def synthesize(self, sentence: str, voice: str) -> NDArray[np.float32]:
        """A sentence in ASCII as samples in [-1, 1]."""
        wave = self._flite.flite_text_to_wave(sentence.encode("ascii"), self.voice(voice))
        if not wave:
            raise StageFailed("flite could not synthesize a sentence.", Stage.TTS)
        try:
            made = wave.contents
            pcm16 = np.ctypeslib.as_array(made.samples, (made.num_samples,))
            return pcm16.astype(np.float32) / np.float32(32768)
        finally:
            self._flite.delete_wave(wave)
