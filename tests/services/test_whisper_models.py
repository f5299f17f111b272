"""The names of Whisper's models."""

import re

import pytest

from services.asr.whisper import WHISPER_MODELS, whisper_weights
from shared.errors import Misconfigured


def test_every_size_is_pinned_to_a_commit() -> None:
    assert all(re.fullmatch("[0-9a-f]{40}", weights.revision) for weights in WHISPER_MODELS.values())


def test_an_unknown_size_is_refused_with_those_that_exist() -> None:
    with pytest.raises(Misconfigured, match=r"S2S_WHISPER_MODEL=small-en: .*There are: tiny, .*small\.en"):
        whisper_weights("small-en")


@pytest.mark.parametrize(
    ("name", "revision"), [("somebody/whisper-no", "main"), ("somebody/whisper-no@v2", "v2")]
)
def test_any_repository_can_be_named(name: str, revision: str) -> None:
    weights = whisper_weights(name)
    assert (weights.repository, weights.revision) == ("somebody/whisper-no", revision)
    assert "model.bin" in weights.files
