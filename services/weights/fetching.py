"""Weights from the model hub into the Hugging Face cache: the one place that downloads."""

import os
from pathlib import Path

from shared.engines import Weights
from shared.errors import Misconfigured, SpeechError, StageFailed


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
