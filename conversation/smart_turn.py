"""Smart Turn v3.2: how likely it is, by the sound of what was said, that the speaker has finished."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import numpy as np

from conversation.audio import Samples
from conversation.onnx_model import onnx_model
from conversation.turn_detection import HEARD_S
from shared.engines import ASR_SAMPLE_RATE_HZ
from shared.errors import Misconfigured

MODEL_FILE = "smart-turn-v3.2-cpu.onnx"
_MELS = 80


class SmartTurn:
    """The model, on one thread of its own, from the entry of its `async with` block to the exit.

    Loading takes 0.1 s and 25 MB, an answer about 80 ms of one core, more on a busy machine (measured: 86 ms
    in the median at a load of 1.7 on two cores, 215 ms at 4).

    Args:
        model: the file MODEL_FILE, as it was published; its caller has verified it.
    """

    def __init__(self, model: Path) -> None:
        self._model = model
        self._thread = ThreadPoolExecutor(1, "smart-turn")
        self._features: Any = None
        self._session: Any = None

    async def __aenter__(self) -> Self:
        """Raises Misconfigured if a library is not installed, EngineLoadFailed if the file is no model."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._load)
        except BaseException:
            self._thread.shutdown(wait=False)
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def probability(self, samples: Samples) -> float:
        """The probability, 0 to 1, that whoever said this (16 kHz; the newest samples last, 0.2 s of silence
        included) has finished. Cancelling it gives up the answer, and the work if it has not begun."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._probability, samples)

    def _load(self) -> None:
        try:
            from faster_whisper.feature_extractor import FeatureExtractor

            self._session = onnx_model(self._model, "Smart Turn")
        except ImportError as error:
            raise Misconfigured(
                f"Turn detection needs the package {error.name}. Install the extra [neural], or set "
                "S2S_TURN_DETECTION=silence."
            ) from None
        self._features = FeatureExtractor(feature_size=_MELS)
        self._probability(np.zeros(1, np.float32))  # the first run is slower

    def _probability(self, samples: Samples) -> float:
        # Before a shorter utterance the model wants silence.
        heard = samples[-HEARD_S * ASR_SAMPLE_RATE_HZ :]
        heard = np.pad(heard, (HEARD_S * ASR_SAMPLE_RATE_HZ - heard.size, 0))
        heard = (heard - heard.mean()) / np.sqrt(heard.var() + 1e-7)
        log_mel = self._features(heard, padding=0)[np.newaxis].astype(np.float32)
        return float(self._session.run(None, {"input_features": log_mel})[0][0, 0])
