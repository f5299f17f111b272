"""Whisper on faster-whisper and CTranslate2, with a shorter window for short utterances."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from services.cuda import check_gpu_is_used, load_cublas_12
from shared.engines import ASR_SAMPLE_RATE_HZ
from shared.payloads import Word

if TYPE_CHECKING:
    from faster_whisper.transcribe import Segment

WINDOW_S = 30.0
"""The audio that Whisper was trained to take at once; shorter audio is padded to it."""

SHORT_WINDOW_S = 15.0
"""Encoding the window is most of the work, and CTranslate2 takes a shorter one."""

SHORT_UTTERANCE_S = 9.0
"""Up to this length the short window is tried. It needs the silence behind the speech: with shorter windows,
or longer utterances in it, the model starts to repeat itself."""

MAX_TOKENS, MAX_TOKENS_PER_S = 8, 7
"""Nobody speaks faster. What needs more repeats itself, such as tiny.en's transcript of another language."""

MAX_COMPRESSION_RATIO = 2.4
MIN_LOG_PROBABILITY = -1.0
"""Beyond these two, OpenAI's own, a text repeats itself or is hardly probable: a guess."""

GREEDY = (0.0,)
"""That of short utterances. In the whole window some chance got no further word right of 21 that were
guesses in the short one."""

TEMPERATURES = (0.0, 0.4)
"""Those of longer utterances: a guess is decoded once more with some chance."""

DECODED_ANEW = "whisper decodes anew, in the whole window, what may be a guess"

_FRAMES_PER_S = 100

logger = logging.getLogger(__name__)


class WhisperModel:
    """Transcribes utterances, one at a time. For one thread at a time."""

    def __init__(self, folder: Path, short_utterance_s: float = SHORT_UTTERANCE_S) -> None:
        """Load the model onto the GPU in float16 if there is one, else on the CPU in int8. Utterances up to
        `short_utterance_s` take the short window."""
        self._short_samples = short_utterance_s * ASR_SAMPLE_RATE_HZ
        self._model = _load(folder)
        self._stopped = False

    @property
    def languages(self) -> tuple[str, ...]:
        """Those of the model: English alone where its name ends in .en."""
        return tuple(self._model.supported_languages)

    def text(
        self,
        samples: NDArray[np.float32],
        *,
        language: str | None,
        hotwords: str | None = None,
        vad_filter: bool = True,
    ) -> str:
        """The words in 1-D 16 kHz samples in [-1, 1]; `language` None is detected.

        A guess in the short window, or nothing, is decoded anew in the whole one: at most two decodings, each
        to MAX_TOKENS + MAX_TOKENS_PER_S × its length.
        """
        options = {"language": language, "hotwords": hotwords, "vad_filter": vad_filter}
        # Timestamps cost tokens. Longer audio needs them, to be cut between words.
        options["without_timestamps"] = samples.size <= WINDOW_S * ASR_SAMPLE_RATE_HZ
        return "".join(segment.text for segment in self._segments(samples, options)).strip()

    def words(
        self, samples: NDArray[np.float32], *, language: str | None, hotwords: str | None = None
    ) -> list[Word]:
        """The words with their times, from where the decoder's attention lay: one more pass over the text.

        Some may differ from `text`, as the model writes timestamps too. Without them the library would also
        decode the silence behind the last word, and find words in it.
        """
        options = {
            "language": language,
            "hotwords": hotwords,
            "vad_filter": True,
            "without_timestamps": False,
            "word_timestamps": True,
        }
        return [
            Word(text=word.word, start_s=word.start, end_s=word.end)
            for segment in self._segments(samples, options)
            for word in segment.words or ()
        ]

    def stop(self) -> None:
        """End the work under way after its window."""
        self._stopped = True

    def _segments(self, samples: NDArray[np.float32], options: dict[str, Any]) -> "list[Segment]":
        if not samples.size:
            return []
        if samples.size > self._short_samples:
            return self._decoded(samples, WINDOW_S, TEMPERATURES, options)
        segments = self._decoded(samples, SHORT_WINDOW_S, GREEDY, options)
        if segments and not any(_is_guess(segment, _max_tokens(samples)) for segment in segments):
            return segments
        logger.debug(DECODED_ANEW)
        return self._decoded(samples, WINDOW_S, GREEDY, options)

    def _decoded(
        self,
        samples: NDArray[np.float32],
        window_s: float,
        temperatures: Sequence[float],
        options: dict[str, Any],
    ) -> "list[Segment]":
        self._model.window_s, self._model.max_tokens = window_s, _max_tokens(samples)
        segments, _ = self._model.transcribe(
            samples,
            **options,
            beam_size=1,
            temperature=temperatures,
            compression_ratio_threshold=MAX_COMPRESSION_RATIO,
            log_prob_threshold=MIN_LOG_PROBABILITY,
            condition_on_previous_text=False,  # one mistake would follow from window to window
        )
        read = []
        for segment in segments:  # reading them does the work
            if self._stopped:
                break
            read.append(segment)
        return read


def _load(folder: Path) -> Any:
    load_cublas_12()  # CTranslate2 looks for it by name; no later cuBLAS will do
    import ctranslate2
    from faster_whisper import WhisperModel as FasterWhisper

    logging.getLogger("faster_whisper").setLevel(logging.WARNING)  # it has two lines for each utterance

    class Windowed(FasterWhisper):  # type: ignore[misc]  # a library that is imported here alone
        """Encodes the first `window_s` of 30 s, and decodes to at most `max_tokens`."""

        window_s, max_tokens = WINDOW_S, 0

        def encode(self, features: NDArray[np.float32]) -> Any:
            """Log-mel features, of shape (mels, 3000)."""
            frames = round(self.window_s * _FRAMES_PER_S)
            return super().encode(np.ascontiguousarray(features[..., :frames]))

        def generate_with_fallback(
            self, encoded: Any, prompt: list[int], tokenizer: Any, options: Any
        ) -> Any:
            """CTranslate2 stops at half of its `max_length`, or at what the prompt leaves of it."""
            max_length = max(2 * self.max_tokens, len(prompt) + self.max_tokens)
            new = min(max_length, self.max_length) - len(prompt)
            options = replace(options, max_new_tokens=new)
            return super().generate_with_fallback(encoded, prompt, tokenizer, options)

    has_gpu = ctranslate2.get_cuda_device_count() > 0
    check_gpu_is_used(has_gpu, "CTranslate2")
    device, compute_type = ("cuda", "float16") if has_gpu else ("cpu", "int8")
    return Windowed(str(folder), device=device, compute_type=compute_type)


def _max_tokens(samples: NDArray[np.float32]) -> int:
    """The most tokens of a window."""
    duration_s = min(samples.size / ASR_SAMPLE_RATE_HZ, WINDOW_S)
    return round(MAX_TOKENS + MAX_TOKENS_PER_S * duration_s)


def _is_guess(segment: "Segment", max_tokens: int) -> bool:
    return (
        len(segment.tokens) >= max_tokens
        or segment.compression_ratio > MAX_COMPRESSION_RATIO
        or segment.avg_logprob < MIN_LOG_PROBABILITY
    )
