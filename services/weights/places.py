"""Where weights are, here or in a container on Modal, and what to do where they are not."""

import os
from pathlib import Path

from shared.errors import WeightsMissing
from shared.weights import Weights

_IN_CONTAINER = "MODAL_TASK_ID"
"""An environment variable that Modal sets in its containers."""


def weights_volume_folder() -> Path | None:
    """The Volume with the weights, where this is a container on Modal; None elsewhere."""
    cache = os.environ.get("HF_HUB_CACHE")
    return Path(cache) if cache and os.environ.get(_IN_CONTAINER) else None


def packages_folder() -> Path:
    """The folder of the weights that are taken from packages: in the Volume, or in the user's cache."""
    if volume := weights_volume_folder():
        return volume / "packages"
    user_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return user_cache / "speech-to-speech" / "weights"


def missing(weights: Weights, problem: str) -> WeightsMissing:
    """The error that says what is wrong with weights, and what to do."""
    command = "make fetch-weights" if os.environ.get(_IN_CONTAINER) else "s2s fetch-weights"
    return WeightsMissing(f"The weights {weights} {problem}. Run: {command}")
