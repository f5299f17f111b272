"""nemo: NVIDIA's nemotron-speech-streaming-en-0.6b, on whole utterances."""

from collections.abc import Sequence

import numpy as np

from services.asr.nemo_model import NemoModel
from services.cuda import CudaEngine
from services.weights import weights_folder
from shared.audio.pcm import Pcm
from shared.engines import ASR_SAMPLE_RATE_HZ, ASRModel, EngineSpec, register_model
from shared.errors import EngineLoadFailed, Stage, TooLong
from shared.payloads import Word
from shared.weights import HubWeights

WEIGHTS = HubWeights(
    repository="nvidia/nemotron-speech-streaming-en-0.6b",
    revision="ef3bf40c90df5cd2de55cc07e06681e03d8e6ee4",  # the checkpoint of March 2026
    files=("*.nemo",),
)

LARGEST_BATCH = 8

LARGEST_BATCH_S = 120.0
"""The most audio of a batch, padding included: it bounds memory, and a short utterance's wait for a long
neighbour. A longer utterance goes alone."""

LONGEST_S = 300.0
"""Attention takes memory by the square of the length: 0.5 GB a layer here, on the GPU."""

WARM_UP_S = {
    "cpu": ((1, 1.0),),
    "cuda": ((1, 1.0), (1, 3.0), (1, 8.0), (1, 20.0), (2, 5.0), (4, 5.0), (8, 15.0)),
}
"""Numbers and lengths in seconds of warm-up utterances by device. CUDA loads kernels on first use and chooses
them by shape, and the largest batch reserves its memory; a CPU has nothing to prepare."""


@register_model(
    "asr",
    "nemo",
    EngineSpec(
        summary="English with punctuation, accurate and quick on a GPU; works on a CPU too.",
        licence="NVIDIA Open Model License",
        packages=("torch==2.13.0", "nemo_toolkit[asr]==3.0.0"),
        modules=("torch", "nemo"),
        gpu="A10G",
        runs_on_cpu=True,
        concurrent_inputs=LARGEST_BATCH,
        weights=WEIGHTS,
        sample_rate_hz=ASR_SAMPLE_RATE_HZ,
        # The import and the weights in main memory are most of a cold start and need no GPU: they are in the
        # snapshot, and `restored` moves the model to the GPU. A GPU snapshot is alpha at Modal.
        memory_snapshot=True,
    ),
)
class NemoASR(CudaEngine, ASRModel):
    """A cache-aware FastConformer transducer, given each utterance as a whole. For one thread at a time."""

    model_name = "nemotron-speech-streaming-en-0.6b"
    has_word_times = True

    def __init__(self) -> None:
        self._model: NemoModel | None = None
        self._closed = False

    def load(self) -> None:
        """Import NeMo, restore the model, move it to the GPU if there is one, and warm it up.

        Raises WeightsMissing, or EngineLoadFailed if there are several models in the repository, or it is
        closed meanwhile.
        """
        files = list(weights_folder(WEIGHTS, "*.nemo").glob("*.nemo"))
        if len(files) != 1:
            raise EngineLoadFailed(f"{WEIGHTS.repository} holds {len(files)} models, not one.", Stage.ASR)
        model = NemoModel(files[0])  # some 10 to 30 s in which it cannot be interrupted
        if self._closed:
            raise EngineLoadFailed("nemo was closed while it was loaded.", Stage.ASR)
        self._model = model
        self.restored()

    def restored(self) -> None:
        """Move the model to the GPU that is there now, if any, and warm it up."""
        model = self._loaded()
        model.move_to_best_device()
        chance = np.random.default_rng(0)
        for count, duration_s in WARM_UP_S[model.device]:
            samples = chance.normal(0.0, 0.01, round(duration_s * ASR_SAMPLE_RATE_HZ))
            model.texts([samples.astype(np.float32)] * count)

    def transcribe(self, pcm: Pcm, *, language: str | None = None) -> str:
        """The transcript, with capitals and punctuation."""
        return self.transcribe_batch([pcm])[0]

    def transcribe_batch(self, utterances: Sequence[Pcm], *, language: str | None = None) -> list[str]:
        """The transcript of each. Utterances of similar length share a batch.

        Raises TooLong above LONGEST_S.
        """
        _check_length(utterances)
        model = self._loaded()
        texts = [""] * len(utterances)
        for batch in _batches(utterances):
            with self.watch_cuda():
                transcripts = model.texts([utterances[index].samples for index in batch])
            for index, text in zip(batch, transcripts, strict=True):
                texts[index] = text
        return texts

    def transcribe_words(self, pcm: Pcm, *, language: str | None = None) -> list[Word]:
        """The same words, each with the punctuation at it. Raises TooLong above LONGEST_S."""
        _check_length([pcm])
        with self.watch_cuda():
            return self._loaded().words(pcm.samples) if pcm.num_samples else []

    def close(self) -> None:
        """Release the model."""
        self._closed = True
        self._model = None

    def _loaded(self) -> NemoModel:
        if self._model is None:
            raise EngineLoadFailed("nemo is not loaded.", Stage.ASR)
        return self._model


def _check_length(utterances: Sequence[Pcm]) -> None:
    longest_s = max((pcm.duration_s for pcm in utterances), default=0.0)
    if longest_s > LONGEST_S:
        raise TooLong(f"nemo takes up to {LONGEST_S:.0f} s of audio, not {longest_s:.0f} s.", Stage.ASR)


def _batches(utterances: Sequence[Pcm]) -> list[list[int]]:
    """The utterances' indices, in batches within the bounds; those without a sample are left out."""
    batches: list[list[int]] = []
    by_length = sorted(range(len(utterances)), key=lambda index: utterances[index].num_samples)
    for index in by_length:  # the longest of a batch is always the last one
        duration_s = utterances[index].duration_s
        count = len(batches[-1]) if batches else LARGEST_BATCH
        if count < LARGEST_BATCH and (count + 1) * duration_s <= LARGEST_BATCH_S:
            batches[-1].append(index)
        elif duration_s:
            batches.append([index])
    return batches
