"""What an engine needs, and what follows for machines and containers."""

from pathlib import Path

import pytest

from services.on_modal.service import loads_before_snapshot
from services.selection import discover
from shared.audio.pcm import Pcm
from shared.engines import MODEL_REGISTRY, ASRModel, EngineSpec, RegisteredModel
from shared.errors import Stage
from shared.settings import ServiceSettings, Settings


def model(
    *, runs_on_cpu: bool = False, memory_snapshot: bool = True, gpu_snapshot: bool = False
) -> RegisteredModel:
    class Ears(ASRModel):
        model_name = "ears"
        spec = EngineSpec(
            summary="for tests",
            licence="MIT",
            gpu="A10G",
            runs_on_cpu=runs_on_cpu,
            memory_snapshot=memory_snapshot,
            gpu_snapshot=gpu_snapshot,
        )

        def load(self) -> None: ...

        def transcribe(self, pcm: Pcm, *, language: str | None = None) -> str:
            return ""

    return RegisteredModel(Stage.ASR, "ears", Ears)


def test_without_a_gpu_only_an_engine_that_runs_on_a_cpu_too_can_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.engines.GPU_DEVICE", tmp_path / "nvidia0")
    assert model().engine.missing() == "an NVIDIA GPU (A10G on Modal)"
    assert model(runs_on_cpu=True).engine.missing() is None


@pytest.mark.parametrize(
    ("ears", "gpu", "before"),
    [
        (model(), None, False),  # there is no GPU yet
        (model(), "none", True),
        (model(gpu_snapshot=True), None, True),
        (model(runs_on_cpu=True), None, True),
        (model(runs_on_cpu=True, memory_snapshot=False), None, False),
    ],
)
def test_an_engine_is_loaded_before_the_snapshot_if_it_can_be_loaded_there(
    ears: RegisteredModel, gpu: str | None, before: bool
) -> None:
    assert loads_before_snapshot(ears, Settings(asr=ServiceSettings(gpu=gpu))) is before


def test_nemo_is_loaded_before_the_snapshot_and_whisper_has_none() -> None:
    discover(Stage.ASR)
    models = MODEL_REGISTRY[Stage.ASR]
    assert loads_before_snapshot(models["nemo"], Settings())
    assert not models["whisper"].spec.memory_snapshot
    assert not any(models[name].spec.gpu_snapshot for name in ("nemo", "whisper"))
