"""The Chatterbox Turbo library: loading it, and synthesis that can be cancelled."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from services.cuda import check_gpu_is_used
from services.tts.chatterbox_voice import cloned_voice, recordings
from shared.errors import EngineLoadFailed, Stage, StageFailed

if TYPE_CHECKING:
    import torch

TOKENS_PER_S = 25
"""Speech tokens for each second of speech."""

_WARM_UP_TEXT = "It takes as long to read a text of many words as one of a few, but not to speak it. " * 3
_WARM_UP_TOKENS = 5
_WARM_UP_S = {"cpu": 0.2, "cuda": 10.0}
"""How much speech is decoded. CUDA loads its kernels when they are first used, chooses them by
shape, and claims memory for the largest; a CPU prepares little but the library itself."""


class SynthesisCancelled(Exception):
    """Raised by `ChatterboxModel.synthesize` once it is cancelled."""


class ChatterboxModel:
    """Chatterbox Turbo in float32 (bfloat16 breaks it: issue 564). For one thread at a time: it draws from
    global random numbers, and its current voice is an attribute.

    Speech is decoded once its last token is there: decoded bit by bit it would lack the watermark. CUDA
    graphs (pull request 545) are not used either.
    """

    def __init__(self, folder: Path) -> None:
        """Restore the model into main memory from a folder of the library's own files."""
        # Asks the driver's library instead of CUDA, which would stay without a GPU in a container that
        # is restored from a snapshot taken without one.
        os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
        import perth
        from chatterbox.tts_turbo import ChatterboxTurboTTS

        if perth.PerthImplicitWatermarker is None:
            raise EngineLoadFailed("Chatterbox's watermarker needs setuptools below 82.", Stage.TTS)
        _silence_library()
        self._folder = folder
        self._model: Any = ChatterboxTurboTTS.from_local(folder, "cpu")
        self._own = self._model.conds
        self._cloned: dict[str, Any] = {}

    @property
    def has_own_voice(self) -> bool:
        """Whether it can speak without being given a voice's name."""
        return self._own is not None

    @property
    def voices(self) -> tuple[str, ...]:
        """The names of the cloned voices: those of the recordings' files."""
        return tuple(self._cloned)

    def clone_voices(self, path: Path) -> None:
        """Learn the voice of the person in a recording of more than 5 s, which becomes the model's own; or
        those in a folder of recordings. Raises Misconfigured."""
        for clip in recordings(path):
            self._cloned[clip.stem] = cloned_voice(self._model, clip, self._folder)
        if not path.is_dir():
            self._own = self._cloned[path.stem]

    def move_to_best_device(self) -> None:
        """Move to the GPU if there is one."""
        import torch

        check_gpu_is_used(torch.cuda.is_available(), "PyTorch")
        if torch.cuda.is_available():
            voices = [voice for voice in (self._own, *self._cloned.values()) if voice is not None]
            for part in (self._model.t3, self._model.s3gen, self._model.ve, *voices):
                part.to("cuda")
            self._model.device = "cuda"

    def warm_up(self) -> None:
        """Do what synthesis does, at the shapes that occur: a long text, and much speech."""
        import torch
        from chatterbox.models.s3gen.const import S3GEN_SIL

        self.synthesize(_WARM_UP_TEXT, longest_s=_WARM_UP_TOKENS / TOKENS_PER_S, stopped=lambda: False)
        num_tokens = round(_WARM_UP_S[self._model.device] * TOKENS_PER_S)
        silence = torch.full((num_tokens,), S3GEN_SIL, device=self._model.device)
        self._model.s3gen.inference(speech_tokens=silence, ref_dict=self._model.conds.gen, n_cfm_timesteps=2)

    def synthesize(
        self, text: str, *, longest_s: float, stopped: Callable[[], bool], voice: str | None = None
    ) -> NDArray[np.float32]:
        """Speech as 1-D samples in [-1, 1] at 24 kHz, watermarked, at most about `longest_s` long.

        `stopped` is called after each speech token (40 ms of speech) and before each step after them.
        Raises SynthesisCancelled once it returns True; the model is as before then.
        """
        self._model.conds = self._cloned[voice] if voice else self._own
        with _watched(self._model, round(longest_s * TOKENS_PER_S), stopped):
            speech = self._model.generate(text)
        samples: NDArray[np.float32] = speech.squeeze(0).numpy()
        if not np.isfinite(samples).all():
            raise StageFailed("Chatterbox could not synthesize a text.", Stage.TTS)
        return samples.clip(-1.0, 1.0)  # the watermark can add to the loudest


@contextmanager
def _watched(model: Any, max_tokens: int, stopped: Callable[[], bool]) -> Iterator[None]:
    """While inside, synthesis is cancelled once `stopped` returns True, and ends after `max_tokens`.

    The library cannot be cancelled, so hooks on the model's parts do it. What they raise passes through
    nothing but the library's own loop, whose state is all local.
    """
    num_tokens = 0

    def check(*_: object) -> None:
        if stopped():
            raise SynthesisCancelled

    def after_token(_: object, __: object, logits: "torch.Tensor") -> "torch.Tensor":
        nonlocal num_tokens
        check()
        num_tokens += 1
        return _only(logits, model.t3.hp.stop_speech_token) if num_tokens > max_tokens else logits

    with ExitStack() as hooks:
        hooks.enter_context(model.t3.speech_head.register_forward_hook(after_token))
        for step in (model.s3gen.flow.encoder, model.s3gen.mel2wav.f0_predictor):
            hooks.enter_context(step.register_forward_pre_hook(check))
        check()
        yield


def _only(logits: "torch.Tensor", token: int) -> "torch.Tensor":
    """Logits of the same shape that leave one token to choose."""
    import torch

    only = torch.full_like(logits, -torch.inf)
    only[..., token] = 0.0
    return only


def _silence_library() -> None:
    """The library prints a line and two progress bars for each synthesis."""
    from chatterbox.models.s3gen import flow_matching
    from chatterbox.models.t3 import t3
    from tqdm import tqdm

    t3.tqdm = flow_matching.tqdm = partial(tqdm, disable=True)
    flow_matching.print = lambda *_: None
