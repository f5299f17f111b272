"""Weights of the hub: fetched into the Hugging Face cache, which on Modal is the Volume with the weights, and
in process the user's own (HF_HUB_CACHE, HF_HOME)."""

import os
from pathlib import Path

from services.weights.places import missing
from shared.errors import Misconfigured, SpeechError, StageFailed
from shared.weights import HubWeights


def fetch(weights: HubWeights) -> Path:
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


def folder(weights: HubWeights, *needed: str) -> Path:
    """The folder with the files of a repository at its revision. Raises WeightsMissing if it, or a file with
    one of these names or patterns, is not there."""
    snapshot = _snapshot(weights)
    absent = [pattern for pattern in needed if not any(path.exists() for path in snapshot.glob(pattern))]
    if absent:
        raise missing(weights, f"are incomplete ({', '.join(absent)} is not there)")
    return snapshot


def _refused(weights: HubWeights, status: int) -> SpeechError:
    if status in {401, 403}:
        remedy = (
            f"accept its licence at the hub and set {weights.token}"
            if weights.token
            else "it may be gone, private or gated (S2S_LLM_GATED=1 and HF_TOKEN, for LLM_MODEL=vllm)"
        )
        return Misconfigured(f"The hub does not give out the weights {weights}: {remedy}.")
    if status == 404:
        return Misconfigured(f"The hub does not know the weights {weights}.")
    return StageFailed(f"The hub answers with an error ({status}) to the weights {weights}. Try again.")


def _snapshot(weights: HubWeights) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(weights.repository, revision=weights.revision, local_files_only=True))
    except LocalEntryNotFoundError:
        raise missing(weights, "have not been fetched") from None
