"""What an engine needs, and what follows for machines and containers."""

from pathlib import Path

import pytest

from services.on_modal.service import loads_before_snapshot, snapshot_of
from services.selection import discover
from shared.audio.pcm import Pcm
from shared.engines import MODEL_REGISTRY, ASRModel, EngineSpec, RegisteredModel, register_model
from shared.errors import Misconfigured, Stage
from shared.service_settings import ServiceSettings
from shared.settings import Settings


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
    monkeypatch.setattr("shared.engines.DEVICES", tmp_path)
    assert model().engine.missing() == "an NVIDIA GPU (A10G on Modal)"
    assert model(runs_on_cpu=True).engine.missing() is None


def test_what_is_missing_names_no_library_of_gpus_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Absent(model(runs_on_cpu=True).engine):  # type: ignore[misc]
        spec = EngineSpec(
            summary="",
            licence="",
            modules=("not_there",),
            packages=("not-there==1", "nvidia-cublas-cu12==12"),
        )

    monkeypatch.setattr("shared.engines.DEVICES", tmp_path)
    assert Absent.missing() == "Python package: pip install not-there==1"
    (tmp_path / "nvidia0").touch()
    assert Absent.missing() == "Python package: pip install not-there==1 nvidia-cublas-cu12==12"


@pytest.mark.parametrize("device", ["nvidia0", "nvidia1", "dxg"])
def test_a_gpu_is_found_whatever_its_number_and_under_wsl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr("shared.engines.DEVICES", tmp_path)
    (tmp_path / "nvidiactl").touch()  # that of the driver, which is there without any GPU
    assert model().engine.missing() is not None
    (tmp_path / device).touch()
    assert model().engine.missing() is None


def test_one_class_under_two_names_has_the_spec_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODEL_REGISTRY, Stage.ASR, {})

    @register_model("asr", "small", EngineSpec(summary="small", licence="MIT", context_length=1))
    @register_model("asr", "large", EngineSpec(summary="large", licence="MIT", context_length=2))
    class Sized(model().engine):  # type: ignore[misc]
        """Registered twice."""

    small, large = MODEL_REGISTRY[Stage.ASR]["small"], MODEL_REGISTRY[Stage.ASR]["large"]
    assert [small.spec.context_length, large.spec.context_length] == [1, 2]
    assert [small.engine().spec.context_length, large.engine().spec.context_length] == [1, 2]


@pytest.mark.parametrize(
    ("ears", "service", "snapshot", "loaded_before"),
    [
        (model(), ServiceSettings(), "cpu", False),  # there is no GPU yet
        (model(), ServiceSettings(gpu="none"), "cpu", True),
        (model(), ServiceSettings(snapshot="none"), "none", False),
        (
            model(gpu_snapshot=True),
            ServiceSettings(),
            "cpu",
            False,
        ),  # a GPU snapshot is alpha: only if asked for
        (model(gpu_snapshot=True), ServiceSettings(snapshot="gpu"), "gpu", True),
        (model(gpu_snapshot=True), ServiceSettings(snapshot="gpu", gpu="none"), "cpu", True),
        (model(runs_on_cpu=True), ServiceSettings(), "cpu", True),
        (model(runs_on_cpu=True, memory_snapshot=False), ServiceSettings(), "none", False),
    ],
)
def test_a_snapshot_is_taken_as_the_setting_says_where_the_engine_survives_it(
    ears: RegisteredModel, service: ServiceSettings, snapshot: str, loaded_before: bool
) -> None:
    settings = Settings(asr=service)
    assert snapshot_of(ears, settings) == snapshot
    assert loads_before_snapshot(ears, settings) is loaded_before


def test_a_gpu_snapshot_of_an_engine_that_does_not_survive_it_is_refused() -> None:
    with pytest.raises(Misconfigured, match="S2S_ASR_SNAPSHOT"):
        snapshot_of(model(), Settings(asr=ServiceSettings(snapshot="gpu")))


def test_nemo_is_loaded_before_the_snapshot_and_whisper_has_none() -> None:
    discover(Stage.ASR)
    models = MODEL_REGISTRY[Stage.ASR]
    assert loads_before_snapshot(models["nemo"], Settings())
    assert not models["whisper"].spec.memory_snapshot
    assert not any(models[name].spec.gpu_snapshot for name in ("nemo", "whisper"))
