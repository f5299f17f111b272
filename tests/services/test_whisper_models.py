"""The names of Whisper's models."""

import re

import pytest

from services.asr.whisper import WHISPER_MODELS, whisper_weights
from shared.errors import Misconfigured
from shared.weights import HubWeights, PackageWeights


def test_every_size_is_pinned_to_a_commit() -> None:
    hub = [weights for weights in WHISPER_MODELS.values() if isinstance(weights, HubWeights)]
    assert len(hub) > 5
    assert all(re.fullmatch("[0-9a-f]{40}", weights.revision) for weights in hub)


@pytest.mark.parametrize("name", ["tiny.en", "base"])
def test_the_small_sizes_need_no_hub(name: str) -> None:
    weights = whisper_weights(name)
    assert isinstance(weights, PackageWeights)
    assert {file.name for file in weights.files} == {
        "model.bin",
        "config.json",
        "tokenizer.json",
        "vocabulary.txt",
    }


def test_an_unknown_size_is_refused_with_those_that_exist() -> None:
    with pytest.raises(Misconfigured, match=r"S2S_WHISPER_MODEL=small-en: .*There are: tiny, .*small\.en"):
        whisper_weights("small-en")


@pytest.mark.parametrize(
    ("name", "revision"), [("somebody/whisper-no", "main"), ("somebody/whisper-no@v2", "v2")]
)
def test_any_repository_can_be_named(name: str, revision: str) -> None:
    weights = whisper_weights(name)
    assert isinstance(weights, HubWeights)
    assert (weights.repository, weights.revision) == ("somebody/whisper-no", revision)
    assert "model.bin" in weights.files
