"""A NeMo RNNT model, called directly: mel spectrogram, encoder, greedy decoding.

NeMo's own `transcribe()` is not used: it leaves the model in training mode, in which one of its latency modes
is drawn at random, it cannot be called from several threads, and it creates a folder for each call.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from services.cuda import check_gpu_is_used
from shared.engines import ASR_SAMPLE_RATE_HZ
from shared.payloads import Word

if TYPE_CHECKING:
    import torch

RIGHT_CONTEXT = 13
"""Encoder frames of 80 ms of look-ahead. 13 is the most that the model was trained with and its most accurate
mode; with the whole utterance at hand it costs nothing."""

LEFT_CONTEXT = 70

SHORTEST_SAMPLES = ASR_SAMPLE_RATE_HZ // 5
"""Shorter utterances are padded with silence to this length, of two encoder frames."""

_SPACE = "\u2581"
"""What begins a token that begins a word."""

_DECODING = {
    "strategy": "greedy_batch",
    # CUDA graphs are off in NVIDIA's own streaming recipe too; they have crashed (NeMo issue 15640).
    "greedy": {"max_symbols": 10, "use_cuda_graph_decoder": False},
}


class NemoModel:
    """Transcribes whole utterances, several at once. For one thread at a time."""

    def __init__(self, file: Path) -> None:
        """Restore a `.nemo` file into main memory; importing NeMo takes 9 to 25 s."""
        # Asks the driver's library instead of CUDA, which would find no GPU in a container that is restored
        # from a snapshot taken without one.
        os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
        from nemo.collections.asr.models import EncDecRNNTBPEModel
        from nemo.utils import logging
        from omegaconf import OmegaConf

        logging.set_verbosity(logging.ERROR)
        self._model: Any = EncDecRNNTBPEModel.restore_from(str(file), map_location="cpu")
        featurizer = self._model.preprocessor.featurizer
        featurizer.dither = 0.0  # noise that differs from call to call
        featurizer.pad_to = 0
        self._model.encoder.set_default_att_context_size([LEFT_CONTEXT, RIGHT_CONTEXT])
        self._model.change_decoding_strategy(OmegaConf.create(_DECODING), verbose=False)
        self._model.eval()  # restore_from leaves it in training mode

    @property
    def device(self) -> str:
        """The model's device: "cpu" or "cuda"."""
        return str(self._model.device.type)

    def move_to_best_device(self) -> None:
        """Move to the GPU if there is one, in bfloat16 if it knows it; else stay, in float32."""
        import torch

        check_gpu_is_used(torch.cuda.is_available(), "PyTorch")
        if torch.cuda.is_available():
            bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
            self.move_to("cuda", torch.bfloat16 if bfloat16 else torch.float32)

    def move_to(self, device: str, dtype: "torch.dtype") -> None:
        """Move the model. The mel spectrogram stays in float32: its logarithms need the precision."""
        self._model.to(device)
        for part in (self._model.encoder, self._model.decoder, self._model.joint):
            part.to(dtype)

    def texts(self, utterances: Sequence[NDArray[np.float32]]) -> list[str]:
        """The transcripts of 1-D arrays of 16 kHz samples in [-1, 1]; the model knows no other scale."""
        return [str(hypothesis.text) for hypothesis in self._hypotheses(utterances)]

    def words(self, samples: NDArray[np.float32]) -> list[Word]:
        """The words of one such array. A token has the encoder frame, of 80 ms, in which it was emitted, and
        a word lasts from its first token's frame to its last one's, as with NeMo's own timestamps. So their
        times cost nothing, and a word of one token lasts 80 ms."""
        (hypothesis,) = self._hypotheses([samples])
        model = self._model
        frame_s = model.cfg.preprocessor.window_stride * model.encoder.subsampling_factor
        tokens = model.tokenizer.ids_to_tokens([int(token) for token in hypothesis.y_sequence])
        words: list[Word] = []
        for token, frame in zip(tokens, map(int, hypothesis.timestamp), strict=True):
            text, end_s = token.replace(_SPACE, " "), (frame + 1) * frame_s
            if words and not token.startswith(_SPACE):
                whole = {"text": words[-1].text + text, "end_s": end_s}
                words[-1] = words[-1].model_copy(update=whole)
            else:
                words.append(Word(text=text, start_s=frame * frame_s, end_s=end_s))
        return words

    def _hypotheses(self, utterances: Sequence[NDArray[np.float32]]) -> list[Any]:
        import torch

        batch, lengths = _padded(utterances)
        with torch.inference_mode():
            mel, mel_lengths = self._model.preprocessor(
                input_signal=torch.from_numpy(batch).to(self._model.device),
                length=torch.from_numpy(lengths).to(self._model.device),
            )
            dtype = next(self._model.encoder.parameters()).dtype
            encoded, encoded_lengths = self._model.encoder(audio_signal=mel.to(dtype), length=mel_lengths)
            return list(
                self._model.decoding.rnnt_decoder_predictions_tensor(
                    encoded, encoded_lengths, return_hypotheses=True
                )
            )


def _padded(utterances: Sequence[NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """One row an utterance, of shape (n, longest), and their lengths."""
    lengths = np.array([max(samples.size, SHORTEST_SAMPLES) for samples in utterances])
    batch = np.zeros((len(utterances), int(lengths.max())), np.float32)
    for row, samples in zip(batch, utterances, strict=True):
        row[: samples.size] = samples
    return batch, lengths
