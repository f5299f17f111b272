"""The machine that containers run on, where it differs from what their images ask for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from local_cloud.virtual_environments import Contents


def _as_asked(contents: Contents) -> Contents:
    return contents


@dataclass(frozen=True)
class Machine:
    """By default it installs what the images ask for, and adds nothing."""

    substituted: Callable[[Contents], Contents] = _as_asked
    """What becomes of an image's environment here: on a machine without a GPU, other packages."""
    environ: Mapping[str, str] = field(default_factory=dict)
    """Variables that every container gets; its image's own are stronger."""
