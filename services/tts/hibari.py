"""Hibari: a natural American voice on a CPU, distilled from Kokoro-82M; all of it is in a Python package."""

import threading
import unicodedata
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from services.tts.normalization import MODULE, PACKAGE, in_words
from services.tts.preparation import MAX_AFTER_S, trimmed, utterances
from shared.audio.pcm import Pcm
from shared.engines import EngineSpec, TTSModel, register_model
from shared.errors import Stage, StageFailed
from shared.sentences import cut

if TYPE_CHECKING:
    from hibari import Hibari

SAMPLE_RATE_HZ = 24_000

_VOICE = "heart"  # the one in the package; any other would be downloaded
_MAX_PHONEMES = 400
"""About 25 s of speech. Time and memory grow with the square: 2,000 take 4 s."""
_SEED = 0  # of the noise in consonants: the same text is the same sound
_GAIN = np.float32(1.5)
"""As loud as the other voices (-21 dB in the median of 200 sentences); their highest peak becomes 0.98."""


@register_model(
    "tts",
    "hibari",
    EngineSpec(
        summary="A natural English voice; the first sentence in about 50 ms on a CPU.",
        licence="Apache-2.0",
        packages=("hibari-tts==0.2.1", "onnxruntime==1.32.0", PACKAGE),
        modules=("hibari", "onnxruntime", MODULE),
        sample_rate_hz=SAMPLE_RATE_HZ,
    ),
)
class HibariTTS(TTSModel):
    """One segment for each sentence, on one thread. Looks at `cancelled` between segments; a sentence takes
    20 to 250 ms. Any number of threads may synthesize at once."""

    model_name = f"Hibari {_VOICE}"

    def __init__(self) -> None:
        self._hibari: Hibari | None = None

    def load(self) -> None:
        """Load the model, the lexicon and the tables of the normalization; nothing is downloaded."""
        from hibari import Hibari

        self._hibari = Hibari(voice=_VOICE, threads=1)
        for _ in self.synthesize("Hibari is ready.", threading.Event()):
            pass  # the first call takes half a second more, and the first unknown word some

    def synthesize(
        self,
        text: str,
        cancelled: threading.Event,
        *,
        voice: str | None = None,
        language: str | None = None,
    ) -> Iterator[Pcm]:
        """A segment for each sentence; what has no Latin letters is left out."""
        if self._hibari is None:
            raise StageFailed("Hibari is not loaded.", Stage.TTS)
        for sentence in utterances(_latin(in_words(text)), by_sentence=True):
            # Its own division into sentences would pause after "U.S." and the like.
            for phonemes in cut(self._hibari.g2p(sentence), _MAX_PHONEMES):
                if cancelled.is_set():
                    return
                speech = _finished(self._hibari.from_phonemes(phonemes, seed=_SEED))
                if speech.num_samples:
                    yield speech


def _latin(text: str) -> str:
    """The text without letters of other scripts, which would be spelled out as if they were Latin."""
    return "".join(
        char if not char.isalpha() or unicodedata.name(char, "").startswith("LATIN") else " " for char in text
    )


def _finished(samples: NDArray[np.float32]) -> Pcm:
    """Speech at its level, with the pause that follows a sentence; a word alone would end without any."""
    pause = np.zeros(round(MAX_AFTER_S * SAMPLE_RATE_HZ), np.float32)
    whole = np.concatenate([samples * _GAIN, pause]).clip(-1.0, 1.0)
    return Pcm(trimmed(whole, SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
