"""The weights of engines: fetched from the hub into the Hugging Face cache, and found there again.

`fetch` is the one place that downloads; loading never does. On Modal the cache is the Volume with the
weights, in process it is the user's own (HF_HUB_CACHE, HF_HOME).
"""

import os
from pathlib import Path

from shared.engines import Weights
from shared.errors import Misconfigured, SpeechError, StageFailed, WeightsMissing

_IN_CONTAINER = "MODAL_TASK_ID"
"""An environment variable that Modal sets in its containers."""


def fetch(weights: Weights) -> Path:
    """Download what an engine needs of its repository, at its revision, with progress on standard error;
    cached files are skipped. Returns the folder.

    Raises Misconfigured if there is no such repository or the hub denies access to it, StageFailed if the
    download fails: no network, a lost connection, a full disk.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ImportError:
        raise Misconfigured("Fetching weights needs a library. Run: pip install huggingface_hub") from None
    token = os.environ.get(weights.token or "") or None
    try:
        return Path(
            snapshot_download(
                weights.repository,
                revision=weights.revision,
                allow_patterns=list(weights.files) or None,
                token=token,
            )
        )
    except HfHubHTTPError as error:
        raise _refused(weights, error.response.status_code) from error
    except HFValidationError as error:
        raise Misconfigured(f"There can be no weights {weights.repository}: {error}") from error
    except Exception as error:  # what else the library lets through depends on its version: httpx's, Xet's
        reason = str(error) or type(error).__name__
        raise StageFailed(f"The weights {weights.repository} could not be fetched: {reason}") from error


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


def _refused(weights: Weights, status: int) -> SpeechError:
    name = f"{weights.repository} (revision {weights.revision})"
    if status in {401, 403}:
        remedy = (
            f"accept its licence at the hub and set {weights.token}"
            if weights.token
            else "it may be gone, private or gated (S2S_LLM_GATED=1 and HF_TOKEN, for LLM_MODEL=vllm)"
        )
        return Misconfigured(f"The hub does not give out the weights {name}: {remedy}.")
    if status == 404:
        return Misconfigured(f"The hub does not know the weights {name}.")
    return StageFailed(f"The hub answers with an error ({status}) to the weights {name}. Try again.")


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
