"""Stand-in until the branch engines-asr brings its own."""

from pathlib import Path

from shared.engines import Weights
from shared.errors import WeightsMissing


def weights_folder(weights: Weights) -> Path:
    """Stand-in."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(weights.repository, revision=weights.revision, local_files_only=True))
    except LocalEntryNotFoundError as error:
        raise WeightsMissing(f"{weights.repository} is missing. Run: make fetch-weights") from error
