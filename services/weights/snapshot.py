"""Where the weights of an engine are: a snapshot in the Hugging Face cache, which loading never fills.

On Modal the cache is the Volume with the weights, in process it is the user's own (HF_HUB_CACHE, HF_HOME).
"""

import os
from pathlib import Path

from shared.engines import Weights
from shared.errors import WeightsMissing

_IN_CONTAINER = "MODAL_TASK_ID"
"""An environment variable that Modal sets in its containers."""


def weights_volume_folder() -> Path | None:
    """The Volume with the weights, where this is a container on Modal; None elsewhere."""
    cache = os.environ.get("HF_HUB_CACHE")
    return Path(cache) if cache and os.environ.get(_IN_CONTAINER) else None


def weights_folder(weights: Weights, *needed: str) -> Path:
    """The folder with the files of a repository at its revision; nothing is downloaded.

    `needed` are names or patterns ("*.nemo") of files without which the weights are of no use. Raises
    WeightsMissing, with the command that fetches them, if the folder or one of these is not there.
    """
    folder = _snapshot(weights)
    absent = [pattern for pattern in needed if not any(path.exists() for path in folder.glob(pattern))]
    if absent:
        raise _missing(weights, f"are incomplete ({', '.join(absent)} is not there)")
    return folder


def _snapshot(weights: Weights) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(weights.repository, revision=weights.revision, local_files_only=True))
    except LocalEntryNotFoundError:
        raise _missing(weights, "have not been fetched") from None


def _missing(weights: Weights, problem: str) -> WeightsMissing:
    command = "make fetch-weights" if os.environ.get(_IN_CONTAINER) else "s2s fetch-weights"
    return WeightsMissing(
        f"The weights {weights.repository} (revision {weights.revision}) {problem}. Run: {command}"
    )
