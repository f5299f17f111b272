"""A folder laid out like the Hugging Face cache, for weights that tests have made."""

import shutil
from pathlib import Path

import pytest

from shared.weights import HubWeights

_COMMIT = "0123456789abcdef0123456789abcdef01234567"


def put_into_hub_cache(cache: Path, weights: HubWeights, files: Path) -> Path:
    """Copy the folder `files` into the cache as the snapshot of `weights`, as a download would have; the
    snapshot's folder."""
    repository = cache / f"models--{weights.repository.replace('/', '--')}"
    commit = weights.revision if len(weights.revision) == len(_COMMIT) else _COMMIT
    if commit != weights.revision:
        reference = repository / "refs" / weights.revision
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(commit)
    return Path(shutil.copytree(files, repository / "snapshots" / commit, dirs_exist_ok=True))


def use_hub_cache(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Have weights looked for in this folder, here and in programs that are started."""
    patch.setenv("HF_HUB_CACHE", str(folder))
    patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
