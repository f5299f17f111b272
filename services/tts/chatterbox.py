"""chatterbox: Resemble AI's Chatterbox Turbo, a natural English voice, or cloned ones."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from services.cuda import CudaEngine
from services.tts.chatterbox_model import ChatterboxModel, SynthesisCancelled
from services.tts.chatterbox_tail import Tail
from services.tts.chatterbox_text import chatterbox_utterances, ends_in_sound, longest_s
from services.tts.normalization import MODULE, PACKAGE
from services.tts.preparation import trimmed
from services.weights import weights_folder
from shared.audio.pcm import Pcm
from shared.engines import EngineSpec, TTSModel, register_model
from shared.errors import Misconfigured, Stage, StageFailed
from shared.settings import settings
from shared.weights import HubWeights

SAMPLE_RATE_HZ = 24_000

WEIGHTS = HubWeights(
    repository="ResembleAI/chatterbox-turbo",
    revision="749d1c1a46eb10492095d68fbcf55691ccf137cd",  # the one that others run chatterbox-tts 0.1.7 with
)

NEEDED_FILES = (
    "ve.safetensors",
    "t3_turbo_v1.safetensors",
    "s3gen_meanflow.safetensors",
    "tokenizer_config.json",
)


@register_model(
    "tts",
    "chatterbox",
    EngineSpec(
        summary="A natural English voice, or one of your own; laughs and sighs.",
        licence="MIT",
        packages=(
            "chatterbox-tts==0.1.7",
            "setuptools==80.9.0",  # with 82 there is no pkg_resources, hence no watermarker, hence no speech
            "numpy==1.26.4",  # with 2 a reference clip fails (double against float)
            PACKAGE,
        ),
        modules=("torch", "chatterbox", MODULE),
        gpu="A10G",
        runs_on_cpu=True,
        weights=WEIGHTS,
        sample_rate_hz=SAMPLE_RATE_HZ,
        # The imports and the weights in main memory are most of a cold start, and need no GPU: they go into
        # the snapshot, and `restored` moves the model to the GPU. A GPU snapshot is alpha at Modal.
        memory_snapshot=True,
    ),
)
class ChatterboxTTS(CudaEngine, TTSModel):
    """One segment for up to 250 characters of text; cancelling acts between two speech tokens. For one
    thread at a time.

    Speech differs from one call to the next: it is sampled, from PyTorch's global random numbers, which are
    not seeded here, so that a retry can mend what came out badly.
    """

    def __init__(self, clips: Path | None = None) -> None:
        """`clips` is a recording to clone or a folder of them; by default the setting's, else there is the
        weights' own voice alone."""
        self._clips = clips or settings().chatterbox_voice
        self._model: ChatterboxModel | None = None
        self._tail = Tail()
        self._closed = threading.Event()

    @property
    def model_name(self) -> str:
        """The model and its voice."""
        clip = None if self._clips and self._clips.is_dir() else self._clips
        return f"Chatterbox Turbo, voice {clip.stem}" if clip else "Chatterbox Turbo"

    @property
    def voices(self) -> tuple[str, ...]:
        """The cloned ones, by the names of their recordings."""
        return self._model.voices if self._model else ()

    def load(self) -> None:
        """Import the library, restore the model, move it to the GPU if there is one, and warm it up.

        Raises WeightsMissing; Misconfigured if a recording cannot be cloned; EngineLoadFailed.
        """
        self._model = ChatterboxModel(weights_folder(WEIGHTS, *NEEDED_FILES))
        if self._clips:
            self._model.clone_voices(self._clips)
        if not self._model.has_own_voice:
            raise Misconfigured(
                f"{WEIGHTS.repository} has no voice of its own here (conds.pt): set "
                "S2S_CHATTERBOX_VOICE to a recording.",
                Stage.TTS,
            )
        self.restored()

    def restored(self) -> None:
        """Move the model to the GPU that is there now, if any, and warm it up."""
        model = self._loaded()
        model.move_to_best_device()
        model.warm_up()
        self._tail.load()

    def synthesize(
        self,
        text: str,
        cancelled: threading.Event,
        *,
        voice: str | None = None,
        language: str | None = None,
    ) -> Iterator[Pcm]:
        """A segment for each 250 characters of text; what cannot be spoken is left out."""
        model = self._loaded()
        for utterance in chatterbox_utterances(text):
            try:
                with self.watch_cuda():
                    speech = self._speech(
                        model, utterance, voice, lambda: cancelled.is_set() or self._closed.is_set()
                    )
            except SynthesisCancelled:
                return
            if speech.num_samples:
                yield speech

    def close(self) -> None:
        """Cancel what is being synthesized, and release the model."""
        self._closed.set()
        self._model = None

    def _speech(
        self, model: ChatterboxModel, utterance: str, voice: str | None, stopped: Callable[[], bool]
    ) -> Pcm:
        samples = model.synthesize(utterance, longest_s=longest_s(utterance), stopped=stopped, voice=voice)
        if ends_in_sound(utterance):  # a laugh is no speech, and no noise
            return Pcm(trimmed(samples, SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
        return self._tail.cut(Pcm(samples, SAMPLE_RATE_HZ))

    def _loaded(self) -> ChatterboxModel:
        if self._model is None:
            raise StageFailed("Chatterbox is not loaded.", Stage.TTS)
        return self._model
