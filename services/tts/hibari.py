"""Hibari: a natural American voice for a CPU, distilled from Kokoro-82M; all of it comes in a Python package."""

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from services.tts.normalization import MODULE, PACKAGE, in_words
from services.tts.preparation import trimmed, utterances
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
        for _ in self.synthesize("Ready to speak.", threading.Event()):
            pass  # the first call takes half a second more

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
        for sentence in utterances(in_words(text), by_sentence=True):
            # Its own division into sentences would pause after "U.S." and the like.
            for phonemes in cut(self._hibari.g2p(sentence), _MAX_PHONEMES):
                if cancelled.is_set():
                    return
                samples = trimmed(self._hibari.from_phonemes(phonemes, seed=_SEED), SAMPLE_RATE_HZ)
                if samples.size:
                    yield Pcm(samples, SAMPLE_RATE_HZ)
