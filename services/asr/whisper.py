"""whisper: OpenAI's Whisper on faster-whisper and CTranslate2."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from services.asr.whisper_model import WhisperModel
from services.cuda import CudaEngine
from services.host.vad_gate import amplified
from services.weights import weights_folder
from services.weights.pinned import WHISPER_BASE, WHISPER_TINY_EN
from shared.audio.pcm import Pcm
from shared.engines import ASR_SAMPLE_RATE_HZ, ASRModel, EngineSpec, register_model
from shared.errors import EngineLoadFailed, Misconfigured, Stage
from shared.payloads import Word
from shared.settings import settings
from shared.weights import HubWeights, Weights

AUTO = "auto"

_SYSTRAN = {
    "tiny": "d90ca5fe260221311c53c58e660288d3deb8d356",
    "base.en": "3d3d5dee26484f91867d81cb899cfcf72b96be6c",
    "small": "536b0662742c02347bc0e980a01041f333bce120",
    "small.en": "d1d751a5f8271d482d14ca55d9e2deeebbae577f",
    "medium": "08e178d48790749d25932bbc082711ddcfdfbc4f",
    "medium.en": "a29b04bd15381511a9af671baec01072039215e3",
    "large-v3": "edaa852ec7e145841d8ffdb056a99866b5f0a478",
}
_FILES = ("model.bin", "config.json", "preprocessor_config.json", "tokenizer.json", "vocabulary.*")
WHISPER_MODELS: Mapping[str, Weights] = {
    name: HubWeights(repository=f"Systran/faster-whisper-{name}", revision=revision, files=_FILES)
    for name, revision in _SYSTRAN.items()
} | {
    "tiny.en": WHISPER_TINY_EN,
    "base": WHISPER_BASE,
    "large-v3-turbo": HubWeights(
        repository="dropbox-dash/faster-whisper-large-v3-turbo",
        revision="0a363e9161cbc7ed1431c9597a8ceaf0c4f78fcf",
        files=_FILES,
    ),
}
"""The sizes that S2S_WHISPER_MODEL can name, converted for CTranslate2 and pinned. Two need no hub."""


@register_model(
    "asr",
    "whisper",
    EngineSpec(
        summary="Any of Whisper's sizes and languages, with hotwords; on a GPU or a CPU.",
        licence="MIT",
        packages=("faster-whisper==1.2.1", "ctranslate2==4.8.5", "nvidia-cublas-cu12==12.9.1.4"),
        modules=("faster_whisper",),
        gpu="A10G",
        runs_on_cpu=True,
        weights=WHISPER_MODELS["tiny.en"],
        sample_rate_hz=ASR_SAMPLE_RATE_HZ,
        # No snapshot: CTranslate2 puts its weights where they stay, on the GPU, which only a GPU snapshot
        # could keep; with this library 60 % of those crashed when restored (modal-client issue 4132).
    ),
)
class WhisperASR(CudaEngine, ASRModel):
    """One utterance at a time, up to 9 s in a window of 15 s, longer ones in windows of 30 s."""

    has_word_times = True

    def __init__(self) -> None:
        self._settings = settings()
        self._model: WhisperModel | None = None
        self._closed = False

    @classmethod
    def weights(cls) -> Weights:
        """The weights of the model that S2S_WHISPER_MODEL names."""
        return whisper_weights(settings().whisper_model)

    @property
    def model_name(self) -> str:
        """The library and the model."""
        return f"faster-whisper {self._settings.whisper_model}"

    @property
    def languages(self) -> tuple[str, ...]:
        """Those of the model: English alone where its name ends in .en."""
        return self._model.languages if self._model else super().languages

    def load(self) -> None:
        """Load the model onto the GPU if there is one, and warm it up.

        Raises WeightsMissing; Misconfigured if the model lacks the setting's language; EngineLoadFailed if it
        is closed meanwhile.
        """
        # Without tokenizer.json faster-whisper would ask the hub for one.
        folder = weights_folder(
            whisper_weights(self._settings.whisper_model), "model.bin", "config.json", "tokenizer.json"
        )
        model = WhisperModel(folder)
        if self._closed:
            raise EngineLoadFailed("whisper was closed while it was loaded.", Stage.ASR)
        self._model = model
        self._check_language()
        noise = np.random.default_rng(0).normal(0.0, 0.01, ASR_SAMPLE_RATE_HZ).astype(np.float32)
        for vad_filter in (True, False):  # nobody speaks in noise: the first warms up the detector alone
            model.text(noise, language="en", vad_filter=vad_filter)

    def transcribe(self, pcm: Pcm, *, language: str | None = None) -> str:
        """The words, with capitals and punctuation; "" if its own voice activity detection finds no speech.
        `language` is by default the setting's."""
        with self.watch_cuda():
            return self._loaded().text(amplified(pcm.samples), **self._options(language))

    def transcribe_words(self, pcm: Pcm, *, language: str | None = None) -> list[Word]:
        """The words, each with the punctuation at it; see `WhisperModel.words`."""
        with self.watch_cuda():
            return self._loaded().words(amplified(pcm.samples), **self._options(language))

    def close(self) -> None:
        """Let go of the model, after the window under way."""
        self._closed = True
        if self._model:
            self._model.stop()
        self._model = None

    def _loaded(self) -> WhisperModel:
        if self._model is None:
            raise EngineLoadFailed("whisper is not loaded.", Stage.ASR)
        return self._model

    def _options(self, language: str | None) -> dict[str, Any]:
        language = language or self._settings.whisper_language
        return {
            "language": None if language == AUTO else language,
            "hotwords": self._settings.whisper_hotwords or None,
        }

    def _check_language(self) -> None:
        language, known = self._settings.whisper_language, [AUTO, *self.languages]
        if language not in known:
            raise Misconfigured(
                f"S2S_WHISPER_LANGUAGE={language}: the model {self._settings.whisper_model} knows "
                f"{', '.join(known)}.",
                Stage.ASR,
            )


def whisper_weights(name: str) -> Weights:
    """The weights of a size ("small.en"), or of any repository of the hub that holds a converted Whisper
    ("somebody/some-whisper", or "somebody/some-whisper@revision").

    Raises Misconfigured if there is no such size.
    """
    if name in WHISPER_MODELS:
        return WHISPER_MODELS[name]
    if "/" in name:
        repository, _, revision = name.partition("@")
        return HubWeights(repository=repository, revision=revision or "main", files=_FILES)
    raise Misconfigured(
        f"S2S_WHISPER_MODEL={name}: no such size. There are: {', '.join(WHISPER_MODELS)}; or name a "
        "repository (somebody/some-whisper).",
        Stage.ASR,
    )
