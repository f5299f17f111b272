"""Weights are found where a download has put them, and nothing is downloaded."""

import socket
from contextlib import suppress
from pathlib import Path

import pytest

from services.weights import weights_folder
from shared.errors import WeightsMissing
from shared.weights import HubWeights
from tests.engines.hub_cache import put_into_hub_cache
from tests.engines.no_network import Connected, only_loopback

BRANCH = HubWeights(repository="somebody/some-model", revision="main")
COMMIT = HubWeights(repository="somebody/some-model", revision="a" * 40)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    (folder / "model.bin").write_bytes(b"weights")
    return folder


@pytest.mark.parametrize("weights", [BRANCH, COMMIT])
def test_the_folder_of_fetched_weights_is_found(cache: Path, files: Path, weights: HubWeights) -> None:
    put_into_hub_cache(cache, weights, files)
    with only_loopback():
        folder = weights_folder(weights, "model.bin", "*.bin")
    assert (folder / "model.bin").read_bytes() == b"weights"


@pytest.mark.parametrize(("task", "command"), [("ta-1", "make fetch-weights"), ("", "s2s fetch-weights")])
def test_weights_that_were_not_fetched_are_an_error_that_names_the_command_and_asks_no_network(
    cache: Path, monkeypatch: pytest.MonkeyPatch, task: str, command: str
) -> None:
    monkeypatch.setenv("MODAL_TASK_ID", task)
    with only_loopback(), pytest.raises(WeightsMissing, match=f"somebody/some-model.* Run: {command}"):
        weights_folder(BRANCH)


def test_weights_of_another_revision_are_not_taken(cache: Path, files: Path) -> None:
    put_into_hub_cache(cache, BRANCH, files)
    with pytest.raises(WeightsMissing, match="a" * 40):
        weights_folder(COMMIT)


def test_a_file_that_a_broken_download_left_out_is_named(cache: Path, files: Path) -> None:
    folder = put_into_hub_cache(cache, BRANCH, files)
    (folder / "tokenizer.json").symlink_to(cache / "blobs" / "gone")
    with pytest.raises(WeightsMissing, match=r"incomplete \(tokenizer.json is not there\).* fetch-weights"):
        weights_folder(BRANCH, "model.bin", "tokenizer.json")


def test_the_guard_of_these_tests_refuses_other_machines_and_tells_of_what_was_hidden() -> None:
    with pytest.raises(Connected, match=r"192\.0\.2\.1"), only_loopback():
        socket.create_connection(("192.0.2.1", 9), 0.1)
    with pytest.raises(Connected, match=r"nowhere\.invalid"), only_loopback(), suppress(Connected):
        socket.getaddrinfo("nowhere.invalid", 443)
    with socket.create_server(("127.0.0.1", 0)) as server, only_loopback():
        socket.create_connection(server.getsockname()).close()
